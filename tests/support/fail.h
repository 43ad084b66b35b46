/* SPDX-License-Identifier: MIT
 * Failures on purpose: the k-th allocation, read, write, … of the library
 * fails. Every test program is linked with --wrap for the calls below, so that
 * the library itself knows nothing of it.
 *
 *     fail_arm(FAIL_ALLOC, 2);           the third sotto_calloc gives NULL
 *     status = ckks_thing_new(&thing);
 *     const bool met = fail_disarm();    false: there were fewer calls
 *
 * Calls inside one file of the library (mem.c calling its own sotto_calloc)
 * are not seen; those of the C library neither.
 */
#ifndef SOTTO_TESTS_SUPPORT_FAIL_H
#define SOTTO_TESTS_SUPPORT_FAIL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* What can be made to fail, and how. */
typedef enum fail_point {
    FAIL_NONE,
    FAIL_ALLOC,      /* sotto_calloc gives NULL */
    FAIL_READ,       /* read: EIO */
    FAIL_READ_SHORT, /* read gives half of what it could, once */
    FAIL_WRITE,      /* write: ENOSPC, the disk is full */
    FAIL_SYNC,       /* fsync: EIO */
    FAIL_LINK,       /* link: EPERM, a system without hard links */
    FAIL_RENAME,     /* rename: EACCES */
    FAIL_RANDOM,     /* getrandom: ENOSYS */
    FAIL_THREAD      /* pthread_create: EAGAIN */
} fail_point;

/* From now on call number k (from 0) of this point fails, once. */
void fail_arm(fail_point point, long k);

/* Ends it; returns whether the failure took place. */
bool fail_disarm(void);

/* Blocks of sotto_calloc that have not been freed. */
long fail_live_blocks(void);

/* Runs body(arg) with k = 0, 1, 2, … until a run meets no failure, at most
 * limit times. Asserts (CMocka) that a run with a failure returns expected,
 * that the last one returns SOTTO_OK, and that after each run as many blocks
 * live as before: body frees what it made, whatever happened. Returns the
 * number of calls that were made to fail. */
long fail_sweep(fail_point point, sotto_status expected, long limit,
                sotto_status (*body)(void *arg), void *arg);

#endif
