/* SPDX-License-Identifier: MIT
 * Training runs: data, epochs, validation, checkpoints, export.
 *
 * A run is a pure function of configuration, data and build: every random
 * choice comes from (seed, epoch, position), none from what ran before. So a
 * run that was stopped anywhere and goes on from its checkpoint ends with the
 * same weights as one that was never stopped, at any number of threads.
 *
 *     nn_trainer_new → nn_trainer_resume → nn_trainer_run → nn_trainer_export
 *
 * With `validation = n`, n images are held back, and the weights of the epoch
 * with most of them right (then: least loss) are the ones exported. The test
 * set plays no part anywhere.
 */
#ifndef SOTTO_NN_TRAIN_TRAINER_H
#define SOTTO_NN_TRAIN_TRAINER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/pool.h"
#include "base/status.h"
#include "nn/graph/graph.h"
#include "nn/train/config.h"

typedef struct nn_trainer nn_trainer;

/* Where a run stands. Fractions and losses are per image. */
typedef struct nn_train_progress {
    size_t epoch; /* the one under way or, at its end, just done; from 1 */
    size_t epochs;
    size_t images_done; /* of this epoch */
    size_t images;      /* of an epoch */
    bool epoch_end;     /* the following two are fresh */
    double validation_loss;
    double validation_accuracy; /* 0 without validation images */
    double loss;                /* of this epoch so far, on shifted images */
    double accuracy;
    double learning_rate;
    double images_per_second;
    double peak_share; /* see nn_train_summary */
    double seconds_left;
} nn_train_progress;

/* How to run. Zero means nothing of the kind. */
typedef struct nn_train_options {
    /* Called from the thread of nn_trainer_run after every minibatch. */
    void (*progress)(void *arg, const nn_train_progress *progress);
    void *arg;
    /* Looked at after every minibatch; not 0 (set by a signal handler) stops
     * the run with a checkpoint and SOTTO_ERR_CANCELLED. */
    const volatile sig_atomic_t *cancel;
    bool restart; /* nn_train_file: do not look for a checkpoint */
} nn_train_options;

/* What came out. */
typedef struct nn_train_summary {
    size_t n_params;
    size_t n_train, n_validation; /* images */
    size_t epochs_done;
    size_t chosen_epoch; /* whose weights are exported; from 1; 0: none yet */
    double validation_loss, validation_accuracy; /* of the chosen epoch */
    double seconds;           /* of this process in nn_trainer_run */
    double images_per_second; /* trained on, validation included in the time */
    double peak_share; /* operations of the network's products per second, as a
                        * part of what the threads could do at most, measured */
    const char *backend; /* instruction set of the inner loops; static */
} nn_train_summary;

/* Loads the data and draws the starting weights. Copies config; borrows pool
 * (may be NULL), which must outlive the trainer.
 * error: whatever reading the data and building the net say; SOTTO_ERR_SHAPE
 * (labels beyond the scores, mean of another number than channels),
 * SOTTO_ERR_PARAM (nothing left to train on); *trainer is then NULL.
 * owner: the caller, nn_trainer_free. */
sotto_status nn_trainer_new(nn_trainer **trainer, const nn_train_config *config,
                            sotto_pool *pool,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_trainer_free(nn_trainer *trainer);

/* Goes to where the configuration's checkpoint file stands. *resumed (may be
 * NULL) is false, and nothing happens, when there is no such file.
 * error: SOTTO_ERR_IO; SOTTO_ERR_FORMAT (damaged); SOTTO_ERR_MISMATCH (another
 * configuration or other data); the trainer is then unchanged. */
sotto_status nn_trainer_resume(nn_trainer *trainer, bool *resumed,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Trains to the last epoch; nothing is left to do after the end. options may
 * be NULL. The checkpoint is written at the start, after every epoch and on
 * cancellation.
 * error: SOTTO_ERR_CANCELLED; SOTTO_ERR_RANGE (the loss is no longer finite);
 * SOTTO_ERR_IO (the checkpoint cannot be written). */
sotto_status nn_trainer_run(nn_trainer *trainer,
                            const nn_train_options *options,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* What the run has come to. */
nn_train_summary nn_trainer_summary(const nn_trainer *trainer);

/* The weights under training, n_params of the summary. Borrowed. */
const float *nn_trainer_params(const nn_trainer *trainer);

/* Makes the network with the chosen weights: batch normalisation folded into
 * the layer before it, values of the input, of what goes into each activation
 * and of the scores with their smallest and largest value over all training
 * images (without margin), and metadata on the training.
 * error: SOTTO_ERR_MEMORY, what the builders say; *graph is then NULL.
 * owner: the caller, nn_graph_free. */
sotto_status nn_trainer_export(nn_trainer *trainer, nn_graph **graph,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* All of it: reads the configuration at config_path, resumes or starts, trains,
 * and writes an ONNX file to model_path. summary may be NULL.
 * error: of every step; on SOTTO_ERR_CANCELLED the checkpoint holds what was
 * done and no model is written. */
sotto_status nn_train_file(nn_train_summary *summary, const char *config_path,
                           const char *model_path, sotto_pool *pool,
                           const nn_train_options *options,
                           sotto_error *err) SOTTO_MUST_CHECK;

#endif
