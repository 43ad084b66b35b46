/* SPDX-License-Identifier: MIT
 * Memory: aligned blocks, wiping, arenas.
 *
 * Whoever calls _new calls _free; freeing NULL is fine. Evaluation never
 * allocates: it takes from an arena that was sized when the evaluator was made.
 * Blocks of 2 MiB and more are aligned to 2 MiB and huge pages are advised.
 */
#ifndef SOTTO_BASE_MEM_H
#define SOTTO_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/* Every block is aligned to a cache line at least. */
#define SOTTO_ALIGN ((size_t)64)
#define SOTTO_HUGE_PAGE ((size_t)1 << 21)

/* Allocates count·size bytes, zeroed. NULL when out of memory or when the
 * product overflows; count·size == 0 gives a block that may be freed.
 * alignment: 64 bytes; 2 MiB from 2 MiB on. owner: the caller, sotto_free. */
void *sotto_calloc(size_t count, size_t size);

/* Frees a block of sotto_calloc; NULL is fine. Does not wipe. */
void sotto_free(void *block);

/* Takes a large block from the system, zeroed, whose pages come into being when
 * they are first touched, by whichever thread that is. NULL when there is no
 * room. alignment: 2 MiB. owner: the caller, sotto_unmap with the same size. */
void *sotto_map(size_t len_bytes);

/* Gives back a block of sotto_map; NULL is fine. Does not wipe. */
void sotto_unmap(void *block, size_t len_bytes);

/* Overwrites len_bytes bytes with zeros in a way that is not optimised away.
 * secret: constant time in the content. */
void sotto_wipe(void *block, size_t len_bytes);

/* Wipes, then frees; NULL is fine. */
void sotto_wipe_free(void *block, size_t len_bytes);

/* Words from one limb to the next for n coefficients: n plus an odd number of
 * cache lines, since strides of a power of two make all limbs fight for the
 * same cache sets (2-4 times slower). n is a power of two >= 8.
 * Result: a multiple of 8 words. */
static inline size_t sotto_limb_stride(size_t n)
{
    return n + 40;
}

/* A stack of temporary blocks in one allocation:
 *
 *     base        mark               used            capacity
 *      |##### kept |#### to release #| free            |
 */
typedef struct sotto_arena {
    uint8_t *base;
    size_t used;
    size_t capacity;
} sotto_arena;

/* Makes an arena of capacity bytes; base is NULL when out of memory.
 * owner: the caller, sotto_arena_clear. */
sotto_arena sotto_arena_init(size_t capacity);

/* Wipes and frees the arena's memory; the arena is empty afterwards. */
void sotto_arena_clear(sotto_arena *arena);

/* Takes count·size bytes (64-byte aligned, content undefined). NULL when the
 * arena is too small, which is a sizing error of whoever made it.
 * cost: O(1), no allocation. owner: the arena. */
void *sotto_arena_take(sotto_arena *arena, size_t count, size_t size);

/* Bytes that sotto_arena_take(count, size) consumes, padding included. */
static inline size_t sotto_arena_need(size_t count, size_t size)
{
    return (count * size + SOTTO_ALIGN - 1) / SOTTO_ALIGN * SOTTO_ALIGN;
}

/* The present fill, for sotto_arena_release. */
static inline size_t sotto_arena_mark(const sotto_arena *arena)
{
    return arena->used;
}

/* Gives back everything taken since mark. */
static inline void sotto_arena_release(sotto_arena *arena, size_t mark)
{
    arena->used = mark;
}

/* Largest resident size of this process so far in bytes; 0 if unknown. */
size_t sotto_peak_bytes(void);

#endif
