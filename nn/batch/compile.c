/* SPDX-License-Identifier: MIT
 * From plan and network to values and passes.
 *
 * Walks the steps once and carries level, components and scale of every value
 * along by the rules of the evaluator. What comes out must be what the plan
 * says of each step: a plan that does not fit its network, its parameters or
 * its keys is found here, before a ciphertext is touched.
 */
#include <math.h>

#include "base/mem.h"
#include "nn/batch/batch_internal.h"

/* Scales count as equal up to this relative difference, as in ckks/eval.h. */
#define SCALE_TOLERANCE 0x1p-40

static bool scales_agree(double a, double b)
{
    return fabs(a - b) <= SCALE_TOLERANCE * b;
}

/* Notes that pass `pass` holds value v in its present state. */
static void touch(nn_batch *batch, int v, int pass)
{
    batch_value *value = &batch->value[v];
    const size_t words = (size_t)value->n_components *
                         rlwe_level_words(batch->context, value->level);
    if (value->place == BATCH_SQUARED) {
        touch(batch, value->root, pass);
    } else if (words > value->words) {
        value->words = words;
    }
    if (pass > value->dead) {
        value->dead = pass;
    }
}

/* A new value of n ciphertexts, first written by pass `born`. */
static int add_value(nn_batch *batch, size_t n, int born)
{
    const int v = batch->n_values++;
    batch->value[v] =
        (batch_value){.n = n, .root = -1, .born = born, .dead = born};
    return v;
}

/* Appends a pass that leaves its output with the given level and components
 * and a scale of `scale`. */
static void add_pass(nn_batch *batch, batch_pass pass)
{
    const int at = batch->n_passes;
    batch_value *out = &batch->value[pass.out];
    if (pass.in >= 0) {
        touch(batch, pass.in, at);
    }
    out->level = pass.level;
    out->n_components = pass.n_components;
    out->scale = pass.scale;
    out->exact = pass.exact;
    touch(batch, pass.out, at);
    pass.segment_end = at;
    batch->pass[at] = pass;
    batch->n_passes++;
}

/* Rough work of NTTs over one ciphertext, in multiplications of the matrix
 * stage, so that a progress bar moves evenly. */
static uint64_t ntt_work(const nn_batch *batch, int n_ntts)
{
    const ntt_ring *ring = &batch->context->ring->ring;
    return (uint64_t)n_ntts * ring->n * (uint64_t)ring->log2_n * 2;
}

static int n_limbs(const nn_batch *batch, int level)
{
    return rlwe_level_set(batch->context, level)->count;
}

/* Fails unless there is a key for each power that 2 components lack. */
static sotto_status check_keys(const nn_batch *batch, size_t k, int level,
                               int n_components, sotto_error *err)
{
    for (int power = 2; power < n_components; power++) {
        const rlwe_key_target target = {.kind = RLWE_KEY_POWER,
                                        .value = (uint64_t)power};
        if (batch->keys == NULL || rlwe_keyset_find(batch->keys, batch->context,
                                                    target, level) == NULL) {
            return sotto_fail(err, SOTTO_ERR_KEY,
                              "step %zu ('%s') needs a key for power %d of the "
                              "secret at level %d; expected one among the %d "
                              "evaluation keys given (sotto keygen makes what "
                              "a plan lists)",
                              k, batch->plan->step[k].name, power, level,
                              batch->keys != NULL ? batch->keys->n_keys : 0);
        }
    }
    return SOTTO_OK;
}

/* ---- Affine steps -------------------------------------------------------- */

/* Finds one source's value. It may differ from what the matrix reads:
 *
 *     level        limbs that the product does not have are not read
 *     components   relinearised if the plan says so; otherwise those that the
 *                  source lacks are zero
 *     scale        left alone: the weights carry the ratio
 */
static sotto_status bind_source(nn_batch *batch, size_t k, uint32_t tensor,
                                batch_source *source, sotto_error *err)
{
    const nn_plan_step *plan = &batch->plan->step[k];
    const batch_affine *affine = &batch->affine[k];
    source->tensor = tensor;
    source->from = source->value = batch->tensor[tensor];
    source->factor =
        nn_plan_weight_scale(batch->plan, batch->network, k, tensor);
    const batch_value *from = &batch->value[source->from];
    source->relinearise = plan->relinearise_source && from->n_components > 2;
    if (from->level != affine->level &&
        !rlwe_chain_can_drop(&batch->context->chain, from->level,
                             affine->level)) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "step %zu ('%s') reads tensor %u at level %d, which "
                          "cannot be dropped to level %d of the product",
                          k, plan->name, tensor, from->level, affine->level);
    }
    if (!scales_agree(from->scale * source->factor, affine->product_scale)) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "step %zu ('%s'): products with tensor %u have scale "
                          "%.17g; expected %.17g",
                          k, plan->name, tensor, from->scale * source->factor,
                          affine->product_scale);
    }
    return SOTTO_OK;
}

/* Finds the sources and what the matrix makes of them. Their common scale is
 * the largest: its weights are multiplied by a power of two. */
static sotto_status bind_sources(nn_batch *batch, size_t k, sotto_error *err)
{
    batch_affine *affine = &batch->affine[k];
    size_t n;
    const uint32_t *tensor =
        nn_affine_sources(batch->network->steps[k].affine, &n);
    if (n < 1 || n > BATCH_MAX_SOURCES) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "step %zu ('%s') reads %zu tensors; expected 1 to %d",
                          k, batch->plan->step[k].name, n, BATCH_MAX_SOURCES);
    }
    const nn_plan_product product =
        nn_plan_step_product(batch->plan, batch->network, k);
    affine->level = product.level;
    affine->n_components = product.n_components;
    affine->product_scale = product.scale;
    affine->n_sources = (int)n;
    for (size_t i = 0; i < n; i++) {
        const double scale = batch->value[batch->tensor[tensor[i]]].scale;
        affine->scale = fmax(affine->scale, scale);
    }
    for (size_t i = 0; i < n; i++) {
        SOTTO_TRY(bind_source(batch, k, tensor[i], &affine->source[i], err));
    }
    /* Sources with another scale count as if they had the common one. */
    const batch_value *first = &batch->value[batch->tensor[tensor[0]]];
    affine->exact_scale =
        first->scale == affine->scale ? first->exact : affine->scale;
    affine->exact_product =
        affine->exact_scale * (affine->product_scale / affine->scale);
    return SOTTO_OK;
}

/* Books the relinearisation of one source, in place when this is its last
 * reader, otherwise in a copy. */
static sotto_status align_source(nn_batch *batch, size_t k,
                                 batch_source *source, uint64_t *work,
                                 size_t *n_tasks, sotto_error *err)
{
    const batch_affine *affine = &batch->affine[k];
    const batch_value from = batch->value[source->from];
    if (!source->relinearise) {
        return SOTTO_OK;
    }
    const int limbs = n_limbs(batch, affine->level);
    SOTTO_TRY(check_keys(batch, k, affine->level, from.n_components, err));
    *work += from.n *
             ntt_work(batch, (from.n_components - 2) * limbs * (limbs + 2) + 1);
    *n_tasks += from.n;
    touch(batch, source->from, batch->n_passes);
    if (batch->reader[source->tensor] != k) {
        source->value = add_value(batch, from.n, batch->n_passes);
    }
    batch_value *value = &batch->value[source->value];
    value->level = affine->level;
    value->n_components = 2;
    value->scale = from.scale;
    value->exact = from.exact;
    touch(batch, source->value, batch->n_passes);
    return SOTTO_OK;
}

/* One pass for all sources that have to be changed. */
static sotto_status compile_align(nn_batch *batch, size_t k, sotto_error *err)
{
    batch_affine *affine = &batch->affine[k];
    uint64_t work = 0;
    size_t n_tasks = 0;
    for (int i = 0; i < affine->n_sources; i++) {
        SOTTO_TRY(
            align_source(batch, k, &affine->source[i], &work, &n_tasks, err));
    }
    if (n_tasks > 0) {
        const int at = batch->n_passes++;
        batch->pass[at] = (batch_pass){.op = BATCH_ALIGN,
                                       .step = k,
                                       .segment_end = at,
                                       .in = -1,
                                       .out = -1,
                                       .n_tasks = n_tasks,
                                       .level = affine->level,
                                       .n_components = affine->n_components,
                                       .scale = affine->scale,
                                       .unit_work = work / n_tasks};
    }
    return SOTTO_OK;
}

static sotto_status compile_affine(nn_batch *batch, size_t k, int *result,
                                   sotto_error *err)
{
    batch_affine *affine = &batch->affine[k];
    SOTTO_TRY(bind_sources(batch, k, err));
    SOTTO_TRY(compile_align(batch, k, err));
    const nn_affine *map = batch->network->steps[k].affine;
    const nn_group_options options = {.max_block = BATCH_MAX_BLOCK};
    SOTTO_TRY(nn_groups_new(&affine->groups, map, &options, err));
    SOTTO_TRY(nn_cursor_new(&affine->cursor, map, affine->groups, err));
    const int at = batch->n_passes;
    for (int i = 0; i < affine->n_sources; i++) {
        touch(batch, affine->source[i].value, at);
    }
    const size_t n = batch->network->steps[k].n_elements;
    *result = add_value(batch, n, at);
    add_pass(batch, (batch_pass){.op = BATCH_AFFINE,
                                 .step = k,
                                 .in = -1,
                                 .out = *result,
                                 .n_tasks = n,
                                 .level = affine->level,
                                 .n_components = affine->n_components,
                                 .scale = affine->product_scale,
                                 .exact = affine->exact_product});
    return SOTTO_OK;
}

/* ---- Squares, relinearisation, rescaling --------------------------------- */

/* Whether the squares of step k need not be stored: one map reads them, as they
 * are, and can make them from two components while it loads them. */
static bool is_made_by_reader(const nn_batch *batch, size_t k)
{
    const nn_network *network = batch->network;
    const nn_plan_step *plan = &batch->plan->step[k];
    const batch_value *from =
        &batch->value[batch->tensor[network->steps[k].source]];
    const size_t reader = batch->reader[k + 1];
    return batch->n_readers[k + 1] == 1 && reader < network->n_steps &&
           network->steps[reader].kind == NN_STEP_AFFINE &&
           !batch->plan->step[reader].relinearise_source &&
           from->n_components == 2 && !plan->relinearise &&
           plan->level == from->level;
}

/* A value that stands for the squares of `root`, which has to stay as it is
 * until they have been read. */
static int add_squares(nn_batch *batch, size_t k, int root)
{
    const batch_value from = batch->value[root];
    const uint32_t source = batch->network->steps[k].source;
    if (batch->reader[source] < batch->reader[k + 1]) {
        batch->reader[source] = batch->reader[k + 1];
    }
    const int v = add_value(batch, from.n, batch->n_passes);
    batch->value[v].place = BATCH_SQUARED;
    batch->value[v].root = root;
    return v;
}

static sotto_status compile_square(nn_batch *batch, size_t k, int *result,
                                   sotto_error *err)
{
    const uint32_t source = batch->network->steps[k].source;
    const int in = batch->tensor[source];
    const batch_value from = batch->value[in];
    const int components = 2 * from.n_components - 1;
    if (components > RLWE_MAX_COMPONENTS) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "step %zu ('%s') squares %d components; expected at "
                          "most 3: the plan must relinearise before",
                          k, batch->plan->step[k].name, from.n_components);
    }
    const bool is_made_later = is_made_by_reader(batch, k);
    /* Room for the third component was booked by touch: a value is as large as
     * it ever becomes. */
    const bool in_place = batch->reader[source] == k && !is_made_later;
    *result = is_made_later ? add_squares(batch, k, in)
              : in_place    ? in
                            : add_value(batch, from.n, batch->n_passes);
    add_pass(batch,
             (batch_pass){.op = BATCH_SQUARE,
                          .step = k,
                          .in = in,
                          .out = *result,
                          .n_tasks = from.n,
                          .level = from.level,
                          .n_components = components,
                          .scale = from.scale * from.scale,
                          .exact = from.exact * from.exact,
                          .unit_work =
                              is_made_later
                                  ? 0
                                  : batch->context->ring->ring.n * 4 *
                                        (uint64_t)components *
                                        (uint64_t)n_limbs(batch, from.level)});
    return SOTTO_OK;
}

/* Relinearises and divides as the plan's step says, in place, at once where it
 * does both. */
static sotto_status compile_finish(nn_batch *batch, size_t k, int v,
                                   sotto_error *err)
{
    const nn_plan_step *plan = &batch->plan->step[k];
    const batch_value now = batch->value[v];
    const bool relinearise = plan->relinearise && now.n_components > 2;
    const bool rescale = plan->level != now.level;
    if (!relinearise && !rescale) {
        return SOTTO_OK;
    }
    const int limbs = n_limbs(batch, now.level);
    batch_pass pass = {.op = BATCH_RELINEARISE,
                       .step = k,
                       .in = v,
                       .out = v,
                       .n_tasks = now.n,
                       .level = plan->level,
                       .n_components = relinearise ? 2 : now.n_components,
                       .scale = now.scale,
                       .exact = now.exact};
    int ntts = relinearise ? (now.n_components - 2) * limbs * (limbs + 2) : 0;
    if (relinearise) {
        SOTTO_TRY(check_keys(batch, k, now.level, now.n_components, err));
    }
    if (rescale) {
        const rlwe_transition *step =
            rlwe_chain_step(&batch->context->chain, now.level, plan->level);
        if (step == NULL) {
            return sotto_fail(err, SOTTO_ERR_MISMATCH,
                              "step %zu ('%s') goes from level %d to level %d; "
                              "the parameters allow no such division",
                              k, plan->name, now.level, plan->level);
        }
        pass.op = relinearise ? BATCH_RELINEARISE_RESCALE : BATCH_RESCALE;
        pass.scale = now.scale / step->divisor;
        pass.exact = now.exact / step->divisor;
        ntts += limbs * pass.n_components;
    }
    pass.unit_work = ntt_work(batch, ntts);
    add_pass(batch, pass);
    return SOTTO_OK;
}

/* Fails unless value v is what the plan promises of step k's tensor. */
static sotto_status check_step(const nn_batch *batch, size_t k, int v,
                               sotto_error *err)
{
    const nn_plan_step *plan = &batch->plan->step[k];
    const batch_value *value = &batch->value[v];
    if (value->level != plan->level ||
        value->n_components != plan->n_components ||
        !scales_agree(value->scale, plan->scale) ||
        value->n != plan->n_elements) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "step %zu ('%s') makes %zu ciphertexts of %d "
                          "components at level %d and scale %.17g; the plan "
                          "says %zu of %d at level %d and scale %.17g",
                          k, plan->name, value->n, value->n_components,
                          value->level, value->scale, plan->n_elements,
                          plan->n_components, plan->level, plan->scale);
    }
    return SOTTO_OK;
}

static sotto_status compile_step(nn_batch *batch, size_t k, sotto_error *err)
{
    const nn_step *step = &batch->network->steps[k];
    int v = -1;
    if (step->kind != batch->plan->step[k].kind) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "step %zu ('%s') is of another kind in the plan than "
                          "in the network",
                          k, step->name);
    }
    if (step->kind == NN_STEP_AFFINE) {
        SOTTO_TRY(compile_affine(batch, k, &v, err));
    } else if (step->kind == NN_STEP_SQUARE) {
        SOTTO_TRY(compile_square(batch, k, &v, err));
    } else {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "step %zu ('%s') is %s; expected an affine map or a "
                          "square",
                          k, step->name, step->origin);
    }
    SOTTO_TRY(compile_finish(batch, k, v, err));
    batch->tensor[k + 1] = v;
    return check_step(batch, k, v, err);
}

/* The last step that reads each tensor, and how many do; the scores are never
 * dead. */
static void find_readers(nn_batch *batch)
{
    const nn_network *network = batch->network;
    for (size_t k = 0; k < network->n_steps; k++) {
        const nn_step *step = &network->steps[k];
        if (step->kind == NN_STEP_AFFINE) {
            size_t n;
            const uint32_t *tensor = nn_affine_sources(step->affine, &n);
            for (size_t i = 0; i < n; i++) {
                batch->reader[tensor[i]] = k;
                batch->n_readers[tensor[i]]++;
            }
        } else {
            batch->reader[step->source] = k;
            batch->n_readers[step->source]++;
        }
    }
    batch->reader[network->n_steps] = SIZE_MAX;
}

sotto_status nn_batch_compile(nn_batch *batch, sotto_error *err)
{
    const nn_plan *plan = batch->plan;
    const size_t n_steps = batch->network->n_steps;
    if ((size_t)plan->n_steps != n_steps || n_steps < 1 ||
        n_steps > NN_PLAN_MAX_STEPS ||
        plan->n_inputs != batch->network->n_inputs) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "the network has %zu inputs and %zu steps; the plan "
                          "says %zu and %d",
                          batch->network->n_inputs, n_steps, plan->n_inputs,
                          plan->n_steps);
    }
    /* Each step makes at most its result and a copy of each source. */
    const size_t cap = (n_steps + 1) * (BATCH_MAX_SOURCES + 1);
    batch->value = sotto_calloc(cap, sizeof *batch->value);
    batch->tensor = sotto_calloc(n_steps + 1, sizeof *batch->tensor);
    batch->reader = sotto_calloc(n_steps + 1, sizeof *batch->reader);
    batch->n_readers = sotto_calloc(n_steps + 1, sizeof *batch->n_readers);
    batch->pass = sotto_calloc(3 * n_steps, sizeof *batch->pass);
    batch->affine = sotto_calloc(n_steps, sizeof *batch->affine);
    if (batch->value == NULL || batch->tensor == NULL ||
        batch->reader == NULL || batch->n_readers == NULL ||
        batch->pass == NULL || batch->affine == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for the steps of a network");
    }
    find_readers(batch);
    const int input = add_value(batch, plan->n_inputs, -1);
    batch->value[input].n_components = 2;
    batch->value[input].scale = plan->input_scale;
    batch->value[input].exact = plan->input_scale;
    touch(batch, input, -1);
    batch->tensor[0] = input;
    for (size_t k = 0; k < n_steps; k++) {
        SOTTO_TRY(compile_step(batch, k, err));
    }
    /* The scores are read after the last pass. */
    touch(batch, batch->tensor[n_steps], batch->n_passes);
    return SOTTO_OK;
}
