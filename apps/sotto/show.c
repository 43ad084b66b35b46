/* SPDX-License-Identifier: MIT
 * Parameters and plans, as people read them and as JSON.
 */
#include "apps/sotto/show.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- Parameters ---------------------------------------------------------- */

/* Each backend in use once: limbs may have different ones. */
static void backend_names(char *text, size_t cap_bytes,
                          const rlwe_context *context)
{
    text[0] = '\0';
    for (int i = 0; i < context->ring->n_limbs; i++) {
        const char *name = context->ring->limb[i].kernels.name;
        const size_t used = strlen(text);
        if (strstr(text, name) == NULL && used + strlen(name) + 2 < cap_bytes) {
            (void)snprintf(text + used, cap_bytes - used, "%s%s",
                           used > 0 ? "+" : "", name);
        }
    }
}

show_parameters show_parameters_of(const rlwe_context *context)
{
    const rlwe_params *params = &context->params;
    const int log2_n = params->literal.log2_n;
    show_parameters shown = {
        .log2_q = context->chain.level[0].log2_q,
        .log2_qp = params->log2_qp,
        .bound = rlwe_security_max_log2(log2_n, 128),
        .security = params->security_bits,
        .n = (size_t)1 << log2_n,
    };
    backend_names(shown.backend, sizeof shown.backend, context);
    return shown;
}

/* The size of a modulus to the nearest bit. */
static int rounded_bits(const rlwe_context *context, int id)
{
    return (int)(log2((double)context->params.literal.modulus[id]) + 0.5);
}

void show_moduli(char *text, size_t cap_bytes, const rlwe_context *context,
                 const rns_set *set)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < set->count && used + 24 < cap_bytes;) {
        const int bits = rounded_bits(context, set->id[i]);
        int same = 1;
        while (i + same < set->count &&
               rounded_bits(context, set->id[i + same]) == bits) {
            same++;
        }
        used += (size_t)snprintf(text + used, cap_bytes - used, "%s%d",
                                 i > 0 ? " + " : "", same > 1 ? same : bits);
        if (same > 1) {
            used +=
                (size_t)snprintf(text + used, cap_bytes - used, "*%d", bits);
        }
        i += same;
    }
}

/* All special moduli of all gadgets, each once. */
static rns_set special_moduli(const rlwe_params_literal *literal)
{
    rns_set set = {0};
    for (int g = 0; g < literal->n_gadgets; g++) {
        set = rns_set_union(&set, &literal->gadget[g].special);
    }
    if (literal->has_public) {
        const rns_set one = rns_set_range(literal->public_special, 1);
        set = rns_set_union(&set, &one);
    }
    return set;
}

const char *show_packing(nn_packing packing)
{
    return packing == NN_PACKING_SINGLE ? "single" : "batch";
}

/* Ring, moduli, security. */
static void show_ring(text_out *out, const nn_plan *plan,
                      const rlwe_context *context)
{
    const show_parameters p = show_parameters_of(context);
    const rns_set special = special_moduli(&context->params.literal);
    char limbs[256], specials[256];
    show_moduli(limbs, sizeof limbs, context, rlwe_level_set(context, 0));
    show_moduli(specials, sizeof specials, context, &special);
    if (plan->packing == NN_PACKING_SINGLE) {
        text_printf(out, "ring        N = %zu, one image over %zu slots\n", p.n,
                    p.n / 2);
    } else {
        text_printf(out, "ring        N = %zu, %zu images per ciphertext\n",
                    p.n, nn_plan_slots(plan));
    }
    text_printf(out, "moduli      %s bits", limbs);
    if (special.count > 0) {
        text_printf(out, ", special %s", specials);
    }
    text_printf(out, ": log2 QP = %.1f\n", p.log2_qp);
    if (p.security == 0) {
        text_put(out, "security    INSECURE PARAMETERS, for tests only\n");
        return;
    }
    text_printf(out, "security    %d bits", p.security);
    text_printf(out,
                " (ternary secret, classical attacks; at most %d bits of QP "
                "at this N for 128)\n",
                p.bound);
}

/* How images become ciphertexts. */
static void show_images(text_out *out, const nn_plan *plan)
{
    if (plan->packing == NN_PACKING_SINGLE) {
        text_printf(out,
                    "images      %" PRIu64 ", each in %zu ciphertext%s of its "
                    "own\n",
                    plan->images, plan->n_inputs,
                    plan->n_inputs == 1 ? "" : "s");
        return;
    }
    const uint64_t batches = nn_plan_batches(plan, plan->images);
    text_printf(out, "images      %" PRIu64 " in %" PRIu64 " batch%s of %zu",
                plan->images, batches, batches == 1 ? "" : "es",
                nn_plan_slots(plan));
    const uint64_t room = batches * nn_plan_slots(plan);
    if (plan->images < room) {
        text_printf(out, ": %" PRIu64 " slots stay empty", room - plan->images);
    }
    text_put(out, "\n");
}

void show_plan(text_out *out, const nn_plan *plan, const rlwe_context *context,
               const nn_plan_bytes *bytes)
{
    show_ring(out, plan, context);
    show_images(out, plan);
    if (plan->n_keys == 0) {
        text_put(out, "keys        the server needs none\n");
    } else {
        text_printf(out, "keys        %d switching key%s, %s\n", plan->n_keys,
                    plan->n_keys == 1 ? "" : "s",
                    text_of_bytes(bytes->eval_key).text);
    }
    text_printf(out, "traffic     %s in and %s out per %s\n",
                text_of_bytes(bytes->input_per_batch).text,
                text_of_bytes(bytes->output_per_batch).text,
                plan->packing == NN_PACKING_SINGLE ? "image" : "batch");
    text_printf(out, "server      about %s of memory, %s on one core\n",
                text_of_bytes(bytes->server_memory).text,
                text_of_seconds(plan->seconds).text);
    text_printf(out,
                "errors      HE at most %.2g, weight rounding at most %.2g "
                "(exceeded with probability 2^-%.0f)\n",
                plan->he_error, plan->rounding_error, plan->confidence);
    text_printf(out, "margin      %.1f free bits above the largest score\n",
                plan->margin_bits);
}

/* ---- Steps --------------------------------------------------------------- */

text_value show_log2(double value)
{
    text_value shown;
    if (value > 0 && isfinite(value)) {
        (void)snprintf(shown.text, sizeof shown.text, "2^%.1f", log2(value));
    } else {
        (void)snprintf(shown.text, sizeof shown.text, "%s",
                       value == 0 ? "0" : "?");
    }
    return shown;
}

/* The level of the tensor before step k. */
static int level_before(const nn_plan *plan, int k)
{
    return k > 0 ? plan->step[k - 1].level : 0;
}

void show_step_kind(char *text, size_t cap_bytes, const nn_plan *plan, int step)
{
    const nn_plan_step *s = &plan->step[step];
    (void)snprintf(text, cap_bytes, "%s%s%s%s",
                   s->relinearise_source ? "relinearise + " : "",
                   s->kind == NN_STEP_AFFINE ? "affine" : "square",
                   s->relinearise ? " + relinearise" : "",
                   s->level != level_before(plan, step) ? " + rescale" : "");
}

/* Where the tensors of single packing lie; squares stay where they are. */
static void show_layouts(text_out *out, const nn_plan *plan)
{
    char layout[NN_LAYOUT_TEXT_BYTES];
    text_put(out, "\nlayouts, a digit being count:slots:dimension:step\n");
    text_printf(out, "      %-18s %s\n", "input",
                nn_layout_text(layout, nn_plan_layout(plan, 0)));
    for (int k = 0; k < plan->n_steps; k++) {
        if (plan->step[k].kind == NN_STEP_AFFINE) {
            text_printf(
                out, "      %-18.18s %s\n", plan->step[k].name,
                nn_layout_text(layout, nn_plan_layout(plan, (size_t)k + 1)));
        }
    }
}

void show_steps(text_out *out, const nn_plan *plan)
{
    text_printf(out, "%4s  %-18s %-30s %6s %5s %5s %10s  %9s  %9s\n", "step",
                "name", "kind", "values", "level", "parts", "log2 scale",
                "HE error", "time");
    text_printf(out, "%4d  %-18s %-30s %6zu %5d %5d %10.3f  %9s  %9s\n", 0,
                "input", "encrypt", nn_shape_size(&plan->input_shape), 0, 2,
                log2(plan->input_scale), "",
                text_of_seconds(plan->read_seconds).text);
    for (int k = 0; k < plan->n_steps; k++) {
        const nn_plan_step *s = &plan->step[k];
        char kind[64];
        show_step_kind(kind, sizeof kind, plan, k);
        text_printf(out, "%4d  %-18.18s %-30s %6zu %5d %5d %10.3f  %9s  %9s\n",
                    k + 1, s->name, kind, s->n_elements, s->level,
                    s->n_components, log2(s->scale),
                    show_log2(s->he_error).text,
                    text_of_seconds(s->seconds).text);
    }
    if (plan->packing == NN_PACKING_SINGLE) {
        show_layouts(out, plan);
    }
}

/* ---- JSON ---------------------------------------------------------------- */

/* The table of steps as JSON. */
static void steps_json(json_out *j, const nn_plan *plan)
{
    json_array(j, "steps");
    for (int k = 0; k < plan->n_steps; k++) {
        const nn_plan_step *s = &plan->step[k];
        char kind[64];
        show_step_kind(kind, sizeof kind, plan, k);
        json_object(j, NULL);
        json_string(j, "name", s->name);
        json_string(j, "kind", kind);
        json_count(j, "values", s->n_elements);
        json_int(j, "level", s->level);
        json_int(j, "components", s->n_components);
        json_real(j, "log2_scale", log2(s->scale));
        json_real(j, "he_error", s->he_error);
        if (plan->packing == NN_PACKING_SINGLE) {
            char layout[NN_LAYOUT_TEXT_BYTES];
            json_string(
                j, "layout",
                nn_layout_text(layout, nn_plan_layout(plan, (size_t)k + 1)));
        }
        json_end(j);
    }
    json_end(j);
}

void show_plan_json(json_out *j, const nn_plan *plan,
                    const rlwe_context *context, const nn_plan_bytes *bytes)
{
    const show_parameters p = show_parameters_of(context);
    json_hex(j, "plan_id", plan->id, sizeof plan->id);
    json_hex(j, "params_id", context->params.id, sizeof context->params.id);
    json_int(j, "log2_n", context->params.literal.log2_n);
    json_real(j, "log2_q", p.log2_q);
    json_real(j, "log2_qp", p.log2_qp);
    json_int(j, "security_bits", p.security);
    json_string(j, "backend", p.backend);
    json_string(j, "packing", show_packing(plan->packing));
    json_count(j, "images", plan->images);
    json_count(j, "slots", nn_plan_slots(plan));
    json_count(j, "batches", nn_plan_batches(plan, plan->images));
    json_int(j, "keys", plan->n_keys);
    json_real(j, "predicted_he_error", plan->he_error);
    json_real(j, "predicted_rounding_error", plan->rounding_error);
    json_real(j, "confidence", plan->confidence);
    json_real(j, "margin_bits", plan->margin_bits);
    json_real(j, "predicted_seconds", plan->seconds);
    json_object(j, "bytes");
    json_count(j, "secret_key", bytes->secret_key);
    json_count(j, "eval_key", bytes->eval_key);
    json_count(j, "input_per_batch", bytes->input_per_batch);
    json_count(j, "output_per_batch", bytes->output_per_batch);
    json_count(j, "server_memory", bytes->server_memory);
    json_end(j);
    steps_json(j, plan);
}
