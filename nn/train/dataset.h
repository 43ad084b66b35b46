/* SPDX-License-Identifier: MIT
 * Images and labels from files: IDX, CIFAR-10 binary, PGM and PPM.
 *
 * The kind of a file is recognised by its content. Several files read as one
 * sequence when their image shapes agree:
 *
 *     kind     header                      one image
 *     IDX      00 00 08 03, n, h, w (BE)   h·w bytes, grey
 *     CIFAR-10 none (size = n·3073)        label byte, 3·32·32 bytes RGB planes
 *     PGM/PPM  P5/P6 w h 255               h·w grey or h·w RGB triples;
 *                                          images may follow one another
 *
 * Pixels are handed out as planes [channels][height][width], either as the
 * bytes of the file or as floats in [0,1]. Means and deviations are no business
 * of this file. Everything in a file is checked before it is used; memory is
 * taken for what a file really holds only.
 */
#ifndef SOTTO_NN_TRAIN_DATASET_H
#define SOTTO_NN_TRAIN_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Limits of what is read. */
#define NN_IMAGE_MAX_SIDE ((size_t)8192)
#define NN_IMAGE_MAX_PIXELS ((size_t)1 << 24) /* channels·height·width */
#define NN_IMAGES_MAX_FILES ((size_t)1 << 20)
#define NN_IMAGES_MAX_PIPE_BYTES ((size_t)1 << 28)

/* Shape of one image. */
typedef struct nn_image_shape {
    size_t channels;
    size_t height;
    size_t width;
} nn_image_shape;

/* channels·height·width. */
static inline size_t nn_image_pixels(nn_image_shape shape)
{
    return shape.channels * shape.height * shape.width;
}

/* One pixel as a float: the nearest float to value/255, in [0,1]. */
static inline float nn_pixel_to_float(uint8_t value)
{
    return (float)value / 255.0f;
}

/* A sequence of images of one shape, read from one or more files. */
typedef struct nn_images nn_images;

/* Opens n_paths files as one sequence; every header is read and checked, so
 * that shape and count are known. "-" is standard input, held in memory (at
 * most NN_IMAGES_MAX_PIPE_BYTES); every other path must be a regular file.
 * error: SOTTO_ERR_IO; SOTTO_ERR_FORMAT (unknown magic, truncated, bytes left
 * over, sizes beyond the limits, no images); SOTTO_ERR_SHAPE (files of
 * different shapes); SOTTO_ERR_UNSUPPORTED (IDX that is not ubyte n×h×w, PNM
 * that is not binary with 255 as the largest value); SOTTO_ERR_MEMORY; *images
 * is then NULL. owner: the caller, nn_images_close; copies the paths. */
sotto_status nn_images_open(nn_images **images, const char *const *paths,
                            size_t n_paths, sotto_error *err) SOTTO_MUST_CHECK;

/* Closes; NULL is fine. */
void nn_images_close(nn_images *images);

/* Shape of each image. */
nn_image_shape nn_images_shape(const nn_images *images);

/* Number of images in all files together. */
uint64_t nn_images_count(const nn_images *images);

/* True when the files hold labels as well (CIFAR-10 in every file). */
bool nn_images_have_labels(const nn_images *images);

/* Reads images [first, first+count) as bytes.
 * shape: pixels uint8_t[count][channels][height][width]; labels uint8_t[count]
 * or NULL; must be NULL unless nn_images_have_labels.
 * cost: O(count) when ranges ascend; going back reads the file anew.
 * error: SOTTO_ERR_PARAM when the range passes the last image, SOTTO_ERR_IO,
 * SOTTO_ERR_FORMAT when a file has changed since it was opened; the outputs
 * are then unspecified. */
sotto_status nn_images_read_bytes(nn_images *images, uint8_t *pixels,
                                  uint8_t *labels, uint64_t first, size_t count,
                                  sotto_error *err) SOTTO_MUST_CHECK;

/* Reads images [first, first+count) as floats in [0,1].
 * shape: pixels float[count][channels][height][width]. Otherwise as
 * nn_images_read_bytes. */
sotto_status nn_images_read(nn_images *images, float *pixels, uint64_t first,
                            size_t count, sotto_error *err) SOTTO_MUST_CHECK;

/* Reads all labels of an IDX label file (00 00 08 01, n, n bytes) or of a
 * CIFAR-10 batch.
 * error: as nn_images_open; *labels is then NULL.
 * owner: the caller frees *labels with sotto_free. */
sotto_status nn_labels_read(uint8_t **labels, size_t *count, const char *path,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Images with labels in memory, as training takes them. */
typedef struct nn_dataset {
    nn_image_shape shape;
    size_t count;
    size_t n_classes; /* largest label + 1 */
    uint8_t *pixels;  /* [count][channels][height][width] */
    uint8_t *labels;  /* [count] */
} nn_dataset;

/* Loads the first max_count images (0: all) with their labels. label_path may
 * be NULL when the image files hold labels.
 * error: as nn_images_open; SOTTO_ERR_SHAPE when there are not as many labels
 * as images; *data is then empty. owner: the caller, nn_dataset_clear. */
sotto_status nn_dataset_load(nn_dataset *data, const char *const *image_paths,
                             size_t n_image_paths, const char *label_path,
                             size_t max_count,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Frees what nn_dataset_load took; an empty data set is fine. */
void nn_dataset_clear(nn_dataset *data);

#endif
