/* SPDX-License-Identifier: MIT
 * Making a plan: what the search needs to know, the best draft, exact moduli
 * and scales, predictions.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ckks/noise.h"
#include "nn/plan/draft_internal.h"
#include "nn/plan/plan_internal.h"
#include "nn/plan/realise_internal.h"
#include "nn/plan/slots_internal.h"
#include "rlwe/context.h"

#define DEFAULT_MARGIN 1.3
#define DEFAULT_CONFIDENCE 20.0
/* Default targets, relative to the planned bound of the scores. */
#define DEFAULT_HE_BITS 9
#define DEFAULT_ROUNDING_BITS 6
#define FIRST_LOG2_N 12
/* From so many images on batch packing is not questioned: one batch takes a few
 * hundred times what one image takes in single packing. */
#define MAX_SINGLE_IMAGES 1024

/* Refuses what batch packing cannot evaluate. */
static sotto_status check_kinds(const nn_network *network, sotto_error *err)
{
    if (network->n_steps > NN_PLAN_MAX_STEPS) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "the network has %zu steps, expected at most %d",
                          network->n_steps, NN_PLAN_MAX_STEPS);
    }
    for (size_t k = 0; k < network->n_steps; k++) {
        const nn_step *step = &network->steps[k];
        if (step->kind != NN_STEP_AFFINE && step->kind != NN_STEP_SQUARE) {
            return sotto_fail(
                err, SOTTO_ERR_UNSUPPORTED,
                "node '%s' (%s) cannot be evaluated on ciphertexts; linear "
                "layers and quadratic activations can: train with 'square' or "
                "'quadratic' and average pooling instead",
                step->name, step->origin);
        }
    }
    return SOTTO_OK;
}

/* Planned bounds and sizes of all tensors. */
static sotto_status set_ranges(nn_search *search, nn_plan *plan,
                               const nn_network *network,
                               const nn_statistics *statistics, double margin,
                               sotto_error *err)
{
    const nn_tensor_statistics *input = &statistics->tensor[0];
    plan->input_min = input->range_known ? input->min : 0;
    plan->input_max = input->range_known ? input->max : 1;
    const double bound =
        fmax(fmax(fabs(plan->input_min), fabs(plan->input_max)), 0x1p-20);
    search->range_bits[0] = ceil(log2(bound));
    search->rms[0] = input->range_known ? input->rms : bound / sqrt(3.0);
    for (int k = 1; k <= search->n_steps; k++) {
        const nn_tensor_statistics *t = &statistics->tensor[k];
        search->rms[k] = t->rms;
        if (network->steps[k - 1].kind == NN_STEP_SQUARE) {
            search->range_bits[k] = 2 * search->range_bits[k - 1];
            continue;
        }
        if (!t->range_known) {
            return sotto_fail(
                err, SOTTO_ERR_RANGE,
                "the range of the values at node '%s' is unknown; give images "
                "of the training set with --calibrate, or train with sotto, "
                "which writes ranges into the model",
                network->steps[k - 1].name);
        }
        const double b = fmax(fmax(fabs(t->min), fabs(t->max)), 0x1p-20);
        search->range_bits[k] = ceil(log2(b * margin));
    }
    return SOTTO_OK;
}

static double or_default(double value, double standard)
{
    return value > 0 ? value : standard;
}

/* What step k adds to the error of its tensor. */
static double exact_added(const nn_plan *plan, const nn_search *search,
                          const rlwe_context *context, int k)
{
    const nn_plan_step *step = &plan->step[k];
    const rlwe_gadget *gadget = &plan->params.gadget[0];
    const double after = 1 / (step->scale * step->scale);
    int level = nn_plan_tensor_level(plan, (size_t)k);
    double product_scale = nn_plan_tensor_scale(plan, (size_t)k);
    product_scale *= product_scale;
    double variance = 0;
    if (step->kind == NN_STEP_AFFINE) {
        const nn_plan_product product =
            nn_plan_step_product(plan, search->network, (size_t)k);
        level = product.level;
        product_scale = product.scale;
        if (step->relinearise_source) {
            const nn_map_part *part = &search->facts[k].part[0];
            const double gain =
                part->spectral / nn_plan_tensor_scale(plan, part->source);
            variance +=
                gain * gain * ckks_noise_switch(context, gadget, level, 1);
        }
    }
    if (step->relinearise && level != step->level) {
        variance += after * ckks_noise_switch_rescale(context, gadget, level,
                                                      step->level, 1);
    } else if (step->relinearise) {
        variance += ckks_noise_switch(context, gadget, level, 1) /
                    (product_scale * product_scale);
    } else if (level != step->level) {
        const int removed = plan->params.level[level].count -
                            plan->params.level[step->level].count;
        variance +=
            after * ckks_noise_division(context, step->n_components, removed);
    }
    return variance;
}

void nn_plan_predict(nn_plan *plan, const nn_search *search,
                     nn_error_terms *terms, const rlwe_context *context)
{
    nn_error error[NN_PLAN_MAX_STEPS + 1];
    const double fresh =
        plan->params.has_public
            ? fmax(ckks_noise_fresh(context), ckks_noise_fresh_public(context))
            : ckks_noise_fresh(context);
    terms->fresh = fresh / (plan->input_scale * plan->input_scale);
    terms->scale_bits[0] = log2(plan->input_scale);
    for (int k = 0; k < plan->n_steps; k++) {
        terms->scale_bits[k + 1] = log2(plan->step[k].scale);
        terms->product_bits[k] = log2(
            nn_plan_before_rescale(plan, search->network, (size_t)k).scale);
    }
    nn_propagate(search, terms, error);
    for (int k = 0; k < plan->n_steps; k++) {
        plan->step[k].he_error = nn_he_error(search, &error[k + 1]);
    }
    const nn_plan_step *last = &plan->step[plan->n_steps - 1];
    const nn_error *scores = &error[plan->n_steps];
    plan->he_noise_std = sqrt(scores->fresh + scores->added);
    plan->he_error = nn_he_error(search, scores);
    plan->rounding_error = search->z * sqrt(scores->rounding);
    plan->margin_bits = nn_plan_log2_q(plan, last->level) - log2(last->scale) -
                        log2(last->range) - 1;
}

/* Predictions for batch packing, by the noise formulas of ckks/noise. */
static sotto_status predict(nn_plan *plan, const nn_search *search,
                            sotto_error *err)
{
    rlwe_context *context = NULL;
    SOTTO_TRY(rlwe_context_new(&context, &plan->params, err));
    nn_error_terms terms;
    for (int k = 0; k < plan->n_steps; k++) {
        terms.added[k] = exact_added(plan, search, context, k);
    }
    nn_plan_predict(plan, search, &terms, context);
    rlwe_context_free(context);
    return SOTTO_OK;
}

/* Fills in the search's settings from options and statistics. */
static sotto_status prepare(nn_search *search, nn_plan *plan,
                            const nn_plan_options *options,
                            const nn_statistics *statistics, sotto_error *err)
{
    const nn_network *network = search->network;
    search->n_steps = (int)network->n_steps;
    search->security = options->security ? options->security : 128;
    search->allow_insecure = options->allow_insecure;
    search->public_key = options->public_key;
    search->plain_chain = options->plain_chain;
    search->images = options->images ? options->images : 1;
    search->cost = options->costs != NULL ? *options->costs : nn_cost_default();
    SOTTO_TRY(set_ranges(search, plan, network, statistics,
                         or_default(options->range_margin, DEFAULT_MARGIN),
                         err));
    const double scores = exp2(search->range_bits[search->n_steps]);
    search->he_target =
        or_default(options->he_target, ldexp(scores, -DEFAULT_HE_BITS));
    search->rounding_target = or_default(options->rounding_target,
                                         ldexp(scores, -DEFAULT_ROUNDING_BITS));
    plan->confidence = or_default(options->confidence, DEFAULT_CONFIDENCE);
    const double n_scores = (double)search->images * (double)network->n_outputs;
    search->z = ckks_noise_factor(n_scores, plan->confidence);
    search->z_tail = ckks_noise_tail_factor(n_scores, plan->confidence, 1);
    return SOTTO_OK;
}

/* Appends the names of steps where something happens. */
static void append_steps(char *text, size_t cap, const nn_draft *draft,
                         const nn_search *search, const char *what,
                         bool (*happens)(const nn_draft_step *step))
{
    bool first = true;
    for (int k = 0; k < search->n_steps; k++) {
        if (happens(&draft->step[k])) {
            char name[NN_PLAN_NAME_BYTES];
            const size_t at = strlen(text);
            nn_plan_plain_name(name, search->network->steps[k].name);
            (void)snprintf(text + at, cap - at, "%s%s%s",
                           !first    ? ", "
                           : at == 0 ? ""
                                     : "; ",
                           first ? what : "", name);
            first = false;
        }
    }
}

static bool rescales(const nn_draft_step *step)
{
    return step->target_bits > 0;
}

static bool relinearises(const nn_draft_step *step)
{
    return step->relinearise;
}

static bool relinearises_source(const nn_draft_step *step)
{
    return step->relinearise_source;
}

/* Says in words and figures what the search found. */
static void describe(nn_plan_choice *choice, const nn_draft *draft,
                     const nn_search *search)
{
    *choice = (nn_plan_choice){
        .packing = search->slots != NULL ? NN_PACKING_SINGLE : NN_PACKING_BATCH,
        .log2_n = draft->log2_n,
        .limbs = nn_draft_limbs(draft, 0),
        .log2_qp = draft->total_bits,
        .keys = draft->special.count > 0,
        .seconds = draft->seconds,
        .he_error = draft->he_error,
        .rounding_error = draft->rounding_error};
    const size_t cap = sizeof(choice->what);
    append_steps(choice->what, cap, draft, search, "rescale behind ", rescales);
    if (search->slots == NULL) {
        append_steps(choice->what, cap, draft, search, "relinearise behind ",
                     relinearises);
        append_steps(choice->what, cap, draft, search, "relinearise before ",
                     relinearises_source);
    }
    if (choice->what[0] == '\0') {
        (void)snprintf(choice->what, cap, "nothing but products");
    }
}

/* What the habit would take, for comparison, in whatever ring it fits from
 * 2^first on; not fitting any is no error. */
static sotto_status describe_plain(nn_plan_choice *choice,
                                   const nn_search *search, int first)
{
    nn_search *plain = sotto_calloc(1, sizeof(*plain));
    nn_draft *draft = sotto_calloc(NN_PLAN_CHOICES, sizeof(*draft));
    sotto_status status =
        plain != NULL && draft != NULL ? SOTTO_OK : SOTTO_ERR_MEMORY;
    if (status == SOTTO_OK) {
        int n = 0;
        *plain = *search;
        plain->plain_chain = true;
        status =
            nn_draft_search(draft, &n, plain, first, RLWE_MAX_LOG2_N, NULL);
        if (status == SOTTO_OK) {
            describe(choice, draft, search);
        }
    }
    sotto_free(plain);
    sotto_free(draft);
    return status == SOTTO_ERR_LEVEL ? SOTTO_OK : status;
}

/* Predicted times of the chosen draft. */
static void set_times(nn_plan *plan, const nn_draft *draft,
                      const nn_search *search)
{
    nn_draft_times times;
    nn_draft_predict(&times, draft, search);
    plan->seconds = draft->seconds;
    plan->read_seconds = times.read * 1e-9;
    for (int k = 0; k < plan->n_steps; k++) {
        plan->step[k].seconds = times.step[k] * 1e-9;
    }
}

void nn_plan_set_choices(nn_plan *plan, const nn_draft *draft, int n_drafts,
                         const nn_search *search)
{
    plan->n_choices = n_drafts;
    for (int i = 0; i < n_drafts; i++) {
        describe(&plan->choice[i], &draft[i], search);
    }
    set_times(plan, draft, search);
}

/* Plans for batch packing. */
static sotto_status make_batch(nn_plan *plan, const nn_search *search,
                               int first, int last, sotto_error *err)
{
    int n = 0;
    nn_draft *draft = sotto_calloc(NN_PLAN_CHOICES, sizeof(*draft));
    if (draft == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    plan->packing = NN_PACKING_BATCH;
    plan->n_inputs = search->network->n_inputs;
    sotto_status status = nn_draft_search(draft, &n, search, first, last, err);
    if (status == SOTTO_OK) {
        status = describe_plain(&plan->plain, search, first);
    }
    if (status == SOTTO_OK) {
        status = nn_draft_realise(plan, draft, search, err);
    }
    if (status == SOTTO_OK) {
        nn_plan_set_choices(plan, draft, n, search);
        status = predict(plan, search, err);
    }
    sotto_free(draft);
    return status;
}

/* What both packings have in common. */
static void set_common(nn_plan *plan, const nn_search *search,
                       const nn_plan_options *options)
{
    const nn_network *network = search->network;
    plan->measured = options->costs != NULL;
    plan->costs = search->cost;
    plan->images = search->images;
    plan->input_shape = network->input_shape;
    plan->n_outputs = network->n_outputs;
    plan->softmax = network->softmax;
    plan->n_mean = options->n_mean;
    for (int i = 0; i < options->n_mean; i++) {
        plan->mean[i] = options->mean[i];
        plan->std[i] = options->std[i];
    }
}

/* Adds the best choice of another plan behind those of a plan. */
static void add_choice(nn_plan *plan, const nn_plan *other)
{
    const int at = plan->n_choices < NN_PLAN_CHOICES ? plan->n_choices++
                                                     : NN_PLAN_CHOICES - 1;
    plan->choice[at] = other->choice[0];
}

/* Plans for both packings; *plan becomes the faster one. */
static sotto_status make_either(nn_plan *plan, nn_plan *other,
                                const nn_search *search,
                                const nn_plan_options *options, int first,
                                int last, sotto_error *err)
{
    *other = *plan;
    const sotto_status batch = make_batch(plan, search, first, last, err);
    if (search->images >= MAX_SINGLE_IMAGES ||
        (batch != SOTTO_OK && batch != SOTTO_ERR_LEVEL)) {
        return batch;
    }
    const sotto_status single = nn_slot_make(
        other, search, options, first, last, batch == SOTTO_OK ? NULL : err);
    if (single != SOTTO_OK) {
        return batch;
    }
    if (batch != SOTTO_OK || other->seconds < plan->seconds) {
        if (batch == SOTTO_OK) {
            add_choice(other, plan);
        }
        *plan = *other;
    } else {
        add_choice(plan, other);
    }
    return SOTTO_OK;
}

static sotto_status make(nn_plan *plan, nn_plan *other, nn_search *search,
                         const nn_plan_options *options,
                         const nn_statistics *statistics, sotto_error *err)
{
    const int first = options->log2_n ? options->log2_n : FIRST_LOG2_N;
    const int last = options->log2_n ? options->log2_n : RLWE_MAX_LOG2_N;
    SOTTO_TRY(prepare(search, plan, options, statistics, err));
    set_common(plan, search, options);
    if (options->packing == NN_PACKING_SINGLE) {
        return nn_slot_make(plan, search, options, first, last, err);
    }
    if (options->packing == NN_PACKING_BATCH) {
        return make_batch(plan, search, first, last, err);
    }
    return make_either(plan, other, search, options, first, last, err);
}

sotto_status nn_plan_make(nn_plan **plan, const nn_network *network,
                          const nn_plan_options *options, sotto_error *err)
{
    *plan = NULL;
    const nn_plan_options defaults = {0};
    options = options == NULL ? &defaults : options;
    SOTTO_ASSERT(options->n_mean >= 0 && options->n_mean <= NN_PLAN_MAX_MEAN);
    SOTTO_TRY(check_kinds(network, err));
    nn_statistics own = {0};
    if (options->statistics == NULL) {
        SOTTO_TRY(nn_statistics_load(&own, network, err));
    }
    nn_step_facts *facts = NULL;
    sotto_status status = nn_analyse(&facts, network, err);
    nn_plan *made = sotto_calloc(1, sizeof(*made));
    nn_plan *other = sotto_calloc(1, sizeof(*other));
    nn_search *search = sotto_calloc(1, sizeof(*search));
    if (status == SOTTO_OK && (!made || !other || !search)) {
        status = sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    if (status == SOTTO_OK) {
        search->network = network;
        search->facts = facts;
        status = make(made, other, search, options,
                      options->statistics ? options->statistics : &own, err);
    }
    nn_statistics_clear(&own);
    sotto_free(facts);
    sotto_free(other);
    sotto_free(search);
    if (status != SOTTO_OK) {
        sotto_free(made);
        return status;
    }
    *plan = made;
    return SOTTO_OK;
}
