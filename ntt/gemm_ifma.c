/* SPDX-License-Identifier: MIT
 * Integer matrix × residue rows with AVX-512 VNNI: vpdpwssd does 32 products
 * and their sums, on up to 24 of 32 registers (gemm_kernel_internal.h).
 */
#include "base/secret.h"
#include "ntt/simd_internal.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) &&                        \
    defined(__AVX512DQ__) && defined(__AVX512IFMA__)

#include <immintrin.h>

#include "ntt/ifma_internal.h"

#define LANES 8
/* Pairs of a chunk at most; longer ones cost nothing. */
#define MAX_CHUNK SIZE_MAX
#define TILE_KINDS(f)                                                          \
    f(1, 2) f(2, 2) f(3, 2) f(4, 2) f(5, 2) f(6, 2) f(7, 2) f(8, 2) f(1, 3)    \
        f(2, 3) f(3, 3) f(4, 3) f(5, 3) f(6, 3) f(7, 3) f(8, 3) f(1, 4)        \
            f(2, 4) f(3, 4) f(4, 4) f(5, 4) f(6, 4)
#define VEC_PIN(v) SOTTO_PIN("v", v)

typedef __m512d vec_real;
typedef ifma_barrett vec_field;

static inline vec_field vec_field_of(const zq_modulus *mod)
{
    return ifma_barrett_of(mod);
}

/* x·y mod q, in [0,q). */
static inline vec vec_product(const uint64_t *x, const uint64_t *y,
                              const vec_field *by)
{
    return vec_correct(ifma_multiply(vec_zero(), vec_load(x), vec_load(y), by),
                       by->q);
}

static inline vec vec_all32(int32_t x)
{
    return _mm512_set1_epi32(x);
}

static inline vec vec_all64(uint64_t x)
{
    return _mm512_set1_epi64((long long)x);
}

static inline vec vec_load_words(const void *from)
{
    return _mm512_load_si512(from);
}

static inline void vec_store_words(void *to, vec v)
{
    _mm512_store_si512(to, v);
}

/* Past the caches. */
static inline void vec_stream(void *to, vec v)
{
    _mm512_stream_si512(to, v);
}

static inline vec vec_shift(vec v, unsigned bits)
{
    return _mm512_sll_epi64(v, _mm_cvtsi32_si128((int)bits));
}

/* ---- Words --------------------------------------------------------------- */

static inline vec vec_unpack_low(vec a, vec b)
{
    return _mm512_unpacklo_epi16(a, b);
}

static inline vec vec_unpack_high(vec a, vec b)
{
    return _mm512_unpackhi_epi16(a, b);
}

/* sum + products of 16-bit pairs, in each 32-bit lane. */
static inline vec vec_dot(vec sum, vec a, vec b)
{
    return _mm512_dpwssd_epi32(sum, a, b);
}

static inline vec vec_flip_signs(vec words)
{
    return _mm512_xor_si512(words, _mm512_set1_epi16(INT16_MIN));
}

/* The even 16-bit words of a and b in turn, … */
static inline vec vec_even_words(vec a, vec b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16));
}

/* … the odd ones. */
static inline vec vec_odd_words(vec a, vec b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(a, 16), b);
}

/* Low 32 bits of the 64-bit lanes: two of a, two of b, in turn, … */
static inline vec vec_even_halves(vec a, vec b)
{
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a),
                                                 _mm512_castsi512_ps(b), 0x88));
}

/* … the high 32 bits. */
static inline vec vec_odd_halves(vec a, vec b)
{
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a),
                                                 _mm512_castsi512_ps(b), 0xdd));
}

/* ---- Sums ---------------------------------------------------------------- */

/* The low half of each 64-bit lane as a signed number, … */
static inline vec vec_widen_low(vec v)
{
    return _mm512_srai_epi64(_mm512_slli_epi64(v, 32), 32);
}

/* … the high half. */
static inline vec vec_widen_high(vec v)
{
    return _mm512_srai_epi64(v, 32);
}

static inline vec_real vec_to_real(vec v)
{
    return _mm512_cvtepi64_pd(v);
}

/* 2^16·a + b */
static inline vec_real vec_append_word(vec_real a, vec_real b)
{
    return _mm512_fmadd_pd(a, _mm512_set1_pd(65536.0), b);
}

static inline vec_real vec_inverse(uint64_t q)
{
    return _mm512_set1_pd(1.0 / (double)q);
}

/* total - q·round(size/q), plus q when negative. */
static inline vec vec_remainder(vec total, vec_real size, vec q,
                                vec_real inverse)
{
    const vec t =
        _mm512_cvt_roundpd_epi64(_mm512_mul_pd(size, inverse),
                                 _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const vec r = _mm512_sub_epi64(total, _mm512_mullo_epi64(t, q));
    return _mm512_min_epu64(r, _mm512_add_epi64(r, q));
}

/* Totals of biased sums (gemm_internal.h). */

/* The low (or high) halves of the 64-bit lanes of a below those of b. */
static IFMA_INLINE vec vec_join(vec a, vec b, const int high)
{
    const __m512 u = _mm512_castsi512_ps(a);
    const __m512 v = _mm512_castsi512_ps(b);
    return _mm512_castps_si512(high ? _mm512_mask_movehdup_ps(v, 0x5555, u)
                                    : _mm512_mask_moveldup_ps(u, 0xaaaa, v));
}

/* 2^16 times the low (or high) halves of the 64-bit lanes. */
static IFMA_INLINE vec vec_place(vec v, const int high)
{
    const uint64_t low_bytes = UINT64_C(0x8080030201008080);
    const uint64_t high_bytes = UINT64_C(0x8080070605048080);
    const vec at = _mm512_add_epi64(
        vec_all64(high ? high_bytes : low_bytes),
        _mm512_setr_epi64(0, 0x0808080808080808, 0, 0x0808080808080808, 0,
                          0x0808080808080808, 0, 0x0808080808080808));
    return _mm512_shuffle_epi8(v, at);
}

/* Of what is positive. */
#define ROUND_DOWN (_MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)

/* What direct remainders want of a modulus. */
typedef struct vec_direct {
    vec q;
    vec minus_q;      /* 2^52 - q */
    vec_real inverse; /* at most 1/q, by less than 2^-52 of it */
} vec_direct;

static inline vec_direct vec_direct_of(uint64_t q)
{
    const vec_real one = _mm512_set1_pd(1.0);
    const vec_real real_q = _mm512_set1_pd((double)q);
    return (vec_direct){
        vec_all64(q), vec_all64(((uint64_t)1 << 52) - q),
        _mm512_div_round_pd(one, real_q,
                            _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)};
}

/* total mod q.   range: total < 2^62 and below 2^32·q, q < 2^50
 * Rounding down wherever something is rounded, and 2^52, beyond which only
 * integers are doubles, make t = floor(total/q·(1 - e)), 0 <= e < 2^-51, and
 * put it into the low bits of the sum. So total - t·q is in [0, q + 2^-19·q),
 * known from its low 52 bits, of which t·(2^52 - q) has the right ones. */
static IFMA_INLINE vec vec_direct_remainder(vec total, const vec_direct *by)
{
    const vec_real size = _mm512_cvt_roundepi64_pd(total, ROUND_DOWN);
    const vec_real t = _mm512_fmadd_round_pd(
        size, by->inverse, _mm512_set1_pd(0x1p52), ROUND_DOWN);
    const vec r = vec_lo(total, _mm512_castpd_si512(t), by->minus_q);
    return vec_correct(_mm512_and_si512(r, vec_all64(IFMA_LOW_BITS)), by->q);
}

#include "ntt/gemm_kernel_internal.h"

void ntt_gemm_pack_ifma(void *packed, const ntt_gemm *job,
                        const zq_modulus *mod)
{
    pack(packed, job, mod);
}

void ntt_gemm_run_ifma(const void *packed, const ntt_gemm_columns *columns,
                       const zq_modulus *mod, void *scratch)
{
    run(packed, columns, mod, scratch);
}

size_t ntt_gemm_packed_bytes_ifma(const ntt_gemm *job, const zq_modulus *mod)
{
    (void)mod;
    return packed_bytes(job);
}

size_t ntt_gemm_run_scratch_ifma(const ntt_gemm *job, const zq_modulus *mod)
{
    return run_scratch(job->k, mod);
}

size_t ntt_gemm_scratch_ifma(const ntt_gemm *job, const zq_modulus *mod)
{
    return scratch_need(job, mod);
}

void ntt_gemm_ifma(const ntt_gemm *job, const zq_modulus *mod, void *scratch)
{
    multiply(job, mod, scratch);
}

#endif
