/* SPDX-License-Identifier: MIT
 * Real coefficients -> residues: round to the nearest integer (ties to even),
 * then reduce exactly, without a branch on the value.
 *
 *     x = rint(x) + fraction,  rint(x) = Σ_k word_k·2^(48k),  |word_k| <= 2^51
 *
 * The number of words follows from the public size of the modulus alone. How
 * the integer is cut does not show in the result: the bits are those of
 * rint(x) mod q.
 */
#ifndef SOTTO_CKKS_ROUND_INTERNAL_H
#define SOTTO_CKKS_ROUND_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "rlwe/context.h"

#define CKKS_WORD_BITS 48
/* 2 + 22·48 bits exceed the exponents of a double. */
#define CKKS_MAX_WORDS 22
/* Coefficients that are cut at once. */
#define CKKS_ROUND_BLOCK 64

/* Coefficients below this fit one word. */
#define CKKS_ROUND_ONE_WORD 0x1p+50

/* Half the modulus of a level as a double, a little too small (by a relative
 * 2^-40); at most the largest double. */
double ckks_half_modulus(const rlwe_context *context, int level);

/* Words that integers up to `bound` need. */
int ckks_round_words(double bound);

/* Cuts `count` <= CKKS_ROUND_BLOCK numbers of at most 2^(2 + 48·n_words).
 * Result: word[k][i] = word_k of x[i], plus 2^51, so in [0, 2^52]. */
void ckks_round_cut(uint64_t (*word)[CKKS_ROUND_BLOCK], int n_words,
                    const double *x, size_t count);

/* out[i] = rint(x[i]) mod q from the words of ckks_round_cut. */
void ckks_round_reduce(uint64_t *out, const zq_modulus *mod,
                       uint64_t (*word)[CKKS_ROUND_BLOCK], int n_words,
                       size_t count);

/* out[i] = rint(x[i]) mod q for small numbers, in one go.
 * range: |x| <= CKKS_ROUND_ONE_WORD, q < 2^50 */
void ckks_round_small(uint64_t *out, const zq_modulus *mod, const double *x,
                      size_t count);

/* rint(x) mod q for one number.  range: |x| <= bound of ckks_round_words */
uint64_t ckks_round_one(double x, const zq_modulus *mod, int n_words);

/* True for a finite number > 0: what a scale must be. */
static inline int ckks_is_scale(double scale)
{
    return scale > 0 && scale <= 0x1.fffffffffffffp+1023;
}

#endif
