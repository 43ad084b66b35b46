/* SPDX-License-Identifier: MIT
 * rlwe/ is constant time in roots and secrets: making keys, encrypting zero,
 * the phase.
 */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "ntt/prime.h"
#include "rlwe/encrypt.h"
#include "rlwe/keys.h"
#include "rlwe/keyswitch.h"
#include "tests/ct/ct.h"

#define MUST(expr) ct_must((expr) == SOTTO_OK, #expr)

typedef struct world {
    rlwe_context *context;
    sotto_arena arena;
    sotto_seed root; /* secret */
} world;

/* N = 2^10, one modulus of each class. */
static world new_world(void)
{
    world w = {.context = NULL};
    rlwe_params_literal literal = {.log2_n = 10,
                                   .n_moduli = 4,
                                   .n_levels = 2,
                                   .n_gadgets = 1,
                                   .has_public = true,
                                   .public_special = 3,
                                   .allow_insecure = true};
    static const double sizes[4] = {46.5, 32, 49.5, 46};
    const ntt_ring ring = ntt_ring_init(10);
    for (size_t i = 0; i < 4; i++) {
        MUST(ntt_prime_search(&literal.modulus[i], 1, &ring, sizes[i],
                              literal.modulus, i, NULL));
    }
    literal.level[0] = rns_set_range(0, 3);
    literal.level[1] = rns_set_range(1, 2);
    literal.gadget[0] = (rlwe_gadget){.limbs = literal.level[0],
                                      .special = rns_set_range(3, 1),
                                      .n_digits = 2,
                                      .digit = {0, 0, 1}};
    MUST(rlwe_context_new(&w.context, &literal, NULL));
    w.arena = sotto_arena_init(rlwe_encrypt_scratch(w.context) +
                               rlwe_switch_scratch(w.context));
    ct_must(w.arena.base != NULL, "arena");
    sotto_seed_from_text(&w.root, "constant time");
    sotto_mark_secret(&w.root, sizeof w.root);
    return w;
}

/* Looks at every word, so that one that is still secret is noticed. */
static void look(const uint64_t *words, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += words[i] & 0xff;
    }
    ct_must(sum > 0, "output");
}

static rlwe_secret *check_secret(ct_log *log, const world *w)
{
    rlwe_secret *secret;
    MUST(rlwe_secret_new(&secret, w->context, &w->root, NULL));
    ct_done(log, "secret key in the root");
    rlwe_secret *copy;
    MUST(rlwe_secret_from_small(&copy, w->context, secret->small,
                                secret->key_id, true, NULL));
    rlwe_secret_free(copy, w->context);
    ct_done(log, "secret key from coefficients");
    return secret;
}

static rlwe_public *check_public(ct_log *log, const world *w,
                                 const rlwe_secret *secret)
{
    rlwe_public *key;
    MUST(rlwe_public_new(&key, w->context, secret, &w->root, NULL));
    look(key->b, w->context->ring->ring.n);
    ct_done(log, "public key in root and secret");
    return key;
}

static void check_switch_keys(ct_log *log, const world *w,
                              const rlwe_secret *secret)
{
    static const rlwe_key_target targets[2] = {{RLWE_KEY_POWER, 3},
                                               {RLWE_KEY_GALOIS, 5}};
    for (uint32_t i = 0; i < 2; i++) {
        rlwe_switch_key *key;
        MUST(rlwe_switch_key_new(&key, w->context, secret, targets[i],
                                 &w->context->params.literal.gadget[0],
                                 &w->root, i, NULL));
        look(rlwe_switch_key_limb(key, w->context, 1, 1, 0),
             w->context->ring->ring.n);
        rlwe_switch_key_free(key);
    }
    ct_done(log, "switching keys in root and secret");
}

static void check_encryption(ct_log *log, world *w, const rlwe_secret *secret,
                             const rlwe_public *key)
{
    rlwe_ct ct;
    MUST(rlwe_ct_init(&ct, w->context, 0, 2, NULL));
    MUST(rlwe_encrypt_zero(&ct, w->context, secret, 0, &w->root, 1, 2,
                           &w->arena, NULL));
    look(ct.data, w->context->ring->ring.n);
    ct_done(log, "symmetric encryption in root and secret");

    uint64_t *phase = sotto_calloc(rlwe_level_words(w->context, 0), 8);
    ct_must(phase != NULL, "memory");
    MUST(rlwe_phase(phase, w->context, &ct, secret, NULL));
    ct_done(log, "phase in the secret");
    sotto_free(phase);

    MUST(rlwe_encrypt_zero_public(&ct, w->context, key, 1, &w->root, 3, 4,
                                  &w->arena, NULL));
    look(ct.data, w->context->ring->ring.n);
    ct_done(log, "public-key encryption in the root");
    rlwe_ct_clear(&ct);
}

int main(void)
{
    ct_log log = {0};
    world w = new_world();
    rlwe_secret *secret = check_secret(&log, &w);
    rlwe_public *key = check_public(&log, &w, secret);
    check_switch_keys(&log, &w, secret);
    check_encryption(&log, &w, secret, key);
    rlwe_public_free(key);
    rlwe_secret_free(secret, w.context);
    sotto_arena_clear(&w.arena);
    rlwe_context_free(w.context);
    return 0;
}
