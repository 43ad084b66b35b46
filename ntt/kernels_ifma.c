/* SPDX-License-Identifier: MIT
 * The AVX-512 IFMA backend: moduli below 2^50, eight residues at a time.
 */
#include "ntt/ifma_internal.h"

#if defined(__x86_64__)

#include "base/cpu.h"
#include "ntt/simd_internal.h"
#include "ntt/words_internal.h"

static void add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    const vec q = vec_set(mod->q);
    for (size_t j = 0; j < n; j += 8) {
        const vec sum = vec_add(vec_load(a + j), vec_load(b + j));
        vec_store(r + j, vec_correct(sum, q));
    }
}

static void sub(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    const vec q = vec_set(mod->q);
    for (size_t j = 0; j < n; j += 8) {
        const vec d = vec_sub(vec_load(a + j), vec_load(b + j));
        vec_store(r + j, vec_lift(d, q));
    }
}

static void negate(uint64_t *r, const uint64_t *a, size_t n,
                   const zq_modulus *mod)
{
    const vec q = vec_set(mod->q);
    for (size_t j = 0; j < n; j += 8) {
        /* (0,q], and q for zero */
        vec_store(r + j, vec_correct(vec_sub(q, vec_load(a + j)), q));
    }
}

static void add_scalar(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod)
{
    const vec q = vec_set(mod->q);
    const vec by = vec_set(c);
    for (size_t j = 0; j < n; j += 8) {
        vec_store(r + j, vec_correct(vec_add(vec_load(a + j), by), q));
    }
}

static void mul(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    const ifma_barrett k = ifma_barrett_of(mod);
    for (size_t j = 0; j < n; j += 8) {
        const vec product =
            ifma_multiply(vec_zero(), vec_load(a + j), vec_load(b + j), &k);
        vec_store(r + j, vec_correct(product, k.q));
    }
}

static void mul_add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod)
{
    const ifma_barrett k = ifma_barrett_of(mod);
    const vec q2 = vec_add(k.q, k.q);
    for (size_t j = 0; j < n; j += 8) {
        /* below 3q */
        const vec sum = ifma_multiply(vec_load(r + j), vec_load(a + j),
                                      vec_load(b + j), &k);
        vec_store(r + j, vec_correct(vec_correct(sum, q2), k.q));
    }
}

static void sub_mul(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod)
{
    const ifma_barrett k = ifma_barrett_of(mod);
    for (size_t j = 0; j < n; j += 8) {
        const vec product =
            ifma_multiply(vec_zero(), vec_load(a + j), vec_load(b + j), &k);
        const vec d = vec_sub(vec_load(r + j), vec_correct(product, k.q));
        vec_store(r + j, vec_lift(d, k.q));
    }
}

/* A fixed factor, in all lanes. */
typedef struct factor {
    vec w;
    vec w_low;
} factor;

static IFMA_INLINE factor factor_of(uint64_t c, const zq_modulus *mod)
{
    const uint64_t w = ifma_factor(c, mod);
    return (factor){vec_set(w),
                    vec_set(w * ifma_inverse(mod->q) & IFMA_LOW_BITS)};
}

static void mul_scalar(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod)
{
    const ifma_field f = ifma_field_of(mod);
    const factor by = factor_of(c, mod);
    for (size_t j = 0; j < n; j += 8) {
        const vec d =
            ifma_turn(vec_zero(), vec_load(a + j), by.w, by.w_low, &f);
        vec_store(r + j, vec_lift(d, f.q));
    }
}

static void mul_scalar_add(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                           const zq_modulus *mod)
{
    const ifma_field f = ifma_field_of(mod);
    const factor by = factor_of(c, mod);
    for (size_t j = 0; j < n; j += 8) {
        /* (-q,2q) */
        const vec s =
            ifma_turn(vec_load(r + j), vec_load(a + j), by.w, by.w_low, &f);
        vec_store(r + j, vec_correct(vec_lift(s, f.q), f.q));
    }
}

static void sub_mul_scalar(uint64_t *r, const uint64_t *a, const uint64_t *b,
                           uint64_t c, size_t n, const zq_modulus *mod)
{
    const ifma_field f = ifma_field_of(mod);
    const factor by = factor_of(c, mod);
    for (size_t j = 0; j < n; j += 8) {
        /* (0,2q) */
        const vec x = vec_sub(vec_add(vec_load(a + j), f.q), vec_load(b + j));
        const vec d = ifma_turn(vec_zero(), x, by.w, by.w_low, &f);
        vec_store(r + j, vec_lift(d, f.q));
    }
}

/* How far ahead permute asks for lines: their order is none that the processor
 * guesses, and limbs of a long ciphertext are not in the nearest caches. */
#define PERMUTE_AHEAD 256

/* Automorphisms take every aligned block of eight values to another one
 * (ring.h: they only exchange odd exponents with the same distance): one load
 * and one permutation. Maps are public. */
static void permute(uint64_t *r, const uint64_t *a, const uint32_t *map,
                    size_t n)
{
    for (size_t j = 0; j < n; j += 8) {
        const uint32_t block = map[j] & ~(uint32_t)7;
        const size_t ahead = j + PERMUTE_AHEAD < n ? j + PERMUTE_AHEAD : j;
        _mm_prefetch((const char *)(a + map[ahead]), _MM_HINT_T0);
        const __m256i at = _mm256_loadu_si256((const __m256i *)(map + j));
        const __m256i other =
            _mm256_xor_si256(at, _mm256_set1_epi32((int)block));
        const vec index = _mm512_cvtepu32_epi64(at);
        /* Indices into one block differ from it in the lowest three bits. */
        if (_mm256_test_epi32_mask(other, _mm256_set1_epi32(~7)) == 0) {
            vec_store(r + j,
                      _mm512_permutexvar_epi64(index, vec_load(a + block)));
        } else {
            vec_store(r + j, _mm512_i64gather_epi64(index, a, 8));
        }
    }
}

const ntt_kernels ntt_kernels_ifma = {
    .name = "ifma",
    .cpu_features = SOTTO_CPU_AVX512_IFMA | SOTTO_CPU_AVX512_VNNI,
    .max_q_bits = 50,
    .twiddle_bytes = ntt_twiddle_bytes_ifma,
    .twiddle_init = ntt_twiddle_init_ifma,
    .forward = ntt_forward_ifma,
    .forward_parts = ntt_forward_parts_ifma,
    .forward_first = ntt_forward_first_ifma,
    .forward_part = ntt_forward_part_ifma,
    .inverse = ntt_inverse_ifma,
    .inverse_raised = ntt_inverse_raised_ifma,
    .add = add,
    .sub = sub,
    .negate = negate,
    .mul = mul,
    .mul_add = mul_add,
    .sub_mul = sub_mul,
    .mul_scalar = mul_scalar,
    .mul_scalar_add = mul_scalar_add,
    .add_scalar = add_scalar,
    .inner_product = ntt_inner_product_ifma,
    .switch_product = ntt_switch_product_ifma,
    .inner_product_turned = ntt_inner_product_turned_ifma,
    .convert = ntt_convert_ifma,
    .sub_mul_scalar = sub_mul_scalar,
    .permute = permute,
    .gemm = ntt_gemm_ifma,
    .gemm_scratch = ntt_gemm_scratch_ifma,
    .gemm_pack = ntt_gemm_pack_ifma,
    .gemm_run = ntt_gemm_run_ifma,
    .gemm_packed_bytes = ntt_gemm_packed_bytes_ifma,
    .gemm_run_scratch = ntt_gemm_run_scratch_ifma,
    .stream_blocks = ntt_stream_blocks_ifma,
    .keep_below = ntt_keep_below_ifma,
    .pack_bits = ntt_pack_bits_ifma,
    .unpack_bits = ntt_unpack_bits_ifma,
    .binomial = ntt_binomial_ifma,
};

#endif
