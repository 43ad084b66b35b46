/* SPDX-License-Identifier: MIT
 * Convolution and dense layers.
 *
 * A convolution gathers its windows into columns and is then a matrix product:
 *
 *     columns [depth][positions]   depth = C·kh·kw, positions = H'·W'
 *     value   [maps][positions]   = W [maps][depth] · columns
 *     dW      [maps][depth]      += gradient [maps][positions] · columnsᵀ
 *     dcolumns                    = Wᵀ · gradient, scattered back and added
 *
 * The columns are made anew on the way back, since they are nine to twenty-five
 * times larger than the picture. Parameters: weights (as in
 * ONNX), then the bias if there is one.
 */
#include "nn/train/backprop_internal.h"

#include <string.h>

#include "nn/train/sgemm.h"

/* --- windows ---------------------------------------------------------- */

/* Positions [*begin, *end) of a window whose input i·stride + kernel_at - pad
 * lies inside [0, size); the others read padding. Both bounds round up:
 * i·stride + kernel_at >= pad, and i·stride + kernel_at < size + pad. */
static void valid_positions(size_t *begin, size_t *end, size_t n_positions,
                            size_t stride, size_t kernel_at, size_t pad,
                            size_t size)
{
    *begin = kernel_at >= pad ? 0 : (pad - kernel_at + stride - 1) / stride;
    *end = size + pad > kernel_at
               ? (size + pad - kernel_at + stride - 1) / stride
               : 0;
    if (*end > n_positions) {
        *end = n_positions;
    }
    if (*begin > *end) {
        *begin = *end;
    }
}

/* One row of columns: kernel position (ky, kx) over one channel. With gather
 * the row is read from the picture, otherwise added to it. */
typedef struct window_row {
    size_t ky, kx;
    bool gather;
} window_row;

static void move_row(const nn_layer *layer, float *row, float *picture,
                     window_row at)
{
    const nn_layer_config *config = &layer->config;
    const size_t out_width = layer->out.width;
    const size_t stride = config->stride[1];
    size_t y0, y1, x0, x1;
    valid_positions(&y0, &y1, layer->out.height, config->stride[0], at.ky,
                    config->pad[0], layer->in.height);
    valid_positions(&x0, &x1, out_width, stride, at.kx, config->pad[1],
                    layer->in.width);
    if (at.gather) {
        memset(row, 0, layer->out.height * out_width * sizeof(float));
    }
    if (x0 == x1) {
        return;
    }
    /* inside these bounds the index below is never negative */
    for (size_t y = y0; y < y1; y++) {
        float *to = row + y * out_width;
        float *from =
            picture +
            (y * config->stride[0] + at.ky - config->pad[0]) * layer->in.width +
            x0 * stride + at.kx - config->pad[1];
        if (at.gather) {
            for (size_t x = x0; x < x1; x++, from += stride) {
                to[x] = *from;
            }
        } else {
            for (size_t x = x0; x < x1; x++, from += stride) {
                *from += to[x];
            }
        }
    }
}

/* columns[c·kh·kw + ky·kw + kx][y·W' + x] = picture[c][y·s+ky-p][x·s+kx-p],
 * zero outside; or, without gather, the transpose of that map, added. */
static void move_columns(const nn_layer *layer, float *columns, float *picture,
                         bool gather)
{
    const nn_layer_config *config = &layer->config;
    const size_t row_len = layer->out.height * layer->out.width;
    const size_t plane = layer->in.height * layer->in.width;

    for (size_t c = 0; c < layer->in.channels; c++) {
        for (size_t ky = 0; ky < config->kernel[0]; ky++) {
            for (size_t kx = 0; kx < config->kernel[1]; kx++) {
                move_row(layer, columns, picture + c * plane,
                         (window_row){ky, kx, gather});
                columns += row_len;
            }
        }
    }
}

/* --- convolution ------------------------------------------------------ */

static sotto_status conv_shape(nn_layer *layer, sotto_error *err)
{
    SOTTO_TRY(nn_layer_window_shape(layer, layer->config.maps, err));
    const size_t depth =
        layer->in.channels * layer->config.kernel[0] * layer->config.kernel[1];
    layer->n_decay = layer->out.channels * depth;
    layer->n_params =
        layer->n_decay + (layer->config.bias ? layer->out.channels : 0);
    layer->n_columns = depth * layer->out.height * layer->out.width;
    return SOTTO_OK;
}

static void linear_init(const nn_layer *layer, float *params, float *state,
                        sotto_stream *stream)
{
    const size_t n_outputs = layer->config.kind == NN_LAYER_CONV
                                 ? layer->out.channels
                                 : layer->n_out;
    (void)state;
    memset(params, 0, layer->n_params * sizeof(float));
    nn_layer_draw(params, layer->n_decay, layer->n_decay / n_outputs, stream);
}

static void conv_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t maps = layer->out.channels;
    const size_t positions = layer->out.height * layer->out.width;
    const size_t depth = layer->n_decay / maps;
    const float *weights = slice->params + layer->param_at;
    const float *bias = weights + layer->n_decay;

    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        float *out = layer->value + i * layer->n_out;
        move_columns(layer, slice->columns, layer->in_value + i * layer->n_in,
                     true);
        nn_sgemm((nn_matrix_out){out, positions, 1},
                 (nn_matrix){weights, depth, 1},
                 (nn_matrix){slice->columns, positions, 1}, maps, positions,
                 depth, false, slice->gemm);
        for (size_t o = 0; layer->config.bias && o < maps; o++) {
            for (size_t p = 0; p < positions; p++) {
                out[o * positions + p] += bias[o];
            }
        }
    }
}

/* Input gradient: columns = Wᵀ·gradient, scattered back. */
static void conv_backward_input(const nn_layer *layer, const nn_slice *slice,
                                const float *gradient, float *in_gradient)
{
    const size_t maps = layer->out.channels;
    const size_t positions = layer->out.height * layer->out.width;
    const size_t depth = layer->n_decay / maps;

    nn_sgemm((nn_matrix_out){slice->columns, positions, 1},
             (nn_matrix){slice->params + layer->param_at, 1, depth},
             (nn_matrix){gradient, positions, 1}, depth, positions, maps, false,
             slice->gemm);
    memset(in_gradient, 0, layer->n_in * sizeof(float));
    move_columns(layer, slice->columns, in_gradient, false);
}

static void conv_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t maps = layer->out.channels;
    const size_t positions = layer->out.height * layer->out.width;
    const size_t depth = layer->n_decay / maps;
    float *weights = slice->gradient + layer->param_at;
    float *bias = weights + layer->n_decay;

    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        const float *gradient = layer->gradient + i * layer->n_out;
        move_columns(layer, slice->columns, layer->in_value + i * layer->n_in,
                     true);
        /* transposed, since the depth is the longer side */
        nn_sgemm((nn_matrix_out){weights, 1, depth},
                 (nn_matrix){slice->columns, positions, 1},
                 (nn_matrix){gradient, 1, positions}, depth, maps, positions,
                 true, slice->gemm);
        for (size_t o = 0; layer->config.bias && o < maps; o++) {
            float sum = 0.0f;
            for (size_t p = 0; p < positions; p++) {
                sum += gradient[o * positions + p];
            }
            bias[o] += sum;
        }
        if (layer->in_gradient != NULL) {
            conv_backward_input(layer, slice, gradient,
                                layer->in_gradient + i * layer->n_in);
        }
    }
}

const nn_layer_ops nn_conv_ops = {
    .shape = conv_shape,
    .init = linear_init,
    .forward = conv_forward,
    .backward = conv_backward,
};

/* --- dense ------------------------------------------------------------ */

static sotto_status dense_shape(nn_layer *layer, sotto_error *err)
{
    if (!layer->in_flat) {
        return nn_layer_fail(layer, err,
                             "needs a vector: put layer = flatten before it");
    }
    layer->out = (nn_image_shape){layer->config.units, 1, 1};
    layer->n_decay = layer->config.units * layer->n_in;
    layer->n_params =
        layer->n_decay + (layer->config.bias ? layer->config.units : 0);
    return SOTTO_OK;
}

/* valueᵀ = W·in_valueᵀ: the weights are the tall matrix. */
static void dense_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t units = layer->n_out;
    const float *weights = slice->params + layer->param_at;
    const float *bias = weights + layer->n_decay;
    float *out = layer->value + slice->first * units;
    const float *in = layer->in_value + slice->first * layer->n_in;

    nn_sgemm((nn_matrix_out){out, 1, units},
             (nn_matrix){weights, layer->n_in, 1},
             (nn_matrix){in, 1, layer->n_in}, units, slice->count, layer->n_in,
             false, slice->gemm);
    for (size_t i = 0; layer->config.bias && i < slice->count; i++) {
        for (size_t u = 0; u < units; u++) {
            out[i * units + u] += bias[u];
        }
    }
}

static void dense_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t units = layer->n_out;
    const float *params = slice->params + layer->param_at;
    float *weights = slice->gradient + layer->param_at;
    float *bias = weights + layer->n_decay;
    const float *in = layer->in_value + slice->first * layer->n_in;
    const float *gradient = layer->gradient + slice->first * units;

    nn_sgemm((nn_matrix_out){weights, layer->n_in, 1},
             (nn_matrix){gradient, 1, units}, (nn_matrix){in, layer->n_in, 1},
             units, layer->n_in, slice->count, true, slice->gemm);
    for (size_t i = 0; layer->config.bias && i < slice->count; i++) {
        for (size_t u = 0; u < units; u++) {
            bias[u] += gradient[i * units + u];
        }
    }
    if (layer->in_gradient != NULL) {
        float *out = layer->in_gradient + slice->first * layer->n_in;
        nn_sgemm((nn_matrix_out){out, 1, layer->n_in},
                 (nn_matrix){params, 1, layer->n_in},
                 (nn_matrix){gradient, 1, units}, layer->n_in, slice->count,
                 units, false, slice->gemm);
    }
}

const nn_layer_ops nn_dense_ops = {
    .shape = dense_shape,
    .init = linear_init,
    .forward = dense_forward,
    .backward = dense_backward,
};
