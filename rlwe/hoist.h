/* SPDX-License-Identifier: MIT
 * Hoisting: key switching in parts, so that many rotations share one ModUp and
 * many products one ModDown.
 *
 *     decompose   x            -> digits              once per ciphertext
 *     product     digits, key  -> (u_0, u_1)          once per rotation
 *     sum         plain · u    -> (acc_0, acc_1)      once per giant step
 *     divide      acc          -> c                   once per result
 *
 * An accumulator is a polynomial modulo Q·P: uint64_t[all.count][stride] in
 * NTT domain, limb i of it belonging to the modulus all.id[i] of the
 * switcher's `all` = level ∪ special, ids rising. Plaintexts that multiply
 * accumulators have the same limbs; accumulators are added and multiplied by
 * the functions of ntt/poly.h with &switcher->all.
 *
 * Digits and accumulators belong to a gadget and a level `from`: all switchers
 * with these two may share them, whatever their `to`, which matters to
 * rlwe_hoist_divide only.
 *
 * Lifts are centred and divisions round to nearest, so both are odd functions
 * of the coefficients and X -> X^g commutes with them. Hence the digits of
 * σ(x) are the σ of the digits of x, and
 *
 *     rlwe_switch(c_0, σ(x), key) = divide(product(digits(x), key, σ, P·c_0))
 *
 * bit for bit. All data here is public.
 */
#ifndef SOTTO_RLWE_HOIST_H
#define SOTTO_RLWE_HOIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "rlwe/context.h"
#include "rlwe/keys.h"
#include "rlwe/keyswitch.h"

/* Most terms of rlwe_hoist_sum. */
#define RLWE_HOIST_MAX_TERMS 256

/* The digits of one polynomial over level ∪ special. What lies in a digit's own
 * moduli is the polynomial itself, which is not copied. */
typedef struct rlwe_digits {
    const uint64_t *x; /* borrowed: uint64_t[limbs of from][stride] */
    uint64_t *lifted;  /* borrowed: rlwe_hoist_digits_words words */
} rlwe_digits;

/* Words of rlwe_digits.lifted. */
size_t rlwe_hoist_digits_words(const rlwe_switcher *switcher,
                               const rlwe_context *context);

/* Words of one accumulator polynomial. */
static inline size_t rlwe_hoist_words(const rlwe_switcher *switcher,
                                      const rlwe_context *context)
{
    return (size_t)switcher->all.count * context->ring->stride;
}

/* Bytes of arena that any function here takes at most, at any level and under
 * any gadget of the context; given back before it returns. */
size_t rlwe_hoist_scratch(const rlwe_context *context);

/* Lifts the digits of x: ModUp.
 * shape: x uint64_t[limbs of from][stride], NTT domain; lifted
 * rlwe_hoist_digits_words words, 64-byte aligned. Both must live, unchanged, as
 * long as *digits is used.   alias: none.
 * cost: limbs inverse + digits·(all - digit) forward NTTs; no allocation. */
void rlwe_hoist_decompose(const rlwe_switcher *switcher,
                          const rlwe_context *context, rlwe_digits *digits,
                          uint64_t *lifted, const uint64_t *x,
                          sotto_arena *arena);

/* What a product may carry besides; all zero: nothing. */
typedef struct rlwe_hoist_extra {
    const uint32_t *map; /* σ, as ntt_ring_automorphism makes it for the key's
                          * Galois element; NULL: the identity */
    const uint64_t *c_0; /* [limbs of from][stride]: P·c_0 is added, or NULL */
    const uint64_t *w_0; /* [all][stride]: added as it is, or NULL */
    bool add;            /* add to u instead of setting it */
} rlwe_hoist_extra;

/* The product of digits with a key, after an automorphism:
 *
 *   (u_0, u_1) (+)= (σ(w_0 + P·c_0), 0) + Σ_j σ(digit_j)·(b_j, a_j)
 *
 * This is, before the division by P, the switched σ of a ciphertext
 * (c_0, x). A giant step whose inner sum is (w_0, w_1) modulo Q·P takes
 * x = divide(w_1) and w_0 as it is.
 * shape: u_0, u_1 uint64_t[all.count][stride], NTT domain. extra may be NULL.
 * alias: u_0, u_1 are different and none of the inputs.
 * cost: 2·digits·all limb products; no transform, no allocation. */
void rlwe_hoist_product(const rlwe_switcher *switcher,
                        const rlwe_context *context, uint64_t *u_0,
                        uint64_t *u_1, const rlwe_digits *digits,
                        const rlwe_switch_key *key,
                        const rlwe_hoist_extra *extra, sotto_arena *arena);

/* u = P·c: a polynomial of the level as an accumulator, without a key (the
 * rotation by nothing).
 * shape: c uint64_t[limbs of from][stride]; u uint64_t[all.count][stride]. */
void rlwe_hoist_lift(const rlwe_switcher *switcher, const rlwe_context *context,
                     uint64_t *u, const uint64_t *c);

/* Sums of accumulators times plaintexts modulo Q·P, each residue reduced once:
 *
 *   acc_k = Σ_{i<n} plain[i]·u_k[i],  k = 0, 1
 *
 * shape: plain[i], u_0[i], u_1[i], acc_0, acc_1 uint64_t[all.count][stride],
 * NTT domain; 1 <= n <= RLWE_HOIST_MAX_TERMS (asserted).   alias: none. */
void rlwe_hoist_sum(const rlwe_switcher *switcher, const rlwe_context *context,
                    uint64_t *acc_0, uint64_t *acc_1,
                    const uint64_t *const *plain, const uint64_t *const *u_0,
                    const uint64_t *const *u_1, int n);

/* out = u / P, or u / (P·q) where the switcher joins a rescale (to != from):
 * ModDown of one polynomial, rounded as in SPEC §5.3.
 * shape: u uint64_t[all.count][stride], only read; out
 * uint64_t[limbs of to][stride].   alias: none.
 * cost: removed inverse + kept forward NTTs; no allocation. */
void rlwe_hoist_divide(const rlwe_switcher *switcher,
                       const rlwe_context *context, uint64_t *out,
                       const uint64_t *u, sotto_arena *arena);

#endif
