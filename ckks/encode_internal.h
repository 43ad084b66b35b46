/* SPDX-License-Identifier: MIT
 * Encoding in two halves, so that nothing is written before a message is known
 * to fit, and so that encryption can round, add its error and reduce in one
 * go; decoding limb by limb.
 */
#ifndef SOTTO_CKKS_ENCODE_INTERNAL_H
#define SOTTO_CKKS_ENCODE_INTERNAL_H

#include <stdbool.h>

#include "ckks/encode.h"
#include "ckks/kernels_internal.h"

struct ckks_encoder {
    ntt_ring ring;
    const ckks_kernels *kernels;
    ckks_embed embed;
    uint32_t *position; /* [n_slots]: where slot j stands in the transform */
};

/* An embedded message: the integers rint(coefficient·factor). */
typedef struct ckks_embedded {
    double *coefficient; /* [n], of the arena */
    double factor;
    double largest; /* largest |coefficient·factor| */
    double bound;   /* and what it stayed below */
} ckks_embedded;

/* Embeds count slots (im may be NULL) at a scale, up to the rounding, and
 * checks that the coefficients stay below the bound of the level. The arena
 * keeps them until the caller releases it.   error: as ckks_encode */
sotto_status ckks_embed_message(ckks_embedded *message,
                                const ckks_encoder *encoder,
                                const rlwe_context *context, const double *re,
                                const double *im, size_t count, double scale,
                                int level, sotto_arena *arena,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Writes the residues of rint(coefficient·factor) + error. The coefficients
 * are used up.   shape: out uint64_t[limbs of level][stride], coefficients;
 * error int8_t[n] or NULL */
void ckks_embedded_reduce(const ckks_encoder *encoder,
                          const rlwe_context *context, uint64_t *out,
                          ckks_embedded *message, const int8_t *error,
                          int level);

/* Writes limb i of a phase to out, in NTT domain. */
typedef void (*ckks_phase_limb)(void *arg, uint64_t *out, int i);

/* ckks_decode of a phase whose limbs are made when they are needed, from the
 * first on (make == NULL: they are in phase already). */
void ckks_decode_limbs(const ckks_encoder *encoder, const rlwe_context *context,
                       double *re, double *im, size_t count, uint64_t *phase,
                       ckks_phase_limb make, void *arg, double scale, int level,
                       sotto_arena *arena);

#endif
