/* SPDX-License-Identifier: MIT
 * Layouts: comparison, text, and the list of places.
 */
#include "nn/single/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

bool nn_layout_equal(const nn_layout *a, const nn_layout *b)
{
    if (!nn_shape_equal(&a->shape, &b->shape) ||
        a->log2_slots != b->log2_slots || a->n_cts != b->n_cts ||
        a->period != b->period || a->rest != b->rest ||
        a->n_digits != b->n_digits) {
        return false;
    }
    for (int d = 0; d < a->shape.rank; d++) {
        if (a->origin[d] != b->origin[d]) {
            return false;
        }
    }
    for (int k = 0; k < a->n_digits; k++) {
        const nn_layout_digit *x = &a->digit[k], *y = &b->digit[k];
        if (x->count != y->count || x->slots != y->slots || x->dim != y->dim ||
            x->step != y->step) {
            return false;
        }
    }
    return true;
}

/* ---- Text ---------------------------------------------------------------- */

/* What is written so far. */
typedef struct pen {
    char *text;
    size_t used;
} pen;

static void put(pen *p, const char *format, long long value)
{
    const int n = snprintf(p->text + p->used, NN_LAYOUT_TEXT_BYTES - p->used,
                           format, value);

    SOTTO_ASSERT(n >= 0 && (size_t)n < NN_LAYOUT_TEXT_BYTES - p->used);
    p->used += (size_t)n;
}

static void put_words(pen *p, const char *words)
{
    const size_t len_bytes = strlen(words);

    SOTTO_ASSERT(len_bytes < NN_LAYOUT_TEXT_BYTES - p->used);
    memcpy(p->text + p->used, words, len_bytes + 1);
    p->used += len_bytes;
}

const char *nn_layout_text(char *text, const nn_layout *layout)
{
    pen p = {.text = text};

    put(&p, "cts %lld", layout->n_cts);
    put(&p, " period %lld", layout->period);
    put_words(&p, layout->rest == NN_REST_ZERO ? " rest zero origin"
                                               : " rest rubbish origin");
    for (int d = 0; d < layout->shape.rank; d++) {
        put(&p, " %lld", layout->origin[d]);
    }
    put_words(&p, " digits");
    for (int k = 0; k < layout->n_digits; k++) {
        put(&p, " %lld", layout->digit[k].count);
        put(&p, ":%lld", layout->digit[k].slots);
        put(&p, ":%lld", layout->digit[k].dim);
        put(&p, ":%lld", layout->digit[k].step);
    }
    return text;
}

/* Takes a fixed word, spaces and all. */
static bool take_word(const char **at, const char *word)
{
    const size_t len_bytes = strlen(word);

    if (strncmp(*at, word, len_bytes) != 0) {
        return false;
    }
    *at += len_bytes;
    return true;
}

/* Takes a decimal number without leading zeros, plus sign or blanks. */
static bool take_number(const char **at, int64_t min, int64_t max, int64_t *out)
{
    const char *p = *at;
    int64_t value = 0;
    const bool minus = *p == '-';

    p += minus;
    if (*p < '0' || *p > '9' ||
        (*p == '0' && (minus || (p[1] >= '0' && p[1] <= '9')))) {
        return false;
    }
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (*p - '0');
        if (value > INT32_MAX) {
            return false;
        }
    }
    value = minus ? -value : value;
    if (value < min || value > max) {
        return false;
    }
    *out = value;
    *at = p;
    return true;
}

static bool take_digit(const char **at, nn_layout_digit *digit, int rank)
{
    const int64_t max = (int64_t)NN_LAYOUT_MAX_ADDRESSES;
    int64_t count, slots, dim, step;

    if (!take_number(at, 1, max, &count) || !take_word(at, ":") ||
        !take_number(at, 0, max, &slots) || !take_word(at, ":") ||
        !take_number(at, -1, rank - 1, &dim) || !take_word(at, ":") ||
        !take_number(at, 0, max, &step) || (dim < 0 && step != 0)) {
        return false;
    }
    *digit = (nn_layout_digit){.count = (uint32_t)count,
                               .slots = (uint32_t)slots,
                               .dim = (int32_t)dim,
                               .step = (uint32_t)step};
    return true;
}

static bool take_layout(nn_layout *layout, const char *at)
{
    const int64_t max = (int64_t)NN_LAYOUT_MAX_ADDRESSES;
    int64_t n_cts, period, origin;

    if (!take_word(&at, "cts ") || !take_number(&at, 1, max, &n_cts) ||
        !take_word(&at, " period ") ||
        !take_number(&at, 1, nn_layout_slots(layout), &period)) {
        return false;
    }
    layout->n_cts = (uint32_t)n_cts;
    layout->period = (uint32_t)period;
    layout->rest = NN_REST_ZERO;
    if (!take_word(&at, " rest zero")) {
        if (!take_word(&at, " rest rubbish")) {
            return false;
        }
        layout->rest = NN_REST_RUBBISH;
    }
    if (!take_word(&at, " origin")) {
        return false;
    }
    for (int d = 0; d < layout->shape.rank; d++) {
        if (!take_word(&at, " ") || !take_number(&at, -max, max, &origin)) {
            return false;
        }
        layout->origin[d] = (int32_t)origin;
    }
    if (!take_word(&at, " digits")) {
        return false;
    }
    while (*at != '\0') {
        if (layout->n_digits == NN_LAYOUT_MAX_DIGITS || !take_word(&at, " ") ||
            !take_digit(&at, &layout->digit[layout->n_digits],
                        layout->shape.rank)) {
            return false;
        }
        layout->n_digits++;
    }
    return (layout->period & (layout->period - 1)) == 0;
}

sotto_status nn_layout_parse(nn_layout *layout, const nn_shape *shape,
                             int log2_slots, const char *text, sotto_error *err)
{
    nn_layout read = {.shape = *shape, .log2_slots = log2_slots};

    SOTTO_ASSERT(log2_slots >= 0 && log2_slots <= NN_LAYOUT_MAX_LOG2_SLOTS);
    if (!take_layout(&read, text)) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "layout '%.80s': expected cts, period (a power of "
                          "two up to %u), rest, origin, digits",
                          text, nn_layout_slots(&read));
    }
    *layout = read;
    return SOTTO_OK;
}

/* ---- Places -------------------------------------------------------------- */

/* All digits counting up together. */
typedef struct odometer {
    const nn_layout *layout;
    uint32_t at[NN_LAYOUT_MAX_DIGITS];
    uint64_t address;
    int64_t coordinate[NN_MAX_RANK];
} odometer;

static odometer odometer_start(const nn_layout *layout)
{
    odometer o = {.layout = layout};

    for (int d = 0; d < layout->shape.rank; d++) {
        o.coordinate[d] = layout->origin[d];
    }
    return o;
}

/* Moves on; false when all digits are back at 0. */
static bool odometer_next(odometer *o)
{
    for (int k = 0; k < o->layout->n_digits; k++) {
        const nn_layout_digit *digit = &o->layout->digit[k];
        const bool carry = o->at[k] + 1 == digit->count;
        const int64_t by = carry ? -(int64_t)o->at[k] : 1;
        o->at[k] = carry ? 0 : o->at[k] + 1;
        o->address = (uint64_t)((int64_t)o->address + by * digit->slots);
        if (digit->dim >= 0) {
            o->coordinate[digit->dim] += by * digit->step;
        }
        if (!carry) {
            return true;
        }
    }
    return false;
}

/* The element under the odometer; false off the tensor. */
static bool odometer_element(const odometer *o, size_t *element)
{
    const nn_shape *shape = &o->layout->shape;

    *element = 0;
    for (int d = 0; d < shape->rank; d++) {
        if (o->coordinate[d] < 0 ||
            o->coordinate[d] >= (int64_t)shape->dim[d]) {
            return false;
        }
        *element = *element * shape->dim[d] + (size_t)o->coordinate[d];
    }
    return true;
}

static sotto_status check_sizes(const nn_layout *layout, sotto_error *err)
{
    size_t product = 1;
    bool ok = layout->log2_slots >= 0 &&
              layout->log2_slots <= NN_LAYOUT_MAX_LOG2_SLOTS &&
              layout->n_digits >= 0 &&
              layout->n_digits <= NN_LAYOUT_MAX_DIGITS && layout->n_cts >= 1;

    ok = ok && layout->n_cts <= NN_LAYOUT_MAX_ADDRESSES >> layout->log2_slots &&
         layout->period >= 1 && layout->period <= nn_layout_slots(layout) &&
         (layout->period & (layout->period - 1)) == 0;
    for (int k = 0; ok && k < layout->n_digits; k++) {
        const nn_layout_digit *digit = &layout->digit[k];
        ok = digit->count >= 1 &&
             digit->count <= NN_LAYOUT_MAX_ADDRESSES / product &&
             digit->slots <= NN_LAYOUT_MAX_ADDRESSES && digit->dim >= -1 &&
             digit->dim < layout->shape.rank &&
             digit->step <= NN_LAYOUT_MAX_ADDRESSES &&
             (digit->dim >= 0 || digit->step == 0);
        product *= ok ? digit->count : 1;
    }
    return ok ? SOTTO_OK
              : sotto_fail(err, SOTTO_ERR_SHAPE,
                           "layout: sizes are out of range (at most %d digits "
                           "and %zu addresses)",
                           NN_LAYOUT_MAX_DIGITS, NN_LAYOUT_MAX_ADDRESSES);
}

/* One pass over all places. Without `taken`: counts into first[element + 1] and
 * checks ranges. With it: files the addresses under first[element]++. */
static sotto_status list_places(nn_places *places, uint64_t *taken,
                                sotto_error *err)
{
    const nn_layout *layout = &places->layout;
    const uint64_t end = (uint64_t)layout->n_cts << layout->log2_slots;
    const uint64_t mask = nn_layout_slots(layout) - 1;
    odometer o = odometer_start(layout);
    size_t e;

    do {
        if (!odometer_element(&o, &e)) {
            continue;
        }
        if (taken == NULL) {
            if (o.address >= end || (o.address & mask) >= layout->period) {
                return sotto_fail(err, SOTTO_ERR_SHAPE,
                                  "layout: element %zu at address %" PRIu64
                                  " lies beyond %" PRIu32
                                  " ciphertexts or period %" PRIu32,
                                  e, o.address, layout->n_cts, layout->period);
            }
            places->first[e + 1]++;
            continue;
        }
        const uint64_t bit = UINT64_C(1) << (o.address % 64);
        if ((taken[o.address / 64] & bit) != 0) {
            return sotto_fail(err, SOTTO_ERR_SHAPE,
                              "layout: element %zu at address %" PRIu64
                              " where another lies",
                              e, o.address);
        }
        taken[o.address / 64] |= bit;
        places->address[places->first[e]++] = (uint32_t)o.address;
    } while (odometer_next(&o));
    return SOTTO_OK;
}

static sotto_status fill_places(nn_places *places, sotto_error *err)
{
    const nn_layout *layout = &places->layout;
    const size_t n = places->n_elements;

    places->first = sotto_calloc(n + 2, sizeof *places->first);
    if (places->first == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for a layout");
    }
    SOTTO_TRY(list_places(places, NULL, err));
    for (size_t e = 0; e < n; e++) {
        places->n_missing += places->first[e + 1] == 0;
        places->first[e + 1] += places->first[e];
    }
    if (layout->n_cts > 1 && layout->n_cts > places->first[n]) {
        return sotto_fail(err, SOTTO_ERR_SHAPE,
                          "layout: %" PRIu32 " ciphertexts for %" PRIu32
                          " places",
                          layout->n_cts, places->first[n]);
    }
    places->one_each = places->n_missing == 0 && places->first[n] == n;
    const size_t words =
        (((size_t)layout->n_cts << layout->log2_slots) + 63) / 64;
    uint64_t *taken = sotto_calloc(words, sizeof *taken);
    places->address = sotto_calloc(places->first[n], sizeof *places->address);
    sotto_status status =
        taken == NULL || places->address == NULL
            ? sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for a layout")
            : list_places(places, taken, err);
    sotto_free(taken);
    /* Filing moved every start to the next one. */
    memmove(places->first + 1, places->first, n * sizeof *places->first);
    places->first[0] = 0;
    return status;
}

sotto_status nn_places_new(nn_places **places, const nn_layout *layout,
                           sotto_error *err)
{
    *places = NULL;
    SOTTO_TRY(check_sizes(layout, err));
    nn_places *made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for a layout");
    }
    made->layout = *layout;
    made->n_elements = nn_shape_size(&layout->shape);
    const sotto_status status = fill_places(made, err);
    if (status != SOTTO_OK) {
        nn_places_free(made);
        return status;
    }
    *places = made;
    return SOTTO_OK;
}

void nn_places_free(nn_places *places)
{
    if (places != NULL) {
        sotto_free(places->first);
        sotto_free(places->address);
        sotto_free(places);
    }
}

void nn_places_pack(const nn_places *places, double *slots,
                    const double *values)
{
    const nn_layout *layout = &places->layout;
    const size_t n_slots = nn_layout_slots(layout);

    memset(slots, 0, layout->n_cts * n_slots * sizeof *slots);
    for (size_t e = 0; e < places->n_elements; e++) {
        for (size_t k = places->first[e]; k < places->first[e + 1]; k++) {
            const size_t ct = places->address[k] & ~(n_slots - 1);
            const size_t slot = places->address[k] & (n_slots - 1);
            for (size_t j = slot; j < n_slots; j += layout->period) {
                slots[ct + j] = values[e];
            }
        }
    }
}

void nn_places_unpack(const nn_places *places, double *values,
                      const double *slots)
{
    for (size_t e = 0; e < places->n_elements; e++) {
        values[e] = places->first[e] < places->first[e + 1]
                        ? slots[places->address[places->first[e]]]
                        : 0.0;
    }
}
