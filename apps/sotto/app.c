/* SPDX-License-Identifier: MIT
 * What every command has.
 */
#include "apps/sotto/app.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Characters of the bar and time between two drawings. */
#define BAR_CHARS 28
#define BAR_PAUSE_S 0.1

sotto_status app_usage(app_state *app, sotto_error *err, const char *format,
                       ...)
{
    char message[384];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    app->usage_error = true;
    return sotto_fail(err, SOTTO_ERR_PARAM, "%s", message);
}

sotto_status app_claim_output(app_state *app, const char *path,
                              sotto_error *err)
{
    if (path == NULL || strcmp(path, "-") != 0) {
        return SOTTO_OK;
    }
    app->to_stderr = true;
    app->outputs_on_stdout++;
    if (app->outputs_on_stdout > 1) {
        return app_usage(app, err,
                         "two outputs go to standard output, expected one; "
                         "name a file instead of one '-'");
    }
    return SOTTO_OK;
}

double app_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void app_warn(app_state *app, const char *format, ...)
{
    app_progress_end(app);
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "sotto %s: warning: ", app->command);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

/* Where results of this command go. */
static FILE *results(const app_state *app)
{
    return app->to_stderr ? stderr : stdout;
}

void app_say(app_state *app, const char *format, ...)
{
    if (app->quiet) {
        return;
    }
    app_progress_end(app);
    va_list args;
    va_start(args, format);
    (void)vfprintf(results(app), format, args);
    va_end(args);
    (void)fputc('\n', results(app));
    (void)fflush(results(app));
}

void app_say_text(app_state *app, const text_out *t)
{
    if (!app->quiet) {
        app_progress_end(app);
        (void)fwrite(t->buffer, 1, t->fill, results(app));
        (void)fflush(results(app));
    }
}

sotto_status app_check_cancel(const app_state *app, sotto_error *err)
{
    if (atomic_load(app->cancel)) {
        return sotto_fail(err, SOTTO_ERR_CANCELLED, "stopped by a signal");
    }
    return SOTTO_OK;
}

nn_run_options app_run_options(app_state *app, const char *label)
{
    app->bar_label = label;
    app->bar_last = 0;
    return (nn_run_options){.pool = app->pool,
                            .progress = app->bar ? app_progress : NULL,
                            .progress_arg = app,
                            .cancel = app->cancel};
}

/* Whole seconds, rounded up: the bar's last second is not 0. */
static text_value seconds_in_words(double seconds)
{
    text_value words;
    (void)snprintf(words.text, sizeof words.text, "%.0f s", ceil(seconds));
    return words;
}

void app_progress(void *arg, const nn_progress *progress)
{
    app_state *app = arg;
    const double now = app_seconds();
    if (!app->bar || progress->total == 0 ||
        now - app->bar_last < BAR_PAUSE_S) {
        return;
    }
    app->bar_last = now;
    const double part = (double)progress->done / (double)progress->total;
    const double share = part < 1 ? part : 1;
    char bar[BAR_CHARS + 1];
    for (int i = 0; i < BAR_CHARS; i++) {
        bar[i] = i < (int)(share * BAR_CHARS) ? '#' : '.';
    }
    bar[BAR_CHARS] = '\0';
    char left[64] = "";
    /* The first few percent tell little of the rest. */
    if (share >= 0.03) {
        const double seconds = progress->seconds * (1 - share) / share;
        (void)snprintf(left, sizeof left, "%s left",
                       seconds < 60 ? seconds_in_words(seconds).text
                                    : text_of_seconds(seconds).text);
    }
    const char *label =
        app->bar_label != NULL ? app->bar_label : progress->what;
    /* Clears what a longer line before it leaves. */
    (void)fprintf(stderr, "\r%-10.24s [%s] %3.0f %%  %s\033[K", label, bar,
                  100 * share, left);
    (void)fflush(stderr);
    app->bar_drawn = true;
}

void app_progress_end(app_state *app)
{
    if (app->bar_drawn) {
        (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr);
        app->bar_drawn = false;
    }
}

sotto_status app_json_open(app_json *file, const char *path, sotto_error *err)
{
    file->open = false;
    text_init(&file->out);
    if (path == NULL) {
        return SOTTO_OK;
    }
    SOTTO_TRY(text_open(&file->out, path, err));
    file->open = true;
    json_init(&file->j, &file->out);
    json_object(&file->j, NULL);
    return SOTTO_OK;
}

sotto_status app_json_close(app_json *file, sotto_error *err)
{
    if (!file->open) {
        return SOTTO_OK;
    }
    file->open = false;
    json_end(&file->j);
    return text_close(&file->out, err);
}

/* Whether the locale that the environment names is one of UTF-8. */
static bool utf8_locale(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && *value != '\0') {
            return strstr(value, "UTF-8") != NULL ||
                   strstr(value, "utf8") != NULL ||
                   strstr(value, "UTF8") != NULL ||
                   strstr(value, "utf-8") != NULL;
        }
    }
    return false;
}

bool app_shows_unicode(void)
{
    return isatty(STDOUT_FILENO) && utf8_locale();
}
