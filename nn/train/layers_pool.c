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
    }
    return SOTTO_OK;
}

/* Index in the picture of the first element of output o's window. */
static size_t window_start(const nn_layer *layer, size_t o)
{
    const size_t x = o % layer->out.width;
    const size_t y = o / layer->out.width % layer->out.height;
    const size_t c = o / layer->out.width / layer->out.height;
    return (c * layer->in.height + y * layer->config.stride[0]) *
               layer->in.width +
           x * layer->config.stride[1];
}

static void avg_pool_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t *kernel = layer->config.kernel;
    const float factor = 1.0f / (float)(kernel[0] * kernel[1]);
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        const float *in = layer->in_value + i * layer->n_in;
        for (size_t o = 0; o < layer->n_out; o++) {
            const float *at = in + window_start(layer, o);
            float sum = 0.0f;
            for (size_t y = 0; y < kernel[0]; y++) {
                for (size_t x = 0; x < kernel[1]; x++) {
                    sum += at[y * layer->in.width + x];
                }
            }
            layer->value[i * layer->n_out + o] = sum * factor;
        }
    }
}

static void avg_pool_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t *kernel = layer->config.kernel;
    const float factor = 1.0f / (float)(kernel[0] * kernel[1]);
    if (layer->in_gradient == NULL) {
        return;
    }
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        float *out = layer->in_gradient + i * layer->n_in;
        memset(out, 0, layer->n_in * sizeof(float));
        for (size_t o = 0; o < layer->n_out; o++) {
            float *at = out + window_start(layer, o);
            const float part = layer->gradient[i * layer->n_out + o] * factor;
            for (size_t y = 0; y < kernel[0]; y++) {
                for (size_t x = 0; x < kernel[1]; x++) {
                    at[y * layer->in.width + x] += part;
                }
            }
        }
    }
}

const nn_layer_ops nn_avg_pool_ops = {
    .shape = pool_shape,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
};

static void max_pool_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t *kernel = layer->config.kernel;
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        const float *in = layer->in_value + i * layer->n_in;
        for (size_t o = 0; o < layer->n_out; o++) {
            const size_t start = window_start(layer, o);
            size_t best = start;
            for (size_t y = 0; y < kernel[0]; y++) {
                for (size_t x = 0; x < kernel[1]; x++) {
                    const size_t at = start + y * layer->in.width + x;
                    best = in[at] > in[best] ? at : best;
                }
            }
            layer->value[i * layer->n_out + o] = in[best];
            layer->choices[i * layer->n_out + o] = (uint32_t)best;
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
