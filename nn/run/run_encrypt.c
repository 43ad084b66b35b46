/* SPDX-License-Identifier: MIT
 * The client's run before inference: images -> file of ciphertexts.
 *
 * Images are read a group at a time, whose records follow each other in the
 * file. In batch packing a group is a batch, ciphertext p holds pixel p of all
 * its images, and a task takes a few neighbouring pixels, which share a cache
 * line. In single packing a group is a few images, each spread over the slots
 * of its ciphertexts as the plan's layout says, and a task takes a ciphertext.
 * While tasks encrypt a chunk of records, one writes the chunk before.
 */
#include <string.h>

#include "base/mem.h"
#include "ckks/encode.h"
#include "nn/run/run_internal.h"

/* Pixels of one task in batch packing: few, so that threads do not wait long
 * for each other at the end of a chunk. */
#define TASK_PIXELS ((size_t)4)

/* Images whose pixels one task checks. */
#define TASK_IMAGES ((size_t)64)

/* What one worker owns. */
typedef struct encrypt_worker {
    sotto_arena arena;
    double *values; /* batch packing: [TASK_PIXELS][slots]; single: an image */
    ckks_ct ct;
} encrypt_worker;

/* Records made together: [first, first + n) of the group. */
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
    size_t n_pixels;        /* of one image */
    size_t n_slots;         /* of one ciphertext */
    nn_places *places;      /* of an image; NULL in batch packing */
    double *spread;         /* [group][n_inputs][n_slots]; … */
    size_t group;           /* most images of a group */
    size_t task_records;    /* of one task */
    float *pixels;          /* [group][n_pixels] */
    uint64_t first;         /* image of the group in work */
    size_t n_images;        /* of it */
    size_t cap, each;       /* records of a chunk, bytes of a record */
    encrypt_chunk now, before;
} encrypt_run;

static size_t minimum(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- Life ---------------------------------------------------------------- */

/* What a worker needs for any number of tasks; see clear_run. */
static size_t worker_values(const encrypt_run *run)
{
    return run->places != NULL ? run->n_pixels : TASK_PIXELS * run->n_slots;
}

static sotto_status init_worker(encrypt_run *run, encrypt_worker *worker,
                                sotto_error *err)
{
    worker->arena = sotto_arena_init(ckks_crypt_scratch(run->context));
    worker->values = sotto_calloc(worker_values(run), sizeof *worker->values);
    if (worker->arena.base == NULL || worker->values == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for encryption");
    }
    return ckks_ct_init(&worker->ct, run->context, 0, 2, err);
}

static size_t spread_values(const encrypt_run *run)
{
    return run->group * run->plan->n_inputs * run->n_slots;
}

/* Images of a group, records of a chunk and of a task. */
static sotto_status choose_sizes(encrypt_run *run, uint64_t count,
                                 sotto_error *err)
{
    const nn_plan *plan = run->plan;
    size_t group = nn_plan_slots(plan);
    run->n_pixels = nn_shape_size(&plan->input_shape);
    run->n_slots = nn_run_ct_slots(run->plan);
    run->each = rlwe_ct_record_bytes(run->context, 0, 2, run->secret != NULL);
    run->cap = nn_run_chunk(run->control, run->each);
    run->task_records = 1;
    if (plan->packing == NN_PACKING_SINGLE) {
        SOTTO_TRY(nn_places_new(&run->places, &plan->input_layout, err));
        group = run->cap > plan->n_inputs ? run->cap / plan->n_inputs : 1;
    } else {
        run->cap = (run->cap + TASK_PIXELS - 1) / TASK_PIXELS * TASK_PIXELS;
        run->task_records = TASK_PIXELS;
    }
    run->group = count < group ? (size_t)count : group;
    run->cap = minimum(run->cap, run->group * plan->n_inputs);
    return SOTTO_OK;
}

static sotto_status init_run(encrypt_run *run, uint64_t count,
                             const nn_run_options *options, sotto_error *err)
{
    SOTTO_TRY(nn_control_new(
        &run->control, options,
        nn_plan_batches(run->plan, count) * run->plan->n_inputs, err));
    SOTTO_TRY(ckks_encoder_new(&run->encoder, run->context, err));
    SOTTO_TRY(choose_sizes(run, count, err));
    run->now.records = sotto_calloc(run->cap, run->each);
    run->before.records = sotto_calloc(run->cap, run->each);
    run->pixels = sotto_calloc(run->group * run->n_pixels, sizeof *run->pixels);
    if (run->places != NULL) {
        run->spread = sotto_calloc(spread_values(run), sizeof *run->spread);
    }
    const size_t threads = (size_t)nn_control_threads(run->control);
    run->worker = sotto_calloc(threads, sizeof *run->worker);
    if (run->now.records == NULL || run->before.records == NULL ||
        run->pixels == NULL || run->worker == NULL ||
        (run->places != NULL && run->spread == NULL)) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a batch of %zu images",
                          run->group);
    }
    for (size_t i = 0; i < threads; i++) {
        SOTTO_TRY(init_worker(run, &run->worker[i], err));
    }
    return SOTTO_OK;
}

/* Wipes whatever has seen a pixel or the root. */
static void clear_run(encrypt_run *run)
{
    const int threads =
        run->worker != NULL ? nn_control_threads(run->control) : 0;
    for (int i = 0; i < threads; i++) {
        encrypt_worker *worker = &run->worker[i];
        sotto_arena_clear(&worker->arena);
        sotto_wipe_free(worker->values,
                        worker_values(run) * sizeof *worker->values);
        ckks_ct_clear(&worker->ct);
    }
    sotto_wipe_free(run->pixels,
                    run->group * run->n_pixels * sizeof *run->pixels);
    sotto_wipe_free(run->spread, spread_values(run) * sizeof *run->spread);
    sotto_free(run->worker);
    sotto_free(run->now.records);
    sotto_free(run->before.records);
    nn_places_free(run->places);
    ckks_encoder_free(run->encoder);
    nn_control_free(run->control);
    sotto_wipe(&run->root, sizeof run->root);
}

/* ---- One chunk ----------------------------------------------------------- */

/* Batch packing: gathers pixels [first, first + n) of all images into slot
 * vectors. */
static void gather(const encrypt_run *run, double *slots, size_t first,
                   size_t n)
{
    for (size_t i = 0; i < run->n_images; i++) {
        const float *image = run->pixels + i * run->n_pixels + first;
        for (size_t p = 0; p < n; p++) {
            slots[p * run->n_slots + i] = (double)image[p];
        }
    }
}

/* Single packing: spreads one image of the group over its slot vectors. */
static sotto_status spread_task(void *arg, size_t task, int number,
                                sotto_error *err)
{
    (void)err;
    encrypt_run *run = arg;
    double *values = run->worker[number].values;
    const float *image = run->pixels + task * run->n_pixels;
    for (size_t p = 0; p < run->n_pixels; p++) {
        values[p] = (double)image[p];
    }
    nn_places_pack(run->places,
                   run->spread + task * run->plan->n_inputs * run->n_slots,
                   values);
    return SOTTO_OK;
}

/* Encrypts one slot vector and packs the record, unsealed. Its stream is
 * (batch, item): each is used once under a root that belongs to this run. */
static sotto_status encrypt_item(encrypt_run *run, encrypt_worker *worker,
                                 const double *slots, size_t number,
                                 uint8_t *record, sotto_error *err)
{
    const nn_plan *plan = run->plan;
    const double scale = plan->input_scale;
    const size_t count = run->places != NULL ? run->n_slots : run->n_images;
    const uint64_t batch =
        run->first / nn_plan_slots(plan) + number / plan->n_inputs;
    const uint32_t item = (uint32_t)(number % plan->n_inputs);
    if (run->secret != NULL) {
        SOTTO_TRY(ckks_encrypt(&worker->ct, run->encoder, run->context,
                               run->secret, slots, count, scale, 0, &run->root,
                               batch, item, &worker->arena, err));
    } else {
        SOTTO_TRY(ckks_encrypt_public(
            &worker->ct, run->encoder, run->context, run->public_key, slots,
            count, scale, 0, &run->root, batch, item, &worker->arena, err));
    }
    (void)rlwe_pack_ct_unsealed(record, run->context, &worker->ct.ct,
                                nn_run_scale_bits(scale), batch, item);
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
    const size_t at = (task - 1) * run->task_records;
    const size_t n = minimum(run->task_records, run->now.n - at);
    encrypt_worker *worker = &run->worker[number];
    const double *slots = worker->values;
    if (run->places != NULL) {
        slots = run->spread + (run->now.first + at) * run->n_slots;
    } else {
        gather(run, worker->values, run->now.first + at, n);
    }
    uint8_t *record = run->now.records + at * run->each;
    for (size_t i = 0; i < n; i++) {
        SOTTO_TRY(encrypt_item(run, worker, slots + i * run->n_slots,
                               run->now.first + at + i, record + i * run->each,
                               err));
        /* Two at a time, which are still in the cache. */
        if (i % 2 == 1 || i + 1 == n) {
            const size_t start = i - i % 2;
            rlwe_seal_cts(record + start * run->each, run->context, run->each,
                          i - start + 1);
        }
    }
    return SOTTO_OK;
}

/* Encrypts records [first, first + n) of the group, writing the chunk before;
 * n may be 0. */
static sotto_status run_chunk_of(encrypt_run *run, size_t first, size_t n,
                                 sotto_error *err)
{
    run->now.first = first;
    run->now.n = n;
    const size_t tasks = 1 + (n + run->task_records - 1) / run->task_records;
    SOTTO_TRY(nn_control_run(run->control, tasks, 0, chunk_task, run, err));
    SOTTO_TRY(nn_control_advance(run->control, n, err));
    /* What was made becomes what is written next; the buffers change places. */
    const encrypt_chunk done = run->now;
    run->now = run->before;
    run->before = done;
    return SOTTO_OK;
}

/* ---- One group, the run -------------------------------------------------- */

/* Checks the pixels of TASK_IMAGES images. */
static sotto_status check_task(void *arg, size_t task, int number,
                               sotto_error *err)
{
    (void)number;
    const encrypt_run *run = arg;
    const nn_plan *plan = run->plan;
    const size_t first = task * TASK_IMAGES;
    const size_t end = minimum(first + TASK_IMAGES, run->n_images);
    for (size_t i = first; i < end; i++) {
        const float *image = run->pixels + i * run->n_pixels;
        for (size_t p = 0; p < run->n_pixels; p++) {
            const double value = (double)image[p];
            if (!(value >= plan->input_min && value <= plan->input_max)) {
                return sotto_fail(err, SOTTO_ERR_RANGE,
                                  "image %llu, pixel %zu is %g; the plan takes "
                                  "values from %g to %g",
                                  (unsigned long long)(run->first + i), p,
                                  value, plan->input_min, plan->input_max);
            }
        }
    }
    return SOTTO_OK;
}

/* Every pixel, before any is encrypted: the ranges of all that follows were
 * planned from these bounds, and the server cannot see a value. */
static sotto_status check_pixels(encrypt_run *run, sotto_error *err)
{
    const size_t tasks = (run->n_images + TASK_IMAGES - 1) / TASK_IMAGES;
    return nn_control_run(run->control, tasks, 0, check_task, run, err);
}

/* Encrypts the group whose pixels are there. */
static sotto_status run_group(encrypt_run *run, sotto_error *err)
{
    size_t n = run->plan->n_inputs;
    SOTTO_TRY(check_pixels(run, err));
    if (run->places != NULL) {
        n *= run->n_images;
        SOTTO_TRY(nn_control_run(run->control, run->n_images, 0, spread_task,
                                 run, err));
    }
    for (size_t at = 0; at < n; at += run->cap) {
        SOTTO_TRY(run_chunk_of(run, at, minimum(run->cap, n - at), err));
    }
    return SOTTO_OK;
}

static sotto_status encrypt_all(encrypt_run *run, nn_image_source source,
                                void *source_arg, uint64_t count,
                                sotto_error *err)
{
    nn_control_name(run->control, "encrypt");
    for (run->first = 0; run->first < count; run->first += run->n_images) {
        const uint64_t left = count - run->first;
        run->n_images = left < run->group ? (size_t)left : run->group;
        SOTTO_TRY(
            source(source_arg, run->pixels, run->first, run->n_images, err));
        SOTTO_TRY(run_group(run, err));
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
    clear_run(&run);
    return status;
}
