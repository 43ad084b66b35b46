/* SPDX-License-Identifier: MIT
 * The ring: degree, slots, root order, automorphisms.
 *
 * The one place that says N/2 or 2N. Today's only kind is Z[X]/(X^N+1) with
 * N/2 complex slots; a ring with N real slots (primes ≡ 1 mod 4N) can join by
 * adding a kind here.
 *
 * NTT order (SPEC §4): position i of a transformed polynomial a holds
 *     a(psi^(2·brv(i)+1)),  brv = reversal of log2 N bits.
 * Example: N = 8, q = 17, psi = 3: the polynomial X becomes
 * (3, 14, 5, 12, 10, 7, 11, 6), and 0 + X + 2X^2 + … + 7X^7 becomes
 * (6, 8, 5, 2, 13, 0, 12, 5).
 * Slot order: slot j is the value at zeta^(5^j), its conjugate at
 * zeta^(-5^j); X -> X^(5^r) rotates the slots by r to the left
 * (slot j receives slot j+r), X -> X^(2N-1) conjugates.
 */
#ifndef SOTTO_NTT_RING_H
#define SOTTO_NTT_RING_H

#include <stddef.h>
#include <stdint.h>

#define NTT_MIN_LOG2_N 3
#define NTT_MAX_LOG2_N 17

/* Which ring; the value is part of the wire format. */
typedef enum ntt_ring_kind { NTT_RING_STANDARD = 0 } ntt_ring_kind;

/* A ring of degree n = 2^log2_n. */
typedef struct ntt_ring {
    ntt_ring_kind kind;
    int log2_n;
    size_t n;
} ntt_ring;

/* The standard ring of degree 2^log2_n, log2_n in [3,17] (asserted). */
ntt_ring ntt_ring_init(int log2_n);

/* Number of slots: N/2. */
size_t ntt_ring_slots(const ntt_ring *ring);

/* Order of the root of unity that the transform needs: 2N. */
uint64_t ntt_ring_root_order(const ntt_ring *ring);

/* The Galois element of a rotation by `steps` slots to the left (negative:
 * right; taken modulo the number of slots): 5^steps mod 2N. */
uint64_t ntt_ring_rotation(const ntt_ring *ring, int64_t steps);

/* The Galois element of complex conjugation: 2N - 1. */
uint64_t ntt_ring_conjugation(const ntt_ring *ring);

/* Reverses the lowest `bits` bits of x.
 * range: bits in [0,32], x < 2^bits */
static inline size_t ntt_bit_reverse(size_t x, int bits)
{
    uint32_t r = __builtin_bswap32((uint32_t)x);
    r = (r >> 4 & 0x0f0f0f0fu) | (r & 0x0f0f0f0fu) << 4;
    r = (r >> 2 & 0x33333333u) | (r & 0x33333333u) << 2;
    r = (r >> 1 & 0x55555555u) | (r & 0x55555555u) << 1;
    return (size_t)((uint64_t)r >> (32 - bits));
}

/* The permutation that X -> X^galois is on NTT values:
 * transformed(a(X^galois))[i] = transformed(a)[map[i]].
 * Every aligned block of eight values comes from one aligned block.
 * shape: map uint32_t[n]; galois odd, in [1,2N) (asserted). */
void ntt_ring_automorphism(const ntt_ring *ring, uint32_t *map,
                           uint64_t galois);

#endif
