/* SPDX-License-Identifier: MIT
 * Command lines from a table.
 *
 * A command lists its options and operands with the place of each value in a
 * structure; parsing fills the structure, and the help text comes from the
 * same table. A structure is zero before: zero means "not given", so every
 * option that takes a number has a lower bound above the zero that it means.
 *
 *     sotto encrypt mnist.plan --key=k --range 0:64 a.idx b.idx -o out.ct
 *                   operand                         operand (many)
 */
#ifndef APPS_SOTTO_OPTIONS_H
#define APPS_SOTTO_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apps/sotto/text.h"
#include "base/status.h"

#define OPT_MAX_REALS 96
#define OPT_MAX_OPTIONS 40

typedef enum opt_kind {
    OPT_FLAG,   /* bool */
    OPT_TEXT,   /* const char *, not empty */
    OPT_CHOICE, /* const char *: one word of `value`, which is "a|b|c" */
    OPT_COUNT,  /* uint64_t in [min, max] */
    OPT_BYTES,  /* the same; K, M, G or T behind it: 2^10, 2^20, … */
    OPT_REAL,   /* double in [min, max] */
    OPT_REALS,  /* opt_reals: 1 to OPT_MAX_REALS numbers in [min, max] */
    OPT_RANGE,  /* opt_pair a:b with a < b */
    OPT_PART    /* opt_pair i/n with 1 <= i <= n */
} opt_kind;

/* Two numbers: a:b or i/n. Both 0: not given. */
typedef struct opt_pair {
    uint64_t first;
    uint64_t second;
} opt_pair;

/* Numbers between commas. n == 0: not given. */
typedef struct opt_reals {
    size_t n;
    double value[OPT_MAX_REALS];
} opt_reals;

/* Several operands, in order. */
typedef struct opt_list {
    size_t n;
    const char **value; /* borrowed from the caller of opt_parse */
} opt_list;

/* One option. */
typedef struct opt_spec {
    const char *name; /* with its dashes: "--threads", "-o" */
    opt_kind kind;
    size_t offset;     /* of its value in the structure */
    const char *value; /* what the help calls its value; NULL for a flag */
    const char *help;
    double min, max;
    bool required;
} opt_spec;

/* One operand; the last may take all that are left (opt_list, at least one). */
typedef struct opt_operand {
    const char *name;
    size_t offset; /* of a const char *, or of an opt_list */
    bool many;
    bool optional;
} opt_operand;

/* What a command accepts. */
typedef struct opt_table {
    const opt_spec *option;
    size_t n_options;
    const opt_operand *operand;
    size_t n_operands;
} opt_table;

/* Fills the structure at values (zero before) from argument[0..n). The order of
 * the array may change, so that operands that stand together in the command
 * line are together in memory. "--name=value" is "--name value"; "--" ends the
 * options; "-" is an operand. tables: n_tables tables for one structure, of
 * which only the last may have operands.
 * error: SOTTO_ERR_PARAM with what was wrong and what was expected. */
sotto_status opt_parse(void *values, const opt_table *table, size_t n_tables,
                       const char **argument, size_t n,
                       sotto_error *err) SOTTO_MUST_CHECK;

/* Whether "--help" or "-h" stands among the arguments as an option. */
bool opt_wants_help(const char *const *argument, size_t n);

/* Writes "MODEL -o FILE [options]": the line that shows a command's use. */
void opt_usage(text_out *out, const opt_table *table);

/* Writes one line, or more, for each option. */
void opt_help(text_out *out, const opt_table *table);

#endif
