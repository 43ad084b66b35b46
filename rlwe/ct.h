/* SPDX-License-Identifier: MIT
 * Ciphertexts: 2 to 5 polynomials c_0 … c_{d} with phase Σ c_i·s^i.
 *
 *     data  | c_0 limb 0 | c_0 limb 1 | … | c_1 limb 0 | …
 *             n words + padding            all NTT domain, residues in [0,q)
 */
#ifndef SOTTO_RLWE_CT_H
#define SOTTO_RLWE_CT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"
#include "base/status.h"
#include "rlwe/context.h"

#define RLWE_MIN_COMPONENTS 2
#define RLWE_MAX_COMPONENTS 5
#define RLWE_KEY_ID_BYTES 16

/* A ciphertext. Fields are read freely and written by the library. */
typedef struct rlwe_ct {
    int level;        /* row of the level table */
    int n_components; /* degree + 1: 2 … 5 */
    bool seeded;     /* c_1 is the uniform polynomial of seed: half the bytes */
    sotto_seed seed; /* public */
    uint8_t key_id[RLWE_KEY_ID_BYTES];
    size_t capacity; /* words that data holds */
    uint64_t *data;  /* owned */
} rlwe_ct;

/* Allocates room for n_components polynomials at `level`; content zero.
 * A ciphertext may later hold anything that fits its capacity.
 * error: SOTTO_ERR_MEMORY; ct is then empty. owner: the caller,
 * rlwe_ct_clear. */
sotto_status rlwe_ct_init(rlwe_ct *ct, const rlwe_context *context, int level,
                          int n_components, sotto_error *err) SOTTO_MUST_CHECK;

/* Frees the data; the ciphertext is empty afterwards (may be cleared again). */
void rlwe_ct_clear(rlwe_ct *ct);

/* Sets level and number of components for a result that is about to be
 * written; the seed mark is removed. error: SOTTO_ERR_PARAM when it does not
 * fit the capacity (nothing is changed). */
sotto_status rlwe_ct_reshape(rlwe_ct *ct, const rlwe_context *context,
                             int level, int n_components,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Component i: uint64_t[limbs of level][stride]. */
static inline uint64_t *rlwe_ct_component(const rlwe_ct *ct,
                                          const rlwe_context *context, int i)
{
    return ct->data + (size_t)i * rlwe_level_words(context, ct->level);
}

/* Copies content and marks. error: SOTTO_ERR_PARAM when it does not fit. */
sotto_status rlwe_ct_copy(rlwe_ct *out, const rlwe_context *context,
                          const rlwe_ct *in, sotto_error *err) SOTTO_MUST_CHECK;

/* Moves to a lower level without a division: keeps the residues of its limbs.
 * math: the phase is unchanged as long as it is smaller than half the new
 * modulus. alias: out may be in. error: SOTTO_ERR_LEVEL when the set of
 * `level` is not contained in the present one. */
sotto_status rlwe_ct_drop(rlwe_ct *out, const rlwe_context *context,
                          const rlwe_ct *in, int level,
                          sotto_error *err) SOTTO_MUST_CHECK;

#endif
