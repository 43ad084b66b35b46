/* SPDX-License-Identifier: MIT
 * The matrix product of the SIMD backends, written once for vectors of LANES
 * 64-bit lanes. An including file defines LANES, TILE_KINDS(f) as f(rows,
 * words) for every shape of a tile that it has registers for, the types vec and
 * vec_real, and the vec_* functions used here; then it includes this.
 *
 * A panel is 4·LANES columns: one register of 16-bit words for each input and
 * word. Unpacking the low or high halves of two inputs' registers puts the
 * words of 2·LANES columns side by side, and multiply-and-add-pairs adds both
 * products to a 32-bit sum for each column, on as many sums at a time as there
 * are registers for. In a dense job the same inputs are always pairs, and the
 * panel is unpacked when it is filled; the blocks of another job pair inputs as
 * they please, and their kernels unpack what they load.
 *
 * Order of columns: the words of the quarters 0, 1 (A) and 2, 3 (B) of a
 * panel's columns alternate; with LANES = 8,
 *
 *     quarter   0: columns 0-7    2: columns 8-15    (low halves)
 *               1: columns 16-23  3: columns 24-31   (high halves)
 *
 *     register of words   A0 B0 A1 B1 …        A = quarters 0 and 1,
 *     sums of a low half  q0[0] q2[0] q0[1] q2[1] …
 *
 * so that the 64-bit lane j of sums holds column j of one quarter in its low
 * and column j of another in its high half: widening to 64 bits is a shift, and
 * columns come out in order.
 */
#ifndef SOTTO_NTT_GEMM_KERNEL_INTERNAL_H
#define SOTTO_NTT_GEMM_KERNEL_INTERNAL_H

#include "ntt/gemm_internal.h"

#define COLUMNS ((size_t)4 * LANES)
#define HALF ((size_t)2 * LANES)
#define LINE_WORDS 8 /* of a cache line */
#define MAX_SUMS 24
#ifdef __clang__
#define UNROLL_ALL _Pragma("clang loop unroll(full)")
#else
#define UNROLL_ALL _Pragma("GCC unroll 24")
#endif
#define INLINE static inline __attribute__((always_inline))

/* 32-bit sums of one half of a panel's columns: [row][word]. */
typedef vec half_sums[MAX_SUMS];

/* Lines of the next panel, asked for one at a time while this one is worked on:
 * its columns lie in another page for every input, where the processor does
 * not look ahead by itself. */
typedef struct lookahead {
    const ntt_gemm_row *row; /* the inputs … */
    size_t k;                /* … and their number */
    size_t at;               /* the next input … */
    size_t column;           /* … the first column of its line … */
    size_t last_column;      /* … and of the last lines wanted */
} lookahead;

/* The inputs for n_pairs requests; the job has at least as many. */
static inline const ntt_gemm_row *look_ahead(lookahead *next, size_t n_pairs)
{
    if (next->at >= next->k) {
        next->at = 0;
        next->column += next->column < next->last_column ? LINE_WORDS : 0;
    }
    const size_t last = next->k - n_pairs;
    const size_t first = next->at < last ? next->at : last;
    next->at += n_pairs;
    return next->row + first;
}

/* ---- Products of words --------------------------------------------------- */

/* Pairs of a chunk. */
typedef struct chunk_input {
    const int16_t *panel; /* of pairs, from the first of the chunk on … */
    const uint32_t *in; /* … or of inputs, and where those of the pairs are */
    const int32_t *weight;
    size_t n_pairs;
    int32_t start; /* of all sums */
} chunk_input;

/* Word b of pair p for the low or high half of the columns. */
INLINE vec load_pair(const chunk_input *from, size_t p, const int b,
                     const int words, const int high, const int gathered)
{
    const size_t at = (size_t)b * COLUMNS;
    if (!gathered) {
        const size_t row = 2 * p + (size_t)high;
        return vec_load_words(from->panel + row * (size_t)words * COLUMNS + at);
    }
    const vec u = vec_load_words(from->panel + from->in[2 * p] + at);
    const vec v = vec_load_words(from->panel + from->in[2 * p + 1] + at);
    return high ? vec_unpack_high(u, v) : vec_unpack_low(u, v);
}

/* sums = Σ over the pairs, for the low or high half of the columns. The
 * integers are constants where it is inlined. The pins at the end of the loop
 * keep gcc from copying all sums from register to register. */
INLINE void dot(vec *restrict sums, const chunk_input *from, lookahead *next,
                const int rows, const int words, const int high,
                const int gathered)
{
    const ntt_gemm_row *ahead = look_ahead(next, from->n_pairs);
    const size_t column = next->column;
    const int32_t *weight = from->weight;
    vec s[MAX_SUMS];
    UNROLL_ALL
    for (int i = 0; i < rows * words; i++) {
        s[i] = vec_all32(from->start);
    }
    for (size_t p = 0; p < from->n_pairs; p++) {
        vec x[GEMM_MAX_X_WORDS];
        _mm_prefetch((const char *)(ahead[p].x + column), _MM_HINT_T1);
        UNROLL_ALL
        for (int b = 0; b < words; b++) {
            x[b] = load_pair(from, p, b, words, high, gathered);
        }
        UNROLL_ALL
        for (int r = 0; r < rows; r++) {
            const vec w = vec_all32(weight[r]);
            UNROLL_ALL
            for (int b = 0; b < words; b++) {
                s[r * words + b] = vec_dot(s[r * words + b], x[b], w);
            }
        }
        weight += rows;
        UNROLL_ALL
        for (int i = 0; i < rows * words; i++) {
            VEC_PIN(s[i]);
        }
    }
    UNROLL_ALL
    for (int i = 0; i < rows * words; i++) {
        vec_store_words(sums + i, s[i]);
    }
}

/* dot for both halves of the columns: [low, high]. */
typedef void dot_function(half_sums *sums, const chunk_input *from,
                          lookahead *next);

#define DEFINE_DOT(rows, words)                                                \
    static void dot_##rows##_##words(half_sums *sums, const chunk_input *from, \
                                     lookahead *next)                          \
    {                                                                          \
        const chunk_input chunk = *from; /* which stores do not change */      \
        dot(sums[0], &chunk, next, rows, words, 0, 0);                         \
        dot(sums[1], &chunk, next, rows, words, 1, 0);                         \
    }                                                                          \
    static void gather_##rows##_##words(                                       \
        half_sums *sums, const chunk_input *from, lookahead *next)             \
    {                                                                          \
        const chunk_input chunk = *from;                                       \
        dot(sums[0], &chunk, next, rows, words, 0, 1);                         \
        dot(sums[1], &chunk, next, rows, words, 1, 1);                         \
    }
/* The functions, … */
TILE_KINDS(DEFINE_DOT)

/* … by words and rows: from a panel of pairs, then gathered. */
#define DOT_ENTRY(rows, words)                                                 \
    [words][rows] = {dot_##rows##_##words, gather_##rows##_##words},
static dot_function *const dots[GEMM_MAX_X_WORDS + 1][MAX_SUMS + 1][2] = {
    TILE_KINDS(DOT_ENTRY)};

/* The most rows that there is a function for. */
static size_t max_rows(int words)
{
    size_t rows = 1;
    while (dots[words][rows + 1][0] != NULL) {
        rows++;
    }
    return rows;
}

/* ---- Panels -------------------------------------------------------------- */

/* What the columns of a panel are made with. */
typedef struct splitter {
    vec bias; /* 2^15 in each word, so that words do not borrow, less h */
    vec q;
    vec_field field;
} splitter;

/* Four quarters of a row from `at` on, zeros behind its end. */
INLINE void load_row(vec *x, const ntt_gemm_row *row, size_t at,
                     size_t n_columns, const splitter *by)
{
    UNROLL_ALL
    for (size_t i = 0; i < 4; i++) {
        if (LANES * i >= n_columns) {
            x[i] = vec_zero();
        } else if (row->y == NULL) {
            x[i] = vec_load(row->x + at + LANES * i);
        } else {
            x[i] = vec_product(row->x + at + LANES * i, row->y + at + LANES * i,
                               &by->field);
        }
    }
    if (row->twice) {
        UNROLL_ALL
        for (size_t i = 0; i < 4; i++) {
            x[i] = vec_correct(vec_add(x[i], x[i]), by->q);
        }
    }
}

/* Splits up to COLUMNS columns of one input into words. */
INLINE void split_row(vec *x, const ntt_gemm_row *row, size_t at,
                      size_t n_columns, const splitter *by, const int words)
{
    vec c[4]; /* in order of columns: quarters 0, 2, 1, 3 */
    load_row(c, row, at, n_columns, by);
    const vec q0 = vec_add(c[0], by->bias);
    const vec q2 = vec_add(c[1], by->bias);
    const vec q1 = vec_add(c[2], by->bias);
    const vec q3 = vec_add(c[3], by->bias);
    vec a = vec_even_halves(q0, q1);
    vec b = vec_even_halves(q2, q3);
    x[0] = vec_flip_signs(vec_even_words(a, b));
    x[1] = vec_flip_signs(vec_odd_words(a, b));
    if (words > 2) {
        a = vec_odd_halves(q0, q1);
        b = vec_odd_halves(q2, q3);
        x[2] = vec_flip_signs(vec_even_words(a, b));
        x[3] = vec_flip_signs(vec_odd_words(a, b));
    }
}

/* Fills a panel of inputs. */
INLINE void fill_inputs(int16_t *panel, const ntt_gemm_row *row, size_t k,
                        size_t at, size_t n_columns, const splitter *by,
                        const int words)
{
    for (size_t i = 0; i < k; i++) {
        vec x[GEMM_MAX_X_WORDS];
        split_row(x, row + i, at, n_columns, by, words);
        UNROLL_ALL
        for (int b = 0; b < words; b++) {
            vec_store_words(panel, x[b]);
            panel += COLUMNS;
        }
    }
}

/* Fills a panel of pairs: the low halves of all words, then the high ones. An
 * odd last input is its own partner. */
INLINE void fill_pairs(int16_t *panel, const ntt_gemm_row *row, size_t k,
                       size_t at, size_t n_columns, const splitter *by,
                       const int words)
{
    for (size_t i = 0; i < k; i += 2) {
        const size_t partner = i + 1 < k ? i + 1 : i;
        vec u[GEMM_MAX_X_WORDS], v[GEMM_MAX_X_WORDS];
        split_row(u, row + i, at, n_columns, by, words);
        split_row(v, row + partner, at, n_columns, by, words);
        UNROLL_ALL
        for (int b = 0; b < words; b++) {
            vec_store_words(panel, vec_unpack_low(u[b], v[b]));
            vec_store_words(panel + (size_t)words * COLUMNS,
                            vec_unpack_high(u[b], v[b]));
            panel += COLUMNS;
        }
        panel += (size_t)words * COLUMNS;
    }
}

/* Fills a panel of the kind that the tiles read, from column `at` on. */
INLINE void fill_panel(int16_t *panel, const gemm_tiles *tiles,
                       const ntt_gemm_columns *columns, size_t at,
                       const splitter *by, const int words)
{
    const size_t left = columns->n - at;
    if (tiles->gathered) {
        fill_inputs(panel, columns->in, tiles->k, at, left, by, words);
    } else if (left < COLUMNS) {
        fill_pairs(panel, columns->in, tiles->k, at, left, by, words);
    } else {
        fill_pairs(panel, columns->in, tiles->k, at, COLUMNS, by, words);
    }
}

/* ---- Results ------------------------------------------------------------- */

/* 64-bit sums of a half: [row·words + word][low or high columns]. */
typedef vec wide_sums[MAX_SUMS][2];

/* wide = 2^shift·sums, added to what it has unless this is the first chunk. */
static void add_chunk(wide_sums wide, const vec *sums, int n_sums,
                      unsigned shift, bool is_first)
{
    for (int i = 0; i < n_sums; i++) {
        const vec low = vec_shift(vec_widen_low(sums[i]), shift);
        const vec high = vec_shift(vec_widen_high(sums[i]), shift);
        wide[i][0] = is_first ? low : vec_add(wide[i][0], low);
        wide[i][1] = is_first ? high : vec_add(wide[i][1], high);
    }
}

/* What reductions need of a modulus, and where their results go. */
typedef struct reducer {
    vec q;
    vec_real inverse; /* 1/q, rounded */
    vec_direct direct;
    bool is_short;
    bool add_offset;
    bool is_last; /* ntt_gemm_columns.is_last */
    uint64_t *const *out;
} reducer;

/* Past the caches where results are more than these hold: lines that are
 * written whole need not be read. */
INLINE void put(uint64_t *to, vec v, bool is_last)
{
    if (is_last) {
        vec_stream(to, v);
    } else {
        vec_store_words(to, v);
    }
}

/* Σ_b 2^(16b)·s[b] + constant mod q.
 * With |Σ w·(x-h)| <= 2^45·h the quotient t by q is below 2^44 + 1. Its
 * estimate is off by 3·2^-53·|t| < 2^-7 when made from the exact total, and
 * otherwise by 8·2^-53·3·|t| < 2^-4, since the Σ_b |s[b]|·2^(16b) are below
 * 3.01·Σ|w|·h: there are no more words than h needs. Rounded, it leaves a
 * remainder in (-q, q), which 64 bits that wrap give exactly. */
INLINE vec reduce(const vec *s, vec constant, const reducer *by,
                  const int words)
{
    const vec s0 = vec_add(s[0], constant);
    vec total = s[words - 1];
    UNROLL_ALL
    for (int b = words - 2; b >= 0; b--) {
        total = vec_add(vec_shift(total, 16), b == 0 ? s0 : s[b]);
    }
    vec_real size = vec_to_real(by->is_short ? total : s[words - 1]);
    if (!by->is_short) {
        UNROLL_ALL
        for (int b = words - 2; b >= 0; b--) {
            size = vec_append_word(size, vec_to_real(b == 0 ? s0 : s[b]));
        }
    }
    return vec_remainder(total, size, by->q, by->inverse);
}

/* Σ_b 2^(16b)·(sum b) of the low or high columns, for biased sums. */
INLINE vec add_words(const vec *s, const int high, const int words)
{
    const vec first = words > 2 ? vec_join(s[0], s[2], high)
                                : vec_join(s[0], vec_zero(), high);
    const vec second = words > 3 ? vec_shift(vec_join(s[1], s[3], high), 16)
                                 : vec_place(s[1], high);
    return vec_add(first, second);
}

/* Reduces and stores one half of a panel's columns of a direct tile.
 * n_columns: those of the half. */
INLINE void finish_direct(const gemm_tile *tile, size_t column,
                          size_t n_columns, const vec *sums, const reducer *by,
                          const int words)
{
    for (size_t r = 0; r < tile->rows; r++) {
        uint64_t *out = by->out[tile->first_row + r] + column;
        const vec constant = vec_all64(tile->constant[by->add_offset][r]);
        const vec *s = sums + r * (size_t)words;
        if (n_columns > 0) {
            const vec total = vec_add(add_words(s, 0, words), constant);
            put(out, vec_direct_remainder(total, &by->direct), by->is_last);
        }
        if (n_columns > LANES) {
            const vec total = vec_add(add_words(s, 1, words), constant);
            put(out + LANES, vec_direct_remainder(total, &by->direct),
                by->is_last);
        }
    }
}

/* Reduces and stores one half of a panel's columns from `wide`.
 * n_columns: those of the half. */
INLINE void finish(const gemm_tile *tile, size_t column, size_t n_columns,
                   wide_sums wide, const reducer *by, const int words)
{
    for (size_t r = 0; r < tile->rows; r++) {
        uint64_t *out = by->out[tile->first_row + r] + column;
        const vec constant = vec_all64(tile->constant[by->add_offset][r]);
        vec low[GEMM_MAX_X_WORDS], high[GEMM_MAX_X_WORDS];
        UNROLL_ALL
        for (int b = 0; b < words; b++) {
            const size_t at = r * (size_t)words + (size_t)b;
            low[b] = wide[at][0];
            high[b] = wide[at][1];
        }
        if (n_columns > 0) {
            put(out, reduce(low, constant, by, words), by->is_last);
        }
        if (n_columns > LANES) {
            put(out + LANES, reduce(high, constant, by, words), by->is_last);
        }
    }
}

/* ---- Tiles --------------------------------------------------------------- */

/* All products of a tile with a panel, reduced and stored. */
INLINE void run_tile(const gemm_tile *tile, const int16_t *panel, size_t column,
                     size_t n_columns, lookahead *next, const reducer *by,
                     const int words)
{
    const bool gathered = tile->in != NULL;
    dot_function *const fn = dots[words][tile->rows][gathered];
    const size_t of_high = n_columns > HALF ? n_columns - HALF : 0;
    const int n_sums = (int)tile->rows * words;
    half_sums sums[2];
    if (tile->direct) {
        const chunk_input all = {panel, tile->in, tile->weight, tile->n_pairs,
                                 GEMM_BIAS};
        fn(sums, &all, next);
        finish_direct(tile, column, n_columns, sums[0], by, words);
        finish_direct(tile, column + HALF, of_high, sums[1], by, words);
        return;
    }
    wide_sums wide[2];
    chunk_input chunk = {.weight = tile->weight};
    for (int a = 0; a < tile->weight_words; a++) {
        const unsigned shift = GEMM_WEIGHT_WORD_BITS * (unsigned)a;
        for (size_t first = 0; first < tile->n_pairs; first += tile->chunk) {
            const bool is_first = chunk.weight == tile->weight;
            const size_t left = tile->n_pairs - first;
            chunk.n_pairs = left < tile->chunk ? left : tile->chunk;
            chunk.in = gathered ? tile->in + 2 * first : NULL;
            chunk.panel =
                gathered ? panel : panel + 2 * first * (size_t)words * COLUMNS;
            fn(sums, &chunk, next);
            add_chunk(wide[0], sums[0], n_sums, shift, is_first);
            add_chunk(wide[1], sums[1], n_sums, shift, is_first);
            chunk.weight += chunk.n_pairs * tile->rows;
        }
    }
    finish(tile, column, n_columns, wide[0], by, words);
    finish(tile, column + HALF, of_high, wide[1], by, words);
}

/* 16-bit words of a panel of k inputs: an odd last one is counted twice. */
static size_t panel_words_of(size_t k, int words)
{
    return (k + 1) / 2 * 2 * (size_t)words * COLUMNS;
}

/* ntt_kernels.gemm_run_scratch. */
static size_t run_scratch(size_t k, const zq_modulus *mod)
{
    return sotto_arena_need(panel_words_of(k, ntt_gemm_x_words(mod)),
                            sizeof(int16_t));
}

/* ntt_kernels.gemm_packed_bytes. */
static size_t packed_bytes(const ntt_gemm *job)
{
    return sotto_arena_need(1, sizeof(gemm_tiles)) + ntt_gemm_tiles_need(job);
}

/* ntt_kernels.gemm_scratch. */
static size_t scratch_need(const ntt_gemm *job, const zq_modulus *mod)
{
    return packed_bytes(job) + run_scratch(job->k, mod) +
           sotto_arena_need(job->k, sizeof(ntt_gemm_row));
}

/* ntt_kernels.gemm_pack. */
static void pack(void *packed, const ntt_gemm *job, const zq_modulus *mod)
{
    sotto_arena arena = {.base = packed, .capacity = packed_bytes(job)};
    gemm_tiles *tiles = sotto_arena_take(&arena, 1, sizeof *tiles);
    const int words = ntt_gemm_x_words(mod);
    *tiles = ntt_gemm_tiles_make(job, mod, max_rows(words), COLUMNS, MAX_CHUNK,
                                 &arena);
}

/* Works through columns whose residues take `words` words. */
INLINE void run_columns(const gemm_tiles *tiles,
                        const ntt_gemm_columns *columns, const zq_modulus *mod,
                        int16_t *panel, const int words)
{
    const reducer to = {.q = vec_all64(mod->q),
                        .inverse = vec_inverse(mod->q),
                        .direct = vec_direct_of(mod->q),
                        .is_short = tiles->is_short,
                        .add_offset = columns->add_offset,
                        .is_last = columns->is_last,
                        .out = columns->out};
    const splitter by = {
        .bias = vec_all64(UINT64_C(0x8000800080008000) - (mod->q >> 1)),
        .q = vec_all64(mod->q),
        .field = vec_field_of(mod)};
    for (size_t at = 0; at < columns->n; at += COLUMNS) {
        const size_t left = columns->n - at;
        const size_t n_columns = left < COLUMNS ? left : COLUMNS;
        const bool is_end = left <= COLUMNS && !columns->look_ahead;
        const size_t ahead = is_end ? at : at + COLUMNS;
        lookahead next = {.row = columns->in,
                          .k = tiles->k,
                          .column = ahead,
                          .last_column = ahead + COLUMNS - LINE_WORDS};
        fill_panel(panel, tiles, columns, at, &by, words);
        for (size_t t = 0; t < tiles->n_tiles; t++) {
            run_tile(&tiles->tile[t], panel, at, n_columns, &next, &to, words);
        }
    }
    if (columns->is_last) {
        _mm_sfence(); /* vec_stream is not ordered with other stores */
    }
}

/* ntt_kernels.gemm_run. */
static void run(const void *packed, const ntt_gemm_columns *columns,
                const zq_modulus *mod, void *scratch)
{
    const gemm_tiles *tiles = packed;
    int16_t *panel = scratch;
    if (tiles->x_words == 2) {
        run_columns(tiles, columns, mod, panel, 2);
    } else if (tiles->x_words == 3) {
        run_columns(tiles, columns, mod, panel, 3);
    } else {
        run_columns(tiles, columns, mod, panel, 4);
    }
}

/* ntt_kernels.gemm, with scratch_need bytes of scratch. */
static void multiply(const ntt_gemm *job, const zq_modulus *mod, void *scratch)
{
    sotto_arena arena = {.base = scratch, .capacity = scratch_need(job, mod)};
    void *packed = sotto_arena_take(&arena, packed_bytes(job), 1);
    void *rest = sotto_arena_take(&arena, run_scratch(job->k, mod), 1);
    ntt_gemm_row *row = sotto_arena_take(&arena, job->k, sizeof *row);
    SOTTO_ASSERT(packed != NULL && rest != NULL && row != NULL);
    for (size_t i = 0; i < job->k; i++) {
        row[i] = (ntt_gemm_row){.x = job->in[i]};
    }
    const ntt_gemm_columns columns = {.n = job->n,
                                      .in = row,
                                      .out = job->out,
                                      .add_offset = true,
                                      .is_last = true};
    pack(packed, job, mod);
    run(packed, &columns, mod, rest);
}

#endif
