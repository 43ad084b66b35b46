/* SPDX-License-Identifier: MIT
 * Arithmetic modulo q < 2^50 on four doubles at a time, for the AVX2 files.
 *
 * Every double here is an integer of at most 53 bits, so that sums and the
 * steps below are exact: the results do not depend on rounding, except for the
 * quotient, whose rounding only decides which representative comes out.
 *
 * "bound b" means |x| <= b·q. The limit of a modulus is 2^52 / q > 4: a factor
 * may have any bound up to it.
 */
#ifndef SOTTO_NTT_AVX2_INTERNAL_H
#define SOTTO_NTT_AVX2_INTERNAL_H

#include "ntt/kernels.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

#define AVX2_INLINE static inline __attribute__((always_inline))

/* Largest modulus of these kernels, in bits. */
#define AVX2_MAX_Q_BITS 50

/* Adding and subtracting 3·2^51 rounds to the nearest integer what lies within
 * ±2^51: between 2^52 and 2^53 doubles are integers. */
#define AVX2_ROUND 0x1.8p52

/* Adding 2^52 to an integer in [0,2^52) puts it into the low bits. */
#define AVX2_INTEGER 0x1p52

/* A modulus in every lane. */
typedef struct avx2_modulus {
    __m256d q;
    __m256d inverse; /* 1/q, rounded */
} avx2_modulus;

/* A factor w, |w| <= (q-1)/2, and w/q with two roundings. */
typedef struct avx2_factor {
    __m256d w;
    __m256d quotient;
} avx2_factor;

/* q and 1/q in every lane. */
AVX2_INLINE avx2_modulus avx2_modulus_of(const zq_modulus *mod)
{
    const double q = (double)mod->q;
    return (avx2_modulus){_mm256_set1_pd(q), _mm256_set1_pd(1 / q)};
}

/* The centred representative of w as a double.   range: w in [0,q) */
AVX2_INLINE double avx2_centre(uint64_t w, uint64_t q)
{
    return (double)zq_centre(w, q);
}

/* Four factors with their quotients.   range: |w| <= (q-1)/2 */
AVX2_INLINE avx2_factor avx2_factor_of(__m256d w, avx2_modulus m)
{
    return (avx2_factor){w, _mm256_mul_pd(w, m.inverse)};
}

/* The same factor in every lane. */
AVX2_INLINE avx2_factor avx2_factor_set(double w, avx2_modulus m)
{
    return avx2_factor_of(_mm256_set1_pd(w), m);
}

/* The nearest integer.   range: |x·y| < 2^51 */
AVX2_INLINE __m256d avx2_round_product(__m256d x, __m256d y)
{
    const __m256d magic = _mm256_set1_pd(AVX2_ROUND);
    return _mm256_sub_pd(_mm256_fmadd_pd(x, y, magic), magic);
}

/* x·w mod q and y·v mod q, side by side, since one chain alone leaves the
 * multipliers idle.
 * range: bound b <= limit -> bound 1/2 + b/(2·limit), and always below q
 * With h = x·w rounded, l = x·w - h (exact: the low half of a product), t the
 * integer nearest to x·(w/q):
 *   |x·w/q| <= |x|/2 <= 2^51, and w/q has a relative error of 2^-52 (1 + 2^-54)
 *   at most, which |w|/q < 1/2·(1 - 2^-50) makes up for, so
 *   |t - x·w/q| < 1/2 + |x|/2·2^-52 = 1/2 + b/(2·limit) <= 1;
 *   |l| <= 2^47, since |x·w| < 2^101: h - t·q = (x·w - t·q) - l is an integer
 *   below q + 2^47 < 2^53, hence exact, and so is the last sum. */
AVX2_INLINE void avx2_turn_pair(__m256d *x, __m256d *y, avx2_factor w,
                                avx2_factor v, avx2_modulus m)
{
    const __m256d x_t = avx2_round_product(*x, w.quotient);
    const __m256d y_t = avx2_round_product(*y, v.quotient);
    const __m256d x_h = _mm256_mul_pd(*x, w.w);
    const __m256d y_h = _mm256_mul_pd(*y, v.w);
    const __m256d x_l = _mm256_fmsub_pd(*x, w.w, x_h);
    const __m256d y_l = _mm256_fmsub_pd(*y, v.w, y_h);
    *x = _mm256_add_pd(_mm256_fnmadd_pd(x_t, m.q, x_h), x_l);
    *y = _mm256_add_pd(_mm256_fnmadd_pd(y_t, m.q, y_h), y_l);
}

/* x·w mod q; the same for one. */
AVX2_INLINE __m256d avx2_turn(__m256d x, avx2_factor w, avx2_modulus m)
{
    const __m256d t = avx2_round_product(x, w.quotient);
    const __m256d h = _mm256_mul_pd(x, w.w);
    const __m256d l = _mm256_fmsub_pd(x, w.w, h);
    return _mm256_add_pd(_mm256_fnmadd_pd(t, m.q, h), l);
}

/* x mod q.   range: bound b <= limit -> |r| <= (q + 1)/2
 * 1/q has a relative error of 2^-53, so the quotient is off by 1/2 + b·2^-53,
 * and |r| <= q/2 + b·q·2^-53 <= q/2 + 1/2. */
AVX2_INLINE __m256d avx2_reduce(__m256d x, avx2_modulus m)
{
    return _mm256_fnmadd_pd(avx2_round_product(x, m.inverse), m.q, x);
}

/* Integers as doubles.   range: [0,2^52) */
AVX2_INLINE __m256d avx2_double(__m256i x)
{
    const __m256d magic = _mm256_set1_pd(AVX2_INTEGER);
    const __m256d bits = _mm256_or_pd(_mm256_castsi256_pd(x), magic);
    return _mm256_sub_pd(bits, magic);
}

/* The residue of x, as an integer.   range: |x| < q -> [0,q)
 * The sign bit of x decides whether q is added. It is that of a number below
 * zero, never of -0: sums are -0 only where both terms are, and neither loads
 * nor the low half of a product are. */
AVX2_INLINE __m256i avx2_residue(__m256d x, avx2_modulus m)
{
    const __m256d magic = _mm256_set1_pd(AVX2_INTEGER);
    const __m256d magic_q = _mm256_add_pd(magic, m.q);
    const __m256d bits = _mm256_add_pd(x, _mm256_blendv_pd(magic, magic_q, x));
    return _mm256_castpd_si256(_mm256_xor_pd(bits, magic));
}

/* Four residues as doubles. */
AVX2_INLINE __m256d avx2_load(const uint64_t *a)
{
    return avx2_double(_mm256_load_si256((const __m256i *)(const void *)a));
}

/* Stores four residues.   range: |x| < q -> [0,q) */
AVX2_INLINE void avx2_store(uint64_t *a, __m256d x, avx2_modulus m)
{
    _mm256_store_si256((__m256i *)(void *)a, avx2_residue(x, m));
}

/* a·b mod q for two residues.
 * range: [0,q) each -> |r| <= 3/4·q
 * As avx2_turn, but with the quotient from the rounded product h: a·b/q is
 * below q < 2^50, and two roundings move it by less than 1/4. */
AVX2_INLINE __m256d avx2_product(const uint64_t *a, const uint64_t *b,
                                 avx2_modulus m)
{
    const __m256d x = avx2_load(a);
    const __m256d y = avx2_load(b);
    const __m256d h = _mm256_mul_pd(x, y);
    const __m256d l = _mm256_fmsub_pd(x, y, h);
    const __m256d t = avx2_round_product(h, m.inverse);
    return _mm256_add_pd(_mm256_fnmadd_pd(t, m.q, h), l);
}

/* ntt_avx2.c: the entries of the same names in ntt_kernels. */
size_t ntt_twiddle_bytes_avx2(const ntt_table *table);
void ntt_twiddle_init_avx2(void *twiddles, const ntt_table *table);
void ntt_forward_avx2(uint64_t *a, const ntt_table *table);
size_t ntt_forward_parts_avx2(const ntt_table *table);
void ntt_forward_first_avx2(uint64_t *a, const ntt_table *table);
void ntt_forward_part_avx2(uint64_t *a, const ntt_table *table, size_t part,
                           const uint64_t *const soon[2]);
void ntt_inverse_avx2(uint64_t *a, const ntt_table *table, uint64_t scale);

/* sums_avx2.c: likewise. */
void ntt_inner_product_avx2(uint64_t *r0, uint64_t *r1,
                            const uint64_t *const *x, const uint64_t *const *y0,
                            const uint64_t *const *y1, size_t k, size_t n,
                            const zq_modulus *mod);
void ntt_switch_product_avx2(uint64_t *r0, uint64_t *r1,
                             const uint64_t *const *x, const uint32_t *map,
                             const uint32_t *const *y0,
                             const uint32_t *const *y1, size_t k, size_t n,
                             const zq_modulus *mod);
void ntt_inner_product_turned_avx2(uint64_t *r0, uint64_t *r1,
                                   const uint64_t *const *x,
                                   const uint32_t *map,
                                   const uint64_t *const *y0,
                                   const uint64_t *const *y1, size_t k,
                                   size_t n, const zq_modulus *mod);
void ntt_convert_avx2(uint64_t *r, const uint64_t *const *x,
                      const ntt_convert *constants, size_t n,
                      const zq_modulus *mod);

#endif

/* kernels_avx2.c: the backend for processors with AVX2 and FMA, moduli below
 * 2^50; x86-64 builds only. Static, immutable. */
extern const ntt_kernels ntt_kernels_avx2;

#endif
