/* SPDX-License-Identifier: MIT
 * The constants of key switching for one gadget at one level.
 */
#include "rlwe/keyswitch.h"

/* The limbs of digit j of a gadget that a level has. */
static rns_set digit_limbs(const rlwe_gadget *gadget, int j,
                           const rns_set *level)
{
    rns_set digit = {.count = 0};
    for (int i = 0; i < gadget->limbs.count; i++) {
        if (gadget->digit[i] == j) {
            digit.id[digit.count++] = gadget->limbs.id[i];
        }
    }
    return rns_set_common(&digit, level);
}

/* The conversions of the digits that the level still has. Each digit's product
 * is that of its living limbs: what is gone plays no part in the lift. */
static sotto_status make_digits(rlwe_switcher *switcher, const rns_ring *ring,
                                const rns_set *level, sotto_error *err)
{
    const rlwe_gadget *gadget = &switcher->gadget;
    for (int j = 0; j < gadget->n_digits; j++) {
        const rns_set digit = digit_limbs(gadget, j, level);
        if (digit.count == 0) {
            continue;
        }
        const rns_set rest = rns_set_minus(&switcher->all, &digit);
        SOTTO_TRY(rns_converter_new(&switcher->up[switcher->n_digits], ring,
                                    &digit, &rest, err));
        switcher->digit_number[switcher->n_digits] = j;
        switcher->n_digits++;
    }
    return SOTTO_OK;
}

/* Fills a switcher whose gadget and levels have been checked. On failure the
 * caller frees what is there. */
static sotto_status fill_switcher(rlwe_switcher *switcher,
                                  const rlwe_context *context, sotto_error *err)
{
    const rns_ring *ring = context->ring;
    const rlwe_gadget *gadget = &switcher->gadget;
    const rns_set *level = rlwe_level_set(context, switcher->from);
    const rns_set *keep = rlwe_level_set(context, switcher->to);
    switcher->up = sotto_calloc((size_t)gadget->n_digits, sizeof *switcher->up);
    switcher->p_residue =
        sotto_calloc((size_t)level->count, sizeof *switcher->p_residue);
    if (switcher->up == NULL || switcher->p_residue == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for key switching at level %d",
                          switcher->from);
    }
    switcher->all = rns_set_union(level, &gadget->special);
    SOTTO_TRY(make_digits(switcher, ring, level, err));
    for (int i = 0; i < level->count; i++) {
        switcher->p_residue[i] = rns_product_mod(
            ring, &gadget->special, -1, rns_modulus(ring, level->id[i]));
    }
    /* P alone, or P and what the joined rescale removes: one division. */
    const rns_set by = rns_set_minus(&switcher->all, keep);
    return rns_divider_new(&switcher->down, ring, keep, &by, err);
}

sotto_status rlwe_switcher_new(rlwe_switcher **switcher,
                               const rlwe_context *context,
                               const rlwe_gadget *gadget, int from, int to,
                               sotto_error *err)
{
    *switcher = NULL;
    const rlwe_chain *chain = &context->chain;
    SOTTO_ASSERT(from >= 0 && from < chain->n_levels);
    if (!rns_set_contains(&gadget->limbs, rlwe_level_set(context, from))) {
        return sotto_fail(err, SOTTO_ERR_LEVEL,
                          "key switching at level %d: the gadget serves %d "
                          "moduli, not all of the level's",
                          from, gadget->limbs.count);
    }
    if (from != to && rlwe_chain_step(chain, from, to) == NULL) {
        return sotto_fail(err, SOTTO_ERR_LEVEL,
                          "key switching with a rescale from level %d to level "
                          "%d, which the parameters do not list",
                          from, to);
    }
    rlwe_switcher *made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for key switching at level %d", from);
    }
    made->gadget = *gadget;
    made->from = from;
    made->to = to;
    const sotto_status status = fill_switcher(made, context, err);
    if (status != SOTTO_OK) {
        rlwe_switcher_free(made);
        return status;
    }
    *switcher = made;
    return SOTTO_OK;
}

void rlwe_switcher_free(rlwe_switcher *switcher)
{
    if (switcher == NULL) {
        return;
    }
    for (int d = 0; d < switcher->n_digits; d++) {
        rns_converter_free(switcher->up[d]);
    }
    rns_divider_free(switcher->down);
    sotto_free(switcher->up);
    sotto_free(switcher->p_residue);
    sotto_free(switcher);
}
