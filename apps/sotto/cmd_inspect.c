/* SPDX-License-Identifier: MIT
 * sotto inspect: what a file is, how large, whose, and how it is marked.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "apps/sotto/commands.h"
#include "apps/sotto/load.h"
#include "apps/sotto/show.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/train/dataset.h"
#include "rlwe/wire.h"

/* As many bytes as it takes to know a file by its beginning. */
#define HEAD_BYTES 16

typedef struct inspect_options {
    app_common common;
    const char *path;
} inspect_options;

/* ---- Sotto's own binary files -------------------------------------------- */

/* The kind of file in words. */
static const char *kind_name(rlwe_file_kind kind)
{
    switch (kind) {
    case RLWE_FILE_SECRET:
        return "secret key";
    case RLWE_FILE_PUBLIC:
        return "public key";
    case RLWE_FILE_EVAL:
        return "evaluation keys";
    case RLWE_FILE_CIPHERTEXT:
        return "ciphertexts";
    }
    return "unknown";
}

/* A name and an identity on one line. */
static void say_hex(app_state *app, const char *name, const uint8_t *bytes,
                    size_t len_bytes)
{
    char digits[2 * SOTTO_HASH_BYTES + 1];
    sotto_hex(digits, bytes, len_bytes);
    app_say(app, "%-11s %s", name, digits);
}

/* Keys and ciphertexts: their header says it all; a secret is never shown. */
static sotto_status inspect_wire(app_state *app, const char *path, json_out *j,
                                 sotto_error *err)
{
    rlwe_file_header header;
    SOTTO_TRY(rlwe_file_peek(&header, path, err));
    const bool has_plan = header.kind == RLWE_FILE_CIPHERTEXT;
    app_say(app, "kind        %s%s", kind_name(header.kind),
            header.kind == RLWE_FILE_SECRET ? " (keep it from the server)"
                                            : "");
    say_hex(app, "parameters", header.params_id, sizeof header.params_id);
    say_hex(app, "key", header.key_id, sizeof header.key_id);
    if (has_plan) {
        say_hex(app, "plan", header.plan_id, sizeof header.plan_id);
        app_say(app, "images      %" PRIu64 " in the whole job", header.count);
    }
    app_say(app, "marks       %s%s%s", header.insecure ? "insecure " : "",
            header.from_seed ? "made with --seed" : "",
            header.insecure || header.from_seed ? "" : "none");
    if (j != NULL) {
        json_string(j, "kind", kind_name(header.kind));
        json_hex(j, "params_id", header.params_id, sizeof header.params_id);
        json_hex(j, "key_id", header.key_id, sizeof header.key_id);
        if (has_plan) {
            json_hex(j, "plan_id", header.plan_id, sizeof header.plan_id);
            json_count(j, "images", header.count);
        }
        json_bool(j, "insecure", header.insecure);
        json_bool(j, "from_seed", header.from_seed);
    }
    return SOTTO_OK;
}

/* ---- Plan ---------------------------------------------------------------- */

static sotto_status inspect_plan(app_state *app, const char *path, json_out *j,
                                 sotto_error *err)
{
    load_plan loaded;
    nn_plan_bytes bytes;
    /* Nothing is encrypted here: insecure plans are shown, and marked. */
    SOTTO_TRY(load_plan_file(app, &loaded, path, true, err));
    const sotto_status status = nn_plan_sizes(&bytes, loaded.plan, err);
    if (status == SOTTO_OK) {
        text_out out;
        text_init(&out);
        text_put(&out, "kind        plan\n");
        show_plan(&out, loaded.plan, loaded.context, &bytes);
        text_put(&out, "\n");
        show_steps(&out, loaded.plan);
        app_say_text(app, &out);
        say_hex(app, "\nplan", loaded.plan->id, sizeof loaded.plan->id);
        say_hex(app, "model", loaded.plan->model_id,
                sizeof loaded.plan->model_id);
    }
    if (status == SOTTO_OK && j != NULL) {
        json_string(j, "kind", "plan");
        json_hex(j, "model_id", loaded.plan->model_id,
                 sizeof loaded.plan->model_id);
        show_plan_json(j, loaded.plan, loaded.context, &bytes);
    }
    load_plan_clear(&loaded);
    return status;
}

/* ---- Images and labels --------------------------------------------------- */

static sotto_status inspect_images(app_state *app, const char *path,
                                   json_out *j, sotto_error *err)
{
    nn_images *images = NULL;
    SOTTO_TRY(nn_images_open(&images, &path, 1, err));
    const nn_image_shape shape = nn_images_shape(images);
    app_say(app, "kind        images\nshape       [%zu,%zu,%zu]",
            shape.channels, shape.height, shape.width);
    app_say(app, "images      %" PRIu64, nn_images_count(images));
    if (j != NULL) {
        json_string(j, "kind", "images");
        json_count(j, "images", nn_images_count(images));
        json_count(j, "channels", shape.channels);
        json_count(j, "height", shape.height);
        json_count(j, "width", shape.width);
    }
    nn_images_close(images);
    return SOTTO_OK;
}

static sotto_status inspect_labels(app_state *app, const char *path,
                                   json_out *j, sotto_error *err)
{
    uint8_t *labels = NULL;
    size_t count = 0;
    SOTTO_TRY(nn_labels_read(&labels, &count, path, err));
    sotto_free(labels);
    app_say(app, "kind        labels\nlabels      %zu", count);
    if (j != NULL) {
        json_string(j, "kind", "labels");
        json_count(j, "labels", count);
    }
    return SOTTO_OK;
}

/* ---- Model --------------------------------------------------------------- */

/* One line of a model. */
static void show_node(text_out *out, int id, const nn_node *node)
{
    char shape[NN_SHAPE_TEXT_BYTES];
    text_printf(out, "%4d  %-22.22s %-20s %-14s", id, node->name,
                nn_op_name(node->op), nn_shape_text(shape, &node->shape));
    if (node->range.known) {
        text_printf(out, " %9.4g ... %.4g", node->range.min, node->range.max);
    }
    text_put(out, "\n");
}

/* Nodes of a model. The list is cut where a huge model would fill the screen.
 */
static sotto_status inspect_model(app_state *app, const char *path, json_out *j,
                                  sotto_error *err)
{
    load_model model;
    SOTTO_TRY(load_model_file(&model, path, (load_normalise){NULL, NULL, 0},
                              false, err));
    const nn_graph *graph = model.graph;
    size_t weights = 0;
    text_out out;
    text_init(&out);
    text_printf(&out, "kind        ONNX model%s%s\n\n%4s  %-22s %-20s %-14s\n",
                graph->producer != NULL ? " by " : "",
                graph->producer != NULL ? graph->producer : "", "node", "name",
                "operator", "shape and range, where known");
    for (int i = 0; i < graph->n_nodes; i++) {
        const nn_node *node = &graph->nodes[i];
        weights += node->n_weights + node->n_bias;
        if (out.fill < TEXT_BUFFER_BYTES / 2) {
            show_node(&out, i, node);
        }
    }
    app_say_text(app, &out);
    app_say(app, "\nnodes       %d\nweights     %zu", graph->n_nodes, weights);
    say_hex(app, "model", model.id, sizeof model.id);
    if (j != NULL) {
        json_string(j, "kind", "model");
        json_int(j, "nodes", graph->n_nodes);
        json_count(j, "weights", weights);
        json_hex(j, "model_id", model.id, sizeof model.id);
    }
    load_model_clear(&model);
    return SOTTO_OK;
}

/* ---- Command ------------------------------------------------------------- */

/* The first bytes of a file, zero where it is shorter, and its size. */
static sotto_status read_head(uint8_t *head, uint64_t *size_bytes,
                              const char *path, sotto_error *err)
{
    sotto_input *input = NULL;
    memset(head, 0, HEAD_BYTES);
    SOTTO_TRY(sotto_input_open(&input, path, err));
    *size_bytes = sotto_input_size(input);
    sotto_status status = SOTTO_OK;
    const size_t n =
        *size_bytes < HEAD_BYTES ? (size_t)*size_bytes : HEAD_BYTES;
    if (n == 0) {
        status = sotto_fail(err, SOTTO_ERR_FORMAT,
                            "%s is empty or no regular file, expected a file "
                            "of Sotto's, a model or images",
                            path);
    } else {
        status = sotto_input_read(input, head, n, NULL, err);
    }
    sotto_input_close(input);
    return status;
}

/* A model has no mark of its own: what nothing else claims is taken for one. */
static sotto_status inspect(app_state *app, const char *path,
                            const uint8_t *head, json_out *j, sotto_error *err)
{
    if (memcmp(head, "SOTTO", 5) == 0) {
        return inspect_wire(app, path, j, err);
    }
    if (memcmp(head, "sotto-plan", 10) == 0) {
        return inspect_plan(app, path, j, err);
    }
    if (memcmp(head, "\0\0\x08\x01", 4) == 0) {
        return inspect_labels(app, path, j, err);
    }
    if (memcmp(head, "\0\0\x08", 3) == 0 || memcmp(head, "P5", 2) == 0 ||
        memcmp(head, "P6", 2) == 0) {
        return inspect_images(app, path, j, err);
    }
    const sotto_status status = inspect_model(app, path, j, err);
    if (status == SOTTO_ERR_FORMAT) {
        return sotto_fail_prefix(err, status,
                                 "no file that Sotto knows; as a model");
    }
    return status;
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const inspect_options *options = values;
    uint8_t head[HEAD_BYTES];
    uint64_t size_bytes = 0;
    SOTTO_TRY(read_head(head, &size_bytes, options->path, err));
    app_json file;
    SOTTO_TRY(app_json_open(&file, options->common.json, err));
    if (file.open) {
        json_string(&file.j, "file", options->path);
        json_count(&file.j, "bytes", size_bytes);
    }
    app_say(app, "%s: %s (%" PRIu64 " bytes)", options->path,
            text_of_bytes(size_bytes).text, size_bytes);
    const sotto_status status =
        inspect(app, options->path, head, file.open ? &file.j : NULL, err);
    if (status != SOTTO_OK) {
        text_discard(&file.out);
        return status;
    }
    return app_json_close(&file, err);
}

static const opt_operand operands[] = {
    {"FILE", offsetof(inspect_options, path), false, false}};

const app_command cmd_inspect = {
    "inspect",
    "say what a file is",
    "Knows plans, keys, ciphertexts, ONNX models, images and labels.\n",
    {NULL, 0, operands, 1},
    sizeof(inspect_options),
    run};
