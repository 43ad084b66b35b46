/* SPDX-License-Identifier: MIT
 * Success of calls that say what went wrong. Include after cmocka.h.
 */
#ifndef SOTTO_TESTS_SUPPORT_CHECK_H
#define SOTTO_TESTS_SUPPORT_CHECK_H

#include "base/status.h"

/* Runs an expression that may take `err` and must succeed; fails the test with
 * its message. */
#define CHECK(expr)                                                            \
    do {                                                                       \
        sotto_error check_error_ = {{0}};                                      \
        sotto_error *const err = &check_error_;                                \
        if ((expr) != SOTTO_OK) {                                              \
            fail_msg("%s: %s", #expr, check_error_.text);                      \
        }                                                                      \
    } while (0)

#endif
