/* SPDX-License-Identifier: MIT
 * Kernels on one limb, for every backend that the machine has: transforms in
 * cycles per butterfly, pointwise and base conversion kernels with the bytes
 * that they move, and the ratio to portable.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void prepare(work *w, int log2_n, int bits, ntt_backend cap)
{
    const ntt_ring shape = ntt_ring_init(log2_n);
    uint64_t q = (((uint64_t)1 << bits) - 2) / (2 * shape.n) * 2 * shape.n + 1;
    while (!ntt_prime_is(q)) {
        q -= 2 * shape.n;
    }
    if (rns_ring_new(&w->ring, &shape, &q, 1, cap, NULL) != SOTTO_OK) {
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

/* One kernel: its name in the results, work and bytes of one call. */
typedef struct kernel_case {
    const char *name;
    void (*run)(void *arg);
    size_t k;         /* digits or sources */
    const char *note; /* … in words */
    double units;     /* per residue */
    const char *unit;
    double rows; /* limbs read and written */
} kernel_case;

static const kernel_case transforms[] = {
    {"ntt_forward", run_forward, 0, NULL, 0, "butterfly", 0},
    {"ntt_inverse", run_inverse, 0, NULL, 0, "butterfly", 0},
};

static const kernel_case pointwise[] = {
    {"multiply", run_mul, 0, NULL, 1, "residue", 3},
    {"inner_product", run_inner_product, 1, "1 digit", 2, "product", 5},
    {"inner_product", run_inner_product, 3, "3 digits", 6, "product", 11},
    {"base_conversion", run_convert, 1, "1 source", 1, "product", 2},
    {"base_conversion", run_convert, 3, "3 sources", 3, "product", 4},
    {"permute", run_permute, 0, NULL, 1, "residue", 2.5},
};

/* Measures one kernel on every backend that has one of its own for this
 * modulus. */
static void measure(bench *b, const kernel_case *kernel, int log2_n, int bits)
{
    const char *before = "";
    double portable_ns = 0;
    for (ntt_backend cap = 0; cap <= NTT_BACKEND_IFMA; cap++) {
        work w = {.k = kernel->k};
        prepare(&w, log2_n, bits, cap);
        if (strcmp(w.limb->kernels.name, before) != 0) {
            before = w.limb->kernels.name;
            const double n = (double)w.n;
            const bool transform = kernel->rows == 0;
            const bench_case c = {.name = kernel->name,
                                  .backend = before,
                                  .log2_n = log2_n,
                                  .limbs = 1,
                                  .q_bits = bits,
                                  .note = kernel->note,
                                  .units = transform ? n / 2 * log2_n
                                                     : n * kernel->units,
                                  .unit = kernel->unit,
                                  .bytes = 8 * n * kernel->rows};
            const double ns = bench_measure(b, &c, kernel->run, &w);
            if (ns > 0 && transform) {
                bench_ratio(b, "  cycles per butterfly",
                            ns / c.units / bench_cycle_ns());
            }
            if (ns > 0 && portable_ns > 0) {
                bench_ratio(b, "  portable / this", portable_ns / ns);
            }
            portable_ns = cap == NTT_BACKEND_PORTABLE ? ns : portable_ns;
        }
        clear(&w);
    }
}

int main(int argc, char **argv)
{
    bench b = bench_begin(argc, argv, "ntt");
    static const int bits[] = {46, 50, 60};
    for (int log2_n = 12; log2_n <= 16; log2_n++) {
        for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
            measure(&b, &transforms[0], log2_n, bits[i]);
            measure(&b, &transforms[1], log2_n, bits[i]);
        }
    }
    for (size_t i = 0; i < sizeof pointwise / sizeof pointwise[0]; i++) {
        measure(&b, &pointwise[i], 13, 46);
    }
    return bench_end(&b);
}
