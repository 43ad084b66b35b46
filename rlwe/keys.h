/* SPDX-License-Identifier: MIT
 * Keys: secret, public, switching keys (relinearisation, rotation,
 * conjugation), and the set of evaluation keys that a server holds.
 *
 * Every random polynomial has its own stream key, so that any limb of any key
 * can be made again alone (SPEC §6.2). With PRF(root, label, object, index,
 * digit, limb) = sotto_prf and 0 where nothing is said:
 *
 *     secret            PRF(root, SECRET)                       ternary
 *     its key id        PRF(root, KEY_ID), first 16 bytes
 *     published seed    PRF(root, CHILD, object, index)
 *     uniform half      PRF(seed, UNIFORM, 0, 0, digit, limb)   each limb
 *     error             PRF(root, ERROR, object, index, digit)  all limbs
 *     ephemeral v       PRF(root, EPHEMERAL, object, index)     ternary
 *
 * "limb" is the id of the modulus. An error or ternary polynomial is sampled
 * once as small coefficients, in natural order, and lifted to every limb. A
 * uniform half is sampled limb by limb and taken as NTT values.
 *
 *     what                        object                index    digit
 *     symmetric ciphertext        the caller's < 2^63   caller's 0
 *     public-key ciphertext       the caller's < 2^63   caller's 1: e_0, 2: e_1
 *     public key                  2^63                  0        0
 *     switching key, digit j      2^63 + 1              its own  j
 *
 * Roots come from the system unless a test gives one; they are wiped after use
 * and never written.
 */
#ifndef SOTTO_RLWE_KEYS_H
#define SOTTO_RLWE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "base/status.h"
#include "rlwe/context.h"
#include "rlwe/ct.h"

/* Objects of the streams of keys; smaller numbers are for ciphertexts. */
#define RLWE_OBJECT_PUBLIC (UINT64_C(1) << 63)
#define RLWE_OBJECT_SWITCH ((UINT64_C(1) << 63) + 1)

/* The secret: uniform ternary coefficients. Wiped when freed. */
typedef struct rlwe_secret {
    uint8_t key_id[RLWE_KEY_ID_BYTES]; /* public, random */
    bool from_seed; /* made with --seed: for tests; every use warns */
    int8_t *small;  /* [n] in {-1,0,1} */
    uint64_t *ntt;  /* [n_moduli][stride]: NTT of the secret, all moduli */
} rlwe_secret;

/* Makes a secret. root == NULL: from the system (the normal way); otherwise
 * derived from *root and marked from_seed.
 * error: SOTTO_ERR_RANDOM, SOTTO_ERR_MEMORY; *secret is then NULL.
 * secret: constant time. owner: the caller, rlwe_secret_free (wipes). */
sotto_status rlwe_secret_new(rlwe_secret **secret, const rlwe_context *context,
                             const sotto_seed *root,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Makes a secret from stored coefficients (wire.h).
 * shape: small int8_t[n] in {-1,0,1}; key_id 16 bytes. error, secret, owner: as
 * rlwe_secret_new. */
sotto_status rlwe_secret_from_small(rlwe_secret **secret,
                                    const rlwe_context *context,
                                    const int8_t *small, const uint8_t *key_id,
                                    bool from_seed,
                                    sotto_error *err) SOTTO_MUST_CHECK;

/* Wipes and frees; NULL is fine. */
void rlwe_secret_free(rlwe_secret *secret, const rlwe_context *context);

/* The public key (b, a): b = -a·s + e over level 0 and one special modulus. */
typedef struct rlwe_public {
    uint8_t key_id[RLWE_KEY_ID_BYTES];
    bool from_seed;
    rns_set set;     /* level 0 and params.public_special */
    sotto_seed seed; /* of a */
    uint64_t *b;     /* [set.count][stride], NTT */
    uint64_t *a;     /* [set.count][stride], NTT; expanded from seed */
    int n_dividers;
    rns_divider **divider; /* [levels]: by the special modulus, to each level */
} rlwe_public;

/* Makes the public key of `secret`. root: as rlwe_secret_new.
 * error: SOTTO_ERR_PARAM without has_public in the parameters;
 * SOTTO_ERR_RANDOM, SOTTO_ERR_MEMORY; *key is then NULL.
 * secret: constant time. owner: rlwe_public_free. */
sotto_status rlwe_public_new(rlwe_public **key, const rlwe_context *context,
                             const rlwe_secret *secret, const sotto_seed *root,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void rlwe_public_free(rlwe_public *key);

/* What a switching key switches from (to s always). */
typedef enum rlwe_key_kind {
    RLWE_KEY_POWER = 1, /* from s^value, value 2 … 4: relinearisation */
    RLWE_KEY_GALOIS = 2 /* from s(X^value): rotation or conjugation */
} rlwe_key_kind;

/* Name of one switching key. */
typedef struct rlwe_key_target {
    rlwe_key_kind kind;
    uint64_t value;
} rlwe_key_target;

/* A switching key under one gadget:
 *   for digit j and modulus m of limbs ∪ special
 *   b_j = -a_j·s + e_j + P·g_j·s',   g_j = 1 on the limbs of digit j, else 0.
 *
 *   data  [modulus][digit][2][stride]:  b then a, NTT domain
 */
typedef struct rlwe_switch_key {
    uint8_t key_id[RLWE_KEY_ID_BYTES];
    bool from_seed;
    rlwe_key_target target;
    rlwe_gadget gadget;
    rns_set set; /* gadget.limbs ∪ gadget.special */
    sotto_seed seed;
    uint64_t *data;
} rlwe_switch_key;

/* Makes a switching key. index: distinguishes the streams of keys that are made
 * under one root (the position in the plan's key list).
 * error: SOTTO_ERR_PARAM (gadget not of the context; power not in 2 … 4; Galois
 * element not odd in (1, 2N)), SOTTO_ERR_RANDOM,
 * SOTTO_ERR_MEMORY; *key is then NULL. secret: constant time in the secret.
 * owner: rlwe_switch_key_free. */
sotto_status
rlwe_switch_key_new(rlwe_switch_key **key, const rlwe_context *context,
                    const rlwe_secret *secret, rlwe_key_target target,
                    const rlwe_gadget *gadget, const sotto_seed *root,
                    uint32_t index, sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void rlwe_switch_key_free(rlwe_switch_key *key);

/* Pointer to one polynomial limb of a key: half 0 is b, half 1 is a. */
static inline uint64_t *rlwe_switch_key_limb(const rlwe_switch_key *key,
                                             const rlwe_context *context,
                                             int modulus_position, int digit,
                                             int half)
{
    const size_t at = ((size_t)modulus_position * (size_t)key->gadget.n_digits +
                       (size_t)digit) *
                          2 +
                      (size_t)half;
    return key->data + at * context->ring->stride;
}

typedef struct rlwe_switcher rlwe_switcher; /* keyswitch.h */

/* Everything a server needs for evaluation: switching keys and the constants
 * to use them at every level. Immutable after rlwe_keyset_new. */
typedef struct rlwe_keyset {
    uint8_t key_id[RLWE_KEY_ID_BYTES];
    bool from_seed;
    int n_keys;
    rlwe_switch_key **key; /* owned */
    int n_switchers;
    rlwe_switcher **switcher; /* owned; per gadget, level and step */
} rlwe_keyset;

/* Takes over `key[0..n_keys)` (n_keys may be 0: a plan without keys) and
 * prepares the constants for each gadget at each level it serves, and for each
 * step from there.
 * error: SOTTO_ERR_MISMATCH when the keys are not all of one secret;
 * SOTTO_ERR_MEMORY; *keyset is then NULL and the keys stay the caller's.
 * owner: rlwe_keyset_free frees the keys too. */
sotto_status rlwe_keyset_new(rlwe_keyset **keyset, const rlwe_context *context,
                             rlwe_switch_key *const *key, int n_keys,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Frees the set and its keys; NULL is fine. */
void rlwe_keyset_free(rlwe_keyset *keyset);

/* The key for `target` that serves all limbs of `level`, or NULL. Where several
 * do, the one with the fewest transforms at this level; among equals the first
 * in the set. */
const rlwe_switch_key *rlwe_keyset_find(const rlwe_keyset *keyset,
                                        const rlwe_context *context,
                                        rlwe_key_target target, int level);

#endif
