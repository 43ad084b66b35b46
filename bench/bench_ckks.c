/* SPDX-License-Identifier: MIT
 * Operations on whole ciphertexts, one thread, with parameters that satisfy the
 * security table: about 210, 425, 860, 1740 bits of QP, dnum 3.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "bench/harness.h"
#include "ckks/eval.h"
#include "rlwe/moduli.h"

/* Sizes of one parameter set. */
typedef struct set_size {
    int log2_n;
    int limbs;
    double bits;
    int special;
    double special_bits;
} set_size;

static const set_size sizes[] = {
    {13, 5, 29.9, 2, 30.5},
    {14, 9, 35, 3, 36},
    {15, 18, 36, 6, 35},
    {16, 36, 36, 12, 36.5},
};

typedef struct world {
    rlwe_context *context;
    rlwe_secret *secret;
    rlwe_keyset *keys;
    ckks_encoder *encoder;
    ckks_evaluator *ev;
    sotto_arena arena;
    sotto_seed root;
    uint64_t *plain;
    double *values;
    size_t slots;
    double scale;
    ckks_ct fresh, product, out;
    uint32_t count; /* of encryptions */
} world;

static void must(sotto_status status, const sotto_error *err)
{
    if (status != SOTTO_OK) {
        (void)fprintf(stderr, "bench: %s\n", err->text);
        exit(1);
    }
}

static rlwe_params_literal literal_of(const set_size *size)
{
    rlwe_params_literal p = {.log2_n = size->log2_n,
                             .n_moduli = size->limbs + size->special,
                             .n_levels = 2,
                             .n_gadgets = 1};
    sotto_error err = {""};
    double target[RNS_MAX_LIMBS];
    for (int i = 0; i < p.n_moduli; i++) {
        target[i] = i < size->limbs ? size->bits : size->special_bits;
    }
    must(rlwe_moduli_find(p.modulus, p.log2_n, target, p.n_moduli, &err), &err);
    p.level[0] = rns_set_range(0, size->limbs);
    p.level[1] = rns_set_range(0, size->limbs - 1);
    rlwe_gadget *g = &p.gadget[0];
    g->limbs = p.level[0];
    g->special = rns_set_range(size->limbs, size->special);
    g->n_digits = 3;
    const int each = (size->limbs + 2) / 3;
    for (int i = 0; i < size->limbs; i++) {
        g->digit[i] = (uint8_t)(i / each);
    }
    return p;
}

static void make_keys(world *w, const rlwe_gadget *gadget)
{
    sotto_error err = {""};
    const uint64_t rotation = ntt_ring_rotation(&w->context->ring->ring, 1);
    const rlwe_key_target target[2] = {{RLWE_KEY_POWER, 2},
                                       {RLWE_KEY_GALOIS, rotation}};
    rlwe_switch_key *key[2];
    for (uint32_t i = 0; i < 2; i++) {
        must(rlwe_switch_key_new(&key[i], w->context, w->secret, target[i],
                                 gadget, &w->root, i, &err),
             &err);
    }
    must(rlwe_keyset_new(&w->keys, w->context, key, 2, &err), &err);
}

static void open_world(world *w, const set_size *size)
{
    sotto_error err = {""};
    const rlwe_params_literal p = literal_of(size);
    *w = (world){.scale = 0x1p29};
    sotto_seed_from_text(&w->root, "bench");
    must(rlwe_context_new(&w->context, &p, &err), &err);
    must(rlwe_secret_new(&w->secret, w->context, &w->root, &err), &err);
    make_keys(w, &p.gadget[0]);
    must(ckks_encoder_new(&w->encoder, w->context, &err), &err);
    must(ckks_evaluator_new(&w->ev, w->context, w->keys, &err), &err);
    must(ckks_ct_init(&w->fresh, w->context, 0, 2, &err), &err);
    must(ckks_ct_init(&w->product, w->context, 0, 3, &err), &err);
    must(ckks_ct_init(&w->out, w->context, 0, 3, &err), &err);
    w->arena = sotto_arena_init(ckks_crypt_scratch(w->context));
    w->slots = w->context->ring->ring.n / 2;
    w->plain = sotto_calloc(rlwe_level_words(w->context, 0), sizeof(uint64_t));
    w->values = sotto_calloc(w->slots, sizeof(double));
    if (w->arena.base == NULL || w->plain == NULL || w->values == NULL) {
        must(SOTTO_ERR_MEMORY, &err);
    }
    for (size_t i = 0; i < w->slots; i++) {
        w->values[i] = (double)(i % 1000) / 1000;
    }
}

static void close_world(world *w)
{
    ckks_ct_clear(&w->fresh);
    ckks_ct_clear(&w->product);
    ckks_ct_clear(&w->out);
    sotto_arena_clear(&w->arena);
    sotto_free(w->plain);
    sotto_free(w->values);
    ckks_evaluator_free(w->ev);
    ckks_encoder_free(w->encoder);
    rlwe_keyset_free(w->keys);
    rlwe_secret_free(w->secret, w->context);
    rlwe_context_free(w->context);
}

static void run_encode(void *arg)
{
    world *w = arg;
    sotto_error err;
    must(ckks_encode(w->encoder, w->context, w->plain, w->values, NULL,
                     w->slots, w->scale, 0, &w->arena, &err),
         &err);
}

static void run_encrypt(void *arg)
{
    world *w = arg;
    sotto_error err;
    must(ckks_encrypt(&w->fresh, w->encoder, w->context, w->secret, w->values,
                      w->slots, w->scale, 0, &w->root, 1, w->count++, &w->arena,
                      &err),
         &err);
}

static void run_decrypt(void *arg)
{
    world *w = arg;
    sotto_error err;
    must(ckks_decrypt(w->encoder, w->context, w->secret, w->values, NULL,
                      w->slots, NULL, &w->fresh, &w->arena, &err),
         &err);
}

static void run_multiply_plain(void *arg)
{
    world *w = arg;
    must(ckks_mul_plain(w->ev, &w->out, &w->fresh, w->plain, w->scale),
         &w->ev->error);
}

static void run_rotate(void *arg)
{
    world *w = arg;
    must(ckks_rotate(w->ev, &w->out, &w->fresh, 1), &w->ev->error);
}

static void run_relinearise(void *arg)
{
    world *w = arg;
    must(ckks_relinearise(w->ev, &w->out, &w->product), &w->ev->error);
}

static void run_rescale(void *arg)
{
    world *w = arg;
    must(ckks_rescale(w->ev, &w->out, &w->fresh, 1), &w->ev->error);
}

static void run_multiply(void *arg)
{
    world *w = arg;
    must(ckks_mul(w->ev, &w->product, &w->fresh, &w->fresh), &w->ev->error);
    must(ckks_relinearise_rescale(w->ev, &w->out, &w->product, 1),
         &w->ev->error);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void *arg);
    } cases[] = {
        {"encode", run_encode},
        {"encrypt", run_encrypt},
        {"decrypt", run_decrypt},
        {"multiply_plain", run_multiply_plain},
        {"multiply_relinearise_rescale", run_multiply},
        {"relinearise", run_relinearise},
        {"rescale", run_rescale},
        {"rotate", run_rotate},
    };
    bench b = bench_begin(argc, argv, "ckks");
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        if (b.quick && sizes[s].log2_n > 14) {
            continue;
        }
        world w;
        open_world(&w, &sizes[s]);
        run_encrypt(&w);
        run_multiply(&w);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            const bench_case c = {.name = cases[i].name,
                                  .backend =
                                      w.context->ring->limb[0].kernels.name,
                                  .log2_n = sizes[s].log2_n,
                                  .limbs = sizes[s].limbs};
            (void)bench_measure(&b, &c, cases[i].run, &w);
        }
        close_world(&w);
    }
    return bench_end(&b);
}
