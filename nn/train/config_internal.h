/* SPDX-License-Identifier: MIT
 * The words of configurations. All functions that parse leave *out as it was
 * on errors and name origin and line in the message.
 */
#ifndef SOTTO_NN_TRAIN_CONFIG_INTERNAL_H
#define SOTTO_NN_TRAIN_CONFIG_INTERNAL_H

#include "nn/train/config.h"

#define NN_CONFIG_MAX_OPTIONS 16

/* Where the parse stands, and where its message goes. */
typedef struct nn_cursor {
    const char *origin;
    int line;
    sotto_error *err;
} nn_cursor;

/* Fails with "origin:line: message". */
sotto_status nn_config_fail(const nn_cursor *at, sotto_status status,
                            const char *format, ...) SOTTO_PRINTF(3, 4);

/* Parses a number in [min, max]; name is for messages. */
sotto_status nn_config_number(const nn_cursor *at, double *out,
                              const char *name, const char *text, double min,
                              double max) SOTTO_MUST_CHECK;

/* Parses a whole number in [min, max]. */
sotto_status nn_config_count(const nn_cursor *at, size_t *out, const char *name,
                             const char *text, double min,
                             double max) SOTTO_MUST_CHECK;

/* Parses "1,2,3" into 1 to max_n numbers in [min, max]; cuts text up. */
sotto_status nn_config_list(const nn_cursor *at, double *out, size_t *n,
                            size_t max_n, const char *name, char *text,
                            double min, double max) SOTTO_MUST_CHECK;

/* Copies a text. shape: out char[NN_CONFIG_TEXT_BYTES]. */
sotto_status nn_config_text(const nn_cursor *at, char *out, const char *name,
                            const char *text) SOTTO_MUST_CHECK;

/* One name=value; both point into the line. */
typedef struct nn_option {
    char *name;
    char *value;
    bool taken;
} nn_option;

/* The words behind the first one of a value. */
typedef struct nn_options {
    nn_cursor at;
    size_t n;
    nn_option list[NN_CONFIG_MAX_OPTIONS];
} nn_options;

/* Cuts value into its first word, which value then is, and options. */
sotto_status nn_options_split(nn_options *opts, const nn_cursor *at,
                              char *value) SOTTO_MUST_CHECK;

/* The value of an option, or NULL; it counts as taken. */
char *nn_options_take(nn_options *opts, const char *name);

/* Fails unless every option was taken. */
sotto_status nn_options_end(const nn_options *opts,
                            const char *of) SOTTO_MUST_CHECK;

/* The following take an option if it is there and leave *out otherwise. */

/* Takes a number in [min, max]. */
sotto_status nn_options_number(nn_options *opts, double *out, const char *name,
                               double min, double max) SOTTO_MUST_CHECK;

/* Takes a whole number in [min, max]. */
sotto_status nn_options_count(nn_options *opts, size_t *out, const char *name,
                              double min, double max) SOTTO_MUST_CHECK;

/* Takes 0 or 1. */
sotto_status nn_options_flag(nn_options *opts, bool *out,
                             const char *name) SOTTO_MUST_CHECK;

/* Takes one whole number for all of n <= 4 places, or n of them. */
sotto_status nn_options_sizes(nn_options *opts, size_t *out, size_t n,
                              const char *name, double min,
                              double max) SOTTO_MUST_CHECK;

/* Parses the value of `layer`, cuts it up, and appends the layer. */
sotto_status nn_config_parse_layer(nn_train_config *config, const nn_cursor *at,
                                   char *value) SOTTO_MUST_CHECK;

#endif
