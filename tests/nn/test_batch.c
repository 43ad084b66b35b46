/* SPDX-License-Identifier: MIT
 * The batch executor against the network run in the clear, for plans written by
 * hand: every placement of rescales and relinearisations, residual
 * connections, several threads, failures.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/batch/batch_internal.h"
#include "tests/support/batch_world.h"
#include "tests/support/check.h"
#include "tests/support/fail.h"

/* 180 bits, nothing divided away: the scale grows to 2^136. */
static const hand_spec without_rescale = {
    .params = {.log2_n = 10,
               .log2_q = BITS(45, 45, 45, 45, 47),
               .level = LEVELS("abcd"),
               .gadget = LEVELS("abcd|0123|e"),
               .max_power = 2},
    .input_bits = 20,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0},
             {.weight_bits = 8, .relinearise = true},
             {.weight_bits = 0},
             {.weight_bits = 8}}};

/* As CryptoNets: one rescale, after the first dense layer. */
static const hand_spec one_rescale = {
    .params = {.log2_n = 10,
               .log2_q = BITS(46, 46, 32, 47),
               .level = LEVELS("abc", "ab"),
               .gadget = LEVELS("abc|012|d"),
               .max_power = 2},
    .input_bits = 22,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0},
             {.weight_bits = 9, .level = 1, .relinearise = true},
             {.weight_bits = 0, .level = 1},
             {.weight_bits = 9, .level = 1}}};

/* Behind the first map one prime, behind the dense layer two at once. */
static const hand_spec two_primes = {
    .params = {.log2_n = 10,
               .log2_q = BITS(46, 46, 28, 26, 26, 47, 47),
               .level = LEVELS("abcde", "abcd", "ab"),
               .step = LEVELS("01", "12"),
               .gadget = LEVELS("abcde|00111|fg"),
               .max_power = 2},
    .input_bits = 30,
    .step = {{.weight_bits = 28, .level = 1},
             {.weight_bits = 0, .level = 1},
             {.weight_bits = 20, .level = 2, .relinearise = true},
             {.weight_bits = 0, .level = 2},
             {.weight_bits = 9, .level = 2}}};

/* The square is rescaled at three components, then relinearised before the
 * matrix; the second square relinearises, the result is divided. */
static const hand_spec before_matrix = {
    .params = {.log2_n = 10,
               .log2_q = BITS(46, 40, 32, 32, 47),
               .level = LEVELS("abcd", "abc", "ab"),
               .gadget = LEVELS("abcd|0123|e"),
               .max_power = 2},
    .input_bits = 25,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0, .level = 1},
             {.weight_bits = 8, .level = 1, .relinearise_source = true},
             {.weight_bits = 0, .level = 1, .relinearise = true},
             {.weight_bits = 8, .level = 2}}};

/* Every square relinearised and divided at once; the result has 2 components.
 */
static const hand_spec joined = {
    .params = {.log2_n = 10,
               .log2_q = BITS(46, 30, 30, 30, 47),
               .level = LEVELS("abcd", "abc", "ab"),
               .gadget = LEVELS("abcd|0123|e"),
               .max_power = 2},
    .input_bits = 22,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0, .level = 1, .relinearise = true},
             {.weight_bits = 8, .level = 1},
             {.weight_bits = 0, .level = 2, .relinearise = true},
             {.weight_bits = 8, .level = 2}}};

/* Never relinearised: no keys, five components at the end. */
static const hand_spec no_keys = {.params = {.log2_n = 10,
                                             .log2_q = BITS(45, 45, 45, 45),
                                             .level = LEVELS("abcd")},
                                  .input_bits = 20,
                                  .step = {{.weight_bits = 8},
                                           {.weight_bits = 0},
                                           {.weight_bits = 8},
                                           {.weight_bits = 0},
                                           {.weight_bits = 8}}};

/* Five components relinearised at once with keys for s², s³, s⁴. */
static const hand_spec five_to_two = {
    .params = {.log2_n = 10,
               .log2_q = BITS(45, 45, 45, 45, 47),
               .level = LEVELS("abcd"),
               .gadget = LEVELS("abcd|0123|e"),
               .max_power = 4},
    .input_bits = 20,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0},
             {.weight_bits = 8},
             {.weight_bits = 0},
             {.weight_bits = 8, .relinearise = true}}};

/* Residual: c is dropped for each join, once in a copy and once in place. */
static const hand_spec residual = {
    .params = {.log2_n = 10,
               .log2_q = BITS(46, 32, 32, 47),
               .level = LEVELS("abc", "ab", "a"),
               .gadget = LEVELS("abc|012|d"),
               .max_power = 2},
    .input_bits = 22,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0, .level = 1, .relinearise = true},
             {.weight_bits = 4, .level = 1},
             {.weight_bits = 0, .level = 2, .relinearise = true},
             {.weight_bits = 8, .level = 2}}};

/* Residual with squares of three components: c is extended by a zero. */
static const hand_spec residual_extended = {
    .params = {.log2_n = 10,
               .log2_q = BITS(46, 46, 32, 32, 47),
               .level = LEVELS("abcd", "abc", "ab"),
               .gadget = LEVELS("abcd|0123|e"),
               .max_power = 2},
    .input_bits = 24,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0, .level = 1},
             {.weight_bits = 4, .level = 1, .relinearise = true},
             {.weight_bits = 0, .level = 2},
             {.weight_bits = 8, .level = 2}}};

/* Residual with relinearisation before the matrix: copies and drops too. */
static const hand_spec residual_before = {
    .params = {.log2_n = 10,
               .log2_q = BITS(46, 46, 32, 32, 47),
               .level = LEVELS("abcd", "abc", "ab"),
               .gadget = LEVELS("abcd|0123|e"),
               .max_power = 2},
    .input_bits = 24,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0, .level = 1},
             {.weight_bits = 4, .level = 1, .relinearise_source = true},
             {.weight_bits = 0, .level = 2},
             {.weight_bits = 8, .level = 2, .relinearise_source = true}}};

/* Branches at different levels, scales and sizes. */
static const hand_spec branches = {
    .params = {.log2_n = 10,
               .log2_q = BITS(46, 46, 32, 32, 47),
               .level = LEVELS("abcd", "abc", "ab"),
               .gadget = LEVELS("abcd|0123|e"),
               .max_power = 2},
    .input_bits = 22,
    .step = {{.weight_bits = 8},
             {.weight_bits = 0, .level = 1, .relinearise = true},
             {.weight_bits = 4, .level = 1},
             {.weight_bits = 0, .level = 2, .relinearise = true},
             {.weight_bits = 8},
             {.weight_bits = 0, .level = 1},
             {.weight_bits = 8, .level = 2}}};

/* ---- Results ------------------------------------------------------------- */

/* Scores against the network in the clear, and the same bits on 1, 2 and 7
 * threads. log2_std: of the noise, as measured; fresh noise (2^6.2 on a slot of
 * the phase at N = 2^10, seen through the network) dominates in all cases. Less
 * than half of it would be as wrong as more than twice. */
static void check_case(nn_graph *graph, const hand_spec *spec, double log2_std)
{
    batch_world bw = batch_world_new(graph, spec, 300);
    size_t len_bytes, again_bytes;
    double worst, std;
    uint8_t *one = batch_world_run(&bw, 1, &len_bytes, &worst, &std);
    assert_true(std < exp2(log2_std + 1));
    assert_true(std > exp2(log2_std - 1));
    assert_true(worst < 8 * std);
    const int threads[] = {2, 7};
    for (int i = 0; i < 2; i++) {
        uint8_t *many =
            batch_world_run(&bw, threads[i], &again_bytes, NULL, NULL);
        assert_int_equal(again_bytes, len_bytes);
        assert_memory_equal(many, one, len_bytes);
        free(many);
    }
    free(one);
    batch_world_free(&bw);
}

static void test_batch_without_rescale(void **state)
{
    (void)state;
    check_case(hand_net_plain(), &without_rescale, -17.5);
}

static void test_batch_one_rescale(void **state)
{
    (void)state;
    check_case(hand_net_plain(), &one_rescale, -19.5);
}

static void test_batch_two_primes_at_once(void **state)
{
    (void)state;
    check_case(hand_net_plain(), &two_primes, -24.3);
}

static void test_batch_relinearises_before_matrix(void **state)
{
    (void)state;
    check_case(hand_net_plain(), &before_matrix, -22.5);
}

static void test_batch_joined(void **state)
{
    (void)state;
    check_case(hand_net_plain(), &joined, -19.5);
}

static void test_batch_no_keys(void **state)
{
    (void)state;
    check_case(hand_net_plain(), &no_keys, -17.5);
}

static void test_batch_five_to_two(void **state)
{
    (void)state;
    check_case(hand_net_plain(), &five_to_two, -17.5);
}

static void test_batch_residual(void **state)
{
    (void)state;
    check_case(hand_net_residual(), &residual, -16.3);
}

static void test_batch_residual_extended(void **state)
{
    (void)state;
    check_case(hand_net_residual(), &residual_extended, -18.2);
}

static void test_batch_branches(void **state)
{
    (void)state;
    check_case(hand_net_branches(), &branches, -16.8);
}

static void test_batch_residual_before(void **state)
{
    (void)state;
    check_case(hand_net_residual(), &residual_before, -18.2);
}

/* ---- Runs ---------------------------------------------------------------- */

typedef struct ready {
    batch_world bw;
    nn_batch *batch;
    nn_control *control;
    nn_run_options options;
} ready;

static ready make_ready(nn_graph *graph, const hand_spec *spec,
                        const nn_run_options *options)
{
    ready r = {.bw = batch_world_new(graph, spec, 40)};
    CHECK(nn_batch_new(&r.batch, r.bw.plan, r.bw.network, r.bw.w.context,
                       r.bw.w.keys, sotto_pool_threads(options->pool), err));
    CHECK(nn_control_new(&r.control, options, nn_batch_work(r.batch), err));
    batch_world_fill(&r.bw, r.batch);
    return r;
}

static void free_ready(ready *r)
{
    nn_control_free(r->control);
    nn_batch_free(r->batch);
    batch_world_free(&r->bw);
}

/* A batch is evaluated twice in the same memory, without an allocation. */
static void test_batch_run_allocates_nothing(void **state)
{
    (void)state;
    const nn_run_options options = {0};
    ready r = make_ready(hand_net_residual(), &residual, &options);
    const ckks_ct *score = nn_batch_output(r.batch, 1);
    CHECK(nn_batch_run(r.batch, r.control, NULL, err));
    const size_t len_bytes = (size_t)score->ct.n_components *
                             rlwe_level_words(r.bw.w.context, score->ct.level) *
                             sizeof *score->ct.data;
    uint8_t *first = malloc(len_bytes);
    assert_non_null(first);
    memcpy(first, score->ct.data, len_bytes);
    batch_world_fill(&r.bw, r.batch);
    fail_arm(FAIL_ALLOC, 0);
    const sotto_status status = nn_batch_run(r.batch, r.control, NULL, NULL);
    assert_false(fail_disarm());
    assert_int_equal(status, SOTTO_OK);
    assert_memory_equal(first, score->ct.data, len_bytes);
    free(first);
    free_ready(&r);
}

/* Values that live at the same time lie apart, and dead ones are reused. */
static void test_batch_layout(void **state)
{
    (void)state;
    const nn_run_options options = {0};
    ready r = make_ready(hand_net_residual(), &residual_extended, &options);
    const nn_batch *batch = r.batch;
    size_t sum = 0;
    for (int a = 0; a < batch->n_values; a++) {
        const batch_value *x = &batch->value[a];
        sum += x->n * x->words;
        assert_true(x->offset + x->n * x->words <= batch->memory_words);
        for (int b = 0; b < a; b++) {
            const batch_value *y = &batch->value[b];
            const bool together = x->born <= y->dead && y->born <= x->dead;
            const bool apart = x->offset + x->n * x->words <= y->offset ||
                               y->offset + y->n * y->words <= x->offset;
            assert_true(!together || apart);
        }
    }
    assert_true(batch->memory_words < sum);
    free_ready(&r);
}

static int count_places(const nn_batch *batch, batch_place place)
{
    int n = 0;
    for (int v = 0; v < batch->n_values; v++) {
        n += batch->value[v].place == place;
    }
    return n;
}

/* Scores of a batch made within limits; its memory is returned. */
static uint64_t run_within(batch_world *bw, const batch_limits *limits,
                           int n_local, uint8_t **scores, size_t *len_bytes)
{
    nn_batch *batch;
    nn_control *control;
    CHECK(nn_batch_new_within(&batch, bw->plan, bw->network, bw->w.context,
                              bw->w.keys, 1, limits, err));
    assert_int_equal(count_places(batch, BATCH_LOCAL), n_local);
    CHECK(nn_control_new(&control, NULL, nn_batch_work(batch), err));
    batch_world_fill(bw, batch);
    CHECK(nn_batch_run(batch, control, NULL, err));
    const rlwe_ct *first = &nn_batch_output(batch, 0)->ct;
    const size_t each = (size_t)first->n_components *
                        rlwe_level_words(bw->w.context, first->level) *
                        sizeof *first->data;
    *len_bytes = bw->plan->n_outputs * each;
    *scores = malloc(*len_bytes);
    assert_non_null(*scores);
    for (size_t o = 0; o < bw->plan->n_outputs; o++) {
        memcpy(*scores + o * each, nn_batch_output(batch, o)->ct.data, each);
    }
    const uint64_t bytes = nn_batch_bytes(batch);
    nn_control_free(control);
    nn_batch_free(batch);
    return bytes;
}

/* Whatever stays in caches or is prepared anew, the bits are the same. */
static void check_limits(nn_graph *graph, const hand_spec *spec, int n_local)
{
    const batch_limits all = {1 << 20, 1 << 20, 1 << 28, 1 << 21};
    const batch_limits stored = {1 << 20, 1 << 20, 1 << 28, 0};
    const batch_limits parts = {1 << 20, 1 << 20, 0, 1 << 21};
    const batch_limits small = {20, 30, 0, 1 << 21};
    const batch_limits *const fewer[] = {&stored, &parts, &small};
    batch_world bw = batch_world_new(graph, spec, 40);
    uint8_t *one, *other;
    size_t len_bytes, other_bytes;
    const uint64_t memory = run_within(&bw, &all, n_local, &one, &len_bytes);
    for (int i = 0; i < 3; i++) {
        const uint64_t more =
            run_within(&bw, fewer[i], 0, &other, &other_bytes);
        assert_true(n_local == 0 || more > memory);
        assert_int_equal(other_bytes, len_bytes);
        assert_memory_equal(other, one, len_bytes);
        free(other);
    }
    free(one);
    batch_world_free(&bw);
}

static void test_batch_within_limits(void **state)
{
    (void)state;
    check_limits(hand_net_plain(), &one_rescale, 1);
    check_limits(hand_net_plain(), &without_rescale, 1);
    check_limits(hand_net_plain(), &no_keys, 1);
    check_limits(hand_net_residual(), &residual_extended, 0);
    check_limits(hand_net_branches(), &branches, 0);
}

static void test_batch_trace(void **state)
{
    (void)state;
    static const char *const kind[] = {"affine",      "square", "rescale",
                                       "relinearise", "affine", "square",
                                       "relinearise", "affine", "rescale"};
    static const int level[] = {0, 0, 1, 1, 1, 1, 1, 1, 2};
    const nn_run_options options = {0};
    ready r = make_ready(hand_net_plain(), &before_matrix, &options);
    nn_trace *trace = calloc(1, sizeof *trace);
    assert_non_null(trace);
    CHECK(nn_batch_run(r.batch, r.control, trace, err));
    const double once = trace->step[0].seconds;
    CHECK(nn_control_advance(r.control, 0, err));
    batch_world_fill(&r.bw, r.batch);
    CHECK(nn_batch_run(r.batch, r.control, trace, err));
    assert_int_equal(trace->n_steps, 9);
    for (int i = 0; i < 9; i++) {
        assert_string_equal(trace->step[i].kind, kind[i]);
        assert_int_equal(trace->step[i].level, level[i]);
        assert_true(trace->step[i].seconds > 0);
    }
    assert_true(trace->step[0].seconds > once);
    assert_int_equal(trace->step[3].n_components, 2);
    assert_int_equal(trace->step[3].n_ciphertexts, 32);
    assert_int_equal(trace->step[8].n_components, 2);
    assert_true(trace->step[8].scale == r.bw.plan->step[4].scale);
    assert_true(trace->step[8].he_error == r.bw.plan->step[4].he_error);
    assert_true(trace->step[7].he_error == 0);
    free(trace);
    free_ready(&r);
}

typedef struct seen {
    uint64_t last, total, calls;
} seen;

static void watch(void *arg, const nn_progress *progress)
{
    seen *s = arg;
    assert_true(progress->done >= s->last);
    s->last = progress->done;
    s->total = progress->total;
    s->calls++;
}

static void test_batch_progress_ends_at_total(void **state)
{
    (void)state;
    seen s = {0};
    const nn_run_options options = {.progress = watch, .progress_arg = &s};
    ready r = make_ready(hand_net_residual(), &residual_before, &options);
    CHECK(nn_batch_run(r.batch, r.control, NULL, err));
    assert_true(s.calls > 0);
    assert_true(s.last == s.total);
    assert_true(s.total == nn_batch_work(r.batch));
    free_ready(&r);
}

static void test_batch_cancel(void **state)
{
    (void)state;
    sotto_error error;
    atomic_bool cancel;
    atomic_init(&cancel, true);
    const nn_run_options options = {.cancel = &cancel};
    ready r = make_ready(hand_net_plain(), &joined, &options);
    assert_int_equal(nn_batch_run(r.batch, r.control, NULL, &error),
                     SOTTO_ERR_CANCELLED);
    atomic_store(&cancel, false);
    CHECK(nn_batch_run(r.batch, r.control, NULL, err));
    free_ready(&r);
}

/* ---- Failures ------------------------------------------------------------ */

/* Tries to make a batch and expects a refusal whose message has `word`. */
static void expect_refusal(batch_world *bw, const rlwe_keyset *keys,
                           sotto_status expected, const char *word)
{
    nn_batch *batch = NULL;
    sotto_error error = {{0}};
    const long blocks = fail_live_blocks();
    assert_int_equal(nn_batch_new(&batch, bw->plan, bw->network, bw->w.context,
                                  keys, 1, &error),
                     expected);
    assert_null(batch);
    assert_int_equal(fail_live_blocks(), blocks);
    if (strstr(error.text, word) == NULL) {
        fail_msg("no \"%s\" in: %s", word, error.text);
    }
}

static void test_batch_new_refuses(void **state)
{
    (void)state;
    batch_world bw = batch_world_new(hand_net_plain(), &before_matrix, 1);
    const nn_plan good = *bw.plan;
    expect_refusal(&bw, NULL, SOTTO_ERR_KEY, "power 2");
    bw.plan->step[2].scale *= 1 + 0x1p-30;
    expect_refusal(&bw, bw.w.keys, SOTTO_ERR_MISMATCH, "dense1");
    *bw.plan = good;
    bw.plan->step[4].n_components = 3;
    expect_refusal(&bw, bw.w.keys, SOTTO_ERR_MISMATCH, "dense2");
    *bw.plan = good;
    bw.plan->step[1].level = 2;
    expect_refusal(&bw, bw.w.keys, SOTTO_ERR_MISMATCH, "no such division");
    *bw.plan = good;
    bw.plan->step[1].n_elements++;
    expect_refusal(&bw, bw.w.keys, SOTTO_ERR_MISMATCH, "sq1");
    *bw.plan = good;
    bw.plan->step[1].kind = NN_STEP_AFFINE;
    expect_refusal(&bw, bw.w.keys, SOTTO_ERR_MISMATCH, "kind");
    *bw.plan = good;
    bw.plan->n_steps = 4;
    expect_refusal(&bw, bw.w.keys, SOTTO_ERR_MISMATCH, "5 steps");
    *bw.plan = good;
    batch_world_free(&bw);
}

/* A weight that the plan's bits make larger than 32 bits. */
static void test_batch_refuses_large_weights(void **state)
{
    (void)state;
    hand_spec spec = one_rescale;
    spec.input_bits = 1;
    spec.step[0].weight_bits = 33;
    batch_world bw = batch_world_new(hand_net_plain(), &spec, 1);
    expect_refusal(&bw, bw.w.keys, SOTTO_ERR_RANGE, "32 bits");
    batch_world_free(&bw);
}

static sotto_status make_and_free(void *arg)
{
    batch_world *bw = arg;
    nn_batch *batch;
    const sotto_status status = nn_batch_new(
        &batch, bw->plan, bw->network, bw->w.context, bw->w.keys, 2, NULL);
    nn_batch_free(batch);
    return status;
}

static void test_batch_new_without_memory(void **state)
{
    (void)state;
    batch_world bw = batch_world_new(hand_net_residual(), &residual, 1);
    assert_true(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 400, make_and_free, &bw) > 20);
    batch_world_free(&bw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_without_rescale),
        cmocka_unit_test(test_batch_one_rescale),
        cmocka_unit_test(test_batch_two_primes_at_once),
        cmocka_unit_test(test_batch_relinearises_before_matrix),
        cmocka_unit_test(test_batch_joined),
        cmocka_unit_test(test_batch_no_keys),
        cmocka_unit_test(test_batch_five_to_two),
        cmocka_unit_test(test_batch_residual),
        cmocka_unit_test(test_batch_residual_extended),
        cmocka_unit_test(test_batch_residual_before),
        cmocka_unit_test(test_batch_branches),
        cmocka_unit_test(test_batch_run_allocates_nothing),
        cmocka_unit_test(test_batch_layout),
        cmocka_unit_test(test_batch_within_limits),
        cmocka_unit_test(test_batch_trace),
        cmocka_unit_test(test_batch_progress_ends_at_total),
        cmocka_unit_test(test_batch_cancel),
        cmocka_unit_test(test_batch_new_refuses),
        cmocka_unit_test(test_batch_refuses_large_weights),
        cmocka_unit_test(test_batch_new_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
