/* SPDX-License-Identifier: MIT
 * Processor features against the compiler's own detection.
 */
#include "base/cpu.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

static void test_cpu_features_agree_with_the_compiler(void **state)
{
    (void)state;
    const unsigned features = sotto_cpu_features();
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") &&
                      __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f");
    const bool ifma = avx512 && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512ifma") &&
                      __builtin_cpu_supports("avx512vbmi");
    const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    assert_int_equal((features & SOTTO_CPU_AVX2_FMA) != 0, avx2);
    assert_int_equal((features & SOTTO_CPU_AVX512_IFMA) != 0, ifma);
    assert_int_equal((features & SOTTO_CPU_AVX512_VNNI) != 0, vnni);
#else
    assert_int_equal(features, 0);
#endif
}

static void test_cpu_count_is_positive(void **state)
{
    (void)state;
    assert_true(sotto_cpu_count() >= 1);
}

static void test_cpu_name_fits_every_buffer(void **state)
{
    (void)state;
    char whole[64], part[64];
    sotto_cpu_name(whole, sizeof whole);
    const size_t len = strlen(whole);
    assert_true(len > 0);
    assert_true(whole[0] != ' ' && whole[len - 1] != ' ');
    for (size_t cap = 0; cap <= len + 2; cap++) {
        memset(part, '#', sizeof part);
        sotto_cpu_name(part, cap);
        const size_t want = cap == 0 ? 0 : cap - 1 < len ? cap - 1 : len;
        assert_memory_equal(part, whole, want);
        if (cap > 0) {
            assert_int_equal(part[want], '\0');
        }
        assert_int_equal(part[cap], '#');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu_features_agree_with_the_compiler),
        cmocka_unit_test(test_cpu_count_is_positive),
        cmocka_unit_test(test_cpu_name_fits_every_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
