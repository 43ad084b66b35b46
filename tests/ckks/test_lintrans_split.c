/* SPDX-License-Identifier: MIT
 * Splitting rotations in baby and giant steps, the keys that follow, and what a
 * linear map refuses.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "tests/support/fail.h"
#include "tests/support/lintrans_lab.h"

static ckks_lintrans_split choose(lintrans_lab *lab, int64_t *giant,
                                  size_t max_keys)
{
    ckks_lintrans_split split = {0};
    CHECK(ckks_lintrans_choose(&split, giant, lab->w.context, &lab->spec,
                               max_keys, err));
    return split;
}

/* Distinct rotations of a split, counted plainly. */
static size_t count_keys(const lintrans_lab *lab, const int64_t *giant)
{
    bool *used = calloc(lab->slots, sizeof *used);
    assert_non_null(used);
    for (size_t i = 0; i < lab->spec.n_diagonals; i++) {
        const int64_t mask = (int64_t)lab->slots - 1;
        used[giant[i] & mask] = true;
        used[(lab->diagonal[i].rotation - giant[i]) & mask] = true;
    }
    size_t n = 0;
    for (size_t i = 1; i < lab->slots; i++) {
        n += used[i];
    }
    free(used);
    return n;
}

/* A 5×5 window on rows of 28: where keys are dear, rows are giants. */
static void test_window(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "window", NTT_BACKEND_IFMA);
    const ckks_lintrans_rates dear = {1, 1, 100};
    int64_t giant[25];
    for (int64_t y = -2; y <= 2; y++) {
        for (int64_t x = -2; x <= 2; x++) {
            lintrans_lab_add(lab, 0, 0, 28 * y + x);
        }
    }
    lab->spec.rates = &dear;
    ckks_lintrans_split split = choose(lab, giant, 0);
    assert_int_equal(split.n_babies, 4);
    assert_int_equal(split.n_giants, 4);
    assert_int_equal(split.n_keys, 8);
    assert_int_equal(count_keys(lab, giant), 8);

    /* Where transforms are dear, there are no giants. */
    const ckks_lintrans_rates slow = {1000, 1, 0};
    lab->spec.rates = &slow;
    split = choose(lab, giant, 0);
    assert_int_equal(split.n_giants, 0);
    assert_int_equal(split.n_babies, 24);
    assert_int_equal(split.hoisting, CKKS_HOIST_DOUBLE);
    split = choose(lab, giant, 8);
    assert_int_equal(split.n_keys, 8);

    ckks_lintrans_split least = {0};
    sotto_error err = {{0}};
    assert_int_equal(ckks_lintrans_choose(&least, giant, lab->w.context,
                                          &lab->spec, 2, &err),
                     SOTTO_ERR_PARAM);
    assert_non_null(strstr(err.text, "at most 2"));
    lintrans_lab_free(lab);
}

/* A dense map: about two square roots. Given giants are costed as they are,
 * and none is cheaper than the one that is chosen. */
static void test_dense(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "dense", NTT_BACKEND_IFMA);
    int64_t giant[64];
    int64_t given[64];
    for (int i = 0; i < 64; i++) {
        lintrans_lab_add(lab, 0, 0, i);
    }
    const ckks_lintrans_split split = choose(lab, giant, 14);
    assert_int_equal(split.n_keys, 14);
    assert_int_equal(count_keys(lab, giant), 14);
    const ckks_lintrans_split best = choose(lab, giant, 0);
    assert_true(best.cost <= split.cost);
    lab->spec.giant = given;
    for (int width = 1; width <= 64; width++) {
        for (int i = 0; i < 64; i++) {
            given[i] = i / width * width;
        }
        const ckks_lintrans_split other = choose(lab, NULL, 0);
        assert_true(best.cost <= other.cost * (1 + 1e-12));
        assert_int_equal(other.n_babies, width - 1);
        assert_int_equal(other.n_giants, (64 + width - 1) / width - 1);
    }
    lintrans_lab_free(lab);
}

/* Shifting giants moves one to 0, and rotations wrap around. */
static void test_wraps(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "wraps", NTT_BACKEND_IFMA);
    int64_t giant[8];
    const int64_t slots = (int64_t)lab->slots;
    for (int64_t i = 0; i < 8; i++) {
        lintrans_lab_add(lab, (uint32_t)(i / 4), 0, i - 4 + slots * (i - 3));
    }
    lab->spec.n_out = 2;
    const ckks_lintrans_rates slow = {1000, 1, 0};
    lab->spec.rates = &slow;
    const ckks_lintrans_split split = choose(lab, giant, 0);
    assert_int_equal(split.n_giants, 0);
    assert_int_equal(split.n_babies, 7);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(giant[i] & (slots - 1), 0);
    }
    lintrans_lab_free(lab);
}

static const ckks_fold folds[] = {{64, 2, 1}, {128, 4, 0}};
static const ckks_fold late_folds[] = {{1, 2, 2}, {1, 2, 2}};

static void test_lists_keys(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "list", NTT_BACKEND_IFMA);
    const int64_t giant[3] = {0, 0, 16};
    lintrans_lab_add(lab, 0, 0, 0);
    lintrans_lab_add(lab, 0, 0, -1);
    lintrans_lab_add(lab, 0, 0, 18);
    lab->spec.giant = giant;
    lab->spec.n_folds = lab->spec.n_late_folds = 2;
    lab->spec.fold = folds;
    lab->spec.late_fold = late_folds;
    ckks_lintrans *map;
    CHECK(ckks_lintrans_new(&map, lab->w.encoder, lab->w.context, &lab->spec,
                            err));
    const struct {
        int64_t steps;
        int gadget, level;
    } want[] = {{1, 2, 1},   {2, 1, 0},   {16, 1, 0},  {64, 1, 0},
                {128, 0, 0}, {256, 0, 0}, {384, 0, 0}, {511, 1, 0}};
    ckks_rotation_use use[8];
    assert_int_equal(ckks_lintrans_rotations(map, NULL, 0), 8);
    assert_int_equal(ckks_lintrans_rotations(map, use, 8), 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(use[i].steps, want[i].steps);
        assert_int_equal(use[i].gadget, want[i].gadget);
        assert_int_equal(use[i].level, want[i].level);
    }
    ckks_lintrans_free(map);
    lintrans_lab_free(lab);
}

static void expect_refused(lintrans_lab *lab, sotto_status status,
                           const char *text)
{
    ckks_lintrans *map = NULL;
    sotto_error err = {{0}};
    assert_int_equal(ckks_lintrans_new(&map, lab->w.encoder, lab->w.context,
                                       &lab->spec, &err),
                     status);
    assert_null(map);
    if (strstr(err.text, text) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", err.text, text);
    }
}

static void test_refuses_specs(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "refuses", NTT_BACKEND_IFMA);
    lintrans_lab_add(lab, 0, 0, 3);
    const ckks_lintrans_spec good = lab->spec;
    lab->spec.n_in = 0;
    expect_refused(lab, SOTTO_ERR_SHAPE, "0 inputs");
    lab->spec = good;
    lab->diagonal[0].out = 1;
    expect_refused(lab, SOTTO_ERR_SHAPE, "output 1");
    lab->diagonal[0].out = 0;
    lab->spec.to = 3;
    expect_refused(lab, SOTTO_ERR_LEVEL, "level 3");
    lab->spec.from = 1;
    lab->spec.to = 0;
    expect_refused(lab, SOTTO_ERR_LEVEL, "no such step");
    lab->spec = good;
    lab->spec.gadget = -1;
    expect_refused(lab, SOTTO_ERR_PARAM, "gadget");
    lab->spec.gadget = 2;
    expect_refused(lab, SOTTO_ERR_LEVEL, "does not serve");
    lab->spec = good;
    const ckks_fold wrong = {1, 1, 0};
    lab->spec.n_folds = 1;
    lab->spec.fold = &wrong;
    expect_refused(lab, SOTTO_ERR_PARAM, "fold 0");
    lab->spec = good;
    lab->spec.out_scale = 0x1p+90;
    expect_refused(lab, SOTTO_ERR_SCALE, "below the modulus");
    lab->spec = good;
    lab->in_scale[0] = NAN;
    expect_refused(lab, SOTTO_ERR_SCALE, "input 0");
    lab->in_scale[0] = 0x1p+30;
    lab->value[7] = INFINITY;
    expect_refused(lab, SOTTO_ERR_RANGE, "slot 7 of diagonal 0");
    lab->value[7] = 0x1p+90;
    expect_refused(lab, SOTTO_ERR_RANGE, "diagonal 0");
    for (size_t j = 0; j < lab->slots; j++) {
        lab->value[j] = 0x1p+90;
    }
    expect_refused(lab, SOTTO_ERR_RANGE, "everywhere");
    lintrans_lab_free(lab);
}

/* Applies to one ciphertext; outputs stay as they are on errors. */
static void expect_apply(lintrans_lab *lab, const ckks_lintrans *map,
                         ckks_evaluator *ev, const ckks_ct *in,
                         sotto_status status, const char *text)
{
    ckks_ct out = world_ct(&lab->w);
    ckks_ct *const outs[1] = {&out};
    const ckks_ct *const ins[1] = {in};
    out.scale = 5;
    sotto_arena arena = sotto_arena_init(ckks_lintrans_scratch(map, 1));
    assert_non_null(arena.base);
    assert_int_equal(ckks_lintrans_apply(map, ev, outs, ins, NULL, &arena),
                     status);
    if (strstr(ev->error.text, text) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", ev->error.text, text);
    }
    assert_true(out.scale == 5);
    assert_int_equal(arena.used, 0);
    sotto_arena_clear(&arena);
    ckks_ct_clear(&out);
}

static void test_refuses_inputs(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "inputs", NTT_BACKEND_IFMA);
    lintrans_lab_add(lab, 0, 0, 3);
    ckks_lintrans *map;
    rlwe_keyset *keys;
    CHECK(ckks_lintrans_new(&map, lab->w.encoder, lab->w.context, &lab->spec,
                            err));
    ckks_evaluator *ev = lintrans_lab_evaluator(lab, map, &keys);
    ckks_ct in = world_encrypt(&lab->w, lab->x, lab->in_scale[0], 1);
    expect_apply(lab, map, ev, &in, SOTTO_ERR_LEVEL, "level 1");
    ckks_ct_clear(&in);
    in = world_encrypt(&lab->w, lab->x, 0x1p+31, 0);
    expect_apply(lab, map, ev, &in, SOTTO_ERR_SCALE, "scale");
    ckks_ct_clear(&in);
    in = world_encrypt(&lab->w, lab->x, lab->in_scale[0], 0);
    in.ct.n_components = 3;
    expect_apply(lab, map, ev, &in, SOTTO_ERR_PARAM, "3 components");
    in.ct.n_components = 2;
    expect_apply(lab, map, lab->w.ev, &in, SOTTO_ERR_KEY, "rotation by 3");
    in.ct.key_id[0] ^= 1;
    expect_apply(lab, map, ev, &in, SOTTO_ERR_KEY, "belong to key");
    sotto_error error = {{0}};
    assert_int_equal(ckks_lintrans_bind(map, lab->w.keys, &error),
                     SOTTO_ERR_KEY);
    CHECK(ckks_lintrans_bind(map, keys, err));
    expect_apply(lab, map, ev, &in, SOTTO_ERR_KEY, "bound to keys");
    ckks_ct_clear(&in);
    ckks_evaluator_free(ev);
    rlwe_keyset_free(keys);
    ckks_lintrans_free(map);
    lintrans_lab_free(lab);
}

/* What a sweep makes: a map with folds and a bias, bound to keys. */
typedef struct bound {
    lintrans_lab *lab;
    const rlwe_keyset *keys;
} bound;

static sotto_status make_bound(void *arg)
{
    const bound *b = arg;
    const world *w = &b->lab->w;
    ckks_lintrans *map;
    SOTTO_TRY(
        ckks_lintrans_new(&map, w->encoder, w->context, &b->lab->spec, NULL));
    const sotto_status status = ckks_lintrans_bind(map, b->keys, NULL);
    ckks_lintrans_free(map);
    return status;
}

static void test_survives_out_of_memory(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "memory", NTT_BACKEND_IFMA);
    lintrans_lab_add(lab, 0, 0, 1);
    lintrans_lab_add(lab, 0, 0, 64);
    lintrans_lab_add_bias(lab);
    lab->spec.n_folds = 1;
    lab->spec.fold = folds;
    ckks_lintrans *map;
    rlwe_keyset *keys;
    CHECK(ckks_lintrans_new(&map, lab->w.encoder, lab->w.context, &lab->spec,
                            err));
    ckks_evaluator *ev = lintrans_lab_evaluator(lab, map, &keys);
    ckks_lintrans_free(map);
    bound b = {lab, keys};
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 300, make_bound, &b) >
                30);
    lab->spec.memory_bytes = 1;
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 300, make_bound, &b) >
                30);
    ckks_evaluator_free(ev);
    rlwe_keyset_free(keys);
    lintrans_lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_wraps),
        cmocka_unit_test(test_lists_keys),
        cmocka_unit_test(test_refuses_specs),
        cmocka_unit_test(test_refuses_inputs),
        cmocka_unit_test(test_survives_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
