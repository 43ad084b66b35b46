/* SPDX-License-Identifier: MIT
 * The training loop.
 *
 *     epoch: order and shifts from (seed, epoch)
 *       minibatch: fill → forward → loss → backward → step
 *     validate → keep the best weights → report → checkpoint
 *
 * Everything that a minibatch depends on is in the weights, the optimiser's
 * memory and nn_train_position; so that a checkpoint may fall between any two
 * minibatches.
 */
#include "nn/train/trainer_internal.h"

#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Order and shifts of the epoch under way. They come from the epoch's own
 * streams, so that a resumed run makes them again instead of storing them. */
static void prepare_epoch(nn_trainer *trainer)
{
    const uint64_t width = 2 * trainer->config.shift + 1;
    const int reach = (int)trainer->config.shift;
    sotto_stream order =
        nn_train_stream(trainer, NN_TRAIN_ORDER, trainer->at.epoch);
    sotto_stream shift =
        nn_train_stream(trainer, NN_TRAIN_SHIFT, trainer->at.epoch);

    memcpy(trainer->order, trainer->split,
           trainer->n_train * sizeof(*trainer->order));
    nn_train_shuffle(trainer->order, trainer->n_train, &order);
    for (size_t i = 0; width > 1 && i < trainer->n_train; i++) {
        trainer->shifts[i].down =
            (int8_t)((int)nn_train_draw(&shift, width) - reach);
        trainer->shifts[i].right =
            (int8_t)((int)nn_train_draw(&shift, width) - reach);
    }
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
    const int right = shift.right;
    /* columns that come from inside */
    const int begin = right > 0 ? (right < width ? right : width) : 0;
    const int end = right < 0 ? (-right < width ? width + right : 0) : width;

    for (int y = 0; y < height; y++, out += width) {
        const int from_y = y - shift.down;
        const bool inside = from_y >= 0 && from_y < height;
        const int from = inside ? begin : width;
        const int to = inside ? end : width;
        for (int x = 0; x < from; x++) {
            out[x] = levels[0];
        }
        for (int x = from; x < to; x++) {
            out[x] = levels[pixels[from_y * width + x - right]];
        }
        for (int x = to; x < width; x++) {
            out[x] = levels[0];
        }
    }
}

/* Image i of the minibatch. */
static void fill_image(void *arg, size_t i)
{
    const fill_job *job = arg;
    nn_trainer *trainer = job->trainer;
    const nn_image_shape shape = trainer->data.shape;
    const size_t plane = shape.height * shape.width;
    const uint8_t *pixels =
        trainer->data.pixels + job->list[i] * nn_image_pixels(shape);
    const nn_shift shift =
        job->shifts != NULL ? job->shifts[i] : (nn_shift){0, 0};

    for (size_t c = 0; c < shape.channels; c++) {
        fill_plane(nn_net_input(trainer->net, i) + c * plane,
                   pixels + c * plane, trainer->levels + 256 * c, shape, shift);
    }
}

static sotto_status fill_task(void *arg, size_t task, int worker)
{
    fill_job *job = arg;
    size_t first;
    const size_t count = nn_net_slice(&first, task, job->n);

    (void)worker;
    for (size_t i = first; i < first + count; i++) {
        fill_image(job, i);
    }
    return SOTTO_OK;
}

static void fill_labels(nn_trainer *trainer, const uint32_t *list, size_t n)
{
    SOTTO_ASSERT(n <= trainer->config.batch);
    for (size_t i = 0; i < n; i++) {
        trainer->labels[i] = trainer->data.labels[list[i]];
    }
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
    fill_job job = {trainer, trainer->order + first, trainer->shifts + first,
                    n};
    const nn_net_batch batch = {.n = n,
                                .labels = trainer->labels,
                                .smoothing = trainer->config.label_smoothing,
                                .fill = fill_image,
                                .arg = &job};
    fill_labels(trainer, job.list, n);
    SOTTO_TRY(nn_net_learn(trainer->net, &score, &batch));
    if (!isfinite(score.loss)) {
        return sotto_fail(err, SOTTO_ERR_RANGE,
                          "the loss is no longer finite in epoch %llu after "
                          "%zu images: try a smaller learning_rate or a "
                          "warm-up",
                          (unsigned long long)at->epoch + 1, first);
    }
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

/* Loss and accuracy of n <= batch images as they are. */
static sotto_status evaluate(nn_trainer *trainer, nn_net_score *score,
                             const uint32_t *list, size_t n)
{
    fill_job job = {trainer, list, NULL, n};
    fill_labels(trainer, list, n);
    SOTTO_TRY(sotto_pool_run(trainer->pool, NN_NET_SLICES, fill_task, &job));
    SOTTO_TRY(nn_net_forward(trainer->net, n, NN_NET_EVAL));
    return nn_net_loss(trainer->net, score, trainer->labels, n, 0.0);
}

static sotto_status validate(nn_trainer *trainer, nn_net_score *score)
{
    const uint32_t *list = trainer->split + trainer->n_train;
    *score = (nn_net_score){0.0, 0};
    for (size_t i = 0; i < trainer->n_validation;) {
        nn_net_score part;
        size_t n = trainer->n_validation - i;
        n = n < trainer->config.batch ? n : trainer->config.batch;
        SOTTO_TRY(evaluate(trainer, &part, list + i, n));
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
    p.peak_share =
        p.images_per_second * nn_net_operations(trainer->net) / trainer->peak;
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
    run_clock clock = {.images = 0};
    trainer->peak = nn_net_peak(trainer->net);
    clock.begin = seconds_now();
    /* A checkpoint that cannot be written is to show now, not in an hour. */
    SOTTO_TRY(nn_checkpoint_write(trainer, err));
    const sotto_status status = run_epochs(trainer, options, &clock, err);
    trainer->seconds += seconds_now() - clock.begin;
    trainer->images += clock.images;
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
                                .seconds = trainer->seconds,
                                .backend = nn_net_backend(trainer->net)};
    if (trainer->seconds > 0.0 && trainer->peak > 0.0) {
        summary.images_per_second = (double)trainer->images / trainer->seconds;
        summary.peak_share = summary.images_per_second *
                             nn_net_operations(trainer->net) / trainer->peak;
    }
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
