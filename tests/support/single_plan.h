/* SPDX-License-Identifier: MIT
 * Plans in single packing without a search: a level for each step, whatever
 * layouts the compiler of slot programs likes.
 */
#ifndef SOTTO_TESTS_SUPPORT_SINGLE_PLAN_H
#define SOTTO_TESTS_SUPPORT_SINGLE_PLAN_H

#include "nn/plan/plan.h"

/* Makes a plan for N = 2^10 (insecure): moduli of 46 and 34 bits, two special
 * ones and one for a public key, scales of 2^34. NULL when the network has too
 * many steps or rotations for it. owner: the caller frees with sotto_free. */
nn_plan *single_plan_new(const nn_network *network);

#endif
