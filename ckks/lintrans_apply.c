/* SPDX-License-Identifier: MIT
 * Applying a linear map: checks, keys, then stage after stage.
 */
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

/* The keys that a map uses, for inputs of this owner; none of them where they
 * are packed. */
static sotto_status find_keys(const ckks_lintrans *map, ckks_evaluator *ev,
                              const rlwe_switch_key **key, const ckks_ct *in)
{
    const size_t key_bytes = sizeof in->ct.key_id;
    if (ckks_lintrans_count_rotations(map) == 0 ||
        (map->bound && memcmp(map->key_id, in->ct.key_id, key_bytes) == 0)) {
        return SOTTO_OK;
    }
    if (map->bound) {
        return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                          "%s: the inputs belong to key %02x%02x…, the map is "
                          "bound to keys of %02x%02x…",
                          op, in->ct.key_id[0], in->ct.key_id[1],
                          map->key_id[0], map->key_id[1]);
    }
    if (ev->keys == NULL) {
        return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                          "%s: the evaluator has no keys; the map rotates", op);
    }
    SOTTO_TRY(ckks_lintrans_find_keys(map, ev->keys, key, &ev->error));
    if (memcmp(ev->keys->key_id, in->ct.key_id, key_bytes) != 0) {
        return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                          "%s: the inputs belong to key %02x%02x…, the "
                          "evaluation keys to %02x%02x…",
                          op, in->ct.key_id[0], in->ct.key_id[1],
                          ev->keys->key_id[0], ev->keys->key_id[1]);
    }
    return SOTTO_OK;
}

size_t ckks_lintrans_scratch(const ckks_lintrans *map, int threads)
{
    size_t most = 0;
    for (size_t s = 0; s < map->n_stages; s++) {
        const size_t bytes =
            ckks_lintrans_stage_scratch(&map->stage[s], threads);
        most = bytes > most ? bytes : most;
    }
    return most + sotto_arena_need(ckks_lintrans_count_rotations(map),
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
    const rlwe_switch_key **key = sotto_arena_take(
        arena, ckks_lintrans_count_rotations(map), sizeof *key);
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
        ckks_lintrans_stage_run(&map->stage[s], out, from, next, pool, arena);
        next += map->stage[s].n_rotations;
    }
    for (size_t i = 0; i < map->n_out; i++) {
        out[i]->scale = map->out_scale;
        memcpy(out[i]->ct.key_id, key_id, sizeof key_id);
    }
    sotto_arena_release(arena, mark);
    return SOTTO_OK;
}
