/* SPDX-License-Identifier: MIT
 * Inside folding: what part each node of a graph plays.
 */
#ifndef SOTTO_NN_GRAPH_FOLD_INTERNAL_H
#define SOTTO_NN_GRAPH_FOLD_INTERNAL_H

#include "nn/graph/polynomial_internal.h"

typedef enum nn_role_kind {
    NN_ROLE_LINEAR,     /* a linear function of its inputs */
    NN_ROLE_POLYNOMIAL, /* poly(value of anchor), element by element */
    NN_ROLE_OPAQUE,     /* Relu, MaxPool: of the value of anchor */
    NN_ROLE_REFUSED     /* a product that is no polynomial of one value */
} nn_role_kind;

/* The part of one node. */
typedef struct nn_role {
    nn_role_kind kind;
    bool wanted; /* the output depends on it */
    int anchor;
    nn_polynomial poly;
    /* The node as a polynomial of the nearest value that it is an element-wise
     * function of, whether or not that makes it an activation; parent -1: none.
     * Parents form a forest, in which common ancestors are found. */
    int parent;
    nn_polynomial local;
} nn_role;

/* Finds the part of every node up to output and marks those that output
 * depends on.
 * owner: the caller, nn_roles_free.
 * error: SOTTO_ERR_UNSUPPORTED (a wanted node is REFUSED), SOTTO_ERR_MEMORY;
 * *roles is then NULL. */
sotto_status nn_roles_new(nn_role **roles, const nn_graph *graph, int output,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Frees the roles of n nodes; NULL is fine. */
void nn_roles_free(nn_role *roles, int n);

/* A quadratic activation with its square completed, per element of param:
 * a·x²+b·x+c = weight·(scale·x + shift)² + constant, or, where a is 0 and
 * linear is set, weight·(scale·x + shift) + constant with scale 1, shift 0. */
typedef struct nn_completed {
    size_t n;
    double *scale, *shift, *weight, *constant;
    bool *linear;
    bool any_linear;
    bool plain_inside;  /* scale 1 and shift 0 everywhere */
    bool plain_outside; /* weight 1, constant 0, never linear */
} nn_completed;

/* Completes the square of an activation of node; range is that of x.
 * owner: the caller, nn_completed_clear.
 * error: SOTTO_ERR_UNSUPPORTED where |b/(2a)| is above max_shift times the
 * largest |x|, SOTTO_ERR_MEMORY; *q is then cleared. */
sotto_status nn_complete_square(nn_completed *q, const nn_polynomial *poly,
                                const nn_node *node, nn_range range,
                                double max_shift,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Frees the arrays. */
void nn_completed_clear(nn_completed *q);

#endif
