/* SPDX-License-Identifier: MIT
 * Sums of products for AVX2: key-switching inner product, base conversion.
 *
 * A sum of products has two parts that are both exact:
 *
 *     high' = high + x·y, rounded to a multiple of 2^b   (q < 2^b: its bits)
 *     low' = low + (x·y - (high' - high))
 *
 * high is held between 2^(52+b) and 2^(53+b), where doubles are the multiples
 * of 2^b; so the difference of two of them is exact, as is what the product
 * leaves, at most 2^(b-1). Four operations for a product, where a reduction
 * takes seven. After a chunk of at most 2^(52-b) products, when
 * |low| <= 2^51, both are reduced into a running total.
 */
#include "ntt/avx2_internal.h"

#if defined(__AVX2__) && defined(__FMA__)

#include "ntt/portable_internal.h"

/* Most source moduli of a conversion. */
#define MAX_SOURCES 128

/* Columns of one turn of the innermost loops: two independent chains. */
#define COLUMNS 8

/* Columns whose sums wait together for their reduction, which is a loop of its
 * own: chains stay short. */
#define STRIP 128

/* A sum of products in two parts. */
typedef struct split_sum {
    __m256d high;
    __m256d low;
} split_sum;

/* The sums of one strip. */
typedef struct strip_sums {
    __m256d high[STRIP / 4];
    __m256d low[STRIP / 4];
} strip_sums;

/* sum + x·y */
AVX2_INLINE void sum_add(split_sum *sum, __m256d x, __m256d y)
{
    const __m256d high = _mm256_fmadd_pd(x, y, sum->high);
    const __m256d moved = _mm256_sub_pd(high, sum->high);
    sum->low = _mm256_add_pd(sum->low, _mm256_fmsub_pd(x, y, moved));
    sum->high = high;
}

/* A sum mod q.
 * range: |low| < 2^51 + 2q, |v| <= e·2^52·q for v = high - origin, e <= 1
 *        -> |r| < (1/2 + 3/2·e)·q + 1/3, below q for e = 1/4
 * v is exact. Three roundings move its quotient by 3/2·e, that of low by less
 * than 1/(3q); with the nearest integer t the rest is as said, and v - t·q is
 * an integer below 2^51 + 4q + 1 < 2^53, exact like the sum. */
AVX2_INLINE __m256d sum_reduce(const strip_sums *s, size_t i, __m256d origin,
                               avx2_modulus m)
{
    const __m256d v = _mm256_sub_pd(s->high[i], origin);
    const __m256d quotient =
        _mm256_fmadd_pd(s->low[i], m.inverse, _mm256_mul_pd(v, m.inverse));
    const __m256d t = _mm256_round_pd(quotient, _MM_FROUND_TO_NEAREST_INT |
                                                    _MM_FROUND_NO_EXC);
    return _mm256_add_pd(_mm256_fnmadd_pd(t, m.q, v), s->low[i]);
}

/* The sums of column group i: where a chunk begins. is_first: with 0, else
 * with what the chunk before left. */
AVX2_INLINE split_sum sum_start(const strip_sums *s, size_t i, int is_first,
                                __m256d origin)
{
    return (split_sum){origin, is_first ? _mm256_setzero_pd() : s->low[i]};
}

AVX2_INLINE void sum_keep(strip_sums *s, size_t i, split_sum sum)
{
    s->high[i] = sum.high;
    s->low[i] = sum.low;
}

/* Between chunks: what is left goes to low. */
static void strip_reduce(strip_sums *s, size_t len, __m256d origin,
                         avx2_modulus m)
{
    for (size_t i = 0; i < len / 4; i++) {
        s->low[i] = sum_reduce(s, i, origin, m);
    }
}

/* After the last chunk.   range: e = 1/4, or with is_wide e = 1 */
static void strip_store(uint64_t *r, const strip_sums *s, size_t len,
                        __m256d origin, avx2_modulus m, int is_wide)
{
    for (size_t i = 0; i < len / 4; i++) {
        const __m256d x = sum_reduce(s, i, origin, m);
        avx2_store(r + 4 * i, is_wide ? avx2_reduce(x, m) : x, m);
    }
}

/* 2^bits in every lane, times c. */
AVX2_INLINE __m256d origin_of(double c, int bits)
{
    return _mm256_set1_pd(c * (double)((uint64_t)1 << bits));
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Rows of an inner product. */
typedef struct factors {
    const uint64_t *const *x;
    const uint64_t *const *y0;
    const uint64_t *const *y1;
    const uint32_t *map; /* which columns of x, or NULL */
} factors;

/* Where four columns of x are: in one aligned four, in this order; a lane is
 * two words there. */
typedef struct place {
    size_t four;
    __m256i word;
} place;

AVX2_INLINE place place_of(const uint32_t *map)
{
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    const __m256i halves = _mm256_setr_epi32(0, 1, 0, 1, 0, 1, 0, 1);
    const __m128i at = _mm_loadu_si128((const __m128i *)(const void *)map);
    const __m256i pairs =
        _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(at), twice);
    return (place){map[0] & ~(uint32_t)3,
                   _mm256_or_si256(_mm256_slli_epi32(pairs, 1), halves)};
}

/* The columns at a place; the lowest three bits of a word's index count. */
AVX2_INLINE __m256d load_place(const uint64_t *x, const place *p)
{
    const __m256i four =
        _mm256_load_si256((const __m256i *)(const void *)(x + p->four));
    return avx2_double(_mm256_permutevar8x32_epi32(four, p->word));
}

/* The sums of rows begin .. end-1 for len columns from `first` on. */
AVX2_INLINE void inner_sums(strip_sums *s0, strip_sums *s1, const factors *f,
                            size_t begin, size_t end, size_t first, size_t len,
                            int is_turned, __m256d origin)
{
    for (size_t j = 0; j < len; j += COLUMNS) {
        place p[2];
        if (is_turned) {
            p[0] = place_of(f->map + first + j);
            p[1] = place_of(f->map + first + j + 4);
        }
        const size_t at = j / 4;
        split_sum sum[4];
        sum[0] = sum_start(s0, at, begin == 0, origin);
        sum[1] = sum_start(s1, at, begin == 0, origin);
        sum[2] = sum_start(s0, at + 1, begin == 0, origin);
        sum[3] = sum_start(s1, at + 1, begin == 0, origin);
        for (size_t i = begin; i < end; i++) {
            const uint64_t *x = f->x[i];
            const uint64_t *y0 = f->y0[i] + first + j;
            const uint64_t *y1 = f->y1[i] + first + j;
            const __m256d a =
                is_turned ? load_place(x, &p[0]) : avx2_load(x + first + j);
            const __m256d b =
                is_turned ? load_place(x, &p[1]) : avx2_load(x + first + j + 4);
            sum_add(&sum[0], a, avx2_load(y0));
            sum_add(&sum[1], a, avx2_load(y1));
            sum_add(&sum[2], b, avx2_load(y0 + 4));
            sum_add(&sum[3], b, avx2_load(y1 + 4));
        }
        sum_keep(s0, at, sum[0]);
        sum_keep(s1, at, sum[1]);
        sum_keep(s0, at + 1, sum[2]);
        sum_keep(s1, at + 1, sum[3]);
    }
}

/* Products are in [0,2^2b), so a chunk's sum is below 2^(52+b): origin is
 * 2^(52+b). Chunks of 2^(50-b) have e = 1/4 and leave less than q; near 2^50,
 * where that would be one or two, they have e = 1, and the end reduces. */
AVX2_INLINE void inner_product(uint64_t *r0, uint64_t *r1, const factors *f,
                               size_t k, size_t n, int is_turned,
                               const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    const __m256d origin = origin_of(0x1p52, mod->bits);
    const int is_wide = mod->bits > 48;
    const size_t chunk =
        smaller(k, (size_t)1 << ((is_wide ? 52 : 50) - mod->bits));
    for (size_t j = 0; j < n; j += STRIP) {
        const size_t len = smaller(STRIP, n - j);
        strip_sums s0, s1;
        for (size_t begin = 0; begin < k; begin += chunk) {
            const size_t end = begin + smaller(chunk, k - begin);
            inner_sums(&s0, &s1, f, begin, end, j, len, is_turned, origin);
            if (end < k) {
                strip_reduce(&s0, len, origin, m);
                strip_reduce(&s1, len, origin, m);
            }
        }
        strip_store(r0 + j, &s0, len, origin, m, is_wide);
        strip_store(r1 + j, &s1, len, origin, m, is_wide);
    }
}

void ntt_inner_product_avx2(uint64_t *r0, uint64_t *r1,
                            const uint64_t *const *x, const uint64_t *const *y0,
                            const uint64_t *const *y1, size_t k, size_t n,
                            const zq_modulus *mod)
{
    const factors f = {x, y0, y1, NULL};
    inner_product(r0, r1, &f, k, n, 0, mod);
}

void ntt_inner_product_turned_avx2(uint64_t *r0, uint64_t *r1,
                                   const uint64_t *const *x,
                                   const uint32_t *map,
                                   const uint64_t *const *y0,
                                   const uint64_t *const *y1, size_t k,
                                   size_t n, const zq_modulus *mod)
{
    const factors f = {x, y0, y1, map};
    inner_product(r0, r1, &f, k, n, 1, mod);
}

/* Columns and terms that are brought into words at once: 24 KiB. */
#define SWITCH_COLUMNS ((size_t)64)
#define SWITCH_TERMS ((size_t)16)

/* Some terms of a switch_product in SWITCH_COLUMNS columns or fewer. */
static void switch_block(uint64_t *r0, uint64_t *r1, const uint64_t *const *x,
                         const uint32_t *map, const uint32_t *const *y0,
                         const uint32_t *const *y1, size_t k, size_t first,
                         size_t len, const zq_modulus *mod)
{
    _Alignas(64) uint64_t word[3 * SWITCH_TERMS][SWITCH_COLUMNS];
    const uint64_t *row[3 * SWITCH_TERMS];
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < len; j++) {
            word[i][j] = x[i][map[first + j]];
            word[SWITCH_TERMS + i][j] = y0[i][first + j];
            word[2 * SWITCH_TERMS + i][j] = y1[i][first + j];
        }
    }
    for (size_t i = 0; i < 3 * SWITCH_TERMS; i++) {
        row[i] = word[i];
    }
    ntt_inner_product_avx2(r0, r1, row, row + SWITCH_TERMS,
                           row + 2 * SWITCH_TERMS, k, len, mod);
}

void ntt_switch_product_avx2(uint64_t *r0, uint64_t *r1,
                             const uint64_t *const *x, const uint32_t *map,
                             const uint32_t *const *y0,
                             const uint32_t *const *y1, size_t k, size_t n,
                             const zq_modulus *mod)
{
    _Alignas(64) uint64_t more[2][SWITCH_COLUMNS];
    for (size_t j = 0; j < n; j += SWITCH_COLUMNS) {
        const size_t len = smaller(SWITCH_COLUMNS, n - j);
        for (size_t i = 0; i < k; i += SWITCH_TERMS) {
            const size_t terms = smaller(SWITCH_TERMS, k - i);
            uint64_t *const to[2] = {i == 0 ? r0 + j : more[0],
                                     i == 0 ? r1 + j : more[1]};
            switch_block(to[0], to[1], x + i, map, y0 + i, y1 + i, terms, j,
                         len, mod);
            for (size_t l = 0; i != 0 && l < len; l++) {
                r0[j + l] = zq_add(r0[j + l], more[0][l], mod->q);
                r1[j + l] = zq_add(r1[j + l], more[1][l], mod->q);
            }
        }
    }
}

/* One source modulus of a conversion. */
typedef struct source {
    double factor;      /* centred */
    double lifted_q;    /* 2^52 + q_i */
    double lifted_half; /* 2^52 + (q_i - 1)/2 */
    uint64_t half;      /* (q_i - 1)/2 */
} source;

/* The centred representatives of four residues of a source: from 2^52 + x is
 * subtracted 2^52, or 2^52 + q_i where half - x is negative; from raised ones,
 * 2^52 + half. */
AVX2_INLINE __m256d load_centred(const uint64_t *x, const source *s,
                                 int is_raised)
{
    const __m256i v = _mm256_load_si256((const __m256i *)(const void *)x);
    const __m256d magic = _mm256_set1_pd(AVX2_INTEGER);
    const __m256i half = _mm256_set1_epi64x((long long)s->half);
    const __m256d upper = _mm256_castsi256_pd(_mm256_sub_epi64(half, v));
    const __m256d lifted = _mm256_or_pd(_mm256_castsi256_pd(v), magic);
    if (is_raised) {
        return _mm256_sub_pd(lifted, _mm256_set1_pd(s->lifted_half));
    }
    return _mm256_sub_pd(
        lifted, _mm256_blendv_pd(magic, _mm256_set1_pd(s->lifted_q), upper));
}

/* One source modulus: one product.   range: |x| < 2^49 <= 2^52 */
AVX2_INLINE void convert_one(uint64_t *r, const uint64_t *x, const source *s,
                             size_t n, const zq_modulus *mod, int is_raised)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    const avx2_factor w = avx2_factor_set(s->factor, m);
    for (size_t j = 0; j < n; j += COLUMNS) {
        __m256d a = load_centred(x + j, s, is_raised);
        __m256d b = load_centred(x + j + 4, s, is_raised);
        avx2_turn_pair(&a, &b, w, w, m);
        avx2_store(r + j, a, m);
        avx2_store(r + j + 4, b, m);
    }
}

/* The sums of sources begin .. end-1 for len columns from `first` on. */
AVX2_INLINE void convert_sums(strip_sums *s, const uint64_t *const *x,
                              const source *sources, size_t begin, size_t end,
                              size_t first, size_t len, __m256d origin,
                              int is_raised)
{
    for (size_t j = 0; j < len; j += COLUMNS) {
        const size_t at = j / 4;
        split_sum sum[2];
        sum[0] = sum_start(s, at, begin == 0, origin);
        sum[1] = sum_start(s, at + 1, begin == 0, origin);
        for (size_t i = begin; i < end; i++) {
            const uint64_t *row = x[i] + first + j;
            const __m256d factor = _mm256_set1_pd(sources[i].factor);
            sum_add(&sum[0], load_centred(row, &sources[i], is_raised), factor);
            sum_add(&sum[1], load_centred(row + 4, &sources[i], is_raised),
                    factor);
        }
        sum_keep(s, at, sum[0]);
        sum_keep(s, at + 1, sum[1]);
    }
}

/* Products are at most 2^(f+b-2) in absolute value, where 2^f is above all
 * sources, and a chunk has at most 2^(52 - max(b,f)) of them: their sum is at
 * most 2^(50+b), so origin is 3·2^(51+b), and its quotient at most 2^50, so
 * e = 1/4. */
AVX2_INLINE void convert_many(uint64_t *r, const uint64_t *const *x,
                              const source *sources, size_t k, size_t chunk,
                              size_t n, const zq_modulus *mod, int is_raised)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    const __m256d origin = origin_of(0x1.8p52, mod->bits);
    for (size_t j = 0; j < n; j += STRIP) {
        const size_t len = smaller(STRIP, n - j);
        strip_sums s;
        for (size_t begin = 0; begin < k; begin += chunk) {
            const size_t end = begin + smaller(chunk, k - begin);
            convert_sums(&s, x, sources, begin, end, j, len, origin, is_raised);
            if (end < k) {
                strip_reduce(&s, len, origin, m);
            }
        }
        strip_store(r + j, &s, len, origin, m, 0);
    }
}

/* All of a conversion, of sources that fit. */
AVX2_INLINE void convert_all(uint64_t *r, const uint64_t *const *x,
                             const source *sources, size_t k, size_t chunk,
                             size_t n, const zq_modulus *mod, int is_raised)
{
    if (k == 1) {
        convert_one(r, x[0], sources, n, mod, is_raised);
    } else {
        convert_many(r, x, sources, k, smaller(k, chunk), n, mod, is_raised);
    }
}

/* centre(x_i)·factor_i summed as it stands: what centring subtracts,
 * q_i·factor_i, is the product of all sources modulo q. */
void ntt_convert_avx2(uint64_t *r, const uint64_t *const *x,
                      const ntt_convert *constants, size_t n,
                      const zq_modulus *mod)
{
    source sources[MAX_SOURCES];
    const size_t k = constants->k;
    int bits = mod->bits;
    for (size_t i = 0; i < k; i++) {
        const uint64_t q = constants->from[i];
        sources[i] = (source){avx2_centre(constants->factor[i], mod->q),
                              AVX2_INTEGER + (double)q,
                              AVX2_INTEGER + (double)(q >> 1), q >> 1};
        while (q >> bits != 0) {
            bits++;
        }
    }
    if (bits > AVX2_MAX_Q_BITS) {
        ntt_kernels_portable()->convert(r, x, constants, n, mod);
        return;
    }
    const size_t chunk = (size_t)1 << (52 - bits);
    if (constants->is_raised) {
        convert_all(r, x, sources, k, chunk, n, mod, 1);
    } else {
        convert_all(r, x, sources, k, chunk, n, mod, 0);
    }
}

#endif
