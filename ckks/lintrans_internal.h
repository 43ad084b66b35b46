/* SPDX-License-Identifier: MIT
 * The compiled form of a linear map: stages, sums, encoded diagonals.
 *
 * A map is a chain of stages that all run through the same machine
 * (lintrans_run.c): the map itself, then one for each fold, whose "diagonals"
 * are the constant 1.
 *
 *     stage    inputs  ->  rotated inputs (babies)
 *                      ->  sums, one for each (output, giant): groups of terms
 *                      ->  outputs
 *
 * Moduli of a stage:
 *
 *     from     limbs of the level that inputs are at
 *     all      from ∪ special, where something is rotated; else from
 *     sum      what inner sums and diagonals have: `all` with double hoisting,
 *              else from
 *     acc      what outputs have before the division: all where a sum is
 *              rotated, else sum
 *     keep     limbs of the level that outputs are at
 */
#ifndef SOTTO_CKKS_LINTRANS_INTERNAL_H
#define SOTTO_CKKS_LINTRANS_INTERNAL_H

#include <stdbool.h>

#include "ckks/lintrans.h"
#include "rlwe/keyswitch.h"

/* Columns that are worked on at once: at most this many … */
#define LINTRANS_COLUMNS ((size_t)1024)
/* … and fewer, where the rotated inputs of a stage would not stay in the second
 * cache otherwise. */
#define LINTRANS_CACHE_BYTES ((size_t)1 << 19)

/* Not rotated. */
#define LINTRANS_NONE (-1)

/* A rotation other than by 0. */
typedef struct ckks_lintrans_rotation {
    uint64_t steps; /* in [1, slots) */
    uint64_t galois;
    uint32_t *map; /* [n] automorphism on NTT values; owned by the stage */
} ckks_lintrans_rotation;

/* An input, rotated. */
typedef struct ckks_lintrans_baby {
    uint32_t in;
    int rotation; /* of the stage, or LINTRANS_NONE */
    int lifted;   /* number of its input among those that are decomposed */
    int stored;   /* number among the rotated ones, or LINTRANS_NONE */
} ckks_lintrans_baby;

/* baby ⊙ diagonal. */
typedef struct ckks_lintrans_term {
    uint32_t baby;
    uint32_t plain; /* number of its diagonal, or of its constant */
} ckks_lintrans_term;

/* The terms of one output and one giant step: diagonals, then constants. */
typedef struct ckks_lintrans_group {
    uint32_t out;
    int rotation; /* of the stage, or LINTRANS_NONE */
    int rotated;  /* number among the rotated groups, or LINTRANS_NONE */
    size_t first; /* terms [first, first + n_plains + n_constants) */
    size_t n_plains;
    size_t n_constants;
} ckks_lintrans_group;

/* Encoded diagonals of a stage. */
typedef struct ckks_lintrans_plains {
    size_t n;
    size_t n_constants;
    bool resident;
    size_t bytes;  /* that the arrays below hold */
    uint8_t *held; /* resident: [n][sum] residues, NTT domain, in 32 bits
                    * where the modulus allows */
    size_t at[RNS_MAX_LIMBS]; /* [sum]: bytes from a diagonal's beginning */
    size_t size;              /* bytes of one */
    int32_t *narrow;          /* else, where all coefficients fit: [n][N] … */
    double *wide;             /* … or this */
    uint64_t *constant;       /* [n_constants][sum] residues */
} ckks_lintrans_plains;

/* A stage; see the top of the file. */
typedef struct ckks_lintrans_stage {
    const rlwe_context *context;
    ckks_hoisting hoisting; /* SINGLE or DOUBLE */
    int from, to;
    int gadget;
    size_t n_in, n_out;
    rns_set all, sum, acc;
    rlwe_switcher *mid;  /* from -> from; NULL: nothing is rotated */
    rlwe_switcher *last; /* from -> to; NULL likewise */
    const rns_divider
        *divider; /* acc \ keep -> keep; NULL: nothing to divide */
    int n_digits;
    int digit_first[RNS_MAX_LIMBS]; /* [n_digits]: place of a digit's first limb
                                     * among scaled limbs, digit by digit */
    int own[RNS_MAX_LIMBS]; /* [all]: digit that the modulus belongs to, or -1
                             */
    int at[RNS_MAX_LIMBS];  /* [all]: its place in the level, or -1 */

    size_t n_rotations;
    ckks_lintrans_rotation *rotation;
    size_t n_babies, n_stored;
    ckks_lintrans_baby *baby; /* by input, then rotation */
    size_t n_lifted;
    uint32_t *lifted_in; /* [n_lifted]: inputs that are decomposed */
    size_t n_groups, n_rotated;
    ckks_lintrans_group *group; /* by output; giant 0 first and always there */
    size_t *out_first;          /* [n_out + 1]: first group of each output */
    size_t *rotated;            /* [n_rotated]: their groups */
    size_t n_terms;
    ckks_lintrans_term *term;
    ckks_lintrans_plains plains;
    uint64_t *bias; /* added at the end: [n_out][keep][stride], NTT domain, or
                     * NULL; owned */

    uint8_t *packed; /* keys in the order of their use, see ckks_lintrans_bind:
                      * [rotation][all][block of columns][digit][2][columns] */
    size_t packed_at[RNS_MAX_LIMBS]; /* [all]: bytes from a rotation's start */
    size_t packed_size;              /* bytes of a rotation */

    size_t columns; /* of one unit of products; N where diagonals are not held
                     * as residues */
} ckks_lintrans_stage;

/* A map: n_stages stages; stage 0 is the map, the others are folds. */
struct ckks_lintrans {
    const rlwe_context *context;
    size_t n_in, n_out;
    double *in_scale; /* [n_in] */
    double out_scale;
    size_t n_stages;
    ckks_lintrans_stage *stage;
    double cost;
    bool bound;                        /* stages have packed keys … */
    uint8_t key_id[RLWE_KEY_ID_BYTES]; /* … of this secret */

    /* For the noise: means over outputs of sums over terms. */
    double gain;         /* mean square of diagonal·scale, in integers */
    double gain_rotated; /* … of terms with a rotated input */
    double n_plains;     /* terms with a rounded diagonal */
    double n_constants;  /* … with a rounded constant that is no integer */
};

/* A term while a stage is made. */
typedef struct ckks_lintrans_draft {
    uint32_t out, in;
    uint64_t giant, baby; /* in [0, slots) */
    size_t index;         /* of the diagonal in the spec */
    bool is_constant;
    double value; /* of a constant */
} ckks_lintrans_draft;

/* What a stage is made from. */
typedef struct ckks_lintrans_shape {
    size_t n_in, n_out;
    int from, to;
    int gadget;
    ckks_hoisting hoisting;
    size_t n_drafts;
    ckks_lintrans_draft *draft; /* sorted by the call */
} ckks_lintrans_shape;

/* Makes the sums of a stage; encoded diagonals are still to be made, numbered
 * in the order of the sorted drafts. error: SOTTO_ERR_LEVEL, SOTTO_ERR_MEMORY;
 * the stage is then empty. owner: ckks_lintrans_stage_clear. */
sotto_status ckks_lintrans_stage_init(ckks_lintrans_stage *stage,
                                      const rlwe_context *context,
                                      const ckks_lintrans_shape *shape,
                                      sotto_error *err) SOTTO_MUST_CHECK;

/* Chooses the size of units; after ckks_lintrans_plains_init. */
void ckks_lintrans_stage_size(ckks_lintrans_stage *stage);

/* Frees; may be called again. */
void ckks_lintrans_stage_clear(ckks_lintrans_stage *stage);

/* Bytes that one run of a stage takes from the arena. */
size_t ckks_lintrans_stage_scratch(const ckks_lintrans_stage *stage,
                                   int threads);

/* Runs a stage. out[i] may be in[i] when there are as many.
 * key [n_rotations]: for every rotation of the stage. */
void ckks_lintrans_stage_run(const ckks_lintrans_stage *stage,
                             ckks_ct *const *out, const ckks_ct *const *in,
                             const rlwe_switch_key *const *key,
                             sotto_pool *pool, sotto_arena *arena);

/* Makes room for the diagonals of a stage. error: SOTTO_ERR_MEMORY. */
sotto_status ckks_lintrans_plains_init(ckks_lintrans_stage *stage,
                                       size_t memory_bytes,
                                       sotto_error *err) SOTTO_MUST_CHECK;

/* Rounds and stores coefficients double[N] as diagonal number i. error:
 * SOTTO_ERR_MEMORY (they are the first that need more than 32 bits). */
sotto_status ckks_lintrans_plains_set(ckks_lintrans_stage *stage, size_t i,
                                      const double *coefficient,
                                      sotto_error *err) SOTTO_MUST_CHECK;

/* Residues of diagonal i modulo the m-th modulus of `sum`, NTT domain, columns
 * [at, at + count): where they are held, or made in room [count]. What is not
 * resident takes all columns. */
const uint64_t *ckks_lintrans_plains_columns(const ckks_lintrans_stage *stage,
                                             size_t i, int m, size_t at,
                                             size_t count, uint64_t *room);

/* Frees. */
void ckks_lintrans_plains_clear(ckks_lintrans_plains *plains);

/* True for moduli whose residues are kept in 32 bits. */
static inline bool ckks_lintrans_is_narrow(const zq_modulus *mod)
{
    return mod->bits <= 32;
}

/* out = in.  shape: [count] */
void ckks_lintrans_widen(uint64_t *out, const uint32_t *in, size_t count);

/* out = in, which is below 2^32.  shape: [count] */
void ckks_lintrans_narrow(uint32_t *out, const uint64_t *in, size_t count);

/* Packs the keys of a stage. error: SOTTO_ERR_MEMORY. */
sotto_status ckks_lintrans_stage_pack(ckks_lintrans_stage *stage,
                                      const rlwe_switch_key *const *key,
                                      sotto_error *err) SOTTO_MUST_CHECK;

/* Finds the keys of all stages, [rotations of all], one after the other.
 * error: SOTTO_ERR_KEY. */
sotto_status ckks_lintrans_find_keys(const ckks_lintrans *map,
                                     const rlwe_keyset *keys,
                                     const rlwe_switch_key **key,
                                     sotto_error *err) SOTTO_MUST_CHECK;

/* Rotations of all stages. */
size_t ckks_lintrans_count_rotations(const ckks_lintrans *map);

/* steps modulo the number of slots. */
uint64_t ckks_lintrans_modulo(int64_t steps, size_t slots);

/* What is rotated how often: all that a cost depends on. */
typedef struct ckks_lintrans_count {
    size_t n_lifted;    /* inputs with a rotated baby */
    size_t n_babies;    /* rotated inputs */
    size_t n_giants;    /* rotated sums */
    size_t n_diagonals; /* terms */
    size_t n_out;
} ckks_lintrans_count;

/* The cost of a stage by the rates. */
double ckks_lintrans_cost(const rlwe_context *context,
                          const rlwe_gadget *gadget, int from, int to,
                          ckks_hoisting hoisting,
                          const ckks_lintrans_count *count,
                          const ckks_lintrans_rates *rates);

/* Checks everything of a spec that ckks_lintrans_choose reads. */
sotto_status ckks_lintrans_check(const rlwe_context *context,
                                 const ckks_lintrans_spec *spec,
                                 sotto_error *err) SOTTO_MUST_CHECK;

#endif
