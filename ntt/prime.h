/* SPDX-License-Identifier: MIT
 * Primes for the ring: test, search, roots of unity.
 *
 * Classes by size, since the fast kernels need room in a machine word:
 *   A  q < 2^47 (2^46 above N = 2^15)   every backend
 *   B  q < 2^50                         every backend, a little slower
 *   C  q < 2^60                         portable only
 * The search emits classes A and B only.
 */
#ifndef SOTTO_NTT_PRIME_H
#define SOTTO_NTT_PRIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "ntt/ring.h"

/* True when q is prime; deterministic Miller-Rabin with the first twelve
 * primes as bases, proved for all 64-bit numbers.
 * source: Sorenson and Webster 2015. */
bool ntt_prime_is(uint64_t q);

/* Finds `count` different primes q ≡ 1 (mod root order of ring), nearest to
 * the integer T nearest to 2^log2_target first (ties: the larger one first),
 * skipping those in avoid[0..n_avoid). log2_target is real, so that a wanted
 * size can be hit; T is computed in integers (to 2^-55 of itself), the same on
 * every machine.
 * range: 2^log2_target in [2·root order, 2^50); all primes are in this range
 * and within a factor of 2 of T. A target of 2^b may give primes just above it,
 * of b + 1 bits.
 * error: SOTTO_ERR_PARAM when log2_target is out of range or there are fewer
 * than count such primes; out is then zeroed. Deterministic. */
sotto_status ntt_prime_search(uint64_t *out, size_t count, const ntt_ring *ring,
                              double log2_target, const uint64_t *avoid,
                              size_t n_avoid,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* The smallest primitive root of unity modulo q of the ring's root order
 * (smallest as an integer), so that every implementation has the same tables.
 * q prime, q ≡ 1 modulo the root order (asserted). */
uint64_t ntt_prime_root(uint64_t q, const ntt_ring *ring);

#endif
