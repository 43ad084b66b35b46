/* SPDX-License-Identifier: MIT
 * Key switching and rotation: moving slots without seeing them.
 *
 * X -> X^5 rotates the slots, but the result is encrypted under the moved
 * secret s(X^5). A switching key brings it back to s. Shows the rotation, what
 * the number of digits costs and buys, and why special moduli exist.
 * Read along: rlwe/keyswitch.h, ckks/eval.h.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "apps/tour/tour.h"
#include "ckks/noise.h"
#include "ntt/poly.h"

#define SCALE 0x1p34
#define SHOWN 6

static void show_rotation(tour_world *world)
{
    tour_part("Rotation by 1 and by 3, and by 1 + 3");
    double x[512], y[SHOWN];
    for (size_t i = 0; i < world->slots; i++) {
        x[i] = (double)i;
    }
    ckks_evaluator *ev = world->evaluator;
    ckks_ct a = tour_encrypt(world, x, world->slots, SCALE);
    ckks_ct b = tour_ct(world);
    tour_row_real("x", x, SHOWN);
    tour_must(ckks_rotate(ev, &b, &a, 1), &ev->error);
    (void)tour_decrypt(world, y, SHOWN, &b);
    tour_row_real("rotated by 1", y, SHOWN);
    tour_must(ckks_rotate(ev, &b, &b, 3), &ev->error);
    (void)tour_decrypt(world, y, SHOWN, &b);
    tour_row_real("and by 3", y, SHOWN);
    bool right = true;
    for (size_t i = 0; i < SHOWN; i++) {
        right = right && fabs(y[i] - (double)(i + 4)) < 1e-4;
    }
    tour_check(right, "slot j holds x[j + 4]");
    tour_check(ckks_rotate(ev, &b, &a, 2) == SOTTO_ERR_KEY,
               "a rotation without its key is refused:");
    printf("    %s\n", ev->error.text);
    ckks_ct_clear(&a);
    ckks_ct_clear(&b);
}

/* The moved ciphertext alone: right values, wrong secret. */
static void show_why(tour_world *world)
{
    tour_part("Without the switching key: the permuted ciphertext, decrypted");
    double x[512], y[2];
    for (size_t i = 0; i < world->slots; i++) {
        x[i] = (double)i;
    }
    const rlwe_context *context = world->context;
    const rns_ring *ring = context->ring;
    ckks_ct a = tour_encrypt(world, x, world->slots, SCALE);
    ckks_ct b = tour_encrypt(world, x, world->slots, SCALE);
    uint32_t map[1024];
    ntt_ring_automorphism(&ring->ring, map, ntt_ring_rotation(&ring->ring, 1));
    for (int i = 0; i < 2; i++) {
        poly_permute(ring, rlwe_level_set(context, 0),
                     rlwe_ct_component(&b.ct, context, i),
                     rlwe_ct_component(&a.ct, context, i), map);
    }
    b.ct.seeded = false;
    const double noise = tour_decrypt(world, y, 2, &b);
    printf("  %.3g %.3g ..., noise 2^%.0f\n", y[0], y[1], log2(noise));
    tour_check(noise > 0x1p30, "nothing but noise");
    ckks_ct_clear(&a);
    ckks_ct_clear(&b);
}

/* The product digit * key carries the key's error times the digit; dividing by
 * the special modulus P takes it away again if P is as large as a digit. With
 * one special modulus, fewer digits are larger digits. */
static void show_digits(void)
{
    tour_part("Three moduli of 34 bits in 1, 2 or 3 digits, one special "
              "modulus of 38 bits");
    double noise[4];
    for (int digits = 1; digits <= 3; digits++) {
        tour_world world;
        const int64_t step = 1;
        tour_world_init(&world, 4, 34, digits, &step, 1);
        double x[512] = {1}, y[1];
        ckks_ct a = tour_encrypt(&world, x, world.slots, SCALE);
        ckks_evaluator *ev = world.evaluator;
        tour_must(ckks_rotate(ev, &a, &a, 1), &ev->error);
        noise[digits] = tour_decrypt(&world, y, 1, &a);
        const rlwe_switch_key *key = world.keys->key[1];
        const size_t polynomials = 2 * (size_t)digits * (size_t)key->set.count;
        printf("  %d digit%s: key of %2zu limbs, noise 2^%.1f, predicted "
               "2^%.1f\n",
               digits, digits > 1 ? "s" : " ", polynomials, log2(noise[digits]),
               log2(sqrt(ckks_noise_fresh(world.context) +
                         ckks_noise_switch(world.context, &key->gadget, 0, 1)) /
                    SCALE));
        ckks_ct_clear(&a);
        tour_world_clear(&world);
    }
    tour_check(noise[1] > 0x1p30 * noise[3],
               "small digits keep the noise small; P must match a digit");
}

int main(void)
{
    tour_title(6, "Key switching and rotation");
    tour_world world;
    const int64_t steps[] = {1, 3};
    tour_world_init(&world, 4, 34, 3, steps, 2);
    show_rotation(&world);
    show_why(&world);
    tour_world_clear(&world);
    show_digits();
    return 0;
}
