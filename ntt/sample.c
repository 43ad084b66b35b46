/* SPDX-License-Identifier: MIT
 * Samplers: uniform, ternary, centred binomial.
 */
#include "ntt/sample.h"

#include "base/mem.h"

/* Blocks made at once: 1 KiB of stream, 128 words. */
#define CHUNK_BLOCKS 16
#define CHUNK_BYTES (CHUNK_BLOCKS * SOTTO_CHACHA_BLOCK_BYTES)
#define CHUNK_WORDS (CHUNK_BYTES / 8)

/* Little-endian word number i of the chunk. */
static inline uint64_t chunk_word(const uint8_t *chunk, size_t i)
{
    uint64_t x = 0;
    for (int b = 7; b >= 0; b--) {
        x = x << 8 | chunk[8 * i + (size_t)b];
    }
    return x;
}

void ntt_sample_uniform(uint64_t *out, size_t n, const sotto_seed *key,
                        const zq_modulus *mod, const ntt_kernels *kernels)
{
    uint8_t chunk[CHUNK_BYTES];
    const uint64_t mask = ((uint64_t)1 << mod->bits) - 1;
    uint64_t counter = 0;
    size_t got = 0;
    while (got < n) {
        kernels->stream_blocks(chunk, key, counter, CHUNK_BLOCKS);
        counter += CHUNK_BLOCKS;
        for (size_t i = 0; i < CHUNK_WORDS && got < n; i++) {
            /* Always stored, kept only when accepted: no branch to guess. */
            out[got] = chunk_word(chunk, i) & mask;
            got += out[got] < mod->q;
        }
    }
}

/* floor(3x/2^64) - 1 */
static int8_t ternary_of(uint64_t x)
{
    return (int8_t)((int)zq_mul_hi(3, x) - 1);
}

/* (ones among bits 0..20) - (ones among bits 21..41). Bits are counted by
 * adding fields in parallel, since a table or a library call may read memory
 * at secret addresses. */
static int8_t binomial_of(uint64_t x)
{
    const uint64_t field = ((uint64_t)1 << NTT_ERROR_K) - 1;
    uint64_t y = (x & field) | (x >> NTT_ERROR_K & field) << 32;
    y = y - (y >> 1 & 0x5555555555555555u);
    y = (y & 0x3333333333333333u) + (y >> 2 & 0x3333333333333333u);
    y = (y + (y >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    y += y >> 8;
    y += y >> 16; /* the count of each half is now in its lowest byte */
    return (int8_t)((int)(y & 63) - (int)(y >> 32 & 63));
}

/* One coefficient from each word of the stream of key. */
static void sample_small(int8_t *out, size_t n, const sotto_seed *key,
                         const ntt_kernels *kernels, int8_t (*map)(uint64_t))
{
    uint8_t chunk[CHUNK_BYTES];
    for (size_t done = 0; done < n; done += CHUNK_WORDS) {
        kernels->stream_blocks(chunk, key, done / 8, CHUNK_BLOCKS);
        for (size_t i = 0; i < CHUNK_WORDS && done + i < n; i++) {
            out[done + i] = map(chunk_word(chunk, i));
        }
    }
    sotto_wipe(chunk, sizeof chunk);
}

void ntt_sample_ternary(int8_t *out, size_t n, const sotto_seed *key,
                        const ntt_kernels *kernels)
{
    sample_small(out, n, key, kernels, ternary_of);
}

void ntt_sample_error(int8_t *out, size_t n, const sotto_seed *key,
                      const ntt_kernels *kernels)
{
    sample_small(out, n, key, kernels, binomial_of);
}
