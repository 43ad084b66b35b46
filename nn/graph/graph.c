/* SPDX-License-Identifier: MIT
 * Graphs: making, appending, names, ranges, metadata.
 */
#include "nn/graph/graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/graph_internal.h"

#define RANGE_PREFIX "sotto.range."
#define MAX_METADATA 1024

const char *nn_op_name(nn_op op)
{
    switch (op) {
    case NN_OP_INPUT:
        return "Input";
    case NN_OP_CONV:
        return "Conv";
    case NN_OP_DENSE:
        return "Gemm";
    case NN_OP_SCALE_SHIFT:
        return "Mul/Add by constants";
    case NN_OP_AVERAGE_POOL:
        return "AveragePool";
    case NN_OP_MAX_POOL:
        return "MaxPool";
    case NN_OP_RELU:
        return "Relu";
    case NN_OP_SQUARE:
        return "square";
    case NN_OP_MULTIPLY:
        return "Mul";
    case NN_OP_ADD:
        return "Add";
    case NN_OP_SUBTRACT:
        return "Sub";
    case NN_OP_CONCAT:
        return "Concat";
    case NN_OP_RESHAPE:
        return "Reshape";
    case NN_OP_TRANSPOSE:
        return "Transpose";
    case NN_OP_PAD:
        return "Pad";
    case NN_OP_SOFTMAX:
        return "Softmax";
    }
    return "unknown";
}

const char *nn_node_text(char *text, size_t cap_bytes, const nn_node *node)
{
    (void)snprintf(text, cap_bytes, "node '%s' (%s)", node->name, node->origin);
    return text;
}

char *nn_text_copy(const char *text)
{
    const size_t len = strlen(text);
    char *copy = sotto_calloc(len + 1, 1);

    if (copy != NULL) {
        memcpy(copy, text, len);
    }
    return copy;
}

void nn_node_clear(nn_node *node)
{
    sotto_free(node->name);
    sotto_free(node->tensor);
    sotto_free(node->inputs);
    sotto_free(node->weights);
    sotto_free(node->bias);
    memset(node, 0, sizeof *node);
}

void nn_graph_free(nn_graph *graph)
{
    if (graph == NULL) {
        return;
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        nn_node_clear(&graph->nodes[i]);
    }
    sotto_free(graph->nodes);
    for (int i = 0; i < graph->n_metadata; i++) {
        sotto_free(graph->metadata[i].key);
        sotto_free(graph->metadata[i].value);
    }
    sotto_free(graph->metadata);
    sotto_free(graph->producer);
    sotto_free(graph);
}

void nn_graph_next_label(nn_graph *graph, const char *tensor,
                         const char *origin)
{
    graph->next_tensor = tensor;
    graph->next_origin = origin;
}

/* Whether a value called tensor may be appended. */
static sotto_status check_name(const nn_graph *graph, const char *name,
                               const char *tensor, sotto_error *err)
{
    if (strlen(tensor) > NN_MAX_NAME_BYTES ||
        strlen(name) > NN_MAX_NAME_BYTES) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "a name is longer than %d bytes: '%.60s…'",
                          NN_MAX_NAME_BYTES, name);
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        if (strcmp(graph->nodes[i].tensor, tensor) == 0) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "there are two values named '%s'; names must "
                              "differ",
                              tensor);
        }
    }
    return SOTTO_OK;
}

/* Room for one more node. */
static sotto_status grow(nn_graph *graph, sotto_error *err)
{
    if (graph->n_nodes == NN_MAX_NODES) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "the network has more than %d nodes", NN_MAX_NODES);
    }
    if (graph->n_nodes < graph->cap_nodes) {
        return SOTTO_OK;
    }
    const int cap = graph->cap_nodes == 0 ? 16 : 2 * graph->cap_nodes;
    nn_node *nodes = sotto_calloc((size_t)cap, sizeof *nodes);
    if (nodes == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %d nodes", cap);
    }
    if (graph->n_nodes > 0) {
        memcpy(nodes, graph->nodes, (size_t)graph->n_nodes * sizeof *nodes);
    }
    sotto_free(graph->nodes);
    graph->nodes = nodes;
    graph->cap_nodes = cap;
    return SOTTO_OK;
}

/* nn_graph_append without the clean-up. */
static sotto_status append(nn_graph *graph, int *id, const char *name,
                           nn_node *node, sotto_error *err)
{
    const char *tensor = graph->next_tensor;

    if (tensor == NULL) {
        tensor = name;
    }
    SOTTO_TRY(check_name(graph, name, tensor, err));
    SOTTO_TRY(nn_shape_check(&node->shape, err));
    const size_t size = nn_shape_size(&node->shape);
    if (size > NN_MAX_TOTAL_ELEMENTS - graph->total_elements) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "the values of the network have more than %zu "
                          "elements together",
                          NN_MAX_TOTAL_ELEMENTS);
    }
    SOTTO_TRY(grow(graph, err));
    node->name = nn_text_copy(name);
    node->tensor = nn_text_copy(tensor);
    if (node->name == NULL || node->tensor == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for a name");
    }
    node->origin =
        graph->next_origin != NULL ? graph->next_origin : nn_op_name(node->op);
    graph->total_elements += size;
    *id = graph->n_nodes;
    graph->nodes[graph->n_nodes++] = *node;
    memset(node, 0, sizeof *node);
    return SOTTO_OK;
}

sotto_status nn_graph_append(nn_graph *graph, int *id, const char *name,
                             nn_node *node, sotto_status status,
                             sotto_error *err)
{
    const char *origin = graph->next_origin;

    if (status == SOTTO_OK) {
        status = append(graph, id, name, node, err);
    }
    if (status != SOTTO_OK) {
        status =
            sotto_fail_prefix(err, status, "node '%.120s' (%s)", name,
                              origin != NULL ? origin : nn_op_name(node->op));
    }
    nn_node_clear(node);
    nn_graph_next_label(graph, NULL, NULL);
    return status;
}

sotto_status nn_graph_new(nn_graph **graph, const char *name,
                          const nn_shape *shape, sotto_error *err)
{
    nn_node input = {.op = NN_OP_INPUT, .shape = *shape};
    nn_graph *made;
    int id;

    *graph = NULL;
    made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for a graph");
    }
    const sotto_status status =
        nn_graph_append(made, &id, name, &input, SOTTO_OK, err);
    if (status != SOTTO_OK) {
        nn_graph_free(made);
        return status;
    }
    *graph = made;
    return SOTTO_OK;
}

void nn_graph_set_range(nn_graph *graph, int id, double min, double max)
{
    SOTTO_ASSERT(id >= 0 && id < graph->n_nodes);
    SOTTO_ASSERT(isfinite(min) && isfinite(max) && min <= max);
    graph->nodes[id].range = (nn_range){.known = true, .min = min, .max = max};
}

int nn_graph_find(const nn_graph *graph, const char *name)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        if (strcmp(graph->nodes[i].tensor, name) == 0) {
            return i;
        }
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        if (strcmp(graph->nodes[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* The entry of a key, or NULL. */
static nn_metadata *find_metadata(const nn_graph *graph, const char *key)
{
    for (int i = 0; i < graph->n_metadata; i++) {
        if (strcmp(graph->metadata[i].key, key) == 0) {
            return &graph->metadata[i];
        }
    }
    return NULL;
}

const char *nn_graph_metadata(const nn_graph *graph, const char *key)
{
    const nn_metadata *entry = find_metadata(graph, key);

    return entry == NULL ? NULL : entry->value;
}

/* Appends an entry; takes over key and value, whatever comes back. */
static sotto_status append_metadata(nn_graph *graph, char *key, char *value,
                                    sotto_error *err)
{
    const size_t n = (size_t)graph->n_metadata;
    nn_metadata *entries = sotto_calloc(n + 1, sizeof *entries);

    if (key == NULL || value == NULL || entries == NULL) {
        sotto_free(key);
        sotto_free(value);
        sotto_free(entries);
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for metadata");
    }
    if (n > 0) {
        memcpy(entries, graph->metadata, n * sizeof *entries);
    }
    entries[n] = (nn_metadata){.key = key, .value = value};
    sotto_free(graph->metadata);
    graph->metadata = entries;
    graph->n_metadata++;
    return SOTTO_OK;
}

sotto_status nn_graph_set_metadata(nn_graph *graph, const char *key,
                                   const char *value, sotto_error *err)
{
    if (strncmp(key, RANGE_PREFIX, strlen(RANGE_PREFIX)) == 0) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "metadata '%s': ranges are set with "
                          "nn_graph_set_range",
                          key);
    }
    nn_metadata *entry = find_metadata(graph, key);
    char *value_copy = nn_text_copy(value);
    if (entry == NULL) {
        if (graph->n_metadata == MAX_METADATA) {
            sotto_free(value_copy);
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "more than %d metadata entries", MAX_METADATA);
        }
        return append_metadata(graph, nn_text_copy(key), value_copy, err);
    }
    if (value_copy == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for metadata");
    }
    sotto_free(entry->value);
    entry->value = value_copy;
    return SOTTO_OK;
}

/* A name for the normalisation that the graph does not have yet. */
static void new_name(char *name, size_t cap_bytes, const nn_graph *graph)
{
    (void)snprintf(name, cap_bytes, "normalise");
    for (int i = 1; nn_graph_find(graph, name) >= 0; i++) {
        (void)snprintf(name, cap_bytes, "normalise%d", i);
    }
}

/* Moves the last node to place 1 and renumbers; node 1 reads the input. */
static void move_behind_input(nn_graph *graph)
{
    const nn_node moved = graph->nodes[graph->n_nodes - 1];

    for (int i = graph->n_nodes - 1; i > 1; i--) {
        nn_node *node = &graph->nodes[i];
        *node = graph->nodes[i - 1];
        for (int k = 0; k < node->n_inputs; k++) {
            node->inputs[k]++; /* the input too: now the normalised one */
        }
    }
    graph->nodes[1] = moved;
}

sotto_status nn_graph_normalise(nn_graph *graph, const float *mean,
                                const float *std, size_t n, sotto_error *err)
{
    const nn_shape shape = graph->nodes[0].shape;
    nn_shape param = {.rank = n == 1 ? 0 : shape.rank};
    char text[NN_SHAPE_TEXT_BYTES];
    char name[64];
    float *scale;
    int id;

    if (n != 1 && n != shape.dim[0]) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "mean and std have %zu values, the input %s needs 1 "
                          "or %zu",
                          n, nn_shape_text(text, &shape), shape.dim[0]);
    }
    for (size_t i = 0; i < n; i++) {
        if (!(std[i] > 0.0F) || !isfinite(std[i]) || !isfinite(mean[i])) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "channel %zu: mean %g, std %g; std must be "
                              "positive, both finite",
                              i, (double)mean[i], (double)std[i]);
        }
    }
    for (int i = 0; i < param.rank; i++) {
        param.dim[i] = i == 0 ? n : 1;
    }
    scale = sotto_calloc(2 * n, sizeof *scale);
    if (scale == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory to normalise");
    }
    for (size_t i = 0; i < n; i++) {
        scale[i] = 1.0F / std[i];
        scale[n + i] = -mean[i] / std[i];
    }
    new_name(name, sizeof name, graph);
    const sotto_status status = nn_graph_scale_shift(
        graph, &id, name, 0, &param, scale, scale + n, err);
    sotto_free(scale);
    if (status == SOTTO_OK) {
        move_behind_input(graph);
    }
    return status;
}
