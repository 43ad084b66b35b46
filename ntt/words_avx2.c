/* SPDX-License-Identifier: MIT
 * Words of streams and records with AVX2: two residues of b bits at a time lie
 * in 16 bytes (contracts in ntt/kernels.h).
 */
#include "ntt/words_internal.h"

#if defined(__AVX2__)

#include <immintrin.h>
#include <string.h>

/* For each set of accepted words of four, the halves of the words in order. */
static const uint8_t kept[16][8] = {
    {0},
    {0, 1},
    {2, 3},
    {0, 1, 2, 3},
    {4, 5},
    {0, 1, 4, 5},
    {2, 3, 4, 5},
    {0, 1, 2, 3, 4, 5},
    {6, 7},
    {0, 1, 6, 7},
    {2, 3, 6, 7},
    {0, 1, 2, 3, 6, 7},
    {4, 5, 6, 7},
    {0, 1, 4, 5, 6, 7},
    {2, 3, 4, 5, 6, 7},
    {0, 1, 2, 3, 4, 5, 6, 7},
};

/* Public words: time and addresses may depend on them. */
size_t ntt_keep_below_avx2(uint64_t *out, size_t room, const uint64_t *word,
                           size_t n, const zq_modulus *mod)
{
    const __m256i mask =
        _mm256_set1_epi64x((long long)(((uint64_t)1 << mod->bits) - 1));
    const __m256i q = _mm256_set1_epi64x((long long)mod->q);
    size_t got = 0, i = 0;
    /* A whole vector is stored, of which only the accepted words count. */
    for (; i + 4 <= n && got + 4 <= room; i += 4) {
        const __m256i x = _mm256_and_si256(
            _mm256_loadu_si256((const __m256i *)(const void *)(word + i)),
            mask);
        const int keep =
            _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(q, x)));
        const __m256i order = _mm256_cvtepu8_epi32(
            _mm_loadl_epi64((const __m128i *)(const void *)kept[keep]));
        _mm256_storeu_si256((__m256i *)(void *)(out + got),
                            _mm256_permutevar8x32_epi32(x, order));
        got += (size_t)__builtin_popcount((unsigned)keep);
    }
    return got +
           ntt_keep_below_portable(out + got, room - got, word + i, n - i, mod);
}

/* Residues that portable code packs and unpacks at the end: 16 residues are at
 * least 16 bytes, so that no access of 16 bytes leaves the place. */
#define TAIL ((size_t)16)

static size_t main_part(size_t n, size_t bits)
{
    return bits < WORDS_MIN_BITS || n < TAIL ? 0 : n - TAIL;
}

/* Two residues of b bits among 16 bytes, the first of them from bit `shift` of
 * byte 0 on; 7 + 2·50 bits are no more than 14 bytes. Of every eight residues
 * pair p begins at bit 2·b·p. */
typedef struct pair {
    __m128i shift;  /* of each residue in the byte in which it begins */
    __m128i even;   /* pack: bytes from the first residue … */
    __m128i odd;    /* … and from the second */
    __m128i carry;  /* pack: the byte in which the next pair begins */
    __m128i spread; /* unpack: bytes of each residue */
    size_t first;   /* byte in which the pair begins, of all */
} pair;

static pair pair_of(size_t bits, size_t p)
{
    uint8_t even[16], odd[16], carry[16], spread[16];
    memset(even, 0x80, sizeof even); /* zero bytes */
    memset(odd, 0x80, sizeof odd);
    memset(carry, 0x80, sizeof carry);
    const size_t begin = 2 * bits * p, middle = begin + bits;
    const size_t end = middle + bits;
    const size_t first = begin / 8;
    for (size_t k = first; k <= (middle - 1) / 8; k++) {
        even[k - first] = (uint8_t)(k - first);
    }
    for (size_t k = middle / 8; k <= (end - 1) / 8; k++) {
        odd[k - first] = (uint8_t)(8 + k - middle / 8);
    }
    if (end % 8 != 0) {
        carry[0] = (uint8_t)(end / 8 - first);
    }
    for (size_t k = 0; k < 8; k++) {
        spread[k] = (uint8_t)k;
        spread[8 + k] = (uint8_t)(middle / 8 - first + k);
    }
#define LOAD(x) _mm_loadu_si128((const __m128i *)(const void *)(x))
    return (pair){.shift = _mm_set_epi64x((long long)(middle % 8),
                                          (long long)(begin % 8)),
                  .even = LOAD(even),
                  .odd = LOAD(odd),
                  .carry = LOAD(carry),
                  .spread = LOAD(spread),
                  .first = first};
}

void ntt_pack_bits_avx2(uint8_t *out, const uint64_t *a, size_t n,
                        const zq_modulus *mod)
{
    const size_t bits = (size_t)mod->bits;
    const size_t n_main = main_part(n, bits);
    const pair p[4] = {pair_of(bits, 0), pair_of(bits, 1), pair_of(bits, 2),
                       pair_of(bits, 3)};
    __m128i carry = _mm_setzero_si128(); /* zero where eight residues end */
    for (size_t j = 0; j < n_main; j += 8, out += bits) {
        for (size_t i = 0; i < 4; i++) {
            const __m128i x = _mm_sllv_epi64(LOAD(a + j + 2 * i), p[i].shift);
            /* The carry comes last: each pair waits for it. */
            const __m128i bytes =
                _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(x, p[i].even),
                                          _mm_shuffle_epi8(x, p[i].odd)),
                             carry);
            _mm_storeu_si128((__m128i *)(void *)(out + p[i].first), bytes);
            carry = _mm_shuffle_epi8(bytes, p[i].carry);
        }
    }
    ntt_pack_bits_portable(out, a + n_main, n - n_main, mod);
}

/* Two pairs of one group of eight residues. */
typedef struct two_pairs {
    __m256i shift;
    __m256i spread;
    size_t low, high; /* bytes in which they begin */
} two_pairs;

static two_pairs two_pairs_of(size_t bits, size_t p)
{
    const pair a = pair_of(bits, p), b = pair_of(bits, p + 1);
    return (two_pairs){_mm256_set_m128i(b.shift, a.shift),
                       _mm256_set_m128i(b.spread, a.spread), a.first, b.first};
}

/* Four residues, with bits of the next ones above them. */
static inline __m256i read_four(const uint8_t *in, const two_pairs *p)
{
    const __m256i bytes = _mm256_inserti128_si256(
        _mm256_castsi128_si256(LOAD(in + p->low)), LOAD(in + p->high), 1);
    return _mm256_srlv_epi64(_mm256_shuffle_epi8(bytes, p->spread), p->shift);
}

bool ntt_unpack_bits_avx2(uint64_t *out, const uint8_t *in, size_t n,
                          const zq_modulus *mod)
{
    const size_t bits = (size_t)mod->bits;
    const size_t n_main = main_part(n, bits);
    const two_pairs p[2] = {two_pairs_of(bits, 0), two_pairs_of(bits, 2)};
    const __m256i mask =
        _mm256_set1_epi64x((long long)(((uint64_t)1 << bits) - 1));
    const __m256i most = _mm256_set1_epi64x((long long)(mod->q - 1));
    __m256i too_large = _mm256_setzero_si256(); /* signs of q - 1 - residue */
    for (size_t j = 0; j < n_main; j += 8, in += bits) {
        const __m256i x = _mm256_and_si256(read_four(in, &p[0]), mask);
        const __m256i y = _mm256_and_si256(read_four(in, &p[1]), mask);
        too_large = _mm256_or_si256(too_large, _mm256_sub_epi64(most, x));
        too_large = _mm256_or_si256(too_large, _mm256_sub_epi64(most, y));
        _mm256_storeu_si256((__m256i *)(void *)(out + j), x);
        _mm256_storeu_si256((__m256i *)(void *)(out + j + 4), y);
    }
    return ntt_unpack_bits_portable(out + n_main, in, n - n_main, mod) &&
           _mm256_movemask_pd(_mm256_castsi256_pd(too_large)) == 0;
}

/* The same operations as portable, on four words at a time by the compiler. */
void ntt_binomial_avx2(int8_t *out, const uint64_t *word, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = ntt_words_binomial(word[i]);
    }
}

#endif
