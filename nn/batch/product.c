/* SPDX-License-Identifier: MIT
 * The matrix stage: segments of affine maps over columns of ciphertexts.
 *
 * A task is some columns of one limb. It goes through them a block at a time
 * and, for each block, through the maps of the segment and the components of
 * each: an input block is loaded from memory and made ready for products once,
 * however many groups (windows of a convolution) read it; squares are made
 * while they are loaded; local results never leave the worker's cache; and
 * there are enough tasks for all threads however few ciphertexts there are.
 */
#include <string.h>

#include "base/mem.h"
#include "nn/batch/batch_internal.h"

/* ---- Tasks --------------------------------------------------------------- */

/* Whether the maps of a segment work on limb `id`. */
static bool has_limb(const nn_batch *batch, int first, int id)
{
    for (int p = first; p <= batch->pass[first].segment_end; p++) {
        const rns_set *set =
            rlwe_level_set(batch->context, batch->pass[p].level);
        for (int l = 0; l < set->count; l++) {
            if (batch->pass[p].op == BATCH_AFFINE && set->id[l] == id) {
                return true;
            }
        }
    }
    return false;
}

static size_t columns_of(const nn_batch *batch)
{
    const size_t n = batch->context->ring->ring.n;
    return n < BATCH_COLUMNS ? n : BATCH_COLUMNS;
}

/* A segment, as its tasks see it. */
typedef struct product_job {
    const nn_batch *batch;
    int first;              /* pass */
    const batch_part *part; /* of the first map, when it is not kept */
    const nn_control *control;
    size_t n_limbs;
    uint8_t limb[RNS_MAX_LIMBS]; /* ids */
    size_t columns, ranges;
} product_job;

static product_job make_job(const nn_batch *batch, int first)
{
    product_job job = {
        .batch = batch, .first = first, .columns = columns_of(batch)};
    job.ranges = batch->context->ring->ring.n / job.columns;
    for (int id = 0; id < batch->context->ring->n_limbs; id++) {
        if (has_limb(batch, first, id)) {
            job.limb[job.n_limbs++] = (uint8_t)id;
        }
    }
    return job;
}

size_t nn_batch_product_tasks(const nn_batch *batch, int first)
{
    const product_job job = make_job(batch, first);
    return job.n_limbs * job.ranges;
}

/* ---- One block ----------------------------------------------------------- */

/* Where a task is. */
typedef struct product_place {
    const nn_batch *batch;
    const batch_worker *worker;
    int id; /* of the limb */
    size_t column;
} product_place;

/* The columns of ciphertext 0 of a value; those of ciphertext i are i·step
 * words further. */
typedef struct row_source {
    uint64_t *x;
    const uint64_t *y; /* second factors, or NULL */
    size_t step;
    bool twice;
} row_source;

/* Position of a limb at a level, which has it, or -1. */
static int position_of(const nn_batch *batch, int level, int id)
{
    const rns_set *set = rlwe_level_set(batch->context, level);
    for (int l = 0; l < set->count; l++) {
        if (set->id[l] == id) {
            return l;
        }
    }
    return -1;
}

/* Columns of component c of a value that is stored or local. */
static row_source find_columns(const product_place *at, const batch_value *v,
                               int c)
{
    const nn_batch *batch = at->batch;
    if (v->place == BATCH_LOCAL) {
        const size_t row = v->local_at + (size_t)c * v->n;
        return (row_source){.x = at->worker->local + row * BATCH_BLOCK,
                            .step = BATCH_BLOCK};
    }
    const int level = v->ct[0].ct.level;
    const size_t limb = (size_t)position_of(batch, level, at->id);
    return (row_source){.x = batch->memory + v->offset +
                             (size_t)c *
                                 rlwe_level_words(batch->context, level) +
                             limb * batch->context->ring->stride + at->column,
                        .step = v->words};
}

/* What a map reads as component c of a value:
 *
 *     of squares   x_0², 2·x_0·x_1, x_1²
 *     missing      0
 */
static row_source find_rows(const product_place *at, const batch_value *v,
                            int c)
{
    const batch_value *root =
        v->place == BATCH_SQUARED ? &at->batch->value[v->root] : v;
    const int have =
        v->place == BATCH_STORED ? v->ct[0].ct.n_components : v->n_components;
    if (c >= have) {
        return (row_source){.x = at->batch->zeros};
    }
    if (root == v) {
        return find_columns(at, v, c);
    }
    row_source rows = find_columns(at, root, c / 2);
    rows.y = find_columns(at, root, (c + 1) / 2).x;
    rows.twice = c == 1;
    return rows;
}

/* Multiplies component c of one block. */
static void run_component(const product_place *at, const batch_pass *pass,
                          const batch_part *part, const void *packed, int c,
                          sotto_arena *arena)
{
    const nn_batch *batch = at->batch;
    const batch_affine *affine = &batch->affine[pass->step];
    const batch_value *result = &batch->value[pass->out];
    const size_t mark = sotto_arena_mark(arena);
    row_source source[BATCH_MAX_SOURCES];
    for (int s = 0; s < affine->n_sources; s++) {
        source[s] = find_rows(at, &batch->value[affine->source[s].value], c);
    }
    ntt_gemm_row *row = sotto_arena_take(arena, part->n_in, sizeof *row);
    uint64_t **out = sotto_arena_take(arena, part->n_out, sizeof *out);
    void *scratch = sotto_arena_take(arena, batch->run_scratch, 1);
    SOTTO_ASSERT(row != NULL && out != NULL && scratch != NULL);
    for (size_t i = 0; i < part->n_in; i++) {
        const row_source *from = &source[part->in[i].source];
        const size_t step = part->in[i].index * from->step;
        row[i] = (ntt_gemm_row){.x = from->x + step,
                                .y = from->y == NULL ? NULL : from->y + step,
                                .twice = from->twice};
    }
    const row_source to = find_columns(at, result, c);
    for (size_t o = 0; o < part->n_out; o++) {
        out[o] = to.x + part->out[o] * to.step;
    }
    const ntt_gemm_columns columns = {.n = BATCH_BLOCK,
                                      .in = row,
                                      .out = out,
                                      .add_offset = c == 0,
                                      .is_last = !pass->is_read_on,
                                      .look_ahead = true};
    ckks_matrix_run(batch->context, packed, &columns, at->id, scratch);
    sotto_arena_release(arena, mark);
}

/* Takes one block of columns through one map. */
static void run_map(const product_place *at, const batch_pass *pass,
                    const batch_part *part, sotto_arena *arena)
{
    const batch_affine *affine = &at->batch->affine[pass->step];
    const int limb = position_of(at->batch, affine->level, at->id);
    if (limb < 0) {
        return; /* dropped before this map */
    }
    const uint8_t *packed = part->packed + (size_t)limb * part->limb_bytes;
    for (int c = 0; c < affine->n_components; c++) {
        run_component(at, pass, part, packed, c, arena);
    }
}

/* Writes columns that no other task writes, from what no other task of the job
 * changes: any order, any thread. */
static sotto_status product_task(void *arg, size_t task, int worker,
                                 sotto_error *err)
{
    (void)err;
    const product_job *job = arg;
    const nn_batch *batch = job->batch;
    batch_worker *own = &batch->worker[worker];
    product_place at = {.batch = batch,
                        .worker = own,
                        .id = job->limb[task / job->ranges],
                        .column = task % job->ranges * job->columns};
    const size_t end = at.column + job->columns;
    for (; at.column < end; at.column += BATCH_BLOCK) {
        for (int p = job->first; p <= batch->pass[job->first].segment_end;
             p++) {
            const batch_pass *pass = &batch->pass[p];
            if (pass->op == BATCH_AFFINE) {
                const batch_part *part = job->part != NULL
                                             ? job->part
                                             : &batch->affine[pass->step].part;
                const double start = nn_control_seconds(job->control);
                run_map(&at, pass, part, &own->arena);
                own->seconds[p] += nn_control_seconds(job->control) - start;
            }
        }
    }
    return SOTTO_OK;
}

/* ---- The segment --------------------------------------------------------- */

/* Gives stored results their headers, and sources the key. */
static sotto_status open_results(nn_batch *batch, int first, sotto_error *err)
{
    const ckks_ct *input = &batch->value[batch->tensor[0]].ct[0];
    for (int p = first; p <= batch->pass[first].segment_end; p++) {
        const batch_pass *pass = &batch->pass[p];
        batch_value *value = &batch->value[pass->out];
        if (pass->op != BATCH_AFFINE || value->place != BATCH_STORED) {
            continue;
        }
        for (size_t i = 0; i < value->n; i++) {
            ckks_ct *ct = &value->ct[i];
            SOTTO_TRY(rlwe_ct_reshape(&ct->ct, batch->context, pass->level,
                                      pass->n_components, err));
            memcpy(ct->ct.key_id, input->ct.key_id, sizeof ct->ct.key_id);
            ct->scale = pass->exact;
        }
    }
    return SOTTO_OK;
}

/* Adds the time of a segment to its passes, in proportion to what the workers
 * spent in each. */
static void share_seconds(nn_batch *batch, int first, double elapsed,
                          double *seconds)
{
    const int end = batch->pass[first].segment_end;
    double all = 0;
    for (int p = first; p <= end; p++) {
        for (int w = 0; w < batch->threads; w++) {
            all += batch->worker[w].seconds[p];
        }
    }
    for (int p = first; p <= end; p++) {
        for (int w = 0; w < batch->threads; w++) {
            double *spent = &batch->worker[w].seconds[p];
            seconds[p] += all > 0 ? elapsed * (*spent / all) : 0;
            *spent = 0;
        }
    }
}

static sotto_status pack_task(void *arg, size_t task, int worker,
                              sotto_error *err)
{
    (void)err;
    const product_job *job = arg;
    const nn_batch *batch = job->batch;
    nn_batch_pack_part(batch, &batch->affine[batch->pass[job->first].step],
                       job->part, (int)task, worker);
    return SOTTO_OK;
}

/* A map that is not kept: part by part. */
static sotto_status run_parts(nn_batch *batch, product_job *job,
                              nn_control *control, sotto_error *err)
{
    const batch_pass *pass = &batch->pass[job->first];
    const batch_affine *affine = &batch->affine[pass->step];
    job->part = &batch->chunk.part;
    size_t g = 0;
    while (g < affine->groups->n_groups) {
        SOTTO_TRY(nn_batch_prepare_part(batch, pass->step, &g, err));
        SOTTO_TRY(
            nn_control_run(control, job->n_limbs, 0, pack_task, job, err));
        const uint64_t work = batch->chunk.part.work *
                              (uint64_t)affine->n_components * job->columns;
        SOTTO_TRY(nn_control_run(control, job->n_limbs * job->ranges, work,
                                 product_task, job, err));
    }
    return SOTTO_OK;
}

sotto_status nn_batch_product(nn_batch *batch, int first, nn_control *control,
                              double *seconds, sotto_error *err)
{
    const batch_pass *pass = &batch->pass[first];
    const double start = nn_control_seconds(control);
    product_job job = make_job(batch, first);
    job.control = control;
    SOTTO_TRY(open_results(batch, first, err));
    if (batch->affine[pass->step].is_ready) {
        SOTTO_TRY(nn_control_run(control, job.n_limbs * job.ranges,
                                 pass->unit_work, product_task, &job, err));
    } else {
        SOTTO_TRY(run_parts(batch, &job, control, err));
    }
    share_seconds(batch, first, nn_control_seconds(control) - start, seconds);
    return SOTTO_OK;
}
