/* SPDX-License-Identifier: MIT
 * Roots of unity as correctly rounded doubles, from 128-bit integers only.
 *
 * Why they are correctly rounded. All quantities are floors in units of 2^-128.
 * With θ <= π/4 < 0.7854 and y = θ² < 0.6169:
 *
 *   θ    error < 2        half a unit of π/4 times k/2^15, one floor
 *   y    error < 4.2      2·θ·2 from θ, one floor
 *   A_j  error < 6        A_j = c_j - y·A_(j+1):  one unit from c_j, one from
 *                         the floor, 4.2·A_(j+1) < 0.2 from y (A_2 < 1/24),
 *                         and 0.6169 of the error of A_(j+1):
 *                         2.2/(1 - 0.6169) < 6
 *   cos  error < 8        1 - y·A_1, A_1 < 1/2:  4.2/2 + 0.6169·6 + 1
 *   sin  error < 8        θ - θ·(y·A_1), A_1 < 1/6:  inner product
 *                         4.2/6 + 0.6169·6 + 1 < 5.5;  2 + 0.2 + 0.7854·5.5 + 1
 *
 * Terms after y^16/33! are below 2^-139. So both errors are below
 * CKKS_ROOT_ERROR = 16. The smallest sine is sin(π/2^17) > 2^-16, a number of
 * at least 112 bits here, of which the last 59 or more decide the rounding. No
 * root comes nearer than 16 units to a boundary between two roundings; the
 * test test_roots_margin checks all 2^15 angles.
 */
#include "ckks/embed_internal.h"

#include <string.h>

/* π/4 in units of 2^-128, to nearest. */
static const uint64_t quarter_pi_hi = 0xC90FDAA22168C234u;
static const uint64_t quarter_pi_lo = 0xC4C6628B80DC1CD1u;

/* floor(a·b / 2^128) */
static zq_u128 mul_hi_u128(zq_u128 a, zq_u128 b)
{
    const uint64_t a_lo = (uint64_t)a;
    const uint64_t a_hi = (uint64_t)(a >> 64);
    const uint64_t b_lo = (uint64_t)b;
    const uint64_t b_hi = (uint64_t)(b >> 64);
    /* Each sum is at most (2^64-1)² + 2·(2^64-1) < 2^128. */
    const zq_u128 mid = (zq_u128)a_hi * b_lo + zq_mul_hi(a_lo, b_lo);
    const zq_u128 mid2 = (zq_u128)a_lo * b_hi + (uint64_t)mid;
    return (zq_u128)a_hi * b_hi + (uint64_t)(mid >> 64) +
           (uint64_t)(mid2 >> 64);
}

/* A_1 of the file comment: Σ_(j>=1) (-y)^(j-1)/(first·…), where term j of the
 * series has factorial (2j + odd)!; odd is 0 for cos, 1 for sin. */
static zq_u128 series(zq_u128 y, unsigned odd)
{
    enum { TERMS = 16 };
    zq_u128 coefficient[TERMS + 1];
    /* floor(floor(x/a)/b) = floor(x/(ab)), so every entry is an exact floor
     * of 2^128/(2j + odd)!; 2^128 itself does not fit, but 2^128 - 1 has the
     * same floors for divisors that are not powers of two, and 1/2 is exact. */
    coefficient[1] = odd ? ~(zq_u128)0 / 6 : (zq_u128)1 << 127;
    for (unsigned j = 2; j <= TERMS; j++) {
        const unsigned top = 2 * j + odd;
        coefficient[j] = coefficient[j - 1] / ((zq_u128)top * (top - 1));
    }
    zq_u128 a = coefficient[TERMS];
    for (unsigned j = TERMS - 1; j >= 1; j--) {
        a = coefficient[j] - mul_hi_u128(y, a);
    }
    return a;
}

void ckks_root_fixed(zq_u128 *cosine, zq_u128 *sine, uint32_t k)
{
    SOTTO_ASSERT(k >= 1 && k <= 1u << 15);
    const zq_u128 theta = (((zq_u128)quarter_pi_hi * k) << 49) +
                          (((zq_u128)quarter_pi_lo * k) >> 15);
    const zq_u128 y = mul_hi_u128(theta, theta);
    /* 2^128 - x, as a negation: x is never 0 because k >= 1. */
    *cosine = 0 - mul_hi_u128(y, series(y, 0));
    *sine = theta - mul_hi_u128(theta, mul_hi_u128(y, series(y, 1)));
}

double ckks_root_round(zq_u128 v)
{
    const uint64_t hi = (uint64_t)(v >> 64);
    SOTTO_ASSERT(hi != 0);
    const int top = 127 - __builtin_clzll(hi);
    const int shift = top - 52; /* >= 12: 53 bits stay */
    const zq_u128 rest = v & (((zq_u128)1 << shift) - 1);
    const zq_u128 half = (zq_u128)1 << (shift - 1);
    uint64_t mantissa = (uint64_t)(v >> shift);
    if (rest > half || (rest == half && (mantissa & 1) != 0)) {
        mantissa++;
    }
    /* mantissa <= 2^53 and the power of two are doubles; so is the product. */
    const uint64_t power_bits = (uint64_t)(1023 + shift - 128) << 52;
    double power;
    memcpy(&power, &power_bits, sizeof power);
    return (double)mantissa * power;
}

/* cos and sin of (π/4)·k / 2^15, k in [0, 2^15], rounded. */
static void octant(double *cosine, double *sine, uint32_t k)
{
    if (k == 0) {
        *cosine = 1.0;
        *sine = 0.0;
        return;
    }
    zq_u128 c;
    zq_u128 s;
    ckks_root_fixed(&c, &s, k);
    *cosine = ckks_root_round(c);
    *sine = ckks_root_round(s);
}

void ckks_root(double *re, double *im, uint64_t exponent, int log2_order)
{
    SOTTO_ASSERT(log2_order >= 3 && log2_order <= CKKS_ROOT_LOG2_ORDER);
    SOTTO_ASSERT(exponent >> log2_order == 0);
    const uint64_t quarter_turn = (uint64_t)1 << (log2_order - 2);
    const uint64_t quadrant = exponent >> (log2_order - 2);
    const uint64_t rest = exponent & (quarter_turn - 1);
    const int fine = CKKS_ROOT_LOG2_ORDER - log2_order;
    double c;
    double s;
    if (rest <= quarter_turn / 2) {
        octant(&c, &s, (uint32_t)(rest << fine));
    } else { /* mirrored at 45 degrees */
        octant(&s, &c, (uint32_t)((quarter_turn - rest) << fine));
    }
    switch (quadrant) {
    case 0:
        *re = c;
        *im = s;
        break;
    case 1:
        *re = -s;
        *im = c;
        break;
    case 2:
        *re = -c;
        *im = -s;
        break;
    default:
        *re = s;
        *im = -c;
        break;
    }
}
