/* SPDX-License-Identifier: MIT
 * Measuring: median and spread of repeated runs, as text or JSON.
 *
 *     bench b = bench_begin(argc, argv, "ntt");
 *     const double one = bench_run(&b, "forward", run_ntt, &args, n,
 * "butterfly"); bench_ratio(&b, "portable / avx2", other / one); return
 * bench_end(&b);
 *
 * Options of every program: --json, --quick (few repetitions), and a word that
 * results must contain to be run.
 */
#ifndef SOTTO_BENCH_HARNESS_H
#define SOTTO_BENCH_HARNESS_H

#include <stdbool.h>

/* A program's settings and place in the output. */
typedef struct bench {
    bool json;
    bool quick;
    bool first; /* no comma yet */
    const char *only;
} bench;

/* Reads the options and prints the environment: processor, compiler, number of
 * processors, backend (SOTTO_BACKEND). Ends the program on a wrong option. */
bench bench_begin(int argc, char **argv, const char *name);

/* Calls fn(arg) until a sample takes 2 ms at least, takes 15 samples (5 with
 * --quick), prints median, spread (half the distance of the quartiles over the
 * median) and time for each of units pieces of work called unit_name.
 * Returns the median time of one call in ns; 0 when not selected. */
double bench_run(bench *b, const char *name, void (*fn)(void *arg), void *arg,
                 double units, const char *unit_name);

/* Prints a ratio of two results. */
void bench_ratio(bench *b, const char *name, double ratio);

/* Ends the output; returns what main returns. */
int bench_end(bench *b);

#endif
