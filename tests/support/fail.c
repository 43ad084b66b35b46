/* SPDX-License-Identifier: MIT
 * The functions that --wrap puts in place of the real ones (fail.h). State is
 * atomic: workers of a pool may allocate.
 */
#include "tests/support/fail.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include <cmocka.h>

static atomic_int armed_point;  /* fail_point */
static atomic_long calls_left;  /* until the one that fails */
static atomic_long live_blocks; /* allocated and not freed */
static atomic_bool has_failed;

void fail_arm(fail_point point, long k)
{
    atomic_store(&has_failed, false);
    atomic_store(&calls_left, k);
    atomic_store(&armed_point, (int)point);
}

bool fail_disarm(void)
{
    atomic_store(&armed_point, (int)FAIL_NONE);
    return atomic_load(&has_failed);
}

long fail_live_blocks(void)
{
    return atomic_load(&live_blocks);
}

/* Counts a call; true for the one that is to fail. */
static bool fails_now(fail_point point)
{
    if (atomic_load(&armed_point) != (int)point ||
        atomic_fetch_sub(&calls_left, 1) != 0) {
        return false;
    }
    atomic_store(&has_failed, true);
    return true;
}

long fail_sweep(fail_point point, sotto_status expected, long limit,
                sotto_status (*body)(void *arg), void *arg)
{
    for (long k = 0; k < limit; k++) {
        const long before = fail_live_blocks();
        fail_arm(point, k);
        const sotto_status status = body(arg);
        const bool met = fail_disarm();
        if (status != (met ? expected : SOTTO_OK) ||
            fail_live_blocks() != before) {
            print_error("failure %ld: status %d (%s), %ld blocks leaked\n", k,
                        (int)status, sotto_status_text(status),
                        fail_live_blocks() - before);
        }
        assert_int_equal(status, met ? expected : SOTTO_OK);
        assert_int_equal(fail_live_blocks(), before);
        if (!met) {
            return k;
        }
    }
    fail_msg("still failing after %ld failures", limit);
    return limit;
}

/* The linker's names for the replaced and the real functions. */
void *__real_sotto_calloc(size_t count, size_t size);
void *__wrap_sotto_calloc(size_t count, size_t size);
void __real_sotto_free(void *block);
void __wrap_sotto_free(void *block);
void *__real_sotto_map(size_t len_bytes);
void *__wrap_sotto_map(size_t len_bytes);
void __real_sotto_unmap(void *block, size_t len_bytes);
void __wrap_sotto_unmap(void *block, size_t len_bytes);
ssize_t __real_read(int fd, void *out, size_t len_bytes);
ssize_t __wrap_read(int fd, void *out, size_t len_bytes);
ssize_t __real_write(int fd, const void *data, size_t len_bytes);
ssize_t __wrap_write(int fd, const void *data, size_t len_bytes);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
ssize_t __real_getrandom(void *out, size_t len_bytes, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t len_bytes, unsigned flags);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *arg);

void *__wrap_sotto_calloc(size_t count, size_t size)
{
    if (fails_now(FAIL_ALLOC)) {
        return NULL;
    }
    void *block = __real_sotto_calloc(count, size);
    if (block != NULL) {
        atomic_fetch_add(&live_blocks, 1);
    }
    return block;
}

void __wrap_sotto_free(void *block)
{
    if (block != NULL) {
        atomic_fetch_sub(&live_blocks, 1);
    }
    __real_sotto_free(block);
}

void *__wrap_sotto_map(size_t len_bytes)
{
    if (fails_now(FAIL_ALLOC)) {
        return NULL;
    }
    void *block = __real_sotto_map(len_bytes);
    if (block != NULL) {
        atomic_fetch_add(&live_blocks, 1);
    }
    return block;
}

void __wrap_sotto_unmap(void *block, size_t len_bytes)
{
    if (block != NULL) {
        atomic_fetch_sub(&live_blocks, 1);
    }
    __real_sotto_unmap(block, len_bytes);
}

/* Sets errno for a call that fails as the system would let it. */
static int refuse(int reason)
{
    errno = reason;
    return -1;
}

ssize_t __wrap_read(int fd, void *out, size_t len_bytes)
{
    if (fails_now(FAIL_READ)) {
        return refuse(EIO);
    }
    const bool half = len_bytes > 1 && fails_now(FAIL_READ_SHORT);
    return __real_read(fd, out, half ? len_bytes / 2 : len_bytes);
}

ssize_t __wrap_write(int fd, const void *data, size_t len_bytes)
{
    return fails_now(FAIL_WRITE) ? refuse(ENOSPC)
                                 : __real_write(fd, data, len_bytes);
}

int __wrap_fsync(int fd)
{
    return fails_now(FAIL_SYNC) ? refuse(EIO) : __real_fsync(fd);
}

int __wrap_link(const char *from, const char *to)
{
    return fails_now(FAIL_LINK) ? refuse(EPERM) : __real_link(from, to);
}

int __wrap_rename(const char *from, const char *to)
{
    return fails_now(FAIL_RENAME) ? refuse(EACCES) : __real_rename(from, to);
}

ssize_t __wrap_getrandom(void *out, size_t len_bytes, unsigned flags)
{
    return fails_now(FAIL_RANDOM) ? refuse(ENOSYS)
                                  : __real_getrandom(out, len_bytes, flags);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *arg)
{
    return fails_now(FAIL_THREAD)
               ? EAGAIN
               : __real_pthread_create(thread, attributes, start, arg);
}
