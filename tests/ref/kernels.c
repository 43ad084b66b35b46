/* SPDX-License-Identifier: MIT
 * A backend made of definitions and the % operator.
 */
#include "tests/ref/kernels.h"

#include <stdlib.h>
#include <string.h>

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/ref/ring.h"

__extension__ typedef __int128 ref_i128;

static void forward(uint64_t *a, const ntt_table *table)
{
    const size_t n = table->ring.n;
    uint64_t *copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, a, n * sizeof *copy);
    for (size_t i = 0; i < n; i++) {
        a[i] =
            ref_ntt_at(copy, table->ring.log2_n, i, table->root, table->mod.q);
    }
    free(copy);
}

/* a_j = scale/n · Σ_i A_i·x_i^-j, where x_i is the point of position i. */
static void inverse(uint64_t *a, const ntt_table *table, uint64_t scale)
{
    const size_t n = table->ring.n;
    const uint64_t q = table->mod.q;
    const uint64_t factor = ref_mul_mod(scale, ref_inv_mod(n, q), q);
    const uint64_t one_x[2] = {0, 1};
    uint64_t *sum = calloc(n, sizeof *sum);
    uint64_t *unit = calloc(n, sizeof *unit);
    assert_true(sum != NULL && unit != NULL);
    memcpy(unit, one_x, sizeof one_x);
    for (size_t i = 0; i < n; i++) {
        /* The polynomial X has the value x_i at position i. */
        const uint64_t x =
            ref_ntt_at(unit, table->ring.log2_n, i, table->root, q);
        const uint64_t back = ref_inv_mod(x, q);
        uint64_t power = factor;
        for (size_t j = 0; j < n; j++) {
            sum[j] = (sum[j] + ref_mul_mod(a[i], power, q)) % q;
            power = ref_mul_mod(power, back, q);
        }
    }
    memcpy(a, sum, n * sizeof *a);
    free(sum);
    free(unit);
}

static void add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = (a[j] + b[j]) % mod->q;
    }
}

static void sub(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = (a[j] + mod->q - b[j]) % mod->q;
    }
}

static void negate(uint64_t *r, const uint64_t *a, size_t n,
                   const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = (mod->q - a[j]) % mod->q;
    }
}

static void mul(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = ref_mul_mod(a[j], b[j], mod->q);
    }
}

static void mul_add(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = (r[j] + ref_mul_mod(a[j], b[j], mod->q)) % mod->q;
    }
}

static void sub_mul(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = (r[j] + mod->q - ref_mul_mod(a[j], b[j], mod->q)) % mod->q;
    }
}

static void mul_scalar(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = ref_mul_mod(a[j], c, mod->q);
    }
}

static void mul_scalar_add(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                           const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = (r[j] + ref_mul_mod(a[j], c, mod->q)) % mod->q;
    }
}

static void add_scalar(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = (a[j] + c) % mod->q;
    }
}

static void inner_product(uint64_t *r0, uint64_t *r1, const uint64_t *const *x,
                          const uint64_t *const *y0, const uint64_t *const *y1,
                          size_t k, size_t n, const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r0[j] = 0;
        r1[j] = 0;
        for (size_t i = 0; i < k; i++) {
            r0[j] = (r0[j] + ref_mul_mod(x[i][j], y0[i][j], mod->q)) % mod->q;
            r1[j] = (r1[j] + ref_mul_mod(x[i][j], y1[i][j], mod->q)) % mod->q;
        }
    }
}

static void switch_product(uint64_t *r0, uint64_t *r1, const uint64_t *const *x,
                           const uint32_t *map, const uint32_t *const *y0,
                           const uint32_t *const *y1, size_t k, size_t n,
                           const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r0[j] = 0;
        r1[j] = 0;
        for (size_t i = 0; i < k; i++) {
            const uint64_t a = x[i][map[j]];
            r0[j] = (r0[j] + ref_mul_mod(a, y0[i][j], mod->q)) % mod->q;
            r1[j] = (r1[j] + ref_mul_mod(a, y1[i][j], mod->q)) % mod->q;
        }
    }
}

/* x modulo q for a signed x. */
static uint64_t residue(ref_i128 x, uint64_t q)
{
    const ref_i128 rest = x % (ref_i128)q;
    return (uint64_t)(rest < 0 ? rest + (ref_i128)q : rest);
}

static int64_t centre(uint64_t x, uint64_t q)
{
    return x > q / 2 ? -(int64_t)(q - x) : (int64_t)x;
}

static void convert(uint64_t *r, const uint64_t *const *x,
                    const ntt_convert *constants, size_t n,
                    const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        ref_i128 sum = 0;
        for (size_t i = 0; i < constants->k; i++) {
            const int64_t c = centre(x[i][j], constants->from[i]);
            sum += (ref_i128)c * (int64_t)constants->factor[i];
        }
        r[j] = residue(sum, mod->q);
    }
}

static void sub_mul_scalar(uint64_t *r, const uint64_t *a, const uint64_t *b,
                           uint64_t c, size_t n, const zq_modulus *mod)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = ref_mul_mod((a[j] + mod->q - b[j]) % mod->q, c, mod->q);
    }
}

static void permute(uint64_t *r, const uint64_t *a, const uint32_t *map,
                    size_t n)
{
    for (size_t j = 0; j < n; j++) {
        r[j] = a[map[j]];
    }
}

static void gemm(const ntt_gemm *job, const zq_modulus *mod, void *scratch)
{
    (void)scratch;
    for (size_t o = 0; o < job->m; o++) {
        for (size_t j = 0; j < job->n; j++) {
            ref_i128 sum = 0;
            for (size_t i = 0; i < job->k; i++) {
                sum += (ref_i128)job->weight[o * job->k + i] *
                       (int64_t)job->in[i][j];
            }
            if (job->offset != NULL) {
                sum += (int64_t)job->offset[o];
            }
            job->out[o][j] = residue(sum, mod->q);
        }
    }
}

static size_t gemm_scratch(const ntt_gemm *job, const zq_modulus *mod)
{
    (void)job;
    (void)mod;
    return 0;
}

static void stream_blocks(uint8_t *out, const sotto_seed *key, uint64_t counter,
                          size_t n_blocks)
{
    for (size_t i = 0; i < n_blocks; i++) {
        uint8_t nonce[12] = {0};
        const uint64_t c = counter + i;
        for (int b = 0; b < 4; b++) {
            nonce[b] = (uint8_t)(c >> (32 + 8 * b));
        }
        sotto_chacha20_block(out + i * SOTTO_CHACHA_BLOCK_BYTES, key->bytes,
                             (uint32_t)c, nonce);
    }
}

static size_t keep_below(uint64_t *out, size_t room, const uint64_t *word,
                         size_t n, const zq_modulus *mod)
{
    size_t got = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t x = word[i] % ((uint64_t)1 << mod->bits);
        if (x < mod->q && got < room) {
            out[got++] = x;
        }
    }
    return got;
}

static void pack_bits(uint8_t *out, const uint64_t *a, size_t n,
                      const zq_modulus *mod)
{
    const size_t bits = (size_t)mod->bits;
    memset(out, 0, n * bits / 8);
    for (size_t at = 0; at < n * bits; at++) {
        const uint64_t bit = a[at / bits] >> at % bits & 1;
        out[at / 8] |= (uint8_t)(bit << at % 8);
    }
}

static bool unpack_bits(uint64_t *out, const uint8_t *in, size_t n,
                        const zq_modulus *mod)
{
    const size_t bits = (size_t)mod->bits;
    bool ok = true;
    memset(out, 0, n * sizeof *out);
    for (size_t at = 0; at < n * bits; at++) {
        out[at / bits] |= (uint64_t)(in[at / 8] >> at % 8 & 1) << at % bits;
    }
    for (size_t j = 0; j < n; j++) {
        ok = ok && out[j] < mod->q;
    }
    return ok;
}

static void binomial(int8_t *out, const uint64_t *word, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        int sum = 0;
        for (int i = 0; i < 21; i++) {
            sum += (int)(word[j] >> i & 1) - (int)(word[j] >> (21 + i) & 1);
        }
        out[j] = (int8_t)sum;
    }
}

const ntt_kernels ref_kernels = {
    .name = "definition",
    .max_q_bits = 60,
    .forward = forward,
    .inverse = inverse,
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
    .convert = convert,
    .sub_mul_scalar = sub_mul_scalar,
    .permute = permute,
    .gemm = gemm,
    .gemm_scratch = gemm_scratch,
    .stream_blocks = stream_blocks,
    .keep_below = keep_below,
    .pack_bits = pack_bits,
    .unpack_bits = unpack_bits,
    .binomial = binomial,
};
