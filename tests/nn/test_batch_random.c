/* SPDX-License-Identifier: MIT
 * Random small networks through the planner and the batch executor: errors stay
 * below the prediction and are not far below it.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/graph/statistics.h"
#include "tests/support/batch_world.h"
#include "tests/support/check.h"
#include "tests/support/nn_reference.h"

#define CALIBRATION_IMAGES 400
#define IMAGES 200

/* Measured deviation over the plan's bound: 200 slots of noise with heavy tails
 * say it to some 20 %, and the largest of several scores is taken. */
#define RATIO_LIMIT 1.5

/* What was seen over all networks. */
typedef struct summary {
    int planned, refused;
    int near;    /* within 2^6 of the plan's bound */
    double most; /* largest measured deviation over the plan's bound */
} summary;

/* Plans for N = 2^10 and errors that are small beside the scores; rounding is
 * not of interest here. */
static nn_plan *plan_for(const nn_network *network, sotto_status *status,
                         sotto_error *error)
{
    nn_plan *plan;
    nn_statistics statistics;
    test_random random = {4711};
    float *images = test_random_floats(
        &random, CALIBRATION_IMAGES * network->n_inputs, 0, 1);
    CHECK(nn_statistics_init(&statistics, network, err));
    CHECK(nn_statistics_add(&statistics, network, NULL, images,
                            CALIBRATION_IMAGES, err));
    const nn_tensor_statistics *scores =
        &statistics.tensor[statistics.n_tensors - 1];
    const double largest = fmax(fabs(scores->min), fabs(scores->max));
    const nn_plan_options options = {.images = IMAGES,
                                     .packing = NN_PACKING_BATCH,
                                     .log2_n = 10,
                                     .allow_insecure = true,
                                     .he_target = largest / 16,
                                     .rounding_target = largest * 16,
                                     .statistics = &statistics};
    *status = nn_plan_make(&plan, network, &options, error);
    nn_statistics_clear(&statistics);
    free(images);
    return plan;
}

static void check_bits(batch_world *bw, const uint8_t *one, size_t len_bytes)
{
    size_t again_bytes;
    uint8_t *many = batch_world_run(bw, 7, &again_bytes, NULL, NULL);
    assert_int_equal(again_bytes, len_bytes);
    assert_memory_equal(many, one, len_bytes);
    free(many);
}

static void check_network(uint64_t seed, summary *sum)
{
    nn_network *network;
    sotto_error error = {{0}};
    sotto_status status;
    nn_graph *graph = test_random_network(seed, TEST_NET_SQUARES);
    CHECK(nn_network_new(&network, graph, NULL, err));
    nn_plan *plan = plan_for(network, &status, &error);
    if (status != SOTTO_OK) {
        sum->refused++;
        nn_network_free(network);
        nn_graph_free(graph);
        return;
    }
    CHECK(nn_plan_verify(plan, network, err));
    batch_world bw = batch_world_planned(graph, network, plan, IMAGES);
    double worst, std;
    size_t len_bytes;
    uint8_t *bytes = batch_world_run(&bw, 1, &len_bytes, &worst, &std);
    /* What decoding rounds, in a network whose scores are constants. */
    const double exact = 0x1p-40 * plan->step[plan->n_steps - 1].range;
    const double ratio = std / (plan->he_noise_std + exact);
    assert_true(ratio <= RATIO_LIMIT);
    assert_true(worst <= plan->he_error + exact);
    check_bits(&bw, bytes, len_bytes);
    sum->planned++;
    sum->most = fmax(sum->most, ratio);
    sum->near += ratio > 0x1p-6;
    free(bytes);
    batch_world_free(&bw);
}

static void test_batch_random_networks(void **state)
{
    (void)state;
    const uint64_t n = getenv("SOTTO_TEST_LONG") != NULL ? 400 : 24;
    summary sum = {0};
    for (uint64_t seed = 1; seed <= n; seed++) {
        check_network(seed, &sum);
    }
    print_message("%d planned, %d refused, %d within 2^6, ratio up to %.2f\n",
                  sum.planned, sum.refused, sum.near, sum.most);
    assert_true(sum.planned > sum.refused);
    assert_true(sum.near > sum.planned / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_random_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
