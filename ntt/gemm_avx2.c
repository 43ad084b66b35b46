/* SPDX-License-Identifier: MIT
 * Integer matrix × residue rows with AVX2: vpmaddwd does 16 products and half
 * of their sums, on up to 12 of 16 registers (gemm_kernel_internal.h).
 */
#include "base/secret.h"
#include "ntt/simd_internal.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

#include "ntt/avx2_internal.h"

#define LANES 4
/* Pairs of a chunk at most: both halves of 3 words are then read from the
 * first-level cache. */
#define MAX_CHUNK 96
/* clang finds registers for fewer sums than gcc does. */
#ifdef __clang__
#define LARGER_TILES(f)
#else
#define LARGER_TILES(f) f(4, 3) f(3, 4)
#endif
#define TILE_KINDS(f)                                                          \
    f(1, 2) f(2, 2) f(3, 2) f(4, 2) f(5, 2) f(1, 3) f(2, 3) f(3, 3) f(1, 4)    \
        f(2, 4) LARGER_TILES(f)
#define VEC_PIN(v) SOTTO_PIN("x", v)

typedef __m256i vec;
typedef __m256d vec_real;
typedef avx2_modulus vec_field;

static inline vec vec_zero(void)
{
    return _mm256_setzero_si256();
}

static inline vec vec_all32(int32_t x)
{
    return _mm256_set1_epi32(x);
}

static inline vec vec_all64(uint64_t x)
{
    return _mm256_set1_epi64x((long long)x);
}

static inline vec vec_load_words(const void *from)
{
    return _mm256_load_si256(from);
}

static inline void vec_store_words(void *to, vec v)
{
    _mm256_store_si256(to, v);
}

static inline vec vec_load(const uint64_t *from)
{
    return _mm256_load_si256((const __m256i *)(const void *)from);
}

/* Past the caches. */
static inline void vec_stream(void *to, vec v)
{
    _mm256_stream_si256(to, v);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm256_add_epi64(a, b);
}

static inline vec vec_shift(vec v, unsigned bits)
{
    return _mm256_sll_epi64(v, _mm_cvtsi32_si128((int)bits));
}

/* x - q where that is not negative, else x.   range: x < 2^63 */
static inline vec vec_correct(vec x, vec q)
{
    const vec r = _mm256_sub_epi64(x, q);
    const vec negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), r);
    return _mm256_add_epi64(r, _mm256_and_si256(q, negative));
}

static inline vec_field vec_field_of(const zq_modulus *mod)
{
    return avx2_modulus_of(mod);
}

/* x·y mod q, in [0,q). */
static inline vec vec_product(const uint64_t *x, const uint64_t *y,
                              const vec_field *by)
{
    return avx2_residue(avx2_product(x, y, *by), *by);
}

/* ---- Words --------------------------------------------------------------- */

static inline vec vec_unpack_low(vec a, vec b)
{
    return _mm256_unpacklo_epi16(a, b);
}

static inline vec vec_unpack_high(vec a, vec b)
{
    return _mm256_unpackhi_epi16(a, b);
}

/* sum + products of 16-bit pairs, in each 32-bit lane. */
static inline vec vec_dot(vec sum, vec a, vec b)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

static inline vec vec_flip_signs(vec words)
{
    return _mm256_xor_si256(words, _mm256_set1_epi16(INT16_MIN));
}

/* The even 16-bit words of a and b in turn, … */
static inline vec vec_even_words(vec a, vec b)
{
    return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
}

/* … the odd ones. */
static inline vec vec_odd_words(vec a, vec b)
{
    return _mm256_blend_epi16(_mm256_srli_epi32(a, 16), b, 0xaa);
}

/* Low 32 bits of the 64-bit lanes: two of a, two of b, in turn, … */
static inline vec vec_even_halves(vec a, vec b)
{
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a),
                                                 _mm256_castsi256_ps(b), 0x88));
}

/* … the high 32 bits. */
static inline vec vec_odd_halves(vec a, vec b)
{
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a),
                                                 _mm256_castsi256_ps(b), 0xdd));
}

/* ---- Sums ---------------------------------------------------------------- */

/* The high half of each 64-bit lane as a signed number, … */
static inline vec vec_widen_high(vec v)
{
    const vec signs = _mm256_srai_epi32(v, 31);
    return _mm256_blend_epi32(_mm256_srli_epi64(v, 32), signs, 0xaa);
}

/* … the low half. */
static inline vec vec_widen_low(vec v)
{
    return vec_widen_high(_mm256_slli_epi64(v, 32));
}

/* Rounded once. The low half fills the end of 2^52; the high half, made
 * unsigned by adding 2^31, the end of 2^84, where one unit is 2^32. Taking off
 * 2^84, the 2^63 added and the 2^52 to come leaves a multiple of 2^32 of at
 * most 2^64: exactly. */
static inline vec_real vec_to_real(vec v)
{
    const vec low =
        _mm256_blend_epi32(v, vec_all64(UINT64_C(0x4330000000000000)), 0xaa);
    const vec high = _mm256_xor_si256(_mm256_srli_epi64(v, 32),
                                      vec_all64(UINT64_C(0x4530000080000000)));
    const vec_real excess = _mm256_set1_pd(0x1p84 + 0x1p63 + 0x1p52);
    return _mm256_add_pd(_mm256_sub_pd(_mm256_castsi256_pd(high), excess),
                         _mm256_castsi256_pd(low));
}

/* 2^16·a + b */
static inline vec_real vec_append_word(vec_real a, vec_real b)
{
    return _mm256_fmadd_pd(a, _mm256_set1_pd(65536.0), b);
}

static inline vec_real vec_inverse(uint64_t q)
{
    return _mm256_set1_pd(1.0 / (double)q);
}

/* a·b mod 2^64 from products of halves. */
static inline vec multiply_low(vec a, vec b)
{
    const vec cross =
        _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(a, 32), b),
                         _mm256_mul_epu32(a, _mm256_srli_epi64(b, 32)));
    return _mm256_add_epi64(_mm256_mul_epu32(a, b),
                            _mm256_slli_epi64(cross, 32));
}

/* total - q·round(size/q), plus q when negative. Adding 3·2^51 rounds what is
 * below 2^51 to an integer and puts it into the low bits. */
static inline vec vec_remainder(vec total, vec_real size, vec q,
                                vec_real inverse)
{
    const vec_real shift = _mm256_set1_pd(0x1.8p52);
    const vec_real t = _mm256_add_pd(_mm256_mul_pd(size, inverse), shift);
    const vec quotient =
        _mm256_sub_epi64(_mm256_castpd_si256(t), _mm256_castpd_si256(shift));
    const vec r = _mm256_sub_epi64(total, multiply_low(quotient, q));
    const vec negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), r);
    return _mm256_add_epi64(r, _mm256_and_si256(q, negative));
}

/* Totals of biased sums (gemm_internal.h). */

/* The low (or high) halves of the 64-bit lanes of a below those of b. */
AVX2_INLINE vec vec_join(vec a, vec b, const int high)
{
    return high ? _mm256_blend_epi32(_mm256_srli_epi64(a, 32), b, 0xaa)
                : _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xaa);
}

/* 2^16 times the low (or high) halves of the 64-bit lanes. */
AVX2_INLINE vec vec_place(vec v, const int high)
{
    const long long skip = 0x0808080808080808;
    const vec at =
        _mm256_add_epi64(vec_all64(high ? UINT64_C(0x8080070605048080)
                                        : UINT64_C(0x8080030201008080)),
                         _mm256_setr_epi64x(0, skip, 0, skip));
    return _mm256_shuffle_epi8(v, at);
}

/* What direct remainders want of a modulus. */
typedef struct vec_direct {
    vec q;
    vec high_q; /* q/2^32, rounded down */
    vec_real inverse;
} vec_direct;

static inline vec_direct vec_direct_of(uint64_t q)
{
    return (vec_direct){vec_all64(q), vec_all64(q >> 32), vec_inverse(q)};
}

/* total mod q.   range: total < 2^62 and below 2^32·q - q
 * As a double, total is off by 2^-53 of itself at most, and 2^52, beyond which
 * only integers are doubles, rounds the quotient to nearest and puts it into
 * the low 32 bits of the sum: off by less than 1/2 + 2^32·2^-51. The remainder
 * is in (-q, q). */
AVX2_INLINE vec vec_direct_remainder(vec total, const vec_direct *by)
{
    const vec low = _mm256_blend_epi32(
        total, vec_all64(UINT64_C(0x4330000000000000)), 0xaa);
    const vec high = _mm256_or_si256(_mm256_srli_epi64(total, 32),
                                     vec_all64(UINT64_C(0x4530000000000000)));
    const vec_real size =
        _mm256_add_pd(_mm256_sub_pd(_mm256_castsi256_pd(high),
                                    _mm256_set1_pd(0x1p84 + 0x1p52)),
                      _mm256_castsi256_pd(low));
    const vec t = _mm256_castpd_si256(
        _mm256_fmadd_pd(size, by->inverse, _mm256_set1_pd(0x1p52)));
    const vec cross = _mm256_slli_epi64(_mm256_mul_epu32(t, by->high_q), 32);
    const vec r = _mm256_sub_epi64(
        _mm256_sub_epi64(total, _mm256_mul_epu32(t, by->q)), cross);
    const vec negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), r);
    return _mm256_add_epi64(r, _mm256_and_si256(by->q, negative));
}

#include "ntt/gemm_kernel_internal.h"

void ntt_gemm_pack_avx2(void *packed, const ntt_gemm *job,
                        const zq_modulus *mod)
{
    pack(packed, job, mod);
}

void ntt_gemm_run_avx2(const void *packed, const ntt_gemm_columns *columns,
                       const zq_modulus *mod, void *scratch)
{
    run(packed, columns, mod, scratch);
}

size_t ntt_gemm_packed_bytes_avx2(const ntt_gemm *job, const zq_modulus *mod)
{
    (void)mod;
    return packed_bytes(job);
}

size_t ntt_gemm_run_scratch_avx2(const ntt_gemm *job, const zq_modulus *mod)
{
    return run_scratch(job->k, mod);
}

size_t ntt_gemm_scratch_avx2(const ntt_gemm *job, const zq_modulus *mod)
{
    return scratch_need(job, mod);
}

void ntt_gemm_avx2(const ntt_gemm *job, const zq_modulus *mod, void *scratch)
{
    multiply(job, mod, scratch);
}

#endif
