/* SPDX-License-Identifier: MIT
 * Baby steps and giant steps: what a split costs, and the search for one.
 *
 * Rotations lie on a circle of N/2. Cut open at its widest gap, each is
 * first + t with t >= 0, and a width w splits t = w·⌊t/w⌋ + t mod w. What is
 * left to choose is which giant step is moved to 0, where it costs nothing;
 * its distance goes into all babies. Widths that are tried are small numbers,
 * 2^k, 3·2^k and distances between rotations: rows and planes of images.
 */
#include <stdlib.h>
#include <string.h>

#include "ckks/lintrans_internal.h"

/* Widths that are tried: small numbers, and distances from the first. */
#define SMALL_WIDTHS 64
#define MAX_WIDTHS 1024

/* Most rotations of a fold; a sum of products takes at most 256 terms. */
#define MAX_FOLD 256

/* Largest number of ciphertexts on either side. */
#define MAX_CIPHERTEXTS ((size_t)1 << 14)

uint64_t ckks_lintrans_modulo(int64_t steps, size_t slots)
{
    /* The number of slots is a power of two. */
    return (uint64_t)steps & (slots - 1);
}

ckks_lintrans_rates ckks_lintrans_rates_of(const rlwe_context *context)
{
    const double n = (double)context->ring->ring.n;
    const double butterflies = n / 2 * context->ring->ring.log2_n;
    return (ckks_lintrans_rates){
        .transform = 0.17e-9 * butterflies,
        .product = 0.15e-9 * n,
        .load = 0.15e-9 * n,
    };
}

/* Digits of a gadget that have a limb at a level. */
static int living_digits(const rlwe_gadget *gadget, const rns_set *level)
{
    bool lives[RNS_MAX_LIMBS] = {false};
    int n = 0;
    for (int i = 0; i < gadget->limbs.count; i++) {
        const int j = gadget->digit[i];
        if (rns_set_find(level, gadget->limbs.id[i]) >= 0 && !lives[j]) {
            lives[j] = true;
            n++;
        }
    }
    return n;
}

/*   ModUp            limbs inverse, digits·all - limbs forward
 *   key product      2·digits·all products and as many limbs of the key; the
 *                    rotation of the digits counts as half a product each
 *   diagonal         2 products for each modulus of the sum
 *   ModDown          special inverse, limbs forward, for each half */
double ckks_lintrans_cost(const rlwe_context *context,
                          const rlwe_gadget *gadget, int from, int to,
                          ckks_hoisting hoisting,
                          const ckks_lintrans_count *count,
                          const ckks_lintrans_rates *rates)
{
    const rns_set *level = rlwe_level_set(context, from);
    const bool has_keys = count->n_babies + count->n_giants > 0;
    const double limbs = level->count;
    const double kept = rlwe_level_set(context, to)->count;
    const double special = has_keys ? gadget->special.count : 0;
    const double digits = has_keys ? living_digits(gadget, level) : 0;
    const double all = limbs + special;
    const bool is_double = hoisting == CKKS_HOIST_DOUBLE;
    const double sum = is_double ? all : limbs;
    const double rows = digits * all;
    const double mod_up = rates->transform * rows;
    const double key =
        2 * rows * (rates->product + rates->load) + rows * rates->product / 2;
    const double mod_down = rates->transform * all;
    const double diagonal = sum * (2 * rates->product + rates->load);
    double cost = (double)count->n_lifted * mod_up;
    cost += (double)count->n_babies * (key + (is_double ? 0 : 2 * mod_down));
    cost += (double)count->n_diagonals * diagonal;
    cost += (double)count->n_giants * (mod_up + key);
    if (is_double) {
        cost += (double)count->n_giants * mod_down;
    }
    if (from != to || has_keys) {
        const double removed = limbs + special - kept;
        cost += (double)count->n_out * 2 * rates->transform * (removed + kept);
    }
    return cost;
}

/* Fails unless the gadget exists and serves the level. */
static sotto_status check_gadget(const rlwe_context *context, int gadget,
                                 int level, const char *what, sotto_error *err)
{
    const rlwe_params_literal *literal = &context->params.literal;
    if (gadget < 0 || gadget >= literal->n_gadgets) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "linear map: the gadget of %s is %d; the parameters "
                          "have %d, and whatever is rotated needs one",
                          what, gadget, literal->n_gadgets);
    }
    if (!rns_set_contains(&literal->gadget[gadget].limbs,
                          rlwe_level_set(context, level))) {
        return sotto_fail(err, SOTTO_ERR_LEVEL,
                          "linear map: gadget %d of %s does not serve all "
                          "moduli of level %d",
                          gadget, what, level);
    }
    return SOTTO_OK;
}

static sotto_status check_folds(const rlwe_context *context,
                                const ckks_fold *fold, size_t n, int level,
                                sotto_error *err)
{
    const size_t slots = ntt_ring_slots(&context->ring->ring);
    for (size_t i = 0; i < n; i++) {
        if (fold[i].count < 2 || fold[i].count > MAX_FOLD ||
            (size_t)fold[i].count > slots) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "linear map: fold %zu adds %d rotations; 2 to %d "
                              "are possible",
                              i, fold[i].count, MAX_FOLD);
        }
        SOTTO_TRY(check_gadget(context, fold[i].gadget, level, "a fold", err));
    }
    return SOTTO_OK;
}

static sotto_status check_levels(const rlwe_context *context,
                                 const ckks_lintrans_spec *spec,
                                 sotto_error *err)
{
    const rlwe_chain *chain = &context->chain;
    const bool exist = spec->from >= 0 && spec->from < chain->n_levels &&
                       spec->to >= 0 && spec->to < chain->n_levels;
    if (!exist || (spec->from != spec->to &&
                   rlwe_chain_step(chain, spec->from, spec->to) == NULL)) {
        return sotto_fail(err, SOTTO_ERR_LEVEL,
                          "linear map from level %d to level %d: the "
                          "parameters list no such step",
                          spec->from, spec->to);
    }
    return SOTTO_OK;
}

sotto_status ckks_lintrans_check(const rlwe_context *context,
                                 const ckks_lintrans_spec *spec,
                                 sotto_error *err)
{
    const size_t slots = ntt_ring_slots(&context->ring->ring);
    if (spec->n_in == 0 || spec->n_out == 0 || spec->n_in > MAX_CIPHERTEXTS ||
        spec->n_out > MAX_CIPHERTEXTS) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "linear map: %zu inputs and %zu outputs; each must "
                          "be 1 to %zu",
                          spec->n_in, spec->n_out, MAX_CIPHERTEXTS);
    }
    SOTTO_TRY(check_levels(context, spec, err));
    bool rotates = false;
    for (size_t i = 0; i < spec->n_diagonals; i++) {
        const ckks_diagonal *d = &spec->diagonal[i];
        if (d->in >= spec->n_in || d->out >= spec->n_out) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "linear map: diagonal %zu goes from input %u to "
                              "output %u; there are %zu and %zu",
                              i, (unsigned)d->in, (unsigned)d->out, spec->n_in,
                              spec->n_out);
        }
        rotates =
            rotates || ckks_lintrans_modulo(d->rotation, slots) != 0 ||
            (spec->giant && ckks_lintrans_modulo(spec->giant[i], slots) != 0);
    }
    if (rotates) {
        SOTTO_TRY(
            check_gadget(context, spec->gadget, spec->from, "the map", err));
    }
    SOTTO_TRY(check_folds(context, spec->fold, spec->n_folds, spec->from, err));
    return check_folds(context, spec->late_fold, spec->n_late_folds, spec->to,
                       err);
}

/* ---- The search ---------------------------------------------------------- */

/* Rotations and what is counted of them under one split. Babies and giants are
 * counted in marks: a place is marked when it holds the number of the try. */
typedef struct search {
    const rlwe_context *context;
    const ckks_lintrans_spec *spec;
    const rlwe_gadget *gadget;
    ckks_lintrans_rates rates;
    size_t slots;
    size_t max_keys;
    uint64_t first;       /* rotation behind the widest gap */
    uint64_t *t;          /* [n_diagonals]: distance from first */
    uint32_t attempt;     /* of in_mark and out_mark */
    uint32_t key_attempt; /* of key_mark */
    uint32_t *in_mark;    /* [n_in][slots]: baby of an input */
    uint32_t *out_mark;   /* [n_out][slots]: giant of an output */
    uint32_t *key_mark;   /* [slots] */
    uint32_t *baby_ins;   /* [slots]: inputs with this baby … */
    uint32_t *giant_outs; /* [slots]: outputs with this giant … */
    uint32_t *value;      /* [2][slots] list of babies, list of giants */
    size_t n_babies, n_giants, baby_values, giant_values;
    uint32_t *in_babies; /* [n_in]: babies of an input */
    ckks_lintrans_split best;
    uint64_t best_width, best_zero;
    bool found;
} search;

static void search_clear(search *s)
{
    sotto_free(s->t);
    sotto_free(s->in_mark);
    sotto_free(s->out_mark);
    sotto_free(s->key_mark);
    sotto_free(s->baby_ins);
    sotto_free(s->giant_outs);
    sotto_free(s->value);
    sotto_free(s->in_babies);
}

static sotto_status search_init(search *s, const rlwe_context *context,
                                const ckks_lintrans_spec *spec, size_t max_keys,
                                sotto_error *err)
{
    const rlwe_params_literal *literal = &context->params.literal;
    const size_t slots = ntt_ring_slots(&context->ring->ring);
    *s = (search){
        .context = context, .spec = spec, .slots = slots, .max_keys = max_keys};
    s->gadget = spec->gadget >= 0 && spec->gadget < literal->n_gadgets
                    ? &literal->gadget[spec->gadget]
                    : NULL;
    s->rates = spec->rates ? *spec->rates : ckks_lintrans_rates_of(context);
    s->t = sotto_calloc(spec->n_diagonals, sizeof *s->t);
    s->in_mark = sotto_calloc(spec->n_in * slots, sizeof *s->in_mark);
    s->out_mark = sotto_calloc(spec->n_out * slots, sizeof *s->out_mark);
    s->key_mark = sotto_calloc(slots, sizeof *s->key_mark);
    s->baby_ins = sotto_calloc(slots, sizeof *s->baby_ins);
    s->giant_outs = sotto_calloc(slots, sizeof *s->giant_outs);
    s->value = sotto_calloc(2 * slots, sizeof *s->value);
    s->in_babies = sotto_calloc(spec->n_in, sizeof *s->in_babies);
    if (!s->t || !s->in_mark || !s->out_mark || !s->key_mark || !s->baby_ins ||
        !s->giant_outs || !s->value || !s->in_babies) {
        search_clear(s);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "linear map: no memory to split %zu diagonals",
                          spec->n_diagonals);
    }
    return SOTTO_OK;
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Finds the widest gap between rotations; t becomes the distances behind it. */
static void open_circle(search *s)
{
    const size_t n = s->spec->n_diagonals;
    for (size_t i = 0; i < n; i++) {
        s->t[i] = ckks_lintrans_modulo(s->spec->diagonal[i].rotation, s->slots);
    }
    qsort(s->t, n, sizeof *s->t, compare_u64);
    uint64_t widest = n > 0 ? s->t[0] + s->slots - s->t[n - 1] : 0;
    s->first = n > 0 ? s->t[0] : 0;
    for (size_t i = 1; i < n; i++) {
        if (s->t[i] - s->t[i - 1] > widest) {
            widest = s->t[i] - s->t[i - 1];
            s->first = s->t[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t r =
            ckks_lintrans_modulo(s->spec->diagonal[i].rotation, s->slots);
        s->t[i] = (r - s->first) & (s->slots - 1);
    }
}

/* Counts different babies and giants, given the giant of each diagonal (NULL:
 * those of a width). */
static void count_split(search *s, const int64_t *giant, uint64_t width)
{
    const ckks_lintrans_spec *spec = s->spec;
    s->attempt++;
    s->n_babies = s->n_giants = s->baby_values = s->giant_values = 0;
    memset(s->in_babies, 0, spec->n_in * sizeof *s->in_babies);
    for (size_t i = 0; i < spec->n_diagonals; i++) {
        const ckks_diagonal *d = &spec->diagonal[i];
        const uint64_t g = giant ? ckks_lintrans_modulo(giant[i], s->slots)
                                 : s->t[i] - s->t[i] % width;
        const uint64_t b =
            giant ? (ckks_lintrans_modulo(d->rotation, s->slots) - g) &
                        (s->slots - 1)
                  : s->t[i] % width;
        uint32_t *in = &s->in_mark[(size_t)d->in * s->slots + b];
        uint32_t *out = &s->out_mark[(size_t)d->out * s->slots + g];
        if (*in != s->attempt) {
            *in = s->attempt;
            s->n_babies++;
            s->in_babies[d->in]++;
            if (s->baby_ins[b]++ == 0) {
                s->value[s->baby_values++] = (uint32_t)b;
            }
        }
        if (*out != s->attempt) {
            *out = s->attempt;
            s->n_giants++;
            if (s->giant_outs[g]++ == 0) {
                s->value[s->slots + s->giant_values++] = (uint32_t)g;
            }
        }
    }
}

/* Different rotations when babies are shifted by `shift` and giants back. */
static size_t count_keys(search *s, uint64_t shift)
{
    size_t n = 0;
    s->key_attempt++;
    s->key_mark[0] = s->key_attempt; /* no key */
    for (size_t i = 0; i < s->baby_values + s->giant_values; i++) {
        const uint64_t at =
            (i < s->baby_values
                 ? s->value[i] + shift
                 : s->value[s->slots + i - s->baby_values] - shift) &
            (s->slots - 1);
        n += s->key_mark[at] != s->key_attempt;
        s->key_mark[at] = s->key_attempt;
    }
    return n;
}

/* Inputs with a baby other than this one. */
static size_t count_lifted(const search *s, uint64_t zero_baby)
{
    size_t n = 0;
    for (size_t i = 0; i < s->spec->n_in; i++) {
        const bool has_zero =
            s->in_mark[i * s->slots + zero_baby] == s->attempt;
        n += s->in_babies[i] > (has_zero ? 1 : 0);
    }
    return n;
}

/* Keeps a way to split if it is the best so far. shift: what is added to the
 * babies that were counted, and taken from the giants. */
static void consider(search *s, uint64_t width, uint64_t zero_giant,
                     uint64_t shift)
{
    const uint64_t zero_baby = (0 - shift) & (s->slots - 1);
    const ckks_lintrans_count count = {
        .n_lifted = count_lifted(s, zero_baby),
        .n_babies = s->n_babies - s->baby_ins[zero_baby],
        .n_giants = s->n_giants - s->giant_outs[zero_giant],
        .n_diagonals = s->spec->n_diagonals,
        .n_out = s->spec->n_out,
    };
    for (int h = CKKS_HOIST_SINGLE; h <= CKKS_HOIST_DOUBLE; h++) {
        const ckks_hoisting hoisting = (ckks_hoisting)h;
        const bool is_asked = s->spec->hoisting == CKKS_HOIST_AUTO ||
                              s->spec->hoisting == hoisting;
        if (!is_asked) {
            continue;
        }
        const double cost =
            ckks_lintrans_cost(s->context, s->gadget, s->spec->from,
                               s->spec->to, hoisting, &count, &s->rates);
        if (s->found && !(cost < s->best.cost)) {
            continue;
        }
        const size_t n_keys = count_keys(s, shift);
        if (s->max_keys != 0 && n_keys > s->max_keys) {
            continue;
        }
        s->found = true;
        s->best = (ckks_lintrans_split){.hoisting = hoisting,
                                        .n_babies = count.n_babies,
                                        .n_giants = count.n_giants,
                                        .n_keys = n_keys,
                                        .cost = cost};
        s->best_width = width;
        s->best_zero = zero_giant;
    }
}

/* Forgets the counts of count_split. */
static void forget_split(search *s)
{
    for (size_t i = 0; i < s->baby_values; i++) {
        s->baby_ins[s->value[i]] = 0;
    }
    for (size_t i = 0; i < s->giant_values; i++) {
        s->giant_outs[s->value[s->slots + i]] = 0;
    }
}

static void try_width(search *s, uint64_t width)
{
    count_split(s, NULL, width);
    for (size_t i = 0; i < s->giant_values; i++) {
        const uint64_t zero = s->value[s->slots + i];
        /* rotation = first + g + b = (g - zero) + (b + zero + first) */
        consider(s, width, zero, (s->first + zero) & (s->slots - 1));
    }
    forget_split(s);
}

/* All widths; returns when the marks are used up. */
static void try_widths(search *s)
{
    for (uint64_t width = 1; width <= SMALL_WIDTHS && width <= s->slots;
         width++) {
        try_width(s, width);
    }
    for (uint64_t width = SMALL_WIDTHS; width <= s->slots; width *= 2) {
        try_width(s, width);
        try_width(s, width + width / 2);
    }
    const size_t n = s->spec->n_diagonals;
    size_t tried = 0;
    for (size_t i = 1; i < n && tried < MAX_WIDTHS; i++) {
        const uint64_t a = s->t[i];
        const uint64_t b = s->t[i - 1];
        const uint64_t width = a > b ? a - b : b - a;
        if (width > SMALL_WIDTHS && width != s->best_width) {
            try_width(s, width);
            tried++;
        }
    }
}

/* Giants of the best width. */
static void write_giants(const search *s, int64_t *giant)
{
    for (size_t i = 0; i < s->spec->n_diagonals; i++) {
        const uint64_t g = s->t[i] - s->t[i] % s->best_width;
        giant[i] = (int64_t)((g - s->best_zero) & (s->slots - 1));
    }
}

sotto_status ckks_lintrans_choose(ckks_lintrans_split *split, int64_t *giant,
                                  const rlwe_context *context,
                                  const ckks_lintrans_spec *spec,
                                  size_t max_keys, sotto_error *err)
{
    search s;
    SOTTO_TRY(ckks_lintrans_check(context, spec, err));
    SOTTO_TRY(search_init(&s, context, spec, max_keys, err));
    if (spec->giant != NULL) {
        count_split(&s, spec->giant, 1);
        consider(&s, 1, 0, 0);
    } else if (spec->n_diagonals == 0) {
        consider(&s, 1, 0, 0);
    } else {
        open_circle(&s);
        try_widths(&s);
    }
    sotto_status status = SOTTO_OK;
    if (s.found) {
        *split = s.best;
        if (spec->giant == NULL) {
            write_giants(&s, giant);
        }
    } else {
        status = sotto_fail(err, SOTTO_ERR_PARAM,
                            "linear map: no way to split %zu diagonals needs "
                            "at most %zu different rotations",
                            spec->n_diagonals, max_keys);
    }
    search_clear(&s);
    return status;
}
