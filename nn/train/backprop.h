/* SPDX-License-Identifier: MIT
 * A chain of layers with gradients: forward, loss and backward of a minibatch.
 *
 * A minibatch is cut into NN_NET_SLICES slices of neighbouring images, whatever
 * the number of threads. Each slice has gradient memory of its own; the
 * optimiser adds them in order. A batch normalisation needs sums over the whole
 * minibatch and divides the chain into stages: all slices finish a stage, their
 * partial sums are added in order, the next stage begins.
 *
 *     slice 0  conv  sums | normalise  square  dense  sums | normalise …
 *     slice 1  conv  sums | normalise  square  dense  sums | normalise …
 *                         ^ add in order                   ^ add in order
 *
 * So weights depend on the build and the seed, never on the threads.
 */
#ifndef SOTTO_NN_TRAIN_BACKPROP_H
#define SOTTO_NN_TRAIN_BACKPROP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/prng.h"
#include "base/status.h"
#include "nn/train/config.h"
#include "nn/train/dataset.h"

/* Slices of a minibatch: more than threads, few enough for one gradient
 * vector each. */
#define NN_NET_SLICES ((size_t)8)

/* Largest number of parameters and of activations of one minibatch. */
#define NN_NET_MAX_PARAMS ((size_t)1 << 28)
#define NN_NET_MAX_VALUES ((size_t)1 << 30)

typedef struct nn_net nn_net;

/* A run of parameters that the optimiser treats alike. */
typedef struct nn_param_block {
    size_t at; /* first parameter */
    size_t count;
    double rate; /* factor on the learning rate */
    bool decay;  /* weight decay applies */
    bool whole;  /* all of its gradient is in slice 0 */
} nn_param_block;

/* What a forward pass is for. */
typedef enum nn_net_mode {
    NN_NET_TRAIN, /* batch statistics, running statistics updated */
    NN_NET_EVAL   /* running statistics; nothing but values changes */
} nn_net_mode;

/* Result of a loss over images. */
typedef struct nn_net_score {
    double loss;    /* sum of cross-entropies */
    size_t correct; /* images whose largest score is their label */
} nn_net_score;

/* Builds the layers of a configuration for images of shape input and
 * minibatches of at most config->batch images; parameters are zero, see
 * nn_net_init. Copies the layer descriptions; borrows pool (may be NULL).
 * error: SOTTO_ERR_SHAPE (a layer does not fit what comes before it: with
 * line, name and shapes), SOTTO_ERR_UNSUPPORTED (too large), SOTTO_ERR_MEMORY;
 * *net is then NULL. owner: the caller, nn_net_free. */
sotto_status nn_net_new(nn_net **net, const nn_train_config *config,
                        nn_image_shape input, sotto_pool *pool,
                        sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_net_free(nn_net *net);

/* Draws starting weights: uniform with variance 1/fan-in, biases 0,
 * normalisations the identity, polynomials as configured. Layer i depends on
 * seed and i only. */
void nn_net_init(nn_net *net, const sotto_seed *seed);

/* Number of values of one image going in. */
size_t nn_net_inputs(const nn_net *net);

/* Number of scores of one image coming out. */
size_t nn_net_outputs(const nn_net *net);

/* All parameters, in layer order. Borrowed. */
float *nn_net_params(nn_net *net);

/* Number of parameters. */
size_t nn_net_n_params(const nn_net *net);

/* The blocks that the parameters consist of, in order, without gaps.
 * Borrowed. */
const nn_param_block *nn_net_blocks(const nn_net *net, size_t *n_blocks);

/* Running statistics (no gradient). Borrowed. */
float *nn_net_state(nn_net *net);

/* Number of running statistics. */
size_t nn_net_n_state(const nn_net *net);

/* Gradients of slice s after nn_net_backward, laid out as the parameters;
 * their sum over s is the gradient of the mean loss. Borrowed. */
const float *nn_net_gradient(const nn_net *net, size_t s);

/* Input of image i of the minibatch, to be filled before a forward pass.
 * shape: float[nn_net_inputs]. Borrowed. */
float *nn_net_input(nn_net *net, size_t i);

/* Scores of image i after a forward pass. shape: float[nn_net_outputs]. */
const float *nn_net_scores(const nn_net *net, size_t i);

/* First image and number of images of slice s in a minibatch of n. */
static inline size_t nn_net_slice(size_t *first, size_t s, size_t n)
{
    *first = s * n / NN_NET_SLICES;
    return (s + 1) * n / NN_NET_SLICES - *first;
}

/* Runs the first n images of the input. range: 1 <= n <= config->batch.
 * error: none of its own; the pool's. cost: no allocation. */
sotto_status nn_net_forward(nn_net *net, size_t n,
                            nn_net_mode mode) SOTTO_MUST_CHECK;

/* Softmax cross-entropy of the scores of the last forward pass.
 * math: target = (1-smoothing)·onehot(label) + smoothing/outputs.
 * range: labels[n] < nn_net_outputs. */
sotto_status nn_net_loss(nn_net *net, nn_net_score *score,
                         const uint8_t *labels, size_t n,
                         double smoothing) SOTTO_MUST_CHECK;

/* Gradients of the mean loss; after nn_net_forward in mode NN_NET_TRAIN and
 * nn_net_loss with the same n. */
sotto_status nn_net_backward(nn_net *net, size_t n) SOTTO_MUST_CHECK;

/* A minibatch to learn from. */
typedef struct nn_net_batch {
    size_t n;
    const uint8_t *labels; /* [n] */
    double smoothing;
    void (*fill)(void *arg, size_t i); /* fills nn_net_input(net, i); called
                                        * from several threads at once */
    void *arg;
} nn_net_batch;

/* Fills the input, runs it forward in mode NN_NET_TRAIN, takes the loss and
 * makes the gradients: the same bits as those steps one by one, with fewer
 * meetings of the threads. range: as nn_net_forward, nn_net_loss. error: the
 * pool's only. */
sotto_status nn_net_learn(nn_net *net, nn_net_score *score,
                          const nn_net_batch *batch) SOTTO_MUST_CHECK;

/* Floating-point operations of one image's products, forward and backward: two
 * for each multiplication of a convolution or dense layer. */
double nn_net_operations(const nn_net *net);

/* Operations per second of all threads when they do nothing but multiply and
 * add in registers, measured. cost: some milliseconds. */
double nn_net_peak(const nn_net *net);

/* The instruction set that the net's inner loops use. Static string. */
const char *nn_net_backend(const nn_net *net);

/* What the exporter needs to know of one layer: its description, the shapes
 * around it (a flat value is [n,1,1]) and its parameters and statistics.
 * Borrowed. */
typedef struct nn_layer_view {
    const nn_layer_config *config;
    nn_image_shape in;
    nn_image_shape out;
    bool flat;        /* its value is a vector */
    size_t n_readers; /* places in layers that read it */
    const float *params;
    const float *state;
} nn_layer_view;

/* Number of layers. */
size_t nn_net_n_layers(const nn_net *net);

/* The view of layer i. */
nn_layer_view nn_net_layer(const nn_net *net, size_t i);

#endif
