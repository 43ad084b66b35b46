/* SPDX-License-Identifier: MIT
 * The inner loops, written once for vectors of LANES floats; each file that
 * includes this one is compiled for its own instruction set and makes one
 * table. Before: #define LANES, and the function peak.
 *
 * The product keeps a tile of ROWS × 2·LANES sums in registers over the whole
 * depth: 12 sums, two vectors of B, one of A and one product fill the 16
 * registers that x86-64 has without AVX-512. A is read where it lies, one
 * number at a time; a strip of B, 2·LANES wide, is used by all rows of A while
 * it is in cache.
 */
#include <string.h>

#include "nn/train/kernels_internal.h"

#define ROWS 6

/* As wide as the instruction set has. */
typedef float vec
    __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
/* Of four floats, everywhere. */
typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));
/* Half as many, so that a vector of doubles is as wide. */
typedef float vec_half
    __attribute__((vector_size(2 * LANES), aligned(4), may_alias));
typedef double dvec __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

/* ---- Products ------------------------------------------------------------ */

/* A tile of rows × vecs vectors; both are constants where this is inlined.
 * Rows 0 … 2 and 3 … 5 of A hang on one pointer each: six would be kept in
 * memory. */
INLINE void multiply_tile(nn_rows_out c, nn_matrix a, nn_rows b, size_t k,
                          bool accumulate, const size_t rows, const size_t vecs)
{
    vec sum[ROWS][2];
    const size_t step = a.row_step;
    const float *upper = a.data;
    const float *lower = a.data + 3 * step;
    const float *right = b.data;

#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (size_t v = 0; v < vecs; v++) {
            sum[i][v] = (vec){0.0f};
            if (accumulate) {
                sum[i][v] = *(const vec *)(c.data + i * c.step + v * LANES);
            }
        }
    }
    for (size_t p = 0; p < k; p++) {
        const vec b0 = *(const vec *)right;
        const vec b1 = *(const vec *)(right + (vecs - 1) * LANES);
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            const float x = i < 3 ? upper[i * step] : lower[(i - 3) * step];
            const vec xs = x - (vec){0.0f};
            sum[i][0] += xs * b0;
            if (vecs > 1) {
                sum[i][1] += xs * b1;
            }
        }
        upper += a.col_step;
        lower += a.col_step;
        right += b.step;
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (size_t v = 0; v < vecs; v++) {
            *(vec *)(c.data + i * c.step + v * LANES) = sum[i][v];
        }
    }
}

/* All rows of A against a strip of vecs vectors. */
INLINE void multiply_strip(nn_rows_out c, nn_matrix a, nn_rows b, size_t m,
                           size_t k, bool accumulate, const size_t vecs)
{
#define TILES(rows)                                                            \
    for (; m >= (rows); m -= (rows)) {                                         \
        multiply_tile(c, a, b, k, accumulate, rows, vecs);                     \
        c.data += (rows)*c.step;                                               \
        a.data += (rows)*a.row_step;                                           \
    }
    TILES(6)
    TILES(5)
    TILES(4)
    TILES(3)
    TILES(2)
    TILES(1)
#undef TILES
}

/* A strip whose end is not stored: its tiles pass through a block of their
 * own. */
static void multiply_edge(nn_rows_out c, nn_matrix a, nn_rows b, size_t m,
                          size_t n, size_t k, bool accumulate)
{
    float edge[ROWS * 2 * LANES] = {0.0f};
    const nn_rows_out to = {edge, 2 * LANES};

    for (size_t i = 0; i < m; i += ROWS) {
        const size_t rows = m - i < ROWS ? m - i : ROWS;
        float *at = c.data + i * c.step;
        nn_matrix a_rows = a;
        a_rows.data += i * a.row_step;
        for (size_t r = 0; accumulate && r < rows; r++) {
            memcpy(edge + r * to.step, at + r * c.step, n * sizeof(float));
        }
        if (n > LANES) {
            multiply_strip(to, a_rows, b, rows, k, accumulate, 2);
        } else {
            multiply_strip(to, a_rows, b, rows, k, accumulate, 1);
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(at + r * c.step, edge + r * to.step, n * sizeof(float));
        }
    }
}

/* nn_train_kernels.multiply */
static void multiply(nn_rows_out c, nn_matrix a, nn_rows b, size_t m, size_t n,
                     size_t k, bool accumulate)
{
    for (; n >= 2 * LANES; n -= 2 * LANES) {
        multiply_strip(c, a, b, m, k, accumulate, 2);
        b.data += 2 * LANES;
        c.data += 2 * LANES;
    }
    if (n == LANES) {
        multiply_strip(c, a, b, m, k, accumulate, 1);
    } else if (n > 0) {
        multiply_edge(c, a, b, m, n, k, accumulate);
    }
}

/* ---- Moving data ----------------------------------------------------------
 */

/* A block of 4 × 4. */
INLINE void transpose_block(float *out, size_t out_step, const float *in,
                            size_t in_step)
{
    const vec4 a = *(const vec4 *)in;
    const vec4 b = *(const vec4 *)(in + in_step);
    const vec4 c = *(const vec4 *)(in + 2 * in_step);
    const vec4 d = *(const vec4 *)(in + 3 * in_step);
    const vec4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const vec4 ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const vec4 cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const vec4 cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(vec4 *)out = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
    *(vec4 *)(out + out_step) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
    *(vec4 *)(out + 2 * out_step) =
        __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
    *(vec4 *)(out + 3 * out_step) =
        __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
}

/* nn_train_kernels.transpose */
static void transpose(nn_rows_out out, nn_rows in, size_t rows, size_t cols)
{
    const size_t whole_rows = rows / 4 * 4;
    const size_t whole_cols = cols / 4 * 4;
    for (size_t j = 0; j < whole_cols; j += 4) {
        for (size_t i = 0; i < whole_rows; i += 4) {
            transpose_block(out.data + j * out.step + i, out.step,
                            in.data + i * in.step + j, in.step);
        }
    }
    for (size_t i = 0; i < rows; i++) {
        const size_t begin = i < whole_rows ? whole_cols : 0;
        for (size_t j = begin; j < cols; j++) {
            out.data[j * out.step + i] = in.data[i * in.step + j];
        }
    }
}

/* Elements at, at + step, … of a row, for a step of 1 or 2. The second vector
 * of the latter begins one early, so that it ends with the last element. */
INLINE vec load_steps(const float *at, const size_t step)
{
    if (step == 1) {
        return *(const vec *)at;
    }
    const vec even = *(const vec *)at;
    const vec odd = *(const vec *)(at + LANES - 1);
#if LANES == 8
    return __builtin_shufflevector(even, odd, 0, 2, 4, 6, 9, 11, 13, 15);
#else
    return __builtin_shufflevector(even, odd, 0, 2, 5, 7);
#endif
}

/* Copies a row of at least one vector; the last one may overlap. */
INLINE void copy_row(float *out, const float *from, size_t width,
                     const size_t step)
{
    for (size_t x = 0; x + LANES < width; x += LANES) {
        *(vec *)(out + x) = load_steps(from + x * step, step);
    }
    const size_t last = width - LANES;
    *(vec *)(out + last) = load_steps(from + last * step, step);
}

/* Adds a row. */
INLINE void add_row(float *out, const float *from, size_t width,
                    const size_t step)
{
    size_t x = 0;
    for (; x + LANES <= width; x += LANES) {
        *(vec *)(out + x) += load_steps(from + x * step, step);
    }
    for (; x < width; x++) {
        out[x] += from[x * step];
    }
}

/* nn_train_kernels.gather */
static void gather(float *out, const float *in, const nn_grid *grid, bool add)
{
    const size_t width = grid->width;
    const size_t step = grid->col_step;
    const bool vectors = width >= LANES;
    for (size_t y = 0; y < grid->height; y++, out += width) {
        const float *from = in + y * grid->row_step;
        if (add && step == 2) {
            add_row(out, from, width, 2);
        } else if (add) {
            for (size_t x = 0; x < width; x++) {
                out[x] += from[x * step];
            }
        } else if (vectors && step == 1) {
            copy_row(out, from, width, 1);
        } else if (vectors && step == 2) {
            copy_row(out, from, width, 2);
        } else {
            for (size_t x = 0; x < width; x++) {
                out[x] = from[x * step];
            }
        }
    }
}

/* nn_train_kernels.scatter */
static void scatter(float *out, const float *in, const nn_grid *grid)
{
    const size_t width = grid->width;
    for (size_t y = 0; y < grid->height; y++, in += width) {
        float *to = out + y * grid->row_step;
        if (grid->col_step == 1) {
            add_row(to, in, width, 1);
        } else {
            for (size_t x = 0; x < width; x++) {
                to[x * grid->col_step] += in[x];
            }
        }
    }
}

/* ---- Element by element ---------------------------------------------------
 */

/* nn_train_kernels.add */
static void add(float *y, const float *x, const float *z, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] + z[i];
    }
}

/* nn_train_kernels.relu */
static void relu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] > 0.0f ? x[i] : 0.0f;
    }
}

/* nn_train_kernels.relu_back */
static void relu_back(float *dx, const float *x, const float *dy, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float slope = dy[i]; /* read always: no branch is needed */
        dx[i] = x[i] > 0.0f ? slope : 0.0f;
    }
}

/* nn_train_kernels.square */
static void square(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * x[i];
    }
}

/* nn_train_kernels.square_back */
static void square_back(float *dx, const float *x, const float *dy, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dx[i] = 2.0f * x[i] * dy[i];
    }
}

/* nn_train_kernels.quadratic */
static void quadratic(float *y, const float *x, const float *k, size_t n)
{
    const float a = k[0];
    const float b = k[1];
    const float c = k[2];
    for (size_t i = 0; i < n; i++) {
        y[i] = (a * x[i] + b) * x[i] + c;
    }
}

/* nn_train_kernels.quadratic_back */
static void quadratic_back(float *dx, const float *x, const float *dy,
                           const float *k, size_t n)
{
    const float a = 2.0f * k[0];
    const float b = k[1];
    for (size_t i = 0; i < n; i++) {
        dx[i] = (a * x[i] + b) * dy[i];
    }
}

/* nn_train_kernels.affine */
static void affine(float *y, const float *x, const float *k, size_t n)
{
    const float scale = k[0];
    const float shift = k[1];
    for (size_t i = 0; i < n; i++) {
        y[i] = scale * x[i] + shift;
    }
}

/* nn_train_kernels.affine_back */
static void affine_back(float *dx, const float *x, const float *dy,
                        const float *k, size_t n)
{
    const float k0 = k[0];
    const float k1 = k[1];
    const float k2 = k[2];
    for (size_t i = 0; i < n; i++) {
        dx[i] = k0 * dy[i] + k1 * x[i] + k2;
    }
}

/* ---- Sums -----------------------------------------------------------------
 */

/* NN_SUM_LANES lanes in as many vectors as that takes. */
#define PARTS (2 * NN_SUM_LANES / LANES)
typedef struct lanes {
    dvec part[PARTS];
} lanes;

/* Half a vector of floats as doubles. */
INLINE dvec widen(const float *x)
{
    return __builtin_convertvector(*(const vec_half *)x, dvec);
}

/* The lanes, added in a tree. */
INLINE double lanes_sum(const lanes *of)
{
    double x[NN_SUM_LANES];
    memcpy(x, of, sizeof(x));
    for (size_t width = NN_SUM_LANES / 2; width > 0; width /= 2) {
        for (size_t i = 0; i < width; i++) {
            x[i] += x[i + width];
        }
    }
    return x[0];
}

/* Elements behind the last whole NN_SUM_LANES, filled up with zeros, which
 * change no sum. */
INLINE void take_tail(float *tail, const float *x, size_t n)
{
    for (size_t i = 0; i < NN_SUM_LANES; i++) {
        tail[i] = i < n ? x[i] : 0.0f;
    }
}

/* NN_SUM_LANES elements. */
INLINE void squares_step(lanes *sum, lanes *square_sum, const float *x)
{
#pragma GCC unroll 4
    for (size_t h = 0; h < PARTS; h++) {
        const dvec wide = widen(x + h * LANES / 2);
        sum->part[h] += wide;
        square_sum->part[h] += wide * wide;
    }
}

/* nn_train_kernels.squares */
static void squares(double *sums, const float *x, size_t n)
{
    lanes sum = {{{0.0}}};
    lanes square_sum = {{{0.0}}};
    float tail[NN_SUM_LANES];
    size_t i = 0;
    for (; i + NN_SUM_LANES <= n; i += NN_SUM_LANES) {
        squares_step(&sum, &square_sum, x + i);
    }
    if (i < n) {
        take_tail(tail, x + i, n - i);
        squares_step(&sum, &square_sum, tail);
    }
    sums[0] += lanes_sum(&sum);
    sums[1] += lanes_sum(&square_sum);
}

/* NN_SUM_LANES elements. */
INLINE void moments_step(lanes sums[3], const float *x, const float *dy,
                         double shift)
{
#pragma GCC unroll 4
    for (size_t h = 0; h < PARTS; h++) {
        const dvec slope = widen(dy + h * LANES / 2);
        const dvec at = widen(x + h * LANES / 2) - shift;
        const dvec product = slope * at;
        sums[0].part[h] += slope;
        sums[1].part[h] += product;
        sums[2].part[h] += product * at;
    }
}

/* nn_train_kernels.moments */
static void moments(double *sums, const float *x, const float *dy, double shift,
                    size_t n)
{
    lanes sum[3] = {{{{0.0}}}, {{{0.0}}}, {{{0.0}}}};
    float tail[2][NN_SUM_LANES];
    size_t i = 0;
    for (; i + NN_SUM_LANES <= n; i += NN_SUM_LANES) {
        moments_step(sum, x + i, dy + i, shift);
    }
    if (i < n) {
        take_tail(tail[0], x + i, n - i);
        take_tail(tail[1], dy + i, n - i);
        moments_step(sum, tail[0], tail[1], shift);
    }
    for (size_t k = 0; k < 3; k++) {
        sums[k] += lanes_sum(&sum[k]);
    }
}

#define NN_TRAIN_TABLE(title, features)                                        \
    {                                                                          \
        .name = (title), .cpu_features = (features), .multiply = multiply,     \
        .transpose = transpose, .gather = gather, .scatter = scatter,          \
        .add = add, .relu = relu, .relu_back = relu_back, .square = square,    \
        .square_back = square_back, .quadratic = quadratic,                    \
        .quadratic_back = quadratic_back, .affine = affine,                    \
        .affine_back = affine_back, .moments = moments, .squares = squares,    \
        .peak = peak,                                                          \
    }
