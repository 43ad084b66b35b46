/* SPDX-License-Identifier: MIT
 * Runs a fuzz target on its committed inputs and on damaged copies of them
 * (cut off, one bit flipped), without a fuzzer. Prints TAP.
 *
 *     build/tests/fuzz/fuzz_wire-replay            tests/fuzz/corpus/wire
 *     build/tests/fuzz/fuzz_wire-replay FILE…      only these, as they are
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define MAX_FILE ((size_t)1 << 24)
#define DAMAGES 64 /* of each kind for each input */

/* Runs the target on a copy of exactly this size, so that a checker sees an
 * access beyond it. */
static void run_on(const uint8_t *data, size_t len_bytes)
{
    uint8_t *copy = calloc(len_bytes > 0 ? len_bytes : 1, 1);
    if (copy == NULL) {
        abort();
    }
    if (len_bytes > 0) {
        memcpy(copy, data, len_bytes);
    }
    (void)LLVMFuzzerTestOneInput(copy, len_bytes);
    free(copy);
}

static void run_damaged(uint8_t *data, size_t len_bytes)
{
    /* Lengths spread over the input, all of them where there are few. */
    const size_t step = len_bytes / DAMAGES + 1;
    for (size_t len = 0; len < len_bytes; len += step) {
        run_on(data, len);
    }
    /* Knuth's multiplicative hashing spreads the positions. */
    for (uint64_t i = 0; i < DAMAGES && len_bytes > 0; i++) {
        const uint64_t place = i * UINT64_C(0x9e3779b97f4a7c15) >> 16;
        uint8_t *byte = &data[place / 8 % len_bytes];
        const uint8_t bit = (uint8_t)(1 << place % 8);
        *byte ^= bit;
        run_on(data, len_bytes);
        *byte ^= bit;
    }
}

/* Name of the input first: when the target crashes, it is the last line. */
static int replay(const char *path, int damaged)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(MAX_FILE);
    if (file == NULL || data == NULL) {
        (void)printf("not ok - cannot read %s\n", path);
        exit(1);
    }
    const size_t len_bytes = fread(data, 1, MAX_FILE, file);
    (void)fclose(file);
    (void)printf("# %s\n", path);
    (void)fflush(stdout);
    run_on(data, len_bytes);
    if (damaged) {
        run_damaged(data, len_bytes);
    }
    free(data);
    return 1;
}

static int replay_folder(const char *folder)
{
    int inputs = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return 0;
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL;
         entry = readdir(dir)) {
        char path[1024];
        if (entry->d_name[0] != '.') {
            (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            inputs += replay(path, 1);
        }
    }
    (void)closedir(dir);
    return inputs;
}

int main(int argc, char **argv)
{
    /* .../fuzz_NAME-replay → NAME */
    const char *name = strrchr(argv[0], '/');
    name = name != NULL ? name + 1 : argv[0];
    if (strncmp(name, "fuzz_", 5) == 0) {
        name += 5;
    }
    const char *end = strstr(name, "-replay");
    const int len = end != NULL ? (int)(end - name) : (int)strlen(name);

    int inputs = 0;
    run_on(NULL, 0);
    if (argc > 1) {
        for (int i = 1; i < argc; i++) {
            inputs += replay(argv[i], 0);
        }
    } else {
        char folder[512];
        (void)snprintf(folder, sizeof folder, "tests/fuzz/corpus/%.*s", len,
                       name);
        inputs = replay_folder(folder);
        if (inputs == 0) {
            (void)printf("not ok 1 - no inputs in %s\n", folder);
            return 1;
        }
    }
    (void)printf("ok 1 - %.*s survives %d inputs, damaged ones too\n", len,
                 name, inputs);
    return 0;
}
