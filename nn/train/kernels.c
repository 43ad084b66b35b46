/* SPDX-License-Identifier: MIT
 * Choice of a table of inner loops.
 */
#include "nn/train/kernels_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"

const nn_train_kernels *nn_train_kernels_at(size_t i)
{
    const nn_train_kernels *kernels = NULL;
    if (i == 0) {
        kernels = &nn_train_kernels_portable;
    }
#if defined(__x86_64__)
    if (i == 1) {
        kernels = &nn_train_kernels_avx2;
    }
#endif
    if (kernels != NULL &&
        (kernels->cpu_features & ~sotto_cpu_features()) != 0) {
        return NULL;
    }
    return kernels;
}

const nn_train_kernels *nn_train_kernels_choose(void)
{
    const char *wanted = getenv("SOTTO_BACKEND");
    const nn_train_kernels *best = nn_train_kernels_at(0);
    if (wanted != NULL && strcmp(wanted, "portable") == 0) {
        return best;
    }
    for (size_t i = 1; i < NN_TRAIN_KERNELS; i++) {
        const nn_train_kernels *kernels = nn_train_kernels_at(i);
        best = kernels != NULL ? kernels : best;
    }
    return best;
}
