/* SPDX-License-Identifier: MIT
 * Splitting rotations in babies and giants: baby + giant = rotation, where
 * baby = (rotation + shift) mod split - shift.
 *
 * Powers of two, small numbers and the steps of the layouts around the map are
 * tried: where channels lie in planes, babies move within a plane and giants
 * from plane to plane.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "nn/single/compile_internal.h"

#define MAX_SPLITS 192
/* Beyond this many diagonals only powers of two and steps are tried. */
#define MANY_DIAGONALS 512

/* A mark is valid while it equals the present stamp, so that nothing has to be
 * cleared between splits. */
struct nn_splitter {
    uint32_t slots;
    uint32_t stamp;
    size_t cap_in, cap_out;
    uint32_t *key;   /* [slots] */
    uint32_t *baby;  /* [cap_in][slots] */
    uint32_t *giant; /* [cap_out][slots] */
};

sotto_status nn_splitter_new(nn_splitter **splitter, uint32_t slots,
                             sotto_error *err)
{
    nn_splitter *made = sotto_calloc(1, sizeof *made);

    *splitter = NULL;
    if (made != NULL) {
        made->slots = slots;
        made->key = sotto_calloc(slots, sizeof *made->key);
    }
    if (made == NULL || made->key == NULL) {
        nn_splitter_free(made);
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %u slots",
                          (unsigned)slots);
    }
    *splitter = made;
    return SOTTO_OK;
}

void nn_splitter_free(nn_splitter *splitter)
{
    if (splitter != NULL) {
        sotto_free(splitter->key);
        sotto_free(splitter->baby);
        sotto_free(splitter->giant);
        sotto_free(splitter);
    }
}

/* Marks of at least `want` ciphertexts, all unset when they are new. */
static bool reserve(uint32_t **marks, size_t *cap, size_t want, uint32_t slots)
{
    if (want <= *cap) {
        return true;
    }
    sotto_free(*marks);
    *marks = sotto_calloc(want * slots, sizeof **marks);
    *cap = *marks != NULL ? want : 0;
    return *marks != NULL;
}

uint32_t nn_split_giant(uint32_t rotation, uint32_t split, uint32_t shift,
                        uint32_t slots)
{
    return (rotation + shift - (rotation + shift) % split) & (slots - 1);
}

static bool key_set_has(const nn_key_set *keys, uint32_t rotation)
{
    return keys != NULL &&
           (keys->bits[rotation / 64] >> (rotation % 64) & 1) != 0;
}

/* Marks; whether it was not marked yet. */
static bool mark(uint32_t *at, uint32_t stamp)
{
    const bool fresh = *at != stamp;

    *at = stamp;
    return fresh;
}

static size_t mark_key(nn_splitter *s, uint32_t rotation,
                       const nn_key_set *keys)
{
    return mark(&s->key[rotation], s->stamp) && !key_set_has(keys, rotation);
}

/* Marks babies, giants and keys of all diagonals and counts them. */
static void count_marks(nn_splitter *s, nn_split *split,
                        const nn_single_diagonal *diagonal, size_t n,
                        const nn_key_set *keys)
{
    nn_single_counts *counts = &split->counts;

    for (size_t d = 0; d < n; d++) {
        const uint32_t giant = nn_split_giant(
            diagonal[d].rotation, split->split, split->shift, s->slots);
        const uint32_t baby = (diagonal[d].rotation - giant) & (s->slots - 1);
        uint32_t *babies = s->baby + (size_t)diagonal[d].in * s->slots;
        if (baby != 0 && mark(&babies[baby], s->stamp)) {
            counts->babies++;
            /* Slot 0, a baby of nothing, stands for "is decomposed". */
            counts->decompose += mark(&babies[0], s->stamp);
            split->new_keys += mark_key(s, baby, keys);
        }
        if (giant != 0 &&
            mark(&s->giant[(size_t)diagonal[d].out * s->slots + giant],
                 s->stamp)) {
            counts->giants++;
            split->new_keys += mark_key(s, giant, keys);
        }
    }
}

/* Rotations that sum cells before the map. */
static void count_sums(nn_splitter *s, nn_split *split, const nn_geometry *g,
                       const nn_key_set *keys)
{
    const uint32_t *pool = g->pool;

    split->counts.sums = g->n_in * ((size_t)pool[0] * pool[1] - 1);
    for (size_t k = 0; k < g->n_sources; k++) {
        for (uint32_t i = 1; i < pool[0] * pool[1]; i++) {
            split->new_keys += mark_key(
                s, nn_cell_rotation(g->sum_step[k], pool, i, g->slots), keys);
        }
    }
}

sotto_status nn_splitter_count(nn_splitter *splitter, nn_split *split,
                               const nn_geometry *geometry,
                               const nn_single_diagonal *diagonal, size_t n,
                               const nn_split_wish *wish, sotto_error *err)
{
    const nn_single_costs *c = &wish->costs;
    nn_single_counts *counts = &split->counts;
    const uint32_t n_out = geometry->out->layout.n_cts;

    if (!reserve(&splitter->baby, &splitter->cap_in, geometry->n_in,
                 splitter->slots) ||
        !reserve(&splitter->giant, &splitter->cap_out, n_out,
                 splitter->slots)) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory for maps of %u and %u ciphertexts",
                          (unsigned)geometry->n_in, (unsigned)n_out);
    }
    splitter->stamp++;
    split->new_keys = 0;
    *counts = (nn_single_counts){.products = n, .outputs = n_out};
    count_marks(splitter, split, diagonal, n, wish->keys);
    for (uint32_t f = geometry->fold; f < geometry->window; f *= 2) {
        counts->folds += n_out;
        split->new_keys += mark_key(splitter, f, wish->keys);
    }
    count_sums(splitter, split, geometry, wish->keys);
    const double pooled = counts->sums > 0 ? geometry->n_in : 0;
    split->seconds = ((double)counts->decompose + pooled) * c->decompose +
                     (double)(counts->babies + counts->sums) * c->baby +
                     (double)counts->products * c->product +
                     (double)counts->giants * c->giant +
                     ((double)counts->outputs + pooled) * c->divide +
                     (double)counts->folds * c->fold;
    split->wish = split->seconds + (double)split->new_keys * wish->key_seconds;
    return SOTTO_OK;
}

/* The splits to be tried. */
typedef struct split_list {
    size_t n;
    uint32_t split[MAX_SPLITS];
} split_list;

static void list_add(split_list *list, uint32_t split, uint32_t slots)
{
    if (split == 0 || split > slots || list->n == MAX_SPLITS) {
        return;
    }
    for (size_t k = 0; k < list->n; k++) {
        if (list->split[k] == split) {
            return;
        }
    }
    list->split[list->n++] = split;
}

static void list_add_layout(split_list *list, const nn_layout *layout)
{
    for (int k = 0; k < layout->n_digits; k++) {
        list_add(list, layout->digit[k].slots, nn_layout_slots(layout));
        list_add(list, layout->digit[k].slots * 2, nn_layout_slots(layout));
    }
}

static split_list list_splits(const nn_geometry *geometry, size_t n)
{
    split_list list = {0};

    for (uint32_t p = geometry->slots; p >= 1; p /= 2) {
        list_add(&list, p, geometry->slots);
    }
    list_add_layout(&list, &geometry->out->layout);
    for (size_t k = 0; k < geometry->n_sources; k++) {
        list_add_layout(&list, &geometry->source[k]->layout);
    }
    for (uint32_t p = 3; n <= MANY_DIAGONALS && p < 64; p++) {
        list_add(&list, p, geometry->slots);
    }
    return list;
}

sotto_status nn_splitter_best(nn_splitter *splitter, nn_split *best,
                              const nn_geometry *geometry,
                              const nn_single_diagonal *diagonal, size_t n,
                              const nn_split_wish *wish, sotto_error *err)
{
    const split_list list = list_splits(geometry, n);

    best->wish = INFINITY;
    for (size_t k = 0; k < list.n; k++) {
        for (uint32_t half = 0; half < 2; half++) {
            nn_split split = {.split = list.split[k],
                              .shift = half * (list.split[k] / 2)};
            SOTTO_TRY(nn_splitter_count(splitter, &split, geometry, diagonal, n,
                                        wish, err));
            if (split.wish < best->wish) {
                *best = split;
            }
        }
    }
    return SOTTO_OK;
}

static void key_set_add(nn_key_set *keys, uint32_t rotation)
{
    uint64_t *word = &keys->bits[rotation / 64];
    const uint64_t bit = UINT64_C(1) << (rotation % 64);

    if (rotation != 0 && (*word & bit) == 0) {
        *word |= bit;
        keys->n++;
    }
}

void nn_key_set_add_map(nn_key_set *keys, const nn_geometry *geometry,
                        const nn_single_diagonal *diagonal, size_t n,
                        const nn_split *split)
{
    for (size_t d = 0; d < n; d++) {
        const uint32_t giant = nn_split_giant(
            diagonal[d].rotation, split->split, split->shift, geometry->slots);
        key_set_add(keys, giant);
        key_set_add(keys,
                    (diagonal[d].rotation - giant) & (geometry->slots - 1));
    }
    for (uint32_t f = geometry->fold; f < geometry->window; f *= 2) {
        key_set_add(keys, f);
    }
    for (size_t k = 0; k < geometry->n_sources; k++) {
        for (uint32_t i = 1; i < geometry->pool[0] * geometry->pool[1]; i++) {
            key_set_add(keys,
                        nn_cell_rotation(geometry->sum_step[k], geometry->pool,
                                         i, geometry->slots));
        }
    }
}
