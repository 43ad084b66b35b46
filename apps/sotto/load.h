/* SPDX-License-Identifier: MIT
 * Reading what commands are given: plans, models, images, labels.
 */
#ifndef APPS_SOTTO_LOAD_H
#define APPS_SOTTO_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "apps/sotto/app.h"
#include "apps/sotto/options.h"
#include "base/hash.h"
#include "base/status.h"
#include "nn/graph/fold.h"
#include "nn/plan/plan.h"
#include "nn/train/dataset.h"
#include "rlwe/context.h"

/* A plan with its context. */
typedef struct load_plan {
    nn_plan *plan;
    rlwe_context *context;
} load_plan;

/* Reads a plan file and builds its context; warns when its parameters are
 * insecure (refused without insecure).
 * error: as nn_plan_read and rlwe_context_new, with the path in front; *loaded
 * is then empty. owner: the caller, load_plan_clear. */
sotto_status load_plan_file(app_state *app, load_plan *loaded, const char *path,
                            bool insecure, sotto_error *err) SOTTO_MUST_CHECK;

/* Warns when the parameters of the plan at path give less security than they
 * should. */
void load_warn_insecure(app_state *app, const rlwe_context *context,
                        const char *path);

/* Frees; an empty one is fine. */
void load_plan_clear(load_plan *loaded);

/* The id of a file that decides how a model is normalised. n == 0: not. */
typedef struct load_normalise {
    const float *mean; /* [n] */
    const float *std;  /* [n] */
    int n;
} load_normalise;

/* A model as graph and folded network. */
typedef struct load_model {
    nn_graph *graph;
    nn_network *network; /* NULL: not asked for */
    uint8_t id[SOTTO_HASH_BYTES];
    uint64_t len_bytes;
} load_model;

/* Reads an ONNX file, puts the normalisation in front and, with fold, folds it.
 * error: as nn_onnx_read, nn_graph_normalise, nn_network_new, with the path in
 * front; *model is then empty. owner: the caller, load_model_clear. */
sotto_status load_model_file(load_model *model, const char *path,
                             load_normalise normalise, bool fold,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; an empty one is fine. */
void load_model_clear(load_model *model);

/* Part of a sequence of images. */
typedef struct load_images {
    nn_images *images;
    uint64_t first; /* in the files */
    uint64_t count;
    size_t pixels; /* of one image */
} load_images;

/* Opens image files; range 0:0 means all. wanted: what a network takes, to
 * which the images must fit ([C,H,W], or [F] with as many elements).
 * error: as nn_images_open; SOTTO_ERR_SHAPE; SOTTO_ERR_PARAM (range).
 * *loaded is then empty. owner: the caller, load_images_clear. */
sotto_status load_images_files(load_images *loaded, const opt_list *paths,
                               opt_pair range, const nn_shape *wanted,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; an empty one is fine. */
void load_images_clear(load_images *loaded);

/* The images as a source of nn_run_encrypt (arg: load_images *), counted from
 * the range's beginning. shape: pixels float[count][pixels]. */
sotto_status load_images_read(void *arg, float *pixels, uint64_t first,
                              size_t count, sotto_error *err) SOTTO_MUST_CHECK;

/* Labels [first, first + count) of a file of labels.
 * error: as nn_labels_read; SOTTO_ERR_SHAPE when there are too few. *labels is
 * then NULL. owner: the caller frees *labels with sotto_free. */
sotto_status load_labels(uint8_t **labels, const char *path, uint64_t first,
                         uint64_t count, sotto_error *err) SOTTO_MUST_CHECK;

/* Labels of the images themselves (CIFAR-10). error: as nn_images_read_bytes.
 * owner: as load_labels. */
sotto_status load_own_labels(uint8_t **labels, const load_images *images,
                             sotto_error *err) SOTTO_MUST_CHECK;

#endif
