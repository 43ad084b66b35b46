/* SPDX-License-Identifier: MIT
 * The ONNX reader on files of another producer's making: every operator, every
 * spelling. Expected values are worked out by hand.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph/onnx.h"
#include "nn/graph/plain.h"
#include "tests/support/onnx_emit.h"

/* Finishes and reads a model. */
static nn_graph *read_model(emit_model *m)
{
    nn_graph *graph;
    sotto_error err = {""};

    emit_finish(m);
    if (nn_onnx_read(&graph, m->model.data, m->model.len, &err) != SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    emit_free(m);
    return graph;
}

/* Reads a model, runs one image and compares with n values. */
static void check(emit_model *m, const float *in, size_t n, const float *want)
{
    nn_graph *graph = read_model(m);
    float out[256];

    assert_int_equal(nn_shape_size(&nn_graph_output(graph)->shape), n);
    assert_int_equal(nn_plain_run(graph, NULL, out, in, 1, NULL), SOTTO_OK);
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(out[i] - want[i]) <= 1e-5F * fmaxf(1.0F, fabsf(want[i])))) {
            fail_msg("element %zu is %g, expected %g", i, (double)out[i],
                     (double)want[i]);
        }
    }
    nn_graph_free(graph);
}

/* A model with input x [batch, …dims] and output y. */
static emit_model *model(int64_t opset, int rank, const int64_t *dim)
{
    emit_model *m = emit_new(opset);

    emit_input(m, "x", rank, dim);
    emit_output(m, "y");
    return m;
}

/* y = (x·W + b)², written by hand, byte by byte, from onnx.proto: the wire
 * type is in the low three bits of a key, the field number above. */
static const uint8_t by_hand[] = {
    0x08, 0x04,                        /* ir_version = 4 */
    0x12, 0x04, 'h',  'a',  'n',  'd', /* producer_name */
    0x42, 0x02, 0x10, 0x09,            /* opset_import {version = 9} */
    0x3a, 0x87, 0x01,                  /* graph, 135 bytes */
    0x0a, 0x13,                        /* node, 19 bytes */
    0x0a, 0x01, 'x',  0x0a, 0x01, 'W', /* input "x", "W" */
    0x12, 0x01, 'p',                   /* output "p" */
    0x22, 0x06, 'M',  'a',  't',  'M', 'u', 'l', /* op_type */
    0x40, 0x07,                                  /* an unknown field 8 = 7 */
    0x0a, 0x0e,                                  /* node, 14 bytes */
    0x0a, 0x01, 'p',  0x0a, 0x01, 'b',           /**/
    0x12, 0x01, 'q',                             /**/
    0x22, 0x03, 'A',  'd',  'd',                 /**/
    0x0a, 0x12,                                  /* node, 18 bytes */
    0x22, 0x03, 'M',  'u',  'l',                 /* op_type first */
    0x1a, 0x02, 's',  'q',                       /* name */
    0x12, 0x01, 'y',                             /**/
    0x0a, 0x01, 'q',  0x0a, 0x01, 'q',           /**/
    0x12, 0x01, 'g',                             /* graph name */
    0x2a, 0x1b,                                  /* initializer, 27 bytes */
    0x08, 0x02, 0x08, 0x02,                      /* dims 2, 2 */
    0x10, 0x01,                                  /* data_type = FLOAT */
    0x42, 0x01, 'W',                             /* name */
    0x4a, 0x10,                                  /* raw_data, 16 bytes */
    0x00, 0x00, 0x80, 0x3f,                      /* 1 */
    0x00, 0x00, 0x00, 0x40,                      /* 2 */
    0x00, 0x00, 0x40, 0x40,                      /* 3 */
    0x00, 0x00, 0x80, 0xc0,                      /* -4 */
    0x2a, 0x12,                                  /* initializer, 18 bytes */
    0x0a, 0x01, 0x02,                            /* dims [2], packed */
    0x10, 0x01,                                  /* data_type = FLOAT */
    0x22, 0x08,                                  /* float_data, packed */
    0x00, 0x00, 0x00, 0x3f,                      /* 0.5 */
    0x00, 0x00, 0x80, 0xbf,                      /* -1 */
    0x42, 0x01, 'b',                             /**/
    0x5a, 0x13,                                  /* input, 19 bytes */
    0x0a, 0x01, 'x',                             /* name */
    0x12, 0x0e, 0x0a, 0x0c,      /* type.tensor_type, 12 bytes */
    0x08, 0x01,                  /* elem_type = FLOAT */
    0x12, 0x08,                  /* shape */
    0x0a, 0x02, 0x12, 0x00,      /* dim {dim_param = ""} */
    0x0a, 0x02, 0x08, 0x02,      /* dim {dim_value = 2} */
    0x62, 0x03, 0x0a, 0x01, 'y', /* output {name = "y"} */
};

static void test_nn_onnx_read_of_bytes_written_by_hand(void **state)
{
    const float in[4] = {1.0F, 2.0F, -1.0F, 0.5F};
    /* x·W = (7, -6) and (0.5, -4). */
    const float want[4] = {56.25F, 49.0F, 1.0F, 25.0F};
    float out[4];
    nn_graph *graph;
    sotto_error err = {""};

    (void)state;
    if (nn_onnx_read(&graph, by_hand, sizeof by_hand, &err) != SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(graph->producer, "hand");
    assert_int_equal(graph->n_nodes, 3); /* input, dense with bias, square */
    assert_string_equal(graph->nodes[2].name, "sq");
    assert_int_equal(nn_plain_run(graph, NULL, out, in, 2, NULL), SOTTO_OK);
    assert_memory_equal(out, want, sizeof want);
    nn_graph_free(graph);
}

static void test_nn_onnx_read_of_gemm(void **state)
{
    const float in[3] = {1.0F, 2.0F, 3.0F};
    const float w[6] = {1.0F, -1.0F, 2.0F, 0.5F, 0.0F, 1.0F};

    (void)state;
    for (int spelling = EMIT_RAW; spelling <= EMIT_UNPACKED; spelling++) {
        emit_model *m = model(13, 2, DIMS(-1, 3));
        emit_attr_float(m, "beta", 2.0F);
        emit_attr_int(m, "transB", 1);
        emit_attr_float(m, "alpha", 0.5F);
        emit_node(m, "Gemm", "x w c", "y");
        emit_floats(m, "w", 2, DIMS(2, 3), w, (emit_spelling)spelling);
        emit_floats(m, "c", 2, DIMS(1, 2), FLOATS(10.0F, 20.0F),
                    (emit_spelling)spelling);
        /* W·x = (5, 3.5) */
        check(m, in, 2, FLOATS(22.5F, 41.75F));
    }
    emit_model *m = model(7, 2, DIMS(4, 3));
    emit_floats(m, "w", 2, DIMS(3, 2), w, EMIT_RAW);
    emit_node(m, "Gemm", "x w", "y");
    /* columns (1,2,0) and (-1,0.5,1) */
    check(m, in, 2, FLOATS(5.0F, 3.0F));
}

static void test_nn_onnx_read_refuses_other_gemms(void **state)
{
    const float w[9] = {0};
    emit_model *m = model(13, 2, DIMS(-1, 3));

    (void)state;
    emit_attr_int(m, "transA", 1);
    emit_node(m, "Gemm", "x w", "y");
    emit_floats(m, "w", 2, DIMS(3, 3), w, EMIT_RAW);
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "transA");

    m = model(13, 2, DIMS(-1, 3));
    emit_node(m, "Gemm", "x x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "input 1) depends on the images");

    m = model(13, 2, DIMS(-1, 4));
    emit_node(m, "Gemm", "x w", "y");
    emit_floats(m, "w", 2, DIMS(3, 3), w, EMIT_RAW);
    emit_refused(m, SOTTO_ERR_SHAPE, "shape [4], its weights expect [3]");

    m = model(13, 2, DIMS(-1, 3));
    emit_node(m, "MatMul", "w x", "y");
    emit_floats(m, "w", 2, DIMS(3, 3), w, EMIT_RAW);
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "node 'the_y' (MatMul)");
}

/* 1×3×3 picture 1..9. */
static const float picture[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static void test_nn_onnx_read_of_conv(void **state)
{
    const float w[4] = {1.0F, 10.0F, 100.0F, 1000.0F};
    emit_model *m = model(11, 4, DIMS(1, 1, 3, 3));

    (void)state;
    emit_attr_ints(m, "strides", 2, DIMS(2, 1));
    emit_attr_ints(m, "pads", 4, DIMS(1, 0, 0, 1));
    emit_attr_ints(m, "kernel_shape", 2, DIMS(2, 2));
    emit_node(m, "Conv", "x w b", "y");
    emit_floats(m, "w", 4, DIMS(1, 1, 2, 2), w, EMIT_PACKED);
    emit_floats(m, "b", 1, DIMS(1), FLOATS(0.5F), EMIT_RAW);
    /* rows -1,0 and 1,2; columns 0..2 with one pad on the right */
    check(m, picture, 6,
          FLOATS(2100.5F, 3200.5F, 300.5F, 8754.5F, 9865.5F, 906.5F));
}

static void test_nn_onnx_read_of_auto_pad(void **state)
{
    const float ones[4] = {1, 1, 1, 1};
    static const struct {
        const char *mode;
        int64_t stride, dilation;
        size_t n;
        float want[9];
    } cases[] = {
        {"VALID", 1, 1, 4, {12, 16, 24, 28}},
        {"SAME_UPPER", 1, 1, 9, {12, 16, 9, 24, 28, 15, 15, 17, 9}},
        {"SAME_LOWER", 1, 1, 9, {1, 3, 5, 5, 12, 16, 11, 24, 28}},
        /* two outputs, one pad in all, at the end or at the beginning */
        {"SAME_UPPER", 2, 1, 4, {12, 9, 15, 9}},
        {"SAME_LOWER", 2, 1, 4, {1, 5, 11, 28}},
        {"SAME_UPPER", 1, 2, 9, {5, 10, 5, 10, 20, 10, 5, 10, 5}},
        {"NOTSET", 1, 1, 4, {12, 16, 24, 28}},
    };

    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        emit_model *m = model(13, 4, DIMS(-1, 1, 3, 3));
        emit_attr_text(m, "auto_pad", cases[k].mode);
        emit_attr_ints(m, "strides", 2, DIMS(cases[k].stride, cases[k].stride));
        emit_attr_ints(m, "dilations", 2,
                       DIMS(cases[k].dilation, cases[k].dilation));
        emit_node(m, "Conv", "x w", "y");
        emit_floats(m, "w", 4, DIMS(1, 1, 2, 2), ones, EMIT_RAW);
        check(m, picture, cases[k].n, cases[k].want);
    }
}

static void test_nn_onnx_read_of_grouped_conv(void **state)
{
    const float in[2] = {3.0F, 5.0F};
    emit_model *m = model(13, 4, DIMS(-1, 2, 1, 1));

    (void)state;
    emit_attr_int(m, "group", 2);
    emit_node(m, "Conv", "x w", "y");
    emit_floats(m, "w", 4, DIMS(4, 1, 1, 1), FLOATS(1, 2, 10, 20), EMIT_RAW);
    check(m, in, 4, FLOATS(3, 6, 50, 100));
}

static void test_nn_onnx_read_refuses_other_convs(void **state)
{
    const float w[12] = {0};
    emit_model *m = model(13, 3, DIMS(-1, 1, 8));

    (void)state;
    emit_node(m, "Conv", "x w", "y");
    emit_floats(m, "w", 3, DIMS(1, 1, 3), w, EMIT_RAW);
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "3 dimensions");

    m = model(13, 4, DIMS(-1, 2, 3, 3));
    emit_node(m, "Conv", "x w", "y");
    emit_floats(m, "w", 4, DIMS(1, 1, 2, 2), w, EMIT_RAW);
    emit_refused(m, SOTTO_ERR_SHAPE, "its input has 2 channels");

    m = model(13, 4, DIMS(-1, 1, 3, 3));
    emit_node(m, "Conv", "x w", "y");
    emit_floats(m, "w", 4, DIMS(1, 1, 4, 2), w, EMIT_RAW);
    emit_refused(m, SOTTO_ERR_SHAPE, "its window covers 4");

    m = model(13, 4, DIMS(-1, 1, 3, 3));
    emit_attr_ints(m, "pads", 4, DIMS(0, -1, 0, 0));
    emit_node(m, "Conv", "x w", "y");
    emit_floats(m, "w", 4, DIMS(1, 1, 2, 2), w, EMIT_RAW);
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "holds -1");

    m = model(13, 4, DIMS(-1, 1, 3, 3));
    emit_attr_ints(m, "strides", 2, DIMS(0, 1));
    emit_node(m, "Conv", "x w", "y");
    emit_floats(m, "w", 4, DIMS(1, 1, 2, 2), w, EMIT_RAW);
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "'strides'");
}

static void test_nn_onnx_read_of_pools(void **state)
{
    emit_model *m = model(13, 4, DIMS(-1, 1, 3, 3));

    (void)state;
    emit_attr_ints(m, "kernel_shape", 2, DIMS(2, 2));
    emit_attr_ints(m, "strides", 2, DIMS(2, 2));
    emit_attr_ints(m, "pads", 4, DIMS(1, 1, 0, 0));
    emit_node(m, "AveragePool", "x", "y");
    check(m, picture, 4, FLOATS(1.0F, 2.5F, 5.5F, 7.0F));

    m = model(13, 4, DIMS(-1, 1, 3, 3));
    emit_attr_int(m, "count_include_pad", 1);
    emit_attr_ints(m, "pads", 4, DIMS(1, 1, 0, 0));
    emit_attr_ints(m, "strides", 2, DIMS(2, 2));
    emit_attr_ints(m, "kernel_shape", 2, DIMS(2, 2));
    emit_node(m, "AveragePool", "x", "y");
    check(m, picture, 4, FLOATS(0.25F, 1.25F, 2.75F, 7.0F));

    m = model(13, 4, DIMS(-1, 1, 3, 3));
    emit_attr_ints(m, "kernel_shape", 2, DIMS(2, 2));
    emit_attr_ints(m, "pads", 4, DIMS(1, 1, 1, 1));
    emit_attr_ints(m, "strides", 2, DIMS(3, 3));
    emit_attr_int(m, "storage_order", 0);
    emit_node(m, "MaxPool", "x", "y");
    check(m, picture, 4, FLOATS(1.0F, 3.0F, 7.0F, 9.0F));

    m = model(13, 4, DIMS(-1, 1, 3, 3));
    emit_node(m, "GlobalAveragePool", "x", "y");
    check(m, picture, 1, FLOATS(5.0F));

    m = model(13, 4, DIMS(-1, 1, 3, 3));
    emit_attr_int(m, "ceil_mode", 1);
    emit_attr_ints(m, "kernel_shape", 2, DIMS(2, 2));
    emit_attr_ints(m, "strides", 2, DIMS(2, 2));
    emit_node(m, "MaxPool", "x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "ceil_mode");

    m = model(13, 4, DIMS(-1, 1, 3, 3));
    emit_attr_ints(m, "kernel_shape", 2, DIMS(2, 2));
    emit_attr_ints(m, "pads", 4, DIMS(2, 0, 0, 0));
    emit_node(m, "MaxPool", "x", "y");
    emit_refused(m, SOTTO_ERR_SHAPE, "wholly in the padding");
}

static void test_nn_onnx_read_of_arithmetic_with_constants(void **state)
{
    const float in[4] = {1.0F, 2.0F, 3.0F, 4.0F}; /* [2,1,2] */
    static const struct {
        const char *op;
        bool first;
        int rank;
        int64_t dim[4];
        float c[4], want[4];
    } cases[] = {
        {"Add", false, 0, {0}, {10}, {11, 12, 13, 14}},
        {"Add", true, 3, {2, 1, 1}, {10, 20}, {11, 12, 23, 24}},
        {"Sub", false, 1, {2}, {1, 2}, {0, 0, 2, 2}},
        {"Sub", true, 1, {1}, {10}, {9, 8, 7, 6}},
        {"Mul", false, 4, {1, 2, 1, 2}, {1, 2, 3, 4}, {1, 4, 9, 16}},
        {"Mul", true, 2, {1, 2}, {2, -1}, {2, -2, 6, -4}},
        {"Div", false, 4, {1, 2, 1, 1}, {2, 4}, {0.5F, 1, 0.75F, 1}},
        {"Pow", false, 0, {0}, {2}, {1, 4, 9, 16}},
    };

    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        emit_model *m = model(13, 4, DIMS(-1, 2, 1, 2));
        emit_node(m, cases[k].op, cases[k].first ? "c x" : "x c", "y");
        emit_floats(m, "c", cases[k].rank, cases[k].dim, cases[k].c, EMIT_RAW);
        check(m, in, 4, cases[k].want);
    }
}

static void test_nn_onnx_read_refuses_other_arithmetic(void **state)
{
    static const struct {
        const char *op, *inputs;
        int rank;
        int64_t dim[5];
        const char *part;
        sotto_status status;
    } cases[] = {
        {"Add", "x c", 1, {3}, "does not stretch", SOTTO_ERR_SHAPE},
        {"Add", "x c", 4, {3, 1, 1, 1}, "alike", SOTTO_ERR_UNSUPPORTED},
        {"Mul", "x c", 5, {1, 1, 1, 1, 1}, "5 dim", SOTTO_ERR_UNSUPPORTED},
        {"Div", "c x", 0, {0}, "divides by a value", SOTTO_ERR_UNSUPPORTED},
        {"Div", "x c", 0, {0}, "divides by 0", SOTTO_ERR_UNSUPPORTED},
        {"Div", "x x", 0, {0}, "divides by a value", SOTTO_ERR_UNSUPPORTED},
        {"Pow", "x c", 0, {0}, "power 2", SOTTO_ERR_UNSUPPORTED},
        {"Mul", "x", 0, {0}, "input 1 is missing", SOTTO_ERR_UNSUPPORTED},
    };
    const float c[3] = {0};

    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        emit_model *m = model(13, 4, DIMS(-1, 2, 1, 2));
        emit_node(m, cases[k].op, cases[k].inputs, "y");
        emit_floats(m, "c", cases[k].rank, cases[k].dim, c, EMIT_RAW);
        emit_refused(m, cases[k].status, cases[k].part);
    }
}

static void test_nn_onnx_read_of_two_values(void **state)
{
    const float in[3] = {1.0F, -2.0F, 3.0F};
    emit_model *m = model(13, 2, DIMS(-1, 3));

    (void)state;
    emit_node(m, "Relu", "x", "r");
    emit_node(m, "Mul", "x x", "s");
    emit_node(m, "Sub", "s r", "d");
    emit_node(m, "Mul", "d x", "p");
    emit_node(m, "Add", "p p", "y");
    /* r = 1,0,3; s = 1,4,9; d = 0,4,6; p = 0,-8,18 */
    check(m, in, 3, FLOATS(0.0F, -16.0F, 36.0F));
}

static void test_nn_onnx_read_of_batch_normalization(void **state)
{
    const float in[4] = {1.0F, 2.0F, 3.0F, 4.0F};
    emit_model *m = model(9, 4, DIMS(-1, 2, 1, 2));

    (void)state;
    emit_attr_float(m, "epsilon", 1.0F);
    emit_attr_float(m, "momentum", 0.9F);
    emit_node(m, "BatchNormalization", "x s b m v", "y");
    emit_floats(m, "s", 1, DIMS(2), FLOATS(2.0F, 3.0F), EMIT_RAW);
    emit_floats(m, "b", 1, DIMS(2), FLOATS(0.5F, -0.5F), EMIT_RAW);
    emit_floats(m, "m", 1, DIMS(2), FLOATS(1.0F, 2.0F), EMIT_RAW);
    emit_floats(m, "v", 1, DIMS(2), FLOATS(3.0F, 8.0F), EMIT_RAW);
    /* factors 1 and 1 */
    check(m, in, 4, FLOATS(0.5F, 1.5F, 0.5F, 1.5F));

    m = model(15, 4, DIMS(-1, 2, 1, 2));
    emit_attr_int(m, "training_mode", 1);
    emit_node(m, "BatchNormalization", "x s s s s", "y");
    emit_floats(m, "s", 1, DIMS(2), FLOATS(2.0F, 3.0F), EMIT_RAW);
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "training_mode");
}

static void test_nn_onnx_read_merges_what_belongs_together(void **state)
{
    emit_model *m = model(13, 2, DIMS(-1, 2));

    (void)state;
    emit_node(m, "MatMul", "x w", "p");
    emit_node(m, "Add", "b p", "q"); /* the bias of the layer */
    emit_node(m, "Mul", "q w1", "r");
    emit_node(m, "Add", "r b", "y"); /* one scale and shift */
    emit_floats(m, "w", 2, DIMS(2, 2), FLOATS(1, 2, 3, 4), EMIT_RAW);
    emit_floats(m, "w1", 0, NULL, FLOATS(2), EMIT_RAW);
    emit_floats(m, "b", 1, DIMS(2), FLOATS(5, 6), EMIT_RAW);
    nn_graph *graph = read_model(m);
    assert_int_equal(graph->n_nodes, 3);
    assert_int_equal(graph->nodes[1].op, NN_OP_DENSE);
    assert_string_equal(graph->nodes[1].tensor, "q");
    assert_true(graph->nodes[1].bias[1] == 6.0F);
    assert_int_equal(graph->nodes[2].op, NN_OP_SCALE_SHIFT);
    assert_string_equal(graph->nodes[2].name, "the_y");
    assert_true(graph->nodes[2].weights[1] == 2.0F);
    assert_true(graph->nodes[2].bias[0] == 5.0F);
    nn_graph_free(graph);

    /* Not where the value without the shift is read elsewhere, even by another
     * name. */
    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "MatMul", "x w", "p");
    emit_node(m, "Identity", "p", "alias");
    emit_node(m, "Add", "b p", "q");
    emit_node(m, "Add", "q alias", "y");
    emit_floats(m, "w", 2, DIMS(2, 2), FLOATS(1, 0, 0, 1), EMIT_RAW);
    emit_floats(m, "b", 1, DIMS(2), FLOATS(5, 6), EMIT_RAW);
    check(m, FLOATS(1, 2), 2, FLOATS(7, 10));
}

static void test_nn_onnx_read_of_shapes(void **state)
{
    const float in[6] = {1, 2, 3, 4, 5, 6}; /* [1,2,3] */
    emit_model *m = model(13, 4, DIMS(-1, 1, 2, 3));

    (void)state;
    emit_attr_ints(m, "perm", 4, DIMS(0, 3, 1, 2));
    emit_node(m, "Transpose", "x", "t");     /* [3,1,2] */
    emit_node(m, "Squeeze", "t two", "s");   /* [3,2] */
    emit_node(m, "Unsqueeze", "s one", "u"); /* [1,3,2] */
    emit_attr_int(m, "axis", -1);
    emit_node(m, "Concat", "u u", "c");      /* [1,3,4] */
    emit_node(m, "Reshape", "c shape", "r"); /* [2,6] */
    emit_attr_int(m, "axis", 1);
    emit_node(m, "Flatten", "r", "y");
    emit_int64s(m, "one", 1, DIMS(1), DIMS(1), EMIT_RAW);
    emit_int64s(m, "two", 1, DIMS(1), DIMS(-2), EMIT_PACKED);
    emit_int64s(m, "shape", 1, DIMS(3), DIMS(0, -1, 6), EMIT_UNPACKED);
    check(m, in, 12, FLOATS(1, 4, 1, 4, 2, 5, 2, 5, 3, 6, 3, 6));

    /* Axes as attributes. */
    m = model(11, 4, DIMS(-1, 1, 2, 3));
    emit_attr_ints(m, "axes", 1, DIMS(1));
    emit_node(m, "Squeeze", "x", "s");
    emit_attr_ints(m, "axes", 2, DIMS(3, 1));
    emit_node(m, "Unsqueeze", "s", "u"); /* [1,2,1,3] */
    emit_node(m, "Flatten", "u", "y");
    check(m, in, 6, in);
}

static void test_nn_onnx_read_refuses_moving_the_batch(void **state)
{
    emit_model *m = model(13, 4, DIMS(-1, 1, 2, 3));

    (void)state;
    emit_attr_ints(m, "perm", 4, DIMS(1, 0, 2, 3));
    emit_node(m, "Transpose", "x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "batch dimension stays first");

    m = model(13, 4, DIMS(-1, 1, 2, 3));
    emit_attr_int(m, "axis", 0);
    emit_node(m, "Concat", "x x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "along the batch");

    m = model(13, 4, DIMS(-1, 1, 2, 3));
    emit_node(m, "Reshape", "x s", "y");
    emit_int64s(m, "s", 1, DIMS(2), DIMS(6, -1), EMIT_RAW);
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "the first 6");

    m = model(13, 4, DIMS(-1, 1, 2, 3));
    emit_attr_int(m, "axis", 2);
    emit_node(m, "Flatten", "x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "flattens from axis 2");

    m = model(13, 4, DIMS(-1, 1, 2, 3));
    emit_node(m, "Reshape", "x s", "y");
    emit_int64s(m, "s", 1, DIMS(2), DIMS(-1, 5), EMIT_RAW);
    emit_refused(m, SOTTO_ERR_SHAPE, "6 elements");
}

static void test_nn_onnx_read_of_pad(void **state)
{
    const float in[2] = {1, 2}; /* [1,1,2] */
    const float want[6] = {9, 1, 2, 9, 9, 9};
    emit_model *m = model(13, 4, DIMS(-1, 1, 1, 2));

    (void)state;
    emit_attr_text(m, "mode", "constant");
    emit_node(m, "Pad", "x p v", "y");
    emit_int64s(m, "p", 1, DIMS(8), DIMS(0, 0, 0, 1, 0, 0, 1, 0), EMIT_RAW);
    emit_floats(m, "v", 0, NULL, FLOATS(9), EMIT_RAW);
    check(m, in, 6, want);

    m = model(9, 4, DIMS(-1, 1, 1, 2)); /* attribute form */
    emit_attr_float(m, "value", 9.0F);
    emit_attr_ints(m, "pads", 8, DIMS(0, 0, 0, 1, 0, 0, 1, 0));
    emit_node(m, "Pad", "x", "y");
    check(m, in, 6, want);

    m = model(18, 4, DIMS(-1, 1, 1, 2)); /* some axes only */
    emit_node(m, "Pad", "x p v a", "y");
    emit_int64s(m, "p", 1, DIMS(4), DIMS(1, 0, 0, 1), EMIT_RAW);
    emit_int64s(m, "a", 1, DIMS(2), DIMS(3, -2), EMIT_RAW);
    emit_floats(m, "v", 1, DIMS(1), FLOATS(9), EMIT_RAW);
    check(m, in, 6, want);

    m = model(13, 4, DIMS(-1, 1, 1, 2));
    emit_attr_text(m, "mode", "reflect");
    emit_node(m, "Pad", "x p", "y");
    emit_int64s(m, "p", 1, DIMS(8), DIMS(0, 0, 0, 1, 0, 0, 1, 0), EMIT_RAW);
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "mode 'constant'");
}

/* What exporters make of x.view(x.size(0), -1) and the like. */
static void test_nn_onnx_read_of_computed_shapes(void **state)
{
    const float in[6] = {1, 2, 3, 4, 5, 6};

    (void)state;
    for (int fixed = 0; fixed < 2; fixed++) {
        emit_model *m = model(11, 4, DIMS(fixed ? 7 : -1, 1, 2, 3));
        emit_node(m, "Shape", "x", "sh");
        emit_attr_tensor(m, "value", 0, NULL, NULL, DIMS(0), EMIT_RAW);
        emit_node(m, "Constant", "", "zero");
        emit_attr_int(m, "axis", 0);
        emit_node(m, "Gather", "sh zero", "n");
        emit_attr_ints(m, "axes", 1, DIMS(0));
        emit_node(m, "Unsqueeze", "n", "n1");
        emit_node(m, "Slice", "sh from to", "hw"); /* 2, 3 */
        emit_attr_int(m, "axis", 0);
        emit_node(m, "Gather", "hw zero", "h");
        emit_node(m, "Mul", "h three", "six");
        emit_attr_int(m, "to", 7);
        emit_node(m, "Cast", "six", "six64");
        emit_attr_ints(m, "axes", 1, DIMS(0));
        emit_node(m, "Unsqueeze", "six64", "six1");
        emit_attr_int(m, "axis", 0);
        emit_node(m, "Concat", "n1 six1", "target");
        emit_node(m, "Reshape", "x target", "y");
        emit_int64s(m, "from", 1, DIMS(1), DIMS(2), EMIT_RAW);
        emit_int64s(m, "to", 1, DIMS(1), DIMS(INT64_MAX), EMIT_RAW);
        emit_int64s(m, "three", 0, NULL, DIMS(3), EMIT_RAW);
        check(m, in, 6, in);
    }
}

static void test_nn_onnx_read_of_computed_constants(void **state)
{
    emit_model *m = model(8, 2, DIMS(1, 2));

    (void)state;
    /* The weights come as [2,1,2], reshaped and transposed in the model; the
     * bias is a sum. */
    emit_node(m, "Reshape", "w s", "w2");
    emit_node(m, "Transpose", "w2", "wt");
    emit_node(m, "MatMul", "x wt", "p");
    emit_node(m, "Add", "b1 b2", "b");
    emit_node(m, "Add", "p b", "y");
    emit_floats(m, "w", 3, DIMS(2, 1, 2), FLOATS(1, 2, 3, 4), EMIT_RAW);
    emit_int64s(m, "s", 1, DIMS(2), DIMS(2, 2), EMIT_RAW);
    emit_floats(m, "b1", 2, DIMS(1, 2), FLOATS(10, 20), EMIT_RAW);
    emit_floats(m, "b2", 0, NULL, FLOATS(0.5F), EMIT_RAW);
    check(m, FLOATS(1, 1), 2, FLOATS(13.5F, 27.5F));

    m = model(13, 2, DIMS(-1, 2));
    emit_attr_ints(m, "value_ints", 2, DIMS(2, 3));
    emit_node(m, "Constant", "", "dims");
    emit_attr_tensor(m, "value", 1, DIMS(1), FLOATS(2.5F), NULL, EMIT_PACKED);
    emit_node(m, "ConstantOfShape", "dims", "filled");
    emit_node(m, "MatMul", "x filled", "p");
    emit_attr_float(m, "value_float", 4.0F);
    emit_node(m, "Constant", "", "four");
    emit_node(m, "Sub", "p four", "y");
    check(m, FLOATS(1, 2), 3, FLOATS(3.5F, 3.5F, 3.5F));
}

static void test_nn_onnx_read_of_inference_only_nodes(void **state)
{
    emit_model *m = model(13, 2, DIMS(-1, 2));

    (void)state;
    emit_node(m, "Identity", "x", "i");
    emit_node(m, "Dropout", "i ratio", "d mask");
    emit_attr_int(m, "to", 1);
    emit_node(m, "Cast", "d", "c");
    emit_node(m, "Softmax", "c", "y");
    emit_floats(m, "ratio", 0, NULL, FLOATS(0.5F), EMIT_RAW);
    check(m, FLOATS(0, 0), 2, FLOATS(0.5F, 0.5F));

    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "Dropout", "x", "d mask");
    emit_node(m, "Add", "d mask", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "its output 1 is used");

    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "Softmax", "x", "s");
    emit_node(m, "Relu", "s", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "at the end");
}

static void test_nn_onnx_read_drops_what_nothing_needs(void **state)
{
    emit_model *m = model(13, 2, DIMS(-1, 2));

    (void)state;
    emit_node(m, "LSTM", "x", "forgotten");
    emit_node(m, "Relu", "x", "y");
    emit_node(m, "Shape", "big", "unused");
    nn_graph *graph = read_model(m);
    assert_int_equal(graph->n_nodes, 2);
    nn_graph_free(graph);

    /* A value that served only to know its shape is dropped, too. */
    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "Relu", "x", "r");
    emit_node(m, "Shape", "r", "s");
    emit_node(m, "Reshape", "x s", "y");
    graph = read_model(m);
    assert_int_equal(graph->n_nodes, 2);
    assert_int_equal(graph->nodes[1].op, NN_OP_RESHAPE);
    nn_graph_free(graph);
}

static void test_nn_onnx_read_takes_initialisers_listed_as_inputs(void **state)
{
    emit_model *m = emit_new(7);

    (void)state;
    emit_input(m, "w", 2, DIMS(2, 1));
    emit_input(m, "x", 2, DIMS(-1, 2));
    emit_output(m, "y");
    emit_node(m, "MatMul", "x w", "y");
    emit_floats(m, "w", 2, DIMS(2, 1), FLOATS(1, 2), EMIT_RAW);
    check(m, FLOATS(3, 4), 1, FLOATS(11));
}

static void test_nn_onnx_read_takes_ranges_and_metadata(void **state)
{
    emit_model *m = model(13, 2, DIMS(-1, 2));

    (void)state;
    emit_node(m, "Relu", "x", "y");
    emit_metadata(m, "sotto.range.x", "-1 2.5");
    emit_metadata(m, "sotto.range.gone", "0 1");
    emit_metadata(m, "author", "a test\n");
    nn_graph *graph = read_model(m);
    assert_true(graph->nodes[0].range.known);
    assert_true(graph->nodes[0].range.min == -1.0);
    assert_true(graph->nodes[0].range.max == 2.5);
    assert_false(graph->nodes[1].range.known);
    assert_string_equal(nn_graph_metadata(graph, "author"), "a test?");
    nn_graph_free(graph);

    static const char *const bad[] = {"",      "1",     "2 1",
                                      "nan 1", "0 inf", "0 1 2"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        m = model(13, 2, DIMS(-1, 2));
        emit_node(m, "Relu", "x", "y");
        emit_metadata(m, "sotto.range.y", bad[k]);
        emit_refused(m, SOTTO_ERR_FORMAT, "the range of 'y'");
    }
}

static void test_nn_onnx_read_refuses_with_names(void **state)
{
    emit_model *m = model(13, 4, DIMS(-1, 1, 2, 2));

    (void)state;
    emit_node(m, "Sigmoid", "x", "y");
    emit_refused(
        m, SOTTO_ERR_UNSUPPORTED,
        "node 'the_y' (Sigmoid): this operator is not supported; supported "
        "are Conv");

    m = model(6, 2, DIMS(-1, 2));
    emit_node(m, "Relu", "x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED,
                 "operator set 6; supported are 7 to 20");
    m = model(21, 2, DIMS(-1, 2));
    emit_node(m, "Relu", "x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "operator set 21");

    m = model(13, 2, DIMS(-1, 2));
    emit_input(m, "x2", 2, DIMS(-1, 2));
    emit_node(m, "Add", "x x2", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "several inputs");

    m = model(13, 2, DIMS(-1, 2));
    emit_output(m, "y2");
    emit_node(m, "Relu", "x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "several outputs");

    m = model(13, 3, DIMS(-1, 2, -1));
    emit_node(m, "Relu", "x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED,
                 "dimension 2 of the input is not fixed");

    m = model(13, 1, DIMS(2));
    emit_node(m, "Relu", "x", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "1 dimensions");
}

static void test_nn_onnx_read_refuses_broken_graphs(void **state)
{
    emit_model *m = model(13, 2, DIMS(-1, 2));

    (void)state;
    emit_node(m, "Add", "x b", "a"); /* a cycle */
    emit_node(m, "Relu", "a", "b");
    emit_node(m, "Relu", "a", "y");
    emit_refused(m, SOTTO_ERR_FORMAT,
                 "reads 'b', which no node before it makes");

    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "Relu", "nothing", "y");
    emit_refused(m, SOTTO_ERR_FORMAT, "reads 'nothing'");

    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "Relu", "x", "y");
    emit_node(m, "Identity", "x", "y");
    emit_refused(m, SOTTO_ERR_FORMAT, "output of another node");

    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "Relu", "x", "x");
    emit_refused(m, SOTTO_ERR_FORMAT, "output of a node");

    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "Relu", "x", "y");
    emit_floats(m, "y", 0, NULL, FLOATS(1), EMIT_RAW);
    emit_refused(m, SOTTO_ERR_FORMAT, "name of an input or initialiser");

    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "Relu", "x", "z");
    emit_refused(m, SOTTO_ERR_FORMAT, "made by no node");

    m = model(13, 2, DIMS(-1, 2));
    emit_attr_int(m, "value_int", 3);
    emit_node(m, "Constant", "", "y");
    emit_refused(m, SOTTO_ERR_FORMAT, "constant");

    m = model(13, 2, DIMS(-1, 2));
    emit_node(m, "Relu", "x", "y");
    emit_floats(m, "c", 0, NULL, FLOATS(1), EMIT_RAW);
    emit_floats(m, "c", 0, NULL, FLOATS(1), EMIT_RAW);
    emit_refused(m, SOTTO_ERR_FORMAT, "two initialisers named 'c'");
}

/* A model that adds an initialiser given as raw TensorProto fields. */
static emit_model *with_tensor(emit *tensor)
{
    emit_model *m = model(13, 2, DIMS(-1, 2));

    emit_node(m, "Add", "x c", "y");
    emit_text(tensor, 8, "c");
    emit_message(&m->graph, 5, tensor);
    return m;
}

static void test_nn_onnx_read_refuses_broken_constants(void **state)
{
    emit *t = calloc(1, sizeof *t);
    emit_model *m;

    (void)state;
    emit_int(t, 1, 2);
    emit_int(t, 2, 1);
    emit_bytes(t, 9, "1234567", 7);
    emit_refused(with_tensor(t), SOTTO_ERR_FORMAT, "dimensions for 2 elements");

    emit_int(t, 1, 2);
    emit_int(t, 2, 1);
    for (int i = 0; i < 3; i++) { /* one too many */
        emit_float(t, 4, 1.0F);
    }
    emit_refused(with_tensor(t), SOTTO_ERR_FORMAT, "data for 3");

    emit_int(t, 1, (int64_t)1 << 28);
    emit_int(t, 1, (int64_t)1 << 28);
    emit_int(t, 2, 1);
    emit_bytes(t, 9, "1234", 4);
    emit_refused(with_tensor(t), SOTTO_ERR_FORMAT, "too many elements");

    emit_int(t, 1, -2);
    emit_int(t, 2, 1);
    emit_refused(with_tensor(t), SOTTO_ERR_UNSUPPORTED, "dimensions or");

    emit_int(t, 2, 10); /* float16 */
    emit_bytes(t, 9, "12", 2);
    emit_refused(with_tensor(t), SOTTO_ERR_UNSUPPORTED, "element type 10");

    emit_int(t, 2, 1); /* data in another file */
    emit_int(t, 14, 1);
    emit_refused(with_tensor(t), SOTTO_ERR_UNSUPPORTED, "in another file");

    emit_int(t, 2, 1);
    emit_bytes(t, 9, "\x00\x00\xc0\x7f", 4); /* not a number */
    emit_refused(with_tensor(t), SOTTO_ERR_PARAM, "not finite");

    emit_int(t, 2, 7);
    emit_bytes(t, 9, "12345678", 8);
    emit_refused(with_tensor(t), SOTTO_ERR_UNSUPPORTED, "integer");

    m = model(13, 2, DIMS(-1, 2));
    emit_attr_int(m, "sparse_value", 1);
    emit_node(m, "Constant", "", "c");
    emit_node(m, "Add", "x c", "y");
    emit_refused(m, SOTTO_ERR_UNSUPPORTED, "supported are constants in");
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_onnx_read_of_bytes_written_by_hand),
        cmocka_unit_test(test_nn_onnx_read_of_gemm),
        cmocka_unit_test(test_nn_onnx_read_refuses_other_gemms),
        cmocka_unit_test(test_nn_onnx_read_of_conv),
        cmocka_unit_test(test_nn_onnx_read_of_auto_pad),
        cmocka_unit_test(test_nn_onnx_read_of_grouped_conv),
        cmocka_unit_test(test_nn_onnx_read_refuses_other_convs),
        cmocka_unit_test(test_nn_onnx_read_of_pools),
        cmocka_unit_test(test_nn_onnx_read_of_arithmetic_with_constants),
        cmocka_unit_test(test_nn_onnx_read_refuses_other_arithmetic),
        cmocka_unit_test(test_nn_onnx_read_of_two_values),
        cmocka_unit_test(test_nn_onnx_read_of_batch_normalization),
        cmocka_unit_test(test_nn_onnx_read_merges_what_belongs_together),
        cmocka_unit_test(test_nn_onnx_read_of_shapes),
        cmocka_unit_test(test_nn_onnx_read_refuses_moving_the_batch),
        cmocka_unit_test(test_nn_onnx_read_of_pad),
        cmocka_unit_test(test_nn_onnx_read_of_computed_shapes),
        cmocka_unit_test(test_nn_onnx_read_of_computed_constants),
        cmocka_unit_test(test_nn_onnx_read_of_inference_only_nodes),
        cmocka_unit_test(test_nn_onnx_read_drops_what_nothing_needs),
        cmocka_unit_test(test_nn_onnx_read_takes_initialisers_listed_as_inputs),
        cmocka_unit_test(test_nn_onnx_read_takes_ranges_and_metadata),
        cmocka_unit_test(test_nn_onnx_read_refuses_with_names),
        cmocka_unit_test(test_nn_onnx_read_refuses_broken_graphs),
        cmocka_unit_test(test_nn_onnx_read_refuses_broken_constants),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
