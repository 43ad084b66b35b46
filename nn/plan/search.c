/* SPDX-License-Identifier: MIT
 * Search for the best draft of a batch plan.
 *
 * A draft's structure is its ring degree, the places of its rescales and those
 * of its relinearisations; its numbers are the scale of the input, the scale
 * behind each rescale, and the fractional bits of each layer's weights. For
 * each structure (in deeper networks: for a few regular ones) a grid finds a
 * start, one scale behind all rescales and one number of bits for all weights;
 * from there single numbers and pairs of numbers are moved while that helps.
 * What wins is predicted time; between equals, fewer bits.
 *
 *     structure ──> grid ──> moves of one or two numbers, of a relinearisation
 *                                 (deep: of a rescale) ──> the few best
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/plan/draft_internal.h"

#define MIN_INPUT_BITS 14
#define MAX_INPUT_BITS 44
#define MIN_WEIGHT_BITS 4
#define MAX_WEIGHT_BITS 20
#define MIN_TARGET_BITS 16
#define MAX_TARGET_BITS 44
#define KEY_PRICE 1.02
/* Networks of up to so many steps are searched through, with up to so many
 * rescales anywhere; those with more steps than the rescales could serve also
 * by patterns. */
#define SMALL_NETWORK 10
#define SMALL_RESCALES 3
#define GRID 2
#define SLOT_GRID 4
#define PROMISING_SITES 16
#define SMALLEST_NETWORK 6
/* Errors beyond their targets come before any price. */
#define EXCESS_PRICE 1e30
/* Numbers at a greater distance are not moved together in deep networks. */
#define PAIR_DISTANCE 8
/* The input, noise of keys, and two numbers for each step. */
#define MAX_NUMBERS (2 * NN_PLAN_MAX_STEPS + 2)
/* Single packing: key_bits at the start, about what a division leaves, and
 * scales of diagonals, whose rounding is larger than that of numbers. */
#define START_KEY_BITS 12
#define MIN_KEY_BITS 0
#define MAX_KEY_BITS 40
#define MAX_SLOT_WEIGHT_BITS 32

typedef struct hunt {
    const nn_search *search;
    nn_draft *draft; /* the candidate being varied */
    nn_draft *start; /* the best of one structure */
    double start_price;
    nn_draft *best; /* [n_best], cheapest first, no two of one kind */
    int n_best;
    nn_draft *nearest; /* feasible in size, smallest excess of error */
    double nearest_excess;
} hunt;

double nn_draft_excess(const nn_draft *d, const nn_search *s)
{
    return fmax(d->he_error / s->he_target,
                d->rounding_error / s->rounding_target);
}

double nn_draft_price(const nn_draft *d)
{
    const double keys = d->special.count > 0 ? KEY_PRICE : 1;
    return d->seconds * keys * (1 + 1e-4 * d->total_bits);
}

/* Whether two drafts differ in nothing that a reader of the list of choices
 * wants to know: degree, places of rescales, need of keys. Where exactly to
 * relinearise is part of a choice, the best place being kept. */
static bool same_kind(const nn_draft *a, const nn_draft *b, int n_steps)
{
    bool same = a->log2_n == b->log2_n &&
                (a->special.count > 0) == (b->special.count > 0);
    for (int k = 0; same && k < n_steps; k++) {
        same = (a->step[k].target_bits > 0) == (b->step[k].target_bits > 0);
    }
    return same;
}

/* Puts the present draft, an accepted one, in its place among the best. */
static void keep(hunt *h)
{
    int at = 0;
    const double price = nn_draft_price(h->draft);
    while (at < h->n_best && nn_draft_price(&h->best[at]) <= price) {
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

/* Judges the present draft, makes it the start when it is better, and keeps it
 * if it is among the best so far. Returns whether it is the new start. */
static bool consider(hunt *h)
{
    nn_draft_judge(h->draft, h->search);
    if (!h->draft->feasible) {
        return false;
    }
    const double excess = nn_draft_excess(h->draft, h->search);
    if (excess < h->nearest_excess) {
        h->nearest_excess = excess;
        *h->nearest = *h->draft;
    }
    const double price =
        excess > 1 ? EXCESS_PRICE * excess : nn_draft_price(h->draft);
    if (excess <= 1) {
        keep(h);
    }
    if (price >= h->start_price) {
        return false;
    }
    h->start_price = price;
    *h->start = *h->draft;
    return true;
}

/* ---- Moves --------------------------------------------------------------- */

/* One number of a draft and its range. */
typedef struct number {
    int *value;
    int min, max;
    int step; /* where it is; -1: the input */
} number;

static int max_weight_bits(const nn_search *search)
{
    return search->slots != NULL ? MAX_SLOT_WEIGHT_BITS : MAX_WEIGHT_BITS;
}

/* The numbers of the candidate; room for MAX_NUMBERS. */
static int find_numbers(const hunt *h, number *numbers)
{
    int n = 0;
    numbers[n++] =
        (number){&h->draft->input_bits, MIN_INPUT_BITS, MAX_INPUT_BITS, -1};
    if (h->search->slots != NULL) {
        numbers[n++] =
            (number){&h->draft->key_bits, MIN_KEY_BITS, MAX_KEY_BITS, -1};
    }
    for (int k = 0; k < h->search->n_steps; k++) {
        nn_draft_step *step = &h->draft->step[k];
        if (h->search->facts[k].kind == NN_STEP_AFFINE) {
            numbers[n++] = (number){&step->weight_bits, MIN_WEIGHT_BITS,
                                    max_weight_bits(h->search), k};
        }
        if (step->target_bits > 0) {
            numbers[n++] = (number){&step->target_bits, MIN_TARGET_BITS,
                                    MAX_TARGET_BITS, k};
        }
    }
    return n;
}

/* Moves a number; false when it would leave its range. */
static bool move(const number *x, int by)
{
    *x->value += by;
    return *x->value >= x->min && *x->value <= x->max;
}

/* Tries all moves of the numbers a and b together (a alone when they are one).
 * Returns whether one helped. */
static bool move_pair(hunt *h, const number *a, const number *b)
{
    bool better = false;
    for (int i = -2; i <= 2; i++) {
        for (int j = -2; j <= 2; j++) {
            if (i == 0 || (a == b) != (j == 0)) {
                continue;
            }
            *h->draft = *h->start;
            if (move(a, i) && (a == b || move(b, j))) {
                better = consider(h) || better;
            }
        }
    }
    return better;
}

static bool move_numbers(hunt *h)
{
    number numbers[MAX_NUMBERS];
    *h->draft = *h->start;
    const int n = find_numbers(h, numbers);
    const int far =
        h->search->n_steps > SMALL_NETWORK ? PAIR_DISTANCE : MAX_NUMBERS;
    bool better = false;
    for (int a = 0; a < n; a++) {
        for (int b = a; b < n && numbers[b].step - numbers[a].step <= far;
             b++) {
            better = move_pair(h, &numbers[a], &numbers[b]) || better;
        }
    }
    return better;
}

/* Other places of relinearisations. */
static bool move_wishes(hunt *h)
{
    bool better = false;
    for (int k = 0; k < h->search->n_steps; k++) {
        for (nn_wish wish = NN_WISH_ANY; wish < NN_WISHES; wish++) {
            *h->draft = *h->start;
            if (h->draft->step[k].wish != wish) {
                h->draft->step[k].wish = wish;
                better = consider(h) || better;
            }
        }
    }
    return better;
}

/* Leaves out a rescale, or puts it one step earlier or later. */
static bool move_rescales(hunt *h)
{
    bool better = false;
    for (int k = 0; k + 1 < h->search->n_steps; k++) {
        const int target = h->start->step[k].target_bits;
        for (int to = k - 1; target > 0 && to <= k + 1; to++) {
            if (to < 0 || to + 1 >= h->search->n_steps ||
                (to != k && h->start->step[to].target_bits > 0)) {
                continue;
            }
            *h->draft = *h->start;
            h->draft->step[k].target_bits = 0;
            if (to != k) {
                h->draft->step[to].target_bits = target;
            }
            if (consider(h)) {
                better = true;
                break;
            }
        }
    }
    return better;
}

/* From the start, moves until none helps. */
static void polish(hunt *h)
{
    bool better = h->start_price < HUGE_VAL;
    while (better) {
        better = move_numbers(h);
        better = move_wishes(h) || better;
        if (h->search->n_steps > SMALL_NETWORK) {
            better = move_rescales(h) || better;
        }
    }
}

/* ---- Starts -------------------------------------------------------------- */

static void clear_structure(hunt *h, int log2_n)
{
    memset(h->draft, 0, sizeof(*h->draft));
    h->draft->log2_n = log2_n;
    h->draft->key_bits = START_KEY_BITS;
    h->start_price = HUGE_VAL;
}

/* Varies the bits of all weights alike. Fewer bits are cheaper, so the first
 * accepted number is the one to keep. */
static void vary_weights(hunt *h)
{
    const int max = max_weight_bits(h->search);
    bool fitted = false;
    for (int bits = MIN_WEIGHT_BITS; bits <= max; bits++) {
        for (int k = 0; k < h->search->n_steps; k++) {
            h->draft->step[k].weight_bits = bits;
        }
        (void)consider(h);
        if (h->draft->feasible && nn_draft_excess(h->draft, h->search) <= 1) {
            return;
        }
        /* Once sizes do not fit, more bits do not either. */
        if (fitted && !h->draft->feasible) {
            return;
        }
        fitted = fitted || h->draft->feasible;
    }
}

/* Finds a start for one structure: the candidate has some target wherever it
 * rescales. step: of the grid. */
static void search_grid(hunt *h, int step)
{
    bool rescales = false;
    for (int target = MIN_TARGET_BITS; target <= MAX_TARGET_BITS;
         target += step) {
        for (int k = 0; k < h->search->n_steps; k++) {
            if (h->draft->step[k].target_bits > 0) {
                h->draft->step[k].target_bits = target;
                rescales = true;
            }
        }
        for (int bits = MIN_INPUT_BITS; bits <= MAX_INPUT_BITS; bits += step) {
            h->draft->input_bits = bits;
            vary_weights(h);
        }
        if (!rescales) {
            break;
        }
    }
}

/* The candidate rescales behind the steps of a set of sites. */
static void set_sites(hunt *h, int log2_n, unsigned sites, nn_wish wish)
{
    clear_structure(h, log2_n);
    for (int k = 0; k < h->search->n_steps; k++) {
        h->draft->step[k].wish = wish;
        h->draft->step[k].target_bits =
            (sites >> k & 1) != 0 ? MIN_TARGET_BITS : 0;
    }
}

static int count_bits(unsigned x)
{
    int n = 0;
    for (; x != 0; x &= x - 1) {
        n++;
    }
    return n;
}

/* A few rescales, anywhere before the last step, relinearised as the rule of
 * thumb has it and nowhere. */
static void search_small(hunt *h, int log2_n)
{
    const int n = h->search->n_steps - 1;
    for (unsigned sites = 0; sites < 1u << n; sites++) {
        for (nn_wish wish = NN_WISH_ANY;
             count_bits(sites) <= SMALL_RESCALES && wish <= NN_WISH_NEVER;
             wish++) {
            set_sites(h, log2_n, sites, wish);
            search_grid(h, GRID);
            polish(h);
        }
    }
}

/* A set of sites with the best that the grid finds. */
typedef struct site_start {
    unsigned sites;
    double price;
} site_start;

static int compare_starts(const void *a, const void *b)
{
    const site_start *x = a;
    const site_start *y = b;
    if (x->price != y->price) {
        return x->price < y->price ? -1 : 1;
    }
    return x->sites < y->sites ? -1 : x->sites > y->sites;
}

/* Rescales anywhere before the last step; only the most promising sets of sites
 * are gone into. Two grids: one limb more or less is a step in the price that
 * moves seldom get over. */
static void search_slot_sites(hunt *h, int log2_n)
{
    site_start start[1u << (SMALL_NETWORK - 1)];
    const unsigned n = 1u << (h->search->n_steps - 1);
    for (int grid = SLOT_GRID; grid > GRID; grid--) {
        for (unsigned sites = 0; sites < n; sites++) {
            if (h->search->any && h->n_best > 0) {
                return;
            }
            set_sites(h, log2_n, sites, NN_WISH_ANY);
            search_grid(h, grid);
            start[sites] = (site_start){sites, h->start_price};
        }
        qsort(start, n, sizeof *start, compare_starts);
        for (unsigned i = 0;
             i < n && i < PROMISING_SITES && start[i].price < HUGE_VAL; i++) {
            set_sites(h, log2_n, start[i].sites, NN_WISH_ANY);
            search_grid(h, grid);
            polish(h);
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
            clear_structure(h, log2_n);
            for (int target = MIN_TARGET_BITS; target <= MAX_TARGET_BITS;
                 target++) {
                int seen = 0;
                for (int k = 1; k < sites; k++) {
                    const bool here = h->search->facts[k].kind == kinds[kind] &&
                                      ++seen % stride == 0;
                    h->draft->step[k].target_bits = here ? target : 0;
                }
                h->draft->input_bits = target;
                vary_weights(h);
            }
            polish(h);
        }
    }
}

/* The habit: one scale everywhere, a rescale behind every operation. */
static void search_plain(hunt *h, int log2_n)
{
    for (int bits = MIN_TARGET_BITS; bits <= MAX_TARGET_BITS; bits++) {
        clear_structure(h, log2_n);
        h->draft->input_bits = bits;
        for (int k = 0; k < h->search->n_steps; k++) {
            h->draft->step[k].weight_bits = bits;
            h->draft->step[k].target_bits =
                k + 1 < h->search->n_steps ? bits : 0;
        }
        (void)consider(h);
    }
}

/* ---- The search ---------------------------------------------------------- */

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

void nn_draft_refine(nn_draft *draft, int *n_drafts, const nn_search *search)
{
    nn_draft *room = sotto_calloc(3 + NN_PLAN_CHOICES, sizeof(*room));
    int n = *n_drafts;
    *n_drafts = 0;
    if (room == NULL) {
        return;
    }
    memcpy(&room[3], draft, (size_t)n * sizeof(*draft));
    hunt h = {.search = search,
              .draft = &room[0],
              .start = &room[1],
              .best = draft,
              .nearest = &room[2],
              .nearest_excess = HUGE_VAL};
    for (int i = 0; i < n; i++) {
        h.start_price = HUGE_VAL;
        *h.draft = room[3 + i];
        (void)consider(&h);
        polish(&h);
    }
    *n_drafts = h.n_best;
    sotto_free(room);
}

sotto_status nn_draft_search(nn_draft *best, int *n_best,
                             const nn_search *search, int first_log2_n,
                             int last_log2_n, sotto_error *err)
{
    nn_draft *room = sotto_calloc(3, sizeof(*room));
    if (room == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    hunt h = {.search = search,
              .draft = &room[0],
              .start = &room[1],
              .best = best,
              .nearest = &room[2],
              .nearest_excess = HUGE_VAL};
    for (int log2_n = first_log2_n; log2_n <= last_log2_n; log2_n++) {
        /* A slot costs more in a larger ring; only fewer empty slots speak for
         * it. */
        const uint64_t slots = (uint64_t)1 << (log2_n - 1);
        if (h.n_best > 0 && search->slots == NULL &&
            (log2_n > best->log2_n + 1 || slots >= 2 * search->images)) {
            break;
        }
        if (search->plain_chain) {
            search_plain(&h, log2_n);
            continue;
        }
        if (search->n_steps <= SMALL_NETWORK && search->slots != NULL) {
            search_slot_sites(&h, log2_n);
        } else if (search->n_steps <= SMALL_NETWORK) {
            search_small(&h, log2_n);
        }
        if (search->n_steps > SMALLEST_NETWORK &&
            !(search->any && h.n_best > 0)) {
            search_deep(&h, log2_n);
        }
    }
    *n_best = h.n_best;
    const sotto_status status =
        h.n_best > 0 ? SOTTO_OK : nothing_fits(&h, last_log2_n, err);
    sotto_free(room);
    return status;
}
