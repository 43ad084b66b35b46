/* SPDX-License-Identifier: MIT
 * What every run has in common: threads, progress, a way to stop, the trace.
 *
 * A run is a sequence of jobs; a job is split into tasks for the pool. Between
 * tasks the run looks at the cancel flag, counts the work done and, on the
 * calling thread, reports progress. Which thread runs a task changes neither
 * results nor messages: of several failed tasks the lowest number speaks.
 */
#ifndef SOTTO_NN_RUN_CONTROL_H
#define SOTTO_NN_RUN_CONTROL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/status.h"
#include "nn/plan/plan.h"

/* Where a run stands, for progress bars. */
typedef struct nn_progress {
    const char *what; /* "encrypt", "infer", step name, … */
    uint64_t done;    /* work units done … */
    uint64_t total;   /* … of */
    double seconds;   /* since the start */
} nn_progress;

/* Called from the calling thread now and then; arg is the caller's. */
typedef void (*nn_progress_hook)(void *arg, const nn_progress *progress);

/* Common to all runs. Zeroed fields mean defaults. */
typedef struct nn_run_options {
    sotto_pool *pool;          /* NULL: one thread */
    nn_progress_hook progress; /* may be NULL */
    void *progress_arg;
    const atomic_bool *cancel; /* when it becomes true: SOTTO_ERR_CANCELLED */
    size_t memory_bytes;       /* inference in single packing: for encoded
                                * diagonals, 0: no limit; maps that find no room
                                * left encode theirs at each use */
} nn_run_options;

/* One step of the public trace, seconds summed over batches. */
typedef struct nn_trace_step {
    char name[NN_PLAN_NAME_BYTES];
    const char *kind; /* "affine", "square", "relinearise", "rescale",
                       * "relinearise and rescale", "align" (sources of an
                       * affine map brought to one level and shape) */
    int step;         /* of the plan */
    int level;        /* after it */
    int n_components;
    double scale;
    size_t n_ciphertexts;
    double he_error;  /* predicted, values: on the last part of a plan's step;
                       * 0 on the parts before it, which have no prediction */
    double seconds;   /* measured */
    double predicted; /* seconds on one core of all parts of a plan's step: on
                       * its last part, like he_error */
} nn_trace_step;

#define NN_TRACE_MAX (4 * NN_PLAN_MAX_STEPS)
#define NN_TRACE_MAX_TIMES 65536

/* What a server run reports. */
typedef struct nn_trace {
    int n_steps;
    nn_trace_step step[NN_TRACE_MAX];
    nn_packing packing;
    double seconds_prepare; /* before the first batch is read: weights … */
    double seconds_read;
    double seconds_write;
    double seconds_total;   /* from the first check of the plan on */
    double predicted_read;  /* seconds on one core … */
    double predicted_total; /* … for these batches, by the plan's cost table */
    uint64_t batches;       /* in single packing: images */
    double batch_min;       /* seconds of one: reading, steps, writing; … */
    double batch_median;    /* … of the first NN_TRACE_MAX_TIMES batches */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t memory_bytes; /* of the ciphertexts held; in single packing: of
                            * encoded diagonals */
} nn_trace;

/* State of one run. Made by the functions below only. */
typedef struct nn_control nn_control;

/* Starts a run. options may be NULL. total: the work units of all tasks to
 * come, for progress.
 * error: SOTTO_ERR_MEMORY; *control is then NULL.
 * owner: the caller, nn_control_free; borrows the options' pool and flag. */
sotto_status nn_control_new(nn_control **control, const nn_run_options *options,
                            uint64_t total, sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_control_free(nn_control *control);

/* Sets the work units of the whole run, when they are known only later. */
void nn_control_expect(nn_control *control, uint64_t total);

/* Number of workers; worker numbers of tasks are smaller. */
int nn_control_threads(const nn_control *control);

/* What the run was started with; the pool may be used between jobs. */
const nn_run_options *nn_control_options(const nn_control *control);

/* Names what is going on, for progress. what: must outlive the control. */
void nn_control_name(nn_control *control, const char *what);

/* Seconds since the start. */
double nn_control_seconds(const nn_control *control);

/* One task; err is its own. */
typedef sotto_status (*nn_task)(void *arg, size_t task, int worker,
                                sotto_error *err);

/* Runs fn(arg, 0..n_tasks-1) over the pool and waits; each task counts as
 * `work` units.
 * error: SOTTO_ERR_CANCELLED once the flag is up; otherwise status and message
 * of the lowest-numbered task that failed. cost: no allocation. */
sotto_status nn_control_run(nn_control *control, size_t n_tasks, uint64_t work,
                            nn_task fn, void *arg,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Counts work done outside of tasks, reports it, and fails with
 * SOTTO_ERR_CANCELLED once the flag is up. Calling thread only. */
sotto_status nn_control_advance(nn_control *control, uint64_t work,
                                sotto_error *err) SOTTO_MUST_CHECK;

#endif
