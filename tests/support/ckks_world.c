/* SPDX-License-Identifier: MIT
 * A small CKKS world for tests.
 */
#include "tests/support/ckks_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ckks/noise.h"
#include "ntt/prime.h"
#include "tests/support/check.h"

rns_set world_set(const char *word)
{
    rns_set set = {0};
    for (; *word >= 'a' && *word <= 'z'; word++) {
        set.id[set.count++] = (uint8_t)(*word - 'a');
    }
    return set;
}

/* "limbs|digits|special" */
static rlwe_gadget gadget_of(const char *text)
{
    rlwe_gadget gadget = {.limbs = world_set(text)};
    const char *digit = strchr(text, '|') + 1;
    for (int i = 0; i < gadget.limbs.count; i++) {
        gadget.digit[i] = (uint8_t)(digit[i] - '0');
        if (gadget.digit[i] + 1 > gadget.n_digits) {
            gadget.n_digits = gadget.digit[i] + 1;
        }
    }
    gadget.special = world_set(strchr(digit, '|') + 1);
    return gadget;
}

rlwe_params_literal world_literal(const world_spec *spec)
{
    rlwe_params_literal literal = {.log2_n = spec->log2_n,
                                   .allow_insecure = true};
    const ntt_ring ring = ntt_ring_init(spec->log2_n);
    for (int i = 0; spec->log2_q[i] > 0; i++) {
        CHECK(ntt_prime_search(&literal.modulus[i], 1, &ring, spec->log2_q[i],
                               literal.modulus, (size_t)i, err));
        literal.n_moduli = i + 1;
    }
    for (int i = 0; spec->level[i]; i++) {
        literal.level[i] = world_set(spec->level[i]);
        literal.n_levels = i + 1;
    }
    for (int i = 0; spec->step && spec->step[i]; i++) {
        literal.step[i].from = (uint8_t)(spec->step[i][0] - '0');
        literal.step[i].to = (uint8_t)(spec->step[i][1] - '0');
        literal.n_steps = i + 1;
    }
    for (int i = 0; spec->gadget && spec->gadget[i]; i++) {
        literal.gadget[i] = gadget_of(spec->gadget[i]);
        literal.n_gadgets = i + 1;
    }
    if (spec->public_special) {
        literal.has_public = true;
        literal.public_special = spec->public_special - 'a';
    }
    return literal;
}

#define MAX_KEYS 128

/* Makes a key for the target under every gadget. */
static void add_keys(world *w, rlwe_switch_key **key, int *n,
                     rlwe_key_target target)
{
    const rlwe_params_literal *literal = &w->context->params.literal;
    for (int g = 0; g < literal->n_gadgets; g++) {
        assert_true(*n < MAX_KEYS);
        CHECK(rlwe_switch_key_new(&key[*n], w->context, w->secret, target,
                                  &literal->gadget[g], &w->root, (uint32_t)*n,
                                  err));
        (*n)++;
    }
}

static void make_keys(world *w, const world_spec *spec)
{
    rlwe_switch_key *key[MAX_KEYS];
    const ntt_ring *ring = &w->context->ring->ring;
    int n = 0;
    for (int power = 2; power <= spec->max_power; power++) {
        const rlwe_key_target target = {RLWE_KEY_POWER, (uint64_t)power};
        add_keys(w, key, &n, target);
    }
    for (int i = 0; spec->rotation && spec->rotation[i]; i++) {
        const rlwe_key_target target = {
            RLWE_KEY_GALOIS, ntt_ring_rotation(ring, spec->rotation[i])};
        add_keys(w, key, &n, target);
    }
    if (spec->conjugation) {
        const rlwe_key_target target = {RLWE_KEY_GALOIS,
                                        ntt_ring_conjugation(ring)};
        add_keys(w, key, &n, target);
    }
    CHECK(rlwe_keyset_new(&w->keys, w->context, key, n, err));
}

world world_new(const world_spec *spec, const char *seed)
{
    world w = {0};
    const rlwe_params_literal literal = world_literal(spec);
    sotto_seed_from_text(&w.root, seed);
    if (spec->has_cap) {
        CHECK(rlwe_context_new_capped(&w.context, &literal, spec->cap, err));
    } else {
        CHECK(rlwe_context_new(&w.context, &literal, err));
    }
    CHECK(ckks_encoder_new(&w.encoder, w.context, err));
    CHECK(rlwe_secret_new(&w.secret, w.context, &w.root, err));
    if (spec->public_special) {
        CHECK(
            rlwe_public_new(&w.public_key, w.context, w.secret, &w.root, err));
    }
    make_keys(&w, spec);
    CHECK(ckks_evaluator_new(&w.ev, w.context, w.keys, err));
    w.arena = sotto_arena_init(ckks_crypt_scratch(w.context));
    assert_non_null(w.arena.base);
    w.slots = ntt_ring_slots(&w.context->ring->ring);
    return w;
}

void world_free(world *w)
{
    ckks_evaluator_free(w->ev);
    rlwe_keyset_free(w->keys);
    rlwe_public_free(w->public_key);
    rlwe_secret_free(w->secret, w->context);
    ckks_encoder_free(w->encoder);
    sotto_arena_clear(&w->arena);
    rlwe_context_free(w->context);
}

ckks_ct world_ct(const world *w)
{
    ckks_ct ct;
    CHECK(ckks_ct_init(&ct, w->context, 0, RLWE_MAX_COMPONENTS, err));
    return ct;
}

ckks_ct world_encrypt(world *w, const double *x, double scale, int level)
{
    ckks_ct ct = world_ct(w);
    CHECK(ckks_encrypt(&ct, w->encoder, w->context, w->secret, x, w->slots,
                       scale, level, &w->root, w->object++, 0, &w->arena, err));
    return ct;
}

void world_decrypt(world *w, double *re, double *im, const ckks_ct *ct)
{
    CHECK(ckks_decrypt(w->encoder, w->context, w->secret, re, im, w->slots,
                       NULL, ct, &w->arena, err));
}

double world_error(world *w, const ckks_ct *ct, const double *expected)
{
    double largest = 0;
    CHECK(ckks_noise_measure(w->encoder, w->context, w->secret, NULL, &largest,
                             ct, expected, w->slots, &w->arena, err));
    return largest;
}

double *world_vector(const world *w)
{
    double *x = calloc(w->slots, sizeof *x);
    assert_non_null(x);
    return x;
}

void world_random(sotto_stream *stream, double *x, size_t n, double bound)
{
    for (size_t i = 0; i < n; i++) {
        const double unit = (double)(sotto_stream_u64(stream) >> 11) * 0x1p-53;
        x[i] = bound * (2 * unit - 1);
    }
}
