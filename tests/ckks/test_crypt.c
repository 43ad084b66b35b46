/* SPDX-License-Identifier: MIT
 * Encryption, decryption, and the noise check that refuses wrong keys.
 */
#include "ckks/crypt.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ckks/noise.h"
#include "ntt/poly.h"
#include "tests/support/ckks_world.h"
#include "tests/support/fail.h"

static const double log2_q[] = {46, 32, 32, 47, 0};
static const char *const levels[] = {"abc", "bc", "c", NULL};
static const world_spec spec = {
    .log2_n = 10, .log2_q = log2_q, .level = levels, .public_special = 'd'};

typedef struct fixture {
    world w;
    double *x, *re, *im;
} fixture;

static fixture setup(void)
{
    fixture f = {.w = world_new(&spec, "crypt")};
    sotto_seed seed;
    sotto_stream stream;
    f.x = world_vector(&f.w);
    f.re = world_vector(&f.w);
    f.im = world_vector(&f.w);
    sotto_seed_from_text(&seed, "crypt data");
    sotto_stream_init(&stream, &seed);
    world_random(&stream, f.x, f.w.slots, 5);
    return f;
}

static void teardown(fixture *f)
{
    free(f->x);
    free(f->re);
    free(f->im);
    world_free(&f->w);
}

static void test_encrypt_decrypt_at_every_level(void **state)
{
    (void)state;
    fixture f = setup();
    const double sigma = sqrt(ckks_noise_fresh(f.w.context));
    for (int level = 0; level < 3; level++) {
        const double scale = 1.23 * 0x1p+24;
        ckks_ct ct = world_encrypt(&f.w, f.x, scale, level);
        assert_int_equal(ct.ct.level, level);
        assert_int_equal(ct.ct.n_components, 2);
        assert_true(ct.ct.seeded);
        assert_true(ct.scale == scale);
        assert_memory_equal(ct.ct.key_id, f.w.secret->key_id,
                            RLWE_KEY_ID_BYTES);
        const double error = world_error(&f.w, &ct, f.x) * scale;
        assert_true(error < 6 * sigma && error > 2 * sigma);
        ckks_ct_clear(&ct);
        ckks_ct_clear(&ct);
    }
    teardown(&f);
}

static void test_encrypt_public_has_noise_of_one_rescale(void **state)
{
    (void)state;
    fixture f = setup();
    const double sigma = sqrt(ckks_noise_fresh_public(f.w.context));
    for (int level = 0; level < 3; level++) {
        const double scale = 1.23 * 0x1p+24;
        ckks_ct ct = world_ct(&f.w);
        assert_int_equal(ckks_encrypt_public(&ct, f.w.encoder, f.w.context,
                                             f.w.public_key, f.x, f.w.slots,
                                             scale, level, &f.w.root,
                                             f.w.object++, 0, &f.w.arena, NULL),
                         SOTTO_OK);
        assert_int_equal(ct.ct.level, level);
        assert_false(ct.ct.seeded);
        const double error = world_error(&f.w, &ct, f.x) * scale;
        assert_true(error < 8 * sigma && error > 2 * sigma);
        ckks_ct_clear(&ct);
    }
    teardown(&f);
}

/* Different streams give different ciphertexts of the same message. */
static void test_encrypt_is_randomised(void **state)
{
    (void)state;
    fixture f = setup();
    ckks_ct a = world_encrypt(&f.w, f.x, 0x1p+24, 0);
    ckks_ct b = world_encrypt(&f.w, f.x, 0x1p+24, 0);
    f.w.object--;
    ckks_ct c = world_encrypt(&f.w, f.x, 0x1p+24, 0);
    const size_t bytes = f.w.context->ring->ring.n * sizeof *a.ct.data;
    assert_memory_not_equal(a.ct.data, b.ct.data, bytes);
    assert_memory_equal(b.ct.data, c.ct.data, bytes);
    ckks_ct_clear(&a);
    ckks_ct_clear(&b);
    ckks_ct_clear(&c);
    teardown(&f);
}

static double noise_of(fixture *f, const ckks_ct *ct, const rlwe_secret *secret)
{
    double noise = -1;
    assert_int_equal(ckks_decrypt(f->w.encoder, f->w.context, secret, f->re,
                                  f->im, f->w.slots, &noise, ct, &f->w.arena,
                                  NULL),
                     SOTTO_OK);
    return noise;
}

static void test_decrypt_estimates_noise(void **state)
{
    (void)state;
    fixture f = setup();
    const double scale = 0x1p+24;
    const double sigma = sqrt(ckks_noise_fresh(f.w.context)) / scale;
    ckks_ct ct = world_encrypt(&f.w, f.x, scale, 0);
    const double noise = noise_of(&f, &ct, f.w.secret);
    assert_true(noise > 0.85 * sigma && noise < 1.15 * sigma);
    double measured;
    assert_int_equal(ckks_noise_measure(f.w.encoder, f.w.context, f.w.secret,
                                        &measured, NULL, &ct, f.x, f.w.slots,
                                        &f.w.arena, NULL),
                     SOTTO_OK);
    assert_true(measured > 0.8 * noise && measured < 1.25 * noise);

    /* A value that wraps around the modulus is real no more. */
    ct.scale = scale;
    uint64_t *c0 = rlwe_ct_component(&ct.ct, f.w.context, 0);
    c0[17] = zq_add(c0[17], 1, rns_modulus(f.w.context->ring, 0)->q);
    assert_true(noise_of(&f, &ct, f.w.secret) > 1e6 * sigma);
    ckks_ct_clear(&ct);
    teardown(&f);
}

/* The same key id with other coefficients: only the noise tells. */
static void test_decrypt_with_wrong_secret(void **state)
{
    (void)state;
    fixture f = setup();
    ckks_ct ct = world_encrypt(&f.w, f.x, 0x1p+24, 0);
    int8_t *small = malloc(f.w.context->ring->ring.n);
    memcpy(small, f.w.secret->small, f.w.context->ring->ring.n);
    small[5] = (int8_t)(small[5] == 1 ? -1 : small[5] + 1);
    rlwe_secret *wrong = NULL;
    assert_int_equal(rlwe_secret_from_small(&wrong, f.w.context, small,
                                            f.w.secret->key_id, false, NULL),
                     SOTTO_OK);
    assert_true(noise_of(&f, &ct, wrong) > 1e6);
    rlwe_secret_free(wrong, f.w.context);
    free(small);
    ckks_ct_clear(&ct);
    teardown(&f);
}

static void test_decrypt_refuses_other_key_id(void **state)
{
    (void)state;
    fixture f = setup();
    world other = world_new(&spec, "another");
    ckks_ct ct = world_encrypt(&f.w, f.x, 0x1p+24, 0);
    sotto_error err = {{0}};
    double noise = -1;
    f.re[0] = 77;
    assert_int_equal(ckks_decrypt(f.w.encoder, f.w.context, other.secret, f.re,
                                  NULL, 1, &noise, &ct, &f.w.arena, &err),
                     SOTTO_ERR_KEY);
    assert_true(strlen(err.text) > 10);
    assert_true(f.re[0] == 77 && noise == -1);
    assert_int_equal(f.w.arena.used, 0);
    world_free(&other);
    ckks_ct_clear(&ct);
    teardown(&f);
}

static void test_decrypt_refuses_bad_scale(void **state)
{
    (void)state;
    fixture f = setup();
    ckks_ct ct = world_encrypt(&f.w, f.x, 0x1p+24, 0);
    static const double bad[] = {0, -1, NAN, HUGE_VAL};
    for (size_t i = 0; i < 4; i++) {
        sotto_error err = {{0}};
        ct.scale = bad[i];
        assert_int_equal(ckks_decrypt(f.w.encoder, f.w.context, f.w.secret,
                                      f.re, NULL, 1, NULL, &ct, &f.w.arena,
                                      &err),
                         SOTTO_ERR_SCALE);
        assert_non_null(strstr(err.text, "scale"));
    }
    /* So small a scale that values overflow: infinite noise, not NaN. */
    ct.scale = 0x1p-1020;
    assert_true(noise_of(&f, &ct, f.w.secret) == HUGE_VAL);
    double std = 0;
    double largest = 0;
    assert_int_equal(ckks_noise_measure(f.w.encoder, f.w.context, f.w.secret,
                                        &std, &largest, &ct, f.x, f.w.slots,
                                        &f.w.arena, NULL),
                     SOTTO_OK);
    assert_true(std == HUGE_VAL && largest == HUGE_VAL);
    ckks_ct_clear(&ct);
    teardown(&f);
}

static void test_encrypt_errors_leave_output(void **state)
{
    (void)state;
    fixture f = setup();
    sotto_error err = {{0}};
    ckks_ct ct = world_encrypt(&f.w, f.x, 0x1p+24, 2);
    ckks_ct small;
    assert_int_equal(ckks_ct_init(&small, f.w.context, 2, 2, NULL), SOTTO_OK);
    assert_int_equal(ckks_encrypt(&small, f.w.encoder, f.w.context, f.w.secret,
                                  f.x, f.w.slots, 0x1p+24, 0, &f.w.root, 9, 0,
                                  &f.w.arena, &err),
                     SOTTO_ERR_PARAM); /* no room */
    assert_int_equal(small.ct.level, 2);
    assert_int_equal(small.ct.data[0], 0);
    assert_true(small.scale == 1);
    assert_int_equal(ckks_encrypt_public(&small, f.w.encoder, f.w.context,
                                         f.w.public_key, f.x, f.w.slots,
                                         0x1p+24, 0, &f.w.root, 9, 0,
                                         &f.w.arena, &err),
                     SOTTO_ERR_PARAM);
    /* 2^20 at scale 2^24 passes 2^31 at level 2 */
    const uint64_t before = ct.ct.data[3];
    for (size_t j = 0; j < f.w.slots; j++) {
        f.x[j] = 1e6;
    }
    assert_int_equal(ckks_encrypt(&ct, f.w.encoder, f.w.context, f.w.secret,
                                  f.x, f.w.slots, 0x1p+24, 2, &f.w.root, 9, 0,
                                  &f.w.arena, &err),
                     SOTTO_ERR_RANGE);
    assert_non_null(strstr(err.text, "half the modulus"));
    assert_int_equal(ct.ct.data[3], before);
    assert_int_equal(ckks_encrypt_public(&ct, f.w.encoder, f.w.context,
                                         f.w.public_key, f.x, f.w.slots,
                                         0x1p+24, 2, &f.w.root, 9, 0,
                                         &f.w.arena, &err),
                     SOTTO_ERR_RANGE);
    assert_int_equal(f.w.arena.used, 0);
    ckks_ct_clear(&small);
    ckks_ct_clear(&ct);
    teardown(&f);
}

/* Encryption and decryption take no memory but the arena's. */
static void test_crypt_does_not_allocate(void **state)
{
    (void)state;
    fixture f = setup();
    ckks_ct ct = world_ct(&f.w);
    fail_arm(FAIL_ALLOC, 0);
    assert_int_equal(ckks_encrypt(&ct, f.w.encoder, f.w.context, f.w.secret,
                                  f.x, f.w.slots, 0x1p+24, 0, &f.w.root, 1, 0,
                                  &f.w.arena, NULL),
                     SOTTO_OK);
    assert_int_equal(ckks_encrypt_public(&ct, f.w.encoder, f.w.context,
                                         f.w.public_key, f.x, f.w.slots,
                                         0x1p+24, 0, &f.w.root, 1, 0,
                                         &f.w.arena, NULL),
                     SOTTO_OK);
    world_decrypt(&f.w, f.re, f.im, &ct);
    assert_false(fail_disarm());
    ckks_ct_clear(&ct);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encrypt_decrypt_at_every_level),
        cmocka_unit_test(test_encrypt_public_has_noise_of_one_rescale),
        cmocka_unit_test(test_encrypt_is_randomised),
        cmocka_unit_test(test_decrypt_estimates_noise),
        cmocka_unit_test(test_decrypt_with_wrong_secret),
        cmocka_unit_test(test_decrypt_refuses_other_key_id),
        cmocka_unit_test(test_decrypt_refuses_bad_scale),
        cmocka_unit_test(test_encrypt_errors_leave_output),
        cmocka_unit_test(test_crypt_does_not_allocate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
