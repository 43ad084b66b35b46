/* SPDX-License-Identifier: MIT
 * The library against an independent slow CKKS: each decrypts what the other
 * encrypted, and products, divisions, key switching and rotations agree bit for
 * bit with the formulas of the specification.
 */
#include "tests/ref/ckks_ref.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/ckks_world.h"

/* Digits of two and of one limb, two special moduli, a level that is no
 * prefix. */
static const double log2_q[] = {46, 32, 33.4, 47, 40, 0};
static const char *const levels[] = {"abc", "ac", "c", NULL};
static const char *const gadgets[] = {"abc|011|de", NULL};
static const int64_t rotations[] = {3, 0};
static const world_spec spec = {.log2_n = 10,
                                .log2_q = log2_q,
                                .level = levels,
                                .gadget = gadgets,
                                .rotation = rotations,
                                .max_power = 3};

typedef struct fixture {
    world w;
    ckks_ref_ring ring;
    ckks_ref_set level[3];
    ckks_ref_set all; /* level 0 and the special moduli */
    double *x, *y;
    sotto_stream stream;
} fixture;

static ckks_ref_set to_ref(const rns_set *set)
{
    ckks_ref_set r = {.count = set->count};
    for (int i = 0; i < set->count; i++) {
        r.id[i] = set->id[i];
    }
    return r;
}

static fixture *setup(void)
{
    fixture *f = calloc(1, sizeof *f);
    f->w = world_new(&spec, "reference");
    const rlwe_params_literal *literal = &f->w.context->params.literal;
    f->ring = ckks_ref_ring_make((size_t)1 << spec.log2_n, literal->modulus,
                                 literal->n_moduli);
    for (int i = 0; i < 3; i++) {
        f->level[i] = to_ref(&literal->level[i]);
    }
    f->all = (ckks_ref_set){.count = 5, .id = {0, 1, 2, 3, 4}};
    f->x = world_vector(&f->w);
    f->y = world_vector(&f->w);
    sotto_seed seed;
    sotto_seed_from_text(&seed, "reference data");
    sotto_stream_init(&f->stream, &seed);
    world_random(&f->stream, f->x, f->w.slots, 2);
    world_random(&f->stream, f->y, f->w.slots, 1);
    return f;
}

static void teardown(fixture *f)
{
    free(f->x);
    free(f->y);
    world_free(&f->w);
    free(f);
}

static void ok(fixture *f, sotto_status status)
{
    if (status != SOTTO_OK) {
        fail_msg("%s", f->w.ev->error.text);
    }
}

static uint64_t *new_poly(const fixture *f, int n_limbs)
{
    uint64_t *p = calloc((size_t)n_limbs * f->ring.n, sizeof *p);
    assert_non_null(p);
    return p;
}

/* Coefficients of component i of a ciphertext. */
static uint64_t *component(const fixture *f, const ckks_ct *ct, int i)
{
    const ckks_ref_set *set = &f->level[ct->ct.level];
    const size_t stride = f->w.context->ring->stride;
    uint64_t *p = new_poly(f, set->count);
    for (int l = 0; l < set->count; l++) {
        ckks_ref_from_values(&f->ring, set->id[l], p + (size_t)l * f->ring.n,
                             ct->ct.data +
                                 ((size_t)i * (size_t)set->count + (size_t)l) *
                                     stride);
    }
    return p;
}

static void assert_component(const fixture *f, const ckks_ct *ct, int i,
                             const uint64_t *want)
{
    const ckks_ref_set *set = &f->level[ct->ct.level];
    uint64_t *have = component(f, ct, i);
    assert_memory_equal(have, want,
                        (size_t)set->count * f->ring.n * sizeof *have);
    free(have);
}

/* Slots by the definition: Σ c_i·s^i by Horner, lift, embed, divide. */
static void ref_decrypt(const fixture *f, const ckks_ct *ct, long double *re,
                        long double *im)
{
    const ckks_ref_set *set = &f->level[ct->ct.level];
    const size_t n = f->ring.n;
    uint64_t *phase = component(f, ct, ct->ct.n_components - 1);
    for (int i = ct->ct.n_components - 2; i >= 0; i--) {
        uint64_t *c = component(f, ct, i);
        uint64_t *product = new_poly(f, set->count);
        for (int l = 0; l < set->count; l++) {
            const uint64_t q = f->ring.q[set->id[l]];
            const size_t at = (size_t)l * n;
            ckks_ref_mul_small(&f->ring, set->id[l], product + at, phase + at,
                               f->w.secret->small);
            for (size_t k = 0; k < n; k++) {
                phase[at + k] = ckks_ref_add_mod(product[at + k], c[at + k], q);
            }
        }
        free(c);
        free(product);
    }
    long double *coefficient = malloc(n * sizeof *coefficient);
    ckks_ref_lift(&f->ring, set, coefficient, phase);
    for (size_t k = 0; k < n; k++) {
        coefficient[k] /= (long double)ct->scale;
    }
    ckks_ref_embed(n, re, im, coefficient);
    free(coefficient);
    free(phase);
}

/* The reference finds what the library finds, to double precision. */
static void assert_decrypts_alike(fixture *f, const ckks_ct *ct,
                                  const double *want, double tolerance)
{
    double *re = world_vector(&f->w);
    double *im = world_vector(&f->w);
    long double *ref_re = malloc(f->w.slots * sizeof *ref_re);
    long double *ref_im = malloc(f->w.slots * sizeof *ref_im);
    world_decrypt(&f->w, re, im, ct);
    ref_decrypt(f, ct, ref_re, ref_im);
    for (size_t j = 0; j < f->w.slots; j++) {
        assert_true(fabs((double)ref_re[j] - re[j]) < 0x1p-44);
        assert_true(fabs((double)ref_im[j] - im[j]) < 0x1p-44);
        assert_true(fabs((double)ref_re[j] - want[j]) < tolerance);
    }
    free(re);
    free(im);
    free(ref_re);
    free(ref_im);
}

static void test_ref_decrypts_library(void **state)
{
    (void)state;
    fixture *f = setup();
    for (int level = 0; level < 3; level++) {
        ckks_ct ct = world_encrypt(&f->w, f->x, 1.7 * 0x1p+25, level);
        assert_decrypts_alike(f, &ct, f->x, 0x1p-15);
        ckks_ct_clear(&ct);
    }
    double *cube = world_vector(&f->w);
    ckks_ct a = world_encrypt(&f->w, f->x, 1.7 * 0x1p+28, 0);
    ckks_ct out = world_ct(&f->w);
    ok(f, ckks_square(f->w.ev, &out, &a));
    ok(f, ckks_mul(f->w.ev, &out, &out, &a));
    for (size_t j = 0; j < f->w.slots; j++) {
        cube[j] = f->x[j] * f->x[j] * f->x[j];
    }
    assert_decrypts_alike(f, &out, cube, 0x1p-14);
    ok(f, ckks_relinearise_rescale(f->w.ev, &out, &out, 1));
    assert_decrypts_alike(f, &out, cube, 0x1p-14);
    free(cube);
    ckks_ct_clear(&a);
    ckks_ct_clear(&out);
    teardown(f);
}

/* b = m + e - a·s with errors and randomness of the test's own. */
static ckks_ct ref_encrypt(fixture *f, const double *x, double scale, int level)
{
    const ckks_ref_set *set = &f->level[level];
    const size_t n = f->ring.n;
    const size_t stride = f->w.context->ring->stride;
    ckks_ct ct = world_ct(&f->w);
    ok(f, rlwe_ct_reshape(&ct.ct, f->w.context, level, 2, NULL));
    memcpy(ct.ct.key_id, f->w.secret->key_id, RLWE_KEY_ID_BYTES);
    ct.scale = scale;
    long double *re = calloc(n, sizeof *re);
    long double *im = calloc(n, sizeof *im);
    long double *m = calloc(n, sizeof *m);
    for (size_t j = 0; j < f->w.slots; j++) {
        re[j] = (long double)x[j] * (long double)scale;
    }
    ckks_ref_unembed(n, m, re, im);
    for (size_t k = 0; k < n; k++) { /* rounding and an error up to ±7 */
        m[k] =
            rintl(m[k]) + (long double)(sotto_stream_u64(&f->stream) % 15) - 7;
    }
    uint64_t *a = new_poly(f, 1);
    uint64_t *b = new_poly(f, 1);
    for (int l = 0; l < set->count; l++) {
        const int id = set->id[l];
        const uint64_t q = f->ring.q[id];
        for (size_t k = 0; k < n; k++) {
            a[k] = sotto_stream_u64(&f->stream) % q;
        }
        ckks_ref_mul_small(&f->ring, id, b, a, f->w.secret->small);
        for (size_t k = 0; k < n; k++) {
            const long double r = fmodl(m[k], (long double)q);
            const uint64_t residue = (uint64_t)(r < 0 ? r + (long double)q : r);
            b[k] = ckks_ref_sub_mod(residue, b[k], q);
        }
        ckks_ref_to_values(&f->ring, id, ct.ct.data + (size_t)l * stride, b);
        ckks_ref_to_values(&f->ring, id,
                           ct.ct.data + (size_t)(set->count + l) * stride, a);
    }
    free(re);
    free(im);
    free(m);
    free(a);
    free(b);
    return ct;
}

static void test_library_decrypts_ref(void **state)
{
    (void)state;
    fixture *f = setup();
    for (int level = 0; level < 3; level++) {
        ckks_ct ct = ref_encrypt(f, f->x, 1.1 * 0x1p+25, level);
        assert_true(world_error(&f->w, &ct, f->x) < 0x1p-16);
        ckks_ct_clear(&ct);
    }
    /* and computes with it */
    ckks_ct a = ref_encrypt(f, f->x, 1.1 * 0x1p+30, 0);
    ok(f, ckks_square(f->w.ev, &a, &a));
    ok(f, ckks_relinearise(f->w.ev, &a, &a));
    for (size_t j = 0; j < f->w.slots; j++) {
        f->y[j] = f->x[j] * f->x[j];
    }
    assert_true(world_error(&f->w, &a, f->y) < 0x1p-19);
    ckks_ct_clear(&a);
    teardown(f);
}

static void test_encode_matches_ref(void **state)
{
    (void)state;
    fixture *f = setup();
    const double scale = 1.9 * 0x1p+40;
    uint64_t *plain = sotto_calloc(rlwe_level_words(f->w.context, 0), 8);
    assert_int_equal(ckks_encode(f->w.encoder, f->w.context, plain, f->x, f->y,
                                 f->w.slots, scale, 0, &f->w.arena, NULL),
                     SOTTO_OK);
    ckks_ct holder = {.ct = {.level = 0, .n_components = 1, .data = plain}};
    uint64_t *p = component(f, &holder, 0);
    long double *have = malloc(f->ring.n * sizeof *have);
    long double *want = malloc(f->ring.n * sizeof *want);
    long double *re = malloc(f->w.slots * sizeof *re);
    long double *im = malloc(f->w.slots * sizeof *im);
    for (size_t j = 0; j < f->w.slots; j++) {
        re[j] = (long double)f->x[j] * (long double)scale;
        im[j] = (long double)f->y[j] * (long double)scale;
    }
    ckks_ref_lift(&f->ring, &f->level[0], have, p);
    ckks_ref_unembed(f->ring.n, want, re, im);
    for (size_t k = 0; k < f->ring.n; k++) {
        assert_true(have[k] == rintl(have[k]));
        assert_true(fabsl(have[k] - want[k]) < 0.51L);
    }
    free(p);
    free(have);
    free(want);
    free(re);
    free(im);
    sotto_free(plain);
    teardown(f);
}

static void test_product_bits(void **state)
{
    (void)state;
    fixture *f = setup();
    for (int level = 0; level < 2; level++) {
        ckks_ct a = world_encrypt(&f->w, f->x, 0x1p+20, level);
        ckks_ct b = world_encrypt(&f->w, f->y, 0x1p+21, level);
        ckks_ct out = world_ct(&f->w);
        ok(f, ckks_mul(f->w.ev, &out, &a, &b));
        const ckks_ref_set *set = &f->level[level];
        for (int k = 0; k < 3; k++) {
            uint64_t *want = new_poly(f, set->count);
            for (int i = 0; i < 2; i++) {
                if (k - i < 0 || k - i > 1) {
                    continue;
                }
                uint64_t *x = component(f, &a, i);
                uint64_t *y = component(f, &b, k - i);
                for (int l = 0; l < set->count; l++) {
                    const size_t at = (size_t)l * f->ring.n;
                    ckks_ref_mul_add(&f->ring, set->id[l], want + at, x + at,
                                     y + at);
                }
                free(x);
                free(y);
            }
            assert_component(f, &out, k, want);
            free(want);
        }
        ckks_ct_clear(&a);
        ckks_ct_clear(&b);
        ckks_ct_clear(&out);
    }
    teardown(f);
}

static void test_rescale_bits(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_ct a = world_encrypt(&f->w, f->x, 0x1p+40, 0);
    ckks_ct out = world_ct(&f->w);
    ok(f, ckks_square(f->w.ev, &a, &a));
    for (int level = 1; level < 3; level++) {
        ok(f, ckks_rescale(f->w.ev, &out, &a, level));
        for (int i = 0; i < 3; i++) {
            uint64_t *c = component(f, &a, i);
            uint64_t *want = new_poly(f, f->level[level].count);
            ckks_ref_divide(&f->ring, &f->level[level], want,
                            &f->level[level - 1], c);
            assert_component(f, &out, i, want);
            free(c);
            free(want);
        }
        ok(f, rlwe_ct_copy(&a.ct, f->w.context, &out.ct, NULL));
    }
    ckks_ct_clear(&a);
    ckks_ct_clear(&out);
    teardown(f);
}

/* u += Σ_j digit_j(x)·key_j over level 0 and the special moduli. */
static void ref_switch_add(const fixture *f, uint64_t *const *u,
                           const uint64_t *x, rlwe_key_target target)
{
    static const ckks_ref_set digit[2] = {{1, {0}}, {2, {1, 2}}};
    const size_t n = f->ring.n;
    const rlwe_switch_key *key =
        rlwe_keyset_find(f->w.keys, f->w.context, target, 0);
    uint64_t *up = new_poly(f, 5);
    uint64_t *limb = new_poly(f, 1);
    for (int j = 0; j < 2; j++) {
        ckks_ref_convert(&f->ring, &f->all, up, &digit[j],
                         x + (size_t)digit[j].id[0] * n);
        for (int i = 0; i < digit[j].count; i++) { /* itself, where it lives */
            const size_t at = (size_t)digit[j].id[i] * n;
            memcpy(up + at, x + at, n * sizeof *up);
        }
        for (int m = 0; m < 5; m++) {
            for (int half = 0; half < 2; half++) {
                ckks_ref_from_values(
                    &f->ring, m, limb,
                    rlwe_switch_key_limb(key, f->w.context, m, j, half));
                ckks_ref_mul_add(&f->ring, m, u[half] + (size_t)m * n,
                                 up + (size_t)m * n, limb);
            }
        }
    }
    free(up);
    free(limb);
}

/* (P·c + u)/(P·…) down to a level. */
static uint64_t *ref_mod_down(const fixture *f, uint64_t *u, const uint64_t *c,
                              int level)
{
    const size_t n = f->ring.n;
    uint64_t *out = new_poly(f, f->level[level].count);
    for (int l = 0; c && l < 3; l++) {
        const uint64_t q = f->ring.q[l];
        const uint64_t p = ref_mul_mod(f->ring.q[3] % q, f->ring.q[4] % q, q);
        for (size_t k = 0; k < n; k++) {
            const size_t at = (size_t)l * n + k;
            u[at] = ckks_ref_add_mod(u[at], ref_mul_mod(p, c[at], q), q);
        }
    }
    ckks_ref_divide(&f->ring, &f->level[level], out, &f->all, u);
    return out;
}

static void test_relinearise_bits(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_ct a = world_encrypt(&f->w, f->x, 0x1p+25, 0);
    ckks_ct out = world_ct(&f->w);
    ckks_ct cube = world_ct(&f->w);
    ok(f, ckks_square(f->w.ev, &cube, &a));
    ok(f, ckks_mul(f->w.ev, &cube, &cube, &a));
    for (int level = 0; level < 2; level++) {
        uint64_t *u[2] = {new_poly(f, 5), new_poly(f, 5)};
        for (int i = 2; i < 4; i++) {
            const rlwe_key_target target = {RLWE_KEY_POWER, (uint64_t)i};
            uint64_t *x = component(f, &cube, i);
            ref_switch_add(f, u, x, target);
            free(x);
        }
        if (level == 0) {
            ok(f, ckks_relinearise(f->w.ev, &out, &cube));
        } else {
            ok(f, ckks_relinearise_rescale(f->w.ev, &out, &cube, level));
        }
        for (int i = 0; i < 2; i++) {
            uint64_t *c = component(f, &cube, i);
            uint64_t *want = ref_mod_down(f, u[i], c, level);
            assert_component(f, &out, i, want);
            free(c);
            free(want);
            free(u[i]);
        }
    }
    ckks_ct_clear(&a);
    ckks_ct_clear(&out);
    ckks_ct_clear(&cube);
    teardown(f);
}

static void test_rotate_bits(void **state)
{
    (void)state;
    fixture *f = setup();
    const uint64_t galois = 5 * 5 * 5;
    const rlwe_key_target target = {RLWE_KEY_GALOIS, galois};
    ckks_ct a = world_encrypt(&f->w, f->x, 0x1p+25, 0);
    ckks_ct out = world_ct(&f->w);
    ok(f, ckks_rotate(f->w.ev, &out, &a, 3));
    uint64_t *moved[2];
    for (int i = 0; i < 2; i++) {
        uint64_t *c = component(f, &a, i);
        moved[i] = new_poly(f, 3);
        for (int l = 0; l < 3; l++) {
            const size_t at = (size_t)l * f->ring.n;
            ref_automorphism(moved[i] + at, c + at, f->ring.n, galois,
                             f->ring.q[l]);
        }
        free(c);
    }
    uint64_t *u[2] = {new_poly(f, 5), new_poly(f, 5)};
    ref_switch_add(f, u, moved[1], target);
    for (int i = 0; i < 2; i++) {
        uint64_t *want = ref_mod_down(f, u[i], i == 0 ? moved[0] : NULL, 0);
        assert_component(f, &out, i, want);
        free(want);
        free(u[i]);
        free(moved[i]);
    }
    ckks_ct_clear(&a);
    ckks_ct_clear(&out);
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref_decrypts_library),
        cmocka_unit_test(test_library_decrypts_ref),
        cmocka_unit_test(test_encode_matches_ref),
        cmocka_unit_test(test_product_bits),
        cmocka_unit_test(test_rescale_bits),
        cmocka_unit_test(test_relinearise_bits),
        cmocka_unit_test(test_rotate_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
