/* SPDX-License-Identifier: MIT
 * sotto infer: the server's step. It reads plan, model, public evaluation keys
 * and ciphertexts, and nothing that is secret.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "apps/sotto/commands.h"
#include "apps/sotto/load.h"
#include "apps/sotto/show.h"
#include "base/mem.h"
#include "rlwe/wire.h"

/* Everything that the server needs. */
typedef struct server {
    load_plan loaded;
    load_model model;
    rlwe_keyset *keys; /* NULL: the plan needs none */
} server;

/* Reads the switching keys that the plan lists; a file may hold more. */
static sotto_status read_keys(app_state *app, server *s,
                              const infer_options *options, sotto_error *err)
{
    const nn_plan *plan = s->loaded.plan;
    if (plan->n_keys == 0) {
        return SOTTO_OK;
    }
    if (options->keys == NULL) {
        return app_usage(app, err,
                         "the plan needs %d switching key%s, expected --keys "
                         "with the client's eval.key",
                         plan->n_keys, plan->n_keys == 1 ? "" : "s");
    }
    rlwe_key_target *wanted =
        sotto_calloc((size_t)plan->n_keys, sizeof *wanted);
    if (wanted == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    for (int k = 0; k < plan->n_keys; k++) {
        wanted[k] = plan->key[k].target;
    }
    const sotto_status status = rlwe_read_keyset(
        &s->keys, options->keys, s->loaded.context, wanted, plan->n_keys, err);
    sotto_free(wanted);
    return status;
}

/* Reads the model and checks that it is the plan's. */
static sotto_status read_model(server *s, const infer_options *options,
                               sotto_error *err)
{
    const nn_plan *plan = s->loaded.plan;
    SOTTO_TRY(load_model_file(
        &s->model, options->model,
        (load_normalise){plan->mean, plan->std, plan->n_mean}, true, err));
    if (memcmp(s->model.id, plan->model_id, sizeof s->model.id) != 0) {
        char had[17], wanted[17];
        sotto_hex(had, s->model.id, 8);
        sotto_hex(wanted, plan->model_id, 8);
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "%s has the identity %s..., expected %s..., the "
                          "model that %s was made for; give that model or plan "
                          "anew",
                          options->model, had, wanted, options->plan);
    }
    return nn_plan_verify(plan, s->model.network, err);
}

static sotto_status write_trace(const nn_trace *trace, const char *path,
                                sotto_error *err);

/* What comes from standard input can be read once only. */
static sotto_status warn_of_seed(app_state *app, const char *path,
                                 sotto_error *err)
{
    if (strcmp(path, "-") == 0) {
        return SOTTO_OK;
    }
    rlwe_file_header header;
    SOTTO_TRY(rlwe_file_peek(&header, path, err));
    if (header.from_seed) {
        app_warn(app, "%s was made with --seed: it is not secret", path);
    }
    return SOTTO_OK;
}

/* Runs the network from file to file. */
static sotto_status evaluate(app_state *app, nn_trace *trace, const server *s,
                             const infer_options *options, sotto_error *err)
{
    SOTTO_TRY(warn_of_seed(app, options->input, err));
    const bool all = options->part.second == 0;
    sotto_output *out = NULL;
    SOTTO_TRY(
        sotto_output_open(&out, options->out, SOTTO_OUTPUT_PUBLIC, false, err));
    nn_run_options run = app_run_options(app, NULL);
    run.memory_bytes = (size_t)options->memory;
    sotto_status status = nn_run_infer(
        s->loaded.plan, s->model.network, s->loaded.context, s->keys, out,
        options->input, all ? 0 : options->part.first - 1,
        all ? 1 : options->part.second, trace, &run, err);
    app_progress_end(app);
    if (status == SOTTO_OK && options->trace != NULL) {
        status = write_trace(trace, options->trace, err);
    }
    if (status != SOTTO_OK) {
        sotto_output_discard(out);
        return status;
    }
    return sotto_output_commit(out, err);
}

sotto_status infer_run(app_state *app, nn_trace *trace,
                       const infer_options *options, sotto_error *err)
{
    memset(trace, 0, sizeof *trace);
    server s;
    memset(&s, 0, sizeof s);
    sotto_status status =
        load_plan_file(app, &s.loaded, options->plan, options->insecure, err);
    if (status == SOTTO_OK) {
        status = read_model(&s, options, err);
    }
    if (status == SOTTO_OK) {
        status = read_keys(app, &s, options, err);
    }
    if (status == SOTTO_OK) {
        status = evaluate(app, trace, &s, options, err);
    }
    rlwe_keyset_free(s.keys);
    load_model_clear(&s.model);
    load_plan_clear(&s.loaded);
    return status;
}

/* ---- What is shown ------------------------------------------------------- */

/* The public trace: nothing in it depends on what is encrypted. */
static void trace_json(json_out *j, const nn_trace *trace)
{
    json_string(j, "packing", show_packing(trace->packing));
    json_count(j, "batches", trace->batches);
    json_count(j, "bytes_in", trace->bytes_in);
    json_count(j, "bytes_out", trace->bytes_out);
    json_real(j, "seconds", trace->seconds_total);
    json_real(j, "seconds_prepare", trace->seconds_prepare);
    json_real(j, "seconds_read", trace->seconds_read);
    json_real(j, "seconds_write", trace->seconds_write);
    json_real(j, "batch_seconds_min", trace->batch_min);
    json_real(j, "batch_seconds_median", trace->batch_median);
    json_count(j, "memory_bytes", trace->memory_bytes);
    json_real(j, "predicted_seconds", trace->predicted_total);
    json_real(j, "predicted_seconds_read", trace->predicted_read);
    json_array(j, "steps");
    for (int k = 0; k < trace->n_steps; k++) {
        const nn_trace_step *s = &trace->step[k];
        json_object(j, NULL);
        json_string(j, "name", s->name);
        json_string(j, "kind", s->kind);
        json_int(j, "step", s->step);
        json_int(j, "level", s->level);
        json_int(j, "components", s->n_components);
        json_real(j, "log2_scale", log2(s->scale));
        json_count(j, "ciphertexts", s->n_ciphertexts);
        json_real(j, "he_error", s->he_error);
        json_real(j, "seconds", s->seconds);
        json_real(j, "predicted_seconds", s->predicted);
        json_end(j);
    }
    json_end(j);
}

static sotto_status write_trace(const nn_trace *trace, const char *path,
                                sotto_error *err)
{
    app_json file;
    SOTTO_TRY(app_json_open(&file, path, err));
    trace_json(&file.j, trace);
    return app_json_close(&file, err);
}

static void say_time(text_out *out, const char *name, double predicted,
                     double measured)
{
    text_printf(out, "  %-18.18s  predicted %-9s  took %s\n", name,
                text_of_seconds(predicted).text,
                text_of_seconds(measured).text);
}

/* Predicted times are those of one core: shared among threads they are what a
 * perfect division would take. All are of one batch. */
static void say_times(app_state *app, const nn_trace *trace)
{
    const double batches = trace->batches > 0 ? (double)trace->batches : 1;
    const double share = batches * sotto_pool_threads(app->pool);
    text_out out;
    text_init(&out);
    say_time(&out, "read", trace->predicted_read / share,
             trace->seconds_read / batches);
    double seconds = 0;
    for (int i = 0; i < trace->n_steps; i++) {
        const nn_trace_step *s = &trace->step[i];
        seconds += s->seconds / batches;
        if (i + 1 == trace->n_steps || trace->step[i + 1].step != s->step) {
            say_time(&out, s->name, s->predicted / share, seconds);
            seconds = 0;
        }
    }
    say_time(&out, "all", trace->predicted_total / share,
             (trace->seconds_total - trace->seconds_prepare) / batches);
    app_say_text(app, &out);
}

/* What was done, and how long one batch, or image, took. */
static void say_run(app_state *app, const nn_trace *trace, const char *out)
{
    const bool single = trace->packing == NN_PACKING_SINGLE;
    const char *many = single ? "s" : "es";
    const char *one = single ? "image" : "batch";
    app_say(app, "%s: %" PRIu64 " %s%s in %s, %s in, %s out", out,
            trace->batches, one, trace->batches == 1 ? "" : many,
            text_of_seconds(trace->seconds_total).text,
            text_of_bytes(trace->bytes_in).text,
            text_of_bytes(trace->bytes_out).text);
    app_say(app, "prepared in %s; each %s %s (median, fastest %s), of which:",
            text_of_seconds(trace->seconds_prepare).text, one,
            text_of_seconds(trace->batch_median).text,
            text_of_seconds(trace->batch_min).text);
    say_times(app, trace);
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const infer_options *options = values;
    SOTTO_TRY(app_claim_output(app, options->out, err));
    SOTTO_TRY(app_claim_output(app, options->trace, err));
    nn_trace *trace = sotto_calloc(1, sizeof *trace);
    if (trace == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    sotto_status status = infer_run(app, trace, options, err);
    if (status == SOTTO_OK) {
        say_run(app, trace, options->out);
    }
    if (status == SOTTO_OK && options->common.json != NULL) {
        status = write_trace(trace, options->common.json, err);
    }
    sotto_free(trace);
    return status;
}

static const opt_spec specs[] = {
    {"-o", OPT_TEXT, offsetof(infer_options, out), "FILE",
     "write the encrypted scores to FILE", 0, 0, true},
    {"--keys", OPT_TEXT, offsetof(infer_options, keys), "FILE",
     "the client's eval.key, where the plan needs one", 0, 0, false},
    {"--part", OPT_PART, offsetof(infer_options, part), "I/N",
     "work on the I-th of N parts of the batches (I from 1), in\n"
     "single packing of the images; the outputs of all parts\n"
     "concatenate to the whole",
     0, 0, false},
    {"--memory", OPT_BYTES, offsetof(infer_options, memory), "BYTES",
     "room for encoded weights in single packing (default: no\n"
     "limit); what does not fit is encoded at each use. 64M, 2G, …",
     1, 0x1p50, false},
    {"--trace", OPT_TEXT, offsetof(infer_options, trace), "FILE",
     "write time, level and scale of each step as JSON", 0, 0, false},
    {"--insecure-parameters", OPT_FLAG, offsetof(infer_options, insecure), NULL,
     "accept a plan below 128 bits of security", 0, 0, false}};

static const opt_operand operands[] = {
    {"PLAN", offsetof(infer_options, plan), false, false},
    {"MODEL", offsetof(infer_options, model), false, false},
    {"IMAGES.CT", offsetof(infer_options, input), false, false}};

const app_command cmd_infer = {
    "infer",
    "run a model on encrypted images (the server's step)",
    "Needs plan, model, the client's public evaluation keys and ciphertexts;\n"
    "no secret key.\n",
    {specs, sizeof specs / sizeof specs[0], operands, 3},
    sizeof(infer_options),
    run};
