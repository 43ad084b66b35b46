/* SPDX-License-Identifier: MIT
 * Measures the limits of one core (machine.h).
 */
#include "bench/machine.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "bench/harness.h"

#define STEPS ((size_t)20000)
#define STEP_OPS 16 /* independent operations of a step */

/* ---- Loops --------------------------------------------------------------- */

#ifdef __GNUC__
/* The compiler must take x as changed: no loop becomes a formula. */
#define PIN(x) __asm__ volatile("" : "+r"(x))
#else
#define PIN(x) (void)(x)
#endif

/* A chain of additions that wait for each other takes a cycle each. */
static void run_cycles(void *arg)
{
    uint64_t x = 1, y = 3;
    (void)arg;
    PIN(y);
    for (size_t i = 0; i < STEPS; i++) {
        for (int k = 0; k < STEP_OPS; k++) {
            x += y;
            PIN(x);
        }
    }
}

static void run_mul64(void *arg)
{
    uint64_t x[4] = {3, 5, 7, 9}, y = 0x9e3779b97f4a7c15u;
    (void)arg;
    PIN(y);
    for (size_t i = 0; i < STEPS * STEP_OPS / 4; i++) {
        for (int k = 0; k < 4; k++) {
            x[k] *= y;
            PIN(x[k]);
        }
    }
}

static void run_fma(void *arg)
{
    (void)arg;
    machine_fma_avx2(STEPS);
}

static void run_words_avx2(void *arg)
{
    (void)arg;
    machine_words_avx2(STEPS);
}

static void run_ifma(void *arg)
{
    (void)arg;
    machine_ifma_avx512(STEPS);
}

static void run_words_avx512(void *arg)
{
    (void)arg;
    machine_words_avx512(STEPS);
}

/* A buffer to read, and how. */
typedef struct reading {
    unsigned char *data;
    size_t len_bytes;
    size_t passes; /* of one call */
    unsigned features;
} reading;

static void read_once(const reading *r)
{
    if ((r->features & SOTTO_CPU_AVX512_IFMA) != 0) {
        machine_read_avx512(r->data, r->len_bytes);
    } else if ((r->features & SOTTO_CPU_AVX2_FMA) != 0) {
        machine_read_avx2(r->data, r->len_bytes);
    } else {
        uint64_t sum[4] = {0};
        const uint64_t *words = (const uint64_t *)(const void *)r->data;
        for (size_t i = 0; i < r->len_bytes / 8; i += 4) {
            for (size_t k = 0; k < 4; k++) {
                sum[k] += words[i + k];
            }
        }
        sum[0] += sum[1] + sum[2] + sum[3];
        PIN(sum[0]);
    }
}

static void run_read(void *arg)
{
    const reading *r = arg;
    for (size_t i = 0; i < r->passes; i++) {
        read_once(r);
    }
}

/* ---- Limits -------------------------------------------------------------- */

static size_t cache_bytes(int name, size_t otherwise)
{
    const long found = sysconf(name);
    return found > 0 ? (size_t)found : otherwise;
}

static void measure_memory(bench *b)
{
    static const char *const name[MACHINE_LEVELS] = {"read_l1", "read_l2",
                                                     "read_l3", "read_dram"};
    machine_limits *m = &b->limits;
    m->capacity[MACHINE_L1] = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
    m->capacity[MACHINE_L2] = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 1 << 20);
    m->capacity[MACHINE_L3] = cache_bytes(_SC_LEVEL3_CACHE_SIZE, 16 << 20);
    const size_t most = (size_t)256 << 20;
    reading r = {.data = sotto_calloc(most, 1),
                 .features = sotto_cpu_features()};
    if (r.data == NULL) {
        abort();
    }
    /* The pages must be there, not one page of zeros for all. */
    for (size_t i = 0; i < most; i += 4096) {
        r.data[i] = 1;
    }
    for (int level = 0; level < MACHINE_LEVELS; level++) {
        /* Of the third level, which is shared with others, the part next to
         * the second: working sets end there. */
        r.len_bytes = level <= MACHINE_L2   ? m->capacity[level] / 2
                      : level == MACHINE_L3 ? 2 * m->capacity[MACHINE_L2]
                                            : most;
        r.len_bytes = r.len_bytes < most ? r.len_bytes / 1024 * 1024 : most;
        r.passes = level == MACHINE_L1 ? 16 : 1;
        const bench_case c = {.name = name[level],
                              .bytes = (double)(r.len_bytes * r.passes),
                              .run = run_read,
                              .arg = &r};
        bench_result result = {0};
        bench_group(b, &c, 1, &result);
        m->read[level] = c.bytes / result.p10;
    }
    sotto_free(r.data);
}

/* Operations per ns of one loop of STEPS · STEP_OPS instructions, each on
 * `lanes` lanes. */
static double rate(bench *b, const char *name, void (*run)(void *arg),
                   int lanes, const char *unit)
{
    const double units = (double)STEPS * STEP_OPS * lanes;
    const bench_case c = {.name = name,
                          .units = units,
                          .unit = unit,
                          .per_cycle = true,
                          .run = run};
    bench_result result = {0};
    bench_group(b, &c, 1, &result);
    return units / result.least;
}

void machine_measure(bench *b)
{
    const unsigned features = sotto_cpu_features();
    machine_limits *m = &b->limits;
    const char *only = b->only;
    b->part = "machine";
    b->only = NULL; /* the others need it */
    const double steps = (double)STEPS * STEP_OPS;
    bench_case cycle = {.name = "core_cycle", .run = run_cycles};
    /* Twice: the clock rises under load; the first is not shown. */
    double first = 1e300;
    for (int i = 0; i < 50; i++) {
        const double begin = bench_seconds();
        run_cycles(NULL);
        const double ns = 1e9 * (bench_seconds() - begin) / steps;
        first = ns < first ? ns : first;
    }
    m->cycle_ns = first;
    cycle.units = steps;
    cycle.unit = "cycle";
    bench_result result = {0};
    bench_group(b, &cycle, 1, &result);
    const double again = result.least / steps;
    m->cycle_ns = again < first ? again : first;
    m->mul64 = rate(b, "mul64", run_mul64, 1, "product");
    if ((features & SOTTO_CPU_AVX2_FMA) != 0) {
        m->fma = rate(b, "fma_avx2", run_fma, 4, "product");
        m->words_avx2 = rate(b, "words_avx2", run_words_avx2, 16, "product");
    }
    if ((features & SOTTO_CPU_AVX512_IFMA) != 0) {
        m->ifma = rate(b, "ifma", run_ifma, 8, "product");
    }
    if ((features & SOTTO_CPU_AVX512_VNNI) != 0) {
        m->words_avx512 =
            rate(b, "words_avx512", run_words_avx512, 32, "product");
    }
    measure_memory(b);
    b->only = only;
}

int machine_level(const machine_limits *m, double bytes)
{
    int level = MACHINE_L1;
    while (level < MACHINE_DRAM && bytes > (double)m->capacity[level]) {
        level++;
    }
    return level;
}

const char *machine_level_name(int level)
{
    static const char *const name[MACHINE_LEVELS] = {"L1", "L2", "L3", "DRAM"};
    return name[level];
}

double machine_memory_ns(const machine_limits *m, double bytes)
{
    return bytes / m->read[machine_level(m, bytes)];
}

/* ---- Environment --------------------------------------------------------- */

typedef struct environment {
    char cpu[64];
    const char *backend, *flags, *commit;
    double load;
} environment;

static environment look_around(void)
{
    environment e = {.backend = getenv("SOTTO_BACKEND"),
                     .flags = getenv("BENCH_FLAGS"),
                     .commit = getenv("BENCH_COMMIT")};
    sotto_cpu_name(e.cpu, sizeof e.cpu);
    if (getloadavg(&e.load, 1) != 1) {
        e.load = -1;
    }
    e.backend = e.backend != NULL ? e.backend : "best";
    e.flags = e.flags != NULL ? e.flags : "unknown";
    e.commit = e.commit != NULL ? e.commit : "unknown";
    return e;
}

void machine_print_text(void)
{
    const environment e = look_around();
    (void)printf("%s, %d processors, load %.1f%s\n", e.cpu, sotto_cpu_count(),
                 e.load, e.load > 0.8 ? " (not quiet)" : "");
    (void)printf("compiler %s, %s\ncommit %s, backend %s\n", __VERSION__,
                 e.flags, e.commit, e.backend);
}

void machine_print_json(void)
{
    const environment e = look_around();
    (void)printf(", \"cpu\": \"%s\", \"processors\": %d, \"load\": %.1f"
                 ", \"compiler\": \"%s\", \"flags\": \"%s\", \"commit\": \"%s\""
                 ", \"allowed\": \"%s\"",
                 e.cpu, sotto_cpu_count(), e.load, __VERSION__, e.flags,
                 e.commit, e.backend);
}
