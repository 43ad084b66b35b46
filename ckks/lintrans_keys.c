/* SPDX-License-Identifier: MIT
 * The keys of a linear map: finding them, and packing them in the order and
 * width of their use.
 */
#include <string.h>

#include "ckks/lintrans_internal.h"

size_t ckks_lintrans_count_rotations(const ckks_lintrans *map)
{
    size_t n = 0;
    for (size_t s = 0; s < map->n_stages; s++) {
        n += map->stage[s].n_rotations;
    }
    return n;
}

/* The key of a rotation under the gadget of a stage. */
static sotto_status find_key(const ckks_lintrans_stage *stage, size_t rotation,
                             const rlwe_keyset *keys,
                             const rlwe_switch_key **key, sotto_error *err)
{
    const rlwe_gadget *gadget =
        &stage->context->params.literal.gadget[stage->gadget];
    const ckks_lintrans_rotation *r = &stage->rotation[rotation];
    for (int i = 0; i < keys->n_keys; i++) {
        const rlwe_switch_key *k = keys->key[i];
        if (k->target.kind == RLWE_KEY_GALOIS && k->target.value == r->galois &&
            rlwe_gadget_equal(&k->gadget, gadget)) {
            *key = k;
            return SOTTO_OK;
        }
    }
    return sotto_fail(err, SOTTO_ERR_KEY,
                      "linear map: no key for the rotation by %llu (Galois "
                      "element %llu) under gadget %d, which is used at level "
                      "%d; make the keys that the map lists",
                      (unsigned long long)r->steps,
                      (unsigned long long)r->galois, stage->gadget,
                      stage->from);
}

sotto_status ckks_lintrans_find_keys(const ckks_lintrans *map,
                                     const rlwe_keyset *keys,
                                     const rlwe_switch_key **key,
                                     sotto_error *err)
{
    size_t n = 0;
    for (size_t s = 0; s < map->n_stages; s++) {
        for (size_t i = 0; i < map->stage[s].n_rotations; i++) {
            SOTTO_TRY(find_key(&map->stage[s], i, keys, &key[n++], err));
        }
    }
    return SOTTO_OK;
}

/* Packs one modulus of one key. */
static void pack_limb(const ckks_lintrans_stage *stage, uint8_t *out,
                      const rlwe_switch_key *key, int m)
{
    const rlwe_context *context = stage->context;
    const int id = stage->all.id[m];
    const int at = rns_set_find(&key->set, id);
    const bool narrow = ckks_lintrans_is_narrow(rns_modulus(context->ring, id));
    const size_t columns = stage->columns;
    const size_t bytes =
        columns * (narrow ? sizeof(uint32_t) : sizeof(uint64_t));
    for (size_t c = 0; c < context->ring->ring.n; c += columns) {
        for (int i = 0; i < 2 * stage->n_digits; i++, out += bytes) {
            const uint64_t *x = rlwe_switch_key_limb(
                key, context, at, stage->mid->digit_number[i / 2], i % 2);
            if (narrow) {
                ckks_lintrans_narrow((void *)out, x + c, columns);
            } else {
                memcpy(out, x + c, bytes);
            }
        }
    }
}

sotto_status ckks_lintrans_stage_pack(ckks_lintrans_stage *stage,
                                      const rlwe_switch_key *const *key,
                                      sotto_error *err)
{
    const rns_ring *ring = stage->context->ring;
    size_t size = 0;
    for (int m = 0; m < stage->all.count; m++) {
        const bool narrow =
            ckks_lintrans_is_narrow(rns_modulus(ring, stage->all.id[m]));
        stage->packed_at[m] = size;
        size += 2 * (size_t)stage->n_digits * ring->ring.n *
                (narrow ? sizeof(uint32_t) : sizeof(uint64_t));
    }
    uint8_t *packed = sotto_calloc(stage->n_rotations, size);
    if (packed == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "linear map: no memory for %zu keys of %zu bytes",
                          stage->n_rotations, size);
    }
    for (size_t i = 0; i < stage->n_rotations; i++) {
        for (int m = 0; m < stage->all.count; m++) {
            pack_limb(stage, packed + i * size + stage->packed_at[m], key[i],
                      m);
        }
    }
    sotto_free(stage->packed);
    stage->packed = packed;
    stage->packed_size = size;
    return SOTTO_OK;
}

/* Packs the keys of all stages. */
static sotto_status pack_all(ckks_lintrans *map,
                             const rlwe_switch_key *const *key,
                             sotto_error *err)
{
    for (size_t s = 0; s < map->n_stages; s++) {
        if (map->stage[s].n_rotations > 0) {
            SOTTO_TRY(ckks_lintrans_stage_pack(&map->stage[s], key, err));
        }
        key += map->stage[s].n_rotations;
    }
    return SOTTO_OK;
}

sotto_status ckks_lintrans_bind(ckks_lintrans *map, const rlwe_keyset *keys,
                                sotto_error *err)
{
    const size_t n = ckks_lintrans_count_rotations(map);
    const rlwe_switch_key **key = sotto_calloc(n, sizeof *key);
    if (key == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "linear map: no memory for %zu keys", n);
    }
    sotto_status status = ckks_lintrans_find_keys(map, keys, key, err);
    if (status == SOTTO_OK) {
        status = pack_all(map, key, err);
    }
    sotto_free(key);
    for (size_t s = 0; status != SOTTO_OK && s < map->n_stages; s++) {
        sotto_free(map->stage[s].packed);
        map->stage[s].packed = NULL;
    }
    map->bound = status == SOTTO_OK;
    memcpy(map->key_id, keys->key_id, sizeof map->key_id);
    return status;
}
