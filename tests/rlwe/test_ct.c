/* SPDX-License-Identifier: MIT
 * The level table, the context, and ciphertexts as containers.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ntt/poly.h"
#include "rlwe/encrypt.h"
#include "tests/support/fail.h"
#include "tests/support/rlwe_lab.h"

/* Levels that are no prefixes: the first modulus goes first, then two at
 * once. */
static const double sizes[] = {46, 32, 32, 36, 36, 0};
static const char *const levels[] = {"abcd", "bcd", "bd", "d", NULL};
static const char *const steps[] = {"01", "12", "03", "13", "02", NULL};
static const world_spec spec = {
    .log2_n = 10, .log2_q = sizes, .level = levels, .step = steps};

static void test_rlwe_chain_levels(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "chain");
    const rlwe_chain *chain = &lab.context->chain;
    assert_int_equal(chain->n_levels, 4);
    for (int i = 0; i < 4; i++) {
        const rns_set set = world_set(levels[i]);
        assert_true(rns_set_equal(&chain->level[i].set, &set));
        double sum = 0;
        for (int j = 0; j < set.count; j++) {
            sum += log2((double)rns_modulus(lab.context->ring, set.id[j])->q);
        }
        assert_true(fabs(chain->level[i].log2_q - sum) < 1e-10);
        assert_int_equal(rlwe_level_words(lab.context, i),
                         (size_t)set.count * sotto_limb_stride(1024));
    }
    lab_free(&lab);
}

static void test_rlwe_chain_steps(void **state)
{
    (void)state;
    static const char *const removed[] = {"a", "c", "abc", "bc", "ac"};
    rlwe_lab lab = lab_new(&spec, "chain");
    const rlwe_chain *chain = &lab.context->chain;
    assert_int_equal(chain->n_transitions, 5);
    for (int i = 0; i < 5; i++) {
        const rlwe_transition *step =
            rlwe_chain_step(chain, steps[i][0] - '0', steps[i][1] - '0');
        assert_non_null(step);
        const rns_set set = world_set(removed[i]);
        assert_true(rns_set_equal(&step->removed, &set));
        double product = 1;
        for (int j = 0; j < set.count; j++) {
            product *= (double)rns_modulus(lab.context->ring, set.id[j])->q;
        }
        assert_true(step->divisor == product);
        assert_true(rns_set_equal(&step->divider->converter->from, &set));
        assert_true(rns_set_equal(&step->divider->converter->to,
                                  rlwe_level_set(lab.context, step->to)));
    }
    assert_null(rlwe_chain_step(chain, 2, 3));
    assert_null(rlwe_chain_step(chain, 1, 0));
    assert_null(rlwe_chain_step(chain, 0, 0));
    assert_true(rlwe_chain_can_drop(chain, 2, 3)); /* without a division */
    assert_true(rlwe_chain_can_drop(chain, 1, 1));
    assert_false(rlwe_chain_can_drop(chain, 3, 2));
    assert_false(rlwe_chain_can_drop(chain, 0, 4));
    assert_false(rlwe_chain_can_drop(chain, -1, 0));
    lab_free(&lab);
}

static sotto_status make_context(void *arg)
{
    const rlwe_params_literal *literal = arg;
    rlwe_context *context;
    sotto_error err;
    const sotto_status status =
        rlwe_context_new_capped(&context, literal, NTT_BACKEND_PORTABLE, &err);
    assert_true((status == SOTTO_OK) == (context != NULL));
    rlwe_context_free(context);
    return status;
}

static void test_rlwe_context_new_out_of_memory(void **state)
{
    (void)state;
    rlwe_params_literal literal = world_literal(&spec);
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 200, make_context,
                           &literal) > 10);
}

static void test_rlwe_context_new_refuses(void **state)
{
    (void)state;
    rlwe_params_literal literal = world_literal(&spec);
    rlwe_context *context = (rlwe_context *)&literal;
    literal.allow_insecure = false;
    LAB_FAILS(SOTTO_ERR_SECURITY, rlwe_context_new(&context, &literal, err),
              "at most 26");
    assert_null(context);
    literal.log2_n = 3;
    LAB_FAILS(SOTTO_ERR_PARAM, rlwe_context_new(&context, &literal, err),
              "log2_n is 3");
    assert_null(context);
    rlwe_context_free(NULL);
}

static void test_rlwe_context_new_reads_the_backend(void **state)
{
    (void)state;
    const rlwe_params_literal literal = world_literal(&spec);
    rlwe_context *context;
    const char *set = getenv("SOTTO_BACKEND");
    char *before = set ? strdup(set) : NULL;
    assert_int_equal(setenv("SOTTO_BACKEND", "portable", 1), 0);
    CHECK(rlwe_context_new(&context, &literal, err));
    assert_string_equal(context->ring->limb[0].kernels.name, "portable");
    rlwe_context_free(context);
    assert_int_equal(setenv("SOTTO_BACKEND", "abacus", 1), 0);
    LAB_FAILS(SOTTO_ERR_PARAM, rlwe_context_new(&context, &literal, err),
              "abacus");
    assert_null(context);
    if (before) {
        assert_int_equal(setenv("SOTTO_BACKEND", before, 1), 0);
    } else {
        assert_int_equal(unsetenv("SOTTO_BACKEND"), 0);
    }
    free(before);
}

/* A ciphertext with every word different. */
static rlwe_ct numbered(const rlwe_lab *lab, int level, int n_components)
{
    rlwe_ct ct;
    CHECK(rlwe_ct_init(&ct, lab->context, level, n_components, err));
    for (size_t i = 0; i < ct.capacity; i++) {
        ct.data[i] = i + 1;
    }
    memset(ct.key_id, 7, sizeof ct.key_id);
    return ct;
}

static void test_rlwe_ct_init_and_reshape(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct ct;
    CHECK(rlwe_ct_init(&ct, lab.context, 1, 3, err));
    const size_t stride = lab.context->ring->stride;
    assert_int_equal(ct.capacity, 3 * 3 * stride);
    for (size_t i = 0; i < ct.capacity; i++) {
        assert_int_equal(ct.data[i], 0);
    }
    assert_ptr_equal(rlwe_ct_component(&ct, lab.context, 2),
                     ct.data + 6 * stride);

    ct.seeded = true;
    ct.seed.bytes[0] = 1;
    CHECK(rlwe_ct_reshape(&ct, lab.context, 0, 2, err)); /* 8 <= 9 limbs */
    assert_int_equal(ct.level, 0);
    assert_int_equal(ct.n_components, 2);
    assert_false(ct.seeded);
    assert_int_equal(ct.seed.bytes[0], 0);

    ct.seeded = true;
    LAB_FAILS(SOTTO_ERR_PARAM, rlwe_ct_reshape(&ct, lab.context, 0, 3, err),
              "3 components at level 0");
    assert_int_equal(ct.n_components, 2);
    assert_true(ct.seeded);
    CHECK(rlwe_ct_reshape(&ct, lab.context, 3, 5, err));
    rlwe_ct_clear(&ct);
    assert_null(ct.data);
    rlwe_ct_clear(&ct);

    fail_arm(FAIL_ALLOC, 0);
    sotto_error err;
    assert_int_equal(rlwe_ct_init(&ct, lab.context, 0, 2, &err),
                     SOTTO_ERR_MEMORY);
    assert_true(fail_disarm());
    assert_null(ct.data);
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

static void test_rlwe_ct_copy(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct in = numbered(&lab, 1, 2);
    in.seeded = true;
    in.seed.bytes[5] = 9;
    rlwe_ct out, small;
    CHECK(rlwe_ct_init(&out, lab.context, 0, 5, err));
    CHECK(rlwe_ct_copy(&out, lab.context, &in, err));
    assert_int_equal(out.level, 1);
    assert_int_equal(out.n_components, 2);
    assert_true(out.seeded);
    assert_memory_equal(&out.seed, &in.seed, sizeof in.seed);
    assert_memory_equal(out.key_id, in.key_id, sizeof in.key_id);
    assert_memory_equal(out.data, in.data,
                        2 * rlwe_level_words(lab.context, 1) * 8);
    assert_int_equal(out.capacity, 5 * rlwe_level_words(lab.context, 0));
    CHECK(rlwe_ct_copy(&out, lab.context, &out, err));

    CHECK(rlwe_ct_init(&small, lab.context, 2, 2, err));
    LAB_FAILS(SOTTO_ERR_PARAM, rlwe_ct_copy(&small, lab.context, &in, err),
              "cannot hold");
    assert_int_equal(small.level, 2);
    rlwe_ct_clear(&small);
    rlwe_ct_clear(&out);
    rlwe_ct_clear(&in);
    lab_free(&lab);
}

/* Limb j of component i of a ciphertext at level 0 begins with this number. */
static uint64_t begin_of(const rlwe_lab *lab, int i, int j)
{
    return (uint64_t)(4 * i + j) * lab->context->ring->stride + 1;
}

static void check_dropped(const rlwe_lab *lab, const rlwe_ct *ct)
{
    const rns_set *set = rlwe_level_set(lab->context, ct->level);
    for (int i = 0; i < ct->n_components; i++) {
        const uint64_t *c = rlwe_ct_component(ct, lab->context, i);
        for (int j = 0; j < set->count; j++) {
            const uint64_t *limb = poly_limb_const(lab->context->ring, c, j);
            const uint64_t begin = begin_of(lab, i, set->id[j]);
            for (size_t k = 0; k < lab->n; k++) {
                assert_int_equal(limb[k], begin + k);
            }
        }
    }
}

static void test_rlwe_ct_drop(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "ct");
    for (int level = 0; level < 4; level++) {
        rlwe_ct in = numbered(&lab, 0, 3);
        rlwe_ct out;
        CHECK(rlwe_ct_init(&out, lab.context, level, 3, err));
        CHECK(rlwe_ct_drop(&out, lab.context, &in, level, err));
        assert_int_equal(out.level, level);
        assert_int_equal(out.n_components, 3);
        assert_memory_equal(out.key_id, in.key_id, sizeof in.key_id);
        check_dropped(&lab, &out);
        CHECK(rlwe_ct_drop(&in, lab.context, &in, level, err));
        assert_int_equal(in.level, level);
        check_dropped(&lab, &in);
        rlwe_ct_clear(&out);
        rlwe_ct_clear(&in);
    }
    lab_free(&lab);
}

static void test_rlwe_ct_drop_refuses(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct in = numbered(&lab, 1, 3);
    rlwe_ct out = numbered(&lab, 3, 2);
    LAB_FAILS(SOTTO_ERR_LEVEL, rlwe_ct_drop(&out, lab.context, &in, 0, err),
              "level 1 to level 0");
    LAB_FAILS(SOTTO_ERR_LEVEL, rlwe_ct_drop(&out, lab.context, &in, 9, err),
              "level 1 to level 9");
    LAB_FAILS(SOTTO_ERR_PARAM, rlwe_ct_drop(&out, lab.context, &in, 3, err),
              "3 components at level 3");
    assert_int_equal(out.level, 3);
    assert_int_equal(out.data[5], 6);
    rlwe_ct_clear(&out);
    rlwe_ct_clear(&in);
    lab_free(&lab);
}

/* A seeded ciphertext stays one: the uniform half of a lower level is part of
 * that of a higher one. */
static void test_rlwe_ct_drop_keeps_the_seed(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "ct");
    rlwe_ct ct, again;
    CHECK(rlwe_ct_init(&ct, lab.context, 0, 2, err));
    CHECK(rlwe_ct_init(&again, lab.context, 0, 2, err));
    CHECK(rlwe_encrypt_zero(&ct, lab.context, lab.secret, 0, &lab.root, 1, 1,
                            &lab.arena, err));
    CHECK(rlwe_ct_drop(&ct, lab.context, &ct, 2, err));
    assert_true(ct.seeded);
    CHECK(rlwe_ct_copy(&again, lab.context, &ct, err));
    memset(rlwe_ct_component(&again, lab.context, 1), 0,
           rlwe_level_words(lab.context, 2) * 8);
    rlwe_expand_seed(&again, lab.context);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(
            poly_limb(lab.context->ring, rlwe_ct_component(&ct, lab.context, 1),
                      i),
            poly_limb(lab.context->ring,
                      rlwe_ct_component(&again, lab.context, 1), i),
            lab.n * 8);
    }
    rlwe_ct_clear(&again);
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rlwe_chain_levels),
        cmocka_unit_test(test_rlwe_chain_steps),
        cmocka_unit_test(test_rlwe_context_new_out_of_memory),
        cmocka_unit_test(test_rlwe_context_new_refuses),
        cmocka_unit_test(test_rlwe_context_new_reads_the_backend),
        cmocka_unit_test(test_rlwe_ct_init_and_reshape),
        cmocka_unit_test(test_rlwe_ct_copy),
        cmocka_unit_test(test_rlwe_ct_drop),
        cmocka_unit_test(test_rlwe_ct_drop_refuses),
        cmocka_unit_test(test_rlwe_ct_drop_keeps_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
