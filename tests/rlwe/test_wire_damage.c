/* SPDX-License-Identifier: MIT
 * Damaged and hostile files: cut at every byte, a bit flipped in every byte,
 * and fields that are wrong under a right checksum.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "rlwe/encrypt.h"
#include "rlwe/wire_internal.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"
#include "tests/support/rlwe_lab.h"

/* As small as files get: moduli of 16 to 20 bits. */
static const double sizes[] = {16, 18, 20, 0};
static const char *const levels[] = {"ab", "b", NULL};
static const char *const gadgets[] = {"ab|00|c", "b|0|c", NULL};
static const world_spec spec = {.log2_n = 10,
                                .log2_q = sizes,
                                .level = levels,
                                .gadget = gadgets,
                                .public_special = 'c'};

enum { MAX_FILE = 1 << 16 };

/* A file under test: how it is read, and its bytes when whole. */
typedef struct subject {
    rlwe_lab lab;
    const char *path;
    sotto_status (*read)(const struct subject *s, sotto_error *err);
    size_t len;
    uint8_t bytes[MAX_FILE];
} subject;

static sotto_status read_secret(const subject *s, sotto_error *err)
{
    rlwe_secret *secret;
    const sotto_status status =
        rlwe_read_secret(&secret, s->path, s->lab.context, err);
    assert_true((status == SOTTO_OK) == (secret != NULL));
    rlwe_secret_free(secret, s->lab.context);
    return status;
}

static sotto_status read_public(const subject *s, sotto_error *err)
{
    rlwe_public *key;
    const sotto_status status =
        rlwe_read_public(&key, s->path, s->lab.context, err);
    assert_true((status == SOTTO_OK) == (key != NULL));
    rlwe_public_free(key);
    return status;
}

static sotto_status read_eval(const subject *s, sotto_error *err)
{
    rlwe_keyset *set;
    const sotto_status status =
        rlwe_read_keyset(&set, s->path, s->lab.context, NULL, 0, err);
    assert_true((status == SOTTO_OK) == (set != NULL));
    rlwe_keyset_free(set);
    return status;
}

static sotto_status read_ct(const subject *s, sotto_error *err)
{
    const rlwe_context *context = s->lab.context;
    rlwe_file_reader *reader;
    SOTTO_TRY(
        rlwe_file_open(&reader, s->path, context, RLWE_FILE_CIPHERTEXT, err));
    rlwe_ct ct;
    sotto_status status = rlwe_ct_init(&ct, context, 0, 5, err);
    assert_int_equal(status, SOTTO_OK);
    memset(ct.data, 0x11, ct.capacity * 8);
    bool at_end = false;
    int n_read = -1;
    while (status == SOTTO_OK && !at_end) {
        uint64_t scale_bits, index;
        uint32_t item;
        status = rlwe_read_ct(reader, context, &ct, &scale_bits, &index, &item,
                              &at_end, err);
        n_read++;
    }
    /* Nothing half-read stays behind: all as it was, or all zero. */
    for (size_t i = 1; i < ct.capacity && n_read == 0; i++) {
        assert_int_equal(ct.data[i], ct.data[0]);
    }
    rlwe_ct_clear(&ct);
    rlwe_file_close(reader);
    return status;
}

/* ---- Subjects ---------------------------------------------------------- */

/* Reads what was written into s->path back into s->bytes. */
static void load(subject *s, sotto_output *out)
{
    CHECK(sotto_output_commit(out, err));
    uint8_t *bytes;
    CHECK(sotto_file_read(&bytes, &s->len, s->path, MAX_FILE, err));
    memcpy(s->bytes, bytes, s->len);
    sotto_free(bytes);
}

static sotto_output *begin(subject *s, void **state)
{
    memset(s, 0, sizeof *s);
    s->lab = lab_new(&spec, "damage");
    s->path = folder_file(*state, "subject");
    sotto_output *out;
    CHECK(sotto_output_open(&out, s->path, SOTTO_OUTPUT_PUBLIC, false, err));
    return out;
}

static void make_secret(subject *s, void **state)
{
    sotto_output *out = begin(s, state);
    CHECK(rlwe_write_secret(out, s->lab.context, s->lab.secret, err));
    s->read = read_secret;
    load(s, out);
}

static void make_public(subject *s, void **state)
{
    sotto_output *out = begin(s, state);
    rlwe_public *key;
    CHECK(rlwe_public_new(&key, s->lab.context, s->lab.secret, &s->lab.root,
                          err));
    CHECK(rlwe_write_public(out, s->lab.context, key, err));
    rlwe_public_free(key);
    s->read = read_public;
    load(s, out);
}

static void make_eval(subject *s, void **state)
{
    sotto_output *out = begin(s, state);
    const rlwe_file_header header = rlwe_file_header_make(
        s->lab.context, RLWE_FILE_EVAL, s->lab.secret->key_id, true);
    CHECK(rlwe_write_header(out, &header, err));
    const rlwe_key_target target = {RLWE_KEY_POWER, 2};
    rlwe_switch_key *key;
    CHECK(rlwe_switch_key_new(&key, s->lab.context, s->lab.secret, target,
                              &s->lab.context->params.literal.gadget[1],
                              &s->lab.root, 0, err));
    CHECK(rlwe_write_switch_key(out, s->lab.context, key, 0, err));
    rlwe_switch_key_free(key);
    s->read = read_eval;
    load(s, out);
}

/* One ciphertext at level 1: seeded, or with three components. */
static void make_ct(subject *s, void **state, bool seeded)
{
    sotto_output *out = begin(s, state);
    const rlwe_context *context = s->lab.context;
    const rlwe_file_header header = rlwe_file_header_make(
        context, RLWE_FILE_CIPHERTEXT, s->lab.secret->key_id, true);
    CHECK(rlwe_write_header(out, &header, err));
    rlwe_ct ct;
    CHECK(rlwe_ct_init(&ct, context, 1, 3, err));
    if (seeded) {
        CHECK(rlwe_encrypt_zero(&ct, context, s->lab.secret, 1, &s->lab.root, 0,
                                0, &s->lab.arena, err));
    } else {
        lab_uniform(&s->lab, rlwe_level_set(context, 1), ct.data, 0);
        memcpy(ct.key_id, s->lab.secret->key_id, sizeof ct.key_id);
    }
    static uint8_t scratch[MAX_FILE];
    CHECK(rlwe_write_ct(out, context, &ct, 1, 2, 3, scratch, err));
    rlwe_ct_clear(&ct);
    s->read = read_ct;
    load(s, out);
}

static void finish(subject *s)
{
    lab_free(&s->lab);
}

/* ---- Cut and flipped --------------------------------------------------- */

/* Overwrites one byte of the file in place. */
static void poke(int fd, size_t at, uint8_t byte)
{
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

static void check_fails(const subject *s, sotto_status want, size_t at)
{
    sotto_error err = {{0}};
    const sotto_status status = s->read(s, &err);
    if (status != want || strstr(err.text, "subject") == NULL) {
        fail_msg("byte %zu of %zu: status %d, \"%s\"", at, s->len, (int)status,
                 err.text);
    }
}

/* A bit in every byte, all bits in header, record head and fields. */
static void check_flips(const subject *s)
{
    const int fd = open(s->path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t at = 0; at < s->len; at++) {
        const bool all = at < 136 + 64 + 64;
        for (size_t bit = 0; bit < 8; bit++) {
            if (all || bit == at % 8) {
                poke(fd, at, (uint8_t)(s->bytes[at] ^ (1u << bit)));
                check_fails(s, SOTTO_ERR_FORMAT, at);
            }
        }
        poke(fd, at, s->bytes[at]);
    }
    assert_int_equal(close(fd), 0);
    CHECK(s->read(s, err));
}

/* Every shorter file. valid: length at which the file is whole without its
 * record, or NEVER. */
#define NEVER SIZE_MAX

static void check_cuts(const subject *s, size_t valid)
{
    for (size_t len = s->len; len-- > 0;) {
        assert_int_equal(truncate(s->path, (off_t)len), 0);
        if (len == valid) {
            CHECK(s->read(s, err));
        } else {
            check_fails(s, SOTTO_ERR_FORMAT, len);
        }
    }
}

static void check_damage(subject *s, size_t valid)
{
    CHECK(s->read(s, err));
    check_flips(s);
    check_cuts(s, valid);
    /* Bytes behind the end. */
    s->bytes[s->len] = 0;
    folder_put(s->path, s->bytes, s->len + 1);
    check_fails(s, SOTTO_ERR_FORMAT, s->len);
    memset(s->bytes + s->len, 'x', 300);
    folder_put(s->path, s->bytes, s->len + 300);
    check_fails(s, SOTTO_ERR_FORMAT, s->len);
    finish(s);
}

static subject the_subject; /* too large for the stack of some systems */

static void test_rlwe_read_secret_damaged(void **state)
{
    make_secret(&the_subject, state);
    check_damage(&the_subject, NEVER);
}

static void test_rlwe_read_public_damaged(void **state)
{
    make_public(&the_subject, state);
    check_damage(&the_subject, NEVER);
}

static void test_rlwe_read_keyset_damaged(void **state)
{
    make_eval(&the_subject, state);
    check_damage(&the_subject, 136);
}

static void test_rlwe_read_ct_damaged(void **state)
{
    make_ct(&the_subject, state, true);
    check_damage(&the_subject, 136);
    make_ct(&the_subject, state, false);
    check_damage(&the_subject, 136);
}

/* ---- Wrong fields under a right checksum ------------------------------- */

/* Where things stand in a file of one record. */
enum { RECORD = 136, PAYLOAD = 136 + 64 };

/* Makes the checksums of a file of one record right. */
static void reseal(uint8_t *bytes, size_t len)
{
    sotto_sha256_of(bytes + 104, bytes, 104);
    const size_t payload = len - PAYLOAD;
    for (int i = 0; i < 8; i++) {
        bytes[RECORD + 24 + i] = (uint8_t)((uint64_t)payload >> (8 * i));
    }
    sotto_sha256 hash;
    sotto_sha256_init(&hash);
    sotto_sha256_update(&hash, bytes + RECORD, 32);
    sotto_sha256_update(&hash, bytes + PAYLOAD, payload);
    sotto_sha256_final(&hash, bytes + RECORD + 32);
}

/* One edit of a file of one record. */
typedef struct edit {
    size_t at;
    int len;           /* bytes to overwrite */
    uint8_t bytes[16]; /* with these */
    int grow;          /* bytes to add at the end, or to take off */
    sotto_status status;
    const char *word; /* in the message */
} edit;

static void check_edits(const subject *s, const edit *edits, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        static uint8_t bytes[MAX_FILE];
        const edit *e = &edits[i];
        const size_t len = (size_t)((long)s->len + e->grow);
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, s->bytes, s->len);
        memcpy(bytes + e->at, e->bytes, (size_t)e->len);
        reseal(bytes, len);
        folder_put(s->path, bytes, len);
        sotto_error err = {{0}};
        const sotto_status status = s->read(s, &err);
        if (status != e->status || strstr(err.text, e->word) == NULL) {
            fail_msg("edit %zu: status %d, \"%s\", expected %d, \"%s\"", i,
                     (int)status, err.text, (int)e->status, e->word);
        }
    }
}

#define FORMAT SOTTO_ERR_FORMAT
#define MISMATCH SOTTO_ERR_MISMATCH

static void test_rlwe_file_open_wrong_fields(void **state)
{
    make_ct(&the_subject, state, true);
    static const edit edits[] = {
        {8, 2, {2, 0}, 0, FORMAT, "version 2"},
        {10, 2, {0, 0}, 0, FORMAT, "kind 0"},
        {10, 2, {5, 0}, 0, FORMAT, "kind 5"},
        {10, 2, {1, 0}, 0, FORMAT, "a secret key"},
        {12, 4, {7, 0, 0, 0}, 0, FORMAT, "flags 7"},
        {12, 4, {0, 0, 0, 0x80}, 0, FORMAT, "flags 2147483648"},
        {16, 1, {0}, 0, MISMATCH, "other parameters"},
        {80, 4, {1, 2, 3, 4}, 0, MISMATCH, "header says 01020304"},
        {RECORD + 8, 4, {3, 0, 0, 0}, 0, FORMAT, "evaluation keys in a file"},
        {RECORD + 8, 4, {9, 0, 0, 1}, 0, FORMAT, "something unknown"},
    };
    check_edits(&the_subject, edits, sizeof edits / sizeof edits[0]);
    finish(&the_subject);
}

static void test_rlwe_read_ct_wrong_fields(void **state)
{
    make_ct(&the_subject, state, true);
    static const edit edits[] = {
        {PAYLOAD, 2, {2, 0}, 0, MISMATCH, "at level 2"},
        {PAYLOAD, 2, {0xff, 0xff}, 0, MISMATCH, "at level 65535"},
        {PAYLOAD, 2, {0, 0}, 0, MISMATCH, "1 moduli at level 0"},
        {PAYLOAD + 2, 1, {0}, 0, FORMAT, "0 components"},
        {PAYLOAD + 2, 1, {1}, 0, FORMAT, "1 components"},
        {PAYLOAD + 2, 1, {3}, 0, FORMAT, "3 components with flags 1"},
        {PAYLOAD + 2, 1, {6}, 0, FORMAT, "6 components"},
        {PAYLOAD + 3, 1, {2}, 0, FORMAT, "flags 2"},
        {PAYLOAD + 3, 1, {0}, 0, FORMAT, "expected"}, /* not seeded: longer */
        {PAYLOAD + 4, 1, {1}, 0, FORMAT, "components"},
        {PAYLOAD + 16, 1, {0xee}, 0, MISMATCH, "belongs to key ee"},
        {PAYLOAD + 32, 1, {0}, 0, MISMATCH, "0 moduli"},
        {PAYLOAD + 32, 1, {1}, 0, MISMATCH, "at level 1"},
        {PAYLOAD + 32, 1, {2 + 8}, 0, MISMATCH, "at level 1"},
        {PAYLOAD + 47, 1, {0x80}, 0, MISMATCH, "at level 1"},
        {PAYLOAD + 48,
         8,
         {255, 255, 255, 255, 255, 255, 255, 255},
         0,
         FORMAT,
         "residue"},
        {0, 0, {0}, 1, FORMAT, "expected"},
        {0, 0, {0}, -1, FORMAT, "expected"},
        {0, 0, {0}, 40000, FORMAT, "at most"},
    };
    check_edits(&the_subject, edits, sizeof edits / sizeof edits[0]);
    /* A payload that ends within its fields. */
    const int short_by = -(int)(the_subject.len - PAYLOAD - 20);
    const edit cut = {0, 0, {0}, short_by, FORMAT, "expected"};
    check_edits(&the_subject, &cut, 1);
    finish(&the_subject);
}

static void test_rlwe_read_secret_wrong_fields(void **state)
{
    make_secret(&the_subject, state);
    static const edit edits[] = {
        {PAYLOAD, 1, {0xee}, 0, MISMATCH, "belongs to key ee"},
        {PAYLOAD + 16, 1, {0x80}, 0, FORMAT, "not -1, 0 or 1"},
        {PAYLOAD + 16 + 255, 1, {0x02}, 0, FORMAT, "not -1, 0 or 1"},
        {0, 0, {0}, 1, FORMAT, "273 bytes; expected 272"},
        {0, 0, {0}, -1, FORMAT, "271 bytes; expected 272"},
    };
    check_edits(&the_subject, edits, sizeof edits / sizeof edits[0]);
    /* Two keys in one file. */
    subject *s = &the_subject;
    memcpy(s->bytes + s->len, s->bytes, s->len);
    folder_put(s->path, s->bytes, 2 * s->len);
    LAB_FAILS(FORMAT, s->read(s, err), "record 2", "a second key");
    folder_put(s->path, s->bytes, RECORD);
    LAB_FAILS(FORMAT, s->read(s, err), "holds no key");
    finish(s);
}

static void test_rlwe_read_public_wrong_fields(void **state)
{
    make_public(&the_subject, state);
    static const edit edits[] = {
        {PAYLOAD, 1, {0xee}, 0, MISMATCH, "belongs to key ee"},
        {PAYLOAD + 16, 1, {3}, 0, MISMATCH, "2 moduli"},
        {PAYLOAD + 16, 1, {15}, 0, MISMATCH, "3 moduli"},
        {PAYLOAD + 16, 1, {0}, 0, MISMATCH, "0 moduli"},
        {PAYLOAD + 64, 4, {255, 255, 255, 255}, 0, FORMAT, "residue"},
        {0, 0, {0}, 8, FORMAT, "expected"},
    };
    check_edits(&the_subject, edits, sizeof edits / sizeof edits[0]);
    finish(&the_subject);
}

static void test_rlwe_read_keyset_wrong_fields(void **state)
{
    make_eval(&the_subject, state);
    static const edit edits[] = {
        {RECORD + 12, 1, {1}, 0, FORMAT, "no valid gadget"},
        {PAYLOAD, 1, {0xee}, 0, MISMATCH, "belongs to key ee"},
        {PAYLOAD + 16, 4, {3, 0, 0, 0}, 0, FORMAT, "kind 3"},
        {PAYLOAD + 16, 4, {1, 0, 0, 0x80}, 0, FORMAT, "switching key of kind"},
        {PAYLOAD + 16, 4, {2, 0, 0, 0}, 0, FORMAT, "Galois element 2"},
        {PAYLOAD + 20, 4, {0, 0, 0, 0}, 0, FORMAT, "0 digits"},
        {PAYLOAD + 20, 4, {2, 0, 0, 0}, 0, FORMAT, "2 digits"},
        {PAYLOAD + 20, 4, {0, 0, 0, 0xf0}, 0, FORMAT, "no valid gadget"},
        {PAYLOAD + 24, 8, {7}, 0, FORMAT, "power 7"},
        {PAYLOAD + 32, 1, {6}, 0, FORMAT, "no valid gadget"}, /* c in both */
        {PAYLOAD + 32, 1, {0}, 0, FORMAT, "no valid gadget"},
        {PAYLOAD + 33, 1, {1}, 0, FORMAT, "no valid gadget"},
        {PAYLOAD + 48, 1, {0}, 0, FORMAT, "no valid gadget"},
        {PAYLOAD + 64, 1, {1}, 0, FORMAT, "digit 1 at position 0"},
        {PAYLOAD + 159, 1, {1}, 0, FORMAT, "digit 1 at position 95"},
        {PAYLOAD + 192, 4, {255, 255, 255, 255}, 0, FORMAT, "residue"},
        {0, 0, {0}, 8, FORMAT, "expected"},
        {0, 0, {0}, -8, FORMAT, "expected"},
    };
    check_edits(&the_subject, edits, sizeof edits / sizeof edits[0]);
    const int short_by = -(int)(the_subject.len - PAYLOAD - 100);
    const edit cut = {0, 0, {0}, short_by, FORMAT, "no valid gadget"};
    check_edits(&the_subject, &cut, 1);
    finish(&the_subject);
}

/* A length that nothing backs: refused before anything is allocated. */
static void test_rlwe_read_of_a_huge_length(void **state)
{
    void (*const make[2])(subject *, void **) = {make_secret, make_eval};
    for (int i = 0; i < 2; i++) {
        subject *s = &the_subject;
        make[i](s, state);
        memset(s->bytes + RECORD + 24, 0xff, 7);
        folder_put(s->path, s->bytes, s->len);
        const size_t peak = sotto_peak_bytes();
        check_fails(s, FORMAT, RECORD + 24);
        assert_true(sotto_peak_bytes() < peak + ((size_t)64 << 20));
        finish(s);
    }
    for (int seeded = 0; seeded < 2; seeded++) {
        subject *s = &the_subject;
        make_ct(s, state, seeded);
        memset(s->bytes + RECORD + 24, 0xff, 8);
        folder_put(s->path, s->bytes, s->len);
        LAB_FAILS(FORMAT, s->read(s, err), "record 1",
                  "has 18446744073709551615 bytes");
        /* One byte more than the largest ciphertext has. */
        const size_t most = rlwe_ct_record_max(s->lab.context) - 64;
        for (int b = 0; b < 8; b++) {
            s->bytes[RECORD + 24 + b] =
                (uint8_t)((uint64_t)(most + 1) >> (8 * b));
        }
        folder_put(s->path, s->bytes, MAX_FILE);
        LAB_FAILS(FORMAT, s->read(s, err), "record 1", "at most");
        finish(s);
    }
}

/* A ciphertext that is too large for the one it is read into. */
static void test_rlwe_read_ct_without_room(void **state)
{
    subject *s = &the_subject;
    make_ct(s, state, false);
    rlwe_file_reader *reader;
    CHECK(rlwe_file_open(&reader, s->path, s->lab.context, RLWE_FILE_CIPHERTEXT,
                         err));
    rlwe_ct ct;
    CHECK(rlwe_ct_init(&ct, s->lab.context, 1, 2, err));
    uint64_t scale_bits, index;
    uint32_t item;
    bool at_end;
    LAB_FAILS(SOTTO_ERR_PARAM,
              rlwe_read_ct(reader, s->lab.context, &ct, &scale_bits, &index,
                           &item, &at_end, err),
              "cannot hold 3 components");
    assert_int_equal(ct.n_components, 2);
    rlwe_ct_clear(&ct);
    rlwe_file_close(reader);
    finish(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_rlwe_read_secret_damaged),
        IN_FOLDER(test_rlwe_read_public_damaged),
        IN_FOLDER(test_rlwe_read_keyset_damaged),
        IN_FOLDER(test_rlwe_read_ct_damaged),
        IN_FOLDER(test_rlwe_file_open_wrong_fields),
        IN_FOLDER(test_rlwe_read_ct_wrong_fields),
        IN_FOLDER(test_rlwe_read_secret_wrong_fields),
        IN_FOLDER(test_rlwe_read_public_wrong_fields),
        IN_FOLDER(test_rlwe_read_keyset_wrong_fields),
        IN_FOLDER(test_rlwe_read_of_a_huge_length),
        IN_FOLDER(test_rlwe_read_ct_without_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
