/* SPDX-License-Identifier: MIT
 * Matrix products and streams of the SIMD backends (contracts: the entries of
 * the same name in ntt/kernels.h). Defined only where the build is for x86-64.
 */
#ifndef SOTTO_NTT_SIMD_INTERNAL_H
#define SOTTO_NTT_SIMD_INTERNAL_H

#include "ntt/kernels.h"

/* gemm_avx2.c: needs AVX2. */
void ntt_gemm_avx2(const ntt_gemm *job, const zq_modulus *mod, void *scratch);
size_t ntt_gemm_scratch_avx2(const ntt_gemm *job, const zq_modulus *mod);
void ntt_gemm_pack_avx2(void *packed, const ntt_gemm *job,
                        const zq_modulus *mod);
void ntt_gemm_run_avx2(const void *packed, const ntt_gemm_columns *columns,
                       const zq_modulus *mod, void *scratch);
size_t ntt_gemm_packed_bytes_avx2(const ntt_gemm *job, const zq_modulus *mod);
size_t ntt_gemm_run_scratch_avx2(const ntt_gemm *job, const zq_modulus *mod);

/* gemm_ifma.c: needs AVX-512 F, BW, DQ, VL, IFMA and VNNI. */
void ntt_gemm_ifma(const ntt_gemm *job, const zq_modulus *mod, void *scratch);
size_t ntt_gemm_scratch_ifma(const ntt_gemm *job, const zq_modulus *mod);
void ntt_gemm_pack_ifma(void *packed, const ntt_gemm *job,
                        const zq_modulus *mod);
void ntt_gemm_run_ifma(const void *packed, const ntt_gemm_columns *columns,
                       const zq_modulus *mod, void *scratch);
size_t ntt_gemm_packed_bytes_ifma(const ntt_gemm *job, const zq_modulus *mod);
size_t ntt_gemm_run_scratch_ifma(const ntt_gemm *job, const zq_modulus *mod);

/* stream_avx2.c: needs AVX2. */
void ntt_stream_blocks_avx2(uint8_t *out, const sotto_seed *key,
                            uint64_t counter, size_t n_blocks);

/* stream_ifma.c: needs AVX-512 F. */
void ntt_stream_blocks_ifma(uint8_t *out, const sotto_seed *key,
                            uint64_t counter, size_t n_blocks);

#endif
