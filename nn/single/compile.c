/* SPDX-License-Identifier: MIT
 * Programs: made by search, or again from choices made before.
 */
#include "nn/single/compile.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "nn/plan/cost.h"
#include "nn/single/search_internal.h"

/* Reading one residue of a key or diagonal from memory. */
#define LOAD_SECONDS 0.4e-9
#define DEFAULT_UPLOAD_SECONDS 2e-3
#define DEFAULT_KEY_SECONDS 2e-5
#define DEFAULT_BEAM 12
/* Times that keys are made heavier until few enough are used. */
#define MAX_KEY_ROUNDS 10

/* ---- Costs --------------------------------------------------------------- */

nn_single_costs nn_single_costs_of(int log2_n, int limbs)
{
    const nn_cost_table table = nn_cost_default();
    const int specials = (limbs + 2) / 3;
    const double all = limbs + specials;
    const double rows = all * ((limbs + specials - 1) / specials);
    const double transform = 1e-9 * nn_cost_ntt(&table, log2_n);
    const double product = ldexp(1e-9 * table.ns[NN_COST_ACCUMULATE], log2_n);
    const double load = ldexp(LOAD_SECONDS, log2_n);
    nn_single_costs c;

    /* As ckks_lintrans_choose counts, hoisted twice. */
    c.decompose = rows * transform;
    c.baby = 2 * rows * (product + load) + rows * product / 2;
    c.product = all * (2 * product + load);
    c.divide = 2 * all * transform;
    c.giant = c.divide / 2 + c.decompose + c.baby;
    c.fold = c.divide + c.decompose + c.baby;
    c.relinearise = c.fold;
    return c;
}

/* Levels that a step and those behind it use up. */
static int levels_from(const nn_network *network, size_t k)
{
    int levels = 0;

    for (; k < network->n_steps; k++) {
        levels += network->steps[k].degree > 2 ? 2 : 1;
    }
    return levels;
}

/* ---- Checks -------------------------------------------------------------- */

static sotto_status check_network(const nn_network *network, int log2_slots,
                                  sotto_error *err)
{
    if (log2_slots < 3 || log2_slots > NN_LAYOUT_MAX_LOG2_SLOTS) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "2^%d slots: expected 2^3 … 2^%d", log2_slots,
                          NN_LAYOUT_MAX_LOG2_SLOTS);
    }
    for (size_t k = 0; k < network->n_steps; k++) {
        const nn_step *step = &network->steps[k];
        if (step->kind == NN_STEP_RELU || step->kind == NN_STEP_MAX_POOL) {
            return sotto_fail(err, SOTTO_ERR_UNSUPPORTED,
                              "node '%s' (%s) is no polynomial; train with a "
                              "polynomial activation or average pooling",
                              step->name, step->origin);
        }
    }
    return SOTTO_OK;
}

/* The last step that reads each tensor. */
static void find_uses(size_t *last_use, const nn_network *network)
{
    for (size_t k = 0; k < network->n_steps; k++) {
        const nn_step *step = &network->steps[k];
        if (step->kind != NN_STEP_AFFINE) {
            last_use[step->source] = k;
            continue;
        }
        size_t n;
        const uint32_t *sources = nn_affine_sources(step->affine, &n);
        for (size_t i = 0; i < n; i++) {
            last_use[sources[i]] = k;
        }
    }
}

/* ---- From choices to a program ------------------------------------------- */

void nn_single_free(nn_single *single)
{
    if (single == NULL) {
        return;
    }
    for (size_t k = 0; k <= single->network->n_steps; k++) {
        const bool shared =
            k > 0 && single->network->steps[k - 1].kind != NN_STEP_AFFINE;
        if (single->places != NULL && !shared) {
            nn_places_free(single->places[k]);
        }
        if (single->map != NULL && k > 0) {
            sotto_free(single->map[k - 1].diagonal);
            sotto_free(single->map[k - 1].sum_step);
        }
    }
    sotto_free(single->places);
    sotto_free(single->map);
    sotto_free(single->key);
    sotto_free(single);
}

static sotto_status misfit(const nn_network *network, size_t k,
                           sotto_error *err)
{
    return sotto_fail(err, SOTTO_ERR_MISMATCH,
                      "step '%s': layouts and fold of the plan do not fit this "
                      "model",
                      network->steps[k].name);
}

/* Builds map k, whose places and those before are set. */
static sotto_status build_map(nn_single *single, size_t k,
                              const nn_single_choice *choice,
                              nn_splitter *splitter, const nn_split_wish *wish,
                              nn_cursor *cursor, nn_pooled *pooled,
                              sotto_error *err)
{
    const nn_step *step = &single->network->steps[k];
    nn_single_diagonal *diagonal;
    nn_geometry geometry;
    nn_rotations rotations;
    nn_split split = {.split = choice->split, .shift = choice->shift};
    nn_shape shape[NN_SINGLE_MAX_SOURCES];
    size_t n;
    bool works = true;

    if (!nn_geometry_init(&geometry, step->affine,
                          (const nn_places *const *)single->places,
                          single->places[k + 1], choice->fold, choice->pool)) {
        return misfit(single->network, k, err);
    }
    for (size_t i = 0; i < geometry.n_sources; i++) {
        shape[i] = geometry.source[i]->layout.shape;
    }
    SOTTO_TRY(nn_rotations_init(&rotations, &geometry, err));
    for (size_t r = 0; r < step->n_elements && works; r++) {
        const nn_row whole = nn_cursor_row(cursor, r);
        nn_row row;
        works = nn_pooled_row(pooled, &row, &whole, step->affine, shape,
                              choice->pool) &&
                nn_rotations_mark(&rotations, r, &row);
    }
    sotto_status status =
        works ? nn_rotations_list(&diagonal, &n, &rotations, err)
              : misfit(single->network, k, err);
    if (status == SOTTO_OK) {
        status = nn_splitter_count(splitter, &split, &geometry, diagonal, n,
                                   wish, err);
        sotto_free(diagonal);
    }
    if (status == SOTTO_OK) {
        status = nn_map_build(&single->map[k], &rotations, &split, err);
    }
    sotto_free(rotations.bits);
    return status;
}

/* Fills single->key from all maps. */
static sotto_status collect_keys(nn_single *single, sotto_error *err)
{
    const size_t slots = (size_t)1 << single->log2_slots;
    uint8_t *used = sotto_calloc(slots, 1);

    single->key = sotto_calloc(slots, sizeof *single->key);
    if (used == NULL || single->key == NULL) {
        sotto_free(used);
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %zu keys",
                          slots);
    }
    for (size_t k = 0; k < single->network->n_steps; k++) {
        const nn_single_map *map = &single->map[k];
        for (size_t d = 0; d < map->n_diagonals; d++) {
            used[map->diagonal[d].giant] = 1;
            used[(map->diagonal[d].rotation - map->diagonal[d].giant) &
                 (slots - 1)] = 1;
        }
        for (uint32_t f = map->fold; f < map->window; f *= 2) {
            used[f] = 1;
        }
        for (uint32_t i = 1; i < map->pool[0] * map->pool[1]; i++) {
            for (size_t c = 0; c < map->n_in; c++) {
                used[nn_cell_rotation(&map->sum_step[2 * c], map->pool, i,
                                      (uint32_t)slots)] = 1;
            }
        }
    }
    for (size_t r = 1; r < slots; r++) {
        if (used[r] != 0) {
            single->key[single->n_keys++] = (uint32_t)r;
        }
    }
    sotto_free(used);
    return SOTTO_OK;
}

static sotto_status build_affine(nn_single *single, size_t k,
                                 const nn_single_choice *choice,
                                 nn_splitter *splitter,
                                 const nn_split_wish *wish, sotto_error *err)
{
    const nn_step *step = &single->network->steps[k];
    nn_pooled pooled;
    nn_cursor *cursor;
    size_t n;

    (void)nn_affine_sources(step->affine, &n);
    if (n > NN_SINGLE_MAX_SOURCES || choice->split == 0 ||
        choice->split > (uint32_t)1 << single->log2_slots ||
        choice->shift >= choice->split || choice->pool[0] == 0 ||
        choice->pool[0] > NN_SINGLE_MAX_POOL || choice->pool[1] == 0 ||
        choice->pool[1] > NN_SINGLE_MAX_POOL ||
        !nn_shape_equal(&choice->layout.shape, &step->shape) ||
        choice->layout.log2_slots != single->log2_slots) {
        return misfit(single->network, k, err);
    }
    SOTTO_TRY(nn_places_new(&single->places[k + 1], &choice->layout, err));
    SOTTO_TRY(nn_cursor_new(&cursor, step->affine, NULL, err));
    sotto_status status = nn_pooled_init(&pooled, step->affine, err);
    if (status == SOTTO_OK) {
        status =
            build_map(single, k, choice, splitter, wish, cursor, &pooled, err);
        nn_pooled_clear(&pooled);
    }
    nn_cursor_free(cursor);
    return status;
}

/* Builds all steps of an empty program. */
static sotto_status build_steps(nn_single *single, const nn_layout *input,
                                const nn_single_choice *choice,
                                const nn_single_costs *costs,
                                nn_splitter *splitter, sotto_error *err)
{
    const nn_network *network = single->network;

    if (!nn_shape_equal(&input->shape, &network->input_shape)) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "layout of the input: the shape is not the model's");
    }
    SOTTO_TRY(nn_places_new(&single->places[0], input, err));
    for (size_t k = 0; k < network->n_steps; k++) {
        const nn_split_wish wish = {.costs = costs[k]};
        if (network->steps[k].kind == NN_STEP_AFFINE) {
            SOTTO_TRY(
                build_affine(single, k, &choice[k], splitter, &wish, err));
            single->seconds += single->map[k].seconds;
            continue;
        }
        single->places[k + 1] = single->places[network->steps[k].source];
        single->seconds +=
            costs[k].relinearise * single->places[k + 1]->layout.n_cts;
    }
    if (single->places[network->n_steps]->n_missing > 0) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "layout of the output: scores lie nowhere");
    }
    return collect_keys(single, err);
}

static sotto_status build(nn_single **single, const nn_network *network,
                          const nn_layout *input,
                          const nn_single_choice *choice,
                          const nn_single_costs *costs, sotto_error *err)
{
    nn_single *made = sotto_calloc(1, sizeof *made);
    nn_splitter *splitter = NULL;
    sotto_status status = SOTTO_ERR_MEMORY;

    *single = NULL;
    if (made != NULL) {
        made->network = network;
        made->log2_slots = input->log2_slots;
        made->places =
            sotto_calloc(network->n_steps + 1, sizeof(*made->places));
        made->map = sotto_calloc(network->n_steps, sizeof *made->map);
    }
    if (made == NULL || made->places == NULL || made->map == NULL) {
        (void)sotto_fail(err, status, "no memory for slot programs");
    } else {
        status = nn_splitter_new(&splitter, nn_layout_slots(input), err);
    }
    if (status == SOTTO_OK) {
        status = build_steps(made, input, choice, costs, splitter, err);
    }
    nn_splitter_free(splitter);
    if (status != SOTTO_OK) {
        nn_single_free(made);
        return status;
    }
    *single = made;
    return SOTTO_OK;
}

/* Costs of all steps: those given, or by the levels that are left. */
static nn_single_costs *all_costs(const nn_network *network, int log2_slots,
                                  const nn_single_costs *given)
{
    nn_single_costs *costs = sotto_calloc(network->n_steps + 1, sizeof *costs);

    for (size_t k = 0; costs != NULL && k < network->n_steps; k++) {
        costs[k] = given != NULL
                       ? given[k]
                       : nn_single_costs_of(log2_slots + 1,
                                            1 + levels_from(network, k));
    }
    return costs;
}

sotto_status nn_single_rebuild(nn_single **single, const nn_network *network,
                               const nn_layout *input,
                               const nn_single_choice *choice, sotto_error *err)
{
    *single = NULL;
    SOTTO_TRY(check_network(network, input->log2_slots, err));
    nn_single_costs *costs = all_costs(network, input->log2_slots, NULL);
    if (costs == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for slot programs");
    }
    const sotto_status status =
        build(single, network, input, choice, costs, err);
    sotto_free(costs);
    return status;
}

nn_single_choice nn_single_choice_of(const nn_single *single, size_t k)
{
    return (nn_single_choice){
        .layout = single->places[k + 1]->layout,
        .pool = {single->map[k].pool[0], single->map[k].pool[1]},
        .fold = single->map[k].fold,
        .split = single->map[k].split,
        .shift = single->map[k].shift};
}

/* ---- From a search to a program ------------------------------------------ */

static const nn_state *best_state(const nn_beam *beam)
{
    const nn_state *best = &beam->state[0];

    for (size_t k = 1; k < beam->n; k++) {
        best = beam->state[k].wish < best->wish ? &beam->state[k] : best;
    }
    return best;
}

/* Builds the program of the best state found. */
static sotto_status build_best(nn_single **single, const nn_search *s,
                               sotto_error *err)
{
    const size_t n_steps = s->network->n_steps;
    const nn_state *state = best_state(&s->beam);
    nn_single_choice *choice = sotto_calloc(n_steps + 1, sizeof *choice);

    if (choice == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for slot programs");
    }
    for (size_t k = 0; k < n_steps; k++) {
        choice[k] = (nn_single_choice){
            .layout = s->pool.layout[state->place[k + 1]],
            .pool = {state->choice[k].pool[0], state->choice[k].pool[1]},
            .fold = state->choice[k].fold,
            .split = state->choice[k].split,
            .shift = state->choice[k].shift};
    }
    const sotto_status status =
        build(single, s->network, &s->pool.layout[state->place[0]], choice,
              s->costs, err);
    sotto_free(choice);
    return status;
}

/* Searches, with heavier keys each time, until there are few enough. */
static sotto_status search_keys(nn_search *s, size_t max_keys, sotto_error *err)
{
    size_t least = SIZE_MAX;

    for (int round = 0; round < MAX_KEY_ROUNDS; round++) {
        SOTTO_TRY(nn_search_run(s, err));
        const size_t n = best_state(&s->beam)->keys.n;
        if (max_keys == 0 || n <= max_keys) {
            return SOTTO_OK;
        }
        least = n < least ? n : least;
        s->key_seconds *= 4;
    }
    return sotto_fail(err, SOTTO_ERR_KEY,
                      "at most %zu rotation keys: the least found is %zu",
                      max_keys, least);
}

static sotto_status run_search(nn_single **single, nn_search *s,
                               const nn_single_options *options,
                               sotto_error *err)
{
    SOTTO_TRY(nn_splitter_new(&s->splitter, s->slots, err));
    SOTTO_TRY(search_keys(s, options->max_keys, err));
    return build_best(single, s, err);
}

sotto_status nn_single_compile(nn_single **single, const nn_network *network,
                               const nn_single_options *options,
                               sotto_error *err)
{
    *single = NULL;
    SOTTO_TRY(check_network(network, options->log2_slots, err));
    size_t *last_use = sotto_calloc(network->n_steps + 1, sizeof *last_use);
    nn_single_costs *costs =
        all_costs(network, options->log2_slots, options->costs);
    nn_search s = {
        .network = network,
        .log2_slots = options->log2_slots,
        .slots = (uint32_t)1 << options->log2_slots,
        .costs = costs,
        .upload_seconds = options->upload_seconds != 0 ? options->upload_seconds
                                                       : DEFAULT_UPLOAD_SECONDS,
        .key_seconds = options->key_seconds != 0 ? options->key_seconds
                                                 : DEFAULT_KEY_SECONDS,
        .width = options->beam > 0 ? (size_t)options->beam : DEFAULT_BEAM,
        .last_use = last_use,
        .tensor = sotto_calloc(network->n_steps + 1, sizeof(*s.tensor))};
    sotto_status status = SOTTO_OK;
    if (last_use == NULL || costs == NULL || s.tensor == NULL) {
        status = sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for the search");
    } else {
        find_uses(last_use, network);
        status = run_search(single, &s, options, err);
    }
    nn_beam_clear(&s.beam);
    nn_pool_clear(&s.pool);
    nn_splitter_free(s.splitter);
    sotto_free((void *)s.tensor);
    sotto_free(costs);
    sotto_free(last_use);
    return status;
}
