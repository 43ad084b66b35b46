/* SPDX-License-Identifier: MIT
 * Integer matrix × residue rows with AVX-512 VNNI (words, ranges and tiles:
 * gemm_internal.h).
 *
 * A panel is 32 columns: one register of 16-bit words for each input and word.
 * Unpacking the low or high halves of two inputs' registers puts the words of
 * 16 columns side by side, and vpdpwssd adds both products to a 32-bit sum for
 * each column: 32 products with one instruction, on 24 sums at a time (8 rows
 * of 3 words).
 *
 * Order of columns: the words of the quarters 0, 1 (A) and 2, 3 (B) of a
 * panel's columns alternate,
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
#include "ntt/simd_internal.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__)

#include <immintrin.h>
#include <string.h>

#include "ntt/gemm_internal.h"

#define COLUMNS 32
#define MAX_ROWS 8
#define MAX_SUMS 24
#define UNROLL _Pragma("GCC unroll 24")

typedef const int16_t *panel_words;

/* 32-bit sums of one half of a panel's columns: [row][word]. */
typedef __m512i half_sums[MAX_SUMS];

/* ---- Products of words --------------------------------------------------- */

/* sums = Σ over n_pairs pairs, for the low or high half of the columns. All
 * parameters behind `sums` but pointers are constants where it is inlined.
 * The pins at the end of the loop keep gcc from copying all sums from register
 * to register. */
static inline __attribute__((always_inline)) void
dot(__m512i *restrict sums, panel_words panel, const uint32_t *restrict in,
    const int32_t *restrict weight, size_t n_pairs, const int rows,
    const int words, const int high)
{
    __m512i s[MAX_SUMS];
    UNROLL
    for (int i = 0; i < rows * words; i++) {
        s[i] = _mm512_setzero_si512();
    }
    for (size_t p = 0; p < n_pairs; p++) {
        panel_words first = panel + in[2 * p];
        panel_words second = panel + in[2 * p + 1];
        __m512i x[GEMM_MAX_X_WORDS];
        UNROLL
        for (int b = 0; b < words; b++) {
            const __m512i u = _mm512_load_si512(first + b * COLUMNS);
            const __m512i v = _mm512_load_si512(second + b * COLUMNS);
            x[b] = high ? _mm512_unpackhi_epi16(u, v)
                        : _mm512_unpacklo_epi16(u, v);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            const __m512i w = _mm512_set1_epi32(weight[r]);
            UNROLL
            for (int b = 0; b < words; b++) {
                s[r * words + b] =
                    _mm512_dpwssd_epi32(s[r * words + b], x[b], w);
            }
        }
        weight += rows;
        UNROLL
        for (int i = 0; i < rows * words; i++) {
            __asm__("" : "+v"(s[i]));
        }
    }
    UNROLL
    for (int i = 0; i < rows * words; i++) {
        _mm512_store_si512(sums + i, s[i]);
    }
}

typedef void dot_function(half_sums *sums, panel_words panel,
                          const uint32_t *in, const int32_t *weight,
                          size_t n_pairs);

#define DEFINE_DOT(rows, words)                                                \
    static void dot_##rows##_##words(half_sums *sums, panel_words panel,       \
                                     const uint32_t *in,                       \
                                     const int32_t *weight, size_t n_pairs)    \
    {                                                                          \
        dot(sums[0], panel, in, weight, n_pairs, rows, words, 0);              \
        dot(sums[1], panel, in, weight, n_pairs, rows, words, 1);              \
    }
#define DEFINE_DOTS(words)                                                     \
    DEFINE_DOT(1, words)                                                       \
    DEFINE_DOT(2, words)                                                       \
    DEFINE_DOT(3, words)                                                       \
    DEFINE_DOT(4, words)                                                       \
    DEFINE_DOT(5, words)                                                       \
    DEFINE_DOT(6, words)
DEFINE_DOTS(2)
DEFINE_DOT(7, 2)
DEFINE_DOT(8, 2)
DEFINE_DOTS(3)
DEFINE_DOT(7, 3)
DEFINE_DOT(8, 3)
DEFINE_DOTS(4)

/* By words - 2 and rows - 1. */
static dot_function *const dots[3][MAX_ROWS] = {
    {dot_1_2, dot_2_2, dot_3_2, dot_4_2, dot_5_2, dot_6_2, dot_7_2, dot_8_2},
    {dot_1_3, dot_2_3, dot_3_3, dot_4_3, dot_5_3, dot_6_3, dot_7_3, dot_8_3},
    {dot_1_4, dot_2_4, dot_3_4, dot_4_4, dot_5_4, dot_6_4, NULL, NULL}};

static size_t max_rows(int words)
{
    return words == 4 ? 6 : 8;
}

/* ---- Panels -------------------------------------------------------------- */

/* Columns [8·quarter, …) of a row, zeros behind its end; less h, with 2^15
 * added to each word so that words do not borrow. */
static inline __m512i load_quarter(const uint64_t *row, size_t quarter,
                                   size_t n_columns, __m512i bias)
{
    const __m512i x = 8 * quarter < n_columns
                          ? _mm512_loadu_si512(row + 8 * quarter)
                          : _mm512_setzero_si512();
    return _mm512_add_epi64(x, bias);
}

static inline __m512i even_words(__m512i a, __m512i b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16));
}

static inline __m512i odd_words(__m512i a, __m512i b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(a, 16), b);
}

static inline __m512i even_halves(__m512i a, __m512i b)
{
    return _mm512_castps_si512(_mm512_shuffle_ps(
        _mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0x88));
}

static inline __m512i odd_halves(__m512i a, __m512i b)
{
    return _mm512_castps_si512(_mm512_shuffle_ps(
        _mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0xdd));
}

static inline void store_words(int16_t *to, __m512i words)
{
    _mm512_store_si512(
        to, _mm512_xor_si512(words, _mm512_set1_epi16(INT16_MIN)));
}

/* Splits up to 32 columns of one input into words. */
static inline __attribute__((always_inline)) void
split_row(int16_t *to, const uint64_t *row, size_t n_columns, __m512i bias,
          const int words)
{
    const __m512i q0 = load_quarter(row, 0, n_columns, bias);
    const __m512i q2 = load_quarter(row, 1, n_columns, bias);
    const __m512i q1 = load_quarter(row, 2, n_columns, bias);
    const __m512i q3 = load_quarter(row, 3, n_columns, bias);
    __m512i a = even_halves(q0, q1);
    __m512i b = even_halves(q2, q3);
    store_words(to, even_words(a, b));
    store_words(to + COLUMNS, odd_words(a, b));
    if (words > 2) {
        a = odd_halves(q0, q1);
        b = odd_halves(q2, q3);
        store_words(to + 2 * COLUMNS, even_words(a, b));
    }
    if (words > 3) {
        store_words(to + 3 * COLUMNS, odd_words(a, b));
    }
}

static void fill_panel(int16_t *panel, const ntt_gemm *job, size_t column,
                       const zq_modulus *mod, const int words)
{
    const size_t left = job->n - column;
    const size_t n_columns = left < COLUMNS ? left : COLUMNS;
    const __m512i bias =
        _mm512_set1_epi64((long long)(UINT64_C(0x8000800080008000) -
                                      (mod->q >> 1)));
    for (size_t i = 0; i < job->k; i++) {
        const uint64_t *row = job->in[i] + column;
        int16_t *to = panel + i * (size_t)words * COLUMNS;
        if (n_columns < COLUMNS) {
            split_row(to, row, n_columns, bias, words);
        } else if (words == 3) {
            split_row(to, row, COLUMNS, bias, 3);
        } else {
            split_row(to, row, COLUMNS, bias, words);
        }
    }
}

/* ---- Results ------------------------------------------------------------- */

/* 64-bit sums of a half: [row·words + word][low or high columns]. */
typedef __m512i wide_sums[MAX_SUMS][2];

static inline __m512i widen_low(__m512i v)
{
    return _mm512_srai_epi64(_mm512_slli_epi64(v, 32), 32);
}

static inline __m512i widen_high(__m512i v)
{
    return _mm512_srai_epi64(v, 32);
}

/* wide += 2^shift·sums */
static void add_chunk(wide_sums wide, const __m512i *sums, int n_sums,
                      unsigned shift)
{
    const __m128i count = _mm_cvtsi32_si128((int)shift);
    for (int i = 0; i < n_sums; i++) {
        const __m512i low = _mm512_sll_epi64(widen_low(sums[i]), count);
        const __m512i high = _mm512_sll_epi64(widen_high(sums[i]), count);
        wide[i][0] = _mm512_add_epi64(wide[i][0], low);
        wide[i][1] = _mm512_add_epi64(wide[i][1], high);
    }
}

/* What reductions need of a modulus. */
typedef struct reducer {
    __m512i q;
    __m512d inverse; /* 1/q, rounded */
    bool is_short;
} reducer;

/* Σ_b 2^(16b)·s[b] + constant mod q.
 * With |Σ w·(x-h)| <= 2^45·h the quotient t by q is below 2^44 + 1. Its
 * estimate is off by 3·2^-53·|t| < 2^-7 when made from the exact total, and
 * otherwise by 8·2^-53·3·|t| < 2^-4, since the Σ_b |s[b]|·2^(16b) are below
 * 3.01·Σ|w|·h: there are no more words than h needs. Rounded, it leaves a
 * remainder in (-q, q), which 64 bits that wrap give exactly. */
static inline __m512i reduce(const __m512i *s, __m512i constant,
                             const reducer *by, const int words)
{
    const __m512i s0 = _mm512_add_epi64(s[0], constant);
    __m512i total = s[words - 1];
    UNROLL
    for (int b = words - 2; b >= 0; b--) {
        total = _mm512_add_epi64(_mm512_slli_epi64(total, 16),
                                 b == 0 ? s0 : s[b]);
    }
    __m512d size;
    if (by->is_short) {
        size = _mm512_cvtepi64_pd(total);
    } else {
        size = _mm512_cvtepi64_pd(s[words - 1]);
        UNROLL
        for (int b = words - 2; b >= 0; b--) {
            size = _mm512_fmadd_pd(size, _mm512_set1_pd(65536.0),
                                   _mm512_cvtepi64_pd(b == 0 ? s0 : s[b]));
        }
    }
    const __m512i t = _mm512_cvt_roundpd_epi64(
        _mm512_mul_pd(size, by->inverse),
        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512i r =
        _mm512_sub_epi64(total, _mm512_mullo_epi64(t, by->q));
    return _mm512_min_epu64(r, _mm512_add_epi64(r, by->q));
}

/* Reduces and stores one half of a panel's columns, from `sums` or, when that
 * is NULL, from `wide`. n_columns: those of the half. */
static inline __attribute__((always_inline)) void
finish(const gemm_tile *tile, size_t column, size_t n_columns,
       const __m512i *sums, wide_sums wide, const reducer *by, const int words)
{
    for (size_t r = 0; r < tile->rows; r++) {
        uint64_t *out = tile->out[r] + column;
        const __m512i constant =
            _mm512_set1_epi64((long long)tile->constant[r]);
        __m512i low[GEMM_MAX_X_WORDS], high[GEMM_MAX_X_WORDS];
        UNROLL
        for (int b = 0; b < words; b++) {
            const size_t at = r * (size_t)words + (size_t)b;
            low[b] = sums != NULL ? widen_low(sums[at]) : wide[at][0];
            high[b] = sums != NULL ? widen_high(sums[at]) : wide[at][1];
        }
        if (n_columns > 0) {
            _mm512_storeu_si512(out, reduce(low, constant, by, words));
        }
        if (n_columns > 8) {
            _mm512_storeu_si512(out + 8, reduce(high, constant, by, words));
        }
    }
}

/* ---- Tiles --------------------------------------------------------------- */

static inline __attribute__((always_inline)) void
run_tile(const gemm_tile *tile, panel_words panel, size_t column,
         size_t n_columns, const reducer *by, const int words)
{
    dot_function *const fn = dots[words - 2][tile->rows - 1];
    const size_t of_high = n_columns > 16 ? n_columns - 16 : 0;
    const int n_sums = (int)tile->rows * words;
    half_sums sums[2];
    wide_sums wide[2];
    if (tile->weight_words == 1 && tile->chunk >= tile->n_pairs) {
        fn(sums, panel, tile->in, tile->weight, tile->n_pairs);
        finish(tile, column, n_columns, sums[0], NULL, by, words);
        finish(tile, column + 16, of_high, sums[1], NULL, by, words);
        return;
    }
    memset(wide, 0, sizeof wide);
    const int32_t *weight = tile->weight;
    for (int a = 0; a < tile->weight_words; a++) {
        for (size_t first = 0; first < tile->n_pairs; first += tile->chunk) {
            const size_t left = tile->n_pairs - first;
            const size_t len = left < tile->chunk ? left : tile->chunk;
            const unsigned shift = GEMM_WEIGHT_WORD_BITS * (unsigned)a;
            fn(sums, panel, tile->in + 2 * first, weight, len);
            add_chunk(wide[0], sums[0], n_sums, shift);
            add_chunk(wide[1], sums[1], n_sums, shift);
            weight += len * tile->rows;
        }
    }
    finish(tile, column, n_columns, NULL, wide[0], by, words);
    finish(tile, column + 16, of_high, NULL, wide[1], by, words);
}

static inline __attribute__((always_inline)) void
run_panel(const gemm_tiles *tiles, panel_words panel, size_t column,
          size_t n_columns, const reducer *by, const int words)
{
    for (size_t t = 0; t < tiles->n_tiles; t++) {
        run_tile(&tiles->tile[t], panel, column, n_columns, by, words);
    }
}

static size_t panel_words_of(const ntt_gemm *job, const zq_modulus *mod)
{
    return job->k * (size_t)gemm_x_words(mod) * COLUMNS;
}

size_t ntt_gemm_scratch_ifma(const ntt_gemm *job, const zq_modulus *mod)
{
    return sotto_arena_need(panel_words_of(job, mod), sizeof(int16_t)) +
           gemm_tiles_need(job);
}

void ntt_gemm_ifma(const ntt_gemm *job, const zq_modulus *mod, void *scratch)
{
    sotto_arena arena = {.base = scratch,
                         .capacity = ntt_gemm_scratch_ifma(job, mod)};
    int16_t *panel =
        sotto_arena_take(&arena, panel_words_of(job, mod), sizeof *panel);
    const int words = gemm_x_words(mod);
    const gemm_tiles tiles =
        gemm_tiles_make(job, mod, max_rows(words), COLUMNS, &arena);
    const reducer by = {.q = _mm512_set1_epi64((long long)mod->q),
                        .inverse = _mm512_set1_pd(1.0 / (double)mod->q),
                        .is_short = tiles.is_short};
    for (size_t column = 0; column < job->n; column += COLUMNS) {
        const size_t left = job->n - column;
        const size_t n_columns = left < COLUMNS ? left : COLUMNS;
        fill_panel(panel, job, column, mod, words);
        if (words == 2) {
            run_panel(&tiles, panel, column, n_columns, &by, 2);
        } else if (words == 3) {
            run_panel(&tiles, panel, column, n_columns, &by, 3);
        } else {
            run_panel(&tiles, panel, column, n_columns, &by, 4);
        }
    }
}

#endif
