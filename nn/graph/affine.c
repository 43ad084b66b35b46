/* SPDX-License-Identifier: MIT
 * Affine maps and the memory of their cursors.
 */
#include "nn/graph/affine_internal.h"

#include "base/mem.h"

size_t nn_affine_rows(const nn_affine *affine)
{
    return affine->n_rows;
}

const uint32_t *nn_affine_sources(const nn_affine *affine, size_t *n)
{
    *n = affine->n_sources;
    return affine->sources;
}

size_t nn_affine_source_size(const nn_affine *affine, size_t n)
{
    SOTTO_ASSERT(n < affine->n_sources);
    return affine->source_size[n];
}

void nn_affine_free(nn_affine *affine)
{
    if (affine == NULL) {
        return;
    }
    sotto_free(affine->order);
    sotto_free(affine->sources);
    sotto_free(affine->source_size);
    sotto_free(affine);
}

/* Walks back from the target: marks the nodes to pull through and the tensors
 * read. */
static void trace(const nn_affine *affine, bool *pulled, bool *read)
{
    bool *reached = pulled; /* READ nodes are taken out below */

    reached[affine->target] = true;
    for (int i = affine->target; i >= 0; i--) {
        const nn_stop *stop = &affine->stops[i];
        if (!reached[i]) {
            continue;
        }
        if (nn_stop_is_read(affine->stops, i, affine->target)) {
            read[stop->source] = true;
            if (stop->use_other != NULL) {
                read[stop->other] = true;
            }
            pulled[i] = false;
        } else if (stop->kind == NN_STOP_REDIRECT) {
            reached[stop->node] = true;
        } else {
            const nn_node *node = &affine->graph->nodes[i];
            for (int k = 0; k < node->n_inputs; k++) {
                reached[node->inputs[k]] = true;
            }
        }
    }
}

/* Fills order and sources from the marks of trace. */
static sotto_status collect(nn_affine *affine, const bool *pulled,
                            const bool *read, const size_t *tensor_size,
                            size_t n_tensors, sotto_error *err)
{
    affine->order =
        sotto_calloc((size_t)affine->target + 1, sizeof *affine->order);
    affine->sources = sotto_calloc(n_tensors, sizeof *affine->sources);
    affine->source_size = sotto_calloc(n_tensors, sizeof *affine->source_size);
    if (affine->order == NULL || affine->sources == NULL ||
        affine->source_size == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for a map");
    }
    for (int i = affine->target; i >= 0; i--) {
        if (pulled[i]) {
            affine->order[affine->n_order++] = i;
        }
    }
    for (size_t k = 0; k < n_tensors; k++) {
        if (read[k]) {
            affine->sources[affine->n_sources] = (uint32_t)k;
            affine->source_size[affine->n_sources++] = tensor_size[k];
        }
    }
    return SOTTO_OK;
}

sotto_status nn_affine_new(nn_affine **affine, const nn_graph *graph,
                           const nn_stop *stops, int target,
                           const nn_shape *row_param, const double *row_scale,
                           const double *row_shift, const size_t *tensor_size,
                           size_t n_tensors, sotto_error *err)
{
    nn_affine *made = sotto_calloc(1, sizeof *made);
    bool *pulled = sotto_calloc((size_t)target + 1, sizeof *pulled);
    bool *read = sotto_calloc(n_tensors, sizeof *read);
    sotto_status status = SOTTO_ERR_MEMORY;

    *affine = NULL;
    if (made != NULL && pulled != NULL && read != NULL) {
        made->graph = graph;
        made->stops = stops;
        made->target = target;
        made->shape = graph->nodes[target].shape;
        made->row_param = *row_param;
        made->row_scale = row_scale;
        made->row_shift = row_shift;
        made->n_rows = nn_shape_size(&made->shape);
        trace(made, pulled, read);
        status = collect(made, pulled, read, tensor_size, n_tensors, err);
    } else {
        (void)sotto_fail(err, status, "no memory for a map");
    }
    sotto_free(pulled);
    sotto_free(read);
    if (status != SOTTO_OK) {
        nn_affine_free(made);
        return status;
    }
    *affine = made;
    return SOTTO_OK;
}

/* ---- Cursors ------------------------------------------------------------- */

void nn_cursor_free(nn_cursor *cursor)
{
    if (cursor == NULL) {
        return;
    }
    sotto_free(cursor->nodes);
    sotto_free(cursor->sources);
    sotto_free(cursor->source_slot);
    sotto_free(cursor->weight_block);
    sotto_free(cursor->used_block);
    sotto_free(cursor->terms);
    sotto_free(cursor->inputs);
    sotto_free(cursor->column);
    sotto_free(cursor->column_offset);
    sotto_free(cursor->weights);
    sotto_free(cursor->biases);
    sotto_free(cursor);
}

/* Cuts a vector of size places out of the two blocks. */
static void place_sparse(nn_cursor *cursor, nn_sparse *vector, size_t size,
                         size_t *weights_at, size_t *words_at)
{
    *vector = (nn_sparse){.weight = cursor->weight_block + *weights_at,
                          .used = cursor->used_block + *words_at,
                          .first_word = SIZE_MAX};
    *weights_at += size;
    *words_at += (size + 63) / 64;
}

/* Allocates and places all vectors. */
static bool make_vectors(nn_cursor *cursor, size_t *n_source_elements)
{
    const nn_affine *affine = cursor->affine;
    const size_t n_tensors =
        affine->n_sources == 0
            ? 1
            : (size_t)affine->sources[affine->n_sources - 1] + 1;
    size_t n_weights = 0, n_words = 0, weights_at = 0, words_at = 0;

    *n_source_elements = 0;
    for (int i = 0; i < affine->n_order; i++) {
        const size_t size =
            nn_shape_size(&affine->graph->nodes[affine->order[i]].shape);
        n_weights += size;
        n_words += (size + 63) / 64;
    }
    for (size_t k = 0; k < affine->n_sources; k++) {
        *n_source_elements += affine->source_size[k];
        n_words += (affine->source_size[k] + 63) / 64;
    }
    n_weights += *n_source_elements;
    cursor->nodes =
        sotto_calloc((size_t)affine->target + 1, sizeof *cursor->nodes);
    cursor->sources = sotto_calloc(affine->n_sources, sizeof *cursor->sources);
    cursor->source_slot = sotto_calloc(n_tensors, sizeof *cursor->source_slot);
    cursor->weight_block = sotto_calloc(n_weights, sizeof(double));
    cursor->used_block = sotto_calloc(n_words, sizeof(uint64_t));
    if (cursor->nodes == NULL || cursor->sources == NULL ||
        cursor->source_slot == NULL || cursor->weight_block == NULL ||
        cursor->used_block == NULL) {
        return false;
    }
    for (int i = 0; i < affine->n_order; i++) {
        const int node = affine->order[i];
        place_sparse(cursor, &cursor->nodes[node],
                     nn_shape_size(&affine->graph->nodes[node].shape),
                     &weights_at, &words_at);
    }
    for (size_t k = 0; k < affine->n_sources; k++) {
        cursor->source_slot[affine->sources[k]] = (uint32_t)k;
        place_sparse(cursor, &cursor->sources[k], affine->source_size[k],
                     &weights_at, &words_at);
    }
    return true;
}

/* Memory for groups. */
static bool make_group_buffers(nn_cursor *cursor, size_t n_source_elements)
{
    const nn_affine *affine = cursor->affine;
    const nn_groups *groups = cursor->groups;
    size_t at = 0;

    cursor->column = sotto_calloc(n_source_elements, sizeof *cursor->column);
    cursor->column_offset =
        sotto_calloc(affine->n_sources, sizeof *cursor->column_offset);
    cursor->inputs = sotto_calloc(groups->max_inputs, sizeof *cursor->inputs);
    cursor->weights = sotto_calloc(groups->max_block, sizeof(double));
    cursor->biases = sotto_calloc(groups->max_rows, sizeof(double));
    if (cursor->column == NULL || cursor->column_offset == NULL ||
        cursor->inputs == NULL || cursor->weights == NULL ||
        cursor->biases == NULL) {
        return false;
    }
    for (size_t k = 0; k < affine->n_sources; k++) {
        cursor->column_offset[k] = at;
        at += affine->source_size[k];
    }
    return true;
}

sotto_status nn_cursor_new(nn_cursor **cursor, const nn_affine *affine,
                           const nn_groups *groups, sotto_error *err)
{
    nn_cursor *made = sotto_calloc(1, sizeof *made);
    size_t n_source_elements = 0;
    bool ok = made != NULL;

    *cursor = NULL;
    if (ok) {
        made->affine = affine;
        made->groups = groups;
        ok = make_vectors(made, &n_source_elements);
    }
    if (ok) {
        made->terms = sotto_calloc(n_source_elements, sizeof *made->terms);
        ok = made->terms != NULL;
    }
    if (ok && groups != NULL) {
        ok = make_group_buffers(made, n_source_elements);
    }
    if (!ok) {
        nn_cursor_free(made);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory to read a map of %zu rows",
                          affine->n_rows);
    }
    *cursor = made;
    return SOTTO_OK;
}
