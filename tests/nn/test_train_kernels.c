/* SPDX-License-Identifier: MIT
 * The inner loops of training: every table against plain loops, and all tables
 * against the portable one, bit for bit.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "nn/train/kernels_internal.h"

/* Floats with all kinds of exponents, zeros among them. */
static void fill(float *out, size_t n, uint64_t object)
{
    sotto_seed seed;
    sotto_stream stream;
    sotto_seed_from_text(&seed, "training kernels");
    sotto_prf(&seed, &seed, SOTTO_LABEL_TEST, object, 0, 0, 0);
    sotto_stream_init(&stream, &seed);
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = sotto_stream_u64(&stream);
        const double unit = (double)(bits >> 11) * 0x1p-52 - 1.0;
        out[i] = bits % 7 == 0 ? 0.0f : (float)ldexp(unit, (int)(bits % 5) - 2);
    }
}

/* ---- Product ---------------------------------------------------------------
 */

typedef struct product {
    size_t m, n, k;
    bool turned, accumulate;
} product;

/* c[m][n + 3], whose last three columns must stay. */
static float *multiply(const nn_train_kernels *kernels, const product *of)
{
    const size_t b_step = nn_vector_round(of->n) + NN_VECTOR;
    const size_t c_step = of->n + 3;
    float *a = sotto_calloc(of->m * of->k + 1, sizeof(float));
    float *b = sotto_calloc(of->k * b_step + 1, sizeof(float));
    float *c = sotto_calloc(of->m * c_step, sizeof(float));
    fill(a, of->m * of->k, 1);
    fill(b, of->k * b_step, 2);
    fill(c, of->m * c_step, 3);
    const nn_matrix at = {a, of->turned ? 1 : of->k, of->turned ? of->m : 1};
    kernels->multiply((nn_rows_out){c, c_step}, at, (nn_rows){b, b_step}, of->m,
                      of->n, of->k, of->accumulate);
    sotto_free(a);
    sotto_free(b);
    return c;
}

static double exact_entry(const float *a, nn_matrix shape, const float *b,
                          size_t b_step, size_t k, size_t i, size_t j)
{
    double sum = 0.0;
    for (size_t p = 0; p < k; p++) {
        sum += (double)a[i * shape.row_step + p * shape.col_step] *
               (double)b[p * b_step + j];
    }
    return sum;
}

static void check_product(const product *of)
{
    const size_t b_step = nn_vector_round(of->n) + NN_VECTOR;
    const size_t c_step = of->n + 3;
    float *a = sotto_calloc(of->m * of->k + 1, sizeof(float));
    float *b = sotto_calloc(of->k * b_step + 1, sizeof(float));
    float *before = sotto_calloc(of->m * c_step, sizeof(float));
    float *got = multiply(nn_train_kernels_at(0), of);
    const nn_matrix shape = {a, of->turned ? 1 : of->k, of->turned ? of->m : 1};
    fill(a, of->m * of->k, 1);
    fill(b, of->k * b_step, 2);
    fill(before, of->m * c_step, 3);
    for (size_t i = 0; i < of->m; i++) {
        for (size_t j = 0; j < c_step; j++) {
            const float was = before[i * c_step + j];
            const float is = got[i * c_step + j];
            if (j >= of->n) {
                assert_true(is == was);
                continue;
            }
            const double want = (of->accumulate ? (double)was : 0.0) +
                                exact_entry(a, shape, b, b_step, of->k, i, j);
            assert_true(fabs((double)is - want) < 1e-5 * (double)(of->k + 10));
        }
    }
    for (size_t t = 1; t < NN_TRAIN_KERNELS; t++) {
        if (nn_train_kernels_at(t) != NULL) {
            float *other = multiply(nn_train_kernels_at(t), of);
            assert_memory_equal(other, got, of->m * c_step * sizeof(float));
            sotto_free(other);
        }
    }
    sotto_free(a);
    sotto_free(b);
    sotto_free(before);
    sotto_free(got);
}

static void test_multiply_matches_loop(void **state)
{
    static const size_t sizes[][3] = {
        {1, 1, 1},    {6, 16, 1},  {7, 9, 3},     {5, 169, 25}, {13, 17, 257},
        {25, 5, 600}, {3, 130, 0}, {100, 300, 2}, {12, 8, 40},  {11, 23, 31}};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (unsigned bits = 0; bits < 4; bits++) {
            const product of = {sizes[i][0], sizes[i][1], sizes[i][2],
                                (bits & 1) != 0, (bits & 2) != 0};
            check_product(&of);
        }
    }
}

/* ---- The rest --------------------------------------------------------------
 */

#define LENGTH ((size_t)600)

/* All other entries, on n elements, into one block of results. */
typedef struct results {
    float y[14][LENGTH];
    double sums[5];
} results;

static void run_elements(const nn_train_kernels *k, results *r, const float *x,
                         const float *dy, size_t n)
{
    const float triple[3] = {0.3f, -0.7f, 0.11f};
    k->add(r->y[0], x, dy, n);
    k->relu(r->y[1], x, n);
    k->relu_back(r->y[2], x, dy, n);
    k->square(r->y[3], x, n);
    k->square_back(r->y[4], x, dy, n);
    k->quadratic(r->y[5], x, triple, n);
    k->quadratic_back(r->y[6], x, dy, triple, n);
    k->affine(r->y[7], x, triple, n);
    k->affine_back(r->y[8], x, dy, triple, n);
    k->moments(r->sums, x, dy, 0.37, n);
    k->squares(r->sums + 3, x, n);
}

static void run_moves(const nn_train_kernels *k, results *r, const float *x,
                      size_t rows, size_t cols)
{
    const nn_grid close = {rows, cols, cols + 2, 1};
    const nn_grid wide = {rows, cols / 2, cols + 2, 2};
    k->transpose((nn_rows_out){r->y[9], rows + 1}, (nn_rows){x, cols}, rows,
                 cols);
    k->gather(r->y[10], x, &close, false);
    k->gather(r->y[11], x, &wide, false);
    k->gather(r->y[11], x, &wide, true);
    k->scatter(r->y[12], x, &close);
    k->scatter(r->y[13], x, &wide);
}

/* What the portable table must give, by the formulas of the header. */
static void check_elements(const results *r, const float *x, const float *dy,
                           size_t n)
{
    double sums[5] = {0.0};
    for (size_t i = 0; i < n; i++) {
        const double wide = (double)x[i] - 0.37;
        assert_true(r->y[0][i] == x[i] + dy[i]);
        assert_true(r->y[1][i] == (x[i] > 0.0f ? x[i] : 0.0f));
        assert_true(r->y[2][i] == (x[i] > 0.0f ? dy[i] : 0.0f));
        assert_true(r->y[3][i] == x[i] * x[i]);
        assert_true(r->y[4][i] == 2.0f * x[i] * dy[i]);
        assert_true(r->y[5][i] == (0.3f * x[i] + -0.7f) * x[i] + 0.11f);
        assert_true(r->y[6][i] == (0.6f * x[i] + -0.7f) * dy[i]);
        assert_true(r->y[7][i] == 0.3f * x[i] + -0.7f);
        assert_true(r->y[8][i] == 0.3f * dy[i] + -0.7f * x[i] + 0.11f);
        sums[0] += (double)dy[i];
        sums[1] += (double)dy[i] * wide;
        sums[2] += (double)dy[i] * wide * wide;
        sums[3] += (double)x[i];
        sums[4] += (double)x[i] * (double)x[i];
    }
    for (size_t k = 0; k < 5; k++) {
        assert_true(fabs(sums[k] - r->sums[k]) < 1e-9);
    }
}

static void check_moves(const results *r, const float *x, size_t rows,
                        size_t cols)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            const float at = x[i * (cols + 2) + j];
            assert_true(r->y[9][j * (rows + 1) + i] == x[i * cols + j]);
            assert_true(r->y[10][i * cols + j] == at);
            assert_true(r->y[12][i * (cols + 2) + j] == x[i * cols + j]);
        }
        for (size_t j = 0; j < cols / 2; j++) {
            const size_t at = i * (cols + 2) + 2 * j;
            assert_true(r->y[11][i * (cols / 2) + j] == x[at] + x[at]);
            assert_true(r->y[13][at] == x[i * (cols / 2) + j]);
        }
    }
}

static void test_tables_agree(void **state)
{
    static const size_t lengths[] = {0, 1, 3, 7, 8, 9, 16, 31, 100, 599};
    static float x[LENGTH], dy[LENGTH];
    results *want = sotto_calloc(1, sizeof(*want));
    results *got = sotto_calloc(1, sizeof(*got));
    (void)state;
    fill(x, LENGTH, 4);
    fill(dy, LENGTH, 5);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        const size_t rows = 1 + i;
        const size_t cols = 1 + (5 * i) % 37;
        memset(want, 0, sizeof(*want));
        run_elements(nn_train_kernels_at(0), want, x, dy, lengths[i]);
        run_moves(nn_train_kernels_at(0), want, x, rows, cols);
        check_elements(want, x, dy, lengths[i]);
        check_moves(want, x, rows, cols);
        for (size_t t = 1; t < NN_TRAIN_KERNELS; t++) {
            if (nn_train_kernels_at(t) == NULL) {
                continue;
            }
            memset(got, 0, sizeof(*got));
            run_elements(nn_train_kernels_at(t), got, x, dy, lengths[i]);
            run_moves(nn_train_kernels_at(t), got, x, rows, cols);
            assert_memory_equal(got, want, sizeof(*got));
        }
    }
    sotto_free(want);
    sotto_free(got);
}

static void test_choice_follows_the_environment(void **state)
{
    const char *given = getenv("SOTTO_BACKEND");
    char *kept = given != NULL ? strdup(given) : NULL;
    const nn_train_kernels *best = nn_train_kernels_at(1);
    (void)state;
    assert_int_equal(setenv("SOTTO_BACKEND", "portable", 1), 0);
    assert_ptr_equal(nn_train_kernels_choose(), nn_train_kernels_at(0));
    assert_int_equal(setenv("SOTTO_BACKEND", "avx2", 1), 0);
    assert_ptr_equal(nn_train_kernels_choose(),
                     best != NULL ? best : nn_train_kernels_at(0));
    assert_int_equal(unsetenv("SOTTO_BACKEND"), 0);
    assert_ptr_equal(nn_train_kernels_choose(),
                     best != NULL ? best : nn_train_kernels_at(0));
    assert_null(nn_train_kernels_at(NN_TRAIN_KERNELS));
    if (kept != NULL) {
        assert_int_equal(setenv("SOTTO_BACKEND", kept, 1), 0);
    }
    free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multiply_matches_loop),
        cmocka_unit_test(test_tables_agree),
        cmocka_unit_test(test_choice_follows_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
