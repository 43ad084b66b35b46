/* SPDX-License-Identifier: MIT
 * The chain of layers: building and memory.
 */
#include "nn/train/backprop_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

#define MAX_LAYER_VALUES ((size_t)1 << 24)
#define MAX_SCRATCH ((size_t)1 << 28)

static const nn_layer_ops *const ops_of_kind[] = {
    [NN_LAYER_CONV] = &nn_conv_ops,
    [NN_LAYER_DENSE] = &nn_dense_ops,
    [NN_LAYER_BATCH_NORM] = &nn_batch_norm_ops,
    [NN_LAYER_RELU] = &nn_relu_ops,
    [NN_LAYER_SQUARE] = &nn_square_ops,
    [NN_LAYER_QUADRATIC] = &nn_quadratic_ops,
    [NN_LAYER_AVG_POOL] = &nn_avg_pool_ops,
    [NN_LAYER_MAX_POOL] = &nn_max_pool_ops,
    [NN_LAYER_FLATTEN] = &nn_flatten_ops,
    [NN_LAYER_ADD] = &nn_add_ops,
    [NN_LAYER_SUBSAMPLE] = &nn_subsample_ops,
};

/* --- helpers for layers ------------------------------------------------ */

sotto_status nn_layer_fail(const nn_layer *layer, sotto_error *err,
                           const char *what)
{
    return sotto_fail(err, SOTTO_ERR_SHAPE,
                      "line %d: %s on %s[%zu,%zu,%zu]: %s", layer->config.line,
                      nn_layer_kind_name(layer->config.kind),
                      layer->in_flat ? "vector " : "", layer->in.channels,
                      layer->in.height, layer->in.width, what);
}

sotto_status nn_layer_keep_shape(nn_layer *layer, sotto_error *err)
{
    (void)err;
    layer->out = layer->in;
    return SOTTO_OK;
}

sotto_status nn_layer_window_shape(nn_layer *layer, size_t channels,
                                   sotto_error *err)
{
    const nn_layer_config *config = &layer->config;
    const size_t height = layer->in.height + config->pad[0] + config->pad[2];
    const size_t width = layer->in.width + config->pad[1] + config->pad[3];

    if (layer->in_flat) {
        return nn_layer_fail(layer, err, "needs a picture, not a vector");
    }
    if (config->kernel[0] > height || config->kernel[1] > width) {
        return nn_layer_fail(layer, err, "the kernel is larger than that");
    }
    layer->out = (nn_image_shape){
        channels, (height - config->kernel[0]) / config->stride[0] + 1,
        (width - config->kernel[1]) / config->stride[1] + 1};
    return SOTTO_OK;
}

void nn_layer_draw(float *weights, size_t count, size_t fan_in,
                   sotto_stream *stream)
{
    /* uniform on [-r, r] has variance r²/3 */
    const double radius = sqrt(3.0 / (double)fan_in);
    for (size_t i = 0; i < count; i++) {
        const uint64_t bits = sotto_stream_u64(stream) >> 11;
        const double unit = (double)bits * 0x1p-52 - 1.0;
        weights[i] = (float)(radius * unit);
    }
}

/* --- building ---------------------------------------------------------- */

static sotto_status layer_prepare(nn_layer *layer, sotto_error *err)
{
    layer->n_in = nn_image_pixels(layer->in);
    layer->flat = layer->in_flat;
    layer->rate = 1.0;
    SOTTO_TRY(layer->ops->shape(layer, err));
    layer->n_out = nn_image_pixels(layer->out);
    if (layer->n_out > MAX_LAYER_VALUES || layer->n_scratch > MAX_SCRATCH ||
        layer->n_params > NN_NET_MAX_PARAMS) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "line %d: %s with %zu outputs and %zu parameters is "
                          "too large",
                          layer->config.line,
                          nn_layer_kind_name(layer->config.kind), layer->n_out,
                          layer->n_params);
    }
    return SOTTO_OK;
}

static sotto_status net_prepare(nn_net *net, const nn_train_config *config,
                                sotto_error *err)
{
    size_t n_values = nn_image_pixels(net->input);

    for (size_t i = 0; i < net->n_layers; i++) {
        nn_layer *layer = &net->layers[i];
        layer->config = config->layers[i];
        layer->ops = ops_of_kind[layer->config.kind];
        layer->largest_slice = (net->batch + NN_NET_SLICES - 1) / NN_NET_SLICES;
        nn_net_find_sources(net, i);
        if (layer->config.kind == NN_LAYER_ADD) {
            SOTTO_TRY(nn_net_check_operands(net, layer, err));
        }
        SOTTO_TRY(layer_prepare(layer, err));
        layer->param_at = net->n_params;
        layer->state_at = net->n_state;
        net->n_params += layer->n_params;
        net->n_state += layer->n_state;
        n_values += layer->n_out;
    }
    SOTTO_TRY(nn_net_check_readers(net, err));
    if (!net->layers[net->n_layers - 1].flat) {
        return nn_layer_fail(&net->layers[net->n_layers - 1], err,
                             "the last layer must make a vector of scores");
    }
    if (net->n_params > NN_NET_MAX_PARAMS ||
        n_values > NN_NET_MAX_VALUES / net->batch) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "%zu parameters, %zu values for each of %zu images "
                          "of a batch: too large; try a smaller batch",
                          net->n_params, n_values, net->batch);
    }
    return SOTTO_OK;
}

/* Lays out the parameter blocks: weights decay, everything else does not.
 * Biases and normalisations set the scale of what follows; pulling them to 0
 * would work against the layer behind, not against overfitting. */
static void net_list_blocks(nn_net *net)
{
    for (size_t i = 0; i < net->n_layers; i++) {
        const nn_layer *layer = &net->layers[i];
        const size_t rest = layer->n_params - layer->n_decay;
        if (layer->n_decay > 0) {
            net->blocks[net->n_blocks++] =
                (nn_param_block){layer->param_at, layer->n_decay, layer->rate,
                                 true, layer->whole};
        }
        if (rest > 0) {
            net->blocks[net->n_blocks++] =
                (nn_param_block){layer->param_at + layer->n_decay, rest,
                                 layer->rate, false, layer->whole};
        }
    }
}

static sotto_status net_allocate(nn_net *net)
{
    size_t n_scratch = 0;
    for (size_t i = 0; i < net->n_layers; i++) {
        const size_t n = net->layers[i].n_scratch;
        n_scratch = n > n_scratch ? n : n_scratch;
    }
    const size_t n_values = nn_net_count_values(net);
    /* NN_VECTOR more: rows are read in whole vectors */
    net->params = sotto_calloc(net->n_params + NN_VECTOR, sizeof(float));
    net->state = sotto_calloc(net->n_state, sizeof(float));
    net->gradients = sotto_calloc(NN_NET_SLICES * net->n_params, sizeof(float));
    net->blocks = sotto_calloc(2 * net->n_layers, sizeof(*net->blocks));
    net->inputs = sotto_calloc(
        net->batch * nn_image_pixels(net->input) + NN_VECTOR, sizeof(float));
    net->values =
        sotto_calloc(net->batch * n_values + NN_VECTOR, sizeof(float));
    net->workers = sotto_calloc((size_t)net->n_workers, sizeof(*net->workers));
    if (net->params == NULL || net->state == NULL || net->gradients == NULL ||
        net->blocks == NULL || net->inputs == NULL || net->values == NULL ||
        net->workers == NULL) {
        return SOTTO_ERR_MEMORY;
    }
    for (int w = 0; w < net->n_workers; w++) {
        nn_worker_memory *memory = &net->workers[w];
        memory->scratch = sotto_calloc(n_scratch, sizeof(float));
        if (memory->scratch == NULL) {
            return SOTTO_ERR_MEMORY;
        }
    }
    net_list_blocks(net);
    return nn_net_connect(net);
}

sotto_status nn_net_new(nn_net **net, const nn_train_config *config,
                        nn_image_shape input, sotto_pool *pool,
                        sotto_error *err)
{
    *net = NULL;
    SOTTO_ASSERT(config->n_layers > 0 && config->batch > 0);
    nn_net *made = sotto_calloc(1, sizeof(*made));
    nn_layer *layers = sotto_calloc(config->n_layers, sizeof(*layers));
    if (made == NULL || layers == NULL) {
        sotto_free(made);
        sotto_free(layers);
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    made->layers = layers;
    made->n_layers = config->n_layers;
    made->batch = config->batch;
    made->pool = pool;
    made->kernels = nn_train_kernels_choose();
    made->n_workers = sotto_pool_threads(pool);
    made->input = input;
    sotto_status status = net_prepare(made, config, err);
    if (status == SOTTO_OK && net_allocate(made) != SOTTO_OK) {
        status = sotto_fail(err, SOTTO_ERR_MEMORY,
                            "out of memory for %zu parameters and batches of "
                            "%zu images",
                            made->n_params, made->batch);
    }
    if (status != SOTTO_OK) {
        nn_net_free(made);
        return status;
    }
    *net = made;
    return SOTTO_OK;
}

void nn_net_free(nn_net *net)
{
    if (net == NULL) {
        return;
    }
    for (size_t i = 0; i < net->n_layers; i++) {
        sotto_free(net->layers[i].sums);
        sotto_free(net->layers[i].choices);
    }
    for (int w = 0; net->workers != NULL && w < net->n_workers; w++) {
        sotto_free(net->workers[w].scratch);
    }
    sotto_free(net->layers);
    sotto_free(net->params);
    sotto_free(net->state);
    sotto_free(net->gradients);
    sotto_free(net->blocks);
    sotto_free(net->inputs);
    sotto_free(net->values);
    sotto_free(net->workers);
    sotto_free(net);
}

void nn_net_init(nn_net *net, const sotto_seed *seed)
{
    for (size_t i = 0; i < net->n_layers; i++) {
        const nn_layer *layer = &net->layers[i];
        sotto_seed child;
        sotto_stream stream;
        if (layer->ops->init == NULL) {
            continue;
        }
        sotto_prf(&child, seed, SOTTO_LABEL_TRAIN, 0, (uint32_t)i, 0, 0);
        sotto_stream_init(&stream, &child);
        layer->ops->init(layer, net->params + layer->param_at,
                         net->state + layer->state_at, &stream);
    }
}

/* --- access ------------------------------------------------------------ */

size_t nn_net_inputs(const nn_net *net)
{
    return nn_image_pixels(net->input);
}

size_t nn_net_outputs(const nn_net *net)
{
    return net->layers[net->n_layers - 1].n_out;
}

float *nn_net_params(nn_net *net)
{
    return net->params;
}

size_t nn_net_n_params(const nn_net *net)
{
    return net->n_params;
}

const nn_param_block *nn_net_blocks(const nn_net *net, size_t *n_blocks)
{
    *n_blocks = net->n_blocks;
    return net->blocks;
}

float *nn_net_state(nn_net *net)
{
    return net->state;
}

size_t nn_net_n_state(const nn_net *net)
{
    return net->n_state;
}

const float *nn_net_gradient(const nn_net *net, size_t s)
{
    SOTTO_ASSERT(s < NN_NET_SLICES);
    return net->gradients + s * net->n_params;
}

float *nn_net_input(nn_net *net, size_t i)
{
    SOTTO_ASSERT(i < net->batch);
    return net->inputs + i * nn_net_inputs(net);
}

const float *nn_net_scores(const nn_net *net, size_t i)
{
    SOTTO_ASSERT(i < net->batch);
    return net->layers[net->n_layers - 1].value + i * nn_net_outputs(net);
}

size_t nn_net_n_layers(const nn_net *net)
{
    return net->n_layers;
}

nn_layer_view nn_net_layer(const nn_net *net, size_t i)
{
    SOTTO_ASSERT(i < net->n_layers);
    const nn_layer *layer = &net->layers[i];
    return (nn_layer_view){.config = &layer->config,
                           .in = layer->in,
                           .out = layer->out,
                           .flat = layer->flat,
                           .n_readers = layer->n_readers,
                           .params = net->params + layer->param_at,
                           .state = net->state + layer->state_at};
}

double nn_net_operations(const nn_net *net)
{
    double n = 0.0;
    for (size_t i = 0; i < net->n_layers; i++) {
        const nn_layer *layer = &net->layers[i];
        const double passes = layer->in_gradient != NULL ? 3.0 : 2.0;
        n += 2.0 * passes * (double)layer->n_products;
    }
    return n;
}

const char *nn_net_backend(const nn_net *net)
{
    return net->kernels->name;
}

/* Rounds of a measurement: a fifth of a millisecond or so; the best of several,
 * since others may run on the processor. */
#define PEAK_STEPS ((size_t)50000)
#define PEAK_ROUNDS 8

double nn_net_peak(const nn_net *net)
{
    double best = 0.0;
    for (int i = 0; i < PEAK_ROUNDS; i++) {
        struct timespec from, to;
        (void)clock_gettime(CLOCK_MONOTONIC, &from);
        const double done = net->kernels->peak(PEAK_STEPS);
        (void)clock_gettime(CLOCK_MONOTONIC, &to);
        const double seconds = (double)(to.tv_sec - from.tv_sec) +
                               1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        best = seconds > 0.0 ? fmax(best, done / seconds) : best;
    }
    return best * (double)net->n_workers;
}
