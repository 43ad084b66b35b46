/* SPDX-License-Identifier: MIT
 * Judging drafts for single packing; see slots_internal.h.
 */
#include <math.h>

#include "nn/plan/slots_internal.h"
#include "rlwe/moduli.h"

/* Numbers of special moduli that are tried: as many as a digit needs, one less
 * and one more. */
#define SPECIAL_CHOICES 3
/* Bits that primes may miss together. */
#define SECURITY_SLACK 0.4
#define SPARE_BITS 0.05
#define ERROR_VARIANCE 10.5
/* The coefficients of real slots are antisymmetric, a_(N-k) = -a_k, and stay so
 * when they are rounded: the error is real, with the variance of both parts. */
#define REAL_ROUNDING 2

int nn_slot_segment_of(const nn_draft *draft, int k)
{
    return draft->step[k].segment - (draft->step[k].target_bits > 0);
}

bool nn_slot_folds_late(const nn_draft *draft, const nn_search *search, int k)
{
    return draft->step[k].target_bits > 0 && search->slots->step[k].folds > 0 &&
           draft->step[k].wish != NN_WISH_BEFORE;
}

static int up_div(int a, int b)
{
    return (a + b - 1) / b;
}

/* Limbs around a step whose segment has so many limbs for each digit and so
 * many special moduli. */
static nn_slot_shape shape_with(const nn_draft *draft, const nn_search *search,
                                int k, int digit_limbs, int specials)
{
    const int limbs = nn_draft_limbs(draft, nn_slot_segment_of(draft, k));
    const int kept = nn_draft_limbs(draft, draft->step[k].segment);
    return (nn_slot_shape){.log2_n = draft->log2_n,
                           .gadget = {.limbs = limbs,
                                      .digits = up_div(limbs, digit_limbs),
                                      .specials = specials},
                           .kept = kept,
                           .kept_digits = up_div(kept, digit_limbs),
                           .late = nn_slot_folds_late(draft, search, k)};
}

nn_slot_shape nn_slot_shape_of(const nn_draft *draft, const nn_search *search,
                               int k)
{
    const nn_draft_gadget *gadget =
        &draft->gadget[nn_slot_segment_of(draft, k)];
    return shape_with(draft, search, k,
                      gadget->digit_limbs > 0 ? gadget->digit_limbs : 1,
                      gadget->specials);
}

/* ---- Gadgets ------------------------------------------------------------- */

/* Whether step k switches keys. */
static bool uses_keys(const nn_search *search, int k)
{
    const nn_slot_facts *facts = &search->slots->step[k];
    const nn_single_counts *c = &facts->counts;
    return search->facts[k].kind == NN_STEP_SQUARE ||
           c->babies + c->giants + c->sums + c->folds > 0;
}

/* Slot variance of switching one polynomial of so many limbs, over P². */
static double key_variance(const nn_draft *draft, int limbs,
                           const nn_draft_gadget *gadget)
{
    const double n = ldexp(1.0, draft->log2_n);
    const double p_bits = gadget->specials * gadget->special_bits;
    double sum = 0;
    for (int i = 0; i < limbs; i += gadget->digit_limbs) {
        double bits = 0;
        int count = 0;
        for (; count < gadget->digit_limbs && i + count < limbs; count++) {
            bits += nn_draft_limb_bits(draft, i + count);
        }
        sum += count * exp2(2 * (bits - p_bits));
    }
    return n / 2 * n * ERROR_VARIANCE / 12 * sum;
}

/* log2 of the deviation of switching one polynomial, over P: from above, all
 * digits being taken for as large as the largest. */
static double key_noise_bits(const nn_draft *draft, int limbs,
                             const nn_draft_gadget *gadget)
{
    double largest = 0;
    for (int i = 0; i < limbs; i += gadget->digit_limbs) {
        double bits = 0;
        for (int j = i; j < limbs && j < i + gadget->digit_limbs; j++) {
            bits += nn_draft_limb_bits(draft, j);
        }
        largest = fmax(largest, bits);
    }
    return draft->log2_n - 0.5 + log2(ERROR_VARIANCE / 12 * limbs) / 2 +
           largest - gadget->specials * gadget->special_bits;
}

/* Nanoseconds of step k with a gadget: remembered, since few different shapes
 * come up again and again. */
static double step_ns(const nn_draft *draft, const nn_search *search, int k,
                      const nn_draft_gadget *gadget)
{
    const nn_slot_shape shape =
        shape_with(draft, search, k, gadget->digit_limbs, gadget->specials);
    uint64_t key = (uint64_t)k + 1;
    key = key << 7 | (uint64_t)shape.gadget.limbs;
    key = key << 7 | (uint64_t)shape.kept;
    key = key << 7 | (uint64_t)gadget->digit_limbs;
    key = key << 7 | (uint64_t)gadget->specials;
    key = key << 1 | shape.late;
    nn_slot_memo *memo =
        &search->memo[key * UINT64_C(0x9e3779b97f4a7c15) >> 52];
    if (memo->key != key) {
        *memo = (nn_slot_memo){
            key, nn_slot_step_ns(&search->cost, &shape, &search->slots->step[k],
                                 search->facts[k].kind, search->memory_bytes)};
    }
    return memo->ns;
}

/* Nanoseconds of a segment's steps with a gadget. */
static double segment_ns(const nn_draft *draft, const nn_search *search,
                         int segment, const nn_draft_gadget *gadget)
{
    double ns = 0;
    for (int k = 0; k < search->n_steps; k++) {
        if (nn_slot_segment_of(draft, k) == segment) {
            ns += step_ns(draft, search, k, gadget);
        }
    }
    return ns;
}

/* What one segment may choose from. */
typedef struct segment_room {
    int segment;
    int limbs;
    double bits;     /* of its modulus */
    double room;     /* for special moduli */
    double max_bits; /* of each */
    double min_bits;
} segment_room;

/* Keeps the better of *best and a gadget; quiet ones before loud ones. */
static void consider(const nn_draft *draft, const nn_search *search,
                     const segment_room *at, nn_draft_gadget *best,
                     double *best_ns, double *best_noise, int digit_limbs,
                     int specials)
{
    const double each = fmin(at->max_bits, at->room / specials);
    if (each < at->min_bits) {
        return;
    }
    const nn_draft_gadget gadget = {
        .digit_limbs = digit_limbs, .specials = specials, .special_bits = each};
    const double noise =
        fmax(key_noise_bits(draft, at->limbs, &gadget), draft->key_bits);
    if (noise > *best_noise) {
        return;
    }
    const double ns = segment_ns(draft, search, at->segment, &gadget);
    if (noise < *best_noise || ns < *best_ns) {
        *best = gadget;
        *best_ns = ns;
        *best_noise = noise;
    }
}

/* Chooses the gadget of one segment. */
static bool choose_gadget(nn_draft *draft, const nn_search *search,
                          const segment_room *at)
{
    double ns = HUGE_VAL;
    double noise = HUGE_VAL;
    nn_draft_gadget *best = &draft->gadget[at->segment];
    for (int digit = 1; digit <= at->limbs; digit++) {
        if (digit > 1 &&
            up_div(at->limbs, digit) == up_div(at->limbs, digit - 1)) {
            continue;
        }
        const double bits = digit * at->bits / at->limbs;
        const int first = (int)ceil(bits / at->max_bits) - 1;
        for (int i = 0; i < SPECIAL_CHOICES; i++) {
            if (first + i > 0) {
                consider(draft, search, at, best, &ns, &noise, digit,
                         first + i);
            }
        }
    }
    return ns < HUGE_VAL;
}

/* log2 of the modulus of a segment. */
static double segment_bits(const nn_draft *draft, int segment)
{
    double bits = draft->base.bits;
    for (int s = segment; s + 1 < draft->n_segments; s++) {
        bits += draft->removed[s].bits;
    }
    return bits;
}

bool nn_slot_judge_gadgets(nn_draft *draft, const nn_search *search)
{
    const int share = up_div(draft->n_segments, RLWE_MAX_GADGETS);
    const int bound = rlwe_security_max_log2(draft->log2_n, search->security);
    bool used[NN_MAX_SEGMENTS] = {search->public_key};
    int moduli = nn_draft_limbs(draft, 0);
    draft->special = (nn_prime_group){0};
    for (int k = 0; k < search->n_steps; k++) {
        const int segment = nn_slot_segment_of(draft, k);
        used[segment - segment % share] =
            used[segment - segment % share] || uses_keys(search, k);
    }
    for (int s = 0; s < draft->n_segments; s++) {
        draft->gadget[s] = draft->gadget[s - s % share];
        if (s % share > 0) {
            continue;
        }
        draft->gadget[s] = (nn_draft_gadget){0};
        if (!used[s]) {
            continue;
        }
        const double bits = segment_bits(draft, s);
        const segment_room at = {
            .segment = s,
            .limbs = nn_draft_limbs(draft, s),
            .bits = bits,
            .room =
                search->allow_insecure ? 1e9 : bound - bits - SECURITY_SLACK,
            .max_bits = rlwe_moduli_max_log2(draft->log2_n) - SPARE_BITS,
            .min_bits = rlwe_moduli_min_log2(draft->log2_n)};
        if (!choose_gadget(draft, search, &at)) {
            return false;
        }
        const nn_draft_gadget *g = &draft->gadget[s];
        moduli += g->specials;
        draft->total_bits =
            fmax(draft->total_bits, bits + g->specials * g->special_bits);
        draft->special.count += g->specials;
    }
    return moduli <= RNS_MAX_LIMBS;
}

/* ---- Noise --------------------------------------------------------------- */

static nn_slot_noise noise_at(const nn_draft *draft, const nn_search *search,
                              int k)
{
    const int segment = nn_slot_segment_of(draft, k);
    const nn_draft_gadget *gadget = &draft->gadget[segment];
    const nn_slot_shape shape = nn_slot_shape_of(draft, search, k);
    const int specials = uses_keys(search, k) ? gadget->specials : 0;
    const int removed = shape.gadget.limbs - shape.kept;
    return (nn_slot_noise){
        .key =
            specials > 0 ? key_variance(draft, shape.gadget.limbs, gadget) : 0,
        .divide_special = nn_draft_division_variance(draft, 2, specials),
        .divide_half = nn_draft_division_variance(draft, 1, specials),
        .divide_end = nn_draft_division_variance(draft, 2, removed + specials),
        .key_late = specials > 0 ? key_variance(draft, shape.kept, gadget) : 0,
        .divide_late = nn_draft_division_variance(draft, 2, specials),
        .rounding = nn_draft_division_variance(draft, 1, 1),
        .hoists_once = nn_slot_hoists_once(&search->cost, &shape,
                                           &search->slots->step[k])};
}

nn_slot_added nn_slot_added_by(const nn_step_facts *facts,
                               const nn_slot_facts *slots,
                               const nn_slot_noise *noise,
                               const nn_slot_scales *scales, bool late)
{
    const nn_single_counts *c = &slots->counts;
    const double product = 1 / (scales->product * scales->product);
    const double out = 1 / (scales->out * scales->out);
    const double spread = slots->spread;
    double gain = 0;
    double rounded = 0;
    for (int p = 0; p < facts->n_parts; p++) {
        const double norm = facts->part[p].row_norm / scales->in[p];
        const double share =
            scales->rms[p] * slots->area * scales->in[p] / scales->product;
        gain += norm * norm;
        rounded = fmax(rounded, share * share);
    }
    double v = noise->rounding * out;
    if (c->sums > 0) {
        v += gain / slots->area *
             ((slots->area - 1) * noise->key + noise->divide_special);
    }
    if (c->babies > 0) {
        v += gain *
             (noise->key + (noise->hoists_once ? noise->divide_special : 0));
    }
    if (c->giants > 0) {
        v += (double)c->giants / slots->n_out * spread * product *
             (noise->key + (noise->hoists_once
                                ? 0
                                : noise->divide_special - noise->divide_half));
    }
    if (late) {
        v += out * (spread * noise->divide_end +
                    (spread - 1) * (noise->key_late + noise->divide_late));
    } else {
        v += out * noise->divide_end;
        if (slots->folds > 0) {
            v += product * ((spread - 1) * noise->key +
                            (2 * spread - 2) * noise->divide_special);
        }
    }
    return (nn_slot_added){.noise = v,
                           .rounding = (double)c->products / slots->n_out *
                                       REAL_ROUNDING * noise->rounding *
                                       spread * rounded};
}

nn_slot_added nn_slot_judge_added(const nn_draft *draft,
                                  const nn_search *search,
                                  const nn_draft_tensor *tensor, int k,
                                  double product_bits)
{
    const nn_step_facts *facts = &search->facts[k];
    const nn_slot_noise noise = noise_at(draft, search, k);
    const double before = exp2(product_bits);
    const double after = exp2(tensor[k + 1].scale_bits);
    if (facts->kind == NN_STEP_SQUARE) {
        return (nn_slot_added){.noise = noise.key / (before * before) +
                                        noise.divide_end / (after * after)};
    }
    double in[NN_MAX_SOURCES];
    double rms[NN_MAX_SOURCES];
    for (int p = 0; p < facts->n_parts; p++) {
        in[p] = exp2(tensor[facts->part[p].source].scale_bits);
        rms[p] = search->rms[facts->part[p].source];
    }
    const nn_slot_scales scales = {
        .in = in, .product = before, .out = after, .rms = rms};
    return nn_slot_added_by(facts, &search->slots->step[k], &noise, &scales,
                            nn_slot_folds_late(draft, search, k));
}

/* ---- Time ---------------------------------------------------------------- */

double nn_slot_seconds(const nn_draft *draft, const nn_search *search,
                       nn_draft_times *times)
{
    const double read =
        search->slots->n_inputs * nn_cost_read(&search->cost, draft->log2_n,
                                               nn_draft_limbs(draft, 0),
                                               segment_bits(draft, 0));
    double ns = read;
    if (times != NULL) {
        times->read = read;
        times->batches = (double)search->images;
    }
    for (int k = 0; k < search->n_steps; k++) {
        const nn_slot_shape shape = nn_slot_shape_of(draft, search, k);
        const double step =
            nn_slot_step_ns(&search->cost, &shape, &search->slots->step[k],
                            search->facts[k].kind, search->memory_bytes);
        ns += step;
        if (times != NULL) {
            times->step[k] = step;
        }
    }
    return ns * (double)search->images * 1e-9;
}
