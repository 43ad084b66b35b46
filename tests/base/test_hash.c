/* SPDX-License-Identifier: MIT
 * SHA-256: the examples published for FIPS 180-4, and lengths around every
 * block border against digests made with another implementation.
 */
#include "base/hash.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/hash_internal.h"
#include "tests/support/hex.h"

static void assert_hash(const char *message, const char *digest)
{
    uint8_t got[SOTTO_HASH_BYTES];
    sotto_sha256_of(got, message, strlen(message));
    hex_assert_equal(got, sizeof got, digest);
}

static void test_sha256_of_published_examples(void **state)
{
    (void)state;
    assert_hash("", "e3b0c44298fc1c149afbf4c8996fb924"
                    "27ae41e4649b934ca495991b7852b855");
    assert_hash("abc", "ba7816bf8f01cfea414140de5dae2223"
                       "b00361a396177a9cb410ff61f20015ad");
    assert_hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039"
                "a33ce45964ff2167f6ecedd419db06c1");
    assert_hash("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                "cf5b16a778af8380036ce59e7b049237"
                "0b249b11e8f07a51afac45037afee9d1");
}

static void test_sha256_of_a_million_letters_in_odd_pieces(void **state)
{
    (void)state;
    uint8_t letters[1009], digest[SOTTO_HASH_BYTES];
    memset(letters, 'a', sizeof letters);
    sotto_sha256 hash;
    sotto_sha256_init(&hash);
    size_t left = 1000000, piece = 1;
    while (left > 0) {
        const size_t take = piece < left ? piece : left;
        sotto_sha256_update(&hash, letters, take);
        left -= take;
        piece = piece * 7 % sizeof letters;
    }
    sotto_sha256_final(&hash, digest);
    hex_assert_equal(digest, sizeof digest,
                     "cdc76e5c9914fb9281a1c7e284d73e67"
                     "f1809a48a497200e046d39ccc7112cd0");
}

/* One digest over the digests of all lengths from 0 to 299. */
static void test_sha256_at_every_length(void **state)
{
    (void)state;
    uint8_t message[300], digest[SOTTO_HASH_BYTES];
    for (size_t i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)(i % 251);
    }
    sotto_sha256 chain;
    sotto_sha256_init(&chain);
    for (size_t len = 0; len < sizeof message; len++) {
        sotto_sha256_of(digest, message, len);
        sotto_sha256_update(&chain, digest, sizeof digest);
    }
    sotto_sha256_final(&chain, digest);
    hex_assert_equal(digest, sizeof digest,
                     "fa70b867db0a30acb7218d62945db0df"
                     "52eb393808b30675ea9aac6b058a9a9d");
}

static void test_sha256_update_splits_anywhere(void **state)
{
    (void)state;
    uint8_t message[200], whole[SOTTO_HASH_BYTES], parts[SOTTO_HASH_BYTES];
    for (size_t i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)(i * 37);
    }
    sotto_sha256_of(whole, message, sizeof message);
    for (size_t a = 0; a <= sizeof message; a += 3) {
        for (size_t b = a; b <= sizeof message; b += 5) {
            sotto_sha256 hash;
            sotto_sha256_init(&hash);
            sotto_sha256_update(&hash, message, a);
            sotto_sha256_update(&hash, message + a, b - a);
            sotto_sha256_update(&hash, message + b, sizeof message - b);
            sotto_sha256_final(&hash, parts);
            assert_memory_equal(parts, whole, sizeof whole);
        }
    }
}

/* 2^29 bytes are 2^32 bits: the upper half of the length field counts. */
static void test_sha256_of_more_than_32_bits_of_length(void **state)
{
    (void)state;
    if (getenv("SOTTO_TEST_LONG") == NULL) {
        skip();
    }
    static uint8_t piece[1 << 15];
    uint8_t digest[SOTTO_HASH_BYTES];
    memset(piece, 0x5a, sizeof piece);
    sotto_sha256 hash;
    sotto_sha256_init(&hash);
    for (int i = 0; i < 1 << 14; i++) {
        sotto_sha256_update(&hash, piece, sizeof piece);
    }
    sotto_sha256_final(&hash, digest);
    hex_assert_equal(digest, sizeof digest,
                     "15a1868c12cc53951e182344277447cd"
                     "0979536badcc512ad24c67e9b2d4f3dd");
}

static void test_sha256_final_wipes_the_state(void **state)
{
    (void)state;
    sotto_sha256 hash;
    uint8_t digest[SOTTO_HASH_BYTES];
    static const uint8_t zero[sizeof hash];
    sotto_sha256_init(&hash);
    sotto_sha256_update(&hash, "secret", 6);
    sotto_sha256_final(&hash, digest);
    assert_memory_equal(&hash, zero, sizeof hash);
}

/* What the processor's own instructions make of blocks, against portable code:
 * extreme and arbitrary states and data. */
static void test_sha256_blocks_agree(void **state)
{
    (void)state;
#if defined(__x86_64__)
    if ((sotto_cpu_features() & SOTTO_CPU_SHA) == 0) {
        skip();
    }
    uint8_t data[8 * 64];
    uint32_t random = 1;
    for (int run = 0; run < 200; run++) {
        uint32_t a[8], b[8];
        for (size_t i = 0; i < sizeof data; i++) {
            random = random * 1664525 + 1013904223;
            data[i] = run == 0 ? 0 : run == 1 ? 0xff : (uint8_t)(random >> 24);
        }
        for (size_t i = 0; i < 8; i++) {
            random = random * 1664525 + 1013904223;
            a[i] = run == 0 ? 0 : run == 1 ? UINT32_MAX : random;
            b[i] = a[i];
        }
        const size_t blocks = (size_t)(run % 5);
        uint32_t c[8], d[8];
        memcpy(c, a, sizeof a);
        memcpy(d, data, sizeof d); /* another state */
        uint32_t e[8];
        memcpy(e, d, sizeof d);
        sotto_sha256_blocks_portable(a, data, blocks);
        sotto_sha256_blocks_sha(b, data, blocks);
        assert_memory_equal(a, b, sizeof a);
        /* Two at once, in either place. */
        sotto_sha256_blocks_portable(e, data + 64 * 3, blocks);
        if (run % 2 == 0) {
            sotto_sha256_two_sha(c, d, data, data + 64 * 3, blocks);
        } else {
            sotto_sha256_two_sha(d, c, data + 64 * 3, data, blocks);
        }
        assert_memory_equal(c, a, sizeof a);
        assert_memory_equal(d, e, sizeof d);
    }
#else
    skip();
#endif
}

/* A hash may begin with portable code and go on with instructions. */
static void test_sha256_of_long_pieces_after_short_ones(void **state)
{
    (void)state;
    static uint8_t data[20000];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * i >> 3);
    }
    uint8_t once[SOTTO_HASH_BYTES], bytes[SOTTO_HASH_BYTES];
    for (size_t first = 0; first < 200; first += 33) {
        sotto_sha256 hash;
        sotto_sha256_init(&hash);
        sotto_sha256_update(&hash, data, first);
        sotto_sha256_update(&hash, data + first, sizeof data - first);
        sotto_sha256_final(&hash, once);
        sotto_sha256_init(&hash);
        for (size_t i = 0; i < sizeof data; i++) {
            sotto_sha256_update(&hash, data + i, 1);
        }
        sotto_sha256_final(&hash, bytes);
        assert_memory_equal(once, bytes, sizeof once);
    }
}

/* Two hashes that are equally far, or not, of any length. */
static void test_sha256_update_two_is_update_of_each(void **state)
{
    (void)state;
    static uint8_t data[2][400];
    for (size_t i = 0; i < sizeof data[0]; i++) {
        data[0][i] = (uint8_t)(i * 3);
        data[1][i] = (uint8_t)(i * i >> 2);
    }
    const size_t before[][2] = {{0, 0},   {0, 1},    {1, 1},   {32, 32},
                                {63, 63}, {63, 127}, {64, 64}, {65, 1}};
    for (size_t b = 0; b < sizeof before / sizeof before[0]; b++) {
        for (size_t len = 0; len <= 270; len++) {
            for (int asked = 0; asked < 4; asked++) {
                sotto_sha256 hash[2];
                uint8_t got[2][SOTTO_HASH_BYTES], want[SOTTO_HASH_BYTES];
                for (size_t i = 0; i < 2; i++) {
                    sotto_sha256_init(&hash[i]);
                    if (asked >> i & 1) {
                        sotto_sha256_ask(&hash[i]);
                    }
                    sotto_sha256_update(&hash[i], data[i], before[b][i]);
                }
                sotto_sha256_update_two(&hash[0], &hash[1],
                                        data[0] + before[b][0],
                                        data[1] + before[b][1], len);
                for (size_t i = 0; i < 2; i++) {
                    assert_int_equal(hash[i].len_bytes, before[b][i] + len);
                    sotto_sha256_final(&hash[i], got[i]);
                    sotto_sha256_of(want, data[i], before[b][i] + len);
                    assert_memory_equal(got[i], want, sizeof want);
                }
            }
        }
    }
}

static void test_hex_is_lower_case(void **state)
{
    (void)state;
    const uint8_t data[] = {0x00, 0x0f, 0xa5, 0xff};
    char text[9];
    sotto_hex(text, data, sizeof data);
    assert_string_equal(text, "000fa5ff");
    sotto_hex(text, data, 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_of_published_examples),
        cmocka_unit_test(test_sha256_of_a_million_letters_in_odd_pieces),
        cmocka_unit_test(test_sha256_at_every_length),
        cmocka_unit_test(test_sha256_update_splits_anywhere),
        cmocka_unit_test(test_sha256_of_more_than_32_bits_of_length),
        cmocka_unit_test(test_sha256_final_wipes_the_state),
        cmocka_unit_test(test_sha256_blocks_agree),
        cmocka_unit_test(test_sha256_of_long_pieces_after_short_ones),
        cmocka_unit_test(test_sha256_update_two_is_update_of_each),
        cmocka_unit_test(test_hex_is_lower_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
