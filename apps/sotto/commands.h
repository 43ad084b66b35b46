/* SPDX-License-Identifier: MIT
 * The commands, and the steps of one encrypted inference as functions.
 *
 * Each step has a structure that its command line fills, and a function that
 * does the work from files to files. The demo fills the same structures and
 * calls the same functions: what it shows is what the commands do.
 */
#ifndef APPS_SOTTO_COMMANDS_H
#define APPS_SOTTO_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "apps/sotto/app.h"
#include "nn/plan/plan.h"
#include "nn/run/run.h"

/* The table entries, one per cmd_*.c. */
extern const app_command cmd_demo, cmd_plan, cmd_keygen, cmd_encrypt, cmd_infer,
    cmd_decrypt, cmd_train, cmd_eval, cmd_inspect, cmd_params;

/* ---- plan ---------------------------------------------------------------- */

typedef struct plan_options {
    app_common common;
    const char *model;
    const char *out;
    uint64_t images; /* 0: 1 */
    bool explain;
    const char *calibrate; /* file of images, or NULL */
    const char *security;  /* "128", "192", "256", or NULL */
    bool insecure;
    bool public_key;
    opt_reals mean, std;
    double margin;
    double he_error;
    double rounding_error;
    double confidence;
    uint64_t log2_n;
    bool plain_chain;
    bool measure;
    const char *packing; /* "auto", "batch", "single", or NULL: auto */
    uint64_t key_memory; /* bytes; 0: no limit */
    uint64_t memory;     /* the same, of encoded weights */
} plan_options;

/* Plans options->model and writes options->out.
 * owner: the caller frees *plan with sotto_free; NULL on error. */
sotto_status plan_run(app_state *app, nn_plan **plan,
                      const plan_options *options,
                      sotto_error *err) SOTTO_MUST_CHECK;

/* ---- keygen -------------------------------------------------------------- */

typedef struct keygen_options {
    app_common common;
    const char *plan;
    const char *out; /* folder */
    bool public_key;
    bool force;
    bool insecure;
    const char *seed;
} keygen_options;

typedef struct keygen_result {
    uint64_t secret_bytes;
    uint64_t eval_bytes;   /* 0: the plan needs none */
    uint64_t public_bytes; /* 0: not asked for */
    int n_keys;
    uint8_t key_id[RLWE_KEY_ID_BYTES];
    double seconds;
} keygen_result;

/* Makes the keys of options->plan in the folder options->out (made if it is
 * missing). Either all files appear or none. */
sotto_status keygen_run(app_state *app, keygen_result *result,
                        const keygen_options *options,
                        sotto_error *err) SOTTO_MUST_CHECK;

/* ---- encrypt ------------------------------------------------------------- */

typedef struct encrypt_options {
    app_common common;
    const char *plan;
    const char *key;        /* secret key, or NULL */
    const char *public_key; /* or NULL: exactly one of both */
    opt_list images;
    opt_pair range; /* 0:0 = all */
    const char *out;
    bool insecure;
    const char *seed;
} encrypt_options;

typedef struct encrypt_result {
    uint64_t images;
    uint64_t batches;
    uint64_t slots; /* images that one batch has room for */
    nn_packing packing;
    uint64_t cts; /* ciphertexts of a batch */
    uint64_t bytes;
    double seconds;
} encrypt_result;

/* Encrypts images into options->out. */
sotto_status encrypt_run(app_state *app, encrypt_result *result,
                         const encrypt_options *options,
                         sotto_error *err) SOTTO_MUST_CHECK;

/* ---- infer --------------------------------------------------------------- */

typedef struct infer_options {
    app_common common;
    const char *plan;
    const char *model;
    const char *input;
    const char *keys; /* or NULL */
    const char *out;
    opt_pair part;   /* 0/0 = all */
    uint64_t memory; /* bytes; 0: no limit */
    const char *trace;
    bool insecure;
} infer_options;

/* Evaluates the network on options->input into options->out; it is given
 * nothing secret. */
sotto_status infer_run(app_state *app, nn_trace *trace,
                       const infer_options *options,
                       sotto_error *err) SOTTO_MUST_CHECK;

/* ---- decrypt ------------------------------------------------------------- */

typedef struct decrypt_options {
    app_common common; /* common.json: the scores */
    const char *plan;
    const char *key;
    const char *input;
    const char *csv;
    const char *labels;
    bool force;
    bool insecure;
} decrypt_options;

typedef struct decrypt_result {
    bool softmax; /* the plan wants one; known before the first scores */
    uint64_t images;
    double noise_std;           /* largest of all batches, measured */
    double predicted_noise_std; /* what the plan allows */
    double seconds;
} decrypt_result;

/* Decrypts options->input and hands the raw scores to sink. */
sotto_status decrypt_run(app_state *app, decrypt_result *result,
                         const decrypt_options *options, nn_score_sink sink,
                         void *sink_arg, sotto_error *err) SOTTO_MUST_CHECK;

#endif
