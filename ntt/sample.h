/* SPDX-License-Identifier: MIT
 * Samplers: uniform, ternary, centred binomial. Each consumes a ChaCha20
 * stream in a fixed order, so that anybody can make the same polynomial again
 * (SPEC §6.3).
 */
#ifndef SOTTO_NTT_SAMPLE_H
#define SOTTO_NTT_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"
#include "ntt/kernels.h"
#include "ntt/zq.h"

/* Parameter of the error distribution: k = 21, variance k/2 = 10.5,
 * sigma = 3.24. */
#define NTT_ERROR_K 21
#define NTT_ERROR_VARIANCE 10.5

/* n residues uniform in [0,q), by rejection: successive 8-byte little-endian
 * words of the stream of `key`, masked to the bits of q, accepted when < q.
 * math: the same residues serve as coefficients or as NTT values.
 * secret: none (the result and its seed are public; time depends on them). */
void ntt_sample_uniform(uint64_t *out, size_t n, const sotto_seed *key,
                        const zq_modulus *mod, const ntt_kernels *kernels);

/* n coefficients uniform in {-1, 0, 1}, without rejection: from each 8-byte
 * word x of the stream, floor(3x / 2^64) - 1 (bias below 2^-63).
 * secret: out, key. */
void ntt_sample_ternary(int8_t *out, size_t n, const sotto_seed *key,
                        const ntt_kernels *kernels);

/* n coefficients of the centred binomial distribution with k = 21: from each
 * 8-byte word, (ones among bits 0..20) - (ones among bits 21..41).
 * range: out in [-21,21].   secret: out, key. */
void ntt_sample_error(int8_t *out, size_t n, const sotto_seed *key,
                      const ntt_kernels *kernels);

#endif
