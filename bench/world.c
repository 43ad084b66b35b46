/* SPDX-License-Identifier: MIT
 * Contexts, keys and ciphertexts to measure with (world.h).
 */
#include "bench/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rlwe/moduli.h"

void world_must(sotto_status status, const sotto_error *err)
{
    if (status != SOTTO_OK) {
        (void)fprintf(stderr, "bench: %s\n", err->text);
        exit(1);
    }
}

static void *take(size_t count, size_t size)
{
    void *data = sotto_calloc(count, size);
    if (data == NULL) {
        (void)fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    return data;
}

void world_temporary(char *path, size_t cap_bytes)
{
    const char *folder = getenv("TMPDIR");
    (void)snprintf(path, cap_bytes, "%s/sotto-bench-XXXXXX",
                   folder != NULL && *folder != '\0' ? folder : "/tmp");
}

rlwe_params_literal world_literal(const world_size *size)
{
    rlwe_params_literal p = {.log2_n = size->log2_n,
                             .n_moduli = size->limbs + size->special,
                             .n_levels = 3,
                             .n_gadgets = 1};
    sotto_error err = {""};
    double target[RNS_MAX_LIMBS];
    for (int i = 0; i < p.n_moduli; i++) {
        target[i] = i < size->limbs ? size->bits : size->special_bits;
    }
    world_must(rlwe_moduli_find(p.modulus, p.log2_n, target, p.n_moduli, &err),
               &err);
    p.level[0] = rns_set_range(0, size->limbs);
    p.level[1] = rns_set_range(0, size->limbs - 1);
    p.level[2] = rns_set_range(0, WORLD_LOW_LIMBS);
    rlwe_gadget *g = &p.gadget[0];
    g->limbs = p.level[0];
    g->special = rns_set_range(size->limbs, size->special);
    g->n_digits = size->n_digits;
    const int each = (size->limbs + size->n_digits - 1) / size->n_digits;
    for (int i = 0; i < size->limbs; i++) {
        g->digit[i] = (uint8_t)(i / each);
    }
    return p;
}

static void make_keys(world *w)
{
    sotto_error err = {""};
    const ntt_ring *ring = &w->context->ring->ring;
    const rlwe_key_target target[] = {
        {RLWE_KEY_POWER, 2},
        {RLWE_KEY_GALOIS, ntt_ring_rotation(ring, 1)},
        {RLWE_KEY_GALOIS, 2 * ring->n - 1}};
    enum { KEYS = sizeof target / sizeof target[0] };
    rlwe_switch_key *key[KEYS];
    for (uint32_t i = 0; i < KEYS; i++) {
        world_must(rlwe_switch_key_new(&key[i], w->context, w->secret,
                                       target[i], &w->literal.gadget[0],
                                       &w->root, i, &err),
                   &err);
    }
    world_must(rlwe_keyset_new(&w->keys, w->context, key, KEYS, &err), &err);
}

/* A file with one ciphertext, opened, and its record as it stands there. */
static void make_record(world *w)
{
    sotto_error err = {""};
    char path[256];
    world_temporary(path, sizeof path);
    const int fd = mkstemp(path);
    if (fd < 0) {
        perror(path);
        exit(1);
    }
    (void)close(fd);
    const size_t len_bytes = rlwe_ct_record_max(w->context);
    w->record = take(len_bytes, 1);
    w->raw.bytes = take(len_bytes, 1);
    const rlwe_file_header header =
        rlwe_file_header_make(w->context, RLWE_FILE_CIPHERTEXT,
                              w->secret->key_id, w->secret->from_seed);
    sotto_output *out;
    world_must(sotto_output_open(&out, path, SOTTO_OUTPUT_PUBLIC, false, &err),
               &err);
    world_must(rlwe_write_header(out, &header, &err), &err);
    world_must(
        rlwe_write_ct(out, w->context, &w->fresh.ct, 1, 0, 0, w->record, &err),
        &err);
    world_must(sotto_output_commit(out, &err), &err);
    world_must(rlwe_file_open(&w->reader, path, w->context,
                              RLWE_FILE_CIPHERTEXT, &err),
               &err);
    bool at_end;
    world_must(rlwe_read_raw_ct(w->reader, &w->raw, &at_end, &err), &err);
    (void)unlink(path);
}

void world_encrypt(world *w)
{
    sotto_error err;
    world_must(ckks_encrypt(&w->fresh, w->encoder, w->context, w->secret,
                            w->values, w->slots, w->scale, 0, &w->root, 1,
                            w->count++, &w->arena, &err),
               &err);
}

static void make_ciphertexts(world *w)
{
    sotto_error err = {""};
    ckks_ct *const ct[] = {&w->fresh, &w->low, &w->out, &w->read};
    for (size_t i = 0; i < sizeof ct / sizeof ct[0]; i++) {
        world_must(ckks_ct_init(ct[i], w->context, 0, 2, &err), &err);
    }
    world_must(ckks_ct_init(&w->product, w->context, 0, 3, &err), &err);
    w->arena = sotto_arena_init(ckks_crypt_scratch(w->context));
    w->slots = w->context->ring->ring.n / 2;
    w->plain = take(rlwe_level_words(w->context, 0), sizeof(uint64_t));
    w->values = take(w->slots, sizeof(double));
    w->decrypted = take(w->slots, sizeof(double));
    for (size_t i = 0; i < w->slots; i++) {
        w->values[i] = (double)(i % 1000) / 1000;
    }
    world_must(ckks_encode(w->encoder, w->context, w->plain, w->values, NULL,
                           w->slots, w->scale, 0, &w->arena, &err),
               &err);
    world_encrypt(w);
    world_must(ckks_drop(w->ev, &w->low, &w->fresh, 2), &w->ev->error);
}

static void open_one(world *w, const rlwe_params_literal *literal,
                     ntt_backend cap)
{
    sotto_error err = {""};
    *w = (world){.literal = *literal, .scale = 0x1p29};
    sotto_seed_from_text(&w->root, "bench");
    world_must(rlwe_context_new_capped(&w->context, literal, cap, &err), &err);
    w->backend = w->context->ring->limb[0].kernels.name;
}

static void fill(world *w)
{
    sotto_error err = {""};
    world_must(rlwe_secret_new(&w->secret, w->context, &w->root, &err), &err);
    make_keys(w);
    world_must(ckks_encoder_new(&w->encoder, w->context, &err), &err);
    world_must(ckks_evaluator_new(&w->ev, w->context, w->keys, &err), &err);
    make_ciphertexts(w);
    make_record(w);
}

size_t world_open_all(world *w, const world_size *size, ntt_backend best)
{
    const rlwe_params_literal literal = world_literal(size);
    size_t n = 0;
    for (ntt_backend cap = 0; cap <= best; cap++) {
        open_one(&w[n], &literal, cap);
        if (n > 0 && strcmp(w[n].backend, w[n - 1].backend) == 0) {
            rlwe_context_free(w[n].context);
            continue;
        }
        fill(&w[n]);
        n++;
    }
    return n;
}

void world_close(world *w)
{
    ckks_ct *const ct[] = {&w->fresh, &w->low, &w->product, &w->out, &w->read};
    for (size_t i = 0; i < sizeof ct / sizeof ct[0]; i++) {
        ckks_ct_clear(ct[i]);
    }
    rlwe_file_close(w->reader);
    sotto_free(w->record);
    sotto_free(w->raw.bytes);
    sotto_arena_clear(&w->arena);
    sotto_free(w->plain);
    sotto_free(w->values);
    sotto_free(w->decrypted);
    ckks_evaluator_free(w->ev);
    ckks_encoder_free(w->encoder);
    rlwe_keyset_free(w->keys);
    rlwe_secret_free(w->secret, w->context);
    rlwe_context_free(w->context);
}

/* ---- Operations ---------------------------------------------------------- */

void world_encode(void *arg)
{
    world *w = arg;
    sotto_error err;
    world_must(ckks_encode(w->encoder, w->context, w->plain, w->values, NULL,
                           w->slots, w->scale, 0, &w->arena, &err),
               &err);
}

void world_multiply_plain(void *arg)
{
    world *w = arg;
    world_must(ckks_mul_plain(w->ev, &w->out, &w->fresh, w->plain, w->scale),
               &w->ev->error);
}

void world_relinearise(void *arg)
{
    world *w = arg;
    world_must(ckks_relinearise(w->ev, &w->out, &w->product), &w->ev->error);
}

void world_rescale(void *arg)
{
    world *w = arg;
    world_must(ckks_rescale(w->ev, &w->out, &w->fresh, 1), &w->ev->error);
}

void world_rotate(void *arg)
{
    world *w = arg;
    world_must(ckks_rotate(w->ev, &w->out, &w->fresh, 1), &w->ev->error);
}
