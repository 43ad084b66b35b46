/* SPDX-License-Identifier: MIT
 * The search for layouts (search.c) as compile.c uses it.
 */
#ifndef SOTTO_NN_SINGLE_SEARCH_INTERNAL_H
#define SOTTO_NN_SINGLE_SEARCH_INTERNAL_H

#include "nn/single/compile_internal.h"

/* Layouts that have been looked at; places NULL for those that are none. */
typedef struct nn_pool {
    size_t n, cap;
    nn_layout *layout;
    nn_places **places;
} nn_pool;

/* Finds or adds a layout. error: SOTTO_ERR_MEMORY. */
sotto_status nn_pool_find(nn_pool *pool, size_t *id, const nn_layout *layout,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Frees all layouts. */
void nn_pool_clear(nn_pool *pool);

/* How one affine step was decided. */
typedef struct nn_split_choice {
    uint32_t fold, split, shift;
    uint32_t pool[2];
} nn_split_choice;

/* A way to lay out the tensors made so far. */
typedef struct nn_state {
    size_t *place;           /* [n_steps + 1]: numbers in the pool */
    nn_split_choice *choice; /* [n_steps] */
    nn_key_set keys;
    double wish; /* seconds with the weights of upload and keys */
} nn_state;

typedef struct nn_beam {
    size_t n;
    nn_state *state;
} nn_beam;

/* A search. All fields before pool are the caller's. */
typedef struct nn_search {
    const nn_network *network;
    int log2_slots;
    uint32_t slots;
    const nn_single_costs *costs; /* [n_steps] */
    double upload_seconds, key_seconds;
    size_t width;
    const size_t *last_use;   /* [n_steps + 1]: last step that reads a tensor;
                               * 0: none */
    const nn_places **tensor; /* [n_steps + 1]: scratch */
    nn_splitter *splitter;
    double fastest;    /* least wish of a trial of this step so far */
    uint32_t cells[2]; /* that this step's map may sum first */
    nn_pooled pooled;
    nn_shape shape[NN_SINGLE_MAX_SOURCES]; /* of this step's sources */
    nn_pool pool;
    nn_beam beam; /* after nn_search_run: the best state first */
} nn_search;

/* Runs the search; may be run again with other weights.
 * error: SOTTO_ERR_UNSUPPORTED, SOTTO_ERR_MEMORY. */
sotto_status nn_search_run(nn_search *search,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Frees the states. */
void nn_beam_clear(nn_beam *beam);

/* Shape of tensor k (0: the input). */
const nn_shape *nn_search_shape(const nn_network *network, size_t tensor);

#endif
