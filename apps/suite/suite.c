/* SPDX-License-Identifier: MIT
 * One program for all stages; see suite.h.
 *
 *     client_key_generation SIZE        SIZE: 0 single, 1 small, 2 medium,
 *     server_preprocess_model                 3 large
 *     client_preprocess_input SIZE
 *     client_encode_encrypt_input SIZE
 *     server_encrypted_compute SIZE
 *     client_decrypt_decode SIZE
 *     client_postprocess SIZE
 */
#include "apps/suite/suite.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/sotto/scores.h"

/* ---- Paths --------------------------------------------------------------- */

/* Formats a path. error: SOTTO_ERR_PARAM when it is too long. */
static sotto_status make(char *path, sotto_error *err, const char *format, ...)
    SOTTO_PRINTF(3, 4);

static sotto_status make(char *path, sotto_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(path, SUITE_PATH_BYTES, format, args);
    va_end(args);
    if (length < 0 || length >= SUITE_PATH_BYTES) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "a path is longer than %d bytes",
                          SUITE_PATH_BYTES - 1);
    }
    return SOTTO_OK;
}

/* Where model and plans lie: beside the program itself, links resolved. */
static sotto_status find_home(char *home, sotto_error *err)
{
    const ssize_t n = readlink("/proc/self/exe", home, SUITE_PATH_BYTES - 1);
    if (n <= 0) {
        return sotto_fail(err, SOTTO_ERR_IO,
                          "the program cannot find itself, expected "
                          "/proc/self/exe");
    }
    home[n] = '\0';
    *strrchr(home, '/') = '\0';
    return SOTTO_OK;
}

static sotto_status fill_paths(suite_paths *p, const char *size,
                               sotto_error *err)
{
    char home[SUITE_PATH_BYTES];
    SOTTO_TRY(find_home(home, err));
    SOTTO_TRY(make(p->model, err, "%s/model.onnx", home));
    SOTTO_TRY(make(p->plan_made, err, "%s/%s.plan", home, size));
    SOTTO_TRY(make(p->io, err, "io/%s", size));
    SOTTO_TRY(
        make(p->pixels, err, "datasets/%s/intermediate/test_pixels.txt", size));
    SOTTO_TRY(make(p->middle, err, "%s/intermediate", p->io));
    SOTTO_TRY(make(p->images, err, "%s/images.idx", p->middle));
    SOTTO_TRY(make(p->scores, err, "%s/scores.csv", p->middle));
    SOTTO_TRY(make(p->secret_folder, err, "%s/secret_key", p->io));
    SOTTO_TRY(make(p->secret_key, err, "%s/secret.key", p->secret_folder));
    SOTTO_TRY(make(p->eval_made, err, "%s/eval.key", p->secret_folder));
    SOTTO_TRY(make(p->public_folder, err, "%s/public_keys", p->io));
    SOTTO_TRY(make(p->plan, err, "%s/plan", p->public_folder));
    SOTTO_TRY(make(p->eval_key, err, "%s/eval.key", p->public_folder));
    SOTTO_TRY(make(p->upload_folder, err, "%s/ciphertexts_upload", p->io));
    SOTTO_TRY(make(p->upload, err, "%s/images.ct", p->upload_folder));
    SOTTO_TRY(make(p->download_folder, err, "%s/ciphertexts_download", p->io));
    SOTTO_TRY(make(p->download, err, "%s/scores.ct", p->download_folder));
    SOTTO_TRY(
        make(p->labels, err, "%s/encrypted_model_predictions.txt", p->io));
    return make(p->report, err, "%s/server_reported_steps.json", p->io);
}

/* ---- Stages -------------------------------------------------------------- */

/* The plan was made with the program; the client hands it to the server. */
static sotto_status key_generation(app_state *app, const suite_paths *p,
                                   sotto_error *err)
{
    SOTTO_TRY(suite_folder("io", err));
    SOTTO_TRY(suite_folder(p->io, err));
    SOTTO_TRY(suite_folder(p->public_folder, err));
    SOTTO_TRY(suite_copy(p->plan, p->plan_made, err));
    /* The harness starts from an empty folder; so may a run by hand. */
    const keygen_options options = {
        .plan = p->plan, .out = p->secret_folder, .force = true};
    keygen_result result;
    SOTTO_TRY(keygen_run(app, &result, &options, err));
    if (result.eval_bytes > 0 && rename(p->eval_made, p->eval_key) != 0) {
        return sotto_fail(err, SOTTO_ERR_IO, "%s cannot be moved to %s",
                          p->eval_made, p->eval_key);
    }
    return SOTTO_OK;
}

/* Weights are rounded to integers when they are used: nothing to prepare. */
static sotto_status preprocess_model(app_state *app, const suite_paths *p,
                                     sotto_error *err)
{
    (void)app, (void)p, (void)err;
    return SOTTO_OK;
}

static sotto_status preprocess_input(app_state *app, const suite_paths *p,
                                     sotto_error *err)
{
    (void)app;
    SOTTO_TRY(suite_folder(p->middle, err));
    return suite_pixels(p->images, p->pixels, err);
}

static sotto_status encrypt_input(app_state *app, const suite_paths *p,
                                  sotto_error *err)
{
    const char *images = p->images;
    const encrypt_options options = {.plan = p->plan,
                                     .key = p->secret_key,
                                     .images = {1, &images},
                                     .out = p->upload};
    encrypt_result result;
    SOTTO_TRY(suite_folder(p->upload_folder, err));
    return encrypt_run(app, &result, &options, err);
}

/* The seconds of every step, for the harness. */
static sotto_status report(const nn_trace *trace, const char *path,
                           sotto_error *err)
{
    text_out out;
    SOTTO_TRY(text_open(&out, path, err));
    json_out j;
    json_init(&j, &out);
    json_object(&j, NULL);
    json_real(&j, "prepare", trace->seconds_prepare);
    json_real(&j, "read", trace->seconds_read);
    for (int i = 0; i < trace->n_steps; i++) {
        char name[NN_PLAN_NAME_BYTES + 32];
        (void)snprintf(name, sizeof name, "%s %s", trace->step[i].name,
                       trace->step[i].kind);
        json_real(&j, name, trace->step[i].seconds);
    }
    json_real(&j, "write", trace->seconds_write);
    json_real(&j, "total", trace->seconds_total);
    json_end(&j);
    return text_close(&out, err);
}

static sotto_status encrypted_compute(app_state *app, const suite_paths *p,
                                      sotto_error *err)
{
    struct stat there;
    static nn_trace trace;
    const bool has_keys = stat(p->eval_key, &there) == 0;
    const infer_options options = {.plan = p->plan,
                                   .model = p->model,
                                   .input = p->upload,
                                   .keys = has_keys ? p->eval_key : NULL,
                                   .out = p->download};
    SOTTO_TRY(suite_folder(p->download_folder, err));
    SOTTO_TRY(infer_run(app, &trace, &options, err));
    return report(&trace, p->report, err);
}

/* What write_scores writes to. */
typedef struct score_table {
    text_out out;
    bool started;
} score_table;

/* One batch of scores: a nn_score_sink; arg is the table. */
static sotto_status write_scores(void *arg, const nn_scores *scores,
                                 sotto_error *err)
{
    score_table *table = arg;
    if (!table->started) {
        scores_csv_head(&table->out, scores->n_outputs);
        table->started = true;
    }
    for (size_t i = 0; i < scores->n_images; i++) {
        scores_csv(&table->out, scores->first_image + i,
                   scores->score + i * scores->n_outputs, scores->n_outputs);
    }
    return text_check(&table->out, err);
}

static sotto_status decrypt_decode(app_state *app, const suite_paths *p,
                                   sotto_error *err)
{
    const decrypt_options options = {
        .plan = p->plan, .key = p->secret_key, .input = p->download};
    decrypt_result result;
    score_table table = {.started = false};
    SOTTO_TRY(text_open(&table.out, p->scores, err));
    const sotto_status status =
        decrypt_run(app, &result, &options, write_scores, &table, err);
    if (status != SOTTO_OK) {
        text_discard(&table.out);
        return status;
    }
    return text_close(&table.out, err);
}

static sotto_status postprocess(app_state *app, const suite_paths *p,
                                sotto_error *err)
{
    (void)app;
    return suite_labels(p->labels, p->scores, err);
}

/* ---- Choice of the stage ------------------------------------------------- */

typedef sotto_status (*stage_run)(app_state *app, const suite_paths *paths,
                                  sotto_error *err);

static const struct {
    const char *name;
    stage_run run;
} stages[] = {{"client_key_generation", key_generation},
              {"server_preprocess_model", preprocess_model},
              {"client_preprocess_input", preprocess_input},
              {"client_encode_encrypt_input", encrypt_input},
              {"server_encrypted_compute", encrypted_compute},
              {"client_decrypt_decode", decrypt_decode},
              {"client_postprocess", postprocess}};

#define N_STAGES (sizeof stages / sizeof stages[0])

/* The name of a size, or NULL. */
static const char *size_name(const char *digit)
{
    static const char *const names[] = {"single", "small", "medium", "large"};
    const bool known = digit[0] >= '0' && digit[0] <= '3' && digit[1] == '\0';
    return known ? names[digit[0] - '0'] : NULL;
}

static int run_stage(size_t stage, const char *size)
{
    sotto_error err = {{0}};
    suite_paths paths;
    /* Nobody stops a stage but by a signal, which ends it: outputs appear
     * complete or not at all. */
    static const atomic_bool never_cancelled = false;
    app_state app = {.command = stages[stage].name,
                     .quiet = true,
                     .cancel = &never_cancelled};
    sotto_status status = fill_paths(&paths, size, &err);
    if (status == SOTTO_OK) {
        app.pool = sotto_pool_new(0);
        status = app.pool == NULL ? sotto_fail(&err, SOTTO_ERR_MEMORY,
                                               "the threads cannot be started")
                                  : stages[stage].run(&app, &paths, &err);
    }
    sotto_pool_free(app.pool);
    if (status != SOTTO_OK) {
        (void)fprintf(stderr, "%s: %s\n", stages[stage].name, err.text);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = argc == 0 ? "" : slash != NULL ? slash + 1 : argv[0];
    size_t stage = 0;
    while (stage < N_STAGES && strcmp(stages[stage].name, name) != 0) {
        stage++;
    }
    /* The model's stage is started without a size. */
    const bool needs_size =
        stage < N_STAGES && stages[stage].run != preprocess_model;
    const char *size = argc == 2     ? size_name(argv[1])
                       : !needs_size ? "single"
                                     : NULL;
    if (stage == N_STAGES || size == NULL || argc > 2) {
        (void)fprintf(stderr,
                      "%s: wrong usage: expected a stage of the benchmark "
                      "(client_key_generation, …) and a size 0 … 3\n",
                      name);
        return 2;
    }
    return run_stage(stage, size);
}
