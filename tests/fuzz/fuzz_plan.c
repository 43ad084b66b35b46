/* SPDX-License-Identifier: MIT
 * Plan files. The id at the end, a hash of everything above, would stop every
 * damaged input, so each is read as it is and with the id mended. A plan that
 * is accepted and written is a text that reads and writes as itself.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "nn/plan/plan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/support.h"

/* Puts the right id into the last line "id HEX". */
static void mend(char *text, size_t len_bytes)
{
    static const char key[] = "\nid ";
    const size_t key_len = sizeof key - 1, hex_len = 2 * SOTTO_HASH_BYTES;
    if (len_bytes < key_len + hex_len) {
        return;
    }
    for (size_t at = len_bytes - key_len - hex_len + 1; at-- > 0;) {
        if (memcmp(text + at, key, key_len) == 0) {
            uint8_t id[SOTTO_HASH_BYTES];
            char hex[2 * SOTTO_HASH_BYTES + 1];
            sotto_sha256_of(id, text, at + 1);
            sotto_hex(hex, id, sizeof id);
            memcpy(text + at + key_len, hex, hex_len);
            return;
        }
    }
}

/* Reads a plan and writes it again; NULL when it is refused. */
static char *rewrite(const char *text, size_t *len_bytes)
{
    nn_plan *plan = NULL;
    sotto_error err;
    if (nn_plan_read(&plan, text, *len_bytes, true, &err) != SOTTO_OK) {
        FUZZ_ASSERT(plan == NULL);
        return NULL;
    }
    char *again;
    FUZZ_ASSERT(nn_plan_write(&again, len_bytes, plan, &err) == SOTTO_OK);
    sotto_free(plan);
    return again;
}

static void read_plan(const char *text, size_t len_bytes)
{
    size_t once_len = len_bytes;
    char *once = rewrite(text, &once_len);
    if (once == NULL) {
        return;
    }
    size_t twice_len = once_len;
    char *twice = rewrite(once, &twice_len);
    FUZZ_ASSERT(twice != NULL && twice_len == once_len);
    FUZZ_ASSERT(memcmp(twice, once, once_len) == 0);
    sotto_free(twice);
    sotto_free(once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    char *copy = malloc(len_bytes + 1);
    FUZZ_ASSERT(copy != NULL);
    if (len_bytes > 0) {
        memcpy(copy, data, len_bytes);
    }
    read_plan(copy, len_bytes);
    mend(copy, len_bytes);
    read_plan(copy, len_bytes);
    free(copy);
    return 0;
}
