/* SPDX-License-Identifier: MIT
 * Times of the machine; see timing.h.
 */
#include "ckks/timing.h"

#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/mem.h"
#include "ckks/encode.h"
#include "ntt/rns.h"
#include "ntt/sample.h"
#include "rlwe/context.h"
#include "rlwe/moduli.h"
#include "rlwe/wire.h"

#define LOG2_N 13
#define N ((size_t)1 << LOG2_N)
#define LIMBS 4
#define SOURCES 3 /* digits and limbs that are converted at once */
/* A matrix of this size fits the second cache with its inputs. */
#define ROWS ((size_t)96)
#define COLUMNS ((size_t)64)
#define GEMM_K ((size_t)512)
/* Each figure is the least of the runs in so many seconds. */
#define SECONDS_EACH 0.025

/* Everything that is timed works on these. */
typedef struct timing {
    rlwe_context *context;
    ckks_encoder *encoder;
    sotto_arena arena;
    const ntt_kernels *kernels; /* of limb 0 … */
    ntt_table *table;           /* … */
    const zq_modulus *mod;      /* … */
    uint64_t *limb;             /* [2·SOURCES + 2][stride] */
    uint32_t *map;              /* [N] */
    double *slots;              /* [N/2] */
    uint64_t *rows;             /* [GEMM_K + ROWS][COLUMNS] */
    const uint64_t *in[GEMM_K];
    uint64_t *out[ROWS];
    int32_t *weight; /* [ROWS·GEMM_K] */
    void *scratch;
    ntt_gemm job;
    rns_converter *converter; /* limbs 1 … SOURCES to limb 0 */
    rlwe_ct ct;
    uint8_t *record;
    int encode_level;
} timing;

static uint64_t *limb(const timing *t, size_t i)
{
    return t->limb + i * t->context->ring->stride;
}

/* ---- What is timed ------------------------------------------------------- */

static void run_forward(timing *t)
{
    t->kernels->forward(limb(t, 0), t->table);
}

static void run_inverse(timing *t)
{
    t->kernels->inverse(limb(t, 0), t->table, 1);
}

static void run_multiply(timing *t)
{
    t->kernels->mul(limb(t, 1), limb(t, 0), limb(t, 2), N, t->mod);
}

static void run_accumulate(timing *t)
{
    const uint64_t *x[SOURCES];
    for (size_t i = 0; i < SOURCES; i++) {
        x[i] = limb(t, 2 + i);
    }
    t->kernels->inner_product(limb(t, 0), limb(t, 1), x, x, x, SOURCES, N,
                              t->mod);
}

static void run_convert(timing *t)
{
    rns_convert_limb(t->converter, t->context->ring, limb(t, 0), limb(t, 2), 0);
}

static void run_permute(timing *t)
{
    t->kernels->permute(limb(t, 1), limb(t, 0), t->map, N);
}

static void run_encode(timing *t)
{
    const size_t mark = sotto_arena_mark(&t->arena);
    /* The values fit: nothing can fail. */
    (void)!ckks_encode_coefficients(t->encoder, t->context, limb(t, 0),
                                    t->slots, NULL, N / 2, 0x1p20,
                                    t->encode_level, &t->arena, NULL);
    sotto_arena_release(&t->arena, mark);
}

static void run_gemm(timing *t)
{
    t->kernels->gemm(&t->job, t->mod, t->scratch);
}

static void run_expand(timing *t)
{
    sotto_seed seed;
    memset(&seed, 7, sizeof seed);
    ntt_sample_uniform(limb(t, 0), N, &seed, t->mod, t->kernels);
}

static void run_pack(timing *t)
{
    (void)rlwe_pack_ct(t->record, t->context, &t->ct, 0, 0, 0);
}

static void run_hash(timing *t)
{
    uint8_t digest[SOTTO_HASH_BYTES];
    sotto_sha256_of(digest, limb(t, 0), 8 * N);
}

/* ---- Measuring ----------------------------------------------------------- */

/* Processor time, which other processes do not add to. */
static double now(void)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

/* Nanoseconds of the fastest of many runs. */
static double least(timing *t, void (*run)(timing *t))
{
    run(t);
    double best = 1e18;
    const double start = now();
    double last = start;
    do {
        run(t);
        const double end = now();
        best = end - last < best ? end - last : best;
        last = end;
    } while (last - start < SECONDS_EACH * 1e9);
    return best;
}

/* Nanoseconds per column of an m × k product. */
static double time_gemm(timing *t, size_t m, size_t k)
{
    t->job = (ntt_gemm){.m = m,
                        .k = k,
                        .n = COLUMNS,
                        .weight = t->weight,
                        .row_norm = k * 256,
                        .in = t->in,
                        .out = t->out};
    return least(t, run_gemm) / (double)COLUMNS;
}

static double at_least(double x, double least_value)
{
    return x > least_value ? x : least_value;
}

/* Three shapes, in each of which another part is most of the work; the time is
 * words·(m·k·word + k·gather + m·reduce). */
static void time_gemms(timing *t, ckks_kernel_times *times)
{
    const double words = 3; /* of the moduli used here */
    const double large = time_gemm(t, ROWS, GEMM_K) / words;
    const double gather = time_gemm(t, 1, GEMM_K) / words;
    const double reduce = time_gemm(t, ROWS, 2) / words;
    const double k = (double)GEMM_K;
    const double m = (double)ROWS;
    double word = large / (m * k);
    double g = 0;
    double r = 0;
    for (int round = 0; round < 8; round++) {
        g = at_least((gather - k * word - r) / k, word);
        r = at_least((reduce - 2 * m * word - 2 * g) / m, word);
        word = at_least((large - k * g - m * r) / (m * k), word / 4);
    }
    times->gemm_word = word;
    times->gemm_gather = g;
    times->gemm_reduce = r;
}

static void time_all(timing *t, ckks_kernel_times *times)
{
    const double n = (double)N;
    const double butterflies = n / 2 * LOG2_N;
    const double both = least(t, run_forward) + least(t, run_inverse);
    times->butterfly = both / 2 / butterflies;
    times->multiply = least(t, run_multiply) / n;
    times->accumulate = least(t, run_accumulate) / (2 * SOURCES * n);
    times->convert = least(t, run_convert) / (SOURCES * n);
    times->permute = least(t, run_permute) / n;
    times->expand = least(t, run_expand) / n;
    times->hash = least(t, run_hash) / (8 * n);
    t->encode_level = 0;
    const double many = least(t, run_encode);
    t->encode_level = 1;
    const double one = least(t, run_encode);
    const double slots = n / 2;
    times->compose = at_least((many - one) / ((LIMBS - 1) * n), 0.01);
    times->fourier =
        at_least((one - n * times->compose) / (slots / 2 * (LOG2_N - 1)), 0.01);
    const size_t bytes = rlwe_ct_record_bytes(t->context, 1, 2, false);
    times->unpack = at_least(
        (least(t, run_pack) - (double)bytes * times->hash) / (2 * n), 0.1);
    time_gemms(t, times);
}

/* ---- Making what is needed ----------------------------------------------- */

/* LIMBS moduli of three words; level 1 keeps the first alone. */
static sotto_status make_context(timing *t, sotto_error *err)
{
    rlwe_params_literal literal;
    memset(&literal, 0, sizeof literal);
    double bits[LIMBS];
    for (int i = 0; i < LIMBS; i++) {
        bits[i] = 45;
    }
    literal.log2_n = LOG2_N;
    literal.n_moduli = LIMBS;
    literal.security = 128;
    literal.n_levels = 2;
    literal.level[0] = rns_set_range(0, LIMBS);
    literal.level[1] = rns_set_range(0, 1);
    SOTTO_TRY(rlwe_moduli_find(literal.modulus, LOG2_N, bits, LIMBS, err));
    SOTTO_TRY(rlwe_context_new(&t->context, &literal, err));
    t->kernels = &t->context->ring->limb[0].kernels;
    t->table = t->context->ring->limb[0].table;
    t->mod = &t->table->mod;
    const rns_set from = rns_set_range(1, SOURCES);
    const rns_set to = rns_set_range(0, 1);
    SOTTO_TRY(
        rns_converter_new(&t->converter, t->context->ring, &from, &to, err));
    return ckks_encoder_new(&t->encoder, t->context, err);
}

/* Any residues below every modulus. */
static void fill(uint64_t *x, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = state >> 20;
    }
}

static void fill_all(timing *t)
{
    fill(t->limb, (2 * SOURCES + 2) * t->context->ring->stride);
    fill(t->rows, (GEMM_K + ROWS) * COLUMNS);
    for (size_t i = 0; i < GEMM_K; i++) {
        t->in[i] = t->rows + i * COLUMNS;
    }
    for (size_t i = 0; i < ROWS; i++) {
        t->out[i] = t->rows + (GEMM_K + i) * COLUMNS;
    }
    for (size_t i = 0; i < ROWS * GEMM_K; i++) {
        t->weight[i] = (int32_t)(i * 2654435761u >> 7 & 511) - 256;
    }
    for (size_t i = 0; i < N; i++) {
        t->map[i] = (uint32_t)(i ^ 5);
    }
    for (size_t i = 0; i < N / 2; i++) {
        t->slots[i] = (double)(i % 17) / 17;
    }
}

static sotto_status make_buffers(timing *t, sotto_error *err)
{
    const size_t stride = t->context->ring->stride;
    const ntt_gemm largest = {
        .m = ROWS, .k = GEMM_K, .n = COLUMNS, .row_norm = GEMM_K * 256};
    t->arena = sotto_arena_init(ckks_encode_scratch(t->context));
    t->limb = sotto_calloc((2 * SOURCES + 2) * stride, sizeof *t->limb);
    t->map = sotto_calloc(N, sizeof *t->map);
    t->slots = sotto_calloc(N / 2, sizeof *t->slots);
    t->rows = sotto_calloc((GEMM_K + ROWS) * COLUMNS, sizeof *t->rows);
    t->weight = sotto_calloc(ROWS * GEMM_K, sizeof *t->weight);
    t->scratch = sotto_calloc(t->kernels->gemm_scratch(&largest, t->mod), 1);
    t->record = sotto_calloc(rlwe_ct_record_bytes(t->context, 1, 2, false), 1);
    if (t->arena.base == NULL || t->limb == NULL || t->map == NULL ||
        t->slots == NULL || t->rows == NULL || t->weight == NULL ||
        t->scratch == NULL || t->record == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory measuring the machine");
    }
    SOTTO_TRY(rlwe_ct_init(&t->ct, t->context, 1, 2, err));
    fill_all(t);
    return SOTTO_OK;
}

static void clear(timing *t)
{
    rlwe_ct_clear(&t->ct);
    sotto_arena_clear(&t->arena);
    sotto_free(t->limb);
    sotto_free(t->map);
    sotto_free(t->slots);
    sotto_free(t->rows);
    sotto_free(t->weight);
    sotto_free(t->scratch);
    sotto_free(t->record);
    ckks_encoder_free(t->encoder);
    rns_converter_free(t->converter);
    rlwe_context_free(t->context);
    sotto_free(t);
}

sotto_status ckks_time_kernels(ckks_kernel_times *times, sotto_error *err)
{
    timing *t = sotto_calloc(1, sizeof *t);
    if (t == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory measuring the machine");
    }
    sotto_status status = make_context(t, err);
    if (status == SOTTO_OK) {
        status = make_buffers(t, err);
    }
    if (status == SOTTO_OK) {
        time_all(t, times);
    }
    clear(t);
    return status;
}
