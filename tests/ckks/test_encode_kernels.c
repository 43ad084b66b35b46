/* SPDX-License-Identifier: MIT
 * ckks_kernels of every instruction set against the portable ones, bit for bit;
 * how many limbs decoding looks at.
 */
#include "ckks/encode_internal.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "ckks/round_internal.h"
#include "ntt/poly.h"
#include "tests/support/ckks_world.h"

/* The kernels above portable that this machine runs. */
static int backends(const ckks_kernels *out[2])
{
    int count = 0;
    for (int cap = NTT_BACKEND_AVX2; cap <= NTT_BACKEND_IFMA; cap++) {
        const ckks_kernels *k = ckks_kernels_choose((ntt_backend)cap);
        if (k != &ckks_kernels_portable && (count == 0 || out[0] != k)) {
            out[count++] = k;
        }
    }
    if (count == 0) {
        print_message("# only portable kernels on this machine\n");
    }
    return count;
}

static double *random_doubles(size_t count, double most, const char *text)
{
    sotto_seed seed;
    sotto_stream stream;
    sotto_seed_from_text(&seed, text);
    sotto_stream_init(&stream, &seed);
    double *x = malloc(count * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) {
        const int64_t bits = (int64_t)sotto_stream_u64(&stream);
        x[i] = (double)bits * 0x1p-63 * most;
    }
    x[0] = most;
    x[count - 1] = -most;
    return x;
}

static void test_embed_matches_portable(void **state)
{
    (void)state;
    const ckks_kernels *k[2];
    const int count = backends(k);
    /* Rings below 2^10 have fewer points than a leaf, or just as many. */
    for (int log2_n = 3; log2_n <= 15; log2_n++) {
        const ntt_ring ring = ntt_ring_init(log2_n);
        ckks_embed embed;
        assert_int_equal(ckks_embed_init(&embed, &ring, NULL), SOTTO_OK);
        const size_t n = ring.n;
        double *x = random_doubles(n, 3, "embed");
        double *want = malloc(n * sizeof *want);
        double *have = malloc(n * sizeof *have);
        assert_true(want != NULL && have != NULL);
        for (int i = 0; i < count; i++) {
            memcpy(want, x, n * sizeof *x);
            memcpy(have, x, n * sizeof *x);
            ckks_embed_forward(&embed, want, want + n / 2);
            k[i]->forward(&embed, have, have + n / 2);
            assert_memory_equal(want, have, n * sizeof *x);
            ckks_embed_inverse(&embed, want, want + n / 2);
            k[i]->inverse(&embed, have, have + n / 2);
            assert_memory_equal(want, have, n * sizeof *x);
        }
        free(x);
        free(want);
        free(have);
        ckks_embed_clear(&embed);
    }
}

static void test_loops_match_portable(void **state)
{
    (void)state;
    enum { N = 1003 };
    const ckks_kernels *k[2], *const p = &ckks_kernels_portable;
    const int count = backends(k);
    static const uint64_t q[] = {12289, 1073692673, 70368744210433,
                                 1125899904679937};
    double *x = random_doubles(N, 0x1p+50, "loops");
    int8_t error[N];
    double want[N], have[N];
    uint64_t want_r[N], have_r[N];
    for (size_t i = 0; i < N; i++) {
        error[i] = (int8_t)((int)(i % 43) - 21);
        x[i] = i % 3 ? x[i] : floor(x[i] * 0x1p-30) + 0.5; /* ties */
    }
    for (int b = 0; b < count; b++) {
        assert_true(p->largest(x, N) == k[b]->largest(x, N));
        p->round(want, x, 0.75, NULL, N);
        k[b]->round(have, x, 0.75, NULL, N);
        assert_memory_equal(want, have, sizeof want);
        p->round(want, x, 1, error, N);
        k[b]->round(have, x, 1, error, N);
        assert_memory_equal(want, have, sizeof want);
        for (size_t m = 0; m < sizeof q / sizeof q[0]; m++) {
            const zq_modulus mod = zq_modulus_init(q[m]);
            p->reduce(want_r, want, N, &mod);
            k[b]->reduce(have_r, want, N, &mod);
            assert_memory_equal(want_r, have_r, sizeof want_r);
            for (size_t i = 0; i < N; i++) {
                assert_int_equal(have_r[i],
                                 zq_from_i64((int64_t)want[i], &mod));
            }
            memcpy(want, x, sizeof want);
            memcpy(have, x, sizeof have);
            p->add_digits(want, want_r, 0x1.8p+40, N, q[m]);
            k[b]->add_digits(have, want_r, 0x1.8p+40, N, q[m]);
            assert_memory_equal(want, have, sizeof want);
            p->round(want, x, 1, error, N);
        }
        x[500] = NAN;
        assert_false(k[b]->largest(x, N) < INFINITY);
        x[500] = 0;
    }
    free(x);
}

/* Limbs that were made, in order. */
typedef struct source {
    const rns_ring *ring;
    const uint64_t *phase;
    int made;
} source;

static void make_limb(void *arg, uint64_t *out, int i)
{
    source *s = arg;
    assert_int_equal(i, s->made++);
    memcpy(out, poly_limb_const(s->ring, s->phase, i),
           s->ring->ring.n * sizeof *out);
}

/* Decodes the constant sum of high·(product of the first `of` moduli) in
 * coefficient 0 and 5 everywhere. Returns the limbs looked at. */
static int decode_sum(const rlwe_context *context, const ckks_encoder *encoder,
                      double *slot, uint64_t high, int of, double scale)
{
    const rns_ring *ring = context->ring;
    const rns_set *set = rlwe_level_set(context, 0);
    const size_t words = rlwe_level_words(context, 0), n = ring->ring.n;
    uint64_t *phase = sotto_calloc(words, 8), *work = sotto_calloc(words, 8);
    double *re = sotto_calloc(n / 2, sizeof *re);
    sotto_arena arena = sotto_arena_init(ckks_encode_scratch(context));
    assert_true(phase && work && re && arena.base);
    for (int i = 0; i < set->count; i++) {
        const zq_modulus *mod = rns_modulus(ring, set->id[i]);
        uint64_t product = zq_reduce_u64(high, mod);
        for (int j = 0; j < of; j++) {
            const uint64_t q = rns_modulus(ring, set->id[j])->q;
            product = zq_mul(product, zq_reduce_u64(q, mod), mod);
        }
        uint64_t *x = poly_limb(ring, phase, i);
        for (size_t k = 0; k < n; k++) {
            x[k] = 5;
        }
        x[0] = zq_add(5, product, mod->q);
    }
    poly_forward(ring, set, phase);
    source s = {ring, phase, 0};
    ckks_decode_limbs(encoder, context, re, NULL, n / 2, work, make_limb, &s,
                      scale, 0, &arena);
    *slot = re[7];
    sotto_arena_clear(&arena);
    sotto_free(phase);
    sotto_free(work);
    sotto_free(re);
    return s.made;
}

/* A scale that is a product of moduli makes digits vanish below the message:
 * the weight has to pass the scale before a digit of 0 says anything. */
static void test_decode_looks_at_enough_limbs(void **state)
{
    (void)state;
    static const double log2_q[] = {40, 40, 40, 40, 40, 40, 0};
    static const char *const levels[] = {"abcdef", NULL};
    const world_spec spec = {.log2_n = 10, .log2_q = log2_q, .level = levels};
    const rlwe_params_literal literal = world_literal(&spec);
    rlwe_context *context;
    ckks_encoder *encoder;
    assert_int_equal(rlwe_context_new(&context, &literal, NULL), SOTTO_OK);
    assert_int_equal(ckks_encoder_new(&encoder, context, NULL), SOTTO_OK);
    double slot;
    for (int of = 0; of < 5; of++) {
        double scale = 1;
        for (int j = 0; j < of; j++) {
            scale *= (double)rns_modulus(context->ring, j)->q;
        }
        const double want = of > 0 ? 3 : 0;
        const int limbs = decode_sum(context, encoder, &slot, of > 0 ? 3 : 0,
                                     of, of > 0 ? scale : 0x1p+30);
        assert_true(fabs(slot - want) < 0x1p-15);
        assert_int_equal(limbs, of + 2);
    }
    /* Larger than its scale by a modulus and more: found all the same. */
    const double far = (double)rns_modulus(context->ring, 0)->q * 0x1p+39;
    assert_int_equal(decode_sum(context, encoder, &slot, (uint64_t)1 << 39, 2,
                                (double)rns_modulus(context->ring, 1)->q),
                     4);
    assert_true(fabs(slot / far - 1) < 0x1p-30);
    ckks_encoder_free(encoder);
    rlwe_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed_matches_portable),
        cmocka_unit_test(test_loops_match_portable),
        cmocka_unit_test(test_decode_looks_at_enough_limbs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
