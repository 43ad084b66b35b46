/* SPDX-License-Identifier: MIT
 * A graph as what is computed: affine map, activation, affine map, ….
 *
 * Every run of linear nodes between two activations becomes one affine map.
 * A quadratic activation a·x²+b·x+c becomes a plain square by completing it,
 *
 *     a·x² + b·x + c = sgn(a)·t² + (c - b²/(4a)),
 *     t = √|a|·x + sgn(a)·b/(2√|a|),
 *
 * where √|a| and the shift go into the map before (it makes t) and sgn(a) and
 * the constant into the maps behind (they read t²). Where a is exactly 0 the
 * map behind reads t itself.
 *
 *     tensor 0        1            2           3
 *     input -affine-> t1 -square-> t1² -affine-> scores
 *
 * Tensor 0 is the input, tensor k the result of step k-1. A later map may read
 * any earlier tensor (a residual connection reads t1 as well).
 * Relu, MaxPool and polynomials of degree 3 and 4 stay steps of their own kind,
 * so that a plan can refuse them by name.
 */
#ifndef SOTTO_NN_GRAPH_FOLD_H
#define SOTTO_NN_GRAPH_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/status.h"
#include "nn/graph/affine.h"
#include "nn/graph/graph.h"

#define NN_MAX_DEGREE 4

typedef enum nn_step_kind {
    NN_STEP_AFFINE, /* step.affine; sources as nn_affine_sources says */
    NN_STEP_SQUARE, /* element by element, of tensor step.source */
    NN_STEP_POLY,   /* polynomial of degree 3 or 4 (nn_step_coefficient) */
    NN_STEP_RELU,
    NN_STEP_MAX_POOL /* step.window */
} nn_step_kind;

/* One step; makes the tensor after its own number. Strings and pointers are
 * borrowed from network and graph. */
typedef struct nn_step {
    nn_step_kind kind;
    const char *name;   /* graph node whose value it makes or prepares */
    const char *origin; /* its operator as the file called it */
    nn_shape shape;     /* of the tensor made */
    size_t n_elements;
    nn_range range; /* of the tensor made, as far as metadata tells: for
                     * the map before a square, of t */
    const nn_affine *affine; /* AFFINE */
    uint32_t source;         /* others: the tensor read */
    nn_window window;        /* MAX_POOL */
    int degree;              /* POLY: 3 or 4; SQUARE: 2; AFFINE: 1 */
    nn_shape poly_shape;     /* POLY: of each coefficient */
    const double *poly;      /* POLY: [degree+1][size of poly_shape] */
} nn_step;

/* A folded network; immutable. */
typedef struct nn_network {
    const nn_graph *graph; /* borrowed */
    nn_shape input_shape;
    size_t n_inputs; /* elements of the input */
    nn_range input_range;
    size_t n_steps;
    nn_step *steps;
    size_t n_outputs; /* scores: elements of the last tensor */
    nn_range output_range;
    bool softmax; /* the graph ends in one; the last tensor has the
                   * scores before it */
} nn_network;

typedef struct nn_fold_options {
    /* A quadratic is refused when |b/(2a)| is larger than this many times the
     * largest |x| (1 where the range is unknown): its square would be about so
     * many times larger than its value and the bits would be lost.
     * 0: default 64. */
    double max_shift;
} nn_fold_options;

/* Folds a graph. options may be NULL.
 * owner: the caller, nn_network_free; borrows graph, which must outlive it.
 * error: SOTTO_ERR_UNSUPPORTED (a product of two values that is no polynomial
 * of one, degree above 4, b too large against a: with the node's name),
 * SOTTO_ERR_MEMORY; *network is then NULL. */
sotto_status nn_network_new(nn_network **network, const nn_graph *graph,
                            const nn_fold_options *options,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_network_free(nn_network *network);

/* Elements of tensor k (0: the input). range: k <= n_steps. */
size_t nn_network_tensor_size(const nn_network *network, size_t k);

/* Range of tensor k (0: the input). range: k <= n_steps. */
nn_range nn_network_tensor_range(const nn_network *network, size_t k);

/* Coefficient of x^power at element of a NN_STEP_POLY. */
double nn_step_coefficient(const nn_step *step, int power, size_t element);

/* Called for every group of an affine map before it is used; may overwrite
 * weights and biases, for instance by their rounded values. Called from
 * several threads, and for the same group more than once. */
typedef void (*nn_group_hook)(void *arg, size_t step, nn_group *group);

/* Called with every tensor of every block of images after it was made (tensor
 * 0 too): values [n_elements][n_lanes], image first_image + lane in each lane.
 * Called from several threads. */
typedef void (*nn_tensor_hook)(void *arg, size_t tensor, const double *values,
                               size_t n_elements, size_t n_lanes,
                               size_t first_image);

typedef struct nn_run_hooks {
    void *arg;
    nn_group_hook group;   /* may be NULL */
    nn_tensor_hook tensor; /* may be NULL */
} nn_run_hooks;

/* Runs the folded network in double precision.
 * shape: out double[n_images][n_outputs], in float[n_images][n_inputs].
 * hooks and pool may be NULL. Results do not depend on the threads.
 * error: SOTTO_ERR_MEMORY; out is then undefined. */
sotto_status nn_network_run(const nn_network *network, sotto_pool *pool,
                            double *out, const float *in, size_t n_images,
                            const nn_run_hooks *hooks,
                            sotto_error *err) SOTTO_MUST_CHECK;

#endif
