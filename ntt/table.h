/* SPDX-License-Identifier: MIT
 * Twiddle factors of the negacyclic NTT for one modulus.
 *
 *     forward[i] = psi^brv(i),   inverse[i] = psi^-brv(i),   i in [0,n)
 *
 * with psi the smallest primitive 2N-th root of unity and brv the reversal of
 * log2 N bits. The layer with m blocks reads forward[m .. 2m) in order. Each
 * factor has its Shoup quotient beside it.
 */
#ifndef SOTTO_NTT_TABLE_H
#define SOTTO_NTT_TABLE_H

#include <stdint.h>

#include "base/status.h"
#include "ntt/ring.h"
#include "ntt/zq.h"

/* Immutable after creation; may be shared between threads. */
typedef struct ntt_table {
    ntt_ring ring;
    zq_modulus mod;
    uint64_t root;           /* psi */
    uint64_t n_inverse;      /* N^-1 mod q */
    uint64_t *forward;       /* [n] */
    uint64_t *forward_shoup; /* [n] */
    uint64_t *inverse;       /* [n] */
    uint64_t *inverse_shoup; /* [n] */
    void *twiddles; /* the chosen backend's own (ntt_kernels_prepare), or NULL;
                     * owned */
} ntt_table;

/* Makes the table of q, a prime ≡ 1 modulo the root order.
 * error: SOTTO_ERR_PARAM when q is not such a prime, SOTTO_ERR_MEMORY; *table
 * is then NULL. owner: the caller, ntt_table_free. cost: O(n). */
sotto_status ntt_table_new(ntt_table **table, const ntt_ring *ring, uint64_t q,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Frees a table; NULL is fine. */
void ntt_table_free(ntt_table *table);

#endif
