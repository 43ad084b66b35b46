/* SPDX-License-Identifier: MIT
 * The compiled form of a batch evaluation: values, passes, the matrix stage.
 */
#ifndef SOTTO_NN_BATCH_BATCH_INTERNAL_H
#define SOTTO_NN_BATCH_BATCH_INTERNAL_H

#include <stdbool.h>

#include "ckks/eval.h"
#include "ckks/matrix.h"
#include "nn/batch/batch.h"

/* Sources that one affine map may read. */
#define BATCH_MAX_SOURCES 8

/* Integer weights, and places of inputs and pointers to outputs, prepared at
 * once: 8 MiB each, and 16 MiB. */
#define BATCH_CHUNK_WEIGHTS ((size_t)1 << 21)
#define BATCH_CHUNK_POINTERS ((size_t)1 << 21)

/* Largest group block: 8 MiB of doubles in each map's cursor. */
#define BATCH_MAX_BLOCK ((size_t)1 << 20)

/* Columns of one task of the matrix stage: 4 KiB of each row, so that there are
 * tasks for all threads, and few of them. */
#define BATCH_COLUMNS ((size_t)512)

/* Ciphertexts of a tensor. In-place passes keep the value and move on its
 * state; during compilation the state is that after the passes so far. */
typedef struct batch_value {
    size_t n;
    ckks_ct *ct;      /* [n]; their data lies in the batch's memory */
    size_t words;     /* room of each ciphertext */
    size_t offset;    /* in the memory, in words */
    int born;         /* first pass that writes it; -1: filled before */
    int dead;         /* last pass that touches it */
    int level;        /* state … */
    int n_components; /* … */
    double scale;     /* … */
} batch_value;

/* One tensor that an affine map reads. */
typedef struct batch_source {
    uint32_t tensor;
    int from;         /* value that holds the tensor */
    int value;        /* value that the matrix reads: from, or a copy of it */
    bool align;       /* from has to be dropped, relinearised or extended */
    bool relinearise; /* … relinearised */
    bool rescaled;    /* its scale is not the common one */
    double factor;    /* integer weight = round(weight · factor) */
    ckks_ct *view;    /* [n] when rescaled: the value's ciphertexts with the
                       * common scale in their headers */
} batch_source;

/* An affine map made ready. */
typedef struct batch_affine {
    nn_groups *groups;
    nn_cursor *cursor;
    int n_sources;
    batch_source source[BATCH_MAX_SOURCES];
    int level;        /* of all sources when the matrix reads them … */
    int n_components; /* … */
    double scale;     /* … the largest of the sources' */
    double product_scale;
} batch_affine;

/* What a pass does to each ciphertext of a value. */
typedef enum batch_op {
    BATCH_ALIGN, /* sources of an affine map to one level and size */
    BATCH_AFFINE,
    BATCH_SQUARE,
    BATCH_RELINEARISE,
    BATCH_RESCALE,
    BATCH_RELINEARISE_RESCALE
} batch_op;

typedef struct batch_pass {
    batch_op op;
    size_t step;        /* of the plan */
    int in, out;        /* values; in place when equal (AFFINE: out only) */
    size_t n_tasks;     /* ciphertexts (AFFINE: of the result) */
    int level;          /* after it … */
    int n_components;   /* … */
    double scale;       /* … */
    uint64_t unit_work; /* of one ciphertext (AFFINE: of the whole) */
} batch_pass;

/* Groups prepared together, as one matrix of blocks: all columns of all
 * ciphertexts are then worked through with the same integers. */
typedef struct batch_chunk {
    size_t cap_weights, cap_rows; /* … and blocks: cap_rows */
    size_t cap_places, cap_inputs;
    ckks_matrix matrix;
    uint64_t row_norm;
    int32_t *weight;       /* [cap_weights] */
    double *bias;          /* [cap_rows] */
    ckks_ct **out;         /* [cap_rows] */
    ntt_gemm_block *block; /* [cap_rows] */
    uint32_t *place;       /* [cap_places]: inputs of the blocks */
    const ckks_ct **in;    /* [cap_inputs]: each input once */
    uint32_t *slot;        /* [cap_inputs]: by ciphertext of all sources, its
                            * number in `in` plus 1, or 0 */
    uint64_t work;         /* multiplications per residue */
} batch_chunk;

/* What one worker owns. */
typedef struct batch_worker {
    ckks_evaluator *evaluator;
    sotto_arena arena; /* of the matrix stage */
} batch_worker;

struct nn_batch {
    const nn_plan *plan;
    const nn_network *network;
    const rlwe_context *context;
    const rlwe_keyset *keys;

    int n_values;
    batch_value *value;
    int *tensor;    /* [n_steps + 1]: value of each tensor once it is made */
    size_t *reader; /* [n_steps + 1]: last step that reads it */
    int n_passes;
    batch_pass *pass;
    batch_affine *affine; /* [n_steps]; empty for other steps */

    uint64_t *memory;
    size_t memory_words;
    batch_chunk chunk;
    int threads;
    batch_worker *worker; /* [threads] */
};

/* Fills values, passes and affine maps from plan and network (compile.c).
 * error: as nn_batch_new. */
sotto_status nn_batch_compile(nn_batch *batch,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Gives every value its place in memory (layout.c): sets offsets and
 * memory_words. Values whose lifetimes overlap do not overlap. */
void nn_batch_layout(nn_batch *batch);

/* Allocates the buffers of the matrix stage (product.c).
 * error: SOTTO_ERR_MEMORY. owner: nn_batch_chunk_clear. */
sotto_status nn_batch_chunk_init(nn_batch *batch,
                                 sotto_error *err) SOTTO_MUST_CHECK;
void nn_batch_chunk_clear(batch_chunk *chunk);

/* Bytes of arena that one task of the matrix stage needs. */
size_t nn_batch_product_scratch(const nn_batch *batch);

/* Runs a BATCH_AFFINE pass (product.c). error: as nn_batch_run. */
sotto_status nn_batch_product(nn_batch *batch, const batch_pass *pass,
                              nn_control *control,
                              sotto_error *err) SOTTO_MUST_CHECK;

#endif
