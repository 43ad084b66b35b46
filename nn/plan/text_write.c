/* SPDX-License-Identifier: MIT
 * Writing a plan as text (SPEC §13): one line per fact, fixed keys in a fixed
 * order, reals as hexadecimal floats so that nothing is lost.
 *
 *     sotto-plan 1
 *     packing batch
 *     images 10000
 *     ring standard 13
 *     …
 *     step affine conv1 845 bits 8 relinearise no level 0 …
 *     …
 *     id <SHA-256 of everything above>
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "nn/plan/plan_internal.h"

/* Longest text that a plan within its limits can have. */
#define TEXT_CAPACITY NN_PLAN_MAX_BYTES

typedef struct text_out {
    char *data;
    size_t at;
    bool ok;
} text_out;

static void put(text_out *out, const char *format, ...) SOTTO_PRINTF(2, 3);

static void put(text_out *out, const char *format, ...)
{
    if (!out->ok) {
        return;
    }
    va_list args;
    va_start(args, format);
    const int n =
        vsnprintf(out->data + out->at, TEXT_CAPACITY - out->at, format, args);
    va_end(args);
    out->ok = n >= 0 && (size_t)n < TEXT_CAPACITY - out->at;
    out->at += out->ok ? (size_t)n : 0;
}

static void put_set(text_out *out, const char *key, const rns_set *set)
{
    put(out, "%s %d", key, set->count);
    for (int i = 0; i < set->count; i++) {
        put(out, " %d", set->id[i]);
    }
    put(out, "\n");
}

static void put_hex(text_out *out, const char *key, const uint8_t *bytes)
{
    char hex[2 * SOTTO_HASH_BYTES + 1];
    sotto_hex(hex, bytes, SOTTO_HASH_BYTES);
    put(out, "%s %s\n", key, hex);
}

static void put_params(text_out *out, const rlwe_params_literal *p)
{
    put(out, "ring standard %d\n", p->log2_n);
    put(out, "security %d %s\n", p->security,
        p->allow_insecure ? "insecure" : "enforced");
    put(out, "moduli %d\n", p->n_moduli);
    for (int i = 0; i < p->n_moduli; i++) {
        put(out, "modulus %" PRIu64 "\n", p->modulus[i]);
    }
    put(out, "levels %d\n", p->n_levels);
    for (int i = 0; i < p->n_levels; i++) {
        put_set(out, "level", &p->level[i]);
    }
    put(out, "gadgets %d\n", p->n_gadgets);
    for (int i = 0; i < p->n_gadgets; i++) {
        const rlwe_gadget *g = &p->gadget[i];
        put_set(out, "limbs", &g->limbs);
        put(out, "digits %d", g->n_digits);
        for (int j = 0; j < g->limbs.count; j++) {
            put(out, " %d", g->digit[j]);
        }
        put(out, "\n");
        put_set(out, "special", &g->special);
    }
    put(out, "public %d\n", p->has_public ? p->public_special : -1);
}

static void put_shape(text_out *out, const nn_shape *shape)
{
    put(out, " %d", shape->rank);
    for (int i = 0; i < shape->rank; i++) {
        put(out, " %zu", shape->dim[i]);
    }
}

static void put_input(text_out *out, const nn_plan *plan)
{
    put(out, "input");
    put_shape(out, &plan->input_shape);
    put(out, "\n");
    if (plan->packing == NN_PACKING_SINGLE) {
        char text[NN_LAYOUT_TEXT_BYTES];
        put(out, "input_layout %s\n",
            nn_layout_text(text, &plan->input_layout));
    }
    put(out, "input_scale %a\n", plan->input_scale);
    put(out, "input_range %a %a\n", plan->input_min, plan->input_max);
    put(out, "normalise %d", plan->n_mean);
    for (int i = 0; i < plan->n_mean; i++) {
        put(out, " %a %a", (double)plan->mean[i], (double)plan->std[i]);
    }
    put(out, "\n");
}

static const char *relinearise_word(const nn_plan_step *step)
{
    return step->relinearise_source ? "before"
           : step->relinearise      ? "after"
                                    : "no";
}

static void put_batch_step(text_out *out, const nn_plan_step *s)
{
    put(out, " bits %d relinearise %s level %d components %d scale %a",
        s->weight_bits, relinearise_word(s), s->level, s->n_components,
        s->scale);
}

static void put_single_step(text_out *out, const nn_plan_step *s)
{
    const nn_single_choice *c = &s->slots.choice;
    if (s->kind == NN_STEP_AFFINE) {
        put(out,
            " fold %" PRIu32 " split %" PRIu32 " shift %" PRIu32
            " pool %" PRIu32 " %" PRIu32 " folds %s",
            c->fold, c->split, c->shift, c->pool[0], c->pool[1],
            s->slots.late_folds ? "late" : "early");
    }
    put(out, " gadget %d level %d scale %a", s->slots.gadget, s->level,
        s->scale);
}

static void put_step(text_out *out, const nn_plan *plan, const nn_plan_step *s)
{
    put(out, "step %s %s %zu", s->kind == NN_STEP_AFFINE ? "affine" : "square",
        s->name, s->n_elements);
    if (plan->packing == NN_PACKING_SINGLE) {
        put_single_step(out, s);
    } else {
        put_batch_step(out, s);
    }
    put(out, " range %a error %a seconds %a\n", s->range, s->he_error,
        s->seconds);
    if (plan->packing == NN_PACKING_SINGLE && s->kind == NN_STEP_AFFINE) {
        char text[NN_LAYOUT_TEXT_BYTES];
        put(out, "layout");
        put_shape(out, &s->slots.choice.layout.shape);
        put(out, " %s\n", nn_layout_text(text, &s->slots.choice.layout));
    }
}

static void put_steps(text_out *out, const nn_plan *plan)
{
    put(out, "steps %d\n", plan->n_steps);
    for (int k = 0; k < plan->n_steps; k++) {
        put_step(out, plan, &plan->step[k]);
    }
    put(out, "keys %d\n", plan->n_keys);
    for (int i = 0; i < plan->n_keys; i++) {
        const nn_plan_key *key = &plan->key[i];
        put(out, "key %s %" PRIu64 " gadget %d\n",
            key->target.kind == RLWE_KEY_POWER ? "power" : "galois",
            key->target.value, key->gadget);
    }
}

static void put_costs(text_out *out, const nn_plan *plan)
{
    if (!plan->measured) {
        put(out, "costs committed\n");
        return;
    }
    put(out, "costs measured %d", (int)NN_COST_UNITS);
    for (int i = 0; i < NN_COST_UNITS; i++) {
        put(out, " %a", plan->costs.ns[i]);
    }
    put(out, "\n");
}

static void put_plan(text_out *out, const nn_plan *plan)
{
    put(out, "sotto-plan 1\npacking %s\n",
        plan->packing == NN_PACKING_SINGLE ? "single" : "batch");
    put(out, "images %" PRIu64 "\n", plan->images);
    put_params(out, &plan->params);
    put_input(out, plan);
    put_steps(out, plan);
    put(out, "outputs %zu %s\n", plan->n_outputs,
        plan->softmax ? "softmax" : "raw");
    put(out, "confidence %a\n", plan->confidence);
    put(out, "noise_std %a\n", plan->he_noise_std);
    put(out, "he_error %a\n", plan->he_error);
    put(out, "rounding_error %a\n", plan->rounding_error);
    put(out, "margin_bits %a\n", plan->margin_bits);
    put(out, "seconds %a\n", plan->seconds);
    put(out, "read_seconds %a\n", plan->read_seconds);
    put_costs(out, plan);
    put_hex(out, "model", plan->model_id);
}

/* The smallest power of two that is not smaller. */
static double round_up(double x)
{
    return x > 0 ? exp2(ceil(log2(x))) : 0;
}

sotto_status nn_plan_write(char **text, size_t *len_bytes, nn_plan *plan,
                           sotto_error *err)
{
    *text = NULL;
    text_out out = {.data = sotto_calloc(TEXT_CAPACITY, 1), .ok = true};
    if (out.data == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    /* Inner errors depend on the weights: only their size is told. */
    for (int k = 0; k < plan->n_steps; k++) {
        plan->step[k].he_error = round_up(plan->step[k].he_error);
    }
    put_plan(&out, plan);
    sotto_sha256_of(plan->id, out.data, out.at);
    put_hex(&out, "id", plan->id);
    if (!out.ok) {
        sotto_free(out.data);
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "the plan is larger than %zu bytes",
                          (size_t)TEXT_CAPACITY);
    }
    *text = out.data;
    *len_bytes = out.at;
    return SOTTO_OK;
}
