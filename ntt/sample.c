/* SPDX-License-Identifier: MIT
 * Samplers: uniform, ternary, centred binomial.
 */
#include "ntt/sample.h"

#include <string.h>

#include "base/mem.h"

/* Blocks made at once: 1 KiB of stream, 128 words. */
#define CHUNK_BLOCKS 16
#define CHUNK_BYTES (CHUNK_BLOCKS * SOTTO_CHACHA_BLOCK_BYTES)
#define CHUNK_WORDS (CHUNK_BYTES / 8)

/* The next words of a stream: blocks counter … counter + CHUNK_BLOCKS - 1. */
static void next_words(uint64_t *word, const sotto_seed *key, uint64_t counter,
                       const ntt_kernels *kernels)
{
    uint8_t chunk[CHUNK_BYTES];
    kernels->stream_blocks(chunk, key, counter, CHUNK_BLOCKS);
    memcpy(word, chunk, sizeof chunk); /* little-endian machines only */
    sotto_wipe(chunk, sizeof chunk);
}

void ntt_sample_uniform(uint64_t *out, size_t n, const sotto_seed *key,
                        const zq_modulus *mod, const ntt_kernels *kernels)
{
    uint64_t word[CHUNK_WORDS];
    const uint64_t mask = ((uint64_t)1 << mod->bits) - 1;
    uint64_t counter = 0;
    size_t got = 0;
    while (got < n) {
        next_words(word, key, counter, kernels);
        counter += CHUNK_BLOCKS;
        for (size_t i = 0; i < CHUNK_WORDS && got < n; i++) {
            /* Always stored, kept only when accepted: no branch to guess. */
            const uint64_t x = word[i] & mask;
            out[got] = x;
            got += x < mod->q;
        }
    }
}

/* floor(3x/2^64) - 1 */
static inline int8_t ternary_of(uint64_t x)
{
    return (int8_t)((int)zq_mul_hi(3, x) - 1);
}

/* (ones among bits 0..20) - (ones among bits 21..41). Bits are counted by
 * adding fields in parallel, since a table or a library call may read memory
 * at secret addresses. */
static inline int8_t binomial_of(uint64_t x)
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

/* Writes the first `count` of CHUNK_WORDS small coefficients and wipes. */
static void keep_small(int8_t *out, size_t count, int8_t *small, uint64_t *word)
{
    memcpy(out, small, count < CHUNK_WORDS ? count : CHUNK_WORDS);
    sotto_wipe(small, CHUNK_WORDS);
    sotto_wipe(word, CHUNK_BYTES);
}

void ntt_sample_ternary(int8_t *out, size_t n, const sotto_seed *key,
                        const ntt_kernels *kernels)
{
    for (size_t done = 0; done < n; done += CHUNK_WORDS) {
        uint64_t word[CHUNK_WORDS];
        int8_t small[CHUNK_WORDS];
        next_words(word, key, done / 8, kernels);
        for (size_t i = 0; i < CHUNK_WORDS; i++) {
            small[i] = ternary_of(word[i]);
        }
        keep_small(out + done, n - done, small, word);
    }
}

void ntt_sample_error(int8_t *out, size_t n, const sotto_seed *key,
                      const ntt_kernels *kernels)
{
    for (size_t done = 0; done < n; done += CHUNK_WORDS) {
        uint64_t word[CHUNK_WORDS];
        int8_t small[CHUNK_WORDS];
        next_words(word, key, done / 8, kernels);
        for (size_t i = 0; i < CHUNK_WORDS; i++) {
            small[i] = binomial_of(word[i]);
        }
        keep_small(out + done, n - done, small, word);
    }
}
