/* SPDX-License-Identifier: MIT
 * Dense layers.
 *
 *     valueᵀ [units][images] = W [units][n_in] · in_valueᵀ
 *     dx     [images][n_in]  = dy [images][units] · W
 *     dW     [units][n_in]   = dyᵀ · in_value, over the whole minibatch
 *
 * dW of a slice would be as large as that of the minibatch and cost more to
 * store and to add up than to compute; so that it is made for all images at
 * once, in parts by columns. Parameters: weights (as in ONNX), then the bias if
 * there is one.
 */
#include "nn/train/backprop_internal.h"

#include <string.h>

void nn_layer_linear_init(const nn_layer *layer, float *params, float *state,
                          sotto_stream *stream)
{
    const size_t n_outputs = layer->out.channels; /* dense: its units */
    (void)state;
    memset(params, 0, layer->n_params * sizeof(float));
    nn_layer_draw(params, layer->n_decay, layer->n_decay / n_outputs, stream);
}

static sotto_status dense_shape(nn_layer *layer, sotto_error *err)
{
    const size_t units = layer->config.units;
    const size_t step = nn_vector_round(layer->largest_slice);
    if (!layer->in_flat) {
        return nn_layer_fail(layer, err,
                             "needs a vector: put layer = flatten before it");
    }
    layer->out = (nn_image_shape){units, 1, 1};
    layer->n_decay = units * layer->n_in;
    layer->n_params = layer->n_decay + (layer->config.bias ? units : 0);
    layer->n_scratch = (layer->n_in + units) * step;
    layer->whole = true;
    layer->n_products = layer->n_decay;
    return SOTTO_OK;
}

static void dense_forward(const nn_layer *layer, const nn_slice *slice)
{
    const nn_train_kernels *kernels = slice->kernels;
    const size_t units = layer->n_out;
    const size_t n = slice->count;
    const size_t step = nn_vector_round(layer->largest_slice);
    const float *weights = slice->params + layer->param_at;
    float *in = slice->scratch;           /* [n_in][step] */
    float *out = in + layer->n_in * step; /* [units][step] */

    kernels->transpose(
        (nn_rows_out){in, step},
        (nn_rows){layer->in_value + slice->first * layer->n_in, layer->n_in}, n,
        layer->n_in);
    for (size_t u = 0; layer->config.bias && u < units; u++) {
        const float bias = weights[layer->n_decay + u];
        for (size_t i = 0; i < n; i++) {
            out[u * step + i] = bias;
        }
    }
    kernels->multiply((nn_rows_out){out, step},
                      (nn_matrix){weights, layer->n_in, 1}, (nn_rows){in, step},
                      units, n, layer->n_in, layer->config.bias);
    kernels->transpose(
        (nn_rows_out){layer->value + slice->first * units, units},
        (nn_rows){out, step}, units, n);
}

static void dense_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t units = layer->n_out;
    if (layer->in_gradient == NULL) {
        return;
    }
    slice->kernels->multiply(
        (nn_rows_out){layer->in_gradient + slice->first * layer->n_in,
                      layer->n_in},
        (nn_matrix){layer->gradient + slice->first * units, units, 1},
        (nn_rows){slice->params + layer->param_at, layer->n_in}, slice->count,
        layer->n_in, units, false);
}

/* Columns [first, last) of dW, whole vectors but for the last part. */
static void dense_backward_whole(const nn_layer *layer, const nn_slice *batch,
                                 size_t part)
{
    const size_t units = layer->n_out;
    const size_t width =
        nn_vector_round((layer->n_in + NN_NET_SLICES - 1) / NN_NET_SLICES);
    const size_t first = part * width;
    float *weights = batch->gradient + layer->param_at;
    float *bias = weights + layer->n_decay;

    if (first < layer->n_in) {
        const size_t left = layer->n_in - first;
        batch->kernels->multiply(
            (nn_rows_out){weights + first, layer->n_in},
            (nn_matrix){layer->gradient, 1, units},
            (nn_rows){layer->in_value + first, layer->n_in}, units,
            left < width ? left : width, batch->count, false);
    }
    if (part == 0 && layer->config.bias) {
        memset(bias, 0, units * sizeof(float));
        for (size_t i = 0; i < batch->count; i++) {
            batch->kernels->add(bias, bias, layer->gradient + i * units, units);
        }
    }
}

const nn_layer_ops nn_dense_ops = {
    .shape = dense_shape,
    .init = nn_layer_linear_init,
    .forward = dense_forward,
    .backward = dense_backward,
    .backward_whole = dense_backward_whole,
};
