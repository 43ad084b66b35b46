/* SPDX-License-Identifier: MIT
 * The AVX-512 IFMA backend: moduli below 2^50, eight residues at a time.
 */
#include "ntt/ifma_internal.h"

#if defined(__x86_64__)

#include "base/cpu.h"
#include "ntt/simd_internal.h"

const ntt_kernels *ntt_kernels_ifma(void)
{
    static const ntt_kernels kernels = {
        .name = "ifma",
        .cpu_features = SOTTO_CPU_AVX512_IFMA | SOTTO_CPU_AVX512_VNNI,
        .max_q_bits = 50,
        .twiddle_bytes = ntt_twiddle_bytes_ifma,
        .twiddle_init = ntt_twiddle_init_ifma,
        .forward = ntt_forward_ifma,
        .inverse = ntt_inverse_ifma,
        .gemm = ntt_gemm_ifma,
        .gemm_scratch = ntt_gemm_scratch_ifma,
        .stream_blocks = ntt_stream_blocks_ifma,
    };
    return &kernels;
}

#endif
