/* SPDX-License-Identifier: MIT
 * What the SIMD matrix products share: a job cut into tiles of a few outputs,
 * the weights of each packed in the order in which its kernel reads them.
 *
 *     x = h + Σ_b 2^(16b)·x_b   h = (q-1)/2; words x_b in [-2^15, 2^15)
 *     w = Σ_a 2^(11a)·w_a       one word or more
 *
 * Subtracting the constant h centres a residue without a comparison; its part
 * of the result, h·Σw, is a constant of the output row.
 *
 * A panel holds the words of all inputs for a few columns.
 * A kernel takes two inputs at a time, puts their words side by side, and adds
 * products of such pairs with pairs of weights in 32 bits:
 *
 *     weight of a tile                   panel
 *     [pair][row]  (w_i, w_j)    ×    (x_i, x_j) of 8 or 16 columns
 *
 * Ranges: a chunk of pairs has at most GEMM_NORM_LIMIT = 2^16 - 1 of Σ|w_a| in
 * every row, so a 32-bit sum stays below (2^16 - 1)·2^15 < 2^31. Chunks are
 * added in 64 bits: below Σ_a 2^(11a)·|w_a|·2^15 <= 4·2^45·2^15 = 2^62.
 *
 * Where one chunk is all, and results small, sums are reduced directly. They
 * start at 2^31, so that they are positive and widening them is free: the total
 * of a result is Σ_b 2^(16b)·(sum b) + constant mod 2^64, where the constant
 * takes the 2^31 away and adds K·q >= |Σ w·(x-h)|, K = (row_norm + 1)/2. It is
 * in [0, (row_norm + 2)·q), at most 2^62, and row_norm < 2^31.
 */
#ifndef SOTTO_NTT_GEMM_INTERNAL_H
#define SOTTO_NTT_GEMM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "ntt/kernels.h"

#define GEMM_MAX_X_WORDS 4
#define GEMM_WEIGHT_WORD_BITS 11
#define GEMM_NORM_LIMIT 65535

/* Some rows of one block. */
typedef struct gemm_tile {
    size_t rows;
    size_t n_pairs;
    size_t chunk; /* pairs that may be added in 32 bits */
    int weight_words;
    const uint32_t *in;    /* [2·n_pairs] where an input starts in a panel,
                            * in 16-bit words; NULL: the panel holds pairs */
    const int32_t *weight; /* [weight_words][n_pairs][rows]: low half the
                            * first of the pair, high half the second */
    size_t first_row;      /* of the job */
    bool direct;           /* one chunk, reduced from biased sums */
    /* [rows]: h·Σw mod q; the same plus the offset; direct tiles: and the
     * constant that makes their totals what they are */
    const uint64_t *constant[2];
} gemm_tile;

/* Where the sums of direct tiles start. */
#define GEMM_BIAS INT32_MIN

/* A job cut into tiles. */
typedef struct gemm_tiles {
    size_t n_tiles;
    const gemm_tile *tile;
    size_t k;      /* of the job */
    int x_words;   /* 2 … GEMM_MAX_X_WORDS */
    bool gathered; /* tiles say where their inputs are */
    bool is_short; /* |Σ w·(x-h)| + q < 2^63 */
} gemm_tiles;

/* Words of a residue less h: at least 2. */
int ntt_gemm_x_words(const zq_modulus *mod);

/* Bytes of arena that ntt_gemm_tiles_make takes at most
 * (ntt_kernels.gemm_scratch says what it depends on). */
size_t ntt_gemm_tiles_need(const ntt_gemm *job);

/* Cuts a job into tiles of at most max_rows rows and chunks of at most
 * max_chunk pairs, for panels of panel_columns columns. */
gemm_tiles ntt_gemm_tiles_make(const ntt_gemm *job, const zq_modulus *mod,
                               size_t max_rows, size_t panel_columns,
                               size_t max_chunk, sotto_arena *arena);

#endif
