/* SPDX-License-Identifier: MIT
 * The client's part of ckks/ is constant time in messages, secrets and roots:
 * encoding, encryption, decryption, decoding.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "ckks/crypt.h"
#include "ntt/prime.h"
#include "tests/ct/ct.h"

#define MUST(expr) ct_must((expr) == SOTTO_OK, #expr)

#define LEVELS 2

typedef struct world {
    rlwe_context *context;
    ckks_encoder *encoder;
    rlwe_secret *secret;
    rlwe_public *public_key;
    sotto_arena arena;
    sotto_seed root; /* secret */
    size_t slots;
    double *re, *im; /* the message: secret */
    uint64_t *poly;
} world;

/* N = 2^10, one modulus of each class: numbers of three words. */
static world new_world(void)
{
    world w = {.context = NULL};
    rlwe_params_literal literal = {.log2_n = 10,
                                   .n_moduli = 4,
                                   .n_levels = LEVELS,
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
    literal.level[1] = rns_set_range(1, 1);
    MUST(rlwe_context_new(&w.context, &literal, NULL));
    MUST(ckks_encoder_new(&w.encoder, w.context, NULL));
    sotto_seed_from_text(&w.root, "constant time");
    sotto_mark_secret(&w.root, sizeof w.root);
    MUST(rlwe_secret_new(&w.secret, w.context, &w.root, NULL));
    MUST(rlwe_public_new(&w.public_key, w.context, w.secret, &w.root, NULL));
    w.arena = sotto_arena_init(ckks_crypt_scratch(w.context));
    w.slots = ntt_ring_slots(&w.context->ring->ring);
    w.re = sotto_calloc(w.slots, sizeof *w.re);
    w.im = sotto_calloc(w.slots, sizeof *w.im);
    w.poly = sotto_calloc(rlwe_level_words(w.context, 0), sizeof *w.poly);
    ct_must(w.arena.base && w.re && w.im && w.poly, "memory");
    return w;
}

static void free_world(world *w)
{
    sotto_free(w->re);
    sotto_free(w->im);
    sotto_free(w->poly);
    sotto_arena_clear(&w->arena);
    rlwe_public_free(w->public_key);
    rlwe_secret_free(w->secret, w->context);
    ckks_encoder_free(w->encoder);
    rlwe_context_free(w->context);
}

/* A message of every size of number, zeros and signs included. */
static void make_message(world *w)
{
    for (size_t j = 0; j < w->slots; j++) {
        const double x = (double)(j % 31) / 16 - 1;
        w->re[j] = j % 5 ? x : x * 0x1p-30;
        w->im[j] = -x / 3;
    }
    sotto_mark_secret(w->re, w->slots * sizeof *w->re);
    sotto_mark_secret(w->im, w->slots * sizeof *w->im);
}

/* Looks at every number, so that one that was never made is noticed. */
static void look(const double *x, size_t n)
{
    double sum = 0;
    sotto_declassify(x, n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    ct_must(sum > 0, "output");
}

static void check_encode(ct_log *log, world *w)
{
    static const double scale[LEVELS] = {0x1.3p+90, 0x1.3p+25};
    for (int level = 0; level < LEVELS; level++) {
        make_message(w);
        MUST(ckks_encode(w->encoder, w->context, w->poly, w->re, w->im,
                         w->slots, scale[level], level, &w->arena, NULL));
        ct_done(log, "encode in the message");
        ckks_decode(w->encoder, w->context, w->re, w->im, w->slots, w->poly,
                    scale[level], level, &w->arena);
        ct_done(log, "decode in the phase");
        look(w->re, w->slots);
    }
}

/* What is refused is known; the rest of the message is not looked at. */
static void check_refusal(ct_log *log, world *w)
{
    make_message(w);
    ct_must(ckks_encode(w->encoder, w->context, w->poly, w->re, w->im, w->slots,
                        0x1p+60, 1, &w->arena, NULL) == SOTTO_ERR_RANGE,
            "refusal");
    ct_done(log, "encode out of range");
}

static void check_crypt(ct_log *log, world *w)
{
    ckks_ct ct;
    MUST(ckks_ct_init(&ct, w->context, 0, 2, NULL));
    for (int public = 0; public < 2; public ++) {
        double noise;
        make_message(w);
        if (public) {
            MUST(ckks_encrypt_public(&ct, w->encoder, w->context, w->public_key,
                                     w->re, w->slots, 0x1p+40, 0, &w->root, 1,
                                     2, &w->arena, NULL));
            ct_done(log, "public-key encryption in message and root");
        } else {
            MUST(ckks_encrypt(&ct, w->encoder, w->context, w->secret, w->re,
                              w->slots, 0x1p+40, 0, &w->root, 1, 2, &w->arena,
                              NULL));
            ct_done(log, "encryption in message, secret and root");
        }
        MUST(ckks_decrypt(w->encoder, w->context, w->secret, w->re, w->im,
                          w->slots, &noise, &ct, &w->arena, NULL));
        ct_must(noise > 0, "noise"); /* published: printed beside scores */
        ct_done(log, "decryption in the secret");
        look(w->re, w->slots);
    }
    ckks_ct_clear(&ct);
}

int main(void)
{
    ct_log log = {0};
    world w = new_world();
    ct_done(&log, "keys");
    check_encode(&log, &w);
    check_refusal(&log, &w);
    check_crypt(&log, &w);
    free_world(&w);
    return 0;
}
