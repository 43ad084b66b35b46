/* SPDX-License-Identifier: MIT
 * Convolutions as matrix products.
 *
 * A convolution gathers its windows into columns, block of output rows by
 * block, so that a block stays in second-level cache between the products:
 *
 *     columns  [depth][positions]   depth = C·kh·kw, positions of the block
 *     value    [maps][positions]    = W [maps][depth] · columns
 *     dWᵀ      [depth][maps]       += columns · gradientᵀ [positions][maps]
 *     dcolumns [depth][positions]   = Wᵀ · gradient, scattered back and added
 *
 * Windows are read from a copy of the picture with its padding around it, so
 * that no window has an edge. Columns are made anew on the way back, since they
 * are nine to twenty-five times larger than the picture.
 */
#include "nn/train/backprop_internal.h"

#include <string.h>

/* Floats of a block of columns: 256 KiB leave room for the other operands. */
#define BLOCK_FLOATS ((size_t)1 << 16)

/* Sizes of one layer, and its scratch memory: all in whole vectors. */
typedef struct conv_plan {
    size_t maps, depth, positions;
    nn_image_shape padded;
    size_t block_rows; /* output rows of a block; the last may have fewer */
    size_t step;       /* between rows of columns and of gradient */
    size_t map_step;   /* between rows of what has maps side by side */
    size_t n_padded, n_columns, n_gradient, n_turned, n_weights;
} conv_plan;

/* Rows an odd number of vectors apart do not fight for the same cache sets. */
static size_t odd_step(size_t n)
{
    const size_t vectors = nn_vector_round(n) / NN_VECTOR;
    return (vectors | 1) * NN_VECTOR;
}

static conv_plan plan_of(const nn_layer *layer)
{
    const nn_layer_config *config = &layer->config;
    const nn_image_shape in = layer->in;
    const nn_image_shape out = layer->out;
    conv_plan plan = {
        .maps = out.channels,
        .depth = in.channels * config->kernel[0] * config->kernel[1],
        .positions = out.height * out.width,
        .padded = {in.channels, in.height + config->pad[0] + config->pad[2],
                   in.width + config->pad[1] + config->pad[3]}};
    size_t rows = BLOCK_FLOATS / (plan.depth * out.width);
    rows = rows > 0 ? rows : 1;
    const size_t n_blocks = (out.height + rows - 1) / rows;
    plan.block_rows = (out.height + n_blocks - 1) / n_blocks;
    const size_t block = plan.block_rows * out.width;
    plan.step = odd_step(block);
    plan.map_step = nn_vector_round(plan.maps);
    plan.n_padded = nn_vector_round(nn_image_pixels(plan.padded));
    plan.n_columns = plan.depth * plan.step;
    plan.n_gradient = plan.maps * plan.step;
    plan.n_turned = plan.map_step * block;
    plan.n_weights = plan.depth * plan.map_step;
    return plan;
}

static sotto_status conv_shape(nn_layer *layer, sotto_error *err)
{
    SOTTO_TRY(nn_layer_window_shape(layer, layer->config.maps, err));
    const conv_plan plan = plan_of(layer);
    layer->n_decay = plan.maps * plan.depth;
    layer->n_params = layer->n_decay + (layer->config.bias ? plan.maps : 0);
    layer->n_scratch = plan.n_padded + plan.n_columns + plan.n_gradient +
                       plan.n_turned + plan.n_weights;
    layer->n_products = layer->n_decay * plan.positions;
    return SOTTO_OK;
}

/* ---- Pictures and columns ------------------------------------------------ */

/* The picture's own place inside the padded one. */
static nn_grid inner_grid(const nn_layer *layer, const conv_plan *plan)
{
    return (nn_grid){layer->in.height, layer->in.width, plan->padded.width, 1};
}

static size_t inner_start(const nn_layer *layer, const conv_plan *plan,
                          size_t channel)
{
    return (channel * plan->padded.height + layer->config.pad[0]) *
               plan->padded.width +
           layer->config.pad[1];
}

static void pad_picture(const nn_layer *layer, const conv_plan *plan,
                        const nn_train_kernels *kernels, float *padded,
                        const float *picture)
{
    const nn_grid grid = inner_grid(layer, plan);
    memset(padded, 0, plan->n_padded * sizeof(float));
    for (size_t c = 0; c < layer->in.channels; c++) {
        kernels->scatter(padded + inner_start(layer, plan, c),
                         picture + c * grid.height * grid.width, &grid);
    }
}

static void crop_picture(const nn_layer *layer, const conv_plan *plan,
                         const nn_train_kernels *kernels, float *picture,
                         const float *padded)
{
    const nn_grid grid = inner_grid(layer, plan);
    for (size_t c = 0; c < layer->in.channels; c++) {
        kernels->gather(picture + c * grid.height * grid.width,
                        padded + inner_start(layer, plan, c), &grid, false);
    }
}

/* Output rows [row, row + rows) under work. */
typedef struct conv_block {
    size_t row, rows;
    size_t first, count; /* positions */
} conv_block;

static conv_block block_at(const nn_layer *layer, const conv_plan *plan,
                           size_t row)
{
    const size_t left = layer->out.height - row;
    const size_t rows = left < plan->block_rows ? left : plan->block_rows;
    return (conv_block){row, rows, row * layer->out.width,
                        rows * layer->out.width};
}

/* columns[c·kh·kw + ky·kw + kx][y·W' + x] = padded[c][y·s+ky][x·s+kx]; or,
 * with back, the transpose of that map, added. */
static void move_columns(const nn_layer *layer, const conv_plan *plan,
                         const nn_train_kernels *kernels, float *columns,
                         float *padded, const conv_block *block, bool back)
{
    const nn_layer_config *config = &layer->config;
    const size_t width = plan->padded.width;
    const nn_grid grid = {block->rows, layer->out.width,
                          config->stride[0] * width, config->stride[1]};

    for (size_t c = 0; c < layer->in.channels; c++) {
        float *plane = padded + c * plan->padded.height * width +
                       block->row * grid.row_step;
        for (size_t ky = 0; ky < config->kernel[0]; ky++) {
            for (size_t kx = 0; kx < config->kernel[1]; kx++) {
                float *at = plane + ky * width + kx;
                if (back) {
                    kernels->scatter(at, columns, &grid);
                } else {
                    kernels->gather(columns, at, &grid, false);
                }
                columns += plan->step;
            }
        }
    }
}

/* ---- Passes ---------------------------------------------------------------
 */

static void conv_forward_image(const nn_layer *layer, const nn_slice *slice,
                               const conv_plan *plan, size_t image)
{
    const nn_train_kernels *kernels = slice->kernels;
    const float *weights = slice->params + layer->param_at;
    float *padded = slice->scratch;
    float *columns = padded + plan->n_padded;
    float *out = layer->value + image * layer->n_out;

    for (size_t o = 0; layer->config.bias && o < plan->maps; o++) {
        const float bias = weights[layer->n_decay + o];
        for (size_t p = 0; p < plan->positions; p++) {
            out[o * plan->positions + p] = bias;
        }
    }
    pad_picture(layer, plan, kernels, padded,
                layer->in_value + image * layer->n_in);
    for (size_t y = 0; y < layer->out.height; y += plan->block_rows) {
        const conv_block block = block_at(layer, plan, y);
        move_columns(layer, plan, kernels, columns, padded, &block, false);
        kernels->multiply((nn_rows_out){out + block.first, plan->positions},
                          (nn_matrix){weights, plan->depth, 1},
                          (nn_rows){columns, plan->step}, plan->maps,
                          block.count, plan->depth, layer->config.bias);
    }
}

static void conv_forward(const nn_layer *layer, const nn_slice *slice)
{
    const conv_plan plan = plan_of(layer);
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        conv_forward_image(layer, slice, &plan, i);
    }
}

/* The gradient of a block, copied to where its rows may be read in whole
 * vectors. */
static void take_gradient(const conv_plan *plan, float *to,
                          const float *gradient, const conv_block *block)
{
    for (size_t o = 0; o < plan->maps; o++) {
        memcpy(to + o * plan->step,
               gradient + o * plan->positions + block->first,
               block->count * sizeof(float));
    }
}

/* turned_weights += columns · gradientᵀ. */
static void conv_backward_weights(const nn_layer *layer, const nn_slice *slice,
                                  const conv_plan *plan, float *turned_weights,
                                  size_t image)
{
    const nn_train_kernels *kernels = slice->kernels;
    float *padded = slice->scratch;
    float *columns = padded + plan->n_padded;
    float *gradient = columns + plan->n_columns;
    float *turned = gradient + plan->n_gradient;

    pad_picture(layer, plan, kernels, padded,
                layer->in_value + image * layer->n_in);
    for (size_t y = 0; y < layer->out.height; y += plan->block_rows) {
        const conv_block block = block_at(layer, plan, y);
        move_columns(layer, plan, kernels, columns, padded, &block, false);
        take_gradient(plan, gradient, layer->gradient + image * layer->n_out,
                      &block);
        kernels->transpose((nn_rows_out){turned, plan->map_step},
                           (nn_rows){gradient, plan->step}, plan->maps,
                           block.count);
        kernels->multiply((nn_rows_out){turned_weights, plan->map_step},
                          (nn_matrix){columns, plan->step, 1},
                          (nn_rows){turned, plan->map_step}, plan->depth,
                          plan->maps, block.count, true);
    }
}

static void conv_backward_input(const nn_layer *layer, const nn_slice *slice,
                                const conv_plan *plan, size_t image)
{
    const nn_train_kernels *kernels = slice->kernels;
    const float *weights = slice->params + layer->param_at;
    float *padded = slice->scratch;
    float *columns = padded + plan->n_padded;
    float *gradient = columns + plan->n_columns;

    memset(padded, 0, plan->n_padded * sizeof(float));
    for (size_t y = 0; y < layer->out.height; y += plan->block_rows) {
        const conv_block block = block_at(layer, plan, y);
        take_gradient(plan, gradient, layer->gradient + image * layer->n_out,
                      &block);
        kernels->multiply((nn_rows_out){columns, plan->step},
                          (nn_matrix){weights, 1, plan->depth},
                          (nn_rows){gradient, plan->step}, plan->depth,
                          block.count, plan->maps, false);
        move_columns(layer, plan, kernels, columns, padded, &block, true);
    }
    crop_picture(layer, plan, kernels, layer->in_gradient + image * layer->n_in,
                 padded);
}

/* Adds what one image gives to each bias. */
static void conv_backward_bias(const nn_layer *layer, const nn_slice *slice,
                               const conv_plan *plan, size_t image)
{
    const float *gradient = layer->gradient + image * layer->n_out;
    float *bias = slice->gradient + layer->param_at + layer->n_decay;
    for (size_t o = 0; o < plan->maps; o++) {
        double sums[2] = {0.0, 0.0};
        slice->kernels->squares(sums, gradient + o * plan->positions,
                                plan->positions);
        bias[o] += (float)sums[0];
    }
}

static void conv_backward(const nn_layer *layer, const nn_slice *slice)
{
    const conv_plan plan = plan_of(layer);
    float *weights = slice->gradient + layer->param_at;
    float *turned_weights = slice->scratch + plan.n_padded + plan.n_columns +
                            plan.n_gradient + plan.n_turned;

    memset(turned_weights, 0, plan.n_weights * sizeof(float));
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        conv_backward_weights(layer, slice, &plan, turned_weights, i);
        if (layer->config.bias) {
            conv_backward_bias(layer, slice, &plan, i);
        }
        if (layer->in_gradient != NULL) {
            conv_backward_input(layer, slice, &plan, i);
        }
    }
    slice->kernels->transpose((nn_rows_out){weights, plan.depth},
                              (nn_rows){turned_weights, plan.map_step},
                              plan.depth, plan.maps);
}

const nn_layer_ops nn_conv_ops = {
    .shape = conv_shape,
    .init = nn_layer_linear_init,
    .forward = conv_forward,
    .backward = conv_backward,
};
