/* SPDX-License-Identifier: MIT
 * Test helper: networks made at random, and a network run the slow, obvious
 * way (one image, double precision, no code shared with the library).
 */
#ifndef SOTTO_TESTS_NN_REFERENCE_H
#define SOTTO_TESTS_NN_REFERENCE_H

#include <stdint.h>

#include "nn/graph/graph.h"

/* A small generator (xorshift64*); state must not be 0. */
typedef struct test_random {
    uint64_t state;
} test_random;

/* The next number in [0, n). */
size_t test_random_below(test_random *random, size_t n);

/* The next number in [low, high). */
double test_random_between(test_random *random, double low, double high);

/* n numbers in [low, high), in memory of malloc. */
float *test_random_floats(test_random *random, size_t n, double low,
                          double high);

/* The value of every node for one image: an array of n_nodes arrays of
 * doubles; free with test_reference_free. */
double **test_reference_run(const nn_graph *graph, const float *image);
void test_reference_free(const nn_graph *graph, double **values);

/* What a random network may contain. */
typedef enum test_net_kind {
    TEST_NET_SQUARES,  /* linear nodes and quadratic activations */
    TEST_NET_ANYTHING, /* Relu, MaxPool, polynomials of degree 4 as well */
    TEST_NET_WIDE      /* as the first, larger images, kernels up to 7×7 */
} test_net_kind;

/* A random network with convolutions, pools, residuals, concatenations,
 * reshapes, …; never NULL. */
nn_graph *test_random_network(uint64_t seed, test_net_kind kind);

#endif
