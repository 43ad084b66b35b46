/* SPDX-License-Identifier: MIT
 * The matrix stage: integer matrix × vector of ciphertexts.
 *
 * Groups of rows with the same inputs are rounded to integers, a bounded chunk
 * at a time. A task is then one block of columns of one limb of one component,
 * for all groups of the chunk:
 *
 *     component c, limb l        512 columns
 *              +--------------+===========+-------------+
 *   input 0    |              |           |             |   one task reads
 *   input 1    |              |           |             |   this block of all
 *     …        |              |           |             |   inputs, writes it
 *              +--------------+===========+-------------+   for all outputs
 *
 * so that an input block is loaded from memory once, however many groups
 * (windows of a convolution) read it, and there are enough tasks for all
 * threads however few groups there are. Rounding costs one multiplication per
 * weight where the products cost components·limbs·N, so it is done once, by the
 * calling thread.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "nn/batch/batch_internal.h"

/* Integer weights stay below this (ckks/matrix.h). */
#define MAX_WEIGHT 0x1p31

static size_t block_columns(const nn_batch *batch)
{
    const size_t n = batch->context->ring->ring.n;
    return n < BATCH_COLUMNS ? n : BATCH_COLUMNS;
}

/* ---- Buffers ------------------------------------------------------------- */

static void grow(size_t *cap, size_t need)
{
    if (need > *cap) {
        *cap = need;
    }
}

/* Inputs of the largest group as gather makes it. */
static size_t max_inputs_of(const nn_groups *groups)
{
    return groups->max_inputs > 0 ? groups->max_inputs : 1;
}

sotto_status nn_batch_chunk_init(nn_batch *batch, sotto_error *err)
{
    batch_chunk *chunk = &batch->chunk;
    uint64_t weights = 1, inputs = 1, rows = 1; /* of the largest map */
    for (size_t k = 0; k < batch->network->n_steps; k++) {
        const nn_groups *groups = batch->affine[k].groups;
        if (groups == NULL) {
            continue;
        }
        /* One group always fits; more than a whole map is never wanted. */
        const size_t max_inputs = max_inputs_of(groups);
        grow(&chunk->cap_weights, groups->max_rows * max_inputs);
        grow(&chunk->cap_inputs, max_inputs);
        grow(&chunk->cap_rows, groups->max_rows);
        grow(&weights, groups->n_rows * max_inputs);
        grow(&inputs, groups->n_groups * max_inputs);
        grow(&rows, groups->n_rows);
    }
    grow(&chunk->cap_weights,
         weights < BATCH_CHUNK_WEIGHTS ? weights : BATCH_CHUNK_WEIGHTS);
    grow(&chunk->cap_inputs,
         inputs < BATCH_CHUNK_POINTERS ? inputs : BATCH_CHUNK_POINTERS);
    grow(&chunk->cap_rows,
         rows < BATCH_CHUNK_POINTERS ? rows : BATCH_CHUNK_POINTERS);
    chunk->tile = sotto_calloc(chunk->cap_rows, sizeof *chunk->tile);
    chunk->weight = sotto_calloc(chunk->cap_weights, sizeof *chunk->weight);
    chunk->bias = sotto_calloc(chunk->cap_rows, sizeof *chunk->bias);
    chunk->in = sotto_calloc(chunk->cap_inputs, sizeof *chunk->in);
    chunk->out = sotto_calloc(chunk->cap_rows, sizeof *chunk->out);
    if (chunk->tile == NULL || chunk->weight == NULL || chunk->bias == NULL ||
        chunk->in == NULL || chunk->out == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for %zu integer weights",
                          chunk->cap_weights);
    }
    return SOTTO_OK;
}

void nn_batch_chunk_clear(batch_chunk *chunk)
{
    sotto_free(chunk->tile);
    sotto_free(chunk->weight);
    sotto_free(chunk->bias);
    sotto_free(chunk->in);
    sotto_free(chunk->out);
    *chunk = (batch_chunk){0};
}

size_t nn_batch_product_scratch(const nn_batch *batch)
{
    size_t most = 0;
    for (size_t k = 0; k < batch->network->n_steps; k++) {
        const nn_groups *groups = batch->affine[k].groups;
        if (groups != NULL) {
            grow(&most,
                 ckks_matrix_scratch(batch->context, max_inputs_of(groups),
                                     groups->max_rows, block_columns(batch)));
        }
    }
    return most;
}

/* ---- Preparation --------------------------------------------------------- */

/* Free room of the chunk, as fill_tile moves on. */
typedef struct chunk_cursor {
    size_t weights, inputs, rows;
} chunk_cursor;

static const batch_source *source_of(const batch_affine *affine,
                                     uint32_t tensor)
{
    int i = 0;
    while (affine->source[i].tensor != tensor) {
        i++;
        SOTTO_ASSERT(i < affine->n_sources);
    }
    return &affine->source[i];
}

static const ckks_ct *input_of(const nn_batch *batch,
                               const batch_source *source, size_t index)
{
    return source->view != NULL ? &source->view[index]
                                : &batch->value[source->value].ct[index];
}

/* Rounds one column of weights, all rows of input i. */
static sotto_status round_column(const nn_plan_step *plan,
                                 const nn_group *group, size_t i, double factor,
                                 int32_t *weight, sotto_error *err)
{
    for (size_t r = 0; r < group->n_rows; r++) {
        const double real = group->weights[r * group->n_inputs + i];
        if (!(fabs(real * factor) < MAX_WEIGHT - 1)) {
            return sotto_fail(err, SOTTO_ERR_RANGE,
                              "row %u of '%s': weight %g times 2^%.1f does not "
                              "fit 32 bits; expected a plan made for this "
                              "model",
                              group->rows[r], plan->name, real, log2(factor));
        }
        weight[r * group->n_inputs + i] = nn_plan_weight(real, factor);
    }
    return SOTTO_OK;
}

/* Gathers the group's inputs and rounds its weights. A group without any (rows
 * that are constants) reads some ciphertext with weight 0. Returns the number
 * of inputs in *n_in. */
static sotto_status gather(const nn_batch *batch, const batch_pass *pass,
                           const nn_group *group, const ckks_ct **in,
                           int32_t *weight, size_t *n_in, sotto_error *err)
{
    const batch_affine *affine = &batch->affine[pass->step];
    const nn_plan_step *plan = &batch->plan->step[pass->step];
    *n_in = group->n_inputs;
    if (group->n_inputs == 0) {
        *n_in = 1;
        in[0] = input_of(batch, &affine->source[0], 0);
        memset(weight, 0, group->n_rows * sizeof *weight);
        return SOTTO_OK;
    }
    for (size_t i = 0; i < group->n_inputs; i++) {
        const nn_element from = group->inputs[i];
        const batch_source *source = source_of(affine, from.source);
        in[i] = input_of(batch, source, from.index);
        SOTTO_TRY(round_column(plan, group, i, source->factor, weight, err));
    }
    return SOTTO_OK;
}

/* Rounds group g into the next free tile. */
static sotto_status fill_tile(nn_batch *batch, const batch_pass *pass, size_t g,
                              chunk_cursor *at, sotto_error *err)
{
    const batch_affine *affine = &batch->affine[pass->step];
    batch_chunk *chunk = &batch->chunk;
    const nn_group group = nn_cursor_group(affine->cursor, g);
    int32_t *weight = chunk->weight + at->weights;
    double *bias = chunk->bias + at->rows;
    size_t n_in;
    batch_tile *tile = &chunk->tile[chunk->n_tiles++];
    tile->in = chunk->in + at->inputs;
    tile->out = chunk->out + at->rows;
    SOTTO_TRY(gather(batch, pass, &group, tile->in, weight, &n_in, err));
    for (size_t r = 0; r < group.n_rows; r++) {
        tile->out[r] = &batch->value[pass->out].ct[group.rows[r]];
        bias[r] = group.biases[r];
    }
    tile->matrix =
        (ckks_matrix){.n_out = group.n_rows,
                      .n_in = n_in,
                      .weight = weight,
                      .weight_scale = affine->product_scale / affine->scale,
                      .bias = bias};
    tile->row_norm = ckks_matrix_row_norm(&tile->matrix);
    chunk->work += group.n_rows * group.n_inputs;
    at->weights += group.n_rows * n_in;
    at->inputs += n_in;
    at->rows += group.n_rows;
    return ckks_matrix_prepare(batch->context, tile->out, tile->in,
                               &tile->matrix, err);
}

/* Prepares as many groups from *g on as fit (at least one), and moves *g on. */
static sotto_status fill_chunk(nn_batch *batch, const batch_pass *pass,
                               size_t *g, sotto_error *err)
{
    const nn_groups *groups = batch->affine[pass->step].groups;
    const size_t max_inputs = max_inputs_of(groups);
    batch_chunk *chunk = &batch->chunk;
    chunk_cursor at = {0};
    chunk->n_tiles = 0;
    chunk->work = 0;
    while (*g < groups->n_groups) {
        const size_t rows = groups->first[*g + 1] - groups->first[*g];
        /* The inputs of a group are known only when it is made; the largest
         * number of any group is a bound. */
        if (at.weights + rows * max_inputs > chunk->cap_weights ||
            at.inputs + max_inputs > chunk->cap_inputs ||
            at.rows + rows > chunk->cap_rows) {
            break;
        }
        SOTTO_TRY(fill_tile(batch, pass, *g, &at, err));
        (*g)++;
    }
    return SOTTO_OK;
}

/* Headers under the common scale for sources that have another: their weights
 * carry the ratio (batch_source.factor), so the products agree. */
static void make_views(nn_batch *batch, batch_affine *affine)
{
    for (int s = 0; s < affine->n_sources; s++) {
        const batch_source *source = &affine->source[s];
        const batch_value *value = &batch->value[source->value];
        for (size_t i = 0; source->view != NULL && i < value->n; i++) {
            source->view[i] = value->ct[i];
            source->view[i].scale = affine->scale;
        }
    }
}

/* ---- Products ------------------------------------------------------------ */

typedef struct product_job {
    const nn_batch *batch;
    size_t limbs, blocks, columns;
} product_job;

/* Writes columns of outputs that no other task writes, from integers and inputs
 * that no task of the job changes: any order, any thread. */
static sotto_status product_task(void *arg, size_t task, int worker,
                                 sotto_error *err)
{
    (void)err;
    const product_job *job = arg;
    const nn_batch *batch = job->batch;
    const size_t block = task % job->blocks;
    const int limb = (int)(task / job->blocks % job->limbs);
    const int component = (int)(task / job->blocks / job->limbs);
    for (size_t i = 0; i < batch->chunk.n_tiles; i++) {
        const batch_tile *tile = &batch->chunk.tile[i];
        ckks_matrix_unit(batch->context, tile->out, tile->in, &tile->matrix,
                         tile->row_norm, component, limb, block * job->columns,
                         job->columns, &batch->worker[worker].arena);
    }
    return SOTTO_OK;
}

sotto_status nn_batch_product(nn_batch *batch, const batch_pass *pass,
                              nn_control *control, sotto_error *err)
{
    batch_affine *affine = &batch->affine[pass->step];
    const size_t columns = block_columns(batch);
    product_job job = {
        .batch = batch,
        .limbs = (size_t)rlwe_level_set(batch->context, affine->level)->count,
        .blocks = batch->context->ring->ring.n / columns,
        .columns = columns};
    const size_t n_tasks =
        (size_t)affine->n_components * job.limbs * job.blocks;
    make_views(batch, affine);
    size_t g = 0;
    while (g < affine->groups->n_groups) {
        SOTTO_TRY(fill_chunk(batch, pass, &g, err));
        SOTTO_TRY(nn_control_run(control, n_tasks, batch->chunk.work * columns,
                                 product_task, &job, err));
    }
    return SOTTO_OK;
}
