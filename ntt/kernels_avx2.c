/* SPDX-License-Identifier: MIT
 * The AVX2 backend: moduli below 2^50, on doubles inside each kernel where
 * something is multiplied.
 */
#include "ntt/avx2_internal.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <stdbool.h>
#include <string.h>

#include "base/cpu.h"
#include "ntt/portable_internal.h"
#include "ntt/simd_internal.h"
#include "ntt/words_internal.h"

AVX2_INLINE __m256i load(const uint64_t *a)
{
    return _mm256_load_si256((const __m256i *)(const void *)a);
}

AVX2_INLINE void store(uint64_t *r, __m256i x)
{
    _mm256_store_si256((__m256i *)(void *)r, x);
}

AVX2_INLINE __m256i all(uint64_t x)
{
    return _mm256_set1_epi64x((long long)x);
}

/* x + q where x is negative.   range: (-q,q) -> [0,q) */
AVX2_INLINE __m256i correct(__m256i x, __m256i q)
{
    const __m256d sign = _mm256_castsi256_pd(x);
    const __m256d sum = _mm256_castsi256_pd(_mm256_add_epi64(x, q));
    return _mm256_castpd_si256(_mm256_blendv_pd(sign, sum, sign));
}

static void add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    const __m256i q = all(mod->q);
    for (size_t j = 0; j < n; j += 4) {
        const __m256i less = _mm256_sub_epi64(load(b + j), q);
        store(r + j, correct(_mm256_add_epi64(load(a + j), less), q));
    }
}

static void sub(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    const __m256i q = all(mod->q);
    for (size_t j = 0; j < n; j += 4) {
        store(r + j, correct(_mm256_sub_epi64(load(a + j), load(b + j)), q));
    }
}

static void negate(uint64_t *r, const uint64_t *a, size_t n,
                   const zq_modulus *mod)
{
    const __m256i q = all(mod->q);
    const __m256i zero = _mm256_setzero_si256();
    for (size_t j = 0; j < n; j += 4) {
        store(r + j, correct(_mm256_sub_epi64(zero, load(a + j)), q));
    }
}

static void add_scalar(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod)
{
    const __m256i q = all(mod->q);
    const __m256i less = all(c - mod->q);
    for (size_t j = 0; j < n; j += 4) {
        store(r + j, correct(_mm256_add_epi64(load(a + j), less), q));
    }
}

static void inverse_raised(uint64_t *y, const uint64_t *x,
                           const ntt_table *table, uint64_t scale)
{
    const size_t n = table->ring.n;
    if (y != x) {
        memcpy(y, x, n * sizeof *y);
    }
    ntt_inverse_avx2(y, table, scale);
    add_scalar(y, y, table->mod.q >> 1, n, &table->mod);
}

static void mul(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    for (size_t j = 0; j < n; j += 4) {
        avx2_store(r + j, avx2_product(a + j, b + j, m), m);
    }
}

static void mul_add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    for (size_t j = 0; j < n; j += 4) {
        const __m256d s =
            _mm256_add_pd(avx2_product(a + j, b + j, m), avx2_load(r + j));
        avx2_store(r + j, avx2_reduce(s, m), m);
    }
}

static void sub_mul(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    for (size_t j = 0; j < n; j += 4) {
        const __m256d s =
            _mm256_sub_pd(avx2_load(r + j), avx2_product(a + j, b + j, m));
        avx2_store(r + j, avx2_reduce(s, m), m);
    }
}

static void mul_scalar(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    const avx2_factor w = avx2_factor_set(avx2_centre(c, mod->q), m);
    for (size_t j = 0; j < n; j += 4) {
        avx2_store(r + j, avx2_turn(avx2_load(a + j), w, m), m);
    }
}

static void mul_scalar_add(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                           const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    const avx2_factor w = avx2_factor_set(avx2_centre(c, mod->q), m);
    for (size_t j = 0; j < n; j += 4) {
        const __m256d s =
            _mm256_add_pd(avx2_turn(avx2_load(a + j), w, m), avx2_load(r + j));
        avx2_store(r + j, avx2_reduce(s, m), m);
    }
}

static void sub_mul_scalar(uint64_t *r, const uint64_t *a, const uint64_t *b,
                           uint64_t c, size_t n, const zq_modulus *mod)
{
    const avx2_modulus m = avx2_modulus_of(mod);
    const avx2_factor w = avx2_factor_set(avx2_centre(c, mod->q), m);
    for (size_t j = 0; j < n; j += 4) {
        const __m256d d = _mm256_sub_pd(avx2_load(a + j), avx2_load(b + j));
        avx2_store(r + j, avx2_turn(d, w, m), m);
    }
}

/* True when each aligned four of the map stays together in an aligned four, as
 * in every automorphism. */
static bool keeps_fours(const uint32_t *map, size_t n)
{
    __m256i apart = _mm256_setzero_si256();
    for (size_t j = 0; j < n; j += 8) {
        const __m256i at =
            _mm256_loadu_si256((const __m256i *)(const void *)(map + j));
        const __m256i first = _mm256_shuffle_epi32(at, 0);
        apart = _mm256_or_si256(apart, _mm256_xor_si256(at, first));
    }
    return _mm256_testz_si256(apart, _mm256_set1_epi32(~3)) != 0;
}

/* One load and one shuffle for four residues where that is possible. The map
 * is public. */
static void permute(uint64_t *r, const uint64_t *a, const uint32_t *map,
                    size_t n)
{
    if (!keeps_fours(map, n)) {
        ntt_kernels_portable()->permute(r, a, map, n);
        return;
    }
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    const __m256i halves = _mm256_setr_epi32(0, 1, 0, 1, 0, 1, 0, 1);
    for (size_t j = 0; j < n; j += 4) {
        /* Residue i of the four is words 2i and 2i+1; the shuffle looks at
         * the lowest three bits of an index only. */
        const __m128 at = _mm_loadu_ps((const float *)(const void *)(map + j));
        const __m256i pairs = _mm256_castps_si256(
            _mm256_permutevar_ps(_mm256_broadcast_ps(&at), twice));
        const __m256i word =
            _mm256_or_si256(_mm256_add_epi32(pairs, pairs), halves);
        const __m256i four = load(a + (map[j] & ~(uint32_t)3));
        store(r + j, _mm256_permutevar8x32_epi32(four, word));
    }
}

const ntt_kernels ntt_kernels_avx2 = {
    .name = "avx2",
    .cpu_features = SOTTO_CPU_AVX2_FMA,
    .max_q_bits = AVX2_MAX_Q_BITS,
    .twiddle_bytes = ntt_twiddle_bytes_avx2,
    .twiddle_init = ntt_twiddle_init_avx2,
    .forward = ntt_forward_avx2,
    .forward_parts = ntt_forward_parts_avx2,
    .forward_first = ntt_forward_first_avx2,
    .forward_part = ntt_forward_part_avx2,
    .inverse = ntt_inverse_avx2,
    .inverse_raised = inverse_raised,
    .add = add,
    .sub = sub,
    .negate = negate,
    .mul = mul,
    .mul_add = mul_add,
    .sub_mul = sub_mul,
    .mul_scalar = mul_scalar,
    .mul_scalar_add = mul_scalar_add,
    .add_scalar = add_scalar,
    .inner_product = ntt_inner_product_avx2,
    .switch_product = ntt_switch_product_avx2,
    .inner_product_turned = ntt_inner_product_turned_avx2,
    .convert = ntt_convert_avx2,
    .sub_mul_scalar = sub_mul_scalar,
    .permute = permute,
    .gemm = ntt_gemm_avx2,
    .gemm_scratch = ntt_gemm_scratch_avx2,
    .gemm_pack = ntt_gemm_pack_avx2,
    .gemm_run = ntt_gemm_run_avx2,
    .gemm_packed_bytes = ntt_gemm_packed_bytes_avx2,
    .gemm_run_scratch = ntt_gemm_run_scratch_avx2,
    .stream_blocks = ntt_stream_blocks_avx2,
    .keep_below = ntt_keep_below_avx2,
    .pack_bits = ntt_pack_bits_avx2,
    .unpack_bits = ntt_unpack_bits_avx2,
    .binomial = ntt_binomial_avx2,
};

#endif
