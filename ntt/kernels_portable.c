/* SPDX-License-Identifier: MIT
 * The portable backend: plain C that defines what every kernel computes.
 */
#include "ntt/portable_internal.h"

#include <stdbool.h>
#include <string.h>

#include "ntt/words_internal.h"

static void add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = zq_add(a[j], b[j], mod->q);
    }
}

static void sub(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = zq_sub(a[j], b[j], mod->q);
    }
}

static void negate(uint64_t *r, const uint64_t *a, size_t n,
                   const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = zq_neg(a[j], mod->q);
    }
}

static void mul(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    const zq_modulus m = *mod;
    for (size_t j = 0; j < n; j++) {
        r[j] = zq_reduce_product((zq_u128)a[j] * b[j], &m);
    }
}

static void mul_add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod)
{
    const zq_modulus m = *mod;
    for (size_t j = 0; j < n; j++) {
        /* (q-1)^2 + q-1 < q^2 */
        r[j] = zq_reduce_product((zq_u128)a[j] * b[j] + r[j], &m);
    }
}

static void sub_mul(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod)
{
    const zq_modulus m = *mod;
    const zq_u128 multiple = (zq_u128)m.q * (m.q - 1); /* >= a·b */
    for (size_t j = 0; j < n; j++) {
        /* (q-1) + q(q-1) < q^2 */
        r[j] = zq_reduce_product(multiple + r[j] - (zq_u128)a[j] * b[j], &m);
    }
}

static void mul_scalar(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod)
{
    const uint64_t q = mod->q;
    const uint64_t c_shoup = zq_shoup(c, mod);
    for (size_t j = 0; j < n; j++) {
        r[j] = zq_mul_shoup(a[j], c, c_shoup, q);
    }
}

static void mul_scalar_add(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                           const zq_modulus *mod)
{
    const uint64_t q = mod->q;
    const uint64_t c_shoup = zq_shoup(c, mod);
    for (size_t j = 0; j < n; j++) {
        /* [0,2q) + [0,q) < 3q < 4q */
        const uint64_t s = zq_mul_shoup_lazy(a[j], c, c_shoup, q) + r[j];
        r[j] = zq_correct(zq_correct(s, 2 * q), q);
    }
}

static void add_scalar(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = zq_add(a[j], c, mod->q);
    }
}

/* A sum of products, reduced; is_short tells that it is below 2^(bits+60). */
static inline uint64_t reduce_sum(zq_u128 sum, const zq_modulus *m,
                                  bool is_short)
{
    return is_short ? zq_reduce_product(sum, m) : zq_reduce_u128(sum, m);
}

/* At most 256 products below 2^120 each: the sum is below 2^128. Two columns
 * at a time hide the end of the short inner loop. */
/* Both inner products: map says which columns of x; NULL: the same. */
static inline void sum_rows(uint64_t *r0, uint64_t *r1,
                            const uint64_t *const *x, const uint32_t *map,
                            const uint64_t *const *y0,
                            const uint64_t *const *y1, size_t k, size_t n,
                            const zq_modulus *mod)
{
    const zq_modulus m = *mod;
    const bool is_short = k <= (size_t)1 << (60 - m.bits);
    for (size_t j = 0; j < n; j += 2) {
        const size_t at[2] = {map != NULL ? map[j] : j,
                              map != NULL ? map[j + 1] : j + 1};
        zq_u128 sum0 = 0, sum1 = 0, next0 = 0, next1 = 0;
        for (size_t i = 0; i < k; i++) {
            const uint64_t *b0 = y0[i] + j;
            const uint64_t *b1 = y1[i] + j;
            sum0 += (zq_u128)x[i][at[0]] * b0[0];
            sum1 += (zq_u128)x[i][at[0]] * b1[0];
            next0 += (zq_u128)x[i][at[1]] * b0[1];
            next1 += (zq_u128)x[i][at[1]] * b1[1];
        }
        r0[j] = reduce_sum(sum0, &m, is_short);
        r1[j] = reduce_sum(sum1, &m, is_short);
        r0[j + 1] = reduce_sum(next0, &m, is_short);
        r1[j + 1] = reduce_sum(next1, &m, is_short);
    }
}

/* Products are below 2^64. */
static void switch_product(uint64_t *r0, uint64_t *r1, const uint64_t *const *x,
                           const uint32_t *map, const uint32_t *const *y0,
                           const uint32_t *const *y1, size_t k, size_t n,
                           const zq_modulus *mod)
{
    const zq_modulus m = *mod;
    for (size_t j = 0; j < n; j++) {
        zq_u128 sum0 = 0, sum1 = 0;
        for (size_t i = 0; i < k; i++) {
            const uint64_t a = x[i][map[j]];
            sum0 += a * y0[i][j];
            sum1 += a * y1[i][j];
        }
        r0[j] = zq_reduce_product(sum0, &m);
        r1[j] = zq_reduce_product(sum1, &m);
    }
}

static void inverse_raised(uint64_t *y, const uint64_t *x,
                           const ntt_table *table, uint64_t scale)
{
    const size_t n = table->ring.n;
    if (y != x) {
        memcpy(y, x, n * sizeof *y);
    }
    ntt_inverse_portable(y, table, scale);
    add_scalar(y, y, table->mod.q >> 1, n, &table->mod);
}

static void inner_product(uint64_t *r0, uint64_t *r1, const uint64_t *const *x,
                          const uint64_t *const *y0, const uint64_t *const *y1,
                          size_t k, size_t n, const zq_modulus *mod)
{
    sum_rows(r0, r1, x, NULL, y0, y1, k, n, mod);
}

static void inner_product_turned(uint64_t *r0, uint64_t *r1,
                                 const uint64_t *const *x, const uint32_t *map,
                                 const uint64_t *const *y0,
                                 const uint64_t *const *y1, size_t k, size_t n,
                                 const zq_modulus *mod)
{
    sum_rows(r0, r1, x, map, y0, y1, k, n, mod);
}

/* One source modulus: lift and product in one, at a third of the cost. */
static void convert_one(uint64_t *r, const uint64_t *x,
                        const ntt_convert *constants, size_t n,
                        const zq_modulus *mod)
{
    const uint64_t q = mod->q;
    const uint64_t half = constants->from[0] >> 1;
    const uint64_t factor = constants->factor[0];
    const uint64_t shoup = zq_shoup(factor, mod);
    const uint64_t minus = zq_neg(
        constants->is_raised ? constants->raised : constants->product, q);
    const uint64_t always = constants->is_raised ? UINT64_MAX : 0;
    for (size_t j = 0; j < n; j++) {
        /* [0,2q) + [0,q) < 3q < 4q */
        const uint64_t s = zq_mul_shoup_lazy(x[j], factor, shoup, q) +
                           (minus & (zq_sign_mask(half - x[j]) | always));
        r[j] = zq_correct(zq_correct(s, 2 * q), q);
    }
}

/* Whether the k·(largest - 1) products, each below 2^bits, of a conversion and
 * k additions below 2^bits make less than 2^(60 + bits). */
static bool is_short_sum(const ntt_convert *constants)
{
    uint64_t largest = 0;
    for (size_t i = 0; i < constants->k; i++) {
        const uint64_t from = constants->from[i];
        largest = from > largest ? from : largest;
    }
    return largest <= ((uint64_t)1 << 60) / constants->k;
}

/* convert of raised residues, two sources or more: the sum as it stands, and
 * one constant. */
static void convert_raised(uint64_t *r, const uint64_t *const *x,
                           const ntt_convert *constants, size_t n,
                           const zq_modulus *mod)
{
    const zq_modulus m = *mod;
    const uint64_t minus = zq_neg(constants->raised, m.q);
    const bool is_short = is_short_sum(constants);
    for (size_t j = 0; j < n; j += 2) {
        zq_u128 sum = minus, next = minus;
        for (size_t i = 0; i < constants->k; i++) {
            const uint64_t factor = constants->factor[i];
            const uint64_t *v = x[i] + j;
            sum += (zq_u128)v[0] * factor;
            next += (zq_u128)v[1] * factor;
        }
        r[j] = reduce_sum(sum, &m, is_short);
        r[j + 1] = reduce_sum(next, &m, is_short);
    }
}

/* centre(x_i) = x_i - q_i·[x_i > (q_i - 1)/2], and q_i·factor_i = Q for all i:
 * the sum needs one subtraction of Q per upper x_i, done as an addition of
 * t - Q mod t. At most 128 products below 2^120 and 128 additions below 2^60:
 * below 2^128. Raised x_i need one addition for all. */
static void convert(uint64_t *r, const uint64_t *const *x,
                    const ntt_convert *constants, size_t n,
                    const zq_modulus *mod)
{
    const zq_modulus m = *mod;
    const size_t k = constants->k;
    if (k == 1) {
        convert_one(r, x[0], constants, n, mod);
        return;
    }
    if (constants->is_raised) {
        convert_raised(r, x, constants, n, mod);
        return;
    }
    const uint64_t minus = zq_neg(constants->product, m.q);
    const bool is_short = is_short_sum(constants);
    for (size_t j = 0; j < n; j += 2) {
        zq_u128 sum = 0, next = 0;
        uint64_t upper = 0, next_upper = 0;
        for (size_t i = 0; i < k; i++) {
            const uint64_t half = constants->from[i] >> 1;
            const uint64_t factor = constants->factor[i];
            const uint64_t *v = x[i] + j;
            sum += (zq_u128)v[0] * factor;
            next += (zq_u128)v[1] * factor;
            upper += (half - v[0]) >> 63;
            next_upper += (half - v[1]) >> 63;
        }
        sum += (zq_u128)upper * minus;
        next += (zq_u128)next_upper * minus;
        r[j] = reduce_sum(sum, &m, is_short);
        r[j + 1] = reduce_sum(next, &m, is_short);
    }
}

static void sub_mul_scalar(uint64_t *r, const uint64_t *a, const uint64_t *b,
                           uint64_t c, size_t n, const zq_modulus *mod)
{
    const uint64_t q = mod->q;
    const uint64_t c_shoup = zq_shoup(c, mod);
    for (size_t j = 0; j < n; j++) {
        r[j] = zq_mul_shoup(a[j] + q - b[j], c, c_shoup, q);
    }
}

static void permute(uint64_t *r, const uint64_t *a, const uint32_t *map,
                    size_t n)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = a[map[j]];
    }
}

/* One part: the whole transform. */
static size_t one_part(const ntt_table *table)
{
    (void)table;
    return 1;
}

static void no_first_layers(uint64_t *a, const ntt_table *table)
{
    (void)a;
    (void)table;
}

static void whole_part(uint64_t *a, const ntt_table *table, size_t part,
                       const uint64_t *const soon[2])
{
    (void)part;
    (void)soon;
    ntt_forward_portable(a, table);
}

const ntt_kernels *ntt_kernels_portable(void)
{
    static const ntt_kernels kernels = {
        .name = "portable",
        .cpu_features = 0,
        .max_q_bits = ZQ_MAX_BITS,
        .forward = ntt_forward_portable,
        .forward_parts = one_part,
        .forward_first = no_first_layers,
        .forward_part = whole_part,
        .inverse = ntt_inverse_portable,
        .inverse_raised = inverse_raised,
        .add = add,
        .sub = sub,
        .negate = negate,
        .mul = mul,
        .mul_add = mul_add,
        .sub_mul = sub_mul,
        .mul_scalar = mul_scalar,
        .mul_scalar_add = mul_scalar_add,
        .add_scalar = add_scalar,
        .inner_product = inner_product,
        .switch_product = switch_product,
        .inner_product_turned = inner_product_turned,
        .convert = convert,
        .sub_mul_scalar = sub_mul_scalar,
        .permute = permute,
        .gemm = ntt_gemm_portable,
        .gemm_scratch = ntt_gemm_scratch_portable,
        .gemm_pack = ntt_gemm_pack_portable,
        .gemm_run = ntt_gemm_run_portable,
        .gemm_packed_bytes = ntt_gemm_packed_bytes_portable,
        .gemm_run_scratch = ntt_gemm_run_scratch_portable,
        .stream_blocks = sotto_chacha20_blocks,
        .keep_below = ntt_keep_below_portable,
        .pack_bits = ntt_pack_bits_portable,
        .unpack_bits = ntt_unpack_bits_portable,
        .binomial = ntt_binomial_portable,
    };
    return &kernels;
}
