/* SPDX-License-Identifier: MIT
 * Builders: each works out and checks the shape of one node and appends it.
 *
 * Every builder has the same form: an inner function fills a node and may
 * return early anywhere; nn_graph_append then appends the node or passes the
 * error on with the node's name in front, and frees what is left.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/graph_internal.h"

/* The shape of value x. Nothing may follow a softmax. */
static sotto_status take_input(nn_node *node, const nn_graph *graph, int x,
                               sotto_error *err)
{
    SOTTO_ASSERT(x >= 0 && x < graph->n_nodes);
    if (graph->nodes[x].op == NN_OP_SOFTMAX) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "reads the softmax '%s'; a softmax is supported at "
                          "the end of the network only",
                          graph->nodes[x].name);
    }
    node->inputs[node->n_inputs++] = x;
    return SOTTO_OK;
}

/* Takes n inputs. */
static sotto_status take_inputs(nn_node *node, const nn_graph *graph,
                                const int *x, int n, sotto_error *err)
{
    node->inputs = sotto_calloc((size_t)n, sizeof *node->inputs);
    if (node->inputs == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory");
    }
    for (int i = 0; i < n; i++) {
        SOTTO_TRY(take_input(node, graph, x[i], err));
    }
    return SOTTO_OK;
}

/* Copies n constants, or n times fill when from is NULL. */
static sotto_status take_constants(float **to, const float *from, size_t n,
                                   float fill, const char *what,
                                   sotto_error *err)
{
    *to = sotto_calloc(n, sizeof **to);
    if (*to == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %zu %s", n,
                          what);
    }
    for (size_t i = 0; i < n; i++) {
        (*to)[i] = from != NULL ? from[i] : fill;
        if (!isfinite((*to)[i])) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "element %zu of its %s is not finite", i, what);
        }
    }
    return SOTTO_OK;
}

/* Weights and bias of a node. */
static sotto_status take_weights(nn_node *node, const float *weights,
                                 size_t n_weights, const float *bias,
                                 size_t n_bias, sotto_error *err)
{
    node->n_weights = n_weights;
    node->n_bias = n_bias;
    SOTTO_TRY(take_constants(&node->weights, weights, n_weights, 1.0F,
                             "weights", err));
    return take_constants(&node->bias, bias, n_bias, 0.0F, "bias", err);
}

/* The shape of the first input when it has the wanted rank. */
static sotto_status want_rank(nn_shape *shape, const nn_node *node,
                              const nn_graph *graph, int rank,
                              const char *expected, sotto_error *err)
{
    char text[NN_SHAPE_TEXT_BYTES];

    *shape = graph->nodes[node->inputs[0]].shape;
    if (shape->rank != rank) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "its input (without batch) has shape %s, expected "
                          "%s",
                          nn_shape_text(text, shape), expected);
    }
    return SOTTO_OK;
}

/* Fills in the defaults of a window and works out the size of its result. */
static sotto_status resolve_window(nn_shape *out, nn_window *window,
                                   const nn_shape *in, sotto_error *err)
{
    char text[NN_SHAPE_TEXT_BYTES];

    for (int i = 0; i < 2; i++) {
        const size_t size = in->dim[1 + i];
        size_t *stride = &window->stride[i], *dilation = &window->dilation[i];
        const size_t pads[2] = {window->pad[i], window->pad[i + 2]};

        *stride = *stride == 0 ? 1 : *stride;
        *dilation = *dilation == 0 ? 1 : *dilation;
        if (window->kernel[i] == 0 || window->kernel[i] > NN_MAX_WINDOW ||
            *stride > NN_MAX_WINDOW || *dilation > NN_MAX_WINDOW ||
            pads[0] > NN_MAX_WINDOW || pads[1] > NN_MAX_WINDOW) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "kernel %zu, stride %zu, dilation %zu, pads %zu "
                              "and %zu: expected a kernel of at least 1 and "
                              "nothing above %zu",
                              window->kernel[i], *stride, *dilation, pads[0],
                              pads[1], NN_MAX_WINDOW);
        }
        const size_t padded = size + pads[0] + pads[1];
        const size_t extent = (window->kernel[i] - 1) * *dilation + 1;
        if (extent > padded) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "its window covers %zu but the input %s with "
                              "pads has %zu in dimension %d",
                              extent, nn_shape_text(text, in), padded, 1 + i);
        }
        out->dim[1 + i] = (padded - extent) / *stride + 1;
    }
    return SOTTO_OK;
}

static sotto_status conv_node(nn_node *node, const nn_graph *graph, int x,
                              const nn_conv *conv, sotto_error *err)
{
    nn_shape in;

    SOTTO_TRY(take_inputs(node, graph, &x, 1, err));
    SOTTO_TRY(want_rank(&in, node, graph, 3, "[C,H,W]", err));
    node->groups = conv->groups == 0 ? 1 : conv->groups;
    node->window = conv->window;
    node->window.count_include_pad = false;
    node->shape = (nn_shape){.rank = 3, .dim = {conv->out_channels}};
    if (conv->out_channels == 0 || in.dim[0] % node->groups != 0 ||
        conv->out_channels % node->groups != 0) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "%zu channels in, %zu channels out, %zu groups: the "
                          "groups must divide both",
                          in.dim[0], conv->out_channels, node->groups);
    }
    SOTTO_TRY(resolve_window(&node->shape, &node->window, &in, err));
    SOTTO_TRY(nn_shape_check(&node->shape, err));

    const nn_window *window = &node->window;
    node->param_shape =
        (nn_shape){.rank = 4,
                   .dim = {conv->out_channels, in.dim[0] / node->groups,
                           window->kernel[0], window->kernel[1]}};
    SOTTO_TRY(nn_shape_check(&node->param_shape, err));
    return take_weights(node, conv->weights, nn_shape_size(&node->param_shape),
                        conv->bias, conv->out_channels, err);
}

sotto_status nn_graph_conv(nn_graph *graph, int *id, const char *name, int x,
                           const nn_conv *conv, sotto_error *err)
{
    nn_node node = {.op = NN_OP_CONV};
    const sotto_status status = conv_node(&node, graph, x, conv, err);

    return nn_graph_append(graph, id, name, &node, status, err);
}

static sotto_status dense_node(nn_node *node, const nn_graph *graph, int x,
                               size_t n_out, const float *weights,
                               const float *bias, sotto_error *err)
{
    nn_shape in;

    SOTTO_TRY(take_inputs(node, graph, &x, 1, err));
    SOTTO_TRY(want_rank(&in, node, graph, 1, "[F]", err));
    node->shape = (nn_shape){.rank = 1, .dim = {n_out}};
    SOTTO_TRY(nn_shape_check(&node->shape, err));
    node->param_shape = (nn_shape){.rank = 2, .dim = {n_out, in.dim[0]}};
    if (in.dim[0] > NN_MAX_WEIGHTS / n_out) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "more than %zu weights in one node", NN_MAX_WEIGHTS);
    }
    return take_weights(node, weights, n_out * in.dim[0], bias, n_out, err);
}

sotto_status nn_graph_dense(nn_graph *graph, int *id, const char *name, int x,
                            size_t n_out, const float *weights,
                            const float *bias, sotto_error *err)
{
    nn_node node = {.op = NN_OP_DENSE};
    const sotto_status status =
        dense_node(&node, graph, x, n_out, weights, bias, err);

    return nn_graph_append(graph, id, name, &node, status, err);
}

static sotto_status scale_shift_node(nn_node *node, const nn_graph *graph,
                                     int x, const nn_shape *param,
                                     const float *scale, const float *shift,
                                     sotto_error *err)
{
    char have[NN_SHAPE_TEXT_BYTES], want[NN_SHAPE_TEXT_BYTES];

    SOTTO_TRY(take_inputs(node, graph, &x, 1, err));
    node->shape = graph->nodes[x].shape;
    if (!nn_shape_stretches(param, &node->shape)) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "its constants have shape %s, which does not stretch "
                          "to that of its input without batch, %s",
                          nn_shape_text(have, param),
                          nn_shape_text(want, &node->shape));
    }
    node->param_shape = *param;
    const size_t n = nn_shape_size(param);
    return take_weights(node, scale, n, shift, n, err);
}

sotto_status nn_graph_scale_shift(nn_graph *graph, int *id, const char *name,
                                  int x, const nn_shape *param,
                                  const float *scale, const float *shift,
                                  sotto_error *err)
{
    nn_node node = {.op = NN_OP_SCALE_SHIFT};
    const sotto_status status =
        scale_shift_node(&node, graph, x, param, scale, shift, err);

    return nn_graph_append(graph, id, name, &node, status, err);
}

/* Drops the nodes from first on, for a builder of several nodes that fails. */
static void drop_nodes(nn_graph *graph, int first)
{
    while (graph->n_nodes > first) {
        nn_node *node = &graph->nodes[--graph->n_nodes];
        graph->total_elements -= nn_shape_size(&node->shape);
        nn_node_clear(node);
    }
}

sotto_status nn_graph_polynomial(nn_graph *graph, int *id, const char *name,
                                 int x, const nn_shape *param, const float *a,
                                 const float *b, const float *c,
                                 sotto_error *err)
{
    const int first = graph->n_nodes;
    char inner[NN_MAX_NAME_BYTES + 8];
    int last;

    (void)snprintf(inner, sizeof inner, "%.*s/ax", NN_MAX_NAME_BYTES, name);
    sotto_status status =
        nn_graph_scale_shift(graph, &last, inner, x, param, a, b, err);
    if (status == SOTTO_OK) {
        (void)snprintf(inner, sizeof inner, "%.*s/xx", NN_MAX_NAME_BYTES, name);
        status = nn_graph_binary(graph, &last, c == NULL ? name : inner, last,
                                 x, NN_OP_MULTIPLY, err);
    }
    if (status == SOTTO_OK && c != NULL) {
        status =
            nn_graph_scale_shift(graph, &last, name, last, param, NULL, c, err);
    }
    if (status != SOTTO_OK) {
        drop_nodes(graph, first);
        return status;
    }
    *id = last;
    return SOTTO_OK;
}

/* Whether a window somewhere lies wholly in the padding. */
static bool window_misses(const nn_window *window, const nn_shape *in,
                          const nn_shape *out)
{
    for (int i = 0; i < 2; i++) {
        for (size_t at = 0; at < out->dim[1 + i]; at++) {
            size_t first, end;
            nn_window_taps(&first, &end, at, window->stride[i], window->pad[i],
                           window->dilation[i], window->kernel[i],
                           in->dim[1 + i]);
            if (first == end) {
                return true;
            }
        }
    }
    return false;
}

static sotto_status pool_node(nn_node *node, const nn_graph *graph, int x,
                              const nn_window *window, sotto_error *err)
{
    nn_shape in;

    SOTTO_TRY(take_inputs(node, graph, &x, 1, err));
    SOTTO_TRY(want_rank(&in, node, graph, 3, "[C,H,W]", err));
    node->window = *window;
    node->window.count_include_pad =
        node->op == NN_OP_AVERAGE_POOL && window->count_include_pad;
    node->shape = in;
    SOTTO_TRY(resolve_window(&node->shape, &node->window, &in, err));
    SOTTO_TRY(nn_shape_check(&node->shape, err));
    if (window_misses(&node->window, &in, &node->shape)) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "a window lies wholly in the padding; pads must be "
                          "smaller than the kernel");
    }
    return SOTTO_OK;
}

sotto_status nn_graph_pool(nn_graph *graph, int *id, const char *name, int x,
                           nn_op op, const nn_window *window, sotto_error *err)
{
    nn_node node = {.op = op};

    SOTTO_ASSERT(op == NN_OP_AVERAGE_POOL || op == NN_OP_MAX_POOL);
    const sotto_status status = pool_node(&node, graph, x, window, err);
    return nn_graph_append(graph, id, name, &node, status, err);
}

sotto_status nn_graph_unary(nn_graph *graph, int *id, const char *name, int x,
                            nn_op op, sotto_error *err)
{
    nn_node node = {.op = op};

    SOTTO_ASSERT(op == NN_OP_RELU || op == NN_OP_SQUARE);
    const sotto_status status = take_inputs(&node, graph, &x, 1, err);
    node.shape = graph->nodes[x].shape;
    return nn_graph_append(graph, id, name, &node, status, err);
}

static sotto_status binary_node(nn_node *node, const nn_graph *graph,
                                const int *xy, sotto_error *err)
{
    char have[NN_SHAPE_TEXT_BYTES], want[NN_SHAPE_TEXT_BYTES];

    SOTTO_TRY(take_inputs(node, graph, xy, 2, err));
    const nn_shape *a = &graph->nodes[xy[0]].shape;
    const nn_shape *b = &graph->nodes[xy[1]].shape;
    if (!nn_shape_equal(a, b)) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "its inputs (without batch) have shapes %s and %s, "
                          "expected equal ones (only constants are stretched)",
                          nn_shape_text(have, a), nn_shape_text(want, b));
    }
    node->shape = *a;
    return SOTTO_OK;
}

sotto_status nn_graph_binary(nn_graph *graph, int *id, const char *name, int x,
                             int y, nn_op op, sotto_error *err)
{
    nn_node node = {.op = op};
    const int xy[2] = {x, y};

    SOTTO_ASSERT(op == NN_OP_MULTIPLY || op == NN_OP_ADD ||
                 op == NN_OP_SUBTRACT);
    const sotto_status status = binary_node(&node, graph, xy, err);
    return nn_graph_append(graph, id, name, &node, status, err);
}

static sotto_status concat_node(nn_node *node, const nn_graph *graph,
                                const int *x, int n, int axis, sotto_error *err)
{
    char have[NN_SHAPE_TEXT_BYTES], want[NN_SHAPE_TEXT_BYTES];

    SOTTO_TRY(take_inputs(node, graph, x, n, err));
    node->shape = graph->nodes[x[0]].shape;
    node->axis = axis;
    if (axis < 0 || axis >= node->shape.rank) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "axis %d (without batch) of shape %s", axis,
                          nn_shape_text(have, &node->shape));
    }
    for (int i = 1; i < n; i++) {
        const nn_shape *shape = &graph->nodes[x[i]].shape;
        bool same = shape->rank == node->shape.rank;
        for (int d = 0; same && d < shape->rank; d++) {
            same = d == axis || shape->dim[d] == node->shape.dim[d];
        }
        if (!same) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "input %d has shape %s, which does not continue "
                              "%s along axis %d",
                              i, nn_shape_text(have, shape),
                              nn_shape_text(want, &node->shape), axis);
        }
        /* Each is at most 2^24, so that 2^14 inputs cannot overflow. */
        node->shape.dim[axis] += shape->dim[axis];
    }
    return SOTTO_OK;
}

sotto_status nn_graph_concat(nn_graph *graph, int *id, const char *name,
                             const int *x, int n, int axis, sotto_error *err)
{
    nn_node node = {.op = NN_OP_CONCAT};

    SOTTO_ASSERT(n > 0);
    const sotto_status status = concat_node(&node, graph, x, n, axis, err);
    return nn_graph_append(graph, id, name, &node, status, err);
}

static sotto_status reshape_node(nn_node *node, const nn_graph *graph, int x,
                                 const nn_shape *shape, sotto_error *err)
{
    char have[NN_SHAPE_TEXT_BYTES], want[NN_SHAPE_TEXT_BYTES];
    const nn_shape *in = &graph->nodes[x].shape;

    SOTTO_TRY(take_inputs(node, graph, &x, 1, err));
    SOTTO_TRY(nn_shape_check(shape, err));
    if (nn_shape_size(shape) != nn_shape_size(in)) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "cannot turn shape %s (without batch) into %s",
                          nn_shape_text(have, in), nn_shape_text(want, shape));
    }
    node->shape = *shape;
    return SOTTO_OK;
}

sotto_status nn_graph_reshape(nn_graph *graph, int *id, const char *name, int x,
                              const nn_shape *shape, sotto_error *err)
{
    nn_node node = {.op = NN_OP_RESHAPE};
    const sotto_status status = reshape_node(&node, graph, x, shape, err);

    return nn_graph_append(graph, id, name, &node, status, err);
}

static sotto_status transpose_node(nn_node *node, const nn_graph *graph, int x,
                                   const int *perm, sotto_error *err)
{
    const nn_shape *in = &graph->nodes[x].shape;
    unsigned seen = 0;

    SOTTO_TRY(take_inputs(node, graph, &x, 1, err));
    node->shape = *in;
    for (int i = 0; i < in->rank; i++) {
        if (perm[i] < 0 || perm[i] >= in->rank ||
            (seen & (1U << perm[i])) != 0) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "entry %d of its permutation is %d; expected "
                              "each of 0..%d once (without batch)",
                              i, perm[i], in->rank - 1);
        }
        seen |= 1U << perm[i];
        node->perm[i] = perm[i];
        node->shape.dim[i] = in->dim[perm[i]];
    }
    return SOTTO_OK;
}

sotto_status nn_graph_transpose(nn_graph *graph, int *id, const char *name,
                                int x, const int *perm, sotto_error *err)
{
    nn_node node = {.op = NN_OP_TRANSPOSE};
    const sotto_status status = transpose_node(&node, graph, x, perm, err);

    return nn_graph_append(graph, id, name, &node, status, err);
}

static sotto_status pad_node(nn_node *node, const nn_graph *graph, int x,
                             const size_t *before, const size_t *after,
                             float value, sotto_error *err)
{
    SOTTO_TRY(take_inputs(node, graph, &x, 1, err));
    node->shape = graph->nodes[x].shape;
    node->pad_value = value;
    if (!isfinite(value)) {
        return sotto_fail(err, SOTTO_ERR_PARAM, "pads with %g", (double)value);
    }
    for (int i = 0; i < node->shape.rank; i++) {
        if (before[i] > NN_MAX_WINDOW || after[i] > NN_MAX_WINDOW) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "pads dimension %d by %zu and %zu; at most %zu",
                              i, before[i], after[i], NN_MAX_WINDOW);
        }
        node->pad_before[i] = before[i];
        node->pad_after[i] = after[i];
        node->shape.dim[i] += before[i] + after[i];
    }
    return SOTTO_OK;
}

sotto_status nn_graph_pad(nn_graph *graph, int *id, const char *name, int x,
                          const size_t *before, const size_t *after,
                          float value, sotto_error *err)
{
    nn_node node = {.op = NN_OP_PAD};
    const sotto_status status =
        pad_node(&node, graph, x, before, after, value, err);

    return nn_graph_append(graph, id, name, &node, status, err);
}

static sotto_status softmax_node(nn_node *node, const nn_graph *graph, int x,
                                 sotto_error *err)
{
    SOTTO_TRY(take_inputs(node, graph, &x, 1, err));
    return want_rank(&node->shape, node, graph, 1, "[F]", err);
}

sotto_status nn_graph_softmax(nn_graph *graph, int *id, const char *name, int x,
                              sotto_error *err)
{
    nn_node node = {.op = NN_OP_SOFTMAX};
    const sotto_status status = softmax_node(&node, graph, x, err);

    return nn_graph_append(graph, id, name, &node, status, err);
}
