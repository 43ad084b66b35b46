/* SPDX-License-Identifier: MIT
 * The inner loops of training, one table for each instruction set.
 *
 * Every table gives the same bits: the order of each sum is fixed by the sizes
 * alone (a product's sum runs upwards in one accumulator, sums over many
 * elements run in NN_SUM_LANES lanes), and a product is rounded before it is
 * added. That last rule costs little: processors that can start two fused
 * operations per cycle often start two products and two sums as well.
 */
#ifndef SOTTO_NN_TRAIN_KERNELS_INTERNAL_H
#define SOTTO_NN_TRAIN_KERNELS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

/* Rows of a matrix that multiply reads in vectors must be readable up to the
 * next multiple of NN_VECTOR floats; what lies there has no influence. */
#define NN_VECTOR ((size_t)16)

/* Partial sums of one sum over many elements. Element j goes to lane j mod
 * NN_SUM_LANES; the lanes are added in a fixed tree. */
#define NN_SUM_LANES 8

/* n rounded up to whole vectors. */
static inline size_t nn_vector_round(size_t n)
{
    return (n + NN_VECTOR - 1) / NN_VECTOR * NN_VECTOR;
}

/* A borrowed read-only matrix with free steps between rows and columns, so
 * that a transpose costs nothing. */
typedef struct nn_matrix {
    const float *data;
    size_t row_step;
    size_t col_step;
} nn_matrix;

/* A borrowed matrix whose rows lie in one piece each. */
typedef struct nn_rows {
    const float *data;
    size_t step;
} nn_rows;

/* A borrowed matrix of rows that is written. */
typedef struct nn_rows_out {
    float *data;
    size_t step;
} nn_rows_out;

/* Places of a picture, height × width of them, with free steps. */
typedef struct nn_grid {
    size_t height, width;
    size_t row_step, col_step;
} nn_grid;

typedef struct nn_train_kernels {
    const char *name;
    unsigned cpu_features;

    /* C = A·B, with accumulate C += A·B. shape: A m×k, B k×n, C m×n; k == 0
     * gives zeros. B's rows are readable in whole vectors. alias: none. */
    void (*multiply)(nn_rows_out c, nn_matrix a, nn_rows b, size_t m, size_t n,
                     size_t k, bool accumulate);
    /* out[j][i] = in[i][j]. shape: in rows×cols. alias: none. */
    void (*transpose)(nn_rows_out out, nn_rows in, size_t rows, size_t cols);
    /* out[y][x] = in[grid], out in one piece; add: += */
    void (*gather)(float *out, const float *in, const nn_grid *grid, bool add);
    /* out[grid] += in[y][x], in in one piece */
    void (*scatter)(float *out, const float *in, const nn_grid *grid);

    /* Element by element; dx is the gradient of x, dy that of y. */
    void (*add)(float *y, const float *x, const float *z, size_t n);
    void (*relu)(float *y, const float *x, size_t n);
    void (*relu_back)(float *dx, const float *x, const float *dy, size_t n);
    void (*square)(float *y, const float *x, size_t n);
    void (*square_back)(float *dx, const float *x, const float *dy, size_t n);
    /* y = (k[0]·x + k[1])·x + k[2] */
    void (*quadratic)(float *y, const float *x, const float *k, size_t n);
    /* dx = (2·k[0]·x + k[1])·dy */
    void (*quadratic_back)(float *dx, const float *x, const float *dy,
                           const float *k, size_t n);
    /* y = k[0]·x + k[1] */
    void (*affine)(float *y, const float *x, const float *k, size_t n);
    /* dx = k[0]·dy + k[1]·x + k[2] */
    void (*affine_back)(float *dx, const float *x, const float *dy,
                        const float *k, size_t n);
    /* sums[0..3) += Σ dy, Σ dy·(x - shift), Σ dy·(x - shift)² */
    void (*moments)(double *sums, const float *x, const float *dy, double shift,
                    size_t n);
    /* sums[0..2) += Σ x, Σ x² */
    void (*squares)(double *sums, const float *x, size_t n);

    /* Multiplies and adds in registers as fast as the processor can: `steps`
     * rounds. Result: floating-point operations done. */
    double (*peak)(size_t steps);
} nn_train_kernels;

/* The best table that the build has, the processor runs and the environment
 * variable SOTTO_BACKEND allows ("portable": the portable one). Static. */
const nn_train_kernels *nn_train_kernels_choose(void);

/* Table number i, from 0 = portable, if the build has it and the processor
 * runs it; or NULL. Static. */
const nn_train_kernels *nn_train_kernels_at(size_t i);

/* Tables that a build may have. */
#define NN_TRAIN_KERNELS ((size_t)2)

/* The portable table. */
extern const nn_train_kernels nn_train_kernels_portable;
#if defined(__x86_64__)
/* With 256-bit vectors. */
extern const nn_train_kernels nn_train_kernels_avx2;
#endif

#endif
