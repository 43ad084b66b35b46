/* SPDX-License-Identifier: MIT
 * Charts of the demo's page: bits along the network, errors, times.
 */
#include <inttypes.h>
#include <math.h>

#include "apps/sotto/report.h"
#include "ckks/noise.h"

/* ---- Bits along the network ---------------------------------------------- */

/* What one row shows, in bits from the lowest. */
typedef struct bits {
    double noise; /* predicted error, in integer units */
    double scale; /* one */
    double value; /* largest value */
    double room;  /* modulus */
} bits;

/* A segment from one number of bits to another; nothing when it is empty. */
static void segment(text_out *out, const char *kind, double from, double to,
                    double all)
{
    if (to > from) {
        text_printf(out,
                    "<rect class=\"%s\" x=\"%.2f%%\" y=\"1\" width=\"%.2f%%\" "
                    "height=\"18\"><title>%s: %.1f bits</title></rect>",
                    kind, 100 * from / all, 100 * (to - from) / all, kind,
                    to - from);
    }
}

/* One row: name and kind, the bar, the figures. detail is HTML. */
static void bits_row(text_out *out, const char *name, const char *kind,
                     const char *detail, bits b, double all)
{
    text_put(out, "<div class=\"row\"><div class=\"what\">");
    report_escape(out, name);
    text_put(out, "<span>");
    report_escape(out, kind);
    text_put(out, "</span></div><div><svg width=\"100%\" height=\"20\">");
    segment(out, "room", 0, b.room, all);
    segment(out, "noise", 0, b.noise, all);
    segment(out, "exact", b.noise, b.scale, all);
    segment(out, "value", b.scale, b.value, all);
    text_printf(out, "</svg><div class=\"detail num\">%s</div></div></div>\n",
                detail);
}

/* The predicted error of a part of a step; what has no figure of its own is
 * bounded by that of the whole step. */
static double error_of(const demo *d, const nn_trace_step *s)
{
    return s->he_error > 0 ? s->he_error : d->plan->step[s->step].he_error;
}

/* The bits of a value of this scale, range and error at a level. */
static bits bits_of(const rlwe_context *context, int level, double scale,
                    double range, double he_error)
{
    bits b = {.scale = log2(scale),
              .value = log2(scale * range),
              .room = context->chain.level[level].log2_q};
    b.noise = fmax(log2(he_error * scale), 0);
    return b;
}

/* The row of the fresh ciphertexts, which are no step of the server. */
static void input_row(text_out *out, const demo *d, double all)
{
    const nn_plan *plan = d->plan;
    const double values =
        (double)nn_shape_size(&plan->input_shape) * (double)d->n;
    const double noise = ckks_noise_factor(values, plan->confidence) *
                         sqrt(ckks_noise_fresh(d->context));
    const double range = fmax(fabs(plan->input_min), fabs(plan->input_max));
    const bits b = bits_of(d->context, 0, plan->input_scale, range,
                           noise / plan->input_scale);
    char detail[192];
    (void)snprintf(detail, sizeof detail,
                   "level 0 of %.0f bits, scale %s, 2 parts, noise %s", b.room,
                   report_log2(plan->input_scale).text,
                   report_log2(noise / plan->input_scale).text);
    bits_row(out, "input", "encrypt", detail, b, all);
}

void report_bits(text_out *out, const demo *d)
{
    const double all = d->context->chain.level[0].log2_q;
    text_put(out,
             "<ul class=\"key\"><li><i style=\"--c:var(--warm)\"></i>noise "
             "(predicted bound)</li>"
             "<li><i style=\"--c:var(--main)\"></i>fraction that is right</li>"
             "<li><i style=\"--c:var(--second)\"></i>whole part</li>"
             "<li><i style=\"--c:var(--line)\"></i>free</li></ul>\n"
             "<div class=\"rows\">\n");
    input_row(out, d, all);
    for (int k = 0; k < d->trace->n_steps; k++) {
        const nn_trace_step *s = &d->trace->step[k];
        const bits b = bits_of(d->context, s->level, s->scale,
                               d->plan->step[s->step].range, error_of(d, s));
        char detail[192];
        (void)snprintf(detail, sizeof detail,
                       "level %d of %.0f bits, scale %s, %d parts, noise %s",
                       s->level, b.room, report_log2(s->scale).text,
                       s->n_components, report_log2(error_of(d, s)).text);
        bits_row(out, s->name, s->kind, detail, b, all);
    }
    text_put(out, "</div>\n");
}

/* ---- Errors -------------------------------------------------------------- */

/* Height of one distribution in pixels. */
#define HIST_PX 54

/* Bins that the chart shows: first … last - 1. */
typedef struct span {
    int first, last;
} span;

/* The bin that a size falls into; may lie outside. */
static int bin_of(double size)
{
    return size > 0 ? (int)floor(2 * (log2(size) - DEMO_BIN_FIRST)) : 0;
}

/* The bins worth showing: all errors but stray tiny ones, and the predictions.
 */
static span span_of(const demo *d)
{
    span s = {DEMO_BINS, 0};
    const demo_error *all[3] = {&d->total, &d->he, &d->rounding};
    const int n = d->plan->packing == NN_PACKING_SINGLE ? 1 : 3;
    for (int e = 0; e < n; e++) {
        for (int b = 0; b < DEMO_BINS; b++) {
            /* A few tiny errors far left say nothing. */
            if (all[e]->bin[b] * 2000 > d->n * d->n_outputs) {
                s.first = b < s.first ? b : s.first;
            }
            if (all[e]->bin[b] > 0 || b <= bin_of(all[e]->predicted)) {
                s.last = b + 1 > s.last ? b + 1 : s.last;
            }
        }
    }
    s.last = s.last + 1 < DEMO_BINS ? s.last + 1 : DEMO_BINS;
    s.first = s.first < s.last ? s.first : s.last - 1;
    return s;
}

/* Where a size lies on the axis, in percent. */
static double place(span s, double size)
{
    const double bin = 2 * (log2(size) - DEMO_BIN_FIRST);
    const double at = 100 * (bin - s.first) / (s.last - s.first);
    return fmin(fmax(at, 0), 100);
}

/* One distribution with its bound, as high as its own largest bin. */
static void distribution(text_out *out, const char *name, const char *what,
                         const char *kind, const demo_error *error, span s)
{
    uint64_t most = 1;
    for (int b = s.first; b < s.last; b++) {
        most = error->bin[b] > most ? error->bin[b] : most;
    }
    text_printf(out,
                "<div class=\"row\"><div class=\"what\">%s<span>%s</span>"
                "<span class=\"num\">worst %.2g, predicted %.2g</span></div>"
                "<svg width=\"100%%\" height=\"%d\">",
                name, what, error->worst, error->predicted, HIST_PX);
    const double width = 100.0 / (s.last - s.first);
    for (int b = s.first; b < s.last; b++) {
        const double height =
            (HIST_PX - 2) * (double)error->bin[b] / (double)most;
        if (error->bin[b] > 0) {
            text_printf(out,
                        "<rect class=\"%s\" x=\"%.2f%%\" y=\"%.1f\" "
                        "width=\"%.2f%%\" height=\"%.1f\"/>",
                        kind, width * (b - s.first),
                        HIST_PX - fmax(height, 1.5), 0.92 * width,
                        fmax(height, 1.5));
        }
    }
    const double limit = place(s, error->predicted);
    text_printf(out,
                "<line class=\"limit\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"0\" "
                "y2=\"%d\"/></svg></div>\n",
                limit, limit, HIST_PX);
}

void report_errors(text_out *out, const demo *d)
{
    const span s = span_of(d);
    text_put(out,
             "<ul class=\"key\"><li>how many scores have an error of this size"
             "</li><li><i class=\"line\" style=\"--c:var(--warm)\"></i>"
             "predicted bound</li></ul>\n<div class=\"rows\">\n");
    if (d->plan->packing == NN_PACKING_BATCH) {
        distribution(out, "HE error", "encrypted \u2212 rounded network",
                     "hist", &d->he, s);
        distribution(out, "Rounding error", "rounded \u2212 float network",
                     "hist2", &d->rounding, s);
    }
    distribution(out, "Total", "encrypted \u2212 float network", "hist3",
                 &d->total, s);
    text_put(out, "<div class=\"row\"><div class=\"what\"><span>size of the "
                  "error</span></div><svg width=\"100%\" height=\"16\">");
    const int step = (s.last - s.first) / 2 > 14 ? 8 : 4; /* of half bits */
    for (int b = (s.first + step - 1) / step * step; b < s.last; b += step) {
        text_printf(out,
                    "<text x=\"%.2f%%\" y=\"12\" text-anchor=\"middle\">2"
                    "<tspan dy=\"-4\" style=\"font-size:9px\">%d</tspan>"
                    "</text>",
                    100.0 * (b - s.first) / (s.last - s.first),
                    b / 2 + DEMO_BIN_FIRST);
    }
    text_put(out, "</svg></div></div>\n");
}

/* ---- Times --------------------------------------------------------------- */

/* One bar with its time behind; the longest leaves room for the text. */
static void time_row(text_out *out, const char *name, const char *kind,
                     double seconds, double most)
{
    const double width = most > 0 ? 78 * seconds / most : 0;
    text_put(out, "<div class=\"row\"><div class=\"what\">");
    report_escape(out, name);
    text_put(out, "<span>");
    report_escape(out, kind);
    text_printf(out,
                "</span></div><svg width=\"100%%\" height=\"20\">"
                "<rect class=\"hist\" x=\"0\" y=\"1\" width=\"%.2f%%\" "
                "height=\"18\" rx=\"2\"/>"
                "<text x=\"%.2f%%\" dx=\"8\" y=\"14\" class=\"num\">%s</text>"
                "</svg></div>\n",
                fmax(width, 0.3), fmax(width, 0.3),
                text_of_seconds(seconds).text);
}

/* Times are shown for everything, in single packing for one image. */
static double shown_share(const demo *d)
{
    return d->plan->packing == NN_PACKING_SINGLE ? 1 / (double)d->n : 1;
}

void report_times(text_out *out, const demo *d)
{
    const nn_trace *trace = d->trace;
    const double share = shown_share(d);
    double most = fmax(trace->seconds_read, trace->seconds_write);
    double rest = d->infer_seconds - trace->seconds_read - trace->seconds_write;
    for (int k = 0; k < trace->n_steps; k++) {
        most = fmax(most, trace->step[k].seconds);
        rest -= trace->step[k].seconds;
    }
    text_put(out, "<div class=\"rows\">\n");
    if (d->plan->packing == NN_PACKING_BATCH) {
        most = fmax(most, rest);
        time_row(out, "start", "plan, model, keys, memory", fmax(rest, 0),
                 most);
    }
    most *= share;
    time_row(out, "read", "ciphertexts from the file",
             share * trace->seconds_read, most);
    for (int k = 0; k < trace->n_steps; k++) {
        time_row(out, trace->step[k].name, trace->step[k].kind,
                 share * trace->step[k].seconds, most);
    }
    time_row(out, "write", "encrypted scores", share * trace->seconds_write,
             most);
    text_put(out, "</div>\n");
}

void report_table(text_out *out, const demo *d)
{
    text_put(out, "<div class=\"scroll\"><table><tr><th>step<th>kind<th>"
                  "ciphertexts<th>level<th>parts<th>log2 scale<th>predicted "
                  "HE error<th>time</tr>\n");
    for (int k = 0; k < d->trace->n_steps; k++) {
        const nn_trace_step *s = &d->trace->step[k];
        text_put(out, "<tr><td>");
        report_escape(out, s->name);
        text_put(out, "<td>");
        report_escape(out, s->kind);
        text_printf(out, "<td>%zu<td>%d<td>%d<td>%.3f<td>%s<td>%s</tr>\n",
                    s->n_ciphertexts, s->level, s->n_components, log2(s->scale),
                    report_log2(error_of(d, s)).text,
                    text_of_seconds(shown_share(d) * s->seconds).text);
    }
    text_put(out, "</table></div>\n");
}
