/* SPDX-License-Identifier: MIT
 * Slot programs on plain numbers.
 */
#include "nn/single/simulate.h"

#include <string.h>

#include "base/mem.h"

/* Memory for diagonals of one map. */
#define FILL_BYTES ((size_t)64 << 20)

/* One run. */
typedef struct run {
    const nn_single *single;
    nn_slots_hook hook;
    void *arg;
    size_t slots;
    double **tensor;                         /* [n_steps + 1][n_cts][slots] */
    double *diagonal, *inner, *sum, *pooled; /* [slots] */
} run;

/* to[j] += from[j + by]. */
static void add_rotated(const run *r, double *to, const double *from, size_t by)
{
    for (size_t j = 0; j < r->slots; j++) {
        to[j] += from[(j + by) & (r->slots - 1)];
    }
}

/* Input ciphertext number `in` of a map, before its cells are summed. */
static const double *source_of(const run *r, size_t step, size_t in)
{
    size_t n;
    const uint32_t *sources =
        nn_affine_sources(r->single->network->steps[step].affine, &n);

    for (size_t k = 0;; k++) {
        const size_t n_cts = r->single->places[sources[k]]->layout.n_cts;
        if (in < n_cts) {
            return r->tensor[sources[k]] + in * r->slots;
        }
        in -= n_cts;
    }
}

/* Input ciphertext number `in` of a map, cells summed (in r->pooled). */
static const double *input_of(const run *r, size_t step, size_t in)
{
    const nn_single_map *map = &r->single->map[step];
    const double *source = source_of(r, step, in);
    const uint32_t area = map->pool[0] * map->pool[1];

    if (area == 1) {
        return source;
    }
    memset(r->pooled, 0, r->slots * sizeof *r->pooled);
    for (uint32_t i = 0; i < area; i++) {
        add_rotated(r, r->pooled, source,
                    nn_cell_rotation(&map->sum_step[2 * in], map->pool, i,
                                     (uint32_t)r->slots));
    }
    return r->pooled;
}

/* inner += rot_-giant(diagonal) ⊙ rot_baby(in). */
static void add_product(const run *r, const nn_single_diagonal *d,
                        const double *in)
{
    const size_t baby = d->rotation + r->slots - d->giant;
    const size_t mask = r->slots - 1;

    for (size_t j = 0; j < r->slots; j++) {
        r->inner[j] += r->diagonal[(j + r->slots - d->giant) & mask] *
                       in[(j + baby) & mask];
    }
}

static void fold_sums(const run *r, const nn_single_map *map)
{
    for (uint32_t f = map->fold; f < map->window; f *= 2) {
        memcpy(r->inner, r->sum, r->slots * sizeof *r->sum);
        add_rotated(r, r->sum, r->inner, f);
    }
}

/* Makes output ciphertext `out` in r->sum; *at is its first diagonal and moves
 * behind its last. */
static void run_output(const run *r, size_t step, nn_single_filler *filler,
                       uint32_t out, size_t *at)
{
    const nn_single_map *map = &r->single->map[step];
    const nn_single_diagonal *d = map->diagonal;

    memset(r->sum, 0, r->slots * sizeof *r->sum);
    while (*at < map->n_diagonals && d[*at].out == out) {
        const uint32_t giant = d[*at].giant;
        memset(r->inner, 0, r->slots * sizeof *r->inner);
        for (; *at < map->n_diagonals && d[*at].out == out &&
               d[*at].giant == giant;
             ++*at) {
            nn_single_fill(filler, *at, r->diagonal);
            add_product(r, &d[*at], input_of(r, step, d[*at].in));
        }
        add_rotated(r, r->sum, r->inner, giant);
    }
    fold_sums(r, map);
    nn_single_fill_bias(filler, out, r->diagonal);
    add_rotated(r, r->sum, r->diagonal, 0);
}

static sotto_status run_affine(const run *r, size_t step, sotto_error *err)
{
    nn_single_filler *filler;
    size_t at = 0;

    SOTTO_TRY(nn_single_filler_new(&filler, r->single, step, FILL_BYTES, err));
    for (uint32_t out = 0; out < r->single->map[step].n_out; out++) {
        run_output(r, step, filler, out, &at);
        memcpy(r->tensor[step + 1] + out * r->slots, r->sum,
               r->slots * sizeof *r->sum);
    }
    nn_single_filler_free(filler);
    return SOTTO_OK;
}

static double polynomial(const nn_step *step, size_t element, double x)
{
    double y = 0;

    if (step->kind == NN_STEP_SQUARE) {
        return x * x;
    }
    for (int power = step->degree; power >= 0; power--) {
        y = y * x + nn_step_coefficient(step, power, element);
    }
    return y;
}

/* Squares work on every slot; polynomials have coefficients only where elements
 * lie. */
static void run_activation(const run *r, size_t k)
{
    const nn_step *step = &r->single->network->steps[k];
    const nn_places *places = r->single->places[k + 1];
    const double *from = r->tensor[step->source];
    double *to = r->tensor[k + 1];

    if (step->kind == NN_STEP_SQUARE) {
        for (size_t j = 0; j < places->layout.n_cts * r->slots; j++) {
            to[j] = from[j] * from[j];
        }
        return;
    }
    for (size_t e = 0; e < places->n_elements; e++) {
        for (size_t p = places->first[e]; p < places->first[e + 1]; p++) {
            for (size_t j = places->address[p] & (r->slots - 1); j < r->slots;
                 j += places->layout.period) {
                const size_t at = (places->address[p] & ~(r->slots - 1)) + j;
                to[at] = polynomial(step, e, from[at]);
            }
        }
    }
}

static void call_hook(const run *r, size_t tensor)
{
    if (r->hook != NULL) {
        r->hook(r->arg, tensor, r->single->places[tensor], r->tensor[tensor]);
    }
}

static sotto_status run_steps(run *r, double *out, const double *in,
                              sotto_error *err)
{
    const nn_network *network = r->single->network;

    r->diagonal = sotto_calloc(4 * r->slots, sizeof *r->diagonal);
    for (size_t k = 0; k <= network->n_steps; k++) {
        r->tensor[k] = sotto_calloc(
            r->single->places[k]->layout.n_cts * r->slots, sizeof(**r->tensor));
        if (r->tensor[k] == NULL || r->diagonal == NULL) {
            return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for slots");
        }
    }
    r->inner = r->diagonal + r->slots;
    r->sum = r->inner + r->slots;
    r->pooled = r->sum + r->slots;
    nn_places_pack(r->single->places[0], r->tensor[0], in);
    call_hook(r, 0);
    for (size_t k = 0; k < network->n_steps; k++) {
        if (network->steps[k].kind == NN_STEP_AFFINE) {
            SOTTO_TRY(run_affine(r, k, err));
        } else {
            run_activation(r, k);
        }
        call_hook(r, k + 1);
    }
    nn_places_unpack(r->single->places[network->n_steps], out,
                     r->tensor[network->n_steps]);
    return SOTTO_OK;
}

sotto_status nn_single_simulate(const nn_single *single, double *out,
                                const double *in, nn_slots_hook hook, void *arg,
                                sotto_error *err)
{
    const size_t n_steps = single->network->n_steps;
    run r = {.single = single,
             .hook = hook,
             .arg = arg,
             .slots = (size_t)1 << single->log2_slots,
             .tensor = sotto_calloc(n_steps + 1, sizeof(*r.tensor))};
    const sotto_status status =
        r.tensor == NULL
            ? sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for slots")
            : run_steps(&r, out, in, err);

    for (size_t k = 0; r.tensor != NULL && k <= n_steps; k++) {
        sotto_free(r.tensor[k]);
    }
    sotto_free(r.tensor);
    sotto_free(r.diagonal);
    return status;
}
