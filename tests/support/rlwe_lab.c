/* SPDX-License-Identifier: MIT
 * A bench for tests of rlwe/.
 */
#include "tests/support/rlwe_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ntt/poly.h"
#include "ntt/sample.h"
#include "rlwe/encrypt.h"
#include "rlwe/keyswitch.h"

void lab_assert_failed(sotto_status have, sotto_status want,
                       const sotto_error *err, const char *const *words)
{
    if (have != want) {
        fail_msg("status %d (%s), expected %d (%s)", (int)have, err->text,
                 (int)want, sotto_status_text(want));
    }
    for (; *words; words++) {
        if (strstr(err->text, *words) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", err->text, *words);
        }
    }
}

rlwe_lab lab_new(const world_spec *spec, const char *seed)
{
    rlwe_lab lab = {.n = (size_t)1 << spec->log2_n};
    const rlwe_params_literal literal = world_literal(spec);
    sotto_seed_from_text(&lab.root, seed);
    CHECK(rlwe_context_new(&lab.context, &literal, err));
    CHECK(rlwe_secret_new(&lab.secret, lab.context, &lab.root, err));
    const size_t encrypt_bytes = rlwe_encrypt_scratch(lab.context);
    const size_t switch_bytes = rlwe_switch_scratch(lab.context);
    lab.arena = sotto_arena_init(encrypt_bytes > switch_bytes ? encrypt_bytes
                                                              : switch_bytes);
    assert_non_null(lab.arena.base);
    return lab;
}

void lab_free(rlwe_lab *lab)
{
    sotto_arena_clear(&lab->arena);
    rlwe_secret_free(lab->secret, lab->context);
    rlwe_context_free(lab->context);
}

uint64_t *lab_poly(const rlwe_lab *lab, const rns_set *set)
{
    uint64_t *poly =
        sotto_calloc(poly_words(lab->context->ring, set->count), sizeof *poly);
    assert_non_null(poly);
    return poly;
}

void lab_uniform(const rlwe_lab *lab, const rns_set *set, uint64_t *out,
                 uint64_t number)
{
    const rns_ring *ring = lab->context->ring;
    for (int i = 0; i < set->count; i++) {
        const int id = set->id[i];
        sotto_seed key;
        sotto_prf(&key, &lab->root, SOTTO_LABEL_TEST, number, 0, 0,
                  (uint32_t)id);
        ntt_sample_uniform(poly_limb(ring, out, i), lab->n, &key,
                           rns_modulus(ring, id), &ring->limb[id].kernels);
    }
}

void lab_source(const rlwe_lab *lab, const rns_set *set, uint64_t *out,
                rlwe_key_target target)
{
    const rns_ring *ring = lab->context->ring;
    const uint64_t galois = target.kind == RLWE_KEY_GALOIS ? target.value : 1;
    uint64_t *s = lab_poly(lab, set);
    int8_t *moved = sotto_calloc(lab->n, sizeof *moved);
    assert_non_null(moved);
    /* X^i -> X^(galois·i), with X^N = -1. */
    for (size_t i = 0; i < lab->n; i++) {
        const size_t to = (size_t)(galois * i % (2 * lab->n));
        const int8_t value = lab->secret->small[i];
        moved[to % lab->n] = (int8_t)(to < lab->n ? value : -value);
    }
    poly_from_small(ring, set, s, moved);
    poly_forward(ring, set, s);
    poly_copy(ring, set, out, s);
    if (target.kind == RLWE_KEY_POWER) {
        for (uint64_t power = 1; power < target.value; power++) {
            poly_mul(ring, set, out, out, s);
        }
    }
    sotto_free(moved);
    sotto_free(s);
}

double lab_variance(const rlwe_lab *lab, const rns_set *set, uint64_t *a,
                    int64_t *small)
{
    const rns_ring *ring = lab->context->ring;
    poly_inverse(ring, set, a);
    const zq_modulus *first = rns_modulus(ring, set->id[0]);
    double sum = 0;
    for (size_t k = 0; k < lab->n; k++) {
        const int64_t value = zq_centre(a[k], first->q);
        for (int i = 1; i < set->count; i++) {
            const zq_modulus *mod = rns_modulus(ring, set->id[i]);
            const uint64_t have = poly_limb(ring, a, i)[k];
            if (have != zq_from_i64(value, mod)) {
                fail_msg("coefficient %zu is %lld in limb 0, %lld in limb %d",
                         k, (long long)value,
                         (long long)zq_centre(have, mod->q), i);
            }
        }
        sum += (double)value * (double)value;
        if (small != NULL) {
            small[k] = value;
        }
    }
    return sum / (double)lab->n;
}

void lab_assert_between(double value, double expected, double low, double high,
                        const char *what)
{
    if (!(value >= low * expected && value <= high * expected)) {
        fail_msg("%s: %.6g is not within %.3g to %.3g times %.6g", what, value,
                 low, high, expected);
    }
}
