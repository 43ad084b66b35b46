/* SPDX-License-Identifier: MIT
 * The matrix stage: integer matrix × vector of ciphertexts.
 *
 * Groups of rows with the same inputs are rounded to integers, a bounded chunk
 * at a time: the blocks of one matrix, whose inputs are all that any of them
 * reads, each once. A task is then one block of columns of one limb of one
 * component, for all groups of the chunk:
 *
 *     component c, limb l        512 columns
 *              +--------------+===========+-------------+
 *   input 0    |              |           |             |   one task reads
 *   input 1    |              |           |             |   this block of all
 *     …        |              |           |             |   inputs, writes it
 *              +--------------+===========+-------------+   for all outputs
 *
 * so that an input block is loaded from memory and made ready for products
 * once, however many groups (windows of a convolution) read it, and there are
 * enough tasks for all threads however few groups there are. Rounding costs one
 * multiplication per weight where the products cost components·limbs·N, so it
 * is done once, by the calling thread.
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

/* Ciphertexts of all sources. */
static size_t count_inputs(const nn_batch *batch, const batch_affine *affine)
{
    size_t n = 0;
    for (int s = 0; s < affine->n_sources; s++) {
        n += batch->value[affine->source[s].value].n;
    }
    return n;
}

sotto_status nn_batch_chunk_init(nn_batch *batch, sotto_error *err)
{
    batch_chunk *chunk = &batch->chunk;
    uint64_t weights = 1, places = 1, rows = 1; /* of the largest map */
    grow(&chunk->cap_inputs, 1);
    for (size_t k = 0; k < batch->network->n_steps; k++) {
        const nn_groups *groups = batch->affine[k].groups;
        if (groups == NULL) {
            continue;
        }
        /* One group always fits; more than a whole map is never wanted. */
        const size_t max_inputs = max_inputs_of(groups);
        grow(&chunk->cap_weights, groups->max_rows * max_inputs);
        grow(&chunk->cap_places, max_inputs);
        grow(&chunk->cap_rows, groups->max_rows);
        grow(&chunk->cap_inputs, count_inputs(batch, &batch->affine[k]));
        grow(&weights, groups->n_rows * max_inputs);
        grow(&places, groups->n_groups * max_inputs);
        grow(&rows, groups->n_rows);
    }
    grow(&chunk->cap_weights,
         weights < BATCH_CHUNK_WEIGHTS ? weights : BATCH_CHUNK_WEIGHTS);
    grow(&chunk->cap_places,
         places < BATCH_CHUNK_POINTERS ? places : BATCH_CHUNK_POINTERS);
    grow(&chunk->cap_rows,
         rows < BATCH_CHUNK_POINTERS ? rows : BATCH_CHUNK_POINTERS);
    chunk->weight = sotto_calloc(chunk->cap_weights, sizeof *chunk->weight);
    chunk->bias = sotto_calloc(chunk->cap_rows, sizeof *chunk->bias);
    chunk->out = sotto_calloc(chunk->cap_rows, sizeof *chunk->out);
    chunk->block = sotto_calloc(chunk->cap_rows, sizeof *chunk->block);
    chunk->place = sotto_calloc(chunk->cap_places, sizeof *chunk->place);
    chunk->in = sotto_calloc(chunk->cap_inputs, sizeof *chunk->in);
    chunk->slot = sotto_calloc(chunk->cap_inputs, sizeof *chunk->slot);
    if (chunk->weight == NULL || chunk->bias == NULL || chunk->out == NULL ||
        chunk->block == NULL || chunk->place == NULL || chunk->in == NULL ||
        chunk->slot == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for %zu integer weights",
                          chunk->cap_weights);
    }
    return SOTTO_OK;
}

void nn_batch_chunk_clear(batch_chunk *chunk)
{
    sotto_free(chunk->weight);
    sotto_free(chunk->bias);
    sotto_free(chunk->out);
    sotto_free(chunk->block);
    sotto_free(chunk->place);
    sotto_free(chunk->in);
    sotto_free(chunk->slot);
    *chunk = (batch_chunk){0};
}

/* A bound on what one chunk of a map can be. */
static ckks_matrix_shape largest_chunk(const nn_batch *batch,
                                       const batch_affine *affine)
{
    const batch_chunk *chunk = &batch->chunk;
    const nn_groups *groups = affine->groups;
    ckks_matrix_shape shape = {.n_out = groups->n_rows,
                               .n_in = count_inputs(batch, affine),
                               .n_blocks = groups->n_groups,
                               .n_weights =
                                   groups->n_rows * max_inputs_of(groups),
                               .block_k = max_inputs_of(groups)};
    if (shape.n_out > chunk->cap_rows) {
        shape.n_out = chunk->cap_rows;
    }
    if (shape.n_blocks > chunk->cap_rows) {
        shape.n_blocks = chunk->cap_rows;
    }
    if (shape.n_weights > chunk->cap_weights) {
        shape.n_weights = chunk->cap_weights;
    }
    return shape;
}

size_t nn_batch_product_scratch(const nn_batch *batch)
{
    size_t most = 0;
    for (size_t k = 0; k < batch->network->n_steps; k++) {
        const nn_groups *groups = batch->affine[k].groups;
        if (groups == NULL) {
            continue;
        }
        const ckks_matrix_shape shape = largest_chunk(batch, &batch->affine[k]);
        grow(&most, ckks_matrix_shape_scratch(batch->context, &shape,
                                              block_columns(batch)));
        /* A single group may be worked on as a dense matrix. */
        grow(&most,
             ckks_matrix_scratch(batch->context, shape.block_k,
                                 groups->max_rows, block_columns(batch)));
    }
    return most;
}

/* ---- Preparation --------------------------------------------------------- */

/* What the chunk has of everything, as add_group moves on. */
typedef struct chunk_cursor {
    size_t weights, places, rows, inputs, blocks;
} chunk_cursor;

/* The source that holds a tensor, and the number of ciphertexts before it. */
static const batch_source *source_of(const nn_batch *batch,
                                     const batch_affine *affine,
                                     uint32_t tensor, size_t *before)
{
    int i = 0;
    *before = 0;
    while (affine->source[i].tensor != tensor) {
        *before += batch->value[affine->source[i].value].n;
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

/* The number in the chunk of a source's ciphertext, which is entered when it is
 * not there. */
static uint32_t enter_input(nn_batch *batch, const batch_source *source,
                            size_t before, size_t index, chunk_cursor *at)
{
    uint32_t *slot = &batch->chunk.slot[before + index];
    if (*slot == 0) {
        batch->chunk.in[at->inputs] = input_of(batch, source, index);
        *slot = (uint32_t)++at->inputs;
    }
    return *slot - 1;
}

/* Enters the group's inputs and rounds its weights. A group without any (rows
 * that are constants) reads some ciphertext with weight 0. Returns the number
 * of inputs in *n_in. */
static sotto_status gather(nn_batch *batch, const batch_pass *pass,
                           const nn_group *group, uint32_t *place,
                           int32_t *weight, size_t *n_in, chunk_cursor *at,
                           sotto_error *err)
{
    const batch_affine *affine = &batch->affine[pass->step];
    const nn_plan_step *plan = &batch->plan->step[pass->step];
    *n_in = group->n_inputs;
    if (group->n_inputs == 0) {
        *n_in = 1;
        place[0] = enter_input(batch, &affine->source[0], 0, 0, at);
        memset(weight, 0, group->n_rows * sizeof *weight);
        return SOTTO_OK;
    }
    for (size_t i = 0; i < group->n_inputs; i++) {
        const nn_element from = group->inputs[i];
        size_t before;
        const batch_source *source =
            source_of(batch, affine, from.source, &before);
        place[i] = enter_input(batch, source, before, from.index, at);
        SOTTO_TRY(round_column(plan, group, i, source->factor, weight, err));
    }
    return SOTTO_OK;
}

/* Rounds group g into the next free block. */
static sotto_status add_group(nn_batch *batch, const batch_pass *pass, size_t g,
                              chunk_cursor *at, sotto_error *err)
{
    const batch_affine *affine = &batch->affine[pass->step];
    batch_chunk *chunk = &batch->chunk;
    const nn_group group = nn_cursor_group(affine->cursor, g);
    uint32_t *place = chunk->place + at->places;
    size_t n_in;
    SOTTO_TRY(gather(batch, pass, &group, place, chunk->weight + at->weights,
                     &n_in, at, err));
    for (size_t r = 0; r < group.n_rows; r++) {
        chunk->out[at->rows + r] = &batch->value[pass->out].ct[group.rows[r]];
        chunk->bias[at->rows + r] = group.biases[r];
    }
    chunk->block[at->blocks++] = (ntt_gemm_block){group.n_rows, n_in, place};
    chunk->work += group.n_rows * group.n_inputs;
    at->weights += group.n_rows * n_in;
    at->places += n_in;
    at->rows += group.n_rows;
    return SOTTO_OK;
}

/* Prepares as many groups from *g on as fit (at least one), and moves *g on. */
static sotto_status fill_chunk(nn_batch *batch, const batch_pass *pass,
                               size_t *g, sotto_error *err)
{
    const batch_affine *affine = &batch->affine[pass->step];
    const nn_groups *groups = affine->groups;
    const size_t max_inputs = max_inputs_of(groups);
    batch_chunk *chunk = &batch->chunk;
    chunk_cursor at = {0};
    chunk->work = 0;
    memset(chunk->slot, 0, chunk->cap_inputs * sizeof *chunk->slot);
    while (*g < groups->n_groups) {
        const size_t rows = groups->first[*g + 1] - groups->first[*g];
        /* The inputs of a group are known only when it is made; the largest
         * number of any group is a bound. */
        if (at.weights + rows * max_inputs > chunk->cap_weights ||
            at.places + max_inputs > chunk->cap_places ||
            at.rows + rows > chunk->cap_rows) {
            break;
        }
        SOTTO_TRY(add_group(batch, pass, *g, &at, err));
        (*g)++;
    }
    /* Inputs are entered in order: a single group has them as they are. */
    const bool is_dense = at.blocks == 1;
    chunk->matrix =
        (ckks_matrix){.n_out = at.rows,
                      .n_in = at.inputs,
                      .weight = chunk->weight,
                      .weight_scale = affine->product_scale / affine->scale,
                      .bias = chunk->bias,
                      .n_blocks = is_dense ? 0 : at.blocks,
                      .block = chunk->block};
    SOTTO_ASSERT(!is_dense || chunk->block[0].k == at.inputs);
    chunk->row_norm = ckks_matrix_row_norm(&chunk->matrix);
    return ckks_matrix_prepare(batch->context, chunk->out, chunk->in,
                               &chunk->matrix, err);
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
    const batch_chunk *chunk = &batch->chunk;
    ckks_matrix_unit(batch->context, chunk->out, chunk->in, &chunk->matrix,
                     chunk->row_norm, component, limb, block * job->columns,
                     job->columns, &batch->worker[worker].arena);
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
