/* SPDX-License-Identifier: MIT
 * Steps that key switching in one go (keyswitch.c) and in parts (hoist.c)
 * share.
 */
#ifndef SOTTO_RLWE_KEYSWITCH_INTERNAL_H
#define SOTTO_RLWE_KEYSWITCH_INTERNAL_H

#include "rlwe/keyswitch.h"

/* y = [x·(Q_j/q_i)^-1]_{q_i} in coefficients, digit after digit: what
 * rlwe_lift_digit reads.
 * shape: x, y uint64_t[limbs of from][stride]; x NTT domain. */
void rlwe_scale_digits(const rlwe_switcher *switcher,
                       const rlwe_context *context, uint64_t *y,
                       const uint64_t *x);

/* The digits modulo one modulus of level ∪ special: sets limb[d] for every
 * digit, either to the limb of x (a modulus of the digit itself: the lift is x
 * there) or to the digit's lift, which is then still to be made there by
 * rlwe_lift_digit. lifted[0], lifted[1], … are handed out in order, stride
 * words each. Returns how many were. */
int rlwe_place_digits(const rlwe_switcher *switcher,
                      const rlwe_context *context, const uint64_t **limb,
                      const uint64_t *lifted, const uint64_t *x, int id);

/* Makes all lifts modulo one modulus: as rlwe_place_digits, NTT domain. */
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
