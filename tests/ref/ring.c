/* SPDX-License-Identifier: MIT
 * The ring by definition.
 */
#include "tests/ref/ring.h"

#include <stdbool.h>
#include <string.h>

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

__extension__ typedef unsigned __int128 ref_u128;

uint64_t ref_mul_mod(uint64_t a, uint64_t b, uint64_t q)
{
    return (uint64_t)((ref_u128)a * b % q);
}

uint64_t ref_pow_mod(uint64_t a, uint64_t e, uint64_t q)
{
    uint64_t r = 1 % q;
    for (int bit = 63; bit >= 0; bit--) {
        r = ref_mul_mod(r, r, q);
        if (e >> bit & 1) {
            r = ref_mul_mod(r, a % q, q);
        }
    }
    return r;
}

uint64_t ref_inv_mod(uint64_t a, uint64_t q)
{
    return ref_pow_mod(a, q - 2, q);
}

static bool is_probable_prime(uint64_t q)
{
    static const uint64_t bases[] = {2, 3, 5, 7, 11, 13, 17, 19, 23};
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        if (q != bases[i] && ref_pow_mod(bases[i], q - 1, q) != 1) {
            return false;
        }
    }
    return true;
}

uint64_t ref_prime_below(uint64_t below, uint64_t order)
{
    for (uint64_t q = (below - 2) / order * order + 1; q > order; q -= order) {
        if (is_probable_prime(q)) {
            return q;
        }
    }
    return 0;
}

uint64_t ref_smallest_root(uint64_t q, uint64_t order)
{
    for (uint64_t x = 2; x < q; x++) {
        if (ref_pow_mod(x, order / 2, q) == q - 1) {
            return x;
        }
    }
    return 0;
}

uint64_t ref_evaluate(const uint64_t *a, size_t n, uint64_t x, uint64_t q)
{
    uint64_t value = 0;
    for (size_t i = n; i-- > 0;) {
        value = (uint64_t)(((ref_u128)value * x + a[i]) % q);
    }
    return value;
}

uint64_t ref_ntt_at(const uint64_t *a, int log2_n, size_t i, uint64_t psi,
                    uint64_t q)
{
    uint64_t reversed = 0;
    for (int bit = 0; bit < log2_n; bit++) {
        if (i >> bit & 1) {
            reversed += (uint64_t)1 << (log2_n - 1 - bit);
        }
    }
    return ref_evaluate(a, (size_t)1 << log2_n,
                        ref_pow_mod(psi, 2 * reversed + 1, q), q);
}

void ref_mul_poly(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                  uint64_t q)
{
    memset(r, 0, n * sizeof *r);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            const uint64_t product = ref_mul_mod(a[i], b[j], q);
            const size_t at = (i + j) % n;
            r[at] = (i + j < n ? r[at] + product : r[at] + q - product) % q;
        }
    }
}

void ref_automorphism(uint64_t *r, const uint64_t *a, size_t n, uint64_t galois,
                      uint64_t q)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t power = (uint64_t)((ref_u128)i * galois % (2 * n));
        r[power % n] = power < n ? a[i] : (q - a[i]) % q;
    }
}

void ref_product(ref_big *r, const uint64_t *q, size_t k)
{
    ref_big factor;
    ref_big_from_u64(r, 1);
    for (size_t i = 0; i < k; i++) {
        ref_big_from_u64(&factor, q[i]);
        ref_big_mul(r, r, &factor);
    }
}

void ref_lift(ref_big *r, const uint64_t *x, const uint64_t *q, size_t k)
{
    ref_big sum, rest, factor;
    ref_big_from_u64(&sum, 0);
    for (size_t i = 0; i < k; i++) {
        /* rest = Q/q_i, and its residue modulo q_i */
        uint64_t residue = 1;
        ref_big_from_u64(&rest, 1);
        for (size_t j = 0; j < k; j++) {
            if (j != i) {
                ref_big_from_u64(&factor, q[j]);
                ref_big_mul(&rest, &rest, &factor);
                residue = ref_mul_mod(residue, q[j], q[i]);
            }
        }
        const uint64_t y = ref_mul_mod(x[i], ref_inv_mod(residue, q[i]), q[i]);
        const int64_t centred =
            y > q[i] / 2 ? (int64_t)y - (int64_t)q[i] : (int64_t)y;
        ref_big_from_i64(&factor, centred);
        ref_big_mul(&rest, &rest, &factor);
        ref_big_add(&sum, &sum, &rest);
    }
    ref_big_copy(r, &sum);
}

void ref_crt(ref_big *r, const uint64_t *x, const uint64_t *q, size_t k)
{
    ref_big product, lifted;
    ref_product(&product, q, k);
    ref_lift(&lifted, x, q, k);
    ref_big_centre(r, &lifted, &product);
    for (size_t i = 0; i < k; i++) {
        assert_int_equal(ref_big_mod_u64(r, q[i]), x[i]);
    }
}

uint64_t ref_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
