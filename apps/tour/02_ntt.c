/* SPDX-License-Identifier: MIT
 * The number-theoretic transform: products of polynomials in N log N steps.
 *
 * Polynomials modulo X^8 + 1 with coefficients modulo 97. Shows what the
 * transform is (values at roots of X^8 + 1), that products become pointwise,
 * and what it saves.
 * Read along: ntt/ring.h (order of the values), ntt/ntt_portable.c.
 */
#include <stdio.h>
#include <string.h>

#include "apps/tour/tour.h"
#include "ntt/kernels.h"
#include "ntt/table.h"

#define N 8

/* X^8 = -1: what leaves on the left comes back on the right, negated. */
static void schoolbook(uint64_t *r, const uint64_t *a, const uint64_t *b,
                       const zq_modulus *m)
{
    memset(r, 0, N * sizeof *r);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            const uint64_t product = zq_mul(a[i], b[j], m);
            uint64_t *at = &r[(i + j) % N];
            *at = i + j < N ? zq_add(*at, product, m->q)
                            : zq_sub(*at, product, m->q);
        }
    }
}

/* a(x), by Horner. */
static uint64_t evaluate(const uint64_t *a, uint64_t x, const zq_modulus *m)
{
    uint64_t value = 0;
    for (size_t i = N; i-- > 0;) {
        value = zq_add(zq_mul(value, x, m), a[i], m->q);
    }
    return value;
}

static void show_values(const uint64_t *a, const ntt_table *table,
                        const ntt_kernels *kernels)
{
    tour_part("Transformed, a polynomial is its values at the 8 roots of X^8 = "
              "-1");
    _Alignas(64) uint64_t t[N];
    uint64_t point[N], value[N];
    memcpy(t, a, sizeof t);
    kernels->forward(t, table);
    for (size_t i = 0; i < N; i++) {
        point[i] =
            zq_pow(table->root, 2 * ntt_bit_reverse(i, 3) + 1, &table->mod);
        value[i] = evaluate(a, point[i], &table->mod);
    }
    tour_row("roots of X^8 = -1", point, N);
    tour_row("a there, by Horner", value, N);
    tour_row("a transformed", t, N);
    tour_check(memcmp(t, value, sizeof t) == 0, "the last two rows agree");
}

static void show_product(const uint64_t *a, const uint64_t *b,
                         const ntt_table *table, const ntt_kernels *kernels)
{
    tour_part("A product is 3 transforms and 8 multiplications instead of 64");
    _Alignas(64) uint64_t fa[N], fb[N], slow[N];
    schoolbook(slow, a, b, &table->mod);
    memcpy(fa, a, sizeof fa);
    memcpy(fb, b, sizeof fb);
    kernels->forward(fa, table);
    kernels->forward(fb, table);
    kernels->mul(fa, fa, fb, N, &table->mod);
    kernels->inverse(fa, table, 1);
    tour_row("a", a, N);
    tour_row("b", b, N);
    tour_row("a * b, schoolbook", slow, N);
    tour_row("a * b, transformed", fa, N);
    tour_check(memcmp(fa, slow, sizeof fa) == 0, "both ways agree");
    printf("  N = 8192: 67108864 multiplications against 3 * 53248 + 8192, "
           "%.0f times fewer\n",
           67108864.0 / (3 * 53248 + 8192));
}

/* X -> X^5 only moves the values: that is how encrypted vectors rotate. */
static void show_automorphism(const uint64_t *a, const ntt_table *table,
                              const ntt_kernels *kernels)
{
    tour_part("X -> X^5 permutes the values: a rotation costs no arithmetic");
    _Alignas(64) uint64_t t[N], moved[N], image[N] = {0};
    uint32_t map[N];
    for (size_t i = 0; i < N; i++) {
        const size_t to = 5 * i % (2 * N);
        image[to % N] = to < N ? a[i] : zq_neg(a[i], table->mod.q);
    }
    memcpy(t, a, sizeof t);
    kernels->forward(t, table);
    ntt_ring_automorphism(&table->ring, map, 5);
    kernels->permute(moved, t, map, N);
    tour_row("a(X^5)", image, N);
    kernels->forward(image, table);
    tour_row("a transformed", t, N);
    tour_row("a(X^5) transformed", image, N);
    tour_check(memcmp(moved, image, sizeof moved) == 0,
               "the last row is the one above it, permuted");
}

int main(void)
{
    _Alignas(64) const uint64_t a[N] = {1, 2, 3, 4, 0, 0, 0, 5};
    _Alignas(64) const uint64_t b[N] = {7, 0, 0, 0, 0, 0, 1, 2};
    const ntt_ring ring = ntt_ring_init(3);
    const ntt_kernels *kernels = ntt_kernels_portable();
    ntt_table *table;
    sotto_error err;
    tour_title(2, "The number-theoretic transform, X^8 + 1 modulo 97");
    tour_must(ntt_table_new(&table, &ring, 97, &err), &err);
    show_values(a, table, kernels);
    show_product(a, b, table, kernels);
    show_automorphism(a, table, kernels);
    ntt_table_free(table);
    return 0;
}
