/* SPDX-License-Identifier: MIT
 * What the evaluator refuses: statuses, messages with values, and outputs that
 * stay as they were.
 */
#include "ckks/eval.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/ckks_world.h"

static const double log2_q[] = {46, 32, 32, 47, 0};
static const char *const levels[] = {"abc", "bc", "c", NULL};
/* the second serves the lower levels only */
static const char *const gadgets[] = {"abc|012|d", "bc|00|d", NULL};
static const int64_t rotations[] = {5, 1, 0};
static const world_spec spec = {.log2_n = 10,
                                .log2_q = log2_q,
                                .level = levels,
                                .gadget = gadgets,
                                .rotation = rotations,
                                .conjugation = true,
                                .max_power = 3};

typedef struct fixture {
    world w;
    double *x;
    ckks_ct a, low, out;
    uint64_t *before; /* out's data */
    ckks_ct marks;    /* out's fields */
} fixture;

static fixture *setup(void)
{
    fixture *f = calloc(1, sizeof *f);
    f->w = world_new(&spec, "errors");
    f->x = world_vector(&f->w);
    f->x[3] = 1;
    f->a = world_encrypt(&f->w, f->x, 0x1p+30, 0);
    f->low = world_encrypt(&f->w, f->x, 0x1p+30, 1);
    f->out = world_encrypt(&f->w, f->x, 0x1p+20, 2);
    f->before = sotto_calloc(f->out.ct.capacity, sizeof *f->before);
    return f;
}

static void teardown(fixture *f)
{
    free(f->x);
    sotto_free(f->before);
    ckks_ct_clear(&f->a);
    ckks_ct_clear(&f->low);
    ckks_ct_clear(&f->out);
    world_free(&f->w);
    free(f);
}

static void remember(fixture *f)
{
    memcpy(f->before, f->out.ct.data, f->out.ct.capacity * sizeof(uint64_t));
    f->marks = f->out;
    f->w.ev->error.text[0] = '\0';
}

/* The status, a message that holds `text`, nothing changed. */
static void refused(fixture *f, sotto_status status, sotto_status want,
                    const char *text)
{
    const char *const message = f->w.ev->error.text;
    assert_int_equal(status, want);
    if (!strstr(message, text)) {
        fail_msg("\"%s\" is not in: %s", text, message);
    }
    assert_memory_equal(f->before, f->out.ct.data,
                        f->out.ct.capacity * sizeof(uint64_t));
    assert_int_equal(f->out.ct.level, f->marks.ct.level);
    assert_int_equal(f->out.ct.n_components, f->marks.ct.n_components);
    assert_int_equal(f->out.ct.seeded, f->marks.ct.seeded);
    assert_memory_equal(f->out.ct.key_id, f->marks.ct.key_id,
                        RLWE_KEY_ID_BYTES);
    assert_true(f->out.scale == f->marks.scale);
    assert_int_equal(f->w.ev->arena.used, 0);
}

#define REFUSED(call, want, text)                                              \
    do {                                                                       \
        remember(f);                                                           \
        refused(f, call, want, text);                                          \
    } while (0)

static void test_levels_differ(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    REFUSED(ckks_add(ev, &f->out, &f->a, &f->low), SOTTO_ERR_LEVEL,
            "add: the operands are at levels 0 and 1");
    REFUSED(ckks_sub(ev, &f->out, &f->low, &f->a), SOTTO_ERR_LEVEL,
            "sub: the operands are at levels 1 and 0");
    REFUSED(ckks_mul(ev, &f->out, &f->a, &f->low), SOTTO_ERR_LEVEL,
            "mul: the operands are at levels");
    teardown(f);
}

static void test_scales_differ(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    ckks_ct b = world_encrypt(&f->w, f->x, 0x1p+30 * (1 + 0x1p-39), 0);
    REFUSED(ckks_add(ev, &f->out, &f->a, &b), SOTTO_ERR_SCALE,
            "add: the operands have scales 1073741824 and 1073741824.0019");
    REFUSED(ckks_sub(ev, &f->out, &f->a, &b), SOTTO_ERR_SCALE, "2^-40");
    b.scale = 0x1p+30 * (1 + 0x1p-41);
    assert_int_equal(ckks_add(ev, &f->out, &f->a, &b), SOTTO_OK);
    static const double bad[] = {0, NAN, HUGE_VAL, -0x1p+30};
    for (size_t i = 0; i < 4; i++) {
        b.scale = bad[i];
        REFUSED(ckks_add(ev, &f->out, &f->a, &b), SOTTO_ERR_SCALE, "scales");
        REFUSED(ckks_add(ev, &f->out, &b, &f->a), SOTTO_ERR_SCALE, "scales");
        REFUSED(ckks_mul(ev, &f->out, &f->a, &b), SOTTO_ERR_SCALE, "mul");
        REFUSED(ckks_mul_plain(ev, &f->out, &f->a, f->a.ct.data, bad[i]),
                SOTTO_ERR_SCALE, "mul_plain");
        REFUSED(ckks_mul_constant(ev, &f->out, &f->a, 1, bad[i]),
                SOTTO_ERR_SCALE, "mul_constant");
    }
    ckks_ct_clear(&b);
    teardown(f);
}

static void test_product_reaches_modulus(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    ckks_ct b = world_encrypt(&f->w, f->x, 0x1p+34, 1);
    REFUSED(ckks_square(ev, &f->out, &b), SOTTO_ERR_SCALE,
            "the modulus of level 1");
    REFUSED(ckks_mul_constant(ev, &f->out, &b, 1, 0x1p+31), SOTTO_ERR_SCALE,
            "rescale before");
    REFUSED(ckks_mul_plain(ev, &f->out, &b, b.ct.data, 0x1p+31),
            SOTTO_ERR_SCALE, "mul_plain: the scale would be");
    assert_int_equal(ckks_mul_constant(ev, &f->out, &b, 1, 0x1p+29), SOTTO_OK);
    ckks_ct_clear(&b);
    teardown(f);
}

static void test_constants_out_of_range(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    REFUSED(ckks_add_constant(ev, &f->out, &f->low, 0x1p+40), SOTTO_ERR_RANGE,
            "add_constant: encode");
    REFUSED(ckks_add_constant(ev, &f->out, &f->low, NAN), SOTTO_ERR_RANGE,
            "finite");
    REFUSED(ckks_mul_constant(ev, &f->out, &f->low, 0x1p+63, 2),
            SOTTO_ERR_RANGE, "mul_constant: encode");
    teardown(f);
}

static void test_keys_differ(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    world other = world_new(&spec, "other");
    ckks_ct b = world_encrypt(&other, f->x, 0x1p+30, 0);
    REFUSED(ckks_add(ev, &f->out, &f->a, &b), SOTTO_ERR_MISMATCH, "keys");
    REFUSED(ckks_sub(ev, &f->out, &f->a, &b), SOTTO_ERR_MISMATCH, "keys");
    REFUSED(ckks_mul(ev, &f->out, &f->a, &b), SOTTO_ERR_MISMATCH, "keys");
    REFUSED(ckks_rotate(ev, &f->out, &b, 1), SOTTO_ERR_KEY,
            "rotate by 1: the ciphertext belongs to key");
    REFUSED(ckks_conjugate(ev, &f->out, &b), SOTTO_ERR_KEY, "belongs to key");
    assert_int_equal(ckks_square(ev, &b, &b), SOTTO_OK);
    REFUSED(ckks_relinearise(ev, &f->out, &b), SOTTO_ERR_KEY, "belongs");
    REFUSED(ckks_relinearise_rescale(ev, &f->out, &b, 1), SOTTO_ERR_KEY,
            "belongs");
    ckks_ct_clear(&b);
    world_free(&other);
    teardown(f);
}

static void test_too_many_components(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    ckks_ct b = world_ct(&f->w);
    ckks_ct c = world_ct(&f->w);
    ckks_ct tiny = world_encrypt(&f->w, f->x, 0x1p+10, 0);
    assert_int_equal(ckks_square(ev, &b, &tiny), SOTTO_OK);
    assert_int_equal(ckks_mul(ev, &c, &b, &tiny), SOTTO_OK);
    REFUSED(ckks_mul(ev, &f->out, &b, &c), SOTTO_ERR_PARAM,
            "operands of 3 and 4 components make 6, the most is 5");
    REFUSED(ckks_rotate(ev, &f->out, &b, 1), SOTTO_ERR_PARAM,
            "has 3 components");
    REFUSED(ckks_rotate(ev, &f->out, &b, 0), SOTTO_ERR_PARAM,
            "has 3 components");
    REFUSED(ckks_conjugate(ev, &f->out, &c), SOTTO_ERR_PARAM,
            "conjugate: the ciphertext has 4 components");
    ckks_ct_clear(&b);
    ckks_ct_clear(&c);
    ckks_ct_clear(&tiny);
    teardown(f);
}

static void test_no_such_step(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    static const int bad[] = {0, 2, 3, -1, 1000};
    for (size_t i = 0; i < 5; i++) {
        REFUSED(ckks_rescale(ev, &f->out, &f->a, bad[i]), SOTTO_ERR_LEVEL,
                "rescale: there is no step from level 0 to level");
        REFUSED(ckks_relinearise_rescale(ev, &f->out, &f->a, bad[i]),
                SOTTO_ERR_LEVEL, "relinearise_rescale: there is no step");
    }
    REFUSED(ckks_drop(ev, &f->out, &f->low, 0), SOTTO_ERR_LEVEL, "drop:");
    REFUSED(ckks_drop(ev, &f->out, &f->low, 3), SOTTO_ERR_LEVEL, "drop:");
    REFUSED(ckks_drop(ev, &f->out, &f->low, -1), SOTTO_ERR_LEVEL, "drop:");
    teardown(f);
}

static void test_output_without_room(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    ckks_ct_clear(&f->out);
    assert_int_equal(ckks_ct_init(&f->out, f->w.context, 2, 2, NULL), SOTTO_OK);
    ckks_ct b = world_ct(&f->w);
    const uint64_t *plain = f->a.ct.data;
    assert_int_equal(ckks_square(ev, &b, &f->a), SOTTO_OK);
    REFUSED(ckks_add(ev, &f->out, &f->a, &f->a), SOTTO_ERR_PARAM, "add:");
    REFUSED(ckks_sub(ev, &f->out, &f->a, &f->a), SOTTO_ERR_PARAM, "sub:");
    REFUSED(ckks_negate(ev, &f->out, &f->a), SOTTO_ERR_PARAM, "negate:");
    REFUSED(ckks_add_plain(ev, &f->out, &f->a, plain), SOTTO_ERR_PARAM,
            "add_plain:");
    REFUSED(ckks_mul_plain(ev, &f->out, &f->a, plain, 2), SOTTO_ERR_PARAM,
            "mul_plain:");
    REFUSED(ckks_add_constant(ev, &f->out, &f->a, 1), SOTTO_ERR_PARAM,
            "add_constant:");
    REFUSED(ckks_mul_constant(ev, &f->out, &f->a, 1, 1), SOTTO_ERR_PARAM,
            "mul_constant:");
    REFUSED(ckks_mul(ev, &f->out, &f->a, &f->a), SOTTO_ERR_PARAM, "mul:");
    REFUSED(ckks_relinearise(ev, &f->out, &b), SOTTO_ERR_PARAM, "relinearise:");
    REFUSED(ckks_relinearise(ev, &f->out, &f->a), SOTTO_ERR_PARAM,
            "relinearise:");
    REFUSED(ckks_rescale(ev, &f->out, &f->a, 1), SOTTO_ERR_PARAM, "rescale:");
    REFUSED(ckks_relinearise_rescale(ev, &f->out, &b, 1), SOTTO_ERR_PARAM,
            "relinearise_rescale:");
    REFUSED(ckks_drop(ev, &f->out, &f->a, 1), SOTTO_ERR_PARAM, "drop:");
    REFUSED(ckks_rotate(ev, &f->out, &f->a, 5), SOTTO_ERR_PARAM,
            "rotate by 5:");
    REFUSED(ckks_rotate(ev, &f->out, &f->a, 0), SOTTO_ERR_PARAM,
            "rotate by 0:");
    REFUSED(ckks_conjugate(ev, &f->out, &f->a), SOTTO_ERR_PARAM, "conjugate:");
    ckks_ct_clear(&b);
    teardown(f);
}

static void test_missing_keys_are_named(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    REFUSED(ckks_rotate(ev, &f->out, &f->a, 2), SOTTO_ERR_KEY,
            "rotate by 2: no key for Galois element 25 at level 0; the keys "
            "for that level allow: 5 1 conjugation");
    ckks_ct tiny = world_encrypt(&f->w, f->x, 0x1p+10, 0);
    ckks_ct b = world_ct(&f->w);
    assert_int_equal(ckks_square(ev, &b, &tiny), SOTTO_OK);
    assert_int_equal(ckks_square(ev, &b, &b), SOTTO_OK);
    REFUSED(ckks_relinearise(ev, &f->out, &b), SOTTO_ERR_KEY,
            "relinearise: no key for power 4 of the secret at level 0; the "
            "keys for that level are of power: 2 3");
    REFUSED(ckks_relinearise_rescale(ev, &f->out, &b, 1), SOTTO_ERR_KEY,
            "no key for power 4");
    ckks_ct_clear(&b);
    ckks_ct_clear(&tiny);
    teardown(f);
}

/* Replaces the evaluator's keys by these, made under the fixture's secret. */
static rlwe_keyset *give_keys(fixture *f, const rlwe_key_target *target,
                              const int *gadget, int n)
{
    rlwe_switch_key *key[8];
    rlwe_keyset *keys = NULL;
    for (int i = 0; i < n; i++) {
        assert_int_equal(
            rlwe_switch_key_new(&key[i], f->w.context, f->w.secret, target[i],
                                &f->w.context->params.literal.gadget[gadget[i]],
                                &f->w.root, (uint32_t)(100 + i), NULL),
            SOTTO_OK);
    }
    assert_int_equal(rlwe_keyset_new(&keys, f->w.context, key, n, NULL),
                     SOTTO_OK);
    f->w.ev->keys = keys;
    return keys;
}

static void test_keys_for_other_levels_or_gadgets(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_evaluator *ev = f->w.ev;
    const rlwe_key_target power[] = {
        {RLWE_KEY_POWER, 2}, {RLWE_KEY_POWER, 3}, {RLWE_KEY_GALOIS, 5}};
    static const int low_only[] = {1, 1, 1};
    static const int mixed[] = {0, 1, 1};
    ckks_ct b = world_ct(&f->w);
    ckks_ct tiny = world_encrypt(&f->w, f->x, 0x1p+10, 0);
    assert_int_equal(ckks_square(ev, &b, &tiny), SOTTO_OK);

    rlwe_keyset *keys = give_keys(f, power, low_only, 3);
    REFUSED(ckks_relinearise(ev, &f->out, &b), SOTTO_ERR_KEY, "power: none");
    REFUSED(ckks_rotate(ev, &f->out, &f->a, 1), SOTTO_ERR_KEY, "allow: none");
    assert_int_equal(ckks_rotate(ev, &f->out, &f->low, 1), SOTTO_OK);
    rlwe_keyset_free(keys);

    /* power 2 under one gadget, power 3 under another: at level 1 both serve,
     * but not together */
    keys = give_keys(f, power, mixed, 3);
    assert_int_equal(ckks_mul(ev, &b, &b, &tiny), SOTTO_OK);
    assert_int_equal(ckks_drop(ev, &b, &b, 1), SOTTO_OK);
    REFUSED(ckks_relinearise(ev, &f->out, &b), SOTTO_ERR_KEY,
            "relinearise: the keys for powers 2 to 3 of the secret at level 1 "
            "have different gadgets");
    rlwe_keyset_free(keys);

    keys = give_keys(f, power, mixed, 0);
    REFUSED(ckks_relinearise(ev, &f->out, &b), SOTTO_ERR_KEY, "has no keys");
    REFUSED(ckks_conjugate(ev, &f->out, &f->a), SOTTO_ERR_KEY, "has no keys");
    rlwe_keyset_free(keys);
    ev->keys = NULL;
    REFUSED(ckks_relinearise(ev, &f->out, &b), SOTTO_ERR_KEY, "has no keys");
    REFUSED(ckks_rotate(ev, &f->out, &f->a, 1), SOTTO_ERR_KEY, "has no keys");
    assert_int_equal(ckks_rotate(ev, &f->out, &f->a, 0), SOTTO_OK);
    ckks_ct_clear(&b);
    ckks_ct_clear(&tiny);
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_differ),
        cmocka_unit_test(test_scales_differ),
        cmocka_unit_test(test_product_reaches_modulus),
        cmocka_unit_test(test_constants_out_of_range),
        cmocka_unit_test(test_keys_differ),
        cmocka_unit_test(test_too_many_components),
        cmocka_unit_test(test_no_such_step),
        cmocka_unit_test(test_output_without_room),
        cmocka_unit_test(test_missing_keys_are_named),
        cmocka_unit_test(test_keys_for_other_levels_or_gadgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
