/* SPDX-License-Identifier: MIT
 * Primality, the order of the prime search, the rule for roots of unity. Known
 * answers were made with another implementation (Python, big integers).
 */
#include "ntt/prime.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "tests/ref/ring.h"

static void test_ntt_prime_is_agrees_with_a_sieve(void **state)
{
    (void)state;
    enum { END = 200000 };
    static bool composite[END];
    for (uint64_t q = 0; q < END; q++) {
        const bool is_prime = q >= 2 && !composite[q];
        assert_int_equal(ntt_prime_is(q), is_prime);
        for (uint64_t m = q * q; is_prime && m < END; m += q) {
            composite[m] = true;
        }
    }
}

static void test_ntt_prime_is_on_hard_numbers(void **state)
{
    (void)state;
    /* Carmichael numbers, strong pseudoprimes to the first 4, 8, 9 and 11
     * bases, squares, and products of neighbouring primes. */
    const uint64_t composites[] = {561,
                                   41041,
                                   3215031751,
                                   341550071728321,
                                   3825123056546413051,
                                   (uint64_t)4294967291 * 4294967291,
                                   (uint64_t)4294967291 * 4294967279,
                                   18446744073709551615u,
                                   ((uint64_t)1 << 60) - 1};
    const uint64_t primes[] = {2305843009213693951, 18446744073709551557u,
                               ((uint64_t)1 << 60) - 93, 1152921504606830593};
    for (size_t i = 0; i < sizeof composites / sizeof composites[0]; i++) {
        assert_false(ntt_prime_is(composites[i]));
    }
    for (size_t i = 0; i < sizeof primes / sizeof primes[0]; i++) {
        assert_true(ntt_prime_is(primes[i]));
    }
}

static void assert_search(int log2_n, double log2_target, const uint64_t *want)
{
    const ntt_ring ring = ntt_ring_init(log2_n);
    uint64_t got[4];
    assert_int_equal(
        ntt_prime_search(got, 4, &ring, log2_target, NULL, 0, NULL), SOTTO_OK);
    assert_memory_equal(got, want, sizeof got);
}

static void test_ntt_prime_search_known_answers(void **state)
{
    (void)state;
    assert_search(13, 46,
                  (const uint64_t[]){70368744210433, 70368744570881,
                                     70368744620033, 70368743669761});
    assert_search(
        13, 32,
        (const uint64_t[]){4295049217, 4295294977, 4295344129, 4294475777});
    assert_search(
        14, 31.5,
        (const uint64_t[]){3037069313, 3037298689, 3036512257, 3036413953});
    assert_search(16, 49.75,
                  (const uint64_t[]){946765195640833, 946765195509761,
                                     946765198000129, 946765199835137});
    assert_search(12, 25.3,
                  (const uint64_t[]){41132033, 41500673, 41066497, 41041921});
    assert_search(3, 20,
                  (const uint64_t[]){1048609, 1048433, 1048721, 1048273});
}

/* No prime that was passed over is nearer than one that was taken. */
static void test_ntt_prime_search_takes_the_nearest(void **state)
{
    (void)state;
    enum { COUNT = 12 };
    const ntt_ring ring = ntt_ring_init(3);
    for (double log2_target = 9; log2_target < 12; log2_target += 0.125) {
        uint64_t got[COUNT];
        const double target = round(exp2(log2_target));
        assert_int_equal(
            ntt_prime_search(got, COUNT, &ring, log2_target, NULL, 0, NULL),
            SOTTO_OK);
        double before = -1;
        for (size_t i = 0; i < COUNT; i++) {
            assert_true(got[i] % 16 == 1 && ntt_prime_is(got[i]));
            const double d = fabs((double)got[i] - target);
            assert_true(d >= before);
            before = d;
            for (uint64_t q = (uint64_t)target / 2 / 16 * 16 + 1;
                 (double)q < 2 * target; q += 16) {
                const bool is_near = 2 * (double)q >= target;
                bool listed = false;
                for (size_t j = 0; j <= i; j++) {
                    listed = listed || got[j] == q;
                }
                assert_true(listed || !is_near || !ntt_prime_is(q) ||
                            fabs((double)q - target) >= d);
            }
        }
    }
}

static void test_ntt_prime_search_breaks_ties_upwards(void **state)
{
    (void)state;
    const ntt_ring ring = ntt_ring_init(3);
    const uint64_t want[2] = {113, 97}; /* both 8 away from 105 */
    uint64_t got[2];
    assert_int_equal(ntt_prime_search(got, 2, &ring, log2(105), NULL, 0, NULL),
                     SOTTO_OK);
    assert_memory_equal(got, want, sizeof got);
}

static void test_ntt_prime_search_avoids(void **state)
{
    (void)state;
    const ntt_ring ring = ntt_ring_init(13);
    uint64_t all[6], got[3];
    assert_int_equal(ntt_prime_search(all, 6, &ring, 40, NULL, 0, NULL),
                     SOTTO_OK);
    const uint64_t avoid[3] = {all[0], all[2], all[3]};
    const uint64_t want[3] = {all[1], all[4], all[5]};
    assert_int_equal(ntt_prime_search(got, 3, &ring, 40, avoid, 3, NULL),
                     SOTTO_OK);
    assert_memory_equal(got, want, sizeof got);
    assert_int_equal(ntt_prime_search(got, 0, &ring, 40, NULL, 0, NULL),
                     SOTTO_OK);
}

static void test_ntt_prime_search_refuses(void **state)
{
    (void)state;
    const ntt_ring ring = ntt_ring_init(13);
    const double wrong[] = {14.99, 50, 1e300, -1, 0, (double)NAN};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        sotto_error err = {.text = ""};
        uint64_t got = 1;
        assert_int_equal(
            ntt_prime_search(&got, 1, &ring, wrong[i], NULL, 0, &err),
            SOTTO_ERR_PARAM);
        assert_int_equal(got, 0);
        assert_true(strlen(err.text) > 20);
    }
    /* The largest target has primes on its lower side only. */
    uint64_t got[2];
    assert_int_equal(
        ntt_prime_search(got, 2, &ring, nextafter(50, 0), NULL, 0, NULL),
        SOTTO_OK);
    assert_true(got[0] < (uint64_t)1 << 50 && got[1] < got[0]);
}

static void test_ntt_prime_search_runs_out(void **state)
{
    (void)state;
    /* At degree 2^17 there are five candidates between 2^19 and 2^21. */
    const ntt_ring ring = ntt_ring_init(17);
    uint64_t got[6];
    sotto_error err = {.text = ""};
    assert_int_equal(ntt_prime_search(got, 6, &ring, 20, NULL, 0, &err),
                     SOTTO_ERR_PARAM);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(got[i], 0);
    }
    assert_non_null(strstr(err.text, "of 6 primes"));
}

static void test_ntt_prime_root_is_the_smallest(void **state)
{
    (void)state;
    for (int log2_n = 3; log2_n <= 6; log2_n++) {
        const ntt_ring ring = ntt_ring_init(log2_n);
        const uint64_t order = ntt_ring_root_order(&ring);
        for (uint64_t q = order + 1; q < 4000; q += order) {
            if (ntt_prime_is(q)) {
                assert_int_equal(ntt_prime_root(q, &ring),
                                 ref_smallest_root(q, order));
            }
        }
    }
}

static void test_ntt_prime_root_known_answers(void **state)
{
    (void)state;
    const struct {
        int log2_n;
        uint64_t q;
        uint64_t root;
    } want[] = {{3, 17, 3},
                {3, 257, 2},
                {12, 41132033, 7326},
                {13, 70368744210433, 1945991684},
                {13, 4295049217, 414940},
                {14, 3037069313, 149304},
                {16, 946765195640833, 19680542015},
                {13, 1152921504606830593, 25959043411404}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const ntt_ring ring = ntt_ring_init(want[i].log2_n);
        assert_int_equal(ntt_prime_root(want[i].q, &ring), want[i].root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ntt_prime_is_agrees_with_a_sieve),
        cmocka_unit_test(test_ntt_prime_is_on_hard_numbers),
        cmocka_unit_test(test_ntt_prime_search_known_answers),
        cmocka_unit_test(test_ntt_prime_search_takes_the_nearest),
        cmocka_unit_test(test_ntt_prime_search_breaks_ties_upwards),
        cmocka_unit_test(test_ntt_prime_search_avoids),
        cmocka_unit_test(test_ntt_prime_search_refuses),
        cmocka_unit_test(test_ntt_prime_search_runs_out),
        cmocka_unit_test(test_ntt_prime_root_is_the_smallest),
        cmocka_unit_test(test_ntt_prime_root_known_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
