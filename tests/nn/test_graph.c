/* SPDX-License-Identifier: MIT
 * Graphs: the shape rule of every operator, and what builders refuse.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/graph/graph.h"

#define OK(expr) assert_int_equal((expr), SOTTO_OK)
#define SHAPE3(...) ((nn_shape){.rank = 3, .dim = {__VA_ARGS__}})
#define SHAPE1(n) ((nn_shape){.rank = 1, .dim = {(n)}})

/* A graph with its input only. */
static nn_graph *graph_of(nn_shape shape)
{
    nn_graph *graph;

    OK(nn_graph_new(&graph, "in", &shape, NULL));
    return graph;
}

/* The last node has this shape; frees the graph. */
static void check_last(nn_graph *graph, nn_shape want)
{
    char have_text[NN_SHAPE_TEXT_BYTES], want_text[NN_SHAPE_TEXT_BYTES];
    const nn_node *node = nn_graph_output(graph);

    if (!nn_shape_equal(&node->shape, &want)) {
        fail_msg("%s has shape %s, expected %s", node->name,
                 nn_shape_text(have_text, &node->shape),
                 nn_shape_text(want_text, &want));
    }
    nn_graph_free(graph);
}

/* The last call was refused like this and left the graph alone; frees it. */
static void check_refused(nn_graph *graph, int n_nodes, sotto_status status,
                          sotto_status expected, const sotto_error *err,
                          const char *part)
{
    if (status != expected || strstr(err->text, part) == NULL) {
        fail_msg("status %d, '%s'; expected %d, '%s'", (int)status, err->text,
                 (int)expected, part);
    }
    assert_int_equal(graph->n_nodes, n_nodes);
    nn_graph_free(graph);
}

static void test_nn_shape_helpers(void **state)
{
    const nn_shape value = SHAPE3(2, 3, 4);
    const nn_shape scalar = {.rank = 0}, channel = SHAPE3(2, 1, 1);
    const nn_shape row = {.rank = 2, .dim = {3, 1}}, bad = SHAPE1(3);
    char text[NN_SHAPE_TEXT_BYTES];
    size_t stride[3];

    (void)state;
    assert_string_equal(nn_shape_text(text, &value), "[2,3,4]");
    assert_string_equal(nn_shape_text(text, &scalar), "[]");
    assert_int_equal(nn_shape_size(&value), 24);
    assert_int_equal(nn_shape_size(&scalar), 1);
    assert_true(nn_shape_stretches(&scalar, &value));
    assert_true(nn_shape_stretches(&channel, &value));
    assert_true(nn_shape_stretches(&row, &value));
    assert_false(nn_shape_stretches(&bad, &value));
    assert_false(nn_shape_stretches(&value, &bad));
    nn_shape_strides(stride, &row, &value);
    assert_int_equal(stride[0], 0);
    assert_int_equal(stride[1], 1);
    assert_int_equal(stride[2], 0);
    for (size_t i = 0; i < 24; i++) {
        assert_int_equal(nn_shape_param_index(&row, &value, i), i / 4 % 3);
        assert_int_equal(nn_shape_param_index(&channel, &value, i), i / 12);
        assert_int_equal(nn_shape_param_index(&value, &value, i), i);
        assert_int_equal(nn_shape_param_index(&scalar, &value, i), 0);
    }
}

static void test_nn_graph_new_checks_the_shape(void **state)
{
    const nn_shape huge = SHAPE3((size_t)1 << 40, (size_t)1 << 40, 2);
    const nn_shape empty = SHAPE3(1, 0, 2), none = {.rank = 0};
    const nn_shape deep = {.rank = NN_MAX_RANK + 1};
    nn_graph *graph;

    (void)state;
    assert_int_equal(nn_graph_new(&graph, "x", &huge, NULL),
                     SOTTO_ERR_UNSUPPORTED);
    assert_null(graph);
    assert_int_equal(nn_graph_new(&graph, "x", &empty, NULL), SOTTO_ERR_SHAPE);
    assert_int_equal(nn_graph_new(&graph, "x", &none, NULL), SOTTO_ERR_SHAPE);
    assert_int_equal(nn_graph_new(&graph, "x", &deep, NULL), SOTTO_ERR_SHAPE);
}

static void test_nn_graph_conv_shapes(void **state)
{
    static const struct {
        size_t size, kernel, stride, dilation, before, after, out;
    } cases[] = {
        {28, 5, 2, 0, 1, 1, 13}, {28, 5, 0, 0, 0, 0, 24}, {5, 3, 2, 2, 0, 0, 1},
        {7, 3, 2, 1, 1, 1, 4},   {6, 3, 2, 1, 0, 1, 3},   {1, 1, 9, 9, 0, 0, 1},
    };
    static const float w[512] = {0};

    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        nn_graph *graph = graph_of(SHAPE3(2, cases[k].size, 9));
        const nn_conv conv = {
            .out_channels = 4,
            .window = {.kernel = {cases[k].kernel, 2},
                       .stride = {cases[k].stride, 1},
                       .dilation = {cases[k].dilation, 1},
                       .pad = {cases[k].before, 0, cases[k].after, 0}},
            .weights = w};
        int id;
        OK(nn_graph_conv(graph, &id, "c", 0, &conv, NULL));
        assert_int_equal(id, 1);
        assert_int_equal(graph->nodes[1].n_weights,
                         4 * 2 * cases[k].kernel * 2);
        assert_int_equal(graph->nodes[1].n_bias, 4);
        check_last(graph, SHAPE3(4, cases[k].out, 8));
    }
}

static void test_nn_graph_conv_refuses(void **state)
{
    static const float w[512] = {0};
    const float bad[2] = {0.0F, NAN};
    const nn_conv good = {.out_channels = 2,
                          .window = {.kernel = {3, 3}},
                          .weights = w,
                          .bias = bad};
    nn_conv conv = good;
    nn_graph *graph = graph_of(SHAPE3(3, 5, 5));
    sotto_error err;
    int id = 77;

    (void)state;
    check_refused(graph, 1, nn_graph_conv(graph, &id, "c", 0, &conv, &err),
                  SOTTO_ERR_PARAM, &err,
                  "node 'c' (Conv): element 1 of its bias is not finite");
    assert_int_equal(id, 77);
    conv.bias = NULL;
    conv.groups = 2;
    graph = graph_of(SHAPE3(3, 5, 5));
    check_refused(graph, 1, nn_graph_conv(graph, &id, "c", 0, &conv, &err),
                  SOTTO_ERR_SHAPE, &err, "the groups must divide both");
    conv.groups = 1;
    conv.window.kernel[0] = 6;
    graph = graph_of(SHAPE3(3, 5, 5));
    check_refused(graph, 1, nn_graph_conv(graph, &id, "c", 0, &conv, &err),
                  SOTTO_ERR_SHAPE, &err, "covers 6 but the input [3,5,5]");
    conv.window.kernel[0] = 0;
    graph = graph_of(SHAPE3(3, 5, 5));
    check_refused(graph, 1, nn_graph_conv(graph, &id, "c", 0, &conv, &err),
                  SOTTO_ERR_SHAPE, &err, "kernel 0");
    conv.window.kernel[0] = 3;
    conv.window.pad[1] = SIZE_MAX;
    graph = graph_of(SHAPE3(3, 5, 5));
    check_refused(graph, 1, nn_graph_conv(graph, &id, "c", 0, &conv, &err),
                  SOTTO_ERR_SHAPE, &err, "nothing above");
    conv.window.pad[1] = 0;
    conv.out_channels = SIZE_MAX / 2;
    graph = graph_of(SHAPE3(3, 5, 5));
    check_refused(graph, 1, nn_graph_conv(graph, &id, "c", 0, &conv, &err),
                  SOTTO_ERR_UNSUPPORTED, &err, "more than");
    graph = graph_of(SHAPE1(5));
    check_refused(graph, 1, nn_graph_conv(graph, &id, "c", 0, &good, &err),
                  SOTTO_ERR_SHAPE, &err, "has shape [5], expected [C,H,W]");
}

static void test_nn_graph_dense_shapes(void **state)
{
    static const float w[12] = {0};
    nn_graph *graph = graph_of(SHAPE1(4));
    sotto_error err;
    int id;

    (void)state;
    OK(nn_graph_dense(graph, &id, "d", 0, 3, w, NULL, NULL));
    assert_true(graph->nodes[1].bias[2] == 0.0F);
    check_last(graph, SHAPE1(3));
    graph = graph_of(SHAPE3(1, 2, 2));
    check_refused(graph, 1,
                  nn_graph_dense(graph, &id, "d", 0, 3, w, NULL, &err),
                  SOTTO_ERR_SHAPE, &err,
                  "node 'd' (Gemm): its input (without batch) has shape "
                  "[1,2,2], expected [F]");
    graph = graph_of(SHAPE1(4));
    check_refused(graph, 1,
                  nn_graph_dense(graph, &id, "d", 0, 0, w, NULL, &err),
                  SOTTO_ERR_SHAPE, &err, "is 0");
}

static void test_nn_graph_pool_shapes(void **state)
{
    const nn_window window = {
        .kernel = {3, 2}, .stride = {2, 2}, .pad = {1, 0, 1, 0}};
    const nn_window outside = {.kernel = {2, 2}, .pad = {2, 0, 0, 0}};
    nn_graph *graph = graph_of(SHAPE3(5, 8, 8));
    sotto_error err;
    int id;

    (void)state;
    OK(nn_graph_pool(graph, &id, "p", 0, NN_OP_AVERAGE_POOL, &window, NULL));
    check_last(graph, SHAPE3(5, 4, 4));
    graph = graph_of(SHAPE3(5, 8, 8));
    check_refused(
        graph, 1,
        nn_graph_pool(graph, &id, "p", 0, NN_OP_MAX_POOL, &outside, &err),
        SOTTO_ERR_SHAPE, &err, "node 'p' (MaxPool): a window lies wholly");
}

static void test_nn_graph_concat_shapes(void **state)
{
    nn_graph *graph = graph_of(SHAPE3(2, 3, 4));
    const int perm[3] = {2, 1, 0}, swap[3] = {1, 0, 2}, twice[3] = {0, 0, 2};
    const int far[3] = {0, 1, 3};
    sotto_error err;
    int parts[3] = {0, 0, 0}, id;

    (void)state;
    OK(nn_graph_concat(graph, &id, "c", parts, 3, 1, NULL));
    assert_int_equal(graph->nodes[id].shape.dim[1], 9);
    OK(nn_graph_transpose(graph, &id, "t", id, perm, NULL));
    check_last(graph, SHAPE3(4, 9, 2));

    graph = graph_of(SHAPE3(2, 3, 4));
    OK(nn_graph_transpose(graph, &id, "t", 0, swap, NULL));
    parts[1] = id;
    check_refused(graph, 2, nn_graph_concat(graph, &id, "c", parts, 2, 2, &err),
                  SOTTO_ERR_SHAPE, &err,
                  "input 1 has shape [3,2,4], which does not continue [2,3,4] "
                  "along axis 2");
    graph = graph_of(SHAPE3(2, 3, 4));
    check_refused(graph, 1, nn_graph_concat(graph, &id, "c", parts, 1, 3, &err),
                  SOTTO_ERR_SHAPE, &err, "axis 3");
    graph = graph_of(SHAPE3(2, 3, 4));
    check_refused(graph, 1, nn_graph_transpose(graph, &id, "t", 0, twice, &err),
                  SOTTO_ERR_SHAPE, &err, "entry 1 of its permutation is 0");
    graph = graph_of(SHAPE3(2, 3, 4));
    check_refused(graph, 1, nn_graph_transpose(graph, &id, "t", 0, far, &err),
                  SOTTO_ERR_SHAPE, &err, "entry 2 of its permutation is 3");
}

static void test_nn_graph_other_shapes(void **state)
{
    const size_t before[3] = {0, 1, 2}, after[3] = {1, 0, 3};
    const size_t huge[3] = {SIZE_MAX, 0, 0};
    const nn_shape flat = SHAPE1(24), wrong = SHAPE1(25);
    const nn_shape channel = SHAPE3(2, 1, 1), other = SHAPE3(3, 1, 1);
    nn_graph *graph = graph_of(SHAPE3(2, 3, 4));
    sotto_error err;
    int id;

    (void)state;
    OK(nn_graph_pad(graph, &id, "p", 0, before, after, 1.0F, NULL));
    check_last(graph, SHAPE3(3, 4, 9));
    graph = graph_of(SHAPE3(2, 3, 4));
    check_refused(graph, 1,
                  nn_graph_pad(graph, &id, "p", 0, huge, after, 0.0F, &err),
                  SOTTO_ERR_SHAPE, &err, "at most");
    graph = graph_of(SHAPE3(2, 3, 4));
    check_refused(
        graph, 1,
        nn_graph_pad(graph, &id, "p", 0, before, after, INFINITY, &err),
        SOTTO_ERR_PARAM, &err, "pads with inf");
    graph = graph_of(SHAPE3(2, 3, 4));
    OK(nn_graph_reshape(graph, &id, "r", 0, &flat, NULL));
    OK(nn_graph_softmax(graph, &id, "s", id, NULL));
    check_refused(graph, 3,
                  nn_graph_unary(graph, &id, "u", id, NN_OP_RELU, &err),
                  SOTTO_ERR_UNSUPPORTED, &err, "reads the softmax 's'");
    graph = graph_of(SHAPE3(2, 3, 4));
    check_refused(graph, 1, nn_graph_reshape(graph, &id, "r", 0, &wrong, &err),
                  SOTTO_ERR_SHAPE, &err, "[2,3,4] (without batch) into [25]");
    graph = graph_of(SHAPE3(2, 3, 4));
    OK(nn_graph_scale_shift(graph, &id, "m", 0, &channel, NULL, NULL, NULL));
    check_last(graph, SHAPE3(2, 3, 4));
    graph = graph_of(SHAPE3(2, 3, 4));
    check_refused(
        graph, 1,
        nn_graph_scale_shift(graph, &id, "m", 0, &other, NULL, NULL, &err),
        SOTTO_ERR_SHAPE, &err, "[3,1,1], which does not stretch");
    graph = graph_of(SHAPE3(2, 3, 4));
    OK(nn_graph_reshape(graph, &id, "r", 0, &flat, NULL));
    check_refused(graph, 2,
                  nn_graph_binary(graph, &id, "a", 0, id, NN_OP_ADD, &err),
                  SOTTO_ERR_SHAPE, &err,
                  "node 'a' (Add): its inputs (without batch) have shapes "
                  "[2,3,4] and [24]");
}

static void test_nn_graph_polynomial_is_all_or_nothing(void **state)
{
    const nn_shape scalar = {.rank = 0};
    const float a = 1.0F, bad = INFINITY;
    nn_graph *graph = graph_of(SHAPE1(3));
    sotto_error err;
    int id = 5;

    (void)state;
    assert_int_equal(
        nn_graph_polynomial(graph, &id, "p", 0, &scalar, &a, &a, &bad, &err),
        SOTTO_ERR_PARAM);
    assert_int_equal(graph->n_nodes, 1);
    assert_int_equal(graph->total_elements, 3);
    assert_int_equal(id, 5);
    OK(nn_graph_polynomial(graph, &id, "p", 0, &scalar, &a, NULL, NULL, NULL));
    assert_int_equal(id, 2);
    assert_string_equal(graph->nodes[2].name, "p");
    nn_graph_free(graph);
}

static void test_nn_graph_names_are_unique(void **state)
{
    nn_graph *graph = graph_of(SHAPE1(3));
    char name[NN_MAX_NAME_BYTES + 2];
    sotto_error err;
    int id;

    (void)state;
    OK(nn_graph_unary(graph, &id, "r", 0, NN_OP_RELU, NULL));
    assert_int_equal(nn_graph_unary(graph, &id, "r", 0, NN_OP_RELU, &err),
                     SOTTO_ERR_PARAM);
    assert_non_null(strstr(err.text, "two values named 'r'"));
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(nn_graph_unary(graph, &id, name, 0, NN_OP_RELU, &err),
                     SOTTO_ERR_PARAM);
    assert_int_equal(nn_graph_find(graph, "r"), 1);
    assert_int_equal(nn_graph_find(graph, "in"), 0);
    assert_int_equal(nn_graph_find(graph, "q"), -1);
    nn_graph_free(graph);
}

static void test_nn_graph_limits_nodes_and_elements(void **state)
{
    nn_graph *graph = graph_of(SHAPE1(NN_MAX_ELEMENTS));
    sotto_error err;
    int id = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "r%d", i);
        OK(nn_graph_unary(graph, &id, name, id, NN_OP_RELU, NULL));
    }
    check_refused(graph, 4,
                  nn_graph_unary(graph, &id, "r", id, NN_OP_RELU, &err),
                  SOTTO_ERR_UNSUPPORTED, &err, "together");
}

static void test_nn_graph_metadata(void **state)
{
    nn_graph *graph = graph_of(SHAPE1(3));

    (void)state;
    OK(nn_graph_set_metadata(graph, "a", "1", NULL));
    OK(nn_graph_set_metadata(graph, "b", "2", NULL));
    OK(nn_graph_set_metadata(graph, "a", "3", NULL));
    assert_int_equal(graph->n_metadata, 2);
    assert_string_equal(nn_graph_metadata(graph, "a"), "3");
    assert_string_equal(nn_graph_metadata(graph, "b"), "2");
    assert_null(nn_graph_metadata(graph, "c"));
    assert_int_equal(
        nn_graph_set_metadata(graph, "sotto.range.in", "0 1", NULL),
        SOTTO_ERR_PARAM);
    nn_graph_free(graph);
}

static void test_nn_graph_normalise_refuses(void **state)
{
    const float mean[2] = {0.0F, 0.0F}, std[2] = {1.0F, 0.0F};
    nn_graph *graph = graph_of(SHAPE3(2, 3, 4));
    sotto_error err;

    (void)state;
    assert_int_equal(nn_graph_normalise(graph, mean, std, 2, &err),
                     SOTTO_ERR_PARAM);
    assert_non_null(strstr(err.text, "channel 1"));
    assert_int_equal(nn_graph_normalise(graph, mean, std, 3, &err),
                     SOTTO_ERR_SHAPE);
    assert_int_equal(graph->n_nodes, 1);
    OK(nn_graph_normalise(graph, mean, std, 1, &err));
    OK(nn_graph_normalise(graph, mean, std, 1, &err));
    assert_int_equal(graph->n_nodes, 3);
    assert_int_equal(graph->nodes[2].inputs[0], 1);
    assert_int_equal(graph->nodes[1].inputs[0], 0);
    nn_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_shape_helpers),
        cmocka_unit_test(test_nn_graph_new_checks_the_shape),
        cmocka_unit_test(test_nn_graph_conv_shapes),
        cmocka_unit_test(test_nn_graph_conv_refuses),
        cmocka_unit_test(test_nn_graph_dense_shapes),
        cmocka_unit_test(test_nn_graph_pool_shapes),
        cmocka_unit_test(test_nn_graph_concat_shapes),
        cmocka_unit_test(test_nn_graph_other_shapes),
        cmocka_unit_test(test_nn_graph_polynomial_is_all_or_nothing),
        cmocka_unit_test(test_nn_graph_names_are_unique),
        cmocka_unit_test(test_nn_graph_limits_nodes_and_elements),
        cmocka_unit_test(test_nn_graph_metadata),
        cmocka_unit_test(test_nn_graph_normalise_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
