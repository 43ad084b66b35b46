/* SPDX-License-Identifier: MIT
 * A small plan with its keys and images, and the three runs from file to file.
 */
#ifndef SOTTO_TESTS_SUPPORT_RUN_WORLD_H
#define SOTTO_TESTS_SUPPORT_RUN_WORLD_H

#include "nn/run/run.h"
#include "tests/support/batch_world.h"
#include "tests/support/folder.h"

#define N_IMAGES 1100 /* three batches of 512, the last of 76 */
#define N_SINGLES 37  /* images in single packing */
#define HEADER_BYTES ((size_t)136)

/* The plan: hand_net_plain with one rescale, scores of 3 components. */
extern const hand_spec run_spec;

/* The world of all tests of a program: CMocka group set-up and tear-down. */
extern batch_world bw;
int run_world_setup(void **state);
int run_world_teardown(void **state);

/* The same in single packing (single_plan.h): three ciphertexts for an image of
 * hand_net_wide, N_SINGLES images. */
int run_world_setup_single(void **state);

/* Images of the world. */
sotto_status image_source(void *arg, float *pixels, uint64_t first,
                          size_t count, sotto_error *err);

/* Scores as they come in. */
typedef struct scores {
    size_t n_images; /* seen so far */
    double *score;   /* [images][n_outputs], free with free */
    double noise_std;
} scores;

scores scores_new(void);

/* Encrypts all images with fixed streams, under key if it is not NULL. Nothing
 * is left at path after an error, here and below. */
sotto_status encrypt_to(const char *path, const nn_run_options *options,
                        const rlwe_public *key, sotto_error *err);

/* Evaluates one part. */
sotto_status infer_part(const char *path, const char *in, uint64_t part,
                        uint64_t n_parts, nn_trace *trace,
                        const nn_run_options *options, sotto_error *err);

/* Decrypts with the world's secret. */
sotto_status decrypt_from(const char *in, scores *s, bool accept,
                          const nn_run_options *options, sotto_error *err);

/* A file in memory; free data with sotto_free. */
typedef struct blob {
    uint8_t *data;
    size_t len_bytes;
} blob;

blob slurp(const char *path);

/* Inputs and scores of the right kind, for tests to spoil. */
typedef struct files {
    const char *in, *out;
    blob in_blob, out_blob;
} files;

files make_files(const test_folder *folder);
void free_files(files *f);

/* Asserts that the message has this word. */
void expect_word(const sotto_error *error, const char *word);

#endif
