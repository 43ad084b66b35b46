/* SPDX-License-Identifier: MIT
 * Test helper: a protobuf emitter for ONNX files.
 */
#include "tests/support/onnx_emit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/graph/onnx.h"

static void raw(emit *e, const void *data, size_t len)
{
    SOTTO_ASSERT(len <= EMIT_CAP - e->len);
    if (len > 0) {
        memcpy(e->data + e->len, data, len);
    }
    e->len += len;
}

static void varint(emit *e, uint64_t value)
{
    do {
        const uint8_t byte =
            (uint8_t)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        raw(e, &byte, 1);
        value >>= 7;
    } while (value > 0);
}

void emit_int(emit *e, unsigned field, int64_t value)
{
    varint(e, field << 3);
    varint(e, (uint64_t)value);
}

void emit_float(emit *e, unsigned field, float value)
{
    varint(e, field << 3 | 5);
    raw(e, &value, 4); /* the tests run on little-endian machines */
}

void emit_bytes(emit *e, unsigned field, const void *data, size_t len)
{
    varint(e, field << 3 | 2);
    varint(e, len);
    raw(e, data, len);
}

void emit_text(emit *e, unsigned field, const char *text)
{
    emit_bytes(e, field, text, strlen(text));
}

void emit_message(emit *e, unsigned field, emit *inner)
{
    emit_bytes(e, field, inner->data, inner->len);
    inner->len = 0;
}

static emit *scratch(void)
{
    emit *e = calloc(1, sizeof *e);

    SOTTO_ASSERT(e != NULL);
    return e;
}

emit_model *emit_new(int64_t opset)
{
    emit_model *m = calloc(1, sizeof *m);
    emit *inner = scratch();

    SOTTO_ASSERT(m != NULL);
    /* The operator sets come first here, and one of a foreign domain with
     * them. */
    emit_int(inner, 2, 3);
    emit_text(inner, 1, "ai.onnx.ml");
    emit_message(&m->model, 8, inner);
    emit_int(inner, 2, opset);
    emit_message(&m->model, 8, inner);
    emit_int(&m->model, 1, 7);
    emit_text(&m->model, 6, "made by a test");
    emit_text(&m->graph, 2, "graph");
    free(inner);
    return m;
}

void emit_free(emit_model *m)
{
    free(m);
}

static void value_info(emit_model *m, unsigned field, const char *name,
                       int rank, const int64_t *dim)
{
    emit *d = scratch(), *shape = scratch(), *tensor = scratch();

    for (int i = 0; i < rank; i++) {
        if (dim[i] < 0) {
            emit_text(d, 2, "batch");
        } else {
            emit_int(d, 1, dim[i]);
        }
        emit_message(shape, 1, d);
    }
    if (dim != NULL) {
        emit_message(tensor, 2, shape);
    }
    emit_int(tensor, 1, 1);
    emit_message(d, 1, tensor); /* TypeProto */
    emit_message(shape, 2, d);  /* ValueInfoProto.type before .name */
    emit_text(shape, 1, name);
    emit_message(&m->graph, field, shape);
    free(d);
    free(shape);
    free(tensor);
}

void emit_input(emit_model *m, const char *name, int rank, const int64_t *dim)
{
    value_info(m, 11, name, rank, dim);
}

void emit_output(emit_model *m, const char *name)
{
    value_info(m, 12, name, 0, NULL);
}

/* Ends an attribute whose value is already in a. */
static void attribute(emit_model *m, emit *a, const char *name, int64_t type)
{
    emit_int(a, 20, type);
    emit_text(a, 1, name);
    emit_message(&m->attributes, 5, a);
    free(a);
}

void emit_attr_int(emit_model *m, const char *name, int64_t value)
{
    emit *a = scratch();

    emit_int(a, 3, value);
    attribute(m, a, name, 2);
}

void emit_attr_ints(emit_model *m, const char *name, int n,
                    const int64_t *values)
{
    emit *a = scratch();

    for (int i = 0; i < n; i++) {
        emit_int(a, 8, values[i]);
    }
    attribute(m, a, name, 7);
}

void emit_attr_float(emit_model *m, const char *name, float value)
{
    emit *a = scratch();

    emit_float(a, 2, value);
    attribute(m, a, name, 1);
}

void emit_attr_text(emit_model *m, const char *name, const char *value)
{
    emit *a = scratch();

    emit_text(a, 4, value);
    attribute(m, a, name, 3);
}

/* The data of a TensorProto. */
static void tensor_data(emit *t, size_t n, const float *f, const int64_t *i,
                        emit_spelling spelling)
{
    emit *packed = scratch();

    if (spelling == EMIT_RAW) {
        emit_bytes(t, 9, f != NULL ? (const void *)f : (const void *)i,
                   n * (f != NULL ? 4 : 8));
    }
    for (size_t k = 0; k < n && spelling != EMIT_RAW; k++) {
        if (f != NULL && spelling == EMIT_UNPACKED) {
            emit_float(t, 4, f[k]);
        } else if (f != NULL) {
            raw(packed, &f[k], 4);
        } else if (spelling == EMIT_UNPACKED) {
            emit_int(t, 7, i[k]);
        } else {
            varint(packed, (uint64_t)i[k]);
        }
    }
    if (spelling == EMIT_PACKED) {
        emit_message(t, f != NULL ? 4 : 7, packed);
    }
    free(packed);
}

static emit *tensor(const char *name, int rank, const int64_t *dim,
                    const float *f, const int64_t *i, emit_spelling spelling)
{
    emit *t = scratch(), *packed = scratch();
    size_t n = 1;

    for (int d = 0; d < rank; d++) {
        n *= (size_t)dim[d];
        if (spelling == EMIT_UNPACKED) {
            varint(packed, (uint64_t)dim[d]);
        }
    }
    tensor_data(t, n, f, i, spelling); /* data before name and dims */
    emit_text(t, 8, name);
    emit_int(t, 2, f != NULL ? 1 : 7);
    for (int d = 0; d < rank && spelling != EMIT_UNPACKED; d++) {
        emit_int(t, 1, dim[d]);
    }
    if (spelling == EMIT_UNPACKED) {
        emit_message(t, 1, packed);
    }
    free(packed);
    return t;
}

void emit_attr_tensor(emit_model *m, const char *name, int rank,
                      const int64_t *dim, const float *f, const int64_t *i,
                      emit_spelling spelling)
{
    emit *t = tensor("", rank, dim, f, i, spelling), *a = scratch();

    emit_message(a, 5, t);
    attribute(m, a, name, 4);
    free(t);
}

/* Adds each of the names of a list as a field. */
static void names(emit *e, unsigned field, const char *list)
{
    while (*list != '\0') {
        const size_t len = strcspn(list, " ");
        const int empty = len == 1 && *list == '-';
        emit_bytes(e, field, list, empty ? 0 : len);
        list += len + (list[len] == ' ');
    }
}

void emit_node(emit_model *m, const char *op, const char *inputs,
               const char *outputs)
{
    emit *node = scratch();
    char name[100];

    (void)snprintf(name, sizeof name, "the_%.*s", (int)strcspn(outputs, " "),
                   outputs);
    raw(node, m->attributes.data, m->attributes.len);
    m->attributes.len = 0;
    emit_text(node, 4, op);
    names(node, 2, outputs);
    names(node, 1, inputs);
    emit_text(node, 3, name);
    emit_message(&m->graph, 1, node);
    free(node);
}

void emit_floats(emit_model *m, const char *name, int rank, const int64_t *dim,
                 const float *values, emit_spelling spelling)
{
    emit *t = tensor(name, rank, dim, values, NULL, spelling);

    emit_message(&m->graph, 5, t);
    free(t);
}

void emit_int64s(emit_model *m, const char *name, int rank, const int64_t *dim,
                 const int64_t *values, emit_spelling spelling)
{
    emit *t = tensor(name, rank, dim, NULL, values, spelling);

    emit_message(&m->graph, 5, t);
    free(t);
}

void emit_metadata(emit_model *m, const char *key, const char *value)
{
    emit *entry = scratch();

    emit_text(entry, 2, value);
    emit_text(entry, 1, key);
    emit_message(&m->model, 14, entry);
    free(entry);
}

void emit_finish(emit_model *m)
{
    emit_message(&m->model, 7, &m->graph);
}

void emit_refused(emit_model *m, sotto_status status, const char *part)
{
    nn_graph *graph = (nn_graph *)m;
    sotto_error err = {""};
    emit_finish(m);
    const sotto_status have =
        nn_onnx_read(&graph, m->model.data, m->model.len, &err);
    if (have != status || strstr(err.text, part) == NULL) {
        fail_msg("status %d, message '%s'; expected %d and '%s'", (int)have,
                 err.text, (int)status, part);
    }
    assert_null(graph);
    emit_free(m);
}
