/* SPDX-License-Identifier: MIT
 * Slot programs on ciphertexts: random networks and the CryptoNets network,
 * equal to the plain network within the noise, with the same bits on any
 * number of threads; a missing key is named.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "nn/graph/onnx.h"
#include "nn/single/run.h"
#include "tests/support/check.h"
#include "tests/support/ckks_world.h"
#include "tests/support/nn_reference.h"

#define MAX_DEPTH 20

/* A network with its program, in a world with a level for each step. */
typedef struct lab {
    nn_graph *graph;
    nn_network *network;
    nn_single *single;
    world w;
    nn_single_stage stage[MAX_DEPTH];
    nn_single_schedule schedule;
} lab;

/* What a chain is made of. */
typedef struct chain {
    int log2_n;
    double first, other, special; /* bits of moduli */
    int n_special;
    size_t missing; /* one key that is left out, by its number plus 1 */
} chain;

/* "abcd" for 4 letters from the first one. */
static void word(char *text, int first, int n)
{
    for (int i = 0; i < n; i++) {
        text[i] = (char)('a' + first + i);
    }
    text[n] = '\0';
}

/* One level for each step, digits of as many limbs as there are specials. */
static void make_world(lab *l, const chain *c)
{
    const int depth = (int)l->network->n_steps;
    double log2_q[MAX_DEPTH + 6] = {0};
    char level[MAX_DEPTH + 1][MAX_DEPTH + 6], gadget[3 * MAX_DEPTH], text[32];
    const char *levels[MAX_DEPTH + 2] = {0}, *gadgets[2] = {gadget, NULL};
    int64_t *rotation = calloc(l->single->n_keys + 1, sizeof *rotation);
    size_t n = 0;
    for (int i = 0; i <= depth; i++) {
        log2_q[i] = i == 0 ? c->first : c->other;
        word(level[i], 0, depth + 1 - i);
        levels[i] = level[i];
    }
    for (int i = 0; i < c->n_special; i++) {
        log2_q[depth + 1 + i] = c->special;
    }
    word(gadget, 0, depth + 1);
    for (int i = 0; i <= depth; i++) {
        text[i] = (char)('0' + i / c->n_special);
    }
    text[depth + 1] = '\0';
    char special[8];
    word(special, depth + 1, c->n_special);
    (void)snprintf(gadget + depth + 1, sizeof gadget - (size_t)depth - 1,
                   "|%s|%s", text, special);
    for (size_t i = 0; i < l->single->n_keys; i++) {
        if (i + 1 != c->missing) {
            rotation[n++] = l->single->key[i];
        }
    }
    const world_spec spec = {.log2_n = c->log2_n,
                             .log2_q = log2_q,
                             .level = levels,
                             .gadget = gadgets,
                             .rotation = rotation,
                             .max_power = 2};
    l->w = world_new(&spec, "single");
    free(rotation);
}

/* The level of step k's tensor: one below the lowest of its sources. */
static int level_of(const lab *l, size_t k)
{
    const nn_step *step = &l->network->steps[k];
    size_t n = 1;
    const uint32_t *sources = step->kind == NN_STEP_AFFINE
                                  ? nn_affine_sources(step->affine, &n)
                                  : &step->source;
    int level = 0;
    for (size_t i = 0; i < n; i++) {
        const int other = sources[i] == 0 ? 0 : l->stage[sources[i] - 1].level;
        level = other > level ? other : level;
    }
    return level + 1;
}

/* Every map ends on the scale 2^bits; every square rescales. */
static void make_schedule(lab *l, double bits, bool late_folds)
{
    l->schedule =
        (nn_single_schedule){.input_scale = exp2(bits), .stage = l->stage};
    for (size_t k = 0; k < l->network->n_steps; k++) {
        const nn_step *step = &l->network->steps[k];
        nn_single_stage *stage = &l->stage[k];
        *stage = (nn_single_stage){.level = level_of(l, k),
                                   .scale = exp2(bits),
                                   .late_folds = late_folds};
        if (step->kind == NN_STEP_SQUARE) {
            const double scale = step->source == 0
                                     ? l->schedule.input_scale
                                     : l->stage[step->source - 1].scale;
            stage->scale = scale * scale /
                           rlwe_chain_step(&l->w.context->chain,
                                           stage->level - 1, stage->level)
                               ->divisor;
        }
    }
}

static void lab_free(lab *l)
{
    world_free(&l->w);
    nn_single_free(l->single);
    nn_network_free(l->network);
    nn_graph_free(l->graph);
}

/* Encrypts the input, runs, decrypts; out double[n_outputs]. Returns the
 * outputs' bits in *hash. */
static sotto_status run_image(lab *l, int threads, const double *image,
                              double *out, uint64_t *hash, double *seconds,
                              sotto_error *error)
{
    nn_single_run *run;
    sotto_pool *pool = sotto_pool_new(threads);
    const nn_places *in = l->single->places[0];
    const nn_places *scores = l->single->places[l->network->n_steps];
    double *slots = calloc(in->layout.n_cts * l->w.slots, sizeof *slots);
    double *result = calloc(scores->layout.n_cts * l->w.slots, sizeof *result);
    CHECK(nn_single_run_new(&run, l->single, &l->schedule, l->w.encoder,
                            l->w.context, l->w.keys, pool, err));
    nn_places_pack(in, slots, image);
    for (uint32_t i = 0; i < in->layout.n_cts; i++) {
        CHECK(ckks_encrypt(nn_single_run_input(run, i), l->w.encoder,
                           l->w.context, l->w.secret, slots + i * l->w.slots,
                           l->w.slots, l->schedule.input_scale, 0, &l->w.root,
                           77, i, &l->w.arena, err));
    }
    const sotto_status status = nn_single_run_apply(run, seconds, error);
    *hash = 14695981039346656037U;
    for (uint32_t i = 0; status == SOTTO_OK && i < scores->layout.n_cts; i++) {
        const ckks_ct *ct = nn_single_run_output(run, i);
        world_decrypt(&l->w, result + i * l->w.slots, NULL, ct);
        const size_t words = rlwe_level_words(l->w.context, ct->ct.level);
        for (size_t j = 0; j < 2 * words; j++) {
            *hash = (*hash ^ ct->ct.data[j]) * 1099511628211U;
        }
    }
    nn_places_unpack(scores, out, result);
    nn_single_run_free(run);
    sotto_pool_free(pool);
    free(slots);
    free(result);
    return status;
}

/* The plain scores and the largest of them. */
static double run_plain(const lab *l, const double *image, double *out)
{
    float *in = calloc(l->network->n_inputs, sizeof *in);
    double largest = 1;
    for (size_t i = 0; i < l->network->n_inputs; i++) {
        in[i] = (float)image[i];
    }
    CHECK(nn_network_run(l->network, NULL, out, in, 1, NULL, err));
    for (size_t i = 0; i < l->network->n_outputs; i++) {
        largest = fmax(largest, fabs(out[i]));
    }
    free(in);
    return largest;
}

static double *random_image(const lab *l)
{
    test_random random = {99};
    double *image = calloc(l->network->n_inputs, sizeof *image);
    for (size_t i = 0; i < l->network->n_inputs; i++) {
        image[i] = (double)test_random_below(&random, 256) / 255;
    }
    return image;
}

/* A digit from the committed samples. */
static double *digit_image(size_t number)
{
    uint8_t *data;
    size_t len_bytes;
    double *image = calloc(784, sizeof *image);
    CHECK(sotto_file_read(&data, &len_bytes,
                          "data/mnist/t10k-images-idx3-ubyte", (size_t)1 << 28,
                          err));
    assert_true(len_bytes >= 16 + (number + 1) * 784);
    for (size_t i = 0; i < 784; i++) {
        image[i] = data[16 + number * 784 + i] / 255.0;
    }
    sotto_free(data);
    return image;
}

/* Runs and compares, saying `what`; returns the error over the largest score.
 * Takes over the image. */
static double check_lab(lab *l, const char *what, double *image)
{
    const size_t n = l->network->n_outputs;
    double *plain = calloc(n, sizeof *plain), *out = calloc(n, sizeof *out);
    double seconds[MAX_DEPTH], error = 0;
    uint64_t one, two;
    const double largest = run_plain(l, image, plain);
    CHECK(run_image(l, 1, image, out, &one, seconds, err));
    for (size_t i = 0; i < n; i++) {
        error = fmax(error, fabs(out[i] - plain[i]) / largest);
    }
    CHECK(run_image(l, 2, image, out, &two, seconds, err));
    assert_true(one == two);
    if (what != NULL) {
        double total = 0;
        for (size_t k = 0; k < l->network->n_steps; k++) {
            print_message("  %s %.2f ms\n", l->network->steps[k].name,
                          1e3 * seconds[k]);
            total += seconds[k];
        }
        print_message("%s: %.2f ms, 2 threads; error 2^%.1f\n", what,
                      1e3 * total, log2(error));
    }
    free(image);
    free(plain);
    free(out);
    return error;
}

/* ---- Tests --------------------------------------------------------------- */

/* A random network that a chain of the tests serves; false for others. */
static bool random_lab(lab *l, uint64_t seed, int log2_n)
{
    *l = (lab){.graph = test_random_network(seed, TEST_NET_SQUARES)};
    CHECK(nn_network_new(&l->network, l->graph, NULL, err));
    sotto_error error;
    const nn_single_options options = {
        .log2_slots = log2_n - 1, .beam = 3, .max_keys = 110};
    bool fits = l->network->n_steps <= 14;
    for (size_t k = 0; fits && k < l->network->n_steps; k++) {
        size_t n = 1;
        if (l->network->steps[k].kind == NN_STEP_AFFINE) {
            (void)nn_affine_sources(l->network->steps[k].affine, &n);
        }
        fits = n > 0;
    }
    if (fits && nn_single_compile(&l->single, l->network, &options, &error) ==
                    SOTTO_OK) {
        return true;
    }
    nn_network_free(l->network);
    nn_graph_free(l->graph);
    return false;
}

static void test_single_run_random_networks(void **state)
{
    (void)state;
    const uint64_t n = getenv("SOTTO_TEST_LONG") != NULL ? 200 : 16;
    const chain c = {
        .log2_n = 10, .first = 46, .other = 34, .special = 45, .n_special = 2};
    int ran = 0;
    double worst = 0x1p-99;
    for (uint64_t seed = 1; seed <= n; seed++) {
        lab l;
        if (!random_lab(&l, seed, c.log2_n)) {
            continue;
        }
        make_world(&l, &c);
        make_schedule(&l, 34, seed % 2 == 0);
        const double error = check_lab(&l, NULL, random_image(&l));
        worst = fmax(worst, error);
        assert_true(error < 0x1p-12);
        lab_free(&l);
        ran++;
    }
    print_message("%d networks, error up to 2^%.1f\n", ran, log2(worst));
    assert_true(ran > (int)n / 2);
}

/* A network of the models folder. */
static void model_lab(lab *l, const char *path, const chain *c, double bits)
{
    uint8_t *data;
    size_t len_bytes;
    *l = (lab){0};
    CHECK(sotto_file_read(&data, &len_bytes, path, (size_t)1 << 28, err));
    CHECK(nn_onnx_read(&l->graph, data, len_bytes, err));
    CHECK(nn_network_new(&l->network, l->graph, NULL, err));
    const nn_single_options options = {.log2_slots = c->log2_n - 1, .beam = 4};
    CHECK(nn_single_compile(&l->single, l->network, &options, err));
    make_world(l, c);
    make_schedule(l, bits, true);
    sotto_free(data);
}

static void test_single_run_cryptonets(void **state)
{
    (void)state;
    /* 30 + 5·26 + 2·27 = 214 bits. */
    const chain c = {
        .log2_n = 13, .first = 30, .other = 26, .special = 27, .n_special = 2};
    lab l;
    model_lab(&l, "models/cryptonets-mnist.onnx", &c, 26);
    assert_true(check_lab(&l, "CryptoNets", digit_image(0)) < 0x1p-6);
    lab_free(&l);
}

static void test_single_run_lenet5(void **state)
{
    (void)state;
    if (getenv("SOTTO_TEST_LONG") == NULL) {
        skip();
    }
    /* 36 + 9·30 + 3·41 = 429 bits. */
    const chain c = {
        .log2_n = 14, .first = 36, .other = 30, .special = 41, .n_special = 3};
    lab l;
    model_lab(&l, "models/lenet5-mnist.onnx", &c, 30);
    assert_true(check_lab(&l, "LeNet-5", digit_image(0)) < 0x1p-6);
    lab_free(&l);
}

static void test_single_run_names_missing_keys(void **state)
{
    (void)state;
    const chain c = {.log2_n = 10,
                     .first = 46,
                     .other = 34,
                     .special = 45,
                     .n_special = 2,
                     .missing = 1};
    lab l;
    assert_true(random_lab(&l, 2, c.log2_n));
    assert_true(l.single->n_keys > 0);
    make_world(&l, &c);
    make_schedule(&l, 34, false);
    sotto_error error = {{0}};
    double *image = random_image(&l);
    double *out = calloc(l.network->n_outputs, sizeof *out);
    uint64_t hash;
    assert_int_equal(run_image(&l, 1, image, out, &hash, NULL, &error),
                     SOTTO_ERR_KEY);
    assert_non_null(strstr(error.text, "step '"));
    assert_non_null(strstr(error.text, "rotation"));
    free(image);
    free(out);
    lab_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_run_random_networks),
        cmocka_unit_test(test_single_run_cryptonets),
        cmocka_unit_test(test_single_run_lenet5),
        cmocka_unit_test(test_single_run_names_missing_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
