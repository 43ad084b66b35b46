/* SPDX-License-Identifier: MIT
 * Training from a configuration file to a model file.
 */
#include "nn/train/trainer.h"

#include "base/file.h"
#include "base/mem.h"
#include "nn/graph/onnx.h"

static sotto_status write_model(nn_trainer *trainer, const char *model_path,
                                sotto_error *err)
{
    nn_graph *graph = NULL;
    uint8_t *data = NULL;
    size_t len_bytes = 0;

    SOTTO_TRY(nn_trainer_export(trainer, &graph, err));
    sotto_status status = nn_onnx_write(&data, &len_bytes, graph, err);
    nn_graph_free(graph);
    if (status == SOTTO_OK) {
        status = sotto_file_write(model_path, data, len_bytes, err);
    }
    sotto_free(data);
    return status;
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
