/* SPDX-License-Identifier: MIT
 * Search for the best draft of a batch plan.
 *
 * For each ring degree: every choice of up to two rescales (in deeper networks:
 * a few regular patterns), the scale of the input, the scale after each
 * rescale, and one number of fractional bits for all weights; then the bits of
 * single layers are lowered while the errors stay in bounds. Least predicted
 * time wins; between equals, fewer bits.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "nn/plan/draft_internal.h"

#define MIN_INPUT_BITS 14
#define MAX_INPUT_BITS 44
#define MIN_WEIGHT_BITS 4
#define MAX_WEIGHT_BITS 20
#define MIN_TARGET_BITS 16
#define MAX_TARGET_BITS 44
#define TARGET_STEP 2
#define KEY_PRICE 1.25
/* Networks of up to so many steps are searched through. */
#define SMALL_NETWORK 10

typedef struct hunt {
    const nn_search *search;
    nn_draft *draft; /* the candidate being varied */
    nn_draft *best;  /* [n_best], cheapest first, no two of one kind */
    int n_best;
    nn_draft *nearest; /* feasible in size, smallest excess of error */
    double nearest_excess;
} hunt;

/* By what factor a draft's errors pass their targets (<= 1: accepted). */
static double excess(const nn_search *s, const nn_draft *d)
{
    return fmax(d->he_error / s->he_target,
                d->rounding_error / s->rounding_target);
}

/* What is minimised: time, and a little for size, which breaks ties. A plan
 * that needs switching keys must pay for making and sending them. */
static double price(const nn_draft *d)
{
    const double keys = d->special.count > 0 ? KEY_PRICE : 1;
    return d->seconds * keys * (1 + 1e-4 * d->total_bits);
}

/* Whether two drafts have the same degree and places of rescales. */
static bool same_kind(const nn_draft *a, const nn_draft *b, int n_steps)
{
    bool same = a->log2_n == b->log2_n;
    for (int k = 0; same && k < n_steps; k++) {
        same = (a->step[k].target_bits > 0) == (b->step[k].target_bits > 0);
    }
    return same;
}

/* Puts the present draft, an accepted one, in its place among the best. */
static void keep(hunt *h)
{
    int at = 0;
    while (at < h->n_best && price(&h->best[at]) <= price(h->draft)) {
        if (same_kind(&h->best[at], h->draft, h->search->n_steps)) {
            return;
        }
        at++;
    }
    int end = at;
    while (end < h->n_best &&
           !same_kind(&h->best[end], h->draft, h->search->n_steps)) {
        end++;
    }
    if (end == NN_PLAN_CHOICES) {
        end--;
    }
    if (end < at) {
        return;
    }
    memmove(&h->best[at + 1], &h->best[at],
            (size_t)(end - at) * sizeof(*h->best));
    h->best[at] = *h->draft;
    h->n_best = end + 1 > h->n_best ? end + 1 : h->n_best;
}

/* Judges the present draft and keeps it if it is among the best so far. */
static void consider(hunt *h)
{
    nn_draft_judge(h->draft, h->search);
    if (!h->draft->feasible) {
        return;
    }
    const double e = excess(h->search, h->draft);
    if (e > 1) {
        if (e < h->nearest_excess) {
            h->nearest_excess = e;
            *h->nearest = *h->draft;
        }
        return;
    }
    keep(h);
}

/* Varies the bits of all weights alike. Fewer bits are cheaper, so the first
 * accepted number is the one to keep. */
static void vary_weights(hunt *h)
{
    for (int bits = MIN_WEIGHT_BITS; bits <= MAX_WEIGHT_BITS; bits++) {
        for (int k = 0; k < h->search->n_steps; k++) {
            h->draft->step[k].weight_bits = bits;
        }
        consider(h);
        if (h->draft->feasible && excess(h->search, h->draft) <= 1) {
            return;
        }
    }
}

/* Varies the input scale below the present targets. */
static void vary_input(hunt *h)
{
    for (int bits = MIN_INPUT_BITS; bits <= MAX_INPUT_BITS; bits++) {
        h->draft->input_bits = bits;
        vary_weights(h);
    }
}

static void clear_pattern(hunt *h, int log2_n)
{
    memset(h->draft, 0, sizeof(*h->draft));
    h->draft->log2_n = log2_n;
}

/* No rescale, one, or two, anywhere before the last step. */
static void search_small(hunt *h, int log2_n)
{
    const int sites = h->search->n_steps - 1;
    clear_pattern(h, log2_n);
    vary_input(h);
    for (int a = 0; a < sites; a++) {
        for (int ta = MIN_TARGET_BITS; ta <= MAX_TARGET_BITS;
             ta += TARGET_STEP) {
            clear_pattern(h, log2_n);
            h->draft->step[a].target_bits = ta;
            vary_input(h);
            for (int b = a + 1; b < sites; b++) {
                for (int tb = MIN_TARGET_BITS; tb <= MAX_TARGET_BITS;
                     tb += TARGET_STEP) {
                    h->draft->step[b].target_bits = tb;
                    vary_input(h);
                }
                h->draft->step[b].target_bits = 0;
            }
        }
    }
}

/* Rescales behind every `stride`-th step of one kind. */
static void search_deep(hunt *h, int log2_n)
{
    static const nn_step_kind kinds[] = {NN_STEP_AFFINE, NN_STEP_SQUARE};
    const int sites = h->search->n_steps - 1;
    for (int kind = 0; kind < 2; kind++) {
        for (int stride = 1; stride <= 3; stride++) {
            for (int target = MIN_TARGET_BITS; target <= MAX_TARGET_BITS;
                 target++) {
                clear_pattern(h, log2_n);
                int seen = 0;
                for (int k = 1; k < sites; k++) {
                    if (h->search->facts[k].kind == kinds[kind] &&
                        ++seen % stride == 0) {
                        h->draft->step[k].target_bits = target;
                    }
                }
                h->draft->input_bits = target;
                vary_weights(h);
            }
        }
    }
}

/* The habit: one scale everywhere, a rescale behind every operation. */
static void search_plain(hunt *h, int log2_n)
{
    for (int bits = MIN_TARGET_BITS; bits <= MAX_TARGET_BITS; bits++) {
        clear_pattern(h, log2_n);
        h->draft->input_bits = bits;
        for (int k = 0; k < h->search->n_steps; k++) {
            h->draft->step[k].weight_bits = bits;
            h->draft->step[k].target_bits =
                k + 1 < h->search->n_steps ? bits : 0;
        }
        consider(h);
    }
}

/* Lowers the bits of one layer at a time while that is accepted and no more
 * expensive. */
static void refine(hunt *h)
{
    bool better = true;
    while (better) {
        better = false;
        for (int k = 0; k < h->search->n_steps; k++) {
            if (h->best->step[k].weight_bits <= MIN_WEIGHT_BITS) {
                continue;
            }
            const double before = price(h->best);
            *h->draft = *h->best;
            h->draft->step[k].weight_bits--;
            consider(h);
            better = better || price(h->best) < before;
        }
    }
}

/* Explains why nothing fits. */
static sotto_status nothing_fits(const hunt *h, int last_log2_n,
                                 sotto_error *err)
{
    if (h->nearest->feasible) {
        return sotto_fail(
            err, SOTTO_ERR_LEVEL,
            "no plan reaches the wanted precision: the nearest, at N = 2^%d "
            "with %.0f bits, has errors %.3g times too large (HE %.2g of "
            "%.2g, weight rounding %.2g of %.2g); train with smaller "
            "activations, or allow larger errors",
            h->nearest->log2_n, h->nearest->total_bits, h->nearest_excess,
            h->nearest->he_error, h->search->he_target,
            h->nearest->rounding_error, h->search->rounding_target);
    }
    if (h->search->allow_insecure) {
        return sotto_fail(err, SOTTO_ERR_LEVEL,
                          "no choice of scales and at most %d moduli carries "
                          "the network's %d steps at N = 2^%d; use a larger "
                          "ring, fewer activations, or smaller ranges (see "
                          "--calibrate)",
                          RNS_MAX_LIMBS, h->search->n_steps, last_log2_n);
    }
    const int bound = rlwe_security_max_log2(last_log2_n, h->search->security);
    return sotto_fail(err, SOTTO_ERR_LEVEL,
                      "the network with its %d steps needs more than the %d "
                      "bits of modulus that are secure at N = 2^%d; use fewer "
                      "activations, or smaller ranges (see --calibrate)",
                      h->search->n_steps, bound, last_log2_n);
}

sotto_status nn_draft_search(nn_draft *best, int *n_best,
                             const nn_search *search, int first_log2_n,
                             int last_log2_n, sotto_error *err)
{
    nn_draft *room = sotto_calloc(2, sizeof(*room));
    if (room == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    hunt h = {.search = search,
              .draft = &room[0],
              .best = best,
              .nearest = &room[1],
              .nearest_excess = HUGE_VAL};
    for (int log2_n = first_log2_n; log2_n <= last_log2_n; log2_n++) {
        /* A slot costs more in a larger ring; only fewer empty slots speak for
         * it. */
        const uint64_t slots = (uint64_t)1 << (log2_n - 1);
        if (h.n_best > 0 &&
            (log2_n > best->log2_n + 1 || slots >= 2 * search->images)) {
            break;
        }
        if (search->plain_chain) {
            search_plain(&h, log2_n);
        } else if (search->n_steps <= SMALL_NETWORK) {
            search_small(&h, log2_n);
        } else {
            search_deep(&h, log2_n);
        }
    }
    sotto_status status = SOTTO_OK;
    if (h.n_best > 0) {
        if (!search->plain_chain) {
            refine(&h);
        }
        *n_best = h.n_best;
    } else {
        status = nothing_fits(&h, last_log2_n, err);
    }
    sotto_free(room);
    return status;
}
