/* SPDX-License-Identifier: MIT
 * The cost model against the machine: what nn/plan/cost.h predicts from a table
 * measured here, beside what operations take with the best backend. The ratio
 * should stay within a factor of 1.5; data that does not fit the caches makes
 * it grow with N.
 */
#include <stdio.h>

#include "bench/parts.h"
#include "bench/world.h"
#include "nn/plan/cost.h"

static const world_size sizes[] = {
    {13, 5, 29.9, 2, 30.5, 3},
    {14, 9, 35, 3, 36, 3},
    {15, 18, 36, 6, 35, 3},
};

/* One operation, then its prediction beside it. */
static void compare(bench *b, const char *name, world *w,
                    const world_size *size, void (*run)(void *arg), double ns)
{
    bench_case c = {.name = name,
                    .backend = w->backend,
                    .log2_n = size->log2_n,
                    .limbs = size->limbs,
                    .run = run,
                    .arg = w};
    bench_result measured = {0};
    bench_group(b, &c, 1, &measured);
    if (measured.median > 0) {
        c.note = "predicted";
        c.against[0] = (bench_against){0, "measured"};
        bench_report(b, &c, &ns, &measured.median, 1);
    }
}

static void compare_all(bench *b, const nn_cost_table *t,
                        const world_size *size, world *w)
{
    const int n = size->log2_n;
    const nn_cost_gadget gadget = {.limbs = size->limbs,
                                   .digits = size->n_digits,
                                   .specials = size->special};
    world_must(ckks_mul(w->ev, &w->product, &w->fresh, &w->fresh),
               &w->ev->error);
    compare(b, "rotate", w, size, world_rotate, nn_cost_rotation(t, n, gadget));
    compare(b, "relinearise", w, size, world_relinearise,
            nn_cost_switch(t, n, gadget));
    compare(b, "rescale", w, size, world_rescale,
            nn_cost_division(t, n, 2, size->limbs - 1, 1));
    compare(b, "multiply_plain", w, size, world_multiply_plain,
            nn_cost_multiply_plain(t, n, size->limbs));
    compare(b, "encode", w, size, world_encode,
            nn_cost_encode(t, n, size->limbs));
}

void bench_costs(bench *b)
{
    static const char *const names[] = {"rotate", "relinearise", "rescale",
                                        "multiply_plain", "encode"};
    bool wanted = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        wanted = wanted || bench_wants(b, names[i]);
    }
    if (!wanted) {
        return;
    }
    nn_cost_table table;
    sotto_error err;
    world_must(nn_cost_measure(&table, &err), &err);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        world w[NTT_BACKEND_IFMA + 1];
        const size_t n = world_open_all(w, &sizes[s], b->cap);
        compare_all(b, &table, &sizes[s], &w[n - 1]);
        for (size_t k = 0; k < n; k++) {
            world_close(&w[k]);
        }
    }
}
