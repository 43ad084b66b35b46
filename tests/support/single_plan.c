/* SPDX-License-Identifier: MIT
 * Plans in single packing by hand; see single_plan.h.
 */
#include "tests/support/single_plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "nn/single/compile.h"
#include "ntt/ring.h"
#include "tests/support/check.h"
#include "tests/support/ckks_world.h"

#define LOG2_N 10
#define MAX_DEPTH 14
#define SCALE_BITS 34

/* "abc" for three letters. */
static void word(char *text, int first, int n)
{
    for (int i = 0; i < n; i++) {
        text[i] = (char)('a' + first + i);
    }
    text[n] = '\0';
}

/* The chain: level l lacks the last l of depth + 1 moduli; digits of two limbs
 * each. */
static rlwe_params_literal make_chain(int depth)
{
    double log2_q[MAX_DEPTH + 5] = {46};
    char level[MAX_DEPTH + 1][MAX_DEPTH + 2], gadget[4 * MAX_DEPTH];
    const char *levels[MAX_DEPTH + 2] = {0}, *gadgets[2] = {gadget, NULL};
    char limbs[MAX_DEPTH + 2], digits[MAX_DEPTH + 2], special[3];
    for (int i = 0; i <= depth; i++) {
        log2_q[i] = i == 0 ? 46 : SCALE_BITS;
        word(level[i], 0, depth + 1 - i);
        levels[i] = level[i];
        digits[i] = (char)('0' + i / 2);
    }
    digits[depth + 1] = '\0';
    for (int i = 0; i < 3; i++) {
        log2_q[depth + 1 + i] = 45;
    }
    word(limbs, 0, depth + 1);
    word(special, depth + 1, 2);
    (void)snprintf(gadget, sizeof gadget, "%s|%s|%s", limbs, digits, special);
    const world_spec spec = {.log2_n = LOG2_N,
                             .log2_q = log2_q,
                             .level = levels,
                             .gadget = gadgets,
                             .public_special = (char)('a' + depth + 3)};
    return world_literal(&spec);
}

/* One below the lowest of the sources. */
static int level_of(const nn_plan *plan, const nn_step *step)
{
    size_t n = 1;
    const uint32_t *sources = step->kind == NN_STEP_AFFINE
                                  ? nn_affine_sources(step->affine, &n)
                                  : &step->source;
    int level = 0;
    for (size_t i = 0; i < n; i++) {
        const int other = nn_plan_tensor_level(plan, sources[i]);
        level = other > level ? other : level;
    }
    return level + 1;
}

/* Every map ends on the wanted scale; every square rescales. */
static void fill_step(nn_plan *plan, const nn_single *single, size_t k)
{
    const nn_step *from = &single->network->steps[k];
    nn_plan_step *step = &plan->step[k];
    *step = (nn_plan_step){.kind = from->kind,
                           .n_elements = from->n_elements,
                           .relinearise = from->kind == NN_STEP_SQUARE,
                           .level = level_of(plan, from),
                           .n_components = 2,
                           .scale = ldexp(1, SCALE_BITS),
                           .range = 0x1p6,
                           .he_error = 0x1p-6};
    (void)snprintf(step->name, sizeof step->name, "%s", from->name);
    step->slots.choice = nn_single_choice_of(single, k);
    step->slots.choice.layout = single->places[k + 1]->layout;
    step->slots.late_folds = k % 2 == 0;
    if (from->kind == NN_STEP_SQUARE) {
        /* level l - 1 has one modulus more than level l: its last one */
        const rns_set *before = &plan->params.level[step->level - 1];
        const double scale = nn_plan_tensor_scale(plan, from->source);
        const int gone = before->id[before->count - 1];
        step->scale = scale * scale / (double)plan->params.modulus[gone];
    }
}

static void add_key(nn_plan *plan, rlwe_key_kind kind, uint64_t value)
{
    assert_true(plan->n_keys < NN_PLAN_MAX_KEYS);
    plan->key[plan->n_keys++].target =
        (rlwe_key_target){.kind = kind, .value = value};
}

static void fill_plan(nn_plan *plan, const nn_single *single)
{
    const nn_network *network = single->network;
    const ntt_ring ring = ntt_ring_init(LOG2_N);
    plan->packing = NN_PACKING_SINGLE;
    plan->params = make_chain((int)network->n_steps);
    plan->images = 1;
    plan->input_shape = network->input_shape;
    plan->input_layout = single->places[0]->layout;
    plan->input_scale = ldexp(1, SCALE_BITS);
    plan->input_max = 1;
    plan->n_inputs = plan->input_layout.n_cts;
    plan->n_outputs = network->n_outputs;
    plan->n_steps = (int)network->n_steps;
    plan->confidence = 20;
    plan->he_noise_std = 0x1p-12;
    plan->he_error = 0x1p-6;
    for (size_t k = 0; k < network->n_steps; k++) {
        fill_step(plan, single, k);
    }
    add_key(plan, RLWE_KEY_POWER, 2);
    for (size_t i = 0; i < single->n_keys; i++) {
        add_key(plan, RLWE_KEY_GALOIS,
                ntt_ring_rotation(&ring, (int64_t)single->key[i]));
    }
    memset(plan->id, 9, sizeof plan->id);
}

nn_plan *single_plan_new(const nn_network *network)
{
    const nn_single_options options = {
        .log2_slots = LOG2_N - 1, .beam = 3, .max_keys = 110};
    nn_single *single;
    sotto_error error;
    if (network->n_steps > MAX_DEPTH ||
        nn_single_compile(&single, network, &options, &error) != SOTTO_OK) {
        return NULL;
    }
    nn_plan *plan = sotto_calloc(1, sizeof *plan);
    assert_non_null(plan);
    fill_plan(plan, single);
    nn_single_free(single);
    return plan;
}
