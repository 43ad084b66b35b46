/* SPDX-License-Identifier: MIT
 * A training run before its first step: data, split, net, identity.
 */
#include "nn/train/trainer_internal.h"

#include <string.h>

#include "base/mem.h"

/* --- random choices ----------------------------------------------------- */

sotto_stream nn_train_stream(const nn_trainer *trainer,
                             enum nn_train_purpose purpose, uint64_t object)
{
    sotto_seed key;
    sotto_stream stream;
    sotto_prf(&key, &trainer->seed, SOTTO_LABEL_TRAIN, object, 0,
              (uint32_t)purpose, 0);
    sotto_stream_init(&stream, &key);
    return stream;
}

uint64_t nn_train_draw(sotto_stream *stream, uint64_t n)
{
    return sotto_stream_u64(stream) % n;
}

void nn_train_shuffle(uint32_t *list, size_t n, sotto_stream *stream)
{
    for (size_t i = n; i > 1; i--) {
        const size_t k = (size_t)nn_train_draw(stream, i);
        const uint32_t kept = list[i - 1];
        list[i - 1] = list[k];
        list[k] = kept;
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

/* What a pixel value becomes, for every channel: 256 divisions instead of one
 * for every pixel of every epoch. */
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

/* Chooses the validation images by the seed: files may be sorted by class. */
static void fill_split(nn_trainer *trainer)
{
    sotto_stream stream = nn_train_stream(trainer, NN_TRAIN_SPLIT, 0);
    for (size_t i = 0; i < trainer->data.count; i++) {
        trainer->split[i] = (uint32_t)i;
    }
    nn_train_shuffle(trainer->split, trainer->data.count, &stream);
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
    trainer->labels = sotto_calloc(trainer->config.batch, 1);
    trainer->best_params =
        sotto_calloc(nn_net_n_params(trainer->net), sizeof(float));
    trainer->best_state =
        sotto_calloc(nn_net_n_state(trainer->net), sizeof(float));
    if (trainer->split == NULL || trainer->order == NULL ||
        trainer->shifts == NULL || trainer->levels == NULL ||
        trainer->labels == NULL || trainer->best_params == NULL ||
        trainer->best_state == NULL) {
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
    sotto_free(trainer->labels);
    nn_net_free(trainer->net);
    nn_optimiser_clear(&trainer->optimiser);
    sotto_free(trainer->best_params);
    sotto_free(trainer->best_state);
    sotto_free(trainer);
}
