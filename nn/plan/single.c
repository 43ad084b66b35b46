/* SPDX-License-Identifier: MIT
 * What follows from a plan in single packing: layouts, programs, schedule.
 */
#include "base/mem.h"
#include "nn/plan/plan_internal.h"

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

/* The ciphertexts that a plan tells the client of are those of the program. */
static sotto_status check_counts(const nn_plan *plan, const nn_single *single,
                                 sotto_error *err)
{
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
        status = check_counts(plan, made, err);
    }
    sotto_free(choice);
    if (status != SOTTO_OK) {
        nn_single_free(made);
        return status;
    }
    *single = made;
    return SOTTO_OK;
}
