/* SPDX-License-Identifier: MIT
 * The client's run before inference: images -> file of ciphertexts.
 *
 * A batch is read as images and encrypted pixel by pixel: ciphertext p holds
 * pixel p of all images of the batch. Tasks take a few neighbouring pixels
 * each, a cache line of every image. While they work, one task writes the
 * records of the chunk before.
 */
#include <string.h>

#include "base/mem.h"
#include "ckks/encode.h"
#include "nn/run/run_internal.h"

/* Pixels of one task: a cache line of floats. */
#define TASK_PIXELS ((size_t)16)

/* What one worker owns. */
typedef struct encrypt_worker {
    sotto_arena arena;
    double *slots; /* [TASK_PIXELS][slots] */
    ckks_ct ct;
} encrypt_worker;

/* Records made together: pixels [first, first + n). */
typedef struct encrypt_chunk {
    size_t first, n;
    uint8_t *records; /* [cap][each] */
} encrypt_chunk;

typedef struct encrypt_run {
    const nn_plan *plan;
    const rlwe_context *context;
    sotto_output *out;
    const rlwe_secret *secret;
    const rlwe_public *public_key;
    sotto_seed root;
    nn_control *control;
    ckks_encoder *encoder;
    encrypt_worker *worker; /* [threads] */
    float *pixels;          /* [n_images][n_inputs] */
    uint64_t batch;         /* in work */
    size_t n_images;        /* of it */
    size_t cap, each;       /* pixels of a chunk, bytes of a record */
    encrypt_chunk now, before;
} encrypt_run;

static size_t minimum(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- Life ---------------------------------------------------------------- */

/* What a worker needs for any number of tasks; see clear_run. */
static sotto_status init_worker(encrypt_run *run, encrypt_worker *worker,
                                sotto_error *err)
{
    const size_t slots = nn_plan_slots(run->plan);
    worker->arena = sotto_arena_init(ckks_crypt_scratch(run->context));
    worker->slots = sotto_calloc(TASK_PIXELS * slots, sizeof *worker->slots);
    if (worker->arena.base == NULL || worker->slots == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for encryption");
    }
    return ckks_ct_init(&worker->ct, run->context, 0, 2, err);
}

static sotto_status init_run(encrypt_run *run, uint64_t count,
                             const nn_run_options *options, sotto_error *err)
{
    const size_t slots = nn_plan_slots(run->plan);
    const size_t images = count < slots ? (size_t)count : slots;
    SOTTO_TRY(nn_control_new(
        &run->control, options,
        nn_plan_batches(run->plan, count) * run->plan->n_inputs, err));
    SOTTO_TRY(ckks_encoder_new(&run->encoder, run->context, err));
    run->each = rlwe_ct_record_bytes(run->context, 0, 2, run->secret != NULL);
    const size_t cap = nn_run_chunk(run->control, run->each);
    run->cap = (cap + TASK_PIXELS - 1) / TASK_PIXELS * TASK_PIXELS;
    run->now.records = sotto_calloc(run->cap, run->each);
    run->before.records = sotto_calloc(run->cap, run->each);
    run->pixels =
        sotto_calloc(images * run->plan->n_inputs, sizeof *run->pixels);
    const size_t threads = (size_t)nn_control_threads(run->control);
    run->worker = sotto_calloc(threads, sizeof *run->worker);
    if (run->now.records == NULL || run->before.records == NULL ||
        run->pixels == NULL || run->worker == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a batch of %zu images", images);
    }
    for (size_t i = 0; i < threads; i++) {
        SOTTO_TRY(init_worker(run, &run->worker[i], err));
    }
    return SOTTO_OK;
}

/* Wipes whatever has seen a pixel or the root. */
static void clear_run(encrypt_run *run, uint64_t count)
{
    const size_t slots = nn_plan_slots(run->plan);
    const size_t images = count < slots ? (size_t)count : slots;
    const int threads =
        run->worker != NULL ? nn_control_threads(run->control) : 0;
    for (int i = 0; i < threads; i++) {
        encrypt_worker *worker = &run->worker[i];
        sotto_arena_clear(&worker->arena);
        sotto_wipe_free(worker->slots,
                        TASK_PIXELS * slots * sizeof *worker->slots);
        ckks_ct_clear(&worker->ct);
    }
    sotto_wipe_free(run->pixels,
                    images * run->plan->n_inputs * sizeof *run->pixels);
    sotto_free(run->worker);
    sotto_free(run->now.records);
    sotto_free(run->before.records);
    ckks_encoder_free(run->encoder);
    nn_control_free(run->control);
    sotto_wipe(&run->root, sizeof run->root);
}

/* ---- One chunk ----------------------------------------------------------- */

/* Gathers pixels [first, first + n) of all images into slot vectors. */
static void gather(const encrypt_run *run, double *slots, size_t first,
                   size_t n)
{
    const size_t stride = nn_plan_slots(run->plan);
    for (size_t i = 0; i < run->n_images; i++) {
        const float *image = run->pixels + i * run->plan->n_inputs + first;
        for (size_t p = 0; p < n; p++) {
            slots[p * stride + i] = (double)image[p];
        }
    }
}

/* Encrypts one pixel and packs the record. Its stream is (batch, pixel): each
 * is used once under a root that belongs to this run. */
static sotto_status encrypt_pixel(encrypt_run *run, encrypt_worker *worker,
                                  const double *slots, size_t pixel,
                                  uint8_t *record, sotto_error *err)
{
    const double scale = run->plan->input_scale;
    const uint32_t item = (uint32_t)pixel;
    if (run->secret != NULL) {
        SOTTO_TRY(ckks_encrypt(&worker->ct, run->encoder, run->context,
                               run->secret, slots, run->n_images, scale, 0,
                               &run->root, run->batch, item, &worker->arena,
                               err));
    } else {
        SOTTO_TRY(ckks_encrypt_public(&worker->ct, run->encoder, run->context,
                                      run->public_key, slots, run->n_images,
                                      scale, 0, &run->root, run->batch, item,
                                      &worker->arena, err));
    }
    (void)rlwe_pack_ct(record, run->context, &worker->ct.ct,
                       nn_run_scale_bits(scale), run->batch, item);
    return SOTTO_OK;
}

/* Task 0 writes the chunk before, the others encrypt this one. */
static sotto_status chunk_task(void *arg, size_t task, int number,
                               sotto_error *err)
{
    encrypt_run *run = arg;
    if (task == 0) {
        return sotto_output_write(run->out, run->before.records,
                                  run->before.n * run->each, err);
    }
    const size_t at = (task - 1) * TASK_PIXELS;
    const size_t n = minimum(TASK_PIXELS, run->now.n - at);
    encrypt_worker *worker = &run->worker[number];
    gather(run, worker->slots, run->now.first + at, n);
    for (size_t p = 0; p < n; p++) {
        SOTTO_TRY(encrypt_pixel(run, worker,
                                worker->slots + p * nn_plan_slots(run->plan),
                                run->now.first + at + p,
                                run->now.records + (at + p) * run->each, err));
    }
    return SOTTO_OK;
}

/* Encrypts pixels [first, first + n) of the batch, writing the chunk before;
 * n may be 0. */
static sotto_status run_chunk_of(encrypt_run *run, size_t first, size_t n,
                                 sotto_error *err)
{
    run->now.first = first;
    run->now.n = n;
    const size_t tasks = 1 + (n + TASK_PIXELS - 1) / TASK_PIXELS;
    SOTTO_TRY(nn_control_run(run->control, tasks, 0, chunk_task, run, err));
    SOTTO_TRY(nn_control_advance(run->control, n, err));
    /* What was made becomes what is written next; the buffers change places. */
    const encrypt_chunk done = run->now;
    run->now = run->before;
    run->before = done;
    return SOTTO_OK;
}

/* ---- One batch, the run -------------------------------------------------- */

/* Every pixel, before any is encrypted: the ranges of all that follows were
 * planned from these bounds, and the server cannot see a value. */
static sotto_status check_pixels(const encrypt_run *run, sotto_error *err)
{
    const nn_plan *plan = run->plan;
    const uint64_t first = run->batch * nn_plan_slots(plan);
    for (size_t i = 0; i < run->n_images; i++) {
        const float *image = run->pixels + i * plan->n_inputs;
        for (size_t p = 0; p < plan->n_inputs; p++) {
            const double value = (double)image[p];
            if (!(value >= plan->input_min && value <= plan->input_max)) {
                return sotto_fail(err, SOTTO_ERR_RANGE,
                                  "image %llu, pixel %zu is %g; the plan takes "
                                  "values from %g to %g",
                                  (unsigned long long)(first + i), p, value,
                                  plan->input_min, plan->input_max);
            }
        }
    }
    return SOTTO_OK;
}

static sotto_status encrypt_all(encrypt_run *run, nn_image_source source,
                                void *source_arg, uint64_t count,
                                sotto_error *err)
{
    const size_t slots = nn_plan_slots(run->plan);
    const size_t n_inputs = run->plan->n_inputs;
    nn_control_name(run->control, "encrypt");
    for (run->batch = 0; run->batch * slots < count; run->batch++) {
        const uint64_t first = run->batch * slots;
        run->n_images = count - first < slots ? (size_t)(count - first) : slots;
        SOTTO_TRY(source(source_arg, run->pixels, first, run->n_images, err));
        SOTTO_TRY(check_pixels(run, err));
        for (size_t at = 0; at < n_inputs; at += run->cap) {
            SOTTO_TRY(
                run_chunk_of(run, at, minimum(run->cap, n_inputs - at), err));
        }
    }
    return run_chunk_of(run, 0, 0, err); /* writes the last one */
}

static sotto_status begin(encrypt_run *run, uint64_t count,
                          const sotto_seed *root, const nn_run_options *options,
                          sotto_error *err)
{
    const rlwe_secret *secret = run->secret;
    const bool from_seed =
        (secret != NULL ? secret->from_seed : run->public_key->from_seed) ||
        root != NULL;
    const rlwe_file_header header =
        nn_run_header(run->plan, run->context,
                      secret != NULL ? secret->key_id : run->public_key->key_id,
                      from_seed, count);
    if (count < 1 || count > NN_PLAN_MAX_IMAGES) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "%llu images to encrypt; expected 1 to 2^40",
                          (unsigned long long)count);
    }
    if (root != NULL) {
        run->root = *root;
    } else {
        SOTTO_TRY(sotto_seed_from_system(&run->root, err));
    }
    SOTTO_TRY(init_run(run, count, options, err));
    return rlwe_write_header(run->out, &header, err);
}

sotto_status nn_run_encrypt(const nn_plan *plan, const rlwe_context *context,
                            sotto_output *out, const rlwe_secret *secret,
                            const rlwe_public *public_key,
                            nn_image_source source, void *source_arg,
                            uint64_t count, const sotto_seed *root,
                            const nn_run_options *options, sotto_error *err)
{
    SOTTO_ASSERT((secret == NULL) != (public_key == NULL));
    encrypt_run run = {.plan = plan,
                       .context = context,
                       .out = out,
                       .secret = secret,
                       .public_key = public_key};
    sotto_status status = begin(&run, count, root, options, err);
    if (status == SOTTO_OK) {
        status = encrypt_all(&run, source, source_arg, count, err);
    }
    clear_run(&run, count);
    return status;
}
