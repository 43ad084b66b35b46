/* SPDX-License-Identifier: MIT
 * Random streams: ChaCha20 (RFC 8439) keyed through a labelled PRF.
 *
 * Every random polynomial has a stream of its own, so that any limb of any key
 * can be made again alone and in any order (SPEC §6):
 *
 *     stream key = PRF(root, label, object id, index, digit, limb)
 *
 * Roots come from the system and are never written to a file; the seeds that
 * are published are children of a root.
 * secret: all functions are constant time in keys and stream content.
 */
#ifndef SOTTO_BASE_PRNG_H
#define SOTTO_BASE_PRNG_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SOTTO_SEED_BYTES 32
#define SOTTO_CHACHA_BLOCK_BYTES 64

/* A 256-bit seed: the key of a PRF or of a stream. */
typedef struct sotto_seed {
    uint8_t bytes[SOTTO_SEED_BYTES];
} sotto_seed;

/* What a stream is for. Values are part of the wire format; never reuse. */
typedef enum sotto_label {
    SOTTO_LABEL_SECRET = 1,    /* ternary secret */
    SOTTO_LABEL_ERROR = 2,     /* error polynomial of a key or ciphertext */
    SOTTO_LABEL_UNIFORM = 3,   /* uniform half; its key may be public */
    SOTTO_LABEL_EPHEMERAL = 4, /* ternary v of public-key encryption */
    SOTTO_LABEL_CHILD = 5,     /* a child seed */
    SOTTO_LABEL_KEY_ID = 6,    /* public random identity of a key */
    SOTTO_LABEL_TRAIN = 7,     /* training: shuffling, initial weights */
    SOTTO_LABEL_TEST = 8       /* tests and benchmarks */
} sotto_label;

/* One ChaCha20 block: key, 32-bit block counter, 96-bit nonce (RFC 8439
 * §2.3). out: 64 bytes. */
void sotto_chacha20_block(uint8_t *out, const uint8_t *key, uint32_t counter,
                          const uint8_t *nonce);

/* n_blocks consecutive key stream blocks for counters counter, counter+1, …
 * with nonce 0; the counter is 64 bit here: its low half is RFC 8439's counter,
 * its high half the first nonce word. out: n_blocks · 64 bytes. */
void sotto_chacha20_blocks(uint8_t *out, const sotto_seed *key,
                           uint64_t counter, size_t n_blocks);

/* Domain-separated derivation of a seed.
 * math: with Block(key, counter, nonce) = sotto_chacha20_block, numbers little
 * endian and || putting bytes side by side,
 *
 *     middle = first 32 bytes of Block(root, label, u32 index || "sottoPRF")
 *     out    = first 32 bytes of Block(middle, digit, u32 limb || u64 object)
 *
 * Two steps, since one block takes 16 bytes of input and there are 24. The tag
 * keeps the first step apart from the streams, whose nonce ends in 8 zero
 * bytes: a seed may be root and stream key at once. Different (label, object,
 * index, digit, limb) give independent seeds.
 * alias: out may equal root. */
void sotto_prf(sotto_seed *out, const sotto_seed *root, sotto_label label,
               uint64_t object, uint32_t index, uint32_t digit, uint32_t limb);

/* The blocks of one key in order, from counter 0, read as bytes. */
typedef struct sotto_stream {
    sotto_seed key;
    uint64_t counter; /* next block to make */
    size_t fill;      /* unread bytes at the end of buffer */
    uint8_t buffer[4 * SOTTO_CHACHA_BLOCK_BYTES];
} sotto_stream;

/* Starts the stream of key at its first byte. */
void sotto_stream_init(sotto_stream *stream, const sotto_seed *key);

/* The next len_bytes bytes. */
void sotto_stream_read(sotto_stream *stream, uint8_t *out, size_t len_bytes);

/* The next 8 bytes as a little-endian number. */
uint64_t sotto_stream_u64(sotto_stream *stream);

/* Wipes key and buffer. */
void sotto_stream_clear(sotto_stream *stream);

/* A fresh seed from the system (getrandom, blocking until it is ready).
 * error: SOTTO_ERR_RANDOM; out is then zero. */
sotto_status sotto_seed_from_system(sotto_seed *out,
                                    sotto_error *err) SOTTO_MUST_CHECK;

/* A seed from a text such as --seed takes: SHA-256 of its bytes. For tests. */
void sotto_seed_from_text(sotto_seed *out, const char *text);

#endif
