/* SPDX-License-Identifier: MIT
 * Digits on the demo's page: each image with its encrypted and plain scores.
 */
#include <inttypes.h>
#include <math.h>

#include "apps/sotto/report.h"

/* Cards, and how many of them may show what went wrong. */
#define CARDS 24
#define WRONG_CARDS 8
/* Shades of grey of a picture, and height of the score bars in pixels. */
#define SHADES 6
#define BARS_PX 64

/* Mean grey of all channels, 0 … SHADES. */
static int shade(const demo *d, uint64_t i, size_t y, size_t x)
{
    const uint8_t *pixel = d->pixels + i * d->n_pixels;
    size_t sum = 0;
    for (size_t c = 0; c < d->shape.channels; c++) {
        sum += pixel[(c * d->shape.height + y) * d->shape.width + x];
    }
    const size_t most = 255 * d->shape.channels;
    return (int)((sum * SHADES + most / 2) / most);
}

/* One path for each shade: runs of equal pixels as rectangles. */
static void picture(text_out *out, const demo *d, uint64_t i)
{
    text_printf(out,
                "<svg class=\"pic\" viewBox=\"0 0 %zu %zu\" role=\"img\" "
                "aria-label=\"image %" PRIu64 "\" fill=\"currentColor\" "
                "shape-rendering=\"crispEdges\">",
                d->shape.width, d->shape.height, i);
    for (int s = 1; s <= SHADES; s++) {
        bool open = false;
        for (size_t y = 0; y < d->shape.height; y++) {
            for (size_t x = 0; x < d->shape.width; x++) {
                size_t run = 0;
                while (x + run < d->shape.width &&
                       shade(d, i, y, x + run) == s) {
                    run++;
                }
                if (run > 0) {
                    text_put(out, open ? "" : "<path d=\"");
                    open = true;
                    text_printf(out, "M%zu %zuh%zuv1h-%zuz", x, y, run, run);
                    x += run;
                }
            }
        }
        if (open) {
            text_printf(out, "\" opacity=\"%.2f\"/>", (double)s / SHADES);
        }
    }
    text_put(out, "</svg>");
}

/* Smallest and largest of all scores of an image, 0 included. */
static void score_span(const demo *d, uint64_t i, double *low, double *high)
{
    *low = 0;
    *high = 1e-9;
    for (size_t o = 0; o < d->n_outputs; o++) {
        const double a = d->encrypted[i * d->n_outputs + o];
        const double b = d->exact[i * d->n_outputs + o];
        *low = fmin(*low, fmin(a, b));
        *high = fmax(*high, fmax(a, b));
    }
}

/* Encrypted scores as bars from zero, plain ones as marks on them. */
static void scores(text_out *out, const demo *d, uint64_t i)
{
    const size_t n = d->n_outputs;
    const double width = 100.0 / (double)n;
    const size_t best = demo_label(d, d->encrypted, i);
    double low, high;
    score_span(d, i, &low, &high);
    const double scale = BARS_PX / (high - low);
    const double zero = high * scale;
    text_printf(out, "<svg width=\"100%%\" height=\"%d\">", BARS_PX + 16);
    for (size_t o = 0; o < n; o++) {
        const double a = d->encrypted[i * n + o];
        const double b = d->exact[i * n + o];
        const double x = width * (double)o;
        const double top = zero - fmax(a, 0) * scale;
        text_printf(out,
                    "<g><title>%zu: encrypted %.5g, plain %.5g</title>"
                    "<rect class=\"%s\" x=\"%.1f%%\" y=\"%.1f\" "
                    "width=\"%.1f%%\" height=\"%.1f\"/>"
                    "<line class=\"mark\" x1=\"%.1f%%\" x2=\"%.1f%%\" "
                    "y1=\"%.1f\" y2=\"%.1f\"/></g>",
                    o, a, b, o == best ? "bar best" : "bar", x + 0.16 * width,
                    top, 0.68 * width, fmax(fabs(a) * scale, 0.5),
                    x + 0.06 * width, x + 0.94 * width, zero - b * scale,
                    zero - b * scale);
        if (n <= 12) {
            text_printf(out,
                        "<text x=\"%.1f%%\" y=\"%d\" text-anchor=\"middle\" "
                        "style=\"font-size:10px\">%zu</text>",
                        x + width / 2, BARS_PX + 14, o);
        }
    }
    text_printf(out,
                "<line class=\"axis\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" "
                "y2=\"%.1f\"/></svg>",
                zero, zero);
}

/* One image with its scores and what came of it. */
static void card(text_out *out, const demo *d, uint64_t i)
{
    const size_t label = demo_label(d, d->encrypted, i);
    const size_t plain = demo_label(d, d->exact, i);
    const bool right = label == d->labels[i];
    text_printf(out, "<div class=\"card%s\">", right ? "" : " wrong");
    picture(out, d, i);
    scores(out, d, i);
    text_printf(out, "<div class=\"cap\"><span>image %" PRIu64 "</span>", i);
    if (right) {
        text_printf(out, "<span class=\"ok\">%zu &#10003;</span>", label);
    } else {
        text_printf(out, "<span class=\"no\">%zu, is %d</span>", label,
                    d->labels[i]);
    }
    text_put(out, "</div>");
    if (plain != label) {
        text_printf(out, "<div class=\"cap no\">plain network: %zu</div>",
                    plain);
    }
    text_put(out, "</div>\n");
}

void report_digits(text_out *out, const demo *d)
{
    uint64_t which[CARDS];
    const size_t n = demo_choose(d, which, CARDS, WRONG_CARDS);
    if (d->n > 1) {
        text_printf(out,
                    "<p class=\"note\">The first digits%s. Of all %" PRIu64
                    ", %" PRIu64 " come out wrong; %" PRIu64
                    " %s from what the plain network says.</p>\n",
                    d->correct_encrypted < d->n ? ", then some that went wrong"
                                                : "",
                    d->n, d->n - d->correct_encrypted, d->label_differences,
                    d->label_differences == 1 ? "differs" : "differ");
    }
    text_put(
        out,
        "<ul class=\"key\"><li><i style=\"--c:var(--main)\"></i>score from "
        "the ciphertext</li><li><i class=\"line\" "
        "style=\"--c:var(--warm)\"></i>score of the plain network</li>"
        "</ul>\n<div class=\"digits\">\n");
    for (size_t k = 0; k < n; k++) {
        card(out, d, which[k]);
    }
    text_put(out, "</div>\n");
}
