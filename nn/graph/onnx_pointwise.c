/* SPDX-License-Identifier: MIT
 * ONNX reader: operators that work element by element, and Softmax.
 */
#include <math.h>

#include "base/mem.h"
#include "nn/graph/graph_internal.h"
#include "nn/graph/onnx_internal.h"

static sotto_status convert_batch_normalization(nn_onnx_loader *l)
{
    const double epsilon = (double)nn_onnx_float(l, "epsilon", 1e-5F);
    const nn_onnx_const *p[4]; /* scale, shift, mean, variance */
    nn_shape param;
    int x, id;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    const size_t n = l->graph->nodes[x].shape.dim[0];
    for (size_t k = 0; k < 4; k++) {
        SOTTO_TRY(nn_onnx_want_const(l, &p[k], k + 1, "parameter"));
        if (p[k] == NULL || !p[k]->is_float || p[k]->n != n) {
            return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                                "input %zu has %zu elements, expected one for "
                                "each of %zu channels",
                                k + 1, p[k] == NULL ? 0 : p[k]->n, n);
        }
    }
    if (nn_onnx_int(l, "training_mode", 0) != 0 ||
        nn_onnx_int(l, "spatial", 1) != 1) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "supported are training_mode 0 and spatial 1");
    }
    param =
        (nn_shape){.rank = l->graph->nodes[x].shape.rank, .dim = {n, 1, 1, 1}};
    float *scale = sotto_calloc(2 * n, sizeof *scale);
    if (scale == NULL) {
        return nn_onnx_fail(l, SOTTO_ERR_MEMORY, "no memory for constants");
    }
    for (size_t c = 0; c < n; c++) {
        const double factor =
            (double)p[0]->f[c] / sqrt((double)p[3]->f[c] + epsilon);
        scale[c] = (float)factor;
        scale[n + c] =
            (float)((double)p[1]->f[c] - (double)p[2]->f[c] * factor);
    }
    const sotto_status status = nn_graph_scale_shift(
        l->graph, &id, nn_onnx_name(l), x, &param, scale, scale + n, l->err);
    sotto_free(scale);
    SOTTO_TRY(status);
    return nn_onnx_give_value(l, id);
}

/* The shape of a constant without the batch dimension. */
static sotto_status per_image_shape(nn_onnx_loader *l, nn_shape *out,
                                    const nn_onnx_const *c, int value_rank)
{
    const int skip = c->rank == value_rank + 1 ? 1 : 0;

    if (!c->is_float || c->rank > value_rank + 1 ||
        (skip == 1 && c->dim[0] != 1)) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its constant has %d dimensions and element type "
                            "%s, its other input has %d; supported are float32 "
                            "constants that are alike for all images",
                            c->rank, c->is_float ? "float32" : "integer",
                            value_rank + 1);
    }
    *out = (nn_shape){.rank = c->n == 1 ? 0 : c->rank - skip};
    for (int d = 0; d < out->rank; d++) {
        out->dim[d] = c->dim[d + skip];
    }
    return SOTTO_OK;
}

/* Whether all of n numbers are value. */
static bool all_are(const float *x, size_t n, float value)
{
    for (size_t i = 0; i < n; i++) {
        if (x[i] != value) {
            return false;
        }
    }
    return true;
}

/* n copies or repetitions: constants of shape from, seen in shape to. */
static float *stretched(const float *x, const nn_shape *from,
                        const nn_shape *to)
{
    const size_t n = nn_shape_size(to);
    float *out = sotto_calloc(n, sizeof *out);

    for (size_t i = 0; out != NULL && i < n; i++) {
        out[i] = x[nn_shape_param_index(from, to, i)];
    }
    return out;
}

/* Adds shift to a node that has weights but no bias yet: what a file spells as
 * MatMul, Add or as Mul, Add becomes one node. *merged is false when the node
 * is not of that kind. */
static sotto_status merge_shift(nn_onnx_loader *l, int x, const nn_shape *param,
                                const float *shift, bool *merged)
{
    nn_node *node = &l->graph->nodes[x];
    nn_shape common = node->op == NN_OP_DENSE ? node->shape : node->param_shape;
    float *weights = NULL, *bias;

    *merged = false;
    if ((node->op != NN_OP_DENSE && node->op != NN_OP_SCALE_SHIFT) ||
        !nn_onnx_only_use(l, nn_onnx_is_const(l, 0) ? 1 : 0) ||
        !all_are(node->bias, node->n_bias, 0.0F)) {
        return SOTTO_OK;
    }
    if (node->op == NN_OP_SCALE_SHIFT && common.rank == 0) {
        common = *param;
    }
    if (!nn_shape_stretches(param, &common) ||
        !nn_shape_stretches(&common, &node->shape)) {
        return SOTTO_OK;
    }
    bias = stretched(shift, param, &common);
    if (node->op == NN_OP_SCALE_SHIFT) {
        weights = stretched(node->weights, &node->param_shape, &common);
    }
    (void)nn_onnx_name(l);
    char *name = nn_text_copy(l->name), *tensor = nn_text_copy(l->tensor);
    nn_graph_next_label(l->graph, NULL, NULL);
    if (bias == NULL || name == NULL || tensor == NULL ||
        (node->op == NN_OP_SCALE_SHIFT && weights == NULL)) {
        sotto_free(bias);
        sotto_free(weights);
        sotto_free(name);
        sotto_free(tensor);
        return nn_onnx_fail(l, SOTTO_ERR_MEMORY, "no memory for constants");
    }
    sotto_free(node->bias);
    sotto_free(node->name);
    sotto_free(node->tensor);
    node->bias = bias;
    node->n_bias = nn_shape_size(&common);
    node->name = name;
    node->tensor = tensor;
    if (weights != NULL) {
        sotto_free(node->weights);
        node->weights = weights;
        node->n_weights = node->n_bias;
        node->param_shape = common;
        node->origin = nn_op_name(NN_OP_SCALE_SHIFT);
    }
    *merged = true;
    return nn_onnx_give_value(l, x);
}

/* One of Add, Sub, Mul, Div between a value and a constant. */
static sotto_status with_constant(nn_onnx_loader *l, char op, float *scale,
                                  float *shift, const nn_onnx_const *c,
                                  bool constant_first)
{
    for (size_t i = 0; i < c->n; i++) {
        const float v = c->f[i];
        scale[i] = 1.0F;
        shift[i] = 0.0F;
        if (op == '*') {
            scale[i] = v;
        } else if (op == '/') {
            if (constant_first || v == 0.0F) {
                return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                    "divides by %s; supported are constants "
                                    "other than 0",
                                    constant_first ? "a value" : "0");
            }
            scale[i] = 1.0F / v;
        } else if (op == '-') {
            scale[i] = constant_first ? -1.0F : 1.0F;
            shift[i] = constant_first ? v : -v;
        } else {
            shift[i] = v;
        }
    }
    return SOTTO_OK;
}

static sotto_status add_scale_shift(nn_onnx_loader *l, char op, int x,
                                    const nn_onnx_const *c, bool first,
                                    float *scale)
{
    float *shift = scale + c->n;
    bool merged = false;
    nn_shape param;
    int id;

    SOTTO_TRY(per_image_shape(l, &param, c, l->graph->nodes[x].shape.rank));
    SOTTO_TRY(with_constant(l, op, scale, shift, c, first));
    if (op == '+' || (op == '-' && !first)) {
        SOTTO_TRY(merge_shift(l, x, &param, shift, &merged));
    }
    if (merged) {
        return SOTTO_OK;
    }
    SOTTO_TRY(nn_graph_scale_shift(l->graph, &id, nn_onnx_name(l), x, &param,
                                   scale, shift, l->err));
    return nn_onnx_give_value(l, id);
}

/* Add, Sub, Mul, Div of two values or of a value and a constant. */
static sotto_status convert_pair(nn_onnx_loader *l, char op)
{
    const bool first = nn_onnx_is_const(l, 0);
    const nn_onnx_const *c;
    nn_op pair = NN_OP_MULTIPLY;
    int x, y, id;

    SOTTO_TRY(nn_onnx_want_value(l, &x, first ? 1 : 0));
    if (first || nn_onnx_is_const(l, 1)) {
        SOTTO_TRY(nn_onnx_want_const(l, &c, first ? 0 : 1, "constant"));
        float *scale = sotto_calloc(2 * c->n, sizeof *scale);
        const sotto_status status =
            scale == NULL
                ? nn_onnx_fail(l, SOTTO_ERR_MEMORY, "no memory for constants")
                : add_scale_shift(l, op, x, c, first, scale);
        sotto_free(scale);
        return status;
    }
    SOTTO_TRY(nn_onnx_want_value(l, &y, 1));
    if (op == '/') {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "divides by a value; supported are constants");
    }
    if (op == '*' && x == y) {
        SOTTO_TRY(nn_graph_unary(l->graph, &id, nn_onnx_name(l), x,
                                 NN_OP_SQUARE, l->err));
        return nn_onnx_give_value(l, id);
    }
    if (op != '*') {
        pair = op == '+' ? NN_OP_ADD : NN_OP_SUBTRACT;
    }
    SOTTO_TRY(
        nn_graph_binary(l->graph, &id, nn_onnx_name(l), x, y, pair, l->err));
    return nn_onnx_give_value(l, id);
}

static sotto_status convert_add(nn_onnx_loader *l)
{
    return convert_pair(l, '+');
}

static sotto_status convert_sub(nn_onnx_loader *l)
{
    return convert_pair(l, '-');
}

static sotto_status convert_mul(nn_onnx_loader *l)
{
    return convert_pair(l, '*');
}

static sotto_status convert_div(nn_onnx_loader *l)
{
    return convert_pair(l, '/');
}

static sotto_status convert_pow(nn_onnx_loader *l)
{
    const nn_onnx_const *exponent;
    int x, id;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    SOTTO_TRY(nn_onnx_want_const(l, &exponent, 1, "exponent"));
    if (exponent == NULL || exponent->n != 1 ||
        (exponent->is_float ? exponent->f[0] != 2.0F : exponent->i[0] != 2)) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "supported is the power 2 for all elements");
    }
    SOTTO_TRY(nn_graph_unary(l->graph, &id, nn_onnx_name(l), x, NN_OP_SQUARE,
                             l->err));
    return nn_onnx_give_value(l, id);
}

static sotto_status convert_relu(nn_onnx_loader *l)
{
    int x, id;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    SOTTO_TRY(
        nn_graph_unary(l->graph, &id, nn_onnx_name(l), x, NN_OP_RELU, l->err));
    return nn_onnx_give_value(l, id);
}

static sotto_status convert_softmax(nn_onnx_loader *l)
{
    const int64_t axis = nn_onnx_int(l, "axis", l->opset < 13 ? 1 : -1);
    int x, id;

    SOTTO_TRY(nn_onnx_want_value(l, &x, 0));
    if (axis != 1 && axis != -1) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "works along axis %lld; supported is 1, the "
                            "classes",
                            (long long)axis);
    }
    SOTTO_TRY(nn_graph_softmax(l->graph, &id, nn_onnx_name(l), x, l->err));
    return nn_onnx_give_value(l, id);
}

sotto_status nn_onnx_convert_pointwise(nn_onnx_loader *l, bool *known)
{
    static const nn_onnx_rule rules[] = {
        {"Add", convert_add},
        {"Sub", convert_sub},
        {"Mul", convert_mul},
        {"Div", convert_div},
        {"Pow", convert_pow},
        {"Relu", convert_relu},
        {"BatchNormalization", convert_batch_normalization},
        {"Softmax", convert_softmax}};

    return nn_onnx_apply(l, rules, sizeof rules / sizeof *rules, known);
}
