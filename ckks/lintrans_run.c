/* SPDX-License-Identifier: MIT
 * Running a stage: phases of units that any thread may take.
 *
 *     scale     inverse transforms of what is decomposed    input × limb
 *     lift      digits modulo all moduli             input × modulus × digit
 *     rotate    single hoisting: rotated inputs, divided; three phases
 *     sum       rotated inputs ⊙ diagonals                modulus × columns
 *     divide    double hoisting: second halves of sums; two phases
 *     scale, lift   of these
 *     collect   rotated sums of an output        output × modulus × columns
 *     finish    the division at the end, bias                half × modulus
 *
 * A unit writes its own part of the scratch memory and reads what earlier
 * phases wrote, so that results do not depend on threads.
 */
#include "ckks/lintrans_run_internal.h"

/* A phase: units 0 … n_units - 1. */
typedef void (*run_unit)(ckks_lintrans_run *r, size_t unit, uint64_t *room);

typedef struct phase {
    ckks_lintrans_run *r;
    run_unit unit;
} phase;

static sotto_status phase_task(void *arg, size_t task, int worker)
{
    const phase *p = arg;
    p->unit(p->r, task, p->r->room + (size_t)worker * p->r->room_words);
    return SOTTO_OK;
}

static void run_phase(ckks_lintrans_run *r, sotto_pool *pool, run_unit unit,
                      size_t n_units)
{
    phase p = {.r = r, .unit = unit};
    const sotto_status status = sotto_pool_run(pool, n_units, phase_task, &p);
    SOTTO_ASSERT(status == SOTTO_OK); /* units cannot fail */
}

static void decompose(ckks_lintrans_run *r, sotto_pool *pool, bool giants)
{
    const ckks_lintrans_stage *stage = r->stage;
    r->giants = giants;
    const size_t n = lifted_count(r);
    run_phase(r, pool, ckks_lintrans_unit_scale,
              n * (size_t)level_count(stage));
    run_phase(r, pool, ckks_lintrans_unit_lift,
              n * (size_t)stage->all.count * (size_t)stage->n_digits);
}

/* Rotated inputs and sums. */
static void run_sums(ckks_lintrans_run *r, sotto_pool *pool)
{
    const ckks_lintrans_stage *stage = r->stage;
    const size_t n_blocks = r->ring->ring.n / stage->columns;
    if (stage->n_lifted > 0) {
        decompose(r, pool, false);
    }
    if (stage->n_stored > 0 && stage->hoisting == CKKS_HOIST_SINGLE) {
        const size_t halves = 2 * stage->n_stored;
        run_phase(r, pool, ckks_lintrans_unit_rotate,
                  (size_t)stage->all.count * n_blocks);
        run_phase(r, pool, ckks_lintrans_unit_rotate_special,
                  halves * (size_t)special_count(stage));
        run_phase(r, pool, ckks_lintrans_unit_rotate_divide,
                  halves * (size_t)level_count(stage));
    }
    run_phase(r, pool, ckks_lintrans_unit_sum,
              (size_t)stage->sum.count * n_blocks);
}

static void run_giants(ckks_lintrans_run *r, sotto_pool *pool)
{
    const ckks_lintrans_stage *stage = r->stage;
    const size_t n_blocks = r->ring->ring.n / stage->columns;
    if (stage->hoisting == CKKS_HOIST_DOUBLE) {
        run_phase(r, pool, ckks_lintrans_unit_giant_special,
                  stage->n_rotated * (size_t)special_count(stage));
    }
    run_phase(r, pool, ckks_lintrans_unit_giant_second,
              stage->n_rotated * (size_t)level_count(stage));
    decompose(r, pool, true);
    run_phase(r, pool, ckks_lintrans_unit_collect,
              stage->n_out * (size_t)stage->all.count * n_blocks);
}

/* Hands out `words` of a block whose beginning may be NULL (to measure). */
static uint64_t *cut(uint64_t *base, size_t *used, size_t words)
{
    uint64_t *at = base == NULL ? NULL : base + *used;
    *used += words;
    return at;
}

/* Lays out the scratch memory; returns its words. */
static size_t lay_out(ckks_lintrans_run *r, uint64_t *base, int threads)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_ring *ring = r->ring;
    const int limbs = level_count(stage);
    const int all = stage->all.count;
    const size_t n_lifted =
        stage->n_lifted > stage->n_rotated ? stage->n_lifted : stage->n_rotated;
    const size_t removed =
        stage->divider ? (size_t)stage->divider->converter->from.count : 0;
    size_t used = 0;
    r->row = stage->columns + 40; /* an odd number of cache lines apart */
    r->scaled = cut(base, &used, n_lifted * poly_words(ring, limbs));
    r->digits =
        cut(base, &used, n_lifted * poly_words(ring, all * stage->n_digits));
    r->sums = cut(base, &used,
                  2 * stage->n_groups * poly_words(ring, stage->sum.count));
    size_t n_divided = stage->n_rotated;
    if (stage->hoisting == CKKS_HOIST_SINGLE) {
        n_divided = 2 * stage->n_stored;
        r->rotated = cut(base, &used, n_divided * poly_words(ring, all));
    }
    r->special =
        cut(base, &used, n_divided * poly_words(ring, special_count(stage)));
    r->second = cut(base, &used, stage->n_rotated * poly_words(ring, limbs));
    r->acc = r->sums;
    if (stage->n_rotated > 0) {
        r->acc = cut(base, &used, 2 * stage->n_out * poly_words(ring, all));
    }
    r->removed = cut(base, &used, 2 * stage->n_out * removed * ring->stride);
    const size_t sum = ckks_lintrans_sum_room(r);
    const size_t divide = poly_words(ring, 1);
    r->room_words = (sum > divide ? sum : divide) + 7;
    r->room_words -= r->room_words % 8;
    r->room = cut(base, &used, (size_t)threads * r->room_words);
    return used;
}

size_t ckks_lintrans_stage_scratch(const ckks_lintrans_stage *stage,
                                   int threads)
{
    ckks_lintrans_run r = {.stage = stage, .ring = stage->context->ring};
    return sotto_arena_need(lay_out(&r, NULL, threads), sizeof(uint64_t));
}

void ckks_lintrans_stage_run(const ckks_lintrans_stage *stage,
                             ckks_ct *const *out, const ckks_ct *const *in,
                             const rlwe_switch_key *const *key,
                             sotto_pool *pool, sotto_arena *arena)
{
    const int threads = sotto_pool_threads(pool);
    const size_t mark = sotto_arena_mark(arena);
    ckks_lintrans_run r = {.stage = stage,
                           .ring = stage->context->ring,
                           .out = out,
                           .in = in,
                           .key = key};
    uint64_t *base =
        sotto_arena_take(arena, lay_out(&r, NULL, threads), sizeof *base);
    SOTTO_ASSERT(base != NULL);
    (void)lay_out(&r, base, threads);
    run_sums(&r, pool);
    if (stage->n_rotated > 0) {
        run_giants(&r, pool);
    }
    if (stage->divider != NULL) {
        run_phase(&r, pool, ckks_lintrans_unit_removed,
                  2 * stage->n_out *
                      (size_t)stage->divider->converter->from.count);
    }
    /* Inputs may be outputs: all have been read by now. */
    for (size_t i = 0; i < stage->n_out; i++) {
        const sotto_status status = rlwe_ct_reshape(
            &out[i]->ct, stage->context, stage->to, RLWE_MIN_COMPONENTS, NULL);
        SOTTO_ASSERT(status == SOTTO_OK); /* the caller has looked */
    }
    run_phase(&r, pool, ckks_lintrans_unit_finish,
              2 * stage->n_out *
                  (size_t)rlwe_level_set(stage->context, stage->to)->count);
    sotto_arena_release(arena, mark);
}
