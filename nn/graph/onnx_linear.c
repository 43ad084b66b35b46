/* SPDX-License-Identifier: MIT
 * ONNX reader: windows and matrices.
 */
#include <string.h>

#include "base/mem.h"
#include "nn/graph/graph_internal.h"
#include "nn/graph/onnx_internal.h"

/* ---- Windows ------------------------------------------------------------- */

/* Reads n positive numbers of an attribute; missing ones stay as they are. */
static sotto_status read_sizes(nn_onnx_loader *l, const char *name, size_t *out,
                               size_t want, int64_t smallest)
{
    int64_t given[4];
    size_t n;

    SOTTO_TRY(nn_onnx_ints(l, name, given, 4, &n));
    if (n != 0 && n != want) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "attribute '%s' has %zu values; supported are "
                            "windows in two dimensions (%zu values)",
                            name, n, want);
    }
    for (size_t i = 0; i < n; i++) {
        if (given[i] < smallest || given[i] > (int64_t)NN_MAX_WINDOW) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "attribute '%s' holds %lld; supported are "
                                "%lld to %zu",
                                name, (long long)given[i], (long long)smallest,
                                NN_MAX_WINDOW);
        }
        out[i] = (size_t)given[i];
    }
    return SOTTO_OK;
}

/* Pads for SAME_UPPER and SAME_LOWER: as many outputs as ⌈size/stride⌉. */
static void same_pads(nn_window *window, const nn_shape *in, bool upper)
{
    for (int i = 0; i < 2; i++) {
        const size_t size = in->dim[1 + i], stride = window->stride[i];
        const size_t n_out = (size + stride - 1) / stride;
        const size_t extent = (window->kernel[i] - 1) * window->dilation[i] + 1;
        const size_t needed = (n_out - 1) * stride + extent;
        const size_t total = needed > size ? needed - size : 0;
        window->pad[i] = upper ? total / 2 : total - total / 2;
        window->pad[i + 2] = total - window->pad[i];
    }
}

/* Refuses ceil_mode where it would make one more output. */
static sotto_status check_ceil(nn_onnx_loader *l, const nn_window *window,
                               const nn_shape *in)
{
    for (int i = 0; i < 2 && nn_onnx_int(l, "ceil_mode", 0) != 0; i++) {
        const size_t padded =
            in->dim[1 + i] + window->pad[i] + window->pad[i + 2];
        const size_t extent = (window->kernel[i] - 1) * window->dilation[i] + 1;
        if (padded > extent && (padded - extent) % window->stride[i] != 0) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "ceil_mode adds a window that reaches over the "
                                "edge; supported is ceil_mode 0");
        }
    }
    return SOTTO_OK;
}

/* Reads a window over value x; kernel is set already, or read here when it is
 * 0. */
static sotto_status read_window(nn_onnx_loader *l, nn_window *window,
                                const nn_shape *in)
{
    const size_t kernel[2] = {window->kernel[0], window->kernel[1]};

    if (in->rank != 3) {
        char text[NN_SHAPE_TEXT_BYTES];
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "its input (without batch) has shape %s; supported "
                            "are pictures [C,H,W]",
                            nn_shape_text(text, in));
    }
    for (int i = 0; i < 2; i++) {
        window->stride[i] = window->dilation[i] = 1;
    }
    SOTTO_TRY(read_sizes(l, "kernel_shape", window->kernel, 2, 1));
    SOTTO_TRY(read_sizes(l, "strides", window->stride, 2, 1));
    SOTTO_TRY(read_sizes(l, "dilations", window->dilation, 2, 1));
    SOTTO_TRY(read_sizes(l, "pads", window->pad, 4, 0));
    if (window->kernel[0] == 0 || window->kernel[1] == 0 ||
        (kernel[0] != 0 &&
         (kernel[0] != window->kernel[0] || kernel[1] != window->kernel[1]))) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "kernel_shape is missing or differs from the "
                            "weights");
    }
    if (nn_onnx_text_is(l, "auto_pad", "VALID", "NOTSET")) {
        memset(window->pad, 0, sizeof window->pad);
    } else if (nn_onnx_text_is(l, "auto_pad", "SAME_UPPER", "NOTSET")) {
        same_pads(window, in, true);
    } else if (nn_onnx_text_is(l, "auto_pad", "SAME_LOWER", "NOTSET")) {
        same_pads(window, in, false);
    } else if (!nn_onnx_text_is(l, "auto_pad", "NOTSET", "NOTSET")) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "supported values of auto_pad are NOTSET, VALID, "
                            "SAME_UPPER, SAME_LOWER");
    }
    return check_ceil(l, window, in);
}

/* The shape of value x. */
static const nn_shape *shape_of(const nn_onnx_loader *l, int x)
{
    return &l->graph->nodes[x].shape;
}

static sotto_status convert_conv(nn_onnx_loader *l)
{
    const nn_onnx_const *weights, *bias;
    int x, id;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    SOTTO_TRY(nn_onnx_want_const(l, &weights, 1, "weights"));
    SOTTO_TRY(nn_onnx_want_const(l, &bias, 2, "bias"));
    if (weights == NULL || !weights->is_float || weights->rank != 4) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its weights have %d dimensions; supported are "
                            "convolutions in two dimensions, [O,C,kh,kw]",
                            weights == NULL ? 0 : weights->rank);
    }
    nn_conv conv = {.out_channels = weights->dim[0], .weights = weights->f};
    conv.window.kernel[0] = weights->dim[2];
    conv.window.kernel[1] = weights->dim[3];
    const nn_shape in = *shape_of(l, x);
    SOTTO_TRY(read_window(l, &conv.window, &in));
    const int64_t groups = nn_onnx_int(l, "group", 1);
    if (groups < 1 || (uint64_t)groups > in.dim[0] ||
        weights->dim[1] * (size_t)groups != in.dim[0]) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "its weights are for %zu channels in each of %lld "
                            "groups, its input has %zu channels",
                            weights->dim[1], (long long)groups, in.dim[0]);
    }
    conv.groups = (size_t)groups;
    if (bias != NULL) {
        if (!bias->is_float || bias->n != conv.out_channels) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                "its bias has %zu elements, expected %zu",
                                bias->n, conv.out_channels);
        }
        conv.bias = bias->f;
    }
    SOTTO_TRY(nn_graph_conv(l->graph, &id, nn_onnx_name(l), x, &conv, l->err));
    return nn_onnx_give_value(l, id);
}

/* Appends a pool over value x. */
static sotto_status add_pool(nn_onnx_loader *l, int x, nn_op op,
                             const nn_window *window)
{
    int id;

    SOTTO_TRY(
        nn_graph_pool(l->graph, &id, nn_onnx_name(l), x, op, window, l->err));
    return nn_onnx_give_value(l, id);
}

static sotto_status convert_average_pool(nn_onnx_loader *l)
{
    nn_window window = {0};
    int x;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    SOTTO_TRY(read_window(l, &window, shape_of(l, x)));
    window.count_include_pad = nn_onnx_int(l, "count_include_pad", 0) != 0;
    return add_pool(l, x, NN_OP_AVERAGE_POOL, &window);
}

static sotto_status convert_max_pool(nn_onnx_loader *l)
{
    nn_window window = {0};
    int x;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    SOTTO_TRY(read_window(l, &window, shape_of(l, x)));
    return add_pool(l, x, NN_OP_MAX_POOL, &window);
}

static sotto_status convert_global_average_pool(nn_onnx_loader *l)
{
    nn_window window = {0};
    int x;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    const nn_shape *in = shape_of(l, x);
    if (in->rank == 3) { /* otherwise the builder refuses */
        window.kernel[0] = in->dim[1];
        window.kernel[1] = in->dim[2];
    }
    return add_pool(l, x, NN_OP_AVERAGE_POOL, &window);
}

/* ---- Matrices ------------------------------------------------------------ */

/* Copies matrix c, times alpha, as [n_out][n_in]. owner: the caller. */
static float *dense_weights(const nn_onnx_const *c, bool rows_are_outputs,
                            float alpha)
{
    const size_t n_out = c->dim[rows_are_outputs ? 0 : 1];
    const size_t n_in = c->dim[rows_are_outputs ? 1 : 0];
    float *out = sotto_calloc(c->n, sizeof *out);

    for (size_t o = 0; out != NULL && o < n_out; o++) {
        for (size_t i = 0; i < n_in; i++) {
            out[o * n_in + i] =
                alpha * c->f[rows_are_outputs ? o * n_in + i : i * n_out + o];
        }
    }
    return out;
}

/* Appends a dense layer for value x: matrix c, and bias (NULL: none). */
static sotto_status add_dense(nn_onnx_loader *l, int x, const nn_onnx_const *c,
                              bool rows_are_outputs, float alpha,
                              const float *bias)
{
    const size_t n_out = c->dim[rows_are_outputs ? 0 : 1];
    const size_t n_in = c->dim[rows_are_outputs ? 1 : 0];
    const nn_shape *in = shape_of(l, x);
    char text[NN_SHAPE_TEXT_BYTES];
    int id;

    if (in->rank != 1 || in->dim[0] != n_in) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "its input (without batch) has shape %s, its "
                            "weights expect [%zu]",
                            nn_shape_text(text, in), n_in);
    }
    float *weights = dense_weights(c, rows_are_outputs, alpha);
    if (weights == NULL) {
        return nn_onnx_fail(l, SOTTO_ERR_MEMORY, "no memory for weights");
    }
    const sotto_status status = nn_graph_dense(l->graph, &id, nn_onnx_name(l),
                                               x, n_out, weights, bias, l->err);
    sotto_free(weights);
    SOTTO_TRY(status);
    return nn_onnx_give_value(l, id);
}

/* Input k as a constant matrix. */
static sotto_status want_matrix(nn_onnx_loader *l, const nn_onnx_const **c,
                                size_t k)
{
    SOTTO_TRY(nn_onnx_want_const(l, c, k, "matrix"));
    if (*c == NULL || !(*c)->is_float || (*c)->rank != 2) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "input %zu is no constant float32 matrix", k);
    }
    return SOTTO_OK;
}

static sotto_status convert_matmul(nn_onnx_loader *l)
{
    const nn_onnx_const *c;
    int x;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    SOTTO_TRY(want_matrix(l, &c, 1));
    return add_dense(l, x, c, false, 1.0F, NULL);
}

/* A Gemm's third input as n_out numbers times beta; NULL stays NULL. */
static sotto_status gemm_bias(nn_onnx_loader *l, float **out, size_t n_out)
{
    const float beta = nn_onnx_float(l, "beta", 1.0F);
    const nn_onnx_const *c;

    *out = NULL;
    SOTTO_TRY(nn_onnx_want_const(l, &c, 2, "third input"));
    if (c == NULL) {
        return SOTTO_OK;
    }
    const size_t last = c->rank == 0 ? 1 : c->dim[c->rank - 1];
    if (!c->is_float || c->rank > 2 || c->n != last ||
        (c->n != 1 && c->n != n_out)) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "its third input has %d dimensions and %zu "
                            "elements; supported are 1 or %zu, alike for all "
                            "images",
                            c->rank, c->n, n_out);
    }
    *out = sotto_calloc(n_out, sizeof **out);
    if (*out == NULL) {
        return nn_onnx_fail(l, SOTTO_ERR_MEMORY, "no memory for a bias");
    }
    for (size_t o = 0; o < n_out; o++) {
        (*out)[o] = beta * c->f[c->n == 1 ? 0 : o];
    }
    return SOTTO_OK;
}

static sotto_status convert_gemm(nn_onnx_loader *l)
{
    const bool transposed = nn_onnx_int(l, "transB", 0) != 0;
    const nn_onnx_const *c;
    float *bias;
    int x;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    SOTTO_TRY(want_matrix(l, &c, 1));
    if (nn_onnx_int(l, "transA", 0) != 0) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "transA would mix the images of a batch; supported "
                            "is 0");
    }
    if (shape_of(l, x)->rank != 1) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "its first input has %d dimensions, expected 2",
                            shape_of(l, x)->rank + 1);
    }
    SOTTO_TRY(gemm_bias(l, &bias, c->dim[transposed ? 0 : 1]));
    const sotto_status status =
        add_dense(l, x, c, transposed, nn_onnx_float(l, "alpha", 1.0F), bias);
    sotto_free(bias);
    return status;
}

sotto_status nn_onnx_convert_linear(nn_onnx_loader *l, bool *known)
{
    static const nn_onnx_rule rules[] = {
        {"Conv", convert_conv},
        {"Gemm", convert_gemm},
        {"MatMul", convert_matmul},
        {"AveragePool", convert_average_pool},
        {"GlobalAveragePool", convert_global_average_pool},
        {"MaxPool", convert_max_pool}};

    return nn_onnx_apply(l, rules, sizeof rules / sizeof *rules, known);
}
