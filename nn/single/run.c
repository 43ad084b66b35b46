/* SPDX-License-Identifier: MIT
 * Slot programs on ciphertexts: life and evaluation of a run.
 */
#include "nn/single/run.h"

#include <time.h>

#include "base/mem.h"
#include "nn/single/run_internal.h"

/* ---- Life ---------------------------------------------------------------- */

static void free_cts(ckks_ct *ct, size_t n)
{
    for (size_t i = 0; ct != NULL && i < n; i++) {
        ckks_ct_clear(&ct[i]);
    }
    sotto_free(ct);
}

static void free_stage(nn_single_prepared *st)
{
    for (size_t i = 0; st->sum != NULL && i < st->n_sources; i++) {
        ckks_lintrans_free(st->sum[i]);
    }
    ckks_lintrans_free(st->map);
    free_cts(st->dropped, st->n_in);
    free_cts(st->summed, st->n_in);
    sotto_free(st->sum);
    sotto_free((void *)st->summed_in);
    sotto_free(st->summed_out);
    sotto_free((void *)st->in);
    sotto_free(st->out);
}

void nn_single_run_free(nn_single_run *run)
{
    if (run == NULL) {
        return;
    }
    const size_t n_steps = run->single->network->n_steps;
    for (size_t k = 0; run->tensor != NULL && k <= n_steps; k++) {
        free_cts(run->tensor[k].ct, run->tensor[k].n);
    }
    for (size_t k = 0; run->stage != NULL && k < n_steps; k++) {
        free_stage(&run->stage[k]);
    }
    for (int i = 0; run->ev != NULL && i < run->threads; i++) {
        ckks_evaluator_free(run->ev[i]);
    }
    sotto_arena_clear(&run->arena);
    sotto_free(run->tensor);
    sotto_free(run->stage);
    sotto_free(run->ev);
    sotto_free(run);
}

/* Bytes of arena for the maps of one step. */
static size_t stage_scratch(const nn_single_run *run, size_t k)
{
    const nn_single_prepared *st = &run->stage[k];
    size_t most = 0;

    if (st->map != NULL) {
        most = ckks_lintrans_scratch(st->map, run->threads);
    }
    for (size_t i = 0; st->sum != NULL && i < st->n_sources; i++) {
        const size_t need = ckks_lintrans_scratch(st->sum[i], run->threads);
        most = need > most ? need : most;
    }
    return most;
}

/* Packs the keys of step k's maps in the order of their use. A missing one is
 * told when the map is applied. */
static sotto_status bind_keys(nn_single_run *run, size_t k,
                              const rlwe_keyset *keys, sotto_error *err)
{
    nn_single_prepared *st = &run->stage[k];
    sotto_status status = SOTTO_OK;

    if (keys == NULL || st->map == NULL) {
        return SOTTO_OK;
    }
    status = ckks_lintrans_bind(st->map, keys, err);
    for (size_t i = 0; st->sum != NULL && i < st->n_sources &&
                       (status == SOTTO_OK || status == SOTTO_ERR_KEY);
         i++) {
        status = ckks_lintrans_bind(st->sum[i], keys, err);
    }
    return status == SOTTO_ERR_KEY ? SOTTO_OK : status;
}

static sotto_status make_run(nn_single_run *run,
                             const nn_single_schedule *schedule,
                             const ckks_encoder *encoder,
                             const rlwe_keyset *keys, sotto_error *err)
{
    const size_t n_steps = run->single->network->n_steps;
    size_t scratch = 0;

    for (size_t k = 0; k <= n_steps; k++) {
        run->tensor[k].n = run->single->places[k]->layout.n_cts;
    }
    run->memory_bytes = schedule->memory_bytes;
    run->tensor[0].level = schedule->input_level;
    run->tensor[0].scale = schedule->input_scale;
    SOTTO_TRY(nn_single_run_cts(&run->tensor[0].ct, run->tensor[0].n,
                                run->context, schedule->input_level, 2, err));
    for (size_t k = 0; k < n_steps; k++) {
        SOTTO_TRY(nn_single_run_step(run, k, schedule, encoder, err));
        SOTTO_TRY(bind_keys(run, k, keys, err));
        const size_t need = stage_scratch(run, k);
        scratch = need > scratch ? need : scratch;
    }
    for (int i = 0; i < run->threads; i++) {
        SOTTO_TRY(ckks_evaluator_new(&run->ev[i], run->context, keys, err));
    }
    run->arena = sotto_arena_init(scratch + SOTTO_ALIGN);
    return run->arena.base != NULL
               ? SOTTO_OK
               : sotto_fail(err, SOTTO_ERR_MEMORY,
                            "no memory for %zu bytes of scratch", scratch);
}

sotto_status nn_single_run_new(nn_single_run **run, const nn_single *single,
                               const nn_single_schedule *schedule,
                               const ckks_encoder *encoder,
                               const rlwe_context *context,
                               const rlwe_keyset *keys, sotto_pool *pool,
                               sotto_error *err)
{
    const size_t n_steps = single->network->n_steps;
    nn_single_run *made = sotto_calloc(1, sizeof *made);
    sotto_status status = SOTTO_ERR_MEMORY;

    *run = NULL;
    if (made != NULL) {
        made->single = single;
        made->context = context;
        made->pool = pool;
        made->threads = sotto_pool_threads(pool);
        made->tensor = sotto_calloc(n_steps + 1, sizeof *made->tensor);
        made->stage = sotto_calloc(n_steps, sizeof *made->stage);
        made->ev = sotto_calloc((size_t)made->threads, sizeof(*made->ev));
    }
    if (made == NULL || made->tensor == NULL || made->stage == NULL ||
        made->ev == NULL) {
        (void)sotto_fail(err, status, "no memory for slot programs");
    } else {
        status = make_run(made, schedule, encoder, keys, err);
    }
    if (status != SOTTO_OK) {
        nn_single_run_free(made);
        return status;
    }
    *run = made;
    return SOTTO_OK;
}

/* ---- Evaluation ---------------------------------------------------------- */

ckks_ct *nn_single_run_input(nn_single_run *run, size_t i)
{
    SOTTO_ASSERT(i < run->tensor[0].n);
    return &run->tensor[0].ct[i];
}

const ckks_ct *nn_single_run_output(const nn_single_run *run, size_t i)
{
    const nn_single_tensor *last = &run->tensor[run->single->network->n_steps];

    SOTTO_ASSERT(i < last->n);
    return &last->ct[i];
}

ckks_lintrans_info nn_single_run_describe(const nn_single_run *run, size_t k)
{
    SOTTO_ASSERT(k < run->single->network->n_steps &&
                 run->stage[k].map != NULL);
    return ckks_lintrans_describe(run->stage[k].map);
}

/* Squares of one step, one ciphertext per task. */
typedef struct square_job {
    nn_single_run *run;
    const nn_single_tensor *from;
    nn_single_tensor *to;
} square_job;

static sotto_status square_task(void *arg, size_t task, int worker)
{
    const square_job *job = arg;
    ckks_evaluator *ev = job->run->ev[worker];
    ckks_ct *to = &job->to->ct[task];

    SOTTO_TRY(ckks_square(ev, to, &job->from->ct[task]));
    return job->to->level == job->from->level
               ? ckks_relinearise(ev, to, to)
               : ckks_relinearise_rescale(ev, to, to, job->to->level);
}

static sotto_status apply_square(nn_single_run *run, size_t k, sotto_error *err)
{
    square_job job = {.run = run,
                      .from =
                          &run->tensor[run->single->network->steps[k].source],
                      .to = &run->tensor[k + 1]};

    for (int i = 0; i < run->threads; i++) {
        run->ev[i]->error.text[0] = '\0';
    }
    const sotto_status status =
        sotto_pool_run(run->pool, job.to->n, square_task, &job);
    for (int i = 0; status != SOTTO_OK && i < run->threads; i++) {
        if (run->ev[i]->error.text[0] != '\0') {
            return sotto_fail(err, status, "%s", run->ev[i]->error.text);
        }
    }
    return status;
}

static sotto_status apply_affine(nn_single_run *run, size_t k, sotto_error *err)
{
    nn_single_prepared *st = &run->stage[k];
    ckks_evaluator *ev = run->ev[0];
    size_t n, at = 0;
    const uint32_t *sources =
        nn_affine_sources(run->single->network->steps[k].affine, &n);
    sotto_status status = SOTTO_OK;

    for (size_t i = 0; i < n; i++) {
        const nn_single_tensor *source = &run->tensor[sources[i]];
        for (size_t c = 0; c < source->n; c++, at++) {
            if (status == SOTTO_OK && st->in[at] == &st->dropped[at]) {
                status = ckks_drop(ev, &st->dropped[at], &source->ct[c],
                                   nn_single_source_level(run, k));
            }
        }
    }
    at = 0;
    for (size_t i = 0; st->sum != NULL && i < n && status == SOTTO_OK; i++) {
        status = ckks_lintrans_apply(st->sum[i], ev, st->summed_out + at,
                                     st->in + at, run->pool, &run->arena);
        at += run->tensor[sources[i]].n;
    }
    if (status == SOTTO_OK) {
        status = ckks_lintrans_apply(st->map, ev, st->out,
                                     st->sum != NULL ? st->summed_in : st->in,
                                     run->pool, &run->arena);
    }
    return status == SOTTO_OK ? status
                              : sotto_fail(err, status, "%s", ev->error.text);
}

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

sotto_status nn_single_run_apply(nn_single_run *run, double *seconds,
                                 sotto_error *err)
{
    const nn_network *network = run->single->network;

    for (size_t k = 0; k < network->n_steps; k++) {
        const double start = now();
        const sotto_status status = network->steps[k].kind == NN_STEP_AFFINE
                                        ? apply_affine(run, k, err)
                                        : apply_square(run, k, err);
        if (status != SOTTO_OK) {
            return sotto_fail_prefix(err, status, "step '%s'",
                                     network->steps[k].name);
        }
        if (seconds != NULL) {
            seconds[k] = now() - start;
        }
    }
    return SOTTO_OK;
}
