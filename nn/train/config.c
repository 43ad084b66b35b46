/* SPDX-License-Identifier: MIT
 * The parser of training configurations.
 *
 * A line is cut into key and value; simple keys are described by a table, keys
 * with options (`layer = conv maps=5 kernel=5`) take their options one by one,
 * and what nobody took is an error. The first error ends the parse.
 */
#include "nn/train/config_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

#define MAX_COUNT ((double)((size_t)1 << 40))

/* --- keys with options ------------------------------------------------ */

static sotto_status parse_optimiser(nn_train_config *config,
                                    const nn_cursor *at, char *value)
{
    nn_options opts;
    SOTTO_TRY(nn_options_split(&opts, at, value));
    if (strcmp(value, "sgd") == 0) {
        config->optimiser = NN_SGD;
        SOTTO_TRY(
            nn_options_number(&opts, &config->momentum, "momentum", 0, 0.9999));
        SOTTO_TRY(nn_options_flag(&opts, &config->nesterov, "nesterov"));
    } else if (strcmp(value, "adam") == 0) {
        config->optimiser = NN_ADAM;
        SOTTO_TRY(
            nn_options_number(&opts, &config->beta[0], "beta1", 0, 0.9999999));
        SOTTO_TRY(
            nn_options_number(&opts, &config->beta[1], "beta2", 0, 0.9999999));
        SOTTO_TRY(
            nn_options_number(&opts, &config->epsilon, "epsilon", 1e-12, 1));
    } else {
        return nn_config_fail(at, SOTTO_ERR_FORMAT,
                              "unknown optimiser '%.40s'; expected sgd or adam",
                              value);
    }
    return nn_options_end(&opts, value);
}

static sotto_status parse_schedule(nn_train_config *config, const nn_cursor *at,
                                   char *value)
{
    nn_options opts;
    SOTTO_TRY(nn_options_split(&opts, at, value));
    SOTTO_TRY(nn_options_number(&opts, &config->warmup, "warmup", 0, 1e6));
    if (strcmp(value, "constant") == 0) {
        config->schedule = NN_SCHEDULE_CONSTANT;
    } else if (strcmp(value, "cosine") == 0) {
        config->schedule = NN_SCHEDULE_COSINE;
        SOTTO_TRY(
            nn_options_number(&opts, &config->final_factor, "final", 0, 1));
    } else if (strcmp(value, "step") == 0) {
        config->schedule = NN_SCHEDULE_STEP;
        SOTTO_TRY(
            nn_options_count(&opts, &config->step_every, "every", 1, 1e6));
        SOTTO_TRY(
            nn_options_number(&opts, &config->step_factor, "factor", 1e-6, 1));
        if (config->step_every == 0) {
            return nn_config_fail(at, SOTTO_ERR_FORMAT,
                                  "step needs every=EPOCHS");
        }
    } else {
        return nn_config_fail(
            at, SOTTO_ERR_FORMAT,
            "unknown schedule '%.40s'; expected constant, cosine "
            "or step",
            value);
    }
    return nn_options_end(&opts, value);
}

static sotto_status parse_floats(const nn_cursor *at, float *out, size_t *n,
                                 const char *name, char *value, double min,
                                 double max)
{
    double list[NN_CONFIG_MAX_CHANNELS];
    SOTTO_TRY(nn_config_list(at, list, n, NN_CONFIG_MAX_CHANNELS, name, value,
                             min, max));
    for (size_t i = 0; i < *n; i++) {
        out[i] = (float)list[i];
    }
    return SOTTO_OK;
}

static sotto_status parse_image_path(nn_train_config *config,
                                     const nn_cursor *at, const char *value)
{
    if (config->n_train_images == NN_CONFIG_MAX_FILES) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT, "more than %d image files",
                              NN_CONFIG_MAX_FILES);
    }
    return nn_config_text(at, config->train_images[config->n_train_images++],
                          "train_images", value);
}

/* --- all keys --------------------------------------------------------- */

typedef enum key_kind {
    KEY_TEXT,
    KEY_COUNT,
    KEY_NUMBER,
    KEY_MEAN,
    KEY_STD,
    KEY_IMAGES,
    KEY_OPTIMISER,
    KEY_SCHEDULE,
    KEY_LAYER
} key_kind;

typedef struct key {
    const char *name;
    key_kind kind;
    size_t offset; /* of the field, for the first three kinds */
    double min, max;
} key;

#define FIELD(name) offsetof(nn_train_config, name)

static const key keys[] = {
    {"name", KEY_TEXT, FIELD(name), 0, 0},
    {"seed", KEY_TEXT, FIELD(seed), 0, 0},
    {"train_images", KEY_IMAGES, 0, 0, 0},
    {"train_labels", KEY_TEXT, FIELD(train_labels), 0, 0},
    {"train_count", KEY_COUNT, FIELD(train_count), 1, MAX_COUNT},
    {"validation", KEY_COUNT, FIELD(validation), 0, MAX_COUNT},
    {"mean", KEY_MEAN, 0, -1e6, 1e6},
    {"std", KEY_STD, 0, 1e-6, 1e6},
    {"shift", KEY_COUNT, FIELD(shift), 0, 64},
    {"epochs", KEY_COUNT, FIELD(epochs), 1, 1e6},
    {"batch", KEY_COUNT, FIELD(batch), 1, 65536},
    {"optimiser", KEY_OPTIMISER, 0, 0, 0},
    {"learning_rate", KEY_NUMBER, FIELD(learning_rate), 1e-12, 1e3},
    {"schedule", KEY_SCHEDULE, 0, 0, 0},
    {"weight_decay", KEY_NUMBER, FIELD(weight_decay), 0, 1},
    {"label_smoothing", KEY_NUMBER, FIELD(label_smoothing), 0, 0.9},
    {"checkpoint", KEY_TEXT, FIELD(checkpoint), 0, 0},
    {"layer", KEY_LAYER, 0, 0, 0},
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static sotto_status parse_value(nn_train_config *config, const nn_cursor *at,
                                const key *k, char *value)
{
    char *field = (char *)config + k->offset;
    switch (k->kind) {
    case KEY_TEXT:
        return nn_config_text(at, field, k->name, value);
    case KEY_COUNT:
        return nn_config_count(at, (size_t *)(void *)field, k->name, value,
                               k->min, k->max);
    case KEY_NUMBER:
        return nn_config_number(at, (double *)(void *)field, k->name, value,
                                k->min, k->max);
    case KEY_MEAN:
    case KEY_STD: {
        const size_t had = config->n_mean;
        float *list = k->kind == KEY_MEAN ? config->mean : config->std;
        SOTTO_TRY(parse_floats(at, list, &config->n_mean, k->name, value,
                               k->min, k->max));
        if (had != 0 && had != config->n_mean) {
            return nn_config_fail(at, SOTTO_ERR_FORMAT,
                                  "mean and std have %zu and %zu values", had,
                                  config->n_mean);
        }
        return SOTTO_OK;
    }
    case KEY_IMAGES:
        return parse_image_path(config, at, value);
    case KEY_OPTIMISER:
        return parse_optimiser(config, at, value);
    case KEY_SCHEDULE:
        return parse_schedule(config, at, value);
    case KEY_LAYER:
        return nn_config_parse_layer(config, at, value);
    }
    return SOTTO_OK;
}

/* Cuts white space off both ends in place. */
static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r", text[len - 1]) != NULL) {
        text[--len] = '\0';
    }
    return text;
}

static sotto_status parse_line(nn_train_config *config, const nn_cursor *at,
                               bool *seen, char *line)
{
    char *name = trim(line);
    if (*name == '\0' || *name == '#') {
        return SOTTO_OK;
    }
    char *equals = strchr(name, '=');
    if (equals == NULL) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT,
                              "'%.40s': expected key = value", name);
    }
    *equals = '\0';
    char *value = trim(equals + 1);
    name = trim(name);
    size_t i = 0;
    while (i < N_KEYS && strcmp(keys[i].name, name) != 0) {
        i++;
    }
    if (i == N_KEYS) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT, "unknown key '%.40s'",
                              name);
    }
    if (*value == '\0') {
        return nn_config_fail(at, SOTTO_ERR_FORMAT, "%s has no value", name);
    }
    if (seen[i] && keys[i].kind != KEY_LAYER && keys[i].kind != KEY_IMAGES) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT, "%s is given twice", name);
    }
    seen[i] = true;
    return parse_value(config, at, &keys[i], value);
}

static void set_defaults(nn_train_config *config)
{
    memset(config, 0, sizeof(*config));
    (void)snprintf(config->name, sizeof(config->name), "network");
    (void)snprintf(config->seed, sizeof(config->seed), "1");
    config->epochs = 10;
    config->batch = 64;
    config->optimiser = NN_SGD;
    config->momentum = 0.9;
    config->beta[0] = 0.9;
    config->beta[1] = 0.999;
    config->epsilon = 1e-8;
    config->learning_rate = 0.01;
    config->schedule = NN_SCHEDULE_COSINE;
    config->step_factor = 0.1;
}

/* What no single line can tell. */
static sotto_status check_whole(const nn_train_config *config, const bool *seen,
                                const nn_cursor *at)
{
    bool mean = false;
    bool std = false;
    for (size_t i = 0; i < N_KEYS; i++) {
        mean = mean || (keys[i].kind == KEY_MEAN && seen[i]);
        std = std || (keys[i].kind == KEY_STD && seen[i]);
    }
    if (mean != std) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT, "mean and std go together");
    }
    if (config->n_layers == 0) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT, "no layer is given");
    }
    if (config->n_train_images == 0) {
        return nn_config_fail(at, SOTTO_ERR_FORMAT, "train_images is missing");
    }
    return SOTTO_OK;
}

static sotto_status parse_all(nn_train_config *config, nn_cursor *at,
                              char *text)
{
    bool seen[N_KEYS] = {false};
    for (char *line = text; line != NULL;) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        at->line++;
        SOTTO_TRY(parse_line(config, at, seen, line));
        line = end != NULL ? end + 1 : NULL;
    }
    return check_whole(config, seen, at);
}

sotto_status nn_train_config_parse(nn_train_config *config, const char *text,
                                   size_t len_bytes, const char *origin,
                                   sotto_error *err)
{
    nn_cursor at = {origin, 0, err};
    memset(config, 0, sizeof(*config));
    if (len_bytes > NN_CONFIG_MAX_BYTES) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: %zu bytes; at most %zu are taken", origin,
                          len_bytes, NN_CONFIG_MAX_BYTES);
    }
    if (memchr(text, '\0', len_bytes) != NULL) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s: holds a zero byte; expected text", origin);
    }
    char *copy = sotto_calloc(len_bytes + 1, 1);
    if (copy == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    memcpy(copy, text, len_bytes);
    set_defaults(config);
    const sotto_status status = parse_all(config, &at, copy);
    sotto_free(copy);
    if (status != SOTTO_OK) {
        memset(config, 0, sizeof(*config));
    }
    return status;
}

sotto_status nn_train_config_load(nn_train_config *config, const char *path,
                                  sotto_error *err)
{
    uint8_t *text = NULL;
    size_t len_bytes = 0;
    memset(config, 0, sizeof(*config));
    SOTTO_TRY(
        sotto_file_read(&text, &len_bytes, path, NN_CONFIG_MAX_BYTES, err));
    const sotto_status status =
        nn_train_config_parse(config, (const char *)text, len_bytes, path, err);
    sotto_free(text);
    return status;
}

/* --- identity --------------------------------------------------------- */

static void hash_text(sotto_sha256 *hash, const char *format, ...)
    SOTTO_PRINTF(2, 3);

static void hash_text(sotto_sha256 *hash, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    const int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    SOTTO_ASSERT(len >= 0 && (size_t)len < sizeof(text));
    sotto_sha256_update(hash, text, (size_t)len);
}

static void hash_layer(sotto_sha256 *hash, const nn_layer_config *layer)
{
    hash_text(hash, "layer %s %zu %zu %d %zu,%zu %zu,%zu %zu,%zu,%zu,%zu ",
              nn_layer_kind_name(layer->kind), layer->maps, layer->units,
              layer->bias, layer->kernel[0], layer->kernel[1], layer->stride[0],
              layer->stride[1], layer->pad[0], layer->pad[1], layer->pad[2],
              layer->pad[3]);
    hash_text(hash, "%a,%a,%a %d %a %a %a\n", layer->coef[0], layer->coef[1],
              layer->coef[2], (int)layer->per, layer->rate, layer->momentum,
              layer->epsilon);
    hash_text(hash, "reads %d %d\n", layer->reads[0], layer->reads[1]);
}

void nn_train_config_digest(uint8_t *digest, const nn_train_config *config)
{
    sotto_sha256 hash;
    sotto_sha256_init(&hash);
    /* of the order of sums: another one ends with other weights */
    hash_text(&hash, "arithmetic 2\n");
    hash_text(&hash, "seed %s\ndata %zu %zu %zu\n", config->seed,
              config->train_count, config->validation, config->shift);
    for (size_t i = 0; i < config->n_mean; i++) {
        hash_text(&hash, "norm %a %a\n", (double)config->mean[i],
                  (double)config->std[i]);
    }
    hash_text(&hash, "run %zu %zu\noptimiser %d %a %d %a %a %a\n",
              config->epochs, config->batch, (int)config->optimiser,
              config->momentum, config->nesterov, config->beta[0],
              config->beta[1], config->epsilon);
    hash_text(&hash, "rate %a %d %a %a %zu %a\nloss %a %a\n",
              config->learning_rate, (int)config->schedule, config->warmup,
              config->final_factor, config->step_every, config->step_factor,
              config->weight_decay, config->label_smoothing);
    for (size_t i = 0; i < config->n_layers; i++) {
        hash_layer(&hash, &config->layers[i]);
    }
    sotto_sha256_final(&hash, digest);
}
