/* SPDX-License-Identifier: MIT
 * Writes the inputs that no text editor can: valid key and ciphertext files
 * for corpus/wire, a plan for corpus/plan. Run by make fuzz-corpus after a
 * change of a format; the same bytes each time.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "nn/plan/plan.h"
#include "rlwe/encrypt.h"
#include "rlwe/wire.h"
#include "tests/fuzz/support.h"

static sotto_error err;

static void must(sotto_status status)
{
    if (status != SOTTO_OK) {
        (void)fprintf(stderr, "make_corpus: %s\n", err.text);
        exit(1);
    }
}

static sotto_output *begin(const char *name)
{
    char path[256];
    sotto_output *out;
    (void)snprintf(path, sizeof path, "tests/fuzz/corpus/%s", name);
    must(sotto_output_open(&out, path, SOTTO_OUTPUT_PUBLIC, false, &err));
    return out;
}

static void write_keys(const rlwe_context *context, const rlwe_secret *secret,
                       const sotto_seed *root)
{
    sotto_output *out = begin("wire/secret");
    must(rlwe_write_secret(out, context, secret, &err));
    must(sotto_output_commit(out, &err));

    rlwe_public *public_key;
    must(rlwe_public_new(&public_key, context, secret, root, &err));
    out = begin("wire/public");
    must(rlwe_write_public(out, context, public_key, &err));
    must(sotto_output_commit(out, &err));
    rlwe_public_free(public_key);

    rlwe_switch_key *key;
    const rlwe_key_target square = {RLWE_KEY_POWER, 2};
    must(rlwe_switch_key_new(&key, context, secret, square,
                             &context->params.literal.gadget[0], root, 0,
                             &err));
    const rlwe_file_header header =
        rlwe_file_header_make(context, RLWE_FILE_EVAL, secret->key_id, true);
    out = begin("wire/eval");
    must(rlwe_write_header(out, &header, &err));
    must(rlwe_write_switch_key(out, context, key, 0, &err));
    must(sotto_output_commit(out, &err));
    rlwe_switch_key_free(key);
}

/* A seeded ciphertext, then one of three components, of the same key. */
static void write_ciphertexts(const rlwe_context *context,
                              const rlwe_secret *secret, const sotto_seed *root)
{
    rlwe_ct ct = {0}, large = {0};
    sotto_arena arena = sotto_arena_init(rlwe_encrypt_scratch(context));
    uint8_t *scratch = malloc(rlwe_ct_record_max(context));
    if (scratch == NULL || arena.base == NULL) {
        exit(1);
    }
    must(rlwe_ct_init(&ct, context, 0, 2, &err));
    must(rlwe_ct_init(&large, context, 0, 3, &err));
    must(rlwe_encrypt_zero(&ct, context, secret, 0, root, 1, 0, &arena, &err));
    must(rlwe_ct_copy(&large, context, &ct, &err));
    must(rlwe_ct_reshape(&large, context, 0, 3, &err));

    rlwe_file_header header = rlwe_file_header_make(
        context, RLWE_FILE_CIPHERTEXT, secret->key_id, true);
    header.count = 2;
    sotto_output *out = begin("wire/ciphertexts");
    must(rlwe_write_header(out, &header, &err));
    must(rlwe_write_ct(out, context, &ct, UINT64_C(0x4000000000000000), 0, 0,
                       scratch, &err));
    must(rlwe_write_ct(out, context, &large, UINT64_C(0x4000000000000000), 0, 1,
                       scratch, &err));
    must(sotto_output_commit(out, &err));
    rlwe_ct_clear(&ct);
    rlwe_ct_clear(&large);
    free(scratch);
    sotto_arena_clear(&arena);
}

/* The plan of a network of 4 inputs, 3 squared units and 2 scores. */
static void write_plan(const char *path, nn_packing packing)
{
    const nn_plan_options options = {.packing = packing};
    static const float weights[12] = {0.5f, -0.25f, 0.125f, 1.0f};
    const nn_shape shape = {1, {4}};
    nn_graph *graph;
    nn_network *network;
    nn_plan *plan;
    int node = 0;
    must(nn_graph_new(&graph, "image", &shape, &err));
    must(nn_graph_dense(graph, &node, "dense1", node, 3, weights, NULL, &err));
    nn_graph_set_range(graph, node, -4, 4);
    must(nn_graph_unary(graph, &node, "square", node, NN_OP_SQUARE, &err));
    must(nn_graph_dense(graph, &node, "dense2", node, 2, weights, NULL, &err));
    nn_graph_set_range(graph, node, -16, 16);
    must(nn_network_new(&network, graph, NULL, &err));
    must(nn_plan_make(&plan, network, &options, &err));

    char *text;
    size_t len_bytes;
    must(nn_plan_write(&text, &len_bytes, plan, &err));
    sotto_output *out = begin(path);
    must(sotto_output_write(out, text, len_bytes, &err));
    must(sotto_output_commit(out, &err));
    sotto_free(text);
    sotto_free(plan);
    nn_network_free(network);
    nn_graph_free(graph);
}

int main(void)
{
    const rlwe_context *context = fuzz_context();
    sotto_seed root;
    rlwe_secret *secret;
    sotto_seed_from_text(&root, "corpus");
    must(rlwe_secret_new(&secret, context, &root, &err));
    write_keys(context, secret, &root);
    write_ciphertexts(context, secret, &root);
    rlwe_secret_free(secret, context);
    write_plan("plan/small", NN_PACKING_BATCH);
    write_plan("plan/single", NN_PACKING_SINGLE);
    return 0;
}
