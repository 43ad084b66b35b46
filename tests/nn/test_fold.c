/* SPDX-License-Identifier: MIT
 * Folding: the folded network computes what the graph computes; activations
 * are recognised in every spelling; what cannot be done is refused by name.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph/fold.h"
#include "tests/support/nn_reference.h"

#define OK(expr) assert_int_equal((expr), SOTTO_OK)

/* Folded against the slow, obvious way. */
static void check_equal(const nn_graph *graph, const nn_network *network,
                        uint64_t seed)
{
    const size_t n_images = 35;
    test_random random = {seed + 1000};
    const size_t n_in = network->n_inputs, n_out = network->n_outputs;
    float *in = test_random_floats(&random, n_images * n_in, -1.0, 1.0);
    double *out = calloc(n_images * n_out, sizeof *out);
    const int last = graph->n_nodes - 1 - (network->softmax ? 1 : 0);

    OK(nn_network_run(network, NULL, out, in, n_images, NULL, NULL));
    for (size_t k = 0; k < n_images; k++) {
        double **values = test_reference_run(graph, in + k * n_in);
        for (size_t i = 0; i < n_out; i++) {
            const double want = values[last][i];
            if (!(fabs(out[k * n_out + i] - want) <=
                  1e-9 * fmax(1.0, fabs(want)))) {
                fail_msg("seed %llu: image %zu score %zu: %g, expected %g",
                         (unsigned long long)seed, k, i, out[k * n_out + i],
                         want);
            }
        }
        test_reference_free(graph, values);
    }
    free(in);
    free(out);
}

static void test_nn_network_equals_graph(void **state)
{
    const nn_fold_options options = {.max_shift = 1e6};

    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        nn_graph *graph = test_random_network(seed, TEST_NET_SQUARES);
        nn_network *network;
        OK(nn_network_new(&network, graph, &options, NULL));
        for (size_t k = 0; k < network->n_steps; k++) {
            const nn_step_kind kind = network->steps[k].kind;
            assert_true(kind == NN_STEP_AFFINE || kind == NN_STEP_SQUARE);
        }
        check_equal(graph, network, seed);
        nn_network_free(network);
        nn_graph_free(graph);
    }
}

static void test_nn_network_equals_graph_of_any_kind(void **state)
{
    const nn_fold_options options = {.max_shift = 1e6};

    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        nn_graph *graph = test_random_network(seed, TEST_NET_ANYTHING);
        nn_network *network;
        OK(nn_network_new(&network, graph, &options, NULL));
        check_equal(graph, network, seed);
        nn_network_free(network);
        nn_graph_free(graph);
    }
}

/* A vector input of n elements. */
static nn_graph *vector_graph(size_t n)
{
    const nn_shape shape = {.rank = 1, .dim = {n}};
    nn_graph *graph;

    OK(nn_graph_new(&graph, "x", &shape, NULL));
    return graph;
}

/* Appends a dense layer with weights that follow from its size. */
static int dense(nn_graph *graph, const char *name, int x, size_t n_out)
{
    const size_t n_in = graph->nodes[x].shape.dim[0];
    test_random random = {n_in * 131 + n_out};
    float *w = test_random_floats(&random, n_in * n_out, -1.0, 1.0);
    float *b = test_random_floats(&random, n_out, -1.0, 1.0);
    int id;

    OK(nn_graph_dense(graph, &id, name, x, n_out, w, b, NULL));
    free(w);
    free(b);
    return id;
}

static int unary(nn_graph *graph, const char *name, int x, nn_op op)
{
    int id;

    OK(nn_graph_unary(graph, &id, name, x, op, NULL));
    return id;
}

static int binary(nn_graph *graph, const char *name, int x, int y, nn_op op)
{
    int id;

    OK(nn_graph_binary(graph, &id, name, x, y, op, NULL));
    return id;
}

/* scale·x + shift with one number each. */
static int scaled(nn_graph *graph, const char *name, int x, float scale,
                  float shift)
{
    const nn_shape scalar = {.rank = 0};
    int id;

    OK(nn_graph_scale_shift(graph, &id, name, x, &scalar, &scale, &shift,
                            NULL));
    return id;
}

/* Folds, checks equality and the kinds of steps: a affine, s square, p poly,
 * r relu. */
static nn_network *fold_as(const nn_graph *graph, const char *kinds)
{
    nn_network *network;

    OK(nn_network_new(&network, graph, NULL, NULL));
    assert_int_equal(network->n_steps, strlen(kinds));
    for (size_t k = 0; k < network->n_steps; k++) {
        assert_int_equal(kinds[k], "asprm"[network->steps[k].kind]);
    }
    check_equal(graph, network, 1);
    return network;
}

static void test_nn_network_recognises_spellings(void **state)
{
    (void)state;
    for (int spelling = 0; spelling < 6; spelling++) {
        nn_graph *graph = vector_graph(5);
        const int x = dense(graph, "d1", 0, 4);
        int y, z;
        switch (spelling) {
        case 0: /* x·x */
            y = binary(graph, "xx", x, x, NN_OP_MULTIPLY);
            break;
        case 1: /* ((a·x)+b)·x + c */
            y = scaled(graph, "axb", x, -0.5F, 0.25F);
            y = binary(graph, "xx", y, x, NN_OP_MULTIPLY);
            y = scaled(graph, "c", y, 1.0F, 0.7F);
            break;
        case 2: /* x·(a·x + b) */
            y = scaled(graph, "axb", x, 0.5F, 0.25F);
            y = binary(graph, "xx", x, y, NN_OP_MULTIPLY);
            break;
        case 3: /* a·x² + (b·x + c) */
            y = unary(graph, "xx", x, NN_OP_SQUARE);
            y = scaled(graph, "axx", y, 0.3F, 0.0F);
            z = scaled(graph, "bxc", x, 0.2F, 0.1F);
            y = binary(graph, "sum", z, y, NN_OP_ADD);
            break;
        case 4: /* x - a·x² */
            y = unary(graph, "xx", x, NN_OP_SQUARE);
            y = scaled(graph, "axx", y, 0.3F, 0.0F);
            y = binary(graph, "sum", x, y, NN_OP_SUBTRACT);
            break;
        default: /* (x+1)·(x-1), then scaled */
            y = scaled(graph, "plus", x, 1.0F, 1.0F);
            z = scaled(graph, "minus", x, 1.0F, -1.0F);
            y = binary(graph, "product", y, z, NN_OP_MULTIPLY);
            y = scaled(graph, "less", y, 0.5F, 0.0F);
            break;
        }
        (void)dense(graph, "d2", y, 3);
        nn_network_free(fold_as(graph, "asa"));
        nn_graph_free(graph);
    }
}

/* x^4 as the square of a square costs two plain squares, not a polynomial of
 * degree 4; between them an affine map only where one is needed. */
static void test_nn_network_keeps_squares_of_squares(void **state)
{
    nn_graph *graph = vector_graph(3);
    int x = dense(graph, "d1", 0, 4);

    (void)state;
    x = unary(graph, "s1", x, NN_OP_SQUARE);
    x = unary(graph, "s2", x, NN_OP_SQUARE);
    (void)dense(graph, "d2", x, 2);
    nn_network_free(fold_as(graph, "assa"));
    nn_graph_free(graph);

    graph = vector_graph(3);
    x = dense(graph, "d1", 0, 4);
    x = unary(graph, "s1", x, NN_OP_SQUARE);
    x = scaled(graph, "half", x, -0.5F, 1.0F);
    x = unary(graph, "s2", x, NN_OP_SQUARE);
    nn_network_free(fold_as(graph, "asas"));
    nn_graph_free(graph);
}

static void test_nn_network_sums_of_different_squares_stay_sums(void **state)
{
    nn_graph *graph = vector_graph(3);
    const int a = dense(graph, "d1", 0, 4), b = dense(graph, "d2", 0, 4);
    const int sa = unary(graph, "s1", a, NN_OP_SQUARE);
    const int sb = unary(graph, "s2", b, NN_OP_SQUARE);
    nn_network *network;
    const uint32_t *sources;
    size_t n;

    (void)state;
    (void)dense(graph, "d3", binary(graph, "sum", sa, sb, NN_OP_ADD), 2);
    network = fold_as(graph, "asasa");
    sources = nn_affine_sources(network->steps[4].affine, &n);
    assert_int_equal(n, 2);
    assert_int_equal(sources[0], 2);
    assert_int_equal(sources[1], 4);
    nn_network_free(network);
    nn_graph_free(graph);
}

/* A residual reads the map before the square, undone. */
static void test_nn_network_residual_reads_the_tensor_before(void **state)
{
    nn_graph *graph = vector_graph(3);
    const int a = dense(graph, "d1", 0, 4);
    const nn_shape param = {.rank = 1, .dim = {4}};
    const float c2[4] = {0.5F, -0.25F, 2.0F, 1.0F};
    const float c1[4] = {0.1F, 0.2F, 0.0F, -1.0F};
    nn_network *network;
    const uint32_t *sources;
    int act, d2;
    size_t n;

    (void)state;
    OK(nn_graph_polynomial(graph, &act, "act", a, &param, c2, c1, NULL, NULL));
    d2 = dense(graph, "d2", act, 4);
    (void)binary(graph, "res", d2, a, NN_OP_ADD);
    network = fold_as(graph, "asa");
    sources = nn_affine_sources(network->steps[2].affine, &n);
    assert_int_equal(n, 2);
    assert_int_equal(sources[0], 1);
    assert_int_equal(sources[1], 2);
    nn_network_free(network);
    nn_graph_free(graph);
}

static void
test_nn_network_linear_elements_are_read_before_the_square(void **state)
{
    nn_graph *graph = vector_graph(3);
    const int a = dense(graph, "d1", 0, 3);
    const nn_shape param = {.rank = 1, .dim = {3}};
    const float c2[3] = {0.5F, 0.0F, -2.0F}, c1[3] = {0.1F, 3.0F, 0.5F};
    const float c0[3] = {0.0F, 1.0F, 2.0F};
    const float zero[3] = {0};
    nn_network *network;
    int act;

    (void)state;
    OK(nn_graph_polynomial(graph, &act, "act", a, &param, c2, c1, c0, NULL));
    (void)dense(graph, "d2", act, 2);
    network = fold_as(graph, "asa");
    nn_cursor *cursor;
    OK(nn_cursor_new(&cursor, network->steps[2].affine, NULL, NULL));
    const nn_row row = nn_cursor_row(cursor, 0);
    assert_int_equal(row.n_terms, 3);
    assert_int_equal(row.terms[0].from.source, 1);
    assert_int_equal(row.terms[0].from.index, 1);
    assert_int_equal(row.terms[1].from.source, 2);
    nn_cursor_free(cursor);
    nn_network_free(network);
    nn_graph_free(graph);

    /* All linear: no activation at all. */
    graph = vector_graph(3);
    OK(nn_graph_polynomial(graph, &act, "act", dense(graph, "d1", 0, 3), &param,
                           zero, c1, c0, NULL));
    (void)dense(graph, "d2", act, 2);
    nn_network_free(fold_as(graph, "a"));
    nn_graph_free(graph);
}

static void test_nn_network_shows_what_is_not_a_square(void **state)
{
    nn_graph *graph = vector_graph(3);
    int x = dense(graph, "d1", 0, 4), y;
    nn_network *network;

    (void)state;
    x = unary(graph, "relu", x, NN_OP_RELU);
    x = dense(graph, "d2", x, 4);
    y = unary(graph, "xx", x, NN_OP_SQUARE);
    y = scaled(graph, "b", y, 2.0F, 1.0F);
    y = binary(graph, "cubic", y, x, NN_OP_MULTIPLY);
    (void)dense(graph, "d3", y, 2);
    network = fold_as(graph, "arapa");
    assert_string_equal(network->steps[1].name, "relu");
    assert_string_equal(network->steps[1].origin, "Relu");
    assert_string_equal(network->steps[3].name, "cubic");
    assert_int_equal(network->steps[3].degree, 3);
    assert_true(nn_step_coefficient(&network->steps[3], 3, 1) == 2.0);
    assert_true(nn_step_coefficient(&network->steps[3], 2, 1) == 0.0);
    assert_true(nn_step_coefficient(&network->steps[3], 1, 1) == 1.0);
    nn_network_free(network);
    nn_graph_free(graph);
}

static void test_nn_network_drops_the_softmax(void **state)
{
    nn_graph *graph = vector_graph(3);
    nn_network *network;
    int id;

    (void)state;
    OK(nn_graph_softmax(graph, &id, "probabilities", dense(graph, "d", 0, 4),
                        NULL));
    network = fold_as(graph, "a");
    assert_true(network->softmax);
    nn_network_free(network);
    nn_graph_free(graph);
}

static void test_nn_network_refuses_products_of_two_values(void **state)
{
    nn_graph *graph = vector_graph(3);
    const int a = dense(graph, "d1", 0, 4), b = dense(graph, "d2", 0, 4);
    nn_network *network;
    sotto_error err;

    (void)state;
    (void)binary(graph, "gate", a, b, NN_OP_MULTIPLY);
    assert_int_equal(nn_network_new(&network, graph, NULL, &err),
                     SOTTO_ERR_UNSUPPORTED);
    assert_null(network);
    assert_non_null(strstr(err.text, "node 'gate' (Mul)"));
    assert_non_null(strstr(err.text, "'d1'"));
    nn_graph_free(graph);
}

static void test_nn_network_refuses_too_small_a_square(void **state)
{
    const nn_shape scalar = {.rank = 0};
    const float a = 1e-3F, b = 1.0F;
    nn_graph *graph = vector_graph(3);
    nn_network *network;
    sotto_error err;
    int x = dense(graph, "d1", 0, 4);

    (void)state;
    OK(nn_graph_polynomial(graph, &x, "act", x, &scalar, &a, &b, NULL, NULL));
    assert_int_equal(nn_network_new(&network, graph, NULL, &err),
                     SOTTO_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "node 'act'"));
    /* With values up to 20 the square is up to 0.4 beside 20. */
    nn_graph_set_range(graph, 1, -5.0, 20.0);
    OK(nn_network_new(&network, graph, NULL, NULL));
    nn_network_free(network);
    nn_graph_free(graph);
}

static void test_nn_network_carries_ranges(void **state)
{
    const nn_shape param = {.rank = 1, .dim = {2}};
    const float a[2] = {0.25F, -4.0F}, b[2] = {0.5F, 8.0F};
    nn_graph *graph = vector_graph(3);
    nn_network *network;
    int x = dense(graph, "d1", 0, 2);

    (void)state;
    nn_graph_set_range(graph, 0, 0.0, 1.0);
    nn_graph_set_range(graph, x, -2.0, 6.0);
    OK(nn_graph_polynomial(graph, &x, "act", x, &param, a, b, NULL, NULL));
    x = dense(graph, "d2", x, 2);
    nn_graph_set_range(graph, x, -30.0, 40.0);
    network = fold_as(graph, "asa");
    assert_true(network->input_range.known && network->input_range.max == 1.0);
    /* t0 = x/2 + 1/2 in [-1/2, 7/2]; t1 = 2x - 2 in [-6, 10]. */
    assert_true(network->steps[0].range.known);
    assert_true(network->steps[0].range.min == -6.0);
    assert_true(network->steps[0].range.max == 10.0);
    assert_true(network->steps[1].range.min == 0.0);
    assert_true(network->steps[1].range.max == 100.0);
    assert_true(network->output_range.min == -30.0);
    assert_true(nn_network_tensor_range(network, 3).max == 40.0);
    nn_network_free(network);
    nn_graph_free(graph);
}

static void test_nn_graph_normalise_is_folded(void **state)
{
    const nn_shape shape = {.rank = 3, .dim = {2, 3, 3}};
    const float mean[2] = {0.5F, 0.25F}, std[2] = {2.0F, 0.5F};
    const float w[18] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    const nn_conv conv = {.out_channels = 1,
                          .window = {.kernel = {3, 3}, .pad = {1, 1, 1, 1}},
                          .weights = w};
    nn_graph *graph;
    nn_network *network;
    int id;

    (void)state;
    OK(nn_graph_new(&graph, "x", &shape, NULL));
    OK(nn_graph_conv(graph, &id, "c", 0, &conv, NULL));
    assert_int_equal(nn_graph_normalise(graph, mean, std, 3, NULL),
                     SOTTO_ERR_SHAPE);
    OK(nn_graph_normalise(graph, mean, std, 2, NULL));
    assert_int_equal(graph->n_nodes, 3);
    assert_int_equal(graph->nodes[2].inputs[0], 1);
    assert_int_equal(graph->nodes[1].inputs[0], 0);
    network = fold_as(graph, "a");
    nn_network_free(network);
    nn_graph_free(graph);
}

/* Counts calls and sets all weights to zero, the biases to one. */
static void flatten_weights(void *arg, size_t step, nn_group *group)
{
    *(size_t *)arg += step == 0;
    for (size_t i = 0; i < group->n_rows * group->n_inputs; i++) {
        group->weights[i] = 0.0;
    }
    for (size_t i = 0; i < group->n_rows; i++) {
        group->biases[i] = 1.0;
    }
}

static void test_nn_network_run_lets_a_hook_change_weights(void **state)
{
    nn_graph *graph = vector_graph(3);
    const float in[3] = {1.0F, 2.0F, 3.0F};
    nn_network *network;
    size_t calls = 0;
    const nn_run_hooks hooks = {.arg = &calls, .group = flatten_weights};
    double out[4];

    (void)state;
    (void)dense(graph, "d", 0, 4);
    network = fold_as(graph, "a");
    OK(nn_network_run(network, NULL, out, in, 1, &hooks, NULL));
    assert_int_equal(calls, 1);
    for (int i = 0; i < 4; i++) {
        assert_true(out[i] == 1.0);
    }
    nn_network_free(network);
    nn_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_network_equals_graph),
        cmocka_unit_test(test_nn_network_equals_graph_of_any_kind),
        cmocka_unit_test(test_nn_network_recognises_spellings),
        cmocka_unit_test(test_nn_network_keeps_squares_of_squares),
        cmocka_unit_test(test_nn_network_sums_of_different_squares_stay_sums),
        cmocka_unit_test(test_nn_network_residual_reads_the_tensor_before),
        cmocka_unit_test(
            test_nn_network_linear_elements_are_read_before_the_square),
        cmocka_unit_test(test_nn_network_shows_what_is_not_a_square),
        cmocka_unit_test(test_nn_network_drops_the_softmax),
        cmocka_unit_test(test_nn_network_refuses_products_of_two_values),
        cmocka_unit_test(test_nn_network_refuses_too_small_a_square),
        cmocka_unit_test(test_nn_network_carries_ranges),
        cmocka_unit_test(test_nn_graph_normalise_is_folded),
        cmocka_unit_test(test_nn_network_run_lets_a_hook_change_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
