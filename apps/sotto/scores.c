/* SPDX-License-Identifier: MIT
 * Scores on their way to files.
 */
#include "apps/sotto/scores.h"

#include <inttypes.h>
#include <math.h>

size_t scores_label(const double *score, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (score[i] > score[best]) {
            best = i;
        }
    }
    return best;
}

void scores_softmax(double *score, size_t n)
{
    /* The largest becomes e^0: nothing overflows. */
    const double largest = score[scores_label(score, n)];
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        score[i] = exp(score[i] - largest);
        sum += score[i];
    }
    for (size_t i = 0; i < n; i++) {
        score[i] /= sum;
    }
}

void scores_csv_head(text_out *out, size_t n)
{
    text_put(out, "index,label");
    for (size_t i = 0; i < n; i++) {
        text_printf(out, ",score%zu", i);
    }
    text_put(out, "\n");
}

void scores_csv(text_out *out, uint64_t index, const double *score, size_t n)
{
    text_printf(out, "%" PRIu64 ",%zu", index, scores_label(score, n));
    for (size_t i = 0; i < n; i++) {
        text_printf(out, ",%.9g", score[i]);
    }
    text_put(out, "\n");
}

void scores_json(json_out *j, uint64_t index, const double *score, size_t n)
{
    json_object(j, NULL);
    json_count(j, "index", index);
    json_count(j, "label", scores_label(score, n));
    json_reals(j, "scores", score, n);
    json_end(j);
}
