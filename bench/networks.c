/* SPDX-License-Identifier: MIT
 * The demo networks on a batch of images, step by step, by the functions of the
 * commands: from opened files to written files. Time on the clock. One and two
 * threads and the backends take turns.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/sotto/commands.h"
#include "base/mem.h"
#include "bench/parts.h"
#include "bench/world.h"
#include "nn/train/trainer.h"

#define TRAIN_IMAGES "4000"
#define RESNET_IMAGES "256"
#define IMAGE_FILE "data/mnist/t10k-images-idx3-ubyte"
#define LABEL_FILE "data/mnist/t10k-labels-idx1-ubyte"
#define ROUNDS 5
#define QUICK_ROUNDS 2

enum { PLAN, SECRET, KEYS, INPUT, OUTPUT, N_FILES };
enum { KEYGEN, ENCRYPT, INFER, DECRYPT, N_STEPS };

static const char *const step_name[N_STEPS] = {
    "network_keygen", "network_encrypt", "network_infer", "network_decrypt"};

/* One way to run a network. */
typedef struct setting {
    const char *backend;
    int threads;
} setting;

/* The best backend with one and two threads, the others with two. */
enum { MAX_SETTINGS = NTT_BACKEND_IFMA + 2, ONE_THREAD = 0, TWO_THREADS = 1 };

typedef struct run {
    app_state app[3]; /* by number of threads */
    char folder[256];
    char path[N_FILES][300];
    const char *model;
    uint64_t images;
    bool has_keys;
    size_t rounds;
    size_t n_settings;
    setting settings[MAX_SETTINGS];
    double cold[N_STEPS]; /* of the first round */
    double step[MAX_SETTINGS][N_STEPS][ROUNDS];
    double part[MAX_SETTINGS][NN_TRACE_MAX + 2][ROUNDS]; /* of INFER */
    nn_trace trace;                                      /* the last */
} run;

/* Lists the settings, from the best backend that the user allows down. */
static void list_settings(run *r, ntt_backend cap)
{
    const zq_modulus mod = zq_modulus_init(12289);
    for (int k = (int)cap; k >= 0; k--) {
        const char *name = ntt_kernels_choose(&mod, (ntt_backend)k).name;
        setting *last = &r->settings[r->n_settings];
        if (r->n_settings == 0) {
            last[0] = (setting){name, 1};
            last[1] = (setting){name, 2};
            r->n_settings = 2;
        } else if (strcmp(name, last[-1].backend) != 0) {
            last[0] = (setting){name, 2};
            r->n_settings++;
        }
    }
}

/* Contexts to come use this backend. */
static void allow(const char *backend)
{
    if (setenv("SOTTO_BACKEND", backend, 1) != 0) {
        abort();
    }
}

static sotto_status ignore_scores(void *arg, const nn_scores *scores,
                                  sotto_error *err)
{
    (void)arg;
    (void)scores;
    (void)err;
    return SOTTO_OK;
}

/* Keys and encrypted images once through the server, one thread setting. */
static sotto_status one_round(run *r, size_t s, size_t round, sotto_error *err)
{
    app_state *app = &r->app[r->settings[s].threads];
    const char *images = IMAGE_FILE;
    keygen_result keygen;
    encrypt_result encrypt;
    decrypt_result decrypt;
    const keygen_options keygen_of = {
        .plan = r->path[PLAN], .out = r->folder, .force = true};
    const encrypt_options encrypt_of = {.plan = r->path[PLAN],
                                        .key = r->path[SECRET],
                                        .images = {1, &images},
                                        .range = {0, r->images},
                                        .out = r->path[INPUT]};
    const infer_options infer_of = {.plan = r->path[PLAN],
                                    .model = r->model,
                                    .input = r->path[INPUT],
                                    .keys = r->has_keys ? r->path[KEYS] : NULL,
                                    .out = r->path[OUTPUT]};
    const decrypt_options decrypt_of = {.plan = r->path[PLAN],
                                        .key = r->path[SECRET],
                                        .input = r->path[OUTPUT]};
    double at[N_STEPS + 1];
    at[KEYGEN] = bench_seconds();
    SOTTO_TRY(keygen_run(app, &keygen, &keygen_of, err));
    at[ENCRYPT] = bench_seconds();
    SOTTO_TRY(encrypt_run(app, &encrypt, &encrypt_of, err));
    at[INFER] = bench_seconds();
    SOTTO_TRY(infer_run(app, &r->trace, &infer_of, err));
    at[DECRYPT] = bench_seconds();
    SOTTO_TRY(
        decrypt_run(app, &decrypt, &decrypt_of, ignore_scores, NULL, err));
    at[N_STEPS] = bench_seconds();
    for (int i = 0; i < N_STEPS; i++) {
        r->step[s][i][round] = 1e9 * (at[i + 1] - at[i]);
    }
    for (int i = 0; i < r->trace.n_steps; i++) {
        r->part[s][i][round] = 1e9 * r->trace.step[i].seconds;
    }
    r->part[s][r->trace.n_steps][round] = 1e9 * r->trace.seconds_read;
    r->part[s][r->trace.n_steps + 1][round] = 1e9 * r->trace.seconds_write;
    return SOTTO_OK;
}

/* "cryptonets 2 relinearise+rescale" of the server's step i; after the last
 * step, reading and writing. */
static void name_part(char *text, size_t cap_bytes, const run *r, int i,
                      const char *network)
{
    const nn_trace_step *step = &r->trace.step[i];
    if (i >= r->trace.n_steps) {
        (void)snprintf(text, cap_bytes, "%s %s", network,
                       i == r->trace.n_steps ? "read" : "write");
        return;
    }
    const char *and = strstr(step->kind, " and ");
    const int first =
        and != NULL ? (int)(and-step->kind) : (int)strlen(step->kind);
    (void)snprintf(text, cap_bytes, "%s %d %.*s%s%s", network, step->step,
                   first, step->kind, and != NULL ? "+" : "",
                   and != NULL ? and+strlen(" and ") : "");
}

/* The parts of the server's step, of one setting. */
static void report_parts(bench *b, const run *r, const char *network, size_t s)
{
    for (int i = 0; i < r->trace.n_steps + 2; i++) {
        char what[80];
        if (i < r->trace.n_steps && r->trace.step[i].seconds <= 0) {
            continue; /* done within another step */
        }
        name_part(what, sizeof what, r, i, network);
        const bench_case c = {.name = "infer",
                              .backend = r->settings[s].backend,
                              .note = what,
                              .threads = r->settings[s].threads,
                              .against = {{0, "one_thread"}}};
        bench_report(b, &c, r->part[s][i],
                     s != ONE_THREAD ? r->part[ONE_THREAD][i] : NULL,
                     r->rounds);
    }
}

static void report(bench *b, const run *r, const char *network)
{
    for (int i = 0; i < N_STEPS; i++) {
        for (size_t s = 0; s < r->n_settings; s++) {
            const bench_case c = {.name = step_name[i],
                                  .backend = r->settings[s].backend,
                                  .note = network,
                                  .threads = r->settings[s].threads,
                                  .units = (double)r->images,
                                  .unit = "image",
                                  .against = {{0, "one_thread"}}};
            bench_report(b, &c, r->step[s][i],
                         s == TWO_THREADS ? r->step[ONE_THREAD][i] : NULL,
                         r->rounds);
        }
    }
    char note[64];
    (void)snprintf(note, sizeof note, "%s cold", network);
    const bench_case cold = {.name = step_name[INFER],
                             .backend = r->settings[TWO_THREADS].backend,
                             .note = note,
                             .threads = r->settings[TWO_THREADS].threads,
                             .units = (double)r->images,
                             .unit = "image"};
    bench_report(b, &cold, &r->cold[INFER], NULL, 1);
    report_parts(b, r, network, ONE_THREAD);
    report_parts(b, r, network, TWO_THREADS);
}

static sotto_status measure(bench *b, run *r, const char *network,
                            sotto_error *err)
{
    nn_plan *plan = NULL;
    const plan_options plan_of = {
        .model = r->model, .out = r->path[PLAN], .images = r->images};
    SOTTO_TRY(plan_run(&r->app[2], &plan, &plan_of, err));
    r->has_keys = plan->n_keys > 0;
    sotto_free(plan);
    r->rounds = b->quick ? QUICK_ROUNDS : ROUNDS;
    allow(r->settings[0].backend);
    SOTTO_TRY(one_round(r, TWO_THREADS, 0, err));
    for (int i = 0; i < N_STEPS; i++) {
        r->cold[i] = r->step[TWO_THREADS][i][0]; /* measured again, warm */
    }
    for (size_t round = 0; round < r->rounds; round++) {
        for (size_t s = 0; s < r->n_settings; s++) {
            allow(r->settings[s].backend);
            SOTTO_TRY(one_round(r, s, round, err));
        }
    }
    report(b, r, network);
    return SOTTO_OK;
}

/* ---- Training ------------------------------------------------------------ */

/* Networks trained on the test images: only the time counts here. */
#define TRAIN_HEAD                                                             \
    "name = bench\nseed = 1\nshift = 1\nepochs = 1\nbatch = 128\n"             \
    "optimiser = sgd momentum=0.9 nesterov=1\nlearning_rate = 0.01\n"          \
    "train_images = " IMAGE_FILE "\ntrain_labels = " LABEL_FILE "\n"

/* The network of models/cryptonets-mnist.train. */
static void write_cryptonets(char *text, size_t cap_bytes)
{
    (void)snprintf(text, cap_bytes, "%s",
                   TRAIN_HEAD
                   "train_count = " TRAIN_IMAGES "\n"
                   "layer = conv maps=5 kernel=5 stride=2 pads=1,1,1,1\n"
                   "layer = batch_norm\nlayer = square\nlayer = flatten\n"
                   "layer = dense units=100\nlayer = batch_norm\n"
                   "layer = square\nlayer = dense units=10\n");
}

/* ResNet-20 on pictures of 28×28: three times three blocks. */
static void write_resnet(char *text, size_t cap_bytes)
{
    size_t at = (size_t)snprintf(text, cap_bytes, "%s",
                                 TRAIN_HEAD
                                 "train_count = " RESNET_IMAGES "\n"
                                 "layer = conv maps=16 kernel=3 pads=1 bias=0\n"
                                 "layer = batch_norm\nlayer = relu name=x0\n");
    for (int block = 0; block < 9; block++) {
        const int maps = 16 << block / 3;
        const int stride = block == 3 || block == 6 ? 2 : 1;
        at += (size_t)snprintf(
            text + at, cap_bytes - at,
            "layer = conv maps=%d kernel=3 stride=%d pads=1 bias=0\n"
            "layer = batch_norm\nlayer = relu\n"
            "layer = conv maps=%d kernel=3 pads=1 bias=0\n"
            "layer = batch_norm name=b%d\n"
            "layer = subsample maps=%d stride=%d from=x%d\n"
            "layer = add with=b%d\nlayer = relu name=x%d\n",
            maps, stride, maps, block, maps, stride, block, block, block + 1);
    }
    (void)snprintf(text + at, cap_bytes - at,
                   "layer = avg_pool kernel=7\nlayer = flatten\n"
                   "layer = dense units=10\n");
}

/* Time of one epoch, and the least that its products take. */
static sotto_status train_once(double *ns, double *least_ns,
                               const nn_train_config *config, sotto_pool *pool,
                               sotto_error *err)
{
    nn_trainer *trainer = NULL;
    SOTTO_TRY(nn_trainer_new(&trainer, config, pool, err));
    const sotto_status status = nn_trainer_run(trainer, NULL, err);
    const nn_train_summary summary = nn_trainer_summary(trainer);
    *ns = 1e9 * summary.seconds;
    *least_ns = summary.peak_share * *ns;
    nn_trainer_free(trainer);
    return status;
}

static sotto_status measure_training(bench *b, const run *r, const char *note,
                                     void (*write)(char *, size_t),
                                     sotto_error *err)
{
    char text[8192];
    nn_train_config *config = sotto_calloc(1, sizeof *config);
    if (config == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    double ns[2][ROUNDS];
    double least_ns[2] = {0.0, 0.0};
    const size_t rounds = b->quick ? QUICK_ROUNDS : ROUNDS;
    write(text, sizeof text);
    sotto_status status =
        nn_train_config_parse(config, text, strlen(text), "bench", err);
    for (size_t round = 0; round < rounds && status == SOTTO_OK; round++) {
        for (int t = 0; t < 2 && status == SOTTO_OK; t++) {
            status = train_once(&ns[t][round], &least_ns[t], config,
                                r->app[t + 1].pool, err);
        }
    }
    for (int t = 0; t < 2 && status == SOTTO_OK; t++) {
        const bench_case c = {.name = "network_train",
                              .note = note,
                              .threads = t + 1,
                              .units = (double)config->train_count,
                              .unit = "image",
                              .least_ns = least_ns[t],
                              .limit = "fma",
                              .against = {{0, "one_thread"}}};
        bench_report(b, &c, ns[t], t > 0 ? ns[0] : NULL, rounds);
    }
    sotto_free(config);
    return status;
}

/* ---- Files --------------------------------------------------------------- */

static void open_run(run *r, const atomic_bool *never)
{
    static const char *const name[N_FILES] = {
        "model.plan", "secret.key", "eval.key", "images.ct", "scores.ct"};
    world_temporary(r->folder, sizeof r->folder);
    if (mkdtemp(r->folder) == NULL) {
        perror(r->folder);
        exit(1);
    }
    for (int i = 0; i < N_FILES; i++) {
        (void)snprintf(r->path[i], sizeof r->path[i], "%s/%s", r->folder,
                       name[i]);
    }
    for (int t = 1; t <= 2; t++) {
        r->app[t] = (app_state){.command = "bench",
                                .quiet = true,
                                .pool = sotto_pool_new(t),
                                .cancel = never};
        if (r->app[t].pool == NULL) {
            abort();
        }
    }
}

static void close_run(run *r)
{
    for (int i = 0; i < N_FILES; i++) {
        (void)unlink(r->path[i]);
    }
    (void)rmdir(r->folder);
    sotto_pool_free(r->app[1].pool);
    sotto_pool_free(r->app[2].pool);
}

void bench_networks(bench *b)
{
    static const struct {
        const char *name, *model;
        uint64_t images;
    } models[] = {{"cryptonets", "models/cryptonets-mnist.onnx", 4096},
                  {"mlp", "models/mlp-mnist.onnx", 4096}};
    const bool training = bench_wants(b, "network_train");
    bool inference = bench_wants(b, "infer");
    for (int i = 0; i < N_STEPS; i++) {
        inference = inference || bench_wants(b, step_name[i]);
    }
    if (!training && !inference) {
        return;
    }
    if (access(IMAGE_FILE, R_OK) != 0) {
        bench_skip(b, "networks", "no " IMAGE_FILE " here");
        return;
    }
    atomic_bool never = false;
    sotto_error err = {""};
    run *r = sotto_calloc(1, sizeof *r);
    if (r == NULL) {
        abort();
    }
    open_run(r, &never);
    list_settings(r, b->cap);
    sotto_status status = SOTTO_OK;
    const size_t n = inference ? sizeof models / sizeof models[0] : 0;
    for (size_t i = 0; i < n && status == SOTTO_OK; i++) {
        r->model = models[i].model;
        r->images = models[i].images;
        status = measure(b, r, models[i].name, &err);
    }
    if (status == SOTTO_OK && training) {
        status = measure_training(b, r, "cryptonets epoch " TRAIN_IMAGES,
                                  write_cryptonets, &err);
    }
    if (status == SOTTO_OK && training) {
        status = measure_training(b, r, "resnet20 epoch " RESNET_IMAGES,
                                  write_resnet, &err);
    }
    close_run(r);
    sotto_free(r);
    world_must(status, &err);
}
