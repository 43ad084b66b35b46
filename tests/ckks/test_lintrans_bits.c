/* SPDX-License-Identifier: MIT
 * Linear maps by diagonals bit for bit: threads, backends and how diagonals and
 * keys are kept do not show; the bits are those of SPEC §9.1, put together here
 * from whole rotations and from key switching in parts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ntt/poly.h"
#include "rlwe/hoist.h"
#include "tests/support/check.h"
#include "tests/support/lintrans_lab.h"

/* Nine diagonals from two inputs to two outputs, giants 0, 5 and 10. */
static lintrans_lab *nine(ckks_hoisting hoisting, ntt_backend cap)
{
    static int64_t giants[9];
    lintrans_lab *lab = lintrans_lab_new(10, "nine", cap);
    lab->spec.n_in = lab->spec.n_out = 2;
    for (int i = 0; i < 9; i++) {
        lintrans_lab_add(lab, (uint32_t)i % 2, (uint32_t)i / 5, 2 * i - 4);
        giants[i] = 5 * (i / 3);
    }
    lab->spec.giant = giants;
    lab->spec.hoisting = hoisting;
    lintrans_lab_add_bias(lab);
    return lab;
}

static void expect_equal(const lintrans_outcome *a, const lintrans_outcome *b)
{
    assert_int_equal(a->n_words, b->n_words);
    assert_memory_equal(a->words, b->words, a->n_words * sizeof *a->words);
}

static void test_same_bits(void **state)
{
    (void)state;
    for (int h = CKKS_HOIST_SINGLE; h <= CKKS_HOIST_DOUBLE; h++) {
        lintrans_lab *lab = nine((ckks_hoisting)h, NTT_BACKEND_IFMA);
        lab->spec.out_scale = 0x1p+20; /* coefficients below 2^31 */
        lintrans_outcome first = lintrans_lab_run(lab, 1);
        assert_true(first.info.resident);
        for (int threads = 2; threads <= 3; threads++) {
            lintrans_outcome other = lintrans_lab_run(lab, threads);
            expect_equal(&first, &other);
            lintrans_outcome_free(&other);
        }
        lab->bind = true;
        lintrans_outcome bound = lintrans_lab_run(lab, 2);
        expect_equal(&first, &bound);
        lintrans_outcome_free(&bound);
        lab->spec.memory_bytes = 1;
        lintrans_outcome narrow = lintrans_lab_run(lab, 2);
        assert_false(narrow.info.resident);
        assert_int_equal(narrow.info.memory_bytes, 9 * 2 * lab->slots * 4);
        expect_equal(&first, &narrow);
        lintrans_outcome_free(&narrow);
        lintrans_lab_free(lab);
        for (int cap = NTT_BACKEND_PORTABLE; cap <= NTT_BACKEND_AVX2; cap++) {
            lab = nine((ckks_hoisting)h, (ntt_backend)cap);
            lab->spec.out_scale = 0x1p+20;
            lintrans_outcome other = lintrans_lab_run(lab, 1);
            expect_equal(&first, &other);
            lintrans_outcome_free(&other);
            lintrans_lab_free(lab);
        }
        lintrans_outcome_free(&first);
    }
}

/* Coefficients beyond 32 bits, and beyond one word of a double. */
static void test_same_bits_wide(void **state)
{
    (void)state;
    for (int to = 1; to <= 2; to++) {
        lintrans_lab *lab = nine(CKKS_HOIST_DOUBLE, NTT_BACKEND_IFMA);
        lab->spec.to = to;
        lintrans_outcome first = lintrans_lab_run(lab, 1);
        lab->spec.memory_bytes = 1;
        lintrans_outcome wide = lintrans_lab_run(lab, 1);
        assert_int_equal(wide.info.memory_bytes, 9 * 2 * lab->slots * 8);
        expect_equal(&first, &wide);
        lintrans_outcome_free(&first);
        lintrans_outcome_free(&wide);
        lintrans_lab_free(lab);
    }
}

/* What the tests below put together: the inputs, keys, encoded diagonals. */
typedef struct parts {
    lintrans_lab *lab;
    ckks_lintrans *map;
    rlwe_keyset *keys;
    ckks_evaluator *ev;
    ckks_ct in[2];
    ckks_ct out[2];
    sotto_arena arena;
} parts;

static void parts_open(parts *p, lintrans_lab *lab)
{
    const ckks_ct *ins[2] = {&p->in[0], &p->in[1]};
    ckks_ct *outs[2] = {&p->out[0], &p->out[1]};
    *p = (parts){.lab = lab};
    CHECK(ckks_lintrans_new(&p->map, lab->w.encoder, lab->w.context, &lab->spec,
                            err));
    p->ev = lintrans_lab_evaluator(lab, p->map, &p->keys);
    for (int i = 0; i < 2; i++) {
        p->in[i] = world_encrypt(&lab->w, lab->x + (size_t)i * lab->slots,
                                 lab->in_scale[i], lab->spec.from);
        p->out[i] = world_ct(&lab->w);
    }
    p->arena = sotto_arena_init(ckks_lintrans_scratch(p->map, 1) +
                                rlwe_hoist_scratch(lab->w.context));
    assert_non_null(p->arena.base);
    if (ckks_lintrans_apply(p->map, p->ev, outs, ins, NULL, &p->arena) !=
        SOTTO_OK) {
        fail_msg("%s", p->ev->error.text);
    }
}

static void parts_close(parts *p)
{
    for (int i = 0; i < 2; i++) {
        ckks_ct_clear(&p->in[i]);
        ckks_ct_clear(&p->out[i]);
    }
    sotto_arena_clear(&p->arena);
    ckks_evaluator_free(p->ev);
    rlwe_keyset_free(p->keys);
    ckks_lintrans_free(p->map);
    lintrans_lab_free(p->lab);
}

static void ok(const parts *p, sotto_status status)
{
    if (status != SOTTO_OK) {
        fail_msg("%s", p->ev->error.text);
    }
}

/* The scale at which diagonals of an input are encoded. */
static double scale_of(const lintrans_lab *lab, size_t in)
{
    const rlwe_transition *step =
        rlwe_chain_step(&lab->w.context->chain, lab->spec.from, lab->spec.to);
    return lab->spec.out_scale * step->divisor / lab->in_scale[in];
}

/* Single hoisting without giants: the public operations, one by one. */
static void test_single_is_rotations(void **state)
{
    (void)state;
    static const int64_t no_giant[9];
    lintrans_lab *lab = nine(CKKS_HOIST_SINGLE, NTT_BACKEND_IFMA);
    lab->spec.giant = no_giant;
    lab->spec.fill_bias = NULL;
    parts p;
    parts_open(&p, lab);
    for (uint32_t o = 0; o < 2; o++) {
        ckks_ct sum = world_ct(&lab->w);
        ckks_ct term = world_ct(&lab->w);
        uint64_t *plain =
            sotto_calloc(rlwe_level_words(lab->w.context, 0), sizeof *plain);
        assert_non_null(plain);
        bool is_first = true;
        for (size_t i = 0; i < 9; i++) {
            const ckks_diagonal *d = &lab->diagonal[i];
            if (d->out != o) {
                continue;
            }
            ckks_ct *to = is_first ? &sum : &term;
            const double scale = scale_of(lab, d->in);
            CHECK(ckks_encode(lab->w.encoder, lab->w.context, plain,
                              lab->value + i * lab->slots, NULL, lab->slots,
                              scale, 0, &lab->w.arena, err));
            ok(&p, ckks_rotate(p.ev, to, &p.in[d->in], d->rotation));
            ok(&p, ckks_mul_plain(p.ev, to, to, plain, scale));
            to->scale = lab->spec.out_scale; /* rounded differently */
            if (!is_first) {
                ok(&p, ckks_add(p.ev, &sum, &sum, &term));
            }
            is_first = false;
        }
        ok(&p, ckks_rescale(p.ev, &sum, &sum, 1));
        assert_memory_equal(sum.ct.data, p.out[o].ct.data,
                            2 * rlwe_level_words(lab->w.context, 1) *
                                sizeof(uint64_t));
        sotto_free(plain);
        ckks_ct_clear(&sum);
        ckks_ct_clear(&term);
    }
    parts_close(&p);
}

/* Room for polynomials modulo Q·P, one after the other. */
typedef struct desk {
    parts p;
    rlwe_switcher *mid, *last;
    size_t words; /* of one */
    uint64_t *data;
    size_t used;
} desk;

static uint64_t *take(desk *d)
{
    assert_true(d->used < 64);
    return d->data + d->used++ * d->words;
}

static uint32_t *map_of(const desk *d, int64_t steps)
{
    const ntt_ring *ring = &d->p.lab->w.context->ring->ring;
    uint32_t *map = calloc(ring->n, sizeof *map);
    assert_non_null(map);
    ntt_ring_automorphism(ring, map, ntt_ring_rotation(ring, steps));
    return map;
}

static const rlwe_switch_key *key_of(const desk *d, int64_t steps)
{
    const ntt_ring *ring = &d->p.lab->w.context->ring->ring;
    const rlwe_key_target target = {RLWE_KEY_GALOIS,
                                    ntt_ring_rotation(ring, steps)};
    return rlwe_keyset_find(d->p.keys, d->p.lab->w.context, target, 0);
}

/* u (+)= a key's product with the digits of x, rotated. */
static void product(desk *d, uint64_t *u_0, uint64_t *u_1, const uint64_t *x,
                    int64_t steps, const uint64_t *c_0, const uint64_t *w_0,
                    bool add)
{
    const rlwe_context *context = d->p.lab->w.context;
    uint32_t *map = map_of(d, steps);
    const rlwe_hoist_extra extra = {map, c_0, w_0, add};
    uint64_t *lifted =
        calloc(rlwe_hoist_digits_words(d->mid, context) + 8, sizeof *lifted);
    assert_non_null(lifted);
    uint64_t *aligned = (uint64_t *)(((uintptr_t)lifted + 63) / 64 * 64);
    rlwe_digits digits;
    rlwe_hoist_decompose(d->mid, context, &digits, aligned, x, &d->p.arena);
    rlwe_hoist_product(d->mid, context, u_0, u_1, &digits, key_of(d, steps),
                       &extra, &d->p.arena);
    free(lifted);
    free(map);
}

/* Diagonal i modulo Q·P, rotated back by its giant step. */
static uint64_t *encode_all(desk *d, size_t i)
{
    const lintrans_lab *lab = d->p.lab;
    const rns_ring *ring = lab->w.context->ring;
    const size_t giant = (size_t)lab->spec.giant[i];
    uint64_t *out = take(d);
    double *turned = calloc(lab->slots, sizeof *turned);
    double *x = sotto_calloc(ring->ring.n, sizeof *x);
    assert_true(turned && x);
    for (size_t j = 0; j < lab->slots; j++) {
        turned[(j + giant) % lab->slots] = lab->value[i * lab->slots + j];
    }
    CHECK(ckks_encode_scaled(lab->w.encoder, lab->w.context, x, turned,
                             lab->slots, scale_of(lab, lab->diagonal[i].in), 0,
                             err));
    for (int m = 0; m < d->mid->all.count; m++) {
        for (size_t k = 0; k < ring->ring.n; k++) {
            poly_limb(ring, out, m)[k] =
                zq_from_i64(llrint(x[k]), rns_modulus(ring, d->mid->all.id[m]));
        }
    }
    poly_forward(ring, &d->mid->all, out);
    free(turned);
    sotto_free(x);
    return out;
}

/* The inner sum of an output and a giant step. */
static void inner_sum(desk *d, uint64_t *acc_0, uint64_t *acc_1, uint32_t out,
                      int64_t giant)
{
    const lintrans_lab *lab = d->p.lab;
    const rlwe_context *context = lab->w.context;
    const uint64_t *plain[9];
    const uint64_t *u_0[9];
    const uint64_t *u_1[9];
    int n = 0;
    for (size_t i = 0; i < 9; i++) {
        const ckks_diagonal *at = &lab->diagonal[i];
        if (at->out != out || lab->spec.giant[i] != giant) {
            continue;
        }
        uint64_t *u[2] = {take(d), take(d)};
        const rlwe_ct *ct = &d->p.in[at->in].ct;
        const uint64_t *c_0 = rlwe_ct_component(ct, context, 0);
        const uint64_t *c_1 = rlwe_ct_component(ct, context, 1);
        if (at->rotation == giant) {
            rlwe_hoist_lift(d->mid, context, u[0], c_0);
            rlwe_hoist_lift(d->mid, context, u[1], c_1);
        } else {
            product(d, u[0], u[1], c_1, at->rotation - giant, c_0, NULL, false);
        }
        plain[n] = encode_all(d, i);
        u_0[n] = u[0];
        u_1[n++] = u[1];
    }
    rlwe_hoist_sum(d->mid, context, acc_0, acc_1, plain, u_0, u_1, n);
}

/* Double hoisting: key switching in parts (rlwe/hoist.h). */
static void test_double_is_hoisting(void **state)
{
    (void)state;
    desk d = {0};
    lintrans_lab *lab = nine(CKKS_HOIST_DOUBLE, NTT_BACKEND_IFMA);
    lab->spec.fill_bias = NULL;
    parts_open(&d.p, lab);
    const rlwe_context *context = lab->w.context;
    const rlwe_gadget *gadget = &context->params.literal.gadget[1];
    CHECK(rlwe_switcher_new(&d.mid, context, gadget, 0, 0, err));
    CHECK(rlwe_switcher_new(&d.last, context, gadget, 0, 1, err));
    d.words = rlwe_hoist_words(d.mid, context);
    d.data = sotto_calloc(64 * d.words, sizeof *d.data);
    assert_non_null(d.data);
    for (uint32_t o = 0; o < 2; o++) {
        d.used = 0;
        uint64_t *sum[2] = {take(&d), take(&d)};
        inner_sum(&d, sum[0], sum[1], o, 0);
        for (int64_t giant = 5; giant <= 10; giant += 5) {
            uint64_t *v[2] = {take(&d), take(&d)};
            uint64_t *w = take(&d);
            inner_sum(&d, v[0], v[1], o, giant);
            rlwe_hoist_divide(d.mid, context, w, v[1], &d.p.arena);
            product(&d, sum[0], sum[1], w, giant, NULL, v[0], true);
        }
        for (int k = 0; k < 2; k++) {
            uint64_t *want = take(&d);
            rlwe_hoist_divide(d.last, context, want, sum[k], &d.p.arena);
            const uint64_t *have =
                rlwe_ct_component(&d.p.out[o].ct, context, k);
            for (int t = 0; t < rlwe_level_set(context, 1)->count; t++) {
                assert_memory_equal(poly_limb_const(context->ring, have, t),
                                    poly_limb_const(context->ring, want, t),
                                    context->ring->ring.n * sizeof *want);
            }
        }
    }
    sotto_free(d.data);
    rlwe_switcher_free(d.mid);
    rlwe_switcher_free(d.last);
    parts_close(&d.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_same_bits_wide),
        cmocka_unit_test(test_single_is_rotations),
        cmocka_unit_test(test_double_is_hoisting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
