/* SPDX-License-Identifier: MIT
 * Making the stages of a linear map: which inputs are rotated, what is summed.
 */
#include <stdlib.h>
#include <string.h>

#include "ckks/lintrans_internal.h"
#include "ntt/poly.h"

/* Terms by output, giant, kind, input, baby. */
static int compare_drafts(const void *a, const void *b)
{
    const ckks_lintrans_draft *x = a;
    const ckks_lintrans_draft *y = b;
    const uint64_t key[2][6] = {
        {x->out, x->giant, x->is_constant, x->in, x->baby, x->index},
        {y->out, y->giant, y->is_constant, y->in, y->baby, y->index}};
    for (int i = 0; i < 6; i++) {
        if (key[0][i] != key[1][i]) {
            return key[0][i] < key[1][i] ? -1 : 1;
        }
    }
    return 0;
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts numbers and drops repeated ones; returns how many are left. */
static size_t sort_unique(uint64_t *x, size_t n)
{
    size_t kept = 0;
    qsort(x, n, sizeof *x, compare_u64);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || x[kept - 1] != x[i]) {
            x[kept++] = x[i];
        }
    }
    return kept;
}

static sotto_status no_memory(sotto_error *err)
{
    return sotto_fail(err, SOTTO_ERR_MEMORY,
                      "linear map: no memory for its sums");
}

/* The position of a number in a sorted list. */
static size_t find_u64(const uint64_t *x, size_t n, uint64_t wanted)
{
    size_t low = 0;
    while (n > 1) {
        const size_t half = n / 2;
        low += x[low + half] <= wanted ? half : 0;
        n -= half;
    }
    SOTTO_ASSERT(x[low] == wanted);
    return low;
}

/* Lists the rotations of babies and giants, with their maps. */
static sotto_status make_rotations(ckks_lintrans_stage *stage,
                                   const ckks_lintrans_shape *shape,
                                   uint64_t *scratch, sotto_error *err)
{
    const ntt_ring *ring = &stage->context->ring->ring;
    size_t n = 0;
    for (size_t i = 0; i < shape->n_drafts; i++) {
        scratch[n] = shape->draft[i].baby;
        n += scratch[n] != 0;
        scratch[n] = shape->draft[i].giant;
        n += scratch[n] != 0;
    }
    n = sort_unique(scratch, n);
    stage->rotation = sotto_calloc(n, sizeof *stage->rotation);
    if (stage->rotation == NULL) {
        return no_memory(err);
    }
    stage->n_rotations = n;
    for (size_t i = 0; i < n; i++) {
        ckks_lintrans_rotation *r = &stage->rotation[i];
        r->steps = scratch[i];
        r->galois = ntt_ring_rotation(ring, (int64_t)r->steps);
        r->map = sotto_calloc(ring->n, sizeof *r->map);
        if (r->map == NULL) {
            return no_memory(err);
        }
        ntt_ring_automorphism(ring, r->map, r->galois);
    }
    return SOTTO_OK;
}

/* The number of a rotation, or LINTRANS_NONE for 0. */
static int find_rotation(const ckks_lintrans_stage *stage, uint64_t steps)
{
    for (size_t i = 0; i < stage->n_rotations; i++) {
        if (stage->rotation[i].steps == steps) {
            return (int)i;
        }
    }
    SOTTO_ASSERT(steps == 0);
    return LINTRANS_NONE;
}

/* Lists the rotated inputs; names [n_babies] are in·slots + steps, rising. */
static sotto_status make_babies(ckks_lintrans_stage *stage,
                                const uint64_t *name, size_t n_babies,
                                sotto_error *err)
{
    const size_t slots = ntt_ring_slots(&stage->context->ring->ring);
    stage->baby = sotto_calloc(n_babies, sizeof *stage->baby);
    stage->lifted_in = sotto_calloc(stage->n_in, sizeof *stage->lifted_in);
    if (stage->baby == NULL || stage->lifted_in == NULL) {
        return no_memory(err);
    }
    stage->n_babies = n_babies;
    for (size_t i = 0; i < n_babies; i++) {
        ckks_lintrans_baby *baby = &stage->baby[i];
        baby->in = (uint32_t)(name[i] / slots);
        baby->rotation = find_rotation(stage, name[i] % slots);
        baby->lifted = baby->stored = LINTRANS_NONE;
        if (baby->rotation == LINTRANS_NONE) {
            continue;
        }
        const size_t n = stage->n_lifted;
        if (n == 0 || stage->lifted_in[n - 1] != baby->in) {
            stage->lifted_in[stage->n_lifted++] = baby->in;
        }
        baby->lifted = (int)stage->n_lifted - 1;
        baby->stored = (int)stage->n_stored++;
    }
    return SOTTO_OK;
}

/* Opens a group for an output; terms are still to be counted. */
static void open_group(ckks_lintrans_stage *stage, uint32_t out, uint64_t giant,
                       size_t first)
{
    ckks_lintrans_group *group = &stage->group[stage->n_groups];
    *group = (ckks_lintrans_group){.out = out,
                                   .rotation = find_rotation(stage, giant),
                                   .rotated = LINTRANS_NONE,
                                   .first = first};
    if (group->rotation != LINTRANS_NONE) {
        group->rotated = (int)stage->n_rotated;
        stage->rotated[stage->n_rotated++] = stage->n_groups;
    }
    stage->n_groups++;
}

/* Puts the sorted terms of one output into groups; returns the term behind. */
static size_t group_output(ckks_lintrans_stage *stage,
                           const ckks_lintrans_shape *shape, uint32_t out,
                           size_t at, const uint64_t *name)
{
    const size_t slots = ntt_ring_slots(&stage->context->ring->ring);
    uint64_t giant = 0;
    stage->out_first[out] = stage->n_groups;
    open_group(stage, out, 0, at);
    for (; at < shape->n_drafts && shape->draft[at].out == out; at++) {
        const ckks_lintrans_draft *draft = &shape->draft[at];
        if (draft->giant != giant) {
            giant = draft->giant;
            open_group(stage, out, giant, at);
        }
        ckks_lintrans_group *group = &stage->group[stage->n_groups - 1];
        stage->term[at].baby = (uint32_t)find_u64(
            name, stage->n_babies, draft->in * slots + draft->baby);
        if (draft->is_constant) {
            stage->term[at].plain = (uint32_t)stage->plains.n_constants++;
            group->n_constants++;
        } else {
            stage->term[at].plain = (uint32_t)stage->plains.n++;
            group->n_plains++;
        }
    }
    stage->out_first[out + 1] = stage->n_groups;
    return at;
}

static sotto_status make_groups(ckks_lintrans_stage *stage,
                                const ckks_lintrans_shape *shape,
                                const uint64_t *name, sotto_error *err)
{
    const size_t most = shape->n_drafts + shape->n_out;
    stage->group = sotto_calloc(most, sizeof *stage->group);
    stage->rotated = sotto_calloc(most, sizeof *stage->rotated);
    stage->out_first = sotto_calloc(shape->n_out + 1, sizeof(size_t));
    stage->term = sotto_calloc(shape->n_drafts, sizeof *stage->term);
    if (!stage->group || !stage->rotated || !stage->out_first || !stage->term) {
        return no_memory(err);
    }
    stage->n_terms = shape->n_drafts;
    size_t at = 0;
    for (size_t out = 0; out < shape->n_out; out++) {
        at = group_output(stage, shape, (uint32_t)out, at, name);
    }
    return SOTTO_OK;
}

/* The sums of a stage, from the sorted drafts. */
static sotto_status make_sums(ckks_lintrans_stage *stage,
                              const ckks_lintrans_shape *shape,
                              sotto_error *err)
{
    const size_t slots = ntt_ring_slots(&stage->context->ring->ring);
    uint64_t *scratch = sotto_calloc(2 * shape->n_drafts, sizeof *scratch);
    if (scratch == NULL) {
        return no_memory(err);
    }
    sotto_status status = make_rotations(stage, shape, scratch, err);
    if (status == SOTTO_OK) {
        for (size_t i = 0; i < shape->n_drafts; i++) {
            scratch[i] = shape->draft[i].in * slots + shape->draft[i].baby;
        }
        const size_t n = sort_unique(scratch, shape->n_drafts);
        status = make_babies(stage, scratch, n, err);
    }
    if (status == SOTTO_OK) {
        status = make_groups(stage, shape, scratch, err);
    }
    sotto_free(scratch);
    return status;
}

/* Where digits and moduli meet. */
static void place_digits(ckks_lintrans_stage *stage)
{
    const rns_set *level = rlwe_level_set(stage->context, stage->from);
    int first = 0;
    stage->n_digits = stage->mid->n_digits;
    for (int d = 0; d < stage->n_digits; d++) {
        stage->digit_first[d] = first;
        first += stage->mid->up[d]->from.count;
    }
    for (int m = 0; m < stage->all.count; m++) {
        const int id = stage->all.id[m];
        stage->at[m] = rns_set_find(level, id);
        stage->own[m] = -1;
        for (int d = 0; d < stage->n_digits; d++) {
            if (rns_set_find(&stage->mid->up[d]->from, id) >= 0) {
                stage->own[m] = d;
            }
        }
    }
}

/* Sets of moduli, switchers, and the division at the end. */
static sotto_status make_division(ckks_lintrans_stage *stage, sotto_error *err)
{
    const rlwe_context *context = stage->context;
    const rns_set *level = rlwe_level_set(context, stage->from);
    stage->all = *level;
    if (stage->n_rotations > 0) {
        const rlwe_gadget *gadget =
            &context->params.literal.gadget[stage->gadget];
        SOTTO_TRY(rlwe_switcher_new(&stage->mid, context, gadget, stage->from,
                                    stage->from, err));
        SOTTO_TRY(rlwe_switcher_new(&stage->last, context, gadget, stage->from,
                                    stage->to, err));
        stage->all = stage->mid->all;
        place_digits(stage);
    }
    for (int m = 0; stage->n_rotations == 0 && m < stage->all.count; m++) {
        stage->at[m] = m;
        stage->own[m] = -1;
    }
    if (stage->n_stored == 0) {
        stage->hoisting = CKKS_HOIST_SINGLE; /* nothing to keep in Q·P */
    }
    stage->sum = stage->hoisting == CKKS_HOIST_DOUBLE ? stage->all : *level;
    stage->acc = stage->n_rotated > 0 ? stage->all : stage->sum;
    if (stage->acc.count > level->count) {
        stage->divider = stage->last->down;
    } else if (stage->from != stage->to) {
        stage->divider =
            rlwe_chain_step(&context->chain, stage->from, stage->to)->divider;
    }
    return SOTTO_OK;
}

sotto_status ckks_lintrans_stage_init(ckks_lintrans_stage *stage,
                                      const rlwe_context *context,
                                      const ckks_lintrans_shape *shape,
                                      sotto_error *err)
{
    *stage = (ckks_lintrans_stage){.context = context,
                                   .hoisting = shape->hoisting,
                                   .from = shape->from,
                                   .to = shape->to,
                                   .gadget = shape->gadget,
                                   .n_in = shape->n_in,
                                   .n_out = shape->n_out};
    qsort(shape->draft, shape->n_drafts, sizeof *shape->draft, compare_drafts);
    sotto_status status = make_sums(stage, shape, err);
    if (status == SOTTO_OK) {
        status = make_division(stage, err);
    }
    if (status == SOTTO_OK) {
        stage->plains.constant =
            sotto_calloc(stage->plains.n_constants * (size_t)stage->sum.count,
                         sizeof *stage->plains.constant);
        if (stage->plains.constant == NULL) {
            status = no_memory(err);
        }
    }
    if (status != SOTTO_OK) {
        ckks_lintrans_stage_clear(stage);
    }
    return status;
}

void ckks_lintrans_stage_size(ckks_lintrans_stage *stage)
{
    const size_t n = stage->context->ring->ring.n;
    const size_t rows = 2 * stage->n_babies + 4; /* of one worker */
    size_t columns = n < LINTRANS_COLUMNS ? n : LINTRANS_COLUMNS;
    while (columns > 128 &&
           rows * columns * sizeof(uint64_t) > LINTRANS_CACHE_BYTES) {
        columns /= 2;
    }
    /* A transform takes all columns. */
    stage->columns =
        stage->plains.n > 0 && !stage->plains.resident ? n : columns;
}

void ckks_lintrans_stage_clear(ckks_lintrans_stage *stage)
{
    for (size_t i = 0; i < stage->n_rotations; i++) {
        sotto_free(stage->rotation[i].map);
    }
    sotto_free(stage->rotation);
    sotto_free(stage->baby);
    sotto_free(stage->lifted_in);
    sotto_free(stage->group);
    sotto_free(stage->rotated);
    sotto_free(stage->out_first);
    sotto_free(stage->term);
    sotto_free(stage->bias);
    sotto_free(stage->packed);
    ckks_lintrans_plains_clear(&stage->plains);
    rlwe_switcher_free(stage->mid);
    rlwe_switcher_free(stage->last);
    *stage = (ckks_lintrans_stage){0};
}
