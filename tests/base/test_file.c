/* SPDX-License-Identifier: MIT
 * Files: outputs appear complete or not at all, whatever fails; inputs are
 * bounded; keys are neither readable for others nor overwritten.
 */
#include "base/file.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"

static const char old_text[] = "the old file";
static const char new_text[] = "the new file, a little longer";

/* What the sweeps run: one output, from open to commit. */
typedef struct attempt {
    const char *path;
    sotto_output_mode mode;
    bool keep_existing;
    sotto_error err;
} attempt;

static sotto_status write_new_text(void *arg)
{
    attempt *a = arg;
    sotto_output *output;
    sotto_status status =
        sotto_output_open(&output, a->path, a->mode, a->keep_existing, &a->err);
    if (status != SOTTO_OK) {
        assert_null(output);
        return status;
    }
    /* In two pieces, so that there is a write after a failed one. */
    const size_t half = sizeof new_text / 2;
    status = sotto_output_write(output, new_text, half, &a->err);
    if (status == SOTTO_OK) {
        status = sotto_output_write(output, new_text + half,
                                    sizeof new_text - half, &a->err);
    }
    if (status != SOTTO_OK) {
        sotto_output_discard(output);
        return status;
    }
    assert_int_equal(sotto_output_size(output), sizeof new_text);
    return sotto_output_commit(output, &a->err);
}

static unsigned mode_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 07777;
}

static void test_output_appears_at_commit(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "out");
    sotto_output *output;
    folder_put(path, old_text, sizeof old_text);
    assert_int_equal(
        sotto_output_open(&output, path, SOTTO_OUTPUT_PUBLIC, false, NULL),
        SOTTO_OK);
    assert_int_equal(
        sotto_output_write(output, new_text, sizeof new_text, NULL), SOTTO_OK);
    folder_assert_file(path, old_text, sizeof old_text);
    assert_int_equal(folder_count(folder), 2);
    assert_int_equal(sotto_output_commit(output, NULL), SOTTO_OK);
    folder_assert_file(path, new_text, sizeof new_text);
    assert_int_equal(folder_count(folder), 1);
}

static void test_output_discard_leaves_nothing(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "out");
    sotto_output *output;
    assert_int_equal(
        sotto_output_open(&output, path, SOTTO_OUTPUT_PUBLIC, false, NULL),
        SOTTO_OK);
    assert_int_equal(sotto_output_write(output, "x", 1, NULL), SOTTO_OK);
    sotto_output_discard(output);
    sotto_output_discard(NULL);
    assert_int_equal(folder_count(folder), 0);
}

static void test_output_mode_of_secrets_is_0600(void **state)
{
    const test_folder *folder = *state;
    attempt a = {.path = folder_file(folder, "secret.key"),
                 .mode = SOTTO_OUTPUT_SECRET};
    const mode_t before = umask(0);
    sotto_output *output;
    assert_int_equal(
        sotto_output_open(&output, a.path, SOTTO_OUTPUT_SECRET, false, NULL),
        SOTTO_OK);
    char temp[600];
    (void)snprintf(temp, sizeof temp, "%s.%ld-0.tmp", a.path, (long)getpid());
    assert_int_equal(mode_of(temp), 0600); /* before the first byte */
    sotto_output_discard(output);

    assert_int_equal(write_new_text(&a), SOTTO_OK);
    assert_int_equal(mode_of(a.path), 0600);
    /* A readable file of that name does not make the new one readable. */
    assert_int_equal(chmod(a.path, 0644), 0);
    assert_int_equal(write_new_text(&a), SOTTO_OK);
    assert_int_equal(mode_of(a.path), 0600);
    (void)umask(before);
}

static void test_output_mode_of_public_files_follows_umask(void **state)
{
    const test_folder *folder = *state;
    attempt a = {.path = folder_file(folder, "scores.ct")};
    const mode_t before = umask(027);
    assert_int_equal(write_new_text(&a), SOTTO_OK);
    (void)umask(before);
    assert_int_equal(mode_of(a.path), 0640);
}

static void test_output_keep_existing_refuses_at_open(void **state)
{
    const test_folder *folder = *state;
    attempt a = {.path = folder_file(folder, "key"), .keep_existing = true};
    folder_put(a.path, old_text, sizeof old_text);
    sotto_output *output;
    assert_int_equal(
        sotto_output_open(&output, a.path, SOTTO_OUTPUT_SECRET, true, &a.err),
        SOTTO_ERR_IO);
    assert_null(output);
    assert_non_null(strstr(a.err.text, "not overwritten"));
    folder_assert_file(a.path, old_text, sizeof old_text);
    assert_int_equal(folder_count(folder), 1);
}

/* Another process made the file meanwhile. point: also without hard links. */
static void check_keep_at_commit(const test_folder *folder, fail_point point)
{
    const char *path = folder_file(folder, "key");
    sotto_error err;
    sotto_output *output;
    assert_int_equal(
        sotto_output_open(&output, path, SOTTO_OUTPUT_SECRET, true, NULL),
        SOTTO_OK);
    assert_int_equal(sotto_output_write(output, "x", 1, NULL), SOTTO_OK);
    folder_put(path, old_text, sizeof old_text);
    fail_arm(point, 0);
    assert_int_equal(sotto_output_commit(output, &err), SOTTO_ERR_IO);
    assert_int_equal(fail_disarm(), point != FAIL_NONE);
    assert_non_null(strstr(err.text, "not overwritten"));
    folder_assert_file(path, old_text, sizeof old_text);
    assert_int_equal(folder_count(folder), 1);
    assert_int_equal(unlink(path), 0);

    attempt a = {.path = path, .keep_existing = true};
    fail_arm(point, 0);
    assert_int_equal(write_new_text(&a), SOTTO_OK);
    (void)fail_disarm();
    folder_assert_file(path, new_text, sizeof new_text);
    assert_int_equal(folder_count(folder), 1);
    assert_int_equal(unlink(path), 0);
}

static void test_output_keep_existing_refuses_at_commit(void **state)
{
    check_keep_at_commit(*state, FAIL_NONE);
    check_keep_at_commit(*state, FAIL_LINK);
}

static void test_output_replaces_the_file_behind_a_link(void **state)
{
    const test_folder *folder = *state;
    const char *file = folder_file(folder, "file");
    attempt a = {.path = folder_file(folder, "link")};
    folder_put(file, old_text, sizeof old_text);
    assert_int_equal(symlink(file, a.path), 0);
    assert_int_equal(write_new_text(&a), SOTTO_OK);
    folder_assert_file(file, new_text, sizeof new_text);
    struct stat info;
    assert_int_equal(lstat(a.path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(folder_count(folder), 2);
}

static void test_output_keeps_old_file_when_anything_fails(void **state)
{
    const test_folder *folder = *state;
    static const struct {
        fail_point point;
        sotto_status status;
        long calls; /* that must have been made to fail */
        const char *message;
    } cases[] = {
        {FAIL_ALLOC, SOTTO_ERR_MEMORY, 3, "out of memory"},
        {FAIL_WRITE, SOTTO_ERR_IO, 2, "No space left on device"},
        {FAIL_SYNC, SOTTO_ERR_IO, 1, "cannot flush"},
        {FAIL_RENAME, SOTTO_ERR_IO, 1, "Permission denied"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        attempt a = {.path = folder_file(folder, "out")};
        for (long k = 0; k < cases[i].calls; k++) {
            folder_put(a.path, old_text, sizeof old_text);
            const long before = fail_live_blocks();
            fail_arm(cases[i].point, k);
            assert_int_equal(write_new_text(&a), cases[i].status);
            assert_true(fail_disarm());
            assert_int_equal(fail_live_blocks(), before);
            assert_non_null(strstr(a.err.text, cases[i].message));
            assert_non_null(strstr(a.err.text, folder->path));
            folder_assert_file(a.path, old_text, sizeof old_text);
            assert_int_equal(folder_count(folder), 1);
        }
        /* One more call does not exist, but for the sync of the folder, whose
         * failure is not an error. */
        fail_arm(cases[i].point, cases[i].calls);
        assert_int_equal(write_new_text(&a), SOTTO_OK);
        (void)fail_disarm();
        folder_assert_file(a.path, new_text, sizeof new_text);
        assert_int_equal(folder_count(folder), 1);
    }
}

static void test_output_commit_refuses_after_a_failed_write(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "out");
    sotto_output *output;
    sotto_error err;
    assert_int_equal(
        sotto_output_open(&output, path, SOTTO_OUTPUT_PUBLIC, false, NULL),
        SOTTO_OK);
    fail_arm(FAIL_WRITE, 0);
    assert_int_equal(sotto_output_write(output, "x", 1, NULL), SOTTO_ERR_IO);
    assert_true(fail_disarm());
    assert_int_equal(sotto_output_commit(output, &err), SOTTO_ERR_IO);
    assert_non_null(strstr(err.text, "incomplete"));
    assert_int_equal(folder_count(folder), 0);
}

static void test_output_to_dev_full_is_an_error(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    attempt a = {.path = "/dev/full"};
    const long before = fail_live_blocks();
    assert_int_equal(write_new_text(&a), SOTTO_ERR_IO);
    assert_non_null(strstr(a.err.text, "/dev/full"));
    assert_non_null(strstr(a.err.text, "No space left on device"));
    assert_int_equal(fail_live_blocks(), before);
    struct stat info;
    assert_int_equal(stat("/dev/full", &info), 0);
    assert_true(S_ISCHR(info.st_mode)); /* still the device */
}

static void test_output_to_a_missing_folder_is_an_error(void **state)
{
    const test_folder *folder = *state;
    attempt a = {.path = folder_file(folder, "no/such/file")};
    assert_int_equal(write_new_text(&a), SOTTO_ERR_IO);
    assert_non_null(strstr(a.err.text, "No such file or directory"));
    a.path = folder->path;
    assert_int_equal(write_new_text(&a), SOTTO_ERR_IO);
    assert_int_equal(folder_count(folder), 0);
}

static void test_output_to_a_pipe_is_direct(void **state)
{
    const test_folder *folder = *state;
    attempt a = {.path = folder_file(folder, "pipe"), .keep_existing = true};
    assert_int_equal(mkfifo(a.path, 0600), 0);
    const int fd = open(a.path, O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_int_equal(write_new_text(&a), SOTTO_OK);
    char got[sizeof new_text + 1];
    assert_int_equal(read(fd, got, sizeof got), sizeof new_text);
    assert_memory_equal(got, new_text, sizeof new_text);
    assert_int_equal(folder_count(folder), 1);

    /* Nobody reads any more. */
    sotto_output *output;
    assert_int_equal(
        sotto_output_open(&output, a.path, SOTTO_OUTPUT_PUBLIC, false, NULL),
        SOTTO_OK);
    (void)close(fd);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(sotto_output_write(output, "x", 1, &a.err), SOTTO_ERR_IO);
    (void)signal(SIGPIPE, SIG_DFL);
    assert_non_null(strstr(a.err.text, "Broken pipe"));
    sotto_output_discard(output);
}

/* Writes to output_name while standard output is the file at path. */
static sotto_status with_stdout_in(const char *path, const char *output_name)
{
    attempt a = {.path = output_name};
    (void)fflush(stdout);
    const int saved = dup(STDOUT_FILENO);
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(saved >= 0 && fd >= 0);
    assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    (void)close(fd);
    assert_int_equal(write(STDOUT_FILENO, "1", 1), 1);
    const sotto_status status = write_new_text(&a);
    assert_int_equal(write(STDOUT_FILENO, "2", 1), 1); /* still open */
    assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
    (void)close(saved);
    return status;
}

static void test_output_dash_is_standard_output(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "stdout");
    char want[sizeof new_text + 2];
    want[0] = '1';
    memcpy(want + 1, new_text, sizeof new_text);
    want[sizeof want - 1] = '2';
    assert_int_equal(with_stdout_in(path, "-"), SOTTO_OK);
    folder_assert_file(path, want, sizeof want);
}

/* Its file is open elsewhere: written through, not replaced by a rename. */
static void test_output_dev_stdout_is_not_renamed_over(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "stdout");
    struct stat before, after;
    if (access("/dev/stdout", W_OK) != 0) {
        skip();
    }
    folder_put(path, "", 0);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(with_stdout_in(path, "/dev/stdout"), SOTTO_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_true(after.st_size >= (off_t)sizeof new_text);
}

static void test_output_temp_name_steps_over_what_exists(void **state)
{
    const test_folder *folder = *state;
    attempt a = {.path = folder_file(folder, "out")};
    char temp[600];
    (void)snprintf(temp, sizeof temp, "%s.%ld-0.tmp", a.path, (long)getpid());
    folder_put(temp, old_text, sizeof old_text);
    assert_int_equal(write_new_text(&a), SOTTO_OK);
    folder_assert_file(temp, old_text, sizeof old_text);
    folder_assert_file(a.path, new_text, sizeof new_text);
}

static void test_file_read_at_every_limit(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "in");
    static const size_t sizes[] = {0, 1, 100, 65535, 65536, 65537, 300000};
    uint8_t *want = malloc(300000);
    assert_non_null(want);
    for (size_t i = 0; i < 300000; i++) {
        want[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t size = sizes[i];
        folder_put(path, want, size);
        const size_t limits[] = {size, size + 1, 1 << 20, SIZE_MAX - 1};
        for (size_t l = 0; l < 4; l++) {
            uint8_t *data;
            size_t len;
            assert_int_equal(
                sotto_file_read(&data, &len, path, limits[l], NULL), SOTTO_OK);
            assert_int_equal(len, size);
            assert_memory_equal(data, want, size);
            assert_int_equal(data[size], 0);
            sotto_free(data);
        }
        if (size > 0) {
            uint8_t *data = want;
            size_t len = 1;
            sotto_error err;
            assert_int_equal(sotto_file_read(&data, &len, path, size - 1, &err),
                             SOTTO_ERR_FORMAT);
            assert_null(data);
            assert_int_equal(len, 0);
            /* Known before anything is read. */
            assert_non_null(strstr(err.text, "bytes, expected at most"));
        }
    }
    free(want);
}

/* A pipe has no size: the buffer grows, and the limit holds all the same. */
static sotto_status read_from_pipe(uint8_t **data, size_t *len,
                                   const uint8_t *sent, size_t size,
                                   size_t limit)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGPIPE, SIG_DFL);
        (void)close(ends[0]);
        for (size_t at = 0; at < size;) {
            const ssize_t n = write(ends[1], sent + at, size - at);
            at += n > 0 ? (size_t)n : 0;
        }
        _exit(0);
    }
    (void)close(ends[1]);
    const int saved = dup(STDIN_FILENO);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    (void)close(ends[0]);
    const sotto_status status = sotto_file_read(data, len, "-", limit, NULL);
    (void)dup2(saved, STDIN_FILENO);
    (void)close(saved);
    (void)waitpid(child, NULL, 0);
    return status;
}

static void test_file_read_of_unknown_size(void **state)
{
    (void)state;
    static uint8_t sent[200000];
    static const size_t sizes[] = {0, 5, 65535, 65536, 65537, sizeof sent};
    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = (uint8_t)(i * 13 + i / 1000);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t size = sizes[i];
        uint8_t *data;
        size_t len;
        assert_int_equal(read_from_pipe(&data, &len, sent, size, size),
                         SOTTO_OK);
        assert_int_equal(len, size);
        assert_memory_equal(data, sent, size);
        assert_int_equal(data[size], 0);
        sotto_free(data);
        if (size > 0) {
            assert_int_equal(read_from_pipe(&data, &len, sent, size, size - 1),
                             SOTTO_ERR_FORMAT);
            assert_null(data);
        }
    }
}

static sotto_status read_whole(void *arg)
{
    uint8_t *data;
    size_t len;
    sotto_error err;
    const sotto_status status = sotto_file_read(&data, &len, arg, 1000, &err);
    if (status == SOTTO_OK) {
        assert_int_equal(len, sizeof old_text);
        assert_memory_equal(data, old_text, len);
    }
    sotto_free(data);
    return status;
}

static void test_file_read_survives_failures(void **state)
{
    const test_folder *folder = *state;
    char path[600];
    (void)snprintf(path, sizeof path, "%s", folder_file(folder, "in"));
    folder_put(path, old_text, sizeof old_text);
    assert_int_equal(
        fail_sweep(FAIL_ALLOC, SOTTO_ERR_MEMORY, 20, read_whole, path), 3);
    assert_true(fail_sweep(FAIL_READ, SOTTO_ERR_IO, 20, read_whole, path) > 0);
    assert_true(fail_sweep(FAIL_READ_SHORT, SOTTO_OK, 20, read_whole, path) >
                0);
}

static void test_file_read_of_what_cannot_be_read(void **state)
{
    const test_folder *folder = *state;
    uint8_t *data;
    size_t len;
    sotto_error err;
    assert_int_equal(
        sotto_file_read(&data, &len, folder_file(folder, "none"), 10, &err),
        SOTTO_ERR_IO);
    assert_null(data);
    assert_non_null(strstr(err.text, "No such file or directory"));
    assert_int_equal(sotto_file_read(&data, &len, folder->path, 10, &err),
                     SOTTO_ERR_IO);
    assert_non_null(strstr(err.text, "directory"));
}

static void test_file_write_is_whole_or_not_at_all(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "whole");
    folder_put(path, "old", 3);
    sotto_error err;
    fail_arm(FAIL_WRITE, 0);
    assert_int_equal(sotto_file_write(path, "newer", 5, &err), SOTTO_ERR_IO);
    assert_true(fail_disarm());
    folder_assert_file(path, "old", 3);
    assert_int_equal(sotto_file_write(path, "newer", 5, &err), SOTTO_OK);
    folder_assert_file(path, "newer", 5);
    assert_int_equal(folder_count(folder), 1);
}

static void test_input_reads_exactly_or_says_truncated(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "in");
    folder_put(path, "0123456789", 10);
    sotto_input *input;
    assert_int_equal(sotto_input_open(&input, path, NULL), SOTTO_OK);
    assert_string_equal(sotto_input_name(input), path);
    assert_int_equal(sotto_input_size(input), 10);
    char out[8];
    bool at_end = true;
    assert_int_equal(sotto_input_read(input, out, 4, &at_end, NULL), SOTTO_OK);
    assert_memory_equal(out, "0123", 4);
    assert_false(at_end);
    fail_arm(FAIL_READ_SHORT, 0);
    assert_int_equal(sotto_input_read(input, out, 4, NULL, NULL), SOTTO_OK);
    assert_true(fail_disarm());
    assert_memory_equal(out, "4567", 4);

    sotto_error err;
    assert_int_equal(sotto_input_read(input, out, 4, &at_end, &err),
                     SOTTO_ERR_FORMAT);
    assert_false(at_end);
    assert_non_null(strstr(err.text, "truncated: 4 bytes expected, 2 left"));
    assert_memory_equal(out, "\0\0\0\0", 4);

    assert_int_equal(sotto_input_read(input, out, 4, &at_end, NULL), SOTTO_OK);
    assert_true(at_end);
    assert_int_equal(sotto_input_read(input, out, 4, NULL, NULL),
                     SOTTO_ERR_FORMAT);
    sotto_input_close(input);
    sotto_input_close(NULL);
}

static void test_input_read_wipes_on_error(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "in");
    folder_put(path, "0123456789", 10);
    sotto_input *input;
    assert_int_equal(sotto_input_open(&input, path, NULL), SOTTO_OK);
    char out[4] = "abc";
    sotto_error err;
    fail_arm(FAIL_READ, 0);
    assert_int_equal(sotto_input_read(input, out, 4, NULL, &err), SOTTO_ERR_IO);
    assert_true(fail_disarm());
    assert_memory_equal(out, "\0\0\0\0", 4);
    assert_non_null(strstr(err.text, path));
    sotto_input_close(input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_output_appears_at_commit),
        IN_FOLDER(test_output_discard_leaves_nothing),
        IN_FOLDER(test_output_mode_of_secrets_is_0600),
        IN_FOLDER(test_output_mode_of_public_files_follows_umask),
        IN_FOLDER(test_output_keep_existing_refuses_at_open),
        IN_FOLDER(test_output_keep_existing_refuses_at_commit),
        IN_FOLDER(test_output_replaces_the_file_behind_a_link),
        IN_FOLDER(test_output_keeps_old_file_when_anything_fails),
        IN_FOLDER(test_output_commit_refuses_after_a_failed_write),
        IN_FOLDER(test_output_to_dev_full_is_an_error),
        IN_FOLDER(test_output_to_a_missing_folder_is_an_error),
        IN_FOLDER(test_output_to_a_pipe_is_direct),
        IN_FOLDER(test_output_dash_is_standard_output),
        IN_FOLDER(test_output_dev_stdout_is_not_renamed_over),
        IN_FOLDER(test_output_temp_name_steps_over_what_exists),
        IN_FOLDER(test_file_read_at_every_limit),
        IN_FOLDER(test_file_read_of_unknown_size),
        IN_FOLDER(test_file_read_survives_failures),
        IN_FOLDER(test_file_read_of_what_cannot_be_read),
        IN_FOLDER(test_file_write_is_whole_or_not_at_all),
        IN_FOLDER(test_input_reads_exactly_or_says_truncated),
        IN_FOLDER(test_input_read_wipes_on_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
