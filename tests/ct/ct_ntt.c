/* SPDX-License-Identifier: MIT
 * ntt/ is constant time in keys of samplers and in residues: every kernel of
 * every backend that this machine can run, for moduli of each class, and the
 * polynomial functions that see secrets.
 */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "ntt/poly.h"
#include "ntt/sample.h"
#include "tests/ct/ct.h"

/* Large enough for the transforms of every backend. */
#define LOG2_N 8
#define N ((size_t)1 << LOG2_N)
#define ROWS 6

/* Primes ≡ 1 mod 512 of 60, 50, 46 and 20 bits. */
static const uint64_t moduli[4] = {1152921504606844417, 1125899906826241,
                                   70368744166913, 1047041};

/* Looks at every word, so that a value that was never made is noticed. */
static void publish(const uint64_t *words, size_t n, uint64_t q)
{
    sotto_declassify(words, n * sizeof *words);
    for (size_t i = 0; i < n; i++) {
        ct_must(words[i] < q, "range of an output");
    }
}

static void secret_rows(uint64_t *rows, uint64_t q)
{
    for (size_t i = 0; i < ROWS * N; i++) {
        rows[i] = (i * 0x9e3779b97f4a7c15u) % q;
    }
    sotto_mark_secret(rows, ROWS * N * sizeof *rows);
}

static void check_samplers(ct_log *log, const ntt_kernels *k)
{
    sotto_seed key;
    int8_t out[300];
    sotto_seed_from_text(&key, "constant time");
    sotto_mark_secret(&key, sizeof key);
    ntt_sample_ternary(out, sizeof out, &key, k);
    sotto_declassify(out, sizeof out);
    for (size_t i = 0; i < sizeof out; i++) {
        ct_must(out[i] >= -1 && out[i] <= 1, "ternary");
    }
    ct_done(log, "ternary sampler in the key");
    ntt_sample_error(out, sizeof out, &key, k);
    sotto_declassify(out, sizeof out);
    for (size_t i = 0; i < sizeof out; i++) {
        ct_must(out[i] >= -NTT_ERROR_K && out[i] <= NTT_ERROR_K, "error");
    }
    ct_done(log, "error sampler in the key");
}

/* Rows 0..3 are inputs, 4 and 5 outputs; scalars are public. */
static void run_elementwise(const ntt_kernels *k, uint64_t *row,
                            const zq_modulus *mod)
{
    const uint64_t *a = row;
    const uint64_t *b = row + N;
    uint64_t *r = row + 4 * N;
    k->add(r, a, b, N, mod);
    k->sub(r, r, a, N, mod);
    k->negate(r, r, N, mod);
    k->mul(r, r, b, N, mod);
    k->mul_add(r, a, b, N, mod);
    k->sub_mul(r, a, b, N, mod);
    k->mul_scalar(r, r, mod->q - 2, N, mod);
    k->mul_scalar_add(r, a, mod->q / 2, N, mod);
    k->add_scalar(r, r, mod->q - 1, N, mod);
    k->sub_mul_scalar(r, r, b, 3, N, mod);
    publish(r, N, mod->q);
}

static void run_sums(const ntt_kernels *k, uint64_t *row, const zq_modulus *mod)
{
    const uint64_t *const x[3] = {row, row + N, row + 2 * N};
    const uint64_t *const y[3] = {row + 3 * N, row, row + N};
    const uint64_t from[3] = {moduli[0], moduli[1], moduli[3]};
    const uint64_t factor[3] = {1, mod->q - 1, mod->q / 2};
    const ntt_convert constants = {
        .k = 3, .from = from, .factor = factor, .product = 5};
    k->inner_product(row + 4 * N, row + 5 * N, x, y, x, 3, N, mod);
    publish(row + 4 * N, 2 * N, mod->q);
    k->convert(row + 4 * N, x, &constants, N, mod);
    publish(row + 4 * N, N, mod->q);
}

__attribute__((unused)) static void
run_gemm(const ntt_kernels *k, uint64_t *row, const zq_modulus *mod)
{
    static const int32_t weight[6] = {1, -2000, 3, -4, 5, 100000};
    const uint64_t *const in[3] = {row, row + N, row + 2 * N};
    uint64_t *const out[2] = {row + 4 * N, row + 5 * N};
    const ntt_gemm job = {.m = 2,
                          .k = 3,
                          .n = N,
                          .weight = weight,
                          .row_norm = 200000,
                          .in = in,
                          .out = out};
    void *scratch = sotto_calloc(k->gemm_scratch(&job, mod), 1);
    ct_must(scratch != NULL, "memory");
    k->gemm(&job, mod, scratch);
    sotto_free(scratch);
    publish(row + 4 * N, 2 * N, mod->q);
}

static void check_kernels(ct_log *log, const rns_limb *limb, uint64_t *row)
{
    const zq_modulus *mod = &limb->table->mod;
    const ntt_kernels *k = &limb->kernels;
    uint32_t map[N];
    secret_rows(row, mod->q);
    k->forward(row, limb->table);
    publish(row, N, mod->q);
    ct_done(log, "forward NTT");
    secret_rows(row, mod->q);
    k->inverse(row, limb->table, mod->q / 3);
    publish(row, N, mod->q);
    ct_done(log, "inverse NTT");
    secret_rows(row, mod->q);
    run_elementwise(k, row, mod);
    ct_done(log, "element-wise kernels");
    secret_rows(row, mod->q);
    run_sums(k, row, mod);
    ct_done(log, "inner product and base conversion");
#if !defined(SOTTO_CT_MSAN)
    /* It sees ciphertexts only, and rounds packed doubles, which MSan of clang
     * 14 takes for a use. */
    secret_rows(row, mod->q);
    run_gemm(k, row, mod);
    ct_done(log, "integer matrix product");
#endif
    secret_rows(row, mod->q);
    for (size_t i = 0; i < N; i++) {
        map[i] = (uint32_t)(i * 5 % N);
    }
    k->permute(row + 4 * N, row, map, N);
    publish(row + 4 * N, N, mod->q);
    ct_done(log, "permutation");
}

static void check_polynomials(ct_log *log, const rns_ring *ring)
{
    const rns_set keep = rns_set_range(0, 2);
    const rns_set by = rns_set_range(2, 2);
    rns_divider *divider = NULL;
    int8_t small[N];
    uint64_t *a = sotto_calloc(poly_words(ring, 4), sizeof *a);
    ct_must(a != NULL &&
                rns_divider_new(&divider, ring, &keep, &by, NULL) == SOTTO_OK,
            "memory");
    uint64_t *scratch =
        sotto_calloc(rns_divide_scratch(divider, ring), sizeof *scratch);
    ct_must(scratch != NULL, "memory");
    for (size_t i = 0; i < N; i++) {
        small[i] = (int8_t)(i % 43) - 21;
    }
    sotto_mark_secret(small, sizeof small);
    const rns_set all = rns_set_range(0, 4);
    poly_from_small(ring, &all, a, small);
    poly_forward(ring, &all, a);
    rns_divide(divider, ring, a, a, a + 2 * ring->stride, scratch);
    publish(a, N, moduli[0]);
    ct_done(log, "lift of small coefficients, division");
    rns_divider_free(divider);
    sotto_free(scratch);
    sotto_free(a);
}

/* What encoding and decoding do with single values. */
static void check_values(ct_log *log)
{
    for (size_t i = 0; i < 4; i++) {
        const zq_modulus mod = zq_modulus_init(moduli[i]);
        int64_t value[2] = {-123456789, 987654321};
        uint64_t out[2];
        sotto_mark_secret(value, sizeof value);
        out[0] = zq_from_i64(value[0], &mod);
        value[0] = zq_centre(out[0], mod.q);
        out[0] = zq_from_i64(value[0], &mod);
        out[1] = zq_from_scaled(value[1], 100, &mod);
        publish(out, 2, mod.q);
    }
    ct_done(log, "residues of signed values");
}

/* MemorySanitizer of clang 14 does not know the rounding of packed doubles and
 * takes it for a use; valgrind checks that backend instead. */
static int checker_knows(ntt_backend backend)
{
#if defined(SOTTO_CT_MSAN)
    return backend != NTT_BACKEND_AVX2;
#else
    (void)backend;
    return 1;
#endif
}

int main(void)
{
    ct_log log = {0};
    const ntt_ring shape = ntt_ring_init(LOG2_N);
    ntt_backend cap = NTT_BACKEND_PORTABLE;
    ct_must(ntt_backend_cap(&cap, NULL) == SOTTO_OK, "SOTTO_BACKEND");
    uint64_t *row = sotto_calloc(ROWS * N, sizeof *row);
    ct_must(row != NULL, "memory");
    for (ntt_backend b = NTT_BACKEND_PORTABLE; b <= cap; b++) {
        if (!checker_knows(b)) {
            continue;
        }
        rns_ring *ring = NULL;
        ct_must(rns_ring_new(&ring, &shape, moduli, 4, b, NULL) == SOTTO_OK,
                "ring");
        check_samplers(&log, &ring->limb[2].kernels);
        for (int i = 0; i < 4; i++) {
            check_kernels(&log, &ring->limb[i], row);
        }
        check_polynomials(&log, ring);
        rns_ring_free(ring);
    }
    check_values(&log);
    sotto_free(row);
    return 0;
}
