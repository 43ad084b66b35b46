/* SPDX-License-Identifier: MIT
 * What the planner must know of the weights: sizes, norms, work.
 *
 * Errors are carried through a network as one number per tensor, a bound on the
 * covariance: cov(error) <= lambda·I. An affine map turns lambda into
 * ||A||²·lambda (spectral norm), a square of values with root-mean-square r
 * into about (2r)²·lambda, and whatever is added by an operation is isotropic.
 * At the end the row norms of the last map give the deviation of each score.
 */
#ifndef SOTTO_NN_PLAN_ANALYSIS_INTERNAL_H
#define SOTTO_NN_PLAN_ANALYSIS_INTERNAL_H

#include "nn/graph/fold.h"

#define NN_MAX_SOURCES 8

/* Facts about the part of a map that reads one source. */
typedef struct nn_map_part {
    uint32_t source;
    double spectral;  /* bound on the spectral norm */
    double row_norm;  /* largest Euclidean norm of a row */
    double row_sum;   /* largest sum of absolute weights of a row */
    size_t row_terms; /* most terms of a row */
    double weight_max;
} nn_map_part;

/* Facts about one step. */
typedef struct nn_step_facts {
    nn_step_kind kind;
    size_t n_out;
    size_t n_in; /* elements of all sources together */
    int n_parts; /* AFFINE: sources */
    nn_map_part part[NN_MAX_SOURCES];
    uint64_t work;   /* multiplications of the grouped product */
    uint64_t inputs; /* rows gathered by all groups together */
    int n_readers;   /* steps that read the tensor made */
} nn_step_facts;

/* Facts about a network; facts[k] belongs to steps[k].
 * error: SOTTO_ERR_UNSUPPORTED (more than NN_MAX_SOURCES sources),
 * SOTTO_ERR_MEMORY; *facts is then NULL. owner: sotto_free.
 * cost: about 40 passes over all weights. */
sotto_status nn_analyse(nn_step_facts **facts, const nn_network *network,
                        sotto_error *err) SOTTO_MUST_CHECK;

#endif
