/* SPDX-License-Identifier: MIT
 * Training configurations: what is accepted, what is refused and where.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "nn/train/config.h"

#define HEAD "train_images = a b.idx\nlayer = flatten\nlayer = dense units=2\n"

static sotto_status parse(nn_train_config *config, const char *text,
                          sotto_error *err)
{
    return nn_train_config_parse(config, text, strlen(text), "x.train", err);
}

static nn_train_config *new_config(void)
{
    nn_train_config *config = sotto_calloc(1, sizeof(*config));
    assert_non_null(config);
    return config;
}

static void test_config_reads_every_key(void **state)
{
    static const char text[] =
        "# a comment\n\n"
        "name = my net\r\n"
        "  seed=17  \n"
        "train_images = one file.idx\n"
        "train_images = two.idx\n"
        "train_labels = labels\n"
        "train_count = 100\n"
        "validation = 10\n"
        "mean = 0.5,0.25,0.125\n"
        "std = 1,2,4\n"
        "shift = 2\n"
        "epochs = 3\n"
        "batch = 16\n"
        "optimiser = adam beta1=0.8 beta2=0.99 epsilon=1e-6\n"
        "learning_rate = 0.5\n"
        "schedule = step every=2 factor=0.25 warmup=0.5\n"
        "weight_decay = 1e-4\n"
        "label_smoothing = 0.1\n"
        "checkpoint = c.ck\n"
        "layer = conv maps=5 kernel=5,3 stride=2 pads=1,2,3,4 bias=0\n"
        "layer = batch_norm momentum=0.5 epsilon=1e-3\n"
        "layer = quadratic a=0.25 b=2 c=-1 per=channel rate=0.5\n"
        "layer = avg_pool kernel=2\n"
        "layer = max_pool kernel=3 stride=1\n"
        "layer = relu\n"
        "layer = square\n"
        "layer = flatten\n"
        "layer =  dense   units=7 \n";
    nn_train_config *c = new_config();
    sotto_error err = {{0}};
    (void)state;
    assert_int_equal(parse(c, text, &err), SOTTO_OK);
    assert_string_equal(c->name, "my net");
    assert_string_equal(c->seed, "17");
    assert_int_equal(c->n_train_images, 2);
    assert_string_equal(c->train_images[0], "one file.idx");
    assert_string_equal(c->train_labels, "labels");
    assert_int_equal(c->train_count, 100);
    assert_int_equal(c->validation, 10);
    assert_int_equal(c->n_mean, 3);
    assert_true(c->mean[2] == 0.125f && c->std[2] == 4.0f);
    assert_int_equal(c->shift, 2);
    assert_int_equal(c->epochs, 3);
    assert_int_equal(c->batch, 16);
    assert_int_equal(c->optimiser, NN_ADAM);
    assert_true(c->beta[0] == 0.8 && c->beta[1] == 0.99);
    assert_true(c->epsilon == 1e-6 && c->learning_rate == 0.5);
    assert_int_equal(c->schedule, NN_SCHEDULE_STEP);
    assert_true(c->step_every == 2 && c->step_factor == 0.25);
    assert_true(c->warmup == 0.5 && c->weight_decay == 1e-4);
    assert_true(c->label_smoothing == 0.1);
    assert_string_equal(c->checkpoint, "c.ck");
    assert_int_equal(c->n_layers, 9);
    const nn_layer_config *conv = &c->layers[0];
    assert_int_equal(conv->kind, NN_LAYER_CONV);
    assert_true(conv->maps == 5 && conv->kernel[0] == 5 &&
                conv->kernel[1] == 3 && conv->stride[1] == 2 && !conv->bias);
    assert_true(conv->pad[0] == 1 && conv->pad[1] == 2 && conv->pad[2] == 3 &&
                conv->pad[3] == 4 && conv->line == 21);
    assert_true(c->layers[1].momentum == 0.5 && c->layers[1].epsilon == 1e-3);
    assert_true(c->layers[2].coef[0] == 0.25 && c->layers[2].coef[1] == 2.0 &&
                c->layers[2].coef[2] == -1.0 && c->layers[2].rate == 0.5 &&
                c->layers[2].per == NN_PER_CHANNEL);
    assert_true(c->layers[3].stride[0] == 2); /* the kernel */
    assert_true(c->layers[4].stride[0] == 1 && c->layers[4].kernel[1] == 3);
    assert_true(c->layers[8].units == 7 && c->layers[8].bias);
    sotto_free(c);
}

/* Each text is refused; the message names the line and holds the word. */
static void test_config_refuses(void **state)
{
    static const struct {
        const char *text, *where, *word;
    } cases[] = {
        {HEAD "unknown = 1\n", "x.train:4:", "unknown"},
        {HEAD "epochs\n", "x.train:4:", "key = value"},
        {HEAD "epochs =\n", "x.train:4:", "no value"},
        {HEAD "epochs = 1\nepochs = 2\n", "x.train:5:", "twice"},
        {HEAD "epochs = many\n", "x.train:4:", "many"},
        {HEAD "epochs = 1.5\n", "x.train:4:", "whole"},
        {HEAD "epochs = 0\n", "x.train:4:", "range"},
        {HEAD "epochs = 1e300\n", "x.train:4:", "range"},
        {HEAD "learning_rate = nan\n", "x.train:4:", "nan"},
        {HEAD "learning_rate = -1\n", "x.train:4:", "range"},
        {HEAD "batch = 99999999\n", "x.train:4:", "range"},
        {HEAD "optimiser = rms\n", "x.train:4:", "rms"},
        {HEAD "optimiser = sgd beta1=0.5\n", "x.train:4:", "beta1"},
        {HEAD "optimiser = sgd momentum\n", "x.train:4:", "name=value"},
        {HEAD "schedule = step\n", "x.train:4:", "every"},
        {HEAD "schedule = linear\n", "x.train:4:", "linear"},
        {HEAD "layer = convolution\n", "x.train:4:", "convolution"},
        {HEAD "layer = conv maps=3\n", "x.train:4:", "kernel"},
        {HEAD "layer = conv kernel=3\n", "x.train:4:", "maps"},
        {HEAD "layer = conv maps=3 kernel=3 pad=1\n", "x.train:4:", "pad"},
        {HEAD "layer = conv maps=3 kernel=3 kernel=3\n", ":4:", "kernel"},
        {HEAD "layer = conv maps=3 kernel=3,3,3\n", ":4:", "kernel"},
        {HEAD "layer = conv maps=3 kernel=3 pads=1,1\n", ":4:", "pads"},
        {HEAD "layer = conv maps=3 kernel=2.5\n", ":4:", "whole"},
        {HEAD "layer = conv maps=3 kernel=3 stride=0\n", ":4:", "stride"},
        {HEAD "layer = dense\n", "x.train:4:", "units"},
        {HEAD "layer = relu slope=1\n", "x.train:4:", "slope"},
        {HEAD "layer = quadratic per=image\n", "x.train:4:", "image"},
        {HEAD "mean = 0.5\n", "x.train:", "mean and std"},
        {HEAD "mean = 0.5,0.5\nstd = 1\n", "x.train:5:", "mean and std"},
        {HEAD "std = 0\nmean = 0\n", "x.train:4:", "range"},
        {"layer = flatten\n", "x.train:", "train_images"},
        {"train_images = a\n", "x.train:", "no layer"},
    };
    nn_train_config *c = new_config();
    nn_train_config *zero = new_config();
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sotto_error err = {{0}};
        const sotto_status status = parse(c, cases[i].text, &err);
        if (status == SOTTO_OK || strstr(err.text, cases[i].where) == NULL ||
            strstr(err.text, cases[i].word) == NULL) {
            fail_msg("case %zu: status %d, message '%s'", i, status, err.text);
        }
        assert_memory_equal(c, zero, sizeof(*c));
    }
    sotto_free(c);
    sotto_free(zero);
}

static void test_config_refuses_hostile_bytes(void **state)
{
    nn_train_config *c = new_config();
    sotto_error err = {{0}};
    char *text = sotto_calloc(NN_CONFIG_MAX_BYTES + 1, 1);
    (void)state;
    assert_non_null(text);

    /* a line without end, a path without end, too many layers, zero bytes */
    memset(text, '=', NN_CONFIG_MAX_BYTES + 1);
    assert_int_not_equal(
        nn_train_config_parse(c, text, NN_CONFIG_MAX_BYTES + 1, "x", &err),
        SOTTO_OK);
    assert_int_not_equal(
        nn_train_config_parse(c, text, NN_CONFIG_MAX_BYTES, "x", &err),
        SOTTO_OK);
    memset(text, 'a', 5000);
    memcpy(text, "name = ", 7);
    text[5000] = '\0';
    assert_int_equal(parse(c, text, &err), SOTTO_ERR_FORMAT);
    text[0] = '\0';
    for (int i = 0; i <= NN_CONFIG_MAX_LAYERS; i++) {
        strcat(text, "layer = relu\n");
    }
    assert_int_equal(parse(c, text, &err), SOTTO_ERR_FORMAT);
    assert_non_null(strstr(err.text, "256"));
    assert_int_equal(
        nn_train_config_parse(c, HEAD "\0", sizeof(HEAD), "x", &err),
        SOTTO_ERR_FORMAT);
    sotto_free(text);
    sotto_free(c);
}

/* The digest changes with what trains, and with nothing else. */
static void test_config_digest(void **state)
{
    static const char *const same[] = {"# hello\n", "name = other\n",
                                       "checkpoint = elsewhere\n",
                                       "train_labels = elsewhere\n"};
    static const char *const other[] = {"seed = 2\n",
                                        "epochs = 11\n",
                                        "batch = 63\n",
                                        "shift = 1\n",
                                        "validation = 1\n",
                                        "train_count = 5\n",
                                        "weight_decay = 1\n",
                                        "optimiser = adam\n",
                                        "schedule = constant\n",
                                        "learning_rate = 1\n",
                                        "mean = 0\nstd = 1\n",
                                        "layer = relu\n",
                                        "label_smoothing = 0.1\n"};
    nn_train_config *c = new_config();
    sotto_error err = {{0}};
    uint8_t want[SOTTO_HASH_BYTES], got[SOTTO_HASH_BYTES];
    char text[256];
    (void)state;
    assert_int_equal(parse(c, HEAD, &err), SOTTO_OK);
    nn_train_config_digest(want, c);
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        (void)snprintf(text, sizeof(text), "%s%s", HEAD, same[i]);
        assert_int_equal(parse(c, text, &err), SOTTO_OK);
        nn_train_config_digest(got, c);
        assert_memory_equal(got, want, sizeof(got));
    }
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        (void)snprintf(text, sizeof(text), "%s%s", HEAD, other[i]);
        assert_int_equal(parse(c, text, &err), SOTTO_OK);
        nn_train_config_digest(got, c);
        assert_memory_not_equal(got, want, sizeof(got));
    }
    sotto_free(c);
}

static void test_config_load_missing_file(void **state)
{
    nn_train_config *c = new_config();
    sotto_error err = {{0}};
    (void)state;
    assert_int_equal(nn_train_config_load(c, "/nonexistent/x.train", &err),
                     SOTTO_ERR_IO);
    assert_non_null(strstr(err.text, "x.train"));
    sotto_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_reads_every_key),
        cmocka_unit_test(test_config_refuses),
        cmocka_unit_test(test_config_refuses_hostile_bytes),
        cmocka_unit_test(test_config_digest),
        cmocka_unit_test(test_config_load_missing_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
