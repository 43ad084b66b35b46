/* SPDX-License-Identifier: MIT
 * Encoding: how a vector of real numbers becomes a polynomial with integer
 * coefficients, so that a product of polynomials multiplies the vectors slot
 * by slot.
 *
 * First by hand for N = 8, then with the library's encoder.
 * Read along: ckks/encode.h, SPEC.md section 8.
 */
#include <math.h>
#include <stdio.h>

#include "apps/tour/tour.h"
#include "ntt/poly.h"

#define N 8
#define SLOTS (N / 2)

/* Slot j is the value at zeta^(5^j), zeta = e^(i*pi/8): half of the roots of
 * X^8 + 1; the other half are their conjugates and hold the conjugate values.
 */
static double angle(size_t j, size_t k)
{
    size_t power = 1;
    for (size_t i = 0; i < j; i++) {
        power = power * 5 % (2 * N);
    }
    return acos(-1.0) * (double)(power * k % (2 * N)) / N;
}

/* The real coefficients with the wanted values: the transform backwards. */
static void interpolate(double *coefficient, const double *slot)
{
    for (size_t k = 0; k < N; k++) {
        coefficient[k] = 0;
        for (size_t j = 0; j < SLOTS; j++) {
            coefficient[k] += 2.0 / N * slot[j] * cos(angle(j, k));
        }
    }
}

/* The real parts of the values at the roots of the slots. */
static void evaluate(double *slot, const double *coefficient)
{
    for (size_t j = 0; j < SLOTS; j++) {
        slot[j] = 0;
        for (size_t k = 0; k < N; k++) {
            slot[j] += coefficient[k] * cos(angle(j, k));
        }
    }
}

static double largest_difference(const double *a, const double *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs(a[i] - b[i]));
    }
    return most;
}

/* Coefficients are rounded to integers, so they are multiplied by a scale
 * before: what rounding takes away is at most N/2 units of 1/scale. */
static void show_by_hand(double scale)
{
    const double slot[SLOTS] = {1, 2, 3, 4};
    double exact[N], back[SLOTS];
    int64_t integer[N];
    interpolate(exact, slot);
    for (size_t k = 0; k < N; k++) {
        integer[k] = llround(scale * exact[k]);
    }
    printf("\nThe vector (1, 2, 3, 4) for N = 8 at scale %.0f\n", scale);
    tour_row_signed("integer coefficients", integer, N);
    for (size_t k = 0; k < N; k++) {
        exact[k] = (double)integer[k] / scale;
    }
    evaluate(back, exact);
    tour_row_real("values at the roots", back, SLOTS);
    const double error = largest_difference(back, slot, SLOTS);
    printf("  largest error %.5f\n", error);
    tour_check(error <= N / 2 / scale, "it is at most N/2 / scale");
}

/* One multiplication in the ring, 512 products. */
static void show_product(tour_world *world)
{
    tour_part("One product of polynomials multiplies 512 slots (four are "
              "shown)");
    const rlwe_context *context = world->context;
    const double a[4] = {1.5, -2, 3, 0.25};
    const double b[4] = {2, 2, -1, 8};
    double product[4], wanted[4];
    const size_t words = rlwe_level_words(context, 0);
    sotto_arena arena =
        sotto_arena_init(2 * sotto_arena_need(words, sizeof(uint64_t)));
    uint64_t *pa = sotto_arena_take(&arena, words, sizeof *pa);
    uint64_t *pb = sotto_arena_take(&arena, words, sizeof *pb);
    if (pa == NULL || pb == NULL) {
        tour_must(sotto_fail(&world->error, SOTTO_ERR_MEMORY, "no memory"),
                  &world->error);
    }
    tour_must(ckks_encode(world->encoder, context, pa, a, NULL, 4, 0x1p30, 0,
                          &world->arena, &world->error),
              &world->error);
    tour_must(ckks_encode(world->encoder, context, pb, b, NULL, 4, 0x1p20, 0,
                          &world->arena, &world->error),
              &world->error);
    poly_mul(context->ring, rlwe_level_set(context, 0), pa, pa, pb);
    /* Scales multiply: 2^30 * 2^20. */
    ckks_decode(world->encoder, context, product, NULL, 4, pa, 0x1p50, 0,
                &world->arena);
    for (size_t i = 0; i < 4; i++) {
        wanted[i] = a[i] * b[i];
    }
    tour_row_real("a", a, 4);
    tour_row_real("b", b, 4);
    tour_row_real("a * b", product, 4);
    const double error = largest_difference(product, wanted, 4);
    printf("  largest error 2^%.1f: the rounding of b at scale 2^20, times a\n",
           log2(error));
    tour_check(error < 0x1p-13, "four right products");
    sotto_arena_clear(&arena);
}

int main(void)
{
    tour_title(4, "Encoding");
    show_by_hand(16);
    show_by_hand(4096);
    printf("\n");
    tour_world world;
    tour_world_init(&world, 3, 40, 1, NULL, 0);
    show_product(&world);
    tour_world_clear(&world);
    return 0;
}
