/* SPDX-License-Identifier: MIT
 * Ciphertexts: room, shape, copies, level drops.
 */
#include "rlwe/ct.h"

#include <string.h>

#include "base/mem.h"
#include "ntt/poly.h"

/* Words of n_components polynomials at a level; both in range (asserted). */
static size_t words_of(const rlwe_context *context, int level, int n_components)
{
    SOTTO_ASSERT(level >= 0 && level < context->chain.n_levels);
    SOTTO_ASSERT(n_components >= RLWE_MIN_COMPONENTS &&
                 n_components <= RLWE_MAX_COMPONENTS);
    return (size_t)n_components * rlwe_level_words(context, level);
}

sotto_status rlwe_ct_init(rlwe_ct *ct, const rlwe_context *context, int level,
                          int n_components, sotto_error *err)
{
    memset(ct, 0, sizeof *ct);
    const size_t words = words_of(context, level, n_components);
    uint64_t *data = sotto_calloc(words, sizeof *data);
    if (data == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a ciphertext of %zu bytes",
                          words * sizeof *data);
    }
    ct->level = level;
    ct->n_components = n_components;
    ct->capacity = words;
    ct->data = data;
    return SOTTO_OK;
}

void rlwe_ct_clear(rlwe_ct *ct)
{
    sotto_free(ct->data);
    memset(ct, 0, sizeof *ct);
}

/* Fails when ct cannot hold n_components polynomials at level. */
static sotto_status check_room(const rlwe_ct *ct, const rlwe_context *context,
                               int level, int n_components, sotto_error *err)
{
    const size_t words = words_of(context, level, n_components);
    /* What a ciphertext holds now does not matter, only its room. */
    if (words > ct->capacity) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "a ciphertext with room for %zu words cannot hold %d "
                          "components at level %d (%zu words)",
                          ct->capacity, n_components, level, words);
    }
    return SOTTO_OK;
}

sotto_status rlwe_ct_reshape(rlwe_ct *ct, const rlwe_context *context,
                             int level, int n_components, sotto_error *err)
{
    SOTTO_TRY(check_room(ct, context, level, n_components, err));
    ct->level = level;
    ct->n_components = n_components;
    ct->seeded = false;
    memset(&ct->seed, 0, sizeof ct->seed);
    return SOTTO_OK;
}

/* Copies everything but the polynomials and the room. */
static void copy_marks(rlwe_ct *out, const rlwe_ct *in, int level)
{
    out->level = level;
    out->n_components = in->n_components;
    out->seeded = in->seeded;
    out->seed = in->seed;
    memmove(out->key_id, in->key_id, sizeof out->key_id);
}

sotto_status rlwe_ct_copy(rlwe_ct *out, const rlwe_context *context,
                          const rlwe_ct *in, sotto_error *err)
{
    if (out == in) {
        return SOTTO_OK;
    }
    SOTTO_TRY(check_room(out, context, in->level, in->n_components, err));
    memcpy(out->data, in->data,
           words_of(context, in->level, in->n_components) * sizeof *in->data);
    copy_marks(out, in, in->level);
    return SOTTO_OK;
}

sotto_status rlwe_ct_drop(rlwe_ct *out, const rlwe_context *context,
                          const rlwe_ct *in, int level, sotto_error *err)
{
    if (!rlwe_chain_can_drop(&context->chain, in->level, level)) {
        return sotto_fail(err, SOTTO_ERR_LEVEL,
                          "cannot drop from level %d to level %d: expected a "
                          "level whose moduli are all in the present one",
                          in->level, level);
    }
    SOTTO_TRY(check_room(out, context, level, in->n_components, err));
    const rns_set *from = rlwe_level_set(context, in->level);
    const rns_set *to = rlwe_level_set(context, level);
    const size_t stride = context->ring->stride;
    /* In place every limb moves to where it is or to a limb further down that
     * has been read already: going up, nothing is overwritten unread. */
    uint64_t *target = out->data;
    for (int i = 0; i < in->n_components; i++) {
        const uint64_t *c = rlwe_ct_component(in, context, i);
        for (int j = 0; j < to->count; j++, target += stride) {
            const int at = rns_set_find(from, to->id[j]);
            memmove(target, poly_limb_const(context->ring, c, at),
                    context->ring->ring.n * sizeof *target);
        }
    }
    copy_marks(out, in, level);
    return SOTTO_OK;
}
