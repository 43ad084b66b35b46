/* SPDX-License-Identifier: MIT
 * The portable ckks_kernels, and the choice between them.
 */
#include "ckks/kernels_internal.h"

#include "base/cpu.h"
#include "ckks/loops_internal.h"

const ckks_kernels ckks_kernels_portable = {
    .cpu_features = 0,
    .forward = ckks_embed_forward,
    .inverse = ckks_embed_inverse,
    .largest = largest,
    .round = round_scaled,
    .reduce = reduce_whole,
    .add_digits = add_digits,
};

const ckks_kernels *ckks_kernels_choose(ntt_backend cap)
{
    const ckks_kernels *best = &ckks_kernels_portable;
#if defined(__x86_64__)
    const unsigned features = sotto_cpu_features();
    if (cap >= NTT_BACKEND_AVX2 &&
        (ckks_kernels_avx2.cpu_features & ~features) == 0) {
        best = &ckks_kernels_avx2;
    }
    if (cap >= NTT_BACKEND_IFMA &&
        (ckks_kernels_ifma.cpu_features & ~features) == 0) {
        best = &ckks_kernels_ifma;
    }
#else
    (void)cap;
#endif
    return best;
}
