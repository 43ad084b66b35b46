/* SPDX-License-Identifier: MIT
 * The words of configurations: numbers, texts, lists, options.
 */
#include "nn/train/config_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sotto_status nn_config_fail(const nn_cursor *at, sotto_status status,
                            const char *format, ...)
{
    char text[384];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return sotto_fail(at->err, status, "%s:%d: %s", at->origin, at->line, text);
}

/* --- numbers and texts ------------------------------------------------ */

sotto_status nn_config_number(const nn_cursor *at, double *out,
                              const char *name, const char *text, double min,
                              double max)
{
    char *end = NULL;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT,
                              "%s = '%.40s' is not a number", name, text);
    }
    if (value < min || value > max) {
        return nn_config_fail(at, SOTTO_ERR_PARAM,
                              "%s = %g is out of range; expected %g to %g",
                              name, value, min, max);
    }
    *out = value;
    return SOTTO_OK;
}

sotto_status nn_config_count(const nn_cursor *at, size_t *out, const char *name,
                             const char *text, double min, double max)
{
    double value = 0.0;
    SOTTO_TRY(nn_config_number(at, &value, name, text, min, max));
    if (value != floor(value)) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT,
                              "%s = %g is not a whole number", name, value);
    }
    *out = (size_t)value;
    return SOTTO_OK;
}

/* Parses "1,2,3" into at most max_n numbers. */
sotto_status nn_config_list(const nn_cursor *at, double *out, size_t *n,
                            size_t max_n, const char *name, char *text,
                            double min, double max)
{
    *n = 0;
    for (char *item = text; item != NULL;) {
        char *comma = strchr(item, ',');
        if (comma != NULL) {
            *comma = '\0';
        }
        if (*n == max_n) {
            return nn_config_fail(at, SOTTO_ERR_FORMAT,
                                  "%s has more than %zu values", name, max_n);
        }
        SOTTO_TRY(nn_config_number(at, &out[*n], name, item, min, max));
        (*n)++;
        item = comma != NULL ? comma + 1 : NULL;
    }
    return SOTTO_OK;
}

sotto_status nn_config_text(const nn_cursor *at, char *out, const char *name,
                            const char *text)
{
    const size_t len = strlen(text);
    if (len >= NN_CONFIG_TEXT_BYTES) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT,
                              "%s has %zu characters; at most %d are taken",
                              name, len, NN_CONFIG_TEXT_BYTES - 1);
    }
    memcpy(out, text, len + 1);
    return SOTTO_OK;
}

/* --- options ---------------------------------------------------------- */

/* Cuts value into its first word and options; both point into value. */
sotto_status nn_options_split(nn_options *opts, const nn_cursor *at,
                              char *value)
{
    char *rest = strpbrk(value, " \t");
    opts->at = *at;
    opts->n = 0;
    while (rest != NULL) {
        *rest++ = '\0';
        rest += strspn(rest, " \t");
        char *word = rest;
        rest = strpbrk(word, " \t");
        char *equals = strchr(word, '=');
        if (equals == NULL || (rest != NULL && equals > rest)) {
            return nn_config_fail(at, SOTTO_ERR_FORMAT,
                                  "'%.40s' is no option; expected name=value",
                                  word);
        }
        if (opts->n == NN_CONFIG_MAX_OPTIONS) {
            return nn_config_fail(at, SOTTO_ERR_FORMAT, "more than %d options",
                                  NN_CONFIG_MAX_OPTIONS);
        }
        *equals = '\0';
        opts->list[opts->n++] = (nn_option){word, equals + 1, false};
    }
    return SOTTO_OK;
}

/* The value of an option, or NULL; it counts as taken. */
char *nn_options_take(nn_options *opts, const char *name)
{
    for (size_t i = 0; i < opts->n; i++) {
        nn_option *opt = &opts->list[i];
        if (!opt->taken && strcmp(opt->name, name) == 0) {
            opt->taken = true;
            return opt->value;
        }
    }
    return NULL;
}

sotto_status nn_options_end(const nn_options *opts, const char *of)
{
    for (size_t i = 0; i < opts->n; i++) {
        if (!opts->list[i].taken) {
            return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                                  "unknown or repeated option '%.40s' of %s",
                                  opts->list[i].name, of);
        }
    }
    return SOTTO_OK;
}

/* Options that are there replace *out; others leave it as it is. */
sotto_status nn_options_number(nn_options *opts, double *out, const char *name,
                               double min, double max)
{
    const char *text = nn_options_take(opts, name);
    return text == NULL
               ? SOTTO_OK
               : nn_config_number(&opts->at, out, name, text, min, max);
}

sotto_status nn_options_count(nn_options *opts, size_t *out, const char *name,
                              double min, double max)
{
    const char *text = nn_options_take(opts, name);
    return text == NULL ? SOTTO_OK
                        : nn_config_count(&opts->at, out, name, text, min, max);
}

sotto_status nn_options_flag(nn_options *opts, bool *out, const char *name)
{
    size_t value = *out ? 1 : 0;
    SOTTO_TRY(nn_options_count(opts, &value, name, 0, 1));
    *out = value == 1;
    return SOTTO_OK;
}

/* One number for all of n places, or n numbers. */
sotto_status nn_options_sizes(nn_options *opts, size_t *out, size_t n,
                              const char *name, double min, double max)
{
    double value[4];
    size_t given = 0;
    char *text = nn_options_take(opts, name);
    if (text == NULL) {
        return SOTTO_OK;
    }
    SOTTO_TRY(
        nn_config_list(&opts->at, value, &given, n, name, text, min, max));
    if (given != 1 && given != n) {
        return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                              "%s has %zu values; expected 1 or %zu", name,
                              given, n);
    }
    for (size_t i = 0; i < n; i++) {
        const double x = value[given == 1 ? 0 : i];
        if (x != floor(x)) {
            return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                                  "%s = %g is not a whole number", name, x);
        }
        out[i] = (size_t)x;
    }
    return SOTTO_OK;
}
