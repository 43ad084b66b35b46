/* SPDX-License-Identifier: MIT
 * Rows of affine maps: a functional pulled back through the graph.
 *
 * A cursor has one sparse vector for every node between target and sources:
 * a dense array of weights plus a bitmap of the places that are in use. A row
 * starts as 1 at one place of the target; node by node, from the last to the
 * first, the places in use are emptied in ascending order into the vectors of
 * the node's inputs; what reaches a tensor that exists ends up in that
 * source's vector. Ascending order everywhere fixes the order of all sums.
 */
#include "base/mem.h"
#include "nn/graph/affine_internal.h"
#include "nn/graph/graph_internal.h"

/* ---- Sparse vectors ------------------------------------------------------ */

static void sparse_add(nn_sparse *vector, size_t index, double weight)
{
    const size_t word = index / 64;

    vector->weight[index] += weight;
    vector->used[word] |= UINT64_C(1) << (index % 64);
    if (word < vector->first_word) {
        vector->first_word = word;
    }
    if (word >= vector->end_word) {
        vector->end_word = word + 1;
    }
}

/* Takes the lowest place out. Returns false when the vector is empty. */
static inline bool sparse_take(nn_sparse *vector, size_t *index, double *weight)
{
    while (vector->first_word < vector->end_word) {
        const uint64_t bits = vector->used[vector->first_word];
        if (bits != 0) {
            *index = vector->first_word * 64 + (size_t)__builtin_ctzll(bits);
            vector->used[vector->first_word] = bits & (bits - 1);
            *weight = vector->weight[*index];
            vector->weight[*index] = 0.0;
            return true;
        }
        vector->first_word++;
    }
    vector->first_word = SIZE_MAX;
    vector->end_word = 0;
    return false;
}

/* A constant of shape param for element index of a value of shape. */
static double constant_at(const double *constant, const nn_shape *param,
                          const nn_shape *shape, size_t index, double missing)
{
    if (constant == NULL) {
        return missing;
    }
    return param->rank == 0
               ? constant[0]
               : constant[nn_shape_param_index(param, shape, index)];
}

/* ---- Pulling back through one node --------------------------------------- */

/* The functional weight · value of node[index] joins what is still to do. */
static void push(nn_cursor *cursor, int node, size_t index, double weight)
{
    const nn_affine *affine = cursor->affine;
    const nn_stop *stop = &affine->stops[node];

    if (!nn_stop_is_read(affine->stops, node, affine->target)) {
        sparse_add(&cursor->nodes[node], index, weight);
        return;
    }
    uint32_t tensor = stop->source;
    if (stop->weight != NULL) {
        const size_t at = nn_shape_param_index(
            &stop->param, &affine->graph->nodes[node].shape, index);
        if (stop->use_other != NULL && stop->use_other[at]) {
            tensor = stop->other;
        }
        cursor->bias += weight * stop->constant[at];
        weight *= stop->weight[at];
    }
    sparse_add(&cursor->sources[cursor->source_slot[tensor]], index, weight);
}

static void pull_redirect(nn_cursor *cursor, const nn_node *node,
                          const nn_stop *stop, size_t index, double weight)
{
    cursor->bias += weight * constant_at(stop->constant, &stop->param,
                                         &node->shape, index, 0.0);
    weight *= constant_at(stop->weight, &stop->param, &node->shape, index, 1.0);
    push(cursor, stop->node, index, weight);
}

/* A place [c,h,w] of a value. */
typedef struct place {
    size_t c, h, w;
} place;

static place place_of(const nn_shape *shape, size_t index)
{
    const size_t width = shape->dim[2];
    const size_t plane = shape->dim[1] * width;

    return (place){index / plane, index % plane / width, index % width};
}

/* The taps of a window at one place that fall on the picture. */
typedef struct taps {
    size_t first_h, end_h, first_w, end_w;
} taps;

static taps taps_at(const nn_window *window, const nn_shape *in, place at)
{
    taps out;

    nn_window_taps(&out.first_h, &out.end_h, at.h, window->stride[0],
                   window->pad[0], window->dilation[0], window->kernel[0],
                   in->dim[1]);
    nn_window_taps(&out.first_w, &out.end_w, at.w, window->stride[1],
                   window->pad[1], window->dilation[1], window->kernel[1],
                   in->dim[2]);
    return out;
}

/* Element of the picture under tap (kh, kw) of a window at one place. */
static size_t tap_index(const nn_window *window, const nn_shape *in, place at,
                        size_t channel, size_t kh, size_t kw)
{
    const size_t h =
        at.h * window->stride[0] + kh * window->dilation[0] - window->pad[0];
    const size_t w =
        at.w * window->stride[1] + kw * window->dilation[1] - window->pad[1];

    return (channel * in->dim[1] + h) * in->dim[2] + w;
}

static void pull_conv(nn_cursor *cursor, const nn_node *node, size_t index,
                      double weight)
{
    const int x = node->inputs[0];
    const nn_shape *in = &cursor->affine->graph->nodes[x].shape;
    const nn_window *window = &node->window;
    const place at = place_of(&node->shape, index);
    const taps t = taps_at(window, in, at);
    const size_t depth = node->param_shape.dim[1]; /* channels in a group */
    const size_t first_channel =
        at.c / (node->shape.dim[0] / node->groups) * depth;
    const size_t area = window->kernel[0] * window->kernel[1];
    const float *kernel = node->weights + at.c * depth * area;

    for (size_t c = 0; c < depth; c++, kernel += area) {
        for (size_t kh = t.first_h; kh < t.end_h; kh++) {
            for (size_t kw = t.first_w; kw < t.end_w; kw++) {
                push(cursor, x,
                     tap_index(window, in, at, first_channel + c, kh, kw),
                     weight * (double)kernel[kh * window->kernel[1] + kw]);
            }
        }
    }
    cursor->bias += weight * (double)node->bias[at.c];
}

static void pull_dense(nn_cursor *cursor, const nn_node *node, size_t index,
                       double weight)
{
    const size_t n = node->param_shape.dim[1];
    const float *row = node->weights + index * n;

    for (size_t i = 0; i < n; i++) {
        push(cursor, node->inputs[0], i, weight * (double)row[i]);
    }
    cursor->bias += weight * (double)node->bias[index];
}

static void pull_scale_shift(nn_cursor *cursor, const nn_node *node,
                             size_t index, double weight)
{
    const size_t at =
        nn_shape_param_index(&node->param_shape, &node->shape, index);

    cursor->bias += weight * (double)node->bias[at];
    push(cursor, node->inputs[0], index, weight * (double)node->weights[at]);
}

static void pull_average_pool(nn_cursor *cursor, const nn_node *node,
                              size_t index, double weight)
{
    const int x = node->inputs[0];
    const nn_shape *in = &cursor->affine->graph->nodes[x].shape;
    const nn_window *window = &node->window;
    const place at = place_of(&node->shape, index);
    const taps t = taps_at(window, in, at);
    const size_t on_picture = (t.end_h - t.first_h) * (t.end_w - t.first_w);
    const size_t divisor = window->count_include_pad
                               ? window->kernel[0] * window->kernel[1]
                               : on_picture;

    for (size_t kh = t.first_h; kh < t.end_h; kh++) {
        for (size_t kw = t.first_w; kw < t.end_w; kw++) {
            push(cursor, x, tap_index(window, in, at, at.c, kh, kw),
                 weight / (double)divisor);
        }
    }
}

static void pull_concat(nn_cursor *cursor, const nn_node *node, size_t index,
                        double weight)
{
    size_t inner = 1; /* elements behind one step along the axis */

    for (int d = node->axis + 1; d < node->shape.rank; d++) {
        inner *= node->shape.dim[d];
    }
    size_t along = index / inner % node->shape.dim[node->axis];
    const size_t outer = index / inner / node->shape.dim[node->axis];
    for (int k = 0; k < node->n_inputs; k++) {
        const int x = node->inputs[k];
        const size_t dim =
            cursor->affine->graph->nodes[x].shape.dim[node->axis];
        if (along < dim) {
            push(cursor, x, (outer * dim + along) * inner + index % inner,
                 weight);
            return;
        }
        along -= dim;
    }
}

static void pull_transpose(nn_cursor *cursor, const nn_node *node, size_t index,
                           double weight)
{
    const int x = node->inputs[0];
    const nn_shape *in = &cursor->affine->graph->nodes[x].shape;
    size_t coordinate[NN_MAX_RANK] = {0};
    size_t at = 0;

    for (int d = node->shape.rank - 1; d >= 0; d--) {
        coordinate[node->perm[d]] = index % node->shape.dim[d];
        index /= node->shape.dim[d];
    }
    for (int d = 0; d < in->rank; d++) {
        at = at * in->dim[d] + coordinate[d];
    }
    push(cursor, x, at, weight);
}

static void pull_pad(nn_cursor *cursor, const nn_node *node, size_t index,
                     double weight)
{
    const int x = node->inputs[0];
    const nn_shape *in = &cursor->affine->graph->nodes[x].shape;
    size_t at = 0, step = 1;

    for (int d = node->shape.rank - 1; d >= 0; d--) {
        const size_t coordinate = index % node->shape.dim[d];
        index /= node->shape.dim[d];
        if (coordinate < node->pad_before[d] ||
            coordinate - node->pad_before[d] >= in->dim[d]) {
            cursor->bias += weight * (double)node->pad_value;
            return;
        }
        at += (coordinate - node->pad_before[d]) * step;
        step *= in->dim[d];
    }
    push(cursor, x, at, weight);
}

/* Pulls weight · value of node[index] back to the node's inputs. */
static void pull(nn_cursor *cursor, const nn_node *node, size_t index,
                 double weight)
{
    switch (node->op) {
    case NN_OP_CONV:
        pull_conv(cursor, node, index, weight);
        break;
    case NN_OP_DENSE:
        pull_dense(cursor, node, index, weight);
        break;
    case NN_OP_SCALE_SHIFT:
        pull_scale_shift(cursor, node, index, weight);
        break;
    case NN_OP_AVERAGE_POOL:
        pull_average_pool(cursor, node, index, weight);
        break;
    case NN_OP_ADD:
    case NN_OP_SUBTRACT:
        push(cursor, node->inputs[0], index, weight);
        push(cursor, node->inputs[1], index,
             node->op == NN_OP_ADD ? weight : -weight);
        break;
    case NN_OP_CONCAT:
        pull_concat(cursor, node, index, weight);
        break;
    case NN_OP_RESHAPE:
        push(cursor, node->inputs[0], index, weight);
        break;
    case NN_OP_TRANSPOSE:
        pull_transpose(cursor, node, index, weight);
        break;
    case NN_OP_PAD:
        pull_pad(cursor, node, index, weight);
        break;
    case NN_OP_INPUT:
    case NN_OP_MAX_POOL:
    case NN_OP_RELU:
    case NN_OP_SQUARE:
    case NN_OP_MULTIPLY:
    case NN_OP_SOFTMAX:
        sotto_assert_failed("a node that is not linear has a stop", __FILE__,
                            __LINE__);
    }
}

nn_row nn_cursor_row(nn_cursor *cursor, size_t r)
{
    const nn_affine *affine = cursor->affine;
    size_t index, n = 0;
    double weight;

    SOTTO_ASSERT(r < affine->n_rows);
    cursor->bias = constant_at(affine->row_shift, &affine->row_param,
                               &affine->shape, r, 0.0);
    weight = constant_at(affine->row_scale, &affine->row_param, &affine->shape,
                         r, 1.0);
    /* push: a target that is itself read goes straight to its source. */
    push(cursor, affine->target, r, weight);
    for (int i = 0; i < affine->n_order; i++) {
        const int id = affine->order[i];
        const nn_node *node = &affine->graph->nodes[id];
        const nn_stop *stop = &affine->stops[id];
        while (sparse_take(&cursor->nodes[id], &index, &weight)) {
            if (stop->kind == NN_STOP_REDIRECT) {
                pull_redirect(cursor, node, stop, index, weight);
            } else {
                pull(cursor, node, index, weight);
            }
        }
    }
    for (size_t k = 0; k < affine->n_sources; k++) {
        while (sparse_take(&cursor->sources[k], &index, &weight)) {
            cursor->terms[n++] =
                (nn_term){.from = {.source = affine->sources[k],
                                   .index = (uint32_t)index},
                          .weight = weight};
        }
    }
    return (nn_row){.n_terms = n, .terms = cursor->terms, .bias = cursor->bias};
}
