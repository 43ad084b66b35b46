/* SPDX-License-Identifier: MIT
 * Measuring: medians and deciles of repeated runs, side by side.
 *
 *     const bench_case cases[] = {
 *         {.name = "ntt_forward", .backend = "portable", .run = …, .arg = …},
 *         {.name = "ntt_forward", .backend = "avx2", .run = …, .arg = …,
 *          .against = {{0, "portable"}}},
 *     };
 *     bench_group(b, cases, 2, NULL);
 *
 * The cases of a group take turns, sample by sample, so that what else the
 * machine does meets all of them: ratios hold where times waver. A sample calls
 * a case until it takes 0.3 ms. With one thread it is the processor time of the
 * thread, which other processes do not add to; with several, time on the clock.
 *
 * JSON is one object per line with commas between: one list in all.
 */
#ifndef SOTTO_BENCH_HARNESS_H
#define SOTTO_BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>

#include "bench/machine.h"
#include "ntt/kernels.h"

#define BENCH_MAX_CASES 16

/* The settings of a run of the program. */
typedef struct bench {
    bool json;
    bool quick;       /* a fifth of the repetitions, nothing left out */
    const char *only; /* word in "part/name" of what runs, or NULL: all */
    const char *part; /* the part of the program that runs */
    machine_limits limits;
    ntt_backend cap; /* the best backend that SOTTO_BACKEND allows */
    bool listed;     /* an object stands in the list already */
} bench;

/* Another case of the group to compare with. */
typedef struct bench_against {
    size_t of;        /* its number in the group */
    const char *name; /* what it is in the output; NULL: no comparison */
} bench_against;

/* What is measured. Zeroed fields are left out. */
typedef struct bench_case {
    const char *name;
    const char *backend;
    int log2_n;
    int limbs;
    int q_bits;        /* size of the modulus */
    int threads;       /* 0: one, and not worth mention */
    const char *note;  /* what else tells cases apart ("100x845") */
    double units;      /* pieces of work in one call … */
    const char *unit;  /* … of this kind */
    bool per_cycle;    /* show units per cycle, not cycles per unit */
    double bytes;      /* read and written by one call, each once */
    double least_ns;   /* what the machine needs at least … */
    const char *limit; /* … because of this ("L2", "ifma") */
    bench_against against[2];
    void (*run)(void *arg);
    void *arg;
} bench_case;

/* Time of one call, ns. */
typedef struct bench_result {
    double least, median, p10, p90;
} bench_result;

/* Reads the options, measures the machine's limits and prints the environment:
 * processor, compiler, flags, backend, commit, load. Ends the program on a
 * wrong option. */
bench bench_begin(int argc, char **argv);

/* Whether a case of this name is wanted. */
bool bench_wants(const bench *b, const char *name);

/* Measures cases[0 … n) in turn, n <= BENCH_MAX_CASES, and prints one line for
 * each; nothing unless the name of the first is wanted. A ratio is the median
 * of the ratios of neighbouring samples, per unit where both have units.
 * results: NULL or [n]. */
void bench_group(bench *b, const bench_case *cases, size_t n,
                 bench_result *results);

/* Prints a line for samples[0 … n) that were taken elsewhere, ns. base: NULL or
 * as many samples of what c->against[0] names, each taken next to its own. */
void bench_report(bench *b, const bench_case *c, const double *samples,
                  const double *base, size_t n);

/* Says why something is left out. */
void bench_skip(bench *b, const char *what, const char *why);

/* Seconds on a clock that never goes back. */
double bench_seconds(void);

/* Ends the output; returns what main returns. */
int bench_end(bench *b);

#endif
