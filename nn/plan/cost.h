/* SPDX-License-Identifier: MIT
 * The cost table: what one unit of work takes on one core.
 *
 * The figures are those of the AVX-512 IFMA backend on the machine named in
 * docs/benchmarks.md, data streamed from memory as a batch does. They steer the
 * search for a plan, which needs their ratios only, and give its predicted
 * time. There is one table, so that every machine makes the same plan.
 */
#ifndef SOTTO_NN_PLAN_COST_H
#define SOTTO_NN_PLAN_COST_H

/* Nanoseconds per unit. */
typedef struct nn_cost_table {
    double butterfly;   /* one NTT butterfly */
    double multiply;    /* one modular product of two residues */
    double accumulate;  /* one multiply-add of a key-switching product */
    double convert;     /* one term of a base conversion */
    double gemm_word;   /* one integer weight times one word of a residue */
    double gemm_gather; /* splitting one word of a gathered residue */
    double gemm_reduce; /* reducing one word of an output residue */
} nn_cost_table;

/* The committed table. */
nn_cost_table nn_cost_default(void);

#endif
