/* SPDX-License-Identifier: MIT
 * Parameters and plans, as people read them and as JSON.
 */
#ifndef APPS_SOTTO_SHOW_H
#define APPS_SOTTO_SHOW_H

#include "apps/sotto/json.h"
#include "apps/sotto/text.h"
#include "nn/plan/plan.h"
#include "rlwe/context.h"

/* The figures of a parameter set. */
typedef struct show_parameters {
    double log2_q;    /* of a fresh ciphertext */
    double log2_qp;   /* of the largest published sample */
    int bound;        /* what the table allows at 128 bits; 0: no entry */
    int security;     /* 0: insecure */
    size_t n;         /* ring degree */
    char backend[64]; /* kernels in use, "portable" or "avx2+portable" */
} show_parameters;

/* Gathers the figures of a context. */
show_parameters show_parameters_of(const rlwe_context *context);

/* Sizes of moduli in bits, "46 + 2*32", into text (cap_bytes). */
void show_moduli(char *text, size_t cap_bytes, const rlwe_context *context,
                 const rns_set *set);

/* "batch" or "single". */
const char *show_packing(nn_packing packing);

/* Writes ring, moduli, security, keys, sizes, predictions. */
void show_plan(text_out *out, const nn_plan *plan, const rlwe_context *context,
               const nn_plan_bytes *bytes);

/* Writes the table of steps; in single packing the layouts of their tensors,
 * too. */
void show_steps(text_out *out, const nn_plan *plan);

/* What a step does, "affine + relinearise + rescale", into text. */
void show_step_kind(char *text, size_t cap_bytes, const nn_plan *plan,
                    int step);

/* A small number as a power of two: "2^-7.1"; "0" for 0. */
text_value show_log2(double value);

/* Writes the same as members of an open JSON object. */
void show_plan_json(json_out *j, const nn_plan *plan,
                    const rlwe_context *context, const nn_plan_bytes *bytes);

#endif
