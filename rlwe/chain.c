/* SPDX-License-Identifier: MIT
 * The level table and the constants of its divisions.
 */
#include "rlwe/chain.h"

#include <string.h>

/* The product of a set's moduli as a double: each factor is exact (below
 * 2^53) or rounded once, each product rounded once. */
static double product_of(const rns_ring *ring, const rns_set *set)
{
    double product = 1;
    for (int i = 0; i < set->count; i++) {
        product *= (double)rns_modulus(ring, set->id[i])->q;
    }
    return product;
}

/* Appends the steps; n_transitions counts those that own a divider, so that
 * a failure half-way can be cleared. */
static sotto_status add_transitions(rlwe_chain *chain, const rns_ring *ring,
                                    const rlwe_params_literal *literal,
                                    sotto_error *err)
{
    for (int i = 0; i < literal->n_steps; i++) {
        rlwe_transition *t = &chain->transition[i];
        t->from = literal->step[i].from;
        t->to = literal->step[i].to;
        const rns_set *keep = &chain->level[t->to].set;
        t->removed = rns_set_minus(&chain->level[t->from].set, keep);
        t->divisor = product_of(ring, &t->removed);
        SOTTO_TRY(rns_divider_new(&t->divider, ring, keep, &t->removed, err));
        chain->n_transitions = i + 1;
    }
    return SOTTO_OK;
}

sotto_status rlwe_chain_init(rlwe_chain *chain, const rns_ring *ring,
                             const rlwe_params *params, sotto_error *err)
{
    const rlwe_params_literal *literal = &params->literal;
    memset(chain, 0, sizeof *chain);
    chain->n_levels = literal->n_levels;
    for (int i = 0; i < literal->n_levels; i++) {
        chain->level[i].set = literal->level[i];
        chain->level[i].log2_q = rns_log2(ring, &literal->level[i]);
    }
    const sotto_status status = add_transitions(chain, ring, literal, err);
    if (status != SOTTO_OK) {
        rlwe_chain_clear(chain);
    }
    return status;
}

void rlwe_chain_clear(rlwe_chain *chain)
{
    for (int i = 0; i < chain->n_transitions; i++) {
        rns_divider_free(chain->transition[i].divider);
    }
    memset(chain, 0, sizeof *chain);
}

const rlwe_transition *rlwe_chain_step(const rlwe_chain *chain, int from,
                                       int to)
{
    for (int i = 0; i < chain->n_transitions; i++) {
        if (chain->transition[i].from == from &&
            chain->transition[i].to == to) {
            return &chain->transition[i];
        }
    }
    return NULL;
}

bool rlwe_chain_can_drop(const rlwe_chain *chain, int from, int to)
{
    return from >= 0 && from < chain->n_levels && to >= 0 &&
           to < chain->n_levels &&
           rns_set_contains(&chain->level[from].set, &chain->level[to].set);
}
