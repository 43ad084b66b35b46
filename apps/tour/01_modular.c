/* SPDX-License-Identifier: MIT
 * Modular arithmetic: the numbers that everything else is made of.
 *
 * Shows residues, Barrett's division by a multiplication, inverses, and the
 * primes that have the roots of unity that the next program needs.
 * Read along: ntt/zq.h, ntt/prime.h.
 */
#include <inttypes.h>
#include <stdio.h>

#include "apps/tour/tour.h"
#include "ntt/prime.h"
#include "ntt/zq.h"

/* Dividing is slow and its time may depend on the numbers, so that secrets
 * could be read off a clock. A multiplication by a prepared 1/q does it. */
static void show_barrett(const zq_modulus *m)
{
    tour_part("x mod q without a division: floor(x/q) ~ (x * floor(2^64/q)) / "
              "2^64");
    const uint64_t ratio = m->ratio_hi; /* floor(2^64 / q) */
    bool all_right = true;
    uint64_t corrections = 0;
    for (uint64_t x = 0; x < 1000000; x++) {
        const uint64_t quotient = zq_mul_hi(x, ratio);
        const uint64_t r = x - quotient * m->q; /* in [0, 2q) */
        corrections += r >= m->q;
        all_right = all_right && zq_correct(r, m->q) == x % m->q;
    }
    const uint64_t x = 123456;
    printf("  x = %" PRIu64 ": quotient %" PRIu64 ", remainder %" PRIu64 "\n",
           x, zq_mul_hi(x, ratio), zq_reduce_u64(x, m));
    printf("  one more subtraction of q was needed for %" PRIu64
           " of 1000000 numbers\n",
           corrections);
    tour_check(all_right, "all remainders below a million are right");
}

static void show_inverse(const zq_modulus *m)
{
    tour_part("Every number but 0 has an inverse: a^(q-2), by Fermat");
    uint64_t inverse[10];
    bool all_right = true;
    for (uint64_t a = 1; a < m->q; a++) {
        all_right = all_right && zq_mul(a, zq_inv(a, m), m) == 1;
    }
    for (uint64_t a = 1; a <= 10; a++) {
        inverse[a - 1] = zq_inv(a, m);
    }
    tour_row("1/a for a = 1 ... 10", inverse, 10);
    tour_check(all_right, "a * (1/a) = 1 for all a");
}

/* q - 1 divisible by 16 means that there is a number of order 16. */
static void show_roots(const zq_modulus *m)
{
    tour_part("A 16-th root of unity: psi, psi^2, ... comes back to 1 after 16 "
              "steps");
    const ntt_ring ring = ntt_ring_init(3);
    const uint64_t psi = ntt_prime_root(m->q, &ring);
    uint64_t power[16];
    for (uint64_t i = 0; i < 16; i++) {
        power[i] = zq_pow(psi, i, m);
    }
    tour_row("psi^0 ... psi^7", power, 8);
    tour_row("psi^8 ... psi^15", power + 8, 8);
    bool mirrored = true;
    for (size_t i = 0; i < 8; i++) {
        mirrored = mirrored && zq_add(power[i], power[i + 8], m->q) == 0;
    }
    tour_check(mirrored && zq_pow(psi, 16, m) == 1,
               "psi^8 = -1: the second row is the first one negated");
}

static void show_primes(void)
{
    tour_part("Primes = 1 mod 16384, near 2^46: what a real ring uses (N = "
              "8192)");
    const ntt_ring ring = ntt_ring_init(13);
    uint64_t prime[3];
    sotto_error err;
    tour_must(ntt_prime_search(prime, 3, &ring, 46, NULL, 0, &err), &err);
    bool fits = true;
    for (int i = 0; i < 3; i++) {
        printf("  %" PRIu64 "\n", prime[i]);
        fits = fits && ntt_prime_is(prime[i]) && prime[i] % 16384 == 1;
    }
    tour_check(fits, "they are prime and leave 1 modulo 16384");
}

int main(void)
{
    const zq_modulus m = zq_modulus_init(97);
    tour_title(1, "Modular arithmetic, q = 97");
    tour_part("Sums and products wrap around");
    printf("  60 + 50 = %" PRIu64 ",  60 - 70 = %" PRIu64 ",  60 * 50 = "
           "%" PRIu64 ",  centred 60 = %" PRId64 "\n",
           zq_add(60, 50, m.q), zq_sub(60, 70, m.q), zq_mul(60, 50, &m),
           zq_centre(60, m.q));
    show_barrett(&m);
    show_inverse(&m);
    show_roots(&m);
    show_primes();
    return 0;
}
