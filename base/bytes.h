/* SPDX-License-Identifier: MIT
 * Bounds-checked little-endian reading and writing of memory.
 *
 * Both are sticky: after the first access that does not fit, ok is false,
 * readers give zeros and writers write nothing, so that a parser may read a
 * whole header and test ok once. Nothing read is trusted beyond its bounds.
 */
#ifndef SOTTO_BASE_BYTES_H
#define SOTTO_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A cursor over borrowed bytes. */
typedef struct sotto_reader {
    const uint8_t *data;
    size_t len_bytes;
    size_t at;
    bool ok;
} sotto_reader;

/* Reads from data, which must outlive the reader. */
sotto_reader sotto_reader_init(const void *data, size_t len_bytes);

/* The next little-endian number of 8, 16, 32 or 64 bits; 0 past the end. */
uint8_t sotto_read_u8(sotto_reader *reader);
uint16_t sotto_read_u16(sotto_reader *reader);
uint32_t sotto_read_u32(sotto_reader *reader);
uint64_t sotto_read_u64(sotto_reader *reader);

/* The next IEEE 754 double, bit for bit; 0 past the end. */
double sotto_read_f64(sotto_reader *reader);

/* Copies the next len_bytes bytes; zeros past the end. */
void sotto_read_bytes(sotto_reader *reader, void *out, size_t len_bytes);

/* Steps over len_bytes bytes and returns where they begin (borrowed);
 * NULL past the end. */
const uint8_t *sotto_read_view(sotto_reader *reader, size_t len_bytes);

/* Unread bytes; 0 once ok is false. */
size_t sotto_reader_left(const sotto_reader *reader);

/* A cursor over borrowed memory of fixed capacity. With data == NULL nothing
 * is stored and at counts the bytes: sizes come from the same code. */
typedef struct sotto_writer {
    uint8_t *data;
    size_t capacity;
    size_t at;
    bool ok;
} sotto_writer;

/* Writes into data, which must outlive the writer; NULL only counts. */
sotto_writer sotto_writer_init(void *data, size_t capacity);

/* Appends a little-endian number of 8, 16, 32 or 64 bits. */
void sotto_write_u8(sotto_writer *writer, uint8_t value);
void sotto_write_u16(sotto_writer *writer, uint16_t value);
void sotto_write_u32(sotto_writer *writer, uint32_t value);
void sotto_write_u64(sotto_writer *writer, uint64_t value);

/* Appends an IEEE 754 double, bit for bit. */
void sotto_write_f64(sotto_writer *writer, double value);

/* Appends len_bytes bytes. */
void sotto_write_bytes(sotto_writer *writer, const void *data,
                       size_t len_bytes);

#endif
