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
    const size_t begin = slice->first * layer->n_out;
    const size_t end = begin + slice->count * layer->n_out;
    for (size_t i = begin; i < end; i++) {
        const float x = layer->in_value[i];
        layer->value[i] = x > 0.0f ? x : 0.0f;
    }
}

static void relu_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t begin = slice->first * layer->n_out;
    const size_t end = begin + slice->count * layer->n_out;
    for (size_t i = begin; layer->in_gradient != NULL && i < end; i++) {
        layer->in_gradient[i] =
            layer->in_value[i] > 0.0f ? layer->gradient[i] : 0.0f;
    }
}

const nn_layer_ops nn_relu_ops = {
    .shape = nn_layer_keep_shape,
    .forward = relu_forward,
    .backward = relu_backward,
};

static void square_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t begin = slice->first * layer->n_out;
    const size_t end = begin + slice->count * layer->n_out;
    for (size_t i = begin; i < end; i++) {
        layer->value[i] = layer->in_value[i] * layer->in_value[i];
    }
}

static void square_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t begin = slice->first * layer->n_out;
    const size_t end = begin + slice->count * layer->n_out;
    for (size_t i = begin; layer->in_gradient != NULL && i < end; i++) {
        layer->in_gradient[i] = 2.0f * layer->in_value[i] * layer->gradient[i];
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

static void quadratic_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t n = layer->n_params / 3;
    const size_t run = layer->n_out / n;
    const float *params = slice->params + layer->param_at;
    const float *x = layer->in_value + slice->first * layer->n_out;
    float *y = layer->value + slice->first * layer->n_out;

    for (size_t i = 0; i < slice->count; i++) {
        for (size_t k = 0; k < n; k++, x += run, y += run) {
            const float a = params[k];
            const float b = params[n + k];
            const float c = params[2 * n + k];
            for (size_t j = 0; j < run; j++) {
                y[j] = (a * x[j] + b) * x[j] + c;
            }
        }
    }
}

static void quadratic_backward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t n = layer->n_params / 3;
    const size_t run = layer->n_out / n;
    const float *params = slice->params + layer->param_at;
    float *out = slice->gradient + layer->param_at;

    for (size_t i = 0; i < slice->count; i++) {
        for (size_t k = 0; k < n; k++) {
            const size_t at = (slice->first + i) * layer->n_out + k * run;
            const float *x = layer->in_value + at;
            const float *dy = layer->gradient + at;
            double sum[3] = {0.0, 0.0, 0.0};
            for (size_t j = 0; j < run; j++) {
                const double term = (double)dy[j] * (double)x[j];
                sum[0] += term * (double)x[j];
                sum[1] += term;
                sum[2] += (double)dy[j];
            }
            out[k] += (float)sum[0];
            out[n + k] += (float)sum[1];
            out[2 * n + k] += (float)sum[2];
            if (layer->in_gradient != NULL) {
                float *dx = layer->in_gradient + at;
                for (size_t j = 0; j < run; j++) {
                    dx[j] = (2.0f * params[k] * x[j] + params[n + k]) * dy[j];
                }
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

static void batch_norm_sum_forward(const nn_layer *layer, const nn_slice *slice)
{
    const size_t channels = layer->out.channels;
    const size_t run = layer->n_out / channels;
    double *sums = partial_sums(layer, slice->number);

    memset(sums, 0, 2 * channels * sizeof(double));
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        for (size_t c = 0; c < channels; c++) {
            const float *x = layer->in_value + i * layer->n_out + c * run;
            double sum = 0.0;
            double squares = 0.0;
            for (size_t j = 0; j < run; j++) {
                sum += (double)x[j];
                squares += (double)x[j] * (double)x[j];
            }
            sums[c] += sum;
            sums[channels + c] += squares;
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
        float scale, shift;
        channel_map(layer, slice, c, &scale, &shift);
        for (size_t i = slice->first; i < slice->first + slice->count; i++) {
            const size_t at = i * layer->n_out + c * run;
            for (size_t j = at; j < at + run; j++) {
                layer->value[j] = scale * layer->in_value[j] + shift;
            }
        }
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
        for (size_t c = 0; c < channels; c++) {
            const size_t at = i * layer->n_out + c * run;
            double sum = 0.0;
            double products = 0.0;
            for (size_t j = at; j < at + run; j++) {
                const double dy = (double)layer->gradient[j];
                sum += dy;
                products += dy * ((double)layer->in_value[j] - statistics[c]);
            }
            sums[c] += sum;
            sums[channels + c] += products * statistics[channels + c];
        }
    }
    for (size_t c = 0; c < channels; c++) {
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
        const float k0 = (float)gain;
        const float k1 = (float)slope;
        const float k2 = (float)(-gain * sums[c] / n - slope * statistics[c]);
        for (size_t i = slice->first; i < slice->first + slice->count; i++) {
            const size_t at = i * layer->n_out + c * run;
            for (size_t j = at; j < at + run; j++) {
                layer->in_gradient[j] =
                    k0 * layer->gradient[j] + k1 * layer->in_value[j] + k2;
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
