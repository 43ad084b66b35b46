/* SPDX-License-Identifier: MIT
 * Files of keys and ciphertexts: what is written comes back, stands where the
 * format says, and can be put together.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "ntt/poly.h"
#include "rlwe/encrypt.h"
#include "rlwe/keyswitch.h"
#include "rlwe/wire_internal.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"
#include "tests/support/rlwe_lab.h"

static const double sizes[] = {40, 29.5, 33, 41, 46, 0};
static const char *const levels[] = {"abc", "bc", "c", NULL};
static const char *const gadgets[] = {"abc|010|de", "bc|00|d", NULL};
static const world_spec spec = {.log2_n = 10,
                                .log2_q = sizes,
                                .level = levels,
                                .gadget = gadgets,
                                .public_special = 'd'};

static const rlwe_key_target targets[] = {
    {RLWE_KEY_POWER, 2}, {RLWE_KEY_GALOIS, 5}, {RLWE_KEY_GALOIS, 2047}};

/* ---- Helpers ----------------------------------------------------------- */

static sotto_output *create(const char *path)
{
    sotto_output *out;
    CHECK(sotto_output_open(&out, path, SOTTO_OUTPUT_PUBLIC, false, err));
    return out;
}

static void commit(sotto_output *out)
{
    CHECK(sotto_output_commit(out, err));
}

/* A file header for ciphertexts, with a plan id. */
static void put_ct_header(const rlwe_lab *lab, sotto_output *out)
{
    rlwe_file_header header = rlwe_file_header_make(
        lab->context, RLWE_FILE_CIPHERTEXT, lab->secret->key_id, true);
    memset(header.plan_id, 0x3c, sizeof header.plan_id);
    header.count = UINT64_C(0xabcdef0123456789);
    CHECK(rlwe_write_header(out, &header, err));
}

/* A ciphertext of random residues, or a seeded encryption. */
static rlwe_ct make_ct(rlwe_lab *lab, int level, int n_components, bool seeded)
{
    rlwe_ct ct;
    CHECK(rlwe_ct_init(&ct, lab->context, level, n_components, err));
    if (seeded) {
        CHECK(rlwe_encrypt_zero(&ct, lab->context, lab->secret, level,
                                &lab->root, 1, (uint32_t)level, &lab->arena,
                                err));
        return ct;
    }
    for (int i = 0; i < n_components; i++) {
        lab_uniform(lab, rlwe_level_set(lab->context, level),
                    rlwe_ct_component(&ct, lab->context, i),
                    (uint64_t)(10 * level + i));
    }
    memcpy(ct.key_id, lab->secret->key_id, sizeof ct.key_id);
    return ct;
}

static void put_ct(const rlwe_lab *lab, sotto_output *out, const rlwe_ct *ct,
                   uint64_t scale_bits, uint64_t index, uint32_t item)
{
    const size_t bytes = rlwe_ct_record_bytes(lab->context, ct->level,
                                              ct->n_components, ct->seeded);
    uint8_t *scratch = malloc(bytes);
    assert_non_null(scratch);
    const uint64_t before = sotto_output_size(out);
    CHECK(rlwe_write_ct(out, lab->context, ct, scale_bits, index, item, scratch,
                        err));
    assert_int_equal(sotto_output_size(out) - before, bytes);
    free(scratch);
}

static void assert_same_ct(const rlwe_lab *lab, const rlwe_ct *a,
                           const rlwe_ct *b)
{
    assert_int_equal(a->level, b->level);
    assert_int_equal(a->n_components, b->n_components);
    assert_int_equal(a->seeded, b->seeded);
    assert_memory_equal(&a->seed, &b->seed, sizeof a->seed);
    assert_memory_equal(a->key_id, b->key_id, sizeof a->key_id);
    const rns_ring *ring = lab->context->ring;
    for (int i = 0; i < a->n_components; i++) {
        for (int j = 0; j < rlwe_level_set(lab->context, a->level)->count;
             j++) {
            assert_memory_equal(
                poly_limb(ring, rlwe_ct_component(a, lab->context, i), j),
                poly_limb(ring, rlwe_ct_component(b, lab->context, i), j),
                lab->n * 8);
        }
    }
}

static rlwe_file_reader *open_ct(const rlwe_lab *lab, const char *path)
{
    rlwe_file_reader *reader;
    CHECK(
        rlwe_file_open(&reader, path, lab->context, RLWE_FILE_CIPHERTEXT, err));
    return reader;
}

/* ---- Packing ----------------------------------------------------------- */

/* Every residue where the format says, bit by bit. */
static void test_rlwe_wire_pack_limb_bits(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "pack");
    const rns_ring *ring = lab.context->ring;
    for (int id = 0; id < ring->n_limbs; id++) {
        const rns_set one = rns_set_range(id, 1);
        const int bits = rns_modulus(ring, id)->bits;
        uint64_t *in = lab_poly(&lab, &one);
        uint64_t *back = lab_poly(&lab, &one);
        lab_uniform(&lab, &one, in, 1);
        in[0] = 0;
        in[1] = in[lab.n - 1] = rns_modulus(ring, id)->q - 1;
        const size_t bytes = rlwe_wire_limb_bytes(ring, id);
        assert_int_equal(bytes, lab.n * (size_t)bits / 8);
        uint8_t *packed = calloc(bytes + 1, 1);
        assert_non_null(packed);
        packed[bytes] = 0xa5;
        assert_ptr_equal(rlwe_wire_pack_limb(packed, ring, id, in),
                         packed + bytes);
        assert_int_equal(packed[bytes], 0xa5);
        for (size_t k = 0; k < lab.n; k++) {
            uint64_t residue = 0;
            for (int i = 0; i < bits; i++) {
                const size_t at = k * (size_t)bits + (size_t)i;
                residue |= (uint64_t)((packed[at / 8] >> (at % 8)) & 1) << i;
            }
            assert_int_equal(residue, in[k]);
        }
        assert_true(rlwe_wire_unpack_limb(back, ring, id, packed));
        assert_memory_equal(in, back, lab.n * 8);
        in[77] = rns_modulus(ring, id)->q; /* not a residue */
        (void)rlwe_wire_pack_limb(packed, ring, id, in);
        assert_false(rlwe_wire_unpack_limb(back, ring, id, packed));
        free(packed);
        sotto_free(in);
        sotto_free(back);
    }
    lab_free(&lab);
}

/* ---- Ciphertexts ------------------------------------------------------- */

static void test_rlwe_write_ct_round_trip(void **state)
{
    const char *path = folder_file(*state, "x.ct");
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct ct[5] = {make_ct(&lab, 0, 2, true), make_ct(&lab, 1, 5, false),
                     make_ct(&lab, 2, 2, true), make_ct(&lab, 0, 3, false),
                     make_ct(&lab, 2, 4, false)};
    sotto_output *out = create(path);
    put_ct_header(&lab, out);
    for (uint32_t i = 0; i < 5; i++) {
        put_ct(&lab, out, &ct[i], UINT64_C(0x1122334455667788) + i,
               UINT64_C(0xffffffff00000000) + i, 1000 + i);
    }
    const uint64_t size = sotto_output_size(out);
    commit(out);

    rlwe_file_reader *reader = open_ct(&lab, path);
    const rlwe_file_header *header = rlwe_file_header_of(reader);
    assert_true(header->insecure); /* N = 2^10 */
    assert_true(header->from_seed);
    assert_int_equal(header->plan_id[31], 0x3c);
    assert_true(header->count == UINT64_C(0xabcdef0123456789));
    assert_memory_equal(header->params_id, lab.context->params.id, 32);
    rlwe_ct back;
    CHECK(rlwe_ct_init(&back, lab.context, 0, 5, err));
    uint64_t scale_bits, index;
    uint32_t item;
    bool at_end;
    for (uint32_t i = 0; i < 5; i++) {
        CHECK(rlwe_read_ct(reader, lab.context, &back, &scale_bits, &index,
                           &item, &at_end, err));
        assert_false(at_end);
        assert_same_ct(&lab, &ct[i], &back);
        assert_int_equal(scale_bits, UINT64_C(0x1122334455667788) + i);
        assert_int_equal(index, UINT64_C(0xffffffff00000000) + i);
        assert_int_equal(item, 1000 + i);
    }
    assert_int_equal(rlwe_file_position(reader), size);
    back.data[3] = 99;
    CHECK(rlwe_read_ct(reader, lab.context, &back, &scale_bits, &index, &item,
                       &at_end, err));
    assert_true(at_end);
    assert_int_equal(back.data[3], 99);
    rlwe_file_close(reader);
    rlwe_file_close(NULL);
    for (int i = 0; i < 5; i++) {
        rlwe_ct_clear(&ct[i]);
    }
    rlwe_ct_clear(&back);
    lab_free(&lab);
}

/* Little-endian number at an offset. */
static uint64_t number_at(const uint8_t *bytes, size_t at, int width)
{
    uint64_t value = 0;
    for (int i = width - 1; i >= 0; i--) {
        value = value << 8 | bytes[at + (size_t)i];
    }
    return value;
}

/* Header, record head and fields where wire.h says. */
static void test_rlwe_write_ct_layout(void **state)
{
    const char *path = folder_file(*state, "x.ct");
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct ct = make_ct(&lab, 1, 2, true);
    sotto_output *out = create(path);
    put_ct_header(&lab, out);
    put_ct(&lab, out, &ct, UINT64_C(0x0102030405060708), 9, 10);
    commit(out);
    uint8_t *bytes;
    size_t len;
    CHECK(sotto_file_read(&bytes, &len, path, 1 << 20, err));
    /* "bc" at level 1: 30 and 33 or 34 bits. */
    const rns_ring *ring = lab.context->ring;
    const size_t poly =
        128 * (size_t)(rns_modulus(ring, 1)->bits + rns_modulus(ring, 2)->bits);
    assert_int_equal(len, 136 + 64 + 48 + poly + 32);
    assert_memory_equal(bytes, "SOTTOHDR", 8);
    assert_int_equal(number_at(bytes, 8, 2), 1);
    assert_int_equal(number_at(bytes, 10, 2), 4);
    assert_int_equal(number_at(bytes, 12, 4), 3); /* insecure, seeded */
    assert_memory_equal(bytes + 16, lab.context->params.id, 32);
    assert_int_equal(bytes[48], 0x3c);
    assert_memory_equal(bytes + 80, lab.secret->key_id, 16);
    uint8_t digest[32];
    assert_int_equal(number_at(bytes, 96, 8), UINT64_C(0xabcdef0123456789));
    sotto_sha256_of(digest, bytes, 104);
    assert_memory_equal(bytes + 104, digest, 32);

    const uint8_t *record = bytes + 136;
    assert_memory_equal(record, "SOTTOREC", 8);
    assert_int_equal(number_at(record, 8, 4), 4);
    assert_int_equal(number_at(record, 12, 4), 10);
    assert_int_equal(number_at(record, 16, 8), 9);
    assert_int_equal(number_at(record, 24, 8), len - 200);
    sotto_sha256 hash;
    sotto_sha256_init(&hash);
    sotto_sha256_update(&hash, record, 32);
    sotto_sha256_update(&hash, record + 64, len - 200);
    sotto_sha256_final(&hash, digest);
    assert_memory_equal(record + 32, digest, 32);

    const uint8_t *payload = record + 64;
    assert_int_equal(number_at(payload, 0, 2), 1);
    assert_int_equal(payload[2], 2);
    assert_int_equal(payload[3], 1);
    assert_int_equal(number_at(payload, 4, 4), 0);
    assert_int_equal(number_at(payload, 8, 8), UINT64_C(0x0102030405060708));
    assert_memory_equal(payload + 16, lab.secret->key_id, 16);
    assert_int_equal(number_at(payload, 32, 8), 6); /* moduli b and c */
    assert_int_equal(number_at(payload, 40, 8), 0);
    assert_memory_equal(payload + 48 + poly, &ct.seed, 32);
    sotto_free(bytes);
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

/* A reader's halves, as threads use them: all raw records first. */
static void test_rlwe_parse_ct_of_raw_records(void **state)
{
    const char *path = folder_file(*state, "x.ct");
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct ct[3] = {make_ct(&lab, 0, 2, true), make_ct(&lab, 1, 2, false),
                     make_ct(&lab, 0, 5, false)};
    sotto_output *out = create(path);
    put_ct_header(&lab, out);
    for (uint32_t i = 0; i < 3; i++) {
        put_ct(&lab, out, &ct[i], i, i, i);
    }
    commit(out);
    rlwe_file_reader *reader = open_ct(&lab, path);
    rlwe_raw_ct raw[3];
    bool at_end;
    for (int i = 0; i < 3; i++) {
        raw[i].bytes = malloc(rlwe_ct_record_max(lab.context));
        CHECK(rlwe_read_raw_ct(reader, &raw[i], &at_end, err));
        assert_false(at_end);
        assert_int_equal(raw[i].number, i + 1);
        assert_int_equal(raw[i].index, i);
        assert_int_equal(raw[i].item, i);
    }
    rlwe_ct back;
    CHECK(rlwe_ct_init(&back, lab.context, 0, 5, err));
    for (int i = 2; i >= 0; i--) {
        uint64_t scale_bits, index;
        uint32_t item;
        CHECK(rlwe_parse_ct(reader, lab.context, &back, &scale_bits, &index,
                            &item, &raw[i], err));
        assert_same_ct(&lab, &ct[i], &back);
        assert_int_equal(index, i);
        raw[i].bytes[300] ^= 1;
        LAB_FAILS(SOTTO_ERR_FORMAT,
                  rlwe_parse_ct(reader, lab.context, &back, &scale_bits, &index,
                                &item, &raw[i], err),
                  "x.ct, record", "checksum");
        free(raw[i].bytes);
        rlwe_ct_clear(&ct[i]);
    }
    rlwe_ct_clear(&back);
    rlwe_file_close(reader);
    lab_free(&lab);
}

/* Two records at once: what is right is marked, what is not is reported when it
 * is parsed; records of different length are left alone. */
static void test_rlwe_verify_two_cts_marks_what_is_right(void **state)
{
    const char *path = folder_file(*state, "x.ct");
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct ct = make_ct(&lab, 0, 2, true), longer = make_ct(&lab, 0, 2, false);
    sotto_output *out = create(path);
    put_ct_header(&lab, out);
    put_ct(&lab, out, &ct, 7, 0, 0);
    put_ct(&lab, out, &ct, 8, 0, 1);
    put_ct(&lab, out, &longer, 9, 0, 2);
    commit(out);
    rlwe_file_reader *reader = open_ct(&lab, path);
    rlwe_raw_ct raw[3];
    bool at_end;
    for (int i = 0; i < 3; i++) {
        raw[i].bytes = malloc(rlwe_ct_record_max(lab.context));
        raw[i].verified = true;
        CHECK(rlwe_read_raw_ct(reader, &raw[i], &at_end, err));
        assert_false(raw[i].verified);
    }
    rlwe_verify_two_cts(reader, &raw[1], &raw[2]);
    assert_false(raw[1].verified || raw[2].verified);
    for (int damaged = 0; damaged < 4; damaged++) {
        const size_t places[] = {3, 20, 40, raw[0].len_bytes - 1};
        for (size_t p = 0; p < 4; p++) {
            for (int i = 0; i < 2; i++) {
                raw[i].bytes[places[p]] ^= (uint8_t)(damaged >> i & 1);
                raw[i].verified = false;
            }
            rlwe_verify_two_cts(reader, &raw[0], &raw[1]);
            for (int i = 0; i < 2; i++) {
                assert_int_equal(raw[i].verified, !(damaged >> i & 1));
                raw[i].bytes[places[p]] ^= (uint8_t)(damaged >> i & 1);
            }
        }
    }
    rlwe_ct back;
    uint64_t scale_bits, index;
    uint32_t item;
    CHECK(rlwe_ct_init(&back, lab.context, 0, 2, err));
    rlwe_verify_two_cts(reader, &raw[0], &raw[1]);
    CHECK(rlwe_parse_ct(reader, lab.context, &back, &scale_bits, &index, &item,
                        &raw[1], err));
    assert_same_ct(&lab, &ct, &back);
    assert_true(scale_bits == 8 && item == 1);
    raw[0].bytes[300] ^= 4;
    raw[0].verified = false;
    rlwe_verify_two_cts(reader, &raw[0], &raw[1]);
    LAB_FAILS(SOTTO_ERR_FORMAT,
              rlwe_parse_ct(reader, lab.context, &back, &scale_bits, &index,
                            &item, &raw[0], err),
              "x.ct, record 1", "checksum");
    for (int i = 0; i < 3; i++) {
        free(raw[i].bytes);
    }
    rlwe_ct_clear(&back);
    rlwe_ct_clear(&longer);
    rlwe_ct_clear(&ct);
    rlwe_file_close(reader);
    lab_free(&lab);
}

/* Records sealed together are those sealed one by one. */
static void test_rlwe_seal_cts_as_each_alone(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct ct = make_ct(&lab, 0, 2, true);
    const size_t each = rlwe_ct_record_bytes(lab.context, 0, 2, true);
    uint8_t *got = calloc(6, each), *want = calloc(5, each);
    assert_true(got != NULL && want != NULL);
    for (size_t n = 0; n <= 5; n++) {
        memset(got, 0, 6 * each);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(
                rlwe_pack_ct(want + i * each, lab.context, &ct, 1, 7, i), each);
            assert_int_equal(rlwe_pack_ct_unsealed(got + i * each, lab.context,
                                                   &ct, 1, 7, i),
                             each);
        }
        rlwe_seal_cts(got, lab.context, each, n);
        assert_memory_equal(got, want, n * each);
        for (size_t i = 0; i < each; i++) {
            assert_int_equal(got[n * each + i], 0);
        }
    }
    free(got);
    free(want);
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

/* ---- Concatenation ----------------------------------------------------- */

/* Appends the bytes of a file to a buffer. */
static void append_file(uint8_t *all, size_t *len, const char *path)
{
    uint8_t *bytes;
    size_t n;
    CHECK(sotto_file_read(&bytes, &n, path, 1 << 22, err));
    memcpy(all + *len, bytes, n);
    *len += n;
    sotto_free(bytes);
}

static void test_rlwe_read_ct_of_concatenated_files(void **state)
{
    rlwe_lab lab = lab_new(&spec, "ct");
    static const char *const names[3] = {"0.ct", "1.ct", "2.ct"};
    static uint8_t all[1 << 18];
    size_t len = 0;
    rlwe_ct ct = make_ct(&lab, 0, 2, true);
    for (uint32_t i = 0; i < 3; i++) {
        const char *path = folder_file(*state, names[i]);
        sotto_output *out = create(path);
        put_ct_header(&lab, out);
        if (i != 1) { /* the middle part is empty */
            put_ct(&lab, out, &ct, 0, i, 0);
        }
        commit(out);
        append_file(all, &len, path);
    }
    const char *path = folder_file(*state, "all.ct");
    folder_put(path, all, len);
    rlwe_file_reader *reader = open_ct(&lab, path);
    rlwe_ct back;
    CHECK(rlwe_ct_init(&back, lab.context, 0, 2, err));
    uint64_t scale_bits, index;
    uint32_t item;
    bool at_end;
    for (int i = 0; i < 3; i++) {
        CHECK(rlwe_read_ct(reader, lab.context, &back, &scale_bits, &index,
                           &item, &at_end, err));
        assert_int_equal(at_end, i == 2);
        assert_int_equal(index, i == 0 ? 0 : 2);
    }
    assert_int_equal(rlwe_file_position(reader), len);
    rlwe_file_close(reader);
    rlwe_ct_clear(&back);
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

/* Parts of different plans, keys or kinds do not belong together. */
static void test_rlwe_read_ct_of_parts_that_differ(void **state)
{
    rlwe_lab lab = lab_new(&spec, "ct");
    static const char *const words[6] = {"kind of file", "parameters", "plan",
                                         "key",          "marks",      "count"};
    for (int what = 0; what < 6; what++) {
        const char *path = folder_file(*state, "x.ct");
        sotto_output *out = create(path);
        put_ct_header(&lab, out);
        rlwe_file_header header = rlwe_file_header_make(
            lab.context, RLWE_FILE_CIPHERTEXT, lab.secret->key_id, what != 4);
        memset(header.plan_id, 0x3c, sizeof header.plan_id);
        header.kind = what == 0 ? RLWE_FILE_EVAL : header.kind;
        header.params_id[0] ^= what == 1;
        header.plan_id[0] ^= what == 2;
        header.key_id[0] ^= what == 3;
        header.count = UINT64_C(0xabcdef0123456789) ^ (what == 5);
        CHECK(rlwe_write_header(out, &header, err));
        commit(out);
        rlwe_file_reader *reader = open_ct(&lab, path);
        rlwe_ct back;
        CHECK(rlwe_ct_init(&back, lab.context, 0, 2, err));
        uint64_t scale_bits, index;
        uint32_t item;
        bool at_end;
        LAB_FAILS(SOTTO_ERR_MISMATCH,
                  rlwe_read_ct(reader, lab.context, &back, &scale_bits, &index,
                               &item, &at_end, err),
                  "x.ct", words[what]);
        rlwe_ct_clear(&back);
        rlwe_file_close(reader);
    }
    lab_free(&lab);
}

/* ---- Keys -------------------------------------------------------------- */

static void put_secret(const rlwe_lab *lab, const char *path)
{
    sotto_output *out = create(path);
    CHECK(rlwe_write_secret(out, lab->context, lab->secret, err));
    commit(out);
}

static void test_rlwe_write_secret_round_trip(void **state)
{
    const char *path = folder_file(*state, "secret.key");
    rlwe_lab lab = lab_new(&spec, "secret");
    put_secret(&lab, path);
    rlwe_secret *back;
    CHECK(rlwe_read_secret(&back, path, lab.context, err));
    assert_memory_equal(back->small, lab.secret->small, lab.n);
    assert_memory_equal(back->key_id, lab.secret->key_id, 16);
    assert_memory_equal(back->ntt, lab.secret->ntt,
                        poly_words(lab.context->ring, 5) * 8);
    assert_true(back->from_seed);
    rlwe_secret_free(back, lab.context);

    /* Two bits each, from the low end: 0, 1, 3 for -1. */
    uint8_t *bytes;
    size_t len;
    CHECK(sotto_file_read(&bytes, &len, path, 1 << 20, err));
    assert_int_equal(len, 136 + 64 + 16 + 256);
    for (size_t i = 0; i < lab.n; i++) {
        const int code = (bytes[216 + i / 4] >> (2 * (i % 4))) & 3;
        assert_int_equal(code, lab.secret->small[i] & 3);
    }
    sotto_free(bytes);
    lab_free(&lab);
}

static void test_rlwe_write_public_round_trip(void **state)
{
    const char *path = folder_file(*state, "public.key");
    rlwe_lab lab = lab_new(&spec, "public");
    rlwe_public *key, *back;
    CHECK(rlwe_public_new(&key, lab.context, lab.secret, &lab.root, err));
    sotto_output *out = create(path);
    CHECK(rlwe_write_public(out, lab.context, key, err));
    commit(out);
    CHECK(rlwe_read_public(&back, path, lab.context, err));
    assert_true(rns_set_equal(&key->set, &back->set));
    assert_memory_equal(key->key_id, back->key_id, 16);
    assert_memory_equal(&key->seed, &back->seed, 32);
    assert_true(back->from_seed);
    for (int i = 0; i < key->set.count; i++) {
        const rns_ring *ring = lab.context->ring;
        assert_memory_equal(poly_limb(ring, key->b, i),
                            poly_limb(ring, back->b, i), lab.n * 8);
        assert_memory_equal(poly_limb(ring, key->a, i),
                            poly_limb(ring, back->a, i), lab.n * 8);
    }
    /* It encrypts. */
    rlwe_ct ct = make_ct(&lab, 0, 2, false);
    CHECK(rlwe_encrypt_zero_public(&ct, lab.context, back, 1, &lab.root, 0, 0,
                                   &lab.arena, err));
    rlwe_ct_clear(&ct);
    rlwe_public_free(key);
    rlwe_public_free(back);
    lab_free(&lab);
}

/* Writes keys for all targets under gadgets [0, n_gadgets) of the context. */
static void put_eval(const rlwe_lab *lab, const char *path, int n_gadgets)
{
    sotto_output *out = create(path);
    const rlwe_file_header header = rlwe_file_header_make(
        lab->context, RLWE_FILE_EVAL, lab->secret->key_id, true);
    CHECK(rlwe_write_header(out, &header, err));
    uint32_t index = 0;
    for (size_t t = 0; t < 3; t++) {
        for (int g = 0; g < n_gadgets; g++, index++) {
            const rlwe_gadget *gadget = &lab->context->params.literal.gadget[g];
            rlwe_switch_key *key;
            CHECK(rlwe_switch_key_new(&key, lab->context, lab->secret,
                                      targets[t], gadget, &lab->root, index,
                                      err));
            const uint64_t before = sotto_output_size(out);
            CHECK(rlwe_write_switch_key(out, lab->context, key, index, err));
            assert_int_equal(
                sotto_output_size(out) - before,
                rlwe_switch_key_record_bytes(lab->context, gadget));
            rlwe_switch_key_free(key);
        }
    }
    commit(out);
}

static void assert_same_key(const rlwe_lab *lab, const rlwe_switch_key *have,
                            uint32_t index)
{
    rlwe_switch_key *want;
    CHECK(rlwe_switch_key_new(&want, lab->context, lab->secret, have->target,
                              &have->gadget, &lab->root, index, err));
    assert_memory_equal(&want->seed, &have->seed, 32);
    assert_memory_equal(want->key_id, have->key_id, 16);
    assert_true(rns_set_equal(&want->set, &have->set));
    assert_true(have->from_seed);
    for (int m = 0; m < want->set.count; m++) {
        for (int j = 0; j < 2 * want->gadget.n_digits; j++) {
            assert_memory_equal(
                rlwe_switch_key_limb(want, lab->context, m, j / 2, j % 2),
                rlwe_switch_key_limb(have, lab->context, m, j / 2, j % 2),
                lab->n * 8);
        }
    }
    rlwe_switch_key_free(want);
}

static void test_rlwe_write_switch_key_round_trip(void **state)
{
    const char *path = folder_file(*state, "eval.key");
    rlwe_lab lab = lab_new(&spec, "eval");
    put_eval(&lab, path, 2);
    rlwe_keyset *set;
    CHECK(rlwe_read_keyset(&set, path, lab.context, NULL, 0, err));
    assert_int_equal(set->n_keys, 6);
    assert_memory_equal(set->key_id, lab.secret->key_id, 16);
    assert_true(set->from_seed);
    for (uint32_t i = 0; i < 6; i++) {
        assert_same_key(&lab, set->key[i], i);
    }
    assert_non_null(rlwe_keyset_switcher(
        set, &lab.context->params.literal.gadget[0], 0, 1));
    rlwe_keyset_free(set);
    lab_free(&lab);
}

/* A file with more keys than wanted serves; what is there twice counts once. */
static void test_rlwe_read_keyset_of_a_superset(void **state)
{
    rlwe_lab lab = lab_new(&spec, "eval");
    const char *path = folder_file(*state, "eval.key");
    put_eval(&lab, path, 2);
    static uint8_t all[1 << 20];
    size_t len = 0;
    append_file(all, &len, path);
    append_file(all, &len, path);
    folder_put(path, all, len);
    const rlwe_key_target wanted[2] = {targets[2], {RLWE_KEY_POWER, 3}};
    rlwe_keyset *set;
    CHECK(rlwe_read_keyset(&set, path, lab.context, wanted, 2, err));
    assert_int_equal(set->n_keys, 2); /* one target under two gadgets */
    assert_same_key(&lab, set->key[0], 4);
    assert_same_key(&lab, set->key[1], 5);
    assert_null(rlwe_keyset_find(set, lab.context, wanted[1], 2));
    rlwe_keyset_free(set);
    lab_free(&lab);
}

/* Keys under gadgets that this plan lacks are stepped over, also where they are
 * larger than any of its own. */
static void test_rlwe_read_keyset_of_other_gadgets(void **state)
{
    const char *path = folder_file(*state, "eval.key");
    rlwe_lab lab = lab_new(&spec, "eval");
    put_eval(&lab, path, 2);
    static const char *const only_small[] = {"bc|00|d", NULL};
    world_spec other = spec;
    other.gadget = only_small;
    rlwe_lab narrow = lab_new(&other, "eval");
    rlwe_keyset *set;
    CHECK(rlwe_read_keyset(&set, path, narrow.context, NULL, 0, err));
    assert_int_equal(set->n_keys, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_same_key(&lab, set->key[i], 2 * i + 1);
    }
    rlwe_keyset_free(set);
    lab_free(&narrow);

    /* Smaller than its own: not larger is no reason to take it. */
    static const char *const only_large[] = {"abc|010|de", NULL};
    other.gadget = only_large;
    narrow = lab_new(&other, "eval");
    CHECK(rlwe_read_keyset(&set, path, narrow.context, NULL, 0, err));
    assert_int_equal(set->n_keys, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_same_key(&lab, set->key[i], 2 * i);
    }
    rlwe_keyset_free(set);
    lab_free(&narrow);

    /* No gadget at all. */
    other.gadget = NULL;
    narrow = lab_new(&other, "eval");
    CHECK(rlwe_read_keyset(&set, path, narrow.context, NULL, 0, err));
    assert_int_equal(set->n_keys, 0);
    assert_memory_equal(set->key_id, lab.secret->key_id, 16);
    rlwe_keyset_free(set);
    lab_free(&narrow);
    lab_free(&lab);
}

/* ---- Headers ----------------------------------------------------------- */

static void test_rlwe_file_peek(void **state)
{
    const char *path = folder_file(*state, "secret.key");
    rlwe_lab lab = lab_new(&spec, "peek");
    put_secret(&lab, path);
    rlwe_file_header header;
    CHECK(rlwe_file_peek(&header, path, err));
    assert_int_equal(header.kind, RLWE_FILE_SECRET);
    assert_true(header.insecure);
    assert_memory_equal(header.key_id, lab.secret->key_id, 16);
    folder_put(path, "P5 28 28 255 and so on", 22);
    LAB_FAILS(SOTTO_ERR_FORMAT, rlwe_file_peek(&header, path, err),
              "secret.key", "not a file of Sotto's");
    folder_put(path, "SOTTOHDR", 8);
    LAB_FAILS(SOTTO_ERR_FORMAT, rlwe_file_peek(&header, path, err),
              "secret.key", "truncated");
    folder_put(path, "", 0);
    LAB_FAILS(SOTTO_ERR_FORMAT, rlwe_file_peek(&header, path, err),
              "secret.key", "empty");
    LAB_FAILS(SOTTO_ERR_IO,
              rlwe_file_peek(&header, folder_file(*state, "none"), err),
              "none");
    lab_free(&lab);
}

static void test_rlwe_file_open_of_another_kind(void **state)
{
    const char *path = folder_file(*state, "secret.key");
    rlwe_lab lab = lab_new(&spec, "kind");
    put_secret(&lab, path);
    rlwe_file_reader *reader;
    LAB_FAILS(
        SOTTO_ERR_FORMAT,
        rlwe_file_open(&reader, path, lab.context, RLWE_FILE_CIPHERTEXT, err),
        "secret.key", "a secret key", "expected ciphertexts");
    assert_null(reader);
    rlwe_keyset *set;
    LAB_FAILS(SOTTO_ERR_FORMAT,
              rlwe_read_keyset(&set, path, lab.context, NULL, 0, err),
              "a secret key", "expected evaluation keys");
    rlwe_public *key;
    LAB_FAILS(SOTTO_ERR_FORMAT, rlwe_read_public(&key, path, lab.context, err),
              "expected a public key");
    assert_null(key);
    lab_free(&lab);
}

static void test_rlwe_file_open_for_other_parameters(void **state)
{
    const char *path = folder_file(*state, "secret.key");
    rlwe_lab lab = lab_new(&spec, "params");
    put_secret(&lab, path);
    static const double other_sizes[] = {40, 29.5, 33, 41, 44, 0};
    world_spec other = spec;
    other.log2_q = other_sizes;
    rlwe_lab foreign = lab_new(&other, "params");
    rlwe_secret *secret;
    LAB_FAILS(SOTTO_ERR_MISMATCH,
              rlwe_read_secret(&secret, path, foreign.context, err),
              "secret.key", "other parameters");
    assert_null(secret);
    lab_free(&foreign);
    lab_free(&lab);
}

/* The same moduli under another level table: the record's moduli tell. */
static void test_rlwe_read_ct_of_another_level_table(void **state)
{
    const char *path = folder_file(*state, "x.ct");
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct ct = make_ct(&lab, 1, 2, true);
    sotto_output *out = create(path);
    put_ct_header(&lab, out);
    put_ct(&lab, out, &ct, 0, 0, 0);
    commit(out);
    static const char *const other_levels[] = {"abc", "ab", "a", NULL};
    world_spec other = spec;
    other.level = other_levels;
    other.gadget = NULL;
    rlwe_lab foreign = lab_new(&other, "ct");
    rlwe_file_reader *reader = open_ct(&foreign, path);
    uint64_t scale_bits, index;
    uint32_t item;
    bool at_end;
    LAB_FAILS(SOTTO_ERR_MISMATCH,
              rlwe_read_ct(reader, foreign.context, &ct, &scale_bits, &index,
                           &item, &at_end, err),
              "x.ct, record 1", "level 1");
    rlwe_file_close(reader);
    rlwe_ct_clear(&ct);
    lab_free(&foreign);
    lab_free(&lab);
}

/* ---- Failures ---------------------------------------------------------- */

typedef struct sweep {
    rlwe_lab lab;
    const char *secret, *public_path, *eval, *ct, *fresh;
} sweep;

static sotto_status read_all(void *arg)
{
    const sweep *s = arg;
    const rlwe_context *context = s->lab.context;
    rlwe_secret *secret = NULL;
    rlwe_public *key = NULL;
    rlwe_keyset *set = NULL;
    rlwe_file_reader *reader = NULL;
    rlwe_ct ct = {.data = NULL};
    sotto_error err;
    sotto_status status = rlwe_read_secret(&secret, s->secret, context, &err);
    if (status == SOTTO_OK) {
        status = rlwe_read_public(&key, s->public_path, context, &err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_read_keyset(&set, s->eval, context, NULL, 0, &err);
    }
    if (status == SOTTO_OK) {
        status =
            rlwe_file_open(&reader, s->ct, context, RLWE_FILE_CIPHERTEXT, &err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_ct_init(&ct, context, 0, 5, &err);
    }
    bool at_end = false;
    while (status == SOTTO_OK && !at_end) {
        uint64_t scale_bits, index;
        uint32_t item;
        status = rlwe_read_ct(reader, context, &ct, &scale_bits, &index, &item,
                              &at_end, &err);
    }
    rlwe_ct_clear(&ct);
    rlwe_file_close(reader);
    rlwe_keyset_free(set);
    rlwe_public_free(key);
    rlwe_secret_free(secret, context);
    return status;
}

static sotto_status write_all(void *arg)
{
    const sweep *s = arg;
    const rlwe_context *context = s->lab.context;
    const rlwe_gadget *gadget = &context->params.literal.gadget[0];
    rlwe_public *public_key = NULL;
    rlwe_switch_key *key = NULL;
    sotto_output *out = NULL;
    sotto_error err;
    sotto_status status =
        sotto_output_open(&out, s->fresh, SOTTO_OUTPUT_PUBLIC, false, &err);
    if (status == SOTTO_OK) {
        status =
            rlwe_public_new(&public_key, context, s->lab.secret, NULL, &err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_switch_key_new(&key, context, s->lab.secret, targets[0],
                                     gadget, NULL, 0, &err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_write_secret(out, context, s->lab.secret, &err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_write_public(out, context, public_key, &err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_write_switch_key(out, context, key, 0, &err);
    }
    rlwe_switch_key_free(key);
    rlwe_public_free(public_key);
    sotto_output_discard(out);
    return status;
}

static void test_rlwe_wire_failures(void **state)
{
    sweep s = {.lab = lab_new(&spec, "sweep"),
               .secret = folder_file(*state, "secret.key"),
               .public_path = folder_file(*state, "public.key"),
               .eval = folder_file(*state, "eval.key"),
               .ct = folder_file(*state, "x.ct"),
               .fresh = folder_file(*state, "fresh")};
    put_secret(&s.lab, s.secret);
    put_eval(&s.lab, s.eval, 2);
    rlwe_public *key;
    CHECK(rlwe_public_new(&key, s.lab.context, s.lab.secret, NULL, err));
    sotto_output *out = create(s.public_path);
    CHECK(rlwe_write_public(out, s.lab.context, key, err));
    commit(out);
    rlwe_public_free(key);
    rlwe_ct ct = make_ct(&s.lab, 0, 2, true);
    out = create(s.ct);
    put_ct_header(&s.lab, out);
    put_ct(&s.lab, out, &ct, 0, 0, 0);
    put_ct(&s.lab, out, &ct, 0, 1, 0);
    commit(out);
    rlwe_ct_clear(&ct);

    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 500, read_all, &s) >
                40);
    assert_true(fail_sweep(FAIL_READ, SOTTO_ERR_IO, 500, read_all, &s) > 20);
    assert_true(fail_sweep(FAIL_READ_SHORT, SOTTO_OK, 500, read_all, &s) > 20);
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 500, write_all, &s) >
                10);
    assert_int_equal(fail_sweep(FAIL_WRITE, SOTTO_ERR_IO, 500, write_all, &s),
                     5);
    lab_free(&s.lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rlwe_wire_pack_limb_bits),
        IN_FOLDER(test_rlwe_write_ct_round_trip),
        IN_FOLDER(test_rlwe_write_ct_layout),
        IN_FOLDER(test_rlwe_parse_ct_of_raw_records),
        IN_FOLDER(test_rlwe_verify_two_cts_marks_what_is_right),
        cmocka_unit_test(test_rlwe_seal_cts_as_each_alone),
        IN_FOLDER(test_rlwe_read_ct_of_concatenated_files),
        IN_FOLDER(test_rlwe_read_ct_of_parts_that_differ),
        IN_FOLDER(test_rlwe_write_secret_round_trip),
        IN_FOLDER(test_rlwe_write_public_round_trip),
        IN_FOLDER(test_rlwe_write_switch_key_round_trip),
        IN_FOLDER(test_rlwe_read_keyset_of_a_superset),
        IN_FOLDER(test_rlwe_read_keyset_of_other_gadgets),
        IN_FOLDER(test_rlwe_file_peek),
        IN_FOLDER(test_rlwe_file_open_of_another_kind),
        IN_FOLDER(test_rlwe_file_open_for_other_parameters),
        IN_FOLDER(test_rlwe_read_ct_of_another_level_table),
        IN_FOLDER(test_rlwe_wire_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
