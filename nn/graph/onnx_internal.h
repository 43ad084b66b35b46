/* SPDX-License-Identifier: MIT
 * Inside the ONNX reader: what stands in the file, constants, the loader.
 *
 * onnx_parse.c turns bytes into the tables below (views into the file);
 * onnx_read.c walks the nodes in order; each node either has constant inputs
 * only and is computed at once (onnx_const.c), or becomes nodes of the graph
 * (onnx_linear.c, onnx_pointwise.c, onnx_shape.c).
 */
#ifndef SOTTO_NN_GRAPH_ONNX_INTERNAL_H
#define SOTTO_NN_GRAPH_ONNX_INTERNAL_H

#include "base/status.h"
#include "nn/graph/graph.h"
#include "nn/graph/proto_internal.h"

/* A file with more than this is refused. */
#define NN_ONNX_MAX_NODES 65536
#define NN_ONNX_MAX_NAMES ((size_t)1 << 20) /* in all nodes */
#define NN_ONNX_MAX_RANK 8
#define NN_ONNX_MIN_OPSET 7
#define NN_ONNX_MAX_OPSET 20

/* Stands for the batch dimension in integer constants (Shape of a value with a
 * symbolic batch); refused where a file holds this very number. */
#define NN_ONNX_BATCH (INT64_MIN + INT64_C(0x5bd1e995))

/* TensorProto.DataType */
enum {
    NN_ONNX_FLOAT = 1,
    NN_ONNX_INT32 = 6,
    NN_ONNX_INT64 = 7,
    NN_ONNX_BOOL = 9
};

/* A constant: floats, or integers (int64, int32, bool). Owns its elements. */
typedef struct nn_onnx_const {
    bool is_float;
    int rank;
    size_t dim[NN_ONNX_MAX_RANK];
    size_t n;
    float *f;
    int64_t *i;
} nn_onnx_const;

typedef enum nn_onnx_kind {
    NN_ONNX_ABSENT,      /* not made yet */
    NN_ONNX_INITIALIZER, /* a TensorProto that has not been needed yet */
    NN_ONNX_CONST,
    NN_ONNX_VALUE /* value of a graph node */
} nn_onnx_kind;

/* What a tensor name stands for. */
typedef struct nn_onnx_symbol {
    nn_view name;
    nn_onnx_kind kind;
    nn_view proto; /* INITIALIZER */
    nn_onnx_const constant;
    int node;          /* VALUE: graph node */
    size_t uses;       /* by wanted nodes and as output, still to come */
    bool shared;       /* another symbol stands for the same graph node */
    bool made_by_node; /* some node's output, for duplicates */
} nn_onnx_symbol;

/* A node as it stands in the file. */
typedef struct nn_onnx_node {
    nn_view proto;
    nn_view name, op, domain;
    size_t n_inputs, n_outputs;
    nn_onnx_symbol **inputs; /* NULL where left out */
    nn_onnx_symbol **outputs;
    bool wanted;
} nn_onnx_node;

/* The reader's state. */
typedef struct nn_onnx_loader {
    const uint8_t *file;
    size_t len_bytes;
    sotto_error *err;
    nn_graph *graph;
    int64_t opset;
    size_t batch; /* fixed batch dimension; 0: symbolic */
    nn_view graph_proto, producer;
    nn_view input_proto, output_name;
    size_t n_nodes;
    nn_onnx_node *nodes;
    nn_onnx_symbol **names; /* pool of the nodes' inputs and outputs */
    size_t n_names;
    nn_onnx_symbol *symbols; /* open hash table, n_slots a power of two */
    size_t n_slots, n_symbols;
    size_t live_bytes; /* of constants; at most limit_bytes */
    size_t limit_bytes;
    size_t weight_bytes;     /* of the graph's constants, same limit */
    const nn_onnx_node *now; /* node at work, for messages */
    const char *origin;      /* its operator, static */
    char name[NN_MAX_NAME_BYTES + 1], tensor[NN_MAX_NAME_BYTES + 1];
} nn_onnx_loader;

/* An attribute as it stands in the file. */
typedef struct nn_onnx_attribute {
    nn_view proto;
    bool has_f, has_i, has_s, has_t;
    float f;
    int64_t i;
    nn_view s, t;
} nn_onnx_attribute;

/* ---- onnx_parse.c ---- */

/* Copies a name for messages and for the graph: at most cap - 1 bytes; control
 * characters become '?', so that a file cannot drive a terminal. */
void nn_onnx_text(char *out, size_t cap, nn_view name);

/* Fails with "node 'name' (Op): …" in front. */
sotto_status nn_onnx_fail(nn_onnx_loader *l, sotto_status status,
                          const char *format, ...) SOTTO_PRINTF(3, 4);

/* Reads model and graph into the loader's tables. */
sotto_status nn_onnx_parse(nn_onnx_loader *l) SOTTO_MUST_CHECK;

/* The symbol of a name in the file, made if new; the table has room for all. */
nn_onnx_symbol *nn_onnx_symbol_of(nn_onnx_loader *l, nn_view name);

/* The symbol of any name, NULL if there is none. */
const nn_onnx_symbol *nn_onnx_lookup(const nn_onnx_loader *l, nn_view name);

/* Frees the tables (not the graph). */
void nn_onnx_clear(nn_onnx_loader *l);

/* ---- onnx_info.c ---- */

/* Reads the input's ValueInfoProto: name, shape without batch, batch. */
sotto_status nn_onnx_parse_input(nn_onnx_loader *l, nn_view *name,
                                 nn_shape *shape) SOTTO_MUST_CHECK;

/* Sets ranges and metadata of the graph from metadata_props. */
sotto_status nn_onnx_parse_metadata(nn_onnx_loader *l) SOTTO_MUST_CHECK;

/* ---- onnx_attribute.c ---- */

/* Finds an attribute of the node at work; false: it has none. */
bool nn_onnx_find(const nn_onnx_loader *l, nn_onnx_attribute *attribute,
                  const char *name);

/* An integer or float attribute of the node at work, or what is missing. */
int64_t nn_onnx_int(const nn_onnx_loader *l, const char *name, int64_t missing);
float nn_onnx_float(const nn_onnx_loader *l, const char *name, float missing);

/* A list of integers; *n receives their number, 0 where there is none. More
 * than cap is an error. */
sotto_status nn_onnx_ints(nn_onnx_loader *l, const char *name, int64_t *out,
                          size_t cap, size_t *n) SOTTO_MUST_CHECK;

/* Whether a text attribute has the value, or is missing where value is the
 * default. */
bool nn_onnx_text_is(const nn_onnx_loader *l, const char *name,
                     const char *value, const char *missing);

/* ---- onnx_tensor.c ---- */

/* Makes room for a constant of rank and dim already set; bounded by the
 * loader's limit. */
sotto_status nn_onnx_const_make(nn_onnx_loader *l,
                                nn_onnx_const *out) SOTTO_MUST_CHECK;
void nn_onnx_const_free(nn_onnx_loader *l, nn_onnx_const *c);

/* Decodes a TensorProto. what names it in messages. */
sotto_status nn_onnx_tensor(nn_onnx_loader *l, nn_onnx_const *out,
                            nn_view proto, nn_view name) SOTTO_MUST_CHECK;

/* Decodes attribute "value…" of a Constant node. */
sotto_status nn_onnx_constant_node(nn_onnx_loader *l,
                                   nn_onnx_const *out) SOTTO_MUST_CHECK;

/* ---- onnx_read.c ---- */

/* Input k of the node at work as a constant; NULL where it is left out.
 * error: SOTTO_ERR_UNSUPPORTED when it is not constant. */
sotto_status nn_onnx_want_const(nn_onnx_loader *l, const nn_onnx_const **out,
                                size_t k, const char *what) SOTTO_MUST_CHECK;

/* Input k of the node at work as a graph node.
 * error: SOTTO_ERR_UNSUPPORTED when it is constant or left out. */
sotto_status nn_onnx_want_value(nn_onnx_loader *l, int *node,
                                size_t k) SOTTO_MUST_CHECK;

/* Integers of input k (a rank-0 or rank-1 constant), at most cap. */
sotto_status nn_onnx_want_ints(nn_onnx_loader *l, int64_t *out, size_t cap,
                               size_t *n, size_t k,
                               const char *what) SOTTO_MUST_CHECK;

/* Lets the node's first output stand for a graph node's value. */
sotto_status nn_onnx_give_value(nn_onnx_loader *l, int node) SOTTO_MUST_CHECK;

/* Name for the graph node that the node at work becomes; labels it with its
 * tensor and operator. */
const char *nn_onnx_name(nn_onnx_loader *l);

/* Whether input k's value is read by nothing but the node at work, once. */
bool nn_onnx_only_use(const nn_onnx_loader *l, size_t k);

/* Whether input k is there and constant. */
bool nn_onnx_is_const(const nn_onnx_loader *l, size_t k);

/* One rule of the tables by which nodes are converted. */
typedef struct nn_onnx_rule {
    const char *op;
    sotto_status (*convert)(nn_onnx_loader *l);
} nn_onnx_rule;

/* Applies the rule for the node at work; *known is false where none is. */
sotto_status nn_onnx_apply(nn_onnx_loader *l, const nn_onnx_rule *rules,
                           size_t n, bool *known) SOTTO_MUST_CHECK;

/* The node's result is its input k, unchanged. */
sotto_status nn_onnx_pass(nn_onnx_loader *l, size_t k) SOTTO_MUST_CHECK;

/* Axis -rank..rank-1 of a value with batch to 0..rank-1. */
sotto_status nn_onnx_axis(nn_onnx_loader *l, int *axis, int64_t given,
                          int rank) SOTTO_MUST_CHECK;

/* ---- onnx_const.c ---- */

/* Computes a node whose inputs are all constant; *done is false when the
 * operator is not one that is computed here. */
sotto_status nn_onnx_fold_node(nn_onnx_loader *l, nn_onnx_const *out,
                               bool *done) SOTTO_MUST_CHECK;

/* Resolves the target of a Reshape: 0 copies a dimension (unless allow_zero), a
 * single -1 takes what is left. in: dimensions of n_elements together; out:
 * dim[n_given].
 * error: SOTTO_ERR_SHAPE. */
sotto_status nn_onnx_reshape_dims(nn_onnx_loader *l, size_t *out,
                                  const int64_t *given, size_t n_given,
                                  const size_t *in, int in_rank,
                                  size_t n_elements,
                                  bool allow_zero) SOTTO_MUST_CHECK;

/* Axes of a Squeeze or Unsqueeze (attribute or input) as 0..rank-1, sorted;
 * none: *n = 0. error: SOTTO_ERR_SHAPE (outside, twice). */
sotto_status nn_onnx_axes(nn_onnx_loader *l, int *axes, size_t *n,
                          int rank) SOTTO_MUST_CHECK;

/* How many axes nn_onnx_axes will find. */
sotto_status nn_onnx_count_axes(nn_onnx_loader *l, size_t *n) SOTTO_MUST_CHECK;

/* The shape of a value, as Shape gives it: batch first. */
sotto_status nn_onnx_shape_node(nn_onnx_loader *l,
                                nn_onnx_const *out) SOTTO_MUST_CHECK;

/* Gives out the shape of in. */
void nn_onnx_take_shape(nn_onnx_const *out, const nn_onnx_const *in);

/* Copies one element between constants of one type. */
void nn_onnx_copy(nn_onnx_const *out, size_t to, const nn_onnx_const *in,
                  size_t from);

/* ---- onnx_const_axis.c ---- */

/* Computes Concat, Gather, Slice; in is the first input. */
sotto_status nn_onnx_fold_concat(nn_onnx_loader *l, nn_onnx_const *out,
                                 const nn_onnx_const *in) SOTTO_MUST_CHECK;
sotto_status nn_onnx_fold_gather(nn_onnx_loader *l, nn_onnx_const *out,
                                 const nn_onnx_const *in) SOTTO_MUST_CHECK;
sotto_status nn_onnx_fold_slice(nn_onnx_loader *l, nn_onnx_const *out,
                                const nn_onnx_const *in) SOTTO_MUST_CHECK;

/* An end of a slice (negative: from the back) as 0..size. */
size_t nn_onnx_clamp(int64_t at, size_t size);

/* ---- onnx_const_math.c ---- */

/* Computes a Cast of in. */
sotto_status nn_onnx_fold_cast(nn_onnx_loader *l, nn_onnx_const *out,
                               const nn_onnx_const *in) SOTTO_MUST_CHECK;

/* Computes Add, Sub, Mul, Div of in and the second input; other operators leave
 * *done as it is. */
sotto_status nn_onnx_fold_arithmetic(nn_onnx_loader *l, nn_onnx_const *out,
                                     const nn_onnx_const *in,
                                     bool *done) SOTTO_MUST_CHECK;

/* ---- onnx_linear.c, onnx_pointwise.c, onnx_shape.c ---- */

/* Each turns the node at work into graph nodes if its operator is of that
 * file's kind; *known is false otherwise. */
sotto_status nn_onnx_convert_linear(nn_onnx_loader *l,
                                    bool *known) SOTTO_MUST_CHECK;
sotto_status nn_onnx_convert_pointwise(nn_onnx_loader *l,
                                       bool *known) SOTTO_MUST_CHECK;
sotto_status nn_onnx_convert_shape(nn_onnx_loader *l,
                                   bool *known) SOTTO_MUST_CHECK;

#endif
