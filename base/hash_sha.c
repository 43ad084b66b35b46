/* SPDX-License-Identifier: MIT
 * SHA-256 with the SHA instructions of x86-64: two rounds with each
 * sha256rnds2, four words of the schedule with each pair sha256msg1 and
 * sha256msg2.
 */
#include "base/hash_internal.h"

#if defined(__SHA__) && defined(__SSE4_1__)

#include <immintrin.h>

/* Four words of a block, in the order of the schedule. */
static inline __m128i load_words(const uint8_t *in)
{
    const __m128i swap =
        _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)in),
                            swap);
}

/* W[t … t+3] from the sixteen words before them. */
static inline __m128i next_words(__m128i w16, __m128i w12, __m128i w8,
                                 __m128i w4)
{
    const __m128i seventh = _mm_alignr_epi8(w4, w8, 4);
    return _mm_sha256msg2_epu32(
        _mm_add_epi32(_mm_sha256msg1_epu32(w16, w12), seventh), w4);
}

/* Four rounds. The instructions hold the eight variables as (a, b, e, f) and
 * (c, d, g, h), highest lane first. */
static inline void four_rounds(__m128i *abef, __m128i *cdgh, __m128i w, int t)
{
    const __m128i wk = _mm_add_epi32(
        w, _mm_loadu_si128(
               (const __m128i *)(const void *)(sotto_sha256_constant + t)));
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, wk);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

void sotto_sha256_blocks_sha(uint32_t *state, const uint8_t *in,
                             size_t n_blocks)
{
    __m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4],
                                 (int)state[5]);
    __m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6],
                                 (int)state[7]);
    for (; n_blocks > 0; n_blocks--, in += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w0 = load_words(in), w1 = load_words(in + 16);
        __m128i w2 = load_words(in + 32), w3 = load_words(in + 48);
        for (int t = 0; t < 48; t += 16) {
            four_rounds(&abef, &cdgh, w0, t);
            w0 = next_words(w0, w1, w2, w3);
            four_rounds(&abef, &cdgh, w1, t + 4);
            w1 = next_words(w1, w2, w3, w0);
            four_rounds(&abef, &cdgh, w2, t + 8);
            w2 = next_words(w2, w3, w0, w1);
            four_rounds(&abef, &cdgh, w3, t + 12);
            w3 = next_words(w3, w0, w1, w2);
        }
        four_rounds(&abef, &cdgh, w0, 48);
        four_rounds(&abef, &cdgh, w1, 52);
        four_rounds(&abef, &cdgh, w2, 56);
        four_rounds(&abef, &cdgh, w3, 60);
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    state[0] = (uint32_t)_mm_extract_epi32(abef, 3);
    state[1] = (uint32_t)_mm_extract_epi32(abef, 2);
    state[2] = (uint32_t)_mm_extract_epi32(cdgh, 3);
    state[3] = (uint32_t)_mm_extract_epi32(cdgh, 2);
    state[4] = (uint32_t)_mm_extract_epi32(abef, 1);
    state[5] = (uint32_t)_mm_extract_epi32(abef, 0);
    state[6] = (uint32_t)_mm_extract_epi32(cdgh, 1);
    state[7] = (uint32_t)_mm_extract_epi32(cdgh, 0);
}

#endif
