/* SPDX-License-Identifier: MIT
 * Integer matrix × vector of ciphertexts: the linear layer of batch packing.
 *
 *     out[o] = Σ_i W[o][i]·in[i] + bias[o],  W integers
 *
 * With real weights w = W / weight_scale, the result has scale
 * in.scale·weight_scale: the weights keep their own grid and the output scale
 * follows. Works on 2 to 5 components; no keys, no rotations, no NTTs.
 */
#ifndef SOTTO_CKKS_MATRIX_H
#define SOTTO_CKKS_MATRIX_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/status.h"
#include "ckks/crypt.h"
#include "ntt/kernels.h"

/* A linear layer or a part of one: dense, or blocks of rows that each read some
 * of the inputs (the windows of a convolution). */
typedef struct ckks_matrix {
    size_t n_out;
    size_t n_in;
    const int32_t *weight; /* [n_out][n_in]; of blocks: as ntt_gemm.weight */
    double weight_scale;   /* weight = round(real weight · weight_scale) */
    const double *bias;    /* [n_out] real values, or NULL */
    size_t n_blocks;       /* 0: dense */
    const ntt_gemm_block *block; /* [n_blocks]; their m add up to n_out */
} ckks_matrix;

/* The size of a matrix, for buffers. */
typedef struct ckks_matrix_shape {
    size_t n_out;
    size_t n_in;
    size_t n_blocks;  /* 0: dense; the rest is then unused */
    size_t n_weights; /* Σ m·k of the blocks */
    size_t block_k;   /* the largest k of a block */
} ckks_matrix_shape;

/* The size of a matrix that exists. */
ckks_matrix_shape ckks_matrix_shape_of(const ckks_matrix *matrix);

/* The largest Σ|w| of the rows, at least 1: what ckks_matrix_unit wants. */
uint64_t ckks_matrix_row_norm(const ckks_matrix *matrix);

/* Multiplies. All inputs: the same level, number of components, key, and scale
 * (to 2^-40). Outputs: initialised with capacity; level and components of the
 * inputs, scale in.scale·weight_scale.
 * alias: none between outputs and inputs.
 * range: |weight| < 2^31, Σ|w| of a row < 2^45.
 * error: SOTTO_ERR_LEVEL, SOTTO_ERR_SCALE, SOTTO_ERR_MISMATCH (other key),
 * SOTTO_ERR_SHAPE (components differ, no inputs or outputs, no room),
 * SOTTO_ERR_RANGE (a bias that does not fit the modulus, weights out of range);
 * outputs are then unchanged.
 * cost: weights·components·limbs·N multiply-adds; one pass over the inputs
 * for each tile of outputs. scratch: ckks_matrix_scratch bytes of arena. */
sotto_status ckks_matrix_apply(const rlwe_context *context, ckks_ct *const *out,
                               const ckks_ct *const *in,
                               const ckks_matrix *matrix, sotto_arena *arena,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* One unit of the same work, for callers that spread it over threads: limb
 * `limb` of component `component`, columns [column, column + n_columns).
 * Units may run in any order and at the same time; results do not depend on
 * it. The outputs must have been prepared by ckks_matrix_prepare.
 * row_norm: ckks_matrix_row_norm or anything larger below 2^45.
 * n_columns: a multiple of 8; column: a multiple of 8. */
void ckks_matrix_unit(const rlwe_context *context, ckks_ct *const *out,
                      const ckks_ct *const *in, const ckks_matrix *matrix,
                      uint64_t row_norm, int component, int limb, size_t column,
                      size_t n_columns, sotto_arena *arena);

/* Checks the inputs and shapes the outputs (level, components, scale, key).
 * error: as ckks_matrix_apply. */
sotto_status ckks_matrix_prepare(const rlwe_context *context,
                                 ckks_ct *const *out, const ckks_ct *const *in,
                                 const ckks_matrix *matrix,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Bytes of arena for ckks_matrix_apply or one unit of up to n_columns of a
 * dense matrix. */
size_t ckks_matrix_scratch(const rlwe_context *context, size_t n_in,
                           size_t n_out, size_t n_columns);

/* The same for any matrix; does not fall when a field of the shape grows,
 * n_blocks from 0 to 1 excepted. */
size_t ckks_matrix_shape_scratch(const rlwe_context *context,
                                 const ckks_matrix_shape *shape,
                                 size_t n_columns);

/* ---- Prepared matrices ----
 * For callers that multiply the same matrix with many blocks of columns, which
 * may be squares made on the way or results of another matrix that never leave
 * the caches: a matrix is packed once for each limb, then run. */

/* Checks weights, bias and scales for inputs at `level` with in_scale.
 * error: SOTTO_ERR_SHAPE, SOTTO_ERR_RANGE, SOTTO_ERR_SCALE as
 * ckks_matrix_apply. */
sotto_status ckks_matrix_check(const rlwe_context *context,
                               const ckks_matrix *matrix, int level,
                               double in_scale,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Bytes of one limb's packed matrix, a multiple of 64; does not fall when
 * row_norm or a field of the shape grows, n_blocks from 0 to 1 excepted. */
size_t ckks_matrix_packed_bytes(const rlwe_context *context,
                                const ckks_matrix_shape *shape,
                                uint64_t row_norm, int level);

/* Packs a checked matrix for limb `limb` of `level` and results of out_scale
 * (in_scale·weight_scale). packed: ckks_matrix_packed_bytes, 64-byte aligned,
 * not to be moved; the matrix is not needed afterwards. row_norm: as
 * ckks_matrix_unit. offset: scratch of n_out words. */
void ckks_matrix_pack(const rlwe_context *context, void *packed,
                      const ckks_matrix *matrix, uint64_t row_norm, int level,
                      double out_scale, int limb, uint64_t *offset);

/* Multiplies columns of residues of the modulus with this id. Biases belong to
 * component 0 only: columns->add_offset.
 * scratch: ckks_matrix_run_scratch bytes, 64-byte aligned. */
void ckks_matrix_run(const rlwe_context *context, const void *packed,
                     const ntt_gemm_columns *columns, int id, void *scratch);

/* Bytes of scratch for ckks_matrix_run with matrices up to this shape. */
size_t ckks_matrix_run_scratch(const rlwe_context *context,
                               const ckks_matrix_shape *shape, int level);

#endif
