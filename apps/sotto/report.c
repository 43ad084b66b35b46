/* SPDX-License-Identifier: MIT
 * The demo's page: one file, nothing loaded from elsewhere.
 */
#include "apps/sotto/report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"

void report_escape(text_out *out, const char *words)
{
    size_t left = strlen(words);
    while (left > 0) {
        size_t n = text_utf8_length(words, left);
        const char c = *words;
        if (n == 0 || (unsigned char)c < 0x20 || c == 0x7f) {
            text_put(out, "&#xfffd;");
            n = 1;
        } else if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'') {
            text_printf(out, "&#%d;", c);
        } else {
            text_bytes(out, words, n);
        }
        words += n;
        left -= n;
    }
}

text_value report_log2(double value)
{
    text_value shown;
    if (value > 0 && isfinite(value)) {
        const double power = log2(value);
        (void)snprintf(shown.text, sizeof shown.text, "2<sup>%s%.1f</sup>",
                       power < 0 ? "\u2212" : "", fabs(power));
    } else {
        (void)snprintf(shown.text, sizeof shown.text, "%s",
                       value == 0 ? "0" : "?");
    }
    return shown;
}

/* One figure with two lines of explanation. */
static void tile(text_out *out, const char *value, const char *line1,
                 const char *line2)
{
    text_printf(out,
                "<div class=\"tile\"><b>%s</b><span>%s</span><span>%s</span>"
                "</div>\n",
                value, line1, line2);
}

/* The server's time: of the whole batch, or of one image where images come one
 * by one. */
static void server_tile(text_out *out, const demo *d)
{
    const int threads = sotto_pool_threads(d->app->pool);
    const text_value image = text_of_seconds(demo_image_seconds(d));
    char line[96];
    if (d->plan->packing == NN_PACKING_SINGLE) {
        (void)snprintf(line, sizeof line, "on %d thread%s, once set up",
                       threads, threads == 1 ? "" : "s");
        tile(out, image.text, "an image at the server", line);
        return;
    }
    (void)snprintf(line, sizeof line, "%s per image on %d thread%s", image.text,
                   threads, threads == 1 ? "" : "s");
    tile(out, text_of_seconds(d->infer_seconds).text, "at the server", line);
}

/* The result in five figures. */
static void tiles(text_out *out, const demo *d)
{
    const double n = (double)d->n;
    const show_parameters p = show_parameters_of(d->context);
    char value[64], line[96];
    text_put(out, "<div class=\"tiles\">\n");
    (void)snprintf(value, sizeof value, "%.2f %%",
                   100 * (double)d->correct_encrypted / n);
    (void)snprintf(line, sizeof line, "plain network: %.2f %%",
                   100 * (double)d->correct_plain / n);
    tile(out, value, "right on ciphertexts", line);
    (void)snprintf(value, sizeof value, "%" PRIu64, d->label_differences);
    (void)snprintf(line, sizeof line, "of %" PRIu64 " labels differ", d->n);
    tile(out, value, line, "from the plain network's");
    server_tile(out, d);
    (void)snprintf(value, sizeof value, "%.2g", d->total.worst);
    (void)snprintf(line, sizeof line, "predicted: at most %.2g",
                   d->total.predicted);
    tile(out, value, "worst error of a score", line);
    (void)snprintf(value, sizeof value, "%d bits", p.security);
    (void)snprintf(line, sizeof line, "QP of %.0f bits, %d allowed", p.log2_qp,
                   p.bound);
    tile(out, p.security > 0 ? value : "insecure", "of security", line);
    text_put(out, "</div>\n");
}

/* One step, coloured by who does it. */
static void flow_item(text_out *out, const char *who, const char *what,
                      double seconds, const char *detail)
{
    text_printf(out,
                "<li class=\"%s\"><i>%s</i><b>%s</b><span class=\"time\">%s"
                "</span><br>%s</li>\n",
                who, who, what, text_of_seconds(seconds).text, detail);
}

/* The five steps in their order. */
static void flow(text_out *out, const demo *d)
{
    char detail[160];
    text_put(out, "<ol class=\"flow\">\n");
    flow_item(out, "owner", "plan", d->plan_seconds,
              "fixes ring, moduli, scales; keeps the weights");
    (void)snprintf(detail, sizeof detail, "secret key %s; the server gets %s",
                   text_of_bytes(d->keygen.secret_bytes).text,
                   d->keygen.eval_bytes > 0
                       ? text_of_bytes(d->keygen.eval_bytes).text
                       : "no key");
    flow_item(out, "client", "keygen", d->keygen.seconds, detail);
    (void)snprintf(detail, sizeof detail, "%" PRIu64 " image%s %s", d->n,
                   d->n == 1 ? " becomes" : "s become",
                   text_of_bytes(d->encrypt.bytes).text);
    flow_item(out, "client", "encrypt", d->encrypt.seconds, detail);
    (void)snprintf(detail, sizeof detail,
                   "without the secret key; %s of scores, encrypted",
                   text_of_bytes(d->output_bytes).text);
    flow_item(out, "server", "infer", d->infer_seconds, detail);
    (void)snprintf(detail, sizeof detail,
                   "checks the noise: %s, at most %s expected",
                   report_log2(d->decrypt.noise_std).text,
                   report_log2(d->decrypt.predicted_noise_std).text);
    flow_item(out, "client", "decrypt", d->decrypt.seconds, detail);
    text_put(out, "</ol>\n");
}

/* One row of the parameters; name is ours, value is escaped. */
static void fact(text_out *out, const char *name, const char *value)
{
    text_put(out, "<tr><td>");
    text_put(out, name);
    text_put(out, "<td>");
    report_escape(out, value);
    text_put(out, "</tr>\n");
}

/* Parameters of the encryption. */
static void ring_facts(text_out *out, const demo *d)
{
    const show_parameters p = show_parameters_of(d->context);
    char value[320], moduli[256];
    const bool single = d->plan->packing == NN_PACKING_SINGLE;
    (void)snprintf(value, sizeof value,
                   single ? "N = %zu, one image over %zu slots"
                          : "N = %zu, %zu images per ciphertext",
                   p.n, single ? p.n / 2 : nn_plan_slots(d->plan));
    fact(out, "ring", value);
    show_moduli(moduli, sizeof moduli, d->context,
                rlwe_level_set(d->context, 0));
    (void)snprintf(value, sizeof value, "%s bits, log2 QP = %.1f", moduli,
                   p.log2_qp);
    fact(out, "moduli", value);
    (void)snprintf(value, sizeof value,
                   "%d bits: ternary secret, classical attacks, at most %d "
                   "bits of QP",
                   p.security, p.bound);
    fact(out, "security", value);
    (void)snprintf(value, sizeof value, "%d switching key%s, %s",
                   d->keygen.n_keys, d->keygen.n_keys == 1 ? "" : "s",
                   text_of_bytes(d->keygen.eval_bytes).text);
    fact(out, "keys for the server", d->keygen.eval_bytes > 0 ? value : "none");
    (void)snprintf(value, sizeof value, "%s in, %s out, in %" PRIu64 " %s%s",
                   text_of_bytes(d->encrypt.bytes).text,
                   text_of_bytes(d->output_bytes).text, d->encrypt.batches,
                   single ? "image" : "batch",
                   d->encrypt.batches == 1 ? ""
                   : single                ? "s"
                                           : "es");
    fact(out, "traffic", value);
}

/* Where the values of one image lie. */
static void layout_facts(text_out *out, const demo *d)
{
    char layout[NN_LAYOUT_TEXT_BYTES];
    if (d->plan->packing != NN_PACKING_SINGLE) {
        return;
    }
    fact(out, "layout of the image",
         nn_layout_text(layout, nn_plan_layout(d->plan, 0)));
    fact(out, "layout of the scores",
         nn_layout_text(layout,
                        nn_plan_layout(d->plan, (size_t)d->plan->n_steps)));
}

/* What it ran on. */
static void machine_facts(text_out *out, const demo *d)
{
    const show_parameters p = show_parameters_of(d->context);
    char value[320], cpu[128];
    sotto_cpu_name(cpu, sizeof cpu);
    (void)snprintf(value, sizeof value, "%s, %d thread%s, %s kernels", cpu,
                   sotto_pool_threads(d->app->pool),
                   sotto_pool_threads(d->app->pool) == 1 ? "" : "s", p.backend);
    fact(out, "machine", value);
    fact(out, "memory", text_of_bytes(sotto_peak_bytes()).text);
    fact(out, "whole demo", text_of_seconds(d->total_seconds).text);
}

/* What is done once in single packing; in batch packing how many slots were
 * empty, if any. */
static void note_times(text_out *out, const demo *d)
{
    if (d->plan->packing == NN_PACKING_SINGLE) {
        text_printf(out,
                    "<p class=\"note\">Of one image, on average. Before the "
                    "first one, keys are read and weights encoded, once: %s."
                    "</p>\n",
                    text_of_seconds(demo_setup_seconds(d)).text);
    }
    const uint64_t room = d->encrypt.slots * d->encrypt.batches;
    if (d->n < room) {
        text_printf(out,
                    "<p class=\"note\">%" PRIu64 " of the %" PRIu64 " slots "
                    "were empty: images for them would have cost nothing."
                    "</p>\n",
                    room - d->n, room);
    }
}

/* Everything up to the first figure. */
static void head(text_out *out, const demo *d)
{
    text_put(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n"
                  "<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
                  "content=\"width=device-width,initial-scale=1\">\n"
                  "<title>Sotto demo</title>\n");
    report_style(out);
    text_printf(out,
                "</head>\n<body>\n<main>\n<h1>The server never saw %s</h1>\n"
                "<p class=\"lede\">%" PRIu64 " handwritten digit%s %s "
                "encrypted, run through <code>",
                d->n == 1 ? "this digit" : "these digits", d->n,
                d->n == 1 ? "" : "s", d->n == 1 ? "was" : "were");
    report_escape(out, d->model_path);
    text_put(out, "</code> as ciphertexts, without the secret key, and "
                  "decrypted by their owner.</p>\n");
}

/* Everything behind the tiles. */
static void sections(text_out *out, const demo *d)
{
    const bool single = d->plan->packing == NN_PACKING_SINGLE;
    text_put(out, "<h2>Five steps, three parties</h2>\n");
    flow(out, d);
    text_put(out, "<h2>What the client decrypts</h2>\n");
    report_digits(out, d);
    text_put(out, single
                      ? "<h2>Errors against their prediction</h2>\n<p "
                        "class=\"note\">From encryption and from weights that "
                        "are rounded. The axis counts powers of two.</p>\n"
                      : "<h2>Three errors against their predictions</h2>\n<p "
                        "class=\"note\">HE error comes from encryption, "
                        "rounding error from weights that are integers. The "
                        "axis counts powers of two.</p>\n");
    report_errors(out, d);
    text_put(out,
             "<h2>Bits along the network</h2>\n"
             "<p class=\"note\">Every step eats room: products move value and "
             "noise up, a rescale takes a modulus away with the lowest bits. "
             "Noise must stay below the fraction, the value below the modulus."
             "</p>\n");
    report_bits(out, d);
    text_put(out, "<h2>Time at the server</h2>\n");
    note_times(out, d);
    report_times(out, d);
    report_table(out, d);
    text_put(out, "<h2>Parameters</h2>\n<table class=\"facts\">\n");
    ring_facts(out, d);
    layout_facts(out, d);
    machine_facts(out, d);
    text_put(out, "</table>\n");
}

sotto_status demo_report(const demo *d, const char *path, sotto_error *err)
{
    text_out *out = sotto_calloc(1, sizeof *out);
    if (out == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    sotto_status status = text_open(out, path, err);
    if (status == SOTTO_OK) {
        head(out, d);
        tiles(out, d);
        sections(out, d);
        text_put(out, "<footer>Written by sotto " APP_VERSION
                      " demo.</footer>\n</main>\n</body>\n</html>\n");
        status = text_close(out, err);
    }
    sotto_free(out);
    return status;
}
