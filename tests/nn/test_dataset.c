/* SPDX-License-Identifier: MIT
 * Image and label files: every format, ranges, and damaged files.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "nn/train/dataset.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"

static const test_folder *folder;

static const char *path_of(const char *name)
{
    return folder_file(folder, name);
}

static const char *put(const char *name, const void *data, size_t len_bytes)
{
    const char *path = path_of(name);
    folder_put(path, data, len_bytes);
    return path;
}

/* An IDX file of n images h×w whose bytes count up from start. */
static size_t make_idx(uint8_t *out, uint8_t n, uint8_t h, uint8_t w,
                       uint8_t start)
{
    const uint8_t header[16] = {0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, h, 0, 0, 0, w};
    const size_t len = (size_t)n * h * w;
    memcpy(out, header, sizeof(header));
    for (size_t i = 0; i < len; i++) {
        out[16 + i] = (uint8_t)(start + i);
    }
    return 16 + len;
}

static nn_images *open_one(const char *path)
{
    nn_images *images = NULL;
    sotto_error err = {{0}};
    if (nn_images_open(&images, &path, 1, &err) != SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    return images;
}

/* Opening must fail with this status; the message names file and word. */
static void refuse(const char *path, sotto_status want, const char *word)
{
    nn_images *images = NULL;
    sotto_error err = {{0}};
    const sotto_status status = nn_images_open(&images, &path, 1, &err);
    assert_null(images);
    if (status != want || strstr(err.text, word) == NULL) {
        fail_msg("status %d, message '%s', expected %d and '%s'", status,
                 err.text, want, word);
    }
}

static int make_folder(void **state)
{
    const int failed = folder_setup(state);
    folder = *state;
    return failed;
}

static void test_dataset_idx_ranges(void **state)
{
    uint8_t file[16 + 60], got[60];
    float floats[12];
    sotto_error err = {{0}};
    (void)state;
    nn_images *images = open_one(put("a", file, make_idx(file, 5, 3, 4, 100)));
    assert_int_equal(nn_images_count(images), 5);
    assert_int_equal(nn_images_shape(images).channels, 1);
    assert_int_equal(nn_images_shape(images).height, 3);
    assert_int_equal(nn_images_shape(images).width, 4);
    assert_false(nn_images_have_labels(images));
    /* every range, so that reading goes forward, stays, and goes back */
    for (size_t first = 0; first <= 5; first++) {
        for (size_t count = 0; first + count <= 5; count++) {
            memset(got, 0, sizeof(got));
            assert_int_equal(
                nn_images_read_bytes(images, got, NULL, first, count, &err),
                SOTTO_OK);
            assert_memory_equal(got, file + 16 + 12 * first, 12 * count);
        }
    }
    assert_int_equal(nn_images_read(images, floats, 2, 1, &err), SOTTO_OK);
    for (size_t i = 0; i < 12; i++) {
        assert_true(floats[i] == (float)(124 + i) / 255.0f);
    }
    assert_int_equal(nn_images_read_bytes(images, got, NULL, 4, 2, &err),
                     SOTTO_ERR_PARAM);
    assert_int_equal(
        nn_images_read_bytes(images, got, NULL, UINT64_MAX, 2, &err),
        SOTTO_ERR_PARAM);
    nn_images_close(images);
}

static void test_dataset_several_files(void **state)
{
    uint8_t one[16 + 12], two[16 + 18], got[30];
    const char *paths[2];
    nn_images *images = NULL;
    sotto_error err = {{0}};
    (void)state;
    paths[0] = put("a", one, make_idx(one, 2, 2, 3, 0));
    paths[1] = put("b", two, make_idx(two, 3, 2, 3, 50));
    assert_int_equal(nn_images_open(&images, paths, 2, &err), SOTTO_OK);
    assert_int_equal(nn_images_count(images), 5);
    assert_int_equal(nn_images_read_bytes(images, got, NULL, 0, 5, &err),
                     SOTTO_OK);
    assert_memory_equal(got, one + 16, 12);
    assert_memory_equal(got + 12, two + 16, 18);
    assert_int_equal(nn_images_read_bytes(images, got, NULL, 1, 2, &err),
                     SOTTO_OK);
    assert_memory_equal(got, one + 22, 6);
    assert_memory_equal(got + 6, two + 16, 6);
    nn_images_close(images);

    paths[1] = put("b", two, make_idx(two, 3, 3, 2, 50));
    assert_int_equal(nn_images_open(&images, paths, 2, &err), SOTTO_ERR_SHAPE);
    assert_null(images);
    assert_int_equal(nn_images_open(&images, paths, 0, &err), SOTTO_ERR_PARAM);
}

static void test_dataset_idx_damaged(void **state)
{
    uint8_t file[16 + 60 + 1] = {0};
    const size_t len = make_idx(file, 5, 3, 4, 1);
    (void)state;
    /* every truncation is noticed when the file is opened */
    for (size_t cut = 0; cut < len; cut++) {
        nn_images *images = NULL;
        sotto_error err = {{0}};
        const char *path = put("a", file, cut);
        assert_int_equal(nn_images_open(&images, &path, 1, &err),
                         SOTTO_ERR_FORMAT);
        assert_null(images);
    }
    refuse(put("a", file, len + 1), SOTTO_ERR_FORMAT, "left over");
    refuse(put("a", file, len - 1), SOTTO_ERR_FORMAT, "truncated");
    file[7] = 0;
    refuse(put("a", file, 16), SOTTO_ERR_FORMAT, "no items");
    memset(file + 4, 0xff, 12);
    refuse(put("a", file, len), SOTTO_ERR_FORMAT, "4294967295");
    file[2] = 0x0d;
    refuse(put("a", file, len), SOTTO_ERR_UNSUPPORTED, "0x0d");
    file[2] = 8;
    file[3] = 4;
    refuse(put("a", file, len), SOTTO_ERR_UNSUPPORTED, "4 dimensions");
    refuse(put("a", "hello, world", 12), SOTTO_ERR_FORMAT, "68 65 6c 6c");
    refuse(path_of("missing"), SOTTO_ERR_IO, "missing");
}

/* No byte of a header may lead to a crash or to a wrong size. */
static void test_dataset_flipped_bits(void **state)
{
    uint8_t idx[16 + 12], pgm[64];
    const size_t idx_len = make_idx(idx, 2, 2, 3, 7);
    const size_t pgm_len = 11 + 6;
    (void)state;
    memcpy(pgm, "P5 3 2 255\nabcdef", pgm_len);
    for (size_t bit = 0; bit < 8 * 16; bit++) {
        uint8_t *const data[2] = {idx, pgm};
        const size_t lens[2] = {idx_len, pgm_len};
        for (size_t k = 0; k < 2; k++) {
            uint8_t got[256];
            nn_images *images = NULL;
            sotto_error err = {{0}};
            data[k][bit / 8] ^= (uint8_t)(1u << bit % 8);
            const char *path = put("a", data[k], lens[k]);
            if (nn_images_open(&images, &path, 1, &err) == SOTTO_OK) {
                const uint64_t n = nn_images_count(images);
                const size_t all =
                    (size_t)n * nn_image_pixels(nn_images_shape(images));
                assert_true(all <= lens[k]);
                assert_int_equal(
                    nn_images_read_bytes(images, got, NULL, 0, (size_t)n, &err),
                    SOTTO_OK);
            }
            nn_images_close(images);
            data[k][bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void test_dataset_pnm(void **state)
{
    static const char grey[] = "P5\n# made by hand\n2 2\n255\n\001\002\003\004"
                               "P5 2 2 255\n\005\006\007\010";
    static const char colour[] = "P6 2 1 255 abcdef";
    uint8_t got[8];
    sotto_error err = {{0}};
    (void)state;
    nn_images *images = open_one(put("a", grey, sizeof(grey) - 1));
    assert_int_equal(nn_images_count(images), 2);
    assert_int_equal(nn_images_read_bytes(images, got, NULL, 0, 2, &err),
                     SOTTO_OK);
    assert_memory_equal(got, "\1\2\3\4\5\6\7\10", 8);
    assert_int_equal(nn_images_read_bytes(images, got, NULL, 1, 1, &err),
                     SOTTO_OK);
    assert_memory_equal(got, "\5\6\7\10", 4);
    nn_images_close(images);

    /* triples become planes */
    images = open_one(put("a", colour, sizeof(colour) - 1));
    assert_int_equal(nn_images_shape(images).channels, 3);
    assert_int_equal(nn_images_read_bytes(images, got, NULL, 0, 1, &err),
                     SOTTO_OK);
    assert_memory_equal(got, "adbecf", 6);
    nn_images_close(images);
}

static void test_dataset_pnm_damaged(void **state)
{
    (void)state;
    refuse(put("a", "P5 2 2 255\nabc", 14), SOTTO_ERR_FORMAT, "truncated");
    refuse(put("a", "P5 2 2 255\nabcde", 16), SOTTO_ERR_FORMAT, "truncated");
    refuse(put("a", "P5 2 2 255\nabcdxx", 17), SOTTO_ERR_FORMAT, "78 78");
    refuse(put("a", "P5 2 2 65535\nabcdabcd", 21), SOTTO_ERR_UNSUPPORTED,
           "65535");
    refuse(put("a", "P5 -2 2 255\nabcd", 16), SOTTO_ERR_FORMAT, "number");
    refuse(put("a", "P5 0 2 255\nabcd", 15), SOTTO_ERR_FORMAT, "sides");
    refuse(put("a", "P5 99999999999 2 255\n", 21), SOTTO_ERR_FORMAT, "number");
    refuse(put("a", "P5 999999999 2 255\n", 19), SOTTO_ERR_FORMAT, "999999999");
    refuse(put("a", "P5 # no end", 11), SOTTO_ERR_FORMAT, "truncated");
    refuse(put("a", "P5 1 1 255\naP5 1 2 255\nab", 25), SOTTO_ERR_SHAPE,
           "image 1");
}

static void test_dataset_cifar10(void **state)
{
    uint8_t *file = sotto_calloc(2, 3073);
    uint8_t *got = sotto_calloc(2, 3072);
    uint8_t labels[2], *read = NULL;
    size_t n_labels = 0;
    sotto_error err = {{0}};
    (void)state;
    assert_non_null(file);
    assert_non_null(got);
    for (size_t i = 0; i < 3072; i++) {
        file[1 + i] = (uint8_t)(i * 7);
        file[3074 + i] = (uint8_t)(i * 11);
    }
    file[3073] = 9;
    nn_images *images = open_one(put("a", file, 2 * 3073));
    assert_int_equal(nn_images_count(images), 2);
    assert_int_equal(nn_images_shape(images).channels, 3);
    assert_true(nn_images_have_labels(images));
    assert_int_equal(nn_images_read_bytes(images, got, labels, 0, 2, &err),
                     SOTTO_OK);
    assert_int_equal(labels[0], 0);
    assert_int_equal(labels[1], 9);
    assert_memory_equal(got, file + 1, 3072);
    assert_memory_equal(got + 3072, file + 3074, 3072);
    nn_images_close(images);
    assert_int_equal(nn_labels_read(&read, &n_labels, path_of("a"), &err),
                     SOTTO_OK);
    assert_int_equal(n_labels, 2);
    assert_memory_equal(read, labels, 2);
    sotto_free(read);

    /* begins like an IDX file (label 0, black, 8, 3), but is none */
    file[1] = 0;
    file[2] = 8;
    file[3] = 3;
    images = open_one(put("a", file, 2 * 3073));
    assert_int_equal(nn_images_shape(images).channels, 3);
    nn_images_close(images);

    file[0] = 1;
    file[3073] = 10;
    images = open_one(put("a", file, 2 * 3073));
    assert_int_equal(nn_images_read_bytes(images, got, labels, 0, 2, &err),
                     SOTTO_ERR_FORMAT);
    assert_non_null(strstr(err.text, "record 1 has label 10"));
    nn_images_close(images);
    refuse(put("a", file, 2 * 3073 - 1), SOTTO_ERR_FORMAT, "CIFAR-10");
    sotto_free(file);
    sotto_free(got);
}

static void test_dataset_labels(void **state)
{
    static const uint8_t file[] = {0, 0, 8, 1, 0, 0, 0, 3, 4, 5, 6};
    uint8_t *labels = NULL;
    size_t n = 0;
    sotto_error err = {{0}};
    (void)state;
    const char *path = put("a", file, sizeof(file));
    assert_int_equal(nn_labels_read(&labels, &n, path, &err), SOTTO_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(labels, file + 8, 3);
    sotto_free(labels);
    refuse(path, SOTTO_ERR_FORMAT, "expected images");
    for (size_t cut = 0; cut < sizeof(file); cut++) {
        path = put("a", file, cut);
        assert_int_equal(nn_labels_read(&labels, &n, path, &err),
                         SOTTO_ERR_FORMAT);
        assert_null(labels);
    }
    path = put("a", "P5 1 1 255\na", 12);
    assert_int_equal(nn_labels_read(&labels, &n, path, &err), SOTTO_ERR_FORMAT);
}

static void test_dataset_load(void **state)
{
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 4, 0, 2};
    uint8_t file[16 + 12];
    nn_dataset data;
    sotto_error err = {{0}};
    (void)state;
    const char *path = put("a", file, make_idx(file, 3, 2, 2, 0));
    const char *label_path = put("b", labels, sizeof(labels));
    assert_int_equal(nn_dataset_load(&data, &path, 1, label_path, 0, &err),
                     SOTTO_OK);
    assert_int_equal(data.count, 3);
    assert_int_equal(data.n_classes, 5);
    assert_memory_equal(data.pixels, file + 16, 12);
    assert_memory_equal(data.labels, labels + 8, 3);
    nn_dataset_clear(&data);
    assert_int_equal(nn_dataset_load(&data, &path, 1, label_path, 2, &err),
                     SOTTO_OK);
    assert_int_equal(data.count, 2);
    nn_dataset_clear(&data);
    assert_int_equal(nn_dataset_load(&data, &path, 1, NULL, 0, &err),
                     SOTTO_ERR_PARAM);
    assert_null(data.pixels);
    path = put("a", file, make_idx(file, 2, 2, 2, 0));
    assert_int_equal(nn_dataset_load(&data, &path, 1, label_path, 0, &err),
                     SOTTO_ERR_SHAPE);
    assert_null(data.labels);
}

/* Whatever the system refuses: the right error, and nothing leaks. */
static sotto_status load_once(void *arg)
{
    const char *path = path_of("a");
    nn_dataset data;
    sotto_error err = {{0}};
    (void)arg;
    const sotto_status status =
        nn_dataset_load(&data, &path, 1, path_of("b"), 0, &err);
    if (status != SOTTO_OK) {
        assert_null(data.pixels);
        assert_null(data.labels);
    }
    nn_dataset_clear(&data);
    return status;
}

static void test_dataset_survives_failures(void **state)
{
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 4, 0, 2};
    uint8_t file[16 + 12];
    (void)state;
    (void)put("a", file, make_idx(file, 3, 2, 2, 0));
    (void)put("b", labels, sizeof(labels));
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 100, load_once, NULL) >
                8);
    assert_true(fail_sweep(FAIL_READ, SOTTO_ERR_IO, 100, load_once, NULL) > 2);
    assert_true(fail_sweep(FAIL_READ_SHORT, SOTTO_OK, 100, load_once, NULL) >
                2);
}

/* The committed test set, if the test runs where it lies. */
static void test_dataset_mnist(void **state)
{
    const char *path = "data/mnist/t10k-images-idx3-ubyte";
    nn_dataset data;
    sotto_error err = {{0}};
    size_t of_class[10] = {0};
    (void)state;
    if (access(path, R_OK) != 0) {
        skip();
    }
    assert_int_equal(nn_dataset_load(&data, &path, 1,
                                     "data/mnist/t10k-labels-idx1-ubyte", 0,
                                     &err),
                     SOTTO_OK);
    assert_int_equal(data.count, 10000);
    assert_int_equal(data.n_classes, 10);
    for (size_t i = 0; i < data.count; i++) {
        of_class[data.labels[i]]++;
    }
    assert_int_equal(of_class[0], 980);
    assert_int_equal(of_class[1], 1135);
    nn_dataset_clear(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dataset_idx_ranges),
        cmocka_unit_test(test_dataset_several_files),
        cmocka_unit_test(test_dataset_idx_damaged),
        cmocka_unit_test(test_dataset_flipped_bits),
        cmocka_unit_test(test_dataset_pnm),
        cmocka_unit_test(test_dataset_pnm_damaged),
        cmocka_unit_test(test_dataset_cifar10),
        cmocka_unit_test(test_dataset_labels),
        cmocka_unit_test(test_dataset_load),
        cmocka_unit_test(test_dataset_survives_failures),
        cmocka_unit_test(test_dataset_mnist),
    };
    return cmocka_run_group_tests(tests, make_folder, folder_teardown);
}
