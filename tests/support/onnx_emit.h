/* SPDX-License-Identifier: MIT
 * Test helper: ONNX files of another producer's making. A protobuf emitter of
 * its own, written from the field numbers of onnx.proto; shares nothing with
 * the library's writer and likes other spellings (fields in another order,
 * unpacked lists, typed data).
 */
#ifndef SOTTO_TESTS_ONNX_EMIT_H
#define SOTTO_TESTS_ONNX_EMIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define EMIT_CAP 65536

/* Shapes and values in calls. */
#define DIMS(...)                                                              \
    (const int64_t[])                                                          \
    {                                                                          \
        __VA_ARGS__                                                            \
    }
#define FLOATS(...)                                                            \
    (const float[])                                                            \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

/* One message under construction. */
typedef struct emit {
    size_t len;
    uint8_t data[EMIT_CAP];
} emit;

/* Fields of any message. */
void emit_int(emit *e, unsigned field, int64_t value);
void emit_float(emit *e, unsigned field, float value);
void emit_bytes(emit *e, unsigned field, const void *data, size_t len);
void emit_text(emit *e, unsigned field, const char *text);

/* Appends inner as a field and empties it. */
void emit_message(emit *e, unsigned field, emit *inner);

/* How an initialiser's data are spelled. */
typedef enum emit_spelling {
    EMIT_RAW,     /* raw_data */
    EMIT_PACKED,  /* float_data / int64_data, packed */
    EMIT_UNPACKED /* the same, one field per element; dims packed */
} emit_spelling;

/* A model under construction; emit_new, …, emit_finish. */
typedef struct emit_model {
    emit model, graph, attributes;
} emit_model;

/* Starts a model. owner: the caller, emit_free. */
emit_model *emit_new(int64_t opset);
void emit_free(emit_model *m);

/* Adds the graph's input or output; a dimension of -1 is symbolic. */
void emit_input(emit_model *m, const char *name, int rank, const int64_t *dim);
void emit_output(emit_model *m, const char *name);

/* Adds attributes for the next node. */
void emit_attr_int(emit_model *m, const char *name, int64_t value);
void emit_attr_ints(emit_model *m, const char *name, int n,
                    const int64_t *values);
void emit_attr_float(emit_model *m, const char *name, float value);
void emit_attr_text(emit_model *m, const char *name, const char *value);
void emit_attr_tensor(emit_model *m, const char *name, int rank,
                      const int64_t *dim, const float *f, const int64_t *i,
                      emit_spelling spelling);

/* Adds a node; inputs and outputs are names with single spaces between ("-" is
 * an empty name). The node's name is "the_" and the first output. */
void emit_node(emit_model *m, const char *op, const char *inputs,
               const char *outputs);

/* Adds an initialiser of floats or of int64. */
void emit_floats(emit_model *m, const char *name, int rank, const int64_t *dim,
                 const float *values, emit_spelling spelling);
void emit_int64s(emit_model *m, const char *name, int rank, const int64_t *dim,
                 const int64_t *values, emit_spelling spelling);

/* Adds a metadata entry. */
void emit_metadata(emit_model *m, const char *key, const char *value);

/* Ends the model; the bytes are in m->model. */
void emit_finish(emit_model *m);

/* Ends the model, asserts (CMocka) that the library refuses it with this status
 * and a message that contains part, and frees it. */
void emit_refused(emit_model *m, sotto_status status, const char *part);

#endif
