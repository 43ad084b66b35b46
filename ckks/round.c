/* SPDX-License-Identifier: MIT
 * Rounding of doubles to residues (round_internal.h).
 */
#include "ckks/round_internal.h"

#include <float.h>
#include <string.h>

/* 1.5·2^52: for |y| <= 2^51 the sum y + MAGIC has the unit 1, so that the
 * addition itself rounds y to an integer (ties to even), and the sum's bits are
 * those of MAGIC plus that integer. */
#define MAGIC 0x1.8p+52

/* Added to words to make them non-negative. */
#define WORD_OFFSET ((uint64_t)1 << 51)

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

double ckks_half_modulus(const rlwe_context *context, int level)
{
    const rns_set *set = rlwe_level_set(context, level);
    double product = 0.5;
    for (int i = 0; i < set->count; i++) {
        const double q = (double)rns_modulus(context->ring, set->id[i])->q;
        product = product > DBL_MAX / q ? DBL_MAX : product * q;
    }
    return product * (1 - 0x1p-40);
}

int ckks_round_words(double bound)
{
    int n_words = 1;
    double limit = CKKS_ROUND_ONE_WORD;
    while (bound > limit && n_words < CKKS_MAX_WORDS) {
        limit *= 0x1p+48;
        n_words++;
    }
    return n_words;
}

/* 2^(48k) as a double, k in [-21, 21]. */
static double word_weight(int k)
{
    const uint64_t bits = (uint64_t)(1023 + CKKS_WORD_BITS * k) << 52;
    double weight;
    memcpy(&weight, &bits, sizeof weight);
    return weight;
}

/* From the top: word_k = rint(x/2^(48k)), x becomes x - word_k·2^(48k), which
 * is exact: a multiple of the unit of x, and at most 2^(48k)/2, whereas word_k
 * is not 0 only when |x| >= 2^(48k)/2. What is left is at most 2^(48k)/2, so
 * the next word is at most 2^47 and ties stay ties (2^48 is even). */
void ckks_round_cut(uint64_t (*word)[CKKS_ROUND_BLOCK], int n_words,
                    const double *x, size_t count)
{
    double rest[CKKS_ROUND_BLOCK];
    memcpy(rest, x, count * sizeof rest[0]);
    for (int k = n_words - 1; k >= 0; k--) {
        const double up = word_weight(k);
        const double down = word_weight(-k);
        for (size_t i = 0; i < count; i++) {
            const double sum = rest[i] * down + MAGIC;
            rest[i] -= (sum - MAGIC) * up;
            word[k][i] = bits_of(sum) - bits_of(MAGIC) + WORD_OFFSET;
        }
    }
}

/* Σ word_k·c_k with c_k = 2^(48k) mod q < 2^60, words <= 2^52 and at most 22
 * of them stays below 2^117; the offsets' share is taken off afterwards. */
void ckks_round_reduce(uint64_t *out, const zq_modulus *mod,
                       uint64_t (*word)[CKKS_ROUND_BLOCK], int n_words,
                       size_t count)
{
    const uint64_t step = zq_reduce_u64((uint64_t)1 << CKKS_WORD_BITS, mod);
    uint64_t weight[CKKS_MAX_WORDS];
    uint64_t weight_sum = 1;
    weight[0] = 1;
    for (int k = 1; k < n_words; k++) {
        weight[k] = zq_mul(weight[k - 1], step, mod);
        weight_sum = zq_add(weight_sum, weight[k], mod->q);
    }
    const uint64_t offset = zq_mul(WORD_OFFSET, weight_sum, mod);
    for (size_t i = 0; i < count; i++) {
        zq_u128 sum = word[0][i];
        for (int k = 1; k < n_words; k++) {
            sum += (zq_u128)word[k][i] * weight[k];
        }
        out[i] = zq_sub(zq_reduce_u128(sum, mod), offset, mod->q);
    }
}

/* With y = rint(x), |y| <= 2^50, t = rint(y/q) is a whole number and t·q one of
 * at most 2^50 + q, so both are exact. y·(1/q) errs by less than 2^-2, so that
 * |y - t·q| < q: adding q to what is negative gives the residue. */
void ckks_round_small(uint64_t *out, const zq_modulus *mod, const double *x,
                      size_t count)
{
    const double q = (double)mod->q;
    const double inverse = 1 / q;
    for (size_t i = 0; i < count; i++) {
        const double y = (x[i] + MAGIC) - MAGIC;
        const double t = (y * inverse + MAGIC) - MAGIC;
        const uint64_t r = bits_of((y - t * q) + MAGIC) - bits_of(MAGIC);
        out[i] = r + (mod->q & (0 - (r >> 63)));
    }
}

uint64_t ckks_round_one(double x, const zq_modulus *mod, int n_words)
{
    uint64_t word[CKKS_MAX_WORDS][CKKS_ROUND_BLOCK];
    uint64_t residue;
    ckks_round_cut(word, n_words, &x, 1);
    ckks_round_reduce(&residue, mod, word, n_words, 1);
    return residue;
}
