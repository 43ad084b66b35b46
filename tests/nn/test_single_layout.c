/* SPDX-License-Identifier: MIT
 * Layouts: the drawings of nn/single/layout.h, their text, what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/single/layout.h"
#include "tests/support/check.h"

/* A layout in one ciphertext of 16 slots, from its text. */
static nn_layout layout_of(const nn_shape *shape, const char *text)
{
    nn_layout layout;
    char again[NN_LAYOUT_TEXT_BYTES];
    CHECK(nn_layout_parse(&layout, shape, 4, text, err));
    assert_string_equal(nn_layout_text(again, &layout), text);
    return layout;
}

/* Elements are named a, b, c, … in a drawing; '.' is nothing. */
static void check_drawing(const nn_shape *shape, const char *text,
                          const char *drawing)
{
    const nn_layout layout = layout_of(shape, text);
    const size_t n = nn_shape_size(shape);
    double values[32], slots[32], back[32];
    nn_places *places;
    assert_int_equal(strlen(drawing), 16 * layout.n_cts);
    assert_true(n <= 32);
    CHECK(nn_places_new(&places, &layout, err));
    for (size_t e = 0; e < n; e++) {
        values[e] = (double)e + 1;
    }
    nn_places_pack(places, slots, values);
    for (size_t j = 0; j < 16 * layout.n_cts; j++) {
        const double want = drawing[j] == '.' ? 0 : drawing[j] - 'a' + 1;
        assert_true(slots[j] == want);
    }
    nn_places_unpack(places, back, slots);
    for (size_t e = 0; e < n; e++) {
        assert_true(back[e] == (nn_places_none(places, e) ? 0 : values[e]));
    }
    nn_places_free(places);
}

static void test_layout_drawings(void **state)
{
    (void)state;
    const nn_shape chw = {.rank = 3, .dim = {2, 2, 2}};
    const nn_shape wide = {.rank = 3, .dim = {4, 1, 4}};
    const nn_shape four = {.rank = 1, .dim = {4}};
    const nn_shape five = {.rank = 1, .dim = {5}};
    const nn_shape six = {.rank = 1, .dim = {6}};
    check_drawing(&chw,
                  "cts 1 period 16 rest zero origin 0 0 0 digits 2:1:2:1 "
                  "2:3:1:1 2:6:0:1",
                  "ab.cd.ef.gh.....");
    check_drawing(&wide,
                  "cts 1 period 16 rest zero origin 0 0 0 digits 4:2:2:1 "
                  "2:1:0:1 2:8:0:2",
                  "aebfcgdhimjnkolp");
    check_drawing(&six,
                  "cts 1 period 16 rest zero origin 0 digits 2:4:0:1 3:1:0:2",
                  "ace.bdf.........");
    check_drawing(&four,
                  "cts 1 period 16 rest zero origin 0 digits 4:1:0:1 3:5:-1:0",
                  "abcd.abcd.abcd..");
    check_drawing(&five,
                  "cts 1 period 16 rest zero origin 0 digits 3:1:0:1 3:4:0:1",
                  "abc.bcd.cde.....");
    check_drawing(&five, "cts 1 period 8 rest zero origin 0 digits 5:1:0:1",
                  "abcde...abcde...");
    check_drawing(
        &four, "cts 1 period 16 rest rubbish origin 0 digits 2:1:0:1 2:8:0:2",
        "ab......cd......");
    /* A border of one; over two ciphertexts; past the end of the first. */
    check_drawing(&four,
                  "cts 1 period 16 rest zero origin -1 digits 3:1:0:1 4:4:0:1",
                  ".ab.abc.bcd.cd..");
    check_drawing(&six,
                  "cts 2 period 16 rest zero origin 0 digits 3:1:0:1 2:16:0:3",
                  "abc.............def.............");
    check_drawing(&six, "cts 2 period 16 rest zero origin 0 digits 6:5:0:1",
                  "a....b....c....d....e....f......");
}

static void test_layout_parse_refuses(void **state)
{
    (void)state;
    const nn_shape shape = {.rank = 1, .dim = {4}};
    const char *const wrong[] = {
        "",
        "cts 1 period 16 rest zero origin 0",
        "cts 0 period 16 rest zero origin 0 digits",
        "cts 1 period 32 rest zero origin 0 digits",
        "cts 1 period 12 rest zero origin 0 digits",
        "cts 1 period 16 rest noise origin 0 digits",
        "cts 1 period 16 rest zero origin digits",
        "cts 1 period 16 rest zero origin 0 0 digits",
        "cts 1 period 16 rest zero origin 0 digits 4:1:1:1",
        "cts 1 period 16 rest zero origin 0 digits 0:1:0:1",
        "cts 1 period 16 rest zero origin 0 digits 4:1:-1:1",
        "cts 1 period 16 rest zero origin 0 digits 04:1:0:1",
        "cts 1 period 16 rest zero origin 0 digits 4:1:0:1 ",
        "cts 1 period 16 rest zero origin 0 digits 99999999999:1:0:1",
        ("cts 1 period 16 rest zero origin 0 digits 1:1:0:1 1:1:0:1 1:1:0:1 "
         "1:1:0:1 1:1:0:1 1:1:0:1 1:1:0:1 1:1:0:1 1:1:0:1 1:1:0:1 1:1:0:1 "
         "1:1:0:1 1:1:0:1"),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        nn_layout layout = {.n_cts = 77};
        sotto_error error;
        assert_int_equal(nn_layout_parse(&layout, &shape, 4, wrong[i], &error),
                         SOTTO_ERR_FORMAT);
        assert_int_equal(layout.n_cts, 77);
    }
}

static void test_places_refuses(void **state)
{
    (void)state;
    const nn_shape shape = {.rank = 1, .dim = {4}};
    const char *const wrong[] = {
        /* two in one slot; beyond the ciphertexts; beyond the period */
        "cts 1 period 16 rest zero origin 0 digits 2:1:0:1 2:1:0:2",
        "cts 1 period 16 rest zero origin 0 digits 4:5:0:1 1:1:0:1",
        "cts 1 period 2 rest zero origin 0 digits 4:1:0:1",
        "cts 1 period 16 rest zero origin 0 digits 4:0:0:1",
        "cts 1 period 16 rest zero origin 0 digits 67108864:1:0:1 2:1:0:1",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        nn_places *places;
        nn_layout layout;
        sotto_error error;
        CHECK(nn_layout_parse(&layout, &shape, 4, wrong[i], err));
        if (i == 1) {
            layout.digit[0].slots = 6;
        }
        assert_int_equal(nn_places_new(&places, &layout, &error),
                         SOTTO_ERR_SHAPE);
        assert_null(places);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_drawings),
        cmocka_unit_test(test_layout_parse_refuses),
        cmocka_unit_test(test_places_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
