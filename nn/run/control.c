/* SPDX-License-Identifier: MIT
 * Jobs of a run: cancel flag, progress, messages of failed tasks.
 */
#include "nn/run/control.h"

#include <stdbool.h>
#include <time.h>

#include "base/mem.h"

/* Seconds between two reports: often enough for a bar, too rare to matter. */
#define REPORT_SECONDS 0.05

/* The one failure that a worker can have in a job: after it no task starts. */
typedef struct control_slot {
    bool failed;
    size_t task;
    sotto_error error;
} control_slot;

struct nn_control {
    nn_run_options options;
    const char *what;
    uint64_t total;
    atomic_uint_fast64_t done;
    double start;
    double reported; /* calling thread only */
    int threads;
    control_slot *slot; /* [threads] */
};

/* A clock that nobody sets. */
static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

sotto_status nn_control_new(nn_control **control, const nn_run_options *options,
                            uint64_t total, sotto_error *err)
{
    *control = NULL;
    nn_control *made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory for a run");
    }
    made->options = options != NULL ? *options : (nn_run_options){0};
    made->what = "";
    made->total = total;
    atomic_init(&made->done, 0);
    made->start = now_seconds();
    made->threads = sotto_pool_threads(made->options.pool);
    made->slot = sotto_calloc((size_t)made->threads, sizeof *made->slot);
    if (made->slot == NULL) {
        nn_control_free(made);
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory for a run");
    }
    *control = made;
    return SOTTO_OK;
}

void nn_control_free(nn_control *control)
{
    if (control != NULL) {
        sotto_free(control->slot);
        sotto_free(control);
    }
}

void nn_control_expect(nn_control *control, uint64_t total)
{
    control->total = total;
}

int nn_control_threads(const nn_control *control)
{
    return control->threads;
}

const nn_run_options *nn_control_options(const nn_control *control)
{
    return &control->options;
}

void nn_control_name(nn_control *control, const char *what)
{
    control->what = what;
}

double nn_control_seconds(const nn_control *control)
{
    return now_seconds() - control->start;
}

/* Relaxed: the flag guards no data, and a task more or less does not matter. */
static sotto_status check_cancel(const nn_control *control, sotto_error *err)
{
    if (control->options.cancel != NULL &&
        atomic_load_explicit(control->options.cancel, memory_order_relaxed)) {
        return sotto_fail(err, SOTTO_ERR_CANCELLED, "stopped on request");
    }
    return SOTTO_OK;
}

/* Calling thread only. The last report, with everything done, always goes
 * out. */
static void report(nn_control *control)
{
    if (control->options.progress == NULL) {
        return;
    }
    const double seconds = nn_control_seconds(control);
    const uint64_t done = atomic_load(&control->done);
    if (seconds - control->reported < REPORT_SECONDS && done < control->total) {
        return;
    }
    control->reported = seconds;
    const nn_progress progress = {.what = control->what,
                                  .done = done,
                                  .total = control->total,
                                  .seconds = seconds};
    control->options.progress(control->options.progress_arg, &progress);
}

sotto_status nn_control_advance(nn_control *control, uint64_t work,
                                sotto_error *err)
{
    SOTTO_TRY(check_cancel(control, err));
    atomic_fetch_add(&control->done, work);
    report(control);
    return SOTTO_OK;
}

/* One job, as the pool sees it. */
typedef struct control_job {
    nn_control *control;
    uint64_t work;
    nn_task fn;
    void *arg;
} control_job;

static sotto_status run_task(void *arg, size_t task, int worker)
{
    const control_job *job = arg;
    nn_control *control = job->control;
    control_slot *slot = &control->slot[worker];
    sotto_status status = check_cancel(control, &slot->error);
    if (status == SOTTO_OK) {
        status = job->fn(job->arg, task, worker, &slot->error);
    }
    if (status != SOTTO_OK) {
        slot->failed = true;
        slot->task = task;
        return status;
    }
    atomic_fetch_add(&control->done, job->work);
    /* The hook is the caller's and may draw: only the caller's thread runs it.
     */
    if (worker == control->threads - 1) { /* the caller of sotto_pool_run */
        report(control);
    }
    return SOTTO_OK;
}

sotto_status nn_control_run(nn_control *control, size_t n_tasks, uint64_t work,
                            nn_task fn, void *arg, sotto_error *err)
{
    for (int i = 0; i < control->threads; i++) {
        control->slot[i].failed = false;
        control->slot[i].error.text[0] = '\0';
    }
    control_job job = {.control = control, .work = work, .fn = fn, .arg = arg};
    const sotto_status status =
        sotto_pool_run(control->options.pool, n_tasks, run_task, &job);
    if (status == SOTTO_OK) {
        return SOTTO_OK;
    }
    /* The pool's status is that of the lowest failed task; find its message. */
    const control_slot *first = NULL;
    for (int i = 0; i < control->threads; i++) {
        const control_slot *slot = &control->slot[i];
        if (slot->failed && (first == NULL || slot->task < first->task)) {
            first = slot;
        }
    }
    if (first != NULL && err != NULL) {
        *err = first->error;
    }
    return status;
}
