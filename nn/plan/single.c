/* SPDX-License-Identifier: MIT
 * What follows from a plan in single packing: layouts, programs, schedule.
 */
#include "base/mem.h"
#include "nn/plan/plan_internal.h"
#include "nn/plan/slots_internal.h"

const nn_layout *nn_plan_layout(const nn_plan *plan, size_t k)
{
    SOTTO_ASSERT(plan->packing == NN_PACKING_SINGLE &&
                 k <= (size_t)plan->n_steps);
    return k == 0 ? &plan->input_layout
                  : &plan->step[k - 1].slots.choice.layout;
}

nn_single_schedule nn_plan_schedule(const nn_plan *plan, nn_single_stage *stage,
                                    size_t memory_bytes)
{
    SOTTO_ASSERT(plan->packing == NN_PACKING_SINGLE);
    for (int k = 0; k < plan->n_steps; k++) {
        const nn_plan_step *step = &plan->step[k];
        stage[k] = (nn_single_stage){.level = step->level,
                                     .scale = step->scale,
                                     .gadget = step->slots.gadget,
                                     .late_folds = step->slots.late_folds};
    }
    return (nn_single_schedule){.input_level = 0,
                                .input_scale = plan->input_scale,
                                .stage = stage,
                                .memory_bytes = memory_bytes};
}

/* The layouts that a plan tells are those of the program. */
static sotto_status check_layouts(const nn_plan *plan, const nn_single *single,
                                  sotto_error *err)
{
    for (size_t k = 0; k <= (size_t)plan->n_steps; k++) {
        if (!nn_layout_equal(nn_plan_layout(plan, k),
                             &single->places[k]->layout)) {
            return sotto_fail(err, SOTTO_ERR_MISMATCH,
                              "the plan's layout of tensor %zu is not the one "
                              "that the model gives",
                              k);
        }
    }
    if (plan->n_inputs != single->places[0]->layout.n_cts) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "the plan has %zu input ciphertexts, its layout %u",
                          plan->n_inputs, single->places[0]->layout.n_cts);
    }
    return SOTTO_OK;
}

sotto_status nn_plan_program(nn_single **single, const nn_plan *plan,
                             const nn_network *network, sotto_error *err)
{
    SOTTO_ASSERT(plan->packing == NN_PACKING_SINGLE);
    *single = NULL;
    if ((size_t)plan->n_steps != network->n_steps) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "the plan has %d steps, the model %zu: they do not "
                          "belong together",
                          plan->n_steps, network->n_steps);
    }
    nn_single_choice *choice =
        sotto_calloc((size_t)plan->n_steps, sizeof *choice);
    if (choice == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    for (int k = 0; k < plan->n_steps; k++) {
        choice[k] = plan->step[k].slots.choice;
    }
    nn_single *made = NULL;
    sotto_status status =
        nn_single_rebuild(&made, network, &plan->input_layout, choice, err);
    if (status == SOTTO_OK) {
        status = check_layouts(plan, made, err);
    }
    sotto_free(choice);
    if (status != SOTTO_OK) {
        nn_single_free(made);
        return status;
    }
    *single = made;
    return SOTTO_OK;
}

/* ---- Verification -------------------------------------------------------- */

/* Whether the gadget of step k serves the level that it works at. */
static bool serves(const nn_plan *plan, const nn_network *network, size_t k)
{
    const int gadget = plan->step[k].slots.gadget;
    const nn_plan_product product = nn_plan_before_rescale(plan, network, k);
    return gadget < 0 || rns_set_contains(&plan->params.gadget[gadget].limbs,
                                          &plan->params.level[product.level]);
}

static bool lists(const nn_plan *plan, const nn_plan_key *key)
{
    bool found = false;
    for (int i = 0; i < plan->n_keys; i++) {
        found = found || (plan->key[i].gadget == key->gadget &&
                          plan->key[i].target.kind == key->target.kind &&
                          plan->key[i].target.value == key->target.value);
    }
    return found;
}

/* Every key that the program needs is in the plan. */
static sotto_status check_keys(const nn_plan *plan, const nn_single *single,
                               sotto_error *err)
{
    int n = 0;
    nn_plan_key *key = sotto_calloc(NN_PLAN_MAX_KEYS, sizeof *key);
    sotto_status status =
        key != NULL ? nn_slot_list_keys(key, &n, plan, single, err)
                    : sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    for (int i = 0; status == SOTTO_OK && i < n; i++) {
        if (!lists(plan, &key[i])) {
            status = sotto_fail(err, SOTTO_ERR_MISMATCH,
                                "the plan lacks the key for Galois element "
                                "%llu under gadget %d, which the model needs",
                                (unsigned long long)key[i].target.value,
                                key[i].gadget);
        }
    }
    sotto_free(key);
    return status;
}

sotto_status nn_plan_verify_slots(const nn_plan *plan,
                                  const nn_network *network, sotto_error *err)
{
    for (size_t k = 0; k < (size_t)plan->n_steps; k++) {
        const nn_plan_step *step = &plan->step[k];
        if (!serves(plan, network, k) ||
            (step->kind == NN_STEP_SQUARE && step->slots.gadget < 0)) {
            return sotto_fail(err, SOTTO_ERR_MISMATCH,
                              "step %zu (%s): gadget %d does not serve its "
                              "level",
                              k, step->name, step->slots.gadget);
        }
    }
    nn_single *single = NULL;
    SOTTO_TRY(nn_plan_program(&single, plan, network, err));
    const sotto_status status = check_keys(plan, single, err);
    nn_single_free(single);
    return status;
}
