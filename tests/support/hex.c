/* SPDX-License-Identifier: MIT
 * Hexadecimal test vectors (hex.h).
 */
#include "tests/support/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

size_t hex_parse(uint8_t *out, size_t cap_bytes, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    size_t n_digits = 0;
    for (; *text != '\0'; text++) {
        if (*text == ' ') {
            continue;
        }
        const char *digit = strchr(digits, *text);
        assert_non_null(digit);
        assert_true(n_digits / 2 < cap_bytes);
        uint8_t *byte = &out[n_digits / 2];
        const unsigned high = n_digits % 2 == 0 ? 0 : *byte;
        *byte = (uint8_t)(high << 4 | (unsigned)(digit - digits));
        n_digits++;
    }
    assert_true(n_digits % 2 == 0);
    return n_digits / 2;
}

void hex_assert_equal(const uint8_t *data, size_t len_bytes, const char *text)
{
    uint8_t *want = malloc(len_bytes + 1);
    assert_non_null(want);
    assert_int_equal(hex_parse(want, len_bytes, text), len_bytes);
    assert_memory_equal(data, want, len_bytes);
    free(want);
}
