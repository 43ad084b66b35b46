/* SPDX-License-Identifier: MIT
 * Test vectors as hexadecimal text.
 */
#ifndef SOTTO_TESTS_SUPPORT_HEX_H
#define SOTTO_TESTS_SUPPORT_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Turns hexadecimal text (spaces allowed) into bytes; returns their number and
 * asserts (CMocka) that the text is sound and fits cap_bytes. */
size_t hex_parse(uint8_t *out, size_t cap_bytes, const char *text);

/* Asserts that the bytes of data are those that text says, no more, no less. */
void hex_assert_equal(const uint8_t *data, size_t len_bytes, const char *text);

#endif
