/* SPDX-License-Identifier: MIT
 * The committed cost table; see cost.h.
 */
#include "nn/plan/cost.h"

nn_cost_table nn_cost_default(void)
{
    return (nn_cost_table){
        .butterfly = 0.19,
        .multiply = 0.9,
        .accumulate = 0.15,
        .convert = 0.2,
        .gemm_word = 0.018,
        .gemm_gather = 0.08,
        .gemm_reduce = 0.15,
    };
}
