/* SPDX-License-Identifier: MIT
 * From the best draft to a plan for batch packing; see realise_internal.h.
 */
#include "nn/plan/realise_internal.h"

#include <math.h>

#include "base/mem.h"
#include "nn/plan/plan_internal.h"
#include "rlwe/moduli.h"

void nn_plan_plain_name(char *out, const char *name)
{
    size_t i = 0;
    for (; name[i] != '\0' && i + 1 < NN_PLAN_NAME_BYTES; i++) {
        const unsigned char c = (unsigned char)name[i];
        out[i] = c > ' ' && c < 0x7f ? name[i] : '_';
    }
    out[i] = '\0';
}

sotto_status nn_find_prime(uint64_t *q, nn_found_moduli *found, double bits,
                           sotto_error *err)
{
    SOTTO_ASSERT(found->n < RNS_MAX_LIMBS);
    found->target[found->n++] =
        fmin(fmax(bits, rlwe_moduli_min_log2(found->log2_n)),
             rlwe_moduli_max_log2(found->log2_n));
    SOTTO_TRY(rlwe_moduli_find(found->modulus, found->log2_n, found->target,
                               found->n, err));
    *q = found->modulus[found->n - 1];
    return SOTTO_OK;
}

sotto_status nn_find_group(nn_plan *plan, nn_found_moduli *found,
                           const nn_prime_group *group, double bits, int first,
                           sotto_error *err)
{
    const nn_prime_group sized = {bits, group->count, group->n_short};
    double missed = 0;
    for (int i = 0; i < group->count; i++) {
        const double want = nn_prime_group_bits(&sized, i);
        uint64_t q;
        SOTTO_TRY(
            nn_find_prime(&q, found, want + missed / (group->count - i), err));
        plan->params.modulus[first + i] = q;
        missed += want - log2((double)q);
    }
    return SOTTO_OK;
}

/* Ids: base first, then the groups from the last removed to the first, then
 * the special ones; so level g is the first nn_draft_limbs(g) ids. */
static void set_levels(rlwe_params_literal *params, const nn_draft *draft)
{
    const int limbs = nn_draft_limbs(draft, 0);
    params->log2_n = draft->log2_n;
    params->n_moduli = limbs + draft->special.count;
    params->n_levels = draft->n_segments;
    for (int g = 0; g < draft->n_segments; g++) {
        params->level[g] = rns_set_range(0, nn_draft_limbs(draft, g));
    }
    if (draft->special.count > 0) {
        rlwe_gadget *gadget = &params->gadget[0];
        params->n_gadgets = 1;
        gadget->limbs = rns_set_range(0, limbs);
        gadget->special = rns_set_range(limbs, draft->special.count);
        gadget->n_digits =
            (limbs + draft->digit_limbs - 1) / draft->digit_limbs;
        for (int i = 0; i < limbs; i++) {
            gadget->digit[i] = (uint8_t)(i / draft->digit_limbs);
        }
    }
}

static void set_steps(nn_plan *plan, const nn_draft *draft,
                      const nn_search *search)
{
    bool keys = false;
    plan->n_steps = search->n_steps;
    for (int k = 0; k < plan->n_steps; k++) {
        nn_plan_step *step = &plan->step[k];
        const nn_draft_step *from = &draft->step[k];
        step->kind = search->facts[k].kind;
        nn_plan_plain_name(step->name, search->network->steps[k].name);
        step->n_elements = search->facts[k].n_out;
        step->weight_bits =
            step->kind == NN_STEP_AFFINE ? from->weight_bits : 0;
        step->relinearise_source = from->relinearise_source;
        step->relinearise = from->relinearise;
        keys = keys || from->relinearise || from->relinearise_source;
        step->level = from->segment;
        step->range = exp2(search->range_bits[k + 1]);
    }
    if (keys) {
        plan->n_keys = 1;
        plan->key[0] =
            (nn_plan_key){{.kind = RLWE_KEY_POWER, .value = 2}, .gadget = 0};
    }
}

/* Chooses the primes of each rescale so that the exact scale behind it is as
 * near to the draft's as primes allow: what one prime misses would otherwise
 * double with every square. */
static sotto_status set_moduli(nn_plan *plan, nn_found_moduli *found,
                               const nn_draft *draft, const nn_search *search,
                               sotto_error *err)
{
    int segment = 0;
    for (int k = 0; k < plan->n_steps; k++) {
        if (draft->step[k].target_bits > 0) {
            const nn_plan_product product =
                nn_plan_before_rescale(plan, search->network, (size_t)k);
            const double bits =
                log2(product.scale) - draft->step[k].target_bits;
            SOTTO_TRY(nn_find_group(plan, found, &draft->removed[segment], bits,
                                    nn_draft_limbs(draft, segment + 1), err));
            segment++;
        }
        SOTTO_TRY(nn_plan_derive(plan, search->network, (size_t)k, err));
    }
    SOTTO_TRY(
        nn_find_group(plan, found, &draft->base, draft->base.bits, 0, err));
    return nn_find_group(plan, found, &draft->special, draft->special.bits,
                         nn_draft_limbs(draft, 0), err);
}

sotto_status nn_draft_realise(nn_plan *plan, const nn_draft *draft,
                              const nn_search *search, sotto_error *err)
{
    set_levels(&plan->params, draft);
    plan->params.security = search->security;
    plan->params.allow_insecure = search->allow_insecure;
    plan->params.has_public = search->public_key;
    plan->params.public_special = nn_draft_limbs(draft, 0);
    plan->input_scale = ldexp(1.0, draft->input_bits);
    set_steps(plan, draft, search);
    nn_found_moduli *found = sotto_calloc(1, sizeof(*found));
    if (found == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    found->log2_n = draft->log2_n;
    const sotto_status status = set_moduli(plan, found, draft, search, err);
    sotto_free(found);
    SOTTO_TRY(status);
    return nn_plan_walk(plan, search->network, err);
}
