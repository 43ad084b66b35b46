/* SPDX-License-Identifier: MIT
 * The measuring loop (harness.h).
 */
#include "bench/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Samples of a case, and the time that they may take before the fewest. */
#define MAX_SAMPLES 101
#define MIN_SAMPLES 5
#define QUICK_MIN_SAMPLES 3
#define SAMPLE_NS 3e5
#define CASE_NS 6e7
/* Calls up to this long run once more before each sample: what the other cases
 * have left in the caches is no part of them. */
#define WARM_NS 1e7

static double clock_ns(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

double bench_seconds(void)
{
    return 1e-9 * clock_ns(CLOCK_MONOTONIC);
}

bool bench_wants(const bench *b, const char *name)
{
    char whole[128];
    (void)snprintf(whole, sizeof whole, "%s/%s", b->part, name);
    return b->only == NULL || strstr(whole, b->only) != NULL;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *values, size_t n)
{
    qsort(values, n, sizeof values[0], by_size);
    return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* ---- Output -------------------------------------------------------------- */

/* A time in a unit of its size, in 7 characters and the unit. */
static void format_time(char text[16], double ns)
{
    static const char *const unit[] = {"ns", "us", "ms", "s"};
    size_t u = 0;
    while (u < 3 && ns >= 999.5) {
        ns /= 1000;
        u++;
    }
    (void)snprintf(text, 16, "%.*f %s",
                   ns < 9.995   ? 2
                   : ns < 99.95 ? 1
                                : 0,
                   ns, unit[u]);
}

static void print_label(const bench_case *c)
{
    char label[96];
    int at = snprintf(label, sizeof label, "%s", c->name);
    const int cap = (int)sizeof label;
    if (c->log2_n > 0) {
        at += snprintf(label + at, (size_t)(cap - at), " 2^%d", c->log2_n);
    }
    if (c->limbs > 1) {
        at += snprintf(label + at, (size_t)(cap - at), "x%d", c->limbs);
    }
    if (c->q_bits > 0) {
        at += snprintf(label + at, (size_t)(cap - at), " %db", c->q_bits);
    }
    if (c->note != NULL) {
        at += snprintf(label + at, (size_t)(cap - at), " %s", c->note);
    }
    if (c->threads > 0) {
        (void)snprintf(label + at, (size_t)(cap - at), " %dt", c->threads);
    }
    (void)printf("%-34s %-8s", label, c->backend != NULL ? c->backend : "");
}

static void print_text(const bench *b, const bench_case *c,
                       const bench_result *r, const double *ratio)
{
    char median[16], p10[16], p90[16];
    format_time(median, r->median);
    format_time(p10, r->p10);
    format_time(p90, r->p90);
    print_label(c);
    (void)printf(" %7s %7s %7s", median, p10, p90);
    const double cycles =
        c->units > 0 ? r->median / b->limits.cycle_ns / c->units : 0;
    if (cycles > 0) {
        (void)printf(c->per_cycle ? " %5.3g/c" : " %5.3g c",
                     c->per_cycle ? 1 / cycles : cycles);
    } else {
        (void)printf("        ");
    }
    if (c->bytes > 0) {
        (void)printf(" %5.1f", c->bytes / r->median);
    } else {
        (void)printf("      ");
    }
    for (size_t i = 0; i < 2; i++) {
        if (ratio[i] > 0) {
            (void)printf(" %5.*fx", ratio[i] < 9.95 ? 2 : 1, ratio[i]);
        }
    }
    if (c->limit != NULL) {
        (void)printf(ratio[0] > 0 ? " " : "        ");
        (void)printf("%3.0f%% %s", 100 * c->least_ns / r->median, c->limit);
    }
    (void)printf("\n");
}

static void print_json(bench *b, const bench_case *c, const bench_result *r,
                       const double *ratio, size_t samples)
{
    (void)printf("%s\n{\"name\": \"%s\", \"part\": \"%s\"",
                 b->listed ? "," : "", c->name, b->part);
    b->listed = true;
    (void)printf(", \"backend\": \"%s\"",
                 c->backend != NULL ? c->backend : "any");
    if (c->log2_n > 0) {
        (void)printf(", \"log2_n\": %d, \"limbs\": %d", c->log2_n,
                     c->limbs > 0 ? c->limbs : 1);
    }
    if (c->q_bits > 0) {
        (void)printf(", \"q_bits\": %d", c->q_bits);
    }
    if (c->note != NULL) {
        (void)printf(", \"note\": \"%s\"", c->note);
    }
    (void)printf(", \"threads\": %d", c->threads > 0 ? c->threads : 1);
    (void)printf(", \"median_ns\": %.6g, \"p10_ns\": %.6g, \"p90_ns\": %.6g"
                 ", \"samples\": %zu",
                 r->median, r->p10, r->p90, samples);
    if (c->units > 0) {
        (void)printf(", \"units\": %.6g, \"unit\": \"%s\""
                     ", \"cycles_per_unit\": %.5g",
                     c->units, c->unit,
                     r->median / b->limits.cycle_ns / c->units);
    }
    if (c->bytes > 0) {
        (void)printf(", \"bytes\": %.6g, \"gb_per_s\": %.4g", c->bytes,
                     c->bytes / r->median);
    }
    if (c->limit != NULL) {
        (void)printf(", \"limit\": \"%s\", \"of_limit\": %.4g", c->limit,
                     c->least_ns / r->median);
    }
    for (size_t i = 0; i < 2; i++) {
        if (ratio[i] > 0) {
            (void)printf(", \"ratio_to_%s\": %.4g", c->against[i].name,
                         ratio[i]);
        }
    }
    if (strcmp(c->name, "core_cycle") == 0) {
        machine_print_json();
    }
    (void)printf("}");
}

static void print_case(bench *b, const bench_case *c, const bench_result *r,
                       const double *ratio, size_t samples)
{
    if (b->json) {
        print_json(b, c, r, ratio, samples);
    } else {
        print_text(b, c, r, ratio);
    }
    (void)fflush(stdout);
}

void bench_skip(bench *b, const char *what, const char *why)
{
    /* JSON has no room for remarks. */
    (void)fprintf(b->json ? stderr : stdout, "%s left out: %s\n", what, why);
}

/* ---- Measuring ----------------------------------------------------------- */

static double sample(const bench_case *c, long calls)
{
    const clockid_t clock =
        c->threads > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
    const double begin = clock_ns(clock);
    for (long i = 0; i < calls; i++) {
        c->run(c->arg);
    }
    return clock_ns(clock) - begin;
}

/* The samples of a group: [case][sample], ns per call. */
typedef struct samples {
    long calls[BENCH_MAX_CASES];
    bool warm[BENCH_MAX_CASES]; /* call before each sample */
    size_t count;
    double ns[BENCH_MAX_CASES][MAX_SAMPLES];
} samples;

static void take_samples(const bench *b, samples *s, const bench_case *cases,
                         size_t n)
{
    double each = 0; /* of one turn of all */
    for (size_t i = 0; i < n; i++) {
        double ns;
        s->calls[i] = 1;
        /* Doubling also warms caches, pages and clock. */
        while ((ns = sample(&cases[i], s->calls[i])) < SAMPLE_NS) {
            s->calls[i] *= 2;
        }
        s->warm[i] = ns / (double)s->calls[i] < WARM_NS;
        each += ns;
    }
    const double wanted = CASE_NS / (b->quick ? 5 : 1) * (double)n / each;
    const size_t least = b->quick ? QUICK_MIN_SAMPLES : MIN_SAMPLES;
    s->count = wanted > MAX_SAMPLES ? MAX_SAMPLES : (size_t)wanted;
    s->count = s->count < least ? least : s->count;
    for (size_t k = 0; k < s->count; k++) {
        for (size_t i = 0; i < n; i++) {
            if (s->warm[i]) {
                cases[i].run(cases[i].arg);
            }
            s->ns[i][k] = sample(&cases[i], s->calls[i]) / (double)s->calls[i];
        }
    }
}

/* Sorts the values. */
static bench_result result_of(double *values, size_t n)
{
    const double median = median_of(values, n);
    return (bench_result){.least = values[0],
                          .median = median,
                          .p10 = values[n / 10],
                          .p90 = values[n - 1 - n / 10]};
}

/* How much longer base takes than c for as much work. */
static double ratio_of(const bench_case *c, const double *ns,
                       const bench_case *base, const double *base_ns, size_t n)
{
    double ratio[MAX_SAMPLES];
    const double work =
        c->units > 0 && base->units > 0 ? c->units / base->units : 1;
    for (size_t k = 0; k < n; k++) {
        ratio[k] = base_ns[k] / ns[k] * work;
    }
    return median_of(ratio, n);
}

void bench_group(bench *b, const bench_case *cases, size_t n,
                 bench_result *results)
{
    if (!bench_wants(b, cases[0].name)) {
        return;
    }
    static samples s;
    double ratio[BENCH_MAX_CASES][2] = {{0}};
    take_samples(b, &s, cases, n);
    for (size_t i = 0; i < n; i++) {
        for (size_t a = 0; a < 2 && cases[i].against[a].name != NULL; a++) {
            const size_t of = cases[i].against[a].of;
            ratio[i][a] =
                ratio_of(&cases[i], s.ns[i], &cases[of], s.ns[of], s.count);
        }
    }
    for (size_t i = 0; i < n; i++) {
        const bench_result r = result_of(s.ns[i], s.count);
        print_case(b, &cases[i], &r, ratio[i], s.count);
        if (results != NULL) {
            results[i] = r;
        }
    }
}

void bench_report(bench *b, const bench_case *c, const double *taken,
                  const double *base, size_t n)
{
    double values[MAX_SAMPLES], ratio[2] = {0};
    if (!bench_wants(b, c->name)) {
        return;
    }
    n = n < MAX_SAMPLES ? n : MAX_SAMPLES;
    if (base != NULL) {
        ratio[0] = ratio_of(c, taken, c, base, n);
    }
    memcpy(values, taken, n * sizeof *values);
    const bench_result r = result_of(values, n);
    print_case(b, c, &r, ratio, n);
}

/* ---- Begin and end ------------------------------------------------------- */

bench bench_begin(int argc, char **argv)
{
    bench b = {.part = ""};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            b.json = true;
        } else if (strcmp(argv[i], "--quick") == 0) {
            b.quick = true;
        } else if (argv[i][0] != '-' && b.only == NULL) {
            b.only = argv[i];
        } else {
            (void)fprintf(stderr, "usage: %s [--json] [--quick] [WORD]\n",
                          argv[0]);
            exit(2);
        }
    }
    sotto_error err = {""};
    if (ntt_backend_cap(&b.cap, &err) != SOTTO_OK) {
        (void)fprintf(stderr, "%s: %s\n", argv[0], err.text);
        exit(2);
    }
    (void)fputs(b.json ? "[" : "", stdout);
    if (!b.json) {
        machine_print_text();
        if (b.quick) {
            (void)printf("--quick: a fifth of the repetitions, all sizes\n");
        }
        (void)printf("\n%-34s %-8s %7s %7s %7s %7s %5s %6s %s\n", "what",
                     "backend", "median", "p10", "p90", "per unit", "GB/s",
                     "ratio", "limit");
    }
    return b;
}

int bench_end(bench *b)
{
    (void)fputs(b->json ? "\n]\n" : "", stdout);
    return 0;
}
