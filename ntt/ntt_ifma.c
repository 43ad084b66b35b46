/* SPDX-License-Identifier: MIT
 * Forward NTT with AVX-512 IFMA, for moduli below 2^50.
 *
 * Passes of three or two layers run down the tree of nodes (ntt_portable.c),
 * depth first, so that blocks of 2048 values and less stay in the first-level
 * cache; the last six layers are done in registers, on two blocks of 64 values
 * at a time because one alone would wait for its products.
 *
 * Ranges, narrow moduli (class A: (2·log2 N + 2)·q <= 2^52): with L = log2 N,
 * the first pass adds L·q to the values that it does not multiply. A butterfly
 * takes u and x to u + d and u - d with |d| < q (ifma_internal.h), so after i
 * layers all values are in ((L-i)·q, (L+1+i)·q): never negative and below
 * 2^52. Wide moduli (class B: q < 2^50): values stay in [0,4q), which is below
 * 2^52; u is taken to [0,2q), then q is added, and u + d, u - d are in (0,4q).
 */
#include "ntt/ifma_internal.h"

#include "ntt/portable_internal.h"

#if defined(__x86_64__)

/* What a transform has at hand. */
typedef struct run {
    ifma_field field;
    ifma_twiddles twiddles;
    vec start; /* log2 N·q */
    size_t n;
} run;

/* The butterfly u, x -> u + x·w, u - x·w. */
static IFMA_INLINE void butterfly(vec *u, vec *x, vec w, vec w_low,
                                  const ifma_field *f, int is_wide)
{
    vec a = *u;
    if (is_wide) {
        a = vec_add(vec_correct(a, f->q2), f->q);
    }
    *u = ifma_turn(a, *x, w, w_low, f);
    *x = vec_sub(vec_add(a, a), *u);
}

/* The same with a pair W, W' in memory. */
static IFMA_INLINE void butterfly_by(vec *u, vec *x, const uint64_t *pair,
                                     const ifma_field *f, int is_wide)
{
    butterfly(u, x, vec_set(pair[0]), vec_set(pair[1]), f, is_wide);
}

/* Two layers of the block of a node, 4·part values long. */
static IFMA_INLINE void pass_4(uint64_t *a, size_t node, size_t part,
                               const run *r, int is_first, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    for (size_t j = 0; j < part; j += 8) {
        vec x[4];
        for (size_t i = 0; i < 4; i++) {
            x[i] = vec_load(a + i * part + j);
            if (is_first && !is_wide && i < 2) {
                x[i] = vec_add(x[i], r->start);
            }
        }
        butterfly_by(&x[0], &x[2], top + 2 * node, &f, is_wide);
        butterfly_by(&x[1], &x[3], top + 2 * node, &f, is_wide);
        butterfly_by(&x[0], &x[1], top + 4 * node, &f, is_wide);
        butterfly_by(&x[2], &x[3], top + 4 * node + 2, &f, is_wide);
        for (size_t i = 0; i < 4; i++) {
            vec_store(a + i * part + j, x[i]);
        }
    }
}

/* Three layers of eight values a part apart; a block of 8·part values. */
static IFMA_INLINE void pass_8(uint64_t *a, size_t node, size_t part,
                               const run *r, int is_first, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    for (size_t j = 0; j < part; j += 8) {
        vec x[8];
        for (size_t i = 0; i < 8; i++) {
            x[i] = vec_load(a + i * part + j);
            if (is_first && !is_wide && i < 4) {
                x[i] = vec_add(x[i], r->start);
            }
        }
        for (size_t i = 0; i < 4; i++) {
            butterfly_by(&x[i], &x[i + 4], top + 2 * node, &f, is_wide);
        }
        for (size_t i = 0; i < 4; i++) {
            const size_t at = i / 2 * 4 + i % 2;
            butterfly_by(&x[at], &x[at + 2], top + 4 * node + i / 2 * 2, &f,
                         is_wide);
        }
        for (size_t i = 0; i < 4; i++) {
            butterfly_by(&x[2 * i], &x[2 * i + 1], top + 8 * node + 2 * i, &f,
                         is_wide);
        }
        for (size_t i = 0; i < 8; i++) {
            vec_store(a + i * part + j, x[i]);
        }
    }
}

/* The three layers of two blocks of 64 that pair whole vectors. */
static IFMA_INLINE void last_vertical(vec x[16], const uint64_t *record,
                                      const ifma_field *f, int is_wide)
{
    for (size_t i = 0; i < 8; i++) {
        const size_t at = i / 4 * 8 + i % 4;
        const uint64_t *pair = record + i / 4 * IFMA_RECORD_WORDS;
        butterfly_by(&x[at], &x[at + 4], pair, f, is_wide);
    }
    for (size_t i = 0; i < 8; i++) {
        const size_t at = i / 2 * 4 + i % 2;
        const uint64_t *pair =
            record + i / 4 * IFMA_RECORD_WORDS + 2 + i % 4 / 2 * 2;
        butterfly_by(&x[at], &x[at + 2], pair, f, is_wide);
    }
    for (size_t i = 0; i < 8; i++) {
        const uint64_t *pair =
            record + i / 4 * IFMA_RECORD_WORDS + 6 + i % 4 * 2;
        butterfly_by(&x[2 * i], &x[2 * i + 1], pair, f, is_wide);
    }
}

/* range: as all values here -> [0,q) */
static IFMA_INLINE vec finish(vec x, const ifma_field *f, int is_wide)
{
    x = is_wide ? vec_correct(x, f->q2) : ifma_shrink(x, f);
    return vec_correct(x, f->q);
}

/* The last three layers of two neighbouring vectors, whose four blocks of four
 * values are called A B | C D. Lanes are moved such that each layer pairs whole
 * vectors again and its factors repeat, so that few are loaded:
 *     A0C0A1C1A2C2A3C3 | B0D0…    then A0C0B0D0A1C1B1D1 | A2C2…
 *     then A0C0B0D0A2C2B2D2 | A1C1B1D1A3C3B3D3, and back to A B | C D. */
static IFMA_INLINE void last_pair(vec x[2], const uint64_t *record, size_t pair,
                                  const ifma_field *f, int is_wide)
{
    const vec low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const vec high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    vec u = _mm512_permutex2var_epi64(x[0], low, x[1]);
    vec v = _mm512_permutex2var_epi64(x[0], high, x[1]);
    vec w = _mm512_broadcast_i64x2(
        _mm_load_si128((const __m128i *)(record + IFMA_RECORD_8 + 2 * pair)));
    butterfly(&u, &v, w, ifma_low(w, f), f, is_wide);
    const vec front = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const vec back = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    vec s = _mm512_permutex2var_epi64(u, front, v);
    vec t = _mm512_permutex2var_epi64(u, back, v);
    w = _mm512_broadcast_i64x4(_mm256_load_si256(
        (const __m256i *)(record + IFMA_RECORD_4 + 4 * pair)));
    butterfly(&s, &t, w, ifma_low(w, f), f, is_wide);
    u = _mm512_shuffle_i64x2(s, t, 0x44);
    v = _mm512_shuffle_i64x2(s, t, 0xee);
    w = vec_load(record + IFMA_RECORD_2 + 8 * pair);
    butterfly(&u, &v, w, ifma_low(w, f), f, is_wide);
    u = finish(u, f, is_wide);
    v = finish(v, f, is_wide);
    const vec left = _mm512_setr_epi64(0, 8, 4, 12, 2, 10, 6, 14);
    const vec right = _mm512_setr_epi64(1, 9, 5, 13, 3, 11, 7, 15);
    x[0] = _mm512_permutex2var_epi64(u, left, v);
    x[1] = _mm512_permutex2var_epi64(u, right, v);
}

/* The last six layers of `count` blocks of 64 values, an even number. */
static IFMA_INLINE void last(uint64_t *a, size_t block, size_t count,
                             const run *r, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *record = r->twiddles.record + block * IFMA_RECORD_WORDS;
    for (size_t b = 0; b < count; b += 2) {
        vec x[16];
        for (size_t i = 0; i < 16; i++) {
            x[i] = vec_load(a + 8 * i);
        }
        last_vertical(x, record, &f, is_wide);
        for (size_t i = 0; i < 8; i++) {
            last_pair(x + 2 * i, record + i / 4 * IFMA_RECORD_WORDS, i % 4, &f,
                      is_wide);
        }
        for (size_t i = 0; i < 16; i++) {
            vec_store(a + 8 * i, x[i]);
        }
        a += 2 * IFMA_BLOCK;
        record += 2 * IFMA_RECORD_WORDS;
    }
}

/* The parts of a transform, for moduli of one kind. */
typedef void pass(uint64_t *a, size_t node, size_t part, const run *r);
typedef struct passes {
    pass *first[2]; /* of the first pass: two layers, three layers */
    pass *next[2];  /* … of any other */
    void (*last)(uint64_t *a, size_t block, size_t count, const run *r);
} passes;

#define DEFINE_PASS(name, layers, is_first, is_wide)                           \
    static void name(uint64_t *a, size_t node, size_t part, const run *r)      \
    {                                                                          \
        layers(a, node, part, r, is_first, is_wide);                           \
    }
DEFINE_PASS(narrow_first_4, pass_4, 1, 0)
DEFINE_PASS(narrow_first_8, pass_8, 1, 0)
DEFINE_PASS(narrow_4, pass_4, 0, 0)
DEFINE_PASS(narrow_8, pass_8, 0, 0)
DEFINE_PASS(wide_4, pass_4, 0, 1)
DEFINE_PASS(wide_8, pass_8, 0, 1)
#undef DEFINE_PASS

static void narrow_last(uint64_t *a, size_t block, size_t count, const run *r)
{
    last(a, block, count, r, 0);
}

static void wide_last(uint64_t *a, size_t block, size_t count, const run *r)
{
    last(a, block, count, r, 1);
}

static const passes narrow_passes = {
    {narrow_first_4, narrow_first_8}, {narrow_4, narrow_8}, narrow_last};
static const passes wide_passes = {
    {wide_4, wide_8}, {wide_4, wide_8}, wide_last};

/* All layers of the block of a node, len values long, by p; kind is p->first
 * or p->next. */
static void descend(uint64_t *a, size_t node, size_t len, const run *r,
                    const passes *p, pass *const *kind)
{
    const size_t parts = ifma_parts(len);
    const size_t part = len / parts;
    kind[parts == 8](a, node, part, r);
    if (part == IFMA_BLOCK) {
        p->last(a, node * parts - r->n / IFMA_BLOCK, parts, r);
        return;
    }
    for (size_t i = 0; i < parts; i++) {
        descend(a + i * part, node * parts + i, part, r, p, p->next);
    }
}

void ntt_forward_ifma(uint64_t *a, const ntt_table *table)
{
    if (table->ring.log2_n < IFMA_MIN_LOG2_N) {
        ntt_forward_portable(a, table);
        return;
    }
    const passes *p = ifma_is_narrow(table) ? &narrow_passes : &wide_passes;
    const run r = {.field = ifma_field_of(&table->mod),
                   .twiddles = ifma_twiddles_of(table, 0),
                   .start =
                       vec_set((uint64_t)table->ring.log2_n * table->mod.q),
                   .n = table->ring.n};
    descend(a, 1, r.n, &r, p, p->first);
}

#endif
