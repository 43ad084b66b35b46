/* SPDX-License-Identifier: MIT
 * Judging a draft: scales, sizes, security, errors; see draft_internal.h.
 *
 * The noise terms here are the leading ones of SPEC §10 in closed form, so that
 * a million drafts can be judged; the plan made from the best one is predicted
 * again with ckks/noise.
 */
#include "nn/plan/draft_internal.h"

#include <math.h>
#include <string.h>

#include "nn/plan/slots_internal.h"
#include "rlwe/moduli.h"

/* Variance of the error distribution and of encoding's rounding. */
#define ERROR_VARIANCE 10.5
#define ROUNDING_VARIANCE (1.0 / 12)

/* Room for a prime to make up for what another one of its group missed. */
#define SPARE_BITS 0.05

/* A prime of so many bits takes two 16-bit words in a matrix product, with room
 * for what the primes before it missed. */
#define SHORT_BITS 31.95

/* Weights are int32_t. */
#define MAX_WEIGHT_BITS 30.5

typedef struct judge {
    const nn_search *search;
    nn_draft *draft;
    nn_draft_tensor tensor[NN_PLAN_MAX_STEPS + 1];
    nn_error_terms terms;
    nn_error error[NN_PLAN_MAX_STEPS + 1];
    double need[NN_MAX_SEGMENTS]; /* bits that Q must have */
    bool keys;
} judge;

static double largest(double a, double b)
{
    return a > b ? a : b;
}

/* Books that a value of tensor k stands in a segment at this scale. */
static void need_bits(judge *j, int segment, size_t k, double scale_bits)
{
    const double bits =
        scale_bits + j->search->range_bits[k] + NN_HEADROOM_BITS;
    j->need[segment] = largest(j->need[segment], bits);
}

/* The product of an affine step; false when its weights do not fit. */
static bool judge_product(judge *j, int k)
{
    const nn_step_facts *facts = &j->search->facts[k];
    nn_draft_tensor *out = &j->tensor[k + 1];
    double top = 0;
    *out = (nn_draft_tensor){.n_components = 2};
    for (int p = 0; p < facts->n_parts; p++) {
        const nn_draft_tensor *in = &j->tensor[facts->part[p].source];
        top = largest(top, in->scale_bits);
        out->segment = in->segment > out->segment ? in->segment : out->segment;
        if (in->n_components > out->n_components) {
            out->n_components = in->n_components;
        }
    }
    out->scale_bits = top + j->draft->step[k].weight_bits;
    /* Diagonals are no int32_t. */
    for (int p = 0; j->search->slots == NULL && p < facts->n_parts; p++) {
        const nn_map_part *part = &facts->part[p];
        const double factor =
            out->scale_bits - j->tensor[part->source].scale_bits;
        if (factor + log2(part->weight_max + 1e-30) > MAX_WEIGHT_BITS) {
            return false;
        }
    }
    return true;
}

/* Where a rule of thumb relinearises around an affine step: before it when that
 * is less work, and nowhere at the last step, whose result may stay as it is.
 */
static nn_wish usual_place(const judge *j, int k)
{
    const nn_step_facts *facts = &j->search->facts[k];
    /* One key switch costs about as much as 40 passes over a polynomial pair;
     * a third component adds half of the product's work again. */
    const double pass = 40.0;
    const double before = pass * (double)facts->n_in;
    const double after =
        pass * (double)facts->n_out + 0.25 * (double)facts->work;
    if (k + 1 == j->search->n_steps || j->tensor[k + 1].n_components > 3) {
        return NN_WISH_NEVER;
    }
    return before < after && facts->n_parts == 1 ? NN_WISH_BEFORE
                                                 : NN_WISH_AFTER;
}

/* Relinearises around an affine step of three components as is wished; false
 * when that cannot be. More than three would need more than one key. */
static bool place_relinearisation(judge *j, int k)
{
    nn_draft_step *step = &j->draft->step[k];
    nn_draft_tensor *out = &j->tensor[k + 1];
    const nn_wish wish =
        step->wish == NN_WISH_ANY ? usual_place(j, k) : step->wish;
    step->relinearise = false;
    step->relinearise_source = false;
    if (j->search->slots != NULL) {
        const bool early = step->wish == NN_WISH_BEFORE &&
                           step->target_bits > 0 &&
                           j->search->slots->step[k].folds > 0;
        return step->wish == NN_WISH_ANY || early;
    }
    if (out->n_components == 2) {
        return step->wish <= NN_WISH_NEVER;
    }
    if (wish == NN_WISH_NEVER) {
        return true;
    }
    if (out->n_components > 3 ||
        (wish == NN_WISH_BEFORE && j->search->facts[k].n_parts > 1)) {
        return false;
    }
    step->relinearise_source = wish == NN_WISH_BEFORE;
    step->relinearise = wish == NN_WISH_AFTER;
    out->n_components = 2;
    j->keys = true;
    return true;
}

/* Squares; false when the result would have too many components. */
static bool judge_square(judge *j, int k)
{
    const nn_draft_tensor *in = &j->tensor[k];
    nn_draft_step *step = &j->draft->step[k];
    nn_draft_tensor *out = &j->tensor[k + 1];
    *out = (nn_draft_tensor){.scale_bits = 2 * in->scale_bits,
                             .segment = in->segment,
                             .n_components = 2 * in->n_components - 1};
    const bool last = k + 1 == j->search->n_steps;
    const bool shared = j->search->facts[k].n_readers > 1;
    step->relinearise = step->wish == NN_WISH_ANY
                            ? in->n_components == 2 &&
                                  ((step->target_bits > 0 && !last) || shared)
                            : step->wish == NN_WISH_AFTER;
    step->relinearise_source = false;
    if (j->search->slots != NULL) {
        step->relinearise = true;
        out->n_components = 2;
        return step->wish == NN_WISH_ANY;
    }
    if (step->relinearise) {
        if (out->n_components > 3) {
            return false;
        }
        out->n_components = 2;
        j->keys = true;
    }
    return step->wish != NN_WISH_BEFORE &&
           out->n_components <= RLWE_MAX_COMPONENTS;
}

/* Scales, segments and components of all tensors. */
static bool judge_scales(judge *j)
{
    nn_draft *draft = j->draft;
    j->tensor[0] = (nn_draft_tensor){draft->input_bits, 0, 2};
    draft->n_segments = 1;
    need_bits(j, 0, 0, draft->input_bits);
    const double min_bits = rlwe_moduli_min_log2(draft->log2_n);
    for (int k = 0; k < j->search->n_steps; k++) {
        nn_draft_tensor *out = &j->tensor[k + 1];
        const size_t made = (size_t)k + 1;
        if (j->search->facts[k].kind == NN_STEP_AFFINE) {
            if (!judge_product(j, k) || !place_relinearisation(j, k)) {
                return false;
            }
        } else if (!judge_square(j, k)) {
            return false;
        }
        j->terms.product_bits[k] = out->scale_bits;
        need_bits(j, out->segment, made, out->scale_bits);
        draft->step[k].segment = out->segment;
        const int target = draft->step[k].target_bits;
        if (target == 0) {
            continue;
        }
        const double removed = out->scale_bits - target;
        if (removed < min_bits || out->segment + 1 != draft->n_segments ||
            draft->n_segments == NN_MAX_SEGMENTS) {
            return false;
        }
        draft->removed[out->segment].bits = removed;
        out->segment = draft->n_segments++;
        draft->step[k].segment = out->segment;
        out->scale_bits = target;
        need_bits(j, out->segment, made, target);
    }
    return true;
}

double nn_prime_group_bits(const nn_prime_group *group, int i)
{
    if (group->n_short == group->count || group->n_short == 0) {
        return group->bits / group->count;
    }
    return i < group->n_short ? SHORT_BITS
                              : (group->bits - group->n_short * SHORT_BITS) /
                                    (group->count - group->n_short);
}

/* As few primes as possible, as many of them short as the others can make up
 * for. */
static void split_group(const nn_search *search, nn_prime_group *group,
                        double max_bits)
{
    group->count = (int)ceil(group->bits / max_bits);
    if (search->slots != NULL) {
        group->n_short = 0;
        return;
    }
    if (group->bits <= group->count * SHORT_BITS) {
        group->n_short = group->count;
        return;
    }
    const double over = group->count * max_bits - group->bits;
    group->n_short = (int)(over / (max_bits - SHORT_BITS));
}

/* Sizes of all groups of primes, the special ones, and security. */
static bool judge_sizes(judge *j)
{
    nn_draft *draft = j->draft;
    const double max_bits = rlwe_moduli_max_log2(draft->log2_n) - SPARE_BITS;
    const double min_bits = rlwe_moduli_min_log2(draft->log2_n);
    double above = 0; /* bits removed behind a segment */
    double base = min_bits;
    for (int s = draft->n_segments - 1; s >= 0; s--) {
        base = largest(base, j->need[s] - above);
        if (s > 0) {
            above += draft->removed[s - 1].bits;
            split_group(j->search, &draft->removed[s - 1], max_bits);
        }
    }
    draft->base.bits = base;
    split_group(j->search, &draft->base, max_bits);
    draft->total_bits = base + above;
    const int limbs = nn_draft_limbs(draft, 0);
    draft->digit_limbs = limbs <= 4 ? 1 : (limbs + 3) / 4;
    draft->special = (nn_prime_group){0, 0, 0};
    if (j->search->slots != NULL) {
        const int most =
            rlwe_security_max_log2(draft->log2_n, j->search->security);
        return limbs <= RNS_MAX_LIMBS &&
               (j->search->allow_insecure || draft->total_bits < most) &&
               nn_slot_judge_gadgets(draft, j->search);
    }
    const int bound =
        rlwe_security_max_log2(draft->log2_n, j->search->security);
    const double room =
        j->search->allow_insecure ? 1e9 : bound - draft->total_bits - 0.1;
    if (room < 0 || limbs + draft->digit_limbs > RNS_MAX_LIMBS) {
        return false;
    }
    if (j->keys || j->search->public_key) {
        const int count = j->keys ? draft->digit_limbs : 1;
        double each = 0;
        for (int i = 0; i < limbs; i++) {
            each = largest(each, nn_draft_limb_bits(draft, i));
        }
        each = fmin(fmin(each + 1, max_bits), room / count);
        if (each < min_bits) {
            return false;
        }
        draft->special = (nn_prime_group){each * count, count, 0};
        draft->total_bits += each * count;
    }
    return true;
}

double nn_draft_division_variance(const nn_draft *draft, int n_components,
                                  int n_removed)
{
    const double n = ldexp(1.0, draft->log2_n);
    const double h = 2 * n / 3;
    double sum = 1;
    double moment = 1;
    for (int i = 1; i < n_components; i++) {
        moment *= h * i;
        sum += moment;
    }
    return n / 24 * n_removed * sum;
}

/* Slot variance of Σ digit·error over P², without the division's rounding. */
static double switch_variance(const nn_draft *draft, int segment)
{
    const double n = ldexp(1.0, draft->log2_n);
    const int limbs = nn_draft_limbs(draft, segment);
    double digit_bits = 0;
    for (int i = 0; i < limbs; i++) {
        digit_bits = largest(digit_bits, nn_draft_limb_bits(draft, i));
    }
    const double digits = ceil((double)limbs / draft->digit_limbs);
    const double ratio =
        exp2(digit_bits * draft->digit_limbs - draft->special.bits);
    return n / 2 * n * digits * draft->digit_limbs / 12 * ERROR_VARIANCE *
           ratio * ratio;
}

/* What the parts behind step k's product or square add, in values. */
static double added_variance(const judge *j, int k)
{
    const nn_draft *draft = j->draft;
    const nn_draft_step *step = &draft->step[k];
    const nn_draft_tensor *out = &j->tensor[k + 1];
    const double before = exp2(-2 * j->terms.product_bits[k]);
    const double after = exp2(-2 * out->scale_bits);
    double variance = 0;
    const int segment = out->segment - (step->target_bits > 0);
    if (step->relinearise || step->relinearise_source) {
        variance += switch_variance(draft, segment) * before;
        if (step->target_bits == 0) {
            variance +=
                nn_draft_division_variance(draft, 2, draft->special.count) *
                before;
        }
    }
    if (step->target_bits > 0) {
        const int removed = draft->removed[segment].count +
                            (step->relinearise ? draft->special.count : 0);
        variance +=
            nn_draft_division_variance(draft, out->n_components, removed) *
            after;
    }
    return variance;
}

double nn_he_error(const nn_search *search, const nn_error *error)
{
    return search->z * sqrt(error->fresh) + search->z_tail * sqrt(error->added);
}

/* Errors behind an affine map: those of its sources times its norms, and its
 * own weights' rounding. */
static nn_error map_error(const nn_search *search, const nn_error_terms *terms,
                          const nn_error *error, int k)
{
    const nn_step_facts *facts = &search->facts[k];
    const bool last = k + 1 == search->n_steps;
    nn_error std = {0, 0, 0};
    double own = search->slots != NULL ? terms->rounding[k] : 0;
    for (int p = 0; p < facts->n_parts; p++) {
        const nn_map_part *part = &facts->part[p];
        const nn_error *in = &error[part->source];
        const double gain = last ? part->row_norm : part->spectral;
        const double factor_bits =
            terms->product_bits[k] - terms->scale_bits[part->source];
        const double rms = search->rms[part->source];
        std.fresh += gain * sqrt(in->fresh);
        std.added += gain * sqrt(in->added);
        std.rounding += gain * sqrt(in->rounding);
        if (search->slots == NULL) {
            own += (double)part->row_terms * ROUNDING_VARIANCE * rms * rms *
                   exp2(-2 * factor_bits);
        }
    }
    return (nn_error){.fresh = std.fresh * std.fresh,
                      .added = std.added * std.added,
                      .rounding = std.rounding * std.rounding + own};
}

/* Variance behind the square of values of this root-mean-square. */
static double square_variance(double variance, double rms)
{
    return 4 * rms * rms * variance + 2 * variance * variance;
}

void nn_propagate(const nn_search *search, const nn_error_terms *terms,
                  nn_error *error)
{
    error[0] = (nn_error){.fresh = terms->fresh};
    for (int k = 0; k < search->n_steps; k++) {
        if (search->facts[k].kind == NN_STEP_AFFINE) {
            error[k + 1] = map_error(search, terms, error, k);
        } else {
            const double rms = search->rms[k];
            error[k + 1] =
                (nn_error){.fresh = square_variance(error[k].fresh, rms),
                           .added = square_variance(error[k].added, rms),
                           .rounding = square_variance(error[k].rounding, rms)};
        }
        error[k + 1].added += terms->added[k];
    }
}

/* Errors at the scores, from the leading terms. */
static void judge_errors(judge *j)
{
    const int n_steps = j->search->n_steps;
    nn_draft *draft = j->draft;
    nn_error_terms *terms = &j->terms;
    const double n = ldexp(1.0, draft->log2_n);
    terms->fresh = n / 2 * (ERROR_VARIANCE + ROUNDING_VARIANCE) *
                   exp2(-2.0 * draft->input_bits);
    terms->scale_bits[0] = j->tensor[0].scale_bits;
    for (int k = 0; k < n_steps; k++) {
        if (j->search->slots != NULL) {
            const nn_slot_added added = nn_slot_judge_added(
                draft, j->search, j->tensor, k, terms->product_bits[k]);
            terms->added[k] = added.noise;
            terms->rounding[k] = added.rounding;
        } else {
            terms->added[k] = added_variance(j, k);
        }
        terms->scale_bits[k + 1] = j->tensor[k + 1].scale_bits;
    }
    nn_propagate(j->search, terms, j->error);
    const nn_error *scores = &j->error[n_steps];
    draft->he_error = nn_he_error(j->search, scores);
    draft->rounding_error = j->search->z * sqrt(scores->rounding);
}

int nn_draft_limbs(const nn_draft *draft, int segment)
{
    int limbs = draft->base.count;
    for (int s = segment; s + 1 < draft->n_segments; s++) {
        limbs += draft->removed[s].count;
    }
    return limbs;
}

double nn_draft_limb_bits(const nn_draft *draft, int limb)
{
    if (limb < draft->base.count) {
        return nn_prime_group_bits(&draft->base, limb);
    }
    limb -= draft->base.count;
    int s = draft->n_segments - 2;
    while (limb >= draft->removed[s].count) {
        limb -= draft->removed[s].count;
        s--;
    }
    return nn_prime_group_bits(&draft->removed[s], limb);
}

/* Everything but the time. */
static void judge_all(judge *j, nn_draft *draft, const nn_search *search)
{
    j->search = search;
    j->draft = draft;
    j->keys = false;
    memset(j->need, 0, sizeof(j->need));
    draft->feasible = judge_scales(j) && judge_sizes(j);
}

static double seconds_of(const nn_draft *draft, const nn_search *search,
                         const nn_draft_tensor *tensor, nn_draft_times *times)
{
    return search->slots != NULL
               ? nn_slot_seconds(draft, search, times)
               : nn_draft_seconds(draft, search, tensor, times);
}

void nn_draft_judge(nn_draft *draft, const nn_search *search)
{
    judge j;
    judge_all(&j, draft, search);
    if (draft->feasible) {
        judge_errors(&j);
        draft->seconds = seconds_of(draft, search, j.tensor, NULL);
    }
}

void nn_draft_predict(nn_draft_times *times, const nn_draft *draft,
                      const nn_search *search)
{
    judge j;
    nn_draft copy = *draft;
    judge_all(&j, &copy, search);
    SOTTO_ASSERT(copy.feasible);
    (void)seconds_of(&copy, search, j.tensor, times);
}
