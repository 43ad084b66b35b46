/* SPDX-License-Identifier: MIT
 * ChaCha20 blocks with AVX-512: the same word of 16 blocks in each register
 * (stream_internal.h).
 */
#include "ntt/simd_internal.h"

#if defined(__AVX512F__)

#include <immintrin.h>

#define LANES 16

typedef __m512i vec;

static inline vec vec_all(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm512_add_epi32(a, b);
}

static inline vec vec_xor(vec a, vec b)
{
    return _mm512_xor_si512(a, b);
}

static inline vec vec_rotate_16(vec v)
{
    return _mm512_rol_epi32(v, 16);
}

static inline vec vec_rotate_12(vec v)
{
    return _mm512_rol_epi32(v, 12);
}

static inline vec vec_rotate_8(vec v)
{
    return _mm512_rol_epi32(v, 8);
}

static inline vec vec_rotate_7(vec v)
{
    return _mm512_rol_epi32(v, 7);
}

/* Numbers of blocks counter, counter + 1, …: low and high halves. */
static inline void vec_count(vec *low, vec *high, uint64_t counter)
{
    const __m512i first = _mm512_set1_epi64((long long)counter);
    const __m512i a =
        _mm512_add_epi64(first, _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13));
    const __m512i b =
        _mm512_add_epi64(first, _mm512_setr_epi64(2, 3, 6, 7, 10, 11, 14, 15));
    *low = _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a),
                                                 _mm512_castsi512_ps(b), 0x88));
    *high = _mm512_castps_si512(_mm512_shuffle_ps(
        _mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0xdd));
}

/* 4 × 4 transposition of words in each quarter: v[i] then holds v[0 … 3] of
 * the blocks i, i + 4, i + 8, i + 12 in its quarters. */
static inline void transpose_4(vec *v)
{
    const vec a = _mm512_unpacklo_epi32(v[0], v[1]);
    const vec b = _mm512_unpackhi_epi32(v[0], v[1]);
    const vec c = _mm512_unpacklo_epi32(v[2], v[3]);
    const vec d = _mm512_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm512_unpacklo_epi64(a, c);
    v[1] = _mm512_unpackhi_epi64(a, c);
    v[2] = _mm512_unpacklo_epi64(b, d);
    v[3] = _mm512_unpackhi_epi64(b, d);
}

/* Writes words x[0 … 15] of 16 blocks as 16 blocks. */
static inline void vec_store_blocks(uint8_t *out, vec *x)
{
    for (int i = 0; i < 16; i += 4) {
        transpose_4(x + i);
    }
    for (size_t i = 0; i < 4; i++) {
        /* Quarters of blocks i and i + 4, then of i + 8 and i + 12. */
        const vec a = _mm512_shuffle_i32x4(x[i], x[4 + i], 0x44);
        const vec b = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0x44);
        const vec c = _mm512_shuffle_i32x4(x[i], x[4 + i], 0xee);
        const vec d = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0xee);
        uint8_t *to = out + 64 * i;
        _mm512_storeu_si512(to, _mm512_shuffle_i32x4(a, b, 0x88));
        _mm512_storeu_si512(to + 256, _mm512_shuffle_i32x4(a, b, 0xdd));
        _mm512_storeu_si512(to + 512, _mm512_shuffle_i32x4(c, d, 0x88));
        _mm512_storeu_si512(to + 768, _mm512_shuffle_i32x4(c, d, 0xdd));
    }
}

#include "ntt/stream_internal.h"

void ntt_stream_blocks_ifma(uint8_t *out, const sotto_seed *key,
                            uint64_t counter, size_t n_blocks)
{
    make_blocks(out, key, counter, n_blocks);
}

#endif
