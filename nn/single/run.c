/* SPDX-License-Identifier: MIT
 * Slot programs on ciphertexts.
 */
#include "nn/single/run.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

/* Room for diagonals while one map is compiled. */
#define FILL_BYTES ((size_t)256 << 20)
/* Scales that follow from each other agree to this. */
#define SCALE_TOLERANCE 0x1p-40

/* One tensor. */
typedef struct tensor {
    size_t n;
    ckks_ct *ct;
    int level;
    double scale;
} tensor;

/* One step. */
typedef struct stage {
    ckks_lintrans *map;
    size_t n_in;
    const ckks_ct **in; /* [n_in]: ciphertexts of the sources, or … */
    ckks_ct *dropped;   /* [n_in]: … those that had to be dropped */
    size_t n_sources;
    ckks_lintrans **sum;       /* [n_sources]: cells of one source; or NULL */
    ckks_ct *summed;           /* [n_in] */
    const ckks_ct **summed_in; /* [n_in]: what the map reads */
    ckks_ct **summed_out;      /* [n_in]: the same */
    ckks_ct **out;             /* [n_out] */
} stage;

struct nn_single_run {
    const nn_single *single;
    const rlwe_context *context;
    sotto_pool *pool;
    int threads;
    ckks_evaluator **ev; /* [threads] */
    sotto_arena arena;
    tensor *tensor;      /* [n_steps + 1] */
    stage *stage;        /* [n_steps] */
    size_t memory_bytes; /* left for encoded diagonals; 0: no limit */
};

/* ---- Life ---------------------------------------------------------------- */

static void free_cts(ckks_ct *ct, size_t n)
{
    for (size_t i = 0; ct != NULL && i < n; i++) {
        ckks_ct_clear(&ct[i]);
    }
    sotto_free(ct);
}

static void free_stage(stage *st)
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

/* Ciphertexts with room for what they hold on the way: `components` at `room`,
 * the level before the rescale. */
static sotto_status make_cts(ckks_ct **ct, size_t n,
                             const rlwe_context *context, int room,
                             int components, sotto_error *err)
{
    *ct = sotto_calloc(n, sizeof(**ct));
    if (*ct == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for ciphertexts");
    }
    for (size_t i = 0; i < n; i++) {
        SOTTO_TRY(ckks_ct_init(&(*ct)[i], context, room, components, err));
    }
    return SOTTO_OK;
}

/* ---- Compilation --------------------------------------------------------- */

/* The lowest level among the sources of an affine step. */
static int source_level(const nn_single_run *run, size_t k)
{
    size_t n;
    const uint32_t *sources =
        nn_affine_sources(run->single->network->steps[k].affine, &n);
    int level = 0;

    for (size_t i = 0; i < n; i++) {
        const int other = run->tensor[sources[i]].level;
        level = other > level ? other : level;
    }
    return level;
}

/* Lists the ciphertexts that an affine step reads; makes room for those that
 * are dropped to `level` first. scale[n_in] receives their scales. */
static sotto_status gather_inputs(nn_single_run *run, size_t k, int level,
                                  double *scale, sotto_error *err)
{
    stage *st = &run->stage[k];
    size_t n, at = 0;
    const uint32_t *sources =
        nn_affine_sources(run->single->network->steps[k].affine, &n);

    st->in = sotto_calloc(st->n_in, sizeof(*st->in));
    st->dropped = sotto_calloc(st->n_in, sizeof *st->dropped);
    if (st->in == NULL || st->dropped == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for ciphertexts");
    }
    for (size_t i = 0; i < n; i++) {
        const tensor *source = &run->tensor[sources[i]];
        for (size_t c = 0; c < source->n; c++, at++) {
            scale[at] = source->scale;
            st->in[at] = &source->ct[c];
            if (source->level != level) {
                SOTTO_TRY(ckks_ct_init(&st->dropped[at], run->context, level, 2,
                                       err));
                st->in[at] = &st->dropped[at];
            }
        }
    }
    return SOTTO_OK;
}

/* One in all slots: a ckks_fill_slots, arg: the number of slots. */
static void fill_ones(void *arg, size_t index, double *slot)
{
    const size_t *slots = arg;

    (void)index;
    for (size_t j = 0; j < *slots; j++) {
        slot[j] = 1;
    }
}

/* The sums over cells of `n` ciphertexts of one source, the first of which is
 * input number `first` of the map. */
static sotto_status compile_sum(nn_single_run *run, size_t k, size_t source,
                                size_t first, size_t n, double scale,
                                const nn_single_schedule *schedule,
                                const ckks_encoder *encoder, sotto_error *err)
{
    const nn_single_map *map = &run->single->map[k];
    const uint32_t area = map->pool[0] * map->pool[1];
    size_t slots = (size_t)1 << run->single->log2_slots;
    ckks_diagonal *diagonal = sotto_calloc(n * area, sizeof *diagonal);
    double *scales = sotto_calloc(n, sizeof *scales);
    int64_t *giant = sotto_calloc(n * area, sizeof *giant); /* all 0 */
    sotto_status status = SOTTO_ERR_MEMORY;

    if (diagonal == NULL || scales == NULL || giant == NULL) {
        (void)sotto_fail(err, status, "no memory for sums over cells");
    } else {
        for (size_t d = 0; d < n * area; d++) {
            const size_t in = d / area;
            scales[in] = scale;
            diagonal[d] =
                (ckks_diagonal){.out = (uint32_t)in,
                                .in = (uint32_t)in,
                                .rotation = nn_cell_rotation(
                                    &map->sum_step[2 * (first + in)], map->pool,
                                    (uint32_t)(d % area), (uint32_t)slots)};
        }
        const int level = source_level(run, k);
        const ckks_lintrans_spec spec = {.n_in = n,
                                         .n_out = n,
                                         .n_diagonals = n * area,
                                         .diagonal = diagonal,
                                         .giant = giant,
                                         .fill = fill_ones,
                                         .arg = &slots,
                                         .from = level,
                                         .to = level,
                                         .in_scale = scales,
                                         .out_scale = scale,
                                         .gadget = schedule->stage[k].gadget};
        status = ckks_lintrans_new(&run->stage[k].sum[source], encoder,
                                   run->context, &spec, err);
    }
    sotto_free(diagonal);
    sotto_free(scales);
    sotto_free(giant);
    return status;
}

/* Sums over cells for all sources of step k, if it has any. */
static sotto_status compile_sums(nn_single_run *run, size_t k,
                                 const nn_single_schedule *schedule,
                                 const ckks_encoder *encoder, sotto_error *err)
{
    const nn_single_map *map = &run->single->map[k];
    stage *st = &run->stage[k];
    size_t first = 0;
    const uint32_t *sources = nn_affine_sources(
        run->single->network->steps[k].affine, &st->n_sources);

    if (map->pool[0] == 1 && map->pool[1] == 1) {
        return SOTTO_OK;
    }
    st->sum = sotto_calloc(st->n_sources, sizeof(*st->sum));
    st->summed_in = sotto_calloc(map->n_in, sizeof(*st->summed_in));
    st->summed_out = sotto_calloc(map->n_in, sizeof(*st->summed_out));
    if (st->sum == NULL || st->summed_in == NULL || st->summed_out == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for ciphertexts");
    }
    SOTTO_TRY(make_cts(&st->summed, map->n_in, run->context,
                       source_level(run, k), 2, err));
    for (size_t i = 0; i < map->n_in; i++) {
        st->summed_in[i] = st->summed_out[i] = &st->summed[i];
    }
    for (size_t i = 0; i < st->n_sources; i++) {
        const tensor *source = &run->tensor[sources[i]];
        SOTTO_TRY(compile_sum(run, k, i, first, source->n, source->scale,
                              schedule, encoder, err));
        first += source->n;
    }
    return SOTTO_OK;
}

/* Memory that compiling one map needs and throws away. */
typedef struct draft {
    double *in_scale;
    ckks_diagonal *diagonal;
    int64_t *giant;
    ckks_fold fold[NN_LAYOUT_MAX_LOG2_SLOTS];
    nn_single_filler *filler;
} draft;

static void draft_clear(draft *d)
{
    sotto_free(d->in_scale);
    sotto_free(d->diagonal);
    sotto_free(d->giant);
    nn_single_filler_free(d->filler);
}

/* Compiles the diagonals of step k. */
static sotto_status compile_map(nn_single_run *run, size_t k, draft *d,
                                const nn_single_schedule *schedule,
                                const ckks_encoder *encoder, sotto_error *err)
{
    const nn_single_map *map = &run->single->map[k];
    const nn_single_stage *want = &schedule->stage[k];
    size_t n_folds = 0;

    d->in_scale = sotto_calloc(map->n_in, sizeof *d->in_scale);
    d->diagonal = sotto_calloc(map->n_diagonals, sizeof *d->diagonal);
    d->giant = sotto_calloc(map->n_diagonals, sizeof *d->giant);
    if (d->in_scale == NULL || d->diagonal == NULL || d->giant == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %zu diagonals",
                          map->n_diagonals);
    }
    const int from = source_level(run, k);
    SOTTO_TRY(gather_inputs(run, k, from, d->in_scale, err));
    SOTTO_TRY(compile_sums(run, k, schedule, encoder, err));
    for (size_t i = 0; i < map->n_diagonals; i++) {
        const nn_single_diagonal *from_map = &map->diagonal[i];
        d->diagonal[i] = (ckks_diagonal){.out = from_map->out,
                                         .in = from_map->in,
                                         .rotation = from_map->rotation};
        d->giant[i] = from_map->giant;
    }
    for (uint32_t f = map->fold; f < map->window; f *= 2) {
        d->fold[n_folds++] =
            (ckks_fold){.step = f, .count = 2, .gadget = want->gadget};
    }
    SOTTO_TRY(
        nn_single_filler_new(&d->filler, run->single, k, FILL_BYTES, err));
    const ckks_lintrans_spec spec = {
        .n_in = map->n_in,
        .n_out = map->n_out,
        .n_diagonals = map->n_diagonals,
        .diagonal = d->diagonal,
        .giant = d->giant,
        .fill = nn_single_fill,
        .fill_bias = nn_single_fill_bias,
        .arg = d->filler,
        .from = from,
        .to = want->level,
        .in_scale = d->in_scale,
        .out_scale = want->scale,
        .gadget = run->single->n_keys == 0 ? -1 : want->gadget,
        .n_folds = want->late_folds ? 0 : n_folds,
        .fold = d->fold,
        .n_late_folds = want->late_folds ? n_folds : 0,
        .late_fold = d->fold,
        .memory_bytes = run->memory_bytes};
    return ckks_lintrans_new(&run->stage[k].map, encoder, run->context, &spec,
                             err);
}

/* Takes what a map holds from the memory that is left. */
static void take_memory(nn_single_run *run, const ckks_lintrans *map)
{
    const ckks_lintrans_info info = ckks_lintrans_describe(map);
    if (run->memory_bytes != 0 && info.resident) {
        run->memory_bytes = info.memory_bytes < run->memory_bytes
                                ? run->memory_bytes - info.memory_bytes
                                : 1; /* nothing more fits */
    }
}

static sotto_status make_affine(nn_single_run *run, size_t k,
                                const nn_single_schedule *schedule,
                                const ckks_encoder *encoder, sotto_error *err)
{
    const nn_single_stage *want = &schedule->stage[k];
    stage *st = &run->stage[k];
    tensor *made = &run->tensor[k + 1];
    draft d = {0};

    st->n_in = run->single->map[k].n_in;
    const sotto_status status = compile_map(run, k, &d, schedule, encoder, err);
    draft_clear(&d);
    SOTTO_TRY(status);
    take_memory(run, st->map);
    SOTTO_TRY(make_cts(&made->ct, made->n, run->context, source_level(run, k),
                       2, err));
    st->out = sotto_calloc(made->n, sizeof(*st->out));
    if (st->out == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for ciphertexts");
    }
    for (size_t i = 0; i < made->n; i++) {
        st->out[i] = &made->ct[i];
    }
    made->level = want->level;
    made->scale = want->scale;
    return SOTTO_OK;
}

static sotto_status make_square(nn_single_run *run, size_t k,
                                const nn_single_schedule *schedule,
                                sotto_error *err)
{
    const nn_single_stage *want = &schedule->stage[k];
    const tensor *source = &run->tensor[run->single->network->steps[k].source];
    tensor *made = &run->tensor[k + 1];
    double scale = source->scale * source->scale;

    if (want->level != source->level) {
        const rlwe_transition *step =
            rlwe_chain_step(&run->context->chain, source->level, want->level);
        if (step == NULL) {
            return sotto_fail(err, SOTTO_ERR_LEVEL,
                              "no rescale from level %d to %d", source->level,
                              want->level);
        }
        scale /= step->divisor;
    }
    if (!(fabs(want->scale / scale - 1) <= SCALE_TOLERANCE)) {
        return sotto_fail(err, SOTTO_ERR_SCALE,
                          "the scale of a square is %a, planned was %a", scale,
                          want->scale);
    }
    made->level = want->level;
    made->scale = scale;
    return make_cts(&made->ct, made->n, run->context, source->level, 3, err);
}

static sotto_status make_step(nn_single_run *run, size_t k,
                              const nn_single_schedule *schedule,
                              const ckks_encoder *encoder, sotto_error *err)
{
    const nn_step *step = &run->single->network->steps[k];
    sotto_status status;

    switch (step->kind) {
    case NN_STEP_AFFINE:
        status = make_affine(run, k, schedule, encoder, err);
        break;
    case NN_STEP_SQUARE:
        status = make_square(run, k, schedule, err);
        break;
    default:
        status =
            sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                       "'%s' is neither affine nor a square", step->origin);
        break;
    }
    return status == SOTTO_OK
               ? status
               : sotto_fail_prefix(err, status, "step '%s'", step->name);
}

/* Bytes of arena for the maps of one step. */
static size_t stage_scratch(const nn_single_run *run, size_t k)
{
    const stage *st = &run->stage[k];
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
    stage *st = &run->stage[k];
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
    SOTTO_TRY(make_cts(&run->tensor[0].ct, run->tensor[0].n, run->context,
                       schedule->input_level, 2, err));
    for (size_t k = 0; k < n_steps; k++) {
        SOTTO_TRY(make_step(run, k, schedule, encoder, err));
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
    const tensor *last = &run->tensor[run->single->network->n_steps];

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
    const tensor *from;
    tensor *to;
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
    stage *st = &run->stage[k];
    ckks_evaluator *ev = run->ev[0];
    size_t n, at = 0;
    const uint32_t *sources =
        nn_affine_sources(run->single->network->steps[k].affine, &n);
    sotto_status status = SOTTO_OK;

    for (size_t i = 0; i < n; i++) {
        const tensor *source = &run->tensor[sources[i]];
        for (size_t c = 0; c < source->n; c++, at++) {
            if (status == SOTTO_OK && st->in[at] == &st->dropped[at]) {
                status = ckks_drop(ev, &st->dropped[at], &source->ct[c],
                                   source_level(run, k));
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
