/* SPDX-License-Identifier: MIT
 * Twiddle factors and forward negacyclic NTT for AVX2: butterflies on doubles,
 * four columns at a time. avx2_ntt_internal.h has the plan.
 */
#include "ntt/avx2_ntt_internal.h"

#if defined(__AVX2__) && defined(__FMA__)

#include "ntt/portable_internal.h"

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

/* The bound that a layer makes of bound b: b + 1/2 + b/(2·limit). */
static double grow(double b, double limit)
{
    return b + 0.5 + b / (2 * limit);
}

/* The same for two layers where the value is reduced that stays a summand in
 * both; the other summand of the first is a factor in the second.
 * range: grow(b) <= limit -> at most 1/2 + 1 + 1 = 2.5, so that another pass
 * can follow: grow(2.5) < 3.4 < limit */
static double grow_reduced(double b, double limit)
{
    const double summand = 0.5 + 0x1p-40;
    return summand + (grow(b, limit) - b) +
           (grow(grow(b, limit), limit) - grow(b, limit));
}

/* Two layers on four values.
 * range: bound b, grow(b) <= limit -> grow(grow(b)), or grow_reduced(b) */
AVX2_INLINE void forward_four(__m256d x[4], const avx2_node *w, avx2_modulus m,
                              int reduce)
{
    avx2_turn_pair(&x[2], &x[3], w->top, w->top, m);
    avx2_add_sub(&x[1], &x[3]);
    avx2_turn_pair(&x[1], &x[3], w->left, w->right, m);
    x[0] = reduce ? avx2_reduce(x[0], m) : x[0];
    avx2_add_sub(&x[0], &x[2]);
    avx2_add_sub(&x[0], &x[1]);
    avx2_add_sub(&x[2], &x[3]);
}

/* Two layers of columns begin .. end-1 of a block of four rows. */
AVX2_INLINE void forward_columns(double *block, size_t row, size_t begin,
                                 size_t end, const avx2_node *w, avx2_modulus m,
                                 int reduce)
{
    for (size_t j = begin; j < end; j += 4) {
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = _mm256_load_pd(block + k * row + j);
        }
        forward_four(x, w, m, reduce);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_pd(block + k * row + j, x[k]);
        }
    }
}

/* Two layers of the blocks of nodes node .. node+count-1, 4·row each. */
AVX2_INLINE void forward_pass_of(double *a, size_t node, size_t count,
                                 size_t row, const avx2_pass *p, int reduce)
{
    for (size_t i = 0; i < count; i++) {
        const avx2_node w = avx2_node_at(p, node + i);
        forward_columns(a + 4 * row * i, row, 0, row, &w, p->m, reduce);
    }
}

/* The same, choosing the variant such that another pass can follow; returns
 * the new bound. */
static double forward_pass(double *a, size_t node, size_t count, size_t row,
                           const avx2_pass *p, double bound)
{
    const double next = grow(grow(bound, p->limit), p->limit);
    if (grow(next, p->limit) > p->limit) {
        forward_pass_of(a, node, count, row, p, 1);
        return grow_reduced(bound, p->limit);
    }
    forward_pass_of(a, node, count, row, p, 0);
    return next;
}

/* Layers 0 and 1, from residues to doubles. */
static void forward_first_four(uint64_t *a, const avx2_pass *p)
{
    const avx2_node w = avx2_node_at(p, 1);
    const avx2_modulus m = p->m;
    const size_t quarter = p->n / 4;
    for (size_t j = 0; j < quarter; j += 4) {
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = avx2_load(a + k * quarter + j);
        }
        forward_four(x, &w, m, 0);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_pd(avx2_doubles(a) + k * quarter + j, x[k]);
        }
    }
}

/* Layer 0 of columns begin .. end-1 of two blocks of four rows. */
AVX2_INLINE void forward_first_two(uint64_t *a, size_t row, size_t begin,
                                   size_t end, const avx2_pass *p)
{
    const avx2_factor w = avx2_factor_set(p->twiddle[1], p->m);
    const avx2_modulus m = p->m;
    for (size_t k = 0; k < 4; k += 2) {
        uint64_t *x = a + k * row;
        uint64_t *y = x + 4 * row;
        for (size_t j = begin; j < end; j += 4) {
            __m256d x0 = avx2_load(x + j);
            __m256d x1 = avx2_load(x + row + j);
            __m256d y0 = avx2_load(y + j);
            __m256d y1 = avx2_load(y + row + j);
            avx2_turn_pair(&y0, &y1, w, w, m);
            avx2_add_sub(&x0, &y0);
            avx2_add_sub(&x1, &y1);
            _mm256_store_pd(avx2_doubles(x) + j, x0);
            _mm256_store_pd(avx2_doubles(x) + row + j, x1);
            _mm256_store_pd(avx2_doubles(y) + j, y0);
            _mm256_store_pd(avx2_doubles(y) + row + j, y1);
        }
    }
}

/* Layers 0 to 2, from residues to doubles, a strip of columns at a time. */
AVX2_INLINE void forward_first_eight_of(uint64_t *a, const avx2_pass *p,
                                        int reduce)
{
    const avx2_node low = avx2_node_at(p, 2);
    const avx2_node high = avx2_node_at(p, 3);
    double *d = avx2_doubles(a);
    const size_t row = p->n / 8;
    const size_t strip = row < AVX2_STRIP ? row : AVX2_STRIP;
    for (size_t j = 0; j < row; j += strip) {
        forward_first_two(a, row, j, j + strip, p);
        forward_columns(d, row, j, j + strip, &low, p->m, reduce);
        forward_columns(d + 4 * row, row, j, j + strip, &high, p->m, reduce);
    }
}

/* How the first pass goes. */
typedef struct first_pass {
    size_t nodes; /* that it ends at: 4 or 8 */
    int reduce;   /* whether the next pass needs smaller values */
    double bound; /* afterwards */
} first_pass;

/* range: [0,q); grow(1) < 1.7, grow(grow(1)) < 2.4, grow(2.4) < 3.3 < limit */
static first_pass first_pass_of(const avx2_pass *p, const ntt_table *table)
{
    const double one = grow(1, p->limit);
    const double two = grow(one, p->limit);
    const double three = grow(two, p->limit);
    if (table->ring.log2_n % 2 == 0) {
        return (first_pass){4, 0, two};
    }
    const int reduce = grow(three, p->limit) > p->limit;
    return (first_pass){8, reduce,
                        reduce ? grow_reduced(one, p->limit) : three};
}

/* The first two or three layers. */
static void forward_first(uint64_t *a, const avx2_pass *p,
                          const first_pass *first)
{
    if (first->nodes == 4) {
        forward_first_four(a, p);
    } else if (first->reduce) {
        forward_first_eight_of(a, p, 1);
    } else {
        forward_first_eight_of(a, p, 0);
    }
}

/* The last four layers of the blocks of nodes node .. node+count-1, 16 values
 * each, and back to residues.
 * range: four times grow(b) <= limit, or with reduce grow(b) <= limit, which
 * leaves 2.5 twice -> [0,q) */
AVX2_INLINE void forward_last_of(double *a, size_t node, size_t count,
                                 const avx2_pass *p, int reduce)
{
    const avx2_modulus m = p->m;
    for (size_t i = 0; i < count; i++) {
        const avx2_node w = avx2_node_at(p, node + i);
        double *block = a + AVX2_SQUARE * i;
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = _mm256_load_pd(block + 4 * k);
        }
        forward_four(x, &w, m, reduce);
        avx2_transpose(x);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_pd(block + 4 * k, x[k]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const avx2_node w = avx2_lanes_at(p, 4 * (node + i));
        double *block = a + AVX2_SQUARE * i;
        __m256d x[4];
        for (size_t k = 0; k < 4; k++) {
            x[k] = _mm256_load_pd(block + 4 * k);
        }
        forward_four(x, &w, m, reduce);
        avx2_transpose(x);
        for (size_t k = 0; k < 4; k++) {
            _mm256_store_pd(block + 4 * k, x[k]);
        }
    }
    for (size_t j = 0; j < AVX2_SQUARE * count; j += 4) {
        avx2_store((uint64_t *)(void *)(a + j),
                   avx2_reduce(_mm256_load_pd(a + j), m), m);
    }
}

static void forward_last(double *a, size_t node, size_t count,
                         const avx2_pass *p, double bound)
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
static void forward_node(double *a, size_t node, size_t len, const avx2_pass *p,
                         double bound)
{
    if (len > AVX2_BLOCK) {
        bound = forward_pass(a, node, 1, len / 4, p, bound);
        for (size_t i = 0; i < 4; i++) {
            forward_node(a + i * (len / 4), 4 * node + i, len / 4, p, bound);
        }
        return;
    }
    size_t count = 1;
    for (; len > AVX2_SQUARE; len /= 4) {
        bound = forward_pass(a, node, count, len / 4, p, bound);
        node *= 4;
        count *= 4;
    }
    forward_last(a, node, count, p, bound);
}

/* The other layers of one of the blocks that the first pass ends at. */
static void forward_part(uint64_t *a, const avx2_pass *p,
                         const first_pass *first, size_t part)
{
    const size_t len = p->n / first->nodes;
    forward_node(avx2_doubles(a) + part * len, first->nodes + part, len, p,
                 first->bound);
}

void ntt_forward_avx2(uint64_t *a, const ntt_table *table)
{
    if (table->ring.n < AVX2_MIN_N) {
        ntt_forward_portable(a, table);
        return;
    }
    const avx2_pass p = avx2_pass_of(table, 0);
    const first_pass first = first_pass_of(&p, table);
    forward_first(a, &p, &first);
    for (size_t i = 0; i < first.nodes; i++) {
        forward_part(a, &p, &first, i);
    }
}

/* Below this, transforms of several polynomials stay in the cache as a whole.
 */
#define MIN_N_OF_PARTS 4096

size_t ntt_forward_parts_avx2(const ntt_table *table)
{
    if (table->ring.n < MIN_N_OF_PARTS) {
        return 1;
    }
    const avx2_pass p = avx2_pass_of(table, 0);
    return first_pass_of(&p, table).nodes;
}

void ntt_forward_first_avx2(uint64_t *a, const ntt_table *table)
{
    if (table->ring.n >= MIN_N_OF_PARTS) {
        const avx2_pass p = avx2_pass_of(table, 0);
        const first_pass first = first_pass_of(&p, table);
        forward_first(a, &p, &first);
    }
}

void ntt_forward_part_avx2(uint64_t *a, const ntt_table *table, size_t part,
                           const uint64_t *const soon[2])
{
    (void)soon; /* gains nothing here */
    if (table->ring.n < MIN_N_OF_PARTS) {
        ntt_forward_avx2(a, table);
        return;
    }
    const avx2_pass p = avx2_pass_of(table, 0);
    const first_pass first = first_pass_of(&p, table);
    forward_part(a, &p, &first, part);
}

#endif
