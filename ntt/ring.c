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

/* With i = 8d + k and B = log2 N - 3, brv(i) = brv3(k)·2^B + brv_B(d), so that
 * a(X^g) at psi^e, e = 2·brv(i) + 1, is a at psi^(g·e) with
 *     (g·e - 1)/2 = source(d) + g·brv3(k)·2^B mod N:
 * k moves the highest three bits only, which are the lowest of map[i]. */
void ntt_ring_automorphism(const ntt_ring *ring, uint32_t *map, uint64_t galois)
{
    const uint64_t order = ntt_ring_root_order(ring);
    SOTTO_ASSERT(galois % 2 == 1 && galois < order);
    const int log2_blocks = ring->log2_n - 3;
    const size_t blocks = ring->n >> 3;
    uint32_t lane[8][8]; /* by the highest bits of source(d), and k */
    for (size_t h = 0; h < 8; h++) {
        for (size_t k = 0; k < 8; k++) {
            const size_t moved = h + (size_t)galois * ntt_bit_reverse(k, 3);
            lane[h][k] = (uint32_t)ntt_bit_reverse(moved & 7, 3);
        }
    }
    for (size_t d = 0; d < blocks; d++) {
        const uint64_t e = 2 * ntt_bit_reverse(d, log2_blocks) + 1;
        const uint64_t source = (galois * e & (order - 1)) >> 1;
        const size_t from = ntt_bit_reverse(source & (blocks - 1), log2_blocks);
        const uint32_t *to = lane[source >> log2_blocks];
        for (size_t k = 0; k < 8; k++) {
            map[8 * d + k] = (uint32_t)(8 * from) | to[k];
        }
    }
}
