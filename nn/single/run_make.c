/* SPDX-License-Identifier: MIT
 * Making the steps of a slot program: maps with encoded diagonals, and room for
 * what they read and write.
 */
#include <math.h>

#include "base/mem.h"
#include "nn/single/run_internal.h"

/* Room for diagonals while one map is compiled. */
#define FILL_BYTES ((size_t)256 << 20)
/* Scales that follow from each other agree to this. */
#define SCALE_TOLERANCE 0x1p-40

sotto_status nn_single_run_cts(ckks_ct **ct, size_t n,
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

int nn_single_source_level(const nn_single_run *run, size_t k)
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
    nn_single_prepared *st = &run->stage[k];
    size_t n, at = 0;
    const uint32_t *sources =
        nn_affine_sources(run->single->network->steps[k].affine, &n);

    st->in = sotto_calloc(st->n_in, sizeof(*st->in));
    st->dropped = sotto_calloc(st->n_in, sizeof *st->dropped);
    if (st->in == NULL || st->dropped == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for ciphertexts");
    }
    for (size_t i = 0; i < n; i++) {
        const nn_single_tensor *source = &run->tensor[sources[i]];
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
        const int level = nn_single_source_level(run, k);
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
    nn_single_prepared *st = &run->stage[k];
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
    SOTTO_TRY(nn_single_run_cts(&st->summed, map->n_in, run->context,
                                nn_single_source_level(run, k), 2, err));
    for (size_t i = 0; i < map->n_in; i++) {
        st->summed_in[i] = st->summed_out[i] = &st->summed[i];
    }
    for (size_t i = 0; i < st->n_sources; i++) {
        const nn_single_tensor *source = &run->tensor[sources[i]];
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
    const int from = nn_single_source_level(run, k);
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
        .memory_bytes = run->memory_bytes,
        .pool = run->pool};
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
    nn_single_prepared *st = &run->stage[k];
    nn_single_tensor *made = &run->tensor[k + 1];
    draft d = {0};

    st->n_in = run->single->map[k].n_in;
    const sotto_status status = compile_map(run, k, &d, schedule, encoder, err);
    draft_clear(&d);
    SOTTO_TRY(status);
    take_memory(run, st->map);
    SOTTO_TRY(nn_single_run_cts(&made->ct, made->n, run->context,
                                nn_single_source_level(run, k), 2, err));
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
    const nn_single_tensor *source =
        &run->tensor[run->single->network->steps[k].source];
    nn_single_tensor *made = &run->tensor[k + 1];
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
    return nn_single_run_cts(&made->ct, made->n, run->context, source->level, 3,
                             err);
}

sotto_status nn_single_run_step(nn_single_run *run, size_t k,
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
