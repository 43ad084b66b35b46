/* SPDX-License-Identifier: MIT
 * From trained layers to a graph.
 *
 * A batch normalisation right behind a convolution or dense layer is folded
 * into it (y = scale·(W·x + b) + shift has weights scale·W); anywhere else it
 * becomes a node of its own. A normalisation of the pixels stays a node behind
 * the input, so that zero padding still means what it meant in training.
 */
#include "nn/train/trainer_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* A graph that grows. */
typedef struct builder {
    nn_graph *graph;
    int at;    /* the node that the next layer reads */
    int with;  /* and the other one that a sum reads */
    int *node; /* of each layer, -1: folded into the next */
    int image; /* the node of the image, normalised */
    const nn_net *net;
    size_t n_of_kind[NN_LAYER_KINDS];
    char name[64];
} builder;

static nn_shape shape_of(nn_image_shape shape, bool flat)
{
    if (flat) {
        return (nn_shape){.rank = 1, .dim = {shape.channels}};
    }
    return (nn_shape){.rank = 3,
                      .dim = {shape.channels, shape.height, shape.width}};
}

/* One constant for each channel of a value. */
static nn_shape channel_shape(nn_image_shape shape, bool flat)
{
    return shape_of((nn_image_shape){shape.channels, 1, 1}, flat);
}

/* Names nodes after their kind, counted from 1; the last one is "scores". */
static const char *next_name(builder *b, nn_layer_kind kind, bool last)
{
    b->n_of_kind[kind]++;
    if (last) {
        (void)snprintf(b->name, sizeof(b->name), "scores");
    } else {
        (void)snprintf(b->name, sizeof(b->name), "%s%zu",
                       nn_layer_kind_name(kind), b->n_of_kind[kind]);
    }
    return b->name;
}

/* What a batch normalisation does to channel c when it evaluates:
 * gamma·(x - mean)/√(variance + epsilon) + beta = scale·x + shift. */
static void normalisation(float *scale, float *shift, const nn_layer_view *view,
                          size_t c)
{
    const size_t channels = view->out.channels;
    const double gamma = (double)view->params[c];
    const double beta = (double)view->params[channels + c];
    const double mean = (double)view->state[c];
    const double deviation =
        sqrt((double)view->state[channels + c] + view->config->epsilon);
    *scale = (float)(gamma / deviation);
    *shift = (float)(beta - gamma / deviation * mean);
}

/* --- conv and dense ------------------------------------------------------ */

/* Weights [n_outputs][depth], then n_outputs biases, with the normalisation
 * (NULL: none) folded in. */
static void fold_weights(float *out, const nn_layer_view *view,
                         const nn_layer_view *norm, size_t n_outputs,
                         size_t depth)
{
    const float *bias =
        view->config->bias ? view->params + n_outputs * depth : NULL;
    for (size_t o = 0; o < n_outputs; o++) {
        float scale = 1.0f;
        float shift = 0.0f;
        if (norm != NULL) {
            normalisation(&scale, &shift, norm, o);
        }
        for (size_t p = 0; p < depth; p++) {
            out[o * depth + p] = scale * view->params[o * depth + p];
        }
        out[n_outputs * depth + o] =
            (bias != NULL ? scale * bias[o] : 0.0f) + shift;
    }
}

static sotto_status add_linear(builder *b, const nn_layer_view *view,
                               const nn_layer_view *norm, const char *name,
                               sotto_error *err)
{
    const nn_layer_config *config = view->config;
    const size_t n_outputs = view->out.channels; /* dense: its units */
    size_t depth = nn_image_pixels(view->in);
    if (config->kind == NN_LAYER_CONV) {
        depth = view->in.channels * config->kernel[0] * config->kernel[1];
    }
    float *weights = sotto_calloc(n_outputs * (depth + 1), sizeof(float));
    if (weights == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    fold_weights(weights, view, norm, n_outputs, depth);
    const float *bias = weights + n_outputs * depth;
    sotto_status status;
    if (config->kind == NN_LAYER_CONV) {
        nn_conv conv = {
            .out_channels = n_outputs, .weights = weights, .bias = bias};
        memcpy(conv.window.kernel, config->kernel, sizeof(config->kernel));
        memcpy(conv.window.stride, config->stride, sizeof(config->stride));
        memcpy(conv.window.pad, config->pad, sizeof(config->pad));
        status = nn_graph_conv(b->graph, &b->at, name, b->at, &conv, err);
    } else {
        status = nn_graph_dense(b->graph, &b->at, name, b->at, n_outputs,
                                weights, bias, err);
    }
    sotto_free(weights);
    return status;
}

/* --- other layers -------------------------------------------------------- */

static sotto_status add_batch_norm(builder *b, const nn_layer_view *view,
                                   const char *name, sotto_error *err)
{
    const size_t channels = view->out.channels;
    const nn_shape shape = channel_shape(view->out, view->flat);
    float *scale = sotto_calloc(2 * channels, sizeof(float));
    if (scale == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    for (size_t c = 0; c < channels; c++) {
        normalisation(&scale[c], &scale[channels + c], view, c);
    }
    const sotto_status status = nn_graph_scale_shift(
        b->graph, &b->at, name, b->at, &shape, scale, scale + channels, err);
    sotto_free(scale);
    return status;
}

static sotto_status add_quadratic(builder *b, const nn_layer_view *view,
                                  const char *name, sotto_error *err)
{
    nn_shape shape = {.rank = 0};
    if (view->config->per == NN_PER_CHANNEL) {
        shape = channel_shape(view->out, view->flat);
    } else if (view->config->per == NN_PER_ELEMENT) {
        shape = shape_of(view->out, view->flat);
    }
    const size_t n = nn_shape_size(&shape);
    return nn_graph_polynomial(b->graph, &b->at, name, b->at, &shape,
                               view->params, view->params + n,
                               view->params + 2 * n, err);
}

static sotto_status add_pool(builder *b, const nn_layer_view *view,
                             const char *name, sotto_error *err)
{
    nn_window window = {.kernel = {0}};
    memcpy(window.kernel, view->config->kernel, sizeof(window.kernel));
    memcpy(window.stride, view->config->stride, sizeof(window.stride));
    return nn_graph_pool(b->graph, &b->at, name, b->at,
                         view->config->kind == NN_LAYER_MAX_POOL
                             ? NN_OP_MAX_POOL
                             : NN_OP_AVERAGE_POOL,
                         &window, err);
}

/* Every stride-th pixel, then the zero channels. */
static sotto_status add_subsample(builder *b, const nn_layer_view *view,
                                  const char *name, sotto_error *err)
{
    const size_t more = view->out.channels - view->in.channels;
    const size_t before[3] = {more / 2, 0, 0};
    const size_t after[3] = {more - more / 2, 0, 0};
    nn_window window = {.kernel = {1, 1}};
    char pick[sizeof(b->name) + 8];

    memcpy(window.stride, view->config->stride, sizeof(window.stride));
    (void)snprintf(pick, sizeof(pick), "%s%s", name, more > 0 ? "/pick" : "");
    SOTTO_TRY(nn_graph_pool(b->graph, &b->at, pick, b->at, NN_OP_AVERAGE_POOL,
                            &window, err));
    if (more == 0) {
        return SOTTO_OK;
    }
    return nn_graph_pad(b->graph, &b->at, name, b->at, before, after, 0.0f,
                        err);
}

static sotto_status add_layer(builder *b, const nn_layer_view *view,
                              const nn_layer_view *norm, bool last,
                              sotto_error *err)
{
    const char *name = next_name(b, view->config->kind, last);
    const nn_shape flat = shape_of(view->out, true);
    switch (view->config->kind) {
    case NN_LAYER_CONV:
    case NN_LAYER_DENSE:
        return add_linear(b, view, norm, name, err);
    case NN_LAYER_BATCH_NORM:
        return add_batch_norm(b, view, name, err);
    case NN_LAYER_RELU:
        return nn_graph_unary(b->graph, &b->at, name, b->at, NN_OP_RELU, err);
    case NN_LAYER_SQUARE:
        return nn_graph_unary(b->graph, &b->at, name, b->at, NN_OP_SQUARE, err);
    case NN_LAYER_QUADRATIC:
        return add_quadratic(b, view, name, err);
    case NN_LAYER_AVG_POOL:
    case NN_LAYER_MAX_POOL:
        return add_pool(b, view, name, err);
    case NN_LAYER_ADD:
        return nn_graph_binary(b->graph, &b->at, name, b->at, b->with,
                               NN_OP_ADD, err);
    case NN_LAYER_SUBSAMPLE:
        return add_subsample(b, view, name, err);
    case NN_LAYER_FLATTEN:
        break;
    }
    return nn_graph_reshape(b->graph, &b->at, name, b->at, &flat, err);
}

static bool is_activation(nn_layer_kind kind)
{
    return kind == NN_LAYER_RELU || kind == NN_LAYER_SQUARE ||
           kind == NN_LAYER_QUADRATIC || kind == NN_LAYER_MAX_POOL;
}

static int node_of(const builder *b, int layer)
{
    return layer >= 0 ? b->node[layer] : b->image;
}

/* Whether a batch normalisation in place i can go into the layer before it:
 * nobody else reads that one. */
static bool folds_at(const nn_net *net, size_t i)
{
    const nn_layer_view view = nn_net_layer(net, i);
    if (i + 1 == nn_net_n_layers(net) || view.n_readers != 1 ||
        (view.config->kind != NN_LAYER_CONV &&
         view.config->kind != NN_LAYER_DENSE)) {
        return false;
    }
    const nn_layer_view next = nn_net_layer(net, i + 1);
    return next.config->kind == NN_LAYER_BATCH_NORM &&
           next.config->reads[0] == (int)i;
}

/* Appends all layers; notes the nodes that activations read, and the last. */
static sotto_status add_layers(builder *b, int *ranged, size_t *n_ranged,
                               sotto_error *err)
{
    const size_t n_layers = nn_net_n_layers(b->net);
    b->image = b->at;
    for (size_t i = 0; i < n_layers; i++) {
        const nn_layer_view view = nn_net_layer(b->net, i);
        const bool folds = folds_at(b->net, i);
        b->at = node_of(b, view.config->reads[0]);
        b->with = node_of(b, view.config->reads[1]);
        if (is_activation(view.config->kind)) {
            ranged[(*n_ranged)++] = b->at;
        }
        nn_layer_view norm = view;
        if (folds) {
            b->node[i] = -1;
            i++;
            norm = nn_net_layer(b->net, i);
        }
        SOTTO_TRY(
            add_layer(b, &view, folds ? &norm : NULL, i + 1 == n_layers, err));
        b->node[i] = b->at;
    }
    ranged[(*n_ranged)++] = b->at;
    return SOTTO_OK;
}

/* (x - mean)/std as scale·x + shift. */
static sotto_status add_normalisation(builder *b, const nn_train_config *config,
                                      sotto_error *err)
{
    const nn_shape shape = {.rank = config->n_mean > 1 ? 3 : 0,
                            .dim = {config->n_mean, 1, 1}};
    float scale[NN_CONFIG_MAX_CHANNELS];
    float shift[NN_CONFIG_MAX_CHANNELS];
    for (size_t c = 0; c < config->n_mean; c++) {
        const double std = (double)config->std[c];
        scale[c] = (float)(1.0 / std);
        shift[c] = (float)(-(double)config->mean[c] / std);
    }
    return nn_graph_scale_shift(b->graph, &b->at, "normalised", b->at, &shape,
                                scale, shift, err);
}

sotto_status nn_net_export(nn_graph **graph, int *ranged, size_t *n_ranged,
                           const nn_net *net, const nn_train_config *config,
                           sotto_error *err)
{
    const nn_image_shape input = nn_net_layer(net, 0).in;
    const nn_shape shape = shape_of(input, false);
    builder b = {.net = net};

    *graph = NULL;
    *n_ranged = 0;
    b.node = sotto_calloc(nn_net_n_layers(net), sizeof(*b.node));
    if (b.node == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    sotto_status status = nn_graph_new(&b.graph, "image", &shape, err);
    if (status != SOTTO_OK) {
        sotto_free(b.node);
        return status;
    }
    ranged[(*n_ranged)++] = b.at;
    if (config->n_mean > 0) {
        status = add_normalisation(&b, config, err);
    }
    if (status == SOTTO_OK) {
        status = add_layers(&b, ranged, n_ranged, err);
    }
    sotto_free(b.node);
    if (status != SOTTO_OK) {
        nn_graph_free(b.graph);
        return status;
    }
    *graph = b.graph;
    return SOTTO_OK;
}
