/* SPDX-License-Identifier: MIT
 * ChaCha20 (RFC 8439 §2) for the SIMD backends, written once for vectors of
 * LANES blocks. An including file defines LANES, the type vec and the vec_*
 * functions used here, then includes this.
 *
 * Constant time: additions, exclusive ors, rotations by fixed amounts, and no
 * branch but on lengths.
 */
#ifndef SOTTO_NTT_STREAM_INTERNAL_H
#define SOTTO_NTT_STREAM_INTERNAL_H

#include <string.h>

#include "base/mem.h"

#define QUARTER_ROUND(a, b, c, d)                                              \
    do {                                                                       \
        a = vec_add(a, b);                                                     \
        d = vec_rotate_16(vec_xor(d, a));                                      \
        c = vec_add(c, d);                                                     \
        b = vec_rotate_12(vec_xor(b, c));                                      \
        a = vec_add(a, b);                                                     \
        d = vec_rotate_8(vec_xor(d, a));                                       \
        c = vec_add(c, d);                                                     \
        b = vec_rotate_7(vec_xor(b, c));                                       \
    } while (0)

/* Blocks counter … counter + LANES - 1. word: the state but for the counter. */
static inline void make_lanes(uint8_t *out, const uint32_t *word,
                              uint64_t counter)
{
    vec x[16], low, high;
    vec_count(&low, &high, counter);
    for (int i = 0; i < 12; i++) {
        x[i] = vec_all(word[i]);
    }
    x[12] = low;
    x[13] = high;
    x[14] = x[15] = vec_all(0);
    for (int i = 0; i < 10; i++) {
        QUARTER_ROUND(x[0], x[4], x[8], x[12]);
        QUARTER_ROUND(x[1], x[5], x[9], x[13]);
        QUARTER_ROUND(x[2], x[6], x[10], x[14]);
        QUARTER_ROUND(x[3], x[7], x[11], x[15]);
        QUARTER_ROUND(x[0], x[5], x[10], x[15]);
        QUARTER_ROUND(x[1], x[6], x[11], x[12]);
        QUARTER_ROUND(x[2], x[7], x[8], x[13]);
        QUARTER_ROUND(x[3], x[4], x[9], x[14]);
    }
    for (int i = 0; i < 12; i++) {
        x[i] = vec_add(x[i], vec_all(word[i]));
    }
    x[12] = vec_add(x[12], low);
    x[13] = vec_add(x[13], high);
    vec_store_blocks(out, x);
}

/* ntt_kernels.stream_blocks. */
static void make_blocks(uint8_t *out, const sotto_seed *key, uint64_t counter,
                        size_t n_blocks)
{
    /* "expand 32-byte k", then the key. */
    uint32_t word[12] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(word + 4, key->bytes, 32); /* little endian, as the processor */
    for (; n_blocks >= LANES; n_blocks -= LANES) {
        make_lanes(out, word, counter);
        out += LANES * SOTTO_CHACHA_BLOCK_BYTES;
        counter += LANES;
    }
    if (n_blocks > 0) {
        uint8_t rest[LANES * SOTTO_CHACHA_BLOCK_BYTES];
        make_lanes(rest, word, counter);
        memcpy(out, rest, n_blocks * SOTTO_CHACHA_BLOCK_BYTES);
        sotto_wipe(rest, sizeof rest);
    }
    sotto_wipe(word, sizeof word);
}

#endif
