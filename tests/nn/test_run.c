/* SPDX-License-Identifier: MIT
 * Encrypt, infer, decrypt through files: what comes out, on how many threads,
 * in how many parts; stopping, full disks, no memory.
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
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_run_round_trip),
        IN_FOLDER(test_run_is_the_same_on_any_number_of_threads),
        IN_FOLDER(test_run_in_parts),
        IN_FOLDER(test_run_with_public_key),
        IN_FOLDER(test_run_encrypt_is_fresh),
        IN_FOLDER(test_run_encrypt_refuses_pixels),
        IN_FOLDER(test_run_encrypt_refuses_counts_and_sources),
        IN_FOLDER(test_run_cancel),
        IN_FOLDER(test_run_full_disk),
        IN_FOLDER(test_run_without_memory),
    };
    return cmocka_run_group_tests(tests, run_world_setup, run_world_teardown);
}
