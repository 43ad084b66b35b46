/* SPDX-License-Identifier: MIT
 * What several fuzz targets need.
 */
#ifndef SOTTO_TESTS_FUZZ_SUPPORT_H
#define SOTTO_TESTS_FUZZ_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "rlwe/context.h"

/* Aborts, which fuzzer and replay report, when a property does not hold. */
#define FUZZ_ASSERT(condition) fuzz_assert((condition) ? 1 : 0, #condition)
void fuzz_assert(int condition, const char *text);

/* Puts the bytes into a temporary file, the same one each time, for parsers
 * that take a path; returns the path. Removed when the program ends. */
const char *fuzz_file(const uint8_t *data, size_t len_bytes);

/* The context of the files in corpus/wire: N = 1024, moduli 0, 1 and the
 * special 2 of about 20 bits, one level, one gadget, a public key. Made once.
 */
const rlwe_context *fuzz_context(void);

#endif
