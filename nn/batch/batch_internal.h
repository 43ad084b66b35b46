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

/* Largest group block: 8 MiB of doubles in each map's cursor. */
#define BATCH_MAX_BLOCK ((size_t)1 << 20)

/* Columns of one task of the matrix stage: 2 KiB of each row, so that there are
 * tasks for all threads, and few of them; and those that go through all maps of
 * a segment at once, so that what is between the maps stays in the caches. */
#define BATCH_COLUMNS ((size_t)256)
#define BATCH_BLOCK ((size_t)32)

/* How much memory the matrix stage may take. */
typedef struct batch_limits {
    size_t chunk_weights;  /* integer weights prepared at once, … */
    size_t chunk_pointers; /* … rows, and places of inputs */
    size_t packed_bytes;   /* of prepared weights that are kept */
    size_t local_bytes;    /* between the maps of a segment, for one block of
                            * columns: about two second-level caches */
} batch_limits;

/* Where the residues of a value are. */
typedef enum batch_place {
    BATCH_STORED, /* in the batch's memory */
    BATCH_LOCAL,  /* in a worker's scratch, a block of columns at a time */
    BATCH_SQUARED /* nowhere: products made by the map that reads them */
} batch_place;

/* Ciphertexts of a tensor. In-place passes keep the value and move on its
 * state; during compilation the state is that after the passes so far. */
typedef struct batch_value {
    size_t n;
    batch_place place;
    int root;         /* BATCH_SQUARED: the value whose squares these are */
    size_t local_at;  /* BATCH_LOCAL: rows before it in the scratch */
    ckks_ct *ct;      /* [n] BATCH_STORED; data in the batch's memory */
    size_t words;     /* room of each ciphertext */
    size_t offset;    /* in the memory, in words */
    int born;         /* first pass that writes it; -1: filled before */
    int dead;         /* last pass that touches it */
    int level;        /* state … */
    int n_components; /* … */
    double scale;     /* …: as the plan has it, … */
    double exact;     /* … and as operations write it into ciphertexts */
} batch_value;

/* One tensor that an affine map reads. */
typedef struct batch_source {
    uint32_t tensor;
    int from;         /* value that holds the tensor */
    int value;        /* value that the matrix reads: from, or a copy of it */
    bool relinearise; /* from has to be relinearised first */
    double factor;    /* integer weight = round(weight · factor) */
} batch_source;

/* One input of prepared rows. */
typedef struct batch_input {
    uint32_t source; /* of the map */
    uint32_t index;  /* ciphertext of its value */
} batch_input;

/* Some or all rows of an affine map, their weights packed for every limb. */
typedef struct batch_part {
    size_t n_in;
    size_t n_out;
    batch_input *in; /* [n_in] */
    uint32_t *out;   /* [n_out] elements of the result */
    uint8_t *packed; /* [limbs][limb_bytes] */
    size_t limb_bytes;
    uint64_t work; /* multiplications per residue */
} batch_part;

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
    double exact_scale; /* scale and product_scale as ciphertexts have them */
    double exact_product;
    bool is_ready; /* `part` holds all rows, for every batch */
    batch_part part;
} batch_affine;

/* What a pass does to each ciphertext of a value. */
typedef enum batch_op {
    BATCH_ALIGN, /* relinearises sources of an affine map */
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
    double exact;       /* … */
    uint64_t unit_work; /* of one ciphertext (AFFINE: of one task) */
    int segment_end;    /* AFFINE and squares that the next map makes: last pass
                         * that is worked on together with this one */
    bool is_read_on;    /* AFFINE: a map of the same segment reads the result */
} batch_pass;

/* Groups that are being prepared together, as one matrix of blocks. */
typedef struct batch_chunk {
    size_t cap_weights, cap_rows; /* … and blocks: cap_rows */
    size_t cap_places, cap_inputs;
    ckks_matrix matrix;
    uint64_t row_norm;
    int32_t *weight;       /* [cap_weights] */
    double *bias;          /* [cap_rows] */
    uint64_t *offset;      /* [threads][cap_rows] */
    ntt_gemm_block *block; /* [cap_rows] */
    uint32_t *place;       /* [cap_places]: inputs of the blocks */
    uint32_t *slot;        /* [cap_inputs]: by ciphertext of all sources, its
                            * number among the inputs plus 1, or 0 */
    batch_part part;       /* of maps that are not kept prepared */
} batch_chunk;

/* What one worker owns. */
typedef struct batch_worker {
    ckks_evaluator *evaluator;
    sotto_arena arena; /* of the matrix stage */
    uint64_t *local;   /* [local_rows][BATCH_BLOCK] */
    double *seconds;   /* [n_passes] spent in maps of a segment */
} batch_worker;

struct nn_batch {
    const nn_plan *plan;
    const nn_network *network;
    const rlwe_context *context;
    const rlwe_keyset *keys;
    batch_limits limits;

    int n_values;
    batch_value *value;
    int *tensor;    /* [n_steps + 1]: value of each tensor once it is made */
    size_t *reader; /* [n_steps + 1]: last step that reads it … */
    int *n_readers; /* [n_steps + 1]: … and how many do */
    int n_passes;
    batch_pass *pass;
    batch_affine *affine; /* [n_steps]; empty for other steps */

    uint64_t *memory;
    size_t memory_words;
    batch_chunk chunk;
    size_t local_rows;
    size_t run_scratch; /* bytes of arena for products */
    uint64_t *zeros;    /* [BATCH_BLOCK] */
    int threads;
    batch_worker *worker; /* [threads] */
};

/* nn_batch_new with other limits, for tests. */
sotto_status nn_batch_new_within(nn_batch **batch, const nn_plan *plan,
                                 const nn_network *network,
                                 const rlwe_context *context,
                                 const rlwe_keyset *keys, int threads,
                                 const batch_limits *limits,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Fills values, passes and affine maps from plan and network (compile.c).
 * error: as nn_batch_new. */
sotto_status nn_batch_compile(nn_batch *batch,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Gives every value its place in memory (layout.c): sets offsets and
 * memory_words. Values whose lifetimes overlap do not overlap. */
void nn_batch_layout(nn_batch *batch);

/* Prepares the weights of all maps that can be kept, and room for the others
 * (prepare.c). error: SOTTO_ERR_MEMORY, SOTTO_ERR_RANGE, SOTTO_ERR_SCALE.
 * owner: nn_batch_prepare_clear. */
sotto_status nn_batch_prepare(nn_batch *batch, int threads,
                              sotto_error *err) SOTTO_MUST_CHECK;
void nn_batch_prepare_clear(nn_batch *batch);

/* Prepares as many rows of a map as fit, from group *g on, into the chunk's
 * part, all but the packing (nn_batch_pack_part); moves *g on.
 * error: SOTTO_ERR_RANGE, SOTTO_ERR_SCALE. */
sotto_status nn_batch_prepare_part(nn_batch *batch, size_t step, size_t *g,
                                   sotto_error *err) SOTTO_MUST_CHECK;

/* Packs limb `limb` of what was prepared last. worker: for its scratch. */
void nn_batch_pack_part(const nn_batch *batch, const batch_affine *affine,
                        const batch_part *part, int limb, int worker);

/* Puts maps that follow each other into segments and decides which results stay
 * local (segment.c). Lifetimes then hold for whole segments. */
void nn_batch_segment(nn_batch *batch);

/* Bytes of arena that one task of the matrix stage needs; sets run_scratch
 * (prepare.c). */
size_t nn_batch_product_scratch(nn_batch *batch);

/* Tasks of the segment that begins with pass `first` (of each part of its
 * map). */
size_t nn_batch_product_tasks(const nn_batch *batch, int first);

/* Runs the segment that begins with pass `first`, and adds what each pass took
 * to seconds[pass] (product.c).
 * error: as nn_batch_run. */
sotto_status nn_batch_product(nn_batch *batch, int first, nn_control *control,
                              double *seconds,
                              sotto_error *err) SOTTO_MUST_CHECK;

#endif
