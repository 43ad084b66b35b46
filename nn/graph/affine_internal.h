/* SPDX-License-Identifier: MIT
 * Inside affine maps: how nn/graph/fold.c makes them, how cursors read them.
 */
#ifndef SOTTO_NN_GRAPH_AFFINE_INTERNAL_H
#define SOTTO_NN_GRAPH_AFFINE_INTERNAL_H

#include <stdbool.h>

#include "nn/graph/affine.h"
#include "nn/graph/graph.h"

typedef enum nn_stop_kind {
    NN_STOP_NONE,    /* a linear node: pulled through */
    NN_STOP_READ,    /* value = weight · tensor + constant */
    NN_STOP_REDIRECT /* value = weight · value of node + constant */
} nn_stop_kind;

/* Where pulling back ends: what the value of one graph node is in terms of
 * tensors of the network. weight and constant are constants of shape param,
 * stretched to the value; NULL means 1 and 0. */
typedef struct nn_stop {
    nn_stop_kind kind;
    bool anchor; /* the node itself is linear too: as the target of a map it is
                  * pulled through, only in passing it is read */
    uint32_t source; /* READ: tensor */
    uint32_t other;  /* READ: tensor where use_other says so */
    int node;        /* REDIRECT */
    nn_shape param;
    double *weight, *constant;
    bool *use_other; /* NULL: nowhere */
} nn_stop;

/* Whether pulling back the map of target ends at node. */
static inline bool nn_stop_is_read(const nn_stop *stops, int node, int target)
{
    return stops[node].kind == NN_STOP_READ &&
           !(stops[node].anchor && node == target);
}

/* The map. Nodes pulled through are order[0] = target, then descending. */
struct nn_affine {
    const nn_graph *graph;
    const nn_stop *stops;
    int target;
    nn_shape shape; /* of the target */
    nn_shape row_param;
    const double *row_scale, *row_shift;
    size_t n_rows;
    int n_order;
    int *order;
    size_t n_sources;
    uint32_t *sources;   /* tensor numbers, ascending */
    size_t *source_size; /* their elements */
};

/* A nn_sparse vector: bit i of used says that weight[i] counts. */
typedef struct nn_sparse {
    double *weight;
    uint64_t *used;
    size_t first_word, end_word; /* all set bits lie in these words */
} nn_sparse;

struct nn_cursor {
    const nn_affine *affine;
    const nn_groups *groups;
    nn_sparse *nodes;      /* [n_nodes]: those of affine->order have memory */
    nn_sparse *sources;    /* [n_sources] */
    uint32_t *source_slot; /* [tensors]: place in sources */
    double *weight_block;
    uint64_t *used_block;
    double bias;
    nn_term *terms;        /* of a row */
    nn_element *inputs;    /* of a group */
    uint32_t *column;      /* of source elements in a group */
    size_t *column_offset; /* [n_sources] of each source in column */
    double *weights, *biases;
};

/* Makes the map of target's value; row_scale and row_shift (constants of shape
 * row_param, NULL: 1 and 0) are applied to the result:
 * math: row r = row_scale[r]·value[r] + row_shift[r].
 * owner: the caller, nn_affine_free; borrows graph, stops (one per node, not
 * changed for nodes before target any more), row_scale, row_shift.
 * tensor_size: elements of each tensor so far, for sources. */
sotto_status nn_affine_new(nn_affine **affine, const nn_graph *graph,
                           const nn_stop *stops, int target,
                           const nn_shape *row_param, const double *row_scale,
                           const double *row_shift, const size_t *tensor_size,
                           size_t n_tensors, sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_affine_free(nn_affine *affine);

#endif
