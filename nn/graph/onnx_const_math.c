/* SPDX-License-Identifier: MIT
 * ONNX reader: casts and arithmetic on constants.
 */
#include <math.h>

#include "nn/graph/onnx_internal.h"

sotto_status nn_onnx_fold_cast(nn_onnx_loader *l, nn_onnx_const *out,
                               const nn_onnx_const *in)
{
    const int64_t to = nn_onnx_int(l, "to", 0);

    if (to != NN_ONNX_FLOAT && to != NN_ONNX_INT64 && to != NN_ONNX_INT32) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "casts to element type %lld; supported are float32 "
                            "(1), int64 (7), int32 (6)",
                            (long long)to);
    }
    nn_onnx_take_shape(out, in);
    out->is_float = to == NN_ONNX_FLOAT;
    SOTTO_TRY(nn_onnx_const_make(l, out));
    for (size_t k = 0; k < in->n; k++) {
        if (out->is_float && in->is_float) {
            out->f[k] = in->f[k];
        } else if (!out->is_float && !in->is_float) {
            out->i[k] = in->i[k];
        } else if (out->is_float && in->i[k] != NN_ONNX_BATCH) {
            out->f[k] = (float)in->i[k];
        } else if (!out->is_float && fabsf(in->f[k]) < 9e18F) {
            out->i[k] = (int64_t)in->f[k];
        } else {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "element %zu cannot be cast", k);
        }
    }
    return SOTTO_OK;
}

static float float_of(char op, float a, float b)
{
    switch (op) {
    case '+':
        return a + b;
    case '-':
        return a - b;
    case '*':
        return a * b;
    default:
        return a / b;
    }
}

/* Returns false on overflow, division by zero and for the unknown batch, except
 * that the batch may be multiplied or divided by 1 and have 0 added. */
static bool integer_of(int64_t *out, char op, int64_t a, int64_t b)
{
    if (a == NN_ONNX_BATCH || b == NN_ONNX_BATCH) {
        const int64_t other = a == NN_ONNX_BATCH ? b : a;
        *out = NN_ONNX_BATCH;
        return (op == '*' && other == 1) || (op == '+' && other == 0) ||
               (op == '/' && b == 1) || (op == '-' && b == 0);
    }
    switch (op) {
    case '+':
        return !__builtin_add_overflow(a, b, out);
    case '-':
        return !__builtin_sub_overflow(a, b, out);
    case '*':
        return !__builtin_mul_overflow(a, b, out);
    default:
        if (b == 0 || (a == INT64_MIN && b == -1)) {
            return false;
        }
        *out = a / b;
        return true;
    }
}

/* Strides of c seen as the larger shape of out. Returns false if it does not
 * stretch. */
static bool stretch(size_t *stride, const nn_onnx_const *c,
                    const nn_onnx_const *out)
{
    const int missing = out->rank - c->rank;
    size_t step = 1;

    for (int d = out->rank - 1; d >= 0; d--) {
        const size_t dim = d >= missing ? c->dim[d - missing] : 1;
        if (dim != 1 && dim != out->dim[d]) {
            return false;
        }
        stride[d] = dim == 1 ? 0 : step;
        step *= dim;
    }
    return true;
}

/* The common shape of a and b, each dimension the one that is not 1. */
static void common_shape(nn_onnx_const *out, const nn_onnx_const *a,
                         const nn_onnx_const *b)
{
    const nn_onnx_const *longer = a->rank >= b->rank ? a : b;
    const nn_onnx_const *shorter = a->rank >= b->rank ? b : a;
    const int missing = longer->rank - shorter->rank;

    nn_onnx_take_shape(out, longer);
    for (int d = 0; d < shorter->rank; d++) {
        if (out->dim[missing + d] == 1) {
            out->dim[missing + d] = shorter->dim[d];
        }
    }
}

static sotto_status fold_arithmetic(nn_onnx_loader *l, nn_onnx_const *out,
                                    const nn_onnx_const *a, char op)
{
    size_t sa[NN_ONNX_MAX_RANK], sb[NN_ONNX_MAX_RANK];
    size_t place[NN_ONNX_MAX_RANK] = {0};
    const nn_onnx_const *b;

    SOTTO_TRY(nn_onnx_want_const(l, &b, 1, "second input"));
    if (b == NULL || a->is_float != b->is_float) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "its inputs are missing or of different types");
    }
    common_shape(out, a, b);
    out->is_float = a->is_float;
    if (!stretch(sa, a, out) || !stretch(sb, b, out)) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "the shapes of its constants do not stretch to "
                            "each other");
    }
    SOTTO_TRY(nn_onnx_const_make(l, out));
    for (size_t k = 0; k < out->n; k++) {
        size_t ia = 0, ib = 0;
        for (int d = 0; d < out->rank; d++) {
            ia += sa[d] * place[d];
            ib += sb[d] * place[d];
        }
        if (out->is_float) {
            out->f[k] = float_of(op, a->f[ia], b->f[ib]);
        } else if (!integer_of(&out->i[k], op, a->i[ia], b->i[ib])) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "computes with the batch dimension, overflows "
                                "or divides by 0");
        }
        for (int d = out->rank - 1; d >= 0 && ++place[d] == out->dim[d]; d--) {
            place[d] = 0;
        }
    }
    return SOTTO_OK;
}

sotto_status nn_onnx_fold_arithmetic(nn_onnx_loader *l, nn_onnx_const *out,
                                     const nn_onnx_const *in, bool *done)
{
    static const struct {
        const char *op;
        char sign;
    } rules[] = {{"Add", '+'}, {"Sub", '-'}, {"Mul", '*'}, {"Div", '/'}};

    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++) {
        if (nn_view_is(l->now->op, rules[k].op)) {
            *done = true;
            return fold_arithmetic(l, out, in, rules[k].sign);
        }
    }
    return SOTTO_OK;
}
