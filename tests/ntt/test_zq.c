/* SPDX-License-Identifier: MIT
 * Modulus arithmetic: everything for tiny moduli, extremes at the largest ones,
 * against the % operator.
 */
#include "ntt/zq.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/ref/pattern.h"
#include "tests/ref/ring.h"

/* Odd moduli; primes only matter to zq_inv. 2^60 - 93 and 2^60 - 107 are the
 * largest primes below 2^60; the others are the ends of the ranges. */
static const uint64_t moduli[] = {
    3,
    5,
    17,
    97,
    65537,
    ((uint64_t)1 << 32) - 5,
    ((uint64_t)1 << 46) - 21,
    ((uint64_t)1 << 50) - 27,
    ((uint64_t)1 << 58) + 1,
    ((uint64_t)1 << 59) - 1,
    ((uint64_t)1 << 59) + 1,
    ((uint64_t)1 << 60) - 107,
    ((uint64_t)1 << 60) - 93,
    ((uint64_t)1 << 60) - 1,
};
#define N_MODULI (sizeof moduli / sizeof moduli[0])

static void test_zq_exhaustive_for_tiny_moduli(void **state)
{
    (void)state;
    for (uint64_t q = 3; q < 260; q += 2) {
        const zq_modulus m = zq_modulus_init(q);
        for (uint64_t a = 0; a < 2 * q; a++) {
            assert_int_equal(zq_correct(a, q), a % q);
        }
        for (uint64_t a = 0; a < q; a++) {
            assert_int_equal(zq_neg(a, q), (q - a) % q);
            const int64_t centred = zq_centre(a, q);
            assert_true(2 * centred < (int64_t)q && 2 * centred > -(int64_t)q);
            assert_int_equal((centred + (int64_t)q) % (int64_t)q, a);
            const uint64_t shoup = zq_shoup(a, &m);
            assert_int_equal(shoup, ((zq_u128)a << 64) / q);
            for (uint64_t b = 0; b < q; b++) {
                assert_int_equal(zq_add(a, b, q), (a + b) % q);
                assert_int_equal(zq_sub(a, b, q), (a + q - b) % q);
                assert_int_equal(zq_mul(a, b, &m), a * b % q);
                assert_int_equal(zq_reduce_product(a * b, &m), a * b % q);
                assert_int_equal(zq_mul_shoup(b, a, shoup, q), a * b % q);
            }
        }
    }
}

/* Values around which reductions go wrong. */
static size_t hard_values(uint64_t *x, uint64_t q)
{
    const uint64_t top = ~(uint64_t)0;
    const uint64_t centres[] = {0,     q / 2,
                                q,     2 * q,
                                4 * q, top / q * q,
                                top,   (uint64_t)1 << 63,
                                q * 8, (uint64_t)1 << 32};
    size_t n = 0;
    for (size_t i = 0; i < sizeof centres / sizeof centres[0]; i++) {
        for (uint64_t d = 0; d < 5; d++) {
            x[n++] = centres[i] + d - 2; /* wraps around 0 on purpose */
        }
    }
    return n;
}

static void assert_reduces(zq_u128 x, const zq_modulus *m)
{
    assert_int_equal(zq_reduce_u128(x, m), (uint64_t)(x % m->q));
}

static void test_zq_reduce_u128_matches_remainder(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (size_t i = 0; i < N_MODULI; i++) {
        const zq_modulus m = zq_modulus_init(moduli[i]);
        const zq_u128 most = ~(zq_u128)0;
        uint64_t hard[64];
        const size_t n = hard_values(hard, m.q);
        for (size_t a = 0; a < n; a++) {
            for (size_t b = 0; b < n; b++) {
                assert_reduces((zq_u128)hard[a] << 64 | hard[b], &m);
                assert_reduces((zq_u128)hard[a] * hard[b], &m);
                assert_int_equal(zq_mul(hard[a], hard[b], &m),
                                 ref_mul_mod(hard[a], hard[b], m.q));
            }
        }
        for (uint64_t d = 0; d < 1000; d++) {
            assert_reduces(most - d, &m);
            assert_reduces(most / m.q * m.q - 500 + d, &m);
        }
        for (int run = 0; run < 20000; run++) {
            const uint64_t high = ref_random(&seed);
            const zq_u128 x = (zq_u128)high << 64 | ref_random(&seed);
            assert_reduces(x, &m);
            assert_reduces(x / m.q * m.q, &m);
            assert_reduces(x / m.q * m.q + m.q - 1, &m);
        }
    }
}

static void test_zq_reduce_product_matches_remainder(void **state)
{
    (void)state;
    uint64_t seed = 8;
    for (size_t i = 0; i < N_MODULI; i++) {
        const zq_modulus m = zq_modulus_init(moduli[i]);
        const zq_u128 square = (zq_u128)m.q * m.q;
        for (uint64_t d = 1; d <= (m.q < 2000 ? m.q * m.q : 2000); d++) {
            const zq_u128 x = square - d;
            assert_int_equal(zq_reduce_product(x, &m), (uint64_t)(x % m.q));
            const zq_u128 multiple = (zq_u128)(m.q - 1) * (d % m.q);
            assert_int_equal(zq_reduce_product(multiple, &m),
                             (uint64_t)(multiple % m.q));
        }
        const zq_u128 end = (zq_u128)1 << (m.bits + 60);
        for (uint64_t d = 1; d <= 2000; d++) {
            assert_int_equal(zq_reduce_product(end - d, &m),
                             (uint64_t)((end - d) % m.q));
        }
        for (int run = 0; run < 20000; run++) {
            const uint64_t high = ref_random(&seed);
            zq_u128 x = ((zq_u128)high << 64 | ref_random(&seed)) %
                        (run % 2 != 0 ? square : end);
            assert_int_equal(zq_reduce_product(x, &m), (uint64_t)(x % m.q));
            x -= x % m.q; /* multiples, and one less than multiples */
            assert_int_equal(zq_reduce_product(x, &m), 0);
            x = x > 0 ? x - 1 : square - 1;
            assert_int_equal(zq_reduce_product(x, &m), m.q - 1);
        }
    }
}

static void test_zq_reduce_u64_matches_remainder(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (size_t i = 0; i < N_MODULI; i++) {
        const zq_modulus m = zq_modulus_init(moduli[i]);
        uint64_t hard[64];
        const size_t n = hard_values(hard, m.q);
        for (size_t a = 0; a < n; a++) {
            assert_int_equal(zq_reduce_u64(hard[a], &m), hard[a] % m.q);
        }
        for (int run = 0; run < 20000; run++) {
            const uint64_t x = ref_random(&seed);
            assert_int_equal(zq_reduce_u64(x, &m), x % m.q);
            assert_int_equal(zq_reduce_u64(x / m.q * m.q, &m), 0);
        }
    }
}

static void test_zq_mul_shoup_takes_any_word(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (size_t i = 0; i < N_MODULI; i++) {
        const zq_modulus m = zq_modulus_init(moduli[i]);
        const uint64_t q = m.q;
        uint64_t hard[64];
        const size_t n = hard_values(hard, q);
        for (int run = 0; run < 2000; run++) {
            const uint64_t w = run < 4 ? (q - 1) * (uint64_t)(run & 1) +
                                             (uint64_t)(run >> 1) % q
                               : run < 8 ? q / 2 + (uint64_t)(run - 6)
                                         : ref_random(&seed);
            const uint64_t factor = w % q;
            const uint64_t shoup = zq_shoup(factor, &m);
            assert_int_equal(shoup, (uint64_t)(((zq_u128)factor << 64) / q));
            for (size_t a = 0; a < n; a++) {
                const uint64_t lazy =
                    zq_mul_shoup_lazy(hard[a], factor, shoup, q);
                assert_true(lazy < 2 * q);
                assert_int_equal(zq_mul_shoup(hard[a], factor, shoup, q),
                                 ref_mul_mod(hard[a], factor, q));
            }
        }
    }
}

static void test_zq_from_i64_and_centre_are_inverse(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (size_t i = 0; i < N_MODULI; i++) {
        const zq_modulus m = zq_modulus_init(moduli[i]);
        const int64_t half = (int64_t)(m.q / 2);
        const int64_t hard[] = {0, 1, -1, half, -half, half - 1, 1 - half};
        for (size_t a = 0; a < sizeof hard / sizeof hard[0]; a++) {
            const uint64_t r = zq_from_i64(hard[a], &m);
            assert_true(r < m.q);
            assert_true(zq_centre(r, m.q) == hard[a]);
        }
        assert_int_equal(zq_from_i64((int64_t)m.q, &m), 0);
        assert_int_equal(zq_from_i64(-(int64_t)m.q, &m), 0);
        for (int run = 0; run < 20000; run++) {
            int64_t x = (int64_t)ref_random(&seed) >> (run % 60);
            x = run == 0 ? INT64_MAX : run == 1 ? -INT64_MAX : x;
            const zq_i128 rest = (zq_i128)x % (zq_i128)m.q;
            assert_int_equal(zq_from_i64(x, &m),
                             (uint64_t)(rest < 0 ? rest + (zq_i128)m.q : rest));
        }
    }
}

static void test_zq_pow_and_inv(void **state)
{
    (void)state;
    uint64_t seed = 6;
    const uint64_t primes[] = {3, 17, 65537, ((uint64_t)1 << 60) - 93};
    for (size_t i = 0; i < sizeof primes / sizeof primes[0]; i++) {
        const zq_modulus m = zq_modulus_init(primes[i]);
        assert_int_equal(zq_pow(0, 0, &m), 1);
        for (int run = 0; run < 200; run++) {
            const uint64_t a = ref_random(&seed) % m.q;
            const uint64_t e = ref_random(&seed) >> (run % 64);
            assert_int_equal(zq_pow(a, e, &m), ref_pow_mod(a, e, m.q));
            if (a != 0) {
                assert_int_equal(zq_mul(a, zq_inv(a, &m), &m), 1);
            }
        }
    }
}

static void test_zq_from_scaled_matches_large_integers(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t i = 0; i < N_MODULI; i++) {
        const zq_modulus m = zq_modulus_init(moduli[i]);
        for (int exponent = 0; exponent < 400; exponent += 37) {
            const int64_t mantissa = (int64_t)ref_random(&seed) >> 10;
            ref_big x;
            ref_big_from_i64(&x, mantissa);
            ref_big_shift_left(&x, &x, exponent);
            assert_int_equal(zq_from_scaled(mantissa, exponent, &m),
                             ref_big_mod_u64(&x, m.q));
        }
        assert_int_equal(zq_from_scaled(1, (1 << 20) - 1, &m),
                         ref_pow_mod(2, (1 << 20) - 1, m.q));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zq_exhaustive_for_tiny_moduli),
        cmocka_unit_test(test_zq_reduce_u128_matches_remainder),
        cmocka_unit_test(test_zq_reduce_product_matches_remainder),
        cmocka_unit_test(test_zq_reduce_u64_matches_remainder),
        cmocka_unit_test(test_zq_mul_shoup_takes_any_word),
        cmocka_unit_test(test_zq_from_i64_and_centre_are_inverse),
        cmocka_unit_test(test_zq_pow_and_inv),
        cmocka_unit_test(test_zq_from_scaled_matches_large_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
