/* SPDX-License-Identifier: MIT
 * Affine maps: groups hold the rows, real layers fall into the groups that a
 * batch executor wants.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "nn/graph/fold.h"
#include "tests/support/nn_reference.h"

#define OK(expr) assert_int_equal((expr), SOTTO_OK)

/* The weight of a row at an element; 0 where it has none. */
static double weight_at(const nn_row *row, nn_element at, int *listed)
{
    for (size_t t = 0; t < row->n_terms; t++) {
        if (row->terms[t].from.source == at.source &&
            row->terms[t].from.index == at.index) {
            *listed = 1;
            return row->terms[t].weight;
        }
    }
    *listed = 0;
    return 0.0;
}

static int ascends(const nn_element *a, const nn_element *b)
{
    return a->source < b->source ||
           (a->source == b->source && a->index < b->index);
}

/* One group against its rows one by one. */
static void check_group(nn_cursor *rows, const nn_group *group, size_t *terms)
{
    for (size_t i = 1; i < group->n_inputs; i++) {
        assert_true(ascends(&group->inputs[i - 1], &group->inputs[i]));
    }
    for (size_t r = 0; r < group->n_rows; r++) {
        const nn_row row = nn_cursor_row(rows, group->rows[r]);
        size_t found = 0;
        assert_true(r == 0 || group->rows[r - 1] < group->rows[r]);
        assert_true(row.bias == group->biases[r]);
        for (size_t t = 1; t < row.n_terms; t++) {
            assert_true(ascends(&row.terms[t - 1].from, &row.terms[t].from));
        }
        for (size_t i = 0; i < group->n_inputs; i++) {
            int listed;
            const double want = weight_at(&row, group->inputs[i], &listed);
            found += (size_t)listed;
            assert_true(group->weights[r * group->n_inputs + i] == want);
        }
        assert_int_equal(found, row.n_terms);
        *terms += row.n_terms;
    }
}

/* All groups of a map: every row once. */
static void check_groups(const nn_affine *affine,
                         const nn_group_options *options)
{
    const size_t n = nn_affine_rows(affine);
    uint8_t *seen = calloc(n, 1);
    nn_groups *groups;
    nn_cursor *by_group, *by_row;
    size_t terms = 0, work = 0;

    OK(nn_groups_new(&groups, affine, options, NULL));
    OK(nn_cursor_new(&by_group, affine, groups, NULL));
    OK(nn_cursor_new(&by_row, affine, NULL, NULL));
    for (size_t g = 0; g < groups->n_groups; g++) {
        const nn_group group = nn_cursor_group(by_group, g);
        assert_true(group.n_rows > 0 && group.n_rows <= groups->max_rows);
        assert_true(group.n_inputs <= groups->max_inputs);
        if (options != NULL && options->max_rows != 0) {
            assert_true(group.n_rows <= options->max_rows);
        }
        if (options != NULL && options->max_block != 0 && group.n_rows > 1) {
            assert_true(group.n_rows * group.n_inputs <= options->max_block);
        }
        check_group(by_row, &group, &terms);
        work += group.n_rows * group.n_inputs;
        for (size_t r = 0; r < group.n_rows; r++) {
            assert_int_equal(seen[group.rows[r]]++, 0);
        }
    }
    for (size_t r = 0; r < n; r++) {
        assert_int_equal(seen[r], 1);
    }
    assert_int_equal(terms, groups->terms);
    assert_int_equal(work, groups->work);
    free(seen);
    nn_cursor_free(by_group);
    nn_cursor_free(by_row);
    nn_groups_free(groups);
}

static void test_nn_cursor_groups_hold_all_rows(void **state)
{
    static const nn_group_options all[3] = {
        {0}, {.max_rows = 3, .min_fill_percent = 10}, {.max_block = 64}};
    const nn_fold_options fold = {.max_shift = 1e6};

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        nn_graph *graph = test_random_network(seed, TEST_NET_ANYTHING);
        nn_network *network;
        OK(nn_network_new(&network, graph, &fold, NULL));
        for (size_t k = 0; k < network->n_steps; k++) {
            if (network->steps[k].kind == NN_STEP_AFFINE) {
                check_groups(network->steps[k].affine, &all[seed % 3]);
            }
        }
        nn_network_free(network);
        nn_graph_free(graph);
    }
}

/* Adds all groups of a map to a hash. */
static void hash_groups(sotto_sha256 *hash, const nn_affine *affine)
{
    nn_groups *groups;
    nn_cursor *cursor;

    OK(nn_groups_new(&groups, affine, NULL, NULL));
    OK(nn_cursor_new(&cursor, affine, groups, NULL));
    for (size_t g = 0; g < groups->n_groups; g++) {
        const nn_group group = nn_cursor_group(cursor, g);
        const size_t block = group.n_rows * group.n_inputs;
        sotto_sha256_update(hash, group.rows,
                            group.n_rows * sizeof *group.rows);
        sotto_sha256_update(hash, group.inputs,
                            group.n_inputs * sizeof *group.inputs);
        sotto_sha256_update(hash, group.weights, block * sizeof *group.weights);
        sotto_sha256_update(hash, group.biases,
                            group.n_rows * sizeof *group.biases);
    }
    nn_cursor_free(cursor);
    nn_groups_free(groups);
}

/* Integer weights of ciphertext products follow from these bits: any compiler
 * must make the same ones. */
static void test_nn_cursor_group_known_answer(void **state)
{
    const nn_fold_options fold = {.max_shift = 1e6};
    sotto_sha256 hash;
    uint8_t digest[SOTTO_HASH_BYTES];
    char text[2 * SOTTO_HASH_BYTES + 1];

    (void)state;
    sotto_sha256_init(&hash);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        nn_graph *graph = test_random_network(seed, TEST_NET_SQUARES);
        nn_network *network;
        OK(nn_network_new(&network, graph, &fold, NULL));
        for (size_t k = 0; k < network->n_steps; k++) {
            if (network->steps[k].kind == NN_STEP_AFFINE) {
                hash_groups(&hash, network->steps[k].affine);
            }
        }
        nn_network_free(network);
        nn_graph_free(graph);
    }
    sotto_sha256_final(&hash, digest);
    sotto_hex(text, digest, sizeof digest);
    assert_string_equal(
        text,
        "5da0e5f427290d9222068443af4ba8bbdc37f30a4ea408e07997ffffbe63314b");
}

/* Appends a convolution with weights that do not matter. */
static int conv(nn_graph *graph, const char *name, int x, size_t n_out,
                size_t kernel, size_t stride, size_t pad)
{
    const size_t n_in = graph->nodes[x].shape.dim[0];
    test_random random = {n_out * 7 + kernel};
    float *w =
        test_random_floats(&random, n_out * n_in * kernel * kernel, -1.0, 1.0);
    const nn_conv options = {.out_channels = n_out,
                             .window = {.kernel = {kernel, kernel},
                                        .stride = {stride, stride},
                                        .pad = {pad, pad, pad, pad}},
                             .weights = w};
    int id;

    OK(nn_graph_conv(graph, &id, name, x, &options, NULL));
    free(w);
    return id;
}

static int square(nn_graph *graph, const char *name, int x)
{
    int id;

    OK(nn_graph_unary(graph, &id, name, x, NN_OP_SQUARE, NULL));
    return id;
}

/* Flattens and appends a dense layer. */
static int dense(nn_graph *graph, const char *name, int x, size_t n_out)
{
    const nn_shape flat = {.rank = 1,
                           .dim = {nn_shape_size(&graph->nodes[x].shape)}};
    test_random random = {n_out * 3 + 1};
    float *w = test_random_floats(&random, n_out * flat.dim[0], -1.0, 1.0);
    char view[32];
    int id;

    (void)snprintf(view, sizeof view, "%s/flat", name);
    OK(nn_graph_reshape(graph, &id, view, x, &flat, NULL));
    OK(nn_graph_dense(graph, &id, name, id, n_out, w, NULL, NULL));
    free(w);
    return id;
}

static nn_graph *pictures(size_t channels, size_t size)
{
    const nn_shape shape = {.rank = 3, .dim = {channels, size, size}};
    nn_graph *graph;

    OK(nn_graph_new(&graph, "x", &shape, NULL));
    return graph;
}

/* The number of groups of a step. */
static void check_counts(const nn_network *network, size_t step,
                         size_t n_groups, size_t max_rows, size_t max_inputs)
{
    nn_groups *groups;

    assert_int_equal(network->steps[step].kind, NN_STEP_AFFINE);
    OK(nn_groups_new(&groups, network->steps[step].affine, NULL, NULL));
    assert_int_equal(groups->n_groups, n_groups);
    assert_int_equal(groups->max_rows, max_rows);
    assert_int_equal(groups->max_inputs, max_inputs);
    nn_groups_free(groups);
}

static void test_nn_groups_of_cryptonets(void **state)
{
    nn_graph *graph = pictures(1, 28);
    nn_network *network;

    (void)state;
    int x = square(graph, "s1", conv(graph, "c1", 0, 5, 5, 2, 1));
    x = square(graph, "s2", dense(graph, "d1", x, 100));
    (void)dense(graph, "d2", x, 10);
    OK(nn_network_new(&network, graph, NULL, NULL));
    assert_int_equal(network->n_steps, 5);
    check_counts(network, 0, 169, 5, 25); /* all maps at one position */
    check_counts(network, 2, 1, 100, 845);
    check_counts(network, 4, 1, 10, 100);
    nn_network_free(network);
    nn_graph_free(graph);
}

/* Pools are part of the next map; flattening before the activation does not
 * spoil the groups. */
static void test_nn_groups_see_through_pools_and_reshapes(void **state)
{
    const nn_window window = {.kernel = {2, 2}, .stride = {2, 2}};
    const nn_shape flat = {.rank = 1, .dim = {6 * 24 * 24}};
    const nn_shape back = {.rank = 3, .dim = {6, 24, 24}};
    nn_graph *graph = pictures(1, 28);
    nn_network *network;
    int x = conv(graph, "c1", 0, 6, 5, 1, 0);

    (void)state;
    OK(nn_graph_reshape(graph, &x, "flat", x, &flat, NULL));
    x = square(graph, "s1", x);
    OK(nn_graph_reshape(graph, &x, "back", x, &back, NULL));
    OK(nn_graph_pool(graph, &x, "p1", x, NN_OP_AVERAGE_POOL, &window, NULL));
    x = square(graph, "s2", conv(graph, "c2", x, 16, 5, 1, 0));
    OK(nn_graph_pool(graph, &x, "p2", x, NN_OP_AVERAGE_POOL, &window, NULL));
    (void)dense(graph, "d", x, 120);
    OK(nn_network_new(&network, graph, NULL, NULL));
    assert_int_equal(network->n_steps, 5);
    check_counts(network, 0, 576, 6, 25);
    check_counts(network, 2, 64, 16, 6 * 100); /* 10×10 before the pool */
    check_counts(network, 4, 1, 120, 1024);
    nn_network_free(network);
    nn_graph_free(graph);
}

/* A residual block: 144 inputs in common and one of its own for each row. */
static void test_nn_groups_of_a_residual_block(void **state)
{
    nn_graph *graph = pictures(16, 32);
    nn_network *network;
    nn_groups *groups;
    const int a = square(graph, "s0", conv(graph, "c0", 0, 16, 3, 1, 1));
    const int b = square(graph, "s1", conv(graph, "c1", a, 16, 3, 1, 1));
    int x = conv(graph, "c2", b, 16, 3, 1, 1);

    (void)state;
    OK(nn_graph_binary(graph, &x, "sum", x, a, NN_OP_ADD, NULL));
    (void)square(graph, "s2", x);
    OK(nn_network_new(&network, graph, NULL, NULL));
    assert_int_equal(network->n_steps, 6);
    check_counts(network, 2, 1024, 16, 144);
    check_counts(network, 4, 1024, 16, 160);
    OK(nn_groups_new(&groups, network->steps[4].affine, NULL, NULL));
    /* 10 % more work than the terms that count, but in one block; less at the
     * border. */
    assert_true(groups->work < groups->terms * 116 / 100);
    nn_groups_free(groups);
    nn_network_free(network);
    nn_graph_free(graph);
}

static void test_nn_cursor_row_of_weights_that_are_zero(void **state)
{
    const nn_shape shape = {.rank = 1, .dim = {3}};
    const float w[3] = {0.0F, 0.0F, 1.0F};
    nn_graph *graph;
    nn_network *network;
    nn_cursor *cursor;
    int id;

    (void)state;
    OK(nn_graph_new(&graph, "x", &shape, NULL));
    OK(nn_graph_dense(graph, &id, "d", 0, 1, w, NULL, NULL));
    OK(nn_network_new(&network, graph, NULL, NULL));
    OK(nn_cursor_new(&cursor, network->steps[0].affine, NULL, NULL));
    const nn_row row = nn_cursor_row(cursor, 0);
    assert_int_equal(row.n_terms, 3); /* structure, not values */
    assert_true(row.terms[1].weight == 0.0);
    nn_cursor_free(cursor);
    nn_network_free(network);
    nn_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_cursor_groups_hold_all_rows),
        cmocka_unit_test(test_nn_cursor_group_known_answer),
        cmocka_unit_test(test_nn_groups_of_cryptonets),
        cmocka_unit_test(test_nn_groups_see_through_pools_and_reshapes),
        cmocka_unit_test(test_nn_groups_of_a_residual_block),
        cmocka_unit_test(test_nn_cursor_row_of_weights_that_are_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
