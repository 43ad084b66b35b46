/* SPDX-License-Identifier: MIT
 * Drafts: candidates of the search for a plan, in bits instead of primes.
 *
 * A draft says how wide everything is; judging it gives the moduli sizes that
 * it needs, its errors and its time. Sizes and scales are log2 here; the plan
 * that is made from the best draft has exact moduli and scales.
 *
 *     segment 0        segment 1           between two rescales the modulus
 *     Q_0 = b + m_0    Q_1 = b             stays; a rescale removes the m bits
 *     |--- steps ---|  |--- steps ---|     of its group of primes
 */
#ifndef SOTTO_NN_PLAN_DRAFT_INTERNAL_H
#define SOTTO_NN_PLAN_DRAFT_INTERNAL_H

#include <stdbool.h>

#include "nn/plan/analysis_internal.h"
#include "nn/plan/cost.h"
#include "nn/plan/plan.h"
#include "rlwe/context.h"

#define NN_MAX_SEGMENTS RLWE_MAX_LEVELS

/* Bits kept free above the largest value: its sign, the margin of one bit, and
 * a little for primes that miss their target. */
#define NN_HEADROOM_BITS 2.1

/* Slot programs of single packing (slots_internal.h). */
struct nn_slot_program;

/* A time that was computed before. */
typedef struct nn_slot_memo {
    uint64_t key;
    double ns;
} nn_slot_memo;

#define NN_SLOT_MEMOS ((size_t)1 << 12)

/* What the search knows and does not change. */
typedef struct nn_search {
    const nn_network *network;
    const nn_step_facts *facts;
    const struct nn_slot_program *slots; /* NULL: batch packing */
    nn_slot_memo *memo;  /* [NN_SLOT_MEMOS] of these programs; scratch */
    double memory_bytes; /* for encoded diagonals; 0: no limit */
    int n_steps;
    double range_bits[NN_PLAN_MAX_STEPS + 1]; /* log2 of the planned bound */
    double rms[NN_PLAN_MAX_STEPS + 1];
    double z; /* deviations that a prediction covers: Gaussian errors … */
    double z_tail; /* … and those that the secret multiplies */
    double he_target;
    double rounding_target;
    int security;
    bool allow_insecure;
    bool public_key;
    bool plain_chain;
    bool any; /* whatever fits is enough */
    uint64_t images;
    nn_cost_table cost;
} nn_search;

/* What a draft wants of relinearisation at a step. */
typedef enum nn_wish {
    NN_WISH_ANY,   /* as a rule of thumb has it */
    NN_WISH_NEVER, /* components stay as they are */
    NN_WISH_BEFORE,
    NN_WISH_AFTER,
    NN_WISHES
} nn_wish;

/* Choices for one step. In single packing weight_bits is the scale of
 * diagonals, squares always relinearise, and a wish at an affine step is about
 * its folds: BEFORE the rescale or, ANY, behind it. */
typedef struct nn_draft_step {
    int weight_bits; /* AFFINE */
    int target_bits; /* scale after a rescale behind it; 0: none */
    nn_wish wish;
    bool relinearise_source; /* filled in by judging, like the rest */
    bool relinearise;
    int segment; /* of the tensor made */
} nn_draft_step;

/* A group of primes that is removed at once, or the base that stays: n_short
 * primes of equal size that take two 16-bit words in a matrix product, then
 * larger ones of equal size. */
typedef struct nn_prime_group {
    double bits; /* of the product */
    int count;
    int n_short;
} nn_prime_group;

/* Digits and special moduli of one segment, in single packing. */
typedef struct nn_draft_gadget {
    int digit_limbs;     /* limbs per digit */
    int specials;        /* 0: no keys are used there */
    double special_bits; /* log2 of each */
} nn_draft_gadget;

/* log2 of prime i of a group. */
double nn_prime_group_bits(const nn_prime_group *group, int i);

/* A candidate with what judging it found. */
typedef struct nn_draft {
    int log2_n;
    int input_bits;
    int key_bits; /* single packing: log2 of the deviation that key switching
                   * may have where that saves time */
    nn_draft_step step[NN_PLAN_MAX_STEPS];

    int n_segments;
    nn_prime_group base;
    nn_prime_group removed[NN_MAX_SEGMENTS]; /* [n_segments - 1] */
    nn_prime_group special;                  /* count 0: no keys needed */
    int digit_limbs;                         /* limbs per digit */
    nn_draft_gadget gadget[NN_MAX_SEGMENTS]; /* single packing: instead of the
                                              * last two; special.count is then
                                              * their total */
    double total_bits;                       /* with special moduli */
    double he_error;       /* predicted, largest of any score */
    double rounding_error; /* … */
    double seconds;        /* all batches, one core */
    bool feasible;
} nn_draft;

/* Judges a draft: fills in everything below `step` and the relinearisations.
 * feasible is false when sizes or security do not fit; errors are judged by the
 * caller. */
void nn_draft_judge(nn_draft *draft, const nn_search *search);

/* Slot variance of a rounded division, SPEC §10.2. */
double nn_draft_division_variance(const nn_draft *draft, int n_components,
                                  int n_removed);

/* Scale after step k's rescale is target_bits; before it, and everything else
 * that depends on scales only. */
typedef struct nn_draft_tensor {
    double scale_bits;
    int segment;
    int n_components;
} nn_draft_tensor;

/* Predicted times on one core of one batch, in nanoseconds. */
typedef struct nn_draft_times {
    double read; /* of the inputs */
    double step[NN_PLAN_MAX_STEPS];
    double batches;
} nn_draft_times;

/* Predicts the times of a judged draft's sizes. Returns the seconds of all
 * batches. tensor: [n_steps + 1] as judged; times may be NULL. */
double nn_draft_seconds(const nn_draft *draft, const nn_search *search,
                        const nn_draft_tensor *tensor, nn_draft_times *times);

/* Predicts the times of a feasible draft, judging it again. */
void nn_draft_predict(nn_draft_times *times, const nn_draft *draft,
                      const nn_search *search);

/* Limbs of a segment, and the size of limb i (base first, then the groups from
 * the last removed to the first). */
int nn_draft_limbs(const nn_draft *draft, int segment);
double nn_draft_limb_bits(const nn_draft *draft, int limb);

/* What the errors of a network are made of, in values. */
typedef struct nn_error_terms {
    double fresh;                       /* variance of the input */
    double added[NN_PLAN_MAX_STEPS];    /* variance that a step adds */
    double rounding[NN_PLAN_MAX_STEPS]; /* single packing: … by diagonals */
    double product_bits[NN_PLAN_MAX_STEPS];   /* log2 scale before a rescale */
    double scale_bits[NN_PLAN_MAX_STEPS + 1]; /* log2 scale of a tensor */
} nn_error_terms;

/* Variance bounds of one tensor's errors, in values. */
typedef struct nn_error {
    double fresh;    /* of encryption: Gaussian */
    double added;    /* of divisions and key switches, which the secret
                      * multiplies: a heavier tail (ckks/noise.h) */
    double rounding; /* of weights */
} nn_error;

/* Carries the terms through the network (analysis_internal.h).
 * shape: error [n_steps + 1]: bounds of every tensor, the scores' by row
 * norms. */
void nn_propagate(const nn_search *search, const nn_error_terms *terms,
                  nn_error *error);

/* The largest HE error that is predicted from such variances. */
double nn_he_error(const nn_search *search, const nn_error *error);

/* By what factor a draft's errors pass their targets (<= 1: accepted). */
double nn_draft_excess(const nn_draft *draft, const nn_search *search);

/* What the search minimises: time, and a little for size and for keys, which
 * breaks ties. */
double nn_draft_price(const nn_draft *draft);

/* Finds the best drafts for ring degrees log2_n in [first, last], each with
 * other places of rescales or another degree, or one without keys beside one
 * with them, cheapest first.
 * shape: best [NN_PLAN_CHOICES]; *n_best of them are filled, at least one.
 * error: SOTTO_ERR_LEVEL with what is needed and the cheapest fix. */
sotto_status nn_draft_search(nn_draft *best, int *n_best,
                             const nn_search *search, int first_log2_n,
                             int last_log2_n,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Moves drafts to their best under another search: the same network and ring,
 * another program. *n_drafts become those that are accepted, cheapest first. */
void nn_draft_refine(nn_draft *draft, int *n_drafts, const nn_search *search);

/* Predicts the errors of a finished plan from what its steps add; fills in the
 * rest of the terms. */
void nn_plan_predict(nn_plan *plan, const nn_search *search,
                     nn_error_terms *terms, const rlwe_context *context);

/* Says what the search found and takes over times: draft[0] is the plan's. */
void nn_plan_set_choices(nn_plan *plan, const nn_draft *draft, int n_drafts,
                         const nn_search *search);

/* Makes the plan's moduli, levels, gadget and steps from a judged draft.
 * error: as rlwe_moduli_find. */
sotto_status nn_draft_realise(nn_plan *plan, const nn_draft *draft,
                              const nn_search *search,
                              sotto_error *err) SOTTO_MUST_CHECK;

#endif
