/* SPDX-License-Identifier: MIT
 * Residue number systems: all moduli of a parameter set with their tables,
 * sets of limbs, base conversion and division by a product of moduli.
 *
 * Every lift between moduli is centred and every division rounds to nearest;
 * the formulas below define the bits (SPEC §5).
 *
 * A polynomial over a set S of limbs is uint64_t[S.count][stride]: limb i of
 * the data belongs to modulus S.id[i]. stride = sotto_limb_stride(n) words.
 */
#ifndef SOTTO_NTT_RNS_H
#define SOTTO_NTT_RNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "ntt/kernels.h"
#include "ntt/ring.h"
#include "ntt/table.h"

/* Most moduli in one parameter set. */
#define RNS_MAX_LIMBS 96

/* An ordered set of moduli, by their position in the rns_ring. Ids rise. */
typedef struct rns_set {
    int count;
    uint8_t id[RNS_MAX_LIMBS];
} rns_set;

/* The set {first, …, first + count - 1}. */
rns_set rns_set_range(int first, int count);

/* Position of modulus id in set, or -1. */
int rns_set_find(const rns_set *set, int id);

/* True when every member of inner is one of outer. */
bool rns_set_contains(const rns_set *outer, const rns_set *inner);

/* True when both have the same members. */
bool rns_set_equal(const rns_set *a, const rns_set *b);

/* Members of a or of b (rising ids). */
rns_set rns_set_union(const rns_set *a, const rns_set *b);

/* Members of a that are not in b. */
rns_set rns_set_minus(const rns_set *a, const rns_set *b);

/* Members of both. */
rns_set rns_set_common(const rns_set *a, const rns_set *b);

/* One modulus with its tables and the kernels chosen for it. */
typedef struct rns_limb {
    ntt_table *table;
    ntt_kernels kernels;
} rns_limb;

/* A ring with all its moduli; immutable and shareable. */
typedef struct rns_ring {
    ntt_ring ring;
    size_t stride; /* words from limb to limb */
    int n_limbs;
    rns_limb limb[RNS_MAX_LIMBS];
} rns_ring;

/* Builds tables and chooses kernels for n_limbs different primes q.
 * error: SOTTO_ERR_PARAM (not a prime ≡ 1 mod 2N, repeated, count out of
 * [1,96]), SOTTO_ERR_MEMORY; *ring is then NULL. owner: rns_ring_free. */
sotto_status rns_ring_new(rns_ring **ring, const ntt_ring *shape,
                          const uint64_t *q, int n_limbs, ntt_backend cap,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void rns_ring_free(rns_ring *ring);

/* The modulus with this id. */
static inline const zq_modulus *rns_modulus(const rns_ring *ring, int id)
{
    return &ring->limb[id].table->mod;
}

/* log2 of the product of a set's moduli, to about 1e-12 (for reports and
 * checks; nothing that defines bits). */
double rns_log2(const rns_ring *ring, const rns_set *set);

/* The product of a set's moduli except that of id `skip` (-1: of all), modulo
 * the prime mod. */
uint64_t rns_product_mod(const rns_ring *ring, const rns_set *set, int skip,
                         const zq_modulus *mod);

/* Base conversion from the set `from` (product F) to the set `to`.
 *
 *   y_i = [x · (F/f_i)^-1]_{f_i}           scale_in, folded into an inverse NTT
 *   out_t = Σ_i centre(y_i)·(F/f_i) mod t  kernel `convert`
 *
 * Between the two y_i is kept raised, as centre(y_i) + (f_i - 1)/2.
 *
 * math: out = x' + e·F for the centred x' = x mod F and an integer e with
 * |e| <= from.count / 2; for one source modulus e = 0. */
typedef struct rns_converter {
    rns_set from;
    rns_set to;
    uint64_t *scale_in; /* [from.count]: (F/f_i)^-1 mod f_i */
    uint64_t *factor;   /* [to.count][from.count]: (F/f_i) mod t */
    uint64_t *product;  /* [to.count]: F mod t */
    uint64_t *from_q;   /* [from.count]: f_i */
    uint64_t *raised;   /* [to.count]: Σ_i (f_i - 1)/2·(F/f_i) mod t */
} rns_converter;

/* Prepares the conversion from -> to (both non-empty, disjoint: asserted).
 * error: SOTTO_ERR_MEMORY; *converter is then NULL. */
sotto_status rns_converter_new(rns_converter **converter, const rns_ring *ring,
                               const rns_set *from, const rns_set *to,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void rns_converter_free(rns_converter *converter);

/* y = y_i of a limb x modulo from.id[i], raised, in coefficient domain: the
 * first half of a conversion. x: NTT domain, and may be y. */
void rns_scale_limb(const rns_converter *converter, const rns_ring *ring,
                    uint64_t *y, const uint64_t *x, int i);

/* Converts to the single modulus to.id[t].
 * shape: x uint64_t[from.count][stride], the y_i as rns_scale_limb makes them;
 * out uint64_t[n], coefficient domain. cost: from.count·n multiplications. */
void rns_convert_limb(const rns_converter *converter, const rns_ring *ring,
                      uint64_t *out, const uint64_t *x, int t);

/* Division by the product M of the set `by`, rounded: ModDown (by = special
 * moduli), rescale (by = one or more limbs), and both at once.
 *
 *   out = (x - x_M) / M,   x_M = Σ_i centre([x·(M/m_i)^-1]_{m_i})·(M/m_i)
 *
 * math: out = round(x/M) + e with integer |e| <= by.count / 2; exactly the
 * nearest integer for one modulus. This very formula defines the bits, also
 * where ModDown and rescale are done at once. */
typedef struct rns_divider {
    rns_converter *converter; /* by -> keep */
    uint64_t *inverse;        /* [keep.count]: M^-1 mod q */
} rns_divider;

/* Prepares the division that keeps `keep` and removes `by` (disjoint,
 * non-empty: asserted). error: SOTTO_ERR_MEMORY; *divider is then NULL. */
sotto_status rns_divider_new(rns_divider **divider, const rns_ring *ring,
                             const rns_set *keep, const rns_set *by,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void rns_divider_free(rns_divider *divider);

/* Words of scratch for rns_divide. */
size_t rns_divide_scratch(const rns_divider *divider, const rns_ring *ring);

/* Divides one polynomial.
 * shape: keep_in, out uint64_t[keep.count][stride]; by_in
 * uint64_t[by.count][stride]; all NTT domain.
 * alias: out may be keep_in; by_in is only read.
 * cost: by.count inverse and keep.count forward NTTs; no allocation.
 * scratch: rns_divide_scratch words, 64-byte aligned. */
void rns_divide(const rns_divider *divider, const rns_ring *ring, uint64_t *out,
                const uint64_t *keep_in, const uint64_t *by_in,
                uint64_t *scratch);

/* A polynomial to divide, whose limbs may lie anywhere. */
typedef struct rns_dividend {
    uint64_t *out;                          /* [keep.count][stride] */
    const uint64_t *keep_in[RNS_MAX_LIMBS]; /* keep.count limbs */
    const uint64_t *by_in[RNS_MAX_LIMBS];   /* by.count limbs */
} rns_dividend;

/* rns_divide of `count` polynomials, modulus by modulus: cheaper than one by
 * one, since they share constants in the cache.
 * alias: a limb of out may be the one of keep_in of the same polynomial, no
 * other. scratch: count·rns_divide_scratch words, 64-byte aligned. */
void rns_divide_each(const rns_divider *divider, const rns_ring *ring,
                     const rns_dividend *dividend, int count,
                     uint64_t *scratch);

#endif
