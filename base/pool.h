/* SPDX-License-Identifier: MIT
 * Thread pool: one job at a time, split into numbered tasks.
 *
 * Results cannot depend on the number of threads, since a task may depend on
 * its number only, not on the worker that runs it or on the other tasks.
 * The worker number serves to pick scratch memory.
 */
#ifndef SOTTO_BASE_POOL_H
#define SOTTO_BASE_POOL_H

#include <stddef.h>

#include "base/status.h"

typedef struct sotto_pool sotto_pool;

/* One task of a job: task in [0, n_tasks), worker in [0, threads). */
typedef sotto_status (*sotto_task)(void *arg, size_t task, int worker);

/* Starts threads - 1 workers; the caller of sotto_pool_run is the last one.
 * threads <= 0 means one for each processor; at most 256.
 * error: NULL when out of memory or when threads cannot be started.
 * owner: the caller, sotto_pool_free. */
sotto_pool *sotto_pool_new(int threads);

/* Stops the workers and frees the pool; NULL is fine. */
void sotto_pool_free(sotto_pool *pool);

/* Number of workers, the calling thread included; 1 for NULL. */
int sotto_pool_threads(const sotto_pool *pool);

/* Runs fn(arg, 0..n_tasks-1) and waits. Tasks start in order of number on
 * whichever worker is free. pool == NULL runs them here. Not reentrant: a task
 * must not call sotto_pool_run on the same pool.
 * error: the status of the lowest-numbered failed task; once one has failed
 * no further tasks start. cost: no allocation; workers stay awake for some 100
 * microseconds behind a job, if there are processors for all of them. */
sotto_status sotto_pool_run(sotto_pool *pool, size_t n_tasks, sotto_task fn,
                            void *arg) SOTTO_MUST_CHECK;

#endif
