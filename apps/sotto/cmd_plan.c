/* SPDX-License-Identifier: MIT
 * sotto plan: what is fixed before any key exists.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "apps/sotto/commands.h"
#include "apps/sotto/load.h"
#include "apps/sotto/show.h"
#include "base/mem.h"
#include "nn/graph/statistics.h"

/* Images that calibration holds at a time. */
#define CALIBRATE_BLOCK 256

/* The normalisation of a command line in floats. */
typedef struct norm {
    float mean[NN_PLAN_MAX_MEAN];
    float std[NN_PLAN_MAX_MEAN];
    int n;
} norm;

/* Checks --mean and --std against each other. */
static sotto_status norm_of(app_state *app, norm *out,
                            const plan_options *options, sotto_error *err)
{
    if (options->mean.n != options->std.n ||
        options->mean.n > NN_PLAN_MAX_MEAN) {
        return app_usage(app, err,
                         "--mean has %zu and --std %zu numbers, expected one "
                         "or one for each channel (at most %d) in both",
                         options->mean.n, options->std.n, NN_PLAN_MAX_MEAN);
    }
    out->n = (int)options->mean.n;
    for (int i = 0; i < out->n; i++) {
        out->mean[i] = (float)options->mean.value[i];
        out->std[i] = (float)options->std.value[i];
    }
    return SOTTO_OK;
}

/* Adds all images of an open sequence to the statistics. */
static sotto_status add_images(app_state *app, nn_statistics *statistics,
                               const nn_network *network, load_images *images,
                               sotto_error *err)
{
    float *block =
        sotto_calloc(CALIBRATE_BLOCK, images->pixels * sizeof(float));
    if (block == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory calibrating");
    }
    sotto_status status = SOTTO_OK;
    const double start = app_seconds();
    for (uint64_t at = 0; at < images->count && status == SOTTO_OK;
         at += CALIBRATE_BLOCK) {
        const uint64_t left = images->count - at;
        const size_t n =
            left < CALIBRATE_BLOCK ? (size_t)left : CALIBRATE_BLOCK;
        status = load_images_read(images, block, at, n, err);
        if (status == SOTTO_OK) {
            status = nn_statistics_add(statistics, network, app->pool, block, n,
                                       err);
        }
        if (status == SOTTO_OK) {
            status = app_check_cancel(app, err);
        }
        const nn_progress progress = {"calibrate", at + n, images->count,
                                      app_seconds() - start};
        app_progress(app, &progress);
    }
    sotto_free(block);
    return status;
}

/* Statistics of the images at path. owner: nn_statistics_clear, also on error.
 */
static sotto_status calibrate(app_state *app, nn_statistics *statistics,
                              const nn_network *network, const char *path,
                              sotto_error *err)
{
    SOTTO_TRY(nn_statistics_init(statistics, network, err));
    const opt_list paths = {1, &path};
    load_images images;
    SOTTO_TRY(load_images_files(&images, &paths, (opt_pair){0, 0},
                                &network->input_shape, err));
    const sotto_status status =
        add_images(app, statistics, network, &images, err);
    load_images_clear(&images);
    return status;
}

/* The packing of a word of --packing. */
static nn_packing packing_of(const char *word)
{
    if (word == NULL || strcmp(word, "auto") == 0) {
        return NN_PACKING_AUTO;
    }
    return strcmp(word, "single") == 0 ? NN_PACKING_SINGLE : NN_PACKING_BATCH;
}

/* Plans a loaded model with the statistics that were asked for. */
static sotto_status make_plan(app_state *app, nn_plan **plan,
                              const load_model *model, const norm *normalise,
                              const plan_options *options, sotto_error *err)
{
    nn_statistics statistics = {0, NULL};
    nn_cost_table costs;
    sotto_status status =
        options->measure ? nn_cost_measure(&costs, err) : SOTTO_OK;
    if (status == SOTTO_OK && options->calibrate != NULL) {
        status = calibrate(app, &statistics, model->network, options->calibrate,
                           err);
        app_progress_end(app);
    }
    if (status == SOTTO_OK) {
        const nn_plan_options wanted = {
            .images = options->images,
            .range_margin = options->margin,
            .he_target = options->he_error,
            .rounding_target = options->rounding_error,
            .confidence = options->confidence,
            .log2_n = (int)options->log2_n,
            .security = options->security != NULL ? atoi(options->security) : 0,
            .allow_insecure = options->insecure,
            .public_key = options->public_key,
            .plain_chain = options->plain_chain,
            .packing = packing_of(options->packing),
            .key_memory_bytes = options->key_memory,
            .memory_bytes = options->memory,
            .costs = options->measure ? &costs : NULL,
            .statistics = options->calibrate != NULL ? &statistics : NULL,
            .mean = normalise->mean,
            .std = normalise->std,
            .n_mean = normalise->n,
        };
        status = nn_plan_make(plan, model->network, &wanted, err);
    }
    nn_statistics_clear(&statistics);
    return status;
}

/* Writes the text of a plan, which sets its identity. */
static sotto_status write_plan(nn_plan *plan, const char *path,
                               sotto_error *err)
{
    char *words = NULL;
    size_t len_bytes = 0;
    SOTTO_TRY(nn_plan_write(&words, &len_bytes, plan, err));
    const sotto_status status = sotto_file_write(path, words, len_bytes, err);
    sotto_free(words);
    return status;
}

/* Makes and writes the plan of a loaded model. */
static sotto_status plan_model(app_state *app, nn_plan **plan,
                               const load_model *model, const norm *normalise,
                               const plan_options *options, sotto_error *err)
{
    const sotto_status status =
        make_plan(app, plan, model, normalise, options, err);
    if (status != SOTTO_OK) {
        return sotto_fail_prefix(err, status, "%s", options->model);
    }
    memcpy((*plan)->model_id, model->id, sizeof model->id);
    return write_plan(*plan, options->out, err);
}

sotto_status plan_run(app_state *app, nn_plan **plan,
                      const plan_options *options, sotto_error *err)
{
    *plan = NULL;
    norm normalise;
    load_model model;
    SOTTO_TRY(norm_of(app, &normalise, options, err));
    SOTTO_TRY(load_model_file(
        &model, options->model,
        (load_normalise){normalise.mean, normalise.std, normalise.n}, true,
        err));
    const sotto_status status =
        plan_model(app, plan, &model, &normalise, options, err);
    load_model_clear(&model);
    if (status != SOTTO_OK) {
        sotto_free(*plan);
        *plan = NULL;
    }
    return status;
}

/* ---- What is shown ------------------------------------------------------- */

/* Figures of the weights of one affine step. */
typedef struct weight_facts {
    uint64_t terms; /* multiplications for one image */
    double row_sum; /* largest sum of absolute weights of a row */
    double largest; /* largest integer weight */
} weight_facts;

/* Adds the weights of one group of rows. */
static void add_group(weight_facts *facts, const nn_plan *plan,
                      const nn_network *network, size_t step,
                      const nn_group *group)
{
    for (size_t r = 0; r < group->n_rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < group->n_inputs; i++) {
            const double weight = fabs(group->weights[r * group->n_inputs + i]);
            const double factor = nn_plan_weight_scale(plan, network, step,
                                                       group->inputs[i].source);
            sum += weight;
            facts->largest = fmax(facts->largest, round(weight * factor));
        }
        facts->row_sum = fmax(facts->row_sum, sum);
    }
}

/* Reads all weights of step `step` once. */
static sotto_status weigh(weight_facts *facts, const nn_plan *plan,
                          const nn_network *network, size_t step,
                          sotto_error *err)
{
    const nn_affine *affine = network->steps[step].affine;
    nn_groups *groups = NULL;
    nn_cursor *cursor = NULL;
    *facts = (weight_facts){0};
    SOTTO_TRY(nn_groups_new(&groups, affine, NULL, err));
    const sotto_status status = nn_cursor_new(&cursor, affine, groups, err);
    for (size_t g = 0; status == SOTTO_OK && g < groups->n_groups; g++) {
        const nn_group group = nn_cursor_group(cursor, g);
        add_group(facts, plan, network, step, &group);
    }
    facts->terms = groups->terms;
    nn_cursor_free(cursor);
    nn_groups_free(groups);
    return status;
}

/* One line for each affine step. */
static sotto_status explain_steps(text_out *out, const nn_plan *plan,
                                  const nn_network *network, sotto_error *err)
{
    text_printf(out,
                "\nfrom the weights, for the model's owner only:\n"
                "%4s  %-18s %11s %9s %11s %9s %9s\n",
                "step", "name", "weight bits", "largest", "products", "sum |w|",
                "range");
    for (int k = 0; k < plan->n_steps; k++) {
        const nn_plan_step *s = &plan->step[k];
        weight_facts facts;
        if (s->kind != NN_STEP_AFFINE) {
            continue;
        }
        SOTTO_TRY(weigh(&facts, plan, network, (size_t)k, err));
        text_printf(out, "%4d  %-18.18s %11d %9.0f %11" PRIu64 " %9.4g %9.4g\n",
                    k + 1, s->name, s->weight_bits, facts.largest, facts.terms,
                    facts.row_sum, s->range);
    }
    return SOTTO_OK;
}

/* What follows from the weights, which the plan does not hold. */
static sotto_status explain(text_out *out, const nn_plan *plan,
                            const plan_options *options, sotto_error *err)
{
    load_model model;
    SOTTO_TRY(load_model_file(
        &model, options->model,
        (load_normalise){plan->mean, plan->std, plan->n_mean}, true, err));
    const sotto_status status = explain_steps(out, plan, model.network, err);
    load_model_clear(&model);
    return status;
}

static void show_choice(text_out *out, const char *which,
                        const nn_plan_choice *c)
{
    text_printf(out,
                "  %-8s %-9s  %-6s N = %-6d %2d limbs, QP %3.0f bits, %s  %s\n",
                which, text_of_seconds(c->seconds).text,
                show_packing(c->packing), 1 << c->log2_n, c->limbs, c->log2_qp,
                c->keys ? "keys   " : "no keys", c->what);
}

/* What was chosen, what else came near, and what the habit would take. */
static void show_choices(text_out *out, const nn_plan *plan)
{
    text_printf(
        out, "\nchoices (predicted server time on one core, by the %s)\n",
        plan->measured ? "costs measured here" : "committed cost table");
    for (int i = 0; i < plan->n_choices; i++) {
        show_choice(out, i == 0 ? "chosen" : "", &plan->choice[i]);
    }
    if (plan->plain.limbs > 0) {
        show_choice(out, "habit", &plan->plain);
    } else if (plan->packing == NN_PACKING_BATCH) {
        text_put(out, "  habit    a rescale behind every operation does not "
                      "fit\n");
    }
}

/* Nanoseconds of the units that the times are made of. */
static void explain_costs(text_out *out, const nn_plan *plan)
{
    text_printf(out, "\n%s costs, nanoseconds:\n",
                plan->measured ? "measured" : "committed");
    for (int i = 0; i < NN_COST_UNITS; i++) {
        text_printf(out, "  %-12s %8.4f%s", nn_cost_unit_name((nn_cost_unit)i),
                    plan->costs.ns[i],
                    i % 3 == 2 || i + 1 == NN_COST_UNITS ? "\n" : "");
    }
}

static void choice_json(json_out *j, const char *name, const nn_plan_choice *c)
{
    json_object(j, name);
    json_string(j, "what", c->what);
    json_string(j, "packing", show_packing(c->packing));
    json_int(j, "log2_n", c->log2_n);
    json_int(j, "limbs", c->limbs);
    json_real(j, "log2_qp", c->log2_qp);
    json_bool(j, "keys", c->keys);
    json_real(j, "predicted_seconds", c->seconds);
    json_end(j);
}

/* The choices, the habit, and the table that they were costed with. */
static void choices_json(json_out *j, const nn_plan *plan)
{
    json_array(j, "choices");
    for (int i = 0; i < plan->n_choices; i++) {
        choice_json(j, NULL, &plan->choice[i]);
    }
    json_end(j);
    if (plan->plain.limbs > 0) {
        choice_json(j, "plain_chain", &plan->plain);
    }
    json_bool(j, "costs_measured", plan->measured);
    json_object(j, "costs");
    for (int i = 0; i < NN_COST_UNITS; i++) {
        json_real(j, nn_cost_unit_name((nn_cost_unit)i), plan->costs.ns[i]);
    }
    json_end(j);
}

static sotto_status write_json(const nn_plan *plan, const rlwe_context *context,
                               const nn_plan_bytes *bytes,
                               const plan_options *options, sotto_error *err)
{
    app_json file;
    SOTTO_TRY(app_json_open(&file, options->common.json, err));
    if (file.open) {
        json_string(&file.j, "model", options->model);
        show_plan_json(&file.j, plan, context, bytes);
        choices_json(&file.j, plan);
    }
    return app_json_close(&file, err);
}

/* Shows the plan and writes its JSON. */
static sotto_status show(app_state *app, const nn_plan *plan,
                         const rlwe_context *context,
                         const plan_options *options, sotto_error *err)
{
    nn_plan_bytes bytes;
    SOTTO_TRY(nn_plan_sizes(&bytes, plan, err));
    text_out out;
    text_init(&out);
    show_plan(&out, plan, context, &bytes);
    text_put(&out, "\n");
    show_steps(&out, plan);
    show_choices(&out, plan);
    if (options->explain) {
        explain_costs(&out, plan);
        SOTTO_TRY(explain(&out, plan, options, err));
    }
    app_say_text(app, &out);
    return write_json(plan, context, &bytes, options, err);
}

static sotto_status report(app_state *app, const nn_plan *plan,
                           const plan_options *options, sotto_error *err)
{
    rlwe_context *context = NULL;
    SOTTO_TRY(rlwe_context_new(&context, &plan->params, err));
    load_warn_insecure(app, context, options->out);
    const sotto_status status = show(app, plan, context, options, err);
    rlwe_context_free(context);
    return status;
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const plan_options *options = values;
    SOTTO_TRY(app_claim_output(app, options->out, err));
    nn_plan *plan = NULL;
    SOTTO_TRY(plan_run(app, &plan, options, err));
    const sotto_status status = report(app, plan, options, err);
    sotto_free(plan);
    return status;
}

static const opt_spec specs[] = {
    {"-o", OPT_TEXT, offsetof(plan_options, out), "FILE",
     "write the plan to FILE", 0, 0, true},
    {"--images", OPT_COUNT, offsetof(plan_options, images), "N",
     "plan for N images (default 1)", 1, 1099511627776.0, false},
    {"--packing", OPT_CHOICE, offsetof(plan_options, packing),
     "auto|batch|single",
     "one image per slot, or one image over the slots\n"
     "(default: what takes less time for so many images)",
     0, 0, false},
    {"--key-memory", OPT_BYTES, offsetof(plan_options, key_memory), "BYTES",
     "single packing: most bytes of keys in the server's\n"
     "memory (default: no limit)",
     1, 1099511627776.0, false},
    {"--memory", OPT_BYTES, offsetof(plan_options, memory), "BYTES",
     "single packing: what infer will hold of encoded weights\n"
     "(default: all)",
     1, 1099511627776.0, false},
    {"--explain", OPT_FLAG, offsetof(plan_options, explain), NULL,
     "also show what follows from the weights", 0, 0, false},
    {"--calibrate", OPT_TEXT, offsetof(plan_options, calibrate), "IMAGES",
     "take value ranges from these training images\n"
     "(default: from the model's metadata)",
     0, 0, false},
    {"--margin", OPT_REAL, offsetof(plan_options, margin), "X",
     "widen all ranges by this factor (default 1.3)", 1, 1000, false},
    {"--mean", OPT_REALS, offsetof(plan_options, mean), "M[,M...]",
     "subtract this from pixels in [0,1], per channel", -1000, 1000, false},
    {"--std", OPT_REALS, offsetof(plan_options, std), "S[,S...]",
     "then divide by this", 1e-6, 1e6, false},
    {"--he-error", OPT_REAL, offsetof(plan_options, he_error), "E",
     "largest HE error of a score (default 2^-9 of their range)", 1e-12, 1e6,
     false},
    {"--rounding-error", OPT_REAL, offsetof(plan_options, rounding_error), "E",
     "largest error by weight rounding (default 2^-6 of it)", 1e-12, 1e6,
     false},
    {"--confidence", OPT_REAL, offsetof(plan_options, confidence), "C",
     "errors exceeded with probability 2^-C (default 20)", 1, 200, false},
    {"--security", OPT_CHOICE, offsetof(plan_options, security), "128|192|256",
     "bits of security (default 128)", 0, 0, false},
    {"--log2-n", OPT_COUNT, offsetof(plan_options, log2_n), "L",
     "ring degree 2^L (default: searched)", 10, 17, false},
    {"--plain-chain", OPT_FLAG, offsetof(plan_options, plain_chain), NULL,
     "one rescale behind every operation, to compare with", 0, 0, false},
    {"--measure", OPT_FLAG, offsetof(plan_options, measure), NULL,
     "measure this machine and plan by that instead of the\n"
     "committed cost table (the plan records it)",
     0, 0, false},
    {"--public", OPT_FLAG, offsetof(plan_options, public_key), NULL,
     "allow encryption under a public key", 0, 0, false},
    {"--insecure-parameters", OPT_FLAG, offsetof(plan_options, insecure), NULL,
     "accept less than 128 bits of security, for tests", 0, 0, false}};

static const opt_operand operands[] = {
    {"MODEL", offsetof(plan_options, model), false, false}};

const app_command cmd_plan = {
    "plan",
    "plan the encrypted run of a model",
    "Reads an ONNX file and fixes ring, moduli, levels, scales, keys and the\n"
    "errors to expect. The plan goes to clients; the model stays.\n",
    {specs, sizeof specs / sizeof specs[0], operands, 1},
    sizeof(plan_options),
    run};
