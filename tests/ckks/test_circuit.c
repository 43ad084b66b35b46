/* SPDX-License-Identifier: MIT
 * Random circuits: a pool of ciphertexts, random operations on them, and the
 * same operations on vectors of complex doubles, a model too simple to be
 * wrong. Each result must lie within a noise bound that is carried along.
 *
 * SOTTO_TEST_LONG makes more and longer circuits.
 */
#include "ckks/eval.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckks/noise.h"
#include "tests/support/ckks_world.h"

static const double log2_q[] = {41.7, 33.1, 36.9, 34.2, 46, 49, 48.5, 0};
static const char *const levels[] = {"abcde", "acde", "cde", "ce", "e", NULL};
static const char *const steps[] = {"01", "02", "12", "23", "34", NULL};
static const char *const gadgets[] = {"abcde|00112|fg", NULL};
static const int64_t rotations[] = {1, -1, 2, 37, 0};
static const world_spec spec = {.log2_n = 10,
                                .log2_q = log2_q,
                                .level = levels,
                                .step = steps,
                                .gadget = gadgets,
                                .rotation = rotations,
                                .conjugation = true,
                                .max_power = 4};

#define POOL 5

/* A ciphertext, its slots, and the standard deviation that its noise has at
 * most (in integer units). */
typedef struct value {
    ckks_ct ct;
    double complex *slot;
    double sigma;
} value;

typedef struct machine {
    world w;
    sotto_stream stream;
    value pool[POOL];
    value next; /* where results are made */
    double *re, *im;
    uint64_t *plain;
    long operations[16];
} machine;

static uint64_t draw(machine *m, uint64_t n)
{
    return sotto_stream_u64(&m->stream) % n;
}

static double uniform(machine *m, double low, double high)
{
    const double unit = (double)(sotto_stream_u64(&m->stream) >> 11) * 0x1p-53;
    return low + (high - low) * unit;
}

static double largest_slot(const machine *m, const value *v)
{
    double largest = 0;
    for (size_t j = 0; j < m->w.slots; j++) {
        largest = fmax(largest, cabs(v->slot[j]));
    }
    return largest;
}

/* True when values of this size at this scale stay off half the modulus (a
 * coefficient is at most the largest slot). */
static bool has_room(const machine *m, int level, double scale, double size)
{
    const double log2_q_here = m->w.context->chain.level[level].log2_q;
    return log2(scale) + log2(size + 1) + 2 < log2_q_here;
}

/* A fresh real vector at a random level and scale. */
static void refresh(machine *m, value *v)
{
    const int level = (int)draw(m, 3);
    const double scale = exp2(uniform(m, 30, 50));
    world_random(&m->stream, m->re, m->w.slots, 1.5);
    ckks_ct_clear(&v->ct);
    v->ct = world_encrypt(&m->w, m->re, scale, level);
    for (size_t j = 0; j < m->w.slots; j++) {
        v->slot[j] = m->re[j];
    }
    v->sigma = sqrt(ckks_noise_fresh(m->w.context));
}

static void check(machine *m, const value *v, const char *what)
{
    /* powers of the secret: a generous factor, see ckks_noise_tail_factor */
    const double bound = 40 * v->sigma / v->ct.scale + 0x1p-42;
    world_decrypt(&m->w, m->re, m->im, &v->ct);
    for (size_t j = 0; j < m->w.slots; j++) {
        const double error = cabs(m->re[j] + I * m->im[j] - v->slot[j]);
        if (!(error < bound)) {
            fail_msg("%s: slot %zu is off by %g, the bound is %g", what, j,
                     error, bound);
        }
    }
}

/* True when a value is still worth computing with. */
static bool is_useful(const machine *m, const value *v)
{
    const double size = largest_slot(m, v);
    return size < 100 && v->sigma / v->ct.scale < 0x1p-12 &&
           has_room(m, v->ct.ct.level, v->ct.scale, 2 * size);
}

/* A binary operation wants b at a's level and scale. */
static bool align(machine *m, value *b, const value *a)
{
    ckks_evaluator *ev = m->w.ev;
    const double factor = a->ct.scale / b->ct.scale;
    const rlwe_chain *chain = &m->w.context->chain;
    if (!rlwe_chain_can_drop(chain, b->ct.ct.level, a->ct.ct.level) ||
        factor < 0x1p+20 ||
        !has_room(m, a->ct.ct.level, a->ct.scale,
                  2 * (largest_slot(m, a) + largest_slot(m, b))) ||
        ckks_drop(ev, &b->ct, &b->ct, a->ct.ct.level) != SOTTO_OK) {
        return false;
    }
    /* 1 at the scale that is missing: a relative rounding of 1/(2·factor) */
    if (ckks_mul_constant(ev, &b->ct, &b->ct, 1, factor) != SOTTO_OK) {
        return false;
    }
    b->sigma = b->sigma * factor + largest_slot(m, b) * b->ct.scale / factor;
    return true;
}

/* Operations: each makes m->next from pool entries; false: not possible. */

static bool op_add(machine *m, value *a, value *b, bool subtract)
{
    if (b == a || !align(m, b, a)) {
        return false;
    }
    const sotto_status status =
        subtract ? ckks_sub(m->w.ev, &m->next.ct, &a->ct, &b->ct)
                 : ckks_add(m->w.ev, &m->next.ct, &a->ct, &b->ct);
    assert_int_equal(status, SOTTO_OK);
    for (size_t j = 0; j < m->w.slots; j++) {
        m->next.slot[j] =
            subtract ? a->slot[j] - b->slot[j] : a->slot[j] + b->slot[j];
    }
    m->next.sigma = a->sigma + b->sigma;
    return true;
}

static bool op_mul(machine *m, const value *a, value *b)
{
    const int n_out = a->ct.ct.n_components + b->ct.ct.n_components - 1;
    const double size = largest_slot(m, a) * largest_slot(m, b);
    const rlwe_chain *chain = &m->w.context->chain;
    if (n_out > RLWE_MAX_COMPONENTS ||
        !rlwe_chain_can_drop(chain, b->ct.ct.level, a->ct.ct.level) ||
        !has_room(m, a->ct.ct.level, a->ct.scale * b->ct.scale, size)) {
        return false;
    }
    assert_int_equal(ckks_drop(m->w.ev, &b->ct, &b->ct, a->ct.ct.level),
                     SOTTO_OK);
    assert_int_equal(ckks_mul(m->w.ev, &m->next.ct, &a->ct, &b->ct), SOTTO_OK);
    for (size_t j = 0; j < m->w.slots; j++) {
        m->next.slot[j] = a->slot[j] * b->slot[j];
    }
    m->next.sigma = largest_slot(m, a) * a->ct.scale * b->sigma +
                    largest_slot(m, b) * b->ct.scale * a->sigma +
                    6 * a->sigma * b->sigma;
    return true;
}

static bool op_plain(machine *m, const value *a)
{
    const int level = a->ct.ct.level;
    const double scale = exp2(uniform(m, 10, 25));
    if (!has_room(m, level, a->ct.scale * scale, 2 * largest_slot(m, a))) {
        return false;
    }
    world_random(&m->stream, m->re, m->w.slots, 1);
    world_random(&m->stream, m->im, m->w.slots, 1);
    assert_int_equal(ckks_encode(m->w.encoder, m->w.context, m->plain, m->re,
                                 m->im, m->w.slots, scale, level, &m->w.arena,
                                 NULL),
                     SOTTO_OK);
    assert_int_equal(
        ckks_mul_plain(m->w.ev, &m->next.ct, &a->ct, m->plain, scale),
        SOTTO_OK);
    for (size_t j = 0; j < m->w.slots; j++) {
        m->next.slot[j] = a->slot[j] * (m->re[j] + I * m->im[j]);
    }
    const double rounding = sqrt((double)m->w.slots / 12);
    m->next.sigma =
        1.5 * scale * a->sigma + largest_slot(m, a) * a->ct.scale * rounding;
    return true;
}

static bool op_constant(machine *m, const value *a)
{
    const double scale = exp2(uniform(m, 10, 25));
    const double c = uniform(m, -2, 2);
    const double d = uniform(m, -2, 2);
    if (!has_room(m, a->ct.ct.level, a->ct.scale * scale,
                  2 * largest_slot(m, a) + 2)) {
        return false;
    }
    assert_int_equal(ckks_mul_constant(m->w.ev, &m->next.ct, &a->ct, c, scale),
                     SOTTO_OK);
    assert_int_equal(ckks_add_constant(m->w.ev, &m->next.ct, &m->next.ct, d),
                     SOTTO_OK);
    for (size_t j = 0; j < m->w.slots; j++) {
        m->next.slot[j] = c * a->slot[j] + d;
    }
    m->next.sigma =
        fabs(c) * scale * a->sigma + largest_slot(m, a) * a->ct.scale;
    return true;
}

static bool op_relinearise(machine *m, const value *a)
{
    const rlwe_gadget *gadget = &m->w.context->params.literal.gadget[0];
    const int extra = a->ct.ct.n_components - 2;
    assert_int_equal(ckks_relinearise(m->w.ev, &m->next.ct, &a->ct), SOTTO_OK);
    memcpy(m->next.slot, a->slot, m->w.slots * sizeof *a->slot);
    m->next.sigma =
        a->sigma + sqrt(ckks_noise_switch(m->w.context, gadget, a->ct.ct.level,
                                          extra > 0 ? extra : 1));
    return true;
}

/* A random step, with or without relinearisation in the same division. */
static bool op_rescale(machine *m, const value *a, bool joined)
{
    const rlwe_chain *chain = &m->w.context->chain;
    const rlwe_transition *step =
        &chain->transition[draw(m, (uint64_t)chain->n_transitions)];
    const rlwe_gadget *gadget = &m->w.context->params.literal.gadget[0];
    if (step->from != a->ct.ct.level || a->ct.scale / step->divisor < 0x1p+24) {
        return false;
    }
    const int extra = a->ct.ct.n_components - 2;
    double added = ckks_noise_division(m->w.context, a->ct.ct.n_components,
                                       step->removed.count);
    if (joined) {
        added = ckks_noise_switch_rescale(m->w.context, gadget, step->from,
                                          step->to, extra > 0 ? extra : 1);
    }
    const sotto_status status =
        joined
            ? ckks_relinearise_rescale(m->w.ev, &m->next.ct, &a->ct, step->to)
            : ckks_rescale(m->w.ev, &m->next.ct, &a->ct, step->to);
    assert_int_equal(status, SOTTO_OK);
    memcpy(m->next.slot, a->slot, m->w.slots * sizeof *a->slot);
    m->next.sigma = a->sigma / step->divisor + sqrt(added);
    return true;
}

static bool op_galois(machine *m, const value *a, bool conjugate)
{
    const rlwe_gadget *gadget = &m->w.context->params.literal.gadget[0];
    const int64_t n = (int64_t)m->w.slots;
    const int64_t steps_left = rotations[draw(m, 4)];
    if (a->ct.ct.n_components != 2) {
        return false;
    }
    assert_int_equal(
        conjugate ? ckks_conjugate(m->w.ev, &m->next.ct, &a->ct)
                  : ckks_rotate(m->w.ev, &m->next.ct, &a->ct, steps_left),
        SOTTO_OK);
    for (int64_t j = 0; j < n; j++) {
        m->next.slot[j] = conjugate ? conj(a->slot[j])
                                    : a->slot[((j + steps_left) % n + n) % n];
    }
    m->next.sigma = a->sigma + sqrt(ckks_noise_switch(m->w.context, gadget,
                                                      a->ct.ct.level, 1));
    return true;
}

static const char *const name[] = {
    "add",         "sub",       "mul",
    "square",      "mul_plain", "affine",
    "relinearise", "rescale",   "relinearise_rescale",
    "rotate",      "conjugate", "negate"};

static bool operate(machine *m, int op, value *a, value *b)
{
    switch (op) {
    case 0:
    case 1:
        return op_add(m, a, b, op == 1);
    case 2:
        return op_mul(m, a, b);
    case 3:
        return op_mul(m, a, a);
    case 4:
        return op_plain(m, a);
    case 5:
        return op_constant(m, a);
    case 6:
        return op_relinearise(m, a);
    case 7:
    case 8:
        return op_rescale(m, a, op == 8);
    case 9:
    case 10:
        return op_galois(m, a, op == 10);
    default:
        assert_int_equal(ckks_negate(m->w.ev, &m->next.ct, &a->ct), SOTTO_OK);
        for (size_t j = 0; j < m->w.slots; j++) {
            m->next.slot[j] = -a->slot[j];
        }
        m->next.sigma = a->sigma;
        return true;
    }
}

static value new_value(const machine *m)
{
    value v = {.ct = world_ct(&m->w)};
    v.slot = calloc(m->w.slots, sizeof *v.slot);
    assert_non_null(v.slot);
    return v;
}

static void run_circuit(machine *m, int length)
{
    for (int i = 0; i < POOL; i++) {
        refresh(m, &m->pool[i]);
    }
    for (int step = 0; step < length; step++) {
        const int op = (int)draw(m, 12);
        value *a = &m->pool[draw(m, POOL)];
        value *b = &m->pool[draw(m, POOL)];
        if (!operate(m, op, a, b)) {
            continue;
        }
        m->operations[op]++;
        /* the result replaces an entry; whatever is worn out is renewed */
        value *target = &m->pool[draw(m, POOL)];
        const value old = *target;
        *target = m->next;
        m->next = old;
        check(m, target, name[op]);
        for (int i = 0; i < POOL; i++) {
            if (!is_useful(m, &m->pool[i])) {
                refresh(m, &m->pool[i]);
            }
        }
    }
}

static void test_random_circuits(void **state)
{
    (void)state;
    const bool is_long = getenv("SOTTO_TEST_LONG") != NULL;
    machine m = {.w = world_new(&spec, "circuit")};
    sotto_seed seed;
    sotto_seed_from_text(&seed, "circuit choices");
    sotto_stream_init(&m.stream, &seed);
    m.re = world_vector(&m.w);
    m.im = world_vector(&m.w);
    m.plain = sotto_calloc(rlwe_level_words(m.w.context, 0), sizeof *m.plain);
    m.next = new_value(&m);
    for (int i = 0; i < POOL; i++) {
        m.pool[i] = new_value(&m);
    }
    for (int circuit = 0; circuit < (is_long ? 1000 : 30); circuit++) {
        run_circuit(&m, 100);
    }
    for (int op = 0; op < 12; op++) {
        print_message("# %-20s %ld times\n", name[op], m.operations[op]);
        assert_true(m.operations[op] > 5);
    }
    for (int i = 0; i < POOL; i++) {
        ckks_ct_clear(&m.pool[i].ct);
        free(m.pool[i].slot);
    }
    ckks_ct_clear(&m.next.ct);
    free(m.next.slot);
    free(m.re);
    free(m.im);
    sotto_free(m.plain);
    world_free(&m.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_circuits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
