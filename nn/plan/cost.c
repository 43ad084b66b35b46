/* SPDX-License-Identifier: MIT
 * The committed cost table; see cost.h.
 */
#include "nn/plan/cost.h"

nn_cost_table nn_cost_default(void)
{
    return (nn_cost_table){
        .butterfly = 1.25,
        .multiply = 2,
        .accumulate = 1.1,
        .convert = 1.5,
        .gemm_word = 0.03,
        .gemm_gather = 0.5,
        .gemm_reduce = 1.7,
    };
}
