/* SPDX-License-Identifier: MIT
 * Slot programs on plain numbers: what the encrypted run does, without
 * encryption. The oracle between the plain network and ciphertexts.
 */
#ifndef SOTTO_NN_SINGLE_SIMULATE_H
#define SOTTO_NN_SINGLE_SIMULATE_H

#include "base/status.h"
#include "nn/single/compile.h"

/* Called with the slots of each tensor before a step reads it; may change
 * slots that no element owns, to show that nothing depends on them.
 * shape: slots double[n_cts][S]. */
typedef void (*nn_slots_hook)(void *arg, size_t tensor, const nn_places *places,
                              double *slots);

/* Runs one image through the program: rotations, products with diagonals,
 * giants, folds and biases as ciphertexts would have them.
 * shape: out double[n_outputs], in double[n_inputs]. hook may be NULL.
 * error: SOTTO_ERR_MEMORY; out is then undefined. */
sotto_status nn_single_simulate(const nn_single *single, double *out,
                                const double *in, nn_slots_hook hook, void *arg,
                                sotto_error *err) SOTTO_MUST_CHECK;

#endif
