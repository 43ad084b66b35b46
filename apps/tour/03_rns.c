/* SPDX-License-Identifier: MIT
 * Residue number systems: big integers as a few small residues.
 *
 * Shows numbers modulo 97 * 113 * 193 as three residues, products without
 * carries, and the one operation that is not for free: division by one of the
 * moduli, which is the "rescale" of CKKS.
 * Read along: ntt/rns.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apps/tour/tour.h"
#include "ntt/poly.h"
#include "ntt/rns.h"

#define N 8
#define LIMBS 3

static const uint64_t modulus[LIMBS] = {97, 113, 193};
#define Q (97 * 113 * 193)

/* The number in [0,Q) with these residues, by trying. */
static uint64_t search(const uint64_t *residue)
{
    uint64_t x = 0;
    while (x % 97 != residue[0] || x % 113 != residue[1] ||
           x % 193 != residue[2]) {
        x++;
    }
    return x;
}

static void show_numbers(const rns_ring *ring)
{
    tour_part("Numbers below 97 * 113 * 193 = 2115473 as residues");
    const uint64_t a = 1234, b = 567;
    uint64_t ra[LIMBS], rb[LIMBS], product[LIMBS];
    for (int i = 0; i < LIMBS; i++) {
        ra[i] = a % modulus[i];
        rb[i] = b % modulus[i];
        product[i] = zq_mul(ra[i], rb[i], rns_modulus(ring, i));
    }
    tour_row("1234", ra, LIMBS);
    tour_row("567", rb, LIMBS);
    tour_row("product, limb by limb", product, LIMBS);
    printf("  the number with these residues is %" PRIu64 "\n",
           search(product));
    tour_check(search(product) == a * b, "1234 * 567 = 699678");
}

/* Coefficients of a polynomial with all limbs, from signed integers. */
static void from_integers(const rns_ring *ring, uint64_t *r, const int64_t *a)
{
    for (int i = 0; i < LIMBS; i++) {
        for (size_t j = 0; j < N; j++) {
            poly_limb(ring, r, i)[j] = zq_from_i64(a[j], rns_modulus(ring, i));
        }
    }
}

/* The nearest integer to x / m, m odd: no ties. */
static int64_t divide_rounded(int64_t x, int64_t m)
{
    const int64_t shifted = x + (m - 1) / 2;
    return shifted >= 0 ? shifted / m : -((-shifted + m - 1) / m);
}

/* (x - (x mod 193)) / 193, where x mod 193 is taken in [-96,96]: x minus it is
 * a multiple of 193, so that multiplying by 1/193 modulo 97 and modulo 113 is
 * the division. No limb needs to know the number x. */
static void show_rescale(const rns_ring *ring)
{
    tour_part("Rescale: divide by 193 and drop its limb; rounds to nearest");
    const int64_t a[N] = {1000000, -1000000, 193, 290, 96, 97, -5000, 0};
    const rns_set keep = rns_set_range(0, 2);
    const rns_set by = rns_set_range(2, 1);
    rns_divider *divider;
    sotto_error err;
    tour_must(rns_divider_new(&divider, ring, &keep, &by, &err), &err);
    _Alignas(64) static uint64_t x[4096], scratch[4096];
    const rns_set all = rns_set_range(0, LIMBS);
    from_integers(ring, x, a);
    poly_forward(ring, &all, x); /* the library's polynomials are transformed */
    rns_divide(divider, ring, x, x, poly_limb(ring, x, 2), scratch);
    poly_inverse(ring, &keep, x);

    int64_t wanted[N];
    bool all_right = true;
    for (size_t j = 0; j < N; j++) {
        wanted[j] = divide_rounded(a[j], 193);
        for (int i = 0; i < 2; i++) {
            all_right =
                all_right && poly_limb(ring, x, i)[j] ==
                                 zq_from_i64(wanted[j], rns_modulus(ring, i));
        }
    }
    tour_row_signed("x", a, N);
    tour_row_signed("round(x / 193)", wanted, N);
    tour_row("rescaled, modulo 97", poly_limb(ring, x, 0), N);
    tour_row("rescaled, modulo 113", poly_limb(ring, x, 1), N);
    tour_check(all_right, "the residues are those of round(x / 193)");
    rns_divider_free(divider);
}

/* What a number is modulo a new prime: each residue contributes its part of
 * the Chinese remainder, and the sum is right up to a small multiple of Q. */
static void show_conversion(const rns_ring *ring)
{
    tour_part("Conversion: from residues mod 97 and 113 to the residue mod "
              "193");
    const int64_t a[N] = {1, -1, 50, -50, 5000, -5000, 5480, -5480};
    const rns_set from = rns_set_range(0, 2);
    const rns_set to = rns_set_range(2, 1);
    rns_converter *converter;
    sotto_error err;
    tour_must(rns_converter_new(&converter, ring, &from, &to, &err), &err);
    _Alignas(64) static uint64_t x[4096], y[1024];
    from_integers(ring, x, a);
    for (int i = 0; i < 2; i++) {
        for (size_t j = 0; j < N; j++) {
            uint64_t *at = &poly_limb(ring, x, i)[j];
            const zq_modulus *mod = rns_modulus(ring, i);
            *at = zq_mul(*at, converter->scale_in[i], mod);
            *at = zq_add(*at, mod->q / 2, mod->q); /* centred, then raised */
        }
    }
    rns_convert_limb(converter, ring, y, x, 0);
    int64_t excess[N];
    bool small = true;
    for (size_t j = 0; j < N; j++) {
        /* y = a + e * 97 * 113 modulo 193 with |e| <= 1 */
        excess[j] = -2;
        for (int64_t e = -1; e <= 1; e++) {
            if (zq_from_i64(a[j] + e * 97 * 113, rns_modulus(ring, 2)) ==
                y[j]) {
                excess[j] = e;
            }
        }
        small = small && excess[j] != -2;
    }
    tour_row_signed("x", a, N);
    tour_row("converted to mod 193", y, N);
    tour_row_signed("multiples of 97*113 off", excess, N);
    tour_check(small, "each is x, or off by one multiple of 97 * 113");
    rns_converter_free(converter);
}

int main(void)
{
    tour_title(3, "Residue number systems, q = 97, 113, 193");
    const ntt_ring shape = ntt_ring_init(3);
    rns_ring *ring;
    sotto_error err;
    tour_must(
        rns_ring_new(&ring, &shape, modulus, LIMBS, NTT_BACKEND_PORTABLE, &err),
        &err);
    show_numbers(ring);
    show_rescale(ring);
    show_conversion(ring);
    rns_ring_free(ring);
    return 0;
}
