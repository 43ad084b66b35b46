/* SPDX-License-Identifier: MIT
 * A slot program as it runs (run.c), and how its steps are made (run_make.c).
 */
#ifndef SOTTO_NN_SINGLE_RUN_INTERNAL_H
#define SOTTO_NN_SINGLE_RUN_INTERNAL_H

#include "nn/single/run.h"

/* One tensor. */
typedef struct nn_single_tensor {
    size_t n;
    ckks_ct *ct;
    int level;
    double scale;
} nn_single_tensor;

/* One step, made. */
typedef struct nn_single_prepared {
    ckks_lintrans *map;
    size_t n_in;
    const ckks_ct **in; /* [n_in]: ciphertexts of the sources, or … */
    ckks_ct *dropped;   /* [n_in]: … those that had to be dropped */
    size_t n_sources;
    ckks_lintrans **sum;       /* [n_sources]: cells of one source; or NULL */
    ckks_ct *summed;           /* [n_in] */
    const ckks_ct **summed_in; /* [n_in]: what the map reads */
    ckks_ct **summed_out;      /* [n_in]: the same */
    ckks_ct **out;             /* [n_out] */
} nn_single_prepared;

struct nn_single_run {
    const nn_single *single;
    const rlwe_context *context;
    sotto_pool *pool;
    int threads;
    ckks_evaluator **ev; /* [threads] */
    sotto_arena arena;
    nn_single_tensor *tensor;  /* [n_steps + 1] */
    nn_single_prepared *stage; /* [n_steps] */
    size_t memory_bytes;       /* left for encoded diagonals; 0: no limit */
};

/* Makes `n` ciphertexts with room for what they hold on the way: `components`
 * at `room`, the level before the rescale. error: SOTTO_ERR_MEMORY; *ct is then
 * still to be freed. owner: the caller, as part of a run. */
sotto_status nn_single_run_cts(ckks_ct **ct, size_t n,
                               const rlwe_context *context, int room,
                               int components,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Returns the lowest level among the sources of affine step k. */
int nn_single_source_level(const nn_single_run *run, size_t k);

/* Makes step k, behind those that it reads: its maps and the room for its
 * results. error: as nn_single_run_new, with the step's name; what was made so
 * far belongs to the run. */
sotto_status nn_single_run_step(nn_single_run *run, size_t k,
                                const nn_single_schedule *schedule,
                                const ckks_encoder *encoder,
                                sotto_error *err) SOTTO_MUST_CHECK;

#endif
