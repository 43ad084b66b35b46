/* SPDX-License-Identifier: MIT
 * Text output: a buffer in front of a file, with sticky errors.
 *
 * Whoever writes a table, a CSV or a page writes on and asks once at the end:
 * after the first failure everything is dropped and text_close reports it.
 */
#ifndef APPS_SOTTO_TEXT_H
#define APPS_SOTTO_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/file.h"
#include "base/status.h"

#define TEXT_BUFFER_BYTES 65536

/* Text on its way to a file. Without a file (out == NULL) it stays in buffer,
 * which always ends in a zero byte, and what does not fit is an error. */
typedef struct text_out {
    sotto_output *out; /* owned while open */
    sotto_status status;
    sotto_error error; /* of the first failure */
    size_t fill;
    char buffer[TEXT_BUFFER_BYTES];
} text_out;

/* Makes a text that stays in memory. */
void text_init(text_out *t);

/* Opens a file at path ("-": standard output), to appear when text_close
 * succeeds. error: as sotto_output_open. owner: the caller, text_close or
 * text_discard. */
sotto_status text_open(text_out *t, const char *path,
                       sotto_error *err) SOTTO_MUST_CHECK;

/* Appends len_bytes bytes. */
void text_bytes(text_out *t, const char *bytes, size_t len_bytes);

/* Appends a string. */
void text_put(text_out *t, const char *string);

/* Appends formatted text of fewer than TEXT_BUFFER_BYTES characters. */
void text_printf(text_out *t, const char *format, ...) SOTTO_PRINTF(2, 3);

/* Hands what is buffered to the file; nothing to do without one. */
void text_flush(text_out *t);

/* The state so far; err receives the message of the first failure. */
sotto_status text_check(const text_out *t, sotto_error *err) SOTTO_MUST_CHECK;

/* Flushes and puts the file in place, or removes it when anything failed.
 * error: the first failure. */
sotto_status text_close(text_out *t, sotto_error *err) SOTTO_MUST_CHECK;

/* Removes the unfinished file; what is closed already stays. */
void text_discard(text_out *t);

/* ---- Values in words ----------------------------------------------------- */

/* Room for one value in words. */
typedef struct text_value {
    char text[48];
} text_value;

/* A number of bytes: "812 B", "1.4 MiB". */
text_value text_of_bytes(uint64_t bytes);

/* A duration: "350 ms", "2.41 s", "3 min 20 s". */
text_value text_of_seconds(double seconds);

/* The shortest decimal that reads back as the same double; "null" where it is
 * not finite. */
text_value text_of_real(double value);

/* Length of the valid UTF-8 sequence at s (1 to 4 bytes), 0 if there is none.
 * range: len_bytes > 0 readable bytes. */
size_t text_utf8_length(const char *s, size_t len_bytes);

#endif
