/* SPDX-License-Identifier: MIT
 * What a layer is to the chain: sizes, memory and a table of functions.
 */
#ifndef SOTTO_NN_TRAIN_BACKPROP_INTERNAL_H
#define SOTTO_NN_TRAIN_BACKPROP_INTERNAL_H

#include "nn/train/backprop.h"
#include "nn/train/kernels_internal.h"

typedef struct nn_layer nn_layer;

/* One slice of a minibatch under way on one worker. */
typedef struct nn_slice {
    size_t number; /* of the slice */
    size_t first;  /* image */
    size_t count;
    size_t batch_count; /* images of the whole minibatch */
    nn_net_mode mode;
    const float *params; /* of the whole net */
    float *state;
    float *gradient; /* of this slice, all parameters */
    float *scratch;  /* of this worker: the layer's n_scratch floats */
    const nn_train_kernels *kernels;
} nn_slice;

/* A kind of layer. forward makes value from in_value; backward makes
 * in_gradient (unless NULL) from gradient, and the parameter gradients: those
 * are zero before, unless the layer is `whole`; then backward_whole makes part
 * 0 … NN_NET_SLICES - 1 of them for all images at once, after the pass.
 * A kind with sums ends its stage with the first function of a pass, and
 * starts the next stage with the second:
 *     forward:  sum_forward, [merge_forward once], forward
 *     backward: sum_backward, [merge_backward once], backward */
typedef struct nn_layer_ops {
    sotto_status (*shape)(nn_layer *layer, sotto_error *err);
    void (*init)(const nn_layer *layer, float *params, float *state,
                 sotto_stream *stream);
    void (*forward)(const nn_layer *layer, const nn_slice *slice);
    void (*backward)(const nn_layer *layer, const nn_slice *slice);
    void (*backward_whole)(const nn_layer *layer, const nn_slice *batch,
                           size_t part);
    void (*sum_forward)(const nn_layer *layer, const nn_slice *slice);
    void (*merge_forward)(const nn_layer *layer, const nn_slice *slice);
    void (*sum_backward)(const nn_layer *layer, const nn_slice *slice);
    void (*merge_backward)(const nn_layer *layer, const nn_slice *slice);
} nn_layer_ops;

struct nn_layer {
    nn_layer_config config;
    const nn_layer_ops *ops;
    nn_image_shape in, out;
    bool in_flat, flat;   /* before and behind: a vector, not a picture */
    size_t n_in, n_out;   /* values of one image */
    size_t largest_slice; /* images */
    size_t n_readers;     /* places in layers that read the value */
    nn_layer *sources[2]; /* whose values it reads; NULL: the image */
    nn_layer *lender;     /* ADD behind it whose gradient is its own; or NULL */
    bool has_gradient;    /* while connecting: a layer behind makes it */
    bool turns;           /* in_gradient is made for add_to */

    /* Set by shape: parameters (the first n_decay of them are weights),
     * running statistics, scratch floats, and private memory. */
    size_t n_params, n_decay, n_state;
    size_t n_scratch;  /* floats of slice.scratch */
    size_t n_products; /* of one image on its way forward */
    bool whole;        /* backward_whole makes the gradients */
    size_t n_sums;     /* doubles of sums */
    size_t n_choices;  /* per image, of choices */
    double rate;

    /* Set by the net. */
    size_t param_at, state_at;
    float *in_value;    /* [batch][n_in]; only read */
    float *in_gradient; /* NULL where the image is read */
    float *value;       /* [batch][n_out]; FLATTEN: in_value itself */
    float *gradient;
    float *add_to; /* where in_gradient is added when it is made, since others
                    * read the same value; NULL: it lies where it belongs */
    float *with_value;    /* ADD: its second operand */
    float *with_gradient; /* ADD: NULL where the image is read */
    bool with_adds;       /* ADD: with_gradient is added to, not set */
    double *sums;
    uint32_t *choices; /* [batch][n_choices] */
};

/* What one worker needs for itself. */
typedef struct nn_worker_memory {
    float *scratch;
} nn_worker_memory;

struct nn_net {
    size_t n_layers;
    nn_layer *layers;
    size_t batch;
    sotto_pool *pool;
    const nn_train_kernels *kernels;
    nn_image_shape input;
    size_t n_params, n_state;
    float *params;
    float *state;
    float *gradients; /* [NN_NET_SLICES][n_params] */
    size_t n_blocks;
    nn_param_block *blocks;
    float *inputs; /* [batch][input] */
    float *values; /* of all layers, with their gradients */
    int n_workers;
    nn_worker_memory *workers;
    nn_net_score scores[NN_NET_SLICES];
};

/* The tables, by kind. */
extern const nn_layer_ops nn_conv_ops;
extern const nn_layer_ops nn_dense_ops;
extern const nn_layer_ops nn_batch_norm_ops;
extern const nn_layer_ops nn_relu_ops;
extern const nn_layer_ops nn_square_ops;
extern const nn_layer_ops nn_quadratic_ops;
extern const nn_layer_ops nn_avg_pool_ops;
extern const nn_layer_ops nn_max_pool_ops;
extern const nn_layer_ops nn_flatten_ops;
extern const nn_layer_ops nn_add_ops;
extern const nn_layer_ops nn_subsample_ops;

/* Fails with line, layer and shape: "line 7: conv on [10]: what". */
sotto_status nn_layer_fail(const nn_layer *layer, sotto_error *err,
                           const char *what);

/* Sets out = in, for element-wise layers. */
sotto_status nn_layer_keep_shape(nn_layer *layer, sotto_error *err);

/* Sets out for a window over a picture; pads may be zero. */
sotto_status nn_layer_window_shape(nn_layer *layer, size_t channels,
                                   sotto_error *err);

/* Finds what layer i reads, and tells the layers that are read. */
void nn_net_find_sources(nn_net *net, size_t i);

/* Whether the operands of a sum agree. error: SOTTO_ERR_SHAPE. */
sotto_status nn_net_check_operands(const nn_net *net, const nn_layer *layer,
                                   sotto_error *err);

/* Whether every value but the last is read, and what a flatten shares its
 * memory with by nobody else. error: SOTTO_ERR_SHAPE. */
sotto_status nn_net_check_readers(const nn_net *net, sotto_error *err);

/* Decides who lends and who takes turns. Result: floats of values and gradients
 * of all layers, for one image. */
size_t nn_net_count_values(nn_net *net);

/* Points all layers into net->values, and takes their sums and choices.
 * error: SOTTO_ERR_MEMORY. */
sotto_status nn_net_connect(nn_net *net);

/* Draws the weights of a convolution or dense layer; its biases are 0. */
void nn_layer_linear_init(const nn_layer *layer, float *params, float *state,
                          sotto_stream *stream);

/* Fills with uniform numbers of variance 1/fan_in. */
void nn_layer_draw(float *weights, size_t count, size_t fan_in,
                   sotto_stream *stream);

#endif
