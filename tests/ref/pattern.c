/* SPDX-License-Identifier: MIT
 * Moduli and residues that are hard on reductions.
 */
#include "tests/ref/pattern.h"

#include "tests/ref/ring.h"

const int ref_size_bits[REF_SIZES] = {5,  12, 20, 32, 46, 47,
                                      48, 50, 58, 59, 60};

uint64_t ref_prime_of(int bits, int log2_n)
{
    const uint64_t q =
        ref_prime_below((uint64_t)1 << bits, (uint64_t)2 << log2_n);
    return q >> (bits - 1) != 0 ? q : 0;
}

static uint64_t value_at(size_t i, size_t spike, uint64_t q,
                         ref_pattern pattern, uint64_t *state)
{
    switch (pattern) {
    case REF_ALL_LARGEST:
        return q - 1;
    case REF_ALTERNATING:
        return i % 2 != 0 ? q - 1 : 0;
    case REF_SPIKE:
        return i == spike ? q - 1 : 0;
    case REF_RAMP:
        return i % q;
    case REF_HALF_BELOW:
        return q / 2;
    case REF_HALF_ABOVE:
        return q / 2 + 1;
    case REF_HALVES:
        return q / 2 + i % 2;
    case REF_RANDOM:
        return ref_random(state) % q;
    case REF_ZERO:
    case REF_PATTERNS:
        break;
    }
    return 0;
}

void ref_fill(uint64_t *a, size_t n, uint64_t q, ref_pattern pattern,
              uint64_t seed)
{
    uint64_t state = seed;
    const size_t spike = (size_t)(ref_random(&state) % n);
    for (size_t i = 0; i < n; i++) {
        a[i] = value_at(i, spike, q, pattern, &state);
    }
}
