/* SPDX-License-Identifier: MIT
 * Transforms in cycles per butterfly, and the other kernels, per limb.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "bench/clock.h"
#include "bench/harness.h"
#include "ntt/prime.h"
#include "ntt/rns.h"

#define ROWS 12

typedef struct work {
    rns_ring *ring;
    const rns_limb *limb;
    size_t n;
    size_t k; /* digits or source moduli */
    uint64_t *row[ROWS];
    uint32_t *map;
} work;

static void run_forward(void *arg)
{
    const work *w = arg;
    w->limb->kernels.forward(w->row[0], w->limb->table);
}

static void run_inverse(void *arg)
{
    const work *w = arg;
    w->limb->kernels.inverse(w->row[0], w->limb->table, 1);
}

static void run_mul(void *arg)
{
    const work *w = arg;
    w->limb->kernels.mul(w->row[0], w->row[1], w->row[2], w->n,
                         &w->limb->table->mod);
}

static void run_inner_product(void *arg)
{
    const work *w = arg;
    const uint64_t *const *rows = (const uint64_t *const *)w->row;
    w->limb->kernels.inner_product(w->row[10], w->row[11], rows, rows + 3,
                                   rows + 6, w->k, w->n, &w->limb->table->mod);
}

static void run_convert(void *arg)
{
    const work *w = arg;
    const uint64_t q = w->limb->table->mod.q;
    const uint64_t from[4] = {q - 2, q - 4, q - 6, q - 8};
    const uint64_t factor[4] = {1, q - 1, q / 2, 3};
    const ntt_convert constants = {
        .k = w->k, .from = from, .factor = factor, .product = 7};
    w->limb->kernels.convert(w->row[10], (const uint64_t *const *)w->row,
                             &constants, w->n, &w->limb->table->mod);
}

static void run_permute(void *arg)
{
    const work *w = arg;
    w->limb->kernels.permute(w->row[10], w->row[0], w->map, w->n);
}

static void prepare(work *w, int log2_n, int bits)
{
    const ntt_ring shape = ntt_ring_init(log2_n);
    uint64_t q = (((uint64_t)1 << bits) - 2) / (2 * shape.n) * 2 * shape.n + 1;
    ntt_backend cap = NTT_BACKEND_PORTABLE;
    while (!ntt_prime_is(q)) {
        q -= 2 * shape.n;
    }
    if (ntt_backend_cap(&cap, NULL) != SOTTO_OK ||
        rns_ring_new(&w->ring, &shape, &q, 1, cap, NULL) != SOTTO_OK) {
        abort();
    }
    w->limb = &w->ring->limb[0];
    w->n = shape.n;
    w->map = sotto_calloc(w->n, sizeof *w->map);
    uint64_t *rows = sotto_calloc(ROWS * w->ring->stride, sizeof *rows);
    if (w->map == NULL || rows == NULL) {
        abort();
    }
    ntt_ring_automorphism(&shape, w->map, ntt_ring_rotation(&shape, 1));
    for (size_t i = 0; i < ROWS; i++) {
        w->row[i] = rows + i * w->ring->stride;
        for (size_t j = 0; j < w->n; j++) {
            w->row[i][j] = (i + 1) * (j + 1) * 0x9e3779b97f4a7c15u % q;
        }
    }
}

static void clear(work *w)
{
    sotto_free(w->row[0]);
    sotto_free(w->map);
    rns_ring_free(w->ring);
}

static void measure_transforms(bench *b, int log2_n, int bits)
{
    work w = {0};
    char name[64];
    prepare(&w, log2_n, bits);
    const double butterflies = (double)w.n / 2 * log2_n;
    for (int inverse = 0; inverse <= 1; inverse++) {
        (void)snprintf(name, sizeof name, "%s %s 2^%d, %d bits",
                       w.limb->kernels.name, inverse ? "inverse" : "forward",
                       log2_n, bits);
        const double ns =
            bench_run(b, name, inverse ? run_inverse : run_forward, &w,
                      butterflies, "butterfly");
        if (ns > 0) {
            bench_ratio(b, "  cycles per butterfly",
                        ns / butterflies / bench_cycle_ns());
        }
    }
    clear(&w);
}

static void measure_kernels(bench *b, int log2_n, int bits)
{
    work w = {0};
    char name[64];
    prepare(&w, log2_n, bits);
    const double n = (double)w.n;
    (void)bench_run(b, "mul", run_mul, &w, n, "residue");
    for (w.k = 1; w.k <= 3; w.k += 2) {
        (void)snprintf(name, sizeof name, "inner_product, %zu digits", w.k);
        (void)bench_run(b, name, run_inner_product, &w, 2 * n * (double)w.k,
                        "product");
        (void)snprintf(name, sizeof name, "convert, %zu sources", w.k);
        (void)bench_run(b, name, run_convert, &w, n * (double)w.k, "product");
    }
    (void)bench_run(b, "permute", run_permute, &w, n, "residue");
    clear(&w);
}

int main(int argc, char **argv)
{
    bench b = bench_begin(argc, argv, "ntt");
    static const int bits[] = {46, 50, 60};
    for (int log2_n = 12; log2_n <= 16; log2_n++) {
        for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
            measure_transforms(&b, log2_n, bits[i]);
        }
    }
    measure_kernels(&b, 13, 46);
    return bench_end(&b);
}
