/* SPDX-License-Identifier: MIT
 * Words of streams and records: every backend against definitions, for every
 * width of a modulus, all short lengths, any alignment, with nothing read or
 * written beyond what belongs to them.
 */
#include "ntt/kernels.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/ref/kernels.h"
#include "tests/ref/ring.h"

#define MAX_N ((size_t)136)
#define GUARD 0xa5

typedef void (*check_fn)(const ntt_kernels *k, const zq_modulus *mod);

/* Every width, the smallest, a middle and the largest odd number of it (kernels
 * here want no prime), each backend that takes it. */
static void for_all(check_fn check)
{
    for (int bits = 5; bits <= ZQ_MAX_BITS; bits++) {
        const uint64_t top = (uint64_t)1 << (bits - 1);
        const uint64_t q[3] = {top + 1, top + top / 2 + 1, 2 * top - 1};
        for (int i = 0; i < 3; i++) {
            const zq_modulus mod = zq_modulus_init(q[i]);
            for (ntt_backend cap = 0; cap <= NTT_BACKEND_IFMA; cap++) {
                const ntt_kernels k = ntt_kernels_choose(&mod, cap);
                check(&k, &mod);
            }
        }
    }
}

/* Words of which some are just below, at and just above q once masked. */
static void fill_words(uint64_t *word, size_t n, const zq_modulus *mod,
                       int pattern)
{
    uint64_t seed = 5 + (uint64_t)pattern;
    const uint64_t above = (uint64_t)1 << mod->bits;
    for (size_t i = 0; i < n; i++) {
        const uint64_t x = ref_random(&seed);
        switch (pattern) {
        case 0: /* all accepted */
            word[i] = (x & ~(above - 1)) | x % mod->q;
            break;
        case 1: /* none */
            word[i] = (x & ~(above - 1)) | (mod->q + x % (above - mod->q));
            break;
        case 2: /* at the border */
            word[i] = (x >> 8 & ~(above - 1)) | (mod->q - 1 + (x & 1));
            break;
        default:
            word[i] = x;
        }
    }
}

static void check_keep(const ntt_kernels *k, const zq_modulus *mod)
{
    uint64_t word[MAX_N + 1], got[MAX_N + 1], want[MAX_N];
    for (int pattern = 0; pattern < 4; pattern++) {
        fill_words(word, MAX_N + 1, mod, pattern);
        for (size_t n = 0; n <= MAX_N; n += n < 20 ? 1 : 29) {
            for (size_t room = 0; room <= n + 3; room += room < 20 ? 1 : 13) {
                const size_t at = n % 2; /* any alignment */
                const size_t end = room < MAX_N ? room : MAX_N;
                memset(got, GUARD, sizeof got);
                memset(want, 0, sizeof want);
                const size_t count =
                    ref_kernels.keep_below(want, end, word + at, n, mod);
                assert_int_equal(k->keep_below(got, end, word + at, n, mod),
                                 count);
                assert_memory_equal(got, want, count * sizeof *got);
                for (size_t i = end; i <= MAX_N; i++) {
                    assert_int_equal(got[i], UINT64_C(0xa5a5a5a5a5a5a5a5));
                }
            }
        }
    }
}

static void test_kernels_keep_below_matches(void **state)
{
    (void)state;
    for_all(check_keep);
}

/* Records lie at the end of a block of their own, so that a checker of memory
 * sees what is read beyond. */
static void check_pack(const ntt_kernels *k, const zq_modulus *mod)
{
    uint64_t in[MAX_N], back[MAX_N + 1];
    uint8_t want[8 * MAX_N];
    for (size_t n = 0; n <= MAX_N; n += 8) {
        const size_t len = n / 8 * (size_t)mod->bits;
        uint8_t *got = malloc(len + 2);
        uint8_t *exact = malloc(len > 0 ? len : 1);
        assert_true(got != NULL && exact != NULL);
        for (int pattern = 0; pattern < 3; pattern++) {
            uint64_t seed = n;
            for (size_t i = 0; i < n; i++) {
                const uint64_t x = ref_random(&seed);
                in[i] = pattern == 0   ? mod->q - 1
                        : pattern == 1 ? (i % 2) * (mod->q - 1)
                                       : x % mod->q;
            }
            memset(got, GUARD, len + 2);
            ref_kernels.pack_bits(want, in, n, mod);
            k->pack_bits(got + 1, in, n, mod);
            assert_memory_equal(got + 1, want, len);
            assert_true(got[0] == GUARD && got[len + 1] == GUARD);
            memcpy(exact, want, len);
            memset(back, GUARD, sizeof back);
            assert_true(k->unpack_bits(back, exact, n, mod));
            assert_memory_equal(back, in, n * sizeof *in);
            assert_int_equal(back[n], UINT64_C(0xa5a5a5a5a5a5a5a5));
        }
        free(got);
        free(exact);
    }
}

static void test_kernels_pack_bits_matches(void **state)
{
    (void)state;
    for_all(check_pack);
}

/* q, and the largest number of as many bits, at every place. */
static void check_refused(const ntt_kernels *k, const zq_modulus *mod)
{
    const uint64_t wrong[2] = {mod->q, ((uint64_t)1 << mod->bits) - 1};
    uint64_t in[MAX_N] = {0}, back[MAX_N];
    uint8_t packed[8 * MAX_N];
    for (int w = 0; w < 2; w++) {
        if (wrong[w] < mod->q) {
            continue;
        }
        for (size_t at = 0; at < MAX_N; at++) {
            in[at] = wrong[w];
            ref_kernels.pack_bits(packed, in, MAX_N, mod);
            assert_false(k->unpack_bits(back, packed, MAX_N, mod));
            in[at] = mod->q - 1;
            ref_kernels.pack_bits(packed, in, MAX_N, mod);
            assert_true(k->unpack_bits(back, packed, MAX_N, mod));
        }
    }
}

static void test_kernels_unpack_bits_refuses_large_residues(void **state)
{
    (void)state;
    for_all(check_refused);
}

static void test_kernels_binomial_matches(void **state)
{
    (void)state;
    const zq_modulus mod = zq_modulus_init(17);
    uint64_t word[MAX_N + 1], seed = 3;
    for (size_t i = 0; i <= MAX_N; i++) {
        word[i] = ref_random(&seed);
    }
    word[0] = 0;
    word[1] = UINT64_MAX;
    word[2] = ((uint64_t)1 << 21) - 1;
    word[3] = word[2] << 21;
    word[4] = ~word[3];
    for (ntt_backend cap = 0; cap <= NTT_BACKEND_IFMA; cap++) {
        const ntt_kernels k = ntt_kernels_choose(&mod, cap);
        for (size_t n = 0; n <= MAX_N; n++) {
            int8_t got[MAX_N + 1], want[MAX_N];
            memset(got, 77, sizeof got);
            ref_kernels.binomial(want, word + n % 2, n);
            k.binomial(got, word + n % 2, n);
            assert_memory_equal(got, want, n);
            assert_int_equal(got[n], 77);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels_keep_below_matches),
        cmocka_unit_test(test_kernels_pack_bits_matches),
        cmocka_unit_test(test_kernels_unpack_bits_refuses_large_residues),
        cmocka_unit_test(test_kernels_binomial_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
