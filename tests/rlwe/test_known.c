/* SPDX-License-Identifier: MIT
 * Known answers: every bit of keys, ciphertexts, files and of a key switch
 * from one seed, as SHA-256. The same for every compiler, backend and machine;
 * a change here is a change of the format or of a definition in SPEC.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "rlwe/encrypt.h"
#include "rlwe/keyswitch.h"
#include "rlwe/wire.h"
#include "tests/support/folder.h"
#include "tests/support/rlwe_lab.h"

static const double sizes[] = {46, 32, 32, 46.5, 0};
static const char *const levels[] = {"abc", "bc", NULL};
static const char *const gadgets[] = {"abc|010|d", NULL};
static const world_spec spec = {.log2_n = 11,
                                .log2_q = sizes,
                                .level = levels,
                                .gadget = gadgets,
                                .public_special = 'd'};

static sotto_output *create(const char *path)
{
    sotto_output *out;
    CHECK(sotto_output_open(&out, path, SOTTO_OUTPUT_PUBLIC, false, err));
    return out;
}

/* Ends the file and compares its digest. */
static void expect(sotto_output *out, const char *path, const char *digest)
{
    CHECK(sotto_output_commit(out, err));
    uint8_t *bytes;
    size_t len;
    CHECK(sotto_file_read(&bytes, &len, path, (size_t)1 << 24, err));
    uint8_t hash[SOTTO_HASH_BYTES];
    char text[2 * SOTTO_HASH_BYTES + 1];
    sotto_sha256_of(hash, bytes, len);
    sotto_hex(text, hash, sizeof hash);
    sotto_free(bytes);
    assert_string_equal(text, digest);
}

static void test_rlwe_known_secret(void **state)
{
    const char *path = folder_file(*state, "secret.key");
    rlwe_lab lab = lab_new(&spec, "known answer");
    sotto_output *out = create(path);
    CHECK(rlwe_write_secret(out, lab.context, lab.secret, err));
    expect(out, path,
           "7270ca4e7ad49b29fee6d59da90ae6445847c606050bbb29306c564b6efe6400");
    lab_free(&lab);
}

static void test_rlwe_known_public(void **state)
{
    const char *path = folder_file(*state, "public.key");
    rlwe_lab lab = lab_new(&spec, "known answer");
    rlwe_public *key;
    CHECK(rlwe_public_new(&key, lab.context, lab.secret, &lab.root, err));
    sotto_output *out = create(path);
    CHECK(rlwe_write_public(out, lab.context, key, err));
    expect(out, path,
           "6a5c86c2fe22ff237531710bcea4a3e570271353e4182105a49cf159662f3b4d");
    rlwe_public_free(key);
    lab_free(&lab);
}

static rlwe_switch_key *make_key(const rlwe_lab *lab, rlwe_key_target target)
{
    rlwe_switch_key *key;
    CHECK(rlwe_switch_key_new(&key, lab->context, lab->secret, target,
                              &lab->context->params.literal.gadget[0],
                              &lab->root, (uint32_t)target.value, err));
    return key;
}

static void test_rlwe_known_switch_keys(void **state)
{
    const char *path = folder_file(*state, "eval.key");
    static const rlwe_key_target targets[2] = {{RLWE_KEY_POWER, 2},
                                               {RLWE_KEY_GALOIS, 5}};
    rlwe_lab lab = lab_new(&spec, "known answer");
    sotto_output *out = create(path);
    const rlwe_file_header header = rlwe_file_header_make(
        lab.context, RLWE_FILE_EVAL, lab.secret->key_id, true);
    CHECK(rlwe_write_header(out, &header, err));
    for (uint32_t i = 0; i < 2; i++) {
        rlwe_switch_key *key = make_key(&lab, targets[i]);
        CHECK(rlwe_write_switch_key(out, lab.context, key, i, err));
        rlwe_switch_key_free(key);
    }
    expect(out, path,
           "28f601877ea0b86e3683bd8ee91bcefa1fa0cabdecf67f7ad8019362da241f0c");
    lab_free(&lab);
}

/* Symmetric, public-key, and the switch of the second's c_1 with a rescale. */
static void test_rlwe_known_ciphertexts(void **state)
{
    const char *path = folder_file(*state, "x.ct");
    rlwe_lab lab = lab_new(&spec, "known answer");
    rlwe_ct ct;
    CHECK(rlwe_ct_init(&ct, lab.context, 0, 2, err));
    uint8_t *scratch = sotto_calloc(rlwe_ct_record_max(lab.context), 1);
    assert_non_null(scratch);
    sotto_output *out = create(path);
    rlwe_file_header header = rlwe_file_header_make(
        lab.context, RLWE_FILE_CIPHERTEXT, lab.secret->key_id, true);
    header.count = 3;
    CHECK(rlwe_write_header(out, &header, err));
    CHECK(rlwe_encrypt_zero(&ct, lab.context, lab.secret, 0, &lab.root, 1, 2,
                            &lab.arena, err));
    CHECK(rlwe_write_ct(out, lab.context, &ct, 10, 0, 0, scratch, err));
    rlwe_public *public_key;
    CHECK(
        rlwe_public_new(&public_key, lab.context, lab.secret, &lab.root, err));
    CHECK(rlwe_encrypt_zero_public(&ct, lab.context, public_key, 0, &lab.root,
                                   3, 4, &lab.arena, err));
    CHECK(rlwe_write_ct(out, lab.context, &ct, 11, 0, 1, scratch, err));

    rlwe_switch_key *key = make_key(&lab, (rlwe_key_target){RLWE_KEY_POWER, 2});
    rlwe_switcher *switcher;
    CHECK(rlwe_switcher_new(&switcher, lab.context, &key->gadget, 0, 1, err));
    rlwe_ct switched;
    CHECK(rlwe_ct_init(&switched, lab.context, 1, 2, err));
    memcpy(switched.key_id, lab.secret->key_id, sizeof switched.key_id);
    const uint64_t *const x[1] = {rlwe_ct_component(&ct, lab.context, 1)};
    const rlwe_switch_key *const keys[1] = {key};
    rlwe_switch(
        switcher, lab.context, rlwe_ct_component(&switched, lab.context, 0),
        rlwe_ct_component(&switched, lab.context, 1),
        rlwe_ct_component(&ct, lab.context, 0), NULL, x, keys, 1, &lab.arena);
    CHECK(rlwe_write_ct(out, lab.context, &switched, 12, 0, 2, scratch, err));
    expect(out, path,
           "fdc96a19e7368a981f0b4f6a1d68872d48bad27720e1bd451a4b7bd5fdeef5c5");
    rlwe_ct_clear(&switched);
    rlwe_switcher_free(switcher);
    rlwe_switch_key_free(key);
    rlwe_public_free(public_key);
    sotto_free(scratch);
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_rlwe_known_secret),
        IN_FOLDER(test_rlwe_known_public),
        IN_FOLDER(test_rlwe_known_switch_keys),
        IN_FOLDER(test_rlwe_known_ciphertexts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
