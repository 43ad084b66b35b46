/* SPDX-License-Identifier: MIT
 * Inverse NTT with AVX-512 IFMA, for moduli below 2^50: the forward transform
 * (ntt_ifma.c) backwards, from blocks of 64 values in registers up the tree of
 * nodes, depth first.
 *
 * A butterfly takes u and v to u + v and (u - v + o)·w, where o >= v is a
 * multiple of q; the product is in (0,2q) because q is added to it. Ranges,
 * narrow moduli (class A: q < 2^47, 32q < 2^52): every pass of two or three
 * layers takes values in [0,4q) and leaves such:
 *     sums of 1, 2, 3 layers are below 8q, 16q, 32q, and o is 4q, 8q, 16q;
 *     a sum of products of an earlier layer is below 4q after one more layer
 *     and below 8q after two, so of eight results only the first (32q) and the
 *     second (8q), of four only the first (16q) must be taken below 4q; a
 * fourth layer is like the first of another pass. The first three layers start
 * from [0,q), so that their sums are below 8q. Wide moduli (class B: q < 2^50):
 * values stay in [0,2q): sums are corrected, and u - v + 2q is in (0,4q), below
 * 2^52.
 */
#include "ntt/ifma_internal.h"

#include "ntt/portable_internal.h"

#if defined(__x86_64__)

/* The factors of the last layer, with N^-1 and the caller's scale in them. */
typedef struct scaling {
    uint64_t sum[2];     /* W, W' of what the sums are multiplied by */
    uint64_t product[2]; /* … and of what the differences are */
} scaling;

/* What a transform has at hand. */
typedef struct run {
    ifma_field field;
    ifma_twiddles twiddles;
    vec offset[3]; /* o of three layers: 4q, 8q, 16q; wide moduli: 2q */
    scaling scale;
    vec half;           /* (q - 1)/2 */
    const uint64_t *in; /* what the first layers read */
    size_t n;
} run;

/* What follows the layers of a pass. */
typedef enum pass_kind {
    INNER, /* another pass */
    TOP,   /* nothing: values are canonical */
    RAISED /* the same, with (q - 1)/2 added */
} pass_kind;

/* Four butterflies u, v -> u + v, (u - v + o)·w on some vectors, with v `gap`
 * vectors behind u; those from number `start` on, step by step as in
 * ntt_ifma.c. */
static IFMA_INLINE void layer(vec *x, size_t gap, size_t start, const vec w[4],
                              const vec w_low[4], vec o, const ifma_field *f,
                              int is_wide)
{
    vec *u[4], *v[4], d[4], m[4];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        u[i] = x + (start + i) / gap * 2 * gap + (start + i) % gap;
        v[i] = u[i] + gap;
        d[i] = vec_sub_as_is(vec_add(*u[i], o), *v[i]);
        *u[i] = vec_add(*u[i], *v[i]);
        m[i] = vec_lo(vec_zero(), d[i], w_low[i]);
    }
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        *v[i] = vec_hi(f->q, d[i], w[i]);
        *u[i] = is_wide ? vec_correct(*u[i], f->q2) : *u[i];
    }
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        *v[i] = vec_sub(*v[i], vec_hi(vec_zero(), m[i], f->q));
    }
}

/* The same with pairs W, W' in memory, one for each `gap` butterflies. */
static IFMA_INLINE void layer_by(vec *x, size_t gap, size_t start,
                                 const uint64_t *pair, vec o,
                                 const ifma_field *f, int is_wide)
{
    vec w[4], w_low[4];
    ifma_pair_factors(w, w_low, gap, pair);
    layer(x, gap, start, w, w_low, o, f, is_wide);
}

/* The topmost layer, four butterflies as above: u + v and u - v + o times their
 * factors, canonical; or raised: from (h-q, h+q), h = (q-1)/2. */
static IFMA_INLINE void layer_top(vec *x, size_t gap, size_t start,
                                  const run *r, vec o, const ifma_field *f,
                                  pass_kind kind)
{
    const scaling *s = &r->scale;
    const vec sum[2] = {vec_set(s->sum[0]), vec_set(s->sum[1])};
    const vec product[2] = {vec_set(s->product[0]), vec_set(s->product[1])};
    const vec start_at = kind == RAISED ? r->half : vec_zero();
    UNROLL
    for (size_t i = start; i < start + 4; i++) {
        const vec u = vec_add(x[i], x[i + gap]);
        const vec v = vec_sub_as_is(vec_add(x[i], o), x[i + gap]);
        x[i] = ifma_turn(start_at, u, sum[0], sum[1], f);
        x[i + gap] = ifma_turn(start_at, v, product[0], product[1], f);
    }
    UNROLL
    for (size_t i = start; i < start + 4; i++) {
        x[i] = vec_lift(x[i], f->q);
        x[i + gap] = vec_lift(x[i + gap], f->q);
        if (kind == RAISED) {
            x[i] = vec_correct(x[i], f->q);
            x[i + gap] = vec_correct(x[i + gap], f->q);
        }
    }
}

/* Two layers of the block of a node, 4·part values long, on two vectors of each
 * part at a time. */
static IFMA_INLINE void pass_4(uint64_t *a, size_t node, size_t part,
                               const run *r, pass_kind kind, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    for (size_t j = 0; j < part; j += 16) {
        vec x[8];
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            x[i] = vec_load(a + i / 2 * part + i % 2 * 8 + j);
        }
        layer_by(x, 2, 0, top + 4 * node, r->offset[0], &f, is_wide);
        if (kind != INNER) {
            layer_top(x, 4, 0, r, r->offset[1], &f, kind);
        } else {
            layer_by(x, 4, 0, top + 2 * node, r->offset[1], &f, is_wide);
        }
        if (kind == INNER && !is_wide) {
            x[0] = ifma_shrink(x[0], &f);
            x[1] = ifma_shrink(x[1], &f);
        }
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            vec_store(a + i / 2 * part + i % 2 * 8 + j, x[i]);
        }
    }
}

/* The third layer of a pass that is not the topmost. */
static IFMA_INLINE void layer_third(vec x[8], const uint64_t *pair,
                                    const run *r, const ifma_field *f,
                                    int is_wide)
{
    layer_by(x, 4, 0, pair, r->offset[2], f, is_wide);
    if (!is_wide) {
        x[0] = ifma_shrink(x[0], f);
        x[1] = vec_correct(x[1], r->offset[0]);
    }
}

/* Three layers of eight values a part apart; a block of 8·part values. */
static IFMA_INLINE void pass_8(uint64_t *a, size_t node, size_t part,
                               const run *r, pass_kind kind, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    for (size_t j = 0; j < part; j += 8) {
        vec x[8];
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            x[i] = vec_load(a + i * part + j);
        }
        layer_by(x, 1, 0, top + 8 * node, r->offset[0], &f, is_wide);
        layer_by(x, 2, 0, top + 4 * node, r->offset[1], &f, is_wide);
        if (kind != INNER) {
            layer_top(x, 4, 0, r, r->offset[2], &f, kind);
        } else {
            layer_third(x, top + 2 * node, r, &f, is_wide);
        }
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            vec_store(a + i * part + j, x[i]);
        }
    }
}

/* Three layers of eight vectors and of eight more, in turn. */
static IFMA_INLINE void three_layers(vec x[8], vec y[8], const uint64_t *one[2],
                                     const uint64_t *two[2],
                                     const uint64_t *four[2], const run *r,
                                     const ifma_field *f, int is_wide)
{
    layer_by(x, 1, 0, one[0], r->offset[0], f, is_wide);
    layer_by(y, 1, 0, one[1], r->offset[0], f, is_wide);
    layer_by(x, 2, 0, two[0], r->offset[1], f, is_wide);
    layer_by(y, 2, 0, two[1], r->offset[1], f, is_wide);
    layer_third(x, four[0], r, f, is_wide);
    layer_third(y, four[1], r, f, is_wide);
}

/* Four layers of sixteen values a part apart; a block of 16·part values. After
 * three, narrow values are below 2q (0, 4 … 7 of each half) or 4q (1, 2, 3). */
static IFMA_INLINE void pass_16(uint64_t *a, size_t node, size_t part,
                                const run *r, pass_kind kind, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    const uint64_t *one[2] = {top + 16 * node, top + 16 * node + 8};
    const uint64_t *two[2] = {top + 8 * node, top + 8 * node + 4};
    const uint64_t *four[2] = {top + 4 * node, top + 4 * node + 2};
    for (size_t j = 0; j < part; j += 8) {
        vec x[16];
        UNROLL
        for (size_t i = 0; i < 16; i++) {
            x[i] = vec_load(a + i * part + j);
        }
        three_layers(x, x + 8, one, two, four, r, &f, is_wide);
        UNROLL
        for (size_t i = 0; i < 8; i += 4) {
            if (kind != INNER) {
                layer_top(x, 8, i, r, r->offset[0], &f, kind);
            } else {
                layer_by(x, 8, i, top + 2 * node, r->offset[0], &f, is_wide);
            }
        }
        if (kind == INNER && !is_wide) {
            UNROLL
            for (size_t i = 1; i < 4; i++) {
                x[i] = vec_correct(x[i], r->offset[0]);
            }
        }
        UNROLL
        for (size_t i = 0; i < 16; i++) {
            vec_store(a + i * part + j, x[i]);
        }
    }
}

/* The very first layer, of values in [0,q). */
static IFMA_INLINE void layer_first(vec x[8], const uint64_t *record,
                                    const ifma_field *f, int is_wide)
{
    vec w[4], w_low[4];
    ifma_swap_quarters(x);
    ifma_move_single(x);
    ifma_last_factors(w, w_low, record, f);
    layer(x, 1, 0, w, w_low, is_wide ? f->q2 : f->q, f, is_wide);
    ifma_move_single(x);
}

static IFMA_INLINE void layer_lanes(vec x[8], const uint64_t *words, vec o,
                                    const ifma_field *f, int is_wide)
{
    vec w[4], w_low[4];
    ifma_lane_factors(w, w_low, words, f);
    layer(x, 1, 0, w, w_low, o, f, is_wide);
}

/* After the first three layers: sums below 8q to below 4q, lanes in order. */
static IFMA_INLINE void settle(vec x[8], const run *r, int is_wide)
{
    if (!is_wide) {
        UNROLL
        for (size_t i = 0; i < 8; i += 2) {
            x[i] = vec_correct(x[i], r->offset[0]);
        }
    }
    ifma_move_quarters(x);
}

/* The first six layers of two blocks of 64, in turn. Of two neighbouring
 * vectors, called A B | C D by blocks of four values, lanes are moved such that
 * each of the first three pairs whole vectors:
 *     A0 A2 C0 C2 B0 B2 D0 D2 | A1 A3 C1 C3 B1 B3 D1 D3
 *     A0 A1 C0 C1 B0 B1 D0 D1 | A2 A3 C2 C3 B2 B3 D2 D3
 *     A0 A1 C0 C1 A2 A3 C2 C3 | B0 B1 D0 D1 B2 B3 D2 D3    and back. */
static IFMA_INLINE void first_six(vec x[8], vec y[8], const uint64_t *record,
                                  const run *r, const ifma_field *f,
                                  int is_wide)
{
    const uint64_t *next = record + IFMA_RECORD_WORDS;
    const uint64_t *one[2] = {record + 6, next + 6};
    const uint64_t *two[2] = {record + 2, next + 2};
    const uint64_t *four[2] = {record, next};
    layer_first(x, record, f, is_wide);
    layer_first(y, next, f, is_wide);
    layer_lanes(x, record + IFMA_RECORD_4, f->q2, f, is_wide);
    layer_lanes(y, next + IFMA_RECORD_4, f->q2, f, is_wide);
    ifma_move_halves(x);
    layer_lanes(x, record + IFMA_RECORD_8, r->offset[0], f, is_wide);
    ifma_move_halves(y);
    layer_lanes(y, next + IFMA_RECORD_8, r->offset[0], f, is_wide);
    settle(x, r, is_wide);
    settle(y, r, is_wide);
    three_layers(x, y, one, two, four, r, f, is_wide);
}

/* How many blocks ahead first asks for what it reads from another limb, which
 * may be in no near cache. */
#define FETCH_AHEAD 4

/* Asks for two blocks. */
static IFMA_INLINE void fetch_ahead(const uint64_t *in)
{
    UNROLL
    for (size_t i = 0; i < 2 * IFMA_BLOCK; i += 8) {
        _mm_prefetch((const char *)(in + i), _MM_HINT_T0);
    }
}

/* The first six layers of `count` blocks of 64 values, an even number. */
static IFMA_INLINE void first(uint64_t *a, size_t block, size_t count,
                              const run *r, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *record = r->twiddles.record + block * IFMA_RECORD_WORDS;
    const uint64_t *in = r->in + block * IFMA_BLOCK;
    for (size_t b = 0; b < count; b += 2) {
        vec x[8], y[8];
        if (in != a && block + b + FETCH_AHEAD + 2 <= r->n / IFMA_BLOCK) {
            fetch_ahead(in + FETCH_AHEAD * IFMA_BLOCK);
        }
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            x[i] = vec_load(in + 8 * i);
            y[i] = vec_load(in + IFMA_BLOCK + 8 * i);
        }
        first_six(x, y, record, r, &f, is_wide);
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            vec_store(a + 8 * i, x[i]);
            vec_store(a + IFMA_BLOCK + 8 * i, y[i]);
        }
        a += 2 * IFMA_BLOCK;
        in += 2 * IFMA_BLOCK;
        record += 2 * IFMA_RECORD_WORDS;
    }
}

/* The parts of a transform, for moduli of one kind. Passes into 4 and 16 parts
 * end at blocks of 64, and know it: sixteen addresses of unknown distance are
 * more than there are registers. */
typedef void pass(uint64_t *a, size_t node, size_t len, const run *r);
typedef struct passes {
    void (*first)(uint64_t *a, size_t block, size_t count, const run *r);
    pass *next[3]; /* of any pass but the topmost: two, three, four layers */
    pass *top[3];
    pass *raised[3]; /* the topmost, of a raised transform */
} passes;

#define DEFINE_PASS(name, layers, part, kind, is_wide)                         \
    static void name(uint64_t *a, size_t node, size_t len, const run *r)       \
    {                                                                          \
        (void)len;                                                             \
        layers(a, node, part, r, kind, is_wide);                               \
    }
DEFINE_PASS(narrow_4, pass_4, IFMA_BLOCK, INNER, 0)
DEFINE_PASS(narrow_8, pass_8, len / 8, INNER, 0)
DEFINE_PASS(narrow_16, pass_16, IFMA_BLOCK, INNER, 0)
DEFINE_PASS(narrow_top_4, pass_4, IFMA_BLOCK, TOP, 0)
DEFINE_PASS(narrow_raised_4, pass_4, IFMA_BLOCK, RAISED, 0)
DEFINE_PASS(narrow_top_8, pass_8, len / 8, TOP, 0)
DEFINE_PASS(narrow_raised_8, pass_8, len / 8, RAISED, 0)
DEFINE_PASS(narrow_top_16, pass_16, IFMA_BLOCK, TOP, 0)
DEFINE_PASS(narrow_raised_16, pass_16, IFMA_BLOCK, RAISED, 0)
DEFINE_PASS(wide_4, pass_4, IFMA_BLOCK, INNER, 1)
DEFINE_PASS(wide_8, pass_8, len / 8, INNER, 1)
DEFINE_PASS(wide_16, pass_16, IFMA_BLOCK, INNER, 1)
DEFINE_PASS(wide_top_4, pass_4, IFMA_BLOCK, TOP, 1)
DEFINE_PASS(wide_raised_4, pass_4, IFMA_BLOCK, RAISED, 1)
DEFINE_PASS(wide_top_8, pass_8, len / 8, TOP, 1)
DEFINE_PASS(wide_raised_8, pass_8, len / 8, RAISED, 1)
DEFINE_PASS(wide_top_16, pass_16, IFMA_BLOCK, TOP, 1)
DEFINE_PASS(wide_raised_16, pass_16, IFMA_BLOCK, RAISED, 1)
#undef DEFINE_PASS

static void narrow_first(uint64_t *a, size_t block, size_t count, const run *r)
{
    first(a, block, count, r, 0);
}

static void wide_first(uint64_t *a, size_t block, size_t count, const run *r)
{
    first(a, block, count, r, 1);
}

static const passes narrow_passes = {
    narrow_first,
    {narrow_4, narrow_8, narrow_16},
    {narrow_top_4, narrow_top_8, narrow_top_16},
    {narrow_raised_4, narrow_raised_8, narrow_raised_16}};
static const passes wide_passes = {
    wide_first,
    {wide_4, wide_8, wide_16},
    {wide_top_4, wide_top_8, wide_top_16},
    {wide_raised_4, wide_raised_8, wide_raised_16}};

/* All layers of the block of a node, len values long, by p; kind is p->next
 * p->top or p->raised. */
static void ascend(uint64_t *a, size_t node, size_t len, const run *r,
                   const passes *p, pass *const *kind)
{
    const size_t parts = ifma_parts(len);
    const size_t part = len / parts;
    if (part == IFMA_BLOCK) {
        p->first(a, node * parts - r->n / IFMA_BLOCK, parts, r);
    } else {
        for (size_t i = 0; i < parts; i++) {
            ascend(a + i * part, node * parts + i, part, r, p, p->next);
        }
    }
    kind[parts / 8](a, node, len, r);
}

static scaling scaling_of(const ntt_table *table, uint64_t scale)
{
    const zq_modulus *mod = &table->mod;
    const uint64_t inverse = ifma_inverse(mod->q);
    const uint64_t factor = zq_mul(scale, table->n_inverse, mod);
    const uint64_t turned = zq_mul(factor, table->inverse[1], mod);
    const uint64_t sum = ifma_factor(factor, mod);
    const uint64_t product = ifma_factor(turned, mod);
    return (scaling){{sum, sum * inverse & IFMA_LOW_BITS},
                     {product, product * inverse & IFMA_LOW_BITS}};
}

static run run_of(const ntt_table *table, const uint64_t *in, uint64_t scale)
{
    const uint64_t q = table->mod.q;
    const int is_narrow = ifma_is_narrow(table);
    return (run){.field = ifma_field_of(&table->mod),
                 .twiddles = ifma_twiddles_of(table, 1),
                 .offset = {vec_set((is_narrow ? 4 : 2) * q),
                            vec_set((is_narrow ? 8 : 2) * q),
                            vec_set((is_narrow ? 16 : 2) * q)},
                 .scale = scaling_of(table, scale),
                 .half = vec_set(q >> 1),
                 .in = in,
                 .n = table->ring.n};
}

static const passes *passes_of(const ntt_table *table)
{
    return ifma_is_narrow(table) ? &narrow_passes : &wide_passes;
}

void ntt_inverse_ifma(uint64_t *a, const ntt_table *table, uint64_t scale)
{
    if (table->ring.log2_n < IFMA_MIN_LOG2_N) {
        ntt_inverse_portable(a, table, scale);
        return;
    }
    const passes *p = passes_of(table);
    const run r = run_of(table, a, scale);
    ascend(a, 1, r.n, &r, p, p->top);
}

void ntt_inverse_raised_ifma(uint64_t *y, const uint64_t *x,
                             const ntt_table *table, uint64_t scale)
{
    if (table->ring.log2_n < IFMA_MIN_LOG2_N) {
        ntt_kernels_portable()->inverse_raised(y, x, table, scale);
        return;
    }
    const passes *p = passes_of(table);
    const run r = run_of(table, x, scale);
    ascend(y, 1, r.n, &r, p, p->raised);
}

#endif
