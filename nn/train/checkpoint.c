/* SPDX-License-Identifier: MIT
 * Checkpoint files.
 *
 *     "SOTTOCK1" | digest of configuration and data, 32 bytes
 *     | position (nn_train_position in order, 8 bytes each)
 *     | optimiser steps | n_params | n_state | n_moments, 8 bytes each
 *     | params | state | moments | best params | best state, floats
 *     | SHA-256 of all before
 *
 * All numbers are little-endian. The size follows from the net, so that a
 * reader never takes more than it expects.
 */
#include "nn/train/trainer_internal.h"

#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/mem.h"

#define MAGIC "SOTTOCK1"
#define MAGIC_BYTES ((size_t)8)
#define N_NUMBERS ((size_t)11)

/* Number of floats of a trainer's checkpoint. */
static size_t float_count(const nn_trainer *trainer)
{
    return (2 + trainer->optimiser.n_moments) * nn_net_n_params(trainer->net) +
           2 * nn_net_n_state(trainer->net);
}

static size_t file_bytes(const nn_trainer *trainer)
{
    return MAGIC_BYTES + SOTTO_HASH_BYTES + 8 * N_NUMBERS +
           sizeof(float) * float_count(trainer) + SOTTO_HASH_BYTES;
}

static void write_all(sotto_writer *writer, const nn_trainer *trainer)
{
    const nn_train_position *at = &trainer->at;
    const nn_optimiser *optimiser = &trainer->optimiser;
    const size_t params_bytes = nn_net_n_params(trainer->net) * sizeof(float);
    const size_t state_bytes = nn_net_n_state(trainer->net) * sizeof(float);

    sotto_write_bytes(writer, MAGIC, MAGIC_BYTES);
    sotto_write_bytes(writer, trainer->digest, SOTTO_HASH_BYTES);
    sotto_write_u64(writer, at->epoch);
    sotto_write_u64(writer, at->images_done);
    sotto_write_f64(writer, at->loss);
    sotto_write_u64(writer, at->correct);
    sotto_write_u64(writer, at->best_epoch);
    sotto_write_u64(writer, at->best_correct);
    sotto_write_f64(writer, at->best_loss);
    sotto_write_u64(writer, optimiser->steps);
    sotto_write_u64(writer, nn_net_n_params(trainer->net));
    sotto_write_u64(writer, nn_net_n_state(trainer->net));
    sotto_write_u64(writer, optimiser->n_moments);
    sotto_write_bytes(writer, nn_net_params(trainer->net), params_bytes);
    sotto_write_bytes(writer, nn_net_state(trainer->net), state_bytes);
    sotto_write_bytes(writer, optimiser->moments,
                      optimiser->n_moments * params_bytes);
    sotto_write_bytes(writer, trainer->best_params, params_bytes);
    sotto_write_bytes(writer, trainer->best_state, state_bytes);
}

sotto_status nn_checkpoint_write(const nn_trainer *trainer, sotto_error *err)
{
    const char *path = trainer->config.checkpoint;
    const size_t len_bytes = file_bytes(trainer);

    if (path[0] == '\0') {
        return SOTTO_OK;
    }
    uint8_t *data = sotto_calloc(len_bytes, 1);
    if (data == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a checkpoint of %zu bytes",
                          len_bytes);
    }
    sotto_writer writer = sotto_writer_init(data, len_bytes);
    write_all(&writer, trainer);
    SOTTO_ASSERT(writer.ok && writer.at + SOTTO_HASH_BYTES == len_bytes);
    sotto_sha256_of(data + writer.at, data, writer.at);
    const sotto_status status = sotto_file_write(path, data, len_bytes, err);
    sotto_free(data);
    return status;
}

/* Checks everything that must hold before the trainer is touched. */
static sotto_status check_file(const nn_trainer *trainer, const uint8_t *data,
                               size_t len_bytes, sotto_error *err)
{
    const char *path = trainer->config.checkpoint;
    uint8_t digest[SOTTO_HASH_BYTES];

    if (len_bytes < MAGIC_BYTES + 2 * SOTTO_HASH_BYTES ||
        memcmp(data, MAGIC, MAGIC_BYTES) != 0) {
        return sotto_fail(err, SOTTO_ERR_FORMAT, "%s: is no checkpoint", path);
    }
    if (memcmp(data + MAGIC_BYTES, trainer->digest, SOTTO_HASH_BYTES) != 0) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "%s: belongs to another configuration or other "
                          "data; remove it or name another checkpoint",
                          path);
    }
    sotto_sha256_of(digest, data, len_bytes - SOTTO_HASH_BYTES);
    if (len_bytes != file_bytes(trainer) ||
        memcmp(digest, data + len_bytes - SOTTO_HASH_BYTES, sizeof(digest)) !=
            0) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: damaged (%zu bytes, expected %zu with a right "
                          "checksum); remove it to start anew",
                          path, len_bytes, file_bytes(trainer));
    }
    return SOTTO_OK;
}

/* Reads the numbers; what they say is bounded by the trainer's own sizes. */
static sotto_status read_numbers(nn_train_position *at, uint64_t *steps,
                                 sotto_reader *reader,
                                 const nn_trainer *trainer, sotto_error *err)
{
    at->epoch = sotto_read_u64(reader);
    at->images_done = sotto_read_u64(reader);
    at->loss = sotto_read_f64(reader);
    at->correct = sotto_read_u64(reader);
    at->best_epoch = sotto_read_u64(reader);
    at->best_correct = sotto_read_u64(reader);
    at->best_loss = sotto_read_f64(reader);
    *steps = sotto_read_u64(reader);
    const uint64_t n_params = sotto_read_u64(reader);
    const uint64_t n_state = sotto_read_u64(reader);
    const uint64_t n_moments = sotto_read_u64(reader);
    if (at->epoch > trainer->config.epochs ||
        at->images_done > trainer->n_train || at->best_epoch > at->epoch ||
        n_params != nn_net_n_params(trainer->net) ||
        n_state != nn_net_n_state(trainer->net) ||
        n_moments != trainer->optimiser.n_moments) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: contradicts the configuration; remove it to "
                          "start anew",
                          trainer->config.checkpoint);
    }
    return SOTTO_OK;
}

static sotto_status read_all(nn_trainer *trainer, const uint8_t *data,
                             size_t len_bytes, sotto_error *err)
{
    const size_t params_bytes = nn_net_n_params(trainer->net) * sizeof(float);
    const size_t state_bytes = nn_net_n_state(trainer->net) * sizeof(float);
    nn_optimiser *optimiser = &trainer->optimiser;
    nn_train_position at;
    uint64_t steps;

    SOTTO_TRY(check_file(trainer, data, len_bytes, err));
    sotto_reader reader = sotto_reader_init(data, len_bytes);
    (void)sotto_read_view(&reader, MAGIC_BYTES + SOTTO_HASH_BYTES);
    SOTTO_TRY(read_numbers(&at, &steps, &reader, trainer, err));
    trainer->at = at;
    optimiser->steps = steps;
    sotto_read_bytes(&reader, nn_net_params(trainer->net), params_bytes);
    sotto_read_bytes(&reader, nn_net_state(trainer->net), state_bytes);
    sotto_read_bytes(&reader, optimiser->moments,
                     optimiser->n_moments * params_bytes);
    sotto_read_bytes(&reader, trainer->best_params, params_bytes);
    sotto_read_bytes(&reader, trainer->best_state, state_bytes);
    SOTTO_ASSERT(reader.ok); /* the size was checked */
    return SOTTO_OK;
}

sotto_status nn_checkpoint_read(nn_trainer *trainer, sotto_error *err)
{
    uint8_t *data = NULL;
    size_t len_bytes = 0;
    SOTTO_TRY(sotto_file_read(&data, &len_bytes, trainer->config.checkpoint,
                              file_bytes(trainer), err));
    const sotto_status status = read_all(trainer, data, len_bytes, err);
    sotto_free(data);
    return status;
}
