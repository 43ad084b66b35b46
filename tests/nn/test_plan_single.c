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

/* ---- Text ---------------------------------------------------------------- */

/* A small network with a pool, a fold and a residual sum. */
static lab small_lab(void)
{
    lab l = {0};
    test_random random = {7};
    const nn_shape image = {3, {2, 9, 7}};
    const nn_shape flat = {1, {3 * 4 * 3}};
    int x = 0;
    CHECK(nn_graph_new(&l.graph, "image", &image, err));
    float *w = test_random_floats(&random, 3 * 2 * 9, -0.4, 0.4);
    const nn_conv conv = {
        .out_channels = 3,
        .window = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {0, 0, 0, 0}},
        .weights = w};
    CHECK(nn_graph_conv(l.graph, &x, "conv", x, &conv, err));
    nn_graph_set_range(l.graph, x, -4, 4);
    CHECK(nn_graph_unary(l.graph, &x, "square", x, NN_OP_SQUARE, err));
    CHECK(nn_graph_reshape(l.graph, &x, "flat", x, &flat, err));
    float *d = test_random_floats(&random, 36 * 5, -0.3, 0.3);
    CHECK(nn_graph_dense(l.graph, &x, "dense", x, 5, d, NULL, err));
    nn_graph_set_range(l.graph, x, -8, 8);
    CHECK(nn_graph_unary(l.graph, &x, "square2", x, NN_OP_SQUARE, err));
    CHECK(nn_graph_dense(l.graph, &x, "scores", x, 3, d, NULL, err));
    nn_graph_set_range(l.graph, x, -16, 16);
    CHECK(nn_network_new(&l.network, l.graph, NULL, err));
    free(w);
    free(d);
    return l;
}

static const nn_plan_options single = {.packing = NN_PACKING_SINGLE};

static void test_nn_plan_text_comes_back(void **state)
{
    (void)state;
    lab l = small_lab();
    nn_plan *read;
    char *text, *again;
    size_t len, again_len;
    plan_lab(&l, &single);
    CHECK(nn_plan_write(&text, &len, l.plan, err));
    CHECK(nn_plan_read(&read, text, len, false, err));
    CHECK(nn_plan_verify(read, l.network, err));
    CHECK(nn_plan_write(&again, &again_len, read, err));
    assert_int_equal(len, again_len);
    assert_memory_equal(text, again, len);
    assert_int_equal(read->packing, NN_PACKING_SINGLE);
    assert_int_equal(read->n_inputs, l.plan->n_inputs);
    assert_int_equal(nn_plan_output_cts(read), nn_plan_output_cts(l.plan));
    assert_int_equal(nn_plan_slots(read), 1);
    assert_int_equal(nn_plan_batches(read, 9), 9);
    for (size_t k = 0; k <= (size_t)read->n_steps; k++) {
        assert_true(nn_layout_equal(nn_plan_layout(read, k),
                                    nn_plan_layout(l.plan, k)));
    }
    sotto_free(text);
    sotto_free(again);
    sotto_free(read);
    lab_free(&l);
}

/* Puts the right id under a text, whose last line is "id HEX". */
static void mend(char *text, size_t len)
{
    uint8_t id[SOTTO_HASH_BYTES];
    char hex[2 * SOTTO_HASH_BYTES + 1];
    const size_t at = len - 1 - 2 * SOTTO_HASH_BYTES;
    sotto_sha256_of(id, text, at - 3);
    sotto_hex(hex, id, sizeof id);
    memcpy(text + at, hex, 2 * SOTTO_HASH_BYTES);
}

/* Replaces word number `word` of a text; returns its length, 0 beyond the last
 * word before the id. */
static size_t replace(char *out, const char *text, size_t len, int word,
                      const char *by)
{
    const size_t end = len - 4 - 2 * SOTTO_HASH_BYTES;
    size_t at = 0;
    for (int i = 0; i < word && at < end; i++) {
        at += strcspn(text + at, " \n") + 1;
    }
    if (at >= end) {
        return 0;
    }
    const size_t old = strcspn(text + at, " \n");
    memcpy(out, text, at);
    memcpy(out + at, by, strlen(by));
    memcpy(out + at + strlen(by), text + at + old, len - at - old);
    const size_t made = len - old + strlen(by);
    mend(out, made);
    return made;
}

/* Every word replaced by others: refused when read, or when compared with the
 * model, or a plan all the same; never more than that. */
static void test_nn_plan_text_damaged(void **state)
{
    (void)state;
    static const char *const words[] = {"0",  "1",          "2",      "-1",
                                        "7",  "4294967296", "square", "nan",
                                        "-0", "1e300",      "0x1p-9", "65536"};
    lab l = small_lab();
    char *text;
    size_t len;
    int n_words = 0, refused = 0, mismatched = 0, accepted = 0;
    plan_lab(&l, &single);
    CHECK(nn_plan_write(&text, &len, l.plan, err));
    char *damaged = calloc(len + 64, 1);
    for (bool more = true; more; n_words++) {
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            sotto_error error;
            nn_plan *read = NULL;
            const size_t made = replace(damaged, text, len, n_words, words[i]);
            more = made > 0;
            if (!more) {
                break;
            }
            if (nn_plan_read(&read, damaged, made, false, &error) != SOTTO_OK) {
                assert_null(read);
                refused++;
            } else if (nn_plan_verify(read, l.network, &error) != SOTTO_OK) {
                mismatched++;
            } else {
                accepted++;
            }
            sotto_free(read);
        }
    }
    print_message("%d words: %d refused, %d of another model, %d accepted\n",
                  n_words, refused, mismatched, accepted);
    assert_true(mismatched > 50);
    assert_true(refused > 10 * accepted);
    free(damaged);
    sotto_free(text);
    lab_free(&l);
}

/* A changed plan must not pass for one of this network. */
#define REFUSED(change)                                                        \
    do {                                                                       \
        sotto_error error_;                                                    \
        *changed = *l.plan;                                                    \
        change;                                                                \
        assert_int_equal(nn_plan_verify(changed, l.network, &error_),          \
                         SOTTO_ERR_MISMATCH);                                  \
    } while (0)

static void test_nn_plan_verify_refuses_changes(void **state)
{
    (void)state;
    lab l = small_lab();
    plan_lab(&l, &single);
    nn_plan *changed = sotto_calloc(1, sizeof *changed);
    const int last = l.plan->n_steps - 1;
    CHECK(nn_plan_verify(l.plan, l.network, err));
    REFUSED(changed->n_inputs++);
    REFUSED(changed->n_outputs++);
    REFUSED(changed->input_shape.dim[0]++);
    REFUSED(changed->input_layout.n_cts++);
    REFUSED(changed->n_steps--);
    REFUSED(changed->n_keys--);
    REFUSED(changed->key[0].target.value += 2);
    REFUSED(changed->key[0].gadget++);
    REFUSED(changed->step[0].kind = NN_STEP_SQUARE);
    REFUSED(changed->step[0].n_elements--);
    REFUSED(changed->step[0].range *= 0x1p200);
    REFUSED(changed->step[0].scale *= 2);
    REFUSED(changed->step[1].scale *= 1.001);
    REFUSED(changed->step[last].level++);
    REFUSED(changed->step[0].slots.choice.fold /= 2);
    REFUSED(changed->step[0].slots.choice.split = 0);
    REFUSED(changed->step[0].slots.choice.pool[0] = 2);
    REFUSED(changed->step[0].slots.choice.layout.period *= 2);
    REFUSED(changed->step[1].slots.choice.layout.n_cts++);
    REFUSED(changed->step[1].slots.gadget = -1);
    REFUSED(changed->step[last].slots.gadget = -1);
    sotto_free(changed);
    lab_free(&l);
}

/* ---- Choices ------------------------------------------------------------- */

static void test_nn_plan_packing_by_images(void **state)
{
    (void)state;
    lab l = lab_of_model("models/mlp-mnist.onnx");
    nn_plan_options options = {.images = 1};
    plan_lab(&l, &options);
    assert_int_equal(l.plan->packing, NN_PACKING_SINGLE);
    const double one = l.plan->seconds;
    options.images = 4000;
    plan_lab(&l, &options);
    assert_int_equal(l.plan->packing, NN_PACKING_BATCH);
    options.images = 300;
    plan_lab(&l, &options);
    assert_int_equal(l.plan->packing, NN_PACKING_BATCH);
    assert_true(l.plan->seconds < 300 * one);
    options.packing = NN_PACKING_SINGLE;
    plan_lab(&l, &options);
    assert_int_equal(l.plan->packing, NN_PACKING_SINGLE);
    lab_free(&l);
}

static void test_nn_plan_key_memory(void **state)
{
    (void)state;
    lab l = lab_of_model("models/cryptonets-mnist.onnx");
    nn_plan_options options = single;
    nn_plan_bytes some, few;
    plan_lab(&l, &options);
    CHECK(nn_plan_sizes(&some, l.plan, err));
    const double seconds = l.plan->seconds;
    options.key_memory_bytes = 30000000;
    plan_lab(&l, &options);
    CHECK(nn_plan_sizes(&few, l.plan, err));
    assert_true(few.eval_key < some.eval_key);
    assert_true(few.eval_key < options.key_memory_bytes);
    assert_true(l.plan->seconds > seconds);
    CHECK(nn_plan_verify(l.plan, l.network, err));
    lab_free(&l);
}

static void test_nn_plan_refuses_too_little_key_memory(void **state)
{
    (void)state;
    lab l = small_lab();
    nn_plan *plan = NULL;
    sotto_error error;
    const nn_plan_options options = {.packing = NN_PACKING_SINGLE,
                                     .key_memory_bytes = 1000};
    assert_int_equal(nn_plan_make(&plan, l.network, &options, &error),
                     SOTTO_ERR_KEY);
    assert_null(plan);
    assert_non_null(strstr(error.text, "MiB"));
    lab_free(&l);
}

static void test_nn_plan_refuses_small_rings(void **state)
{
    (void)state;
    lab l = small_lab();
    nn_plan *plan = NULL;
    sotto_error error;
    const nn_plan_options options = {.packing = NN_PACKING_SINGLE,
                                     .log2_n = 11};
    assert_int_equal(nn_plan_make(&plan, l.network, &options, &error),
                     SOTTO_ERR_LEVEL);
    assert_null(plan);
    lab_free(&l);
}

/* The small network, in a ring where it needs several ciphertexts. */
static void test_nn_plan_small_network(void **state)
{
    (void)state;
    lab l = small_lab();
    test_random random = {99};
    float *images =
        test_random_floats(&random, N_IMAGES * l.network->n_inputs, 0, 1);
    for (int log2_n = 0; log2_n <= 10; log2_n += 10) {
        const nn_plan_options options = {.packing = NN_PACKING_SINGLE,
                                         .log2_n = log2_n,
                                         .allow_insecure = log2_n != 0,
                                         .security = 128};
        plan_lab(&l, &options);
        const result r = run_lab(&l, images, N_IMAGES);
        check_errors(&l, &r, "small");
    }
    free(images);
    lab_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_plan_text_comes_back),
        cmocka_unit_test(test_nn_plan_text_damaged),
        cmocka_unit_test(test_nn_plan_verify_refuses_changes),
        cmocka_unit_test(test_nn_plan_packing_by_images),
        cmocka_unit_test(test_nn_plan_key_memory),
        cmocka_unit_test(test_nn_plan_refuses_too_little_key_memory),
        cmocka_unit_test(test_nn_plan_refuses_small_rings),
        cmocka_unit_test(test_nn_plan_small_network),
        cmocka_unit_test(test_nn_plan_cryptonets),
        cmocka_unit_test(test_nn_plan_lenet5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
