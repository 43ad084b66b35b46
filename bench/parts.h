/* SPDX-License-Identifier: MIT
 * The parts of the benchmark program, in the order in which they run.
 */
#ifndef SOTTO_BENCH_PARTS_H
#define SOTTO_BENCH_PARTS_H

#include "bench/harness.h"

/* Random streams, hash, thread pool. */
void bench_base(bench *b);

/* Kernels on one limb, every backend. */
void bench_kernels(bench *b);

/* The integer matrix product, every backend, and the loops that it replaces. */
void bench_gemm(bench *b);

/* Operations on ciphertexts at four ring sizes, every backend. */
void bench_operations(bench *b);

/* The cost model's predictions beside measured operations. */
void bench_costs(bench *b);

/* Linear maps in every way: hoisting, baby and giant steps, digits. */
void bench_hoisting(bench *b);

/* The demo networks step by step, and threads. */
void bench_networks(bench *b);

#endif
