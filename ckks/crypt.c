/* SPDX-License-Identifier: MIT
 * Encode and encrypt, decrypt and decode, estimate the noise.
 */
#include "ckks/crypt.h"

#include <math.h>
#include <string.h>

#include "base/secret.h"
#include "ckks/encode_internal.h"
#include "ckks/round_internal.h"
#include "ntt/poly.h"

sotto_status ckks_ct_init(ckks_ct *ct, const rlwe_context *context, int level,
                          int n_components, sotto_error *err)
{
    ct->scale = 1;
    return rlwe_ct_init(&ct->ct, context, level, n_components, err);
}

void ckks_ct_clear(ckks_ct *ct)
{
    rlwe_ct_clear(&ct->ct);
    ct->scale = 1;
}

size_t ckks_crypt_scratch(const rlwe_context *context)
{
    const size_t message =
        sotto_arena_need(rlwe_level_words(context, 0), sizeof(uint64_t));
    /* real and imaginary parts; one more for ckks_noise_measure */
    const size_t slots =
        3 *
        sotto_arena_need(ntt_ring_slots(&context->ring->ring), sizeof(double));
    /* Encryption holds an embedded message, and the error, beside its own. */
    const size_t encode = ckks_encode_scratch(context);
    const size_t encrypt =
        rlwe_encrypt_scratch(context) +
        sotto_arena_need(context->ring->ring.n, sizeof(int8_t));
    return message + encode + (slots > encrypt ? slots : encrypt);
}

/* Takes a polynomial of `level` from the arena. */
static uint64_t *take_poly(const rlwe_context *context, int level,
                           sotto_arena *arena)
{
    uint64_t *poly =
        sotto_arena_take(arena, rlwe_level_words(context, level), sizeof *poly);
    SOTTO_ASSERT(poly != NULL);
    return poly;
}

/* Adds an encoded message to a fresh encryption of zero. */
static void add_message(ckks_ct *out, const rlwe_context *context,
                        uint64_t *message, double scale)
{
    uint64_t *const c0 = rlwe_ct_component(&out->ct, context, 0);
    const rns_set *set = rlwe_level_set(context, out->ct.level);
    poly_add(context->ring, set, c0, c0, message);
    /* A ciphertext is public: that it tells nothing is what encryption is. */
    sotto_declassify(c0, poly_words(context->ring, set->count) * sizeof *c0);
    out->scale = scale;
}

sotto_status ckks_encrypt(ckks_ct *out, const ckks_encoder *encoder,
                          const rlwe_context *context,
                          const rlwe_secret *secret, const double *re,
                          size_t count, double scale, int level,
                          const sotto_seed *root, uint64_t object,
                          uint32_t index, sotto_arena *arena, sotto_error *err)
{
    const size_t mark = sotto_arena_mark(arena);
    const size_t n = context->ring->ring.n;
    int8_t *error = sotto_arena_take(arena, n, sizeof *error);
    SOTTO_ASSERT(error != NULL);
    ckks_embedded message;
    sotto_status status = ckks_embed_message(
        &message, encoder, context, re, NULL, count, scale, level, arena, err);
    if (status == SOTTO_OK) {
        status = rlwe_encrypt_begin(&out->ct, error, context, secret, level,
                                    root, object, index, err);
    }
    if (status == SOTTO_OK) {
        ckks_embedded_reduce(encoder, context,
                             rlwe_ct_component(&out->ct, context, 0), &message,
                             error, level);
        rlwe_encrypt_end(&out->ct, context, secret);
        out->scale = scale;
    }
    sotto_wipe(error, n * sizeof *error);
    sotto_arena_release(arena, mark);
    return status;
}

sotto_status ckks_encrypt_public(ckks_ct *out, const ckks_encoder *encoder,
                                 const rlwe_context *context,
                                 const rlwe_public *key, const double *re,
                                 size_t count, double scale, int level,
                                 const sotto_seed *root, uint64_t object,
                                 uint32_t index, sotto_arena *arena,
                                 sotto_error *err)
{
    const size_t mark = sotto_arena_mark(arena);
    uint64_t *message = take_poly(context, level, arena);
    sotto_status status = ckks_encode(encoder, context, message, re, NULL,
                                      count, scale, level, arena, err);
    if (status == SOTTO_OK) {
        status = rlwe_encrypt_zero_public(&out->ct, context, key, level, root,
                                          object, index, arena, err);
    }
    if (status == SOTTO_OK) {
        add_message(out, context, message, scale);
    }
    sotto_arena_release(arena, mark);
    return status;
}

/* Root mean square of the imaginary parts; infinite when one of them is not a
 * finite number, so that a comparison with a bound never passes by accident. */
static double imaginary_rms(const double *im, size_t n)
{
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        sum += im[j] * im[j];
    }
    sotto_declassify(&sum, sizeof sum); /* an estimate that is printed */
    const double rms = sqrt(sum / (double)n);
    return rms <= HUGE_VAL ? rms : HUGE_VAL; /* NaN compares false */
}

/* Where ckks_decode_limbs gets limbs of a phase from. */
typedef struct phase_source {
    const rlwe_context *context;
    const rlwe_secret *secret;
    const rlwe_ct *ct;
} phase_source;

static void make_phase(void *arg, uint64_t *out, int i)
{
    const phase_source *source = arg;
    rlwe_phase_limb(out, source->context, source->ct, source->secret, i);
}

sotto_status ckks_decrypt(const ckks_encoder *encoder,
                          const rlwe_context *context,
                          const rlwe_secret *secret, double *re, double *im,
                          size_t count, double *noise_std, const ckks_ct *ct,
                          sotto_arena *arena, sotto_error *err)
{
    const size_t n_slots = ntt_ring_slots(&context->ring->ring);
    SOTTO_ASSERT(count <= n_slots);
    if (!ckks_is_scale(ct->scale)) {
        return sotto_fail(err, SOTTO_ERR_SCALE,
                          "decrypt: the ciphertext's scale is %g; it must be "
                          "a finite number above 0",
                          ct->scale);
    }
    SOTTO_TRY(rlwe_check_secret(&ct->ct, secret, err));
    const size_t mark = sotto_arena_mark(arena);
    uint64_t *phase = take_poly(context, ct->ct.level, arena);
    double *all_re = sotto_arena_take(arena, n_slots, sizeof *all_re);
    double *all_im = sotto_arena_take(arena, n_slots, sizeof *all_im);
    SOTTO_ASSERT(all_re != NULL && all_im != NULL);
    phase_source source = {context, secret, &ct->ct};
    ckks_decode_limbs(encoder, context, all_re, all_im, n_slots, phase,
                      make_phase, &source, ct->scale, ct->ct.level, arena);
    memcpy(re, all_re, count * sizeof *re);
    if (im) {
        memcpy(im, all_im, count * sizeof *im);
    }
    if (noise_std) {
        *noise_std = imaginary_rms(all_im, n_slots);
    }
    sotto_arena_release(arena, mark);
    return SOTTO_OK;
}
