/* SPDX-License-Identifier: MIT
 * Bounds-checked little-endian cursors. All reading goes through
 * sotto_read_view and all writing through claim: one bound check each.
 */
#include "base/bytes.h"

#include <string.h>

#include "base/endian_internal.h"

sotto_reader sotto_reader_init(const void *data, size_t len_bytes)
{
    /* Never NULL inside: nothing at all is a view as well. */
    const void *bytes = data != NULL ? data : "";
    return (sotto_reader){.data = bytes, .len_bytes = len_bytes, .ok = true};
}

const uint8_t *sotto_read_view(sotto_reader *reader, size_t len_bytes)
{
    /* at <= len_bytes always, so the difference does not wrap. */
    if (!reader->ok || len_bytes > reader->len_bytes - reader->at) {
        reader->ok = false;
        return NULL;
    }
    const uint8_t *view = reader->data + reader->at;
    reader->at += len_bytes;
    return view;
}

uint8_t sotto_read_u8(sotto_reader *reader)
{
    const uint8_t *in = sotto_read_view(reader, 1);
    return in != NULL ? in[0] : 0;
}

uint16_t sotto_read_u16(sotto_reader *reader)
{
    const uint8_t *in = sotto_read_view(reader, 2);
    return in != NULL ? sotto_load_le16(in) : 0;
}

uint32_t sotto_read_u32(sotto_reader *reader)
{
    const uint8_t *in = sotto_read_view(reader, 4);
    return in != NULL ? sotto_load_le32(in) : 0;
}

uint64_t sotto_read_u64(sotto_reader *reader)
{
    const uint8_t *in = sotto_read_view(reader, 8);
    return in != NULL ? sotto_load_le64(in) : 0;
}

double sotto_read_f64(sotto_reader *reader)
{
    const uint64_t bits = sotto_read_u64(reader);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void sotto_read_bytes(sotto_reader *reader, void *out, size_t len_bytes)
{
    const uint8_t *in = sotto_read_view(reader, len_bytes);
    if (len_bytes == 0) {
        return;
    }
    if (in != NULL) {
        memcpy(out, in, len_bytes);
    } else {
        memset(out, 0, len_bytes);
    }
}

size_t sotto_reader_left(const sotto_reader *reader)
{
    return reader->ok ? reader->len_bytes - reader->at : 0;
}

sotto_writer sotto_writer_init(void *data, size_t capacity)
{
    return (sotto_writer){
        .data = data,
        /* Counting has no bound but that of size_t. */
        .capacity = data != NULL ? capacity : SIZE_MAX,
        .ok = true,
    };
}

/* Steps over len_bytes bytes. Returns where they go, or NULL when they do not
 * fit (ok is then false) or are only counted. */
static uint8_t *claim(sotto_writer *writer, size_t len_bytes)
{
    if (!writer->ok || len_bytes > writer->capacity - writer->at) {
        writer->ok = false;
        return NULL;
    }
    uint8_t *out = writer->data != NULL ? writer->data + writer->at : NULL;
    writer->at += len_bytes;
    return out;
}

void sotto_write_u8(sotto_writer *writer, uint8_t value)
{
    sotto_write_bytes(writer, &value, 1);
}

void sotto_write_u16(sotto_writer *writer, uint16_t value)
{
    const uint8_t bytes[2] = {(uint8_t)value, (uint8_t)(value >> 8)};
    sotto_write_bytes(writer, bytes, sizeof bytes);
}

void sotto_write_u32(sotto_writer *writer, uint32_t value)
{
    uint8_t *out = claim(writer, 4);
    if (out != NULL) {
        sotto_store_le32(out, value);
    }
}

void sotto_write_u64(sotto_writer *writer, uint64_t value)
{
    uint8_t *out = claim(writer, 8);
    if (out != NULL) {
        sotto_store_le64(out, value);
    }
}

void sotto_write_f64(sotto_writer *writer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    sotto_write_u64(writer, bits);
}

void sotto_write_bytes(sotto_writer *writer, const void *data, size_t len_bytes)
{
    uint8_t *out = claim(writer, len_bytes);
    if (out != NULL && len_bytes > 0) {
        memcpy(out, data, len_bytes);
    }
}
