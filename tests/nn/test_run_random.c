/* SPDX-License-Identifier: MIT
 * Random small networks, planned in both packings and run through files: the
 * plain network, single packing and batch packing agree within the predicted
 * errors, and the predictions are not far off.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/graph/statistics.h"
#include "tests/support/check.h"
#include "tests/support/nn_reference.h"
#include "tests/support/run_world.h"

#define CALIBRATION_IMAGES 400
#define IMAGES 4

/* What was seen over all networks. */
typedef struct summary {
    int planned, refused; /* in single packing */
    int both;             /* in both */
    int near;             /* error above 2^-8 of the prediction */
    double most;          /* largest error over its prediction */
} summary;

/* Every third network is a wide one. */
static nn_graph *make_graph(uint64_t seed)
{
    return test_random_network(seed, seed % 3 == 0 ? TEST_NET_WIDE
                                                   : TEST_NET_SQUARES);
}

/* Statistics of what the network does with random pixels; returns the largest
 * score. */
static double learn(nn_statistics *statistics, const nn_network *network)
{
    test_random random = {4711};
    float *images = test_random_floats(
        &random, CALIBRATION_IMAGES * network->n_inputs, 0, 1);
    CHECK(nn_statistics_init(statistics, network, err));
    CHECK(nn_statistics_add(statistics, network, NULL, images,
                            CALIBRATION_IMAGES, err));
    free(images);
    const nn_tensor_statistics *last =
        &statistics->tensor[statistics->n_tensors - 1];
    return fmax(fabs(last->min), fabs(last->max));
}

/* Plans for N = 2^10 and errors that are small beside the scores; NULL when
 * there is no such plan. */
static nn_plan *plan_for(const nn_network *network, nn_packing packing,
                         const nn_statistics *statistics, double largest)
{
    nn_plan *plan;
    sotto_error error;
    const nn_plan_options options = {.images = IMAGES,
                                     .packing = packing,
                                     .log2_n = 10,
                                     .allow_insecure = true,
                                     .he_target = largest / 16,
                                     .rounding_target = largest / 16,
                                     .statistics = statistics};
    if (nn_plan_make(&plan, network, &options, &error) != SOTTO_OK) {
        assert_true(error.text[0] != '\0');
        return NULL;
    }
    assert_int_equal(plan->packing, packing);
    CHECK(nn_plan_verify(plan, network, err));
    return plan;
}

/* A plan as another process would see it. */
static nn_plan *through_text(nn_plan *plan)
{
    char *text;
    size_t len_bytes;
    nn_plan *copy;
    CHECK(nn_plan_write(&text, &len_bytes, plan, err));
    CHECK(nn_plan_read(&copy, text, len_bytes, true, err));
    sotto_free(text);
    sotto_free(plan);
    return copy;
}

/* The decrypted scores of one packing; takes over the plan. *error receives
 * what they may be off from the plain ones. free with free. */
static double *run_packing(const test_folder *folder, uint64_t seed,
                           nn_plan *plan, double *error)
{
    nn_network *network;
    nn_graph *graph = make_graph(seed);
    const char *in = folder_file(folder, "in.ct");
    const char *out = folder_file(folder, "out.ct");
    sotto_pool *pool = sotto_pool_new(1 + (int)(seed % 3));
    const nn_run_options options = {.pool = pool};
    CHECK(nn_network_new(&network, graph, NULL, err));
    plan = through_text(plan);
    bw = batch_world_planned(graph, network, plan, IMAGES);
    scores s = scores_new();
    CHECK(encrypt_to(in, &options, NULL, err));
    CHECK(infer_part(out, in, 0, 1, NULL, &options, err));
    CHECK(decrypt_from(out, &s, false, &options, err));
    /* Decoding rounds too, which shows in networks of constant scores. */
    *error = plan->he_error + plan->rounding_error +
             0x1p-40 * plan->step[plan->n_steps - 1].range;
    batch_world_free(&bw);
    sotto_pool_free(pool);
    return s.score;
}

/* The float network in double precision, on the images of a batch_world. */
static double *run_plain(const nn_network *network)
{
    test_random random = {77};
    double *out = calloc(IMAGES * network->n_outputs, sizeof *out);
    float *images =
        test_random_floats(&random, IMAGES * network->n_inputs, 0, 1);
    assert_non_null(out);
    CHECK(nn_network_run(network, NULL, out, images, IMAGES, NULL, err));
    free(images);
    return out;
}

static double distance(const double *a, const double *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(a[i] - b[i]));
    }
    return worst;
}

static void check_network(const test_folder *folder, uint64_t seed,
                          summary *sum)
{
    nn_network *network;
    nn_statistics statistics;
    nn_graph *graph = make_graph(seed);
    CHECK(nn_network_new(&network, graph, NULL, err));
    const size_t n = IMAGES * network->n_outputs;
    const double largest = learn(&statistics, network);
    nn_plan *one = plan_for(network, NN_PACKING_SINGLE, &statistics, largest);
    nn_plan *many = plan_for(network, NN_PACKING_BATCH, &statistics, largest);
    double *plain = run_plain(network);
    double *single = NULL, *batch = NULL;
    double single_error = 0, batch_error = 0;
    if (one != NULL) {
        single = run_packing(folder, seed, one, &single_error);
        const double ratio = distance(single, plain, n) / single_error;
        assert_true(ratio <= 1);
        sum->most = fmax(sum->most, ratio);
        sum->near += ratio > 0x1p-8;
    }
    if (many != NULL) {
        batch = run_packing(folder, seed, many, &batch_error);
        assert_true(distance(batch, plain, n) <= batch_error);
    }
    if (one != NULL && many != NULL) {
        assert_true(distance(single, batch, n) <= single_error + batch_error);
        sum->both++;
    }
    sum->planned += one != NULL;
    sum->refused += one == NULL;
    free(plain);
    free(single);
    free(batch);
    nn_statistics_clear(&statistics);
    nn_network_free(network);
    nn_graph_free(graph);
}

static void test_run_random_networks(void **state)
{
    const test_folder *folder = *state;
    const uint64_t n = getenv("SOTTO_TEST_LONG") != NULL ? 400 : 24;
    summary sum = {0};
    for (uint64_t seed = 1; seed <= n; seed++) {
        check_network(folder, seed, &sum);
    }
    print_message("single packing: %d planned, %d refused; both: %d; error of "
                  "%d above 2^-8 of the prediction, at most %.2f of it\n",
                  sum.planned, sum.refused, sum.both, sum.near, sum.most);
    assert_true(sum.planned > 3 * sum.refused);
    assert_true(sum.both > (int)n / 2);
    assert_true(sum.near > sum.planned / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_run_random_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
