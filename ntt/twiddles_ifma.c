/* SPDX-License-Identifier: MIT
 * Twiddle factors of the IFMA transforms: 10.25 bytes per value and direction,
 * in the order in which blocks of 64 values want them.
 */
#include "ntt/ifma_internal.h"

#if defined(__x86_64__)

size_t ntt_twiddle_bytes_ifma(const ntt_table *table)
{
    if (table->ring.log2_n < IFMA_MIN_LOG2_N) {
        return 0;
    }
    const size_t blocks = table->ring.n / IFMA_BLOCK;
    return 2 * (2 + IFMA_RECORD_WORDS) * blocks * sizeof(uint64_t);
}

/* What a record is made from. */
typedef struct source {
    const uint64_t *factor; /* [n], by node */
    const zq_modulus *mod;
    uint64_t inverse;
} source;

static uint64_t high_of(const source *s, size_t node)
{
    return ifma_factor(s->factor[node], s->mod);
}

static void store_pair(uint64_t pair[2], const source *s, size_t node)
{
    pair[0] = high_of(s, node);
    pair[1] = pair[0] * s->inverse & IFMA_LOW_BITS;
}

/* Two vectors of factors in lanes, for four pairs of neighbouring vectors: lane
 * 2i + j of vector v holds the factor of the block blocks[i] of pair 2v + j,
 * of which a pair has `each`; the first of all has the node `node`. */
static void store_lanes(uint64_t words[16], const source *s, size_t node,
                        size_t each, const size_t blocks[4])
{
    for (size_t i = 0; i < 16; i++) {
        const size_t pair = i / 8 * 2 + i % 2;
        words[i] = high_of(s, node + pair * each + blocks[i % 8 / 2]);
    }
}

/* The orders in which blocks of a pair of vectors lie in lanes (ntt_ifma.c and
 * inverse_ifma.c say why): of its blocks of eight values, a and b; of its
 * blocks of four, A B C D; of its blocks of two, A A' B B' and so on. */
static void store_record(uint64_t *record, const source *s, size_t node,
                         int is_inverse)
{
    static const size_t lanes_8[2][4] = {{0, 0, 1, 1}, {0, 1, 0, 1}};
    static const size_t lanes_4[4] = {0, 2, 1, 3};
    static const size_t lanes_2[8] = {0, 1, 4, 5, 2, 3, 6, 7};
    store_pair(record, s, node);
    for (size_t i = 0; i < 2; i++) {
        store_pair(record + 2 + 2 * i, s, 2 * node + i);
    }
    for (size_t i = 0; i < 4; i++) {
        store_pair(record + 6 + 2 * i, s, 4 * node + i);
    }
    record[14] = 0;
    record[15] = 0;
    store_lanes(record + IFMA_RECORD_8, s, 8 * node, 2, lanes_8[is_inverse]);
    store_lanes(record + IFMA_RECORD_4, s, 16 * node, 4, lanes_4);
    for (size_t i = 0; i < 32; i++) {
        record[IFMA_RECORD_2 + i] =
            high_of(s, 32 * node + i / 8 * 8 + lanes_2[i % 8]);
    }
}

void ntt_twiddle_init_ifma(void *twiddles, const ntt_table *table)
{
    if (table->ring.log2_n < IFMA_MIN_LOG2_N) {
        return;
    }
    const size_t blocks = table->ring.n / IFMA_BLOCK;
    uint64_t *words = twiddles;
    for (int is_inverse = 0; is_inverse <= 1; is_inverse++) {
        const source s = {is_inverse ? table->inverse : table->forward,
                          &table->mod, ifma_inverse(table->mod.q)};
        for (size_t node = 0; node < blocks; node++) {
            store_pair(words + 2 * node, &s, node);
        }
        words += 2 * blocks;
        for (size_t i = 0; i < blocks; i++) {
            store_record(words, &s, blocks + i, is_inverse);
            words += IFMA_RECORD_WORDS;
        }
    }
}

#endif
