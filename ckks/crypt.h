/* SPDX-License-Identifier: MIT
 * The client: encode and encrypt, decrypt and decode, with the noise check.
 */
#ifndef SOTTO_CKKS_CRYPT_H
#define SOTTO_CKKS_CRYPT_H

#include <stddef.h>

#include "base/mem.h"
#include "base/status.h"
#include "ckks/encode.h"
#include "rlwe/ct.h"
#include "rlwe/encrypt.h"
#include "rlwe/keys.h"

/* A ciphertext with its exact scale: phase = scale · values + noise. */
typedef struct ckks_ct {
    rlwe_ct ct;
    double scale;
} ckks_ct;

/* Allocates an empty ciphertext of scale 1. error: SOTTO_ERR_MEMORY.
 * owner: the caller, ckks_ct_clear. */
sotto_status ckks_ct_init(ckks_ct *ct, const rlwe_context *context, int level,
                          int n_components, sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; may be called again. */
void ckks_ct_clear(ckks_ct *ct);

/* Symmetric seeded encryption of `count` real slots at level 0 … chain end.
 * root, object, index: the stream (rlwe/encrypt.h), never used twice.
 * error: as ckks_encode and rlwe_encrypt_zero. */
sotto_status ckks_encrypt(ckks_ct *out, const ckks_encoder *encoder,
                          const rlwe_context *context,
                          const rlwe_secret *secret, const double *re,
                          size_t count, double scale, int level,
                          const sotto_seed *root, uint64_t object,
                          uint32_t index, sotto_arena *arena,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* The same under the public key. */
sotto_status ckks_encrypt_public(ckks_ct *out, const ckks_encoder *encoder,
                                 const rlwe_context *context,
                                 const rlwe_public *key, const double *re,
                                 size_t count, double scale, int level,
                                 const sotto_seed *root, uint64_t object,
                                 uint32_t index, sotto_arena *arena,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Decrypts `count` slots. im may be NULL.
 * noise_std (may be NULL): standard deviation of the noise on one real slot, in
 * units of the values, estimated from the imaginary parts of all N/2 slots
 * (pure noise when the data is real; SPEC §10.3). A wrong key, a wrong scale or
 * a wrapped value makes it enormous; infinite when a slot is no number.
 * error: SOTTO_ERR_KEY (other key), SOTTO_ERR_SCALE (the ciphertext's scale is
 * no finite number above 0). secret: constant time. */
sotto_status ckks_decrypt(const ckks_encoder *encoder,
                          const rlwe_context *context,
                          const rlwe_secret *secret, double *re, double *im,
                          size_t count, double *noise_std, const ckks_ct *ct,
                          sotto_arena *arena,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Bytes of arena for encryption, decryption and ckks_noise_measure. */
size_t ckks_crypt_scratch(const rlwe_context *context);

#endif
