/* SPDX-License-Identifier: MIT
 * Shapes of per-image tensors and the stretching of constants.
 */
#include <stdio.h>

#include "nn/graph/graph_internal.h"

const char *nn_shape_text(char *text, const nn_shape *shape)
{
    size_t at = 0;

    text[at++] = '[';
    for (int i = 0; i < shape->rank && i < NN_MAX_RANK; i++) {
        /* 20 digits and a comma for each of four dimensions fit. */
        at += (size_t)snprintf(text + at, NN_SHAPE_TEXT_BYTES - at, "%s%zu",
                               i > 0 ? "," : "", shape->dim[i]);
    }
    text[at++] = ']';
    text[at] = '\0';
    return text;
}

size_t nn_shape_size(const nn_shape *shape)
{
    size_t size = 1;

    for (int i = 0; i < shape->rank; i++) {
        size *= shape->dim[i];
    }
    return size;
}

bool nn_shape_equal(const nn_shape *a, const nn_shape *b)
{
    if (a->rank != b->rank) {
        return false;
    }
    for (int i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i]) {
            return false;
        }
    }
    return true;
}

bool nn_shape_stretches(const nn_shape *param, const nn_shape *shape)
{
    if (param->rank > shape->rank) {
        return false;
    }
    for (int i = 0; i < param->rank; i++) {
        const size_t want = shape->dim[shape->rank - param->rank + i];
        if (param->dim[i] != 1 && param->dim[i] != want) {
            return false;
        }
    }
    return true;
}

void nn_shape_strides(size_t *stride, const nn_shape *param,
                      const nn_shape *shape)
{
    const int missing = shape->rank - param->rank;
    size_t step = 1;

    for (int i = shape->rank - 1; i >= 0; i--) {
        const size_t dim = i >= missing ? param->dim[i - missing] : 1;
        stride[i] = dim == 1 ? 0 : step;
        step *= dim;
    }
}

size_t nn_shape_param_index(const nn_shape *param, const nn_shape *shape,
                            size_t index)
{
    size_t stride[NN_MAX_RANK];
    size_t at = 0;

    if (param->rank == 0) {
        return 0;
    }
    nn_shape_strides(stride, param, shape);
    for (int i = shape->rank - 1; i >= 0; i--) {
        at += index % shape->dim[i] * stride[i];
        index /= shape->dim[i];
    }
    return at;
}

sotto_status nn_shape_check(const nn_shape *shape, sotto_error *err)
{
    size_t size = 1;

    if (shape->rank < 1 || shape->rank > NN_MAX_RANK) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "a value of %d dimensions without batch; supported "
                          "are 1 to %d",
                          shape->rank, NN_MAX_RANK);
    }
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == 0) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "dimension %d of a value is 0", i);
        }
        if (shape->dim[i] > NN_MAX_ELEMENTS / size) {
            return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                              "a value has more than %zu elements",
                              NN_MAX_ELEMENTS);
        }
        size *= shape->dim[i];
    }
    return SOTTO_OK;
}
