/* SPDX-License-Identifier: MIT
 * Encryption and noise: a little error hides the message, and grows with
 * every operation.
 *
 * Shows that a ciphertext tells nothing by itself, that a wrong key gives
 * nothing but noise, and how the noise grows, measured against what the
 * library predicts.
 * Read along: rlwe/encrypt.h, ckks/noise.h, SPEC.md section 10.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "apps/tour/tour.h"
#include "ckks/noise.h"
#include "ntt/poly.h"

#define SCALE 0x1p34

/* c = (c_0, c_1) with c_1 uniform and c_0 = -c_1 * s + e + m. */
static void show_ciphertext(tour_world *world)
{
    tour_part("A ciphertext of (1, 2, 3, 4): two polynomials that look random");
    const double x[4] = {1, 2, 3, 4};
    double y[4];
    ckks_ct ct = tour_encrypt(world, x, 4, SCALE);
    const uint64_t q = world->context->params.literal.modulus[0];
    for (int i = 0; i < 2; i++) {
        const uint64_t *c = rlwe_ct_component(&ct.ct, world->context, i);
        printf("  c_%d modulo %" PRIu64 ": %" PRIu64 " %" PRIu64 " %" PRIu64
               " ...\n",
               i, q, c[0], c[1], c[2]);
    }
    const double noise = tour_decrypt(world, y, 4, &ct);
    tour_row_real("decrypted", y, 4);
    printf("  noise on a slot: standard deviation 2^%.1f\n", log2(noise));
    tour_check(fabs(y[3] - 4) < 20 * noise, "the secret key opens it");

    /* Another secret under the same name, as if somebody had guessed. */
    rlwe_secret *other;
    const sotto_seed root = {{99}};
    tour_must(rlwe_secret_new(&other, world->context, &root, &world->error),
              &world->error);
    for (int i = 0; i < RLWE_KEY_ID_BYTES; i++) {
        other->key_id[i] = world->secret->key_id[i];
    }
    double wrong_noise;
    tour_must(ckks_decrypt(world->encoder, world->context, other, y, NULL, 4,
                           &wrong_noise, &ct, &world->arena, &world->error),
              &world->error);
    printf("  with another key: %.3g %.3g ..., noise 2^%.0f\n", y[0], y[1],
           log2(wrong_noise));
    tour_check(wrong_noise > 0x1p30,
               "a wrong key is noticed: imaginary parts should be near 0");
    rlwe_secret_free(other, world->context);
    ckks_ct_clear(&ct);
}

/* One row: what an operation left behind, measured and predicted. */
static void row(tour_world *world, const char *what, const ckks_ct *ct,
                double variance)
{
    double y[1];
    const double measured = tour_decrypt(world, y, 1, ct);
    const double predicted = sqrt(variance) / ct->scale;
    printf("  %-22s %10.6f     2^%6.2f     2^%6.2f    2^%5.1f\n", what, y[0],
           log2(measured), log2(predicted), log2(ct->scale));
    tour_check(measured < 2 * predicted && measured > predicted / 2,
               "measured and predicted noise agree within a factor of 2");
}

static void show_growth(tour_world *world)
{
    tour_part("x = 1.5 in every slot; noise on the values");
    printf("  %-22s %10s    measured   predicted     scale\n", "", "slot 0");
    double x[512];
    for (size_t i = 0; i < 512; i++) {
        x[i] = 1.5;
    }
    const rlwe_context *context = world->context;
    const rlwe_gadget *gadget = &context->params.literal.gadget[0];
    ckks_evaluator *ev = world->evaluator;
    ckks_ct a = tour_encrypt(world, x, 512, SCALE);
    ckks_ct b = tour_encrypt(world, x, 512, SCALE);
    const double fresh = ckks_noise_fresh(context);
    row(world, "fresh", &a, fresh);

    ckks_ct sum = tour_ct(world);
    tour_must(ckks_add(ev, &sum, &a, &b), &ev->error);
    row(world, "x + x", &sum, 2 * fresh);

    const double product =
        ckks_noise_product(1.5 * SCALE, fresh, 1.5 * SCALE, fresh);
    tour_must(ckks_mul(ev, &a, &a, &b), &ev->error);
    row(world, "x * x, 3 components", &a, product);

    const double switched = product + ckks_noise_switch(context, gadget, 0, 1);
    tour_must(ckks_relinearise(ev, &a, &a), &ev->error);
    row(world, "relinearised", &a, switched);

    const double q = (double)context->params.literal.modulus[2];
    tour_must(ckks_rescale(ev, &a, &a, 1), &ev->error);
    row(world, "rescaled", &a,
        switched / (q * q) + ckks_noise_division(context, 2, 1));
    ckks_ct_clear(&a);
    ckks_ct_clear(&b);
    ckks_ct_clear(&sum);
}

int main(void)
{
    tour_title(5, "Encryption and noise");
    tour_world world;
    tour_world_init(&world, 4, 34, 3, NULL, 0);
    show_ciphertext(&world);
    show_growth(&world);
    tour_world_clear(&world);
    return 0;
}
