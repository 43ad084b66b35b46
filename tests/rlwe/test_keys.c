/* SPDX-License-Identifier: MIT
 * Keys: where their bits come from, what they satisfy, how large their errors
 * are, and the set that a server holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ntt/poly.h"
#include "ntt/sample.h"
#include "rlwe/keys.h"
#include "rlwe/keyswitch.h"
#include "tests/support/fail.h"
#include "tests/support/rlwe_lab.h"

static const double sizes[] = {40, 30, 30, 31, 41, 42, 0};
static const char *const levels[] = {"abcd", "bcd", "d", NULL};
static const char *const steps[] = {"01", "12", "02", NULL};
static const char *const gadgets[] = {"abcd|0121|ef", "bcd|012|f", NULL};
static const world_spec spec = {.log2_n = 10,
                                .log2_q = sizes,
                                .level = levels,
                                .step = steps,
                                .gadget = gadgets,
                                .public_special = 'e'};

static const rlwe_key_target targets[] = {{RLWE_KEY_POWER, 2},
                                          {RLWE_KEY_POWER, 3},
                                          {RLWE_KEY_POWER, 4},
                                          {RLWE_KEY_GALOIS, 5},
                                          {RLWE_KEY_GALOIS, 2047}};
enum { N_TARGETS = sizeof targets / sizeof targets[0] };

static rlwe_switch_key *key_for(const rlwe_lab *lab, rlwe_key_target target,
                                int gadget, uint32_t index)
{
    rlwe_switch_key *key;
    CHECK(rlwe_switch_key_new(&key, lab->context, lab->secret, target,
                              &lab->context->params.literal.gadget[gadget],
                              &lab->root, index, err));
    return key;
}

/* ---- Secret ------------------------------------------------------------ */

static void test_rlwe_secret_new_is_ternary(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "secret");
    int count[3] = {0};
    for (size_t i = 0; i < lab.n; i++) {
        assert_in_range(lab.secret->small[i] + 1, 0, 2);
        count[lab.secret->small[i] + 1]++;
    }
    for (int i = 0; i < 3; i++) { /* 341 ± 5 sigma */
        assert_in_range(count[i], 266, 416);
    }
    assert_true(lab.secret->from_seed);
    lab_free(&lab);
}

/* The streams of keys.h, written out. */
static void test_rlwe_secret_new_streams(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "secret");
    const rns_ring *ring = lab.context->ring;
    sotto_seed key;
    sotto_prf(&key, &lab.root, SOTTO_LABEL_KEY_ID, 0, 0, 0, 0);
    assert_memory_equal(lab.secret->key_id, key.bytes, RLWE_KEY_ID_BYTES);
    sotto_prf(&key, &lab.root, SOTTO_LABEL_SECRET, 0, 0, 0, 0);
    int8_t small[1024];
    ntt_sample_ternary(small, lab.n, &key, &ring->limb[0].kernels);
    assert_memory_equal(lab.secret->small, small, sizeof small);
    const rns_set all = rns_set_range(0, ring->n_limbs);
    uint64_t *ntt = lab_poly(&lab, &all);
    poly_from_small(ring, &all, ntt, small);
    poly_forward(ring, &all, ntt);
    assert_memory_equal(lab.secret->ntt, ntt,
                        poly_words(ring, all.count) * sizeof *ntt);
    sotto_free(ntt);
    lab_free(&lab);
}

static void test_rlwe_secret_new_from_system(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "secret");
    rlwe_secret *one, *two;
    CHECK(rlwe_secret_new(&one, lab.context, NULL, err));
    CHECK(rlwe_secret_new(&two, lab.context, NULL, err));
    assert_false(one->from_seed);
    assert_memory_not_equal(one->small, two->small, lab.n);
    assert_memory_not_equal(one->key_id, two->key_id, RLWE_KEY_ID_BYTES);
    rlwe_secret_free(one, lab.context);
    rlwe_secret_free(two, lab.context);
    rlwe_secret_free(NULL, lab.context);
    lab_free(&lab);
}

static void test_rlwe_secret_from_small(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "secret");
    rlwe_secret *copy;
    CHECK(rlwe_secret_from_small(&copy, lab.context, lab.secret->small,
                                 lab.secret->key_id, false, err));
    assert_false(copy->from_seed);
    assert_memory_equal(copy->key_id, lab.secret->key_id, RLWE_KEY_ID_BYTES);
    assert_memory_equal(copy->small, lab.secret->small, lab.n);
    assert_memory_equal(
        copy->ntt, lab.secret->ntt,
        poly_words(lab.context->ring, lab.context->ring->n_limbs) * 8);
    rlwe_secret_free(copy, lab.context);
    lab_free(&lab);
}

/* ---- Public key -------------------------------------------------------- */

static void test_rlwe_public_new_is_a_sample(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "public");
    const rns_ring *ring = lab.context->ring;
    rlwe_public *key;
    CHECK(rlwe_public_new(&key, lab.context, lab.secret, &lab.root, err));
    const rns_set want = world_set("abcde");
    assert_true(rns_set_equal(&key->set, &want));
    assert_memory_equal(key->key_id, lab.secret->key_id, RLWE_KEY_ID_BYTES);
    assert_true(key->from_seed);
    /* b + a·s = e */
    uint64_t *e = lab_poly(&lab, &want);
    lab_source(&lab, &want, e, (rlwe_key_target){RLWE_KEY_POWER, 1});
    poly_mul(ring, &want, e, e, key->a);
    poly_add(ring, &want, e, e, key->b);
    lab_assert_between(lab_variance(&lab, &want, e, NULL), NTT_ERROR_VARIANCE,
                       0.75, 1.3, "error of the public key");
    sotto_free(e);
    rlwe_public_free(key);
    rlwe_public_free(NULL);
    lab_free(&lab);
}

static void test_rlwe_public_new_streams(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "public");
    const rns_ring *ring = lab.context->ring;
    rlwe_public *key;
    CHECK(rlwe_public_new(&key, lab.context, lab.secret, &lab.root, err));
    const uint64_t object = UINT64_C(0x8000000000000000);
    sotto_seed seed, stream;
    sotto_prf(&seed, &lab.root, SOTTO_LABEL_CHILD, object, 0, 0, 0);
    assert_memory_equal(&seed, &key->seed, sizeof seed);
    /* Limb d alone: a from the published seed, e from the root. */
    const int id = 3, at = 3;
    const rns_set one = rns_set_range(id, 1);
    uint64_t *a = lab_poly(&lab, &one);
    uint64_t *b = lab_poly(&lab, &one);
    int8_t small[1024];
    sotto_prf(&stream, &seed, SOTTO_LABEL_UNIFORM, 0, 0, 0, (uint32_t)id);
    ntt_sample_uniform(a, lab.n, &stream, rns_modulus(ring, id),
                       &ring->limb[id].kernels);
    assert_memory_equal(a, poly_limb(ring, key->a, at), lab.n * 8);
    sotto_prf(&stream, &lab.root, SOTTO_LABEL_ERROR, object, 0, 0, 0);
    ntt_sample_error(small, lab.n, &stream, &ring->limb[id].kernels);
    poly_from_small(ring, &one, b, small);
    poly_forward(ring, &one, b);
    poly_mul(ring, &one, a, a, poly_limb(ring, lab.secret->ntt, id));
    poly_sub(ring, &one, b, b, a);
    assert_memory_equal(b, poly_limb(ring, key->b, at), lab.n * 8);
    sotto_free(a);
    sotto_free(b);
    rlwe_public_free(key);
    lab_free(&lab);
}

static void test_rlwe_public_new_needs_parameters(void **state)
{
    (void)state;
    world_spec without = spec;
    without.public_special = 0;
    rlwe_lab lab = lab_new(&without, "public");
    rlwe_public *key;
    LAB_FAILS(SOTTO_ERR_PARAM,
              rlwe_public_new(&key, lab.context, lab.secret, NULL, err),
              "no public key");
    assert_null(key);
    lab_free(&lab);
}

/* ---- Switching keys ---------------------------------------------------- */

/* b_j + a_j·s - P·g_j·s' is the same small polynomial in all limbs. */
static void check_switch_key(const rlwe_lab *lab, const rlwe_switch_key *key)
{
    const rns_ring *ring = lab->context->ring;
    const rns_set *set = &key->set;
    uint64_t *s = lab_poly(lab, set);
    uint64_t *source = lab_poly(lab, set);
    uint64_t *e = lab_poly(lab, set);
    lab_source(lab, set, s, (rlwe_key_target){RLWE_KEY_POWER, 1});
    lab_source(lab, set, source, key->target);
    for (int j = 0; j < key->gadget.n_digits; j++) {
        for (int m = 0; m < set->count; m++) {
            const int id = set->id[m];
            const zq_modulus *mod = rns_modulus(ring, id);
            const uint64_t *b =
                rlwe_switch_key_limb(key, lab->context, m, j, 0);
            const uint64_t *a =
                rlwe_switch_key_limb(key, lab->context, m, j, 1);
            const int at = rns_set_find(&key->gadget.limbs, id);
            uint64_t p = 0; /* P·g_j here */
            if (at >= 0 && key->gadget.digit[at] == j) {
                p = 1;
                for (int i = 0; i < key->gadget.special.count; i++) {
                    const int special = key->gadget.special.id[i];
                    p = zq_mul(p, rns_modulus(ring, special)->q, mod);
                }
            }
            for (size_t k = 0; k < lab->n; k++) {
                const uint64_t as = zq_mul(a[k], poly_limb(ring, s, m)[k], mod);
                const uint64_t ps =
                    zq_mul(p, poly_limb(ring, source, m)[k], mod);
                poly_limb(ring, e, m)[k] =
                    zq_sub(zq_add(b[k], as, mod->q), ps, mod->q);
            }
        }
        lab_assert_between(lab_variance(lab, set, e, NULL), NTT_ERROR_VARIANCE,
                           0.75, 1.3, "error of a switching key");
    }
    sotto_free(s);
    sotto_free(source);
    sotto_free(e);
}

static void test_rlwe_switch_key_new_is_a_gadget_sample(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "switch");
    for (int gadget = 0; gadget < 2; gadget++) {
        for (uint32_t i = 0; i < N_TARGETS; i++) {
            rlwe_switch_key *key = key_for(&lab, targets[i], gadget, i);
            check_switch_key(&lab, key);
            assert_memory_equal(key->key_id, lab.secret->key_id,
                                RLWE_KEY_ID_BYTES);
            assert_int_equal(key->target.value, targets[i].value);
            assert_true(key->from_seed);
            rlwe_switch_key_free(key);
        }
    }
    rlwe_switch_key_free(NULL);
    lab_free(&lab);
}

/* One limb of one digit, from the root alone. */
static void test_rlwe_switch_key_new_streams(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "switch");
    const rns_ring *ring = lab.context->ring;
    rlwe_switch_key *key = key_for(&lab, targets[0], 0, 11);
    const uint64_t object = UINT64_C(0x8000000000000001);
    const int digit = 2, id = 2; /* "abcd|0121": limb c is digit 2 */
    const rns_set one = rns_set_range(id, 1);
    sotto_seed seed, stream;
    sotto_prf(&seed, &lab.root, SOTTO_LABEL_CHILD, object, 11, 0, 0);
    assert_memory_equal(&seed, &key->seed, sizeof seed);
    uint64_t *a = lab_poly(&lab, &one);
    uint64_t *b = lab_poly(&lab, &one);
    uint64_t *source = lab_poly(&lab, &one);
    int8_t small[1024];
    sotto_prf(&stream, &seed, SOTTO_LABEL_UNIFORM, 0, 0, (uint32_t)digit,
              (uint32_t)id);
    ntt_sample_uniform(a, lab.n, &stream, rns_modulus(ring, id),
                       &ring->limb[id].kernels);
    assert_memory_equal(a, rlwe_switch_key_limb(key, lab.context, id, digit, 1),
                        lab.n * 8);
    sotto_prf(&stream, &lab.root, SOTTO_LABEL_ERROR, object, 11,
              (uint32_t)digit, 0);
    ntt_sample_error(small, lab.n, &stream, &ring->limb[id].kernels);
    poly_from_small(ring, &one, b, small);
    poly_forward(ring, &one, b);
    poly_mul(ring, &one, a, a, poly_limb(ring, lab.secret->ntt, id));
    poly_sub(ring, &one, b, b, a);
    const zq_modulus *mod = rns_modulus(ring, id);
    const uint64_t p = zq_mul(rns_modulus(ring, 4)->q,
                              zq_reduce_u64(rns_modulus(ring, 5)->q, mod), mod);
    lab_source(&lab, &one, source, targets[0]);
    poly_mul_scalar(ring, &one, source, source, &p);
    poly_add(ring, &one, b, b, source);
    assert_memory_equal(b, rlwe_switch_key_limb(key, lab.context, id, digit, 0),
                        lab.n * 8);
    sotto_free(a);
    sotto_free(b);
    sotto_free(source);
    rlwe_switch_key_free(key);
    lab_free(&lab);
}

static void test_rlwe_switch_key_new_deterministic(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "switch");
    rlwe_switch_key *one = key_for(&lab, targets[3], 0, 4);
    rlwe_switch_key *two = key_for(&lab, targets[3], 0, 4);
    rlwe_switch_key *three = key_for(&lab, targets[3], 0, 5);
    const size_t bytes =
        poly_words(lab.context->ring, one->set.count) * 3 * 2 * 8;
    assert_memory_equal(one->data, two->data, bytes);
    /* Another index: no polynomial in common. */
    for (int half = 0; half < 2; half++) {
        assert_memory_not_equal(
            rlwe_switch_key_limb(one, lab.context, 0, 0, half),
            rlwe_switch_key_limb(three, lab.context, 0, 0, half), lab.n * 8);
    }
    rlwe_switch_key_free(one);
    rlwe_switch_key_free(two);
    rlwe_switch_key_free(three);

    /* Without a root two keys differ, and the secret's mark stays. */
    const rlwe_gadget *gadget = &lab.context->params.literal.gadget[1];
    CHECK(rlwe_switch_key_new(&one, lab.context, lab.secret, targets[0], gadget,
                              NULL, 0, err));
    CHECK(rlwe_switch_key_new(&two, lab.context, lab.secret, targets[0], gadget,
                              NULL, 0, err));
    assert_memory_not_equal(&one->seed, &two->seed, sizeof one->seed);
    assert_true(one->from_seed);
    rlwe_switch_key_free(one);
    rlwe_switch_key_free(two);
    lab_free(&lab);
}

static void test_rlwe_switch_key_new_refuses(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "switch");
    static const rlwe_key_target wrong[] = {
        {RLWE_KEY_POWER, 1},   {RLWE_KEY_POWER, 5},  {RLWE_KEY_GALOIS, 0},
        {RLWE_KEY_GALOIS, 1},  {RLWE_KEY_GALOIS, 6}, {RLWE_KEY_GALOIS, 2049},
        {(rlwe_key_kind)7, 3},
    };
    static const char *const words[] = {
        "power 1",   "power 5",      "element 0", "element 1",
        "element 6", "element 2049", "kind 7"};
    const rlwe_gadget *gadget = &lab.context->params.literal.gadget[0];
    rlwe_switch_key *key;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        LAB_FAILS(SOTTO_ERR_PARAM,
                  rlwe_switch_key_new(&key, lab.context, lab.secret, wrong[i],
                                      gadget, &lab.root, 0, err),
                  words[i], "expected");
        assert_null(key);
    }
    rlwe_gadget foreign = *gadget;
    foreign.digit[0] = 1;
    LAB_FAILS(SOTTO_ERR_PARAM,
              rlwe_switch_key_new(&key, lab.context, lab.secret, targets[0],
                                  &foreign, &lab.root, 0, err),
              "gadget of 4 limbs and 3 digits", "one of their 2");
    assert_null(key);
    lab_free(&lab);
}

/* ---- Key sets ---------------------------------------------------------- */

static void test_rlwe_keyset_find(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "set");
    rlwe_switch_key *key[4] = {
        key_for(&lab, targets[0], 0, 0), key_for(&lab, targets[0], 1, 1),
        key_for(&lab, targets[3], 0, 2), key_for(&lab, targets[2], 1, 3)};
    rlwe_keyset *set;
    CHECK(rlwe_keyset_new(&set, lab.context, key, 4, err));
    assert_memory_equal(set->key_id, lab.secret->key_id, RLWE_KEY_ID_BYTES);
    assert_true(set->from_seed);
    /* Level 0 is served by the first gadget only. At level 1 gadget 0 has two
     * digits and two special moduli, (2+2)·5, gadget 1 three and one, (3+2)·4:
     * equal, so the first. At level 2 the second: (1+2)·2 after (1+2)·3. */
    assert_ptr_equal(rlwe_keyset_find(set, lab.context, targets[0], 0), key[0]);
    assert_ptr_equal(rlwe_keyset_find(set, lab.context, targets[0], 1), key[0]);
    assert_ptr_equal(rlwe_keyset_find(set, lab.context, targets[0], 2), key[1]);
    assert_ptr_equal(rlwe_keyset_find(set, lab.context, targets[3], 2), key[2]);
    assert_null(rlwe_keyset_find(set, lab.context, targets[2], 0));
    assert_ptr_equal(rlwe_keyset_find(set, lab.context, targets[2], 1), key[3]);
    assert_null(rlwe_keyset_find(set, lab.context, targets[4], 2));
    rlwe_keyset_free(set);
    rlwe_keyset_free(NULL);
    lab_free(&lab);
}

static void test_rlwe_keyset_switchers(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "set");
    rlwe_switch_key *key[2] = {key_for(&lab, targets[0], 0, 0),
                               key_for(&lab, targets[1], 0, 1)};
    rlwe_keyset *set;
    CHECK(rlwe_keyset_new(&set, lab.context, key, 2, err));
    const rlwe_gadget *gadget = lab.context->params.literal.gadget;
    static const int pairs[6][2] = {{0, 0}, {0, 1}, {0, 2},
                                    {1, 1}, {1, 2}, {2, 2}};
    assert_int_equal(set->n_switchers, 6);
    for (int i = 0; i < 6; i++) {
        const rlwe_switcher *switcher =
            rlwe_keyset_switcher(set, &gadget[0], pairs[i][0], pairs[i][1]);
        assert_non_null(switcher);
        assert_int_equal(switcher->from, pairs[i][0]);
        assert_int_equal(switcher->to, pairs[i][1]);
        assert_null(
            rlwe_keyset_switcher(set, &gadget[1], pairs[i][0], pairs[i][1]));
    }
    /* "abcd|0121" at level 1 = {b,c,d}: digit 0 is gone. */
    const rlwe_switcher *at_1 = rlwe_keyset_switcher(set, &gadget[0], 1, 1);
    assert_int_equal(at_1->n_digits, 2);
    assert_int_equal(at_1->digit_number[0], 1);
    assert_int_equal(at_1->digit_number[1], 2);
    assert_int_equal(at_1->up[0]->from.count, 2);
    rlwe_keyset_free(set);
    lab_free(&lab);
}

static void test_rlwe_keyset_new_of_two_secrets(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "set");
    rlwe_secret *other;
    CHECK(rlwe_secret_new(&other, lab.context, NULL, err));
    rlwe_switch_key *key[2] = {key_for(&lab, targets[0], 0, 0), NULL};
    CHECK(rlwe_switch_key_new(&key[1], lab.context, other, targets[1],
                              &lab.context->params.literal.gadget[0], &lab.root,
                              1, err));
    rlwe_keyset *set;
    LAB_FAILS(SOTTO_ERR_MISMATCH,
              rlwe_keyset_new(&set, lab.context, key, 2, err), "key 1",
              "one secret");
    assert_null(set);
    rlwe_switch_key_free(key[0]);
    rlwe_switch_key_free(key[1]);
    rlwe_secret_free(other, lab.context);
    lab_free(&lab);
}

static void test_rlwe_keyset_new_without_keys(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "set");
    rlwe_keyset *set;
    CHECK(rlwe_keyset_new(&set, lab.context, NULL, 0, err));
    assert_int_equal(set->n_keys, 0);
    assert_int_equal(set->n_switchers, 0);
    assert_null(rlwe_keyset_find(set, lab.context, targets[0], 0));
    rlwe_keyset_free(set);
    lab_free(&lab);
}

/* ---- Failures ---------------------------------------------------------- */

/* Makes every kind of key; frees what it made. */
static sotto_status make_all(void *arg)
{
    const rlwe_lab *lab = arg;
    const rlwe_gadget *gadget = &lab->context->params.literal.gadget[0];
    rlwe_secret *secret = NULL, *copy = NULL;
    rlwe_public *public_key = NULL;
    rlwe_switch_key *key = NULL;
    rlwe_keyset *set = NULL;
    sotto_error err;
    sotto_status status = rlwe_secret_new(&secret, lab->context, NULL, &err);
    if (status == SOTTO_OK) {
        status = rlwe_secret_from_small(&copy, lab->context, secret->small,
                                        secret->key_id, false, &err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_public_new(&public_key, lab->context, secret, NULL, &err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_switch_key_new(&key, lab->context, secret, targets[0],
                                     gadget, NULL, 0, &err);
    }
    if (status == SOTTO_OK) {
        status = rlwe_keyset_new(&set, lab->context, &key, 1, &err);
        if (status == SOTTO_OK) {
            key = NULL;
        }
    }
    rlwe_keyset_free(set);
    rlwe_switch_key_free(key);
    rlwe_public_free(public_key);
    rlwe_secret_free(copy, lab->context);
    rlwe_secret_free(secret, lab->context);
    return status;
}

static void test_rlwe_keys_out_of_memory(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "sweep");
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 300, make_all, &lab) >
                30);
    lab_free(&lab);
}

static void test_rlwe_keys_without_randomness(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "sweep");
    assert_int_equal(
        fail_sweep(FAIL_RANDOM, SOTTO_ERR_RANDOM, 10, make_all, &lab), 3);
    lab_free(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rlwe_secret_new_is_ternary),
        cmocka_unit_test(test_rlwe_secret_new_streams),
        cmocka_unit_test(test_rlwe_secret_new_from_system),
        cmocka_unit_test(test_rlwe_secret_from_small),
        cmocka_unit_test(test_rlwe_public_new_is_a_sample),
        cmocka_unit_test(test_rlwe_public_new_streams),
        cmocka_unit_test(test_rlwe_public_new_needs_parameters),
        cmocka_unit_test(test_rlwe_switch_key_new_is_a_gadget_sample),
        cmocka_unit_test(test_rlwe_switch_key_new_streams),
        cmocka_unit_test(test_rlwe_switch_key_new_deterministic),
        cmocka_unit_test(test_rlwe_switch_key_new_refuses),
        cmocka_unit_test(test_rlwe_keyset_find),
        cmocka_unit_test(test_rlwe_keyset_switchers),
        cmocka_unit_test(test_rlwe_keyset_new_of_two_secrets),
        cmocka_unit_test(test_rlwe_keyset_new_without_keys),
        cmocka_unit_test(test_rlwe_keys_out_of_memory),
        cmocka_unit_test(test_rlwe_keys_without_randomness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
