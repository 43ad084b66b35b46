/* SPDX-License-Identifier: MIT
 * Rows of affine maps in groups that share their inputs.
 *
 * Rows are sorted by where the inputs in their largest source begin and end,
 * which brings all maps at one position of a convolution together whatever
 * reshapes and transpositions lie between; then neighbours are joined as long
 * as the dense block of the group stays full enough.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/affine_internal.h"

#define DEFAULT_MAX_BLOCK ((size_t)1 << 22)
#define DEFAULT_MIN_FILL_PERCENT 85
/* Rows with one window (equal extent in their largest source) stay together
 * down to this: a residual's own elements make the block of a small window
 * sparse, but splitting the window would gather its inputs twice. */
#define WINDOW_MIN_FILL_PERCENT 50

/* What rows are sorted by; row makes the order total. */
typedef struct row_key {
    uint32_t source, first, n_terms, last, row;
} row_key;

static int compare_keys(const void *a, const void *b)
{
    const row_key *x = a, *y = b;

    if (x->source != y->source) {
        return x->source < y->source ? -1 : 1;
    }
    if (x->first != y->first) {
        return x->first < y->first ? -1 : 1;
    }
    if (x->last != y->last) {
        return x->last < y->last ? -1 : 1;
    }
    if (x->n_terms != y->n_terms) {
        return x->n_terms < y->n_terms ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The key of a row: extent of its largest run of terms of one source. */
static row_key key_of(nn_row row, uint32_t r)
{
    row_key best = {.row = r};
    size_t end;

    for (size_t at = 0; at < row.n_terms; at = end) {
        const uint32_t source = row.terms[at].from.source;
        for (end = at; end < row.n_terms; end++) {
            if (row.terms[end].from.source != source) {
                break;
            }
        }
        if (end - at > best.n_terms) {
            best = (row_key){.source = source,
                             .first = row.terms[at].from.index,
                             .n_terms = (uint32_t)(end - at),
                             .last = row.terms[end - 1].from.index,
                             .row = r};
        }
    }
    return best;
}

void nn_groups_free(nn_groups *groups)
{
    if (groups == NULL) {
        return;
    }
    sotto_free(groups->rows);
    sotto_free(groups->first);
    sotto_free(groups);
}

/* The group being filled. */
typedef struct filling {
    size_t n_rows, n_inputs;
    uint64_t n_terms;
    row_key last; /* of the row that came last */
} filling;

/* Whether two rows have the same window. */
static bool same_window(const row_key *a, const row_key *b)
{
    return a->source == b->source && a->first == b->first &&
           a->last == b->last && a->n_terms == b->n_terms;
}

/* Ends the group that is being filled, before row number at. */
static void close_group(nn_groups *groups, size_t *first, filling *now,
                        size_t at)
{
    const size_t block = now->n_rows * now->n_inputs;

    first[groups->n_groups++] = at - now->n_rows;
    first[groups->n_groups] = at;
    groups->terms += now->n_terms;
    groups->work += block;
    if (now->n_rows > groups->max_rows) {
        groups->max_rows = now->n_rows;
    }
    if (now->n_inputs > groups->max_inputs) {
        groups->max_inputs = now->n_inputs;
    }
    if (block > groups->max_block) {
        groups->max_block = block;
    }
    *now = (filling){0};
}

/* Whether a row of n_terms, n_new of them on new inputs, may join: of the
 * multiplications that it adds to the block, enough must be its own terms. */
static bool may_join(const nn_group_options *options, const filling *now,
                     const row_key *key, size_t n_terms, size_t n_new)
{
    const size_t rows = now->n_rows + 1, inputs = now->n_inputs + n_new;
    const unsigned min_fill = same_window(&now->last, key)
                                  ? WINDOW_MIN_FILL_PERCENT
                                  : options->min_fill_percent;

    if (now->n_rows == 0) {
        return true;
    }
    if (rows > options->max_rows || inputs > options->max_block / rows) {
        return false;
    }
    const uint64_t added = rows * inputs - now->n_rows * now->n_inputs;
    return (uint64_t)n_terms * 100 >= min_fill * added;
}

static int compare_rows(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Cuts the sorted rows into groups. stamp: one number per source element, the
 * group (from 1) that has it as an input. */
static void cut(nn_groups *groups, nn_cursor *cursor, uint32_t *rows,
                size_t *first, const nn_group_options *options, uint32_t *stamp,
                const size_t *offset)
{
    filling now = {0};

    for (size_t i = 0; i < groups->n_rows; i++) {
        const nn_row row = nn_cursor_row(cursor, rows[i]);
        const row_key key = key_of(row, rows[i]);
        uint32_t number = (uint32_t)groups->n_groups + 1;
        size_t n_new = 0;

        for (size_t t = 0; t < row.n_terms; t++) {
            const nn_element from = row.terms[t].from;
            n_new += stamp[offset[from.source] + from.index] != number;
        }
        if (!may_join(options, &now, &key, row.n_terms, n_new)) {
            close_group(groups, first, &now, i);
            number++;
            n_new = row.n_terms;
        }
        for (size_t t = 0; t < row.n_terms; t++) {
            const nn_element from = row.terms[t].from;
            stamp[offset[from.source] + from.index] = number;
        }
        now.last = key;
        now.n_rows++;
        now.n_inputs += n_new;
        now.n_terms += row.n_terms;
    }
    close_group(groups, first, &now, groups->n_rows);
    for (size_t g = 0; g < groups->n_groups; g++) {
        qsort(rows + first[g], first[g + 1] - first[g], sizeof *rows,
              compare_rows);
    }
}

/* Sorts all rows by key into rows. */
static sotto_status sort_rows(uint32_t *rows, nn_cursor *cursor, size_t n,
                              sotto_error *err)
{
    row_key *keys = sotto_calloc(n, sizeof *keys);

    if (keys == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %zu rows", n);
    }
    for (size_t r = 0; r < n; r++) {
        keys[r] = key_of(nn_cursor_row(cursor, r), (uint32_t)r);
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t r = 0; r < n; r++) {
        rows[r] = keys[r].row;
    }
    sotto_free(keys);
    return SOTTO_OK;
}

/* Fills groups, whose rows and first are the arrays given. */
static sotto_status fill_groups(nn_groups *groups, nn_cursor *cursor,
                                uint32_t *rows, size_t *first,
                                const nn_group_options *options,
                                sotto_error *err)
{
    const nn_affine *affine = cursor->affine;
    size_t n_elements = 0;
    const size_t n_tensors =
        affine->n_sources == 0
            ? 1
            : (size_t)affine->sources[affine->n_sources - 1] + 1;

    SOTTO_TRY(sort_rows(rows, cursor, groups->n_rows, err));
    size_t *offset = sotto_calloc(n_tensors, sizeof *offset);
    if (offset == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for groups");
    }
    for (size_t k = 0; k < affine->n_sources; k++) {
        offset[affine->sources[k]] = n_elements;
        n_elements += affine->source_size[k];
    }
    uint32_t *stamp = sotto_calloc(n_elements, sizeof *stamp);
    if (stamp != NULL) {
        cut(groups, cursor, rows, first, options, stamp, offset);
    }
    sotto_free(offset);
    sotto_free(stamp);
    return stamp != NULL
               ? SOTTO_OK
               : sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for groups");
}

/* options with the defaults filled in. */
static nn_group_options resolve(const nn_group_options *options)
{
    nn_group_options out = {0};

    if (options != NULL) {
        out = *options;
    }
    if (out.max_rows == 0) {
        out.max_rows = SIZE_MAX;
    }
    if (out.max_block == 0) {
        out.max_block = DEFAULT_MAX_BLOCK;
    }
    if (out.min_fill_percent == 0) {
        out.min_fill_percent = DEFAULT_MIN_FILL_PERCENT;
    }
    return out;
}

sotto_status nn_groups_new(nn_groups **groups, const nn_affine *affine,
                           const nn_group_options *options, sotto_error *err)
{
    const nn_group_options resolved = resolve(options);
    const size_t n = affine->n_rows;
    nn_groups *made = sotto_calloc(1, sizeof *made);
    uint32_t *rows = sotto_calloc(n, sizeof *rows);
    size_t *first = sotto_calloc(n + 1, sizeof *first);
    nn_cursor *cursor = NULL;
    sotto_status status = SOTTO_ERR_MEMORY;

    *groups = NULL;
    if (made == NULL || rows == NULL || first == NULL) {
        (void)sotto_fail(err, status, "no memory for %zu rows", n);
    } else {
        *made = (nn_groups){.n_rows = n, .rows = rows, .first = first};
        status = nn_cursor_new(&cursor, affine, NULL, err);
    }
    if (status == SOTTO_OK) {
        status = fill_groups(made, cursor, rows, first, &resolved, err);
    }
    nn_cursor_free(cursor);
    if (status != SOTTO_OK) {
        sotto_free(rows);
        sotto_free(first);
        sotto_free(made);
        return status;
    }
    *groups = made;
    return SOTTO_OK;
}

/* Where a source element has its column while a group is made. */
static uint32_t *column_of(nn_cursor *cursor, nn_element from)
{
    const uint32_t slot = cursor->source_slot[from.source];

    return &cursor->column[cursor->column_offset[slot] + from.index];
}

/* Marks the inputs of a group's rows in the source vectors and lists them in
 * ascending order. Rows all alike (full): the first row has them all. */
static size_t list_inputs(nn_cursor *cursor, const uint32_t *rows,
                          size_t n_rows, bool full)
{
    size_t n = 0;

    /* A row's terms come out of the vectors before they are used again, so
     * that column can serve as the mark: 1 = wanted. */
    for (size_t i = 0; i < (full ? 1 : n_rows); i++) {
        const nn_row row = nn_cursor_row(cursor, rows[i]);
        for (size_t t = 0; t < row.n_terms; t++) {
            uint32_t *mark = column_of(cursor, row.terms[t].from);
            if (*mark == 0) {
                *mark = 1;
                cursor->inputs[n++] = row.terms[t].from;
            }
        }
    }
    return n;
}

static int compare_elements(const void *a, const void *b)
{
    const nn_element *x = a, *y = b;

    if (x->source != y->source) {
        return x->source < y->source ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

nn_group nn_cursor_group(nn_cursor *cursor, size_t g)
{
    const nn_groups *groups = cursor->groups;

    SOTTO_ASSERT(groups != NULL && g < groups->n_groups);
    const uint32_t *rows = groups->rows + groups->first[g];
    const size_t n_rows = groups->first[g + 1] - groups->first[g];
    const bool full = groups->terms == groups->work;
    const size_t n = list_inputs(cursor, rows, n_rows, full);

    if (!full) {
        qsort(cursor->inputs, n, sizeof *cursor->inputs, compare_elements);
    }
    for (size_t i = 0; i < n; i++) {
        *column_of(cursor, cursor->inputs[i]) = (uint32_t)i;
    }
    memset(cursor->weights, 0, n_rows * n * sizeof *cursor->weights);
    for (size_t i = 0; i < n_rows; i++) {
        const nn_row row = nn_cursor_row(cursor, rows[i]);
        double *weights = cursor->weights + i * n;
        for (size_t t = 0; t < row.n_terms; t++) {
            weights[*column_of(cursor, row.terms[t].from)] =
                row.terms[t].weight;
        }
        cursor->biases[i] = row.bias;
    }
    for (size_t i = 0; i < n; i++) {
        *column_of(cursor, cursor->inputs[i]) = 0;
    }
    return (nn_group){.n_rows = n_rows,
                      .rows = rows,
                      .n_inputs = n,
                      .inputs = cursor->inputs,
                      .weights = cursor->weights,
                      .biases = cursor->biases};
}
