/* SPDX-License-Identifier: MIT
 * The ring by definition, for tests: sums and products as the textbook writes
 * them, remainders by the % operator, residue systems by the Chinese remainder
 * theorem on large integers. Shares no code with the library.
 */
#ifndef SOTTO_TESTS_REF_RING_H
#define SOTTO_TESTS_REF_RING_H

#include <stddef.h>
#include <stdint.h>

#include "tests/ref/bignum.h"

/* a·b mod q, a^e mod q, a^-1 mod q (q prime) */
uint64_t ref_mul_mod(uint64_t a, uint64_t b, uint64_t q);
uint64_t ref_pow_mod(uint64_t a, uint64_t e, uint64_t q);
uint64_t ref_inv_mod(uint64_t a, uint64_t q);

/* The largest prime below `below` that is 1 modulo `order`, by Fermat tests to
 * several bases; 0 when there is none. */
uint64_t ref_prime_below(uint64_t below, uint64_t order);

/* The smallest x of order exactly `order` (a power of two) modulo q, by trying
 * x = 2, 3, …: for small q only. */
uint64_t ref_smallest_root(uint64_t q, uint64_t order);

/* The value of the polynomial a (n coefficients) at x. */
uint64_t ref_evaluate(const uint64_t *a, size_t n, uint64_t x, uint64_t q);

/* What position i of the transformed a holds: a(psi^(2·brv(i)+1)). */
uint64_t ref_ntt_at(const uint64_t *a, int log2_n, size_t i, uint64_t psi,
                    uint64_t q);

/* r = a·b mod (X^n + 1, q), schoolbook; r is neither a nor b. */
void ref_mul_poly(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                  uint64_t q);

/* r = a(X^galois) mod (X^n + 1, q); r is not a. */
void ref_automorphism(uint64_t *r, const uint64_t *a, size_t n, uint64_t galois,
                      uint64_t q);

/* The product of k moduli. */
void ref_product(ref_big *r, const uint64_t *q, size_t k);

/* The centred integer that has the residues x[i] modulo q[i]. */
void ref_crt(ref_big *r, const uint64_t *x, const uint64_t *q, size_t k);

/* What base conversion lifts the residues x[i] modulo q[i] to:
 * Σ_i centre([x_i·(Q/q_i)^-1]_{q_i})·(Q/q_i), an integer. */
void ref_lift(ref_big *r, const uint64_t *x, const uint64_t *q, size_t k);

/* A reproducible sequence of 64-bit numbers (splitmix64). */
uint64_t ref_random(uint64_t *state);

#endif
