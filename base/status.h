/* SPDX-License-Identifier: MIT
 * Status codes, error messages and assertions.
 *
 * Two channels for two kinds of wrong. What a correct program can meet (a
 * damaged file, a missing key, too deep a network) is a status with a message
 * that holds the values. What only a wrong program does (NULL, a foreign
 * context, a partly overlapping output) is an assertion. The library never
 * prints and never exits.
 *
 * On any error every output is unchanged or wiped; inputs never change.
 */
#ifndef SOTTO_BASE_STATUS_H
#define SOTTO_BASE_STATUS_H

#include <stddef.h>

/* 0 is success; everything else is negative. The list is closed. */
typedef enum sotto_status {
    SOTTO_OK = 0,
    SOTTO_ERR_MEMORY = -1,       /* allocation failed */
    SOTTO_ERR_PARAM = -2,        /* a parameter is out of its range */
    SOTTO_ERR_SECURITY = -3,     /* below the wanted security level */
    SOTTO_ERR_LEVEL = -4,        /* no such level, or levels exhausted */
    SOTTO_ERR_SCALE = -5,        /* scales differ, or scale out of range */
    SOTTO_ERR_KEY = -6,          /* no such key, or a wrong one */
    SOTTO_ERR_SHAPE = -7,        /* shapes do not fit */
    SOTTO_ERR_FORMAT = -8,       /* a file or record is damaged or foreign */
    SOTTO_ERR_IO = -9,           /* the operating system refused */
    SOTTO_ERR_RANDOM = -10,      /* no randomness from the system */
    SOTTO_ERR_MISMATCH = -11,    /* objects of different plans or parameters */
    SOTTO_ERR_UNSUPPORTED = -12, /* valid, but not something Sotto does */
    SOTTO_ERR_RANGE = -13,       /* a value lies outside the planned range */
    SOTTO_ERR_NOISE = -14,       /* decrypted noise is beyond the prediction */
    SOTTO_ERR_CANCELLED = -15    /* stopped by the caller */
} sotto_status;

#define SOTTO_MUST_CHECK __attribute__((warn_unused_result))
#define SOTTO_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Room for one message: what was wrong, what was expected, what to do. */
typedef struct sotto_error {
    char text[512];
} sotto_error;

/* Writes a formatted message into err and returns status, so that a failing
 * function can end in `return sotto_fail(err, SOTTO_ERR_X, "…", …);`.
 * A longer message is cut. err may be NULL (the message is dropped).
 * error: never fails itself; status is returned unchanged. */
sotto_status sotto_fail(sotto_error *err, sotto_status status,
                        const char *format, ...) SOTTO_PRINTF(3, 4);

/* Puts "prefix: " in front of the message in err (cut to fit) and returns
 * status; err may be NULL. Used where a caller knows the file or node. */
sotto_status sotto_fail_prefix(sotto_error *err, sotto_status status,
                               const char *format, ...) SOTTO_PRINTF(3, 4);

/* The name of a status in words ("out of memory"), a static string. */
const char *sotto_status_text(sotto_status status);

/* Returns early with the status of expr when it is not SOTTO_OK. For inner
 * functions without anything to release; a public entry marks its arena, calls
 * an inner function, and releases the arena whatever came back. */
#define SOTTO_TRY(expr)                                                        \
    do {                                                                       \
        const sotto_status sotto_try_ = (expr);                                \
        if (sotto_try_ != SOTTO_OK) {                                          \
            return sotto_try_;                                                 \
        }                                                                      \
    } while (0)

/* Reports a violated contract on standard error and aborts. */
_Noreturn void sotto_assert_failed(const char *condition, const char *file,
                                   int line);

/* Misuse check, on in every build. Not inside kernels; never on secrets. */
#define SOTTO_ASSERT(condition)                                                \
    ((condition) ? (void)0                                                     \
                 : sotto_assert_failed(#condition, __FILE__, __LINE__))

#endif
