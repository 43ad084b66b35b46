/* SPDX-License-Identifier: MIT
 * Hybrid key switching. Evaluation touches public data only.
 *
 * One pass over the moduli of level ∪ special, those that the division removes
 * first. Their sums are turned into what the division subtracts; then each
 * modulus that is kept goes from its digits to its result in one step, and by
 * columns, so that sums never leave the cache. The key is read once.
 *
 * An automorphism turns digits where they meet the key (lifts are centred: the
 * lift of σ(x) is σ of the lift). It takes every aligned power of two of
 * columns to such another, since the upper bits of a position are the lower
 * ones of an exponent (ring.h): columns of a result need one part of each
 * digit.
 *
 *     work   y       the inputs' limbs, digit by digit, scaled, coefficients
 *            lifted  one limb of each digit, for the present modulus
 *            aside   a limb of x that is overwritten, and one of c after an
 *                    automorphism
 *            sum     one limb of each output
 *            more    the same, for terms beyond the first 256
 *            by      the removed limbs of each output, then their lift
 */
#include "rlwe/keyswitch.h"

#include <string.h>

#include "ntt/poly.h"
#include "rlwe/keyswitch_internal.h"

/* Words for the removed limbs of an output and one more. */
static size_t divide_words(const rns_ring *ring, int n_by)
{
    return poly_words(ring, n_by + 1);
}

/* Scratch of one call; see the top of the file. */
typedef struct switch_work {
    uint64_t *y;
    uint64_t *lifted;
    uint64_t *aside;
    uint64_t *sum[2];
    uint64_t *more[2];
    uint64_t *by[2]; /* n_by limbs and one more */
} switch_work;

/* Most inputs: those of a ciphertext of most components. */
#define MAX_INPUTS (RLWE_MAX_COMPONENTS - RLWE_MIN_COMPONENTS)

/* Words for n_x inputs under a gadget at a level with this many limbs; n_by
 * moduli are removed. */
static size_t work_words(const rns_ring *ring, int n_x, int n_limbs,
                         int n_digits, int n_by)
{
    return poly_words(ring, n_x * (n_limbs + n_digits) + 6) +
           2 * divide_words(ring, n_by);
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
        const size_t words =
            work_words(context->ring, MAX_INPUTS, n_limbs, gadget->n_digits,
                       n_limbs + gadget->special.count - 1);
        if (words > most) {
            most = words;
        }
    }
    return sotto_arena_need(most, sizeof(uint64_t));
}

/* One block, cut up: a limb is a whole number of cache lines. */
static switch_work take_work(const rlwe_switcher *switcher,
                             const rlwe_context *context, int n_x,
                             sotto_arena *arena)
{
    const rns_ring *ring = context->ring;
    const int n_limbs = rlwe_level_set(context, switcher->from)->count;
    const int n_by = switcher->down->converter->from.count;
    uint64_t *at = sotto_arena_take(
        arena, work_words(ring, n_x, n_limbs, switcher->n_digits, n_by),
        sizeof *at);
    SOTTO_ASSERT(at != NULL);
    switch_work work = {.y = at};
    work.lifted = work.y + poly_words(ring, n_x * n_limbs);
    work.aside = work.lifted + poly_words(ring, n_x * switcher->n_digits);
    work.sum[0] = work.aside + poly_words(ring, 2);
    work.sum[1] = work.sum[0] + poly_words(ring, 1);
    work.more[0] = work.sum[1] + poly_words(ring, 1);
    work.more[1] = work.more[0] + poly_words(ring, 1);
    work.by[0] = work.more[1] + poly_words(ring, 1);
    work.by[1] = work.by[0] + divide_words(ring, n_by);
    return work;
}

void rlwe_scale_digits(const rlwe_switcher *switcher,
                       const rlwe_context *context, uint64_t *y,
                       const uint64_t *x)
{
    const rns_ring *ring = context->ring;
    const rns_set *level = rlwe_level_set(context, switcher->from);
    for (int d = 0; d < switcher->n_digits; d++) {
        const rns_converter *up = switcher->up[d];
        for (int i = 0; i < up->from.count; i++, y += ring->stride) {
            const int id = up->from.id[i];
            const uint64_t *in =
                poly_limb_const(ring, x, rns_set_find(level, id));
            rns_scale_limb(up, ring, y, in, i);
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

int rlwe_convert_digits(const rlwe_switcher *switcher,
                        const rlwe_context *context, uint64_t *lifted,
                        const uint64_t *y, int id)
{
    const rns_ring *ring = context->ring;
    const rns_limb *limb = &ring->limb[id];
    int count = 0;
    for (int d = 0; d < switcher->n_digits; d++) {
        const rns_converter *up = switcher->up[d];
        const int to = rns_set_find(&up->to, id);
        if (to >= 0) {
            uint64_t *out = poly_limb(ring, lifted, count++);
            rns_convert_limb(up, ring, out, y, to);
            limb->kernels.forward_first(out, limb->table);
        }
        y += poly_words(ring, up->from.count);
    }
    return count;
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
    switch_work work;
    const uint32_t *map;  /* an automorphism of x and c_0 before (then n_x is
                           * 1 and c_1 NULL), or NULL */
    bool in_place;        /* x may be an output */
    const uint64_t *c[2]; /* added times P, or NULL */
    const uint64_t *const *x;
    const rlwe_switch_key *const *key;
    int n_x;
} switch_job;

/* Terms that one inner product takes. */
#define MAX_TERMS 256

/* One modulus of a job, by columns. */
typedef struct limb_job {
    const rns_limb *limb;
    int n_terms; /* digits of all inputs */
    const uint64_t *x[MAX_INPUTS * RNS_MAX_LIMBS];
    const uint64_t *b[MAX_INPUTS * RNS_MAX_LIMBS];
    const uint64_t *a[MAX_INPUTS * RNS_MAX_LIMBS];
    const uint64_t *own;  /* the limb of x that is a digit as it is, or NULL */
    int n_lifted;         /* transforms to finish: limbs of work.lifted … */
    uint64_t *lift[2];    /* … and these two, to subtract; or NULL */
    const uint64_t *c[2]; /* added times p_residue, or NULL */
    uint64_t p_residue;
    uint64_t divisor_inverse;
    uint64_t *out[2]; /* for the result; a removed modulus: for the sum */
} limb_job;

/* (r_0, r_1) = Σ digit·(b, a) in some columns. */
static void sum_columns(const switch_job *job, const limb_job *l,
                        uint64_t *const r[2], size_t at, size_t count)
{
    const zq_modulus *mod = &l->limb->table->mod;
    for (int first = 0; first < l->n_terms; first += MAX_TERMS) {
        const uint64_t *x[MAX_TERMS], *b[MAX_TERMS], *a[MAX_TERMS];
        const int left = l->n_terms - first;
        const int n = left < MAX_TERMS ? left : MAX_TERMS;
        for (int i = 0; i < n; i++) {
            const int d = first + i;
            x[i] = l->x[d] + (job->map == NULL ? at : 0);
            b[i] = l->b[d] + at;
            a[i] = l->a[d] + at;
        }
        uint64_t *const *to = first == 0 ? r : job->work.more;
        if (job->map == NULL) {
            l->limb->kernels.inner_product(to[0], to[1], x, b, a, (size_t)n,
                                           count, mod);
        } else {
            l->limb->kernels.inner_product_turned(
                to[0], to[1], x, job->map + at, b, a, (size_t)n, count, mod);
        }
        for (int k = 0; k < 2 && first != 0; k++) {
            l->limb->kernels.add(r[k], r[k], to[k], count, mod);
        }
    }
}

/* What one part of a result needs of all transforms. Each of them fetches rows
 * of the key, the lifts those of digits that need no transform, and then the
 * limb of x and one of the result. */
static void transform_part(const switch_job *job, const limb_job *l,
                           size_t part, size_t count)
{
    const rns_limb *limb = l->limb;
    const size_t at = part * count;
    const size_t from = job->map == NULL ? part : job->map[at] / count;
    int next = 0;
    for (int i = 0; i < l->n_lifted + 2; i++) {
        const bool is_digit = i < l->n_lifted;
        uint64_t *a = is_digit
                          ? poly_limb(job->context->ring, job->work.lifted, i)
                          : l->lift[i - l->n_lifted];
        if (a != NULL) {
            const bool fetch = next < l->n_terms;
            const uint64_t *const own =
                l->own == NULL ? NULL : l->own + from * count;
            const uint64_t *const soon[2] = {fetch ? l->b[next] + at : own,
                                             fetch         ? l->a[next] + at
                                             : own == NULL ? NULL
                                                           : l->out[0] + at};
            limb->kernels.forward_part(a, limb->table, is_digit ? from : part,
                                       soon);
            next++;
        }
    }
}

/* Everything from transforms on, in some columns. */
static void finish_columns(const switch_job *job, const limb_job *l,
                           size_t part, size_t count)
{
    const ntt_kernels *kernels = &l->limb->kernels;
    const zq_modulus *mod = &l->limb->table->mod;
    const size_t at = part * count;
    transform_part(job, l, part, count);
    uint64_t *r[2];
    for (int k = 0; k < 2; k++) {
        r[k] = l->lift[k] != NULL ? job->work.sum[k] : l->out[k] + at;
    }
    sum_columns(job, l, r, at, count);
    for (int k = 0; k < 2; k++) {
        if (l->c[k] != NULL) {
            kernels->mul_scalar_add(r[k], l->c[k] + at, l->p_residue, count,
                                    mod);
        }
    }
    /* Inputs may be outputs: in these columns all have been read by now. */
    for (int k = 0; k < 2 && l->lift[k] != NULL; k++) {
        kernels->sub_mul_scalar(l->out[k] + at, r[k], l->lift[k] + at,
                                l->divisor_inverse, count, mod);
    }
}

/* A limb of x, put aside if columns of a result would overwrite others of it
 * that are still to be read. */
static const uint64_t *keep(const switch_job *job, const uint64_t *a)
{
    if (job->map == NULL || !job->in_place) {
        return a;
    }
    return memcpy(job->work.aside, a, job->context->ring->ring.n * sizeof *a);
}

/* σ(a), in the limb for it unless σ is the identity. */
static const uint64_t *turn(const switch_job *job, const rns_limb *limb,
                            const uint64_t *a)
{
    if (job->map == NULL) {
        return a;
    }
    const rns_ring *ring = job->context->ring;
    uint64_t *to = poly_limb(ring, job->work.aside, 1);
    limb->kernels.permute(to, a, job->map, ring->ring.n);
    return to;
}

/* Fills in the terms of one modulus and begins their transforms. */
static void begin_terms(const switch_job *job, limb_job *l, int id)
{
    const rlwe_switcher *switcher = job->switcher;
    const rns_ring *ring = job->context->ring;
    const rns_set *level = rlwe_level_set(job->context, switcher->from);
    l->limb = &ring->limb[id];
    for (int i = 0; i < job->n_x; i++) {
        uint64_t *lifted = poly_limb(ring, job->work.lifted, l->n_lifted);
        const int own = rlwe_place_digits(
            switcher, job->context, l->x + l->n_terms, lifted, job->x[i], id);
        if (own >= 0) {
            const uint64_t **limb = &l->x[l->n_terms + own];
            l->own = *limb = keep(job, *limb);
        }
        rlwe_key_rows(switcher, job->context, l->b + l->n_terms,
                      l->a + l->n_terms, job->key[i], id);
        l->n_lifted += rlwe_convert_digits(
            switcher, job->context, lifted,
            poly_limb_const(ring, job->work.y, i * level->count), id);
        l->n_terms += switcher->n_digits;
    }
    /* P·c is nothing modulo the special moduli, which divide P. */
    const int at = rns_set_find(level, id);
    for (int k = 0; k < 2 && at >= 0; k++) {
        if (job->c[k] != NULL) {
            const uint64_t *c = poly_limb_const(ring, job->c[k], at);
            l->c[k] = turn(job, l->limb, c);
            l->p_residue = switcher->p_residue[at];
        }
    }
}

static void finish_limb(const switch_job *job, const limb_job *l)
{
    const size_t parts = l->limb->kernels.forward_parts(l->limb->table);
    for (size_t part = 0; part < parts; part++) {
        finish_columns(job, l, part, job->context->ring->ring.n / parts);
    }
}

/* The i-th removed modulus: both sums, ready to be converted. */
static void remove_limb(const switch_job *job, int i)
{
    const rns_ring *ring = job->context->ring;
    const rns_converter *down = job->switcher->down->converter;
    limb_job l = {.n_terms = 0};
    begin_terms(job, &l, down->from.id[i]);
    l.out[0] = poly_limb(ring, job->work.by[0], i);
    l.out[1] = poly_limb(ring, job->work.by[1], i);
    finish_limb(job, &l);
    for (int k = 0; k < 2; k++) {
        rns_scale_limb(down, ring, l.out[k], l.out[k], i);
    }
}

/* The t-th kept modulus, all the way. */
static void keep_limb(const switch_job *job, uint64_t *const out[2], int t)
{
    const rns_ring *ring = job->context->ring;
    const rns_divider *divider = job->switcher->down;
    const rns_converter *down = divider->converter;
    limb_job l = {.divisor_inverse = divider->inverse[t]};
    begin_terms(job, &l, down->to.id[t]);
    for (int k = 0; k < 2; k++) {
        l.out[k] = poly_limb(ring, out[k], t);
        l.lift[k] = poly_limb(ring, job->work.by[k], down->from.count);
        rns_convert_limb(down, ring, l.lift[k], job->work.by[k], t);
        l.limb->kernels.forward_first(l.lift[k], l.limb->table);
    }
    finish_limb(job, &l);
}

/* Runs a job. Where an input is an output, it is still whole: a limb of an
 * output is written last of its modulus, moduli rise, and the limb of an input
 * that lies there has the same modulus or a smaller one, or a removed one. */
static void run_job(const switch_job *job, uint64_t *out_0, uint64_t *out_1)
{
    const rlwe_switcher *switcher = job->switcher;
    const rns_ring *ring = job->context->ring;
    const int n_limbs = rlwe_level_set(job->context, switcher->from)->count;
    const rns_converter *down = switcher->down->converter;
    uint64_t *const out[2] = {out_0, out_1};
    for (int i = 0; i < job->n_x; i++) {
        SOTTO_ASSERT(
            rlwe_gadget_equal(&job->key[i]->gadget, &switcher->gadget));
        rlwe_scale_digits(switcher, job->context,
                          poly_limb(ring, job->work.y, i * n_limbs), job->x[i]);
    }
    for (int i = 0; i < down->from.count; i++) {
        remove_limb(job, i);
    }
    for (int t = 0; t < down->to.count; t++) {
        keep_limb(job, out, t);
    }
}

void rlwe_switch(const rlwe_switcher *switcher, const rlwe_context *context,
                 uint64_t *out_0, uint64_t *out_1, const uint64_t *c_0,
                 const uint64_t *c_1, const uint64_t *const *x,
                 const rlwe_switch_key *const *key, int n_x, sotto_arena *arena)
{
    SOTTO_ASSERT(n_x >= 1 && n_x <= MAX_INPUTS && out_0 != out_1);
    const size_t mark = sotto_arena_mark(arena);
    const switch_job job = {.switcher = switcher,
                            .context = context,
                            .work = take_work(switcher, context, n_x, arena),
                            .c = {c_0, c_1},
                            .x = x,
                            .key = key,
                            .n_x = n_x};
    run_job(&job, out_0, out_1);
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
    const switch_job job = {.switcher = switcher,
                            .context = context,
                            .work = take_work(switcher, context, 1, arena),
                            .map = map,
                            .in_place = x == out_0 || x == out_1,
                            .c = {c_0, NULL},
                            .x = &x,
                            .key = &key,
                            .n_x = 1};
    run_job(&job, out_0, out_1);
    sotto_arena_release(arena, mark);
}
