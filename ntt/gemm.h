/* SPDX-License-Identifier: MIT
 * Integer matrix × gathered residue rows, modulo one prime.
 *
 *     out[o][j] = Σ_i weight[o][i]·in[i][j] + offset[o]  mod q
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
 * into balanced 16-bit words and weights into words of 11 bits or so, sums
 * products of words in 32 bits over chunks of k, and recombines modulo q
 * (gemm_portable.c has the ranges).
 */
#ifndef SOTTO_NTT_GEMM_H
#define SOTTO_NTT_GEMM_H

#include <stddef.h>
#include <stdint.h>

#include "ntt/kernels.h"

/* The largest Σ|w| of the m rows of weight[m][k]; what ntt_gemm.row_norm is. */
uint64_t ntt_gemm_row_norm(const int32_t *weight, size_t m, size_t k);

/* Products of 16-bit words that the portable kernel does for one product of a
 * weight of at most largest_weight in absolute value and a residue of q: words
 * of the residue times words of the weight, 1 … 12. Its time is about
 * m·k·n/10.5 cycles for each, 2.3 cycles per residue that it gathers, and 8 to
 * 21 per residue of the output.
 * math: the residue takes the least b with (q-1)/2 <= Σ_{i<b} 2^(16i)·(2^15-1):
 * 2 below 2^32 - 2^16, 3 below 2^48 - 2^32 - 2^16; the weight takes 1 below
 * 2^11, 2 below 2^21, otherwise 3. */
int ntt_gemm_words(const zq_modulus *mod, uint64_t largest_weight);

#endif
