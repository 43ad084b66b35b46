/* SPDX-License-Identifier: MIT
 * Decoder: residues -> slots.
 *
 *   NTT^-1 -> balanced mixed radix -> doubles / scale -> embed_forward
 *
 * A lift from all limbs takes time quadratic in their number, a message only a
 * few of them. So digits are made from the lowest limb up, and limbs above a
 * digit that is 0 everywhere are not looked at (encode.h says when that is the
 * whole truth).
 */
#include <float.h>
#include <string.h>

#include "base/secret.h"
#include "ckks/encode_internal.h"
#include "ckks/round_internal.h"
#include "ntt/poly.h"

/* Coefficients that are worked on at once, in the first cache. */
#define COLUMNS ((size_t)1024)

/* A lift in progress. */
typedef struct lifter {
    const rns_ring *ring;
    const rns_set *set;
    uint64_t *digit; /* [limbs][stride]: digits so far, residues above */
} lifter;

/* Digit i in coefficients at … at + count from the residues x modulo q_i and
 * the digits before:
 *
 *   d_i = (x - Σ_(j<i) centre(d_j)·w_j) / w_i,  w_j = Π_(l<j) q_l   (mod q_i)
 *
 * Returns the bits that occur in any of them. */
static uint64_t make_digit(const lifter *lift, int i, size_t at, size_t count)
{
    const rns_limb *limb = &lift->ring->limb[lift->set->id[i]];
    const zq_modulus *mod = &limb->table->mod;
    uint64_t *const x = poly_limb(lift->ring, lift->digit, i) + at;
    _Alignas(64) uint64_t term[COLUMNS];
    uint64_t weight = 1;
    for (int j = 0; j < i; j++) {
        const uint64_t from = rns_modulus(lift->ring, lift->set->id[j])->q;
        const uint64_t next = zq_mul(weight, zq_reduce_u64(from, mod), mod);
        const ntt_convert one = {
            .k = 1, .from = &from, .factor = &weight, .product = next};
        const uint64_t *const d =
            poly_limb_const(lift->ring, lift->digit, j) + at;
        limb->kernels.convert(term, &d, &one, count, mod);
        if (j + 1 < i) {
            limb->kernels.sub(x, x, term, count, mod);
        } else {
            limb->kernels.sub_mul_scalar(x, x, term, zq_inv(next, mod), count,
                                         mod);
        }
        weight = next;
    }
    uint64_t bits = 0;
    for (size_t k = 0; k < count; k++) {
        bits |= x[k];
    }
    sotto_wipe(term, sizeof term);
    return bits;
}

/* Lifts the residues to (-Q/2, Q/2) as doubles.
 *
 *   V = Σ_i centre(d_i)·Π_(j<i) q_j   (unique: all moduli are odd)
 *
 * The terms are added from the smallest weight up. The last digit that is not 0
 * outweighs the sum of all before it by a factor of two at least, so the sum's
 * relative error is a few units of 2^-53. A weight beyond the range of doubles
 * stands for a digit that is 0 unless the ciphertext is wrong; the result then
 * is anything.
 *
 * When digit i is 0 in every coefficient, V = v (mod q_0 … q_i) with v from the
 * digits before, |v| < q_0 … q_(i-1)/2: either V = v, or the message is larger
 * than q_0 … q_i/2. The stop is not taken before the weight is twice the scale,
 * so that then some value is larger than q_i, and all coefficients hit the same
 * residue of it. */
static void lift_limbs(const ckks_encoder *encoder, const rlwe_context *context,
                       double *coefficient, uint64_t *phase,
                       ckks_phase_limb make, void *arg, double scale, int level)
{
    const size_t n = encoder->ring.n;
    const size_t columns = n < COLUMNS ? n : COLUMNS;
    const lifter lift = {.ring = context->ring,
                         .set = rlwe_level_set(context, level),
                         .digit = phase};
    double weight = 1;
    memset(coefficient, 0, n * sizeof *coefficient);
    for (int i = 0; i < lift.set->count; i++) {
        const rns_limb *limb = &lift.ring->limb[lift.set->id[i]];
        const uint64_t q = limb->table->mod.q;
        uint64_t *const x = poly_limb(lift.ring, phase, i);
        if (make != NULL) {
            make(arg, x, i);
        }
        limb->kernels.inverse(x, limb->table, 1);
        uint64_t bits = 0;
        for (size_t at = 0; at < n; at += columns) {
            bits |= make_digit(&lift, i, at, columns);
            encoder->kernels->add_digits(coefficient + at, x + at, weight,
                                         columns, q);
        }
        if (i > 0 && weight >= 2 * scale) {
            const bool is_zero = bits == 0;
            sotto_declassify(&is_zero, sizeof is_zero); /* see encode.h */
            if (is_zero) {
                break;
            }
        }
        weight = weight > DBL_MAX / (double)q ? DBL_MAX : weight * (double)q;
    }
}

void ckks_decode_limbs(const ckks_encoder *encoder, const rlwe_context *context,
                       double *re, double *im, size_t count, uint64_t *phase,
                       ckks_phase_limb make, void *arg, double scale, int level,
                       sotto_arena *arena)
{
    const size_t n = encoder->ring.n;
    const size_t n_slots = encoder->embed.n_slots;
    SOTTO_ASSERT(n == context->ring->ring.n);
    SOTTO_ASSERT(count <= n_slots);
    SOTTO_ASSERT(level >= 0 && level < context->chain.n_levels);
    SOTTO_ASSERT(ckks_is_scale(scale));
    const size_t mark = sotto_arena_mark(arena);
    double *coefficient = sotto_arena_take(arena, n, sizeof *coefficient);
    SOTTO_ASSERT(coefficient != NULL);

    lift_limbs(encoder, context, coefficient, phase, make, arg, scale, level);
    const double factor = 1 / scale;
    for (size_t k = 0; k < n; k++) {
        coefficient[k] *= factor;
    }
    encoder->kernels->forward(&encoder->embed, coefficient,
                              coefficient + n_slots);
    for (size_t j = 0; j < count; j++) {
        re[j] = coefficient[encoder->position[j]];
    }
    for (size_t j = 0; im != NULL && j < count; j++) {
        im[j] = coefficient[n_slots + encoder->position[j]];
    }
    sotto_arena_release(arena, mark);
}

void ckks_decode(const ckks_encoder *encoder, const rlwe_context *context,
                 double *re, double *im, size_t count, uint64_t *phase,
                 double scale, int level, sotto_arena *arena)
{
    ckks_decode_limbs(encoder, context, re, im, count, phase, NULL, NULL, scale,
                      level, arena);
}
