/* SPDX-License-Identifier: MIT
 * Transforms of every backend on inputs that make their lazy sums as large as
 * they can become: where a reduction is left out, or a range is too small for
 * the largest modulus of a class, random inputs hardly ever show it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ntt/kernels.h"
#include "tests/ref/pattern.h"

/* Value 0 is a summand in every layer: of a[0] and, in layer k, of the product
 * of a[n/2^(k+1)] with twiddle factor 2^k. Here each product is `term`, all
 * other coefficients are 0. */
static void fill_longest_sum(uint64_t *a, const ntt_table *table, uint64_t term)
{
    const zq_modulus *mod = &table->mod;
    memset(a, 0, table->ring.n * sizeof *a);
    a[0] = term > mod->q / 2 ? 0 : mod->q - 1;
    for (size_t node = 1; node < table->ring.n; node *= 2) {
        const uint64_t inverse = zq_inv(table->forward[node], mod);
        a[table->ring.n / (2 * node)] = zq_mul(inverse, term, mod);
    }
}

static void check_same(const ntt_kernels *kernels, const ntt_table *table,
                       const uint64_t *a, uint64_t *got, uint64_t *want)
{
    const ntt_kernels *portable = ntt_kernels_portable();
    const size_t len_bytes = table->ring.n * sizeof *a;
    memcpy(got, a, len_bytes);
    memcpy(want, a, len_bytes);
    kernels->forward(got, table);
    portable->forward(want, table);
    assert_memory_equal(got, want, len_bytes);
    memcpy(got, a, len_bytes);
    memcpy(want, a, len_bytes);
    kernels->inverse(got, table, 1);
    portable->inverse(want, table, 1);
    assert_memory_equal(got, want, len_bytes);
}

static void check_modulus(int log2_n, uint64_t q, ntt_backend cap)
{
    const ntt_ring ring = ntt_ring_init(log2_n);
    const zq_modulus mod = zq_modulus_init(q);
    const ntt_kernels kernels = ntt_kernels_choose(&mod, cap);
    ntt_table *table = NULL;
    uint64_t *a = sotto_calloc(3 * ring.n, sizeof *a);
    assert_non_null(a);
    assert_int_equal(ntt_table_new(&table, &ring, q, NULL), SOTTO_OK);
    assert_int_equal(ntt_kernels_prepare(table, &kernels, NULL), SOTTO_OK);
    /* The largest and the smallest centred terms, and terms of q - 1. */
    const uint64_t terms[] = {q / 2, q / 2 + 1, q - 1};
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        fill_longest_sum(a, table, terms[i]);
        check_same(&kernels, table, a, a + ring.n, a + 2 * ring.n);
    }
    /* Sums of the inverse double in each layer. */
    ref_fill(a, ring.n, q, REF_ALL_LARGEST, 0);
    check_same(&kernels, table, a, a + ring.n, a + 2 * ring.n);
    ntt_table_free(table);
    sotto_free(a);
}

static void test_transforms_hold_the_longest_sums(void **state)
{
    (void)state;
    static const int log2_n[] = {6, 7, 13, 16, 17};
    const size_t n_degrees = getenv("SOTTO_TEST_LONG") != NULL ? 5 : 4;
    for (size_t d = 0; d < n_degrees; d++) {
        for (int bits = 45; bits <= 51; bits++) {
            const uint64_t q = ref_prime_of(bits, log2_n[d]);
            for (ntt_backend cap = NTT_BACKEND_AVX2; cap <= NTT_BACKEND_IFMA;
                 cap++) {
                check_modulus(log2_n[d], q, cap);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transforms_hold_the_longest_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
