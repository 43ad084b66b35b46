/* SPDX-License-Identifier: MIT
 * A run of linear operations as one affine map, never stored as a matrix.
 *
 *     target[r] = bias[r] + sum over terms (source, index, weight) of row r
 *                           weight · tensor[source][index]
 *
 * A row is made by pulling the functional "element r of the target" back
 * through convolutions, dense layers, pools, normalisations, sums, … until only
 * tensors that exist at run time are left (the sources). Every row can be had
 * in any order, at a cost of about the weights it touches.
 *
 * Rows come singly (nn_cursor_row: by index, for any packing) or in groups of
 * rows with the same inputs (nn_cursor_group: all maps at one position of a
 * convolution; a dense layer is one group), as a dense block for a GEMM:
 *
 *              inputs (source, index), gathered
 *     rows   [ w w w w w w w w w ]   bias
 *       r0   [ w w w w w w w w w ]   bias
 *       r1   [ …                 ]
 *
 * Terms are structural: a weight that happens to be 0 is still listed, so that
 * the grouping depends on shapes only. Sums run in one fixed order in double
 * precision without library functions: the same rows on every machine.
 */
#ifndef SOTTO_NN_GRAPH_AFFINE_H
#define SOTTO_NN_GRAPH_AFFINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* The map; made and owned by an nn_network (nn/graph/fold.h), immutable. */
typedef struct nn_affine nn_affine;

/* One element of a tensor of the network: tensor 0 is the input, tensor k the
 * result of step k-1. */
typedef struct nn_element {
    uint32_t source; /* tensor number */
    uint32_t index;  /* element in the tensor */
} nn_element;

/* One term of a row. */
typedef struct nn_term {
    nn_element from;
    double weight;
} nn_term;

/* One row, valid until the next call on the cursor that made it. */
typedef struct nn_row {
    size_t n_terms;
    const nn_term *terms; /* by ascending (source, index), each once */
    double bias;
} nn_row;

/* Elements of the target. */
size_t nn_affine_rows(const nn_affine *affine);

/* The tensors that rows may refer to, ascending; *n receives their number.
 * owner: borrowed from the map. */
const uint32_t *nn_affine_sources(const nn_affine *affine, size_t *n);

/* Elements of the n-th source (n as in nn_affine_sources). */
size_t nn_affine_source_size(const nn_affine *affine, size_t n);

/* How rows are put together. Zero means the default. */
typedef struct nn_group_options {
    size_t max_rows;  /* default: no limit */
    size_t max_block; /* rows × inputs; default 2^22. A row is never
                       * split, so one row may exceed it */
    /* Terms of a row / multiplications that it adds to a group, at least, for a
     * row of another window to join; default 85. Rows of one window stay
     * together, elements of their own from a residual or not. */
    unsigned min_fill_percent;
} nn_group_options;

/* A division of all rows into groups; immutable. */
typedef struct nn_groups {
    size_t n_groups;
    size_t n_rows;   /* of the map */
    uint32_t *rows;  /* [n_rows]: group g has rows[first[g]..first[g+1]) */
    size_t *first;   /* [n_groups + 1] */
    size_t max_rows; /* largest number in a group, for buffers */
    size_t max_inputs;
    size_t max_block; /* largest rows × inputs */
    uint64_t terms;   /* of all rows: multiplications that count */
    uint64_t work;    /* sum of rows × inputs: multiplications done */
} nn_groups;

/* Groups the rows of a map: deterministic; groups in order of where their
 * inputs begin, rows ascending inside a group, each row in exactly one group.
 * options may be NULL. cost: one pass over all rows.
 * error: SOTTO_ERR_MEMORY; *groups is then NULL.
 * owner: the caller, nn_groups_free. */
sotto_status nn_groups_new(nn_groups **groups, const nn_affine *affine,
                           const nn_group_options *options,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_groups_free(nn_groups *groups);

/* One group, valid until the next call on the cursor that made it. weights and
 * biases may be overwritten by whoever holds it (to simulate rounding). */
typedef struct nn_group {
    size_t n_rows;
    const uint32_t *rows; /* [n_rows] elements of the target, ascending */
    size_t n_inputs;
    const nn_element *inputs; /* [n_inputs] by ascending (source, index) */
    double *weights;          /* [n_rows][n_inputs]; 0 where a row lacks one */
    double *biases;           /* [n_rows] */
} nn_group;

/* Scratch memory of one thread for reading one map. */
typedef struct nn_cursor nn_cursor;

/* Makes a cursor; groups may be NULL when only rows are read.
 * owner: the caller, nn_cursor_free; borrows affine and groups.
 * error: SOTTO_ERR_MEMORY; *cursor is then NULL. */
sotto_status nn_cursor_new(nn_cursor **cursor, const nn_affine *affine,
                           const nn_groups *groups,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_cursor_free(nn_cursor *cursor);

/* Makes row r. range: r < nn_affine_rows. cost: no allocation. */
nn_row nn_cursor_row(nn_cursor *cursor, size_t r);

/* Makes group g as a dense block. range: g < n_groups of the groups that the
 * cursor was made with. cost: no allocation. */
nn_group nn_cursor_group(nn_cursor *cursor, size_t g);

#endif
