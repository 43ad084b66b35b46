/* SPDX-License-Identifier: MIT
 * The part of base/mem.h that stands on sotto_calloc and sotto_free: arenas (a
 * stack of temporary blocks in one allocation) and freeing with a wipe.
 */
#include "base/mem.h"

void sotto_wipe_free(void *block, size_t len_bytes)
{
    if (block != NULL) {
        sotto_wipe(block, len_bytes);
        sotto_free(block);
    }
}

sotto_arena sotto_arena_init(size_t capacity)
{
    sotto_arena arena = {0};
    arena.base = sotto_calloc(capacity, 1);
    if (arena.base != NULL) {
        arena.capacity = capacity;
    }
    return arena;
}

void sotto_arena_clear(sotto_arena *arena)
{
    sotto_wipe_free(arena->base, arena->capacity);
    *arena = (sotto_arena){0};
}

void *sotto_arena_take(sotto_arena *arena, size_t count, size_t size)
{
    size_t len_bytes;
    if (arena->base == NULL ||
        __builtin_mul_overflow(count, size, &len_bytes) ||
        len_bytes > arena->capacity) {
        return NULL;
    }
    /* No overflow: len_bytes is at most the size of an existing block. */
    const size_t need = sotto_arena_need(len_bytes, 1);
    if (need > arena->capacity - arena->used) {
        return NULL;
    }
    uint8_t *block = arena->base + arena->used;
    arena->used += need;
    return block;
}
