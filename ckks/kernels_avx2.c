/* SPDX-License-Identifier: MIT
 * Encoding and decoding with AVX2 (kernels_internal.h). FMA is not used: it
 * would change bits.
 */
#include "ckks/kernels_internal.h"

#include "base/cpu.h"

#if defined(__AVX2__)

#include <immintrin.h>

#include "ckks/loops_internal.h"

#define LANES 4

typedef __m256d vec;

static inline vec vec_load(const double *x)
{
    return _mm256_loadu_pd(x);
}

static inline void vec_store(double *x, vec v)
{
    _mm256_storeu_pd(x, v);
}

static inline vec vec_set(double x)
{
    return _mm256_set1_pd(x);
}

#include "ckks/embed_simd_internal.h"

/* A leaf is two vectors A and B of four points. Layers inside of them are done
 * between vectors of first and second halves of blocks:
 *
 *   blocks of 4   A01 B01       A23 B23
 *   blocks of 2   A0 A2 B0 B2   A1 A3 B1 B3
 */

/* Roots of the two blocks of 4, from this node on. */
static inline complexes roots_4(const ckks_embed *embed, size_t node)
{
    const __m256d re = _mm256_castpd128_pd256(_mm_loadu_pd(embed->re + node));
    const __m256d im = _mm256_castpd128_pd256(_mm_loadu_pd(embed->im + node));
    return (complexes){_mm256_permute4x64_pd(re, 0x50),
                       _mm256_permute4x64_pd(im, 0x50)};
}

/* Of the four blocks of 2. */
static inline complexes roots_2(const ckks_embed *embed, size_t node)
{
    return load_at(embed->re, embed->im, node);
}

/* From the natural order to blocks of 4, and back. */
static inline void halves(vec *a, vec *b)
{
    const vec low = _mm256_permute2f128_pd(*a, *b, 0x20);
    *b = _mm256_permute2f128_pd(*a, *b, 0x31);
    *a = low;
}

/* From blocks of 4 to blocks of 2, and back. */
static inline void unpack(vec *a, vec *b)
{
    const vec low = _mm256_unpacklo_pd(*a, *b);
    *b = _mm256_unpackhi_pd(*a, *b);
    *a = low;
}

static inline void leaf_forward(const ckks_embed *embed, double *re, double *im,
                                size_t node)
{
    complexes a = load_at(re, im, 0), b = load_at(re, im, LANES);
    split(&a, &b, root_of(embed, node));
    halves(&a.re, &b.re);
    halves(&a.im, &b.im);
    split(&a, &b, roots_4(embed, 2 * node));
    unpack(&a.re, &b.re);
    unpack(&a.im, &b.im);
    split(&a, &b, roots_2(embed, 4 * node));
    unpack(&a.re, &b.re);
    unpack(&a.im, &b.im);
    halves(&a.re, &b.re);
    halves(&a.im, &b.im);
    store_at(re, im, 0, a);
    store_at(re, im, LANES, b);
}

static inline void leaf_inverse(const ckks_embed *embed, double *re, double *im,
                                size_t node)
{
    complexes a = load_at(re, im, 0), b = load_at(re, im, LANES);
    halves(&a.re, &b.re);
    halves(&a.im, &b.im);
    unpack(&a.re, &b.re);
    unpack(&a.im, &b.im);
    join(&a, &b, roots_2(embed, 4 * node));
    unpack(&a.re, &b.re);
    unpack(&a.im, &b.im);
    join(&a, &b, roots_4(embed, 2 * node));
    halves(&a.re, &b.re);
    halves(&a.im, &b.im);
    join(&a, &b, root_of(embed, node));
    store_at(re, im, 0, a);
    store_at(re, im, LANES, b);
}

const ckks_kernels ckks_kernels_avx2 = {
    .cpu_features = SOTTO_CPU_AVX2_FMA,
    .forward = embed_forward,
    .inverse = embed_inverse,
    .largest = largest,
    .round = round_scaled,
    .reduce = reduce_whole,
    .add_digits = add_digits,
};

#endif
