/* SPDX-License-Identifier: MIT
 * Hoisting. Evaluation touches public data only.
 *
 * Modulus outermost as in keyswitch.c. Lifted digits lie modulus by modulus,
 * without those that are the input itself:
 *
 *     modulus 0: digit 1 | digit 2 | …   modulus 1: digit 0 | digit 2 | …
 */
#include "rlwe/hoist.h"

#include <string.h>

#include "ntt/poly.h"
#include "rlwe/keyswitch_internal.h"

/* Lifted limbs modulo the m-th modulus of level ∪ special: one of a level lies
 * in exactly one digit, a special one in none. */
static int lifted_count(const rlwe_switcher *switcher,
                        const rlwe_context *context, int m)
{
    const rns_set *level = rlwe_level_set(context, switcher->from);
    const int own = rns_set_find(level, switcher->all.id[m]) >= 0 ? 1 : 0;
    return switcher->n_digits - own;
}

size_t rlwe_hoist_digits_words(const rlwe_switcher *switcher,
                               const rlwe_context *context)
{
    const rns_set *level = rlwe_level_set(context, switcher->from);
    return poly_words(context->ring,
                      switcher->n_digits * switcher->all.count - level->count);
}

size_t rlwe_hoist_scratch(const rlwe_context *context)
{
    return rlwe_switch_scratch(context);
}

void rlwe_hoist_decompose(const rlwe_switcher *switcher,
                          const rlwe_context *context, rlwe_digits *digits,
                          uint64_t *lifted, const uint64_t *x,
                          sotto_arena *arena)
{
    const size_t mark = sotto_arena_mark(arena);
    const size_t words = rlwe_level_words(context, switcher->from);
    uint64_t *y = sotto_arena_take(arena, words, sizeof *y);
    SOTTO_ASSERT(y != NULL);
    rlwe_scale_digits(switcher, context, y, x);
    *digits = (rlwe_digits){.x = x, .lifted = lifted};
    for (int m = 0; m < switcher->all.count; m++) {
        const int id = switcher->all.id[m];
        const rns_limb *limb = &context->ring->limb[id];
        const int count = rlwe_convert_digits(switcher, context, lifted, y, id);
        const size_t parts = limb->kernels.forward_parts(limb->table);
        for (size_t part = 0; part < parts; part++) {
            for (int i = 0; i < count; i++) {
                limb->kernels.forward_part(poly_limb(context->ring, lifted, i),
                                           limb->table, part, NULL);
            }
        }
        lifted += poly_words(context->ring, lifted_count(switcher, context, m));
    }
    sotto_arena_release(arena, mark);
}

/* One product modulo one modulus after another. */
typedef struct product_job {
    const rlwe_switcher *switcher;
    const rlwe_context *context;
    const rlwe_switch_key *key;
    const rlwe_hoist_extra *extra;
    const rlwe_digits *digits;
    uint64_t *turned; /* for w_0 and c_0 after σ */
    uint64_t *sum;    /* [2]: when it is to be added */
} product_job;

/* σ(a), at `to` unless σ is the identity. */
static const uint64_t *turn(const product_job *job, const rns_limb *limb,
                            uint64_t *to, const uint64_t *a)
{
    if (job->extra->map == NULL) {
        return a;
    }
    limb->kernels.permute(to, a, job->extra->map, job->context->ring->ring.n);
    return to;
}

/* r_0 += σ(w_0 + P·c_0) modulo the m-th modulus. */
static void add_extra(const product_job *job, uint64_t *r_0, int m)
{
    const rns_ring *ring = job->context->ring;
    const rlwe_switcher *switcher = job->switcher;
    const int id = switcher->all.id[m];
    const rns_limb *limb = &ring->limb[id];
    const zq_modulus *mod = &limb->table->mod;
    const size_t n = ring->ring.n;
    const int at =
        rns_set_find(rlwe_level_set(job->context, switcher->from), id);
    if (job->extra->c_0 != NULL && at >= 0) {
        const uint64_t *c = poly_limb_const(ring, job->extra->c_0, at);
        limb->kernels.mul_scalar_add(r_0, turn(job, limb, job->turned, c),
                                     switcher->p_residue[at], n, mod);
    }
    if (job->extra->w_0 != NULL) {
        const uint64_t *w = poly_limb_const(ring, job->extra->w_0, m);
        limb->kernels.add(r_0, r_0, turn(job, limb, job->turned, w), n, mod);
    }
}

/* The product modulo the m-th modulus, whose lifted digits are given. */
static void product_limb(const product_job *job, uint64_t *u_0, uint64_t *u_1,
                         const uint64_t *lifted, int m)
{
    const rns_ring *ring = job->context->ring;
    const rlwe_switcher *switcher = job->switcher;
    const int id = switcher->all.id[m];
    const rns_limb *limb = &ring->limb[id];
    const zq_modulus *mod = &limb->table->mod;
    const size_t n = ring->ring.n;
    const uint64_t *digit[RNS_MAX_LIMBS];
    const uint64_t *b[RNS_MAX_LIMBS];
    const uint64_t *a[RNS_MAX_LIMBS];
    (void)rlwe_place_digits(switcher, job->context, digit, lifted,
                            job->digits->x, id);
    rlwe_key_rows(switcher, job->context, b, a, job->key, id);
    const bool add = job->extra->add;
    uint64_t *r_0 = add ? poly_limb(ring, job->sum, 0) : u_0;
    uint64_t *r_1 = add ? poly_limb(ring, job->sum, 1) : u_1;
    const size_t k = (size_t)switcher->n_digits;
    if (job->extra->map != NULL) {
        limb->kernels.inner_product_turned(r_0, r_1, digit, job->extra->map, b,
                                           a, k, n, mod);
    } else {
        limb->kernels.inner_product(r_0, r_1, digit, b, a, k, n, mod);
    }
    add_extra(job, r_0, m);
    if (add) {
        limb->kernels.add(u_0, u_0, r_0, n, mod);
        limb->kernels.add(u_1, u_1, r_1, n, mod);
    }
}

void rlwe_hoist_product(const rlwe_switcher *switcher,
                        const rlwe_context *context, uint64_t *u_0,
                        uint64_t *u_1, const rlwe_digits *digits,
                        const rlwe_switch_key *key,
                        const rlwe_hoist_extra *extra, sotto_arena *arena)
{
    static const rlwe_hoist_extra nothing = {.add = false};
    const rns_ring *ring = context->ring;
    SOTTO_ASSERT(u_0 != u_1);
    SOTTO_ASSERT(rlwe_gadget_equal(&key->gadget, &switcher->gadget));
    const size_t mark = sotto_arena_mark(arena);
    uint64_t *work = sotto_arena_take(arena, poly_words(ring, 3), sizeof *work);
    SOTTO_ASSERT(work != NULL);
    const product_job job = {
        .switcher = switcher,
        .context = context,
        .key = key,
        .extra = extra != NULL ? extra : &nothing,
        .digits = digits,
        .turned = poly_limb(ring, work, 2),
        .sum = work,
    };
    const uint64_t *lifted = digits->lifted;
    for (int m = 0; m < switcher->all.count; m++) {
        product_limb(&job, poly_limb(ring, u_0, m), poly_limb(ring, u_1, m),
                     lifted, m);
        lifted += poly_words(ring, lifted_count(switcher, context, m));
    }
    sotto_arena_release(arena, mark);
}

void rlwe_hoist_lift(const rlwe_switcher *switcher, const rlwe_context *context,
                     uint64_t *u, const uint64_t *c)
{
    const rns_ring *ring = context->ring;
    const rns_set *level = rlwe_level_set(context, switcher->from);
    const size_t n = ring->ring.n;
    for (int m = 0; m < switcher->all.count; m++) {
        const int id = switcher->all.id[m];
        const rns_limb *limb = &ring->limb[id];
        uint64_t *out = poly_limb(ring, u, m);
        const int at = rns_set_find(level, id);
        if (at >= 0) {
            limb->kernels.mul_scalar(out, poly_limb_const(ring, c, at),
                                     switcher->p_residue[at], n,
                                     &limb->table->mod);
        } else {
            memset(out, 0, n * sizeof *out); /* P is zero there */
        }
    }
}

void rlwe_hoist_sum(const rlwe_switcher *switcher, const rlwe_context *context,
                    uint64_t *acc_0, uint64_t *acc_1,
                    const uint64_t *const *plain, const uint64_t *const *u_0,
                    const uint64_t *const *u_1, int n)
{
    const rns_ring *ring = context->ring;
    SOTTO_ASSERT(n >= 1 && n <= RLWE_HOIST_MAX_TERMS && acc_0 != acc_1);
    for (int m = 0; m < switcher->all.count; m++) {
        const rns_limb *limb = &ring->limb[switcher->all.id[m]];
        const uint64_t *x[RLWE_HOIST_MAX_TERMS];
        const uint64_t *y_0[RLWE_HOIST_MAX_TERMS];
        const uint64_t *y_1[RLWE_HOIST_MAX_TERMS];
        for (int i = 0; i < n; i++) {
            x[i] = poly_limb_const(ring, plain[i], m);
            y_0[i] = poly_limb_const(ring, u_0[i], m);
            y_1[i] = poly_limb_const(ring, u_1[i], m);
        }
        limb->kernels.inner_product(poly_limb(ring, acc_0, m),
                                    poly_limb(ring, acc_1, m), x, y_0, y_1,
                                    (size_t)n, ring->ring.n, &limb->table->mod);
    }
}

void rlwe_hoist_divide(const rlwe_switcher *switcher,
                       const rlwe_context *context, uint64_t *out,
                       const uint64_t *u, sotto_arena *arena)
{
    const rns_ring *ring = context->ring;
    const rns_converter *down = switcher->down->converter;
    const size_t mark = sotto_arena_mark(arena);
    uint64_t *scratch = sotto_arena_take(
        arena, rns_divide_scratch(switcher->down, ring), sizeof *scratch);
    SOTTO_ASSERT(scratch != NULL);
    rns_dividend dividend = {.out = out};
    for (int i = 0; i < down->to.count; i++) {
        const int at = rns_set_find(&switcher->all, down->to.id[i]);
        dividend.keep_in[i] = poly_limb_const(ring, u, at);
    }
    for (int i = 0; i < down->from.count; i++) {
        const int at = rns_set_find(&switcher->all, down->from.id[i]);
        dividend.by_in[i] = poly_limb_const(ring, u, at);
    }
    rns_divide_each(switcher->down, ring, &dividend, 1, scratch);
    sotto_arena_release(arena, mark);
}
