/* SPDX-License-Identifier: MIT
 * Predicted noise against measured noise, from both sides: what an operation
 * adds lies within a factor 1.3 of the variance that ckks/noise.h predicts.
 * Noise that vanished would be a security bug; noise that grew, a wrong result.
 */
#include "ckks/noise.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/ckks_world.h"

static const double log2_q[] = {46, 32, 32.5, 47, 40, 45, 0};
static const char *const levels[] = {"abc", "bc", "c", NULL};
static const char *const steps[] = {"01", "12", "02", NULL};

static const int64_t rotations[] = {3, 0};

static world make_world(int log2_n, const char *gadget, const char *seed)
{
    const char *const gadgets[] = {gadget, NULL};
    const world_spec spec = {.log2_n = log2_n,
                             .log2_q = log2_q,
                             .level = levels,
                             .step = steps,
                             .gadget = gadget ? gadgets : NULL,
                             .rotation = gadget ? rotations : NULL,
                             .public_special = 'd',
                             .max_power = gadget ? 4 : 0};
    return world_new(&spec, seed);
}

/* Slots of a phase, in integer units. */
typedef struct slots {
    double *re, *im;
} slots;

static slots phase_of(world *w, ckks_ct *ct)
{
    const slots s = {world_vector(w), world_vector(w)};
    const double scale = ct->scale;
    ct->scale = 1;
    world_decrypt(w, s.re, s.im, ct);
    ct->scale = scale;
    return s;
}

static void slots_free(slots s)
{
    free(s.re);
    free(s.im);
}

/* Collects squared errors of one kind. */
typedef struct meter {
    double sum;
    double count;
} meter;

/* What came out, less what went in over the divisor. */
static void add_difference(meter *m, world *w, ckks_ct *out, slots in,
                           double divisor)
{
    const slots after = phase_of(w, out);
    for (size_t j = 0; j < w->slots; j++) {
        const double re = after.re[j] - in.re[j] / divisor;
        const double im = after.im[j] - in.im[j] / divisor;
        m->sum += re * re + im * im;
        m->count += 2;
    }
    slots_free(after);
}

static void within(const meter *m, double predicted, int log2_n,
                   const char *what)
{
    const double ratio = m->sum / m->count / predicted;
    print_message("# N = 2^%d %-34s measured/predicted variance %.3f\n", log2_n,
                  what, ratio);
    assert_true(ratio < 1.3);
    assert_true(ratio > 1 / 1.3);
}

/* A random message, so that nothing is special about the phase. */
static ckks_ct random_ct(world *w, sotto_stream *stream, double scale,
                         int level)
{
    double *x = world_vector(w);
    world_random(stream, x, w->slots, 1);
    const ckks_ct ct = world_encrypt(w, x, scale, level);
    free(x);
    return ct;
}

static sotto_stream stream_of(const char *text)
{
    sotto_seed seed;
    sotto_stream stream;
    sotto_seed_from_text(&seed, text);
    sotto_stream_init(&stream, &seed);
    return stream;
}

static void ok(const world *w, sotto_status status)
{
    if (status != SOTTO_OK) {
        fail_msg("%s", w->ev->error.text);
    }
}

static void test_fresh(void **state)
{
    (void)state;
    for (int log2_n = 10; log2_n <= 13; log2_n++) {
        world w = make_world(log2_n, NULL, "fresh");
        sotto_stream stream = stream_of("fresh data");
        double *x = world_vector(&w);
        const slots want = {x, world_vector(&w)};
        const double scale = 0x1p+20;
        meter symmetric = {0};
        meter public = {0};
        for (int t = 0; t < (1 << 14 >> log2_n) + 4; t++) {
            world_random(&stream, x, w.slots, 1);
            ckks_ct a = world_encrypt(&w, x, scale, 0);
            ckks_ct b = world_ct(&w);
            ok(&w, ckks_encrypt_public(&b, w.encoder, w.context, w.public_key,
                                       x, w.slots, scale, t % 3, &w.root,
                                       w.object++, 0, &w.arena, NULL));
            for (size_t j = 0; j < w.slots; j++) {
                x[j] *= scale;
            }
            add_difference(&symmetric, &w, &a, want, 1);
            add_difference(&public, &w, &b, want, 1);
            ckks_ct_clear(&a);
            ckks_ct_clear(&b);
        }
        within(&symmetric, ckks_noise_fresh(w.context), log2_n,
               "symmetric encryption");
        within(&public, ckks_noise_fresh_public(w.context), log2_n,
               "public-key encryption");
        slots_free(want);
        world_free(&w);
    }
}

/* Rescales of 2 to 5 components. High powers of |s(zeta)| have heavy tails, so
 * that many secrets are averaged. */
static void measure_division(int log2_n, int n_components, int to)
{
    world w = make_world(log2_n, NULL, "division");
    sotto_stream stream = stream_of("division data");
    meter m = {0};
    const int trials = n_components > 3 ? (1 << 16 >> log2_n) : 12;
    for (int t = 0; t < trials; t++) {
        char text[32];
        sotto_seed root;
        (void)snprintf(text, sizeof text, "secret %d", t);
        sotto_seed_from_text(&root, text);
        rlwe_secret_free(w.secret, w.context);
        ok(&w, rlwe_secret_new(&w.secret, w.context, &root, NULL));
        ckks_ct a = random_ct(&w, &stream, 0x1p+12, 0);
        ckks_ct out = world_ct(&w);
        ok(&w, ckks_add(w.ev, &out, &a, &a));
        for (int i = 2; i < n_components; i++) {
            ok(&w, ckks_mul(w.ev, &out, &out, &a));
        }
        const slots in = phase_of(&w, &out);
        ok(&w, ckks_rescale(w.ev, &out, &out, to));
        add_difference(&m, &w, &out, in,
                       rlwe_chain_step(&w.context->chain, 0, to)->divisor);
        slots_free(in);
        ckks_ct_clear(&a);
        ckks_ct_clear(&out);
    }
    char what[64];
    (void)snprintf(what, sizeof what, "rescale, %d components, %d removed",
                   n_components, to);
    within(&m, ckks_noise_division(w.context, n_components, to), log2_n, what);
    world_free(&w);
}

static void test_division(void **state)
{
    (void)state;
    for (int n_components = 2; n_components <= 5; n_components++) {
        measure_division(10, n_components, 1);
        measure_division(10, n_components, 2);
        measure_division(12, n_components, 1);
    }
    measure_division(11, 2, 1);
    measure_division(13, 2, 2);
    measure_division(13, 3, 1);
}

/* Relinearisation of 1 to 3 components, a rotation, and the joined rescale,
 * under one gadget. */
static void measure_switch(int log2_n, const char *gadget_text)
{
    world w = make_world(log2_n, gadget_text, "switch");
    const rlwe_gadget *gadget = &w.context->params.literal.gadget[0];
    const rlwe_chain *chain = &w.context->chain;
    sotto_stream stream = stream_of("switch data");
    meter relinearise[4] = {{0}};
    meter joined[4] = {{0}};
    meter joined_two[4] = {{0}};
    meter rotation = {0};
    meter low = {0};
    for (int t = 0; t < (log2_n > 11 ? 3 : 8); t++) {
        ckks_ct a = random_ct(&w, &stream, 0x1p+12, 0);
        ckks_ct power = world_ct(&w);
        ckks_ct out = world_ct(&w);
        ok(&w, ckks_add(w.ev, &power, &a, &a));
        for (int extra = 1; extra <= 3; extra++) {
            ok(&w, ckks_mul(w.ev, &power, &power, &a));
            const slots in = phase_of(&w, &power);
            ok(&w, ckks_relinearise(w.ev, &out, &power));
            add_difference(&relinearise[extra], &w, &out, in, 1);
            ok(&w, ckks_relinearise_rescale(w.ev, &out, &power, 1));
            add_difference(&joined[extra], &w, &out, in,
                           rlwe_chain_step(chain, 0, 1)->divisor);
            ok(&w, ckks_relinearise_rescale(w.ev, &out, &power, 2));
            add_difference(&joined_two[extra], &w, &out, in,
                           rlwe_chain_step(chain, 0, 2)->divisor);
            slots_free(in);
        }
        /* a rotation of an encryption of one number everywhere */
        double *x = world_vector(&w);
        for (size_t j = 0; j < w.slots; j++) {
            x[j] = 1;
        }
        ckks_ct same = world_encrypt(&w, x, 0x1p+20, 0);
        slots in = phase_of(&w, &same);
        ok(&w, ckks_rotate(w.ev, &out, &same, 3));
        slots rotated = {world_vector(&w), world_vector(&w)};
        for (size_t j = 0; j < w.slots; j++) {
            rotated.re[j] = in.re[(j + 3) % w.slots];
            rotated.im[j] = in.im[(j + 3) % w.slots];
        }
        add_difference(&rotation, &w, &out, rotated, 1);
        ok(&w, ckks_drop(w.ev, &same, &same, 1));
        ok(&w, ckks_rotate(w.ev, &out, &same, 3));
        add_difference(&low, &w, &out, rotated, 1);
        slots_free(in);
        slots_free(rotated);
        free(x);
        ckks_ct_clear(&same);
        ckks_ct_clear(&a);
        ckks_ct_clear(&power);
        ckks_ct_clear(&out);
    }
    char what[64];
    for (int extra = 1; extra <= 3; extra++) {
        (void)snprintf(what, sizeof what, "%s relinearise %d", gadget_text,
                       extra);
        within(&relinearise[extra],
               ckks_noise_switch(w.context, gadget, 0, extra), log2_n, what);
        (void)snprintf(what, sizeof what, "%s joined %d", gadget_text, extra);
        within(&joined[extra],
               ckks_noise_switch_rescale(w.context, gadget, 0, 1, extra),
               log2_n, what);
        (void)snprintf(what, sizeof what, "%s joined %d by two", gadget_text,
                       extra);
        within(&joined_two[extra],
               ckks_noise_switch_rescale(w.context, gadget, 0, 2, extra),
               log2_n, what);
    }
    (void)snprintf(what, sizeof what, "%s rotation", gadget_text);
    within(&rotation, ckks_noise_switch(w.context, gadget, 0, 1), log2_n, what);
    (void)snprintf(what, sizeof what, "%s rotation at level 1", gadget_text);
    within(&low, ckks_noise_switch(w.context, gadget, 1, 1), log2_n, what);
    world_free(&w);
}

static void test_switch(void **state)
{
    (void)state;
    measure_switch(10, "abc|012|d");   /* P as large as a digit */
    measure_switch(10, "abc|012|e");   /* P six bits smaller: keys dominate */
    measure_switch(10, "abc|001|df");  /* digits of two limbs, two special */
    measure_switch(10, "abc|000|def"); /* one digit */
    measure_switch(11, "abc|001|d");   /* a digit 31 bits above P */
    measure_switch(12, "abc|012|d");
    measure_switch(13, "abc|012|e");
}

/* The raw variance is the switch's without division, times P². */
static void test_switch_raw(void **state)
{
    (void)state;
    world w = make_world(10, "abc|012|e", "raw");
    const rlwe_gadget *gadget = &w.context->params.literal.gadget[0];
    const double p = (double)rns_modulus(w.context->ring, 4)->q;
    const double raw = ckks_noise_switch_raw(w.context, gadget, 0);
    const double rest = ckks_noise_division(w.context, 2, 1);
    const double whole = ckks_noise_switch(w.context, gadget, 0, 2);
    assert_true(fabs(2 * raw / p / p + rest - whole) < 1e-9 * whole);
    /* fewer limbs, less noise: the digit of modulus a dominates */
    assert_true(ckks_noise_switch_raw(w.context, gadget, 1) < raw / 1e6);
    world_free(&w);
}

/* Products of messages of one size per slot. */
static void measure_product(int log2_n, double a_size, double b_size)
{
    world w = make_world(log2_n, NULL, "product");
    sotto_stream stream = stream_of("product data");
    double *x = world_vector(&w);
    double *y = world_vector(&w);
    const slots product = {world_vector(&w), world_vector(&w)};
    const slots square = {world_vector(&w), world_vector(&w)};
    const double scale = 0x1p+20;
    const double fresh = ckks_noise_fresh(w.context);
    meter products = {0};
    meter squares = {0};
    double xx = 0;
    double yy = 0;
    for (int t = 0; t < (1 << 15 >> log2_n); t++) {
        world_random(&stream, x, w.slots, a_size);
        world_random(&stream, y, w.slots, b_size);
        ckks_ct a = world_encrypt(&w, x, scale, 0);
        ckks_ct b = world_encrypt(&w, y, scale, 0);
        ckks_ct out = world_ct(&w);
        for (size_t j = 0; j < w.slots; j++) {
            product.re[j] = x[j] * y[j] * scale * scale;
            square.re[j] = x[j] * x[j] * scale * scale;
            xx += x[j] * x[j];
            yy += y[j] * y[j];
        }
        ok(&w, ckks_mul(w.ev, &out, &a, &b));
        add_difference(&products, &w, &out, product, 1);
        ok(&w, ckks_square(w.ev, &out, &a));
        add_difference(&squares, &w, &out, square, 1);
        ckks_ct_clear(&a);
        ckks_ct_clear(&b);
        ckks_ct_clear(&out);
    }
    const double slots_seen = products.count / 2;
    const double a_rms = scale * sqrt(xx / slots_seen);
    const double b_rms = scale * sqrt(yy / slots_seen);
    within(&products, ckks_noise_product(a_rms, fresh, b_rms, fresh), log2_n,
           "product");
    within(&squares, ckks_noise_square(a_rms, fresh), log2_n, "square");
    slots_free(product);
    slots_free(square);
    free(x);
    free(y);
    world_free(&w);
}

static void test_product(void **state)
{
    (void)state;
    for (int log2_n = 10; log2_n <= 13; log2_n++) {
        measure_product(log2_n, 1, 0.1);
        measure_product(log2_n, 0.0001, 0.0002); /* as large as the noise */
        measure_product(log2_n, 0, 0);
    }
}

static void test_factor(void **state)
{
    (void)state;
    /* The true tail lies below the bound, and not far below. */
    for (double log2_n = 0; log2_n <= 20; log2_n += 4) {
        for (double confidence = 5; confidence <= 30; confidence += 5) {
            const double z = ckks_noise_factor(exp2(log2_n), confidence);
            const double tail = erfc(z / sqrt(2.0)) * exp2(log2_n);
            assert_true(tail <= exp2(-confidence));
            assert_true(tail >= exp2(-confidence - 5));
        }
    }
}

/* P(|X| > z) for a Gaussian of variance E^power/power!, E exponential. */
static double mixture_tail(double z, int power)
{
    const int n = 20000;
    const double width = 100.0 / n;
    double sum = 0;
    for (int k = 0; k < n; k++) {
        const double e = (k + 0.5) * width;
        const double variance = pow(e, power) / tgamma(power + 1.0);
        sum += exp(-e) * erfc(z / sqrt(2 * variance));
    }
    return sum * width;
}

static void test_tail_factor(void **state)
{
    (void)state;
    assert_true(ckks_noise_tail_factor(1000, 20, 0) ==
                ckks_noise_factor(1000, 20));
    for (int power = 1; power <= 4; power++) {
        for (double confidence = 10; confidence <= 40; confidence += 10) {
            const double z = ckks_noise_tail_factor(1, confidence, power);
            const double tail = mixture_tail(z, power);
            assert_true(tail <= exp2(-confidence));
            assert_true(tail >= exp2(-confidence - 1.2));
        }
    }
}

/* A sum of many rescaled ciphertexts has an exponential tail, not a Gaussian
 * one: the factor for 2^-10 holds, the Gaussian one would not. */
static void test_tail_of_a_sum(void **state)
{
    (void)state;
    world w = make_world(11, NULL, "tail");
    sotto_stream stream = stream_of("tail data");
    const double variance = ckks_noise_division(w.context, 2, 1);
    const double heavy = ckks_noise_tail_factor(1, 10, 1);
    const double light = ckks_noise_factor(1, 10);
    double above_heavy = 0;
    double above_light = 0;
    double seen = 0;
    for (int t = 0; t < 32; t++) {
        char text[32];
        sotto_seed root;
        (void)snprintf(text, sizeof text, "secret %d", t);
        sotto_seed_from_text(&root, text);
        rlwe_secret_free(w.secret, w.context);
        ok(&w, rlwe_secret_new(&w.secret, w.context, &root, NULL));
        double *error = world_vector(&w);
        const int terms = 8;
        for (int k = 0; k < terms; k++) {
            ckks_ct a = random_ct(&w, &stream, 0x1p+12, 0);
            const slots in = phase_of(&w, &a);
            ok(&w, ckks_rescale(w.ev, &a, &a, 1));
            const slots out = phase_of(&w, &a);
            const double q = rlwe_chain_step(&w.context->chain, 0, 1)->divisor;
            for (size_t j = 0; j < w.slots; j++) {
                error[j] += out.re[j] - in.re[j] / q;
            }
            slots_free(in);
            slots_free(out);
            ckks_ct_clear(&a);
        }
        for (size_t j = 0; j < w.slots; j++) {
            const double z = fabs(error[j]) / sqrt(terms * variance);
            above_heavy += z > heavy;
            above_light += z > light;
            seen++;
        }
        free(error);
    }
    print_message("# sum of rescaled: 2^%.1f beyond the tail factor, 2^%.1f "
                  "beyond the Gaussian one, promised 2^-10\n",
                  log2(above_heavy / seen), log2(above_light / seen));
    assert_true(above_heavy / seen < 0x1p-10);
    assert_true(above_heavy / seen > 0x1p-13);
    assert_true(above_light / seen > 0x1p-9);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_division),
        cmocka_unit_test(test_switch),
        cmocka_unit_test(test_switch_raw),
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_factor),
        cmocka_unit_test(test_tail_factor),
        cmocka_unit_test(test_tail_of_a_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
