/* SPDX-License-Identifier: MIT
 * Samplers: every value again from single ChaCha20 blocks, known first values,
 * and the distributions.
 */
#include "ntt/sample.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "tests/ref/pattern.h"
#include "tests/ref/ring.h"

/* Word i of the stream of key, from sotto_chacha20_block alone. */
static uint64_t stream_word(const sotto_seed *key, uint64_t i)
{
    uint8_t block[64], nonce[12] = {0};
    sotto_chacha20_block(block, key->bytes, (uint32_t)(i / 8), nonce);
    uint64_t x = 0;
    for (size_t b = 8; b-- > 0;) {
        x = x * 256 + block[i % 8 * 8 + b];
    }
    return x;
}

static sotto_seed key_of(uint8_t tag)
{
    sotto_seed key = {{tag}};
    return key;
}

static void test_ntt_sample_uniform_rejects_in_order(void **state)
{
    (void)state;
    static uint64_t out[1001];
    const ntt_kernels *k = ntt_kernels_portable();
    for (int s = 0; s < REF_SIZES; s++) {
        const uint64_t q = ref_prime_of(ref_size_bits[s], 3);
        const zq_modulus mod = zq_modulus_init(q > 0 ? q : 17);
        const sotto_seed key = key_of((uint8_t)s);
        out[1000] = 0x5a5a;
        ntt_sample_uniform(out, 1000, &key, &mod, k);
        uint64_t at = 0;
        for (size_t j = 0; j < 1000; j++) {
            uint64_t x;
            do {
                x = stream_word(&key, at++) % ((uint64_t)1 << mod.bits);
            } while (x >= mod.q);
            assert_int_equal(out[j], x);
        }
        assert_int_equal(out[1000], 0x5a5a);
    }
}

static void test_ntt_sample_ternary_by_definition(void **state)
{
    (void)state;
    int8_t out[1001];
    const sotto_seed key = key_of(77);
    out[1000] = 99;
    ntt_sample_ternary(out, 1000, &key, ntt_kernels_portable());
    for (size_t j = 0; j < 1000; j++) {
        const zq_u128 x = stream_word(&key, j);
        assert_int_equal(out[j], (int)(x * 3 >> 64) - 1);
    }
    assert_int_equal(out[1000], 99);
}

static void test_ntt_sample_error_by_definition(void **state)
{
    (void)state;
    int8_t out[1001];
    const sotto_seed key = key_of(78);
    out[1000] = 99;
    ntt_sample_error(out, 1000, &key, ntt_kernels_portable());
    for (size_t j = 0; j < 1000; j++) {
        const uint64_t x = stream_word(&key, j);
        int want = 0;
        for (int bit = 0; bit < 42; bit++) {
            want += (int)(x >> bit & 1) * (bit < 21 ? 1 : -1);
        }
        assert_int_equal(out[j], want);
    }
    assert_int_equal(out[1000], 99);
}

/* The key 00 01 02 … 1f; values made with another implementation (Python). */
static void test_ntt_sample_known_answers(void **state)
{
    (void)state;
    static const int8_t ternary[16] = {0, -1, 1, 0, 1, 0,  -1, -1,
                                       1, -1, 0, 0, 0, -1, 1,  1};
    static const int8_t error[16] = {1,  2,  -5, 2, -2, 2, -4, 0,
                                     -3, -3, -2, 4, -4, 2, -5, -4};
    static const uint64_t small[12] = {57, 13, 10, 50, 43, 63,
                                       37, 66, 24, 19, 29, 27};
    static const uint64_t large[6] = {50448517280248, 58454823467244,
                                      15823269298589, 23302333147661,
                                      15573275289452, 885578850547};
    const ntt_kernels *k = ntt_kernels_portable();
    const zq_modulus mod_small = zq_modulus_init(97);
    const zq_modulus mod_large = zq_modulus_init(70368744210433);
    sotto_seed key;
    int8_t out[16];
    uint64_t wide[12];
    for (size_t i = 0; i < sizeof key.bytes; i++) {
        key.bytes[i] = (uint8_t)i;
    }
    ntt_sample_ternary(out, 16, &key, k);
    assert_memory_equal(out, ternary, sizeof out);
    ntt_sample_error(out, 16, &key, k);
    assert_memory_equal(out, error, sizeof out);
    ntt_sample_uniform(wide, 12, &key, &mod_small, k);
    assert_memory_equal(wide, small, sizeof small);
    ntt_sample_uniform(wide, 6, &key, &mod_large, k);
    assert_memory_equal(wide, large, sizeof large);
}

/* A shorter sample is the beginning of a longer one; n need not fill a block.
 */
static void test_ntt_sample_prefixes_agree(void **state)
{
    (void)state;
    const sotto_seed key = key_of(5);
    const ntt_kernels *k = ntt_kernels_portable();
    const zq_modulus mod = zq_modulus_init(97);
    int8_t small[300], small_all[300];
    uint64_t wide[300], wide_all[300];
    ntt_sample_error(small_all, 300, &key, k);
    ntt_sample_uniform(wide_all, 300, &key, &mod, k);
    const size_t sizes[] = {0, 1, 7, 8, 127, 128, 129, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ntt_sample_error(small, sizes[i], &key, k);
        ntt_sample_uniform(wide, sizes[i], &key, &mod, k);
        assert_memory_equal(small, small_all, sizes[i]);
        assert_memory_equal(wide, wide_all, sizes[i] * 8);
    }
}

/* Σ (observed - expected)²/expected over cells of the given probabilities;
 * about (cells - 1) ± √(2·cells) for a right distribution. */
static double chi_square(const double *count, const double *probability,
                         size_t cells, double total)
{
    double sum = 0;
    for (size_t i = 0; i < cells; i++) {
        const double expected = total * probability[i];
        sum += (count[i] - expected) * (count[i] - expected) / expected;
    }
    return sum;
}

#define SAMPLES ((size_t)1 << 18)

static void test_ntt_sample_error_is_binomial(void **state)
{
    (void)state;
    int8_t *out = malloc(SAMPLES);
    assert_non_null(out);
    const sotto_seed key = key_of(79);
    ntt_sample_error(out, SAMPLES, &key, ntt_kernels_portable());
    double sum = 0, squares = 0, fourth = 0, neighbours = 0;
    double count[21] = {0}, probability[21] = {0};
    for (size_t j = 0; j < SAMPLES; j++) {
        const double x = out[j];
        assert_true(out[j] >= -21 && out[j] <= 21);
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
        neighbours += j > 0 ? x * out[j - 1] : 0;
        count[out[j] < -10 ? 0 : out[j] > 10 ? 20 : out[j] + 10]++;
    }
    /* P(d) = binomial(42, 21 + d)/2^42; the tails go to the end cells. */
    for (int d = -21; d <= 21; d++) {
        const double p =
            exp(lgamma(43) - lgamma(22 + d) - lgamma(22 - d) - 42 * log(2));
        probability[d < -10 ? 0 : d > 10 ? 20 : d + 10] += p;
    }
    const double n = (double)SAMPLES;
    const double variance = NTT_ERROR_VARIANCE;
    assert_true(fabs(sum / n) < 5 * sqrt(variance / n));
    assert_true(fabs(squares / n - variance) < 5 * variance * sqrt(2 / n));
    assert_true(fabs(fourth / squares / (3 * variance - 1) - 1) < 0.03);
    assert_true(fabs(neighbours / n) < 5 * variance / sqrt(n));
    assert_true(chi_square(count, probability, 21, n) < 20 + 5 * sqrt(40));
    free(out);
}

static void test_ntt_sample_ternary_is_uniform(void **state)
{
    (void)state;
    int8_t *out = malloc(SAMPLES);
    assert_non_null(out);
    const sotto_seed key = key_of(80);
    ntt_sample_ternary(out, SAMPLES, &key, ntt_kernels_portable());
    double count[9] = {0}, probability[9];
    for (size_t j = 0; j + 1 < SAMPLES; j += 2) {
        assert_true(abs(out[j]) <= 1 && abs(out[j + 1]) <= 1);
        count[3 * (out[j] + 1) + out[j + 1] + 1]++;
    }
    for (size_t i = 0; i < 9; i++) {
        probability[i] = 1.0 / 9;
    }
    assert_true(chi_square(count, probability, 9, (double)SAMPLES / 2) <
                8 + 5 * sqrt(16));
    free(out);
}

static void test_ntt_sample_uniform_is_uniform(void **state)
{
    (void)state;
    uint64_t *out = malloc(SAMPLES * sizeof *out);
    assert_non_null(out);
    const sotto_seed key = key_of(81);
    /* About half of all candidates are rejected. */
    const uint64_t q = ((uint64_t)1 << 49) + 69;
    const zq_modulus mod = zq_modulus_init(q);
    ntt_sample_uniform(out, SAMPLES, &key, &mod, ntt_kernels_portable());
    double count[64] = {0}, probability[64];
    for (size_t j = 0; j < SAMPLES; j++) {
        assert_true(out[j] < q);
        count[(size_t)((double)out[j] / (double)q * 64)]++;
    }
    for (size_t i = 0; i < 64; i++) {
        probability[i] = 1.0 / 64;
    }
    assert_true(chi_square(count, probability, 64, (double)SAMPLES) <
                63 + 5 * sqrt(126));
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ntt_sample_uniform_rejects_in_order),
        cmocka_unit_test(test_ntt_sample_ternary_by_definition),
        cmocka_unit_test(test_ntt_sample_error_by_definition),
        cmocka_unit_test(test_ntt_sample_known_answers),
        cmocka_unit_test(test_ntt_sample_prefixes_agree),
        cmocka_unit_test(test_ntt_sample_error_is_binomial),
        cmocka_unit_test(test_ntt_sample_ternary_is_uniform),
        cmocka_unit_test(test_ntt_sample_uniform_is_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
