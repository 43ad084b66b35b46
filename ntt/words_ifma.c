/* SPDX-License-Identifier: MIT
 * Words of streams and records with AVX-512: eight residues of b bits are b
 * bytes, which one permutation of bytes brings to eight words, or two collect
 * from them (contracts in ntt/kernels.h).
 */
#include "ntt/words_internal.h"

#if defined(__AVX512VBMI__)

#include <immintrin.h>

/* Public words: time may depend on them. */
size_t ntt_keep_below_ifma(uint64_t *out, size_t room, const uint64_t *word,
                           size_t n, const zq_modulus *mod)
{
    const __m512i mask =
        _mm512_set1_epi64((long long)(((uint64_t)1 << mod->bits) - 1));
    const __m512i q = _mm512_set1_epi64((long long)mod->q);
    size_t got = 0, i = 0;
    /* A whole vector is stored, of which only the accepted words count. */
    for (; i + 8 <= n && got + 8 <= room; i += 8) {
        const __m512i x = _mm512_and_si512(_mm512_loadu_si512(word + i), mask);
        const __mmask8 keep = _mm512_cmplt_epu64_mask(x, q);
        _mm512_storeu_si512(out + got, _mm512_maskz_compress_epi64(keep, x));
        got += (size_t)__builtin_popcount(keep);
    }
    return got +
           ntt_keep_below_portable(out + got, room - got, word + i, n - i, mod);
}

/* Where the bits of eight residues of b bits are among b bytes: residue i
 * begins at bit i·b. */
typedef struct layout {
    __m512i shift;  /* bit of the byte in which each residue begins */
    __mmask64 mask; /* b bytes */
} layout;

static layout layout_of(size_t bits)
{
    const __m512i first =
        _mm512_mullo_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7),
                           _mm512_set1_epi64((long long)bits));
    return (layout){_mm512_and_si512(first, _mm512_set1_epi64(7)),
                    ((uint64_t)1 << bits) - 1};
}

/* For each byte of eight words its place among b bytes: byte k of word i is
 * byte ⌊i·b/8⌋ + k, at most ⌊7·50/8⌋ + 7 = 50. */
static __m512i spread_index(size_t bits)
{
    uint8_t at[64];
    for (size_t i = 0; i < 64; i++) {
        at[i] = (uint8_t)(i / 8 * bits / 8 + i % 8);
    }
    return _mm512_loadu_si512(at);
}

/* For each of b bytes, which byte of the words i ≡ parity (mod 2) lies there;
 * *used: which bytes have one. A word takes bytes ⌊i·b/8⌋ … ⌊(i·b+b-1)/8⌋;
 * those of i and i + 2 do not meet, since b >= 8. */
static __m512i collect_index(__mmask64 *used, size_t bits, size_t parity)
{
    uint8_t at[64] = {0};
    *used = 0;
    for (size_t i = parity; i < 8; i += 2) {
        const size_t first = i * bits / 8;
        for (size_t k = first; k <= (i * bits + bits - 1) / 8; k++) {
            at[k] = (uint8_t)(8 * i + k - first);
            *used |= (uint64_t)1 << k;
        }
    }
    return _mm512_loadu_si512(at);
}

void ntt_pack_bits_ifma(uint8_t *out, const uint64_t *a, size_t n,
                        const zq_modulus *mod)
{
    const size_t bits = (size_t)mod->bits;
    if (bits < WORDS_MIN_BITS) {
        ntt_pack_bits_portable(out, a, n, mod);
        return;
    }
    const layout l = layout_of(bits);
    __mmask64 even_used, odd_used;
    const __m512i even = collect_index(&even_used, bits, 0);
    const __m512i odd = collect_index(&odd_used, bits, 1);
    /* Vectors are stored whole, the next one over the end of each, as long as
     * the place has as many bytes. */
    const size_t whole = n / 8 * bits > 64 ? (n / 8 * bits - 64) / bits : 0;
    for (size_t j = 0; j < n / 8; j++, out += bits) {
        const __m512i x =
            _mm512_sllv_epi64(_mm512_loadu_si512(a + 8 * j), l.shift);
        const __m512i bytes =
            _mm512_or_si512(_mm512_maskz_permutexvar_epi8(even_used, even, x),
                            _mm512_maskz_permutexvar_epi8(odd_used, odd, x));
        if (j < whole) {
            _mm512_storeu_si512(out, bytes);
        } else {
            _mm512_mask_storeu_epi8(out, l.mask, bytes);
        }
    }
}

bool ntt_unpack_bits_ifma(uint64_t *out, const uint8_t *in, size_t n,
                          const zq_modulus *mod)
{
    const size_t bits = (size_t)mod->bits;
    const layout l = layout_of(bits);
    const __m512i index = spread_index(bits);
    const __m512i mask =
        _mm512_set1_epi64((long long)(((uint64_t)1 << bits) - 1));
    const __m512i most = _mm512_set1_epi64((long long)(mod->q - 1));
    __m512i too_large = _mm512_setzero_si512(); /* signs of q - 1 - residue */
    for (size_t j = 0; j < n; j += 8, in += bits) {
        const __m512i bytes = _mm512_maskz_loadu_epi8(l.mask, in);
        const __m512i x = _mm512_and_si512(
            _mm512_srlv_epi64(_mm512_permutexvar_epi8(index, bytes), l.shift),
            mask);
        too_large = _mm512_or_si512(too_large, _mm512_sub_epi64(most, x));
        _mm512_storeu_si512(out + j, x);
    }
    return _mm512_movepi64_mask(too_large) == 0;
}

/* Ones of each byte, counted in halves: the table is a register. */
static inline __m512i count_ones(__m512i x)
{
    const __m512i ones = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i low = _mm512_set1_epi8(15);
    return _mm512_add_epi8(
        _mm512_shuffle_epi8(ones, _mm512_and_si512(x, low)),
        _mm512_shuffle_epi8(ones,
                            _mm512_and_si512(_mm512_srli_epi16(x, 4), low)));
}

void ntt_binomial_ifma(int8_t *out, const uint64_t *word, size_t n)
{
    const __m512i field = _mm512_set1_epi64(((long long)1 << 21) - 1);
    const __m512i zero = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m512i x = _mm512_loadu_si512(word + i);
        const __m512i plus =
            _mm512_sad_epu8(count_ones(_mm512_and_si512(x, field)), zero);
        const __m512i minus = _mm512_sad_epu8(
            count_ones(_mm512_and_si512(_mm512_srli_epi64(x, 21), field)),
            zero);
        _mm_storel_epi64((__m128i *)(void *)(out + i),
                         _mm512_cvtepi64_epi8(_mm512_sub_epi64(plus, minus)));
    }
    ntt_binomial_portable(out + i, word + i, n - i);
}

#endif
