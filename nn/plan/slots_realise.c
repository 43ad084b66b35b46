/* SPDX-License-Identifier: MIT
 * From the best draft to a plan for single packing: moduli, gadgets, steps,
 * keys, and what its noise will be. See slots_internal.h.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ckks/eval.h"
#include "ckks/lintrans.h"
#include "ckks/noise.h"
#include "nn/plan/plan_internal.h"
#include "nn/plan/realise_internal.h"
#include "nn/plan/slots_internal.h"

/* Gadgets share a special modulus that is smaller by so many bits at most. */
#define SHARE_BITS 0.3

/* ---- Moduli -------------------------------------------------------------- */

/* Whether a special modulus that is there already serves a gadget that wants
 * one of so many bits. */
static bool serves(uint64_t q, double bits)
{
    const double missed = bits - log2((double)q);
    return missed > -0.01 && missed < SHARE_BITS;
}

/* Special moduli of a gadget: those of gadgets before where they fit. */
static sotto_status set_special(rlwe_params_literal *params,
                                nn_found_moduli *found, rlwe_gadget *gadget,
                                const nn_draft_gadget *from, int first_id,
                                sotto_error *err)
{
    rns_set *set = &gadget->special;
    for (int id = first_id; id < params->n_moduli; id++) {
        if (set->count < from->specials &&
            serves(params->modulus[id], from->special_bits)) {
            set->id[set->count++] = (uint8_t)id;
        }
    }
    while (set->count < from->specials) {
        SOTTO_TRY(nn_find_prime(&params->modulus[params->n_moduli], found,
                                from->special_bits, err));
        set->id[set->count++] = (uint8_t)params->n_moduli++;
    }
    return SOTTO_OK;
}

/* A gadget for each run of segments that share one; number[segment]: which. */
static sotto_status set_gadgets(nn_plan *plan, nn_found_moduli *found,
                                const nn_draft *draft, int *number,
                                sotto_error *err)
{
    rlwe_params_literal *params = &plan->params;
    const int limbs = nn_draft_limbs(draft, 0);
    const int share =
        (draft->n_segments + RLWE_MAX_GADGETS - 1) / RLWE_MAX_GADGETS;
    for (int s = 0; s < draft->n_segments; s++) {
        const nn_draft_gadget *from = &draft->gadget[s];
        number[s] = from->specials > 0 ? params->n_gadgets : -1;
        if (from->specials == 0) {
            continue;
        }
        if (s % share > 0) {
            number[s]--;
            continue;
        }
        rlwe_gadget *gadget = &params->gadget[params->n_gadgets++];
        gadget->limbs = rns_set_range(0, nn_draft_limbs(draft, s));
        gadget->n_digits =
            (gadget->limbs.count + from->digit_limbs - 1) / from->digit_limbs;
        for (int i = 0; i < gadget->limbs.count; i++) {
            gadget->digit[i] = (uint8_t)(i / from->digit_limbs);
        }
        SOTTO_TRY(set_special(params, found, gadget, from, limbs, err));
    }
    return SOTTO_OK;
}

static sotto_status set_moduli(nn_plan *plan, nn_found_moduli *found,
                               const nn_draft *draft, int *number,
                               sotto_error *err)
{
    rlwe_params_literal *params = &plan->params;
    params->log2_n = found->log2_n = draft->log2_n;
    params->n_moduli = nn_draft_limbs(draft, 0);
    params->n_levels = draft->n_segments;
    for (int s = 0; s < draft->n_segments; s++) {
        params->level[s] = rns_set_range(0, nn_draft_limbs(draft, s));
    }
    SOTTO_TRY(
        nn_find_group(plan, found, &draft->base, draft->base.bits, 0, err));
    for (int s = draft->n_segments - 2; s >= 0; s--) {
        SOTTO_TRY(nn_find_group(plan, found, &draft->removed[s],
                                draft->removed[s].bits,
                                nn_draft_limbs(draft, s + 1), err));
    }
    SOTTO_TRY(set_gadgets(plan, found, draft, number, err));
    if (params->has_public) {
        params->public_special = params->gadget[0].special.id[0];
    }
    return SOTTO_OK;
}

/* ---- Steps --------------------------------------------------------------- */

/* log2 of the scale that an affine step's tensor has in the draft, which is the
 * exact scale in the plan. */
static double affine_scale(const nn_plan *plan, const nn_draft *draft,
                           const nn_search *search, int k)
{
    const nn_step_facts *facts = &search->facts[k];
    double top = 0;
    if (draft->step[k].target_bits > 0) {
        return ldexp(1.0, draft->step[k].target_bits);
    }
    for (int p = 0; p < facts->n_parts; p++) {
        top = fmax(top, nn_plan_tensor_scale(plan, facts->part[p].source));
    }
    return ldexp(1.0, (int)rint(log2(top)) + draft->step[k].weight_bits);
}

static sotto_status set_steps(nn_plan *plan, const nn_draft *draft,
                              const nn_search *search, const nn_single *single,
                              const int *number, sotto_error *err)
{
    plan->n_steps = search->n_steps;
    for (int k = 0; k < plan->n_steps; k++) {
        const int segment = nn_slot_segment_of(draft, k);
        nn_plan_step *step = &plan->step[k];
        step->kind = search->facts[k].kind;
        nn_plan_plain_name(step->name, search->network->steps[k].name);
        step->n_elements = search->facts[k].n_out;
        step->relinearise = step->kind == NN_STEP_SQUARE;
        step->n_components = 2;
        step->level = draft->step[k].segment;
        step->range = exp2(search->range_bits[k + 1]);
        step->slots = (nn_plan_slots_step){
            .choice = nn_single_choice_of(single, (size_t)k),
            .gadget = number[segment],
            .late_folds = nn_slot_folds_late(draft, search, k)};
        if (step->kind == NN_STEP_AFFINE) {
            step->scale = affine_scale(plan, draft, search, k);
        }
        SOTTO_TRY(nn_plan_derive(plan, search->network, (size_t)k, err));
    }
    return SOTTO_OK;
}

sotto_status nn_slot_realise(nn_plan *plan, const nn_draft *draft,
                             const nn_search *search, const nn_single *single,
                             sotto_error *err)
{
    int number[NN_MAX_SEGMENTS];
    nn_found_moduli *found = sotto_calloc(1, sizeof(*found));
    if (found == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    plan->packing = NN_PACKING_SINGLE;
    plan->params =
        (rlwe_params_literal){.security = search->security,
                              .allow_insecure = search->allow_insecure,
                              .has_public = search->public_key};
    plan->input_scale = ldexp(1.0, draft->input_bits);
    plan->input_layout = single->places[0]->layout;
    plan->n_inputs = plan->input_layout.n_cts;
    sotto_status status = set_moduli(plan, found, draft, number, err);
    sotto_free(found);
    if (status == SOTTO_OK) {
        status = set_steps(plan, draft, search, single, number, err);
    }
    SOTTO_TRY(status);
    SOTTO_TRY(nn_slot_list_keys(plan->key, &plan->n_keys, plan, single, err));
    return nn_plan_walk(plan, search->network, err);
}

/* ---- Keys ---------------------------------------------------------------- */

/* Keys while they are collected. */
typedef struct key_list {
    const nn_plan *plan;
    uint32_t slots;
    uint8_t *used; /* [n_gadgets][slots]: rotations; 0 stands for squares */
    bool orphan;   /* something is switched by no gadget */
} key_list;

static void use(key_list *list, int gadget, uint32_t rotation)
{
    rotation &= list->slots - 1;
    if (rotation != 0 && gadget < 0) {
        list->orphan = true;
    } else if (rotation != 0) {
        list->used[(size_t)gadget * list->slots + rotation] = 1;
    }
}

/* Rotations of one map. */
static void use_map(key_list *list, const nn_single_map *map, int gadget)
{
    for (size_t d = 0; d < map->n_diagonals; d++) {
        use(list, gadget, map->diagonal[d].giant);
        use(list, gadget, map->diagonal[d].rotation - map->diagonal[d].giant);
    }
    for (uint32_t f = map->fold; f < map->window; f *= 2) {
        use(list, gadget, f);
    }
    for (uint32_t i = 1; i < map->pool[0] * map->pool[1]; i++) {
        for (size_t c = 0; c < map->n_in; c++) {
            use(list, gadget,
                nn_cell_rotation(&map->sum_step[2 * c], map->pool, i,
                                 list->slots));
        }
    }
}

static int compare_keys(const void *a, const void *b)
{
    const nn_plan_key *x = a;
    const nn_plan_key *y = b;
    if (x->gadget != y->gadget) {
        return x->gadget - y->gadget;
    }
    if (x->target.kind != y->target.kind) {
        return x->target.kind < y->target.kind ? -1 : 1;
    }
    return (x->target.value > y->target.value) -
           (x->target.value < y->target.value);
}

/* The marked keys. Returns their number, however many. */
static size_t write_keys(nn_plan_key *key, const key_list *list)
{
    const rlwe_params_literal *params = &list->plan->params;
    size_t n = 0;
    for (int g = 0; g < params->n_gadgets; g++) {
        for (uint32_t r = 0; r < list->slots; r++) {
            if (list->used[(size_t)g * list->slots + r] == 0) {
                continue;
            }
            if (n < NN_PLAN_MAX_KEYS) {
                key[n] = (nn_plan_key){
                    {RLWE_KEY_GALOIS, ckks_rotation_galois(params->log2_n, r)},
                    g};
                if (r == 0) {
                    key[n].target = (rlwe_key_target){RLWE_KEY_POWER, 2};
                }
            }
            n++;
        }
    }
    return n;
}

sotto_status nn_slot_list_keys(nn_plan_key *key, int *n_keys,
                               const nn_plan *plan, const nn_single *single,
                               sotto_error *err)
{
    key_list list = {.plan = plan,
                     .slots = (uint32_t)1 << (plan->params.log2_n - 1)};
    list.used = sotto_calloc((size_t)plan->params.n_gadgets * list.slots, 1);
    if (list.used == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    for (int k = 0; k < plan->n_steps; k++) {
        const int gadget = plan->step[k].slots.gadget;
        if (plan->step[k].kind == NN_STEP_AFFINE) {
            use_map(&list, &single->map[k], gadget);
        } else if (gadget >= 0) {
            list.used[(size_t)gadget * list.slots] = 1;
        }
    }
    const size_t n = write_keys(key, &list);
    sotto_free(list.used);
    if (list.orphan) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "the plan names no gadget for a step that rotates");
    }
    if (n > NN_PLAN_MAX_KEYS) {
        return sotto_fail(err, SOTTO_ERR_KEY,
                          "the plan needs %zu switching keys, at most %d are "
                          "possible",
                          n, NN_PLAN_MAX_KEYS);
    }
    *n_keys = (int)n;
    qsort(key, n, sizeof *key, compare_keys);
    return SOTTO_OK;
}

double nn_slot_key_bytes(const nn_plan *plan)
{
    const double stride =
        (double)sotto_limb_stride((size_t)1 << plan->params.log2_n);
    double bytes = 0;
    for (int i = 0; i < plan->n_keys; i++) {
        const rlwe_gadget *g = &plan->params.gadget[plan->key[i].gadget];
        bytes +=
            16 * stride * g->n_digits * (g->limbs.count + g->special.count);
    }
    return bytes;
}

/* ---- Noise --------------------------------------------------------------- */

/* Whether a map will be hoisted once: what ckks_lintrans_new chooses. */
static sotto_status find_hoisting(bool *once, const nn_plan *plan,
                                  const nn_single_map *map, int k, int from,
                                  const rlwe_context *context, sotto_error *err)
{
    ckks_diagonal *diagonal = sotto_calloc(map->n_diagonals, sizeof *diagonal);
    int64_t *giant = sotto_calloc(map->n_diagonals, sizeof *giant);
    ckks_lintrans_split split = {.hoisting = CKKS_HOIST_DOUBLE};
    sotto_status status = SOTTO_ERR_MEMORY;
    if (diagonal == NULL || giant == NULL) {
        (void)sotto_fail(err, status, "plan: out of memory");
    } else {
        for (size_t i = 0; i < map->n_diagonals; i++) {
            const nn_single_diagonal *d = &map->diagonal[i];
            diagonal[i] = (ckks_diagonal){
                .out = d->out, .in = d->in, .rotation = d->rotation};
            giant[i] = d->giant;
        }
        const ckks_lintrans_spec spec = {.n_in = map->n_in,
                                         .n_out = map->n_out,
                                         .n_diagonals = map->n_diagonals,
                                         .diagonal = diagonal,
                                         .giant = giant,
                                         .from = from,
                                         .to = plan->step[k].level,
                                         .gadget = plan->step[k].slots.gadget};
        status = ckks_lintrans_choose(&split, NULL, context, &spec, 0, err);
    }
    *once = split.hoisting == CKKS_HOIST_SINGLE;
    sotto_free(diagonal);
    sotto_free(giant);
    return status;
}

/* Single operations around step k. */
static nn_slot_noise exact_noise(const nn_plan *plan,
                                 const rlwe_context *context, int k, int from,
                                 bool keys)
{
    const nn_plan_step *step = &plan->step[k];
    const int removed =
        plan->params.level[from].count - plan->params.level[step->level].count;
    nn_slot_noise noise = {.rounding = ckks_noise_division(context, 1, 1)};
    int specials = 0;
    if (keys) {
        const rlwe_gadget *gadget = &plan->params.gadget[step->slots.gadget];
        double p = 1;
        for (int i = 0; i < gadget->special.count; i++) {
            p *= (double)plan->params.modulus[gadget->special.id[i]];
        }
        specials = gadget->special.count;
        noise.key = ckks_noise_switch_raw(context, gadget, from) / (p * p);
        noise.key_late =
            ckks_noise_switch_raw(context, gadget, step->level) / (p * p);
        noise.divide_special = ckks_noise_division(context, 2, specials);
        noise.divide_half = ckks_noise_division(context, 1, specials);
        noise.divide_late = noise.divide_special;
    }
    const int end = removed + specials;
    noise.divide_end = end > 0 ? ckks_noise_division(context, 2, end) : 0;
    return noise;
}

static sotto_status affine_terms(nn_error_terms *terms, const nn_plan *plan,
                                 const nn_search *search,
                                 const nn_single *single,
                                 const rlwe_context *context, int k,
                                 sotto_error *err)
{
    const nn_step_facts *facts = &search->facts[k];
    const nn_slot_facts *slots = &search->slots->step[k];
    const nn_single_counts *c = &slots->counts;
    const nn_plan_product product =
        nn_plan_before_rescale(plan, search->network, (size_t)k);
    const bool keys = c->babies + c->giants + c->sums + c->folds > 0;
    double in[NN_MAX_SOURCES];
    double rms[NN_MAX_SOURCES];
    for (int p = 0; p < facts->n_parts; p++) {
        in[p] = nn_plan_tensor_scale(plan, facts->part[p].source);
        rms[p] = search->rms[facts->part[p].source];
    }
    nn_slot_noise noise = exact_noise(plan, context, k, product.level, keys);
    if (keys) {
        SOTTO_TRY(find_hoisting(&noise.hoists_once, plan, &single->map[k], k,
                                product.level, context, err));
    }
    const nn_slot_scales scales = {.in = in,
                                   .product = product.scale,
                                   .out = plan->step[k].scale,
                                   .rms = rms};
    const nn_slot_added added = nn_slot_added_by(
        facts, slots, &noise, &scales, plan->step[k].slots.late_folds);
    terms->added[k] = added.noise;
    terms->rounding[k] = added.rounding;
    return SOTTO_OK;
}

sotto_status nn_slot_terms(nn_error_terms *terms, const nn_plan *plan,
                           const nn_search *search, const nn_single *single,
                           const rlwe_context *context, sotto_error *err)
{
    for (int k = 0; k < plan->n_steps; k++) {
        const nn_plan_step *step = &plan->step[k];
        if (step->kind == NN_STEP_AFFINE) {
            SOTTO_TRY(
                affine_terms(terms, plan, search, single, context, k, err));
            continue;
        }
        const nn_plan_product product =
            nn_plan_before_rescale(plan, search->network, (size_t)k);
        const nn_slot_noise noise =
            exact_noise(plan, context, k, product.level, true);
        terms->added[k] = noise.key / (product.scale * product.scale) +
                          noise.divide_end / (step->scale * step->scale);
        terms->rounding[k] = 0;
    }
    return SOTTO_OK;
}
