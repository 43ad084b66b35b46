/* SPDX-License-Identifier: MIT
 * Planning for single packing: programs and drafts in turn.
 *
 *     program by costs of a guess ─> draft ─> program by its costs ─> draft …
 *
 * for each ring, as long as that helps. Keys that take too much memory are made
 * dearer until they fit.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "nn/plan/plan_internal.h"
#include "nn/plan/realise_internal.h"
#include "nn/plan/slots_internal.h"

/* Widths of the search for layouts: at first, and by the costs of a draft. */
#define SURVEY_BEAM 4
#define FINAL_BEAM 6
/* Turns of program and draft after the first. */
#define MAX_ROUNDS 3
/* Seconds that one rotation key weighs, to begin with, and how often that is
 * raised until keys fit. */
#define KEY_SECONDS 2e-5
#define KEY_STEP 3
#define MAX_KEY_ROUNDS 12

/* One attempt: a program and the drafts that it was judged by. */
typedef struct attempt {
    nn_single *single;
    nn_slot_program program;
    nn_draft draft[NN_PLAN_CHOICES];
    int n_drafts;
} attempt;

/* What is tried with. */
typedef struct hunt {
    nn_search search;
    const nn_plan_options *options;
    attempt *best, *next;
    double key_seconds;
} hunt;

static void swap(hunt *h)
{
    attempt *t = h->best;
    h->best = h->next;
    h->next = t;
}

/* Makes a program the one that drafts are judged by. */
static void judge_by(hunt *h, const attempt *a)
{
    h->search.slots = &a->program;
    memset(h->search.memo, 0, NN_SLOT_MEMOS * sizeof(*h->search.memo));
}

/* Compiles a program by a guess and searches drafts for it, or, with costs, by
 * those of the best drafts so far, which then start the search. */
static sotto_status try_program(hunt *h, int log2_n,
                                const nn_single_costs *costs, sotto_error *err)
{
    attempt *a = h->next;
    const nn_single_options options = {.log2_slots = log2_n - 1,
                                       .costs = costs,
                                       .key_seconds = h->key_seconds,
                                       .beam = costs == NULL ? SURVEY_BEAM
                                                             : FINAL_BEAM};
    nn_single_free(a->single);
    a->single = NULL;
    a->n_drafts = 0;
    SOTTO_TRY(nn_single_compile(&a->single, h->search.network, &options, err));
    nn_slot_survey(&a->program, a->single);
    judge_by(h, a);
    if (costs == NULL) {
        return nn_draft_search(a->draft, &a->n_drafts, &h->search, log2_n,
                               log2_n, err);
    }
    memcpy(a->draft, h->best->draft, sizeof(a->draft));
    a->n_drafts = h->best->n_drafts;
    nn_draft_refine(a->draft, &a->n_drafts, &h->search);
    return SOTTO_OK;
}

/* Costs of all steps in a draft. */
static sotto_status costs_of(nn_single_costs **costs, hunt *h,
                             const attempt *from, sotto_error *err)
{
    *costs = sotto_calloc((size_t)h->search.n_steps, sizeof(**costs));
    if (*costs == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    }
    judge_by(h, from);
    for (int k = 0; k < h->search.n_steps; k++) {
        const nn_slot_shape shape =
            nn_slot_shape_of(from->draft, &h->search, k);
        nn_single_costs *c = &(*costs)[k];
        *c = nn_slot_costs(&h->search.cost, &shape);
        c->decompose *= 1e-9;
        c->baby *= 1e-9;
        c->product *= 1e-9;
        c->giant *= 1e-9;
        c->divide *= 1e-9;
        c->fold *= 1e-9;
        c->relinearise *= 1e-9;
    }
    return SOTTO_OK;
}

static double price(const attempt *a)
{
    return a->n_drafts > 0 ? nn_draft_price(a->draft) : HUGE_VAL;
}

/* Whether a search found nothing for reasons that another ring may not have. */
static bool goes_on(sotto_status status)
{
    return status == SOTTO_ERR_LEVEL || status == SOTTO_ERR_UNSUPPORTED;
}

/* Whether the network would fit a ring if linear maps took nothing but their
 * level: what does not is not worth compiling for. */
static bool may_fit(hunt *h, int log2_n)
{
    attempt *a = h->next;
    a->program = (nn_slot_program){.n_inputs = 1};
    for (int k = 0; k < h->search.n_steps; k++) {
        a->program.step[k] =
            (nn_slot_facts){.n_in = 1, .n_out = 1, .spread = 1, .area = 1};
    }
    judge_by(h, a);
    h->search.any = true;
    const sotto_status status = nn_draft_search(
        a->draft, &a->n_drafts, &h->search, log2_n, log2_n, NULL);
    h->search.any = false;
    return status == SOTTO_OK;
}

/* Tries one ring; the better of this and the best so far stays. */
static sotto_status search_ring(hunt *h, int log2_n, sotto_error *err)
{
    SOTTO_TRY(try_program(h, log2_n, NULL, err));
    for (int round = 0; price(h->next) < price(h->best); round++) {
        nn_single_costs *costs = NULL;
        swap(h);
        if (round == MAX_ROUNDS) {
            break;
        }
        SOTTO_TRY(costs_of(&costs, h, h->best, err));
        const sotto_status status = try_program(h, log2_n, costs, err);
        sotto_free(costs);
        if (status != SOTTO_OK) {
            return goes_on(status) ? SOTTO_OK : status;
        }
    }
    return SOTTO_OK;
}

/* Whether some tensor takes more than one ciphertext, so that a larger ring
 * may be worth it. */
static bool is_crowded(const attempt *a)
{
    bool crowded = false;
    for (size_t k = 0; k <= a->single->network->n_steps; k++) {
        crowded = crowded || a->single->places[k]->layout.n_cts > 1;
    }
    return crowded;
}

static sotto_status search_rings(hunt *h, int first, int last, sotto_error *err)
{
    sotto_status status = SOTTO_ERR_LEVEL;
    h->best->n_drafts = 0;
    for (int log2_n = first; log2_n <= last; log2_n++) {
        const bool found = h->best->n_drafts > 0;
        if (found &&
            (log2_n > h->best->draft->log2_n + 1 || !is_crowded(h->best))) {
            break;
        }
        if (!found && log2_n < last && !may_fit(h, log2_n)) {
            continue;
        }
        status = search_ring(h, log2_n, err);
        if (status != SOTTO_OK && !goes_on(status)) {
            return status;
        }
    }
    return h->best->n_drafts > 0 ? SOTTO_OK : status;
}

/* Makes the plan of the best attempt, with fewer keys until they fit. */
static sotto_status fit_keys(nn_plan *plan, hunt *h, int first, int last,
                             sotto_error *err)
{
    const double room = (double)h->options->key_memory_bytes;
    double least = HUGE_VAL;
    sotto_status status = SOTTO_OK;
    for (int round = 0; round < MAX_KEY_ROUNDS; round++) {
        SOTTO_TRY(search_rings(h, first, last, err));
        judge_by(h, h->best);
        status = nn_slot_realise(plan, h->best->draft, &h->search,
                                 h->best->single, err);
        const double bytes = nn_slot_key_bytes(plan);
        if (status != SOTTO_ERR_KEY && (room == 0 || bytes <= room)) {
            return status;
        }
        least = status == SOTTO_OK ? fmin(least, bytes) : least;
        h->key_seconds *= KEY_STEP;
        first = last = h->best->draft->log2_n;
    }
    if (status != SOTTO_OK) {
        return status;
    }
    return sotto_fail(err, SOTTO_ERR_KEY,
                      "keys of at most %.1f MiB: the least found is %.1f MiB",
                      room / 0x1p20, least / 0x1p20);
}

/* Predicted errors of the finished plan. */
static sotto_status set_errors(nn_plan *plan, const hunt *h, sotto_error *err)
{
    rlwe_context *context = NULL;
    SOTTO_TRY(rlwe_context_new(&context, &plan->params, err));
    nn_error_terms *terms = sotto_calloc(1, sizeof *terms);
    sotto_status status =
        terms != NULL
            ? nn_slot_terms(terms, plan, &h->search, h->best->single, context,
                            err)
            : sotto_fail(err, SOTTO_ERR_MEMORY, "plan: out of memory");
    if (status == SOTTO_OK) {
        nn_plan_predict(plan, &h->search, terms, context);
    }
    sotto_free(terms);
    rlwe_context_free(context);
    return status;
}

sotto_status nn_slot_make(nn_plan *plan, const nn_search *search,
                          const nn_plan_options *options, int first, int last,
                          sotto_error *err)
{
    hunt h = {.search = *search,
              .options = options,
              .best = sotto_calloc(1, sizeof(attempt)),
              .next = sotto_calloc(1, sizeof(attempt)),
              .key_seconds = KEY_SECONDS};
    sotto_status status = SOTTO_ERR_MEMORY;
    h.search.memory_bytes = (double)options->memory_bytes;
    h.search.memo = sotto_calloc(NN_SLOT_MEMOS, sizeof(*h.search.memo));
    if (h.best == NULL || h.next == NULL || h.search.memo == NULL) {
        (void)sotto_fail(err, status, "plan: out of memory");
    } else {
        status = fit_keys(plan, &h, first, last, err);
    }
    if (status == SOTTO_OK) {
        judge_by(&h, h.best);
        nn_plan_set_choices(plan, h.best->draft, h.best->n_drafts, &h.search);
        status = set_errors(plan, &h, err);
    }
    for (int i = 0; i < 2; i++) {
        attempt *a = i == 0 ? h.best : h.next;
        if (a != NULL) {
            nn_single_free(a->single);
        }
        sotto_free(a);
    }
    sotto_free(h.search.memo);
    return status;
}
