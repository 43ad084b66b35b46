/* SPDX-License-Identifier: MIT
 * Every entry of the kernel contract, for every backend that this machine can
 * run, every size of modulus, several degrees, extreme and random residues:
 * portable against definitions, the others bit for bit against portable.
 *
 * A new backend needs no change here: ntt_kernels_choose offers it.
 */
#include "base/mem.h"
#include "ntt/kernels.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ntt/portable_internal.h"
#include "tests/ref/kernels.h"
#include "tests/ref/pattern.h"
#include "tests/ref/ring.h"

/* Most rows that one call of a test needs. */
#define MAX_ROWS 256

/* One table with input rows and outputs of both sides. */
typedef struct fixture {
    const ntt_kernels *got;
    const ntt_kernels *want;
    ntt_table *table;
    size_t n;
    uint64_t *in;     /* [MAX_ROWS][n] */
    uint64_t *got_r;  /* [2][n] */
    uint64_t *want_r; /* [2][n] */
    uint32_t *map;    /* [n] */
} fixture;

static void fixture_set(fixture *f, int log2_n, uint64_t q,
                        const ntt_kernels *got, const ntt_kernels *want)
{
    const ntt_ring ring = ntt_ring_init(log2_n);
    f->got = got;
    f->want = want;
    f->n = ring.n;
    assert_int_equal(ntt_table_new(&f->table, &ring, q, NULL), SOTTO_OK);
    assert_int_equal(ntt_kernels_prepare(f->table, got, NULL), SOTTO_OK);
    f->in = aligned_alloc(64, (MAX_ROWS + 4) * f->n * sizeof *f->in);
    f->map = malloc(f->n * sizeof *f->map);
    assert_true(f->in != NULL && f->map != NULL);
    f->got_r = f->in + MAX_ROWS * f->n;
    f->want_r = f->got_r + 2 * f->n;
}

static void fixture_clear(fixture *f)
{
    ntt_table_free(f->table);
    free(f->in);
    free(f->map);
}

static void assert_same(const fixture *f, size_t rows, const char *entry)
{
    if (memcmp(f->got_r, f->want_r, rows * f->n * sizeof *f->got_r) != 0) {
        print_error("%s differs from %s in %s, n %zu, q %llu\n", f->got->name,
                    f->want->name, entry, f->n,
                    (unsigned long long)f->table->mod.q);
        fail();
    }
}

/* The output starts as a copy of row 0, so that entries which add to it, or
 * are called with r == a, find something there. */
static void reset(fixture *f)
{
    memcpy(f->got_r, f->in, f->n * sizeof *f->in);
    memcpy(f->want_r, f->in, f->n * sizeof *f->in);
}

/* After inverse and what it leaves, of one row to another and in place. */
static void check_inverse_raised(fixture *f, uint64_t scale)
{
    const zq_modulus *mod = &f->table->mod;
    f->want->add_scalar(f->want_r, f->want_r, mod->q / 2, f->n, mod);
    f->got->inverse_raised(f->got_r, f->in, f->table, scale);
    assert_same(f, 1, "inverse_raised");
    memcpy(f->got_r, f->in, f->n * sizeof *f->in);
    f->got->inverse_raised(f->got_r, f->got_r, f->table, scale);
    assert_same(f, 1, "inverse_raised in place");
}

static void check_transforms(fixture *f)
{
    const uint64_t q = f->table->mod.q;
    const uint64_t scales[] = {1, q - 1, q / 2, 0};
    reset(f);
    f->got->forward(f->got_r, f->table);
    f->want->forward(f->want_r, f->table);
    assert_same(f, 1, "forward");
    /* In pieces, the last one first. */
    const uint64_t *const soon[2] = {f->in, f->in + f->n};
    const size_t parts = f->got->forward_parts(f->table);
    assert_true(parts >= 1 && f->n / 8 % parts == 0);
    memcpy(f->got_r, f->in, f->n * sizeof *f->in);
    f->got->forward_first(f->got_r, f->table);
    for (size_t part = parts; part-- > 0;) {
        f->got->forward_part(f->got_r, f->table, part,
                             part % 2 == 0 ? soon : NULL);
        assert_memory_equal(f->got_r + f->n / parts * part,
                            f->want_r + f->n / parts * part,
                            f->n / parts * sizeof *f->in);
    }
    assert_same(f, 1, "forward in pieces");
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        reset(f);
        f->got->inverse(f->got_r, f->table, scales[i]);
        f->want->inverse(f->want_r, f->table, scales[i]);
        assert_same(f, 1, "inverse");
        check_inverse_raised(f, scales[i]);
    }
}

/* Entries (r, a, b): with three rows, with r == a and with r == b. */
static void check_binary(fixture *f)
{
    const zq_modulus *mod = &f->table->mod;
    const size_t n = f->n;
    const uint64_t *a = f->in;
    const uint64_t *b = f->in + n;
#define CHECK(entry)                                                           \
    do {                                                                       \
        f->got->entry(f->got_r, a, b, n, mod);                                 \
        f->want->entry(f->want_r, a, b, n, mod);                               \
        assert_same(f, 1, #entry);                                             \
        reset(f);                                                              \
        f->got->entry(f->got_r, f->got_r, b, n, mod);                          \
        f->want->entry(f->want_r, f->want_r, b, n, mod);                       \
        assert_same(f, 1, #entry ", r is a");                                  \
        reset(f);                                                              \
        f->got->entry(f->got_r, b, f->got_r, n, mod);                          \
        f->want->entry(f->want_r, b, f->want_r, n, mod);                       \
        assert_same(f, 1, #entry ", r is b");                                  \
    } while (0)
    CHECK(add);
    CHECK(sub);
    CHECK(mul);
#undef CHECK
    reset(f);
    f->got->mul_add(f->got_r, a + n, b + n, n, mod);
    f->want->mul_add(f->want_r, a + n, b + n, n, mod);
    assert_same(f, 1, "mul_add");
    reset(f);
    f->got->sub_mul(f->got_r, a + n, b + n, n, mod);
    f->want->sub_mul(f->want_r, a + n, b + n, n, mod);
    assert_same(f, 1, "sub_mul");
    reset(f);
    f->got->negate(f->got_r, f->got_r, n, mod);
    f->want->negate(f->want_r, a, n, mod);
    assert_same(f, 1, "negate");
}

static void check_scalar(fixture *f)
{
    const zq_modulus *mod = &f->table->mod;
    const size_t n = f->n;
    const uint64_t *a = f->in;
    const uint64_t *b = f->in + n;
    const uint64_t scalars[] = {
        0, 1, mod->q / 2, mod->q - 1, mod->q / 2 + 1, 0x123456789abcdef};
    for (size_t i = 0; i < sizeof scalars / sizeof scalars[0]; i++) {
        const uint64_t c = scalars[i] % mod->q;
        reset(f);
        f->got->mul_scalar(f->got_r, f->got_r, c, n, mod);
        f->want->mul_scalar(f->want_r, a, c, n, mod);
        assert_same(f, 1, "mul_scalar");
        reset(f);
        f->got->mul_scalar_add(f->got_r, b, c, n, mod);
        f->want->mul_scalar_add(f->want_r, b, c, n, mod);
        assert_same(f, 1, "mul_scalar_add");
        reset(f);
        f->got->add_scalar(f->got_r, f->got_r, c, n, mod);
        f->want->add_scalar(f->want_r, a, c, n, mod);
        assert_same(f, 1, "add_scalar");
        reset(f);
        f->got->sub_mul_scalar(f->got_r, f->got_r, b, c, n, mod);
        f->want->sub_mul_scalar(f->want_r, a, b, c, n, mod);
        assert_same(f, 1, "sub_mul_scalar");
        reset(f);
        f->got->sub_mul_scalar(f->got_r, b, f->got_r, c, n, mod);
        f->want->sub_mul_scalar(f->want_r, b, a, c, n, mod);
        assert_same(f, 1, "sub_mul_scalar, r is b");
    }
}

static void check_inner_product(fixture *f)
{
    const size_t counts[] = {1, 2, 3, 7, MAX_ROWS};
    const uint64_t *x[MAX_ROWS], *y0[MAX_ROWS], *y1[MAX_ROWS];
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const size_t k = counts[c];
        for (size_t i = 0; i < k; i++) {
            x[i] = f->in + i * f->n;
            y0[i] = f->in + (i * 5 + 1) % MAX_ROWS * f->n;
            y1[i] = f->in + (i * 3 + 2) % MAX_ROWS * f->n;
        }
        f->got->inner_product(f->got_r, f->got_r + f->n, x, y0, y1, k, f->n,
                              &f->table->mod);
        f->want->inner_product(f->want_r, f->want_r + f->n, x, y0, y1, k, f->n,
                               &f->table->mod);
        assert_same(f, 2, "inner_product");
    }
}

/* One map, all columns and then the last quarter of them. */
static void switch_both(fixture *f, const uint32_t *y)
{
    const size_t counts[] = {1, 2, 3, 17, MAX_ROWS};
    const uint64_t *x[MAX_ROWS];
    const uint32_t *y0[MAX_ROWS], *y1[MAX_ROWS];
    for (size_t c = 0; c < 2 * sizeof counts / sizeof counts[0]; c++) {
        const size_t k = counts[c / 2];
        const size_t at = c % 2 == 0 || f->n < 32 ? 0 : f->n / 4 * 3;
        for (size_t i = 0; i < k; i++) {
            x[i] = f->in + i * f->n;
            y0[i] = y + (i * 5 + 1) % MAX_ROWS * f->n + at;
            y1[i] = y + (i * 3 + 2) % MAX_ROWS * f->n + at;
        }
        f->got->switch_product(f->got_r, f->got_r + f->n, x, f->map + at, y0,
                               y1, k, f->n - at, &f->table->mod);
        f->want->switch_product(f->want_r, f->want_r + f->n, x, f->map + at, y0,
                                y1, k, f->n - at, &f->table->mod);
        assert_same(f, 2, "switch_product");
    }
}

static void check_switch_product(fixture *f)
{
    if (f->table->mod.bits > 32) {
        return;
    }
    uint32_t *y = malloc(MAX_ROWS * f->n * sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; i < MAX_ROWS * f->n; i++) {
        y[i] = (uint32_t)f->in[i];
    }
    reset(f);
    for (size_t i = 0; i < f->n; i++) {
        f->map[i] = (uint32_t)((i * 5 + 3) % f->n);
    }
    switch_both(f, y);
    ntt_ring_automorphism(&f->table->ring, f->map, 5);
    switch_both(f, y);
    free(y);
}

/* After an automorphism, of all columns and of the last eight. */
static void check_turned(fixture *f, uint64_t galois)
{
    const size_t counts[] = {1, 2, 3, MAX_ROWS};
    const size_t n = f->n, tail = f->n - 8;
    const uint64_t *x[MAX_ROWS], *moved[MAX_ROWS], *y0[MAX_ROWS], *y1[MAX_ROWS];
    uint64_t *rows = sotto_calloc(MAX_ROWS * n, sizeof *rows);
    assert_non_null(rows);
    ntt_ring_automorphism(&f->table->ring, f->map, galois);
    for (size_t i = 0; i < MAX_ROWS; i++) {
        x[i] = f->in + i * n;
        moved[i] = rows + i * n;
        y0[i] = f->in + (i * 5 + 1) % MAX_ROWS * n;
        y1[i] = f->in + (i * 3 + 2) % MAX_ROWS * n;
        f->want->permute(rows + i * n, x[i], f->map, n);
    }
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        f->want->inner_product(f->want_r, f->want_r + n, moved, y0, y1,
                               counts[c], n, &f->table->mod);
        f->got->inner_product_turned(f->got_r, f->got_r + n, x, f->map, y0, y1,
                                     counts[c], n, &f->table->mod);
        assert_same(f, 2, "inner_product_turned");
    }
    for (size_t i = 0; i < MAX_ROWS; i++) {
        y0[i] += tail;
        y1[i] += tail;
    }
    memset(f->got_r + tail, 0, 8 * sizeof *f->got_r);
    f->got->inner_product_turned(f->got_r + tail, f->got_r + n + tail, x,
                                 f->map + tail, y0, y1, MAX_ROWS, 8,
                                 &f->table->mod);
    assert_same(f, 2, "inner_product_turned of a part");
    sotto_free(rows);
}

static void permute_both(fixture *f)
{
    f->got->permute(f->got_r, f->in, f->map, f->n);
    f->want->permute(f->want_r, f->in, f->map, f->n);
    assert_same(f, 1, "permute");
}

static void check_permute(fixture *f)
{
    const uint64_t order = ntt_ring_root_order(&f->table->ring);
    const uint64_t galois[] = {1, 3, 5, order / 2 + 1, order - 1};
    for (size_t i = 0; i < f->n; i++) {
        f->map[i] = (uint32_t)((i * 5 + 3) % f->n);
    }
    permute_both(f);
    /* Automorphisms, whose blocks of eight stay together. */
    for (size_t g = 0; g < sizeof galois / sizeof galois[0]; g++) {
        ntt_ring_automorphism(&f->table->ring, f->map, galois[g]);
        permute_both(f);
    }
    /* Almost one: two values of different blocks exchanged. */
    const uint32_t second = f->map[1];
    f->map[1] = f->map[f->n - 1];
    f->map[f->n - 1] = second;
    permute_both(f);
}

static void fill_rows(fixture *f, ref_pattern pattern)
{
    for (size_t i = 0; i < MAX_ROWS; i++) {
        /* A second, random kind of row among those that are all alike. */
        const ref_pattern p = i % 8 == 1 ? REF_RANDOM : pattern;
        ref_fill(f->in + i * f->n, f->n, f->table->mod.q, p, i);
    }
}

/* Calls check for each backend, size of modulus and degree; portable is
 * checked by definition, where transforms are slow, so with small degrees. */
static void for_all(void (*check)(fixture *f))
{
    static const int log2_n[] = {3, 4, 5, 7, 8, 9, 10, 13};
    for (int d = 0; d < 8; d++) {
        for (int s = 0; s < REF_SIZES; s++) {
            const uint64_t q = ref_prime_of(ref_size_bits[s], log2_n[d]);
            for (ntt_backend cap = 0; q != 0 && cap <= NTT_BACKEND_IFMA;
                 cap++) {
                const zq_modulus mod = zq_modulus_init(q);
                const ntt_kernels got = ntt_kernels_choose(&mod, cap);
                const ntt_kernels *portable = ntt_kernels_portable();
                const bool is_portable = strcmp(got.name, portable->name) == 0;
                if (is_portable && (cap > 0 || log2_n[d] > 5)) {
                    continue;
                }
                fixture f;
                fixture_set(&f, log2_n[d], q, &got,
                            is_portable ? &ref_kernels : portable);
                check(&f);
                fixture_clear(&f);
            }
        }
    }
}

/* The transforms of every degree, those that for_all leaves out as well. */
static void check_degree(int log2_n, int bits)
{
    const uint64_t q = ref_prime_of(bits, log2_n);
    for (ntt_backend cap = 1; q != 0 && cap <= NTT_BACKEND_IFMA; cap++) {
        const zq_modulus mod = zq_modulus_init(q);
        const ntt_kernels got = ntt_kernels_choose(&mod, cap);
        fixture f;
        fixture_set(&f, log2_n, q, &got, ntt_kernels_portable());
        for (ref_pattern p = 0; p < REF_PATTERNS; p++) {
            ref_fill(f.in, f.n, q, p, (uint64_t)p);
            check_transforms(&f);
        }
        fixture_clear(&f);
    }
}

static void test_kernels_transforms_match_in_all_degrees(void **state)
{
    (void)state;
    const int highest = getenv("SOTTO_TEST_LONG") != NULL ? NTT_MAX_LOG2_N : 12;
    for (int log2_n = NTT_MIN_LOG2_N; log2_n <= highest; log2_n++) {
        for (int s = 0; s < REF_SIZES; s++) {
            check_degree(log2_n, ref_size_bits[s]);
        }
    }
}

static void with_patterns(fixture *f)
{
    for (ref_pattern p = 0; p < REF_PATTERNS; p++) {
        fill_rows(f, p);
        check_transforms(f);
        check_binary(f);
        check_scalar(f);
        check_inner_product(f);
        check_switch_product(f);
        check_turned(f, 5);
        check_turned(f, ntt_ring_conjugation(&f->table->ring));
        check_permute(f);
    }
}

static void test_kernels_match(void **state)
{
    (void)state;
    for_all(with_patterns);
}

/* Sources have moduli of their own; factors are extreme as well. */
/* Sources of the first n_sizes sizes, from the largest of them on. */
/* Most sources of a conversion. */
#define MAX_SOURCES 128

/* Raised residues give what the residues themselves give. */
static void check_raised(fixture *f, const uint64_t *const *x,
                         ntt_convert constants)
{
    const zq_modulus *mod = &f->table->mod;
    uint64_t *rows = sotto_calloc(constants.k * f->n, sizeof *rows);
    const uint64_t *raised[MAX_SOURCES];
    assert_non_null(rows);
    constants.is_raised = true;
    for (size_t i = 0; i < constants.k; i++) {
        const uint64_t q = constants.from[i];
        for (size_t j = 0; j < f->n; j++) {
            const uint64_t sum = x[i][j] + q / 2;
            rows[i * f->n + j] = sum - (sum >= q ? q : 0);
        }
        raised[i] = rows + i * f->n;
        constants.raised =
            (constants.raised +
             ref_mul_mod(q / 2 % mod->q, constants.factor[i], mod->q)) %
            mod->q;
    }
    f->got->convert(f->got_r, raised, &constants, f->n, mod);
    assert_same(f, 1, "convert of raised residues");
    sotto_free(rows);
}

static void check_convert_from(fixture *f, int n_sizes)
{
    static const size_t counts[] = {1, 2, 3, 5, 40, MAX_SOURCES};
    const uint64_t t = f->table->mod.q;
    uint64_t from[MAX_SOURCES], factor[MAX_SOURCES], source[REF_SIZES];
    const uint64_t *x[MAX_SOURCES];
    uint64_t seed = 31;
    for (int s = 0; s < REF_SIZES; s++) {
        /* Any prime but the target: sources and targets are disjoint. */
        source[s] = ref_prime_of(ref_size_bits[s], 3);
        source[s] = source[s] == 0 || source[s] == t ? 97 : source[s];
        source[s] = source[s] == t ? 113 : source[s];
    }
    for (ref_pattern p = 0; p < REF_PATTERNS; p++) {
        for (size_t i = 0; i < MAX_SOURCES; i++) {
            from[i] = source[(i + (size_t)n_sizes - 1) % (size_t)n_sizes];
            /* Centring subtracts the same product for every source, as where
             * factor·from is the product of all moduli: factor = Q/from. */
            factor[i] = ref_mul_mod(t - 1, ref_inv_mod(from[i] % t, t), t);
            x[i] = f->in + i * f->n;
            ref_fill(f->in + i * f->n, f->n, from[i],
                     i % 4 == 3 ? REF_RANDOM : p, ref_random(&seed));
        }
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            ntt_convert constants = {.k = counts[c],
                                     .from = from,
                                     .factor = factor,
                                     .product = t - 1};
            f->got->convert(f->got_r, x, &constants, f->n, &f->table->mod);
            f->want->convert(f->want_r, x, &constants, f->n, &f->table->mod);
            assert_same(f, 1, "convert");
            check_raised(f, x, constants);
        }
    }
}

/* Sources of class C, and such as the SIMD backends take themselves. */
static void check_convert(fixture *f)
{
    check_convert_from(f, REF_SIZES);
    check_convert_from(f, 8);
    check_convert_from(f, 6);
}

static void test_kernels_convert_matches(void **state)
{
    (void)state;
    for_all(check_convert);
}

static void test_kernels_stream_blocks_matches(void **state)
{
    (void)state;
    const zq_modulus mod = zq_modulus_init(17);
    sotto_seed key;
    sotto_seed_from_text(&key, "stream");
    for (ntt_backend cap = 0; cap <= NTT_BACKEND_IFMA; cap++) {
        const ntt_kernels k = ntt_kernels_choose(&mod, cap);
        const uint64_t counters[] = {0, 5, 0xfffffffe, 0x123456789abcdef0};
        for (size_t c = 0; c < 4; c++) {
            for (size_t blocks = 0; blocks < 20; blocks++) {
                uint8_t got[20 * 64 + 1] = {0}, want[20 * 64 + 1] = {0};
                k.stream_blocks(got, &key, counters[c], blocks);
                ref_kernels.stream_blocks(want, &key, counters[c], blocks);
                assert_memory_equal(got, want, sizeof got);
            }
        }
    }
}

static void test_ntt_backend_cap_reads_the_environment(void **state)
{
    (void)state;
    const struct {
        const char *value;
        sotto_status status;
        ntt_backend cap;
    } cases[] = {{"portable", SOTTO_OK, NTT_BACKEND_PORTABLE},
                 {"avx2", SOTTO_OK, NTT_BACKEND_AVX2},
                 {"ifma", SOTTO_OK, NTT_BACKEND_IFMA},
                 {"avx22", SOTTO_ERR_PARAM, NTT_BACKEND_PORTABLE},
                 {"AVX2", SOTTO_ERR_PARAM, NTT_BACKEND_PORTABLE},
                 {"", SOTTO_ERR_PARAM, NTT_BACKEND_PORTABLE}};
    const char *old = getenv("SOTTO_BACKEND");
    char *saved = old != NULL ? strdup(old) : NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sotto_error err = {.text = ""};
        ntt_backend cap = NTT_BACKEND_IFMA;
        assert_int_equal(setenv("SOTTO_BACKEND", cases[i].value, 1), 0);
        assert_int_equal(ntt_backend_cap(&cap, &err), cases[i].status);
        assert_int_equal(cap, cases[i].cap);
        assert_true((err.text[0] != '\0') == (cases[i].status != SOTTO_OK));
    }
    ntt_backend cap = NTT_BACKEND_PORTABLE;
    assert_int_equal(unsetenv("SOTTO_BACKEND"), 0);
    assert_int_equal(ntt_backend_cap(&cap, NULL), SOTTO_OK);
    assert_int_equal(cap, NTT_BACKEND_IFMA);
    if (saved != NULL) {
        assert_int_equal(setenv("SOTTO_BACKEND", saved, 1), 0);
        free(saved);
    }
}

static void test_ntt_kernels_choose_leaves_nothing_out(void **state)
{
    (void)state;
    for (int s = 0; s < REF_SIZES; s++) {
        for (ntt_backend cap = 0; cap <= NTT_BACKEND_IFMA; cap++) {
            const zq_modulus mod =
                zq_modulus_init(((uint64_t)1 << ref_size_bits[s]) - 1);
            const ntt_kernels k = ntt_kernels_choose(&mod, cap);
            assert_true(k.max_q_bits >= mod.bits);
            assert_true(k.forward && k.inverse && k.add && k.sub && k.negate);
            assert_true(k.mul && k.mul_add && k.mul_scalar && k.add_scalar);
            assert_true(k.mul_scalar_add && k.inner_product && k.convert);
            assert_true(k.switch_product);
            assert_true(k.inner_product_turned && k.forward_parts);
            assert_true(k.forward_first && k.forward_part);
            assert_true(k.sub_mul_scalar && k.permute && k.gemm);
            assert_true(k.gemm_scratch && k.gemm_pack && k.gemm_run);
            assert_true(k.gemm_packed_bytes && k.gemm_run_scratch);
            assert_true(k.stream_blocks && k.sub_mul && k.keep_below);
            assert_true(k.pack_bits && k.unpack_bits && k.binomial);
            assert_true(cap > 0 || strcmp(k.name, "portable") == 0);
        }
    }
}

static void test_ntt_kernels_fill_takes_portable(void **state)
{
    (void)state;
    const ntt_kernels *portable = ntt_kernels_portable();
    ntt_kernels empty = {.name = portable->name,
                         .cpu_features = portable->cpu_features,
                         .max_q_bits = portable->max_q_bits};
    ntt_kernels_fill(&empty);
    assert_memory_equal(&empty, portable, sizeof empty);
    /* What is there stays; half of a pair does not. */
    ntt_kernels some = {.add = ref_kernels.add, .gemm = ref_kernels.gemm};
    ntt_kernels_fill(&some);
    assert_true(some.add == ref_kernels.add && some.sub == portable->sub);
    assert_true(some.gemm == portable->gemm);
    assert_true(some.gemm_scratch == portable->gemm_scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels_match),
        cmocka_unit_test(test_kernels_transforms_match_in_all_degrees),
        cmocka_unit_test(test_kernels_convert_matches),
        cmocka_unit_test(test_kernels_stream_blocks_matches),
        cmocka_unit_test(test_ntt_backend_cap_reads_the_environment),
        cmocka_unit_test(test_ntt_kernels_choose_leaves_nothing_out),
        cmocka_unit_test(test_ntt_kernels_fill_takes_portable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
