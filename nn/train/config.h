/* SPDX-License-Identifier: MIT
 * Training configurations: a small text that says everything a training run
 * depends on.
 *
 *     # comment
 *     name = tiny
 *     seed = 1
 *     train_images = data/mnist-train/train-images-idx3-ubyte
 *     train_labels = data/mnist-train/train-labels-idx1-ubyte
 *     validation = 5000
 *     epochs = 20
 *     batch = 64
 *     optimiser = sgd momentum=0.9 nesterov=1
 *     learning_rate = 0.05
 *     schedule = cosine warmup=1
 *     layer = conv maps=5 kernel=5 stride=2 pads=1,1,1,1
 *     layer = batch_norm
 *     layer = square
 *     layer = flatten
 *     layer = dense units=10
 *
 * One `key = value` per line; `layer` and `train_images` may repeat. Unknown
 * keys, options and values out of range are errors with the line number.
 * docs/training.md lists all keys.
 */
#ifndef SOTTO_NN_TRAIN_CONFIG_H
#define SOTTO_NN_TRAIN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

#define NN_CONFIG_MAX_BYTES ((size_t)1 << 20)
#define NN_CONFIG_MAX_LAYERS 256
#define NN_CONFIG_MAX_FILES 64
#define NN_CONFIG_MAX_CHANNELS 16
#define NN_CONFIG_TEXT_BYTES 256 /* longest path or name, with its end */
#define NN_CONFIG_NAME_BYTES 32  /* the same for the name of a layer */

typedef enum nn_layer_kind {
    NN_LAYER_CONV,
    NN_LAYER_DENSE,
    NN_LAYER_BATCH_NORM,
    NN_LAYER_RELU,
    NN_LAYER_SQUARE,
    NN_LAYER_QUADRATIC, /* a·x² + b·x + c, trained */
    NN_LAYER_AVG_POOL,
    NN_LAYER_MAX_POOL,
    NN_LAYER_FLATTEN,
    NN_LAYER_ADD,      /* sum of two values */
    NN_LAYER_SUBSAMPLE /* every stride-th pixel; zero channels around */
} nn_layer_kind;

#define NN_LAYER_KINDS (NN_LAYER_SUBSAMPLE + 1)

/* How many elements of a value share one (a, b, c). */
typedef enum nn_granularity {
    NN_PER_LAYER,
    NN_PER_CHANNEL,
    NN_PER_ELEMENT
} nn_granularity;

/* One layer. Fields that its kind does not use are zero. */
typedef struct nn_layer_config {
    nn_layer_kind kind;
    int line;                        /* of the text, for messages */
    char name[NN_CONFIG_NAME_BYTES]; /* "": none */
    int reads[2];       /* numbers of the layers whose values it reads; -1: the
                         * image. The second is for ADD, otherwise -1 */
    size_t maps;        /* CONV, SUBSAMPLE: output channels */
    size_t units;       /* DENSE */
    bool bias;          /* CONV, DENSE; default true */
    size_t kernel[2];   /* CONV, pools: height, width; SUBSAMPLE: 1 */
    size_t stride[2];   /* default: CONV 1, pools the kernel, SUBSAMPLE 2 */
    size_t pad[4];      /* CONV: top, left, bottom, right */
    double coef[3];     /* QUADRATIC: starting values of a, b, c; default the
                         * identity 0, 1, 0 */
    nn_granularity per; /* QUADRATIC */
    double rate;        /* QUADRATIC: factor on the learning rate */
    double momentum;    /* BATCH_NORM: weight of a new batch in the running
                         * statistics */
    double epsilon;     /* BATCH_NORM */
} nn_layer_config;

typedef enum nn_optimiser_kind { NN_SGD, NN_ADAM } nn_optimiser_kind;

typedef enum nn_schedule_kind {
    NN_SCHEDULE_CONSTANT,
    NN_SCHEDULE_COSINE,
    NN_SCHEDULE_STEP
} nn_schedule_kind;

/* A checked configuration. Plain data: copying copies everything. */
typedef struct nn_train_config {
    char name[NN_CONFIG_TEXT_BYTES];
    char seed[NN_CONFIG_TEXT_BYTES];

    char train_images[NN_CONFIG_MAX_FILES][NN_CONFIG_TEXT_BYTES];
    size_t n_train_images;
    char train_labels[NN_CONFIG_TEXT_BYTES]; /* "": the images hold them */
    size_t train_count;                      /* first images; 0: all */
    size_t validation;                       /* images held back */
    size_t n_mean;                           /* 0: no normalisation */
    float mean[NN_CONFIG_MAX_CHANNELS];
    float std[NN_CONFIG_MAX_CHANNELS];
    size_t shift; /* random moves of -shift … shift pixels either way */

    size_t epochs;
    size_t batch;
    nn_optimiser_kind optimiser;
    double momentum; /* SGD */
    bool nesterov;   /* SGD */
    double beta[2];  /* Adam */
    double epsilon;  /* Adam */
    double learning_rate;
    nn_schedule_kind schedule;
    double warmup;       /* epochs of linear growth from 0 */
    double final_factor; /* COSINE: last rate / learning_rate */
    size_t step_every;   /* STEP: epochs */
    double step_factor;  /* STEP */
    double weight_decay; /* on weights of conv and dense layers only */
    double label_smoothing;
    char checkpoint[NN_CONFIG_TEXT_BYTES]; /* "": none */

    nn_layer_config layers[NN_CONFIG_MAX_LAYERS];
    size_t n_layers;
} nn_train_config;

/* Parses a configuration of len_bytes bytes; origin names it in messages.
 * error: SOTTO_ERR_FORMAT with origin, line, what was expected;
 * SOTTO_ERR_PARAM for a number out of range; *config is then zero. */
sotto_status nn_train_config_parse(nn_train_config *config, const char *text,
                                   size_t len_bytes, const char *origin,
                                   sotto_error *err) SOTTO_MUST_CHECK;

/* Reads and parses a configuration file ("-": standard input).
 * error: as nn_train_config_parse, SOTTO_ERR_IO, SOTTO_ERR_MEMORY. */
sotto_status nn_train_config_load(nn_train_config *config, const char *path,
                                  sotto_error *err) SOTTO_MUST_CHECK;

/* The name of a layer kind as configurations spell it. Static string. */
const char *nn_layer_kind_name(nn_layer_kind kind);

/* Identity of the training that a configuration describes: SHA-256 over all
 * that has an influence on the weights, so that comments, paths and the place
 * of the checkpoint may change. digest: SOTTO_HASH_BYTES bytes. */
void nn_train_config_digest(uint8_t *digest, const nn_train_config *config);

#endif
