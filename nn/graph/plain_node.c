/* SPDX-License-Identifier: MIT
 * Plain execution: what each operator does to one block of images.
 *
 * Every inner loop runs over the lanes of one element, a fixed number, so that
 * compilers turn it into SIMD without being asked; sums run in one order.
 */
#include "nn/graph/plain_internal.h"

#include <math.h>
#include <string.h>

#include "nn/graph/graph_internal.h"

#define LANES NN_PLAIN_LANES
/* Output channels of a convolution, or outputs of a dense layer, that are
 * accumulated together: each loaded input is used so many times. */
#define ROWS 4

/* acc[r] += weights[r] · x for ROWS rows. */
static inline void accumulate(float acc[ROWS][LANES], const float weights[ROWS],
                              const float *restrict x)
{
    for (int r = 0; r < ROWS; r++) {
        for (size_t l = 0; l < LANES; l++) {
            acc[r][l] += weights[r] * x[l];
        }
    }
}

/* Starts n <= ROWS sums at their biases; the others are 0. */
static inline void start(float acc[ROWS][LANES], const float *bias, size_t n)
{
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t l = 0; l < LANES; l++) {
            acc[r][l] = r < n ? bias[r] : 0.0F;
        }
    }
}

/* The weights of rows 0..n-1 at one place; rows beyond n repeat row 0 (their
 * sums are thrown away). */
static inline void gather(float w[ROWS], const float *weights, size_t stride,
                          size_t n)
{
    for (size_t r = 0; r < ROWS; r++) {
        w[r] = weights[r < n ? r * stride : 0];
    }
}

static void run_dense(float *out, const nn_node *node, const float *in)
{
    const size_t n_out = node->param_shape.dim[0];
    const size_t n_in = node->param_shape.dim[1];
    float acc[ROWS][LANES], w[ROWS];

    for (size_t o = 0; o < n_out; o += ROWS) {
        const size_t n = n_out - o < ROWS ? n_out - o : ROWS;
        start(acc, node->bias + o, n);
        for (size_t i = 0; i < n_in; i++) {
            gather(w, node->weights + o * n_in + i, n_in, n);
            accumulate(acc, w, in + i * LANES);
        }
        memcpy(out + o * LANES, acc, n * sizeof acc[0]);
    }
}

/* The part of a window that lies on the picture, and where that begins. */
typedef struct patch {
    size_t first_h, end_h, first_w, end_w; /* taps */
    size_t h, w;                           /* of tap 0, plus pad */
} patch;

static patch patch_at(const nn_window *window, const nn_shape *in, size_t h,
                      size_t w)
{
    patch p = {.h = h * window->stride[0], .w = w * window->stride[1]};

    nn_window_taps(&p.first_h, &p.end_h, h, window->stride[0], window->pad[0],
                   window->dilation[0], window->kernel[0], in->dim[1]);
    nn_window_taps(&p.first_w, &p.end_w, w, window->stride[1], window->pad[1],
                   window->dilation[1], window->kernel[1], in->dim[2]);
    return p;
}

/* Element of a channel's plane under tap (kh, kw). */
static inline size_t patch_index(const patch *p, const nn_window *window,
                                 const nn_shape *in, size_t kh, size_t kw)
{
    const size_t h = p->h + kh * window->dilation[0] - window->pad[0];
    const size_t w = p->w + kw * window->dilation[1] - window->pad[1];

    return h * in->dim[2] + w;
}

/* Sums of n <= ROWS output channels from o on, at one place. */
static void conv_place(float acc[ROWS][LANES], const nn_node *node,
                       const nn_shape *in_shape, const float *in, size_t o,
                       size_t n, const patch *p)
{
    const nn_window *window = &node->window;
    const size_t depth = node->param_shape.dim[1];
    const size_t area = window->kernel[0] * window->kernel[1];
    const size_t plane = in_shape->dim[1] * in_shape->dim[2];
    float w[ROWS];

    start(acc, node->bias + o, n);
    for (size_t c = 0; c < depth; c++) {
        const float *kernel = node->weights + (o * depth + c) * area;
        for (size_t kh = p->first_h; kh < p->end_h; kh++) {
            for (size_t kw = p->first_w; kw < p->end_w; kw++) {
                gather(w, kernel + kh * window->kernel[1] + kw, depth * area,
                       n);
                accumulate(acc, w,
                           in + (c * plane +
                                 patch_index(p, window, in_shape, kh, kw)) *
                                    LANES);
            }
        }
    }
}

static void run_conv(float *out, const nn_node *node, const float *in,
                     const nn_shape *in_shape)
{
    const size_t plane_in = in_shape->dim[1] * in_shape->dim[2];
    const size_t height = node->shape.dim[1], width = node->shape.dim[2];
    const size_t in_group = node->shape.dim[0] / node->groups; /* outputs */
    const size_t depth = node->param_shape.dim[1];
    float acc[ROWS][LANES];

    for (size_t h = 0; h < height; h++) {
        for (size_t w = 0; w < width; w++) {
            const patch p = patch_at(&node->window, in_shape, h, w);
            for (size_t o = 0; o < node->shape.dim[0];) {
                const size_t group = o / in_group;
                const size_t left = (group + 1) * in_group - o;
                const size_t n = left < ROWS ? left : ROWS;
                conv_place(acc, node, in_shape,
                           in + group * depth * plane_in * LANES, o, n, &p);
                for (size_t r = 0; r < n; r++) {
                    memcpy(out + (((o + r) * height + h) * width + w) * LANES,
                           acc[r], sizeof acc[r]);
                }
                o += n;
            }
        }
    }
}

/* Average or maximum of one channel's plane under one window. */
static void pool_place(float *out, const nn_node *node, const nn_shape *in,
                       const float *plane, const patch *p)
{
    const bool maximum = node->op == NN_OP_MAX_POOL;
    const nn_window *window = &node->window;
    const size_t on_picture = (p->end_h - p->first_h) * (p->end_w - p->first_w);
    const size_t divisor = window->count_include_pad
                               ? window->kernel[0] * window->kernel[1]
                               : on_picture;

    for (size_t l = 0; l < LANES; l++) {
        out[l] = maximum ? -INFINITY : 0.0F;
    }
    for (size_t kh = p->first_h; kh < p->end_h; kh++) {
        for (size_t kw = p->first_w; kw < p->end_w; kw++) {
            const float *x = plane + patch_index(p, window, in, kh, kw) * LANES;
            for (size_t l = 0; l < LANES; l++) {
                if (maximum) {
                    out[l] = x[l] > out[l] ? x[l] : out[l];
                } else {
                    out[l] += x[l];
                }
            }
        }
    }
    for (size_t l = 0; l < LANES && !maximum; l++) {
        out[l] /= (float)divisor;
    }
}

static void run_pool(float *out, const nn_node *node, const float *in,
                     const nn_shape *in_shape)
{
    const size_t plane = in_shape->dim[1] * in_shape->dim[2];

    for (size_t c = 0; c < node->shape.dim[0]; c++) {
        for (size_t h = 0; h < node->shape.dim[1]; h++) {
            for (size_t w = 0; w < node->shape.dim[2]; w++) {
                const patch p = patch_at(&node->window, in_shape, h, w);
                pool_place(out, node, in_shape, in + c * plane * LANES, &p);
                out += LANES;
            }
        }
    }
}

/* The next place in row-major order; at follows with the given strides. */
static void step_place(size_t *place, size_t *at, const nn_shape *shape,
                       const size_t *stride)
{
    for (int d = shape->rank - 1; d >= 0; d--) {
        *at += stride[d];
        if (++place[d] < shape->dim[d]) {
            return;
        }
        *at -= stride[d] * shape->dim[d];
        place[d] = 0;
    }
}

static void run_scale_shift(float *out, const nn_node *node, const float *in)
{
    const size_t n = nn_shape_size(&node->shape);
    size_t stride[NN_MAX_RANK], place[NN_MAX_RANK] = {0};
    size_t at = 0;

    nn_shape_strides(stride, &node->param_shape, &node->shape);
    for (size_t i = 0; i < n; i++) {
        const float scale = node->weights[at], shift = node->bias[at];
        for (size_t l = 0; l < LANES; l++) {
            out[i * LANES + l] = scale * in[i * LANES + l] + shift;
        }
        step_place(place, &at, &node->shape, stride);
    }
}

static void run_binary(float *out, nn_op op, const float *a, const float *b,
                       size_t n)
{
    for (size_t i = 0; i < n * LANES; i++) {
        if (op == NN_OP_MULTIPLY) {
            out[i] = a[i] * b[i];
        } else {
            out[i] = op == NN_OP_ADD ? a[i] + b[i] : a[i] - b[i];
        }
    }
}

static void run_transpose(float *out, const nn_node *node, const float *in,
                          const nn_shape *in_shape)
{
    const size_t n = nn_shape_size(&node->shape);
    size_t in_stride[NN_MAX_RANK], stride[NN_MAX_RANK];
    size_t place[NN_MAX_RANK] = {0};
    size_t at = 0, step = 1;

    for (int d = in_shape->rank - 1; d >= 0; d--) {
        in_stride[d] = step;
        step *= in_shape->dim[d];
    }
    for (int d = 0; d < node->shape.rank; d++) {
        stride[d] = in_stride[node->perm[d]];
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(out + i * LANES, in + at * LANES, LANES * sizeof *out);
        step_place(place, &at, &node->shape, stride);
    }
}

static void run_pad(float *out, const nn_node *node, const float *in,
                    const nn_shape *in_shape)
{
    const size_t n = nn_shape_size(&node->shape);
    size_t place[NN_MAX_RANK] = {0}, stride[NN_MAX_RANK];
    size_t at = 0, step = 1;

    for (size_t i = 0; i < n * LANES; i++) {
        out[i] = node->pad_value;
    }
    for (int d = node->shape.rank - 1; d >= 0; d--) {
        stride[d] = step;
        at += node->pad_before[d] * step;
        step *= node->shape.dim[d];
    }
    for (size_t i = 0; i < nn_shape_size(in_shape); i++) {
        memcpy(out + at * LANES, in + i * LANES, LANES * sizeof *out);
        step_place(place, &at, in_shape, stride);
    }
}

static void run_concat(float *out, const nn_graph *graph, const nn_node *node,
                       float *const *buffers, const int *buffer)
{
    size_t outer = 1;

    for (int d = 0; d < node->axis; d++) {
        outer *= node->shape.dim[d];
    }
    for (size_t i = 0; i < outer; i++) {
        for (int k = 0; k < node->n_inputs; k++) {
            const int x = node->inputs[k];
            const size_t run = nn_shape_size(&graph->nodes[x].shape) / outer;
            memcpy(out, buffers[buffer[x]] + i * run * LANES,
                   run * LANES * sizeof *out);
            out += run * LANES;
        }
    }
}

static void run_softmax(float *out, const float *in, size_t n)
{
    for (size_t l = 0; l < LANES; l++) {
        float largest = in[l], sum = 0.0F;
        for (size_t i = 1; i < n; i++) {
            largest = fmaxf(largest, in[i * LANES + l]);
        }
        for (size_t i = 0; i < n; i++) {
            out[i * LANES + l] = expf(in[i * LANES + l] - largest);
            sum += out[i * LANES + l];
        }
        for (size_t i = 0; i < n; i++) {
            out[i * LANES + l] /= sum;
        }
    }
}

void nn_plain_node(float *out, const nn_graph *graph, const nn_node *node,
                   float *const *buffers, const int *buffer)
{
    const int x = node->inputs[0];
    const float *in = buffers[buffer[x]];
    const nn_shape *in_shape = &graph->nodes[x].shape;
    const size_t n = nn_shape_size(&node->shape);

    switch (node->op) {
    case NN_OP_CONV:
        run_conv(out, node, in, in_shape);
        break;
    case NN_OP_DENSE:
        run_dense(out, node, in);
        break;
    case NN_OP_SCALE_SHIFT:
        run_scale_shift(out, node, in);
        break;
    case NN_OP_AVERAGE_POOL:
    case NN_OP_MAX_POOL:
        run_pool(out, node, in, in_shape);
        break;
    case NN_OP_RELU:
        for (size_t i = 0; i < n * LANES; i++) {
            out[i] = in[i] > 0.0F ? in[i] : 0.0F;
        }
        break;
    case NN_OP_SQUARE:
        run_binary(out, NN_OP_MULTIPLY, in, in, n);
        break;
    case NN_OP_MULTIPLY:
    case NN_OP_ADD:
    case NN_OP_SUBTRACT:
        run_binary(out, node->op, in, buffers[buffer[node->inputs[1]]], n);
        break;
    case NN_OP_CONCAT:
        run_concat(out, graph, node, buffers, buffer);
        break;
    case NN_OP_RESHAPE:
        memcpy(out, in, n * LANES * sizeof *out);
        break;
    case NN_OP_TRANSPOSE:
        run_transpose(out, node, in, in_shape);
        break;
    case NN_OP_PAD:
        run_pad(out, node, in, in_shape);
        break;
    case NN_OP_SOFTMAX:
        run_softmax(out, in, n);
        break;
    case NN_OP_INPUT:
        break; /* loaded by the caller */
    }
}
