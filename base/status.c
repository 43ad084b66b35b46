/* SPDX-License-Identifier: MIT
 * Status texts, error messages, the assertion's last words.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Messages carry names from files that nobody vouches for. Control characters
 * (terminal escapes, line feeds) become '?', and a message that was cut does
 * not end inside a UTF-8 character. */
static void make_printable(char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f) {
            text[i] = '?';
        }
    }

    /* Continuation bytes are 10xxxxxx; a lead byte announces their number. */
    size_t tail = 0;
    while (tail < 3 && tail < len &&
           ((unsigned char)text[len - 1 - tail] & 0xc0) == 0x80) {
        tail++;
    }
    if (tail == len) {
        return;
    }
    const unsigned char lead = (unsigned char)text[len - 1 - tail];
    const size_t want = lead >= 0xf0   ? 3
                        : lead >= 0xe0 ? 2
                        : lead >= 0xc0 ? 1
                                       : 0;
    if (tail < want) {
        text[len - 1 - tail] = '\0';
    }
}

/* Formats into made, cut to fit; returns the number of characters there. */
static size_t compose(sotto_error *made, const char *format, va_list args)
{
    const int len = vsnprintf(made->text, sizeof made->text, format, args);
    if (len < 0) {
        made->text[0] = '\0';
        return 0;
    }
    const size_t most = sizeof made->text - 1;
    return (size_t)len < most ? (size_t)len : most;
}

sotto_status sotto_fail(sotto_error *err, sotto_status status,
                        const char *format, ...)
{
    if (err == NULL) {
        return status;
    }
    /* Not straight into err: an argument may be err->text itself. */
    sotto_error made;
    va_list args;
    va_start(args, format);
    (void)compose(&made, format, args);
    va_end(args);
    make_printable(made.text);
    *err = made;
    return status;
}

sotto_status sotto_fail_prefix(sotto_error *err, sotto_status status,
                               const char *format, ...)
{
    if (err == NULL) {
        return status;
    }
    sotto_error made;
    va_list args;
    va_start(args, format);
    size_t at = compose(&made, format, args);
    va_end(args);

    const char *parts[2] = {": ", err->text};
    for (int i = 0; i < 2; i++) {
        const size_t room = sizeof made.text - 1 - at;
        const size_t len = strlen(parts[i]);
        const size_t take = len < room ? len : room;
        memcpy(made.text + at, parts[i], take);
        at += take;
    }
    made.text[at] = '\0';
    make_printable(made.text);
    *err = made;
    return status;
}

const char *sotto_status_text(sotto_status status)
{
    switch (status) {
    case SOTTO_OK:
        return "success";
    case SOTTO_ERR_MEMORY:
        return "out of memory";
    case SOTTO_ERR_PARAM:
        return "parameter out of range";
    case SOTTO_ERR_SECURITY:
        return "below the security level";
    case SOTTO_ERR_LEVEL:
        return "no such level";
    case SOTTO_ERR_SCALE:
        return "scale mismatch";
    case SOTTO_ERR_KEY:
        return "missing or wrong key";
    case SOTTO_ERR_SHAPE:
        return "shapes do not fit";
    case SOTTO_ERR_FORMAT:
        return "damaged or foreign data";
    case SOTTO_ERR_IO:
        return "input or output failed";
    case SOTTO_ERR_RANDOM:
        return "no randomness from the system";
    case SOTTO_ERR_MISMATCH:
        return "objects do not belong together";
    case SOTTO_ERR_UNSUPPORTED:
        return "not supported";
    case SOTTO_ERR_RANGE:
        return "value outside the planned range";
    case SOTTO_ERR_NOISE:
        return "noise beyond the prediction";
    case SOTTO_ERR_CANCELLED:
        return "cancelled";
    }
    return "unknown status";
}

/* The one place of the library that prints: the program is wrong and ends. */
_Noreturn void sotto_assert_failed(const char *condition, const char *file,
                                   int line)
{
    (void)fprintf(stderr, "sotto: %s:%d: contract violated: %s\n", file, line,
                  condition);
    abort();
}
