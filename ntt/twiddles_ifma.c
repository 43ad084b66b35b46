/* SPDX-License-Identifier: MIT
 * Twiddle factors of the IFMA transforms: 9.25 bytes per value and direction,
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

/* The lanes of a pair of vectors, which hold the blocks of four A B and C D:
 * the factors of these blocks go to A C B D, those of the blocks of two, of
 * which A has A and A' and so on, to A C B D A' C' B' D'. */
static void store_record(uint64_t *record, const source *s, size_t node)
{
    static const size_t lane_4[4] = {0, 2, 1, 3};
    static const size_t lane_2[8] = {0, 4, 2, 6, 1, 5, 3, 7};
    store_pair(record, s, node);
    for (size_t i = 0; i < 2; i++) {
        store_pair(record + 2 + 2 * i, s, 2 * node + i);
    }
    for (size_t i = 0; i < 4; i++) {
        store_pair(record + 6 + 2 * i, s, 4 * node + i);
    }
    record[14] = 0;
    record[15] = 0;
    for (size_t i = 0; i < 8; i++) {
        record[IFMA_RECORD_8 + i] = high_of(s, 8 * node + i);
    }
    for (size_t i = 0; i < 16; i++) {
        const size_t at = i / 4 * 4 + lane_4[i % 4];
        record[IFMA_RECORD_4 + i] = high_of(s, 16 * node + at);
    }
    for (size_t i = 0; i < 32; i++) {
        const size_t at = i / 8 * 8 + lane_2[i % 8];
        record[IFMA_RECORD_2 + i] = high_of(s, 32 * node + at);
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
            store_record(words, &s, blocks + i);
            words += IFMA_RECORD_WORDS;
        }
    }
}

#endif
