/* SPDX-License-Identifier: MIT
 * Models as ONNX files, in and out, without a protobuf library.
 *
 * Read: opset 7-20; float32 tensors (int64 in shape arithmetic); a symbolic or
 * fixed batch dimension, which is removed; Conv, Gemm, MatMul by a constant,
 * Add, Sub, Mul, Div, Pow(2), Relu, BatchNormalization, AveragePool,
 * GlobalAveragePool, MaxPool, Flatten, Reshape, Concat, Pad, Identity,
 * Constant, Dropout, Softmax at the end, Squeeze, Unsqueeze, Transpose, Cast to
 * float, and Shape/Gather/Concat/… chains whose result is known.
 * Anything else is an error that names node, operator and what is supported.
 *
 * Written: opset 13, IR 8, weights as raw data, batch dimension "N".
 *
 * Value ranges are metadata entries "sotto.range.<tensor>" = "<min> <max>".
 */
#ifndef SOTTO_NN_GRAPH_ONNX_H
#define SOTTO_NN_GRAPH_ONNX_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "nn/graph/graph.h"

#define NN_ONNX_RANGE_PREFIX "sotto.range."
/* Largest file that callers should accept (for sotto_file_read). */
#define NN_ONNX_MAX_BYTES ((size_t)1 << 31)

/* Reads a model from memory. Nothing in data is trusted.
 * cost: memory at most a small multiple of len_bytes.
 * error: SOTTO_ERR_FORMAT (damaged: where and what), SOTTO_ERR_UNSUPPORTED
 * (valid, but not something Sotto does: node, operator, what is supported),
 * SOTTO_ERR_SHAPE (shapes do not fit), SOTTO_ERR_MEMORY; *graph is then NULL.
 * owner: the caller, nn_graph_free; data is not kept. */
sotto_status nn_onnx_read(nn_graph **graph, const void *data, size_t len_bytes,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Writes a graph as an ONNX model: the same graph gives the same bytes.
 * A SCALE_SHIFT becomes Mul and/or Add (what is 1 or 0 is left out).
 * error: SOTTO_ERR_UNSUPPORTED (an average over a dilated window),
 * SOTTO_ERR_MEMORY; *data is then NULL.
 * owner: the caller, sotto_free(*data). */
sotto_status nn_onnx_write(uint8_t **data, size_t *len_bytes,
                           const nn_graph *graph,
                           sotto_error *err) SOTTO_MUST_CHECK;

#endif
