/* SPDX-License-Identifier: MIT
 * Arithmetic modulo one odd prime q < 2^60.
 *
 * A residue is a uint64_t in [0,q) unless a range is stated. Reductions are
 * Barrett (general products) and Shoup (products with a known factor); each
 * carries the chain of inequalities that makes it right (SPEC §3). All
 * functions are constant time: conditional corrections are masks, and there is
 * no division on data.
 */
#ifndef SOTTO_NTT_ZQ_H
#define SOTTO_NTT_ZQ_H

#include <stdint.h>

#include "base/secret.h"

/* 128-bit integers, spelled in one place. */
__extension__ typedef unsigned __int128 zq_u128;
__extension__ typedef __int128 zq_i128;

/* Moduli have 2..60 bits, so that a sum of 16 residues fits 64 bits and a sum
 * of 256 products fits 128. */
#define ZQ_MAX_BITS 60

/* A modulus with the constants of its reductions. */
typedef struct zq_modulus {
    uint64_t q;             /* odd prime, 3 <= q < 2^60 */
    uint64_t ratio_hi;      /* floor(2^128 / q), high word */
    uint64_t ratio_lo;      /* … and low word */
    uint64_t product_ratio; /* floor(2^(bits+62) / q) < 2^63 */
    int bits;               /* number of bits of q: 2^(bits-1) < q < 2^bits */
} zq_modulus;

/* Prepares the constants of q; q odd, 3 <= q < 2^60 (asserted). */
zq_modulus zq_modulus_init(uint64_t q);

/* All ones if bit 63 of d is set, else 0. The empty pin hides from the compiler
 * that the result is one of two values: clang 14 makes a branch of it where it
 * sees that (found by valgrind in a loop of zq_neg). */
static inline uint64_t zq_sign_mask(uint64_t d)
{
    uint64_t mask = 0 - (d >> 63);
    SOTTO_PIN("r", mask);
    return mask;
}

/* a - q if a >= q, else a.   range: a in [0,2q), q < 2^62 -> [0,q); so that
 * zq_correct(a, 2·q) takes a modulus' [0,4q) to [0,2q). */
static inline uint64_t zq_correct(uint64_t a, uint64_t q)
{
    const uint64_t d = a - q;
    /* d wraps, setting bit 63, exactly when a < q, since a, q < 2^63. */
    return d + (q & zq_sign_mask(d));
}

/* a + b mod q.   range: a, b in [0,q) -> [0,q) */
static inline uint64_t zq_add(uint64_t a, uint64_t b, uint64_t q)
{
    return zq_correct(a + b, q);
}

/* a - b mod q.   range: a, b in [0,q) -> [0,q) */
static inline uint64_t zq_sub(uint64_t a, uint64_t b, uint64_t q)
{
    const uint64_t d = a - b;
    return d + (q & zq_sign_mask(d));
}

/* -a mod q.   range: a in [0,q) -> [0,q) */
static inline uint64_t zq_neg(uint64_t a, uint64_t q)
{
    return zq_sub(0, a, q);
}

/* High 64 bits of a·b. */
static inline uint64_t zq_mul_hi(uint64_t a, uint64_t b)
{
    return (uint64_t)(((zq_u128)a * b) >> 64);
}

/* x mod q for any 128-bit x.
 * range: x in [0,2^128) -> [0,q)
 * With r = floor(2^128/q) and t = floor(x·r/2^128), all carries included:
 *   x·r/2^128 > x/q - x/2^128 > x/q - 1,  so  x/q - 2 < t <= x/q,
 *   hence  0 <= x - t·q < 2q < 2^61,
 * and it suffices to know t and the difference modulo 2^64. */
static inline uint64_t zq_reduce_u128(zq_u128 x, const zq_modulus *m)
{
    const uint64_t x_lo = (uint64_t)x;
    const uint64_t x_hi = (uint64_t)(x >> 64);
    /* Neither sum overflows: (2^64 - 1)^2 + 2^64 - 1 < 2^128. */
    const zq_u128 mid =
        (zq_u128)x_lo * m->ratio_hi + zq_mul_hi(x_lo, m->ratio_lo);
    const zq_u128 mid2 = (zq_u128)x_hi * m->ratio_lo + (uint64_t)mid;
    const uint64_t t =
        x_hi * m->ratio_hi + (uint64_t)(mid >> 64) + (uint64_t)(mid2 >> 64);
    return zq_correct(x_lo - t * m->q, m->q);
}

/* x mod q for any 64-bit x.
 * range: x in [0,2^64) -> [0,q)
 * t = floor(x·floor(2^64/q)/2^64), where floor(2^64/q) is ratio_hi:
 *   x/q - 2 < t <= x/q,  hence  0 <= x - t·q < 2q. */
static inline uint64_t zq_reduce_u64(uint64_t x, const zq_modulus *m)
{
    const uint64_t t = zq_mul_hi(x, m->ratio_hi);
    return zq_correct(x - t * m->q, m->q);
}

/* x mod q for a product of two residues, or a few products; half the work of
 * zq_reduce_u128.
 * range: x in [0,2^(bits+60)), which is more than q^2 -> [0,q)
 * With b = bits, u = floor(x/2^(b-2)) < 2^62, v = floor(2^(b+62)/q) < 2^63
 * and t = floor(u·v/2^64):
 *   u·v/2^64 > (x/2^(b-2) - 1)·(2^(b+62)/q - 1)/2^64
 *            > x/q - x/2^(b+62) - 2^(b-2)/q > x/q - 1/4 - 1/2,
 *   so  x/q - 7/4 < t <= x/q,  hence  0 <= x - t·q < 2q. */
static inline uint64_t zq_reduce_product(zq_u128 x, const zq_modulus *m)
{
    const uint64_t u = (uint64_t)(x >> (m->bits - 2));
    const uint64_t t = zq_mul_hi(u, m->product_ratio);
    return zq_correct((uint64_t)x - t * m->q, m->q);
}

/* a·b mod q.   range: a, b in [0,2^64) -> [0,q) */
static inline uint64_t zq_mul(uint64_t a, uint64_t b, const zq_modulus *m)
{
    return zq_reduce_u128((zq_u128)a * b, m);
}

/* Shoup's quotient of a fixed factor: floor(w·2^64 / q).   range: w in [0,q).
 * cost: one 128-bit reduction; not for inner loops. */
static inline uint64_t zq_shoup(uint64_t w, const zq_modulus *m)
{
    /* w·2^64 = t·q + (w·2^64 mod q), and t < 2^64 because w < q; so t is the
     * exact quotient (w·2^64 - r)·q^-1 mod 2^64, q being odd: found without a
     * division by Newton's iteration for q^-1 mod 2^64. */
    const uint64_t r = zq_reduce_u128((zq_u128)w << 64, m);
    uint64_t inv = m->q; /* right modulo 2^3 for odd q */
    for (int i = 0; i < 5; i++) {
        inv *= 2 - m->q * inv;
    }
    return (0 - r) * inv;
}

/* x·w mod q, not fully reduced, with w_shoup = zq_shoup(w).
 * range: x in [0,2^64), w in [0,q) -> [0,2q)
 * t = floor(x·w_shoup/2^64) satisfies x·w/q - 2 < t <= x·w/q. */
static inline uint64_t zq_mul_shoup_lazy(uint64_t x, uint64_t w,
                                         uint64_t w_shoup, uint64_t q)
{
    return x * w - zq_mul_hi(x, w_shoup) * q;
}

/* x·w mod q.   range: x in [0,2^64), w in [0,q) -> [0,q) */
static inline uint64_t zq_mul_shoup(uint64_t x, uint64_t w, uint64_t w_shoup,
                                    uint64_t q)
{
    return zq_correct(zq_mul_shoup_lazy(x, w, w_shoup, q), q);
}

/* x mod q for a signed x.   range: |x| < 2^63 -> [0,q) */
static inline uint64_t zq_from_i64(int64_t x, const zq_modulus *m)
{
    const uint64_t mask = zq_sign_mask((uint64_t)x);
    const uint64_t r = zq_reduce_u64(((uint64_t)x ^ mask) - mask, m);
    return zq_sub((r & ~mask), (r & mask), m->q);
}

/* The centred representative of a: the one in [-(q-1)/2, (q-1)/2].
 * range: a in [0,q) */
static inline int64_t zq_centre(uint64_t a, uint64_t q)
{
    /* The difference wraps exactly when a > (q-1)/2. */
    return (int64_t)(a - (q & zq_sign_mask((q >> 1) - a)));
}

/* a^e mod q.   range: a in [0,q) -> [0,q).
 * secret: constant time in a, not in e. */
uint64_t zq_pow(uint64_t a, uint64_t e, const zq_modulus *m);

/* a^-1 mod q (q prime).   range: a in [1,q) -> [1,q) */
uint64_t zq_inv(uint64_t a, const zq_modulus *m);

/* mantissa·2^exponent mod q, exactly: how a real constant enters the ring.
 * range: |mantissa| < 2^63, exponent in [0, 2^20) -> [0,q) */
uint64_t zq_from_scaled(int64_t mantissa, int exponent, const zq_modulus *m);

#endif
