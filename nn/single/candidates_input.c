/* SPDX-License-Identifier: MIT
 * Layouts of the input: the client can send the picture in any order and more
 * than once, at no cost but the upload of more ciphertexts.
 *
 *   raw        row after row, repeated while there is room
 *   copies     one copy for each output channel of the first map, at the
 *              distance of its planes: one set of rotations serves all channels
 *   phases     a map of stride 2 reads even and odd rows and columns apart, as
 *              four small pictures; each in a window of its own, which folding
 *              adds up, or in a ciphertext of its own
 *   rows       one copy for each row of the kernel, moved by that row
 *   im2col     one copy for each tap of the kernel: no rotations but folds
 */
#include "nn/single/candidates_internal.h"

#define MAX_INPUT_CTS 64

typedef struct input {
    nn_candidates *out;
    const nn_shape *shape, *target;
    const nn_slope *slope;
    int log2_slots;
    uint64_t slots;
} input;

/* Parts of the input: `copies` of a plane of `extent` slots every `step`, and
 * `groups` of such parts (phases, taps, channels) by the digits of `outer`,
 * whose slots are in units of the distance between groups. */
typedef struct parts {
    nn_layout plane; /* digits within one plane, and origin */
    uint64_t extent;
    uint64_t groups;
    int n_outer;
    nn_layout_digit outer[4];
} parts;

/* All parts with groups `distance` apart and copies inside each group, or
 * outside of all groups when they are closer than the copies. */
static void add_parts(const input *in, const parts *p, uint64_t copies,
                      uint64_t step, uint64_t distance)
{
    nn_layout layout = p->plane;
    const uint64_t span =
        (p->groups - 1) * distance + (copies - 1) * step + p->extent;
    bool ok = nn_layout_add_digit(&layout, copies, step, -1, 0);

    for (int k = 0; k < p->n_outer; k++) {
        ok = ok && nn_layout_add_digit(&layout, p->outer[k].count,
                                       p->outer[k].slots * distance,
                                       p->outer[k].dim, p->outer[k].step);
    }
    const uint64_t n_cts = (span + in->slots - 1) / in->slots;
    if (!ok || n_cts > MAX_INPUT_CTS) {
        return;
    }
    layout.n_cts = (uint32_t)n_cts;
    layout.period = (uint32_t)in->slots;
    nn_candidates_add(in->out, &layout, 1);
    const uint64_t inner = n_cts == 1 ? span
                           : distance == in->slots
                               ? (copies - 1) * step + p->extent
                               : in->slots;
    if (nn_pow2_from(inner) < in->slots) {
        layout.period = nn_pow2_from(inner);
        nn_candidates_add(in->out, &layout, 1);
    }
}

/* One arrangement of planes, in all the ways to copy and to spread them. */
static void add_arrangement(const input *in, const parts *p)
{
    const uint64_t channels = in->target->rank == 3 ? in->target->dim[0] : 1;

    for (uint64_t copies = 1;; copies = channels) {
        const uint64_t both = copies * p->extent;
        add_parts(in, p, copies, p->extent, both);
        add_parts(in, p, copies, p->extent, nn_pow2_from(both));
        if (p->groups > 1) {
            add_parts(in, p, copies, p->extent, in->slots);
            add_parts(in, p, copies, p->extent * p->groups, p->extent);
        }
        if (copies == channels) {
            return;
        }
    }
}

/* Adds an outer digit that counts groups. */
static void add_group(parts *p, uint64_t count, int dim, uint64_t step)
{
    p->outer[p->n_outer++] = (nn_layout_digit){.count = (uint32_t)count,
                                               .slots = (uint32_t)p->groups,
                                               .dim = dim,
                                               .step = (uint32_t)step};
    p->groups *= count;
}

static parts empty_parts(const input *in)
{
    return (parts){.plane = {.shape = *in->shape, .log2_slots = in->log2_slots},
                   .groups = 1};
}

/* Channels as they are, rows `row` slots long, every phase a plane. */
static void add_phases(const input *in, uint64_t down, uint64_t across,
                       bool wide)
{
    const uint64_t height = (in->shape->dim[1] + down - 1) / down;
    const uint64_t width = (in->shape->dim[2] + across - 1) / across;
    const uint64_t row = wide ? nn_pow2_from(width) : width;
    parts p = empty_parts(in);

    p.extent = height * row;
    if (nn_layout_add_digit(&p.plane, width, 1, 2, across) &&
        nn_layout_add_digit(&p.plane, height, row, 1, down)) {
        add_group(&p, across, 2, 1);
        add_group(&p, down, 1, 1);
        add_group(&p, in->shape->dim[0], 0, 1);
        add_arrangement(in, &p);
    }
}

/* Places of the target in a plane; each tap of the kernel (its rows only, or
 * all of it) a group. */
static void add_taps(const input *in, bool rows_only)
{
    const nn_slope *s = in->slope;
    const uint64_t height = in->target->dim[1];
    const uint64_t width = rows_only ? in->shape->dim[2] : in->target->dim[2];
    parts p = empty_parts(in);

    p.extent = height * width;
    p.plane.origin[1] = (int32_t)s->origin[0];
    p.plane.origin[2] = rows_only ? 0 : (int32_t)s->origin[1];
    if (!nn_layout_add_digit(&p.plane, width, 1, 2,
                             rows_only ? 1 : (uint64_t)s->stride[1]) ||
        !nn_layout_add_digit(&p.plane, height, width, 1,
                             (uint64_t)s->stride[0])) {
        return;
    }
    add_group(&p, rows_only ? 1 : (uint64_t)s->extent[1], 2, 1);
    add_group(&p, (uint64_t)s->extent[0], 1, 1);
    add_group(&p, in->shape->dim[0], 0, 1);
    add_arrangement(in, &p);
}

/* Any shape, element after element. */
static void add_plain(const input *in)
{
    const nn_shape *shape = in->shape;
    parts p = empty_parts(in);

    p.extent = 1;
    for (int d = shape->rank - 1; d >= 0; d--) {
        if (!nn_layout_add_digit(&p.plane, shape->dim[d], p.extent, d, 1)) {
            return;
        }
        p.extent *= shape->dim[d];
    }
    add_parts(in, &p, 1, p.extent, p.extent);
}

void nn_candidates_input(nn_candidates *out, const nn_shape *shape,
                         int log2_slots, const nn_slope *slope,
                         const nn_shape *target)
{
    const input in = {.out = out,
                      .shape = shape,
                      .target = target,
                      .slope = slope,
                      .log2_slots = log2_slots,
                      .slots = UINT64_C(1) << log2_slots};

    out->n = 0;
    add_plain(&in);
    if (shape->rank != 3) {
        return;
    }
    add_phases(&in, 1, 1, false);
    add_phases(&in, 1, 1, true);
    if (!slope->known || slope->stride[0] <= 0 || slope->stride[1] <= 0) {
        return;
    }
    if (slope->stride[0] > 1 || slope->stride[1] > 1) {
        add_phases(&in, (uint64_t)slope->stride[0], (uint64_t)slope->stride[1],
                   false);
        add_phases(&in, (uint64_t)slope->stride[0], (uint64_t)slope->stride[1],
                   true);
    }
    add_taps(&in, true);
    add_taps(&in, false);
}
