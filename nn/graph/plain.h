/* SPDX-License-Identifier: MIT
 * Runs a graph on plain images in float32: the oracle for everything else.
 *
 * Images are taken sixteen at a time and interleaved, element by element, so
 * that every operator is a loop over lanes; an image's result depends on
 * neither its neighbours nor the number of threads.
 */
#ifndef SOTTO_NN_GRAPH_PLAIN_H
#define SOTTO_NN_GRAPH_PLAIN_H

#include <stddef.h>

#include "base/pool.h"
#include "base/status.h"
#include "nn/graph/graph.h"

/* Runs the graph, a softmax at its end included.
 * shape: out float[n_images][outputs], in float[n_images][inputs].
 * pool may be NULL. error: SOTTO_ERR_MEMORY; out is then undefined. */
sotto_status nn_plain_run(const nn_graph *graph, sotto_pool *pool, float *out,
                          const float *in, size_t n_images,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Like nn_plain_run, but out receives the value of node id. */
sotto_status nn_plain_run_node(const nn_graph *graph, sotto_pool *pool, int id,
                               float *out, const float *in, size_t n_images,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Smallest and largest value of every node over a set of images, for
 * calibration (nn_graph_set_range afterwards).
 * shape: ranges[n_nodes]. range: n_images > 0 (asserted).
 * error: SOTTO_ERR_RANGE (a value is not finite: node and image),
 * SOTTO_ERR_MEMORY; ranges is then undefined. */
sotto_status nn_plain_ranges(const nn_graph *graph, sotto_pool *pool,
                             nn_range *ranges, const float *in, size_t n_images,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Number of the largest score; the first of equals. range: n > 0. */
size_t nn_plain_label(const float *scores, size_t n);

#endif
