/* SPDX-License-Identifier: MIT
 * Average pools before a map: rows that weigh whole cells alike.
 *
 * Summing a cell by rotations costs no level. A convolution of 5×5 behind a
 * pool of 2×2 then takes 25 products for each channel instead of 100.
 */
#include <string.h>

#include "base/mem.h"
#include "nn/single/compile_internal.h"

sotto_status nn_pooled_init(nn_pooled *pooled, const nn_affine *affine,
                            sotto_error *err)
{
    size_t n, cap = 1, largest = 1;

    (void)nn_affine_sources(affine, &n);
    for (size_t k = 0; k < n; k++) {
        const size_t size = nn_affine_source_size(affine, k);
        cap += size;
        largest = size > largest ? size : largest;
    }
    *pooled = (nn_pooled){.cap = cap};
    pooled->terms = sotto_calloc(cap, sizeof *pooled->terms);
    pooled->weight = sotto_calloc(largest, sizeof *pooled->weight);
    if (pooled->terms == NULL || pooled->weight == NULL) {
        nn_pooled_clear(pooled);
        return sotto_fail(err, SOTTO_ERR_MEMORY, "no memory for pooled rows");
    }
    return SOTTO_OK;
}

void nn_pooled_clear(nn_pooled *pooled)
{
    sotto_free(pooled->terms);
    sotto_free(pooled->weight);
    *pooled = (nn_pooled){0};
}

/* Whether all elements of the cell that begins at `index` weigh the same. */
static bool cell_alike(const nn_pooled *pooled, size_t index,
                       const nn_shape *shape, const uint32_t *pool)
{
    for (size_t i = 0; i < pool[0]; i++) {
        for (size_t j = 0; j < pool[1]; j++) {
            const nn_weighed *other =
                &pooled->weight[index + i * shape->dim[2] + j];
            if (other->row != pooled->row ||
                other->weight != pooled->weight[index].weight) {
                return false;
            }
        }
    }
    return true;
}

/* Reduces the terms of one source; false when cells are not alike. */
static bool reduce(nn_pooled *pooled, nn_row *out, const nn_term *term,
                   size_t n, const nn_shape *shape, const uint32_t *pool)
{
    const size_t width = shape->rank == 3 ? shape->dim[2] : 1;
    const size_t height = shape->rank == 3 ? shape->dim[1] : 1;
    const size_t area = (size_t)pool[0] * pool[1];
    size_t cells = 0;

    if (n > 0 && (shape->rank != 3 || n % area != 0)) {
        return false;
    }
    pooled->row++;
    for (size_t t = 0; t < n; t++) {
        pooled->weight[term[t].from.index] =
            (nn_weighed){.row = pooled->row, .weight = term[t].weight};
    }
    for (size_t t = 0; t < n; t++) {
        const size_t index = term[t].from.index;
        const size_t y = index / width % height, x = index % width;
        if (y % pool[0] != 0 || x % pool[1] != 0) {
            continue;
        }
        if (y + pool[0] > height || x + pool[1] > width ||
            !cell_alike(pooled, index, shape, pool)) {
            return false;
        }
        pooled->terms[out->n_terms++] = term[t];
        cells++;
    }
    return cells * area == n;
}

bool nn_pooled_row(nn_pooled *pooled, nn_row *out, const nn_row *row,
                   const nn_affine *affine, const nn_shape *shapes,
                   const uint32_t *pool)
{
    size_t n_sources, first = 0;
    const uint32_t *sources = nn_affine_sources(affine, &n_sources);

    *out = *row;
    if (pool[0] == 1 && pool[1] == 1) {
        return true;
    }
    out->n_terms = 0;
    out->terms = pooled->terms;
    for (size_t k = 0; k < n_sources; k++) {
        size_t end = first;
        while (end < row->n_terms &&
               row->terms[end].from.source == sources[k]) {
            end++;
        }
        if (!reduce(pooled, out, row->terms + first, end - first, &shapes[k],
                    pool)) {
            return false;
        }
        first = end;
    }
    return true;
}

void nn_pool_detect(uint32_t *pool, nn_pooled *pooled, const nn_affine *affine,
                    nn_cursor *cursor, const nn_shape *shapes)
{
    static const uint32_t sizes[][2] = {{4, 4}, {3, 3}, {2, 2}, {2, 1}, {1, 2}};
    const size_t n = nn_affine_rows(affine);

    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        bool alike = true;
        bool any = false;
        for (size_t r = 0; r < n && alike; r++) {
            const nn_row row = nn_cursor_row(cursor, r);
            nn_row out;
            alike = nn_pooled_row(pooled, &out, &row, affine, shapes, sizes[k]);
            any = any || row.n_terms > 0;
        }
        if (alike && any) {
            memcpy(pool, sizes[k], sizeof sizes[k]);
            return;
        }
    }
    pool[0] = pool[1] = 1;
}
