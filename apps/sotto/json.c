/* SPDX-License-Identifier: MIT
 * Writing JSON.
 */
#include "apps/sotto/json.h"

#include <inttypes.h>
#include <string.h>

#include "base/hash.h"

void json_init(json_out *j, text_out *out)
{
    *j = (json_out){.out = out};
}

/* A line of its own for the next value. */
static void new_line(json_out *j)
{
    text_put(j->out, "\n");
    for (int i = 0; i < j->depth; i++) {
        text_put(j->out, "  ");
    }
}

/* A string with its quotes. */
static void quote(text_out *out, const char *value)
{
    size_t left = strlen(value);
    text_put(out, "\"");
    while (left > 0) {
        const unsigned char c = (unsigned char)*value;
        size_t n = text_utf8_length(value, left);
        if (n == 0) {
            text_put(out, "\\ufffd");
            n = 1;
        } else if (c == '"' || c == '\\') {
            text_printf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            text_printf(out, "\\u%04x", c);
        } else {
            text_bytes(out, value, n);
        }
        value += n;
        left -= n;
    }
    text_put(out, "\"");
}

/* What stands before every value: comma, line, name. */
static void begin(json_out *j, const char *name)
{
    if (j->depth > 0) {
        text_put(j->out, j->filled[j->depth] ? "," : "");
        new_line(j);
    }
    j->filled[j->depth] = true;
    if (name != NULL) {
        quote(j->out, name);
        text_put(j->out, ": ");
    }
}

/* What stands behind the outermost value. */
static void finish(json_out *j)
{
    if (j->depth == 0) {
        text_put(j->out, "\n");
    }
}

/* Opens an object or an array. */
static void open_level(json_out *j, const char *name, const char *bracket,
                       char close)
{
    begin(j, name);
    text_put(j->out, bracket);
    SOTTO_ASSERT(j->depth < JSON_MAX_DEPTH);
    j->depth++;
    j->filled[j->depth] = false;
    j->close[j->depth] = close;
}

void json_object(json_out *j, const char *name)
{
    open_level(j, name, "{", '}');
}

void json_array(json_out *j, const char *name)
{
    open_level(j, name, "[", ']');
}

void json_end(json_out *j)
{
    SOTTO_ASSERT(j->depth > 0);
    const char close = j->close[j->depth];
    const bool filled = j->filled[j->depth];
    j->depth--;
    if (filled) {
        new_line(j);
    }
    text_printf(j->out, "%c", close);
    finish(j);
}

void json_string(json_out *j, const char *name, const char *value)
{
    begin(j, name);
    quote(j->out, value);
    finish(j);
}

void json_count(json_out *j, const char *name, uint64_t value)
{
    begin(j, name);
    text_printf(j->out, "%" PRIu64, value);
    finish(j);
}

void json_int(json_out *j, const char *name, int64_t value)
{
    begin(j, name);
    text_printf(j->out, "%" PRId64, value);
    finish(j);
}

void json_real(json_out *j, const char *name, double value)
{
    begin(j, name);
    text_put(j->out, text_of_real(value).text);
    finish(j);
}

void json_bool(json_out *j, const char *name, bool value)
{
    begin(j, name);
    text_put(j->out, value ? "true" : "false");
    finish(j);
}

void json_reals(json_out *j, const char *name, const double *value, size_t n)
{
    begin(j, name);
    text_put(j->out, "[");
    for (size_t i = 0; i < n; i++) {
        text_put(j->out, i > 0 ? ", " : "");
        text_put(j->out, text_of_real(value[i]).text);
    }
    text_put(j->out, "]");
    finish(j);
}

void json_hex(json_out *j, const char *name, const uint8_t *bytes,
              size_t len_bytes)
{
    char digits[2 * 64 + 1];
    SOTTO_ASSERT(len_bytes <= 64);
    sotto_hex(digits, bytes, len_bytes);
    json_string(j, name, digits);
}
