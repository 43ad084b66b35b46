/* SPDX-License-Identifier: MIT
 * Element-wise polynomials of one value, with coefficients per layer, channel
 * or element; the small algebra by which folding recognises activations.
 */
#ifndef SOTTO_NN_GRAPH_POLYNOMIAL_INTERNAL_H
#define SOTTO_NN_GRAPH_POLYNOMIAL_INTERNAL_H

#include <stdbool.h>

#include "nn/graph/fold.h"

/* Coefficients [degree+1][n], n = size of param; degree -1: no polynomial. */
typedef struct nn_polynomial {
    int degree;
    nn_shape param;
    size_t n;
    double *c;
} nn_polynomial;

/* Frees the coefficients; the result is no polynomial. */
void nn_polynomial_clear(nn_polynomial *p);

/* Makes the polynomial of degree 0..NN_MAX_DEGREE with all coefficients 0.
 * owner: the caller, nn_polynomial_clear. error: false without memory. */
bool nn_polynomial_init(nn_polynomial *p, int degree, const nn_shape *param);

/* Makes x^power with coefficients of rank 0. error: false without memory. */
bool nn_polynomial_power(nn_polynomial *p, int power);

/* Makes outer(inner(x)), a·b, a + sign·b (sign ±1) of polynomials of values
 * of one shape. range: degrees of results at most NN_MAX_DEGREE, which the
 * caller has checked. out is new, no alias.
 * error: false without memory; out is then no polynomial. */
bool nn_polynomial_compose(nn_polynomial *out, const nn_polynomial *outer,
                           const nn_polynomial *inner);
bool nn_polynomial_multiply(nn_polynomial *out, const nn_polynomial *a,
                            const nn_polynomial *b);
bool nn_polynomial_add(nn_polynomial *out, const nn_polynomial *a,
                       const nn_polynomial *b, double sign);

/* Lowers the degree while all leading coefficients are exactly 0. */
void nn_polynomial_trim(nn_polynomial *p);

#endif
