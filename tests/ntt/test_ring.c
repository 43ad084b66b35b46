/* SPDX-License-Identifier: MIT
 * Slots, Galois elements and the automorphism map, against the definition: a
 * polynomial is changed in its coefficients and evaluated.
 */
#include "ntt/ring.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

#include "tests/ref/pattern.h"
#include "tests/ref/ring.h"

static void test_ntt_ring_sizes(void **state)
{
    (void)state;
    for (int log2_n = NTT_MIN_LOG2_N; log2_n <= NTT_MAX_LOG2_N; log2_n++) {
        const ntt_ring ring = ntt_ring_init(log2_n);
        assert_int_equal(ring.n, 1 << log2_n);
        assert_int_equal(ntt_ring_slots(&ring), ring.n / 2);
        assert_int_equal(ntt_ring_root_order(&ring), 2 * ring.n);
        assert_int_equal(ntt_ring_conjugation(&ring), 2 * ring.n - 1);
    }
}

static void test_ntt_ring_rotation_is_a_power_of_five(void **state)
{
    (void)state;
    for (int log2_n = 3; log2_n <= 8; log2_n++) {
        const ntt_ring ring = ntt_ring_init(log2_n);
        const int64_t slots = (int64_t)ntt_ring_slots(&ring);
        for (int64_t steps = -2 * slots; steps <= 2 * slots; steps++) {
            const uint64_t left = (uint64_t)((steps % slots + slots) % slots);
            assert_int_equal(ntt_ring_rotation(&ring, steps),
                             ref_pow_mod(5, left, 2 * ring.n));
        }
    }
    const ntt_ring ring = ntt_ring_init(17);
    assert_int_equal(ntt_ring_rotation(&ring, INT64_MIN), 1);
    assert_int_equal(ntt_ring_rotation(&ring, INT64_MAX),
                     ntt_ring_rotation(&ring, -1));
}

static void test_ntt_bit_reverse(void **state)
{
    (void)state;
    assert_int_equal(ntt_bit_reverse(1, 3), 4);
    assert_int_equal(ntt_bit_reverse(6, 3), 3);
    assert_int_equal(ntt_bit_reverse(0, 17), 0);
    for (size_t x = 0; x < 1024; x++) {
        assert_int_equal(ntt_bit_reverse(ntt_bit_reverse(x, 10), 10), x);
    }
}

/* transformed(a(X^galois))[i] == transformed(a)[map[i]] for every galois. */
static void test_ntt_ring_automorphism_matches_definition(void **state)
{
    (void)state;
    for (int log2_n = 3; log2_n <= 6; log2_n++) {
        const ntt_ring ring = ntt_ring_init(log2_n);
        const uint64_t q = ref_prime_of(20, log2_n);
        const uint64_t psi = ref_smallest_root(q, 2 * ring.n);
        uint64_t a[64], b[64];
        uint32_t map[64];
        ref_fill(a, ring.n, q, REF_RANDOM, 11);
        for (uint64_t galois = 1; galois < 2 * ring.n; galois += 2) {
            bool hit[64] = {false};
            ref_automorphism(b, a, ring.n, galois, q);
            ntt_ring_automorphism(&ring, map, galois);
            for (size_t i = 0; i < ring.n; i++) {
                assert_true(map[i] < ring.n && !hit[map[i]]);
                hit[map[i]] = true;
                assert_int_equal(ref_ntt_at(b, log2_n, i, psi, q),
                                 ref_ntt_at(a, log2_n, map[i], psi, q));
            }
        }
    }
}

/* Slot j is the value at zeta^(5^j): a rotation by r brings slot j + r there,
 * the conjugation brings the value at zeta^(-5^j). */
static void test_ntt_ring_rotation_moves_slots_left(void **state)
{
    (void)state;
    const int log2_n = 5;
    const ntt_ring ring = ntt_ring_init(log2_n);
    const size_t slots = ntt_ring_slots(&ring);
    const uint64_t q = ref_prime_of(20, log2_n);
    const uint64_t psi = ref_smallest_root(q, 2 * ring.n);
    uint64_t a[32], b[32];
    ref_fill(a, ring.n, q, REF_RANDOM, 12);
    for (size_t r = 0; r < slots; r++) {
        ref_automorphism(b, a, ring.n, ntt_ring_rotation(&ring, (int64_t)r), q);
        for (size_t j = 0; j < slots; j++) {
            const uint64_t here = ref_pow_mod(5, j, 2 * ring.n);
            const uint64_t there = ref_pow_mod(5, (j + r) % slots, 2 * ring.n);
            assert_int_equal(
                ref_evaluate(b, ring.n, ref_pow_mod(psi, here, q), q),
                ref_evaluate(a, ring.n, ref_pow_mod(psi, there, q), q));
        }
    }
    ref_automorphism(b, a, ring.n, ntt_ring_conjugation(&ring), q);
    for (size_t j = 0; j < slots; j++) {
        const uint64_t e = ref_pow_mod(5, j, 2 * ring.n);
        assert_int_equal(
            ref_evaluate(b, ring.n, ref_pow_mod(psi, e, q), q),
            ref_evaluate(a, ring.n, ref_pow_mod(psi, 2 * ring.n - e, q), q));
    }
}

/* A map is a permutation also where the definition would take too long, and
 * maps compose as Galois elements multiply. */
static void test_ntt_ring_automorphism_composes(void **state)
{
    (void)state;
    const ntt_ring ring = ntt_ring_init(NTT_MAX_LOG2_N);
    const uint64_t order = ntt_ring_root_order(&ring);
    const uint64_t g = ntt_ring_rotation(&ring, 12345);
    const uint64_t h = ntt_ring_conjugation(&ring);
    uint32_t *map = malloc(3 * ring.n * sizeof *map);
    assert_non_null(map);
    uint32_t *map_h = map + ring.n;
    uint32_t *map_gh = map + 2 * ring.n;
    ntt_ring_automorphism(&ring, map, g);
    ntt_ring_automorphism(&ring, map_h, h);
    ntt_ring_automorphism(&ring, map_gh, g * h % order);
    for (size_t i = 0; i < ring.n; i++) {
        assert_int_equal(map_gh[i], map[map_h[i]]);
    }
    free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ntt_ring_sizes),
        cmocka_unit_test(test_ntt_ring_rotation_is_a_power_of_five),
        cmocka_unit_test(test_ntt_bit_reverse),
        cmocka_unit_test(test_ntt_ring_automorphism_matches_definition),
        cmocka_unit_test(test_ntt_ring_rotation_moves_slots_left),
        cmocka_unit_test(test_ntt_ring_automorphism_composes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
