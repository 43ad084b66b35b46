/* SPDX-License-Identifier: MIT
 * A context: checked parameters with everything computed from them.
 * Immutable after creation; shared freely between threads.
 */
#ifndef SOTTO_RLWE_CONTEXT_H
#define SOTTO_RLWE_CONTEXT_H

#include "base/hash.h"
#include "base/status.h"
#include "ntt/rns.h"
#include "rlwe/chain.h"
#include "rlwe/params.h"

typedef struct rlwe_context {
    rlwe_params params;
    rns_ring *ring;
    rlwe_chain chain;
    sotto_sha256 hash; /* fresh: that those of all records are like */
} rlwe_context;

/* Builds tables for the parameters; the backend cap is SOTTO_BACKEND's.
 * error: SOTTO_ERR_PARAM, SOTTO_ERR_SECURITY, SOTTO_ERR_MEMORY; *context is
 * then NULL. owner: the caller, rlwe_context_free. */
sotto_status rlwe_context_new(rlwe_context **context,
                              const rlwe_params_literal *literal,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* As rlwe_context_new with the cap given instead of read from the
 * environment: how tests compare backends in one process. */
sotto_status rlwe_context_new_capped(rlwe_context **context,
                                     const rlwe_params_literal *literal,
                                     ntt_backend cap,
                                     sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void rlwe_context_free(rlwe_context *context);

/* The limbs of a level. */
static inline const rns_set *rlwe_level_set(const rlwe_context *context,
                                            int level)
{
    return &context->chain.level[level].set;
}

/* Words of one polynomial at a level. */
static inline size_t rlwe_level_words(const rlwe_context *context, int level)
{
    return (size_t)context->chain.level[level].set.count *
           context->ring->stride;
}

#endif
