/* SPDX-License-Identifier: MIT
 * Words of streams and records: the entries keep_below, pack_bits, unpack_bits
 * and binomial of ntt/kernels.h, and what their versions share.
 */
#ifndef SOTTO_NTT_WORDS_INTERNAL_H
#define SOTTO_NTT_WORDS_INTERNAL_H

#include "ntt/kernels.h"

/* Narrower residues share bytes with more than one neighbour on each side;
 * only portable code packs them. */
#define WORDS_MIN_BITS 8

/* Ones among bits 0..k-1 less ones among bits k..2k-1 of x, k = 21
 * (NTT_ERROR_K). Bits are counted by adding fields in parallel, since a table
 * or a library call may read memory at secret addresses. */
static inline int8_t ntt_words_binomial(uint64_t x)
{
    const uint64_t field = ((uint64_t)1 << 21) - 1;
    uint64_t y = (x & field) | (x >> 21 & field) << 32;
    y = y - (y >> 1 & 0x5555555555555555u);
    y = (y & 0x3333333333333333u) + (y >> 2 & 0x3333333333333333u);
    y = (y + (y >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    y += y >> 8;
    y += y >> 16; /* the count of each half is now in its lowest byte */
    return (int8_t)((int)(y & 63) - (int)(y >> 32 & 63));
}

/* words_portable.c */
size_t ntt_keep_below_portable(uint64_t *out, size_t room, const uint64_t *word,
                               size_t n, const zq_modulus *mod);
void ntt_pack_bits_portable(uint8_t *out, const uint64_t *a, size_t n,
                            const zq_modulus *mod);
bool ntt_unpack_bits_portable(uint64_t *out, const uint8_t *in, size_t n,
                              const zq_modulus *mod);
void ntt_binomial_portable(int8_t *out, const uint64_t *word, size_t n);

/* words_avx2.c: needs AVX2; moduli below 2^50. */
size_t ntt_keep_below_avx2(uint64_t *out, size_t room, const uint64_t *word,
                           size_t n, const zq_modulus *mod);
void ntt_pack_bits_avx2(uint8_t *out, const uint64_t *a, size_t n,
                        const zq_modulus *mod);
bool ntt_unpack_bits_avx2(uint64_t *out, const uint8_t *in, size_t n,
                          const zq_modulus *mod);
void ntt_binomial_avx2(int8_t *out, const uint64_t *word, size_t n);

/* words_ifma.c: needs AVX-512 F, BW, DQ, VL and VBMI; moduli below 2^50. */
size_t ntt_keep_below_ifma(uint64_t *out, size_t room, const uint64_t *word,
                           size_t n, const zq_modulus *mod);
void ntt_pack_bits_ifma(uint8_t *out, const uint64_t *a, size_t n,
                        const zq_modulus *mod);
bool ntt_unpack_bits_ifma(uint64_t *out, const uint8_t *in, size_t n,
                          const zq_modulus *mod);
void ntt_binomial_ifma(int8_t *out, const uint64_t *word, size_t n);

#endif
