/* SPDX-License-Identifier: MIT
 * Encryption of zero and the phase: what decrypts is the error, neither more
 * nor less of it than the formulas say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ntt/poly.h"
#include "ntt/sample.h"
#include "rlwe/encrypt.h"
#include "tests/support/rlwe_lab.h"

static const double small_sizes[] = {40, 30, 32, 41, 0};
static const char *const levels[] = {"abc", "bc", "c", NULL};
static const world_spec small_spec = {.log2_n = 10,
                                      .log2_q = small_sizes,
                                      .level = levels,
                                      .public_special = 'd'};

/* N = 2^13 with 186 bits: secure. */
static const double large_sizes[] = {46.5, 46.5, 46.5, 46.5, 0};
static const world_spec large_spec = {.log2_n = 13,
                                      .log2_q = large_sizes,
                                      .level = levels,
                                      .public_special = 'd'};

static rlwe_ct fresh_ct(const rlwe_lab *lab)
{
    rlwe_ct ct;
    CHECK(rlwe_ct_init(&ct, lab->context, 0, 5, err));
    return ct;
}

/* Variance of the phase; small: the phase itself, or NULL. */
static double phase_variance(rlwe_lab *lab, const rlwe_ct *ct, int64_t *small)
{
    const rns_set *set = rlwe_level_set(lab->context, ct->level);
    uint64_t *phase = lab_poly(lab, set);
    CHECK(rlwe_phase(phase, lab->context, ct, lab->secret, err));
    const double variance = lab_variance(lab, set, phase, small);
    sotto_free(phase);
    return variance;
}

static void check_symmetric(const world_spec *spec, double low, double high)
{
    rlwe_lab lab = lab_new(spec, "symmetric");
    assert_int_equal(lab.context->params.security_bits,
                     spec == &large_spec ? 128 : 0);
    rlwe_ct ct = fresh_ct(&lab);
    for (int level = 0; level < 3; level++) {
        CHECK(rlwe_encrypt_zero(&ct, lab.context, lab.secret, level, &lab.root,
                                17, (uint32_t)level, &lab.arena, err));
        assert_int_equal(ct.level, level);
        assert_int_equal(ct.n_components, 2);
        assert_true(ct.seeded);
        assert_memory_equal(ct.key_id, lab.secret->key_id, RLWE_KEY_ID_BYTES);
        lab_assert_between(phase_variance(&lab, &ct, NULL), NTT_ERROR_VARIANCE,
                           low, high, "symmetric encryption");
    }
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

static void test_rlwe_encrypt_zero_noise(void **state)
{
    (void)state;
    check_symmetric(&small_spec, 0.75, 1.3);
    check_symmetric(&large_spec, 0.92, 1.08);
}

/* The phase is exactly the error that the root gives. */
static void test_rlwe_encrypt_zero_streams(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&small_spec, "symmetric");
    const rns_ring *ring = lab.context->ring;
    rlwe_ct ct = fresh_ct(&lab);
    CHECK(rlwe_encrypt_zero(&ct, lab.context, lab.secret, 1, &lab.root, 5, 6,
                            &lab.arena, err));
    int64_t phase[1024];
    (void)phase_variance(&lab, &ct, phase);
    sotto_seed stream;
    int8_t error[1024];
    sotto_prf(&stream, &lab.root, SOTTO_LABEL_ERROR, 5, 6, 0, 0);
    ntt_sample_error(error, lab.n, &stream, &ring->limb[0].kernels);
    for (size_t i = 0; i < lab.n; i++) {
        assert_int_equal(phase[i], error[i]);
    }
    sotto_seed seed;
    sotto_prf(&seed, &lab.root, SOTTO_LABEL_CHILD, 5, 6, 0, 0);
    assert_memory_equal(&seed, &ct.seed, sizeof seed);
    _Alignas(SOTTO_ALIGN) uint64_t uniform[1024];
    sotto_prf(&stream, &seed, SOTTO_LABEL_UNIFORM, 0, 0, 0, 2);
    ntt_sample_uniform(uniform, lab.n, &stream, rns_modulus(ring, 2),
                       &ring->limb[2].kernels);
    assert_memory_equal(
        uniform, poly_limb(ring, rlwe_ct_component(&ct, lab.context, 1), 1),
        sizeof uniform);
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

/* Another object or index: other seed and other error. */
static void test_rlwe_encrypt_zero_separates_streams(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&small_spec, "symmetric");
    static const uint64_t object[3] = {5, 6, 5};
    static const uint32_t index[3] = {6, 6, 7};
    rlwe_ct ct = fresh_ct(&lab);
    int64_t phase[3][1024];
    sotto_seed seed[3];
    for (int i = 0; i < 3; i++) {
        CHECK(rlwe_encrypt_zero(&ct, lab.context, lab.secret, 0, &lab.root,
                                object[i], index[i], &lab.arena, err));
        (void)phase_variance(&lab, &ct, phase[i]);
        seed[i] = ct.seed;
        for (int j = 0; j < i; j++) {
            assert_memory_not_equal(phase[i], phase[j], sizeof phase[i]);
            assert_memory_not_equal(&seed[i], &seed[j], sizeof seed[i]);
        }
    }
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

static void check_public(const world_spec *spec, double low, double high)
{
    rlwe_lab lab = lab_new(spec, "public");
    rlwe_public *key;
    CHECK(rlwe_public_new(&key, lab.context, lab.secret, &lab.root, err));
    rlwe_ct ct = fresh_ct(&lab);
    /* (v·e + e_0 + e_1·s)/P is nothing; what stays is the rounding of both
     * components: 1/12 each, the second times s. */
    const double n = (double)lab.n;
    const double p = (double)rns_modulus(lab.context->ring, 3)->q;
    const double expected =
        (1 + n * 2 / 3) / 12 + NTT_ERROR_VARIANCE * (1 + n * 4 / 3) / (p * p);
    for (int level = 0; level < 3; level++) {
        CHECK(rlwe_encrypt_zero_public(&ct, lab.context, key, level, &lab.root,
                                       17, (uint32_t)level, &lab.arena, err));
        assert_int_equal(ct.level, level);
        assert_false(ct.seeded);
        assert_memory_equal(ct.key_id, lab.secret->key_id, RLWE_KEY_ID_BYTES);
        lab_assert_between(phase_variance(&lab, &ct, NULL), expected, low, high,
                           "public-key encryption");
    }
    rlwe_ct_clear(&ct);
    rlwe_public_free(key);
    lab_free(&lab);
}

static void test_rlwe_encrypt_zero_public_noise(void **state)
{
    (void)state;
    check_public(&small_spec, 0.75, 1.3);
    check_public(&large_spec, 0.92, 1.08);
}

/* Encrypting at a level is dropping to it what level 0 gives: a division by
 * the special modulus alone works limb by limb. */
static void test_rlwe_encrypt_zero_public_levels_agree(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&small_spec, "public");
    rlwe_public *key;
    CHECK(rlwe_public_new(&key, lab.context, lab.secret, &lab.root, err));
    rlwe_ct top = fresh_ct(&lab), low = fresh_ct(&lab);
    CHECK(rlwe_encrypt_zero_public(&top, lab.context, key, 0, &lab.root, 1, 2,
                                   &lab.arena, err));
    CHECK(rlwe_encrypt_zero_public(&low, lab.context, key, 1, &lab.root, 1, 2,
                                   &lab.arena, err));
    CHECK(rlwe_ct_drop(&top, lab.context, &top, 1, err));
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            assert_memory_equal(
                poly_limb(lab.context->ring,
                          rlwe_ct_component(&top, lab.context, i), j),
                poly_limb(lab.context->ring,
                          rlwe_ct_component(&low, lab.context, i), j),
                lab.n * 8);
        }
    }
    rlwe_ct_clear(&top);
    rlwe_ct_clear(&low);
    rlwe_public_free(key);
    lab_free(&lab);
}

/* P·c = v·(b,a) + e - rest, where the rest is the centred remainder modulo P;
 * from the streams of one object, coefficient by coefficient. */
static void check_public_formula(rlwe_lab *lab, const rlwe_public *key,
                                 uint64_t object)
{
    const rns_ring *ring = lab->context->ring;
    rlwe_ct ct = fresh_ct(lab);
    CHECK(rlwe_encrypt_zero_public(&ct, lab->context, key, 0, &lab->root,
                                   object, 4, &lab->arena, err));
    sotto_seed stream;
    int8_t v[1024], error[1024];
    const rns_set *set = &key->set; /* a b c d; d special */
    uint64_t *u = lab_poly(lab, set);
    uint64_t *t = lab_poly(lab, set);
    sotto_prf(&stream, &lab->root, SOTTO_LABEL_EPHEMERAL, object, 4, 0, 0);
    ntt_sample_ternary(v, lab->n, &stream, &ring->limb[0].kernels);
    poly_from_small(ring, set, t, v);
    poly_forward(ring, set, t);
    const zq_modulus *p = rns_modulus(ring, 3);
    for (uint32_t k = 0; k < 2; k++) {
        sotto_prf(&stream, &lab->root, SOTTO_LABEL_ERROR, object, 4, 1 + k, 0);
        ntt_sample_error(error, lab->n, &stream, &ring->limb[0].kernels);
        poly_from_small(ring, set, u, error);
        poly_forward(ring, set, u);
        poly_mul_add(ring, set, u, t, k == 0 ? key->b : key->a);
        poly_inverse(ring, set, u);
        uint64_t *c = rlwe_ct_component(&ct, lab->context, (int)k);
        poly_inverse(ring, rlwe_level_set(lab->context, 0), c);
        for (int i = 0; i < 3; i++) {
            const zq_modulus *mod = rns_modulus(ring, i);
            for (size_t j = 0; j < lab->n; j++) {
                const int64_t rest = zq_centre(poly_limb(ring, u, 3)[j], p->q);
                const uint64_t want = zq_sub(poly_limb(ring, u, i)[j],
                                             zq_from_i64(rest, mod), mod->q);
                assert_int_equal(zq_mul(poly_limb(ring, c, i)[j], p->q, mod),
                                 want);
            }
        }
    }
    sotto_free(u);
    sotto_free(t);
    rlwe_ct_clear(&ct);
}

/* The smaller the special modulus, the oftener an error decides a rounding:
 * with 12289, the smallest there is, wrong errors are found out. */
static void test_rlwe_encrypt_zero_public_formula(void **state)
{
    (void)state;
    static const double tiny_sizes[] = {40, 30, 32, 13.585, 0};
    world_spec tiny_spec = small_spec;
    tiny_spec.log2_q = tiny_sizes;
    const world_spec *specs[2] = {&small_spec, &tiny_spec};
    for (int i = 0; i < 2; i++) {
        rlwe_lab lab = lab_new(specs[i], "public");
        rlwe_public *key;
        CHECK(rlwe_public_new(&key, lab.context, lab.secret, &lab.root, err));
        for (uint64_t object = 0; object < 16; object++) {
            check_public_formula(&lab, key, object);
        }
        rlwe_public_free(key);
        lab_free(&lab);
    }
}

/* Σ c_i·s^i for every number of components, against powers of s. */
static void test_rlwe_phase_of_any_degree(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&small_spec, "phase");
    const rns_ring *ring = lab.context->ring;
    rlwe_ct ct = fresh_ct(&lab);
    memcpy(ct.key_id, lab.secret->key_id, sizeof ct.key_id);
    for (int n = 2; n <= 5; n++) {
        CHECK(rlwe_ct_reshape(&ct, lab.context, 1, n, err));
        const rns_set *set = rlwe_level_set(lab.context, 1);
        uint64_t *want = lab_poly(&lab, set);
        uint64_t *have = lab_poly(&lab, set);
        uint64_t *power = lab_poly(&lab, set);
        for (int i = 0; i < n; i++) {
            uint64_t *c = rlwe_ct_component(&ct, lab.context, i);
            lab_uniform(&lab, set, c, (uint64_t)i);
            if (i == 0) {
                poly_copy(ring, set, want, c);
                continue;
            }
            lab_source(&lab, set, power,
                       (rlwe_key_target){RLWE_KEY_POWER, (uint64_t)i});
            poly_mul_add(ring, set, want, power, c);
        }
        CHECK(rlwe_phase(have, lab.context, &ct, lab.secret, err));
        for (int j = 0; j < set->count; j++) {
            assert_memory_equal(poly_limb(ring, have, j),
                                poly_limb(ring, want, j), lab.n * 8);
        }
        sotto_free(want);
        sotto_free(have);
        sotto_free(power);
    }
    rlwe_ct_clear(&ct);
    lab_free(&lab);
}

static void test_rlwe_phase_with_another_key(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&small_spec, "phase");
    rlwe_secret *other;
    CHECK(rlwe_secret_new(&other, lab.context, NULL, err));
    rlwe_ct ct = fresh_ct(&lab);
    CHECK(rlwe_encrypt_zero(&ct, lab.context, lab.secret, 0, &lab.root, 0, 0,
                            &lab.arena, err));
    uint64_t *out = lab_poly(&lab, rlwe_level_set(lab.context, 0));
    LAB_FAILS(SOTTO_ERR_KEY, rlwe_phase(out, lab.context, &ct, other, err),
              "wrong secret key");
    for (size_t i = 0; i < rlwe_level_words(lab.context, 0); i++) {
        assert_int_equal(out[i], 0);
    }
    sotto_free(out);
    rlwe_ct_clear(&ct);
    rlwe_secret_free(other, lab.context);
    lab_free(&lab);
}

static void test_rlwe_encrypt_zero_needs_room(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&small_spec, "room");
    rlwe_public *key;
    CHECK(rlwe_public_new(&key, lab.context, lab.secret, &lab.root, err));
    rlwe_ct ct;
    CHECK(rlwe_ct_init(&ct, lab.context, 1, 2, err));
    LAB_FAILS(SOTTO_ERR_PARAM,
              rlwe_encrypt_zero(&ct, lab.context, lab.secret, 0, &lab.root, 0,
                                0, &lab.arena, err),
              "level 0");
    LAB_FAILS(SOTTO_ERR_PARAM,
              rlwe_encrypt_zero_public(&ct, lab.context, key, 0, &lab.root, 0,
                                       0, &lab.arena, err),
              "level 0");
    assert_int_equal(ct.level, 1);
    assert_int_equal(ct.data[0], 0);
    rlwe_ct_clear(&ct);
    rlwe_public_free(key);
    lab_free(&lab);
}

/* Scratch is given back, and nothing secret stays in it. */
static void test_rlwe_encrypt_zero_wipes_scratch(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&small_spec, "wipe");
    rlwe_public *key;
    CHECK(rlwe_public_new(&key, lab.context, lab.secret, &lab.root, err));
    rlwe_ct ct = fresh_ct(&lab);
    const size_t bytes = rlwe_encrypt_scratch(lab.context);
    for (int round = 0; round < 2; round++) {
        memset(lab.arena.base, 0, lab.arena.capacity);
        if (round == 0) {
            CHECK(rlwe_encrypt_zero(&ct, lab.context, lab.secret, 0, &lab.root,
                                    0, 0, &lab.arena, err));
        } else {
            CHECK(rlwe_encrypt_zero_public(&ct, lab.context, key, 0, &lab.root,
                                           0, 0, &lab.arena, err));
        }
        assert_int_equal(lab.arena.used, 0);
        for (size_t i = 0; i < bytes; i++) {
            assert_int_equal(lab.arena.base[i], 0);
        }
    }
    rlwe_ct_clear(&ct);
    rlwe_public_free(key);
    lab_free(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rlwe_encrypt_zero_noise),
        cmocka_unit_test(test_rlwe_encrypt_zero_streams),
        cmocka_unit_test(test_rlwe_encrypt_zero_separates_streams),
        cmocka_unit_test(test_rlwe_encrypt_zero_public_noise),
        cmocka_unit_test(test_rlwe_encrypt_zero_public_levels_agree),
        cmocka_unit_test(test_rlwe_encrypt_zero_public_formula),
        cmocka_unit_test(test_rlwe_phase_of_any_degree),
        cmocka_unit_test(test_rlwe_phase_with_another_key),
        cmocka_unit_test(test_rlwe_encrypt_zero_needs_room),
        cmocka_unit_test(test_rlwe_encrypt_zero_wipes_scratch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
