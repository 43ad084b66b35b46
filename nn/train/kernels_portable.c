/* SPDX-License-Identifier: MIT
 * The inner loops of training for any processor: vectors of four floats, which
 * compilers map to whatever the target has.
 */
#define LANES 4
#include "nn/train/kernels_body_internal.h"

#define CHAINS 8

static double peak(size_t steps)
{
    const vec factor = 0.5f - (vec){0.0f};
    vec sum[CHAINS];
    for (size_t c = 0; c < CHAINS; c++) {
        sum[c] = factor;
    }
    for (size_t i = 0; i < steps; i++) {
#pragma GCC unroll 8
        for (size_t c = 0; c < CHAINS; c++) {
            sum[c] = sum[c] * factor + factor;
        }
    }
    vec total = sum[0];
    for (size_t c = 1; c < CHAINS; c++) {
        total += sum[c];
    }
    const volatile float used = total[0];
    (void)used;
    return 2.0 * LANES * CHAINS * (double)steps;
}

const nn_train_kernels nn_train_kernels_portable =
    NN_TRAIN_TABLE("portable", 0);
