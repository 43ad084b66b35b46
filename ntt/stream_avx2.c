/* SPDX-License-Identifier: MIT
 * ChaCha20 blocks with AVX2: the same word of 8 blocks in each register
 * (stream_internal.h).
 */
#include "ntt/simd_internal.h"

#if defined(__AVX2__)

#include <immintrin.h>

#define LANES 8

typedef __m256i vec;

static inline vec vec_all(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm256_add_epi32(a, b);
}

static inline vec vec_xor(vec a, vec b)
{
    return _mm256_xor_si256(a, b);
}

/* Rotations by whole bytes are shuffles, which cost one instruction. */
static inline vec vec_rotate_16(vec v)
{
    return _mm256_shuffle_epi8(v, _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10,
                                                  5, 4, 7, 6, 1, 0, 3, 2, 13,
                                                  12, 15, 14, 9, 8, 11, 10, 5,
                                                  4, 7, 6, 1, 0, 3, 2));
}

static inline vec vec_rotate_8(vec v)
{
    return _mm256_shuffle_epi8(v, _mm256_set_epi8(14, 13, 12, 15, 10, 9, 8, 11,
                                                  6, 5, 4, 7, 2, 1, 0, 3, 14,
                                                  13, 12, 15, 10, 9, 8, 11, 6,
                                                  5, 4, 7, 2, 1, 0, 3));
}

static inline vec vec_rotate_12(vec v)
{
    return _mm256_or_si256(_mm256_slli_epi32(v, 12), _mm256_srli_epi32(v, 20));
}

static inline vec vec_rotate_7(vec v)
{
    return _mm256_or_si256(_mm256_slli_epi32(v, 7), _mm256_srli_epi32(v, 25));
}

/* Numbers of blocks counter, counter + 1, …: low and high halves. */
static inline void vec_count(vec *low, vec *high, uint64_t counter)
{
    const __m256i first = _mm256_set1_epi64x((long long)counter);
    const __m256i a = _mm256_add_epi64(first, _mm256_setr_epi64x(0, 1, 4, 5));
    const __m256i b = _mm256_add_epi64(first, _mm256_setr_epi64x(2, 3, 6, 7));
    *low = _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a),
                                                 _mm256_castsi256_ps(b), 0x88));
    *high = _mm256_castps_si256(_mm256_shuffle_ps(
        _mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xdd));
}

/* 4 × 4 transposition of words in each half: v[i] then holds v[0 … 3] of
 * block i in its low and of block i + 4 in its high half. */
static inline void transpose_4(vec *v)
{
    const vec a = _mm256_unpacklo_epi32(v[0], v[1]);
    const vec b = _mm256_unpackhi_epi32(v[0], v[1]);
    const vec c = _mm256_unpacklo_epi32(v[2], v[3]);
    const vec d = _mm256_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm256_unpacklo_epi64(a, c);
    v[1] = _mm256_unpackhi_epi64(a, c);
    v[2] = _mm256_unpacklo_epi64(b, d);
    v[3] = _mm256_unpackhi_epi64(b, d);
}

/* Writes words x[0 … 15] of 8 blocks as 8 blocks. */
static inline void vec_store_blocks(uint8_t *out, vec *x)
{
    for (int i = 0; i < 16; i += 4) {
        transpose_4(x + i);
    }
    for (size_t i = 0; i < 4; i++) {
        vec *low = (vec *)(void *)(out + 64 * i);
        vec *high = (vec *)(void *)(out + 64 * (i + 4));
        _mm256_storeu_si256(low,
                            _mm256_permute2x128_si256(x[i], x[4 + i], 0x20));
        _mm256_storeu_si256(
            low + 1, _mm256_permute2x128_si256(x[8 + i], x[12 + i], 0x20));
        _mm256_storeu_si256(high,
                            _mm256_permute2x128_si256(x[i], x[4 + i], 0x31));
        _mm256_storeu_si256(
            high + 1, _mm256_permute2x128_si256(x[8 + i], x[12 + i], 0x31));
    }
}

#include "ntt/stream_internal.h"

void ntt_stream_blocks_avx2(uint8_t *out, const sotto_seed *key,
                            uint64_t counter, size_t n_blocks)
{
    make_blocks(out, key, counter, n_blocks);
}

#endif
