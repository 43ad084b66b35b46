/* SPDX-License-Identifier: MIT
 * Encoder: slots -> residues.
 *
 *   slots -> embed_inverse -> times scale -> rint -> residues -> NTT
 *
 * The three in the middle are one pass over the coefficients where these are
 * small.
 */
#include "ckks/encode.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/secret.h"
#include "ckks/encode_internal.h"
#include "ckks/round_internal.h"
#include "ntt/poly.h"

_Static_assert(FLT_EVAL_METHOD == 0, "doubles must not be widened");

/* Coefficients that are rounded and then reduced modulo all limbs, a piece that
 * stays in the first cache. */
#define PIECE ((size_t)1024)

sotto_status ckks_encoder_new(ckks_encoder **encoder,
                              const rlwe_context *context, sotto_error *err)
{
    *encoder = NULL;
    ntt_backend cap;
    SOTTO_TRY(ntt_backend_cap(&cap, err));
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
    made->kernels = ckks_kernels_choose(cap);
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

/* Fails when one of the values is not finite. */
static sotto_status check_values(const ckks_kernels *kernels, const double *x,
                                 size_t count, const char *part,
                                 sotto_error *err)
{
    if (x == NULL) {
        return SOTTO_OK;
    }
    const bool is_finite = kernels->largest(x, count) <= DBL_MAX;
    sotto_declassify(&is_finite, sizeof is_finite); /* becomes the status */
    if (is_finite) {
        return SOTTO_OK;
    }
    sotto_declassify(x, count * sizeof *x); /* one is told in the message */
    size_t at = 0;
    while (at + 1 < count && fabs(x[at]) <= DBL_MAX) {
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

/* Slots -> real coefficients times n_slots, in coefficient[N]. */
static void embed(const ckks_encoder *encoder, double *coefficient,
                  const double *re, const double *im, size_t count)
{
    const size_t n_slots = encoder->embed.n_slots;
    double *const part_re = coefficient;
    double *const part_im = coefficient + n_slots;
    memset(coefficient, 0, 2 * n_slots * sizeof *coefficient);
    for (size_t j = 0; j < count; j++) {
        part_re[encoder->position[j]] = re[j];
    }
    for (size_t j = 0; im != NULL && j < count; j++) {
        part_im[encoder->position[j]] = im[j];
    }
    encoder->kernels->inverse(&encoder->embed, part_re, part_im);
}

/* Embeds into message->coefficient; the bound is left to the caller. */
static sotto_status embed_values(ckks_embedded *message,
                                 const ckks_encoder *encoder, const double *re,
                                 const double *im, size_t count, double scale,
                                 sotto_error *err)
{
    const size_t n = encoder->ring.n;
    SOTTO_ASSERT(count <= n / 2);
    SOTTO_TRY(check_scale(scale, err));
    SOTTO_TRY(check_values(encoder->kernels, re, count, "real", err));
    SOTTO_TRY(check_values(encoder->kernels, im, count, "imaginary", err));
    embed(encoder, message->coefficient, re, im, count);
    /* n_slots is a power of two: the quotient is exact. */
    message->factor = scale / (double)encoder->embed.n_slots;
    /* Rounding keeps the order: the largest product is that of the largest. */
    message->largest =
        encoder->kernels->largest(message->coefficient, n) * message->factor;
    return SOTTO_OK;
}

sotto_status ckks_embed_message(ckks_embedded *message,
                                const ckks_encoder *encoder,
                                const rlwe_context *context, const double *re,
                                const double *im, size_t count, double scale,
                                int level, sotto_arena *arena, sotto_error *err)
{
    const size_t n = encoder->ring.n;
    SOTTO_ASSERT(n == context->ring->ring.n);
    SOTTO_ASSERT(level >= 0 && level < context->chain.n_levels);
    message->coefficient =
        sotto_arena_take(arena, n, sizeof *message->coefficient);
    SOTTO_ASSERT(message->coefficient != NULL);
    SOTTO_TRY(embed_values(message, encoder, re, im, count, scale, err));
    message->bound = ckks_half_modulus(context, level);
    return check_bound(message->largest, message->bound, level, err);
}

/* Coefficients times factor, in place. */
static void scale_up(ckks_embedded *message, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        message->coefficient[i] *= message->factor;
    }
    message->factor = 1;
}

/* Rounds coefficients to residues by way of words, any size. Words have room
 * for the error: the lowest is at most 2^50 where it is the only one, else
 * 2^47, plus 2^51. */
static void reduce_words(const rlwe_context *context, uint64_t *out,
                         const double *coefficient, const int8_t *error,
                         int n_words, int level)
{
    const rns_ring *ring = context->ring;
    const rns_set *set = rlwe_level_set(context, level);
    uint64_t word[CKKS_MAX_WORDS][CKKS_ROUND_BLOCK];
    for (size_t at = 0; at < ring->ring.n; at += CKKS_ROUND_BLOCK) {
        ckks_round_cut(word, n_words, coefficient + at, CKKS_ROUND_BLOCK);
        for (size_t k = 0; error != NULL && k < CKKS_ROUND_BLOCK; k++) {
            word[0][k] += (uint64_t)error[at + k];
        }
        for (int i = 0; i < set->count; i++) {
            ckks_round_reduce(poly_limb(ring, out, i) + at,
                              rns_modulus(ring, set->id[i]), word, n_words,
                              CKKS_ROUND_BLOCK);
        }
    }
    sotto_wipe(word, sizeof word);
}

/* Rounds coefficients that fit one word, piece by piece, in place. */
static void reduce_small(const ckks_kernels *kernels, const rns_ring *ring,
                         const rns_set *set, uint64_t *out,
                         const ckks_embedded *message, const int8_t *error)
{
    const size_t n = ring->ring.n;
    const size_t piece = n < PIECE ? n : PIECE;
    for (size_t at = 0; at < n; at += piece) {
        double *const y = message->coefficient + at;
        kernels->round(y, y, message->factor, error ? error + at : NULL, piece);
        for (int i = 0; i < set->count; i++) {
            kernels->reduce(poly_limb(ring, out, i) + at, y, piece,
                            rns_modulus(ring, set->id[i]));
        }
    }
}

void ckks_embedded_reduce(const ckks_encoder *encoder,
                          const rlwe_context *context, uint64_t *out,
                          ckks_embedded *message, const int8_t *error,
                          int level)
{
    const rns_ring *ring = context->ring;
    const rns_set *set = rlwe_level_set(context, level);
    /* Small coefficients, as those of images are, take one pass. */
    bool is_small = message->largest < CKKS_ROUND_ONE_WORD;
    sotto_declassify(&is_small, sizeof is_small); /* one bit, see encode.h */
    const int n_words = is_small ? 1 : ckks_round_words(message->bound);
    for (int i = 0; i < set->count; i++) {
        is_small = is_small && rns_modulus(ring, set->id[i])->bits <= 50;
    }
    if (is_small) {
        reduce_small(encoder->kernels, ring, set, out, message, error);
    } else {
        scale_up(message, ring->ring.n);
        reduce_words(context, out, message->coefficient, error, n_words, level);
    }
}

sotto_status ckks_encode_coefficients(const ckks_encoder *encoder,
                                      const rlwe_context *context,
                                      uint64_t *out, const double *re,
                                      const double *im, size_t count,
                                      double scale, int level,
                                      sotto_arena *arena, sotto_error *err)
{
    const size_t mark = sotto_arena_mark(arena);
    ckks_embedded message;
    const sotto_status status = ckks_embed_message(
        &message, encoder, context, re, im, count, scale, level, arena, err);
    if (status == SOTTO_OK) {
        ckks_embedded_reduce(encoder, context, out, &message, NULL, level);
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
    SOTTO_ASSERT(level >= 0 && level < context->chain.n_levels);
    ckks_embedded message = {.coefficient = out};
    SOTTO_TRY(embed_values(&message, encoder, re, NULL, count, scale, err));
    scale_up(&message, encoder->ring.n);
    return check_bound(message.largest, ckks_half_modulus(context, level),
                       level, err);
}

sotto_status ckks_encode_constant(const rlwe_context *context, uint64_t *out,
                                  double value, double scale, int level,
                                  sotto_error *err)
{
    SOTTO_ASSERT(level >= 0 && level < context->chain.n_levels);
    SOTTO_TRY(check_scale(scale, err));
    SOTTO_TRY(check_values(&ckks_kernels_portable, &value, 1, "real", err));
    const double bound = ckks_half_modulus(context, level);
    const double product = value * scale;
    SOTTO_TRY(check_bound(fabs(product), bound, level, err));
    const rns_set *set = rlwe_level_set(context, level);
    const int n_words = ckks_round_words(bound);
    for (int i = 0; i < set->count; i++) {
        out[i] = ckks_round_one(product, rns_modulus(context->ring, set->id[i]),
                                n_words);
    }
    return SOTTO_OK;
}
