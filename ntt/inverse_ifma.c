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
 *     second (8q), of four only the first (16q) must be taken below 4q.
 * The first three layers start from [0,q), so that their sums are below 8q.
 * Wide moduli (class B: q < 2^50): values stay in [0,2q): sums are corrected,
 * and u - v + 2q is in (0,4q), below 2^52.
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
    size_t n;
} run;

/* The butterfly u, v -> u + v, (u - v + o)·w. */
static IFMA_INLINE void butterfly(vec *u, vec *v, vec w, vec w_low, vec o,
                                  const ifma_field *f, int is_wide)
{
    const vec sum = vec_add(*u, *v);
    const vec difference = vec_sub(vec_add(*u, o), *v);
    *u = is_wide ? vec_correct(sum, f->q2) : sum;
    *v = ifma_turn(f->q, difference, w, w_low, f);
}

/* The same with a pair W, W' in memory. */
static IFMA_INLINE void butterfly_by(vec *u, vec *v, const uint64_t *pair,
                                     vec o, const ifma_field *f, int is_wide)
{
    butterfly(u, v, vec_set(pair[0]), vec_set(pair[1]), o, f, is_wide);
}

/* The butterfly of the topmost layer: both results times the scale, canonical.
 */
static IFMA_INLINE void butterfly_scaled(vec *u, vec *v, const scaling *s,
                                         vec o, const ifma_field *f)
{
    const vec sum = vec_add(*u, *v);
    const vec difference = vec_sub(vec_add(*u, o), *v);
    *u = ifma_turn(vec_zero(), sum, vec_set(s->sum[0]), vec_set(s->sum[1]), f);
    *v = ifma_turn(vec_zero(), difference, vec_set(s->product[0]),
                   vec_set(s->product[1]), f);
    /* (-q,q) -> [0,q) */
    *u = vec_min(*u, vec_add(*u, f->q));
    *v = vec_min(*v, vec_add(*v, f->q));
}

/* Two layers of the block of a node, 4·part values long. */
static IFMA_INLINE void pass_4(uint64_t *a, size_t node, size_t part,
                               const run *r, int is_top, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    const vec o1 = r->offset[0], o2 = r->offset[1];
    for (size_t j = 0; j < part; j += 8) {
        vec x[4];
        for (size_t i = 0; i < 4; i++) {
            x[i] = vec_load(a + i * part + j);
        }
        butterfly_by(&x[0], &x[1], top + 4 * node, o1, &f, is_wide);
        butterfly_by(&x[2], &x[3], top + 4 * node + 2, o1, &f, is_wide);
        for (size_t i = 0; i < 2; i++) {
            if (is_top) {
                butterfly_scaled(&x[i], &x[i + 2], &r->scale, o2, &f);
            } else {
                butterfly_by(&x[i], &x[i + 2], top + 2 * node, o2, &f, is_wide);
            }
        }
        if (!is_top && !is_wide) {
            x[0] = ifma_shrink(x[0], &f);
        }
        for (size_t i = 0; i < 4; i++) {
            vec_store(a + i * part + j, x[i]);
        }
    }
}

/* The topmost layer of eight values, or any other third layer. */
static IFMA_INLINE void third_layer(vec x[8], const uint64_t *pair,
                                    const run *r, const ifma_field *f,
                                    int is_top, int is_wide)
{
    for (size_t i = 0; i < 4; i++) {
        if (is_top) {
            butterfly_scaled(&x[i], &x[i + 4], &r->scale, r->offset[2], f);
        } else {
            butterfly_by(&x[i], &x[i + 4], pair, r->offset[2], f, is_wide);
        }
    }
    if (!is_top && !is_wide) {
        x[0] = ifma_shrink(x[0], f);
        x[1] = vec_correct(x[1], r->offset[0]);
    }
}

/* Three layers of eight values a part apart; a block of 8·part values. */
static IFMA_INLINE void pass_8(uint64_t *a, size_t node, size_t part,
                               const run *r, int is_top, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *top = r->twiddles.top;
    for (size_t j = 0; j < part; j += 8) {
        vec x[8];
        for (size_t i = 0; i < 8; i++) {
            x[i] = vec_load(a + i * part + j);
        }
        for (size_t i = 0; i < 4; i++) {
            butterfly_by(&x[2 * i], &x[2 * i + 1], top + 8 * node + 2 * i,
                         r->offset[0], &f, is_wide);
        }
        for (size_t i = 0; i < 4; i++) {
            const size_t at = i / 2 * 4 + i % 2;
            butterfly_by(&x[at], &x[at + 2], top + 4 * node + i / 2 * 2,
                         r->offset[1], &f, is_wide);
        }
        third_layer(x, top + 2 * node, r, &f, is_top, is_wide);
        for (size_t i = 0; i < 8; i++) {
            vec_store(a + i * part + j, x[i]);
        }
    }
}

/* The first three layers of two neighbouring vectors; the lanes move as in
 * last_pair of ntt_ifma.c, backwards.   range: [0,q) -> [0,4q) */
static IFMA_INLINE void first_pair(vec x[2], const uint64_t *record,
                                   size_t pair, const run *r,
                                   const ifma_field *f, int is_wide)
{
    const vec o1 = is_wide ? f->q2 : f->q;
    const vec o2 = f->q2;
    const vec o3 = r->offset[0];
    const vec first = _mm512_setr_epi64(0, 8, 4, 12, 2, 10, 6, 14);
    const vec second = _mm512_setr_epi64(1, 9, 5, 13, 3, 11, 7, 15);
    vec u = _mm512_permutex2var_epi64(x[0], first, x[1]);
    vec v = _mm512_permutex2var_epi64(x[0], second, x[1]);
    vec w = vec_load(record + IFMA_RECORD_2 + 8 * pair);
    butterfly(&u, &v, w, ifma_low(w, f), o1, f, is_wide);
    vec s = _mm512_shuffle_i64x2(u, v, 0x44);
    vec t = _mm512_shuffle_i64x2(u, v, 0xee);
    w = _mm512_broadcast_i64x4(_mm256_load_si256(
        (const __m256i *)(record + IFMA_RECORD_4 + 4 * pair)));
    butterfly(&s, &t, w, ifma_low(w, f), o2, f, is_wide);
    const vec low = _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13);
    const vec high = _mm512_setr_epi64(2, 3, 6, 7, 10, 11, 14, 15);
    u = _mm512_permutex2var_epi64(s, low, t);
    v = _mm512_permutex2var_epi64(s, high, t);
    w = _mm512_broadcast_i64x2(
        _mm_load_si128((const __m128i *)(record + IFMA_RECORD_8 + 2 * pair)));
    butterfly(&u, &v, w, ifma_low(w, f), o3, f, is_wide);
    if (!is_wide) {
        u = vec_correct(u, r->offset[0]); /* 8q -> 4q */
    }
    const vec left = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    const vec right = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    x[0] = _mm512_permutex2var_epi64(u, left, v);
    x[1] = _mm512_permutex2var_epi64(u, right, v);
}

/* Layers four to six of two blocks of 64, which pair whole vectors. */
static IFMA_INLINE void first_vertical(vec x[16], const uint64_t *record,
                                       const run *r, const ifma_field *f,
                                       int is_wide)
{
    for (size_t i = 0; i < 8; i++) {
        const uint64_t *pair =
            record + i / 4 * IFMA_RECORD_WORDS + 6 + i % 4 * 2;
        butterfly_by(&x[2 * i], &x[2 * i + 1], pair, r->offset[0], f, is_wide);
    }
    for (size_t i = 0; i < 8; i++) {
        const size_t at = i / 2 * 4 + i % 2;
        const uint64_t *pair =
            record + i / 4 * IFMA_RECORD_WORDS + 2 + i % 4 / 2 * 2;
        butterfly_by(&x[at], &x[at + 2], pair, r->offset[1], f, is_wide);
    }
    for (size_t i = 0; i < 2; i++) {
        third_layer(x + 8 * i, record + i * IFMA_RECORD_WORDS, r, f, 0,
                    is_wide);
    }
}

/* The first six layers of `count` blocks of 64 values, an even number. */
static IFMA_INLINE void first(uint64_t *a, size_t block, size_t count,
                              const run *r, int is_wide)
{
    const ifma_field f = r->field;
    const uint64_t *record = r->twiddles.record + block * IFMA_RECORD_WORDS;
    for (size_t b = 0; b < count; b += 2) {
        vec x[16];
        for (size_t i = 0; i < 16; i++) {
            x[i] = vec_load(a + 8 * i);
        }
        for (size_t i = 0; i < 8; i++) {
            first_pair(x + 2 * i, record + i / 4 * IFMA_RECORD_WORDS, i % 4, r,
                       &f, is_wide);
        }
        first_vertical(x, record, r, &f, is_wide);
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
    void (*first)(uint64_t *a, size_t block, size_t count, const run *r);
    pass *next[2]; /* of any pass but the topmost: two layers, three layers */
    pass *top[2];
} passes;

#define DEFINE_PASS(name, layers, is_top, is_wide)                             \
    static void name(uint64_t *a, size_t node, size_t part, const run *r)      \
    {                                                                          \
        layers(a, node, part, r, is_top, is_wide);                             \
    }
DEFINE_PASS(narrow_4, pass_4, 0, 0)
DEFINE_PASS(narrow_8, pass_8, 0, 0)
DEFINE_PASS(narrow_top_4, pass_4, 1, 0)
DEFINE_PASS(narrow_top_8, pass_8, 1, 0)
DEFINE_PASS(wide_4, pass_4, 0, 1)
DEFINE_PASS(wide_8, pass_8, 0, 1)
DEFINE_PASS(wide_top_4, pass_4, 1, 1)
DEFINE_PASS(wide_top_8, pass_8, 1, 1)
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
    narrow_first, {narrow_4, narrow_8}, {narrow_top_4, narrow_top_8}};
static const passes wide_passes = {
    wide_first, {wide_4, wide_8}, {wide_top_4, wide_top_8}};

/* All layers of the block of a node, len values long, by p; kind is p->next or
 * p->top. */
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
    kind[parts == 8](a, node, part, r);
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

void ntt_inverse_ifma(uint64_t *a, const ntt_table *table, uint64_t scale)
{
    if (table->ring.log2_n < IFMA_MIN_LOG2_N) {
        ntt_inverse_portable(a, table, scale);
        return;
    }
    const uint64_t q = table->mod.q;
    const int is_narrow = ifma_is_narrow(table);
    const passes *p = is_narrow ? &narrow_passes : &wide_passes;
    const run r = {.field = ifma_field_of(&table->mod),
                   .twiddles = ifma_twiddles_of(table, 1),
                   .offset = {vec_set((is_narrow ? 4 : 2) * q),
                              vec_set((is_narrow ? 8 : 2) * q),
                              vec_set((is_narrow ? 16 : 2) * q)},
                   .scale = scaling_of(table, scale),
                   .n = table->ring.n};
    ascend(a, 1, r.n, &r, p, p->top);
}

#endif
