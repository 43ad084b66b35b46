/* SPDX-License-Identifier: MIT
 * The harness's text files and ours; see suite.h.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apps/suite/suite.h"
#include "base/mem.h"

/* 10000 images of 784 numbers with up to 24 characters, with room. */
#define MAX_TEXT_BYTES ((size_t)512 << 20)
#define IDX_HEAD_BYTES 16

sotto_status suite_folder(const char *path, sotto_error *err)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return sotto_fail(err, SOTTO_ERR_IO,
                          "folder %s cannot be made: %s; run the stages in the "
                          "root of the harness's tree",
                          path, strerror(errno));
    }
    return SOTTO_OK;
}

sotto_status suite_copy(const char *to, const char *from, sotto_error *err)
{
    uint8_t *data;
    size_t len_bytes;
    SOTTO_TRY(sotto_file_read(&data, &len_bytes, from, MAX_TEXT_BYTES, err));
    const sotto_status status = sotto_file_write(to, data, len_bytes, err);
    sotto_free(data);
    return status;
}

/* Reads the pixels of one line. *at moves behind it. */
static sotto_status read_image(uint8_t *pixel, const char **at, size_t line,
                               const char *path, sotto_error *err)
{
    for (size_t i = 0; i < SUITE_PIXELS; i++) {
        char *end;
        const double value = strtod(*at, &end);
        const double level = round(value * 255);
        if (end == *at) {
            return sotto_fail(err, SOTTO_ERR_FORMAT,
                              "%s: line %zu has %zu numbers, expected %d", path,
                              line, i, SUITE_PIXELS);
        }
        /* The harness prints six digits. */
        if (!(level >= 0 && level <= 255 && fabs(value * 255 - level) < 1e-3)) {
            return sotto_fail(err, SOTTO_ERR_FORMAT,
                              "%s: line %zu, pixel %zu is %g, expected a "
                              "multiple of 1/255 in [0,1]",
                              path, line, i, value);
        }
        pixel[i] = (uint8_t)level;
        *at = end;
    }
    *at += strspn(*at, " \t\r");
    if (**at != '\n' && **at != '\0') {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: line %zu has more than %d numbers", path, line,
                          SUITE_PIXELS);
    }
    *at += strspn(*at, "\r\n");
    return SOTTO_OK;
}

static void put_u32(uint8_t *out, size_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

/* Reads all lines behind the room for the IDX head. */
static sotto_status read_images(uint8_t *idx, size_t n, const char *text,
                                const char *path, sotto_error *err)
{
    const char *at = text;
    for (size_t i = 0; i < n; i++) {
        SOTTO_TRY(read_image(idx + IDX_HEAD_BYTES + i * SUITE_PIXELS, &at,
                             i + 1, path, err));
    }
    put_u32(idx, 0x803);
    put_u32(idx + 4, n);
    put_u32(idx + 8, SUITE_SIDE);
    put_u32(idx + 12, SUITE_SIDE);
    return SOTTO_OK;
}

/* Lines that hold anything. */
static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (const char *at = text; *at != '\0';) {
        const size_t length = strcspn(at, "\n");
        n += strspn(at, " \t\r") < length;
        at += length + (at[length] == '\n');
    }
    return n;
}

sotto_status suite_pixels(const char *idx_path, const char *text_path,
                          sotto_error *err)
{
    uint8_t *text;
    size_t len_bytes;
    SOTTO_TRY(
        sotto_file_read(&text, &len_bytes, text_path, MAX_TEXT_BYTES, err));
    const size_t n = count_lines((const char *)text);
    const size_t idx_bytes = IDX_HEAD_BYTES + n * SUITE_PIXELS;
    uint8_t *idx = sotto_calloc(idx_bytes, 1);
    sotto_status status = SOTTO_OK;
    if (idx == NULL) {
        status = sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    } else if (n == 0) {
        status =
            sotto_fail(err, SOTTO_ERR_FORMAT,
                       "%s is empty, expected one image a line", text_path);
    } else {
        status = read_images(idx, n, (const char *)text, text_path, err);
    }
    if (status == SOTTO_OK) {
        status = sotto_file_write(idx_path, idx, idx_bytes, err);
    }
    sotto_free(idx);
    sotto_free(text);
    return status;
}

/* The second field of each line but the first. */
static sotto_status write_labels(text_out *out, const char *csv,
                                 const char *path, sotto_error *err)
{
    const char *at = strchr(csv, '\n');
    for (size_t line = 2; at != NULL && at[1] != '\0'; line++) {
        const char *field = strchr(++at, ',');
        char *end;
        const long label = field != NULL ? strtol(field + 1, &end, 10) : -1;
        if (label < 0 || *end != ',') {
            return sotto_fail(err, SOTTO_ERR_FORMAT,
                              "%s: line %zu has no label, expected "
                              "index,label,scores",
                              path, line);
        }
        text_printf(out, "%ld\n", label);
        at = strchr(at, '\n');
    }
    return SOTTO_OK;
}

sotto_status suite_labels(const char *labels_path, const char *csv_path,
                          sotto_error *err)
{
    uint8_t *csv;
    size_t len_bytes;
    SOTTO_TRY(sotto_file_read(&csv, &len_bytes, csv_path, MAX_TEXT_BYTES, err));
    text_out out;
    sotto_status status = text_open(&out, labels_path, err);
    if (status == SOTTO_OK) {
        status = write_labels(&out, (const char *)csv, csv_path, err);
        if (status == SOTTO_OK) {
            status = text_close(&out, err);
        } else {
            text_discard(&out);
        }
    }
    sotto_free(csv);
    return status;
}
