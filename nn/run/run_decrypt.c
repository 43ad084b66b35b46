/* SPDX-License-Identifier: MIT
 * The client's run after inference: file of encrypted scores -> scores.
 *
 * Images are real numbers and the network maps real numbers to real numbers, so
 * the imaginary parts of the decrypted slots are noise and nothing else. Where
 * they are larger than the plan allows, something is wrong (another key, a
 * wrapped value, a damaged computation), and the scores are not given out.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "ckks/encode.h"
#include "nn/run/run_internal.h"

/* Measured noise is refused beyond this many times the plan's bound. Honest
 * noise stays below once; what goes wrong is off by many powers of two. What
 * decoding itself rounds (relative to the range) is not counted. */
#define NOISE_TOLERANCE 2.0
#define DECODE_ROUNDING 0x1p-40

/* What one worker owns. */
typedef struct decrypt_worker {
    sotto_arena arena;
    double *slots;
    ckks_ct ct;
} decrypt_worker;

typedef struct decrypt_run {
    const nn_plan *plan;
    const rlwe_context *context;
    const rlwe_secret *secret;
    run_input input;
    nn_control *control;
    ckks_encoder *encoder;
    int threads;
    decrypt_worker *worker; /* [threads] */
    nn_places *places;      /* of an image's scores; NULL in batch packing */
    double *spread;         /* [group][n_items][slots of a ciphertext]; … */
    size_t group;           /* most batches of a group */
    uint64_t batch;         /* first of the group in work */
    size_t n_batches;       /* of it */
    size_t n_images;        /* of it */
    double *score;          /* [images of a group][n_outputs] */
    double *noise;          /* [group][n_items] */
} decrypt_run;

static size_t score_values(const decrypt_run *run)
{
    return run->group * nn_plan_slots(run->plan) * run->plan->n_outputs;
}

static size_t spread_values(const decrypt_run *run)
{
    return run->group * run->input.n_items * nn_run_ct_slots(run->plan);
}

/* ---- Life ---------------------------------------------------------------- */

static sotto_status check_key(const decrypt_run *run, sotto_error *err)
{
    const rlwe_file_header *header = rlwe_file_header_of(run->input.file);
    if (memcmp(header->key_id, run->secret->key_id, sizeof header->key_id) !=
        0) {
        char have[2 * RLWE_KEY_ID_BYTES + 1];
        char want[2 * RLWE_KEY_ID_BYTES + 1];
        sotto_hex(have, header->key_id, RLWE_KEY_ID_BYTES);
        sotto_hex(want, run->secret->key_id, RLWE_KEY_ID_BYTES);
        return sotto_fail(err, SOTTO_ERR_KEY,
                          "%s is encrypted under key %.16s…; the secret key "
                          "given is %.16s…",
                          run->input.path, have, want);
    }
    return SOTTO_OK;
}

static sotto_status init_worker(decrypt_run *run, decrypt_worker *worker,
                                sotto_error *err)
{
    worker->arena = sotto_arena_init(ckks_crypt_scratch(run->context));
    worker->slots =
        sotto_calloc(nn_run_ct_slots(run->plan), sizeof *worker->slots);
    if (worker->arena.base == NULL || worker->slots == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for decryption");
    }
    /* Room for whatever a file may hold: it is refused after parsing. */
    return ckks_ct_init(&worker->ct, run->context, 0, RLWE_MAX_COMPONENTS, err);
}

/* What the records must say, and how many batches are read at once: one image
 * has too few ciphertexts for all threads. */
static sotto_status choose_sizes(decrypt_run *run, sotto_error *err)
{
    const nn_plan *plan = run->plan;
    const nn_plan_step *last = &plan->step[plan->n_steps - 1];
    run->input.n_items = nn_plan_output_cts(plan);
    run->input.level = last->level;
    run->input.n_components = last->n_components;
    run->input.scale = last->scale;
    run->group = 1;
    if (plan->packing == NN_PACKING_SINGLE) {
        SOTTO_TRY(nn_places_new(
            &run->places, nn_plan_layout(plan, (size_t)plan->n_steps), err));
        run->group = nn_run_chunk(run->control, nn_run_ct_slots(run->plan) *
                                                    run->input.n_items *
                                                    sizeof *run->spread);
    }
    if (run->input.n_batches < run->group) {
        run->group = (size_t)run->input.n_batches;
    }
    return SOTTO_OK;
}

static sotto_status init_run(decrypt_run *run, const nn_run_options *options,
                             sotto_error *err)
{
    const nn_plan *plan = run->plan;
    SOTTO_TRY(nn_control_new(&run->control, options,
                             run->input.n_batches * nn_plan_output_cts(plan),
                             err));
    nn_control_name(run->control, "decrypt");
    SOTTO_TRY(nn_run_input_start(&run->input, run->control, err));
    SOTTO_TRY(ckks_encoder_new(&run->encoder, run->context, err));
    SOTTO_TRY(choose_sizes(run, err));
    run->score = sotto_calloc(score_values(run), sizeof *run->score);
    run->noise =
        sotto_calloc(run->group * run->input.n_items, sizeof *run->noise);
    if (run->places != NULL) {
        run->spread = sotto_calloc(spread_values(run), sizeof *run->spread);
    }
    run->threads = nn_control_threads(run->control);
    run->worker = sotto_calloc((size_t)run->threads, sizeof *run->worker);
    if (run->score == NULL || run->noise == NULL || run->worker == NULL ||
        (run->places != NULL && run->spread == NULL)) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for the scores of one batch");
    }
    for (int i = 0; i < run->threads; i++) {
        SOTTO_TRY(init_worker(run, &run->worker[i], err));
    }
    return SOTTO_OK;
}

/* Wipes whatever has seen a score. */
static void clear_run(decrypt_run *run)
{
    for (int i = 0; run->worker != NULL && i < run->threads; i++) {
        decrypt_worker *worker = &run->worker[i];
        sotto_arena_clear(&worker->arena);
        sotto_wipe_free(worker->slots,
                        nn_run_ct_slots(run->plan) * sizeof *worker->slots);
        ckks_ct_clear(&worker->ct);
    }
    sotto_wipe_free(run->score, score_values(run) * sizeof *run->score);
    sotto_wipe_free(run->spread, spread_values(run) * sizeof *run->spread);
    sotto_free(run->noise);
    sotto_free(run->worker);
    nn_places_free(run->places);
    nn_run_input_close(&run->input);
    ckks_encoder_free(run->encoder);
    nn_control_free(run->control);
}

/* ---- One group of batches ------------------------------------------------ */

/* Batch packing: slot i is image i, and the ciphertext is one of its scores.
 * Single packing: all slots are kept until the image is complete. */
static sotto_status decrypt_item(void *arg, const rlwe_raw_ct *raw,
                                 uint64_t batch, uint32_t item, int number,
                                 sotto_error *err)
{
    decrypt_run *run = arg;
    decrypt_worker *worker = &run->worker[number];
    const size_t at = (size_t)(batch - run->batch) * run->input.n_items + item;
    const bool single = run->places != NULL;
    const size_t slots = nn_run_ct_slots(run->plan);
    double *out = single ? run->spread + at * slots : worker->slots;
    SOTTO_TRY(
        nn_run_input_parse(&run->input, &worker->ct, raw, batch, item, err));
    SOTTO_TRY(ckks_decrypt(run->encoder, run->context, run->secret, out, NULL,
                           single ? slots : run->n_images, &run->noise[at],
                           &worker->ct, &worker->arena, err));
    for (size_t i = 0; !single && i < run->n_images; i++) {
        run->score[i * run->plan->n_outputs + item] = out[i];
    }
    return SOTTO_OK;
}

/* Single packing: reads the scores of one image. */
static sotto_status unpack_task(void *arg, size_t task, int number,
                                sotto_error *err)
{
    (void)number;
    (void)err;
    decrypt_run *run = arg;
    nn_places_unpack(run->places, run->score + task * run->plan->n_outputs,
                     run->spread + task * run->input.n_items *
                                       nn_run_ct_slots(run->plan));
    return SOTTO_OK;
}

static sotto_status check_noise(const decrypt_run *run, uint64_t batch,
                                double noise_std, sotto_error *err)
{
    const nn_plan_step *last = &run->plan->step[run->plan->n_steps - 1];
    const double bound = NOISE_TOLERANCE * run->plan->he_noise_std +
                         DECODE_ROUNDING * last->range;
    if (!(noise_std <= bound)) { /* so is what is not a number */
        return sotto_fail(err, SOTTO_ERR_NOISE,
                          "%s, %s %llu: the noise on the scores is %.3g; "
                          "the plan predicts %.3g and %.3g is the limit. "
                          "Likely causes: another secret key of the same name, "
                          "activations outside the planned ranges, a server "
                          "that computed something else",
                          run->input.path,
                          run->places != NULL ? "image" : "batch",
                          (unsigned long long)batch, noise_std,
                          run->plan->he_noise_std, bound);
    }
    return SOTTO_OK;
}

/* Noise tells of the phase, this of the values: an image unlike the training
 * data may pass every modulus and still mean nothing. */
static sotto_status check_scores(const decrypt_run *run, sotto_error *err)
{
    const nn_plan *plan = run->plan;
    const nn_plan_step *last = &plan->step[plan->n_steps - 1];
    const double bound = last->range + plan->he_error;
    const uint64_t first = run->batch * nn_plan_slots(plan);
    for (size_t i = 0; i < run->n_images * plan->n_outputs; i++) {
        if (!(fabs(run->score[i]) <= bound)) {
            return sotto_fail(err, SOTTO_ERR_RANGE,
                              "%s, image %llu: score %zu lies outside the "
                              "planned range of -%g to %g; the image may be "
                              "unlike those that the plan was made for",
                              run->input.path,
                              (unsigned long long)(first + i / plan->n_outputs),
                              i % plan->n_outputs, last->range, last->range);
        }
    }
    return SOTTO_OK;
}

/* Looks at the noise of all batches of the group; *worst is the largest. The
 * worst score of each decides: one broken output is enough. */
static sotto_status check_group(const decrypt_run *run, bool accept_noise,
                                double *worst, sotto_error *err)
{
    const size_t n = run->input.n_items;
    for (size_t b = 0; b < run->n_batches; b++) {
        double noise_std = 0;
        for (size_t o = 0; o < n; o++) {
            noise_std = fmax(noise_std, run->noise[b * n + o]);
        }
        *worst = fmax(*worst, noise_std);
        if (!accept_noise) {
            SOTTO_TRY(check_noise(run, run->batch + b, noise_std, err));
        }
    }
    return accept_noise ? SOTTO_OK : check_scores(run, err);
}

static sotto_status decrypt_group(decrypt_run *run, nn_score_sink sink,
                                  void *sink_arg, bool accept_noise,
                                  double *worst, sotto_error *err)
{
    const uint64_t first = run->batch * nn_plan_slots(run->plan);
    const uint64_t room = run->n_batches * nn_plan_slots(run->plan);
    const uint64_t left = run->input.count - first;
    double noise_std = 0;
    run->n_images = (size_t)(left < room ? left : room);
    SOTTO_TRY(nn_run_input_batches(&run->input, run->batch, run->n_batches, 1,
                                   decrypt_item, run, err));
    if (run->places != NULL) {
        SOTTO_TRY(nn_control_run(run->control, run->n_images, 0, unpack_task,
                                 run, err));
    }
    const sotto_status status = check_group(run, accept_noise, &noise_std, err);
    *worst = fmax(*worst, noise_std);
    SOTTO_TRY(status);
    const nn_scores scores = {.first_image = first,
                              .n_images = run->n_images,
                              .n_outputs = run->plan->n_outputs,
                              .score = run->score,
                              .noise_std = noise_std};
    return sink(sink_arg, &scores, err);
}

/* ---- The run ------------------------------------------------------------- */

sotto_status nn_run_decrypt(const nn_plan *plan, const rlwe_context *context,
                            const rlwe_secret *secret, const char *in_path,
                            nn_score_sink sink, void *sink_arg,
                            bool accept_noise, double *worst_noise_std,
                            const nn_run_options *options, sotto_error *err)
{
    decrypt_run run = {.plan = plan, .context = context, .secret = secret};
    double worst = 0;
    sotto_status status =
        nn_run_input_open(&run.input, plan, context, in_path, err);
    if (status == SOTTO_OK) {
        status = check_key(&run, err);
    }
    if (status == SOTTO_OK) {
        status = init_run(&run, options, err);
    }
    while (status == SOTTO_OK && run.batch < run.input.n_batches) {
        const uint64_t left = run.input.n_batches - run.batch;
        run.n_batches = left < run.group ? (size_t)left : run.group;
        status = decrypt_group(&run, sink, sink_arg, accept_noise, &worst, err);
        run.batch += run.n_batches;
    }
    if (status == SOTTO_OK) {
        status = nn_run_input_end(&run.input, err);
    }
    clear_run(&run);
    if (worst_noise_std != NULL) {
        *worst_noise_std = worst;
    }
    return status;
}
