/* SPDX-License-Identifier: MIT
 * ONNX writer: opset 13, IR 8, one pass over the nodes.
 *
 * Nodes and initialisers are written as they come: the order of different
 * fields in a protobuf message is free. Field numbers are those of onnx.proto.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/onnx.h"
#include "nn/graph/proto_internal.h"

#define IR_VERSION 8
#define OPSET 13
#define PRODUCER "sotto"
#define BATCH "N"

enum { TYPE_FLOAT = 1, TYPE_INT64 = 7 };
enum { ATTRIBUTE_INT = 2, ATTRIBUTE_INTS = 7 };

/* Room for a tensor's name with a suffix. */
#define NAME_BYTES (NN_MAX_NAME_BYTES + 64)

typedef struct writer {
    const nn_graph *graph;
    nn_pb_writer out; /* GraphProto */
} writer;

/* ---- Names, attributes, initialisers ------------------------------------- */

/* A name for something that belongs to node but is no value of the graph. */
static void inner_name(char *name, const writer *w, const nn_node *node,
                       const char *suffix)
{
    int len = snprintf(name, NAME_BYTES, "%s%s", node->tensor, suffix);

    while (nn_graph_find(w->graph, name) >= 0 && len < NAME_BYTES - 1) {
        name[len++] = '_';
        name[len] = '\0';
    }
}

static void put_attribute(nn_pb_writer *node, nn_pb_writer *attribute,
                          const char *name, int64_t type)
{
    nn_pb_put_text(attribute, 1, name);
    nn_pb_put_int(attribute, 20, type);
    nn_pb_put_message(node, 5, attribute);
}

static void put_int_attribute(nn_pb_writer *node, const char *name,
                              int64_t value)
{
    nn_pb_writer attribute = {0};

    nn_pb_put_int(&attribute, 3, value);
    put_attribute(node, &attribute, name, ATTRIBUTE_INT);
}

static void put_sizes_attribute(nn_pb_writer *node, const char *name,
                                const size_t *values, size_t n)
{
    nn_pb_writer attribute = {0};

    for (size_t i = 0; i < n; i++) {
        nn_pb_put_int(&attribute, 8, (int64_t)values[i]);
    }
    put_attribute(node, &attribute, name, ATTRIBUTE_INTS);
}

/* Starts a TensorProto with its dimensions. */
static nn_pb_writer open_tensor(const nn_shape *shape, int64_t type,
                                const char *name)
{
    nn_pb_writer tensor = {0};

    for (int d = 0; d < shape->rank; d++) {
        nn_pb_put_int(&tensor, 1, (int64_t)shape->dim[d]);
    }
    nn_pb_put_int(&tensor, 2, type);
    nn_pb_put_text(&tensor, 8, name);
    return tensor;
}

static void put_floats(writer *w, const char *name, const nn_shape *shape,
                       const float *values)
{
    nn_pb_writer tensor = open_tensor(shape, TYPE_FLOAT, name);

    nn_pb_put_raw_floats(&tensor, 9, values, nn_shape_size(shape));
    nn_pb_put_message(&w->out, 5, &tensor);
}

static void put_integers(writer *w, const char *name, const int64_t *values,
                         size_t n)
{
    const nn_shape shape = {.rank = 1, .dim = {n}};
    nn_pb_writer tensor = open_tensor(&shape, TYPE_INT64, name);

    for (size_t i = 0; i < n; i++) { /* int64_data, one by one */
        nn_pb_put_int(&tensor, 7, values[i]);
    }
    nn_pb_put_message(&w->out, 5, &tensor);
}

/* Starts a NodeProto. */
static nn_pb_writer open_node(const char *op, const char *name)
{
    nn_pb_writer node = {0};

    nn_pb_put_text(&node, 4, op);
    nn_pb_put_text(&node, 3, name);
    return node;
}

/* Ends a NodeProto; output is the tensor that it makes. */
static void close_node(writer *w, nn_pb_writer *node, const char *output)
{
    nn_pb_put_text(node, 2, output);
    nn_pb_put_message(&w->out, 1, node);
}

/* Adds the values that node reads as inputs. */
static void put_inputs(const writer *w, nn_pb_writer *out, const nn_node *node)
{
    for (int k = 0; k < node->n_inputs; k++) {
        nn_pb_put_text(out, 1, w->graph->nodes[node->inputs[k]].tensor);
    }
}

/* Adds a float initialiser and reads it as an input. */
static void put_constant(writer *w, nn_pb_writer *out, const nn_node *node,
                         const char *suffix, const nn_shape *shape,
                         const float *values)
{
    char name[NAME_BYTES];

    inner_name(name, w, node, suffix);
    put_floats(w, name, shape, values);
    nn_pb_put_text(out, 1, name);
}

/* Adds an integer initialiser and reads it as an input. */
static void put_list(writer *w, nn_pb_writer *out, const nn_node *node,
                     const char *suffix, const int64_t *values, size_t n)
{
    char name[NAME_BYTES];

    inner_name(name, w, node, suffix);
    put_integers(w, name, values, n);
    nn_pb_put_text(out, 1, name);
}

/* ---- Nodes --------------------------------------------------------------- */

static void put_window(nn_pb_writer *out, const nn_window *window,
                       bool dilations)
{
    put_sizes_attribute(out, "kernel_shape", window->kernel, 2);
    put_sizes_attribute(out, "strides", window->stride, 2);
    put_sizes_attribute(out, "pads", window->pad, 4);
    if (dilations) {
        put_sizes_attribute(out, "dilations", window->dilation, 2);
    }
}

static void write_linear(writer *w, const nn_node *node)
{
    const bool conv = node->op == NN_OP_CONV;
    const nn_shape bias = {.rank = 1, .dim = {node->n_bias}};
    nn_pb_writer out = open_node(conv ? "Conv" : "Gemm", node->name);

    put_inputs(w, &out, node);
    put_constant(w, &out, node, ".weight", &node->param_shape, node->weights);
    put_constant(w, &out, node, ".bias", &bias, node->bias);
    if (conv) {
        put_window(&out, &node->window, true);
        put_int_attribute(&out, "group", (int64_t)node->groups);
    } else {
        put_int_attribute(&out, "transB", 1);
    }
    close_node(w, &out, node->tensor);
}

static void write_pool(writer *w, const nn_node *node)
{
    const bool average = node->op == NN_OP_AVERAGE_POOL;
    nn_pb_writer out =
        open_node(average ? "AveragePool" : "MaxPool", node->name);

    put_inputs(w, &out, node);
    put_window(&out, &node->window, !average);
    if (average) {
        put_int_attribute(&out, "count_include_pad",
                          node->window.count_include_pad ? 1 : 0);
    }
    close_node(w, &out, node->tensor);
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

/* Mul, Add, both, or Identity where neither changes anything. */
static void write_scale_shift(writer *w, const nn_node *node)
{
    const bool scales = !all_are(node->weights, node->n_weights, 1.0F);
    const bool shifts = !all_are(node->bias, node->n_bias, 0.0F);
    const char *input = w->graph->nodes[node->inputs[0]].tensor;
    char middle[NAME_BYTES], name[NAME_BYTES];
    nn_pb_writer out;

    if (!scales && !shifts) {
        out = open_node("Identity", node->name);
        nn_pb_put_text(&out, 1, input);
        close_node(w, &out, node->tensor);
        return;
    }
    inner_name(middle, w, node, ".scaled");
    if (scales) {
        (void)snprintf(name, sizeof name, "%s%s", node->name,
                       shifts ? ".scaled" : "");
        out = open_node("Mul", name);
        nn_pb_put_text(&out, 1, input);
        put_constant(w, &out, node, ".scale", &node->param_shape,
                     node->weights);
        close_node(w, &out, shifts ? middle : node->tensor);
    }
    if (shifts) {
        out = open_node("Add", node->name);
        nn_pb_put_text(&out, 1, scales ? middle : input);
        put_constant(w, &out, node, ".shift", &node->param_shape, node->bias);
        close_node(w, &out, node->tensor);
    }
}

static void write_reshape(writer *w, const nn_node *node)
{
    const bool flat = node->shape.rank == 1;
    int64_t dims[NN_MAX_RANK + 1] = {0}; /* 0: the batch as it is */
    nn_pb_writer out = open_node(flat ? "Flatten" : "Reshape", node->name);

    put_inputs(w, &out, node);
    if (flat) {
        put_int_attribute(&out, "axis", 1);
    } else {
        for (int d = 0; d < node->shape.rank; d++) {
            dims[d + 1] = (int64_t)node->shape.dim[d];
        }
        put_list(w, &out, node, ".shape", dims, (size_t)node->shape.rank + 1);
    }
    close_node(w, &out, node->tensor);
}

static void write_transpose(writer *w, const nn_node *node)
{
    size_t perm[NN_MAX_RANK + 1] = {0};
    nn_pb_writer out = open_node("Transpose", node->name);

    for (int d = 0; d < node->shape.rank; d++) {
        perm[d + 1] = (size_t)node->perm[d] + 1;
    }
    put_inputs(w, &out, node);
    put_sizes_attribute(&out, "perm", perm, (size_t)node->shape.rank + 1);
    close_node(w, &out, node->tensor);
}

static void write_pad(writer *w, const nn_node *node)
{
    const int rank = node->shape.rank;
    const nn_shape scalar = {.rank = 0};
    int64_t pads[2 * (NN_MAX_RANK + 1)] = {0};
    nn_pb_writer out = open_node("Pad", node->name);

    for (int d = 0; d < rank; d++) {
        pads[1 + d] = (int64_t)node->pad_before[d];
        pads[rank + 2 + d] = (int64_t)node->pad_after[d];
    }
    put_inputs(w, &out, node);
    put_list(w, &out, node, ".pads", pads, 2 * ((size_t)rank + 1));
    put_constant(w, &out, node, ".value", &scalar, &node->pad_value);
    close_node(w, &out, node->tensor);
}

/* A node that is one operator of the same inputs; axis where has_axis. */
static void write_simple(writer *w, const nn_node *node, const char *op,
                         bool has_axis, int64_t axis)
{
    nn_pb_writer out = open_node(op, node->name);

    put_inputs(w, &out, node);
    if (node->op == NN_OP_SQUARE) { /* x·x */
        put_inputs(w, &out, node);
    }
    if (has_axis) {
        put_int_attribute(&out, "axis", axis);
    }
    close_node(w, &out, node->tensor);
}

static void write_node(writer *w, const nn_node *node)
{
    switch (node->op) {
    case NN_OP_INPUT:
        break;
    case NN_OP_CONV:
    case NN_OP_DENSE:
        write_linear(w, node);
        break;
    case NN_OP_SCALE_SHIFT:
        write_scale_shift(w, node);
        break;
    case NN_OP_AVERAGE_POOL:
    case NN_OP_MAX_POOL:
        write_pool(w, node);
        break;
    case NN_OP_RELU:
        write_simple(w, node, "Relu", false, 0);
        break;
    case NN_OP_SQUARE:
    case NN_OP_MULTIPLY:
        write_simple(w, node, "Mul", false, 0);
        break;
    case NN_OP_ADD:
        write_simple(w, node, "Add", false, 0);
        break;
    case NN_OP_SUBTRACT:
        write_simple(w, node, "Sub", false, 0);
        break;
    case NN_OP_CONCAT:
        write_simple(w, node, "Concat", true, node->axis + 1);
        break;
    case NN_OP_RESHAPE:
        write_reshape(w, node);
        break;
    case NN_OP_TRANSPOSE:
        write_transpose(w, node);
        break;
    case NN_OP_PAD:
        write_pad(w, node);
        break;
    case NN_OP_SOFTMAX:
        write_simple(w, node, "Softmax", true, -1);
        break;
    }
}

/* ---- Graph and model ----------------------------------------------------- */

/* A ValueInfoProto with the batch dimension in front. */
static void put_value_info(nn_pb_writer *out, uint32_t number,
                           const nn_node *node)
{
    nn_pb_writer info = {0}, type = {0}, tensor = {0}, shape = {0};
    nn_pb_writer dim = {0};

    nn_pb_put_text(&dim, 2, BATCH);
    nn_pb_put_message(&shape, 1, &dim);
    for (int d = 0; d < node->shape.rank; d++) {
        nn_pb_put_int(&dim, 1, (int64_t)node->shape.dim[d]);
        nn_pb_put_message(&shape, 1, &dim);
    }
    nn_pb_put_int(&tensor, 1, TYPE_FLOAT);
    nn_pb_put_message(&tensor, 2, &shape);
    nn_pb_put_message(&type, 1, &tensor);
    nn_pb_put_text(&info, 1, node->tensor);
    nn_pb_put_message(&info, 2, &type);
    nn_pb_put_message(out, number, &info);
}

static void put_metadata(nn_pb_writer *model, const char *key,
                         const char *value)
{
    nn_pb_writer entry = {0};

    nn_pb_put_text(&entry, 1, key);
    nn_pb_put_text(&entry, 2, value);
    nn_pb_put_message(model, 14, &entry);
}

/* Ranges of all nodes, then the other entries. */
static void put_all_metadata(nn_pb_writer *model, const nn_graph *graph)
{
    char key[NN_MAX_NAME_BYTES + 32], value[80];

    for (int i = 0; i < graph->n_nodes; i++) {
        const nn_node *node = &graph->nodes[i];
        if (node->range.known) {
            (void)snprintf(key, sizeof key, NN_ONNX_RANGE_PREFIX "%s",
                           node->tensor);
            (void)snprintf(value, sizeof value, "%.17g %.17g", node->range.min,
                           node->range.max);
            put_metadata(model, key, value);
        }
    }
    for (int i = 0; i < graph->n_metadata; i++) {
        put_metadata(model, graph->metadata[i].key, graph->metadata[i].value);
    }
}

/* Refuses what opset 13 cannot say. */
static sotto_status check_node(const nn_node *node, sotto_error *err)
{
    char text[200];

    if (node->op == NN_OP_AVERAGE_POOL &&
        (node->window.dilation[0] != 1 || node->window.dilation[1] != 1)) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "%s: an average over a dilated window cannot be "
                          "written in operator set %d",
                          nn_node_text(text, sizeof text, node), OPSET);
    }
    return SOTTO_OK;
}

sotto_status nn_onnx_write(uint8_t **data, size_t *len_bytes,
                           const nn_graph *graph, sotto_error *err)
{
    writer w = {.graph = graph};
    nn_pb_writer model = {0}, opset = {0};

    *data = NULL;
    for (int i = 0; i < graph->n_nodes; i++) {
        SOTTO_TRY(check_node(&graph->nodes[i], err));
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        write_node(&w, &graph->nodes[i]);
    }
    nn_pb_put_text(&w.out, 2, PRODUCER);
    put_value_info(&w.out, 11, &graph->nodes[0]);
    put_value_info(&w.out, 12, nn_graph_output(graph));
    nn_pb_put_int(&model, 1, IR_VERSION);
    nn_pb_put_text(&model, 2, PRODUCER);
    nn_pb_put_message(&model, 7, &w.out);
    nn_pb_put_text(&opset, 1, "");
    nn_pb_put_int(&opset, 2, OPSET);
    nn_pb_put_message(&model, 8, &opset);
    put_all_metadata(&model, graph);
    if (model.failed) {
        nn_pb_free(&model);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory to write a model of %d nodes",
                          graph->n_nodes);
    }
    *data = model.data;
    *len_bytes = model.len;
    return SOTTO_OK;
}
