/* SPDX-License-Identifier: MIT
 * A matrix times an encrypted vector, by diagonals.
 *
 * Slots can be added, multiplied and rotated, nothing else. So a matrix is
 * taken apart into its diagonals: y = sum over d of diagonal_d * (x rotated by
 * d). Baby steps and giant steps need about 2 sqrt(n) rotations instead of n.
 * Read along: ckks/lintrans.h, which does this for whole layers.
 *
 *     a b c d     x0      d=0   d=1   d=2   d=3
 *     e f g h  *  x1       a     b     c     d
 *     i j k l     x2       f     g     h     e
 *     m n o p     x3       k     l     i     j
 *                          p     m     n     o
 */
#include <math.h>
#include <stdio.h>

#include "apps/tour/tour.h"
#include "base/mem.h"

#define SIZE 8
#define BABY 4 /* d = BABY * giant + baby */
#define SCALE 0x1p34

/* Any 8 x 8 matrix. */
static double entry(size_t row, size_t column)
{
    return (double)((3 * row + 5 * column) % 7) / 4 - 0.5;
}

/* The diagonal d, rotated to the right by `back`, repeated over all slots as
 * the vector is, so that a rotation of all slots turns each group of 8. */
static void diagonal(double *slot, size_t slots, size_t d, size_t back)
{
    for (size_t i = 0; i < slots; i++) {
        const size_t row = (i + SIZE - back) % SIZE;
        slot[i] = entry(row, (row + d) % SIZE);
    }
}

/* acc += diagonal * x; the first one sets it. */
static void add_product(tour_world *world, ckks_ct *acc, const ckks_ct *x,
                        size_t d, size_t back, bool is_first)
{
    double slot[512];
    ckks_evaluator *ev = world->evaluator;
    const double scale = (double)world->context->params.literal.modulus[1];
    sotto_arena arena = sotto_arena_init(sotto_arena_need(
        rlwe_level_words(world->context, 0), sizeof(uint64_t)));
    uint64_t *plain = sotto_arena_take(
        &arena, rlwe_level_words(world->context, 0), sizeof *plain);
    diagonal(slot, world->slots, d, back);
    tour_must(ckks_encode(world->encoder, world->context, plain, slot, NULL,
                          world->slots, scale, 0, &world->arena, &world->error),
              &world->error);
    if (is_first) {
        tour_must(ckks_mul_plain(ev, acc, x, plain, scale), &ev->error);
    } else {
        ckks_ct product = tour_ct(world);
        tour_must(ckks_mul_plain(ev, &product, x, plain, scale), &ev->error);
        tour_must(ckks_add(ev, acc, acc, &product), &ev->error);
        ckks_ct_clear(&product);
    }
    sotto_arena_clear(&arena);
}

/* One rotation for each diagonal. */
static int multiply_plainly(tour_world *world, ckks_ct *y, const ckks_ct *x)
{
    ckks_evaluator *ev = world->evaluator;
    ckks_ct turned = tour_ct(world);
    for (size_t d = 0; d < SIZE; d++) {
        tour_must(ckks_rotate(ev, &turned, x, (int64_t)d), &ev->error);
        add_product(world, y, &turned, d, 0, d == 0);
    }
    ckks_ct_clear(&turned);
    return SIZE - 1;
}

/* sum over g of rotate(sum over b of (diagonal turned back by 4g) * rotate(x,
 * b), 4g): the inner rotations are the same for all g. */
static int multiply_bsgs(tour_world *world, ckks_ct *y, const ckks_ct *x)
{
    ckks_evaluator *ev = world->evaluator;
    ckks_ct baby[BABY], inner = tour_ct(world);
    for (size_t b = 0; b < BABY; b++) {
        baby[b] = tour_ct(world);
        tour_must(ckks_rotate(ev, &baby[b], x, (int64_t)b), &ev->error);
    }
    for (size_t g = 0; g < SIZE / BABY; g++) {
        for (size_t b = 0; b < BABY; b++) {
            add_product(world, g == 0 ? y : &inner, &baby[b], BABY * g + b,
                        BABY * g, b == 0);
        }
        if (g > 0) {
            tour_must(ckks_rotate(ev, &inner, &inner, (int64_t)(BABY * g)),
                      &ev->error);
            tour_must(ckks_add(ev, y, y, &inner), &ev->error);
        }
    }
    for (size_t b = 0; b < BABY; b++) {
        ckks_ct_clear(&baby[b]);
    }
    ckks_ct_clear(&inner);
    return BABY - 1 + SIZE / BABY - 1;
}

static void show(tour_world *world, const char *how, ckks_ct *y, int rotations,
                 const double *wanted)
{
    double got[SIZE], worst = 0;
    /* The weights' scale was the modulus that goes now: back to SCALE. */
    tour_must(ckks_rescale(world->evaluator, y, y, 1),
              &world->evaluator->error);
    const double noise = tour_decrypt(world, got, SIZE, y);
    for (size_t i = 0; i < SIZE; i++) {
        worst = fmax(worst, fabs(got[i] - wanted[i]));
    }
    printf("  %s: %d rotations, noise 2^%.1f, largest error 2^%.1f\n", how,
           rotations, log2(noise), log2(worst));
    tour_row_real("decrypted", got, SIZE);
    tour_check(worst < 20 * noise, "it is the product");
}

int main(void)
{
    tour_title(7, "A matrix by diagonals, baby steps and giant steps");
    const int64_t steps[] = {1, 2, 3, 4, 5, 6, 7};
    tour_world world;
    tour_world_init(&world, 3, 38, 2, steps, 7);
    double x[512], wanted[SIZE] = {0};
    for (size_t i = 0; i < world.slots; i++) {
        x[i] = (double)(i % SIZE) / 2 - 1;
    }
    for (size_t i = 0; i < SIZE; i++) {
        for (size_t j = 0; j < SIZE; j++) {
            wanted[i] += entry(i, j) * x[j];
        }
    }
    tour_row_real("x", x, SIZE);
    tour_row_real("matrix * x, in clear", wanted, SIZE);
    ckks_ct ct = tour_encrypt(&world, x, world.slots, SCALE);
    ckks_ct y = tour_ct(&world);
    int rotations = multiply_plainly(&world, &y, &ct);
    show(&world, "one by one", &y, rotations, wanted);
    rotations = multiply_bsgs(&world, &y, &ct);
    show(&world, "baby steps, giant steps", &y, rotations, wanted);
    printf("  128 diagonals: 127 rotations, or 15 + 7\n");
    ckks_ct_clear(&ct);
    ckks_ct_clear(&y);
    tour_world_clear(&world);
    return 0;
}
