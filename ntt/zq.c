/* SPDX-License-Identifier: MIT
 * Arithmetic modulo one prime: what is too long or too rare to be inline.
 */
#include "ntt/zq.h"

#include "base/status.h"

zq_modulus zq_modulus_init(uint64_t q)
{
    SOTTO_ASSERT(q >= 3 && q % 2 == 1 && q >> ZQ_MAX_BITS == 0);
    /* q is odd and not 1, so it does not divide 2^128 and the floors of
     * 2^128/q and (2^128 - 1)/q agree. */
    const zq_u128 ratio = ~(zq_u128)0 / q;
    zq_modulus m = {.q = q,
                    .ratio_hi = (uint64_t)(ratio >> 64),
                    .ratio_lo = (uint64_t)ratio};
    while (q >> m.bits != 0) {
        m.bits++;
    }
    m.product_ratio = (uint64_t)(((zq_u128)1 << (m.bits + 62)) / q);
    return m;
}

uint64_t zq_pow(uint64_t a, uint64_t e, const zq_modulus *m)
{
    uint64_t power = a;
    uint64_t r = 1;
    for (; e != 0; e >>= 1) {
        if (e & 1) {
            r = zq_mul(r, power, m);
        }
        power = zq_mul(power, power, m);
    }
    return r;
}

uint64_t zq_inv(uint64_t a, const zq_modulus *m)
{
    return zq_pow(a, m->q - 2, m);
}

uint64_t zq_from_scaled(int64_t mantissa, int exponent, const zq_modulus *m)
{
    SOTTO_ASSERT(exponent >= 0 && exponent < 1 << 20);
    return zq_mul(zq_from_i64(mantissa, m), zq_pow(2, (uint64_t)exponent, m),
                  m);
}
