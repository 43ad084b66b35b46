/* SPDX-License-Identifier: MIT
 * Hoisting: the same bits as key switching in one go, for many gadgets, levels
 * and automorphisms; its sums against ring operations one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ntt/poly.h"
#include "rlwe/hoist.h"
#include "tests/support/fail.h"
#include "tests/support/rlwe_lab.h"

/* Special moduli before, between and behind those of the ciphertext. */
static const double sizes[] = {46, 36, 36, 30, 30, 32, 46.3, 46.5, 46.7, 0};
static const char *const levels[] = {"bcdef", "cdef", "ce", NULL};
static const char *const steps[] = {"01", "02", "12", NULL};
static const char *const gadgets[] = {"bcdef|00112|gh", "bcdef|01201|agi",
                                      "bcdef|00000|agh", "cdef|0123|a", NULL};

static const world_spec spec = {.log2_n = 10,
                                .log2_q = sizes,
                                .level = levels,
                                .step = steps,
                                .gadget = gadgets};

/* Rotations to both sides, conjugation. */
static const uint64_t elements[] = {5, 25, 1229, 2047};
enum { N_ELEMENTS = sizeof elements / sizeof elements[0] };

/* Everything for products at one level under one gadget. */
typedef struct bed {
    rlwe_lab lab;
    rlwe_switcher *switcher;
    rlwe_digits digits;
    uint32_t *map;
    uint64_t *lifted;
    uint64_t *x, *c; /* a ciphertext (c, x) */
    uint64_t *turned_x, *turned_c;
    uint64_t *w[2], *u[2], *v[2]; /* accumulators */
    uint64_t *out[2], *want[2];
} bed;

static const rlwe_gadget *gadget_at(const rlwe_lab *lab, int g)
{
    return &lab->context->params.literal.gadget[g];
}

static bool serves(const rlwe_lab *lab, int g, int from)
{
    return rns_set_contains(&gadget_at(lab, g)->limbs,
                            rlwe_level_set(lab->context, from));
}

static void bed_open(bed *b, const rlwe_lab *lab, int g, int from, int to)
{
    b->lab = *lab;
    CHECK(rlwe_switcher_new(&b->switcher, lab->context, gadget_at(lab, g), from,
                            to, err));
    const rns_set *level = rlwe_level_set(lab->context, from);
    const rns_set *all = &b->switcher->all;
    b->map = sotto_calloc(lab->n, sizeof *b->map);
    b->lifted = sotto_calloc(rlwe_hoist_digits_words(b->switcher, lab->context),
                             sizeof *b->lifted);
    assert_true(b->map != NULL && b->lifted != NULL);
    b->x = lab_poly(lab, level);
    b->c = lab_poly(lab, level);
    b->turned_x = lab_poly(lab, level);
    b->turned_c = lab_poly(lab, level);
    for (int i = 0; i < 2; i++) {
        b->w[i] = lab_poly(lab, all);
        b->u[i] = lab_poly(lab, all);
        b->v[i] = lab_poly(lab, all);
        b->out[i] = lab_poly(lab, level);
        b->want[i] = lab_poly(lab, level);
        lab_uniform(lab, all, b->w[i], (uint64_t)(30 + i));
        lab_uniform(lab, all, b->u[i], (uint64_t)(40 + i));
    }
    lab_uniform(lab, level, b->x, 10);
    lab_uniform(lab, level, b->c, 20);
    rlwe_hoist_decompose(b->switcher, lab->context, &b->digits, b->lifted, b->x,
                         &b->lab.arena);
    assert_int_equal(b->lab.arena.used, 0);
}

static void bed_close(bed *b)
{
    rlwe_switcher_free(b->switcher);
    sotto_free(b->map);
    sotto_free(b->lifted);
    sotto_free(b->x);
    sotto_free(b->c);
    sotto_free(b->turned_x);
    sotto_free(b->turned_c);
    for (int i = 0; i < 2; i++) {
        sotto_free(b->w[i]);
        sotto_free(b->u[i]);
        sotto_free(b->v[i]);
        sotto_free(b->out[i]);
        sotto_free(b->want[i]);
    }
}

static rlwe_switch_key *key_for(const rlwe_lab *lab, int e, int g)
{
    rlwe_switch_key *key;
    const rlwe_key_target target = {RLWE_KEY_GALOIS, elements[e]};
    CHECK(rlwe_switch_key_new(&key, lab->context, lab->secret, target,
                              gadget_at(lab, g), &lab->root,
                              (uint32_t)(e * RLWE_MAX_GADGETS + g), err));
    return key;
}

static void assert_same_poly(const rlwe_lab *lab, const rns_set *set,
                             const uint64_t *a, const uint64_t *b)
{
    for (int i = 0; i < set->count; i++) {
        assert_memory_equal(poly_limb_const(lab->context->ring, a, i),
                            poly_limb_const(lab->context->ring, b, i),
                            lab->n * sizeof *a);
    }
}

/* One automorphism: hoisted against rlwe_switch of what was turned before. */
static void check_rotation(bed *b, const rlwe_switch_key *key)
{
    const rlwe_context *context = b->lab.context;
    const rns_ring *ring = context->ring;
    const rns_set *level = rlwe_level_set(context, b->switcher->from);
    const rns_set *to = rlwe_level_set(context, b->switcher->to);
    ntt_ring_automorphism(&ring->ring, b->map, key->target.value);
    poly_permute(ring, level, b->turned_x, b->x, b->map);
    poly_permute(ring, level, b->turned_c, b->c, b->map);
    const uint64_t *const x = b->turned_x;
    rlwe_switch(b->switcher, context, b->want[0], b->want[1], b->turned_c, NULL,
                &x, &key, 1, &b->lab.arena);
    const rlwe_hoist_extra extra = {.map = b->map, .c_0 = b->c};
    rlwe_hoist_product(b->switcher, context, b->u[0], b->u[1], &b->digits, key,
                       &extra, &b->lab.arena);
    for (int i = 0; i < 2; i++) {
        rlwe_hoist_divide(b->switcher, context, b->out[i], b->u[i],
                          &b->lab.arena);
        assert_same_poly(&b->lab, to, b->out[i], b->want[i]);
    }
    /* In one go, in place where the level stays. */
    const bool in_place = b->switcher->to == b->switcher->from;
    poly_copy(ring, level, b->turned_c, b->c);
    poly_copy(ring, level, b->turned_x, b->x);
    uint64_t *out_0 = in_place ? b->turned_c : b->out[0];
    uint64_t *out_1 = in_place ? b->turned_x : b->out[1];
    rlwe_switch_turned(b->switcher, context, out_0, out_1, b->turned_c,
                       b->turned_x, b->map, key, &b->lab.arena);
    assert_same_poly(&b->lab, to, out_0, b->want[0]);
    assert_same_poly(&b->lab, to, out_1, b->want[1]);
    assert_int_equal(b->lab.arena.used, 0);
}

/* Every gadget, level, step and automorphism; digits made once. */
static void test_rlwe_hoist_rotates_as_rlwe_switch(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "hoist");
    const rlwe_chain *chain = &lab.context->chain;
    for (int g = 0; gadgets[g]; g++) {
        rlwe_switch_key *key[N_ELEMENTS];
        for (int e = 0; e < N_ELEMENTS; e++) {
            key[e] = key_for(&lab, e, g);
        }
        for (int from = 0; from < chain->n_levels; from++) {
            for (int to = from; to < chain->n_levels; to++) {
                if (!serves(&lab, g, from) ||
                    (to != from && !rlwe_chain_step(chain, from, to))) {
                    continue;
                }
                bed b;
                bed_open(&b, &lab, g, from, to);
                for (int e = 0; e < N_ELEMENTS; e++) {
                    check_rotation(&b, key[e]);
                }
                bed_close(&b);
            }
        }
        for (int e = 0; e < N_ELEMENTS; e++) {
            rlwe_switch_key_free(key[e]);
        }
    }
    lab_free(&lab);
}

/* With an inner sum, added: u + σ(w_0) + the plain product. Without extras:
 * nothing but the digits. */
static void test_rlwe_hoist_product_adds(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "adds");
    for (int g = 0; gadgets[g]; g++) {
        rlwe_switch_key *key = key_for(&lab, 1, g);
        bed b;
        bed_open(&b, &lab, g, 1, 1);
        const rns_ring *ring = lab.context->ring;
        const rns_set *all = &b.switcher->all;
        ntt_ring_automorphism(&ring->ring, b.map, key->target.value);
        rlwe_hoist_extra extra = {.map = b.map};
        rlwe_hoist_product(b.switcher, lab.context, b.v[0], b.v[1], &b.digits,
                           key, &extra, &b.lab.arena);
        uint64_t *turned = lab_poly(&lab, all);
        poly_permute(ring, all, turned, b.w[0], b.map);
        for (int i = 0; i < 2; i++) {
            poly_add(ring, all, b.v[i], b.v[i], b.u[i]);
        }
        poly_add(ring, all, b.v[0], b.v[0], turned);
        extra.w_0 = b.w[0];
        extra.add = true;
        rlwe_hoist_product(b.switcher, lab.context, b.u[0], b.u[1], &b.digits,
                           key, &extra, &b.lab.arena);
        assert_same_poly(&lab, all, b.u[0], b.v[0]);
        assert_same_poly(&lab, all, b.u[1], b.v[1]);
        /* The identity in three ways of saying it. */
        ntt_ring_automorphism(&ring->ring, b.map, 1);
        extra = (rlwe_hoist_extra){.map = b.map};
        rlwe_hoist_product(b.switcher, lab.context, b.u[0], b.u[1], &b.digits,
                           key, &extra, &b.lab.arena);
        rlwe_hoist_product(b.switcher, lab.context, b.v[0], b.v[1], &b.digits,
                           key, NULL, &b.lab.arena);
        assert_same_poly(&lab, all, b.u[0], b.v[0]);
        assert_same_poly(&lab, all, b.u[1], b.v[1]);
        sotto_free(turned);
        bed_close(&b);
        rlwe_switch_key_free(key);
    }
    lab_free(&lab);
}

/* P·c divided by P is c. */
static void test_rlwe_hoist_lift_and_divide(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "lift");
    for (int g = 0; gadgets[g]; g++) {
        bed b;
        bed_open(&b, &lab, g, 1, 1);
        rlwe_hoist_lift(b.switcher, lab.context, b.u[0], b.c);
        rlwe_hoist_divide(b.switcher, lab.context, b.out[0], b.u[0],
                          &b.lab.arena);
        assert_same_poly(&lab, rlwe_level_set(lab.context, 1), b.out[0], b.c);
        bed_close(&b);
    }
    lab_free(&lab);
}

/* Sums of products, one term to many, against multiplication and addition. */
static void test_rlwe_hoist_sum_matches_ring(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "sum");
    bed b;
    bed_open(&b, &lab, 0, 0, 0);
    const rns_ring *ring = lab.context->ring;
    const rns_set *all = &b.switcher->all;
    const uint64_t *plain[RLWE_HOIST_MAX_TERMS];
    const uint64_t *u_0[RLWE_HOIST_MAX_TERMS];
    const uint64_t *u_1[RLWE_HOIST_MAX_TERMS];
    uint64_t *factor[3];
    for (int i = 0; i < 3; i++) {
        factor[i] = lab_poly(&lab, all);
        lab_uniform(&lab, all, factor[i], (uint64_t)(50 + i));
    }
    for (int i = 0; i < RLWE_HOIST_MAX_TERMS; i++) {
        plain[i] = factor[i % 3];
        u_0[i] = b.w[i % 2];
        u_1[i] = b.u[i / 2 % 2];
    }
    const int counts[] = {1, 2, 3, 5, 17, RLWE_HOIST_MAX_TERMS};
    uint64_t *acc[2] = {lab_poly(&lab, all), lab_poly(&lab, all)};
    for (size_t t = 0; t < sizeof counts / sizeof counts[0]; t++) {
        poly_zero(ring, all, acc[0]);
        poly_zero(ring, all, acc[1]);
        for (int i = 0; i < counts[t]; i++) {
            poly_mul_add(ring, all, acc[0], plain[i], u_0[i]);
            poly_mul_add(ring, all, acc[1], plain[i], u_1[i]);
        }
        rlwe_hoist_sum(b.switcher, lab.context, b.v[0], b.v[1], plain, u_0, u_1,
                       counts[t]);
        assert_same_poly(&lab, all, b.v[0], acc[0]);
        assert_same_poly(&lab, all, b.v[1], acc[1]);
    }
    for (int i = 0; i < 3; i++) {
        sotto_free(factor[i]);
    }
    sotto_free(acc[0]);
    sotto_free(acc[1]);
    bed_close(&b);
    lab_free(&lab);
}

/* No allocation in any part, and no more arena than announced. */
static void test_rlwe_hoist_allocates_nothing(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "no allocation");
    rlwe_switch_key *key = key_for(&lab, 0, 0);
    bed b;
    bed_open(&b, &lab, 0, 0, 1);
    ntt_ring_automorphism(&lab.context->ring->ring, b.map, elements[0]);
    const rlwe_hoist_extra extra = {
        .map = b.map, .c_0 = b.c, .w_0 = b.w[0], .add = true};
    sotto_arena arena = sotto_arena_init(rlwe_hoist_scratch(lab.context));
    assert_non_null(arena.base);
    fail_arm(FAIL_ALLOC, 0);
    rlwe_hoist_decompose(b.switcher, lab.context, &b.digits, b.lifted, b.x,
                         &arena);
    rlwe_hoist_product(b.switcher, lab.context, b.u[0], b.u[1], &b.digits, key,
                       &extra, &arena);
    rlwe_hoist_divide(b.switcher, lab.context, b.out[0], b.u[0], &arena);
    assert_false(fail_disarm());
    assert_int_equal(arena.used, 0);
    sotto_arena_clear(&arena);
    bed_close(&b);
    rlwe_switch_key_free(key);
    lab_free(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rlwe_hoist_rotates_as_rlwe_switch),
        cmocka_unit_test(test_rlwe_hoist_product_adds),
        cmocka_unit_test(test_rlwe_hoist_lift_and_divide),
        cmocka_unit_test(test_rlwe_hoist_sum_matches_ring),
        cmocka_unit_test(test_rlwe_hoist_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
