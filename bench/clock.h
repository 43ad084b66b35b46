/* SPDX-License-Identifier: MIT
 * The length of a processor cycle, for "cycles per butterfly". Time stamp
 * counters tick at another rate than the core.
 */
#ifndef SOTTO_BENCH_CLOCK_H
#define SOTTO_BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds per cycle: the least time, of 50 tries, of a chain of dependent
 * x·x + 1, which takes 3 + 1 cycles on the processors of today. */
static inline double bench_cycle_ns(void)
{
    enum { STEPS = 20000, CYCLES_PER_STEP = 4 };
    double best = 1e300;
    volatile uint64_t seed = 3;
    for (int run = 0; run < 50; run++) {
        struct timespec begin, end;
        uint64_t x = seed;
        (void)clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int i = 0; i < STEPS; i++) {
            x = x * x + 1;
        }
        seed = x;
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        const double ns = 1e9 * (double)(end.tv_sec - begin.tv_sec) +
                          (double)(end.tv_nsec - begin.tv_nsec);
        best = ns < best ? ns : best;
    }
    return best / STEPS / CYCLES_PER_STEP;
}

#endif
