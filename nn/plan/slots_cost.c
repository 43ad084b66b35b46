/* SPDX-License-Identifier: MIT
 * Predicted time of slot programs; see slots_internal.h.
 *
 * As ckks_lintrans_choose counts: keys and diagonals come from memory at each
 * use, which takes longer than multiplying them.
 */
#include <math.h>

#include "nn/plan/slots_internal.h"

void nn_slot_survey(nn_slot_program *program, const nn_single *single)
{
    const nn_network *network = single->network;
    program->n_inputs = single->places[0]->layout.n_cts;
    for (size_t k = 0; k < network->n_steps; k++) {
        const nn_single_map *map = &single->map[k];
        nn_slot_facts *facts = &program->step[k];
        *facts = (nn_slot_facts){.n_out = single->places[k + 1]->layout.n_cts,
                                 .spread = 1};
        if (network->steps[k].kind != NN_STEP_AFFINE) {
            facts->n_in = facts->n_out;
            continue;
        }
        facts->counts = map->counts;
        facts->n_in = (double)map->n_in;
        facts->spread = (double)(map->window / map->fold);
        facts->area = (double)map->pool[0] * map->pool[1];
        for (uint32_t f = map->fold; f < map->window; f *= 2) {
            facts->folds++;
        }
    }
}

/* Nanoseconds of what a map is made of. */
typedef struct parts {
    double mod_up;
    double key;  /* product of digits with a key from memory */
    double half; /* division of one polynomial by P */
    double end;  /* division of one output by P and what a rescale removes */
    double fold;
    double word; /* a diagonal times both polynomials, for each modulus */
} parts;

/* Reading one residue of a key or diagonal from memory, nanoseconds. */
#define LOAD_NS 0.4

/* Multiplying and adding one limb. */
static double row_ns(const nn_cost_table *table, int log2_n)
{
    return ldexp(table->ns[NN_COST_ACCUMULATE], log2_n);
}

static double key_ns(const nn_cost_table *table, int log2_n,
                     nn_cost_gadget gadget)
{
    const double rows = gadget.digits * (gadget.limbs + gadget.specials);
    /* Two products, two loads, and half a product for turning the digits. */
    return rows * (2.5 * row_ns(table, log2_n) + ldexp(2 * LOAD_NS, log2_n));
}

static parts parts_of(const nn_cost_table *table, const nn_slot_shape *s)
{
    const nn_cost_gadget g = s->gadget;
    const nn_cost_gadget low = {
        .limbs = s->kept, .digits = s->kept_digits, .specials = g.specials};
    const nn_cost_gadget at = s->late ? low : g;
    return (parts){
        .mod_up = nn_cost_mod_up(table, s->log2_n, g),
        .key = key_ns(table, s->log2_n, g),
        .half = nn_cost_division(table, s->log2_n, 1, g.limbs, g.specials),
        .end = nn_cost_division(table, s->log2_n, 2, s->kept,
                                g.limbs - s->kept + g.specials),
        .fold = nn_cost_mod_up(table, s->log2_n, at) +
                key_ns(table, s->log2_n, at) +
                nn_cost_division(table, s->log2_n, 2, at.limbs, at.specials),
        .word = 2 * row_ns(table, s->log2_n) + ldexp(LOAD_NS, s->log2_n)};
}

nn_single_costs nn_slot_costs(const nn_cost_table *table,
                              const nn_slot_shape *shape)
{
    const parts p = parts_of(table, shape);
    const int all = shape->gadget.limbs + shape->gadget.specials;
    return (nn_single_costs){
        .decompose = p.mod_up,
        .baby = p.key,
        .product = all * p.word,
        .giant = p.mod_up + p.key + p.half,
        .divide = p.end,
        .fold = p.fold,
        .relinearise = p.mod_up + p.key + p.end +
                       3.0 * shape->gadget.limbs *
                           ldexp(table->ns[NN_COST_MULTIPLY], shape->log2_n)};
}

/* What hoisting once costs more than hoisting twice. */
static double hoisting_difference(const parts *p, const nn_slot_shape *shape,
                                  const nn_single_counts *counts)
{
    return 2 * p->half * (double)counts->babies -
           shape->gadget.specials * p->word * (double)counts->products -
           p->half * (double)counts->giants;
}

bool nn_slot_hoists_once(const nn_cost_table *table, const nn_slot_shape *shape,
                         const nn_slot_facts *facts)
{
    const parts p = parts_of(table, shape);
    return hoisting_difference(&p, shape, &facts->counts) < 0;
}

static double affine_ns(const nn_cost_table *table, const nn_slot_shape *shape,
                        const nn_slot_facts *facts, double memory_bytes)
{
    const nn_single_counts *c = &facts->counts;
    const parts p = parts_of(table, shape);
    const bool rotates = c->babies + c->giants > 0;
    const double once = hoisting_difference(&p, shape, c);
    int words = shape->gadget.limbs;
    double ns = (double)c->decompose * p.mod_up + (double)c->babies * p.key +
                (double)c->giants * (p.mod_up + p.key + p.half);
    if (rotates && once >= 0) {
        words += shape->gadget.specials;
    } else if (rotates) {
        ns += once + (double)c->products * shape->gadget.specials * p.word;
    }
    ns += (double)c->products * words * p.word;
    if (memory_bytes > 0 && ldexp(8.0 * (double)c->products * words,
                                  shape->log2_n) > memory_bytes) {
        ns += (double)c->products * words * nn_cost_ntt(table, shape->log2_n);
    }
    if (c->sums > 0) {
        ns += facts->n_in * (p.mod_up + 2 * p.half) + (double)c->sums * p.key;
    }
    if (rotates || shape->kept < shape->gadget.limbs) {
        ns += (double)c->outputs * p.end;
    }
    return ns + (double)c->folds * p.fold;
}

double nn_slot_step_ns(const nn_cost_table *table, const nn_slot_shape *shape,
                       const nn_slot_facts *facts, nn_step_kind kind,
                       double memory_bytes)
{
    if (kind == NN_STEP_AFFINE) {
        return affine_ns(table, shape, facts, memory_bytes);
    }
    return facts->n_out * nn_slot_costs(table, shape).relinearise;
}
