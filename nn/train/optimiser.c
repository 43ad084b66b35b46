/* SPDX-License-Identifier: MIT
 * Optimisers. Parameters are cut into chunks of fixed size for the threads;
 * every parameter is treated by itself, so that the cut does not matter.
 */
#include "nn/train/optimiser.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

#define CHUNK ((size_t)4096)
#define PI 3.14159265358979323846

sotto_status nn_optimiser_init(nn_optimiser *optimiser,
                               const nn_train_config *config, size_t n_params,
                               sotto_error *err)
{
    const size_t n_moments = config->optimiser == NN_ADAM ? 2 : 1;
    float *moments = sotto_calloc(n_moments * n_params, sizeof(float));
    memset(optimiser, 0, sizeof(*optimiser));
    if (moments == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for an optimiser of %zu parameters",
                          n_params);
    }
    optimiser->config = config;
    optimiser->n_params = n_params;
    optimiser->n_moments = n_moments;
    optimiser->moments = moments;
    return SOTTO_OK;
}

void nn_optimiser_clear(nn_optimiser *optimiser)
{
    sotto_free(optimiser->moments);
    memset(optimiser, 0, sizeof(*optimiser));
}

/* One step under way. */
typedef struct step_job {
    nn_optimiser *optimiser;
    nn_net *net;
    double learning_rate;
    float correct[2]; /* Adam: 1/(1 - beta^steps) */
} step_job;

/* Parameters [begin, begin+count) of one block. */
static void sgd_run(const step_job *job, const nn_param_block *block,
                    const float *g, size_t begin, size_t count)
{
    const nn_train_config *config = job->optimiser->config;
    const float rate = (float)(job->learning_rate * block->rate);
    const float decay = block->decay ? (float)config->weight_decay : 0.0f;
    const float momentum = (float)config->momentum;
    float *w = nn_net_params(job->net) + begin;
    float *v = job->optimiser->moments + begin;

    for (size_t i = 0; i < count; i++) {
        const float slope = g[i] + decay * w[i];
        v[i] = momentum * v[i] + slope;
        w[i] -= rate * (config->nesterov ? slope + momentum * v[i] : v[i]);
    }
}

static void adam_run(const step_job *job, const nn_param_block *block,
                     const float *g, size_t begin, size_t count)
{
    const nn_train_config *config = job->optimiser->config;
    const float rate = (float)(job->learning_rate * block->rate);
    const float decay = block->decay ? (float)config->weight_decay : 0.0f;
    const float beta1 = (float)config->beta[0];
    const float beta2 = (float)config->beta[1];
    const float epsilon = (float)config->epsilon;
    float *w = nn_net_params(job->net) + begin;
    float *m = job->optimiser->moments + begin;
    float *v = m + job->optimiser->n_params;

    for (size_t i = 0; i < count; i++) {
        m[i] = beta1 * m[i] + (1.0f - beta1) * g[i];
        v[i] = beta2 * v[i] + (1.0f - beta2) * g[i] * g[i];
        const float size = sqrtf(v[i] * job->correct[1]) + epsilon;
        w[i] -= rate * (m[i] * job->correct[0] / size + decay * w[i]);
    }
}

/* The gradient of parameters [begin, begin + count) of one block: its slices,
 * always added in this order. */
static void sum_slices(const nn_net *net, float *g, const nn_param_block *block,
                       size_t begin, size_t count)
{
    memcpy(g, nn_net_gradient(net, 0) + begin, count * sizeof(float));
    for (size_t s = 1; s < NN_NET_SLICES && !block->whole; s++) {
        const float *part = nn_net_gradient(net, s) + begin;
        for (size_t i = 0; i < count; i++) {
            g[i] += part[i];
        }
    }
}

static sotto_status step_task(void *arg, size_t task, int worker)
{
    const step_job *job = arg;
    const size_t n_params = job->optimiser->n_params;
    const size_t begin = task * CHUNK;
    const size_t end = begin + CHUNK < n_params ? begin + CHUNK : n_params;
    size_t n_blocks;
    const nn_param_block *blocks = nn_net_blocks(job->net, &n_blocks);
    float g[CHUNK];

    (void)worker;
    for (size_t k = 0; k < n_blocks; k++) {
        const nn_param_block *block = &blocks[k];
        const size_t first = block->at > begin ? block->at : begin;
        size_t last = block->at + block->count;
        last = last < end ? last : end;
        if (first >= last) {
            continue;
        }
        sum_slices(job->net, g, block, first, last - first);
        if (job->optimiser->config->optimiser == NN_ADAM) {
            adam_run(job, block, g, first, last - first);
        } else {
            sgd_run(job, block, g, first, last - first);
        }
    }
    return SOTTO_OK;
}

sotto_status nn_optimiser_step(nn_optimiser *optimiser, nn_net *net,
                               sotto_pool *pool, double learning_rate)
{
    const nn_train_config *config = optimiser->config;
    step_job job = {
        .optimiser = optimiser, .net = net, .learning_rate = learning_rate};
    optimiser->steps++;
    for (size_t i = 0; i < 2; i++) {
        job.correct[i] = (float)(1.0 / (1.0 - pow(config->beta[i],
                                                  (double)optimiser->steps)));
    }
    return sotto_pool_run(pool, (optimiser->n_params + CHUNK - 1) / CHUNK,
                          step_task, &job);
}

double nn_learning_rate(const nn_train_config *config, uint64_t step,
                        uint64_t epoch_steps)
{
    const double at = (double)step / (double)epoch_steps; /* in epochs */
    const double left = (double)config->epochs - config->warmup;
    double factor = 1.0;

    if (at < config->warmup) {
        const double warm_steps = config->warmup * (double)epoch_steps;
        return config->learning_rate *
               fmin(((double)step + 1.0) / warm_steps, 1.0);
    }
    if (config->schedule == NN_SCHEDULE_COSINE) {
        const double p = left > 0.0 ? (at - config->warmup) / left : 1.0;
        factor = config->final_factor +
                 (1.0 - config->final_factor) * 0.5 * (1.0 + cos(PI * p));
    } else if (config->schedule == NN_SCHEDULE_STEP) {
        factor = pow(config->step_factor,
                     (double)(step / epoch_steps / config->step_every));
    }
    return config->learning_rate * factor;
}
