/* SPDX-License-Identifier: MIT
 * Signed integers of up to 10240 bits for reference computations in tests.
 * Shares no code with the library; slow and simple on purpose: 32-bit words,
 * schoolbook multiplication and division. Outputs may be inputs. Whatever
 * does not fit asserts.
 */
#ifndef SOTTO_TESTS_REF_BIGNUM_H
#define SOTTO_TESTS_REF_BIGNUM_H

#include <stddef.h>
#include <stdint.h>

#define REF_BIG_WORDS 320

/* sign·Σ word[i]·2^(32i); sign is -1, 0 or 1; word[len-1] != 0. */
typedef struct ref_big {
    int sign;
    int len;
    uint32_t word[REF_BIG_WORDS];
} ref_big;

/* r = x */
void ref_big_from_u64(ref_big *r, uint64_t x);
void ref_big_from_i64(ref_big *r, int64_t x);

/* r = x, which must be an integer. */
void ref_big_from_double(ref_big *r, double x);

/* The double nearest to a, to within one unit in the last place. */
double ref_big_to_double(const ref_big *a);

/* r = a; copies the words in use only. */
void ref_big_copy(ref_big *r, const ref_big *a);

/* r = a + b, a - b, -a, a·b */
void ref_big_add(ref_big *r, const ref_big *a, const ref_big *b);
void ref_big_sub(ref_big *r, const ref_big *a, const ref_big *b);
void ref_big_neg(ref_big *r, const ref_big *a);
void ref_big_mul(ref_big *r, const ref_big *a, const ref_big *b);

/* r = a·2^bits */
void ref_big_shift_left(ref_big *r, const ref_big *a, int bits);

/* -1, 0 or 1 as a is below, equal to, or above b. */
int ref_big_compare(const ref_big *a, const ref_big *b);

/* Bits of |a|: 0 for 0. */
int ref_big_bits(const ref_big *a);

/* a = quotient·m + rest with 0 <= rest < m; m > 0. Either output may be NULL.
 */
void ref_big_divide(ref_big *quotient, ref_big *rest, const ref_big *a,
                    const ref_big *m);

/* r = a/m rounded to the nearest integer, halves upwards; m > 0. */
void ref_big_divide_round(ref_big *r, const ref_big *a, const ref_big *m);

/* r = a - m·round(a/m): the residue in [-m/2, m/2); m > 0. */
void ref_big_centre(ref_big *r, const ref_big *a, const ref_big *m);

/* The residue of a in [0,m); m > 0. */
uint64_t ref_big_mod_u64(const ref_big *a, uint64_t m);

#endif
