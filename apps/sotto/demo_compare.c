/* SPDX-License-Identifier: MIT
 * The demo's comparison: the same images through the float network and through
 * the network with the plan's rounded weights.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "apps/sotto/demo.h"
#include "apps/sotto/scores.h"
#include "base/mem.h"
#include "nn/graph/plain.h"

/* Images that are held as floats at a time. */
#define BLOCK 512

size_t demo_label(const demo *d, const double *scores, uint64_t i)
{
    return scores_label(scores + i * d->n_outputs, d->n_outputs);
}

/* Both networks on n images from `first` on. in, out: floats of one block. */
static sotto_status run_block(demo *d, const load_model *model, float *in,
                              float *out, uint64_t first, size_t n,
                              sotto_error *err)
{
    for (size_t i = 0; i < n * d->n_pixels; i++) {
        in[i] = nn_pixel_to_float(d->pixels[first * d->n_pixels + i]);
    }
    /* Scores are compared before a softmax. */
    const int last = model->graph->n_nodes - 1;
    const int id =
        model->network->softmax ? model->graph->nodes[last].inputs[0] : last;
    SOTTO_TRY(
        nn_plain_run_node(model->graph, d->app->pool, id, out, in, n, err));
    for (size_t i = 0; i < n * d->n_outputs; i++) {
        d->exact[first * d->n_outputs + i] = (double)out[i];
    }
    nn_plan_rounding rounding = {d->plan, model->network};
    const nn_run_hooks hooks = {.arg = &rounding, .group = nn_plan_round_group};
    return nn_network_run(model->network, d->app->pool,
                          d->rounded + first * d->n_outputs, in, n, &hooks,
                          err);
}

/* Both networks on all images, block by block. */
static sotto_status run_networks(demo *d, const load_model *model,
                                 sotto_error *err)
{
    const double start = app_seconds();
    float *in = sotto_calloc(BLOCK * d->n_pixels, sizeof *in);
    float *out = sotto_calloc(BLOCK * d->n_outputs, sizeof *out);
    sotto_status status = SOTTO_OK;
    if (in == NULL || out == NULL) {
        status = sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    for (uint64_t at = 0; at < d->n && status == SOTTO_OK; at += BLOCK) {
        const size_t n = d->n - at < BLOCK ? (size_t)(d->n - at) : BLOCK;
        status = app_check_cancel(d->app, err);
        if (status == SOTTO_OK) {
            status = run_block(d, model, in, out, at, n, err);
        }
        const nn_progress progress = {"compare", at + n, d->n,
                                      app_seconds() - start};
        d->app->bar_label = "compare";
        app_progress(d->app, &progress);
    }
    app_progress_end(d->app);
    sotto_free(in);
    sotto_free(out);
    return status;
}

/* Adds one difference to the distribution; what is not a number is the worst.
 */
static void add_error(demo_error *error, double difference)
{
    const double size = fabs(difference);
    error->worst = size > error->worst || isnan(size) ? size : error->worst;
    double bin = size > 0 ? floor(2 * (log2(size) - DEMO_BIN_FIRST)) : 0;
    bin = bin > 0 ? bin : 0;
    error->bin[bin < DEMO_BINS - 1 ? (size_t)bin : DEMO_BINS - 1]++;
}

/* Counts labels and collects the three errors. In single packing weights are
 * rounded as diagonals, inside the encrypted computation, and what differs from
 * the plain network is both. */
static void compare(demo *d)
{
    const bool single = d->plan->packing == NN_PACKING_SINGLE;
    d->he.predicted =
        d->plan->he_error + (single ? d->plan->rounding_error : 0);
    d->rounding.predicted = d->plan->rounding_error;
    d->total.predicted = d->plan->he_error + d->plan->rounding_error;
    for (uint64_t i = 0; i < d->n * d->n_outputs; i++) {
        add_error(&d->he, d->encrypted[i] - d->rounded[i]);
        add_error(&d->rounding, d->rounded[i] - d->exact[i]);
        add_error(&d->total, d->encrypted[i] - d->exact[i]);
    }
    for (uint64_t i = 0; i < d->n; i++) {
        const size_t plain = demo_label(d, d->exact, i);
        const size_t encrypted = demo_label(d, d->encrypted, i);
        d->correct_plain += plain == d->labels[i];
        d->correct_encrypted += encrypted == d->labels[i];
        d->label_differences += plain != encrypted;
    }
}

sotto_status demo_compare(demo *d, sotto_error *err)
{
    load_model model;
    SOTTO_TRY(load_model_file(
        &model, d->model_path,
        (load_normalise){d->plan->mean, d->plan->std, d->plan->n_mean}, true,
        err));
    d->exact = sotto_calloc(d->n * d->n_outputs, sizeof *d->exact);
    d->rounded = sotto_calloc(d->n * d->n_outputs, sizeof *d->rounded);
    sotto_status status = SOTTO_OK;
    if (d->exact == NULL || d->rounded == NULL) {
        status = sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    } else {
        status = run_networks(d, &model, err);
    }
    load_model_clear(&model);
    if (status == SOTTO_OK) {
        compare(d);
    }
    return status;
}
