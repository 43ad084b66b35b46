/* SPDX-License-Identifier: MIT
 * Applying a linear map: checks, keys, then stage after stage.
 */
#include <stdio.h>
#include <string.h>

#include "ckks/eval_internal.h"
#include "ckks/lintrans_internal.h"

static const char op[] = "linear map";

/* Checks one input against what the map was compiled for. */
static sotto_status check_input(const ckks_lintrans *map, ckks_evaluator *ev,
                                const ckks_ct *const *in, size_t i)
{
    const ckks_view ct = ckks_look(ev, in[i]);
    const int from = map->stage[0].from;
    if (ct.level != from) {
        return sotto_fail(&ev->error, SOTTO_ERR_LEVEL,
                          "%s: input %zu is at level %d; the map was compiled "
                          "for level %d",
                          op, i, ct.level, from);
    }
    if (ct.n != RLWE_MIN_COMPONENTS) {
        return sotto_fail(&ev->error, SOTTO_ERR_PARAM,
                          "%s: input %zu has %d components, needed are 2; "
                          "relinearise first",
                          op, i, ct.n);
    }
    if (!ckks_same_scale(ct.scale, map->in_scale[i])) {
        return sotto_fail(&ev->error, SOTTO_ERR_SCALE,
                          "%s: input %zu has scale %.17g; the map was compiled "
                          "for %.17g",
                          op, i, ct.scale, map->in_scale[i]);
    }
    if (memcmp(ct.key_id, in[0]->ct.key_id, sizeof ct.key_id) != 0) {
        return sotto_fail(&ev->error, SOTTO_ERR_MISMATCH,
                          "%s: inputs 0 and %zu are encrypted under different "
                          "keys (ids %02x%02x… and %02x%02x…)",
                          op, i, in[0]->ct.key_id[0], in[0]->ct.key_id[1],
                          ct.key_id[0], ct.key_id[1]);
    }
    return SOTTO_OK;
}

/* Fails when an output has no room for one of the stages. */
static sotto_status check_room(const ckks_lintrans *map, ckks_evaluator *ev,
                               const ckks_ct *out, size_t i)
{
    size_t words = 0;
    for (size_t s = 0; s < map->n_stages; s++) {
        const size_t w = RLWE_MIN_COMPONENTS *
                         rlwe_level_words(map->context, map->stage[s].to);
        words = w > words ? w : words;
    }
    if (out->ct.capacity < words) {
        return sotto_fail(&ev->error, SOTTO_ERR_PARAM,
                          "%s: output %zu has room for %zu words, needed are "
                          "%zu",
                          op, i, out->ct.capacity, words);
    }
    return SOTTO_OK;
}

/* The key of a rotation under the gadget of a stage. */
static sotto_status find_key(ckks_evaluator *ev, const rlwe_switch_key **key,
                             const lintrans_stage *stage, size_t rotation)
{
    const rlwe_gadget *gadget =
        &stage->context->params.literal.gadget[stage->gadget];
    const lintrans_rotation *r = &stage->rotation[rotation];
    for (int i = 0; i < ev->keys->n_keys; i++) {
        const rlwe_switch_key *k = ev->keys->key[i];
        if (k->target.kind == RLWE_KEY_GALOIS && k->target.value == r->galois &&
            rlwe_gadget_equal(&k->gadget, gadget)) {
            *key = k;
            return SOTTO_OK;
        }
    }
    return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                      "%s: no key for the rotation by %llu (Galois element "
                      "%llu) under gadget %d, which is used at level %d; make "
                      "the keys that the map lists",
                      op, (unsigned long long)r->steps,
                      (unsigned long long)r->galois, stage->gadget,
                      stage->from);
}

/* Finds the keys of all stages, one after the other. */
static sotto_status find_keys(const ckks_lintrans *map, ckks_evaluator *ev,
                              const rlwe_switch_key **key, const ckks_ct *in)
{
    size_t n = 0;
    for (size_t s = 0; s < map->n_stages; s++) {
        for (size_t i = 0; i < map->stage[s].n_rotations; i++) {
            if (ev->keys == NULL) {
                return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                                  "%s: the evaluator has no keys; the map "
                                  "rotates",
                                  op);
            }
            SOTTO_TRY(find_key(ev, &key[n++], &map->stage[s], i));
        }
    }
    if (n > 0 &&
        memcmp(ev->keys->key_id, in->ct.key_id, sizeof in->ct.key_id) != 0) {
        return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                          "%s: the inputs belong to key %02x%02x…, the "
                          "evaluation keys to %02x%02x…",
                          op, in->ct.key_id[0], in->ct.key_id[1],
                          ev->keys->key_id[0], ev->keys->key_id[1]);
    }
    return SOTTO_OK;
}

/* Rotations of all stages. */
static size_t count_rotations(const ckks_lintrans *map)
{
    size_t n = 0;
    for (size_t s = 0; s < map->n_stages; s++) {
        n += map->stage[s].n_rotations;
    }
    return n;
}

size_t ckks_lintrans_scratch(const ckks_lintrans *map, int threads)
{
    size_t most = 0;
    for (size_t s = 0; s < map->n_stages; s++) {
        const size_t bytes = lintrans_stage_scratch(&map->stage[s], threads);
        most = bytes > most ? bytes : most;
    }
    return most + sotto_arena_need(count_rotations(map),
                                   sizeof(const rlwe_switch_key *));
}

sotto_status ckks_lintrans_apply(const ckks_lintrans *map, ckks_evaluator *ev,
                                 ckks_ct *const *out, const ckks_ct *const *in,
                                 sotto_pool *pool, sotto_arena *arena)
{
    SOTTO_ASSERT(ev->context == map->context);
    for (size_t i = 0; i < map->n_in; i++) {
        SOTTO_TRY(check_input(map, ev, in, i));
    }
    for (size_t i = 0; i < map->n_out; i++) {
        SOTTO_TRY(check_room(map, ev, out[i], i));
    }
    const size_t mark = sotto_arena_mark(arena);
    const rlwe_switch_key **key =
        sotto_arena_take(arena, count_rotations(map), sizeof *key);
    SOTTO_ASSERT(key != NULL);
    const sotto_status status = find_keys(map, ev, key, in[0]);
    if (status != SOTTO_OK) {
        sotto_arena_release(arena, mark);
        return status;
    }
    uint8_t key_id[RLWE_KEY_ID_BYTES];
    memcpy(key_id, in[0]->ct.key_id, sizeof key_id);
    const rlwe_switch_key **next = key;
    for (size_t s = 0; s < map->n_stages; s++) {
        const ckks_ct *const *from = s == 0 ? in : (const ckks_ct *const *)out;
        lintrans_stage_run(&map->stage[s], out, from, next, pool, arena);
        next += map->stage[s].n_rotations;
    }
    for (size_t i = 0; i < map->n_out; i++) {
        out[i]->scale = map->out_scale;
        memcpy(out[i]->ct.key_id, key_id, sizeof key_id);
    }
    sotto_arena_release(arena, mark);
    return SOTTO_OK;
}
