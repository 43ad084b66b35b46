/* SPDX-License-Identifier: MIT
 * Plans for single packing: keys that suffice, text that comes back, errors
 * within the prediction, and what does not belong together is refused.
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
#include "ckks/noise.h"
#include "nn/graph/onnx.h"
#include "nn/plan/plan.h"
#include "rlwe/wire.h"
#include "tests/support/check.h"
#include "tests/support/nn_reference.h"

#define N_IMAGES 4

/* A network and its plan. */
typedef struct lab {
    nn_graph *graph;
    nn_network *network;
    nn_plan *plan;
} lab;

static lab lab_of_model(const char *path)
{
    uint8_t *data;
    size_t len_bytes;
    lab l = {0};
    CHECK(sotto_file_read(&data, &len_bytes, path, (size_t)1 << 28, err));
    CHECK(nn_onnx_read(&l.graph, data, len_bytes, err));
    CHECK(nn_network_new(&l.network, l.graph, NULL, err));
    sotto_free(data);
    return l;
}

static void plan_lab(lab *l, const nn_plan_options *options)
{
    sotto_free(l->plan);
    CHECK(nn_plan_make(&l->plan, l->network, options, err));
}

static void lab_free(lab *l)
{
    sotto_free(l->plan);
    nn_network_free(l->network);
    nn_graph_free(l->graph);
}

/* ---- Running a plan ------------------------------------------------------ */

/* Keys of a plan and everything else that a run takes. */
typedef struct world {
    rlwe_context *context;
    ckks_encoder *encoder;
    rlwe_secret *secret;
    rlwe_keyset *keys;
    sotto_seed root;
    sotto_arena arena;
    size_t slots;
} world;

static world world_of(const nn_plan *plan)
{
    world w = {.slots = (size_t)1 << (plan->params.log2_n - 1)};
    sotto_seed_from_text(&w.root, "plan");
    CHECK(rlwe_context_new(&w.context, &plan->params, err));
    CHECK(ckks_encoder_new(&w.encoder, w.context, err));
    CHECK(rlwe_secret_new(&w.secret, w.context, &w.root, err));
    w.arena = sotto_arena_init(ckks_crypt_scratch(w.context));
    rlwe_switch_key **key = calloc((size_t)plan->n_keys + 1, sizeof(*key));
    for (int i = 0; i < plan->n_keys; i++) {
        CHECK(rlwe_switch_key_new(&key[i], w.context, w.secret,
                                  plan->key[i].target,
                                  &plan->params.gadget[plan->key[i].gadget],
                                  &w.root, (uint32_t)i, err));
    }
    CHECK(rlwe_keyset_new(&w.keys, w.context, key, plan->n_keys, err));
    free(key);
    return w;
}

static void world_free(world *w)
{
    rlwe_keyset_free(w->keys);
    rlwe_secret_free(w->secret, w->context);
    ckks_encoder_free(w->encoder);
    rlwe_context_free(w->context);
    sotto_arena_clear(&w->arena);
}

/* Evaluates one image; returns the deviation of imaginary parts. */
static double run_image(const lab *l, world *w, nn_single_run *run,
                        const nn_single *single, const double *image,
                        double *out, uint64_t number, double *seconds)
{
    const nn_places *in = single->places[0];
    const nn_places *scores = single->places[l->network->n_steps];
    double *slots = calloc(in->layout.n_cts * w->slots, sizeof *slots);
    double *re = calloc(scores->layout.n_cts * w->slots, sizeof *re);
    double noise = 0;
    nn_places_pack(in, slots, image);
    for (uint32_t i = 0; i < in->layout.n_cts; i++) {
        CHECK(ckks_encrypt(nn_single_run_input(run, i), w->encoder, w->context,
                           w->secret, slots + i * w->slots, w->slots,
                           l->plan->input_scale, 0, &w->root, number, i,
                           &w->arena, err));
    }
    CHECK(nn_single_run_apply(run, seconds, err));
    for (uint32_t i = 0; i < scores->layout.n_cts; i++) {
        double std;
        CHECK(ckks_decrypt(w->encoder, w->context, w->secret, re + i * w->slots,
                           NULL, w->slots, &std, nn_single_run_output(run, i),
                           &w->arena, err));
        noise = fmax(noise, std);
    }
    nn_places_unpack(scores, out, re);
    free(slots);
    free(re);
    return noise;
}

/* What a run showed. */
typedef struct result {
    double error;   /* largest difference from the plain scores */
    double noise;   /* largest deviation of imaginary parts */
    double seconds; /* least of all images */
} result;

static double total(const nn_plan *plan, const double *seconds)
{
    double sum = 0;
    for (int k = 0; k < plan->n_steps; k++) {
        sum += seconds[k];
    }
    return sum;
}

/* Runs images through a plan on one thread. images float[n][n_inputs]. */
static result run_lab(const lab *l, const float *images, size_t n)
{
    const size_t n_in = l->network->n_inputs, n_out = l->network->n_outputs;
    world w = world_of(l->plan);
    nn_single *single;
    nn_single_run *run;
    nn_single_stage *stage = calloc((size_t)l->plan->n_steps, sizeof *stage);
    double *seconds = calloc((size_t)l->plan->n_steps, sizeof *seconds);
    double *plain = calloc(n * n_out, sizeof *plain);
    double *out = calloc(n_out, sizeof *out);
    double *image = calloc(n_in, sizeof *image);
    result r = {.seconds = INFINITY};
    CHECK(nn_network_run(l->network, NULL, plain, images, n, NULL, err));
    CHECK(nn_plan_program(&single, l->plan, l->network, err));
    const nn_single_schedule schedule = nn_plan_schedule(l->plan, stage, 0);
    CHECK(nn_single_run_new(&run, single, &schedule, w.encoder, w.context,
                            w.keys, NULL, err));
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n_in; j++) {
            image[j] = (double)images[i * n_in + j];
        }
        const double noise =
            run_image(l, &w, run, single, image, out, i, seconds);
        r.noise = fmax(r.noise, noise);
        r.seconds = fmin(r.seconds, total(l->plan, seconds));
        for (size_t o = 0; o < n_out; o++) {
            r.error = fmax(r.error, fabs(out[o] - plain[i * n_out + o]));
        }
    }
    nn_single_run_free(run);
    nn_single_free(single);
    world_free(&w);
    free(stage);
    free(seconds);
    free(plain);
    free(out);
    free(image);
    return r;
}

/* Digits from the committed samples. */
static float *digits(size_t n)
{
    uint8_t *data;
    size_t len_bytes;
    float *images = calloc(n * 784, sizeof *images);
    CHECK(sotto_file_read(&data, &len_bytes,
                          "data/mnist/t10k-images-idx3-ubyte", (size_t)1 << 28,
                          err));
    assert_true(len_bytes >= 16 + n * 784);
    for (size_t i = 0; i < n * 784; i++) {
        images[i] = (float)data[16 + i] / 255.0F;
    }
    sotto_free(data);
    return images;
}

/* Errors are within the prediction, and not far below it. */
static void check_errors(const lab *l, const result *r, const char *what)
{
    const nn_plan *plan = l->plan;
    print_message("%s: N = 2^%d, %d limbs, %d keys; %.2f ms (predicted %.2f); "
                  "error %.2g of %.2g + %.2g; noise %.2g of %.2g\n",
                  what, plan->params.log2_n, plan->params.level[0].count,
                  plan->n_keys, 1e3 * r->seconds, 1e3 * plan->seconds, r->error,
                  plan->he_error, plan->rounding_error, r->noise,
                  plan->he_noise_std);
    assert_true(r->error <= plan->he_error + plan->rounding_error);
    assert_true(r->noise <= 2 * plan->he_noise_std);
    assert_true(r->noise >= 0x1p-7 * plan->he_noise_std);
}

/* ---- Models -------------------------------------------------------------- */

static void check_model(const char *path, double most_seconds,
                        double most_key_bytes)
{
    lab l = lab_of_model(path);
    plan_lab(&l, NULL);
    assert_int_equal(l.plan->packing, NN_PACKING_SINGLE);
    CHECK(nn_plan_verify(l.plan, l.network, err));
    nn_plan_bytes bytes;
    CHECK(nn_plan_sizes(&bytes, l.plan, err));
    assert_true(l.plan->seconds < most_seconds);
    assert_true((double)bytes.eval_key < most_key_bytes);
    float *images = digits(N_IMAGES);
    const result r = run_lab(&l, images, N_IMAGES);
    check_errors(&l, &r, path);
    free(images);
    lab_free(&l);
}

static void test_nn_plan_cryptonets(void **state)
{
    (void)state;
    check_model("models/cryptonets-mnist.onnx", 12e-3, 60e6);
}

static void test_nn_plan_lenet5(void **state)
{
    (void)state;
    if (getenv("SOTTO_TEST_LONG") == NULL) {
        skip();
    }
    check_model("models/lenet5-mnist.onnx", 0.3, 400e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_plan_cryptonets),
        cmocka_unit_test(test_nn_plan_lenet5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
