/* SPDX-License-Identifier: MIT
 * ONNX reader: from the file's nodes to the graph.
 *
 * Backwards, what the output needs is marked; forwards, every wanted node is
 * computed (all inputs constant) or converted. At the end graph nodes that
 * nothing reads any more are dropped, so that the output is the last one.
 */
#include "nn/graph/onnx.h"

#include <string.h>

#include "base/mem.h"
#include "nn/graph/graph_internal.h"
#include "nn/graph/onnx_internal.h"

#define SUPPORTED                                                              \
    "Conv, Gemm, MatMul, Add, Sub, Mul, Div, Pow(2), Relu, "                   \
    "BatchNormalization, AveragePool, GlobalAveragePool, MaxPool, Flatten, "   \
    "Reshape, Concat, Pad, Identity, Constant, Dropout, Squeeze, Unsqueeze, "  \
    "Transpose, Cast to float, Softmax at the end"

/* Constants may take this many times the file, and a little. */
#define LIMIT_FACTOR 8
#define LIMIT_EXTRA ((size_t)1 << 22)

bool nn_onnx_is_const(const nn_onnx_loader *l, size_t k)
{
    return k < l->now->n_inputs && l->now->inputs[k] != NULL &&
           l->now->inputs[k]->kind == NN_ONNX_CONST;
}

bool nn_onnx_only_use(const nn_onnx_loader *l, size_t k)
{
    return !l->now->inputs[k]->shared && l->now->inputs[k]->uses == 1;
}

sotto_status nn_onnx_want_const(nn_onnx_loader *l, const nn_onnx_const **out,
                                size_t k, const char *what)
{
    *out = NULL;
    if (k >= l->now->n_inputs || l->now->inputs[k] == NULL) {
        return SOTTO_OK;
    }
    if (!nn_onnx_is_const(l, k)) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its %s (input %zu) depends on the images; "
                            "supported are constants",
                            what, k);
    }
    *out = &l->now->inputs[k]->constant;
    return SOTTO_OK;
}

sotto_status nn_onnx_want_value(nn_onnx_loader *l, int *node, size_t k)
{
    if (k >= l->now->n_inputs || l->now->inputs[k] == NULL ||
        l->now->inputs[k]->kind != NN_ONNX_VALUE) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its input %zu is missing or constant; supported "
                            "is one that depends on the images",
                            k);
    }
    *node = l->now->inputs[k]->node;
    return SOTTO_OK;
}

sotto_status nn_onnx_want_ints(nn_onnx_loader *l, int64_t *out, size_t cap,
                               size_t *n, size_t k, const char *what)
{
    const nn_onnx_const *c;

    *n = 0;
    SOTTO_TRY(nn_onnx_want_const(l, &c, k, what));
    if (c == NULL) {
        return SOTTO_OK;
    }
    if (c->is_float || c->rank > 1 || c->n > cap) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its %s (input %zu) are no integers or more than "
                            "%zu",
                            what, k, cap);
    }
    for (size_t i = 0; i < c->n; i++) {
        out[(*n)++] = c->i[i];
    }
    return SOTTO_OK;
}

sotto_status nn_onnx_give_value(nn_onnx_loader *l, int node)
{
    nn_onnx_symbol *output = l->now->outputs[0];

    output->kind = NN_ONNX_VALUE;
    output->node = node;
    return SOTTO_OK;
}

sotto_status nn_onnx_pass(nn_onnx_loader *l, size_t k)
{
    int node = 0;

    SOTTO_TRY(nn_onnx_want_value(l, &node, k));
    l->now->inputs[k]->shared = true;
    l->now->outputs[0]->shared = true;
    return nn_onnx_give_value(l, node);
}

const char *nn_onnx_name(nn_onnx_loader *l)
{
    nn_onnx_text(l->tensor, sizeof l->tensor, l->now->outputs[0]->name);
    nn_onnx_text(l->name, sizeof l->name,
                 l->now->name.len > 0 ? l->now->name
                                      : l->now->outputs[0]->name);
    nn_graph_next_label(l->graph, l->tensor, l->origin);
    return l->name;
}

sotto_status nn_onnx_axis(nn_onnx_loader *l, int *axis, int64_t given, int rank)
{
    if (given < -rank || given >= rank) {
        return nn_onnx_fail(l, SOTTO_ERR_SHAPE,
                            "axis %lld of a tensor of %d dimensions",
                            (long long)given, rank);
    }
    *axis = (int)(given < 0 ? given + rank : given);
    return SOTTO_OK;
}

sotto_status nn_onnx_apply(nn_onnx_loader *l, const nn_onnx_rule *rules,
                           size_t n, bool *known)
{
    *known = false;
    for (size_t k = 0; k < n; k++) {
        if (nn_view_is(l->now->op, rules[k].op)) {
            *known = true;
            l->origin = rules[k].op;
            return rules[k].convert(l);
        }
    }
    return SOTTO_OK;
}

/* ---- One node ------------------------------------------------------------ */

/* Checks inputs and outputs; decodes initialisers that are needed now. */
static sotto_status prepare_node(nn_onnx_loader *l)
{
    const nn_onnx_node *node = l->now;
    char text[100];

    if (node->domain.len != 0 && !nn_view_is(node->domain, "ai.onnx")) {
        nn_onnx_text(text, sizeof text, node->domain);
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "an operator of the domain '%s'; supported "
                            "are " SUPPORTED,
                            text);
    }
    for (size_t k = 0; k < node->n_outputs; k++) {
        const nn_onnx_symbol *symbol = node->outputs[k];
        if (k > 0 && symbol != NULL && symbol->uses > 0) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "its output %zu is used; supported is the "
                                "first one only",
                                k);
        }
        if (symbol != NULL && symbol->kind != NN_ONNX_ABSENT) {
            return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                                "its output %zu has the name of an input or "
                                "initialiser",
                                k);
        }
    }
    for (size_t k = 0; k < node->n_inputs; k++) {
        nn_onnx_symbol *symbol = node->inputs[k];
        if (symbol == NULL) {
            continue;
        }
        if (symbol->kind == NN_ONNX_ABSENT) {
            nn_onnx_text(text, sizeof text, symbol->name);
            return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                                "reads '%s', which no node before it makes "
                                "(missing, or a cycle)",
                                text);
        }
        if (symbol->kind == NN_ONNX_INITIALIZER) {
            SOTTO_TRY(nn_onnx_tensor(l, &symbol->constant, symbol->proto,
                                     symbol->name));
            symbol->kind = NN_ONNX_CONST;
        }
    }
    return SOTTO_OK;
}

/* Whether no input depends on the images. */
static bool all_const(const nn_onnx_node *node)
{
    for (size_t k = 0; k < node->n_inputs; k++) {
        if (node->inputs[k] != NULL && node->inputs[k]->kind != NN_ONNX_CONST) {
            return false;
        }
    }
    return true;
}

static sotto_status unsupported(nn_onnx_loader *l)
{
    return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                        "this operator is not supported%s; supported "
                        "are " SUPPORTED,
                        all_const(l->now) ? " on constants" : "");
}

/* Makes the node's constant result; it belongs to its symbol at once. */
static sotto_status take_constant(nn_onnx_loader *l, bool *done)
{
    nn_onnx_symbol *output = l->now->outputs[0];
    sotto_status status;

    if (nn_view_is(l->now->op, "Shape") && l->now->n_inputs > 0 &&
        l->now->inputs[0] != NULL) {
        *done = true;
        status = nn_onnx_shape_node(l, &output->constant);
    } else {
        status = nn_onnx_fold_node(l, &output->constant, done);
    }
    if (status == SOTTO_OK && *done) {
        output->kind = NN_ONNX_CONST;
    }
    return status;
}

/* Bounds what nodes copy out of constants that several of them share. */
static sotto_status count_weights(nn_onnx_loader *l, int first)
{
    for (int i = first; i < l->graph->n_nodes; i++) {
        const nn_node *node = &l->graph->nodes[i];
        l->weight_bytes += (node->n_weights + node->n_bias) * sizeof(float);
    }
    if (l->weight_bytes > l->limit_bytes) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "the weights of the network are too large for a "
                            "file of %zu bytes",
                            l->len_bytes);
    }
    return SOTTO_OK;
}

static sotto_status convert(nn_onnx_loader *l)
{
    const int first = l->graph->n_nodes;
    bool known = false;

    if (all_const(l->now) || nn_view_is(l->now->op, "Shape")) {
        SOTTO_TRY(take_constant(l, &known));
    } else {
        SOTTO_TRY(nn_onnx_convert_linear(l, &known));
        if (!known) {
            SOTTO_TRY(nn_onnx_convert_pointwise(l, &known));
        }
        if (!known) {
            SOTTO_TRY(nn_onnx_convert_shape(l, &known));
        }
    }
    return known ? count_weights(l, first) : unsupported(l);
}

static sotto_status read_node(nn_onnx_loader *l, const nn_onnx_node *node)
{
    l->now = node;
    if (node->n_outputs == 0 || node->outputs[0] == NULL) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT, "it has no first output");
    }
    SOTTO_TRY(prepare_node(l));
    SOTTO_TRY(convert(l));
    for (size_t k = 0; k < node->n_inputs; k++) {
        nn_onnx_symbol *symbol = node->inputs[k];
        if (symbol != NULL && --symbol->uses == 0) {
            nn_onnx_const_free(l, &symbol->constant);
        }
    }
    l->now = NULL;
    return SOTTO_OK;
}

/* ---- The whole ----------------------------------------------------------- */

/* Marks backwards what the output needs. */
static void mark_wanted(nn_onnx_loader *l, nn_onnx_symbol *output)
{
    output->uses = 1;
    for (size_t i = l->n_nodes; i-- > 0;) {
        nn_onnx_node *node = &l->nodes[i];
        for (size_t k = 0; k < node->n_outputs; k++) {
            node->wanted = node->wanted || (node->outputs[k] != NULL &&
                                            node->outputs[k]->uses > 0);
        }
        for (size_t k = 0; node->wanted && k < node->n_inputs; k++) {
            if (node->inputs[k] != NULL) {
                node->inputs[k]->uses++;
            }
        }
    }
}

static sotto_status read_input(nn_onnx_loader *l)
{
    nn_view name;
    nn_shape shape;
    nn_onnx_symbol *symbol;

    SOTTO_TRY(nn_onnx_parse_input(l, &name, &shape));
    nn_onnx_text(l->tensor, sizeof l->tensor, name);
    SOTTO_TRY(nn_graph_new(&l->graph, l->tensor, &shape, l->err));
    symbol = nn_onnx_symbol_of(l, name);
    if (symbol->made_by_node) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "the input '%s' is the output of a node, too",
                            l->tensor);
    }
    symbol->kind = NN_ONNX_VALUE;
    symbol->node = 0;
    if (l->producer.len > 0) {
        nn_onnx_text(l->name, sizeof l->name, l->producer);
        l->graph->producer = nn_text_copy(l->name);
        if (l->graph->producer == NULL) {
            return nn_onnx_fail(l, SOTTO_ERR_MEMORY, "no memory for a name");
        }
    }
    return SOTTO_OK;
}

/* Drops the nodes that output does not need and renumbers the others.
 * number: [n_nodes], all 0. */
static void prune(nn_graph *graph, int output, int *number)
{
    int n = 0;

    number[0] = number[output] = 1;
    for (int i = output; i > 0; i--) {
        const nn_node *node = &graph->nodes[i];
        for (int k = 0; number[i] != 0 && k < node->n_inputs; k++) {
            number[node->inputs[k]] = 1;
        }
    }
    graph->total_elements = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        nn_node *node = &graph->nodes[i];
        if (number[i] == 0) {
            nn_node_clear(node);
            continue;
        }
        for (int k = 0; k < node->n_inputs; k++) {
            node->inputs[k] = number[node->inputs[k]];
        }
        graph->total_elements += nn_shape_size(&node->shape);
        number[i] = n;
        graph->nodes[n] = *node;
        n++;
    }
    memset(graph->nodes + n, 0,
           (size_t)(graph->n_nodes - n) * sizeof *graph->nodes);
    graph->n_nodes = n;
}

static sotto_status finish(nn_onnx_loader *l, const nn_onnx_symbol *output)
{
    char text[100];

    nn_onnx_text(text, sizeof text, l->output_name);
    if (output->kind != NN_ONNX_VALUE) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT, "the output '%s' is %s", text,
                            output->kind == NN_ONNX_ABSENT
                                ? "made by no node"
                                : "constant, it does not depend on the images");
    }
    SOTTO_TRY(nn_onnx_parse_metadata(l));
    int *number = sotto_calloc((size_t)l->graph->n_nodes, sizeof *number);
    if (number == NULL) {
        return nn_onnx_fail(l, SOTTO_ERR_MEMORY, "no memory for %d nodes",
                            l->graph->n_nodes);
    }
    prune(l->graph, output->node, number);
    sotto_free(number);
    return SOTTO_OK;
}

static sotto_status read_model(nn_onnx_loader *l)
{
    SOTTO_TRY(nn_onnx_parse(l));
    SOTTO_TRY(read_input(l));
    nn_onnx_symbol *output = nn_onnx_symbol_of(l, l->output_name);
    mark_wanted(l, output);
    for (size_t i = 0; i < l->n_nodes; i++) {
        if (l->nodes[i].wanted) {
            SOTTO_TRY(read_node(l, &l->nodes[i]));
        }
    }
    return finish(l, output);
}

sotto_status nn_onnx_read(nn_graph **graph, const void *data, size_t len_bytes,
                          sotto_error *err)
{
    nn_onnx_loader *l = sotto_calloc(1, sizeof *l);

    *graph = NULL;
    if (l == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory to read a model");
    }
    l->file = data;
    l->len_bytes = len_bytes;
    l->err = err;
    l->limit_bytes = LIMIT_EXTRA + LIMIT_FACTOR * len_bytes;
    const sotto_status status =
        len_bytes > NN_ONNX_MAX_BYTES
            ? sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                         "the model has %zu bytes; supported are up to %zu",
                         len_bytes, NN_ONNX_MAX_BYTES)
            : read_model(l);
    if (status == SOTTO_OK) {
        *graph = l->graph;
    } else {
        nn_graph_free(l->graph);
    }
    nn_onnx_clear(l);
    sotto_free(l);
    return status;
}
