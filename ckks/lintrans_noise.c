/* SPDX-License-Identifier: MIT
 * What a linear map computes on plain slots, and how far it is off.
 */
#include <math.h>
#include <string.h>

#include "ckks/lintrans_internal.h"
#include "ckks/noise.h"

/* ---- Plain slots --------------------------------------------------------- */

/* x becomes Σ_k rot_(k·step)(x). */
static void fold_plain(double *x, double *scratch, size_t slots,
                       const ckks_fold *fold)
{
    memcpy(scratch, x, slots * sizeof *x);
    for (int k = 1; k < fold->count; k++) {
        const uint64_t turn = (uint64_t)fold->step * (uint64_t)k;
        for (size_t j = 0; j < slots; j++) {
            x[j] += scratch[(j + turn) & (slots - 1)];
        }
    }
}

/* All sums of products, folds and biases; slot, copy: scratch. */
static void apply_plain(const ckks_lintrans_spec *spec, size_t slots,
                        double *out, const double *in, double *slot)
{
    memset(out, 0, spec->n_out * slots * sizeof *out);
    for (size_t i = 0; i < spec->n_diagonals; i++) {
        const ckks_diagonal *d = &spec->diagonal[i];
        const double *x = in + d->in * slots;
        double *y = out + d->out * slots;
        memset(slot, 0, slots * sizeof *slot);
        spec->fill(spec->arg, i, slot);
        for (size_t j = 0; j < slots; j++) {
            y[j] += slot[j] * x[(j + (uint64_t)d->rotation) & (slots - 1)];
        }
    }
    for (size_t o = 0; o < spec->n_out; o++) {
        double *y = out + o * slots;
        for (size_t i = 0; i < spec->n_folds; i++) {
            fold_plain(y, slot, slots, &spec->fold[i]);
        }
        for (size_t i = 0; i < spec->n_late_folds; i++) {
            fold_plain(y, slot, slots, &spec->late_fold[i]);
        }
        memset(slot, 0, slots * sizeof *slot);
        if (spec->fill_bias != NULL) {
            spec->fill_bias(spec->arg, o, slot);
        }
        for (size_t j = 0; j < slots; j++) {
            y[j] += slot[j];
        }
    }
}

sotto_status ckks_lintrans_plain(const ckks_lintrans_spec *spec, size_t slots,
                                 double *out, const double *in,
                                 sotto_error *err)
{
    double *slot = sotto_calloc(slots, sizeof *slot);
    if (slot == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "linear map: no memory for %zu slots", slots);
    }
    apply_plain(spec, slots, out, in, slot);
    sotto_free(slot);
    return SOTTO_OK;
}

/* ---- Noise --------------------------------------------------------------- */

/* Variance of a polynomial whose coefficients are rounded. */
static double rounding(const rlwe_context *context)
{
    return ckks_noise_division(context, 1, 1);
}

/* What switching one polynomial leaves, in units of the quotient by P. */
static double switched(const ckks_lintrans_stage *stage)
{
    const rlwe_gadget *gadget =
        &stage->context->params.literal.gadget[stage->gadget];
    const double p = exp2(rns_log2(stage->context->ring, &gadget->special));
    return ckks_noise_switch_raw(stage->context, gadget, stage->from) / (p * p);
}

/* Special moduli of a stage that rotates. */
static int specials(const ckks_lintrans_stage *stage)
{
    return stage->all.count -
           rlwe_level_set(stage->context, stage->from)->count;
}

/* Behind the division at the end of a stage. */
static double divided(const ckks_lintrans_stage *stage, double variance)
{
    if (stage->divider == NULL) {
        return variance;
    }
    const rns_set removed =
        rns_set_minus(rlwe_level_set(stage->context, stage->from),
                      rlwe_level_set(stage->context, stage->to));
    const double q = exp2(rns_log2(stage->context->ring, &removed));
    return variance / (q * q) +
           ckks_noise_division(stage->context, RLWE_MIN_COMPONENTS,
                               stage->divider->converter->from.count);
}

/* Stage 0 before its division. */
static double map_variance(const ckks_lintrans *map, double in_variance,
                           double in_rms)
{
    const ckks_lintrans_stage *stage = &map->stage[0];
    const rlwe_context *context = map->context;
    const double square = in_rms * in_rms;
    double v = map->gain * in_variance +
               map->n_plains * rounding(context) * square +
               map->n_constants / 12 * square;
    if (stage->n_stored > 0) {
        double baby = switched(stage);
        if (stage->hoisting == CKKS_HOIST_SINGLE) {
            baby += ckks_noise_division(context, RLWE_MIN_COMPONENTS,
                                        specials(stage));
        }
        v += map->gain_rotated * baby;
    }
    if (stage->n_rotated > 0) {
        double giant = switched(stage);
        if (stage->hoisting == CKKS_HOIST_DOUBLE) {
            /* Only the second half is divided. */
            giant += ckks_noise_division(context, 2, specials(stage)) -
                     ckks_noise_division(context, 1, specials(stage));
        }
        v += (double)stage->n_rotated / (double)stage->n_out * giant;
    }
    return v;
}

double ckks_lintrans_noise(const ckks_lintrans *map, double in_variance,
                           double in_rms)
{
    double v = 0;
    for (size_t s = 0; s < map->n_stages; s++) {
        const ckks_lintrans_stage *stage = &map->stage[s];
        if (s == 0) {
            v = map_variance(map, in_variance, in_rms);
        } else {
            const double outputs = (double)stage->n_out;
            v *= (double)stage->n_terms / outputs;
            if (stage->n_stored > 0) {
                v += (double)stage->n_stored / outputs * switched(stage);
            }
        }
        v = divided(stage, v);
        if (stage->bias != NULL) {
            v += rounding(map->context);
        }
    }
    return v;
}
