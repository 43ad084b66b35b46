/* SPDX-License-Identifier: MIT
 * The chain of layers: building, memory, stages, loss.
 */
#include "nn/train/backprop_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "nn/train/sgemm.h"

#define MAX_LAYER_VALUES ((size_t)1 << 24)
#define MAX_COLUMNS ((size_t)1 << 28)

/* What one worker needs for itself. */
typedef struct worker_memory {
    float *gemm;
    float *columns;
} worker_memory;

struct nn_net {
    size_t n_layers;
    nn_layer *layers;
    size_t batch;
    sotto_pool *pool;
    nn_image_shape input;
    size_t n_params, n_state;
    float *params;
    float *state;
    float *gradients; /* [NN_NET_SLICES][n_params] */
    size_t n_blocks;
    nn_param_block *blocks;
    float *inputs; /* [batch][input] */
    float *values; /* of all layers, then their gradients */
    int n_workers;
    worker_memory *workers;
    nn_net_score scores[NN_NET_SLICES];
};

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
    if (layer->n_out > MAX_LAYER_VALUES || layer->n_columns > MAX_COLUMNS ||
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
    nn_image_shape shape = net->input;
    bool flat = false;
    size_t n_values = nn_image_pixels(shape);

    for (size_t i = 0; i < net->n_layers; i++) {
        nn_layer *layer = &net->layers[i];
        layer->config = config->layers[i];
        layer->ops = ops_of_kind[layer->config.kind];
        layer->in = shape;
        layer->in_flat = flat;
        SOTTO_TRY(layer_prepare(layer, err));
        layer->param_at = net->n_params;
        layer->state_at = net->n_state;
        net->n_params += layer->n_params;
        net->n_state += layer->n_state;
        n_values += layer->n_out;
        shape = layer->out;
        flat = layer->flat;
    }
    if (!flat) {
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

/* Lays out the parameter blocks: weights decay, everything else does not. */
static void net_list_blocks(nn_net *net)
{
    for (size_t i = 0; i < net->n_layers; i++) {
        const nn_layer *layer = &net->layers[i];
        const size_t rest = layer->n_params - layer->n_decay;
        if (layer->n_decay > 0) {
            net->blocks[net->n_blocks++] = (nn_param_block){
                layer->param_at, layer->n_decay, layer->rate, true};
        }
        if (rest > 0) {
            net->blocks[net->n_blocks++] = (nn_param_block){
                layer->param_at + layer->n_decay, rest, layer->rate, false};
        }
    }
}

/* Points the layers to their values; flatten borrows those before it. */
static sotto_status net_connect(nn_net *net)
{
    float *in_value = net->inputs;
    float *in_gradient = NULL;
    float *next = net->values;
    for (size_t i = 0; i < net->n_layers; i++) {
        nn_layer *layer = &net->layers[i];
        layer->in_value = in_value;
        layer->in_gradient = in_gradient;
        layer->value = in_value;
        layer->gradient = in_gradient;
        if (layer->config.kind != NN_LAYER_FLATTEN) {
            layer->value = next;
            layer->gradient = next + net->batch * layer->n_out;
            next += 2 * net->batch * layer->n_out;
        }
        layer->sums = sotto_calloc(layer->n_sums, sizeof(double));
        layer->choices =
            sotto_calloc(net->batch * layer->n_choices, sizeof(uint32_t));
        if (layer->sums == NULL || layer->choices == NULL) {
            return SOTTO_ERR_MEMORY;
        }
        in_value = layer->value;
        in_gradient = layer->gradient;
    }
    return SOTTO_OK;
}

static sotto_status net_allocate(nn_net *net)
{
    size_t n_values = 0;
    size_t n_columns = 0;
    for (size_t i = 0; i < net->n_layers; i++) {
        const nn_layer *layer = &net->layers[i];
        if (layer->config.kind != NN_LAYER_FLATTEN) {
            n_values += layer->n_out;
        }
        if (layer->n_columns > n_columns) {
            n_columns = layer->n_columns;
        }
    }
    net->params = sotto_calloc(net->n_params, sizeof(float));
    net->state = sotto_calloc(net->n_state, sizeof(float));
    net->gradients = sotto_calloc(NN_NET_SLICES * net->n_params, sizeof(float));
    net->blocks = sotto_calloc(2 * net->n_layers, sizeof(*net->blocks));
    net->inputs =
        sotto_calloc(net->batch * nn_image_pixels(net->input), sizeof(float));
    net->values = sotto_calloc(2 * net->batch * n_values, sizeof(float));
    net->workers = sotto_calloc((size_t)net->n_workers, sizeof(*net->workers));
    if (net->params == NULL || net->state == NULL || net->gradients == NULL ||
        net->blocks == NULL || net->inputs == NULL || net->values == NULL ||
        net->workers == NULL) {
        return SOTTO_ERR_MEMORY;
    }
    for (int w = 0; w < net->n_workers; w++) {
        worker_memory *memory = &net->workers[w];
        memory->gemm = sotto_calloc(NN_SGEMM_SCRATCH, sizeof(float));
        memory->columns = sotto_calloc(n_columns, sizeof(float));
        if (memory->gemm == NULL || memory->columns == NULL) {
            return SOTTO_ERR_MEMORY;
        }
    }
    net_list_blocks(net);
    return net_connect(net);
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
        sotto_free(net->workers[w].gemm);
        sotto_free(net->workers[w].columns);
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
                           .params = net->params + layer->param_at,
                           .state = net->state + layer->state_at};
}

/* --- passes ------------------------------------------------------------ */

/* A stage of a pass. Positions count layers in the order of the pass: from the
 * first on the way forward, from the last on the way back. */
typedef struct stage {
    nn_net *net;
    size_t n; /* images */
    nn_net_mode mode;
    bool backward;
    bool fresh;             /* no stage of this pass has run */
    size_t begin, end;      /* positions whose layers run */
    const nn_layer *summed; /* whose sums end the stage; NULL: none */
} stage;

static const nn_layer *layer_at(const stage *st, size_t position)
{
    const size_t last = st->net->n_layers - 1;
    return &st->net->layers[st->backward ? last - position : position];
}

static nn_slice slice_of(const stage *st, size_t number, int worker)
{
    nn_net *net = st->net;
    nn_slice slice = {.number = number,
                      .batch_count = st->n,
                      .mode = st->mode,
                      .params = net->params,
                      .state = net->state,
                      .gradient = net->gradients + number * net->n_params,
                      .gemm = net->workers[worker].gemm,
                      .columns = net->workers[worker].columns};
    slice.count = nn_net_slice(&slice.first, number, st->n);
    return slice;
}

static sotto_status forward_task(void *arg, size_t task, int worker)
{
    const stage *st = arg;
    const nn_slice slice = slice_of(st, task, worker);
    for (size_t i = st->begin; i < st->end; i++) {
        const nn_layer *layer = layer_at(st, i);
        layer->ops->forward(layer, &slice);
    }
    if (st->summed != NULL) {
        st->summed->ops->sum_forward(st->summed, &slice);
    }
    return SOTTO_OK;
}

static sotto_status backward_task(void *arg, size_t task, int worker)
{
    const stage *st = arg;
    const nn_slice slice = slice_of(st, task, worker);
    if (st->fresh) {
        memset(slice.gradient, 0, st->net->n_params * sizeof(float));
    }
    for (size_t i = st->begin; i < st->end; i++) {
        const nn_layer *layer = layer_at(st, i);
        layer->ops->backward(layer, &slice);
    }
    if (st->summed != NULL) {
        st->summed->ops->sum_backward(st->summed, &slice);
    }
    return SOTTO_OK;
}

/* Runs all stages: each goes on until a layer whose sums are still missing,
 * makes its partial sums, and lets the next stage begin with that layer. */
static sotto_status run_stages(stage *st)
{
    const size_t n_layers = st->net->n_layers;
    bool merged = false;
    st->begin = 0;
    st->fresh = true;
    do {
        st->end = st->begin;
        st->summed = NULL;
        while (st->end < n_layers && st->summed == NULL) {
            const nn_layer *layer = layer_at(st, st->end);
            if (layer->ops->sum_forward != NULL && !merged &&
                st->mode == NN_NET_TRAIN) {
                st->summed = layer;
            } else {
                merged = false;
                st->end++;
            }
        }
        SOTTO_TRY(sotto_pool_run(st->net->pool, NN_NET_SLICES,
                                 st->backward ? backward_task : forward_task,
                                 st));
        if (st->summed != NULL) {
            const nn_slice whole = slice_of(st, 0, 0);
            if (st->backward) {
                st->summed->ops->merge_backward(st->summed, &whole);
            } else {
                st->summed->ops->merge_forward(st->summed, &whole);
            }
            merged = true;
        }
        st->begin = st->end;
        st->fresh = false;
    } while (st->begin < n_layers);
    return SOTTO_OK;
}

sotto_status nn_net_forward(nn_net *net, size_t n, nn_net_mode mode)
{
    SOTTO_ASSERT(n >= 1 && n <= net->batch);
    stage st = {.net = net, .n = n, .mode = mode};
    return run_stages(&st);
}

sotto_status nn_net_backward(nn_net *net, size_t n)
{
    SOTTO_ASSERT(n >= 1 && n <= net->batch);
    stage st = {.net = net, .n = n, .mode = NN_NET_TRAIN, .backward = true};
    return run_stages(&st);
}

/* --- loss -------------------------------------------------------------- */

typedef struct loss_job {
    nn_net *net;
    const uint8_t *labels;
    size_t n;
    double smoothing;
} loss_job;

/* Loss of one image; gradient = (softmax - target)/n. */
static double image_loss(float *gradient, const float *scores, size_t n_classes,
                         size_t label, const loss_job *job)
{
    double largest = (double)scores[0];
    double sum = 0.0;
    double loss = 0.0;
    for (size_t k = 1; k < n_classes; k++) {
        largest = fmax(largest, (double)scores[k]);
    }
    for (size_t k = 0; k < n_classes; k++) {
        sum += exp((double)scores[k] - largest);
    }
    const double log_sum = log(sum) + largest;
    for (size_t k = 0; k < n_classes; k++) {
        const double target = job->smoothing / (double)n_classes +
                              (k == label ? 1.0 - job->smoothing : 0.0);
        const double log_p = (double)scores[k] - log_sum;
        loss -= target * log_p;
        gradient[k] = (float)((exp(log_p) - target) / (double)job->n);
    }
    return loss;
}

static sotto_status loss_task(void *arg, size_t task, int worker)
{
    const loss_job *job = arg;
    nn_net *net = job->net;
    const nn_layer *last = &net->layers[net->n_layers - 1];
    nn_net_score score = {0.0, 0};
    size_t first;
    const size_t count = nn_net_slice(&first, task, job->n);

    (void)worker;
    for (size_t i = first; i < first + count; i++) {
        const float *scores = last->value + i * last->n_out;
        size_t best = 0;
        score.loss += image_loss(last->gradient + i * last->n_out, scores,
                                 last->n_out, job->labels[i], job);
        for (size_t k = 1; k < last->n_out; k++) {
            best = scores[k] > scores[best] ? k : best;
        }
        score.correct += best == job->labels[i] ? 1 : 0;
    }
    net->scores[task] = score;
    return SOTTO_OK;
}

sotto_status nn_net_loss(nn_net *net, nn_net_score *score,
                         const uint8_t *labels, size_t n, double smoothing)
{
    loss_job job = {net, labels, n, smoothing};
    SOTTO_TRY(sotto_pool_run(net->pool, NN_NET_SLICES, loss_task, &job));
    *score = (nn_net_score){0.0, 0};
    for (size_t s = 0; s < NN_NET_SLICES; s++) {
        score->loss += net->scores[s].loss;
        score->correct += net->scores[s].correct;
    }
    return SOTTO_OK;
}
