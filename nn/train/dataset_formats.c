/* SPDX-License-Identifier: MIT
 * Image files: sources of bytes, and recognising and checking headers.
 */
#include "nn/train/dataset_internal.h"

#include <string.h>

#include "base/mem.h"

#define IDX_UBYTE 0x08
#define PNM_MAX_VALUE 255

/* --- sources ---------------------------------------------------------- */

/* Copies what cannot be read twice (a pipe) into memory. */
static sotto_status source_hold(nn_source *source, sotto_error *err)
{
    size_t len_bytes = 0;
    sotto_input_close(source->input);
    source->input = NULL;
    SOTTO_TRY(sotto_file_read(&source->memory, &len_bytes, source->path,
                              NN_IMAGES_MAX_PIPE_BYTES, err));
    source->len_bytes = len_bytes;
    return SOTTO_OK;
}

static sotto_status source_start(nn_source *source, const char *path,
                                 sotto_error *err)
{
    const size_t path_bytes = strlen(path) + 1;
    source->path = sotto_calloc(path_bytes, 1);
    if (source->path == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    memcpy(source->path, path, path_bytes);
    if (strcmp(path, "-") == 0) {
        return source_hold(source, err);
    }
    SOTTO_TRY(sotto_input_open(&source->input, path, err));
    source->len_bytes = sotto_input_size(source->input);
    return SOTTO_OK;
}

sotto_status nn_source_open(nn_source *source, const char *path,
                            sotto_error *err)
{
    memset(source, 0, sizeof(*source));
    sotto_status status = source_start(source, path, err);
    if (status == SOTTO_OK && source->len_bytes == 0) {
        status = sotto_fail(err, SOTTO_ERR_FORMAT,
                            "%s: no bytes, or not a regular file; expected "
                            "images or labels (pipes: use -)",
                            path);
    }
    if (status != SOTTO_OK) {
        nn_source_clear(source);
    }
    return status;
}

void nn_source_clear(nn_source *source)
{
    sotto_input_close(source->input);
    sotto_free(source->memory);
    sotto_free(source->path);
    memset(source, 0, sizeof(*source));
}

void nn_source_park(nn_source *source)
{
    sotto_input_close(source->input);
    source->input = NULL;
}

sotto_status nn_source_rewind(nn_source *source, sotto_error *err)
{
    source->at = 0;
    if (source->memory != NULL) {
        return SOTTO_OK;
    }
    nn_source_park(source);
    return sotto_input_open(&source->input, source->path, err);
}

/* Reads from the file in steps, so that skipping needs no memory. */
static sotto_status source_stream(nn_source *source, uint8_t *out,
                                  uint64_t len_bytes, sotto_error *err)
{
    uint8_t skipped[4096];
    while (len_bytes > 0) {
        uint64_t part = len_bytes;
        if (out == NULL && part > sizeof(skipped)) {
            part = sizeof(skipped);
        }
        SOTTO_TRY(sotto_input_read(source->input, out != NULL ? out : skipped,
                                   (size_t)part, NULL, err));
        out = out != NULL ? out + part : NULL;
        len_bytes -= part;
    }
    return SOTTO_OK;
}

sotto_status nn_source_read(nn_source *source, void *out, uint64_t len_bytes,
                            sotto_error *err)
{
    if (len_bytes > source->len_bytes - source->at) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: truncated: %llu bytes wanted at offset %llu of "
                          "%llu",
                          source->path, (unsigned long long)len_bytes,
                          (unsigned long long)source->at,
                          (unsigned long long)source->len_bytes);
    }
    if (source->memory != NULL) {
        if (out != NULL) {
            memcpy(out, source->memory + source->at, (size_t)len_bytes);
        }
    } else {
        SOTTO_TRY(source_stream(source, out, len_bytes, err));
    }
    source->at += len_bytes;
    return SOTTO_OK;
}

/* --- IDX -------------------------------------------------------------- */

static uint32_t big_endian_32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
           (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3];
}

static sotto_status check_shape(const nn_source *source, uint64_t channels,
                                uint64_t height, uint64_t width,
                                sotto_error *err)
{
    if (height < 1 || width < 1 || height > NN_IMAGE_MAX_SIDE ||
        width > NN_IMAGE_MAX_SIDE ||
        channels * height * width > NN_IMAGE_MAX_PIXELS) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: images of %llux%llux%llu; expected sides of 1 "
                          "to %zu and at most %zu values",
                          source->path, (unsigned long long)channels,
                          (unsigned long long)height, (unsigned long long)width,
                          NN_IMAGE_MAX_SIDE, NN_IMAGE_MAX_PIXELS);
    }
    return SOTTO_OK;
}

/* count·item_bytes < 2^32·2^24, so that nothing overflows here. */
static sotto_status check_length(const nn_source *source, uint64_t header_bytes,
                                 uint64_t count, uint64_t item_bytes,
                                 sotto_error *err)
{
    const uint64_t wanted = header_bytes + count * item_bytes;
    if (count == 0) {
        return sotto_fail(err, SOTTO_ERR_FORMAT, "%s: holds no items",
                          source->path);
    }
    if (source->len_bytes != wanted) {
        return sotto_fail(
            err, SOTTO_ERR_FORMAT,
            "%s: %s: %llu bytes; its header means %llu items of "
            "%llu bytes, %llu bytes in all",
            source->path,
            source->len_bytes < wanted ? "truncated" : "bytes left over",
            (unsigned long long)source->len_bytes, (unsigned long long)count,
            (unsigned long long)item_bytes, (unsigned long long)wanted);
    }
    return SOTTO_OK;
}

static sotto_status probe_idx(nn_file_info *info, nn_source *source,
                              const uint8_t *magic, sotto_error *err)
{
    uint8_t sizes[12];
    const size_t n_dims = magic[3];

    if (magic[2] != IDX_UBYTE || (n_dims != 1 && n_dims != 3)) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "%s: IDX of type 0x%02x with %zu dimensions; "
                          "expected bytes (0x08) with 3 dimensions (images) "
                          "or 1 (labels)",
                          source->path, magic[2], n_dims);
    }
    SOTTO_TRY(nn_source_read(source, sizes, 4 * n_dims, err));
    info->count = big_endian_32(sizes);
    info->header_bytes = 4 + 4 * n_dims;
    if (n_dims == 1) {
        info->kind = NN_FILE_IDX_LABELS;
        info->shape = (nn_image_shape){1, 1, 1};
    } else {
        info->kind = NN_FILE_IDX_IMAGES;
        info->shape = (nn_image_shape){1, big_endian_32(sizes + 4),
                                       big_endian_32(sizes + 8)};
        SOTTO_TRY(
            check_shape(source, 1, info->shape.height, info->shape.width, err));
    }
    return check_length(source, info->header_bytes, info->count,
                        nn_image_pixels(info->shape), err);
}

/* --- PGM and PPM ------------------------------------------------------ */

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Reads one decimal number, with the white space and comments before it and
 * the one character behind it. */
static sotto_status pnm_number(uint64_t *value, nn_source *source,
                               sotto_error *err)
{
    uint8_t c = ' ';
    bool comment = false;
    size_t digits = 0;

    *value = 0;
    while (comment || is_space(c) || c == '#') {
        comment = (comment && c != '\n') || c == '#';
        SOTTO_TRY(nn_source_read(source, &c, 1, err));
    }
    while (c >= '0' && c <= '9' && digits < 9) {
        *value = *value * 10 + (uint64_t)(c - '0');
        digits++;
        SOTTO_TRY(nn_source_read(source, &c, 1, err));
    }
    if (digits == 0 || !is_space(c)) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: damaged PNM header at offset %llu: expected a "
                          "number and white space",
                          source->path, (unsigned long long)source->at - 1);
    }
    return SOTTO_OK;
}

sotto_status nn_pnm_header(nn_image_shape *shape, nn_source *source,
                           sotto_error *err)
{
    uint8_t magic[2];
    uint64_t width = 0;
    uint64_t height = 0;
    uint64_t max_value = 0;

    SOTTO_TRY(nn_source_read(source, magic, sizeof(magic), err));
    if (magic[0] != 'P' || (magic[1] != '5' && magic[1] != '6')) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: bytes %02x %02x at offset %llu; expected P5 "
                          "(PGM) or P6 (PPM)",
                          source->path, magic[0], magic[1],
                          (unsigned long long)source->at - 2);
    }
    SOTTO_TRY(pnm_number(&width, source, err));
    SOTTO_TRY(pnm_number(&height, source, err));
    SOTTO_TRY(pnm_number(&max_value, source, err));
    if (max_value != PNM_MAX_VALUE) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "%s: largest value %llu; only %d is read: convert "
                          "the image to 8 bits",
                          source->path, (unsigned long long)max_value,
                          PNM_MAX_VALUE);
    }
    const size_t channels = magic[1] == '6' ? 3 : 1;
    SOTTO_TRY(check_shape(source, channels, height, width, err));
    *shape = (nn_image_shape){channels, (size_t)height, (size_t)width};
    return SOTTO_OK;
}

static bool same_shape(nn_image_shape a, nn_image_shape b)
{
    return a.channels == b.channels && a.height == b.height &&
           a.width == b.width;
}

/* Counts the images of one file; only their headers are looked at. */
static sotto_status probe_pnm(nn_file_info *info, nn_source *source,
                              sotto_error *err)
{
    SOTTO_TRY(nn_source_rewind(source, err));
    info->kind = NN_FILE_PNM;
    info->count = 0;
    while (source->at < source->len_bytes) {
        nn_image_shape shape;
        SOTTO_TRY(nn_pnm_header(&shape, source, err));
        SOTTO_TRY(nn_source_read(source, NULL, nn_image_pixels(shape), err));
        if (info->count > 0 && !same_shape(shape, info->shape)) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "%s: image %llu is %zux%zux%zu, those before "
                              "are %zux%zux%zu (channels, height, width)",
                              source->path, (unsigned long long)info->count,
                              shape.channels, shape.height, shape.width,
                              info->shape.channels, info->shape.height,
                              info->shape.width);
        }
        info->shape = shape;
        info->count++;
    }
    return SOTTO_OK;
}

/* --- recognition ------------------------------------------------------ */

sotto_status nn_file_probe(nn_file_info *info, nn_source *source,
                           sotto_error *err)
{
    uint8_t magic[4] = {0};
    *info = (nn_file_info){0};
    if (source->len_bytes % NN_CIFAR10_RECORD == 0) {
        info->kind = NN_FILE_CIFAR10;
        info->shape = (nn_image_shape){3, 32, 32};
        info->count = source->len_bytes / NN_CIFAR10_RECORD;
    }
    if (source->len_bytes >= sizeof(magic)) {
        SOTTO_TRY(nn_source_read(source, magic, sizeof(magic), err));
        if (magic[0] == 'P' && (magic[1] == '5' || magic[1] == '6')) {
            return probe_pnm(info, source, err);
        }
        if (magic[0] == 0 && magic[1] == 0) {
            const nn_file_info cifar = *info;
            const bool may_be_cifar = info->count > 0;
            const sotto_status status =
                probe_idx(info, source, magic, may_be_cifar ? NULL : err);
            if (status == SOTTO_OK || !may_be_cifar) {
                return status;
            }
            *info = cifar; /* label 0 and a black pixel, not an IDX magic */
        }
    }
    if (info->count == 0) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: first bytes %02x %02x %02x %02x, %llu bytes; "
                          "expected IDX (00 00 08 ..), PGM or PPM (P5, P6), or "
                          "CIFAR-10 binary (records of %zu bytes)",
                          source->path, magic[0], magic[1], magic[2], magic[3],
                          (unsigned long long)source->len_bytes,
                          NN_CIFAR10_RECORD);
    }
    return SOTTO_OK;
}
