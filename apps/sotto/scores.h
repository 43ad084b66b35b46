/* SPDX-License-Identifier: MIT
 * Scores on their way to files: the largest, softmax, CSV, JSON.
 */
#ifndef APPS_SOTTO_SCORES_H
#define APPS_SOTTO_SCORES_H

#include <stdint.h>

#include "apps/sotto/json.h"
#include "apps/sotto/text.h"

/* Number of the largest score; the first of equals. range: n > 0. */
size_t scores_label(const double *score, size_t n);

/* Turns scores into probabilities. */
void scores_softmax(double *score, size_t n);

/* Writes "index,label,score0,…", the first line of a CSV, and one line. */
void scores_csv_head(text_out *out, size_t n);
void scores_csv(text_out *out, uint64_t index, const double *score, size_t n);

/* Writes one element of an open JSON array. */
void scores_json(json_out *j, uint64_t index, const double *score, size_t n);

#endif
