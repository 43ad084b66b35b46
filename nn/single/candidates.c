/* SPDX-License-Identifier: MIT
 * Layouts that are worth trying for the tensor that a map makes.
 *
 * Two families:
 *   grid       outputs stand where (a corner of) their inputs stand, so that
 *              all places of a convolution take the same rotations; with a
 *              stride there are gaps, into which channels may go
 *   compact    element after element: dense layers
 * each with every fold that leaves room for them, and with parts of the tensor
 * in windows of their own where the inputs repeat. What does not fit is sorted
 * out later (nn_places_new, nn_geometry_init).
 */
#include "nn/single/candidates_internal.h"

uint32_t nn_pow2_from(uint64_t n)
{
    uint32_t p = 1;

    while (p < n && p < (uint32_t)1 << 31) {
        p *= 2;
    }
    return p;
}

bool nn_layout_add_digit(nn_layout *layout, uint64_t count, uint64_t slots,
                         int dim, uint64_t step)
{
    if (count == 1) {
        return true;
    }
    if (count == 0 || layout->n_digits == NN_LAYOUT_MAX_DIGITS ||
        count > NN_LAYOUT_MAX_ADDRESSES || slots > NN_LAYOUT_MAX_ADDRESSES ||
        step > NN_LAYOUT_MAX_ADDRESSES) {
        return false;
    }
    layout->digit[layout->n_digits++] =
        (nn_layout_digit){.count = (uint32_t)count,
                          .slots = (uint32_t)slots,
                          .dim = dim,
                          .step = (uint32_t)step};
    return true;
}

void nn_candidates_add(nn_candidates *out, const nn_layout *layout,
                       uint32_t fold)
{
    if (out->n == NN_SINGLE_MAX_CANDIDATES || layout->n_cts == 0 ||
        layout->n_cts > NN_LAYOUT_MAX_ADDRESSES >> layout->log2_slots) {
        return;
    }
    for (size_t k = 0; k < out->n; k++) {
        if (out->fold[k] == fold && nn_layout_equal(&out->layout[k], layout)) {
            return;
        }
    }
    out->layout[out->n] = *layout;
    out->fold[out->n++] = fold;
}

/* ---- Slopes -------------------------------------------------------------- */

/* Rows and columns of one source that one output reads. */
typedef struct box {
    bool any;
    int64_t low[2], high[2];
} box;

static box box_of(const nn_row *row, uint32_t tensor, const nn_shape *shape)
{
    box b = {.low = {INT64_MAX, INT64_MAX}, .high = {-1, -1}};

    for (size_t t = 0; t < row->n_terms; t++) {
        if (row->terms[t].from.source != tensor) {
            continue;
        }
        const size_t in_plane =
            row->terms[t].from.index % (shape->dim[1] * shape->dim[2]);
        const int64_t at[2] = {(int64_t)(in_plane / shape->dim[2]),
                               (int64_t)(in_plane % shape->dim[2])};
        for (int d = 0; d < 2; d++) {
            b.low[d] = at[d] < b.low[d] ? at[d] : b.low[d];
            b.high[d] = at[d] > b.high[d] ? at[d] : b.high[d];
        }
        b.any = true;
    }
    return b;
}

/* What is read along one direction, from the boxes of two outputs, the second
 * one being the last: its lower end is not cut by a border. */
static void slope_between(nn_slope *slope, int d, const box *a, const box *b,
                          int64_t at_a, int64_t at_b, int64_t size)
{
    const int64_t gap = at_b - at_a;
    const int64_t low = b->low[d] - a->low[d], high = b->high[d] - a->high[d];
    const int64_t extent_a = a->high[d] - a->low[d] + 1;
    const int64_t extent_b = b->high[d] - b->low[d] + 1;

    slope->stride[d] = gap == 0 ? size : (low > high ? low : high) / gap;
    slope->origin[d] = b->low[d] - slope->stride[d] * at_b;
    slope->extent[d] = extent_a > extent_b ? extent_a : extent_b;
}

/* The slope over one source as seen from one channel of the target. */
static void slope_of_channel(nn_slope *slope, nn_cursor *cursor,
                             const nn_shape *target, size_t channel,
                             uint32_t tensor, const nn_shape *source)
{
    const size_t height = target->dim[1], width = target->dim[2];
    const size_t last[2] = {height - 1, width - 1};

    for (int d = 0; d < 2; d++) {
        const size_t from = last[d] > last[d] / 2 + 1 ? last[d] / 2 : 0;
        size_t at[2] = {last[0] / 2, last[1] / 2};
        box b[2];
        for (int end = 0; end < 2; end++) {
            at[d] = end == 0 ? from : last[d];
            const nn_row row = nn_cursor_row(
                cursor, (channel * height + at[0]) * width + at[1]);
            b[end] = box_of(&row, tensor, source);
        }
        if (!b[0].any || !b[1].any) {
            return;
        }
        slope_between(slope, d, &b[0], &b[1], (int64_t)from, (int64_t)last[d],
                      (int64_t)source->dim[d + 1]);
    }
    slope->known = true;
}

void nn_slopes_read(nn_slope *slope, const nn_affine *affine, nn_cursor *cursor,
                    const nn_shape *target, const nn_shape *sources)
{
    size_t n;
    const uint32_t *tensor = nn_affine_sources(affine, &n);

    for (size_t k = 0; k < n; k++) {
        slope[k] = (nn_slope){0};
        if (target->rank != 3 || sources[k].rank != 3) {
            continue;
        }
        for (size_t c = 0; c < 3 && !slope[k].known; c++) {
            slope_of_channel(&slope[k], cursor, target,
                             c * (target->dim[0] - 1) / 2, tensor[k],
                             &sources[k]);
        }
    }
}

/* ---- Outputs of a map ---------------------------------------------------- */

/* What all candidates of one map share. */
typedef struct setting {
    nn_candidates *out;
    const nn_shape *shape;
    int log2_slots;
    uint32_t slots, window;
} setting;

static nn_layout empty_layout(const setting *s)
{
    return (nn_layout){.shape = *s->shape,
                       .log2_slots = s->log2_slots,
                       .n_cts = 1,
                       .period = s->slots};
}

/* Every fold for a layout that takes slots 0 … span-1 of each ciphertext. */
static void add_folds(const setting *s, nn_layout layout, uint64_t span)
{
    if (span > s->window) {
        layout.period = span > s->slots ? s->slots : nn_pow2_from(span);
        nn_candidates_add(s->out, &layout, s->window);
        return;
    }
    for (uint32_t f = nn_pow2_from(span); f <= s->window; f *= 2) {
        layout.period = f;
        nn_candidates_add(s->out, &layout, f);
    }
}

/* Blocks of `extent` slots, one every `step`, moving along dim by `stride` each
 * (a channel, or several that share one grid). */
typedef struct blocks {
    uint64_t count, extent, step;
    int dim;
    uint64_t stride;
} blocks;

/* All blocks side by side, over several ciphertexts where they must. */
static void add_side_by_side(const setting *s, nn_layout layout,
                             const blocks *b)
{
    uint64_t span = (b->count - 1) * b->step + b->extent;

    if (span > s->slots && b->extent <= s->slots && b->step > 0) {
        const uint64_t together = (s->slots - b->extent) / b->step + 1;
        const uint64_t n_cts = (b->count + together - 1) / together;
        span = (together - 1) * b->step + b->extent;
        if (!nn_layout_add_digit(&layout, together, b->step, b->dim,
                                 b->stride) ||
            !nn_layout_add_digit(&layout, n_cts, s->slots, b->dim,
                                 together * b->stride)) {
            return;
        }
        layout.n_cts = (uint32_t)n_cts;
    } else {
        layout.n_cts = (uint32_t)((span + s->slots - 1) / s->slots);
        if (!nn_layout_add_digit(&layout, b->count, b->step, b->dim,
                                 b->stride)) {
            return;
        }
    }
    add_folds(s, layout, span);
}

/* A part of the blocks in each window of the inputs. */
static void add_in_windows(const setting *s, nn_layout layout, const blocks *b)
{
    for (uint64_t part = (b->count + 1) / 2; s->window < s->slots;
         part = (part + 1) / 2) {
        const uint64_t fold = nn_pow2_from((part - 1) * b->step + b->extent);
        const uint64_t n_windows = (b->count + part - 1) / part;
        if (n_windows > s->slots / s->window) {
            return;
        }
        nn_layout made = layout;
        made.period = nn_pow2_from(n_windows * s->window);
        made.rest = fold < s->window ? NN_REST_RUBBISH : NN_REST_ZERO;
        if (fold <= s->window &&
            nn_layout_add_digit(&made, part, b->step, b->dim, b->stride) &&
            nn_layout_add_digit(&made, n_windows, s->window, b->dim,
                                part * b->stride)) {
            nn_candidates_add(s->out, &made, (uint32_t)fold);
        }
        if (part == 1) {
            return;
        }
    }
}

static void add_blocks(const setting *s, const nn_layout *layout,
                       const blocks *b)
{
    add_side_by_side(s, *layout, b);
    add_in_windows(s, *layout, b);
}

static void add_compact(const setting *s)
{
    const nn_shape *shape = s->shape;
    nn_layout layout = empty_layout(s);
    uint64_t inner = 1;

    for (int d = shape->rank - 1; d > 0; d--) {
        if (!nn_layout_add_digit(&layout, shape->dim[d], inner, d, 1)) {
            return;
        }
        inner *= shape->dim[d];
    }
    add_blocks(s, &layout,
               &(blocks){.count = shape->dim[0],
                         .extent = inner,
                         .step = inner,
                         .dim = 0,
                         .stride = 1});
}

/* Distances of the grid on which outputs stand. */
typedef struct grid {
    uint64_t step[2]; /* slots from row to row, from column to column */
} grid;

/* Where the outputs of a sloped map stand if they stand on their inputs: slots
 * from one to the next. Returns false when these are not evenly spaced. */
static bool grid_of(grid *g, const nn_slope *slope, const nn_places *source)
{
    const nn_shape *shape = &source->layout.shape;

    for (int d = 0; d < 2; d++) {
        const int64_t stride = slope->stride[d];
        const size_t unit = d == 0 ? shape->dim[2] : 1;
        const size_t n = shape->dim[d + 1];
        if (stride <= 0) {
            return false;
        }
        const uint32_t base = source->address[source->first[0]];
        g->step[d] = 0;
        for (size_t k = (size_t)stride; k < n; k += (size_t)stride) {
            const uint32_t at = source->address[source->first[k * unit]];
            const uint64_t j = k / (size_t)stride;
            g->step[d] = j == 1 ? at - base : g->step[d];
            if (at < base || at - base != j * g->step[d]) {
                return false;
            }
        }
    }
    return true;
}

/* Distances from channel to channel that are tried. */
static size_t plane_steps(uint64_t *step, size_t cap, uint64_t extent,
                          const nn_places *source)
{
    size_t n = 0;

    step[n++] = extent;
    step[n++] = nn_pow2_from(extent);
    for (int k = 0; k < source->layout.n_digits && n < cap; k++) {
        const nn_layout_digit *digit = &source->layout.digit[k];
        if (digit->dim <= 0 && digit->slots >= extent &&
            digit->slots < nn_layout_slots(&source->layout)) {
            step[n++] = digit->slots;
        }
    }
    return n;
}

/* Channels in planes; `across` and `down` of them share the gaps of one grid,
 * whose sub-rows are `row` slots apart. */
static void add_grid(const setting *s, const grid *g, const nn_places *source,
                     uint64_t across, uint64_t down, uint64_t row)
{
    const nn_shape *shape = s->shape;
    const uint64_t shared = across * down;
    nn_layout layout = empty_layout(s);
    uint64_t step[8];

    if (!nn_layout_add_digit(&layout, shape->dim[2], g->step[1], 2, 1) ||
        !nn_layout_add_digit(&layout, shape->dim[1], g->step[0], 1, 1) ||
        !nn_layout_add_digit(&layout, across, 1, 0, 1) ||
        !nn_layout_add_digit(&layout, down, row, 0, across)) {
        return;
    }
    const uint64_t extent = (shape->dim[2] - 1) * g->step[1] +
                            (shape->dim[1] - 1) * g->step[0] + across +
                            (down - 1) * row;
    const size_t n = plane_steps(step, 8, extent, source);
    for (size_t k = 0; k < n; k++) {
        add_blocks(s, &layout,
                   &(blocks){.count = (shape->dim[0] + shared - 1) / shared,
                             .extent = extent,
                             .step = step[k],
                             .dim = 0,
                             .stride = shared});
    }
}

static void add_grids(const setting *s, const nn_slope *slope,
                      const nn_places *source)
{
    const nn_shape *shape = s->shape;
    grid g;

    if (!slope->known || !grid_of(&g, slope, source)) {
        return;
    }
    if ((shape->dim[2] > 1 && g.step[1] == 0) ||
        (shape->dim[1] > 1 && g.step[0] == 0)) {
        return;
    }
    add_grid(s, &g, source, 1, 1, 0);
    const uint64_t channels = shape->dim[0];
    const uint64_t gap = shape->dim[2] > 1 ? g.step[1] : 1;
    const uint64_t across = gap < channels ? gap : channels;
    if (across > 1) {
        add_grid(s, &g, source, across, 1, 0);
    }
    /* Whole rows that fit between two rows of the grid. */
    const uint64_t width = (shape->dim[2] - 1) * g.step[1] + gap;
    const uint64_t rows = shape->dim[1] > 1 ? g.step[0] / width : 1;
    const uint64_t most = (channels + across - 1) / across;
    const uint64_t down = rows < most ? rows : most;
    if (down > 1) {
        add_grid(s, &g, source, across, down, g.step[0] / rows);
    }
}

void nn_candidates_map(nn_candidates *out, const nn_shape *shape,
                       const nn_slope *slope, const nn_places *const *source,
                       size_t n_sources, int log2_slots)
{
    setting s = {.out = out,
                 .shape = shape,
                 .log2_slots = log2_slots,
                 .slots = (uint32_t)1 << log2_slots,
                 .window = n_sources == 0 ? (uint32_t)1 << log2_slots : 1};

    out->n = 0;
    for (size_t k = 0; k < n_sources; k++) {
        const uint32_t period = source[k]->layout.period;
        s.window = period > s.window ? period : s.window;
    }
    for (size_t k = 0; k < n_sources; k++) {
        if (shape->rank == 3 && source[k]->layout.shape.rank == 3) {
            add_grids(&s, &slope[k], source[k]);
        }
    }
    add_compact(&s);
}
