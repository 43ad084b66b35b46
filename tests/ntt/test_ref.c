/* SPDX-License-Identifier: MIT
 * The references themselves: large integers against values made with another
 * implementation (Python) and against their own laws.
 */
#include "tests/ref/bignum.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "tests/ref/ring.h"

/* The number with these hexadecimal digits. */
static ref_big big_of(const char *hex)
{
    ref_big r, digit;
    ref_big_from_u64(&r, 0);
    for (; *hex != '\0'; hex++) {
        const char *digits = "0123456789abcdef";
        ref_big_shift_left(&r, &r, 4);
        ref_big_from_i64(&digit, strchr(digits, *hex) - digits);
        ref_big_add(&r, &r, &digit);
    }
    return r;
}

static void assert_big(const ref_big *a, const char *hex)
{
    const ref_big want = big_of(hex);
    assert_int_equal(ref_big_compare(a, &want), 0);
}

#define A                                                                      \
    "63ca828d5f4b3b2e4b06ce60741c7a87ce42c8218072e8c35bf992dc9e9c616612e76"    \
    "96a6cecc1b78e510617311d8a3c2ce6f447ed4d57b1e2feb89414c343c1027c4d1c38"    \
    "6bbc4cd613e30d8f16adf91b7584a2265b1f5"
#define B                                                                      \
    "cd4b8b6d8fe442e3d437204e52db2221a58008a05a6c4647159c324c9859b810e766e"    \
    "c9d286"

static void test_ref_big_known_values(void **state)
{
    (void)state;
    const ref_big a = big_of(A);
    const ref_big b = big_of(B);
    ref_big r, rest;
    ref_big_mul(&r, &a, &b);
    assert_big(&r, "50069d391eed9bba17e60fe7c4e79bd4fb6f3ab8b7b9e01aba5ecdf5"
                   "96bd0bd18cfc18c080bb104a89fbc977147fdb89d16946e608b284be"
                   "ce839fbbf0dc49b4b95fe0cf2f2ac6b936f8d39461bc5c43907d1b6f"
                   "0357005ea8e8dbd53a29cd7ecee5cb48cdb97dae5f66c7b1b1fe4e01"
                   "6b80b800c7477228436c93203e");
    ref_big_divide(&r, &rest, &a, &b);
    assert_big(&r, "7c7020611734dfe3c2a294eb42a3d4325a50a00878448188b2182176"
                   "5ff7052a6b0d7044248b46089785f240b146bbe3407c");
    assert_big(&rest, "5e3032c7673ca5c5c19a2fe3db8dfc7a40c8a3d96562e19769bb1"
                      "d682368266dad87530390d");
    assert_int_equal(ref_big_bits(&a), 699);
}

/* A number of up to 40 words, often with long runs of equal bits. */
static void random_big(ref_big *r, uint64_t *seed)
{
    ref_big part;
    ref_big_from_i64(r, (int64_t)ref_random(seed));
    for (uint64_t i = ref_random(seed) % 20; i > 0; i--) {
        const uint64_t kind = ref_random(seed) % 4;
        ref_big_shift_left(r, r, 64);
        ref_big_from_u64(&part, kind == 0   ? 0
                                : kind == 1 ? ~(uint64_t)0
                                            : ref_random(seed));
        ref_big_add(r, r, &part);
    }
}

static void test_ref_big_laws(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int run = 0; run < 300; run++) {
        ref_big a, b, c, left, right;
        random_big(&a, &seed);
        random_big(&b, &seed);
        random_big(&c, &seed);
        ref_big_add(&left, &a, &b); /* (a + b)·c - b·c == a·c */
        ref_big_mul(&left, &left, &c);
        ref_big_mul(&right, &b, &c);
        ref_big_sub(&left, &left, &right);
        ref_big_mul(&right, &a, &c);
        assert_int_equal(ref_big_compare(&left, &right), 0);
        if (b.sign == 0) {
            continue;
        }
        b.sign = 1;
        ref_big_divide(&left, &right, &a, &b);
        assert_true(right.sign >= 0 && ref_big_compare(&right, &b) < 0);
        ref_big_mul(&left, &left, &b);
        ref_big_add(&left, &left, &right);
        assert_int_equal(ref_big_compare(&left, &a), 0);
    }
}

static void test_ref_big_rounds_to_nearest(void **state)
{
    (void)state;
    for (int64_t m = 1; m < 12; m++) {
        for (int64_t x = -50; x <= 50; x++) {
            ref_big a, b, r;
            ref_big_from_i64(&a, x);
            ref_big_from_i64(&b, m);
            ref_big_divide_round(&r, &a, &b);
            const int64_t nearest = (int64_t)ref_big_to_double(&r);
            const int64_t rest = 2 * (x - nearest * m);
            assert_true(rest >= -m && rest < m);
            ref_big_centre(&r, &a, &b);
            assert_true((int64_t)ref_big_to_double(&r) == x - nearest * m);
            assert_int_equal(ref_big_mod_u64(&a, (uint64_t)m),
                             ((x % m) + m) % m);
        }
    }
}

static void test_ref_big_doubles(void **state)
{
    (void)state;
    const double values[] = {0,
                             1,
                             -1,
                             9007199254740993.0,
                             -0x1.fffffp600,
                             0x1.0000000000001p53,
                             12345678};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        ref_big a;
        ref_big_from_double(&a, values[i]);
        assert_true(ref_big_to_double(&a) == values[i]);
    }
}

static void test_ref_crt_finds_integers(void **state)
{
    (void)state;
    const uint64_t q[] = {97, 193, 257};
    for (int64_t x = -2405648; x <= 2405648; x += 998) {
        uint64_t residue[3];
        ref_big r, want;
        for (int i = 0; i < 3; i++) {
            const int64_t m = (int64_t)q[i];
            residue[i] = (uint64_t)((x % m + m) % m);
        }
        ref_crt(&r, residue, q, 3);
        ref_big_from_i64(&want, x);
        assert_int_equal(ref_big_compare(&r, &want), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref_big_known_values),
        cmocka_unit_test(test_ref_big_laws),
        cmocka_unit_test(test_ref_big_rounds_to_nearest),
        cmocka_unit_test(test_ref_big_doubles),
        cmocka_unit_test(test_ref_crt_finds_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
