/* SPDX-License-Identifier: MIT
 * Gradients of every layer against finite differences, and results that depend
 * neither on the threads nor on the instruction set.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "nn/train/backprop.h"

#define BATCH ((size_t)13)

static sotto_stream test_stream(uint64_t object)
{
    sotto_seed seed;
    sotto_stream stream;
    sotto_seed_from_text(&seed, "gradient tests");
    sotto_prf(&seed, &seed, SOTTO_LABEL_TEST, object, 0, 0, 0);
    sotto_stream_init(&stream, &seed);
    return stream;
}

/* Uniform in [-1, 1]. */
static float draw(sotto_stream *stream)
{
    return (float)((double)(sotto_stream_u64(stream) >> 11) * 0x1p-52 - 1.0);
}

/* --- gradients ----------------------------------------------------------- */

static nn_net *new_net(const char *layers, size_t batch, sotto_pool *pool)
{
    static const char head[] = "train_images = none\n";
    const nn_image_shape shape = {2, 6, 7};
    nn_train_config *config = sotto_calloc(1, sizeof(*config));
    char text[1024];
    nn_net *net = NULL;
    sotto_seed seed;
    sotto_error err = {{0}};
    assert_true(strlen(head) + strlen(layers) < sizeof(text));
    strcpy(text, head);
    strcat(text, layers);
    if (nn_train_config_parse(config, text, strlen(text), "net", &err) !=
        SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    config->batch = batch;
    if (nn_net_new(&net, config, shape, pool, &err) != SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    sotto_free(config);
    sotto_seed_from_text(&seed, "weights");
    nn_net_init(net, &seed);
    /* no parameter at a special value such as 0 or 1 */
    sotto_stream stream = test_stream(1);
    for (size_t i = 0; i < nn_net_n_params(net); i++) {
        nn_net_params(net)[i] += 0.1f * draw(&stream);
    }
    for (size_t i = 0; i < batch; i++) {
        for (size_t k = 0; k < nn_net_inputs(net); k++) {
            nn_net_input(net, i)[k] = draw(&stream);
        }
    }
    return net;
}

static double mean_loss(nn_net *net, size_t n, double smoothing)
{
    uint8_t labels[BATCH];
    nn_net_score score;
    for (size_t i = 0; i < n; i++) {
        labels[i] = (uint8_t)(i % nn_net_outputs(net));
    }
    assert_int_equal(nn_net_forward(net, n, NN_NET_TRAIN), SOTTO_OK);
    assert_int_equal(nn_net_loss(net, &score, labels, n, smoothing), SOTTO_OK);
    return score.loss / (double)n;
}

/* Slope along parameter i, exact to fourth order in the step. */
static double slope(nn_net *net, size_t i, size_t n, double smoothing,
                    float step)
{
    float *w = nn_net_params(net) + i;
    const float kept = *w;
    double difference[2];
    for (int k = 0; k < 2; k++) {
        *w = kept + (float)(k + 1) * step;
        difference[k] = mean_loss(net, n, smoothing);
        *w = kept - (float)(k + 1) * step;
        difference[k] -= mean_loss(net, n, smoothing);
        *w = kept;
    }
    return (8.0 * difference[0] - difference[1]) / (12.0 * (double)step);
}

/* Every block of parameters: |gradient - slope| <= tolerance·|slope| in the
 * Euclidean norm, with room for the rounding of float losses. */
static void check_gradient(const char *layers, size_t n, double smoothing,
                           double tolerance)
{
    /* layers with kinks: a small step meets few of them */
    const bool kinks = tolerance > 5e-3;
    const float step = kinks ? 0x1p-11f : 0x1p-7f;
    const double noise = kinks ? 2e-4 : 2e-5;
    nn_net *net = new_net(layers, BATCH, NULL);
    const size_t n_params = nn_net_n_params(net);
    float *gradient = sotto_calloc(n_params, sizeof(float));
    size_t n_blocks;
    const nn_param_block *blocks = nn_net_blocks(net, &n_blocks);
    size_t covered = 0;

    (void)mean_loss(net, n, smoothing);
    /* twice: nothing of an earlier pass may stay */
    assert_int_equal(nn_net_backward(net, n), SOTTO_OK);
    assert_int_equal(nn_net_backward(net, n), SOTTO_OK);
    for (size_t s = 0; s < NN_NET_SLICES; s++) {
        for (size_t i = 0; i < n_params; i++) {
            gradient[i] += nn_net_gradient(net, s)[i];
        }
    }
    for (size_t b = 0; b < n_blocks; b++) {
        double wrong = 0.0;
        double size = 0.0;
        for (size_t i = blocks[b].at; i < blocks[b].at + blocks[b].count; i++) {
            const double want = slope(net, i, n, smoothing, step);
            wrong += pow((double)gradient[i] - want, 2.0);
            size += want * want;
        }
        covered += blocks[b].count;
        if (sqrt(wrong) >
            tolerance * sqrt(size) + noise * sqrt((double)blocks[b].count)) {
            fail_msg("%s block %zu: off by %g of %g", layers, b, sqrt(wrong),
                     sqrt(size));
        }
    }
    assert_int_equal(covered, n_params);
    sotto_free(gradient);
    nn_net_free(net);
}

/* 13 images fill all slices, 5 leave some of them empty. */
static void check_gradients(const char *layers, double tolerance)
{
    check_gradient(layers, BATCH, 0.0, tolerance);
    check_gradient(layers, 5, 0.0, tolerance);
}

#define TAIL "layer = flatten\nlayer = dense units=4\n"
#define CONV "layer = conv maps=3 kernel=3,2 stride=2,1 pads=1,0,2,1\n"

static void test_gradient_dense(void **state)
{
    (void)state;
    check_gradients("layer = flatten\nlayer = dense units=5\n"
                    "layer = dense units=4 bias=0\nlayer = dense units=3\n",
                    1e-3);
}

static void test_gradient_loss_with_smoothing(void **state)
{
    (void)state;
    check_gradient(TAIL, BATCH, 0.2, 1e-3);
}

static void test_gradient_conv(void **state)
{
    (void)state;
    check_gradients(CONV "layer = conv maps=2 kernel=2 bias=0\n" TAIL, 1e-3);
    /* windows that lie in the padding alone, and rows never read */
    check_gradients("layer = conv maps=2 kernel=2 stride=3 pads=2,2,2,2\n"
                    "layer = conv maps=2 kernel=1 stride=2\n" TAIL,
                    1e-3);
}

static void test_gradient_relu(void **state)
{
    (void)state;
    check_gradients(CONV "layer = relu\n" TAIL, 2e-2); /* kinks */
}

static void test_gradient_square(void **state)
{
    (void)state;
    check_gradients(CONV "layer = square\n" TAIL, 1e-3);
}

static void test_gradient_quadratic(void **state)
{
    (void)state;
    check_gradients(CONV "layer = quadratic a=0.3 b=0.5 c=0.1\n" TAIL, 1e-3);
    check_gradients(CONV "layer = quadratic a=0.3 per=channel\n" TAIL, 1e-3);
    check_gradients(CONV "layer = quadratic a=0.3 per=element\n" TAIL, 1e-3);
    check_gradients("layer = flatten\nlayer = dense units=4\n"
                    "layer = quadratic a=0.3 per=element\n",
                    1e-3);
}

static void test_gradient_batch_norm(void **state)
{
    (void)state;
    check_gradients(CONV "layer = batch_norm\nlayer = square\n" TAIL, 2e-3);
    check_gradients("layer = batch_norm\n" CONV "layer = batch_norm\n"
                    "layer = batch_norm\n" TAIL,
                    2e-3);
    check_gradients(TAIL "layer = batch_norm\n", 2e-3);
}

static void test_gradient_pools(void **state)
{
    (void)state;
    check_gradients(CONV "layer = avg_pool kernel=2\n" TAIL, 1e-3);
    check_gradients(CONV "layer = avg_pool kernel=3,2 stride=1\n" TAIL, 1e-3);
    check_gradients(CONV "layer = max_pool kernel=2\n" TAIL, 2e-2);
    check_gradients(CONV "layer = max_pool kernel=2 stride=1\n" TAIL, 2e-2);
}

static void test_gradient_global_pool(void **state)
{
    (void)state;
    check_gradients("layer = conv maps=3 kernel=3 pads=1\nlayer = square\n"
                    "layer = avg_pool kernel=6,7\n" TAIL,
                    1e-3);
}

/* A block of a residual network whose shortcut halves the picture. */
#define RESIDUAL                                                               \
    "layer = conv maps=2 kernel=3 pads=1\nlayer = square name=a\n"             \
    "layer = conv maps=2 kernel=3 pads=1\nlayer = batch_norm\n"                \
    "layer = add with=a\nlayer = quadratic a=0.2 name=b\n"                     \
    "layer = conv maps=5 kernel=3 stride=2 pads=1\n"                           \
    "layer = batch_norm name=body\n"

static void test_gradient_residual(void **state)
{
    (void)state;
    check_gradients(RESIDUAL "layer = subsample maps=5 from=b\n"
                             "layer = add with=body\n" TAIL,
                    2e-3);
    check_gradients(RESIDUAL "layer = conv maps=5 kernel=1 stride=2 from=b\n"
                             "layer = batch_norm\nlayer = add with=body\n" TAIL,
                    2e-3);
}

/* Values that three layers read, twice by one of them; sums of sums. */
static void test_gradient_shared_values(void **state)
{
    (void)state;
    check_gradients("layer = conv maps=2 kernel=3 name=a\n"
                    "layer = square name=b\nlayer = add with=a name=c\n"
                    "layer = add with=c\nlayer = add with=b name=d\n"
                    "layer = add from=a with=a\nlayer = add with=d\n" TAIL,
                    1e-3);
    check_gradients("layer = flatten name=x\nlayer = dense units=3 name=a\n"
                    "layer = square\nlayer = add with=a name=s\n"
                    "layer = dense units=3 from=x name=d\n"
                    "layer = square\nlayer = add with=d name=e\n"
                    "layer = dense units=3\n"
                    "layer = add with=e\nlayer = add with=s\n",
                    1e-3);
}

/* --- other properties ------------------------------------------------------
 */

#define WHOLE                                                                  \
    CONV "layer = batch_norm\nlayer = quadratic a=0.2 per=channel\n"           \
         "layer = max_pool kernel=2\nlayer = flatten\nlayer = dense units=6\n" \
         "layer = batch_norm\nlayer = relu\nlayer = dense units=4\n"

#define RESIDUAL_WHOLE                                                         \
    RESIDUAL "layer = subsample maps=5 from=b\nlayer = add with=body\n"        \
             "layer = relu\nlayer = avg_pool kernel=3,2 stride=1\n" TAIL

/* The gradients of all slices after a pass over one minibatch. */
static float *gradients_of(const char *layers, sotto_pool *pool, size_t *n)
{
    nn_net *net = new_net(layers, BATCH, pool);
    *n = NN_NET_SLICES * nn_net_n_params(net);
    float *copy = sotto_calloc(*n, sizeof(float));
    (void)mean_loss(net, BATCH, 0.0);
    assert_int_equal(nn_net_backward(net, BATCH), SOTTO_OK);
    memcpy(copy, nn_net_gradient(net, 0), *n * sizeof(float));
    nn_net_free(net);
    return copy;
}

static void test_backprop_equal_for_all_threads(void **state)
{
    static const char *const nets[] = {WHOLE, RESIDUAL_WHOLE};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        size_t n;
        float *want = gradients_of(nets[k], NULL, &n);
        for (int threads = 2; threads <= 7; threads += 5) {
            sotto_pool *pool = sotto_pool_new(threads);
            float *got = gradients_of(nets[k], pool, &n);
            assert_memory_equal(got, want, n * sizeof(float));
            sotto_free(got);
            sotto_pool_free(pool);
        }
        sotto_free(want);
    }
}

static void test_backprop_equal_for_all_backends(void **state)
{
    static const char *const nets[] = {WHOLE, RESIDUAL_WHOLE};
    const char *given = getenv("SOTTO_BACKEND");
    char *kept = given != NULL ? strdup(given) : NULL;
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        size_t n;
        assert_int_equal(setenv("SOTTO_BACKEND", "portable", 1), 0);
        float *want = gradients_of(nets[k], NULL, &n);
        assert_int_equal(unsetenv("SOTTO_BACKEND"), 0);
        float *got = gradients_of(nets[k], NULL, &n);
        assert_memory_equal(got, want, n * sizeof(float));
        sotto_free(got);
        sotto_free(want);
    }
    if (kept != NULL) {
        assert_int_equal(setenv("SOTTO_BACKEND", kept, 1), 0);
    }
    free(kept);
}

static void keep_input(void *arg, size_t i)
{
    uint8_t *filled = arg;
    filled[i]++;
}

/* One call instead of four gives the same bits. */
static void test_learn_equals_its_steps(void **state)
{
    static const char *const nets[] = {WHOLE, RESIDUAL_WHOLE, TAIL,
                                       TAIL "layer = batch_norm\n"};
    uint8_t labels[BATCH];
    (void)state;
    for (size_t i = 0; i < BATCH; i++) {
        labels[i] = (uint8_t)(i % 4);
    }
    for (size_t k = 0; k < 4; k++) {
        size_t n;
        uint8_t filled[BATCH] = {0};
        sotto_pool *pool = sotto_pool_new(2);
        float *want = gradients_of(nets[k], pool, &n);
        nn_net *net = new_net(nets[k], BATCH, pool);
        nn_net_score score;
        const nn_net_batch batch = {
            .n = BATCH, .labels = labels, .fill = keep_input, .arg = filled};
        assert_int_equal(nn_net_learn(net, &score, &batch), SOTTO_OK);
        assert_memory_equal(nn_net_gradient(net, 0), want, n * sizeof(float));
        for (size_t i = 0; i < BATCH; i++) {
            assert_int_equal(filled[i], 1);
        }
        nn_net_free(net);
        sotto_free(want);
        sotto_pool_free(pool);
    }
}

/* One convolution of known size: 2 operations · 3 passes, less one for what
 * nobody asks the gradient of. */
static void test_net_counts_operations(void **state)
{
    nn_net *net = new_net("layer = conv maps=3 kernel=3\n"
                          "layer = flatten\nlayer = dense units=4\n",
                          1, NULL);
    const double conv = 3 * 2 * 9 * 4 * 5;
    const double dense = 4 * 60;
    (void)state;
    assert_true(nn_net_operations(net) == 4 * conv + 6 * dense);
    assert_true(nn_net_peak(net) > 1e8);
    nn_net_free(net);
}

/* With statistics that have settled on one minibatch, evaluation agrees with
 * training; and it changes no statistics. */
static void test_batch_norm_running_statistics(void **state)
{
    nn_net *net =
        new_net(CONV "layer = batch_norm momentum=1\n" TAIL, BATCH, NULL);
    float train[4], kept[6];
    (void)state;
    assert_int_equal(nn_net_n_state(net), 6);
    (void)mean_loss(net, BATCH, 0.0);
    memcpy(train, nn_net_scores(net, 3), sizeof(train));
    /* the running variance is the unbiased one */
    const float n = (float)(BATCH * 4 * 7);
    for (size_t c = 0; c < 3; c++) {
        nn_net_state(net)[3 + c] *= (n - 1.0f) / n;
    }
    memcpy(kept, nn_net_state(net), sizeof(kept));
    assert_int_equal(nn_net_forward(net, BATCH, NN_NET_EVAL), SOTTO_OK);
    for (size_t k = 0; k < 4; k++) {
        assert_true(fabsf(nn_net_scores(net, 3)[k] - train[k]) < 1e-4f);
    }
    assert_memory_equal(nn_net_state(net), kept, sizeof(kept));
    nn_net_free(net);
}

static void test_net_init_by_seed_and_layer(void **state)
{
    nn_net *net = new_net(TAIL, 1, NULL);
    sotto_seed one, two;
    float first[8];
    double sum = 0.0;
    double squares = 0.0;
    (void)state;
    sotto_seed_from_text(&one, "1");
    sotto_seed_from_text(&two, "2");
    nn_net_init(net, &one);
    memcpy(first, nn_net_params(net), sizeof(first));
    nn_net_init(net, &two);
    assert_memory_not_equal(first, nn_net_params(net), sizeof(first));
    nn_net_init(net, &one);
    assert_memory_equal(first, nn_net_params(net), sizeof(first));
    for (size_t i = 0; i < 4 * 84; i++) {
        const double w = (double)nn_net_params(net)[i];
        sum += w;
        squares += w * w;
    }
    assert_true(fabs(sum / 336.0) < 0.02);
    assert_true(fabs(squares / 336.0 * 84.0 - 1.0) < 0.2);
    assert_true(nn_net_params(net)[336] == 0.0f);
    nn_net_free(net);
}

static void test_net_refuses_shapes(void **state)
{
    static const struct {
        const char *layers, *word;
    } cases[] = {
        {"layer = dense units=3\n", "flatten"},
        {"layer = flatten\nlayer = conv maps=1 kernel=1\n", "picture"},
        {"layer = flatten\nlayer = avg_pool kernel=1\n", "picture"},
        {"layer = conv maps=1 kernel=9\n" TAIL, "kernel"},
        {"layer = max_pool kernel=7,1\n" TAIL, "kernel"},
        {"layer = conv maps=1 kernel=1\n", "vector"},
        {"layer = conv maps=65536 kernel=1 pads=1000,1000,1000,1000\n" TAIL,
         "too large"},
        {"layer = flatten\nlayer = dense units=1000000\n"
         "layer = dense units=1000000\n",
         "too large"},
        {"layer = conv maps=3 kernel=1 name=a\nlayer = conv maps=2 kernel=1\n"
         "layer = add with=a\n" TAIL,
         "same shape"},
        {"layer = conv maps=3 kernel=1 name=a\nlayer = square\n"
         "layer = square from=a\n" TAIL,
         "reads its value"},
        {"layer = conv maps=3 kernel=1 name=a\nlayer = flatten\n"
         "layer = dense units=3 name=b\nlayer = flatten from=a\n"
         "layer = dense units=3\nlayer = add with=b\n",
         "flatten only"},
        {"layer = subsample maps=1\n" TAIL, "more channels"},
    };
    const nn_image_shape shape = {2, 6, 7};
    nn_train_config *config = sotto_calloc(1, sizeof(*config));
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512] = "train_images = none\n";
        nn_net *net = NULL;
        sotto_error err = {{0}};
        strcat(text, cases[i].layers);
        assert_int_equal(
            nn_train_config_parse(config, text, strlen(text), "net", &err),
            SOTTO_OK);
        assert_int_not_equal(nn_net_new(&net, config, shape, NULL, &err),
                             SOTTO_OK);
        assert_null(net);
        if (strstr(err.text, cases[i].word) == NULL ||
            strstr(err.text, "line ") == NULL) {
            fail_msg("case %zu: '%s'", i, err.text);
        }
    }
    sotto_free(config);
}

static void test_config_refuses_links(void **state)
{
    static const struct {
        const char *layers, *word;
    } cases[] = {
        {"layer = relu\nlayer = add\n", "with="},
        {"layer = relu name=a\nlayer = add with=b\n", "no layer above"},
        {"layer = relu from=a name=a\n", "no layer above"},
        {"layer = relu name=a\nlayer = relu name=a\n", "two layers"},
        {"layer = relu name=abcdefghijklmnopqrstuvwxyz0123456\n", "expected 1"},
        {"layer = relu name=a\nlayer = relu with=a\n", "with"},
        {"layer = subsample\n", "maps="},
    };
    nn_train_config *config = sotto_calloc(1, sizeof(*config));
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512] = "train_images = none\n";
        sotto_error err = {{0}};
        strcat(text, cases[i].layers);
        assert_int_equal(
            nn_train_config_parse(config, text, strlen(text), "net", &err),
            SOTTO_ERR_FORMAT);
        if (strstr(err.text, cases[i].word) == NULL) {
            fail_msg("case %zu: '%s'", i, err.text);
        }
    }
    sotto_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_dense),
        cmocka_unit_test(test_gradient_loss_with_smoothing),
        cmocka_unit_test(test_gradient_conv),
        cmocka_unit_test(test_gradient_relu),
        cmocka_unit_test(test_gradient_square),
        cmocka_unit_test(test_gradient_quadratic),
        cmocka_unit_test(test_gradient_batch_norm),
        cmocka_unit_test(test_gradient_pools),
        cmocka_unit_test(test_gradient_global_pool),
        cmocka_unit_test(test_gradient_residual),
        cmocka_unit_test(test_gradient_shared_values),
        cmocka_unit_test(test_backprop_equal_for_all_threads),
        cmocka_unit_test(test_backprop_equal_for_all_backends),
        cmocka_unit_test(test_learn_equals_its_steps),
        cmocka_unit_test(test_net_counts_operations),
        cmocka_unit_test(test_batch_norm_running_statistics),
        cmocka_unit_test(test_net_init_by_seed_and_layer),
        cmocka_unit_test(test_net_refuses_shapes),
        cmocka_unit_test(test_config_refuses_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
