/* SPDX-License-Identifier: MIT
 * Single packing through files: encrypt, infer, decrypt one image after the
 * other; the same bits however it is run; what is refused.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rlwe/wire.h"
#include "tests/support/check.h"
#include "tests/support/fail.h"
#include "tests/support/run_world.h"

#define N_INPUTS 2 /* ciphertexts of an image */

static void check_scores(const scores *s)
{
    assert_int_equal(s->n_images, N_SINGLES);
    for (size_t i = 0; i < N_SINGLES * bw.plan->n_outputs; i++) {
        assert_true(fabs(s->score[i] - bw.expected[i]) < 0x1p-11);
    }
    assert_true(s->noise_std < bw.plan->he_noise_std);
    assert_true(s->noise_std > 0x1p-24);
}

static void assert_same_file(const char *a, const char *b)
{
    const blob x = slurp(a);
    folder_assert_file(b, x.data, x.len_bytes);
    sotto_free(x.data);
}

/* ---- What comes out ------------------------------------------------------ */

static void check_trace(const nn_trace *trace)
{
    double steps = 0;
    assert_int_equal(trace->batches, N_SINGLES);
    assert_int_equal(trace->n_steps, bw.plan->n_steps);
    for (int k = 0; k < trace->n_steps; k++) {
        assert_int_equal(trace->step[k].level, bw.plan->step[k].level);
        assert_true(trace->step[k].scale == bw.plan->step[k].scale);
        assert_true(trace->step[k].n_ciphertexts > 0);
        assert_true(trace->step[k].seconds > 0);
        steps += trace->step[k].seconds;
    }
    assert_string_equal(trace->step[0].kind, "affine");
    assert_string_equal(trace->step[1].kind, "square");
    assert_true(trace->seconds_prepare > 0);
    assert_true(trace->batch_min > 0);
    assert_true(trace->batch_median >= trace->batch_min);
    const double batches = trace->seconds_read + steps + trace->seconds_write;
    assert_true(trace->batch_min * N_SINGLES <= batches * 1.1 + 0.01);
    assert_true(trace->seconds_total >= trace->seconds_prepare + steps);
    assert_true(trace->memory_bytes > 0);
}

static void test_run_single_round_trip(void **state)
{
    const test_folder *folder = *state;
    const char *in = folder_file(folder, "in.ct");
    const char *out = folder_file(folder, "out.ct");
    scores s = scores_new();
    nn_trace *trace = calloc(1, sizeof *trace);
    assert_non_null(trace);
    assert_int_equal(bw.plan->n_inputs, N_INPUTS);
    CHECK(encrypt_to(in, NULL, NULL, err));
    CHECK(infer_part(out, in, 0, 1, trace, NULL, err));
    CHECK(decrypt_from(out, &s, false, NULL, err));
    check_scores(&s);
    check_trace(trace);
    const blob a = slurp(in);
    const blob b = slurp(out);
    assert_int_equal(trace->bytes_in, a.len_bytes);
    assert_int_equal(trace->bytes_out, b.len_bytes);
    assert_int_equal(a.len_bytes,
                     HEADER_BYTES +
                         N_SINGLES * N_INPUTS *
                             rlwe_ct_record_bytes(bw.w.context, 0, 2, true));
    assert_int_equal(
        b.len_bytes,
        HEADER_BYTES +
            N_SINGLES * nn_plan_output_cts(bw.plan) *
                rlwe_ct_record_bytes(bw.w.context,
                                     bw.plan->step[bw.plan->n_steps - 1].level,
                                     2, false));
    sotto_free(a.data);
    sotto_free(b.data);
    free(trace);
    free(s.score);
}

/* Threads, and diagonals that are encoded at each use, change no bit. */
static void test_run_single_is_the_same_in_any_way(void **state)
{
    const test_folder *folder = *state;
    static const struct {
        int threads;
        size_t memory_bytes;
    } way[] = {{1, 0}, {2, 0}, {3, 1}, {7, 1 << 20}};
    const char *in_0 = folder_file(folder, "in0");
    const char *out_0 = folder_file(folder, "out0");
    scores first = scores_new();
    for (size_t i = 0; i < sizeof way / sizeof way[0]; i++) {
        sotto_pool *pool = sotto_pool_new(way[i].threads);
        const nn_run_options options = {.pool = pool,
                                        .memory_bytes = way[i].memory_bytes};
        const char *in = i == 0 ? in_0 : folder_file(folder, "in");
        const char *out = i == 0 ? out_0 : folder_file(folder, "out");
        scores s = scores_new();
        assert_non_null(pool);
        CHECK(encrypt_to(in, &options, NULL, err));
        CHECK(infer_part(out, in, 0, 1, NULL, &options, err));
        CHECK(decrypt_from(out, &s, false, &options, err));
        if (i == 0) {
            memcpy(first.score, s.score,
                   N_SINGLES * bw.plan->n_outputs * sizeof *s.score);
        } else {
            assert_same_file(in, in_0);
            assert_same_file(out, out_0);
            assert_memory_equal(first.score, s.score,
                                N_SINGLES * bw.plan->n_outputs *
                                    sizeof *s.score);
        }
        free(s.score);
        sotto_pool_free(pool);
    }
    free(first.score);
}

/* Parts are ranges of images; some are empty. */
static void test_run_single_in_parts(void **state)
{
    const test_folder *folder = *state;
    const char *in = folder_file(folder, "in.ct");
    const char *all = folder_file(folder, "all.ct");
    const char *out = folder_file(folder, "part.ct");
    CHECK(encrypt_to(in, NULL, NULL, err));
    for (uint64_t n_parts = 3; n_parts <= 41; n_parts += 38) {
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

static void test_run_single_with_public_key(void **state)
{
    const test_folder *folder = *state;
    const char *in = folder_file(folder, "in.ct");
    const char *out = folder_file(folder, "out.ct");
    scores s = scores_new();
    CHECK(encrypt_to(in, NULL, bw.w.public_key, err));
    CHECK(infer_part(out, in, 0, 1, NULL, NULL, err));
    CHECK(decrypt_from(out, &s, false, NULL, err));
    check_scores(&s);
    free(s.score);
}

/* ---- What is refused ----------------------------------------------------- */

static void test_run_single_refuses_pixels(void **state)
{
    const test_folder *folder = *state;
    const size_t at = 35 * bw.network->n_inputs + 968;
    const float before = bw.images[at];
    sotto_error error;
    bw.images[at] = 1.5F;
    assert_int_equal(
        encrypt_to(folder_file(folder, "in.ct"), NULL, NULL, &error),
        SOTTO_ERR_RANGE);
    expect_word(&error, "image 35, pixel 968");
    assert_int_equal(folder_count(folder), 0);
    bw.images[at] = before;
}

static void expect_infer(const test_folder *folder, const files *f,
                         sotto_status expected, const char *text)
{
    sotto_error error = {{0}};
    const char *path = folder_file(folder, "refused.ct");
    assert_int_equal(infer_part(path, f->in, 0, 1, NULL, NULL, &error),
                     expected);
    expect_word(&error, text);
    assert_null(fopen(path, "rb"));
}

static void expect_decrypt(const files *f, sotto_status expected,
                           const char *text)
{
    sotto_error error = {{0}};
    scores s = scores_new();
    assert_int_equal(decrypt_from(f->out, &s, false, NULL, &error), expected);
    expect_word(&error, text);
    free(s.score);
}

static void test_run_single_refuses_files(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    const size_t record = rlwe_ct_record_bytes(bw.w.context, 0, 2, true);
    const size_t len_bytes = f.in_blob.len_bytes;
    uint8_t *copy = malloc(len_bytes);
    assert_non_null(copy);
    uint8_t *at = copy + HEADER_BYTES + 9 * record; /* item 1 of image 4 */

    folder_put(f.in, f.in_blob.data, len_bytes - record);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "batch 36 has 1 of 2");
    folder_put(f.in, f.in_blob.data, len_bytes - 2 * record);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "before batch 36 of 37");
    memcpy(copy, f.in_blob.data, len_bytes);
    memcpy(at, at + 2 * record, record); /* of another image */
    folder_put(f.in, copy, len_bytes);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "ciphertext 1 of batch 5");
    memcpy(copy, f.in_blob.data, len_bytes);
    at[2000] ^= 4; /* flipped */
    folder_put(f.in, copy, len_bytes);
    expect_infer(folder, &f, SOTTO_ERR_FORMAT, "record 10");
    free(copy);

    const size_t score = (f.out_blob.len_bytes - HEADER_BYTES) / N_SINGLES;
    folder_put(f.out, f.out_blob.data, f.out_blob.len_bytes - score);
    expect_decrypt(&f, SOTTO_ERR_FORMAT, "before batch 36 of 37");
    f.out_blob.data[HEADER_BYTES + 5 * score + 2000] ^= 1;
    folder_put(f.out, f.out_blob.data, f.out_blob.len_bytes);
    expect_decrypt(&f, SOTTO_ERR_FORMAT, "record 6");
    free_files(&f);
}

static void test_run_single_refuses_foreign_files(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    bw.plan->id[0] ^= 1;
    expect_infer(folder, &f, SOTTO_ERR_MISMATCH, "another plan");
    expect_decrypt(&f, SOTTO_ERR_MISMATCH, "another plan");
    bw.plan->id[0] ^= 1;
    const char *in = f.in;
    f.in = f.out; /* ciphertexts of scores are no inputs */
    expect_infer(folder, &f, SOTTO_ERR_MISMATCH, "record 1");
    f.in = in;
    free_files(&f);
}

/* A set without one rotation names it, with the step that wants it. */
static void test_run_single_refuses_missing_keys(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    rlwe_keyset *all = bw.w.keys;
    rlwe_keyset some = *all; /* shares everything but the list */
    some.key = malloc((size_t)all->n_keys * sizeof(*some.key));
    assert_non_null(some.key);
    for (int gone = 0; gone < all->n_keys; gone += all->n_keys - 1) {
        some.n_keys = 0;
        for (int i = 0; i < all->n_keys; i++) {
            if (i != gone) {
                some.key[some.n_keys++] = all->key[i];
            }
        }
        bw.w.keys = &some;
        expect_infer(folder, &f, SOTTO_ERR_KEY, "step '");
        bw.w.keys = all;
    }
    bw.w.keys = NULL;
    expect_infer(folder, &f, SOTTO_ERR_KEY, "none were given");
    bw.w.keys = all;
    free(some.key);
    free_files(&f);
}

static void test_run_single_decrypt_checks_noise_and_range(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    const nn_plan good = *bw.plan;
    bw.plan->he_noise_std = 0x1p-30;
    bw.plan->step[bw.plan->n_steps - 1].range = 0x1p-9;
    expect_decrypt(&f, SOTTO_ERR_NOISE, "image 0");
    *bw.plan = good;
    bw.plan->step[bw.plan->n_steps - 1].range = 0x1p-9;
    bw.plan->he_error = 0;
    expect_decrypt(&f, SOTTO_ERR_RANGE, "planned range");
    *bw.plan = good;
    free_files(&f);
}

/* ---- Stopping, no memory ------------------------------------------------- */

static void test_run_single_cancel(void **state)
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
    return infer_part(s->scrap, s->in, 36, 37, NULL, NULL, NULL);
}

static sotto_status sweep_decrypt(void *arg)
{
    const sweep *s = arg;
    scores found = scores_new();
    const sotto_status status = decrypt_from(s->out, &found, false, NULL, NULL);
    free(found.score);
    return status;
}

static void test_run_single_without_memory(void **state)
{
    const test_folder *folder = *state;
    files f = make_files(folder);
    sweep s = {f.in, f.out, folder_file(folder, "scrap.ct")};
    const size_t count = folder_count(folder) + 1; /* and scrap.ct */
    assert_true(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 200, sweep_encrypt, &s) > 5);
    assert_true(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 200, sweep_decrypt, &s) > 5);
    assert_true(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 2000, sweep_infer, &s) > 50);
    assert_int_equal(folder_count(folder), count);
    free_files(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_run_single_round_trip),
        IN_FOLDER(test_run_single_is_the_same_in_any_way),
        IN_FOLDER(test_run_single_in_parts),
        IN_FOLDER(test_run_single_with_public_key),
        IN_FOLDER(test_run_single_refuses_pixels),
        IN_FOLDER(test_run_single_refuses_files),
        IN_FOLDER(test_run_single_refuses_foreign_files),
        IN_FOLDER(test_run_single_refuses_missing_keys),
        IN_FOLDER(test_run_single_decrypt_checks_noise_and_range),
        IN_FOLDER(test_run_single_cancel),
        IN_FOLDER(test_run_single_without_memory),
    };
    return cmocka_run_group_tests(tests, run_world_setup_single,
                                  run_world_teardown);
}
