/* SPDX-License-Identifier: MIT
 * The ONNX writer: what is written is read back as the same network.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/fold.h"
#include "nn/graph/onnx.h"
#include "tests/support/nn_reference.h"

#define OK(expr) assert_int_equal((expr), SOTTO_OK)

static nn_graph *round_trip(const nn_graph *graph)
{
    nn_graph *again;
    sotto_error err = {""};
    uint8_t *data;
    size_t len;

    OK(nn_onnx_write(&data, &len, graph, NULL));
    if (nn_onnx_read(&again, data, len, &err) != SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    sotto_free(data);
    return again;
}

/* The constants of two nodes, seen as the value's elements. */
static bool same_constants(const nn_node *a, const nn_node *b)
{
    if (a->op != NN_OP_SCALE_SHIFT) {
        return a->n_weights == b->n_weights && a->n_bias == b->n_bias &&
               (a->n_weights == 0 ||
                (memcmp(a->weights, b->weights, a->n_weights * sizeof(float)) ==
                     0 &&
                 memcmp(a->bias, b->bias, a->n_bias * sizeof(float)) == 0));
    }
    for (size_t i = 0; i < nn_shape_size(&a->shape); i++) {
        const size_t at = nn_shape_param_index(&a->param_shape, &a->shape, i);
        const size_t bt = nn_shape_param_index(&b->param_shape, &b->shape, i);
        /* -0 and 0 are the same shift. */
        if (a->weights[at] != b->weights[bt] || a->bias[at] != b->bias[bt]) {
            return false;
        }
    }
    return true;
}

static bool same_node(const nn_node *a, const nn_node *b)
{
    bool same =
        a->op == b->op && strcmp(a->name, b->name) == 0 &&
        strcmp(a->tensor, b->tensor) == 0 && a->n_inputs == b->n_inputs &&
        nn_shape_equal(&a->shape, &b->shape) &&
        memcmp(&a->window, &b->window, sizeof a->window) == 0 &&
        a->groups == b->groups && a->axis == b->axis &&
        memcmp(a->perm, b->perm, sizeof a->perm) == 0 &&
        memcmp(a->pad_before, b->pad_before, sizeof a->pad_before) == 0 &&
        memcmp(a->pad_after, b->pad_after, sizeof a->pad_after) == 0 &&
        a->pad_value == b->pad_value && a->range.known == b->range.known &&
        a->range.min == b->range.min && a->range.max == b->range.max &&
        same_constants(a, b);

    for (int k = 0; same && k < a->n_inputs; k++) {
        same = a->inputs[k] == b->inputs[k];
    }
    return same;
}

static void test_nn_onnx_write_reads_back_equal(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        nn_graph *graph = test_random_network(seed, TEST_NET_ANYTHING);
        for (int i = 0; i < graph->n_nodes; i += 2) {
            nn_graph_set_range(graph, i, -1.0 / (i + 3), (double)i / 7.0);
        }
        OK(nn_graph_set_metadata(graph, "sotto.note", "Größe ✓", NULL));
        nn_graph *again = round_trip(graph);
        assert_int_equal(again->n_nodes, graph->n_nodes);
        for (int i = 0; i < graph->n_nodes; i++) {
            if (!same_node(&graph->nodes[i], &again->nodes[i])) {
                fail_msg("seed %llu, node %d '%s' (%s, %s) differs",
                         (unsigned long long)seed, i, graph->nodes[i].name,
                         graph->nodes[i].origin, again->nodes[i].origin);
            }
        }
        assert_string_equal(nn_graph_metadata(again, "sotto.note"), "Größe ✓");
        assert_string_equal(again->producer, "sotto");
        assert_int_equal(again->total_elements, graph->total_elements);
        nn_graph_free(again);
        nn_graph_free(graph);
    }
}

/* Every operator that random networks lack, and names that get in the way. */
static void test_nn_onnx_write_of_remaining_nodes(void **state)
{
    const nn_shape shape = {.rank = 3, .dim = {2, 2, 3}};
    const nn_shape other = {.rank = 4, .dim = {1, 3, 2, 2}};
    const nn_shape flat = {.rank = 1, .dim = {12}}, scalar = {.rank = 0};
    const int perm[3] = {2, 0, 1};
    const float one = 1.0F, two = 2.0F;
    float w[144] = {0};
    nn_graph *graph, *again;
    int id;

    (void)state;
    w[5] = 0.1F;
    OK(nn_graph_new(&graph, "d.weight", &shape, NULL));
    OK(nn_graph_transpose(graph, &id, "t", 0, perm, NULL));
    OK(nn_graph_reshape(graph, &id, "r", id, &other, NULL));
    OK(nn_graph_scale_shift(graph, &id, "scaled", id, &scalar, &two, NULL,
                            NULL));
    OK(nn_graph_unary(graph, &id, "square", id, NN_OP_SQUARE, NULL));
    OK(nn_graph_scale_shift(graph, &id, "shifted", id, &scalar, NULL, &one,
                            NULL));
    OK(nn_graph_reshape(graph, &id, "f", id, &flat, NULL));
    OK(nn_graph_dense(graph, &id, "d", id, 12, w, NULL, NULL));
    OK(nn_graph_binary(graph, &id, "minus", id, id - 1, NN_OP_SUBTRACT, NULL));
    OK(nn_graph_softmax(graph, &id, "softmax", id, NULL));
    again = round_trip(graph);
    assert_int_equal(again->n_nodes, graph->n_nodes);
    for (int i = 0; i < graph->n_nodes; i++) {
        assert_true(same_node(&graph->nodes[i], &again->nodes[i]));
    }
    nn_graph_free(again);

    /* A scale of 1 and a shift of 0 leave no trace but the value. */
    nn_graph_free(graph);
    OK(nn_graph_new(&graph, "x", &shape, NULL));
    OK(nn_graph_scale_shift(graph, &id, "same", 0, &scalar, NULL, NULL, NULL));
    again = round_trip(graph);
    assert_int_equal(again->n_nodes, 1);
    nn_graph_free(again);
    nn_graph_free(graph);
}

static void test_nn_onnx_write_keeps_activations(void **state)
{
    const nn_shape shape = {.rank = 3, .dim = {2, 3, 3}};
    const nn_shape params[3] = {{.rank = 0},
                                {.rank = 3, .dim = {2, 1, 1}},
                                {.rank = 3, .dim = {2, 3, 3}}};
    float a[18], b[18], c[18], w[18];
    const nn_conv conv = {
        .out_channels = 1, .window = {.kernel = {3, 3}}, .weights = w};

    (void)state;
    for (int i = 0; i < 18; i++) {
        a[i] = 0.5F + (float)i / 32.0F;
        b[i] = 0.25F - (float)i / 64.0F;
        c[i] = w[i] = (float)(i + 1) / 8.0F;
    }
    for (int k = 0; k < 3; k++) {
        nn_graph *graph, *again;
        nn_network *network;
        int id;
        OK(nn_graph_new(&graph, "x", &shape, NULL));
        OK(nn_graph_polynomial(graph, &id, "act", 0, &params[k], a, b, c,
                               NULL));
        OK(nn_graph_conv(graph, &id, "conv", id, &conv, NULL));
        again = round_trip(graph);
        OK(nn_network_new(&network, again, NULL, NULL));
        assert_int_equal(network->n_steps, 3);
        assert_int_equal(network->steps[1].kind, NN_STEP_SQUARE);
        assert_string_equal(network->steps[1].name, "act");
        nn_network_free(network);
        nn_graph_free(again);
        nn_graph_free(graph);
    }
}

static void test_nn_onnx_write_is_deterministic(void **state)
{
    nn_graph *graph = test_random_network(11, TEST_NET_ANYTHING);
    uint8_t *first, *second;
    size_t n_first, n_second;

    (void)state;
    OK(nn_onnx_write(&first, &n_first, graph, NULL));
    OK(nn_onnx_write(&second, &n_second, graph, NULL));
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, n_first);
    sotto_free(first);
    sotto_free(second);
    nn_graph_free(graph);
}

static void test_nn_onnx_write_refuses_dilated_averages(void **state)
{
    const nn_shape shape = {.rank = 3, .dim = {1, 5, 5}};
    const nn_window window = {.kernel = {2, 2}, .dilation = {2, 1}};
    nn_graph *graph;
    sotto_error err;
    uint8_t *data;
    size_t len;
    int id;

    (void)state;
    OK(nn_graph_new(&graph, "x", &shape, NULL));
    OK(nn_graph_pool(graph, &id, "p", 0, NN_OP_AVERAGE_POOL, &window, NULL));
    assert_int_equal(nn_onnx_write(&data, &len, graph, &err),
                     SOTTO_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "node 'p'"));
    assert_null(data);
    nn_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_onnx_write_reads_back_equal),
        cmocka_unit_test(test_nn_onnx_write_of_remaining_nodes),
        cmocka_unit_test(test_nn_onnx_write_keeps_activations),
        cmocka_unit_test(test_nn_onnx_write_is_deterministic),
        cmocka_unit_test(test_nn_onnx_write_refuses_dilated_averages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
