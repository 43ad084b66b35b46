/* SPDX-License-Identifier: MIT
 * sotto eval: a model on plain images.
 */
#include <inttypes.h>
#include <string.h>

#include "apps/sotto/commands.h"
#include "apps/sotto/load.h"
#include "apps/sotto/scores.h"
#include "base/mem.h"
#include "nn/graph/plain.h"

/* Images that are held at a time. */
#define BLOCK 512

typedef struct eval_options {
    app_common common;
    const char *model;
    opt_list images;
    const char *labels;
    opt_pair range;
    const char *csv;
    opt_reals mean, std;
} eval_options;

/* What an evaluation holds. */
typedef struct evaluation {
    load_model model;
    load_images images;
    size_t n_outputs;
    uint8_t *labels; /* NULL: none given */
    uint64_t correct;
    double seconds;
    bool csv_open;
    text_out csv;
    float *in, *out;
    double *row;
} evaluation;

/* The model with the normalisation of the command line in front. */
static sotto_status open_model(app_state *app, evaluation *e,
                               const eval_options *options, sotto_error *err)
{
    float mean[NN_PLAN_MAX_MEAN], std[NN_PLAN_MAX_MEAN];
    const size_t n = options->mean.n;
    if (n != options->std.n || n > NN_PLAN_MAX_MEAN) {
        return app_usage(app, err,
                         "--mean has %zu and --std %zu numbers, expected one "
                         "or one for each channel (at most %d) in both",
                         n, options->std.n, NN_PLAN_MAX_MEAN);
    }
    for (size_t i = 0; i < n; i++) {
        mean[i] = (float)options->mean.value[i];
        std[i] = (float)options->std.value[i];
    }
    return load_model_file(&e->model, options->model,
                           (load_normalise){mean, std, (int)n}, false, err);
}

/* Labels from their file, from the images, or none at all. */
static sotto_status open_labels(evaluation *e, const eval_options *options,
                                sotto_error *err)
{
    if (options->labels != NULL) {
        return load_labels(&e->labels, options->labels, e->images.first,
                           e->images.count, err);
    }
    return nn_images_have_labels(e->images.images)
               ? load_own_labels(&e->labels, &e->images, err)
               : SOTTO_OK;
}

/* Opens all inputs and allocates one block; what is open on failure is closed
 * by the caller. */
static sotto_status open_all(app_state *app, evaluation *e,
                             const eval_options *options, sotto_error *err)
{
    text_init(&e->csv);
    SOTTO_TRY(open_model(app, e, options, err));
    const nn_graph *graph = e->model.graph;
    SOTTO_TRY(load_images_files(&e->images, &options->images, options->range,
                                &graph->nodes[0].shape, err));
    SOTTO_TRY(open_labels(e, options, err));
    e->n_outputs = nn_shape_size(&nn_graph_output(graph)->shape);
    e->in = sotto_calloc(BLOCK * e->images.pixels, sizeof *e->in);
    e->out = sotto_calloc(BLOCK * e->n_outputs, sizeof *e->out);
    e->row = sotto_calloc(e->n_outputs, sizeof *e->row);
    if (e->in == NULL || e->out == NULL || e->row == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    if (options->csv != NULL) {
        SOTTO_TRY(text_open(&e->csv, options->csv, err));
        e->csv_open = true;
        scores_csv_head(&e->csv, e->n_outputs);
    }
    return SOTTO_OK;
}

/* Takes the scores of the block that begins at image `first`. */
static void take_scores(evaluation *e, uint64_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t o = 0; o < e->n_outputs; o++) {
            e->row[o] = (double)e->out[i * e->n_outputs + o];
        }
        if (e->labels != NULL) {
            e->correct +=
                scores_label(e->row, e->n_outputs) == e->labels[first + i];
        }
        if (e->csv_open) {
            scores_csv(&e->csv, e->images.first + first + i, e->row,
                       e->n_outputs);
        }
    }
}

/* Runs all images block by block. */
static sotto_status evaluate(app_state *app, evaluation *e, sotto_error *err)
{
    const double start = app_seconds();
    for (uint64_t at = 0; at < e->images.count; at += BLOCK) {
        const uint64_t left = e->images.count - at;
        const size_t n = left < BLOCK ? (size_t)left : BLOCK;
        SOTTO_TRY(app_check_cancel(app, err));
        SOTTO_TRY(load_images_read(&e->images, e->in, at, n, err));
        SOTTO_TRY(
            nn_plain_run(e->model.graph, app->pool, e->out, e->in, n, err));
        take_scores(e, at, n);
        const nn_progress progress = {"eval", at + n, e->images.count,
                                      app_seconds() - start};
        app_progress(app, &progress);
    }
    app_progress_end(app);
    e->seconds = app_seconds() - start;
    return e->csv_open ? text_close(&e->csv, err) : SOTTO_OK;
}

/* Says and writes the result; accuracy is there only with labels. */
static sotto_status report(app_state *app, const evaluation *e,
                           const eval_options *options, sotto_error *err)
{
    const double accuracy = (double)e->correct / (double)e->images.count;
    app_say(app, "%s: %" PRIu64 " images in %s", options->model,
            e->images.count, text_of_seconds(e->seconds).text);
    if (e->labels != NULL) {
        app_say(app, "%" PRIu64 " of %" PRIu64 " labels are right: %.2f %%",
                e->correct, e->images.count, 100 * accuracy);
    }
    app_json file;
    SOTTO_TRY(app_json_open(&file, options->common.json, err));
    if (file.open) {
        json_string(&file.j, "model", options->model);
        json_count(&file.j, "images", e->images.count);
        json_count(&file.j, "outputs", e->n_outputs);
        if (e->labels != NULL) {
            json_count(&file.j, "correct", e->correct);
            json_real(&file.j, "accuracy", accuracy);
        }
        json_real(&file.j, "seconds", e->seconds);
    }
    return app_json_close(&file, err);
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const eval_options *options = values;
    SOTTO_TRY(app_claim_output(app, options->csv, err));
    evaluation *e = sotto_calloc(1, sizeof *e);
    if (e == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    sotto_status status = open_all(app, e, options, err);
    if (status == SOTTO_OK) {
        status = evaluate(app, e, err);
    }
    if (status == SOTTO_OK) {
        status = report(app, e, options, err);
    }
    text_discard(&e->csv);
    sotto_free(e->labels);
    sotto_free(e->in);
    sotto_free(e->out);
    sotto_free(e->row);
    load_images_clear(&e->images);
    load_model_clear(&e->model);
    sotto_free(e);
    return status;
}

static const opt_spec specs[] = {
    {"--labels", OPT_TEXT, offsetof(eval_options, labels), "FILE",
     "compare with these labels (CIFAR-10 files bring\ntheir own)", 0, 0,
     false},
    {"--csv", OPT_TEXT, offsetof(eval_options, csv), "FILE",
     "write index,label,score0,...", 0, 0, false},
    {"--range", OPT_RANGE, offsetof(eval_options, range), "FIRST:END",
     "images FIRST to END-1 only, counted from 0", 0, 0, false},
    {"--mean", OPT_REALS, offsetof(eval_options, mean), "M[,M...]",
     "subtract this from pixels in [0,1], per channel", -1000, 1000, false},
    {"--std", OPT_REALS, offsetof(eval_options, std), "S[,S...]",
     "then divide by this", 1e-6, 1e6, false}};

static const opt_operand operands[] = {
    {"MODEL", offsetof(eval_options, model), false, false},
    {"IMAGES", offsetof(eval_options, images), true, false}};

const app_command cmd_eval = {
    "eval",
    "run a model on plain images",
    "The reference for everything encrypted: the ONNX file as it stands, in\n"
    "float32.\n",
    {specs, sizeof specs / sizeof specs[0], operands, 2},
    sizeof(eval_options),
    run};
