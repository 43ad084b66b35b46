/* SPDX-License-Identifier: MIT
 * Twiddle factors of the negacyclic NTT for one modulus.
 */
#include "ntt/table.h"

#include "base/mem.h"
#include "ntt/prime.h"

/* Stores base^i and its Shoup quotient at brv(i) for all i in [0,n). */
static void fill_powers(uint64_t *power, uint64_t *shoup, uint64_t base,
                        const ntt_table *table)
{
    const zq_modulus *mod = &table->mod;
    uint64_t w = 1;
    for (size_t i = 0; i < table->ring.n; i++) {
        const size_t at = ntt_bit_reverse(i, table->ring.log2_n);
        power[at] = w;
        shoup[at] = zq_shoup(w, mod);
        w = zq_mul(w, base, mod);
    }
}

sotto_status ntt_table_new(ntt_table **table, const ntt_ring *ring, uint64_t q,
                           sotto_error *err)
{
    *table = NULL;
    const uint64_t order = ntt_ring_root_order(ring);
    if (q >> ZQ_MAX_BITS != 0 || q % order != 1 || !ntt_prime_is(q)) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "modulus %llu: expected a prime below 2^%d that is "
                          "1 modulo %llu",
                          (unsigned long long)q, ZQ_MAX_BITS,
                          (unsigned long long)order);
    }
    ntt_table *t = sotto_calloc(1, sizeof *t);
    uint64_t *words = sotto_calloc(4 * ring->n, sizeof *words);
    if (t == NULL || words == NULL) {
        sotto_free(words);
        sotto_free(t);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory for the twiddle factors of degree %zu",
                          ring->n);
    }
    t->ring = *ring;
    t->mod = zq_modulus_init(q);
    t->root = ntt_prime_root(q, ring);
    t->n_inverse = zq_inv(ring->n, &t->mod);
    /* One block holds the four arrays; forward is its beginning. */
    t->forward = words;
    t->forward_shoup = words + ring->n;
    t->inverse = words + 2 * ring->n;
    t->inverse_shoup = words + 3 * ring->n;
    fill_powers(t->forward, t->forward_shoup, t->root, t);
    fill_powers(t->inverse, t->inverse_shoup, zq_inv(t->root, &t->mod), t);
    *table = t;
    return SOTTO_OK;
}

void ntt_table_free(ntt_table *table)
{
    if (table != NULL) {
        sotto_free(table->twiddles);
        sotto_free(table->forward);
        sotto_free(table);
    }
}
