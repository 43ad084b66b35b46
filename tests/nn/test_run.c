/* SPDX-License-Identifier: MIT
 * Encrypt, infer, decrypt through files: what comes out, on how many threads,
 * in how many parts, and every way in which a file can be wrong.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/run/run.h"
#include "rlwe/wire.h"
#include "tests/support/batch_world.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"

#define CHECK(expr)                                                            \
    do {                                                                       \
        sotto_error check_error_ = {{0}};                                      \
        sotto_error *const err = &check_error_;                                \
        if ((expr) != SOTTO_OK) {                                              \
            fail_msg("%s: %s", #expr, check_error_.text);                      \
        }                                                                      \
    } while (0)

#define LEVELS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define BITS(...) ((const double[]){__VA_ARGS__, 0})

#define N_IMAGES 1100 /* three batches of 512, the last of 76 */
#define HEADER_BYTES ((size_t)136)

static const hand_spec spec = {
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

/* ---- What the runs need -------------------------------------------------- */

/* The world of all tests, made once. */
static batch_world bw;

static int make_world(void **state)
{
    (void)state;
    bw = batch_world_new(hand_net_plain(), &spec, N_IMAGES);
    bw.plan->he_noise_std = 0x1p-19; /* 2^-19.5 is measured */
    return 0;
}

static int free_world(void **state)
{
    (void)state;
    batch_world_free(&bw);
    return 0;
}

static sotto_status image_source(void *arg, float *pixels, uint64_t first,
                                 size_t count, sotto_error *err)
{
    (void)arg;
    (void)err;
    const size_t n = bw.plan->n_inputs;
    memcpy(pixels, bw.images + first * n, count * n * sizeof *pixels);
    return SOTTO_OK;
}

typedef struct scores {
    size_t n_images; /* seen so far */
    double *score;   /* [N_IMAGES][n_outputs] */
    double noise_std;
} scores;

static sotto_status score_sink(void *arg, const nn_scores *batch,
                               sotto_error *err)
{
    (void)err;
    scores *s = arg;
    assert_int_equal(batch->first_image, s->n_images);
    assert_true(s->n_images + batch->n_images <= N_IMAGES);
    memcpy(s->score + s->n_images * batch->n_outputs, batch->score,
           batch->n_images * batch->n_outputs * sizeof *s->score);
    s->n_images += batch->n_images;
    s->noise_std = fmax(s->noise_std, batch->noise_std);
    return SOTTO_OK;
}

static scores scores_new(void)
{
    const scores s = {
        .score = calloc(N_IMAGES * bw.plan->n_outputs, sizeof(double))};
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

static sotto_status encrypt_to(const char *path, const nn_run_options *options,
                               const rlwe_public *key, sotto_error *err)
{
    sotto_output *out;
    sotto_seed root;
    sotto_seed_from_text(&root, "images");
    SOTTO_TRY(sotto_output_open(&out, path, SOTTO_OUTPUT_PUBLIC, false, err));
    const sotto_status status = nn_run_encrypt(
        bw.plan, bw.w.context, out, key == NULL ? bw.w.secret : NULL, key,
        image_source, NULL, N_IMAGES, &root, options, err);
    return finish(out, status, err);
}

/* One part of the inference. */
static sotto_status infer_part(const char *path, const char *in, uint64_t part,
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

static sotto_status decrypt_from(const char *in, scores *s, bool accept,
                                 const nn_run_options *options,
                                 sotto_error *err)
{
    double worst;
    SOTTO_TRY(nn_run_decrypt(bw.plan, bw.w.context, bw.w.secret, in, score_sink,
                             s, accept, &worst, options, err));
    assert_true(worst == s->noise_std);
    return SOTTO_OK;
}

static void check_scores(const scores *s)
{
    double sum = 0;
    const size_t n = N_IMAGES * bw.plan->n_outputs;
    assert_int_equal(s->n_images, N_IMAGES);
    for (size_t i = 0; i < n; i++) {
        const double d = s->score[i] - bw.expected[i];
        assert_true(fabs(d) < 0x1p-16);
        sum += d * d;
    }
    const double std = sqrt(sum / (double)n);
    assert_true(s->noise_std < bw.plan->he_noise_std);
    assert_true(s->noise_std > bw.plan->he_noise_std / 4);
    /* what the imaginary parts say is what the real parts have */
    assert_true(std < s->noise_std * 1.2);
    assert_true(std > s->noise_std / 2);
}

/* A file in memory. */
typedef struct blob {
    uint8_t *data;
    size_t len_bytes;
} blob;

static blob slurp(const char *path)
{
    blob b;
    CHECK(sotto_file_read(&b.data, &b.len_bytes, path, (size_t)1 << 30, err));
    return b;
}

static void assert_same_file(const char *a, const char *b)
{
    const blob x = slurp(a);
    folder_assert_file(b, x.data, x.len_bytes);
    sotto_free(x.data);
}

/* ---- What comes out ------------------------------------------------------ */

static void test_run_round_trip(void **state)
{
    const test_folder *folder = *state;
    const char *in = folder_file(folder, "in.ct");
    const char *out = folder_file(folder, "out.ct");
    scores s = scores_new();
    nn_trace *trace = calloc(1, sizeof *trace);
    assert_non_null(trace);
    CHECK(encrypt_to(in, NULL, NULL, err));
    CHECK(infer_part(out, in, 0, 1, trace, NULL, err));
    CHECK(decrypt_from(out, &s, false, NULL, err));
    check_scores(&s);
    const blob a = slurp(in);
    const blob b = slurp(out);
    assert_int_equal(trace->batches, 3);
    assert_int_equal(trace->bytes_in, a.len_bytes);
    assert_int_equal(trace->bytes_out, b.len_bytes);
    assert_int_equal(
        a.len_bytes,
        HEADER_BYTES + 3 * 49 * rlwe_ct_record_bytes(bw.w.context, 0, 2, true));
    assert_true(trace->seconds_total > trace->seconds_read);
    assert_true(trace->memory_bytes > 0);
    rlwe_file_header header;
    CHECK(rlwe_file_peek(&header, out, err));
    assert_int_equal(header.count, N_IMAGES);
    assert_true(header.insecure && header.from_seed);
    assert_memory_equal(header.plan_id, bw.plan->id, sizeof header.plan_id);
    sotto_free(a.data);
    sotto_free(b.data);
    free(trace);
    free(s.score);
}

static void test_run_is_the_same_on_any_number_of_threads(void **state)
{
    const test_folder *folder = *state;
    const int threads[] = {1, 2, 7};
    const char *in_0 = folder_file(folder, "in0");
    const char *out_0 = folder_file(folder, "out0");
    scores first = scores_new();
    for (int i = 0; i < 3; i++) {
        sotto_pool *pool = sotto_pool_new(threads[i]);
        const nn_run_options options = {.pool = pool};
        const char *in = i == 0 ? in_0 : folder_file(folder, "in");
        const char *out = i == 0 ? out_0 : folder_file(folder, "out");
        scores s = scores_new();
        assert_non_null(pool);
        CHECK(encrypt_to(in, &options, NULL, err));
        CHECK(infer_part(out, in, 0, 1, NULL, &options, err));
        CHECK(decrypt_from(out, &s, false, &options, err));
        if (i == 0) {
            memcpy(first.score, s.score,
                   N_IMAGES * bw.plan->n_outputs * sizeof *s.score);
        } else {
            assert_same_file(in, in_0);
            assert_same_file(out, out_0);
            assert_memory_equal(first.score, s.score,
                                N_IMAGES * bw.plan->n_outputs *
                                    sizeof *s.score);
        }
        free(s.score);
        sotto_pool_free(pool);
    }
    free(first.score);
}

/* Parts of an output concatenate to the whole, some of them empty. */
static void test_run_in_parts(void **state)
{
    const test_folder *folder = *state;
    const char *in = folder_file(folder, "in.ct");
    const char *all = folder_file(folder, "all.ct");
    const char *out = folder_file(folder, "part.ct");
    CHECK(encrypt_to(in, NULL, NULL, err));
    for (uint64_t n_parts = 2; n_parts <= 5; n_parts += 3) {
        FILE *file = fopen(all, "wb");
        assert_non_null(file);
        for (uint64_t part = 0; part < n_parts; part++) {
            CHECK(infer_part(out, in, part, n_parts, NULL, NULL, err));
            const blob b = slurp(out);
            assert_int_equal(fwrite(b.data, 1, b.len_bytes, file), b.len_bytes);
            sotto_free(b.data);
        }
        assert_int_equal(fclose(file), 0);
        scores s = scores_new();
        CHECK(decrypt_from(all, &s, false, NULL, err));
        check_scores(&s);
        free(s.score);
    }
}

static void test_run_with_public_key(void **state)
{
    const test_folder *folder = *state;
    const char *in = folder_file(folder, "in.ct");
    const char *out = folder_file(folder, "out.ct");
    scores s = scores_new();
    CHECK(encrypt_to(in, NULL, bw.w.public_key, err));
    CHECK(infer_part(out, in, 0, 1, NULL, NULL, err));
    CHECK(decrypt_from(out, &s, true, NULL, err));
    for (size_t i = 0; i < N_IMAGES * bw.plan->n_outputs; i++) {
        assert_true(fabs(s.score[i] - bw.expected[i]) < 0x1p-14);
    }
    free(s.score);
}

/* Without a root given, two files of the same images differ everywhere. */
static void test_run_encrypt_is_fresh(void **state)
{
    const test_folder *folder = *state;
    blob b[2];
    for (int i = 0; i < 2; i++) {
        const char *in = folder_file(folder, "in.ct");
        sotto_output *out;
        CHECK(sotto_output_open(&out, in, SOTTO_OUTPUT_PUBLIC, false, err));
        CHECK(nn_run_encrypt(bw.plan, bw.w.context, out, bw.w.secret, NULL,
                             image_source, NULL, 3, NULL, NULL, err));
        CHECK(sotto_output_commit(out, err));
        b[i] = slurp(in);
    }
    size_t equal = 0;
    const size_t record = rlwe_ct_record_bytes(bw.w.context, 0, 2, true);
    assert_int_equal(b[0].len_bytes, HEADER_BYTES + 49 * record);
    const uint8_t *x = b[0].data + HEADER_BYTES + 200; /* into c_0 */
    const uint8_t *y = b[1].data + HEADER_BYTES + 200;
    for (size_t i = 0; i < 1000; i++) {
        equal += x[i] == y[i];
    }
    assert_true(equal < 50);
    sotto_free(b[0].data);
    sotto_free(b[1].data);
}

/* ---- What is refused: encryption ----------------------------------------- */

static void expect_word(const sotto_error *error, const char *word)
{
    if (strstr(error->text, word) == NULL) {
        fail_msg("no \"%s\" in: %s", word, error->text);
    }
}

static void test_run_encrypt_refuses_pixels(void **state)
{
    const test_folder *folder = *state;
    const size_t at = (512 + 3) * bw.plan->n_inputs + 11;
    const float wrong[] = {1.5F, -0.01F, NAN, INFINITY};
    const float before = bw.images[at];
    sotto_error error;
    for (size_t i = 0; i < 4; i++) {
        bw.images[at] = wrong[i];
        assert_int_equal(
            encrypt_to(folder_file(folder, "in.ct"), NULL, NULL, &error),
            SOTTO_ERR_RANGE);
        expect_word(&error, "image 515, pixel 11");
        assert_int_equal(folder_count(folder), 0);
    }
    bw.images[at] = before;
}

static sotto_status failing_source(void *arg, float *pixels, uint64_t first,
                                   size_t count, sotto_error *err)
{
    (void)image_source(arg, pixels, first, count, err);
    return first == 0 ? SOTTO_OK
                      : sotto_fail(err, SOTTO_ERR_FORMAT, "no more images");
}

static void test_run_encrypt_refuses_counts_and_sources(void **state)
{
    const test_folder *folder = *state;
    const uint64_t count[] = {0, NN_PLAN_MAX_IMAGES + 1};
    sotto_output *out;
    sotto_error error;
    for (int i = 0; i < 3; i++) {
        CHECK(sotto_output_open(&out, folder_file(folder, "in.ct"),
                                SOTTO_OUTPUT_PUBLIC, false, err));
        const sotto_status status = nn_run_encrypt(
            bw.plan, bw.w.context, out, bw.w.secret, NULL, failing_source, NULL,
            i < 2 ? count[i] : N_IMAGES, NULL, NULL, &error);
        assert_int_equal(status, i < 2 ? SOTTO_ERR_PARAM : SOTTO_ERR_FORMAT);
        sotto_output_discard(out);
    }
    expect_word(&error, "no more images");
}

/* ---- What is refused: files ---------------------------------------------- */

/* Inputs and scores of the right kind, for tests to spoil. */
typedef struct files {
    const char *in, *out;
    blob in_blob, out_blob;
} files;

static files make_files(const test_folder *folder)
{
    files f = {.in = folder_file(folder, "in.ct"),
               .out = folder_file(folder, "out.ct")};
    CHECK(encrypt_to(f.in, NULL, NULL, err));
    CHECK(infer_part(f.out, f.in, 0, 1, NULL, NULL, err));
    f.in_blob = slurp(f.in);
    f.out_blob = slurp(f.out);
    return f;
}

static void free_files(files *f)
{
    sotto_free(f->in_blob.data);
    sotto_free(f->out_blob.data);
}

/* Both readers refuse what stands in the file. */
static void expect_infer(const test_folder *folder, const files *f,
                         sotto_status expected, const char *word)
{
    sotto_error error = {{0}};
    const char *scores_path = folder_file(folder, "refused.ct");
    assert_int_equal(infer_part(scores_path, f->in, 0, 1, NULL, NULL, &error),
                     expected);
    expect_word(&error, word);
    FILE *left = fopen(scores_path, "rb");
    assert_null(left);
}

static void expect_decrypt(const files *f, sotto_status expected,
                           const char *word)
{
    sotto_error error = {{0}};
    scores s = scores_new();
    assert_int_equal(decrypt_from(f->out, &s, false, NULL, &error), expected);
    expect_word(&error, word);
    free(s.score);
}

static void put(const char *path, const blob *b, size_t len_bytes)
{
    folder_put(path, b->data, len_bytes);
}

static void test_run_refuses_truncated_files(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    const size_t in_record = rlwe_ct_record_bytes(bw.w.context, 0, 2, true);
    const size_t out_record = rlwe_ct_record_bytes(bw.w.context, 1, 3, false);
    put(f.in, &f.in_blob, f.in_blob.len_bytes - in_record);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "48 of 49");
    put(f.in, &f.in_blob, f.in_blob.len_bytes - 49 * in_record);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "before batch 2 of 3");
    put(f.in, &f.in_blob, f.in_blob.len_bytes - 1);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "in.ct");
    put(f.in, &f.in_blob, 0);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "in.ct");
    put(f.out, &f.out_blob, f.out_blob.len_bytes - out_record);
    expect_decrypt(&f, SOTTO_ERR_FORMAT, "2 of 3");
    put(f.out, &f.out_blob, HEADER_BYTES);
    expect_decrypt(&f, SOTTO_ERR_FORMAT, "before batch 0 of 3");
    put(f.out, &f.out_blob, 100);
    expect_decrypt(&f, SOTTO_ERR_FORMAT, "out.ct");
    free_files(&f);
}

/* Records left out, doubled, swapped, added. */
static void test_run_refuses_disorder(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    const size_t record = rlwe_ct_record_bytes(bw.w.context, 0, 2, true);
    const size_t len_bytes = f.in_blob.len_bytes;
    uint8_t *copy = malloc(len_bytes + record);
    assert_non_null(copy);
    uint8_t *at = copy + HEADER_BYTES + 60 * record; /* item 11 of batch 1 */

    memcpy(copy, f.in_blob.data, len_bytes);
    memmove(at, at + record, record * (147 - 61)); /* left out */
    folder_put(f.in, copy, len_bytes - record);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "expected 11 of batch 1");

    memcpy(copy, f.in_blob.data, len_bytes);
    memcpy(at, at - record, record); /* doubled */
    folder_put(f.in, copy, len_bytes);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "ciphertext 10 of batch 1");

    memcpy(copy, f.in_blob.data, len_bytes);
    memcpy(at, at + 49 * record, record); /* of another batch */
    folder_put(f.in, copy, len_bytes);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "ciphertext 11 of batch 2");

    memcpy(copy, f.in_blob.data, len_bytes);
    memcpy(copy + len_bytes, at, record); /* added */
    folder_put(f.in, copy, len_bytes + record);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "more than the 3 batches");

    memcpy(copy, f.in_blob.data, len_bytes);
    at[2000] ^= 4; /* flipped */
    folder_put(f.in, copy, len_bytes);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "record 61");
    free(copy);
    free_files(&f);
}

static void test_run_refuses_foreign_files(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    const nn_plan good = *bw.plan;
    bw.plan->id[0] ^= 1;
    expect_infer(folder, &f, SOTTO_ERR_MISMATCH, "another plan");
    expect_decrypt(&f, SOTTO_ERR_MISMATCH, "another plan");
    *bw.plan = good;
    bw.plan->input_scale /= 2; /* the same id, to get that far */
    for (int k = 0; k < 5; k++) {
        static const double power[] = {2, 4, 4, 16, 16};
        bw.plan->step[k].scale /= power[k];
    }
    expect_infer(folder, &f, SOTTO_ERR_SCALE, "record 1");
    expect_decrypt(&f, SOTTO_ERR_SCALE, "record 1");
    *bw.plan = good;
    bw.plan->step[4].n_components = 2;
    expect_decrypt(&f, SOTTO_ERR_MISMATCH, "3 components");
    *bw.plan = good;
    /* ciphertexts of scores are no inputs */
    const char *in = f.in;
    f.in = f.out;
    expect_infer(folder, &f, SOTTO_ERR_MISMATCH, "record 1");
    f.in = in;
    free_files(&f);
}

static void test_run_infer_refuses_wrong_keys(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    world other = world_new(&spec.params, "another");
    rlwe_keyset *good = bw.w.keys;
    bw.w.keys = other.keys;
    expect_infer(folder, &f, SOTTO_ERR_MISMATCH, "evaluation keys belong");
    bw.w.keys = NULL;
    expect_infer(folder, &f, SOTTO_ERR_KEY, "1 evaluation keys");
    bw.w.keys = good;
    sotto_error error;
    assert_int_equal(infer_part(folder_file(folder, "refused.ct"), f.in, 2, 2,
                                NULL, NULL, &error),
                     SOTTO_ERR_PARAM);
    world_free(&other);
    free_files(&f);
}

static void test_run_decrypt_refuses_wrong_key(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    world other = world_new(&spec.params, "another");
    rlwe_secret *good = bw.w.secret;
    bw.w.secret = other.secret;
    expect_decrypt(&f, SOTTO_ERR_KEY, "secret key");
    /* a wrong key that claims to be the right one: only the noise tells */
    memcpy(other.secret->key_id, good->key_id, sizeof good->key_id);
    expect_decrypt(&f, SOTTO_ERR_NOISE, "noise on the scores");
    scores s = scores_new();
    CHECK(decrypt_from(f.out, &s, true, NULL, err));
    assert_true(s.noise_std > 1e3);
    free(s.score);
    bw.w.secret = good;
    world_free(&other);
    free_files(&f);
}

/* A plan that expects less noise, or smaller scores, than there are. */
static void test_run_decrypt_checks_noise_and_range(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    const nn_plan good = *bw.plan;
    bw.plan->he_noise_std = 0x1p-22;
    expect_decrypt(&f, SOTTO_ERR_NOISE, "batch 0");
    *bw.plan = good;
    bw.plan->step[4].range = 0x1p-4;
    bw.plan->he_error = 0;
    expect_decrypt(&f, SOTTO_ERR_RANGE, "planned range");
    scores s = scores_new();
    CHECK(decrypt_from(f.out, &s, true, NULL, err));
    assert_int_equal(s.n_images, N_IMAGES);
    free(s.score);
    *bw.plan = good;
    free_files(&f);
}

/* ---- Stopping, full disks, no memory ------------------------------------- */

static void test_run_cancel(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    atomic_bool cancel;
    atomic_init(&cancel, true);
    const nn_run_options options = {.cancel = &cancel};
    const char *path = folder_file(folder, "refused.ct");
    scores s = scores_new();
    const size_t count = folder_count(folder);
    assert_int_equal(encrypt_to(path, &options, NULL, NULL),
                     SOTTO_ERR_CANCELLED);
    assert_int_equal(infer_part(path, f.in, 0, 1, NULL, &options, NULL),
                     SOTTO_ERR_CANCELLED);
    assert_int_equal(decrypt_from(f.out, &s, false, &options, NULL),
                     SOTTO_ERR_CANCELLED);
    assert_int_equal(folder_count(folder), count);
    free(s.score);
    free_files(&f);
}

static void test_run_full_disk(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    sotto_error error;
    assert_int_equal(encrypt_to("/dev/full", NULL, NULL, &error), SOTTO_ERR_IO);
    expect_word(&error, "/dev/full");
    assert_int_equal(infer_part("/dev/full", f.in, 0, 1, NULL, NULL, &error),
                     SOTTO_ERR_IO);
    expect_word(&error, "/dev/full");
    free_files(&f);
}

typedef struct sweep {
    const char *in, *out, *scrap;
} sweep;

static sotto_status sweep_encrypt(void *arg)
{
    const sweep *s = arg;
    return encrypt_to(s->scrap, NULL, NULL, NULL);
}

static sotto_status sweep_infer(void *arg)
{
    const sweep *s = arg;
    return infer_part(s->scrap, s->in, 0, 1, NULL, NULL, NULL);
}

static sotto_status sweep_decrypt(void *arg)
{
    const sweep *s = arg;
    scores found = scores_new();
    const sotto_status status = decrypt_from(s->out, &found, false, NULL, NULL);
    free(found.score);
    return status;
}

static void test_run_without_memory(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    sweep s = {f.in, f.out, folder_file(folder, "scrap.ct")};
    const size_t count = folder_count(folder) + 1; /* and scrap.ct */
    assert_true(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 200, sweep_encrypt, &s) > 5);
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 200, sweep_infer, &s) >
                20);
    assert_true(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 200, sweep_decrypt, &s) > 5);
    assert_true(fail_sweep(FAIL_WRITE, SOTTO_ERR_IO, 200, sweep_encrypt, &s) >
                1);
    assert_int_equal(folder_count(folder), count);
    free_files(&f);
}

int main(void)
{
#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_run_round_trip),
        IN_FOLDER(test_run_is_the_same_on_any_number_of_threads),
        IN_FOLDER(test_run_in_parts),
        IN_FOLDER(test_run_with_public_key),
        IN_FOLDER(test_run_encrypt_is_fresh),
        IN_FOLDER(test_run_encrypt_refuses_pixels),
        IN_FOLDER(test_run_encrypt_refuses_counts_and_sources),
        IN_FOLDER(test_run_refuses_truncated_files),
        IN_FOLDER(test_run_refuses_disorder),
        IN_FOLDER(test_run_refuses_foreign_files),
        IN_FOLDER(test_run_infer_refuses_wrong_keys),
        IN_FOLDER(test_run_decrypt_refuses_wrong_key),
        IN_FOLDER(test_run_decrypt_checks_noise_and_range),
        IN_FOLDER(test_run_cancel),
        IN_FOLDER(test_run_full_disk),
        IN_FOLDER(test_run_without_memory),
    };
    return cmocka_run_group_tests(tests, make_world, free_world);
}
