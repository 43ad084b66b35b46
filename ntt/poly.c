/* SPDX-License-Identifier: MIT
 * Ring elements over a set of limbs: the loop over limbs around the kernels.
 */
#include "ntt/poly.h"

#include <string.h>

#include "base/status.h"

/* The limb of the ring that position i of a polynomial over set belongs to. */
static inline const rns_limb *limb_of(const rns_ring *ring, const rns_set *set,
                                      int i)
{
    return &ring->limb[set->id[i]];
}

void poly_zero(const rns_ring *ring, const rns_set *set, uint64_t *r)
{
    for (int i = 0; i < set->count; i++) {
        memset(poly_limb(ring, r, i), 0, ring->ring.n * sizeof *r);
    }
}

void poly_copy(const rns_ring *ring, const rns_set *set, uint64_t *r,
               const uint64_t *a)
{
    if (r == a) {
        return;
    }
    for (int i = 0; i < set->count; i++) {
        memcpy(poly_limb(ring, r, i), poly_limb_const(ring, a, i),
               ring->ring.n * sizeof *r);
    }
}

void poly_select(const rns_ring *ring, const rns_set *set, uint64_t *r,
                 const rns_set *from, const uint64_t *a)
{
    for (int i = 0; i < set->count; i++) {
        const int at = rns_set_find(from, set->id[i]);
        SOTTO_ASSERT(at >= 0);
        memcpy(poly_limb(ring, r, i), poly_limb_const(ring, a, at),
               ring->ring.n * sizeof *r);
    }
}

void poly_add(const rns_ring *ring, const rns_set *set, uint64_t *r,
              const uint64_t *a, const uint64_t *b)
{
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = limb_of(ring, set, i);
        limb->kernels.add(poly_limb(ring, r, i), poly_limb_const(ring, a, i),
                          poly_limb_const(ring, b, i), ring->ring.n,
                          &limb->table->mod);
    }
}

void poly_sub(const rns_ring *ring, const rns_set *set, uint64_t *r,
              const uint64_t *a, const uint64_t *b)
{
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = limb_of(ring, set, i);
        limb->kernels.sub(poly_limb(ring, r, i), poly_limb_const(ring, a, i),
                          poly_limb_const(ring, b, i), ring->ring.n,
                          &limb->table->mod);
    }
}

void poly_negate(const rns_ring *ring, const rns_set *set, uint64_t *r,
                 const uint64_t *a)
{
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = limb_of(ring, set, i);
        limb->kernels.negate(poly_limb(ring, r, i), poly_limb_const(ring, a, i),
                             ring->ring.n, &limb->table->mod);
    }
}

void poly_mul(const rns_ring *ring, const rns_set *set, uint64_t *r,
              const uint64_t *a, const uint64_t *b)
{
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = limb_of(ring, set, i);
        limb->kernels.mul(poly_limb(ring, r, i), poly_limb_const(ring, a, i),
                          poly_limb_const(ring, b, i), ring->ring.n,
                          &limb->table->mod);
    }
}

void poly_mul_add(const rns_ring *ring, const rns_set *set, uint64_t *r,
                  const uint64_t *a, const uint64_t *b)
{
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = limb_of(ring, set, i);
        limb->kernels.mul_add(
            poly_limb(ring, r, i), poly_limb_const(ring, a, i),
            poly_limb_const(ring, b, i), ring->ring.n, &limb->table->mod);
    }
}

void poly_mul_scalar(const rns_ring *ring, const rns_set *set, uint64_t *r,
                     const uint64_t *a, const uint64_t *c)
{
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = limb_of(ring, set, i);
        limb->kernels.mul_scalar(poly_limb(ring, r, i),
                                 poly_limb_const(ring, a, i), c[i],
                                 ring->ring.n, &limb->table->mod);
    }
}

void poly_add_scalar(const rns_ring *ring, const rns_set *set, uint64_t *r,
                     const uint64_t *a, const uint64_t *c)
{
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = limb_of(ring, set, i);
        limb->kernels.add_scalar(poly_limb(ring, r, i),
                                 poly_limb_const(ring, a, i), c[i],
                                 ring->ring.n, &limb->table->mod);
    }
}

void poly_forward(const rns_ring *ring, const rns_set *set, uint64_t *a)
{
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = limb_of(ring, set, i);
        limb->kernels.forward(poly_limb(ring, a, i), limb->table);
    }
}

void poly_inverse(const rns_ring *ring, const rns_set *set, uint64_t *a)
{
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = limb_of(ring, set, i);
        limb->kernels.inverse(poly_limb(ring, a, i), limb->table, 1);
    }
}

void poly_permute(const rns_ring *ring, const rns_set *set, uint64_t *r,
                  const uint64_t *a, const uint32_t *map)
{
    for (int i = 0; i < set->count; i++) {
        limb_of(ring, set, i)
            ->kernels.permute(poly_limb(ring, r, i),
                              poly_limb_const(ring, a, i), map, ring->ring.n);
    }
}

void poly_from_small(const rns_ring *ring, const rns_set *set, uint64_t *r,
                     const int8_t *small)
{
    for (int i = 0; i < set->count; i++) {
        const zq_modulus *mod = rns_modulus(ring, set->id[i]);
        uint64_t *limb = poly_limb(ring, r, i);
        if (mod->q <= INT8_MAX) {
            for (size_t j = 0; j < ring->ring.n; j++) {
                limb[j] = zq_from_i64(small[j], mod);
            }
            continue;
        }
        /* |small| < q: adding q to the negative ones is all there is to do. No
         * pin on the mask, so that the loop is vectorised. */
        for (size_t j = 0; j < ring->ring.n; j++) {
            const uint64_t x = (uint64_t)(int64_t)small[j];
            limb[j] = x + (mod->q & (0 - (x >> 63)));
        }
    }
}
