/* SPDX-License-Identifier: MIT
 * The demo in the terminal: results, and digits with their scores.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/sotto/demo.h"

/* Digits side by side, cells of one digit, space between two, and scores under
 * each. */
#define COLUMNS 5
#define CELLS 14
#define CELL_ROWS 7
#define GAP 2
#define BEST 3

/* ---- Pixels -------------------------------------------------------------- */

/* Mean grey (0 … 255) of the part of image i that lies in cell (row, col) of a
 * grid of rows × cols. Several channels are averaged. */
static int cell_grey(const demo *d, uint64_t i, int row, int rows, int col,
                     int cols)
{
    const uint8_t *pixel = d->pixels + i * d->n_pixels;
    const size_t h = d->shape.height, w = d->shape.width;
    const size_t y0 = h * (size_t)row / (size_t)rows;
    const size_t y1 = h * ((size_t)row + 1) / (size_t)rows;
    const size_t x0 = w * (size_t)col / (size_t)cols;
    const size_t x1 = w * ((size_t)col + 1) / (size_t)cols;
    size_t sum = 0, count = 0;
    for (size_t c = 0; c < d->shape.channels; c++) {
        for (size_t y = y0; y < (y1 > y0 ? y1 : y0 + 1); y++) {
            for (size_t x = x0; x < (x1 > x0 ? x1 : x0 + 1); x++) {
                sum += pixel[(c * h + y) * w + x];
                count++;
            }
        }
    }
    return (int)(sum / count);
}

/* One of the 24 greys of a terminal with 256 colours. */
static int terminal_grey(int grey)
{
    return 232 + grey * 23 / 255;
}

/* A row of half blocks: the upper pixel in the foreground. */
static void unicode_row(text_out *out, const demo *d, uint64_t i, int row,
                        bool colours)
{
    static const char *const blocks[4] = {" ", "\u2584", "\u2580", "\u2588"};
    for (int col = 0; col < CELLS; col++) {
        const int top = cell_grey(d, i, 2 * row, 2 * CELL_ROWS, col, CELLS);
        const int low = cell_grey(d, i, 2 * row + 1, 2 * CELL_ROWS, col, CELLS);
        if (colours) {
            text_printf(out, "\033[38;5;%d;48;5;%dm\u2580", terminal_grey(top),
                        terminal_grey(low));
        } else {
            text_put(out, blocks[(top > 100 ? 2 : 0) + (low > 100 ? 1 : 0)]);
        }
    }
    if (colours) {
        text_put(out, "\033[0m");
    }
}

/* A row of characters, one for each cell. */
static void ascii_row(text_out *out, const demo *d, uint64_t i, int row)
{
    static const char ramp[] = " .:-=+*#%@";
    for (int col = 0; col < CELLS; col++) {
        /* Thin strokes fade in the mean: brighten. */
        const int grey = 2 * cell_grey(d, i, row, CELL_ROWS, col, CELLS);
        text_printf(out, "%c", ramp[(grey < 255 ? grey : 255) * 9 / 255]);
    }
}

/* ---- Scores -------------------------------------------------------------- */

/* The output with the k-th largest score. */
static size_t nth_best(const double *score, size_t n, size_t k)
{
    for (size_t o = 0; o < n; o++) {
        size_t larger = 0;
        for (size_t p = 0; p < n; p++) {
            larger += score[p] > score[o] || (score[p] == score[o] && p < o);
        }
        if (larger == k) {
            return o;
        }
    }
    return 0;
}

/* One of the best scores in as many characters as a digit is wide; the best is
 * marked right or wrong. */
static void score_row(text_out *out, const demo *d, uint64_t i, size_t k)
{
    const double *score = d->encrypted + i * d->n_outputs;
    char cell[64] = "";
    if (k < d->n_outputs) {
        const size_t o = nth_best(score, d->n_outputs, k);
        (void)snprintf(cell, sizeof cell, "%3zu %9.4g%s", o, score[o],
                       k > 0               ? " "
                       : o == d->labels[i] ? "*"
                                           : "!");
    }
    text_printf(out, "%-*s", CELLS, cell);
}

/* Up to COLUMNS digits side by side, and their scores below. */
static void digits_row(demo *d, const uint64_t *which, size_t n, bool unicode,
                       bool colours)
{
    text_out out;
    text_init(&out);
    for (int row = 0; row < CELL_ROWS; row++) {
        for (size_t k = 0; k < n; k++) {
            text_put(&out, k == 0 ? "  " : "");
            if (unicode) {
                unicode_row(&out, d, which[k], row, colours);
            } else {
                ascii_row(&out, d, which[k], row);
            }
            text_printf(&out, "%*s", k + 1 < n ? GAP : 0, "");
        }
        text_put(&out, "\n");
    }
    for (size_t row = 0; row < BEST; row++) {
        for (size_t k = 0; k < n; k++) {
            text_put(&out, k == 0 ? "  " : "");
            score_row(&out, d, which[k], row);
            text_printf(&out, "%*s", k + 1 < n ? GAP : 0, "");
        }
        text_put(&out, "\n");
    }
    app_say_text(d->app, &out);
}

void demo_show_digits(demo *d, const uint64_t *which, size_t n)
{
    const char *term = getenv("TERM");
    const bool unicode = !d->app->to_stderr && app_shows_unicode();
    const bool colours = unicode && getenv("NO_COLOR") == NULL &&
                         term != NULL && strstr(term, "256") != NULL;
    for (size_t at = 0; at < n; at += COLUMNS) {
        app_say(d->app, "%s", "");
        digits_row(d, which + at, n - at < COLUMNS ? n - at : COLUMNS, unicode,
                   colours);
    }
}

/* ---- Results ------------------------------------------------------------- */

/* How much an image deserves a look: 2 when encryption changes its label, 1
 * when the network is wrong, 0 otherwise. */
static int interest(const demo *d, uint64_t i)
{
    const size_t encrypted = demo_label(d, d->encrypted, i);
    const size_t plain = demo_label(d, d->exact, i);
    return encrypted != plain ? 2 : encrypted != d->labels[i];
}

/* Appends images of one interest until cap are chosen. */
static size_t choose(const demo *d, uint64_t *which, size_t n, size_t cap,
                     int wanted)
{
    for (uint64_t i = 0; i < d->n && n < cap; i++) {
        if (interest(d, i) == wanted) {
            which[n++] = i;
        }
    }
    return n;
}

size_t demo_choose(const demo *d, uint64_t *which, size_t cap, size_t max_wrong)
{
    /* Right ones come first, so that the others are counted before. */
    const size_t differing = choose(d, which, 0, max_wrong, 2);
    const size_t wrong = choose(d, which, differing, max_wrong, 1);
    const size_t right = choose(d, which, 0, cap - wrong, 0);
    return choose(d, which, choose(d, which, right, right + differing, 2),
                  right + wrong, 1);
}

/* One of the three errors against its prediction. */
static void show_error(demo *d, const char *name, const demo_error *error)
{
    app_say(d->app, "  %-10s worst %9.3g   predicted at most %9.3g%s", name,
            error->worst, error->predicted,
            error->worst <= error->predicted ? "" : "   BEYOND THE PREDICTION");
}

void demo_show(demo *d)
{
    const double n = (double)d->n;
    app_say(d->app,
            "\naccuracy    encrypted %.2f %%, plain %.2f %% of %" PRIu64
            "; the label differs for %" PRIu64,
            100 * (double)d->correct_encrypted / n,
            100 * (double)d->correct_plain / n, d->n, d->label_differences);
    app_say(d->app, "errors of the scores");
    if (d->plan->packing == NN_PACKING_BATCH) {
        show_error(d, "HE", &d->he);
        show_error(d, "rounding", &d->rounding);
    }
    show_error(d, "total", &d->total);
    const uint64_t room = d->encrypt.slots * d->encrypt.batches;
    if (d->n < room) {
        app_say(d->app,
                "waste       %" PRIu64 " of the %" PRIu64 " slots are empty: "
                "images for them would cost nothing",
                room - d->n, room);
    }
    uint64_t which[2 * COLUMNS];
    const size_t shown = demo_choose(d, which, COLUMNS, 1);
    app_say(d->app,
            "\nwhat the client decrypts (best %d scores; * right, ! "
            "wrong)",
            BEST);
    demo_show_digits(d, which, shown);
}
