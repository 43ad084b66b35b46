/* SPDX-License-Identifier: MIT
 * ONNX reader: nodes whose result is known when the model is read.
 *
 * Exporters compute shapes inside the model (Shape, Gather, Concat, …) and
 * rearrange constants; what all inputs of are constant is computed here.
 */
#include <string.h>

#include "nn/graph/onnx_internal.h"

void nn_onnx_copy(nn_onnx_const *out, size_t to, const nn_onnx_const *in,
                  size_t from)
{
    if (out->is_float) {
        out->f[to] = in->f[from];
    } else {
        out->i[to] = in->i[from];
    }
}

/* Makes out like in, but with another shape of the same size. */
static sotto_status same_elements(nn_onnx_loader *l, nn_onnx_const *out,
                                  const nn_onnx_const *in)
{
    out->is_float = in->is_float;
    SOTTO_TRY(nn_onnx_const_make(l, out));
    SOTTO_ASSERT(out->n == in->n);
    for (size_t k = 0; k < in->n; k++) {
        nn_onnx_copy(out, k, in, k);
    }
    return SOTTO_OK;
}

void nn_onnx_take_shape(nn_onnx_const *out, const nn_onnx_const *in)
{
    out->rank = in->rank;
    memcpy(out->dim, in->dim, sizeof out->dim);
}

static sotto_status fold_identity(nn_onnx_loader *l, nn_onnx_const *out,
                                  const nn_onnx_const *in)
{
    nn_onnx_take_shape(out, in);
    return same_elements(l, out, in);
}

sotto_status nn_onnx_reshape_dims(nn_onnx_loader *l, size_t *out,
                                  const int64_t *given, size_t n_given,
                                  const size_t *in, int in_rank,
                                  size_t n_elements, bool allow_zero)
{
    size_t known = 1;
    int open = -1;

    for (size_t d = 0; d < n_given; d++) {
        int64_t dim = given[d];
        if (dim == 0 && !allow_zero && (int)d < in_rank) {
            dim = (int64_t)in[d];
        }
        if (dim == -1 && open < 0) {
            open = (int)d;
            continue;
        }
        if (dim <= 0 || (uint64_t)dim > NN_MAX_WEIGHTS / known) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                "entry %zu of its shape is %lld; expected "
                                "positive numbers and at most one -1",
                                d, (long long)given[d]);
        }
        out[d] = (size_t)dim;
        known *= out[d];
    }
    if (open >= 0) {
        if (n_elements % known != 0) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                "%zu elements do not divide by %zu", n_elements,
                                known);
        }
        out[open] = n_elements / known;
        known = n_elements;
    }
    if (known != n_elements) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "its input has %zu elements (without batch), the "
                            "shape given has %zu",
                            n_elements, known);
    }
    return SOTTO_OK;
}

static sotto_status fold_reshape(nn_onnx_loader *l, nn_onnx_const *out,
                                 const nn_onnx_const *in)
{
    int64_t given[NN_ONNX_MAX_RANK];
    size_t n;

    SOTTO_TRY(nn_onnx_want_ints(l, given, NN_ONNX_MAX_RANK, &n, 1, "shape"));
    SOTTO_TRY(nn_onnx_reshape_dims(l, out->dim, given, n, in->dim, in->rank,
                                   in->n, nn_onnx_int(l, "allowzero", 0) != 0));
    out->rank = (int)n;
    return same_elements(l, out, in);
}

static sotto_status fold_flatten(nn_onnx_loader *l, nn_onnx_const *out,
                                 const nn_onnx_const *in)
{
    int64_t axis = nn_onnx_int(l, "axis", 1);

    axis = axis < 0 ? axis + in->rank : axis;
    if (axis < 0 || axis > in->rank) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE, "axis %lld of %d dimensions",
                            (long long)axis, in->rank);
    }
    out->rank = 2;
    out->dim[0] = out->dim[1] = 1;
    for (int d = 0; d < in->rank; d++) {
        out->dim[d < axis ? 0 : 1] *= in->dim[d];
    }
    return same_elements(l, out, in);
}

/* Axes of the node at work as they stand. */
static sotto_status given_axes(nn_onnx_loader *l, int64_t *given, size_t *n)
{
    return l->opset < 13
               ? nn_onnx_ints(l, "axes", given, NN_ONNX_MAX_RANK, n)
               : nn_onnx_want_ints(l, given, NN_ONNX_MAX_RANK, n, 1, "axes");
}

sotto_status nn_onnx_count_axes(nn_onnx_loader *l, size_t *n)
{
    int64_t given[NN_ONNX_MAX_RANK];

    return given_axes(l, given, n);
}

sotto_status nn_onnx_axes(nn_onnx_loader *l, int *axes, size_t *n, int rank)
{
    int64_t given[NN_ONNX_MAX_RANK];
    unsigned seen = 0;

    SOTTO_TRY(given_axes(l, given, n));
    for (size_t k = 0; k < *n; k++) {
        int axis;
        SOTTO_TRY(nn_onnx_axis(l, &axis, given[k], rank));
        if ((seen & 1U << axis) != 0) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE, "names axis %d twice",
                                axis);
        }
        seen |= 1U << axis;
    }
    size_t at = 0;
    for (int d = 0; d < rank; d++) {
        if ((seen & 1U << d) != 0) {
            axes[at++] = d;
        }
    }
    return SOTTO_OK;
}

static sotto_status fold_squeeze(nn_onnx_loader *l, nn_onnx_const *out,
                                 const nn_onnx_const *in)
{
    int axes[NN_ONNX_MAX_RANK];
    size_t n, next = 0;

    SOTTO_TRY(nn_onnx_axes(l, axes, &n, in->rank));
    for (int d = 0; d < in->rank; d++) {
        const bool listed = next < n && axes[next] == d;
        next += listed;
        if (listed && in->dim[d] != 1) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                "dimension %d is %zu, not 1", d, in->dim[d]);
        }
        if (!listed && (n > 0 || in->dim[d] != 1)) {
            out->dim[out->rank++] = in->dim[d];
        }
    }
    return same_elements(l, out, in);
}

static sotto_status fold_unsqueeze(nn_onnx_loader *l, nn_onnx_const *out,
                                   const nn_onnx_const *in)
{
    int axes[NN_ONNX_MAX_RANK];
    size_t n, next = 0;
    int from = 0;

    SOTTO_TRY(nn_onnx_count_axes(l, &n));
    if (in->rank + (int)n > NN_ONNX_MAX_RANK) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "makes more than %d dimensions", NN_ONNX_MAX_RANK);
    }
    out->rank = in->rank + (int)n;
    SOTTO_TRY(nn_onnx_axes(l, axes, &n, out->rank));
    for (int d = 0; d < out->rank; d++) {
        const bool listed = next < n && axes[next] == d;
        next += listed;
        out->dim[d] = listed ? 1 : in->dim[from++];
    }
    return same_elements(l, out, in);
}

static sotto_status fold_transpose(nn_onnx_loader *l, nn_onnx_const *out,
                                   const nn_onnx_const *in)
{
    int64_t perm[NN_ONNX_MAX_RANK];
    size_t stride[NN_ONNX_MAX_RANK], place[NN_ONNX_MAX_RANK] = {0};
    size_t n, step = 1, at = 0;
    unsigned seen = 0;

    SOTTO_TRY(nn_onnx_ints(l, "perm", perm, NN_ONNX_MAX_RANK, &n));
    for (int d = 0; d < in->rank && n == 0; d++) {
        perm[d] = in->rank - 1 - d;
    }
    for (int d = in->rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= in->dim[d];
    }
    out->rank = in->rank;
    out->is_float = in->is_float;
    for (int d = 0; d < in->rank; d++) {
        if ((n != 0 && (int)n != in->rank) || perm[d] < 0 ||
            perm[d] >= in->rank || (seen & 1U << perm[d]) != 0) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                "perm is no permutation of %d dimensions",
                                in->rank);
        }
        seen |= 1U << perm[d];
        out->dim[d] = in->dim[perm[d]];
    }
    SOTTO_TRY(nn_onnx_const_make(l, out));
    for (size_t k = 0; k < out->n; k++) {
        nn_onnx_copy(out, k, in, at);
        for (int d = out->rank - 1; d >= 0; d--) {
            at += stride[perm[d]];
            if (++place[d] < out->dim[d]) {
                break;
            }
            at -= stride[perm[d]] * out->dim[d];
            place[d] = 0;
        }
    }
    return SOTTO_OK;
}

/* Fills out, whose shape is set, with the node's value (default 0). */
static sotto_status fill(nn_onnx_loader *l, nn_onnx_const *out,
                         nn_onnx_const *value)
{
    nn_onnx_attribute attribute;

    *value = (nn_onnx_const){.is_float = true};
    if (nn_onnx_find(l, &attribute, "value") && attribute.has_t) {
        SOTTO_TRY(
            nn_onnx_tensor(l, value, attribute.t, l->now->outputs[0]->name));
    } else {
        SOTTO_TRY(nn_onnx_const_make(l, value));
    }
    if (value->n != 1) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "its value has %zu elements, not 1", value->n);
    }
    out->is_float = value->is_float;
    SOTTO_TRY(nn_onnx_const_make(l, out));
    for (size_t k = 0; k < out->n; k++) {
        nn_onnx_copy(out, k, value, 0);
    }
    return SOTTO_OK;
}

static sotto_status fold_constant_of_shape(nn_onnx_loader *l,
                                           nn_onnx_const *out)
{
    nn_onnx_const value;
    int64_t dims[NN_ONNX_MAX_RANK];
    size_t n;

    SOTTO_TRY(nn_onnx_want_ints(l, dims, NN_ONNX_MAX_RANK, &n, 0, "shape"));
    for (size_t d = 0; d < n; d++) {
        if (dims[d] < 0) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                "entry %zu of its shape is not known or "
                                "negative",
                                d);
        }
        out->dim[out->rank++] = (size_t)dims[d];
    }
    const sotto_status status = fill(l, out, &value);
    nn_onnx_const_free(l, &value);
    return status;
}

/* ---- Which --------------------------------------------------------------- */

sotto_status nn_onnx_shape_node(nn_onnx_loader *l, nn_onnx_const *out)
{
    const nn_onnx_symbol *symbol = l->now->inputs[0];
    int64_t dims[NN_ONNX_MAX_RANK];
    size_t n = 0;

    if (symbol->kind == NN_ONNX_CONST) {
        for (int d = 0; d < symbol->constant.rank; d++) {
            dims[n++] = (int64_t)symbol->constant.dim[d];
        }
    } else {
        const nn_shape *shape = &l->graph->nodes[symbol->node].shape;
        dims[n++] = l->batch == 0 ? NN_ONNX_BATCH : (int64_t)l->batch;
        for (int d = 0; d < shape->rank; d++) {
            dims[n++] = (int64_t)shape->dim[d];
        }
    }
    const size_t first = nn_onnx_clamp(nn_onnx_int(l, "start", 0), n);
    const size_t end = nn_onnx_clamp(nn_onnx_int(l, "end", INT64_MAX), n);
    *out = (nn_onnx_const){.rank = 1, .dim = {end > first ? end - first : 0}};
    SOTTO_TRY(nn_onnx_const_make(l, out));
    for (size_t k = 0; k < out->n; k++) {
        out->i[k] = dims[first + k];
    }
    return SOTTO_OK;
}

/* Computes operators whose first input is in. */
static sotto_status fold_first(nn_onnx_loader *l, nn_onnx_const *out,
                               const nn_onnx_const *in, bool *done)
{
    typedef sotto_status rule(nn_onnx_loader *, nn_onnx_const *,
                              const nn_onnx_const *);
    static const struct {
        const char *op;
        rule *fold;
    } rules[] = {
        {"Identity", fold_identity},     {"Cast", nn_onnx_fold_cast},
        {"Reshape", fold_reshape},       {"Flatten", fold_flatten},
        {"Squeeze", fold_squeeze},       {"Unsqueeze", fold_unsqueeze},
        {"Transpose", fold_transpose},   {"Concat", nn_onnx_fold_concat},
        {"Gather", nn_onnx_fold_gather}, {"Slice", nn_onnx_fold_slice}};

    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++) {
        if (nn_view_is(l->now->op, rules[k].op)) {
            *done = true;
            return rules[k].fold(l, out, in);
        }
    }
    return nn_onnx_fold_arithmetic(l, out, in, done);
}

sotto_status nn_onnx_fold_node(nn_onnx_loader *l, nn_onnx_const *out,
                               bool *done)
{
    const nn_onnx_const *first;

    *out = (nn_onnx_const){0};
    *done = true;
    if (nn_view_is(l->now->op, "Constant")) {
        return nn_onnx_constant_node(l, out);
    }
    if (nn_view_is(l->now->op, "ConstantOfShape")) {
        return fold_constant_of_shape(l, out);
    }
    *done = false;
    if (l->now->n_inputs == 0) {
        return SOTTO_OK;
    }
    SOTTO_TRY(nn_onnx_want_const(l, &first, 0, "first input"));
    return first == NULL ? SOTTO_OK : fold_first(l, out, first, done);
}
