/* SPDX-License-Identifier: MIT
 * Blocked matrix product of floats.
 *
 * B is repacked block by block into panels of NN_SGEMM_COLS columns, so that
 * the inner loop reads it in order; A is read where it lies. A tile of 6×8
 * sums stays in registers over the whole depth of a block: 12 vector sums,
 * two vectors of B and one of A fill the 16 registers that x86-64 always has.
 */
#include "nn/train/sgemm.h"

#include <string.h>

/* Four floats. The compilers map this to whatever the target has; plain loops
 * of the same shape were four times slower with gcc 12. */
typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));

#define ROWS NN_SGEMM_ROWS
#define COLS NN_SGEMM_COLS

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Copies B[p0..p0+k)[j0..j0+n) into panels [panel][k][COLS], the last panel
 * filled up with zeros. */
static void pack_panels(float *out, nn_matrix b, size_t k, size_t n)
{
    for (size_t j = 0; j < n; j += COLS) {
        const size_t width = min_size(COLS, n - j);
        const float *from = b.data + j * b.col_step;
        for (size_t p = 0; p < k; p++) {
            if (width == COLS && b.col_step == 1) {
                memcpy(out, from, COLS * sizeof(float));
            } else {
                for (size_t i = 0; i < COLS; i++) {
                    out[i] = i < width ? from[i * b.col_step] : 0.0f;
                }
            }
            out += COLS;
            from += b.row_step;
        }
    }
}

/* One row of the tile: two vector sums. A macro, since an array of row pointers
 * would be spilled to memory inside the loop. */
#define TILE_ROW(i)                                                            \
    do {                                                                       \
        const float x = *row##i;                                               \
        const vec4 xs = {x, x, x, x};                                          \
        sum[i][0] += xs * b0;                                                  \
        sum[i][1] += xs * b1;                                                  \
        row##i += step;                                                        \
    } while (0)

/* tile[i][j] = Σ_p A[min(i, m-1)][p]·panel[p][j]: missing rows repeat the last
 * one, so that the loop has no tail; the caller drops them. */
static void multiply_tile(float tile[ROWS][COLS], nn_matrix a, size_t m,
                          const float *panel, size_t k)
{
    vec4 sum[ROWS][2];
    const size_t last = m - 1;
    const size_t step = a.col_step;
    const float *row0 = a.data;
    const float *row1 = a.data + min_size(1, last) * a.row_step;
    const float *row2 = a.data + min_size(2, last) * a.row_step;
    const float *row3 = a.data + min_size(3, last) * a.row_step;
    const float *row4 = a.data + min_size(4, last) * a.row_step;
    const float *row5 = a.data + min_size(5, last) * a.row_step;

    for (size_t i = 0; i < ROWS; i++) {
        sum[i][0] = sum[i][1] = (vec4){0.0f, 0.0f, 0.0f, 0.0f};
    }
    for (size_t p = 0; p < k; p++) {
        const vec4 b0 = *(const vec4 *)panel;
        const vec4 b1 = *(const vec4 *)(panel + 4);
        TILE_ROW(0);
        TILE_ROW(1);
        TILE_ROW(2);
        TILE_ROW(3);
        TILE_ROW(4);
        TILE_ROW(5);
        panel += COLS;
    }
    memcpy(tile, sum, sizeof(sum));
}

static void store_tile(nn_matrix_out c, float tile[ROWS][COLS], size_t m,
                       size_t n, bool accumulate)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            float *to = c.data + i * c.row_step + j * c.col_step;
            *to = accumulate ? *to + tile[i][j] : tile[i][j];
        }
    }
}

/* All rows of A against one packed block of B. */
static void multiply_block(nn_matrix_out c, nn_matrix a, const float *packed,
                           size_t m, size_t n, size_t k, bool accumulate)
{
    float tile[ROWS][COLS];

    for (size_t i = 0; i < m; i += ROWS) {
        const size_t rows = min_size(ROWS, m - i);
        nn_matrix a_rows = a;
        a_rows.data += i * a.row_step;
        for (size_t j = 0; j < n; j += COLS) {
            nn_matrix_out at = c;
            at.data += i * c.row_step + j * c.col_step;
            multiply_tile(tile, a_rows, rows, packed + j * k, k);
            store_tile(at, tile, rows, min_size(COLS, n - j), accumulate);
        }
    }
}

void nn_sgemm(nn_matrix_out c, nn_matrix a, nn_matrix b, size_t m, size_t n,
              size_t k, bool accumulate, float *scratch)
{
    if (m == 0 || n == 0) {
        return;
    }
    for (size_t j = 0; j < n; j += NN_SGEMM_WIDTH) {
        const size_t width = min_size(NN_SGEMM_WIDTH, n - j);
        nn_matrix_out c_block = c;
        c_block.data += j * c.col_step;
        size_t p = 0;
        do {
            const size_t depth = min_size(NN_SGEMM_DEPTH, k - p);
            nn_matrix a_block = a;
            nn_matrix b_block = b;
            a_block.data += p * a.col_step;
            b_block.data += p * b.row_step + j * b.col_step;
            pack_panels(scratch, b_block, depth, width);
            multiply_block(c_block, a_block, scratch, m, width, depth,
                           accumulate || p > 0);
            p += depth;
        } while (p < k);
    }
}
