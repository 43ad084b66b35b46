/* SPDX-License-Identifier: MIT
 * What this machine can do at most, measured: one core's clock, multiplications
 * per cycle and reading bandwidth. Results are shown as parts of it.
 */
#ifndef SOTTO_BENCH_MACHINE_H
#define SOTTO_BENCH_MACHINE_H

#include <stddef.h>

struct bench;

/* Levels of memory. */
enum { MACHINE_L1, MACHINE_L2, MACHINE_L3, MACHINE_DRAM, MACHINE_LEVELS };

/* Rates are operations on one lane per ns; 0: the processor has none. */
typedef struct machine_limits {
    double cycle_ns;
    double read[MACHINE_LEVELS];     /* bytes per ns */
    size_t capacity[MACHINE_LEVELS]; /* bytes; that of DRAM is not used */
    double mul64;        /* 64×64-bit products, general registers */
    double fma;          /* products of doubles */
    double ifma;         /* halves of 52-bit products */
    double words_avx2;   /* 16-bit products summed in pairs: two instructions */
    double words_avx512; /* … in one */
} machine_limits;

/* Measures everything into b->limits, as the part "machine" of the output. */
void machine_measure(struct bench *b);

/* The level that a working set of so many bytes lies in, its name, and the
 * least time to read or write that much there. */
int machine_level(const machine_limits *m, double bytes);
const char *machine_level_name(int level);
double machine_memory_ns(const machine_limits *m, double bytes);

/* Processor, compiler, flags, backend, commit and load: lines of text, or
 * members of an object with a comma in front of each. */
void machine_print_text(void);
void machine_print_json(void);

/* Loops for instruction sets: `steps` rounds of 16 independent instructions,
 * and a sum over a buffer, a multiple of 1024 bytes. */
void machine_fma_avx2(size_t steps);
void machine_words_avx2(size_t steps);
void machine_read_avx2(const void *data, size_t len_bytes);
void machine_ifma_avx512(size_t steps);
void machine_words_avx512(size_t steps);
void machine_read_avx512(const void *data, size_t len_bytes);

#endif
