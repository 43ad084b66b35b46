/* SPDX-License-Identifier: MIT
 * Checks of parameters: each field, the security table, the parameter id.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "ntt/prime.h"
#include "rlwe/params.h"
#include "tests/support/rlwe_lab.h"

static const double sizes[] = {40, 30, 30, 41, 42, 0};

/* A literal with everything in it. */
static rlwe_params_literal good_literal(void)
{
    static const char *const level[] = {"abc", "bc", "b", NULL};
    static const char *const gadget[] = {"abc|011|de", "bc|01|d", NULL};
    const world_spec spec = {.log2_n = 10,
                             .log2_q = sizes,
                             .level = level,
                             .gadget = gadget,
                             .public_special = 'e'};
    return world_literal(&spec);
}

static void test_rlwe_params_check_accepts(void **state)
{
    (void)state;
    const rlwe_params_literal literal = good_literal();
    rlwe_params params;
    CHECK(rlwe_params_check(&params, &literal, err));
    assert_int_equal(params.literal.security, 128);
    assert_int_equal(params.security_bits, 0);
    /* The largest sample is under the first gadget: all five moduli. */
    assert_true(fabs(params.log2_qp - 183) < 0.5);
    /* Steps by default: to the next level. */
    assert_int_equal(params.literal.n_steps, 2);
    assert_int_equal(params.literal.step[1].from, 1);
    assert_int_equal(params.literal.step[1].to, 2);
}

/* Steps by default leave out what is no division. */
static void test_rlwe_params_check_default_steps(void **state)
{
    (void)state;
    rlwe_params_literal literal = good_literal();
    literal.level[1] = world_set("ab"); /* "b" is below it, "bc" is not */
    literal.n_levels = 4;
    literal.level[3] = world_set("bc");
    rlwe_params params;
    CHECK(rlwe_params_check(&params, &literal, err));
    assert_int_equal(params.literal.n_steps, 2);
    assert_int_equal(params.literal.step[0].to, 1);
    assert_int_equal(params.literal.step[1].from, 1);
    assert_int_equal(params.literal.step[1].to, 2);
}

/* One wrong thing, and the words that the message must have. */
typedef struct wrong {
    void (*spoil)(rlwe_params_literal *literal);
    const char *words[2];
} wrong;

static void log2_n_low(rlwe_params_literal *l)
{
    l->log2_n = 9;
}
static void log2_n_high(rlwe_params_literal *l)
{
    l->log2_n = 18;
}
static void security_odd(rlwe_params_literal *l)
{
    l->security = 100;
}
static void no_moduli(rlwe_params_literal *l)
{
    l->n_moduli = 0;
}
static void many_moduli(rlwe_params_literal *l)
{
    l->n_moduli = RNS_MAX_LIMBS + 1;
}
static void composite(rlwe_params_literal *l)
{
    l->modulus[1] = 2049; /* 3·683 */
}
static void wrong_residue(rlwe_params_literal *l)
{
    l->modulus[1] = 1000003;
}
static void zero_modulus(rlwe_params_literal *l)
{
    l->modulus[2] = 0;
}
static void wide_modulus(rlwe_params_literal *l)
{
    l->modulus[2] = UINT64_MAX - 2047;
}
static void repeated(rlwe_params_literal *l)
{
    l->modulus[2] = l->modulus[1];
}
static void no_levels(rlwe_params_literal *l)
{
    l->n_levels = 0;
}
static void many_levels(rlwe_params_literal *l)
{
    l->n_levels = RLWE_MAX_LEVELS + 1;
}
static void empty_level(rlwe_params_literal *l)
{
    l->level[2].count = 0;
}
static void long_level(rlwe_params_literal *l)
{
    l->level[1].count = 200;
}
static void negative_level(rlwe_params_literal *l)
{
    l->level[1].count = -1;
}
static void foreign_id(rlwe_params_literal *l)
{
    l->level[1].id[1] = 77;
}
static void falling_ids(rlwe_params_literal *l)
{
    l->level[1].id[0] = 2;
    l->level[1].id[1] = 1;
}
static void not_below(rlwe_params_literal *l)
{
    l->level[1] = world_set("be");
}
static void same_level(rlwe_params_literal *l)
{
    l->level[2] = l->level[1];
}
static void many_steps(rlwe_params_literal *l)
{
    l->n_steps = RLWE_MAX_STEPS + 1;
}
static void step_up(rlwe_params_literal *l)
{
    l->n_steps = 1;
    l->step[0] = (rlwe_step){1, 0};
}
static void step_beyond(rlwe_params_literal *l)
{
    l->n_steps = 1;
    l->step[0] = (rlwe_step){0, 200};
}
static void step_twice(rlwe_params_literal *l)
{
    l->n_steps = 2;
    l->step[0] = l->step[1] = (rlwe_step){0, 1};
}
static void many_gadgets(rlwe_params_literal *l)
{
    l->n_gadgets = RLWE_MAX_GADGETS + 1;
}
static void negative_gadgets(rlwe_params_literal *l)
{
    l->n_gadgets = -1;
}
static void no_special(rlwe_params_literal *l)
{
    l->gadget[1].special.count = 0;
}
static void special_inside(rlwe_params_literal *l)
{
    l->gadget[1].special = world_set("c");
}
static void gadget_outside(rlwe_params_literal *l)
{
    l->gadget[1].limbs = world_set("be");
}
static void no_digits(rlwe_params_literal *l)
{
    l->gadget[0].n_digits = 0;
}
static void many_digits(rlwe_params_literal *l)
{
    l->gadget[0].n_digits = 4;
}
static void empty_digit(rlwe_params_literal *l)
{
    l->gadget[0].n_digits = 3;
}
static void digit_beyond(rlwe_params_literal *l)
{
    l->gadget[0].digit[2] = 200;
}
static void public_in_level(rlwe_params_literal *l)
{
    l->public_special = 0;
}
static void public_beyond(rlwe_params_literal *l)
{
    l->public_special = 5;
}
static void public_negative(rlwe_params_literal *l)
{
    l->public_special = -1;
}

static void test_rlwe_params_check_names_the_field(void **state)
{
    (void)state;
    static const wrong wrongs[] = {
        {log2_n_low, {"log2_n is 9", "10 to 17"}},
        {log2_n_high, {"log2_n is 18", "10 to 17"}},
        {security_odd, {"security is 100", "128, 192 or 256"}},
        {no_moduli, {"n_moduli is 0", "1 to 96"}},
        {many_moduli, {"n_moduli is 97", "1 to 96"}},
        {composite, {"modulus[1] is 2049", "prime"}},
        {wrong_residue, {"modulus[1] is 1000003", "1 modulo 2048"}},
        {zero_modulus, {"modulus[2] is 0", "prime"}},
        {wide_modulus, {"modulus[2] is 18446744073709549568", "2^60"}},
        {repeated, {"modulus[1] and modulus[2]", "different"}},
        {no_levels, {"n_levels is 0", "1 to 64"}},
        {many_levels, {"n_levels is 65", "1 to 64"}},
        {empty_level, {"level 2 has 0 moduli", "1 to 5"}},
        {long_level, {"level 1 has 200 moduli", "1 to 5"}},
        {negative_level, {"level 1 has -1 moduli", "1 to 5"}},
        {foreign_id, {"level 1 has modulus id 77", "below 5"}},
        {falling_ids, {"level 1 has modulus id 1 at position 1", "rising"}},
        {not_below, {"level 1", "subset of level 0"}},
        {same_level, {"levels 1 and 2", "different"}},
        {many_steps, {"n_steps is 129", "0 to 128"}},
        {step_up, {"step 0 goes from level 1 to level 0", "below 3"}},
        {step_beyond, {"step 0 goes from level 0 to level 200", "below 3"}},
        {step_twice, {"steps 0 and 1", "once"}},
        {many_gadgets, {"n_gadgets is 9", "0 to 8"}},
        {negative_gadgets, {"n_gadgets is -1", "0 to 8"}},
        {no_special, {"special of gadget 1 has 0 moduli", "1 to 5"}},
        {special_inside, {"gadget 1", "disjoint"}},
        {gadget_outside, {"gadget 1", "subset of level 0"}},
        {no_digits, {"gadget 0 has 0 digits", "1 to 3"}},
        {many_digits, {"gadget 0 has 4 digits", "1 to 3"}},
        {empty_digit, {"gadget 0 has no limb in digit 2", "at least one"}},
        {digit_beyond, {"gadget 0 puts limb 2 into digit 200", "below 2"}},
        {public_in_level, {"public_special is 0", "not in level 0"}},
        {public_beyond, {"public_special is 5", "below 5"}},
        {public_negative, {"public_special is -1", "below 5"}},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        rlwe_params_literal literal = good_literal();
        wrongs[i].spoil(&literal);
        rlwe_params params, zero;
        memset(&params, 1, sizeof params);
        memset(&zero, 0, sizeof zero);
        LAB_FAILS(SOTTO_ERR_PARAM, rlwe_params_check(&params, &literal, err),
                  wrongs[i].words[0], wrongs[i].words[1]);
        assert_memory_equal(&params, &zero, sizeof zero);
    }
}

/* The table as the guideline prints it. */
static void test_rlwe_security_max_log2_is_the_table(void **state)
{
    (void)state;
    static const int table[3][9] = {
        {128, 26, 53, 106, 214, 430, 868, 1747, 3523},
        {192, 0, 36, 73, 147, 297, 597, 1199, 2411},
        {256, 0, 27, 56, 114, 230, 462, 929, 1866}};
    for (int row = 0; row < 3; row++) {
        for (int i = 0; i < 8; i++) {
            const int bound = table[row][1 + i];
            assert_int_equal(rlwe_security_max_log2(10 + i, table[row][0]),
                             bound);
            if (bound > 0) {
                assert_int_equal(rlwe_security_bits(10 + i, bound),
                                 table[row][0]);
                assert_true(rlwe_security_bits(10 + i, bound + 1e-6) <
                            table[row][0]);
            }
        }
    }
    assert_int_equal(rlwe_security_max_log2(9, 128), 0);
    assert_int_equal(rlwe_security_max_log2(18, 128), 0);
    assert_int_equal(rlwe_security_max_log2(13, 127), 0);
    assert_int_equal(rlwe_security_bits(10, 27), 0);
}

/* n primes, the last chosen so that their product is within 0.01 bits of
 * log2_total on the wanted side. */
static void primes_for(uint64_t *q, int n, int log2_n, double log2_total)
{
    const ntt_ring ring = ntt_ring_init(log2_n);
    CHECK(ntt_prime_search(q, (size_t)n - 1, &ring, log2_total / n, NULL, 0,
                           err));
    double rest = log2_total;
    for (int i = 0; i + 1 < n; i++) {
        rest -= log2((double)q[i]);
    }
    CHECK(ntt_prime_search(&q[n - 1], 1, &ring, rest, q, (size_t)n - 1, err));
}

/* Where the modulus stands that makes a sample too large. */
typedef enum sample { IN_LEVEL, IN_PUBLIC, IN_GADGET } sample;

static rlwe_params_literal literal_of_size(int log2_n, double log2_total,
                                           sample where)
{
    rlwe_params_literal l = {.log2_n = log2_n};
    l.n_moduli = log2_total < 48 ? 2 : (int)(log2_total / 48) + 1;
    primes_for(l.modulus, l.n_moduli, log2_n, log2_total);
    l.n_levels = 1;
    l.level[0] = rns_set_range(0, l.n_moduli - (where != IN_LEVEL));
    if (where == IN_PUBLIC) {
        l.has_public = true;
        l.public_special = l.n_moduli - 1;
    }
    if (where == IN_GADGET) {
        l.n_gadgets = 1;
        l.gadget[0] = (rlwe_gadget){.limbs = l.level[0],
                                    .special = rns_set_range(l.n_moduli - 1, 1),
                                    .n_digits = 1};
    }
    return l;
}

static void check_bound(int log2_n, int security, sample where)
{
    static const char *const names[] = {"ciphertexts", "public key",
                                        "switching keys"};
    const int bound = rlwe_security_max_log2(log2_n, security);
    rlwe_params params;
    rlwe_params_literal l = literal_of_size(log2_n, bound - 0.02, where);
    l.security = security;
    CHECK(rlwe_params_check(&params, &l, err));
    assert_int_equal(params.security_bits, security);
    assert_true(fabs(params.log2_qp - bound) < 0.05);

    l = literal_of_size(log2_n, bound + 0.02, where);
    l.security = security;
    char size[32], at_most[32];
    (void)snprintf(size, sizeof size, "%d.0", bound);
    (void)snprintf(at_most, sizeof at_most, "at most %d;", bound);
    LAB_FAILS(SOTTO_ERR_SECURITY, rlwe_params_check(&params, &l, err),
              names[where], size, at_most, "--insecure-parameters");
    l.allow_insecure = true;
    CHECK(rlwe_params_check(&params, &l, err));
    assert_true(params.security_bits < security);
}

static void test_rlwe_params_check_security_bounds(void **state)
{
    (void)state;
    static const int securities[3] = {128, 192, 256};
    for (int log2_n = 12; log2_n <= 17; log2_n++) {
        for (int i = 0; i < 3; i++) {
            check_bound(log2_n, securities[i], IN_LEVEL);
            check_bound(log2_n, securities[i], IN_PUBLIC);
            check_bound(log2_n, securities[i], IN_GADGET);
        }
    }
    /* Below, there is room for one or two moduli only. */
    check_bound(11, 128, IN_LEVEL);
    check_bound(11, 128, IN_GADGET);
}

/* Without a word about it the wanted security is 128 bits. */
static void test_rlwe_params_check_default_security(void **state)
{
    (void)state;
    rlwe_params params;
    rlwe_params_literal l = literal_of_size(13, 200, IN_LEVEL);
    CHECK(rlwe_params_check(&params, &l, err));
    assert_int_equal(params.security_bits, 128);
    l.security = 192;
    LAB_FAILS(SOTTO_ERR_SECURITY, rlwe_params_check(&params, &l, err),
              "192-bit", "at most 147");
    l = literal_of_size(10, 40, IN_LEVEL);
    l.security = 192; /* no entry at all for this degree */
    LAB_FAILS(SOTTO_ERR_SECURITY, rlwe_params_check(&params, &l, err),
              "192-bit", "at most 0");
}

/* The bytes under the hash, written down by hand. */
static void test_rlwe_params_id_bytes(void **state)
{
    (void)state;
    rlwe_params_literal l = {.log2_n = 12, .n_moduli = 2, .n_levels = 1};
    l.modulus[0] = 40961; /* 0xa001 */
    l.modulus[1] = 65537; /* 0x10001 */
    l.level[0] = rns_set_range(0, 2);
    rlwe_params params;
    CHECK(rlwe_params_check(&params, &l, err));
    static const uint8_t bytes[28] = {0, 0, 0, 0,    12, 0, 0, 0, 2, 0,
                                      0, 0, 1, 0xa0, 0,  0, 0, 0, 0, 0,
                                      1, 0, 1, 0,    0,  0, 0, 0};
    uint8_t digest[SOTTO_HASH_BYTES];
    sotto_sha256_of(digest, bytes, sizeof bytes);
    assert_memory_equal(params.id, digest, sizeof digest);

    /* Levels are not part of it, moduli and their order are. */
    rlwe_params other;
    l.level[0] = rns_set_range(0, 1);
    CHECK(rlwe_params_check(&other, &l, err));
    assert_memory_equal(params.id, other.id, sizeof other.id);
    l.modulus[0] = 65537;
    l.modulus[1] = 40961;
    CHECK(rlwe_params_check(&other, &l, err));
    assert_memory_not_equal(params.id, other.id, sizeof other.id);
}

static void test_rlwe_gadget_equal(void **state)
{
    (void)state;
    const rlwe_params_literal l = good_literal();
    rlwe_gadget other = l.gadget[0];
    assert_true(rlwe_gadget_equal(&l.gadget[0], &other));
    assert_false(rlwe_gadget_equal(&l.gadget[0], &l.gadget[1]));
    other.digit[3] = 9; /* behind the last limb: no meaning */
    assert_true(rlwe_gadget_equal(&l.gadget[0], &other));
    other.digit[1] = 0;
    assert_false(rlwe_gadget_equal(&l.gadget[0], &other));
    other = l.gadget[0];
    other.special = world_set("d");
    assert_false(rlwe_gadget_equal(&l.gadget[0], &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rlwe_params_check_accepts),
        cmocka_unit_test(test_rlwe_params_check_default_steps),
        cmocka_unit_test(test_rlwe_params_check_names_the_field),
        cmocka_unit_test(test_rlwe_security_max_log2_is_the_table),
        cmocka_unit_test(test_rlwe_params_check_security_bounds),
        cmocka_unit_test(test_rlwe_params_check_default_security),
        cmocka_unit_test(test_rlwe_params_id_bytes),
        cmocka_unit_test(test_rlwe_gadget_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
