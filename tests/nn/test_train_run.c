/* SPDX-License-Identifier: MIT
 * Training runs: learning, exact resumption, checkpoints, optimisers, export.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "nn/graph/plain.h"
#include "nn/graph/statistics.h"
#include "nn/train/trainer_internal.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"

#define N_IMAGES ((size_t)203) /* not a multiple of the batch */
#define SIDE ((size_t)6)

static const test_folder *folder;

/* Images whose class is the brighter one of three bands, with noise. */
static void write_data(void)
{
    static uint8_t images[16 + N_IMAGES * SIDE * SIDE];
    static uint8_t labels[8 + N_IMAGES];
    const uint8_t image_head[16] = {0, 0, 8, 3,    0, 0, 0, N_IMAGES,
                                    0, 0, 0, SIDE, 0, 0, 0, SIDE};
    const uint8_t label_head[8] = {0, 0, 8, 1, 0, 0, 0, N_IMAGES};
    sotto_seed seed;
    sotto_stream stream;
    sotto_seed_from_text(&seed, "bands");
    sotto_stream_init(&stream, &seed);
    memcpy(images, image_head, sizeof(image_head));
    memcpy(labels, label_head, sizeof(label_head));
    for (size_t i = 0; i < N_IMAGES; i++) {
        const size_t label = (size_t)(sotto_stream_u64(&stream) % 3);
        labels[8 + i] = (uint8_t)label;
        for (size_t p = 0; p < SIDE * SIDE; p++) {
            const uint64_t noise = sotto_stream_u64(&stream) % 128;
            const bool bright = p / SIDE / 2 == label;
            images[16 + i * SIDE * SIDE + p] =
                (uint8_t)(noise + (bright ? 100 : 0));
        }
    }
    folder_put(folder_file(folder, "images"), images, sizeof(images));
    folder_put(folder_file(folder, "labels"), labels, sizeof(labels));
}

static int setup(void **state)
{
    const int failed = folder_setup(state);
    if (!failed) {
        folder = *state;
        write_data();
    }
    return failed;
}

#define NET                                                                    \
    "layer = conv maps=2 kernel=3 stride=2 pads=1,0,0,1\nlayer = batch_norm\n" \
    "layer = quadratic a=0.2 rate=0.1 per=channel\nlayer = flatten\n"          \
    "layer = dense units=5\nlayer = batch_norm\nlayer = square\n"              \
    "layer = dense units=3\n"

/* Two blocks of a residual network, with either kind of shortcut. */
#define RESIDUAL                                                               \
    "layer = conv maps=2 kernel=3 pads=1 bias=0\nlayer = batch_norm\n"         \
    "layer = square name=a\nlayer = conv maps=2 kernel=3 pads=1\n"             \
    "layer = batch_norm\nlayer = add with=a\n"                                 \
    "layer = quadratic a=0.1 rate=0.1 name=b\n"                                \
    "layer = conv maps=5 kernel=3 stride=2 pads=1\n"                           \
    "layer = batch_norm name=c\nlayer = subsample maps=5 from=b\n"             \
    "layer = add with=c\nlayer = quadratic a=0.1 rate=0.1 name=d\n"            \
    "layer = conv maps=3 kernel=1 name=e\n"                                    \
    "layer = conv maps=3 kernel=1 from=d name=f\nlayer = batch_norm\n"         \
    "layer = add with=e\nlayer = add with=f\nlayer = avg_pool "                \
    "kernel=3\nlayer = flatten\n"

/* A configuration over the synthetic images; more lines come behind. */
static void make_config(nn_train_config *config, const char *more)
{
    char text[2048];
    sotto_error err = {{0}};
    (void)snprintf(text, sizeof(text),
                   "train_images = %s\ntrain_labels = %s\nvalidation = 40\n"
                   "epochs = 3\nbatch = 16\nshift = 1\nlearning_rate = 0.05\n"
                   "schedule = cosine warmup=0.5\nweight_decay = 1e-4\n"
                   "mean = 0.4\nstd = 0.3\n%s",
                   folder_file(folder, "images"), folder_file(folder, "labels"),
                   more);
    if (nn_train_config_parse(config, text, strlen(text), "test", &err) !=
        SOTTO_OK) {
        fail_msg("%s", err.text);
    }
}

static nn_train_config *new_config(const char *more, bool checkpoint)
{
    nn_train_config *config = sotto_calloc(1, sizeof(*config));
    assert_non_null(config);
    make_config(config, more);
    if (checkpoint) {
        (void)snprintf(config->checkpoint, sizeof(config->checkpoint), "%s",
                       folder_file(folder, "checkpoint"));
        (void)unlink(config->checkpoint);
    }
    return config;
}

static nn_trainer *new_trainer(const nn_train_config *config, sotto_pool *pool)
{
    nn_trainer *trainer = NULL;
    sotto_error err = {{0}};
    if (nn_trainer_new(&trainer, config, pool, &err) != SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    return trainer;
}

/* Copies the weights after an uninterrupted run on some threads. */
static float *train_through(const nn_train_config *config, int threads,
                            nn_train_summary *summary)
{
    sotto_pool *pool = sotto_pool_new(threads);
    nn_trainer *trainer = new_trainer(config, pool);
    sotto_error err = {{0}};
    if (nn_trainer_run(trainer, NULL, &err) != SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    *summary = nn_trainer_summary(trainer);
    float *params = sotto_calloc(summary->n_params, sizeof(float));
    memcpy(params, nn_trainer_params(trainer),
           summary->n_params * sizeof(float));
    nn_trainer_free(trainer);
    sotto_pool_free(pool);
    return params;
}

static void test_train_equal_for_all_threads(void **state)
{
    nn_train_config *config = new_config(NET, false);
    nn_train_summary summary;
    float *want = train_through(config, 1, &summary);
    const size_t len_bytes = summary.n_params * sizeof(float);
    (void)state;
    for (int threads = 2; threads <= 7; threads += 5) {
        float *got = train_through(config, threads, &summary);
        assert_memory_equal(got, want, len_bytes);
        sotto_free(got);
    }
    (void)snprintf(config->seed, sizeof(config->seed), "2");
    float *other = train_through(config, 1, &summary);
    assert_memory_not_equal(other, want, len_bytes);
    sotto_free(other);
    sotto_free(want);
    sotto_free(config);
}

/* Stops a run after a number of minibatches. */
typedef struct stopper {
    int left;
    volatile sig_atomic_t cancel;
} stopper;

static void count_down(void *arg, const nn_train_progress *progress)
{
    stopper *stop = arg;
    assert_true(progress->images_done <= progress->images);
    assert_true(progress->epoch >= 1 && progress->epoch <= progress->epochs);
    if (!progress->epoch_end && --stop->left == 0) {
        stop->cancel = 1;
    }
}

/* A run stopped every few minibatches, each piece in a new trainer with other
 * threads, ends with the weights of one that was never stopped. */
static void check_resume(const char *lines, int piece)
{
    nn_train_config *config = new_config(lines, true);
    nn_train_config *plain = new_config(lines, false);
    nn_train_summary through;
    float *want = train_through(plain, 1, &through);
    sotto_status status = SOTTO_ERR_CANCELLED;
    int pieces = 0;

    while (status == SOTTO_ERR_CANCELLED) {
        sotto_pool *pool = sotto_pool_new(1 + pieces % 3);
        nn_trainer *trainer = new_trainer(config, pool);
        stopper stop = {.left = piece, .cancel = 0};
        const nn_train_options options = {
            .progress = count_down, .arg = &stop, .cancel = &stop.cancel};
        bool resumed = false;
        sotto_error err = {{0}};
        assert_int_equal(nn_trainer_resume(trainer, &resumed, &err), SOTTO_OK);
        assert_int_equal(resumed, pieces > 0);
        status = nn_trainer_run(trainer, &options, &err);
        if (status == SOTTO_OK) {
            const nn_train_summary summary = nn_trainer_summary(trainer);
            assert_memory_equal(nn_trainer_params(trainer), want,
                                summary.n_params * sizeof(float));
            assert_int_equal(summary.epochs_done, 3);
            /* these depend on the running statistics as well */
            assert_int_equal(summary.chosen_epoch, through.chosen_epoch);
            assert_true(summary.validation_loss == through.validation_loss);
        }
        nn_trainer_free(trainer);
        sotto_pool_free(pool);
        assert_true(++pieces < 100);
    }
    assert_int_equal(status, SOTTO_OK);
    assert_true(pieces >= 3);
    sotto_free(want);
    sotto_free(config);
    sotto_free(plain);
}

static void test_train_resume_is_exact(void **state)
{
    (void)state;
    check_resume("optimiser = sgd momentum=0.9 nesterov=1\n" NET, 5);
    check_resume("optimiser = adam\n" NET, 4);
    check_resume(NET, 11); /* the length of an epoch */
    check_resume(RESIDUAL, 7);
}

/* The weights that are exported do not depend on interruptions either: the
 * best ones are in the checkpoint. */
static void test_train_resume_keeps_the_best(void **state)
{
    nn_train_config *config = new_config(NET, true);
    nn_trainer *one = new_trainer(config, NULL);
    nn_trainer *two = new_trainer(config, NULL);
    sotto_error err = {{0}};
    (void)state;
    assert_int_equal(nn_trainer_run(one, NULL, &err), SOTTO_OK);
    assert_int_equal(nn_trainer_resume(two, NULL, &err), SOTTO_OK);
    assert_int_equal(nn_trainer_run(two, NULL, &err), SOTTO_OK);
    const nn_train_summary a = nn_trainer_summary(one);
    const nn_train_summary b = nn_trainer_summary(two);
    assert_int_equal(a.chosen_epoch, b.chosen_epoch);
    assert_true(a.validation_loss == b.validation_loss);
    assert_true(a.validation_accuracy == b.validation_accuracy);
    nn_graph *graphs[2];
    assert_int_equal(nn_trainer_export(one, &graphs[0], &err), SOTTO_OK);
    assert_int_equal(nn_trainer_export(two, &graphs[1], &err), SOTTO_OK);
    for (int i = 0; i < graphs[0]->n_nodes; i++) {
        const nn_node *x = &graphs[0]->nodes[i];
        const nn_node *y = &graphs[1]->nodes[i];
        assert_int_equal(x->n_weights, y->n_weights);
        if (x->n_weights > 0) {
            assert_memory_equal(x->weights, y->weights,
                                x->n_weights * sizeof(float));
        }
    }
    nn_graph_free(graphs[0]);
    nn_graph_free(graphs[1]);
    nn_trainer_free(one);
    nn_trainer_free(two);
    sotto_free(config);
}

static void test_train_refuses_damaged_checkpoints(void **state)
{
    nn_train_config *config = new_config(NET, true);
    nn_trainer *trainer = new_trainer(config, NULL);
    const char *path = config->checkpoint;
    uint8_t *data = NULL;
    size_t len_bytes = 0;
    sotto_error err = {{0}};
    (void)state;
    assert_int_equal(nn_trainer_run(trainer, NULL, &err), SOTTO_OK);
    nn_trainer_free(trainer);
    assert_int_equal(
        sotto_file_read(&data, &len_bytes, path, (size_t)1 << 20, &err),
        SOTTO_OK);

    trainer = new_trainer(config, NULL);
    const size_t n_params = nn_trainer_summary(trainer).n_params;
    float *before = sotto_calloc(n_params, sizeof(float));
    memcpy(before, nn_trainer_params(trainer), n_params * sizeof(float));
    for (size_t i = 0; i < len_bytes; i += i < 140 ? 1 : 97) {
        folder_put(path, data, i); /* truncated */
        assert_int_equal(nn_trainer_resume(trainer, NULL, &err),
                         SOTTO_ERR_FORMAT);
        data[i] ^= 0x10; /* flipped */
        folder_put(path, data, len_bytes);
        const bool in_digest = i >= 8 && i < 40;
        assert_int_equal(nn_trainer_resume(trainer, NULL, &err),
                         in_digest ? SOTTO_ERR_MISMATCH : SOTTO_ERR_FORMAT);
        assert_non_null(strstr(err.text, "checkpoint"));
        data[i] ^= 0x10;
        assert_memory_equal(before, nn_trainer_params(trainer),
                            n_params * sizeof(float));
    }
    uint8_t *longer = sotto_calloc(len_bytes + 1, 1);
    memcpy(longer, data, len_bytes);
    folder_put(path, longer, len_bytes + 1);
    assert_int_equal(nn_trainer_resume(trainer, NULL, &err), SOTTO_ERR_FORMAT);
    sotto_free(longer);
    nn_trainer_free(trainer);

    /* another configuration does not take it */
    folder_put(path, data, len_bytes);
    config->weight_decay *= 2.0;
    trainer = new_trainer(config, NULL);
    assert_int_equal(nn_trainer_resume(trainer, NULL, &err),
                     SOTTO_ERR_MISMATCH);
    nn_trainer_free(trainer);
    sotto_free(before);
    sotto_free(data);
    sotto_free(config);
}

static void test_train_checkpoint_must_be_writable(void **state)
{
    nn_train_config *config = new_config(NET, false);
    stopper stop = {.left = -1, .cancel = 0};
    const nn_train_options options = {.progress = count_down, .arg = &stop};
    sotto_error err = {{0}};
    (void)state;
    strcpy(config->checkpoint, "/nonexistent/folder/checkpoint");
    nn_trainer *trainer = new_trainer(config, NULL);
    assert_int_equal(nn_trainer_run(trainer, &options, &err), SOTTO_ERR_IO);
    assert_int_equal(stop.left, -1); /* before the first minibatch */
    nn_trainer_free(trainer);
    sotto_free(config);
}

static void test_train_learns(void **state)
{
    nn_train_config *config = new_config("label_smoothing = 0.02\n" NET, false);
    sotto_error err = {{0}};
    (void)state;
    config->epochs = 12;
    config->shift = 0;
    nn_trainer *trainer = new_trainer(config, NULL);
    assert_int_equal(nn_trainer_run(trainer, NULL, &err), SOTTO_OK);
    const nn_train_summary summary = nn_trainer_summary(trainer);
    assert_int_equal(summary.n_train, N_IMAGES - 40);
    assert_int_equal(summary.n_validation, 40);
    assert_true(summary.validation_accuracy >= 0.9);
    assert_true(summary.chosen_epoch >= 1 && summary.chosen_epoch <= 12);
    nn_trainer_free(trainer);
    sotto_free(config);
}

static void test_train_stops_when_it_diverges(void **state)
{
    nn_train_config *config = new_config(
        "layer = conv maps=4 kernel=3\nlayer = square\nlayer = square\n"
        "layer = flatten\nlayer = dense units=3\n",
        false);
    sotto_error err = {{0}};
    (void)state;
    config->learning_rate = 900.0;
    nn_trainer *trainer = new_trainer(config, NULL);
    assert_int_equal(nn_trainer_run(trainer, NULL, &err), SOTTO_ERR_RANGE);
    assert_non_null(strstr(err.text, "learning_rate"));
    nn_trainer_free(trainer);
    sotto_free(config);
}

static void test_train_refuses_what_does_not_fit(void **state)
{
    nn_train_config *config = new_config(NET, false);
    nn_trainer *trainer = NULL;
    sotto_error err = {{0}};
    (void)state;
    config->validation = N_IMAGES;
    assert_int_equal(nn_trainer_new(&trainer, config, NULL, &err),
                     SOTTO_ERR_PARAM);
    assert_null(trainer);
    make_config(config, "layer = flatten\nlayer = dense units=2\n");
    assert_int_equal(nn_trainer_new(&trainer, config, NULL, &err),
                     SOTTO_ERR_SHAPE);
    assert_non_null(strstr(err.text, "2 scores"));
    make_config(config, NET);
    config->n_mean = 3;
    assert_int_equal(nn_trainer_new(&trainer, config, NULL, &err),
                     SOTTO_ERR_SHAPE);
    make_config(config, NET);
    strcpy(config->train_labels, "/nonexistent/labels");
    assert_int_equal(nn_trainer_new(&trainer, config, NULL, &err),
                     SOTTO_ERR_IO);
    assert_null(trainer);
    sotto_free(config);
}

/* --- what an epoch sees ------------------------------------------------------
 */

typedef struct watcher {
    nn_trainer *trainer;
    size_t epochs;
    uint32_t order[3][N_IMAGES];
    nn_shift shifts[3][N_IMAGES];
} watcher;

/* After the first minibatch of an epoch: its images are still in the net. */
static void watch(void *arg, const nn_train_progress *progress)
{
    watcher *w = arg;
    const nn_trainer *t = w->trainer;
    if (progress->epoch_end || progress->images_done != t->config.batch) {
        return;
    }
    memcpy(w->order[w->epochs], t->order, t->n_train * sizeof(uint32_t));
    memcpy(w->shifts[w->epochs], t->shifts, t->n_train * sizeof(nn_shift));
    w->epochs++;
    for (size_t i = 0; i < t->config.batch; i++) {
        const uint8_t *pixels = t->data.pixels + t->order[i] * SIDE * SIDE;
        for (size_t y = 0; y < SIDE; y++) {
            for (size_t x = 0; x < SIDE; x++) {
                const size_t from_y = y - (size_t)t->shifts[i].down;
                const size_t from_x = x - (size_t)t->shifts[i].right;
                const bool inside = from_y < SIDE && from_x < SIDE;
                const uint8_t v = inside ? pixels[from_y * SIDE + from_x] : 0;
                const float want = (nn_pixel_to_float(v) - t->config.mean[0]) /
                                   t->config.std[0];
                const float got = nn_net_input(t->net, i)[y * SIDE + x];
                assert_true(fabsf(got - want) < 1e-6f);
            }
        }
    }
}

static void test_train_orders_and_shifts(void **state)
{
    nn_train_config *config = new_config(NET, false);
    watcher *w = sotto_calloc(1, sizeof(*w));
    const nn_train_options options = {.progress = watch, .arg = w};
    sotto_error err = {{0}};
    (void)state;
    w->trainer = new_trainer(config, NULL);
    assert_int_equal(nn_trainer_run(w->trainer, &options, &err), SOTTO_OK);
    assert_int_equal(w->epochs, 3);
    const size_t n = w->trainer->n_train;
    for (size_t e = 0; e < 3; e++) {
        size_t seen[N_IMAGES] = {0};
        size_t moved[3][3] = {{0}};
        for (size_t i = 0; i < n; i++) {
            const nn_shift shift = w->shifts[e][i];
            seen[w->order[e][i]]++;
            assert_in_range(shift.down + 1, 0, 2);
            assert_in_range(shift.right + 1, 0, 2);
            moved[shift.down + 1][shift.right + 1]++;
        }
        for (size_t i = n; i < N_IMAGES; i++) {
            seen[w->trainer->split[i]]++; /* for validation only */
        }
        for (size_t i = 0; i < N_IMAGES; i++) {
            assert_int_equal(seen[i], 1);
        }
        for (size_t i = 0; i < 9; i++) {
            assert_true(moved[i / 3][i % 3] > 4);
        }
        assert_memory_not_equal(w->order[e], w->order[(e + 1) % 3],
                                n * sizeof(uint32_t));
        assert_memory_not_equal(w->shifts[e], w->shifts[(e + 1) % 3],
                                n * sizeof(nn_shift));
    }
    nn_trainer_free(w->trainer);
    sotto_free(w);
    sotto_free(config);
}

/* --- export ----------------------------------------------------------------
 */

/* The graph computes what the net computes, whatever its layers. */
static void check_export(const char *layers, const char *const *names,
                         size_t n_names)
{
    nn_train_config *config = new_config(layers, false);
    nn_graph *graph = NULL;
    nn_dataset data;
    sotto_error err = {{0}};
    float *pixels = sotto_calloc(N_IMAGES * SIDE * SIDE, sizeof(float));
    float *scores = sotto_calloc(N_IMAGES * 3, sizeof(float));
    const char *path = config->train_images[0];

    config->validation = 0; /* the last epoch is exported */
    config->epochs = 2;
    nn_trainer *trainer = new_trainer(config, NULL);
    assert_int_equal(nn_trainer_run(trainer, NULL, &err), SOTTO_OK);
    /* biases before a normalisation are never trained: move them off 0 */
    for (size_t i = 0; i < nn_net_n_params(trainer->net); i++) {
        nn_net_params(trainer->net)[i] += 0.01f * (float)(i % 7);
        trainer->best_params[i] = nn_net_params(trainer->net)[i];
    }
    if (nn_trainer_export(trainer, &graph, &err) != SOTTO_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(
        nn_dataset_load(&data, &path, 1, config->train_labels, 0, &err),
        SOTTO_OK);
    for (size_t i = 0; i < N_IMAGES * SIDE * SIDE; i++) {
        pixels[i] = nn_pixel_to_float(data.pixels[i]);
    }
    assert_int_equal(nn_plain_run(graph, NULL, scores, pixels, N_IMAGES, &err),
                     SOTTO_OK);

    /* the net itself, on the same images */
    nn_net *net = NULL;
    assert_int_equal(nn_net_new(&net, config, data.shape, NULL, &err),
                     SOTTO_OK);
    assert_int_equal(nn_net_n_params(net),
                     nn_trainer_summary(trainer).n_params);
    memcpy(nn_net_params(net), nn_trainer_params(trainer),
           nn_net_n_params(net) * sizeof(float));
    memcpy(nn_net_state(net), nn_net_state(trainer->net),
           nn_net_n_state(net) * sizeof(float));
    double lowest = INFINITY;
    double highest = -INFINITY;
    for (size_t i = 0; i < N_IMAGES; i++) {
        for (size_t p = 0; p < SIDE * SIDE; p++) {
            nn_net_input(net, 0)[p] =
                (pixels[i * SIDE * SIDE + p] - config->mean[0]) /
                config->std[0];
        }
        assert_int_equal(nn_net_forward(net, 1, NN_NET_EVAL), SOTTO_OK);
        for (size_t k = 0; k < 3; k++) {
            const double got = (double)scores[3 * i + k];
            assert_true(fabs(got - (double)nn_net_scores(net, 0)[k]) < 1e-4);
            lowest = fmin(lowest, got);
            highest = fmax(highest, got);
        }
    }

    /* ranges where a plan needs them, and only true ones */
    for (size_t i = 0; i < n_names; i++) {
        const int id = nn_graph_find(graph, names[i]);
        assert_true(id >= 0);
        assert_true(graph->nodes[id].range.known);
    }
    const nn_range range = nn_graph_output(graph)->range;
    assert_true(fabs(range.min - lowest) < 1e-6);
    assert_true(fabs(range.max - highest) < 1e-6);
    assert_string_equal(nn_graph_metadata(graph, "sotto.train.seed"), "1");
    const char *sizes = nn_graph_metadata(graph, NN_STATISTICS_KEY);
    assert_non_null(sizes);
    assert_true(strtod(sizes, NULL) > 0.3 && strtod(sizes, NULL) < 0.7);

    nn_net_free(net);
    nn_dataset_clear(&data);
    nn_graph_free(graph);
    nn_trainer_free(trainer);
    sotto_free(pixels);
    sotto_free(scores);
    sotto_free(config);
}

static void test_train_export_matches_net(void **state)
{
    static const char *const one[] = {"image", "conv1", "dense1", "scores"};
    static const char *const two[] = {"image", "batch_norm1", "avg_pool1",
                                      "scores"};
    static const char *const three[] = {"image", "conv1", "scores"};
    static const char *const residual[] = {"image", "conv1", "add1", "add2",
                                           "scores"};
    (void)state;
    check_export(NET, one, 4);
    check_export("layer = batch_norm\nlayer = relu\n"
                 "layer = avg_pool kernel=2 stride=1\n"
                 "layer = max_pool kernel=2\nlayer = flatten\n"
                 "layer = quadratic a=0.1 per=element\nlayer = batch_norm\n"
                 "layer = dense units=3 bias=0\n",
                 two, 4);
    check_export("layer = conv maps=2 kernel=2 bias=0\n"
                 "layer = quadratic a=0.1 b=0.5 c=0.25\nlayer = flatten\n"
                 "layer = dense units=3\nlayer = batch_norm\n",
                 three, 3);
    check_export(RESIDUAL, residual, 5);
}

/* Every allocation of a whole run may fail: an error, and nothing leaks. */
static sotto_status run_once(void *arg)
{
    const nn_train_config *config = arg;
    nn_trainer *trainer = NULL;
    nn_graph *graph = NULL;
    sotto_error err = {{0}};
    sotto_status status = nn_trainer_new(&trainer, config, NULL, &err);
    if (status == SOTTO_OK) {
        status = nn_trainer_resume(trainer, NULL, &err);
    }
    if (status == SOTTO_OK) {
        status = nn_trainer_run(trainer, NULL, &err);
    }
    if (status == SOTTO_OK) {
        status = nn_trainer_export(trainer, &graph, &err);
    }
    nn_graph_free(graph);
    nn_trainer_free(trainer);
    return status;
}

static void test_train_survives_failed_allocations(void **state)
{
    nn_train_config *config = new_config(NET, true);
    (void)state;
    config->epochs = 1;
    assert_true(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 1000, run_once, config) > 20);
    sotto_free(config);
}

/* A checkpoint that cannot be written: an error, and the old one stands. */
static void test_train_survives_a_full_disk(void **state)
{
    static const fail_point points[] = {FAIL_WRITE, FAIL_RENAME};
    nn_train_config *config = new_config(NET, true);
    uint8_t *data = NULL;
    size_t len_bytes = 0;
    sotto_error err = {{0}};
    (void)state;
    config->epochs = 1;
    assert_int_equal(run_once(config), SOTTO_OK);
    assert_int_equal(sotto_file_read(&data, &len_bytes, config->checkpoint,
                                     (size_t)1 << 20, &err),
                     SOTTO_OK);
    const size_t n_files = folder_count(folder);
    for (size_t i = 0; i < 2; i++) {
        assert_true(fail_sweep(points[i], SOTTO_ERR_IO, 100, run_once, config) >
                    0);
        folder_assert_file(config->checkpoint, data, len_bytes);
        assert_int_equal(folder_count(folder), n_files);
    }
    sotto_free(data);
    sotto_free(config);
}

/* --- optimisers ------------------------------------------------------------
 */

static void test_learning_rate_course(void **state)
{
    nn_train_config c = {.epochs = 10, .learning_rate = 2.0};
    (void)state;
    c.schedule = NN_SCHEDULE_CONSTANT;
    assert_true(nn_learning_rate(&c, 0, 100) == 2.0);
    assert_true(nn_learning_rate(&c, 999, 100) == 2.0);
    c.warmup = 2.0;
    assert_true(fabs(nn_learning_rate(&c, 0, 100) - 0.01) < 1e-12);
    assert_true(fabs(nn_learning_rate(&c, 99, 100) - 1.0) < 1e-12);
    assert_true(nn_learning_rate(&c, 200, 100) == 2.0);
    c.schedule = NN_SCHEDULE_COSINE;
    c.final_factor = 0.1;
    assert_true(fabs(nn_learning_rate(&c, 200, 100) - 2.0) < 1e-12);
    assert_true(fabs(nn_learning_rate(&c, 600, 100) - 1.1) < 1e-12);
    assert_true(fabs(nn_learning_rate(&c, 1000, 100) - 0.2) < 1e-12);
    c.schedule = NN_SCHEDULE_STEP;
    c.step_every = 3;
    c.step_factor = 0.5;
    assert_true(fabs(nn_learning_rate(&c, 299, 100) - 2.0) < 1e-12);
    assert_true(fabs(nn_learning_rate(&c, 300, 100) - 1.0) < 1e-12);
    assert_true(fabs(nn_learning_rate(&c, 650, 100) - 0.5) < 1e-12);
}

/* Three steps against the formulas, written out in doubles. */
static void check_optimiser(const char *lines)
{
    nn_train_config *config = new_config(lines, false);
    const nn_image_shape shape = {1, SIDE, SIDE};
    nn_net *net = NULL;
    nn_optimiser optimiser;
    nn_net_score score;
    sotto_error err = {{0}};
    sotto_seed seed;
    static const uint8_t labels[16] = {0, 1, 2, 0, 1, 2, 2, 2};
    double w[8], m[8] = {0}, v[8] = {0};
    const size_t n_weights = SIDE * SIDE * 3;

    sotto_seed_from_text(&seed, "optimiser");
    assert_int_equal(nn_net_new(&net, config, shape, NULL, &err), SOTTO_OK);
    nn_net_init(net, &seed);
    const size_t n = nn_net_n_params(net);
    assert_int_equal(nn_optimiser_init(&optimiser, config, n, &err), SOTTO_OK);
    /* some weights, and the last ones: biases, which do not decay */
    for (size_t k = 0; k < 8; k++) {
        w[k] = (double)nn_net_params(net)[k < 5 ? 7 * k : n - 8 + k];
    }
    for (size_t i = 0; i < 16 * SIDE * SIDE; i++) {
        nn_net_input(net, 0)[i] = (float)(i * 37 % 64) / 64.0f;
    }
    for (int t = 1; t <= 3; t++) {
        assert_int_equal(nn_net_forward(net, 16, NN_NET_TRAIN), SOTTO_OK);
        assert_int_equal(nn_net_loss(net, &score, labels, 16, 0.0), SOTTO_OK);
        assert_int_equal(nn_net_backward(net, 16), SOTTO_OK);
        assert_int_equal(nn_optimiser_step(&optimiser, net, NULL, 0.01),
                         SOTTO_OK);
        for (size_t k = 0; k < 8; k++) {
            const size_t i = k < 5 ? 7 * k : n - 8 + k;
            const double decay = i < n_weights ? config->weight_decay : 0.0;
            double g = 0.0;
            for (size_t s = 0; s < NN_NET_SLICES; s++) {
                g += (double)nn_net_gradient(net, s)[i];
            }
            if (config->optimiser == NN_SGD) {
                g += decay * w[k];
                v[k] = config->momentum * v[k] + g;
                w[k] -= 0.01 *
                        (config->nesterov ? g + config->momentum * v[k] : v[k]);
            } else {
                m[k] = config->beta[0] * m[k] + (1.0 - config->beta[0]) * g;
                v[k] = config->beta[1] * v[k] + (1.0 - config->beta[1]) * g * g;
                const double mean = m[k] / (1.0 - pow(config->beta[0], t));
                const double size = v[k] / (1.0 - pow(config->beta[1], t));
                w[k] -= 0.01 *
                        (mean / (sqrt(size) + config->epsilon) + decay * w[k]);
            }
            assert_true(fabs((double)nn_net_params(net)[i] - w[k]) < 1e-5);
        }
    }
    assert_int_equal(optimiser.steps, 3);
    nn_optimiser_clear(&optimiser);
    nn_net_free(net);
    sotto_free(config);
}

static void test_optimisers_follow_their_formulas(void **state)
{
    static const char net[] = "layer = flatten\nlayer = dense units=3\n";
    static const char *const kinds[] = {
        "optimiser = sgd momentum=0\n", "optimiser = sgd momentum=0.9\n",
        "optimiser = sgd momentum=0.9 nesterov=1\n",
        "optimiser = adam beta1=0.8 beta2=0.9\n"};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "%s%s", kinds[i], net);
        check_optimiser(text);
    }
}

/* Half a second of real digits: far beyond what a broken trainer reaches. */
static void test_train_real_digits(void **state)
{
    static const char text[] =
        "train_images = data/mnist/t10k-images-idx3-ubyte\n"
        "train_labels = data/mnist/t10k-labels-idx1-ubyte\n"
        "train_count = 4100\nvalidation = 1000\nepochs = 2\nbatch = 32\n"
        "learning_rate = 0.05\nlabel_smoothing = 0.05\n"
        "layer = conv maps=5 kernel=5 stride=2 pads=1,1,1,1\n"
        "layer = batch_norm\nlayer = square\nlayer = flatten\n"
        "layer = dense units=32\nlayer = batch_norm\nlayer = square\n"
        "layer = dense units=10\n";
    nn_train_config *config = sotto_calloc(1, sizeof(*config));
    sotto_error err = {{0}};
    (void)state;
    assert_int_equal(
        nn_train_config_parse(config, text, strlen(text), "digits", &err),
        SOTTO_OK);
    if (access(config->train_images[0], R_OK) != 0) {
        sotto_free(config);
        skip();
    }
    sotto_pool *pool = sotto_pool_new(2);
    nn_trainer *trainer = new_trainer(config, pool);
    assert_int_equal(nn_trainer_run(trainer, NULL, &err), SOTTO_OK);
    assert_true(nn_trainer_summary(trainer).validation_accuracy > 0.9);

    /* the range of the scores is that over all images of the data */
    nn_graph *graph = NULL;
    const size_t n = trainer->data.count;
    float *pixels = sotto_calloc(n * 784, sizeof(float));
    float *scores = sotto_calloc(n * 10, sizeof(float));
    float lowest = INFINITY;
    float highest = -INFINITY;
    assert_int_equal(nn_trainer_export(trainer, &graph, &err), SOTTO_OK);
    for (size_t i = 0; i < n * 784; i++) {
        pixels[i] = nn_pixel_to_float(trainer->data.pixels[i]);
    }
    assert_int_equal(nn_plain_run(graph, pool, scores, pixels, n, &err),
                     SOTTO_OK);
    for (size_t i = 0; i < n * 10; i++) {
        lowest = fminf(lowest, scores[i]);
        highest = fmaxf(highest, scores[i]);
    }
    const nn_range range = nn_graph_output(graph)->range;
    assert_true(range.min == (double)lowest && range.max == (double)highest);
    sotto_free(pixels);
    sotto_free(scores);
    nn_graph_free(graph);
    nn_trainer_free(trainer);
    sotto_pool_free(pool);
    sotto_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_equal_for_all_threads),
        cmocka_unit_test(test_train_resume_is_exact),
        cmocka_unit_test(test_train_resume_keeps_the_best),
        cmocka_unit_test(test_train_refuses_damaged_checkpoints),
        cmocka_unit_test(test_train_checkpoint_must_be_writable),
        cmocka_unit_test(test_train_learns),
        cmocka_unit_test(test_train_stops_when_it_diverges),
        cmocka_unit_test(test_train_refuses_what_does_not_fit),
        cmocka_unit_test(test_train_orders_and_shifts),
        cmocka_unit_test(test_train_export_matches_net),
        cmocka_unit_test(test_train_survives_failed_allocations),
        cmocka_unit_test(test_train_survives_a_full_disk),
        cmocka_unit_test(test_learning_rate_course),
        cmocka_unit_test(test_optimisers_follow_their_formulas),
        cmocka_unit_test(test_train_real_digits),
    };
    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
