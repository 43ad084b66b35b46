/* SPDX-License-Identifier: MIT
 * Encryption of zero and the phase: what every scheme on this floor shares.
 *
 * A scheme has its encoded message encrypted, or adds it to component 0 of an
 * encryption of zero, and reads it from the phase.
 */
#ifndef SOTTO_RLWE_ENCRYPT_H
#define SOTTO_RLWE_ENCRYPT_H

#include "base/mem.h"
#include "base/status.h"
#include "rlwe/ct.h"
#include "rlwe/keys.h"

/* Symmetric encryption of a polynomial at `level`: c_1 uniform from a public
 * child seed of *root for (object, index), c_0 = -c_1·s + e + message.
 * out->seeded is set. One transform does for error and message together.
 * shape: message uint64_t[limbs of level][stride], coefficients; NULL for 0.
 * Streams: (root, object, index) must never be used twice, neither here nor by
 * rlwe_encrypt_zero_public; object < 2^63 (asserted).
 * error: SOTTO_ERR_PARAM when out has no room. cost: limbs NTTs.
 * scratch: rlwe_encrypt_scratch bytes of arena; released on return.
 * secret: constant time in secret, error and message. */
sotto_status rlwe_encrypt(rlwe_ct *out, const rlwe_context *context,
                          const rlwe_secret *secret, const uint64_t *message,
                          int level, const sotto_seed *root, uint64_t object,
                          uint32_t index, sotto_arena *arena,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Symmetric encryption of zero: rlwe_encrypt without a message. */
static inline sotto_status SOTTO_MUST_CHECK rlwe_encrypt_zero(
    rlwe_ct *out, const rlwe_context *context, const rlwe_secret *secret,
    int level, const sotto_seed *root, uint64_t object, uint32_t index,
    sotto_arena *arena, sotto_error *err)
{
    return rlwe_encrypt(out, context, secret, NULL, level, root, object, index,
                        arena, err);
}

/* The first half of rlwe_encrypt: shape, key id and seed of out, and the error,
 * which the caller adds to the message and wipes.
 * shape: error int8_t[n]. error, secret: as rlwe_encrypt. */
sotto_status rlwe_encrypt_begin(rlwe_ct *out, int8_t *error,
                                const rlwe_context *context,
                                const rlwe_secret *secret, int level,
                                const sotto_seed *root, uint64_t object,
                                uint32_t index,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* The second half: component 0 holds message + error as coefficients and
 * becomes c_0; c_1 is made from the seed. The ciphertext is public then.
 * cost: limbs NTTs. */
void rlwe_encrypt_end(rlwe_ct *out, const rlwe_context *context,
                      const rlwe_secret *secret);

/* Public-key encryption of zero at `level`: (v·b + e_0, v·a + e_1) over the
 * limbs of the level and the special modulus, divided by the special modulus:
 * fresh noise of one rescale (SPEC §7.5).
 * error, scratch: as rlwe_encrypt_zero. secret: constant time in v, e. */
sotto_status rlwe_encrypt_zero_public(rlwe_ct *out, const rlwe_context *context,
                                      const rlwe_public *key, int level,
                                      const sotto_seed *root, uint64_t object,
                                      uint32_t index, sotto_arena *arena,
                                      sotto_error *err) SOTTO_MUST_CHECK;

/* Fills component 1 of a seeded ciphertext from its seed (after reading one
 * from a file). */
void rlwe_expand_seed(rlwe_ct *ct, const rlwe_context *context);

/* The phase Σ c_i·s^i over the limbs of ct's level, in NTT domain.
 * shape: out uint64_t[limbs][stride]. error: SOTTO_ERR_KEY when key ids differ
 * (both printed). secret: constant time; out is secret. */
sotto_status rlwe_phase(uint64_t *out, const rlwe_context *context,
                        const rlwe_ct *ct, const rlwe_secret *secret,
                        sotto_error *err) SOTTO_MUST_CHECK;

/* Says whether a ciphertext belongs to a secret key. error: SOTTO_ERR_KEY when
 * key ids differ (both printed). */
sotto_status rlwe_check_secret(const rlwe_ct *ct, const rlwe_secret *secret,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Limb i of the phase of a ciphertext that belongs to the secret.
 * shape: out uint64_t[n], NTT domain. secret: as rlwe_phase. */
void rlwe_phase_limb(uint64_t *out, const rlwe_context *context,
                     const rlwe_ct *ct, const rlwe_secret *secret, int i);

/* Bytes of arena that either encryption needs. */
size_t rlwe_encrypt_scratch(const rlwe_context *context);

#endif
