/* SPDX-License-Identifier: MIT
 * Writes models for ONNX Runtime to run, with images and Sotto's own scores.
 *
 *     export FOLDER MNIST-IMAGES MODEL.onnx…
 *
 * The models given are taken as they are, and run on real digits if they take
 * such, else on random pictures: they show that Sotto reads as ONNX Runtime
 * does. Random networks with every operator that Sotto writes show that it
 * writes what ONNX Runtime reads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "nn/graph/onnx.h"
#include "nn/graph/plain.h"
#include "tests/support/nn_reference.h"

#define N_DIGITS 100
#define N_RANDOM 60
#define IDX_HEADER_BYTES 16
#define DIGIT_PIXELS 784

static void must(sotto_status status, const sotto_error *err)
{
    if (status != SOTTO_OK) {
        (void)fprintf(stderr, "export: %s\n", err->text);
        exit(1);
    }
}

/* Writes a whole file. */
static void put(const char *folder, const char *name, const char *suffix,
                const void *data, size_t len_bytes)
{
    char path[4096];
    sotto_output *out;
    sotto_error err;

    (void)snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    must(sotto_output_open(&out, path, SOTTO_OUTPUT_PUBLIC, false, &err), &err);
    must(sotto_output_write(out, data, len_bytes, &err), &err);
    must(sotto_output_commit(out, &err), &err);
}

/* Writes one case, all but the model; a line about it goes to list. */
static void put_case(const char *folder, FILE *list, const char *name,
                     const nn_graph *graph, const float *in, size_t n_images)
{
    const nn_shape *shape = &graph->nodes[0].shape;
    const size_t n_in = nn_shape_size(shape);
    const size_t n_out = nn_shape_size(&nn_graph_output(graph)->shape);
    float *out = calloc(n_images * n_out, sizeof *out);
    sotto_error err;

    SOTTO_ASSERT(out != NULL);
    must(nn_plain_run(graph, NULL, out, in, n_images, &err), &err);
    put(folder, name, ".in", in, n_images * n_in * sizeof *in);
    put(folder, name, ".out", out, n_images * n_out * sizeof *out);
    (void)fprintf(list, "%s %zu", name, n_images);
    for (int d = 0; d < shape->rank; d++) {
        (void)fprintf(list, " %zu", shape->dim[d]);
    }
    (void)fprintf(list, "\n");
    free(out);
}

/* n pictures for a network: digits as pixels in [0,1], or random ones. */
static float *pictures(size_t n_images, size_t n_in, const uint8_t *idx,
                       size_t idx_bytes)
{
    const size_t n = n_images * n_in;
    test_random random = {n_in};

    if (n_in != DIGIT_PIXELS) {
        return test_random_floats(&random, n, -1.0, 1.0);
    }
    float *in = calloc(n, sizeof *in);
    SOTTO_ASSERT(in != NULL && n <= idx_bytes - IDX_HEADER_BYTES);
    for (size_t i = 0; i < n; i++) {
        in[i] = (float)idx[IDX_HEADER_BYTES + i] / 255.0F;
    }
    return in;
}

/* A model file. */
static void put_model(const char *folder, FILE *list, const char *path,
                      const uint8_t *idx, size_t idx_bytes)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    char name[256];
    nn_graph *graph;
    sotto_error err;
    uint8_t *data;
    size_t len_bytes;

    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(base, "."), base);
    must(sotto_file_read(&data, &len_bytes, path, NN_ONNX_MAX_BYTES, &err),
         &err);
    must(nn_onnx_read(&graph, data, len_bytes, &err), &err);
    const size_t n_in = nn_shape_size(&graph->nodes[0].shape);
    const size_t n_images = n_in == DIGIT_PIXELS ? N_DIGITS : 1;
    float *in = pictures(n_images, n_in, idx, idx_bytes);
    put(folder, name, ".onnx", data, len_bytes);
    put_case(folder, list, name, graph, in, n_images);
    sotto_free(data);
    free(in);
    nn_graph_free(graph);
}

/* Appends what random networks lack: a reshape to pictures, a softmax. */
static void append_rare(nn_graph *graph)
{
    const nn_shape square = {.rank = 2, .dim = {2, 2}};
    const nn_shape flat = {.rank = 1, .dim = {4}};
    const int swap[2] = {1, 0};
    int id = graph->n_nodes - 1;
    sotto_error err;

    must(nn_graph_reshape(graph, &id, "pair", id, &square, &err), &err);
    must(nn_graph_transpose(graph, &id, "swap", id, swap, &err), &err);
    must(nn_graph_unary(graph, &id, "square", id, NN_OP_SQUARE, &err), &err);
    must(nn_graph_reshape(graph, &id, "flat", id, &flat, &err), &err);
    must(nn_graph_softmax(graph, &id, "softmax", id, &err), &err);
}

static void put_random(const char *folder, FILE *list, uint64_t seed)
{
    nn_graph *graph = test_random_network(seed, TEST_NET_ANYTHING);
    const size_t n_in = nn_shape_size(&graph->nodes[0].shape);
    test_random random = {seed};
    float *in = test_random_floats(&random, 5 * n_in, -1.0, 1.0);
    char name[32];
    sotto_error err;
    uint8_t *model;
    size_t len_bytes;

    if (seed % 3 == 0) {
        append_rare(graph);
    }
    (void)snprintf(name, sizeof name, "random-%llu", (unsigned long long)seed);
    must(nn_onnx_write(&model, &len_bytes, graph, &err), &err);
    put(folder, name, ".onnx", model, len_bytes);
    put_case(folder, list, name, graph, in, 5);
    sotto_free(model);
    free(in);
    nn_graph_free(graph);
}

int main(int argc, char **argv)
{
    char path[4096];
    sotto_error err;
    uint8_t *idx;
    size_t idx_bytes;
    FILE *list;

    if (argc < 3) {
        (void)fprintf(stderr, "usage: export FOLDER MNIST-IMAGES MODEL…\n");
        return 2;
    }
    (void)snprintf(path, sizeof path, "%s/cases.txt", argv[1]);
    list = fopen(path, "w");
    if (list == NULL) {
        (void)fprintf(stderr, "export: cannot write %s\n", path);
        return 1;
    }
    must(sotto_file_read(&idx, &idx_bytes, argv[2], (size_t)1 << 27, &err),
         &err);
    for (int i = 3; i < argc; i++) {
        put_model(argv[1], list, argv[i], idx, idx_bytes);
    }
    for (uint64_t seed = 1; seed <= N_RANDOM; seed++) {
        put_random(argv[1], list, seed);
    }
    sotto_free(idx);
    return fclose(list) == 0 ? 0 : 1;
}
