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

/* Columns that are done at a time: independent chains. */
#define VECTORS 2
#define COLUMNS (4 * VECTORS)

/* A sum of products in two parts. */
typedef struct split_sum {
    __m256d high;
    __m256d low;
} split_sum;

AVX2_INLINE split_sum sum_start(__m256d origin)
{
    return (split_sum){origin, _mm256_setzero_pd()};
}

/* sum + x·y */
AVX2_INLINE void sum_add(split_sum *sum, __m256d x, __m256d y)
{
    const __m256d high = _mm256_fmadd_pd(x, y, sum->high);
    const __m256d moved = _mm256_sub_pd(high, sum->high);
    sum->low = _mm256_add_pd(sum->low, _mm256_fmsub_pd(x, y, moved));
    sum->high = high;
}

/* total + sum mod q.
 * range: |total| <= 2q, |low| <= 2^51, |v| <= e·2^52·q for v = high - origin,
 *        e <= 1 -> |r| < (1/2 + 3/2·e)·q + 1/4
 * v is exact. Three roundings move its quotient by 3/2·e, that of low and total
 * by less than 1/(4q); with the nearest integer t the rest is as said, and
 * v - t·q is an integer below 2^51 + 4q + 1 < 2^53, exact like the sums. */
AVX2_INLINE __m256d sum_reduce(__m256d total, split_sum sum, __m256d origin,
                               avx2_modulus m)
{
    const __m256d v = _mm256_sub_pd(sum.high, origin);
    const __m256d low = _mm256_add_pd(sum.low, total);
    const __m256d quotient =
        _mm256_fmadd_pd(low, m.inverse, _mm256_mul_pd(v, m.inverse));
    const __m256d t = _mm256_round_pd(quotient, _MM_FROUND_TO_NEAREST_INT |
                                                    _MM_FROUND_NO_EXC);
    return _mm256_add_pd(_mm256_fnmadd_pd(t, m.q, v), low);
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

/* Products are in [0,2^2b), so a chunk's sum is below 2^(52+b): origin is
 * 2^(52+b). Chunks of 2^(50-b) have e = 1/4 and leave less than q; near 2^50,
 * where that would be one or two, they have e = 1, and the end reduces. */
void ntt_inner_product_avx2(uint64_t *r0, uint64_t *r1,
                            const uint64_t *const *x, const uint64_t *const *y0,
                            const uint64_t *const *y1, size_t k, size_t n,
                            const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    const __m256d origin = origin_of(0x1p52, mod->bits);
    const int is_wide = mod->bits > 48;
    const size_t chunk =
        smaller(k, (size_t)1 << ((is_wide ? 52 : 50) - mod->bits));
    for (size_t j = 0; j < n; j += COLUMNS) {
        __m256d total0[VECTORS], total1[VECTORS];
        for (size_t v = 0; v < VECTORS; v++) {
            total0[v] = total1[v] = _mm256_setzero_pd();
        }
        for (size_t begin = 0; begin < k; begin += chunk) {
            const size_t end = begin + smaller(chunk, k - begin);
            split_sum sum0[VECTORS], sum1[VECTORS];
            for (size_t v = 0; v < VECTORS; v++) {
                sum0[v] = sum1[v] = sum_start(origin);
            }
            for (size_t i = begin; i < end; i++) {
                for (size_t v = 0; v < VECTORS; v++) {
                    const __m256d a = avx2_load(x[i] + j + 4 * v);
                    sum_add(&sum0[v], a, avx2_load(y0[i] + j + 4 * v));
                    sum_add(&sum1[v], a, avx2_load(y1[i] + j + 4 * v));
                }
            }
            for (size_t v = 0; v < VECTORS; v++) {
                total0[v] = sum_reduce(total0[v], sum0[v], origin, m);
                total1[v] = sum_reduce(total1[v], sum1[v], origin, m);
            }
        }
        for (size_t v = 0; v < VECTORS; v++) {
            const __m256d s0 = is_wide ? avx2_reduce(total0[v], m) : total0[v];
            const __m256d s1 = is_wide ? avx2_reduce(total1[v], m) : total1[v];
            avx2_store(r0 + j + 4 * v, s0, m);
            avx2_store(r1 + j + 4 * v, s1, m);
        }
    }
}

/* One source modulus of a conversion. */
typedef struct source {
    double factor;   /* centred */
    double lifted_q; /* 2^52 + q_i */
    uint64_t half;   /* (q_i - 1)/2 */
} source;

/* The centred representatives of four residues of a source: from 2^52 + x is
 * subtracted 2^52, or 2^52 + q_i where half - x is negative. */
AVX2_INLINE __m256d load_centred(const uint64_t *x, const source *s)
{
    const __m256i v = _mm256_load_si256((const __m256i *)(const void *)x);
    const __m256d magic = _mm256_set1_pd(AVX2_INTEGER);
    const __m256i half = _mm256_set1_epi64x((long long)s->half);
    const __m256d upper = _mm256_castsi256_pd(_mm256_sub_epi64(half, v));
    const __m256d lifted = _mm256_or_pd(_mm256_castsi256_pd(v), magic);
    return _mm256_sub_pd(
        lifted, _mm256_blendv_pd(magic, _mm256_set1_pd(s->lifted_q), upper));
}

/* One source modulus: one product.   range: |x| < 2^49 <= 2^52 */
static void convert_one(uint64_t *r, const uint64_t *x, const source *s,
                        size_t n, const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    const avx2_factor w = avx2_factor_set(s->factor, m);
    for (size_t j = 0; j < n; j += COLUMNS) {
        __m256d a = load_centred(x + j, s);
        __m256d b = load_centred(x + j + 4, s);
        avx2_turn_pair(&a, &b, w, w, m);
        avx2_store(r + j, a, m);
        avx2_store(r + j + 4, b, m);
    }
}

/* Products are at most 2^(f+b-2) in absolute value, where 2^f is above all
 * sources, and a chunk has at most 2^(52 - max(b,f)) of them: their sum is at
 * most 2^(50+b), so origin is 3·2^(51+b), and its quotient at most 2^50, so
 * e = 1/4. */
static void convert_many(uint64_t *r, const uint64_t *const *x,
                         const source *sources, size_t k, size_t chunk,
                         size_t n, const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    const __m256d origin = origin_of(0x1.8p52, mod->bits);
    for (size_t j = 0; j < n; j += COLUMNS) {
        __m256d total[VECTORS];
        for (size_t v = 0; v < VECTORS; v++) {
            total[v] = _mm256_setzero_pd();
        }
        for (size_t begin = 0; begin < k; begin += chunk) {
            const size_t end = begin + smaller(chunk, k - begin);
            split_sum sum[VECTORS];
            for (size_t v = 0; v < VECTORS; v++) {
                sum[v] = sum_start(origin);
            }
            for (size_t i = begin; i < end; i++) {
                const source *s = &sources[i];
                const __m256d factor = _mm256_set1_pd(s->factor);
                for (size_t v = 0; v < VECTORS; v++) {
                    sum_add(&sum[v], load_centred(x[i] + j + 4 * v, s), factor);
                }
            }
            for (size_t v = 0; v < VECTORS; v++) {
                total[v] = sum_reduce(total[v], sum[v], origin, m);
            }
        }
        for (size_t v = 0; v < VECTORS; v++) {
            avx2_store(r + j + 4 * v, total[v], m);
        }
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
                              AVX2_INTEGER + (double)q, q >> 1};
        while (q >> bits != 0) {
            bits++;
        }
    }
    if (bits > AVX2_MAX_Q_BITS) {
        ntt_kernels_portable()->convert(r, x, constants, n, mod);
    } else if (k == 1) {
        convert_one(r, x[0], sources, n, mod);
    } else {
        convert_many(r, x, sources, k, smaller(k, (size_t)1 << (52 - bits)), n,
                     mod);
    }
}

#endif
