/* SPDX-License-Identifier: MIT
 * The stages of the HomomorphicEncryption.org ML-inference benchmark.
 *
 * The harness starts one program for each stage in the root of its tree, with
 * the instance size as the only argument, and measures it from outside. All
 * stages are one program that looks at the name it was started by. What goes
 * from stage to stage are files:
 *
 *     datasets/SIZE/intermediate/test_pixels.txt     the harness's, in
 *     io/SIZE/intermediate/images.idx                client, preprocessed
 *     io/SIZE/secret_key/secret.key                  client
 *     io/SIZE/public_keys/plan, eval.key             client -> server
 *     io/SIZE/ciphertexts_upload/images.ct           client -> server
 *     io/SIZE/ciphertexts_download/scores.ct         server -> client
 *     io/SIZE/intermediate/scores.csv                client, decrypted
 *     io/SIZE/encrypted_model_predictions.txt        the harness's, out
 *     io/SIZE/server_reported_steps.json             seconds by step
 *
 * with SIZE single (1 image), small (15), medium (1000) or large (10000).
 * Model and plans lie beside the program (make suite).
 */
#ifndef SOTTO_APPS_SUITE_SUITE_H
#define SOTTO_APPS_SUITE_SUITE_H

#include "apps/sotto/commands.h"

#define SUITE_PATH_BYTES 512
#define SUITE_SIDE 28
#define SUITE_PIXELS (SUITE_SIDE * SUITE_SIDE)

/* The paths of one run. */
typedef struct suite_paths {
    char model[SUITE_PATH_BYTES];
    char plan_made[SUITE_PATH_BYTES]; /* beside the program */
    char io[SUITE_PATH_BYTES];
    char pixels[SUITE_PATH_BYTES];
    char middle[SUITE_PATH_BYTES]; /* intermediate folder */
    char images[SUITE_PATH_BYTES];
    char secret_folder[SUITE_PATH_BYTES];
    char secret_key[SUITE_PATH_BYTES];
    char eval_made[SUITE_PATH_BYTES]; /* as keygen leaves it */
    char public_folder[SUITE_PATH_BYTES];
    char plan[SUITE_PATH_BYTES];
    char eval_key[SUITE_PATH_BYTES];
    char upload_folder[SUITE_PATH_BYTES];
    char upload[SUITE_PATH_BYTES];
    char download_folder[SUITE_PATH_BYTES];
    char download[SUITE_PATH_BYTES];
    char scores[SUITE_PATH_BYTES];
    char labels[SUITE_PATH_BYTES];
    char report[SUITE_PATH_BYTES];
} suite_paths;

/* Turns the harness's text of pixels (one image a line, 784 numbers in [0,1]
 * that are 255ths) into an IDX file.
 * error: SOTTO_ERR_FORMAT naming line and value, SOTTO_ERR_IO. */
sotto_status suite_pixels(const char *idx_path, const char *text_path,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Takes the labels out of a table of scores (decrypt --csv): one a line.
 * error: SOTTO_ERR_FORMAT, SOTTO_ERR_IO. */
sotto_status suite_labels(const char *labels_path, const char *csv_path,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Makes a folder unless it is there. error: SOTTO_ERR_IO. */
sotto_status suite_folder(const char *path, sotto_error *err) SOTTO_MUST_CHECK;

/* Copies a file. error: SOTTO_ERR_IO, SOTTO_ERR_FORMAT. */
sotto_status suite_copy(const char *to, const char *from,
                        sotto_error *err) SOTTO_MUST_CHECK;

#endif
