/* SPDX-License-Identifier: MIT
 * Helpers of the tour; see tour.h.
 */
#include "apps/tour/tour.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "rlwe/moduli.h"

#define TOUR_LOG2_N 10

/* ---- Printing ------------------------------------------------------------ */

void tour_title(int number, const char *title)
{
    printf("%d. %s\n", number, title);
}

void tour_part(const char *text)
{
    printf("\n%s\n", text);
}

void tour_row(const char *label, const uint64_t *a, size_t n)
{
    printf("  %-24s", label);
    for (size_t i = 0; i < n; i++) {
        printf(" %3" PRIu64, a[i]);
    }
    printf("\n");
}

void tour_row_signed(const char *label, const int64_t *a, size_t n)
{
    printf("  %-24s", label);
    for (size_t i = 0; i < n; i++) {
        printf(" %8" PRId64, a[i]);
    }
    printf("\n");
}

void tour_row_real(const char *label, const double *a, size_t n)
{
    printf("  %-24s", label);
    for (size_t i = 0; i < n; i++) {
        /* Adding 0 turns a rounded -0.0000 into 0.0000. */
        printf(" %8.4f", round(a[i] * 1e4) / 1e4 + 0.0);
    }
    printf("\n");
}

void tour_check(bool is_true, const char *claim)
{
    if (!is_true) {
        printf("  WRONG: %s\n", claim);
        exit(EXIT_FAILURE);
    }
    printf("  checked: %s\n", claim);
}

void tour_must(sotto_status status, const sotto_error *err)
{
    if (status != SOTTO_OK) {
        fprintf(stderr, "tour: %s: %s\n", sotto_status_text(status), err->text);
        exit(EXIT_FAILURE);
    }
}

/* ---- A world ------------------------------------------------------------- */

/* Level l has the first n - 1 - l moduli; the last modulus is special. */
static rlwe_params_literal toy_params(int n_moduli, double q_bits, int digits,
                                      sotto_error *err)
{
    rlwe_params_literal p = {.log2_n = TOUR_LOG2_N,
                             .n_moduli = n_moduli,
                             .n_levels = n_moduli - 1,
                             .n_gadgets = 1,
                             .allow_insecure = true};
    double bits[RNS_MAX_LIMBS];
    for (int i = 0; i < n_moduli; i++) {
        bits[i] = q_bits;
    }
    bits[0] += 6;
    bits[n_moduli - 1] += 4;
    tour_must(rlwe_moduli_find(p.modulus, TOUR_LOG2_N, bits, n_moduli, err),
              err);
    for (int l = 0; l < p.n_levels; l++) {
        p.level[l] = rns_set_range(0, n_moduli - 1 - l);
    }
    for (int l = 0; l + 1 < p.n_levels; l++) {
        p.step[p.n_steps++] = (rlwe_step){(uint8_t)l, (uint8_t)(l + 1)};
    }
    rlwe_gadget *gadget = &p.gadget[0];
    gadget->limbs = rns_set_range(0, n_moduli - 1);
    gadget->special = rns_set_range(n_moduli - 1, 1);
    gadget->n_digits = digits;
    for (int i = 0; i < n_moduli - 1; i++) {
        gadget->digit[i] = (uint8_t)(i * digits / (n_moduli - 1));
    }
    return p;
}

/* Key 0 relinearises, key i > 0 rotates by steps[i - 1]. */
static void make_keys(tour_world *world, const int64_t *steps, size_t n_steps)
{
    const rlwe_context *context = world->context;
    const rlwe_gadget *gadget = &context->params.literal.gadget[0];
    const sotto_seed root = {{3}};
    sotto_error *err = &world->error;
    const int n_keys = (int)n_steps + 1;
    rlwe_switch_key **key = sotto_calloc((size_t)n_keys, sizeof *key);
    if (key == NULL) {
        tour_must(sotto_fail(err, SOTTO_ERR_MEMORY, "no room for keys"), err);
        return;
    }
    for (int i = 0; i < n_keys; i++) {
        rlwe_key_target target = {RLWE_KEY_POWER, 2};
        if (i > 0) {
            target.kind = RLWE_KEY_GALOIS;
            target.value =
                ntt_ring_rotation(&context->ring->ring, steps[i - 1]);
        }
        tour_must(rlwe_switch_key_new(&key[i], context, world->secret, target,
                                      gadget, &root, (uint32_t)i, err),
                  err);
    }
    tour_must(rlwe_keyset_new(&world->keys, context, key, n_keys, err), err);
    sotto_free(key);
}

void tour_world_init(tour_world *world, int n_moduli, double q_bits, int digits,
                     const int64_t *steps, size_t n_steps)
{
    *world = (tour_world){.root = {{1}}};
    sotto_error *err = &world->error;
    const rlwe_params_literal p = toy_params(n_moduli, q_bits, digits, err);
    const sotto_seed root = {{2}};
    tour_must(rlwe_context_new(&world->context, &p, err), err);
    tour_must(rlwe_secret_new(&world->secret, world->context, &root, err), err);
    make_keys(world, steps, n_steps);
    tour_must(ckks_encoder_new(&world->encoder, world->context, err), err);
    tour_must(
        ckks_evaluator_new(&world->evaluator, world->context, world->keys, err),
        err);
    world->arena = sotto_arena_init(ckks_crypt_scratch(world->context));
    if (world->arena.base == NULL) {
        tour_must(sotto_fail(err, SOTTO_ERR_MEMORY, "no room to work in"), err);
    }
    world->slots = ntt_ring_slots(&world->context->ring->ring);
    printf("  (INSECURE toy parameters: N = 1024, log2 QP = %.0f; at most %d "
           "would be secure)\n",
           world->context->params.log2_qp,
           rlwe_security_max_log2(TOUR_LOG2_N, 128));
}

void tour_world_clear(tour_world *world)
{
    sotto_arena_clear(&world->arena);
    ckks_evaluator_free(world->evaluator);
    ckks_encoder_free(world->encoder);
    rlwe_keyset_free(world->keys);
    rlwe_secret_free(world->secret, world->context);
    rlwe_context_free(world->context);
}

ckks_ct tour_ct(tour_world *world)
{
    ckks_ct ct;
    tour_must(ckks_ct_init(&ct, world->context, 0, 3, &world->error),
              &world->error);
    return ct;
}

ckks_ct tour_encrypt(tour_world *world, const double *values, size_t n,
                     double scale)
{
    ckks_ct ct = tour_ct(world);
    tour_must(ckks_encrypt(&ct, world->encoder, world->context, world->secret,
                           values, n, scale, 0, &world->root, 0,
                           world->counter++, &world->arena, &world->error),
              &world->error);
    return ct;
}

double tour_decrypt(tour_world *world, double *values, size_t n,
                    const ckks_ct *ct)
{
    double noise;
    tour_must(ckks_decrypt(world->encoder, world->context, world->secret,
                           values, NULL, n, &noise, ct, &world->arena,
                           &world->error),
              &world->error);
    return noise;
}
