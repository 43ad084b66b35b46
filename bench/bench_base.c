/* SPDX-License-Identifier: MIT
 * Random streams, hash, thread pool.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/prng.h"
#include "bench/harness.h"

#define LEN ((size_t)1 << 20)

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
    if (sotto_pool_run(w->pool, 16, nothing, NULL) != SOTTO_OK) {
        abort();
    }
}

int main(int argc, char **argv)
{
    bench b = bench_begin(argc, argv, "base");
    work w = {.data = sotto_calloc(LEN, 1), .pool = sotto_pool_new(0)};
    if (w.data == NULL || w.pool == NULL) {
        (void)fprintf(stderr, "out of memory\n");
        return 1;
    }
    sotto_seed_from_text(&w.seed, "bench");
    (void)bench_run(&b, "chacha20 blocks, 1 MiB", run_blocks, &w, (double)LEN,
                    "byte");
    (void)bench_run(&b, "prf", run_prf, &w, 1, "seed");
    (void)bench_run(&b, "sha256, 1 MiB", run_hash, &w, (double)LEN, "byte");
    (void)bench_run(&b, "pool, job of 16 empty tasks", run_job, &w, 16, "task");
    sotto_pool_free(w.pool);
    sotto_free(w.data);
    return bench_end(&b);
}
