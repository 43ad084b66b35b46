/* SPDX-License-Identifier: MIT
 * Integer weights of affine maps, made ready for the matrix stage.
 *
 * Groups of rows with the same inputs are rounded to integers and put below
 * each other as the blocks of one matrix, whose inputs are all that any of them
 * reads, each once; then packed for every limb. A map that is not too large is
 * prepared once and kept; the others are prepared a bounded part at a time for
 * every batch. Rounding costs one multiplication per weight where the products
 * cost components·limbs·N, so that one thread does it.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "nn/batch/batch_internal.h"

/* Integer weights stay below this (ckks/matrix.h). */
#define MAX_WEIGHT 0x1p31

/* ---- Sizes --------------------------------------------------------------- */

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

/* Whether all groups of a map fit one chunk. */
static bool fits_chunk(const batch_chunk *chunk, const nn_groups *groups)
{
    const size_t max_inputs = max_inputs_of(groups);
    return groups->n_rows * max_inputs <= chunk->cap_weights &&
           groups->n_groups * max_inputs <= chunk->cap_places &&
           groups->n_rows <= chunk->cap_rows;
}

static void size_chunk(nn_batch *batch)
{
    const batch_limits *limits = &batch->limits;
    batch_chunk *chunk = &batch->chunk;
    size_t weights = 1, places = 1, rows = 1; /* of the largest map */
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
         weights < limits->chunk_weights ? weights : limits->chunk_weights);
    grow(&chunk->cap_places,
         places < limits->chunk_pointers ? places : limits->chunk_pointers);
    grow(&chunk->cap_rows,
         rows < limits->chunk_pointers ? rows : limits->chunk_pointers);
}

static sotto_status fail_memory(size_t weights, sotto_error *err)
{
    return sotto_fail(err, SOTTO_ERR_MEMORY,
                      "out of memory for %zu integer weights", weights);
}

static sotto_status make_chunk(nn_batch *batch, int threads, sotto_error *err)
{
    batch_chunk *chunk = &batch->chunk;
    size_chunk(batch);
    chunk->weight = sotto_calloc(chunk->cap_weights, sizeof *chunk->weight);
    chunk->bias = sotto_calloc(chunk->cap_rows, sizeof *chunk->bias);
    chunk->offset =
        sotto_calloc((size_t)threads * chunk->cap_rows, sizeof *chunk->offset);
    chunk->block = sotto_calloc(chunk->cap_rows, sizeof *chunk->block);
    chunk->place = sotto_calloc(chunk->cap_places, sizeof *chunk->place);
    chunk->slot = sotto_calloc(chunk->cap_inputs, sizeof *chunk->slot);
    chunk->part.in = sotto_calloc(chunk->cap_inputs, sizeof *chunk->part.in);
    chunk->part.out = sotto_calloc(chunk->cap_rows, sizeof *chunk->part.out);
    if (chunk->weight == NULL || chunk->bias == NULL || chunk->offset == NULL ||
        chunk->block == NULL || chunk->place == NULL || chunk->slot == NULL ||
        chunk->part.in == NULL || chunk->part.out == NULL) {
        return fail_memory(chunk->cap_weights, err);
    }
    return SOTTO_OK;
}

static void clear_part(batch_part *part)
{
    sotto_free(part->in);
    sotto_free(part->out);
    sotto_free(part->packed);
    *part = (batch_part){0};
}

void nn_batch_prepare_clear(nn_batch *batch)
{
    batch_chunk *chunk = &batch->chunk;
    for (size_t k = 0; batch->affine != NULL && k < batch->network->n_steps;
         k++) {
        clear_part(&batch->affine[k].part);
    }
    sotto_free(chunk->weight);
    sotto_free(chunk->bias);
    sotto_free(chunk->offset);
    sotto_free(chunk->block);
    sotto_free(chunk->place);
    sotto_free(chunk->slot);
    clear_part(&chunk->part);
    *chunk = (batch_chunk){0};
}

/* ---- Rounding ------------------------------------------------------------ */

/* What the chunk has of everything, as add_group moves on. */
typedef struct chunk_cursor {
    size_t weights, places, rows, inputs, blocks;
} chunk_cursor;

/* The source that holds a tensor, and the number of ciphertexts before it. */
static uint32_t source_of(const nn_batch *batch, const batch_affine *affine,
                          uint32_t tensor, size_t *before)
{
    int i = 0;
    *before = 0;
    while (affine->source[i].tensor != tensor) {
        *before += batch->value[affine->source[i].value].n;
        i++;
        SOTTO_ASSERT(i < affine->n_sources);
    }
    return (uint32_t)i;
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
static uint32_t enter_input(batch_chunk *chunk, uint32_t source, size_t before,
                            uint32_t index, chunk_cursor *at)
{
    uint32_t *slot = &chunk->slot[before + index];
    if (*slot == 0) {
        chunk->part.in[at->inputs] = (batch_input){source, index};
        *slot = (uint32_t)++at->inputs;
    }
    return *slot - 1;
}

/* Enters the group's inputs and rounds its weights. A group without any (rows
 * that are constants) reads some ciphertext with weight 0. Returns the number
 * of inputs in *n_in. */
static sotto_status gather(nn_batch *batch, size_t step, const nn_group *group,
                           uint32_t *place, int32_t *weight, size_t *n_in,
                           chunk_cursor *at, sotto_error *err)
{
    const batch_affine *affine = &batch->affine[step];
    const nn_plan_step *plan = &batch->plan->step[step];
    *n_in = group->n_inputs;
    if (group->n_inputs == 0) {
        *n_in = 1;
        place[0] = enter_input(&batch->chunk, 0, 0, 0, at);
        memset(weight, 0, group->n_rows * sizeof *weight);
        return SOTTO_OK;
    }
    for (size_t i = 0; i < group->n_inputs; i++) {
        const nn_element from = group->inputs[i];
        size_t before;
        const uint32_t source = source_of(batch, affine, from.source, &before);
        place[i] = enter_input(&batch->chunk, source, before, from.index, at);
        SOTTO_TRY(round_column(plan, group, i, affine->source[source].factor,
                               weight, err));
    }
    return SOTTO_OK;
}

/* Rounds group g into the next free block. */
static sotto_status add_group(nn_batch *batch, size_t step, size_t g,
                              chunk_cursor *at, sotto_error *err)
{
    batch_chunk *chunk = &batch->chunk;
    const nn_group group = nn_cursor_group(batch->affine[step].cursor, g);
    uint32_t *place = chunk->place + at->places;
    size_t n_in;
    SOTTO_TRY(gather(batch, step, &group, place, chunk->weight + at->weights,
                     &n_in, at, err));
    for (size_t r = 0; r < group.n_rows; r++) {
        chunk->part.out[at->rows + r] = group.rows[r];
        chunk->bias[at->rows + r] = group.biases[r];
    }
    chunk->block[at->blocks++] = (ntt_gemm_block){group.n_rows, n_in, place};
    chunk->part.work += group.n_rows * group.n_inputs;
    at->weights += group.n_rows * n_in;
    at->places += n_in;
    at->rows += group.n_rows;
    return SOTTO_OK;
}

sotto_status nn_batch_prepare_part(nn_batch *batch, size_t step, size_t *g,
                                   sotto_error *err)
{
    const batch_affine *affine = &batch->affine[step];
    const nn_groups *groups = affine->groups;
    const size_t max_inputs = max_inputs_of(groups);
    batch_chunk *chunk = &batch->chunk;
    chunk_cursor at = {0};
    chunk->part.work = 0;
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
        SOTTO_TRY(add_group(batch, step, *g, &at, err));
        (*g)++;
    }
    /* Inputs are entered in order: a single group has them as they are. */
    const bool is_dense = at.blocks == 1;
    chunk->part.n_in = at.inputs;
    chunk->part.n_out = at.rows;
    chunk->matrix =
        (ckks_matrix){.n_out = at.rows,
                      .n_in = at.inputs,
                      .weight = chunk->weight,
                      .weight_scale = affine->product_scale / affine->scale,
                      .bias = chunk->bias,
                      .n_blocks = is_dense ? 0 : at.blocks,
                      .block = chunk->block};
    SOTTO_ASSERT(!is_dense || chunk->block[0].k == at.inputs);
    SOTTO_TRY(ckks_matrix_check(batch->context, &chunk->matrix, affine->level,
                                affine->exact_scale, err));
    chunk->row_norm = ckks_matrix_row_norm(&chunk->matrix);
    return SOTTO_OK;
}

/* ---- Packing ------------------------------------------------------------- */

static size_t n_limbs(const nn_batch *batch, const batch_affine *affine)
{
    return (size_t)rlwe_level_set(batch->context, affine->level)->count;
}

void nn_batch_pack_part(const nn_batch *batch, const batch_affine *affine,
                        const batch_part *part, int limb, int worker)
{
    const batch_chunk *chunk = &batch->chunk;
    ckks_matrix_pack(
        batch->context, part->packed + (size_t)limb * part->limb_bytes,
        &chunk->matrix, chunk->row_norm, affine->level, affine->exact_product,
        limb, chunk->offset + (size_t)worker * chunk->cap_rows);
}

/* Copies the part that was prepared last, all rows of a map, and packs it. */
static sotto_status keep_part(nn_batch *batch, batch_affine *affine,
                              size_t limb_bytes, sotto_error *err)
{
    const batch_part *from = &batch->chunk.part;
    batch_part *part = &affine->part;
    const size_t limbs = n_limbs(batch, affine);
    part->in = sotto_calloc(from->n_in, sizeof *part->in);
    part->out = sotto_calloc(from->n_out, sizeof *part->out);
    part->packed = sotto_calloc(limbs, limb_bytes);
    if (part->in == NULL || part->out == NULL || part->packed == NULL) {
        return fail_memory(batch->chunk.cap_weights, err);
    }
    memcpy(part->in, from->in, from->n_in * sizeof *part->in);
    memcpy(part->out, from->out, from->n_out * sizeof *part->out);
    part->n_in = from->n_in;
    part->n_out = from->n_out;
    part->work = from->work;
    part->limb_bytes = limb_bytes;
    for (size_t l = 0; l < limbs; l++) {
        nn_batch_pack_part(batch, affine, part, (int)l, 0);
    }
    affine->is_ready = true;
    return SOTTO_OK;
}

/* Prepares the map of step k if all of it may be kept; *kept counts bytes. */
static sotto_status keep_map(nn_batch *batch, size_t k, size_t *kept,
                             sotto_error *err)
{
    batch_affine *affine = &batch->affine[k];
    size_t g = 0;
    if (affine->groups == NULL || !fits_chunk(&batch->chunk, affine->groups)) {
        return SOTTO_OK;
    }
    const sotto_status status = nn_batch_prepare_part(batch, k, &g, err);
    if (status != SOTTO_OK) {
        return sotto_fail_prefix(err, status, "step %zu ('%s', affine)", k,
                                 batch->plan->step[k].name);
    }
    SOTTO_ASSERT(g == affine->groups->n_groups);
    const ckks_matrix_shape shape = ckks_matrix_shape_of(&batch->chunk.matrix);
    const size_t limb_bytes = ckks_matrix_packed_bytes(
        batch->context, &shape, batch->chunk.row_norm, affine->level);
    const size_t bytes = limb_bytes * n_limbs(batch, affine);
    if (bytes > batch->limits.packed_bytes - *kept) {
        return SOTTO_OK;
    }
    *kept += bytes;
    return keep_part(batch, affine, limb_bytes, err);
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

size_t nn_batch_product_scratch(nn_batch *batch)
{
    size_t n_in = 1, n_out = 1;
    for (size_t k = 0; k < batch->network->n_steps; k++) {
        const batch_affine *affine = &batch->affine[k];
        if (affine->groups != NULL) {
            const ckks_matrix_shape shape = largest_chunk(batch, affine);
            grow(
                &batch->run_scratch,
                ckks_matrix_run_scratch(batch->context, &shape, affine->level));
            grow(&n_in, shape.n_in);
            grow(&n_out, shape.n_out);
        }
    }
    return batch->run_scratch + sotto_arena_need(n_in, sizeof(ntt_gemm_row)) +
           sotto_arena_need(n_out, sizeof(uint64_t *));
}

/* Bytes of one limb of the largest part of a map, with any weights. */
static size_t largest_limb(const nn_batch *batch, const batch_affine *affine)
{
    ckks_matrix_shape shape = largest_chunk(batch, affine);
    const uint64_t any_norm = ((uint64_t)1 << 45) - 1;
    const size_t bytes = ckks_matrix_packed_bytes(batch->context, &shape,
                                                  any_norm, affine->level);
    /* A single group may be worked on as a dense matrix. */
    shape.n_blocks = 0;
    shape.n_out = affine->groups->max_rows;
    shape.n_in = shape.block_k;
    const size_t dense = ckks_matrix_packed_bytes(batch->context, &shape,
                                                  any_norm, affine->level);
    return bytes > dense ? bytes : dense;
}

/* Room for parts of the maps that are not kept. */
static sotto_status make_part_room(nn_batch *batch, sotto_error *err)
{
    batch_part *part = &batch->chunk.part;
    size_t limbs = 0;
    for (size_t k = 0; k < batch->network->n_steps; k++) {
        const batch_affine *affine = &batch->affine[k];
        if (affine->groups != NULL && !affine->is_ready) {
            grow(&part->limb_bytes, largest_limb(batch, affine));
            grow(&limbs, n_limbs(batch, affine));
        }
    }
    part->packed = sotto_calloc(limbs, part->limb_bytes);
    return part->packed == NULL ? fail_memory(batch->chunk.cap_weights, err)
                                : SOTTO_OK;
}

sotto_status nn_batch_prepare(nn_batch *batch, int threads, sotto_error *err)
{
    size_t kept = 0;
    SOTTO_TRY(make_chunk(batch, threads, err));
    for (size_t k = 0; k < batch->network->n_steps; k++) {
        SOTTO_TRY(keep_map(batch, k, &kept, err));
    }
    return make_part_room(batch, err);
}
