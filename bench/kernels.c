/* SPDX-License-Identifier: MIT
 * Kernels on one limb, on every backend that the machine has, side by side:
 * time per butterfly or product, bytes moved, ratio to portable, part of the
 * machine's limit.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench/parts.h"
#include "ntt/prime.h"
#include "ntt/rns.h"

#define SOURCES 6 /* most digits or source moduli */
#define ROWS (3 * SOURCES + 2)
#define OUT (3 * SOURCES) /* rows that are written */

/* A limb with rows of residues and the kernels of one backend. */
typedef struct work {
    rns_ring *ring;
    const ntt_kernels *kernels;
    const ntt_table *table;
    const zq_modulus *mod;
    size_t n;
    size_t k; /* digits or source moduli */
    uint64_t *row[ROWS];
    uint32_t *map;
    sotto_seed seed;
} work;

static void run_forward(void *arg)
{
    const work *w = arg;
    w->kernels->forward(w->row[0], w->table);
}

static void run_inverse(void *arg)
{
    const work *w = arg;
    w->kernels->inverse(w->row[0], w->table, 1);
}

static void run_add(void *arg)
{
    const work *w = arg;
    w->kernels->add(w->row[OUT], w->row[0], w->row[1], w->n, w->mod);
}

static void run_sub(void *arg)
{
    const work *w = arg;
    w->kernels->sub(w->row[OUT], w->row[0], w->row[1], w->n, w->mod);
}

static void run_negate(void *arg)
{
    const work *w = arg;
    w->kernels->negate(w->row[OUT], w->row[0], w->n, w->mod);
}

static void run_mul(void *arg)
{
    const work *w = arg;
    w->kernels->mul(w->row[OUT], w->row[0], w->row[1], w->n, w->mod);
}

static void run_mul_add(void *arg)
{
    const work *w = arg;
    w->kernels->mul_add(w->row[OUT], w->row[0], w->row[1], w->n, w->mod);
}

static void run_mul_scalar(void *arg)
{
    const work *w = arg;
    w->kernels->mul_scalar(w->row[OUT], w->row[0], w->mod->q / 3, w->n, w->mod);
}

static void run_mul_scalar_add(void *arg)
{
    const work *w = arg;
    w->kernels->mul_scalar_add(w->row[OUT], w->row[0], w->mod->q / 3, w->n,
                               w->mod);
}

static void run_add_scalar(void *arg)
{
    const work *w = arg;
    w->kernels->add_scalar(w->row[OUT], w->row[0], w->mod->q / 3, w->n, w->mod);
}

static void run_sub_mul_scalar(void *arg)
{
    const work *w = arg;
    w->kernels->sub_mul_scalar(w->row[OUT], w->row[0], w->row[1], w->mod->q / 3,
                               w->n, w->mod);
}

static void run_inner_product(void *arg)
{
    const work *w = arg;
    const uint64_t *const *rows = (const uint64_t *const *)w->row;
    w->kernels->inner_product(w->row[OUT], w->row[OUT + 1], rows,
                              rows + SOURCES, rows + 2 * SOURCES, w->k, w->n,
                              w->mod);
}

/* As a key switch converts: from residues that the inverse transform raised. */
static void run_convert(void *arg)
{
    const work *w = arg;
    const uint64_t q = w->mod->q;
    uint64_t from[SOURCES], factor[SOURCES];
    for (size_t i = 0; i < SOURCES; i++) {
        from[i] = q - 2 * (i + 1);
        factor[i] = q / (i + 2);
    }
    const ntt_convert constants = {.k = w->k,
                                   .from = from,
                                   .factor = factor,
                                   .is_raised = true,
                                   .raised = 7};
    w->kernels->convert(w->row[OUT], (const uint64_t *const *)w->row,
                        &constants, w->n, w->mod);
}

static void run_permute(void *arg)
{
    const work *w = arg;
    w->kernels->permute(w->row[OUT], w->row[0], w->map, w->n);
}

static void run_stream(void *arg)
{
    const work *w = arg;
    w->kernels->stream_blocks((uint8_t *)w->row[OUT], &w->seed, 0,
                              8 * w->n / SOTTO_CHACHA_BLOCK_BYTES);
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
    w->kernels = &w->ring->limb[0].kernels;
    w->table = w->ring->limb[0].table;
    w->mod = &w->table->mod;
    w->n = shape.n;
    w->map = sotto_calloc(w->n, sizeof *w->map);
    uint64_t *rows = sotto_calloc(ROWS * w->ring->stride, sizeof *rows);
    if (w->map == NULL || rows == NULL) {
        abort();
    }
    sotto_seed_from_text(&w->seed, "bench");
    ntt_ring_automorphism(&shape, w->map, ntt_ring_rotation(&shape, 1));
    for (size_t i = 0; i < ROWS; i++) {
        w->row[i] = rows + i * w->ring->stride;
        for (size_t j = 0; j < w->n; j++) {
            w->row[i][j] = (i + 1) * (j + 1) * 0x9e3779b97f4a7c15u % (q - 12);
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
    double units;     /* per residue; 0: butterflies */
    const char *unit;
    double rows; /* limbs read or written, each once */
    /* Instructions of the multiplier per unit, at least: general registers
     * (portable), doubles (AVX2), 52-bit halves (IFMA). */
    double multiplications[3];
} kernel_case;

static const kernel_case transforms[] = {
    {"ntt_forward", run_forward, 0, NULL, 0, "butterfly", 1, {3, 4, 3}},
    {"ntt_inverse", run_inverse, 0, NULL, 0, "butterfly", 1, {3, 4, 3}},
};

static const kernel_case pointwise[] = {
    {"add", run_add, 0, NULL, 1, "residue", 3, {0}},
    {"sub", run_sub, 0, NULL, 1, "residue", 3, {0}},
    {"negate", run_negate, 0, NULL, 1, "residue", 2, {0}},
    {"multiply", run_mul, 0, NULL, 1, "residue", 3, {2, 4, 3}},
    {"multiply_add", run_mul_add, 0, NULL, 1, "residue", 3, {2, 4, 3}},
    {"scalar_multiply", run_mul_scalar, 0, NULL, 1, "residue", 2, {3, 4, 3}},
    {"scalar_multiply_add",
     run_mul_scalar_add,
     0,
     NULL,
     1,
     "residue",
     2,
     {3, 4, 3}},
    {"scalar_add", run_add_scalar, 0, NULL, 1, "residue", 2, {0}},
    {"sub_scalar_multiply",
     run_sub_mul_scalar,
     0,
     NULL,
     1,
     "residue",
     3,
     {3, 4, 3}},
    {"inner_product",
     run_inner_product,
     1,
     "1 digit",
     2,
     "product",
     5,
     {1, 2, 2}},
    {"inner_product",
     run_inner_product,
     3,
     "3 digits",
     6,
     "product",
     11,
     {1, 2, 2}},
    {"inner_product",
     run_inner_product,
     6,
     "6 digits",
     12,
     "product",
     20,
     {1, 2, 2}},
    {"base_conversion", run_convert, 1, "1 source", 1, "product", 2, {1, 2, 2}},
    {"base_conversion",
     run_convert,
     3,
     "3 sources",
     3,
     "product",
     4,
     {1, 2, 2}},
    {"base_conversion",
     run_convert,
     6,
     "6 sources",
     6,
     "product",
     7,
     {1, 2, 2}},
    {"permute", run_permute, 0, NULL, 1, "residue", 2.5, {0}},
    {"stream", run_stream, 0, "ChaCha20", 8, "byte", 1, {0}},
};

/* The larger of the time that multiplications take and that of memory. */
static void set_limit(bench_case *c, const kernel_case *kernel, ntt_backend is,
                      const machine_limits *m)
{
    const double rate[3] = {m->mul64, m->fma, m->ifma};
    static const char *const name[3] = {"mul64", "fma", "ifma"};
    c->least_ns = machine_memory_ns(m, c->bytes);
    c->limit = machine_level_name(machine_level(m, c->bytes));
    if (kernel->multiplications[is] > 0 && rate[is] > 0) {
        const double ns = c->units * kernel->multiplications[is] / rate[is];
        if (ns > c->least_ns) {
            c->least_ns = ns;
            c->limit = name[is];
        }
    }
}

/* One kernel on every backend that has one of its own for this modulus. */
static void measure(bench *b, const kernel_case *kernel, int log2_n, int bits)
{
    if (!bench_wants(b, kernel->name)) {
        return;
    }
    work w[NTT_BACKEND_IFMA + 1];
    bench_case c[NTT_BACKEND_IFMA + 1];
    size_t n_cases = 0;
    for (ntt_backend cap = 0; cap <= b->cap; cap++) {
        work *at = &w[n_cases];
        *at = (work){.k = kernel->k};
        prepare(at, log2_n, bits, cap);
        const char *backend = at->kernels->name;
        if (n_cases > 0 && strcmp(backend, c[n_cases - 1].backend) == 0) {
            clear(at);
            continue;
        }
        const double n = (double)at->n;
        c[n_cases] = (bench_case){
            .name = kernel->name,
            .backend = backend,
            .log2_n = log2_n,
            .limbs = 1,
            .q_bits = bits,
            .note = kernel->note,
            .units = kernel->units > 0 ? n * kernel->units : n / 2 * log2_n,
            .unit = kernel->unit,
            .bytes = 8 * n * kernel->rows,
            .against = {{0, n_cases > 0 ? "portable" : NULL}},
            .run = kernel->run,
            .arg = at};
        set_limit(&c[n_cases], kernel, cap, &b->limits);
        n_cases++;
    }
    bench_group(b, c, n_cases, NULL);
    for (size_t i = 0; i < n_cases; i++) {
        clear(&w[i]);
    }
}

void bench_kernels(bench *b)
{
    static const int bits[] = {46, 50, 60};
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
            for (int log2_n = 12; log2_n <= 16; log2_n++) {
                measure(b, &transforms[t], log2_n, bits[i]);
            }
        }
    }
    for (size_t i = 0; i < sizeof pointwise / sizeof pointwise[0]; i++) {
        measure(b, &pointwise[i], 13, 46);
    }
}
