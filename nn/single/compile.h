/* SPDX-License-Identifier: MIT
 * A folded network as programs on slots, one image at a time.
 *
 * Every affine map becomes diagonals and folds (ckks/lintrans.h runs them):
 *
 *     acc_o = Σ diagonal ⊙ rot_rotation(in_i)          rotation < f
 *     out_o = Σ_t rot_t(acc_o),  t = 0, f, 2f, …, W-f   log2(W/f)
 * rotate-and-add
 *
 * W ("window") is the period of the inputs: the number of slots if they do not
 * repeat. The term weight · in[s] of the output element at slot p goes
 *
 *     u = (s - p) mod W;   rotation = u mod f;   into acc at a = p + u -
 * rotation
 *
 * so that a = p modulo f and a + rotation = s modulo W: no two terms meet, f
 * rotations at most, and the folds bring all of p's sums together:
 *
 *     W = 16, f = 4, outputs at p = 0 1 2
 *     acc   |0 1 2 . 0 1 2 . 0 1 2 . 0 1 2 .|   sums of the same p every 4
 * slots
 *     + rot_8, + rot_4
 *     out   |0 1 2 . 0 1 2 . 0 1 2 . 0 1 2 .|   full sums, with period 4
 *
 * f = W is the map without folds. An output layout of period f (addresses below
 * f) takes the copies that folding gives away; with a period of W or more the
 * outputs stand once in each window, p mod W < f, and what folding leaves
 * between them is rubbish:
 *
 *     W = 8, f = 2, outputs at p = 0 1 8 9
 *     out   |0 1 r r r r r r 2 3 r r r r r r|
 *
 * Where the inputs lie in several places (copies, im2col), each term takes the
 * one that is rotated least. Activations work slot by slot and keep the layout.
 *
 * Where every row weighs all elements of a cell of pool[0] × pool[1] alike (an
 * average pool before the map), cells are summed by rotations first and only
 * their first elements are multiplied: no level, and fewer diagonals.
 *
 * nn_single_compile chooses the layouts of all tensors together (a beam over
 * the steps), by predicted time, upload and keys. All of a program follows from
 * shapes; weights come in when diagonals are filled.
 */
#ifndef SOTTO_NN_SINGLE_COMPILE_H
#define SOTTO_NN_SINGLE_COMPILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "nn/graph/fold.h"
#include "nn/single/layout.h"

/* One diagonal: which output reads which input (ciphertexts of all sources,
 * source after source) by how many slots to the left. */
typedef struct nn_single_diagonal {
    uint32_t out;
    uint32_t in;
    uint32_t rotation; /* < number of slots */
    uint32_t giant;    /* < number of slots; baby = rotation - giant */
} nn_single_diagonal;

/* What a map asks of a server. */
typedef struct nn_single_counts {
    size_t sums;      /* rotations that pool the inputs */
    size_t decompose; /* inputs with a baby that is not 0 */
    size_t babies;    /* (input, baby) with baby != 0 */
    size_t products;  /* diagonals */
    size_t giants;    /* (output, giant) with giant != 0 */
    size_t outputs;
    size_t folds; /* over all outputs */
} nn_single_counts;

/* Seconds of the parts of one map. */
typedef struct nn_single_costs {
    double decompose;   /* ModUp of one ciphertext */
    double baby;        /* product of digits with a key */
    double product;     /* diagonal times rotated input */
    double giant;       /* division, ModUp, product with a key */
    double divide;      /* once per output */
    double fold;        /* one rotation and sum */
    double relinearise; /* behind a square: one ciphertext */
} nn_single_costs;

/* How one step runs. Activations have the layout of their source and the rest
 * zero. */
typedef struct nn_single_map {
    uint32_t window;      /* W */
    uint32_t fold;        /* f; powers of two, f <= W */
    uint32_t target_step; /* acc holds the sums of p at p + k·target_step */
    uint32_t split;       /* baby = (rotation + shift) mod split - shift */
    uint32_t shift;
    uint32_t pool[2];   /* cells of the sources that are summed first; 1 1 */
    uint32_t *sum_step; /* [n_in][2]: slots from row to row, from column to
                         * column of a cell */
    size_t n_in, n_out; /* ciphertexts */
    size_t n_diagonals;
    nn_single_diagonal *diagonal; /* by (out, giant, in, baby) */
    nn_single_counts counts;
    double seconds; /* by the costs it was compiled with */
} nn_single_map;

/* What is enough to make the program of a step again: part of a plan. */
typedef struct nn_single_choice {
    nn_layout layout; /* of the tensor made */
    uint32_t fold, split, shift;
    uint32_t pool[2];
} nn_single_choice;

/* A network compiled to slot programs; immutable. */
typedef struct nn_single {
    const nn_network *network; /* borrowed */
    int log2_slots;
    nn_places **places; /* [n_steps + 1]: of tensor k; activations share */
    nn_single_map *map; /* [n_steps]: of step k */
    size_t n_keys;
    uint32_t *key; /* [n_keys]: all rotations used, rising */
    double seconds;
} nn_single;

/* What a user may ask for. Zero means the default. */
typedef struct nn_single_options {
    int log2_slots;               /* required: 3 … NN_LAYOUT_MAX_LOG2_SLOTS */
    const nn_single_costs *costs; /* [n_steps]; NULL: nn_single_costs_of */
    double upload_seconds; /* weight of one input ciphertext; default 2 ms */
    double key_seconds;    /* weight of one rotation key; default 20 µs */
    size_t max_keys;       /* 0: no limit */
    int beam;              /* default 12 */
} nn_single_options;

/* Costs of one core by nn/plan/cost.h for a ring and a number of limbs, special
 * moduli among them not counted: as many as leave three digits. */
nn_single_costs nn_single_costs_of(int log2_n, int limbs);

/* Chooses layouts and splits for all steps.
 * error: SOTTO_ERR_UNSUPPORTED naming a node that is neither affine nor a
 * polynomial; SOTTO_ERR_PARAM (log2_slots); SOTTO_ERR_KEY when max_keys cannot
 * be kept (with what the least is); SOTTO_ERR_MEMORY; *single is then NULL.
 * cost: one pass over all rows per step. owner: the caller, nn_single_free;
 * borrows network. */
sotto_status nn_single_compile(nn_single **single, const nn_network *network,
                               const nn_single_options *options,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Makes a program from choices made before, for instance read from a plan.
 * shape: choice[n_steps]; those of activations are not read.
 * error: SOTTO_ERR_MISMATCH naming the step whose choice does not fit;
 * otherwise as nn_single_compile. */
sotto_status nn_single_rebuild(nn_single **single, const nn_network *network,
                               const nn_layout *input,
                               const nn_single_choice *choice,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* The rotation that brings element i of a cell (row by row) to its first one.
 * shape: sum_step[2], pool[2]; i < pool[0]·pool[1]. */
static inline uint32_t nn_cell_rotation(const uint32_t *sum_step,
                                        const uint32_t *pool, uint32_t i,
                                        uint32_t slots)
{
    return (i / pool[1] * sum_step[0] + i % pool[1] * sum_step[1]) &
           (slots - 1);
}

/* The choice that makes step k again. */
nn_single_choice nn_single_choice_of(const nn_single *single, size_t k);

/* Frees; NULL is fine. */
void nn_single_free(nn_single *single);

/* Makes diagonals and biases of one map, several at a time. */
typedef struct nn_single_filler nn_single_filler;

/* Makes a filler that holds `memory_bytes` of diagonals, one at least.
 * error: SOTTO_ERR_MEMORY; *filler is then NULL.
 * owner: the caller, nn_single_filler_free; borrows single. */
sotto_status nn_single_filler_new(nn_single_filler **filler,
                                  const nn_single *single, size_t step,
                                  size_t memory_bytes,
                                  sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_single_filler_free(nn_single_filler *filler);

/* Writes diagonal number `index` of the map: a ckks_fill_slots whose arg is the
 * filler. shape: slot double[S]. cost: a pass over the rows of an output
 * whenever index leaves the diagonals held; rising indices are best. */
void nn_single_fill(void *filler, size_t index, double *slot);

/* Writes the bias of output ciphertext `index`, at every copy of an element: it
 * is added behind the folds. As nn_single_fill. */
void nn_single_fill_bias(void *filler, size_t index, double *slot);

#endif
