/* SPDX-License-Identifier: MIT
 * Random linear maps on small rings.
 */
#include "tests/support/lintrans_lab.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ckks/noise.h"
#include "tests/support/check.h"

static const double log2_q[] = {40, 31.5, 38, 44, 43, 0};
static const char *const levels[] = {"abc", "bc", "c", NULL};
static const char *const steps[] = {"01", "12", "02", NULL};
static const char *const gadgets[] = {"abc|012|d", "abc|011|de", "bc|00|de",
                                      NULL};

static void fill(void *arg, size_t index, double *slot)
{
    const lintrans_lab *lab = arg;
    memcpy(slot, lab->value + index * lab->slots, lab->slots * sizeof *slot);
}

static void fill_bias(void *arg, size_t index, double *slot)
{
    const lintrans_lab *lab = arg;
    memcpy(slot, lab->bias + index * lab->slots, lab->slots * sizeof *slot);
}

uint64_t lintrans_lab_below(lintrans_lab *lab, uint64_t n)
{
    return sotto_stream_u64(&lab->stream) % n;
}

lintrans_lab *lintrans_lab_new(int log2_n, const char *seed, ntt_backend cap)
{
    lintrans_lab *lab = calloc(1, sizeof *lab);
    assert_non_null(lab);
    const world_spec spec = {.log2_n = log2_n,
                             .log2_q = log2_q,
                             .level = levels,
                             .step = steps,
                             .gadget = gadgets,
                             .has_cap = true,
                             .cap = cap};
    sotto_seed text;
    lab->w = world_new(&spec, seed);
    lab->slots = lab->w.slots;
    sotto_seed_from_text(&text, seed);
    sotto_stream_init(&lab->stream, &text);
    lab->value = calloc(LAB_DIAGONALS * lab->slots, sizeof *lab->value);
    lab->bias = calloc(LAB_CTS * lab->slots, sizeof *lab->bias);
    lab->x = calloc(LAB_CTS * lab->slots, sizeof *lab->x);
    assert_true(lab->value && lab->bias && lab->x);
    world_random(&lab->stream, lab->x, LAB_CTS * lab->slots, 1);
    lab->spec = (ckks_lintrans_spec){.n_in = 1,
                                     .n_out = 1,
                                     .diagonal = lab->diagonal,
                                     .fill = fill,
                                     .arg = lab,
                                     .from = 0,
                                     .to = 1,
                                     .in_scale = lab->in_scale,
                                     .out_scale = 0x1.123p+30,
                                     .gadget = 1};
    for (int i = 0; i < LAB_CTS; i++) {
        lab->in_scale[i] = 0x1p+30 * (1 + 0.01 * i);
    }
    return lab;
}

void lintrans_lab_free(lintrans_lab *lab)
{
    world_free(&lab->w);
    free(lab->value);
    free(lab->bias);
    free(lab->x);
    free(lab);
}

void lintrans_lab_add(lintrans_lab *lab, uint32_t out, uint32_t in,
                      int64_t rotation)
{
    const size_t i = lab->spec.n_diagonals++;
    assert_true(i < LAB_DIAGONALS);
    lab->diagonal[i] = (ckks_diagonal){out, in, rotation};
    world_random(&lab->stream, lab->value + i * lab->slots, lab->slots, 1);
}

void lintrans_lab_add_bias(lintrans_lab *lab)
{
    world_random(&lab->stream, lab->bias, LAB_CTS * lab->slots, 1);
    lab->spec.fill_bias = fill_bias;
}

ckks_evaluator *lintrans_lab_evaluator(const lintrans_lab *lab,
                                       const ckks_lintrans *map,
                                       rlwe_keyset **keys)
{
    const world *w = &lab->w;
    ckks_rotation_use use[LAB_KEYS];
    rlwe_switch_key *key[LAB_KEYS];
    const size_t n = ckks_lintrans_rotations(map, use, LAB_KEYS);
    assert_true(n <= LAB_KEYS);
    for (size_t i = 0; i < n; i++) {
        const rlwe_key_target target = {RLWE_KEY_GALOIS, use[i].galois};
        assert_true(use[i].galois ==
                    ntt_ring_rotation(&w->context->ring->ring, use[i].steps));
        CHECK(rlwe_switch_key_new(
            &key[i], w->context, w->secret, target,
            &w->context->params.literal.gadget[use[i].gadget], &w->root,
            (uint32_t)use[i].steps * 4 + (uint32_t)use[i].gadget, err));
    }
    ckks_evaluator *ev;
    CHECK(rlwe_keyset_new(keys, w->context, key, (int)n, err));
    CHECK(ckks_evaluator_new(&ev, w->context, n > 0 ? *keys : NULL, err));
    return ev;
}

static void apply(lintrans_lab *lab, ckks_lintrans *map, ckks_ct *out,
                  ckks_ct *in, int threads)
{
    ckks_ct *outs[LAB_CTS];
    const ckks_ct *ins[LAB_CTS];
    for (size_t i = 0; i < LAB_CTS; i++) {
        outs[i] = &out[i];
        ins[i] = &in[i];
    }
    rlwe_keyset *keys;
    ckks_evaluator *ev = lintrans_lab_evaluator(lab, map, &keys);
    if (lab->bind) {
        CHECK(ckks_lintrans_bind(map, keys, err));
        ev->keys = NULL;
    }
    sotto_pool *pool = threads > 1 ? sotto_pool_new(threads) : NULL;
    sotto_arena arena = sotto_arena_init(ckks_lintrans_scratch(map, threads));
    assert_non_null(arena.base);
    memset(arena.base, 0xa5, arena.capacity);
    if (ckks_lintrans_apply(map, ev, outs, ins, pool, &arena) != SOTTO_OK) {
        fail_msg("%s", ev->error.text);
    }
    assert_int_equal(arena.used, 0);
    sotto_arena_clear(&arena);
    sotto_pool_free(pool);
    ckks_evaluator_free(ev);
    rlwe_keyset_free(keys);
}

/* Mean square of what decryption gives less what the plain map gives, in
 * integer units, over the prediction. */
static double measure(lintrans_lab *lab, const ckks_lintrans *map, ckks_ct *out)
{
    const ckks_lintrans_spec *spec = &lab->spec;
    const double n = (double)(spec->n_out * lab->slots);
    double *want = calloc(spec->n_out * lab->slots, sizeof *want);
    double *re = calloc(lab->slots, sizeof *re);
    assert_true(want && re);
    CHECK(ckks_lintrans_plain(spec, lab->slots, want, lab->x, err));
    double sum = 0;
    for (size_t o = 0; o < spec->n_out; o++) {
        world_decrypt(&lab->w, re, NULL, &out[o]);
        for (size_t j = 0; j < lab->slots; j++) {
            const double e =
                (re[j] - want[o * lab->slots + j]) * spec->out_scale;
            sum += e * e / n;
        }
    }
    free(want);
    free(re);
    /* Inputs are uniform in [-1, 1] at scales near 2^30. */
    return sum / ckks_lintrans_noise(map, ckks_noise_fresh(lab->w.context),
                                     0x1p+30 / sqrt(3));
}

/* Looks at the outputs. */
static void collect(lintrans_lab *lab, lintrans_outcome *o, const ckks_ct *out)
{
    const size_t words = 2 * rlwe_level_words(lab->w.context, lab->spec.to);
    o->n_words = lab->spec.n_out * words;
    o->words = calloc(o->n_words, sizeof *o->words);
    assert_non_null(o->words);
    for (size_t i = 0; i < lab->spec.n_out; i++) {
        assert_int_equal(out[i].ct.level, lab->spec.to);
        assert_int_equal(out[i].ct.n_components, 2);
        assert_true(out[i].scale == lab->spec.out_scale);
        memcpy(o->words + i * words, out[i].ct.data, words * sizeof *o->words);
    }
}

lintrans_outcome lintrans_lab_run(lintrans_lab *lab, int threads)
{
    lintrans_outcome o = {0};
    ckks_lintrans *map;
    ckks_ct in[LAB_CTS];
    ckks_ct out[LAB_CTS];
    CHECK(ckks_lintrans_new(&map, lab->w.encoder, lab->w.context, &lab->spec,
                            err));
    lab->w.object = 0;
    for (size_t i = 0; i < LAB_CTS; i++) {
        in[i] = world_encrypt(&lab->w, lab->x + i * lab->slots,
                              lab->in_scale[i], lab->spec.from);
        out[i] = world_ct(&lab->w);
    }
    apply(lab, map, out, in, threads);
    o.ratio = measure(lab, map, out);
    o.info = ckks_lintrans_describe(map);
    collect(lab, &o, out);
    for (size_t i = 0; i < LAB_CTS; i++) {
        ckks_ct_clear(&in[i]);
        ckks_ct_clear(&out[i]);
    }
    ckks_lintrans_free(map);
    return o;
}

void lintrans_outcome_free(lintrans_outcome *outcome)
{
    free(outcome->words);
}
