/* SPDX-License-Identifier: MIT
 * Plain execution of one node on one block of images.
 */
#ifndef SOTTO_NN_GRAPH_PLAIN_INTERNAL_H
#define SOTTO_NN_GRAPH_PLAIN_INTERNAL_H

#include "nn/graph/graph.h"

/* Images per block: four registers of four floats on the smallest SIMD. */
#define NN_PLAIN_LANES ((size_t)16)

/* Computes a node (not the input) from its inputs' values, which lie in
 * buffers[buffer[node number]]. shape: out [elements][NN_PLAIN_LANES].
 * alias: none. */
void nn_plain_node(float *out, const nn_graph *graph, const nn_node *node,
                   float *const *buffers, const int *buffer);

#endif
