/* SPDX-License-Identifier: MIT
 * Matrix product of floats for training, single-threaded.
 *
 * All three products of a layer (outputs, input gradients, weight gradients)
 * are the same operation on matrices with free row and column steps, so that
 * a transpose costs nothing but a different step:
 *
 *     C[i][j] (+)= Σ_p A[i][p]·B[p][j],   X[i][j] = data[i·row + j·col]
 *
 * The order of every sum depends on the sizes only.
 */
#ifndef SOTTO_NN_TRAIN_SGEMM_H
#define SOTTO_NN_TRAIN_SGEMM_H

#include <stdbool.h>
#include <stddef.h>

/* Rows and columns of C that one register tile covers, and the depth and width
 * of the block of B that is repacked at a time (128 KiB: second-level cache).
 */
#define NN_SGEMM_ROWS 6
#define NN_SGEMM_COLS 8
#define NN_SGEMM_DEPTH ((size_t)256)
#define NN_SGEMM_WIDTH ((size_t)128)

/* Floats of scratch memory that nn_sgemm needs. */
#define NN_SGEMM_SCRATCH (NN_SGEMM_DEPTH * NN_SGEMM_WIDTH)

/* A borrowed read-only matrix with free steps between rows and columns. */
typedef struct nn_matrix {
    const float *data;
    size_t row_step;
    size_t col_step;
} nn_matrix;

/* A borrowed matrix that is written. */
typedef struct nn_matrix_out {
    float *data;
    size_t row_step;
    size_t col_step;
} nn_matrix_out;

/* Multiplies matrices.
 * math: C = A·B, or C += A·B with accumulate.
 * shape: A m×k, B k×n, C m×n, scratch float[NN_SGEMM_SCRATCH], 64-byte
 * aligned. k == 0 gives zeros.
 * alias: C and scratch overlap nothing.
 * order: the sum over p runs upwards inside blocks of NN_SGEMM_DEPTH, the
 * blocks are added in order: the same bits for the same sizes.
 * cost: m·n·k multiplications, k·n copies; fastest when m is the larger side.
 */
void nn_sgemm(nn_matrix_out c, nn_matrix a, nn_matrix b, size_t m, size_t n,
              size_t k, bool accumulate, float *scratch);

#endif
