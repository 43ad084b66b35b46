/* SPDX-License-Identifier: MIT
 * Moduli by size: from wanted sizes in bits to primes of a ring.
 */
#ifndef SOTTO_RLWE_MODULI_H
#define SOTTO_RLWE_MODULI_H

#include <stdint.h>

#include "base/status.h"

/* Largest log2 of a modulus that every backend works on at full speed (class
 * A of ntt/prime.h), with room for the search around a target. */
double rlwe_moduli_max_log2(int log2_n);

/* Smallest log2 at which the search finds a handful of primes. */
double rlwe_moduli_min_log2(int log2_n);

/* Finds n different primes for the ring of degree 2^log2_n; modulus i is as
 * near to 2^log2_target[i] as those before it leave free.
 * range: 0 < n <= 96; targets within the two bounds above.
 * error: SOTTO_ERR_PARAM when a target is out of range or primes run out; out
 * is then zeroed. Deterministic. */
sotto_status rlwe_moduli_find(uint64_t *out, int log2_n,
                              const double *log2_target, int n,
                              sotto_error *err) SOTTO_MUST_CHECK;

#endif
