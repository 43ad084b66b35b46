/* SPDX-License-Identifier: MIT
 * Running a stage: phases of units that any thread may take.
 *
 *     scale     inverse transforms of what is decomposed     input × limb
 *     lift      digits modulo all moduli                     input × digit ×
 * modulus rotate    single hoisting: rotated inputs, divided     three phases
 *     sum       rotated inputs ⊙ diagonals                   modulus × columns
 *     divide    second halves of rotated sums, to level      sum × modulus
 *     lift      their digits
 *     collect   rotated sums of an output                    output × modulus ×
 * columns finish    the division at the end, bias                half × modulus
 *
 * A unit writes its own part of the scratch memory and reads what earlier
 * phases wrote, so that results do not depend on threads. Products go by
 * columns of all rotated inputs: these stay in the cache while keys and
 * diagonals stream by, each once.
 */
#include <string.h>

#include "ckks/lintrans_internal.h"
#include "ntt/poly.h"

/* Most terms that one inner product takes. */
#define MAX_TERMS 256
/* Diagonals that are transformed at once where they are not held. */
#define MAX_LIVE 16

/* A run: the stage, its data, and scratch memory. A limb is `stride` words. */
typedef struct run {
    const lintrans_stage *stage;
    const rns_ring *ring;
    ckks_ct *const *out;
    const ckks_ct *const *in;
    const rlwe_switch_key *const *key;
    bool giants;       /* what is decomposed: rotated sums, not inputs */
    uint64_t *scaled;  /* [lifted][limbs], digit by digit, coefficients */
    uint64_t *digits;  /* [lifted][all][digit] */
    uint64_t *rotated; /* single hoisting: [stored][2][all] */
    uint64_t *sums;    /* [group][2][sum] */
    uint64_t *special; /* […][special]: what a ModDown divides away */
    uint64_t *second;  /* [rotated group][limbs]: second halves, divided */
    uint64_t *acc;     /* [out][2][acc]; is sums where no sum is rotated */
    uint64_t *removed; /* [out][2][acc \ keep] */
    uint64_t *room;    /* [worker][room_words] */
    size_t room_words;
    size_t row; /* words from row to row of a room */
} run;

/* A phase: units 0 … n_units - 1. */
typedef void (*run_unit)(run *r, size_t unit, uint64_t *room);

/* ---- Where things lie ---------------------------------------------------- */

static int level_count(const lintrans_stage *stage)
{
    return rlwe_level_set(stage->context, stage->from)->count;
}

static int special_count(const lintrans_stage *stage)
{
    return stage->all.count - level_count(stage);
}

/* Limb i of the polynomial number p of an array with `count` limbs each. */
static uint64_t *limb_of(const run *r, uint64_t *array, size_t p, int count,
                         int i)
{
    return array + (p * (size_t)count + (size_t)i) * r->ring->stride;
}

/* Polynomials that are decomposed. */
static size_t lifted_count(const run *r)
{
    return r->giants ? r->stage->n_rotated : r->stage->n_lifted;
}

/* Limb i of the level of what is decomposed. */
static const uint64_t *lifted_limb(const run *r, size_t lifted, int i)
{
    const lintrans_stage *stage = r->stage;
    if (r->giants) {
        return limb_of(r, r->second, lifted, level_count(stage), i);
    }
    const ckks_ct *ct = r->in[stage->lifted_in[lifted]];
    return poly_limb_const(r->ring,
                           rlwe_ct_component(&ct->ct, stage->context, 1), i);
}

/* Digit d modulo the m-th of all moduli. */
static const uint64_t *digit_limb(const run *r, size_t lifted, int m, int d)
{
    const lintrans_stage *stage = r->stage;
    if (stage->own[m] == d) {
        return lifted_limb(r, lifted, stage->at[m]); /* the lift is x there */
    }
    return limb_of(r, r->digits, lifted * (size_t)stage->all.count + (size_t)m,
                   stage->n_digits, d);
}

static const rns_limb *modulus_of(const run *r, const rns_set *set, int m)
{
    return &r->ring->limb[set->id[m]];
}

/* y = NTT^-1 of x in the i-th source modulus of a conversion, scaled for it. */
static void to_coefficients(const run *r, uint64_t *y, const uint64_t *x,
                            const rns_converter *converter, int i)
{
    const rns_limb *limb = modulus_of(r, &converter->from, i);
    memcpy(y, x, r->ring->ring.n * sizeof *y);
    limb->kernels.inverse(y, limb->table, converter->scale_in[i]);
}

/* ---- Decomposition ------------------------------------------------------- */

/* unit = lifted · limbs + place in the order of digits */
static void unit_scale(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
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
static void unit_lift(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
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

/* ---- Products ------------------------------------------------------------ */

/* A block of columns of one modulus. */
typedef struct columns {
    int m; /* of all moduli */
    size_t at;
    size_t count;
} columns;

static columns columns_of(const run *r, size_t unit, const rns_set *set)
{
    const size_t n_blocks = r->ring->ring.n / r->stage->columns;
    return (columns){
        .m = rns_set_find(&r->stage->all, set->id[unit / n_blocks]),
        .at = unit % n_blocks * r->stage->columns,
        .count = r->stage->columns,
    };
}

/* (r_0, r_1) = Σ_d σ(digit d)·key in some columns. rows: one for each digit. */
static void key_product(const run *r, const columns *c, uint64_t *r_0,
                        uint64_t *r_1, size_t lifted, int rotation,
                        uint64_t *rows)
{
    const lintrans_stage *stage = r->stage;
    const rns_limb *limb = modulus_of(r, &stage->all, c->m);
    const uint32_t *map = stage->rotation[rotation].map + c->at;
    const rlwe_switch_key *key = r->key[rotation];
    const int at_key = rns_set_find(&key->set, stage->all.id[c->m]);
    const uint64_t *x[RNS_MAX_LIMBS];
    const uint64_t *b[RNS_MAX_LIMBS];
    const uint64_t *a[RNS_MAX_LIMBS];
    for (int d = 0; d < stage->n_digits; d++) {
        const int j = stage->mid->digit_number[d];
        uint64_t *row = rows + (size_t)d * r->row;
        limb->kernels.permute(row, digit_limb(r, lifted, c->m, d), map,
                              c->count);
        x[d] = row;
        b[d] = rlwe_switch_key_limb(key, stage->context, at_key, j, 0) + c->at;
        a[d] = rlwe_switch_key_limb(key, stage->context, at_key, j, 1) + c->at;
    }
    limb->kernels.inner_product(r_0, r_1, x, b, a, (size_t)stage->n_digits,
                                c->count, &limb->table->mod);
}

/* r += P·σ(x) in some columns of a modulus of the level; row: scratch. */
static void add_rotated(const run *r, const columns *c, uint64_t *sum,
                        const uint64_t *x, int rotation, bool times_p,
                        uint64_t *row)
{
    const lintrans_stage *stage = r->stage;
    const rns_limb *limb = modulus_of(r, &stage->all, c->m);
    limb->kernels.permute(row, x, stage->rotation[rotation].map + c->at,
                          c->count);
    if (times_p) {
        limb->kernels.mul_scalar_add(sum, row,
                                     stage->mid->p_residue[stage->at[c->m]],
                                     c->count, &limb->table->mod);
    } else {
        limb->kernels.add(sum, sum, row, c->count, &limb->table->mod);
    }
}

/* Component k of an input in the modulus m of the level. */
static const uint64_t *input_limb(const run *r, uint32_t in, int k, int m)
{
    return poly_limb_const(
        r->ring, rlwe_ct_component(&r->in[in]->ct, r->stage->context, k),
        r->stage->at[m]);
}

/* A rotated input modulo Q·P: (P·σ(c_0), 0) + Σ σ(digit)·key. */
static void rotate_columns(const run *r, const columns *c, uint64_t *u_0,
                           uint64_t *u_1, const lintrans_baby *baby,
                           uint64_t *rows)
{
    key_product(r, c, u_0, u_1, (size_t)baby->lifted, baby->rotation, rows);
    if (r->stage->at[c->m] >= 0) {
        add_rotated(r, c, u_0, input_limb(r, baby->in, 0, c->m), baby->rotation,
                    true, rows);
    }
}

/* Single hoisting. unit = modulus × columns: all rotated inputs. */
static void unit_rotate(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
    const int all = stage->all.count;
    const columns c = columns_of(r, unit, &stage->all);
    for (size_t i = 0; i < stage->n_babies; i++) {
        const lintrans_baby *baby = &stage->baby[i];
        if (baby->stored != LINTRANS_NONE) {
            const size_t at = 2 * (size_t)baby->stored;
            rotate_columns(r, &c, limb_of(r, r->rotated, at, all, c.m) + c.at,
                           limb_of(r, r->rotated, at + 1, all, c.m) + c.at,
                           baby, room);
        }
    }
}

/* unit = half of a rotated input × special modulus: to coefficients */
static void unit_rotate_special(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
    const rns_converter *down = stage->mid->down->converter;
    const size_t half = unit / (size_t)down->from.count;
    const int i = (int)(unit % (size_t)down->from.count);
    (void)room;
    to_coefficients(r, r->special + unit * r->ring->stride,
                    limb_of(r, r->rotated, half, stage->all.count,
                            rns_set_find(&stage->all, down->from.id[i])),
                    down, i);
}

/* Modulus t of a division: out = (x - lift(by))·M^-1; by: coefficients that
 * rns_convert_limb takes, in consecutive limbs. */
static void divide_limb(const run *r, const rns_divider *divider, uint64_t *out,
                        const uint64_t *x, const uint64_t *by, int t,
                        uint64_t *room)
{
    const rns_limb *limb = modulus_of(r, &divider->converter->to, t);
    rns_convert_limb(divider->converter, r->ring, room, by, t);
    limb->kernels.forward(room, limb->table);
    limb->kernels.sub_mul_scalar(out, x, room, divider->inverse[t],
                                 r->ring->ring.n, &limb->table->mod);
}

/* unit = half of a rotated input × limb: ModDown in place */
static void unit_rotate_divide(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
    const rns_converter *down = stage->mid->down->converter;
    const size_t half = unit / (size_t)down->to.count;
    const int t = (int)(unit % (size_t)down->to.count);
    uint64_t *x = limb_of(r, r->rotated, half, stage->all.count,
                          rns_set_find(&stage->all, down->to.id[t]));
    divide_limb(r, stage->mid->down, x, x,
                limb_of(r, r->special, half, down->from.count, 0), t, room);
}

/* Room of a unit that sums:
 *
 *     2 rows for each baby | 2 rows | digits + 1 rows | MAX_LIVE rows
 *
 * and, behind the rows, two lists of pointers. */
typedef struct sum_room {
    uint64_t *babies;
    uint64_t *extra;
    uint64_t *rows;
    uint64_t *live;
    const uint64_t **y_0; /* [n_babies]: NULL where a baby is zero */
    const uint64_t **y_1;
} sum_room;

static size_t sum_rows(const lintrans_stage *stage)
{
    const bool live = stage->plains.n > 0 && !stage->plains.resident;
    return 2 * stage->n_babies + 2 + (size_t)stage->n_digits + 1 +
           (live ? MAX_LIVE : 0);
}

static sum_room cut_room(const run *r, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
    sum_room s = {.babies = room};
    s.extra = s.babies + 2 * stage->n_babies * r->row;
    s.rows = s.extra + 2 * r->row;
    s.live = s.rows + ((size_t)stage->n_digits + 1) * r->row;
    s.y_0 = (const uint64_t **)(room + sum_rows(stage) * r->row);
    s.y_1 = s.y_0 + stage->n_babies;
    return s;
}

/* Makes the columns of a baby, or finds them. */
static void baby_columns(const run *r, const columns *c, const sum_room *s,
                         size_t i)
{
    const lintrans_stage *stage = r->stage;
    const lintrans_baby *baby = &stage->baby[i];
    uint64_t *u[2] = {s->babies + 2 * i * r->row,
                      s->babies + (2 * i + 1) * r->row};
    const uint64_t **y[2] = {&s->y_0[i], &s->y_1[i]};
    const bool is_double = stage->hoisting == CKKS_HOIST_DOUBLE;
    const rns_limb *limb = modulus_of(r, &stage->all, c->m);
    if (baby->rotation != LINTRANS_NONE && is_double) {
        rotate_columns(r, c, u[0], u[1], baby, s->rows);
    }
    for (int k = 0; k < 2; k++) {
        if (baby->rotation != LINTRANS_NONE) {
            *y[k] = is_double ? u[k]
                              : limb_of(r, r->rotated,
                                        2 * (size_t)baby->stored + (size_t)k,
                                        stage->all.count, c->m) +
                                    c->at;
        } else if (stage->at[c->m] < 0) {
            *y[k] = NULL; /* P·c modulo a divisor of P */
        } else if (is_double) {
            limb->kernels.mul_scalar(u[k],
                                     input_limb(r, baby->in, k, c->m) + c->at,
                                     stage->mid->p_residue[stage->at[c->m]],
                                     c->count, &limb->table->mod);
            *y[k] = u[k];
        } else {
            *y[k] = input_limb(r, baby->in, k, c->m) + c->at;
        }
    }
}

/* A list of factors for an inner product. */
typedef struct factors {
    size_t n;
    const uint64_t *x[MAX_TERMS];
    const uint64_t *y_0[MAX_TERMS];
    const uint64_t *y_1[MAX_TERMS];
} factors;

/* Adds the products to (r_0, r_1), or sets them; the list is empty then. */
static void flush(const run *r, const columns *c, const sum_room *s,
                  uint64_t *r_0, uint64_t *r_1, factors *f, bool *is_set)
{
    const rns_limb *limb = modulus_of(r, &r->stage->all, c->m);
    const zq_modulus *mod = &limb->table->mod;
    if (f->n == 0) {
        return;
    }
    uint64_t *to_0 = *is_set ? s->extra : r_0;
    uint64_t *to_1 = *is_set ? s->extra + r->row : r_1;
    limb->kernels.inner_product(to_0, to_1, f->x, f->y_0, f->y_1, f->n,
                                c->count, mod);
    if (*is_set) {
        limb->kernels.add(r_0, r_0, to_0, c->count, mod);
        limb->kernels.add(r_1, r_1, to_1, c->count, mod);
    }
    *is_set = true;
    f->n = 0;
}

/* Adds constants times babies. */
static void add_constants(const run *r, const columns *c, const sum_room *s,
                          uint64_t *r_0, uint64_t *r_1,
                          const lintrans_group *group)
{
    const lintrans_stage *stage = r->stage;
    const rns_limb *limb = modulus_of(r, &stage->all, c->m);
    const zq_modulus *mod = &limb->table->mod;
    const int m = rns_set_find(&stage->sum, stage->all.id[c->m]);
    const lintrans_term *term = &stage->term[group->first + group->n_plains];
    for (size_t i = 0; i < group->n_constants; i++) {
        const uint64_t w =
            stage->plains
                .constant[(size_t)term[i].plain * (size_t)stage->sum.count +
                          (size_t)m];
        const uint64_t *y[2] = {s->y_0[term[i].baby], s->y_1[term[i].baby]};
        uint64_t *const sum[2] = {r_0, r_1};
        for (int k = 0; k < 2 && y[k] != NULL; k++) {
            if (w == 1) {
                limb->kernels.add(sum[k], sum[k], y[k], c->count, mod);
            } else {
                limb->kernels.mul_scalar_add(sum[k], y[k], w, c->count, mod);
            }
        }
    }
}

/* One group in some columns. */
static void sum_group(const run *r, const columns *c, const sum_room *s,
                      size_t number, factors *f)
{
    const lintrans_stage *stage = r->stage;
    const lintrans_group *group = &stage->group[number];
    const int m = rns_set_find(&stage->sum, stage->all.id[c->m]);
    const int count = stage->sum.count;
    uint64_t *r_0 = limb_of(r, r->sums, 2 * number, count, m) + c->at;
    uint64_t *r_1 = limb_of(r, r->sums, 2 * number + 1, count, m) + c->at;
    const size_t most = stage->plains.resident ? MAX_TERMS : MAX_LIVE;
    bool is_set = false;
    f->n = 0;
    for (size_t i = 0; i < group->n_plains; i++) {
        const lintrans_term *term = &stage->term[group->first + i];
        if (s->y_0[term->baby] == NULL) {
            continue;
        }
        f->y_0[f->n] = s->y_0[term->baby];
        f->y_1[f->n] = s->y_1[term->baby];
        /* What is not held takes whole rows, from column 0. */
        f->x[f->n] = lintrans_plains_limb(stage, term->plain, m,
                                          s->live + f->n % MAX_LIVE * r->row) +
                     c->at;
        f->n++;
        if (f->n == most) {
            flush(r, c, s, r_0, r_1, f, &is_set);
        }
    }
    flush(r, c, s, r_0, r_1, f, &is_set);
    if (!is_set) {
        memset(r_0, 0, c->count * sizeof *r_0);
        memset(r_1, 0, c->count * sizeof *r_1);
    }
    add_constants(r, c, s, r_0, r_1, group);
}

/* unit = modulus of sums × columns */
static void unit_sum(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
    const columns c = columns_of(r, unit, &stage->sum);
    const sum_room s = cut_room(r, room);
    factors f;
    for (size_t i = 0; i < stage->n_babies; i++) {
        baby_columns(r, &c, &s, i);
    }
    for (size_t g = 0; g < stage->n_groups; g++) {
        sum_group(r, &c, &s, g, &f);
    }
}

/* ---- Giant steps --------------------------------------------------------- */

/* Double hoisting. unit = rotated sum × special modulus */
static void unit_giant_special(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
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
static void unit_giant_second(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
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

/* Starts an output with its sum of giant 0, times P after single hoisting. */
static void collect_first(const run *r, const columns *c, uint64_t *acc,
                          size_t group, int k)
{
    const lintrans_stage *stage = r->stage;
    const rns_limb *limb = modulus_of(r, &stage->all, c->m);
    const int m = rns_set_find(&stage->sum, stage->all.id[c->m]);
    if (m < 0) {
        memset(acc, 0, c->count * sizeof *acc);
        return;
    }
    const uint64_t *x =
        limb_of(r, r->sums, 2 * group + (size_t)k, stage->sum.count, m) + c->at;
    if (stage->hoisting == CKKS_HOIST_DOUBLE) {
        memcpy(acc, x, c->count * sizeof *acc);
    } else {
        limb->kernels.mul_scalar(acc, x, stage->mid->p_residue[stage->at[c->m]],
                                 c->count, &limb->table->mod);
    }
}

/* unit = output × modulus × columns: its rotated sums */
static void unit_collect(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
    const size_t per_output =
        (size_t)stage->all.count * (r->ring->ring.n / stage->columns);
    const size_t out = unit / per_output;
    const columns c = columns_of(r, unit % per_output, &stage->all);
    const rns_limb *limb = modulus_of(r, &stage->all, c.m);
    const zq_modulus *mod = &limb->table->mod;
    const int m = rns_set_find(&stage->sum, stage->all.id[c.m]);
    uint64_t *acc[2];
    uint64_t *extra[2] = {room, room + r->row};
    uint64_t *rows = room + 2 * r->row;
    for (int k = 0; k < 2; k++) {
        acc[k] =
            limb_of(r, r->acc, 2 * out + (size_t)k, stage->acc.count, c.m) +
            c.at;
        collect_first(r, &c, acc[k], stage->out_first[out], k);
    }
    for (size_t g = stage->out_first[out] + 1; g < stage->out_first[out + 1];
         g++) {
        const lintrans_group *group = &stage->group[g];
        key_product(r, &c, extra[0], extra[1], (size_t)group->rotated,
                    group->rotation, rows);
        limb->kernels.add(acc[0], acc[0], extra[0], c.count, mod);
        limb->kernels.add(acc[1], acc[1], extra[1], c.count, mod);
        if (m >= 0) {
            add_rotated(
                r, &c, acc[0], limb_of(r, r->sums, 2 * g, stage->sum.count, m),
                group->rotation, stage->hoisting == CKKS_HOIST_SINGLE, rows);
        }
    }
}

/* ---- The end ------------------------------------------------------------- */

/* unit = half of an output × modulus that is divided away */
static void unit_removed(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
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
static void unit_finish(run *r, size_t unit, uint64_t *room)
{
    const lintrans_stage *stage = r->stage;
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

/* ---- Phases -------------------------------------------------------------- */

typedef struct phase {
    run *r;
    run_unit unit;
} phase;

static sotto_status phase_task(void *arg, size_t task, int worker)
{
    const phase *p = arg;
    p->unit(p->r, task, p->r->room + (size_t)worker * p->r->room_words);
    return SOTTO_OK;
}

static void run_phase(run *r, sotto_pool *pool, run_unit unit, size_t n_units)
{
    phase p = {.r = r, .unit = unit};
    const sotto_status status = sotto_pool_run(pool, n_units, phase_task, &p);
    SOTTO_ASSERT(status == SOTTO_OK); /* units cannot fail */
}

static void decompose(run *r, sotto_pool *pool, bool giants)
{
    const lintrans_stage *stage = r->stage;
    r->giants = giants;
    const size_t n = lifted_count(r);
    run_phase(r, pool, unit_scale, n * (size_t)level_count(stage));
    run_phase(r, pool, unit_lift,
              n * (size_t)stage->all.count * (size_t)stage->n_digits);
}

/* Rotated inputs and sums. */
static void run_sums(run *r, sotto_pool *pool)
{
    const lintrans_stage *stage = r->stage;
    const size_t n_blocks = r->ring->ring.n / stage->columns;
    if (stage->n_lifted > 0) {
        decompose(r, pool, false);
    }
    if (stage->n_stored > 0 && stage->hoisting == CKKS_HOIST_SINGLE) {
        const size_t halves = 2 * stage->n_stored;
        run_phase(r, pool, unit_rotate, (size_t)stage->all.count * n_blocks);
        run_phase(r, pool, unit_rotate_special,
                  halves * (size_t)special_count(stage));
        run_phase(r, pool, unit_rotate_divide,
                  halves * (size_t)level_count(stage));
    }
    run_phase(r, pool, unit_sum, (size_t)stage->sum.count * n_blocks);
}

static void run_giants(run *r, sotto_pool *pool)
{
    const lintrans_stage *stage = r->stage;
    const size_t n_blocks = r->ring->ring.n / stage->columns;
    if (stage->hoisting == CKKS_HOIST_DOUBLE) {
        run_phase(r, pool, unit_giant_special,
                  stage->n_rotated * (size_t)special_count(stage));
    }
    run_phase(r, pool, unit_giant_second,
              stage->n_rotated * (size_t)level_count(stage));
    decompose(r, pool, true);
    run_phase(r, pool, unit_collect,
              stage->n_out * (size_t)stage->all.count * n_blocks);
}

/* Hands out `words` of a block whose beginning may be NULL (to measure). */
static uint64_t *cut(uint64_t *base, size_t *used, size_t words)
{
    uint64_t *at = base == NULL ? NULL : base + *used;
    *used += words;
    return at;
}

/* Lays out the scratch memory; returns its words. */
static size_t lay_out(run *r, uint64_t *base, int threads)
{
    const lintrans_stage *stage = r->stage;
    const rns_ring *ring = r->ring;
    const int limbs = level_count(stage);
    const int all = stage->all.count;
    const size_t n_lifted =
        stage->n_lifted > stage->n_rotated ? stage->n_lifted : stage->n_rotated;
    const size_t removed =
        stage->divider ? (size_t)stage->divider->converter->from.count : 0;
    size_t used = 0;
    r->row = stage->columns + 40; /* an odd number of cache lines apart */
    r->scaled = cut(base, &used, n_lifted * poly_words(ring, limbs));
    r->digits =
        cut(base, &used, n_lifted * poly_words(ring, all * stage->n_digits));
    r->sums = cut(base, &used,
                  2 * stage->n_groups * poly_words(ring, stage->sum.count));
    size_t n_divided = stage->n_rotated;
    if (stage->hoisting == CKKS_HOIST_SINGLE) {
        n_divided = 2 * stage->n_stored;
        r->rotated = cut(base, &used, n_divided * poly_words(ring, all));
    }
    r->special =
        cut(base, &used, n_divided * poly_words(ring, special_count(stage)));
    r->second = cut(base, &used, stage->n_rotated * poly_words(ring, limbs));
    r->acc = r->sums;
    if (stage->n_rotated > 0) {
        r->acc = cut(base, &used, 2 * stage->n_out * poly_words(ring, all));
    }
    r->removed = cut(base, &used, 2 * stage->n_out * removed * ring->stride);
    /* Pointers are no larger than words. */
    const size_t sum = sum_rows(stage) * r->row + 2 * stage->n_babies;
    const size_t divide = poly_words(ring, 1);
    r->room_words = (sum > divide ? sum : divide) + 7;
    r->room_words -= r->room_words % 8;
    r->room = cut(base, &used, (size_t)threads * r->room_words);
    return used;
}

size_t lintrans_stage_scratch(const lintrans_stage *stage, int threads)
{
    run r = {.stage = stage, .ring = stage->context->ring};
    return sotto_arena_need(lay_out(&r, NULL, threads), sizeof(uint64_t));
}

void lintrans_stage_run(const lintrans_stage *stage, ckks_ct *const *out,
                        const ckks_ct *const *in,
                        const rlwe_switch_key *const *key, sotto_pool *pool,
                        sotto_arena *arena)
{
    const int threads = sotto_pool_threads(pool);
    const size_t mark = sotto_arena_mark(arena);
    run r = {.stage = stage,
             .ring = stage->context->ring,
             .out = out,
             .in = in,
             .key = key};
    uint64_t *base =
        sotto_arena_take(arena, lay_out(&r, NULL, threads), sizeof *base);
    SOTTO_ASSERT(base != NULL);
    (void)lay_out(&r, base, threads);
    run_sums(&r, pool);
    if (stage->n_rotated > 0) {
        run_giants(&r, pool);
    }
    if (stage->divider != NULL) {
        run_phase(&r, pool, unit_removed,
                  2 * stage->n_out *
                      (size_t)stage->divider->converter->from.count);
    }
    /* Inputs may be outputs: all have been read by now. */
    for (size_t i = 0; i < stage->n_out; i++) {
        const sotto_status status = rlwe_ct_reshape(
            &out[i]->ct, stage->context, stage->to, RLWE_MIN_COMPONENTS, NULL);
        SOTTO_ASSERT(status == SOTTO_OK); /* the caller has looked */
    }
    run_phase(&r, pool, unit_finish,
              2 * stage->n_out *
                  (size_t)rlwe_level_set(stage->context, stage->to)->count);
    sotto_arena_release(arena, mark);
}
