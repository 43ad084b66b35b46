/* SPDX-License-Identifier: MIT
 * The ONNX reader on damaged files: never a crash, never much memory, nothing
 * left behind. Run under AddressSanitizer these tests see every stray access.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/fold.h"
#include "nn/graph/onnx.h"
#include "nn/graph/plain.h"
#include "tests/support/fail.h"
#include "tests/support/nn_reference.h"
#include "tests/support/onnx_emit.h"

/* A small model with most kinds of nodes. */
static emit_model *small_model(void)
{
    emit_model *m = emit_new(13);

    emit_input(m, "x", 4, DIMS(-1, 2, 4, 4));
    emit_output(m, "y");
    emit_attr_ints(m, "pads", 4, DIMS(1, 0, 0, 1));
    emit_attr_int(m, "group", 2);
    emit_node(m, "Conv", "x w b", "c");
    emit_node(m, "BatchNormalization", "c b b b b", "n");
    emit_node(m, "Mul", "n s", "ax");
    emit_node(m, "Add", "ax s", "axb");
    emit_node(m, "Mul", "axb n", "p");
    emit_attr_ints(m, "kernel_shape", 2, DIMS(2, 2));
    emit_attr_text(m, "auto_pad", "SAME_UPPER");
    emit_node(m, "AveragePool", "p", "a");
    emit_attr_ints(m, "perm", 4, DIMS(0, 1, 3, 2));
    emit_node(m, "Transpose", "a", "t");
    emit_attr_int(m, "axis", 1);
    emit_node(m, "Concat", "a t", "cat");
    emit_node(m, "Pad", "cat pads", "pad");
    emit_node(m, "Shape", "pad", "sh");
    emit_attr_int(m, "axis", 0);
    emit_node(m, "Gather", "sh idx", "bat");
    emit_attr_int(m, "axis", 0);
    emit_node(m, "Concat", "bat rest", "target");
    emit_node(m, "Reshape", "pad target", "r");
    emit_node(m, "MatMul", "r wm", "d");
    emit_attr_int(m, "axis", 1);
    emit_node(m, "Softmax", "d", "y");
    emit_floats(m, "w", 4, DIMS(2, 1, 2, 2), FLOATS(1, 2, 3, 4, 5, 6, 7, 8),
                EMIT_RAW);
    emit_floats(m, "b", 1, DIMS(2), FLOATS(1, 2), EMIT_PACKED);
    emit_floats(m, "s", 3, DIMS(2, 1, 1), FLOATS(0.5F, 0.25F), EMIT_UNPACKED);
    emit_int64s(m, "pads", 1, DIMS(8), DIMS(0, 0, 0, 1, 0, 0, 0, 0), EMIT_RAW);
    emit_int64s(m, "idx", 1, DIMS(1), DIMS(0), EMIT_PACKED);
    emit_int64s(m, "rest", 1, DIMS(1), DIMS(-1), EMIT_UNPACKED);
    float wm[160];
    for (int i = 0; i < 160; i++) {
        wm[i] = (float)(i % 7) / 4096.0F;
    }
    emit_floats(m, "wm", 2, DIMS(80, 2), wm, EMIT_RAW);
    emit_metadata(m, "sotto.range.n", "-3 4");
    emit_metadata(m, "who", "test");
    emit_finish(m);
    return m;
}

/* Reads; what can be read is also run and written. */
static sotto_status try_all(const uint8_t *data, size_t len)
{
    sotto_error err;
    nn_graph *graph;
    uint8_t *copy = malloc(len + 1); /* so that a read beyond is seen */
    sotto_status status;

    SOTTO_ASSERT(copy != NULL);
    memcpy(copy, data, len);
    status = nn_onnx_read(&graph, copy, len, &err);
    free(copy);
    if (status != SOTTO_OK) {
        assert_null(graph);
        return status;
    }
    const size_t n_in = nn_shape_size(&graph->nodes[0].shape);
    const size_t n_out = nn_shape_size(&nn_graph_output(graph)->shape);
    if (graph->total_elements < 100000) {
        float *in = calloc(n_in, sizeof *in), *out = calloc(n_out, sizeof *out);
        nn_network *network;
        uint8_t *written;
        size_t n_written;
        assert_int_equal(nn_plain_run(graph, NULL, out, in, 1, NULL), SOTTO_OK);
        if (nn_network_new(&network, graph, NULL, &err) == SOTTO_OK) {
            nn_network_free(network);
        }
        assert_int_equal(nn_onnx_write(&written, &n_written, graph, NULL),
                         SOTTO_OK);
        sotto_free(written);
        free(in);
        free(out);
    }
    nn_graph_free(graph);
    return status;
}

static void test_nn_onnx_read_of_truncated_files(void **state)
{
    emit_model *m = small_model();
    const long before = fail_live_blocks();

    (void)state;
    assert_int_equal(try_all(m->model.data, m->model.len), SOTTO_OK);
    for (size_t len = 0; len < m->model.len; len++) {
        assert_int_not_equal(try_all(m->model.data, len), SOTTO_OK);
    }
    assert_int_equal(fail_live_blocks(), before);
    emit_free(m);
}

static void test_nn_onnx_read_of_flipped_bits(void **state)
{
    emit_model *m = small_model();
    const long before = fail_live_blocks();

    (void)state;
    for (size_t bit = 0; bit < 8 * m->model.len; bit++) {
        m->model.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        (void)try_all(m->model.data, m->model.len);
        m->model.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(fail_live_blocks(), before);
    emit_free(m);
}

/* Bytes replaced at random, several at once, and parts moved about. */
static void test_nn_onnx_read_of_scrambled_files(void **state)
{
    emit_model *m = small_model();
    uint8_t *data = malloc(m->model.len);
    test_random random = {4711};
    const int rounds = getenv("SOTTO_TEST_LONG") != NULL ? 200000 : 3000;

    (void)state;
    assert_non_null(data);
    for (int round = 0; round < rounds; round++) {
        memcpy(data, m->model.data, m->model.len);
        const size_t n = 1 + test_random_below(&random, 6);
        for (size_t k = 0; k < n; k++) {
            const size_t at = test_random_below(&random, m->model.len);
            const size_t from = test_random_below(&random, m->model.len);
            size_t len = 1 + test_random_below(&random, 8);
            if (len > m->model.len - (at > from ? at : from)) {
                len = m->model.len - (at > from ? at : from);
            }
            if (test_random_below(&random, 2) == 0) {
                data[at] = (uint8_t)test_random_below(&random, 256);
            } else {
                memmove(data + at, data + from, len);
            }
        }
        (void)try_all(data, m->model.len);
    }
    free(data);
    emit_free(m);
}

static void test_nn_onnx_read_of_nothing(void **state)
{
    nn_graph *graph;
    sotto_error err;

    (void)state;
    assert_int_equal(nn_onnx_read(&graph, NULL, 0, &err), SOTTO_ERR_FORMAT);
    assert_int_equal(nn_onnx_read(&graph, "PNG", 3, &err), SOTTO_ERR_FORMAT);
}

/* Shapes that are dear although the file is small. */
static void test_nn_onnx_read_refuses_large_values(void **state)
{
    nn_graph *graph;
    sotto_error err;
    emit_model *m = emit_new(13);

    (void)state;
    emit_input(m, "x", 4, DIMS(-1, 4096, 4096, 2));
    emit_output(m, "y");
    emit_node(m, "Relu", "x", "y");
    emit_finish(m);
    assert_int_equal(nn_onnx_read(&graph, m->model.data, m->model.len, &err),
                     SOTTO_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "elements"));
    emit_free(m);

    /* Each value is allowed, all together are not. */
    m = emit_new(13);
    emit_input(m, "x", 4, DIMS(-1, 4096, 4096, 1));
    emit_output(m, "x5");
    emit_node(m, "Relu", "x", "x1");
    emit_node(m, "Relu", "x1", "x2");
    emit_node(m, "Relu", "x2", "x3");
    emit_node(m, "Relu", "x3", "x4");
    emit_node(m, "Relu", "x4", "x5");
    emit_finish(m);
    assert_int_equal(nn_onnx_read(&graph, m->model.data, m->model.len, &err),
                     SOTTO_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "together"));
    emit_free(m);

    /* Constants that double with every node. */
    m = emit_new(13);
    emit_input(m, "x", 2, DIMS(-1, 2));
    emit_output(m, "y");
    emit_floats(m, "c0", 1, DIMS(2), FLOATS(1, 2), EMIT_RAW);
    for (int k = 0; k < 40; k++) {
        char in[40], out[20];
        (void)snprintf(in, sizeof in, "c%d c%d", k, k);
        (void)snprintf(out, sizeof out, "c%d", k + 1);
        emit_attr_int(m, "axis", 0);
        emit_node(m, "Concat", in, out);
    }
    emit_node(m, "Add", "x c40", "y");
    emit_finish(m);
    assert_int_equal(nn_onnx_read(&graph, m->model.data, m->model.len, &err),
                     SOTTO_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "too large for a file"));
    emit_free(m);
}

/* One constant that many nodes would each copy. */
static void test_nn_onnx_read_refuses_many_copies(void **state)
{
    static const float w[64 * 200] = {0};
    const int n = 100;
    nn_graph *graph;
    sotto_error err;
    emit_model *m = emit_new(13);
    char all[1000] = "";

    (void)state;
    emit_input(m, "x", 2, DIMS(-1, 200));
    emit_output(m, "y");
    for (int k = 0; k < n; k++) {
        char name[16];
        (void)snprintf(name, sizeof name, "d%d", k);
        emit_attr_int(m, "transB", 1);
        emit_node(m, "Gemm", "x w", name);
        (void)snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s",
                       k > 0 ? " " : "", name);
    }
    emit_attr_int(m, "axis", 1);
    emit_node(m, "Concat", all, "y");
    emit_floats(m, "w", 2, DIMS(64, 200), w, EMIT_RAW);
    emit_finish(m);
    assert_int_equal(nn_onnx_read(&graph, m->model.data, m->model.len, &err),
                     SOTTO_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "weights of the network are too large"));
    emit_free(m);
}

/* A name must not drive a terminal. */
static void test_nn_onnx_read_cleans_names(void **state)
{
    nn_graph *graph;
    sotto_error err;
    emit_model *m = emit_new(13);

    (void)state;
    emit_input(m, "x", 2, DIMS(-1, 2));
    emit_output(m, "y");
    emit_node(m, "\033[2JNo\nsuch", "x", "y");
    emit_finish(m);
    assert_int_equal(nn_onnx_read(&graph, m->model.data, m->model.len, &err),
                     SOTTO_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "(?[2JNo?such)"));
    emit_free(m);
}

static sotto_status read_and_write(void *arg)
{
    const emit_model *m = arg;
    nn_graph *graph;
    uint8_t *data;
    size_t len;
    sotto_status status =
        nn_onnx_read(&graph, m->model.data, m->model.len, NULL);

    if (status == SOTTO_OK) {
        status = nn_graph_set_metadata(graph, "key", "value", NULL);
    }
    if (status == SOTTO_OK) {
        const float mean = 0.5F, std = 0.25F;
        status = nn_graph_normalise(graph, &mean, &std, 1, NULL);
    }
    if (status == SOTTO_OK) {
        status = nn_onnx_write(&data, &len, graph, NULL);
        if (status == SOTTO_OK) {
            sotto_free(data);
        }
    }
    nn_graph_free(graph);
    return status;
}

static void test_nn_onnx_survives_any_failed_allocation(void **state)
{
    emit_model *m = small_model();

    (void)state;
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 10000, read_and_write,
                           m) > 50);
    emit_free(m);
}

static sotto_status fold_and_run(void *arg)
{
    const nn_graph *graph = arg;
    float in[3000] = {0}, out[64];
    double scores[64];
    nn_range *ranges = malloc((size_t)graph->n_nodes * sizeof *ranges);
    nn_network *network;
    sotto_status status = nn_network_new(&network, graph, NULL, NULL);

    SOTTO_ASSERT(ranges != NULL);
    if (status == SOTTO_OK) {
        status = nn_network_run(network, NULL, scores, in, 2, NULL, NULL);
    }
    nn_network_free(network);
    if (status == SOTTO_OK) {
        status = nn_plain_run(graph, NULL, out, in, 2, NULL);
    }
    if (status == SOTTO_OK) {
        status = nn_plain_ranges(graph, NULL, ranges, in, 2, NULL);
    }
    free(ranges);
    return status;
}

static void test_nn_network_survives_any_failed_allocation(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        nn_graph *graph = test_random_network(seed, TEST_NET_ANYTHING);
        for (int i = 0; i < graph->n_nodes; i++) {
            nn_graph_set_range(graph, i, -1e3, 1e3);
        }
        assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 10000,
                               fold_and_run, graph) > 20);
        nn_graph_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_onnx_read_of_truncated_files),
        cmocka_unit_test(test_nn_onnx_read_of_flipped_bits),
        cmocka_unit_test(test_nn_onnx_read_of_scrambled_files),
        cmocka_unit_test(test_nn_onnx_read_of_nothing),
        cmocka_unit_test(test_nn_onnx_read_refuses_large_values),
        cmocka_unit_test(test_nn_onnx_read_refuses_many_copies),
        cmocka_unit_test(test_nn_onnx_read_cleans_names),
        cmocka_unit_test(test_nn_onnx_survives_any_failed_allocation),
        cmocka_unit_test(test_nn_network_survives_any_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
