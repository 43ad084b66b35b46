/* SPDX-License-Identifier: MIT
 * The inner loops of training for 256-bit vectors.
 *
 * There is no variant for 512-bit vectors: processors that split them gain
 * nothing (measured: 78 against 111 GFLOP/s for this product, since products
 * and sums of 512 bits share their ports there).
 */
#if defined(__x86_64__)

#include <immintrin.h>

#include "base/cpu.h"

#define LANES 8
#include "nn/train/kernels_body_internal.h"

/* Independent chains: latency times throughput of a fused operation, and more.
 * Variables of their own: an array of them is kept in memory. */
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9)
#define CHAINS 10

static double peak(size_t steps)
{
    const __m256 y = _mm256_set1_ps(0.5f);
#define BEGIN(k) __m256 x##k = _mm256_set1_ps(k);
#define STEP(k)                                                                \
    x##k = _mm256_fmadd_ps(x##k, y, y);                                        \
    __asm__ volatile("" : "+x"(x##k));
    EACH(BEGIN)
    for (size_t i = 0; i < steps; i++) {
        EACH(STEP)
    }
#undef BEGIN
#undef STEP
    return 2.0 * LANES * CHAINS * (double)steps;
}

const nn_train_kernels nn_train_kernels_avx2 =
    NN_TRAIN_TABLE("avx2", SOTTO_CPU_AVX2_FMA);

#else

typedef int nn_train_kernels_avx2_not_here;

#endif
