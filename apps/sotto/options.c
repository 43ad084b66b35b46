/* SPDX-License-Identifier: MIT
 * Command lines from a table.
 */
#include "apps/sotto/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Values --------------------------------------------------------------
 * Every parser takes the whole of a text or fails. */

/* Reads digits; *rest is where they end. */
static bool scan_count(uint64_t *out, const char *word, const char **rest)
{
    if (!isdigit((unsigned char)*word)) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(word, &end, 10);
    *out = (uint64_t)value;
    *rest = end;
    return errno == 0;
}

/* Two numbers with one character between them and nothing behind. */
static bool scan_pair(opt_pair *out, const char *word, char between)
{
    const char *rest = NULL;
    return scan_count(&out->first, word, &rest) && *rest == between &&
           scan_count(&out->second, rest + 1, &rest) && *rest == '\0';
}

/* A number as strtod reads it, but neither blank, infinite nor NaN. */
static bool scan_real(double *out, const char *word, const char **rest)
{
    char *end = NULL;
    *out = strtod(word, &end);
    *rest = end;
    return end != word && !isspace((unsigned char)*word) && isfinite(*out);
}

/* The message for a value beyond its bounds. */
static sotto_status bounds_fail(const opt_spec *spec, const char *word,
                                sotto_error *err)
{
    return sotto_fail(err, SOTTO_ERR_PARAM,
                      "%s %.60s is out of range, expected %.15g to %.15g",
                      spec->name, word, spec->min, spec->max);
}

/* The message for a value that is none. */
static sotto_status word_fail(const opt_spec *spec, const char *word,
                              const char *expected, sotto_error *err)
{
    return sotto_fail(err, SOTTO_ERR_PARAM,
                      "%s has the value '%.60s', expected %s", spec->name, word,
                      expected);
}

/* The power of two that a letter behind a number stands for; 0: none. */
static int scan_unit(const char **rest)
{
    static const char units[] = "KMGT";
    const char *unit = **rest != '\0' ? strchr(units, **rest) : NULL;
    if (unit == NULL) {
        return 0;
    }
    (*rest)++;
    return 10 * (int)(unit - units + 1);
}

/* A whole number within its bounds, as it is or of bytes. */
static sotto_status parse_count(const opt_spec *spec, uint64_t *out,
                                const char *word, sotto_error *err)
{
    const char *rest = NULL;
    uint64_t value = 0;
    const bool bytes = spec->kind == OPT_BYTES;
    const bool found = scan_count(&value, word, &rest);
    const int shift = found && bytes ? scan_unit(&rest) : 0;
    if (!found || *rest != '\0') {
        return word_fail(spec, word,
                         bytes ? "a whole number, or one with K, M, G or T"
                               : "a whole number",
                         err);
    }
    if (value > UINT64_MAX >> shift) {
        return bounds_fail(spec, word, err);
    }
    value <<= shift;
    if ((double)value < spec->min || (double)value > spec->max) {
        return bounds_fail(spec, word, err);
    }
    *out = value;
    return SOTTO_OK;
}

/* Up to capacity numbers between commas; *n receives how many. */
static sotto_status parse_reals(const opt_spec *spec, double *out, size_t *n,
                                size_t capacity, const char *word,
                                sotto_error *err)
{
    const char *at = word;
    size_t found = 0;
    do {
        double value = 0;
        at += found > 0;
        if (found == capacity) {
            return word_fail(spec, word, "fewer numbers", err);
        }
        if (!scan_real(&value, at, &at) || (*at != '\0' && *at != ',')) {
            return word_fail(
                spec, word,
                capacity == 1 ? "a number" : "numbers between commas", err);
        }
        if (value < spec->min || value > spec->max) {
            return bounds_fail(spec, word, err);
        }
        out[found++] = value;
    } while (*at == ',');
    *n = found;
    return SOTTO_OK;
}

/* Finds word among the alternatives "a|b|c". */
static bool is_choice(const char *alternatives, const char *word)
{
    const size_t len = strlen(word);
    while (len > 0) {
        const size_t n = strcspn(alternatives, "|");
        if (n == len && strncmp(alternatives, word, n) == 0) {
            return true;
        }
        if (alternatives[n] == '\0') {
            break;
        }
        alternatives += n + 1;
    }
    return false;
}

/* A word, one of the alternatives if there are any. */
static sotto_status parse_text(const opt_spec *spec, const char **out,
                               const char *word, sotto_error *err)
{
    if (spec->kind == OPT_CHOICE && !is_choice(spec->value, word)) {
        return word_fail(spec, word, spec->value, err);
    }
    if (*word == '\0') {
        return word_fail(spec, word, "something", err);
    }
    *out = word;
    return SOTTO_OK;
}

/* FIRST:END or I/N. */
static sotto_status parse_pair(const opt_spec *spec, opt_pair *out,
                               const char *word, sotto_error *err)
{
    opt_pair pair = {0, 0};
    if (spec->kind == OPT_RANGE) {
        if (!scan_pair(&pair, word, ':') || pair.first >= pair.second) {
            return word_fail(spec, word,
                             "FIRST:END with FIRST < END, counted from 0", err);
        }
    } else if (!scan_pair(&pair, word, '/') || pair.first < 1 ||
               pair.first > pair.second) {
        return word_fail(spec, word, "I/N with I from 1 to N", err);
    }
    *out = pair;
    return SOTTO_OK;
}

/* Reads the value of any kind of option into its place. */
static sotto_status parse_value(const opt_spec *spec, void *values,
                                const char *word, sotto_error *err)
{
    void *place = (char *)values + spec->offset;
    size_t one = 0;
    switch (spec->kind) {
    case OPT_TEXT:
    case OPT_CHOICE:
        return parse_text(spec, (const char **)place, word, err);
    case OPT_COUNT:
    case OPT_BYTES:
        return parse_count(spec, (uint64_t *)place, word, err);
    case OPT_REAL:
        return parse_reals(spec, (double *)place, &one, 1, word, err);
    case OPT_REALS: {
        opt_reals *list = place;
        return parse_reals(spec, list->value, &list->n, OPT_MAX_REALS, word,
                           err);
    }
    case OPT_RANGE:
    case OPT_PART:
        return parse_pair(spec, (opt_pair *)place, word, err);
    case OPT_FLAG:
        break;
    }
    *(bool *)place = true;
    return SOTTO_OK;
}

/* ---- The line ------------------------------------------------------------ */

/* Where a parse stands. */
typedef struct parse {
    void *values;
    const opt_table *table;
    size_t n_tables;
    const char **argument;
    size_t n;
    size_t at;
    size_t n_operands; /* gathered at the front of argument */
    bool seen[OPT_MAX_OPTIONS];
} parse;

/* The k-th option of all tables, NULL past the end. */
static const opt_spec *nth_option(const parse *p, size_t k)
{
    for (size_t t = 0; t < p->n_tables; t++) {
        if (k < p->table[t].n_options) {
            return &p->table[t].option[k];
        }
        k -= p->table[t].n_options;
    }
    return NULL;
}

/* Number of letters that two names share at their beginning. */
static size_t common_prefix(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] != '\0' && a[n] == b[n]) {
        n++;
    }
    return n;
}

/* The message for an option that is not in the tables, with the name that it
 * resembles most. */
static sotto_status unknown_fail(const parse *p, const char *name,
                                 sotto_error *err)
{
    const char *nearest = NULL;
    size_t best = 3; /* "--" and one letter are no resemblance */
    for (size_t k = 0; nth_option(p, k) != NULL; k++) {
        const size_t n = common_prefix(nth_option(p, k)->name, name);
        if (n > best) {
            best = n;
            nearest = nth_option(p, k)->name;
        }
    }
    if (nearest != NULL) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "unknown option %.60s, did you mean %s?", name,
                          nearest);
    }
    return sotto_fail(err, SOTTO_ERR_PARAM, "unknown option %.60s", name);
}

/* Takes the option at argument[at], with its value; at moves behind it. */
static sotto_status take_option(parse *p, sotto_error *err)
{
    const char *name = p->argument[p->at++];
    const size_t len = strcspn(name, "=");
    const bool has_value = strncmp(name, "--", 2) == 0 && name[len] == '=';
    const opt_spec *spec = NULL;
    size_t k = 0;
    for (; (spec = nth_option(p, k)) != NULL; k++) {
        if (has_value ? strlen(spec->name) == len &&
                            strncmp(spec->name, name, len) == 0
                      : strcmp(spec->name, name) == 0) {
            break;
        }
    }
    if (spec == NULL) {
        return unknown_fail(p, name, err);
    }
    SOTTO_ASSERT(k < OPT_MAX_OPTIONS);
    if (p->seen[k]) {
        return sotto_fail(err, SOTTO_ERR_PARAM, "%s is given twice",
                          spec->name);
    }
    p->seen[k] = true;
    const char *word = has_value ? name + len + 1 : NULL;
    if (spec->kind == OPT_FLAG && has_value) {
        return sotto_fail(err, SOTTO_ERR_PARAM, "%s takes no value",
                          spec->name);
    }
    if (spec->kind != OPT_FLAG && !has_value) {
        if (p->at == p->n) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "%s lacks its value, expected %s", spec->name,
                              spec->value);
        }
        word = p->argument[p->at++];
    }
    return parse_value(spec, p->values, word, err);
}

/* Takes every word: options to their places, operands to the front. */
static sotto_status take_all(parse *p, sotto_error *err)
{
    bool options = true;
    while (p->at < p->n) {
        const char *word = p->argument[p->at];
        if (options && strcmp(word, "--") == 0) {
            options = false;
            p->at++;
        } else if (options && word[0] == '-' && word[1] != '\0') {
            SOTTO_TRY(take_option(p, err));
        } else {
            p->argument[p->n_operands++] = word;
            p->at++;
        }
    }
    return SOTTO_OK;
}

/* Hands the gathered operands to their places. */
static sotto_status place_operands(const parse *p, sotto_error *err)
{
    const opt_table *table = &p->table[p->n_tables - 1];
    size_t used = 0;
    for (size_t k = 0; k < table->n_operands; k++) {
        const opt_operand *operand = &table->operand[k];
        void *place = (char *)p->values + operand->offset;
        if (used == p->n_operands && operand->optional) {
            break;
        }
        if (used == p->n_operands) {
            return sotto_fail(err, SOTTO_ERR_PARAM, "%s is missing",
                              operand->name);
        }
        if (operand->many) {
            *(opt_list *)place =
                (opt_list){p->n_operands - used, p->argument + used};
            used = p->n_operands;
        } else {
            *(const char **)place = p->argument[used++];
        }
    }
    if (used < p->n_operands) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "one argument too many: '%.60s'", p->argument[used]);
    }
    return SOTTO_OK;
}

sotto_status opt_parse(void *values, const opt_table *table, size_t n_tables,
                       const char **argument, size_t n, sotto_error *err)
{
    parse p = {.values = values,
               .table = table,
               .n_tables = n_tables,
               .argument = argument,
               .n = n};
    SOTTO_TRY(take_all(&p, err));
    SOTTO_TRY(place_operands(&p, err));
    for (size_t k = 0; nth_option(&p, k) != NULL; k++) {
        const opt_spec *spec = nth_option(&p, k);
        if (spec->required && !p.seen[k]) {
            return sotto_fail(err, SOTTO_ERR_PARAM, "%s %s is missing",
                              spec->name, spec->value);
        }
    }
    return SOTTO_OK;
}

bool opt_wants_help(const char *const *argument, size_t n)
{
    for (size_t k = 0; k < n && strcmp(argument[k], "--") != 0; k++) {
        if (strcmp(argument[k], "--help") == 0 ||
            strcmp(argument[k], "-h") == 0) {
            return true;
        }
    }
    return false;
}

/* ---- Help ---------------------------------------------------------------- */

void opt_usage(text_out *out, const opt_table *table)
{
    for (size_t k = 0; k < table->n_operands; k++) {
        const opt_operand *operand = &table->operand[k];
        text_printf(out, operand->optional ? " [%s%s]" : " %s%s", operand->name,
                    operand->many ? "..." : "");
    }
    for (size_t k = 0; k < table->n_options; k++) {
        if (table->option[k].required) {
            text_printf(out, " %s %s", table->option[k].name,
                        table->option[k].value);
        }
    }
    text_put(out, " [options]");
}

void opt_help(text_out *out, const opt_table *table)
{
    for (size_t k = 0; k < table->n_options; k++) {
        const opt_spec *spec = &table->option[k];
        char head[64];
        (void)snprintf(head, sizeof head, "%s%s%s", spec->name,
                       spec->value != NULL ? " " : "",
                       spec->value != NULL ? spec->value : "");
        const char *line = spec->help;
        do {
            const size_t n = strcspn(line, "\n");
            text_printf(out, "  %-25s %.*s\n", head, (int)n, line);
            head[0] = '\0';
            line += n + (line[n] != '\0');
        } while (*line != '\0');
    }
}
