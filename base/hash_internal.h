/* SPDX-License-Identifier: MIT
 * SHA-256 on whole blocks, by what the processor has. All give the same state.
 */
#ifndef SOTTO_BASE_HASH_INTERNAL_H
#define SOTTO_BASE_HASH_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

/* §4.2.2: first 32 bits of the fractional parts of the cube roots of the
 * first 64 primes (hash.c). */
extern const uint32_t sotto_sha256_constant[64];

/* Takes n_blocks blocks of 64 bytes into state[8]. */
void sotto_sha256_blocks_portable(uint32_t *state, const uint8_t *in,
                                  size_t n_blocks);

#if defined(__x86_64__)
/* The same with the SHA instructions (hash_sha.c): needs SOTTO_CPU_SHA. */
void sotto_sha256_blocks_sha(uint32_t *state, const uint8_t *in,
                             size_t n_blocks);

/* n_blocks blocks of each of two hashes, which takes little longer than one. */
void sotto_sha256_two_sha(uint32_t *state, uint32_t *other_state,
                          const uint8_t *in, const uint8_t *other_in,
                          size_t n_blocks);
#endif

#endif
