/* SPDX-License-Identifier: MIT
 * The training loop.
 */
#include "nn/train/trainer_internal.h"

#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "nn/graph/onnx.h"

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* --- random choices ----------------------------------------------------- */

static sotto_stream stream_for(const nn_trainer *trainer,
                               enum nn_train_purpose purpose, uint64_t object)
{
    sotto_seed key;
    sotto_stream stream;
    sotto_prf(&key, &trainer->seed, SOTTO_LABEL_TRAIN, object, 0,
              (uint32_t)purpose, 0);
    sotto_stream_init(&stream, &key);
    return stream;
}

/* A number in [0, n); its bias is below n·2^-64. */
static uint64_t draw_below(sotto_stream *stream, uint64_t n)
{
    return sotto_stream_u64(stream) % n;
}

static void shuffle(uint32_t *list, size_t n, sotto_stream *stream)
{
    for (size_t i = n; i > 1; i--) {
        const size_t k = (size_t)draw_below(stream, i);
        const uint32_t kept = list[i - 1];
        list[i - 1] = list[k];
        list[k] = kept;
    }
}

/* Order and shifts of the epoch under way. */
static void prepare_epoch(nn_trainer *trainer)
{
    const uint64_t width = 2 * trainer->config.shift + 1;
    const int reach = (int)trainer->config.shift;
    sotto_stream order = stream_for(trainer, NN_TRAIN_ORDER, trainer->at.epoch);
    sotto_stream shift = stream_for(trainer, NN_TRAIN_SHIFT, trainer->at.epoch);

    memcpy(trainer->order, trainer->split,
           trainer->n_train * sizeof(*trainer->order));
    shuffle(trainer->order, trainer->n_train, &order);
    for (size_t i = 0; width > 1 && i < trainer->n_train; i++) {
        trainer->shifts[i].down =
            (int8_t)((int)draw_below(&shift, width) - reach);
        trainer->shifts[i].right =
            (int8_t)((int)draw_below(&shift, width) - reach);
    }
}

/* --- building ----------------------------------------------------------- */

static sotto_status check_fit(const nn_trainer *trainer, sotto_error *err)
{
    const nn_train_config *config = &trainer->config;
    const nn_dataset *data = &trainer->data;
    if (config->n_mean != 0 && config->n_mean != 1 &&
        config->n_mean != data->shape.channels) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "mean and std have %zu values, the images %zu "
                          "channels",
                          config->n_mean, data->shape.channels);
    }
    if (config->validation >= data->count) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "validation = %zu leaves nothing of %zu images to "
                          "train on",
                          config->validation, data->count);
    }
    if (data->count > UINT32_MAX) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "%zu images; at most 2^32-1 can be trained on",
                          data->count);
    }
    return SOTTO_OK;
}

/* What a pixel value becomes, for every channel. */
static void fill_levels(nn_trainer *trainer)
{
    const nn_train_config *config = &trainer->config;
    for (size_t c = 0; c < trainer->data.shape.channels; c++) {
        const size_t k = config->n_mean > 1 ? c : 0;
        const float mean = config->n_mean > 0 ? config->mean[k] : 0.0f;
        const float std = config->n_mean > 0 ? config->std[k] : 1.0f;
        for (size_t v = 0; v < 256; v++) {
            trainer->levels[256 * c + v] =
                (nn_pixel_to_float((uint8_t)v) - mean) / std;
        }
    }
}

static void fill_split(nn_trainer *trainer)
{
    sotto_stream stream = stream_for(trainer, NN_TRAIN_SPLIT, 0);
    for (size_t i = 0; i < trainer->data.count; i++) {
        trainer->split[i] = (uint32_t)i;
    }
    shuffle(trainer->split, trainer->data.count, &stream);
}

/* Identity of the run: configuration, images and labels. */
static void fill_digest(nn_trainer *trainer)
{
    const nn_dataset *data = &trainer->data;
    uint8_t config_digest[SOTTO_HASH_BYTES];
    sotto_sha256 hash;
    nn_train_config_digest(config_digest, &trainer->config);
    sotto_sha256_init(&hash);
    sotto_sha256_update(&hash, config_digest, sizeof(config_digest));
    sotto_sha256_update(&hash, data->labels, data->count);
    sotto_sha256_update(&hash, data->pixels,
                        data->count * nn_image_pixels(data->shape));
    sotto_sha256_final(&hash, trainer->digest);
}

static sotto_status trainer_allocate(nn_trainer *trainer, sotto_error *err)
{
    trainer->split = sotto_calloc(trainer->data.count, sizeof(uint32_t));
    trainer->order = sotto_calloc(trainer->n_train, sizeof(uint32_t));
    trainer->shifts = sotto_calloc(trainer->n_train, sizeof(nn_shift));
    trainer->levels =
        sotto_calloc(256 * trainer->data.shape.channels, sizeof(float));
    trainer->best_params =
        sotto_calloc(nn_net_n_params(trainer->net), sizeof(float));
    trainer->best_state =
        sotto_calloc(nn_net_n_state(trainer->net), sizeof(float));
    if (trainer->split == NULL || trainer->order == NULL ||
        trainer->shifts == NULL || trainer->levels == NULL ||
        trainer->best_params == NULL || trainer->best_state == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    return SOTTO_OK;
}

static sotto_status trainer_start(nn_trainer *trainer, sotto_error *err)
{
    const nn_train_config *config = &trainer->config;
    const char *paths[NN_CONFIG_MAX_FILES];
    for (size_t i = 0; i < config->n_train_images; i++) {
        paths[i] = config->train_images[i];
    }
    SOTTO_TRY(nn_dataset_load(
        &trainer->data, paths, config->n_train_images,
        config->train_labels[0] != '\0' ? config->train_labels : NULL,
        config->train_count, err));
    SOTTO_TRY(check_fit(trainer, err));
    trainer->n_validation = config->validation;
    trainer->n_train = trainer->data.count - config->validation;
    SOTTO_TRY(nn_net_new(&trainer->net, config, trainer->data.shape,
                         trainer->pool, err));
    if (trainer->data.n_classes > nn_net_outputs(trainer->net)) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "labels up to %zu, but the network has %zu scores",
                          trainer->data.n_classes - 1,
                          nn_net_outputs(trainer->net));
    }
    SOTTO_TRY(nn_optimiser_init(&trainer->optimiser, config,
                                nn_net_n_params(trainer->net), err));
    SOTTO_TRY(trainer_allocate(trainer, err));
    sotto_seed_from_text(&trainer->seed, config->seed);
    fill_levels(trainer);
    fill_split(trainer);
    fill_digest(trainer);
    nn_net_init(trainer->net, &trainer->seed);
    return SOTTO_OK;
}

sotto_status nn_trainer_new(nn_trainer **trainer, const nn_train_config *config,
                            sotto_pool *pool, sotto_error *err)
{
    *trainer = NULL;
    nn_trainer *made = sotto_calloc(1, sizeof(*made));
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    made->config = *config;
    made->pool = pool;
    const sotto_status status = trainer_start(made, err);
    if (status != SOTTO_OK) {
        nn_trainer_free(made);
        return status;
    }
    *trainer = made;
    return SOTTO_OK;
}

void nn_trainer_free(nn_trainer *trainer)
{
    if (trainer == NULL) {
        return;
    }
    nn_dataset_clear(&trainer->data);
    sotto_free(trainer->split);
    sotto_free(trainer->order);
    sotto_free(trainer->shifts);
    sotto_free(trainer->levels);
    nn_net_free(trainer->net);
    nn_optimiser_clear(&trainer->optimiser);
    sotto_free(trainer->best_params);
    sotto_free(trainer->best_state);
    sotto_free(trainer);
}

/* --- one minibatch ------------------------------------------------------ */

/* Images list[0..n) with their shifts (NULL: none) on their way into the net.
 */
typedef struct fill_job {
    nn_trainer *trainer;
    const uint32_t *list;
    const nn_shift *shifts;
    size_t n;
} fill_job;

/* One channel, moved; what comes in from outside is black. */
static void fill_plane(float *out, const uint8_t *pixels, const float *levels,
                       nn_image_shape shape, nn_shift shift)
{
    const int height = (int)shape.height;
    const int width = (int)shape.width;
    for (int y = 0; y < height; y++) {
        const int from_y = y - shift.down;
        const bool inside = from_y >= 0 && from_y < height;
        for (int x = 0; x < width; x++) {
            const int from_x = x - shift.right;
            const bool black = !inside || from_x < 0 || from_x >= width;
            *out++ = levels[black ? 0 : pixels[from_y * width + from_x]];
        }
    }
}

static sotto_status fill_task(void *arg, size_t task, int worker)
{
    const fill_job *job = arg;
    nn_trainer *trainer = job->trainer;
    const nn_image_shape shape = trainer->data.shape;
    const size_t plane = shape.height * shape.width;
    size_t first;
    const size_t count = nn_net_slice(&first, task, job->n);

    (void)worker;
    for (size_t i = first; i < first + count; i++) {
        const uint8_t *pixels =
            trainer->data.pixels + job->list[i] * nn_image_pixels(shape);
        const nn_shift shift =
            job->shifts != NULL ? job->shifts[i] : (nn_shift){0, 0};
        for (size_t c = 0; c < shape.channels; c++) {
            fill_plane(nn_net_input(trainer->net, i) + c * plane,
                       pixels + c * plane, trainer->levels + 256 * c, shape,
                       shift);
        }
    }
    return SOTTO_OK;
}

/* Forward pass and loss of n <= batch images. */
static sotto_status run_images(nn_trainer *trainer, nn_net_score *score,
                               const uint32_t *list, const nn_shift *shifts,
                               size_t n, nn_net_mode mode)
{
    fill_job job = {trainer, list, shifts, n};
    const double smoothing =
        mode == NN_NET_TRAIN ? trainer->config.label_smoothing : 0.0;
    uint8_t labels[65536]; /* largest batch that a configuration may ask for */

    SOTTO_ASSERT(n <= sizeof(labels));
    for (size_t i = 0; i < n; i++) {
        labels[i] = trainer->data.labels[list[i]];
    }
    SOTTO_TRY(sotto_pool_run(trainer->pool, NN_NET_SLICES, fill_task, &job));
    SOTTO_TRY(nn_net_forward(trainer->net, n, mode));
    return nn_net_loss(trainer->net, score, labels, n, smoothing);
}

static size_t epoch_steps(const nn_trainer *trainer)
{
    const size_t batch = trainer->config.batch;
    return (trainer->n_train + batch - 1) / batch;
}

static sotto_status train_batch(nn_trainer *trainer, sotto_error *err)
{
    nn_train_position *at = &trainer->at;
    const size_t first = (size_t)at->images_done;
    size_t n = trainer->n_train - first;
    nn_net_score score;

    n = n < trainer->config.batch ? n : trainer->config.batch;
    SOTTO_TRY(run_images(trainer, &score, trainer->order + first,
                         trainer->shifts + first, n, NN_NET_TRAIN));
    if (!isfinite(score.loss)) {
        return sotto_fail(err, SOTTO_ERR_RANGE,
                          "the loss is no longer finite in epoch %llu after "
                          "%zu images: try a smaller learning_rate or a "
                          "warm-up",
                          (unsigned long long)at->epoch + 1, first);
    }
    SOTTO_TRY(nn_net_backward(trainer->net, n));
    SOTTO_TRY(nn_optimiser_step(
        &trainer->optimiser, trainer->net, trainer->pool,
        nn_learning_rate(&trainer->config, trainer->optimiser.steps,
                         epoch_steps(trainer))));
    at->images_done += n;
    at->loss += score.loss;
    at->correct += score.correct;
    return SOTTO_OK;
}

/* --- the run ------------------------------------------------------------ */

static sotto_status validate(nn_trainer *trainer, nn_net_score *score)
{
    const uint32_t *list = trainer->split + trainer->n_train;
    *score = (nn_net_score){0.0, 0};
    for (size_t i = 0; i < trainer->n_validation;) {
        nn_net_score part;
        size_t n = trainer->n_validation - i;
        n = n < trainer->config.batch ? n : trainer->config.batch;
        SOTTO_TRY(run_images(trainer, &part, list + i, NULL, n, NN_NET_EVAL));
        score->loss += part.loss;
        score->correct += part.correct;
        i += n;
    }
    return SOTTO_OK;
}

/* Keeps the weights when this epoch is the best one so far; without
 * validation images the last epoch counts as best. */
static void keep_best(nn_trainer *trainer, const nn_net_score *score)
{
    nn_train_position *at = &trainer->at;
    const bool better =
        at->best_epoch == 0 || trainer->n_validation == 0 ||
        score->correct > at->best_correct ||
        (score->correct == at->best_correct && score->loss < at->best_loss);
    if (better) {
        at->best_epoch = at->epoch;
        at->best_correct = score->correct;
        at->best_loss = score->loss;
        memcpy(trainer->best_params, nn_net_params(trainer->net),
               nn_net_n_params(trainer->net) * sizeof(float));
        memcpy(trainer->best_state, nn_net_state(trainer->net),
               nn_net_n_state(trainer->net) * sizeof(float));
    }
}

/* Of one nn_trainer_run. */
typedef struct run_clock {
    double begin;
    uint64_t images;
} run_clock;

static void report(const nn_trainer *trainer, const nn_train_options *options,
                   const run_clock *clock, const nn_net_score *validation)
{
    const nn_train_position *at = &trainer->at;
    const nn_train_config *config = &trainer->config;
    const bool ended = validation != NULL;
    const double seconds = seconds_now() - clock->begin;
    const double n_validation =
        trainer->n_validation > 0 ? (double)trainer->n_validation : 1.0;
    nn_train_progress p = {.epochs = config->epochs,
                           .images = trainer->n_train,
                           .epoch_end = ended};

    if (options == NULL || options->progress == NULL) {
        return;
    }
    p.epoch = (size_t)at->epoch + (ended ? 0 : 1);
    p.images_done = ended ? trainer->n_train : (size_t)at->images_done;
    p.loss = at->loss / (double)p.images_done;
    p.accuracy = (double)at->correct / (double)p.images_done;
    if (ended) {
        p.validation_loss = validation->loss / n_validation;
        p.validation_accuracy = (double)validation->correct / n_validation;
    }
    p.learning_rate = nn_learning_rate(config, trainer->optimiser.steps - 1,
                                       epoch_steps(trainer));
    p.images_per_second = seconds > 0.0 ? (double)clock->images / seconds : 0.0;
    const double left =
        (double)(config->epochs - p.epoch) * (double)trainer->n_train +
        (double)(trainer->n_train - p.images_done);
    p.seconds_left =
        p.images_per_second > 0.0 ? left / p.images_per_second : 0.0;
    options->progress(options->arg, &p);
}

static sotto_status end_epoch(nn_trainer *trainer,
                              const nn_train_options *options,
                              const run_clock *clock, sotto_error *err)
{
    nn_train_position *at = &trainer->at;
    nn_net_score score;
    SOTTO_TRY(validate(trainer, &score));
    at->epoch++;
    keep_best(trainer, &score);
    report(trainer, options, clock, &score);
    at->images_done = 0;
    at->loss = 0.0;
    at->correct = 0;
    return nn_checkpoint_write(trainer, err);
}

static sotto_status run_epochs(nn_trainer *trainer,
                               const nn_train_options *options,
                               run_clock *clock, sotto_error *err)
{
    nn_train_position *at = &trainer->at;
    while (at->epoch < trainer->config.epochs) {
        prepare_epoch(trainer);
        while (at->images_done < trainer->n_train) {
            const uint64_t before = at->images_done;
            if (options != NULL && options->cancel != NULL &&
                *options->cancel != 0) {
                SOTTO_TRY(nn_checkpoint_write(trainer, err));
                return sotto_fail(
                    err, SOTTO_ERR_CANCELLED, "stopped in epoch %llu of %zu",
                    (unsigned long long)at->epoch + 1, trainer->config.epochs);
            }
            SOTTO_TRY(train_batch(trainer, err));
            clock->images += at->images_done - before;
            report(trainer, options, clock, NULL);
        }
        SOTTO_TRY(end_epoch(trainer, options, clock, err));
    }
    return SOTTO_OK;
}

sotto_status nn_trainer_run(nn_trainer *trainer,
                            const nn_train_options *options, sotto_error *err)
{
    run_clock clock = {seconds_now(), 0};
    /* A checkpoint that cannot be written is to show now, not in an hour. */
    SOTTO_TRY(nn_checkpoint_write(trainer, err));
    const sotto_status status = run_epochs(trainer, options, &clock, err);
    trainer->seconds += seconds_now() - clock.begin;
    return status;
}

sotto_status nn_trainer_resume(nn_trainer *trainer, bool *resumed,
                               sotto_error *err)
{
    const char *path = trainer->config.checkpoint;
    const bool there = path[0] != '\0' && access(path, F_OK) == 0;
    if (there) {
        SOTTO_TRY(nn_checkpoint_read(trainer, err));
    }
    if (resumed != NULL) {
        *resumed = there;
    }
    return SOTTO_OK;
}

nn_train_summary nn_trainer_summary(const nn_trainer *trainer)
{
    const nn_train_position *at = &trainer->at;
    nn_train_summary summary = {.n_params = nn_net_n_params(trainer->net),
                                .n_train = trainer->n_train,
                                .n_validation = trainer->n_validation,
                                .epochs_done = (size_t)at->epoch,
                                .chosen_epoch = (size_t)at->best_epoch,
                                .seconds = trainer->seconds};
    if (trainer->n_validation > 0 && at->best_epoch > 0) {
        const double n = (double)trainer->n_validation;
        summary.validation_loss = at->best_loss / n;
        summary.validation_accuracy = (double)at->best_correct / n;
    }
    return summary;
}

const float *nn_trainer_params(const nn_trainer *trainer)
{
    return nn_net_params(trainer->net);
}

/* --- from file to file -------------------------------------------------- */

static sotto_status write_model(nn_trainer *trainer, const char *model_path,
                                sotto_error *err)
{
    nn_graph *graph = NULL;
    uint8_t *data = NULL;
    size_t len_bytes = 0;
    sotto_output *output = NULL;

    SOTTO_TRY(nn_trainer_export(trainer, &graph, err));
    sotto_status status = nn_onnx_write(&data, &len_bytes, graph, err);
    nn_graph_free(graph);
    if (status == SOTTO_OK) {
        status = sotto_output_open(&output, model_path, SOTTO_OUTPUT_PUBLIC,
                                   false, err);
    }
    if (status == SOTTO_OK) {
        status = sotto_output_write(output, data, len_bytes, err);
    }
    sotto_free(data);
    if (status != SOTTO_OK) {
        sotto_output_discard(output);
        return status;
    }
    return sotto_output_commit(output, err);
}

static sotto_status train_to_model(nn_trainer *trainer, const char *model_path,
                                   const nn_train_options *options,
                                   sotto_error *err)
{
    if (options == NULL || !options->restart) {
        SOTTO_TRY(nn_trainer_resume(trainer, NULL, err));
    }
    SOTTO_TRY(nn_trainer_run(trainer, options, err));
    return write_model(trainer, model_path, err);
}

sotto_status nn_train_file(nn_train_summary *summary, const char *config_path,
                           const char *model_path, sotto_pool *pool,
                           const nn_train_options *options, sotto_error *err)
{
    nn_trainer *trainer = NULL;
    nn_train_config *config = sotto_calloc(1, sizeof(*config));
    if (config == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    sotto_status status = nn_train_config_load(config, config_path, err);
    if (status == SOTTO_OK) {
        status = nn_trainer_new(&trainer, config, pool, err);
    }
    sotto_free(config);
    if (status == SOTTO_OK) {
        status = train_to_model(trainer, model_path, options, err);
    }
    if (trainer != NULL && summary != NULL) {
        *summary = nn_trainer_summary(trainer);
    }
    nn_trainer_free(trainer);
    return status;
}
