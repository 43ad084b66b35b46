/* SPDX-License-Identifier: MIT
 * A slow CKKS by the definitions, sharing no code with the library: schoolbook
 * products, transforms by sums, the embedding in long double, remainders by %.
 *
 * Polynomials are coefficients, limb by limb: uint64_t[count][n], limb i of the
 * data belonging to modulus id[i]. Only the layouts of library objects are
 * known here (where a ciphertext keeps its residues), none of its functions.
 */
#ifndef SOTTO_TESTS_REF_CKKS_REF_H
#define SOTTO_TESTS_REF_CKKS_REF_H

#include <stddef.h>
#include <stdint.h>

#include "tests/ref/ring.h"

#define CKKS_REF_MAX_LIMBS 16

/* Moduli with the smallest primitive 2n-th root of unity of each. */
typedef struct ckks_ref_ring {
    size_t n;
    int n_moduli;
    uint64_t q[CKKS_REF_MAX_LIMBS];
    uint64_t root[CKKS_REF_MAX_LIMBS];
} ckks_ref_ring;

/* Some moduli of a ring, in order. */
typedef struct ckks_ref_set {
    int count;
    int id[CKKS_REF_MAX_LIMBS];
} ckks_ref_set;

/* The ring of degree n with these moduli; n a power of two. */
ckks_ref_ring ckks_ref_ring_make(size_t n, const uint64_t *q, int n_moduli);

/* a + b, a - b modulo q */
uint64_t ckks_ref_add_mod(uint64_t a, uint64_t b, uint64_t q);
uint64_t ckks_ref_sub_mod(uint64_t a, uint64_t b, uint64_t q);

/* Values in the order of SPEC §4 (position i: at root^(2·brv(i)+1)) to
 * coefficients and back, by sums of n products. One limb. */
void ckks_ref_from_values(const ckks_ref_ring *ring, int id, uint64_t *a,
                          const uint64_t *values);
void ckks_ref_to_values(const ckks_ref_ring *ring, int id, uint64_t *values,
                        const uint64_t *a);

/* r = r + a·b in Z_q[X]/(X^n + 1). One limb. */
void ckks_ref_mul_add(const ckks_ref_ring *ring, int id, uint64_t *r,
                      const uint64_t *a, const uint64_t *b);

/* r = a·s with small coefficients. One limb; r is not a. */
void ckks_ref_mul_small(const ckks_ref_ring *ring, int id, uint64_t *r,
                        const uint64_t *a, const int8_t *small);

/* The centred conversion: out_t = Σ_i centre([a·(F/f_i)^-1]_{f_i})·(F/f_i) for
 * every t of to. */
void ckks_ref_convert(const ckks_ref_ring *ring, const ckks_ref_set *to,
                      uint64_t *out, const ckks_ref_set *from,
                      const uint64_t *a);

/* out = (a - a_M)/M over keep, where M are the moduli of from that keep lacks
 * and a_M is the centred conversion of a from M. */
void ckks_ref_divide(const ckks_ref_ring *ring, const ckks_ref_set *keep,
                     uint64_t *out, const ckks_ref_set *from,
                     const uint64_t *a);

/* The integers in (-Q/2, Q/2) as doubles. */
void ckks_ref_lift(const ckks_ref_ring *ring, const ckks_ref_set *set,
                   long double *out, const uint64_t *a);

/* Slots of a real polynomial: value at e^(iπ/n · 5^j). */
void ckks_ref_embed(size_t n, long double *re, long double *im,
                    const long double *coefficient);

/* The real polynomial with these slots. */
void ckks_ref_unembed(size_t n, long double *coefficient, const long double *re,
                      const long double *im);

#endif
