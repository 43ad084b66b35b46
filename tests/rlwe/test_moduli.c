/* SPDX-License-Identifier: MIT
 * Moduli by size: near their targets, different, refused out of range.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ntt/prime.h"
#include "rlwe/moduli.h"
#include "rlwe/params.h"
#include "tests/support/rlwe_lab.h"

static void test_rlwe_moduli_find_hits_sizes(void **state)
{
    (void)state;
    for (int log2_n = RLWE_MIN_LOG2_N; log2_n <= RLWE_MAX_LOG2_N; log2_n++) {
        const double most = rlwe_moduli_max_log2(log2_n);
        const double least = rlwe_moduli_min_log2(log2_n);
        assert_true(most <= (log2_n <= 15 ? 47 : 46));
        const double target[5] = {most, 32, 32, least, most};
        uint64_t q[5];
        CHECK(rlwe_moduli_find(q, log2_n, target, 5, err));
        for (int i = 0; i < 5; i++) {
            assert_true(ntt_prime_is(q[i]));
            assert_int_equal(q[i] & (((uint64_t)2 << log2_n) - 1), 1);
            /* Primes are far apart where the targets are small. */
            assert_true(fabs(log2((double)q[i]) - target[i]) <
                        (target[i] > least + 8 ? 0.03 : 1));
            for (int j = 0; j < i; j++) {
                assert_true(q[j] != q[i]);
            }
        }
        /* Class A: every backend takes them. */
        assert_true(log2((double)q[0]) < (log2_n <= 15 ? 47 : 46));
        assert_true(log2((double)q[4]) < (log2_n <= 15 ? 47 : 46));
    }
}

static void test_rlwe_moduli_find_refuses(void **state)
{
    (void)state;
    const double wrong[3] = {47.5, 10, NAN};
    static const char *const words[3] = {"47.5 bits", "10.0 bits", "nan"};
    for (int i = 0; i < 3; i++) {
        const double target[2] = {40, wrong[i]};
        uint64_t q[2] = {1, 1};
        LAB_FAILS(SOTTO_ERR_PARAM, rlwe_moduli_find(q, 13, target, 2, err),
                  "modulus 1", words[i]);
        assert_int_equal(q[0], 0);
        assert_int_equal(q[1], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rlwe_moduli_find_hits_sizes),
        cmocka_unit_test(test_rlwe_moduli_find_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
