/* SPDX-License-Identifier: MIT
 * A convolution and a square on an encrypted picture: the edges of a disc.
 *
 * The picture lies in the slots row by row. A 3 x 3 convolution is nine
 * rotations, each times a constant; the neighbour one row down is 16 slots
 * away. gx^2 + gy^2 of the two Sobel filters is large where there is an edge.
 * A layer of a network is the same with more maps (nn/single/, nn/batch/).
 */
#include <math.h>
#include <stdio.h>

#include "apps/tour/tour.h"

#define SIDE 16
#define PIXELS (SIDE * SIDE)
#define SCALE 0x1p34

/* Horizontal and vertical change. */
static const double sobel[2][3][3] = {{{-1, 0, 1}, {-2, 0, 2}, {-1, 0, 1}},
                                      {{-1, -2, -1}, {0, 0, 0}, {1, 2, 1}}};

/* A disc with an empty frame: what a rotation carries over the end of a row
 * is then zero. */
static void draw(double *pixel)
{
    for (int i = 0; i < PIXELS; i++) {
        const double y = i / SIDE - 7.5, x = i % SIDE - 7.5;
        pixel[i] = x * x + y * y < 27 ? 1 : 0;
    }
}

static void print_picture(const char *title, const double *pixel, double most)
{
    static const char shade[] = " .:-=+*#%@";
    printf("\n%s\n", title);
    for (int y = 0; y < SIDE; y++) {
        printf("    |");
        for (int x = 0; x < SIDE; x++) {
            const double v = pixel[y * SIDE + x] / most * 9;
            const int s = (int)fmin(9, fmax(0, round(v)));
            printf("%c%c", shade[s], shade[s]);
        }
        printf("|\n");
    }
}

/* The same in clear. */
static double plain_edge(const double *pixel, int at)
{
    double sum = 0;
    for (int f = 0; f < 2; f++) {
        double g = 0;
        for (int dy = -1; dy <= 1; dy++) {
            for (int dx = -1; dx <= 1; dx++) {
                const int i = at + dy * SIDE + dx;
                if (i >= 0 && i < PIXELS) {
                    g += sobel[f][dy + 1][dx + 1] * pixel[i];
                }
            }
        }
        sum += g * g;
    }
    return sum;
}

/* out = sum of weight * (in rotated to each neighbour); weights at scale 1:
 * they are small integers, so that no level is spent. */
static void convolve(tour_world *world, ckks_ct *out, const ckks_ct *turned,
                     int filter)
{
    ckks_evaluator *ev = world->evaluator;
    ckks_ct term = tour_ct(world);
    for (int i = 0; i < 9; i++) {
        const double weight = sobel[filter][i / 3][i % 3];
        tour_must(
            ckks_mul_constant(ev, i == 0 ? out : &term, &turned[i], weight, 1),
            &ev->error);
        if (i > 0) {
            tour_must(ckks_add(ev, out, out, &term), &ev->error);
        }
    }
    ckks_ct_clear(&term);
}

/* Nine rotations serve both filters. */
static ckks_ct edges(tour_world *world, const ckks_ct *picture)
{
    ckks_evaluator *ev = world->evaluator;
    ckks_ct turned[9], *out[9], g[2];
    int64_t steps[9];
    for (int i = 0; i < 9; i++) {
        turned[i] = tour_ct(world);
        out[i] = &turned[i];
        steps[i] = (i / 3 - 1) * SIDE + i % 3 - 1;
    }
    /* Hoisting: the picture's digits are lifted once for all nine. */
    sotto_arena arena = sotto_arena_init(ckks_rotate_many_scratch(ev));
    tour_must(ckks_rotate_many(ev, out, picture, steps, 9, &arena), &ev->error);
    sotto_arena_clear(&arena);
    for (int f = 0; f < 2; f++) {
        g[f] = tour_ct(world);
        convolve(world, &g[f], turned, f);
        tour_must(ckks_square(ev, &g[f], &g[f]), &ev->error);
    }
    tour_must(ckks_add(ev, &g[0], &g[0], &g[1]), &ev->error);
    /* One relinearisation and one division for both squares. */
    tour_must(ckks_relinearise_rescale(ev, &g[0], &g[0], 1), &ev->error);
    for (int i = 0; i < 9; i++) {
        ckks_ct_clear(&turned[i]);
    }
    ckks_ct_clear(&g[1]);
    return g[0];
}

int main(void)
{
    tour_title(8, "A convolution");
    const int64_t steps[] = {-17, -16, -15, -1, 1, 15, 16, 17};
    tour_world world;
    tour_world_init(&world, 3, 38, 2, steps, 8);
    double pixel[PIXELS], edge[PIXELS], worst = 0;
    draw(pixel);
    print_picture("The picture that the client encrypts", pixel, 1);
    ckks_ct ct = tour_encrypt(&world, pixel, PIXELS, SCALE);
    ckks_ct result = edges(&world, &ct);
    const double noise = tour_decrypt(&world, edge, PIXELS, &result);
    print_picture("Its edges, computed on the ciphertext", edge, 21);
    for (int i = 0; i < PIXELS; i++) {
        worst = fmax(worst, fabs(edge[i] - plain_edge(pixel, i)));
    }
    printf("\n  noise 2^%.1f, largest error 2^%.1f\n", log2(noise),
           log2(worst));
    tour_check(worst < 20 * noise, "all 256 pixels are as in clear");
    ckks_ct_clear(&ct);
    ckks_ct_clear(&result);
    tour_world_clear(&world);
    return 0;
}
