/* SPDX-License-Identifier: MIT
 * Encoded diagonals: residues where they fit the memory, else coefficients that
 * are reduced and transformed at each use. The residues are the same.
 */
#include <math.h>
#include <string.h>

#include "ckks/lintrans_internal.h"
#include "ckks/round_internal.h"
#include "ntt/poly.h"

/* Bytes from limb to limb beside the residues: an odd number of cache lines. */
#define GAP_BYTES 320

void ckks_lintrans_widen(uint64_t *out, const uint32_t *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = in[i];
    }
}

void ckks_lintrans_narrow(uint32_t *out, const uint64_t *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (uint32_t)in[i];
    }
}

/* The modulus m of `sum`. */
static const zq_modulus *modulus(const ckks_lintrans_stage *stage, int m)
{
    return rns_modulus(stage->context->ring, stage->sum.id[m]);
}

/* Says where residues lie. */
static void place_residues(ckks_lintrans_stage *stage)
{
    ckks_lintrans_plains *plains = &stage->plains;
    const size_t n = stage->context->ring->ring.n;
    for (int m = 0; m < stage->sum.count; m++) {
        const bool narrow = ckks_lintrans_is_narrow(modulus(stage, m));
        plains->at[m] = plains->size;
        plains->size +=
            n * (narrow ? sizeof(uint32_t) : sizeof(uint64_t)) + GAP_BYTES;
    }
}

static sotto_status no_room(const ckks_lintrans_stage *stage, size_t size,
                            sotto_error *err)
{
    return sotto_fail(err, SOTTO_ERR_MEMORY,
                      "linear map: no memory for %zu diagonals of %zu bytes",
                      stage->plains.n, size);
}

sotto_status ckks_lintrans_plains_init(ckks_lintrans_stage *stage,
                                       size_t memory_bytes, sotto_error *err)
{
    ckks_lintrans_plains *plains = &stage->plains;
    const size_t n = stage->context->ring->ring.n;
    place_residues(stage);
    plains->resident =
        memory_bytes == 0 || plains->n <= memory_bytes / plains->size;
    if (plains->n == 0) {
        return SOTTO_OK;
    }
    if (plains->resident) {
        plains->held = sotto_calloc(plains->n, plains->size);
        plains->bytes = plains->n * plains->size;
        return plains->held ? SOTTO_OK : no_room(stage, plains->size, err);
    }
    plains->narrow = sotto_calloc(plains->n, n * sizeof *plains->narrow);
    plains->bytes = plains->n * n * sizeof *plains->narrow;
    return plains->narrow ? SOTTO_OK
                          : no_room(stage, n * sizeof *plains->narrow, err);
}

/* Goes over to 64 bits. */
static sotto_status widen(ckks_lintrans_stage *stage, sotto_error *err)
{
    ckks_lintrans_plains *plains = &stage->plains;
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

/* Keeps the residues of diagonal i. room [N]: scratch. */
static void hold(ckks_lintrans_stage *stage, size_t i,
                 const double *coefficient, double bound, uint64_t *room)
{
    ckks_lintrans_plains *plains = &stage->plains;
    const rns_ring *ring = stage->context->ring;
    for (int m = 0; m < stage->sum.count; m++) {
        uint8_t *at = plains->held + i * plains->size + plains->at[m];
        reduce(ring, stage->sum.id[m], room, coefficient, bound);
        if (ckks_lintrans_is_narrow(modulus(stage, m))) {
            ckks_lintrans_narrow((void *)at, room, ring->ring.n);
        } else {
            memcpy(at, room, ring->ring.n * sizeof *room);
        }
    }
}

sotto_status ckks_lintrans_plains_set(ckks_lintrans_stage *stage, size_t i,
                                      const double *coefficient,
                                      sotto_error *err)
{
    ckks_lintrans_plains *plains = &stage->plains;
    const size_t n = stage->context->ring->ring.n;
    const double bound = largest(coefficient, n);
    if (plains->resident) {
        uint64_t *room = sotto_calloc(n, sizeof *room);
        if (room == NULL) {
            return no_room(stage, plains->size, err);
        }
        hold(stage, i, coefficient, bound, room);
        sotto_free(room);
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

const uint64_t *ckks_lintrans_plains_columns(const ckks_lintrans_stage *stage,
                                             size_t i, int m, size_t at,
                                             size_t count, uint64_t *room)
{
    const ckks_lintrans_plains *plains = &stage->plains;
    const rns_ring *ring = stage->context->ring;
    const size_t n = ring->ring.n;
    if (plains->resident) {
        const void *held = plains->held + i * plains->size + plains->at[m];
        if (!ckks_lintrans_is_narrow(modulus(stage, m))) {
            return (const uint64_t *)held + at;
        }
        ckks_lintrans_widen(room, (const uint32_t *)held + at, count);
        return room;
    }
    SOTTO_ASSERT(at == 0 && count == n);
    if (plains->wide != NULL) {
        const double *x = plains->wide + i * n;
        reduce(ring, stage->sum.id[m], room, x, largest(x, n));
    } else {
        reduce_narrow(ring, stage->sum.id[m], room, plains->narrow + i * n);
    }
    return room;
}

void ckks_lintrans_plains_clear(ckks_lintrans_plains *plains)
{
    sotto_free(plains->held);
    sotto_free(plains->narrow);
    sotto_free(plains->wide);
    sotto_free(plains->constant);
    *plains = (ckks_lintrans_plains){0};
}
