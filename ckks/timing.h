/* SPDX-License-Identifier: MIT
 * How long the machine takes for the units that evaluation consists of.
 *
 * For planning: what a computation will take follows from how many of each it
 * needs. The result depends on machine, load and backend and must decide
 * nothing but a plan that says so.
 */
#ifndef SOTTO_CKKS_TIMING_H
#define SOTTO_CKKS_TIMING_H

#include "base/status.h"

/* Nanoseconds on one core, data in cache, N = 8192 and moduli of class A. */
typedef struct ckks_kernel_times {
    double butterfly;   /* one NTT butterfly, mean of both directions */
    double multiply;    /* one product of two residues */
    double accumulate;  /* one multiply-add of an inner product */
    double convert;     /* one term of a base conversion */
    double permute;     /* one residue of an automorphism */
    double fourier;     /* one complex butterfly of encoding */
    double compose;     /* one coefficient rounded to one residue */
    double gemm_word;   /* one integer weight times one word of a residue */
    double gemm_gather; /* splitting one word of a gathered residue */
    double gemm_reduce; /* reducing one word of an output residue */
    double expand;      /* one uniform residue from its seed */
    double unpack;      /* one residue to its bits in a record */
    double hash;        /* one byte of a checksum */
} ckks_kernel_times;

/* Measures with the kernels that SOTTO_BACKEND allows; the least of many runs.
 * error: SOTTO_ERR_PARAM (SOTTO_BACKEND), SOTTO_ERR_MEMORY; *times is then
 * unchanged. cost: about half a second. */
sotto_status ckks_time_kernels(ckks_kernel_times *times,
                               sotto_error *err) SOTTO_MUST_CHECK;

#endif
