/* SPDX-License-Identifier: MIT
 * A context: checked parameters with everything computed from them.
 */
#include "rlwe/context.h"

#include "base/mem.h"

/* Checks before tables: a hostile literal costs no memory. On failure the
 * caller frees what is there. */
static sotto_status fill_context(rlwe_context *context,
                                 const rlwe_params_literal *literal,
                                 ntt_backend cap, sotto_error *err)
{
    SOTTO_TRY(rlwe_params_check(&context->params, literal, err));
    sotto_sha256_init(&context->hash);
    sotto_sha256_ask(&context->hash);
    const ntt_ring shape = ntt_ring_init(literal->log2_n);
    SOTTO_TRY(rns_ring_new(&context->ring, &shape, literal->modulus,
                           literal->n_moduli, cap, err));
    return rlwe_chain_init(&context->chain, context->ring, &context->params,
                           err);
}

sotto_status rlwe_context_new_capped(rlwe_context **context,
                                     const rlwe_params_literal *literal,
                                     ntt_backend cap, sotto_error *err)
{
    *context = NULL;
    rlwe_context *made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory for a context");
    }
    const sotto_status status = fill_context(made, literal, cap, err);
    if (status != SOTTO_OK) {
        rlwe_context_free(made);
        return status;
    }
    *context = made;
    return SOTTO_OK;
}

sotto_status rlwe_context_new(rlwe_context **context,
                              const rlwe_params_literal *literal,
                              sotto_error *err)
{
    *context = NULL;
    ntt_backend cap;
    SOTTO_TRY(ntt_backend_cap(&cap, err));
    return rlwe_context_new_capped(context, literal, cap, err);
}

void rlwe_context_free(rlwe_context *context)
{
    if (context != NULL) {
        rlwe_chain_clear(&context->chain);
        rns_ring_free(context->ring);
        sotto_free(context);
    }
}
