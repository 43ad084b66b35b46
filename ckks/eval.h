/* SPDX-License-Identifier: MIT
 * Evaluation on ciphertexts, with exact scales.
 *
 * An evaluator belongs to one thread at a time: it holds scratch memory and the
 * message of the last error. It never allocates and needs public keys only.
 * Every ciphertext carries its exact scale; nothing is relabelled. Additions
 * demand equal scales to 2^-40 relative: a mismatch is an error, not a guess.
 *
 * Outputs are initialised ciphertexts with enough capacity; they may be exactly
 * an input. On error outputs are unchanged.
 */
#ifndef SOTTO_CKKS_EVAL_H
#define SOTTO_CKKS_EVAL_H

#include "base/mem.h"
#include "base/status.h"
#include "ckks/crypt.h"
#include "rlwe/keyswitch.h"

/* An evaluator. `error` holds operation, have, need, after a failure. */
typedef struct ckks_evaluator {
    const rlwe_context *context; /* borrowed */
    const rlwe_keyset *keys;     /* borrowed; NULL: no keys */
    sotto_arena arena;
    uint32_t *map; /* [n]: automorphism scratch */
    sotto_error error;
} ckks_evaluator;

/* Makes an evaluator. keys may be NULL. error: SOTTO_ERR_MEMORY.
 * owner: the caller, ckks_evaluator_free. */
sotto_status ckks_evaluator_new(ckks_evaluator **evaluator,
                                const rlwe_context *context,
                                const rlwe_keyset *keys,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void ckks_evaluator_free(ckks_evaluator *evaluator);

/* out = a + b. level: the same; components: the larger number.
 * scale: equal. error: SOTTO_ERR_LEVEL, SOTTO_ERR_SCALE, SOTTO_ERR_MISMATCH
 * (other key). */
sotto_status ckks_add(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                      const ckks_ct *b) SOTTO_MUST_CHECK;

/* out = a - b. As ckks_add. */
sotto_status ckks_sub(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                      const ckks_ct *b) SOTTO_MUST_CHECK;

/* out = -a. */
sotto_status ckks_negate(ckks_evaluator *ev, ckks_ct *out,
                         const ckks_ct *a) SOTTO_MUST_CHECK;

/* out = a + plain, a polynomial encoded at a's level and scale.
 * shape: plain uint64_t[limbs][stride], NTT domain. */
sotto_status ckks_add_plain(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                            const uint64_t *plain) SOTTO_MUST_CHECK;

/* out = a + value in every slot, encoded at a's scale. */
sotto_status ckks_add_constant(ckks_evaluator *ev, ckks_ct *out,
                               const ckks_ct *a, double value) SOTTO_MUST_CHECK;

/* out = a · plain; scale: a.scale · plain_scale. */
sotto_status ckks_mul_plain(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                            const uint64_t *plain,
                            double plain_scale) SOTTO_MUST_CHECK;

/* out = a · round(value·factor_scale); scale: a.scale · factor_scale. */
sotto_status ckks_mul_constant(ckks_evaluator *ev, ckks_ct *out,
                               const ckks_ct *a, double value,
                               double factor_scale) SOTTO_MUST_CHECK;

/* out = a · b without relinearisation; components: na + nb - 1 <= 5;
 * scale: product. error: SOTTO_ERR_LEVEL (levels differ), SOTTO_ERR_PARAM (too
 * many components), SOTTO_ERR_SCALE (the product reaches the modulus). */
sotto_status ckks_mul(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                      const ckks_ct *b) SOTTO_MUST_CHECK;

/* out = a² without relinearisation; cheaper than ckks_mul. */
sotto_status ckks_square(ckks_evaluator *ev, ckks_ct *out,
                         const ckks_ct *a) SOTTO_MUST_CHECK;

/* Brings 3, 4 or 5 components back to 2 (2 are copied). All keys used have the
 * same gadget. error: SOTTO_ERR_KEY naming the
 * missing power, level, and the keys that exist. */
sotto_status ckks_relinearise(ckks_evaluator *ev, ckks_ct *out,
                              const ckks_ct *a) SOTTO_MUST_CHECK;

/* Divides by the moduli that `level` lacks; scale: a.scale / divisor.
 * Any number of components. error: SOTTO_ERR_LEVEL when the step is not one of
 * the chain. */
sotto_status ckks_rescale(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                          int level) SOTTO_MUST_CHECK;

/* Relinearise and rescale with one division by P·q. The bits differ from
 * ckks_relinearise then ckks_rescale by the rounding (SPEC §5.4); 2 components
 * are just rescaled. error: as both. */
sotto_status ckks_relinearise_rescale(ckks_evaluator *ev, ckks_ct *out,
                                      const ckks_ct *a,
                                      int level) SOTTO_MUST_CHECK;

/* Drops to a lower level without dividing; scale unchanged. */
sotto_status ckks_drop(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                       int level) SOTTO_MUST_CHECK;

/* Rotates the slots by `steps` to the left (slot j receives slot j + steps);
 * a multiple of the number of slots is a copy and needs no key.
 * error: SOTTO_ERR_PARAM unless there are 2 components; SOTTO_ERR_KEY naming
 * the Galois element, the level and the rotations that the keys allow. */
sotto_status ckks_rotate(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                         int64_t steps) SOTTO_MUST_CHECK;

/* The Galois element of the key that a rotation by `steps` to the left takes
 * in a ring of degree 2^log2_n. */
uint64_t ckks_rotation_galois(int log2_n, int64_t steps);

/* Rotates one ciphertext by n different steps: out[i] is a rotated by steps[i],
 * bit for bit what ckks_rotate makes. The digits of `a` are lifted once for all
 * (hoisting); with many steps that is most of the work.
 * alias: outputs are different ciphertexts and none of them is a.
 * scratch: ckks_rotate_many_scratch bytes of arena. error: as ckks_rotate, for
 * the first step that has no key; outputs are then unchanged. */
sotto_status ckks_rotate_many(ckks_evaluator *ev, ckks_ct *const *out,
                              const ckks_ct *a, const int64_t *steps, size_t n,
                              sotto_arena *arena) SOTTO_MUST_CHECK;

/* Bytes of arena for ckks_rotate_many with the keys of an evaluator. */
size_t ckks_rotate_many_scratch(const ckks_evaluator *ev);

/* Complex conjugate of every slot. As ckks_rotate. */
sotto_status ckks_conjugate(ckks_evaluator *ev, ckks_ct *out,
                            const ckks_ct *a) SOTTO_MUST_CHECK;

#endif
