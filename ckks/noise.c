/* SPDX-License-Identifier: MIT
 * Noise formulas (SPEC §10). Estimates only: nothing here defines bits, so
 * libm is fine.
 */
#include "ckks/noise.h"

#include <float.h>
#include <math.h>

#include "ntt/sample.h"

/* Variance of a rounding error, uniform in [-1/2, 1/2]. */
static const double rounding = 1.0 / 12;

/* Degree of the ring. */
static double degree(const rlwe_context *context)
{
    return (double)context->ring->ring.n;
}

/* Slot variance of a polynomial with coefficient variance v. */
static double slot_variance(const rlwe_context *context, double v)
{
    return v * degree(context) / 2;
}

double ckks_noise_fresh(const rlwe_context *context)
{
    return slot_variance(context, NTT_ERROR_VARIANCE + rounding);
}

double ckks_noise_fresh_public(const rlwe_context *context)
{
    const rlwe_params_literal *literal = &context->params.literal;
    SOTTO_ASSERT(literal->has_public);
    const double p =
        (double)rns_modulus(context->ring, literal->public_special)->q;
    /* v·e + e_0 + e_1·s with ternary v and s of variance 2/3 */
    const double raw =
        NTT_ERROR_VARIANCE * (1 + 2 * degree(context) * (2.0 / 3));
    return slot_variance(context, raw / p / p + rounding) +
           ckks_noise_division(context, RLWE_MIN_COMPONENTS, 1);
}

double ckks_noise_division(const rlwe_context *context, int n_components,
                           int n_removed)
{
    /* E|s(zeta)|^2i = i!·(2N/3)^i, since s(zeta) is close to a complex
     * Gaussian of variance 2N/3. */
    double moment = 1;
    double sum = 1;
    for (int i = 1; i < n_components; i++) {
        moment *= (double)i * degree(context) * (2.0 / 3);
        sum += moment;
    }
    return slot_variance(context, rounding) * n_removed * sum;
}

/* Variance of Σ_j digit_j·e_j / 2^log2_divisor for one polynomial.
 * A digit of k limbs with product F is F times the sum of k uniform numbers in
 * [-1/2, 1/2]. */
static double switch_variance(const rlwe_context *context,
                              const rlwe_gadget *gadget, int level,
                              double log2_divisor)
{
    const rns_set *set = rlwe_level_set(context, level);
    double sum = 0;
    for (int j = 0; j < gadget->n_digits; j++) {
        rns_set digit = {0};
        for (int i = 0; i < gadget->limbs.count; i++) {
            const uint8_t id = gadget->limbs.id[i];
            if (gadget->digit[i] == j && rns_set_find(set, id) >= 0) {
                digit.id[digit.count++] = id;
            }
        }
        if (digit.count > 0) {
            const double log2_f = rns_log2(context->ring, &digit);
            sum += digit.count * exp2(2 * (log2_f - log2_divisor));
        }
    }
    return slot_variance(context,
                         degree(context) * NTT_ERROR_VARIANCE * rounding * sum);
}

double ckks_noise_switch_raw(const rlwe_context *context,
                             const rlwe_gadget *gadget, int level)
{
    return switch_variance(context, gadget, level, 0);
}

double ckks_noise_switch(const rlwe_context *context, const rlwe_gadget *gadget,
                         int level, int n_extra)
{
    return ckks_noise_switch_rescale(context, gadget, level, level, n_extra);
}

double ckks_noise_switch_rescale(const rlwe_context *context,
                                 const rlwe_gadget *gadget, int from, int to,
                                 int n_extra)
{
    const rns_set removed = rns_set_minus(rlwe_level_set(context, from),
                                          rlwe_level_set(context, to));
    const rns_set by = rns_set_union(&removed, &gadget->special);
    return n_extra * switch_variance(context, gadget, from,
                                     rns_log2(context->ring, &by)) +
           ckks_noise_division(context, RLWE_MIN_COMPONENTS, by.count);
}

double ckks_noise_product(double a_rms, double a_variance, double b_rms,
                          double b_variance)
{
    /* Re(e_a·e_b) is a difference of two products of real numbers. */
    return a_rms * a_rms * b_variance + b_rms * b_rms * a_variance +
           2 * a_variance * b_variance;
}

double ckks_noise_square(double a_rms, double a_variance)
{
    /* Re(e²) = re² - im², each of variance 2·a_variance² */
    return 4 * a_rms * a_rms * a_variance + 4 * a_variance * a_variance;
}

sotto_status ckks_noise_measure(const ckks_encoder *encoder,
                                const rlwe_context *context,
                                const rlwe_secret *secret, double *std,
                                double *largest, const ckks_ct *ct,
                                const double *expected, size_t count,
                                sotto_arena *arena, sotto_error *err)
{
    SOTTO_ASSERT(count > 0);
    const size_t mark = sotto_arena_mark(arena);
    double *re = sotto_arena_take(arena, count, sizeof *re);
    SOTTO_ASSERT(re != NULL);
    const sotto_status status = ckks_decrypt(encoder, context, secret, re, NULL,
                                             count, NULL, ct, arena, err);
    if (status == SOTTO_OK) {
        double sum = 0;
        double max = 0;
        for (size_t j = 0; j < count; j++) {
            const double d = fabs(re[j] - expected[j]);
            sum += d * d;
            max = d > max ? d : max;
        }
        if (!(sum <= DBL_MAX)) { /* a slot that is no number: all wrong */
            sum = HUGE_VAL;
            max = HUGE_VAL;
        }
        if (std) {
            *std = sqrt(sum / (double)count);
        }
        if (largest) {
            *largest = max;
        }
    }
    sotto_arena_release(arena, mark);
    return status;
}

/* The union bound over n_values in nats, one bit to spare. */
static double union_nats(double n_values, double log2_confidence)
{
    const double ln2 = 0.69314718055994530942;
    return ln2 * (log2_confidence + log2(n_values) + 1);
}

double ckks_noise_factor(double n_values, double log2_confidence)
{
    return sqrt(2 * union_nats(n_values, log2_confidence));
}

double ckks_noise_tail_factor(double n_values, double log2_confidence,
                              int power)
{
    if (power == 0) {
        return ckks_noise_factor(n_values, log2_confidence);
    }
    const double i = power;
    const double e = union_nats(n_values, log2_confidence) * i / (i + 1);
    return sqrt(2 * pow(e, i + 1) / (i * tgamma(i + 1)));
}
