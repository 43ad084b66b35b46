/* SPDX-License-Identifier: MIT
 * Tests of the command line parser.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "apps/sotto/options.h"

typedef struct values {
    bool flag;
    const char *name;
    const char *choice;
    uint64_t count;
    uint64_t bytes;
    double real;
    opt_reals reals;
    opt_pair range;
    opt_pair part;
    const char *first;
    opt_list rest;
} values;

static const opt_spec common[] = {
    {"--flag", OPT_FLAG, offsetof(values, flag), NULL, "a flag", 0, 0, false}};

static const opt_spec specs[] = {
    {"--name", OPT_TEXT, offsetof(values, name), "NAME", "two\nlines", 0, 0,
     false},
    {"--choice", OPT_CHOICE, offsetof(values, choice), "128|192|256", "bits", 0,
     0, false},
    {"--count", OPT_COUNT, offsetof(values, count), "N", "a number", 1, 100,
     false},
    {"--bytes", OPT_BYTES, offsetof(values, bytes), "BYTES", "a size", 1,
     0x1p50, false},
    {"--real", OPT_REAL, offsetof(values, real), "X", "a number", -2, 2, false},
    {"--reals", OPT_REALS, offsetof(values, reals), "X,..", "numbers", 0, 9,
     false},
    {"--range", OPT_RANGE, offsetof(values, range), "A:B", "a range", 0, 0,
     false},
    {"--part", OPT_PART, offsetof(values, part), "I/N", "a part", 0, 0, false},
};

static const opt_operand operands[] = {
    {"FIRST", offsetof(values, first), false, false},
    {"REST", offsetof(values, rest), true, true}};

static const opt_table tables[2] = {
    {common, 1, NULL, 0}, {specs, sizeof specs / sizeof specs[0], operands, 2}};

/* Parses up to six words; NULL ends them. The words must outlive the values. */
static sotto_status parse(values *v, const char **word, sotto_error *err)
{
    size_t n = 0;
    while (word[n] != NULL) {
        n++;
    }
    memset(v, 0, sizeof *v);
    return opt_parse(v, tables, 2, word, n, err);
}

#define PARSE(v, err, ...) parse(v, (const char *[]){__VA_ARGS__, NULL}, err)

static void test_opt_parse_takes_every_kind(void **state)
{
    (void)state;
    values v;
    sotto_error err = {{0}};
    assert_int_equal(PARSE(&v, &err, "--flag", "--name", "-x", "--count=7",
                           "one", "--real", "-1.5"),
                     SOTTO_OK);
    assert_true(v.flag);
    assert_string_equal(v.name, "-x");
    assert_int_equal(v.count, 7);
    assert_true(v.real == -1.5);
    assert_string_equal(v.first, "one");
    assert_int_equal(v.rest.n, 0);

    assert_int_equal(PARSE(&v, &err, "x", "--choice", "192", "--reals",
                           "1,2.5,9", "--range=0:4096", "--part=3/3"),
                     SOTTO_OK);
    assert_string_equal(v.choice, "192");
    assert_int_equal(v.reals.n, 3);
    assert_true(v.reals.value[1] == 2.5);
    assert_int_equal(v.range.second, 4096);
    assert_int_equal(v.part.first, 3);

    static const struct {
        const char *word;
        uint64_t bytes;
    } sizes[] = {{"7", 7},
                 {"3K", 3 << 10},
                 {"64M", 64 << 20},
                 {"5G", (uint64_t)5 << 30},
                 {"1T", (uint64_t)1 << 40}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        assert_int_equal(PARSE(&v, &err, "x", "--bytes", sizes[k].word),
                         SOTTO_OK);
        assert_int_equal(v.bytes, sizes[k].bytes);
    }
}

static void test_opt_parse_gathers_operands(void **state)
{
    (void)state;
    values v;
    sotto_error err = {{0}};
    assert_int_equal(
        PARSE(&v, &err, "a", "--count", "1", "-", "--", "--flag", "c"),
        SOTTO_OK);
    assert_string_equal(v.first, "a");
    assert_int_equal(v.rest.n, 3);
    assert_string_equal(v.rest.value[0], "-");
    assert_string_equal(v.rest.value[1], "--flag");
    assert_string_equal(v.rest.value[2], "c");
    assert_false(v.flag);
}

/* Each line: two words that are refused, and part of the message. */
static void test_opt_parse_refuses(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"--count", "0", "out of range"},
        {"--count", "101", "1 to 100"},
        {"--count", "1x", "whole number"},
        {"--count", "-1", "whole number"},
        {"--count", "+1", "whole number"},
        {"--count", "18446744073709551616", "whole number"},
        {"--count", "", "whole number"},
        {"--count", "1K", "whole number"},
        {"--bytes", "0", "out of range"},
        {"--bytes", "2000T", "out of range"},
        {"--bytes", "18446744073709551615T", "out of range"},
        {"--bytes", "1k", "K, M, G or T"},
        {"--bytes", "1MB", "K, M, G or T"},
        {"--bytes", "M", "K, M, G or T"},
        {"--real", "nan", "number"},
        {"--real", "2.1", "out of range"},
        {"--real", "1,2", "fewer"},
        {"--reals", "1,,2", "between commas"},
        {"--reals", "1,", "between commas"},
        {"--reals", "1 2", "between commas"},
        {"--reals", "10", "out of range"},
        {"--choice", "12", "128|192|256"},
        {"--choice", "", "128|192|256"},
        {"--name", "", "something"},
        {"--range", "5:5", "FIRST:END"},
        {"--range", "5", "FIRST:END"},
        {"--range", "1:2:3", "FIRST:END"},
        {"--part", "0/3", "I/N"},
        {"--part", "4/3", "I/N"},
        {"--nane", "x", "did you mean --name"},
        {"--zzz", "x", "unknown option --zzz"},
        {"-x", "x", "unknown option -x"},
        {"--flag=yes", "x", "takes no value"},
        {"--flag", "--flag", "twice"},
        {"x", "--name", "lacks its value"},
        {"--flag", "--", "FIRST is missing"},
    };
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        values v;
        sotto_error err = {{0}};
        assert_int_equal(PARSE(&v, &err, bad[k][0], bad[k][1]),
                         SOTTO_ERR_PARAM);
        if (strstr(err.text, bad[k][2]) == NULL) {
            fail_msg("%s %s: %s", bad[k][0], bad[k][1], err.text);
        }
    }
}

static void test_opt_parse_wants_what_is_required(void **state)
{
    (void)state;
    static const opt_spec must[] = {
        {"-o", OPT_TEXT, offsetof(values, name), "FILE", "output", 0, 0, true}};
    static const opt_table table = {must, 1, operands, 1};
    values v;
    sotto_error err = {{0}};
    memset(&v, 0, sizeof v);
    assert_int_equal(opt_parse(&v, &table, 1, (const char *[]){"a"}, 1, &err),
                     SOTTO_ERR_PARAM);
    assert_non_null(strstr(err.text, "-o FILE is missing"));
    assert_int_equal(opt_parse(&v, &table, 1,
                               (const char *[]){"a", "b", "-o", "f"}, 4, &err),
                     SOTTO_ERR_PARAM);
    assert_non_null(strstr(err.text, "too many: 'b'"));
    assert_int_equal(
        opt_parse(&v, &table, 1, (const char *[]){"-o", "f", "a"}, 3, &err),
        SOTTO_OK);
    assert_string_equal(v.name, "f");
}

static void test_opt_wants_help(void **state)
{
    (void)state;
    assert_true(opt_wants_help((const char *[]){"a", "--help"}, 2));
    assert_true(opt_wants_help((const char *[]){"-h"}, 1));
    assert_false(opt_wants_help((const char *[]){"--", "--help"}, 2));
}

static void test_opt_help_lists_options(void **state)
{
    (void)state;
    text_out out;
    text_init(&out);
    opt_usage(&out, &tables[1]);
    assert_string_equal(out.buffer, " FIRST [REST...] [options]");
    text_init(&out);
    opt_help(&out, &tables[1]);
    assert_non_null(strstr(out.buffer, "  --name NAME               two\n"
                                       "                            lines\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opt_parse_takes_every_kind),
        cmocka_unit_test(test_opt_parse_gathers_operands),
        cmocka_unit_test(test_opt_parse_refuses),
        cmocka_unit_test(test_opt_parse_wants_what_is_required),
        cmocka_unit_test(test_opt_wants_help),
        cmocka_unit_test(test_opt_help_lists_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
