/* SPDX-License-Identifier: MIT
 * Slot programs on ciphertexts.
 *
 * A run holds the compiled maps of one program under one set of parameters and
 * keys, and room for one image. Needs public keys only; the bits of the results
 * do not depend on the number of threads.
 *
 *   AFFINE   drop sources to their lowest level · ckks_lintrans_apply
 *   SQUARE   square · relinearise and rescale
 */
#ifndef SOTTO_NN_SINGLE_RUN_H
#define SOTTO_NN_SINGLE_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/pool.h"
#include "base/status.h"
#include "ckks/encode.h"
#include "ckks/lintrans.h"
#include "nn/single/compile.h"

/* What is fixed of one step: of the tensor that it makes, behind everything. */
typedef struct nn_single_stage {
    int level;
    double scale;    /* exact */
    int gadget;      /* of its rotations; of a square: not read */
    bool late_folds; /* AFFINE: fold behind the rescale: fewer limbs, a little
                      * more noise */
} nn_single_stage;

/* Levels and scales of a whole program. */
typedef struct nn_single_schedule {
    int input_level;
    double input_scale;
    const nn_single_stage *stage; /* [n_steps] */
    size_t memory_bytes;          /* of encoded diagonals; 0: no limit. Maps
                                   * that find no room left encode theirs at
                                   * each use (ckks_lintrans_spec) */
} nn_single_schedule;

/* A program ready for one set of parameters and keys. Used by one image at a
 * time. */
typedef struct nn_single_run nn_single_run;

/* Compiles all maps, packs the keys that they use (a copy of each, in 32 bits
 * where the modulus allows), and makes room for one image.
 * error: SOTTO_ERR_UNSUPPORTED (a step that is neither affine nor a square),
 * SOTTO_ERR_SCALE when the scale of a square does not follow from its source,
 * what ckks_lintrans_new says, with the step's name; SOTTO_ERR_MEMORY; *run is
 * then NULL. Missing keys are told by nn_single_run_apply.
 * owner: the caller, nn_single_run_free; borrows all but the schedule. keys may
 * be NULL when nothing is rotated or relinearised; pool may be NULL. */
sotto_status nn_single_run_new(nn_single_run **run, const nn_single *single,
                               const nn_single_schedule *schedule,
                               const ckks_encoder *encoder,
                               const rlwe_context *context,
                               const rlwe_keyset *keys, sotto_pool *pool,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_single_run_free(nn_single_run *run);

/* Room for input ciphertext i: to be filled (input level and scale, two
 * components) before each nn_single_run_apply.
 * range: i < ciphertexts of the input's layout (asserted). */
ckks_ct *nn_single_run_input(nn_single_run *run, size_t i);

/* Evaluates. seconds (may be NULL): double[n_steps], measured.
 * error: the evaluator's, with the step's name; outputs are then undefined.
 * cost: no allocation. */
sotto_status nn_single_run_apply(nn_single_run *run, double *seconds,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Output ciphertext i, valid until the next nn_single_run_apply.
 * range: i < ciphertexts of the output's layout (asserted). */
const ckks_ct *nn_single_run_output(const nn_single_run *run, size_t i);

/* What step k became; the step is affine (asserted). */
ckks_lintrans_info nn_single_run_describe(const nn_single_run *run, size_t k);

#endif
