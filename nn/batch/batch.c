/* SPDX-License-Identifier: MIT
 * A compiled batch: memory, workers, the loop over passes.
 */
#include "nn/batch/batch.h"

#include <string.h>

#include "base/mem.h"
#include "nn/batch/batch_internal.h"

/* ---- Life ---------------------------------------------------------------- */

/* Headers of all values, and the block that their data lies in: the ciphertexts
 * own nothing and are never cleared. The headers never move, so that pointers
 * to them stay good from pass to pass and from batch to batch; level and
 * components are set by each operation that writes one. */
static sotto_status make_memory(nn_batch *batch, sotto_error *err)
{
    batch->memory = sotto_map(batch->memory_words * sizeof *batch->memory);
    bool ok = batch->memory != NULL;
    for (int v = 0; v < batch->n_values && ok; v++) {
        batch_value *value = &batch->value[v];
        if (value->place != BATCH_STORED) {
            continue;
        }
        value->ct = sotto_calloc(value->n, sizeof *value->ct);
        ok = value->ct != NULL;
        for (size_t i = 0; ok && i < value->n; i++) {
            rlwe_ct *ct = &value->ct[i].ct;
            ct->data = batch->memory + value->offset + i * value->words;
            ct->capacity = value->words;
            ct->n_components = RLWE_MIN_COMPONENTS;
        }
    }
    if (!ok) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for the ciphertexts of one batch: "
                          "%zu MiB are needed",
                          (batch->memory_words >> 17) + 1);
    }
    return SOTTO_OK;
}

/* Whatever a task needs beyond the values belongs to its worker, so that tasks
 * share nothing that they write. */
static sotto_status make_workers(nn_batch *batch, int threads, sotto_error *err)
{
    const size_t scratch = nn_batch_product_scratch(batch);
    batch->worker = sotto_calloc((size_t)threads, sizeof *batch->worker);
    if (batch->worker == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory for workers");
    }
    batch->threads = threads;
    batch->zeros = sotto_calloc(BATCH_BLOCK, sizeof *batch->zeros);
    for (int i = 0; i < threads; i++) {
        batch_worker *worker = &batch->worker[i];
        SOTTO_TRY(ckks_evaluator_new(&worker->evaluator, batch->context,
                                     batch->keys, err));
        worker->arena = sotto_arena_init(scratch);
        worker->local = sotto_calloc(batch->local_rows * BATCH_BLOCK,
                                     sizeof *worker->local);
        worker->seconds =
            sotto_calloc((size_t)batch->n_passes, sizeof *worker->seconds);
        if (batch->zeros == NULL || worker->arena.base == NULL ||
            worker->local == NULL || worker->seconds == NULL) {
            return sotto_fail(err, SOTTO_ERR_MEMORY,
                              "out of memory for %zu bytes of scratch",
                              scratch + batch->local_rows * BATCH_BLOCK *
                                            sizeof *worker->local);
        }
    }
    return SOTTO_OK;
}

static sotto_status fill_batch(nn_batch *batch, int threads, sotto_error *err)
{
    SOTTO_TRY(nn_batch_compile(batch, err));
    SOTTO_TRY(nn_batch_prepare(batch, threads, err));
    nn_batch_segment(batch);
    nn_batch_layout(batch);
    SOTTO_TRY(make_memory(batch, err));
    return make_workers(batch, threads, err);
}

sotto_status nn_batch_new_within(nn_batch **batch, const nn_plan *plan,
                                 const nn_network *network,
                                 const rlwe_context *context,
                                 const rlwe_keyset *keys, int threads,
                                 const batch_limits *limits, sotto_error *err)
{
    SOTTO_ASSERT(threads >= 1);
    *batch = NULL;
    nn_batch *made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory for a batch");
    }
    made->plan = plan;
    made->network = network;
    made->context = context;
    made->keys = keys;
    made->limits = *limits;
    const sotto_status status = fill_batch(made, threads, err);
    if (status != SOTTO_OK) {
        nn_batch_free(made);
        return status;
    }
    *batch = made;
    return SOTTO_OK;
}

sotto_status nn_batch_new(nn_batch **batch, const nn_plan *plan,
                          const nn_network *network,
                          const rlwe_context *context, const rlwe_keyset *keys,
                          int threads, sotto_error *err)
{
    const batch_limits limits = {.chunk_weights = (size_t)1 << 21,
                                 .chunk_pointers = (size_t)1 << 21,
                                 .packed_bytes = (size_t)256 << 20,
                                 .local_bytes = (size_t)2 << 20};
    return nn_batch_new_within(batch, plan, network, context, keys, threads,
                               &limits, err);
}

static void free_affine(batch_affine *affine)
{
    nn_cursor_free(affine->cursor);
    nn_groups_free(affine->groups);
}

void nn_batch_free(nn_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    for (int i = 0; i < batch->threads; i++) {
        ckks_evaluator_free(batch->worker[i].evaluator);
        sotto_arena_clear(&batch->worker[i].arena);
        sotto_free(batch->worker[i].local);
        sotto_free(batch->worker[i].seconds);
    }
    nn_batch_prepare_clear(batch);
    for (size_t k = 0; batch->affine != NULL && k < batch->network->n_steps;
         k++) {
        free_affine(&batch->affine[k]);
    }
    for (int v = 0; v < batch->n_values; v++) {
        sotto_free(batch->value[v].ct);
    }
    sotto_free(batch->worker);
    sotto_free(batch->zeros);
    sotto_unmap(batch->memory, batch->memory_words * sizeof *batch->memory);
    sotto_free(batch->value);
    sotto_free(batch->tensor);
    sotto_free(batch->reader);
    sotto_free(batch->n_readers);
    sotto_free(batch->pass);
    sotto_free(batch->affine);
    sotto_free(batch);
}

ckks_ct *nn_batch_input(nn_batch *batch, size_t i)
{
    SOTTO_ASSERT(i < batch->plan->n_inputs);
    return &batch->value[batch->tensor[0]].ct[i];
}

const ckks_ct *nn_batch_output(const nn_batch *batch, size_t o)
{
    const batch_value *scores =
        &batch->value[batch->tensor[batch->network->n_steps]];
    SOTTO_ASSERT(o < scores->n);
    return &scores->ct[o];
}

uint64_t nn_batch_work(const nn_batch *batch)
{
    uint64_t work = 0;
    for (int i = 0; i < batch->n_passes; i++) {
        const batch_pass *pass = &batch->pass[i];
        work += pass->unit_work * (pass->op == BATCH_AFFINE
                                       ? nn_batch_product_tasks(batch, i)
                                       : pass->n_tasks);
    }
    return work;
}

uint64_t nn_batch_bytes(const nn_batch *batch)
{
    return (uint64_t)batch->memory_words * sizeof *batch->memory;
}

/* ---- Passes over single ciphertexts -------------------------------------- */

/* Every pass but the matrix stage is one operation on each ciphertext, on its
 * own: task i is ciphertext i. */
typedef struct pass_job {
    nn_batch *batch;
    const batch_pass *pass;
} pass_job;

/* Relinearises one ciphertext at the level of the matrix. Dropping comes first:
 * what follows then has fewer limbs. */
static sotto_status align(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *in,
                          const batch_affine *affine)
{
    if (in->ct.level == affine->level) {
        return ckks_relinearise(ev, out, in);
    }
    SOTTO_TRY(ckks_drop(ev, out, in, affine->level));
    return ckks_relinearise(ev, out, out);
}

/* Which ciphertext of which source a task of an align pass is. */
static sotto_status align_task(const nn_batch *batch, const batch_pass *pass,
                               size_t task, ckks_evaluator *ev)
{
    const batch_affine *affine = &batch->affine[pass->step];
    for (int s = 0; s < affine->n_sources; s++) {
        const batch_source *source = &affine->source[s];
        const size_t n = source->relinearise ? batch->value[source->from].n : 0;
        if (task < n) {
            return align(ev, &batch->value[source->value].ct[task],
                         &batch->value[source->from].ct[task], affine);
        }
        task -= n;
    }
    return SOTTO_OK;
}

static sotto_status run_op(const nn_batch *batch, const batch_pass *pass,
                           size_t task, ckks_evaluator *ev)
{
    if (pass->op == BATCH_ALIGN) {
        return align_task(batch, pass, task, ev);
    }
    ckks_ct *out = &batch->value[pass->out].ct[task];
    const ckks_ct *in = &batch->value[pass->in].ct[task];
    switch (pass->op) {
    case BATCH_SQUARE:
        return ckks_square(ev, out, in);
    case BATCH_RELINEARISE:
        return ckks_relinearise(ev, out, in);
    case BATCH_RESCALE:
        return ckks_rescale(ev, out, in, pass->level);
    default:
        return ckks_relinearise_rescale(ev, out, in, pass->level);
    }
}

static sotto_status pass_task(void *arg, size_t task, int worker,
                              sotto_error *err)
{
    const pass_job *job = arg;
    ckks_evaluator *ev = job->batch->worker[worker].evaluator;
    const sotto_status status = run_op(job->batch, job->pass, task, ev);
    /* The evaluator keeps its own message; the job wants that of this task. */
    if (status != SOTTO_OK && err != NULL) {
        *err = ev->error;
    }
    return status;
}

/* ---- The run ------------------------------------------------------------- */

static const char *op_name(const batch_pass *pass)
{
    static const char *const name[] = {[BATCH_ALIGN] = "relinearise",
                                       [BATCH_AFFINE] = "affine",
                                       [BATCH_SQUARE] = "square",
                                       [BATCH_RELINEARISE] = "relinearise",
                                       [BATCH_RESCALE] = "rescale",
                                       [BATCH_RELINEARISE_RESCALE] =
                                           "relinearise and rescale"};
    return name[pass->op];
}

/* Describes all passes in a trace that holds none yet. */
static void begin_trace(const nn_batch *batch, nn_trace *trace)
{
    if (trace->n_steps != 0) {
        return;
    }
    for (int i = 0; i < batch->n_passes; i++) {
        const batch_pass *pass = &batch->pass[i];
        const nn_plan_step *plan = &batch->plan->step[pass->step];
        const bool last =
            i + 1 == batch->n_passes || batch->pass[i + 1].step != pass->step;
        nn_trace_step *step = &trace->step[i];
        *step = (nn_trace_step){.kind = op_name(pass),
                                .step = (int)pass->step,
                                .level = pass->level,
                                .n_components = pass->n_components,
                                .scale = pass->scale,
                                .n_ciphertexts = pass->n_tasks,
                                .he_error = last ? plan->he_error : 0};
        memcpy(step->name, plan->name, sizeof step->name);
    }
    trace->n_steps = batch->n_passes;
}

/* The inputs as they were filled, against what was compiled. */
static sotto_status check_inputs(const nn_batch *batch, sotto_error *err)
{
    const batch_value *inputs = &batch->value[batch->tensor[0]];
    const ckks_ct *first = &inputs->ct[0];
    for (size_t i = 0; i < batch->plan->n_inputs; i++) {
        const ckks_ct *in = &inputs->ct[i];
        if (in->ct.level != 0 || in->ct.n_components != 2 ||
            in->scale != batch->plan->input_scale ||
            memcmp(in->ct.key_id, first->ct.key_id, RLWE_KEY_ID_BYTES) != 0) {
            return sotto_fail(err, SOTTO_ERR_MISMATCH,
                              "input %zu has %d components at level %d and "
                              "scale %.17g; expected 2 at level 0 and scale "
                              "%.17g, all inputs under one key",
                              i, in->ct.n_components, in->ct.level, in->scale,
                              batch->plan->input_scale);
        }
    }
    return SOTTO_OK;
}

/* Runs the passes [i, segment_end of i]; adds what each took to seconds. */
static sotto_status run_passes(nn_batch *batch, int i, nn_control *control,
                               double *seconds, sotto_error *err)
{
    const batch_pass *pass = &batch->pass[i];
    if (pass->op == BATCH_AFFINE) {
        return nn_batch_product(batch, i, control, seconds, err);
    }
    if (pass->op == BATCH_SQUARE &&
        batch->value[pass->out].place == BATCH_SQUARED) {
        return SOTTO_OK;
    }
    const double start = nn_control_seconds(control);
    pass_job job = {.batch = batch, .pass = pass};
    SOTTO_TRY(nn_control_run(control, pass->n_tasks, pass->unit_work, pass_task,
                             &job, err));
    seconds[i] += nn_control_seconds(control) - start;
    return SOTTO_OK;
}

sotto_status nn_batch_run(nn_batch *batch, nn_control *control, nn_trace *trace,
                          sotto_error *err)
{
    double seconds[NN_TRACE_MAX] = {0};
    /* Workers are numbered below the threads that the batch was made for. */
    SOTTO_ASSERT(nn_control_threads(control) <= batch->threads);
    SOTTO_TRY(check_inputs(batch, err));
    for (int i = 0; i < batch->n_passes; i = batch->pass[i].segment_end + 1) {
        const batch_pass *pass = &batch->pass[i];
        const char *name = batch->plan->step[pass->step].name;
        nn_control_name(control, name);
        const sotto_status status = run_passes(batch, i, control, seconds, err);
        if (status == SOTTO_ERR_CANCELLED) {
            return status; /* where it happened to be does not matter */
        }
        if (status != SOTTO_OK) {
            return sotto_fail_prefix(err, status, "step %zu ('%s', %s)",
                                     pass->step, name, op_name(pass));
        }
    }
    if (trace != NULL) {
        begin_trace(batch, trace);
        for (int i = 0; i < batch->n_passes; i++) {
            trace->step[i].seconds += seconds[i];
        }
    }
    return SOTTO_OK;
}
