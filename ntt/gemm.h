/* SPDX-License-Identifier: MIT
 * Integer matrix × gathered residue rows, modulo one prime.
 *
 *     out[o][j] = Σ_i weight[o][i]·in[i][j]  mod q
 *
 *            in: k pointers to rows of n residues (any order, gathered)
 *                      n columns
 *              +------------------------+
 *        k     |  panel  |              |     panel: columns that are split
 *        rows  |         |              |     into words once and then used
 *              +------------------------+     by all m outputs
 *
 * This is what a linear layer on batch-packed ciphertexts is: no rotation, no
 * NTT, one reduction per output. The portable kernel splits centred residues
 * into balanced words so narrow that Σ|w|·2^(word-1) < 2^52, multiplies and
 * adds them as doubles (exact integers below 2^53), and recombines modulo q.
 */
#ifndef SOTTO_NTT_GEMM_H
#define SOTTO_NTT_GEMM_H

#include <stddef.h>
#include <stdint.h>

#include "ntt/kernels.h"

/* The largest Σ|w| of the m rows of weight[m][k]; what ntt_gemm.row_norm is. */
uint64_t ntt_gemm_row_norm(const int32_t *weight, size_t m, size_t k);

/* Words into which the portable kernel splits residues of q for this norm:
 * the least w with Σ|w|·2^(ceil(bits/w)) small enough.
 * range: row_norm >= 1. Result: 1 … 4. */
int ntt_gemm_words(const zq_modulus *mod, uint64_t row_norm);

#endif
