/* SPDX-License-Identifier: MIT
 * Jobs of a run: messages, progress, cancelling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "nn/run/control.h"
#include "tests/support/check.h"

/* Fails, with a message of its own, once both tasks are at work. */
static sotto_status fail_together(void *arg, size_t task, int worker,
                                  sotto_error *err)
{
    atomic_int *present = arg;
    (void)worker;
    (void)atomic_fetch_add(present, 1);
    while (atomic_load(present) < 2) {
    }
    return sotto_fail(err, task == 0 ? SOTTO_ERR_SHAPE : SOTTO_ERR_LEVEL,
                      "task %zu", task);
}

/* Of tasks that fail at the same time, the lowest number speaks. */
static void test_nn_control_lowest_task_speaks(void **state)
{
    (void)state;
    sotto_pool *pool = sotto_pool_new(2);
    const nn_run_options options = {.pool = pool};
    nn_control *control;
    assert_non_null(pool);
    CHECK(nn_control_new(&control, &options, 0, err));
    assert_int_equal(nn_control_threads(control), 2);
    for (int i = 0; i < 200; i++) {
        sotto_error error = {{0}};
        atomic_int present;
        atomic_init(&present, 0);
        assert_int_equal(
            nn_control_run(control, 2, 1, fail_together, &present, &error),
            SOTTO_ERR_SHAPE);
        assert_string_equal(error.text, "task 0");
    }
    nn_control_free(control);
    sotto_pool_free(pool);
}

static sotto_status succeed(void *arg, size_t task, int worker,
                            sotto_error *err)
{
    (void)arg;
    (void)task;
    (void)worker;
    (void)err;
    return SOTTO_OK;
}

typedef struct seen {
    int calls;
    nn_progress last;
} seen;

static void watch(void *arg, const nn_progress *progress)
{
    seen *s = arg;
    s->calls++;
    s->last = *progress;
}

static void test_nn_control_progress(void **state)
{
    (void)state;
    seen s = {0};
    const nn_run_options options = {.progress = watch, .progress_arg = &s};
    nn_control *control;
    CHECK(nn_control_new(&control, &options, 0, err));
    nn_control_expect(control, 10 * 7 + 5);
    nn_control_name(control, "work");
    CHECK(nn_control_run(control, 10, 7, succeed, NULL, err));
    CHECK(nn_control_advance(control, 5, err));
    assert_true(s.calls >= 1);
    assert_int_equal(s.last.done, 75);
    assert_int_equal(s.last.total, 75);
    assert_string_equal(s.last.what, "work");
    assert_true(s.last.seconds >= 0);
    nn_control_free(control);
}

/* A task that raises the flag: no task starts after it. */
static sotto_status raise_flag(void *arg, size_t task, int worker,
                               sotto_error *err)
{
    (void)worker;
    (void)err;
    if (task == 3) {
        atomic_store((atomic_bool *)arg, true);
    }
    return task > 3 ? SOTTO_ERR_PARAM : SOTTO_OK;
}

static void test_nn_control_cancel(void **state)
{
    (void)state;
    atomic_bool cancel;
    atomic_init(&cancel, false);
    const nn_run_options options = {.cancel = &cancel};
    nn_control *control;
    sotto_error error = {{0}};
    CHECK(nn_control_new(&control, &options, 10, err));
    assert_int_equal(
        nn_control_run(control, 10, 1, raise_flag, &cancel, &error),
        SOTTO_ERR_CANCELLED);
    assert_true(error.text[0] != '\0');
    assert_int_equal(nn_control_advance(control, 1, NULL), SOTTO_ERR_CANCELLED);
    nn_control_free(control);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nn_control_lowest_task_speaks),
        cmocka_unit_test(test_nn_control_progress),
        cmocka_unit_test(test_nn_control_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
