/* SPDX-License-Identifier: MIT
 * Encryption of zero and the phase. Constant time in secrets, errors and the
 * ephemeral, as keys.c; scratch that held them is wiped.
 */
#include "rlwe/encrypt.h"

#include <string.h>

#include "base/hash.h"
#include "base/secret.h"
#include "ntt/poly.h"
#include "ntt/sample.h"
#include "rlwe/rlwe_internal.h"

/* Digits of the error streams of one ciphertext (keys.h). */
enum { DIGIT_SYMMETRIC = 0, DIGIT_PUBLIC = 1 };

/* Samples the error with this digit.   secret: out */
static void sample_error(int8_t *out, const rns_ring *ring,
                         const sotto_seed *root, uint64_t object,
                         uint32_t index, uint32_t digit)
{
    sotto_seed stream;
    sotto_prf(&stream, root, SOTTO_LABEL_ERROR, object, index, digit, 0);
    ntt_sample_error(out, ring->ring.n, &stream, &ring->limb[0].kernels);
    sotto_wipe(&stream, sizeof stream);
}

/* Limb i of component 1 of a seeded ciphertext. Streams are per limb: at a
 * lower level the same limbs come out. */
static void expand_limb(rlwe_ct *ct, const rlwe_context *context, int i)
{
    const rns_set *set = rlwe_level_set(context, ct->level);
    rlwe_uniform_limb(
        poly_limb(context->ring, rlwe_ct_component(ct, context, 1), i),
        context->ring, set->id[i], &ct->seed, 0);
}

void rlwe_expand_seed(rlwe_ct *ct, const rlwe_context *context)
{
    const rns_set *set = rlwe_level_set(context, ct->level);
    for (int i = 0; i < set->count; i++) {
        expand_limb(ct, context, i);
    }
}

sotto_status rlwe_encrypt_begin(rlwe_ct *out, int8_t *error,
                                const rlwe_context *context,
                                const rlwe_secret *secret, int level,
                                const sotto_seed *root, uint64_t object,
                                uint32_t index, sotto_error *err)
{
    SOTTO_ASSERT(object < RLWE_OBJECT_PUBLIC);
    SOTTO_TRY(rlwe_ct_reshape(out, context, level, 2, err));
    memcpy(out->key_id, secret->key_id, sizeof out->key_id);
    out->seeded = true;
    sotto_prf(&out->seed, root, SOTTO_LABEL_CHILD, object, index, 0, 0);
    sotto_declassify(&out->seed, sizeof out->seed); /* stands for c_1 */
    sample_error(error, context->ring, root, object, index, DIGIT_SYMMETRIC);
    return SOTTO_OK;
}

void rlwe_encrypt_end(rlwe_ct *out, const rlwe_context *context,
                      const rlwe_secret *secret)
{
    const rns_ring *ring = context->ring;
    const size_t n = ring->ring.n;
    const rns_set *set = rlwe_level_set(context, out->level);
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = &ring->limb[set->id[i]];
        const zq_modulus *mod = &limb->table->mod;
        uint64_t *const b =
            poly_limb(ring, rlwe_ct_component(out, context, 0), i);
        expand_limb(out, context, i);
        limb->kernels.forward(b, limb->table);
        limb->kernels.sub_mul(
            b, poly_limb(ring, rlwe_ct_component(out, context, 1), i),
            rlwe_secret_limb(context, secret, set->id[i]), n, mod);
    }
    /* A sample hides what it is made of: that is what encryption is. */
    sotto_declassify(rlwe_ct_component(out, context, 0),
                     rlwe_level_words(context, out->level) * sizeof *out->data);
}

sotto_status rlwe_encrypt(rlwe_ct *out, const rlwe_context *context,
                          const rlwe_secret *secret, const uint64_t *message,
                          int level, const sotto_seed *root, uint64_t object,
                          uint32_t index, sotto_arena *arena, sotto_error *err)
{
    const rns_ring *ring = context->ring;
    const size_t n = ring->ring.n;
    const size_t mark = sotto_arena_mark(arena);
    int8_t *error = sotto_arena_take(arena, n, sizeof *error);
    SOTTO_ASSERT(error != NULL);
    const sotto_status status = rlwe_encrypt_begin(
        out, error, context, secret, level, root, object, index, err);
    if (status == SOTTO_OK) {
        const rns_set *set = rlwe_level_set(context, level);
        uint64_t *const c_0 = rlwe_ct_component(out, context, 0);
        poly_from_small(ring, set, c_0, error);
        if (message != NULL) {
            poly_add(ring, set, c_0, c_0, message);
        }
        rlwe_encrypt_end(out, context, secret);
    }
    sotto_wipe(error, n * sizeof *error);
    sotto_arena_release(arena, mark);
    return status;
}

/* Scratch of public-key encryption. */
typedef struct public_work {
    int8_t *v;         /* [n] ephemeral */
    int8_t *error[2];  /* [n] */
    uint64_t *v_limb;  /* [n] NTT of v in one limb */
    uint64_t *special; /* [2][stride]: both components, special modulus */
    uint64_t *divide;
} public_work;

/* Words of scratch for a division by the one special modulus; what
 * rns_divide_scratch says is at most this (asserted). */
static size_t divide_words(const rns_ring *ring)
{
    return poly_words(ring, 2);
}

/* Takes what rlwe_encrypt_scratch counts. */
static public_work take_public(sotto_arena *arena, const rns_ring *ring)
{
    const size_t n = ring->ring.n;
    public_work work;
    work.v = sotto_arena_take(arena, n, sizeof *work.v);
    work.error[0] = sotto_arena_take(arena, n, sizeof *work.v);
    work.error[1] = sotto_arena_take(arena, n, sizeof *work.v);
    work.v_limb = sotto_arena_take(arena, n, sizeof *work.v_limb);
    work.special =
        sotto_arena_take(arena, poly_words(ring, 2), sizeof *work.special);
    work.divide =
        sotto_arena_take(arena, divide_words(ring), sizeof *work.divide);
    SOTTO_ASSERT(work.divide != NULL);
    return work;
}

size_t rlwe_encrypt_scratch(const rlwe_context *context)
{
    const rns_ring *ring = context->ring;
    const size_t n = ring->ring.n;
    /* Public-key encryption needs the most. */
    return 3 * sotto_arena_need(n, sizeof(int8_t)) +
           sotto_arena_need(n, sizeof(uint64_t)) +
           sotto_arena_need(poly_words(ring, 2), sizeof(uint64_t)) +
           sotto_arena_need(divide_words(ring), sizeof(uint64_t));
}

/* v·b + e_0 and v·a + e_1 modulo the limb at position `at` of the key. */
static void mask_public_limb(uint64_t *const *out, const rlwe_context *context,
                             const rlwe_public *key, int at,
                             const public_work *work)
{
    const rns_ring *ring = context->ring;
    const int id = key->set.id[at];
    const rns_limb *limb = &ring->limb[id];
    const uint64_t *const half[2] = {poly_limb_const(ring, key->b, at),
                                     poly_limb_const(ring, key->a, at)};
    rlwe_small_limb(work->v_limb, ring, id, work->v);
    for (int k = 0; k < 2; k++) {
        rlwe_small_limb(out[k], ring, id, work->error[k]);
        limb->kernels.mul_add(out[k], work->v_limb, half[k], ring->ring.n,
                              &limb->table->mod);
    }
}

/* The whole of public-key encryption into a ciphertext of the right shape. */
static void mask_public(rlwe_ct *out, const rlwe_context *context,
                        const rlwe_public *key, const public_work *work)
{
    const rns_ring *ring = context->ring;
    const rns_set *set = rlwe_level_set(context, out->level);
    const rns_divider *divider = key->divider[out->level];
    const int special_id = context->params.literal.public_special;
    SOTTO_ASSERT(rns_divide_scratch(divider, ring) <= divide_words(ring));
    /* The kept limbs are made where they stay, the special one beside. */
    uint64_t *c[2] = {rlwe_ct_component(out, context, 0),
                      rlwe_ct_component(out, context, 1)};
    uint64_t *special[2] = {work->special, work->special + ring->stride};
    for (int i = 0; i < set->count; i++) {
        uint64_t *const limb[2] = {poly_limb(ring, c[0], i),
                                   poly_limb(ring, c[1], i)};
        mask_public_limb(limb, context, key,
                         rns_set_find(&key->set, set->id[i]), work);
    }
    mask_public_limb(special, context, key, rns_set_find(&key->set, special_id),
                     work);
    for (int k = 0; k < 2; k++) {
        rns_divide(divider, ring, c[k], c[k], special[k], work->divide);
    }
}

sotto_status rlwe_encrypt_zero_public(rlwe_ct *out, const rlwe_context *context,
                                      const rlwe_public *key, int level,
                                      const sotto_seed *root, uint64_t object,
                                      uint32_t index, sotto_arena *arena,
                                      sotto_error *err)
{
    const rns_ring *ring = context->ring;
    SOTTO_ASSERT(object < RLWE_OBJECT_PUBLIC);
    SOTTO_TRY(rlwe_ct_reshape(out, context, level, 2, err));
    memcpy(out->key_id, key->key_id, sizeof out->key_id);

    const size_t mark = sotto_arena_mark(arena);
    const public_work work = take_public(arena, ring);
    sotto_seed stream;
    sotto_prf(&stream, root, SOTTO_LABEL_EPHEMERAL, object, index, 0, 0);
    ntt_sample_ternary(work.v, ring->ring.n, &stream, &ring->limb[0].kernels);
    sotto_wipe(&stream, sizeof stream);
    /* Two streams: each component has an error of its own. */
    for (uint32_t k = 0; k < 2; k++) {
        sample_error(work.error[k], ring, root, object, index,
                     DIGIT_PUBLIC + k);
    }
    mask_public(out, context, key, &work);
    sotto_declassify(out->data, 2 * rlwe_level_words(context, level) *
                                    sizeof *out->data); /* as above */
    sotto_wipe(arena->base + mark, arena->used - mark);
    sotto_arena_release(arena, mark);
    return SOTTO_OK;
}

sotto_status rlwe_check_secret(const rlwe_ct *ct, const rlwe_secret *secret,
                               sotto_error *err)
{
    if (memcmp(ct->key_id, secret->key_id, sizeof ct->key_id) != 0) {
        char have[2 * RLWE_KEY_ID_BYTES + 1];
        char want[2 * RLWE_KEY_ID_BYTES + 1];
        sotto_hex(have, secret->key_id, RLWE_KEY_ID_BYTES);
        sotto_hex(want, ct->key_id, RLWE_KEY_ID_BYTES);
        return sotto_fail(err, SOTTO_ERR_KEY,
                          "wrong secret key: the ciphertext needs %s, this "
                          "is %s",
                          want, have);
    }
    return SOTTO_OK;
}

void rlwe_phase_limb(uint64_t *out, const rlwe_context *context,
                     const rlwe_ct *ct, const rlwe_secret *secret, int i)
{
    const rns_ring *ring = context->ring;
    const int id = rlwe_level_set(context, ct->level)->id[i];
    const rns_limb *limb = &ring->limb[id];
    const uint64_t *s = rlwe_secret_limb(context, secret, id);
    const size_t n = ring->ring.n;
    /* Horner's rule: ((c_d·s + c_{d-1})·s + …) + c_0. */
    int d = ct->n_components - 1;
    const uint64_t *sum =
        poly_limb_const(ring, rlwe_ct_component(ct, context, d), i);
    while (--d >= 0) {
        limb->kernels.mul(out, sum, s, n, &limb->table->mod);
        limb->kernels.add(
            out, out,
            poly_limb_const(ring, rlwe_ct_component(ct, context, d), i), n,
            &limb->table->mod);
        sum = out;
    }
}

sotto_status rlwe_phase(uint64_t *out, const rlwe_context *context,
                        const rlwe_ct *ct, const rlwe_secret *secret,
                        sotto_error *err)
{
    SOTTO_TRY(rlwe_check_secret(ct, secret, err));
    const rns_set *set = rlwe_level_set(context, ct->level);
    for (int i = 0; i < set->count; i++) {
        rlwe_phase_limb(poly_limb(context->ring, out, i), context, ct, secret,
                        i);
    }
    return SOTTO_OK;
}
