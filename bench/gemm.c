/* SPDX-License-Identifier: MIT
 * The integer matrix product of a dense layer (845 inputs, 100 outputs, 9-bit
 * weights) and of a convolution window (25 inputs, 5 outputs), beside what it
 * replaces: for each weight a product of a ciphertext with a plaintext, added
 * to a sum, with portable kernels ("plain loop"), and a multiplication by a
 * constant and addition in one pass of each backend ("own loop").
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench/parts.h"
#include "ntt/gemm.h"
#include "ntt/prime.h"

#define MAX_M 100
#define MAX_K 845
#define COLUMNS 2048
/* Outputs of the loops: they are slow, and their time is linear in them. */
#define LOOP_M 5
#define BACKENDS (NTT_BACKEND_IFMA + 1)

/* Matrix and residues, the same for all backends. */
typedef struct operands {
    int32_t weight[MAX_M * MAX_K];
    const uint64_t *in[MAX_K];
    uint64_t *out[MAX_M];
    uint64_t *plain; /* a plaintext … */
    uint64_t *spare; /* … and its product with an input */
    uint64_t *rows;
} operands;

typedef struct work {
    const operands *operands;
    ntt_kernels kernels;
    zq_modulus mod;
    ntt_gemm job;
    void *scratch;
} work;

static void run_gemm(void *arg)
{
    work *w = arg;
    w->kernels.gemm(&w->job, &w->mod, w->scratch);
}

/* ckks_mul_plain and ckks_add, one ciphertext after the other; the plaintext is
 * the same each time, so that it stays in the cache. */
static void run_plain_loop(void *arg)
{
    const work *w = arg;
    const operands *o = w->operands;
    for (size_t r = 0; r < LOOP_M; r++) {
        for (size_t i = 0; i < w->job.k; i++) {
            w->kernels.mul(o->spare, o->in[i], o->plain, COLUMNS, &w->mod);
            w->kernels.add(o->out[r], o->out[r], o->spare, COLUMNS, &w->mod);
        }
    }
}

static void run_own_loop(void *arg)
{
    const work *w = arg;
    const operands *o = w->operands;
    for (size_t r = 0; r < LOOP_M; r++) {
        for (size_t i = 0; i < w->job.k; i++) {
            const uint64_t c =
                zq_from_i64(o->weight[r * w->job.k + i], &w->mod);
            w->kernels.mul_scalar_add(o->out[r], o->in[i], c, COLUMNS, &w->mod);
        }
    }
}

static zq_modulus modulus_of(int bits)
{
    const ntt_ring ring = ntt_ring_init(13);
    uint64_t q = 0;
    if (ntt_prime_search(&q, 1, &ring, bits - 0.001, NULL, 0, NULL) !=
        SOTTO_OK) {
        abort();
    }
    return zq_modulus_init(q);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state;
}

static void fill(operands *o, uint64_t q)
{
    const size_t stride = sotto_limb_stride(COLUMNS);
    uint64_t random = 1;
    for (size_t i = 0; i < MAX_K + MAX_M; i++) {
        uint64_t *row = o->rows + i * stride;
        for (size_t j = 0; j < COLUMNS; j++) {
            row[j] = next_random(&random) % q;
        }
        if (i < MAX_K) {
            o->in[i] = row;
        } else {
            o->out[i - MAX_K] = row;
        }
    }
    o->plain = o->rows + (MAX_K + MAX_M) * stride;
    memcpy(o->plain, o->in[0], COLUMNS * sizeof *o->plain);
    o->spare = o->plain + stride;
    for (size_t i = 0; i < (size_t)MAX_M * MAX_K; i++) {
        o->weight[i] = (int32_t)(next_random(&random) >> 40 & 511) - 256;
    }
}

static void prepare(work *w, const operands *o, const zq_modulus *mod, size_t m,
                    size_t k, ntt_backend cap)
{
    *w = (work){.operands = o, .mod = *mod};
    w->kernels = ntt_kernels_choose(mod, cap);
    w->job = (ntt_gemm){.m = m,
                        .k = k,
                        .n = COLUMNS,
                        .weight = o->weight,
                        .row_norm = ntt_gemm_row_norm(o->weight, m, k),
                        .in = o->in,
                        .out = o->out};
    w->scratch = sotto_calloc(w->kernels.gemm_scratch(&w->job, &w->mod), 1);
    if (w->scratch == NULL) {
        abort();
    }
}

/* The multiplier's limit: products of 16-bit words. */
static void set_limit(bench_case *c, const work *w, const machine_limits *m)
{
    const double rate = strcmp(c->backend, "ifma") == 0   ? m->words_avx512
                        : strcmp(c->backend, "avx2") == 0 ? m->words_avx2
                                                          : 0;
    if (rate > 0) {
        c->least_ns = c->units * ntt_gemm_words(&w->mod, 256) / rate;
        c->limit = "words";
    }
}

/* One shape: the product on every backend, the plain loop, every own loop. */
static void measure(bench *b, const operands *o, int bits, size_t m, size_t k)
{
    const zq_modulus mod = modulus_of(bits);
    work w[BACKENDS];
    bench_case c[2 * BACKENDS + 1];
    char shape[32];
    (void)snprintf(shape, sizeof shape, "%zux%zu", m, k);
    size_t n = 0;
    for (ntt_backend cap = 0; cap <= b->cap; cap++) {
        prepare(&w[n], o, &mod, m, k, cap);
        const char *name = w[n].kernels.name;
        if (n > 0 && strcmp(name, w[n - 1].kernels.name) == 0) {
            sotto_free(w[n].scratch);
            continue;
        }
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        c[i] = (bench_case){
            .name = "gemm",
            .backend = w[i].kernels.name,
            .q_bits = bits,
            .note = shape,
            .units = (double)m * (double)k * COLUMNS,
            .unit = "product",
            .per_cycle = true,
            .against = {{n, "plain_loop"}, {n + 1 + i, "own_loop"}},
            .run = run_gemm,
            .arg = &w[i]};
        set_limit(&c[i], &w[i], &b->limits);
        c[n + 1 + i] = c[i];
        c[n + 1 + i].name = "gemm_own_loop";
        c[n + 1 + i].units = (double)LOOP_M * (double)k * COLUMNS;
        c[n + 1 + i].against[1].name = NULL;
        c[n + 1 + i].limit = NULL;
        c[n + 1 + i].run = run_own_loop;
    }
    c[n] = c[n + 1];
    c[n].name = "gemm_plain_loop";
    c[n].against[0].name = NULL;
    c[n].run = run_plain_loop;
    bench_group(b, c, 2 * n + 1, NULL);
    for (size_t i = 0; i < n; i++) {
        sotto_free(w[i].scratch);
    }
}

void bench_gemm(bench *b)
{
    if (!bench_wants(b, "gemm")) {
        return;
    }
    operands *o = sotto_calloc(1, sizeof *o);
    uint64_t *rows =
        sotto_calloc((MAX_K + MAX_M + 2) * sotto_limb_stride(COLUMNS), 8);
    if (o == NULL || rows == NULL) {
        abort();
    }
    o->rows = rows;
    static const int bits[] = {32, 42, 46, 50};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        fill(o, (uint64_t)1 << (bits[i] - 1));
        measure(b, o, bits[i], 100, 845);
        measure(b, o, bits[i], 5, 25);
    }
    sotto_free(rows);
    sotto_free(o);
}
