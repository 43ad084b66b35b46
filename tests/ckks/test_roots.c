/* SPDX-License-Identifier: MIT
 * The encoder's roots: error of the fixed-point series, correct rounding.
 */
#include "ckks/embed_internal.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define ANGLES (1u << 15)

static zq_u128 mul_hi(zq_u128 a, zq_u128 b)
{
    const zq_u128 mask = UINT64_MAX;
    const zq_u128 low = ((a & mask) * (b & mask)) >> 64;
    const zq_u128 mid = (a >> 64) * (b & mask) + low;
    const zq_u128 mid2 = (a & mask) * (b >> 64) + (mid & mask);
    return (a >> 64) * (b >> 64) + (mid >> 64) + (mid2 >> 64);
}

static zq_u128 distance(zq_u128 a, zq_u128 b)
{
    return a > b ? a - b : b - a;
}

/* Two values with errors below CKKS_ROOT_ERROR differ from an identity between
 * them by less than this. */
static const unsigned identity_slack = 6 * CKKS_ROOT_ERROR;

/* sin(a+b) = sin a·cos b + cos a·sin b for b = one step, at every angle; with
 * sin(π/4) = cos(π/4) = √½ this ties all angles to the truth. */
static void test_root_fixed_satisfies_addition(void **state)
{
    (void)state;
    zq_u128 c1;
    zq_u128 s1;
    ckks_root_fixed(&c1, &s1, 1);
    zq_u128 c = c1;
    zq_u128 s = s1;
    for (uint32_t k = 1; k < ANGLES; k++) {
        zq_u128 c2;
        zq_u128 s2;
        ckks_root_fixed(&c2, &s2, k + 1);
        const zq_u128 sine = mul_hi(s, c1) + mul_hi(c, s1);
        const zq_u128 cosine = mul_hi(c, c1) - mul_hi(s, s1);
        assert_true(distance(sine, s2) < identity_slack);
        assert_true(distance(cosine, c2) < identity_slack);
        c = c2;
        s = s2;
    }
    const zq_u128 half = (zq_u128)1 << 127;
    assert_true(distance(mul_hi(c, c), half) < identity_slack);
    assert_true(distance(mul_hi(s, s), half) < identity_slack);
    assert_true(distance(c, s) < 2 * CKKS_ROOT_ERROR);
}

/* True when v ± error rounds to one double only. */
static int has_margin(zq_u128 v)
{
    const int top = 127 - __builtin_clzll((uint64_t)(v >> 64));
    const int shift = top - 52;
    const zq_u128 half = (zq_u128)1 << (shift - 1);
    const zq_u128 rest = v & (2 * half - 1);
    return distance(rest, half) > CKKS_ROOT_ERROR;
}

static void test_roots_margin(void **state)
{
    (void)state;
    for (uint32_t k = 1; k <= ANGLES; k++) {
        zq_u128 c;
        zq_u128 s;
        ckks_root_fixed(&c, &s, k);
        assert_true(has_margin(c));
        assert_true(has_margin(s));
    }
}

static void test_root_round_is_nearest_even(void **state)
{
    (void)state;
    const zq_u128 one = (zq_u128)1 << 100; /* 2^-28 */
    const zq_u128 unit = one >> 52;
    assert_true(ckks_root_round(one) == 0x1p-28);
    assert_true(ckks_root_round(one + unit) == 0x1.0000000000001p-28);
    assert_true(ckks_root_round(one + unit / 2) == 0x1p-28);
    assert_true(ckks_root_round(one + unit / 2 + 1) == 0x1.0000000000001p-28);
    assert_true(ckks_root_round(one + unit + unit / 2) ==
                0x1.0000000000002p-28);
    assert_true(ckks_root_round(one + unit + unit / 2 - 1) ==
                0x1.0000000000001p-28);
    assert_true(ckks_root_round(2 * one - 1) == 0x1p-27);
    assert_true(ckks_root_round(~(zq_u128)0) == 1.0);
}

/* Distance to a more precise value in units of the last place. */
static long double ulps(double value, long double truth)
{
    if (truth == 0) {
        return value == 0 ? 0 : 1e9L;
    }
    int exponent;
    (void)frexpl(truth, &exponent);
    return fabsl((long double)value - truth) / ldexpl(1, exponent - 53);
}

static void test_root_matches_libm(void **state)
{
    (void)state;
    if (LDBL_MANT_DIG < 64) {
        skip(); /* nothing more precise to compare with */
    }
    const long double pi = 3.14159265358979323846264338327950288L;
    for (int log2_order = 3; log2_order <= CKKS_ROOT_LOG2_ORDER; log2_order++) {
        const uint64_t order = (uint64_t)1 << log2_order;
        for (uint64_t e = 0; e < order; e++) {
            double re;
            double im;
            ckks_root(&re, &im, e, log2_order);
            if (e % (order / 4) == 0) { /* the axes are exact */
                static const double axis[] = {1, 0, -1, 0, 1};
                assert_true(re == axis[e / (order / 4)]);
                assert_true(im == axis[(e / (order / 4) + 3) % 4]);
                continue;
            }
            const long double angle =
                2 * pi * (long double)e / (long double)order;
            /* long double itself is off by about 2^-10 of a double's unit,
             * a little more near the axes where the angle is rounded */
            assert_true(ulps(re, cosl(angle)) < 0.52L ||
                        fabsl(cosl(angle)) < 0.25L);
            assert_true(ulps(im, sinl(angle)) < 0.52L ||
                        fabsl(sinl(angle)) < 0.25L);
            assert_true(fabsl((long double)re - cosl(angle)) < 0x1p-53L);
            assert_true(fabsl((long double)im - sinl(angle)) < 0x1p-53L);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_fixed_satisfies_addition),
        cmocka_unit_test(test_roots_margin),
        cmocka_unit_test(test_root_round_is_nearest_even),
        cmocka_unit_test(test_root_matches_libm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
