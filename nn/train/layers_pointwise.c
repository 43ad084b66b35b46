/* SPDX-License-Identifier: MIT
 * Layers that work element by element: ReLU, x², trained quadratics, and batch
 * normalisation.
 *
 * With dy the gradient of a layer's value and dx that of its input:
 *
 *     ReLU       y = max(x,0)          dx = dy where x > 0
 *     square     y = x²                dx = 2x·dy
 *     quadratic  y = a·x² + b·x + c    dx = (2a·x + b)·dy
 *                                      da = Σ x²·dy, db = Σ x·dy, dc = Σ dy
 *
 * Sums over many elements are kept in doubles: those of a whole layer have ten
 * thousands of terms of either sign.
 */
#include "nn/train/backprop_internal.h"

#include <math.h>
#include <string.h>

/* --- ReLU and square --------------------------------------------------- */

static void relu_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t at = slice->first * layer->n_out;
    slice->kernels->relu(layer->value + at, layer->in_value + at,
                         slice->count * layer->n_out);
}

static void relu_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t at = slice->first * layer->n_out;
    if (layer->in_gradient != NULL) {
        slice->kernels->relu_back(layer->in_gradient + at, layer->in_value + at,
                                  layer->gradient + at,
                                  slice->count * layer->n_out);
    }
}

const nn_layer_ops nn_relu_ops = {
    .shape = nn_layer_keep_shape,
    .forward = relu_forward,
    .backward = relu_backward,
};

static void square_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t at = slice->first * layer->n_out;
    slice->kernels->square(layer->value + at, layer->in_value + at,
                           slice->count * layer->n_out);
}

static void square_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t at = slice->first * layer->n_out;
    if (layer->in_gradient != NULL) {
        slice->kernels->square_back(layer->in_gradient + at,
                                    layer->in_value + at, layer->gradient + at,
                                    slice->count * layer->n_out);
    }
}

const nn_layer_ops nn_square_ops = {
    .shape = nn_layer_keep_shape,
    .forward = square_forward,
    .backward = square_backward,
};

/* --- quadratic --------------------------------------------------------- */

/* Parameters a[n], b[n], c[n]; each serves n_out/n neighbouring elements: all
 * of them, a channel, or one. */
static sotto_status quadratic_shape(nn_layer *layer, sotto_error *err)
{
    SOTTO_TRY(nn_layer_keep_shape(layer, err));
    size_t n = 1;
    if (layer->config.per == NN_PER_CHANNEL) {
        n = layer->out.channels;
    } else if (layer->config.per == NN_PER_ELEMENT) {
        n = layer->n_in;
    }
    layer->n_params = 3 * n;
    layer->rate = layer->config.rate;
    return SOTTO_OK;
}

static void quadratic_init(const nn_layer *layer, float *params, float *state,
                           sotto_stream *stream)
{
    const size_t n = layer->n_params / 3;
    (void)state;
    (void)stream;
    for (size_t i = 0; i < layer->n_params; i++) {
        params[i] = (float)layer->config.coef[i / n];
    }
}

/* The coefficients of triple k. */
static void quadratic_triple(const nn_layer *layer, const nn_slice *slice,
                             size_t k, float *triple)
{
    const size_t n = layer->n_params / 3;
    const float *params = slice->params + layer->param_at;
    for (size_t i = 0; i < 3; i++) {
        triple[i] = params[i * n + k];
    }
}

static void quadratic_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t n = layer->n_params / 3;
    const size_t run = layer->n_out / n;
    const float *params = slice->params + layer->param_at;

    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        const float *x = layer->in_value + i * layer->n_out;
        float *y = layer->value + i * layer->n_out;
        for (size_t k = 0; run == 1 && k < n; k++) {
            y[k] =
                (params[k] * x[k] + params[n + k]) * x[k] + params[2 * n + k];
        }
        for (size_t k = 0; run > 1 && k < n; k++) {
            float triple[3];
            quadratic_triple(layer, slice, k, triple);
            slice->kernels->quadratic(y + k * run, x + k * run, triple, run);
        }
    }
}

/* One triple for each element: sums over the images of the slice only. */
static void quadratic_backward_each(const nn_layer *layer,
                                    const nn_slice *slice)
{
    const size_t n = layer->n_out;
    const float *params = slice->params + layer->param_at;
    float *restrict out = slice->gradient + layer->param_at;

    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        const float *x = layer->in_value + i * n;
        const float *dy = layer->gradient + i * n;
        for (size_t k = 0; k < n; k++) {
            const float term = dy[k] * x[k];
            out[k] += term * x[k];
            out[n + k] += term;
            out[2 * n + k] += dy[k];
        }
        for (size_t k = 0; layer->in_gradient != NULL && k < n; k++) {
            layer->in_gradient[i * n + k] =
                (2.0f * params[k] * x[k] + params[n + k]) * dy[k];
        }
    }
}

static void quadratic_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t n = layer->n_params / 3;
    const size_t run = layer->n_out / n;
    float *out = slice->gradient + layer->param_at;

    if (run == 1) {
        quadratic_backward_each(layer, slice);
        return;
    }
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        for (size_t k = 0; k < n; k++) {
            const size_t at = i * layer->n_out + k * run;
            const float *x = layer->in_value + at;
            const float *dy = layer->gradient + at;
            float triple[3];
            double sums[3] = {0.0, 0.0, 0.0};
            quadratic_triple(layer, slice, k, triple);
            slice->kernels->moments(sums, x, dy, 0.0, run);
            out[k] += (float)sums[2];
            out[n + k] += (float)sums[1];
            out[2 * n + k] += (float)sums[0];
            if (layer->in_gradient != NULL) {
                slice->kernels->quadratic_back(layer->in_gradient + at, x, dy,
                                               triple, run);
            }
        }
    }
}

const nn_layer_ops nn_quadratic_ops = {
    .shape = quadratic_shape,
    .init = quadratic_init,
    .forward = quadratic_forward,
    .backward = quadratic_backward,
};

/* --- batch normalisation ----------------------------------------------- */

/* Parameters gamma[C], beta[C]; statistics mean[C], variance[C]. A vector has
 * a channel for each element. sums:
 *
 *     [slice][2][C]   partial sums of x and x², then of dy and dy·x̂
 *     [2][C]          batch mean and 1/deviation
 *     [2][C]          merged sums of dy and dy·x̂
 */
static sotto_status batch_norm_shape(nn_layer *layer, sotto_error *err)
{
    SOTTO_TRY(nn_layer_keep_shape(layer, err));
    const size_t channels = layer->out.channels;
    layer->n_params = 2 * channels;
    layer->n_state = 2 * channels;
    layer->n_sums = (NN_NET_SLICES + 2) * 2 * channels;
    return SOTTO_OK;
}

static double *partial_sums(const nn_layer *layer, size_t slice)
{
    return layer->sums + slice * 2 * layer->out.channels;
}

static double *batch_statistics(const nn_layer *layer)
{
    return partial_sums(layer, NN_NET_SLICES);
}

static double *merged_sums(const nn_layer *layer)
{
    return partial_sums(layer, NN_NET_SLICES + 1);
}

static void batch_norm_init(const nn_layer *layer, float *params, float *state,
                            sotto_stream *stream)
{
    const size_t channels = layer->out.channels;
    (void)stream;
    for (size_t c = 0; c < channels; c++) {
        params[c] = 1.0f;
        params[channels + c] = 0.0f;
        state[c] = 0.0f;
        state[channels + c] = 1.0f;
    }
}

/* A vector has one element for each channel: whole rows at a time. */
static void add_vector_squares(const nn_layer *layer, double *sums,
                               const float *x)
{
    const size_t n = layer->n_out;
    for (size_t c = 0; c < n; c++) {
        const double wide = (double)x[c];
        sums[c] += wide;
        sums[n + c] += wide * wide;
    }
}

static void batch_norm_sum_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t channels = layer->out.channels;
    const size_t run = layer->n_out / channels;
    double *sums = partial_sums(layer, slice->number);

    memset(sums, 0, 2 * channels * sizeof(double));
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        const float *x = layer->in_value + i * layer->n_out;
        if (run == 1) {
            add_vector_squares(layer, sums, x);
            continue;
        }
        for (size_t c = 0; c < channels; c++) {
            double both[2] = {0.0, 0.0};
            slice->kernels->squares(both, x + c * run, run);
            sums[c] += both[0];
            sums[channels + c] += both[1];
        }
    }
}

/* Adds the slices' sums in order of their number: this, and not the order in
 * which they became ready, is what makes results equal for all threads. */
static void merge_sums(const nn_layer *layer, double *out)
{
    const size_t n = 2 * layer->out.channels;
    memset(out, 0, n * sizeof(double));
    for (size_t s = 0; s < NN_NET_SLICES; s++) {
        const double *sums = partial_sums(layer, s);
        for (size_t i = 0; i < n; i++) {
            out[i] += sums[i];
        }
    }
}

static void batch_norm_merge_forward(const nn_layer *layer,
                                     const nn_slice *slice)
{
    const size_t channels = layer->out.channels;
    const double n = (double)(slice->batch_count * (layer->n_out / channels));
    const double momentum = layer->config.momentum;
    double *statistics = batch_statistics(layer);
    float *state = slice->state + layer->state_at;

    merge_sums(layer, statistics);
    for (size_t c = 0; c < channels; c++) {
        const double mean = statistics[c] / n;
        double variance = statistics[channels + c] / n - mean * mean;
        /* E[x²] - E[x]² in doubles: below 0 by rounding only */
        variance = variance > 0.0 ? variance : 0.0;
        statistics[c] = mean;
        statistics[channels + c] = 1.0 / sqrt(variance + layer->config.epsilon);
        const double unbiased = n > 1.0 ? variance * n / (n - 1.0) : variance;
        state[c] += (float)(momentum * (mean - (double)state[c]));
        state[channels + c] +=
            (float)(momentum * (unbiased - (double)state[channels + c]));
    }
}

/* value = scale·x + shift for one channel, from batch or running statistics. */
static void channel_map(const nn_layer *layer, const nn_slice *slice, size_t c,
                        float *scale, float *shift)
{
    const size_t channels = layer->out.channels;
    const float *params = slice->params + layer->param_at;
    const float *state = slice->state + layer->state_at;
    const double *statistics = batch_statistics(layer);
    double mean = statistics[c];
    double inverse = statistics[channels + c];
    if (slice->mode == NN_NET_EVAL) {
        mean = (double)state[c];
        inverse =
            1.0 / sqrt((double)state[channels + c] + layer->config.epsilon);
    }
    *scale = (float)((double)params[c] * inverse);
    *shift = (float)((double)params[channels + c] -
                     (double)params[c] * inverse * mean);
}

static void batch_norm_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t channels = layer->out.channels;
    const size_t run = layer->n_out / channels;
    for (size_t c = 0; c < channels; c++) {
        float map[2];
        channel_map(layer, slice, c, &map[0], &map[1]);
        for (size_t i = slice->first; i < slice->first + slice->count; i++) {
            const size_t at = i * layer->n_out + c * run;
            if (run == 1) {
                layer->value[at] = map[0] * layer->in_value[at] + map[1];
            } else {
                slice->kernels->affine(layer->value + at, layer->in_value + at,
                                       map, run);
            }
        }
    }
}

/* As add_vector_squares, for Σ dy and Σ dy·(x - mean). */
static void add_vector_moments(const nn_layer *layer, double *sums, size_t at)
{
    const size_t n = layer->n_out;
    const double *mean = batch_statistics(layer);
    for (size_t c = 0; c < n; c++) {
        const double dy = (double)layer->gradient[at + c];
        sums[c] += dy;
        sums[n + c] += dy * ((double)layer->in_value[at + c] - mean[c]);
    }
}

static void batch_norm_sum_backward(const nn_layer *layer,
                                    const nn_slice *slice)
{
    const size_t channels = layer->out.channels;
    const size_t run = layer->n_out / channels;
    const double *statistics = batch_statistics(layer);
    double *sums = partial_sums(layer, slice->number);
    float *out = slice->gradient + layer->param_at;

    memset(sums, 0, 2 * channels * sizeof(double));
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        const size_t at = i * layer->n_out;
        if (run == 1) {
            add_vector_moments(layer, sums, at);
            continue;
        }
        for (size_t c = 0; c < channels; c++) {
            double both[3] = {0.0, 0.0, 0.0};
            slice->kernels->moments(both, layer->in_value + at + c * run,
                                    layer->gradient + at + c * run,
                                    statistics[c], run);
            sums[c] += both[0];
            sums[channels + c] += both[1];
        }
    }
    for (size_t c = 0; c < channels; c++) {
        sums[channels + c] *= statistics[channels + c];
        out[c] += (float)sums[channels + c];
        out[channels + c] += (float)sums[c];
    }
}

static void batch_norm_merge_backward(const nn_layer *layer,
                                      const nn_slice *slice)
{
    (void)slice;
    merge_sums(layer, merged_sums(layer));
}

/* dx = gamma/dev·(dy - mean(dy) - x̂·mean(dy·x̂)), as k0·dy + k1·x + k2. */
static void batch_norm_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t channels = layer->out.channels;
    const size_t run = layer->n_out / channels;
    const double n = (double)(slice->batch_count * run);
    const double *statistics = batch_statistics(layer);
    const double *sums = merged_sums(layer);

    for (size_t c = 0; layer->in_gradient != NULL && c < channels; c++) {
        const double inverse = statistics[channels + c];
        const double gain =
            (double)slice->params[layer->param_at + c] * inverse;
        const double slope = -gain * inverse * sums[channels + c] / n;
        const float map[3] = {
            (float)gain, (float)slope,
            (float)(-gain * sums[c] / n - slope * statistics[c])};
        for (size_t i = slice->first; i < slice->first + slice->count; i++) {
            const size_t at = i * layer->n_out + c * run;
            if (run == 1) {
                layer->in_gradient[at] = map[0] * layer->gradient[at] +
                                         map[1] * layer->in_value[at] + map[2];
            } else {
                slice->kernels->affine_back(layer->in_gradient + at,
                                            layer->in_value + at,
                                            layer->gradient + at, map, run);
            }
        }
    }
}

const nn_layer_ops nn_batch_norm_ops = {
    .shape = batch_norm_shape,
    .init = batch_norm_init,
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .sum_forward = batch_norm_sum_forward,
    .merge_forward = batch_norm_merge_forward,
    .sum_backward = batch_norm_sum_backward,
    .merge_backward = batch_norm_merge_backward,
};
