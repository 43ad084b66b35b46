/* SPDX-License-Identifier: MIT
 * sotto decrypt: the client's scores.
 */
#include <inttypes.h>
#include <string.h>

#include "apps/sotto/commands.h"
#include "apps/sotto/load.h"
#include "apps/sotto/scores.h"
#include "apps/sotto/show.h"
#include "base/mem.h"
#include "rlwe/wire.h"

/* ---- The step ------------------------------------------------------------ */

/* Counts what passes on its way to the caller's sink. */
typedef struct counting {
    decrypt_result *result;
    nn_score_sink sink;
    void *arg;
} counting;

static sotto_status count_scores(void *arg, const nn_scores *scores,
                                 sotto_error *err)
{
    counting *c = arg;
    c->result->images += scores->n_images;
    return c->sink(c->arg, scores, err);
}

/* Reads the key and runs the decryption. Scores pass through sink only; nothing
 * here keeps them. */
static sotto_status decrypt_all(app_state *app, decrypt_result *result,
                                const load_plan *loaded,
                                const decrypt_options *options,
                                nn_score_sink sink, void *sink_arg,
                                sotto_error *err)
{
    rlwe_secret *secret = NULL;
    SOTTO_TRY(rlwe_read_secret(&secret, options->key, loaded->context, err));
    if (secret->from_seed) {
        app_warn(app, "%s was made with --seed: it protects nothing",
                 options->key);
    }
    result->softmax = loaded->plan->softmax;
    counting c = {result, sink, sink_arg};
    const nn_run_options run = app_run_options(app, "decrypt");
    const sotto_status status = nn_run_decrypt(
        loaded->plan, loaded->context, secret, options->input, count_scores, &c,
        options->force, &result->noise_std, &run, err);
    app_progress_end(app);
    rlwe_secret_free(secret, loaded->context);
    result->predicted_noise_std = loaded->plan->he_noise_std;
    return status;
}

sotto_status decrypt_run(app_state *app, decrypt_result *result,
                         const decrypt_options *options, nn_score_sink sink,
                         void *sink_arg, sotto_error *err)
{
    const double start = app_seconds();
    memset(result, 0, sizeof *result);
    load_plan loaded;
    SOTTO_TRY(
        load_plan_file(app, &loaded, options->plan, options->insecure, err));
    const sotto_status status =
        decrypt_all(app, result, &loaded, options, sink, sink_arg, err);
    load_plan_clear(&loaded);
    result->seconds = app_seconds() - start;
    return status;
}

/* ---- Command ------------------------------------------------------------- */

/* Where the scores go, batch by batch. */
typedef struct writer {
    bool started;
    bool csv_open;
    text_out csv;
    app_json json;
    double *row; /* softmax of one image */
    uint8_t *labels;
    size_t n_labels;
    uint64_t correct;
    decrypt_result result;
} writer;

/* The number of outputs is known with the first batch. */
static sotto_status start_writer(writer *w, size_t n_outputs, sotto_error *err)
{
    if (w->csv_open) {
        scores_csv_head(&w->csv, n_outputs);
    }
    if (w->json.open) {
        json_count(&w->json.j, "outputs", n_outputs);
        json_array(&w->json.j, "results");
    }
    w->row = sotto_calloc(n_outputs, sizeof *w->row);
    w->started = true;
    return w->row != NULL ? SOTTO_OK
                          : sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
}

/* Writes the scores of one image wherever they are wanted. */
static sotto_status write_image(writer *w, uint64_t index, const double *score,
                                size_t n, sotto_error *err)
{
    memcpy(w->row, score, n * sizeof *score);
    if (w->result.softmax) {
        scores_softmax(w->row, n);
    }
    if (w->csv_open) {
        scores_csv(&w->csv, index, w->row, n);
    }
    if (w->json.open) {
        scores_json(&w->json.j, index, w->row, n);
    }
    if (w->labels == NULL) {
        return SOTTO_OK;
    }
    if (index >= w->n_labels) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "there are scores of image %" PRIu64
                          " but only %zu labels, expected one for each image; "
                          "give the labels of these images",
                          index, w->n_labels);
    }
    w->correct += scores_label(score, n) == w->labels[index];
    return SOTTO_OK;
}

/* Takes one batch: a nn_score_sink; arg is the writer. */
static sotto_status write_scores(void *arg, const nn_scores *scores,
                                 sotto_error *err)
{
    writer *w = arg;
    if (!w->started) {
        SOTTO_TRY(start_writer(w, scores->n_outputs, err));
    }
    for (size_t i = 0; i < scores->n_images; i++) {
        SOTTO_TRY(write_image(w, scores->first_image + i,
                              scores->score + i * scores->n_outputs,
                              scores->n_outputs, err));
    }
    return text_check(&w->csv, err);
}

/* Opens what was asked for. Labels first: an output is not begun for a job that
 * cannot end. */
static sotto_status open_writer(writer *w, const decrypt_options *options,
                                sotto_error *err)
{
    text_init(&w->csv);
    text_init(&w->json.out);
    if (options->labels != NULL) {
        SOTTO_TRY(
            nn_labels_read(&w->labels, &w->n_labels, options->labels, err));
    }
    const bool neither = options->csv == NULL && options->common.json == NULL;
    if (options->csv != NULL || neither) {
        SOTTO_TRY(text_open(&w->csv, neither ? "-" : options->csv, err));
        w->csv_open = true;
    }
    return app_json_open(&w->json, options->common.json, err);
}

/* Removes whatever was not closed. */
static void clear_writer(writer *w)
{
    text_discard(&w->csv);
    text_discard(&w->json.out);
    sotto_free(w->labels);
    sotto_free(w->row);
    sotto_free(w);
}

/* Puts both files in place, the figures of the whole job at the end. */
static sotto_status close_writer(writer *w, sotto_error *err)
{
    const decrypt_result *result = &w->result;
    if (w->json.open) {
        json_out *j = &w->json.j;
        if (w->started) {
            json_end(j);
        }
        json_count(j, "images", result->images);
        json_bool(j, "softmax", result->softmax);
        json_real(j, "noise_std", result->noise_std);
        json_real(j, "predicted_noise_std", result->predicted_noise_std);
        json_real(j, "seconds", result->seconds);
        if (w->labels != NULL) {
            json_count(j, "correct", w->correct);
            json_real(j, "accuracy",
                      (double)w->correct / (double)result->images);
        }
    }
    SOTTO_TRY(app_json_close(&w->json, err));
    return w->csv_open ? text_close(&w->csv, err) : SOTTO_OK;
}

/* Decrypts into an empty writer and says how well it went. */
static sotto_status decrypt_to(app_state *app, writer *w,
                               const decrypt_options *options, sotto_error *err)
{
    SOTTO_TRY(open_writer(w, options, err));
    SOTTO_TRY(decrypt_run(app, &w->result, options, write_scores, w, err));
    SOTTO_TRY(close_writer(w, err));
    const decrypt_result *result = &w->result;
    app_say(app,
            "%" PRIu64 " images in %s; noise %s, predicted at most %s "
            "(standard deviation)",
            result->images, text_of_seconds(result->seconds).text,
            show_log2(result->noise_std).text,
            show_log2(result->predicted_noise_std).text);
    if (w->labels != NULL && result->images > 0) {
        app_say(app, "%" PRIu64 " of %" PRIu64 " labels are right: %.2f %%",
                w->correct, result->images,
                100 * (double)w->correct / (double)result->images);
    }
    return SOTTO_OK;
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const decrypt_options *options = values;
    const bool neither = options->csv == NULL && options->common.json == NULL;
    SOTTO_TRY(app_claim_output(app, neither ? "-" : options->csv, err));
    writer *w = sotto_calloc(1, sizeof *w);
    if (w == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    const sotto_status status = decrypt_to(app, w, options, err);
    clear_writer(w);
    return status;
}

static const opt_spec specs[] = {
    {"--key", OPT_TEXT, offsetof(decrypt_options, key), "FILE",
     "the secret key", 0, 0, true},
    {"--csv", OPT_TEXT, offsetof(decrypt_options, csv), "FILE",
     "write index,label,score0,... (default: to standard\n"
     "output, unless --json is given)",
     0, 0, false},
    {"--labels", OPT_TEXT, offsetof(decrypt_options, labels), "FILE",
     "compare with these labels", 0, 0, false},
    {"--force", OPT_FLAG, offsetof(decrypt_options, force), NULL,
     "accept noise beyond the prediction", 0, 0, false},
    {"--insecure-parameters", OPT_FLAG, offsetof(decrypt_options, insecure),
     NULL, "accept a plan below 128 bits of security", 0, 0, false}};

static const opt_operand operands[] = {
    {"PLAN", offsetof(decrypt_options, plan), false, false},
    {"SCORES.CT", offsetof(decrypt_options, input), false, false}};

const app_command cmd_decrypt = {
    "decrypt",
    "decrypt the server's scores",
    "Measures the noise in what it decrypts and refuses when it is beyond the\n"
    "plan's prediction: wrong key, wrapped values, a faulty server.\n"
    "--json writes the scores as well.\n",
    {specs, sizeof specs / sizeof specs[0], operands, 2},
    sizeof(decrypt_options),
    run};
