/* SPDX-License-Identifier: MIT
 * The ring: degree, slots, root order, automorphisms.
 */
#include "ntt/ring.h"

#include "base/status.h"

ntt_ring ntt_ring_init(int log2_n)
{
    SOTTO_ASSERT(log2_n >= NTT_MIN_LOG2_N && log2_n <= NTT_MAX_LOG2_N);
    const ntt_ring ring = {
        .kind = NTT_RING_STANDARD, .log2_n = log2_n, .n = (size_t)1 << log2_n};
    return ring;
}

size_t ntt_ring_slots(const ntt_ring *ring)
{
    return ring->n / 2;
}

uint64_t ntt_ring_root_order(const ntt_ring *ring)
{
    return 2 * (uint64_t)ring->n;
}

uint64_t ntt_ring_rotation(const ntt_ring *ring, int64_t steps)
{
    /* All moduli are powers of two, so the residue of a negative number is
     * found by masking its two's complement. */
    uint64_t left = (uint64_t)steps & (ntt_ring_slots(ring) - 1);
    const uint64_t order_mask = ntt_ring_root_order(ring) - 1;
    uint64_t power = 5;
    uint64_t galois = 1;
    for (; left != 0; left >>= 1) {
        if (left & 1) {
            galois = galois * power & order_mask;
        }
        power = power * power & order_mask;
    }
    return galois;
}

uint64_t ntt_ring_conjugation(const ntt_ring *ring)
{
    return ntt_ring_root_order(ring) - 1;
}

void ntt_ring_automorphism(const ntt_ring *ring, uint32_t *map, uint64_t galois)
{
    const uint64_t order = ntt_ring_root_order(ring);
    SOTTO_ASSERT(galois % 2 == 1 && galois < order);
    for (size_t i = 0; i < ring->n; i++) {
        /* a(X^g) at psi^e is a at psi^(g·e). */
        const uint64_t e = 2 * ntt_bit_reverse(i, ring->log2_n) + 1;
        const uint64_t source = galois * e & (order - 1);
        map[i] = (uint32_t)ntt_bit_reverse(source >> 1, ring->log2_n);
    }
}
