/* SPDX-License-Identifier: MIT
 * Passes over the chain of layers, and the loss.
 */
#include "nn/train/backprop_internal.h"

#include <math.h>
#include <string.h>

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
