/* SPDX-License-Identifier: MIT
 * What the files of this room share: streams, roots, and the making of key
 * objects before their content is known.
 */
#ifndef SOTTO_RLWE_RLWE_INTERNAL_H
#define SOTTO_RLWE_RLWE_INTERNAL_H

#include "base/prng.h"
#include "base/status.h"
#include "ntt/poly.h"
#include "rlwe/context.h"
#include "rlwe/keys.h"

/* Copies *given, or draws a root from the system when given is NULL.
 * error: SOTTO_ERR_RANDOM. The caller wipes *root. */
sotto_status rlwe_root_take(sotto_seed *root, const sotto_seed *given,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* The limb with this id of the uniform half that belongs to a published seed
 * (keys.h). shape: out uint64_t[n].   secret: none */
void rlwe_uniform_limb(uint64_t *out, const rns_ring *ring, int id,
                       const sotto_seed *seed, uint32_t digit);

/* The limb with this id of a small polynomial. domain: NTT. shape: out
 * uint64_t[n]; small int8_t[n].   secret: small, out */
void rlwe_small_limb(uint64_t *out, const rns_ring *ring, int id,
                     const int8_t *small);

/* The NTT of the secret modulo the limb with this id. */
static inline const uint64_t *
rlwe_secret_limb(const rlwe_context *context, const rlwe_secret *secret, int id)
{
    return poly_limb_const(context->ring, secret->ntt, id);
}

/* b = e + m - a·s in the limb with this id: one sample of a key or ciphertext.
 * shape: b, a uint64_t[n], NTT; error int8_t[n]; message uint64_t[n],
 * coefficients, or NULL for 0.   secret: secret, error, message */
void rlwe_mask_limb(uint64_t *b, const rlwe_context *context,
                    const rlwe_secret *secret, int id, const uint64_t *a,
                    const int8_t *error, const uint64_t *message);

/* Allocates a public key with its dividers; b, a and seed are zero.
 * error: SOTTO_ERR_PARAM without has_public, SOTTO_ERR_MEMORY; *key is then
 * NULL. */
sotto_status rlwe_public_alloc(rlwe_public **key, const rlwe_context *context,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Fills a from the seed. */
void rlwe_public_expand(rlwe_public *key, const rlwe_context *context);

/* Allocates a switching key for a gadget of the context; data and seed are
 * zero. error: SOTTO_ERR_MEMORY; *key is then NULL. */
sotto_status rlwe_switch_key_alloc(rlwe_switch_key **key,
                                   const rlwe_context *context,
                                   rlwe_key_target target,
                                   const rlwe_gadget *gadget,
                                   sotto_error *err) SOTTO_MUST_CHECK;

/* Fills all halves a_j from the seed. */
void rlwe_switch_key_expand(rlwe_switch_key *key, const rlwe_context *context);

/* Says whether a key may switch from this target. error: SOTTO_ERR_PARAM. */
sotto_status rlwe_key_target_check(const rlwe_context *context,
                                   rlwe_key_target target,
                                   sotto_error *err) SOTTO_MUST_CHECK;

/* True when the gadget is one of the context's. */
bool rlwe_gadget_known(const rlwe_context *context, const rlwe_gadget *gadget);

#endif
