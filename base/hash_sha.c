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

/* The eight variables. */
typedef struct variables {
    __m128i abef, cdgh;
} variables;

static inline variables load_state(const uint32_t *state)
{
    return (variables){_mm_set_epi32((int)state[0], (int)state[1],
                                     (int)state[4], (int)state[5]),
                       _mm_set_epi32((int)state[2], (int)state[3],
                                     (int)state[6], (int)state[7])};
}

static inline void store_state(uint32_t *state, variables v)
{
    state[0] = (uint32_t)_mm_extract_epi32(v.abef, 3);
    state[1] = (uint32_t)_mm_extract_epi32(v.abef, 2);
    state[2] = (uint32_t)_mm_extract_epi32(v.cdgh, 3);
    state[3] = (uint32_t)_mm_extract_epi32(v.cdgh, 2);
    state[4] = (uint32_t)_mm_extract_epi32(v.abef, 1);
    state[5] = (uint32_t)_mm_extract_epi32(v.abef, 0);
    state[6] = (uint32_t)_mm_extract_epi32(v.cdgh, 1);
    state[7] = (uint32_t)_mm_extract_epi32(v.cdgh, 0);
}

/* One block of each of n_lanes hashes, step by step side by side: each round
 * waits for the one before, so that a second hash fills the gaps.
 * n_lanes is a constant where this is inlined. */
__attribute__((always_inline)) static inline void
take_block(variables *v, const uint8_t *const *in, const int n_lanes)
{
    variables before[2];
    __m128i w[2][4];
    for (int l = 0; l < n_lanes; l++) {
        before[l] = v[l];
        for (int i = 0; i < 4; i++) {
            w[l][i] = load_words(in[l] + 16 * i);
        }
    }
#define FOUR_ROUNDS(i, t)                                                      \
    for (int l = 0; l < n_lanes; l++) {                                        \
        four_rounds(&v[l].abef, &v[l].cdgh, w[l][i], t);                       \
    }
#define NEXT_WORDS(i)                                                          \
    for (int l = 0; l < n_lanes; l++) {                                        \
        w[l][i] = next_words(w[l][i], w[l][(i + 1) & 3], w[l][(i + 2) & 3],    \
                             w[l][(i + 3) & 3]);                               \
    }
    for (int t = 0; t < 48; t += 16) {
        FOUR_ROUNDS(0, t)
        NEXT_WORDS(0)
        FOUR_ROUNDS(1, t + 4)
        NEXT_WORDS(1)
        FOUR_ROUNDS(2, t + 8)
        NEXT_WORDS(2)
        FOUR_ROUNDS(3, t + 12)
        NEXT_WORDS(3)
    }
    FOUR_ROUNDS(0, 48)
    FOUR_ROUNDS(1, 52)
    FOUR_ROUNDS(2, 56)
    FOUR_ROUNDS(3, 60)
    for (int l = 0; l < n_lanes; l++) {
        v[l].abef = _mm_add_epi32(v[l].abef, before[l].abef);
        v[l].cdgh = _mm_add_epi32(v[l].cdgh, before[l].cdgh);
    }
}

void sotto_sha256_blocks_sha(uint32_t *state, const uint8_t *in,
                             size_t n_blocks)
{
    variables v = load_state(state);
    for (; n_blocks > 0; n_blocks--, in += 64) {
        take_block(&v, &in, 1);
    }
    store_state(state, v);
}

void sotto_sha256_two_sha(uint32_t *state, uint32_t *other_state,
                          const uint8_t *in, const uint8_t *other_in,
                          size_t n_blocks)
{
    variables v[2] = {load_state(state), load_state(other_state)};
    const uint8_t *at[2] = {in, other_in};
    for (; n_blocks > 0; n_blocks--) {
        take_block(v, at, 2);
        at[0] += 64;
        at[1] += 64;
    }
    store_state(state, v[0]);
    store_state(other_state, v[1]);
}

#endif
