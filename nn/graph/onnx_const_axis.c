/* SPDX-License-Identifier: MIT
 * ONNX reader: constants joined, picked and cut along an axis.
 */
#include "nn/graph/onnx_internal.h"

/* Elements before and after one axis. */
static void around(const nn_onnx_const *c, int axis, size_t *outer,
                   size_t *inner)
{
    *outer = *inner = 1;
    for (int d = 0; d < c->rank; d++) {
        *outer *= d < axis ? c->dim[d] : 1;
        *inner *= d > axis ? c->dim[d] : 1;
    }
}

sotto_status nn_onnx_fold_concat(nn_onnx_loader *l, nn_onnx_const *out,
                                 const nn_onnx_const *first)
{
    const nn_onnx_const *in;
    size_t outer, inner, at = 0;
    int axis;

    SOTTO_TRY(nn_onnx_axis(l, &axis, nn_onnx_int(l, "axis", 0), first->rank));
    nn_onnx_take_shape(out, first);
    out->is_float = first->is_float;
    out->dim[axis] = 0;
    for (size_t k = 0; k < l->now->n_inputs; k++) {
        SOTTO_TRY(nn_onnx_want_const(l, &in, k, "input"));
        bool fits = in != NULL && in->rank == first->rank &&
                    in->is_float == first->is_float;
        for (int d = 0; fits && d < in->rank; d++) {
            fits = d == axis || in->dim[d] == first->dim[d];
        }
        if (!fits) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                "input %zu does not continue input 0 along "
                                "axis %d",
                                k, axis);
        }
        out->dim[axis] += in->dim[axis];
    }
    SOTTO_TRY(nn_onnx_const_make(l, out));
    around(out, axis, &outer, &inner);
    for (size_t o = 0; o < outer; o++) {
        for (size_t k = 0; k < l->now->n_inputs; k++) {
            SOTTO_TRY(nn_onnx_want_const(l, &in, k, "input"));
            const size_t run = in->dim[axis] * inner;
            for (size_t e = 0; e < run; e++) {
                nn_onnx_copy(out, at++, in, o * run + e);
            }
        }
    }
    return SOTTO_OK;
}

sotto_status nn_onnx_fold_gather(nn_onnx_loader *l, nn_onnx_const *out,
                                 const nn_onnx_const *in)
{
    const nn_onnx_const *index;
    size_t outer, inner, at = 0;
    int axis;

    SOTTO_TRY(nn_onnx_want_const(l, &index, 1, "indices"));
    SOTTO_TRY(nn_onnx_axis(l, &axis, nn_onnx_int(l, "axis", 0), in->rank));
    if (index == NULL || index->is_float ||
        in->rank - 1 + index->rank > NN_ONNX_MAX_RANK) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its indices are no integers, or it makes more "
                            "than %d dimensions",
                            NN_ONNX_MAX_RANK);
    }
    out->is_float = in->is_float;
    for (int d = 0; d < axis; d++) {
        out->dim[out->rank++] = in->dim[d];
    }
    for (int d = 0; d < index->rank; d++) {
        out->dim[out->rank++] = index->dim[d];
    }
    for (int d = axis + 1; d < in->rank; d++) {
        out->dim[out->rank++] = in->dim[d];
    }
    SOTTO_TRY(nn_onnx_const_make(l, out));
    around(in, axis, &outer, &inner);
    for (size_t o = 0; o < outer; o++) {
        for (size_t k = 0; k < index->n; k++) {
            const int64_t size = (int64_t)in->dim[axis];
            int64_t i = index->i[k];
            i = i < 0 && i >= -size ? i + size : i;
            if (i < 0 || i >= size) {
                return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                    "index %lld of dimension %lld",
                                    (long long)index->i[k], (long long)size);
            }
            for (size_t e = 0; e < inner; e++) {
                nn_onnx_copy(out, at++, in,
                             (o * in->dim[axis] + (size_t)i) * inner + e);
            }
        }
    }
    return SOTTO_OK;
}

/* What a Slice takes along each of its axes. */
typedef struct slice_ranges {
    size_t n;
    int64_t start[NN_ONNX_MAX_RANK], end[NN_ONNX_MAX_RANK];
    int64_t axis[NN_ONNX_MAX_RANK], step[NN_ONNX_MAX_RANK];
} slice_ranges;

static sotto_status read_slice(nn_onnx_loader *l, slice_ranges *s)
{
    const size_t cap = NN_ONNX_MAX_RANK;
    size_t n_end, n_axis, n_step = 0;

    if (l->opset < 10) {
        SOTTO_TRY(nn_onnx_ints(l, "starts", s->start, cap, &s->n));
        SOTTO_TRY(nn_onnx_ints(l, "ends", s->end, cap, &n_end));
        SOTTO_TRY(nn_onnx_ints(l, "axes", s->axis, cap, &n_axis));
    } else {
        SOTTO_TRY(nn_onnx_want_ints(l, s->start, cap, &s->n, 1, "starts"));
        SOTTO_TRY(nn_onnx_want_ints(l, s->end, cap, &n_end, 2, "ends"));
        SOTTO_TRY(nn_onnx_want_ints(l, s->axis, cap, &n_axis, 3, "axes"));
        SOTTO_TRY(nn_onnx_want_ints(l, s->step, cap, &n_step, 4, "steps"));
    }
    if (n_end != s->n || (n_axis != 0 && n_axis != s->n) ||
        (n_step != 0 && n_step != s->n)) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "starts, ends, axes and steps differ in length");
    }
    for (size_t k = 0; k < s->n; k++) {
        s->axis[k] = n_axis == 0 ? (int64_t)k : s->axis[k];
        if (n_step != 0 && s->step[k] != 1) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "slices with step %lld; supported is 1",
                                (long long)s->step[k]);
        }
    }
    return SOTTO_OK;
}

size_t nn_onnx_clamp(int64_t at, size_t size)
{
    if (at < 0) {
        at = at < -(int64_t)size ? 0 : at + (int64_t)size;
    }
    return (uint64_t)at > size ? size : (size_t)at;
}

sotto_status nn_onnx_fold_slice(nn_onnx_loader *l, nn_onnx_const *out,
                                const nn_onnx_const *in)
{
    slice_ranges s = {0};
    size_t first[NN_ONNX_MAX_RANK] = {0}, place[NN_ONNX_MAX_RANK] = {0};

    SOTTO_TRY(read_slice(l, &s));
    nn_onnx_take_shape(out, in);
    out->is_float = in->is_float;
    for (size_t k = 0; k < s.n; k++) {
        int axis;
        SOTTO_TRY(nn_onnx_axis(l, &axis, s.axis[k], in->rank));
        first[axis] = nn_onnx_clamp(s.start[k], in->dim[axis]);
        const size_t end = nn_onnx_clamp(s.end[k], in->dim[axis]);
        out->dim[axis] = end > first[axis] ? end - first[axis] : 0;
    }
    SOTTO_TRY(nn_onnx_const_make(l, out));
    for (size_t k = 0; k < out->n; k++) {
        size_t at = 0;
        for (int d = 0; d < in->rank; d++) {
            at = at * in->dim[d] + first[d] + place[d];
        }
        nn_onnx_copy(out, k, in, at);
        for (int d = out->rank - 1; d >= 0 && ++place[d] == out->dim[d]; d--) {
            place[d] = 0;
        }
    }
    return SOTTO_OK;
}
