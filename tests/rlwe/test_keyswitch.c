/* SPDX-License-Identifier: MIT
 * Key switching: the bits against the formula written out, the meaning and the
 * noise against the secret, for many digit partitions and levels.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ntt/poly.h"
#include "ntt/sample.h"
#include "rlwe/encrypt.h"
#include "rlwe/keyswitch.h"
#include "tests/support/fail.h"
#include "tests/support/rlwe_lab.h"

/* Six ciphertext moduli and three special ones. Levels are no prefixes and
 * steps remove one, two or three moduli. */
static const double sizes[] = {46, 36, 36, 30, 30, 32, 46.3, 46.5, 46.7, 0};
static const char *const levels[] = {"abcdef", "bcdef", "bcd", "be", "e", NULL};
static const char *const steps[] = {"01", "12", "02", "13", "34", NULL};

/* dnum 1 (P of three moduli), 2 uneven, 3 interleaved, one per limb; 1 to 3
 * special moduli; one that serves the lower levels only. P may be small where a
 * digit is small. */
static const char *const gadgets[] = {"abcdef|001111|ghi", "abcdef|012012|gh",
                                      "abcdef|000111|ghi", "abcdef|012345|g",
                                      "abcdef|021120|gi",  "bcde|0011|hi",
                                      "be|00|ghi",         NULL};

static const world_spec spec = {.log2_n = 10,
                                .log2_q = sizes,
                                .level = levels,
                                .step = steps,
                                .gadget = gadgets};

static const rlwe_key_target targets[] = {{RLWE_KEY_POWER, 2},
                                          {RLWE_KEY_POWER, 3},
                                          {RLWE_KEY_POWER, 4},
                                          {RLWE_KEY_GALOIS, 25},
                                          {RLWE_KEY_GALOIS, 2047}};
enum { N_TARGETS = sizeof targets / sizeof targets[0] };

static const rlwe_gadget *gadget_at(const rlwe_lab *lab, int g)
{
    return &lab->context->params.literal.gadget[g];
}

static rlwe_switch_key *key_for(const rlwe_lab *lab, int target, int gadget)
{
    rlwe_switch_key *key;
    CHECK(rlwe_switch_key_new(&key, lab->context, lab->secret, targets[target],
                              gadget_at(lab, gadget), &lab->root,
                              (uint32_t)(target * RLWE_MAX_GADGETS + gadget),
                              err));
    return key;
}

static rlwe_switcher *switcher_for(const rlwe_lab *lab, int gadget, int from,
                                   int to)
{
    rlwe_switcher *switcher;
    CHECK(rlwe_switcher_new(&switcher, lab->context, gadget_at(lab, gadget),
                            from, to, err));
    return switcher;
}

/* ---- The formula, written out ------------------------------------------ */

/* Product of the moduli of a set but skip, modulo another. */
static uint64_t product_but(const rns_ring *ring, const rns_set *set, int skip,
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

/* lift = Σ centre([x_i·(F/f_i)^-1]_{f_i})·(F/f_i) over the limbs of `from`, for
 * the modulus id. in[i]: limb of from.id[i], coefficients. */
static void lift_ref(uint64_t *lift, const rlwe_lab *lab, const rns_set *from,
                     uint64_t *const *in, int id)
{
    const rns_ring *ring = lab->context->ring;
    const zq_modulus *mod = rns_modulus(ring, id);
    memset(lift, 0, lab->n * sizeof *lift);
    for (int i = 0; i < from->count; i++) {
        const zq_modulus *f = rns_modulus(ring, from->id[i]);
        const uint64_t inverse =
            zq_inv(product_but(ring, from, from->id[i], f), f);
        const uint64_t factor = product_but(ring, from, from->id[i], mod);
        for (size_t k = 0; k < lab->n; k++) {
            const int64_t y = zq_centre(zq_mul(in[i][k], inverse, f), f->q);
            lift[k] = zq_add(lift[k], zq_mul(zq_from_i64(y, mod), factor, mod),
                             mod->q);
        }
    }
}

/* Limb pointers of the members of `part` within a polynomial over `whole`. */
static void limbs_of(uint64_t **limb, const rns_ring *ring, const rns_set *part,
                     const rns_set *whole, uint64_t *a)
{
    for (int i = 0; i < part->count; i++) {
        limb[i] = poly_limb(ring, a, rns_set_find(whole, part->id[i]));
    }
}

/* u += Σ_j digit_j(x)·half_j over `all`, NTT domain. x: coefficients. */
static void product_ref(uint64_t *u, const rlwe_lab *lab, const rns_set *all,
                        const rns_set *level, uint64_t *x,
                        const rlwe_switch_key *key, int half)
{
    const rns_ring *ring = lab->context->ring;
    _Alignas(SOTTO_ALIGN) uint64_t lift[1024];
    for (int j = 0; j < key->gadget.n_digits; j++) {
        rns_set digit = {.count = 0};
        for (int i = 0; i < key->gadget.limbs.count; i++) {
            const int id = key->gadget.limbs.id[i];
            if (key->gadget.digit[i] == j && rns_set_find(level, id) >= 0) {
                digit.id[digit.count++] = (uint8_t)id;
            }
        }
        uint64_t *limb[RNS_MAX_LIMBS];
        limbs_of(limb, ring, &digit, level, x);
        for (int m = 0; m < all->count && digit.count > 0; m++) {
            const int id = all->id[m];
            const rns_set one = rns_set_range(id, 1);
            lift_ref(lift, lab, &digit, limb, id);
            poly_forward(ring, &one, lift);
            poly_mul_add(ring, &one, poly_limb(ring, u, m), lift,
                         rlwe_switch_key_limb(key, lab->context,
                                              rns_set_find(&key->set, id), j,
                                              half));
        }
    }
}

/* out = (P·c + Σ digit_j(x_i)·key_i_j - lift from the removed) / removed, over
 * the limbs of `to`; c may be NULL. Everything in NTT domain. */
static void switch_ref(uint64_t *out, const rlwe_lab *lab, const uint64_t *c,
                       const uint64_t *const *x,
                       const rlwe_switch_key *const *key, int n_x, int half,
                       int from, int to)
{
    const rns_ring *ring = lab->context->ring;
    const rns_set *level = rlwe_level_set(lab->context, from);
    const rns_set *keep = rlwe_level_set(lab->context, to);
    const rns_set *special = &key[0]->gadget.special;
    const rns_set all = rns_set_union(level, special);
    const rns_set by = rns_set_minus(&all, keep);
    uint64_t *u = lab_poly(lab, &all);
    uint64_t *copy = lab_poly(lab, level);
    for (int i = 0; i < n_x; i++) {
        poly_copy(ring, level, copy, x[i]);
        poly_inverse(ring, level, copy);
        product_ref(u, lab, &all, level, copy, key[i], half);
    }
    for (int i = 0; i < level->count && c != NULL; i++) {
        const rns_set one = rns_set_range(level->id[i], 1);
        const uint64_t p =
            product_but(ring, special, -1, rns_modulus(ring, level->id[i]));
        poly_mul_scalar(ring, &one, copy, poly_limb_const(ring, c, i), &p);
        uint64_t *to_limb =
            poly_limb(ring, u, rns_set_find(&all, level->id[i]));
        poly_add(ring, &one, to_limb, to_limb, copy);
    }
    poly_inverse(ring, &all, u);
    uint64_t *removed[RNS_MAX_LIMBS];
    limbs_of(removed, ring, &by, &all, u);
    _Alignas(SOTTO_ALIGN) uint64_t lift[1024];
    for (int i = 0; i < keep->count; i++) {
        const int id = keep->id[i];
        const zq_modulus *mod = rns_modulus(ring, id);
        const uint64_t inverse = zq_inv(product_but(ring, &by, -1, mod), mod);
        const uint64_t *limb = poly_limb(ring, u, rns_set_find(&all, id));
        lift_ref(lift, lab, &by, removed, id);
        for (size_t k = 0; k < lab->n; k++) {
            poly_limb(ring, out, i)[k] =
                zq_mul(zq_sub(limb[k], lift[k], mod->q), inverse, mod);
        }
    }
    poly_forward(ring, keep, out);
    sotto_free(u);
    sotto_free(copy);
}

static void assert_same_poly(const rlwe_lab *lab, const rns_set *set,
                             const uint64_t *a, const uint64_t *b)
{
    for (int i = 0; i < set->count; i++) {
        assert_memory_equal(poly_limb_const(lab->context->ring, a, i),
                            poly_limb_const(lab->context->ring, b, i),
                            lab->n * sizeof *a);
    }
}

/* Polynomials for one call. */
typedef struct operands {
    uint64_t *c[2];
    uint64_t *x[3];
    uint64_t *out[2];
    uint64_t *want;
} operands;

static operands make_operands(const rlwe_lab *lab, int from)
{
    const rns_set *level = rlwe_level_set(lab->context, from);
    operands o = {.want = lab_poly(lab, level)};
    for (int i = 0; i < 2; i++) {
        o.c[i] = lab_poly(lab, level);
        o.out[i] = lab_poly(lab, level);
        lab_uniform(lab, level, o.c[i], (uint64_t)(10 + i));
    }
    for (int i = 0; i < 3; i++) {
        o.x[i] = lab_poly(lab, level);
        lab_uniform(lab, level, o.x[i], (uint64_t)(20 + i));
    }
    return o;
}

static void free_operands(operands *o)
{
    for (int i = 0; i < 2; i++) {
        sotto_free(o->c[i]);
        sotto_free(o->out[i]);
    }
    for (int i = 0; i < 3; i++) {
        sotto_free(o->x[i]);
    }
    sotto_free(o->want);
}

static void check_bits(rlwe_lab *lab, const rlwe_switcher *switcher,
                       const rlwe_switch_key *const *key, int n_x, bool with_c)
{
    const int from = switcher->from, to = switcher->to;
    operands o = make_operands(lab, from);
    const uint64_t *const x[3] = {o.x[0], o.x[1], o.x[2]};
    const uint64_t *c[2] = {with_c ? o.c[0] : NULL, with_c ? o.c[1] : NULL};
    rlwe_switch(switcher, lab->context, o.out[0], o.out[1], c[0], c[1], x, key,
                n_x, &lab->arena);
    assert_int_equal(lab->arena.used, 0);
    for (int half = 0; half < 2; half++) {
        switch_ref(o.want, lab, c[half], x, key, n_x, half, from, to);
        assert_same_poly(lab, rlwe_level_set(lab->context, to), o.out[half],
                         o.want);
    }
    free_operands(&o);
}

/* Every gadget, level and step, with and without c, one and three inputs. */
static void test_rlwe_switch_matches_formula(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "formula");
    const rlwe_chain *chain = &lab.context->chain;
    for (int g = 0; gadgets[g]; g++) {
        rlwe_switch_key *key[3] = {key_for(&lab, 0, g), key_for(&lab, 1, g),
                                   key_for(&lab, 2, g)};
        const rlwe_switch_key *const keys[3] = {key[0], key[1], key[2]};
        for (int from = 0; from < chain->n_levels; from++) {
            if (!rns_set_contains(&gadget_at(&lab, g)->limbs,
                                  &chain->level[from].set)) {
                continue;
            }
            for (int to = from; to < chain->n_levels; to++) {
                if (to != from && !rlwe_chain_step(chain, from, to)) {
                    continue;
                }
                rlwe_switcher *switcher = switcher_for(&lab, g, from, to);
                check_bits(&lab, switcher, keys, 1 + 2 * ((g + to) % 2),
                           (from + to + g) % 3 != 0);
                rlwe_switcher_free(switcher);
            }
        }
        for (int i = 0; i < 3; i++) {
            rlwe_switch_key_free(key[i]);
        }
    }
    lab_free(&lab);
}

/* Outputs may be inputs. */
static void test_rlwe_switch_in_place(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "alias");
    rlwe_switch_key *key = key_for(&lab, 0, 1);
    const rlwe_switch_key *const keys[1] = {key};
    static const int pairs[2][2] = {{0, 0}, {0, 2}};
    for (int i = 0; i < 2; i++) {
        rlwe_switcher *switcher =
            switcher_for(&lab, 1, pairs[i][0], pairs[i][1]);
        const rns_set *set = rlwe_level_set(lab.context, pairs[i][1]);
        operands a = make_operands(&lab, 0);
        operands b = make_operands(&lab, 0);
        const uint64_t *const x[1] = {a.x[0]};
        const uint64_t *const y[1] = {b.x[0]};
        rlwe_switch(switcher, lab.context, a.out[0], a.out[1], a.c[0], a.c[1],
                    x, keys, 1, &lab.arena);
        rlwe_switch(switcher, lab.context, b.x[0], b.c[1], b.c[0], b.c[1], y,
                    keys, 1, &lab.arena);
        assert_same_poly(&lab, set, a.out[0], b.x[0]);
        assert_same_poly(&lab, set, a.out[1], b.c[1]);
        free_operands(&a);
        free_operands(&b);
        rlwe_switcher_free(switcher);
    }
    rlwe_switch_key_free(key);
    lab_free(&lab);
}

/* A rescale that is joined is the division of P·c + u by all at once, not
 * ModDown and rescale in turn: few coefficients differ, by one. */
static void test_rlwe_switch_joined_is_one_division(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "joined");
    rlwe_switch_key *key = key_for(&lab, 0, 1);
    const rlwe_switch_key *const keys[1] = {key};
    rlwe_switcher *plain = switcher_for(&lab, 1, 0, 0);
    rlwe_switcher *joined = switcher_for(&lab, 1, 0, 1);
    const rlwe_transition *step = rlwe_chain_step(&lab.context->chain, 0, 1);
    const rns_ring *ring = lab.context->ring;
    const rns_set *to = rlwe_level_set(lab.context, 1);
    operands o = make_operands(&lab, 0);
    const uint64_t *const x[1] = {o.x[0]};
    rlwe_switch(plain, lab.context, o.out[0], o.out[1], o.c[0], o.c[1], x, keys,
                1, &lab.arena);
    uint64_t *twice = lab_poly(&lab, to);
    uint64_t *scratch =
        sotto_calloc(rns_divide_scratch(step->divider, ring), 8);
    assert_non_null(scratch);
    /* "bcdef" follows "a" in memory. */
    rns_divide(step->divider, ring, twice, poly_limb(ring, o.out[0], 1),
               o.out[0], scratch);
    rlwe_switch(joined, lab.context, o.out[0], o.out[1], o.c[0], o.c[1], x,
                keys, 1, &lab.arena);
    poly_sub(ring, to, o.out[0], o.out[0], twice);
    int64_t small[1024];
    const double variance = lab_variance(&lab, to, o.out[0], small);
    assert_true(variance < 1.5);
    for (size_t i = 0; i < lab.n; i++) {
        assert_in_range(small[i] + 3, 0, 6);
    }
    sotto_free(scratch);
    sotto_free(twice);
    free_operands(&o);
    rlwe_switcher_free(plain);
    rlwe_switcher_free(joined);
    rlwe_switch_key_free(key);
    lab_free(&lab);
}

/* ---- Meaning and noise ------------------------------------------------- */

/* Expected variance of the phase error in coefficients: the digits times the
 * keys' errors, over P² and over what is rescaled away, and the rounding of
 * both components. A centred lift from k moduli is a sum of k uniform numbers,
 * each of variance F²/12. */
static double expected_variance(const rlwe_lab *lab,
                                const rlwe_switcher *switcher, int n_x)
{
    const rns_ring *ring = lab->context->ring;
    const double n = (double)lab->n;
    double divisor = 1;
    const rns_set *by = &switcher->down->converter->from;
    for (int i = 0; i < by->count; i++) {
        divisor *= (double)rns_modulus(ring, by->id[i])->q;
    }
    double sum = 0;
    for (int d = 0; d < switcher->n_digits; d++) {
        const rns_set *digit = &switcher->up[d]->from;
        double relative = 1 / divisor; /* Q_j / divisor */
        for (int i = 0; i < digit->count; i++) {
            relative *= (double)rns_modulus(ring, digit->id[i])->q;
        }
        sum += digit->count / 12.0 * relative * relative;
    }
    return n_x * n * NTT_ERROR_VARIANCE * sum +
           by->count / 12.0 * (1 + n * 2 / 3);
}

/* A small message m that a division by the removed moduli keeps: c_0 =
 * removed·m - Σ x_i·s'_i, so that the result's phase is m and the noise. */
static void message_for(const rlwe_lab *lab, const rlwe_switcher *switcher,
                        uint64_t *c_0, const uint64_t *const *x,
                        const rlwe_switch_key *const *key, int n_x,
                        const int8_t *m)
{
    const rns_ring *ring = lab->context->ring;
    const rns_set *level = rlwe_level_set(lab->context, switcher->from);
    const rns_set removed =
        rns_set_minus(level, rlwe_level_set(lab->context, switcher->to));
    uint64_t *source = lab_poly(lab, level);
    uint64_t factor[RNS_MAX_LIMBS];
    for (int i = 0; i < level->count; i++) {
        factor[i] =
            product_but(ring, &removed, -1, rns_modulus(ring, level->id[i]));
    }
    poly_from_small(ring, level, c_0, m);
    poly_forward(ring, level, c_0);
    poly_mul_scalar(ring, level, c_0, c_0, factor);
    for (int i = 0; i < n_x; i++) {
        lab_source(lab, level, source, key[i]->target);
        poly_mul(ring, level, source, source, x[i]);
        poly_sub(ring, level, c_0, c_0, source);
    }
    sotto_free(source);
}

/* Variance of the error of one call. */
static double measure(rlwe_lab *lab, const rlwe_switcher *switcher,
                      const rlwe_switch_key *const *key, int n_x)
{
    const rns_ring *ring = lab->context->ring;
    const rns_set *to = rlwe_level_set(lab->context, switcher->to);
    int8_t *m = sotto_calloc(lab->n, 1);
    sotto_seed stream;
    sotto_prf(&stream, &lab->root, SOTTO_LABEL_TEST, 99, 0, 0, 0);
    assert_non_null(m);
    ntt_sample_error(m, lab->n, &stream, &ring->limb[0].kernels);
    operands o = make_operands(lab, switcher->from);
    const uint64_t *const x[3] = {o.x[0], o.x[1], o.x[2]};
    message_for(lab, switcher, o.c[0], x, key, n_x, m);
    rlwe_switch(switcher, lab->context, o.out[0], o.out[1], o.c[0], NULL, x,
                key, n_x, &lab->arena);
    /* out_0 + out_1·s - m */
    uint64_t *s = lab_poly(lab, to);
    lab_source(lab, to, s, (rlwe_key_target){RLWE_KEY_POWER, 1});
    poly_mul_add(ring, to, o.out[0], o.out[1], s);
    poly_from_small(ring, to, s, m);
    poly_forward(ring, to, s);
    poly_sub(ring, to, o.out[0], o.out[0], s);
    const double variance = lab_variance(lab, to, o.out[0], NULL);
    sotto_free(s);
    sotto_free(m);
    free_operands(&o);
    return variance;
}

static void check_noise(rlwe_lab *lab, int g, int from, int to,
                        const rlwe_switch_key *const *keys, int n_x, double low,
                        double high)
{
    rlwe_switcher *switcher = switcher_for(lab, g, from, to);
    char what[80];
    (void)snprintf(what, sizeof what, "gadget %d, %d inputs, level %d to %d", g,
                   n_x, from, to);
    lab_assert_between(measure(lab, switcher, keys, n_x),
                       expected_variance(lab, switcher, n_x), low, high, what);
    rlwe_switcher_free(switcher);
}

/* All targets, gadgets, levels and steps: s^2, s^3, s^4, rotation,
 * conjugation, then all powers at once. */
static void test_rlwe_switch_noise(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "noise");
    const rlwe_chain *chain = &lab.context->chain;
    for (int g = 0; gadgets[g]; g++) {
        rlwe_switch_key *key[N_TARGETS];
        const rlwe_switch_key *all[N_TARGETS];
        for (int t = 0; t < N_TARGETS; t++) {
            all[t] = key[t] = key_for(&lab, t, g);
        }
        for (int from = 0; from < chain->n_levels; from++) {
            if (!rns_set_contains(&gadget_at(&lab, g)->limbs,
                                  &chain->level[from].set)) {
                continue;
            }
            for (int t = 0; t < N_TARGETS; t++) {
                check_noise(&lab, g, from, from, &all[t], 1, 0.7, 1.4);
            }
            check_noise(&lab, g, from, from, all, 3, 0.7, 1.4);
            for (int to = from + 1; to < chain->n_levels; to++) {
                if (rlwe_chain_step(chain, from, to)) {
                    check_noise(&lab, g, from, to, &all[(g + to) % N_TARGETS],
                                1, 0.7, 1.4);
                }
            }
        }
        for (int t = 0; t < N_TARGETS; t++) {
            rlwe_switch_key_free(key[t]);
        }
    }
    lab_free(&lab);
}

/* A secure set, N = 2^13, 214 bits: the tighter statistics of more
 * coefficients. */
static void test_rlwe_switch_noise_secure(void **state)
{
    (void)state;
    static const double secure_sizes[] = {46, 40, 40, 41, 46.5, 0};
    static const char *const secure_levels[] = {"abcd", "abd", "d", NULL};
    static const char *const secure_gadgets[] = {"abcd|0123|e", NULL};
    const world_spec secure = {.log2_n = 13,
                               .log2_q = secure_sizes,
                               .level = secure_levels,
                               .gadget = secure_gadgets};
    rlwe_lab lab = lab_new(&secure, "secure");
    assert_int_equal(lab.context->params.security_bits, 128);
    rlwe_switch_key *key = key_for(&lab, 0, 0);
    const rlwe_switch_key *const keys[1] = {key};
    for (int from = 0; from < 3; from++) {
        check_noise(&lab, 0, from, from, keys, 1, 0.9, 1.1);
    }
    check_noise(&lab, 0, 0, 1, keys, 1, 0.9, 1.1);
    check_noise(&lab, 0, 1, 2, keys, 1, 0.9, 1.1);
    rlwe_switch_key_free(key);
    lab_free(&lab);
}

/* ---- Construction ------------------------------------------------------ */

static void test_rlwe_switcher_new_refuses(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "refuse");
    rlwe_switcher *switcher;
    LAB_FAILS(SOTTO_ERR_LEVEL,
              rlwe_switcher_new(&switcher, lab.context, gadget_at(&lab, 5), 1,
                                1, err),
              "level 1", "4 moduli");
    assert_null(switcher);
    LAB_FAILS(SOTTO_ERR_LEVEL,
              rlwe_switcher_new(&switcher, lab.context, gadget_at(&lab, 0), 0,
                                4, err),
              "level 0 to level 4");
    assert_null(switcher);
    rlwe_switcher_free(NULL);
    lab_free(&lab);
}

static sotto_status make_switcher(void *arg)
{
    const rlwe_lab *lab = arg;
    rlwe_switcher *switcher;
    sotto_error err;
    const sotto_status status = rlwe_switcher_new(
        &switcher, lab->context, gadget_at(lab, 3), 0, 1, &err);
    rlwe_switcher_free(switcher);
    return status;
}

static void test_rlwe_switcher_new_out_of_memory(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "sweep");
    assert_true(fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 100, make_switcher,
                           &lab) > 10);
    lab_free(&lab);
}

/* No allocation while switching. */
static void test_rlwe_switch_allocates_nothing(void **state)
{
    (void)state;
    rlwe_lab lab = lab_new(&spec, "no allocation");
    rlwe_switch_key *key = key_for(&lab, 0, 1);
    const rlwe_switch_key *const keys[1] = {key};
    rlwe_switcher *switcher = switcher_for(&lab, 1, 0, 1);
    operands o = make_operands(&lab, 0);
    const uint64_t *const x[1] = {o.x[0]};
    fail_arm(FAIL_ALLOC, 0);
    rlwe_switch(switcher, lab.context, o.out[0], o.out[1], o.c[0], o.c[1], x,
                keys, 1, &lab.arena);
    assert_false(fail_disarm());
    free_operands(&o);
    rlwe_switcher_free(switcher);
    rlwe_switch_key_free(key);
    lab_free(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rlwe_switch_matches_formula),
        cmocka_unit_test(test_rlwe_switch_in_place),
        cmocka_unit_test(test_rlwe_switch_joined_is_one_division),
        cmocka_unit_test(test_rlwe_switch_noise),
        cmocka_unit_test(test_rlwe_switch_noise_secure),
        cmocka_unit_test(test_rlwe_switcher_new_refuses),
        cmocka_unit_test(test_rlwe_switcher_new_out_of_memory),
        cmocka_unit_test(test_rlwe_switch_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
