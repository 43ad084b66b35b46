/* SPDX-License-Identifier: MIT
 * Input files, and output files that appear complete or not at all.
 *
 * An output's life:   open: FOLDER/NAME.<process>-<k>.tmp   (O_EXCL)
 *                     write …
 *                     commit: fsync, rename to FOLDER/NAME, fsync the folder
 */
#define _GNU_SOURCE /* renameat2 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* Linux transfers at most 2^31 - 4096 bytes at once; asked for less, a call
 * behaves the same on every system. */
#define MAX_TRANSFER ((size_t)1 << 30)

/* Of an output that is synced at its end so much goes to the disk at once,
 * while the rest is being made. */
#define FLUSH_BYTES ((uint64_t)4 << 20)

/* "cannot VERB NAME: reason of the system". */
static sotto_status io_fail(sotto_error *err, const char *verb,
                            const char *name, int reason)
{
    return sotto_fail(err, SOTTO_ERR_IO, "cannot %s %s: %s", verb, name,
                      strerror(reason));
}

static char *copy_text(const char *text)
{
    const size_t len = strlen(text);
    char *copy = sotto_calloc(len + 1, 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
    }
    return copy;
}

/* ---- Input ------------------------------------------------------------- */

struct sotto_input {
    int fd;
    char *name;
    uint64_t size_bytes; /* 0: unknown */
};

sotto_status sotto_input_open(sotto_input **input, const char *path,
                              sotto_error *err)
{
    *input = NULL;
    const bool is_stdin = strcmp(path, "-") == 0;
    sotto_input *made = sotto_calloc(1, sizeof *made);
    char *name = copy_text(is_stdin ? "standard input" : path);
    if (made == NULL || name == NULL) {
        sotto_free(made);
        sotto_free(name);
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory opening %s",
                          path);
    }
    made->name = name;
    made->fd =
        is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (made->fd < 0) {
        const int reason = errno;
        sotto_free(name);
        sotto_free(made);
        return io_fail(err, "open", path, reason);
    }
    struct stat info;
    if (fstat(made->fd, &info) == 0 && S_ISREG(info.st_mode)) {
        made->size_bytes = (uint64_t)info.st_size;
    }
    *input = made;
    return SOTTO_OK;
}

/* Reads until len_bytes bytes have come or the file ends. */
static sotto_status read_up_to(sotto_input *input, uint8_t *out,
                               size_t len_bytes, size_t *got, sotto_error *err)
{
    *got = 0;
    while (*got < len_bytes) {
        const size_t left = len_bytes - *got;
        const ssize_t n = read(input->fd, out + *got,
                               left < MAX_TRANSFER ? left : MAX_TRANSFER);
        if (n == 0) {
            break;
        }
        if (n > 0) {
            *got += (size_t)n;
        } else if (errno != EINTR) {
            return io_fail(err, "read", input->name, errno);
        }
    }
    return SOTTO_OK;
}

sotto_status sotto_input_read(sotto_input *input, void *out, size_t len_bytes,
                              bool *at_end, sotto_error *err)
{
    if (at_end != NULL) {
        *at_end = false;
    }
    size_t got;
    const sotto_status status = read_up_to(input, out, len_bytes, &got, err);
    if (status == SOTTO_OK && got == len_bytes) {
        return SOTTO_OK;
    }
    sotto_wipe(out, len_bytes);
    if (status != SOTTO_OK) {
        return status;
    }
    if (got == 0 && at_end != NULL) {
        *at_end = true;
        return SOTTO_OK;
    }
    return sotto_fail(err, SOTTO_ERR_FORMAT,
                      "%s is truncated: %zu bytes expected, %zu left; "
                      "copy or make it again",
                      input->name, len_bytes, got);
}

const char *sotto_input_name(const sotto_input *input)
{
    return input->name;
}

uint64_t sotto_input_size(const sotto_input *input)
{
    return input->size_bytes;
}

void sotto_input_close(sotto_input *input)
{
    if (input == NULL) {
        return;
    }
    if (input->fd != STDIN_FILENO) {
        (void)close(input->fd); /* nothing was written: nothing to lose */
    }
    sotto_free(input->name);
    sotto_free(input);
}

/* A buffer that grows by doubling; limit + 1 bytes at most, the last one for
 * the terminating zero or to notice that the file is larger. */
typedef struct growing {
    uint8_t *data;
    size_t len, capacity, limit;
} growing;

static bool grow(growing *buffer)
{
    const size_t most = buffer->limit + 1;
    const size_t capacity =
        buffer->capacity > most / 2 ? most : 2 * buffer->capacity;
    uint8_t *data = sotto_calloc(capacity, 1);
    if (data == NULL) {
        return false;
    }
    memcpy(data, buffer->data, buffer->len);
    sotto_wipe_free(buffer->data, buffer->capacity); /* may hold a key */
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

/* The size that the system reports is a hint; only what is read counts. */
static sotto_status read_all(growing *buffer, sotto_input *input,
                             sotto_error *err)
{
    const uint64_t size = input->size_bytes;
    if (size > buffer->limit) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s has %llu bytes, expected at most %zu",
                          input->name, (unsigned long long)size, buffer->limit);
    }
    const size_t guess = size > 0 ? (size_t)size : (size_t)1 << 16;
    buffer->capacity = guess < buffer->limit ? guess + 1 : buffer->limit + 1;
    buffer->data = sotto_calloc(buffer->capacity, 1);
    while (buffer->data != NULL) {
        size_t got;
        SOTTO_TRY(read_up_to(input, buffer->data + buffer->len,
                             buffer->capacity - buffer->len, &got, err));
        buffer->len += got;
        if (buffer->len < buffer->capacity) {
            return SOTTO_OK; /* a zero follows: the block was zeroed */
        }
        if (buffer->len > buffer->limit) {
            return sotto_fail(err, SOTTO_ERR_FORMAT,
                              "%s is too large, expected at most %zu bytes",
                              input->name, buffer->limit);
        }
        if (!grow(buffer)) {
            break;
        }
    }
    return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory reading %s",
                      input->name);
}

sotto_status sotto_file_read(uint8_t **data, size_t *len_bytes,
                             const char *path, size_t max_bytes,
                             sotto_error *err)
{
    SOTTO_ASSERT(max_bytes < SIZE_MAX);
    *data = NULL;
    *len_bytes = 0;
    sotto_input *input;
    SOTTO_TRY(sotto_input_open(&input, path, err));

    growing buffer = {.limit = max_bytes};
    const sotto_status status = read_all(&buffer, input, err);
    sotto_input_close(input);
    if (status != SOTTO_OK) {
        sotto_wipe_free(buffer.data, buffer.capacity);
        return status;
    }
    *data = buffer.data;
    *len_bytes = buffer.len;
    return SOTTO_OK;
}

/* ---- Output ------------------------------------------------------------ */

struct sotto_output {
    int fd;
    char *path; /* final name; for messages where written directly */
    char *temp; /* temporary name; NULL: written directly */
    bool keep_existing;
    bool failed; /* a write failed: commit refuses */
    uint64_t size_bytes;
    uint64_t flushed_bytes; /* on their way to the disk */
};

static void free_output(sotto_output *output)
{
    sotto_free(output->path);
    sotto_free(output->temp);
    sotto_free(output);
}

static sotto_status exists_fail(sotto_error *err, const char *path)
{
    return sotto_fail(err, SOTTO_ERR_IO,
                      "%s exists and is not overwritten; remove it or choose "
                      "another name",
                      path);
}

/* Whether path is a link to what standard output is (/dev/stdout): a rename
 * would replace the file that the shell has opened for it. */
static bool names_stdout(const char *path, const struct stat *target)
{
    struct stat link, out;
    return lstat(path, &link) == 0 && S_ISLNK(link.st_mode) &&
           fstat(STDOUT_FILENO, &out) == 0 && out.st_dev == target->st_dev &&
           out.st_ino == target->st_ino;
}

/* Creates the temporary file beside output->path. The name needs to be unique,
 * not secret: O_EXCL follows no link and takes no existing file. */
static sotto_status open_temp(sotto_output *output, sotto_output_mode mode,
                              sotto_error *err)
{
    const size_t cap = strlen(output->path) + 48;
    output->temp = sotto_calloc(cap, 1);
    if (output->temp == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory opening %s",
                          output->path);
    }
    const mode_t bits = mode == SOTTO_OUTPUT_SECRET ? 0600 : 0666;
    int reason = EEXIST;
    for (int k = 0; k < 1000 && reason == EEXIST; k++) {
        (void)snprintf(output->temp, cap, "%s.%ld-%d.tmp", output->path,
                       (long)getpid(), k);
        output->fd =
            open(output->temp,
                 O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, bits);
        if (output->fd >= 0) {
            return SOTTO_OK;
        }
        reason = errno;
    }
    return io_fail(err, "create", output->path, reason);
}

/* Decides how to write to path and opens it; what output holds is freed by
 * the caller. */
static sotto_status open_output(sotto_output *output, const char *path,
                                sotto_output_mode mode, sotto_error *err)
{
    struct stat info;
    const bool is_stdout = strcmp(path, "-") == 0;
    const bool exists = !is_stdout && stat(path, &info) == 0;
    const bool direct =
        is_stdout ||
        (exists && (!S_ISREG(info.st_mode) || names_stdout(path, &info)));

    if (exists && !direct && output->keep_existing) {
        return exists_fail(err, path);
    }
    if (exists && !direct) {
        /* The file itself is replaced, not a link to it. */
        char *real = realpath(path, NULL);
        output->path = real != NULL ? copy_text(real) : NULL;
        free(real); /* not ours: made by realpath */
    } else {
        output->path = copy_text(is_stdout ? "standard output" : path);
    }
    if (output->path == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory opening %s",
                          path);
    }
    if (!direct) {
        return open_temp(output, mode, err);
    }
    output->fd =
        is_stdout ? STDOUT_FILENO : open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return output->fd >= 0 ? SOTTO_OK : io_fail(err, "open", path, errno);
}

sotto_status sotto_output_open(sotto_output **output, const char *path,
                               sotto_output_mode mode, bool keep_existing,
                               sotto_error *err)
{
    *output = NULL;
    sotto_output *made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory opening %s",
                          path);
    }
    made->fd = -1;
    made->keep_existing = keep_existing;
    const sotto_status status = open_output(made, path, mode, err);
    if (status != SOTTO_OK) {
        free_output(made);
        return status;
    }
    *output = made;
    return SOTTO_OK;
}

/* Lets the system begin to write what fsync would wait for. Only a hint. */
static void flush_some(sotto_output *output)
{
#ifdef SYNC_FILE_RANGE_WRITE
    const uint64_t len = output->size_bytes - output->flushed_bytes;
    if (output->temp != NULL && len >= FLUSH_BYTES) {
        (void)sync_file_range(output->fd, (off_t)output->flushed_bytes,
                              (off_t)len, SYNC_FILE_RANGE_WRITE);
        output->flushed_bytes = output->size_bytes;
    }
#else
    (void)output;
#endif
}

sotto_status sotto_output_write(sotto_output *output, const void *data,
                                size_t len_bytes, sotto_error *err)
{
    const uint8_t *in = data;
    while (len_bytes > 0) {
        const ssize_t n =
            write(output->fd, in,
                  len_bytes < MAX_TRANSFER ? len_bytes : MAX_TRANSFER);
        if (n >= 0) {
            in += n;
            len_bytes -= (size_t)n;
            output->size_bytes += (uint64_t)n;
        } else if (errno != EINTR) {
            const int reason = errno;
            output->failed = true;
            return io_fail(err, "write", output->path, reason);
        }
    }
    flush_some(output);
    return SOTTO_OK;
}

uint64_t sotto_output_size(const sotto_output *output)
{
    return output->size_bytes;
}

/* Gives the temporary file its name without ever replacing another: link
 * fails where something stands. Systems without hard links have renameat2. */
static int publish_new(const sotto_output *output)
{
    if (link(output->temp, output->path) == 0) {
        (void)unlink(output->temp);
        return 0;
    }
#ifdef RENAME_NOREPLACE
    if (errno != EEXIST) {
        return renameat2(AT_FDCWD, output->temp, AT_FDCWD, output->path,
                         RENAME_NOREPLACE);
    }
#endif
    return -1;
}

/* The rename is durable once the folder is; where a folder cannot be synced,
 * the file is complete all the same, so nothing is reported. */
static void sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    const char *folder = ".";
    if (slash != NULL) {
        slash[slash == path ? 1 : 0] = '\0';
        folder = path;
    }
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

/* Syncs, closes and renames; the caller removes what is left and frees. */
static sotto_status commit_temp(sotto_output *output, sotto_error *err)
{
    if (fsync(output->fd) != 0) {
        return io_fail(err, "flush", output->path, errno);
    }
    const int fd = output->fd;
    output->fd = -1;
    if (close(fd) != 0) {
        return io_fail(err, "close", output->path, errno);
    }
    const int renamed = output->keep_existing
                            ? publish_new(output)
                            : rename(output->temp, output->path);
    if (renamed != 0 && output->keep_existing && errno == EEXIST) {
        return exists_fail(err, output->path);
    }
    if (renamed != 0) {
        return io_fail(err, "create", output->path, errno);
    }
    sotto_free(output->temp);
    output->temp = NULL;
    sync_folder(output->path);
    return SOTTO_OK;
}

sotto_status sotto_output_commit(sotto_output *output, sotto_error *err)
{
    sotto_status status = SOTTO_OK;
    if (output->failed) {
        status = sotto_fail(err, SOTTO_ERR_IO,
                            "%s is incomplete: an earlier write failed",
                            output->path);
    } else if (output->temp != NULL) {
        status = commit_temp(output, err);
    } else if (output->fd != STDOUT_FILENO) {
        const int fd = output->fd;
        output->fd = -1;
        if (close(fd) != 0) {
            status = io_fail(err, "close", output->path, errno);
        }
    }
    sotto_output_discard(output);
    return status;
}

void sotto_output_discard(sotto_output *output)
{
    if (output == NULL) {
        return;
    }
    if (output->fd >= 0 && output->fd != STDOUT_FILENO) {
        (void)close(output->fd);
    }
    if (output->temp != NULL) {
        (void)unlink(output->temp);
    }
    free_output(output);
}

sotto_status sotto_file_write(const char *path, const void *data,
                              size_t len_bytes, sotto_error *err)
{
    sotto_output *output;
    SOTTO_TRY(
        sotto_output_open(&output, path, SOTTO_OUTPUT_PUBLIC, false, err));
    const sotto_status status =
        sotto_output_write(output, data, len_bytes, err);
    if (status != SOTTO_OK) {
        sotto_output_discard(output);
        return status;
    }
    return sotto_output_commit(output, err);
}
