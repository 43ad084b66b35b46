/* SPDX-License-Identifier: MIT
 * Units of a linear map that transform: digits, and divisions by products of
 * moduli, limb by limb (SPEC §5.1, §5.3).
 */
#include <string.h>

#include "ckks/lintrans_run_internal.h"

/* y = NTT^-1 of x in the i-th source modulus of a conversion, scaled for it. */
static void to_coefficients(const ckks_lintrans_run *r, uint64_t *y,
                            const uint64_t *x, const rns_converter *converter,
                            int i)
{
    rns_scale_limb(converter, r->ring, y, x, i);
}

/* unit = lifted · limbs + place in the order of digits */
void ckks_lintrans_unit_scale(ckks_lintrans_run *r, size_t unit, uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_set *level = rlwe_level_set(stage->context, stage->from);
    const size_t lifted = unit / (size_t)level->count;
    const int place = (int)(unit % (size_t)level->count);
    int d = stage->n_digits - 1;
    while (stage->digit_first[d] > place) {
        d--;
    }
    const rns_converter *up = stage->mid->up[d];
    const int i = place - stage->digit_first[d];
    (void)room;
    to_coefficients(r, r->scaled + unit * r->ring->stride,
                    lifted_limb(r, lifted, rns_set_find(level, up->from.id[i])),
                    up, i);
}

/* unit = (lifted · all + m) · digits + d */
void ckks_lintrans_unit_lift(ckks_lintrans_run *r, size_t unit, uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const int d = (int)(unit % (size_t)stage->n_digits);
    const size_t rest = unit / (size_t)stage->n_digits;
    const int m = (int)(rest % (size_t)stage->all.count);
    const size_t lifted = rest / (size_t)stage->all.count;
    (void)room;
    if (stage->own[m] == d) {
        return;
    }
    const rns_converter *up = stage->mid->up[d];
    const rns_limb *limb = modulus_of(r, &stage->all, m);
    uint64_t *out = r->digits + unit * r->ring->stride;
    rns_convert_limb(up, r->ring, out,
                     limb_of(r, r->scaled, lifted, level_count(stage),
                             stage->digit_first[d]),
                     rns_set_find(&up->to, stage->all.id[m]));
    limb->kernels.forward(out, limb->table);
}

/* Modulus t of a division: out = (x - lift(by))·M^-1; by: coefficients that
 * rns_convert_limb takes, in consecutive limbs. */
static void divide_limb(const ckks_lintrans_run *r, const rns_divider *divider,
                        uint64_t *out, const uint64_t *x, const uint64_t *by,
                        int t, uint64_t *room)
{
    const rns_limb *limb = modulus_of(r, &divider->converter->to, t);
    rns_convert_limb(divider->converter, r->ring, room, by, t);
    limb->kernels.forward(room, limb->table);
    limb->kernels.sub_mul_scalar(out, x, room, divider->inverse[t],
                                 r->ring->ring.n, &limb->table->mod);
}

/* unit = half of a rotated input × special modulus: to coefficients */
void ckks_lintrans_unit_rotate_special(ckks_lintrans_run *r, size_t unit,
                                       uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_converter *down = stage->mid->down->converter;
    const size_t half = unit / (size_t)down->from.count;
    const int i = (int)(unit % (size_t)down->from.count);
    (void)room;
    to_coefficients(r, r->special + unit * r->ring->stride,
                    limb_of(r, r->rotated, half, stage->all.count,
                            rns_set_find(&stage->all, down->from.id[i])),
                    down, i);
}

/* unit = half of a rotated input × limb: ModDown in place */
void ckks_lintrans_unit_rotate_divide(ckks_lintrans_run *r, size_t unit,
                                      uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_converter *down = stage->mid->down->converter;
    const size_t half = unit / (size_t)down->to.count;
    const int t = (int)(unit % (size_t)down->to.count);
    uint64_t *x = limb_of(r, r->rotated, half, stage->all.count,
                          rns_set_find(&stage->all, down->to.id[t]));
    divide_limb(r, stage->mid->down, x, x,
                limb_of(r, r->special, half, down->from.count, 0), t, room);
}

/* Double hoisting. unit = rotated sum × special modulus */
void ckks_lintrans_unit_giant_special(ckks_lintrans_run *r, size_t unit,
                                      uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_converter *down = stage->mid->down->converter;
    const size_t rotated = unit / (size_t)down->from.count;
    const int i = (int)(unit % (size_t)down->from.count);
    (void)room;
    to_coefficients(r, r->special + unit * r->ring->stride,
                    limb_of(r, r->sums, 2 * stage->rotated[rotated] + 1,
                            stage->sum.count,
                            rns_set_find(&stage->sum, down->from.id[i])),
                    down, i);
}

/* unit = rotated sum × limb: its second half at the level */
void ckks_lintrans_unit_giant_second(ckks_lintrans_run *r, size_t unit,
                                     uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_set *level = rlwe_level_set(stage->context, stage->from);
    const size_t rotated = unit / (size_t)level->count;
    const int t = (int)(unit % (size_t)level->count);
    const uint64_t *x =
        limb_of(r, r->sums, 2 * stage->rotated[rotated] + 1, stage->sum.count,
                rns_set_find(&stage->sum, level->id[t]));
    uint64_t *out = r->second + unit * r->ring->stride;
    if (stage->hoisting == CKKS_HOIST_DOUBLE) {
        divide_limb(r, stage->mid->down, out, x,
                    limb_of(r, r->special, rotated, special_count(stage), 0), t,
                    room);
    } else {
        memcpy(out, x, r->ring->ring.n * sizeof *out);
    }
}

/* unit = half of an output × modulus that is divided away */
void ckks_lintrans_unit_removed(ckks_lintrans_run *r, size_t unit,
                                uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_converter *by = stage->divider->converter;
    const size_t half = unit / (size_t)by->from.count;
    const int i = (int)(unit % (size_t)by->from.count);
    (void)room;
    to_coefficients(r, r->removed + unit * r->ring->stride,
                    limb_of(r, r->acc, half, stage->acc.count,
                            rns_set_find(&stage->acc, by->from.id[i])),
                    by, i);
}

/* unit = half of an output × modulus that stays */
void ckks_lintrans_unit_finish(ckks_lintrans_run *r, size_t unit,
                               uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_set *keep = rlwe_level_set(stage->context, stage->to);
    const size_t half = unit / (size_t)keep->count;
    const int t = (int)(unit % (size_t)keep->count);
    const rns_limb *limb = modulus_of(r, keep, t);
    const size_t out = half / 2;
    const int k = (int)(half % 2);
    const size_t n = r->ring->ring.n;
    uint64_t *to = poly_limb(
        r->ring, rlwe_ct_component(&r->out[out]->ct, stage->context, k), t);
    const uint64_t *x = limb_of(r, r->acc, half, stage->acc.count,
                                rns_set_find(&stage->acc, keep->id[t]));
    if (stage->divider != NULL) {
        divide_limb(r, stage->divider, to, x,
                    limb_of(r, r->removed, half,
                            stage->divider->converter->from.count, 0),
                    t, room);
    } else {
        memcpy(to, x, n * sizeof *to);
    }
    if (stage->bias != NULL && k == 0) {
        limb->kernels.add(to, to, limb_of(r, stage->bias, out, keep->count, t),
                          n, &limb->table->mod);
    }
}
