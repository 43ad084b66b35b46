/* SPDX-License-Identifier: MIT
 * Integer matrix × vector of ciphertexts.
 *
 * A ciphertext is components × limbs rows of N residues, and the matrix acts on
 * each row position alone: for every (component, limb) one product of the same
 * integers with gathered rows, modulo one prime. The bias is a constant
 * polynomial, the same number at every NTT position of component 0.
 */
#include "ckks/matrix.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "ckks/eval_internal.h"
#include "ckks/round_internal.h"
#include "ntt/gemm.h"
#include "ntt/poly.h"

/* Largest Σ|w| of a row that the kernels accept (kernels.h). */
#define ROW_NORM_LIMIT ((uint64_t)1 << 45)

ckks_matrix_shape ckks_matrix_shape_of(const ckks_matrix *matrix)
{
    ckks_matrix_shape shape = {.n_out = matrix->n_out,
                               .n_in = matrix->n_in,
                               .n_blocks = matrix->n_blocks};
    for (size_t b = 0; b < matrix->n_blocks; b++) {
        const ntt_gemm_block *block = &matrix->block[b];
        shape.n_weights += block->m * block->k;
        shape.block_k = block->k > shape.block_k ? block->k : shape.block_k;
    }
    return shape;
}

/* A dense matrix counts as one block of all inputs in order. */
static size_t count_blocks(const ckks_matrix *matrix)
{
    return matrix->n_blocks == 0 ? 1 : matrix->n_blocks;
}

static ntt_gemm_block block_of(const ckks_matrix *matrix, size_t b)
{
    const ntt_gemm_block all = {.m = matrix->n_out, .k = matrix->n_in};
    return matrix->n_blocks == 0 ? all : matrix->block[b];
}

uint64_t ckks_matrix_row_norm(const ckks_matrix *matrix)
{
    const int32_t *weight = matrix->weight;
    uint64_t norm = 0;
    for (size_t b = 0; b < count_blocks(matrix); b++) {
        const ntt_gemm_block block = block_of(matrix, b);
        const uint64_t part = ntt_gemm_row_norm(weight, block.m, block.k);
        norm = part > norm ? part : norm;
        weight += block.m * block.k;
    }
    return norm > 0 ? norm : 1; /* a matrix of zeros is a matrix as well */
}

static sotto_status check_inputs(const ckks_ct *const *in, size_t n_in,
                                 sotto_error *err)
{
    const rlwe_ct *first = &in[0]->ct;
    for (size_t i = 1; i < n_in; i++) {
        const rlwe_ct *ct = &in[i]->ct;
        if (ct->level != first->level) {
            return sotto_fail(err, SOTTO_ERR_LEVEL,
                              "matrix: input %zu is at level %d, input 0 at "
                              "level %d; bring all to one level first",
                              i, ct->level, first->level);
        }
        if (ct->n_components != first->n_components) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "matrix: input %zu has %d components, input 0 "
                              "has %d; relinearise all or none",
                              i, ct->n_components, first->n_components);
        }
        if (memcmp(ct->key_id, first->key_id, sizeof first->key_id) != 0) {
            return sotto_fail(err, SOTTO_ERR_MISMATCH,
                              "matrix: inputs 0 and %zu are encrypted under "
                              "different keys",
                              i);
        }
        if (!ckks_same_scale(in[0]->scale, in[i]->scale)) {
            return sotto_fail(err, SOTTO_ERR_SCALE,
                              "matrix: input %zu has scale %.17g, input 0 has "
                              "%.17g; they must be equal to 2^-40",
                              i, in[i]->scale, in[0]->scale);
        }
    }
    return SOTTO_OK;
}

static sotto_status check_weights(const ckks_matrix *matrix, sotto_error *err)
{
    const int32_t *weight = matrix->weight;
    size_t first_row = 0;
    for (size_t b = 0; b < count_blocks(matrix); b++) {
        const ntt_gemm_block block = block_of(matrix, b);
        for (size_t i = 0; i < block.m * block.k; i++) {
            if (weight[i] == INT32_MIN) {
                return sotto_fail(err, SOTTO_ERR_RANGE,
                                  "matrix: weight [%zu][%zu] is -2^31; "
                                  "magnitudes must stay below 2^31",
                                  first_row + i / block.k, i % block.k);
            }
        }
        weight += block.m * block.k;
        first_row += block.m;
    }
    const uint64_t norm = ckks_matrix_row_norm(matrix);
    if (norm >= ROW_NORM_LIMIT) {
        return sotto_fail(err, SOTTO_ERR_RANGE,
                          "matrix: the weights of a row add up to %llu; the "
                          "sum of magnitudes must stay below 2^45",
                          (unsigned long long)norm);
    }
    return SOTTO_OK;
}

static sotto_status check_scale_and_bias(const rlwe_context *context,
                                         const ckks_matrix *matrix, int level,
                                         double in_scale, sotto_error *err)
{
    const double bound = ckks_half_modulus(context, level);
    const double scale = in_scale * matrix->weight_scale;
    if (!ckks_is_scale(matrix->weight_scale) || !ckks_is_scale(scale) ||
        scale >= 2 * bound) {
        return sotto_fail(err, SOTTO_ERR_SCALE,
                          "matrix: inputs of scale %g and weights of scale %g "
                          "make %g; it must be above 0 and below the modulus "
                          "%g of level %d",
                          in_scale, matrix->weight_scale, scale, 2 * bound,
                          level);
    }
    for (size_t o = 0; matrix->bias != NULL && o < matrix->n_out; o++) {
        if (!(fabs(matrix->bias[o] * scale) < bound)) { /* NaN fails too */
            return sotto_fail(err, SOTTO_ERR_RANGE,
                              "matrix: bias %zu is %g, at scale %g it must "
                              "stay below %g (half the modulus)",
                              o, matrix->bias[o], scale, bound);
        }
    }
    return SOTTO_OK;
}

static sotto_status check_outputs(const rlwe_context *context,
                                  ckks_ct *const *out, const ckks_ct *const *in,
                                  const ckks_matrix *matrix, sotto_error *err)
{
    const size_t words = (size_t)in[0]->ct.n_components *
                         rlwe_level_words(context, in[0]->ct.level);
    size_t o = 0;
    for (size_t b = 0; b < count_blocks(matrix); b++) {
        const ntt_gemm_block block = block_of(matrix, b);
        for (size_t end = o + block.m; o < end; o++) {
            for (size_t i = 0; i < block.k; i++) {
                const size_t from = block.in == NULL ? i : block.in[i];
                SOTTO_ASSERT(from < matrix->n_in &&
                             out[o]->ct.data != in[from]->ct.data);
            }
        }
    }
    SOTTO_ASSERT(o == matrix->n_out);
    for (o = 0; o < matrix->n_out; o++) {
        if (out[o]->ct.capacity < words) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "matrix: output %zu has room for %zu words, "
                              "needed are %zu (%d components at level %d)",
                              o, out[o]->ct.capacity, words,
                              in[0]->ct.n_components, in[0]->ct.level);
        }
    }
    return SOTTO_OK;
}

sotto_status ckks_matrix_check(const rlwe_context *context,
                               const ckks_matrix *matrix, int level,
                               double in_scale, sotto_error *err)
{
    if (matrix->n_in == 0 || matrix->n_out == 0) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "matrix: the shape is %zu × %zu; both must be at "
                          "least 1",
                          matrix->n_out, matrix->n_in);
    }
    SOTTO_TRY(check_weights(matrix, err));
    return check_scale_and_bias(context, matrix, level, in_scale, err);
}

sotto_status ckks_matrix_prepare(const rlwe_context *context,
                                 ckks_ct *const *out, const ckks_ct *const *in,
                                 const ckks_matrix *matrix, sotto_error *err)
{
    if (matrix->n_in > 0) {
        SOTTO_TRY(check_inputs(in, matrix->n_in, err));
    }
    SOTTO_TRY(ckks_matrix_check(context, matrix,
                                matrix->n_in > 0 ? in[0]->ct.level : 0,
                                matrix->n_in > 0 ? in[0]->scale : 1, err));
    SOTTO_TRY(check_outputs(context, out, in, matrix, err));
    const rlwe_ct *first = &in[0]->ct;
    for (size_t o = 0; o < matrix->n_out; o++) {
        SOTTO_TRY(rlwe_ct_reshape(&out[o]->ct, context, first->level,
                                  first->n_components, err));
        memcpy(out[o]->ct.key_id, first->key_id, sizeof first->key_id);
        out[o]->scale = in[0]->scale * matrix->weight_scale;
    }
    return SOTTO_OK;
}

/* Residues [column, …) of one limb of one component. */
static uint64_t *row_of(const rlwe_context *context, const ckks_ct *ct,
                        int component, int limb, size_t column)
{
    uint64_t *part = rlwe_ct_component(&ct->ct, context, component);
    return poly_limb(context->ring, part, limb) + column;
}

/* The bias as residues, for component 0. */
static void make_offsets(const rlwe_context *context, uint64_t *offset,
                         const ckks_matrix *matrix, double scale, int level,
                         const zq_modulus *mod)
{
    const int n_words = ckks_round_words(ckks_half_modulus(context, level));
    for (size_t o = 0; o < matrix->n_out; o++) {
        offset[o] = ckks_round_one(matrix->bias[o] * scale, mod, n_words);
    }
}

/* A product of this shape, without pointers. */
static ntt_gemm job_of(const ckks_matrix_shape *shape, size_t n_columns,
                       uint64_t row_norm)
{
    return (ntt_gemm){.m = shape->n_out,
                      .k = shape->n_in,
                      .n = n_columns,
                      .row_norm = row_norm,
                      .n_blocks = shape->n_blocks,
                      .n_weights = shape->n_weights,
                      .block_k = shape->block_k};
}

void ckks_matrix_unit(const rlwe_context *context, ckks_ct *const *out,
                      const ckks_ct *const *in, const ckks_matrix *matrix,
                      uint64_t row_norm, int component, int limb, size_t column,
                      size_t n_columns, sotto_arena *arena)
{
    SOTTO_ASSERT(column % 8 == 0 && n_columns % 8 == 0);
    SOTTO_ASSERT(column + n_columns <= context->ring->ring.n);
    const int level = in[0]->ct.level;
    const int id = rlwe_level_set(context, level)->id[limb];
    const rns_limb *ring_limb = &context->ring->limb[id];
    const zq_modulus *mod = &ring_limb->table->mod;
    const size_t mark = sotto_arena_mark(arena);
    const uint64_t **x = sotto_arena_take(arena, matrix->n_in, sizeof *x);
    uint64_t **r = sotto_arena_take(arena, matrix->n_out, sizeof *r);
    uint64_t *offset = sotto_arena_take(arena, matrix->n_out, sizeof *offset);
    SOTTO_ASSERT(x != NULL && r != NULL && offset != NULL);
    for (size_t i = 0; i < matrix->n_in; i++) {
        x[i] = row_of(context, in[i], component, limb, column);
    }
    for (size_t o = 0; o < matrix->n_out; o++) {
        r[o] = row_of(context, out[o], component, limb, column);
    }
    const ckks_matrix_shape shape = ckks_matrix_shape_of(matrix);
    ntt_gemm job = job_of(&shape, n_columns, row_norm);
    job.weight = matrix->weight;
    job.in = x;
    job.out = r;
    job.block = matrix->block;
    if (component == 0 && matrix->bias != NULL) {
        make_offsets(context, offset, matrix, out[0]->scale, level, mod);
        job.offset = offset;
    }
    void *scratch =
        sotto_arena_take(arena, ring_limb->kernels.gemm_scratch(&job, mod), 1);
    SOTTO_ASSERT(scratch != NULL);
    ring_limb->kernels.gemm(&job, mod, scratch);
    sotto_arena_release(arena, mark);
}

sotto_status ckks_matrix_apply(const rlwe_context *context, ckks_ct *const *out,
                               const ckks_ct *const *in,
                               const ckks_matrix *matrix, sotto_arena *arena,
                               sotto_error *err)
{
    SOTTO_TRY(ckks_matrix_prepare(context, out, in, matrix, err));
    const uint64_t row_norm = ckks_matrix_row_norm(matrix);
    const int n_limbs = rlwe_level_set(context, in[0]->ct.level)->count;
    for (int c = 0; c < in[0]->ct.n_components; c++) {
        for (int l = 0; l < n_limbs; l++) {
            ckks_matrix_unit(context, out, in, matrix, row_norm, c, l, 0,
                             context->ring->ring.n, arena);
        }
    }
    return SOTTO_OK;
}

size_t ckks_matrix_scratch(const rlwe_context *context, size_t n_in,
                           size_t n_out, size_t n_columns)
{
    const ckks_matrix_shape dense = {.n_out = n_out, .n_in = n_in};
    return ckks_matrix_shape_scratch(context, &dense, n_columns);
}

size_t ckks_matrix_shape_scratch(const rlwe_context *context,
                                 const ckks_matrix_shape *shape,
                                 size_t n_columns)
{
    /* Any modulus, and the largest norm: it takes the most words. */
    const ntt_gemm job = job_of(shape, n_columns, ROW_NORM_LIMIT - 1);
    size_t most = 0;
    for (int i = 0; i < context->ring->n_limbs; i++) {
        const rns_limb *limb = &context->ring->limb[i];
        const size_t bytes =
            limb->kernels.gemm_scratch(&job, &limb->table->mod);
        most = bytes > most ? bytes : most;
    }
    return sotto_arena_need(shape->n_in, sizeof(uint64_t *)) +
           sotto_arena_need(shape->n_out, sizeof(uint64_t *)) +
           sotto_arena_need(shape->n_out, sizeof(uint64_t)) +
           sotto_arena_need(most, 1);
}

/* ---- Prepared matrices --------------------------------------------------- */

size_t ckks_matrix_packed_bytes(const rlwe_context *context,
                                const ckks_matrix_shape *shape,
                                uint64_t row_norm, int level)
{
    const rns_set *set = rlwe_level_set(context, level);
    const ntt_gemm job = job_of(shape, 0, row_norm);
    size_t most = 0;
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = &context->ring->limb[set->id[i]];
        const size_t bytes =
            limb->kernels.gemm_packed_bytes(&job, &limb->table->mod);
        most = bytes > most ? bytes : most;
    }
    return sotto_arena_need(most, 1);
}

size_t ckks_matrix_run_scratch(const rlwe_context *context,
                               const ckks_matrix_shape *shape, int level)
{
    const rns_set *set = rlwe_level_set(context, level);
    const ntt_gemm job = job_of(shape, 0, 1);
    size_t most = 0;
    for (int i = 0; i < set->count; i++) {
        const rns_limb *limb = &context->ring->limb[set->id[i]];
        const size_t bytes =
            limb->kernels.gemm_run_scratch(&job, &limb->table->mod);
        most = bytes > most ? bytes : most;
    }
    return sotto_arena_need(most, 1);
}

void ckks_matrix_pack(const rlwe_context *context, void *packed,
                      const ckks_matrix *matrix, uint64_t row_norm, int level,
                      double out_scale, int limb, uint64_t *offset)
{
    const int id = rlwe_level_set(context, level)->id[limb];
    const rns_limb *ring_limb = &context->ring->limb[id];
    const zq_modulus *mod = &ring_limb->table->mod;
    const ckks_matrix_shape shape = ckks_matrix_shape_of(matrix);
    ntt_gemm job = job_of(&shape, 0, row_norm);
    job.weight = matrix->weight;
    job.block = matrix->block;
    if (matrix->bias != NULL) {
        make_offsets(context, offset, matrix, out_scale, level, mod);
        job.offset = offset;
    }
    ring_limb->kernels.gemm_pack(packed, &job, mod);
}

void ckks_matrix_run(const rlwe_context *context, const void *packed,
                     const ntt_gemm_columns *columns, int id, void *scratch)
{
    const rns_limb *limb = &context->ring->limb[id];
    limb->kernels.gemm_run(packed, columns, &limb->table->mod, scratch);
}
