/* SPDX-License-Identifier: MIT
 * The AVX2 backend: moduli below 2^50, on doubles inside each kernel.
 */
#include "ntt/avx2_internal.h"

#if defined(__AVX2__) && defined(__FMA__)

#include "base/cpu.h"
#include "ntt/simd_internal.h"

const ntt_kernels *ntt_kernels_avx2(void)
{
    static const ntt_kernels kernels = {
        .name = "avx2",
        .cpu_features = SOTTO_CPU_AVX2_FMA,
        .max_q_bits = AVX2_MAX_Q_BITS,
        .twiddle_bytes = ntt_twiddle_bytes_avx2,
        .twiddle_init = ntt_twiddle_init_avx2,
        .forward = ntt_forward_avx2,
        .inverse = ntt_inverse_avx2,
        .gemm = ntt_gemm_avx2,
        .gemm_scratch = ntt_gemm_scratch_avx2,
        .stream_blocks = ntt_stream_blocks_avx2,
    };
    return &kernels;
}

#endif
