/* SPDX-License-Identifier: MIT
 * What follows from a plan: scales, levels, weights, sizes; see plan.h.
 */
#include "nn/plan/plan.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "nn/plan/plan_internal.h"
#include "nn/plan/slots_internal.h"
#include "rlwe/context.h"
#include "rlwe/wire.h"

/* Two scales are the same when they agree to so much. */
#define SCALE_TOLERANCE 0x1p-40

/* Weights are int32_t after rounding. */
#define MAX_INTEGER_WEIGHT 0x1.fffffep30

double nn_plan_tensor_scale(const nn_plan *plan, size_t k)
{
    return k == 0 ? plan->input_scale : plan->step[k - 1].scale;
}

int nn_plan_tensor_level(const nn_plan *plan, size_t k)
{
    return k == 0 ? 0 : plan->step[k - 1].level;
}

int nn_plan_tensor_components(const nn_plan *plan, size_t k)
{
    return k == 0 ? 2 : plan->step[k - 1].n_components;
}

/* Product of the moduli that `to` lacks of `from`; 0 when `to` is no subset. */
static double divisor(const rlwe_params_literal *params, int from, int to)
{
    const rns_set *a = &params->level[from];
    const rns_set *b = &params->level[to];
    if (!rns_set_contains(a, b)) {
        return 0;
    }
    const rns_set removed = rns_set_minus(a, b);
    double product = 1;
    for (int i = 0; i < removed.count; i++) {
        product *= (double)params->modulus[removed.id[i]];
    }
    return product;
}

nn_plan_product nn_plan_step_product(const nn_plan *plan,
                                     const nn_network *network, size_t step)
{
    const nn_plan_step *s = &plan->step[step];
    size_t n = 0;
    const uint32_t *sources =
        nn_affine_sources(network->steps[step].affine, &n);
    nn_plan_product product = {.level = 0, .n_components = 2, .scale = 0};
    for (size_t i = 0; i < n; i++) {
        const int level = nn_plan_tensor_level(plan, sources[i]);
        const int components = nn_plan_tensor_components(plan, sources[i]);
        const double scale = nn_plan_tensor_scale(plan, sources[i]);
        product.level = level > product.level ? level : product.level;
        product.scale = scale > product.scale ? scale : product.scale;
        if (components > product.n_components && !s->relinearise_source) {
            product.n_components = components;
        }
    }
    product.scale =
        plan->packing == NN_PACKING_SINGLE
            ? s->scale * divisor(&plan->params, product.level, s->level)
            : ldexp(product.scale, s->weight_bits);
    return product;
}

double nn_plan_weight_scale(const nn_plan *plan, const nn_network *network,
                            size_t step, uint32_t source)
{
    return nn_plan_step_product(plan, network, step).scale /
           nn_plan_tensor_scale(plan, source);
}

int32_t nn_plan_weight(double weight, double factor)
{
    const double x = weight * factor;
    return (int32_t)(x < 0 ? x - 0.5 : x + 0.5);
}

void nn_plan_round_group(void *arg, size_t step, nn_group *group)
{
    const nn_plan_rounding *rounding = arg;
    if (rounding->plan->packing == NN_PACKING_SINGLE) {
        return;
    }
    const nn_plan_product product =
        nn_plan_step_product(rounding->plan, rounding->network, step);
    for (size_t i = 0; i < group->n_inputs; i++) {
        const double factor =
            product.scale /
            nn_plan_tensor_scale(rounding->plan, group->inputs[i].source);
        for (size_t r = 0; r < group->n_rows; r++) {
            double *w = &group->weights[r * group->n_inputs + i];
            *w = nn_plan_weight(*w, factor) / factor;
        }
    }
    for (size_t r = 0; r < group->n_rows; r++) {
        group->biases[r] =
            nearbyint(group->biases[r] * product.scale) / product.scale;
    }
}

size_t nn_plan_slots(const nn_plan *plan)
{
    return plan->packing == NN_PACKING_SINGLE
               ? 1
               : (size_t)1 << (plan->params.log2_n - 1);
}

uint64_t nn_plan_batches(const nn_plan *plan, uint64_t count)
{
    const uint64_t slots = nn_plan_slots(plan);
    return count / slots + (count % slots != 0);
}

size_t nn_plan_output_cts(const nn_plan *plan)
{
    return plan->packing == NN_PACKING_SINGLE
               ? nn_plan_layout(plan, (size_t)plan->n_steps)->n_cts
               : plan->n_outputs;
}

double nn_plan_log2_q(const nn_plan *plan, int level)
{
    const rns_set *set = &plan->params.level[level];
    double sum = 0;
    for (int i = 0; i < set->count; i++) {
        sum += log2((double)plan->params.modulus[set->id[i]]);
    }
    return sum;
}

/* Values of `range` at `scale` fit the modulus of a level, sign included. */
static sotto_status check_room(const nn_plan *plan, const char *name, int level,
                               double scale, double range, sotto_error *err)
{
    const double have = nn_plan_log2_q(plan, level);
    const double need = log2(scale) + log2(range) + 1;
    if (need > have) {
        return sotto_fail(err, SOTTO_ERR_LEVEL,
                          "step %s at level %d: values up to %.3g at scale "
                          "2^%.1f need %.1f bits of modulus, it has %.1f",
                          name, level, range, log2(scale), need, have);
    }
    return SOTTO_OK;
}

nn_plan_product nn_plan_before_rescale(const nn_plan *plan,
                                       const nn_network *network, size_t step)
{
    if (plan->step[step].kind == NN_STEP_AFFINE) {
        return nn_plan_step_product(plan, network, step);
    }
    const double scale = nn_plan_tensor_scale(plan, step);
    return (nn_plan_product){.level = nn_plan_tensor_level(plan, step),
                             .n_components =
                                 2 * nn_plan_tensor_components(plan, step) - 1,
                             .scale = scale * scale};
}

sotto_status nn_plan_derive(nn_plan *plan, const nn_network *network, size_t k,
                            sotto_error *err)
{
    nn_plan_step *step = &plan->step[k];
    if (step->kind != NN_STEP_AFFINE &&
        2 * nn_plan_tensor_components(plan, k) - 1 > RLWE_MAX_COMPONENTS) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "step %s squares a ciphertext of %d components, "
                          "expected at most %d",
                          step->name, nn_plan_tensor_components(plan, k),
                          (RLWE_MAX_COMPONENTS + 1) / 2);
    }
    const nn_plan_product product = nn_plan_before_rescale(plan, network, k);
    const double by = divisor(&plan->params, product.level, step->level);
    if (by == 0) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "step %s goes from level %d to level %d, which is no "
                          "part of it",
                          step->name, product.level, step->level);
    }
    step->n_components = step->relinearise ? 2 : product.n_components;
    if (plan->packing == NN_PACKING_SINGLE && step->kind == NN_STEP_AFFINE) {
        return SOTTO_OK;
    }
    step->scale = by == 1 ? product.scale : product.scale / by;
    return SOTTO_OK;
}

sotto_status nn_plan_walk(nn_plan *plan, const nn_network *network,
                          sotto_error *err)
{
    for (int k = 0; k < plan->n_steps; k++) {
        const nn_plan_step *step = &plan->step[k];
        SOTTO_TRY(nn_plan_derive(plan, network, (size_t)k, err));
        const nn_plan_product product =
            nn_plan_before_rescale(plan, network, (size_t)k);
        SOTTO_TRY(check_room(plan, step->name, product.level, product.scale,
                             step->range, err));
        SOTTO_TRY(check_room(plan, step->name, step->level, step->scale,
                             step->range, err));
    }
    return SOTTO_OK;
}

/* Kinds and sizes of all steps agree. */
static sotto_status verify_shape(const nn_plan *plan, const nn_network *network,
                                 sotto_error *err)
{
    const size_t pixels = nn_shape_size(&plan->input_shape);
    if (pixels != network->n_inputs || plan->n_outputs != network->n_outputs ||
        (size_t)plan->n_steps != network->n_steps) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "the plan has %zu inputs, %d steps, %zu outputs; the "
                          "model %zu, %zu, %zu: they do not belong together",
                          pixels, plan->n_steps, plan->n_outputs,
                          network->n_inputs, network->n_steps,
                          network->n_outputs);
    }
    for (int k = 0; k < plan->n_steps; k++) {
        const nn_plan_step *a = &plan->step[k];
        const nn_step *b = &network->steps[k];
        if (a->kind != b->kind || a->n_elements != b->n_elements) {
            return sotto_fail(err, SOTTO_ERR_MISMATCH,
                              "step %d (%s) of the plan makes %zu values, the "
                              "model's (%s) %zu of another kind or number: "
                              "they do not belong together",
                              k, a->name, a->n_elements, b->name,
                              b->n_elements);
        }
    }
    return SOTTO_OK;
}

/* Every integer weight of a step fits 32 bits. */
static sotto_status verify_weights(const nn_plan *plan,
                                   const nn_network *network, size_t k,
                                   sotto_error *err)
{
    const nn_affine *affine = network->steps[k].affine;
    const nn_plan_product product = nn_plan_step_product(plan, network, k);
    nn_cursor *cursor = NULL;
    SOTTO_TRY(nn_cursor_new(&cursor, affine, NULL, err));
    double worst = 0;
    for (size_t r = 0; r < nn_affine_rows(affine); r++) {
        const nn_row row = nn_cursor_row(cursor, r);
        for (size_t i = 0; i < row.n_terms; i++) {
            const nn_term *term = &row.terms[i];
            const double factor =
                product.scale / nn_plan_tensor_scale(plan, term->from.source);
            worst = fmax(worst, fabs(term->weight * factor));
        }
    }
    nn_cursor_free(cursor);
    if (!(worst < MAX_INTEGER_WEIGHT)) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "step %zu (%s): a weight becomes the integer %.3g, "
                          "expected less than 2^31; plan the model again",
                          k, plan->step[k].name, worst);
    }
    return SOTTO_OK;
}

sotto_status nn_plan_verify(const nn_plan *plan, const nn_network *network,
                            sotto_error *err)
{
    SOTTO_TRY(verify_shape(plan, network, err));
    nn_plan *copy = sotto_calloc(1, sizeof(*copy));
    if (copy == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    *copy = *plan;
    sotto_status status = nn_plan_walk(copy, network, err);
    if (status != SOTTO_OK) {
        status = sotto_fail_prefix(err, SOTTO_ERR_MISMATCH,
                                   "plan and model do not belong together");
    }
    for (int k = 0; status == SOTTO_OK && k < plan->n_steps; k++) {
        const nn_plan_step *have = &plan->step[k];
        const nn_plan_step *want = &copy->step[k];
        if (have->n_components != want->n_components ||
            fabs(have->scale / want->scale - 1) > SCALE_TOLERANCE) {
            status = sotto_fail(err, SOTTO_ERR_MISMATCH,
                                "step %d (%s): the plan says %d components at "
                                "scale %a, the model gives %d at %a",
                                k, have->name, have->n_components, have->scale,
                                want->n_components, want->scale);
        }
    }
    sotto_free(copy);
    if (status == SOTTO_OK && plan->packing == NN_PACKING_SINGLE) {
        return nn_plan_verify_slots(plan, network, err);
    }
    for (size_t k = 0; status == SOTTO_OK && k < network->n_steps; k++) {
        if (plan->step[k].kind == NN_STEP_AFFINE) {
            status = verify_weights(plan, network, k, err);
        }
    }
    return status;
}

/* Whether step k divides or switches keys, so that what it does it does to
 * whole ciphertexts. */
static bool works_on_whole(const nn_plan *plan, size_t k)
{
    const nn_plan_step *step = &plan->step[k];
    return step->relinearise || step->level != nn_plan_tensor_level(plan, k);
}

/* Whether tensor k is held as ciphertexts: what is between two maps that work
 * column by column never is (nn/batch/segment.c). */
static bool is_held(const nn_plan *plan, size_t k)
{
    if (k == 0 || k == (size_t)plan->n_steps || works_on_whole(plan, k - 1)) {
        return true;
    }
    const nn_plan_step *next = &plan->step[k];
    return next->relinearise_source ||
           (next->kind == NN_STEP_SQUARE && works_on_whole(plan, k));
}

/* Bytes of tensor k, as its step leaves it before it divides. */
static uint64_t tensor_bytes(const nn_plan *plan, const rlwe_context *context,
                             size_t k)
{
    const size_t before = k == 0 ? 0 : k - 1;
    const uint64_t n = plan->packing == NN_PACKING_SINGLE
                           ? nn_plan_layout(plan, k)->n_cts
                       : k == 0 ? plan->n_inputs
                                : plan->step[before].n_elements;
    const bool switched = k > 0 && plan->step[before].relinearise;
    const int components = nn_plan_tensor_components(plan, k) + switched;
    return n * (uint64_t)components * sizeof(uint64_t) *
           rlwe_level_words(context, nn_plan_tensor_level(plan, before));
}

/* Ciphertexts that are held at once: the largest sum of two that follow each
 * other. */
static uint64_t server_memory(const nn_plan *plan, const rlwe_context *context)
{
    uint64_t most = 0;
    uint64_t before = 0;
    for (size_t k = 0; k <= (size_t)plan->n_steps; k++) {
        if (is_held(plan, k)) {
            const uint64_t bytes = tensor_bytes(plan, context, k);
            most = before + bytes > most ? before + bytes : most;
            before = bytes;
        }
    }
    return most;
}

sotto_status nn_plan_sizes(nn_plan_bytes *bytes, const nn_plan *plan,
                           sotto_error *err)
{
    memset(bytes, 0, sizeof(*bytes));
    rlwe_context *context = NULL;
    SOTTO_TRY(rlwe_context_new(&context, &plan->params, err));
    const int last = plan->n_steps;
    bytes->secret_key = ((uint64_t)1 << plan->params.log2_n) / 4;
    for (int i = 0; i < plan->n_keys; i++) {
        bytes->eval_key += rlwe_switch_key_record_bytes(
            context, &plan->params.gadget[plan->key[i].gadget]);
    }
    bytes->input_per_batch =
        plan->n_inputs * (uint64_t)rlwe_ct_record_bytes(context, 0, 2, true);
    bytes->output_per_batch =
        nn_plan_output_cts(plan) *
        (uint64_t)rlwe_ct_record_bytes(
            context, nn_plan_tensor_level(plan, (size_t)last),
            nn_plan_tensor_components(plan, (size_t)last), false);
    bytes->server_memory = server_memory(plan, context);
    if (plan->packing == NN_PACKING_SINGLE) {
        bytes->server_memory += (uint64_t)nn_slot_key_bytes(plan);
    }
    rlwe_context_free(context);
    return SOTTO_OK;
}
