/* SPDX-License-Identifier: MIT
 * Temporary folders for tests (folder.h).
 */
#include "tests/support/folder.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int folder_setup(void **state)
{
    const char *root = getenv("TMPDIR");
    test_folder *folder = calloc(1, sizeof *folder);
    if (folder == NULL) {
        return -1;
    }
    (void)snprintf(folder->path, sizeof folder->path, "%s/sotto-test.XXXXXX",
                   root != NULL ? root : "/tmp");
    if (mkdtemp(folder->path) == NULL) {
        free(folder);
        return -1;
    }
    *state = folder;
    return 0;
}

/* Calls visit with the path of every entry; returns their number. */
static size_t for_each(const test_folder *folder, int (*visit)(const char *))
{
    size_t count = 0;
    DIR *dir = opendir(folder->path);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL;
         entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        count++;
        if (visit != NULL) {
            (void)visit(folder_file(folder, entry->d_name));
        }
    }
    (void)closedir(dir);
    return count;
}

int folder_teardown(void **state)
{
    test_folder *folder = *state;
    (void)for_each(folder, remove);
    const int status = rmdir(folder->path);
    free(folder);
    return status;
}

const char *folder_file(const test_folder *folder, const char *name)
{
    static char ring[8][600];
    static unsigned next;
    char *path = ring[next++ % 8];
    (void)snprintf(path, sizeof ring[0], "%s/%s", folder->path, name);
    return path;
}

size_t folder_count(const test_folder *folder)
{
    return for_each(folder, NULL);
}

void folder_put(const char *path, const void *data, size_t len_bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len_bytes, file), len_bytes);
    assert_int_equal(fclose(file), 0);
}

void folder_assert_file(const char *path, const void *data, size_t len_bytes)
{
    uint8_t *got = malloc(len_bytes + 1);
    FILE *file = fopen(path, "rb");
    assert_non_null(got);
    assert_non_null(file);
    /* One byte more is asked for: the file must not be longer. */
    assert_int_equal(fread(got, 1, len_bytes + 1, file), len_bytes);
    assert_memory_equal(got, data, len_bytes);
    (void)fclose(file);
    free(got);
}
