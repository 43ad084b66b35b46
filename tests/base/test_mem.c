/* SPDX-License-Identifier: MIT
 * Aligned blocks, wiping, arenas.
 */
#include "base/mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "tests/support/fail.h"

static bool is_zero(const uint8_t *data, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++) {
        if (data[i] != 0) {
            return false;
        }
    }
    return true;
}

static void test_calloc_is_zero_and_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,
                                   63,
                                   64,
                                   65,
                                   4096,
                                   1000,
                                   8320,
                                   SOTTO_HUGE_PAGE - 1,
                                   SOTTO_HUGE_PAGE,
                                   SOTTO_HUGE_PAGE + 1,
                                   3 * SOTTO_HUGE_PAGE + 17};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        /* Twice: the second block is likely to be the dirty first one. */
        for (int round = 0; round < 2; round++) {
            uint8_t *block = sotto_calloc(sizes[i], 1);
            assert_non_null(block);
            const size_t align =
                sizes[i] >= SOTTO_HUGE_PAGE ? SOTTO_HUGE_PAGE : SOTTO_ALIGN;
            assert_int_equal((uintptr_t)block % align, 0);
            assert_true(is_zero(block, sizes[i]));
            memset(block, 0xa5, sizes[i]);
            sotto_free(block);
        }
    }
}

static void test_map_is_zero_aligned_and_goes_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, SOTTO_HUGE_PAGE - 1, SOTTO_HUGE_PAGE,
                                   5 * SOTTO_HUGE_PAGE + 123};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *block = sotto_map(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % SOTTO_HUGE_PAGE, 0);
        assert_true(is_zero(block, sizes[i]));
        memset(block, 0xff, sizes[i]);
        sotto_unmap(block, sizes[i]);
    }
    sotto_unmap(NULL, 17);
    assert_null(sotto_map(SIZE_MAX));
    assert_null(sotto_map((size_t)1 << 62));
}

static void test_calloc_refuses_overflow(void **state)
{
    (void)state;
    assert_null(sotto_calloc(SIZE_MAX, 2));
    assert_null(sotto_calloc(2, SIZE_MAX));
    assert_null(sotto_calloc((size_t)1 << 33, (size_t)1 << 33));
    assert_null(sotto_calloc(SIZE_MAX / 2 + 1, 1));
    assert_null(sotto_calloc(PTRDIFF_MAX, 1));
    sotto_free(NULL);
}

static void test_calloc_of_nothing_can_be_freed(void **state)
{
    (void)state;
    static const size_t pairs[][2] = {{0, 8}, {8, 0}, {0, 0}, {SIZE_MAX, 0}};
    for (size_t i = 0; i < 4; i++) {
        void *block = sotto_calloc(pairs[i][0], pairs[i][1]);
        assert_non_null(block);
        sotto_free(block);
    }
}

static void test_wipe_clears_everything(void **state)
{
    (void)state;
    uint8_t data[70];
    for (size_t len = 0; len <= sizeof data; len++) {
        memset(data, 0xff, sizeof data);
        sotto_wipe(data, len);
        assert_true(is_zero(data, len));
        for (size_t i = len; i < sizeof data; i++) {
            assert_int_equal(data[i], 0xff);
        }
    }
    sotto_wipe(NULL, 0);
    sotto_wipe_free(NULL, 10);
}

static void test_limb_stride_is_odd_in_cache_lines(void **state)
{
    (void)state;
    for (size_t n = 8; n <= (size_t)1 << 17; n *= 2) {
        const size_t stride = sotto_limb_stride(n);
        assert_true(stride >= n && stride <= n + 64);
        assert_int_equal(stride % 8, 0);
        assert_int_equal((stride - n) / 8 % 2, 1);
    }
}

static void test_arena_gives_aligned_blocks_up_to_its_capacity(void **state)
{
    (void)state;
    const size_t capacity = sotto_arena_need(3, 7) + sotto_arena_need(1, 64) +
                            sotto_arena_need(65, 1);
    assert_int_equal(capacity, 64 + 64 + 128);
    sotto_arena arena = sotto_arena_init(capacity);
    uint8_t *a = sotto_arena_take(&arena, 3, 7);
    uint8_t *b = sotto_arena_take(&arena, 1, 64);
    uint8_t *c = sotto_arena_take(&arena, 65, 1);
    assert_ptr_equal(a, arena.base);
    assert_ptr_equal(b, a + 64);
    assert_ptr_equal(c, b + 64);
    assert_null(sotto_arena_take(&arena, 1, 1));
    assert_non_null(sotto_arena_take(&arena, 0, 8)); /* nothing always fits */
    assert_int_equal(arena.used, capacity);
    sotto_arena_clear(&arena);
    assert_null(arena.base);
    sotto_arena_clear(&arena);
}

static void test_arena_release_gives_back(void **state)
{
    (void)state;
    sotto_arena arena = sotto_arena_init(256);
    void *kept = sotto_arena_take(&arena, 64, 1);
    const size_t mark = sotto_arena_mark(&arena);
    void *first = sotto_arena_take(&arena, 100, 1);
    assert_non_null(first);
    assert_null(sotto_arena_take(&arena, 100, 1));
    sotto_arena_release(&arena, mark);
    assert_ptr_equal(sotto_arena_take(&arena, 192, 1), first);
    assert_ptr_not_equal(kept, first);
    sotto_arena_clear(&arena);
}

static void test_arena_take_refuses_overflow(void **state)
{
    (void)state;
    sotto_arena arena = sotto_arena_init(1000);
    assert_null(sotto_arena_take(&arena, SIZE_MAX, 1));
    assert_null(sotto_arena_take(&arena, SIZE_MAX - 62, 1));
    assert_null(sotto_arena_take(&arena, (size_t)1 << 32, (size_t)1 << 32));
    assert_null(sotto_arena_take(&arena, 1001, 1));
    /* 1000 bytes are there, but 961 to 1000 need 16 lines: 1024. */
    assert_null(sotto_arena_take(&arena, 961, 1));
    assert_non_null(sotto_arena_take(&arena, 960, 1));
    assert_int_equal(arena.used, 960);
    sotto_arena_clear(&arena);
}

static void test_arena_without_memory_is_empty(void **state)
{
    (void)state;
    fail_arm(FAIL_ALLOC, 0);
    sotto_arena arena = sotto_arena_init(64);
    assert_true(fail_disarm());
    assert_null(arena.base);
    assert_null(sotto_arena_take(&arena, 1, 1));
    assert_null(sotto_arena_take(&arena, 0, 1));
    sotto_arena_clear(&arena);
}

static void test_peak_bytes_grows_with_use(void **state)
{
    (void)state;
    const size_t before = sotto_peak_bytes();
    assert_true(before > 0);
    const size_t size = before + (size_t)(16 << 20);
    uint8_t *block = sotto_calloc(size, 1);
    assert_non_null(block);
    assert_true(sotto_peak_bytes() >= size);
    sotto_free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calloc_is_zero_and_aligned),
        cmocka_unit_test(test_map_is_zero_aligned_and_goes_back),
        cmocka_unit_test(test_calloc_refuses_overflow),
        cmocka_unit_test(test_calloc_of_nothing_can_be_freed),
        cmocka_unit_test(test_wipe_clears_everything),
        cmocka_unit_test(test_limb_stride_is_odd_in_cache_lines),
        cmocka_unit_test(test_arena_gives_aligned_blocks_up_to_its_capacity),
        cmocka_unit_test(test_arena_release_gives_back),
        cmocka_unit_test(test_arena_take_refuses_overflow),
        cmocka_unit_test(test_arena_without_memory_is_empty),
        cmocka_unit_test(test_peak_bytes_grows_with_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
