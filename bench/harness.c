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
#define SAMPLE_NS 2e6

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void separate(bench *b)
{
    (void)printf("%s", b->first ? "\n" : ",\n");
    b->first = false;
}

bench bench_begin(int argc, char **argv, const char *name)
{
    bench b = {.first = true};
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
    char cpu[64];
    sotto_cpu_name(cpu, sizeof cpu);
    const char *backend = getenv("SOTTO_BACKEND");
    backend = backend != NULL ? backend : "best";
    if (b.json) {
        (void)printf("{\"bench\": \"%s\", \"cpu\": \"%s\", \"processors\": %d, "
                     "\"compiler\": \"%s\", \"backend\": \"%s\", "
                     "\"results\": [",
                     name, cpu, sotto_cpu_count(), __VERSION__, backend);
    } else {
        (void)printf("%s: %s, %d processors, compiler %s, backend %s\n", name,
                     cpu, sotto_cpu_count(), __VERSION__, backend);
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

double bench_run(bench *b, const char *name, void (*fn)(void *arg), void *arg,
                 double units, const char *unit_name)
{
    if (b->only != NULL && strstr(name, b->only) == NULL) {
        return 0;
    }
    /* Doubling also warms caches, pages and clock. */
    long calls = 1;
    while (sample(fn, arg, calls) < SAMPLE_NS && calls < 1L << 40) {
        calls *= 2;
    }
    double samples[MAX_SAMPLES];
    const int n = b->quick ? 5 : MAX_SAMPLES;
    for (int i = 0; i < n; i++) {
        samples[i] = sample(fn, arg, calls) / (double)calls;
    }
    qsort(samples, (size_t)n, sizeof samples[0], by_size);
    const double median = samples[n / 2];
    const double spread = (samples[3 * n / 4] - samples[n / 4]) / 2 / median;
    if (b->json) {
        separate(b);
        (void)printf("  {\"name\": \"%s\", \"ns\": %.6g, \"spread\": %.4f, "
                     "\"units\": %.6g, \"unit\": \"%s\"}",
                     name, median, spread, units, unit_name);
    } else {
        (void)printf("  %-38s %14.1f ns ±%4.1f %%  %9.4g ns/%s\n", name, median,
                     100 * spread, median / units, unit_name);
    }
    (void)fflush(stdout);
    return median;
}

void bench_ratio(bench *b, const char *name, double ratio)
{
    if (b->json) {
        separate(b);
        (void)printf("  {\"name\": \"%s\", \"ratio\": %.6g}", name, ratio);
    } else {
        (void)printf("  %-38s %14.2f\n", name, ratio);
    }
}

int bench_end(bench *b)
{
    if (b->json) {
        (void)printf("\n]}\n");
    }
    return 0;
}
