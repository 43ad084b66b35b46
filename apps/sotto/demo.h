/* SPDX-License-Identifier: MIT
 * The demo's parts: steps, comparison, what is shown, the report.
 *
 *     images -> [client | server | client] -> encrypted scores
 *            -> float network              -> exact scores
 *            -> rounded network            -> what the server computes on
 *
 * HE error = encrypted - rounded, rounding error = rounded - exact,
 * total = encrypted - exact.
 */
#ifndef APPS_SOTTO_DEMO_H
#define APPS_SOTTO_DEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "apps/sotto/commands.h"
#include "apps/sotto/load.h"
#include "apps/sotto/show.h"

#define DEMO_PATH_BYTES 512

/* Distribution of one kind of error. Bin b counts errors of magnitude
 * [2^(b/2 + DEMO_BIN_FIRST), 2^((b+1)/2 + DEMO_BIN_FIRST)). */
#define DEMO_BINS 80
#define DEMO_BIN_FIRST (-32)

typedef struct demo_error {
    double worst;
    double predicted;
    uint64_t bin[DEMO_BINS]; /* ends gather what lies beyond */
} demo_error;

typedef struct demo_options {
    app_common common;
    uint64_t images; /* 0: the default */
    const char *model;
    const char *data;
    const char *report;
} demo_options;

/* The folders of the demo: what the server's step opens lies in server/ or is
 * the plan or the model. */
typedef struct demo_paths {
    char root[DEMO_PATH_BYTES];
    char client[DEMO_PATH_BYTES];
    char server[DEMO_PATH_BYTES];
    char plan[DEMO_PATH_BYTES];
    char secret_key[DEMO_PATH_BYTES];
    char eval_key_made[DEMO_PATH_BYTES]; /* in client/ … */
    char eval_key[DEMO_PATH_BYTES];      /* … and where it is sent */
    char input[DEMO_PATH_BYTES];
    char output[DEMO_PATH_BYTES];
    char image_file[DEMO_PATH_BYTES];
    char label_file[DEMO_PATH_BYTES];
} demo_paths;

/* Everything that the demo finds out. */
typedef struct demo {
    app_state *app;
    const demo_options *options;
    const char *model_path;
    demo_paths paths;
    uint64_t n; /* images */
    size_t n_outputs;
    size_t n_pixels;
    nn_image_shape shape;

    nn_plan *plan;
    rlwe_context *context;
    nn_plan_bytes bytes;
    double plan_seconds;
    keygen_result keygen;
    encrypt_result encrypt;
    nn_trace *trace;
    double infer_seconds;
    uint64_t output_bytes;
    decrypt_result decrypt;

    uint8_t *pixels;   /* [n][n_pixels] */
    uint8_t *labels;   /* [n] */
    double *encrypted; /* [n][n_outputs] */
    double *rounded;
    double *exact;
    uint64_t correct_plain;
    uint64_t correct_encrypted;
    uint64_t label_differences;
    demo_error he, rounding, total;
    double total_seconds;
} demo;

/* Opens the images and reads pixels and labels of the first n. */
sotto_status demo_load(demo *d, sotto_error *err) SOTTO_MUST_CHECK;

/* Runs plan, keygen, encrypt, infer, decrypt from file to file, saying what
 * each took. Fills encrypted. */
sotto_status demo_steps(demo *d, sotto_error *err) SOTTO_MUST_CHECK;

/* Seconds of the server for one image: its share of a batch, or, in single
 * packing, the median over images, without what is done once. */
double demo_image_seconds(const demo *d);

/* Seconds of the server before the first batch: plan, model, keys, weights. */
double demo_setup_seconds(const demo *d);

/* Runs the float and the rounded network and compares. */
sotto_status demo_compare(demo *d, sotto_error *err) SOTTO_MUST_CHECK;

/* Prints results and some digits. */
void demo_show(demo *d);

/* Prints digits `which[0..n)` with their scores side by side. */
void demo_show_digits(demo *d, const uint64_t *which, size_t n);

/* Chooses up to cap images to look at: the first that are right, then up to
 * max_wrong of those whose label differs from the plain network's or is wrong.
 * shape: which[cap]. */
size_t demo_choose(const demo *d, uint64_t *which, size_t cap,
                   size_t max_wrong);

/* Label of image i by a set of scores. */
size_t demo_label(const demo *d, const double *scores, uint64_t i);

/* Writes the members of the --json object. */
void demo_json(json_out *j, const demo *d);

/* Writes the page. */
sotto_status demo_report(const demo *d, const char *path,
                         sotto_error *err) SOTTO_MUST_CHECK;

#endif
