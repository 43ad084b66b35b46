/* SPDX-License-Identifier: MIT
 * ONNX models: what can be read can be written and read again, folded, run.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "nn/graph/fold.h"
#include "nn/graph/onnx.h"
#include "nn/graph/plain.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/support.h"

/* Multiplications and elements beyond which a model is only read: it would be
 * run correctly, but slowly. */
#define MAX_WORK 1e6

static double work_of(const nn_graph *graph)
{
    double work = (double)graph->total_elements;

    for (int i = 0; i < graph->n_nodes; i++) {
        const nn_node *node = &graph->nodes[i];
        const double size = (double)nn_shape_size(&node->shape);
        const double channels = (double)node->shape.dim[0];
        work += size * ((double)node->n_weights / channels +
                        (double)node->window.kernel[0] *
                            (double)node->window.kernel[1]);
    }
    return work;
}

/* Folds and runs one image both ways. */
static void run(const nn_graph *graph)
{
    const nn_fold_options options = {.max_shift = 1e30};
    const size_t n_in = nn_shape_size(&graph->nodes[0].shape);
    const size_t n_out = nn_shape_size(&nn_graph_output(graph)->shape);
    float *in = calloc(n_in, sizeof *in), *out = calloc(n_out, sizeof *out);
    double *scores = calloc(n_out, sizeof *scores);
    nn_network *network;

    FUZZ_ASSERT(in != NULL && out != NULL && scores != NULL);
    FUZZ_ASSERT(nn_plain_run(graph, NULL, out, in, 1, NULL) == SOTTO_OK);
    if (nn_network_new(&network, graph, &options, NULL) == SOTTO_OK) {
        FUZZ_ASSERT(network->n_outputs == n_out);
        FUZZ_ASSERT(nn_network_run(network, NULL, scores, in, 1, NULL, NULL) ==
                    SOTTO_OK);
        nn_network_free(network);
    }
    free(in);
    free(out);
    free(scores);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    nn_graph *graph, *again;
    uint8_t *written;
    sotto_error err;
    size_t n_written;

    if (nn_onnx_read(&graph, data, len_bytes, &err) != SOTTO_OK) {
        FUZZ_ASSERT(graph == NULL);
        return 0;
    }
    if (nn_onnx_write(&written, &n_written, graph, &err) == SOTTO_OK) {
        FUZZ_ASSERT(nn_onnx_read(&again, written, n_written, &err) == SOTTO_OK);
        FUZZ_ASSERT(nn_shape_equal(&nn_graph_output(again)->shape,
                                   &nn_graph_output(graph)->shape));
        nn_graph_free(again);
        sotto_free(written);
    }
    if (work_of(graph) <= MAX_WORK) {
        run(graph);
    }
    nn_graph_free(graph);
    return 0;
}
