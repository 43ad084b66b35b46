/* SPDX-License-Identifier: MIT
 * Encoder: slots <-> residues.
 *
 *   encode   slots -> embed_inverse -> times scale -> rint -> residues -> NTT
 *   decode   NTT^-1 -> balanced mixed radix -> doubles / scale -> embed_forward
 */
#include "ckks/encode.h"

#include <float.h>
#include <stdbool.h>
#include <string.h>

#include "base/secret.h"
#include "ckks/embed_internal.h"
#include "ckks/round_internal.h"
#include "ntt/poly.h"

_Static_assert(FLT_EVAL_METHOD == 0, "doubles must not be widened");

struct ckks_encoder {
    ntt_ring ring;
    ckks_embed embed;
    uint32_t *position; /* [n_slots]: where slot j stands in the transform */
};

sotto_status ckks_encoder_new(ckks_encoder **encoder,
                              const rlwe_context *context, sotto_error *err)
{
    *encoder = NULL;
    const ntt_ring *ring = &context->ring->ring;
    const size_t n_slots = ntt_ring_slots(ring);
    ckks_encoder *made = sotto_calloc(1, sizeof *made);
    uint32_t *position = sotto_calloc(n_slots, sizeof *position);
    if (!made || !position) {
        sotto_free(made);
        sotto_free(position);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "encoder: no memory for %zu slots", n_slots);
    }
    made->ring = *ring;
    made->position = position;
    const sotto_status status = ckks_embed_init(&made->embed, ring, err);
    if (status != SOTTO_OK) {
        ckks_encoder_free(made);
        return status;
    }
    /* Slot j is the value at zeta^(5^j); position p has exponent 4·brv(p) + 1,
     * and 5^j ≡ 1 mod 4. */
    const uint64_t order = ntt_ring_root_order(ring);
    uint64_t exponent = 1;
    for (size_t j = 0; j < n_slots; j++) {
        position[j] =
            (uint32_t)ntt_bit_reverse(exponent / 4, made->embed.log2_slots);
        exponent = exponent * 5 & (order - 1);
    }
    *encoder = made;
    return SOTTO_OK;
}

void ckks_encoder_free(ckks_encoder *encoder)
{
    if (encoder) {
        ckks_embed_clear(&encoder->embed);
        sotto_free(encoder->position);
        sotto_free(encoder);
    }
}

size_t ckks_encode_scratch(const rlwe_context *context)
{
    return sotto_arena_need(context->ring->ring.n, sizeof(double));
}

/* The larger of two numbers below 2^63, without a branch. */
static uint64_t max_u63(uint64_t a, uint64_t b)
{
    const uint64_t a_is_less = zq_sign_mask(a - b);
    return a ^ ((a ^ b) & a_is_less);
}

/* The largest magnitude among count doubles; not finite if one is not: bits
 * without the sign order like magnitudes, infinities and NaN above all. */
static double largest_magnitude(const double *x, size_t count)
{
    uint64_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        largest = max_u63(largest, bits & (UINT64_MAX >> 1));
    }
    double result;
    memcpy(&result, &largest, sizeof result);
    return result;
}

/* Fails when one of the values is not finite. */
static sotto_status check_values(const double *x, size_t count,
                                 const char *part, sotto_error *err)
{
    if (x == NULL) {
        return SOTTO_OK;
    }
    const bool is_finite = largest_magnitude(x, count) <= DBL_MAX;
    sotto_declassify(&is_finite, sizeof is_finite); /* becomes the status */
    if (is_finite) {
        return SOTTO_OK;
    }
    sotto_declassify(x, count * sizeof *x); /* one is told in the message */
    size_t at = 0;
    while (at + 1 < count && largest_magnitude(&x[at], 1) <= DBL_MAX) {
        at++;
    }
    return sotto_fail(err, SOTTO_ERR_RANGE,
                      "encode: the %s part of slot %zu is %g; every value "
                      "must be a finite number",
                      part, at, x[at]);
}

static sotto_status check_scale(double scale, sotto_error *err)
{
    if (!ckks_is_scale(scale)) {
        return sotto_fail(err, SOTTO_ERR_SCALE,
                          "encode: the scale is %g; it must be a finite "
                          "number above 0",
                          scale);
    }
    return SOTTO_OK;
}

/* Fails when a coefficient reaches half the modulus, or is no number. */
static sotto_status check_bound(double magnitude, double bound, int level,
                                sotto_error *err)
{
    const bool fits = magnitude < bound;
    sotto_declassify(&fits, sizeof fits); /* becomes the status */
    if (fits) {
        return SOTTO_OK;
    }
    sotto_declassify(&magnitude, sizeof magnitude); /* is told */
    return sotto_fail(err, SOTTO_ERR_RANGE,
                      "encode: a coefficient is %g, but at level %d it must "
                      "stay below %g (half the modulus); use a smaller scale, "
                      "smaller values, or a level with more limbs",
                      magnitude, level, bound);
}

/* A bound of the coefficients that decides how many words they are cut into:
 * one word where all are small, as those of images are, else what the modulus
 * allows. */
static double coarse_bound(double largest, double modulus_bound)
{
    const bool is_small = largest < CKKS_ROUND_ONE_WORD;
    sotto_declassify(&is_small, sizeof is_small); /* one bit, see encode.h */
    return is_small ? CKKS_ROUND_ONE_WORD : modulus_bound;
}

/* Slots -> real coefficients times scale, in coefficient[N]. */
static void embed_scaled(const ckks_encoder *encoder, double *coefficient,
                         const double *re, const double *im, size_t count,
                         double scale)
{
    const size_t n_slots = encoder->embed.n_slots;
    double *const part_re = coefficient;
    double *const part_im = coefficient + n_slots;
    for (size_t i = 0; i < 2 * n_slots; i++) {
        coefficient[i] = 0;
    }
    for (size_t j = 0; j < count; j++) {
        part_re[encoder->position[j]] = re[j];
    }
    for (size_t j = 0; im != NULL && j < count; j++) {
        part_im[encoder->position[j]] = im[j];
    }
    ckks_embed_inverse(&encoder->embed, part_re, part_im);
    const double factor = scale / (double)n_slots; /* a power of two: exact */
    for (size_t i = 0; i < 2 * n_slots; i++) {
        coefficient[i] *= factor;
    }
}

/* Rounds coefficients to residues by way of words, any size. */
static void reduce_words(const rlwe_context *context, uint64_t *out,
                         const double *coefficient, int n_words, int level)
{
    const rns_ring *ring = context->ring;
    const rns_set *set = rlwe_level_set(context, level);
    uint64_t word[CKKS_MAX_WORDS][CKKS_ROUND_BLOCK];
    for (size_t at = 0; at < ring->ring.n; at += CKKS_ROUND_BLOCK) {
        ckks_round_cut(word, n_words, coefficient + at, CKKS_ROUND_BLOCK);
        for (int i = 0; i < set->count; i++) {
            ckks_round_reduce(poly_limb(ring, out, i) + at,
                              rns_modulus(ring, set->id[i]), word, n_words,
                              CKKS_ROUND_BLOCK);
        }
    }
    sotto_wipe(word, sizeof word);
}

/* Rounds the coefficients to residues. */
static void reduce(const rlwe_context *context, uint64_t *out,
                   const double *coefficient, double bound, int level)
{
    const rns_ring *ring = context->ring;
    const rns_set *set = rlwe_level_set(context, level);
    bool is_small = bound <= CKKS_ROUND_ONE_WORD;
    for (int i = 0; i < set->count; i++) {
        is_small = is_small && rns_modulus(ring, set->id[i])->bits <= 50;
    }
    if (is_small) {
        for (int i = 0; i < set->count; i++) {
            ckks_round_small(poly_limb(ring, out, i),
                             rns_modulus(ring, set->id[i]), coefficient,
                             ring->ring.n);
        }
    } else {
        reduce_words(context, out, coefficient, ckks_round_words(bound), level);
    }
}

sotto_status ckks_encode_coefficients(const ckks_encoder *encoder,
                                      const rlwe_context *context,
                                      uint64_t *out, const double *re,
                                      const double *im, size_t count,
                                      double scale, int level,
                                      sotto_arena *arena, sotto_error *err)
{
    const size_t n = encoder->ring.n;
    SOTTO_ASSERT(n == context->ring->ring.n);
    SOTTO_ASSERT(count <= n / 2);
    SOTTO_ASSERT(level >= 0 && level < context->chain.n_levels);
    SOTTO_TRY(check_scale(scale, err));
    SOTTO_TRY(check_values(re, count, "real", err));
    SOTTO_TRY(check_values(im, count, "imaginary", err));

    const size_t mark = sotto_arena_mark(arena);
    double *coefficient = sotto_arena_take(arena, n, sizeof *coefficient);
    SOTTO_ASSERT(coefficient != NULL);
    embed_scaled(encoder, coefficient, re, im, count, scale);
    const double bound = ckks_half_modulus(context, level);
    const double largest = largest_magnitude(coefficient, n);
    const sotto_status status = check_bound(largest, bound, level, err);
    if (status == SOTTO_OK) {
        reduce(context, out, coefficient, coarse_bound(largest, bound), level);
    }
    sotto_arena_release(arena, mark);
    return status;
}

sotto_status ckks_encode(const ckks_encoder *encoder,
                         const rlwe_context *context, uint64_t *out,
                         const double *re, const double *im, size_t count,
                         double scale, int level, sotto_arena *arena,
                         sotto_error *err)
{
    SOTTO_TRY(ckks_encode_coefficients(encoder, context, out, re, im, count,
                                       scale, level, arena, err));
    poly_forward(context->ring, rlwe_level_set(context, level), out);
    return SOTTO_OK;
}

sotto_status ckks_encode_scaled(const ckks_encoder *encoder,
                                const rlwe_context *context, double *out,
                                const double *re, size_t count, double scale,
                                int level, sotto_error *err)
{
    SOTTO_ASSERT(count <= encoder->ring.n / 2);
    SOTTO_ASSERT(level >= 0 && level < context->chain.n_levels);
    SOTTO_TRY(check_scale(scale, err));
    SOTTO_TRY(check_values(re, count, "real", err));
    embed_scaled(encoder, out, re, NULL, count, scale);
    return check_bound(largest_magnitude(out, encoder->ring.n),
                       ckks_half_modulus(context, level), level, err);
}

sotto_status ckks_encode_constant(const rlwe_context *context, uint64_t *out,
                                  double value, double scale, int level,
                                  sotto_error *err)
{
    SOTTO_ASSERT(level >= 0 && level < context->chain.n_levels);
    SOTTO_TRY(check_scale(scale, err));
    SOTTO_TRY(check_values(&value, 1, "real", err));
    const double bound = ckks_half_modulus(context, level);
    const double product = value * scale;
    SOTTO_TRY(check_bound(largest_magnitude(&product, 1), bound, level, err));
    const rns_set *set = rlwe_level_set(context, level);
    const int n_words = ckks_round_words(bound);
    for (int i = 0; i < set->count; i++) {
        out[i] = ckks_round_one(product, rns_modulus(context->ring, set->id[i]),
                                n_words);
    }
    return SOTTO_OK;
}

/* One step of the mixed radix lift in every coefficient: the digit d of an
 * earlier modulus leaves the residue x, (x - centre(d)) / q_earlier mod q. */
static void remove_digit(uint64_t *x, const uint64_t *d, size_t n,
                         const zq_modulus *mod, const zq_modulus *earlier)
{
    const uint64_t inverse = zq_inv(zq_reduce_u64(earlier->q, mod), mod);
    const uint64_t inverse_shoup = zq_shoup(inverse, mod);
    for (size_t k = 0; k < n; k++) {
        const uint64_t digit = zq_from_i64(zq_centre(d[k], earlier->q), mod);
        x[k] = zq_mul_shoup(zq_sub(x[k], digit, mod->q), inverse, inverse_shoup,
                            mod->q);
    }
}

/* Lifts the residues to (-Q/2, Q/2) as doubles, divided by scale.
 *
 *   V = Σ_i centre(d_i)·Π_(j<i) q_j   (unique: all moduli are odd)
 *
 * The residues in phase become the digits d_i. The terms are added from the
 * smallest weight up. The last digit that is not 0 outweighs the sum of all
 * before it by a factor of two at least, so the sum's relative error is a few
 * units of 2^-53. A weight beyond the range of doubles stands for a digit that
 * is 0 unless the ciphertext is wrong; the result then is anything. */
static void lift(const rlwe_context *context, double *coefficient,
                 uint64_t *phase, double scale, int level)
{
    const rns_ring *ring = context->ring;
    const rns_set *set = rlwe_level_set(context, level);
    const size_t n = ring->ring.n;
    double weight = 1;
    for (size_t k = 0; k < n; k++) {
        coefficient[k] = 0;
    }
    for (int i = 0; i < set->count; i++) {
        const zq_modulus *mod = rns_modulus(ring, set->id[i]);
        uint64_t *const x = poly_limb(ring, phase, i);
        for (int j = 0; j < i; j++) {
            remove_digit(x, poly_limb_const(ring, phase, j), n, mod,
                         rns_modulus(ring, set->id[j]));
        }
        for (size_t k = 0; k < n; k++) {
            coefficient[k] += (double)zq_centre(x[k], mod->q) * weight;
        }
        const double q = (double)mod->q;
        weight = weight > DBL_MAX / q ? DBL_MAX : weight * q;
    }
    const double factor = 1 / scale;
    for (size_t k = 0; k < n; k++) {
        coefficient[k] *= factor;
    }
}

void ckks_decode(const ckks_encoder *encoder, const rlwe_context *context,
                 double *re, double *im, size_t count, uint64_t *phase,
                 double scale, int level, sotto_arena *arena)
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

    poly_inverse(context->ring, rlwe_level_set(context, level), phase);
    lift(context, coefficient, phase, scale, level);
    ckks_embed_forward(&encoder->embed, coefficient, coefficient + n_slots);
    for (size_t j = 0; j < count; j++) {
        re[j] = coefficient[encoder->position[j]];
    }
    for (size_t j = 0; im != NULL && j < count; j++) {
        im[j] = coefficient[n_slots + encoder->position[j]];
    }
    sotto_arena_release(arena, mark);
}
