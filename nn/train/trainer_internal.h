/* SPDX-License-Identifier: MIT
 * The state of a training run, shared by trainer, checkpoint and export.
 */
#ifndef SOTTO_NN_TRAIN_TRAINER_INTERNAL_H
#define SOTTO_NN_TRAIN_TRAINER_INTERNAL_H

#include "base/hash.h"
#include "base/prng.h"
#include "nn/train/backprop.h"
#include "nn/train/dataset.h"
#include "nn/train/optimiser.h"
#include "nn/train/trainer.h"

/* How far a run is; with the weights this is all of its state. */
typedef struct nn_train_position {
    uint64_t epoch;       /* complete epochs */
    uint64_t images_done; /* of the next one */
    double loss;          /* sums over those images */
    uint64_t correct;
    uint64_t best_epoch; /* from 1; 0: none */
    uint64_t best_correct;
    double best_loss; /* sum over the validation images */
} nn_train_position;

/* Move of one image of an epoch. */
typedef struct nn_shift {
    int8_t down, right;
} nn_shift;

struct nn_trainer {
    nn_train_config config;
    uint8_t digest[SOTTO_HASH_BYTES]; /* of configuration and data */
    sotto_pool *pool;
    sotto_seed seed;
    nn_dataset data;
    size_t n_train, n_validation;
    uint32_t *split;  /* [count]: training images, then validation images */
    uint32_t *order;  /* [n_train] of the epoch under way */
    nn_shift *shifts; /* [n_train], by position in order */
    float *levels;    /* [channels][256]: normalised value of a pixel */
    uint8_t *labels;  /* [batch] of the minibatch under way */
    nn_net *net;
    nn_optimiser optimiser;
    nn_train_position at;
    float *best_params; /* of at.best_epoch */
    float *best_state;
    double seconds;  /* in nn_trainer_run, */
    uint64_t images; /* and images trained on there */
    double peak;     /* operations per second, nn_net_peak; 0: not measured */
};

/* Purposes of random streams under SOTTO_LABEL_TRAIN (the digit of sotto_prf;
 * 0 belongs to nn_net_init). */
enum nn_train_purpose {
    NN_TRAIN_SPLIT = 1, /* object 0 */
    NN_TRAIN_ORDER = 2, /* object = epoch */
    NN_TRAIN_SHIFT = 3  /* object = epoch */
};

/* The stream of a purpose and an object of this run. */
sotto_stream nn_train_stream(const nn_trainer *trainer,
                             enum nn_train_purpose purpose, uint64_t object);

/* Draws a number in [0, n); its bias is below n·2^-64. */
uint64_t nn_train_draw(sotto_stream *stream, uint64_t n);

/* Puts a list into random order (Fisher-Yates, from the end). */
void nn_train_shuffle(uint32_t *list, size_t n, sotto_stream *stream);

/* Writes the state to the configuration's checkpoint file, if it names one.
 * error: SOTTO_ERR_IO, SOTTO_ERR_MEMORY; an older checkpoint then stands. */
sotto_status nn_checkpoint_write(const nn_trainer *trainer,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Reads the state. error: as nn_trainer_resume; the trainer is then
 * unchanged. */
sotto_status nn_checkpoint_read(nn_trainer *trainer,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Turns the net, as it is, into a graph. n_ranged nodes of ranged[] are those
 * whose range a plan needs. shape: ranged[nn_net_n_layers + 2].
 * owner: the caller, nn_graph_free. error: what the builders say. */
sotto_status nn_net_export(nn_graph **graph, int *ranged, size_t *n_ranged,
                           const nn_net *net, const nn_train_config *config,
                           sotto_error *err) SOTTO_MUST_CHECK;

#endif
