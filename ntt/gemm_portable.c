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

/* One block of a job, made ready. */
typedef struct gemm_part {
    size_t m;
    size_t first_row; /* of the job */
    size_t k;
    size_t k_padded; /* k rounded up to 8 */
    size_t chunk;    /* terms of one dot product, a multiple of 8 */
    int weight_words;
    const uint32_t *in; /* [k] inputs of the job; NULL: all, in order */
    int16_t *weight;    /* [weight_words][m][k_padded] */
} gemm_part;

/* A job made ready. */
typedef struct gemm_packed {
    size_t n_parts;
    const gemm_part *part;
    const uint64_t *offset; /* [m of the job] */
    size_t max_m, max_k;    /* of the parts */
    int x_words;
    bool is_short; /* |Σ w·x| < 2^63 */
} gemm_packed;

/* Where a panel is worked on. */
typedef struct gemm_work {
    int16_t *panel;    /* [x_words][PANEL_COLUMNS][PANEL_STRIDE] */
    int64_t *sum;      /* [m of the part][x_words][PANEL_COLUMNS] */
    ntt_gemm_row *row; /* [k of the part] */
} gemm_work;

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

static size_t count_parts(const ntt_gemm *job)
{
    return job->n_blocks == 0 ? 1 : job->n_blocks;
}

/* Places of inputs of all blocks. */
static size_t count_places(const ntt_gemm *job)
{
    return job->n_blocks == 0 ? 0 : job->n_weights;
}

size_t ntt_gemm_packed_bytes_portable(const ntt_gemm *job,
                                      const zq_modulus *mod)
{
    (void)mod;
    return sotto_arena_need(1, sizeof(gemm_packed)) +
           sotto_arena_need(count_parts(job), sizeof(gemm_part)) +
           sotto_arena_need(job->m, sizeof(uint64_t)) +
           sotto_arena_need(count_places(job), sizeof(uint32_t)) +
           sotto_arena_need((size_t)weight_words(job->row_norm) *
                                padded_weights(job),
                            sizeof(int16_t));
}

/* Scratch of products with parts of at most m rows and k inputs. */
static size_t work_bytes(size_t m, size_t k, int x_words)
{
    const size_t columns = (size_t)x_words * PANEL_COLUMNS;
    return sotto_arena_need(columns * PANEL_STRIDE, sizeof(int16_t)) +
           sotto_arena_need(m * columns, sizeof(int64_t)) +
           sotto_arena_need(k, sizeof(ntt_gemm_row));
}

size_t ntt_gemm_run_scratch_portable(const ntt_gemm *job, const zq_modulus *mod)
{
    const size_t k = job->n_blocks == 0 ? job->k : job->block_k;
    return work_bytes(job->m, k, residue_words(mod->q));
}

size_t ntt_gemm_scratch_portable(const ntt_gemm *job, const zq_modulus *mod)
{
    return ntt_gemm_packed_bytes_portable(job, mod) +
           ntt_gemm_run_scratch_portable(job, mod) +
           sotto_arena_need(job->k, sizeof(ntt_gemm_row));
}

static uint64_t largest_of(const int32_t *weight, size_t n)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t w = weight[i];
        const uint32_t a = w < 0 ? 0u - (uint32_t)w : (uint32_t)w;
        largest = a > largest ? a : largest;
    }
    return largest;
}

/* Splits the weights into words; rows are padded with zeros. */
static void pack_weights(const gemm_part *part, const int32_t *weight)
{
    const size_t plane = part->m * part->k_padded;
    memset(part->weight, 0,
           (size_t)part->weight_words * plane * sizeof *part->weight);
    for (size_t o = 0; o < part->m; o++) {
        for (size_t i = 0; i < part->k; i++) {
            int64_t w = weight[o * part->k + i];
            int16_t *word = part->weight + o * part->k_padded + i;
            for (int a = 1; a < part->weight_words; a++) {
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
static bool chunk_fits(const gemm_part *cut)
{
    const size_t rows = (size_t)cut->weight_words * cut->m;
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
static void choose_chunk(gemm_part *cut)
{
    const size_t n_chunks = (cut->k_padded + PANEL_STRIDE - 1) / PANEL_STRIDE;
    size_t len = (cut->k_padded + n_chunks - 1) / n_chunks;
    cut->chunk = (len + 7) / 8 * 8;
    while (!chunk_fits(cut)) {
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
static void pack_rows(int16_t *panel, const uint64_t *const *row, uint64_t q,
                      int x_words)
{
    const uint64_t half = 0xffffffffu;
    const uint64_t even = 0x0000ffff0000ffffu;
    const uint64_t *r0 = row[0];
    const uint64_t *r1 = row[1];
    const uint64_t *r2 = row[2];
    const uint64_t *r3 = row[3];
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

/* The columns of a row from `at` on, made in `products` where the row is not in
 * memory as it is. */
static const uint64_t *columns_of(uint64_t *products, const ntt_gemm_row *row,
                                  size_t at, const zq_modulus *mod)
{
    if (row->y == NULL && !row->twice) {
        return row->x + at;
    }
    for (size_t c = 0; c < PANEL_COLUMNS; c++) {
        uint64_t x = row->x[at + c];
        if (row->y != NULL) {
            x = zq_mul(x, row->y[at + c], mod);
        }
        products[c] = row->twice ? zq_add(x, x, mod->q) : x;
    }
    return products;
}

/* Packs `rows` terms of 8 columns. Behind the last row the panel keeps what it
 * has, up to four rows: the weights there are zero. */
static void pack_panel(int16_t *panel, int x_words, const ntt_gemm_row *row,
                       size_t rows, size_t at, const zq_modulus *mod)
{
    static const uint64_t zeros[PANEL_COLUMNS] = {0};
    for (size_t i = 0; i < rows; i += 4) {
        uint64_t products[4][PANEL_COLUMNS];
        const uint64_t *from[4];
        for (size_t r = 0; r < 4; r++) {
            from[r] = i + r < rows
                          ? columns_of(products[r], &row[i + r], at, mod)
                          : zeros;
        }
        pack_rows(panel + i, from, mod->q, x_words);
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
static void add_chunk(const gemm_work *work, const gemm_part *part, int x_words,
                      size_t first, size_t len)
{
    int64_t *sum = work->sum;
    for (size_t o = 0; o < part->m; o++) {
        for (int b = 0; b < x_words; b++, sum += PANEL_COLUMNS) {
            const int16_t *x =
                work->panel + (size_t)b * PANEL_COLUMNS * PANEL_STRIDE;
            for (int a = 0; a < part->weight_words; a++) {
                const int16_t *w = part->weight +
                                   ((size_t)a * part->m + o) * part->k_padded +
                                   first;
                dot_panel(sum, w, x, len, (int64_t)1 << (WEIGHT_WORD_BITS * a));
            }
        }
    }
}

/* Σ_b 2^(16b)·sum[b] modulo q for one output and column. */
static uint64_t recombine(const int64_t *sum, int x_words,
                          const zq_modulus *mod)
{
    zq_i128 total = 0;
    for (int b = x_words; b-- > 0;) {
        total = total * 65536 + sum[b * PANEL_COLUMNS];
    }
    /* |total| <= 2^45·(q-1)/2, so this makes it positive. */
    return zq_reduce_u128((zq_u128)total + ((zq_u128)mod->q << 45), mod);
}

/* The same where |Σ w·x| < 2^63: then 64-bit words that wrap give it exactly.
 */
static uint64_t recombine_short(const int64_t *sum, int x_words,
                                const zq_modulus *mod)
{
    uint64_t total = 0;
    for (int b = x_words; b-- > 0;) {
        total = (total << 16) + (uint64_t)sum[b * PANEL_COLUMNS];
    }
    return zq_from_i64((int64_t)total, mod);
}

/* Reduces all outputs of a panel. */
static void finish_panel(const gemm_packed *packed, const gemm_part *part,
                         const ntt_gemm_columns *columns, size_t at,
                         const int64_t *sum, const zq_modulus *mod)
{
    for (size_t o = part->first_row; o < part->first_row + part->m; o++) {
        uint64_t *out = columns->out[o] + at;
        const uint64_t offset = columns->add_offset ? packed->offset[o] : 0;
        for (size_t c = 0; c < PANEL_COLUMNS; c++) {
            const uint64_t r =
                packed->is_short
                    ? recombine_short(sum + c, packed->x_words, mod)
                    : recombine(sum + c, packed->x_words, mod);
            out[c] = zq_add(r, offset, mod->q);
        }
        sum += (size_t)packed->x_words * PANEL_COLUMNS;
    }
}

/* Blocks are dense products of their own: at the width of these registers an
 * input costs less to split again than to gather word by word. */
static void run_part(const gemm_packed *packed, const gemm_part *part,
                     const ntt_gemm_columns *columns, const gemm_work *work,
                     const zq_modulus *mod)
{
    const size_t n_sums = part->m * (size_t)packed->x_words * PANEL_COLUMNS;
    const ntt_gemm_row *row = columns->in;
    for (size_t i = 0; part->in != NULL && i < part->k; i++) {
        work->row[i] = columns->in[part->in[i]];
        row = work->row;
    }
    for (size_t at = 0; at < columns->n; at += PANEL_COLUMNS) {
        memset(work->sum, 0, n_sums * sizeof *work->sum);
        for (size_t first = 0; first < part->k_padded; first += part->chunk) {
            const size_t left = part->k_padded - first;
            const size_t len = left < part->chunk ? left : part->chunk;
            const size_t rows = part->k - first < len ? part->k - first : len;
            pack_panel(work->panel, packed->x_words, row + first, rows, at,
                       mod);
            add_chunk(work, part, packed->x_words, first, len);
        }
        finish_panel(packed, part, columns, at, work->sum, mod);
    }
}

void ntt_gemm_run_portable(const void *from, const ntt_gemm_columns *columns,
                           const zq_modulus *mod, void *scratch)
{
    const gemm_packed *packed = from;
    const size_t panel_columns = (size_t)packed->x_words * PANEL_COLUMNS;
    sotto_arena arena = {
        .base = scratch,
        .capacity = work_bytes(packed->max_m, packed->max_k, packed->x_words)};
    const gemm_work work = {
        sotto_arena_take(&arena, panel_columns * PANEL_STRIDE, sizeof(int16_t)),
        sotto_arena_take(&arena, packed->max_m * panel_columns,
                         sizeof(int64_t)),
        sotto_arena_take(&arena, packed->max_k, sizeof(ntt_gemm_row))};
    SOTTO_ASSERT(work.panel != NULL && work.sum != NULL && work.row != NULL);
    memset(work.panel, 0, panel_columns * PANEL_STRIDE * sizeof *work.panel);
    for (size_t i = 0; i < packed->n_parts; i++) {
        run_part(packed, &packed->part[i], columns, &work, mod);
    }
}

/* Makes one block ready. */
static gemm_part make_part(const ntt_gemm_block *block, size_t first_row,
                           const int32_t *weight, int16_t *words)
{
    gemm_part part = {.m = block->m,
                      .first_row = first_row,
                      .k = block->k,
                      .k_padded = (block->k + 7) / 8 * 8,
                      .in = block->in,
                      .weight = words};
    part.weight_words = weight_words(largest_of(weight, part.m * part.k));
    pack_weights(&part, weight);
    choose_chunk(&part);
    return part;
}

/* Copies the places of a block's inputs. */
static const uint32_t *copy_places(uint32_t *to, const ntt_gemm *job,
                                   const ntt_gemm_block *block)
{
    for (size_t i = 0; i < block->k; i++) {
        SOTTO_ASSERT(block->in[i] < job->k);
        to[i] = block->in[i];
    }
    return to;
}

/* Takes an array that packed_bytes has room for. */
static void *take(sotto_arena *arena, size_t count, size_t size)
{
    void *array = sotto_arena_take(arena, count, size);
    SOTTO_ASSERT(array != NULL);
    return array;
}

void ntt_gemm_pack_portable(void *memory, const ntt_gemm *job,
                            const zq_modulus *mod)
{
    sotto_arena arena = {.base = memory,
                         .capacity = ntt_gemm_packed_bytes_portable(job, mod)};
    const ntt_gemm_block all = {.m = job->m, .k = job->k};
    gemm_packed *packed = take(&arena, 1, sizeof *packed);
    gemm_part *part = take(&arena, count_parts(job), sizeof *part);
    uint64_t *offset = take(&arena, job->m, sizeof *offset);
    uint32_t *place = take(&arena, count_places(job), sizeof *place);
    int16_t *words =
        take(&arena, (size_t)weight_words(job->row_norm) * padded_weights(job),
             sizeof *words);
    const int32_t *weight = job->weight;
    *packed = (gemm_packed){
        .n_parts = count_parts(job),
        .part = part,
        .offset = offset,
        .x_words = residue_words(mod->q),
        .is_short = ((zq_u128)job->row_norm * (mod->q >> 1)) >> 63 == 0};
    size_t row = 0;
    for (size_t b = 0; b < packed->n_parts; b++) {
        ntt_gemm_block block = job->n_blocks == 0 ? all : job->block[b];
        if (block.in != NULL) {
            SOTTO_ASSERT(block.k <= job->block_k);
            block.in = copy_places(place, job, &block);
            place += block.k;
        }
        part[b] = make_part(&block, row, weight, words);
        words += (size_t)part[b].weight_words * block.m * part[b].k_padded;
        weight += block.m * block.k;
        row += block.m;
        packed->max_m = block.m > packed->max_m ? block.m : packed->max_m;
        packed->max_k = block.k > packed->max_k ? block.k : packed->max_k;
    }
    for (size_t o = 0; o < job->m; o++) {
        offset[o] = job->offset == NULL ? 0 : job->offset[o];
    }
}

void ntt_gemm_portable(const ntt_gemm *job, const zq_modulus *mod,
                       void *scratch)
{
    sotto_arena arena = {.base = scratch,
                         .capacity = ntt_gemm_scratch_portable(job, mod)};
    void *packed = take(&arena, ntt_gemm_packed_bytes_portable(job, mod), 1);
    void *work = take(&arena, ntt_gemm_run_scratch_portable(job, mod), 1);
    ntt_gemm_row *row = take(&arena, job->k, sizeof *row);
    for (size_t i = 0; i < job->k; i++) {
        row[i] = (ntt_gemm_row){.x = job->in[i]};
    }
    const ntt_gemm_columns columns = {
        .n = job->n, .in = row, .out = job->out, .add_offset = true};
    ntt_gemm_pack_portable(packed, job, mod);
    ntt_gemm_run_portable(packed, &columns, mod, work);
}
