/* SPDX-License-Identifier: MIT
 * Running a stage of a linear map: its data, and the units of its phases.
 *
 * A unit is one call with a number; it writes its own part of the scratch
 * memory and reads what earlier phases wrote. room: the scratch memory of a
 * worker.
 */
#ifndef SOTTO_CKKS_LINTRANS_RUN_INTERNAL_H
#define SOTTO_CKKS_LINTRANS_RUN_INTERNAL_H

#include "ckks/lintrans_internal.h"
#include "ntt/poly.h"

/* A run: the stage, its data, and scratch memory. A limb is `stride` words. */
typedef struct ckks_lintrans_run {
    const ckks_lintrans_stage *stage;
    const rns_ring *ring;
    ckks_ct *const *out;
    const ckks_ct *const *in;
    const rlwe_switch_key *const *key;
    bool giants;       /* what is decomposed: rotated sums, not inputs */
    uint64_t *scaled;  /* [lifted][limbs], digit by digit, coefficients */
    uint64_t *digits;  /* [lifted][all][digit] */
    uint64_t *rotated; /* single hoisting: [stored][2][all] */
    uint64_t *sums;    /* [group][2][sum] */
    uint64_t *special; /* […][special]: what a ModDown divides away */
    uint64_t *second;  /* [rotated group][limbs]: second halves, divided */
    uint64_t *acc;     /* [out][2][acc]; is sums where no sum is rotated */
    uint64_t *removed; /* [out][2][acc \ keep] */
    uint64_t *room;    /* [worker][room_words] */
    size_t room_words;
    size_t row; /* words from row to row of a room */
} ckks_lintrans_run;

/* Moduli of the level of the inputs. */
static inline int level_count(const ckks_lintrans_stage *stage)
{
    return rlwe_level_set(stage->context, stage->from)->count;
}

/* Special moduli; 0 where nothing is rotated. */
static inline int special_count(const ckks_lintrans_stage *stage)
{
    return stage->all.count - level_count(stage);
}

/* Limb i of the polynomial number p of an array with `count` limbs each. */
static inline uint64_t *limb_of(const ckks_lintrans_run *r, uint64_t *array,
                                size_t p, int count, int i)
{
    return array + (p * (size_t)count + (size_t)i) * r->ring->stride;
}

/* Polynomials that are decomposed. */
static inline size_t lifted_count(const ckks_lintrans_run *r)
{
    return r->giants ? r->stage->n_rotated : r->stage->n_lifted;
}

/* Limb i of the level of what is decomposed. */
static inline const uint64_t *lifted_limb(const ckks_lintrans_run *r,
                                          size_t lifted, int i)
{
    const ckks_lintrans_stage *stage = r->stage;
    if (r->giants) {
        return limb_of(r, r->second, lifted, level_count(stage), i);
    }
    const ckks_ct *ct = r->in[stage->lifted_in[lifted]];
    return poly_limb_const(r->ring,
                           rlwe_ct_component(&ct->ct, stage->context, 1), i);
}

/* Digit d modulo the m-th of all moduli. */
static inline const uint64_t *digit_limb(const ckks_lintrans_run *r,
                                         size_t lifted, int m, int d)
{
    const ckks_lintrans_stage *stage = r->stage;
    if (stage->own[m] == d) {
        return lifted_limb(r, lifted, stage->at[m]); /* the lift is x there */
    }
    return limb_of(r, r->digits, lifted * (size_t)stage->all.count + (size_t)m,
                   stage->n_digits, d);
}

/* The m-th modulus of a set, with its tables. */
static inline const rns_limb *modulus_of(const ckks_lintrans_run *r,
                                         const rns_set *set, int m)
{
    return &r->ring->limb[set->id[m]];
}

/* Words of a room that products take; transforms take a limb. */
size_t ckks_lintrans_sum_room(const ckks_lintrans_run *r);

/* ---- Units of transforms (lintrans_units.c) ------------------------------ */

/* Inverse transform of a limb to decompose.
 * unit = lifted · limbs + place in the order of digits */
void ckks_lintrans_unit_scale(ckks_lintrans_run *r, size_t unit,
                              uint64_t *room);

/* One digit modulo one modulus.  unit = (lifted · all + m) · digits + d */
void ckks_lintrans_unit_lift(ckks_lintrans_run *r, size_t unit, uint64_t *room);

/* Single hoisting: special moduli of a rotated input to coefficients.
 * unit = half of a rotated input × special modulus */
void ckks_lintrans_unit_rotate_special(ckks_lintrans_run *r, size_t unit,
                                       uint64_t *room);

/* … and its division, in place.  unit = half of a rotated input × limb */
void ckks_lintrans_unit_rotate_divide(ckks_lintrans_run *r, size_t unit,
                                      uint64_t *room);

/* Double hoisting: special moduli of the second half of a rotated sum.
 * unit = rotated sum × special modulus */
void ckks_lintrans_unit_giant_special(ckks_lintrans_run *r, size_t unit,
                                      uint64_t *room);

/* The second half of a rotated sum at the level.  unit = rotated sum × limb */
void ckks_lintrans_unit_giant_second(ckks_lintrans_run *r, size_t unit,
                                     uint64_t *room);

/* What the last division removes, to coefficients.
 * unit = half of an output × modulus that is removed */
void ckks_lintrans_unit_removed(ckks_lintrans_run *r, size_t unit,
                                uint64_t *room);

/* The last division, bias.  unit = half of an output × modulus that stays */
void ckks_lintrans_unit_finish(ckks_lintrans_run *r, size_t unit,
                               uint64_t *room);

/* ---- Units of products (lintrans_products.c) ----------------------------- */

/* Single hoisting: all rotated inputs, undivided.  unit = modulus × columns */
void ckks_lintrans_unit_rotate(ckks_lintrans_run *r, size_t unit,
                               uint64_t *room);

/* All sums (double hoisting: after rotating the inputs).
 * unit = modulus of sums × columns */
void ckks_lintrans_unit_sum(ckks_lintrans_run *r, size_t unit, uint64_t *room);

/* The rotated sums of an output, added up.
 * unit = output × modulus × columns */
void ckks_lintrans_unit_collect(ckks_lintrans_run *r, size_t unit,
                                uint64_t *room);

#endif
