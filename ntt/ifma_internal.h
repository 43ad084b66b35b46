/* SPDX-License-Identifier: MIT
 * The AVX-512 IFMA backend's parts and what they share: vectors of eight
 * residues below 2^52 and Montgomery's product with a fixed factor.
 *
 * A fixed factor w is held as W = w·2^52 mod q and W' = W·q^-1 mod 2^52. For
 * any x < 2^52 let m = x·W' mod 2^52; then m·q ≡ x·W (mod 2^52), so the low
 * halves of x·W and m·q are equal and
 *     d = hi(x·W) - hi(m·q) = (x·W - m·q)/2^52 ≡ x·w (mod q)
 * exactly, where hi is the product divided by 2^52, rounded down. Because
 * 0 <= x·W < 2^52·q and 0 <= m·q < 2^52·q:  -q < d < q.
 */
#ifndef SOTTO_NTT_IFMA_INTERNAL_H
#define SOTTO_NTT_IFMA_INTERNAL_H

#include "ntt/kernels.h"

/* The backend (kernels_ifma.c); x86-64 only. Static, immutable. */
extern const ntt_kernels ntt_kernels_ifma;

/* twiddles_ifma.c: ntt_kernels.twiddle_bytes and twiddle_init. */
size_t ntt_twiddle_bytes_ifma(const ntt_table *table);
void ntt_twiddle_init_ifma(void *twiddles, const ntt_table *table);

/* ntt_ifma.c: ntt_kernels.forward, whole and in pieces. */
void ntt_forward_ifma(uint64_t *a, const ntt_table *table);
size_t ntt_forward_parts_ifma(const ntt_table *table);
void ntt_forward_first_ifma(uint64_t *a, const ntt_table *table);
void ntt_forward_part_ifma(uint64_t *a, const ntt_table *table, size_t part,
                           const uint64_t *const soon[2]);

/* inverse_ifma.c: ntt_kernels.inverse, inverse_raised. */
void ntt_inverse_ifma(uint64_t *a, const ntt_table *table, uint64_t scale);
void ntt_inverse_raised_ifma(uint64_t *y, const uint64_t *x,
                             const ntt_table *table, uint64_t scale);

/* sums_ifma.c: ntt_kernels.inner_product, inner_product_turned. */
void ntt_inner_product_ifma(uint64_t *r0, uint64_t *r1,
                            const uint64_t *const *x, const uint64_t *const *y0,
                            const uint64_t *const *y1, size_t k, size_t n,
                            const zq_modulus *mod);
void ntt_inner_product_turned_ifma(uint64_t *r0, uint64_t *r1,
                                   const uint64_t *const *x,
                                   const uint32_t *map,
                                   const uint64_t *const *y0,
                                   const uint64_t *const *y1, size_t k,
                                   size_t n, const zq_modulus *mod);

/* sums_ifma.c: ntt_kernels.switch_product. */
void ntt_switch_product_ifma(uint64_t *r0, uint64_t *r1,
                             const uint64_t *const *x, const uint32_t *map,
                             const uint32_t *const *y0,
                             const uint32_t *const *y1, size_t k, size_t n,
                             const zq_modulus *mod);

/* sums_ifma.c: ntt_kernels.convert. */
void ntt_convert_ifma(uint64_t *r, const uint64_t *const *x,
                      const ntt_convert *constants, size_t n,
                      const zq_modulus *mod);

/* Smaller transforms are left to the portable backend, which has none of
 * these twiddles to read. */
#define IFMA_MIN_LOG2_N 8

/* A block of 64 values is transformed in registers. Its record of twiddles,
 * in words:
 *    0  seven pairs W, W' of the nodes t; 2t, 2t+1; 4t … 4t+3 (ntt_portable.c
 *       has the tree of nodes), two words of padding
 *   16  W of the 8 nodes of blocks of 8 values, in lanes, two vectors
 *   32  W of the 16 nodes of blocks of 4, in lanes, two vectors
 *   48  W of the 32 nodes of blocks of 2, in lanes, four vectors
 * W' of the last three kinds costs less to compute than to load. */
#define IFMA_BLOCK 64
#define IFMA_RECORD_WORDS 80
#define IFMA_RECORD_8 16
#define IFMA_RECORD_4 32
#define IFMA_RECORD_2 48

/* The twiddles of one direction. */
typedef struct ifma_twiddles {
    const uint64_t *top;    /* [2·N/64]: W, W' of node t at 2t, 2t+1 */
    const uint64_t *record; /* [N/64][IFMA_RECORD_WORDS] */
} ifma_twiddles;

/* Where they are in a prepared table. */
static inline ifma_twiddles ifma_twiddles_of(const ntt_table *table,
                                             int is_inverse)
{
    const size_t blocks = table->ring.n / IFMA_BLOCK;
    const uint64_t *words = table->twiddles;
    words += is_inverse ? (2 + IFMA_RECORD_WORDS) * blocks : 0;
    return (ifma_twiddles){words, words + 2 * blocks};
}

/* Into how many parts the pass over a block of len values splits it, 4, 8 or
 * 16, such that blocks of 64 are reached: by 4, 8, 16, 8·4, 8·8, 8·16, 8·8·4, …
 * Parts further apart than 512 bytes would share too few sets of the cache for
 * sixteen. */
static inline size_t ifma_parts(size_t len)
{
    return len == 4 * IFMA_BLOCK ? 4 : len == 16 * IFMA_BLOCK ? 16 : 8;
}

#define IFMA_LOW_BITS (((uint64_t)1 << 52) - 1)

/* q^-1 mod 2^52. */
static inline uint64_t ifma_inverse(uint64_t q)
{
    uint64_t inverse = q; /* right modulo 2^3 for odd q */
    for (int i = 0; i < 5; i++) {
        inverse *= 2 - q * inverse;
    }
    return inverse & IFMA_LOW_BITS;
}

/* W of a fixed factor.   range: w in [0,q) -> [0,q) */
static inline uint64_t ifma_factor(uint64_t w, const zq_modulus *mod)
{
    return zq_reduce_u128((zq_u128)w << 52, mod);
}

/* Whether transforms may let values grow through all layers (class A): they
 * stay below (2·log2 N + 1)·q going forward and below 32·q going back. */
static inline int ifma_is_narrow(const ntt_table *table)
{
    const uint64_t q = table->mod.q;
    return q < ((uint64_t)1 << 47) &&
           (2 * (uint64_t)table->ring.log2_n + 2) * q <= (uint64_t)1 << 52;
}

#if defined(__AVX512IFMA__)
#include <immintrin.h>

/* Before loops over vectors, which are registers only without the loop. */
#define UNROLL _Pragma("GCC unroll 16")

#define IFMA_INLINE inline __attribute__((always_inline))

/* Eight 64-bit lanes. */
typedef __m512i vec;

/* x in every lane. */
static IFMA_INLINE vec vec_set(uint64_t x)
{
    return _mm512_set1_epi64((long long)x);
}

/* Zero in every lane. */
static IFMA_INLINE vec vec_zero(void)
{
    return _mm512_setzero_si512();
}

/* Loads eight words, 64-byte aligned. */
static IFMA_INLINE vec vec_load(const uint64_t *a)
{
    return _mm512_load_si512(a);
}

/* Stores eight words, 64-byte aligned. */
static IFMA_INLINE void vec_store(uint64_t *a, vec x)
{
    _mm512_store_si512(a, x);
}

/* a + b mod 2^64. */
static IFMA_INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_epi64(a, b);
}

/* a - b mod 2^64. */
static IFMA_INLINE vec vec_sub(vec a, vec b)
{
    return _mm512_sub_epi64(a, b);
}

/* a - b as one instruction: gcc would regroup sums of several terms, to three
 * operations where two suffice, but does not look into masked forms. */
static IFMA_INLINE vec vec_sub_as_is(vec a, vec b)
{
    return _mm512_mask_sub_epi64(a, (__mmask8)0xff, a, b);
}

/* The smaller one, unsigned. */
static IFMA_INLINE vec vec_min(vec a, vec b)
{
    return _mm512_min_epu64(a, b);
}

/* acc + (a·b mod 2^52), of the low 52 bits of a and b. */
static IFMA_INLINE vec vec_lo(vec acc, vec a, vec b)
{
    return _mm512_madd52lo_epu64(acc, a, b);
}

/* acc + floor(a·b/2^52), of the low 52 bits of a and b. */
static IFMA_INLINE vec vec_hi(vec acc, vec a, vec b)
{
    return _mm512_madd52hi_epu64(acc, a, b);
}

/* a - b where that is not negative, else a.   range: a < 2^63 */
static IFMA_INLINE vec vec_correct(vec a, vec b)
{
    return vec_min(a, vec_sub(a, b));
}

/* a + b where a is negative, else a.   range: -b <= a < 2^63 */
static IFMA_INLINE vec vec_lift(vec a, vec b)
{
    return vec_min(a, vec_add(a, b));
}

/* A modulus, in all lanes. */
typedef struct ifma_field {
    vec q;
    vec q2;      /* 2q */
    vec inverse; /* q^-1 mod 2^52 */
    vec ratio;   /* floor(2^52/q) */
} ifma_field;

/* The constants of a modulus below 2^50. */
static IFMA_INLINE ifma_field ifma_field_of(const zq_modulus *mod)
{
    return (ifma_field){vec_set(mod->q), vec_set(2 * mod->q),
                        vec_set(ifma_inverse(mod->q)),
                        vec_set(mod->ratio_hi >> 12)};
}

/* acc + x·w, for a factor W, W'.   range: x < 2^52 -> acc + (-q,q) */
static IFMA_INLINE vec ifma_turn(vec acc, vec x, vec w, vec w_low,
                                 const ifma_field *f)
{
    const vec m = vec_lo(vec_zero(), x, w_low);
    return vec_sub_as_is(vec_hi(acc, x, w), vec_hi(vec_zero(), m, f->q));
}

/* W' of W. */
static IFMA_INLINE vec ifma_low(vec w, const ifma_field *f)
{
    return vec_lo(vec_zero(), w, f->inverse);
}

/* x mod q, not fully.   range: x < 2^52 -> [0,2q)
 * t = floor(x·floor(2^52/q)/2^52) has  x/q - 2 < t <= x/q. */
static IFMA_INLINE vec ifma_shrink(vec x, const ifma_field *f)
{
    const vec t = vec_hi(vec_zero(), x, f->ratio);
    return vec_sub(x, vec_lo(vec_zero(), t, f->q));
}

/* Barrett's constants for products of two residues. */
typedef struct ifma_barrett {
    vec shift;   /* 52 - b, b = bits of q */
    vec ratio;   /* floor(2^(b+51)/q) < 2^52 */
    vec minus_q; /* 2^52 - q */
    vec low_bits;
    vec q;
} ifma_barrett;

/* Barrett's constants of a modulus below 2^50. */
static IFMA_INLINE ifma_barrett ifma_barrett_of(const zq_modulus *mod)
{
    return (ifma_barrett){vec_set((uint64_t)(52 - mod->bits)),
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
static IFMA_INLINE vec ifma_multiply(vec acc, vec a, vec b,
                                     const ifma_barrett *k)
{
    const vec t = vec_hi(vec_zero(), _mm512_sllv_epi64(a, k->shift),
                         _mm512_slli_epi64(b, 2));
    const vec u = vec_hi(vec_zero(), t, k->ratio);
    const vec low = vec_lo(acc, a, b);
    return _mm512_and_si512(vec_lo(low, _mm512_srli_epi64(u, 1), k->minus_q),
                            k->low_bits);
}

/* Moves between neighbouring vectors u | v, four pairs, for the layers whose
 * blocks are smaller than a vector. They are chosen for what they cost beside
 * products: vpermt2q nearly as much as one on Zen 4, the others little. */

/* u = u v of the low halves, v = u v of the high halves. */
static IFMA_INLINE void ifma_move_halves(vec x[8])
{
    UNROLL
    for (size_t i = 0; i < 8; i += 2) {
        const vec u = _mm512_shuffle_i64x2(x[i], x[i + 1], 0x44);
        x[i + 1] = _mm512_shuffle_i64x2(x[i], x[i + 1], 0xee);
        x[i] = u;
    }
}

/* u = u u v v of the quarters 0 and 2, v of the quarters 1 and 3. */
static IFMA_INLINE void ifma_move_quarters(vec x[8])
{
    UNROLL
    for (size_t i = 0; i < 8; i += 2) {
        const vec u = _mm512_shuffle_i64x2(x[i], x[i + 1], 0x88);
        x[i + 1] = _mm512_shuffle_i64x2(x[i], x[i + 1], 0xdd);
        x[i] = u;
    }
}

/* Exchanges the quarters 1, 3 of u with the quarters 0, 2 of v. */
static IFMA_INLINE void ifma_swap_quarters(vec x[8])
{
    UNROLL
    for (size_t i = 0; i < 8; i += 2) {
        const vec u =
            _mm512_mask_shuffle_i64x2(x[i], 0xcc, x[i + 1], x[i + 1], 0x80);
        x[i + 1] = _mm512_mask_shuffle_i64x2(x[i + 1], 0x33, x[i], x[i], 0x31);
        x[i] = u;
    }
}

/* Exchanges the odd lanes of u with the even lanes of v. */
static IFMA_INLINE void ifma_move_single(vec x[8])
{
    UNROLL
    for (size_t i = 0; i < 8; i += 2) {
        const vec u = _mm512_unpacklo_epi64(x[i], x[i + 1]);
        x[i + 1] = _mm512_unpackhi_epi64(x[i], x[i + 1]);
        x[i] = u;
    }
}

/* The factors of four pairs from words [2][8]: each vector has those of two
 * pairs, in even and in odd lanes, each of which stands for two lanes. */
static IFMA_INLINE void ifma_lane_factors(vec w[4], vec w_low[4],
                                          const uint64_t *words,
                                          const ifma_field *f)
{
    UNROLL
    for (size_t i = 0; i < 2; i++) {
        const vec both = vec_load(words + 8 * i);
        const vec low = ifma_low(both, f);
        w[2 * i] = _mm512_unpacklo_epi64(both, both);
        w[2 * i + 1] = _mm512_unpackhi_epi64(both, both);
        w_low[2 * i] = _mm512_unpacklo_epi64(low, low);
        w_low[2 * i + 1] = _mm512_unpackhi_epi64(low, low);
    }
}

/* The factors of blocks of two, of four pairs of vectors. */
static IFMA_INLINE void ifma_last_factors(vec w[4], vec w_low[4],
                                          const uint64_t *record,
                                          const ifma_field *f)
{
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        w[i] = vec_load(record + IFMA_RECORD_2 + 8 * i);
        w_low[i] = ifma_low(w[i], f);
    }
}

/* The same factor pair W, W' for each `gap` of four butterflies. */
static IFMA_INLINE void ifma_pair_factors(vec w[4], vec w_low[4], size_t gap,
                                          const uint64_t *pair)
{
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        w[i] = vec_set(pair[i / gap * 2]);
        w_low[i] = vec_set(pair[i / gap * 2 + 1]);
    }
}

#endif
#endif
