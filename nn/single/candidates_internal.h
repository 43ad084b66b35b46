/* SPDX-License-Identifier: MIT
 * Pieces from which candidates for layouts are put together.
 */
#ifndef SOTTO_NN_SINGLE_CANDIDATES_INTERNAL_H
#define SOTTO_NN_SINGLE_CANDIDATES_INTERNAL_H

#include "nn/single/compile_internal.h"

/* The least power of two that is at least n; 2^31 for all above. */
uint32_t nn_pow2_from(uint64_t n);

/* Appends a digit unless its count is 1; false when it does not fit. */
bool nn_layout_add_digit(nn_layout *layout, uint64_t count, uint64_t slots,
                         int dim, uint64_t step);

/* Appends a candidate unless it is there already or there is no room. */
void nn_candidates_add(nn_candidates *out, const nn_layout *layout,
                       uint32_t fold);

#endif
