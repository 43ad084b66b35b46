/* SPDX-License-Identifier: MIT
 * Primes for the ring: test, search, roots of unity. Nothing here is secret.
 */
#include "ntt/prime.h"

#include <string.h>

#include "ntt/zq.h"

/* Bound of the search: classes A and B. */
#define SEARCH_MAX_BITS 50

/* a·b mod q for any 64-bit q; slow, but ntt_prime_is takes every number. */
static uint64_t mul_mod(uint64_t a, uint64_t b, uint64_t q)
{
    return (uint64_t)((zq_u128)a * b % q);
}

/* True when base shows that q = odd·2^twos + 1 is composite. */
static bool is_witness(uint64_t base, uint64_t q, uint64_t odd, int twos)
{
    uint64_t x = 1;
    uint64_t power = base % q;
    for (uint64_t e = odd; e != 0; e >>= 1) {
        if (e & 1) {
            x = mul_mod(x, power, q);
        }
        power = mul_mod(power, power, q);
    }
    if (x == 1 || x == q - 1) {
        return false;
    }
    for (int i = 1; i < twos; i++) {
        x = mul_mod(x, x, q);
        if (x == q - 1) {
            return false;
        }
    }
    return true;
}

bool ntt_prime_is(uint64_t q)
{
    static const uint8_t bases[12] = {2,  3,  5,  7,  11, 13,
                                      17, 19, 23, 29, 31, 37};
    if (q < 2) {
        return false;
    }
    for (size_t i = 0; i < sizeof bases; i++) {
        if (q % bases[i] == 0) {
            return q == bases[i];
        }
    }
    uint64_t odd = q - 1;
    int twos = 0;
    for (; odd % 2 == 0; odd /= 2) {
        twos++;
    }
    for (size_t i = 0; i < sizeof bases; i++) {
        if (is_witness(bases[i], q, odd, twos)) {
            return false;
        }
    }
    return true;
}

/* floor(sqrt(x)), one bit at a time. */
static uint64_t integer_sqrt(zq_u128 x)
{
    uint64_t root = 0;
    for (int bit = 63; bit >= 0; bit--) {
        const uint64_t candidate = root | (uint64_t)1 << bit;
        if ((zq_u128)candidate * candidate <= x) {
            root = candidate;
        }
    }
    return root;
}

/* 2^log2_x as an integer, in integer arithmetic so that every machine searches
 * from the same place.   range: log2_x in [0,50]
 * math: 2^whole · Π over the set bits i of the fraction of 2^(2^-i), factors
 * in 62-bit fixed point; the relative error is below 2^-55. */
static uint64_t exp2_integer(double log2_x)
{
    const int whole = (int)log2_x;
    const double fraction = log2_x - whole;
    const uint64_t bits = (uint64_t)(fraction * 0x1p52);
    const uint64_t one = (uint64_t)1 << 62;
    uint64_t product = one;
    uint64_t factor = one << 1;
    for (int i = 1; i <= 52; i++) {
        factor = integer_sqrt((zq_u128)factor << 62);
        if (bits >> (52 - i) & 1) {
            product = (uint64_t)((zq_u128)product * factor >> 62);
        }
    }
    /* Rounded to nearest; whole <= 50 leaves at least 12 bits to drop. */
    return ((product >> (61 - whole)) + 1) >> 1;
}

static bool is_listed(uint64_t q, const uint64_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i] == q) {
            return true;
        }
    }
    return false;
}

sotto_status ntt_prime_search(uint64_t *out, size_t count, const ntt_ring *ring,
                              double log2_target, const uint64_t *avoid,
                              size_t n_avoid, sotto_error *err)
{
    const uint64_t order = ntt_ring_root_order(ring);
    memset(out, 0, count * sizeof *out);
    if (!(log2_target >= ring->log2_n + 2 && log2_target < SEARCH_MAX_BITS)) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "prime search: wanted size is %g bits; degree 2^%d "
                          "allows %d to less than %d bits",
                          log2_target, ring->log2_n, ring->log2_n + 2,
                          SEARCH_MAX_BITS);
    }
    const uint64_t target = exp2_integer(log2_target);
    const uint64_t max = (uint64_t)1 << SEARCH_MAX_BITS;
    const uint64_t end = 2 * target < max ? 2 * target : max;
    const uint64_t begin = target / 2 > 2 * order ? target / 2 : 2 * order;
    uint64_t below = (target - 1) / order * order + 1; /* <= target */
    uint64_t above = below + order;
    size_t found = 0;
    while (found < count && (below >= begin || above < end)) {
        const bool take_above =
            above < end && (below < begin || above - target <= target - below);
        const uint64_t q = take_above ? above : below;
        if (take_above) {
            above += order;
        } else {
            below -= order;
        }
        if (ntt_prime_is(q) && !is_listed(q, avoid, n_avoid)) {
            out[found++] = q;
        }
    }
    if (found < count) {
        memset(out, 0, count * sizeof *out);
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "prime search: only %zu of %zu primes within a "
                          "factor of 2 of 2^%g for degree 2^%d; use larger "
                          "moduli or a smaller degree",
                          found, count, log2_target, ring->log2_n);
    }
    return SOTTO_OK;
}

uint64_t ntt_prime_root(uint64_t q, const ntt_ring *ring)
{
    const uint64_t order = ntt_ring_root_order(ring);
    SOTTO_ASSERT(q % order == 1 && ntt_prime_is(q));
    const zq_modulus mod = zq_modulus_init(q);
    /* The order is a power of two: r is primitive exactly when its (order/2)th
     * power is -1. Half of all x give such an r. */
    uint64_t root = 0;
    for (uint64_t x = 2; root == 0; x++) {
        const uint64_t r = zq_pow(x, (q - 1) / order, &mod);
        if (zq_pow(r, order / 2, &mod) == q - 1) {
            root = r;
        }
    }
    /* The primitive roots are the odd powers of any one of them. */
    const uint64_t square = zq_mul(root, root, &mod);
    uint64_t smallest = root;
    for (uint64_t i = 1; i < order / 2; i++) {
        root = zq_mul(root, square, &mod);
        smallest = root < smallest ? root : smallest;
    }
    return smallest;
}
