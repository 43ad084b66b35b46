/* SPDX-License-Identifier: MIT
 * Loops of ckks_kernels over independent numbers, compiled once for each
 * instruction set by the files that include this.
 */
#ifndef SOTTO_CKKS_LOOPS_INTERNAL_H
#define SOTTO_CKKS_LOOPS_INTERNAL_H

#include <string.h>

#include "ckks/kernels_internal.h"

/* The 64 bits of a double. */
static inline uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Running maxima side by side: one would wait for itself. */
#define MAXIMA ((size_t)32)

/* The larger of two numbers below 2^63: the difference's sign tells. */
static inline uint64_t larger(uint64_t a, uint64_t b)
{
    return a ^ ((a ^ b) & (0 - ((a - b) >> 63)));
}

/* ckks_kernels.largest: bits without the sign order like magnitudes,
 * infinities and NaN above all. */
static double largest(const double *x, size_t count)
{
    const uint64_t magnitude = UINT64_MAX >> 1;
    uint64_t most[MAXIMA] = {0};
    size_t i = 0;
    for (; i + MAXIMA <= count; i += MAXIMA) {
        for (size_t k = 0; k < MAXIMA; k++) {
            most[k] = larger(most[k], bits_of(x[i + k]) & magnitude);
        }
    }
    for (; i < count; i++) {
        most[0] = larger(most[0], bits_of(x[i]) & magnitude);
    }
    for (size_t k = 1; k < MAXIMA; k++) {
        most[0] = larger(most[0], most[k]);
    }
    double result;
    memcpy(&result, &most[0], sizeof result);
    return result;
}

/* ckks_kernels.round. */
static void round_scaled(double *y, const double *x, double factor,
                         const int8_t *error, size_t count)
{
    if (error == NULL) {
        for (size_t i = 0; i < count; i++) {
            y[i] = (x[i] * factor + CKKS_MAGIC) - CKKS_MAGIC;
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const double rounded = (x[i] * factor + CKKS_MAGIC) - CKKS_MAGIC;
        y[i] = rounded + (double)error[i];
    }
}

/* ckks_kernels.reduce: t = rint(y/q) is a whole number and t·q one of at most
 * |y| + q, so both are exact. y·(1/q) errs by less than 1/4, so that
 * |y - t·q| < q: adding q to what is negative gives the residue. */
static void reduce_whole(uint64_t *out, const double *y, size_t count,
                         const zq_modulus *mod)
{
    const double q = (double)mod->q;
    const double inverse = 1 / q;
    for (size_t i = 0; i < count; i++) {
        const double t = (y[i] * inverse + CKKS_MAGIC) - CKKS_MAGIC;
        const uint64_t r =
            bits_of((y[i] - t * q) + CKKS_MAGIC) - bits_of(CKKS_MAGIC);
        out[i] = r + (mod->q & (0 - (r >> 63)));
    }
}

/* ckks_kernels.add_digits. */
static void add_digits(double *sum, const uint64_t *digit, double weight,
                       size_t count, uint64_t q)
{
    const uint64_t half = q >> 1;
    for (size_t i = 0; i < count; i++) {
        const uint64_t is_upper = 0 - ((half - digit[i]) >> 63);
        sum[i] += (double)(int64_t)(digit[i] - (q & is_upper)) * weight;
    }
}

#endif
