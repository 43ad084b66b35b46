/* SPDX-License-Identifier: MIT
 * ONNX models that compute with constants: every operator that is worked out
 * while reading. The result is added to an image of zeros and looked at.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "nn/graph/onnx.h"
#include "nn/graph/plain.h"
#include "tests/support/onnx_emit.h"

/* A model y = x + c for x of n numbers; the caller adds what makes c. */
static emit_model *model(int64_t opset, int64_t n)
{
    emit_model *m = emit_new(opset);

    emit_input(m, "x", 2, DIMS(-1, n));
    emit_output(m, "y");
    return m;
}

/* Ends the model; c must have these values. */
static void check(emit_model *m, size_t n, const float *want)
{
    const float zero[64] = {0};
    float out[64];
    nn_graph *graph;
    sotto_error err = {""};

    emit_node(m, "Add", "x c", "y");
    emit_finish(m);
    if (nn_onnx_read(&graph, m->model.data, m->model.len, &err) != SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(nn_shape_size(&nn_graph_output(graph)->shape), n);
    assert_int_equal(nn_plain_run(graph, NULL, out, zero, 1, NULL), SOTTO_OK);
    assert_memory_equal(out, want, n * sizeof *want);
    nn_graph_free(graph);
    emit_free(m);
}

/* Ends the model; it must be refused. */
static void refuse(emit_model *m, sotto_status status, const char *part)
{
    emit_node(m, "Add", "x c", "y");
    emit_refused(m, status, part);
}

static void test_nn_onnx_constants_change_shape(void **state)
{
    emit_model *m = model(13, 6);

    (void)state;
    emit_node(m, "Transpose", "a", "t"); /* [3,1,2], reversed */
    emit_node(m, "Squeeze", "t", "s");   /* [3,2], every 1 goes */
    emit_attr_int(m, "axis", 0);
    emit_node(m, "Flatten", "s", "f"); /* [1,6] */
    emit_node(m, "Unsqueeze", "f first", "u");
    emit_node(m, "Squeeze", "u first", "c0");
    emit_node(m, "Identity", "c0", "c");
    emit_int64s(m, "first", 1, DIMS(1), DIMS(-3), EMIT_RAW);
    emit_floats(m, "a", 3, DIMS(2, 1, 3), FLOATS(1, 2, 3, 4, 5, 6), EMIT_RAW);
    check(m, 6, FLOATS(1, 4, 2, 5, 3, 6));

    m = model(11, 6);
    emit_attr_ints(m, "perm", 3, DIMS(1, 2, 0));
    emit_node(m, "Transpose", "a", "t"); /* [1,3,2] */
    emit_attr_ints(m, "axes", 1, DIMS(0));
    emit_node(m, "Squeeze", "t", "s");
    emit_attr_ints(m, "axes", 2, DIMS(0, -1));
    emit_node(m, "Unsqueeze", "s", "u"); /* [1,3,2,1] */
    emit_node(m, "Reshape", "u to", "c");
    emit_int64s(m, "to", 1, DIMS(2), DIMS(0, -1), EMIT_RAW);
    emit_floats(m, "a", 3, DIMS(2, 1, 3), FLOATS(1, 2, 3, 4, 5, 6), EMIT_RAW);
    check(m, 6, FLOATS(1, 4, 2, 5, 3, 6));
}

static void test_nn_onnx_constants_are_picked_and_cut(void **state)
{
    emit_model *m = model(13, 4);

    (void)state;
    emit_attr_int(m, "axis", 1);
    emit_node(m, "Gather", "a which", "g");       /* [2,2,1] */
    emit_node(m, "Slice", "a from to axes", "s"); /* [2,1] */
    emit_node(m, "Squeeze", "g last", "h");       /* [2,2] */
    emit_attr_int(m, "axis", -1);
    emit_node(m, "Concat", "h s", "k");                 /* [2,3] */
    emit_node(m, "Slice", "k zero two axes step", "r"); /* [2,2] */
    emit_node(m, "Reshape", "r flat", "c");
    emit_floats(m, "a", 2, DIMS(2, 3), FLOATS(1, 2, 3, 4, 5, 6), EMIT_RAW);
    emit_int64s(m, "which", 2, DIMS(2, 1), DIMS(-1, 0), EMIT_RAW);
    emit_int64s(m, "from", 1, DIMS(1), DIMS(-2), EMIT_RAW);
    emit_int64s(m, "to", 1, DIMS(1), DIMS(-1), EMIT_RAW);
    emit_int64s(m, "axes", 1, DIMS(1), DIMS(1), EMIT_RAW);
    emit_int64s(m, "last", 1, DIMS(1), DIMS(2), EMIT_RAW);
    emit_int64s(m, "zero", 1, DIMS(1), DIMS(1), EMIT_RAW);
    emit_int64s(m, "two", 1, DIMS(1), DIMS(99), EMIT_RAW);
    emit_int64s(m, "step", 1, DIMS(1), DIMS(1), EMIT_RAW);
    emit_int64s(m, "flat", 1, DIMS(1), DIMS(-1), EMIT_RAW);
    /* h = (3,1 | 6,4), s = (2 | 5), k = (3,1,2 | 6,4,5) */
    check(m, 4, FLOATS(1, 2, 4, 5));

    m = model(9, 2); /* bounds as attributes */
    emit_attr_ints(m, "starts", 1, DIMS(-5));
    emit_attr_ints(m, "ends", 1, DIMS(2));
    emit_node(m, "Slice", "a", "c");
    emit_floats(m, "a", 1, DIMS(3), FLOATS(1, 2, 3), EMIT_RAW);
    check(m, 2, FLOATS(1, 2));
}

static void test_nn_onnx_constants_are_computed(void **state)
{
    emit_model *m = model(13, 4);

    (void)state;
    emit_node(m, "Sub", "a b", "d"); /* [2,2] */
    emit_node(m, "Mul", "d two", "e");
    emit_node(m, "Div", "e b", "f");
    emit_attr_int(m, "to", 7);
    emit_node(m, "Cast", "f", "i");
    emit_node(m, "Add", "i one", "j");
    emit_node(m, "Mul", "j j", "k");
    emit_node(m, "Div", "k three", "l");
    emit_node(m, "Sub", "l one", "o");
    emit_attr_int(m, "to", 1);
    emit_node(m, "Cast", "o", "p");
    emit_attr_int(m, "to", 1);
    emit_node(m, "Cast", "p", "q");
    emit_attr_int(m, "axis", 0);
    emit_node(m, "Flatten", "q", "c");
    emit_floats(m, "a", 2, DIMS(2, 1), FLOATS(10, 20), EMIT_RAW);
    emit_floats(m, "b", 1, DIMS(2), FLOATS(1, 4), EMIT_RAW);
    emit_floats(m, "two", 0, NULL, FLOATS(2), EMIT_RAW);
    emit_int64s(m, "one", 0, NULL, DIMS(1), EMIT_RAW);
    emit_int64s(m, "three", 1, DIMS(1), DIMS(3), EMIT_RAW);
    /* d = 9,6 | 19,16; f = 18,3 | 38,8; (f+1)²/3 - 1 in integers */
    check(m, 4, FLOATS(119, 4, 506, 26));
}

/* What makes c, and why it cannot be. */
static void test_nn_onnx_constants_refuse(void **state)
{
    static const struct {
        const char *op, *inputs, *part;
        sotto_status status;
    } cases[] = {
        {"Add", "a i", "different types", SOTTO_ERR_FORMAT},
        {"Add", "a", "missing", SOTTO_ERR_FORMAT},
        {"Mul", "a three", "do not stretch", SOTTO_ERR_SHAPE},
        {"Mul", "big big", "overflows", SOTTO_ERR_UNSUPPORTED},
        {"Div", "i zero", "divides by 0", SOTTO_ERR_UNSUPPORTED},
        {"Gather", "a seven", "index 7", SOTTO_ERR_SHAPE},
        {"Gather", "a a", "no integers", SOTTO_ERR_UNSUPPORTED},
        {"Concat", "a i", "does not continue", SOTTO_ERR_SHAPE},
        {"Reshape", "a bad", "entry 0", SOTTO_ERR_SHAPE},
        {"Reshape", "a seven", "the shape given has 7", SOTTO_ERR_SHAPE},
        {"Reshape", "a part", "do not divide", SOTTO_ERR_SHAPE},
        {"Squeeze", "a zero1", "not 1", SOTTO_ERR_SHAPE},
        {"Squeeze", "a twice", "names axis 0 twice", SOTTO_ERR_SHAPE},
        {"Squeeze", "a seven", "axis 7", SOTTO_ERR_SHAPE},
        {"Unsqueeze", "a many", "more than 8", SOTTO_ERR_UNSUPPORTED},
        {"Slice", "a zero1 twice", "differ in length", SOTTO_ERR_SHAPE},
        {"Slice", "a zero1 seven zero1 seven", "step 7", SOTTO_ERR_UNSUPPORTED},
        {"ConstantOfShape", "bad", "not known", SOTTO_ERR_SHAPE},
        {"Cast", "a", "element type 0", SOTTO_ERR_UNSUPPORTED},
        {"Exp", "a", "not supported on constants", SOTTO_ERR_UNSUPPORTED},
    };

    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        emit_model *m = model(13, 4);
        emit_node(m, cases[k].op, cases[k].inputs, "c");
        emit_floats(m, "a", 1, DIMS(4), FLOATS(1, 2, 3, 4), EMIT_RAW);
        emit_floats(m, "three", 1, DIMS(3), FLOATS(1, 2, 3), EMIT_RAW);
        emit_int64s(m, "i", 1, DIMS(4), DIMS(1, 2, 3, 4), EMIT_RAW);
        emit_int64s(m, "big", 0, NULL, DIMS(INT64_MAX), EMIT_RAW);
        emit_int64s(m, "zero", 0, NULL, DIMS(0), EMIT_RAW);
        emit_int64s(m, "zero1", 1, DIMS(1), DIMS(0), EMIT_RAW);
        emit_int64s(m, "seven", 1, DIMS(1), DIMS(7), EMIT_RAW);
        emit_int64s(m, "bad", 1, DIMS(2), DIMS(-2, -2), EMIT_RAW);
        emit_int64s(m, "part", 1, DIMS(2), DIMS(3, -1), EMIT_RAW);
        emit_int64s(m, "twice", 1, DIMS(2), DIMS(0, -1), EMIT_RAW);
        emit_int64s(m, "many", 1, DIMS(8), DIMS(0, 1, 2, 3, 4, 5, 6, 7),
                    EMIT_RAW);
        refuse(m, cases[k].status, cases[k].part);
    }
}

/* The batch is not a number that a model may compute with. */
static void test_nn_onnx_constants_keep_the_batch_apart(void **state)
{
    emit_model *m = model(13, 4);

    (void)state;
    emit_node(m, "Shape", "x", "s");
    emit_node(m, "Mul", "s two", "c");
    emit_int64s(m, "two", 0, NULL, DIMS(2), EMIT_RAW);
    refuse(m, SOTTO_ERR_UNSUPPORTED, "computes with the batch");

    m = model(13, 4);
    emit_node(m, "Shape", "x", "s");
    emit_attr_int(m, "to", 1);
    emit_node(m, "Cast", "s", "c");
    refuse(m, SOTTO_ERR_UNSUPPORTED, "element 0 cannot be cast");

    m = model(15, 4); /* but its other entries are numbers */
    emit_attr_int(m, "start", -1);
    emit_node(m, "Shape", "x", "s");
    emit_attr_int(m, "to", 1);
    emit_node(m, "Cast", "s", "c");
    check(m, 4, FLOATS(4, 4, 4, 4));

    m = model(13, 4); /* times 1 it stays what it is */
    emit_node(m, "Shape", "x", "s");
    emit_node(m, "Mul", "s one", "t");
    emit_node(m, "Reshape", "x t", "c");
    emit_int64s(m, "one", 0, NULL, DIMS(1), EMIT_RAW);
    check(m, 4, FLOATS(0, 0, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_onnx_constants_change_shape),
        cmocka_unit_test(test_nn_onnx_constants_are_picked_and_cut),
        cmocka_unit_test(test_nn_onnx_constants_are_computed),
        cmocka_unit_test(test_nn_onnx_constants_refuse),
        cmocka_unit_test(test_nn_onnx_constants_keep_the_batch_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
