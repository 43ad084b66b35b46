/* SPDX-License-Identifier: MIT
 * The thread pool: every task once, the same results and the same error for
 * any number of threads.
 */
#include "base/pool.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/prng.h"
#include "tests/support/fail.h"

#define MAX_TASKS 400

static const int thread_counts[] = {1, 2, 7};
#define N_COUNTS (sizeof thread_counts / sizeof thread_counts[0])

typedef struct job {
    atomic_int runs[MAX_TASKS];
    uint64_t result[MAX_TASKS];
    atomic_int inside[256]; /* tasks of each worker at this moment */
    atomic_bool overlap;
    int threads;
    bool fails[MAX_TASKS];
} job;

static sotto_status run_task(void *arg, size_t task, int worker)
{
    job *j = arg;
    if (worker < 0 || worker >= j->threads ||
        atomic_fetch_add(&j->inside[worker], 1) != 0) {
        atomic_store(&j->overlap, true);
        return SOTTO_ERR_PARAM;
    }
    sotto_seed seed;
    sotto_seed_from_text(&seed, "pool");
    sotto_prf(&seed, &seed, SOTTO_LABEL_TEST, task, 0, 0, 0);
    memcpy(&j->result[task], seed.bytes, 8);
    atomic_fetch_add(&j->runs[task], 1);
    if (task % 5 == 0) {
        (void)sched_yield(); /* stir the order */
    }
    atomic_fetch_sub(&j->inside[worker], 1);
    /* Statuses tell which task failed: -1 … -15. */
    return j->fails[task] ? (sotto_status)(-1 - (int)(task % 15)) : SOTTO_OK;
}

static void test_pool_runs_every_task_once(void **state)
{
    (void)state;
    static job reference, j;
    memset(&reference, 0, sizeof reference);
    reference.threads = 1;
    assert_int_equal(sotto_pool_run(NULL, MAX_TASKS, run_task, &reference),
                     SOTTO_OK);
    for (size_t c = 0; c < N_COUNTS; c++) {
        sotto_pool *pool = sotto_pool_new(thread_counts[c]);
        assert_non_null(pool);
        assert_int_equal(sotto_pool_threads(pool), thread_counts[c]);
        for (size_t n = 0; n <= MAX_TASKS; n = n < 10 ? n + 1 : 2 * n) {
            memset(&j, 0, sizeof j);
            j.threads = thread_counts[c];
            assert_int_equal(sotto_pool_run(pool, n, run_task, &j), SOTTO_OK);
            for (size_t i = 0; i < MAX_TASKS; i++) {
                assert_int_equal(atomic_load(&j.runs[i]), i < n);
            }
            assert_memory_equal(j.result, reference.result,
                                n * sizeof j.result[0]);
            assert_false(atomic_load(&j.overlap));
        }
        sotto_pool_free(pool);
    }
}

static void test_pool_returns_status_of_lowest_failed_task(void **state)
{
    (void)state;
    static job j;
    for (size_t c = 0; c <= N_COUNTS; c++) {
        const int threads = c < N_COUNTS ? thread_counts[c] : 1;
        sotto_pool *pool = c < N_COUNTS ? sotto_pool_new(threads) : NULL;
        for (size_t first = 0; first < 40; first++) {
            memset(&j, 0, sizeof j);
            j.threads = threads;
            for (size_t i = first; i < MAX_TASKS; i += 1 + i % 3) {
                j.fails[i] = true;
            }
            const int want = -1 - (int)(first % 15);
            assert_int_equal(sotto_pool_run(pool, MAX_TASKS, run_task, &j),
                             want);
            /* All before it ran; not all after it did. */
            for (size_t i = 0; i <= first; i++) {
                assert_int_equal(atomic_load(&j.runs[i]), 1);
            }
            assert_int_equal(atomic_load(&j.runs[MAX_TASKS - 1]), 0);
        }
        /* A failure does not stick to the pool. */
        memset(&j, 0, sizeof j);
        j.threads = threads;
        assert_int_equal(sotto_pool_run(pool, 50, run_task, &j), SOTTO_OK);
        sotto_pool_free(pool);
    }
}

/* Two tasks that wait for each other end only if two threads run them. */
static sotto_status meet(void *arg, size_t task, int worker)
{
    atomic_int *arrived = arg;
    (void)task;
    (void)worker;
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < 2) {
        (void)sched_yield();
    }
    return SOTTO_OK;
}

static void test_pool_runs_tasks_at_the_same_time(void **state)
{
    (void)state;
    sotto_pool *pool = sotto_pool_new(2);
    assert_non_null(pool);
    for (int i = 0; i < 100; i++) {
        atomic_int arrived = 0;
        assert_int_equal(sotto_pool_run(pool, 2, meet, &arrived), SOTTO_OK);
    }
    sotto_pool_free(pool);
}

static void test_pool_new_chooses_thread_count(void **state)
{
    (void)state;
    sotto_pool *pool = sotto_pool_new(0);
    assert_non_null(pool);
    assert_int_equal(sotto_pool_threads(pool), sotto_cpu_count());
    sotto_pool_free(pool);
    pool = sotto_pool_new(10000);
    assert_non_null(pool);
    assert_int_equal(sotto_pool_threads(pool), 256);
    sotto_pool_free(pool);
    assert_int_equal(sotto_pool_threads(NULL), 1);
    sotto_pool_free(NULL);
}

static sotto_status make_pool(void *arg)
{
    (void)arg;
    sotto_pool *pool = sotto_pool_new(4);
    if (pool == NULL) {
        return SOTTO_ERR_MEMORY;
    }
    sotto_pool_free(pool);
    return SOTTO_OK;
}

static void test_pool_new_survives_failures(void **state)
{
    (void)state;
    assert_int_equal(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 9, make_pool, NULL), 1);
    assert_int_equal(
        fail_sweep(FAIL_THREAD, SOTTO_ERR_MEMORY, 9, make_pool, NULL), 3);
}

static void test_pool_run_does_not_allocate(void **state)
{
    (void)state;
    static job j;
    memset(&j, 0, sizeof j);
    j.threads = 3;
    sotto_pool *pool = sotto_pool_new(3);
    assert_non_null(pool);
    fail_arm(FAIL_ALLOC, 0);
    assert_int_equal(sotto_pool_run(pool, 20, run_task, &j), SOTTO_OK);
    assert_false(fail_disarm());
    sotto_pool_free(pool);
}

static sotto_status nest(void *arg, size_t task, int worker)
{
    (void)task;
    (void)worker;
    return sotto_pool_run(arg, 1, nest, arg);
}

static void test_pool_run_inside_a_task_is_an_assertion(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        sotto_pool *pool = sotto_pool_new(1);
        _exit(sotto_pool_run(pool, 1, nest, pool) == SOTTO_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_runs_every_task_once),
        cmocka_unit_test(test_pool_returns_status_of_lowest_failed_task),
        cmocka_unit_test(test_pool_runs_tasks_at_the_same_time),
        cmocka_unit_test(test_pool_new_chooses_thread_count),
        cmocka_unit_test(test_pool_new_survives_failures),
        cmocka_unit_test(test_pool_run_does_not_allocate),
        cmocka_unit_test(test_pool_run_inside_a_task_is_an_assertion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
