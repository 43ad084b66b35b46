/* SPDX-License-Identifier: MIT
 * A slow CKKS by the definitions.
 */
#include "tests/ref/ckks_ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

uint64_t ckks_ref_add_mod(uint64_t a, uint64_t b, uint64_t q)
{
    return (uint64_t)(((wide)a + b) % q);
}

uint64_t ckks_ref_sub_mod(uint64_t a, uint64_t b, uint64_t q)
{
    return (uint64_t)(((wide)a + q - b) % q);
}

ckks_ref_ring ckks_ref_ring_make(size_t n, const uint64_t *q, int n_moduli)
{
    ckks_ref_ring ring = {.n = n, .n_moduli = n_moduli};
    for (int i = 0; i < n_moduli; i++) {
        ring.q[i] = q[i];
        uint64_t root = 0;
        for (uint64_t x = 2; root == 0; x++) { /* any of order 2n */
            const uint64_t y = ref_pow_mod(x, (q[i] - 1) / (2 * n), q[i]);
            root = ref_pow_mod(y, n, q[i]) == q[i] - 1 ? y : 0;
        }
        const uint64_t square = ref_mul_mod(root, root, q[i]);
        ring.root[i] = root; /* the others are its odd powers */
        for (size_t k = 0; k < n; k++) {
            root = ref_mul_mod(root, square, q[i]);
            ring.root[i] = root < ring.root[i] ? root : ring.root[i];
        }
    }
    return ring;
}

/* 2·brv(i) + 1, the reversal being of log2 n bits. */
static size_t exponent_at(size_t n, size_t i)
{
    size_t reversed = 0;
    for (size_t bit = 1; bit < n; bit *= 2) {
        reversed = 2 * reversed + (i & bit ? 1 : 0);
    }
    return 2 * reversed + 1;
}

/* All powers of the root: [2n]. */
static uint64_t *powers_of(const ckks_ref_ring *ring, int id)
{
    uint64_t *power = malloc(2 * ring->n * sizeof *power);
    power[0] = 1;
    for (size_t k = 1; k < 2 * ring->n; k++) {
        power[k] = ref_mul_mod(power[k - 1], ring->root[id], ring->q[id]);
    }
    return power;
}

void ckks_ref_to_values(const ckks_ref_ring *ring, int id, uint64_t *values,
                        const uint64_t *a)
{
    const size_t n = ring->n;
    uint64_t *power = powers_of(ring, id);
    for (size_t i = 0; i < n; i++) {
        const size_t e = exponent_at(n, i);
        wide sum = 0; /* n·q² < 2^128 for n = 2^10 and q < 2^59 */
        for (size_t k = 0; k < n; k++) {
            sum += (wide)a[k] * power[e * k % (2 * n)];
        }
        values[i] = (uint64_t)(sum % ring->q[id]);
    }
    free(power);
}

void ckks_ref_from_values(const ckks_ref_ring *ring, int id, uint64_t *a,
                          const uint64_t *values)
{
    const size_t n = ring->n;
    const uint64_t q = ring->q[id];
    uint64_t *power = powers_of(ring, id);
    for (size_t k = 0; k < n; k++) {
        wide sum = 0;
        for (size_t i = 0; i < n; i++) {
            const size_t e = exponent_at(n, i) * k % (2 * n);
            sum += (wide)values[i] * power[(2 * n - e) % (2 * n)];
        }
        a[k] = ref_mul_mod((uint64_t)(sum % q), ref_inv_mod(n, q), q);
    }
    free(power);
}

void ckks_ref_mul_add(const ckks_ref_ring *ring, int id, uint64_t *r,
                      const uint64_t *a, const uint64_t *b)
{
    const size_t n = ring->n;
    const uint64_t q = ring->q[id];
    for (size_t k = 0; k < n; k++) {
        wide plus = r[k];
        wide minus = 0;
        for (size_t i = 0; i <= k; i++) {
            plus += (wide)a[i] * b[k - i];
        }
        for (size_t i = k + 1; i < n; i++) {
            minus += (wide)a[i] * b[n + k - i];
        }
        r[k] = ckks_ref_sub_mod((uint64_t)(plus % q), (uint64_t)(minus % q), q);
    }
}

void ckks_ref_mul_small(const ckks_ref_ring *ring, int id, uint64_t *r,
                        const uint64_t *a, const int8_t *small)
{
    uint64_t *lifted = malloc(ring->n * sizeof *lifted);
    for (size_t k = 0; k < ring->n; k++) {
        lifted[k] = small[k] < 0 ? ring->q[id] - (uint64_t)-small[k]
                                 : (uint64_t)small[k];
        r[k] = 0;
    }
    ckks_ref_mul_add(ring, id, r, a, lifted);
    free(lifted);
}

/* The product of a set's moduli except position skip (-1: all), mod q. */
static uint64_t product_mod(const ckks_ref_ring *ring, const ckks_ref_set *set,
                            int skip, uint64_t q)
{
    uint64_t r = 1 % q;
    for (int i = 0; i < set->count; i++) {
        if (i != skip) {
            r = ref_mul_mod(r, ring->q[set->id[i]] % q, q);
        }
    }
    return r;
}

void ckks_ref_convert(const ckks_ref_ring *ring, const ckks_ref_set *to,
                      uint64_t *out, const ckks_ref_set *from,
                      const uint64_t *a)
{
    memset(out, 0, (size_t)to->count * ring->n * sizeof *out);
    for (int i = 0; i < from->count; i++) {
        const uint64_t f = ring->q[from->id[i]];
        const uint64_t scale = ref_inv_mod(product_mod(ring, from, i, f), f);
        for (int t = 0; t < to->count; t++) {
            const uint64_t q = ring->q[to->id[t]];
            const uint64_t factor = product_mod(ring, from, i, q);
            uint64_t *const limb = out + (size_t)t * ring->n;
            for (size_t k = 0; k < ring->n; k++) {
                const uint64_t y =
                    ref_mul_mod(a[(size_t)i * ring->n + k], scale, f);
                uint64_t term; /* centre(y)·factor */
                if (y <= (f - 1) / 2) {
                    term = ref_mul_mod(y % q, factor, q);
                } else {
                    term = ckks_ref_sub_mod(
                        0, ref_mul_mod((f - y) % q, factor, q), q);
                }
                limb[k] = ckks_ref_add_mod(limb[k], term, q);
            }
        }
    }
}

static int position_in(const ckks_ref_set *set, int id)
{
    for (int i = 0; i < set->count; i++) {
        if (set->id[i] == id) {
            return i;
        }
    }
    return -1;
}

void ckks_ref_divide(const ckks_ref_ring *ring, const ckks_ref_set *keep,
                     uint64_t *out, const ckks_ref_set *from, const uint64_t *a)
{
    const size_t n = ring->n;
    ckks_ref_set by = {0};
    uint64_t *rest = malloc((size_t)from->count * n * sizeof *rest);
    uint64_t *lifted = malloc((size_t)keep->count * n * sizeof *lifted);
    for (int i = 0; i < from->count; i++) {
        if (position_in(keep, from->id[i]) < 0) {
            memcpy(rest + (size_t)by.count * n, a + (size_t)i * n,
                   n * sizeof *rest);
            by.id[by.count++] = from->id[i];
        }
    }
    ckks_ref_convert(ring, keep, lifted, &by, rest);
    for (int t = 0; t < keep->count; t++) {
        const uint64_t q = ring->q[keep->id[t]];
        const uint64_t factor = ref_inv_mod(product_mod(ring, &by, -1, q), q);
        const uint64_t *const x =
            a + (size_t)position_in(from, keep->id[t]) * n;
        for (size_t k = 0; k < n; k++) {
            const size_t at = (size_t)t * n + k;
            out[at] =
                ref_mul_mod(ckks_ref_sub_mod(x[k], lifted[at], q), factor, q);
        }
    }
    free(rest);
    free(lifted);
}

void ckks_ref_lift(const ckks_ref_ring *ring, const ckks_ref_set *set,
                   long double *out, const uint64_t *a)
{
    uint64_t q[CKKS_REF_MAX_LIMBS];
    uint64_t x[CKKS_REF_MAX_LIMBS];
    for (size_t k = 0; k < ring->n; k++) {
        for (int i = 0; i < set->count; i++) {
            q[i] = ring->q[set->id[i]];
            x[i] = a[(size_t)i * ring->n + k];
        }
        ref_big value;
        ref_crt(&value, x, q, (size_t)set->count);
        out[k] = ref_big_to_double(&value);
    }
}

/* cos(2π·e/order) for all e. */
static long double *cosines(size_t order)
{
    const long double pi = 3.14159265358979323846264338327950288L;
    long double *table = malloc(order * sizeof *table);
    for (size_t e = 0; e < order; e++) {
        table[e] = cosl(2 * pi * (long double)e / (long double)order);
    }
    return table;
}

void ckks_ref_embed(size_t n, long double *re, long double *im,
                    const long double *coefficient)
{
    const size_t order = 2 * n;
    long double *cosine = cosines(order);
    size_t e = 1;
    for (size_t j = 0; j < n / 2; j++) {
        re[j] = 0;
        im[j] = 0;
        for (size_t k = 0; k < n; k++) {
            const size_t at = e * k % order;
            re[j] += coefficient[k] * cosine[at];
            im[j] += coefficient[k] * cosine[(at + 3 * order / 4) % order];
        }
        e = e * 5 % order;
    }
    free(cosine);
}

void ckks_ref_unembed(size_t n, long double *coefficient, const long double *re,
                      const long double *im)
{
    const size_t order = 2 * n;
    long double *cosine = cosines(order);
    for (size_t k = 0; k < n; k++) {
        size_t e = 1;
        coefficient[k] = 0;
        for (size_t j = 0; j < n / 2; j++) {
            const size_t at = e * k % order;
            coefficient[k] += re[j] * cosine[at] +
                              im[j] * cosine[(at + 3 * order / 4) % order];
            e = e * 5 % order;
        }
        coefficient[k] *= 2 / (long double)n;
    }
    free(cosine);
}
