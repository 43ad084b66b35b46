/* SPDX-License-Identifier: MIT
 * Every way in which a file or a key can be wrong is refused by inference and
 * decryption, with a message that says which.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rlwe/wire.h"
#include "tests/support/check.h"
#include "tests/support/run_world.h"

/* ---- What is refused: files ---------------------------------------------- */

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

    /* scores of batch 0 twice, as from two overlapping parts */
    const size_t batch = 3 * rlwe_ct_record_bytes(bw.w.context, 1, 3, false);
    copy = malloc(f.out_blob.len_bytes + batch);
    assert_non_null(copy);
    memcpy(copy, f.out_blob.data, HEADER_BYTES + batch);
    memcpy(copy + HEADER_BYTES + batch, f.out_blob.data + HEADER_BYTES,
           f.out_blob.len_bytes - HEADER_BYTES);
    folder_put(f.out, copy, f.out_blob.len_bytes + batch);
    expect_decrypt(&f, SOTTO_ERR_FORMAT, "expected 0 of batch 1");
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
    world other = world_new(&run_spec.params, "another");
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
    world other = world_new(&run_spec.params, "another");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_run_refuses_truncated_files),
        IN_FOLDER(test_run_refuses_disorder),
        IN_FOLDER(test_run_refuses_foreign_files),
        IN_FOLDER(test_run_infer_refuses_wrong_keys),
        IN_FOLDER(test_run_decrypt_refuses_wrong_key),
        IN_FOLDER(test_run_decrypt_checks_noise_and_range),
    };
    return cmocka_run_group_tests(tests, run_world_setup, run_world_teardown);
}
