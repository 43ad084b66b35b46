/* SPDX-License-Identifier: MIT
 * Measuring: median and deciles of repeated runs, as text or JSON.
 *
 *     bench b = bench_begin(argc, argv, "ntt");
 *     const bench_case c = {.name = "ntt_forward", .backend = "avx2",
 *                           .log2_n = 13, .limbs = 1, .units = n,
 *                           .unit = "butterfly"};
 *     const double one = bench_measure(&b, &c, run_ntt, &args);
 *     bench_ratio(&b, "portable / avx2", other / one);
 *     return bench_end(&b);
 *
 * Options of every program: --json, --quick (few repetitions), and a word that
 * names must contain to be run. JSON is one object per line, without brackets,
 * so that several programs' output can be joined (bench/run.sh).
 */
#ifndef SOTTO_BENCH_HARNESS_H
#define SOTTO_BENCH_HARNESS_H

#include <stdbool.h>

/* A program's settings. */
typedef struct bench {
    bool json;
    bool quick;
    const char *program;
    const char *only;
    char cpu[64];
} bench;

/* What is measured. Zeroed fields are left out. */
typedef struct bench_case {
    const char *name;
    const char *backend;
    int log2_n;
    int limbs;
    int q_bits;       /* size of the modulus */
    const char *note; /* what else tells cases apart ("100x845") */
    double units;     /* pieces of work in one call … */
    const char *unit; /* … of this kind */
    double bytes;     /* moved by one call */
} bench_case;

/* Reads the options and prints the environment: processor, compiler, number of
 * processors, backend (SOTTO_BACKEND). Ends the program on a wrong option. */
bench bench_begin(int argc, char **argv, const char *name);

/* Calls fn(arg) until a sample takes 2 ms at least, takes 15 samples (5 with
 * --quick), and prints median, 10th and 90th percentile, and time for each
 * unit. Returns the median time of one call in ns; 0 when not selected. */
double bench_measure(bench *b, const bench_case *what, void (*fn)(void *arg),
                     void *arg);

/* bench_measure with a name and units only. */
double bench_run(bench *b, const char *name, void (*fn)(void *arg), void *arg,
                 double units, const char *unit_name);

/* Prints a ratio of two results. */
void bench_ratio(bench *b, const char *name, double ratio);

/* Ends the output; returns what main returns. */
int bench_end(bench *b);

#endif
