/* SPDX-License-Identifier: MIT
 * What the files of nn/single share: the arithmetic of one map, the candidates
 * for layouts, and the search.
 */
#ifndef SOTTO_NN_SINGLE_COMPILE_INTERNAL_H
#define SOTTO_NN_SINGLE_COMPILE_INTERNAL_H

#include "nn/single/compile.h"

/* Rows and columns of the cells that are summed before a map. */
#define NN_SINGLE_MAX_POOL 8
/* Rotations that one map may have to choose from: input and output ciphertexts
 * times fold. */
#define NN_SINGLE_MAX_ROTATIONS (UINT64_C(1) << 32)
/* Tensors that one map may read. */
#define NN_SINGLE_MAX_SOURCES 32
/* Layouts that are tried for one tensor from one layout before. */
#define NN_SINGLE_MAX_CANDIDATES 160

/* ---- One map (map.c) ----------------------------------------------------- */

/* Layouts around one map and how sums are folded. */
typedef struct nn_geometry {
    const nn_affine *affine;
    const nn_places *out;
    size_t n_sources;
    const nn_places *source[NN_SINGLE_MAX_SOURCES];
    uint32_t first_in[NN_SINGLE_MAX_SOURCES]; /* first ciphertext of each */
    uint32_t n_in;
    uint32_t slots, window, fold, target_step;
    uint32_t pool[2];
    uint32_t sum_step[NN_SINGLE_MAX_SOURCES][2]; /* see nn_single_map */
} nn_geometry;

/* Where one term goes. */
typedef struct nn_move {
    uint32_t in;       /* input ciphertext */
    uint32_t rotation; /* < fold */
    uint32_t at;       /* slot of the accumulator, its first copy */
} nn_move;

/* Puts together layouts, a fold and a pool (1 1: none): window, target step and
 * steps within cells follow.
 * shape: places[tensor] for every tensor that affine reads, pool[2].
 * Returns false when they do not fit each other. */
bool nn_geometry_init(nn_geometry *geometry, const nn_affine *affine,
                      const nn_places *const *places, const nn_places *out,
                      uint32_t fold, const uint32_t *pool);

/* The weight of an element in one row. */
typedef struct nn_weighed {
    uint64_t row; /* number of the row, by the counter of nn_pooled */
    double weight;
} nn_weighed;

/* Rows of a map behind a pool: terms of the first elements of cells. */
typedef struct nn_pooled {
    size_t cap;
    nn_term *terms;     /* [cap] */
    nn_weighed *weight; /* [elements of the largest source] */
    uint64_t row;
} nn_pooled;

/* Makes scratch for a map. error: SOTTO_ERR_MEMORY.
 * owner: the caller, nn_pooled_clear. */
sotto_status nn_pooled_init(nn_pooled *pooled, const nn_affine *affine,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Frees. */
void nn_pooled_clear(nn_pooled *pooled);

/* Reduces a row to the first elements of its cells; false when it does not
 * weigh whole cells alike. Without a pool (1 1) *out = row.
 * shape: pool[2], shapes[n_sources] of the map's sources. */
bool nn_pooled_row(nn_pooled *pooled, nn_row *out, const nn_row *row,
                   const nn_affine *affine, const nn_shape *shapes,
                   const uint32_t *pool);

/* Finds the cells that all rows of a map weigh alike; 1 1 when there are none.
 * shape: pool[2]. */
void nn_pool_detect(uint32_t *pool, nn_pooled *pooled, const nn_affine *affine,
                    nn_cursor *cursor, const nn_shape *shapes);

/* The term that reads `element` of source number n (of the map's sources) for
 * an output at slot p. */
nn_move nn_geometry_move(const nn_geometry *geometry, size_t n, size_t element,
                         uint32_t p);

/* Which rotations a map uses: bit rotation of [out][in][fold]. */
typedef struct nn_rotations {
    const nn_geometry *geometry;
    size_t words; /* of 64 bits for one (out, in) */
    uint64_t *bits;
} nn_rotations;

/* Makes an empty set. error: SOTTO_ERR_MEMORY. owner: the caller, sotto_free of
 * bits; borrows geometry. */
sotto_status nn_rotations_init(nn_rotations *rotations,
                               const nn_geometry *geometry,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Marks the rotations of output element r, whose terms are row's. Returns false
 * when r or a term lies nowhere. */
bool nn_rotations_mark(nn_rotations *rotations, size_t r, const nn_row *row);

/* The marked diagonals by (out, in, rotation), giant not set.
 * error: SOTTO_ERR_MEMORY. owner: the caller, sotto_free of *diagonal. */
sotto_status nn_rotations_list(nn_single_diagonal **diagonal, size_t *n,
                               const nn_rotations *rotations,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* ---- Splitting in babies and giants (split.c) ---------------------------- */

/* A set of rotations: bit r of [slots]. */
typedef struct nn_key_set {
    size_t n;
    uint64_t *bits;
} nn_key_set;

/* What decides between splits. */
typedef struct nn_split_wish {
    nn_single_costs costs;
    double key_seconds;     /* for each rotation not in `keys` */
    const nn_key_set *keys; /* used by steps before; may be NULL */
} nn_split_wish;

/* One split and what it comes to. */
typedef struct nn_split {
    uint32_t split, shift;
    nn_single_counts counts;
    size_t new_keys;
    double seconds; /* of the map, folds included */
    double wish;    /* seconds plus the weight of new keys */
} nn_split;

/* Scratch for splits of maps of one ring. */
typedef struct nn_splitter nn_splitter;

/* Makes scratch. error: SOTTO_ERR_MEMORY; *splitter is then NULL.
 * owner: the caller, nn_splitter_free. */
sotto_status nn_splitter_new(nn_splitter **splitter, uint32_t slots,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_splitter_free(nn_splitter *splitter);

/* The giant step of a rotation. */
uint32_t nn_split_giant(uint32_t rotation, uint32_t split, uint32_t shift,
                        uint32_t slots);

/* Counts one split of a map with the given diagonals. error: SOTTO_ERR_MEMORY.
 */
sotto_status nn_splitter_count(nn_splitter *splitter, nn_split *split,
                               const nn_geometry *geometry,
                               const nn_single_diagonal *diagonal, size_t n,
                               const nn_split_wish *wish,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Finds the split of the least wish. As nn_splitter_count. */
sotto_status nn_splitter_best(nn_splitter *splitter, nn_split *best,
                              const nn_geometry *geometry,
                              const nn_single_diagonal *diagonal, size_t n,
                              const nn_split_wish *wish,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Adds the rotations of a map under a split (babies, giants, folds) to a set.
 */
void nn_key_set_add_map(nn_key_set *keys, const nn_geometry *geometry,
                        const nn_single_diagonal *diagonal, size_t n,
                        const nn_split *split);

/* Builds the map of a program from marked rotations and a split; seconds are
 * the split's. error: SOTTO_ERR_MEMORY. owner: map->diagonal, sotto_free. */
sotto_status nn_map_build(nn_single_map *map, const nn_rotations *rotations,
                          const nn_split *split,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* ---- Candidates (candidates.c) ------------------------------------------- */

/* How a map moves over one source, from its rows. */
typedef struct nn_slope {
    bool known;
    int64_t stride[2]; /* source rows (columns) from one output to the next */
    int64_t origin[2]; /* first source row of output 0; may be negative */
    int64_t extent[2]; /* rows (columns) that one output reads */
} nn_slope;

/* Reads slopes off some rows of a map; slope[n_sources]. Only [C,H,W] targets
 * and sources have one. */
void nn_slopes_read(nn_slope *slope, const nn_affine *affine, nn_cursor *cursor,
                    const nn_shape *target, const nn_shape *sources);

/* Layouts to be tried, and how a map into each folds. */
typedef struct nn_candidates {
    size_t n;
    nn_layout layout[NN_SINGLE_MAX_CANDIDATES];
    uint32_t fold[NN_SINGLE_MAX_CANDIDATES]; /* not for the input */
} nn_candidates;

/* Layouts of the input for the map that reads it first. slope may be unknown;
 * target: shape that the map makes. */
void nn_candidates_input(nn_candidates *out, const nn_shape *shape,
                         int log2_slots, const nn_slope *slope,
                         const nn_shape *target);

/* Layouts of the tensor that a map makes from sources in given places. */
void nn_candidates_map(nn_candidates *out, const nn_shape *shape,
                       const nn_slope *slope, const nn_places *const *source,
                       size_t n_sources, int log2_slots);

#endif
