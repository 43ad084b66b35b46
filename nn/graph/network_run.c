/* SPDX-License-Identifier: MIT
 * Running a folded network in double precision, for tests and predictions.
 *
 * Images are taken in blocks; a tensor of a block is [elements][lanes]. Affine
 * maps run group by group exactly as a batch executor runs them, so that a
 * hook sees (and may round) what will be multiplied.
 */
#include <string.h>

#include "base/mem.h"
#include "nn/graph/fold.h"
#include "nn/graph/graph_internal.h"

#define LANES ((size_t)32)

/* Scratch of one worker. */
typedef struct worker {
    double **tensors;    /* [n_steps + 1], [elements][lanes] each */
    nn_cursor **cursors; /* [n_steps], NULL where the step is no map */
} worker;

typedef struct job {
    const nn_network *network;
    const nn_run_hooks *hooks;
    const float *in;
    double *out;
    size_t n_images;
    nn_groups **groups; /* [n_steps] */
    int n_workers;
    worker *workers;
} job;

/* One group for all lanes: target rows = bias + weights · inputs. */
static void run_group(const nn_group *group, double *const *tensors,
                      double *target, size_t lanes)
{
    for (size_t r = 0; r < group->n_rows; r++) {
        const double *weights = group->weights + r * group->n_inputs;
        double *to = target + group->rows[r] * lanes;
        for (size_t l = 0; l < lanes; l++) {
            to[l] = group->biases[r];
        }
        for (size_t i = 0; i < group->n_inputs; i++) {
            const double weight = weights[i];
            const double *from = tensors[group->inputs[i].source] +
                                 group->inputs[i].index * lanes;
            for (size_t l = 0; l < lanes; l++) {
                to[l] += weight * from[l];
            }
        }
    }
}

static void run_affine(const job *j, const worker *w, size_t k, size_t lanes)
{
    for (size_t g = 0; g < j->groups[k]->n_groups; g++) {
        nn_group group = nn_cursor_group(w->cursors[k], g);
        if (j->hooks != NULL && j->hooks->group != NULL) {
            j->hooks->group(j->hooks->arg, k, &group);
        }
        run_group(&group, w->tensors, w->tensors[k + 1], lanes);
    }
}

static void run_polynomial(const nn_step *step, double *to, const double *from,
                           size_t lanes)
{
    for (size_t i = 0; i < step->n_elements; i++) {
        for (size_t l = 0; l < lanes; l++) {
            to[i * lanes + l] = nn_step_coefficient(step, step->degree, i);
        }
        for (int power = step->degree - 1; power >= 0; power--) {
            const double c = nn_step_coefficient(step, power, i);
            for (size_t l = 0; l < lanes; l++) {
                to[i * lanes + l] = to[i * lanes + l] * from[i * lanes + l] + c;
            }
        }
    }
}

/* The largest value under one window, in one lane. */
static double window_maximum(const nn_step *step, const nn_shape *in,
                             const double *plane, size_t h, size_t w,
                             size_t lanes)
{
    const nn_window *win = &step->window;
    size_t first_h, end_h, first_w, end_w;
    double best = 0.0;
    bool any = false;

    nn_window_taps(&first_h, &end_h, h, win->stride[0], win->pad[0],
                   win->dilation[0], win->kernel[0], in->dim[1]);
    nn_window_taps(&first_w, &end_w, w, win->stride[1], win->pad[1],
                   win->dilation[1], win->kernel[1], in->dim[2]);
    for (size_t kh = first_h; kh < end_h; kh++) {
        for (size_t kw = first_w; kw < end_w; kw++) {
            const size_t y =
                h * win->stride[0] + kh * win->dilation[0] - win->pad[0];
            const size_t x =
                w * win->stride[1] + kw * win->dilation[1] - win->pad[1];
            const double value = plane[(y * in->dim[2] + x) * lanes];
            if (!any || value > best) {
                best = value;
            }
            any = true;
        }
    }
    return best;
}

static void run_max_pool(const nn_step *step, const nn_shape *in, double *to,
                         const double *from, size_t lanes)
{
    const size_t plane = in->dim[1] * in->dim[2];
    size_t at = 0;

    for (size_t c = 0; c < step->shape.dim[0]; c++) {
        for (size_t h = 0; h < step->shape.dim[1]; h++) {
            for (size_t w = 0; w < step->shape.dim[2]; w++, at++) {
                for (size_t l = 0; l < lanes; l++) {
                    to[at * lanes + l] = window_maximum(
                        step, in, from + c * plane * lanes + l, h, w, lanes);
                }
            }
        }
    }
}

static void run_step(const job *j, const worker *w, size_t k, size_t lanes)
{
    const nn_network *network = j->network;
    const nn_step *step = &network->steps[k];
    const double *from = w->tensors[step->source];
    double *to = w->tensors[k + 1];

    switch (step->kind) {
    case NN_STEP_AFFINE:
        run_affine(j, w, k, lanes);
        break;
    case NN_STEP_SQUARE:
        for (size_t i = 0; i < step->n_elements * lanes; i++) {
            to[i] = from[i] * from[i];
        }
        break;
    case NN_STEP_POLY:
        run_polynomial(step, to, from, lanes);
        break;
    case NN_STEP_RELU:
        for (size_t i = 0; i < step->n_elements * lanes; i++) {
            to[i] = from[i] > 0.0 ? from[i] : 0.0;
        }
        break;
    case NN_STEP_MAX_POOL:
        run_max_pool(step,
                     step->source == 0
                         ? &network->input_shape
                         : &network->steps[step->source - 1].shape,
                     to, from, lanes);
        break;
    }
}

/* Tells the hook that tensor k of a block is there. */
static void show_tensor(const job *j, const worker *w, size_t k, size_t lanes,
                        size_t first)
{
    if (j->hooks != NULL && j->hooks->tensor != NULL) {
        j->hooks->tensor(j->hooks->arg, k, w->tensors[k],
                         nn_network_tensor_size(j->network, k), lanes, first);
    }
}

/* One block of images. */
static sotto_status run_block(void *arg, size_t task, int number)
{
    const job *j = arg;
    const worker *w = &j->workers[number];
    const nn_network *network = j->network;
    const size_t first = task * LANES;
    const size_t left = j->n_images - first;
    const size_t lanes = left < LANES ? left : LANES;
    const size_t n_in = network->n_inputs, n_out = network->n_outputs;

    for (size_t l = 0; l < lanes; l++) {
        for (size_t i = 0; i < n_in; i++) {
            w->tensors[0][i * lanes + l] =
                (double)j->in[(first + l) * n_in + i];
        }
    }
    show_tensor(j, w, 0, lanes, first);
    for (size_t k = 0; k < network->n_steps; k++) {
        run_step(j, w, k, lanes);
        show_tensor(j, w, k + 1, lanes, first);
    }
    for (size_t l = 0; l < lanes; l++) {
        for (size_t i = 0; i < n_out; i++) {
            j->out[(first + l) * n_out + i] =
                w->tensors[network->n_steps][i * lanes + l];
        }
    }
    return SOTTO_OK;
}

static void clear_job(job *j)
{
    const size_t n_steps = j->network->n_steps;

    for (int t = 0; j->workers != NULL && t < j->n_workers; t++) {
        worker *w = &j->workers[t];
        for (size_t k = 0; w->tensors != NULL && k <= n_steps; k++) {
            sotto_free(w->tensors[k]);
        }
        for (size_t k = 0; w->cursors != NULL && k < n_steps; k++) {
            nn_cursor_free(w->cursors[k]);
        }
        sotto_free(w->tensors);
        sotto_free(w->cursors);
    }
    for (size_t k = 0; j->groups != NULL && k < n_steps; k++) {
        nn_groups_free(j->groups[k]);
    }
    sotto_free(j->workers);
    sotto_free(j->groups);
}

static sotto_status make_worker(const job *j, worker *w, sotto_error *err)
{
    const size_t n_steps = j->network->n_steps;
    bool ok;

    w->tensors = sotto_calloc(n_steps + 1, sizeof *w->tensors);
    w->cursors = sotto_calloc(n_steps, sizeof *w->cursors);
    ok = w->tensors != NULL && w->cursors != NULL;
    for (size_t k = 0; ok && k <= n_steps; k++) {
        w->tensors[k] = sotto_calloc(nn_network_tensor_size(j->network, k),
                                     LANES * sizeof(double));
        ok = w->tensors[k] != NULL;
    }
    if (!ok) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for tensors");
    }
    for (size_t k = 0; k < n_steps; k++) {
        if (j->groups[k] != NULL) {
            SOTTO_TRY(nn_cursor_new(&w->cursors[k], j->network->steps[k].affine,
                                    j->groups[k], err));
        }
    }
    return SOTTO_OK;
}

/* Allocates everything that blocks need. */
static sotto_status make_job(job *j, sotto_error *err)
{
    const nn_network *network = j->network;

    j->groups = sotto_calloc(network->n_steps, sizeof(nn_groups *));
    j->workers = sotto_calloc((size_t)j->n_workers, sizeof *j->workers);
    if (j->groups == NULL || j->workers == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory to run a network");
    }
    for (size_t k = 0; k < network->n_steps; k++) {
        if (network->steps[k].kind == NN_STEP_AFFINE) {
            SOTTO_TRY(nn_groups_new(&j->groups[k], network->steps[k].affine,
                                    NULL, err));
        }
    }
    for (int t = 0; t < j->n_workers; t++) {
        SOTTO_TRY(make_worker(j, &j->workers[t], err));
    }
    return SOTTO_OK;
}

sotto_status nn_network_run(const nn_network *network, sotto_pool *pool,
                            double *out, const float *in, size_t n_images,
                            const nn_run_hooks *hooks, sotto_error *err)
{
    job j = {.network = network,
             .hooks = hooks,
             .in = in,
             .out = out,
             .n_images = n_images,
             .n_workers = sotto_pool_threads(pool)};
    sotto_status status = make_job(&j, err);

    if (status == SOTTO_OK) {
        status =
            sotto_pool_run(pool, (n_images + LANES - 1) / LANES, run_block, &j);
    }
    clear_job(&j);
    return status;
}
