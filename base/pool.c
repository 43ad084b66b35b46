/* SPDX-License-Identifier: MIT
 * Thread pool: workers sleep until a job opens, then draw task numbers from
 * one atomic counter. A worker that wakes after the job has closed is not
 * waited for.
 *
 * Jobs often follow each other at once and take less than waking a thread
 * does. So whoever waits looks for SPIN_NS before it sleeps, unless threads
 * share processors: one that looks then keeps one that works from running, and
 * loses its own turn. That is so when there are more threads than processors,
 * or for a while when the end of a job was STALL_NS late.
 */
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/cpu.h"
#include "base/mem.h"

#define MAX_THREADS 256
/* Some times what it takes to wake a thread. */
#define SPIN_NS 100000
/* Looks between two readings of the clock. */
#define SPIN_LOOKS 32
/* Less than a scheduler's turn, more than a unit of those that follow each
 * other at once; and the jobs that then go by without looking. */
#define STALL_NS 1000000
#define STALL_JOBS 1024

/* What a worker gets to know when it starts. */
typedef struct pool_worker {
    sotto_pool *pool;
    int number;
} pool_worker;

struct sotto_pool {
    int threads;        /* the caller of sotto_pool_run included */
    int started;        /* worker threads that exist */
    bool spins;         /* a waiting thread may look before it sleeps … */
    atomic_int stalled; /* … unless this many jobs go by without */
    pthread_t handles[MAX_THREADS];
    pool_worker workers[MAX_THREADS];

    pthread_mutex_t lock; /* guards everything down to the job */
    pthread_cond_t wake;  /* a job has opened, or stop */
    pthread_cond_t done;  /* active has become 0 */
    bool stop;
    bool open;         /* workers may enter the job */
    bool busy;         /* inside sotto_pool_run */
    atomic_int active; /* workers inside the job, without the caller; changed
                        * under the lock */
    uint64_t serial;   /* number of the job, so that nobody enters twice */

    /* serial as of the last unlock behind a change of it or of stop: tells a
     * worker that looks that taking the lock pays. */
    atomic_uint_fast64_t posted;

    /* The job. Written before it opens, then only read, but for: */
    sotto_task fn;
    void *arg;
    size_t n_tasks;
    atomic_size_t next; /* first task that nobody has drawn */
    atomic_bool failed; /* draw no more */
    size_t failed_task; /* lowest failed one so far; under the lock */
    sotto_status status;
};

/* ---- Waiting ------------------------------------------------------------- */

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static int64_t now_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What a thread may look for before it sleeps. */
typedef bool (*pool_sight)(sotto_pool *pool, uint64_t seen);

/* Looks until there is something to see or it is time to sleep. */
static void look(sotto_pool *pool, pool_sight sight, uint64_t seen)
{
    if (!pool->spins || atomic_load(&pool->stalled) > 0 || sight(pool, seen)) {
        return;
    }
    const int64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < SPIN_LOOKS; i++) {
            if (sight(pool, seen)) {
                return;
            }
            pause_briefly();
        }
    } while (now_ns() < end);
}

/* A job behind the one that was seen, or stop. */
static bool is_posted(sotto_pool *pool, uint64_t seen)
{
    return atomic_load(&pool->posted) > seen;
}

static bool is_idle(sotto_pool *pool, uint64_t seen)
{
    (void)seen;
    return atomic_load(&pool->active) == 0;
}

/* Takes the lock, which is held for moments only, without sleeping if it can:
 * all threads come to the end of a job at once. */
static void take_lock(sotto_pool *pool)
{
    for (int i = 0; pool->spins && i < SPIN_LOOKS; i++) {
        if (pthread_mutex_trylock(&pool->lock) == 0) {
            return;
        }
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
}

/* ---- Working ------------------------------------------------------------- */

/* Draws and runs tasks until none are left or one has failed.
 *
 * Why the outcome does not depend on timing: a drawn task always runs, and
 * numbers are drawn in order; so when any task fails, all lower ones have been
 * drawn, will run, and take part in the minimum. */
static void work(sotto_pool *pool, int worker)
{
    while (!atomic_load(&pool->failed)) {
        const size_t task = atomic_fetch_add(&pool->next, 1);
        if (task >= pool->n_tasks) {
            return;
        }
        const sotto_status status = pool->fn(pool->arg, task, worker);
        if (status != SOTTO_OK) {
            atomic_store(&pool->failed, true);
            pthread_mutex_lock(&pool->lock);
            if (task < pool->failed_task) {
                pool->failed_task = task;
                pool->status = status;
            }
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void *worker_main(void *arg)
{
    const pool_worker *self = arg;
    sotto_pool *pool = self->pool;
    uint64_t seen = 0;

    pthread_mutex_lock(&pool->lock);
    while (!pool->stop) {
        if (!pool->open || pool->serial == seen) {
            pthread_cond_wait(&pool->wake, &pool->lock);
            continue;
        }
        seen = pool->serial;
        atomic_fetch_add(&pool->active, 1);
        pthread_mutex_unlock(&pool->lock);
        work(pool, self->number);
        take_lock(pool);
        if (atomic_fetch_sub(&pool->active, 1) == 1) {
            pthread_cond_signal(&pool->done);
        }
        pthread_mutex_unlock(&pool->lock);
        look(pool, is_posted, seen);
        take_lock(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Workers take no signals: they are for the program's own threads. */
static bool start_workers(sotto_pool *pool)
{
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) {
        return false;
    }
    bool ok = true;
    while (ok && pool->started < pool->threads - 1) {
        const int i = pool->started;
        pool->workers[i] = (pool_worker){.pool = pool, .number = i};
        ok = pthread_create(&pool->handles[i], NULL, worker_main,
                            &pool->workers[i]) == 0;
        pool->started += ok;
    }
    return pthread_sigmask(SIG_SETMASK, &before, NULL) == 0 && ok;
}

sotto_pool *sotto_pool_new(int threads)
{
    /* Without attributes these three cannot fail on Linux. */
    sotto_pool *pool = sotto_calloc(1, sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    atomic_init(&pool->next, 0);
    atomic_init(&pool->failed, false);
    atomic_init(&pool->active, 0);
    atomic_init(&pool->posted, 0);
    atomic_init(&pool->stalled, 0);

    const int processors = sotto_cpu_count();
    pool->threads = threads > 0 ? threads : processors;
    if (pool->threads > MAX_THREADS) {
        pool->threads = MAX_THREADS;
    }
    pool->spins = pool->threads <= processors;
    if (!start_workers(pool)) {
        sotto_pool_free(pool);
        return NULL;
    }
    return pool;
}

void sotto_pool_free(sotto_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    SOTTO_ASSERT(!pool->busy);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    atomic_store(&pool->posted, UINT64_MAX);
    for (int i = 0; i < pool->started; i++) {
        pthread_join(pool->handles[i], NULL);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    sotto_free(pool);
}

int sotto_pool_threads(const sotto_pool *pool)
{
    return pool != NULL ? pool->threads : 1;
}

/* Without workers to wake: in order, here. */
static sotto_status run_here(size_t n_tasks, sotto_task fn, void *arg,
                             int worker)
{
    for (size_t task = 0; task < n_tasks; task++) {
        SOTTO_TRY(fn(arg, task, worker));
    }
    return SOTTO_OK;
}

static void open_job(sotto_pool *pool, size_t n_tasks, sotto_task fn, void *arg)
{
    take_lock(pool);
    SOTTO_ASSERT(!pool->busy); /* a task, or a second thread, called us */
    pool->busy = true;
    pool->fn = fn;
    pool->arg = arg;
    pool->n_tasks = n_tasks;
    pool->failed_task = SIZE_MAX;
    pool->status = SOTTO_OK;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->failed, false);
    if (n_tasks > 1 && pool->started > 0) {
        pool->open = true;
        pool->serial++;
        pthread_cond_broadcast(&pool->wake);
    }
    const uint64_t serial = pool->serial;
    if (atomic_load(&pool->stalled) > 0) {
        atomic_fetch_sub(&pool->stalled, 1);
    }
    pthread_mutex_unlock(&pool->lock);
    /* Not before: who sees it takes the lock. */
    atomic_store(&pool->posted, serial);
}

static sotto_status close_job(sotto_pool *pool)
{
    take_lock(pool);
    pool->open = false;
    if (atomic_load(&pool->active) > 0) {
        const int64_t start = now_ns();
        pthread_mutex_unlock(&pool->lock);
        look(pool, is_idle, 0);
        take_lock(pool);
        while (atomic_load(&pool->active) > 0) {
            pthread_cond_wait(&pool->done, &pool->lock);
        }
        if (now_ns() - start > STALL_NS) {
            atomic_store(&pool->stalled, STALL_JOBS);
        }
    }
    pool->busy = false;
    const sotto_status status = pool->status;
    pthread_mutex_unlock(&pool->lock);
    return status;
}

sotto_status sotto_pool_run(sotto_pool *pool, size_t n_tasks, sotto_task fn,
                            void *arg)
{
    if (pool == NULL) {
        return run_here(n_tasks, fn, arg, 0);
    }
    /* Each worker overshoots the counter once; it must not wrap. */
    SOTTO_ASSERT(n_tasks <= SIZE_MAX - MAX_THREADS);
    open_job(pool, n_tasks, fn, arg);
    work(pool, pool->threads - 1);
    return close_job(pool);
}
