/* SPDX-License-Identifier: MIT
 * sotto keygen: the client's keys for a plan.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/sotto/commands.h"
#include "apps/sotto/load.h"
#include "base/mem.h"
#include "rlwe/keys.h"
#include "rlwe/wire.h"

#define PATH_BYTES 4096

/* The files of a key folder. The secret comes last: it appears only when
 * everything that depends on it is there. */
enum { FILE_EVAL, FILE_PUBLIC, FILE_SECRET, N_FILES };
static const char *const file_name[N_FILES] = {"eval.key", "public.key",
                                               "secret.key"};

/* A key set on its way to disk. */
typedef struct key_files {
    char path[N_FILES][PATH_BYTES];
    sotto_output *out[N_FILES]; /* NULL: not made, or committed */
    bool committed[N_FILES];
    uint64_t bytes[N_FILES];
} key_files;

/* ---- Files --------------------------------------------------------------- */

/* The folder for the keys, for its owner only; one that is there is kept as it
 * is. */
static sotto_status make_folder(const char *path, sotto_error *err)
{
    struct stat info;
    if (mkdir(path, 0700) == 0 ||
        (errno == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode))) {
        return SOTTO_OK;
    }
    return sotto_fail(err, SOTTO_ERR_IO,
                      "the folder %s cannot be made: %s; name a folder that "
                      "can hold the keys",
                      path, strerror(errno));
}

/* Names the files, and refuses when one is there already: an old evaluation
 * key beside a new secret would fit nothing. */
static sotto_status name_files(key_files *files, const keygen_options *options,
                               sotto_error *err)
{
    for (int f = 0; f < N_FILES; f++) {
        const int n = snprintf(files->path[f], PATH_BYTES, "%s/%s",
                               options->out, file_name[f]);
        if (n < 0 || n >= PATH_BYTES) {
            return sotto_fail(err, SOTTO_ERR_IO,
                              "the name of the folder is too long, expected "
                              "fewer than %d bytes",
                              PATH_BYTES);
        }
        struct stat info;
        if (!options->force && lstat(files->path[f], &info) == 0) {
            return sotto_fail(err, SOTTO_ERR_IO,
                              "%s exists, expected a folder without keys; "
                              "choose another folder, or give --force to "
                              "overwrite the keys there",
                              files->path[f]);
        }
    }
    return SOTTO_OK;
}

/* Starts one file; the secret is unreadable for others from the first byte on.
 */
static sotto_status open_file(key_files *files, int f, bool force,
                              sotto_error *err)
{
    return sotto_output_open(&files->out[f], files->path[f],
                             f == FILE_SECRET ? SOTTO_OUTPUT_SECRET
                                              : SOTTO_OUTPUT_PUBLIC,
                             !force, err);
}

/* Puts all files in place, or none. With force, files of an older key set that
 * the new one does not have are removed. */
static sotto_status commit_files(key_files *files, bool force, sotto_error *err)
{
    sotto_status status = SOTTO_OK;
    for (int f = 0; f < N_FILES && status == SOTTO_OK; f++) {
        if (files->out[f] == NULL) {
            if (force) {
                (void)unlink(files->path[f]);
            }
            continue;
        }
        sotto_output *out = files->out[f];
        files->out[f] = NULL;
        files->bytes[f] = sotto_output_size(out);
        status = sotto_output_commit(out, err);
        files->committed[f] = status == SOTTO_OK;
    }
    for (int f = 0; f < N_FILES && status != SOTTO_OK; f++) {
        if (files->committed[f]) {
            (void)unlink(files->path[f]);
        }
    }
    return status;
}

static void discard_files(key_files *files)
{
    for (int f = 0; f < N_FILES; f++) {
        sotto_output_discard(files->out[f]);
        files->out[f] = NULL;
    }
}

/* ---- Keys ---------------------------------------------------------------- */

/* Switching keys on their way to the file: while some are made, those made
 * before are written in their order. */
typedef struct key_run {
    const load_plan *loaded;
    const rlwe_secret *secret;
    const sotto_seed *root;
    sotto_output *out;
    size_t now, n_now;       /* keys that are made, … */
    size_t before, n_before; /* … and written */
    rlwe_switch_key **key;   /* [n_keys], NULL before and after */
} key_run;

static sotto_status write_keys(key_run *run, sotto_error *err)
{
    for (size_t k = run->before; k < run->before + run->n_before; k++) {
        SOTTO_TRY(rlwe_write_switch_key(run->out, run->loaded->context,
                                        run->key[k], (uint64_t)k, err));
        rlwe_switch_key_free(run->key[k]);
        run->key[k] = NULL;
    }
    return SOTTO_OK;
}

/* Task 0 writes, the others make a key each. */
static sotto_status key_task(void *arg, size_t task, int worker,
                             sotto_error *err)
{
    (void)worker;
    key_run *run = arg;
    if (task == 0) {
        return write_keys(run, err);
    }
    const rlwe_context *context = run->loaded->context;
    const size_t k = run->now + task - 1;
    const nn_plan_key *wanted = &run->loaded->plan->key[k];
    return rlwe_switch_key_new(&run->key[k], context, run->secret,
                               wanted->target,
                               &context->params.literal.gadget[wanted->gadget],
                               run->root, (uint32_t)k, err);
}

/* All keys, as many at once as there are threads, twice. */
static sotto_status run_keys(key_run *run, nn_control *control,
                             sotto_error *err)
{
    const size_t n = (size_t)run->loaded->plan->n_keys;
    const size_t most = 2 * (size_t)nn_control_threads(control);
    while (run->now < n || run->n_before > 0) {
        run->n_now = n - run->now < most ? n - run->now : most;
        SOTTO_TRY(
            nn_control_run(control, 1 + run->n_now, 0, key_task, run, err));
        run->before = run->now;
        run->n_before = run->n_now;
        run->now += run->n_now;
        SOTTO_TRY(nn_control_advance(control, run->n_now, err));
    }
    return SOTTO_OK;
}

/* Makes and writes the switching keys. */
static sotto_status write_eval(app_state *app, sotto_output *out,
                               const load_plan *loaded,
                               const rlwe_secret *secret,
                               const sotto_seed *root, sotto_error *err)
{
    const size_t n = (size_t)loaded->plan->n_keys;
    const rlwe_file_header header = rlwe_file_header_make(
        loaded->context, RLWE_FILE_EVAL, secret->key_id, secret->from_seed);
    SOTTO_TRY(rlwe_write_header(out, &header, err));
    key_run run = {
        .loaded = loaded, .secret = secret, .root = root, .out = out};
    nn_control *control = NULL;
    const nn_run_options options = app_run_options(app, "keygen");
    SOTTO_TRY(nn_control_new(&control, &options, n, err));
    run.key = sotto_calloc(n, sizeof(*run.key));
    const sotto_status status =
        run.key == NULL ? sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory")
                        : run_keys(&run, control, err);
    for (size_t k = 0; run.key != NULL && k < n; k++) {
        rlwe_switch_key_free(run.key[k]);
    }
    sotto_free(run.key);
    nn_control_free(control);
    return status;
}

/* Makes and writes the public key. */
static sotto_status write_public(sotto_output *out, const rlwe_context *context,
                                 const rlwe_secret *secret,
                                 const sotto_seed *root, sotto_error *err)
{
    rlwe_public *key = NULL;
    SOTTO_TRY(rlwe_public_new(&key, context, secret, root, err));
    const sotto_status status = rlwe_write_public(out, context, key, err);
    rlwe_public_free(key);
    return status;
}

/* Writes all files under temporary names, then puts them in place. */
static sotto_status write_files(app_state *app, key_files *files,
                                const load_plan *loaded,
                                const keygen_options *options,
                                const rlwe_secret *secret,
                                const sotto_seed *root, sotto_error *err)
{
    const rlwe_context *context = loaded->context;
    SOTTO_TRY(open_file(files, FILE_SECRET, options->force, err));
    SOTTO_TRY(rlwe_write_secret(files->out[FILE_SECRET], context, secret, err));
    if (loaded->plan->n_keys > 0) {
        SOTTO_TRY(open_file(files, FILE_EVAL, options->force, err));
        SOTTO_TRY(
            write_eval(app, files->out[FILE_EVAL], loaded, secret, root, err));
    }
    if (options->public_key) {
        SOTTO_TRY(open_file(files, FILE_PUBLIC, options->force, err));
        SOTTO_TRY(
            write_public(files->out[FILE_PUBLIC], context, secret, root, err));
    }
    return commit_files(files, options->force, err);
}

/* Makes the secret and writes all files. root NULL: from the system. */
static sotto_status make_keys(app_state *app, keygen_result *result,
                              const load_plan *loaded,
                              const keygen_options *options,
                              const sotto_seed *root, sotto_error *err)
{
    if (options->public_key && !loaded->plan->params.has_public) {
        return app_usage(app, err,
                         "%s has no public key, expected a plan made with "
                         "sotto plan --public",
                         options->plan);
    }
    key_files *files = sotto_calloc(1, sizeof *files);
    if (files == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    rlwe_secret *secret = NULL;
    sotto_status status = make_folder(options->out, err);
    if (status == SOTTO_OK) {
        status = name_files(files, options, err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_secret_new(&secret, loaded->context, root, err);
    }
    if (status == SOTTO_OK) {
        status = write_files(app, files, loaded, options, secret, root, err);
        memcpy(result->key_id, secret->key_id, sizeof result->key_id);
    }
    discard_files(files);
    rlwe_secret_free(secret, loaded->context);
    result->secret_bytes = files->bytes[FILE_SECRET];
    result->eval_bytes = files->bytes[FILE_EVAL];
    result->public_bytes = files->bytes[FILE_PUBLIC];
    result->n_keys = loaded->plan->n_keys;
    sotto_free(files);
    return status;
}

sotto_status keygen_run(app_state *app, keygen_result *result,
                        const keygen_options *options, sotto_error *err)
{
    const double start = app_seconds();
    memset(result, 0, sizeof *result);
    sotto_seed root;
    const bool seeded = options->seed != NULL;
    if (seeded) {
        app_warn(app, "--seed makes keys that anyone can make again; they are "
                      "marked, for tests only");
        sotto_seed_from_text(&root, options->seed);
    }
    load_plan loaded;
    SOTTO_TRY(
        load_plan_file(app, &loaded, options->plan, options->insecure, err));
    const sotto_status status =
        make_keys(app, result, &loaded, options, seeded ? &root : NULL, err);
    load_plan_clear(&loaded);
    app_progress_end(app);
    result->seconds = app_seconds() - start;
    return status;
}

/* ---- Command ------------------------------------------------------------- */

/* Says which file goes where. */
static void show(app_state *app, const keygen_result *result,
                 const keygen_options *options)
{
    app_say(app, "%s/secret.key  %s  keep it; the server must not have it",
            options->out, text_of_bytes(result->secret_bytes).text);
    if (result->eval_bytes > 0) {
        app_say(app, "%s/eval.key    %s  %d switching key%s, for the server",
                options->out, text_of_bytes(result->eval_bytes).text,
                result->n_keys, result->n_keys == 1 ? "" : "s");
    } else {
        app_say(app, "no eval.key: this plan needs none");
    }
    if (result->public_bytes > 0) {
        app_say(app, "%s/public.key  %s  for whoever encrypts", options->out,
                text_of_bytes(result->public_bytes).text);
    }
    app_say(app, "%s", text_of_seconds(result->seconds).text);
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const keygen_options *options = values;
    keygen_result result;
    SOTTO_TRY(keygen_run(app, &result, options, err));
    show(app, &result, options);
    app_json file;
    SOTTO_TRY(app_json_open(&file, options->common.json, err));
    if (file.open) {
        json_string(&file.j, "folder", options->out);
        json_hex(&file.j, "key_id", result.key_id, sizeof result.key_id);
        json_bool(&file.j, "from_seed", options->seed != NULL);
        json_int(&file.j, "switching_keys", result.n_keys);
        json_real(&file.j, "seconds", result.seconds);
        json_object(&file.j, "bytes");
        json_count(&file.j, "secret_key", result.secret_bytes);
        json_count(&file.j, "eval_key", result.eval_bytes);
        json_count(&file.j, "public_key", result.public_bytes);
        json_end(&file.j);
    }
    return app_json_close(&file, err);
}

static const opt_spec specs[] = {
    {"-o", OPT_TEXT, offsetof(keygen_options, out), "FOLDER",
     "write the keys into FOLDER (made if missing)", 0, 0, true},
    {"--public", OPT_FLAG, offsetof(keygen_options, public_key), NULL,
     "also write public.key", 0, 0, false},
    {"--force", OPT_FLAG, offsetof(keygen_options, force), NULL,
     "overwrite keys that are there", 0, 0, false},
    {"--seed", OPT_TEXT, offsetof(keygen_options, seed), "TEXT",
     "for tests: keys that depend on TEXT only", 0, 0, false},
    {"--insecure-parameters", OPT_FLAG, offsetof(keygen_options, insecure),
     NULL, "accept a plan below 128 bits of security", 0, 0, false}};

static const opt_operand operands[] = {
    {"PLAN", offsetof(keygen_options, plan), false, false}};

const app_command cmd_keygen = {
    "keygen",
    "make the client's keys for a plan",
    "secret.key stays with the client (mode 0600). eval.key, where the plan\n"
    "needs one, goes to the server. Existing keys are never overwritten\n"
    "without --force.\n",
    {specs, sizeof specs / sizeof specs[0], operands, 1},
    sizeof(keygen_options),
    run};
