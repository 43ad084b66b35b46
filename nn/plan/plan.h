/* SPDX-License-Identifier: MIT
 * The plan: everything that is fixed before a key exists.
 *
 * A plan says ring, moduli, levels, packing, what each step of the network does
 * to level, components and scale, which switching keys are needed, and what
 * errors to expect. It is readable text (SPEC §13) and holds nothing that
 * depends on the values of weights beyond sizes: inner scales follow from the
 * fractional weight bits, which are part of it.
 *
 * Batch packing: one ciphertext per element of a tensor, one image per slot.
 *
 *            image 0  image 1  image 2 …            N/2 slots
 *   pixel 0 [   .        .        .                         ]  ciphertext 0
 *   pixel 1 [   .        .        .                         ]  ciphertext 1
 *
 * A step makes the tensor after its own number from the one before (tensor 0 is
 * the input), as in nn/graph/fold.h. Its parts run in this order:
 *
 *   AFFINE   [relinearise sources] · integer matrix · [relinearise] [rescale]
 *   SQUARE   square · [relinearise] [rescale]
 *
 * Single packing: one image spread over the slots of few ciphertexts, as the
 * layout of each tensor says (nn/single/layout.h). A step is one linear map by
 * diagonals or one square (nn/single/run.h); everything has two components.
 *
 *   AFFINE   [sums over cells] · diagonals and rotations · folds · rescale
 *   SQUARE   square · relinearise · rescale
 */
#ifndef SOTTO_NN_PLAN_PLAN_H
#define SOTTO_NN_PLAN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "nn/graph/fold.h"
#include "nn/graph/statistics.h"
#include "nn/plan/cost.h"
#include "nn/single/run.h"
#include "rlwe/keys.h"
#include "rlwe/params.h"

#define NN_PLAN_MAX_STEPS 256
#define NN_PLAN_NAME_BYTES 64
#define NN_PLAN_MAX_MEAN 16
#define NN_PLAN_MAX_BYTES ((size_t)1 << 20)
#define NN_PLAN_MAX_KEYS 256
#define NN_PLAN_MAX_IMAGES ((uint64_t)1 << 40)

/* How images lie in ciphertexts. */
typedef enum nn_packing {
    NN_PACKING_AUTO = 0, /* as an option: whichever is predicted to take less */
    NN_PACKING_BATCH,    /* one element per ciphertext, one image per slot */
    NN_PACKING_SINGLE    /* one image over the slots */
} nn_packing;

/* What one step of single packing does beside what nn_plan_step says. */
typedef struct nn_plan_slots_step {
    nn_single_choice choice; /* layout of the tensor made; of SQUARE: only the
                              * layout, that of its source */
    int gadget;              /* of its rotations or of its relinearisation; -1:
                              * needs no key */
    bool late_folds;         /* AFFINE: folds behind the rescale */
} nn_plan_slots_step;

/* What one step does to ciphertexts. In single packing weight_bits is 0,
 * n_components 2, and relinearise says that it is a square. */
typedef struct nn_plan_step {
    nn_step_kind kind;             /* AFFINE or SQUARE */
    char name[NN_PLAN_NAME_BYTES]; /* node, for messages */
    size_t n_elements;             /* of the tensor made */
    int weight_bits; /* AFFINE: fractional bits of the integer weights */
    bool relinearise_source; /* AFFINE: before the product */
    bool relinearise;        /* after it */
    int level;               /* of the tensor made, after everything */
    int n_components;        /* … */
    double scale;            /* … exact */
    double range;    /* bound on |value|, rounded up to a power of two */
    double he_error; /* predicted, values; exceeded with 2^-confidence */
    double seconds;  /* predicted, of one batch, on one core */
    nn_plan_slots_step slots; /* single packing */
} nn_plan_step;

/* One switching key that the server needs. */
typedef struct nn_plan_key {
    rlwe_key_target target;
    int gadget;
} nn_plan_key;

#define NN_PLAN_CHOICES 4

/* One way to run the network that the search came across: the best with its
 * ring and places of rescales, with or without keys. */
typedef struct nn_plan_choice {
    nn_packing packing;
    char what[128]; /* "rescale behind dense1; relinearise behind dense1", … */
    int log2_n;
    int limbs;
    double log2_qp;
    bool keys;
    double seconds; /* predicted, all images, one core */
    double he_error;
    double rounding_error;
} nn_plan_choice;

/* A plan. Plain data: copying copies everything. */
typedef struct nn_plan {
    nn_packing packing; /* BATCH or SINGLE */
    rlwe_params_literal params;
    uint64_t images; /* number planned for */
    nn_shape input_shape;
    nn_layout input_layout;      /* single packing */
    double input_scale;          /* of tensor 0, which is at level 0 */
    double input_min, input_max; /* pixel values outside are refused */
    size_t n_inputs;  /* ciphertexts of one batch: elements of input_shape, or
                       * what input_layout says */
    size_t n_outputs; /* scores of one image; see nn_plan_output_cts */
    bool softmax;     /* scores want a softmax to become probabilities */
    uint8_t model_id[SOTTO_HASH_BYTES]; /* SHA-256 of the model file */
    float mean[NN_PLAN_MAX_MEAN];
    float std[NN_PLAN_MAX_MEAN];
    int n_mean; /* 0: no normalisation beyond the model's own */
    int n_steps;
    nn_plan_step step[NN_PLAN_MAX_STEPS];
    int n_keys;
    nn_plan_key key[NN_PLAN_MAX_KEYS];
    double confidence;   /* log2: errors exceeded with 2^-confidence over all */
    double he_noise_std; /* predicted standard deviation at the output, from
                          * above for data like those of the statistics */
    double he_error;     /* predicted largest HE error of a score */
    double rounding_error; /* predicted largest weight-rounding error */
    double margin_bits;    /* free bits above the largest score at the end */
    double seconds;        /* predicted server time, one core */
    double read_seconds;   /* … reading the inputs of one batch */
    bool measured;       /* times are by costs instead of the committed table */
    nn_cost_table costs; /* when measured */
    nn_plan_choice plain; /* one rescale behind every operation; limbs 0: does
                           * not fit. Not part of the text, like … */
    int n_choices; /* what nn_plan_make chose and the runners-up, best first; */
    nn_plan_choice choice[NN_PLAN_CHOICES];
    uint8_t id[SOTTO_HASH_BYTES]; /* SHA-256 of the text without this line */
} nn_plan;

/* What a user may ask for. Zero means the default. */
typedef struct nn_plan_options {
    uint64_t images;        /* default 1 */
    nn_packing packing;     /* default: by predicted time */
    double range_margin;    /* default 1.3, on every range from data */
    double he_target;       /* largest HE error of a score; default 2^-9 of the
                             * planned bound of the scores */
    double rounding_target; /* largest rounding error; default 2^-6 of it */
    double confidence;      /* default 20 */
    int log2_n;             /* 0: search */
    bool plain_chain; /* one rescale behind every operation: to compare with */
    int security;     /* 0: 128 */
    bool allow_insecure;
    bool public_key;           /* also plan for public-key encryption */
    uint64_t key_memory_bytes; /* single packing: most bytes of switching keys
                                * in memory; 0: no limit */
    uint64_t memory_bytes;     /* single packing: room for encoded diagonals; 0:
                                * no limit. Only predictions depend on it */
    const nn_cost_table *costs;      /* NULL: the committed table */
    const nn_statistics *statistics; /* NULL: what the model's metadata say */
    const float *mean; /* [n_mean] normalisation, recorded in the plan; the */
    const float *std;  /* caller has put it into the network's graph */
    int n_mean;
} nn_plan_options;

/* Plans a folded network.
 * error: SOTTO_ERR_UNSUPPORTED naming the node that cannot be evaluated (Relu,
 * MaxPool, degree above 2) and what would help; SOTTO_ERR_RANGE when ranges are
 * unknown (naming the tensor and --calibrate); SOTTO_ERR_LEVEL when nothing
 * fits the largest ring (with what is needed and the cheapest fix);
 * SOTTO_ERR_SECURITY. *plan is then NULL.
 * owner: the caller frees *plan with sotto_free. options may be NULL.
 * model_id is left zero: the caller sets it before writing. */
sotto_status nn_plan_make(nn_plan **plan, const nn_network *network,
                          const nn_plan_options *options,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Checks that a plan belongs to this network: steps, sizes, scales follow from
 * weight bits and moduli, values stay within the moduli. What `infer` does
 * before it touches a ciphertext.
 * error: SOTTO_ERR_MISMATCH naming the first difference. */
sotto_status nn_plan_verify(const nn_plan *plan, const nn_network *network,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Images in one batch, whose n_inputs ciphertexts are records that follow each
 * other: the slots of a ciphertext, or 1 in single packing. */
size_t nn_plan_slots(const nn_plan *plan);

/* ⌈count / nn_plan_slots⌉. */
uint64_t nn_plan_batches(const nn_plan *plan, uint64_t count);

/* Ciphertexts of one batch's scores: n_outputs, or those of the last layout. */
size_t nn_plan_output_cts(const nn_plan *plan);

/* Layout of tensor k (0: the input) of a plan in single packing (asserted). */
const nn_layout *nn_plan_layout(const nn_plan *plan, size_t k);

/* The slot programs of a plan in single packing (asserted), made again from
 * its choices. error: SOTTO_ERR_MISMATCH when a choice does not fit the network
 * (with the step's name), or layouts give other numbers of ciphertexts than the
 * plan; SOTTO_ERR_MEMORY; *single is then NULL.
 * owner: the caller, nn_single_free; borrows network. */
sotto_status nn_plan_program(nn_single **single, const nn_plan *plan,
                             const nn_network *network,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Levels and scales of a plan in single packing (asserted) as nn_single_run_new
 * takes them. shape: stage [n_steps], borrowed by the result.
 * memory_bytes: as in the schedule. */
nn_single_schedule nn_plan_schedule(const nn_plan *plan, nn_single_stage *stage,
                                    size_t memory_bytes);

/* Writes the plan as text and sets plan->id. owner: the caller frees *text with
 * sotto_free. error: SOTTO_ERR_MEMORY. */
sotto_status nn_plan_write(char **text, size_t *len_bytes, nn_plan *plan,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Reads and checks a plan's text; every number is bounded and the id verified.
 * error: SOTTO_ERR_FORMAT with the line number; SOTTO_ERR_SECURITY when the
 * parameters are marked insecure and allow_insecure is false, or do not reach
 * the security that the plan names; *plan is then
 * NULL. owner: the caller frees *plan with sotto_free. */
sotto_status nn_plan_read(nn_plan **plan, const char *text, size_t len_bytes,
                          bool allow_insecure,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Sizes on the wire for this plan. */
typedef struct nn_plan_bytes {
    uint64_t secret_key;
    uint64_t eval_key; /* 0 when the plan needs none */
    uint64_t input_per_batch;
    uint64_t output_per_batch;
    uint64_t server_memory; /* peak of ciphertexts held at once, estimated; in
                             * single packing with keys, without diagonals */
} nn_plan_bytes;

/* Computes the sizes. error: as rlwe_context_new. */
sotto_status nn_plan_sizes(nn_plan_bytes *bytes, const nn_plan *plan,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* The exact scale of tensor k (0: the input). */
double nn_plan_tensor_scale(const nn_plan *plan, size_t k);

/* Level of tensor k (0: the input). */
int nn_plan_tensor_level(const nn_plan *plan, size_t k);

/* Number of components of tensor k (0: the input). */
int nn_plan_tensor_components(const nn_plan *plan, size_t k);

/* What the integer matrix of an AFFINE step makes, before the parts behind it.
 * With several sources the level is the lowest of theirs (others are dropped to
 * it), and scale / (scale of a source) is what its weights are multiplied by,
 * so that all products have one scale: 2^weight_bits for the source of the
 * largest scale, more for the others. */
typedef struct nn_plan_product {
    int level;
    int n_components;
    double scale;
} nn_plan_product;

/* The product of step `step`, an AFFINE one. */
nn_plan_product nn_plan_step_product(const nn_plan *plan,
                                     const nn_network *network, size_t step);

/* The factor of weights that read tensor `source`: product.scale / scale of
 * the source. */
double nn_plan_weight_scale(const nn_plan *plan, const nn_network *network,
                            size_t step, uint32_t source);

/* The integer weight: weight · factor rounded, halves away from zero.
 * range: |weight·factor| < 2^31 (nn_plan_verify checks all weights). */
int32_t nn_plan_weight(double weight, double factor);

/* What nn_plan_round_group works with; both borrowed. */
typedef struct nn_plan_rounding {
    const nn_plan *plan;
    const nn_network *network;
} nn_plan_rounding;

/* Hook for nn_network_run that replaces weights and biases by what the plan's
 * integers stand for: the network with rounded weights, against which the HE
 * error is measured. arg: an nn_plan_rounding. */
void nn_plan_round_group(void *arg, size_t step, nn_group *group);

#endif
