/* SPDX-License-Identifier: MIT
 * Negacyclic NTT for AVX2: butterflies on doubles, four columns at a time.
 *
 * The tree of blocks is that of ntt_portable.c: node t has the halves 2t and
 * 2t+1 and twiddle factor t. A pass does two layers (a node and its halves).
 * The first pass turns residues into doubles, which stand in the same memory
 * until the last pass; that one does four layers of 16 values in registers,
 * the lower two across the transposed 4x4 square:
 *
 *     forward   8 or 4 -> 4 -> 4 -> ... -> 16 in registers
 *     inverse   16 in registers -> 4 -> 4 -> ... -> 8 or 4
 *
 * Large blocks are finished one after the other, depth first, so that all but
 * a few passes run in the first-level cache.
 *
 * Bounds ("bound b": |x| <= b·q) are public numbers, computed along the way;
 * they decide where a pass reduces. avx2_internal.h has the arithmetic.
 */
#include "ntt/avx2_internal.h"

#if defined(__AVX2__) && defined(__FMA__)

#include "ntt/portable_internal.h"

/* Values of a block that is finished by itself: 8 KiB, and as much again of
 * twiddle factors. */
#define BLOCK 1024

/* Values that the pass in registers handles at a time. */
#define SQUARE 16

/* Smallest degree that is done here. */
#define MIN_N 64

/* What all passes of one transform share. */
typedef struct pass {
    avx2_modulus m;
    const double *twiddle;
    double limit; /* 2^52 / q: largest bound of a factor */
    size_t n;
} pass;

/* Factors of one node and its halves. */
typedef struct node_factors {
    avx2_factor top;
    avx2_factor left;
    avx2_factor right;
} node_factors;

size_t ntt_twiddle_bytes_avx2(const ntt_table *table)
{
    return 2 * table->ring.n * sizeof(double);
}

/* Centred twiddle factors as doubles: forward[n], then inverse[n], by node as
 * in ntt_table; but of the last layer (nodes N/2 .. N-1) each eight stand as
 * the four even ones, then the four odd ones. */
static void fill_twiddles(double *out, const uint64_t *power,
                          const ntt_table *table)
{
    const size_t half = table->ring.n / 2;
    for (size_t i = 0; i < half; i++) {
        out[i] = avx2_centre(power[i], table->mod.q);
    }
    for (size_t i = half; i < 2 * half; i++) {
        const size_t at = (i & ~(size_t)7) + (i & 1) * 4 + (i >> 1 & 3);
        out[at] = avx2_centre(power[i], table->mod.q);
    }
}

void ntt_twiddle_init_avx2(void *twiddles, const ntt_table *table)
{
    double *out = twiddles;
    fill_twiddles(out, table->forward, table);
    fill_twiddles(out + table->ring.n, table->inverse, table);
}

static pass pass_of(const ntt_table *table, size_t offset)
{
    return (pass){.m = avx2_modulus_of(&table->mod),
                  .twiddle = (const double *)table->twiddles + offset,
                  .limit = 0x1p52 / (double)table->mod.q,
                  .n = table->ring.n};
}

AVX2_INLINE double *doubles(uint64_t *a)
{
    return (double *)(void *)a;
}

AVX2_INLINE node_factors node_of(const pass *p, size_t node)
{
    return (node_factors){avx2_factor_set(p->twiddle[node], p->m),
                          avx2_factor_set(p->twiddle[2 * node], p->m),
                          avx2_factor_set(p->twiddle[2 * node + 1], p->m)};
}

/* Factors of four neighbouring nodes of the last but one layer and their
 * halves, one per lane. */
AVX2_INLINE node_factors lanes_of(const pass *p, size_t node)
{
    const double *w = p->twiddle;
    return (node_factors){
        avx2_factor_of(_mm256_load_pd(w + node), p->m),
        avx2_factor_of(_mm256_load_pd(w + 2 * node), p->m),
        avx2_factor_of(_mm256_load_pd(w + 2 * node + 4), p->m)};
}

/* x, y = x + y, x - y */
AVX2_INLINE void add_sub(__m256d *x, __m256d *y)
{
    const __m256d u = *x;
    *x = _mm256_add_pd(u, *y);
    *y = _mm256_sub_pd(u, *y);
}

/* The 4x4 square of four vectors, transposed. */
AVX2_INLINE void transpose(__m256d x[4])
{
    const __m256d a = _mm256_unpacklo_pd(x[0], x[1]);
    const __m256d b = _mm256_unpackhi_pd(x[0], x[1]);
    const __m256d c = _mm256_unpacklo_pd(x[2], x[3]);
    const __m256d d = _mm256_unpackhi_pd(x[2], x[3]);
    x[0] = _mm256_permute2f128_pd(a, c, 0x20);
    x[1] = _mm256_permute2f128_pd(b, d, 0x20);
    x[2] = _mm256_permute2f128_pd(a, c, 0x31);
    x[3] = _mm256_permute2f128_pd(b, d, 0x31);
}

/* ---- Forward ------------------------------------------------------------- */

/* The bound that a layer makes of bound b: b + 1/2 + b/(2·limit). */
static double grow(double b, double limit)
{
    return b + 0.5 + b / (2 * limit);
}

/* The same for two layers with the value reduced that stays a summand
 * throughout; the other summand is a factor in the second layer. */
static double grow_reduced(double b, double limit)
{
    const double summand = 0.5 + 0x1p-40;
    return summand + (grow(b, limit) - b) +
           (grow(grow(b, limit), limit) - grow(b, limit));
}

/* Two layers on four values.
 * range: bound b, grow(b) <= limit -> grow(grow(b)), or grow_reduced(b) */
AVX2_INLINE void forward_four(__m256d x[4], const node_factors *w,
                              avx2_modulus m, int reduce)
{
    avx2_turn_pair(&x[2], &x[3], w->top, w->top, m);
    add_sub(&x[1], &x[3]);
    avx2_turn_pair(&x[1], &x[3], w->left, w->right, m);
    x[0] = reduce ? avx2_reduce(x[0], m) : x[0];
    add_sub(&x[0], &x[2]);
    add_sub(&x[0], &x[1]);
    add_sub(&x[2], &x[3]);
}

/* Two layers of the blocks of nodes node .. node+count-1, 4·quarter each. */
AVX2_INLINE void forward_pass_of(double *a, size_t node, size_t count,
                                 size_t quarter, const pass *p, int reduce)
{
    const avx2_modulus m = p->m;
    for (size_t i = 0; i < count; i++) {
        const node_factors w = node_of(p, node + i);
        double *block = a + 4 * quarter * i;
        for (size_t j = 0; j < quarter; j += 4) {
            __m256d x[4];
            for (size_t k = 0; k < 4; k++) {
                x[k] = _mm256_load_pd(block + k * quarter + j);
            }
            forward_four(x, &w, m, reduce);
            for (size_t k = 0; k < 4; k++) {
                _mm256_store_pd(block + k * quarter + j, x[k]);
            }
        }
    }
}

/* The same, choosing the variant such that another pass can follow; returns
 * the new bound. With limit > 4 grow_reduced gives at most 2.2 of 3, and
 * grow(2.2) < 3. */
static double forward_pass(double *a, size_t node, size_t count, size_t quarter,
                           const pass *p, double bound)
{
    const double next = grow(grow(bound, p->limit), p->limit);
    if (grow(next, p->limit) > p->limit) {
        forward_pass_of(a, node, count, quarter, p, 1);
        return grow_reduced(bound, p->limit);
    }
    forward_pass_of(a, node, count, quarter, p, 0);
    return next;
}

/* Layers 0 and 1, from residues to doubles.   range: [0,q) -> grow(grow(1)) */
static double forward_first_four(uint64_t *a, const pass *p)
{
    const node_factors w = node_of(p, 1);
    const avx2_modulus m = p->m;
    const size_t quarter = p->n / 4;
    for (size_t j = 0; j < quarter; j += 4) {
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = avx2_load(a + k * quarter + j);
        }
        forward_four(x, &w, m, 0);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_pd(doubles(a) + k * quarter + j, x[k]);
        }
    }
    return grow(grow(1, p->limit), p->limit);
}

/* Layers 0 to 2, from residues to doubles.
 * range: [0,q) -> grow(grow(grow(1))) < 3.2; grow(grow(1)) < 2.4 < limit */
static double forward_first_eight(uint64_t *a, const pass *p)
{
    const avx2_factor top = avx2_factor_set(p->twiddle[1], p->m);
    const node_factors low = node_of(p, 2);
    const node_factors high = node_of(p, 3);
    const avx2_modulus m = p->m;
    const size_t eighth = p->n / 8;
    for (size_t j = 0; j < eighth; j += 4) {
        __m256d x[8];
        for (size_t k = 0; k < 8; k++) {
            x[k] = avx2_load(a + k * eighth + j);
        }
        avx2_turn_pair(&x[4], &x[5], top, top, m);
        avx2_turn_pair(&x[6], &x[7], top, top, m);
        for (size_t k = 0; k < 4; k++) {
            add_sub(&x[k], &x[k + 4]);
        }
        forward_four(x, &low, m, 0);
        forward_four(x + 4, &high, m, 0);
        for (size_t k = 0; k < 8; k++) {
            _mm256_store_pd(doubles(a) + k * eighth + j, x[k]);
        }
    }
    return grow(grow(grow(1, p->limit), p->limit), p->limit);
}

/* The last four layers of the blocks of nodes node .. node+count-1, 16 values
 * each, and back to residues.
 * range: four times grow(b) <= limit, or with reduce any b that a pass may
 * leave: grow_reduced twice gives at most 2.2 -> [0,q) */
AVX2_INLINE void forward_last_of(double *a, size_t node, size_t count,
                                 const pass *p, int reduce)
{
    const avx2_modulus m = p->m;
    for (size_t i = 0; i < count; i++) {
        const node_factors upper = node_of(p, node + i);
        const node_factors lower = lanes_of(p, 4 * (node + i));
        double *block = a + SQUARE * i;
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = _mm256_load_pd(block + 4 * k);
        }
        forward_four(x, &upper, m, reduce);
        transpose(x);
        forward_four(x, &lower, m, reduce);
        for (size_t k = 0; k < 4; k++) {
            x[k] = avx2_correct(avx2_reduce(x[k], m), m);
        }
        transpose(x);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_si256((__m256i *)(void *)(block + 4 * k),
                               avx2_integer(x[k]));
        }
    }
}

static void forward_last(double *a, size_t node, size_t count, const pass *p,
                         double bound)
{
    for (int i = 0; i < 4; i++) {
        bound = grow(bound, p->limit);
    }
    if (bound > p->limit) {
        forward_last_of(a, node, count, p, 1);
    } else {
        forward_last_of(a, node, count, p, 0);
    }
}

/* All layers of one node's block. */
static void forward_node(double *a, size_t node, size_t len, const pass *p,
                         double bound)
{
    if (len > BLOCK) {
        bound = forward_pass(a, node, 1, len / 4, p, bound);
        for (size_t i = 0; i < 4; i++) {
            forward_node(a + i * (len / 4), 4 * node + i, len / 4, p, bound);
        }
        return;
    }
    size_t count = 1;
    for (; len > SQUARE; len /= 4) {
        bound = forward_pass(a, node, count, len / 4, p, bound);
        node *= 4;
        count *= 4;
    }
    forward_last(a, node, count, p, bound);
}

void ntt_forward_avx2(uint64_t *a, const ntt_table *table)
{
    if (table->ring.n < MIN_N) {
        ntt_forward_portable(a, table);
        return;
    }
    const pass p = pass_of(table, 0);
    const size_t nodes = table->ring.log2_n % 2 != 0 ? 8 : 4;
    const double bound =
        nodes == 8 ? forward_first_eight(a, &p) : forward_first_four(a, &p);
    const size_t len = p.n / nodes;
    for (size_t i = 0; i < nodes; i++) {
        forward_node(doubles(a) + i * len, nodes + i, len, &p, bound);
    }
}

/* ---- Inverse ------------------------------------------------------------- */

/* How much of a pass' first two outputs, which are sums, is reduced. */
typedef enum reduction { REDUCE_NONE, REDUCE_ONE, REDUCE_TWO } reduction;

/* The bound of a product with a twiddle factor. */
static double turned(double b, double limit)
{
    return 0.5 + b / (2 * limit);
}

/* Two layers upwards on four values.
 * range: bound b, 4b <= limit -> outputs of bound 4b, 2·turned(2b) and twice
 * turned(4b), where reduction makes the first, or the first two, 1/2 */
AVX2_INLINE void inverse_four(__m256d x[4], const node_factors *w,
                              avx2_modulus m, reduction r)
{
    add_sub(&x[0], &x[1]);
    add_sub(&x[2], &x[3]);
    avx2_turn_pair(&x[1], &x[3], w->left, w->right, m);
    add_sub(&x[0], &x[2]);
    add_sub(&x[1], &x[3]);
    avx2_turn_pair(&x[2], &x[3], w->top, w->top, m);
    x[0] = r >= REDUCE_ONE ? avx2_reduce(x[0], m) : x[0];
    x[1] = r >= REDUCE_TWO ? avx2_reduce(x[1], m) : x[1];
}

/* The bound after inverse_four. A reduced value has bound 1/2 + 1/(2q), and q
 * is large where anything is reduced: below the 1 of the last term. */
static double inverse_bound(double b, double limit, reduction r)
{
    const double sums = r >= REDUCE_ONE ? 0.5 + 0x1p-40 : 4 * b;
    const double products =
        r >= REDUCE_TWO ? 0.5 + 0x1p-40 : 2 * turned(2 * b, limit);
    const double rest = turned(4 * b, limit);
    const double larger = sums > products ? sums : products;
    return larger > rest ? larger : rest;
}

/* The least reduction after which another pass can follow. REDUCE_TWO always
 * does: its bound is at most 1, and limit > 4. */
static reduction inverse_reduction(double b, double limit)
{
    reduction r = REDUCE_NONE;
    while (r < REDUCE_TWO && 4 * inverse_bound(b, limit, r) > limit) {
        r++;
    }
    return r;
}

AVX2_INLINE void inverse_pass_of(double *a, size_t node, size_t count,
                                 size_t quarter, const pass *p, reduction r)
{
    const avx2_modulus m = p->m;
    for (size_t i = 0; i < count; i++) {
        const node_factors w = node_of(p, node + i);
        double *block = a + 4 * quarter * i;
        for (size_t j = 0; j < quarter; j += 4) {
            __m256d x[4];
            for (size_t k = 0; k < 4; k++) {
                x[k] = _mm256_load_pd(block + k * quarter + j);
            }
            inverse_four(x, &w, m, r);
            for (size_t k = 0; k < 4; k++) {
                _mm256_store_pd(block + k * quarter + j, x[k]);
            }
        }
    }
}

/* Two layers of the blocks of nodes node .. node+count-1; returns the new
 * bound. */
static double inverse_pass(double *a, size_t node, size_t count, size_t quarter,
                           const pass *p, double bound)
{
    const reduction r = inverse_reduction(bound, p->limit);
    switch (r) {
    case REDUCE_NONE:
        inverse_pass_of(a, node, count, quarter, p, REDUCE_NONE);
        break;
    case REDUCE_ONE:
        inverse_pass_of(a, node, count, quarter, p, REDUCE_ONE);
        break;
    default:
        inverse_pass_of(a, node, count, quarter, p, REDUCE_TWO);
        break;
    }
    return inverse_bound(bound, p->limit, r);
}

/* The lowest four layers of the blocks of nodes node .. node+count-1, 16
 * values each, from residues to doubles. */
AVX2_INLINE void inverse_first_of(uint64_t *a, size_t node, size_t count,
                                  const pass *p, reduction inner,
                                  reduction outer)
{
    const avx2_modulus m = p->m;
    for (size_t i = 0; i < count; i++) {
        const node_factors lower = lanes_of(p, 4 * (node + i));
        const node_factors upper = node_of(p, node + i);
        uint64_t *block = a + SQUARE * i;
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = avx2_load(block + 4 * k);
        }
        transpose(x);
        inverse_four(x, &lower, m, inner);
        transpose(x);
        inverse_four(x, &upper, m, outer);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_pd(doubles(block) + 4 * k, x[k]);
        }
    }
}

/* The same, choosing the variant; returns the new bound. With limit >= 16 the
 * first two layers need no reduction (bound 1 -> 4), and after the other two
 * one is enough: bound max(2·turned(8), turned(16)) <= 1.5. */
static double inverse_first(uint64_t *a, size_t node, size_t count,
                            const pass *p)
{
    if (p->limit >= 16) {
        inverse_first_of(a, node, count, p, REDUCE_NONE, REDUCE_ONE);
        return inverse_bound(4, p->limit, REDUCE_ONE);
    }
    inverse_first_of(a, node, count, p, REDUCE_TWO, REDUCE_TWO);
    return inverse_bound(inverse_bound(1, p->limit, REDUCE_TWO), p->limit,
                         REDUCE_TWO);
}

/* All layers below and of one node's block, from residues; returns the bound.
 */
static double inverse_node(uint64_t *a, size_t node, size_t len, const pass *p)
{
    double bound = 1;
    if (len > BLOCK) {
        for (size_t i = 0; i < 4; i++) {
            bound = inverse_node(a + i * (len / 4), 4 * node + i, len / 4, p);
        }
        return inverse_pass(doubles(a), node, 1, len / 4, p, bound);
    }
    size_t count = len / SQUARE;
    bound = inverse_first(a, node * count, count, p);
    for (size_t size = 4 * SQUARE; size <= len; size *= 4) {
        count /= 4;
        bound =
            inverse_pass(doubles(a), node * count, count, size / 4, p, bound);
    }
    return bound;
}

/* Layers 1 and 0, times scale, to residues: both factors of the topmost layer
 * carry it.   range: 4·bound <= limit -> [0,q) */
static void inverse_last_four(uint64_t *a, const pass *p, double scale,
                              double top)
{
    const avx2_factor left = avx2_factor_set(p->twiddle[2], p->m);
    const avx2_factor right = avx2_factor_set(p->twiddle[3], p->m);
    const avx2_factor by_scale = avx2_factor_set(scale, p->m);
    const avx2_factor by_top = avx2_factor_set(top, p->m);
    const avx2_modulus m = p->m;
    const size_t quarter = p->n / 4;
    for (size_t j = 0; j < quarter; j += 4) {
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = _mm256_load_pd(doubles(a) + k * quarter + j);
        }
        add_sub(&x[0], &x[1]);
        add_sub(&x[2], &x[3]);
        avx2_turn_pair(&x[1], &x[3], left, right, m);
        add_sub(&x[0], &x[2]);
        add_sub(&x[1], &x[3]);
        avx2_turn_pair(&x[0], &x[1], by_scale, by_scale, m);
        avx2_turn_pair(&x[2], &x[3], by_top, by_top, m);
        for (size_t k = 0; k < 4; k++) {
            avx2_store(a + k * quarter + j, x[k], m);
        }
    }
}

/* Layers 2 to 0, the same.
 * range: 4·bound <= limit -> [0,q). Sums of two layers are reduced to 1/2
 * where 8·bound would pass the limit; sums of two products are at most 2, and
 * their sums at most 4. */
AVX2_INLINE void inverse_last_eight_of(uint64_t *a, const pass *p, double scale,
                                       double top, reduction r)
{
    const node_factors low = node_of(p, 2);
    const node_factors high = node_of(p, 3);
    const avx2_factor by_scale = avx2_factor_set(scale, p->m);
    const avx2_factor by_top = avx2_factor_set(top, p->m);
    const avx2_modulus m = p->m;
    const size_t eighth = p->n / 8;
    for (size_t j = 0; j < eighth; j += 4) {
        __m256d x[8];
        for (size_t k = 0; k < 8; k++) {
            x[k] = _mm256_load_pd(doubles(a) + k * eighth + j);
        }
        inverse_four(x, &low, m, r);
        inverse_four(x + 4, &high, m, r);
        for (size_t k = 0; k < 4; k++) {
            add_sub(&x[k], &x[k + 4]);
            avx2_turn_pair(&x[k], &x[k + 4], by_scale, by_top, m);
        }
        for (size_t k = 0; k < 8; k++) {
            avx2_store(a + k * eighth + j, x[k], m);
        }
    }
}

static void inverse_last_eight(uint64_t *a, const pass *p, double scale,
                               double top, double bound)
{
    if (8 * bound > p->limit) {
        inverse_last_eight_of(a, p, scale, top, REDUCE_ONE);
    } else {
        inverse_last_eight_of(a, p, scale, top, REDUCE_NONE);
    }
}

void ntt_inverse_avx2(uint64_t *a, const ntt_table *table, uint64_t scale)
{
    if (table->ring.n < MIN_N) {
        ntt_inverse_portable(a, table, scale);
        return;
    }
    const zq_modulus *mod = &table->mod;
    const pass p = pass_of(table, table->ring.n);
    const uint64_t factor = zq_mul(scale, table->n_inverse, mod);
    const double by_scale = avx2_centre(factor, mod->q);
    const double by_top =
        avx2_centre(zq_mul(factor, table->inverse[1], mod), mod->q);
    const size_t nodes = table->ring.log2_n % 2 != 0 ? 8 : 4;
    const size_t len = p.n / nodes;
    double bound = 1;
    for (size_t i = 0; i < nodes; i++) {
        bound = inverse_node(a + i * len, nodes + i, len, &p);
    }
    if (nodes == 8) {
        inverse_last_eight(a, &p, by_scale, by_top, bound);
    } else {
        inverse_last_four(a, &p, by_scale, by_top);
    }
}

#endif
