/* SPDX-License-Identifier: MIT
 * The committed cost table; see cost.h.
 */
#include "nn/plan/cost.h"

nn_cost_table nn_cost_default(void)
{
    return (nn_cost_table){
        .butterfly = 1.5,
        .multiply = 2.5,
        .accumulate = 1.0,
        .convert = 1.0,
        .gemm_word = 0.16,
        .gemm_gather = 1.5,
        .gemm_reduce = 3.0,
    };
}
