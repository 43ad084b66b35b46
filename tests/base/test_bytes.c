/* SPDX-License-Identifier: MIT
 * Readers and writers at every bound.
 */
#include "base/bytes.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

static const uint8_t sample[] = {0x01, 0x23, 0x45, 0x67, 0x89,
                                 0xab, 0xcd, 0xef, 0x10};

static void test_read_is_little_endian(void **state)
{
    (void)state;
    sotto_reader reader = sotto_reader_init(sample, sizeof sample);
    assert_int_equal(sotto_reader_left(&reader), 9);
    assert_int_equal(sotto_read_u8(&reader), 0x01);
    assert_int_equal(sotto_read_u64(&reader), 0x10efcdab89674523);
    assert_int_equal(sotto_reader_left(&reader), 0);
    assert_true(reader.ok);

    reader = sotto_reader_init(sample, sizeof sample);
    assert_int_equal(sotto_read_u32(&reader), 0x67452301);
    assert_int_equal(sotto_read_u16(&reader), 0xab89);
    assert_int_equal(sotto_read_u16(&reader), 0xefcd);
    assert_int_equal(sotto_reader_left(&reader), 1);
}

/* Reads one item of the given kind; returns it as bits, and its size. */
static uint64_t read_kind(sotto_reader *reader, int kind, size_t *size)
{
    static const size_t sizes[] = {1, 2, 4, 8, 8, 5, 3};
    *size = sizes[kind];
    uint8_t bytes[8] = {0};
    memset(bytes, 0xee, *size); /* must be overwritten, at least by zeros */
    uint64_t bits = 0;
    switch (kind) {
    case 0:
        return sotto_read_u8(reader);
    case 1:
        return sotto_read_u16(reader);
    case 2:
        return sotto_read_u32(reader);
    case 3:
        return sotto_read_u64(reader);
    case 4: {
        const double value = sotto_read_f64(reader);
        memcpy(&bits, &value, 8);
        return bits;
    }
    case 5:
        sotto_read_bytes(reader, bytes, 5);
        memcpy(&bits, bytes, 8);
        return bits;
    default: {
        const uint8_t *view = sotto_read_view(reader, 3);
        if (view != NULL) {
            memcpy(&bits, view, 3);
        }
        return bits;
    }
    }
}

static void test_read_stops_at_every_bound(void **state)
{
    (void)state;
    for (int kind = 0; kind < 7; kind++) {
        for (size_t len = 0; len <= sizeof sample; len++) {
            for (size_t skip = 0; skip <= len; skip++) {
                sotto_reader reader = sotto_reader_init(sample, len);
                assert_non_null(sotto_read_view(&reader, skip));
                size_t size;
                uint64_t want = 0;
                const uint64_t got = read_kind(&reader, kind, &size);
                const bool fits = skip + size <= len;
                assert_int_equal(reader.ok, fits);
                if (fits) {
                    memcpy(&want, sample + skip, size);
                }
                assert_int_equal(got, want);
                assert_int_equal(sotto_reader_left(&reader),
                                 fits ? len - skip - size : 0);
            }
        }
    }
}

static void test_read_error_is_sticky(void **state)
{
    (void)state;
    sotto_reader reader = sotto_reader_init(sample, 3);
    assert_int_equal(sotto_read_u32(&reader), 0);
    assert_false(reader.ok);
    assert_int_equal(sotto_read_u8(&reader), 0); /* would have fitted */
    assert_null(sotto_read_view(&reader, 0));
    assert_int_equal(sotto_reader_left(&reader), 0);
}

static void test_read_view_refuses_huge_lengths(void **state)
{
    (void)state;
    sotto_reader reader = sotto_reader_init(sample, sizeof sample);
    (void)sotto_read_u8(&reader);
    assert_null(sotto_read_view(&reader, SIZE_MAX));
    assert_false(reader.ok);
    reader = sotto_reader_init(NULL, 0);
    sotto_read_bytes(&reader, NULL, 0);
    assert_int_equal(sotto_read_u64(&reader), 0);
    assert_false(reader.ok);
}

static void write_one_of_each(sotto_writer *writer)
{
    sotto_write_u8(writer, 0x01);
    sotto_write_u16(writer, 0x4523);
    sotto_write_u32(writer, 0xcdab8967);
    sotto_write_u64(writer, UINT64_C(0xfedcba9876543210));
    sotto_write_f64(writer, -0.0);
    sotto_write_bytes(writer, "xyz", 3);
    sotto_write_bytes(writer, NULL, 0);
}

static const uint8_t one_of_each[26] = {
    0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0x10, 0x32,
    0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 0,    0,    0,
    0,    0,    0,    0,    0x80, 'x',  'y',  'z'};

static void test_write_fits_at_every_capacity(void **state)
{
    (void)state;
    /* Where each item ends: a writer holds exactly the items that fit. */
    static const size_t ends[] = {0, 1, 3, 7, 15, 23, 26};
    for (size_t capacity = 0; capacity <= 30; capacity++) {
        uint8_t out[32];
        memset(out, 0x77, sizeof out);
        sotto_writer writer = sotto_writer_init(out, capacity);
        write_one_of_each(&writer);
        size_t end = 0;
        for (size_t i = 0; i < 7 && ends[i] <= capacity; i++) {
            end = ends[i];
        }
        assert_int_equal(writer.ok, capacity >= 26);
        assert_int_equal(writer.at, end);
        assert_memory_equal(out, one_of_each, end);
        for (size_t i = end; i < sizeof out; i++) {
            assert_int_equal(out[i], 0x77);
        }
    }
}

static void test_write_without_memory_counts(void **state)
{
    (void)state;
    sotto_writer writer = sotto_writer_init(NULL, 0);
    write_one_of_each(&writer);
    assert_true(writer.ok);
    assert_int_equal(writer.at, sizeof one_of_each);
    sotto_write_bytes(&writer, NULL, SIZE_MAX - 26);
    assert_true(writer.ok);
    sotto_write_u8(&writer, 1); /* even counting has an end */
    assert_false(writer.ok);
}

static void test_f64_keeps_every_bit(void **state)
{
    (void)state;
    const double values[] = {0.0, -0.0, 1.0 / 3, INFINITY, -5e-324, 0x1p-1022};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t bytes[8];
        sotto_writer writer = sotto_writer_init(bytes, sizeof bytes);
        sotto_write_f64(&writer, values[i]);
        sotto_reader reader = sotto_reader_init(bytes, sizeof bytes);
        const double back = sotto_read_f64(&reader);
        assert_memory_equal(&back, &values[i], sizeof back);
    }
    /* 1.0 is 0x3ff0000000000000, least significant byte first. */
    const uint8_t one[8] = {0, 0, 0, 0, 0, 0, 0xf0, 0x3f};
    sotto_reader reader = sotto_reader_init(one, sizeof one);
    assert_true(sotto_read_f64(&reader) == 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_is_little_endian),
        cmocka_unit_test(test_read_stops_at_every_bound),
        cmocka_unit_test(test_read_error_is_sticky),
        cmocka_unit_test(test_read_view_refuses_huge_lengths),
        cmocka_unit_test(test_write_fits_at_every_capacity),
        cmocka_unit_test(test_write_without_memory_counts),
        cmocka_unit_test(test_f64_keeps_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
