/* SPDX-License-Identifier: MIT
 * The canonical embedding as a Fourier transform over doubles (SPEC §8.2).
 *
 * A real polynomial m of degree below N has N/2 independent values, at the
 * roots zeta^e with e ≡ 1 mod 4. There X^(N/2) = i, so with w_k = m_k +
 * i·m_(k+N/2) they are the values of one complex polynomial w of degree below
 * n = N/2 modulo X^n - i. That modulus splits in halves like X^N + 1 does in
 * the NTT:
 *
 *     X^2t - r²  =  (X^t - r)·(X^t + r)
 *
 *     coefficients  re[k] = m_k, im[k] = m_(k+n)         natural order
 *     values        position p: at zeta^(4·brv(p) + 1)   bit-reversed
 *
 * These doubles define bits of ciphertexts: no libm, one fixed order of
 * operations, and the compiler must not fuse or widen them.
 */
#ifndef SOTTO_CKKS_EMBED_INTERNAL_H
#define SOTTO_CKKS_EMBED_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "ntt/ring.h"
#include "ntt/zq.h"

/* Order of the finest root: 2N for the largest ring. */
#define CKKS_ROOT_LOG2_ORDER (NTT_MAX_LOG2_N + 1)

/* Bound on the error of ckks_root_fixed, in units of 2^-128. */
#define CKKS_ROOT_ERROR 16

/* cos and sin of (π/4)·k / 2^15 in units of 2^-128, by integer series.
 * range: k in [1, 2^15]; |result - true value| < CKKS_ROOT_ERROR.
 * cost: 35 products of 128 bits. */
void ckks_root_fixed(zq_u128 *cosine, zq_u128 *sine, uint32_t k);

/* v·2^-128 as the nearest double (ties to even).  range: v >= 2^64 */
double ckks_root_round(zq_u128 v);

/* e^(2πi·exponent / 2^log2_order), both parts correctly rounded.
 * range: exponent in [0, 2^log2_order), log2_order in [3, 18] */
void ckks_root(double *re, double *im, uint64_t exponent, int log2_order);

/* Twiddle factors: the layer with m blocks reads entries [m, 2m). */
typedef struct ckks_embed {
    int log2_slots;
    size_t n_slots;
    double *re; /* [n_slots] */
    double *im; /* [n_slots] */
} ckks_embed;

/* Fills the table for a ring. error: SOTTO_ERR_MEMORY; the table is then
 * empty. owner: the caller, ckks_embed_clear. */
sotto_status ckks_embed_init(ckks_embed *embed, const ntt_ring *ring,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; may be called again. */
void ckks_embed_clear(ckks_embed *embed);

/* Coefficients -> values, in place.  shape: re, im double[n_slots].
 * secret: no branch or address depends on the data. */
void ckks_embed_forward(const ckks_embed *embed, double *re, double *im);

/* Values -> coefficients times n_slots, in place (the division is left to the
 * caller, who multiplies by a scale anyway). */
void ckks_embed_inverse(const ckks_embed *embed, double *re, double *im);

#endif
