/* SPDX-License-Identifier: MIT
 * ChaCha20 (RFC 8439 §2), the labelled PRF, byte streams, system randomness.
 *
 * Constant time: additions, exclusive ors and rotations by fixed amounts; no
 * table, and no branch but on lengths and counters.
 */
#include "base/prng.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/endian_internal.h"
#include "base/hash.h"
#include "base/mem.h"

/* Blocks made at once; the buffer of a stream holds as many. */
#define LANES 4

/* The same word of LANES independent blocks: one SIMD register on any 128-bit
 * unit, by the compiler's own means. */
typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));

/* "expand 32-byte k" */
static const uint32_t sigma[4] = {0x61707865, 0x3320646e, 0x79622d32,
                                  0x6b206574};

/* RFC 8439 §2.1, on LANES blocks. */
#define ROTATE(x, n) ((x) << (n) | (x) >> (32 - (n)))
#define QUARTER_ROUND(a, b, c, d)                                              \
    do {                                                                       \
        a += b;                                                                \
        d = ROTATE(d ^ a, 16);                                                 \
        c += d;                                                                \
        b = ROTATE(b ^ c, 12);                                                 \
        a += b;                                                                \
        d = ROTATE(d ^ a, 8);                                                  \
        c += d;                                                                \
        b = ROTATE(b ^ c, 7);                                                  \
    } while (0)

/* RFC 8439 §2.3: ten column and diagonal rounds, then the input is added. */
static void permute(lanes x[16], const lanes input[16])
{
    memcpy(x, input, 16 * sizeof x[0]);
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
    for (int i = 0; i < 16; i++) {
        x[i] += input[i];
    }
}

/* Words 0..11 of the state: constants and key, the same in all lanes. */
static void set_key(lanes input[16], const uint8_t *key)
{
    const lanes zero = {0};
    for (size_t i = 0; i < 4; i++) {
        input[i] = zero + sigma[i];
    }
    for (size_t i = 0; i < 8; i++) {
        input[4 + i] = zero + sotto_load_le32(key + 4 * i);
    }
}

/* Writes the first n_blocks of the LANES blocks in x. */
static void store(uint8_t *out, const lanes x[16], size_t n_blocks)
{
    for (size_t block = 0; block < n_blocks; block++) {
        for (size_t i = 0; i < 16; i++) {
            sotto_store_le32(out + SOTTO_CHACHA_BLOCK_BYTES * block + 4 * i,
                             x[i][block]);
        }
    }
}

void sotto_chacha20_block(uint8_t *out, const uint8_t *key, uint32_t counter,
                          const uint8_t *nonce)
{
    lanes input[16], x[16];
    const lanes zero = {0};
    set_key(input, key);
    input[12] = zero + counter;
    for (size_t i = 0; i < 3; i++) {
        input[13 + i] = zero + sotto_load_le32(nonce + 4 * i);
    }
    permute(x, input);
    store(out, x, 1);
    sotto_wipe(input, sizeof input);
    sotto_wipe(x, sizeof x);
}

void sotto_chacha20_blocks(uint8_t *out, const sotto_seed *key,
                           uint64_t counter, size_t n_blocks)
{
    lanes input[16], x[16];
    const lanes zero = {0};
    set_key(input, key->bytes);
    input[14] = zero;
    input[15] = zero;
    while (n_blocks > 0) {
        const size_t take = n_blocks < LANES ? n_blocks : LANES;
        for (size_t lane = 0; lane < LANES; lane++) {
            const uint64_t at = counter + lane;
            input[12][lane] = (uint32_t)at;
            input[13][lane] = (uint32_t)(at >> 32);
        }
        permute(x, input);
        store(out, x, take);
        out += take * SOTTO_CHACHA_BLOCK_BYTES;
        counter += take;
        n_blocks -= take;
    }
    sotto_wipe(input, sizeof input);
    sotto_wipe(x, sizeof x);
}

void sotto_prf(sotto_seed *out, const sotto_seed *root, sotto_label label,
               uint64_t object, uint32_t index, uint32_t digit, uint32_t limb)
{
    uint8_t block[SOTTO_CHACHA_BLOCK_BYTES];
    uint8_t middle[SOTTO_SEED_BYTES];
    uint8_t nonce[12];

    sotto_store_le32(nonce, index);
    memcpy(nonce + 4, "sottoPRF", 8);
    sotto_chacha20_block(block, root->bytes, (uint32_t)label, nonce);
    memcpy(middle, block, sizeof middle);

    sotto_store_le32(nonce, limb);
    sotto_store_le64(nonce + 4, object);
    sotto_chacha20_block(block, middle, digit, nonce);
    memcpy(out->bytes, block, sizeof out->bytes);

    sotto_wipe(middle, sizeof middle);
    sotto_wipe(block, sizeof block);
}

void sotto_stream_init(sotto_stream *stream, const sotto_seed *key)
{
    *stream = (sotto_stream){.key = *key};
}

void sotto_stream_read(sotto_stream *stream, uint8_t *out, size_t len_bytes)
{
    const size_t size = sizeof stream->buffer;
    while (len_bytes > 0) {
        if (stream->fill == 0 && len_bytes >= size) {
            /* Whole blocks go straight to where they are wanted. */
            const size_t n_blocks = len_bytes / SOTTO_CHACHA_BLOCK_BYTES;
            const size_t made = n_blocks * SOTTO_CHACHA_BLOCK_BYTES;
            sotto_chacha20_blocks(out, &stream->key, stream->counter, n_blocks);
            stream->counter += n_blocks;
            out += made;
            len_bytes -= made;
            continue;
        }
        if (stream->fill == 0) {
            sotto_chacha20_blocks(stream->buffer, &stream->key, stream->counter,
                                  size / SOTTO_CHACHA_BLOCK_BYTES);
            stream->counter += size / SOTTO_CHACHA_BLOCK_BYTES;
            stream->fill = size;
        }
        const size_t take = len_bytes < stream->fill ? len_bytes : stream->fill;
        memcpy(out, stream->buffer + size - stream->fill, take);
        stream->fill -= take;
        out += take;
        len_bytes -= take;
    }
}

uint64_t sotto_stream_u64(sotto_stream *stream)
{
    uint8_t bytes[8];
    sotto_stream_read(stream, bytes, sizeof bytes);
    return sotto_load_le64(bytes);
}

void sotto_stream_clear(sotto_stream *stream)
{
    sotto_wipe(stream, sizeof *stream);
}

sotto_status sotto_seed_from_system(sotto_seed *out, sotto_error *err)
{
    size_t have = 0;
    while (have < sizeof out->bytes) {
        const ssize_t got =
            getrandom(out->bytes + have, sizeof out->bytes - have, 0);
        if (got > 0) {
            have += (size_t)got;
        } else if (got == 0 || errno != EINTR) {
            const int reason = got == 0 ? 0 : errno;
            sotto_wipe(out, sizeof *out);
            return sotto_fail(err, SOTTO_ERR_RANDOM,
                              "getrandom gave no random bytes (errno %d); "
                              "keys need Linux 3.17 or later",
                              reason);
        }
    }
    return SOTTO_OK;
}

void sotto_seed_from_text(sotto_seed *out, const char *text)
{
    sotto_sha256_of(out->bytes, text, strlen(text));
}
