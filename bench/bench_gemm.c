/* SPDX-License-Identifier: MIT
 * The integer matrix product of a dense layer (845 inputs, 100 outputs, 9-bit
 * weights) and of a convolution window (25 inputs, 5 outputs), with its ratio
 * to a multiply-and-add loop per ciphertext.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench/clock.h"
#include "bench/harness.h"
#include "ntt/gemm.h"
#include "ntt/prime.h"

#define MAX_M 100
#define MAX_K 845
#define COLUMNS 2048
/* Outputs of the loop per ciphertext: it is slow, and its time is linear. */
#define LOOP_M 10

typedef struct work {
    ntt_kernels kernels;
    zq_modulus mod;
    ntt_gemm job;
    void *scratch;
    int32_t weight[MAX_M * MAX_K];
    const uint64_t *in[MAX_K];
    uint64_t *out[MAX_M];
    uint64_t *rows;
} work;

static void run_gemm(void *arg)
{
    work *w = arg;
    w->kernels.gemm(&w->job, &w->mod, w->scratch);
}

/* What evaluation without a matrix product does: out += w·in, one ciphertext
 * after the other. */
static void run_loop(void *arg)
{
    work *w = arg;
    for (size_t o = 0; o < LOOP_M && o < w->job.m; o++) {
        for (size_t i = 0; i < w->job.k; i++) {
            const uint64_t c =
                zq_from_i64(w->weight[o * w->job.k + i], &w->mod);
            w->kernels.mul_scalar_add(w->out[o], w->in[i], c, w->job.n,
                                      &w->mod);
        }
    }
}

static void prepare(work *w, int bits, size_t m, size_t k, ntt_backend cap)
{
    const ntt_ring ring = ntt_ring_init(13);
    uint64_t q = 0;
    if (ntt_prime_search(&q, 1, &ring, bits - 0.001, NULL, 0, NULL) !=
        SOTTO_OK) {
        abort();
    }
    w->mod = zq_modulus_init(q);
    w->kernels = ntt_kernels_choose(&w->mod, cap);
    const size_t stride = sotto_limb_stride(COLUMNS);
    uint64_t random = 1;
    for (size_t i = 0; i < MAX_K + MAX_M; i++) {
        uint64_t *row = w->rows + i * stride;
        for (size_t j = 0; j < COLUMNS; j++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            row[j] = random % q;
        }
        if (i < MAX_K) {
            w->in[i] = row;
        } else {
            w->out[i - MAX_K] = row;
        }
    }
    for (size_t i = 0; i < m * k; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        w->weight[i] = (int32_t)(random >> 40 & 511) - 256;
    }
    w->job = (ntt_gemm){.m = m,
                        .k = k,
                        .n = COLUMNS,
                        .weight = w->weight,
                        .row_norm = ntt_gemm_row_norm(w->weight, m, k),
                        .in = w->in,
                        .out = w->out};
    w->scratch = sotto_calloc(w->kernels.gemm_scratch(&w->job, &w->mod), 1);
    if (w->scratch == NULL) {
        abort();
    }
}

/* The matrix product and the loop, with the kernels that w was prepared with.
 */
static void measure_one(bench *b, work *w, int bits, size_t m, size_t k)
{
    char shape[32];
    (void)snprintf(shape, sizeof shape, "%zux%zu", m, k);
    const double macs = (double)m * (double)k * COLUMNS;
    bench_case c = {.name = "gemm",
                    .backend = w->kernels.name,
                    .q_bits = bits,
                    .note = shape,
                    .units = macs,
                    .unit = "product"};
    const double ns = bench_measure(b, &c, run_gemm, w);
    const size_t loop_m = m < LOOP_M ? m : LOOP_M;
    const double loop_macs = (double)loop_m * (double)k * COLUMNS;
    c.name = "multiply_add_loop";
    c.units = loop_macs;
    const double loop_ns = bench_measure(b, &c, run_loop, w);
    if (ns > 0) {
        bench_ratio(b, "  products per cycle", macs / ns * bench_cycle_ns());
    }
    if (ns > 0 && loop_ns > 0) {
        bench_ratio(b, "  loop / matrix product",
                    loop_ns / loop_macs / (ns / macs));
    }
}

static void measure(bench *b, work *w, int bits, size_t m, size_t k)
{
    const char *before = "";
    for (ntt_backend cap = 0; cap <= NTT_BACKEND_IFMA; cap++) {
        prepare(w, bits, m, k, cap);
        if (strcmp(w->kernels.name, before) != 0) {
            before = w->kernels.name;
            measure_one(b, w, bits, m, k);
        }
        sotto_free(w->scratch);
    }
}

int main(int argc, char **argv)
{
    bench b = bench_begin(argc, argv, "gemm");
    work *w = sotto_calloc(1, sizeof *w);
    uint64_t *rows =
        sotto_calloc((MAX_K + MAX_M) * sotto_limb_stride(COLUMNS), 8);
    if (w == NULL || rows == NULL) {
        abort();
    }
    w->rows = rows;
    static const int bits[] = {32, 46, 50};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        measure(&b, w, bits[i], 100, 845);
        measure(&b, w, bits[i], 5, 25);
    }
    sotto_free(rows);
    sotto_free(w);
    return bench_end(&b);
}
