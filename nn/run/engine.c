/* SPDX-License-Identifier: MIT
 * Evaluation of one batch: nn/batch for many images in the slots, nn/single for
 * one image across them, behind one set of functions.
 */
#include <string.h>

#include "base/mem.h"
#include "nn/batch/batch.h"
#include "nn/run/run_internal.h"
#include "nn/single/run.h"

/* ---- Batch packing ------------------------------------------------------- */

static ckks_ct *batch_input(void *state, size_t i)
{
    return nn_batch_input(state, i);
}

static sotto_status batch_run(void *state, nn_control *control, nn_trace *trace,
                              sotto_error *err)
{
    return nn_batch_run(state, control, trace, err);
}

static const ckks_ct *batch_output(const void *state, size_t o)
{
    return nn_batch_output(state, o);
}

static void batch_free(void *state)
{
    nn_batch_free(state);
}

static sotto_status batch_new(run_engine *engine, const nn_plan *plan,
                              const nn_network *network,
                              const rlwe_context *context,
                              const rlwe_keyset *keys,
                              const nn_control *control, sotto_error *err)
{
    nn_batch *batch = NULL;
    SOTTO_TRY(nn_batch_new(&batch, plan, network, context, keys,
                           nn_control_threads(control), err));
    engine->state = batch;
    engine->input = batch_input;
    engine->run = batch_run;
    engine->output = batch_output;
    engine->free = batch_free;
    engine->work = nn_batch_work(batch);
    engine->memory_bytes = nn_batch_bytes(batch);
    return SOTTO_OK;
}

/* ---- Single packing ------------------------------------------------------ */

/* One image across the slots. The run borrows the stages only while it is
 * made. */
typedef struct single_state {
    const nn_plan *plan;
    nn_single *single;
    ckks_encoder *encoder;
    nn_single_stage *stage; /* [n_steps] */
    double *seconds;        /* [n_steps], of one image */
    nn_single_run *run;
    uint64_t work;
} single_state;

static void single_free(void *state)
{
    single_state *s = state;
    nn_single_run_free(s->run);
    ckks_encoder_free(s->encoder);
    nn_single_free(s->single);
    sotto_free(s->stage);
    sotto_free(s->seconds);
    sotto_free(s);
}

static ckks_ct *single_input(void *state, size_t i)
{
    const single_state *s = state;
    return nn_single_run_input(s->run, i);
}

static const ckks_ct *single_output(const void *state, size_t o)
{
    const single_state *s = state;
    return nn_single_run_output(s->run, o);
}

/* The steps of a trace that is still empty, as the plan has them. */
static void start_trace(const single_state *s, nn_trace *trace)
{
    const nn_plan *plan = s->plan;
    trace->n_steps = plan->n_steps;
    for (int k = 0; k < plan->n_steps; k++) {
        const nn_plan_step *from = &plan->step[k];
        nn_trace_step *step = &trace->step[k];
        *step = (nn_trace_step){
            .kind = from->kind == NN_STEP_AFFINE ? "affine" : "square",
            .step = k,
            .level = from->level,
            .n_components = from->n_components,
            .scale = from->scale,
            .n_ciphertexts = nn_plan_layout(plan, (size_t)k + 1)->n_cts,
            .he_error = from->he_error};
        memcpy(step->name, from->name, sizeof step->name);
    }
}

/* Rotations and products are spread over the pool inside the steps, so that the
 * run can be stopped between images only: an image takes a moment. */
static sotto_status single_run(void *state, nn_control *control,
                               nn_trace *trace, sotto_error *err)
{
    single_state *s = state;
    nn_control_name(control, "infer");
    SOTTO_TRY(nn_single_run_apply(s->run, s->seconds, err));
    if (trace != NULL) {
        if (trace->n_steps == 0) {
            start_trace(s, trace);
        }
        for (int k = 0; k < trace->n_steps; k++) {
            trace->step[k].seconds += s->seconds[k];
        }
    }
    return nn_control_advance(control, s->work, err);
}

/* Fills s as far as it goes. */
static sotto_status make_single(single_state *s, const nn_network *network,
                                const rlwe_context *context,
                                const rlwe_keyset *keys,
                                const nn_control *control, sotto_error *err)
{
    const nn_plan *plan = s->plan;
    const nn_run_options *options = nn_control_options(control);
    s->stage = sotto_calloc((size_t)plan->n_steps, sizeof *s->stage);
    s->seconds = sotto_calloc((size_t)plan->n_steps, sizeof *s->seconds);
    if (s->stage == NULL || s->seconds == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory for a run");
    }
    SOTTO_TRY(nn_plan_program(&s->single, plan, network, err));
    SOTTO_TRY(ckks_encoder_new(&s->encoder, context, err));
    const nn_single_schedule schedule =
        nn_plan_schedule(plan, s->stage, options->memory_bytes);
    return nn_single_run_new(&s->run, s->single, &schedule, s->encoder, context,
                             keys, options->pool, err);
}

/* Bytes of the encoded diagonals of all maps. */
static uint64_t diagonal_bytes(const single_state *s)
{
    uint64_t bytes = 0;
    for (int k = 0; k < s->plan->n_steps; k++) {
        if (s->plan->step[k].kind == NN_STEP_AFFINE) {
            bytes += nn_single_run_describe(s->run, (size_t)k).memory_bytes;
        }
    }
    return bytes;
}

static sotto_status single_new(run_engine *engine, const nn_plan *plan,
                               const nn_network *network,
                               const rlwe_context *context,
                               const rlwe_keyset *keys,
                               const nn_control *control, sotto_error *err)
{
    single_state *s = sotto_calloc(1, sizeof *s);
    if (s == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory for a run");
    }
    s->plan = plan;
    /* In units of words that are multiplied: some per slot and diagonal. */
    s->work = (uint64_t)plan->n_steps * 256 * rlwe_level_words(context, 0);
    const sotto_status status =
        make_single(s, network, context, keys, control, err);
    if (status != SOTTO_OK) {
        single_free(s);
        return status;
    }
    engine->state = s;
    engine->input = single_input;
    engine->run = single_run;
    engine->output = single_output;
    engine->free = single_free;
    engine->work = s->work;
    engine->memory_bytes = diagonal_bytes(s);
    return SOTTO_OK;
}

/* ---- Both ---------------------------------------------------------------- */

sotto_status nn_run_engine_new(run_engine *engine, const nn_plan *plan,
                               const nn_network *network,
                               const rlwe_context *context,
                               const rlwe_keyset *keys,
                               const nn_control *control, sotto_error *err)
{
    *engine = (run_engine){.n_inputs = plan->n_inputs,
                           .n_outputs = nn_plan_output_cts(plan)};
    return plan->packing == NN_PACKING_SINGLE
               ? single_new(engine, plan, network, context, keys, control, err)
               : batch_new(engine, plan, network, context, keys, control, err);
}

void nn_run_engine_free(run_engine *engine)
{
    if (engine->state != NULL) {
        engine->free(engine->state);
    }
    *engine = (run_engine){0};
}
