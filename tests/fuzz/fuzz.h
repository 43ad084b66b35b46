/* SPDX-License-Identifier: MIT
 * What a fuzz target is. libFuzzer calls it under clang (make fuzz), replay.c
 * with the committed inputs under any compiler (make test).
 */
#ifndef SOTTO_TESTS_FUZZ_FUZZ_H
#define SOTTO_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Feeds bytes to a parser. Returns 0 for any input, leaves nothing allocated,
 * aborts where a property does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#endif
