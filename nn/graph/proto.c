/* SPDX-License-Identifier: MIT
 * The protobuf wire format: bounds-checked reading, plain writing.
 */
#include "nn/graph/proto_internal.h"

#include <string.h>

#include "base/mem.h"

bool nn_view_equal(nn_view a, nn_view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool nn_view_is(nn_view a, const char *text)
{
    const size_t len = strlen(text);

    return a.len == len && (len == 0 || memcmp(a.data, text, len) == 0);
}

nn_pb_reader nn_pb_open(nn_view message)
{
    nn_pb_reader reader = {.at = message.data, .damaged = false};

    reader.end = message.len == 0 ? message.data : message.data + message.len;
    return reader;
}

/* Marks damage; the reader then is at its end. */
static bool damage(nn_pb_reader *reader)
{
    reader->damaged = true;
    reader->at = reader->end;
    return false;
}

bool nn_pb_varint(nn_pb_reader *reader, uint64_t *value)
{
    uint64_t out = 0;

    if (reader->at == reader->end) {
        return false;
    }
    /* Ten groups of seven bits; of the tenth only one bit may be set. */
    for (int shift = 0; shift < 70; shift += 7) {
        if (reader->at == reader->end) {
            return damage(reader);
        }
        const uint8_t byte = *reader->at++;
        if (shift == 63 && byte > 1) {
            return damage(reader);
        }
        out |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value = out;
            return true;
        }
    }
    return damage(reader);
}

/* Little-endian number of n bytes (4 or 8) as a field's value. */
static bool take_fixed(nn_pb_reader *reader, nn_pb_field *field, int n)
{
    if (reader->end - reader->at < n) {
        return damage(reader);
    }
    for (int i = 0; i < n; i++) {
        field->value |= (uint64_t)*reader->at++ << (8 * i);
    }
    return true;
}

bool nn_pb_next(nn_pb_reader *reader, nn_pb_field *field)
{
    uint64_t key, len;

    if (!nn_pb_varint(reader, &key)) {
        return false;
    }
    *field = (nn_pb_field){.number = key >> 3, .wire = (int)(key & 7)};
    if (field->number == 0) {
        return damage(reader);
    }
    switch (field->wire) {
    case NN_PB_VARINT:
        return nn_pb_varint(reader, &field->value) || damage(reader);
    case NN_PB_FIXED64:
        return take_fixed(reader, field, 8);
    case NN_PB_FIXED32:
        return take_fixed(reader, field, 4);
    case NN_PB_BYTES:
        if (!nn_pb_varint(reader, &len) ||
            len > (uint64_t)(reader->end - reader->at)) {
            return damage(reader);
        }
        field->bytes = (nn_view){.data = reader->at, .len = (size_t)len};
        reader->at += len;
        return true;
    default: /* groups (3, 4) went out of use before ONNX; 6, 7 are not */
        return damage(reader);
    }
}

nn_view nn_pb_bytes(nn_view message, uint64_t number)
{
    nn_pb_reader reader = nn_pb_open(message);
    nn_pb_field field;
    nn_view out = {0};

    while (nn_pb_next(&reader, &field)) {
        if (field.number == number && field.wire == NN_PB_BYTES) {
            out = field.bytes;
        }
    }
    return out;
}

float nn_pb_float_of(uint64_t bits)
{
    const uint32_t low = (uint32_t)bits;
    float value;

    memcpy(&value, &low, sizeof value);
    return value;
}

float nn_pb_float(const uint8_t *data)
{
    return nn_pb_float_of((uint64_t)data[0] | (uint64_t)data[1] << 8 |
                          (uint64_t)data[2] << 16 | (uint64_t)data[3] << 24);
}

/* Makes room for len more bytes. */
static bool reserve(nn_pb_writer *writer, size_t len)
{
    size_t cap = writer->cap < 256 ? 256 : writer->cap;
    uint8_t *data;

    if (writer->failed || len > SIZE_MAX / 4 - writer->len) {
        writer->failed = true;
        return false;
    }
    if (writer->len + len <= writer->cap) {
        return true;
    }
    while (cap < writer->len + len) {
        cap *= 2;
    }
    data = sotto_calloc(cap, 1);
    if (data == NULL) {
        writer->failed = true;
        return false;
    }
    if (writer->len > 0) {
        memcpy(data, writer->data, writer->len);
    }
    sotto_free(writer->data);
    writer->data = data;
    writer->cap = cap;
    return true;
}

void nn_pb_put(nn_pb_writer *writer, const void *data, size_t len)
{
    if (len > 0 && reserve(writer, len)) {
        memcpy(writer->data + writer->len, data, len);
        writer->len += len;
    }
}

/* Appends a bare varint. */
static void put_varint(nn_pb_writer *writer, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;

    while (value >= 0x80) {
        bytes[n++] = (uint8_t)(value & 0x7F) | 0x80;
        value >>= 7;
    }
    bytes[n++] = (uint8_t)value;
    nn_pb_put(writer, bytes, n);
}

static void put_key(nn_pb_writer *writer, uint32_t number, int wire)
{
    put_varint(writer, (uint64_t)number << 3 | (uint64_t)wire);
}

void nn_pb_put_int(nn_pb_writer *writer, uint32_t number, int64_t value)
{
    put_key(writer, number, NN_PB_VARINT);
    put_varint(writer, (uint64_t)value);
}

/* Appends one little-endian float. */
static void put_float(nn_pb_writer *writer, float value)
{
    uint32_t bits;
    uint8_t bytes[4];

    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(bits >> (8 * i));
    }
    nn_pb_put(writer, bytes, sizeof bytes);
}

void nn_pb_put_float(nn_pb_writer *writer, uint32_t number, float value)
{
    put_key(writer, number, NN_PB_FIXED32);
    put_float(writer, value);
}

void nn_pb_put_bytes(nn_pb_writer *writer, uint32_t number, const void *data,
                     size_t len)
{
    put_key(writer, number, NN_PB_BYTES);
    put_varint(writer, len);
    nn_pb_put(writer, data, len);
}

void nn_pb_put_text(nn_pb_writer *writer, uint32_t number, const char *text)
{
    nn_pb_put_bytes(writer, number, text, strlen(text));
}

void nn_pb_put_message(nn_pb_writer *writer, uint32_t number,
                       nn_pb_writer *message)
{
    if (message->failed) {
        writer->failed = true;
    } else {
        nn_pb_put_bytes(writer, number, message->data, message->len);
    }
    nn_pb_free(message);
}

void nn_pb_put_raw_floats(nn_pb_writer *writer, uint32_t number,
                          const float *values, size_t n)
{
    put_key(writer, number, NN_PB_BYTES);
    put_varint(writer, (uint64_t)n * 4);
    if (!reserve(writer, n * 4)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        put_float(writer, values[i]);
    }
}

void nn_pb_free(nn_pb_writer *writer)
{
    sotto_free(writer->data);
    *writer = (nn_pb_writer){0};
}
