/* SPDX-License-Identifier: MIT
 * The evaluation keys of a server with the constants to use them.
 *
 * Constants depend on gadget, level and step, not on the key: all rotations
 * under one gadget share them.
 */
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "rlwe/keys.h"
#include "rlwe/keyswitch.h"

/* True when a key before position i has the gadget of key i. */
static bool gadget_seen(const rlwe_keyset *keyset, int i)
{
    for (int j = 0; j < i; j++) {
        if (rlwe_gadget_equal(&keyset->key[j]->gadget,
                              &keyset->key[i]->gadget)) {
            return true;
        }
    }
    return false;
}

/* Appends the switcher of a gadget from one level to another; the array has
 * room. */
static sotto_status add_switcher(rlwe_keyset *keyset,
                                 const rlwe_context *context,
                                 const rlwe_gadget *gadget, int from, int to,
                                 sotto_error *err)
{
    SOTTO_TRY(rlwe_switcher_new(&keyset->switcher[keyset->n_switchers], context,
                                gadget, from, to, err));
    keyset->n_switchers++;
    return SOTTO_OK;
}

/* All switchers of a gadget: at each level that it serves, alone and with each
 * step from there. */
static sotto_status add_gadget(rlwe_keyset *keyset, const rlwe_context *context,
                               const rlwe_gadget *gadget, sotto_error *err)
{
    const rlwe_chain *chain = &context->chain;
    for (int level = 0; level < chain->n_levels; level++) {
        if (!rns_set_contains(&gadget->limbs, &chain->level[level].set)) {
            continue;
        }
        SOTTO_TRY(add_switcher(keyset, context, gadget, level, level, err));
        for (int i = 0; i < chain->n_transitions; i++) {
            if (chain->transition[i].from == level) {
                SOTTO_TRY(add_switcher(keyset, context, gadget, level,
                                       chain->transition[i].to, err));
            }
        }
    }
    return SOTTO_OK;
}

/* Keys of two secrets would switch to garbage without anybody noticing. */
static sotto_status check_one_secret(rlwe_switch_key *const *key, int n_keys,
                                     sotto_error *err)
{
    for (int i = 1; i < n_keys; i++) {
        if (memcmp(key[i]->key_id, key[0]->key_id, RLWE_KEY_ID_BYTES) != 0) {
            char first[2 * RLWE_KEY_ID_BYTES + 1];
            char other[2 * RLWE_KEY_ID_BYTES + 1];
            sotto_hex(first, key[0]->key_id, RLWE_KEY_ID_BYTES);
            sotto_hex(other, key[i]->key_id, RLWE_KEY_ID_BYTES);
            return sotto_fail(err, SOTTO_ERR_MISMATCH,
                              "switching key 0 belongs to secret %s, key %d to "
                              "%s; expected keys of one secret",
                              first, i, other);
        }
    }
    return SOTTO_OK;
}

/* Fills a set whose key list is there and whose switcher list has room. */
static sotto_status fill_keyset(rlwe_keyset *keyset,
                                const rlwe_context *context, sotto_error *err)
{
    for (int i = 0; i < keyset->n_keys; i++) {
        keyset->from_seed = keyset->from_seed || keyset->key[i]->from_seed;
        if (!gadget_seen(keyset, i)) {
            SOTTO_TRY(
                add_gadget(keyset, context, &keyset->key[i]->gadget, err));
        }
    }
    if (keyset->n_keys > 0) {
        memcpy(keyset->key_id, keyset->key[0]->key_id, RLWE_KEY_ID_BYTES);
    }
    return SOTTO_OK;
}

sotto_status rlwe_keyset_new(rlwe_keyset **keyset, const rlwe_context *context,
                             rlwe_switch_key *const *key, int n_keys,
                             sotto_error *err)
{
    *keyset = NULL;
    SOTTO_ASSERT(n_keys >= 0);
    SOTTO_TRY(check_one_secret(key, n_keys, err));
    const rlwe_chain *chain = &context->chain;
    /* Room for every gadget at every level and step: a few kilobytes. */
    const size_t most = (size_t)context->params.literal.n_gadgets *
                        (size_t)(chain->n_levels + chain->n_transitions);
    rlwe_keyset *made = sotto_calloc(1, sizeof *made);
    if (made != NULL) {
        made->key = sotto_calloc((size_t)n_keys, sizeof(rlwe_switch_key *));
        made->switcher = sotto_calloc(most, sizeof(rlwe_switcher *));
    }
    sotto_status status = SOTTO_ERR_MEMORY;
    if (made == NULL || made->key == NULL || made->switcher == NULL) {
        (void)sotto_fail(err, status, "out of memory for a set of %d keys",
                         n_keys);
    } else {
        made->n_keys = n_keys;
        for (int i = 0; i < n_keys; i++) {
            made->key[i] = key[i];
        }
        status = fill_keyset(made, context, err);
    }
    if (status != SOTTO_OK) {
        if (made != NULL) {
            made->n_keys = 0; /* the keys stay the caller's */
        }
        rlwe_keyset_free(made);
        return status;
    }
    *keyset = made;
    return SOTTO_OK;
}

void rlwe_keyset_free(rlwe_keyset *keyset)
{
    if (keyset == NULL) {
        return;
    }
    for (int i = 0; i < keyset->n_switchers; i++) {
        rlwe_switcher_free(keyset->switcher[i]);
    }
    for (int i = 0; i < keyset->n_keys; i++) {
        rlwe_switch_key_free(keyset->key[i]);
    }
    sotto_free(keyset->switcher);
    sotto_free(keyset->key);
    sotto_free(keyset);
}

/* Transforms that a switch with this gadget at this level takes, roughly:
 * (digits + 2)·(limbs + special moduli). */
static int switch_cost(const rlwe_gadget *gadget, const rns_set *level)
{
    bool alive[RNS_MAX_LIMBS] = {false};
    int n_digits = 0;
    for (int i = 0; i < level->count; i++) {
        const int at = rns_set_find(&gadget->limbs, level->id[i]);
        if (!alive[gadget->digit[at]]) {
            alive[gadget->digit[at]] = true;
            n_digits++;
        }
    }
    return (n_digits + 2) * (level->count + gadget->special.count);
}

const rlwe_switch_key *rlwe_keyset_find(const rlwe_keyset *keyset,
                                        const rlwe_context *context,
                                        rlwe_key_target target, int level)
{
    const rns_set *set = rlwe_level_set(context, level);
    const rlwe_switch_key *best = NULL;
    int best_cost = 0;
    for (int i = 0; i < keyset->n_keys; i++) {
        const rlwe_switch_key *key = keyset->key[i];
        if (key->target.kind != target.kind ||
            key->target.value != target.value ||
            !rns_set_contains(&key->gadget.limbs, set)) {
            continue;
        }
        const int cost = switch_cost(&key->gadget, set);
        if (best == NULL || cost < best_cost) {
            best = key;
            best_cost = cost;
        }
    }
    return best;
}

const rlwe_switcher *rlwe_keyset_switcher(const rlwe_keyset *keyset,
                                          const rlwe_gadget *gadget, int from,
                                          int to)
{
    for (int i = 0; i < keyset->n_switchers; i++) {
        const rlwe_switcher *switcher = keyset->switcher[i];
        if (switcher->from == from && switcher->to == to &&
            rlwe_gadget_equal(&switcher->gadget, gadget)) {
            return switcher;
        }
    }
    return NULL;
}
