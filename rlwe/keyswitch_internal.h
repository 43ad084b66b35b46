/* SPDX-License-Identifier: MIT
 * Steps that key switching in one go (keyswitch.c) and in parts (hoist.c)
 * share.
 */
#ifndef SOTTO_RLWE_KEYSWITCH_INTERNAL_H
#define SOTTO_RLWE_KEYSWITCH_INTERNAL_H

#include "rlwe/keyswitch.h"

/* y = [x·(Q_j/q_i)^-1]_{q_i} by rns_scale_limb, digit after digit: what
 * rlwe_convert_digits reads.
 * shape: x, y uint64_t[limbs of from][stride]; x NTT domain. */
void rlwe_scale_digits(const rlwe_switcher *switcher,
                       const rlwe_context *context, uint64_t *y,
                       const uint64_t *x);

/* The digits modulo one modulus of level ∪ special: sets limb[d] for every
 * digit, to the limb of x for the digit that has the modulus itself (the lift
 * is x there), else to the next limb of `lifted`, in the order of
 * rlwe_convert_digits. Returns the digit that has the modulus, or -1. */
int rlwe_place_digits(const rlwe_switcher *switcher,
                      const rlwe_context *context, const uint64_t **limb,
                      const uint64_t *lifted, const uint64_t *x, int id);

/* Begins the lifts of the other digits modulo one modulus: coefficients and
 * the first layers of their transforms. Returns how many there are.
 * shape: y as rlwe_scale_digits leaves it; lifted uint64_t[digits][stride]. */
int rlwe_convert_digits(const rlwe_switcher *switcher,
                        const rlwe_context *context, uint64_t *lifted,
                        const uint64_t *y, int id);

/* The rows (b_j, a_j) of a key modulo one modulus, for the digits that the
 * level has. shape: b, a [n_digits] */
void rlwe_key_rows(const rlwe_switcher *switcher, const rlwe_context *context,
                   const uint64_t **b, const uint64_t **a,
                   const rlwe_switch_key *key, int id);

#endif
