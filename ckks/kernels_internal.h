/* SPDX-License-Identifier: MIT
 * What encoding and decoding do to whole vectors of doubles, one struct of
 * functions for each instruction set.
 *
 * The portable functions define the bits. The others do the same IEEE
 * operations on each number, several numbers at a time, and fuse none.
 * All are free of branches and addresses that depend on values.
 */
#ifndef SOTTO_CKKS_KERNELS_INTERNAL_H
#define SOTTO_CKKS_KERNELS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "ckks/embed_internal.h"
#include "ntt/kernels.h"

/* 1.5·2^52: for |y| <= 2^51 the sum y + MAGIC has the unit 1, so that the
 * addition itself rounds y to an integer (ties to even), and the sum's bits are
 * those of MAGIC plus that integer. */
#define CKKS_MAGIC 0x1.8p+52

typedef struct ckks_kernels {
    unsigned cpu_features; /* sotto_cpu_feature bits that it needs */

    /* ckks_embed_forward and ckks_embed_inverse. */
    void (*forward)(const ckks_embed *embed, double *re, double *im);
    void (*inverse)(const ckks_embed *embed, double *re, double *im);

    /* The largest magnitude among count doubles; not finite if one is not. */
    double (*largest)(const double *x, size_t count);

    /* y = rint(x·factor) + error, as doubles; error may be NULL.
     * range: |x·factor| <= 2^50, |error| <= 127; alias: y may be x */
    void (*round)(double *y, const double *x, double factor,
                  const int8_t *error, size_t count);

    /* out = y mod q.   range: y whole, |y| <= 2^50 + 127; q < 2^50 */
    void (*reduce)(uint64_t *out, const double *y, size_t count,
                   const zq_modulus *mod);

    /* sum += centre(digit)·weight, the product rounded, then the sum. */
    void (*add_digits)(double *sum, const uint64_t *digit, double weight,
                       size_t count, uint64_t q);
} ckks_kernels;

/* Portable; AVX2; AVX-512 (the last two for x86-64 only). */
extern const ckks_kernels ckks_kernels_portable;
extern const ckks_kernels ckks_kernels_avx2;
extern const ckks_kernels ckks_kernels_ifma;

/* The best that the build has, the processor runs and cap allows. */
const ckks_kernels *ckks_kernels_choose(ntt_backend cap);

#endif
