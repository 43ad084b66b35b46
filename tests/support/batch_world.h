/* SPDX-License-Identifier: MIT
 * Plans written by hand for small networks, with keys, images and the scores
 * that a network with the plan's rounded weights gives.
 */
#ifndef SOTTO_TESTS_SUPPORT_BATCH_WORLD_H
#define SOTTO_TESTS_SUPPORT_BATCH_WORLD_H

#include "nn/batch/batch.h"
#include "tests/support/ckks_world.h"

#define HAND_MAX_STEPS 8

/* Levels, steps and gadgets, and sizes of moduli, as ckks_world.h wants them.
 */
#define LEVELS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define BITS(...) ((const double[]){__VA_ARGS__, 0})

/* What a plan says of one step; scale and components follow. */
typedef struct hand_step {
    int weight_bits; /* 0 for a square */
    int level;
    bool relinearise_source, relinearise;
} hand_step;

typedef struct hand_spec {
    world_spec params;
    double input_bits;
    hand_step step[HAND_MAX_STEPS];
} hand_spec;

typedef struct batch_world {
    nn_graph *graph;
    nn_network *network;
    nn_plan *plan;
    world w;
    size_t n_images;
    float *images;    /* [n_images][n_inputs], in [0,1] */
    double *expected; /* [n_images][n_outputs] */
} batch_world;

/* [1,7,7] -> conv 3×3, stride 2 -> x² -> 6 -> x² -> 3; five steps. */
nn_graph *hand_net_plain(void);

/* [1,4,4] -> c = conv(x); y = conv(c²) + c; z = y² + c; 3 scores of z. Five
 * steps; the third and the last read c as well. */
nn_graph *hand_net_residual(void);

/* [1,4,4] -> c = conv(x); y = conv(c²) + c; u = conv(c); 3 scores of y² and
 * u². Seven steps; c is read at its own level after it was dropped for y. */
nn_graph *hand_net_branches(void);

/* [3,19,17] -> conv 3×3, stride 2, 5 maps -> x² -> 7 -> x² -> 3; five steps. */
nn_graph *hand_net_wide(void);

/* Takes over the graph; makes plan, keys, images and expected scores. Noise and
 * ranges of the plan are wide: he_noise_std 2^-6, values up to 2^6. */
batch_world batch_world_new(nn_graph *graph, const hand_spec *spec,
                            size_t n_images);

/* The same with a plan that was made by others (taken over), of any packing,
 * and keys for it. At most a batch of images for batch packing. */
batch_world batch_world_planned(nn_graph *graph, nn_network *network,
                                nn_plan *plan, size_t n_images);

/* Frees everything. */
void batch_world_free(batch_world *bw);

/* Encrypts the images into the inputs of a batch. */
void batch_world_fill(batch_world *bw, nn_batch *batch);

/* Evaluates on `threads` threads and returns the bytes of all output
 * ciphertexts (malloc), their number in *len_bytes; *worst receives the largest
 * difference from the expected scores, *std the largest deviation of one score
 * (both may be NULL).
 */
uint8_t *batch_world_run(batch_world *bw, int threads, size_t *len_bytes,
                         double *worst, double *std);

#endif
