/* SPDX-License-Identifier: MIT
 * How one file is read: bytes from a file or from memory, and its header.
 */
#ifndef SOTTO_NN_TRAIN_DATASET_INTERNAL_H
#define SOTTO_NN_TRAIN_DATASET_INTERNAL_H

#include "base/file.h"
#include "nn/train/dataset.h"

typedef enum nn_file_kind {
    NN_FILE_IDX_IMAGES,
    NN_FILE_IDX_LABELS,
    NN_FILE_CIFAR10,
    NN_FILE_PNM
} nn_file_kind;

#define NN_CIFAR10_PIXELS ((size_t)3072)
#define NN_CIFAR10_RECORD (NN_CIFAR10_PIXELS + 1)

/* Bytes front to back, as often as wanted. A regular file is streamed and
 * opened anew by rewinding; anything else is copied into memory once. */
typedef struct nn_source {
    char *path;         /* owned */
    sotto_input *input; /* NULL: closed, or held in memory */
    uint8_t *memory;    /* NULL for a regular file */
    uint64_t len_bytes; /* of the whole source */
    uint64_t at;        /* bytes read so far */
} nn_source;

/* Opens a source at its first byte. error: as nn_images_open; the source is
 * then empty. owner: copies path; the caller, nn_source_clear. */
sotto_status nn_source_open(nn_source *source, const char *path,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Closes and frees. */
void nn_source_clear(nn_source *source);

/* Goes back to the first byte. error: SOTTO_ERR_IO, SOTTO_ERR_MEMORY. */
sotto_status nn_source_rewind(nn_source *source,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Closes the file, keeping what is needed to open it again. */
void nn_source_park(nn_source *source);

/* Reads exactly len_bytes bytes; out == NULL skips them.
 * error: SOTTO_ERR_FORMAT when fewer are left. */
sotto_status nn_source_read(nn_source *source, void *out, uint64_t len_bytes,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* What the header of a file says, everything checked against its size. */
typedef struct nn_file_info {
    nn_file_kind kind;
    nn_image_shape shape; /* one label: 1×1×1 */
    uint64_t count;
    uint64_t header_bytes; /* before the first image; PNM: 0 */
} nn_file_info;

/* Recognises and checks a source that stands at its first byte; where it
 * stands afterwards is unspecified. error: as nn_images_open. */
sotto_status nn_file_probe(nn_file_info *info, nn_source *source,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Reads the header of one PNM image; the source then stands at its pixels.
 * error: as nn_images_open. */
sotto_status nn_pnm_header(nn_image_shape *shape, nn_source *source,
                           sotto_error *err) SOTTO_MUST_CHECK;

#endif
