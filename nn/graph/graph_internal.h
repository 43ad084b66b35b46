/* SPDX-License-Identifier: MIT
 * What the files of nn/graph share about graphs.
 */
#ifndef SOTTO_NN_GRAPH_GRAPH_INTERNAL_H
#define SOTTO_NN_GRAPH_GRAPH_INTERNAL_H

#include <stddef.h>

#include "nn/graph/graph.h"

/* Kernels, strides, dilations and pads stay below this, so that no index
 * arithmetic on windows can overflow. */
#define NN_MAX_WINDOW ((size_t)1 << 20)

/* Copies a text. owner: the caller, sotto_free. Returns NULL without memory. */
char *nn_text_copy(const char *text);

/* Names the next appended node's value tensor (instead of the node's name) and
 * its operator origin (static string), in messages too. Both are borrowed until
 * that node has been appended or refused; NULL means as usual. */
void nn_graph_next_label(nn_graph *graph, const char *tensor,
                         const char *origin);

/* Appends a node whose shape has been worked out with result status (an error
 * there is passed on, with the node's name in front); takes over the memory
 * that node points to, whatever comes back. node->name and node->tensor are set
 * here.
 * error: status, SOTTO_ERR_PARAM (name), SOTTO_ERR_UNSUPPORTED (limits),
 * SOTTO_ERR_MEMORY; the graph is then unchanged. */
sotto_status nn_graph_append(nn_graph *graph, int *id, const char *name,
                             nn_node *node, sotto_status status,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Frees what a node points to. */
void nn_node_clear(nn_node *node);

/* Checks rank and dimensions of a value. */
sotto_status nn_shape_check(const nn_shape *shape,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Which taps of a window along one dimension fall on the picture.
 * math: tap k of output position at sits at at·stride + k·dilation - pad;
 * taps first <= k < end lie in [0, size). range: sizes < 2^25, see
 * NN_MAX_WINDOW, so that the products stay below 2^46. */
static inline void nn_window_taps(size_t *first, size_t *end, size_t at,
                                  size_t stride, size_t pad, size_t dilation,
                                  size_t kernel, size_t size)
{
    const size_t origin = at * stride; /* of tap 0, plus pad */
    const size_t limit = size + pad;   /* taps sit below this, plus pad */

    *first = origin >= pad ? 0 : (pad - origin + dilation - 1) / dilation;
    *end = origin >= limit ? 0 : (limit - origin + dilation - 1) / dilation;
    if (*end > kernel) {
        *end = kernel;
    }
    if (*first > *end) {
        *first = *end;
    }
}

#endif
