/* SPDX-License-Identifier: MIT
 * Making secret and public keys; what the making of all keys shares.
 *
 * Constant time in the secret, the errors and the roots: they meet only
 * samplers, transforms and element-wise kernels. Which limb, digit or stream
 * comes next depends on public parameters alone.
 */
#include "rlwe/keys.h"

#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "ntt/poly.h"
#include "ntt/sample.h"
#include "rlwe/rlwe_internal.h"

sotto_status rlwe_root_take(sotto_seed *root, const sotto_seed *given,
                            sotto_error *err)
{
    if (given == NULL) {
        return sotto_seed_from_system(root, err);
    }
    *root = *given;
    return SOTTO_OK;
}

void rlwe_uniform_limb(uint64_t *out, const rns_ring *ring, int id,
                       const sotto_seed *seed, uint32_t digit)
{
    sotto_seed key;
    sotto_prf(&key, seed, SOTTO_LABEL_UNIFORM, 0, 0, digit, (uint32_t)id);
    ntt_sample_uniform(out, ring->ring.n, &key, rns_modulus(ring, id),
                       &ring->limb[id].kernels);
}

void rlwe_small_limb(uint64_t *out, const rns_ring *ring, int id,
                     const int8_t *small)
{
    const rns_set set = rns_set_range(id, 1);
    poly_from_small(ring, &set, out, small);
    poly_forward(ring, &set, out);
}

void rlwe_mask_limb(uint64_t *b, const rlwe_context *context,
                    const rlwe_secret *secret, int id, const uint64_t *a,
                    const int8_t *error, const uint64_t *message)
{
    const rns_ring *ring = context->ring;
    const rns_limb *limb = &ring->limb[id];
    const zq_modulus *mod = &limb->table->mod;
    const rns_set set = rns_set_range(id, 1);
    const size_t n = ring->ring.n;
    poly_from_small(ring, &set, b, error);
    if (message != NULL) {
        limb->kernels.add(b, b, message, n, mod);
    }
    poly_forward(ring, &set, b);
    limb->kernels.sub_mul(b, a, rlwe_secret_limb(context, secret, id), n, mod);
}

/* ---- Secret ------------------------------------------------------------ */

/* Allocates a secret; all zero. */
static sotto_status alloc_secret(rlwe_secret **secret,
                                 const rlwe_context *context, sotto_error *err)
{
    *secret = NULL;
    const rns_ring *ring = context->ring;
    rlwe_secret *made = sotto_calloc(1, sizeof *made);
    if (made != NULL) {
        made->small = sotto_calloc(ring->ring.n, sizeof *made->small);
        made->ntt =
            sotto_calloc(poly_words(ring, ring->n_limbs), sizeof *made->ntt);
    }
    if (made == NULL || made->small == NULL || made->ntt == NULL) {
        rlwe_secret_free(made, context);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a secret key");
    }
    *secret = made;
    return SOTTO_OK;
}

/* Fills ntt from small. All moduli, special ones too: keys need them. */
static void transform_secret(rlwe_secret *secret, const rlwe_context *context)
{
    const rns_set all = rns_set_range(0, context->ring->n_limbs);
    poly_from_small(context->ring, &all, secret->ntt, secret->small);
    poly_forward(context->ring, &all, secret->ntt);
}

sotto_status rlwe_secret_new(rlwe_secret **secret, const rlwe_context *context,
                             const sotto_seed *root, sotto_error *err)
{
    *secret = NULL;
    rlwe_secret *made = NULL;
    SOTTO_TRY(alloc_secret(&made, context, err));
    sotto_seed taken;
    const sotto_status status = rlwe_root_take(&taken, root, err);
    if (status != SOTTO_OK) {
        rlwe_secret_free(made, context);
        return status;
    }
    /* The id is a PRF output like the stream key, under another label: it says
     * nothing about the secret. */
    sotto_seed key;
    sotto_prf(&key, &taken, SOTTO_LABEL_KEY_ID, 0, 0, 0, 0);
    memcpy(made->key_id, key.bytes, sizeof made->key_id);
    /* Names the key in every file. */
    sotto_declassify(made->key_id, sizeof made->key_id);
    sotto_prf(&key, &taken, SOTTO_LABEL_SECRET, 0, 0, 0, 0);
    ntt_sample_ternary(made->small, context->ring->ring.n, &key,
                       &context->ring->limb[0].kernels);
    sotto_wipe(&key, sizeof key);
    sotto_wipe(&taken, sizeof taken);
    made->from_seed = root != NULL;
    transform_secret(made, context);
    *secret = made;
    return SOTTO_OK;
}

sotto_status rlwe_secret_from_small(rlwe_secret **secret,
                                    const rlwe_context *context,
                                    const int8_t *small, const uint8_t *key_id,
                                    bool from_seed, sotto_error *err)
{
    *secret = NULL;
    rlwe_secret *made = NULL;
    SOTTO_TRY(alloc_secret(&made, context, err));
    memcpy(made->small, small, context->ring->ring.n);
    memcpy(made->key_id, key_id, sizeof made->key_id);
    made->from_seed = from_seed;
    transform_secret(made, context);
    *secret = made;
    return SOTTO_OK;
}

void rlwe_secret_free(rlwe_secret *secret, const rlwe_context *context)
{
    if (secret == NULL) {
        return;
    }
    const rns_ring *ring = context->ring;
    sotto_wipe_free(secret->small, ring->ring.n * sizeof *secret->small);
    sotto_wipe_free(secret->ntt,
                    poly_words(ring, ring->n_limbs) * sizeof *secret->ntt);
    sotto_wipe_free(secret, sizeof *secret);
}

/* ---- Public key -------------------------------------------------------- */

/* Gives an empty key its arrays and dividers. n_dividers counts those that
 * exist, so that a failure half-way can be freed. */
static sotto_status fill_public(rlwe_public *key, const rlwe_context *context,
                                sotto_error *err)
{
    const rns_ring *ring = context->ring;
    const int n_levels = context->chain.n_levels;
    const rns_set special =
        rns_set_range(context->params.literal.public_special, 1);
    key->set = rns_set_union(rlwe_level_set(context, 0), &special);
    const size_t words = poly_words(ring, key->set.count);
    key->b = sotto_calloc(words, sizeof *key->b);
    key->a = sotto_calloc(words, sizeof *key->a);
    key->divider = sotto_calloc((size_t)n_levels, sizeof *key->divider);
    if (key->b == NULL || key->a == NULL || key->divider == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a public key");
    }
    for (int i = 0; i < n_levels; i++) {
        SOTTO_TRY(rns_divider_new(&key->divider[i], ring,
                                  rlwe_level_set(context, i), &special, err));
        key->n_dividers = i + 1;
    }
    return SOTTO_OK;
}

sotto_status rlwe_public_alloc(rlwe_public **key, const rlwe_context *context,
                               sotto_error *err)
{
    *key = NULL;
    if (!context->params.literal.has_public) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "these parameters have no public key; make them with "
                          "one (keygen --public)");
    }
    rlwe_public *made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a public key");
    }
    const sotto_status status = fill_public(made, context, err);
    if (status != SOTTO_OK) {
        rlwe_public_free(made);
        return status;
    }
    *key = made;
    return SOTTO_OK;
}

void rlwe_public_expand(rlwe_public *key, const rlwe_context *context)
{
    for (int i = 0; i < key->set.count; i++) {
        rlwe_uniform_limb(poly_limb(context->ring, key->a, i), context->ring,
                          key->set.id[i], &key->seed, 0);
    }
}

/* Fills b. work: n bytes of arena. */
static void mask_public(rlwe_public *key, const rlwe_context *context,
                        const rlwe_secret *secret, const sotto_seed *root,
                        sotto_arena *work)
{
    const rns_ring *ring = context->ring;
    int8_t *error = sotto_arena_take(work, ring->ring.n, sizeof *error);
    SOTTO_ASSERT(error != NULL);
    sotto_seed stream;
    sotto_prf(&stream, root, SOTTO_LABEL_ERROR, RLWE_OBJECT_PUBLIC, 0, 0, 0);
    ntt_sample_error(error, ring->ring.n, &stream, &ring->limb[0].kernels);
    sotto_wipe(&stream, sizeof stream);
    for (int i = 0; i < key->set.count; i++) {
        rlwe_mask_limb(poly_limb(ring, key->b, i), context, secret,
                       key->set.id[i], poly_limb_const(ring, key->a, i), error,
                       NULL);
    }
}

/* Draws everything of an allocated public key. */
static sotto_status draw_public(rlwe_public *key, const rlwe_context *context,
                                const rlwe_secret *secret,
                                const sotto_seed *given, sotto_error *err)
{
    const size_t n = context->ring->ring.n;
    sotto_arena work = sotto_arena_init(sotto_arena_need(n, 1));
    if (work.base == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a public key");
    }
    sotto_seed root;
    const sotto_status status = rlwe_root_take(&root, given, err);
    if (status == SOTTO_OK) {
        /* a depends on the seed alone, b on the root's error as well. */
        sotto_prf(&key->seed, &root, SOTTO_LABEL_CHILD, RLWE_OBJECT_PUBLIC, 0,
                  0, 0);
        /* Published in place of a; then b, whose error hides the secret. */
        sotto_declassify(&key->seed, sizeof key->seed);
        rlwe_public_expand(key, context);
        mask_public(key, context, secret, &root, &work);
        sotto_declassify(key->b, poly_words(context->ring, key->set.count) *
                                     sizeof *key->b);
    }
    sotto_wipe(&root, sizeof root);
    sotto_arena_clear(&work);
    return status;
}

sotto_status rlwe_public_new(rlwe_public **key, const rlwe_context *context,
                             const rlwe_secret *secret, const sotto_seed *root,
                             sotto_error *err)
{
    *key = NULL;
    rlwe_public *made;
    SOTTO_TRY(rlwe_public_alloc(&made, context, err));
    memcpy(made->key_id, secret->key_id, sizeof made->key_id);
    made->from_seed = root != NULL || secret->from_seed;
    const sotto_status status = draw_public(made, context, secret, root, err);
    if (status != SOTTO_OK) {
        rlwe_public_free(made);
        return status;
    }
    *key = made;
    return SOTTO_OK;
}

void rlwe_public_free(rlwe_public *key)
{
    if (key == NULL) {
        return;
    }
    for (int i = 0; i < key->n_dividers; i++) {
        rns_divider_free(key->divider[i]);
    }
    sotto_free(key->divider);
    sotto_free(key->b);
    sotto_free(key->a);
    sotto_free(key);
}
