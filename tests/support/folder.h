/* SPDX-License-Identifier: MIT
 * A folder of its own for each test that touches files.
 */
#ifndef SOTTO_TESTS_SUPPORT_FOLDER_H
#define SOTTO_TESTS_SUPPORT_FOLDER_H

#include <stddef.h>

/* A temporary folder. */
typedef struct test_folder {
    char path[256];
} test_folder;

/* CMocka set-up and tear-down: *state is a test_folder; the tear-down removes
 * it with everything in it. */
int folder_setup(void **state);
int folder_teardown(void **state);

/* The entry of a test that runs in such a folder. */
#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

/* The path of a file in the folder; borrowed, from a ring of 8 buffers. */
const char *folder_file(const test_folder *folder, const char *name);

/* Number of entries in the folder: nothing half-written may stay behind. */
size_t folder_count(const test_folder *folder);

/* Writes a file with the C library alone. */
void folder_put(const char *path, const void *data, size_t len_bytes);

/* Asserts that the file holds exactly these bytes. */
void folder_assert_file(const char *path, const void *data, size_t len_bytes);

#endif
