/* SPDX-License-Identifier: MIT
 * The exported network with what a plan must know: ranges and sizes of its
 * values over the training data, and where the weights come from.
 */
#include "nn/train/trainer_internal.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "nn/graph/fold.h"
#include "nn/graph/plain.h"
#include "nn/graph/statistics.h"

/* Images run at a time. */
#define SURVEY_IMAGES ((size_t)1024)

/* What is known of the training data as the exported network sees them. */
typedef struct survey {
    const nn_trainer *trainer;
    const nn_graph *graph;
    nn_range *ranges;          /* [n_nodes] */
    nn_range *part;            /* [n_nodes], of a few images */
    float *pixels;             /* [SURVEY_IMAGES][image] */
    const nn_network *network; /* NULL: ranges only */
    nn_statistics *statistics;
} survey;

/* Adds images [first, first+n) of the data. */
static sotto_status survey_add(survey *s, size_t first, size_t n,
                               sotto_error *err)
{
    sotto_pool *pool = s->trainer->pool;
    const size_t image = nn_image_pixels(s->trainer->data.shape);
    const uint8_t *bytes = s->trainer->data.pixels + first * image;
    for (size_t i = 0; i < n * image; i++) {
        s->pixels[i] = nn_pixel_to_float(bytes[i]);
    }
    if (s->network != NULL) {
        return nn_statistics_add(s->statistics, s->network, pool, s->pixels, n,
                                 err);
    }
    SOTTO_TRY(nn_plain_ranges(s->graph, pool, s->part, s->pixels, n, err));
    for (int k = 0; k < s->graph->n_nodes; k++) {
        if (!s->ranges[k].known) {
            s->ranges[k] = s->part[k];
        }
        s->ranges[k].min = fmin(s->ranges[k].min, s->part[k].min);
        s->ranges[k].max = fmax(s->ranges[k].max, s->part[k].max);
    }
    return SOTTO_OK;
}

static sotto_status survey_all(survey *s, sotto_error *err)
{
    const size_t count = s->trainer->data.count;
    for (size_t i = 0; i < count; i += SURVEY_IMAGES) {
        const size_t left = count - i;
        SOTTO_TRY(
            survey_add(s, i, left < SURVEY_IMAGES ? left : SURVEY_IMAGES, err));
    }
    return SOTTO_OK;
}

/* States the ranges of the nodes in ranged[]. */
static sotto_status set_ranges(survey *s, nn_graph *graph, const int *ranged,
                               size_t n_ranged, sotto_error *err)
{
    SOTTO_TRY(survey_all(s, err));
    for (size_t k = 0; k < n_ranged; k++) {
        const nn_range *range = &s->ranges[ranged[k]];
        nn_graph_set_range(graph, ranged[k], range->min, range->max);
    }
    return SOTTO_OK;
}

/* Measures the folded network, which needs the ranges. A network that does
 * not fold is exported all the same, for `eval`; a plan will say why not. */
static sotto_status set_statistics(survey *s, nn_graph *graph, sotto_error *err)
{
    nn_network *network = NULL;
    nn_statistics statistics = {0};
    sotto_status status = nn_network_new(&network, graph, NULL, err);
    if (status == SOTTO_ERR_UNSUPPORTED) {
        return SOTTO_OK;
    }
    SOTTO_TRY(status);
    status = nn_statistics_init(&statistics, network, err);
    if (status == SOTTO_OK) {
        s->network = network;
        s->statistics = &statistics;
        status = survey_all(s, err);
    }
    nn_network_free(network);
    if (status == SOTTO_OK) {
        status = nn_statistics_store(graph, &statistics, err);
    }
    nn_statistics_clear(&statistics);
    return status;
}

static sotto_status set_facts(const nn_trainer *trainer, nn_graph *graph,
                              const int *ranged, size_t n_ranged,
                              sotto_error *err)
{
    const size_t image = nn_image_pixels(trainer->data.shape);
    const size_t n_nodes = (size_t)graph->n_nodes;
    nn_range *ranges = sotto_calloc(2 * n_nodes, sizeof(*ranges));
    survey s = {.trainer = trainer, .graph = graph, .ranges = ranges};
    s.pixels = sotto_calloc(SURVEY_IMAGES * image, sizeof(float));
    sotto_status status = SOTTO_OK;
    if (ranges == NULL || s.pixels == NULL) {
        status = sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    if (status == SOTTO_OK) {
        s.part = ranges + n_nodes;
        status = set_ranges(&s, graph, ranged, n_ranged, err);
    }
    if (status == SOTTO_OK) {
        status = set_statistics(&s, graph, err);
    }
    sotto_free(ranges);
    sotto_free(s.pixels);
    return status;
}

static sotto_status set_metadata(const nn_trainer *trainer, nn_graph *graph,
                                 sotto_error *err)
{
    const nn_train_summary summary = nn_trainer_summary(trainer);
    char text[96];
    char digest[2 * SOTTO_HASH_BYTES + 1];
    sotto_hex(digest, trainer->digest, SOTTO_HASH_BYTES);
    SOTTO_TRY(nn_graph_set_metadata(graph, "sotto.train.name",
                                    trainer->config.name, err));
    SOTTO_TRY(nn_graph_set_metadata(graph, "sotto.train.seed",
                                    trainer->config.seed, err));
    SOTTO_TRY(nn_graph_set_metadata(graph, "sotto.train.digest", digest, err));
    (void)snprintf(text, sizeof(text), "%zu of %zu", summary.chosen_epoch,
                   trainer->config.epochs);
    SOTTO_TRY(nn_graph_set_metadata(graph, "sotto.train.epoch", text, err));
    if (summary.n_validation == 0) {
        return SOTTO_OK;
    }
    (void)snprintf(text, sizeof(text), "%.6g of %zu images",
                   summary.validation_accuracy, summary.n_validation);
    return nn_graph_set_metadata(graph, "sotto.train.validation_accuracy", text,
                                 err);
}

static sotto_status export_all(const nn_trainer *trainer, nn_graph **graph,
                               int *ranged, sotto_error *err)
{
    size_t n_ranged = 0;
    SOTTO_TRY(nn_net_export(graph, ranged, &n_ranged, trainer->net,
                            &trainer->config, err));
    SOTTO_TRY(set_facts(trainer, *graph, ranged, n_ranged, err));
    return set_metadata(trainer, *graph, err);
}

/* Exchanges n floats of a and b. */
static void exchange(float *a, float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

/* Puts the chosen weights into the net, or those under training back. */
static void exchange_best(nn_trainer *trainer)
{
    exchange(nn_net_params(trainer->net), trainer->best_params,
             nn_net_n_params(trainer->net));
    exchange(nn_net_state(trainer->net), trainer->best_state,
             nn_net_n_state(trainer->net));
}

sotto_status nn_trainer_export(nn_trainer *trainer, nn_graph **graph,
                               sotto_error *err)
{
    const bool chosen = trainer->at.best_epoch > 0;
    int *ranged = sotto_calloc(trainer->config.n_layers + 2, sizeof(*ranged));
    *graph = NULL;
    if (ranged == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    if (chosen) {
        exchange_best(trainer);
    }
    const sotto_status status = export_all(trainer, graph, ranged, err);
    if (chosen) {
        exchange_best(trainer);
    }
    sotto_free(ranged);
    if (status != SOTTO_OK) {
        nn_graph_free(*graph);
        *graph = NULL;
    }
    return status;
}
