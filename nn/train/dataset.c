/* SPDX-License-Identifier: MIT
 * Sequences of images over several files, labels, and data sets in memory.
 */
#include "nn/train/dataset_internal.h"

#include <string.h>

#include "base/mem.h"

/* Bytes read at a time on the way to floats (one image if that is larger). */
#define CONVERT_BYTES ((size_t)1 << 16)

/* One file of a sequence. */
typedef struct part {
    nn_source source;
    nn_file_info info;
    uint64_t first; /* number of its first image in the sequence */
    uint64_t next;  /* image of this file that the source stands at */
} part;

struct nn_images {
    nn_image_shape shape;
    uint64_t count;
    size_t n_parts;
    size_t current; /* the only part whose file may be open */
    part *parts;
    uint8_t *convert; /* bytes on their way to floats: convert_images */
    size_t convert_images;
    uint8_t *triples; /* one PPM image as it lies in its file */
};

/* --- opening ---------------------------------------------------------- */

static sotto_status part_open(part *p, const char *path, sotto_error *err)
{
    SOTTO_TRY(nn_source_open(&p->source, path, err));
    SOTTO_TRY(nn_file_probe(&p->info, &p->source, err));
    if (p->info.kind == NN_FILE_IDX_LABELS) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: holds labels; expected images", path);
    }
    p->next = UINT64_MAX; /* unknown: the first read rewinds */
    nn_source_park(&p->source);
    return SOTTO_OK;
}

static sotto_status images_start(nn_images *images, const char *const *paths,
                                 sotto_error *err)
{
    for (size_t i = 0; i < images->n_parts; i++) {
        part *p = &images->parts[i];
        SOTTO_TRY(part_open(p, paths[i], err));
        const nn_image_shape shape = p->info.shape;
        if (i == 0) {
            images->shape = shape;
        } else if (memcmp(&shape, &images->shape, sizeof(shape)) != 0) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "%s: images of %zux%zux%zu, but %s has "
                              "%zux%zux%zu (channels, height, width)",
                              paths[i], shape.channels, shape.height,
                              shape.width, paths[0], images->shape.channels,
                              images->shape.height, images->shape.width);
        }
        p->first = images->count;
        images->count += p->info.count;
    }
    const size_t image_bytes = nn_image_pixels(images->shape);
    images->convert_images = CONVERT_BYTES / image_bytes;
    if (images->convert_images == 0) {
        images->convert_images = 1;
    }
    images->convert = sotto_calloc(images->convert_images, image_bytes);
    images->triples = sotto_calloc(image_bytes, 1);
    if (images->convert == NULL || images->triples == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    return SOTTO_OK;
}

sotto_status nn_images_open(nn_images **images, const char *const *paths,
                            size_t n_paths, sotto_error *err)
{
    *images = NULL;
    if (n_paths < 1 || n_paths > NN_IMAGES_MAX_FILES) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "%zu image files; expected 1 to %zu", n_paths,
                          NN_IMAGES_MAX_FILES);
    }
    nn_images *made = sotto_calloc(1, sizeof(*made));
    part *parts = sotto_calloc(n_paths, sizeof(*parts));
    if (made == NULL || parts == NULL) {
        sotto_free(made);
        sotto_free(parts);
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    made->parts = parts;
    made->n_parts = n_paths;
    const sotto_status status = images_start(made, paths, err);
    if (status != SOTTO_OK) {
        nn_images_close(made);
        return status;
    }
    *images = made;
    return SOTTO_OK;
}

void nn_images_close(nn_images *images)
{
    if (images == NULL) {
        return;
    }
    for (size_t i = 0; i < images->n_parts; i++) {
        nn_source_clear(&images->parts[i].source);
    }
    sotto_free(images->parts);
    sotto_free(images->convert);
    sotto_free(images->triples);
    sotto_free(images);
}

nn_image_shape nn_images_shape(const nn_images *images)
{
    return images->shape;
}

uint64_t nn_images_count(const nn_images *images)
{
    return images->count;
}

bool nn_images_have_labels(const nn_images *images)
{
    for (size_t i = 0; i < images->n_parts; i++) {
        if (images->parts[i].info.kind != NN_FILE_CIFAR10) {
            return false;
        }
    }
    return true;
}

/* --- reading ---------------------------------------------------------- */

/* Makes part i the open one and puts it at its image index, from where it is
 * or, to go back, from the beginning. PNM headers vary in length, so images of
 * that kind are stepped over one by one. */
static sotto_status part_seek(nn_images *images, size_t i, uint64_t index,
                              sotto_error *err)
{
    part *p = &images->parts[i];
    const size_t image_bytes = nn_image_pixels(p->info.shape);

    if (images->current != i) {
        part *old = &images->parts[images->current];
        nn_source_park(&old->source);
        old->next = UINT64_MAX;
        images->current = i;
    }
    if (p->next > index) {
        SOTTO_TRY(nn_source_rewind(&p->source, err));
        SOTTO_TRY(nn_source_read(&p->source, NULL, p->info.header_bytes, err));
        p->next = 0;
    }
    if (p->info.kind == NN_FILE_PNM) {
        for (; p->next < index; p->next++) {
            nn_image_shape shape;
            SOTTO_TRY(nn_pnm_header(&shape, &p->source, err));
            SOTTO_TRY(
                nn_source_read(&p->source, NULL, nn_image_pixels(shape), err));
        }
        return SOTTO_OK;
    }
    const size_t record =
        image_bytes + (p->info.kind == NN_FILE_CIFAR10 ? 1 : 0);
    SOTTO_TRY(
        nn_source_read(&p->source, NULL, (index - p->next) * record, err));
    p->next = index;
    return SOTTO_OK;
}

/* Turns RGB triples, as PPM has them, into planes, as networks want them. */
static void split_planes(uint8_t *pixels, const uint8_t *triples,
                         size_t plane_bytes)
{
    for (size_t i = 0; i < plane_bytes; i++) {
        for (size_t c = 0; c < 3; c++) {
            pixels[c * plane_bytes + i] = triples[3 * i + c];
        }
    }
}

static sotto_status read_pnm(nn_images *images, part *p, uint8_t *pixels,
                             sotto_error *err)
{
    nn_image_shape shape;
    const size_t image_bytes = nn_image_pixels(images->shape);

    SOTTO_TRY(nn_pnm_header(&shape, &p->source, err));
    if (memcmp(&shape, &images->shape, sizeof(shape)) != 0) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: changed while it was read", p->source.path);
    }
    if (shape.channels == 1) {
        return nn_source_read(&p->source, pixels, image_bytes, err);
    }
    SOTTO_TRY(nn_source_read(&p->source, images->triples, image_bytes, err));
    split_planes(pixels, images->triples, image_bytes / 3);
    return SOTTO_OK;
}

/* Reads the image that part p stands at. */
static sotto_status read_one(nn_images *images, part *p, uint8_t *pixels,
                             uint8_t *label, sotto_error *err)
{
    if (p->info.kind == NN_FILE_PNM) {
        return read_pnm(images, p, pixels, err);
    }
    if (p->info.kind == NN_FILE_CIFAR10) {
        uint8_t value = 0;
        SOTTO_TRY(nn_source_read(&p->source, &value, 1, err));
        if (value > 9) {
            return sotto_fail(err, SOTTO_ERR_FORMAT,
                              "%s: record %llu has label %u; CIFAR-10 has "
                              "labels 0 to 9",
                              p->source.path, (unsigned long long)p->next,
                              value);
        }
        if (label != NULL) {
            *label = value;
        }
    }
    return nn_source_read(&p->source, pixels, nn_image_pixels(images->shape),
                          err);
}

/* Reads images from the one on at which part p stands, 1 to `count`; *n: how
 * many. Nothing lies between those of an IDX file. */
static sotto_status read_some(nn_images *images, part *p, uint8_t *pixels,
                              uint8_t *labels, size_t count, size_t *n,
                              sotto_error *err)
{
    *n = 1;
    if (p->info.kind != NN_FILE_IDX_IMAGES) {
        return read_one(images, p, pixels, labels, err);
    }
    const uint64_t left = p->info.count - p->next;
    *n = count < left ? count : (size_t)left;
    return nn_source_read(&p->source, pixels,
                          *n * nn_image_pixels(images->shape), err);
}

sotto_status nn_images_read_bytes(nn_images *images, uint8_t *pixels,
                                  uint8_t *labels, uint64_t first, size_t count,
                                  sotto_error *err)
{
    SOTTO_ASSERT(labels == NULL || nn_images_have_labels(images));
    if (first > images->count || count > images->count - first) {
        return sotto_fail(
            err, SOTTO_ERR_PARAM, "images %llu to %llu wanted; there are %llu",
            (unsigned long long)first, (unsigned long long)first + count,
            (unsigned long long)images->count);
    }
    size_t at = 0;
    size_t n;
    for (size_t k = 0; k < count; k += n) {
        while (first + k >=
               images->parts[at].first + images->parts[at].info.count) {
            at++;
        }
        part *p = &images->parts[at];
        SOTTO_TRY(part_seek(images, at, first + k - p->first, err));
        const sotto_status status =
            read_some(images, p, pixels + k * nn_image_pixels(images->shape),
                      labels != NULL ? labels + k : NULL, count - k, &n, err);
        if (status != SOTTO_OK) {
            p->next = UINT64_MAX; /* somewhere inside the image */
            return status;
        }
        p->next += n;
    }
    return SOTTO_OK;
}

sotto_status nn_images_read(nn_images *images, float *pixels, uint64_t first,
                            size_t count, sotto_error *err)
{
    const size_t image_bytes = nn_image_pixels(images->shape);
    while (count > 0) {
        const size_t part_count =
            count < images->convert_images ? count : images->convert_images;
        SOTTO_TRY(nn_images_read_bytes(images, images->convert, NULL, first,
                                       part_count, err));
        for (size_t i = 0; i < part_count * image_bytes; i++) {
            pixels[i] = nn_pixel_to_float(images->convert[i]);
        }
        pixels += part_count * image_bytes;
        first += part_count;
        count -= part_count;
    }
    return SOTTO_OK;
}

/* --- labels and data sets --------------------------------------------- */

static sotto_status labels_from(uint8_t *labels, nn_source *source,
                                const nn_file_info *info, sotto_error *err)
{
    SOTTO_TRY(nn_source_rewind(source, err));
    SOTTO_TRY(nn_source_read(source, NULL, info->header_bytes, err));
    if (info->kind == NN_FILE_IDX_LABELS) {
        return nn_source_read(source, labels, info->count, err);
    }
    for (uint64_t i = 0; i < info->count; i++) {
        SOTTO_TRY(nn_source_read(source, &labels[i], 1, err));
        SOTTO_TRY(nn_source_read(source, NULL, NN_CIFAR10_PIXELS, err));
    }
    return SOTTO_OK;
}

static sotto_status labels_read(uint8_t **labels, size_t *count,
                                nn_source *source, sotto_error *err)
{
    nn_file_info info;
    SOTTO_TRY(nn_file_probe(&info, source, err));
    if (info.kind != NN_FILE_IDX_LABELS && info.kind != NN_FILE_CIFAR10) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: holds images without labels; expected labels "
                          "(IDX 00 00 08 01, or CIFAR-10 binary)",
                          source->path);
    }
    uint8_t *made = sotto_calloc((size_t)info.count, 1);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    const sotto_status status = labels_from(made, source, &info, err);
    if (status != SOTTO_OK) {
        sotto_free(made);
        return status;
    }
    *labels = made;
    *count = (size_t)info.count;
    return SOTTO_OK;
}

sotto_status nn_labels_read(uint8_t **labels, size_t *count, const char *path,
                            sotto_error *err)
{
    nn_source source;
    *labels = NULL;
    *count = 0;
    SOTTO_TRY(nn_source_open(&source, path, err));
    const sotto_status status = labels_read(labels, count, &source, err);
    nn_source_clear(&source);
    return status;
}

/* Takes the labels from a file of their own. */
static sotto_status dataset_take_labels(nn_dataset *data, uint64_t n_images,
                                        const char *label_path,
                                        sotto_error *err)
{
    size_t n_labels = 0;
    SOTTO_TRY(nn_labels_read(&data->labels, &n_labels, label_path, err));
    if (n_labels != n_images) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "%s: %zu labels for %llu images", label_path,
                          n_labels, (unsigned long long)n_images);
    }
    return SOTTO_OK;
}

static sotto_status dataset_fill(nn_dataset *data, nn_images *images,
                                 const char *label_path, size_t max_count,
                                 sotto_error *err)
{
    const uint64_t n_images = nn_images_count(images);
    data->shape = nn_images_shape(images);
    data->count =
        max_count > 0 && max_count < n_images ? max_count : (size_t)n_images;
    if (label_path != NULL) {
        SOTTO_TRY(dataset_take_labels(data, n_images, label_path, err));
    } else if (!nn_images_have_labels(images)) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "the image files hold no labels: name a label file");
    } else {
        data->labels = sotto_calloc(data->count, 1);
    }
    data->pixels = sotto_calloc(data->count, nn_image_pixels(data->shape));
    if (data->labels == NULL || data->pixels == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for %zu images of %zu bytes",
                          data->count, nn_image_pixels(data->shape));
    }
    SOTTO_TRY(nn_images_read_bytes(images, data->pixels,
                                   label_path == NULL ? data->labels : NULL, 0,
                                   data->count, err));
    for (size_t i = 0; i < data->count; i++) {
        if (data->labels[i] >= data->n_classes) {
            data->n_classes = (size_t)data->labels[i] + 1;
        }
    }
    return SOTTO_OK;
}

sotto_status nn_dataset_load(nn_dataset *data, const char *const *image_paths,
                             size_t n_image_paths, const char *label_path,
                             size_t max_count, sotto_error *err)
{
    nn_images *images = NULL;
    memset(data, 0, sizeof(*data));
    SOTTO_TRY(nn_images_open(&images, image_paths, n_image_paths, err));
    const sotto_status status =
        dataset_fill(data, images, label_path, max_count, err);
    nn_images_close(images);
    if (status != SOTTO_OK) {
        nn_dataset_clear(data);
    }
    return status;
}

void nn_dataset_clear(nn_dataset *data)
{
    sotto_free(data->pixels);
    sotto_free(data->labels);
    memset(data, 0, sizeof(*data));
}
