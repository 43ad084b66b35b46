/* SPDX-License-Identifier: MIT
 * Folding: from a graph to the steps that are computed.
 *
 * Activations are taken in the order of the values they are of (anchors). For
 * each, the map of its anchor is made unless a tensor holds that value already;
 * then stops record what the anchor and the activation are in terms of the new
 * tensors, for the maps that come later.
 */
#include "nn/graph/fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/affine_internal.h"
#include "nn/graph/fold_internal.h"

#define DEFAULT_MAX_SHIFT 64.0

/* What a step owns besides its public part. */
typedef struct owned {
    nn_affine *affine;
    double *row_scale, *row_shift;
} owned;

/* The network with its private parts; network is first. */
typedef struct folded {
    nn_network network;
    int output; /* graph node of the scores */
    nn_role *roles;
    nn_stop *stops;      /* [output + 1] */
    owned *own;          /* [steps] */
    size_t *tensor_size; /* [steps + 1] */
    double max_shift;
} folded;

void nn_network_free(nn_network *network)
{
    folded *f = (folded *)(void *)network;

    if (network == NULL) {
        return;
    }
    for (size_t k = 0; k < network->n_steps; k++) {
        nn_affine_free(f->own[k].affine);
        sotto_free(f->own[k].row_scale);
        sotto_free(f->own[k].row_shift);
    }
    for (int i = 0; f->stops != NULL && i <= f->output; i++) {
        sotto_free(f->stops[i].weight);
        sotto_free(f->stops[i].constant);
        sotto_free(f->stops[i].use_other);
    }
    nn_roles_free(f->roles, f->output + 1);
    sotto_free(f->stops);
    sotto_free(f->own);
    sotto_free(f->tensor_size);
    sotto_free(network->steps);
    sotto_free(f);
}

/* A range after x → s·x + h, s >= 0. */
static nn_range scaled_range(nn_range range, double s, double h)
{
    return (nn_range){.known = range.known,
                      .min = s * range.min + h,
                      .max = s * range.max + h};
}

/* The smallest range that holds both. */
static nn_range joined_range(nn_range a, nn_range b)
{
    return (nn_range){.known = a.known && b.known,
                      .min = a.min < b.min ? a.min : b.min,
                      .max = a.max > b.max ? a.max : b.max};
}

static nn_range squared_range(nn_range range)
{
    const double low = range.min * range.min, high = range.max * range.max;
    nn_range out = {.known = range.known, .min = low, .max = high};

    if (low > high) {
        out.min = high;
        out.max = low;
    }
    if (range.min <= 0.0 && range.max >= 0.0) {
        out.min = 0.0;
    }
    return out;
}

/* Adds a step whose tensor has the shape of node's value. */
static nn_step *add_step(folded *f, nn_step_kind kind, int node)
{
    nn_network *network = &f->network;
    const nn_node *from = &network->graph->nodes[node];
    nn_step *step = &network->steps[network->n_steps++];

    *step = (nn_step){.kind = kind,
                      .name = from->name,
                      .origin = from->origin,
                      .shape = from->shape,
                      .n_elements = nn_shape_size(&from->shape),
                      .range = from->range};
    f->tensor_size[network->n_steps] = step->n_elements;
    return step;
}

/* Adds the map of node's value, scaled and shifted by constants of shape param
 * (NULL: as it is), which are taken over. */
static sotto_status add_affine(folded *f, int node, const nn_shape *param,
                               double *row_scale, double *row_shift,
                               sotto_error *err)
{
    const nn_graph *graph = f->network.graph;
    nn_step *step = add_step(f, NN_STEP_AFFINE, node);
    owned *own = &f->own[f->network.n_steps - 1];

    own->row_scale = row_scale;
    own->row_shift = row_shift;
    step->degree = 1;
    if (row_scale != NULL) {
        nn_range range = scaled_range(step->range, row_scale[0], row_shift[0]);
        for (size_t i = 1; i < nn_shape_size(param); i++) {
            range = joined_range(
                range, scaled_range(step->range, row_scale[i], row_shift[i]));
        }
        step->range = range;
    }
    SOTTO_TRY(nn_affine_new(&own->affine, graph, f->stops, node, param,
                            row_scale, row_shift, f->tensor_size,
                            f->network.n_steps, err));
    step->affine = own->affine;
    return SOTTO_OK;
}

/* Whether some tensor holds the value of node as it is. */
static bool holds_value(const folded *f, int node)
{
    const nn_stop *stop = &f->stops[node];

    return stop->kind == NN_STOP_READ && stop->weight == NULL;
}

/* Records that tensor t holds scale·x + shift of the linear node anchor. */
static sotto_status note_anchor(folded *f, int anchor, uint32_t t,
                                const nn_shape *param, const double *scale,
                                const double *shift, sotto_error *err)
{
    nn_stop *stop = &f->stops[anchor];

    if (stop->kind != NN_STOP_NONE) {
        return SOTTO_OK;
    }
    if (scale != NULL) {
        const size_t n = nn_shape_size(param);
        stop->weight = sotto_calloc(n, sizeof *stop->weight);
        stop->constant = sotto_calloc(n, sizeof *stop->constant);
        if (stop->weight == NULL || stop->constant == NULL) {
            return sotto_fail(err, SOTTO_ERR_MEMORY,
                              "no memory to fold an activation");
        }
        for (size_t i = 0; i < n; i++) {
            stop->weight[i] = 1.0 / scale[i];
            stop->constant[i] = -shift[i] / scale[i];
        }
        stop->param = *param;
    }
    stop->kind = NN_STOP_READ;
    stop->anchor = true;
    stop->source = t;
    return SOTTO_OK;
}

/* Adds the square of q's activation u; q's arrays are taken over or freed. */
static sotto_status add_square(folded *f, int u, nn_completed *q,
                               sotto_error *err)
{
    const nn_role *role = &f->roles[u];
    const nn_shape *param = &role->poly.param;
    nn_stop *stop = &f->stops[u];
    uint32_t t = f->stops[role->anchor].source;

    if (!q->plain_inside || !holds_value(f, role->anchor)) {
        double *scale = q->plain_inside ? NULL : q->scale;
        double *shift = q->plain_inside ? NULL : q->shift;
        if (scale != NULL) {
            q->scale = q->shift = NULL;
        }
        SOTTO_TRY(add_affine(f, role->anchor, param, scale, shift, err));
        t = (uint32_t)f->network.n_steps;
        SOTTO_TRY(note_anchor(f, role->anchor, t, param, scale, shift, err));
    }
    nn_step *step = add_step(f, NN_STEP_SQUARE, u);
    step->degree = 2;
    step->source = t;
    step->range = squared_range(nn_network_tensor_range(&f->network, t));
    stop->kind = NN_STOP_READ;
    stop->source = (uint32_t)f->network.n_steps;
    stop->other = t;
    if (!q->plain_outside) {
        stop->param = *param;
        stop->weight = q->weight;
        stop->constant = q->constant;
        q->weight = q->constant = NULL;
        if (q->any_linear) {
            stop->use_other = q->linear;
            q->linear = NULL;
        }
    }
    return SOTTO_OK;
}

/* Adds Relu, MaxPool or a polynomial of higher degree as it is. */
static sotto_status add_other(folded *f, int u, sotto_error *err)
{
    const nn_graph *graph = f->network.graph;
    const nn_role *role = &f->roles[u];
    const nn_shape scalar = {.rank = 0};
    nn_step_kind kind = NN_STEP_POLY;

    if (!holds_value(f, role->anchor)) {
        SOTTO_TRY(add_affine(f, role->anchor, &scalar, NULL, NULL, err));
        SOTTO_TRY(note_anchor(f, role->anchor, (uint32_t)f->network.n_steps,
                              &scalar, NULL, NULL, err));
    }
    if (role->kind == NN_ROLE_OPAQUE) {
        kind =
            graph->nodes[u].op == NN_OP_RELU ? NN_STEP_RELU : NN_STEP_MAX_POOL;
    }
    nn_step *step = add_step(f, kind, u);
    step->source = f->stops[role->anchor].source;
    step->window = graph->nodes[u].window;
    if (kind == NN_STEP_POLY) {
        step->degree = role->poly.degree;
        step->poly_shape = role->poly.param;
        step->poly = role->poly.c;
    } else if (!step->range.known) {
        step->range = nn_network_tensor_range(&f->network, step->source);
        if (kind == NN_STEP_RELU) {
            step->range.min = fmax(step->range.min, 0.0);
            step->range.max = fmax(step->range.max, 0.0);
        }
    }
    f->stops[u] =
        (nn_stop){.kind = NN_STOP_READ, .source = (uint32_t)f->network.n_steps};
    return SOTTO_OK;
}

/* A "polynomial" whose square and higher parts are exactly 0 everywhere:
 * pulled through like a linear node. */
static sotto_status note_linear(folded *f, int u, sotto_error *err)
{
    const nn_polynomial *poly = &f->roles[u].poly;
    nn_stop *stop = &f->stops[u];

    stop->weight = sotto_calloc(poly->n, sizeof *stop->weight);
    stop->constant = sotto_calloc(poly->n, sizeof *stop->constant);
    if (stop->weight == NULL || stop->constant == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory to fold an activation");
    }
    for (size_t i = 0; i < poly->n; i++) {
        stop->weight[i] = poly->degree == 1 ? poly->c[poly->n + i] : 0.0;
        stop->constant[i] = poly->c[i];
    }
    stop->kind = NN_STOP_REDIRECT;
    stop->node = f->roles[u].anchor;
    stop->param = poly->param;
    return SOTTO_OK;
}

static sotto_status add_activation(folded *f, int u, sotto_error *err)
{
    const nn_role *role = &f->roles[u];
    nn_completed q;

    if (role->kind == NN_ROLE_OPAQUE || role->poly.degree > 2) {
        return add_other(f, u, err);
    }
    const nn_graph *graph = f->network.graph;
    SOTTO_TRY(nn_complete_square(&q, &role->poly, &graph->nodes[u],
                                 graph->nodes[role->anchor].range, f->max_shift,
                                 err));
    const sotto_status status = add_square(f, u, &q, err);
    nn_completed_clear(&q);
    return status;
}

/* An activation in the order of its anchor. */
typedef struct queued {
    int anchor, node;
} queued;

static int compare_queued(const void *a, const void *b)
{
    const queued *x = a, *y = b;

    if (x->anchor != y->anchor) {
        return x->anchor < y->anchor ? -1 : 1;
    }
    return x->node < y->node ? -1 : x->node > y->node;
}

/* Lists the activations; what is linear after all is noted instead. */
static sotto_status list_activations(folded *f, queued *queue, size_t *n,
                                     sotto_error *err)
{
    *n = 0;
    for (int u = 1; u <= f->output; u++) {
        const nn_role *role = &f->roles[u];
        if (!role->wanted || role->kind == NN_ROLE_LINEAR) {
            continue;
        }
        if (role->kind == NN_ROLE_POLYNOMIAL && role->poly.degree < 2) {
            SOTTO_TRY(note_linear(f, u, err));
        } else {
            queue[(*n)++] = (queued){.anchor = role->anchor, .node = u};
        }
    }
    qsort(queue, *n, sizeof *queue, compare_queued);
    return SOTTO_OK;
}

static sotto_status add_steps(folded *f, queued *queue, sotto_error *err)
{
    nn_network *network = &f->network;
    const nn_shape scalar = {.rank = 0};
    size_t n;

    SOTTO_TRY(list_activations(f, queue, &n, err));
    network->steps = sotto_calloc(2 * n + 1, sizeof *network->steps);
    f->own = sotto_calloc(2 * n + 1, sizeof *f->own);
    f->tensor_size = sotto_calloc(2 * n + 2, sizeof *f->tensor_size);
    if (network->steps == NULL || f->own == NULL || f->tensor_size == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %zu steps",
                          2 * n + 1);
    }
    f->tensor_size[0] = network->n_inputs;
    f->stops[0] = (nn_stop){.kind = NN_STOP_READ, .source = 0};
    for (size_t i = 0; i < n; i++) {
        SOTTO_TRY(add_activation(f, queue[i].node, err));
    }
    if (network->n_steps == 0 || !holds_value(f, f->output)) {
        SOTTO_TRY(add_affine(f, f->output, &scalar, NULL, NULL, err));
    }
    return SOTTO_OK;
}

/* Everything after the allocation of f. */
static sotto_status fold(folded *f, const nn_graph *graph, sotto_error *err)
{
    nn_network *network = &f->network;

    f->output = graph->n_nodes - 1;
    if (graph->nodes[f->output].op == NN_OP_SOFTMAX) {
        f->output = graph->nodes[f->output].inputs[0];
        network->softmax = true;
    }
    network->graph = graph;
    network->input_shape = graph->nodes[0].shape;
    network->n_inputs = nn_shape_size(&network->input_shape);
    network->input_range = graph->nodes[0].range;
    network->n_outputs = nn_shape_size(&graph->nodes[f->output].shape);
    network->output_range = graph->nodes[f->output].range;
    SOTTO_TRY(nn_roles_new(&f->roles, graph, f->output, err));
    f->stops = sotto_calloc((size_t)f->output + 1, sizeof *f->stops);
    queued *queue = sotto_calloc((size_t)f->output + 1, sizeof *queue);
    sotto_status status = SOTTO_ERR_MEMORY;
    if (f->stops == NULL || queue == NULL) {
        (void)sotto_fail(err, status, "no memory to fold the network");
    } else {
        status = add_steps(f, queue, err);
    }
    sotto_free(queue);
    return status;
}

sotto_status nn_network_new(nn_network **network, const nn_graph *graph,
                            const nn_fold_options *options, sotto_error *err)
{
    folded *f = sotto_calloc(1, sizeof *f);

    *network = NULL;
    if (f == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory to fold the network");
    }
    f->max_shift = options != NULL && options->max_shift > 0.0
                       ? options->max_shift
                       : DEFAULT_MAX_SHIFT;
    const sotto_status status = fold(f, graph, err);
    if (status != SOTTO_OK) {
        nn_network_free(&f->network);
        return status;
    }
    *network = &f->network;
    return SOTTO_OK;
}

size_t nn_network_tensor_size(const nn_network *network, size_t k)
{
    SOTTO_ASSERT(k <= network->n_steps);
    return k == 0 ? network->n_inputs : network->steps[k - 1].n_elements;
}

nn_range nn_network_tensor_range(const nn_network *network, size_t k)
{
    SOTTO_ASSERT(k <= network->n_steps);
    return k == 0 ? network->input_range : network->steps[k - 1].range;
}

double nn_step_coefficient(const nn_step *step, int power, size_t element)
{
    SOTTO_ASSERT(step->kind == NN_STEP_POLY && power >= 0 &&
                 power <= step->degree && element < step->n_elements);
    return step
        ->poly[(size_t)power * nn_shape_size(&step->poly_shape) +
               nn_shape_param_index(&step->poly_shape, &step->shape, element)];
}
