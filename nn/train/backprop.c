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
    bool merged;            /* the sums of the layer at begin are there */
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
                      .scratch = net->workers[worker].scratch,
                      .kernels = net->kernels};
    slice.count = nn_net_slice(&slice.first, number, st->n);
    return slice;
}

static void forward_part(const stage *st, const nn_slice *slice)
{
    for (size_t i = st->begin; i < st->end; i++) {
        const nn_layer *layer = layer_at(st, i);
        layer->ops->forward(layer, slice);
    }
    if (st->summed != NULL) {
        st->summed->ops->sum_forward(st->summed, slice);
    }
}

/* Those of layers that add to them. */
static void clear_gradients(const nn_net *net, float *gradient)
{
    for (size_t i = 0; i < net->n_layers; i++) {
        const nn_layer *layer = &net->layers[i];
        if (!layer->whole) {
            memset(gradient + layer->param_at, 0,
                   layer->n_params * sizeof(float));
        }
    }
}

static void backward_part(const stage *st, const nn_slice *slice)
{
    if (st->fresh) {
        clear_gradients(st->net, slice->gradient);
    }
    for (size_t i = st->begin; i < st->end; i++) {
        const nn_layer *layer = layer_at(st, i);
        layer->ops->backward(layer, slice);
        if (layer->add_to != NULL) {
            float *to = layer->add_to + slice->first * layer->n_in;
            slice->kernels->add(to, to,
                                layer->in_gradient + slice->first * layer->n_in,
                                slice->count * layer->n_in);
        }
    }
    if (st->summed != NULL) {
        st->summed->ops->sum_backward(st->summed, slice);
    }
}

static sotto_status stage_task(void *arg, size_t task, int worker)
{
    const stage *st = arg;
    const nn_slice slice = slice_of(st, task, worker);
    if (st->backward) {
        backward_part(st, &slice);
    } else {
        forward_part(st, &slice);
    }
    return SOTTO_OK;
}

/* Sets where the stage that begins now ends: before a layer whose sums are
 * missing. */
static void find_end(stage *st)
{
    st->end = st->begin;
    st->summed = NULL;
    while (st->end < st->net->n_layers && st->summed == NULL) {
        const nn_layer *layer = layer_at(st, st->end);
        if (layer->ops->sum_forward != NULL && !st->merged &&
            st->mode == NN_NET_TRAIN) {
            st->summed = layer;
        } else {
            st->merged = false;
            st->end++;
        }
    }
}

/* Between two stages: the partial sums are added, and the next stage begins
 * with that layer. */
static void end_stage(stage *st)
{
    const nn_slice whole = slice_of(st, 0, 0);
    if (st->summed != NULL && st->backward) {
        st->summed->ops->merge_backward(st->summed, &whole);
    } else if (st->summed != NULL) {
        st->summed->ops->merge_forward(st->summed, &whole);
    }
    st->merged = st->summed != NULL;
    st->begin = st->end;
    st->fresh = false;
}

/* Whether all layers have run. */
static bool at_end(const stage *st)
{
    return st->begin == st->net->n_layers;
}

static sotto_status run_stages(stage *st)
{
    while (!at_end(st)) {
        find_end(st);
        SOTTO_TRY(sotto_pool_run(st->net->pool, NN_NET_SLICES, stage_task, st));
        end_stage(st);
    }
    return SOTTO_OK;
}

/* Part `task` of the gradients that are made for all images at once. */
static sotto_status whole_task(void *arg, size_t task, int worker)
{
    const stage *st = arg;
    nn_slice batch = slice_of(st, 0, worker);
    batch.first = 0;
    batch.count = st->n;
    for (size_t i = 0; i < st->net->n_layers; i++) {
        const nn_layer *layer = &st->net->layers[i];
        if (layer->whole) {
            layer->ops->backward_whole(layer, &batch, task);
        }
    }
    return SOTTO_OK;
}

static sotto_status finish_backward(stage *st)
{
    SOTTO_TRY(run_stages(st));
    return sotto_pool_run(st->net->pool, NN_NET_SLICES, whole_task, st);
}

sotto_status nn_net_forward(nn_net *net, size_t n, nn_net_mode mode)
{
    SOTTO_ASSERT(n >= 1 && n <= net->batch);
    stage st = {.net = net, .n = n, .mode = mode, .fresh = true};
    return run_stages(&st);
}

sotto_status nn_net_backward(nn_net *net, size_t n)
{
    SOTTO_ASSERT(n >= 1 && n <= net->batch);
    stage st = {.net = net,
                .n = n,
                .mode = NN_NET_TRAIN,
                .backward = true,
                .fresh = true};
    return finish_backward(&st);
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

/* The images of one slice. */
static void loss_part(const loss_job *job, size_t task)
{
    nn_net *net = job->net;
    const nn_layer *last = &net->layers[net->n_layers - 1];
    nn_net_score score = {0.0, 0};
    size_t first;
    const size_t count = nn_net_slice(&first, task, job->n);

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
}

static sotto_status loss_task(void *arg, size_t task, int worker)
{
    (void)worker;
    loss_part(arg, task);
    return SOTTO_OK;
}

static void sum_scores(const nn_net *net, nn_net_score *score)
{
    *score = (nn_net_score){0.0, 0};
    for (size_t s = 0; s < NN_NET_SLICES; s++) {
        score->loss += net->scores[s].loss;
        score->correct += net->scores[s].correct;
    }
}

sotto_status nn_net_loss(nn_net *net, nn_net_score *score,
                         const uint8_t *labels, size_t n, double smoothing)
{
    loss_job job = {net, labels, n, smoothing};
    SOTTO_TRY(sotto_pool_run(net->pool, NN_NET_SLICES, loss_task, &job));
    sum_scores(net, score);
    return SOTTO_OK;
}

/* --- all of it --------------------------------------------------------- */

/* Forward, loss and backward. What a slice can do without the others is one
 * task: waking the threads costs as much as a small layer. */
typedef struct learn_job {
    stage forward, backward;
    loss_job loss;
    const nn_net_batch *batch;
} learn_job;

static sotto_status learn_forward_task(void *arg, size_t task, int worker)
{
    const learn_job *job = arg;
    const nn_slice slice = slice_of(&job->forward, task, worker);
    for (size_t i = slice.first;
         job->forward.fresh && i < slice.first + slice.count; i++) {
        job->batch->fill(job->batch->arg, i);
    }
    forward_part(&job->forward, &slice);
    return SOTTO_OK;
}

/* The last stage forward, the loss, and the first stage backward. */
static sotto_status learn_turn_task(void *arg, size_t task, int worker)
{
    const learn_job *job = arg;
    const nn_slice slice = slice_of(&job->backward, task, worker);
    (void)learn_forward_task(arg, task, worker);
    loss_part(&job->loss, task);
    backward_part(&job->backward, &slice);
    return SOTTO_OK;
}

sotto_status nn_net_learn(nn_net *net, nn_net_score *score,
                          const nn_net_batch *batch)
{
    const size_t n = batch->n;
    SOTTO_ASSERT(n >= 1 && n <= net->batch);
    const stage st = {.net = net, .n = n, .mode = NN_NET_TRAIN, .fresh = true};
    learn_job job = {.forward = st,
                     .backward = st,
                     .loss = {net, batch->labels, n, batch->smoothing},
                     .batch = batch};
    job.backward.backward = true;
    find_end(&job.forward);
    while (job.forward.summed != NULL) {
        SOTTO_TRY(
            sotto_pool_run(net->pool, NN_NET_SLICES, learn_forward_task, &job));
        end_stage(&job.forward);
        find_end(&job.forward);
    }
    find_end(&job.backward);
    SOTTO_TRY(sotto_pool_run(net->pool, NN_NET_SLICES, learn_turn_task, &job));
    end_stage(&job.backward);
    sum_scores(net, score);
    return finish_backward(&job.backward);
}
