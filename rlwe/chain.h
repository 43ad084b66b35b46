/* SPDX-License-Identifier: MIT
 * Levels are rows of a table.
 *
 * A row is an ordered set of limbs with its exact size; a step is an allowed
 * division. Nothing assumes that a level is a prefix of the limbs, or that
 * levels are one prime apart. Level 0 is the largest.
 */
#ifndef SOTTO_RLWE_CHAIN_H
#define SOTTO_RLWE_CHAIN_H

#include <stdbool.h>

#include "base/status.h"
#include "ntt/rns.h"
#include "rlwe/params.h"

/* One row. */
typedef struct rlwe_level {
    rns_set set;
    double log2_q; /* log2 of the product */
} rlwe_level;

/* One allowed rescale with its constants. */
typedef struct rlwe_transition {
    int from;
    int to;
    rns_set removed;      /* moduli divided out */
    double divisor;       /* their product as a double (exact if one) */
    rns_divider *divider; /* owned */
} rlwe_transition;

/* The table; immutable. */
typedef struct rlwe_chain {
    int n_levels;
    rlwe_level level[RLWE_MAX_LEVELS];
    int n_transitions;
    rlwe_transition transition[RLWE_MAX_STEPS];
} rlwe_chain;

/* Builds the table. error: SOTTO_ERR_MEMORY; the chain is then empty.
 * owner: the caller, rlwe_chain_clear. */
sotto_status rlwe_chain_init(rlwe_chain *chain, const rns_ring *ring,
                             const rlwe_params *params,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Frees what the chain owns. */
void rlwe_chain_clear(rlwe_chain *chain);

/* The transition from -> to, or NULL when it is not allowed. */
const rlwe_transition *rlwe_chain_step(const rlwe_chain *chain, int from,
                                       int to);

/* True when a ciphertext at level `from` may be dropped to level `to` without
 * a division: the set of `to` is contained in that of `from`. */
bool rlwe_chain_can_drop(const rlwe_chain *chain, int from, int to);

#endif
