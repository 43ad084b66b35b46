/* SPDX-License-Identifier: MIT
 * ChaCha20 against RFC 8439, the PRF against values made with another
 * implementation from the words of base/prng.h, streams, system randomness.
 */
#include "base/prng.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/hash.h"
#include "tests/support/fail.h"
#include "tests/support/hex.h"

#define KEY_ZERO                                                               \
    "00000000000000000000000000000000 00000000000000000000000000000000"
#define KEY_COUNTING                                                           \
    "000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f"

static void assert_block(const char *key_text, uint32_t counter,
                         const char *nonce_text, const char *want)
{
    uint8_t key[32], nonce[12], out[64];
    assert_int_equal(hex_parse(key, sizeof key, key_text), 32);
    assert_int_equal(hex_parse(nonce, sizeof nonce, nonce_text), 12);
    sotto_chacha20_block(out, key, counter, nonce);
    hex_assert_equal(out, sizeof out, want);
}

static void test_chacha20_block_rfc8439_section_2_3_2(void **state)
{
    (void)state;
    assert_block(KEY_COUNTING, 1, "000000090000004a00000000",
                 "10f1e7e4d13b5915500fdd1fa32071c4"
                 "c7d1f4c733c068030422aa9ac3d46c4e"
                 "d2826446079faa0914c2d705d98b02a2"
                 "b5129cd1de164eb9cbd083e8a2503c4e");
}

static void test_chacha20_block_rfc8439_section_2_4_2(void **state)
{
    (void)state;
    assert_block(KEY_COUNTING, 1, "000000000000004a00000000",
                 "224f51f3401bd9e12fde276fb8631ded"
                 "8c131f823d2c06e27e4fcaec9ef3cf78"
                 "8a3b0aa372600a92b57974cded2b9334"
                 "794cba40c63e34cdea212c4cf07d41b7");
    assert_block(KEY_COUNTING, 2, "000000000000004a00000000",
                 "69a6749f3f630f4122cafe28ec4dc47e"
                 "26d4346d70b98c73f3e9c53ac40c5945"
                 "398b6eda1a832c89c167eacd901d7e2b"
                 "f363740373201aa188fbbce83991c4ed");
}

static void test_chacha20_block_rfc8439_appendix_a_1(void **state)
{
    (void)state;
    static const char nonce_zero[] = "000000000000000000000000";
    assert_block(KEY_ZERO, 0, nonce_zero,
                 "76b8e0ada0f13d90405d6ae55386bd28"
                 "bdd219b8a08ded1aa836efcc8b770dc7"
                 "da41597c5157488d7724e03fb8d84a37"
                 "6a43b8f41518a11cc387b669b2ee6586");
    assert_block(KEY_ZERO, 1, nonce_zero,
                 "9f07e7be5551387a98ba977c732d080d"
                 "cb0f29a048e3656912c6533e32ee7aed"
                 "29b721769ce64e43d57133b074d839d5"
                 "31ed1f28510afb45ace10a1f4b794d6f");
    assert_block("00000000000000000000000000000000"
                 "00000000000000000000000000000001",
                 1, nonce_zero,
                 "3aeb5224ecf849929b9d828db1ced4dd"
                 "832025e8018b8160b82284f3c949aa5a"
                 "8eca00bbb4a73bdad192b5c42f73f2fd"
                 "4e273644c8b36125a64addeb006c13a0");
    assert_block("00ff0000000000000000000000000000"
                 "00000000000000000000000000000000",
                 2, nonce_zero,
                 "72d54dfbf12ec44b362692df94137f32"
                 "8fea8da73990265ec1bbbea1ae9af0ca"
                 "13b25aa26cb4a648cb9b9d1be65b2c09"
                 "24a66c54d545ec1b7374f4872e99f096");
    assert_block(KEY_ZERO, 0, "000000000000000000000002",
                 "c2c64d378cd536374ae204b9ef933fcd"
                 "1a8b2288b3dfa49672ab765b54ee27c7"
                 "8a970e0e955c14f3a88e741b97c286f7"
                 "5f8fc299e8148362fa198a39531bed6d");
}

static sotto_seed counting_seed(void)
{
    sotto_seed seed;
    assert_int_equal(hex_parse(seed.bytes, sizeof seed.bytes, KEY_COUNTING),
                     SOTTO_SEED_BYTES);
    return seed;
}

/* The counter's high half is the first nonce word; blocks go over 2^32. */
static void test_chacha20_blocks_are_single_blocks(void **state)
{
    (void)state;
    const sotto_seed key = counting_seed();
    static const uint64_t starts[] = {0, 1, UINT64_C(0xfffffffd),
                                      UINT64_C(0x123456789abcdef0),
                                      UINT64_C(0xfffffffffffffffc)};
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        for (size_t n = 0; n <= 13; n++) {
            uint8_t out[14 * 64];
            memset(out, 0xcc, sizeof out);
            sotto_chacha20_blocks(out, &key, starts[s], n);
            for (size_t i = 0; i < n; i++) {
                const uint64_t counter = starts[s] + i;
                uint8_t nonce[12] = {0}, want[64];
                for (size_t b = 0; b < 4; b++) {
                    nonce[b] = (uint8_t)(counter >> (32 + 8 * b));
                }
                sotto_chacha20_block(want, key.bytes, (uint32_t)counter, nonce);
                assert_memory_equal(out + 64 * i, want, 64);
            }
            for (size_t i = 64 * n; i < sizeof out; i++) {
                assert_int_equal(out[i], 0xcc); /* not a byte more */
            }
        }
    }
}

static void test_chacha20_blocks_carry_into_the_nonce(void **state)
{
    (void)state;
    const sotto_seed key = counting_seed();
    uint8_t out[128];
    sotto_chacha20_blocks(out, &key, UINT64_C(0xffffffff), 2);
    hex_assert_equal(out + 64, 64,
                     "d838fb09536e2e3a10e8f23f486273a6"
                     "9f42d8e640d781ede384793c34c32564"
                     "fc4361e5d5c5b620583b0528192f4c61"
                     "09f23a0e14398ee6537cdcf2cd610ea2");
}

static void test_prf_known_answers(void **state)
{
    (void)state;
    const sotto_seed root = counting_seed();
    sotto_seed out;
    sotto_prf(&out, &root, SOTTO_LABEL_SECRET, 0, 0, 0, 0);
    hex_assert_equal(out.bytes, sizeof out.bytes,
                     "4373d0ec99227d23d579b6193c1f8b39"
                     "b8236667571ff5cb9438b790efb55598");
    sotto_prf(&out, &root, SOTTO_LABEL_UNIFORM, UINT64_C(0x0123456789abcdef),
              0x89abcdef, 0x01020304, 0xfffefdfc);
    hex_assert_equal(out.bytes, sizeof out.bytes,
                     "4e965b4f9fd2b64a9cf7d4611ec4a2ef"
                     "9f056e46c2b14f1694f71fbdcf78a9bf");
    out = root;
    sotto_prf(&out, &out, SOTTO_LABEL_SECRET, 0, 0, 0, 0);
    hex_assert_equal(out.bytes, sizeof out.bytes,
                     "4373d0ec99227d23d579b6193c1f8b39"
                     "b8236667571ff5cb9438b790efb55598");
}

/* Every single bit of every field matters, and none stands for another. */
static void test_prf_separates_all_fields(void **state)
{
    (void)state;
    const sotto_seed root = counting_seed();
    sotto_seed seen[1 + 3 + 64 + 3 * 32];
    size_t n = 0;
    sotto_prf(&seen[n++], &root, SOTTO_LABEL_SECRET, 0, 0, 0, 0);
    sotto_prf(&seen[n++], &root, SOTTO_LABEL_ERROR, 0, 0, 0, 0);
    sotto_prf(&seen[n++], &root, SOTTO_LABEL_UNIFORM, 0, 0, 0, 0);
    sotto_prf(&seen[n++], &root, SOTTO_LABEL_EPHEMERAL, 0, 0, 0, 0);
    for (int bit = 0; bit < 64; bit++) {
        sotto_prf(&seen[n++], &root, SOTTO_LABEL_SECRET, UINT64_C(1) << bit, 0,
                  0, 0);
    }
    for (int bit = 0; bit < 32; bit++) {
        const uint32_t one = (uint32_t)1 << bit;
        sotto_prf(&seen[n++], &root, SOTTO_LABEL_SECRET, 0, one, 0, 0);
        sotto_prf(&seen[n++], &root, SOTTO_LABEL_SECRET, 0, 0, one, 0);
        sotto_prf(&seen[n++], &root, SOTTO_LABEL_SECRET, 0, 0, 0, one);
    }
    assert_int_equal(n, sizeof seen / sizeof seen[0]);
    for (size_t a = 0; a < n; a++) {
        for (size_t b = 0; b < a; b++) {
            assert_memory_not_equal(&seen[a], &seen[b], sizeof seen[a]);
        }
    }
}

static void test_stream_is_the_blocks_in_order(void **state)
{
    (void)state;
    const sotto_seed key = counting_seed();
    static uint8_t whole[10000], pieces[10000];
    uint8_t digest[SOTTO_HASH_BYTES];
    sotto_stream stream;
    sotto_stream_init(&stream, &key);
    sotto_stream_read(&stream, whole, sizeof whole);
    sotto_sha256_of(digest, whole, sizeof whole);
    hex_assert_equal(digest, sizeof digest,
                     "e69ecf458bb72a51ec1696731a72fc10"
                     "7344f7c5cae10bf0c34eace759ee513f");

    /* Pieces of all sizes: below, at and above buffer and block size. */
    for (size_t step = 1; step <= 700; step += step < 9 ? 1 : 61) {
        sotto_stream_init(&stream, &key);
        for (size_t at = 0; at < sizeof pieces;) {
            const size_t left = sizeof pieces - at;
            const size_t want = (at * 31 + step) % (2 * step) + 1;
            const size_t take = want < left ? want : left;
            sotto_stream_read(&stream, pieces + at, take);
            at += take;
        }
        assert_memory_equal(pieces, whole, sizeof whole);
    }
}

static void test_stream_u64_is_little_endian(void **state)
{
    (void)state;
    const sotto_seed key = counting_seed();
    uint8_t bytes[1024];
    sotto_stream stream;
    sotto_stream_init(&stream, &key);
    sotto_stream_read(&stream, bytes, sizeof bytes);
    sotto_stream_init(&stream, &key);
    for (size_t at = 0; at < sizeof bytes; at += 8) {
        uint64_t want = 0;
        for (size_t b = 0; b < 8; b++) {
            want |= (uint64_t)bytes[at + b] << (8 * b);
        }
        assert_int_equal(sotto_stream_u64(&stream), want);
    }
}

static void test_stream_clear_wipes(void **state)
{
    (void)state;
    const sotto_seed key = counting_seed();
    static const uint8_t zero[sizeof(sotto_stream)];
    sotto_stream stream;
    sotto_stream_init(&stream, &key);
    (void)sotto_stream_u64(&stream);
    sotto_stream_clear(&stream);
    assert_memory_equal(&stream, zero, sizeof stream);
}

static void test_seed_from_system_differs_each_time(void **state)
{
    (void)state;
    sotto_seed a, b;
    assert_int_equal(sotto_seed_from_system(&a, NULL), SOTTO_OK);
    assert_int_equal(sotto_seed_from_system(&b, NULL), SOTTO_OK);
    assert_memory_not_equal(&a, &b, sizeof a);
}

static void test_seed_from_system_reports_failure(void **state)
{
    (void)state;
    static const sotto_seed zero;
    sotto_seed seed;
    sotto_error err = {""};
    memset(&seed, 0xff, sizeof seed);
    fail_arm(FAIL_RANDOM, 0);
    assert_int_equal(sotto_seed_from_system(&seed, &err), SOTTO_ERR_RANDOM);
    assert_true(fail_disarm());
    assert_memory_equal(&seed, &zero, sizeof seed);
    assert_non_null(strstr(err.text, "getrandom"));
}

static void test_seed_from_text_is_its_hash(void **state)
{
    (void)state;
    sotto_seed seed;
    sotto_seed_from_text(&seed, "sotto");
    hex_assert_equal(seed.bytes, sizeof seed.bytes,
                     "18b16fc7bb7080091660409fc17c893f"
                     "c845646c636dbd436c7471d6ade0e19d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chacha20_block_rfc8439_section_2_3_2),
        cmocka_unit_test(test_chacha20_block_rfc8439_section_2_4_2),
        cmocka_unit_test(test_chacha20_block_rfc8439_appendix_a_1),
        cmocka_unit_test(test_chacha20_blocks_are_single_blocks),
        cmocka_unit_test(test_chacha20_blocks_carry_into_the_nonce),
        cmocka_unit_test(test_prf_known_answers),
        cmocka_unit_test(test_prf_separates_all_fields),
        cmocka_unit_test(test_stream_is_the_blocks_in_order),
        cmocka_unit_test(test_stream_u64_is_little_endian),
        cmocka_unit_test(test_stream_clear_wipes),
        cmocka_unit_test(test_seed_from_system_differs_each_time),
        cmocka_unit_test(test_seed_from_system_reports_failure),
        cmocka_unit_test(test_seed_from_text_is_its_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
