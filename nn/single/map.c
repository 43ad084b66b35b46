/* SPDX-License-Identifier: MIT
 * The arithmetic of one map: where terms go, which rotations they take.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/single/compile_internal.h"

/* Whether every output stands where folding leaves its sum. */
static bool targets_fit(const nn_geometry *g)
{
    const nn_layout *out = &g->out->layout;

    if (out->period < g->window) {
        /* Folding makes copies every f slots, and only those. */
        return out->period == g->fold;
    }
    for (size_t k = 0; k < g->out->first[g->out->n_elements]; k++) {
        if ((g->out->address[k] & (g->window - 1)) >= g->fold) {
            return false;
        }
    }
    return true;
}

/* Steps within cells of source k; false when they are not the same in all
 * cells. */
static bool cell_steps(nn_geometry *g, size_t k)
{
    const nn_places *source = g->source[k];
    const nn_shape *shape = &source->layout.shape;
    const int log2_slots = source->layout.log2_slots;

    if (g->pool[0] == 1 && g->pool[1] == 1) {
        return true;
    }
    if (shape->rank != 3 || !source->one_each || g->pool[0] > shape->dim[1] ||
        g->pool[1] > shape->dim[2]) {
        return false;
    }
    const size_t width = shape->dim[2], height = shape->dim[1];
    const uint32_t base = source->address[0];
    g->sum_step[k][0] = g->pool[0] > 1 ? source->address[width] - base : 0;
    g->sum_step[k][1] = g->pool[1] > 1 ? source->address[1] - base : 0;
    for (size_t e = 0; e < source->n_elements; e++) {
        const size_t y = e / width % height, x = e % width;
        const size_t i = y % g->pool[0], j = x % g->pool[1];
        const uint32_t first = source->address[e - i * width - j];
        /* Differences modulo 2^32: steps may be negative. */
        const uint32_t step =
            (uint32_t)i * g->sum_step[k][0] + (uint32_t)j * g->sum_step[k][1];
        if (source->address[e] != first + step ||
            source->address[e] >> log2_slots != first >> log2_slots) {
            return false;
        }
    }
    return true;
}

bool nn_geometry_init(nn_geometry *geometry, const nn_affine *affine,
                      const nn_places *const *places, const nn_places *out,
                      uint32_t fold, const uint32_t *pool)
{
    size_t n;
    const uint32_t *sources = nn_affine_sources(affine, &n);

    *geometry = (nn_geometry){.affine = affine,
                              .out = out,
                              .n_sources = n,
                              .slots = nn_layout_slots(&out->layout),
                              .window = 1,
                              .fold = fold,
                              .pool = {pool[0], pool[1]}};
    if (n > NN_SINGLE_MAX_SOURCES || fold == 0 || (fold & (fold - 1)) != 0) {
        return false;
    }
    for (size_t k = 0; k < n; k++) {
        const nn_places *source = places[sources[k]];
        geometry->source[k] = source;
        geometry->first_in[k] = geometry->n_in;
        geometry->n_in += source->layout.n_cts;
        if (!cell_steps(geometry, k)) {
            return false;
        }
        if (source->layout.log2_slots != out->layout.log2_slots) {
            return false;
        }
        if (source->layout.period > geometry->window) {
            geometry->window = source->layout.period;
        }
    }
    if (n == 0) {
        geometry->window = geometry->slots; /* a bias only */
    }
    geometry->target_step = out->layout.period > geometry->window
                                ? out->layout.period
                                : geometry->window;
    return fold <= geometry->window &&
           (uint64_t)geometry->n_in * out->layout.n_cts <=
               NN_SINGLE_MAX_ROTATIONS / fold &&
           targets_fit(geometry);
}

nn_move nn_geometry_move(const nn_geometry *geometry, size_t n, size_t element,
                         uint32_t p)
{
    const nn_places *source = geometry->source[n];
    const uint32_t mask = geometry->slots - 1;
    uint32_t least = UINT32_MAX;
    nn_move move = {0};

    for (uint32_t k = source->first[element]; k < source->first[element + 1];
         k++) {
        const uint32_t address = source->address[k];
        const uint32_t u = (address - p) & (geometry->window - 1);
        const uint32_t rotation = u & (geometry->fold - 1);
        const uint32_t back = geometry->fold - rotation;
        const uint32_t way = rotation < back ? rotation : back;
        if (way < least) {
            least = way;
            move.in =
                geometry->first_in[n] + (address >> source->layout.log2_slots);
            move.rotation = rotation;
            move.at = (p + u - rotation) & mask;
        }
    }
    return move;
}

sotto_status nn_rotations_init(nn_rotations *rotations,
                               const nn_geometry *geometry, sotto_error *err)
{
    const size_t words = ((size_t)geometry->fold + 63) / 64;
    const size_t pairs = (size_t)geometry->n_in * geometry->out->layout.n_cts;

    *rotations = (nn_rotations){.geometry = geometry, .words = words};
    rotations->bits = sotto_calloc(pairs * words, sizeof *rotations->bits);
    return rotations->bits != NULL
               ? SOTTO_OK
               : sotto_fail(err, SOTTO_ERR_MEMORY,
                            "no memory for the rotations of a map");
}

/* The terms of one source for an output at slot p, when each element of the
 * source lies in one place: nn_geometry_move without the search for it. */
static void mark_simple(const nn_rotations *rotations, size_t n, uint64_t *bits,
                        const nn_term *term, size_t n_terms, uint32_t p)
{
    const nn_geometry *g = rotations->geometry;
    const uint32_t *address = g->source[n]->address;
    const int log2_slots = g->source[n]->layout.log2_slots;
    const uint32_t mask = g->fold - 1; /* fold divides the window */

    for (size_t t = 0; t < n_terms; t++) {
        const uint32_t at = address[term[t].from.index];
        const uint32_t rotation = (at - p) & mask;
        const size_t in = g->first_in[n] + (at >> log2_slots);
        bits[in * rotations->words + rotation / 64] |= UINT64_C(1)
                                                       << (rotation % 64);
    }
}

/* The same for any source; false when a term lies nowhere. */
static bool mark_any(const nn_rotations *rotations, size_t n, uint64_t *bits,
                     const nn_term *term, size_t n_terms, uint32_t p)
{
    const nn_geometry *g = rotations->geometry;

    for (size_t t = 0; t < n_terms; t++) {
        if (nn_places_none(g->source[n], term[t].from.index)) {
            return false;
        }
        const nn_move move = nn_geometry_move(g, n, term[t].from.index, p);
        bits[move.in * rotations->words + move.rotation / 64] |=
            UINT64_C(1) << (move.rotation % 64);
    }
    return true;
}

bool nn_rotations_mark(nn_rotations *rotations, size_t r, const nn_row *row)
{
    const nn_geometry *g = rotations->geometry;
    const nn_places *out = g->out;
    size_t n_sources, first = 0;
    const uint32_t *sources = nn_affine_sources(g->affine, &n_sources);

    for (size_t n = 0; n < n_sources; n++) {
        size_t end = first;
        while (end < row->n_terms &&
               row->terms[end].from.source == sources[n]) {
            end++;
        }
        for (uint32_t k = out->first[r]; k < out->first[r + 1]; k++) {
            const uint32_t ct = out->address[k] >> out->layout.log2_slots;
            const uint32_t p = out->address[k] & (g->slots - 1);
            uint64_t *bits =
                rotations->bits + (size_t)ct * g->n_in * rotations->words;
            if (g->source[n]->one_each) {
                mark_simple(rotations, n, bits, row->terms + first, end - first,
                            p);
            } else if (!mark_any(rotations, n, bits, row->terms + first,
                                 end - first, p)) {
                return false;
            }
        }
        first = end;
    }
    return !nn_places_none(out, r);
}

sotto_status nn_rotations_list(nn_single_diagonal **diagonal, size_t *n,
                               const nn_rotations *rotations, sotto_error *err)
{
    const nn_geometry *g = rotations->geometry;
    const size_t pairs = (size_t)g->n_in * g->out->layout.n_cts;
    size_t count = 0, at = 0;

    for (size_t w = 0; w < pairs * rotations->words; w++) {
        count += (size_t)__builtin_popcountll(rotations->bits[w]);
    }
    *n = count;
    *diagonal = sotto_calloc(count, sizeof **diagonal);
    if (*diagonal == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %zu diagonals",
                          count);
    }
    for (size_t w = 0; w < pairs * rotations->words; w++) {
        const size_t pair = w / rotations->words;
        const size_t base = w % rotations->words * 64;
        for (uint64_t b = rotations->bits[w]; b != 0; b &= b - 1) {
            (*diagonal)[at++] = (nn_single_diagonal){
                .out = (uint32_t)(pair / g->n_in),
                .in = (uint32_t)(pair % g->n_in),
                .rotation = (uint32_t)(base + (size_t)__builtin_ctzll(b))};
        }
    }
    return SOTTO_OK;
}

static int compare_diagonals(const void *a, const void *b)
{
    const nn_single_diagonal *x = a, *y = b;

    if (x->out != y->out) {
        return x->out < y->out ? -1 : 1;
    }
    if (x->giant != y->giant) {
        return x->giant < y->giant ? -1 : 1;
    }
    if (x->in != y->in) {
        return x->in < y->in ? -1 : 1;
    }
    return (x->rotation > y->rotation) - (x->rotation < y->rotation);
}

sotto_status nn_map_build(nn_single_map *map, const nn_rotations *rotations,
                          const nn_split *split, sotto_error *err)
{
    const nn_geometry *g = rotations->geometry;

    *map = (nn_single_map){.window = g->window,
                           .fold = g->fold,
                           .target_step = g->target_step,
                           .split = split->split,
                           .shift = split->shift,
                           .pool = {g->pool[0], g->pool[1]},
                           .n_in = g->n_in,
                           .n_out = g->out->layout.n_cts,
                           .counts = split->counts,
                           .seconds = split->seconds};
    map->sum_step = sotto_calloc(2 * map->n_in, sizeof *map->sum_step);
    if (map->sum_step == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for a map");
    }
    for (size_t k = 0; k < g->n_sources; k++) {
        for (uint32_t c = 0; c < g->source[k]->layout.n_cts; c++) {
            memcpy(&map->sum_step[2 * (size_t)(g->first_in[k] + c)],
                   g->sum_step[k], sizeof g->sum_step[k]);
        }
    }
    SOTTO_TRY(
        nn_rotations_list(&map->diagonal, &map->n_diagonals, rotations, err));
    for (size_t d = 0; d < map->n_diagonals; d++) {
        map->diagonal[d].giant = nn_split_giant(
            map->diagonal[d].rotation, split->split, split->shift, g->slots);
    }
    qsort(map->diagonal, map->n_diagonals, sizeof *map->diagonal,
          compare_diagonals);
    return SOTTO_OK;
}
