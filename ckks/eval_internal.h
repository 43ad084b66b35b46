/* SPDX-License-Identifier: MIT
 * What the files of the evaluator share: views of inputs, checks, outputs.
 *
 * An operation looks at its inputs, checks everything, opens the output (the
 * last thing that can fail), and then only computes. Since the output may be
 * an input, nothing of an input but its view is used after the opening.
 */
#ifndef SOTTO_CKKS_EVAL_INTERNAL_H
#define SOTTO_CKKS_EVAL_INTERNAL_H

#include <stdint.h>

#include "ckks/eval.h"

/* An input as it was before any output changed. */
typedef struct ckks_view {
    int level;
    int n; /* components */
    double scale;
    const uint64_t *data;
    uint8_t key_id[RLWE_KEY_ID_BYTES];
} ckks_view;

/* The view of a ciphertext; asserts that it has content. */
ckks_view ckks_look(const ckks_evaluator *ev, const ckks_ct *ct);

/* Component i of a view. */
static inline const uint64_t *ckks_part(const ckks_evaluator *ev,
                                        const ckks_view *view, int i)
{
    return view->data + (size_t)i * rlwe_level_words(ev->context, view->level);
}

/* Component i of an opened output. */
static inline uint64_t *ckks_out(const ckks_evaluator *ev, const ckks_ct *out,
                                 int i)
{
    return rlwe_ct_component(&out->ct, ev->context, i);
}

/* Takes one polynomial of `level` from the evaluator's arena. */
uint64_t *ckks_take(ckks_evaluator *ev, int level);

/* Gives the output its shape, scale and key. error: SOTTO_ERR_PARAM when it
 * has no room (nothing is changed). */
sotto_status ckks_open(ckks_evaluator *ev, const char *op, ckks_ct *out,
                       const ckks_view *like, int level, int n_components,
                       double scale) SOTTO_MUST_CHECK;

/* out = a. error: SOTTO_ERR_PARAM when it has no room. */
sotto_status ckks_copy(ckks_evaluator *ev, const char *op, ckks_ct *out,
                       const ckks_ct *a) SOTTO_MUST_CHECK;

/* Fails unless a division by the step from view's level to `level` exists. */
sotto_status ckks_find_step(ckks_evaluator *ev, const char *op,
                            const ckks_view *view, int level,
                            const rlwe_transition **step) SOTTO_MUST_CHECK;

/* Divides every component; the steps of ckks_rescale after the checks. */
sotto_status ckks_divide_all(ckks_evaluator *ev, const char *op, ckks_ct *out,
                             const ckks_view *a,
                             const rlwe_transition *step) SOTTO_MUST_CHECK;

/* True when both are scales and differ by at most 2^-40 relatively. */
bool ckks_same_scale(double a, double b);

#endif
