/* SPDX-License-Identifier: MIT
 * Integer matrix × vector of ciphertexts, against loops of products by a
 * constant and additions: the same residues, bit for bit.
 */
#include "ckks/matrix.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/ckks_world.h"
#include "tests/support/fail.h"

static const double log2_q[] = {46, 32, 33.5, 0};
static const char *const levels[] = {"abc", "bc", NULL};
static const world_spec spec = {
    .log2_n = 10, .log2_q = log2_q, .level = levels};

#define N_OUT ((size_t)7)
#define N_IN ((size_t)13)
#define SCALE (1.21 * 0x1p+18)

typedef struct fixture {
    world w;
    sotto_stream stream;
    double *x[N_IN];
    ckks_ct in[N_IN], out[N_OUT], want;
    const ckks_ct *in_pointer[N_IN];
    ckks_ct *out_pointer[N_OUT];
    int32_t weight[N_OUT * N_IN];
    double bias[N_OUT];
    ckks_matrix matrix;
    sotto_arena arena;
    sotto_error err;
} fixture;

static fixture *setup(void)
{
    fixture *f = calloc(1, sizeof *f);
    sotto_seed seed;
    f->w = world_new(&spec, "matrix");
    sotto_seed_from_text(&seed, "matrix data");
    sotto_stream_init(&f->stream, &seed);
    for (size_t i = 0; i < N_IN; i++) {
        f->x[i] = world_vector(&f->w);
        world_random(&f->stream, f->x[i], f->w.slots, 2);
        f->in[i] = world_encrypt(&f->w, f->x[i], SCALE, 0);
        f->in_pointer[i] = &f->in[i];
    }
    for (size_t o = 0; o < N_OUT; o++) {
        f->out[o] = world_ct(&f->w);
        f->out_pointer[o] = &f->out[o];
        world_random(&f->stream, &f->bias[o], 1, 3);
    }
    for (size_t i = 0; i < N_OUT * N_IN; i++) {
        f->weight[i] = (int32_t)(sotto_stream_u64(&f->stream) % 511) - 255;
    }
    f->want = world_ct(&f->w);
    f->matrix = (ckks_matrix){.n_out = N_OUT,
                              .n_in = N_IN,
                              .weight = f->weight,
                              .weight_scale = 100.5,
                              .bias = f->bias};
    f->arena = sotto_arena_init(
        ckks_matrix_scratch(f->w.context, N_IN, N_OUT, 2 * f->w.slots));
    return f;
}

static void teardown(fixture *f)
{
    for (size_t i = 0; i < N_IN; i++) {
        free(f->x[i]);
        ckks_ct_clear(&f->in[i]);
    }
    for (size_t o = 0; o < N_OUT; o++) {
        ckks_ct_clear(&f->out[o]);
    }
    ckks_ct_clear(&f->want);
    sotto_arena_clear(&f->arena);
    world_free(&f->w);
    free(f);
}

static sotto_status apply(fixture *f)
{
    f->err.text[0] = '\0';
    return ckks_matrix_apply(f->w.context, f->out_pointer, f->in_pointer,
                             &f->matrix, &f->arena, &f->err);
}

static void ok(fixture *f, sotto_status status)
{
    if (status != SOTTO_OK) {
        fail_msg("%s %s", f->err.text, f->w.ev->error.text);
    }
}

/* Makes every input a power of itself: degree + 1 components. */
static void raise_inputs(fixture *f, int degree)
{
    for (size_t i = 0; i < N_IN; i++) {
        ckks_ct base = world_encrypt(&f->w, f->x[i], SCALE, 0);
        for (int d = 1; d < degree; d++) {
            ok(f, ckks_mul(f->w.ev, &f->in[i], &f->in[i], &base));
        }
        ckks_ct_clear(&base);
    }
}

static void assert_same(const fixture *f, const ckks_ct *a, const ckks_ct *b)
{
    const rlwe_context *context = f->w.context;
    assert_int_equal(a->ct.level, b->ct.level);
    assert_int_equal(a->ct.n_components, b->ct.n_components);
    assert_true(a->scale == b->scale);
    assert_false(a->ct.seeded);
    assert_memory_equal(a->ct.key_id, b->ct.key_id, RLWE_KEY_ID_BYTES);
    for (int i = 0; i < a->ct.n_components; i++) {
        const int n_limbs = rlwe_level_set(context, a->ct.level)->count;
        for (int l = 0; l < n_limbs; l++) {
            const size_t at = (size_t)l * context->ring->stride;
            assert_memory_equal(rlwe_ct_component(&a->ct, context, i) + at,
                                rlwe_ct_component(&b->ct, context, i) + at,
                                context->ring->ring.n * sizeof(uint64_t));
        }
    }
}

/* Row o by the evaluator: Σ_i in_i·constant, then the bias. */
static void check_row(fixture *f, size_t o)
{
    ckks_ct term = world_ct(&f->w);
    for (size_t i = 0; i < N_IN; i++) {
        const double scale = f->matrix.weight_scale;
        ckks_ct *const target = i == 0 ? &f->want : &term;
        /* round(value·scale) must be the weight itself */
        ok(f, ckks_mul_constant(f->w.ev, target, &f->in[i],
                                f->weight[o * N_IN + i] / scale, scale));
        if (i > 0) {
            ok(f, ckks_add(f->w.ev, &f->want, &f->want, &term));
        }
    }
    if (f->matrix.bias) {
        ok(f, ckks_add_constant(f->w.ev, &f->want, &f->want, f->bias[o]));
    }
    assert_same(f, &f->out[o], &f->want);
    ckks_ct_clear(&term);
}

static void test_apply_matches_loops(void **state)
{
    (void)state;
    for (int degree = 1; degree <= 4; degree++) {
        fixture *f = setup();
        raise_inputs(f, degree);
        f->matrix.bias = degree % 2 ? f->bias : NULL;
        ok(f, apply(f));
        for (size_t o = 0; o < N_OUT; o++) {
            assert_int_equal(f->out[o].ct.n_components, degree + 1);
            check_row(f, o);
        }
        assert_int_equal(f->arena.used, 0);
        teardown(f);
    }
}

/* The same in plain numbers. */
static void test_apply_matches_doubles(void **state)
{
    (void)state;
    fixture *f = setup();
    double *want = world_vector(&f->w);
    ok(f, apply(f));
    for (size_t o = 0; o < N_OUT; o++) {
        for (size_t j = 0; j < f->w.slots; j++) {
            want[j] = f->bias[o];
            for (size_t i = 0; i < N_IN; i++) {
                want[j] += f->weight[o * N_IN + i] / f->matrix.weight_scale *
                           f->x[i][j];
            }
        }
        assert_true(f->out[o].scale == SCALE * f->matrix.weight_scale);
        assert_true(world_error(&f->w, &f->out[o], want) < 0.02);
    }
    free(want);
    teardown(f);
}

static void test_levels_and_large_weights(void **state)
{
    (void)state;
    fixture *f = setup();
    for (size_t i = 0; i < N_IN; i++) {
        ok(f, ckks_drop(f->w.ev, &f->in[i], &f->in[i], 1));
    }
    for (size_t i = 0; i < N_OUT * N_IN; i++) {
        f->weight[i] *= i % 3 ? 1 : 4000000;
    }
    f->weight[0] = INT32_MAX;
    f->weight[1] = -INT32_MAX;
    f->matrix.weight_scale = 0x1.7p+20;
    ok(f, apply(f));
    for (size_t o = 0; o < N_OUT; o++) {
        assert_int_equal(f->out[o].ct.level, 1);
        check_row(f, o);
    }
    teardown(f);
}

static void test_zero_matrix(void **state)
{
    (void)state;
    fixture *f = setup();
    memset(f->weight, 0, sizeof f->weight);
    assert_int_equal(ckks_matrix_row_norm(&f->matrix), 1);
    ok(f, apply(f));
    for (size_t o = 0; o < N_OUT; o++) {
        check_row(f, o);
    }
    teardown(f);
}

/* Units in any order, any columns, and a larger norm give the same bits; and
 * need no memory. */
static void test_units_in_any_order(void **state)
{
    (void)state;
    fixture *f = setup();
    const size_t n = 2 * f->w.slots;
    ok(f, apply(f));
    ckks_ct whole[N_OUT];
    for (size_t o = 0; o < N_OUT; o++) {
        whole[o] = world_ct(&f->w);
        assert_int_equal(
            rlwe_ct_copy(&whole[o].ct, f->w.context, &f->out[o].ct, NULL),
            SOTTO_OK);
        whole[o].scale = f->out[o].scale;
        memset(f->out[o].ct.data, 0x11,
               f->out[o].ct.capacity * sizeof(uint64_t));
    }
    static const size_t cut[] = {0, 8, 264, 512, 1000, 1024};
    const uint64_t norm = 2 * ckks_matrix_row_norm(&f->matrix);
    fail_arm(FAIL_ALLOC, 0);
    ok(f, ckks_matrix_prepare(f->w.context, f->out_pointer, f->in_pointer,
                              &f->matrix, &f->err));
    for (int unit = 5; unit >= 0; unit--) {
        for (size_t c = 5; c > 0; c--) {
            ckks_matrix_unit(f->w.context, f->out_pointer, f->in_pointer,
                             &f->matrix, norm, unit % 2, unit / 2, cut[c - 1],
                             cut[c] - cut[c - 1], &f->arena);
        }
    }
    assert_false(fail_disarm());
    assert_int_equal(cut[5], n);
    for (size_t o = 0; o < N_OUT; o++) {
        assert_same(f, &f->out[o], &whole[o]);
        ckks_ct_clear(&whole[o]);
    }
    teardown(f);
}

/* Blocks that read some inputs, against the dense matrix with zeros. */
static void test_blocks_match_a_dense_matrix(void **state)
{
    (void)state;
    enum { K_0 = 6, K_1 = 9, M_0 = 3, M_1 = N_OUT - M_0 };
    static const uint32_t in_0[K_0] = {0, 12, 5, 4, 9, 1};
    static const uint32_t in_1[K_1] = {11, 2, 3, 4, 5, 6, 7, 8, 0};
    const ntt_gemm_block block[2] = {{M_0, K_0, in_0}, {M_1, K_1, in_1}};
    fixture *f = setup();
    int32_t dense[N_OUT * N_IN] = {0};
    const int32_t *w = f->weight;
    for (size_t r = 0; r < M_0; r++) {
        for (size_t i = 0; i < K_0; i++) {
            dense[r * N_IN + in_0[i]] = *w++;
        }
    }
    for (size_t r = M_0; r < N_OUT; r++) {
        for (size_t i = 0; i < K_1; i++) {
            dense[r * N_IN + in_1[i]] = *w++;
        }
    }
    f->matrix.n_blocks = 2;
    f->matrix.block = block;
    const uint64_t norm = ckks_matrix_row_norm(&f->matrix);
    const ckks_matrix_shape shape = ckks_matrix_shape_of(&f->matrix);
    assert_int_equal(shape.n_weights, M_0 * K_0 + M_1 * K_1);
    assert_int_equal(shape.block_k, K_1);
    sotto_arena_clear(&f->arena);
    f->arena = sotto_arena_init(
        ckks_matrix_shape_scratch(f->w.context, &shape, 2 * f->w.slots));
    ok(f, apply(f));
    ckks_ct got[N_OUT];
    for (size_t o = 0; o < N_OUT; o++) {
        got[o] = world_ct(&f->w);
        assert_int_equal(
            rlwe_ct_copy(&got[o].ct, f->w.context, &f->out[o].ct, NULL),
            SOTTO_OK);
        got[o].scale = f->out[o].scale;
    }
    f->matrix.n_blocks = 0;
    f->matrix.weight = dense;
    assert_true(ckks_matrix_row_norm(&f->matrix) == norm);
    sotto_arena_clear(&f->arena);
    f->arena = sotto_arena_init(
        ckks_matrix_scratch(f->w.context, N_IN, N_OUT, 2 * f->w.slots));
    ok(f, apply(f));
    for (size_t o = 0; o < N_OUT; o++) {
        assert_same(f, &got[o], &f->out[o]);
        ckks_ct_clear(&got[o]);
    }
    teardown(f);
}

/* Refused, named, and no output touched. */
static void refused(fixture *f, sotto_status want, const char *text)
{
    uint64_t before[N_OUT];
    for (size_t o = 0; o < N_OUT; o++) {
        f->out[o].scale = 5;
        f->out[o].ct.data[0] = o;
        before[o] = o;
    }
    const int level = f->out[0].ct.level;
    const int n_components = f->out[0].ct.n_components;
    assert_int_equal(apply(f), want);
    if (!strstr(f->err.text, text)) {
        fail_msg("\"%s\" is not in: %s", text, f->err.text);
    }
    for (size_t o = 0; o < N_OUT; o++) {
        assert_true(f->out[o].scale == 5);
        assert_int_equal(f->out[o].ct.data[0], before[o]);
        assert_int_equal(f->out[o].ct.level, level);
        assert_int_equal(f->out[o].ct.n_components, n_components);
    }
}

static void test_refuses_unlike_inputs(void **state)
{
    (void)state;
    fixture *f = setup();
    f->in[4].scale *= 1 + 0x1p-39;
    refused(f, SOTTO_ERR_SCALE, "input 4 has scale");
    f->in[4].scale = NAN;
    refused(f, SOTTO_ERR_SCALE, "input 4 has scale");
    f->in[4].scale = SCALE;
    f->in[9].ct.key_id[3] ^= 1;
    refused(f, SOTTO_ERR_MISMATCH, "inputs 0 and 9");
    f->in[9].ct.key_id[3] ^= 1;
    ok(f, ckks_square(f->w.ev, &f->in[2], &f->in[2]));
    refused(f, SOTTO_ERR_SHAPE, "input 2 has 3 components");
    ok(f, ckks_drop(f->w.ev, &f->in[1], &f->in[1], 1));
    refused(f, SOTTO_ERR_LEVEL, "input 1 is at level 1");
    teardown(f);
}

static void test_refuses_bad_numbers(void **state)
{
    (void)state;
    fixture *f = setup();
    static const double bad[] = {0, -1, NAN, HUGE_VAL, 0x1p+100};
    for (size_t i = 0; i < 5; i++) {
        f->matrix.weight_scale = bad[i];
        refused(f, SOTTO_ERR_SCALE, "weights of scale");
    }
    f->matrix.weight_scale = 100.5;
    f->bias[3] = 0x1p+90;
    refused(f, SOTTO_ERR_RANGE, "bias 3 is");
    f->bias[3] = NAN;
    refused(f, SOTTO_ERR_RANGE, "bias 3 is");
    f->bias[3] = 1;
    f->weight[N_IN * 2 + 5] = INT32_MIN;
    refused(f, SOTTO_ERR_RANGE, "weight [2][5] is -2^31");
    f->weight[N_IN * 2 + 5] = 0;
    f->matrix.n_in = 0;
    refused(f, SOTTO_ERR_SHAPE, "7 × 0");
    f->matrix.n_in = N_IN;
    f->matrix.n_out = 0;
    refused(f, SOTTO_ERR_SHAPE, "0 × 13");
    teardown(f);
}

/* One output with k weights of magnitude 2^31 - 1. */
static sotto_status prepare_heavy(fixture *f, size_t k)
{
    int32_t *weight = malloc(k * sizeof *weight);
    const ckks_ct **in = malloc(k * sizeof(ckks_ct *));
    for (size_t i = 0; i < k; i++) {
        weight[i] = i % 2 ? INT32_MAX : -INT32_MAX;
        in[i] = &f->in[0];
    }
    const ckks_matrix heavy = {
        .n_out = 1, .n_in = k, .weight = weight, .weight_scale = 1};
    f->err.text[0] = '\0';
    const sotto_status status =
        ckks_matrix_prepare(f->w.context, f->out_pointer, in, &heavy, &f->err);
    free(weight);
    free(in);
    return status;
}

/* The kernels take rows of Σ|w| below 2^45. */
static void test_refuses_heavy_rows(void **state)
{
    (void)state;
    fixture *f = setup();
    const size_t k = (size_t)1 << 14;
    assert_int_equal(prepare_heavy(f, k), SOTTO_OK);
    assert_int_equal(prepare_heavy(f, k + 1), SOTTO_ERR_RANGE);
    assert_non_null(strstr(f->err.text, "below 2^45"));
    teardown(f);
}

static void test_refuses_output_without_room(void **state)
{
    (void)state;
    fixture *f = setup();
    ckks_ct_clear(&f->out[6]);
    assert_int_equal(ckks_ct_init(&f->out[6], f->w.context, 1, 2, NULL),
                     SOTTO_OK);
    assert_int_equal(rlwe_ct_reshape(&f->out[6].ct, f->w.context, 1, 2, NULL),
                     SOTTO_OK);
    for (size_t o = 0; o < N_OUT; o++) {
        ok(f, rlwe_ct_reshape(&f->out[o].ct, f->w.context, 1, 2, NULL));
    }
    refused(f, SOTTO_ERR_SHAPE, "output 6 has room for");
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apply_matches_loops),
        cmocka_unit_test(test_apply_matches_doubles),
        cmocka_unit_test(test_levels_and_large_weights),
        cmocka_unit_test(test_zero_matrix),
        cmocka_unit_test(test_units_in_any_order),
        cmocka_unit_test(test_blocks_match_a_dense_matrix),
        cmocka_unit_test(test_refuses_unlike_inputs),
        cmocka_unit_test(test_refuses_bad_numbers),
        cmocka_unit_test(test_refuses_heavy_rows),
        cmocka_unit_test(test_refuses_output_without_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
