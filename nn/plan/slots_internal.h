/* SPDX-License-Identifier: MIT
 * Planning for single packing: what the search must know of slot programs,
 * what they cost and how far they are off.
 *
 * The programs (nn/single) hardly depend on levels and scales, and the best
 * levels and scales only on how many products, rotations and folds there are.
 * So a program is compiled first; drafts are judged by its counts.
 *
 * Each segment of a draft has a gadget of its own: a key is made for the limbs
 * of the level where it is used, and deep in the chain, where the modulus is
 * small, security leaves room for larger special moduli and fewer digits.
 */
#ifndef SOTTO_NN_PLAN_SLOTS_INTERNAL_H
#define SOTTO_NN_PLAN_SLOTS_INTERNAL_H

#include "nn/plan/draft_internal.h"
#include "nn/single/compile.h"
#include "rlwe/context.h"

/* What one step of a program asks for. */
typedef struct nn_slot_facts {
    nn_single_counts counts; /* AFFINE */
    double n_in;             /* ciphertexts that are read … */
    double n_out;            /* … and made */
    int folds;               /* of each output */
    double spread;           /* slots that folds add to one: 2^folds */
    double area;             /* elements of a cell that is summed first */
} nn_slot_facts;

/* A program. */
typedef struct nn_slot_program {
    double n_inputs; /* ciphertexts */
    nn_slot_facts step[NN_PLAN_MAX_STEPS];
} nn_slot_program;

/* Reads the figures off a compiled program. */
void nn_slot_survey(nn_slot_program *program, const nn_single *single);

/* Limbs around one step. */
typedef struct nn_slot_shape {
    int log2_n;
    nn_cost_gadget gadget; /* limbs and digits of the level that is read */
    int kept;              /* limbs of the level made … */
    int kept_digits;       /* … and digits there */
    bool late;             /* folds at the level made */
} nn_slot_shape;

/* Nanoseconds of the parts of an affine step, for the search of layouts. */
nn_single_costs nn_slot_costs(const nn_cost_table *table,
                              const nn_slot_shape *shape);

/* Nanoseconds of one step. memory_bytes: room for encoded diagonals, 0: no
 * limit; beyond it they are transformed at each use. */
double nn_slot_step_ns(const nn_cost_table *table, const nn_slot_shape *shape,
                       const nn_slot_facts *facts, nn_step_kind kind,
                       double memory_bytes);

/* Whether products are made modulo Q (single hoisting) by these costs. */
bool nn_slot_hoists_once(const nn_cost_table *table, const nn_slot_shape *shape,
                         const nn_slot_facts *facts);

/* Slot variances of single operations, in integer units. */
typedef struct nn_slot_noise {
    double key;            /* switching one polynomial, over P² */
    double divide_special; /* two components by P … */
    double divide_half;    /* … one of them */
    double divide_end;     /* two components by all that goes at the end */
    double key_late;       /* the same two at the level made */
    double divide_late;
    double rounding; /* of one polynomial */
    bool hoists_once;
} nn_slot_noise;

/* Scales around an affine step. */
typedef struct nn_slot_scales {
    const double *in; /* [n_parts] of the sources */
    double product;
    double out;
    const double *rms; /* [n_parts] of the sources, values */
} nn_slot_scales;

/* What an affine step adds to the error of its tensor, in values: noise, and
 * what rounding its diagonals does. */
typedef struct nn_slot_added {
    double noise;
    double rounding;
} nn_slot_added;

/* math: see SPEC §10.2, "linear map by diagonals" and "fold"; rows' norms in
 * place of diagonals', which bounds every slot. */
nn_slot_added nn_slot_added_by(const nn_step_facts *facts,
                               const nn_slot_facts *slots,
                               const nn_slot_noise *noise,
                               const nn_slot_scales *scales, bool late);

/* Segment that step k's product or square stands in. */
int nn_slot_segment_of(const nn_draft *draft, int k);

/* Whether folds of step k come behind its rescale. */
bool nn_slot_folds_late(const nn_draft *draft, const nn_search *search, int k);

/* Chooses digits and special moduli of every segment: least time among those
 * whose noise stays below the draft's key_bits. Returns false when none fits
 * the security. Sets draft->special and total_bits too. */
bool nn_slot_judge_gadgets(nn_draft *draft, const nn_search *search);

/* What step k adds, from the leading terms. tensor: [n_steps + 1] as judged. */
nn_slot_added nn_slot_judge_added(const nn_draft *draft,
                                  const nn_search *search,
                                  const nn_draft_tensor *tensor, int k,
                                  double product_bits);

/* Seconds for all images; as nn_draft_seconds. */
double nn_slot_seconds(const nn_draft *draft, const nn_search *search,
                       nn_draft_times *times);

/* Makes moduli, levels, gadgets, steps and keys of a plan from a judged draft
 * and the program that it was judged by. error: as rlwe_moduli_find;
 * SOTTO_ERR_KEY when there are more than NN_PLAN_MAX_KEYS. */
sotto_status nn_slot_realise(nn_plan *plan, const nn_draft *draft,
                             const nn_search *search, const nn_single *single,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Lists the keys that a plan's steps need, by gadget, kind and value.
 * error: SOTTO_ERR_KEY when there are more than NN_PLAN_MAX_KEYS;
 * SOTTO_ERR_MISMATCH when a step that rotates has no gadget; SOTTO_ERR_MEMORY.
 */
sotto_status nn_slot_list_keys(nn_plan_key *key, int *n_keys,
                               const nn_plan *plan, const nn_single *single,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Variances that the steps of a finished plan add, by ckks/noise, into the
 * terms of nn_propagate. error: as rlwe_context_new and ckks_lintrans_choose.
 */
sotto_status nn_slot_terms(nn_error_terms *terms, const nn_plan *plan,
                           const nn_search *search, const nn_single *single,
                           const rlwe_context *context,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Bytes of all keys of a plan in a server's memory. */
double nn_slot_key_bytes(const nn_plan *plan);

/* Plans for single packing: the search's packing-free part is set. Fills in
 * what depends on the packing, choices and times included.
 * error: SOTTO_ERR_LEVEL when nothing fits rings from 2^first to 2^last,
 * SOTTO_ERR_KEY when keys do not fit options->key_memory_bytes, what
 * nn_single_compile says. */
sotto_status nn_slot_make(nn_plan *plan, const nn_search *search,
                          const nn_plan_options *options, int first, int last,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Limbs around step k. */
nn_slot_shape nn_slot_shape_of(const nn_draft *draft, const nn_search *search,
                               int k);

#endif
