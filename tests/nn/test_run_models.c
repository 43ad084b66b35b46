/* SPDX-License-Identifier: MIT
 * The trained networks on real digits, one image at a time, encrypted: scores
 * within the predicted errors of the plain network, and the same labels. Some
 * images; a thousand, and LeNet-5 too, with SOTTO_TEST_LONG.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/graph/onnx.h"
#include "tests/support/check.h"
#include "tests/support/run_world.h"

#define PIXELS 784
#define IMAGES 24
#define MANY_IMAGES 1000

static bool is_long(void)
{
    return getenv("SOTTO_TEST_LONG") != NULL;
}

static nn_graph *read_model(const char *path)
{
    nn_graph *graph;
    uint8_t *data;
    size_t len_bytes;
    CHECK(sotto_file_read(&data, &len_bytes, path, NN_ONNX_MAX_BYTES, err));
    CHECK(nn_onnx_read(&graph, data, len_bytes, err));
    sotto_free(data);
    return graph;
}

/* The world of a model and its plan, with the first test images in it. */
static void make_world(const char *path, size_t n_images)
{
    uint8_t *data;
    size_t len_bytes;
    nn_network *network;
    nn_plan *plan;
    const nn_plan_options options = {.images = 1, .packing = NN_PACKING_SINGLE};
    nn_graph *graph = read_model(path);
    CHECK(nn_network_new(&network, graph, NULL, err));
    CHECK(nn_plan_make(&plan, network, &options, err));
    assert_int_equal(network->n_inputs, PIXELS);
    bw = batch_world_planned(graph, network, plan, n_images);
    CHECK(sotto_file_read(&data, &len_bytes,
                          "data/mnist/t10k-images-idx3-ubyte", (size_t)1 << 28,
                          err));
    assert_true(len_bytes >= 16 + n_images * PIXELS);
    for (size_t i = 0; i < n_images * PIXELS; i++) {
        bw.images[i] = (float)data[16 + i] / 255;
    }
    CHECK(nn_network_run(network, NULL, bw.expected, bw.images, n_images, NULL,
                         err));
    sotto_free(data);
}

static size_t best(const double *score, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++) {
        at = score[i] > score[at] ? i : at;
    }
    return at;
}

/* Runs all images through files and compares. */
static void check_model(const test_folder *folder, const char *path,
                        size_t n_images)
{
    make_world(path, n_images);
    const char *in = folder_file(folder, "in.ct");
    const char *out = folder_file(folder, "out.ct");
    sotto_pool *pool = sotto_pool_new(2);
    const nn_run_options options = {.pool = pool};
    const size_t n = bw.plan->n_outputs;
    nn_trace *trace = calloc(1, sizeof *trace);
    assert_non_null(trace);
    scores s = scores_new();
    CHECK(encrypt_to(in, &options, NULL, err));
    CHECK(infer_part(out, in, 0, 1, trace, &options, err));
    CHECK(decrypt_from(out, &s, false, &options, err));
    double worst = 0;
    size_t other = 0;
    for (size_t i = 0; i < n_images; i++) {
        for (size_t o = 0; o < n; o++) {
            worst =
                fmax(worst, fabs(s.score[i * n + o] - bw.expected[i * n + o]));
        }
        other += best(&s.score[i * n], n) != best(&bw.expected[i * n], n);
    }
    print_message("%s: error %.3g of %.3g + %.3g, %zu of %zu labels differ, "
                  "%.2f ms an image\n",
                  path, worst, bw.plan->he_error, bw.plan->rounding_error,
                  other, n_images, 1e3 * trace->batch_median);
    assert_true(worst <= bw.plan->he_error + bw.plan->rounding_error);
    assert_true(other * 1000 <= n_images);
    free(s.score);
    free(trace);
    sotto_pool_free(pool);
    batch_world_free(&bw);
}

static void test_run_cryptonets_one_by_one(void **state)
{
    check_model(*state, "models/cryptonets-mnist.onnx",
                is_long() ? MANY_IMAGES : IMAGES);
}

static void test_run_lenet5_one_by_one(void **state)
{
    if (!is_long()) {
        skip();
    }
    check_model(*state, "models/lenet5-mnist.onnx", MANY_IMAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_run_cryptonets_one_by_one),
        IN_FOLDER(test_run_lenet5_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
