/* SPDX-License-Identifier: MIT
 * Image files (IDX, CIFAR-10, PGM, PPM) and label files.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "nn/train/dataset.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    const char *path = fuzz_file(data, len_bytes);
    nn_images *images;
    sotto_error err;
    if (nn_images_open(&images, &path, 1, &err) == SOTTO_OK) {
        const size_t pixels = nn_image_pixels(nn_images_shape(images));
        const uint64_t count = nn_images_count(images);
        FUZZ_ASSERT(count > 0 && pixels > 0);
        FUZZ_ASSERT(pixels <= len_bytes / count); /* none is made up */
        uint8_t *out = malloc(pixels);
        FUZZ_ASSERT(out != NULL);
        /* Only a label can still be wrong (CIFAR-10). */
        const bool labels_inside = nn_images_have_labels(images);
        FUZZ_ASSERT(nn_images_read_bytes(images, out, NULL, count - 1, 1,
                                         &err) == SOTTO_OK ||
                    labels_inside);
        FUZZ_ASSERT(nn_images_read_bytes(images, out, NULL, 0, 1, &err) ==
                        SOTTO_OK ||
                    labels_inside);
        free(out);
        nn_images_close(images);
    }
    uint8_t *labels;
    size_t count;
    if (nn_labels_read(&labels, &count, path, &err) == SOTTO_OK) {
        FUZZ_ASSERT(count <= len_bytes);
        sotto_free(labels);
    }
    return 0;
}
