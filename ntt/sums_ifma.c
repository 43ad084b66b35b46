/* SPDX-License-Identifier: MIT
 * Sums of products with AVX-512 IFMA: key switching and base conversion.
 *
 * High and low halves of the products are added apart, V = H·2^52 + L, and
 * reduced once; where no factor is fixed, by Montgomery's step and a product
 * with 2^104 mod q:
 *     m = L·q^-1 mod 2^52,  x = H + floor(L/2^52) + q - hi(m·q) ≡ V/2^52,
 *     V ≡ x·2^52.
 * x is positive since hi(m·q) < q, and must be below 2^52: as many terms are
 * added at a time as make sure of that (`most_terms`), the result so far being
 * added to L of the next ones. L <= 256·(2^52 - 1) + q < 2^61.
 */
#include <stdbool.h>

#include "ntt/ifma_internal.h"

#if defined(__x86_64__)

/* Loops over vectors say their limit as a number, too: clang unrolls before it
 * knows the argument, and keeps vectors in memory where it cannot. */

/* A sum of products. */
typedef struct sum {
    vec high; /* H + q */
    vec low;  /* L */
} sum;

/* The modulus and 2^104 as factor. */
typedef struct reduction {
    ifma_field field;
    vec w;
    vec w_low;
} reduction;

static IFMA_INLINE reduction reduction_of(const zq_modulus *mod)
{
    const uint64_t w = ifma_factor(ifma_factor(1, mod), mod);
    return (reduction){ifma_field_of(mod), vec_set(w),
                       vec_set(w * ifma_inverse(mod->q) & IFMA_LOW_BITS)};
}

static IFMA_INLINE void add_product(sum *s, vec a, vec b)
{
    s->high = vec_hi(s->high, a, b);
    s->low = vec_lo(s->low, a, b);
}

/* Reduces `count` sums, at most 4, in place of their high halves; step by step
 * for all, since each step waits for the one before.
 * range: H + floor(L/2^52) + q < 2^52 -> [0,q) */
static IFMA_INLINE void reduce(sum *s, size_t count, const reduction *c)
{
    const ifma_field *f = &c->field;
    vec m[4], d[4];
    UNROLL
    for (size_t i = 0; i < 4 && i < count; i++) {
        m[i] = vec_lo(vec_zero(), s[i].low, f->inverse);
        s[i].high = vec_add(s[i].high, _mm512_srli_epi64(s[i].low, 52));
    }
    UNROLL
    for (size_t i = 0; i < 4 && i < count; i++) {
        s[i].high = vec_sub(s[i].high, vec_hi(vec_zero(), m[i], f->q));
    }
    UNROLL
    for (size_t i = 0; i < 4 && i < count; i++) {
        m[i] = vec_lo(vec_zero(), s[i].high, c->w_low);
        d[i] = vec_hi(vec_zero(), s[i].high, c->w);
    }
    UNROLL
    for (size_t i = 0; i < 4 && i < count; i++) {
        d[i] = vec_sub(d[i], vec_hi(vec_zero(), m[i], f->q));
        s[i].high = vec_lift(d[i], f->q);
    }
}

/* How many products below 2^52·(high + 1) may be added before they are reduced.
 * Each adds at most high to H and one to floor(L/2^52); 2^8 are for the result
 * so far. */
static size_t most_terms(uint64_t high, const zq_modulus *mod)
{
    return (size_t)(((IFMA_LOW_BITS + 1) - mod->q - 256) / (high + 1));
}

static uint64_t high_half(uint64_t a, uint64_t b)
{
    return (uint64_t)(((zq_u128)a * b) >> 52);
}

/* Rows of an inner product. */
typedef struct rows {
    const uint64_t *const *x;
    const uint64_t *const *y0;
    const uint64_t *const *y1;
    const uint32_t *map; /* which columns of x, or NULL */
    size_t first; /* the first row to add; not 0: to what is in the outputs */
    size_t count;
} rows;

/* Where eight columns of x are. */
typedef struct mapped {
    uint32_t block; /* an aligned block of eight … */
    vec index;      /* … of which the lowest three bits count */
    bool is_block;  /* no: all of the index */
} mapped;

static IFMA_INLINE mapped mapped_of(const uint32_t *map)
{
    const __m256i at = _mm256_loadu_si256((const __m256i *)map);
    const uint32_t block = map[0] & ~(uint32_t)7;
    const __m256i other = _mm256_xor_si256(at, _mm256_set1_epi32((int)block));
    return (mapped){block, _mm512_cvtepu32_epi64(at),
                    _mm256_test_epi32_mask(other, _mm256_set1_epi32(~7)) == 0};
}

static IFMA_INLINE vec load_mapped(const uint64_t *x, const mapped *at)
{
    return at->is_block
               ? _mm512_permutexvar_epi64(at->index, vec_load(x + at->block))
               : _mm512_i64gather_epi64(at->index, x, 8);
}

/* The columns j … j + 8·width - 1 of both outputs; width 1 or 2. */
static IFMA_INLINE void add_rows(uint64_t *r0, uint64_t *r1, const rows *in,
                                 size_t j, size_t width, int is_turned,
                                 const reduction *c)
{
    sum s[4]; /* of r0, r1 for each vector */
    mapped at[2];
    UNROLL
    for (size_t v = 0; v < 2 && v < width; v++) {
        if (is_turned) {
            at[v] = mapped_of(in->map + j + 8 * v);
        }
        s[2 * v].high = s[2 * v + 1].high = c->field.q;
        s[2 * v].low = in->first != 0 ? vec_load(r0 + j + 8 * v) : vec_zero();
        s[2 * v + 1].low =
            in->first != 0 ? vec_load(r1 + j + 8 * v) : vec_zero();
    }
    for (size_t i = in->first; i < in->first + in->count; i++) {
        const uint64_t *x = in->x[i];
        const uint64_t *y0 = in->y0[i] + j;
        const uint64_t *y1 = in->y1[i] + j;
        UNROLL
        for (size_t v = 0; v < 2 && v < width; v++) {
            const vec a =
                is_turned ? load_mapped(x, &at[v]) : vec_load(x + j + 8 * v);
            add_product(&s[2 * v], a, vec_load(y0 + 8 * v));
            add_product(&s[2 * v + 1], a, vec_load(y1 + 8 * v));
        }
    }
    reduce(s, 2 * width, c);
    UNROLL
    for (size_t v = 0; v < 2 && v < width; v++) {
        vec_store(r0 + j + 8 * v, s[2 * v].high);
        vec_store(r1 + j + 8 * v, s[2 * v + 1].high);
    }
}

/* One row: two products each, cheaper to reduce as such. */
static IFMA_INLINE void multiply_row(uint64_t *r0, uint64_t *r1, const rows *in,
                                     size_t n, int is_turned,
                                     const zq_modulus *mod)
{
    const ifma_barrett k = ifma_barrett_of(mod);
    for (size_t j = 0; j < n; j += 8) {
        vec x;
        if (is_turned) {
            const mapped at = mapped_of(in->map + j);
            x = load_mapped(in->x[0], &at);
        } else {
            x = vec_load(in->x[0] + j);
        }
        const vec p0 =
            ifma_multiply(vec_zero(), x, vec_load(in->y0[0] + j), &k);
        const vec p1 =
            ifma_multiply(vec_zero(), x, vec_load(in->y1[0] + j), &k);
        vec_store(r0 + j, vec_correct(p0, k.q));
        vec_store(r1 + j, vec_correct(p1, k.q));
    }
}

/* All rows of `all`, of which first is 0. */
static IFMA_INLINE void add_all_rows(uint64_t *r0, uint64_t *r1,
                                     const rows *all, size_t n, int is_turned,
                                     const zq_modulus *mod)
{
    if (all->count == 1) {
        multiply_row(r0, r1, all, n, is_turned, mod);
        return;
    }
    const reduction c = reduction_of(mod);
    const size_t most = most_terms(high_half(mod->q - 1, mod->q - 1), mod);
    rows in = *all;
    for (; in.first < all->count; in.first += most) {
        const size_t left = all->count - in.first;
        in.count = left < most ? left : most;
        size_t j = 0;
        for (; j + 16 <= n; j += 16) {
            add_rows(r0, r1, &in, j, 2, is_turned, &c);
        }
        for (; j < n; j += 8) {
            add_rows(r0, r1, &in, j, 1, is_turned, &c);
        }
    }
}

void ntt_inner_product_ifma(uint64_t *r0, uint64_t *r1,
                            const uint64_t *const *x, const uint64_t *const *y0,
                            const uint64_t *const *y1, size_t k, size_t n,
                            const zq_modulus *mod)
{
    const rows all = {.x = x, .y0 = y0, .y1 = y1, .count = k};
    add_all_rows(r0, r1, &all, n, 0, mod);
}

void ntt_inner_product_turned_ifma(uint64_t *r0, uint64_t *r1,
                                   const uint64_t *const *x,
                                   const uint32_t *map,
                                   const uint64_t *const *y0,
                                   const uint64_t *const *y1, size_t k,
                                   size_t n, const zq_modulus *mod)
{
    const rows all = {.x = x, .y0 = y0, .y1 = y1, .map = map, .count = k};
    add_all_rows(r0, r1, &all, n, 1, mod);
}

/* What the loads of a switch_product have in common. */
typedef struct mapped_rows {
    const uint64_t *const *x;
    const uint32_t *map;
    const uint32_t *const *y0;
    const uint32_t *const *y1;
    size_t first, count; /* as in rows */
} mapped_rows;

static IFMA_INLINE vec load_narrow(const uint32_t *y)
{
    return _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)y));
}

/* The columns j … j + 8·width - 1 of both outputs; width 1 or 2. */
static IFMA_INLINE void add_mapped(uint64_t *r0, uint64_t *r1,
                                   const mapped_rows *in, size_t j,
                                   size_t width, const reduction *c)
{
    sum s[4]; /* as in add_rows */
    mapped at[2];
    UNROLL
    for (size_t v = 0; v < 2 && v < width; v++) {
        at[v] = mapped_of(in->map + j + 8 * v);
        s[2 * v].high = s[2 * v + 1].high = c->field.q;
        s[2 * v].low = in->first != 0 ? vec_load(r0 + j + 8 * v) : vec_zero();
        s[2 * v + 1].low =
            in->first != 0 ? vec_load(r1 + j + 8 * v) : vec_zero();
    }
    for (size_t i = in->first; i < in->first + in->count; i++) {
        UNROLL
        for (size_t v = 0; v < 2 && v < width; v++) {
            const vec a = load_mapped(in->x[i], &at[v]);
            add_product(&s[2 * v], a, load_narrow(in->y0[i] + j + 8 * v));
            add_product(&s[2 * v + 1], a, load_narrow(in->y1[i] + j + 8 * v));
        }
    }
    reduce(s, 2 * width, c);
    UNROLL
    for (size_t v = 0; v < 2 && v < width; v++) {
        vec_store(r0 + j + 8 * v, s[2 * v].high);
        vec_store(r1 + j + 8 * v, s[2 * v + 1].high);
    }
}

void ntt_switch_product_ifma(uint64_t *r0, uint64_t *r1,
                             const uint64_t *const *x, const uint32_t *map,
                             const uint32_t *const *y0,
                             const uint32_t *const *y1, size_t k, size_t n,
                             const zq_modulus *mod)
{
    const reduction c = reduction_of(mod);
    const size_t most = most_terms(high_half(mod->q - 1, mod->q - 1), mod);
    for (size_t i = 0; i < k; i += most) {
        const mapped_rows in = {x, map, y0, y1, i, k - i < most ? k - i : most};
        size_t j = 0;
        for (; j + 16 <= n; j += 16) {
            add_mapped(r0, r1, &in, j, 2, &c);
        }
        for (; j < n; j += 8) {
            add_mapped(r0, r1, &in, j, 1, &c);
        }
    }
}

/* One source modulus: one product with a fixed factor. */
static IFMA_INLINE void convert_one(uint64_t *r, const uint64_t *x,
                                    const ntt_convert *constants, size_t n,
                                    const zq_modulus *mod, int is_raised)
{
    const ifma_field f = ifma_field_of(mod);
    const uint64_t factor = ifma_factor(constants->factor[0], mod);
    const vec w = vec_set(factor);
    const vec w_low = ifma_low(w, &f);
    const vec half = vec_set(constants->from[0] >> 1);
    const vec minus = vec_set(
        zq_neg(is_raised ? constants->raised : constants->product, mod->q));
    for (size_t j = 0; j < n; j += 8) {
        const vec a = vec_load(x + j);
        const vec is_upper = _mm512_srai_epi64(vec_sub(half, a), 63);
        const vec start = is_raised ? minus : _mm512_and_si512(minus, is_upper);
        /* (-q,2q) */
        const vec s = ifma_turn(start, a, w, w_low, &f);
        vec_store(r + j, vec_correct(vec_lift(s, f.q), f.q));
    }
}

/* Sources of a conversion. In Montgomery's form W = w·2^52 mod q of factors,
 * one step reduces a sum of products:
 *     V = Σ x_i·W_i + upper·M = H·2^52 + L,  m = L·q^-1 mod 2^52,
 *     H + floor(L/2^52) - hi(m·q) = (V - m·q)/2^52 ≡ Σ x_i·w_i + upper·w_M,
 * exactly. Of raised x_i, M is added once: what is too much of all, negated.
 * With x_i < f_i, V < q·Σ (f_i + 1), and so many sources are taken at
 * a time that this is at most q·2^52: the result is in (-q,q). */
typedef struct sources {
    const uint64_t *const *x;
    const uint64_t *factor; /* [k] W_i */
    const uint64_t *from;   /* [k] f_i */
    vec minus;              /* M: what each x_i above its half adds; or raised
                             * ones all together */
    size_t count;
    bool is_first; /* else to what is in the output */
} sources;

/* Most sources at a time. */
#define MOST_SOURCES 32

/* The columns j … j + 8·width - 1; width 1 … 4. */
static IFMA_INLINE void add_sources(uint64_t *r, const sources *in, size_t j,
                                    size_t width, const ifma_field *f,
                                    int is_raised)
{
    sum s[4];
    vec m[4];
    UNROLL
    for (size_t v = 0; v < 4 && v < width; v++) {
        s[v] = (sum){vec_zero(),
                     is_raised && in->is_first ? in->minus : vec_zero()};
    }
    for (size_t i = 0; i < in->count; i++) {
        const vec half = vec_set(in->from[i] >> 1);
        const vec factor = vec_set(in->factor[i]);
        UNROLL
        for (size_t v = 0; v < 4 && v < width; v++) {
            const vec a = vec_load(in->x[i] + j + 8 * v);
            add_product(&s[v], a, factor);
            if (!is_raised) {
                const __mmask8 upper = _mm512_cmpgt_epu64_mask(a, half);
                s[v].low =
                    _mm512_mask_add_epi64(s[v].low, upper, s[v].low, in->minus);
            }
        }
    }
    UNROLL
    for (size_t v = 0; v < 4 && v < width; v++) {
        m[v] = vec_lo(vec_zero(), s[v].low, f->inverse);
        s[v].high = vec_add(s[v].high, _mm512_srli_epi64(s[v].low, 52));
    }
    UNROLL
    for (size_t v = 0; v < 4 && v < width; v++) {
        m[v] = vec_hi(vec_zero(), m[v], f->q);
        s[v].high = vec_lift(vec_sub(s[v].high, m[v]), f->q);
        if (!in->is_first) {
            s[v].high = vec_add(s[v].high, vec_load(r + j + 8 * v));
            s[v].high = vec_correct(s[v].high, f->q);
        }
        vec_store(r + j + 8 * v, s[v].high);
    }
}

/* How many sources from number `first` on may be added at a time: at least
 * four, since moduli are below 2^50. */
static size_t count_sources(const ntt_convert *constants, size_t first)
{
    uint64_t room = IFMA_LOW_BITS + 1;
    size_t i = first;
    while (i < constants->k && i - first < MOST_SOURCES &&
           constants->from[i] < room) {
        room -= constants->from[i++] + 1;
    }
    return i - first;
}

/* Two sources or more. */
static IFMA_INLINE void convert_many(uint64_t *r, const uint64_t *const *x,
                                     const ntt_convert *constants, size_t n,
                                     const zq_modulus *mod, int is_raised)
{
    const ifma_field f = ifma_field_of(mod);
    const uint64_t minus =
        zq_neg(is_raised ? constants->raised : constants->product, mod->q);
    uint64_t factor[MOST_SOURCES];
    sources in = {.factor = factor, .minus = vec_set(ifma_factor(minus, mod))};
    for (size_t i = 0; i < constants->k; i += in.count) {
        in.count = count_sources(constants, i);
        in.x = x + i;
        in.from = constants->from + i;
        in.is_first = i == 0;
        for (size_t l = 0; l < in.count; l++) {
            factor[l] = ifma_factor(constants->factor[i + l], mod);
        }
        size_t j = 0;
        for (; j + 32 <= n; j += 32) {
            add_sources(r, &in, j, 4, &f, is_raised);
        }
        for (; j < n; j += 8) {
            add_sources(r, &in, j, 1, &f, is_raised);
        }
    }
}

void ntt_convert_ifma(uint64_t *r, const uint64_t *const *x,
                      const ntt_convert *constants, size_t n,
                      const zq_modulus *mod)
{
    for (size_t i = 0; i < constants->k; i++) {
        if (constants->from[i] >= (uint64_t)1 << 50) {
            ntt_kernels_portable()->convert(r, x, constants, n, mod);
            return;
        }
    }
    if (constants->k == 1) {
        if (constants->is_raised) {
            convert_one(r, x[0], constants, n, mod, 1);
        } else {
            convert_one(r, x[0], constants, n, mod, 0);
        }
    } else if (constants->is_raised) {
        convert_many(r, x, constants, n, mod, 1);
    } else {
        convert_many(r, x, constants, n, mod, 0);
    }
}

#endif
