/* SPDX-License-Identifier: MIT
 * Residue number systems: sets of limbs, tables, base conversion, division.
 */
#include "ntt/rns.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

rns_set rns_set_range(int first, int count)
{
    SOTTO_ASSERT(first >= 0 && count >= 0 && first + count <= RNS_MAX_LIMBS);
    rns_set set = {.count = count};
    for (int i = 0; i < count; i++) {
        set.id[i] = (uint8_t)(first + i);
    }
    return set;
}

int rns_set_find(const rns_set *set, int id)
{
    for (int i = 0; i < set->count; i++) {
        if (set->id[i] == id) {
            return i;
        }
    }
    return -1;
}

bool rns_set_contains(const rns_set *outer, const rns_set *inner)
{
    for (int i = 0; i < inner->count; i++) {
        if (rns_set_find(outer, inner->id[i]) < 0) {
            return false;
        }
    }
    return true;
}

bool rns_set_equal(const rns_set *a, const rns_set *b)
{
    return a->count == b->count && rns_set_contains(a, b);
}

/* The set of all ids with member[id]. */
static rns_set set_of(const bool *member)
{
    rns_set set = {.count = 0};
    for (int id = 0; id < RNS_MAX_LIMBS; id++) {
        if (member[id]) {
            set.id[set.count++] = (uint8_t)id;
        }
    }
    return set;
}

rns_set rns_set_union(const rns_set *a, const rns_set *b)
{
    bool member[RNS_MAX_LIMBS] = {false};
    for (int i = 0; i < a->count; i++) {
        member[a->id[i]] = true;
    }
    for (int i = 0; i < b->count; i++) {
        member[b->id[i]] = true;
    }
    return set_of(member);
}

rns_set rns_set_minus(const rns_set *a, const rns_set *b)
{
    bool member[RNS_MAX_LIMBS] = {false};
    for (int i = 0; i < a->count; i++) {
        member[a->id[i]] = rns_set_find(b, a->id[i]) < 0;
    }
    return set_of(member);
}

rns_set rns_set_common(const rns_set *a, const rns_set *b)
{
    bool member[RNS_MAX_LIMBS] = {false};
    for (int i = 0; i < a->count; i++) {
        member[a->id[i]] = rns_set_find(b, a->id[i]) >= 0;
    }
    return set_of(member);
}

/* Makes the tables of an empty ring; the caller frees it on error. */
static sotto_status add_limbs(rns_ring *ring, const uint64_t *q, int n_limbs,
                              ntt_backend cap, sotto_error *err)
{
    for (int i = 0; i < n_limbs; i++) {
        for (int j = 0; j < i; j++) {
            if (q[j] == q[i]) {
                return sotto_fail(err, SOTTO_ERR_PARAM,
                                  "modulus %llu stands at positions %d and "
                                  "%d; moduli must differ",
                                  (unsigned long long)q[i], j, i);
            }
        }
        SOTTO_TRY(ntt_table_new(&ring->limb[i].table, &ring->ring, q[i], err));
        ring->limb[i].kernels =
            ntt_kernels_choose(&ring->limb[i].table->mod, cap);
        ring->n_limbs = i + 1;
        SOTTO_TRY(ntt_kernels_prepare(ring->limb[i].table,
                                      &ring->limb[i].kernels, err));
    }
    return SOTTO_OK;
}

sotto_status rns_ring_new(rns_ring **ring, const ntt_ring *shape,
                          const uint64_t *q, int n_limbs, ntt_backend cap,
                          sotto_error *err)
{
    *ring = NULL;
    if (n_limbs < 1 || n_limbs > RNS_MAX_LIMBS) {
        return sotto_fail(err, SOTTO_ERR_PARAM, "%d moduli; expected 1 to %d",
                          n_limbs, RNS_MAX_LIMBS);
    }
    rns_ring *r = sotto_calloc(1, sizeof *r);
    if (r == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for %d moduli",
                          n_limbs);
    }
    r->ring = *shape;
    r->stride = sotto_limb_stride(shape->n);
    const sotto_status status = add_limbs(r, q, n_limbs, cap, err);
    if (status != SOTTO_OK) {
        rns_ring_free(r);
        return status;
    }
    *ring = r;
    return SOTTO_OK;
}

void rns_ring_free(rns_ring *ring)
{
    if (ring != NULL) {
        for (int i = 0; i < ring->n_limbs; i++) {
            ntt_table_free(ring->limb[i].table);
        }
        sotto_free(ring);
    }
}

double rns_log2(const rns_ring *ring, const rns_set *set)
{
    double sum = 0;
    for (int i = 0; i < set->count; i++) {
        sum += log2((double)rns_modulus(ring, set->id[i])->q);
    }
    return sum;
}

uint64_t rns_product_mod(const rns_ring *ring, const rns_set *set, int skip,
                         const zq_modulus *mod)
{
    uint64_t product = 1;
    for (int i = 0; i < set->count; i++) {
        if (set->id[i] != skip) {
            product = zq_mul(product, rns_modulus(ring, set->id[i])->q, mod);
        }
    }
    return product;
}

static void fill_converter(rns_converter *c, const rns_ring *ring)
{
    for (int i = 0; i < c->from.count; i++) {
        const zq_modulus *f = rns_modulus(ring, c->from.id[i]);
        c->from_q[i] = f->q;
        c->scale_in[i] =
            zq_inv(rns_product_mod(ring, &c->from, c->from.id[i], f), f);
    }
    for (int t = 0; t < c->to.count; t++) {
        const zq_modulus *mod = rns_modulus(ring, c->to.id[t]);
        c->product[t] = rns_product_mod(ring, &c->from, -1, mod);
        for (int i = 0; i < c->from.count; i++) {
            const uint64_t factor =
                rns_product_mod(ring, &c->from, c->from.id[i], mod);
            const uint64_t half = zq_reduce_u64(c->from_q[i] >> 1, mod);
            c->factor[t * c->from.count + i] = factor;
            c->raised[t] =
                zq_add(c->raised[t], zq_mul(half, factor, mod), mod->q);
        }
    }
}

sotto_status rns_converter_new(rns_converter **converter, const rns_ring *ring,
                               const rns_set *from, const rns_set *to,
                               sotto_error *err)
{
    *converter = NULL;
    SOTTO_ASSERT(from->count > 0 && to->count > 0);
    SOTTO_ASSERT(rns_set_common(from, to).count == 0);
    const size_t k = (size_t)from->count;
    const size_t l = (size_t)to->count;
    rns_converter *c = sotto_calloc(1, sizeof *c);
    uint64_t *words = sotto_calloc(2 * k + 2 * l + k * l, sizeof *words);
    if (c == NULL || words == NULL) {
        sotto_free(words);
        sotto_free(c);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory for a base conversion of %zu to %zu "
                          "moduli",
                          k, l);
    }
    c->from = *from;
    c->to = *to;
    /* One block holds the five arrays; scale_in is its beginning. */
    c->scale_in = words;
    c->from_q = words + k;
    c->product = words + 2 * k;
    c->raised = words + 2 * k + l;
    c->factor = words + 2 * k + 2 * l;
    fill_converter(c, ring);
    *converter = c;
    return SOTTO_OK;
}

void rns_converter_free(rns_converter *converter)
{
    if (converter != NULL) {
        sotto_free(converter->scale_in);
        sotto_free(converter);
    }
}

void rns_scale_limb(const rns_converter *converter, const rns_ring *ring,
                    uint64_t *y, const uint64_t *x, int i)
{
    SOTTO_ASSERT(i >= 0 && i < converter->from.count);
    const rns_limb *limb = &ring->limb[converter->from.id[i]];
    limb->kernels.inverse_raised(y, x, limb->table, converter->scale_in[i]);
}

void rns_convert_limb(const rns_converter *converter, const rns_ring *ring,
                      uint64_t *out, const uint64_t *x, int t)
{
    SOTTO_ASSERT(t >= 0 && t < converter->to.count);
    const size_t k = (size_t)converter->from.count;
    const uint64_t *rows[RNS_MAX_LIMBS];
    for (size_t i = 0; i < k; i++) {
        rows[i] = x + i * ring->stride;
    }
    const ntt_convert constants = {.k = k,
                                   .from = converter->from_q,
                                   .factor = converter->factor + (size_t)t * k,
                                   .is_raised = true,
                                   .raised = converter->raised[t]};
    const rns_limb *limb = &ring->limb[converter->to.id[t]];
    limb->kernels.convert(out, rows, &constants, ring->ring.n,
                          &limb->table->mod);
}

sotto_status rns_divider_new(rns_divider **divider, const rns_ring *ring,
                             const rns_set *keep, const rns_set *by,
                             sotto_error *err)
{
    *divider = NULL;
    rns_divider *d = sotto_calloc(1, sizeof *d);
    uint64_t *inverse = sotto_calloc((size_t)keep->count, sizeof *inverse);
    if (d == NULL || inverse == NULL) {
        sotto_free(inverse);
        sotto_free(d);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "no memory for a division of %d by %d moduli",
                          keep->count, by->count);
    }
    d->inverse = inverse;
    const sotto_status status =
        rns_converter_new(&d->converter, ring, by, keep, err);
    if (status != SOTTO_OK) {
        rns_divider_free(d);
        return status;
    }
    for (int t = 0; t < keep->count; t++) {
        inverse[t] =
            zq_inv(d->converter->product[t], rns_modulus(ring, keep->id[t]));
    }
    *divider = d;
    return SOTTO_OK;
}

void rns_divider_free(rns_divider *divider)
{
    if (divider != NULL) {
        rns_converter_free(divider->converter);
        sotto_free(divider->inverse);
        sotto_free(divider);
    }
}

size_t rns_divide_scratch(const rns_divider *divider, const rns_ring *ring)
{
    /* The limbs that are divided by, and one converted limb. */
    return ((size_t)divider->converter->from.count + 1) * ring->stride;
}

/* The limb of a dividend that is converted: out = (keep - lifted)/M modulo
 * keep.id[t], for all dividends, column by column. */
static void divide_limb(const rns_divider *divider, const rns_ring *ring,
                        const rns_dividend *dividend, int count,
                        uint64_t *scratch, int t)
{
    const rns_converter *c = divider->converter;
    const rns_limb *limb = &ring->limb[c->to.id[t]];
    const size_t each = rns_divide_scratch(divider, ring);
    const size_t at_lifted = (size_t)c->from.count * ring->stride;
    for (int k = 0; k < count; k++) {
        uint64_t *y = scratch + (size_t)k * each;
        rns_convert_limb(c, ring, y + at_lifted, y, t);
        limb->kernels.forward_first(y + at_lifted, limb->table);
    }
    const size_t parts = limb->kernels.forward_parts(limb->table);
    const size_t columns = ring->ring.n / parts;
    for (size_t part = 0; part < parts; part++) {
        const size_t at = part * columns;
        for (int k = 0; k < count; k++) {
            uint64_t *lifted = scratch + (size_t)k * each + at_lifted;
            /* The division reads and writes these next. */
            const uint64_t *const soon[2] = {dividend[k].keep_in[t] + at,
                                             dividend[k].out +
                                                 (size_t)t * ring->stride + at};
            limb->kernels.forward_part(lifted, limb->table, part, soon);
            limb->kernels.sub_mul_scalar(
                dividend[k].out + (size_t)t * ring->stride + at,
                dividend[k].keep_in[t] + at, lifted + at, divider->inverse[t],
                columns, &limb->table->mod);
        }
    }
}

void rns_divide_each(const rns_divider *divider, const rns_ring *ring,
                     const rns_dividend *dividend, int count, uint64_t *scratch)
{
    const rns_converter *c = divider->converter;
    const size_t each = rns_divide_scratch(divider, ring);
    for (int i = 0; i < c->from.count; i++) {
        for (int k = 0; k < count; k++) {
            uint64_t *y = scratch + (size_t)k * each + (size_t)i * ring->stride;
            rns_scale_limb(c, ring, y, dividend[k].by_in[i], i);
        }
    }
    for (int t = 0; t < c->to.count; t++) {
        divide_limb(divider, ring, dividend, count, scratch, t);
    }
}

void rns_divide(const rns_divider *divider, const rns_ring *ring, uint64_t *out,
                const uint64_t *keep_in, const uint64_t *by_in,
                uint64_t *scratch)
{
    rns_dividend dividend = {.out = out};
    for (int i = 0; i < divider->converter->to.count; i++) {
        dividend.keep_in[i] = keep_in + (size_t)i * ring->stride;
    }
    for (int i = 0; i < divider->converter->from.count; i++) {
        dividend.by_in[i] = by_in + (size_t)i * ring->stride;
    }
    rns_divide_each(divider, ring, &dividend, 1, scratch);
}
