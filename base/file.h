/* SPDX-License-Identifier: MIT
 * Files: whole or streamed input, and output that appears complete or not at
 * all.
 *
 * "-" is standard input or output. A regular output is written to a temporary
 * file in the same folder, flushed, and renamed by sotto_output_commit; until
 * then the old file stands. What is not a regular file (a pipe, a device) is
 * written directly. A program that writes to pipes ignores SIGPIPE, so that a
 * closed one is an error and not the end.
 */
#ifndef SOTTO_BASE_FILE_H
#define SOTTO_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Reads a whole file of at most max_bytes bytes.
 * owner: the caller frees *data with sotto_free. A zero byte follows the data,
 * not counted in *len_bytes, so that text can be used as a string.
 * error: SOTTO_ERR_IO (with the system's reason), SOTTO_ERR_FORMAT when larger
 * than max_bytes, SOTTO_ERR_MEMORY; *data is then NULL. */
sotto_status sotto_file_read(uint8_t **data, size_t *len_bytes,
                             const char *path, size_t max_bytes,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* An input that is read front to back. */
typedef struct sotto_input sotto_input;

/* Opens path ("-": standard input). error: SOTTO_ERR_IO, SOTTO_ERR_MEMORY;
 * *input is then NULL. owner: the caller, sotto_input_close. */
sotto_status sotto_input_open(sotto_input **input, const char *path,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Reads exactly len_bytes bytes; len_bytes > 0.
 * error: SOTTO_ERR_FORMAT at the end of the file before len_bytes bytes came
 * ("truncated"), except that *at_end (if not NULL) is set and SOTTO_OK is
 * returned when not a single byte was left. SOTTO_ERR_IO otherwise. out is
 * zero whenever it was not filled. */
sotto_status sotto_input_read(sotto_input *input, void *out, size_t len_bytes,
                              bool *at_end, sotto_error *err) SOTTO_MUST_CHECK;

/* Name for messages: the path, or "standard input". Borrowed. */
const char *sotto_input_name(const sotto_input *input);

/* Total size when known (a regular file), otherwise 0. */
uint64_t sotto_input_size(const sotto_input *input);

/* Closes; NULL is fine. */
void sotto_input_close(sotto_input *input);

/* An output that is written front to back. */
typedef struct sotto_output sotto_output;

/* Permission bits for outputs. */
typedef enum sotto_output_mode {
    SOTTO_OUTPUT_PUBLIC = 0, /* 0666 less the umask */
    SOTTO_OUTPUT_SECRET = 1  /* 0600 from the first byte on */
} sotto_output_mode;

/* Starts an output at path ("-": standard output). keep_existing: refuse with
 * SOTTO_ERR_IO when a file stands at path already (checked again at commit,
 * atomically); a pipe or device holds nothing to keep.
 * error: SOTTO_ERR_IO, SOTTO_ERR_MEMORY; *output is then NULL.
 * owner: the caller, sotto_output_commit or sotto_output_discard. */
sotto_status sotto_output_open(sotto_output **output, const char *path,
                               sotto_output_mode mode, bool keep_existing,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Appends len_bytes bytes. error: SOTTO_ERR_IO (a full disk, a closed pipe). */
sotto_status sotto_output_write(sotto_output *output, const void *data,
                                size_t len_bytes,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Bytes written so far. */
uint64_t sotto_output_size(const sotto_output *output);

/* Flushes, syncs, renames into place and frees. On error nothing is left at
 * path that was not there before; the output is freed all the same. */
sotto_status sotto_output_commit(sotto_output *output,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Removes the temporary file and frees; NULL is fine. */
void sotto_output_discard(sotto_output *output);

/* Writes a whole public file, in place of one that stands there.
 * error: SOTTO_ERR_IO, SOTTO_ERR_MEMORY; path is then as it was. */
sotto_status sotto_file_write(const char *path, const void *data,
                              size_t len_bytes,
                              sotto_error *err) SOTTO_MUST_CHECK;

#endif
