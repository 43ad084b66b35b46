/* SPDX-License-Identifier: MIT
 * Shared parts of the fuzz targets (support.h).
 */
#include "tests/fuzz/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ntt/prime.h"

void fuzz_assert(int condition, const char *text)
{
    if (!condition) {
        (void)fprintf(stderr, "property does not hold: %s\n", text);
        abort();
    }
}

static char file_path[] = "/tmp/sotto-fuzz.XXXXXX";
static int file_fd = -1;

static void remove_file(void)
{
    (void)unlink(file_path);
}

const char *fuzz_file(const uint8_t *data, size_t len_bytes)
{
    if (file_fd < 0) {
        file_fd = mkstemp(file_path);
        FUZZ_ASSERT(file_fd >= 0);
        FUZZ_ASSERT(atexit(remove_file) == 0);
    }
    FUZZ_ASSERT(ftruncate(file_fd, 0) == 0);
    FUZZ_ASSERT(pwrite(file_fd, data, len_bytes, 0) == (ssize_t)len_bytes);
    return file_path;
}

static rlwe_context *context;

static void free_context(void)
{
    rlwe_context_free(context);
}

const rlwe_context *fuzz_context(void)
{
    if (context == NULL) {
        rlwe_params_literal literal = {.log2_n = 10,
                                       .n_moduli = 3,
                                       .n_levels = 1,
                                       .n_gadgets = 1,
                                       .has_public = true,
                                       .public_special = 2,
                                       .allow_insecure = true};
        const ntt_ring ring = ntt_ring_init(literal.log2_n);
        FUZZ_ASSERT(ntt_prime_search(literal.modulus, 3, &ring, 20, NULL, 0,
                                     NULL) == SOTTO_OK);
        literal.level[0] = rns_set_range(0, 2);
        literal.gadget[0] = (rlwe_gadget){.limbs = rns_set_range(0, 2),
                                          .special = rns_set_range(2, 1),
                                          .n_digits = 2,
                                          .digit = {0, 1}};
        FUZZ_ASSERT(rlwe_context_new(&context, &literal, NULL) == SOTTO_OK);
        FUZZ_ASSERT(atexit(free_context) == 0);
    }
    return context;
}
