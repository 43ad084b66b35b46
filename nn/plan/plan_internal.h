/* SPDX-License-Identifier: MIT
 * What the files of nn/plan share about a plan.
 */
#ifndef SOTTO_NN_PLAN_PLAN_INTERNAL_H
#define SOTTO_NN_PLAN_PLAN_INTERNAL_H

#include "nn/plan/plan.h"

/* What a step makes before the parts behind its product or square. */
nn_plan_product nn_plan_before_rescale(const nn_plan *plan,
                                       const nn_network *network, size_t step);

/* Derives scale and components of step k from the tensors before it.
 * error: SOTTO_ERR_MISMATCH. */
sotto_status nn_plan_derive(nn_plan *plan, const nn_network *network, size_t k,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Derives scale and components of every step from input scale, weight bits,
 * relinearisations and levels, and checks that all values fit the moduli.
 * error: SOTTO_ERR_LEVEL, SOTTO_ERR_MISMATCH; the plan is then half derived. */
sotto_status nn_plan_walk(nn_plan *plan, const nn_network *network,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Checks what single packing adds: programs, keys and gadgets.
 * error: SOTTO_ERR_MISMATCH. */
sotto_status nn_plan_verify_slots(const nn_plan *plan,
                                  const nn_network *network,
                                  sotto_error *err) SOTTO_MUST_CHECK;

/* log2 of the modulus of a level. */
double nn_plan_log2_q(const nn_plan *plan, int level);

#endif
