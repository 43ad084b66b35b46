/* SPDX-License-Identifier: MIT
 * Integer matrix × residue rows, for every backend: all shapes around the sizes
 * of panels, chunks and words, extreme weights and residues, against sums in
 * 128 bits.
 */
#include "ntt/gemm.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ref/kernels.h"
#include "tests/ref/pattern.h"
#include "tests/ref/ring.h"

/* How weights are drawn. */
typedef enum weight_kind {
    WEIGHT_LARGEST,     /* all +largest */
    WEIGHT_SMALLEST,    /* all -largest */
    WEIGHT_ALTERNATING, /* ±largest in turn */
    WEIGHT_RANDOM,      /* uniform in [-largest, largest] */
    WEIGHT_ONE,         /* one weight per row, else zeros */
    WEIGHT_KINDS
} weight_kind;

static void fill_weights(int32_t *w, size_t m, size_t k, weight_kind kind,
                         int64_t largest)
{
    uint64_t seed = (uint64_t)largest + kind;
    for (size_t i = 0; i < m * k; i++) {
        const bool odd = (i / k + i % k) % 2 != 0;
        const uint64_t r = ref_random(&seed);
        const uint64_t range = 2 * (uint64_t)largest + 1;
        const bool is_the_one = i % k == (i / k) * 7 % k;
        const int64_t value[WEIGHT_KINDS] = {
            largest, -largest, odd ? largest : -largest,
            (int64_t)(r % range) - largest, is_the_one ? -largest : 0};
        w[i] = (int32_t)value[kind];
    }
}

/* A job packed and run over rows that are products, some of them twice, in two
 * pieces, against the same job on rows that hold them. */
static void check_packed(const ntt_kernels *kernels, const zq_modulus *mod,
                         const ntt_gemm *job)
{
    const size_t k = job->k, m = job->m, n = job->n;
    uint64_t *made = aligned_alloc(64, (k + 2 * m) * n * 8);
    ntt_gemm_row *row = malloc(k * sizeof *row);
    const uint64_t **made_row = malloc(k * sizeof *made_row);
    uint64_t **out = malloc(2 * m * sizeof *out);
    const size_t packed_bytes = kernels->gemm_packed_bytes(job, mod);
    const size_t need = kernels->gemm_run_scratch(job, mod);
    uint8_t *packed = aligned_alloc(64, (packed_bytes + 127) / 64 * 64);
    uint8_t *scratch = aligned_alloc(64, (need + 127) / 64 * 64);
    assert_true(made && row && made_row && out && packed && scratch);
    packed[packed_bytes] = scratch[need] = 0xa5;
    for (size_t i = 0; i < k; i++) {
        row[i] = (ntt_gemm_row){.x = job->in[i],
                                .y = i % 3 == 2 ? NULL : job->in[i * 5 % k],
                                .twice = i % 4 == 1};
        made_row[i] = made + i * n;
        for (size_t j = 0; j < n; j++) {
            uint64_t x = row[i].x[j];
            x = row[i].y == NULL ? x : zq_mul(x, row[i].y[j], mod);
            made[i * n + j] = row[i].twice ? zq_add(x, x, mod->q) : x;
        }
    }
    for (size_t o = 0; o < 2 * m; o++) {
        out[o] = made + (k + o) * n;
    }
    kernels->gemm_pack(packed, job, mod);
    const size_t first = n / 16 * 8;
    ntt_gemm_columns columns = {.n = first,
                                .in = row,
                                .out = out,
                                .add_offset = true,
                                .look_ahead = true};
    if (first > 0) {
        kernels->gemm_run(packed, &columns, mod, scratch);
    }
    for (size_t i = 0; i < k; i++) {
        row[i].x += first;
        row[i].y += row[i].y == NULL ? 0 : first;
    }
    for (size_t o = 0; o < m; o++) {
        out[o] += first;
    }
    columns.n = n - first;
    columns.is_last = true;
    kernels->gemm_run(packed, &columns, mod, scratch);
    assert_true(packed[packed_bytes] == 0xa5 && scratch[need] == 0xa5);
    ntt_gemm plain = *job;
    plain.in = made_row;
    plain.out = out + m;
    ref_kernels.gemm(&plain, mod, NULL);
    assert_memory_equal(made + k * n, made + (k + m) * n, m * n * 8);
    free(made);
    free(row);
    free(made_row);
    free(out);
    free(packed);
    free(scratch);
}

/* One job on one backend against the definition. */
static void check_job(const ntt_kernels *kernels, const zq_modulus *mod,
                      size_t m, size_t k, size_t n, const int32_t *w,
                      ref_pattern pattern)
{
    uint64_t *in = aligned_alloc(64, k * n * 8);
    uint64_t *out = aligned_alloc(64, 2 * m * n * 8);
    uint64_t *offset = malloc(m * sizeof *offset);
    const uint64_t **in_row = malloc(k * sizeof *in_row);
    uint64_t **out_row = malloc(2 * m * sizeof *out_row);
    assert_true(in && out && offset && in_row && out_row);
    for (size_t o = 0; o < m; o++) {
        offset[o] = o % 2 ? mod->q - 1 : 1;
    }
    for (size_t i = 0; i < k; i++) {
        in_row[k - 1 - i] = in + i * n; /* gathered, in another order */
        ref_fill(in + i * n, n, mod->q, i % 5 == 4 ? REF_RANDOM : pattern, i);
    }
    for (size_t o = 0; o < 2 * m; o++) {
        out_row[o] = out + o * n;
    }
    ntt_gemm job = {.m = m,
                    .k = k,
                    .n = n,
                    .weight = w,
                    .row_norm = ntt_gemm_row_norm(w, m, k),
                    .in = in_row,
                    .offset = m + k > 20 ? NULL : offset,
                    .out = out_row};
    const size_t need = kernels->gemm_scratch(&job, mod);
    uint8_t *scratch = aligned_alloc(64, (need + 127) / 64 * 64);
    assert_non_null(scratch);
    memset(scratch, 0xa5, need + 1);
    kernels->gemm(&job, mod, scratch);
    assert_int_equal(scratch[need], 0xa5);
    job.out = out_row + m;
    ref_kernels.gemm(&job, mod, NULL);
    assert_memory_equal(out, out + m * n, m * n * 8);
    check_packed(kernels, mod, &job);
    free(in);
    free(out);
    free(offset);
    free(in_row);
    free(out_row);
    free(scratch);
}

/* The same on every backend. */
static void check_all(uint64_t q, size_t m, size_t k, size_t n,
                      const int32_t *w, ref_pattern pattern)
{
    const zq_modulus mod = zq_modulus_init(q);
    const char *before = "";
    for (ntt_backend cap = 0; cap <= NTT_BACKEND_IFMA; cap++) {
        const ntt_kernels kernels = ntt_kernels_choose(&mod, cap);
        if (strcmp(kernels.name, before) != 0) {
            check_job(&kernels, &mod, m, k, n, w, pattern);
        }
        before = kernels.name;
    }
}

static void test_ntt_gemm_shapes(void **state)
{
    (void)state;
    static const size_t ms[] = {1, 2, 5, 9};
    static const size_t ks[] = {1,  2,  3,  4,  5,   7,   8,   9,  25,
                                31, 33, 64, 65, 447, 448, 449, 900};
    static const size_t ns[] = {8, 16, 40};
    static int32_t w[9 * 900];
    for (size_t m = 0; m < sizeof ms / sizeof ms[0]; m++) {
        for (size_t k = 0; k < sizeof ks / sizeof ks[0]; k++) {
            fill_weights(w, ms[m], ks[k], WEIGHT_RANDOM, 255);
            for (size_t n = 0; n < sizeof ns / sizeof ns[0]; n++) {
                check_all(ref_prime_of(46, 10), ms[m], ks[k], ns[n], w,
                          REF_RANDOM);
            }
        }
    }
}

static void test_ntt_gemm_extremes(void **state)
{
    (void)state;
    static const int64_t largest[] = {1,
                                      255,
                                      256,
                                      2047,
                                      2048,
                                      ((int64_t)1 << 21) - 1,
                                      ((int64_t)1 << 21),
                                      ((int64_t)1 << 21) - 1024,
                                      INT32_MAX,
                                      1000003};
    static const size_t ks[] = {1, 8, 33, 70};
    static int32_t w[3 * 70];
    for (int s = 0; s < REF_SIZES; s++) {
        const uint64_t q = ref_prime_of(ref_size_bits[s], 3);
        for (size_t l = 0; q != 0 && l < sizeof largest / sizeof largest[0];
             l++) {
            for (weight_kind kind = 0; kind < WEIGHT_KINDS; kind++) {
                const size_t k = ks[(l + kind) % 4];
                fill_weights(w, 3, k, kind, largest[l]);
                for (ref_pattern p = 0; p < REF_PATTERNS; p++) {
                    check_all(q, 3, k, 8, w, p);
                }
            }
        }
    }
}

/* Just below and above the limits of 2 and 3 words for a residue, and of the
 * 63-bit sums; the moduli need not be primes here. */
static void test_ntt_gemm_word_limits(void **state)
{
    (void)state;
    static int32_t w[2 * 40];
    const uint64_t two = ((uint64_t)1 << 32) - ((uint64_t)1 << 16);
    const uint64_t three =
        ((uint64_t)1 << 48) - ((uint64_t)1 << 32) - ((uint64_t)1 << 16);
    const uint64_t moduli[] = {two - 1,   two + 1,   two + 3,
                               three - 1, three + 1, 65535,
                               65537,     3,         ((uint64_t)1 << 60) - 1};
    for (size_t i = 0; i < sizeof moduli / sizeof moduli[0]; i++) {
        for (weight_kind kind = 0; kind < WEIGHT_KINDS; kind++) {
            fill_weights(w, 2, 40, kind, 2047);
            check_all(moduli[i], 2, 40, 8, w, REF_HALVES);
            check_all(moduli[i], 2, 40, 8, w, REF_HALF_BELOW);
            check_all(moduli[i], 2, 40, 8, w, REF_HALF_ABOVE);
        }
    }
    zq_modulus mod = zq_modulus_init(two - 1);
    assert_int_equal(ntt_gemm_words(&mod, 2047), 2);
    assert_int_equal(ntt_gemm_words(&mod, 2048), 4);
    mod = zq_modulus_init(two + 1);
    assert_int_equal(ntt_gemm_words(&mod, 1), 3);
    mod = zq_modulus_init(three - 1);
    assert_int_equal(ntt_gemm_words(&mod, (1 << 21) - 1), 6);
    mod = zq_modulus_init(three + 1);
    assert_int_equal(ntt_gemm_words(&mod, 1 << 21), 12);
}

/* Many terms with the largest norm that the contract allows: 2^45 - 1. */
static void test_ntt_gemm_long_rows(void **state)
{
    (void)state;
    const size_t k = 20000;
    int32_t *w = malloc(k * sizeof *w);
    assert_non_null(w);
    const int64_t largest[] = {255, 2047, 65535,
                               (((int64_t)1 << 45) - 1) / 20000};
    for (size_t l = 0; l < sizeof largest / sizeof largest[0]; l++) {
        for (weight_kind kind = 0; kind < WEIGHT_ONE; kind++) {
            fill_weights(w, 1, k, kind, largest[l]);
            check_all(ref_prime_of(60, 3), 1, k, 8, w, REF_HALF_BELOW);
            check_all(ref_prime_of(46, 3), 1, k, 8, w, REF_HALVES);
        }
    }
    free(w);
}

/* Blocks against the dense products of their rows. */
static void check_blocks(const ntt_kernels *kernels, const zq_modulus *mod,
                         const ntt_gemm_block *block, size_t n_blocks,
                         const int32_t *w, size_t k, size_t n)
{
    uint64_t *in = aligned_alloc(64, k * n * 8);
    const uint64_t **in_row = malloc(k * sizeof *in_row);
    ntt_gemm job = {.k = k,
                    .n = n,
                    .weight = w,
                    .in = in_row,
                    .n_blocks = n_blocks,
                    .block = block};
    assert_true(in && in_row);
    for (size_t i = 0; i < k; i++) {
        in_row[i] = in + i * n;
        ref_fill(in + i * n, n, mod->q, i % 3 ? REF_RANDOM : REF_HALVES, i);
    }
    for (size_t b = 0; b < n_blocks; b++) {
        const uint64_t norm =
            ntt_gemm_row_norm(w + job.n_weights, block[b].m, block[b].k);
        job.row_norm = norm > job.row_norm ? norm : job.row_norm;
        job.m += block[b].m;
        job.n_weights += block[b].m * block[b].k;
        job.block_k = block[b].k > job.block_k ? block[b].k : job.block_k;
    }
    uint64_t *out = aligned_alloc(64, 2 * job.m * n * 8);
    uint64_t offset[64];
    for (size_t o = 0; o < job.m; o++) {
        offset[o] = (o * 0x123456789abcdu + 1) % mod->q;
    }
    job.offset = offset;
    uint64_t **out_row = malloc(2 * job.m * sizeof *out_row);
    assert_true(out && out_row);
    for (size_t o = 0; o < 2 * job.m; o++) {
        out_row[o] = out + o * n;
    }
    const size_t need = kernels->gemm_scratch(&job, mod);
    uint8_t *scratch = aligned_alloc(64, (need + 127) / 64 * 64);
    assert_non_null(scratch);
    memset(scratch, 0xa5, need + 1);
    job.out = out_row;
    kernels->gemm(&job, mod, scratch);
    assert_int_equal(scratch[need], 0xa5);
    ntt_gemm part = {
        .n = n, .weight = w, .offset = offset, .out = out_row + job.m};
    for (size_t b = 0; b < n_blocks; b++) {
        const uint64_t *rows[64];
        for (size_t i = 0; i < block[b].k; i++) {
            rows[i] = in_row[block[b].in[i]];
        }
        part.in = rows;
        part.m = block[b].m;
        part.k = block[b].k;
        ref_kernels.gemm(&part, mod, NULL);
        part.weight += part.m * part.k;
        part.offset += part.m;
        part.out += part.m;
    }
    assert_memory_equal(out, out + job.m * n, job.m * n * 8);
    free(in);
    free(in_row);
    free(out);
    free(out_row);
    free(scratch);
}

static void test_ntt_gemm_blocks(void **state)
{
    (void)state;
    enum { K = 70, BLOCKS = 6 };
    static const size_t ms[BLOCKS] = {5, 1, 9, 3, 17, 2};
    static const size_t ks[BLOCKS] = {25, 1, 64, 3, 10, 33};
    static int32_t w[17 * 64 * BLOCKS];
    static const int64_t largest[] = {255, 2047, 9000, INT32_MAX};
    uint32_t in[BLOCKS][64];
    ntt_gemm_block block[BLOCKS];
    for (size_t b = 0; b < BLOCKS; b++) {
        for (size_t i = 0; i < ks[b]; i++) {
            in[b][i] = (uint32_t)((11 * i + 23 * b) % K); /* gcd(11, K) = 1 */
        }
        block[b] = (ntt_gemm_block){ms[b], ks[b], in[b]};
    }
    for (int s = 0; s < REF_SIZES; s++) {
        const uint64_t q = ref_prime_of(ref_size_bits[s], 3);
        const zq_modulus mod = zq_modulus_init(q != 0 ? q : 17);
        for (size_t l = 0; l < 4; l++) {
            fill_weights(w, 17, 64 * BLOCKS,
                         l % 2 ? WEIGHT_RANDOM : WEIGHT_LARGEST, largest[l]);
            for (ntt_backend cap = 0; cap <= NTT_BACKEND_IFMA; cap++) {
                const ntt_kernels kernels = ntt_kernels_choose(&mod, cap);
                check_blocks(&kernels, &mod, block, BLOCKS, w, K, 40);
                check_blocks(&kernels, &mod, block + 2, 1, w, K, 8);
            }
        }
    }
}

static void test_ntt_gemm_row_norm(void **state)
{
    (void)state;
    const int32_t w[6] = {1, -2, 3, INT32_MAX, -INT32_MAX, 7};
    assert_true(ntt_gemm_row_norm(w, 2, 3) == 2 * (uint64_t)INT32_MAX + 7);
    assert_int_equal(ntt_gemm_row_norm(w, 1, 3), 6);
    assert_int_equal(ntt_gemm_row_norm(w, 3, 1), 3);
    assert_int_equal(ntt_gemm_row_norm(w, 0, 3), 0);
}

/* Callers size their memory before they have weights. */
static void test_ntt_gemm_scratch_does_not_fall(void **state)
{
    (void)state;
    const zq_modulus mod = zq_modulus_init(ref_prime_of(46, 3));
    for (ntt_backend cap = 0; cap <= NTT_BACKEND_IFMA; cap++) {
        const ntt_kernels kernels = ntt_kernels_choose(&mod, cap);
        size_t before = 0;
        for (uint64_t norm = 1; norm < (uint64_t)1 << 45; norm *= 2) {
            const ntt_gemm job = {.m = 5, .k = 25, .n = 8, .row_norm = norm};
            const size_t need = kernels.gemm_scratch(&job, &mod);
            assert_true(need >= before);
            before = need;
        }
        for (size_t size = 1; size < 500; size += 7) {
            const ntt_gemm job = {.m = size, .k = size, .row_norm = 9};
            const ntt_gemm more = {.m = size, .k = size + 9, .row_norm = 9};
            assert_true(kernels.gemm_scratch(&job, &mod) <=
                        kernels.gemm_scratch(&more, &mod));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ntt_gemm_shapes),
        cmocka_unit_test(test_ntt_gemm_extremes),
        cmocka_unit_test(test_ntt_gemm_word_limits),
        cmocka_unit_test(test_ntt_gemm_long_rows),
        cmocka_unit_test(test_ntt_gemm_blocks),
        cmocka_unit_test(test_ntt_gemm_row_norm),
        cmocka_unit_test(test_ntt_gemm_scratch_does_not_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
