/* SPDX-License-Identifier: MIT
 * Plain execution against the slow, obvious way; threads; ranges.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph/plain.h"
#include "tests/support/nn_reference.h"

/* Largest difference relative to max(1, |expected|). */
static double worst_difference(const nn_graph *graph, const float *images,
                               size_t n_images, const float *out)
{
    const size_t n_in = nn_shape_size(&graph->nodes[0].shape);
    const size_t n_out = nn_shape_size(&nn_graph_output(graph)->shape);
    double worst = 0.0;

    for (size_t k = 0; k < n_images; k++) {
        double **values = test_reference_run(graph, images + k * n_in);
        for (size_t i = 0; i < n_out; i++) {
            const double want = values[graph->n_nodes - 1][i];
            const double off =
                fabs((double)out[k * n_out + i] - want) / fmax(1.0, fabs(want));
            worst = off > worst || isnan(off) ? off : worst;
        }
        test_reference_free(graph, values);
    }
    return worst;
}

static void test_nn_plain_run_matches_reference(void **state)
{
    const size_t n_images = 19; /* one full block and a part */
    test_random random = {77};

    (void)state;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        nn_graph *graph = test_random_network(seed, TEST_NET_ANYTHING);
        const size_t n_in = nn_shape_size(&graph->nodes[0].shape);
        float *in = test_random_floats(&random, n_images * n_in, -1.0, 1.0);
        float *out = calloc(n_images * 4, sizeof *out);

        assert_int_equal(nn_plain_run(graph, NULL, out, in, n_images, NULL),
                         SOTTO_OK);
        assert_true(worst_difference(graph, in, n_images, out) < 2e-4);
        free(in);
        free(out);
        nn_graph_free(graph);
    }
}

static void test_nn_plain_run_is_equal_for_any_threads(void **state)
{
    const size_t n_images = 70;
    test_random random = {78};
    nn_graph *graph = test_random_network(5, TEST_NET_ANYTHING);
    const size_t n_in = nn_shape_size(&graph->nodes[0].shape);
    float *in = test_random_floats(&random, n_images * n_in, -1.0, 1.0);
    float *want = calloc(n_images * 4, sizeof *want);
    float *have = calloc(n_images * 4, sizeof *have);

    (void)state;
    assert_int_equal(nn_plain_run(graph, NULL, want, in, n_images, NULL),
                     SOTTO_OK);
    for (int threads = 1; threads <= 7; threads += 3) {
        sotto_pool *pool = sotto_pool_new(threads);
        memset(have, 0, n_images * 4 * sizeof *have);
        assert_int_equal(nn_plain_run(graph, pool, have, in, n_images, NULL),
                         SOTTO_OK);
        assert_memory_equal(have, want, n_images * 4 * sizeof *have);
        sotto_pool_free(pool);
    }
    /* An image alone gives what it gives among others. */
    assert_int_equal(nn_plain_run(graph, NULL, have, in + 33 * n_in, 1, NULL),
                     SOTTO_OK);
    assert_memory_equal(have, want + (size_t)33 * 4, 4 * sizeof *have);
    free(in);
    free(want);
    free(have);
    nn_graph_free(graph);
}

static void test_nn_plain_ranges_are_attained(void **state)
{
    const size_t n_images = 40;
    test_random random = {79};
    nn_graph *graph = test_random_network(9, TEST_NET_ANYTHING);
    const size_t n_in = nn_shape_size(&graph->nodes[0].shape);
    float *in = test_random_floats(&random, n_images * n_in, -1.0, 1.0);
    nn_range *ranges = calloc((size_t)graph->n_nodes, sizeof *ranges);
    sotto_pool *pool = sotto_pool_new(2);

    (void)state;
    assert_int_equal(nn_plain_ranges(graph, pool, ranges, in, n_images, NULL),
                     SOTTO_OK);
    for (int id = 0; id < graph->n_nodes; id++) {
        const size_t n = nn_shape_size(&graph->nodes[id].shape);
        float *out = calloc(n_images * n, sizeof *out);
        double min = INFINITY, max = -INFINITY;

        assert_int_equal(
            nn_plain_run_node(graph, NULL, id, out, in, n_images, NULL),
            SOTTO_OK);
        for (size_t i = 0; i < n_images * n; i++) {
            min = fmin(min, (double)out[i]);
            max = fmax(max, (double)out[i]);
        }
        assert_true(ranges[id].known && ranges[id].min == min &&
                    ranges[id].max == max);
        free(out);
    }
    free(in);
    free(ranges);
    sotto_pool_free(pool);
    nn_graph_free(graph);
}

static void test_nn_plain_ranges_refuses_infinite_values(void **state)
{
    const nn_shape shape = {.rank = 1, .dim = {1}};
    float in[40] = {0};
    nn_range ranges[3];
    nn_graph *graph;
    sotto_error err;
    int id = 0;

    (void)state;
    assert_int_equal(nn_graph_new(&graph, "x", &shape, NULL), SOTTO_OK);
    assert_int_equal(nn_graph_unary(graph, &id, "s1", 0, NN_OP_SQUARE, NULL),
                     SOTTO_OK);
    assert_int_equal(nn_graph_unary(graph, &id, "s2", id, NN_OP_SQUARE, NULL),
                     SOTTO_OK);
    in[37] = 1e15F;
    assert_int_equal(nn_plain_ranges(graph, NULL, ranges, in, 40, &err),
                     SOTTO_ERR_RANGE);
    assert_non_null(strstr(err.text, "node 's2'"));
    assert_non_null(strstr(err.text, "image 37"));
    nn_graph_free(graph);
}

static void test_nn_plain_label_takes_the_first_of_equals(void **state)
{
    const float scores[5] = {-1.0F, 2.0F, 0.5F, 2.0F, 1.0F};

    (void)state;
    assert_int_equal(nn_plain_label(scores, 5), 1);
    assert_int_equal(nn_plain_label(scores, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_plain_run_matches_reference),
        cmocka_unit_test(test_nn_plain_run_is_equal_for_any_threads),
        cmocka_unit_test(test_nn_plain_ranges_are_attained),
        cmocka_unit_test(test_nn_plain_ranges_refuses_infinite_values),
        cmocka_unit_test(test_nn_plain_label_takes_the_first_of_equals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
