/* SPDX-License-Identifier: MIT
 * The parts of the portable backend that have files of their own (contracts:
 * the entries of the same name in ntt/kernels.h), and the rule by which
 * portable stands in for what a backend leaves out.
 */
#ifndef SOTTO_NTT_PORTABLE_INTERNAL_H
#define SOTTO_NTT_PORTABLE_INTERNAL_H

#include "ntt/kernels.h"

/* ntt_portable.c: ntt_kernels.forward. */
void ntt_forward_portable(uint64_t *a, const ntt_table *table);

/* ntt_portable.c: ntt_kernels.inverse. */
void ntt_inverse_portable(uint64_t *a, const ntt_table *table, uint64_t scale);

/* gemm_portable.c: ntt_kernels.gemm. */
void ntt_gemm_portable(const ntt_gemm *job, const zq_modulus *mod,
                       void *scratch);

/* gemm_portable.c: ntt_kernels.gemm_scratch. */
size_t ntt_gemm_scratch_portable(const ntt_gemm *job, const zq_modulus *mod);

/* gemm_portable.c: ntt_kernels.gemm_pack, … */
void ntt_gemm_pack_portable(void *packed, const ntt_gemm *job,
                            const zq_modulus *mod);
void ntt_gemm_run_portable(const void *packed, const ntt_gemm_columns *columns,
                           const zq_modulus *mod, void *scratch);
size_t ntt_gemm_packed_bytes_portable(const ntt_gemm *job,
                                      const zq_modulus *mod);
size_t ntt_gemm_run_scratch_portable(const ntt_gemm *job,
                                     const zq_modulus *mod);

/* kernels.c: fills the entries that are NULL from portable; those of one kind
 * of gemm together, since they belong to each other. */
void ntt_kernels_fill(ntt_kernels *kernels);

#endif
