/* SPDX-License-Identifier: MIT
 * Steps that key switching in one go (keyswitch.c) and in parts (hoist.c)
 * share.
 */
#ifndef SOTTO_RLWE_KEYSWITCH_INTERNAL_H
#define SOTTO_RLWE_KEYSWITCH_INTERNAL_H

#include "rlwe/keyswitch.h"

/* y = [x·(Q_j/q_i)^-1]_{q_i} in coefficients, digit after digit: what
 * rlwe_lift_digits reads.
 * shape: x, y uint64_t[limbs of from][stride]; x NTT domain, turned by map
 * (ring.h) unless that is NULL. */
void rlwe_scale_digits(const rlwe_switcher *switcher,
                       const rlwe_context *context, uint64_t *y,
                       const uint64_t *x, const uint32_t *map);

/* The digits modulo one modulus of level ∪ special: sets limb[d] for every
 * digit, to the limb of x for the digit that has the modulus itself (the lift
 * is x there), else to the next limb of `lifted`, in the order of
 * rlwe_lift_digits. Returns the digit that has the modulus, or -1. */
int rlwe_place_digits(const rlwe_switcher *switcher,
                      const rlwe_context *context, const uint64_t **limb,
                      const uint64_t *lifted, const uint64_t *x, int id);

/* Makes the lifts of the other digits modulo one modulus.
 * shape: y as rlwe_scale_digits leaves it; lifted uint64_t[digits][stride],
 * NTT domain. */
void rlwe_lift_digits(const rlwe_switcher *switcher,
                      const rlwe_context *context, uint64_t *lifted,
                      const uint64_t *y, int id);

/* The rows (b_j, a_j) of a key modulo one modulus, for the digits that the
 * level has. shape: b, a [n_digits] */
void rlwe_key_rows(const rlwe_switcher *switcher, const rlwe_context *context,
                   const uint64_t **b, const uint64_t **a,
                   const rlwe_switch_key *key, int id);

/* Words of scratch for rlwe_divide_acc. */
size_t rlwe_divide_acc_words(const rlwe_switcher *switcher,
                             const rlwe_context *context);

/* The switcher's division of one accumulator.
 * shape: acc uint64_t[all.count][stride]; out uint64_t[limbs of to][stride]. */
void rlwe_divide_acc(const rlwe_switcher *switcher, const rlwe_context *context,
                     uint64_t *out, const uint64_t *acc, uint64_t *scratch);

#endif
