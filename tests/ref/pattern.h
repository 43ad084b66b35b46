/* SPDX-License-Identifier: MIT
 * Moduli and residues that are hard on reductions: the largest prime of each
 * class, extreme and alternating residues.
 */
#ifndef SOTTO_TESTS_REF_PATTERN_H
#define SOTTO_TESTS_REF_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* Fillings of a row of residues. */
typedef enum ref_pattern {
    REF_ZERO,
    REF_ALL_LARGEST, /* q - 1 everywhere */
    REF_ALTERNATING, /* 0 and q - 1 */
    REF_SPIKE,       /* q - 1 at one place, else 0 */
    REF_RAMP,        /* i mod q */
    REF_HALF_BELOW,  /* (q - 1)/2 everywhere: the largest centred residue */
    REF_HALF_ABOVE,  /* (q + 1)/2 everywhere: the smallest one */
    REF_HALVES,      /* the last two in turn */
    REF_RANDOM,
    REF_PATTERNS
} ref_pattern;

/* Fills n residues of q; seed decides places and random values. */
void ref_fill(uint64_t *a, size_t n, uint64_t q, ref_pattern pattern,
              uint64_t seed);

/* Sizes in bits of the moduli that tests go through: around word sizes and the
 * limits of the classes A, B and C. */
#define REF_SIZES 11
extern const int ref_size_bits[REF_SIZES];

/* The largest prime of that many bits that is 1 modulo 2^(log2_n + 1); 0 when
 * there is none. */
uint64_t ref_prime_of(int bits, int log2_n);

#endif
