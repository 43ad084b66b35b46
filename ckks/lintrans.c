/* SPDX-License-Identifier: MIT
 * Linear maps by diagonals: compilation and what can be asked of a map.
 */
#include "ckks/lintrans.h"

#include <stdlib.h>
#include <string.h>

#include "ckks/lintrans_make_internal.h"
#include "ckks/round_internal.h"
#include "ntt/poly.h"

static void maker_clear(ckks_lintrans_maker *m)
{
    sotto_free(m->slot);
    sotto_free(m->giant);
    sotto_free(m->draft);
    sotto_arena_clear(&m->arena);
}

static sotto_status maker_init(ckks_lintrans_maker *m, sotto_error *err)
{
    const size_t n = m->spec->n_diagonals;
    m->slot = sotto_calloc(m->slots, sizeof *m->slot);
    m->giant = sotto_calloc(n, sizeof *m->giant);
    m->draft = sotto_calloc(n, sizeof *m->draft);
    m->arena = sotto_arena_init(ckks_encode_scratch(m->context));
    if (!m->slot || !m->giant || !m->draft || !m->arena.base) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "linear map: no memory to compile %zu diagonals", n);
    }
    return SOTTO_OK;
}

/* Checks scales; finds the divisor. */
static sotto_status check_scales(ckks_lintrans_maker *m, sotto_error *err)
{
    const ckks_lintrans_spec *spec = m->spec;
    m->divisor = 1;
    if (spec->from != spec->to) {
        m->divisor =
            rlwe_chain_step(&m->context->chain, spec->from, spec->to)->divisor;
    }
    const double product = spec->out_scale * m->divisor;
    const double modulus = 2 * ckks_half_modulus(m->context, spec->from);
    if (!ckks_is_scale(spec->out_scale) || !(product < modulus)) {
        return sotto_fail(err, SOTTO_ERR_SCALE,
                          "linear map: the scale of the outputs is %g, before "
                          "the rescale %g; it must be above 0 and below the "
                          "modulus %g of level %d",
                          spec->out_scale, product, modulus, spec->from);
    }
    for (size_t i = 0; i < spec->n_in; i++) {
        if (!ckks_is_scale(spec->in_scale[i]) ||
            !ckks_is_scale(product / spec->in_scale[i])) {
            return sotto_fail(err, SOTTO_ERR_SCALE,
                              "linear map: the scale of input %zu is %g; it "
                              "must be a finite number above 0",
                              i, spec->in_scale[i]);
        }
    }
    return SOTTO_OK;
}

/* Drops what is zero, finds what is constant. */
static sotto_status classify(ckks_lintrans_maker *m, sotto_error *err)
{
    const ckks_lintrans_spec *spec = m->spec;
    for (size_t i = 0; i < spec->n_diagonals; i++) {
        const ckks_diagonal *d = &spec->diagonal[i];
        bool is_constant = true;
        SOTTO_TRY(ckks_lintrans_fetch(m, spec->fill, i, "diagonal", err));
        for (size_t j = 1; is_constant && j < m->slots; j++) {
            is_constant = m->slot[j] == m->slot[0];
        }
        if (is_constant && m->slot[0] == 0) {
            continue;
        }
        const uint64_t giant = ckks_lintrans_modulo(m->giant[i], m->slots);
        const uint64_t rotation = ckks_lintrans_modulo(d->rotation, m->slots);
        m->draft[m->n_drafts++] =
            (ckks_lintrans_draft){.out = d->out,
                                  .in = d->in,
                                  .giant = giant,
                                  .baby = (rotation - giant) & (m->slots - 1),
                                  .index = i,
                                  .is_constant = is_constant,
                                  .value = m->slot[0]};
    }
    return SOTTO_OK;
}

/* Encodes the biases for the last stage. */
static sotto_status encode_bias(ckks_lintrans_maker *m,
                                ckks_lintrans_stage *stage, sotto_error *err)
{
    const ckks_lintrans_spec *spec = m->spec;
    const size_t words = rlwe_level_words(m->context, spec->to);
    if (spec->fill_bias == NULL) {
        return SOTTO_OK;
    }
    stage->bias = sotto_calloc(spec->n_out, words * sizeof *stage->bias);
    if (stage->bias == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "linear map: no memory for %zu biases", spec->n_out);
    }
    for (size_t i = 0; i < spec->n_out; i++) {
        SOTTO_TRY(ckks_lintrans_fetch(m, spec->fill_bias, i, "bias", err));
        const sotto_status status = ckks_encode(
            m->encoder, m->context, stage->bias + i * words, m->slot, NULL,
            m->slots, spec->out_scale, spec->to, &m->arena, err);
        if (status != SOTTO_OK) {
            return sotto_fail_prefix(err, status, "linear map: bias %zu", i);
        }
    }
    return SOTTO_OK;
}

/* Makes the stage of one fold. */
static sotto_status make_fold(ckks_lintrans_maker *m,
                              ckks_lintrans_stage *stage, const ckks_fold *fold,
                              int from, int to, sotto_error *err)
{
    const size_t n_out = m->spec->n_out;
    const size_t count = (size_t)fold->count;
    ckks_lintrans_shape shape = {.n_in = n_out,
                                 .n_out = n_out,
                                 .from = from,
                                 .to = to,
                                 .gadget = fold->gadget,
                                 .hoisting = CKKS_HOIST_DOUBLE,
                                 .n_drafts = n_out * count};
    shape.draft = sotto_calloc(shape.n_drafts, sizeof *shape.draft);
    if (shape.draft == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "linear map: no memory for a fold");
    }
    for (size_t i = 0; i < shape.n_drafts; i++) {
        const uint64_t steps = (uint64_t)fold->step * (i % count);
        shape.draft[i] = (ckks_lintrans_draft){
            .out = (uint32_t)(i / count),
            .in = (uint32_t)(i / count),
            .baby = ckks_lintrans_modulo((int64_t)steps, m->slots),
            .index = i,
            .is_constant = true,
            .value = 1};
    }
    const sotto_status status =
        ckks_lintrans_stage_init(stage, m->context, &shape, err);
    sotto_free(shape.draft);
    SOTTO_TRY(status);
    const size_t n = stage->plains.n_constants * (size_t)stage->sum.count;
    for (size_t i = 0; i < n; i++) {
        stage->plains.constant[i] = 1;
    }
    stage->plains.resident = true; /* there are none to be made */
    ckks_lintrans_stage_size(stage);
    return SOTTO_OK;
}

/* Makes all stages. n_stages counts those that are there. */
static sotto_status make_stages(ckks_lintrans_maker *m, ckks_hoisting hoisting,
                                sotto_error *err)
{
    ckks_lintrans *map = m->map;
    const ckks_lintrans_spec *spec = m->spec;
    const ckks_lintrans_shape shape = {.n_in = spec->n_in,
                                       .n_out = spec->n_out,
                                       .from = spec->from,
                                       .to = spec->n_folds > 0 ? spec->from
                                                               : spec->to,
                                       .gadget = spec->gadget,
                                       .hoisting = hoisting,
                                       .n_drafts = m->n_drafts,
                                       .draft = m->draft};
    SOTTO_TRY(
        ckks_lintrans_stage_init(&map->stage[0], m->context, &shape, err));
    map->n_stages = 1;
    SOTTO_TRY(ckks_lintrans_encode(m, err));
    for (size_t i = 0; i < spec->n_folds; i++) {
        const bool is_last = i + 1 == spec->n_folds;
        SOTTO_TRY(make_fold(m, &map->stage[1 + i], &spec->fold[i], spec->from,
                            is_last ? spec->to : spec->from, err));
        map->n_stages++;
    }
    for (size_t i = 0; i < spec->n_late_folds; i++) {
        SOTTO_TRY(make_fold(m, &map->stage[1 + spec->n_folds + i],
                            &spec->late_fold[i], spec->to, spec->to, err));
        map->n_stages++;
    }
    SOTTO_TRY(encode_bias(m, &map->stage[map->n_stages - 1], err));
    return SOTTO_OK;
}

/* The cost of all stages. */
static double cost_of(const ckks_lintrans *map,
                      const ckks_lintrans_rates *rates)
{
    double cost = 0;
    for (size_t i = 0; i < map->n_stages; i++) {
        const ckks_lintrans_stage *stage = &map->stage[i];
        const rlwe_gadget *gadget = NULL;
        if (stage->n_rotations > 0) {
            gadget = &map->context->params.literal.gadget[stage->gadget];
        }
        const ckks_lintrans_count count = {
            .n_lifted = stage->n_lifted,
            .n_babies = stage->n_stored,
            .n_giants = stage->n_rotated,
            .n_diagonals = stage->n_terms,
            .n_out = stage->n_out,
        };
        cost += ckks_lintrans_cost(map->context, gadget, stage->from, stage->to,
                                   stage->hoisting, &count, rates);
    }
    return cost;
}

static sotto_status compile(ckks_lintrans_maker *m, sotto_error *err)
{
    ckks_lintrans *map = m->map;
    const ckks_lintrans_spec *spec = m->spec;
    ckks_lintrans_split split;
    SOTTO_TRY(check_scales(m, err));
    SOTTO_TRY(maker_init(m, err));
    SOTTO_TRY(ckks_lintrans_choose(&split, m->giant, m->context, spec, 0, err));
    for (size_t i = 0; spec->giant && i < spec->n_diagonals; i++) {
        m->giant[i] = spec->giant[i];
    }
    map->in_scale = sotto_calloc(spec->n_in, sizeof *map->in_scale);
    map->stage = sotto_calloc(1 + spec->n_folds + spec->n_late_folds,
                              sizeof *map->stage);
    if (map->in_scale == NULL || map->stage == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "linear map: no memory");
    }
    memcpy(map->in_scale, spec->in_scale, spec->n_in * sizeof *map->in_scale);
    map->out_scale = spec->out_scale;
    SOTTO_TRY(classify(m, err));
    SOTTO_TRY(make_stages(m, split.hoisting, err));
    const ckks_lintrans_rates rates =
        spec->rates ? *spec->rates : ckks_lintrans_rates_of(m->context);
    map->cost = cost_of(map, &rates);
    return SOTTO_OK;
}

sotto_status ckks_lintrans_new(ckks_lintrans **map, const ckks_encoder *encoder,
                               const rlwe_context *context,
                               const ckks_lintrans_spec *spec, sotto_error *err)
{
    *map = NULL;
    SOTTO_TRY(ckks_lintrans_check(context, spec, err));
    ckks_lintrans_maker m = {.encoder = encoder,
                             .context = context,
                             .spec = spec,
                             .slots = ntt_ring_slots(&context->ring->ring)};
    m.map = sotto_calloc(1, sizeof *m.map);
    if (m.map == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "linear map: no memory");
    }
    m.map->context = context;
    m.map->n_in = spec->n_in;
    m.map->n_out = spec->n_out;
    const sotto_status status = compile(&m, err);
    maker_clear(&m);
    if (status != SOTTO_OK) {
        ckks_lintrans_free(m.map);
        return status;
    }
    *map = m.map;
    return SOTTO_OK;
}

void ckks_lintrans_free(ckks_lintrans *map)
{
    if (map == NULL) {
        return;
    }
    for (size_t i = 0; map->stage != NULL && i < map->n_stages; i++) {
        ckks_lintrans_stage_clear(&map->stage[i]);
    }
    sotto_free(map->stage);
    sotto_free(map->in_scale);
    sotto_free(map);
}

ckks_lintrans_info ckks_lintrans_describe(const ckks_lintrans *map)
{
    const ckks_lintrans_stage *stage = &map->stage[0];
    return (ckks_lintrans_info){
        .hoisting = stage->hoisting,
        .n_diagonals = stage->n_terms,
        .n_constants = stage->plains.n_constants,
        .n_babies = stage->n_stored,
        .n_giants = stage->n_rotated,
        .resident = stage->plains.resident,
        .memory_bytes = stage->plains.bytes,
        .cost = map->cost,
    };
}

static int compare_uses(const void *a, const void *b)
{
    const ckks_rotation_use *x = a;
    const ckks_rotation_use *y = b;
    if (x->steps != y->steps) {
        return x->steps < y->steps ? -1 : 1;
    }
    if (x->gadget != y->gadget) {
        return x->gadget < y->gadget ? -1 : 1;
    }
    return x->level < y->level ? -1 : x->level > y->level;
}

/* True when rotation i of stage s occurred before, with gadget and level. */
static bool is_repeated(const ckks_lintrans *map, size_t s, size_t i)
{
    const ckks_lintrans_stage *stage = &map->stage[s];
    for (size_t t = 0; t < s; t++) {
        const ckks_lintrans_stage *other = &map->stage[t];
        for (size_t k = 0; k < other->n_rotations; k++) {
            if (other->gadget == stage->gadget && other->from == stage->from &&
                other->rotation[k].steps == stage->rotation[i].steps) {
                return true;
            }
        }
    }
    return false;
}

size_t ckks_lintrans_rotations(const ckks_lintrans *map, ckks_rotation_use *use,
                               size_t cap)
{
    size_t n = 0;
    for (size_t s = 0; s < map->n_stages; s++) {
        const ckks_lintrans_stage *stage = &map->stage[s];
        for (size_t i = 0; i < stage->n_rotations; i++) {
            if (is_repeated(map, s, i)) {
                continue;
            }
            if (n < cap) {
                use[n] = (ckks_rotation_use){
                    .steps = (int64_t)stage->rotation[i].steps,
                    .galois = stage->rotation[i].galois,
                    .gadget = stage->gadget,
                    .level = stage->from,
                };
            }
            n++;
        }
    }
    if (cap > 0) {
        qsort(use, n < cap ? n : cap, sizeof *use, compare_uses);
    }
    return n;
}
