/* SPDX-License-Identifier: MIT
 * Runs over files for tests; see run_world.h.
 */
#include "tests/support/run_world.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/check.h"
#include "tests/support/single_plan.h"

const hand_spec run_spec = {
    .params = {.log2_n = 10,
               .log2_q = BITS(46, 46, 32, 47),
               .level = LEVELS("abc", "ab"),
               .gadget = LEVELS("abc|012|d"),
               .public_special = 'd',
               .max_power = 2},
    .input_bits = 22,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0},
             {.weight_bits = 9, .level = 1, .relinearise = true},
             {.weight_bits = 0, .level = 1},
             {.weight_bits = 9, .level = 1}}};

batch_world bw;

int run_world_setup(void **state)
{
    (void)state;
    bw = batch_world_new(hand_net_plain(), &run_spec, N_IMAGES);
    bw.plan->he_noise_std = 0x1p-19; /* 2^-19.5 is measured */
    return 0;
}

int run_world_setup_single(void **state)
{
    (void)state;
    nn_network *network;
    nn_graph *graph = hand_net_wide();
    CHECK(nn_network_new(&network, graph, NULL, err));
    bw = batch_world_planned(graph, network, single_plan_new(network),
                             N_SINGLES);
    return 0;
}

int run_world_teardown(void **state)
{
    (void)state;
    batch_world_free(&bw);
    return 0;
}

sotto_status image_source(void *arg, float *pixels, uint64_t first,
                          size_t count, sotto_error *err)
{
    (void)arg;
    (void)err;
    const size_t n = bw.network->n_inputs;
    memcpy(pixels, bw.images + first * n, count * n * sizeof *pixels);
    return SOTTO_OK;
}

static sotto_status score_sink(void *arg, const nn_scores *batch,
                               sotto_error *err)
{
    (void)err;
    scores *s = arg;
    assert_int_equal(batch->first_image, s->n_images);
    assert_true(s->n_images + batch->n_images <= bw.n_images);
    memcpy(s->score + s->n_images * batch->n_outputs, batch->score,
           batch->n_images * batch->n_outputs * sizeof *s->score);
    s->n_images += batch->n_images;
    s->noise_std = fmax(s->noise_std, batch->noise_std);
    return SOTTO_OK;
}

scores scores_new(void)
{
    const scores s = {
        .score = calloc(bw.n_images * bw.plan->n_outputs, sizeof(double))};
    assert_non_null(s.score);
    return s;
}

/* Commits what a run wrote, or discards it; returns the status of both. */
static sotto_status finish(sotto_output *out, sotto_status status,
                           sotto_error *err)
{
    if (status != SOTTO_OK) {
        sotto_output_discard(out);
        return status;
    }
    return sotto_output_commit(out, err);
}

sotto_status encrypt_to(const char *path, const nn_run_options *options,
                        const rlwe_public *key, sotto_error *err)
{
    sotto_output *out;
    sotto_seed root;
    sotto_seed_from_text(&root, "images");
    SOTTO_TRY(sotto_output_open(&out, path, SOTTO_OUTPUT_PUBLIC, false, err));
    const sotto_status status = nn_run_encrypt(
        bw.plan, bw.w.context, out, key == NULL ? bw.w.secret : NULL, key,
        image_source, NULL, bw.n_images, &root, options, err);
    return finish(out, status, err);
}

/* One part of the inference. */
sotto_status infer_part(const char *path, const char *in, uint64_t part,
                        uint64_t n_parts, nn_trace *trace,
                        const nn_run_options *options, sotto_error *err)
{
    sotto_output *out;
    SOTTO_TRY(sotto_output_open(&out, path, SOTTO_OUTPUT_PUBLIC, false, err));
    const sotto_status status =
        nn_run_infer(bw.plan, bw.network, bw.w.context, bw.w.keys, out, in,
                     part, n_parts, trace, options, err);
    return finish(out, status, err);
}

sotto_status decrypt_from(const char *in, scores *s, bool accept,
                          const nn_run_options *options, sotto_error *err)
{
    double worst;
    SOTTO_TRY(nn_run_decrypt(bw.plan, bw.w.context, bw.w.secret, in, score_sink,
                             s, accept, &worst, options, err));
    assert_true(worst == s->noise_std);
    return SOTTO_OK;
}

blob slurp(const char *path)
{
    blob b;
    CHECK(sotto_file_read(&b.data, &b.len_bytes, path, (size_t)1 << 30, err));
    return b;
}

files make_files(const test_folder *folder)
{
    files f = {.in = folder_file(folder, "in.ct"),
               .out = folder_file(folder, "out.ct")};
    CHECK(encrypt_to(f.in, NULL, NULL, err));
    CHECK(infer_part(f.out, f.in, 0, 1, NULL, NULL, err));
    f.in_blob = slurp(f.in);
    f.out_blob = slurp(f.out);
    return f;
}

void free_files(files *f)
{
    sotto_free(f->in_blob.data);
    sotto_free(f->out_blob.data);
}

void expect_word(const sotto_error *error, const char *word)
{
    if (strstr(error->text, word) == NULL) {
        fail_msg("no \"%s\" in: %s", word, error->text);
    }
}
