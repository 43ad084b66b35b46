/* SPDX-License-Identifier: MIT
 * Signed integers of up to 10240 bits, the schoolbook way.
 */
#include "tests/ref/bignum.h"

#include <math.h>
#include <string.h>

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

/* Drops leading zero words and gives the sign; zero has sign 0. */
static void normalise(ref_big *r, int sign)
{
    while (r->len > 0 && r->word[r->len - 1] == 0) {
        r->len--;
    }
    r->sign = r->len == 0 ? 0 : sign;
}

void ref_big_from_u64(ref_big *r, uint64_t x)
{
    r->len = 2;
    r->word[0] = (uint32_t)x;
    r->word[1] = (uint32_t)(x >> 32);
    normalise(r, 1);
}

void ref_big_from_i64(ref_big *r, int64_t x)
{
    ref_big_from_u64(r, x < 0 ? 0 - (uint64_t)x : (uint64_t)x);
    if (x < 0) {
        ref_big_neg(r, r);
    }
}

void ref_big_from_double(ref_big *r, double x)
{
    int exponent = 0;
    const double fraction = frexp(x, &exponent);
    const double mantissa = ldexp(fraction, 53);
    assert_true(isfinite(x) && x == floor(x));
    if (exponent <= 53) {
        ref_big_from_i64(r, (int64_t)x);
    } else {
        ref_big_from_i64(r, (int64_t)mantissa);
        ref_big_shift_left(r, r, exponent - 53);
    }
}

double ref_big_to_double(const ref_big *a)
{
    /* Three words hold at least 65 bits; what is below is beyond a double. */
    double sum = 0;
    for (int i = a->len - 1; i >= 0 && i >= a->len - 3; i--) {
        sum += ldexp((double)a->word[i], 32 * i);
    }
    return a->sign * sum;
}

void ref_big_copy(ref_big *r, const ref_big *a)
{
    if (r != a) {
        r->sign = a->sign;
        r->len = a->len;
        memcpy(r->word, a->word, (size_t)a->len * sizeof a->word[0]);
    }
}

static int compare_magnitude(const ref_big *a, const ref_big *b)
{
    if (a->len != b->len) {
        return a->len < b->len ? -1 : 1;
    }
    for (int i = a->len - 1; i >= 0; i--) {
        if (a->word[i] != b->word[i]) {
            return a->word[i] < b->word[i] ? -1 : 1;
        }
    }
    return 0;
}

int ref_big_compare(const ref_big *a, const ref_big *b)
{
    if (a->sign != b->sign) {
        return a->sign < b->sign ? -1 : 1;
    }
    return a->sign * compare_magnitude(a, b);
}

static uint32_t word_of(const ref_big *a, int i)
{
    return i < a->len ? a->word[i] : 0;
}

/* |a| + |b| */
static void add_magnitude(ref_big *r, const ref_big *a, const ref_big *b)
{
    const int len = (a->len > b->len ? a->len : b->len) + 1;
    uint64_t carry = 0;
    assert_true(len <= REF_BIG_WORDS);
    for (int i = 0; i < len; i++) {
        carry += (uint64_t)word_of(a, i) + word_of(b, i);
        r->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    r->len = len;
}

/* |a| - |b| for |a| >= |b| */
static void sub_magnitude(ref_big *r, const ref_big *a, const ref_big *b)
{
    const int len = a->len;
    uint64_t borrow = 0;
    for (int i = 0; i < len; i++) {
        const uint64_t d = (uint64_t)a->word[i] - word_of(b, i) - borrow;
        r->word[i] = (uint32_t)d;
        borrow = d >> 63;
    }
    r->len = len;
}

/* a + sign·|b|, where sign is that of the second term. */
static void add_signed(ref_big *r, const ref_big *a, const ref_big *b, int sign)
{
    if (sign == 0) {
        ref_big_copy(r, a);
    } else if (a->sign == sign || a->sign == 0) {
        add_magnitude(r, a, b);
        normalise(r, sign);
    } else if (compare_magnitude(a, b) >= 0) {
        const int a_sign = a->sign;
        sub_magnitude(r, a, b);
        normalise(r, a_sign);
    } else {
        sub_magnitude(r, b, a);
        normalise(r, sign);
    }
}

void ref_big_add(ref_big *r, const ref_big *a, const ref_big *b)
{
    add_signed(r, a, b, b->sign);
}

void ref_big_sub(ref_big *r, const ref_big *a, const ref_big *b)
{
    add_signed(r, a, b, -b->sign);
}

void ref_big_neg(ref_big *r, const ref_big *a)
{
    ref_big_copy(r, a);
    r->sign = -r->sign;
}

void ref_big_mul(ref_big *r, const ref_big *a, const ref_big *b)
{
    ref_big product;
    product.len = a->len + b->len;
    assert_true(product.len <= REF_BIG_WORDS);
    memset(product.word, 0, (size_t)product.len * sizeof product.word[0]);
    for (int i = 0; i < a->len; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < b->len; j++) {
            carry += (uint64_t)a->word[i] * b->word[j] + product.word[i + j];
            product.word[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        product.word[i + b->len] = (uint32_t)carry;
    }
    normalise(&product, a->sign * b->sign);
    ref_big_copy(r, &product);
}

void ref_big_shift_left(ref_big *r, const ref_big *a, int bits)
{
    ref_big power = {.sign = 1, .len = bits / 32 + 1};
    assert_true(bits >= 0 && power.len <= REF_BIG_WORDS);
    power.word[bits / 32] = (uint32_t)1 << (bits % 32);
    ref_big_mul(r, a, &power);
}

int ref_big_bits(const ref_big *a)
{
    if (a->len == 0) {
        return 0;
    }
    int bits = 32 * (a->len - 1);
    for (uint32_t top = a->word[a->len - 1]; top != 0; top >>= 1) {
        bits++;
    }
    return bits;
}

/* |a| = quotient·|m| + rest, one word of the quotient after the other: rest
 * takes the next word of a, and the largest digit with digit·|m| <= rest is
 * found bit by bit from the top. */
static void divide_magnitude(ref_big *quotient, ref_big *rest, const ref_big *a,
                             const ref_big *m)
{
    ref_big multiple[32];
    for (int bit = 0; bit < 32; bit++) {
        ref_big_shift_left(&multiple[bit], m, bit);
    }
    quotient->len = a->len;
    rest->len = 0;
    rest->sign = 0;
    for (int i = a->len - 1; i >= 0; i--) {
        memmove(rest->word + 1, rest->word,
                (size_t)rest->len * sizeof rest->word[0]);
        rest->word[0] = a->word[i];
        rest->len++;
        normalise(rest, 1);
        uint32_t digit = 0;
        for (int bit = 31; bit >= 0; bit--) {
            if (compare_magnitude(rest, &multiple[bit]) >= 0) {
                sub_magnitude(rest, rest, &multiple[bit]);
                normalise(rest, 1);
                digit |= (uint32_t)1 << bit;
            }
        }
        quotient->word[i] = digit;
    }
    normalise(quotient, 1);
}

void ref_big_divide(ref_big *quotient, ref_big *rest, const ref_big *a,
                    const ref_big *m)
{
    assert_true(m->sign > 0);
    ref_big q, r;
    divide_magnitude(&q, &r, a, m);
    if (a->sign < 0) {
        /* -|a| = -q·m - r = -(q + 1)·m + (m - r) */
        if (r.sign != 0) {
            ref_big one;
            ref_big_from_u64(&one, 1);
            ref_big_add(&q, &q, &one);
            ref_big_sub(&r, m, &r);
        }
        ref_big_neg(&q, &q);
    }
    if (quotient != NULL) {
        ref_big_copy(quotient, &q);
    }
    if (rest != NULL) {
        ref_big_copy(rest, &r);
    }
}

void ref_big_divide_round(ref_big *r, const ref_big *a, const ref_big *m)
{
    /* floor((2a + m) / 2m) */
    ref_big twice_a, twice_m;
    ref_big_add(&twice_a, a, a);
    ref_big_add(&twice_a, &twice_a, m);
    ref_big_add(&twice_m, m, m);
    ref_big_divide(r, NULL, &twice_a, &twice_m);
}

void ref_big_centre(ref_big *r, const ref_big *a, const ref_big *m)
{
    ref_big nearest;
    ref_big_divide_round(&nearest, a, m);
    ref_big_mul(&nearest, &nearest, m);
    ref_big_sub(r, a, &nearest);
}

uint64_t ref_big_mod_u64(const ref_big *a, uint64_t m)
{
    ref_big modulus, rest;
    ref_big_from_u64(&modulus, m);
    ref_big_divide(NULL, &rest, a, &modulus);
    return word_of(&rest, 0) | (uint64_t)word_of(&rest, 1) << 32;
}
