/* SPDX-License-Identifier: MIT
 * Random linear maps on small rings, run and compared with plain slots.
 */
#ifndef SOTTO_TESTS_SUPPORT_LINTRANS_LAB_H
#define SOTTO_TESTS_SUPPORT_LINTRANS_LAB_H

#include "ckks/lintrans.h"
#include "tests/support/ckks_world.h"

#define LAB_CTS 4
#define LAB_DIAGONALS 64
#define LAB_KEYS 128

/* A map and random data for it. Levels abc, bc, c with steps 0 -> 1, 1 -> 2,
 * 0 -> 2; gadgets 0 and 1 serve all levels, 2 serves bc. */
typedef struct lintrans_lab {
    world w; /* without keys */
    sotto_stream stream;
    size_t slots;
    ckks_lintrans_spec spec; /* one input, one output, no diagonal */
    ckks_diagonal diagonal[LAB_DIAGONALS];
    double *value; /* [LAB_DIAGONALS][slots] */
    double *bias;  /* [LAB_CTS][slots] */
    double in_scale[LAB_CTS];
    double *x; /* [LAB_CTS][slots] inputs */
    bool bind; /* the map to its keys */
} lintrans_lab;

/* A run of a map. */
typedef struct lintrans_outcome {
    ckks_lintrans_info info;
    double ratio; /* measured over predicted variance */
    size_t n_words;
    uint64_t *words; /* of all outputs */
} lintrans_outcome;

/* Makes a laboratory; data, keys and ciphertexts come from the seed. */
lintrans_lab *lintrans_lab_new(int log2_n, const char *seed, ntt_backend cap);

/* Frees. */
void lintrans_lab_free(lintrans_lab *lab);

/* A random number below n. */
uint64_t lintrans_lab_below(lintrans_lab *lab, uint64_t n);

/* Appends a random diagonal. */
void lintrans_lab_add(lintrans_lab *lab, uint32_t out, uint32_t in,
                      int64_t rotation);

/* Adds a random bias. */
void lintrans_lab_add_bias(lintrans_lab *lab);

/* An evaluator with just the keys that a map lists. */
ckks_evaluator *lintrans_lab_evaluator(const lintrans_lab *lab,
                                       const ckks_lintrans *map,
                                       rlwe_keyset **keys);

/* Compiles and runs the map on the inputs, encrypted always with the same
 * randomness. */
lintrans_outcome lintrans_lab_run(lintrans_lab *lab, int threads);

/* Frees. */
void lintrans_outcome_free(lintrans_outcome *outcome);

#endif
