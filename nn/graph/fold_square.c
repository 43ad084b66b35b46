/* SPDX-License-Identifier: MIT
 * Folding: completing the square of quadratic activations.
 */
#include <math.h>

#include "base/mem.h"
#include "nn/graph/fold_internal.h"

void nn_completed_clear(nn_completed *q)
{
    sotto_free(q->scale);
    sotto_free(q->shift);
    sotto_free(q->weight);
    sotto_free(q->constant);
    sotto_free(q->linear);
    *q = (nn_completed){0};
}

static sotto_status completed_init(nn_completed *q, size_t n, sotto_error *err)
{
    *q = (nn_completed){.n = n, .plain_inside = true, .plain_outside = true};
    q->scale = sotto_calloc(n, sizeof *q->scale);
    q->shift = sotto_calloc(n, sizeof *q->shift);
    q->weight = sotto_calloc(n, sizeof *q->weight);
    q->constant = sotto_calloc(n, sizeof *q->constant);
    q->linear = sotto_calloc(n, sizeof *q->linear);
    if (q->scale == NULL || q->shift == NULL || q->weight == NULL ||
        q->constant == NULL || q->linear == NULL) {
        nn_completed_clear(q);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory to fold an activation");
    }
    return SOTTO_OK;
}

/* Completes the square of element i. */
static void complete(nn_completed *q, size_t i, double a, double b, double c)
{
    const double sign = a > 0.0 ? 1.0 : -1.0;

    if (a == 0.0) {
        q->scale[i] = 1.0;
        q->weight[i] = b;
        q->constant[i] = c;
        q->linear[i] = q->any_linear = true;
    } else {
        q->scale[i] = sqrt(fabs(a));
        q->shift[i] = sign * b / (2.0 * q->scale[i]);
        q->weight[i] = sign;
        q->constant[i] = c - b * b / (4.0 * a);
    }
    q->plain_inside =
        q->plain_inside && q->scale[i] == 1.0 && q->shift[i] == 0.0;
    q->plain_outside = q->plain_outside && !q->linear[i] &&
                       q->weight[i] == 1.0 && q->constant[i] == 0.0;
}

sotto_status nn_complete_square(nn_completed *q, const nn_polynomial *poly,
                                const nn_node *node, nn_range range,
                                double max_shift, sotto_error *err)
{
    const double *c = poly->c;
    const size_t n = poly->n;
    const double largest =
        range.known ? fmax(fabs(range.min), fabs(range.max)) : 1.0;

    SOTTO_TRY(completed_init(q, n, err));
    for (size_t i = 0; i < n; i++) {
        const double a = c[2 * n + i], b = c[n + i];
        complete(q, i, a, b, c[i]);
        if (a != 0.0 && !(fabs(b) <= 2.0 * fabs(a) * max_shift * largest)) {
            nn_completed_clear(q);
            return sotto_fail(
                err, SOTTO_ERR_UNSUPPORTED,
                "node '%.120s' (%s): in its polynomial %g·x² + %g·x + … "
                "(coefficient %zu of %zu) the square is too small against the "
                "linear part: |b/(2a)| is %g, at most %g times the largest "
                "|x|%s (%g) is allowed; set a to exactly 0 or train it larger",
                node->name, node->origin, a, b, i, n, fabs(b / (2.0 * a)),
                max_shift, range.known ? "" : " (unknown: calibrate)", largest);
        }
    }
    return SOTTO_OK;
}
