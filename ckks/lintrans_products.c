/* SPDX-License-Identifier: MIT
 * Units of a linear map that multiply: keys with digits, diagonals with rotated
 * inputs. They go by columns of one modulus, so that all rotated inputs stay in
 * the cache there while keys and diagonals stream by, each once.
 */
#include <string.h>

#include "ckks/lintrans_run_internal.h"

/* Most terms that one inner product takes. */
#define MAX_TERMS 256
/* Diagonals that are at hand at once where they are not held in words. */
#define MAX_LIVE 16

/* A block of columns of one modulus. */
typedef struct columns {
    int m; /* of all moduli */
    size_t at;
    size_t count;
} columns;

static columns columns_of(const ckks_lintrans_run *r, size_t unit,
                          const rns_set *set)
{
    const size_t n_blocks = r->ring->ring.n / r->stage->columns;
    return (columns){
        .m = rns_set_find(&r->stage->all, set->id[unit / n_blocks]),
        .at = unit % n_blocks * r->stage->columns,
        .count = r->stage->columns,
    };
}

/* Half h of a key for digit d in some columns. */
static const uint64_t *key_columns(const ckks_lintrans_run *r, const columns *c,
                                   int rotation, int d, int h)
{
    const ckks_lintrans_stage *stage = r->stage;
    if (stage->packed == NULL) {
        const rlwe_switch_key *key = r->key[rotation];
        const int at = rns_set_find(&key->set, stage->all.id[c->m]);
        return rlwe_switch_key_limb(key, stage->context, at,
                                    stage->mid->digit_number[d], h) +
               c->at;
    }
    const void *packed = stage->packed + (size_t)rotation * stage->packed_size +
                         stage->packed_at[c->m];
    return (const uint64_t *)packed + 2 * c->at * (size_t)stage->n_digits +
           (2 * (size_t)d + (size_t)h) * c->count;
}

/* key_product where the key is packed in 32 bits. */
static void narrow_product(const ckks_lintrans_run *r, const columns *c,
                           uint64_t *r_0, uint64_t *r_1, size_t lifted,
                           int rotation)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_limb *limb = modulus_of(r, &stage->all, c->m);
    const void *packed = stage->packed + (size_t)rotation * stage->packed_size +
                         stage->packed_at[c->m];
    const uint32_t *at =
        (const uint32_t *)packed + 2 * c->at * (size_t)stage->n_digits;
    const uint64_t *x[RNS_MAX_LIMBS];
    const uint32_t *b[RNS_MAX_LIMBS];
    const uint32_t *a[RNS_MAX_LIMBS];
    for (int d = 0; d < stage->n_digits; d++) {
        x[d] = digit_limb(r, lifted, c->m, d);
        b[d] = at + 2 * (size_t)d * c->count;
        a[d] = b[d] + c->count;
    }
    limb->kernels.switch_product(
        r_0, r_1, x, stage->rotation[rotation].map + c->at, b, a,
        (size_t)stage->n_digits, c->count, &limb->table->mod);
}

/* (r_0, r_1) = Σ_d σ(digit d)·key in some columns. */
static void key_product(const ckks_lintrans_run *r, const columns *c,
                        uint64_t *r_0, uint64_t *r_1, size_t lifted,
                        int rotation)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_limb *limb = modulus_of(r, &stage->all, c->m);
    if (stage->packed != NULL && ckks_lintrans_is_narrow(&limb->table->mod)) {
        narrow_product(r, c, r_0, r_1, lifted, rotation);
        return;
    }
    const uint64_t *x[RNS_MAX_LIMBS];
    const uint64_t *b[RNS_MAX_LIMBS];
    const uint64_t *a[RNS_MAX_LIMBS];
    for (int d = 0; d < stage->n_digits; d++) {
        x[d] = digit_limb(r, lifted, c->m, d);
        b[d] = key_columns(r, c, rotation, d, 0);
        a[d] = key_columns(r, c, rotation, d, 1);
    }
    limb->kernels.inner_product_turned(
        r_0, r_1, x, stage->rotation[rotation].map + c->at, b, a,
        (size_t)stage->n_digits, c->count, &limb->table->mod);
}

/* r += P·σ(x) in some columns of a modulus of the level; row: scratch. */
static void add_rotated(const ckks_lintrans_run *r, const columns *c,
                        uint64_t *sum, const uint64_t *x, int rotation,
                        bool times_p, uint64_t *row)
{
    const ckks_lintrans_stage *stage = r->stage;
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
static const uint64_t *input_limb(const ckks_lintrans_run *r, uint32_t in,
                                  int k, int m)
{
    return poly_limb_const(
        r->ring, rlwe_ct_component(&r->in[in]->ct, r->stage->context, k),
        r->stage->at[m]);
}

/* A rotated input modulo Q·P: (P·σ(c_0), 0) + Σ σ(digit)·key. */
static void rotate_columns(const ckks_lintrans_run *r, const columns *c,
                           uint64_t *u_0, uint64_t *u_1,
                           const ckks_lintrans_baby *baby, uint64_t *row)
{
    key_product(r, c, u_0, u_1, (size_t)baby->lifted, baby->rotation);
    if (r->stage->at[c->m] >= 0) {
        add_rotated(r, c, u_0, input_limb(r, baby->in, 0, c->m), baby->rotation,
                    true, row);
    }
}

/* Single hoisting. unit = modulus × columns: all rotated inputs. */
void ckks_lintrans_unit_rotate(ckks_lintrans_run *r, size_t unit,
                               uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const int all = stage->all.count;
    const columns c = columns_of(r, unit, &stage->all);
    for (size_t i = 0; i < stage->n_babies; i++) {
        const ckks_lintrans_baby *baby = &stage->baby[i];
        if (baby->stored != LINTRANS_NONE) {
            const size_t at = 2 * (size_t)baby->stored;
            rotate_columns(r, &c, limb_of(r, r->rotated, at, all, c.m) + c.at,
                           limb_of(r, r->rotated, at + 1, all, c.m) + c.at,
                           baby, room);
        }
    }
}

/* Room of a unit that sums:
 *
 *     2 rows for each baby | 2 rows | 1 row | MAX_LIVE rows
 *
 * and, behind the rows, two lists of pointers. */
typedef struct sum_room {
    uint64_t *babies;
    uint64_t *extra;
    uint64_t *row;
    uint64_t *live;
    const uint64_t **y_0; /* [n_babies]: NULL where a baby is zero */
    const uint64_t **y_1;
} sum_room;

static size_t sum_rows(const ckks_lintrans_stage *stage)
{
    return 2 * stage->n_babies + 2 + 1 + MAX_LIVE;
}

static sum_room cut_room(const ckks_lintrans_run *r, uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    sum_room s = {.babies = room};
    s.extra = s.babies + 2 * stage->n_babies * r->row;
    s.row = s.extra + 2 * r->row;
    s.live = s.row + r->row;
    s.y_0 = (const uint64_t **)(room + sum_rows(stage) * r->row);
    s.y_1 = s.y_0 + stage->n_babies;
    return s;
}

/* Makes the columns of a baby, or finds them. */
static void baby_columns(const ckks_lintrans_run *r, const columns *c,
                         const sum_room *s, size_t i)
{
    const ckks_lintrans_stage *stage = r->stage;
    const ckks_lintrans_baby *baby = &stage->baby[i];
    uint64_t *u[2] = {s->babies + 2 * i * r->row,
                      s->babies + (2 * i + 1) * r->row};
    const uint64_t **y[2] = {&s->y_0[i], &s->y_1[i]};
    const bool is_double = stage->hoisting == CKKS_HOIST_DOUBLE;
    const rns_limb *limb = modulus_of(r, &stage->all, c->m);
    if (baby->rotation != LINTRANS_NONE && is_double) {
        rotate_columns(r, c, u[0], u[1], baby, s->row);
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
static void flush(const ckks_lintrans_run *r, const columns *c,
                  const sum_room *s, uint64_t *r_0, uint64_t *r_1, factors *f,
                  bool *is_set)
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
static void add_constants(const ckks_lintrans_run *r, const columns *c,
                          const sum_room *s, uint64_t *r_0, uint64_t *r_1,
                          const ckks_lintrans_group *group)
{
    const ckks_lintrans_stage *stage = r->stage;
    const rns_limb *limb = modulus_of(r, &stage->all, c->m);
    const zq_modulus *mod = &limb->table->mod;
    const int m = rns_set_find(&stage->sum, stage->all.id[c->m]);
    const ckks_lintrans_term *term =
        &stage->term[group->first + group->n_plains];
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
static void sum_group(const ckks_lintrans_run *r, const columns *c,
                      const sum_room *s, size_t number, factors *f)
{
    const ckks_lintrans_stage *stage = r->stage;
    const ckks_lintrans_group *group = &stage->group[number];
    const int m = rns_set_find(&stage->sum, stage->all.id[c->m]);
    const int count = stage->sum.count;
    uint64_t *r_0 = limb_of(r, r->sums, 2 * number, count, m) + c->at;
    uint64_t *r_1 = limb_of(r, r->sums, 2 * number + 1, count, m) + c->at;
    const bool in_words =
        stage->plains.resident &&
        !ckks_lintrans_is_narrow(rns_modulus(r->ring, stage->all.id[c->m]));
    const size_t most = in_words ? MAX_TERMS : MAX_LIVE;
    bool is_set = false;
    f->n = 0;
    for (size_t i = 0; i < group->n_plains; i++) {
        const ckks_lintrans_term *term = &stage->term[group->first + i];
        if (s->y_0[term->baby] == NULL) {
            continue;
        }
        f->y_0[f->n] = s->y_0[term->baby];
        f->y_1[f->n] = s->y_1[term->baby];
        f->x[f->n] =
            ckks_lintrans_plains_columns(stage, term->plain, m, c->at, c->count,
                                         s->live + f->n % MAX_LIVE * r->row);
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
void ckks_lintrans_unit_sum(ckks_lintrans_run *r, size_t unit, uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
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

/* Starts an output with its sum of giant 0, times P after single hoisting. */
static void collect_first(const ckks_lintrans_run *r, const columns *c,
                          uint64_t *acc, size_t group, int k)
{
    const ckks_lintrans_stage *stage = r->stage;
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
void ckks_lintrans_unit_collect(ckks_lintrans_run *r, size_t unit,
                                uint64_t *room)
{
    const ckks_lintrans_stage *stage = r->stage;
    const size_t per_output =
        (size_t)stage->all.count * (r->ring->ring.n / stage->columns);
    const size_t out = unit / per_output;
    const columns c = columns_of(r, unit % per_output, &stage->all);
    const rns_limb *limb = modulus_of(r, &stage->all, c.m);
    const zq_modulus *mod = &limb->table->mod;
    const int m = rns_set_find(&stage->sum, stage->all.id[c.m]);
    uint64_t *acc[2];
    uint64_t *extra[2] = {room, room + r->row};
    uint64_t *row = room + 2 * r->row;
    for (int k = 0; k < 2; k++) {
        acc[k] =
            limb_of(r, r->acc, 2 * out + (size_t)k, stage->acc.count, c.m) +
            c.at;
        collect_first(r, &c, acc[k], stage->out_first[out], k);
    }
    for (size_t g = stage->out_first[out] + 1; g < stage->out_first[out + 1];
         g++) {
        const ckks_lintrans_group *group = &stage->group[g];
        key_product(r, &c, extra[0], extra[1], (size_t)group->rotated,
                    group->rotation);
        limb->kernels.add(acc[0], acc[0], extra[0], c.count, mod);
        limb->kernels.add(acc[1], acc[1], extra[1], c.count, mod);
        if (m >= 0) {
            add_rotated(
                r, &c, acc[0], limb_of(r, r->sums, 2 * g, stage->sum.count, m),
                group->rotation, stage->hoisting == CKKS_HOIST_SINGLE, row);
        }
    }
}

size_t ckks_lintrans_sum_room(const ckks_lintrans_run *r)
{
    /* Pointers are no larger than words. */
    return sum_rows(r->stage) * r->row + 2 * r->stage->n_babies;
}
