/* SPDX-License-Identifier: MIT
 * Inverse negacyclic NTT for AVX2: butterflies on doubles, four columns at a
 * time. avx2_ntt_internal.h has the plan.
 */
#include "ntt/avx2_ntt_internal.h"

#if defined(__AVX2__) && defined(__FMA__)

#include "ntt/portable_internal.h"

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
AVX2_INLINE void inverse_four(__m256d x[4], const avx2_node *w, avx2_modulus m,
                              reduction r)
{
    avx2_add_sub(&x[0], &x[1]);
    avx2_add_sub(&x[2], &x[3]);
    avx2_turn_pair(&x[1], &x[3], w->left, w->right, m);
    avx2_add_sub(&x[0], &x[2]);
    avx2_add_sub(&x[1], &x[3]);
    avx2_turn_pair(&x[2], &x[3], w->top, w->top, m);
    x[0] = r >= REDUCE_ONE ? avx2_reduce(x[0], m) : x[0];
    x[1] = r >= REDUCE_TWO ? avx2_reduce(x[1], m) : x[1];
}

/* The bound after inverse_four. A reduced value has bound 1/2 + 1/(2q), which
 * is below 2·turned; with REDUCE_TWO, needed for limit < 64 only, q > 2^45. */
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

/* Two layers upwards of columns begin .. end-1 of a block of four rows. */
AVX2_INLINE void inverse_columns(double *block, size_t row, size_t begin,
                                 size_t end, const avx2_node *w, avx2_modulus m,
                                 reduction r)
{
    for (size_t j = begin; j < end; j += 4) {
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = _mm256_load_pd(block + k * row + j);
        }
        inverse_four(x, w, m, r);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_pd(block + k * row + j, x[k]);
        }
    }
}

AVX2_INLINE void inverse_pass_of(double *a, size_t node, size_t count,
                                 size_t row, const avx2_pass *p, reduction r)
{
    for (size_t i = 0; i < count; i++) {
        const avx2_node w = avx2_node_at(p, node + i);
        inverse_columns(a + 4 * row * i, row, 0, row, &w, p->m, r);
    }
}

/* Two layers of the blocks of nodes node .. node+count-1; returns the new
 * bound. */
static double inverse_pass(double *a, size_t node, size_t count, size_t row,
                           const avx2_pass *p, double bound)
{
    const reduction r = inverse_reduction(bound, p->limit);
    switch (r) {
    case REDUCE_NONE:
        inverse_pass_of(a, node, count, row, p, REDUCE_NONE);
        break;
    case REDUCE_ONE:
        inverse_pass_of(a, node, count, row, p, REDUCE_ONE);
        break;
    default:
        inverse_pass_of(a, node, count, row, p, REDUCE_TWO);
        break;
    }
    return inverse_bound(bound, p->limit, r);
}

/* The lowest four layers of the blocks of nodes node .. node+count-1, 16
 * values each, from residues to doubles. */
AVX2_INLINE void inverse_first_of(uint64_t *a, size_t node, size_t count,
                                  const avx2_pass *p, reduction inner,
                                  reduction outer)
{
    const avx2_modulus m = p->m;
    for (size_t i = 0; i < count; i++) {
        const avx2_node w = avx2_lanes_at(p, 4 * (node + i));
        uint64_t *block = a + AVX2_SQUARE * i;
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = avx2_load(block + 4 * k);
        }
        avx2_transpose(x);
        inverse_four(x, &w, m, inner);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_pd(avx2_doubles(block) + 4 * k, x[k]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const avx2_node w = avx2_node_at(p, node + i);
        double *block = avx2_doubles(a) + AVX2_SQUARE * i;
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = _mm256_load_pd(block + 4 * k);
        }
        avx2_transpose(x);
        inverse_four(x, &w, m, outer);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_pd(block + 4 * k, x[k]);
        }
    }
}

/* The same, choosing the variant; returns the new bound. With limit >= 16 the
 * first two layers need no reduction (bound 1 -> 4), and after the other two
 * one is enough: bound max(2·turned(8), turned(16)) <= 1.5. */
static double inverse_first(uint64_t *a, size_t node, size_t count,
                            const avx2_pass *p)
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
static double inverse_node(uint64_t *a, size_t node, size_t len,
                           const avx2_pass *p)
{
    double bound = 1;
    if (len > AVX2_BLOCK) {
        for (size_t i = 0; i < 4; i++) {
            bound = inverse_node(a + i * (len / 4), 4 * node + i, len / 4, p);
        }
        return inverse_pass(avx2_doubles(a), node, 1, len / 4, p, bound);
    }
    size_t count = len / AVX2_SQUARE;
    bound = inverse_first(a, node * count, count, p);
    for (size_t size = 4 * AVX2_SQUARE; size <= len; size *= 4) {
        count /= 4;
        bound = inverse_pass(avx2_doubles(a), node * count, count, size / 4, p,
                             bound);
    }
    return bound;
}

/* Layers 1 and 0, times scale, to residues: both factors of the topmost layer
 * carry it.   range: 4·bound <= limit -> [0,q) */
static void inverse_last_four(uint64_t *a, const avx2_pass *p, double scale,
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
            x[k] = _mm256_load_pd(avx2_doubles(a) + k * quarter + j);
        }
        avx2_add_sub(&x[0], &x[1]);
        avx2_add_sub(&x[2], &x[3]);
        avx2_turn_pair(&x[1], &x[3], left, right, m);
        avx2_add_sub(&x[0], &x[2]);
        avx2_add_sub(&x[1], &x[3]);
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
AVX2_INLINE void inverse_last_eight_of(uint64_t *a, const avx2_pass *p,
                                       double scale, double top, reduction r)
{
    const avx2_node low = avx2_node_at(p, 2);
    const avx2_node high = avx2_node_at(p, 3);
    const avx2_factor by_scale = avx2_factor_set(scale, p->m);
    const avx2_factor by_top = avx2_factor_set(top, p->m);
    const avx2_modulus m = p->m;
    double *d = avx2_doubles(a);
    const size_t row = p->n / 8;
    const size_t strip = row < AVX2_STRIP ? row : AVX2_STRIP;
    for (size_t begin = 0; begin < row; begin += strip) {
        const size_t end = begin + strip;
        inverse_columns(d, row, begin, end, &low, m, r);
        inverse_columns(d + 4 * row, row, begin, end, &high, m, r);
        for (size_t k = 0; k < 4; k++) {
            uint64_t *x = a + k * row;
            uint64_t *y = x + 4 * row;
            for (size_t j = begin; j < end; j += 4) {
                __m256d u = _mm256_load_pd(avx2_doubles(x) + j);
                __m256d v = _mm256_load_pd(avx2_doubles(y) + j);
                avx2_add_sub(&u, &v);
                avx2_turn_pair(&u, &v, by_scale, by_top, m);
                avx2_store(x + j, u, m);
                avx2_store(y + j, v, m);
            }
        }
    }
}

static void inverse_last_eight(uint64_t *a, const avx2_pass *p, double scale,
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
    if (table->ring.n < AVX2_MIN_N) {
        ntt_inverse_portable(a, table, scale);
        return;
    }
    const zq_modulus *mod = &table->mod;
    const avx2_pass p = avx2_pass_of(table, table->ring.n);
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
