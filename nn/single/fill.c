/* SPDX-License-Identifier: MIT
 * Diagonals and biases from the rows of a map.
 *
 * Diagonals are made in blocks of as many as memory allows: one pass over the
 * rows of an output ciphertext puts every weight where nn_geometry_move says.
 */
#include <string.h>

#include "base/mem.h"
#include "nn/single/compile_internal.h"

struct nn_single_filler {
    const nn_single *single; /* borrowed */
    const nn_single_map *map;
    const nn_step *step;
    nn_geometry geometry;
    nn_cursor *cursor;
    nn_pooled pooled;
    nn_shape shape[NN_SINGLE_MAX_SOURCES]; /* of the sources */
    size_t cap;                            /* diagonals that fit block */
    size_t first, end;                     /* those in it */
    double *block;                         /* [cap][slots] */
    size_t *index; /* [n_in][slots]: diagonal of one output, plus 1 */
};

void nn_single_filler_free(nn_single_filler *filler)
{
    if (filler != NULL) {
        nn_cursor_free(filler->cursor);
        nn_pooled_clear(&filler->pooled);
        sotto_free(filler->block);
        sotto_free(filler->index);
        sotto_free(filler);
    }
}

static sotto_status init(nn_single_filler *f, const nn_single *single,
                         size_t step, size_t memory_bytes, sotto_error *err)
{
    const size_t slots = (size_t)1 << single->log2_slots;
    const size_t fit = memory_bytes / (slots * sizeof *f->block);

    f->single = single;
    f->map = &single->map[step];
    f->step = &single->network->steps[step];
    f->cap = fit < f->map->n_diagonals ? fit : f->map->n_diagonals;
    f->cap = f->cap == 0 ? 1 : f->cap;
    SOTTO_ASSERT(nn_geometry_init(
        &f->geometry, f->step->affine, (const nn_places *const *)single->places,
        single->places[step + 1], f->map->fold, f->map->pool));
    for (size_t k = 0; k < f->geometry.n_sources; k++) {
        f->shape[k] = f->geometry.source[k]->layout.shape;
    }
    f->block = sotto_calloc(f->cap * slots, sizeof *f->block);
    f->index = sotto_calloc((f->map->n_in + 1) * slots, sizeof *f->index);
    if (f->block == NULL || f->index == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory for %zu diagonals of %zu slots", f->cap,
                          slots);
    }
    SOTTO_TRY(nn_pooled_init(&f->pooled, f->step->affine, err));
    return nn_cursor_new(&f->cursor, f->step->affine, NULL, err);
}

sotto_status nn_single_filler_new(nn_single_filler **filler,
                                  const nn_single *single, size_t step,
                                  size_t memory_bytes, sotto_error *err)
{
    nn_single_filler *made = sotto_calloc(1, sizeof *made);

    *filler = NULL;
    const sotto_status status =
        made == NULL
            ? sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for diagonals")
            : init(made, single, step, memory_bytes, err);
    if (status != SOTTO_OK) {
        nn_single_filler_free(made);
        return status;
    }
    *filler = made;
    return SOTTO_OK;
}

/* Adds a weight to its diagonal in all windows. */
static void put_weight(nn_single_filler *f, nn_move move, double weight)
{
    const nn_geometry *g = &f->geometry;
    const size_t d = f->index[(size_t)move.in * g->slots + move.rotation];

    if (d == 0 || d - 1 < f->first || d - 1 >= f->end) {
        return;
    }
    double *slot = f->block + (d - 1 - f->first) * g->slots;
    for (uint32_t k = 0; k < g->slots; k += g->target_step) {
        slot[(move.at + k) & (g->slots - 1)] = weight;
    }
}

static void put_row(nn_single_filler *f, uint32_t out, size_t r)
{
    const nn_geometry *g = &f->geometry;
    size_t n_sources;
    const uint32_t *sources = nn_affine_sources(f->step->affine, &n_sources);
    const nn_row whole = nn_cursor_row(f->cursor, r);
    nn_row row;

    SOTTO_ASSERT(nn_pooled_row(&f->pooled, &row, &whole, f->step->affine,
                               f->shape, f->map->pool));

    for (uint32_t k = g->out->first[r]; k < g->out->first[r + 1]; k++) {
        const uint32_t address = g->out->address[k];
        size_t n = 0;
        if (address >> g->out->layout.log2_slots != out) {
            continue;
        }
        for (size_t t = 0; t < row.n_terms; t++) {
            while (sources[n] != row.terms[t].from.source) {
                n++;
            }
            put_weight(f,
                       nn_geometry_move(g, n, row.terms[t].from.index,
                                        address & (g->slots - 1)),
                       row.terms[t].weight);
        }
    }
}

static bool lies_in(const nn_places *places, size_t element, uint32_t ct)
{
    for (uint32_t k = places->first[element]; k < places->first[element + 1];
         k++) {
        if (places->address[k] >> places->layout.log2_slots == ct) {
            return true;
        }
    }
    return false;
}

/* Makes the diagonals from `first` on, as many as there is room for. */
static void make_block(nn_single_filler *f, size_t first)
{
    const nn_single_diagonal *d = f->map->diagonal;
    const nn_geometry *g = &f->geometry;

    f->first = first;
    f->end = first + f->cap < f->map->n_diagonals ? first + f->cap
                                                  : f->map->n_diagonals;
    memset(f->block, 0, f->cap * g->slots * sizeof *f->block);
    for (size_t at = first; at < f->end;) {
        const uint32_t out = d[at].out;
        memset(f->index, 0, (size_t)g->n_in * g->slots * sizeof *f->index);
        for (; at < f->end && d[at].out == out; at++) {
            f->index[(size_t)d[at].in * g->slots + d[at].rotation] = at + 1;
        }
        for (size_t r = 0; r < f->step->n_elements; r++) {
            if (lies_in(g->out, r, out)) {
                put_row(f, out, r);
            }
        }
    }
}

void nn_single_fill(void *filler, size_t index, double *slot)
{
    nn_single_filler *f = filler;
    const size_t slots = f->geometry.slots;

    SOTTO_ASSERT(index < f->map->n_diagonals);
    if (index < f->first || index >= f->end) {
        make_block(f, index);
    }
    memcpy(slot, f->block + (index - f->first) * slots, slots * sizeof *slot);
}

void nn_single_fill_bias(void *filler, size_t index, double *slot)
{
    nn_single_filler *f = filler;
    const nn_geometry *g = &f->geometry;
    const nn_places *out = g->out;

    SOTTO_ASSERT(index < f->map->n_out);
    memset(slot, 0, g->slots * sizeof *slot);
    for (size_t r = 0; r < f->step->n_elements; r++) {
        if (!lies_in(out, r, (uint32_t)index)) {
            continue;
        }
        const double bias = nn_cursor_row(f->cursor, r).bias;
        for (uint32_t k = out->first[r]; k < out->first[r + 1]; k++) {
            if (out->address[k] >> out->layout.log2_slots != index) {
                continue;
            }
            for (uint32_t j = out->address[k] & (g->slots - 1); j < g->slots;
                 j += out->layout.period) {
                slot[j] = bias;
            }
        }
    }
}
