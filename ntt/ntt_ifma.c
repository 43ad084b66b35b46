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
    const uint64_t *soon[2]; /* to be fetched, or NULL; … */
    size_t soon_block;       /* … from this block of 64 on */
} run;

/* Which values a layer takes. */
typedef enum range {
    NARROW,    /* of a narrow modulus */
    WIDE,      /* of a wide one */
    WIDE_FIRST /* of a wide one, below 2q: nothing to correct */
} range;

/* Four butterflies u, v -> u + v·w, u - v·w on some vectors, with v `gap`
 * vectors behind u; those from number `start` on. Step by step for all four:
 * the scheduler looks ahead less than three layers, and a product of one
 * butterfly waits for another. */
static IFMA_INLINE void layer(vec *x, size_t gap, size_t start, const vec w[4],
                              const vec w_low[4], const ifma_field *f, range in)
{
    vec *u[4], *v[4], a[4], m[4], t[4];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        u[i] = x + (start + i) / gap * 2 * gap + (start + i) % gap;
        v[i] = u[i] + gap;
        m[i] = vec_lo(vec_zero(), *v[i], w_low[i]);
    }
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        a[i] = in == WIDE ? vec_correct(*u[i], f->q2) : *u[i];
        a[i] = in == NARROW ? a[i] : vec_add(a[i], f->q);
        *u[i] = vec_hi(a[i], *v[i], w[i]);
    }
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        t[i] = vec_hi(vec_zero(), m[i], f->q);
        a[i] = vec_add(a[i], a[i]);
    }
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        *u[i] = vec_sub_as_is(*u[i], t[i]);
        *v[i] = vec_sub(a[i], *u[i]);
    }
}

/* The same with pairs W, W' in memory, one for each `gap` butterflies. */
static IFMA_INLINE void layer_by(vec *x, size_t gap, size_t start,
                                 const uint64_t *pair, const ifma_field *f,
                                 range in)
{
    vec w[4], w_low[4];
    ifma_pair_factors(w, w_low, gap, pair);
    layer(x, gap, start, w, w_low, f, in);
}

/* Two layers of the block of a node, 4·part values long, on two vectors of each
 * part at a time. */
static IFMA_INLINE void pass_4(uint64_t *a, size_t node, size_t part,
                               const run *r, int is_first, range in)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    const range first = is_first && in == WIDE ? WIDE_FIRST : in;
    for (size_t j = 0; j < part; j += 16) {
        vec x[8];
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            x[i] = vec_load(a + i / 2 * part + i % 2 * 8 + j);
            if (is_first && in == NARROW && i < 4) {
                x[i] = vec_add(x[i], r->start);
            }
        }
        layer_by(x, 4, 0, top + 2 * node, &f, first);
        layer_by(x, 2, 0, top + 4 * node, &f, in);
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            vec_store(a + i / 2 * part + i % 2 * 8 + j, x[i]);
        }
    }
}

/* Three layers of eight values a part apart; a block of 8·part values. */
static IFMA_INLINE void pass_8(uint64_t *a, size_t node, size_t part,
                               const run *r, int is_first, range in)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    const range first = is_first && in == WIDE ? WIDE_FIRST : in;
    for (size_t j = 0; j < part; j += 8) {
        vec x[8];
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            x[i] = vec_load(a + i * part + j);
            if (is_first && in == NARROW && i < 4) {
                x[i] = vec_add(x[i], r->start);
            }
        }
        layer_by(x, 4, 0, top + 2 * node, &f, first);
        layer_by(x, 2, 0, top + 4 * node, &f, in);
        layer_by(x, 1, 0, top + 8 * node, &f, in);
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            vec_store(a + i * part + j, x[i]);
        }
    }
}

/* Four layers of sixteen values a part apart; a block of 16·part values. */
static IFMA_INLINE void pass_16(uint64_t *a, size_t node, size_t part,
                                const run *r, int is_first, range in)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    const range first = is_first && in == WIDE ? WIDE_FIRST : in;
    for (size_t j = 0; j < part; j += 8) {
        vec x[16];
        UNROLL
        for (size_t i = 0; i < 16; i++) {
            x[i] = vec_load(a + i * part + j);
            if (is_first && in == NARROW && i < 8) {
                x[i] = vec_add(x[i], r->start);
            }
        }
        layer_by(x, 8, 0, top + 2 * node, &f, first);
        layer_by(x, 8, 4, top + 2 * node, &f, first);
        layer_by(x, 4, 0, top + 4 * node, &f, in);
        layer_by(x + 8, 4, 0, top + 4 * node + 2, &f, in);
        layer_by(x, 2, 0, top + 8 * node, &f, in);
        layer_by(x + 8, 2, 0, top + 8 * node + 4, &f, in);
        layer_by(x, 1, 0, top + 16 * node, &f, in);
        layer_by(x + 8, 1, 0, top + 16 * node + 8, &f, in);
        UNROLL
        for (size_t i = 0; i < 16; i++) {
            vec_store(a + i * part + j, x[i]);
        }
    }
}

/* The last three layers of a block of 64. Of two neighbouring vectors, called
 * A B | C D by blocks of four values, lanes are moved such that each layer
 * pairs whole vectors again:
 *     A0 A1 A2 A3 C0 C1 C2 C3 | B0 B1 B2 B3 D0 D1 D2 D3
 *     A0 A1 C0 C1 B0 B1 D0 D1 | A2 A3 C2 C3 B2 B3 D2 D3
 *     A0 A2 C0 C2 B0 B2 D0 D2 | A1 A3 C1 C3 B1 B3 D1 D3    and back. */
static IFMA_INLINE void layer_lanes(vec x[8], const uint64_t *words,
                                    const ifma_field *f, range in)
{
    vec w[4], w_low[4];
    ifma_lane_factors(w, w_low, words, f);
    layer(x, 1, 0, w, w_low, f, in);
}

/* The very last layer, canonical. */
static IFMA_INLINE void layer_last(vec x[8], const uint64_t *record,
                                   const ifma_field *f, range in)
{
    vec w[4], w_low[4];
    ifma_move_single(x);
    ifma_last_factors(w, w_low, record, f);
    layer(x, 1, 0, w, w_low, f, in);
    UNROLL
    for (size_t i = 0; i < 8; i++) {
        x[i] = in == NARROW ? ifma_shrink(x[i], f) : vec_correct(x[i], f->q2);
        x[i] = vec_correct(x[i], f->q);
    }
    ifma_move_single(x);
    ifma_swap_quarters(x);
}

/* The last six layers of two blocks, in turn: alone, one would wait. */
static IFMA_INLINE void last_six(vec x[8], vec y[8], const uint64_t *record,
                                 const ifma_field *f, range in)
{
    const uint64_t *next = record + IFMA_RECORD_WORDS;
    layer_by(x, 4, 0, record, f, in);
    layer_by(y, 4, 0, next, f, in);
    layer_by(x, 2, 0, record + 2, f, in);
    layer_by(y, 2, 0, next + 2, f, in);
    layer_by(x, 1, 0, record + 6, f, in);
    layer_by(y, 1, 0, next + 6, f, in);
    ifma_move_halves(x);
    layer_lanes(x, record + IFMA_RECORD_8, f, in);
    ifma_move_halves(y);
    layer_lanes(y, next + IFMA_RECORD_8, f, in);
    ifma_move_quarters(x);
    layer_lanes(x, record + IFMA_RECORD_4, f, in);
    ifma_move_quarters(y);
    layer_lanes(y, next + IFMA_RECORD_4, f, in);
    layer_last(x, record, f, in);
    layer_last(y, next, f, in);
}

/* Fetches what is needed soon for two blocks of 64 values from number `block`
 * on, into the second-level cache. */
static IFMA_INLINE void fetch_soon(const run *r, size_t block)
{
    UNROLL
    for (size_t i = 0; i < 2 * IFMA_BLOCK; i += 8) {
        const size_t at = (block - r->soon_block) * IFMA_BLOCK + i;
        _mm_prefetch((const char *)(r->soon[0] + at), _MM_HINT_T1);
        _mm_prefetch((const char *)(r->soon[1] + at), _MM_HINT_T1);
    }
}

/* The last six layers of `count` blocks of 64 values, an even number. */
static IFMA_INLINE void last(uint64_t *a, size_t block, size_t count,
                             const run *r, range in)
{
    const ifma_field f = r->field;
    const uint64_t *record = r->twiddles.record + block * IFMA_RECORD_WORDS;
    for (size_t b = 0; b < count; b += 2) {
        vec x[8], y[8];
        if (r->soon[0] != NULL) {
            fetch_soon(r, block + b);
        }
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            x[i] = vec_load(a + 8 * i);
            y[i] = vec_load(a + IFMA_BLOCK + 8 * i);
        }
        last_six(x, y, record, &f, in);
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            vec_store(a + 8 * i, x[i]);
            vec_store(a + IFMA_BLOCK + 8 * i, y[i]);
        }
        a += 2 * IFMA_BLOCK;
        record += 2 * IFMA_RECORD_WORDS;
    }
}

/* The parts of a transform, for moduli of one kind. Passes into 4 and 16 parts
 * end at blocks of 64, and know it: sixteen addresses of unknown distance are
 * more than there are registers. */
typedef void pass(uint64_t *a, size_t node, size_t len, const run *r);
typedef struct passes {
    pass *first[3]; /* of the first pass: two, three, four layers */
    pass *next[3];  /* … of any other */
    void (*last)(uint64_t *a, size_t block, size_t count, const run *r);
} passes;

#define DEFINE_PASS(name, layers, part, is_first, in)                          \
    static void name(uint64_t *a, size_t node, size_t len, const run *r)       \
    {                                                                          \
        (void)len;                                                             \
        layers(a, node, part, r, is_first, in);                                \
    }
DEFINE_PASS(narrow_first_4, pass_4, IFMA_BLOCK, 1, NARROW)
DEFINE_PASS(narrow_first_8, pass_8, len / 8, 1, NARROW)
DEFINE_PASS(narrow_first_16, pass_16, IFMA_BLOCK, 1, NARROW)
DEFINE_PASS(narrow_4, pass_4, IFMA_BLOCK, 0, NARROW)
DEFINE_PASS(narrow_8, pass_8, len / 8, 0, NARROW)
DEFINE_PASS(narrow_16, pass_16, IFMA_BLOCK, 0, NARROW)
DEFINE_PASS(wide_first_4, pass_4, IFMA_BLOCK, 1, WIDE)
DEFINE_PASS(wide_first_8, pass_8, len / 8, 1, WIDE)
DEFINE_PASS(wide_first_16, pass_16, IFMA_BLOCK, 1, WIDE)
DEFINE_PASS(wide_4, pass_4, IFMA_BLOCK, 0, WIDE)
DEFINE_PASS(wide_8, pass_8, len / 8, 0, WIDE)
DEFINE_PASS(wide_16, pass_16, IFMA_BLOCK, 0, WIDE)
#undef DEFINE_PASS

static void narrow_last(uint64_t *a, size_t block, size_t count, const run *r)
{
    last(a, block, count, r, NARROW);
}

static void wide_last(uint64_t *a, size_t block, size_t count, const run *r)
{
    last(a, block, count, r, WIDE);
}

static const passes narrow_passes = {
    {narrow_first_4, narrow_first_8, narrow_first_16},
    {narrow_4, narrow_8, narrow_16},
    narrow_last};
static const passes wide_passes = {{wide_first_4, wide_first_8, wide_first_16},
                                   {wide_4, wide_8, wide_16},
                                   wide_last};

/* All layers of the block of a node, len values long, by p; kind is p->first
 * or p->next. */
static void descend(uint64_t *a, size_t node, size_t len, const run *r,
                    const passes *p, pass *const *kind)
{
    const size_t parts = ifma_parts(len);
    const size_t part = len / parts;
    kind[parts / 8](a, node, len, r);
    if (part == IFMA_BLOCK) {
        p->last(a, node * parts - r->n / IFMA_BLOCK, parts, r);
        return;
    }
    for (size_t i = 0; i < parts; i++) {
        descend(a + i * part, node * parts + i, part, r, p, p->next);
    }
}

static run run_of(const ntt_table *table)
{
    return (run){.field = ifma_field_of(&table->mod),
                 .twiddles = ifma_twiddles_of(table, 0),
                 .start = vec_set((uint64_t)table->ring.log2_n * table->mod.q),
                 .n = table->ring.n};
}

static const passes *passes_of(const ntt_table *table)
{
    return ifma_is_narrow(table) ? &narrow_passes : &wide_passes;
}

void ntt_forward_ifma(uint64_t *a, const ntt_table *table)
{
    if (table->ring.log2_n < IFMA_MIN_LOG2_N) {
        ntt_forward_portable(a, table);
        return;
    }
    const run r = run_of(table);
    const passes *p = passes_of(table);
    descend(a, 1, r.n, &r, p, p->first);
}

/* Below this, transforms of several polynomials stay in the cache as a whole.
 * Above, parts of the first pass are blocks with passes of their own. */
#define MIN_N_OF_PARTS 4096

size_t ntt_forward_parts_ifma(const ntt_table *table)
{
    const size_t n = table->ring.n;
    return n < MIN_N_OF_PARTS ? 1 : ifma_parts(n);
}

void ntt_forward_first_ifma(uint64_t *a, const ntt_table *table)
{
    const size_t parts = ntt_forward_parts_ifma(table);
    if (parts > 1) {
        const run r = run_of(table);
        passes_of(table)->first[parts / 8](a, 1, r.n, &r);
    }
}

void ntt_forward_part_ifma(uint64_t *a, const ntt_table *table, size_t part,
                           const uint64_t *const soon[2])
{
    const size_t parts = ntt_forward_parts_ifma(table);
    if (parts == 1) {
        ntt_forward_ifma(a, table);
        return;
    }
    run r = run_of(table);
    if (soon != NULL) {
        r.soon[0] = soon[0];
        r.soon[1] = soon[1];
        r.soon_block = part * (r.n / parts / IFMA_BLOCK);
    }
    const passes *p = passes_of(table);
    const size_t len = r.n / parts;
    descend(a + part * len, parts + part, len, &r, p, p->next);
}

#endif
