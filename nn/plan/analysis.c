/* SPDX-License-Identifier: MIT
 * Norms and work of the affine maps; see analysis_internal.h.
 *
 * The spectral norm comes from power iteration on AᵀA, started from a fixed
 * positive vector. The iteration approaches the norm from below; a margin of
 * 5 % covers what is left after the last round, and the result is never taken
 * larger than the rigorous bound sqrt(||A||_1·||A||_inf).
 */
#include "nn/plan/analysis_internal.h"

#include <math.h>

#include "base/mem.h"

#define POWER_ROUNDS 16
#define POWER_MARGIN 1.05

/* Everything one map needs while it is analysed. */
typedef struct map_scan {
    const nn_network *network;
    const nn_affine *affine;
    nn_groups *groups;
    nn_cursor *cursor;
    const uint32_t *sources;
    size_t n_sources;
    double *in[NN_MAX_SOURCES];  /* vectors over each source */
    double *sum[NN_MAX_SOURCES]; /* column sums, then AᵀA·in */
} map_scan;

static size_t part_of(const map_scan *scan, uint32_t source)
{
    size_t p = 0;
    while (scan->sources[p] != source) {
        p++;
    }
    return p;
}

/* One pass for the norms that can be read off directly. */
static void scan_rows(map_scan *scan, nn_step_facts *facts)
{
    for (size_t g = 0; g < scan->groups->n_groups; g++) {
        const nn_group group = nn_cursor_group(scan->cursor, g);
        facts->inputs += group.n_inputs;
        for (size_t r = 0; r < group.n_rows; r++) {
            double square[NN_MAX_SOURCES] = {0};
            double sum[NN_MAX_SOURCES] = {0};
            size_t terms[NN_MAX_SOURCES] = {0};
            for (size_t i = 0; i < group.n_inputs; i++) {
                const double w = fabs(group.weights[r * group.n_inputs + i]);
                const size_t p = part_of(scan, group.inputs[i].source);
                nn_map_part *part = &facts->part[p];
                part->weight_max = fmax(part->weight_max, w);
                square[p] += w * w;
                sum[p] += w;
                terms[p] += w != 0;
                scan->sum[p][group.inputs[i].index] += w;
            }
            for (size_t p = 0; p < scan->n_sources; p++) {
                nn_map_part *part = &facts->part[p];
                part->row_norm = fmax(part->row_norm, sqrt(square[p]));
                part->row_sum = fmax(part->row_sum, sum[p]);
                part->row_terms =
                    terms[p] > part->row_terms ? terms[p] : part->row_terms;
            }
        }
    }
    facts->work = scan->groups->work;
}

/* next = AᵀA·in for one source; returns |A·in|². */
static double apply_twice(map_scan *scan, size_t p, const double *in,
                          double *next)
{
    const uint32_t source = scan->sources[p];
    const size_t n = nn_network_tensor_size(scan->network, source);
    double norm = 0;
    for (size_t i = 0; i < n; i++) {
        next[i] = 0;
    }
    for (size_t g = 0; g < scan->groups->n_groups; g++) {
        const nn_group group = nn_cursor_group(scan->cursor, g);
        for (size_t r = 0; r < group.n_rows; r++) {
            const double *w = group.weights + r * group.n_inputs;
            double dot = 0;
            for (size_t i = 0; i < group.n_inputs; i++) {
                if (group.inputs[i].source == source) {
                    dot += w[i] * in[group.inputs[i].index];
                }
            }
            norm += dot * dot;
            for (size_t i = 0; i < group.n_inputs; i++) {
                if (group.inputs[i].source == source) {
                    next[group.inputs[i].index] += w[i] * dot;
                }
            }
        }
    }
    return norm;
}

/* Spectral norm of the part that reads source p. */
static double spectral_norm(map_scan *scan, size_t p, const nn_map_part *part)
{
    const size_t n = nn_network_tensor_size(scan->network, scan->sources[p]);
    double *x = scan->in[p];
    double *next = scan->sum[p];
    double column_sum = 0;
    for (size_t i = 0; i < n; i++) {
        column_sum = fmax(column_sum, next[i]);
        /* A fixed start that is orthogonal to nothing in particular. */
        x[i] = 1.0 + (double)((i * 2654435761u) % 1024) / 1024.0;
    }
    const double bound = sqrt(part->row_sum * column_sum);
    double norm = 0;
    for (int round = 0; round < POWER_ROUNDS; round++) {
        double length = 0;
        for (size_t i = 0; i < n; i++) {
            length += x[i] * x[i];
        }
        length = sqrt(length);
        if (length == 0) {
            return 0;
        }
        for (size_t i = 0; i < n; i++) {
            x[i] /= length;
        }
        norm = sqrt(apply_twice(scan, p, x, next));
        double *t = x;
        x = next;
        next = t;
    }
    return fmin(norm * POWER_MARGIN, bound);
}

static sotto_status scan_open(map_scan *scan, sotto_error *err)
{
    scan->sources = nn_affine_sources(scan->affine, &scan->n_sources);
    if (scan->n_sources > NN_MAX_SOURCES) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "a map that reads %zu tensors, expected at most %d",
                          scan->n_sources, NN_MAX_SOURCES);
    }
    SOTTO_TRY(nn_groups_new(&scan->groups, scan->affine, NULL, err));
    SOTTO_TRY(nn_cursor_new(&scan->cursor, scan->affine, scan->groups, err));
    for (size_t p = 0; p < scan->n_sources; p++) {
        const size_t n = nn_affine_source_size(scan->affine, p);
        scan->in[p] = sotto_calloc(n, sizeof(double));
        scan->sum[p] = sotto_calloc(n, sizeof(double));
        if (scan->in[p] == NULL || scan->sum[p] == NULL) {
            return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
        }
    }
    return SOTTO_OK;
}

static void scan_close(map_scan *scan)
{
    for (size_t p = 0; p < NN_MAX_SOURCES; p++) {
        sotto_free(scan->in[p]);
        sotto_free(scan->sum[p]);
    }
    nn_cursor_free(scan->cursor);
    nn_groups_free(scan->groups);
}

static sotto_status analyse_map(nn_step_facts *facts, nn_step_facts *all,
                                const nn_network *network, const nn_step *step,
                                sotto_error *err)
{
    map_scan scan = {.network = network, .affine = step->affine};
    const sotto_status status = scan_open(&scan, err);
    if (status == SOTTO_OK) {
        facts->n_parts = (int)scan.n_sources;
        for (size_t p = 0; p < scan.n_sources; p++) {
            facts->part[p].source = scan.sources[p];
            facts->n_in += nn_affine_source_size(scan.affine, p);
            if (scan.sources[p] > 0) {
                all[scan.sources[p] - 1].n_readers++;
            }
        }
        scan_rows(&scan, facts);
        for (size_t p = 0; p < scan.n_sources; p++) {
            facts->part[p].spectral = spectral_norm(&scan, p, &facts->part[p]);
        }
    }
    scan_close(&scan);
    return status;
}

sotto_status nn_analyse(nn_step_facts **facts, const nn_network *network,
                        sotto_error *err)
{
    *facts = NULL;
    nn_step_facts *all = sotto_calloc(network->n_steps, sizeof(*all));
    if (all == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    for (size_t k = 0; k < network->n_steps; k++) {
        const nn_step *step = &network->steps[k];
        all[k].kind = step->kind;
        all[k].n_out = step->n_elements;
        sotto_status status = SOTTO_OK;
        if (step->kind == NN_STEP_AFFINE) {
            status = analyse_map(&all[k], all, network, step, err);
        } else if (step->source > 0) {
            all[step->source - 1].n_readers++;
        }
        if (status != SOTTO_OK) {
            sotto_free(all);
            return status;
        }
    }
    *facts = all;
    return SOTTO_OK;
}
