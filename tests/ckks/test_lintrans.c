/* SPDX-License-Identifier: MIT
 * Linear maps by diagonals against plain slots: every way to hoist and to
 * split, random shapes, constants, folds, biases. Errors lie within the
 * predicted noise, from both sides.
 */
#include "ckks/lintrans.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "tests/support/lintrans_lab.h"

/* Runs and demands the predicted noise. */
static ckks_lintrans_info run_within(lintrans_lab *lab, const char *what,
                                     double bound)
{
    lintrans_outcome o = lintrans_lab_run(lab, 1);
    print_message("# %-14s %s, %zu babies, %zu giants: variance over predicted "
                  "%.3f\n",
                  what,
                  o.info.hoisting == CKKS_HOIST_DOUBLE ? "double" : "single",
                  o.info.n_babies, o.info.n_giants, o.ratio);
    assert_true(o.ratio < bound && o.ratio > 1 / bound);
    lintrans_outcome_free(&o);
    return o.info;
}

static void test_both_hoistings(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "hoisting", NTT_BACKEND_IFMA);
    int64_t giants[12];
    for (int i = 0; i < 12; i++) {
        lintrans_lab_add(lab, 0, 0, i - 3);
    }
    lab->spec.giant = giants;
    for (int width = 1; width <= 12; width += 3) {
        for (int i = 0; i < 12; i++) {
            giants[i] = (i - 3) / width * width;
        }
        for (int h = CKKS_HOIST_SINGLE; h <= CKKS_HOIST_DOUBLE; h++) {
            for (int g = 0; g < 2; g++) {
                lab->spec.hoisting = (ckks_hoisting)h;
                lab->spec.gadget = g;
                (void)run_within(lab, "12 diagonals", 1.4);
            }
        }
    }
    lintrans_lab_free(lab);
}

/* Sums that no slot enters twice: the noise is predicted for these. */
static const ckks_fold folds[] = {{-1, 4, 0}, {8, 3, 1}};
static const ckks_fold late_folds[] = {{32, 2, 1}, {-64, 4, 0}};

static void test_folds(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 2; n++) {
        for (size_t n_late = 0; n_late <= 2; n_late++) {
            lintrans_lab *lab = lintrans_lab_new(10, "folds", NTT_BACKEND_IFMA);
            lintrans_lab_add(lab, 0, 0, 5);
            lintrans_lab_add(lab, 0, 0, 6);
            lintrans_lab_add_bias(lab);
            lab->spec.n_folds = n;
            lab->spec.fold = folds;
            lab->spec.n_late_folds = n_late;
            lab->spec.late_fold = late_folds;
            (void)run_within(lab, "folds", 1.5);
            lintrans_lab_free(lab);
        }
    }
}

/* Constant diagonals need no transform and add no rounding of slots; a map of
 * one replicates. */
static void test_constants(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "constants", NTT_BACKEND_IFMA);
    for (int i = 0; i < 3; i++) {
        lintrans_lab_add(lab, 0, 0, 7 * i);
        for (size_t j = 0; j < lab->slots; j++) {
            lab->value[(size_t)i * lab->slots + j] = i == 1 ? 0 : 0.7 - i;
        }
    }
    ckks_lintrans_info info = run_within(lab, "constants", 1.4);
    assert_int_equal(info.n_diagonals, 2);
    assert_int_equal(info.n_constants, 2);
    assert_int_equal(info.memory_bytes, 0);

    lab->spec.n_diagonals = 1;
    for (size_t j = 0; j < lab->slots; j++) {
        lab->value[j] = 1;
    }
    lab->spec.to = 0;
    lab->spec.out_scale = lab->in_scale[0];
    const ckks_fold replicate = {-64, 8, 1};
    lab->spec.n_late_folds = 1;
    lab->spec.late_fold = &replicate;
    (void)run_within(lab, "replication", 1.4);
    lintrans_lab_free(lab);
}

/* A random map: some inputs and outputs, rotations in clusters. */
static void random_map(lintrans_lab *lab)
{
    ckks_lintrans_spec *spec = &lab->spec;
    spec->n_in = 1 + lintrans_lab_below(lab, LAB_CTS);
    spec->n_out = 1 + lintrans_lab_below(lab, LAB_CTS);
    const size_t n = spec->n_out + lintrans_lab_below(lab, 24);
    const uint64_t spread = 1 + lintrans_lab_below(lab, 12);
    for (size_t i = 0; i < n; i++) {
        const int64_t rotation = (int64_t)lintrans_lab_below(lab, spread) +
                                 19 * (int64_t)lintrans_lab_below(lab, 4) - 20;
        /* An output without diagonals would have no noise at all. */
        const size_t out =
            i < spec->n_out ? i : lintrans_lab_below(lab, spec->n_out);
        lintrans_lab_add(lab, (uint32_t)out,
                         (uint32_t)lintrans_lab_below(lab, spec->n_in),
                         rotation);
        const bool is_constant = lintrans_lab_below(lab, 6) == 0;
        double *value = lab->value + i * lab->slots;
        for (size_t j = 1; is_constant && j < lab->slots; j++) {
            value[j] = value[0];
        }
    }
    spec->hoisting = (ckks_hoisting)lintrans_lab_below(lab, 3);
    spec->gadget = (int)lintrans_lab_below(lab, 2);
    spec->memory_bytes = lintrans_lab_below(lab, 2) * 100000;
    spec->to = (int)lintrans_lab_below(lab, 3);
    lab->bind = lintrans_lab_below(lab, 2) == 0;
    if (spec->to == 0) {
        spec->out_scale = 0x1.5p+60;
    }
    if (lintrans_lab_below(lab, 2) == 0) {
        lintrans_lab_add_bias(lab);
    }
}

static void test_random_maps(void **state)
{
    (void)state;
    const int n = getenv("SOTTO_TEST_LONG") ? 400 : 20;
    for (int i = 0; i < n; i++) {
        char seed[32];
        (void)snprintf(seed, sizeof seed, "map %d", i);
        lintrans_lab *lab =
            lintrans_lab_new(10 + i % 3, seed, NTT_BACKEND_IFMA);
        random_map(lab);
        (void)run_within(lab, seed, 1.7);
        lintrans_lab_free(lab);
    }
}

/* An output without diagonals is its bias; without that, zero. */
static void test_empty(void **state)
{
    (void)state;
    lintrans_lab *lab = lintrans_lab_new(10, "empty", NTT_BACKEND_IFMA);
    lab->spec.n_out = 2;
    lab->spec.gadget = -1;
    lintrans_lab_add_bias(lab);
    lintrans_outcome o = lintrans_lab_run(lab, 1);
    assert_int_equal(o.info.n_diagonals, 0);
    assert_int_equal(o.info.n_babies + o.info.n_giants, 0);
    assert_true(o.ratio < 1.4);
    lintrans_outcome_free(&o);
    lintrans_lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_hoistings),
        cmocka_unit_test(test_folds),
        cmocka_unit_test(test_constants),
        cmocka_unit_test(test_random_maps),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
