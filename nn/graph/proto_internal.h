/* SPDX-License-Identifier: MIT
 * The protobuf wire format, as much of it as ONNX files need.
 *
 * A message is a sequence of fields; a field is a key (number·8 + wire type)
 * and a value: a varint (0), 8 bytes (1), a length and bytes (2) or 4 bytes
 * (5). Messages inside messages are bytes; there is no recursion here.
 */
#ifndef SOTTO_NN_GRAPH_PROTO_INTERNAL_H
#define SOTTO_NN_GRAPH_PROTO_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NN_PB_VARINT = 0,
    NN_PB_FIXED64 = 1,
    NN_PB_BYTES = 2,
    NN_PB_FIXED32 = 5
};

/* Borrowed bytes; data may be NULL when len is 0. */
typedef struct nn_view {
    const uint8_t *data;
    size_t len;
} nn_view;

/* Whether two views hold the same bytes. */
bool nn_view_equal(nn_view a, nn_view b);

/* Whether a view holds the characters of text. */
bool nn_view_is(nn_view a, const char *text);

/* A cursor over the fields of one message; damaged is sticky. */
typedef struct nn_pb_reader {
    const uint8_t *at, *end;
    bool damaged;
} nn_pb_reader;

/* One field: value for varints and fixed widths, bytes for wire type 2. */
typedef struct nn_pb_field {
    uint64_t number;
    int wire;
    uint64_t value;
    nn_view bytes;
} nn_pb_field;

/* Starts at the first field of message. */
nn_pb_reader nn_pb_open(nn_view message);

/* Reads the next field. Returns false at the end and at damage. */
bool nn_pb_next(nn_pb_reader *reader, nn_pb_field *field);

/* Reads one bare varint (of a packed field). Returns false at the end and at
 * damage. */
bool nn_pb_varint(nn_pb_reader *reader, uint64_t *value);

/* The bytes of a field (a name, an embedded message), the last one if there are
 * several; empty where there is none. */
nn_view nn_pb_bytes(nn_view message, uint64_t number);

/* Little-endian float from 4 bytes, or from the low half of a fixed32. */
float nn_pb_float(const uint8_t *data);
float nn_pb_float_of(uint64_t bits);

/* Writers of fields into a growing buffer; failed is sticky (no memory). */
typedef struct nn_pb_writer {
    uint8_t *data;
    size_t len, cap;
    bool failed;
} nn_pb_writer;

/* Appends raw bytes. */
void nn_pb_put(nn_pb_writer *writer, const void *data, size_t len);

/* Appends an integer field. */
void nn_pb_put_int(nn_pb_writer *writer, uint32_t number, int64_t value);

/* Appends a float field. */
void nn_pb_put_float(nn_pb_writer *writer, uint32_t number, float value);

/* Appends a field of bytes or text. */
void nn_pb_put_bytes(nn_pb_writer *writer, uint32_t number, const void *data,
                     size_t len);
void nn_pb_put_text(nn_pb_writer *writer, uint32_t number, const char *text);

/* Appends a field whose bytes are message, and frees message; a failure there
 * is a failure here. */
void nn_pb_put_message(nn_pb_writer *writer, uint32_t number,
                       nn_pb_writer *message);

/* Appends floats as raw little-endian bytes in a field. */
void nn_pb_put_raw_floats(nn_pb_writer *writer, uint32_t number,
                          const float *values, size_t n);

/* Frees the buffer. */
void nn_pb_free(nn_pb_writer *writer);

#endif
