/* SPDX-License-Identifier: MIT
 * ONNX reader: operators that only move elements.
 *
 * The file's tensors have a batch dimension in front, the graph's have not:
 * axis k of the file is axis k - 1 here, and axis 0 must stay where it is.
 */
#include <string.h>

#include "nn/graph/onnx_internal.h"

#define MAX_FULL_RANK (NN_MAX_RANK + 1)

/* Axis of the file to axis of the per-image value; the batch is refused. */
static sotto_status inner_axis(nn_onnx_loader *l, int *axis, int64_t given,
                               int rank)
{
    SOTTO_TRY(nn_onnx_axis(l, axis, given, rank + 1));
    if (*axis == 0) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "works along the batch dimension (axis 0)");
    }
    (*axis)--;
    return SOTTO_OK;
}

/* The node becomes a view of value x with a per-image shape. */
static sotto_status reshape_to(nn_onnx_loader *l, int x, const nn_shape *shape)
{
    int id;

    SOTTO_TRY(
        nn_graph_reshape(l->graph, &id, nn_onnx_name(l), x, shape, l->err));
    return nn_onnx_give_value(l, id);
}

static sotto_status convert_flatten(nn_onnx_loader *l)
{
    const int64_t axis = nn_onnx_int(l, "axis", 1);
    int x;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    const nn_shape *in = &l->graph->nodes[x].shape;
    /* With one image per run, flattening from axis 0 is the same. */
    if (axis != 1 && axis != -(int64_t)in->rank &&
        !(l->batch == 1 && (axis == 0 || axis == -(int64_t)in->rank - 1))) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "flattens from axis %lld; supported is 1, which "
                            "keeps the batch dimension",
                            (long long)axis);
    }
    const nn_shape flat = {.rank = 1, .dim = {nn_shape_size(in)}};
    return reshape_to(l, x, &flat);
}

/* Whether the first entry of a Reshape's target stays the batch dimension. */
static bool is_batch(const nn_onnx_loader *l, int64_t entry)
{
    return entry == NN_ONNX_BATCH || entry == -1 ||
           (entry == 0 && nn_onnx_int(l, "allowzero", 0) == 0) ||
           (l->batch != 0 && entry == (int64_t)l->batch);
}

static sotto_status convert_reshape(nn_onnx_loader *l)
{
    int64_t given[MAX_FULL_RANK];
    size_t dims[MAX_FULL_RANK], in[MAX_FULL_RANK] = {1};
    size_t n;
    int x;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    const nn_shape *shape = &l->graph->nodes[x].shape;
    memcpy(in + 1, shape->dim, (size_t)shape->rank * sizeof *in);
    SOTTO_TRY(nn_onnx_want_ints(l, given, MAX_FULL_RANK, &n, 1, "shape"));
    if (n < 2 || !is_batch(l, given[0])) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its shape has %zu entries, the first %lld; "
                            "supported are 2 to %d, the first being the batch "
                            "dimension (0, -1 or its size)",
                            n, n > 0 ? (long long)given[0] : 0LL,
                            MAX_FULL_RANK);
    }
    given[0] = 1;
    SOTTO_TRY(nn_onnx_reshape_dims(l, dims, given, n, in, shape->rank + 1,
                                   nn_shape_size(shape),
                                   nn_onnx_int(l, "allowzero", 0) != 0));
    nn_shape out = {.rank = (int)n - 1};
    memcpy(out.dim, dims + 1, (n - 1) * sizeof *dims);
    return reshape_to(l, x, &out);
}

static sotto_status convert_squeeze(nn_onnx_loader *l)
{
    int axes[NN_ONNX_MAX_RANK];
    nn_shape out = {0};
    size_t n, next = 0;
    int x;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    const nn_shape *in = &l->graph->nodes[x].shape;
    SOTTO_TRY(nn_onnx_axes(l, axes, &n, in->rank + 1));
    if (n == 0 || axes[0] == 0) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "squeezes %s; supported are axes from 1 on",
                            n == 0 ? "without axes" : "the batch dimension");
    }
    for (int d = 0; d < in->rank; d++) {
        const bool listed = next < n && axes[next] == d + 1;
        next += listed;
        if (!listed) {
            out.dim[out.rank++] = in->dim[d];
        } else if (in->dim[d] != 1) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                "dimension %d is %zu, not 1", d + 1,
                                in->dim[d]);
        }
    }
    return reshape_to(l, x, &out);
}

static sotto_status convert_unsqueeze(nn_onnx_loader *l)
{
    int axes[NN_ONNX_MAX_RANK];
    nn_shape out = {0};
    size_t n, next = 0;
    int x, from = 0;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    const nn_shape *in = &l->graph->nodes[x].shape;
    SOTTO_TRY(nn_onnx_count_axes(l, &n));
    out.rank = in->rank + (int)n;
    if (out.rank > NN_MAX_RANK) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "makes %d dimensions; supported are %d with the "
                            "batch",
                            out.rank + 1, MAX_FULL_RANK);
    }
    SOTTO_TRY(nn_onnx_axes(l, axes, &n, out.rank + 1));
    if (n > 0 && axes[0] == 0) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "puts a dimension before the batch");
    }
    for (int d = 0; d < out.rank; d++) {
        const bool listed = next < n && axes[next] == d + 1;
        next += listed;
        out.dim[d] = listed ? 1 : in->dim[from++];
    }
    return reshape_to(l, x, &out);
}

static sotto_status convert_transpose(nn_onnx_loader *l)
{
    int64_t given[MAX_FULL_RANK];
    int perm[NN_MAX_RANK] = {0};
    size_t n;
    int x, id;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    const int rank = l->graph->nodes[x].shape.rank;
    SOTTO_TRY(nn_onnx_ints(l, "perm", given, MAX_FULL_RANK, &n));
    if (n != (size_t)rank + 1 || given[0] != 0) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its perm has %zu entries; supported are %d, the "
                            "first 0, since the batch dimension stays first",
                            n, rank + 1);
    }
    for (int d = 0; d < rank; d++) {
        /* What does not fit becomes -1, which the builder refuses. */
        const bool fits = given[d + 1] > 0 && given[d + 1] <= rank;
        perm[d] = fits ? (int)given[d + 1] - 1 : -1;
    }
    SOTTO_TRY(
        nn_graph_transpose(l->graph, &id, nn_onnx_name(l), x, perm, l->err));
    return nn_onnx_give_value(l, id);
}

/* Parts of one concatenation. */
#define MAX_PARTS 1024

static sotto_status convert_concat(nn_onnx_loader *l)
{
    int parts[MAX_PARTS];
    const size_t n = l->now->n_inputs;
    int axis, id;

    if (n == 0 || n > MAX_PARTS) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "has %zu inputs; supported are 1 to %d", n,
                            MAX_PARTS);
    }
    for (size_t k = 0; k < n; k++) {
        SOTTO_TRY(nn_onnx_want_value(l, &parts[k], k));
    }
    SOTTO_TRY(inner_axis(l, &axis, nn_onnx_int(l, "axis", 1),
                         l->graph->nodes[parts[0]].shape.rank));
    SOTTO_TRY(nn_graph_concat(l->graph, &id, nn_onnx_name(l), parts, (int)n,
                              axis, l->err));
    return nn_onnx_give_value(l, id);
}

/* A border as the file gives it: for every dimension before, then after. */
typedef struct border {
    int64_t before[MAX_FULL_RANK], after[MAX_FULL_RANK];
    float value;
} border;

/* Reads pads of n/2 axes into the places of these axes. */
static sotto_status place_pads(nn_onnx_loader *l, border *b,
                               const int64_t *pads, size_t n, int rank)
{
    int64_t given[MAX_FULL_RANK];
    size_t n_axes = 0;

    if (l->opset >= 18) {
        SOTTO_TRY(
            nn_onnx_want_ints(l, given, MAX_FULL_RANK, &n_axes, 3, "axes"));
    }
    const bool listed = n_axes > 0;
    if (!listed) {
        n_axes = (size_t)rank;
    }
    if (n != 2 * n_axes) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "has %zu pads; expected two for each of %zu "
                            "dimensions",
                            n, n_axes);
    }
    for (size_t k = 0; k < n_axes; k++) {
        int axis = (int)k;
        if (listed) {
            SOTTO_TRY(nn_onnx_axis(l, &axis, given[k], rank));
        }
        b->before[axis] = pads[k];
        b->after[axis] = pads[k + n_axes];
    }
    return SOTTO_OK;
}

static sotto_status read_border(nn_onnx_loader *l, border *b, int rank)
{
    int64_t pads[2 * MAX_FULL_RANK];
    const nn_onnx_const *value;
    size_t n;

    if (!nn_onnx_text_is(l, "mode", "constant", "constant")) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "supported is mode 'constant'");
    }
    if (l->opset < 11) {
        SOTTO_TRY(nn_onnx_ints(l, "pads", pads, 2 * MAX_FULL_RANK, &n));
        b->value = nn_onnx_float(l, "value", 0.0F);
        return place_pads(l, b, pads, n, rank);
    }
    SOTTO_TRY(nn_onnx_want_ints(l, pads, 2 * MAX_FULL_RANK, &n, 1, "pads"));
    SOTTO_TRY(nn_onnx_want_const(l, &value, 2, "value"));
    if (value != NULL && (!value->is_float || value->n != 1)) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its value is not one float32");
    }
    b->value = value == NULL ? 0.0F : value->f[0];
    return place_pads(l, b, pads, n, rank);
}

static sotto_status convert_pad(nn_onnx_loader *l)
{
    size_t before[NN_MAX_RANK] = {0}, after[NN_MAX_RANK] = {0};
    border b = {0};
    int x, id;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    const int rank = l->graph->nodes[x].shape.rank;
    SOTTO_TRY(read_border(l, &b, rank + 1));
    for (int d = 0; d <= rank; d++) {
        if (b.before[d] < 0 || b.after[d] < 0 ||
            (d == 0 && (b.before[0] != 0 || b.after[0] != 0))) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "pads dimension %d by %lld and %lld; supported "
                                "are positive pads, none of the batch",
                                d, (long long)b.before[d],
                                (long long)b.after[d]);
        }
        if (d > 0) {
            before[d - 1] = (size_t)b.before[d];
            after[d - 1] = (size_t)b.after[d];
        }
    }
    SOTTO_TRY(nn_graph_pad(l->graph, &id, nn_onnx_name(l), x, before, after,
                           b.value, l->err));
    return nn_onnx_give_value(l, id);
}

static sotto_status convert_identity(nn_onnx_loader *l)
{
    return nn_onnx_pass(l, 0);
}

static sotto_status convert_dropout(nn_onnx_loader *l)
{
    const nn_onnx_const *training;

    SOTTO_TRY(nn_onnx_want_const(l, &training, 2, "training_mode"));
    if (training != NULL && !training->is_float && training->n == 1 &&
        training->i[0] != 0) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "is in training mode; export the model for "
                            "inference");
    }
    return nn_onnx_pass(l, 0);
}

static sotto_status convert_cast(nn_onnx_loader *l)
{
    const int64_t to = nn_onnx_int(l, "to", 0);

    if (to != NN_ONNX_FLOAT) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "casts to element type %lld; supported is float32 "
                            "(1)",
                            (long long)to);
    }
    return nn_onnx_pass(l, 0);
}

sotto_status nn_onnx_convert_shape(nn_onnx_loader *l, bool *known)
{
    static const nn_onnx_rule rules[] = {{"Flatten", convert_flatten},
                                         {"Reshape", convert_reshape},
                                         {"Squeeze", convert_squeeze},
                                         {"Unsqueeze", convert_unsqueeze},
                                         {"Transpose", convert_transpose},
                                         {"Concat", convert_concat},
                                         {"Pad", convert_pad},
                                         {"Identity", convert_identity},
                                         {"Dropout", convert_dropout},
                                         {"Cast", convert_cast}};

    return nn_onnx_apply(l, rules, sizeof rules / sizeof *rules, known);
}
