/* SPDX-License-Identifier: MIT
 * The demo's steps: the same functions as the commands, from file to file.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "apps/sotto/demo.h"
#include "base/mem.h"

/* What a step took, in one line. */
static void say_step(demo *d, const char *who, const char *what, double seconds,
                     const char *format, ...) SOTTO_PRINTF(5, 6);

static void say_step(demo *d, const char *who, const char *what, double seconds,
                     const char *format, ...)
{
    char detail[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    app_say(d->app, "  %-7s %-8s %9s   %s", who, what,
            text_of_seconds(seconds).text, detail);
}

/* The owner: plans for the images at hand and shows the plan. */
static sotto_status step_plan(demo *d, sotto_error *err)
{
    const plan_options options = {
        .model = d->model_path, .out = d->paths.plan, .images = d->n};
    const double start = app_seconds();
    SOTTO_TRY(plan_run(d->app, &d->plan, &options, err));
    d->plan_seconds = app_seconds() - start;
    SOTTO_TRY(nn_plan_sizes(&d->bytes, d->plan, err));
    SOTTO_TRY(rlwe_context_new(&d->context, &d->plan->params, err));
    d->n_outputs = d->plan->n_outputs;

    text_out out;
    text_init(&out);
    text_put(&out, "\n");
    show_plan(&out, d->plan, d->context, &d->bytes);
    text_put(&out, "\n");
    show_steps(&out, d->plan);
    text_put(&out, "\n");
    app_say_text(d->app, &out);
    say_step(d, "owner", "plan", d->plan_seconds, "the model stays here");
    return SOTTO_OK;
}

/* The client: makes keys and sends the public ones to the server. */
static sotto_status step_keygen(demo *d, sotto_error *err)
{
    const keygen_options options = {.plan = d->paths.plan,
                                    .out = d->paths.client};
    SOTTO_TRY(keygen_run(d->app, &d->keygen, &options, err));
    if (d->keygen.eval_bytes > 0 &&
        rename(d->paths.eval_key_made, d->paths.eval_key) != 0) {
        return sotto_fail(err, SOTTO_ERR_IO, "%s cannot be moved to the server",
                          d->paths.eval_key_made);
    }
    say_step(d, "client", "keygen", d->keygen.seconds,
             "secret key %s (stays here), the server gets %s",
             text_of_bytes(d->keygen.secret_bytes).text,
             d->keygen.eval_bytes > 0 ? text_of_bytes(d->keygen.eval_bytes).text
                                      : "no key");
    return SOTTO_OK;
}

/* The client: encrypts the images into the server's folder. */
static sotto_status step_encrypt(demo *d, sotto_error *err)
{
    const char *images = d->paths.image_file;
    const encrypt_options options = {.plan = d->paths.plan,
                                     .key = d->paths.secret_key,
                                     .images = {1, &images},
                                     .range = {0, d->n},
                                     .out = d->paths.input};
    SOTTO_TRY(encrypt_run(d->app, &d->encrypt, &options, err));
    say_step(d, "client", "encrypt", d->encrypt.seconds,
             "%" PRIu64 " image%s -> %s", d->n, d->n == 1 ? "" : "s",
             text_of_bytes(d->encrypt.bytes).text);
    return SOTTO_OK;
}

double demo_image_seconds(const demo *d)
{
    return d->plan->packing == NN_PACKING_SINGLE
               ? d->trace->batch_median
               : d->infer_seconds / (double)d->n;
}

double demo_setup_seconds(const demo *d)
{
    return d->infer_seconds -
           (d->trace->seconds_total - d->trace->seconds_prepare);
}

/* The server is given paths in its own folder, the plan and the model. */
static sotto_status step_infer(demo *d, sotto_error *err)
{
    const infer_options options = {
        .plan = d->paths.plan,
        .model = d->model_path,
        .input = d->paths.input,
        .keys = d->keygen.eval_bytes > 0 ? d->paths.eval_key : NULL,
        .out = d->paths.output};
    d->trace = sotto_calloc(1, sizeof *d->trace);
    if (d->trace == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    const double start = app_seconds();
    SOTTO_TRY(infer_run(d->app, d->trace, &options, err));
    d->infer_seconds = app_seconds() - start;
    d->output_bytes = d->trace->bytes_out;
    const bool single = d->plan->packing == NN_PACKING_SINGLE;
    say_step(d, "server", "infer", d->infer_seconds,
             "%s -> %s, no secret key, %s per image (predicted %s%s)",
             text_of_bytes(d->trace->bytes_in).text,
             text_of_bytes(d->output_bytes).text,
             text_of_seconds(demo_image_seconds(d)).text,
             text_of_seconds(d->trace->predicted_total /
                             (single ? (double)d->n : 1) /
                             sotto_pool_threads(d->app->pool))
                 .text,
             single ? "" : " in all");
    if (single) {
        app_say(d->app,
                "  %-7s %-8s %9s   keys and weights are read once, before the "
                "first image",
                "", "of it", text_of_seconds(demo_setup_seconds(d)).text);
    }
    return SOTTO_OK;
}

/* Keeps one batch of scores: a nn_score_sink; arg is the demo. */
static sotto_status keep_scores(void *arg, const nn_scores *scores,
                                sotto_error *err)
{
    demo *d = arg;
    if (scores->n_outputs != d->n_outputs || scores->first_image > d->n ||
        scores->n_images > d->n - scores->first_image) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "there are more scores than images");
    }
    memcpy(d->encrypted + scores->first_image * d->n_outputs, scores->score,
           scores->n_images * d->n_outputs * sizeof *scores->score);
    return SOTTO_OK;
}

/* The client: decrypts what the server has left in its folder. */
static sotto_status step_decrypt(demo *d, sotto_error *err)
{
    const decrypt_options options = {.plan = d->paths.plan,
                                     .key = d->paths.secret_key,
                                     .input = d->paths.output};
    d->encrypted = sotto_calloc(d->n * d->n_outputs, sizeof *d->encrypted);
    if (d->encrypted == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    SOTTO_TRY(decrypt_run(d->app, &d->decrypt, &options, keep_scores, d, err));
    if (d->decrypt.images != d->n) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "%" PRIu64
                          " images were decrypted, expected %" PRIu64,
                          d->decrypt.images, d->n);
    }
    say_step(d, "client", "decrypt", d->decrypt.seconds,
             "noise %s, predicted at most %s (standard deviation)",
             show_log2(d->decrypt.noise_std).text,
             show_log2(d->decrypt.predicted_noise_std).text);
    return SOTTO_OK;
}

sotto_status demo_steps(demo *d, sotto_error *err)
{
    SOTTO_TRY(step_plan(d, err));
    SOTTO_TRY(step_keygen(d, err));
    SOTTO_TRY(step_encrypt(d, err));
    SOTTO_TRY(step_infer(d, err));
    return step_decrypt(d, err);
}
