/* SPDX-License-Identifier: MIT
 * Plain execution: images in blocks of lanes, buffers, threads.
 *
 * A block's value of a node is [elements][NN_PLAIN_LANES]. Buffers are shared
 * by nodes whose values do not live at the same time.
 */
#include "nn/graph/plain.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/plain_internal.h"

/* Which buffer holds each node's value, and the buffers' elements. */
typedef struct buffer_plan {
    int n_buffers;
    int *buffer;  /* [n_nodes] */
    size_t *size; /* [n_buffers] in elements */
} buffer_plan;

typedef struct job {
    const nn_graph *graph;
    int id; /* node whose value is wanted; all nodes up to it are run */
    const float *in;
    float *out;
    size_t n_images;
    buffer_plan plan;
    int n_workers;
    float ***buffers;  /* [n_workers][n_buffers] */
    nn_range **ranges; /* [n_workers][n_nodes], or NULL */
    size_t *bad_image; /* [n_workers] first image with a value not finite + 1 */
    int *bad_node;
} job;

/* last[i] = the last node that reads the value of node i. */
static void find_last_use(int *last, const nn_graph *graph, int id)
{
    for (int i = 0; i <= id; i++) {
        const nn_node *node = &graph->nodes[i];
        last[i] = i;
        for (int k = 0; k < node->n_inputs; k++) {
            last[node->inputs[k]] = i;
        }
    }
}

/* Gives every node the first buffer that is free when it is made. */
static void assign_buffers(buffer_plan *plan, const nn_graph *graph, int id,
                           const int *last, int *holder)
{
    for (int i = 0; i <= id; i++) {
        const size_t size = nn_shape_size(&graph->nodes[i].shape);
        int b = 0;
        /* A value read for the last time by node i is still needed by it. */
        while (b < plan->n_buffers && last[holder[b]] >= i) {
            b++;
        }
        if (b == plan->n_buffers) {
            plan->n_buffers++;
        }
        holder[b] = i;
        plan->buffer[i] = b;
        plan->size[b] = size > plan->size[b] ? size : plan->size[b];
    }
}

static sotto_status plan_buffers(buffer_plan *plan, const nn_graph *graph,
                                 int id, sotto_error *err)
{
    const size_t n = (size_t)id + 1;
    int *last = sotto_calloc(n, sizeof *last);
    int *holder = sotto_calloc(n, sizeof *holder);

    plan->buffer = sotto_calloc(n, sizeof *plan->buffer);
    plan->size = sotto_calloc(n, sizeof *plan->size);
    const bool ok = last != NULL && holder != NULL && plan->buffer != NULL &&
                    plan->size != NULL;
    if (ok) {
        find_last_use(last, graph, id);
        assign_buffers(plan, graph, id, last, holder);
    }
    sotto_free(last);
    sotto_free(holder);
    return ok ? SOTTO_OK
              : sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %zu nodes", n);
}

/* Takes the images of a block apart into lanes; missing ones are zero. */
static void load_lanes(float *to, const float *in, size_t n, size_t n_images)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t l = 0; l < NN_PLAIN_LANES; l++) {
            to[i * NN_PLAIN_LANES + l] = l < n_images ? in[l * n + i] : 0.0F;
        }
    }
}

static void store_lanes(float *out, const float *from, size_t n,
                        size_t n_images)
{
    for (size_t l = 0; l < n_images; l++) {
        for (size_t i = 0; i < n; i++) {
            out[l * n + i] = from[i * NN_PLAIN_LANES + l];
        }
    }
}

/* Widens a node's range by the values of a block. Returns the number of lanes
 * before the first one with a value that is not finite. */
static size_t widen_range(nn_range *range, const float *value, size_t n,
                          size_t n_images)
{
    float min = value[0], max = value[0];
    size_t first_bad = n_images;

    for (size_t i = 0; i < n; i++) {
        for (size_t l = 0; l < n_images; l++) {
            const float x = value[i * NN_PLAIN_LANES + l];
            if (!isfinite(x) && l < first_bad) {
                first_bad = l;
            }
            min = x < min ? x : min;
            max = x > max ? x : max;
        }
    }
    if (!range->known || (double)min < range->min) {
        range->min = (double)min;
    }
    if (!range->known || (double)max > range->max) {
        range->max = (double)max;
    }
    range->known = true;
    return first_bad;
}

/* One block of images through all nodes. */
static sotto_status run_block(void *arg, size_t task, int worker)
{
    const job *j = arg;
    const nn_graph *graph = j->graph;
    float *const *buffers = j->buffers[worker];
    const size_t first = task * NN_PLAIN_LANES;
    const size_t left = j->n_images - first;
    const size_t n_images = left < NN_PLAIN_LANES ? left : NN_PLAIN_LANES;

    for (int i = 0; i <= j->id; i++) {
        const nn_node *node = &graph->nodes[i];
        const size_t n = nn_shape_size(&node->shape);
        float *value = buffers[j->plan.buffer[i]];
        if (i == 0) {
            load_lanes(value, j->in + first * n, n, n_images);
        } else {
            nn_plain_node(value, graph, node, buffers, j->plan.buffer);
        }
        if (j->ranges != NULL) {
            const size_t good =
                widen_range(&j->ranges[worker][i], value, n, n_images);
            if (good < n_images) {
                j->bad_image[worker] = first + good + 1;
                j->bad_node[worker] = i;
                return SOTTO_ERR_RANGE;
            }
        }
    }
    if (j->out != NULL) {
        const size_t n = nn_shape_size(&graph->nodes[j->id].shape);
        store_lanes(j->out + first * n, buffers[j->plan.buffer[j->id]], n,
                    n_images);
    }
    return SOTTO_OK;
}

static void clear_job(job *j)
{
    for (int t = 0; j->buffers != NULL && t < j->n_workers; t++) {
        for (int b = 0; j->buffers[t] != NULL && b < j->plan.n_buffers; b++) {
            sotto_free(j->buffers[t][b]);
        }
        sotto_free(j->buffers[t]);
    }
    for (int t = 0; j->ranges != NULL && t < j->n_workers; t++) {
        sotto_free(j->ranges[t]);
    }
    sotto_free(j->buffers);
    sotto_free(j->ranges);
    sotto_free(j->bad_image);
    sotto_free(j->bad_node);
    sotto_free(j->plan.buffer);
    sotto_free(j->plan.size);
}

/* Buffers of one worker. */
static bool make_buffers(const job *j, int t)
{
    j->buffers[t] =
        sotto_calloc((size_t)j->plan.n_buffers, sizeof **j->buffers);
    for (int b = 0; j->buffers[t] != NULL && b < j->plan.n_buffers; b++) {
        j->buffers[t][b] =
            sotto_calloc(j->plan.size[b], NN_PLAIN_LANES * sizeof(float));
        if (j->buffers[t][b] == NULL) {
            return false;
        }
    }
    return j->buffers[t] != NULL;
}

/* Allocates everything that blocks need. */
static sotto_status make_job(job *j, bool ranges, sotto_error *err)
{
    const size_t n_workers = (size_t)j->n_workers;
    bool ok;

    SOTTO_TRY(plan_buffers(&j->plan, j->graph, j->id, err));
    j->buffers = sotto_calloc(n_workers, sizeof *j->buffers);
    ok = j->buffers != NULL;
    for (int t = 0; ok && t < j->n_workers; t++) {
        ok = make_buffers(j, t);
    }
    if (ok && ranges) {
        j->ranges = sotto_calloc(n_workers, sizeof *j->ranges);
        j->bad_image = sotto_calloc(n_workers, sizeof *j->bad_image);
        j->bad_node = sotto_calloc(n_workers, sizeof *j->bad_node);
        ok = j->ranges != NULL && j->bad_image != NULL && j->bad_node != NULL;
        for (int t = 0; ok && t < j->n_workers; t++) {
            j->ranges[t] =
                sotto_calloc((size_t)j->graph->n_nodes, sizeof **j->ranges);
            ok = j->ranges[t] != NULL;
        }
    }
    return ok ? SOTTO_OK
              : sotto_fail(err, SOTTO_ERR_MEMORY,
                           "no memory to run the network on %d threads",
                           j->n_workers);
}

static size_t n_blocks(size_t n_images)
{
    return (n_images + NN_PLAIN_LANES - 1) / NN_PLAIN_LANES;
}

sotto_status nn_plain_run_node(const nn_graph *graph, sotto_pool *pool, int id,
                               float *out, const float *in, size_t n_images,
                               sotto_error *err)
{
    job j = {.graph = graph,
             .id = id,
             .in = in,
             .out = out,
             .n_images = n_images,
             .n_workers = sotto_pool_threads(pool)};

    SOTTO_ASSERT(id >= 0 && id < graph->n_nodes);
    sotto_status status = make_job(&j, false, err);
    if (status == SOTTO_OK) {
        status = sotto_pool_run(pool, n_blocks(n_images), run_block, &j);
    }
    clear_job(&j);
    return status;
}

sotto_status nn_plain_run(const nn_graph *graph, sotto_pool *pool, float *out,
                          const float *in, size_t n_images, sotto_error *err)
{
    return nn_plain_run_node(graph, pool, graph->n_nodes - 1, out, in, n_images,
                             err);
}

/* Joins the workers' ranges; min and max do not care for the order. */
static void join_ranges(nn_range *ranges, const job *j)
{
    for (int i = 0; i < j->graph->n_nodes; i++) {
        nn_range out = {0};
        for (int t = 0; t < j->n_workers; t++) {
            const nn_range *part = &j->ranges[t][i];
            if (!part->known) {
                continue;
            }
            out.min = out.known ? fmin(out.min, part->min) : part->min;
            out.max = out.known ? fmax(out.max, part->max) : part->max;
            out.known = true;
        }
        ranges[i] = out;
    }
}

/* The message for the lowest-numbered image with a value that is not finite. */
static sotto_status not_finite(const job *j, sotto_error *err)
{
    size_t image = SIZE_MAX;
    int node = 0;
    char text[200];

    for (int t = 0; t < j->n_workers; t++) {
        if (j->bad_image[t] != 0 && j->bad_image[t] - 1 < image) {
            image = j->bad_image[t] - 1;
            node = j->bad_node[t];
        }
    }
    return sotto_fail(
        err, SOTTO_ERR_RANGE, "%s: a value for image %zu is not finite",
        nn_node_text(text, sizeof text, &j->graph->nodes[node]), image);
}

sotto_status nn_plain_ranges(const nn_graph *graph, sotto_pool *pool,
                             nn_range *ranges, const float *in, size_t n_images,
                             sotto_error *err)
{
    job j = {.graph = graph,
             .id = graph->n_nodes - 1,
             .in = in,
             .n_images = n_images,
             .n_workers = sotto_pool_threads(pool)};

    SOTTO_ASSERT(n_images > 0);
    sotto_status status = make_job(&j, true, err);
    if (status == SOTTO_OK) {
        status = sotto_pool_run(pool, n_blocks(n_images), run_block, &j);
        if (status == SOTTO_ERR_RANGE) {
            status = not_finite(&j, err);
        } else {
            join_ranges(ranges, &j);
        }
    }
    clear_job(&j);
    return status;
}

size_t nn_plain_label(const float *scores, size_t n)
{
    size_t best = 0;

    SOTTO_ASSERT(n > 0);
    for (size_t i = 1; i < n; i++) {
        if (scores[i] > scores[best]) {
            best = i;
        }
    }
    return best;
}
