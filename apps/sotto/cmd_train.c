/* SPDX-License-Identifier: MIT
 * sotto train: a model from a training configuration.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "apps/sotto/commands.h"
#include "base/mem.h"
#include "nn/train/trainer.h"

typedef struct train_options {
    app_common common;
    const char *config;
    const char *out;
    bool resume;
    bool restart;
} train_options;

/* One line for each epoch, and the bar in between. */
static void show_progress(void *arg, const nn_train_progress *progress)
{
    app_state *app = arg;
    if (progress->epoch_end) {
        app_say(app,
                "epoch %3zu/%zu  loss %.4f  accuracy %.2f %%  validation "
                "%.2f %%  rate %.2g  %.0f images/s, %.0f %% of peak  %s left",
                progress->epoch, progress->epochs, progress->loss,
                100 * progress->accuracy, 100 * progress->validation_accuracy,
                progress->learning_rate, progress->images_per_second,
                100 * progress->peak_share,
                text_of_seconds(progress->seconds_left).text);
        return;
    }
    /* The bar covers the whole run: its own clock would forget a resumed
     * part, so that the trainer's estimate is turned around. */
    const double total = (double)progress->epochs * (double)progress->images;
    const double done =
        ((double)progress->epoch - 1) * (double)progress->images +
        (double)progress->images_done;
    const double share = total > 0 ? done / total : 0;
    const nn_progress bar = {
        "train", (uint64_t)done, (uint64_t)total,
        share < 1 ? progress->seconds_left * share / (1 - share) : 0};
    app_progress(app, &bar);
}

/* Says and writes what came out. */
static sotto_status report(app_state *app, const nn_train_summary *summary,
                           const train_options *options, sotto_error *err)
{
    app_say(app,
            "%s: %zu weights, epoch %zu of %zu, validation %.2f %% of %zu "
            "images, %s",
            options->out, summary->n_params, summary->chosen_epoch,
            summary->epochs_done, 100 * summary->validation_accuracy,
            summary->n_validation, text_of_seconds(summary->seconds).text);
    app_json file;
    SOTTO_TRY(app_json_open(&file, options->common.json, err));
    if (file.open) {
        json_string(&file.j, "config", options->config);
        json_string(&file.j, "model", options->out);
        json_count(&file.j, "weights", summary->n_params);
        json_count(&file.j, "images", summary->n_train);
        json_count(&file.j, "validation_images", summary->n_validation);
        json_count(&file.j, "epochs", summary->epochs_done);
        json_count(&file.j, "chosen_epoch", summary->chosen_epoch);
        json_real(&file.j, "validation_loss", summary->validation_loss);
        json_real(&file.j, "validation_accuracy", summary->validation_accuracy);
        json_real(&file.j, "seconds", summary->seconds);
        json_real(&file.j, "images_per_second", summary->images_per_second);
        json_real(&file.j, "peak_share", summary->peak_share);
        json_string(&file.j, "backend", summary->backend);
        json_count(&file.j, "threads", (uint64_t)sotto_pool_threads(app->pool));
    }
    return app_json_close(&file, err);
}

/* --resume insists on the checkpoint that is otherwise used if it is there. */
static sotto_status need_checkpoint(const char *config_path, sotto_error *err)
{
    nn_train_config *config = sotto_calloc(1, sizeof *config);
    if (config == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    sotto_status status = nn_train_config_load(config, config_path, err);
    if (status == SOTTO_OK && access(config->checkpoint, F_OK) != 0) {
        status = sotto_fail(err, SOTTO_ERR_IO,
                            "there is no checkpoint '%s' to resume from, "
                            "expected one that a stopped run has left; train "
                            "without --resume",
                            config->checkpoint);
    }
    sotto_free(config);
    return status;
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const train_options *options = values;
    if (options->resume && options->restart) {
        return app_usage(app, err,
                         "--resume and --restart are given, expected one");
    }
    SOTTO_TRY(app_claim_output(app, options->out, err));
    if (options->resume) {
        SOTTO_TRY(need_checkpoint(options->config, err));
    }
    const nn_train_options wanted = {.progress = show_progress,
                                     .arg = app,
                                     .cancel = app->cancel_signal,
                                     .restart = options->restart};
    nn_train_summary summary;
    const sotto_status status = nn_train_file(
        &summary, options->config, options->out, app->pool, &wanted, err);
    app_progress_end(app);
    SOTTO_TRY(status);
    return report(app, &summary, options, err);
}

static const opt_spec specs[] = {
    {"-o", OPT_TEXT, offsetof(train_options, out), "FILE",
     "write the model to FILE (ONNX)", 0, 0, true},
    {"--resume", OPT_FLAG, offsetof(train_options, resume), NULL,
     "insist on going on from a checkpoint", 0, 0, false},
    {"--restart", OPT_FLAG, offsetof(train_options, restart), NULL,
     "begin anew even if there is a checkpoint", 0, 0, false}};

static const opt_operand operands[] = {
    {"CONFIG", offsetof(train_options, config), false, false}};

const app_command cmd_train = {
    "train",
    "train a model from a configuration",
    "Stopped by a signal, it leaves a checkpoint, where the configuration\n"
    "names one; the same command again goes on from there and ends with the\n"
    "weights of a run that was never stopped.\n",
    {specs, sizeof specs / sizeof specs[0], operands, 1},
    sizeof(train_options),
    run};
