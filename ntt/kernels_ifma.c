/* SPDX-License-Identifier: MIT
 * The AVX-512 IFMA backend: moduli below 2^50, eight residues at a time.
 */
#include "ntt/ifma_internal.h"

#if defined(__x86_64__)

#include "base/cpu.h"
#include "ntt/simd_internal.h"

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

/* Barrett's constants for products of two residues. */
typedef struct barrett {
    vec shift;   /* 52 - b, b = bits of q */
    vec ratio;   /* floor(2^(b+51)/q) < 2^52 */
    vec minus_q; /* 2^52 - q */
    vec low_bits;
    vec q;
} barrett;

static IFMA_INLINE barrett barrett_of(const zq_modulus *mod)
{
    return (barrett){vec_set((uint64_t)(52 - mod->bits)),
                     vec_set(mod->product_ratio >> 11),
                     vec_set(IFMA_LOW_BITS + 1 - mod->q),
                     vec_set(IFMA_LOW_BITS), vec_set(mod->q)};
}

/* acc + a·b mod q, not fully.
 * range: acc, a, b in [0,q) -> acc + [0,2q)
 * With t = floor(a·b/2^(b-2)) < 2^(b+2) <= 2^52 and u = floor(t·ratio/2^52),
 * y = q/2^b in (1/2,1):
 *   u > 2·a·b/q - ratio/2^52 - t/2^52 - 1 > 2·a·b/q - 1/(2y) - y^2 - 1,
 * and 1/(2y) + y^2 <= 3/2, so that floor(u/2) > a·b/q - 5/4 - 1/2: the
 * difference a·b - floor(u/2)·q is in [0,2q), and acc more is below 3q < 2^52:
 * known from its low 52 bits. */
static IFMA_INLINE vec multiply(vec acc, vec a, vec b, const barrett *k)
{
    const vec t = vec_hi(vec_zero(), _mm512_sllv_epi64(a, k->shift),
                         _mm512_slli_epi64(b, 2));
    const vec u = vec_hi(vec_zero(), t, k->ratio);
    const vec low = vec_lo(acc, a, b);
    return _mm512_and_si512(vec_lo(low, _mm512_srli_epi64(u, 1), k->minus_q),
                            k->low_bits);
}

static void mul(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    const barrett k = barrett_of(mod);
    for (size_t j = 0; j < n; j += 8) {
        const vec product =
            multiply(vec_zero(), vec_load(a + j), vec_load(b + j), &k);
        vec_store(r + j, vec_correct(product, k.q));
    }
}

static void mul_add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod)
{
    const barrett k = barrett_of(mod);
    const vec q2 = vec_add(k.q, k.q);
    for (size_t j = 0; j < n; j += 8) {
        /* below 3q */
        const vec sum =
            multiply(vec_load(r + j), vec_load(a + j), vec_load(b + j), &k);
        vec_store(r + j, vec_correct(vec_correct(sum, q2), k.q));
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

/* Automorphisms take every aligned block of eight values to another one
 * (ring.h: they only exchange odd exponents with the same distance): one load
 * and one permutation. Maps are public. */
static void permute(uint64_t *r, const uint64_t *a, const uint32_t *map,
                    size_t n)
{
    for (size_t j = 0; j < n; j += 8) {
        const uint32_t block = map[j] & ~(uint32_t)7;
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

const ntt_kernels *ntt_kernels_ifma(void)
{
    static const ntt_kernels kernels = {
        .name = "ifma",
        .cpu_features = SOTTO_CPU_AVX512_IFMA | SOTTO_CPU_AVX512_VNNI,
        .max_q_bits = 50,
        .twiddle_bytes = ntt_twiddle_bytes_ifma,
        .twiddle_init = ntt_twiddle_init_ifma,
        .forward = ntt_forward_ifma,
        .inverse = ntt_inverse_ifma,
        .add = add,
        .sub = sub,
        .negate = negate,
        .mul = mul,
        .mul_add = mul_add,
        .mul_scalar = mul_scalar,
        .mul_scalar_add = mul_scalar_add,
        .add_scalar = add_scalar,
        .inner_product = ntt_inner_product_ifma,
        .convert = ntt_convert_ifma,
        .sub_mul_scalar = sub_mul_scalar,
        .permute = permute,
        .gemm = ntt_gemm_ifma,
        .gemm_scratch = ntt_gemm_scratch_ifma,
        .stream_blocks = ntt_stream_blocks_ifma,
    };
    return &kernels;
}

#endif
