/* SPDX-License-Identifier: MIT
 * Slot programs of networks: equal to the plain network, with rubbish between
 * the elements, remade from their choices, within limits on keys.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/file.h"
#include "nn/graph/onnx.h"
#include "nn/single/simulate.h"
#include "tests/support/check.h"
#include "tests/support/nn_reference.h"

/* ---- Helpers ------------------------------------------------------------- */

/* Fills slots that no element owns: they must be zero where the layout says
 * so, and may be anything where it says rubbish. */
static void check_rest(void *arg, size_t tensor, const nn_places *places,
                       double *slots)
{
    const nn_layout *layout = &places->layout;
    const size_t n = (size_t)layout->n_cts << layout->log2_slots;
    double *own = calloc(n, sizeof *own);
    double *one = calloc(places->n_elements, sizeof *one);
    (void)arg;
    (void)tensor;
    for (size_t e = 0; e < places->n_elements; e++) {
        one[e] = 1;
    }
    nn_places_pack(places, own, one);
    for (size_t j = 0; j < n; j++) {
        if (own[j] == 0 && layout->rest == NN_REST_ZERO) {
            assert_true(slots[j] == 0);
        } else if (own[j] == 0) {
            slots[j] = 1e6 * sin((double)j);
        }
    }
    free(own);
    free(one);
}

/* All copies of an element are alike. */
static void check_copies(void *arg, size_t tensor, const nn_places *places,
                         double *slots)
{
    const nn_layout *layout = &places->layout;
    const size_t n = (size_t)layout->n_cts << layout->log2_slots;
    double *again = calloc(n, sizeof *again);
    double *values = calloc(places->n_elements, sizeof *values);
    check_rest(arg, tensor, places, slots);
    nn_places_unpack(places, values, slots);
    nn_places_pack(places, again, values);
    for (size_t j = 0; j < n; j++) {
        if (again[j] != 0) {
            assert_true(fabs(again[j] - slots[j]) <=
                        1e-9 * (1 + fabs(again[j])));
        }
    }
    free(again);
    free(values);
}

static void check_program(const nn_single *single, const nn_network *network,
                          const float *image)
{
    double *in = calloc(network->n_inputs, sizeof *in);
    double *plain = calloc(network->n_outputs, sizeof *plain);
    double *out = calloc(network->n_outputs, sizeof *out);
    for (size_t i = 0; i < network->n_inputs; i++) {
        in[i] = (double)image[i];
    }
    CHECK(nn_network_run(network, NULL, plain, image, 1, NULL, err));
    CHECK(nn_single_simulate(single, out, in, check_copies, NULL, err));
    double largest = 1;
    for (size_t o = 0; o < network->n_outputs; o++) {
        largest = fmax(largest, fabs(plain[o]));
    }
    for (size_t o = 0; o < network->n_outputs; o++) {
        assert_true(fabs(out[o] - plain[o]) <= 1e-8 * largest);
    }
    free(in);
    free(plain);
    free(out);
}

static void print_program(const nn_single *single)
{
    char text[NN_LAYOUT_TEXT_BYTES];
    print_message("  input %s\n",
                  nn_layout_text(text, &single->places[0]->layout));
    for (size_t k = 0; k < single->network->n_steps; k++) {
        const nn_single_map *map = &single->map[k];
        const nn_single_counts *c = &map->counts;
        if (single->network->steps[k].kind != NN_STEP_AFFINE) {
            continue;
        }
        print_message("  %s: %s\n", single->network->steps[k].name,
                      nn_layout_text(text, &single->places[k + 1]->layout));
        print_message(
            "    pool %u W %u f %u split %u shift %u: modup %zu babies %zu "
            "products %zu giants %zu folds %zu: %.3f ms\n",
            map->pool[0] * map->pool[1], map->window, map->fold, map->split,
            map->shift, c->decompose, c->babies, c->products, c->giants,
            c->folds, 1e3 * map->seconds);
    }
    print_message("  keys %zu, %.3f ms\n", single->n_keys,
                  1e3 * single->seconds);
}

/* Splits are those of SPEC §13.1, and every rotation has its key. */
static void check_splits(const nn_single *single)
{
    const int64_t slots = (int64_t)1 << single->log2_slots;
    uint8_t *has = calloc((size_t)slots, 1);
    has[0] = 1;
    for (size_t i = 0; i < single->n_keys; i++) {
        has[single->key[i]] = 1;
    }
    for (size_t k = 0; k < single->network->n_steps; k++) {
        const nn_single_map *map = &single->map[k];
        for (size_t d = 0; d < map->n_diagonals; d++) {
            const int64_t rotation = map->diagonal[d].rotation;
            const int64_t baby =
                (rotation + map->shift) % map->split - map->shift;
            assert_int_equal(map->diagonal[d].giant,
                             (rotation - baby + slots) % slots);
            assert_int_equal(has[map->diagonal[d].giant], 1);
            assert_int_equal(has[(baby + slots) % slots], 1);
        }
        for (uint32_t f = map->fold; f < map->window; f *= 2) {
            assert_int_equal(has[f], 1);
        }
    }
    free(has);
}

/* The same program from its choices. */
static void check_rebuild(const nn_single *single, const nn_network *network)
{
    nn_single *again;
    nn_single_choice *choice = calloc(network->n_steps, sizeof *choice);
    for (size_t k = 0; k < network->n_steps; k++) {
        choice[k] = nn_single_choice_of(single, k);
    }
    CHECK(nn_single_rebuild(&again, network, &single->places[0]->layout, choice,
                            err));
    assert_int_equal(again->n_keys, single->n_keys);
    assert_memory_equal(again->key, single->key,
                        single->n_keys * sizeof *single->key);
    for (size_t k = 0; k < network->n_steps; k++) {
        assert_int_equal(again->map[k].n_diagonals, single->map[k].n_diagonals);
        assert_memory_equal(again->map[k].diagonal, single->map[k].diagonal,
                            single->map[k].n_diagonals *
                                sizeof *single->map[k].diagonal);
    }
    nn_single_free(again);
    free(choice);
}

static void check_network(const nn_network *network, uint64_t seed,
                          const nn_single_options *options, bool print)
{
    nn_single *single;
    test_random random = {seed + 1};
    float *image = test_random_floats(&random, network->n_inputs, 0, 1);
    CHECK(nn_single_compile(&single, network, options, err));
    if (print) {
        print_program(single);
    }
    check_program(single, network, image);
    check_splits(single);
    check_rebuild(single, network);
    nn_single_free(single);
    free(image);
}

/* ---- Tests --------------------------------------------------------------- */

static void test_single_random_networks(void **state)
{
    (void)state;
    const uint64_t n = getenv("SOTTO_TEST_LONG") != NULL ? 400 : 40;
    for (uint64_t seed = 1; seed <= n; seed++) {
        nn_network *network;
        nn_graph *graph = test_random_network(seed, TEST_NET_SQUARES);
        CHECK(nn_network_new(&network, graph, NULL, err));
        /* From tensors of many ciphertexts to many copies in one. */
        for (int log2_slots = 5; log2_slots <= 11; log2_slots += 3) {
            const nn_single_options options = {.log2_slots = log2_slots,
                                               .beam = 3};
            check_network(network, seed, &options, false);
        }
        nn_network_free(network);
        nn_graph_free(graph);
    }
}

static void read_model(nn_graph **graph, nn_network **network, const char *path)
{
    uint8_t *data;
    size_t len_bytes;
    CHECK(sotto_file_read(&data, &len_bytes, path, (size_t)1 << 28, err));
    CHECK(nn_onnx_read(graph, data, len_bytes, err));
    sotto_free(data);
    CHECK(nn_network_new(network, *graph, NULL, err));
}

static void test_single_models(void **state)
{
    (void)state;
    const char *const path[] = {"models/cryptonets-mnist.onnx",
                                "models/mlp-mnist.onnx"};
    for (size_t k = 0; k < 2; k++) {
        nn_graph *graph;
        nn_network *network;
        read_model(&graph, &network, path[k]);
        for (int log2_slots = 12; log2_slots <= 13; log2_slots++) {
            const nn_single_options options = {.log2_slots = log2_slots};
            print_message("%s, %d slots\n", path[k], 1 << log2_slots);
            check_network(network, 1, &options, true);
        }
        nn_network_free(network);
        nn_graph_free(graph);
    }
}

/* ---- LeNet-5 ------------------------------------------------------------- */

typedef struct builder {
    nn_graph *graph;
    test_random random;
    int last, serial;
    char name[16];
} builder;

static const char *new_name(builder *b)
{
    (void)snprintf(b->name, sizeof b->name, "n%d", b->serial++);
    return b->name;
}

static void build_conv(builder *b, size_t in, size_t out, size_t pad)
{
    float *w = test_random_floats(&b->random, out * in * 25, -0.2, 0.2);
    const nn_conv conv = {
        .out_channels = out,
        .window = {.kernel = {5, 5}, .pad = {pad, pad, pad, pad}},
        .weights = w};
    CHECK(nn_graph_conv(b->graph, &b->last, new_name(b), b->last, &conv, err));
    free(w);
}

static void build_dense(builder *b, size_t in, size_t out)
{
    float *w = test_random_floats(&b->random, out * in, -0.1, 0.1);
    CHECK(nn_graph_dense(b->graph, &b->last, new_name(b), b->last, out, w, NULL,
                         err));
    free(w);
}

static void build_quadratic(builder *b)
{
    const nn_shape one = {.rank = 0};
    const float x2 = 0.3F, x1 = 0.4F, x0 = 0.1F;
    CHECK(nn_graph_polynomial(b->graph, &b->last, new_name(b), b->last, &one,
                              &x2, &x1, &x0, err));
}

static void build_pool(builder *b)
{
    const nn_window window = {.kernel = {2, 2}, .stride = {2, 2}};
    CHECK(nn_graph_pool(b->graph, &b->last, new_name(b), b->last,
                        NN_OP_AVERAGE_POOL, &window, err));
}

static nn_graph *lenet5(void)
{
    const nn_shape image = {.rank = 3, .dim = {1, 28, 28}};
    const nn_shape flat = {.rank = 1, .dim = {400}};
    builder b = {.random = {5}};
    CHECK(nn_graph_new(&b.graph, "image", &image, err));
    build_conv(&b, 1, 6, 2);
    build_quadratic(&b);
    build_pool(&b);
    build_conv(&b, 6, 16, 0);
    build_quadratic(&b);
    build_pool(&b);
    CHECK(nn_graph_reshape(b.graph, &b.last, new_name(&b), b.last, &flat, err));
    build_dense(&b, 400, 120);
    build_quadratic(&b);
    build_dense(&b, 120, 84);
    build_quadratic(&b);
    build_dense(&b, 84, 10);
    return b.graph;
}

static void test_single_lenet5(void **state)
{
    (void)state;
    nn_network *network;
    nn_graph *graph = lenet5();
    CHECK(nn_network_new(&network, graph, NULL, err));
    for (int log2_slots = 12; log2_slots <= 14; log2_slots++) {
        const nn_single_options options = {.log2_slots = log2_slots};
        print_message("LeNet-5, %d slots\n", 1 << log2_slots);
        check_network(network, 1, &options, true);
    }
    nn_network_free(network);
    nn_graph_free(graph);
}

/* ---- Limits and damage --------------------------------------------------- */

static void test_single_max_keys(void **state)
{
    (void)state;
    nn_graph *graph;
    nn_network *network;
    nn_single *single;
    read_model(&graph, &network, "models/cryptonets-mnist.onnx");
    nn_single_options options = {.log2_slots = 12, .beam = 4, .max_keys = 20};
    CHECK(nn_single_compile(&single, network, &options, err));
    assert_true(single->n_keys <= 20);
    print_message("  %zu keys, %.3f ms\n", single->n_keys,
                  1e3 * single->seconds);
    nn_single_free(single);
    options.max_keys = 1;
    sotto_error error;
    assert_int_equal(nn_single_compile(&single, network, &options, &error),
                     SOTTO_ERR_KEY);
    assert_null(single);
    nn_network_free(network);
    nn_graph_free(graph);
}

static void damage_layout(test_random *random, nn_layout *layout)
{
    const uint32_t value = (uint32_t)1 << test_random_below(random, 20);
    nn_layout_digit *digit =
        &layout->digit[test_random_below(random, NN_LAYOUT_MAX_DIGITS)];
    switch (test_random_below(random, 8)) {
    case 0:
        layout->n_cts = value;
        break;
    case 1:
        layout->period = value;
        break;
    case 2:
        layout->n_digits =
            (int)test_random_below(random, NN_LAYOUT_MAX_DIGITS + 1);
        break;
    case 3:
        layout->origin[test_random_below(random, NN_MAX_RANK)] =
            (int32_t)test_random_below(random, 9) - 4;
        break;
    case 4:
        digit->count = value;
        break;
    case 5:
        digit->slots = value;
        break;
    case 6:
        digit->dim = (int32_t)test_random_below(random, NN_MAX_RANK + 1) - 1;
        break;
    default:
        digit->step = value;
        break;
    }
}

static void damage(test_random *random, nn_layout *input,
                   nn_single_choice *choice, size_t n_steps)
{
    nn_single_choice *one = &choice[test_random_below(random, n_steps)];
    const uint32_t value = (uint32_t)test_random_below(random, 70);
    switch (test_random_below(random, 7)) {
    case 0:
        one->fold = (uint32_t)1 << test_random_below(random, 20);
        break;
    case 1:
        one->split = value;
        break;
    case 2:
        one->shift = value;
        break;
    case 3:
        one->pool[test_random_below(random, 2)] = value % 10;
        break;
    case 4:
        damage_layout(random, input);
        break;
    default:
        damage_layout(random, &one->layout);
        break;
    }
}

/* What a damaged plan says is refused, or is another program that computes the
 * same. */
static void damage_program(const nn_single *single, test_random *random,
                           int *refused, int *works)
{
    const nn_network *network = single->network;
    nn_single_choice *choice = calloc(network->n_steps, sizeof *choice);
    float *image = test_random_floats(random, network->n_inputs, 0, 1);
    for (int round = 0; round < 60; round++) {
        nn_layout input = single->places[0]->layout;
        sotto_error error = {{0}};
        nn_single *again;
        for (size_t k = 0; k < network->n_steps; k++) {
            choice[k] = nn_single_choice_of(single, k);
        }
        damage(random, &input, choice, network->n_steps);
        if (nn_single_rebuild(&again, network, &input, choice, &error) ==
            SOTTO_OK) {
            double *in = calloc(network->n_inputs, sizeof *in);
            double *out = calloc(network->n_outputs, sizeof *out);
            double *plain = calloc(network->n_outputs, sizeof *plain);
            double largest = 1;
            for (size_t i = 0; i < network->n_inputs; i++) {
                in[i] = (double)image[i];
            }
            CHECK(nn_single_simulate(again, out, in, NULL, NULL, err));
            CHECK(nn_network_run(network, NULL, plain, image, 1, NULL, err));
            for (size_t o = 0; o < network->n_outputs; o++) {
                largest = fmax(largest, fabs(plain[o]));
            }
            for (size_t o = 0; o < network->n_outputs; o++) {
                assert_true(fabs(out[o] - plain[o]) <= 1e-8 * largest);
            }
            nn_single_free(again);
            free(in);
            free(out);
            free(plain);
            ++*works;
        } else {
            assert_null(again);
            assert_true(strlen(error.text) > 0);
            ++*refused;
        }
    }
    free(choice);
    free(image);
}

static void test_single_rebuild_damaged(void **state)
{
    (void)state;
    const uint64_t n = getenv("SOTTO_TEST_LONG") != NULL ? 200 : 12;
    int refused = 0, works = 0;
    for (uint64_t seed = 1; seed <= n; seed++) {
        nn_network *network;
        nn_single *single;
        test_random random = {seed};
        nn_graph *graph = test_random_network(seed, TEST_NET_SQUARES);
        CHECK(nn_network_new(&network, graph, NULL, err));
        const nn_single_options options = {.log2_slots = 9, .beam = 2};
        CHECK(nn_single_compile(&single, network, &options, err));
        damage_program(single, &random, &refused, &works);
        nn_single_free(single);
        nn_network_free(network);
        nn_graph_free(graph);
    }
    print_message("  %d refused, %d others\n", refused, works);
    assert_true(refused > 0 && works > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_random_networks),
        cmocka_unit_test(test_single_models),
        cmocka_unit_test(test_single_lenet5),
        cmocka_unit_test(test_single_max_keys),
        cmocka_unit_test(test_single_rebuild_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
