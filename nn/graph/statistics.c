/* SPDX-License-Identifier: MIT
 * Range and size of every tensor; see statistics.h.
 */
#include "nn/graph/statistics.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

/* Characters of one number of the metadata entry, separator included. */
#define NUMBER_CHARS 24

sotto_status nn_statistics_init(nn_statistics *statistics,
                                const nn_network *network, sotto_error *err)
{
    statistics->n_tensors = network->n_steps + 1;
    statistics->tensor =
        sotto_calloc(statistics->n_tensors, sizeof(*statistics->tensor));
    if (statistics->tensor == NULL) {
        statistics->n_tensors = 0;
        return sotto_fail(err, SOTTO_ERR_MEMORY, "statistics: out of memory");
    }
    return SOTTO_OK;
}

void nn_statistics_clear(nn_statistics *statistics)
{
    sotto_free(statistics->tensor);
    statistics->tensor = NULL;
    statistics->n_tensors = 0;
}

/* The estimate for a tensor whose rms nobody measured. */
static double estimated_rms(const nn_statistics *statistics,
                            const nn_network *network, size_t k)
{
    const nn_tensor_statistics *t = &statistics->tensor[k];
    const double bound = fmax(fabs(t->min), fabs(t->max));
    if (k == 0) {
        return bound / sqrt(3.0);
    }
    if (network->steps[k - 1].kind == NN_STEP_SQUARE) {
        const double source = statistics->tensor[k - 1].rms;
        return source * source;
    }
    return bound / 2;
}

/* Reads the metadata list into the rms fields. */
static sotto_status parse_rms(nn_statistics *statistics, const char *text,
                              sotto_error *err)
{
    const char *at = text;
    for (size_t k = 0; k < statistics->n_tensors; k++) {
        char *end = NULL;
        const double rms = strtod(at, &end);
        if (end == at || !(rms >= 0) || !(rms < 1e100)) {
            return sotto_fail(err, SOTTO_ERR_FORMAT,
                              "model metadata %s: number %zu of %zu is missing "
                              "or no size; train or calibrate again",
                              NN_STATISTICS_KEY, k + 1, statistics->n_tensors);
        }
        statistics->tensor[k].rms = rms;
        at = end;
    }
    return SOTTO_OK;
}

sotto_status nn_statistics_load(nn_statistics *statistics,
                                const nn_network *network, sotto_error *err)
{
    SOTTO_TRY(nn_statistics_init(statistics, network, err));
    for (size_t k = 0; k < statistics->n_tensors; k++) {
        const nn_range range = nn_network_tensor_range(network, k);
        nn_tensor_statistics *t = &statistics->tensor[k];
        t->range_known = range.known;
        t->min = range.known ? range.min : 0;
        t->max = range.known ? range.max : 0;
        t->rms = estimated_rms(statistics, network, k);
    }
    const char *text = nn_graph_metadata(network->graph, NN_STATISTICS_KEY);
    if (text == NULL) {
        return SOTTO_OK;
    }
    const sotto_status status = parse_rms(statistics, text, err);
    if (status != SOTTO_OK) {
        nn_statistics_clear(statistics);
    }
    return status;
}

/* What the tensor hook works on. */
typedef struct collector {
    nn_statistics *statistics;
    pthread_mutex_t lock; /* maxima commute: the order does not matter */
    bool finite;
} collector;

static void collect(void *arg, size_t tensor, const double *values,
                    size_t n_elements, size_t n_lanes, size_t first_image)
{
    (void)first_image;
    collector *c = arg;
    double min = values[0];
    double max = values[0];
    double mean_square = 0;
    for (size_t lane = 0; lane < n_lanes; lane++) {
        double sum = 0;
        for (size_t i = 0; i < n_elements; i++) {
            const double x = values[i * n_lanes + lane];
            min = x < min ? x : min;
            max = x > max ? x : max;
            sum += x * x;
        }
        sum /= (double)n_elements;
        /* The negated comparison lets a NaN through to the check below. */
        mean_square = !(sum <= mean_square) ? sum : mean_square;
    }
    pthread_mutex_lock(&c->lock);
    nn_tensor_statistics *t = &c->statistics->tensor[tensor];
    c->finite = c->finite && isfinite(mean_square);
    t->min = !t->range_known || min < t->min ? min : t->min;
    t->max = !t->range_known || max > t->max ? max : t->max;
    t->rms = fmax(t->rms, sqrt(mean_square));
    t->range_known = true;
    pthread_mutex_unlock(&c->lock);
}

sotto_status nn_statistics_add(nn_statistics *statistics,
                               const nn_network *network, sotto_pool *pool,
                               const float *in, size_t n_images,
                               sotto_error *err)
{
    SOTTO_ASSERT(statistics->n_tensors == network->n_steps + 1);
    if (n_images == 0) {
        return SOTTO_OK;
    }
    double *out = sotto_calloc(n_images * network->n_outputs, sizeof(*out));
    if (out == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "calibration: out of memory for %zu images",
                          n_images);
    }
    collector c = {.statistics = statistics, .finite = true};
    pthread_mutex_init(&c.lock, NULL);
    const nn_run_hooks hooks = {.arg = &c, .tensor = collect};
    const sotto_status status =
        nn_network_run(network, pool, out, in, n_images, &hooks, err);
    pthread_mutex_destroy(&c.lock);
    sotto_free(out);
    if (status == SOTTO_OK && !c.finite) {
        return sotto_fail(err, SOTTO_ERR_RANGE,
                          "calibration: a value of the network is not finite; "
                          "check the model");
    }
    return status;
}

sotto_status nn_statistics_store(nn_graph *graph,
                                 const nn_statistics *statistics,
                                 sotto_error *err)
{
    const size_t cap = statistics->n_tensors * NUMBER_CHARS + 1;
    char *text = sotto_calloc(cap, 1);
    if (text == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "statistics: out of memory");
    }
    size_t at = 0;
    for (size_t k = 0; k < statistics->n_tensors; k++) {
        const int n = snprintf(text + at, cap - at, "%s%.6g", k ? " " : "",
                               statistics->tensor[k].rms);
        at += (size_t)n;
    }
    const sotto_status status =
        nn_graph_set_metadata(graph, NN_STATISTICS_KEY, text, err);
    sotto_free(text);
    return status;
}
