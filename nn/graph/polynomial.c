/* SPDX-License-Identifier: MIT
 * Element-wise polynomials: composition, product, sum.
 */
#include "nn/graph/polynomial_internal.h"

#include <string.h>

#include "base/mem.h"

void nn_polynomial_clear(nn_polynomial *p)
{
    sotto_free(p->c);
    *p = (nn_polynomial){.degree = -1};
}

bool nn_polynomial_init(nn_polynomial *p, int degree, const nn_shape *param)
{
    const size_t n = nn_shape_size(param);

    *p = (nn_polynomial){.degree = degree, .param = *param, .n = n};
    p->c = sotto_calloc((size_t)degree + 1, n * sizeof *p->c);
    if (p->c == NULL) {
        p->degree = -1;
    }
    return p->c != NULL;
}

bool nn_polynomial_power(nn_polynomial *p, int power)
{
    const nn_shape scalar = {.rank = 0};

    if (!nn_polynomial_init(p, power, &scalar)) {
        return false;
    }
    p->c[power] = 1.0;
    return true;
}

/* The smallest shape to which both stretch. range: both stretch to one. */
static nn_shape common_shape(const nn_shape *a, const nn_shape *b)
{
    const nn_shape *longer = a->rank >= b->rank ? a : b;
    const nn_shape *shorter = a->rank >= b->rank ? b : a;
    const int missing = longer->rank - shorter->rank;
    nn_shape out = *longer;

    for (int i = 0; i < shorter->rank; i++) {
        if (out.dim[missing + i] == 1) {
            out.dim[missing + i] = shorter->dim[i];
        }
    }
    return out;
}

/* Coefficients of a for one element, zero above its degree. */
static void load(double *c, const nn_polynomial *p, const nn_shape *common,
                 size_t index)
{
    const size_t at = nn_shape_param_index(&p->param, common, index);

    for (int k = 0; k <= NN_MAX_DEGREE; k++) {
        c[k] = k <= p->degree ? p->c[(size_t)k * p->n + at] : 0.0;
    }
}

/* out = a·b, cut at NN_MAX_DEGREE (above it all is 0 by the contract). */
static void product(double *out, const double *a, const double *b)
{
    double c[NN_MAX_DEGREE + 1] = {0};

    for (int i = 0; i <= NN_MAX_DEGREE; i++) {
        for (int j = 0; i + j <= NN_MAX_DEGREE; j++) {
            c[i + j] += a[i] * b[j];
        }
    }
    memcpy(out, c, sizeof c);
}

static void compose(double *out, const double *outer, const double *inner)
{
    double c[NN_MAX_DEGREE + 1] = {outer[NN_MAX_DEGREE]};

    for (int k = NN_MAX_DEGREE - 1; k >= 0; k--) { /* Horner */
        product(c, c, inner);
        c[0] += outer[k];
    }
    memcpy(out, c, sizeof c);
}

static void sum(double *out, const double *a, const double *b)
{
    for (int k = 0; k <= NN_MAX_DEGREE; k++) {
        out[k] = a[k] + b[k];
    }
}

static void difference(double *out, const double *a, const double *b)
{
    for (int k = 0; k <= NN_MAX_DEGREE; k++) {
        out[k] = a[k] - b[k];
    }
}

/* Applies rule to the coefficients of every element. */
static bool combine(nn_polynomial *out, int degree, const nn_polynomial *a,
                    const nn_polynomial *b,
                    void (*rule)(double *, const double *, const double *))
{
    const nn_shape common = common_shape(&a->param, &b->param);
    double ca[NN_MAX_DEGREE + 1], cb[NN_MAX_DEGREE + 1];

    if (!nn_polynomial_init(out, degree, &common)) {
        return false;
    }
    for (size_t i = 0; i < out->n; i++) {
        load(ca, a, &common, i);
        load(cb, b, &common, i);
        rule(ca, ca, cb);
        for (int k = 0; k <= degree; k++) {
            out->c[(size_t)k * out->n + i] = ca[k];
        }
    }
    return true;
}

bool nn_polynomial_compose(nn_polynomial *out, const nn_polynomial *outer,
                           const nn_polynomial *inner)
{
    return combine(out, outer->degree * inner->degree, outer, inner, compose);
}

bool nn_polynomial_multiply(nn_polynomial *out, const nn_polynomial *a,
                            const nn_polynomial *b)
{
    return combine(out, a->degree + b->degree, a, b, product);
}

bool nn_polynomial_add(nn_polynomial *out, const nn_polynomial *a,
                       const nn_polynomial *b, double sign)
{
    const int degree = a->degree > b->degree ? a->degree : b->degree;

    return combine(out, degree, a, b, sign > 0.0 ? sum : difference);
}

void nn_polynomial_trim(nn_polynomial *p)
{
    while (p->degree > 0) {
        const double *lead = p->c + (size_t)p->degree * p->n;
        for (size_t i = 0; i < p->n; i++) {
            if (lead[i] != 0.0) {
                return;
            }
        }
        p->degree--;
    }
}
