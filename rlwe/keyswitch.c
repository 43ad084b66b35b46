/* SPDX-License-Identifier: MIT
 * Hybrid key switching. Evaluation touches public data only.
 *
 * One pass over the moduli of level ∪ special, and for each modulus over the
 * digits: the key is read front to back once, and a digit's limb is used while
 * it is in the cache.
 *
 *     work   y       the input's limbs, digit by digit, scaled, coefficients
 *            lifted  one limb of each digit, for the present modulus
 *            extra   one limb of each output, from the second input on
 *            acc_0 | acc_1   level ∪ special, ordered: kept limbs, then those
 *                            that the division removes
 */
#include "rlwe/keyswitch.h"

#include <string.h>

#include "ntt/poly.h"
#include "rlwe/keyswitch_internal.h"
#include "rlwe/rlwe_internal.h"

/* The limbs of digit j of a gadget that a level has. */
static rns_set digit_limbs(const rlwe_gadget *gadget, int j,
                           const rns_set *level)
{
    rns_set digit = {.count = 0};
    for (int i = 0; i < gadget->limbs.count; i++) {
        if (gadget->digit[i] == j) {
            digit.id[digit.count++] = gadget->limbs.id[i];
        }
    }
    return rns_set_common(&digit, level);
}

/* Words that rns_divide wants at most for a division by n_by moduli. */
static size_t divide_words(const rns_ring *ring, int n_by)
{
    return poly_words(ring, n_by + 1);
}

/* The conversions of the digits that the level still has. Each digit's product
 * is that of its living limbs: what is gone plays no part in the lift. */
static sotto_status make_digits(rlwe_switcher *switcher, const rns_ring *ring,
                                const rns_set *level, sotto_error *err)
{
    const rlwe_gadget *gadget = &switcher->gadget;
    for (int j = 0; j < gadget->n_digits; j++) {
        const rns_set digit = digit_limbs(gadget, j, level);
        if (digit.count == 0) {
            continue;
        }
        const rns_set rest = rns_set_minus(&switcher->all, &digit);
        SOTTO_TRY(rns_converter_new(&switcher->up[switcher->n_digits], ring,
                                    &digit, &rest, err));
        switcher->digit_number[switcher->n_digits] = j;
        switcher->n_digits++;
    }
    return SOTTO_OK;
}

/* Fills a switcher whose gadget and levels have been checked. On failure the
 * caller frees what is there. */
static sotto_status fill_switcher(rlwe_switcher *switcher,
                                  const rlwe_context *context, sotto_error *err)
{
    const rns_ring *ring = context->ring;
    const rlwe_gadget *gadget = &switcher->gadget;
    const rns_set *level = rlwe_level_set(context, switcher->from);
    const rns_set *keep = rlwe_level_set(context, switcher->to);
    switcher->up = sotto_calloc((size_t)gadget->n_digits, sizeof *switcher->up);
    switcher->p_residue =
        sotto_calloc((size_t)level->count, sizeof *switcher->p_residue);
    if (switcher->up == NULL || switcher->p_residue == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for key switching at level %d",
                          switcher->from);
    }
    switcher->all = rns_set_union(level, &gadget->special);
    SOTTO_TRY(make_digits(switcher, ring, level, err));
    for (int i = 0; i < level->count; i++) {
        switcher->p_residue[i] = rns_product_mod(
            ring, &gadget->special, -1, rns_modulus(ring, level->id[i]));
    }
    /* P alone, or P and what the joined rescale removes: one division. */
    const rns_set by = rns_set_minus(&switcher->all, keep);
    SOTTO_TRY(rns_divider_new(&switcher->down, ring, keep, &by, err));
    SOTTO_ASSERT(rns_divide_scratch(switcher->down, ring) <=
                 divide_words(ring, by.count));
    return SOTTO_OK;
}

sotto_status rlwe_switcher_new(rlwe_switcher **switcher,
                               const rlwe_context *context,
                               const rlwe_gadget *gadget, int from, int to,
                               sotto_error *err)
{
    *switcher = NULL;
    const rlwe_chain *chain = &context->chain;
    SOTTO_ASSERT(from >= 0 && from < chain->n_levels);
    if (!rns_set_contains(&gadget->limbs, rlwe_level_set(context, from))) {
        return sotto_fail(err, SOTTO_ERR_LEVEL,
                          "key switching at level %d: the gadget serves %d "
                          "moduli, not all of the level's",
                          from, gadget->limbs.count);
    }
    if (from != to && rlwe_chain_step(chain, from, to) == NULL) {
        return sotto_fail(err, SOTTO_ERR_LEVEL,
                          "key switching with a rescale from level %d to level "
                          "%d, which the parameters do not list",
                          from, to);
    }
    rlwe_switcher *made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for key switching at level %d", from);
    }
    made->gadget = *gadget;
    made->from = from;
    made->to = to;
    const sotto_status status = fill_switcher(made, context, err);
    if (status != SOTTO_OK) {
        rlwe_switcher_free(made);
        return status;
    }
    *switcher = made;
    return SOTTO_OK;
}

void rlwe_switcher_free(rlwe_switcher *switcher)
{
    if (switcher == NULL) {
        return;
    }
    for (int d = 0; d < switcher->n_digits; d++) {
        rns_converter_free(switcher->up[d]);
    }
    rns_divider_free(switcher->down);
    sotto_free(switcher->up);
    sotto_free(switcher->p_residue);
    sotto_free(switcher);
}

/* Scratch of one call; see the top of the file. */
typedef struct switch_work {
    uint64_t *y;
    uint64_t *lifted;
    uint64_t *extra;
    uint64_t *acc[2];
    uint64_t *divide;
} switch_work;

/* Words for a gadget and a level with this many limbs; n_by moduli removed. */
static size_t work_words(const rns_ring *ring, int n_limbs, int n_digits,
                         int n_all, int n_by)
{
    return poly_words(ring, n_limbs + n_digits + 2 + 2 * n_all) +
           divide_words(ring, n_by);
}

size_t rlwe_switch_scratch(const rlwe_context *context)
{
    const rlwe_params_literal *literal = &context->params.literal;
    size_t most = 0;
    for (int i = 0; i < literal->n_gadgets; i++) {
        const rlwe_gadget *gadget = &literal->gadget[i];
        /* No level has more limbs, no division removes more than all but one.
         */
        const int n_limbs = gadget->limbs.count;
        const int n_all = n_limbs + gadget->special.count;
        const size_t words = work_words(context->ring, n_limbs,
                                        gadget->n_digits, n_all, n_all - 1);
        if (words > most) {
            most = words;
        }
    }
    return sotto_arena_need(most, sizeof(uint64_t));
}

/* One block, cut up: a limb is a whole number of cache lines. */
static switch_work take_work(const rlwe_switcher *switcher,
                             const rlwe_context *context, sotto_arena *arena)
{
    const rns_ring *ring = context->ring;
    const int n_limbs = rlwe_level_set(context, switcher->from)->count;
    const int n_digits = switcher->n_digits;
    const int n_all = switcher->all.count;
    uint64_t *at =
        sotto_arena_take(arena,
                         work_words(ring, n_limbs, n_digits, n_all,
                                    switcher->down->converter->from.count),
                         sizeof *at);
    SOTTO_ASSERT(at != NULL);
    switch_work work = {.y = at};
    work.lifted = work.y + poly_words(ring, n_limbs);
    work.extra = work.lifted + poly_words(ring, n_digits);
    work.acc[0] = work.extra + poly_words(ring, 2);
    work.acc[1] = work.acc[0] + poly_words(ring, n_all);
    work.divide = work.acc[1] + poly_words(ring, n_all);
    return work;
}

void rlwe_scale_digits(const rlwe_switcher *switcher,
                       const rlwe_context *context, uint64_t *y,
                       const uint64_t *x, const uint32_t *map)
{
    const rns_ring *ring = context->ring;
    const rns_set *level = rlwe_level_set(context, switcher->from);
    const size_t n = ring->ring.n;
    for (int d = 0; d < switcher->n_digits; d++) {
        const rns_converter *up = switcher->up[d];
        for (int i = 0; i < up->from.count; i++, y += ring->stride) {
            const int id = up->from.id[i];
            const rns_limb *limb = &ring->limb[id];
            const uint64_t *in =
                poly_limb_const(ring, x, rns_set_find(level, id));
            if (map != NULL) {
                limb->kernels.permute(y, in, map, n);
            } else {
                memcpy(y, in, n * sizeof *y);
            }
            limb->kernels.inverse(y, limb->table, up->scale_in[i]);
        }
    }
}

int rlwe_place_digits(const rlwe_switcher *switcher,
                      const rlwe_context *context, const uint64_t **limb,
                      const uint64_t *lifted, const uint64_t *x, int id)
{
    const rns_ring *ring = context->ring;
    const rns_set *level = rlwe_level_set(context, switcher->from);
    int own = -1;
    for (int d = 0; d < switcher->n_digits; d++) {
        if (rns_set_find(&switcher->up[d]->to, id) < 0) {
            limb[d] = poly_limb_const(ring, x, rns_set_find(level, id));
            own = d;
        } else {
            limb[d] = lifted;
            lifted += ring->stride;
        }
    }
    return own;
}

void rlwe_lift_digits(const rlwe_switcher *switcher,
                      const rlwe_context *context, uint64_t *lifted,
                      const uint64_t *y, int id)
{
    const rns_ring *ring = context->ring;
    const rns_limb *limb = &ring->limb[id];
    for (int d = 0; d < switcher->n_digits; d++) {
        const rns_converter *up = switcher->up[d];
        const int to = rns_set_find(&up->to, id);
        if (to >= 0) {
            rns_convert_limb(up, ring, lifted, y, to);
            limb->kernels.forward(lifted, limb->table);
            lifted += ring->stride;
        }
        y += poly_words(ring, up->from.count);
    }
}

void rlwe_key_rows(const rlwe_switcher *switcher, const rlwe_context *context,
                   const uint64_t **b, const uint64_t **a,
                   const rlwe_switch_key *key, int id)
{
    const int at = rns_set_find(&key->set, id);
    for (int d = 0; d < switcher->n_digits; d++) {
        const int j = switcher->digit_number[d];
        b[d] = rlwe_switch_key_limb(key, context, at, j, 0);
        a[d] = rlwe_switch_key_limb(key, context, at, j, 1);
    }
}

/* What one call switches. */
typedef struct switch_job {
    const rlwe_switcher *switcher;
    const rlwe_context *context;
    const switch_work *work;
    const uint32_t *map;  /* an automorphism of x and c before, or NULL */
    const uint64_t *c[2]; /* added times P, or NULL */
} switch_job;

/* (r_0, r_1) = Σ_j digit_j(x)·(b_j, a_j) modulo one modulus. */
static void product_limb(const switch_job *job, uint64_t *r_0, uint64_t *r_1,
                         const uint64_t *x, const rlwe_switch_key *key, int id)
{
    const rlwe_switcher *switcher = job->switcher;
    const rns_ring *ring = job->context->ring;
    const rns_limb *limb = &ring->limb[id];
    const size_t n = ring->ring.n;
    uint64_t *lifted = job->work->lifted;
    const uint64_t *digit[RNS_MAX_LIMBS];
    const uint64_t *b[RNS_MAX_LIMBS];
    const uint64_t *a[RNS_MAX_LIMBS];
    const int own =
        rlwe_place_digits(switcher, job->context, digit, lifted, x, id);
    rlwe_lift_digits(switcher, job->context, lifted, job->work->y, id);
    if (own >= 0 && job->map != NULL) {
        uint64_t *turned = poly_limb(ring, lifted, switcher->n_digits - 1);
        limb->kernels.permute(turned, digit[own], job->map, n);
        digit[own] = turned;
    }
    rlwe_key_rows(switcher, job->context, b, a, key, id);
    limb->kernels.inner_product(r_0, r_1, digit, b, a,
                                (size_t)switcher->n_digits, n,
                                &limb->table->mod);
}

/* acc += P·c modulo the m-th modulus; nothing modulo the special moduli, which
 * divide P. */
static void add_scaled(const switch_job *job, uint64_t *acc, const uint64_t *c,
                       int m)
{
    const rns_ring *ring = job->context->ring;
    const rlwe_switcher *switcher = job->switcher;
    const int id = switcher->all.id[m];
    const rns_limb *limb = &ring->limb[id];
    const int at =
        rns_set_find(rlwe_level_set(job->context, switcher->from), id);
    if (c == NULL || at < 0) {
        return;
    }
    const uint64_t *in = poly_limb_const(ring, c, at);
    if (job->map != NULL) {
        limb->kernels.permute(job->work->extra, in, job->map, ring->ring.n);
        in = job->work->extra;
    }
    limb->kernels.mul_scalar_add(acc, in, switcher->p_residue[at], ring->ring.n,
                                 &limb->table->mod);
}

/* Adds the product for one input to the accumulators; the first one sets them
 * and adds c. */
static void add_product(const switch_job *job, const uint64_t *x,
                        const rlwe_switch_key *key, bool is_first)
{
    const rlwe_switcher *switcher = job->switcher;
    const switch_work *work = job->work;
    const rns_ring *ring = job->context->ring;
    const size_t n = ring->ring.n;
    SOTTO_ASSERT(rlwe_gadget_equal(&key->gadget, &switcher->gadget));
    rlwe_scale_digits(switcher, job->context, work->y, x, job->map);
    for (int m = 0; m < switcher->all.count; m++) {
        const int id = switcher->all.id[m];
        uint64_t *acc_0 = poly_limb(ring, work->acc[0], m);
        uint64_t *acc_1 = poly_limb(ring, work->acc[1], m);
        if (is_first) {
            product_limb(job, acc_0, acc_1, x, key, id);
            add_scaled(job, acc_0, job->c[0], m);
            add_scaled(job, acc_1, job->c[1], m);
            continue;
        }
        uint64_t *extra_0 = poly_limb(ring, work->extra, 0);
        uint64_t *extra_1 = poly_limb(ring, work->extra, 1);
        product_limb(job, extra_0, extra_1, x, key, id);
        const rns_limb *limb = &ring->limb[id];
        limb->kernels.add(acc_0, acc_0, extra_0, n, &limb->table->mod);
        limb->kernels.add(acc_1, acc_1, extra_1, n, &limb->table->mod);
    }
}

size_t rlwe_divide_acc_words(const rlwe_switcher *switcher,
                             const rlwe_context *context)
{
    return divide_words(context->ring, switcher->down->converter->from.count);
}

void rlwe_divide_acc(const rlwe_switcher *switcher, const rlwe_context *context,
                     uint64_t *out, const uint64_t *acc, uint64_t *scratch)
{
    const rns_ring *ring = context->ring;
    const rns_converter *down = switcher->down->converter;
    const uint64_t *keep[RNS_MAX_LIMBS];
    const uint64_t *by[RNS_MAX_LIMBS];
    for (int i = 0; i < down->to.count; i++) {
        keep[i] = poly_limb_const(ring, acc,
                                  rns_set_find(&switcher->all, down->to.id[i]));
    }
    for (int i = 0; i < down->from.count; i++) {
        by[i] = poly_limb_const(ring, acc,
                                rns_set_find(&switcher->all, down->from.id[i]));
    }
    rns_divide_limbs(switcher->down, ring, out, keep, by, scratch);
}

/* The divisions, when all inputs have been read: they may be outputs. */
static void divide_both(const switch_job *job, uint64_t *out_0, uint64_t *out_1)
{
    const switch_work *work = job->work;
    rlwe_divide_acc(job->switcher, job->context, out_0, work->acc[0],
                    work->divide);
    rlwe_divide_acc(job->switcher, job->context, out_1, work->acc[1],
                    work->divide);
}

void rlwe_switch(const rlwe_switcher *switcher, const rlwe_context *context,
                 uint64_t *out_0, uint64_t *out_1, const uint64_t *c_0,
                 const uint64_t *c_1, const uint64_t *const *x,
                 const rlwe_switch_key *const *key, int n_x, sotto_arena *arena)
{
    SOTTO_ASSERT(n_x >= 1 && out_0 != out_1);
    const size_t mark = sotto_arena_mark(arena);
    const switch_work work = take_work(switcher, context, arena);
    const switch_job job = {.switcher = switcher,
                            .context = context,
                            .work = &work,
                            .c = {c_0, c_1}};
    for (int i = 0; i < n_x; i++) {
        add_product(&job, x[i], key[i], i == 0);
    }
    divide_both(&job, out_0, out_1);
    sotto_arena_release(arena, mark);
}

void rlwe_switch_turned(const rlwe_switcher *switcher,
                        const rlwe_context *context, uint64_t *out_0,
                        uint64_t *out_1, const uint64_t *c_0, const uint64_t *x,
                        const uint32_t *map, const rlwe_switch_key *key,
                        sotto_arena *arena)
{
    SOTTO_ASSERT(out_0 != out_1);
    const size_t mark = sotto_arena_mark(arena);
    const switch_work work = take_work(switcher, context, arena);
    const switch_job job = {.switcher = switcher,
                            .context = context,
                            .work = &work,
                            .map = map,
                            .c = {c_0, NULL}};
    add_product(&job, x, key, true);
    divide_both(&job, out_0, out_1);
    sotto_arena_release(arena, mark);
}
