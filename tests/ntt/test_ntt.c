/* SPDX-License-Identifier: MIT
 * The transform and its tables: order and values by definition, inverse,
 * products against schoolbook, every degree from 2^3 to 2^17, every size of
 * modulus from tiny to 60 bits.
 */
#include "ntt/table.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "ntt/kernels.h"
#include "tests/ref/pattern.h"
#include "tests/ref/ring.h"
#include "tests/support/fail.h"

static ntt_table *table_of(int log2_n, uint64_t q)
{
    const ntt_ring ring = ntt_ring_init(log2_n);
    ntt_table *table = NULL;
    assert_int_equal(ntt_table_new(&table, &ring, q, NULL), SOTTO_OK);
    return table;
}

static uint64_t *row_new(size_t n)
{
    uint64_t *row = aligned_alloc(64, n * sizeof *row);
    assert_non_null(row);
    return row;
}

static void test_ntt_table_holds_powers_of_the_root(void **state)
{
    (void)state;
    for (int s = 1; s < REF_SIZES; s++) {
        const uint64_t q = ref_prime_of(ref_size_bits[s], 5);
        ntt_table *table = table_of(5, q);
        const uint64_t psi = table->root;
        assert_int_equal(ref_pow_mod(psi, 32, q), q - 1);
        assert_int_equal(ref_mul_mod(table->n_inverse, 32, q), 1);
        for (size_t i = 0; i < 32; i++) {
            const uint64_t e = ntt_bit_reverse(i, 5);
            const uint64_t w = table->forward[i];
            assert_int_equal(w, ref_pow_mod(psi, e, q));
            assert_int_equal(ref_mul_mod(table->inverse[i], w, q), 1);
            assert_int_equal(table->forward_shoup[i], zq_shoup(w, &table->mod));
            assert_int_equal(table->inverse_shoup[i],
                             zq_shoup(table->inverse[i], &table->mod));
        }
        ntt_table_free(table);
    }
}

static void test_ntt_table_new_refuses(void **state)
{
    (void)state;
    const ntt_ring ring = ntt_ring_init(4);
    const uint64_t wrong[] = {0,
                              1,
                              2,
                              17 /* 1 mod 16 only */,
                              33, /* not prime */
                              ((uint64_t)1 << 60) + 33,
                              ~(uint64_t)0};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ntt_table *table = (ntt_table *)&table;
        sotto_error err = {.text = ""};
        assert_int_equal(ntt_table_new(&table, &ring, wrong[i], &err),
                         SOTTO_ERR_PARAM);
        assert_null(table);
        assert_true(strlen(err.text) > 20);
    }
    ntt_table_free(NULL);
}

static sotto_status make_and_free(void *arg)
{
    const ntt_ring *ring = arg;
    ntt_table *table = NULL;
    const sotto_status status = ntt_table_new(&table, ring, 97, NULL);
    assert_true((status == SOTTO_OK) == (table != NULL));
    ntt_table_free(table);
    return status;
}

static void test_ntt_table_new_survives_failed_allocations(void **state)
{
    (void)state;
    ntt_ring ring = ntt_ring_init(4);
    assert_true(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 10, make_and_free, &ring) > 0);
}

static void assert_position(const ntt_table *table, const uint64_t *a,
                            const uint64_t *transformed, size_t i)
{
    assert_int_equal(transformed[i], ref_ntt_at(a, table->ring.log2_n, i,
                                                table->root, table->mod.q));
}

/* Transforms a, compares every step-th position and the last one, and
 * transforms back. */
static void assert_forward(const ntt_table *table, const uint64_t *a,
                           size_t step)
{
    const ntt_kernels *k = ntt_kernels_portable();
    const size_t n = table->ring.n;
    uint64_t *t = row_new(n);
    memcpy(t, a, n * sizeof *t);
    k->forward(t, table);
    for (size_t i = 0; i < n; i += step) {
        assert_position(table, a, t, i);
    }
    assert_position(table, a, t, n - 1);
    for (size_t i = 0; i < n; i++) {
        assert_true(t[i] < table->mod.q);
    }
    k->inverse(t, table, 1);
    assert_memory_equal(t, a, n * sizeof *t);
    free(t);
}

/* Values made with another implementation (Python). */
static void test_ntt_forward_known_answers(void **state)
{
    (void)state;
    const struct {
        uint64_t q;
        uint64_t root;
        uint64_t in[8];
        uint64_t out[8];
    } cases[] = {
        {17, 3, {0, 1}, {3, 14, 5, 12, 10, 7, 11, 6}},
        {17, 3, {0, 1, 2, 3, 4, 5, 6, 7}, {6, 8, 5, 2, 13, 0, 12, 5}},
        {70368744210433,
         8876290083934,
         {1, 2, 3, 4, 5, 6, 7, 8},
         {47687192850134, 48494642474331, 58144925444676, 55722491702583,
          66745969953010, 46946424821247, 32848939561477, 65621878455148}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ntt_table *table = table_of(3, cases[i].q);
        uint64_t a[8];
        assert_int_equal(table->root, cases[i].root);
        memcpy(a, cases[i].in, sizeof a);
        ntt_kernels_portable()->forward(a, table);
        assert_memory_equal(a, cases[i].out, sizeof a);
        ntt_table_free(table);
    }
}

static void test_ntt_forward_by_definition(void **state)
{
    (void)state;
    uint64_t a[256];
    for (int log2_n = 3; log2_n <= 8; log2_n++) {
        for (int s = 0; s < REF_SIZES; s++) {
            const uint64_t q = ref_prime_of(ref_size_bits[s], log2_n);
            if (q == 0) {
                continue;
            }
            ntt_table *table = table_of(log2_n, q);
            for (ref_pattern p = 0; p < REF_PATTERNS; p++) {
                ref_fill(a, table->ring.n, q, p, 21);
                assert_forward(table, a, 1);
            }
            ntt_table_free(table);
        }
    }
}

static void test_ntt_forward_large_at_some_points(void **state)
{
    (void)state;
    const int bits[] = {46, 47, 50, 58, 59, 60};
    for (int log2_n = 9; log2_n <= 17; log2_n++) {
        for (size_t s = 0; s < sizeof bits / sizeof bits[0]; s++) {
            ntt_table *table = table_of(log2_n, ref_prime_of(bits[s], log2_n));
            const size_t n = table->ring.n;
            uint64_t *a = row_new(n);
            const ref_pattern few[] = {REF_RANDOM, REF_ALL_LARGEST,
                                       REF_ALTERNATING, REF_HALVES};
            const size_t n_few = log2_n > 13 ? 2 : 4;
            for (size_t p = 0; p < n_few; p++) {
                ref_fill(a, n, table->mod.q, few[p], 22);
                assert_forward(table, a, n / 3 - 1);
            }
            free(a);
            ntt_table_free(table);
        }
    }
}

/* The extremes of lazy ranges come from aligned signs: inputs that are the
 * inverse transform of extreme values, and random words of {0, q-1}. */
static void test_ntt_ranges_at_the_largest_primes(void **state)
{
    (void)state;
    const int bits[] = {47, 58, 59, 60};
    const ntt_kernels *k = ntt_kernels_portable();
    uint64_t seed = 23;
    for (int log2_n = 10; log2_n <= 13; log2_n++) {
        for (size_t s = 0; s < sizeof bits / sizeof bits[0]; s++) {
            ntt_table *table = table_of(log2_n, ref_prime_of(bits[s], log2_n));
            const uint64_t q = table->mod.q;
            const size_t n = table->ring.n;
            uint64_t *a = row_new(n);
            for (int run = 0; run < 6; run++) {
                for (size_t i = 0; i < n; i++) {
                    a[i] = ref_random(&seed) % 2 * (q - 1);
                }
                if (run % 2 != 0) {
                    k->inverse(a, table, 1);
                }
                assert_forward(table, a, n / 2 - 1);
            }
            free(a);
            ntt_table_free(table);
        }
    }
}

static void test_ntt_inverse_scales(void **state)
{
    (void)state;
    const ntt_kernels *k = ntt_kernels_portable();
    uint64_t a[128], b[128], c[128];
    for (int log2_n = 3; log2_n <= 7; log2_n++) {
        for (int s = 0; s < REF_SIZES; s++) {
            const uint64_t q = ref_prime_of(ref_size_bits[s], log2_n);
            if (q == 0) {
                continue;
            }
            ntt_table *table = table_of(log2_n, q);
            const size_t n = table->ring.n;
            const uint64_t scales[] = {0, 1, 2, q / 2, q - 1};
            ref_fill(a, n, q, REF_RANDOM, 24);
            for (size_t i = 0; i < 5; i++) {
                memcpy(b, a, n * sizeof *b);
                k->forward(b, table);
                k->inverse(b, table, scales[i]);
                for (size_t j = 0; j < n; j++) {
                    c[j] = ref_mul_mod(a[j], scales[i], q);
                }
                assert_memory_equal(b, c, n * sizeof *b);
            }
            ntt_table_free(table);
        }
    }
}

static void multiply(uint64_t *r, const uint64_t *a, const uint64_t *b,
                     const ntt_table *table)
{
    const ntt_kernels *k = ntt_kernels_portable();
    const size_t n = table->ring.n;
    uint64_t *t = row_new(n);
    memcpy(r, a, n * sizeof *r);
    memcpy(t, b, n * sizeof *t);
    k->forward(r, table);
    k->forward(t, table);
    k->mul(r, r, t, n, &table->mod);
    k->inverse(r, table, 1);
    free(t);
}

/* All products of two monomials c·X^i and d·X^j span all products. */
static void test_ntt_tiny_ring_exhaustive_monomials(void **state)
{
    (void)state;
    const size_t n = 8;
    const uint64_t q = 17;
    ntt_table *table = table_of(3, q);
    for (size_t run = 0; run < q * q * n * n; run++) {
        uint64_t a[8] = {0}, b[8] = {0}, got[8], want[8];
        a[run / (q * q) % n] = run % q;
        b[run / (q * q) / n] = run / q % q;
        multiply(got, a, b, table);
        ref_mul_poly(want, a, b, n, q);
        assert_memory_equal(got, want, sizeof want);
    }
    ntt_table_free(table);
}

static void test_ntt_tiny_rings_dense_products(void **state)
{
    (void)state;
    uint64_t a[32], b[32], got[32], want[32];
    for (int log2_n = 3; log2_n <= 5; log2_n++) {
        const size_t n = (size_t)1 << log2_n;
        for (uint64_t q = 2 * n + 1; q < 1200; q += 2 * n) {
            if (ref_smallest_root(q, 2 * n) == 0 ||
                ref_prime_below(q + 1, 2 * n) != q) {
                continue;
            }
            ntt_table *table = table_of(log2_n, q);
            for (ref_pattern p = 0; p < REF_PATTERNS; p++) {
                for (uint64_t seed = 0; seed < 10; seed++) {
                    ref_fill(a, n, q, p, seed);
                    ref_fill(b, n, q, REF_RANDOM, seed + 100);
                    multiply(got, a, b, table);
                    ref_mul_poly(want, a, b, n, q);
                    assert_memory_equal(got, want, n * sizeof want[0]);
                }
            }
            ntt_table_free(table);
        }
    }
}

static void test_ntt_products_against_schoolbook(void **state)
{
    (void)state;
    const int bits[] = {32, 47, 50, 60};
    for (int log2_n = 6; log2_n <= 9; log2_n++) {
        for (size_t s = 0; s < sizeof bits / sizeof bits[0]; s++) {
            ntt_table *table = table_of(log2_n, ref_prime_of(bits[s], log2_n));
            const size_t n = table->ring.n;
            uint64_t *rows = row_new(4 * n);
            ref_fill(rows, n, table->mod.q, REF_RANDOM, 25);
            ref_fill(rows + n, n, table->mod.q,
                     log2_n % 2 != 0 ? REF_ALL_LARGEST : REF_RANDOM, 26);
            multiply(rows + 2 * n, rows, rows + n, table);
            ref_mul_poly(rows + 3 * n, rows, rows + n, n, table->mod.q);
            assert_memory_equal(rows + 2 * n, rows + 3 * n, n * sizeof *rows);
            free(rows);
            ntt_table_free(table);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ntt_table_holds_powers_of_the_root),
        cmocka_unit_test(test_ntt_table_new_refuses),
        cmocka_unit_test(test_ntt_table_new_survives_failed_allocations),
        cmocka_unit_test(test_ntt_forward_known_answers),
        cmocka_unit_test(test_ntt_forward_by_definition),
        cmocka_unit_test(test_ntt_forward_large_at_some_points),
        cmocka_unit_test(test_ntt_ranges_at_the_largest_primes),
        cmocka_unit_test(test_ntt_inverse_scales),
        cmocka_unit_test(test_ntt_tiny_ring_exhaustive_monomials),
        cmocka_unit_test(test_ntt_tiny_rings_dense_products),
        cmocka_unit_test(test_ntt_products_against_schoolbook),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
