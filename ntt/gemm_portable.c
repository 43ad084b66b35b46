/* SPDX-License-Identifier: MIT
 * Portable integer matrix × gathered residue rows.
 */
#include "ntt/gemm.h"

#include "ntt/portable_internal.h"

uint64_t ntt_gemm_row_norm(const int32_t *weight, size_t m, size_t k)
{
    uint64_t largest = 0;
    for (size_t o = 0; o < m; o++) {
        uint64_t norm = 0;
        for (size_t i = 0; i < k; i++) {
            const int64_t w = weight[o * k + i];
            norm += (uint64_t)(w < 0 ? -w : w);
        }
        largest = norm > largest ? norm : largest;
    }
    return largest;
}

int ntt_gemm_words(const zq_modulus *mod, uint64_t row_norm)
{
    (void)row_norm;
    return (mod->bits + 15) / 16;
}

size_t ntt_gemm_scratch_portable(const ntt_gemm *job, const zq_modulus *mod)
{
    (void)job;
    (void)mod;
    return 64;
}

void ntt_gemm_portable(const ntt_gemm *job, const zq_modulus *mod,
                       void *scratch)
{
    (void)scratch;
    for (size_t o = 0; o < job->m; o++) {
        for (size_t j = 0; j < job->n; j++) {
            zq_i128 sum = 0;
            for (size_t i = 0; i < job->k; i++) {
                sum += (zq_i128)job->weight[o * job->k + i] *
                       zq_centre(job->in[i][j], mod->q);
            }
            const uint64_t sign = (uint64_t)(sum >> 127);
            const zq_u128 mask = (zq_u128)sign << 64 | sign;
            const zq_u128 abs = ((zq_u128)sum ^ mask) - mask;
            const uint64_t r = zq_reduce_u128(abs, mod);
            job->out[o][j] = zq_sub(r & ~sign, r & sign, mod->q);
        }
    }
}
