/* SPDX-License-Identifier: MIT
 * A bench for tests of rlwe/: a context and a secret from a fixed seed, and
 * measurement of polynomials that should be small.
 */
#ifndef SOTTO_TESTS_SUPPORT_RLWE_LAB_H
#define SOTTO_TESTS_SUPPORT_RLWE_LAB_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "rlwe/ct.h"
#include "rlwe/keys.h"
#include "tests/support/check.h"
#include "tests/support/ckks_world.h"

/* Runs an expression that takes err and must fail with this status and a
 * message that contains every one of the words given (at least one). */
#define LAB_FAILS(status, expr, ...)                                           \
    do {                                                                       \
        sotto_error lab_error_ = {{0}};                                        \
        sotto_error *const err = &lab_error_;                                  \
        const char *const lab_words_[] = {__VA_ARGS__, NULL};                  \
        lab_assert_failed((expr), (status), &lab_error_, lab_words_);          \
    } while (0)

/* Asserts what LAB_FAILS says. */
void lab_assert_failed(sotto_status have, sotto_status want,
                       const sotto_error *err, const char *const *words);

typedef struct rlwe_lab {
    rlwe_context *context;
    rlwe_secret *secret;
    sotto_arena arena; /* enough for every function of rlwe/ */
    sotto_seed root;
    size_t n;
} rlwe_lab;

/* Makes the context and the secret. Asserts success. */
rlwe_lab lab_new(const world_spec *spec, const char *seed);

/* Frees everything. */
void lab_free(rlwe_lab *lab);

/* Memory for a polynomial over a set; free with sotto_free. */
uint64_t *lab_poly(const rlwe_lab *lab, const rns_set *set);

/* Uniform residues, NTT domain. */
void lab_uniform(const rlwe_lab *lab, const rns_set *set, uint64_t *out,
                 uint64_t number);

/* The polynomial s^value or s(X^value) over a set, NTT domain; value 1 is s. */
void lab_source(const rlwe_lab *lab, const rns_set *set, uint64_t *out,
                rlwe_key_target target);

/* Variance of the coefficients of a polynomial in NTT domain that is to be
 * small: asserts that all limbs hold the same integers. Ends in coefficient
 * domain. small: where to write the coefficients (int64_t[n]), or NULL. */
double lab_variance(const rlwe_lab *lab, const rns_set *set, uint64_t *a,
                    int64_t *small);

/* Asserts low·expected <= value <= high·expected. */
void lab_assert_between(double value, double expected, double low, double high,
                        const char *what);

#endif
