/* SPDX-License-Identifier: MIT
 * What a plan needs to know of the data: range and size of every tensor of a
 * folded network.
 *
 * Ranges keep values inside the moduli; root-mean-squares make the predicted
 * errors realistic: with the largest value in their place they are tens of
 * times larger after two squarings. Both come from training data: either
 * from the model's metadata (written by `sotto train`) or from calibration
 * images. Never from the test set.
 */
#ifndef SOTTO_NN_GRAPH_STATISTICS_H
#define SOTTO_NN_GRAPH_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/pool.h"
#include "base/status.h"
#include "nn/graph/fold.h"

/* Metadata key: "rms of tensor 0, 1, …" separated by spaces. */
#define NN_STATISTICS_KEY "sotto.rms"

/* Figures of one tensor. */
typedef struct nn_tensor_statistics {
    bool range_known;
    double min, max;
    double
        rms; /* largest over the images of the root-mean-square over the
              * tensor's elements; an estimate when only the range is known */
} nn_tensor_statistics;

/* Figures of tensor 0 (the input) … n_tensors - 1 (the scores). */
typedef struct nn_statistics {
    size_t n_tensors;
    nn_tensor_statistics *tensor; /* owned */
} nn_statistics;

/* What the model itself says: ranges of the network, rms from the metadata. A
 * missing rms is estimated from the range [−B,B]: B/√3 for the input (as if
 * uniform), B/2 for the result of a map, its square for a square.
 * error: SOTTO_ERR_FORMAT (metadata that do not fit the network),
 * SOTTO_ERR_MEMORY; *statistics is then empty. owner: nn_statistics_clear. */
sotto_status nn_statistics_load(nn_statistics *statistics,
                                const nn_network *network,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Starts statistics over images: everything unknown.
 * error: SOTTO_ERR_MEMORY. owner: nn_statistics_clear. */
sotto_status nn_statistics_init(nn_statistics *statistics,
                                const nn_network *network,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Adds n_images images. shape: in float[n_images][n_inputs]. pool may be NULL.
 * error: SOTTO_ERR_RANGE (a value that is not finite), SOTTO_ERR_MEMORY. */
sotto_status nn_statistics_add(nn_statistics *statistics,
                               const nn_network *network, sotto_pool *pool,
                               const float *in, size_t n_images,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Writes the rms list into the graph's metadata (ranges are the nodes'
 * own). error: SOTTO_ERR_MEMORY. */
sotto_status nn_statistics_store(nn_graph *graph,
                                 const nn_statistics *statistics,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Frees. */
void nn_statistics_clear(nn_statistics *statistics);

#endif
