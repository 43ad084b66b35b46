/* SPDX-License-Identifier: MIT
 * Reading a plan's text (text_write.c shows it). Nothing in it is trusted:
 * every number has bounds, every list a length, and the id must be the hash of
 * the text.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/plan/plan_internal.h"

#define TOKEN_BYTES 128
#define MAX_SECONDS 1e18

/* Sticky: after the first thing that does not fit, everything is zero and
 * `what` names what was expected. */
typedef struct text_in {
    const char *text;
    size_t len;
    size_t at;
    int line;
    bool ok;
    char what[TOKEN_BYTES];
} text_in;

static void bad(text_in *in, const char *expected)
{
    if (in->ok) {
        in->ok = false;
        snprintf(in->what, sizeof(in->what), "%s", expected);
    }
}

/* The next word of the present line; "" at its end. */
static void word(text_in *in, char *token)
{
    token[0] = '\0';
    while (in->at < in->len && in->text[in->at] == ' ') {
        in->at++;
    }
    size_t n = 0;
    while (in->at < in->len && in->text[in->at] > ' ' &&
           in->text[in->at] < 0x7f) {
        if (n + 1 == TOKEN_BYTES) {
            bad(in, "a shorter word");
            return;
        }
        token[n++] = in->text[in->at++];
    }
    token[n] = '\0';
    if (n == 0) {
        bad(in, "another word on this line");
    }
}

static void keyword(text_in *in, const char *key)
{
    char token[TOKEN_BYTES];
    word(in, token);
    if (strcmp(token, key) != 0) {
        bad(in, key);
    }
}

static void end_line(text_in *in)
{
    if (in->at >= in->len || in->text[in->at] != '\n') {
        bad(in, "the end of the line");
        return;
    }
    in->at++;
    in->line += in->ok;
}

static uint64_t whole(text_in *in, uint64_t min, uint64_t max)
{
    char token[TOKEN_BYTES];
    word(in, token);
    char *end = NULL;
    const uint64_t x = strtoull(token, &end, 10);
    const bool digits = token[0] >= '0' && token[0] <= '9' && *end == '\0';
    if (!digits || strlen(token) > 19 || x < min || x > max) {
        char expected[TOKEN_BYTES];
        snprintf(expected, sizeof(expected),
                 "a whole number from %" PRIu64 " to %" PRIu64, min, max);
        bad(in, expected);
        return min;
    }
    return x;
}

static double real(text_in *in, double min, double max)
{
    char token[TOKEN_BYTES];
    word(in, token);
    char *end = NULL;
    const double x = strtod(token, &end);
    if (end == token || *end != '\0' || !(x >= min && x <= max)) {
        char expected[TOKEN_BYTES];
        snprintf(expected, sizeof(expected), "a number from %g to %g", min,
                 max);
        bad(in, expected);
        return min;
    }
    return x;
}

/* Steps over "-1" and says whether it was there. */
static bool minus_one(text_in *in)
{
    text_in ahead = *in;
    char token[TOKEN_BYTES];
    word(&ahead, token);
    const bool found = strcmp(token, "-1") == 0;
    if (found) {
        *in = ahead;
    }
    return found;
}

/* One of two words; true for the first. */
static bool either(text_in *in, const char *yes, const char *no)
{
    char token[TOKEN_BYTES];
    word(in, token);
    if (strcmp(token, yes) == 0) {
        return true;
    }
    if (strcmp(token, no) != 0) {
        char expected[TOKEN_BYTES];
        snprintf(expected, sizeof(expected), "%s or %s", yes, no);
        bad(in, expected);
    }
    return false;
}

static uint64_t whole_line(text_in *in, const char *key, uint64_t min,
                           uint64_t max)
{
    keyword(in, key);
    const uint64_t x = whole(in, min, max);
    end_line(in);
    return x;
}

static double real_line(text_in *in, const char *key, double min, double max)
{
    keyword(in, key);
    const double x = real(in, min, max);
    end_line(in);
    return x;
}

static void get_set(text_in *in, const char *key, rns_set *set, int n_moduli)
{
    keyword(in, key);
    set->count = (int)whole(in, 1, (uint64_t)n_moduli);
    for (int i = 0; in->ok && i < set->count; i++) {
        set->id[i] = (uint8_t)whole(in, i ? set->id[i - 1] + 1u : 0,
                                    (uint64_t)n_moduli - 1);
    }
    end_line(in);
}

static void get_hex(text_in *in, const char *key, uint8_t *bytes)
{
    char token[TOKEN_BYTES];
    keyword(in, key);
    word(in, token);
    end_line(in);
    const size_t n = strspn(token, "0123456789abcdef");
    if (n != 2 * SOTTO_HASH_BYTES || token[n] != '\0') {
        bad(in, "64 hexadecimal digits");
        return;
    }
    for (size_t i = 0; i < SOTTO_HASH_BYTES; i++) {
        const char pair[3] = {token[2 * i], token[2 * i + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static void get_params(text_in *in, rlwe_params_literal *p)
{
    keyword(in, "ring");
    keyword(in, "standard");
    p->log2_n = (int)whole(in, RLWE_MIN_LOG2_N, RLWE_MAX_LOG2_N);
    end_line(in);
    keyword(in, "security");
    p->security = (int)whole(in, 128, 256);
    p->allow_insecure = either(in, "insecure", "enforced");
    end_line(in);
    p->n_moduli = (int)whole_line(in, "moduli", 1, RNS_MAX_LIMBS);
    for (int i = 0; in->ok && i < p->n_moduli; i++) {
        p->modulus[i] = whole_line(in, "modulus", 3, ((uint64_t)1 << 60) - 1);
    }
    p->n_levels = (int)whole_line(in, "levels", 1, RLWE_MAX_LEVELS);
    for (int i = 0; in->ok && i < p->n_levels; i++) {
        get_set(in, "level", &p->level[i], p->n_moduli);
    }
    p->n_gadgets = (int)whole_line(in, "gadgets", 0, RLWE_MAX_GADGETS);
    for (int i = 0; in->ok && i < p->n_gadgets; i++) {
        rlwe_gadget *g = &p->gadget[i];
        get_set(in, "limbs", &g->limbs, p->n_moduli);
        keyword(in, "digits");
        g->n_digits = (int)whole(in, 1, RNS_MAX_LIMBS);
        for (int j = 0; in->ok && j < g->limbs.count; j++) {
            g->digit[j] = (uint8_t)whole(in, 0, (uint64_t)g->n_digits - 1);
        }
        end_line(in);
        get_set(in, "special", &g->special, p->n_moduli);
    }
    keyword(in, "public");
    p->has_public = !minus_one(in);
    if (p->has_public) {
        p->public_special = (int)whole(in, 0, (uint64_t)p->n_moduli - 1);
    }
    end_line(in);
}

/* A shape; returns its number of elements. */
static size_t get_shape(text_in *in, nn_shape *shape)
{
    size_t n = 1;
    *shape = (nn_shape){.rank = (int)whole(in, 1, NN_MAX_RANK)};
    for (int i = 0; in->ok && i < shape->rank; i++) {
        shape->dim[i] = whole(in, 1, NN_MAX_ELEMENTS);
        n *= shape->dim[i];
        if (n > NN_MAX_ELEMENTS) {
            bad(in, "a smaller shape");
            n = 1;
        }
    }
    return n;
}

/* The rest of the line as a layout of a tensor. */
static void get_layout(text_in *in, nn_layout *layout, const nn_shape *shape,
                       int log2_slots)
{
    char text[NN_LAYOUT_TEXT_BYTES];
    size_t n = 0;
    if (in->ok && in->at < in->len && in->text[in->at] == ' ') {
        in->at++;
    }
    while (in->ok && in->at < in->len && in->text[in->at] != '\n') {
        if (n + 1 == sizeof(text)) {
            bad(in, "a shorter layout");
            break;
        }
        text[n++] = in->text[in->at++];
    }
    text[n] = '\0';
    if (in->ok &&
        (nn_layout_parse(layout, shape, log2_slots, text, NULL) != SOTTO_OK ||
         ((uint64_t)layout->n_cts << log2_slots) > NN_LAYOUT_MAX_ADDRESSES)) {
        bad(in, "a layout");
        *layout = (nn_layout){.shape = *shape, .n_cts = 1};
    }
    end_line(in);
}

static void get_input(text_in *in, nn_plan *plan)
{
    keyword(in, "input");
    plan->n_inputs = get_shape(in, &plan->input_shape);
    end_line(in);
    if (plan->packing == NN_PACKING_SINGLE) {
        keyword(in, "input_layout");
        get_layout(in, &plan->input_layout, &plan->input_shape,
                   plan->params.log2_n - 1);
        plan->n_inputs = plan->input_layout.n_cts;
    }
    plan->input_scale = real_line(in, "input_scale", 1, 0x1p300);
    keyword(in, "input_range");
    plan->input_min = real(in, -0x1p60, 0x1p60);
    plan->input_max = real(in, plan->input_min, 0x1p60);
    end_line(in);
    keyword(in, "normalise");
    plan->n_mean = (int)whole(in, 0, NN_PLAN_MAX_MEAN);
    for (int i = 0; in->ok && i < plan->n_mean; i++) {
        plan->mean[i] = (float)real(in, -1e30, 1e30);
        plan->std[i] = (float)real(in, 1e-30, 1e30);
    }
    end_line(in);
}

/* What batch packing says of a step. */
static void get_batch_step(text_in *in, nn_plan_step *s, int n_levels)
{
    char token[TOKEN_BYTES];
    keyword(in, "bits");
    s->weight_bits = (int)whole(in, 0, 40);
    keyword(in, "relinearise");
    word(in, token);
    s->relinearise = strcmp(token, "after") == 0;
    s->relinearise_source = strcmp(token, "before") == 0;
    if (!s->relinearise && !s->relinearise_source && strcmp(token, "no") != 0) {
        bad(in, "no, before or after");
    }
    keyword(in, "level");
    s->level = (int)whole(in, 0, (uint64_t)n_levels - 1);
    keyword(in, "components");
    s->n_components = (int)whole(in, RLWE_MIN_COMPONENTS, RLWE_MAX_COMPONENTS);
}

/* What single packing says of a step, but for the layout. */
static void get_single_step(text_in *in, nn_plan_step *s,
                            const rlwe_params_literal *params)
{
    const uint64_t slots = (uint64_t)1 << (params->log2_n - 1);
    nn_single_choice *c = &s->slots.choice;
    s->n_components = RLWE_MIN_COMPONENTS;
    s->relinearise = s->kind == NN_STEP_SQUARE;
    if (s->kind == NN_STEP_AFFINE) {
        keyword(in, "fold");
        c->fold = (uint32_t)whole(in, 1, slots);
        keyword(in, "split");
        c->split = (uint32_t)whole(in, 1, slots);
        keyword(in, "shift");
        c->shift = (uint32_t)whole(in, 0, slots - 1);
        keyword(in, "pool");
        c->pool[0] = (uint32_t)whole(in, 1, slots);
        c->pool[1] = (uint32_t)whole(in, 1, slots);
        keyword(in, "folds");
        s->slots.late_folds = either(in, "late", "early");
    }
    keyword(in, "gadget");
    s->slots.gadget =
        minus_one(in) ? -1 : (int)whole(in, 0, RLWE_MAX_GADGETS - 1);
    if (s->slots.gadget >= params->n_gadgets) {
        bad(in, "a gadget that exists");
    }
    keyword(in, "level");
    s->level = (int)whole(in, 0, (uint64_t)params->n_levels - 1);
}

/* before: the layout of the tensor before, in single packing. */
static void get_step(text_in *in, nn_plan *plan, nn_plan_step *s,
                     const nn_layout *before)
{
    char token[TOKEN_BYTES];
    keyword(in, "step");
    s->kind = either(in, "affine", "square") ? NN_STEP_AFFINE : NN_STEP_SQUARE;
    word(in, token);
    snprintf(s->name, sizeof(s->name), "%.*s", NN_PLAN_NAME_BYTES - 1, token);
    s->n_elements = whole(in, 1, NN_MAX_ELEMENTS);
    if (plan->packing == NN_PACKING_SINGLE) {
        get_single_step(in, s, &plan->params);
    } else {
        get_batch_step(in, s, plan->params.n_levels);
    }
    keyword(in, "scale");
    s->scale = real(in, 0x1p-20, 0x1p1000);
    keyword(in, "range");
    s->range = real(in, 0x1p-60, 0x1p200);
    keyword(in, "error");
    s->he_error = real(in, 0, 0x1p200);
    keyword(in, "seconds");
    s->seconds = real(in, 0, MAX_SECONDS);
    end_line(in);
    if (plan->packing != NN_PACKING_SINGLE) {
        return;
    }
    s->slots.choice.layout = *before;
    if (s->kind == NN_STEP_AFFINE) {
        nn_shape shape;
        keyword(in, "layout");
        if (get_shape(in, &shape) != s->n_elements) {
            bad(in, "a shape of as many elements as the step makes");
        }
        get_layout(in, &s->slots.choice.layout, &shape,
                   plan->params.log2_n - 1);
    }
}

static void get_steps(text_in *in, nn_plan *plan)
{
    plan->n_steps = (int)whole_line(in, "steps", 1, NN_PLAN_MAX_STEPS);
    for (int k = 0; in->ok && k < plan->n_steps; k++) {
        get_step(in, plan, &plan->step[k],
                 k == 0 ? &plan->input_layout
                        : &plan->step[k - 1].slots.choice.layout);
    }
    plan->n_keys = (int)whole_line(in, "keys", 0, NN_PLAN_MAX_KEYS);
    for (int i = 0; in->ok && i < plan->n_keys; i++) {
        nn_plan_key *key = &plan->key[i];
        keyword(in, "key");
        key->target.kind =
            either(in, "power", "galois") ? RLWE_KEY_POWER : RLWE_KEY_GALOIS;
        key->target.value = whole(in, 2, (uint64_t)1 << 18);
        keyword(in, "gadget");
        key->gadget = (int)whole(in, 0, RLWE_MAX_GADGETS - 1);
        end_line(in);
        if (key->gadget >= plan->params.n_gadgets) {
            bad(in, "a key whose gadget exists");
        }
    }
}

/* The table that the times are by. */
static void get_costs(text_in *in, nn_plan *plan)
{
    keyword(in, "costs");
    plan->measured = either(in, "measured", "committed");
    plan->costs = nn_cost_default();
    if (plan->measured) {
        (void)whole(in, NN_COST_UNITS, NN_COST_UNITS);
        for (int i = 0; i < NN_COST_UNITS; i++) {
            plan->costs.ns[i] = real(in, 0, 1e9);
        }
    }
    end_line(in);
}

static void get_plan(text_in *in, nn_plan *plan)
{
    keyword(in, "sotto-plan");
    keyword(in, "1");
    end_line(in);
    keyword(in, "packing");
    plan->packing =
        either(in, "single", "batch") ? NN_PACKING_SINGLE : NN_PACKING_BATCH;
    end_line(in);
    plan->images = whole_line(in, "images", 1, NN_PLAN_MAX_IMAGES);
    get_params(in, &plan->params);
    get_input(in, plan);
    get_steps(in, plan);
    keyword(in, "outputs");
    plan->n_outputs = whole(in, 1, NN_MAX_ELEMENTS);
    plan->softmax = either(in, "softmax", "raw");
    end_line(in);
    plan->confidence = real_line(in, "confidence", 0, 1000);
    plan->he_noise_std = real_line(in, "noise_std", 0, 0x1p200);
    plan->he_error = real_line(in, "he_error", 0, 0x1p200);
    plan->rounding_error = real_line(in, "rounding_error", 0, 0x1p200);
    plan->margin_bits = real_line(in, "margin_bits", -1, 10000);
    plan->seconds = real_line(in, "seconds", 0, MAX_SECONDS);
    plan->read_seconds = real_line(in, "read_seconds", 0, MAX_SECONDS);
    get_costs(in, plan);
    get_hex(in, "model", plan->model_id);
    if (in->ok &&
        (plan->step[plan->n_steps - 1].n_elements != plan->n_outputs ||
         (plan->packing == NN_PACKING_SINGLE &&
          nn_shape_size(&nn_plan_layout(plan, (size_t)plan->n_steps)->shape) !=
              plan->n_outputs))) {
        bad(in, "a last step that makes the outputs");
    }
}

sotto_status nn_plan_read(nn_plan **plan, const char *text, size_t len_bytes,
                          bool allow_insecure, sotto_error *err)
{
    *plan = NULL;
    nn_plan *made = sotto_calloc(1, sizeof(*made));
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    text_in in = {.text = text, .len = len_bytes, .line = 1, .ok = true};
    get_plan(&in, made);
    uint8_t id[SOTTO_HASH_BYTES];
    sotto_sha256_of(id, text, in.at);
    get_hex(&in, "id", made->id);
    if (in.ok && memcmp(id, made->id, sizeof(id)) != 0) {
        bad(&in, "the SHA-256 of the lines above (the plan was changed)");
    }
    if (in.ok && in.at != len_bytes) {
        bad(&in, "nothing after the id");
    }
    sotto_status status = SOTTO_OK;
    if (!in.ok) {
        status = sotto_fail(err, SOTTO_ERR_FORMAT, "plan, line %d: expected %s",
                            in.line, in.what);
    } else if (made->params.allow_insecure && !allow_insecure) {
        status = sotto_fail(err, SOTTO_ERR_SECURITY,
                            "the plan's parameters are insecure; it is refused "
                            "without --insecure-parameters");
    } else {
        rlwe_params *checked = sotto_calloc(1, sizeof(*checked));
        status = checked
                     ? rlwe_params_check(checked, &made->params, err)
                     : sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
        sotto_free(checked);
    }
    if (status != SOTTO_OK) {
        sotto_free(made);
        return status;
    }
    *plan = made;
    return SOTTO_OK;
}
