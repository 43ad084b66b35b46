/* SPDX-License-Identifier: MIT
 * Test helper: networks made at random.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"
#include "tests/support/nn_reference.h"

typedef struct maker {
    nn_graph *graph;
    test_random random;
    test_net_kind kind;
    int last; /* node to go on from */
    int serial;
    char name[32];
} maker;

static const char *next_name(maker *m)
{
    (void)snprintf(m->name, sizeof m->name, "n%d", m->serial++);
    return m->name;
}

static size_t pick(maker *m, size_t n)
{
    return test_random_below(&m->random, n);
}

static const nn_shape *shape_of(const maker *m)
{
    return &m->graph->nodes[m->last].shape;
}

/* A constant shape that stretches to the last value. */
static nn_shape constant_shape(maker *m)
{
    nn_shape shape = *shape_of(m);
    const size_t form = pick(m, 3);

    if (form == 0) {
        return (nn_shape){.rank = 0};
    }
    for (int d = form == 1 ? 1 : shape.rank; d < shape.rank; d++) {
        shape.dim[d] = 1;
    }
    return shape;
}

static void add_conv(maker *m)
{
    const nn_shape in = *shape_of(m);
    nn_conv conv = {.groups = 1};

    conv.out_channels = 1 + pick(m, 6);
    if (in.dim[0] % 2 == 0 && pick(m, 3) == 0) {
        conv.groups = 2;
        conv.out_channels = 2 * (1 + pick(m, 5));
    }
    for (int i = 0; i < 2; i++) {
        conv.window.kernel[i] = 1 + pick(m, m->kind == TEST_NET_WIDE ? 7 : 4);
        conv.window.stride[i] = 1 + pick(m, 3);
        conv.window.dilation[i] = 1 + pick(m, 2);
        conv.window.pad[i] = pick(m, 3);
        conv.window.pad[i + 2] = pick(m, 3);
        while ((conv.window.kernel[i] - 1) * conv.window.dilation[i] + 1 >
               in.dim[1 + i]) {
            conv.window.kernel[i]--;
        }
    }
    const size_t fan =
        in.dim[0] / conv.groups * conv.window.kernel[0] * conv.window.kernel[1];
    const double bound = 1.5 / sqrt((double)fan);
    float *w =
        test_random_floats(&m->random, fan * conv.out_channels, -bound, bound);
    float *b = test_random_floats(&m->random, conv.out_channels, -0.5, 0.5);
    conv.weights = w;
    conv.bias = pick(m, 4) == 0 ? NULL : b;
    SOTTO_ASSERT(nn_graph_conv(m->graph, &m->last, next_name(m), m->last, &conv,
                               NULL) == SOTTO_OK);
    free(w);
    free(b);
}

static void add_dense(maker *m, size_t n_out)
{
    const nn_shape flat = {.rank = 1, .dim = {nn_shape_size(shape_of(m))}};
    const double bound = 1.5 / sqrt((double)flat.dim[0]);

    if (shape_of(m)->rank != 1) {
        SOTTO_ASSERT(nn_graph_reshape(m->graph, &m->last, next_name(m), m->last,
                                      &flat, NULL) == SOTTO_OK);
    }
    float *w =
        test_random_floats(&m->random, n_out * flat.dim[0], -bound, bound);
    float *b = test_random_floats(&m->random, n_out, -0.5, 0.5);
    SOTTO_ASSERT(nn_graph_dense(m->graph, &m->last, next_name(m), m->last,
                                n_out, w, b, NULL) == SOTTO_OK);
    free(w);
    free(b);
}

static void add_scale_shift(maker *m)
{
    const nn_shape param = constant_shape(m);
    const size_t n = nn_shape_size(&param);
    float *scale = test_random_floats(&m->random, n, -1.2, 1.2);
    float *shift = test_random_floats(&m->random, n, -0.5, 0.5);

    SOTTO_ASSERT(nn_graph_scale_shift(m->graph, &m->last, next_name(m), m->last,
                                      &param, scale, shift, NULL) == SOTTO_OK);
    free(scale);
    free(shift);
}

static void add_pool(maker *m, nn_op op)
{
    nn_window window = {.count_include_pad = pick(m, 2) == 0};

    for (int i = 0; i < 2; i++) {
        const size_t size = shape_of(m)->dim[1 + i];
        window.kernel[i] = size < 2 ? 1 : 1 + pick(m, size < 3 ? size : 3);
        window.stride[i] = 1 + pick(m, 2);
        window.pad[i] = pick(m, window.kernel[i]);
        window.pad[i + 2] = pick(m, window.kernel[i]);
    }
    SOTTO_ASSERT(nn_graph_pool(m->graph, &m->last, next_name(m), m->last, op,
                               &window, NULL) == SOTTO_OK);
}

static void add_binary(maker *m, int x, int y, nn_op op)
{
    SOTTO_ASSERT(nn_graph_binary(m->graph, &m->last, next_name(m), x, y, op,
                                 NULL) == SOTTO_OK);
}

static void add_unary(maker *m, nn_op op)
{
    SOTTO_ASSERT(nn_graph_unary(m->graph, &m->last, next_name(m), m->last, op,
                                NULL) == SOTTO_OK);
}

/* a·x² + b·x + c in one of several spellings. */
static void add_quadratic(maker *m)
{
    const nn_shape param = constant_shape(m);
    const size_t n = nn_shape_size(&param);
    float *a = test_random_floats(&m->random, n, 0.05, 0.6);
    float *b = test_random_floats(&m->random, n, -0.5, 0.5);
    float *c = test_random_floats(&m->random, n, -0.5, 0.5);
    const int x = m->last;
    int square;

    for (size_t i = 0; i < n; i++) {
        a[i] = pick(m, 2) == 0 ? a[i] : -a[i];
        a[i] = pick(m, 6) == 0 ? 0.0F : a[i];
    }
    switch (pick(m, 4)) {
    case 0:
        add_unary(m, NN_OP_SQUARE);
        break;
    case 1: /* a·(x·x) + b·x + c as a sum of two branches */
        add_unary(m, NN_OP_SQUARE);
        SOTTO_ASSERT(nn_graph_scale_shift(m->graph, &square, next_name(m),
                                          m->last, &param, a, NULL,
                                          NULL) == SOTTO_OK);
        SOTTO_ASSERT(nn_graph_scale_shift(m->graph, &m->last, next_name(m), x,
                                          &param, b, c, NULL) == SOTTO_OK);
        add_binary(m, square, m->last, NN_OP_ADD);
        break;
    default:
        SOTTO_ASSERT(nn_graph_polynomial(
                         m->graph, &m->last, next_name(m), m->last, &param, a,
                         b, pick(m, 2) == 0 ? NULL : c, NULL) == SOTTO_OK);
        break;
    }
    free(a);
    free(b);
    free(c);
}

/* Shuffles elements without changing the shape's meaning. */
static void add_permutation(maker *m)
{
    const int perm[3] = {0, 2, 1};
    const size_t before[3] = {0, pick(m, 2), 1}, after[3] = {0, 1, pick(m, 2)};

    if (shape_of(m)->rank != 3) {
        return;
    }
    if (pick(m, 2) == 0) {
        SOTTO_ASSERT(nn_graph_transpose(m->graph, &m->last, next_name(m),
                                        m->last, perm, NULL) == SOTTO_OK);
    } else {
        SOTTO_ASSERT(nn_graph_pad(m->graph, &m->last, next_name(m), m->last,
                                  before, after, 0.25F, NULL) == SOTTO_OK);
    }
}

/* Joins the value with a scaled copy of itself, or with an activation. */
static void add_branch(maker *m)
{
    const int x = m->last;

    add_scale_shift(m);
    if (pick(m, 2) == 0) {
        add_quadratic(m);
    }
    if (pick(m, 2) == 0) {
        add_binary(m, x, m->last, pick(m, 2) == 0 ? NN_OP_ADD : NN_OP_SUBTRACT);
        return;
    }
    const int parts[2] = {x, m->last};
    SOTTO_ASSERT(nn_graph_concat(m->graph, &m->last, next_name(m), parts, 2, 0,
                                 NULL) == SOTTO_OK);
}

static void add_nonlinear(maker *m)
{
    const int x = m->last;

    if (m->kind != TEST_NET_ANYTHING || pick(m, 2) == 0) {
        add_quadratic(m);
        return;
    }
    switch (pick(m, 3)) {
    case 0:
        add_unary(m, NN_OP_RELU);
        break;
    case 1: /* a cubic, x·(x² - 1) */
        add_unary(m, NN_OP_SQUARE);
        add_scale_shift(m);
        add_binary(m, m->last, x, NN_OP_MULTIPLY);
        break;
    default:
        if (shape_of(m)->rank == 3) {
            add_pool(m, NN_OP_MAX_POOL);
        }
        break;
    }
}

nn_graph *test_random_network(uint64_t seed, test_net_kind kind)
{
    maker m = {.random = {seed * UINT64_C(0x9E3779B97F4A7C15) + 1},
               .kind = kind};
    nn_shape shape = {.rank = 3};

    shape.dim[0] = 1 + pick(&m, 3);
    shape.dim[1] = 6 + pick(&m, kind == TEST_NET_WIDE ? 12 : 5);
    shape.dim[2] = 6 + pick(&m, kind == TEST_NET_WIDE ? 12 : 5);
    SOTTO_ASSERT(nn_graph_new(&m.graph, "image", &shape, NULL) == SOTTO_OK);
    const size_t n_layers = 2 + pick(&m, 3);
    for (size_t i = 0; i < n_layers; i++) {
        if (shape_of(&m)->rank == 3 && pick(&m, 4) != 0) {
            add_conv(&m);
        } else {
            add_dense(&m, 3 + pick(&m, 20));
        }
        if (pick(&m, 3) == 0) {
            add_scale_shift(&m);
        }
        if (pick(&m, 3) == 0) {
            add_permutation(&m);
        }
        add_nonlinear(&m);
        if (pick(&m, 3) == 0) {
            add_branch(&m);
        }
        if (shape_of(&m)->rank == 3 && pick(&m, 3) == 0) {
            add_pool(&m, NN_OP_AVERAGE_POOL);
        }
    }
    add_dense(&m, 4);
    return m.graph;
}
