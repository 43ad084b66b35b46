/* SPDX-License-Identifier: MIT
 * Sets of limbs, base conversion and division against large integers: the exact
 * formulas, and the bounds of their errors.
 */
#include "ntt/rns.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/ref/pattern.h"
#include "tests/ref/ring.h"
#include "tests/support/fail.h"

#define LOG2_N 4
#define N ((size_t)1 << LOG2_N)
#define N_LIMBS 12

static rns_set set_of(int count, const int *id)
{
    rns_set set = {.count = count};
    for (int i = 0; i < count; i++) {
        set.id[i] = (uint8_t)id[i];
    }
    return set;
}
#define SET(...)                                                               \
    set_of((int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)),            \
           (const int[]){__VA_ARGS__})

/* Moduli of all sizes in no particular order. */
static void test_moduli(uint64_t *q)
{
    static const int bits[N_LIMBS] = {46, 60, 20, 50, 32, 59,
                                      47, 8,  58, 46, 60, 33};
    for (int i = 0; i < N_LIMBS; i++) {
        uint64_t below = (uint64_t)1 << bits[i];
        bool is_new;
        do {
            q[i] = ref_prime_below(below, 2 * N);
            below = q[i];
            is_new = true;
            for (int j = 0; j < i; j++) {
                is_new = is_new && q[j] != q[i];
            }
        } while (!is_new);
    }
}

static rns_ring *ring_new(void)
{
    const ntt_ring shape = ntt_ring_init(LOG2_N);
    uint64_t q[N_LIMBS];
    rns_ring *ring = NULL;
    test_moduli(q);
    assert_int_equal(
        rns_ring_new(&ring, &shape, q, N_LIMBS, NTT_BACKEND_IFMA, NULL),
        SOTTO_OK);
    return ring;
}

static uint64_t *limbs_new(const rns_ring *ring, int count)
{
    uint64_t *limbs = sotto_calloc((size_t)count * ring->stride, 8);
    assert_non_null(limbs);
    return limbs;
}

/* The moduli of a set. */
static void moduli_of(uint64_t *q, const rns_ring *ring, const rns_set *set)
{
    for (int i = 0; i < set->count; i++) {
        q[i] = rns_modulus(ring, set->id[i])->q;
    }
}

/* Residues of coefficient j in all limbs. */
static void column(uint64_t *x, const rns_ring *ring, const uint64_t *limbs,
                   int count, size_t j)
{
    for (int i = 0; i < count; i++) {
        x[i] = limbs[(size_t)i * ring->stride + j];
    }
}

static void test_rns_sets(void **state)
{
    (void)state;
    const rns_set a = SET(0, 2, 5, 7);
    const rns_set b = SET(2, 3, 7, 95);
    const rns_set none = {.count = 0};
    const rns_set both = SET(2, 7);
    const rns_set only_a = SET(0, 5);
    const rns_set either = SET(0, 2, 3, 5, 7, 95);
    const rns_set range = rns_set_range(3, 4);
    const rns_set as_range = SET(3, 4, 5, 6);
    rns_set r = rns_set_common(&a, &b);
    assert_true(rns_set_equal(&r, &both));
    r = rns_set_minus(&a, &b);
    assert_true(rns_set_equal(&r, &only_a));
    r = rns_set_union(&a, &b);
    assert_true(rns_set_equal(&r, &either));
    for (int i = 1; i < r.count; i++) {
        assert_true(r.id[i] > r.id[i - 1]);
    }
    assert_true(rns_set_equal(&range, &as_range));
    assert_false(rns_set_equal(&a, &b));
    assert_false(rns_set_equal(&a, &both));
    assert_true(rns_set_contains(&a, &both));
    assert_true(rns_set_contains(&a, &none));
    assert_false(rns_set_contains(&both, &a));
    assert_int_equal(rns_set_find(&a, 5), 2);
    assert_int_equal(rns_set_find(&a, 6), -1);
    assert_int_equal(rns_set_range(0, 0).count, 0);
    assert_int_equal(rns_set_range(0, RNS_MAX_LIMBS).count, RNS_MAX_LIMBS);
}

static void test_rns_ring_new_refuses(void **state)
{
    (void)state;
    const ntt_ring shape = ntt_ring_init(LOG2_N);
    const uint64_t wrong[][2] = {{97, 97}, {97, 98}, {97, 17}, {65, 97}};
    rns_ring *ring = (rns_ring *)&ring;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        sotto_error err = {.text = ""};
        assert_int_equal(
            rns_ring_new(&ring, &shape, wrong[i], 2, NTT_BACKEND_IFMA, &err),
            SOTTO_ERR_PARAM);
        assert_null(ring);
        assert_true(strlen(err.text) > 20);
    }
    const int counts[] = {0, -1, RNS_MAX_LIMBS + 1};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(rns_ring_new(&ring, &shape, wrong[0], counts[i],
                                      NTT_BACKEND_IFMA, NULL),
                         SOTTO_ERR_PARAM);
        assert_null(ring);
    }
    rns_ring_free(NULL);
    rns_converter_free(NULL);
    rns_divider_free(NULL);
}

/* Makes and frees everything of this room that allocates. */
static sotto_status make_all(void *arg)
{
    const ntt_ring shape = ntt_ring_init(LOG2_N);
    const uint64_t q[3] = {97, 193, 257};
    const rns_set keep = SET(0, 2);
    const rns_set by = SET(1);
    rns_ring *ring = NULL;
    rns_converter *converter = NULL;
    rns_divider *divider = NULL;
    (void)arg;
    sotto_status status =
        rns_ring_new(&ring, &shape, q, 3, NTT_BACKEND_IFMA, NULL);
    assert_true((status == SOTTO_OK) == (ring != NULL));
    if (status == SOTTO_OK) {
        status = rns_converter_new(&converter, ring, &by, &keep, NULL);
        assert_true((status == SOTTO_OK) == (converter != NULL));
    }
    if (status == SOTTO_OK) {
        status = rns_divider_new(&divider, ring, &keep, &by, NULL);
        assert_true((status == SOTTO_OK) == (divider != NULL));
    }
    rns_divider_free(divider);
    rns_converter_free(converter);
    rns_ring_free(ring);
    return status;
}

static void test_rns_new_survives_failed_allocations(void **state)
{
    (void)state;
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 50, make_all, NULL) >=
                9);
}

static void test_rns_log2(void **state)
{
    (void)state;
    rns_ring *ring = ring_new();
    const rns_set set = SET(0, 1, 3, 7);
    uint64_t q[4];
    ref_big product;
    moduli_of(q, ring, &set);
    ref_product(&product, q, 4);
    assert_true(fabs(rns_log2(ring, &set) - log2(ref_big_to_double(&product))) <
                1e-12 * 200);
    rns_ring_free(ring);
}

/* The integer e of `got = wanted + e·product`; fails when there is none. */
static int64_t error_of(const ref_big *got, const ref_big *wanted,
                        const ref_big *product)
{
    ref_big d, rest;
    ref_big_sub(&d, got, wanted);
    ref_big_divide(&d, &rest, &d, product);
    assert_int_equal(rest.sign, 0);
    return (int64_t)ref_big_to_double(&d);
}

/* Fills the limbs: patterns of the residues themselves, or (scaled) of the
 * y_i that the conversion centres, which brings out its largest error. */
static void fill_limbs(uint64_t *x, const rns_ring *ring, const rns_set *set,
                       ref_pattern pattern, const rns_converter *scaled)
{
    for (int i = 0; i < set->count; i++) {
        const uint64_t q = rns_modulus(ring, set->id[i])->q;
        uint64_t *limb = x + (size_t)i * ring->stride;
        ref_fill(limb, N, q, pattern, (uint64_t)(i + 100 * (int)pattern));
        for (size_t j = 0; scaled != NULL && j < N; j++) {
            limb[j] =
                ref_mul_mod(limb[j], ref_inv_mod(scaled->scale_in[i], q), q);
        }
    }
}

static void check_converter(const rns_ring *ring, const rns_set *from,
                            const rns_set *to, bool reaches_bound)
{
    rns_converter *converter = NULL;
    const int k = from->count;
    uint64_t f[RNS_MAX_LIMBS], x[RNS_MAX_LIMBS];
    ref_big product, exact, lifted;
    int64_t largest = 0;
    assert_int_equal(rns_converter_new(&converter, ring, from, to, NULL),
                     SOTTO_OK);
    moduli_of(f, ring, from);
    ref_product(&product, f, (size_t)k);
    uint64_t *in = limbs_new(ring, k);
    uint64_t *y = limbs_new(ring, k);
    uint64_t *out = limbs_new(ring, to->count);
    for (unsigned p = 0; p < 2 * REF_PATTERNS; p++) {
        fill_limbs(in, ring, from, p % REF_PATTERNS,
                   p < REF_PATTERNS ? NULL : converter);
        for (int i = 0; i < k; i++) {
            for (size_t j = 0; j < N; j++) {
                const size_t at = (size_t)i * ring->stride + j;
                y[at] = ref_mul_mod(in[at], converter->scale_in[i], f[i]);
                y[at] = (y[at] + f[i] / 2) % f[i]; /* raised */
            }
        }
        for (int t = 0; t < to->count; t++) {
            rns_convert_limb(converter, ring, out + (size_t)t * ring->stride, y,
                             t);
        }
        for (size_t j = 0; j < N; j++) {
            column(x, ring, in, k, j);
            ref_crt(&exact, x, f, (size_t)k);
            ref_lift(&lifted, x, f, (size_t)k);
            const int64_t e = error_of(&lifted, &exact, &product);
            largest = llabs(e) > largest ? llabs(e) : largest;
            for (int t = 0; t < to->count; t++) {
                assert_int_equal(
                    out[(size_t)t * ring->stride + j],
                    ref_big_mod_u64(&lifted, rns_modulus(ring, to->id[t])->q));
            }
        }
    }
    assert_true(largest <= k / 2);
    assert_true(!reaches_bound || largest == k / 2);
    sotto_free(in);
    sotto_free(y);
    sotto_free(out);
    rns_converter_free(converter);
}

static void test_rns_convert_matches_ref(void **state)
{
    (void)state;
    rns_ring *ring = ring_new();
    const rns_set from[] = {SET(0),           SET(7),
                            SET(1, 2),        SET(0, 3, 6),
                            SET(2, 7, 4, 11), SET(0, 1, 3, 5, 6, 8, 9)};
    const rns_set to[] = {SET(1, 2, 10), SET(0, 1, 2, 3), SET(0, 10),
                          SET(1, 7),     SET(5, 10),      SET(2, 4, 7, 10, 11)};
    /* The bound is met where the moduli are large. */
    const bool reaches[] = {true, true, true, true, false, true};
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        check_converter(ring, &from[i], &to[i], reaches[i]);
    }
    rns_ring_free(ring);
}

/* Divides the polynomial with these residues (coefficients, over keep and by
 * one after the other) and compares every coefficient. Returns the largest
 * distance from the nearest integer. */
static int64_t check_division(const rns_divider *divider, const rns_ring *ring,
                              const uint64_t *in)
{
    const rns_set *by = &divider->converter->from;
    const rns_set *keep = &divider->converter->to;
    const int all = keep->count + by->count;
    uint64_t q[RNS_MAX_LIMBS], x[RNS_MAX_LIMBS];
    ref_big m, exact, lifted, quotient, rest;
    int64_t largest = 0;
    moduli_of(q, ring, keep);
    moduli_of(q + keep->count, ring, by);
    ref_product(&m, q + keep->count, (size_t)by->count);
    uint64_t *work = limbs_new(ring, all);
    uint64_t *copy = limbs_new(ring, all);
    uint64_t *out = limbs_new(ring, keep->count);
    uint64_t *scratch = sotto_calloc(rns_divide_scratch(divider, ring), 8);
    assert_non_null(scratch);
    memcpy(work, in, (size_t)all * ring->stride * 8);
    for (int i = 0; i < all; i++) {
        const int id = i < keep->count ? keep->id[i] : by->id[i - keep->count];
        ring->limb[id].kernels.forward(work + (size_t)i * ring->stride,
                                       ring->limb[id].table);
    }
    memcpy(copy, work, (size_t)all * ring->stride * 8);
    uint64_t *by_in = work + (size_t)keep->count * ring->stride;
    rns_divide(divider, ring, out, work, by_in, scratch);
    assert_memory_equal(work, copy, (size_t)all * ring->stride * 8);
    rns_divide(divider, ring, work, work, by_in, scratch); /* in place */
    assert_memory_equal(work + (size_t)keep->count * ring->stride,
                        copy + (size_t)keep->count * ring->stride,
                        (size_t)by->count * ring->stride * 8);
    for (int t = 0; t < keep->count; t++) {
        uint64_t *limb = out + (size_t)t * ring->stride;
        assert_memory_equal(limb, work + (size_t)t * ring->stride, N * 8);
        ring->limb[keep->id[t]].kernels.inverse(
            limb, ring->limb[keep->id[t]].table, 1);
    }
    for (size_t j = 0; j < N; j++) {
        column(x, ring, in, all, j);
        ref_crt(&exact, x, q, (size_t)all);
        ref_lift(&lifted, x + keep->count, q + keep->count, (size_t)by->count);
        ref_big_sub(&quotient, &exact, &lifted);
        ref_big_divide(&quotient, &rest, &quotient, &m);
        assert_int_equal(rest.sign, 0); /* the lift is x modulo M */
        for (int t = 0; t < keep->count; t++) {
            assert_int_equal(out[(size_t)t * ring->stride + j],
                             ref_big_mod_u64(&quotient, q[t]));
        }
        ref_big_divide_round(&rest, &exact, &m);
        ref_big_sub(&rest, &quotient, &rest);
        const int64_t e = llabs((int64_t)ref_big_to_double(&rest));
        largest = e > largest ? e : largest;
    }
    sotto_free(work);
    sotto_free(copy);
    sotto_free(out);
    sotto_free(scratch);
    return largest;
}

static void check_divider(const rns_ring *ring, const rns_set *keep,
                          const rns_set *by, bool reaches_bound)
{
    rns_divider *divider = NULL;
    int64_t largest = 0;
    assert_int_equal(rns_divider_new(&divider, ring, keep, by, NULL), SOTTO_OK);
    uint64_t *in = limbs_new(ring, keep->count + by->count);
    uint64_t *by_in = in + (size_t)keep->count * ring->stride;
    for (unsigned p = 0; p < 2 * REF_PATTERNS; p++) {
        fill_limbs(in, ring, keep, REF_RANDOM, NULL);
        fill_limbs(by_in, ring, by, p % REF_PATTERNS,
                   p < REF_PATTERNS ? NULL : divider->converter);
        const int64_t e = check_division(divider, ring, in);
        largest = e > largest ? e : largest;
    }
    assert_true(largest <= by->count / 2);
    assert_true(!reaches_bound || largest == by->count / 2);
    sotto_free(in);
    rns_divider_free(divider);
}

static void test_rns_divide_matches_ref(void **state)
{
    (void)state;
    rns_ring *ring = ring_new();
    const rns_set keep[] = {SET(0, 1),    SET(1),       SET(0, 2, 4),
                            SET(5, 7, 9), SET(0, 1, 2), SET(2, 7)};
    const rns_set by[] = {SET(2),       SET(7),          SET(1, 3),
                          SET(0, 3, 6), SET(4, 5, 6, 8), SET(0, 1, 3, 5, 6)};
    for (size_t i = 0; i < sizeof keep / sizeof keep[0]; i++) {
        check_divider(ring, &keep[i], &by[i], true);
    }
    rns_ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rns_sets),
        cmocka_unit_test(test_rns_ring_new_refuses),
        cmocka_unit_test(test_rns_new_survives_failed_allocations),
        cmocka_unit_test(test_rns_log2),
        cmocka_unit_test(test_rns_convert_matches_ref),
        cmocka_unit_test(test_rns_divide_matches_ref),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
