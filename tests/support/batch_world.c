/* SPDX-License-Identifier: MIT
 * Plans by hand; see batch_world.h.
 */
#include "tests/support/batch_world.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/check.h"
#include "tests/support/nn_reference.h"

/* ---- Networks ------------------------------------------------------------ */

static int add_conv(nn_graph *graph, const char *name, int x, size_t channels,
                    size_t maps, size_t stride, test_random *random)
{
    int id;
    float *weights = test_random_floats(random, maps * channels * 9, -0.4, 0.4);
    float *bias = test_random_floats(random, maps, -0.3, 0.3);
    const nn_conv conv = {.out_channels = maps,
                          .window = {.kernel = {3, 3},
                                     .stride = {stride, stride},
                                     .pad = {1, 1, 1, 1}},
                          .weights = weights,
                          .bias = bias};
    CHECK(nn_graph_conv(graph, &id, name, x, &conv, err));
    free(weights);
    free(bias);
    return id;
}

static int add_dense(nn_graph *graph, const char *name, int x, size_t n_in,
                     size_t n_out, test_random *random)
{
    int id;
    char flat[32];
    const nn_shape shape = {.rank = 1, .dim = {n_in}};
    float *weights = test_random_floats(random, n_in * n_out, -0.3, 0.3);
    float *bias = test_random_floats(random, n_out, -0.3, 0.3);
    (void)snprintf(flat, sizeof flat, "%s/flat", name);
    CHECK(nn_graph_reshape(graph, &id, flat, x, &shape, err));
    CHECK(nn_graph_dense(graph, &id, name, id, n_out, weights, bias, err));
    free(weights);
    free(bias);
    return id;
}

static int add_square(nn_graph *graph, const char *name, int x)
{
    int id;
    CHECK(nn_graph_unary(graph, &id, name, x, NN_OP_SQUARE, err));
    return id;
}

nn_graph *hand_net_plain(void)
{
    nn_graph *graph;
    test_random random = {42};
    const nn_shape shape = {.rank = 3, .dim = {1, 7, 7}};
    CHECK(nn_graph_new(&graph, "pixels", &shape, err));
    int x = add_conv(graph, "conv", 0, 1, 2, 2, &random);
    x = add_square(graph, "sq1", x);
    x = add_dense(graph, "dense1", x, 32, 6, &random);
    x = add_square(graph, "sq2", x);
    (void)add_dense(graph, "dense2", x, 6, 3, &random);
    return graph;
}

nn_graph *hand_net_wide(void)
{
    nn_graph *graph;
    test_random random = {45};
    const nn_shape shape = {.rank = 3, .dim = {3, 19, 17}};
    CHECK(nn_graph_new(&graph, "pixels", &shape, err));
    int x = add_conv(graph, "conv", 0, 3, 5, 2, &random);
    x = add_square(graph, "sq1", x);
    x = add_dense(graph, "dense1", x, 450, 7, &random);
    x = add_square(graph, "sq2", x);
    (void)add_dense(graph, "dense2", x, 7, 3, &random);
    return graph;
}

nn_graph *hand_net_residual(void)
{
    nn_graph *graph;
    test_random random = {43};
    const nn_shape shape = {.rank = 3, .dim = {1, 4, 4}};
    CHECK(nn_graph_new(&graph, "pixels", &shape, err));
    const int c = add_conv(graph, "conv1", 0, 1, 2, 1, &random);
    int x = add_square(graph, "sq1", c);
    x = add_conv(graph, "conv2", x, 2, 2, 1, &random);
    CHECK(nn_graph_binary(graph, &x, "join1", x, c, NN_OP_ADD, err));
    x = add_square(graph, "sq2", x);
    CHECK(nn_graph_binary(graph, &x, "join2", x, c, NN_OP_ADD, err));
    (void)add_dense(graph, "dense", x, 32, 3, &random);
    return graph;
}

nn_graph *hand_net_branches(void)
{
    nn_graph *graph;
    test_random random = {44};
    const nn_shape shape = {.rank = 3, .dim = {1, 4, 4}};
    CHECK(nn_graph_new(&graph, "pixels", &shape, err));
    const int c = add_conv(graph, "conv1", 0, 1, 2, 1, &random);
    int x = add_square(graph, "sq1", c);
    x = add_conv(graph, "conv2", x, 2, 2, 1, &random);
    CHECK(nn_graph_binary(graph, &x, "join", x, c, NN_OP_ADD, err));
    const int y = add_square(graph, "sq2", x);
    x = add_conv(graph, "conv3", c, 2, 1, 2, &random);
    const int both[] = {y, add_square(graph, "sq3", x)};
    const nn_shape flat[] = {{.rank = 1, .dim = {32}}, {.rank = 1, .dim = {4}}};
    int part[2];
    CHECK(nn_graph_reshape(graph, &part[0], "y", both[0], &flat[0], err));
    CHECK(nn_graph_reshape(graph, &part[1], "u", both[1], &flat[1], err));
    CHECK(nn_graph_concat(graph, &x, "all", part, 2, 0, err));
    (void)add_dense(graph, "dense", x, 36, 3, &random);
    return graph;
}

/* ---- Plans --------------------------------------------------------------- */

/* Scale and components of a step by the rules of plan.h, written again. */
static void derive_step(nn_plan *plan, const nn_network *network, size_t k)
{
    nn_plan_step *step = &plan->step[k];
    const nn_step *from = &network->steps[k];
    double scale = 0;
    int level = 0;
    int components = 2;
    if (from->kind == NN_STEP_AFFINE) {
        size_t n;
        const uint32_t *source = nn_affine_sources(from->affine, &n);
        for (size_t i = 0; i < n; i++) {
            const uint32_t t = source[i];
            const double s =
                t == 0 ? plan->input_scale : plan->step[t - 1].scale;
            const int l = t == 0 ? 0 : plan->step[t - 1].level;
            const int c = t == 0 ? 2 : plan->step[t - 1].n_components;
            scale = s > scale ? s : scale;
            level = l > level ? l : level;
            components =
                c > components && !step->relinearise_source ? c : components;
        }
        scale = ldexp(scale, step->weight_bits);
    } else {
        scale = plan->step[k - 1].scale * plan->step[k - 1].scale;
        level = plan->step[k - 1].level;
        components = 2 * plan->step[k - 1].n_components - 1;
    }
    for (int m = 0; m < plan->params.n_moduli; m++) {
        if (rns_set_find(&plan->params.level[level], m) >= 0 &&
            rns_set_find(&plan->params.level[step->level], m) < 0) {
            scale /= (double)plan->params.modulus[m];
        }
    }
    step->scale = scale;
    step->n_components = step->relinearise ? 2 : components;
}

static nn_plan *make_plan(const nn_network *network, const hand_spec *spec)
{
    nn_plan *plan = calloc(1, sizeof *plan);
    assert_non_null(plan);
    assert_true(network->n_steps <= HAND_MAX_STEPS);
    plan->packing = NN_PACKING_BATCH;
    plan->params = world_literal(&spec->params);
    plan->input_shape = network->input_shape;
    plan->input_scale = exp2(spec->input_bits);
    plan->input_max = 1;
    plan->n_inputs = network->n_inputs;
    plan->n_outputs = network->n_outputs;
    plan->n_steps = (int)network->n_steps;
    plan->confidence = 20;
    plan->he_noise_std = 0x1p-6;
    plan->he_error = 0x1p-3;
    for (size_t k = 0; k < network->n_steps; k++) {
        const hand_step *hand = &spec->step[k];
        nn_plan_step *step = &plan->step[k];
        step->kind = network->steps[k].kind;
        (void)snprintf(step->name, sizeof step->name, "%s",
                       network->steps[k].name);
        step->n_elements = network->steps[k].n_elements;
        step->weight_bits = hand->weight_bits;
        step->relinearise_source = hand->relinearise_source;
        step->relinearise = hand->relinearise;
        step->level = hand->level;
        step->range = 64;
        step->he_error = 0x1p-3;
        derive_step(plan, network, k);
    }
    for (int power = 2; power <= spec->params.max_power; power++) {
        plan->key[plan->n_keys].target.kind = RLWE_KEY_POWER;
        plan->key[plan->n_keys++].target.value = (uint64_t)power;
    }
    memset(plan->id, 7, sizeof plan->id);
    return plan;
}

/* ---- Worlds -------------------------------------------------------------- */

/* Weights and biases as the integers of the plan stand for them. */
static void round_group(void *arg, size_t step, nn_group *group)
{
    const batch_world *bw = arg;
    const nn_plan_product product =
        nn_plan_step_product(bw->plan, bw->network, step);
    for (size_t i = 0; i < group->n_inputs; i++) {
        const double factor = nn_plan_weight_scale(bw->plan, bw->network, step,
                                                   group->inputs[i].source);
        for (size_t r = 0; r < group->n_rows; r++) {
            double *w = &group->weights[r * group->n_inputs + i];
            *w = round(*w * factor) / factor;
        }
    }
    for (size_t r = 0; r < group->n_rows; r++) {
        group->biases[r] =
            round(group->biases[r] * product.scale) / product.scale;
    }
}

static void make_images(batch_world *bw, size_t n_images)
{
    test_random random = {77};
    const size_t n = n_images * bw->network->n_inputs;
    bw->n_images = n_images;
    bw->images = test_random_floats(&random, n, 0, 1);
    bw->expected =
        calloc(n_images * bw->network->n_outputs, sizeof *bw->expected);
    assert_non_null(bw->expected);
    const nn_run_hooks hooks = {.arg = bw, .group = round_group};
    /* Diagonals are rounded where HE errors are: no weights of their own. */
    const bool rounds = bw->plan->packing == NN_PACKING_BATCH;
    CHECK(nn_network_run(bw->network, NULL, bw->expected, bw->images, n_images,
                         rounds ? &hooks : NULL, err));
}

batch_world batch_world_new(nn_graph *graph, const hand_spec *spec,
                            size_t n_images)
{
    batch_world bw = {.graph = graph};
    CHECK(nn_network_new(&bw.network, graph, NULL, err));
    bw.plan = make_plan(bw.network, spec);
    bw.w = world_new(&spec->params, "batch world");
    make_images(&bw, n_images);
    return bw;
}

batch_world batch_world_planned(nn_graph *graph, nn_network *network,
                                nn_plan *plan, size_t n_images)
{
    batch_world bw = {.graph = graph, .network = network, .plan = plan};
    rlwe_switch_key *key[NN_PLAN_MAX_KEYS];
    sotto_seed_from_text(&bw.w.root, "planned world");
    CHECK(rlwe_context_new(&bw.w.context, &plan->params, err));
    CHECK(ckks_encoder_new(&bw.w.encoder, bw.w.context, err));
    CHECK(rlwe_secret_new(&bw.w.secret, bw.w.context, &bw.w.root, err));
    for (int i = 0; i < plan->n_keys; i++) {
        CHECK(rlwe_switch_key_new(&key[i], bw.w.context, bw.w.secret,
                                  plan->key[i].target,
                                  &plan->params.gadget[plan->key[i].gadget],
                                  &bw.w.root, (uint32_t)i, err));
    }
    CHECK(rlwe_keyset_new(&bw.w.keys, bw.w.context, key, plan->n_keys, err));
    if (plan->params.has_public) {
        CHECK(rlwe_public_new(&bw.w.public_key, bw.w.context, bw.w.secret,
                              &bw.w.root, err));
    }
    CHECK(ckks_evaluator_new(&bw.w.ev, bw.w.context, bw.w.keys, err));
    bw.w.arena = sotto_arena_init(ckks_crypt_scratch(bw.w.context));
    assert_non_null(bw.w.arena.base);
    bw.w.slots = (size_t)1 << (plan->params.log2_n - 1);
    const bool all = plan->packing == NN_PACKING_SINGLE;
    make_images(&bw, all || n_images < bw.w.slots ? n_images : bw.w.slots);
    return bw;
}

void batch_world_free(batch_world *bw)
{
    world_free(&bw->w);
    sotto_free(bw->plan);
    nn_network_free(bw->network);
    nn_graph_free(bw->graph);
    free(bw->images);
    free(bw->expected);
}

void batch_world_fill(batch_world *bw, nn_batch *batch)
{
    double *slots = world_vector(&bw->w);
    const size_t n_inputs = bw->plan->n_inputs;
    for (size_t p = 0; p < n_inputs; p++) {
        for (size_t i = 0; i < bw->n_images; i++) {
            slots[i] = (double)bw->images[i * n_inputs + p];
        }
        CHECK(ckks_encrypt(nn_batch_input(batch, p), bw->w.encoder,
                           bw->w.context, bw->w.secret, slots, bw->n_images,
                           bw->plan->input_scale, 0, &bw->w.root, 1000,
                           (uint32_t)p, &bw->w.arena, err));
    }
    free(slots);
}

/* Largest difference, and the largest deviation of one score over all images.
 */
static void compare(batch_world *bw, const nn_batch *batch, double *worst,
                    double *std)
{
    double *re = world_vector(&bw->w);
    const size_t n_outputs = bw->plan->n_outputs;
    *worst = 0;
    *std = 0;
    for (size_t o = 0; o < n_outputs; o++) {
        double sum = 0;
        world_decrypt(&bw->w, re, NULL, nn_batch_output(batch, o));
        for (size_t i = 0; i < bw->n_images; i++) {
            const double d = re[i] - bw->expected[i * n_outputs + o];
            *worst = fmax(*worst, fabs(d));
            sum += d * d;
        }
        *std = fmax(*std, sqrt(sum / (double)bw->n_images));
    }
    free(re);
}

static uint8_t *output_bytes(const batch_world *bw, const nn_batch *batch,
                             size_t *len_bytes)
{
    const ckks_ct *first = nn_batch_output(batch, 0);
    const size_t each = (size_t)first->ct.n_components *
                        rlwe_level_words(bw->w.context, first->ct.level) *
                        sizeof *first->ct.data;
    *len_bytes = bw->plan->n_outputs * each;
    uint8_t *bytes = malloc(*len_bytes);
    assert_non_null(bytes);
    for (size_t o = 0; o < bw->plan->n_outputs; o++) {
        memcpy(bytes + o * each, nn_batch_output(batch, o)->ct.data, each);
    }
    return bytes;
}

uint8_t *batch_world_run(batch_world *bw, int threads, size_t *len_bytes,
                         double *worst, double *std)
{
    nn_batch *batch;
    nn_control *control;
    double largest, deviation;
    sotto_pool *pool = sotto_pool_new(threads);
    const nn_run_options options = {.pool = pool};
    assert_non_null(pool);
    CHECK(nn_batch_new(&batch, bw->plan, bw->network, bw->w.context, bw->w.keys,
                       threads, err));
    CHECK(nn_control_new(&control, &options, nn_batch_work(batch), err));
    batch_world_fill(bw, batch);
    CHECK(nn_batch_run(batch, control, NULL, err));
    compare(bw, batch, &largest, &deviation);
    if (worst != NULL) {
        *worst = largest;
    }
    if (std != NULL) {
        *std = deviation;
    }
    uint8_t *bytes = output_bytes(bw, batch, len_bytes);
    nn_control_free(control);
    nn_batch_free(batch);
    sotto_pool_free(pool);
    return bytes;
}
