/* SPDX-License-Identifier: MIT
 * Operations on whole ciphertexts, one thread, every backend, with parameters
 * that satisfy the security table (the context refuses others): about 210, 425,
 * 860, 1740 bits of QP, dnum 3.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/parts.h"
#include "bench/world.h"

static const world_size sizes[] = {
    {13, 5, 29.9, 2, 30.5, 3},
    {14, 9, 35, 3, 36, 3},
    {15, 18, 36, 6, 35, 3},
    {16, 36, 36, 12, 36.5, 3},
};

static void run_encrypt(void *arg)
{
    world *w = arg;
    world_encrypt(w);
}

static void run_decrypt(void *arg)
{
    world *w = arg;
    sotto_error err;
    world_must(ckks_decrypt(w->encoder, w->context, w->secret, w->decrypted,
                            NULL, w->slots, NULL, &w->fresh, &w->arena, &err),
               &err);
}

static void run_decrypt_low(void *arg)
{
    world *w = arg;
    sotto_error err;
    world_must(ckks_decrypt(w->encoder, w->context, w->secret, w->decrypted,
                            NULL, w->slots, NULL, &w->low, &w->arena, &err),
               &err);
}

static void run_add(void *arg)
{
    world *w = arg;
    world_must(ckks_add(w->ev, &w->out, &w->fresh, &w->fresh), &w->ev->error);
}

static void run_multiply(void *arg)
{
    world *w = arg;
    world_must(ckks_mul(w->ev, &w->product, &w->fresh, &w->fresh),
               &w->ev->error);
}

static void run_multiply_relinearise_rescale(void *arg)
{
    world *w = arg;
    run_multiply(w);
    world_must(ckks_relinearise_rescale(w->ev, &w->out, &w->product, 1),
               &w->ev->error);
}

static void run_conjugate(void *arg)
{
    world *w = arg;
    world_must(ckks_conjugate(w->ev, &w->out, &w->fresh), &w->ev->error);
}

static void run_switch_key(void *arg)
{
    world *w = arg;
    sotto_error err;
    rlwe_switch_key *key;
    world_must(rlwe_switch_key_new(&key, w->context, w->secret,
                                   (rlwe_key_target){RLWE_KEY_POWER, 2},
                                   &w->literal.gadget[0], &w->root, 9, &err),
               &err);
    rlwe_switch_key_free(key);
}

static void run_serialise(void *arg)
{
    world *w = arg;
    (void)rlwe_pack_ct(w->record, w->context, &w->fresh.ct, 1, 0, 0);
}

static void run_deserialise(void *arg)
{
    world *w = arg;
    sotto_error err;
    uint64_t scale_bits, index;
    uint32_t item;
    world_must(rlwe_parse_ct(w->reader, w->context, &w->read.ct, &scale_bits,
                             &index, &item, &w->raw, &err),
               &err);
}

/* What an operation reads and writes of ciphertexts and keys. */
typedef enum moved { NOTHING_SAID, SUM, PRODUCT_PLAIN, SWITCHED } moved;

typedef struct operation {
    const char *name;
    void (*run)(void *arg);
    moved moved;
    int limbs; /* 0: those of level 0 */
} operation;

static const operation operations[] = {
    {"encode", world_encode, NOTHING_SAID, 0},
    {"encrypt", run_encrypt, NOTHING_SAID, 0},
    {"decrypt", run_decrypt, NOTHING_SAID, 0},
    {"decrypt", run_decrypt_low, NOTHING_SAID, WORLD_LOW_LIMBS},
    {"add", run_add, SUM, 0},
    {"multiply_plain", world_multiply_plain, PRODUCT_PLAIN, 0},
    {"multiply_relinearise_rescale", run_multiply_relinearise_rescale, SWITCHED,
     0},
    {"relinearise", world_relinearise, SWITCHED, 0},
    {"rotate", world_rotate, SWITCHED, 0},
    {"conjugate", run_conjugate, SWITCHED, 0},
    {"rescale", world_rescale, NOTHING_SAID, 0},
    {"make_switch_key", run_switch_key, NOTHING_SAID, 0},
    {"serialise", run_serialise, NOTHING_SAID, 0},
    {"deserialise", run_deserialise, NOTHING_SAID, 0},
};

#define N_OPERATIONS (sizeof operations / sizeof operations[0])

static double bytes_of(const world_size *size, moved what)
{
    const double limb = 8 * (double)((size_t)1 << size->log2_n);
    const double limbs = size->limbs, all = size->limbs + size->special;
    switch (what) {
    case SUM:
        return 4 * limbs * limb; /* one input is given twice */
    case PRODUCT_PLAIN:
        return 5 * limbs * limb;
    case SWITCHED:
        return (4 * limbs + 2 * size->n_digits * all) * limb;
    default:
        return 0;
    }
}

static void measure(bench *b, const world_size *size, world *w, size_t n_worlds)
{
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        const operation *op = &operations[i];
        bench_case c[NTT_BACKEND_IFMA + 1];
        for (size_t k = 0; k < n_worlds; k++) {
            c[k] =
                (bench_case){.name = op->name,
                             .backend = w[k].backend,
                             .log2_n = size->log2_n,
                             .limbs = op->limbs > 0 ? op->limbs : size->limbs,
                             .bytes = bytes_of(size, op->moved),
                             .against = {{0, k > 0 ? "portable" : NULL}},
                             .run = op->run,
                             .arg = &w[k]};
        }
        bench_group(b, c, n_worlds, NULL);
    }
}

void bench_operations(bench *b)
{
    bool wanted = false;
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        wanted = wanted || bench_wants(b, operations[i].name);
    }
    for (size_t s = 0; wanted && s < sizeof sizes / sizeof sizes[0]; s++) {
        world w[NTT_BACKEND_IFMA + 1];
        const size_t n = world_open_all(w, &sizes[s], b->cap);
        for (size_t k = 0; k < n; k++) {
            run_multiply(&w[k]);
        }
        measure(b, &sizes[s], w, n);
        for (size_t k = 0; k < n; k++) {
            world_close(&w[k]);
        }
    }
}
