/* SPDX-License-Identifier: MIT
 * The measuring loop (harness.h).
 */
#include "bench/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"

#define MAX_SAMPLES 15
#define QUICK_SAMPLES 5
#define SAMPLE_NS 2e6

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

bench bench_begin(int argc, char **argv, const char *name)
{
    bench b = {.program = name};
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
    sotto_cpu_name(b.cpu, sizeof b.cpu);
    if (!b.json) {
        const char *backend = getenv("SOTTO_BACKEND");
        (void)printf("%s: %s, %d processors, compiler %s, backend %s\n", name,
                     b.cpu, sotto_cpu_count(), __VERSION__,
                     backend != NULL ? backend : "best");
    }
    return b;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sample(void (*fn)(void *arg), void *arg, long calls)
{
    const double begin = now_ns();
    for (long i = 0; i < calls; i++) {
        fn(arg);
    }
    return now_ns() - begin;
}

static void print_json(const bench *b, const bench_case *c, double median,
                       double p10, double p90)
{
    (void)printf("{\"name\": \"%s\", \"program\": \"%s\"", c->name, b->program);
    if (c->backend != NULL) {
        (void)printf(", \"backend\": \"%s\"", c->backend);
    }
    if (c->log2_n > 0) {
        (void)printf(", \"log2_n\": %d, \"limbs\": %d", c->log2_n, c->limbs);
    }
    if (c->q_bits > 0) {
        (void)printf(", \"q_bits\": %d", c->q_bits);
    }
    if (c->note != NULL) {
        (void)printf(", \"note\": \"%s\"", c->note);
    }
    (void)printf(", \"median_ns\": %.6g, \"p10_ns\": %.6g, \"p90_ns\": %.6g",
                 median, p10, p90);
    if (c->units > 0) {
        (void)printf(", \"units\": %.6g, \"unit\": \"%s\"", c->units, c->unit);
    }
    if (c->bytes > 0) {
        (void)printf(", \"bytes\": %.6g, \"gb_per_s\": %.4g", c->bytes,
                     c->bytes / median);
    }
    (void)printf(", \"cpu\": \"%s\", \"compiler\": \"%s\"}\n", b->cpu,
                 __VERSION__);
}

static void print_text(const bench_case *c, double median, double p10,
                       double p90)
{
    char label[96];
    int at = snprintf(label, sizeof label, "%s", c->name);
    if (c->log2_n > 0) {
        at += snprintf(label + at, sizeof label - (size_t)at, " 2^%d x %d",
                       c->log2_n, c->limbs);
    }
    if (c->q_bits > 0) {
        at += snprintf(label + at, sizeof label - (size_t)at, ", %d bits",
                       c->q_bits);
    }
    if (c->note != NULL) {
        at += snprintf(label + at, sizeof label - (size_t)at, ", %s", c->note);
    }
    if (c->backend != NULL) {
        (void)snprintf(label + at, sizeof label - (size_t)at, " %s",
                       c->backend);
    }
    (void)printf("  %-50s %12.1f ns  [%.1f .. %.1f]", label, median, p10, p90);
    if (c->units > 0) {
        (void)printf("  %.4g ns/%s", median / c->units, c->unit);
    }
    if (c->bytes > 0) {
        (void)printf("  %.3g GB/s", c->bytes / median);
    }
    (void)printf("\n");
}

double bench_measure(bench *b, const bench_case *what, void (*fn)(void *arg),
                     void *arg)
{
    if (b->only != NULL && strstr(what->name, b->only) == NULL) {
        return 0;
    }
    /* Doubling also warms caches, pages and clock. */
    long calls = 1;
    while (sample(fn, arg, calls) < SAMPLE_NS && calls < 1L << 40) {
        calls *= 2;
    }
    double samples[MAX_SAMPLES];
    const int n = b->quick ? QUICK_SAMPLES : MAX_SAMPLES;
    for (int i = 0; i < n; i++) {
        samples[i] = sample(fn, arg, calls) / (double)calls;
    }
    qsort(samples, (size_t)n, sizeof samples[0], by_size);
    const double median = samples[n / 2];
    const double p10 = samples[n / 10];
    const double p90 = samples[n - 1 - n / 10];
    if (b->json) {
        print_json(b, what, median, p10, p90);
    } else {
        print_text(what, median, p10, p90);
    }
    (void)fflush(stdout);
    return median;
}

double bench_run(bench *b, const char *name, void (*fn)(void *arg), void *arg,
                 double units, const char *unit_name)
{
    const bench_case c = {.name = name, .units = units, .unit = unit_name};
    return bench_measure(b, &c, fn, arg);
}

void bench_ratio(bench *b, const char *name, double ratio)
{
    if (b->json) {
        (void)printf("{\"name\": \"%s\", \"program\": \"%s\", \"ratio\": "
                     "%.6g}\n",
                     name, b->program, ratio);
    } else {
        (void)printf("  %-50s %12.2f\n", name, ratio);
    }
}

int bench_end(bench *b)
{
    (void)b;
    return 0;
}
