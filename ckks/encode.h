/* SPDX-License-Identifier: MIT
 * Encoding: vectors of complex slots <-> ring elements, by the canonical
 * embedding (SPEC §8).
 *
 * Slot j is the value of the polynomial at zeta^(5^j), zeta = e^(iπ/N); real
 * data has zero imaginary parts. The result defines bits, so nothing here uses
 * libm, FMA or long double: roots are correctly rounded from 128-bit fixed
 * point, the butterflies have one fixed order of IEEE double operations, and a
 * real number times a scale is rounded to the nearest integer and reduced
 * exactly.
 */
#ifndef SOTTO_CKKS_ENCODE_H
#define SOTTO_CKKS_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/status.h"
#include "rlwe/context.h"

/* Roots and index tables for one ring degree; immutable, shareable. */
typedef struct ckks_encoder ckks_encoder;

/* Makes the encoder of a context's ring. error: SOTTO_ERR_MEMORY.
 * owner: the caller, ckks_encoder_free. */
sotto_status ckks_encoder_new(ckks_encoder **encoder,
                              const rlwe_context *context,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void ckks_encoder_free(ckks_encoder *encoder);

/* Encodes `count` slots (the others are zero) at a scale.
 * math: m = round(scale · embedding^-1(re + i·im)), one residue per limb of
 * `level`. im may be NULL (real data).
 * shape: re, im double[count], count <= N/2; out uint64_t[limbs][stride],
 * NTT domain. scale: any real > 0.
 * error: SOTTO_ERR_RANGE when a value is not finite or a coefficient reaches
 * half the modulus of the level (value and bound in the message).
 * cost: one FFT of N/2, limbs NTTs; scratch: ckks_encode_scratch bytes.
 * secret: no data-dependent branch or address except the outcomes of the range
 * check and of one comparison: whether any coefficient reaches 2^50. */
sotto_status ckks_encode(const ckks_encoder *encoder,
                         const rlwe_context *context, uint64_t *out,
                         const double *re, const double *im, size_t count,
                         double scale, int level, sotto_arena *arena,
                         sotto_error *err) SOTTO_MUST_CHECK;

/* ckks_encode without the transforms. domain: coefficient. As ckks_encode. */
sotto_status ckks_encode_coefficients(
    const ckks_encoder *encoder, const rlwe_context *context, uint64_t *out,
    const double *re, const double *im, size_t count, double scale, int level,
    sotto_arena *arena, sotto_error *err) SOTTO_MUST_CHECK;

/* The real coefficients that ckks_encode rounds and reduces: for any set of
 * moduli, or to be kept.
 * shape: re double[count], real data; out double[n], coefficients in natural
 * order. error: as ckks_encode. cost: one FFT of N/2. */
sotto_status ckks_encode_scaled(const ckks_encoder *encoder,
                                const rlwe_context *context, double *out,
                                const double *re, size_t count, double scale,
                                int level, sotto_error *err) SOTTO_MUST_CHECK;

/* The residues of round(value·scale), one per limb of `level`: a constant in
 * every slot. Exact from the mantissa and exponent of the product.
 * error: SOTTO_ERR_RANGE as ckks_encode. */
sotto_status ckks_encode_constant(const rlwe_context *context, uint64_t *out,
                                  double value, double scale, int level,
                                  sotto_error *err) SOTTO_MUST_CHECK;

/* Decodes `count` slots of a phase.
 * math: coefficients are lifted to (-Q/2, Q/2) by balanced mixed radix, divided
 * by scale, embedded. re, im double[count] (im may be NULL).
 * Digits of that lift are made from the lowest limb up. Once the moduli so far
 * multiply to twice the scale and the next digit is 0 in every coefficient, all
 * further ones are taken for 0 and their limbs are not looked at. That is exact
 * when the coefficients stay below half the product of the moduli looked at,
 * hence for all values that are meant; where a wrong key or a wrapped value
 * makes them larger, a digit that is 0 in all N coefficients does not happen,
 * and the lift goes on to the last limb.
 * shape: phase uint64_t[limbs of level][stride] in NTT domain; overwritten
 * (used as scratch). secret: no data-dependent branch or address except the
 * number of limbs that were needed. */
void ckks_decode(const ckks_encoder *encoder, const rlwe_context *context,
                 double *re, double *im, size_t count, uint64_t *phase,
                 double scale, int level, sotto_arena *arena);

/* Bytes of arena for any function of this file. */
size_t ckks_encode_scratch(const rlwe_context *context);

#endif
