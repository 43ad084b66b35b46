/* SPDX-License-Identifier: MIT
 * Status texts, messages, the assertion.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_status_text_is_distinct_for_every_status(void **state)
{
    (void)state;
    for (int a = SOTTO_ERR_CANCELLED; a <= SOTTO_OK; a++) {
        const char *text = sotto_status_text((sotto_status)a);
        assert_string_not_equal(text, "unknown status");
        for (int b = SOTTO_ERR_CANCELLED; b < a; b++) {
            assert_string_not_equal(text, sotto_status_text((sotto_status)b));
        }
    }
    assert_string_equal(sotto_status_text((sotto_status)1), "unknown status");
    assert_string_equal(sotto_status_text((sotto_status)-99), "unknown status");
}

static void test_fail_formats_and_returns_status(void **state)
{
    (void)state;
    sotto_error err;
    assert_int_equal(sotto_fail(&err, SOTTO_ERR_KEY, "rotation %d: no key", 5),
                     SOTTO_ERR_KEY);
    assert_string_equal(err.text, "rotation 5: no key");
    assert_int_equal(sotto_fail(NULL, SOTTO_ERR_IO, "%d", 1), SOTTO_ERR_IO);
}

static void test_fail_accepts_its_own_text(void **state)
{
    (void)state;
    sotto_error err = {"inner"};
    (void)sotto_fail(&err, SOTTO_ERR_IO, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
}

static void test_fail_prefix_puts_text_in_front(void **state)
{
    (void)state;
    sotto_error err = {"no such key"};
    assert_int_equal(sotto_fail_prefix(&err, SOTTO_ERR_KEY, "node %s", "Conv"),
                     SOTTO_ERR_KEY);
    assert_string_equal(err.text, "node Conv: no such key");
    assert_int_equal(sotto_fail_prefix(NULL, SOTTO_ERR_KEY, "x"),
                     SOTTO_ERR_KEY);
}

static void test_fail_cuts_long_messages(void **state)
{
    (void)state;
    sotto_error err;
    char filler[2 * sizeof err.text];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    (void)sotto_fail(&err, SOTTO_ERR_IO, "%s", filler);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);

    /* A full text gets a prefix of every length; the end is cut. */
    for (int n = 0; n < (int)sizeof filler; n++) {
        sotto_error next = err;
        (void)sotto_fail_prefix(&next, SOTTO_ERR_IO, "%.*s", n, filler);
        assert_int_equal(strlen(next.text), sizeof next.text - 1);
    }
}

static void test_fail_never_ends_inside_a_character(void **state)
{
    (void)state;
    /* 1 to 4 bytes in UTF-8, all cut at each position of the character. */
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac",
                                             "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < 4; i++) {
        const size_t size = strlen(characters[i]);
        for (size_t lead = 0; lead < 4; lead++) {
            sotto_error err;
            char text[2 * sizeof err.text] = "";
            memset(text, '-', lead);
            for (size_t at = lead; at + size < sizeof text; at += size) {
                memcpy(text + at, characters[i], size);
            }
            (void)sotto_fail(&err, SOTTO_ERR_IO, "%s", text);
            const size_t len = strlen(err.text);
            assert_true(len >= sizeof err.text - 4);
            assert_int_equal((len - lead) % size, 0);
            assert_memory_equal(err.text, text, len);
        }
    }
    /* Not UTF-8 at all: kept, and no read before the text. */
    sotto_error err;
    (void)sotto_fail(&err, SOTTO_ERR_IO, "%s", "\x80\x80");
    assert_string_equal(err.text, "\x80\x80");
    (void)sotto_fail(&err, SOTTO_ERR_IO, "%s", "");
    assert_string_equal(err.text, "");
}

static void test_fail_replaces_control_characters(void **state)
{
    (void)state;
    sotto_error err;
    (void)sotto_fail(&err, SOTTO_ERR_FORMAT, "node '%s'", "a\x1b[2J\n\x7f");
    assert_string_equal(err.text, "node 'a?[2J?\?'");
}

static sotto_status tried(sotto_status inner, int *passed)
{
    SOTTO_TRY(inner);
    (*passed)++;
    return SOTTO_OK;
}

static void test_try_returns_early(void **state)
{
    (void)state;
    int passed = 0;
    assert_int_equal(tried(SOTTO_ERR_LEVEL, &passed), SOTTO_ERR_LEVEL);
    assert_int_equal(passed, 0);
    assert_int_equal(tried(SOTTO_OK, &passed), SOTTO_OK);
    assert_int_equal(passed, 1);
}

static void test_assert_aborts_with_a_message(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        SOTTO_ASSERT(1 + 1 == 2);
        SOTTO_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    (void)close(ends[1]);
    char text[256] = "";
    size_t len = 0;
    ssize_t n;
    while ((n = read(ends[0], text + len, sizeof text - 1 - len)) > 0) {
        len += (size_t)n;
    }
    (void)close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "test_status.c"));
    assert_non_null(strstr(text, "contract violated: 1 + 1 == 3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_text_is_distinct_for_every_status),
        cmocka_unit_test(test_fail_formats_and_returns_status),
        cmocka_unit_test(test_fail_accepts_its_own_text),
        cmocka_unit_test(test_fail_prefix_puts_text_in_front),
        cmocka_unit_test(test_fail_cuts_long_messages),
        cmocka_unit_test(test_fail_never_ends_inside_a_character),
        cmocka_unit_test(test_fail_replaces_control_characters),
        cmocka_unit_test(test_try_returns_early),
        cmocka_unit_test(test_assert_aborts_with_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
