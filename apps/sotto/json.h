/* SPDX-License-Identifier: MIT
 * Writing JSON (RFC 8259): indented objects and arrays, numbers that read back
 * exactly, escaped strings.
 *
 * Names are given with every value and are NULL inside arrays and for the
 * outermost value.
 */
#ifndef APPS_SOTTO_JSON_H
#define APPS_SOTTO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apps/sotto/text.h"

#define JSON_MAX_DEPTH 8

/* A document being written; errors are the text's. */
typedef struct json_out {
    text_out *out;
    int depth;
    bool filled[JSON_MAX_DEPTH + 1]; /* this level has a value already */
    char close[JSON_MAX_DEPTH + 1];  /* bracket that ends this level */
} json_out;

/* Starts a document in out, which must outlive it. */
void json_init(json_out *j, text_out *out);

/* Opens an object or an array, and closes the innermost one. */
void json_object(json_out *j, const char *name);
void json_array(json_out *j, const char *name);
void json_end(json_out *j);

/* Writes one value. A string that is not valid UTF-8 has its wrong bytes
 * replaced by U+FFFD; a number that is not finite becomes null. */
void json_string(json_out *j, const char *name, const char *value);
void json_count(json_out *j, const char *name, uint64_t value);
void json_int(json_out *j, const char *name, int64_t value);
void json_real(json_out *j, const char *name, double value);
void json_bool(json_out *j, const char *name, bool value);

/* Writes an array of numbers on one line. shape: value[n]. */
void json_reals(json_out *j, const char *name, const double *value, size_t n);

/* Writes bytes as a string of hexadecimal digits (at most 64 bytes). */
void json_hex(json_out *j, const char *name, const uint8_t *bytes,
              size_t len_bytes);

#endif
