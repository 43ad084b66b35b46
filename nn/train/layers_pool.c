/* SPDX-License-Identifier: MIT
 * Pooling and flattening.
 *
 * Windows lie inside the picture (no padding) and may overlap or leave rows and
 * columns at the end unread, as ONNX defines it without ceil_mode. On the way
 * back overlapping windows add up; a maximum passes its gradient to the element
 * that won, the first of equals.
 */
#include "nn/train/backprop_internal.h"

#include <string.h>

/* --- pooling ----------------------------------------------------------- */

static sotto_status pool_shape(nn_layer *layer, sotto_error *err)
{
    SOTTO_TRY(nn_layer_window_shape(layer, layer->in.channels, err));
    if (layer->config.kind == NN_LAYER_MAX_POOL) {
        layer->n_choices = nn_image_pixels(layer->out);
    } else {
        layer->n_scratch = layer->out.height * layer->out.width;
    }
    return SOTTO_OK;
}

/* Where the windows of one channel begin. */
static nn_grid window_grid(const nn_layer *layer)
{
    return (nn_grid){layer->out.height, layer->out.width,
                     layer->config.stride[0] * layer->in.width,
                     layer->config.stride[1]};
}

/* Whether there is one window, the whole picture: no need to hop. */
static bool is_global(const nn_layer *layer)
{
    return layer->config.kernel[0] == layer->in.height &&
           layer->config.kernel[1] == layer->in.width;
}

static void global_pool_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t plane = layer->in.height * layer->in.width;
    for (size_t i = slice->first * layer->in.channels;
         i < (slice->first + slice->count) * layer->in.channels; i++) {
        double sums[2] = {0.0, 0.0};
        slice->kernels->squares(sums, layer->in_value + i * plane, plane);
        layer->value[i] = (float)(sums[0] / (double)plane);
    }
}

static void global_pool_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t plane = layer->in.height * layer->in.width;
    for (size_t i = slice->first * layer->in.channels;
         i < (slice->first + slice->count) * layer->in.channels; i++) {
        const float part = layer->gradient[i] / (float)plane;
        for (size_t p = 0; p < plane; p++) {
            layer->in_gradient[i * plane + p] = part;
        }
    }
}

/* The mean is taken place by place of the window, all windows of a channel at
 * once. */
static void avg_pool_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t *kernel = layer->config.kernel;
    const nn_grid grid = window_grid(layer);
    const size_t plane = layer->in.height * layer->in.width;
    const size_t run = grid.height * grid.width;
    const float factor[2] = {1.0f / (float)(kernel[0] * kernel[1]), 0.0f};

    if (is_global(layer)) {
        global_pool_forward(layer, slice);
        return;
    }
    for (size_t i = slice->first * layer->in.channels;
         i < (slice->first + slice->count) * layer->in.channels; i++) {
        const float *in = layer->in_value + i * plane;
        float *out = layer->value + i * run;
        for (size_t y = 0; y < kernel[0]; y++) {
            for (size_t x = 0; x < kernel[1]; x++) {
                slice->kernels->gather(out, in + y * layer->in.width + x, &grid,
                                       y + x > 0);
            }
        }
        slice->kernels->affine(out, out, factor, run);
    }
}

static void avg_pool_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t *kernel = layer->config.kernel;
    const nn_grid grid = window_grid(layer);
    const size_t plane = layer->in.height * layer->in.width;
    const size_t run = grid.height * grid.width;
    const float factor[2] = {1.0f / (float)(kernel[0] * kernel[1]), 0.0f};

    if (layer->in_gradient == NULL) {
        return;
    }
    if (is_global(layer)) {
        global_pool_backward(layer, slice);
        return;
    }
    for (size_t i = slice->first * layer->in.channels;
         i < (slice->first + slice->count) * layer->in.channels; i++) {
        float *out = layer->in_gradient + i * plane;
        memset(out, 0, plane * sizeof(float));
        slice->kernels->affine(slice->scratch, layer->gradient + i * run,
                               factor, run);
        for (size_t y = 0; y < kernel[0]; y++) {
            for (size_t x = 0; x < kernel[1]; x++) {
                slice->kernels->scatter(out + y * layer->in.width + x,
                                        slice->scratch, &grid);
            }
        }
    }
}

const nn_layer_ops nn_avg_pool_ops = {
    .shape = pool_shape,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
};

/* The largest element of the window at `start`: its index. */
static size_t window_largest(const nn_layer *layer, const float *in,
                             size_t start)
{
    const size_t *kernel = layer->config.kernel;
    size_t best = start;
    for (size_t y = 0; y < kernel[0]; y++) {
        for (size_t x = 0; x < kernel[1]; x++) {
            const size_t at = start + y * layer->in.width + x;
            best = in[at] > in[best] ? at : best;
        }
    }
    return best;
}

static void max_pool_forward(const nn_layer *layer, const nn_slice *slice)
{
    const nn_grid grid = window_grid(layer);
    const size_t plane = layer->in.height * layer->in.width;
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        const float *in = layer->in_value + i * layer->n_in;
        float *out = layer->value + i * layer->n_out;
        uint32_t *choices = layer->choices + i * layer->n_out;
        for (size_t c = 0; c < layer->in.channels; c++) {
            for (size_t y = 0; y < grid.height; y++) {
                const size_t row = c * plane + y * grid.row_step;
                for (size_t x = 0; x < grid.width; x++) {
                    const size_t best =
                        window_largest(layer, in, row + x * grid.col_step);
                    *out++ = in[best];
                    *choices++ = (uint32_t)best;
                }
            }
        }
    }
}

static void max_pool_backward(const nn_layer *layer, const nn_slice *slice)
{
    if (layer->in_gradient == NULL) {
        return;
    }
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        float *out = layer->in_gradient + i * layer->n_in;
        memset(out, 0, layer->n_in * sizeof(float));
        for (size_t o = i * layer->n_out; o < (i + 1) * layer->n_out; o++) {
            out[layer->choices[o]] += layer->gradient[o];
        }
    }
}

const nn_layer_ops nn_max_pool_ops = {
    .shape = pool_shape,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
};

/* --- flatten ----------------------------------------------------------- */

/* Shares its memory with the layer before: nothing to compute. */
static sotto_status flatten_shape(nn_layer *layer, sotto_error *err)
{
    (void)err;
    layer->out = (nn_image_shape){layer->n_in, 1, 1};
    layer->flat = true;
    return SOTTO_OK;
}

static void flatten_nothing(const nn_layer *layer, const nn_slice *slice)
{
    (void)layer;
    (void)slice;
}

const nn_layer_ops nn_flatten_ops = {
    .shape = flatten_shape,
    .forward = flatten_nothing,
    .backward = flatten_nothing,
};
