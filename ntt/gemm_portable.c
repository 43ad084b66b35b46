/* SPDX-License-Identifier: MIT
 * Portable integer matrix × gathered residue rows: products of 16-bit words.
 *
 *     x = Σ_b 2^(16b)·x_b    centred residue, words in [-2^15, 2^15)
 *     w = Σ_a 2^(11a)·w_a    weight: one word if all |w| < 2^11, else words
 *                            with |w_a| <= 2^10
 *
 * A panel is 8 columns, its words laid out so that the inner loop is a dot
 * product of two contiguous rows of 16-bit integers, which compilers turn into
 * multiply-and-add-pairs (pmaddwd belongs to the baseline of x86-64, smlal to
 * that of aarch64): 8 products with one instruction.
 *
 *     weight    k terms            panel   k terms of a chunk
 *     [a][o]  |---------|          [b][0] |------|
 *     [a][o+1]|---------|    ×     [b][1] |------|   ->  sum[o][b][0..7]
 *        …                            …
 *                                  [b][7] |------|
 *
 * Ranges: a chunk has at most NORM_LIMIT = 2^16 - 1 of Σ|w_a| in each row, so
 * that a 32-bit sum of w_a·x_b stays below (2^16 - 1)·2^15 < 2^31. A 64-bit sum
 * stays below Σ_a 2^(11a)·|w_a|·2^15 <= 4·Σ|w|·2^15 < 2^62, since Σ|w| < 2^45.
 * Recombined: |Σ w·x| <= 2^45·(q-1)/2.
 */
#include "ntt/gemm.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "ntt/portable_internal.h"

#define PANEL_COLUMNS 8
/* Terms of a chunk at most, and words from column to column of a panel: no
 * power of two, and a panel of 3 words takes 21 KiB. */
#define PANEL_STRIDE 448
#define MAX_X_WORDS 4
#define NORM_LIMIT 65535
#define SINGLE_WEIGHT_MAX 2047
#define WEIGHT_WORD_BITS 11
#define WEIGHT_WORD_MAX ((int64_t)1 << (WEIGHT_WORD_BITS - 1))

/* How a job is cut, and the parts of its scratch memory. */
typedef struct gemm_cut {
    size_t k_padded; /* k rounded up to 8 */
    size_t chunk;    /* terms of one dot product, a multiple of 8 */
    int x_words;
    int weight_words;
    int16_t *weight; /* [weight_words][m][k_padded] */
    int16_t *panel;  /* [x_words][PANEL_COLUMNS][PANEL_STRIDE] */
    int64_t *sum;    /* [m][x_words][PANEL_COLUMNS] */
} gemm_cut;

uint64_t ntt_gemm_row_norm(const int32_t *weight, size_t m, size_t k)
{
    uint64_t largest = 0;
    for (size_t o = 0; o < m; o++) {
        uint64_t norm = 0;
        for (size_t i = 0; i < k; i++) {
            const int64_t w = weight[o * k + i];
            norm += (uint64_t)(w < 0 ? -w : w);
        }
        largest = norm > largest ? norm : largest;
    }
    return largest;
}

/* Words of a centred residue: b of them reach up to Σ_{i<b} 2^(16i)·(2^15 - 1)
 * and a little further down. */
static int residue_words(uint64_t q)
{
    const uint64_t largest = q >> 1;
    uint64_t reach = 0;
    int words = 0;
    while (reach < largest) {
        reach = (reach << 16) + 0x7fff;
        words++;
    }
    return words;
}

/* With |w| < 2^21 the second word is at most (2^21 - 1 + 2^10)/2^11 <= 2^10
 * rounded down, with |w| < 2^31 the third at most 2^9. */
static int weight_words(uint64_t largest)
{
    if (largest <= SINGLE_WEIGHT_MAX) {
        return 1;
    }
    return largest < (uint64_t)1 << 21 ? 2 : 3;
}

int ntt_gemm_words(const zq_modulus *mod, uint64_t largest_weight)
{
    return residue_words(mod->q) * weight_words(largest_weight);
}

/* Weights with rows padded; of one block of a job, or all. */
static size_t padded_weights(const ntt_gemm *job)
{
    return job->n_blocks == 0 ? job->m * ((job->k + 7) / 8 * 8)
                              : job->n_weights + 7 * job->m;
}

size_t ntt_gemm_scratch_portable(const ntt_gemm *job, const zq_modulus *mod)
{
    const size_t x_words = (size_t)residue_words(mod->q);
    const size_t rows = job->n_blocks == 0 ? 0 : job->block_k;
    return sotto_arena_need((size_t)weight_words(job->row_norm) *
                                padded_weights(job),
                            sizeof(int16_t)) +
           sotto_arena_need(x_words * PANEL_COLUMNS * PANEL_STRIDE,
                            sizeof(int16_t)) +
           sotto_arena_need(job->m * x_words * PANEL_COLUMNS, sizeof(int64_t)) +
           sotto_arena_need(rows, sizeof(uint64_t *));
}

static uint64_t largest_of(const ntt_gemm *job)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < job->m * job->k; i++) {
        const int32_t w = job->weight[i];
        const uint32_t a = w < 0 ? 0u - (uint32_t)w : (uint32_t)w;
        largest = a > largest ? a : largest;
    }
    return largest;
}

static gemm_cut make_cut(const ntt_gemm *job, const zq_modulus *mod,
                         void *scratch)
{
    gemm_cut cut = {.k_padded = (job->k + 7) / 8 * 8,
                    .x_words = residue_words(mod->q),
                    .weight_words = weight_words(largest_of(job))};
    sotto_arena arena = {.base = scratch,
                         .used = 0,
                         .capacity = ntt_gemm_scratch_portable(job, mod)};
    const size_t x_words = (size_t)cut.x_words;
    cut.panel = sotto_arena_take(&arena, x_words * PANEL_COLUMNS * PANEL_STRIDE,
                                 sizeof *cut.panel);
    cut.sum = sotto_arena_take(&arena, job->m * x_words * PANEL_COLUMNS,
                               sizeof *cut.sum);
    cut.weight = sotto_arena_take(&arena, (size_t)cut.weight_words * job->m,
                                  cut.k_padded * sizeof *cut.weight);
    return cut;
}

/* Splits the weights into words; rows are padded with zeros. */
static void pack_weights(const gemm_cut *cut, const ntt_gemm *job)
{
    const size_t plane = job->m * cut->k_padded;
    memset(cut->weight, 0,
           (size_t)cut->weight_words * plane * sizeof *cut->weight);
    for (size_t o = 0; o < job->m; o++) {
        for (size_t i = 0; i < job->k; i++) {
            int64_t w = job->weight[o * job->k + i];
            int16_t *word = cut->weight + o * cut->k_padded + i;
            for (int a = 1; a < cut->weight_words; a++) {
                const int64_t low =
                    ((w + WEIGHT_WORD_MAX) & (2 * WEIGHT_WORD_MAX - 1)) -
                    WEIGHT_WORD_MAX;
                *word = (int16_t)low;
                word += plane;
                w = (w - low) / (2 * WEIGHT_WORD_MAX);
            }
            *word = (int16_t)w;
        }
    }
}

/* True when no row of any chunk passes NORM_LIMIT. */
static bool chunk_fits(const gemm_cut *cut, size_t m)
{
    const size_t rows = (size_t)cut->weight_words * m;
    for (size_t r = 0; r < rows; r++) {
        const int16_t *w = cut->weight + r * cut->k_padded;
        for (size_t first = 0; first < cut->k_padded; first += cut->chunk) {
            const size_t left = cut->k_padded - first;
            const size_t len = left < cut->chunk ? left : cut->chunk;
            uint32_t norm = 0;
            for (size_t i = first; i < first + len; i++) {
                const int32_t v = w[i];
                norm += (uint32_t)(v < 0 ? -v : v);
            }
            if (norm > NORM_LIMIT) {
                return false;
            }
        }
    }
    return true;
}

/* Cuts the terms into equal chunks, shorter until all fit. 32 terms always
 * fit, since 32·2047 < NORM_LIMIT. */
static void choose_chunk(gemm_cut *cut, size_t m)
{
    const size_t n_chunks = (cut->k_padded + PANEL_STRIDE - 1) / PANEL_STRIDE;
    size_t len = (cut->k_padded + n_chunks - 1) / n_chunks;
    cut->chunk = (len + 7) / 8 * 8;
    while (!chunk_fits(cut, m)) {
        cut->chunk = (cut->chunk / 2 + 7) / 8 * 8;
    }
}

/* The four balanced words of the centred a, in the four quarters of the
 * result: adding 2^15 to each quarter makes all words non-negative, so that
 * they do not borrow; flipping the bit again makes them signed. */
static inline uint64_t split(uint64_t a, uint64_t q)
{
    const uint64_t bias = 0x8000800080008000u;
    /* zq_centre without its pin, which would stop the vectoriser. */
    const uint64_t centred = a - (q & (0 - (((q >> 1) - a) >> 63)));
    return (centred + bias) ^ bias;
}

/* Packs four rows of a panel: a 4 × 4 transposition of words per column. The
 * first loop has neither branches nor strides, so that it is vectorised. */
static void pack_rows(int16_t *panel, const uint64_t *const *row, size_t column,
                      uint64_t q, int x_words)
{
    const uint64_t half = 0xffffffffu;
    const uint64_t even = 0x0000ffff0000ffffu;
    const uint64_t *r0 = row[0] + column;
    const uint64_t *r1 = row[1] + column;
    const uint64_t *r2 = row[2] + column;
    const uint64_t *r3 = row[3] + column;
    uint64_t word[MAX_X_WORDS][PANEL_COLUMNS];
    for (size_t c = 0; c < PANEL_COLUMNS; c++) {
        const uint64_t t0 = split(r0[c], q);
        const uint64_t t1 = split(r1[c], q);
        const uint64_t t2 = split(r2[c], q);
        const uint64_t t3 = split(r3[c], q);
        const uint64_t low02 = (t0 & half) | t2 << 32;
        const uint64_t low13 = (t1 & half) | t3 << 32;
        const uint64_t high02 = t0 >> 32 | (t2 & ~half);
        const uint64_t high13 = t1 >> 32 | (t3 & ~half);
        word[0][c] = (low02 & even) | (low13 & even) << 16;
        word[1][c] = (low02 >> 16 & even) | (low13 & ~even);
        word[2][c] = (high02 & even) | (high13 & even) << 16;
        word[3][c] = (high02 >> 16 & even) | (high13 & ~even);
    }
    for (size_t b = 0; b < (size_t)x_words; b++) {
        for (size_t c = 0; c < PANEL_COLUMNS; c++) {
            memcpy(panel + (b * PANEL_COLUMNS + c) * PANEL_STRIDE, &word[b][c],
                   sizeof word[b][c]);
        }
    }
}

/* Packs the terms [first, first + len) of 8 columns. Behind the last row the
 * panel keeps what it has: the weights there are zero. */
static void pack_panel(const gemm_cut *cut, const ntt_gemm *job, size_t column,
                       size_t first, size_t len, uint64_t q)
{
    static const uint64_t zeros[PANEL_COLUMNS] = {0};
    const size_t rows = job->k - first < len ? job->k - first : len;
    size_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        pack_rows(cut->panel + i, job->in + first + i, column, q, cut->x_words);
    }
    if (i < rows) {
        const uint64_t *row[4];
        for (size_t r = 0; r < 4; r++) {
            row[r] = i + r < rows ? job->in[first + i + r] + column : zeros;
        }
        pack_rows(cut->panel + i, row, 0, q, cut->x_words);
    }
}

/* out[c] += unit · Σ_i w[i]·x[c][i] for 8 columns. The sums are variables and
 * not an array, since gcc would store them one by one to load them as vectors;
 * inlined, they would not find registers. */
__attribute__((noinline)) static void dot_panel(int64_t *restrict out,
                                                const int16_t *restrict w,
                                                const int16_t *restrict x,
                                                size_t len, int64_t unit)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
#ifdef __clang__
#pragma clang loop vectorize_width(8) interleave_count(1)
#endif
    for (size_t i = 0; i < len; i++) {
        s0 += w[i] * x[i];
        s1 += w[i] * x[i + PANEL_STRIDE];
        s2 += w[i] * x[i + 2 * PANEL_STRIDE];
        s3 += w[i] * x[i + 3 * PANEL_STRIDE];
        s4 += w[i] * x[i + 4 * PANEL_STRIDE];
        s5 += w[i] * x[i + 5 * PANEL_STRIDE];
        s6 += w[i] * x[i + 6 * PANEL_STRIDE];
        s7 += w[i] * x[i + 7 * PANEL_STRIDE];
    }
    out[0] += unit * s0;
    out[1] += unit * s1;
    out[2] += unit * s2;
    out[3] += unit * s3;
    out[4] += unit * s4;
    out[5] += unit * s5;
    out[6] += unit * s6;
    out[7] += unit * s7;
}

/* Adds the products of one chunk to all sums. */
static void add_chunk(const gemm_cut *cut, size_t m, size_t first, size_t len)
{
    int64_t *sum = cut->sum;
    for (size_t o = 0; o < m; o++) {
        for (int b = 0; b < cut->x_words; b++, sum += PANEL_COLUMNS) {
            const int16_t *x =
                cut->panel + (size_t)b * PANEL_COLUMNS * PANEL_STRIDE;
            for (int a = 0; a < cut->weight_words; a++) {
                const int16_t *w =
                    cut->weight + ((size_t)a * m + o) * cut->k_padded + first;
                dot_panel(sum, w, x, len, (int64_t)1 << (WEIGHT_WORD_BITS * a));
            }
        }
    }
}

/* Σ_b 2^(16b)·sum[b] modulo q for one output and column. */
static uint64_t recombine(const gemm_cut *cut, const int64_t *sum,
                          const zq_modulus *mod)
{
    zq_i128 total = 0;
    for (int b = cut->x_words; b-- > 0;) {
        total = total * 65536 + sum[b * PANEL_COLUMNS];
    }
    /* |total| <= 2^45·(q-1)/2, so this makes it positive. */
    return zq_reduce_u128((zq_u128)total + ((zq_u128)mod->q << 45), mod);
}

/* The same where |Σ w·x| < 2^63: then 64-bit words that wrap give it exactly.
 */
static uint64_t recombine_short(const gemm_cut *cut, const int64_t *sum,
                                const zq_modulus *mod)
{
    uint64_t total = 0;
    for (int b = cut->x_words; b-- > 0;) {
        total = (total << 16) + (uint64_t)sum[b * PANEL_COLUMNS];
    }
    return zq_from_i64((int64_t)total, mod);
}

/* Reduces all outputs of a panel. */
static void finish_panel(const gemm_cut *cut, const ntt_gemm *job,
                         size_t column, const zq_modulus *mod)
{
    const bool is_short = ((zq_u128)job->row_norm * (mod->q >> 1)) >> 63 == 0;
    const int64_t *sum = cut->sum;
    for (size_t o = 0; o < job->m; o++) {
        uint64_t *out = job->out[o] + column;
        const uint64_t offset = job->offset == NULL ? 0 : job->offset[o];
        for (size_t c = 0; c < PANEL_COLUMNS; c++) {
            const uint64_t r = is_short ? recombine_short(cut, sum + c, mod)
                                        : recombine(cut, sum + c, mod);
            out[c] = zq_add(r, offset, mod->q);
        }
        sum += (size_t)cut->x_words * PANEL_COLUMNS;
    }
}

static void multiply_dense(const ntt_gemm *job, const zq_modulus *mod,
                           void *scratch)
{
    gemm_cut cut = make_cut(job, mod, scratch);
    const size_t n_sums = job->m * (size_t)cut.x_words * PANEL_COLUMNS;
    memset(cut.panel, 0,
           (size_t)cut.x_words * PANEL_COLUMNS * PANEL_STRIDE *
               sizeof *cut.panel);
    pack_weights(&cut, job);
    choose_chunk(&cut, job->m);
    for (size_t column = 0; column < job->n; column += PANEL_COLUMNS) {
        memset(cut.sum, 0, n_sums * sizeof *cut.sum);
        for (size_t first = 0; first < cut.k_padded; first += cut.chunk) {
            const size_t left = cut.k_padded - first;
            const size_t len = left < cut.chunk ? left : cut.chunk;
            pack_panel(&cut, job, column, first, len, mod->q);
            add_chunk(&cut, job->m, first, len);
        }
        finish_panel(&cut, job, column, mod);
    }
}

/* Blocks are dense products of their own: at the width of these registers an
 * input costs less to split again than to gather word by word. */
void ntt_gemm_portable(const ntt_gemm *job, const zq_modulus *mod,
                       void *scratch)
{
    if (job->n_blocks == 0) {
        multiply_dense(job, mod, scratch);
        return;
    }
    const uint64_t **in = scratch;
    uint8_t *rest =
        (uint8_t *)scratch + sotto_arena_need(job->block_k, sizeof *in);
    ntt_gemm part = {.n = job->n,
                     .weight = job->weight,
                     .row_norm = job->row_norm,
                     .in = in,
                     .offset = job->offset,
                     .out = job->out};
    for (size_t b = 0; b < job->n_blocks; b++) {
        const ntt_gemm_block *block = &job->block[b];
        SOTTO_ASSERT(block->k <= job->block_k);
        part.m = block->m;
        part.k = block->k;
        for (size_t i = 0; i < block->k; i++) {
            SOTTO_ASSERT(block->in[i] < job->k);
            in[i] = job->in[block->in[i]];
        }
        multiply_dense(&part, mod, rest);
        part.weight += block->m * block->k;
        part.out += block->m;
        part.offset += part.offset == NULL ? 0 : block->m;
    }
}
