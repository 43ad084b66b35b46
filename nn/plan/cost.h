/* SPDX-License-Identifier: MIT
 * The cost table: what one unit of work takes on one core, and what the
 * operations of the schemes make of it.
 *
 * There is one committed table, so that every machine makes the same plan; its
 * figures are those of the AVX-512 IFMA backend on the machine named in
 * docs/benchmarks.md, with data in cache, as evaluation works on blocks. They
 * steer the search for a plan and give its predicted times. nn_cost_measure
 * makes a table for the machine that runs it; a plan says which one it used.
 *
 *     unit          times …
 *     butterfly     N/2·log2 N of a transform
 *     convert       N·sources·targets of a base conversion
 *     accumulate    2·N·digits of a key product, for each limb
 */
#ifndef SOTTO_NN_PLAN_COST_H
#define SOTTO_NN_PLAN_COST_H

#include "base/status.h"

/* Units of work. Their order is that of a plan's text (SPEC §13). */
typedef enum nn_cost_unit {
    NN_COST_BUTTERFLY,   /* one NTT butterfly */
    NN_COST_MULTIPLY,    /* one modular product of two residues */
    NN_COST_ACCUMULATE,  /* one multiply-add of a key-switching product */
    NN_COST_CONVERT,     /* one term of a base conversion */
    NN_COST_PERMUTE,     /* one residue of an automorphism */
    NN_COST_FOURIER,     /* one complex butterfly of encoding */
    NN_COST_COMPOSE,     /* one coefficient rounded to one residue */
    NN_COST_GEMM_WORD,   /* one integer weight times one word of a residue */
    NN_COST_GEMM_GATHER, /* splitting one word of a gathered residue */
    NN_COST_GEMM_REDUCE, /* reducing one word of an output residue */
    NN_COST_EXPAND,      /* one uniform residue from its seed */
    NN_COST_UNPACK,      /* one residue from or to its bits in a record */
    NN_COST_HASH,        /* one byte of a checksum */
    NN_COST_UNITS
} nn_cost_unit;

/* Nanoseconds per unit. */
typedef struct nn_cost_table {
    double ns[NN_COST_UNITS];
} nn_cost_table;

/* The committed table. */
nn_cost_table nn_cost_default(void);

/* The name of a unit, "butterfly". */
const char *nn_cost_unit_name(nn_cost_unit unit);

/* Measures a table on this machine with the backend in use, at N = 8192.
 * error: as ckks_time_kernels; *table is then unchanged. cost: below a second.
 */
sotto_status nn_cost_measure(nn_cost_table *table,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* A key switch: ciphertext limbs, digits that they are cut into, special
 * moduli. */
typedef struct nn_cost_gadget {
    int limbs;
    int digits;
    int specials;
} nn_cost_gadget;

/* Each of the following predicts the nanoseconds of one operation on one core
 * at degree 2^log2_n. */

/* One transform of one limb. */
double nn_cost_ntt(const nn_cost_table *table, int log2_n);

/* ModUp of one polynomial: from its limbs to all digits modulo QP. */
double nn_cost_mod_up(const nn_cost_table *table, int log2_n,
                      nn_cost_gadget gadget);

/* The products of all digits with a key, two polynomials modulo QP. */
double nn_cost_key_product(const nn_cost_table *table, int log2_n,
                           nn_cost_gadget gadget);

/* Division of n polynomials by `removed` moduli, `kept` remain: ModDown of
 * the two of a key product, or a rescale of n components. */
double nn_cost_division(const nn_cost_table *table, int log2_n, int n, int kept,
                        int removed);

/* One whole key switch: relinearisation of one component. */
double nn_cost_switch(const nn_cost_table *table, int log2_n,
                      nn_cost_gadget gadget);

/* A rotation, and one whose ModUp is shared with others. */
double nn_cost_rotation(const nn_cost_table *table, int log2_n,
                        nn_cost_gadget gadget);
double nn_cost_hoisted_rotation(const nn_cost_table *table, int log2_n,
                                nn_cost_gadget gadget);

/* Product of a ciphertext of two components with an encoded plaintext. */
double nn_cost_multiply_plain(const nn_cost_table *table, int log2_n,
                              int limbs);

/* Encoding of N/2 slots to `limbs` limbs. */
double nn_cost_encode(const nn_cost_table *table, int log2_n, int limbs);

/* Reading one ciphertext of two components, the second one a seed: bits is
 * the sum of log2 of its moduli. */
double nn_cost_read(const nn_cost_table *table, int log2_n, int limbs,
                    double bits);

#endif
