/* SPDX-License-Identifier: MIT
 * What every command has: common options, threads, progress, messages, the
 * wish to stop.
 *
 * Results of a command go to standard output, unless an output of the command
 * goes there; messages, warnings and progress go to standard error.
 */
#ifndef APPS_SOTTO_APP_H
#define APPS_SOTTO_APP_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apps/sotto/json.h"
#include "apps/sotto/options.h"
#include "apps/sotto/text.h"
#include "base/pool.h"
#include "base/status.h"
#include "nn/run/run.h"

#define APP_VERSION "0.1.0"

/* Options of every command: the first member of each command's structure. */
typedef struct app_common {
    bool help;
    bool quiet;
    uint64_t threads; /* 0: one for each processor */
    const char *json; /* NULL: none */
} app_common;

/* A command being run. */
typedef struct app_state {
    const char *command; /* its name */
    bool quiet;
    bool usage_error; /* what failed is the command line: exit code 2 */
    bool to_stderr;   /* results give way to an output on standard output */
    int outputs_on_stdout;
    sotto_pool *pool;
    const atomic_bool *cancel;                  /* the user wants to stop … */
    const volatile sig_atomic_t *cancel_signal; /* … and the same for train */
    bool bar;                                   /* draw progress */
    bool bar_drawn; /* a bar stands on the present line */
    double bar_last;
    const char *bar_label; /* stands for the library's word if not NULL */
} app_state;

/* A command of the program. */
typedef struct app_command {
    const char *name;
    const char *summary; /* one line, for the list */
    const char *details; /* paragraph for --help */
    opt_table table;
    size_t values_bytes; /* of its structure, which begins with app_common */
    sotto_status (*run)(app_state *app, void *values, sotto_error *err);
} app_command;

/* Fails because of the command line (exit code 2). */
sotto_status app_usage(app_state *app, sotto_error *err, const char *format,
                       ...) SOTTO_PRINTF(3, 4);

/* Notes that an output goes to path (NULL: none): results give way when it is
 * "-". Fails (exit code 2) when two outputs want standard output. */
sotto_status app_claim_output(app_state *app, const char *path,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Seconds on a clock that never goes back. */
double app_seconds(void);

/* "sotto COMMAND: warning: …" on standard error, --quiet or not. */
void app_warn(app_state *app, const char *format, ...) SOTTO_PRINTF(2, 3);

/* A line of results; nothing with --quiet. */
void app_say(app_state *app, const char *format, ...) SOTTO_PRINTF(2, 3);

/* The same for a text in memory, as it is. */
void app_say_text(app_state *app, const text_out *t);

/* SOTTO_ERR_CANCELLED once the user asked to stop. */
sotto_status app_check_cancel(const app_state *app,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Options of a library run: pool, cancellation, and the progress bar with
 * label in front (NULL: the library's word). */
nn_run_options app_run_options(app_state *app, const char *label);

/* Draws the bar (app_progress is a nn_progress_hook; arg: the app) and takes
 * it away. */
void app_progress(void *arg, const nn_progress *progress);
void app_progress_end(app_state *app);

/* The --json file of a command; not open when none was asked for. */
typedef struct app_json {
    bool open;
    json_out j;
    text_out out;
} app_json;

/* Starts the file with its outermost object; path NULL: stays closed, and
 * app_json_close does nothing. error: as text_open.
 * owner: app_json_close, or text_discard on its text when a command fails in
 * between. */
sotto_status app_json_open(app_json *file, const char *path,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Ends the object and puts the file in place. error: as text_close. */
sotto_status app_json_close(app_json *file, sotto_error *err) SOTTO_MUST_CHECK;

/* Whether standard output is a terminal that shows UTF-8. */
bool app_shows_unicode(void);

#endif
