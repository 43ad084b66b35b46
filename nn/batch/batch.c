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
        value->ct = sotto_calloc(value->n, sizeof *value->ct);
        ok = value->ct != NULL;
        for (size_t i = 0; ok && i < value->n; i++) {
            rlwe_ct *ct = &value->ct[i].ct;
            ct->data = batch->memory + value->offset + i * value->words;
            ct->capacity = value->words;
            ct->n_components = RLWE_MIN_COMPONENTS;
        }
    }
    for (size_t k = 0; k < batch->network->n_steps && ok; k++) {
        batch_affine *affine = &batch->affine[k];
        for (int s = 0; s < affine->n_sources && ok; s++) {
            batch_source *source = &affine->source[s];
            if (source->rescaled) {
                source->view = sotto_calloc(batch->value[source->value].n,
                                            sizeof *source->view);
                ok = source->view != NULL;
            }
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
    for (int i = 0; i < threads; i++) {
        batch_worker *worker = &batch->worker[i];
        SOTTO_TRY(ckks_evaluator_new(&worker->evaluator, batch->context,
                                     batch->keys, err));
        worker->arena = sotto_arena_init(scratch);
        if (worker->arena.base == NULL) {
            return sotto_fail(err, SOTTO_ERR_MEMORY,
                              "out of memory for %zu bytes of scratch",
                              scratch);
        }
    }
    return SOTTO_OK;
}

static sotto_status fill_batch(nn_batch *batch, int threads, sotto_error *err)
{
    SOTTO_TRY(nn_batch_compile(batch, err));
    nn_batch_layout(batch);
    SOTTO_TRY(nn_batch_chunk_init(batch, err));
    SOTTO_TRY(make_memory(batch, err));
    return make_workers(batch, threads, err);
}

sotto_status nn_batch_new(nn_batch **batch, const nn_plan *plan,
                          const nn_network *network,
                          const rlwe_context *context, const rlwe_keyset *keys,
                          int threads, sotto_error *err)
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
    const sotto_status status = fill_batch(made, threads, err);
    if (status != SOTTO_OK) {
        nn_batch_free(made);
        return status;
    }
    *batch = made;
    return SOTTO_OK;
}

static void free_affine(batch_affine *affine)
{
    for (int s = 0; s < affine->n_sources; s++) {
        sotto_free(affine->source[s].view);
    }
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
    }
    for (size_t k = 0; batch->affine != NULL && k < batch->network->n_steps;
         k++) {
        free_affine(&batch->affine[k]);
    }
    for (int v = 0; v < batch->n_values; v++) {
        sotto_free(batch->value[v].ct);
    }
    nn_batch_chunk_clear(&batch->chunk);
    sotto_free(batch->worker);
    sotto_unmap(batch->memory, batch->memory_words * sizeof *batch->memory);
    sotto_free(batch->value);
    sotto_free(batch->tensor);
    sotto_free(batch->reader);
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
        work += pass->op == BATCH_AFFINE
                    ? pass->unit_work
                    : pass->unit_work * (uint64_t)pass->n_tasks;
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

/* Brings one ciphertext to the level and number of components that the matrix
 * wants. Dropping comes first: what follows then has fewer limbs. */
static sotto_status align(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *in,
                          const batch_affine *affine, bool relinearise)
{
    if (relinearise && in->ct.level == affine->level) {
        SOTTO_TRY(ckks_relinearise(ev, out, in));
    } else {
        if (out != in || in->ct.level != affine->level) {
            SOTTO_TRY(ckks_drop(ev, out, in, affine->level));
        }
        if (relinearise) {
            SOTTO_TRY(ckks_relinearise(ev, out, out));
        }
    }
    /* A component that the source does not have is zero. */
    const int have = out->ct.n_components;
    SOTTO_TRY(rlwe_ct_reshape(&out->ct, ev->context, affine->level,
                              affine->n_components, &ev->error));
    for (int i = have; i < affine->n_components; i++) {
        memset(rlwe_ct_component(&out->ct, ev->context, i), 0,
               rlwe_level_words(ev->context, affine->level) *
                   sizeof *out->ct.data);
    }
    return SOTTO_OK;
}

/* Which ciphertext of which source a task of an align pass is. */
static sotto_status align_task(const nn_batch *batch, const batch_pass *pass,
                               size_t task, ckks_evaluator *ev)
{
    const batch_affine *affine = &batch->affine[pass->step];
    for (int s = 0; s < affine->n_sources; s++) {
        const batch_source *source = &affine->source[s];
        const size_t n = source->align ? batch->value[source->from].n : 0;
        if (task < n) {
            return align(ev, &batch->value[source->value].ct[task],
                         &batch->value[source->from].ct[task], affine,
                         source->relinearise);
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

static const char *op_name(const nn_batch *batch, const batch_pass *pass)
{
    static const char *const name[] = {[BATCH_ALIGN] = "align",
                                       [BATCH_AFFINE] = "affine",
                                       [BATCH_SQUARE] = "square",
                                       [BATCH_RELINEARISE] = "relinearise",
                                       [BATCH_RESCALE] = "rescale",
                                       [BATCH_RELINEARISE_RESCALE] =
                                           "relinearise and rescale"};
    if (pass->op == BATCH_ALIGN &&
        batch->plan->step[pass->step].relinearise_source) {
        return name[BATCH_RELINEARISE];
    }
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
        *step = (nn_trace_step){.kind = op_name(batch, pass),
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

static sotto_status run_pass(nn_batch *batch, const batch_pass *pass,
                             nn_control *control, sotto_error *err)
{
    if (pass->op == BATCH_AFFINE) {
        return nn_batch_product(batch, pass, control, err);
    }
    pass_job job = {.batch = batch, .pass = pass};
    return nn_control_run(control, pass->n_tasks, pass->unit_work, pass_task,
                          &job, err);
}

sotto_status nn_batch_run(nn_batch *batch, nn_control *control, nn_trace *trace,
                          sotto_error *err)
{
    /* Workers are numbered below the threads that the batch was made for. */
    SOTTO_ASSERT(nn_control_threads(control) <= batch->threads);
    if (trace != NULL) {
        begin_trace(batch, trace);
    }
    for (int i = 0; i < batch->n_passes; i++) {
        const batch_pass *pass = &batch->pass[i];
        const char *name = batch->plan->step[pass->step].name;
        const double start = nn_control_seconds(control);
        nn_control_name(control, name);
        const sotto_status status = run_pass(batch, pass, control, err);
        if (status == SOTTO_ERR_CANCELLED) {
            return status; /* where it happened to be does not matter */
        }
        if (status != SOTTO_OK) {
            return sotto_fail_prefix(err, status, "step %zu ('%s', %s)",
                                     pass->step, name, op_name(batch, pass));
        }
        if (trace != NULL) {
            trace->step[i].seconds += nn_control_seconds(control) - start;
        }
    }
    return SOTTO_OK;
}
