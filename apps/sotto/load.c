/* SPDX-License-Identifier: MIT
 * Reading plans, models, images, labels.
 */
#include "apps/sotto/load.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "nn/graph/onnx.h"

/* ---- Plan ---------------------------------------------------------------- */

/* Fills *loaded as far as it goes; the caller clears it. */
static sotto_status read_plan(load_plan *loaded, const char *path,
                              bool insecure, sotto_error *err)
{
    uint8_t *text = NULL;
    size_t len_bytes = 0;
    SOTTO_TRY(sotto_file_read(&text, &len_bytes, path, NN_PLAN_MAX_BYTES, err));
    sotto_status status = nn_plan_read(&loaded->plan, (const char *)text,
                                       len_bytes, insecure, err);
    sotto_free(text);
    if (status == SOTTO_OK) {
        status = rlwe_context_new(&loaded->context, &loaded->plan->params, err);
    }
    if (status != SOTTO_OK) {
        return sotto_fail_prefix(err, status, "%s", path);
    }
    return SOTTO_OK;
}

void load_warn_insecure(app_state *app, const rlwe_context *context,
                        const char *path)
{
    const rlwe_params *params = &context->params;
    if (params->security_bits < params->literal.security) {
        app_warn(app,
                 "%s has insecure parameters: what is encrypted with them is "
                 "not secret",
                 path);
    }
}

sotto_status load_plan_file(app_state *app, load_plan *loaded, const char *path,
                            bool insecure, sotto_error *err)
{
    *loaded = (load_plan){NULL, NULL};
    const sotto_status status = read_plan(loaded, path, insecure, err);
    if (status != SOTTO_OK) {
        load_plan_clear(loaded);
        return status;
    }
    load_warn_insecure(app, loaded->context, path);
    return SOTTO_OK;
}

void load_plan_clear(load_plan *loaded)
{
    rlwe_context_free(loaded->context);
    sotto_free(loaded->plan);
    *loaded = (load_plan){NULL, NULL};
}

/* ---- Model --------------------------------------------------------------- */

/* Fills *model as far as it goes; the caller clears it. */
static sotto_status read_model(load_model *model, const char *path,
                               load_normalise normalise, bool fold,
                               sotto_error *err)
{
    uint8_t *data = NULL;
    size_t len_bytes = 0;
    SOTTO_TRY(sotto_file_read(&data, &len_bytes, path, NN_ONNX_MAX_BYTES, err));
    sotto_sha256_of(model->id, data, len_bytes);
    model->len_bytes = len_bytes;
    sotto_status status = nn_onnx_read(&model->graph, data, len_bytes, err);
    sotto_free(data);
    if (status == SOTTO_OK && normalise.n > 0) {
        status = nn_graph_normalise(model->graph, normalise.mean, normalise.std,
                                    (size_t)normalise.n, err);
    }
    if (status == SOTTO_OK && fold) {
        status = nn_network_new(&model->network, model->graph, NULL, err);
    }
    if (status != SOTTO_OK) {
        return sotto_fail_prefix(err, status, "%s", path);
    }
    return SOTTO_OK;
}

sotto_status load_model_file(load_model *model, const char *path,
                             load_normalise normalise, bool fold,
                             sotto_error *err)
{
    memset(model, 0, sizeof *model);
    const sotto_status status = read_model(model, path, normalise, fold, err);
    if (status != SOTTO_OK) {
        load_model_clear(model);
    }
    return status;
}

void load_model_clear(load_model *model)
{
    nn_network_free(model->network);
    nn_graph_free(model->graph);
    memset(model, 0, sizeof *model);
}

/* ---- Images and labels --------------------------------------------------- */

/* A network that takes a plain vector says nothing of height and width. */
static bool shape_fits(nn_image_shape image, const nn_shape *wanted)
{
    if (wanted->rank == 3) {
        return image.channels == wanted->dim[0] &&
               image.height == wanted->dim[1] && image.width == wanted->dim[2];
    }
    if (wanted->rank == 2) {
        return image.channels == 1 && image.height == wanted->dim[0] &&
               image.width == wanted->dim[1];
    }
    return nn_image_pixels(image) == nn_shape_size(wanted);
}

/* Fills *loaded as far as it goes; the caller clears it. */
static sotto_status open_images(load_images *loaded, const opt_list *paths,
                                opt_pair range, const nn_shape *wanted,
                                sotto_error *err)
{
    SOTTO_TRY(nn_images_open(&loaded->images, paths->value, paths->n, err));
    const nn_image_shape shape = nn_images_shape(loaded->images);
    const uint64_t total = nn_images_count(loaded->images);
    loaded->pixels = nn_image_pixels(shape);
    if (!shape_fits(shape, wanted)) {
        char text[NN_SHAPE_TEXT_BYTES];
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "%s holds images of [%zu,%zu,%zu], expected %s as "
                          "the network takes; give images of that shape",
                          paths->value[0], shape.channels, shape.height,
                          shape.width, nn_shape_text(text, wanted));
    }
    if (range.second > total) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "the range %" PRIu64 ":%" PRIu64
                          " passes the end, expected at most %" PRIu64
                          " images, as many as %s holds",
                          range.first, range.second, total, paths->value[0]);
    }
    const bool all = range.second == 0;
    loaded->first = range.first;
    loaded->count = all ? total : range.second - range.first;
    return SOTTO_OK;
}

sotto_status load_images_files(load_images *loaded, const opt_list *paths,
                               opt_pair range, const nn_shape *wanted,
                               sotto_error *err)
{
    memset(loaded, 0, sizeof *loaded);
    const sotto_status status = open_images(loaded, paths, range, wanted, err);
    if (status != SOTTO_OK) {
        load_images_clear(loaded);
    }
    return status;
}

void load_images_clear(load_images *loaded)
{
    nn_images_close(loaded->images);
    memset(loaded, 0, sizeof *loaded);
}

sotto_status load_images_read(void *arg, float *pixels, uint64_t first,
                              size_t count, sotto_error *err)
{
    const load_images *loaded = arg;
    return nn_images_read(loaded->images, pixels, loaded->first + first, count,
                          err);
}

sotto_status load_labels(uint8_t **labels, const char *path, uint64_t first,
                         uint64_t count, sotto_error *err)
{
    uint8_t *all = NULL;
    size_t total = 0;
    *labels = NULL;
    SOTTO_TRY(nn_labels_read(&all, &total, path, err));
    if (first > total || count > total - first) {
        sotto_free(all);
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "%s holds %zu labels, expected %" PRIu64
                          ", one for each image; give the labels of these "
                          "images",
                          path, total, first + count);
    }
    memmove(all, all + first, (size_t)count);
    *labels = all;
    return SOTTO_OK;
}

sotto_status load_own_labels(uint8_t **labels, const load_images *images,
                             sotto_error *err)
{
    const size_t count = (size_t)images->count;
    *labels = NULL;
    uint8_t *made = sotto_calloc(count, 1);
    /* Pixels come along; a block of images is enough to hold them. */
    const size_t block = 256;
    uint8_t *pixels = sotto_calloc(block, images->pixels);
    sotto_status status =
        made == NULL || pixels == NULL
            ? sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory reading labels")
            : SOTTO_OK;
    for (size_t at = 0; at < count && status == SOTTO_OK; at += block) {
        const size_t n = count - at < block ? count - at : block;
        status = nn_images_read_bytes(images->images, pixels, made + at,
                                      images->first + at, n, err);
    }
    sotto_free(pixels);
    if (status != SOTTO_OK) {
        sotto_free(made);
        return status;
    }
    *labels = made;
    return SOTTO_OK;
}
