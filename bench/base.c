/* SPDX-License-Identifier: MIT
 * Random streams, hash, thread pool.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/prng.h"
#include "bench/parts.h"

#define LEN ((size_t)1 << 20)
#define TASKS 16

typedef struct work {
    uint8_t *data;
    sotto_seed seed;
    sotto_pool *pool;
} work;

static void run_blocks(void *arg)
{
    work *w = arg;
    sotto_chacha20_blocks(w->data, &w->seed, 0, LEN / SOTTO_CHACHA_BLOCK_BYTES);
}

static void run_prf(void *arg)
{
    work *w = arg;
    sotto_prf(&w->seed, &w->seed, SOTTO_LABEL_TEST, 1, 2, 3, 4);
}

static void run_hash(void *arg)
{
    work *w = arg;
    sotto_sha256_of(w->seed.bytes, w->data, LEN);
}

static sotto_status nothing(void *arg, size_t task, int worker)
{
    (void)arg;
    (void)task;
    (void)worker;
    return SOTTO_OK;
}

static void run_job(void *arg)
{
    const work *w = arg;
    if (sotto_pool_run(w->pool, TASKS, nothing, NULL) != SOTTO_OK) {
        abort();
    }
}

void bench_base(bench *b)
{
    work w = {.data = sotto_calloc(LEN, 1), .pool = sotto_pool_new(0)};
    if (w.data == NULL || w.pool == NULL) {
        abort();
    }
    sotto_seed_from_text(&w.seed, "bench");
    const bench_case cases[] = {
        {.name = "chacha20",
         .note = "1 MiB",
         .units = (double)LEN,
         .unit = "byte",
         .bytes = (double)LEN,
         .run = run_blocks},
        {.name = "prf", .units = 1, .unit = "seed", .run = run_prf},
        {.name = "sha256",
         .note = "1 MiB",
         .units = (double)LEN,
         .unit = "byte",
         .bytes = (double)LEN,
         .run = run_hash},
        {.name = "pool_job",
         .note = "16 empty tasks",
         .threads = sotto_pool_threads(w.pool),
         .units = TASKS,
         .unit = "task",
         .run = run_job},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bench_case c = cases[i];
        c.arg = &w;
        bench_group(b, &c, 1, NULL);
    }
    sotto_pool_free(w.pool);
    sotto_free(w.data);
}
