/* SPDX-License-Identifier: MIT
 * What a fuzz target is: one function that feeds bytes to a parser. It must
 * return 0 for any input, leave nothing allocated, and abort where a property
 * does not hold. libFuzzer calls it under clang (make fuzz), replay.c with the
 * committed inputs under any compiler (make test).
 */
#ifndef SOTTO_TESTS_FUZZ_FUZZ_H
#define SOTTO_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#endif
