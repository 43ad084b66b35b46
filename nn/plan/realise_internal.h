/* SPDX-License-Identifier: MIT
 * From a draft in bits to moduli, levels and exact scales.
 */
#ifndef SOTTO_NN_PLAN_REALISE_INTERNAL_H
#define SOTTO_NN_PLAN_REALISE_INTERNAL_H

#include "nn/plan/draft_internal.h"

/* Moduli as they are found. The search avoids those before, so that finding
 * one more repeats the others. */
typedef struct nn_found_moduli {
    int log2_n;
    int n;
    double target[RNS_MAX_LIMBS];
    uint64_t modulus[RNS_MAX_LIMBS];
} nn_found_moduli;

/* Finds one more prime, of about 2^bits. error: as rlwe_moduli_find. */
sotto_status nn_find_prime(uint64_t *q, nn_found_moduli *found, double bits,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Finds the primes of a group of 2^bits and puts them at ids first, first + 1,
 * …; each makes up for how far those before it missed, short ones only for
 * what leaves them short. error: as rlwe_moduli_find. */
sotto_status nn_find_group(nn_plan *plan, nn_found_moduli *found,
                           const nn_prime_group *group, double bits, int first,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* A name as the plan's text can hold it: out [NN_PLAN_NAME_BYTES]. */
void nn_plan_plain_name(char *out, const char *name);

#endif
