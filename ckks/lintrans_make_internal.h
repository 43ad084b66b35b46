/* SPDX-License-Identifier: MIT
 * What compiling a linear map works with (lintrans.c), and the encoding of its
 * diagonals (lintrans_encode.c).
 */
#ifndef SOTTO_CKKS_LINTRANS_MAKE_INTERNAL_H
#define SOTTO_CKKS_LINTRANS_MAKE_INTERNAL_H

#include "ckks/lintrans_internal.h"

/* What compilation works with. */
typedef struct ckks_lintrans_maker {
    ckks_lintrans *map;
    const ckks_encoder *encoder;
    const rlwe_context *context;
    const ckks_lintrans_spec *spec;
    size_t slots;
    double divisor; /* product of the moduli that the rescale removes */
    double *slot;   /* [slots] a diagonal or a bias */
    int64_t *giant; /* [n_diagonals] */
    ckks_lintrans_draft *draft;
    size_t n_drafts;
    sotto_arena arena;
} ckks_lintrans_maker;

/* Asks for the slots of diagonal or bias number `index`, to m->slot; what: its
 * kind, for the message. error: SOTTO_ERR_RANGE (not finite). */
sotto_status ckks_lintrans_fetch(ckks_lintrans_maker *m, ckks_fill_slots fill,
                                 size_t index, const char *what,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Encodes all terms of stage 0, in the order that it sorted them in, on the
 * pool of the spec, and counts their noise. error: SOTTO_ERR_RANGE,
 * SOTTO_ERR_MEMORY. */
sotto_status ckks_lintrans_encode(ckks_lintrans_maker *m,
                                  sotto_error *err) SOTTO_MUST_CHECK;

#endif
