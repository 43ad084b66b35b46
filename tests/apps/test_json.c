/* SPDX-License-Identifier: MIT
 * Tests of text output, values in words, and JSON.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/sotto/json.h"
#include "apps/sotto/report.h"
#include "apps/sotto/scores.h"
#include "apps/sotto/text.h"
#include "base/mem.h"

static void test_json_object_and_array(void **state)
{
    (void)state;
    text_out out;
    json_out j;
    text_init(&out);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_string(&j, "name", "x");
    json_array(&j, "empty");
    json_end(&j);
    json_array(&j, "list");
    json_count(&j, NULL, UINT64_MAX);
    json_int(&j, NULL, -3);
    json_bool(&j, NULL, true);
    json_end(&j);
    json_reals(&j, "r", (const double[]){0.1, -2, INFINITY}, 3);
    json_hex(&j, "id", (const uint8_t[]){0xab, 0x01}, 2);
    json_end(&j);
    assert_string_equal(out.buffer, "{\n"
                                    "  \"name\": \"x\",\n"
                                    "  \"empty\": [],\n"
                                    "  \"list\": [\n"
                                    "    18446744073709551615,\n"
                                    "    -3,\n"
                                    "    true\n"
                                    "  ],\n"
                                    "  \"r\": [0.1, -2, null],\n"
                                    "  \"id\": \"ab01\"\n"
                                    "}\n");
}

static void check_string(const char *value, const char *expected)
{
    text_out out;
    json_out j;
    text_init(&out);
    json_init(&j, &out);
    json_string(&j, NULL, value);
    assert_string_equal(out.buffer, expected);
}

static void test_json_string_escapes(void **state)
{
    (void)state;
    check_string("a\"b\\c/", "\"a\\\"b\\\\c/\"\n");
    check_string("\n\t\x01\x7f", "\"\\u000a\\u0009\\u0001\\u007f\"\n");
    check_string("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
                 "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"\n");
    /* A lone continuation, an overlong form, a surrogate, beyond U+10FFFF, a
     * sequence cut short. */
    check_string("\x80|\xc0\x80|", "\"\\ufffd|\\ufffd\\ufffd|\"\n");
    check_string("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"\n");
    check_string("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"\n");
    check_string("\xe2\x82", "\"\\ufffd\\ufffd\"\n");
}

static void test_text_of_real_reads_back(void **state)
{
    (void)state;
    static const double numbers[] = {0.0, -0.0,   1.0 / 3, 1e300,
                                     0.1, 5e-324, 1 << 20, -123456.789};
    for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
        assert_true(strtod(text_of_real(numbers[k]).text, NULL) == numbers[k]);
    }
    assert_string_equal(text_of_real(0.1).text, "0.1");
    assert_string_equal(text_of_real(NAN).text, "null");
}

static void test_text_of_values(void **state)
{
    (void)state;
    assert_string_equal(text_of_bytes(0).text, "0 B");
    assert_string_equal(text_of_bytes(1023).text, "1023 B");
    assert_string_equal(text_of_bytes(1536).text, "1.5 KiB");
    assert_string_equal(text_of_bytes((uint64_t)264 << 20).text, "264 MiB");
    assert_string_equal(text_of_bytes(UINT64_MAX).text, "16384 PiB");
    assert_string_equal(text_of_seconds(0.0000123).text, "12 us");
    assert_string_equal(text_of_seconds(0.0051).text, "5.1 ms");
    assert_string_equal(text_of_seconds(0.35).text, "350 ms");
    assert_string_equal(text_of_seconds(2.409).text, "2.41 s");
    assert_string_equal(text_of_seconds(200).text, "3 min 20 s");
    assert_string_equal(text_of_seconds(59.7).text, "1 min 00 s");
    assert_string_equal(text_of_seconds(7260).text, "2 h 01 min");
    assert_string_equal(text_of_seconds(-1).text, "?");
    assert_string_equal(text_of_seconds(NAN).text, "?");
}

static void test_text_keeps_the_first_error(void **state)
{
    (void)state;
    text_out *out = malloc(sizeof *out);
    sotto_error err = {{0}};
    assert_non_null(out);
    text_init(out);
    for (int k = 0; k < 20000; k++) {
        text_put(out, "12345");
    }
    assert_int_equal(text_check(out, &err), SOTTO_ERR_PARAM);
    assert_true(out->fill < TEXT_BUFFER_BYTES);
    assert_int_equal(out->buffer[out->fill], 0);

    assert_int_equal(text_open(out, "/dev/full", &err), SOTTO_OK);
    for (int k = 0; k < 20000; k++) {
        text_printf(out, "%d", 12345);
    }
    assert_int_equal(text_close(out, &err), SOTTO_ERR_IO);
    free(out);
}

static void test_text_writes_files_whole_or_not(void **state)
{
    (void)state;
    char folder[] = "/tmp/sotto-test-XXXXXX";
    char path[64];
    sotto_error err = {{0}};
    text_out *out = malloc(sizeof *out);
    assert_non_null(out);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/f", folder);
    assert_int_equal(text_open(out, path, &err), SOTTO_OK);
    text_put(out, "gone");
    text_discard(out);
    assert_int_equal(access(path, F_OK), -1);

    assert_int_equal(text_open(out, path, &err), SOTTO_OK);
    for (int k = 0; k < 20000; k++) {
        text_printf(out, "%05d\n", k);
    }
    assert_int_equal(text_close(out, &err), SOTTO_OK);
    uint8_t *data = NULL;
    size_t len = 0;
    assert_int_equal(sotto_file_read(&data, &len, path, 1 << 20, &err),
                     SOTTO_OK);
    assert_int_equal(len, 120000);
    assert_memory_equal(data + 6 * 19999, "19999\n", 6);
    sotto_free(data);
    free(out);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_scores_csv_and_softmax(void **state)
{
    (void)state;
    text_out out;
    double score[3] = {-1.5, 1e6, 1e6};
    text_init(&out);
    scores_csv_head(&out, 3);
    scores_csv(&out, 12, score, 3);
    assert_string_equal(out.buffer, "index,label,score0,score1,score2\n"
                                    "12,1,-1.5,1000000,1000000\n");
    scores_softmax(score, 3);
    assert_true(score[0] == 0 && score[1] == 0.5 && score[2] == 0.5);
}

static void test_report_escape(void **state)
{
    (void)state;
    text_out out;
    text_init(&out);
    report_escape(&out, "<a href=\"x\">&'\n\xff\xc3\xa4");
    assert_string_equal(out.buffer, "&#60;a href=&#34;x&#34;&#62;&#38;&#39;"
                                    "&#xfffd;&#xfffd;\xc3\xa4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_object_and_array),
        cmocka_unit_test(test_json_string_escapes),
        cmocka_unit_test(test_text_of_real_reads_back),
        cmocka_unit_test(test_text_of_values),
        cmocka_unit_test(test_text_keeps_the_first_error),
        cmocka_unit_test(test_text_writes_files_whole_or_not),
        cmocka_unit_test(test_scores_csv_and_softmax),
        cmocka_unit_test(test_report_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
