/* SPDX-License-Identifier: MIT
 * The network as a graph: nodes in topological order, each making one value.
 *
 * Values are per-image tensors: the batch dimension of the file is gone, so a
 * picture is [C,H,W] and a vector [F]. Node i makes value i; node 0 is the
 * input; the last node is the output. The operators are few: readers and
 * builders reduce everything else to these (a batch normalisation is a
 * SCALE_SHIFT, a global average a window as large as the picture, …).
 *
 *     0 input [1,28,28] -> 1 conv [5,13,13] -> 2 square -> 3 dense [100] -> …
 *
 * Shapes are checked once, when a node is appended; whatever is in a graph is
 * consistent. A finished graph is only read and may be shared by threads.
 */
#ifndef SOTTO_NN_GRAPH_GRAPH_H
#define SOTTO_NN_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define NN_MAX_RANK 4
/* Hostile models are cut here: elements of one value, of all values together,
 * weights of one node, nodes, bytes of one name. */
#define NN_MAX_ELEMENTS ((size_t)1 << 24)
#define NN_MAX_TOTAL_ELEMENTS ((size_t)1 << 26)
#define NN_MAX_WEIGHTS ((size_t)1 << 28) /* of one node */
#define NN_MAX_NODES 16384
#define NN_MAX_NAME_BYTES 512

/* Dimensions of a per-image tensor, outermost first; the last varies fastest
 * in memory. Values have rank 1..NN_MAX_RANK; rank 0 (one number) occurs only
 * as the shape of constants. */
typedef struct nn_shape {
    int rank;
    size_t dim[NN_MAX_RANK];
} nn_shape;

/* Room for nn_shape_text. */
#define NN_SHAPE_TEXT_BYTES 96

/* Writes shape as "[5,13,13]" into text (NN_SHAPE_TEXT_BYTES bytes) and
 * returns text. */
const char *nn_shape_text(char *text, const nn_shape *shape);

/* Number of elements; 1 for rank 0. range: dimensions as checked by a graph,
 * so that the product does not overflow. */
size_t nn_shape_size(const nn_shape *shape);

/* Whether two shapes have equal rank and dimensions. */
bool nn_shape_equal(const nn_shape *a, const nn_shape *b);

/* Whether a constant of shape param can be stretched to shape by the rule of
 * ONNX (aligned at the last dimension; 1 or missing repeats). */
bool nn_shape_stretches(const nn_shape *param, const nn_shape *shape);

/* Strides of a constant of shape param seen as a tensor of shape:
 * math: element (i0,i1,…) of the value uses param[i0·s0 + i1·s1 + …], s = 0
 * where the constant repeats. shape: stride[shape->rank]. */
void nn_shape_strides(size_t *stride, const nn_shape *param,
                      const nn_shape *shape);

/* Which element of a constant of shape param belongs to element index of a
 * value of shape. range: nn_shape_stretches holds, index < size.
 * cost: a few divisions; loops use nn_shape_strides. */
size_t nn_shape_param_index(const nn_shape *param, const nn_shape *shape,
                            size_t index);

typedef enum nn_op {
    NN_OP_INPUT,        /* node 0 only */
    NN_OP_CONV,         /* 2-D cross-correlation; weights [O][C/groups][kh][kw],
                         * bias [O] */
    NN_OP_DENSE,        /* [I] -> [O]; weights [O][I], bias [O] */
    NN_OP_SCALE_SHIFT,  /* weights·x + bias, constants of param_shape */
    NN_OP_AVERAGE_POOL, /* window, count_include_pad */
    NN_OP_MAX_POOL,     /* window; padding never wins */
    NN_OP_RELU,         /* max(x, 0) */
    NN_OP_SQUARE,       /* x·x */
    NN_OP_MULTIPLY,     /* two values of one shape, element by element */
    NN_OP_ADD,          /* two values of one shape */
    NN_OP_SUBTRACT,     /* first minus second */
    NN_OP_CONCAT,       /* along axis */
    NN_OP_RESHAPE,      /* same elements in the same order */
    NN_OP_TRANSPOSE,    /* out dimension i is in dimension perm[i] */
    NN_OP_PAD,          /* pad_value around; pads before and after */
    NN_OP_SOFTMAX       /* over all elements of a [F] value; last node only */
} nn_op;

/* A sliding window over [C,H,W]. Zero means the default: stride and dilation
 * 1, kernel and pads as they are. */
typedef struct nn_window {
    size_t kernel[2];       /* height, width */
    size_t stride[2];       /* down, right */
    size_t dilation[2];     /* down, right */
    size_t pad[4];          /* top, left, bottom, right */
    bool count_include_pad; /* average pool: pads count in the divisor */
} nn_window;

/* Bounds of all elements of a value over real data. */
typedef struct nn_range {
    bool known;
    double min, max;
} nn_range;

/* One node. Which fields mean something follows from op; the rest is zero. */
typedef struct nn_node {
    nn_op op;
    char *name;         /* of the node, for messages; never NULL */
    char *tensor;       /* of its value; unique in the graph; never NULL */
    const char *origin; /* operator as the file called it (static string) */
    int n_inputs;
    int *inputs;    /* node numbers, each smaller than this node's */
    nn_shape shape; /* of the value made */
    nn_range range; /* of the value made, if metadata or calibration say */

    nn_window window;      /* CONV, AVERAGE_POOL, MAX_POOL; defaults resolved */
    size_t groups;         /* CONV */
    int axis;              /* CONCAT */
    int perm[NN_MAX_RANK]; /* TRANSPOSE */
    size_t pad_before[NN_MAX_RANK]; /* PAD */
    size_t pad_after[NN_MAX_RANK];  /* PAD */
    float pad_value;                /* PAD */
    nn_shape param_shape; /* of weights (SCALE_SHIFT: of both constants) */
    size_t n_weights, n_bias;
    float *weights, *bias; /* bias is there whenever weights are */
} nn_node;

/* One metadata entry that belongs to the whole model. */
typedef struct nn_metadata {
    char *key, *value;
} nn_metadata;

/* A network. Fields are read by everyone, changed only by the functions here
 * (and weights, of equal number, by a trainer). */
typedef struct nn_graph {
    int n_nodes, cap_nodes;
    nn_node *nodes;
    size_t total_elements; /* of all values */
    int n_metadata;
    nn_metadata *metadata; /* ranges are not here but in the nodes */
    char *producer;        /* who wrote the file; may be NULL */
    const char *next_tensor, *next_origin; /* see graph_internal.h */
} nn_graph;

/* Makes a graph that holds its input only (node 0, named name).
 * error: SOTTO_ERR_SHAPE (rank, a dimension of 0, too many elements),
 * SOTTO_ERR_MEMORY; *graph is then NULL. owner: the caller, nn_graph_free. */
sotto_status nn_graph_new(nn_graph **graph, const char *name,
                          const nn_shape *shape,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Frees a graph; NULL is fine. */
void nn_graph_free(nn_graph *graph);

/* The output node, the last one. */
static inline const nn_node *nn_graph_output(const nn_graph *graph)
{
    return &graph->nodes[graph->n_nodes - 1];
}

/* The operator in words, as in an ONNX file ("Conv"). Static string. */
const char *nn_op_name(nn_op op);

/* Writes "node 'conv1' (Conv)" into text (cut to cap_bytes) and returns it. */
const char *nn_node_text(char *text, size_t cap_bytes, const nn_node *node);

/* ---- Builders --------------------------------------------------------------
 * Each appends one node (nn_graph_polynomial: up to three) that reads node x
 * and makes its number *id. All weights are copied. name must be new in the
 * graph; it names node and value alike.
 *
 * error: SOTTO_ERR_SHAPE with the node's name, its operator and the shapes had
 * and expected; SOTTO_ERR_PARAM for a value that is not finite, a duplicate or
 * overlong name; SOTTO_ERR_UNSUPPORTED beyond the limits above;
 * SOTTO_ERR_MEMORY. The graph and *id are then unchanged. */

/* A convolution of a [C,H,W] value. Zero means the default. */
typedef struct nn_conv {
    size_t out_channels;
    size_t groups; /* default 1 */
    nn_window window;
    const float *weights; /* [out_channels][C/groups][kh][kw] */
    const float *bias;    /* [out_channels]; NULL: none */
} nn_conv;

/* Appends a convolution. shape: [C,H,W] → [O,H',W'],
 * H' = (H + top + bottom - dilation·(kh-1) - 1)/stride + 1, rounded down. */
sotto_status nn_graph_conv(nn_graph *graph, int *id, const char *name, int x,
                           const nn_conv *conv,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Appends a dense layer. shape: [I] → [O]; weights [O][I]; bias [O] or NULL. */
sotto_status nn_graph_dense(nn_graph *graph, int *id, const char *name, int x,
                            size_t n_out, const float *weights,
                            const float *bias,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Appends scale·x + shift. scale and shift have shape param, which stretches
 * to that of x (rank 0, [C,1,1], [C,H,W], [F], …); NULL means 1 or 0. */
sotto_status nn_graph_scale_shift(nn_graph *graph, int *id, const char *name,
                                  int x, const nn_shape *param,
                                  const float *scale, const float *shift,
                                  sotto_error *err) SOTTO_MUST_CHECK;

/* Appends a polynomial of degree 2, ((a·x)+b)·x + c, as the nodes
 * SCALE_SHIFT (name/ax), MULTIPLY (name/xx) and SCALE_SHIFT (name); nn_network
 * sees it as one activation and completes the square. a, b, c have shape param;
 * b or c may be NULL for 0. *id is the last node; without c the last is the
 * MULTIPLY, named name. */
sotto_status nn_graph_polynomial(nn_graph *graph, int *id, const char *name,
                                 int x, const nn_shape *param, const float *a,
                                 const float *b, const float *c,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Appends an average or maximum over windows (NN_OP_AVERAGE_POOL or
 * NN_OP_MAX_POOL). shape: [C,H,W] → [C,H',W'] as for a convolution. Every
 * window must touch the picture. */
sotto_status nn_graph_pool(nn_graph *graph, int *id, const char *name, int x,
                           nn_op op, const nn_window *window,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Appends an element-wise function of one value: NN_OP_RELU or NN_OP_SQUARE. */
sotto_status nn_graph_unary(nn_graph *graph, int *id, const char *name, int x,
                            nn_op op, sotto_error *err) SOTTO_MUST_CHECK;

/* Appends an element-wise function of two values of one shape: NN_OP_MULTIPLY,
 * NN_OP_ADD or NN_OP_SUBTRACT. */
sotto_status nn_graph_binary(nn_graph *graph, int *id, const char *name, int x,
                             int y, nn_op op,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Appends the concatenation of n values along axis (0-based, without batch);
 * all other dimensions are equal. */
sotto_status nn_graph_concat(nn_graph *graph, int *id, const char *name,
                             const int *x, int n, int axis,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Appends a view with the same elements in another shape (flatten: [F]). */
sotto_status nn_graph_reshape(nn_graph *graph, int *id, const char *name, int x,
                              const nn_shape *shape,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Appends a permutation of dimensions: out dimension i is x's perm[i].
 * shape: perm[rank], a permutation of 0..rank-1. */
sotto_status nn_graph_transpose(nn_graph *graph, int *id, const char *name,
                                int x, const int *perm,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Appends a border of value. shape: before[rank], after[rank]. */
sotto_status nn_graph_pad(nn_graph *graph, int *id, const char *name, int x,
                          const size_t *before, const size_t *after,
                          float value, sotto_error *err) SOTTO_MUST_CHECK;

/* Appends a softmax over a [F] value; nothing may follow it. */
sotto_status nn_graph_softmax(nn_graph *graph, int *id, const char *name, int x,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* ---- Facts about a graph ------------------------------------------------- */

/* States the range of node id's value. range: finite, min <= max (asserted).
 */
void nn_graph_set_range(nn_graph *graph, int id, double min, double max);

/* Number of the node whose value or name is called name, or -1. */
int nn_graph_find(const nn_graph *graph, const char *name);

/* Sets a metadata entry (replaces one of the same key). Keys that begin with
 * "sotto.range." are refused: ranges live in the nodes.
 * error: SOTTO_ERR_PARAM, SOTTO_ERR_MEMORY. */
sotto_status nn_graph_set_metadata(nn_graph *graph, const char *key,
                                   const char *value,
                                   sotto_error *err) SOTTO_MUST_CHECK;

/* The value of a metadata entry (borrowed), or NULL. */
const char *nn_graph_metadata(const nn_graph *graph, const char *key);

/* Puts a per-channel normalisation (x - mean)/std right behind the input, as
 * node 1, and renumbers the others, so that executor and folding both see it.
 * n: channels of the input (dimension 0), or 1 for all alike.
 * error: SOTTO_ERR_SHAPE (n), SOTTO_ERR_PARAM (std not positive, not finite),
 * SOTTO_ERR_MEMORY; the graph is then unchanged. */
sotto_status nn_graph_normalise(nn_graph *graph, const float *mean,
                                const float *std, size_t n,
                                sotto_error *err) SOTTO_MUST_CHECK;

#endif
