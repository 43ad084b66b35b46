/* SPDX-License-Identifier: MIT
 * Test helper: the slow, obvious way to run a network.
 */
#include "tests/support/nn_reference.h"

#include <math.h>
#include <stdlib.h>

#include "base/status.h"

size_t test_random_below(test_random *random, size_t n)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return (size_t)((random->state * UINT64_C(2685821657736338717)) >> 33) % n;
}

double test_random_between(test_random *random, double low, double high)
{
    return low +
           (high - low) * ((double)test_random_below(random, (size_t)1 << 24) /
                           (double)(1 << 24));
}

float *test_random_floats(test_random *random, size_t n, double low,
                          double high)
{
    float *out = malloc((n + 1) * sizeof *out);

    SOTTO_ASSERT(out != NULL);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)test_random_between(random, low, high);
    }
    return out;
}

/* Element of a [C,H,W] value, or none where it lies outside. */
static int inside(const nn_shape *shape, long h, long w)
{
    return h >= 0 && w >= 0 && h < (long)shape->dim[1] &&
           w < (long)shape->dim[2];
}

static double at(const nn_shape *shape, const double *x, size_t c, long h,
                 long w)
{
    return x[(c * shape->dim[1] + (size_t)h) * shape->dim[2] + (size_t)w];
}

/* Sum, maximum and count over one window of channel c; weights NULL: 1. */
typedef struct window_result {
    double sum, max;
    long count;
} window_result;

static window_result over_window(const nn_window *win, const nn_shape *shape,
                                 const double *x, size_t c, size_t oh,
                                 size_t ow, const float *weights)
{
    window_result out = {0.0, -INFINITY, 0};

    for (size_t kh = 0; kh < win->kernel[0]; kh++) {
        for (size_t kw = 0; kw < win->kernel[1]; kw++) {
            const long h = (long)(oh * win->stride[0] + kh * win->dilation[0]) -
                           (long)win->pad[0];
            const long w = (long)(ow * win->stride[1] + kw * win->dilation[1]) -
                           (long)win->pad[1];
            if (!inside(shape, h, w)) {
                continue;
            }
            const double v = at(shape, x, c, h, w);
            const double weight =
                weights == NULL ? 1.0
                                : (double)weights[kh * win->kernel[1] + kw];
            out.sum += weight * v;
            out.max = v > out.max ? v : out.max;
            out.count++;
        }
    }
    return out;
}

static double windowed(const nn_node *node, const nn_shape *in, const double *x,
                       size_t o, size_t h, size_t w)
{
    const nn_window *win = &node->window;

    if (node->op == NN_OP_CONV) {
        const size_t depth = in->dim[0] / node->groups;
        const size_t group = o / (node->shape.dim[0] / node->groups);
        double sum = (double)node->bias[o];
        for (size_t c = 0; c < depth; c++) {
            sum +=
                over_window(win, in, x, group * depth + c, h, w,
                            node->weights + (o * depth + c) * win->kernel[0] *
                                                win->kernel[1])
                    .sum;
        }
        return sum;
    }
    const window_result r = over_window(win, in, x, o, h, w, NULL);
    if (node->op == NN_OP_MAX_POOL) {
        return r.max;
    }
    return r.sum / (win->count_include_pad
                        ? (double)(win->kernel[0] * win->kernel[1])
                        : (double)r.count);
}

/* Coordinates of element i. */
static void coordinates(size_t *out, const nn_shape *shape, size_t i)
{
    for (int d = shape->rank - 1; d >= 0; d--) {
        out[d] = i % shape->dim[d];
        i /= shape->dim[d];
    }
}

static size_t element(const nn_shape *shape, const size_t *place)
{
    size_t out = 0;

    for (int d = 0; d < shape->rank; d++) {
        out = out * shape->dim[d] + place[d];
    }
    return out;
}

/* Which element of a constant belongs to a place. */
static size_t stretched(const nn_shape *param, const nn_shape *shape,
                        const size_t *place)
{
    size_t out = 0;

    for (int d = 0; d < param->rank; d++) {
        const size_t p = place[shape->rank - param->rank + d];
        out = out * param->dim[d] + (param->dim[d] == 1 ? 0 : p);
    }
    return out;
}

static double concatenated(const nn_graph *graph, const nn_node *node,
                           double **values, size_t *place)
{
    for (int k = 0; k < node->n_inputs; k++) {
        const nn_shape *in = &graph->nodes[node->inputs[k]].shape;
        if (place[node->axis] < in->dim[node->axis]) {
            return values[node->inputs[k]][element(in, place)];
        }
        place[node->axis] -= in->dim[node->axis];
    }
    return NAN;
}

static double padded(const nn_node *node, const nn_shape *in, const double *x,
                     size_t *place)
{
    for (int d = 0; d < in->rank; d++) {
        if (place[d] < node->pad_before[d] ||
            place[d] >= node->pad_before[d] + in->dim[d]) {
            return (double)node->pad_value;
        }
        place[d] -= node->pad_before[d];
    }
    return x[element(in, place)];
}

static double softmax(const double *x, size_t n, size_t i)
{
    double largest = x[0], sum = 0.0;

    for (size_t k = 0; k < n; k++) {
        largest = fmax(largest, x[k]);
    }
    for (size_t k = 0; k < n; k++) {
        sum += exp(x[k] - largest);
    }
    return exp(x[i] - largest) / sum;
}

/* Element i of a node's value. */
static double value_of(const nn_graph *graph, const nn_node *node,
                       double **values, size_t i)
{
    const nn_shape *in = &graph->nodes[node->inputs[0]].shape;
    const double *x = values[node->inputs[0]];
    const double *y = values[node->inputs[node->n_inputs - 1]];
    size_t place[NN_MAX_RANK] = {0}, from[NN_MAX_RANK] = {0};
    double sum;

    coordinates(place, &node->shape, i);
    switch (node->op) {
    case NN_OP_CONV:
    case NN_OP_AVERAGE_POOL:
    case NN_OP_MAX_POOL:
        return windowed(node, in, x, place[0], place[1], place[2]);
    case NN_OP_DENSE:
        sum = (double)node->bias[i];
        for (size_t k = 0; k < in->dim[0]; k++) {
            sum += (double)node->weights[i * in->dim[0] + k] * x[k];
        }
        return sum;
    case NN_OP_SCALE_SHIFT:
        return (double)node->weights[stretched(&node->param_shape, in, place)] *
                   x[i] +
               (double)node->bias[stretched(&node->param_shape, in, place)];
    case NN_OP_RELU:
        return fmax(x[i], 0.0);
    case NN_OP_SQUARE:
        return x[i] * x[i];
    case NN_OP_MULTIPLY:
        return x[i] * y[i];
    case NN_OP_ADD:
        return x[i] + y[i];
    case NN_OP_SUBTRACT:
        return x[i] - y[i];
    case NN_OP_CONCAT:
        return concatenated(graph, node, values, place);
    case NN_OP_RESHAPE:
        return x[i];
    case NN_OP_TRANSPOSE:
        for (int d = 0; d < in->rank; d++) {
            from[node->perm[d]] = place[d];
        }
        return x[element(in, from)];
    case NN_OP_PAD:
        return padded(node, in, x, place);
    case NN_OP_SOFTMAX:
        return softmax(x, in->dim[0], i);
    case NN_OP_INPUT:
        break;
    }
    return NAN;
}

double **test_reference_run(const nn_graph *graph, const float *image)
{
    double **values = calloc((size_t)graph->n_nodes, sizeof *values);

    SOTTO_ASSERT(values != NULL);
    for (int id = 0; id < graph->n_nodes; id++) {
        const nn_node *node = &graph->nodes[id];
        const size_t n = nn_shape_size(&node->shape);
        values[id] = malloc(n * sizeof(double));
        SOTTO_ASSERT(values[id] != NULL);
        for (size_t i = 0; i < n; i++) {
            values[id][i] =
                id == 0 ? (double)image[i] : value_of(graph, node, values, i);
        }
    }
    return values;
}

void test_reference_free(const nn_graph *graph, double **values)
{
    for (int id = 0; id < graph->n_nodes; id++) {
        free(values[id]);
    }
    free(values);
}
