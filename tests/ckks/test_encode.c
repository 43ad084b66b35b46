/* SPDX-License-Identifier: MIT
 * Encoding against a naive embedding, accuracy, constants, rounding, errors.
 */
#include "ckks/encode.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ckks/round_internal.h"
#include "ntt/poly.h"
#include "tests/support/ckks_world.h"
#include "tests/support/fail.h"

/* Context and encoder without keys. */
typedef struct bench {
    rlwe_context *context;
    ckks_encoder *encoder;
    sotto_arena arena;
    sotto_stream stream;
    size_t slots;
    int level;
    uint64_t *poly;
    double *re, *im, *re2, *im2;
} bench;

static bench bench_new(int log2_n, const double *log2_q, const char *level)
{
    const char *const levels[] = {level, NULL};
    const world_spec spec = {
        .log2_n = log2_n, .log2_q = log2_q, .level = levels};
    const rlwe_params_literal literal = world_literal(&spec);
    bench b = {0};
    assert_int_equal(rlwe_context_new(&b.context, &literal, NULL), SOTTO_OK);
    assert_int_equal(ckks_encoder_new(&b.encoder, b.context, NULL), SOTTO_OK);
    b.arena = sotto_arena_init(ckks_encode_scratch(b.context));
    b.slots = ntt_ring_slots(&b.context->ring->ring);
    b.poly = sotto_calloc(rlwe_level_words(b.context, 0), sizeof *b.poly);
    b.re = sotto_calloc(b.slots, sizeof(double));
    b.im = sotto_calloc(b.slots, sizeof(double));
    b.re2 = sotto_calloc(b.slots, sizeof(double));
    b.im2 = sotto_calloc(b.slots, sizeof(double));
    sotto_seed seed;
    sotto_seed_from_text(&seed, "encode");
    sotto_stream_init(&b.stream, &seed);
    return b;
}

static void bench_free(bench *b)
{
    sotto_free(b->poly);
    sotto_free(b->re);
    sotto_free(b->im);
    sotto_free(b->re2);
    sotto_free(b->im2);
    sotto_arena_clear(&b->arena);
    ckks_encoder_free(b->encoder);
    rlwe_context_free(b->context);
}

static void randomise(bench *b, double bound)
{
    world_random(&b->stream, b->re, b->slots, bound);
    world_random(&b->stream, b->im, b->slots, bound);
}

static sotto_status encode(bench *b, const double *im, double scale)
{
    return ckks_encode(b->encoder, b->context, b->poly, b->re, im, b->slots,
                       scale, 0, &b->arena, NULL);
}

static void decode(bench *b, double scale)
{
    ckks_decode(b->encoder, b->context, b->re2, b->im2, b->slots, b->poly,
                scale, 0, &b->arena);
}

/* The exponent of the root of slot j. */
static uint64_t exponent_of(const bench *b, size_t j)
{
    return ntt_ring_rotation(&b->context->ring->ring, (int64_t)j);
}

/* Coefficient k of the encoding by the definition, times scale:
 * m_k = 2/N · Σ_j Re(z_j·zeta^(-k·e_j)). */
static long double naive_coefficient(const bench *b, const long double *cosine,
                                     size_t k, double scale)
{
    const uint64_t order = 4 * b->slots;
    long double sum = 0;
    for (size_t j = 0; j < b->slots; j++) {
        const uint64_t e = exponent_of(b, j) * k % order;
        /* sin(x) = cos(x - π/2) */
        sum += (long double)b->re[j] * cosine[e] +
               (long double)b->im[j] * cosine[(e + 3 * order / 4) % order];
    }
    return sum / (long double)b->slots * (long double)scale;
}

static long double *cosine_table(uint64_t order)
{
    const long double pi = 3.14159265358979323846264338327950288L;
    long double *cosine = calloc(order, sizeof *cosine);
    assert_non_null(cosine);
    for (uint64_t e = 0; e < order; e++) {
        cosine[e] = cosl(2 * pi * (long double)e / (long double)order);
    }
    return cosine;
}

/* The centred coefficient k of the polynomial in b->poly (after an inverse
 * NTT), from two limbs. */
static long double coefficient(const bench *b, size_t k)
{
    const rns_ring *ring = b->context->ring;
    const zq_modulus *m0 = rns_modulus(ring, 0);
    const zq_modulus *m1 = rns_modulus(ring, 1);
    const uint64_t x0 = b->poly[k];
    const uint64_t x1 = b->poly[ring->stride + k];
    const uint64_t inverse = zq_inv(m0->q % m1->q, m1);
    const uint64_t digit = zq_mul(zq_sub(x1, x0 % m1->q, m1->q), inverse, m1);
    zq_i128 value = (zq_i128)digit * (zq_i128)m0->q + (zq_i128)x0;
    const zq_i128 q = (zq_i128)m0->q * (zq_i128)m1->q;
    if (value > q / 2) {
        value -= q;
    }
    return (long double)value;
}

static void check_naive(bench *b, double scale)
{
    const size_t n = 2 * b->slots;
    long double *cosine = cosine_table(2 * n);
    assert_int_equal(encode(b, b->im, scale), SOTTO_OK);
    poly_inverse(b->context->ring, rlwe_level_set(b->context, 0), b->poly);
    long double worst = 0;
    for (size_t k = 0; k < n; k++) {
        const long double want = naive_coefficient(b, cosine, k, scale);
        const long double error = fabsl(coefficient(b, k) - want);
        worst = error > worst ? error : worst;
    }
    /* half from rounding, the rest from doubles: 2^-48 of scale */
    assert_true(worst <= 0.5L + 0x1p-48L * scale);
    assert_true(worst >= 0.4L); /* it does round */
    free(cosine);
}

static void test_encode_matches_naive_embedding(void **state)
{
    (void)state;
    static const double log2_q[] = {40, 41, 0};
    bench b = bench_new(10, log2_q, "ab");
    randomise(&b, 1);
    check_naive(&b, 1.37 * 0x1p+30);
    memset(b.im, 0, b.slots * sizeof *b.im);
    check_naive(&b, 0x1p+25);
    bench_free(&b);
}

/* A single slot: its polynomial is known, and no other slot may see it. */
static void test_encode_single_slots(void **state)
{
    (void)state;
    static const double log2_q[] = {40, 41, 0};
    bench b = bench_new(10, log2_q, "ab");
    const size_t n = 2 * b.slots;
    const size_t at[] = {0, 1, b.slots / 2, b.slots - 1};
    const long double pi = 3.14159265358979323846264338327950288L;
    for (size_t i = 0; i < 4; i++) {
        memset(b.re, 0, b.slots * sizeof *b.re);
        memset(b.im, 0, b.slots * sizeof *b.im);
        b.re[at[i]] = 1;
        assert_int_equal(encode(&b, NULL, 0x1p+45), SOTTO_OK);
        uint64_t *const poly = b.poly;
        poly_inverse(b.context->ring, rlwe_level_set(b.context, 0), poly);
        for (size_t k = 0; k < n; k++) {
            const uint64_t e = exponent_of(&b, at[i]) * k % (2 * n);
            const long double want =
                0x1p+46L / n * cosl(pi * (long double)e / (long double)n);
            assert_true(fabsl(coefficient(&b, k) - want) < 0.6L);
        }
        poly_forward(b.context->ring, rlwe_level_set(b.context, 0), poly);
        decode(&b, 0x1p+45);
        for (size_t j = 0; j < b.slots; j++) {
            assert_true(fabs(b.re2[j] - b.re[j]) < 0x1p-38);
            assert_true(fabs(b.im2[j]) < 0x1p-38);
        }
    }
    bench_free(&b);
}

static double largest_difference(const double *a, const double *b, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs(a[i] - b[i]);
        largest = d <= largest ? largest : d;
        assert_true(d == d);
    }
    return largest;
}

/* decode(encode(x)) for one scale: what may be lost is the rounding to
 * integers (variance N/24 in each part) and 2^-40 of the largest slot. */
static double round_trip(bench *b, double bound, double scale, bool complex)
{
    randomise(b, bound);
    if (!complex) {
        memset(b->im, 0, b->slots * sizeof *b->im);
    }
    assert_int_equal(encode(b, complex ? b->im : NULL, scale), SOTTO_OK);
    decode(b, scale);
    const double rounding = 7 * sqrt((double)b->slots / 12) / scale;
    const double re = largest_difference(b->re, b->re2, b->slots);
    const double im = largest_difference(b->im, b->im2, b->slots);
    const double largest = re > im ? re : im;
    const size_t end = b->slots - 1;
    assert_true(largest < rounding + bound * 0x1p-40);
    assert_true(fabs(b->re[0] - b->re2[0]) < rounding + bound * 0x1p-40);
    assert_true(fabs(b->re[end] - b->re2[end]) < rounding + bound * 0x1p-40);
    return (largest > rounding ? largest - rounding : 0) / bound;
}

static void test_decode_inverts_encode(void **state)
{
    (void)state;
    static const double log2_q[] = {46, 32, 45.5, 0};
    static const double log2_scale[] = {20.3, 31, 47.9, 60.7, 77.01, 100.4};
    for (int log2_n = 10; log2_n <= 17; log2_n++) {
        bench b = bench_new(log2_n, log2_q, "abc");
        double worst = 0;
        for (size_t i = log2_n > 14 ? 4 : 0; i < 6; i++) {
            const double scale = exp2(log2_scale[i]);
            const double error =
                fmax(round_trip(&b, i % 2 ? 1 : 300, scale, i % 3 == 0),
                     round_trip(&b, 0x1p-9, scale, i % 2 == 0));
            worst = error > worst ? error : worst;
        }
        print_message("# N = 2^%d: relative error of doubles 2^%.1f\n", log2_n,
                      worst > 0 ? log2(worst) : -99.0);
        bench_free(&b);
    }
}

/* Values beside 0 and N/2 - 1 must not lean on the others. */
static void test_decode_adversarial_slots(void **state)
{
    (void)state;
    static const double log2_q[] = {46, 32, 45.5, 0};
    bench b = bench_new(13, log2_q, "abc");
    const double scale = 0x1.3p+80;
    for (int pattern = 0; pattern < 4; pattern++) {
        for (size_t j = 0; j < b.slots; j++) {
            const double sign = (j % 2) ? -1 : 1;
            b.re[j] = pattern == 0   ? 1
                      : pattern == 1 ? sign
                      : pattern == 2 ? (double)j / (double)b.slots
                                     : (j == 0 || j == b.slots - 1 ? 1 : 0);
        }
        assert_int_equal(encode(&b, NULL, scale), SOTTO_OK);
        decode(&b, scale);
        assert_true(largest_difference(b.re, b.re2, b.slots) < 0x1p-46);
        assert_true(largest_difference(b.im, b.im2, b.slots) < 0x1p-46);
    }
    bench_free(&b);
}

static void test_decode_of_fewer_slots(void **state)
{
    (void)state;
    static const double log2_q[] = {46, 0};
    bench b = bench_new(10, log2_q, "a");
    randomise(&b, 1);
    assert_int_equal(ckks_encode(b.encoder, b.context, b.poly, b.re, b.im, 5,
                                 0x1p+40, 0, &b.arena, NULL),
                     SOTTO_OK);
    b.re2[5] = 77;
    ckks_decode(b.encoder, b.context, b.re2, NULL, 5, b.poly, 0x1p+40, 0,
                &b.arena);
    assert_true(largest_difference(b.re, b.re2, 5) < 0x1p-30);
    assert_true(b.re2[5] == 77);
    assert_int_equal(ckks_encode(b.encoder, b.context, b.poly, b.re, b.im, 5,
                                 0x1p+40, 0, &b.arena, NULL),
                     SOTTO_OK);
    decode(&b, 0x1p+40);
    assert_true(fabs(b.re2[5]) < 0x1p-30 && fabs(b.im2[7]) < 0x1p-30);
    bench_free(&b);
}

/* Automorphisms of the ring permute the slots as ring.h says. */
static void test_encode_slot_order(void **state)
{
    (void)state;
    static const double log2_q[] = {46, 0};
    bench b = bench_new(10, log2_q, "a");
    const rns_ring *ring = b.context->ring;
    const rns_set *set = rlwe_level_set(b.context, 0);
    uint32_t *map = calloc(ring->ring.n, sizeof *map);
    uint64_t *moved = sotto_calloc(ring->stride, sizeof *moved);
    randomise(&b, 1);
    for (int64_t steps = -3; steps <= 3; steps++) {
        assert_int_equal(encode(&b, b.im, 0x1p+40), SOTTO_OK);
        ntt_ring_automorphism(&ring->ring, map,
                              ntt_ring_rotation(&ring->ring, steps));
        poly_permute(ring, set, moved, b.poly, map);
        poly_copy(ring, set, b.poly, moved);
        decode(&b, 0x1p+40);
        for (size_t j = 0; j < b.slots; j++) {
            const size_t from = (j + b.slots + (size_t)steps) % b.slots;
            assert_true(fabs(b.re2[j] - b.re[from]) < 0x1p-30);
            assert_true(fabs(b.im2[j] - b.im[from]) < 0x1p-30);
        }
    }
    assert_int_equal(encode(&b, b.im, 0x1p+40), SOTTO_OK);
    ntt_ring_automorphism(&ring->ring, map, ntt_ring_conjugation(&ring->ring));
    poly_permute(ring, set, moved, b.poly, map);
    poly_copy(ring, set, b.poly, moved);
    decode(&b, 0x1p+40);
    for (size_t j = 0; j < b.slots; j++) {
        assert_true(fabs(b.re2[j] - b.re[j]) < 0x1p-30);
        assert_true(fabs(b.im2[j] + b.im[j]) < 0x1p-30);
    }
    free(map);
    sotto_free(moved);
    bench_free(&b);
}

static void test_encode_constant_equals_vector(void **state)
{
    (void)state;
    static const double log2_q[] = {46, 32, 45.5, 0};
    bench b = bench_new(11, log2_q, "abc");
    const rns_set *set = rlwe_level_set(b.context, 0);
    static const double value[] = {1,   -1,      0.1,       -3.7,
                                   0.0, 1e-5,    123456.75, -0x1p-30,
                                   0.5, 1.0 / 3, -1e-30,    77};
    for (size_t i = 0; i < 12; i++) {
        const double scale = exp2(20 + 6.37 * (double)i);
        uint64_t residue[RNS_MAX_LIMBS];
        for (size_t j = 0; j < b.slots; j++) {
            b.re[j] = value[i];
        }
        assert_int_equal(encode(&b, NULL, scale), SOTTO_OK);
        assert_int_equal(
            ckks_encode_constant(b.context, residue, value[i], scale, 0, NULL),
            SOTTO_OK);
        for (int l = 0; l < set->count; l++) {
            const uint64_t *limb = poly_limb(b.context->ring, b.poly, l);
            for (size_t k = 0; k < 2 * b.slots; k++) {
                assert_int_equal(limb[k], residue[l]);
            }
        }
    }
    bench_free(&b);
}

/* rint(x) mod q by libm, whose fmod is exact. */
static uint64_t reduce_by_libm(double x, uint64_t q)
{
    const double r = fmod(rint(x), (double)q);
    return (uint64_t)(r < 0 ? r + (double)q : r);
}

static void check_constant(const bench *b, double product)
{
    uint64_t residue[RNS_MAX_LIMBS];
    const rns_set *set = rlwe_level_set(b->context, 0);
    assert_int_equal(
        ckks_encode_constant(b->context, residue, product, 1, 0, NULL),
        SOTTO_OK);
    for (int l = 0; l < set->count; l++) {
        const uint64_t q = rns_modulus(b->context->ring, set->id[l])->q;
        assert_int_equal(residue[l], reduce_by_libm(product, q));
    }
}

/* Every size of number up to the modulus (1410 bits: more than a double can
 * be), ties, and the neighbourhood of word boundaries. */
static void test_encode_constant_rounds_exactly(void **state)
{
    (void)state;
    double log2_q[31] = {0};
    char level[31] = {0};
    for (int i = 0; i < 26; i++) {
        log2_q[i] = 30 + 0.7 * i;
        level[i] = (char)('a' + i);
    }
    bench b = bench_new(10, log2_q, level);
    for (int e = -3; e < 1000; e++) {
        const double log2_bound = b.context->chain.level[0].log2_q - 2;
        if (e > log2_bound) {
            break;
        }
        for (int i = 0; i < 20; i++) {
            const uint64_t r = sotto_stream_u64(&b.stream);
            const double mantissa = 1 + (double)(r >> 12) * 0x1p-52;
            check_constant(&b, ldexp(r & 1 ? mantissa : -mantissa, e));
        }
        const double power = ldexp(1, e);
        const double near[] = {
            power,       nextafter(power, 0), nextafter(power, HUGE_VAL),
            power / 2,   power * 0.75,        power + 0.5,
            power - 0.5, 1.5 * power + 0.5};
        for (size_t i = 0; i < 8; i++) {
            check_constant(&b, near[i]);
            check_constant(&b, -near[i]);
        }
    }
    bench_free(&b);
}

/* A modulus beyond the largest double: small values survive. */
static void test_encode_beyond_double(void **state)
{
    (void)state;
    double log2_q[27] = {0};
    char level[27] = {0};
    for (int i = 0; i < 26; i++) {
        log2_q[i] = 46.9;
        level[i] = (char)('a' + i);
    }
    bench b = bench_new(10, log2_q, level);
    assert_true(b.context->chain.level[0].log2_q > 1024);
    randomise(&b, 1);
    const double scale = 0x1.7p+90;
    assert_int_equal(encode(&b, b.im, scale), SOTTO_OK);
    decode(&b, scale);
    assert_true(largest_difference(b.re, b.re2, b.slots) < 0x1p-45);
    assert_true(largest_difference(b.im, b.im2, b.slots) < 0x1p-45);
    bench_free(&b);
}

static void test_encode_errors_leave_output(void **state)
{
    (void)state;
    static const double log2_q[] = {46, 0};
    bench b = bench_new(10, log2_q, "a");
    sotto_error err;
    const double big = 0x1p+45;
    const struct {
        double value, scale;
        sotto_status want;
        const char *text;
    } cases[] = {
        {NAN, 1, SOTTO_ERR_RANGE, "slot 3"},
        {HUGE_VAL, 1, SOTTO_ERR_RANGE, "slot 3"},
        {-HUGE_VAL, 1, SOTTO_ERR_RANGE, "slot 3"},
        {1e300, 1e300, SOTTO_ERR_RANGE, "half the modulus"},
        {big, 0x1p+10, SOTTO_ERR_RANGE, "half the modulus"},
        {1, 0, SOTTO_ERR_SCALE, "scale"},
        {1, -1, SOTTO_ERR_SCALE, "scale"},
        {1, NAN, SOTTO_ERR_SCALE, "scale"},
        {1, HUGE_VAL, SOTTO_ERR_SCALE, "scale"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int imaginary = 0; imaginary < 2; imaginary++) {
            memset(b.re, 0, b.slots * sizeof *b.re);
            memset(b.im, 0, b.slots * sizeof *b.im);
            (imaginary ? b.im : b.re)[3] = cases[i].value;
            memset(b.poly, 0x5a, 64);
            err.text[0] = '\0';
            assert_int_equal(ckks_encode(b.encoder, b.context, b.poly, b.re,
                                         b.im, b.slots, cases[i].scale, 0,
                                         &b.arena, &err),
                             cases[i].want);
            assert_non_null(strstr(err.text, cases[i].text));
            assert_int_equal(b.poly[0], 0x5a5a5a5a5a5a5a5a);
            assert_int_equal(b.arena.used, 0);
        }
        uint64_t residue[1] = {42};
        err.text[0] = '\0';
        assert_int_equal(ckks_encode_constant(b.context, residue,
                                              cases[i].value, cases[i].scale, 0,
                                              &err),
                         cases[i].want);
        assert_int_equal(residue[0], 42);
        assert_true(strlen(err.text) > 10);
    }
    bench_free(&b);
}

/* The largest constants that fit do, the smallest that do not are refused. */
static void test_encode_constant_bound(void **state)
{
    (void)state;
    static const double log2_q[] = {46, 0};
    bench b = bench_new(10, log2_q, "a");
    const uint64_t q = rns_modulus(b.context->ring, 0)->q;
    const double half = (double)q / 2;
    uint64_t residue[1];
    check_constant(&b, floor(half * (1 - 0x1p-39)));
    check_constant(&b, -floor(half * (1 - 0x1p-39)));
    assert_int_equal(ckks_encode_constant(b.context, residue, half, 1, 0, NULL),
                     SOTTO_ERR_RANGE);
    assert_int_equal(
        ckks_encode_constant(b.context, residue, -half, 1, 0, NULL),
        SOTTO_ERR_RANGE);
    bench_free(&b);
}

static sotto_status make_encoder(void *arg)
{
    ckks_encoder *encoder = NULL;
    const sotto_status status = ckks_encoder_new(&encoder, arg, NULL);
    assert_true((status == SOTTO_OK) == (encoder != NULL));
    ckks_encoder_free(encoder);
    return status;
}

static void test_encoder_new_without_memory(void **state)
{
    (void)state;
    static const double log2_q[] = {46, 0};
    bench b = bench_new(10, log2_q, "a");
    assert_int_equal(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 100, make_encoder, b.context),
        4);
    ckks_encoder_free(NULL);
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_matches_naive_embedding),
        cmocka_unit_test(test_encode_single_slots),
        cmocka_unit_test(test_decode_inverts_encode),
        cmocka_unit_test(test_decode_adversarial_slots),
        cmocka_unit_test(test_decode_of_fewer_slots),
        cmocka_unit_test(test_encode_slot_order),
        cmocka_unit_test(test_encode_constant_equals_vector),
        cmocka_unit_test(test_encode_constant_rounds_exactly),
        cmocka_unit_test(test_encode_beyond_double),
        cmocka_unit_test(test_encode_errors_leave_output),
        cmocka_unit_test(test_encode_constant_bound),
        cmocka_unit_test(test_encoder_new_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
