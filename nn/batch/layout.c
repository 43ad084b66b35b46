/* SPDX-License-Identifier: MIT
 * Places for values with known lifetimes in one block of memory.
 *
 *     words ^
 *           |     +-----------+
 *           |     |  value 2  |     +---------+
 *           |-----+-----+-----+-----+ value 4 |
 *           |  value 1  | 3         |         |
 *           +-----------+-----------+---------+--> passes
 *
 * First fit in order of birth: each value goes to the lowest place that is free
 * during its whole life. Networks are chains with few branches, for which this
 * is at or near the least possible.
 */
#include "nn/batch/batch_internal.h"

/* Whether two values are alive in one and the same pass. A pass reads one
 * value while it writes another, so both ends count. */
static bool together(const batch_value *a, const batch_value *b)
{
    return a->born <= b->dead && b->born <= a->dead;
}

static size_t size_of(const batch_value *value)
{
    return value->n * value->words;
}

/* The lowest offset >= at where no earlier value is in the way of value v, or
 * the end of one that is (then the caller tries again from there). */
static size_t step_over(const nn_batch *batch, int v, size_t at)
{
    const batch_value *value = &batch->value[v];
    for (int i = 0; i < v; i++) {
        const batch_value *other = &batch->value[i];
        const bool apart = at + size_of(value) <= other->offset ||
                           other->offset + size_of(other) <= at;
        if (together(value, other) && !apart) {
            return other->offset + size_of(other);
        }
    }
    return at;
}

void nn_batch_layout(nn_batch *batch)
{
    batch->memory_words = 0;
    for (int v = 0; v < batch->n_values; v++) {
        /* Each round moves past one value for good: places that a lower start
         * could not use because of it are not usable from any start before
         * its end, so this finds the lowest. */
        size_t at = 0;
        size_t next = step_over(batch, v, at);
        while (next != at) {
            at = next;
            next = step_over(batch, v, at);
        }
        batch->value[v].offset = at;
        const size_t end = at + size_of(&batch->value[v]);
        if (end > batch->memory_words) {
            batch->memory_words = end;
        }
    }
}
