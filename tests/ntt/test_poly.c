/* SPDX-License-Identifier: MIT
 * Polynomials over sets of limbs: each limb gets its own modulus and kernel,
 * whatever the set; products against schoolbook, automorphisms in the
 * coefficients.
 */
#include "ntt/poly.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "tests/ref/kernels.h"
#include "tests/ref/pattern.h"
#include "tests/ref/ring.h"

#define LOG2_N 5
#define N ((size_t)1 << LOG2_N)

/* A ring of five limbs, a set of three of them, and polynomials over it. */
typedef struct world {
    rns_ring *ring;
    rns_set set;
    uint64_t *a;
    uint64_t *b;
    uint64_t *r;
    uint64_t *want;
} world;

static int setup(void **state)
{
    static const int bits[5] = {46, 60, 20, 50, 32};
    static const rns_set set = {.count = 3, .id = {0, 2, 3}};
    world *w = sotto_calloc(1, sizeof *w);
    const ntt_ring shape = ntt_ring_init(LOG2_N);
    uint64_t q[5];
    for (int i = 0; i < 5; i++) {
        q[i] = ref_prime_of(bits[i], LOG2_N);
    }
    assert_non_null(w);
    assert_int_equal(
        rns_ring_new(&w->ring, &shape, q, 5, NTT_BACKEND_IFMA, NULL), SOTTO_OK);
    w->set = set;
    uint64_t **poly[] = {&w->a, &w->b, &w->r, &w->want};
    for (size_t i = 0; i < 4; i++) {
        *poly[i] = sotto_calloc(poly_words(w->ring, set.count), 8);
        assert_non_null(*poly[i]);
        for (int l = 0; l < set.count; l++) {
            ref_fill(poly_limb(w->ring, *poly[i], l), N, q[set.id[l]],
                     REF_RANDOM, 10 * i + (size_t)l);
        }
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    sotto_free(w->a);
    sotto_free(w->b);
    sotto_free(w->r);
    sotto_free(w->want);
    rns_ring_free(w->ring);
    sotto_free(w);
    return 0;
}

/* Padding between the limbs is compared as well: it must stay. */
static void assert_result(const world *w)
{
    assert_memory_equal(w->r, w->want, poly_words(w->ring, w->set.count) * 8);
}

/* Calls `body` for each limb with r, a, b of the wanted result, its modulus
 * and its table; then compares. */
#define WANT(body)                                                             \
    do {                                                                       \
        memcpy(w->want, before, sizeof before);                                \
        for (int l = 0; l < w->set.count; l++) {                               \
            const ntt_table *table = w->ring->limb[w->set.id[l]].table;        \
            const zq_modulus *mod = &table->mod;                               \
            uint64_t *r = poly_limb(w->ring, w->want, l);                      \
            const uint64_t *a = poly_limb_const(w->ring, w->a, l);             \
            const uint64_t *b = poly_limb_const(w->ring, w->b, l);             \
            (void)mod;                                                         \
            (void)a;                                                           \
            (void)b;                                                           \
            body;                                                              \
        }                                                                      \
        assert_result(w);                                                      \
        memcpy(w->r, before, sizeof before);                                   \
    } while (0)

static void test_poly_arithmetic_uses_the_right_limbs(void **state)
{
    world *w = *state;
    uint64_t before[3 * (N + 40)];
    const uint64_t c[3] = {12345, 17, 999999};
    memcpy(before, w->r, sizeof before);
    assert_int_equal(sizeof before, poly_words(w->ring, w->set.count) * 8);
    poly_add(w->ring, &w->set, w->r, w->a, w->b);
    WANT(ref_kernels.add(r, a, b, N, mod));
    poly_sub(w->ring, &w->set, w->r, w->a, w->b);
    WANT(ref_kernels.sub(r, a, b, N, mod));
    poly_negate(w->ring, &w->set, w->r, w->a);
    WANT(ref_kernels.negate(r, a, N, mod));
    poly_mul(w->ring, &w->set, w->r, w->a, w->b);
    WANT(ref_kernels.mul(r, a, b, N, mod));
    poly_mul_add(w->ring, &w->set, w->r, w->a, w->b);
    WANT(ref_kernels.mul_add(r, a, b, N, mod));
    poly_mul_scalar(w->ring, &w->set, w->r, w->a, c);
    WANT(ref_kernels.mul_scalar(r, a, c[l], N, mod));
    poly_add_scalar(w->ring, &w->set, w->r, w->a, c);
    WANT(ref_kernels.add_scalar(r, a, c[l], N, mod));
    poly_copy(w->ring, &w->set, w->r, w->a);
    WANT(memcpy(r, a, N * 8));
    poly_copy(w->ring, &w->set, w->r, w->r);
    WANT((void)r);
    poly_zero(w->ring, &w->set, w->r);
    WANT(memset(r, 0, N * 8));
    poly_forward(w->ring, &w->set, w->r);
    WANT(ref_kernels.forward(r, table));
    poly_inverse(w->ring, &w->set, w->r);
    WANT(ref_kernels.inverse(r, table, 1));
}

static void test_poly_select_takes_limbs_by_id(void **state)
{
    world *w = *state;
    const rns_set some = {.count = 2, .id = {2, 3}};
    memcpy(w->want, w->r, poly_words(w->ring, 3) * 8);
    poly_select(w->ring, &some, w->r, &w->set, w->a);
    memcpy(w->want, poly_limb(w->ring, w->a, 1), N * 8);
    memcpy(poly_limb(w->ring, w->want, 1), poly_limb(w->ring, w->a, 2), N * 8);
    assert_result(w);
}

static void test_poly_from_small_lifts_signs(void **state)
{
    world *w = *state;
    int8_t small[N];
    for (size_t j = 0; j < N; j++) {
        small[j] = (int8_t)(j == 0 ? 127 : j == 1 ? -127 : (int)j % 7 - 3);
    }
    poly_from_small(w->ring, &w->set, w->r, small);
    for (int l = 0; l < w->set.count; l++) {
        const uint64_t q = rns_modulus(w->ring, w->set.id[l])->q;
        for (size_t j = 0; j < N; j++) {
            const int64_t v = small[j];
            assert_int_equal(poly_limb(w->ring, w->r, l)[j],
                             v < 0 ? q - (uint64_t)-v : (uint64_t)v);
        }
    }
}

/* A product of polynomials, limb by limb, is the product in the ring. */
static void test_poly_mul_is_the_ring_product(void **state)
{
    world *w = *state;
    for (int l = 0; l < w->set.count; l++) {
        ref_mul_poly(poly_limb(w->ring, w->want, l),
                     poly_limb(w->ring, w->a, l), poly_limb(w->ring, w->b, l),
                     N, rns_modulus(w->ring, w->set.id[l])->q);
    }
    poly_forward(w->ring, &w->set, w->a);
    poly_forward(w->ring, &w->set, w->b);
    poly_mul(w->ring, &w->set, w->a, w->a, w->b);
    poly_inverse(w->ring, &w->set, w->a);
    for (int l = 0; l < w->set.count; l++) {
        assert_memory_equal(poly_limb(w->ring, w->a, l),
                            poly_limb(w->ring, w->want, l), N * 8);
    }
}

static void test_poly_permute_is_the_automorphism(void **state)
{
    world *w = *state;
    uint32_t map[N];
    const uint64_t galois = ntt_ring_rotation(&w->ring->ring, 3);
    ntt_ring_automorphism(&w->ring->ring, map, galois);
    for (int l = 0; l < w->set.count; l++) {
        ref_automorphism(poly_limb(w->ring, w->want, l),
                         poly_limb(w->ring, w->a, l), N, galois,
                         rns_modulus(w->ring, w->set.id[l])->q);
    }
    poly_forward(w->ring, &w->set, w->a);
    poly_permute(w->ring, &w->set, w->r, w->a, map);
    poly_inverse(w->ring, &w->set, w->r);
    for (int l = 0; l < w->set.count; l++) {
        assert_memory_equal(poly_limb(w->ring, w->r, l),
                            poly_limb(w->ring, w->want, l), N * 8);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_poly_arithmetic_uses_the_right_limbs),
        TEST(test_poly_select_takes_limbs_by_id),
        TEST(test_poly_from_small_lifts_signs),
        TEST(test_poly_mul_is_the_ring_product),
        TEST(test_poly_permute_is_the_automorphism),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
