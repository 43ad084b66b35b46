/* SPDX-License-Identifier: MIT
 * What hoisting, baby steps and giant steps, and the number of digits are
 * worth: a linear map of 64 diagonals, done in every way, and one rotation,
 * under keys of dnum 1 … all limbs. One thread, the best backend, N = 16384:
 * six limbs and as many special moduli satisfy the security table, so that
 * dnum 1 is possible.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/parts.h"
#include "bench/world.h"
#include "ckks/lintrans.h"
#include "rlwe/moduli.h"

#define LOG2_N 14
#define LIMBS 6
#define DIAGONALS 64
#define WIDTH 8 /* baby steps of one giant step */
#define SCALE 0x1p35
#define MAX_KEYS 128

static const int dnums[] = {1, 2, 3, 6};
/* COMMON: where the ways to do the map are compared. */
enum { N_DNUMS = sizeof dnums / sizeof dnums[0], COMMON = 2 };

/* Ways to do the map with ckks_lintrans. */
typedef struct way {
    const char *name;
    ckks_hoisting hoisting;
    int64_t width; /* baby steps of one giant step; 0: chosen */
} way;

static const way ways[] = {
    {"8x8 hoisted", CKKS_HOIST_SINGLE, WIDTH},
    {"8x8 double-hoisted", CKKS_HOIST_DOUBLE, WIDTH},
    {"64x1 hoisted", CKKS_HOIST_SINGLE, DIAGONALS},
    {"64x1 double-hoisted", CKKS_HOIST_DOUBLE, DIAGONALS},
    {"chosen", CKKS_HOIST_AUTO, 0},
};
enum { N_WAYS = sizeof ways / sizeof ways[0] };

/* Parameters, and keys of one gadget with their evaluator. */
typedef struct lab {
    rlwe_params_literal literal;
    rlwe_context *context;
    rlwe_secret *secret;
    ckks_encoder *encoder;
    rlwe_keyset *keys;
    ckks_evaluator *ev;
    sotto_arena arena;
    sotto_seed root;
    int gadget;
    ckks_ct in, turned, term, sum, out;
    ckks_ct baby[WIDTH];
    uint64_t *plain[DIAGONALS];
} lab;

/* One measurement: a map under the keys of a lab. */
typedef struct task {
    lab *lab;
    ckks_lintrans *map;
    char note[64];
} task;

static void *take(size_t count, size_t size)
{
    sotto_error err = {"out of memory"};
    void *data = sotto_calloc(count, size);
    world_must(data != NULL ? SOTTO_OK : SOTTO_ERR_MEMORY, &err);
    return data;
}

/* ---- Parameters and keys ------------------------------------------------- */

/* Digits of LIMBS / dnum limbs, divided by as many special moduli. */
static rlwe_params_literal make_literal(void)
{
    rlwe_params_literal p = {.log2_n = LOG2_N,
                             .n_moduli = 2 * LIMBS,
                             .n_levels = 2,
                             .n_gadgets = N_DNUMS};
    sotto_error err = {""};
    double target[2 * LIMBS];
    for (int i = 0; i < 2 * LIMBS; i++) {
        target[i] = i < LIMBS ? 35 : 36;
    }
    world_must(rlwe_moduli_find(p.modulus, p.log2_n, target, p.n_moduli, &err),
               &err);
    p.level[0] = rns_set_range(0, LIMBS);
    p.level[1] = rns_set_range(0, LIMBS - 1);
    for (int g = 0; g < N_DNUMS; g++) {
        const int each = LIMBS / dnums[g];
        p.gadget[g].limbs = p.level[0];
        p.gadget[g].special = rns_set_range(LIMBS, each);
        p.gadget[g].n_digits = dnums[g];
        for (int i = 0; i < LIMBS; i++) {
            p.gadget[g].digit[i] = (uint8_t)(i / each);
        }
    }
    return p;
}

/* Evaluator with the keys of `steps`. */
static void make_keys(lab *l, const int64_t *steps, size_t n)
{
    sotto_error err = {""};
    rlwe_switch_key *key[MAX_KEYS];
    for (size_t i = 0; i < n; i++) {
        const rlwe_key_target target = {
            RLWE_KEY_GALOIS,
            ntt_ring_rotation(&l->context->ring->ring, steps[i])};
        world_must(rlwe_switch_key_new(&key[i], l->context, l->secret, target,
                                       &l->literal.gadget[l->gadget], &l->root,
                                       (uint32_t)i, &err),
                   &err);
    }
    world_must(rlwe_keyset_new(&l->keys, l->context, key, (int)n, &err), &err);
    world_must(ckks_evaluator_new(&l->ev, l->context, l->keys, &err), &err);
}

/* Smooth values that no diagonal shares with another. */
static void fill_diagonal(void *arg, size_t index, double *slot)
{
    const lab *l = arg;
    const size_t slots = l->context->ring->ring.n / 2;
    for (size_t j = 0; j < slots; j++) {
        slot[j] = (double)((index + 3) * (j + 5) % 1009) / 1009 - 0.5;
    }
}

static void make_plains(lab *l)
{
    sotto_error err = {""};
    const size_t slots = l->context->ring->ring.n / 2;
    double *slot = take(slots, sizeof *slot);
    for (size_t i = 0; i < DIAGONALS; i++) {
        l->plain[i] = take(rlwe_level_words(l->context, 0), sizeof(uint64_t));
        fill_diagonal(l, i, slot);
        world_must(ckks_encode(l->encoder, l->context, l->plain[i], slot, NULL,
                               slots, SCALE, 0, &l->arena, &err),
                   &err);
    }
    world_must(ckks_encrypt(&l->in, l->encoder, l->context, l->secret, slot,
                            slots, SCALE, 0, &l->root, 1, 0, &l->arena, &err),
               &err);
    sotto_free(slot);
}

static void open_lab(lab *l, int gadget, const int64_t *steps, size_t n)
{
    sotto_error err = {""};
    *l = (lab){.literal = make_literal(), .gadget = gadget};
    sotto_seed_from_text(&l->root, "bench");
    world_must(rlwe_context_new(&l->context, &l->literal, &err), &err);
    world_must(rlwe_secret_new(&l->secret, l->context, &l->root, &err), &err);
    world_must(ckks_encoder_new(&l->encoder, l->context, &err), &err);
    l->arena = sotto_arena_init(ckks_crypt_scratch(l->context));
    ckks_ct *const ct[] = {&l->in, &l->turned, &l->term, &l->sum, &l->out};
    for (size_t i = 0; i < sizeof ct / sizeof ct[0]; i++) {
        world_must(ckks_ct_init(ct[i], l->context, 0, 2, &err), &err);
    }
    for (int i = 0; i < WIDTH; i++) {
        world_must(ckks_ct_init(&l->baby[i], l->context, 0, 2, &err), &err);
    }
    make_plains(l);
    make_keys(l, steps, n);
}

static void close_lab(lab *l)
{
    ckks_ct *const ct[] = {&l->in, &l->turned, &l->term, &l->sum, &l->out};
    for (size_t i = 0; i < sizeof ct / sizeof ct[0]; i++) {
        ckks_ct_clear(ct[i]);
    }
    for (int i = 0; i < WIDTH; i++) {
        ckks_ct_clear(&l->baby[i]);
    }
    for (size_t i = 0; i < DIAGONALS; i++) {
        sotto_free(l->plain[i]);
    }
    sotto_arena_clear(&l->arena);
    ckks_evaluator_free(l->ev);
    rlwe_keyset_free(l->keys);
    ckks_encoder_free(l->encoder);
    rlwe_secret_free(l->secret, l->context);
    rlwe_context_free(l->context);
}

/* ---- Maps ---------------------------------------------------------------- */

/* The map in one way, under the keys of the lab. */
static ckks_lintrans *make_map(lab *l, const way *how)
{
    sotto_error err = {""};
    static ckks_diagonal diagonal[DIAGONALS];
    int64_t giant[DIAGONALS];
    const double in_scale = SCALE;
    for (int64_t i = 0; i < DIAGONALS; i++) {
        diagonal[i] = (ckks_diagonal){.rotation = i};
        giant[i] = how->width > 0 ? i / how->width * how->width : 0;
    }
    ckks_lintrans_spec spec = {.n_in = 1,
                               .n_out = 1,
                               .n_diagonals = DIAGONALS,
                               .diagonal = diagonal,
                               .giant = how->width > 0 ? giant : NULL,
                               .fill = fill_diagonal,
                               .arg = l,
                               .from = 0,
                               .to = 1,
                               .in_scale = &in_scale,
                               .out_scale = SCALE,
                               .gadget = l->gadget,
                               .hoisting = how->hoisting};
    ckks_lintrans *map;
    world_must(ckks_lintrans_new(&map, l->encoder, l->context, &spec, &err),
               &err);
    return map;
}

static void run_map(void *arg)
{
    task *t = arg;
    lab *l = t->lab;
    ckks_ct *const out[] = {&l->out};
    const ckks_ct *const in[] = {&l->in};
    world_must(ckks_lintrans_apply(t->map, l->ev, out, in, NULL, &l->arena),
               &l->ev->error);
}

static void run_rotation(void *arg)
{
    lab *l = ((task *)arg)->lab;
    world_must(ckks_rotate(l->ev, &l->out, &l->in, 1), &l->ev->error);
}

/* sum (+)= ct · plain */
static void add_product(lab *l, ckks_ct *sum, const ckks_ct *ct,
                        const uint64_t *plain, bool first)
{
    ckks_ct *product = first ? sum : &l->term;
    world_must(ckks_mul_plain(l->ev, product, ct, plain, SCALE), &l->ev->error);
    if (!first) {
        world_must(ckks_add(l->ev, sum, sum, product), &l->ev->error);
    }
}

/* A rotation for each diagonal. */
static void run_one_by_one(void *arg)
{
    lab *l = ((task *)arg)->lab;
    for (int i = 0; i < DIAGONALS; i++) {
        world_must(ckks_rotate(l->ev, &l->turned, &l->in, i), &l->ev->error);
        add_product(l, &l->sum, &l->turned, l->plain[i], i == 0);
    }
    world_must(ckks_rescale(l->ev, &l->out, &l->sum, 1), &l->ev->error);
}

/* Baby and giant steps by rotations as they are. The diagonals are not turned
 * back: another map of the same shape. */
static void run_not_hoisted(void *arg)
{
    lab *l = ((task *)arg)->lab;
    for (int b = 0; b < WIDTH; b++) {
        world_must(ckks_rotate(l->ev, &l->baby[b], &l->in, b), &l->ev->error);
    }
    for (int g = 0; g < DIAGONALS; g += WIDTH) {
        ckks_ct *inner = g == 0 ? &l->sum : &l->turned;
        for (int b = 0; b < WIDTH; b++) {
            add_product(l, inner, &l->baby[b], l->plain[g + b], b == 0);
        }
        if (g > 0) {
            world_must(ckks_rotate(l->ev, inner, inner, g), &l->ev->error);
            world_must(ckks_add(l->ev, &l->sum, &l->sum, inner), &l->ev->error);
        }
    }
    world_must(ckks_rescale(l->ev, &l->out, &l->sum, 1), &l->ev->error);
}

/* ---- Measurements -------------------------------------------------------- */

static bench_case case_of(const char *name, void (*run)(void *arg), task *t)
{
    return (bench_case){.name = name,
                        .backend = t->lab->context->ring->limb[0].kernels.name,
                        .log2_n = LOG2_N,
                        .limbs = LIMBS,
                        .note = t->note,
                        .run = run,
                        .arg = t};
}

/* All ways to do the map, dnum 3. */
static void measure_ways(bench *b)
{
    int64_t steps[DIAGONALS - 1];
    for (int i = 0; i < DIAGONALS - 1; i++) {
        steps[i] = i + 1;
    }
    lab *l = take(1, sizeof *l);
    open_lab(l, COMMON, steps, DIAGONALS - 1);
    static task t[N_WAYS + 2];
    bench_case c[N_WAYS + 2];
    size_t room = 0;
    (void)snprintf(t[0].note, sizeof t[0].note, "one by one, 63 keys");
    (void)snprintf(t[1].note, sizeof t[1].note, "8x8 not hoisted, 14 keys");
    for (int i = 0; i < N_WAYS + 2; i++) {
        t[i].lab = l;
        if (i >= 2) {
            t[i].map = make_map(l, &ways[i - 2]);
            const size_t keys = ckks_lintrans_rotations(t[i].map, NULL, 0);
            (void)snprintf(t[i].note, sizeof t[i].note, "%s, %zu keys",
                           ways[i - 2].name, keys);
            const size_t needed = ckks_lintrans_scratch(t[i].map, 1);
            room = needed > room ? needed : room;
        }
        c[i] = case_of("linear_map",
                       i == 0   ? run_one_by_one
                       : i == 1 ? run_not_hoisted
                                : run_map,
                       &t[i]);
        c[i].against[0] = (bench_against){0, i > 0 ? "one_by_one" : NULL};
    }
    sotto_arena_clear(&l->arena);
    l->arena = sotto_arena_init(room);
    bench_group(b, c, N_WAYS + 2, NULL);
    for (int i = 2; i < N_WAYS + 2; i++) {
        ckks_lintrans_free(t[i].map);
    }
    close_lab(l);
    sotto_free(l);
}

/* A rotation and the double-hoisted map under every dnum. */
static void measure_digits(bench *b)
{
    int64_t steps[2 * (WIDTH - 1)];
    for (int i = 1; i < WIDTH; i++) {
        steps[2 * i - 2] = i;
        steps[2 * i - 1] = WIDTH * i;
    }
    lab *l = take(N_DNUMS, sizeof *l);
    static task t[2][N_DNUMS];
    bench_case c[2][N_DNUMS];
    for (int g = 0; g < N_DNUMS; g++) {
        open_lab(&l[g], g, steps, 2 * (WIDTH - 1));
        for (int k = 0; k < 2; k++) {
            t[k][g].lab = &l[g];
            (void)snprintf(t[k][g].note, sizeof t[k][g].note, "%s, dnum %d",
                           k == 0 ? "rotation" : ways[1].name, dnums[g]);
            c[k][g] = case_of(k == 0 ? "rotate" : "linear_map",
                              k == 0 ? run_rotation : run_map, &t[k][g]);
        }
        t[1][g].map = make_map(&l[g], &ways[1]);
        sotto_arena_clear(&l[g].arena);
        l[g].arena = sotto_arena_init(ckks_lintrans_scratch(t[1][g].map, 1));
    }
    bench_group(b, c[0], N_DNUMS, NULL);
    bench_group(b, c[1], N_DNUMS, NULL);
    for (int g = 0; g < N_DNUMS; g++) {
        ckks_lintrans_free(t[1][g].map);
        close_lab(&l[g]);
    }
    sotto_free(l);
}

void bench_hoisting(bench *b)
{
    if (bench_wants(b, "linear_map") || bench_wants(b, "rotate")) {
        measure_ways(b);
        measure_digits(b);
    }
}
