/* SPDX-License-Identifier: MIT
 * The layers of training configurations: kinds, options, names.
 */
#include "nn/train/config_internal.h"

#include <stdio.h>
#include <string.h>

static const char *const layer_names[] = {[NN_LAYER_CONV] = "conv",
                                          [NN_LAYER_DENSE] = "dense",
                                          [NN_LAYER_BATCH_NORM] = "batch_norm",
                                          [NN_LAYER_RELU] = "relu",
                                          [NN_LAYER_SQUARE] = "square",
                                          [NN_LAYER_QUADRATIC] = "quadratic",
                                          [NN_LAYER_AVG_POOL] = "avg_pool",
                                          [NN_LAYER_MAX_POOL] = "max_pool",
                                          [NN_LAYER_FLATTEN] = "flatten",
                                          [NN_LAYER_ADD] = "add",
                                          [NN_LAYER_SUBSAMPLE] = "subsample"};

#define N_LAYER_KINDS (sizeof(layer_names) / sizeof(layer_names[0]))

const char *nn_layer_kind_name(nn_layer_kind kind)
{
    SOTTO_ASSERT((size_t)kind < N_LAYER_KINDS);
    return layer_names[kind];
}

static sotto_status parse_window(nn_layer_config *layer, nn_options *opts)
{
    SOTTO_TRY(nn_options_sizes(opts, layer->kernel, 2, "kernel", 1, 1024));
    if (layer->kernel[0] == 0) {
        return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT, "%s needs kernel=",
                              nn_layer_kind_name(layer->kind));
    }
    for (size_t i = 0; i < 2; i++) {
        layer->stride[i] = layer->kind == NN_LAYER_CONV ? 1 : layer->kernel[i];
    }
    return nn_options_sizes(opts, layer->stride, 2, "stride", 1, 1024);
}

static sotto_status parse_quadratic(nn_layer_config *layer, nn_options *opts)
{
    layer->coef[1] = 1.0;
    layer->rate = 1.0;
    SOTTO_TRY(nn_options_number(opts, &layer->coef[0], "a", -1e3, 1e3));
    SOTTO_TRY(nn_options_number(opts, &layer->coef[1], "b", -1e3, 1e3));
    SOTTO_TRY(nn_options_number(opts, &layer->coef[2], "c", -1e3, 1e3));
    SOTTO_TRY(nn_options_number(opts, &layer->rate, "rate", 0, 1e3));
    const char *per = nn_options_take(opts, "per");
    if (per == NULL || strcmp(per, "layer") == 0) {
        layer->per = NN_PER_LAYER;
    } else if (strcmp(per, "channel") == 0) {
        layer->per = NN_PER_CHANNEL;
    } else if (strcmp(per, "element") == 0) {
        layer->per = NN_PER_ELEMENT;
    } else {
        return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                              "per=%.40s; expected layer, channel or element",
                              per);
    }
    return SOTTO_OK;
}

static sotto_status parse_layer_options(nn_layer_config *layer,
                                        nn_options *opts)
{
    switch (layer->kind) {
    case NN_LAYER_CONV:
        layer->bias = true;
        SOTTO_TRY(nn_options_count(opts, &layer->maps, "maps", 1, 65536));
        SOTTO_TRY(nn_options_sizes(opts, layer->pad, 4, "pads", 0, 1024));
        SOTTO_TRY(nn_options_flag(opts, &layer->bias, "bias"));
        if (layer->maps == 0) {
            return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                                  "conv needs maps=");
        }
        return parse_window(layer, opts);
    case NN_LAYER_DENSE:
        layer->bias = true;
        SOTTO_TRY(nn_options_count(opts, &layer->units, "units", 1, 1 << 20));
        SOTTO_TRY(nn_options_flag(opts, &layer->bias, "bias"));
        if (layer->units == 0) {
            return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                                  "dense needs units=");
        }
        return SOTTO_OK;
    case NN_LAYER_BATCH_NORM:
        layer->momentum = 0.01;
        layer->epsilon = 1e-5;
        SOTTO_TRY(
            nn_options_number(opts, &layer->momentum, "momentum", 1e-6, 1));
        return nn_options_number(opts, &layer->epsilon, "epsilon", 1e-9, 1);
    case NN_LAYER_QUADRATIC:
        return parse_quadratic(layer, opts);
    case NN_LAYER_AVG_POOL:
    case NN_LAYER_MAX_POOL:
        return parse_window(layer, opts);
    case NN_LAYER_SUBSAMPLE:
        layer->kernel[0] = layer->kernel[1] = 1;
        layer->stride[0] = layer->stride[1] = 2;
        SOTTO_TRY(nn_options_count(opts, &layer->maps, "maps", 1, 65536));
        if (layer->maps == 0) {
            return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                                  "subsample needs maps=");
        }
        return nn_options_sizes(opts, layer->stride, 2, "stride", 1, 1024);
    case NN_LAYER_RELU:
    case NN_LAYER_SQUARE:
    case NN_LAYER_FLATTEN:
    case NN_LAYER_ADD:
        break;
    }
    return SOTTO_OK;
}

/* The number of the layer before this one that an option names; without the
 * option *number stays. */
static sotto_status parse_source(const nn_train_config *config,
                                 nn_options *opts, const char *option,
                                 int *number)
{
    const char *name = nn_options_take(opts, option);
    if (name == NULL) {
        return SOTTO_OK;
    }
    for (size_t i = 0; i < config->n_layers; i++) {
        if (strcmp(config->layers[i].name, name) == 0) {
            *number = (int)i;
            return SOTTO_OK;
        }
    }
    return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                          "%s=%.40s: no layer above has that name", option,
                          name);
}

/* What all layers may say: their name, and whose values they read. */
static sotto_status parse_links(const nn_train_config *config,
                                nn_layer_config *layer, nn_options *opts)
{
    const char *name = nn_options_take(opts, "name");
    layer->reads[0] = (int)config->n_layers - 1;
    layer->reads[1] = -1;
    SOTTO_TRY(parse_source(config, opts, "from", &layer->reads[0]));
    if (layer->kind == NN_LAYER_ADD) {
        SOTTO_TRY(parse_source(config, opts, "with", &layer->reads[1]));
        if (layer->reads[1] < 0) {
            return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                                  "add needs with=");
        }
    }
    if (name == NULL) {
        return SOTTO_OK;
    }
    if (strlen(name) == 0 || strlen(name) >= sizeof(layer->name)) {
        return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                              "name=%.40s: expected 1 to %zu characters", name,
                              sizeof(layer->name) - 1);
    }
    for (size_t i = 0; i < config->n_layers; i++) {
        if (strcmp(config->layers[i].name, name) == 0) {
            return nn_config_fail(&opts->at, SOTTO_ERR_FORMAT,
                                  "two layers have the name %.40s", name);
        }
    }
    (void)snprintf(layer->name, sizeof(layer->name), "%s", name);
    return SOTTO_OK;
}

sotto_status nn_config_parse_layer(nn_train_config *config, const nn_cursor *at,
                                   char *value)
{
    nn_options opts;
    nn_layer_config layer = {0};
    size_t kind = 0;

    if (config->n_layers == NN_CONFIG_MAX_LAYERS) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT, "more than %d layers",
                              NN_CONFIG_MAX_LAYERS);
    }
    SOTTO_TRY(nn_options_split(&opts, at, value));
    while (kind < N_LAYER_KINDS && strcmp(layer_names[kind], value) != 0) {
        kind++;
    }
    if (kind == N_LAYER_KINDS) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT,
                              "unknown layer '%.40s'; expected conv, dense, "
                              "batch_norm, relu, square, quadratic, avg_pool, "
                              "max_pool, flatten, add or subsample",
                              value);
    }
    layer.kind = (nn_layer_kind)kind;
    layer.line = at->line;
    SOTTO_TRY(parse_layer_options(&layer, &opts));
    SOTTO_TRY(parse_links(config, &layer, &opts));
    SOTTO_TRY(nn_options_end(&opts, layer_names[kind]));
    config->layers[config->n_layers++] = layer;
    return SOTTO_OK;
}
