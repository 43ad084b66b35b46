/* SPDX-License-Identifier: MIT
 * Cuts a matrix product into tiles and packs their weights; see
 * gemm_internal.h.
 */
#include "ntt/gemm_internal.h"

#include <string.h>

/* One word while |w| stays below this, whatever the chunks become; a longer
 * one only if a row's mean |w| leaves chunks of 12 pairs or so, since adding up
 * a chunk costs as much as 5 pairs. */
#define SINGLE_WEIGHT_MAX 2047
#define LONG_WEIGHT_MAX 32767
#define LONG_WEIGHT_MEAN (GEMM_NORM_LIMIT / 24)

/* Rows [first, first + rows) of one block, before they are packed. */
typedef struct tile_source {
    const int32_t *weight; /* [rows][k] */
    size_t rows;
    size_t k;
    const uint64_t *offset; /* [rows] or NULL */
} tile_source;

/* What holds for all tiles of a job. */
typedef struct tile_limits {
    size_t rows;
    size_t chunk;
    uint64_t row_norm;
    bool direct;     /* results are small enough (gemm_internal.h) */
    uint64_t excess; /* what is added to constants of direct tiles */
} tile_limits;

/* Where the next tile is packed. */
typedef struct tile_cursor {
    uint32_t *in;
    int32_t *weight;
    uint64_t *constant;
} tile_cursor;

int ntt_gemm_x_words(const zq_modulus *mod)
{
    const uint64_t largest = mod->q >> 1;
    uint64_t reach = 0x7fff7fff;
    int words = 2;
    while (reach < largest) {
        reach = (reach << 16) + 0x7fff;
        words++;
    }
    return words;
}

static int split_words(uint64_t largest)
{
    if (largest <= SINGLE_WEIGHT_MAX) {
        return 1;
    }
    return largest < (uint64_t)1 << 21 ? 2 : 3;
}

/* Places of inputs: k of a block rounded up to pairs. */
static size_t places_of(const ntt_gemm *job)
{
    return job->n_blocks == 0 ? 0 : job->n_weights + job->n_blocks;
}

/* Packed pairs of weights. */
static size_t packed_of(const ntt_gemm *job)
{
    const size_t pairs = job->n_blocks == 0 ? job->m * ((job->k + 1) / 2)
                                            : (job->n_weights + job->m + 1) / 2;
    return (size_t)split_words(job->row_norm) * pairs;
}

size_t ntt_gemm_tiles_need(const ntt_gemm *job)
{
    return sotto_arena_need(job->m, sizeof(gemm_tile)) +
           sotto_arena_need(2 * job->m, sizeof(uint64_t)) +
           sotto_arena_need(places_of(job), sizeof(uint32_t)) +
           sotto_arena_need(packed_of(job), sizeof(int32_t));
}

/* |w| for w >= 0, |w| - 1 otherwise: as many bits, and no overflow. */
static inline uint32_t bits_of(int32_t w)
{
    return (uint32_t)(w ^ (w >> 31));
}

static inline uint32_t magnitude(int32_t w)
{
    return bits_of(w) + ((uint32_t)w >> 31);
}

/* Words that the weights of a tile take. An even power of two may count as the
 * number below it: the words have room for it on the negative side. */
static int words_of(const tile_source *from, uint64_t row_norm)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < from->rows * from->k; i++) {
        bits |= bits_of(from->weight[i]);
    }
    if (bits < LONG_WEIGHT_MAX && row_norm <= LONG_WEIGHT_MEAN * from->k) {
        return 1;
    }
    return split_words(bits);
}

/* Takes the lowest of `words` words from *w; the last is all of it. */
static inline int32_t take_word(int32_t *w, int words)
{
    const int32_t half = 1 << (GEMM_WEIGHT_WORD_BITS - 1);
    if (words == 1) {
        return *w;
    }
    /* Unsigned, since *w + half may pass 2^31; the word is right even so. */
    const int32_t low =
        (int32_t)(((uint32_t)*w + (uint32_t)half) & (uint32_t)(2 * half - 1)) -
        half;
    *w = (int32_t)(((int64_t)*w - low) / (2 * half));
    return low;
}

/* A row of weights of one word. */
static void pack_single(int32_t *packed, const int32_t *w, size_t k,
                        size_t stride)
{
    for (size_t i = 0; i + 1 < k; i += 2) {
        const uint32_t low = (uint32_t)w[i], high = (uint32_t)w[i + 1];
        *packed = (int32_t)((low & 0xffff) | high << 16);
        packed += stride;
    }
    if (k % 2 != 0) {
        *packed = w[k - 1] & 0xffff;
    }
}

static void pack_weights(int32_t *packed, const tile_source *from, int words)
{
    const size_t n_pairs = (from->k + 1) / 2;
    for (size_t r = 0; r < from->rows; r++) {
        const int32_t *w = from->weight + r * from->k;
        if (words == 1) {
            pack_single(packed + r, w, from->k, from->rows);
            continue;
        }
        for (size_t p = 0; p < n_pairs; p++) {
            int32_t first = w[2 * p];
            int32_t second = 2 * p + 1 < from->k ? w[2 * p + 1] : 0;
            int32_t *to = packed + p * from->rows + r;
            for (int left = words; left > 0; left--) {
                const uint32_t low = (uint32_t)take_word(&first, left);
                const uint32_t high = (uint32_t)take_word(&second, left);
                *to = (int32_t)((low & 0xffff) | high << 16);
                to += n_pairs * from->rows;
            }
        }
    }
}

/* True when no row of any chunk passes GEMM_NORM_LIMIT, for
 * weights of one word. Contiguous rows are summed several weights at a time. */
static bool single_chunk_fits(const tile_source *from, size_t chunk)
{
    for (size_t r = 0; r < from->rows; r++) {
        const int32_t *w = from->weight + r * from->k;
        for (size_t first = 0; first < from->k; first += 2 * chunk) {
            const size_t left = from->k - first;
            const size_t len = left < 2 * chunk ? left : 2 * chunk;
            uint64_t norm = 0;
            /* 2^16 magnitudes below 2^15 fit 32 bits. */
            for (size_t i = 0; i < len; i += (size_t)1 << 16) {
                const size_t end = len - i < 1u << 16 ? len : i + (1u << 16);
                uint32_t part = 0;
                for (size_t j = i; j < end; j++) {
                    part += magnitude(w[first + j]);
                }
                norm += part;
            }
            if (norm > GEMM_NORM_LIMIT) {
                return false;
            }
        }
    }
    return true;
}

/* True when no row of any chunk passes GEMM_NORM_LIMIT, for any words. */
static bool chunk_fits(const gemm_tile *tile, size_t chunk)
{
    for (size_t first = 0; first < tile->n_pairs; first += chunk) {
        const size_t left = tile->n_pairs - first;
        const size_t len = left < chunk ? left : chunk;
        for (size_t r = 0; r < (size_t)tile->weight_words * tile->rows; r++) {
            const int32_t *w =
                tile->weight +
                (r / tile->rows * tile->n_pairs + first) * tile->rows +
                r % tile->rows;
            uint64_t norm = 0;
            for (size_t p = 0; p < len; p++) {
                const int32_t pair = w[p * tile->rows];
                norm += magnitude((int16_t)pair) + magnitude(pair >> 16);
            }
            if (norm > GEMM_NORM_LIMIT) {
                return false;
            }
        }
    }
    return true;
}

/* Equal chunks of at most limits->chunk pairs, the fewest that fit. One pair
 * always fits, since a weight word is at most 2^15 - 1. */
static size_t choose_chunk(const gemm_tile *tile, const tile_source *from,
                           const tile_limits *limits)
{
    size_t n_chunks = (tile->n_pairs - 1) / limits->chunk + 1;
    size_t chunk = (tile->n_pairs + n_chunks - 1) / n_chunks;
    if (tile->weight_words == 1 && limits->row_norm <= GEMM_NORM_LIMIT) {
        return chunk;
    }
    while (!(tile->weight_words == 1 ? single_chunk_fits(from, chunk)
                                     : chunk_fits(tile, chunk))) {
        n_chunks += 1 + n_chunks / 8;
        chunk = (tile->n_pairs + n_chunks - 1) / n_chunks;
    }
    return chunk;
}

/* h·Σw mod q for each row, then the same with the offsets; and excess. */
static void make_constants(uint64_t *constant, const tile_source *from,
                           uint64_t excess, const zq_modulus *mod)
{
    uint64_t *with_offset = constant + from->rows;
    for (size_t r = 0; r < from->rows; r++) {
        int64_t sum = 0; /* below 2^45 */
        for (size_t i = 0; i < from->k; i++) {
            sum += from->weight[r * from->k + i];
        }
        constant[r] = zq_mul(zq_from_i64(sum, mod), mod->q >> 1, mod);
        with_offset[r] = from->offset == NULL
                             ? constant[r]
                             : zq_add(constant[r], from->offset[r], mod->q);
        constant[r] += excess;
        with_offset[r] += excess;
    }
}

/* Places of the inputs of a block; an odd last one is its own partner, with
 * weight 0. */
static void place_inputs(uint32_t *place, const ntt_gemm *job,
                         const ntt_gemm_block *block, size_t stride)
{
    for (size_t i = 0; i < (block->k + 1) / 2 * 2; i++) {
        const size_t at = i < block->k ? i : block->k - 1;
        const size_t row = block->in[at];
        SOTTO_ASSERT(row < job->k && row <= UINT32_MAX / stride);
        place[i] = (uint32_t)(row * stride);
    }
}

/* Cuts one block into tiles of nearly equal height. Returns their number. */
static size_t cut_block(gemm_tile *tile, tile_cursor *at,
                        const ntt_gemm_block *block, const tile_source *all,
                        size_t first_row, const tile_limits *limits,
                        const zq_modulus *mod)
{
    const size_t n_tiles = (block->m + limits->rows - 1) / limits->rows;
    size_t done = 0;
    for (size_t t = 0; t < n_tiles; t++) {
        const size_t rows = block->m / n_tiles + (t < block->m % n_tiles);
        const tile_source from = {
            .weight = all->weight + done * block->k,
            .rows = rows,
            .k = block->k,
            .offset = all->offset == NULL ? NULL : all->offset + done};
        tile[t] = (gemm_tile){.rows = rows,
                              .n_pairs = (block->k + 1) / 2,
                              .weight_words = words_of(&from, limits->row_norm),
                              .in = block->in == NULL ? NULL : at->in,
                              .weight = at->weight,
                              .first_row = first_row + done,
                              .constant = {at->constant, at->constant + rows}};
        pack_weights(at->weight, &from, tile[t].weight_words);
        tile[t].chunk = choose_chunk(&tile[t], &from, limits);
        tile[t].direct = limits->direct && tile[t].weight_words == 1 &&
                         tile[t].chunk >= tile[t].n_pairs;
        make_constants(at->constant, &from, tile[t].direct ? limits->excess : 0,
                       mod);
        at->weight += (size_t)tile[t].weight_words * tile[t].n_pairs * rows;
        at->constant += 2 * rows;
        done += rows;
    }
    at->in += (block->k + 1) / 2 * 2;
    return n_tiles;
}

/* Whether tiles may be direct, and K·q less what their sums start with. */
static void set_direct(tile_limits *limits, const zq_modulus *mod)
{
    const uint64_t norm = limits->row_norm;
    limits->direct =
        norm >> 31 == 0 && ((zq_u128)(norm + 2) * mod->q) >> 62 == 0;
    limits->excess = (norm + 1) / 2 * mod->q;
    for (int b = 0; b < ntt_gemm_x_words(mod); b++) {
        limits->excess -= (uint64_t)(uint32_t)GEMM_BIAS << (16 * b);
    }
}

gemm_tiles ntt_gemm_tiles_make(const ntt_gemm *job, const zq_modulus *mod,
                               size_t max_rows, size_t panel_columns,
                               size_t max_chunk, sotto_arena *arena)
{
    tile_limits limits = {
        .rows = max_rows, .chunk = max_chunk, .row_norm = job->row_norm};
    set_direct(&limits, mod);
    const ntt_gemm_block all = {.m = job->m, .k = job->k};
    const size_t n_blocks = job->n_blocks == 0 ? 1 : job->n_blocks;
    const ntt_gemm_block *block = job->n_blocks == 0 ? &all : job->block;
    const zq_u128 bound = (zq_u128)(job->row_norm + 3) * (mod->q >> 1);
    gemm_tiles tiles = {.k = job->k,
                        .gathered = job->n_blocks > 0,
                        .x_words = ntt_gemm_x_words(mod),
                        .is_short = bound >> 63 == 0};
    const size_t stride = (size_t)tiles.x_words * panel_columns;
    gemm_tile *tile = sotto_arena_take(arena, job->m, sizeof *tile);
    tile_cursor at;
    at.constant = sotto_arena_take(arena, 2 * job->m, sizeof *at.constant);
    at.in = sotto_arena_take(arena, places_of(job), sizeof *at.in);
    at.weight = sotto_arena_take(arena, packed_of(job), sizeof *at.weight);
    SOTTO_ASSERT(tile && at.constant && at.in && at.weight);
    tile_source from = {.weight = job->weight, .offset = job->offset};
    size_t row = 0;
    for (size_t b = 0; b < n_blocks; b++) {
        SOTTO_ASSERT(block[b].k <= job->k);
        if (block[b].in != NULL) {
            place_inputs(at.in, job, &block[b], stride);
        }
        tiles.n_tiles += cut_block(tile + tiles.n_tiles, &at, &block[b], &from,
                                   row, &limits, mod);
        from.weight += block[b].m * block[b].k;
        from.offset += from.offset == NULL ? 0 : block[b].m;
        row += block[b].m;
    }
    tiles.tile = tile;
    return tiles;
}
