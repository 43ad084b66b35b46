/* SPDX-License-Identifier: MIT
 * SHA-256 (FIPS 180-4), for identities and record checksums.
 */
#ifndef SOTTO_BASE_HASH_H
#define SOTTO_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define SOTTO_HASH_BYTES 32

/* A running hash. */
typedef struct sotto_sha256 {
    uint32_t state[8];
    uint64_t len_bytes;
    uint8_t block[64];
    int engine; /* how whole blocks are taken (hash.c); same result by any */
} sotto_sha256;

/* Starts a hash. */
void sotto_sha256_init(sotto_sha256 *hash);

/* Starts a hash that works as `like` does, whose content does not matter. The
 * first long piece of a hash asks the processor what it can do, which in a
 * virtual machine costs as much as hashing 30 KiB. */
void sotto_sha256_init_like(sotto_sha256 *hash, const sotto_sha256 *like);

/* Asks the processor now: for a hash that others are to be like. */
void sotto_sha256_ask(sotto_sha256 *hash);

/* Adds len_bytes bytes. */
void sotto_sha256_update(sotto_sha256 *hash, const void *data,
                         size_t len_bytes);

/* sotto_sha256_update of two hashes with len_bytes bytes each: where the
 * processor has SHA instructions and both hashes have taken as many bytes, in
 * little more than the time of one. */
void sotto_sha256_update_two(sotto_sha256 *hash, sotto_sha256 *other,
                             const void *data, const void *other_data,
                             size_t len_bytes);

/* Ends the hash; digest: 32 bytes. The state is wiped. */
void sotto_sha256_final(sotto_sha256 *hash, uint8_t *digest);

/* Hash of one block of memory; digest: 32 bytes. */
void sotto_sha256_of(uint8_t *digest, const void *data, size_t len_bytes);

/* Lower-case hexadecimal of len_bytes bytes; text: 2·len_bytes + 1. */
void sotto_hex(char *text, const uint8_t *data, size_t len_bytes);

#endif
