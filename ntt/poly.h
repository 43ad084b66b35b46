/* SPDX-License-Identifier: MIT
 * Ring elements over a set of limbs: the loop over limbs around the kernels.
 *
 * All functions: shape uint64_t[set->count][stride] for r, a, b; residues in
 * [0,q); an output may be exactly an input (unless said otherwise). No
 * allocation. secret: constant time in the values.
 */
#ifndef SOTTO_NTT_POLY_H
#define SOTTO_NTT_POLY_H

#include <stddef.h>
#include <stdint.h>

#include "ntt/rns.h"

/* Words of a polynomial over `count` limbs. */
static inline size_t poly_words(const rns_ring *ring, int count)
{
    return (size_t)count * ring->stride;
}

/* Limb i of a polynomial. */
static inline uint64_t *poly_limb(const rns_ring *ring, uint64_t *a, int i)
{
    return a + (size_t)i * ring->stride;
}

/* Limb i of a polynomial that is only read. */
static inline const uint64_t *poly_limb_const(const rns_ring *ring,
                                              const uint64_t *a, int i)
{
    return a + (size_t)i * ring->stride;
}

/* r = 0 */
void poly_zero(const rns_ring *ring, const rns_set *set, uint64_t *r);

/* r = a, padding excluded */
void poly_copy(const rns_ring *ring, const rns_set *set, uint64_t *r,
               const uint64_t *a);

/* Copies the limbs of the subset `set` out of a polynomial over `from`.
 * alias: none. set must be contained in from (asserted). */
void poly_select(const rns_ring *ring, const rns_set *set, uint64_t *r,
                 const rns_set *from, const uint64_t *a);

/* r = a + b;  domain: any, the same for all */
void poly_add(const rns_ring *ring, const rns_set *set, uint64_t *r,
              const uint64_t *a, const uint64_t *b);

/* r = a - b */
void poly_sub(const rns_ring *ring, const rns_set *set, uint64_t *r,
              const uint64_t *a, const uint64_t *b);

/* r = -a */
void poly_negate(const rns_ring *ring, const rns_set *set, uint64_t *r,
                 const uint64_t *a);

/* r = a·b;  domain: NTT */
void poly_mul(const rns_ring *ring, const rns_set *set, uint64_t *r,
              const uint64_t *a, const uint64_t *b);

/* r = r + a·b;  domain: NTT; alias: r is neither a nor b */
void poly_mul_add(const rns_ring *ring, const rns_set *set, uint64_t *r,
                  const uint64_t *a, const uint64_t *b);

/* r = c·a with one residue of the constant per limb.
 * shape: c uint64_t[set->count] */
void poly_mul_scalar(const rns_ring *ring, const rns_set *set, uint64_t *r,
                     const uint64_t *a, const uint64_t *c);

/* r = a + c (a constant polynomial);  domain: NTT, where a constant has the
 * same value everywhere.  shape: c uint64_t[set->count] */
void poly_add_scalar(const rns_ring *ring, const rns_set *set, uint64_t *r,
                     const uint64_t *a, const uint64_t *c);

/* Coefficients -> NTT values, in place. */
void poly_forward(const rns_ring *ring, const rns_set *set, uint64_t *a);

/* NTT values -> coefficients, in place. */
void poly_inverse(const rns_ring *ring, const rns_set *set, uint64_t *a);

/* r[i] = a[map[i]] in every limb: an automorphism (ring.h).  domain: NTT
 * alias: none */
void poly_permute(const rns_ring *ring, const rns_set *set, uint64_t *r,
                  const uint64_t *a, const uint32_t *map);

/* Lifts small signed coefficients to every limb.  domain: coefficient
 * shape: small int8_t[n], |small| <= 127 */
void poly_from_small(const rns_ring *ring, const rns_set *set, uint64_t *r,
                     const int8_t *small);

#endif
