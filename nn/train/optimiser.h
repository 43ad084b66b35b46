/* SPDX-License-Identifier: MIT
 * SGD (momentum, Nesterov) and Adam over the parameters of a net, and the
 * course of the learning rate.
 */
#ifndef SOTTO_NN_TRAIN_OPTIMISER_H
#define SOTTO_NN_TRAIN_OPTIMISER_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/status.h"
#include "nn/train/backprop.h"
#include "nn/train/config.h"

/* Memory of an optimiser. Visible so that a checkpoint can hold it. */
typedef struct nn_optimiser {
    const nn_train_config *config; /* borrowed */
    size_t n_params;
    size_t n_moments; /* vectors in moments: 1 for SGD, 2 for Adam */
    float *moments;   /* [n_moments][n_params] */
    uint64_t steps;   /* taken so far */
} nn_optimiser;

/* Makes an optimiser at rest. Borrows config.
 * error: SOTTO_ERR_MEMORY. owner: the caller, nn_optimiser_clear. */
sotto_status nn_optimiser_init(nn_optimiser *optimiser,
                               const nn_train_config *config, size_t n_params,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; an empty optimiser is fine. */
void nn_optimiser_clear(nn_optimiser *optimiser);

/* Takes one step along the slices' gradients, added in order.
 * math: g = Σ gradients (+ decay·w on weights for SGD);
 *   SGD:  v = µ·v + g;  w -= rate·v, Nesterov: w -= rate·(g + µ·v)
 *   Adam: m, v running means of g, g² with bias correction;
 *         w -= rate·(m/(√v + epsilon) + decay·w on weights)
 * with rate = learning_rate·(factor of the block).
 * error: the pool's only. cost: no allocation. */
sotto_status nn_optimiser_step(nn_optimiser *optimiser, nn_net *net,
                               sotto_pool *pool,
                               double learning_rate) SOTTO_MUST_CHECK;

/* The learning rate of a step, counted from 0, with epochs of epoch_steps.
 * math: warm-up grows linearly to the full rate; then constant, or
 * final + (1-final)·(1+cos πp)/2 over the epochs that are left, or
 * factor^floor(epoch/every). */
double nn_learning_rate(const nn_train_config *config, uint64_t step,
                        uint64_t epoch_steps);

#endif
