/* SPDX-License-Identifier: MIT
 * Portable negacyclic NTT: lazy butterflies with Shoup's twiddles.
 *
 * The blocks of all layers form a binary tree: node 1 is the whole polynomial,
 * node t has the halves 2t and 2t+1, and its twiddle factor is table entry t:
 *
 *     layer 0                1                 forward: from top to bottom,
 *     layer 1          2          3            inverse: from bottom to top
 *     layer 2        4   5      6   7
 *
 * A pass does two layers (a node and its two halves) on four values at a time.
 * For large polynomials the top passes run over the whole array, then each
 * block that fits the first-level cache is finished by itself.
 *
 * Ranges are counted in multiples of q: "bound b" means values in [0,b·q).
 * A product with a twiddle takes any 64-bit value and gives [0,2q), so values
 * may grow until b·q would pass 2^64, i.e. up to limit = 2^(64 - bits); only
 * then is a pass told to reduce.
 */
#include "ntt/portable_internal.h"

/* Words of a block that is finished by itself: 16 KiB, and its twiddle factors
 * beside it. */
#define BLOCK_WORDS 2048

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* A twiddle factor with its quotient. */
typedef struct twiddle {
    uint64_t w;
    uint64_t w_shoup;
} twiddle;

/* x·w.   range: any -> [0,2q) */
static ALWAYS_INLINE uint64_t turn(uint64_t x, twiddle t, uint64_t q)
{
    return zq_mul_shoup_lazy(x, t.w, t.w_shoup, q);
}

/* range: any -> [0,2q), as in zq_reduce_u64 without its correction */
static ALWAYS_INLINE uint64_t shrink(uint64_t x, const zq_modulus *m)
{
    return x - zq_mul_hi(x, m->ratio_hi) * m->q;
}

/* range: [0,4q) -> [0,q) */
static ALWAYS_INLINE uint64_t finish(uint64_t x, uint64_t q)
{
    return zq_correct(zq_correct(x, 2 * q), q);
}

static ALWAYS_INLINE twiddle forward_twiddle(const ntt_table *table, size_t t)
{
    return (twiddle){table->forward[t], table->forward_shoup[t]};
}

static ALWAYS_INLINE twiddle inverse_twiddle(const ntt_table *table, size_t t)
{
    return (twiddle){table->inverse[t], table->inverse_shoup[t]};
}

/* Layer 0 alone, for odd log2 n.   range: bound 1 -> 3 */
static void forward_single(uint64_t *a, const ntt_table *table)
{
    const uint64_t q = table->mod.q;
    const twiddle w = forward_twiddle(table, 1);
    const size_t half = table->ring.n / 2;
    for (size_t j = 0; j < half; j++) {
        const uint64_t u = a[j];
        const uint64_t v = turn(a[j + half], w, q);
        a[j] = u + v;
        a[j + half] = u - v + 2 * q;
    }
}

/* Two layers of the blocks of nodes node … node+count-1, each 4·quarter long.
 * range: bound b -> b + 4; with reduce, any -> 6: each layer adds 2 to the
 * bound of the half that is not multiplied, which reduce makes 2. */
static ALWAYS_INLINE void forward_pass_of(uint64_t *a, size_t node,
                                          size_t count, size_t quarter,
                                          const ntt_table *table, int reduce)
{
    const uint64_t q = table->mod.q;
    for (size_t i = 0; i < count; i++) {
        const twiddle w = forward_twiddle(table, node + i);
        const twiddle left = forward_twiddle(table, 2 * (node + i));
        const twiddle right = forward_twiddle(table, 2 * (node + i) + 1);
        uint64_t *x0 = a + 4 * quarter * i;
        uint64_t *x1 = x0 + quarter;
        uint64_t *x2 = x1 + quarter;
        uint64_t *x3 = x2 + quarter;
        for (size_t j = 0; j < quarter; j++) {
            const uint64_t a0 = reduce ? shrink(x0[j], &table->mod) : x0[j];
            const uint64_t a1 = reduce ? shrink(x1[j], &table->mod) : x1[j];
            const uint64_t a2 = turn(x2[j], w, q);
            const uint64_t a3 = turn(x3[j], w, q);
            const uint64_t b0 = a0 + a2;
            const uint64_t b1 = turn(a1 + a3, left, q);
            const uint64_t b2 = a0 - a2 + 2 * q;
            const uint64_t b3 = turn(a1 - a3 + 2 * q, right, q);
            x0[j] = b0 + b1;
            x1[j] = b0 - b1 + 2 * q;
            x2[j] = b2 + b3;
            x3[j] = b2 - b3 + 2 * q;
        }
    }
}

/* The same, choosing the variant; returns the new bound. */
static unsigned forward_pass(uint64_t *a, size_t node, size_t count,
                             size_t quarter, const ntt_table *table,
                             unsigned bound, unsigned limit)
{
    if (bound + 4 > limit) {
        forward_pass_of(a, node, count, quarter, table, 1);
        return 6;
    }
    forward_pass_of(a, node, count, quarter, table, 0);
    return bound + 4;
}

/* The last two layers: blocks of four values.
 * range: bound + 2 <= limit -> [0,q) */
static void forward_last(uint64_t *a, size_t node, size_t count,
                         const ntt_table *table)
{
    const zq_modulus *mod = &table->mod;
    const uint64_t q = mod->q;
    for (size_t i = 0; i < count; i++) {
        const twiddle w = forward_twiddle(table, node + i);
        const twiddle left = forward_twiddle(table, 2 * (node + i));
        const twiddle right = forward_twiddle(table, 2 * (node + i) + 1);
        uint64_t *x = a + 4 * i;
        const uint64_t a2 = turn(x[2], w, q);
        const uint64_t a3 = turn(x[3], w, q);
        const uint64_t b0 = shrink(x[0] + a2, mod);
        const uint64_t b1 = turn(x[1] + a3, left, q);
        const uint64_t b2 = shrink(x[0] - a2 + 2 * q, mod);
        const uint64_t b3 = turn(x[1] - a3 + 2 * q, right, q);
        x[0] = finish(b0 + b1, q);
        x[1] = finish(b0 - b1 + 2 * q, q);
        x[2] = finish(b2 + b3, q);
        x[3] = finish(b2 - b3 + 2 * q, q);
    }
}

/* All layers of one block. limit >= 16 here: a pass leaves a bound of at most
 * limit, and the one before the last pass reduces when 2 more do not fit. */
static void forward_block(uint64_t *a, size_t node, size_t len,
                          const ntt_table *table, unsigned bound,
                          unsigned limit)
{
    size_t count = 1;
    for (; len > 4; len /= 4) {
        /* Before the last pass leave room for its first layer. */
        const unsigned room = len == 16 ? 2 : 0;
        bound =
            forward_pass(a, node, count, len / 4, table, bound, limit - room);
        node *= 4;
        count *= 4;
    }
    forward_last(a, node, count, table);
}

void ntt_forward_portable(uint64_t *a, const ntt_table *table)
{
    const unsigned limit =
        table->mod.bits <= 56 ? 256 : 1u << (64 - table->mod.bits);
    size_t len = table->ring.n;
    size_t nodes = 1;
    unsigned bound = 1;
    if (table->ring.log2_n % 2 != 0) {
        forward_single(a, table);
        len /= 2;
        nodes = 2;
        bound = 3;
    }
    while (len > BLOCK_WORDS) {
        bound = forward_pass(a, nodes, nodes, len / 4, table, bound, limit);
        len /= 4;
        nodes *= 4;
    }
    for (size_t i = 0; i < nodes; i++) {
        forward_block(a + i * len, nodes + i, len, table, bound, limit);
    }
}

/* Two layers upwards of the blocks of nodes node … node+count-1, each
 * 4·quarter long.   range: bound b >= 1 -> max(4b, 4), or 2 with reduce;
 * 4b <= limit. offset = b·q makes differences positive: in the first layer of
 * values below b·q, in the second of sums below 2b·q and of products below
 * 2q. */
static ALWAYS_INLINE void inverse_pass_of(uint64_t *a, size_t node,
                                          size_t count, size_t quarter,
                                          const ntt_table *table,
                                          uint64_t offset, int reduce)
{
    const zq_modulus *mod = &table->mod;
    const uint64_t q = mod->q;
    for (size_t i = 0; i < count; i++) {
        const twiddle w = inverse_twiddle(table, node + i);
        const twiddle left = inverse_twiddle(table, 2 * (node + i));
        const twiddle right = inverse_twiddle(table, 2 * (node + i) + 1);
        uint64_t *x0 = a + 4 * quarter * i;
        uint64_t *x1 = x0 + quarter;
        uint64_t *x2 = x1 + quarter;
        uint64_t *x3 = x2 + quarter;
        for (size_t j = 0; j < quarter; j++) {
            const uint64_t b0 = x0[j] + x1[j];
            const uint64_t b1 = turn(x0[j] - x1[j] + offset, left, q);
            const uint64_t b2 = x2[j] + x3[j];
            const uint64_t b3 = turn(x2[j] - x3[j] + offset, right, q);
            const uint64_t c0 = b0 + b2;
            const uint64_t c1 = b1 + b3;
            x0[j] = reduce ? shrink(c0, mod) : c0;
            x1[j] = reduce ? shrink(c1, mod) : c1;
            x2[j] = turn(b0 - b2 + 2 * offset, w, q);
            x3[j] = turn(b1 - b3 + 2 * q, w, q);
        }
    }
}

/* The same, choosing the variant such that another pass can follow; returns
 * the new bound. */
static uint64_t inverse_pass(uint64_t *a, size_t node, size_t count,
                             size_t quarter, const ntt_table *table,
                             uint64_t bound, uint64_t limit)
{
    const uint64_t offset = bound * table->mod.q;
    if (16 * bound > limit) {
        inverse_pass_of(a, node, count, quarter, table, offset, 1);
        return 2;
    }
    inverse_pass_of(a, node, count, quarter, table, offset, 0);
    return 4 * bound;
}

/* The topmost layer for odd log2 n, times scale.
 * range: 2·bound <= limit -> [0,q) */
static void inverse_single(uint64_t *a, const ntt_table *table, twiddle scale,
                           twiddle top, uint64_t bound)
{
    const uint64_t q = table->mod.q;
    const uint64_t offset = bound * q;
    const size_t half = table->ring.n / 2;
    for (size_t j = 0; j < half; j++) {
        const uint64_t u = a[j];
        const uint64_t v = a[j + half];
        a[j] = zq_correct(turn(u + v, scale, q), q);
        a[j + half] = zq_correct(turn(u - v + offset, top, q), q);
    }
}

/* The two topmost layers for even log2 n, times scale.
 * range: 4·bound <= limit -> [0,q) */
static void inverse_double(uint64_t *a, const ntt_table *table, twiddle scale,
                           twiddle top, uint64_t bound)
{
    const uint64_t q = table->mod.q;
    const uint64_t offset = bound * q;
    const twiddle left = inverse_twiddle(table, 2);
    const twiddle right = inverse_twiddle(table, 3);
    const size_t quarter = table->ring.n / 4;
    uint64_t *x0 = a;
    uint64_t *x1 = x0 + quarter;
    uint64_t *x2 = x1 + quarter;
    uint64_t *x3 = x2 + quarter;
    for (size_t j = 0; j < quarter; j++) {
        const uint64_t b0 = x0[j] + x1[j];
        const uint64_t b1 = turn(x0[j] - x1[j] + offset, left, q);
        const uint64_t b2 = x2[j] + x3[j];
        const uint64_t b3 = turn(x2[j] - x3[j] + offset, right, q);
        x0[j] = zq_correct(turn(b0 + b2, scale, q), q);
        x1[j] = zq_correct(turn(b1 + b3, scale, q), q);
        x2[j] = zq_correct(turn(b0 - b2 + 2 * offset, top, q), q);
        x3[j] = zq_correct(turn(b1 - b3 + 2 * q, top, q), q);
    }
}

void ntt_inverse_portable(uint64_t *a, const ntt_table *table, uint64_t scale)
{
    const zq_modulus *mod = &table->mod;
    const uint64_t limit = (uint64_t)1 << (64 - mod->bits);
    const uint64_t factor = zq_mul(scale, table->n_inverse, mod);
    const uint64_t turned = zq_mul(factor, table->inverse[1], mod);
    const twiddle by_scale = {factor, zq_shoup(factor, mod)};
    const twiddle by_top = {turned, zq_shoup(turned, mod)};
    const size_t n = table->ring.n;
    const size_t top_len = table->ring.log2_n % 2 != 0 ? n / 2 : n / 4;
    size_t len = top_len;
    while (len > BLOCK_WORDS) {
        len /= 4;
    }
    uint64_t bound = 1;
    for (size_t i = 0; i < n / len; i++) {
        uint64_t *block = a + i * len;
        bound = 1;
        for (size_t size = 4; size <= len; size *= 4) {
            const size_t count = len / size;
            bound = inverse_pass(block, (n / len + i) * count, count, size / 4,
                                 table, bound, limit);
        }
    }
    for (size_t size = 4 * len; size <= top_len; size *= 4) {
        bound =
            inverse_pass(a, n / size, n / size, size / 4, table, bound, limit);
    }
    if (table->ring.log2_n % 2 != 0) {
        inverse_single(a, table, by_scale, by_top, bound);
    } else {
        inverse_double(a, table, by_scale, by_top, bound);
    }
}
