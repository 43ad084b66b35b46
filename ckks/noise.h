/* SPDX-License-Identifier: MIT
 * Noise: predicted per operation, measured with the secret key.
 *
 * Unit: the variance of the error on the real part of one slot of the phase,
 * in integer units, before division by the scale. A polynomial with
 * independent coefficient errors of variance v has slot variance v·N/2 in each
 * of the two parts. Divide the square root by the scale for the error on the
 * values (SPEC §10).
 *
 * The secret has Hamming weight about 2N/3; |s(zeta)|² averages 2N/3, and
 * powers s^i have slot moments i!·(2N/3)^i.
 */
#ifndef SOTTO_CKKS_NOISE_H
#define SOTTO_CKKS_NOISE_H

#include "base/mem.h"
#include "base/status.h"
#include "ckks/crypt.h"
#include "rlwe/keyswitch.h"

/* Fresh symmetric encryption: error plus encoding's rounding. */
double ckks_noise_fresh(const rlwe_context *context);

/* Fresh public-key encryption (divided by one special modulus). */
double ckks_noise_fresh_public(const rlwe_context *context);

/* What one rounded division adds after dividing: the rounding of
 * n_components polynomials, with n_removed moduli removed at once (a centred
 * conversion of k moduli rounds like the sum of k uniform errors).
 * math: N/24 · k · Σ_{i < n_components} E|s(zeta)|^{2i} with
 * E|s(zeta)|^{2i} = i!·(2N/3)^i (SPEC §10.2) */
double ckks_noise_division(const rlwe_context *context, int n_components,
                           int n_removed);

/* What switching one polynomial adds before the division by P (variance of
 * Σ_j digit_j·e_j), at a level of the gadget. */
double ckks_noise_switch_raw(const rlwe_context *context,
                             const rlwe_gadget *gadget, int level);

/* Relinearisation of n_extra components (or a rotation: 1) with its ModDown. */
double ckks_noise_switch(const rlwe_context *context, const rlwe_gadget *gadget,
                         int level, int n_extra);

/* Relinearisation of n_extra components joined with the rescale from -> to,
 * what is added after the division by P·q. */
double ckks_noise_switch_rescale(const rlwe_context *context,
                                 const rlwe_gadget *gadget, int from, int to,
                                 int n_extra);

/* Product of two: values of root-mean-square a_rms, b_rms in integer units
 * (scale · value). math: a²·v_b + b²·v_a + 2·v_a·v_b for independent errors;
 * a square has 4·a²·v + 4·v². */
double ckks_noise_product(double a_rms, double a_variance, double b_rms,
                          double b_variance);
double ckks_noise_square(double a_rms, double a_variance);

/* Measures: the standard deviation of (decrypted - expected) over `count`
 * slots in units of the values, and the largest difference.
 * std, largest may be NULL. error: as ckks_decrypt. secret: the results; not
 * constant time in them. scratch: ckks_crypt_scratch bytes. */
sotto_status
ckks_noise_measure(const ckks_encoder *encoder, const rlwe_context *context,
                   const rlwe_secret *secret, double *std, double *largest,
                   const ckks_ct *ct, const double *expected, size_t count,
                   sotto_arena *arena, sotto_error *err) SOTTO_MUST_CHECK;

/* The factor z by which a Gaussian of this variance is exceeded with
 * probability <= 2^-log2_confidence somewhere among n_values values (union
 * bound): z = sqrt(2 ln 2 · (log2_confidence + log2(n_values) + 1)).
 * Only for noise that the secret does not multiply (fresh symmetric encryption,
 * encoding); for anything else ckks_noise_tail_factor. */
double ckks_noise_factor(double n_values, double log2_confidence);

/* The same for noise that s^power multiplies: a division of k components leaves
 * power k - 1, a relinearisation or rotation power 1. Its variance at slot j
 * goes with |s(zeta_j)|^(2·power), which is no average: s(zeta_j) is one and
 * the same for all ciphertexts, so that the tail stays heavy however many
 * ciphertexts are added up (power 1: exponential instead of Gaussian).
 * math: with L = ln 2 · (log2_confidence + log2(n_values) + 1) and
 * E = L·power/(power + 1), z = sqrt(2·E^(power + 1) / (power·power!)), from
 * the largest of exp(-E - z²·power!/(2·E^power)) over E = |s|²/(2N/3), which
 * is exponentially distributed. power 0: ckks_noise_factor; power 1: L/√2. */
double ckks_noise_tail_factor(double n_values, double log2_confidence,
                              int power);

#endif
