/* SPDX-License-Identifier: MIT
 * Making switching keys. Constant time in the secret, as keys.c.
 *
 *     b_j = -a_j·s + e_j + P·g_j·s'
 *
 * g_j is 1 modulo the limbs of digit j and 0 modulo all others, the special
 * ones included; so P·g_j·s' is (P mod q)·s' in the limbs of digit j and
 * nothing elsewhere. It does not depend on which limbs a level has: the same
 * key serves every level within its limbs.
 */
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "ntt/poly.h"
#include "ntt/sample.h"
#include "rlwe/keys.h"
#include "rlwe/rlwe_internal.h"

sotto_status rlwe_key_target_check(const rlwe_context *context,
                                   rlwe_key_target target, sotto_error *err)
{
    const uint64_t order = ntt_ring_root_order(&context->ring->ring);
    /* The identity is no target: s switches to s without a key. */
    switch (target.kind) {
    case RLWE_KEY_POWER:
        if (target.value >= 2 && target.value < RLWE_MAX_COMPONENTS) {
            return SOTTO_OK;
        }
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "a key for power %llu of the secret; expected 2 to "
                          "%d",
                          (unsigned long long)target.value,
                          RLWE_MAX_COMPONENTS - 1);
    case RLWE_KEY_GALOIS:
        if (target.value > 1 && target.value < order && target.value % 2 != 0) {
            return SOTTO_OK;
        }
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "a key for Galois element %llu; expected an odd "
                          "number between 1 and %llu",
                          (unsigned long long)target.value,
                          (unsigned long long)order);
    default:
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "a switching key of kind %d; expected %d (power) or "
                          "%d (Galois)",
                          (int)target.kind, RLWE_KEY_POWER, RLWE_KEY_GALOIS);
    }
}

bool rlwe_gadget_known(const rlwe_context *context, const rlwe_gadget *gadget)
{
    const rlwe_params_literal *literal = &context->params.literal;
    for (int i = 0; i < literal->n_gadgets; i++) {
        if (rlwe_gadget_equal(&literal->gadget[i], gadget)) {
            return true;
        }
    }
    return false;
}

sotto_status rlwe_switch_key_alloc(rlwe_switch_key **key,
                                   const rlwe_context *context,
                                   rlwe_key_target target,
                                   const rlwe_gadget *gadget, sotto_error *err)
{
    *key = NULL;
    const rns_set set = rns_set_union(&gadget->limbs, &gadget->special);
    const size_t limbs = (size_t)set.count * (size_t)gadget->n_digits * 2;
    rlwe_switch_key *made = sotto_calloc(1, sizeof *made);
    uint64_t *data = sotto_calloc(limbs * context->ring->stride, sizeof *data);
    if (made == NULL || data == NULL) {
        sotto_free(made);
        sotto_free(data);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a switching key of %zu bytes",
                          limbs * context->ring->stride * sizeof *data);
    }
    made->target = target;
    made->gadget = *gadget;
    made->set = set;
    made->data = data;
    *key = made;
    return SOTTO_OK;
}

void rlwe_switch_key_expand(rlwe_switch_key *key, const rlwe_context *context)
{
    /* In the order of the memory; the streams do not depend on it. */
    for (int m = 0; m < key->set.count; m++) {
        for (int j = 0; j < key->gadget.n_digits; j++) {
            rlwe_uniform_limb(rlwe_switch_key_limb(key, context, m, j, 1),
                              context->ring, key->set.id[m], &key->seed,
                              (uint32_t)j);
        }
    }
}

/* Memory for making one switching key. */
typedef struct switch_work {
    int8_t *error;    /* [n] */
    uint64_t *source; /* [gadget.limbs][stride]: P·s', NTT */
    uint32_t *map;    /* [n] */
} switch_work;

/* Bytes of the arena that take_switch_work empties. */
static size_t switch_work_bytes(const rns_ring *ring, const rlwe_gadget *gadget)
{
    const size_t n = ring->ring.n;
    return sotto_arena_need(n, sizeof(int8_t)) +
           sotto_arena_need(poly_words(ring, gadget->limbs.count),
                            sizeof(uint64_t)) +
           sotto_arena_need(n, sizeof(uint32_t));
}

/* Takes the memory in the order of switch_work_bytes. */
static switch_work take_switch_work(sotto_arena *arena, const rns_ring *ring,
                                    const rlwe_gadget *gadget)
{
    const size_t n = ring->ring.n;
    switch_work work = {
        .error = sotto_arena_take(arena, n, sizeof(int8_t)),
        .source = sotto_arena_take(arena, poly_words(ring, gadget->limbs.count),
                                   sizeof(uint64_t)),
        .map = sotto_arena_take(arena, n, sizeof(uint32_t)),
    };
    SOTTO_ASSERT(work.map != NULL);
    return work;
}

/* source = P·s' over the limbs of the gadget: what b_j carries on digit j. */
static void make_source(const switch_work *work, const rlwe_context *context,
                        const rlwe_secret *secret, const rlwe_switch_key *key)
{
    const rns_ring *ring = context->ring;
    const rns_set *limbs = &key->gadget.limbs;
    const size_t n = ring->ring.n;
    const bool is_galois = key->target.kind == RLWE_KEY_GALOIS;
    if (is_galois) {
        ntt_ring_automorphism(&ring->ring, work->map, key->target.value);
    }
    for (int i = 0; i < limbs->count; i++) {
        const int id = limbs->id[i];
        const rns_limb *limb = &ring->limb[id];
        const zq_modulus *mod = &limb->table->mod;
        const uint64_t *s = rlwe_secret_limb(context, secret, id);
        uint64_t *source = poly_limb(ring, work->source, i);
        if (is_galois) {
            limb->kernels.permute(source, s, work->map, n);
        } else {
            limb->kernels.mul(source, s, s, n, mod);
            for (uint64_t power = 2; power < key->target.value; power++) {
                limb->kernels.mul(source, source, s, n, mod);
            }
        }
        limb->kernels.mul_scalar(source, source,
                                 rns_product_mod(ring, &key->gadget.special, -1,
                                                 rns_modulus(ring, id)),
                                 n, mod);
    }
}

/* Fills b_j for digit j in all limbs. */
static void mask_digit(rlwe_switch_key *key, const switch_work *work,
                       const rlwe_context *context, const rlwe_secret *secret,
                       int j)
{
    const rns_ring *ring = context->ring;
    for (int m = 0; m < key->set.count; m++) {
        const int id = key->set.id[m];
        uint64_t *b = rlwe_switch_key_limb(key, context, m, j, 0);
        rlwe_mask_limb(b, context, secret, id,
                       rlwe_switch_key_limb(key, context, m, j, 1), work->error,
                       NULL);
        const int at = rns_set_find(&key->gadget.limbs, id);
        if (at >= 0 && key->gadget.digit[at] == j) {
            const rns_limb *limb = &ring->limb[id];
            limb->kernels.add(b, b, poly_limb_const(ring, work->source, at),
                              ring->ring.n, &limb->table->mod);
        }
    }
}

/* Fills an allocated key: all a_j from one seed, then digit by digit an error
 * of its own. */
static void fill_switch_key(rlwe_switch_key *key, const switch_work *work,
                            const rlwe_context *context,
                            const rlwe_secret *secret, const sotto_seed *root,
                            uint32_t index)
{
    const rns_ring *ring = context->ring;
    sotto_prf(&key->seed, root, SOTTO_LABEL_CHILD, RLWE_OBJECT_SWITCH, index, 0,
              0);
    /* Published in place of all a_j; then the b_j, whose errors hide s. */
    sotto_declassify(&key->seed, sizeof key->seed);
    rlwe_switch_key_expand(key, context);
    make_source(work, context, secret, key);
    for (int j = 0; j < key->gadget.n_digits; j++) {
        sotto_seed stream;
        sotto_prf(&stream, root, SOTTO_LABEL_ERROR, RLWE_OBJECT_SWITCH, index,
                  (uint32_t)j, 0);
        ntt_sample_error(work->error, ring->ring.n, &stream,
                         &ring->limb[0].kernels);
        sotto_wipe(&stream, sizeof stream);
        mask_digit(key, work, context, secret, j);
    }
    const size_t n_polys = (size_t)key->gadget.n_digits * 2;
    sotto_declassify(key->data, n_polys * poly_words(ring, key->set.count) *
                                    sizeof *key->data);
}

/* Draws the root and fills the key; root and scratch are wiped. */
static sotto_status draw_switch_key(rlwe_switch_key *key,
                                    const rlwe_context *context,
                                    const rlwe_secret *secret,
                                    const sotto_seed *given, uint32_t index,
                                    sotto_error *err)
{
    sotto_arena arena =
        sotto_arena_init(switch_work_bytes(context->ring, &key->gadget));
    if (arena.base == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for making a switching key");
    }
    sotto_seed root;
    const sotto_status status = rlwe_root_take(&root, given, err);
    if (status == SOTTO_OK) {
        const switch_work work =
            take_switch_work(&arena, context->ring, &key->gadget);
        fill_switch_key(key, &work, context, secret, &root, index);
    }
    sotto_wipe(&root, sizeof root);
    sotto_arena_clear(&arena);
    return status;
}

sotto_status
rlwe_switch_key_new(rlwe_switch_key **key, const rlwe_context *context,
                    const rlwe_secret *secret, rlwe_key_target target,
                    const rlwe_gadget *gadget, const sotto_seed *root,
                    uint32_t index, sotto_error *err)
{
    *key = NULL;
    SOTTO_TRY(rlwe_key_target_check(context, target, err));
    if (!rlwe_gadget_known(context, gadget)) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "a switching key with a gadget of %d limbs and %d "
                          "digits that the parameters do not list; take one of "
                          "their %d",
                          gadget->limbs.count, gadget->n_digits,
                          context->params.literal.n_gadgets);
    }
    rlwe_switch_key *made;
    SOTTO_TRY(rlwe_switch_key_alloc(&made, context, target, gadget, err));
    memcpy(made->key_id, secret->key_id, sizeof made->key_id);
    made->from_seed = root != NULL || secret->from_seed;
    const sotto_status status =
        draw_switch_key(made, context, secret, root, index, err);
    if (status != SOTTO_OK) {
        rlwe_switch_key_free(made);
        return status;
    }
    *key = made;
    return SOTTO_OK;
}

void rlwe_switch_key_free(rlwe_switch_key *key)
{
    if (key != NULL) {
        sotto_free(key->data);
        sotto_free(key);
    }
}
