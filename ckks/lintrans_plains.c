/* SPDX-License-Identifier: MIT
 * Encoded diagonals: residues where they fit the memory, else coefficients that
 * are reduced and transformed at each use. The residues are the same.
 */
#include <math.h>
#include <string.h>

#include "ckks/lintrans_internal.h"
#include "ckks/round_internal.h"
#include "ntt/poly.h"

/* Words of one diagonal's residues. */
static size_t residue_words(const lintrans_stage *stage)
{
    return poly_words(stage->context->ring, stage->sum.count);
}

static sotto_status no_room(const lintrans_stage *stage, size_t size,
                            sotto_error *err)
{
    return sotto_fail(err, SOTTO_ERR_MEMORY,
                      "linear map: no memory for %zu diagonals of %zu bytes",
                      stage->plains.n, size);
}

sotto_status lintrans_plains_init(lintrans_stage *stage, size_t memory_bytes,
                                  sotto_error *err)
{
    lintrans_plains *plains = &stage->plains;
    const size_t n = stage->context->ring->ring.n;
    const size_t size = residue_words(stage) * sizeof *plains->residue;
    plains->resident = memory_bytes == 0 || plains->n <= memory_bytes / size;
    if (plains->n == 0) {
        return SOTTO_OK;
    }
    if (plains->resident) {
        plains->residue = sotto_calloc(plains->n, size);
        plains->bytes = plains->n * size;
        return plains->residue ? SOTTO_OK : no_room(stage, size, err);
    }
    plains->narrow = sotto_calloc(plains->n, n * sizeof *plains->narrow);
    plains->bytes = plains->n * n * sizeof *plains->narrow;
    return plains->narrow ? SOTTO_OK
                          : no_room(stage, n * sizeof *plains->narrow, err);
}

/* Goes over to 64 bits. */
static sotto_status widen(lintrans_stage *stage, sotto_error *err)
{
    lintrans_plains *plains = &stage->plains;
    const size_t n = plains->n * stage->context->ring->ring.n;
    plains->wide = sotto_calloc(n, sizeof *plains->wide);
    if (plains->wide == NULL) {
        return no_room(stage, stage->context->ring->ring.n * sizeof(double),
                       err);
    }
    for (size_t i = 0; i < n; i++) {
        plains->wide[i] = plains->narrow[i];
    }
    sotto_free(plains->narrow);
    plains->narrow = NULL;
    plains->bytes = n * sizeof *plains->wide;
    return SOTTO_OK;
}

/* The largest magnitude. */
static double largest(const double *x, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        most = fabs(x[i]) > most ? fabs(x[i]) : most;
    }
    return most;
}

/* Residues of real numbers below `bound`, rounded; NTT domain. */
static void reduce(const rns_ring *ring, int id, uint64_t *out, const double *x,
                   double bound)
{
    const rns_limb *limb = &ring->limb[id];
    const zq_modulus *mod = &limb->table->mod;
    const size_t n = ring->ring.n;
    if (bound <= CKKS_ROUND_ONE_WORD && mod->bits <= 50) {
        ckks_round_small(out, mod, x, n);
    } else {
        const int n_words = ckks_round_words(bound);
        uint64_t word[CKKS_MAX_WORDS][CKKS_ROUND_BLOCK];
        for (size_t at = 0; at < n; at += CKKS_ROUND_BLOCK) {
            ckks_round_cut(word, n_words, x + at, CKKS_ROUND_BLOCK);
            ckks_round_reduce(out + at, mod, word, n_words, CKKS_ROUND_BLOCK);
        }
    }
    limb->kernels.forward(out, limb->table);
}

/* Residues of integers of 32 bits; NTT domain. */
static void reduce_narrow(const rns_ring *ring, int id, uint64_t *out,
                          const int32_t *x)
{
    const rns_limb *limb = &ring->limb[id];
    const zq_modulus *mod = &limb->table->mod;
    double block[CKKS_ROUND_BLOCK];
    for (size_t at = 0; at < ring->ring.n; at += CKKS_ROUND_BLOCK) {
        for (size_t i = 0; i < CKKS_ROUND_BLOCK; i++) {
            block[i] = x[at + i];
        }
        if (mod->bits <= 50) {
            ckks_round_small(out + at, mod, block, CKKS_ROUND_BLOCK);
            continue;
        }
        for (size_t i = 0; i < CKKS_ROUND_BLOCK; i++) {
            out[at + i] = zq_from_i64(x[at + i], mod);
        }
    }
    limb->kernels.forward(out, limb->table);
}

sotto_status lintrans_plains_set(lintrans_stage *stage, size_t i,
                                 const double *coefficient, sotto_error *err)
{
    lintrans_plains *plains = &stage->plains;
    const rns_ring *ring = stage->context->ring;
    const size_t n = ring->ring.n;
    const double bound = largest(coefficient, n);
    if (plains->resident) {
        uint64_t *at = plains->residue + i * residue_words(stage);
        for (int m = 0; m < stage->sum.count; m++) {
            reduce(ring, stage->sum.id[m], poly_limb(ring, at, m), coefficient,
                   bound);
        }
        return SOTTO_OK;
    }
    if (plains->wide == NULL && bound >= 0x1p+31 - 1) {
        SOTTO_TRY(widen(stage, err));
    }
    if (plains->wide != NULL) {
        memcpy(plains->wide + i * n, coefficient, n * sizeof *coefficient);
        return SOTTO_OK;
    }
    for (size_t k = 0; k < n; k++) {
        plains->narrow[i * n + k] = (int32_t)rint(coefficient[k]);
    }
    return SOTTO_OK;
}

const uint64_t *lintrans_plains_limb(const lintrans_stage *stage, size_t i,
                                     int m, uint64_t *room)
{
    const lintrans_plains *plains = &stage->plains;
    const rns_ring *ring = stage->context->ring;
    const size_t n = ring->ring.n;
    if (plains->resident) {
        return poly_limb_const(ring, plains->residue + i * residue_words(stage),
                               m);
    }
    if (plains->wide != NULL) {
        const double *x = plains->wide + i * n;
        reduce(ring, stage->sum.id[m], room, x, largest(x, n));
    } else {
        reduce_narrow(ring, stage->sum.id[m], room, plains->narrow + i * n);
    }
    return room;
}

void lintrans_plains_clear(lintrans_plains *plains)
{
    sotto_free(plains->residue);
    sotto_free(plains->narrow);
    sotto_free(plains->wide);
    sotto_free(plains->constant);
    *plains = (lintrans_plains){0};
}
