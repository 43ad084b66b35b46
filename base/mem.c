/* SPDX-License-Identifier: MIT
 * Aligned blocks, wiping, peak memory. Nothing here calls sotto_calloc or
 * sotto_free (arena.c does), so that every call crosses a file border: tests
 * replace both at link time to make the k-th allocation fail.
 */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

void *sotto_calloc(size_t count, size_t size)
{
    size_t len_bytes;
    if (__builtin_mul_overflow(count, size, &len_bytes) ||
        len_bytes > PTRDIFF_MAX) {
        return NULL;
    }
    const size_t align =
        len_bytes >= SOTTO_HUGE_PAGE ? SOTTO_HUGE_PAGE : SOTTO_ALIGN;

    /* posix_memalign, since it keeps the exact size: a checker then sees an
     * access one byte beyond the end. */
    void *block = NULL;
    if (posix_memalign(&block, align, len_bytes > 0 ? len_bytes : 1) != 0) {
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (align == SOTTO_HUGE_PAGE) {
        /* Advice before the first touch; a kernel may ignore it. */
        (void)madvise(block, len_bytes, MADV_HUGEPAGE);
    }
#endif
    memset(block, 0, len_bytes);
    return block;
}

void sotto_free(void *block)
{
    free(block);
}

/* What is mapped for len_bytes: whole huge pages, and one more to align in. */
static size_t mapped_bytes(size_t len_bytes)
{
    return (len_bytes / SOTTO_HUGE_PAGE + 2) * SOTTO_HUGE_PAGE;
}

void *sotto_map(size_t len_bytes)
{
    if (len_bytes > PTRDIFF_MAX / 2) {
        return NULL;
    }
    const size_t mapped = mapped_bytes(len_bytes);
    uint8_t *start = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    /* The ends that alignment leaves over go back at once. */
    const size_t skip = (0 - (uintptr_t)start) & (SOTTO_HUGE_PAGE - 1);
    const size_t kept = mapped - SOTTO_HUGE_PAGE;
    if (skip > 0) {
        (void)munmap(start, skip);
    }
    (void)munmap(start + skip + kept, SOTTO_HUGE_PAGE - skip);
#ifdef MADV_HUGEPAGE
    (void)madvise(start + skip, kept, MADV_HUGEPAGE);
#endif
    return start + skip;
}

void sotto_unmap(void *block, size_t len_bytes)
{
    if (block != NULL) {
        (void)munmap(block, mapped_bytes(len_bytes) - SOTTO_HUGE_PAGE);
    }
}

void sotto_wipe(void *block, size_t len_bytes)
{
    if (len_bytes == 0) {
        return;
    }
    memset(block, 0, len_bytes);
    /* Emits nothing, but makes the compiler believe that the zeros are read;
     * otherwise a memset before free may be dropped. */
    __asm__ volatile("" : : "r"(block) : "memory");
}

size_t sotto_peak_bytes(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss < 0) {
        return 0;
    }
    return (size_t)usage.ru_maxrss * 1024; /* Linux counts in KiB */
}
