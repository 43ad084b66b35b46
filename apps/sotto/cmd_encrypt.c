/* SPDX-License-Identifier: MIT
 * sotto encrypt: the client's images as ciphertexts.
 */
#include <inttypes.h>
#include <string.h>

#include "apps/sotto/commands.h"
#include "apps/sotto/load.h"
#include "apps/sotto/show.h"
#include "base/mem.h"
#include "rlwe/wire.h"

/* The key of an encryption: exactly one is not NULL. */
typedef struct encrypt_key {
    rlwe_secret *secret;
    rlwe_public *public_key;
} encrypt_key;

/* Reads the one key that was given; the caller frees. */
static sotto_status read_key(app_state *app, encrypt_key *key,
                             const rlwe_context *context,
                             const encrypt_options *options, sotto_error *err)
{
    bool from_seed = false;
    if (options->key != NULL) {
        SOTTO_TRY(rlwe_read_secret(&key->secret, options->key, context, err));
        from_seed = key->secret->from_seed;
    } else {
        SOTTO_TRY(rlwe_read_public(&key->public_key, options->public_key,
                                   context, err));
        from_seed = key->public_key->from_seed;
    }
    if (from_seed) {
        app_warn(app, "%s was made with --seed: what it encrypts is not secret",
                 options->key != NULL ? options->key : options->public_key);
    }
    return SOTTO_OK;
}

/* Encrypts into the output file, which appears only when all is written. */
static sotto_status write_images(app_state *app, encrypt_result *result,
                                 const load_plan *loaded,
                                 const encrypt_key *key, load_images *images,
                                 const encrypt_options *options,
                                 sotto_error *err)
{
    sotto_seed root;
    const bool seeded = options->seed != NULL;
    if (seeded) {
        app_warn(app, "--seed makes ciphertexts that anyone can open; they "
                      "are marked, for tests only");
        sotto_seed_from_text(&root, options->seed);
    }
    sotto_output *out = NULL;
    SOTTO_TRY(
        sotto_output_open(&out, options->out, SOTTO_OUTPUT_PUBLIC, false, err));
    const nn_run_options run = app_run_options(app, "encrypt");
    const sotto_status status =
        nn_run_encrypt(loaded->plan, loaded->context, out, key->secret,
                       key->public_key, load_images_read, images, images->count,
                       seeded ? &root : NULL, &run, err);
    app_progress_end(app);
    result->bytes = sotto_output_size(out);
    if (status != SOTTO_OK) {
        sotto_output_discard(out);
        return status;
    }
    return sotto_output_commit(out, err);
}

/* Reads key and images, then writes. */
static sotto_status encrypt_all(app_state *app, encrypt_result *result,
                                const load_plan *loaded,
                                const encrypt_options *options,
                                sotto_error *err)
{
    load_images images;
    SOTTO_TRY(load_images_files(&images, &options->images, options->range,
                                &loaded->plan->input_shape, err));
    result->images = images.count;
    result->batches = nn_plan_batches(loaded->plan, images.count);
    result->slots = nn_plan_slots(loaded->plan);
    result->packing = loaded->plan->packing;
    result->cts = loaded->plan->n_inputs;
    encrypt_key key = {NULL, NULL};
    sotto_status status = read_key(app, &key, loaded->context, options, err);
    if (status == SOTTO_OK) {
        status = write_images(app, result, loaded, &key, &images, options, err);
    }
    rlwe_secret_free(key.secret, loaded->context);
    rlwe_public_free(key.public_key);
    load_images_clear(&images);
    return status;
}

sotto_status encrypt_run(app_state *app, encrypt_result *result,
                         const encrypt_options *options, sotto_error *err)
{
    const double start = app_seconds();
    memset(result, 0, sizeof *result);
    if ((options->key != NULL) == (options->public_key != NULL)) {
        return app_usage(
            app, err, "%s, expected exactly one of --key and --public-key",
            options->key != NULL ? "two keys are given" : "no key is given");
    }
    load_plan loaded;
    SOTTO_TRY(
        load_plan_file(app, &loaded, options->plan, options->insecure, err));
    const sotto_status status = encrypt_all(app, result, &loaded, options, err);
    load_plan_clear(&loaded);
    result->seconds = app_seconds() - start;
    return status;
}

/* ---- Command ------------------------------------------------------------- */

/* Says what was written, and how much of the last batch is empty. */
static void show(app_state *app, const encrypt_result *result,
                 const encrypt_options *options)
{
    char how[64];
    if (result->packing == NN_PACKING_SINGLE) {
        (void)snprintf(how, sizeof how, "of %" PRIu64 " ciphertext%s%s",
                       result->cts, result->cts == 1 ? "" : "s",
                       result->images == 1 ? "" : " each");
    } else {
        (void)snprintf(how, sizeof how, "in %" PRIu64 " batch%s",
                       result->batches, result->batches == 1 ? "" : "es");
    }
    app_say(app, "%s: %" PRIu64 " image%s %s, %s, %s", options->out,
            result->images, result->images == 1 ? "" : "s", how,
            text_of_bytes(result->bytes).text,
            text_of_seconds(result->seconds).text);
    const uint64_t room = result->slots * result->batches;
    if (result->images < room) {
        app_say(app,
                "%" PRIu64 " of %" PRIu64 " slots are empty: images for them "
                "would cost nothing",
                room - result->images, room);
    }
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const encrypt_options *options = values;
    SOTTO_TRY(app_claim_output(app, options->out, err));
    encrypt_result result;
    SOTTO_TRY(encrypt_run(app, &result, options, err));
    show(app, &result, options);
    app_json file;
    SOTTO_TRY(app_json_open(&file, options->common.json, err));
    if (file.open) {
        json_string(&file.j, "packing", show_packing(result.packing));
        json_count(&file.j, "images", result.images);
        json_count(&file.j, "batches", result.batches);
        json_count(&file.j, "slots", result.slots);
        json_count(&file.j, "bytes", result.bytes);
        json_real(&file.j, "seconds", result.seconds);
    }
    return app_json_close(&file, err);
}

static const opt_spec specs[] = {
    {"-o", OPT_TEXT, offsetof(encrypt_options, out), "FILE",
     "write the ciphertexts to FILE", 0, 0, true},
    {"--key", OPT_TEXT, offsetof(encrypt_options, key), "FILE",
     "encrypt with this secret key (half the bytes)", 0, 0, false},
    {"--public-key", OPT_TEXT, offsetof(encrypt_options, public_key), "FILE",
     "encrypt under this public key", 0, 0, false},
    {"--range", OPT_RANGE, offsetof(encrypt_options, range), "FIRST:END",
     "images FIRST to END-1 only, counted from 0", 0, 0, false},
    {"--seed", OPT_TEXT, offsetof(encrypt_options, seed), "TEXT",
     "for tests: randomness that depends on TEXT only", 0, 0, false},
    {"--insecure-parameters", OPT_FLAG, offsetof(encrypt_options, insecure),
     NULL, "accept a plan below 128 bits of security", 0, 0, false}};

static const opt_operand operands[] = {
    {"PLAN", offsetof(encrypt_options, plan), false, false},
    {"IMAGES", offsetof(encrypt_options, images), true, false}};

const app_command cmd_encrypt = {
    "encrypt",
    "encrypt images for the server",
    "IMAGES are IDX, CIFAR-10 binary, PGM or PPM files. As the plan says, one\n"
    "ciphertext holds one pixel position of a whole batch of images, or one\n"
    "image lies across the slots of few ciphertexts.\n",
    {specs, sizeof specs / sizeof specs[0], operands, 2},
    sizeof(encrypt_options),
    run};
