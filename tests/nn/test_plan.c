/* SPDX-License-Identifier: MIT
 * The planner: what it chooses fits, what it predicts is asked for, what it
 * writes can be read again, and what cannot be planned is refused by name.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "nn/plan/plan.h"

static sotto_error err;

static const nn_plan_options batch = {.packing = NN_PACKING_BATCH};

static void must(sotto_status status)
{
    if (status != SOTTO_OK) {
        fail_msg("%s: %s", sotto_status_text(status), err.text);
    }
}

/* n weights in [-size, size] from a fixed stream. */
static float *weights(size_t n, float size, const char *name)
{
    sotto_seed seed;
    sotto_seed_from_text(&seed, name);
    sotto_stream stream;
    sotto_stream_init(&stream, &seed);
    float *w = sotto_calloc(n, sizeof(*w));
    assert_non_null(w);
    for (size_t i = 0; i < n; i++) {
        const double u = (double)(sotto_stream_u64(&stream) >> 11) * 0x1p-53;
        w[i] = size * (float)(2 * u - 1);
    }
    return w;
}

typedef struct net {
    nn_graph *graph;
    nn_network *network;
    int last;
} net;

static net net_new(size_t side)
{
    net n = {0};
    const nn_shape shape = {3, {1, side, side}};
    must(nn_graph_new(&n.graph, "image", &shape, &err));
    return n;
}

static void add_conv(net *n, const char *name, size_t maps, double range)
{
    const nn_shape *in = &n->graph->nodes[n->last].shape;
    float *w = weights(maps * in->dim[0] * 25, 0.3f, name);
    const nn_conv conv = {
        .out_channels = maps,
        .window = {.kernel = {5, 5}, .stride = {2, 2}, .pad = {1, 1, 1, 1}},
        .weights = w};
    must(nn_graph_conv(n->graph, &n->last, name, n->last, &conv, &err));
    sotto_free(w);
    if (range > 0) {
        nn_graph_set_range(n->graph, n->last, -range, range);
    }
}

static void add_op(net *n, const char *name, nn_op op)
{
    must(nn_graph_unary(n->graph, &n->last, name, n->last, op, &err));
}

static void add_dense(net *n, const char *name, size_t units, double range)
{
    const size_t in = nn_shape_size(&n->graph->nodes[n->last].shape);
    const nn_shape flat = {1, {in}};
    char flatten[64];
    snprintf(flatten, sizeof(flatten), "%s_flat", name);
    must(nn_graph_reshape(n->graph, &n->last, flatten, n->last, &flat, &err));
    float *w = weights(in * units, 1.0f / sqrtf((float)in), name);
    must(nn_graph_dense(n->graph, &n->last, name, n->last, units, w, NULL,
                        &err));
    sotto_free(w);
    if (range > 0) {
        nn_graph_set_range(n->graph, n->last, -range, range);
    }
}

static void fold(net *n)
{
    must(nn_network_new(&n->network, n->graph, NULL, &err));
}

static void net_free(net *n)
{
    nn_network_free(n->network);
    nn_graph_free(n->graph);
}

/* The network of CryptoNets with random weights. */
static net cryptonets(void)
{
    net n = net_new(28);
    add_conv(&n, "conv1", 5, 9);
    add_op(&n, "square1", NN_OP_SQUARE);
    add_dense(&n, "dense1", 100, 15);
    add_op(&n, "square2", NN_OP_SQUARE);
    add_dense(&n, "dense2", 10, 30);
    must(nn_graph_set_metadata(n.graph, NN_STATISTICS_KEY, "0.4 1.5 4 3.5 20 8",
                               &err));
    fold(&n);
    return n;
}

static double log2_q(const nn_plan *plan, int level)
{
    double sum = 0;
    for (int i = 0; i < plan->params.level[level].count; i++) {
        const int id = plan->params.level[level].id[i];
        sum += log2((double)plan->params.modulus[id]);
    }
    return sum;
}

static void test_nn_plan_make_fits_cryptonets(void **state)
{
    (void)state;
    net n = cryptonets();
    nn_plan *plan = NULL;
    const nn_plan_options options = {.packing = NN_PACKING_BATCH,
                                     .images = 4096};
    must(nn_plan_make(&plan, n.network, &options, &err));
    must(nn_plan_verify(plan, n.network, &err));
    assert_int_equal(plan->n_steps, 5);
    assert_int_equal(plan->n_inputs, 784);
    assert_int_equal(plan->n_outputs, 10);
    assert_true(plan->margin_bits >= 1);
    /* The targets: 2^-9 and 2^-6 of the planned bound, 64. */
    assert_true(plan->he_error <= 64 * 0x1p-9);
    assert_true(plan->rounding_error <= 64 * 0x1p-6);
    const nn_plan_step *last = &plan->step[4];
    assert_true(log2(last->scale) + log2(last->range) + 2 <=
                log2_q(plan, last->level));
    /* One level per operation would take six limbs. */
    assert_true(plan->params.level[0].count <= 4);
    assert_true(plan->plain.limbs >= 6);
    assert_true(plan->plain.seconds > plan->seconds);
    double seconds = plan->read_seconds;
    for (int k = 0; k < plan->n_steps; k++) {
        seconds += plan->step[k].seconds;
    }
    seconds *= (double)nn_plan_batches(plan, plan->images);
    assert_true(fabs(seconds / plan->seconds - 1) < 1e-9);
    rlwe_params *params = sotto_calloc(1, sizeof(*params));
    must(rlwe_params_check(params, &plan->params, &err));
    assert_true(params->security_bits >= 128);
    sotto_free(params);
    sotto_free(plan);
    net_free(&n);
}

static void test_nn_plan_make_without_keys(void **state)
{
    (void)state;
    net n = net_new(28);
    add_dense(&n, "dense1", 128, 9);
    add_op(&n, "square", NN_OP_SQUARE);
    add_dense(&n, "dense2", 10, 30);
    fold(&n);
    nn_plan *plan = NULL;
    must(nn_plan_make(&plan, n.network, &batch, &err));
    assert_int_equal(plan->n_keys, 0);
    assert_int_equal(plan->params.n_gadgets, 0);
    assert_int_equal(plan->step[2].n_components, 3);
    sotto_free(plan);
    net_free(&n);
}

/* Tighter targets cost bits and are met. */
static void test_nn_plan_make_meets_targets(void **state)
{
    (void)state;
    net n = cryptonets();
    for (int bits = 4; bits <= 12; bits += 4) {
        nn_plan *plan = NULL;
        const nn_plan_options options = {.packing = NN_PACKING_BATCH,
                                         .he_target = ldexp(1, -bits),
                                         .rounding_target = ldexp(1, 2 - bits)};
        must(nn_plan_make(&plan, n.network, &options, &err));
        assert_true(plan->he_error <= 1.1 * options.he_target);
        assert_true(plan->rounding_error <= 1.1 * options.rounding_target);
        sotto_free(plan);
    }
    net_free(&n);
}

/* Root-mean-squares, not largest values, decide the predicted errors. */
static void test_nn_plan_make_uses_rms(void **state)
{
    (void)state;
    net n = cryptonets();
    double rounding[2];
    for (int largest = 0; largest < 2; largest++) {
        nn_statistics s;
        must(nn_statistics_load(&s, n.network, &err));
        for (size_t k = 1; largest && k < s.n_tensors; k++) {
            s.tensor[k].rms =
                fmax(fabs(s.tensor[k].min), fabs(s.tensor[k].max));
        }
        nn_plan *plan = NULL;
        const nn_plan_options options = {.packing = NN_PACKING_BATCH,
                                         .he_target = 1e9,
                                         .rounding_target = 1e9,
                                         .statistics = &s};
        must(nn_plan_make(&plan, n.network, &options, &err));
        rounding[largest] = plan->rounding_error;
        sotto_free(plan);
        nn_statistics_clear(&s);
    }
    assert_true(rounding[1] > 10 * rounding[0]);
    net_free(&n);
}

static void test_nn_plan_make_refuses_relu_by_name(void **state)
{
    (void)state;
    net n = net_new(28);
    add_conv(&n, "conv1", 2, 9);
    add_op(&n, "my_relu", NN_OP_RELU);
    add_dense(&n, "dense1", 10, 30);
    fold(&n);
    nn_plan *plan = NULL;
    assert_int_equal(nn_plan_make(&plan, n.network, &batch, &err),
                     SOTTO_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "my_relu"));
    assert_null(plan);
    net_free(&n);
}

static void test_nn_plan_make_refuses_unknown_ranges(void **state)
{
    (void)state;
    net n = net_new(28);
    add_conv(&n, "conv1", 2, 0);
    add_op(&n, "square1", NN_OP_SQUARE);
    add_dense(&n, "dense1", 10, 30);
    fold(&n);
    nn_plan *plan = NULL;
    assert_int_equal(nn_plan_make(&plan, n.network, &batch, &err),
                     SOTTO_ERR_RANGE);
    assert_non_null(strstr(err.text, "--calibrate"));
    net_free(&n);
}

static void test_nn_plan_make_refuses_too_deep(void **state)
{
    (void)state;
    net n = net_new(4);
    for (int i = 0; i < 60; i++) {
        char name[32];
        snprintf(name, sizeof(name), "dense%d", i);
        add_dense(&n, name, 4, 100);
        snprintf(name, sizeof(name), "square%d", i);
        add_op(&n, name, NN_OP_SQUARE);
    }
    fold(&n);
    nn_plan *plan = NULL;
    assert_int_equal(nn_plan_make(&plan, n.network, &batch, &err),
                     SOTTO_ERR_LEVEL);
    assert_null(plan);
    net_free(&n);
}

/* Deeper networks than the exhaustive search takes. */
static void test_nn_plan_make_deep(void **state)
{
    (void)state;
    net n = net_new(4);
    for (int i = 0; i < 8; i++) {
        char name[32];
        snprintf(name, sizeof(name), "dense%d", i);
        add_dense(&n, name, 8, 2);
        snprintf(name, sizeof(name), "square%d", i);
        add_op(&n, name, NN_OP_SQUARE);
    }
    add_dense(&n, "scores", 3, 2);
    fold(&n);
    nn_plan *plan = NULL;
    must(nn_plan_make(&plan, n.network, &batch, &err));
    must(nn_plan_verify(plan, n.network, &err));
    assert_true(plan->params.n_levels > 3);
    sotto_free(plan);
    net_free(&n);
}

static void test_nn_plan_write_read_round_trip(void **state)
{
    (void)state;
    net n = cryptonets();
    const float mean[] = {0.5f};
    const float std[] = {0.25f};
    const nn_plan_options options = {.packing = NN_PACKING_BATCH,
                                     .images = 123,
                                     .mean = mean,
                                     .std = std,
                                     .n_mean = 1};
    nn_plan *plan = NULL;
    nn_plan *read = NULL;
    char *text = NULL;
    char *again = NULL;
    size_t len = 0;
    size_t len_again = 0;
    must(nn_plan_make(&plan, n.network, &options, &err));
    must(nn_plan_write(&text, &len, plan, &err));
    must(nn_plan_read(&read, text, len, false, &err));
    assert_memory_equal(read->id, plan->id, sizeof(read->id));
    must(nn_plan_verify(read, n.network, &err));
    must(nn_plan_write(&again, &len_again, read, &err));
    assert_int_equal(len, len_again);
    assert_memory_equal(text, again, len);
    sotto_free(text);
    sotto_free(again);
    sotto_free(plan);
    sotto_free(read);
    net_free(&n);
}

/* A measured table is written and read; the committed one is not measured. */
static void test_nn_plan_write_read_costs(void **state)
{
    (void)state;
    net n = cryptonets();
    nn_cost_table costs = nn_cost_default();
    for (int i = 0; i < NN_COST_UNITS; i++) {
        costs.ns[i] *= 1.0 / 3 + i;
    }
    for (int measured = 0; measured < 2; measured++) {
        const nn_plan_options options = {.packing = NN_PACKING_BATCH,
                                         .costs = measured ? &costs : NULL};
        nn_plan *plan = NULL;
        nn_plan *read = NULL;
        char *text = NULL;
        size_t len = 0;
        must(nn_plan_make(&plan, n.network, &options, &err));
        must(nn_plan_write(&text, &len, plan, &err));
        must(nn_plan_read(&read, text, len, false, &err));
        assert_int_equal(read->measured, measured);
        const nn_cost_table want = measured ? costs : nn_cost_default();
        assert_memory_equal(&read->costs, &want, sizeof want);
        assert_true(read->read_seconds == plan->read_seconds);
        assert_true(read->step[2].seconds == plan->step[2].seconds);
        sotto_free(text);
        sotto_free(plan);
        sotto_free(read);
    }
    net_free(&n);
}

/* Inputs and what is behind a rescale are held, what lies between maps is not.
 */
static void test_nn_plan_sizes_counts_what_is_held(void **state)
{
    (void)state;
    net n = cryptonets();
    nn_plan *plan = NULL;
    must(nn_plan_make(&plan, n.network, &batch, &err));
    nn_plan_bytes bytes;
    must(nn_plan_sizes(&bytes, plan, &err));
    const uint64_t limb = (uint64_t)8 << plan->params.log2_n;
    const uint64_t inputs =
        784 * 2 * limb * (uint64_t)plan->params.level[0].count;
    assert_true(bytes.server_memory > inputs);
    assert_true(bytes.server_memory < 2 * inputs);
    assert_true(bytes.input_per_batch < inputs / 2);
    assert_true((bytes.eval_key > 0) == (plan->n_keys > 0));
    sotto_free(plan);
    net_free(&n);
}

/* Any flipped bit and any truncation is noticed. */
static void test_nn_plan_read_refuses_damage(void **state)
{
    (void)state;
    net n = cryptonets();
    nn_plan *plan = NULL;
    char *text = NULL;
    size_t len = 0;
    must(nn_plan_make(&plan, n.network, &batch, &err));
    must(nn_plan_write(&text, &len, plan, &err));
    nn_plan *read = NULL;
    for (size_t i = 0; i < len; i += 5) {
        for (int bit = 0; bit < 8; bit += 3) {
            text[i] = (char)(text[i] ^ (1 << bit));
            assert_int_equal(nn_plan_read(&read, text, len, false, &err),
                             SOTTO_ERR_FORMAT);
            assert_null(read);
            text[i] = (char)(text[i] ^ (1 << bit));
        }
    }
    for (size_t cut = 0; cut < len; cut += 3) {
        assert_int_equal(nn_plan_read(&read, text, cut, false, &err),
                         SOTTO_ERR_FORMAT);
    }
    sotto_free(text);
    sotto_free(plan);
    net_free(&n);
}

static void test_nn_plan_read_refuses_insecure(void **state)
{
    (void)state;
    net n = cryptonets();
    nn_plan *plan = NULL;
    nn_plan *read = NULL;
    char *text = NULL;
    size_t len = 0;
    const nn_plan_options options = {
        .packing = NN_PACKING_BATCH, .log2_n = 11, .allow_insecure = true};
    must(nn_plan_make(&plan, n.network, &options, &err));
    must(nn_plan_write(&text, &len, plan, &err));
    assert_int_equal(nn_plan_read(&read, text, len, false, &err),
                     SOTTO_ERR_SECURITY);
    must(nn_plan_read(&read, text, len, true, &err));
    sotto_free(read);
    sotto_free(text);
    sotto_free(plan);
    net_free(&n);
}

static void test_nn_plan_verify_refuses_another_model(void **state)
{
    (void)state;
    net a = cryptonets();
    net b = net_new(28);
    add_dense(&b, "dense1", 128, 9);
    add_op(&b, "square", NN_OP_SQUARE);
    add_dense(&b, "dense2", 10, 30);
    fold(&b);
    nn_plan *plan = NULL;
    must(nn_plan_make(&plan, a.network, &batch, &err));
    assert_int_equal(nn_plan_verify(plan, b.network, &err), SOTTO_ERR_MISMATCH);
    plan->step[2].weight_bits += 1;
    assert_int_equal(nn_plan_verify(plan, a.network, &err), SOTTO_ERR_MISMATCH);
    sotto_free(plan);
    net_free(&a);
    net_free(&b);
}

static void test_nn_plan_weight_rounds_half_away(void **state)
{
    (void)state;
    assert_int_equal(nn_plan_weight(0.5, 1), 1);
    assert_int_equal(nn_plan_weight(-0.5, 1), -1);
    assert_int_equal(nn_plan_weight(0.49, 1), 0);
    assert_int_equal(nn_plan_weight(-1.26, 2), -3);
    assert_int_equal(nn_plan_weight(1, 0x1p30), 1 << 30);
}

/* The measured figures replace what metadata say. */
static void test_nn_statistics_add_measures(void **state)
{
    (void)state;
    net n = net_new(2);
    const float w[] = {1, 2, 3, 4};
    const nn_shape flat = {1, {4}};
    must(nn_graph_reshape(n.graph, &n.last, "flat", 0, &flat, &err));
    must(nn_graph_dense(n.graph, &n.last, "d", n.last, 1, w, NULL, &err));
    add_op(&n, "sq", NN_OP_SQUARE);
    fold(&n);
    const float images[] = {1, 0, 0, 0, 0, 0, 0, -1};
    nn_statistics s;
    must(nn_statistics_init(&s, n.network, &err));
    must(nn_statistics_add(&s, n.network, NULL, images, 2, &err));
    assert_int_equal(s.n_tensors, 3);
    assert_true(s.tensor[0].min == -1 && s.tensor[0].max == 1);
    assert_true(fabs(s.tensor[0].rms - 0.5) < 1e-12);
    assert_true(s.tensor[1].min == -4 && s.tensor[1].max == 1);
    assert_true(fabs(s.tensor[1].rms - 4) < 1e-12);
    assert_true(fabs(s.tensor[2].rms - 16) < 1e-12);
    must(nn_statistics_store(n.graph, &s, &err));
    assert_string_equal(nn_graph_metadata(n.graph, NN_STATISTICS_KEY),
                        "0.5 4 16");
    nn_statistics_clear(&s);
    net_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_plan_make_fits_cryptonets),
        cmocka_unit_test(test_nn_plan_make_without_keys),
        cmocka_unit_test(test_nn_plan_make_meets_targets),
        cmocka_unit_test(test_nn_plan_make_uses_rms),
        cmocka_unit_test(test_nn_plan_make_refuses_relu_by_name),
        cmocka_unit_test(test_nn_plan_make_refuses_unknown_ranges),
        cmocka_unit_test(test_nn_plan_make_refuses_too_deep),
        cmocka_unit_test(test_nn_plan_make_deep),
        cmocka_unit_test(test_nn_plan_write_read_round_trip),
        cmocka_unit_test(test_nn_plan_write_read_costs),
        cmocka_unit_test(test_nn_plan_sizes_counts_what_is_held),
        cmocka_unit_test(test_nn_plan_read_refuses_damage),
        cmocka_unit_test(test_nn_plan_read_refuses_insecure),
        cmocka_unit_test(test_nn_plan_verify_refuses_another_model),
        cmocka_unit_test(test_nn_plan_weight_rounds_half_away),
        cmocka_unit_test(test_nn_statistics_add_measures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
