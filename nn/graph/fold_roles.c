/* SPDX-License-Identifier: MIT
 * Recognising activations: which nodes are polynomials of which values.
 *
 *     x --> SCALE_SHIFT (a·x+b) --> MULTIPLY by x --> SCALE_SHIFT (+c)
 *     |__________________________________^
 *
 * The product's inputs are both element-wise functions of x; x is their
 * nearest common ancestor among element-wise nodes and becomes the anchor of
 * the activation. The same algebra takes in x·x, a·x²+b·x+c in any spelling,
 * and scalings behind an activation.
 */
#include <string.h>

#include "base/mem.h"
#include "nn/graph/fold_internal.h"

/* Longest chain of element-wise nodes that is looked through. */
#define MAX_CHAIN 64

typedef struct analysis {
    const nn_graph *graph;
    nn_role *roles;
    sotto_error *err;
} analysis;

static sotto_status no_memory(const analysis *a)
{
    return sotto_fail(a->err, SOTTO_ERR_MEMORY,
                      "no memory to fold the network");
}

/* Nearest value that both p and q are element-wise functions of, or -1. */
static int common_ancestor(const nn_role *roles, int p, int q)
{
    while (p != q && p >= 0 && q >= 0) {
        if (p > q) { /* parents come before their children */
            p = roles[p].parent;
        } else {
            q = roles[q].parent;
        }
    }
    return p == q ? p : -1;
}

/* The value of v as a polynomial of its ancestor m; out->degree is -1 when
 * degree or length of the chain are beyond the limits. */
static sotto_status express(const analysis *a, nn_polynomial *out, int v, int m)
{
    int links = 0;

    if (!nn_polynomial_power(out, 1)) {
        return no_memory(a);
    }
    while (v != m) {
        const nn_role *role = &a->roles[v];
        nn_polynomial longer;
        if (++links > MAX_CHAIN ||
            out->degree * role->local.degree > NN_MAX_DEGREE) {
            nn_polynomial_clear(out);
            return SOTTO_OK;
        }
        const bool ok = nn_polynomial_compose(&longer, out, &role->local);
        nn_polynomial_clear(out);
        if (!ok) {
            return no_memory(a);
        }
        *out = longer;
        v = role->parent;
    }
    return SOTTO_OK;
}

/* Makes the node an activation of anchor with polynomial local. */
static sotto_status become_activation(const analysis *a, nn_role *role,
                                      int anchor)
{
    nn_polynomial x;

    if (!nn_polynomial_power(&x, 1)) {
        return no_memory(a);
    }
    const bool ok = nn_polynomial_compose(&role->poly, &role->local, &x);
    nn_polynomial_clear(&x);
    role->kind = NN_ROLE_POLYNOMIAL;
    role->anchor = anchor;
    return ok ? SOTTO_OK : no_memory(a);
}

static sotto_status role_of_scale_shift(const analysis *a, nn_role *role,
                                        const nn_node *node)
{
    const nn_role *input = &a->roles[node->inputs[0]];

    role->parent = node->inputs[0];
    if (!nn_polynomial_init(&role->local, 1, &node->param_shape)) {
        return no_memory(a);
    }
    for (size_t i = 0; i < role->local.n; i++) {
        role->local.c[i] = (double)node->bias[i];
        role->local.c[role->local.n + i] = (double)node->weights[i];
    }
    if (input->kind != NN_ROLE_POLYNOMIAL) {
        return SOTTO_OK;
    }
    role->kind = NN_ROLE_POLYNOMIAL;
    role->anchor = input->anchor;
    return nn_polynomial_compose(&role->poly, &role->local, &input->poly)
               ? SOTTO_OK
               : no_memory(a);
}

static sotto_status role_of_square(const analysis *a, nn_role *role,
                                   const nn_node *node)
{
    role->parent = node->inputs[0];
    if (!nn_polynomial_power(&role->local, 2)) {
        return no_memory(a);
    }
    return become_activation(a, role, node->inputs[0]);
}

/* Puts p·q or p + sign·q, as far as the degree allows, into local. */
static sotto_status join(const analysis *a, nn_role *role, const nn_node *node,
                         const nn_polynomial *p, const nn_polynomial *q)
{
    bool ok;

    if (p->degree < 0 || q->degree < 0 ||
        (node->op == NN_OP_MULTIPLY && p->degree + q->degree > NN_MAX_DEGREE)) {
        return SOTTO_OK;
    }
    if (node->op == NN_OP_MULTIPLY) {
        ok = nn_polynomial_multiply(&role->local, p, q);
    } else {
        ok = nn_polynomial_add(&role->local, p, q,
                               node->op == NN_OP_ADD ? 1.0 : -1.0);
    }
    return ok ? SOTTO_OK : no_memory(a);
}

/* Whether input x of a sum belongs to an activation of m: it is a linear
 * function of m or already an activation of m. A sum of activations of
 * different values stays a sum. */
static bool belongs(const analysis *a, int x, int m)
{
    while (x != m && a->roles[x].kind == NN_ROLE_LINEAR) {
        x = a->roles[x].parent; /* reaches m: m is an ancestor */
    }
    return x == m ||
           (a->roles[x].kind == NN_ROLE_POLYNOMIAL && a->roles[x].anchor == m);
}

static sotto_status role_of_pair(const analysis *a, nn_role *role,
                                 const nn_node *node)
{
    const int x = node->inputs[0], y = node->inputs[1];
    const int m = common_ancestor(a->roles, x, y);
    const bool product = node->op == NN_OP_MULTIPLY;
    nn_polynomial p = {.degree = -1}, q = {.degree = -1};
    sotto_status status = SOTTO_OK;

    role->kind = product ? NN_ROLE_REFUSED : NN_ROLE_LINEAR;
    if (m < 0) {
        return SOTTO_OK;
    }
    status = express(a, &p, x, m);
    if (status == SOTTO_OK) {
        status = express(a, &q, y, m);
    }
    if (status == SOTTO_OK) {
        status = join(a, role, node, &p, &q);
    }
    nn_polynomial_clear(&p);
    nn_polynomial_clear(&q);
    if (status != SOTTO_OK || role->local.degree < 0) {
        return status;
    }
    if (role->local.degree <= 1) { /* only sums get here with degree 1 */
        role->parent = m;
        return SOTTO_OK;
    }
    if (!product && !(belongs(a, x, m) && belongs(a, y, m))) {
        nn_polynomial_clear(&role->local);
        return SOTTO_OK;
    }
    role->parent = m;
    return become_activation(a, role, m);
}

static sotto_status find_role(const analysis *a, int id)
{
    const nn_node *node = &a->graph->nodes[id];
    nn_role *role = &a->roles[id];

    role->anchor = role->parent = -1;
    role->poly.degree = role->local.degree = -1;
    switch (node->op) {
    case NN_OP_SCALE_SHIFT:
        return role_of_scale_shift(a, role, node);
    case NN_OP_SQUARE:
        return role_of_square(a, role, node);
    case NN_OP_MULTIPLY:
    case NN_OP_ADD:
    case NN_OP_SUBTRACT:
        return role_of_pair(a, role, node);
    case NN_OP_RELU:
    case NN_OP_MAX_POOL:
    case NN_OP_SOFTMAX:
        role->kind = NN_ROLE_OPAQUE;
        role->anchor = node->inputs[0];
        return SOTTO_OK;
    case NN_OP_INPUT:
    case NN_OP_CONV:
    case NN_OP_DENSE:
    case NN_OP_AVERAGE_POOL:
    case NN_OP_CONCAT:
    case NN_OP_RESHAPE:
    case NN_OP_TRANSPOSE:
    case NN_OP_PAD:
        return SOTTO_OK;
    }
    return SOTTO_OK;
}

/* Walks back from the output along what each node is computed from. */
static sotto_status mark_wanted(const analysis *a, int output)
{
    a->roles[output].wanted = true;
    for (int i = output; i >= 0; i--) {
        nn_role *role = &a->roles[i];
        const nn_node *node = &a->graph->nodes[i];
        if (!role->wanted) {
            continue;
        }
        if (role->kind == NN_ROLE_REFUSED) {
            return sotto_fail(
                a->err, SOTTO_ERR_UNSUPPORTED,
                "node '%.100s' (%s) multiplies '%.100s' by '%.100s', which is "
                "no polynomial of one value of degree at most %d; products are "
                "supported as polynomial activations only",
                node->name, node->origin,
                a->graph->nodes[node->inputs[0]].tensor,
                a->graph->nodes[node->inputs[1]].tensor, NN_MAX_DEGREE);
        }
        if (role->kind == NN_ROLE_LINEAR) {
            for (int k = 0; k < node->n_inputs; k++) {
                a->roles[node->inputs[k]].wanted = true;
            }
            continue;
        }
        nn_polynomial_trim(&role->poly);
        a->roles[role->anchor].wanted = true;
    }
    return SOTTO_OK;
}

void nn_roles_free(nn_role *roles, int n)
{
    for (int i = 0; roles != NULL && i < n; i++) {
        nn_polynomial_clear(&roles[i].poly);
        nn_polynomial_clear(&roles[i].local);
    }
    sotto_free(roles);
}

sotto_status nn_roles_new(nn_role **roles, const nn_graph *graph, int output,
                          sotto_error *err)
{
    analysis a = {.graph = graph, .err = err};
    sotto_status status = SOTTO_OK;

    *roles = NULL;
    a.roles = sotto_calloc((size_t)output + 1, sizeof *a.roles);
    if (a.roles == NULL) {
        return no_memory(&a);
    }
    for (int i = 0; i <= output && status == SOTTO_OK; i++) {
        status = find_role(&a, i);
    }
    if (status == SOTTO_OK) {
        status = mark_wanted(&a, output);
    }
    if (status != SOTTO_OK) {
        nn_roles_free(a.roles, output + 1);
        return status;
    }
    *roles = a.roles;
    return SOTTO_OK;
}
