/* SPDX-License-Identifier: MIT
 * The search for a plan against enumeration of its space, and the cost model's
 * formulas.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "nn/plan/draft_internal.h"
#include "tests/support/check.h"

/* How much dearer than the best draft the search's choice may be. */
#define TOLERANCE 1.001

/* A chain of dense layers and squares, as the planner sees it. */
typedef struct chain {
    nn_search search;
    nn_network network;
    nn_step_facts facts[8];
} chain;

/* n[0] inputs; layer i has n[i + 1] outputs, a square behind all but the last.
 */
static void chain_init(chain *c, const size_t *n, int n_layers)
{
    memset(c, 0, sizeof *c);
    c->network.n_inputs = n[0];
    c->search = (nn_search){.network = &c->network,
                            .facts = c->facts,
                            .n_steps = 2 * n_layers - 1,
                            .z = 6.5,
                            .z_tail = 15,
                            .he_target = 0x1p-5,
                            .rounding_target = 0.25,
                            .security = 128,
                            .images = 1000,
                            .cost = nn_cost_default()};
    c->search.rms[0] = 0.5;
    for (int k = 0; k < c->search.n_steps; k++) {
        const size_t rows = n[k / 2 + 1], columns = n[k / 2];
        nn_step_facts *f = &c->facts[k];
        f->n_readers = k + 1 < c->search.n_steps;
        f->n_out = rows;
        if (k % 2 == 1) {
            f->kind = NN_STEP_SQUARE;
            c->search.range_bits[k + 1] = 2 * c->search.range_bits[k];
            c->search.rms[k + 1] = 2;
            continue;
        }
        f->kind = NN_STEP_AFFINE;
        f->n_in = f->inputs = columns;
        f->work = rows * columns;
        f->n_parts = 1;
        f->part[0] = (nn_map_part){.source = (uint32_t)k,
                                   .spectral = 2,
                                   .row_norm = 1.2,
                                   .row_sum = 0.8 * sqrt((double)columns),
                                   .row_terms = columns,
                                   .weight_max = 0.7};
        c->search.range_bits[k + 1] = 3;
        c->search.rms[k + 1] = 1.4;
    }
}

/* The enumeration: everything that the search may choose. */
typedef struct enumeration {
    const nn_search *search;
    int log2_n[2]; /* first and last … */
    int input[2];
    int target[2];
    int target_step;
    int weight[2];
    nn_draft draft;
    nn_draft best;
    double price;
    uint64_t judged;
} enumeration;

static void judge(enumeration *e)
{
    nn_draft_judge(&e->draft, e->search);
    e->judged++;
    if (!e->draft.feasible || nn_draft_excess(&e->draft, e->search) > 1 ||
        nn_draft_price(&e->draft) >= e->price) {
        return;
    }
    e->best = e->draft;
    e->price = nn_draft_price(&e->draft);
}

/* All choices of step k and those behind it. */
static void enumerate(enumeration *e, int k)
{
    const int n = e->search->n_steps;
    if (k == n) {
        judge(e);
        return;
    }
    nn_draft_step *step = &e->draft.step[k];
    const bool affine = e->search->facts[k].kind == NN_STEP_AFFINE;
    for (nn_wish wish = NN_WISH_NEVER; wish < NN_WISHES; wish++) {
        /* The first map has nothing to relinearise. */
        if (wish != NN_WISH_NEVER &&
            (k == 0 || (!affine && wish == NN_WISH_BEFORE))) {
            continue;
        }
        step->wish = wish;
        for (int target = 0;
             target <= e->target[1] && (target == 0 || k < n - 1);
             target = target == 0 ? e->target[0] : target + e->target_step) {
            step->target_bits = target;
            for (int bits = affine ? e->weight[0] : 0;
                 bits <= (affine ? e->weight[1] : 0); bits++) {
                step->weight_bits = bits;
                enumerate(e, k + 1);
            }
        }
    }
}

/* Compares the search with an enumeration of the given ranges, which is not
 * better if the search is any good. */
static void compare(const chain *c, const enumeration *ranges)
{
    enumeration *e = calloc(1, sizeof *e);
    nn_draft *found = calloc(NN_PLAN_CHOICES, sizeof *found);
    assert_non_null(e);
    assert_non_null(found);
    *e = *ranges;
    e->search = &c->search;
    e->price = HUGE_VAL;
    for (int log2_n = e->log2_n[0]; log2_n <= e->log2_n[1]; log2_n++) {
        for (int bits = e->input[0]; bits <= e->input[1]; bits++) {
            e->draft = (nn_draft){.log2_n = log2_n, .input_bits = bits};
            enumerate(e, 0);
        }
    }
    int n_found = 0;
    CHECK(nn_draft_search(found, &n_found, &c->search, e->log2_n[0],
                          e->log2_n[1], err));
    print_message("%llu drafts: best %.4g, search %.4g (%d limbs, %.0f bits)\n",
                  (unsigned long long)e->judged, e->price,
                  nn_draft_price(found), nn_draft_limbs(found, 0),
                  found->total_bits);
    assert_true(e->price < HUGE_VAL);
    assert_true(nn_draft_price(found) <= TOLERANCE * e->price);
    for (int i = 0; i < n_found; i++) {
        assert_true(nn_draft_excess(&found[i], &c->search) <= 1);
        assert_true(i == 0 ||
                    nn_draft_price(&found[i]) >= nn_draft_price(&found[i - 1]));
    }
    free(found);
    free(e);
}

/* One square, in several sizes and precisions. */
static void test_nn_draft_search_is_best_of_all(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{784, 128, 10}, {20, 4, 2}, {64, 300, 1}};
    const bool all = getenv("SOTTO_TEST_LONG") != NULL;
    const enumeration ranges = {.log2_n = {12, 13},
                                .input = {16, 30},
                                .target = {16, 40},
                                .target_step = all ? 1 : 2,
                                .weight = {6, 12}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        chain c;
        chain_init(&c, sizes[i], 2);
        compare(&c, &ranges);
        c.search.he_target = 0x1p-8;
        c.search.rounding_target = 0x1p-5;
        compare(&c, &ranges);
    }
}

/* Two squares, the sizes of CryptoNets; a smaller range. */
static void test_nn_draft_search_is_best_of_all_deeper(void **state)
{
    (void)state;
    const bool all = getenv("SOTTO_TEST_LONG") != NULL;
    const enumeration ranges = {.log2_n = {13, 13},
                                .input = {all ? 20 : 22, 27},
                                .target = {23, 35},
                                .target_step = all ? 3 : 6,
                                .weight = {8, 12}};
    chain c;
    chain_init(&c, (const size_t[]){784, 845, 100, 10}, 3);
    compare(&c, &ranges);
}

/* More of anything takes longer, and parts add up to the whole. */
static void test_nn_cost_formulas(void **state)
{
    (void)state;
    const nn_cost_table t = nn_cost_default();
    const nn_cost_gadget g = {.limbs = 6, .digits = 3, .specials = 2};
    const nn_cost_gadget more = {.limbs = 7, .digits = 4, .specials = 2};
    for (int log2_n = 12; log2_n <= 16; log2_n++) {
        const double down = nn_cost_division(&t, log2_n, 2, 6, 2);
        const double up = nn_cost_mod_up(&t, log2_n, g);
        const double product = nn_cost_key_product(&t, log2_n, g);
        assert_true(fabs(nn_cost_switch(&t, log2_n, g) / (up + product + down) -
                         1) < 1e-12);
        assert_true(nn_cost_rotation(&t, log2_n, g) >
                    nn_cost_switch(&t, log2_n, g));
        assert_true(nn_cost_hoisted_rotation(&t, log2_n, g) + up <=
                    nn_cost_rotation(&t, log2_n, g) * (1 + 1e-12));
        assert_true(nn_cost_switch(&t, log2_n, more) >
                    nn_cost_switch(&t, log2_n, g));
        assert_true(nn_cost_ntt(&t, log2_n + 1) > 2 * nn_cost_ntt(&t, log2_n));
        assert_true(nn_cost_encode(&t, log2_n, 3) >
                    nn_cost_encode(&t, log2_n, 2));
        assert_true(nn_cost_read(&t, log2_n, 3, 100) >
                    nn_cost_read(&t, log2_n, 2, 92));
    }
    /* ModUp of 6 limbs in 3 digits with 2 special moduli: 6 inverse
     * transforms, 3·8 - 6 = 18 forward ones, 18 conversions from 2 limbs. */
    const double n = 8192;
    const double want =
        24 * nn_cost_ntt(&t, 13) + 18 * 2 * n * t.ns[NN_COST_CONVERT];
    assert_true(fabs(nn_cost_mod_up(&t, 13, g) / want - 1) < 1e-12);
}

/* A measured table has all units, of a size that a processor can have. */
static void test_nn_cost_measure(void **state)
{
    (void)state;
    nn_cost_table t;
    CHECK(nn_cost_measure(&t, err));
    for (int i = 0; i < NN_COST_UNITS; i++) {
        assert_true(t.ns[i] > 0.0005 && t.ns[i] < 1000);
        assert_true(strlen(nn_cost_unit_name((nn_cost_unit)i)) > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_draft_search_is_best_of_all),
        cmocka_unit_test(test_nn_draft_search_is_best_of_all_deeper),
        cmocka_unit_test(test_nn_cost_formulas),
        cmocka_unit_test(test_nn_cost_measure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
