/* SPDX-License-Identifier: MIT
 * Choosing the layouts of all tensors together: a beam over the steps.
 *
 * A state has a layout for every tensor made so far. At an affine step each
 * state tries its candidates for the next tensor; all of them are measured in
 * one pass over the rows of the map. Of the states whose tensors that are still
 * to be read lie alike, only the best goes on; of these, as many as the beam is
 * wide. Activations keep the layout.
 */
#include "nn/single/search_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Bytes of marks that are kept at once; more are made in several passes. */
#define MAX_MARK_BYTES ((size_t)256 << 20)
/* Places at each end of a row or column that trials look at. */
#define SAMPLE_ENDS 3
/* Trials whose products alone take so many times the fastest are given up. */
#define GIVE_UP 4

/* ---- Layouts once seen --------------------------------------------------- */

void nn_pool_clear(nn_pool *pool)
{
    for (size_t k = 0; k < pool->n; k++) {
        nn_places_free(pool->places[k]);
    }
    sotto_free(pool->places);
    sotto_free(pool->layout);
    *pool = (nn_pool){0};
}

static sotto_status pool_grow(nn_pool *pool, sotto_error *err)
{
    const size_t cap = pool->cap == 0 ? 64 : pool->cap * 2;
    nn_places **places = sotto_calloc(cap, sizeof(*places));
    nn_layout *layout = sotto_calloc(cap, sizeof *layout);

    if (places == NULL || layout == NULL) {
        sotto_free(places);
        sotto_free(layout);
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for layouts");
    }
    if (pool->n > 0) {
        memcpy(places, pool->places, pool->n * sizeof(*places));
        memcpy(layout, pool->layout, pool->n * sizeof *layout);
    }
    sotto_free(pool->places);
    sotto_free(pool->layout);
    pool->places = places;
    pool->layout = layout;
    pool->cap = cap;
    return SOTTO_OK;
}

sotto_status nn_pool_find(nn_pool *pool, size_t *id, const nn_layout *layout,
                          sotto_error *err)
{
    for (*id = 0; *id < pool->n; ++*id) {
        if (nn_layout_equal(&pool->layout[*id], layout)) {
            return SOTTO_OK;
        }
    }
    if (pool->n == pool->cap) {
        SOTTO_TRY(pool_grow(pool, err));
    }
    nn_places *places;
    const sotto_status status = nn_places_new(&places, layout, err);
    if (status == SOTTO_ERR_MEMORY) {
        return status;
    }
    pool->layout[pool->n] = *layout;
    pool->places[pool->n++] = places;
    return SOTTO_OK;
}

/* ---- States -------------------------------------------------------------- */

static void state_clear(nn_state *state)
{
    sotto_free(state->place);
    sotto_free(state->choice);
    sotto_free(state->keys.bits);
    *state = (nn_state){0};
}

void nn_beam_clear(nn_beam *beam)
{
    for (size_t k = 0; k < beam->n; k++) {
        state_clear(&beam->state[k]);
    }
    sotto_free(beam->state);
    *beam = (nn_beam){0};
}

/* A copy of `from` (an empty state for NULL) at the end of the beam. */
static sotto_status beam_append(nn_beam *beam, const nn_search *s,
                                const nn_state *from, sotto_error *err)
{
    const size_t n_steps = s->network->n_steps;
    const size_t words = (s->slots + 63) / 64;
    nn_state *to = &beam->state[beam->n];

    *to = (nn_state){.place = sotto_calloc(n_steps + 1, sizeof *to->place),
                     .choice = sotto_calloc(n_steps, sizeof *to->choice),
                     .keys.bits = sotto_calloc(words, sizeof *to->keys.bits)};
    beam->n++;
    if (to->place == NULL || to->choice == NULL || to->keys.bits == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for the search");
    }
    if (from != NULL) {
        memcpy(to->place, from->place, (n_steps + 1) * sizeof *to->place);
        memcpy(to->choice, from->choice, n_steps * sizeof *to->choice);
        memcpy(to->keys.bits, from->keys.bits, words * sizeof *to->keys.bits);
        to->keys.n = from->keys.n;
        to->wish = from->wish;
    }
    return SOTTO_OK;
}

static sotto_status beam_init(nn_beam *beam, size_t cap, sotto_error *err)
{
    *beam = (nn_beam){.state = sotto_calloc(cap, sizeof *beam->state)};
    return beam->state != NULL
               ? SOTTO_OK
               : sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for the search");
}

/* ---- One affine step ----------------------------------------------------- */

/* One candidate of one state. */
typedef struct trial {
    size_t state, place;
    uint32_t fold;
    bool works;
    nn_geometry geometry;
    nn_rotations rotations;
    nn_split split;
    double wish; /* of the state with it */
} trial;

typedef struct trials {
    size_t n, cap;
    trial *trial;
} trials;

static void trials_clear(trials *t)
{
    for (size_t k = 0; k < t->n; k++) {
        sotto_free(t->trial[k].rotations.bits);
    }
    sotto_free(t->trial);
}

/* A map without cells to be summed first. */
static const uint32_t no_pool[2] = {1, 1};

/* Adds a trial, if layouts, fold and pool fit each other. */
static void add_trial(const nn_search *s, trials *list, const nn_affine *affine,
                      size_t state, size_t place, uint32_t fold,
                      const uint32_t *pool)
{
    trial *t = &list->trial[list->n];
    const nn_places *out = s->pool.places[place];

    *t = (trial){.state = state, .place = place, .fold = fold, .works = true};
    if (out != NULL && out->n_missing == 0 &&
        nn_geometry_init(&t->geometry, affine, s->tensor, out, fold, pool)) {
        list->n++;
    }
}

/* Candidates of one state. */
static sotto_status list_state(nn_search *s, trials *list, size_t k,
                               size_t state, const nn_slope *slope,
                               nn_candidates *candidates, sotto_error *err)
{
    const nn_step *step = &s->network->steps[k];
    const nn_places *source[NN_SINGLE_MAX_SOURCES];
    size_t n_sources;
    const uint32_t *sources = nn_affine_sources(step->affine, &n_sources);

    for (size_t i = 0; i <= k; i++) {
        s->tensor[i] = s->pool.places[s->beam.state[state].place[i]];
    }
    for (size_t i = 0; i < n_sources; i++) {
        source[i] = s->tensor[sources[i]];
    }
    nn_candidates_map(candidates, &step->shape, slope, source, n_sources,
                      s->log2_slots);
    for (size_t c = 0; c < candidates->n; c++) {
        size_t place;
        SOTTO_TRY(nn_pool_find(&s->pool, &place, &candidates->layout[c], err));
        add_trial(s, list, step->affine, state, place, candidates->fold[c],
                  no_pool);
        if (s->cells[0] > 1 || s->cells[1] > 1) {
            add_trial(s, list, step->affine, state, place, candidates->fold[c],
                      s->cells);
        }
    }
    return SOTTO_OK;
}

/* Whether position `at` of `size` is one of the few that stand for all: both
 * ends and the middle. */
static bool stands_for(size_t at, size_t size)
{
    return at < SAMPLE_ENDS || at + SAMPLE_ENDS >= size || at == size / 2 ||
           at == size / 2 + 1;
}

/* Whether row r is among those that trials look at: all places of a picture
 * take about the same rotations. */
static bool sampled(const nn_step *step, size_t r)
{
    if (step->shape.rank != 3) {
        return true;
    }
    const size_t height = step->shape.dim[1], width = step->shape.dim[2];
    return stands_for(r / width % height, height) &&
           stands_for(r % width, width);
}

/* Marks the rotations of trials first … end-1 in one pass over the rows, all or
 * a sample. */
static sotto_status mark_trials(nn_search *s, size_t k, trials *list,
                                size_t first, size_t end, bool all,
                                nn_cursor *cursor, sotto_error *err)
{
    const nn_step *step = &s->network->steps[k];

    for (size_t i = first; i < end; i++) {
        trial *t = &list->trial[i];
        SOTTO_TRY(nn_rotations_init(&t->rotations, &t->geometry, err));
    }
    for (size_t r = 0; r < step->n_elements; r++) {
        if (!all && !sampled(step, r)) {
            continue;
        }
        const nn_row whole = nn_cursor_row(cursor, r);
        nn_row pooled;
        const bool pools = nn_pooled_row(&s->pooled, &pooled, &whole,
                                         step->affine, s->shape, s->cells);
        for (size_t i = first; i < end; i++) {
            trial *t = &list->trial[i];
            const bool with_pool =
                t->geometry.pool[0] > 1 || t->geometry.pool[1] > 1;
            t->works = t->works && (pools || !with_pool) &&
                       nn_rotations_mark(&t->rotations, r,
                                         with_pool ? &pooled : &whole);
        }
    }
    return SOTTO_OK;
}

/* Splits a marked trial. Without `keys` a trial that products alone make much
 * slower than the best so far is given up; with it they receive its rotations.
 */
static sotto_status weigh_trial(nn_search *s, size_t k, trial *t,
                                nn_key_set *keys, sotto_error *err)
{
    const nn_state *state = &s->beam.state[t->state];
    const nn_split_wish wish = {.costs = s->costs[k],
                                .key_seconds = s->key_seconds,
                                .keys = &state->keys};
    nn_single_diagonal *diagonal;
    size_t n;

    t->wish = INFINITY;
    if (!t->works) {
        return SOTTO_OK;
    }
    SOTTO_TRY(nn_rotations_list(&diagonal, &n, &t->rotations, err));
    sotto_status status = SOTTO_OK;
    if (keys != NULL ||
        (double)n * wish.costs.product <= GIVE_UP * s->fastest) {
        status = nn_splitter_best(s->splitter, &t->split, &t->geometry,
                                  diagonal, n, &wish, err);
        t->wish = state->wish + t->split.wish;
        s->fastest = t->split.wish < s->fastest ? t->split.wish : s->fastest;
    }
    if (status == SOTTO_OK && keys != NULL) {
        nn_key_set_add_map(keys, &t->geometry, diagonal, n, &t->split);
    }
    sotto_free(diagonal);
    return status;
}

static void free_marks(trial *t)
{
    sotto_free(t->rotations.bits);
    t->rotations.bits = NULL;
}

static sotto_status weigh_trials(nn_search *s, size_t k, trials *list,
                                 nn_cursor *cursor, sotto_error *err)
{
    for (size_t first = 0, end; first < list->n; first = end) {
        size_t bytes = 0;
        for (end = first; end < list->n; end++) {
            const nn_geometry *g = &list->trial[end].geometry;
            bytes += (size_t)g->n_in * g->out->layout.n_cts *
                     ((size_t)g->fold / 8 + 8);
            if (end > first && bytes > MAX_MARK_BYTES) {
                break;
            }
        }
        SOTTO_TRY(mark_trials(s, k, list, first, end, false, cursor, err));
        for (size_t i = first; i < end; i++) {
            SOTTO_TRY(weigh_trial(s, k, &list->trial[i], NULL, err));
            free_marks(&list->trial[i]);
        }
    }
    return SOTTO_OK;
}

static int compare_trials(const void *a, const void *b)
{
    const trial *x = a, *y = b;

    if (x->wish != y->wish) {
        return x->wish < y->wish ? -1 : 1;
    }
    if (x->state != y->state) {
        return x->state < y->state ? -1 : 1;
    }
    return (x->place > y->place) - (x->place < y->place);
}

/* Whether tensors that steps after k read lie alike in a trial and a state that
 * has been made already. */
static bool alike(const nn_search *s, size_t k, const trial *t,
                  const nn_state *other)
{
    const nn_state *state = &s->beam.state[t->state];

    for (size_t i = 0; i <= k; i++) {
        if (s->last_use[i] > k && state->place[i] != other->place[i]) {
            return false;
        }
    }
    return t->place == other->place[k + 1] || s->last_use[k + 1] <= k;
}

/* Makes a state of a trial, now seen in full: it may turn out that a row reads
 * what lies nowhere; the state is then taken back. */
static sotto_status settle(nn_search *s, size_t k, trial *t, nn_cursor *cursor,
                           nn_beam *next, sotto_error *err)
{
    trials one = {.n = 1, .trial = t};

    SOTTO_TRY(beam_append(next, s, &s->beam.state[t->state], err));
    nn_state *state = &next->state[next->n - 1];
    sotto_status status = mark_trials(s, k, &one, 0, 1, true, cursor, err);
    if (status == SOTTO_OK) {
        status = weigh_trial(s, k, t, &state->keys, err);
    }
    free_marks(t);
    SOTTO_TRY(status);
    if (!t->works) {
        state_clear(state);
        next->n--;
        return SOTTO_OK;
    }
    state->wish = t->wish;
    state->place[k + 1] = t->place;
    state->choice[k] =
        (nn_split_choice){.fold = t->fold,
                          .pool = {t->geometry.pool[0], t->geometry.pool[1]},
                          .split = t->split.split,
                          .shift = t->split.shift};
    return SOTTO_OK;
}

/* The best trials become the states of a new beam. */
static sotto_status select_trials(nn_search *s, size_t k, trials *list,
                                  nn_cursor *cursor, nn_beam *next,
                                  sotto_error *err)
{
    qsort(list->trial, list->n, sizeof *list->trial, compare_trials);
    for (size_t i = 0; i < list->n && next->n < s->width; i++) {
        trial *t = &list->trial[i];
        bool seen = isinf(t->wish) != 0;
        for (size_t j = 0; j < next->n && !seen; j++) {
            seen = alike(s, k, t, &next->state[j]);
        }
        if (!seen) {
            SOTTO_TRY(settle(s, k, t, cursor, next, err));
        }
    }
    return next->n > 0 ? SOTTO_OK
                       : sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                                    "step '%s': no layout fits",
                                    s->network->steps[k].name);
}

static sotto_status try_affine(nn_search *s, size_t k, trials *list,
                               nn_candidates *candidates, nn_cursor *cursor,
                               nn_beam *next, sotto_error *err)
{
    nn_slope slope[NN_SINGLE_MAX_SOURCES];
    const nn_step *step = &s->network->steps[k];
    size_t n;
    const uint32_t *sources = nn_affine_sources(step->affine, &n);

    if (n > NN_SINGLE_MAX_SOURCES) {
        return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                          "step '%s' reads %zu tensors, at most %d can be",
                          step->name, n, NN_SINGLE_MAX_SOURCES);
    }
    for (size_t i = 0; i < n; i++) {
        s->shape[i] = *nn_search_shape(s->network, sources[i]);
    }
    nn_slopes_read(slope, step->affine, cursor, &step->shape, s->shape);
    nn_pool_detect(s->cells, &s->pooled, step->affine, cursor, s->shape);
    for (size_t i = 0; i < s->beam.n; i++) {
        SOTTO_TRY(list_state(s, list, k, i, slope, candidates, err));
    }
    s->fastest = INFINITY;
    SOTTO_TRY(weigh_trials(s, k, list, cursor, err));
    SOTTO_TRY(beam_init(next, s->width, err));
    return select_trials(s, k, list, cursor, next, err);
}

static sotto_status search_affine(nn_search *s, size_t k, sotto_error *err)
{
    trials list = {.cap = 2 * s->beam.n * NN_SINGLE_MAX_CANDIDATES + 1};
    nn_candidates *candidates = sotto_calloc(1, sizeof *candidates);
    nn_cursor *cursor = NULL;
    nn_beam next = {0};

    list.trial = sotto_calloc(list.cap, sizeof *list.trial);
    sotto_status status =
        candidates == NULL || list.trial == NULL
            ? sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for the search")
            : nn_cursor_new(&cursor, s->network->steps[k].affine, NULL, err);
    if (status == SOTTO_OK) {
        status = nn_pooled_init(&s->pooled, s->network->steps[k].affine, err);
    }
    if (status == SOTTO_OK) {
        status = try_affine(s, k, &list, candidates, cursor, &next, err);
    }
    nn_pooled_clear(&s->pooled);
    nn_cursor_free(cursor);
    trials_clear(&list);
    sotto_free(candidates);
    if (status != SOTTO_OK) {
        nn_beam_clear(&next);
        return status;
    }
    nn_beam_clear(&s->beam);
    s->beam = next;
    return SOTTO_OK;
}

/* ---- The whole search ---------------------------------------------------- */

const nn_shape *nn_search_shape(const nn_network *network, size_t tensor)
{
    return tensor == 0 ? &network->input_shape
                       : &network->steps[tensor - 1].shape;
}

/* What the first map that reads the input looks like, for its layouts. */
static sotto_status input_slope(const nn_search *s, nn_slope *slope,
                                nn_shape *target, sotto_error *err)
{
    *slope = (nn_slope){0};
    *target = (nn_shape){.rank = 1, .dim = {1}};
    for (size_t k = 0; k < s->network->n_steps; k++) {
        const nn_step *step = &s->network->steps[k];
        size_t n = 0;
        const uint32_t *sources = step->kind == NN_STEP_AFFINE
                                      ? nn_affine_sources(step->affine, &n)
                                      : NULL;
        if (n != 1 || sources[0] != 0) {
            continue;
        }
        nn_cursor *cursor;
        SOTTO_TRY(nn_cursor_new(&cursor, step->affine, NULL, err));
        nn_slopes_read(slope, step->affine, cursor, &step->shape,
                       &s->network->input_shape);
        nn_cursor_free(cursor);
        *target = step->shape;
        return SOTTO_OK;
    }
    return SOTTO_OK;
}

static sotto_status start(nn_search *s, nn_candidates *candidates,
                          sotto_error *err)
{
    nn_slope slope;
    nn_shape target;
    size_t id;

    SOTTO_TRY(input_slope(s, &slope, &target, err));
    nn_candidates_input(candidates, &s->network->input_shape, s->log2_slots,
                        &slope, &target);
    SOTTO_TRY(beam_init(&s->beam, candidates->n, err));
    for (size_t c = 0; c < candidates->n; c++) {
        SOTTO_TRY(nn_pool_find(&s->pool, &id, &candidates->layout[c], err));
        if (s->pool.places[id] != NULL) {
            SOTTO_TRY(beam_append(&s->beam, s, NULL, err));
            nn_state *state = &s->beam.state[s->beam.n - 1];
            state->place[0] = id;
            state->wish =
                s->upload_seconds * (double)candidates->layout[c].n_cts;
        }
    }
    return SOTTO_OK;
}

/* Activations: all states keep the layout of the source. */
static void search_activation(nn_search *s, size_t k)
{
    for (size_t i = 0; i < s->beam.n; i++) {
        nn_state *state = &s->beam.state[i];
        const size_t id = state->place[s->network->steps[k].source];
        state->place[k + 1] = id;
        state->wish +=
            s->costs[k].relinearise * (double)s->pool.places[id]->layout.n_cts;
    }
}

sotto_status nn_search_run(nn_search *s, sotto_error *err)
{
    nn_candidates *candidates = sotto_calloc(1, sizeof *candidates);

    nn_beam_clear(&s->beam);
    if (candidates == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for the search");
    }
    const sotto_status status = start(s, candidates, err);
    sotto_free(candidates);
    SOTTO_TRY(status);
    for (size_t k = 0; k < s->network->n_steps; k++) {
        if (s->network->steps[k].kind == NN_STEP_AFFINE) {
            SOTTO_TRY(search_affine(s, k, err));
        } else {
            search_activation(s, k);
        }
    }
    return SOTTO_OK;
}
