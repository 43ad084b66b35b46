/* SPDX-License-Identifier: MIT
 * Embedding transform: radix-2 butterflies on split real and imaginary parts.
 *
 * Every butterfly is the same six or ten IEEE operations in the same places;
 * which butterflies a compiler runs side by side does not change their bits.
 */
#include "ckks/embed_internal.h"

#include <float.h>

#include "base/mem.h"

_Static_assert(FLT_EVAL_METHOD == 0, "doubles must not be widened");
_Static_assert(DBL_MANT_DIG == 53, "IEEE binary64 expected");

sotto_status ckks_embed_init(ckks_embed *embed, const ntt_ring *ring,
                             sotto_error *err)
{
    const size_t n_slots = ntt_ring_slots(ring);
    *embed = (ckks_embed){
        .log2_slots = ring->log2_n - 1,
        .n_slots = n_slots,
        .re = sotto_calloc(n_slots, sizeof(double)),
        .im = sotto_calloc(n_slots, sizeof(double)),
    };
    if (!embed->re || !embed->im) {
        ckks_embed_clear(embed);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "encoder: no memory for the roots of %zu slots",
                          n_slots);
    }
    const uint64_t order = ntt_ring_root_order(ring);
    size_t t = n_slots / 2;
    int bits = 0;
    for (size_t m = 1; m < n_slots; m *= 2) {
        for (size_t i = 0; i < m; i++) {
            /* Block i holds residues modulo X^2t - r²; its values are at
             * exponents ≡ 1 + 4·brv(i) modulo 4m, so that r is this root: */
            const uint64_t e = t * (1 + 4 * ntt_bit_reverse(i, bits));
            ckks_root(&embed->re[m + i], &embed->im[m + i], e & (order - 1),
                      ring->log2_n + 1);
        }
        t /= 2;
        bits++;
    }
    return SOTTO_OK;
}

void ckks_embed_clear(ckks_embed *embed)
{
    sotto_free(embed->re);
    sotto_free(embed->im);
    *embed = (ckks_embed){0};
}

void ckks_embed_forward(const ckks_embed *embed, double *re, double *im)
{
    size_t t = embed->n_slots / 2;
    for (size_t m = 1; m < embed->n_slots; m *= 2) {
        for (size_t i = 0; i < m; i++) {
            const double w_re = embed->re[m + i];
            const double w_im = embed->im[m + i];
            double *const a_re = re + 2 * t * i;
            double *const a_im = im + 2 * t * i;
            double *const b_re = a_re + t;
            double *const b_im = a_im + t;
            for (size_t j = 0; j < t; j++) {
                const double x_re = b_re[j] * w_re - b_im[j] * w_im;
                const double x_im = b_re[j] * w_im + b_im[j] * w_re;
                const double y_re = a_re[j];
                const double y_im = a_im[j];
                a_re[j] = y_re + x_re;
                a_im[j] = y_im + x_im;
                b_re[j] = y_re - x_re;
                b_im[j] = y_im - x_im;
            }
        }
        t /= 2;
    }
}

void ckks_embed_inverse(const ckks_embed *embed, double *re, double *im)
{
    size_t t = 1;
    for (size_t m = embed->n_slots / 2; m >= 1; m /= 2) {
        for (size_t i = 0; i < m; i++) {
            const double w_re = embed->re[m + i];
            const double w_im = embed->im[m + i];
            double *const a_re = re + 2 * t * i;
            double *const a_im = im + 2 * t * i;
            double *const b_re = a_re + t;
            double *const b_im = a_im + t;
            for (size_t j = 0; j < t; j++) {
                const double d_re = a_re[j] - b_re[j];
                const double d_im = a_im[j] - b_im[j];
                a_re[j] = a_re[j] + b_re[j];
                a_im[j] = a_im[j] + b_im[j];
                /* times the conjugate of w */
                b_re[j] = d_re * w_re + d_im * w_im;
                b_im[j] = d_im * w_re - d_re * w_im;
            }
        }
        t *= 2;
    }
}
