/* SPDX-License-Identifier: MIT
 * Frame of the constant-time checks. A check marks its secrets
 * (sotto_mark_secret), runs library code, declassifies what came out, and says
 * ct_done. Programs here do without CMocka, which MSan cannot see into; they
 * print TAP themselves.
 *
 *     make ct      under valgrind: portable and AVX2 code
 *     make msan    under clang's MemorySanitizer: portable and AVX-512 code
 */
#ifndef SOTTO_TESTS_CT_CT_H
#define SOTTO_TESTS_CT_CT_H

#include <stdio.h>
#include <stdlib.h>

#include "base/secret.h"

/* Counts results. */
typedef struct ct_log {
    int number;
    unsigned long errors;
} ct_log;

/* Reports the check that has just run: failed if the checker has complained
 * since the last call. (MSan ends the program at once.) */
static inline void ct_done(ct_log *log, const char *name)
{
    unsigned long errors = 0;
#if defined(SOTTO_CT_VALGRIND)
    errors = VALGRIND_COUNT_ERRORS;
#endif
    log->number++;
    (void)printf("%sok %d - %s\n", errors > log->errors ? "not " : "",
                 log->number, name);
    (void)fflush(stdout);
    log->errors = errors;
}

/* Ends the program when a call fails that must not. */
static inline void ct_must(int condition, const char *what)
{
    if (!condition) {
        (void)printf("not ok - %s failed\n", what);
        exit(1);
    }
}

#endif
