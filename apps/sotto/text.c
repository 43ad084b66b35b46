/* SPDX-License-Identifier: MIT
 * Text output and values in words.
 */
#include "apps/sotto/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void text_init(text_out *t)
{
    t->out = NULL;
    t->status = SOTTO_OK;
    t->error.text[0] = '\0';
    t->fill = 0;
    t->buffer[0] = '\0';
}

sotto_status text_open(text_out *t, const char *path, sotto_error *err)
{
    text_init(t);
    return sotto_output_open(&t->out, path, SOTTO_OUTPUT_PUBLIC, false, err);
}

void text_flush(text_out *t)
{
    if (t->out == NULL || t->status != SOTTO_OK || t->fill == 0) {
        return;
    }
    t->status = sotto_output_write(t->out, t->buffer, t->fill, &t->error);
    t->fill = 0;
    t->buffer[0] = '\0';
}

/* One byte stays free for the terminating zero. */
static size_t room(const text_out *t)
{
    return TEXT_BUFFER_BYTES - 1 - t->fill;
}

/* Fails because a text does not fit the buffer. */
static void too_long(text_out *t)
{
    t->status =
        sotto_fail(&t->error, SOTTO_ERR_PARAM, "a text is longer than %d bytes",
                   TEXT_BUFFER_BYTES - 1);
}

void text_bytes(text_out *t, const char *bytes, size_t len_bytes)
{
    while (len_bytes > 0 && t->status == SOTTO_OK) {
        if (room(t) == 0 && t->out == NULL) {
            too_long(t);
            return;
        }
        if (room(t) == 0) {
            text_flush(t);
            continue;
        }
        const size_t n = len_bytes < room(t) ? len_bytes : room(t);
        memcpy(t->buffer + t->fill, bytes, n);
        t->fill += n;
        t->buffer[t->fill] = '\0';
        bytes += n;
        len_bytes -= n;
    }
}

void text_put(text_out *t, const char *string)
{
    text_bytes(t, string, strlen(string));
}

/* Formats behind what is there; false when it does not fit, in which case the
 * buffer is as before. */
static bool format_into(text_out *t, const char *format, va_list args)
    SOTTO_PRINTF(2, 0);

static bool format_into(text_out *t, const char *format, va_list args)
{
    const int n = vsnprintf(t->buffer + t->fill, room(t) + 1, format, args);
    if (n < 0 || (size_t)n > room(t)) {
        t->buffer[t->fill] = '\0';
        return false;
    }
    t->fill += (size_t)n;
    return true;
}

void text_printf(text_out *t, const char *format, ...)
{
    if (t->status != SOTTO_OK) {
        return;
    }
    va_list args;
    va_start(args, format);
    bool done = format_into(t, format, args);
    va_end(args);
    if (!done && t->out != NULL) {
        text_flush(t);
        va_start(args, format);
        done = format_into(t, format, args);
        va_end(args);
    }
    if (!done && t->status == SOTTO_OK) {
        too_long(t);
    }
}

sotto_status text_check(const text_out *t, sotto_error *err)
{
    if (t->status != SOTTO_OK) {
        return sotto_fail(err, t->status, "%s", t->error.text);
    }
    return SOTTO_OK;
}

sotto_status text_close(text_out *t, sotto_error *err)
{
    text_flush(t);
    const sotto_status status = text_check(t, err);
    if (status != SOTTO_OK) {
        text_discard(t);
        return status;
    }
    sotto_output *out = t->out;
    t->out = NULL;
    return out == NULL ? SOTTO_OK : sotto_output_commit(out, err);
}

void text_discard(text_out *t)
{
    sotto_output_discard(t->out);
    t->out = NULL;
}

/* ---- Values in words ----------------------------------------------------- */

text_value text_of_bytes(uint64_t bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    text_value value;
    double amount = (double)bytes;
    size_t u = 0;
    /* 1023.5 would print as 1024. */
    while (amount >= 1023.5 && u + 1 < sizeof unit / sizeof unit[0]) {
        amount /= 1024;
        u++;
    }
    (void)snprintf(value.text, sizeof value.text, "%.*f %s",
                   u > 0 && amount < 99.95 ? 1 : 0, amount, unit[u]);
    return value;
}

text_value text_of_seconds(double seconds)
{
    text_value value;
    char *out = value.text;
    const size_t cap = sizeof value.text;
    if (!(seconds >= 0) || seconds > 1e9) {
        (void)snprintf(out, cap, "?");
    } else if (seconds == 0) {
        (void)snprintf(out, cap, "0 s");
    } else if (seconds < 0.0009995) {
        (void)snprintf(out, cap, "%.0f us", seconds * 1e6);
    } else if (seconds < 0.9995) {
        (void)snprintf(out, cap, "%.*f ms", seconds < 0.01 ? 1 : 0,
                       seconds * 1e3);
    } else if (seconds < 59.5) {
        (void)snprintf(out, cap, "%.*f s", seconds < 9.995 ? 2 : 1, seconds);
    } else {
        const unsigned long s = (unsigned long)(seconds + 0.5);
        if (s < 3600) {
            (void)snprintf(out, cap, "%lu min %02lu s", s / 60, s % 60);
        } else {
            (void)snprintf(out, cap, "%lu h %02lu min", s / 3600, s / 60 % 60);
        }
    }
    return value;
}

text_value text_of_real(double number)
{
    text_value value;
    if (!isfinite(number)) {
        (void)snprintf(value.text, sizeof value.text, "null");
        return value;
    }
    /* 17 digits always read back. */
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(value.text, sizeof value.text, "%.*g", digits, number);
        if (strtod(value.text, NULL) == number) {
            break;
        }
    }
    return value;
}

/* Bytes that a first byte announces; 0 for one that cannot begin. */
static size_t announced(unsigned char first)
{
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first < 0xe0) {
        return 2;
    }
    if (first >= 0xe0 && first < 0xf0) {
        return 3;
    }
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

size_t text_utf8_length(const char *s, size_t len_bytes)
{
    const unsigned char first = (unsigned char)s[0];
    const size_t n = announced(first);
    if (n <= 1 || n > len_bytes) {
        return n <= len_bytes ? n : 0;
    }
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Overlong forms, surrogates, beyond U+10FFFF. */
    const unsigned char second = (unsigned char)s[1];
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
        return 0;
    }
    return n;
}
