/* SPDX-License-Identifier: MIT
 * Segments: maps that follow each other without a transform between them.
 *
 * Affine maps, squares and the choice of limbs act on every column of every
 * limb alone. So a run of them can be worked through a block of columns at a
 * time, and what one map hands to the next is then as small as the block:
 *
 *     limb l                 32 columns
 *     inputs    +-----------+===+----------+   in memory
 *                            | matrix
 *     local                 [===]              in the worker's cache
 *                            | squares, matrix
 *     results   +-----------+===+----------+   in memory
 *
 * A result is local when maps of its own segment are all that reads it.
 */
#include "nn/batch/batch_internal.h"

static size_t rows_of(const batch_value *value)
{
    return value->n * (size_t)value->n_components;
}

/* Passes that a segment may hold: prepared maps, and squares that nobody has to
 * make. */
static bool can_join(const nn_batch *batch, const batch_pass *pass)
{
    return pass->op == BATCH_AFFINE
               ? batch->affine[pass->step].is_ready
               : pass->op == BATCH_SQUARE &&
                     batch->value[pass->out].place == BATCH_SQUARED;
}

/* The end of the segment that begins with pass `first`: a map. */
static int find_end(const nn_batch *batch, int first)
{
    int end = first;
    for (int i = first; i < batch->n_passes && can_join(batch, &batch->pass[i]);
         i++) {
        /* Squares at the end belong to a map that comes later. */
        if (batch->pass[i].op == BATCH_AFFINE) {
            end = i;
        }
    }
    return end;
}

/* Whether the result of pass p is used in passes up to `end` only, and not
 * changed there; how it is used, values know: dead is the last pass. */
static bool is_inner(const nn_batch *batch, int p, int end)
{
    return batch->value[batch->pass[p].out].dead <= end;
}

/* Whether a map in passes (p, end] reads the result of pass p. */
static bool is_read_on(const nn_batch *batch, int p, int end)
{
    const int v = batch->pass[p].out;
    for (int i = p + 1; i <= end; i++) {
        const batch_pass *pass = &batch->pass[i];
        const batch_affine *affine = &batch->affine[pass->step];
        for (int s = 0; pass->op == BATCH_AFFINE && s < affine->n_sources;
             s++) {
            const batch_value *value = &batch->value[affine->source[s].value];
            if (affine->source[s].value == v || value->root == v) {
                return true;
            }
        }
    }
    return false;
}

/* Keeps results of inner maps local, as many as there is room for. */
static void place_local(nn_batch *batch, int first, int end)
{
    const size_t most =
        batch->limits.local_bytes / (BATCH_BLOCK * sizeof *batch->memory);
    size_t rows = 0;
    for (int p = first; p < end; p++) {
        const batch_pass *pass = &batch->pass[p];
        batch_value *value = &batch->value[pass->out];
        if (pass->op == BATCH_AFFINE && is_inner(batch, p, end) &&
            rows_of(value) <= most - rows) {
            value->place = BATCH_LOCAL;
            value->local_at = rows;
            value->words = 0;
            rows += rows_of(value);
        }
    }
    if (rows > batch->local_rows) {
        batch->local_rows = rows;
    }
}

/* All blocks of a segment are in work at the same time: whatever lives in it
 * lives from its beginning to its end. */
static void widen_lives(nn_batch *batch, int first, int end)
{
    for (int v = 0; v < batch->n_values; v++) {
        batch_value *value = &batch->value[v];
        if (value->born > first && value->born <= end) {
            value->born = first;
        }
        if (value->dead >= first && value->dead < end) {
            value->dead = end;
        }
    }
}

/* Multiplications of one task, on average over the limbs of the first map. */
static uint64_t work_of(const nn_batch *batch, int first, int end)
{
    const size_t n = batch->context->ring->ring.n;
    const size_t columns = n < BATCH_COLUMNS ? n : BATCH_COLUMNS;
    uint64_t work = 0;
    for (int p = first; p <= end; p++) {
        const batch_affine *affine = &batch->affine[batch->pass[p].step];
        if (batch->pass[p].op == BATCH_AFFINE) {
            work +=
                affine->groups->work * (uint64_t)affine->n_components * columns;
        }
    }
    return work;
}

void nn_batch_segment(nn_batch *batch)
{
    for (int p = 0; p < batch->n_passes; p++) {
        batch_pass *pass = &batch->pass[p];
        if (pass->op != BATCH_AFFINE) {
            continue;
        }
        const int end =
            batch->affine[pass->step].is_ready ? find_end(batch, p) : p;
        pass->segment_end = end;
        pass->unit_work = work_of(batch, p, end);
        for (int i = p; i <= end; i++) {
            batch->pass[i].is_read_on = is_read_on(batch, i, end);
        }
        place_local(batch, p, end);
        widen_lives(batch, p, end);
        p = end;
    }
}
