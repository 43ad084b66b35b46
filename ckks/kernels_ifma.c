/* SPDX-License-Identifier: MIT
 * Encoding and decoding with AVX-512 (kernels_internal.h).
 */
#include "ckks/kernels_internal.h"

#include "base/cpu.h"

#if defined(__AVX512F__)

#include <immintrin.h>

#include "ckks/loops_internal.h"

#define LANES 8

typedef __m512d vec;

static inline vec vec_load(const double *x)
{
    return _mm512_loadu_pd(x);
}

static inline void vec_store(double *x, vec v)
{
    _mm512_storeu_pd(x, v);
}

static inline vec vec_set(double x)
{
    return _mm512_set1_pd(x);
}

#include "ckks/embed_simd_internal.h"

/* A leaf is two vectors A and B of eight points. Layers inside of them are done
 * between vectors of first and second halves of blocks:
 *
 *   blocks of 8   A0-3 B0-3               A4-7 B4-7
 *   blocks of 4   A01 B01 A45 B45         A23 B23 A67 B67
 *   blocks of 2   A0 A2 B0 B2 A4 A6 B4 B6 A1 A3 B1 B3 A5 A7 B5 B7
 */

/* Lanes index[i] of a (0 … 7) and b (8 … 15). */
#define PICK(a, b, ...)                                                        \
    _mm512_permutex2var_pd(a, _mm512_setr_epi64(__VA_ARGS__), b)

/* Roots of the two blocks of 8, from this node on. */
static inline complexes roots_8(const ckks_embed *embed, size_t node)
{
    const __m512i at = _mm512_setr_epi64(0, 0, 0, 0, 1, 1, 1, 1);
    const __m128d re = _mm_loadu_pd(embed->re + node);
    const __m128d im = _mm_loadu_pd(embed->im + node);
    return (complexes){_mm512_permutexvar_pd(at, _mm512_castpd128_pd512(re)),
                       _mm512_permutexvar_pd(at, _mm512_castpd128_pd512(im))};
}

/* Of the four blocks of 4. */
static inline complexes roots_4(const ckks_embed *embed, size_t node)
{
    const __m512i at = _mm512_setr_epi64(0, 0, 2, 2, 1, 1, 3, 3);
    const __m256d re = _mm256_loadu_pd(embed->re + node);
    const __m256d im = _mm256_loadu_pd(embed->im + node);
    return (complexes){_mm512_permutexvar_pd(at, _mm512_castpd256_pd512(re)),
                       _mm512_permutexvar_pd(at, _mm512_castpd256_pd512(im))};
}

/* Of the eight blocks of 2. */
static inline complexes roots_2(const ckks_embed *embed, size_t node)
{
    const __m512i at = _mm512_setr_epi64(0, 1, 4, 5, 2, 3, 6, 7);
    return (complexes){_mm512_permutexvar_pd(at, vec_load(embed->re + node)),
                       _mm512_permutexvar_pd(at, vec_load(embed->im + node))};
}

static inline void to_8(vec *a, vec *b)
{
    const vec low = _mm512_shuffle_f64x2(*a, *b, 0x44);
    *b = _mm512_shuffle_f64x2(*a, *b, 0xee);
    *a = low;
}

static inline void from_8_to_4(vec *a, vec *b)
{
    const vec low = _mm512_shuffle_f64x2(*a, *b, 0x88);
    *b = _mm512_shuffle_f64x2(*a, *b, 0xdd);
    *a = low;
}

/* From blocks of 4 to blocks of 2, and back. */
static inline void unpack(vec *a, vec *b)
{
    const vec low = _mm512_unpacklo_pd(*a, *b);
    *b = _mm512_unpackhi_pd(*a, *b);
    *a = low;
}

static inline void from_4_to_8(vec *a, vec *b)
{
    const vec low = PICK(*a, *b, 0, 1, 8, 9, 2, 3, 10, 11);
    *b = PICK(*a, *b, 4, 5, 12, 13, 6, 7, 14, 15);
    *a = low;
}

/* From blocks of 2 to the natural order, and back. */
static inline void from_2(vec *a, vec *b)
{
    const vec low = PICK(*a, *b, 0, 8, 1, 9, 4, 12, 5, 13);
    *b = PICK(*a, *b, 2, 10, 3, 11, 6, 14, 7, 15);
    *a = low;
}

static inline void to_2(vec *a, vec *b)
{
    const vec low = PICK(*a, *b, 0, 2, 8, 10, 4, 6, 12, 14);
    *b = PICK(*a, *b, 1, 3, 9, 11, 5, 7, 13, 15);
    *a = low;
}

static inline void leaf_forward(const ckks_embed *embed, double *re, double *im,
                                size_t node)
{
    complexes a = load_at(re, im, 0), b = load_at(re, im, LANES);
    split(&a, &b, root_of(embed, node));
    to_8(&a.re, &b.re);
    to_8(&a.im, &b.im);
    split(&a, &b, roots_8(embed, 2 * node));
    from_8_to_4(&a.re, &b.re);
    from_8_to_4(&a.im, &b.im);
    split(&a, &b, roots_4(embed, 4 * node));
    unpack(&a.re, &b.re);
    unpack(&a.im, &b.im);
    split(&a, &b, roots_2(embed, 8 * node));
    from_2(&a.re, &b.re);
    from_2(&a.im, &b.im);
    store_at(re, im, 0, a);
    store_at(re, im, LANES, b);
}

static inline void leaf_inverse(const ckks_embed *embed, double *re, double *im,
                                size_t node)
{
    complexes a = load_at(re, im, 0), b = load_at(re, im, LANES);
    to_2(&a.re, &b.re);
    to_2(&a.im, &b.im);
    join(&a, &b, roots_2(embed, 8 * node));
    unpack(&a.re, &b.re);
    unpack(&a.im, &b.im);
    join(&a, &b, roots_4(embed, 4 * node));
    from_4_to_8(&a.re, &b.re);
    from_4_to_8(&a.im, &b.im);
    join(&a, &b, roots_8(embed, 2 * node));
    to_8(&a.re, &b.re);
    to_8(&a.im, &b.im);
    join(&a, &b, root_of(embed, node));
    store_at(re, im, 0, a);
    store_at(re, im, LANES, b);
}

const ckks_kernels ckks_kernels_ifma = {
    .cpu_features = SOTTO_CPU_AVX512_IFMA,
    .forward = embed_forward,
    .inverse = embed_inverse,
    .largest = largest,
    .round = round_scaled,
    .reduce = reduce_whole,
    .add_digits = add_digits,
};

#endif
