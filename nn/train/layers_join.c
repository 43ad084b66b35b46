/* SPDX-License-Identifier: MIT
 * Layers of residual networks: the sum of two values, and the shortcut around a
 * block that halves the picture.
 */
#include "nn/train/backprop_internal.h"

#include <string.h>

/* ---- Sum ------------------------------------------------------------------
 */

static void add_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t at = slice->first * layer->n_out;
    slice->kernels->add(layer->value + at, layer->in_value + at,
                        layer->with_value + at, slice->count * layer->n_out);
}

/* Both operands have the gradient of the sum; where nobody else reads an
 * operand it has the same memory too (nn_net_new). */
static void add_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t at = slice->first * layer->n_out;
    const size_t n = slice->count * layer->n_out;
    const float *dy = layer->gradient + at;

    if (layer->with_gradient != NULL && layer->with_adds) {
        float *to = layer->with_gradient + at;
        slice->kernels->add(to, to, dy, n);
    } else if (layer->with_gradient != NULL &&
               layer->with_gradient != layer->gradient) {
        memcpy(layer->with_gradient + at, dy, n * sizeof(float));
    }
    if (layer->in_gradient != NULL && layer->in_gradient != layer->gradient) {
        memcpy(layer->in_gradient + at, dy, n * sizeof(float));
    }
}

const nn_layer_ops nn_add_ops = {
    .shape = nn_layer_keep_shape,
    .forward = add_forward,
    .backward = add_backward,
};

/* ---- Subsampling ----------------------------------------------------------
 */

static sotto_status subsample_shape(nn_layer *layer, sotto_error *err)
{
    SOTTO_TRY(nn_layer_window_shape(layer, layer->config.maps, err));
    if (layer->config.maps < layer->in.channels) {
        return nn_layer_fail(layer, err, "has more channels than maps=");
    }
    return SOTTO_OK;
}

static nn_grid subsample_grid(const nn_layer *layer)
{
    return (nn_grid){layer->out.height, layer->out.width,
                     layer->config.stride[0] * layer->in.width,
                     layer->config.stride[1]};
}

/* Index in an image's value of the first channel that is not zero. */
static size_t first_map(const nn_layer *layer)
{
    return (layer->out.channels - layer->in.channels) / 2 * layer->out.height *
           layer->out.width;
}

static void subsample_forward(const nn_layer *layer, const nn_slice *slice)
{
    const nn_grid grid = subsample_grid(layer);
    const size_t plane = layer->in.height * layer->in.width;
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        float *out = layer->value + i * layer->n_out;
        memset(out, 0, layer->n_out * sizeof(float));
        out += first_map(layer);
        for (size_t c = 0; c < layer->in.channels; c++) {
            slice->kernels->gather(
                out + c * grid.height * grid.width,
                layer->in_value + i * layer->n_in + c * plane, &grid, false);
        }
    }
}

static void subsample_backward(const nn_layer *layer, const nn_slice *slice)
{
    const nn_grid grid = subsample_grid(layer);
    const size_t plane = layer->in.height * layer->in.width;
    if (layer->in_gradient == NULL) {
        return;
    }
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        float *out = layer->in_gradient + i * layer->n_in;
        const float *dy = layer->gradient + i * layer->n_out + first_map(layer);
        memset(out, 0, layer->n_in * sizeof(float));
        for (size_t c = 0; c < layer->in.channels; c++) {
            slice->kernels->scatter(out + c * plane,
                                    dy + c * grid.height * grid.width, &grid);
        }
    }
}

const nn_layer_ops nn_subsample_ops = {
    .shape = subsample_shape,
    .forward = subsample_forward,
    .backward = subsample_backward,
};
