/* SPDX-License-Identifier: MIT
 * From a configuration file to a model file: the bytes do not depend on
 * interruptions, and what fails leaves no model.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "nn/graph/onnx.h"
#include "nn/graph/plain.h"
#include "nn/train/trainer.h"
#include "tests/support/folder.h"

#define N_IMAGES 120
#define SIDE 5

static const test_folder *folder;

/* Random images; the class is whether the first pixel is bright. */
static void write_data(void)
{
    uint8_t images[16 + N_IMAGES * SIDE * SIDE] = {
        0, 0, 8, 3, 0, 0, 0, N_IMAGES, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    uint8_t labels[8 + N_IMAGES] = {0, 0, 8, 1, 0, 0, 0, N_IMAGES};
    uint32_t x = 1;
    for (size_t i = 0; i < N_IMAGES * SIDE * SIDE; i++) {
        x = x * 1664525u + 1013904223u;
        images[16 + i] = (uint8_t)(x >> 24);
    }
    for (size_t i = 0; i < N_IMAGES; i++) {
        labels[8 + i] = images[16 + i * SIDE * SIDE] > 127 ? 1 : 0;
    }
    folder_put(folder_file(folder, "images"), images, sizeof(images));
    folder_put(folder_file(folder, "labels"), labels, sizeof(labels));
}

static const char *write_config(const char *name, const char *more)
{
    char text[2048];
    (void)snprintf(
        text, sizeof(text),
        "name = small\nseed = seven\ntrain_images = %s\ntrain_labels = %s\n"
        "validation = 20\nepochs = 2\nbatch = 16\nlearning_rate = 0.05\n"
        "layer = conv maps=2 kernel=2\nlayer = batch_norm\nlayer = square\n"
        "layer = flatten\nlayer = dense units=2\n%s",
        folder_file(folder, "images"), folder_file(folder, "labels"), more);
    const char *path = folder_file(folder, name);
    folder_put(path, text, strlen(text));
    return path;
}

static int setup(void **state)
{
    const int failed = folder_setup(state);
    if (!failed) {
        folder = *state;
        write_data();
    }
    return failed;
}

static int teardown(void **state)
{
    return folder_teardown(state);
}

static void must(sotto_status status, const sotto_error *err)
{
    if (status != SOTTO_OK) {
        fail_msg("%s", err->text);
    }
}

static void test_train_file_writes_a_model(void **state)
{
    nn_train_summary summary;
    nn_graph *graph = NULL;
    uint8_t *data = NULL;
    size_t len_bytes = 0;
    float pixels[SIDE * SIDE], scores[2];
    sotto_error err = {{0}};
    (void)state;
    const char *model = folder_file(folder, "model");
    must(nn_train_file(&summary, write_config("config", ""), model, NULL, NULL,
                       &err),
         &err);
    assert_int_equal(summary.epochs_done, 2);
    assert_int_equal(summary.n_train, 100);
    must(sotto_file_read(&data, &len_bytes, model, (size_t)1 << 20, &err),
         &err);
    must(nn_onnx_read(&graph, data, len_bytes, &err), &err);
    sotto_free(data);
    assert_int_equal(nn_shape_size(&graph->nodes[0].shape), SIDE * SIDE);
    assert_true(graph->nodes[0].range.known);
    assert_true(nn_graph_output(graph)->range.known);
    assert_string_equal(nn_graph_metadata(graph, "sotto.train.name"), "small");
    assert_string_equal(nn_graph_metadata(graph, "sotto.train.seed"), "seven");
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        pixels[i] = 0.5f;
    }
    must(nn_plain_run(graph, NULL, scores, pixels, 1, &err), &err);
    nn_graph_free(graph);
}

/* Cancels after a number of minibatches. */
typedef struct stopper {
    int left;
    volatile sig_atomic_t cancel;
} stopper;

static void count_down(void *arg, const nn_train_progress *progress)
{
    stopper *stop = arg;
    if (!progress->epoch_end && --stop->left == 0) {
        stop->cancel = 1;
    }
}

static void test_train_file_same_bytes_after_interruption(void **state)
{
    char more[512];
    stopper stop = {.left = 3, .cancel = 0};
    nn_train_options options = {
        .progress = count_down, .arg = &stop, .cancel = &stop.cancel};
    nn_train_summary summary;
    uint8_t *want = NULL;
    size_t len_bytes = 0;
    sotto_error err = {{0}};
    (void)state;
    must(nn_train_file(NULL, write_config("config", ""),
                       folder_file(folder, "want"), NULL, NULL, &err),
         &err);
    must(sotto_file_read(&want, &len_bytes, folder_file(folder, "want"),
                         (size_t)1 << 20, &err),
         &err);

    (void)snprintf(more, sizeof(more), "checkpoint = %s\n",
                   folder_file(folder, "checkpoint"));
    const char *config = write_config("other", more);
    const char *model = folder_file(folder, "got");
    assert_int_equal(
        nn_train_file(&summary, config, model, NULL, &options, &err),
        SOTTO_ERR_CANCELLED);
    assert_int_equal(summary.epochs_done, 0);
    assert_int_not_equal(access(model, F_OK), 0);

    /* restart forgets it: stopped again at the same place */
    stop = (stopper){.left = 3, .cancel = 0};
    options.restart = true;
    assert_int_equal(
        nn_train_file(&summary, config, model, NULL, &options, &err),
        SOTTO_ERR_CANCELLED);
    options.restart = false;
    stop.cancel = 0;
    must(nn_train_file(&summary, config, model, NULL, &options, &err), &err);
    folder_assert_file(model, want, len_bytes);

    /* a finished run only writes its model again */
    must(nn_train_file(&summary, config, model, NULL, &options, &err), &err);
    folder_assert_file(model, want, len_bytes);
    sotto_free(want);
}

static void test_train_file_errors_leave_nothing(void **state)
{
    sotto_error err = {{0}};
    (void)state;
    const char *good = write_config("config", "");
    const size_t before = folder_count(folder);
    assert_int_equal(nn_train_file(NULL, folder_file(folder, "none"),
                                   folder_file(folder, "m"), NULL, NULL, &err),
                     SOTTO_ERR_IO);
    assert_int_equal(nn_train_file(NULL, folder_file(folder, "images"),
                                   folder_file(folder, "m"), NULL, NULL, &err),
                     SOTTO_ERR_FORMAT);
    assert_int_equal(
        nn_train_file(NULL, good, "/nonexistent/folder/m", NULL, NULL, &err),
        SOTTO_ERR_IO);
    assert_int_equal(folder_count(folder), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_train_file_writes_a_model, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_train_file_same_bytes_after_interruption, setup, teardown),
        cmocka_unit_test_setup_teardown(test_train_file_errors_leave_nothing,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
