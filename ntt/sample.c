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
    uint64_t counter = 0;
    size_t got = 0;
    while (got < n) {
        /* Little-endian machines only (words_portable.c asserts it). */
        kernels->stream_blocks((uint8_t *)word, key, counter, CHUNK_BLOCKS);
        counter += CHUNK_BLOCKS;
        got += kernels->keep_below(out + got, n - got, word, CHUNK_WORDS, mod);
    }
}

/* floor(3x/2^64) - 1 */
static inline int8_t ternary_of(uint64_t x)
{
    return (int8_t)((int)zq_mul_hi(3, x) - 1);
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
        kernels->binomial(small, word, CHUNK_WORDS);
        keep_small(out + done, n - done, small, word);
    }
}
