/* SPDX-License-Identifier: MIT
 * The vectors of SPEC.md are what the library computes: each is made here,
 * written as SPEC.md writes it, and looked up there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "ckks/embed_internal.h"
#include "ckks/eval.h"
#include "nn/plan/plan.h"
#include "ntt/poly.h"
#include "ntt/prime.h"
#include "ntt/sample.h"
#include "rlwe/moduli.h"
#include "rlwe/wire.h"
#include "tests/support/check.h"
#include "tests/support/folder.h"

/* ---- The text ------------------------------------------------------------ */

static char *text; /* SPEC.md, spaces and line ends as single spaces */

static int setup(void **state)
{
    (void)state;
    uint8_t *data;
    size_t len;
    CHECK(sotto_file_read(&data, &len, "SPEC.md", (size_t)1 << 20, err));
    text = malloc(len + 1);
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        const bool space = data[i] == ' ' || data[i] == '\n';
        if (!space || (at > 0 && text[at - 1] != ' ')) {
            text[at++] = space ? ' ' : (char)data[i];
        }
    }
    text[at] = '\0';
    sotto_free(data);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(text);
    return 0;
}

/* Words of a vector, put together one by one. */
typedef struct words {
    char text[1024];
} words;

static void add(words *w, const char *format, ...) SOTTO_PRINTF(2, 3);

static void add(words *w, const char *format, ...)
{
    const size_t used = strlen(w->text);
    va_list args;
    va_start(args, format);
    const int n =
        vsnprintf(w->text + used, sizeof w->text - used, format, args);
    va_end(args);
    assert_in_range(n, 0, sizeof w->text - used - 1);
}

static void add_residues(words *w, const uint64_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add(w, "%s%" PRIu64, i ? " " : "", x[i]);
    }
}

static void add_small(words *w, const int8_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add(w, "%s%s%d", i ? " " : "", x[i] < 0 ? "−" : "", abs(x[i]));
    }
}

static void add_hex(words *w, const void *data, size_t len_bytes)
{
    char hex[2 * SOTTO_HASH_BYTES + 1];
    sotto_hex(hex, data, len_bytes);
    add(w, "%s", hex);
}

/* Asserts that the specification says this. */
static void said(const words *w)
{
    if (strstr(text, w->text) == NULL) {
        fail_msg("SPEC.md lacks: %s", w->text);
    }
}

/* ---- §4, §5 -------------------------------------------------------------- */

static void test_spec_ntt(void **state)
{
    (void)state;
    const ntt_ring ring = ntt_ring_init(3);
    ntt_table *table;
    CHECK(ntt_table_new(&table, &ring, 17, err));
    const ntt_kernels *k = ntt_kernels_portable();
    words w = {"N = 8, q = 17, ψ = "};
    add(&w, "%" PRIu64 "; forward table ", table->root);
    add_residues(&w, table->forward, 8);
    said(&w);

    uint64_t x[8] = {0, 1};
    k->forward(x, table);
    w = (words){"| X | "};
    add_residues(&w, x, 8);
    said(&w);

    uint64_t a[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    k->forward(a, table);
    w = (words){"| 1 + 2X + … + 8X^7 | "};
    add_residues(&w, a, 8);
    said(&w);

    uint32_t map[8];
    uint64_t turned[8], back[8];
    ntt_ring_automorphism(&ring, map, 5);
    k->permute(turned, a, map, 8);
    memcpy(back, turned, sizeof back);
    k->inverse(back, table, 1);
    w = (words){"| the same with X → X^5: "};
    add_residues(&w, back, 8);
    add(&w, " | ");
    add_residues(&w, turned, 8);
    said(&w);
    ntt_table_free(table);
}

static void test_spec_primes(void **state)
{
    (void)state;
    const ntt_ring ring = ntt_ring_init(13);
    uint64_t q[3];
    CHECK(ntt_prime_search(q, 3, &ring, 30, NULL, 0, err));
    words w = {"t = 30: "};
    add(&w, "%" PRIu64 " (ψ = %" PRIu64 "), %" PRIu64 ", %" PRIu64, q[0],
        ntt_prime_root(q[0], &ring), q[1], q[2]);
    said(&w);
}

/* A division of a constant polynomial: only coefficient 0 is not 0. */
static void divide_constant(uint64_t *out, const rns_ring *ring,
                            const rns_set *by, uint64_t x)
{
    const rns_set all = rns_set_range(0, 3);
    const rns_set keep = rns_set_minus(&all, by);
    rns_divider *divider;
    CHECK(rns_divider_new(&divider, ring, &keep, by, err));
    uint64_t *in = sotto_calloc(poly_words(ring, 3), sizeof *in);
    uint64_t *keep_in = sotto_calloc(poly_words(ring, 3), sizeof *in);
    uint64_t *by_in = sotto_calloc(poly_words(ring, 3), sizeof *in);
    uint64_t *scratch =
        sotto_calloc(rns_divide_scratch(divider, ring), sizeof *in);
    for (int i = 0; i < 3; i++) {
        poly_limb(ring, in, i)[0] = x % rns_modulus(ring, i)->q;
    }
    poly_forward(ring, &all, in);
    poly_select(ring, &keep, keep_in, &all, in);
    poly_select(ring, by, by_in, &all, in);
    rns_divide(divider, ring, keep_in, keep_in, by_in, scratch);
    poly_inverse(ring, &keep, keep_in);
    for (int i = 0; i < keep.count; i++) {
        out[i] = poly_limb(ring, keep_in, i)[0];
    }
    rns_divider_free(divider);
    sotto_free(in);
    sotto_free(keep_in);
    sotto_free(by_in);
    sotto_free(scratch);
}

static void test_spec_division(void **state)
{
    (void)state;
    const ntt_ring shape = ntt_ring_init(3);
    const uint64_t q[3] = {17, 97, 113};
    rns_ring *ring;
    CHECK(rns_ring_new(&ring, &shape, q, 3, NTT_BACKEND_IFMA, err));
    const uint64_t x = 50000;
    uint64_t one[2], two[1];
    const rns_set last = rns_set_range(2, 1);
    const rns_set last_two = rns_set_range(1, 2);
    divide_constant(one, ring, &last, x);
    divide_constant(two, ring, &last_two, x);
    words w = {"x = 50000 modulo 17, 97, 113"};
    add(&w, " divided by 113 is %" PRIu64 " %" PRIu64, one[0], one[1]);
    add(&w, " modulo 17, 97; by 97·113 it is %" PRIu64 " modulo 17", two[0]);
    said(&w);
    rns_ring_free(ring);
}

/* ---- §6 ------------------------------------------------------------------ */

static sotto_seed counting_seed(void)
{
    sotto_seed seed;
    for (size_t i = 0; i < SOTTO_SEED_BYTES; i++) {
        seed.bytes[i] = (uint8_t)i;
    }
    return seed;
}

static void test_spec_streams(void **state)
{
    (void)state;
    const sotto_seed root = counting_seed();
    sotto_seed derived;
    sotto_prf(&derived, &root, SOTTO_LABEL_UNIFORM, 5, 1, 2, 3);
    words w = {"PRF(root, UNIFORM, 5, 1, 2, 3) = `"};
    add_hex(&w, derived.bytes, sizeof derived.bytes);
    said(&w);

    const ntt_kernels *k = ntt_kernels_portable();
    const zq_modulus mod = zq_modulus_init(1073692673);
    uint64_t uniform[8];
    int8_t small[16];
    ntt_sample_uniform(uniform, 8, &root, &mod, k);
    w = (words){"uniform modulo 1073692673 begins "};
    add_residues(&w, uniform, 4);
    said(&w);
    ntt_sample_ternary(small, 16, &root, k);
    w = (words){"ternary "};
    add_small(&w, small, 16);
    said(&w);
    ntt_sample_error(small, 16, &root, k);
    w = (words){"error "};
    add_small(&w, small, 16);
    said(&w);
}

/* ---- §7 to §11: one small world ------------------------------------------ */

/* Everything is made from the root 00 01 … 1f. */
typedef struct spec_world {
    rlwe_context *context;
    ckks_encoder *encoder;
    rlwe_secret *secret;
    rlwe_keyset *keys;
    ckks_evaluator *ev;
    sotto_arena arena;
    sotto_seed root;
    ckks_ct ct; /* of values[] */
} spec_world;

static const double values[4] = {1, -2, 0.5, 3.25};
#define SCALE 0x1p+30
#define OBJECT 5
#define INDEX 1

static rlwe_params_literal small_literal(void)
{
    rlwe_params_literal p = {.log2_n = 10,
                             .n_moduli = 3,
                             .n_levels = 2,
                             .n_gadgets = 1,
                             .has_public = true,
                             .public_special = 2,
                             .allow_insecure = true};
    CHECK(rlwe_moduli_find(p.modulus, 10, (double[]){40, 32, 41}, 3, err));
    p.level[0] = rns_set_range(0, 2);
    p.level[1] = rns_set_range(0, 1);
    p.gadget[0] = (rlwe_gadget){.limbs = rns_set_range(0, 2),
                                .special = rns_set_range(2, 1),
                                .n_digits = 2,
                                .digit = {0, 1}};
    return p;
}

static spec_world world_open(void)
{
    spec_world w = {.root = counting_seed()};
    const rlwe_params_literal p = small_literal();
    rlwe_switch_key *key;
    CHECK(rlwe_context_new(&w.context, &p, err));
    CHECK(ckks_encoder_new(&w.encoder, w.context, err));
    CHECK(rlwe_secret_new(&w.secret, w.context, &w.root, err));
    CHECK(rlwe_switch_key_new(&key, w.context, w.secret,
                              (rlwe_key_target){RLWE_KEY_POWER, 2},
                              &p.gadget[0], &w.root, 0, err));
    CHECK(rlwe_keyset_new(&w.keys, w.context, &key, 1, err));
    CHECK(ckks_evaluator_new(&w.ev, w.context, w.keys, err));
    w.arena = sotto_arena_init(ckks_crypt_scratch(w.context));
    CHECK(ckks_ct_init(&w.ct, w.context, 0, 3, err));
    CHECK(ckks_encrypt(&w.ct, w.encoder, w.context, w.secret, values, 4, SCALE,
                       0, &w.root, OBJECT, INDEX, &w.arena, err));
    return w;
}

static void world_close(spec_world *w)
{
    ckks_ct_clear(&w->ct);
    sotto_arena_clear(&w->arena);
    ckks_evaluator_free(w->ev);
    rlwe_keyset_free(w->keys);
    rlwe_secret_free(w->secret, w->context);
    ckks_encoder_free(w->encoder);
    rlwe_context_free(w->context);
}

static void test_spec_parameters(void **state)
{
    (void)state;
    spec_world world = world_open();
    const rns_ring *ring = world.context->ring;
    words w = {"| moduli 0, 1, 2 (ψ) | "};
    for (int i = 0; i < 3; i++) {
        add(&w, "%s%" PRIu64 " (%" PRIu64 ")", i ? ", " : "",
            rns_modulus(ring, i)->q, ring->limb[i].table->root);
    }
    said(&w);
    w = (words){"| parameter id | `"};
    add_hex(&w, world.context->params.id, RLWE_ID_BYTES);
    said(&w);
    world_close(&world);
}

static void test_spec_encoding(void **state)
{
    (void)state;
    spec_world world = world_open();
    const rns_ring *ring = world.context->ring;
    const rns_set *set = rlwe_level_set(world.context, 0);
    double re, im;
    ckks_root(&re, &im, 1, 11);
    words w = {"| e^(2πi/2048) | "};
    add(&w, "%a, %a", re, im);
    said(&w);

    uint64_t *poly = sotto_calloc(poly_words(ring, 2), sizeof *poly);
    CHECK(ckks_encode(world.encoder, world.context, poly, values, NULL, 4,
                      SCALE, 0, &world.arena, err));
    w = (words){"| encoded, NTT values | "};
    add_residues(&w, poly_limb(ring, poly, 0), 3);
    add(&w, " …; ");
    add_residues(&w, poly_limb(ring, poly, 1), 3);
    said(&w);
    poly_inverse(ring, set, poly);
    w = (words){"| encoded, coefficients | "};
    for (int i = 0; i < 5; i++) {
        const int64_t c =
            zq_centre(poly_limb(ring, poly, 0)[i], rns_modulus(ring, 0)->q);
        add(&w, "%s%s%lld", i ? " " : "", c < 0 ? "−" : "", llabs(c));
    }
    said(&w);
    sotto_free(poly);

    uint64_t third[2], tie[2];
    CHECK(ckks_encode_constant(world.context, third, 1.0 / 3, SCALE, 0, err));
    CHECK(ckks_encode_constant(world.context, tie, -2.5, 1, 0, err));
    w = (words){"| constant 1/3 at 2^30; −2.5 at 1 | "};
    add(&w, "%" PRIu64 "; q − %" PRIu64, third[0],
        rns_modulus(ring, 0)->q - tie[0]);
    said(&w);
    world_close(&world);
}

static void test_spec_encryption(void **state)
{
    (void)state;
    spec_world world = world_open();
    words w = {"| key id | `"};
    add_hex(&w, world.secret->key_id, RLWE_KEY_ID_BYTES);
    said(&w);
    w = (words){"| secret | "};
    add_small(&w, world.secret->small, 16);
    said(&w);
    for (int c = 0; c < 2; c++) {
        const uint64_t *part =
            rlwe_ct_component(&world.ct.ct, world.context, c);
        w = (words){"| "};
        add(&w, "c_%d | ", c);
        add_residues(&w, poly_limb_const(world.context->ring, part, 0), 3);
        add(&w, " …; ");
        add_residues(&w, poly_limb_const(world.context->ring, part, 1), 3);
        said(&w);
    }
    world_close(&world);
}

/* Ends a file and looks up its SHA-256. */
static void file_said(sotto_output *out, const char *path, const char *name)
{
    CHECK(sotto_output_commit(out, err));
    uint8_t *data;
    size_t len;
    uint8_t digest[SOTTO_HASH_BYTES];
    CHECK(sotto_file_read(&data, &len, path, (size_t)1 << 20, err));
    sotto_sha256_of(digest, data, len);
    sotto_free(data);
    words w = {"| "};
    add(&w, "%s, %zu bytes | `", name, len);
    add_hex(&w, digest, sizeof digest);
    said(&w);
}

static sotto_output *create(const char *path)
{
    sotto_output *out;
    CHECK(sotto_output_open(&out, path, SOTTO_OUTPUT_PUBLIC, false, err));
    return out;
}

/* A file of one ciphertext. */
static void ct_said(const spec_world *w, const ckks_ct *ct, const char *path,
                    const char *name)
{
    rlwe_file_header header = rlwe_file_header_make(
        w->context, RLWE_FILE_CIPHERTEXT, w->secret->key_id, true);
    header.count = 4;
    sotto_output *out = create(path);
    uint8_t *scratch = sotto_calloc(rlwe_ct_record_max(w->context), 1);
    uint64_t scale_bits;
    memcpy(&scale_bits, &ct->scale, sizeof scale_bits);
    CHECK(rlwe_write_header(out, &header, err));
    CHECK(rlwe_write_ct(out, w->context, &ct->ct, scale_bits, 0, 0, scratch,
                        err));
    file_said(out, path, name);
    sotto_free(scratch);
}

static void test_spec_files(void **state)
{
    const test_folder *folder = *state;
    const char *path = folder_file(folder, "file");
    spec_world w = world_open();
    sotto_output *out = create(path);
    CHECK(rlwe_write_secret(out, w.context, w.secret, err));
    file_said(out, path, "secret key");

    rlwe_public *public_key;
    CHECK(rlwe_public_new(&public_key, w.context, w.secret, &w.root, err));
    out = create(path);
    CHECK(rlwe_write_public(out, w.context, public_key, err));
    file_said(out, path, "public key");
    rlwe_public_free(public_key);

    const rlwe_file_header header =
        rlwe_file_header_make(w.context, RLWE_FILE_EVAL, w.keys->key_id, true);
    out = create(path);
    CHECK(rlwe_write_header(out, &header, err));
    CHECK(rlwe_write_switch_key(out, w.context, w.keys->key[0], 0, err));
    file_said(out, path, "evaluation keys");

    ckks_ct square, result;
    CHECK(ckks_ct_init(&square, w.context, 0, 3, err));
    CHECK(ckks_ct_init(&result, w.context, 0, 3, err));
    ct_said(&w, &w.ct, path, "ciphertext");
    assert_int_equal(ckks_square(w.ev, &square, &w.ct), SOTTO_OK);
    ct_said(&w, &square, path, "its square");
    assert_int_equal(ckks_relinearise(w.ev, &result, &square), SOTTO_OK);
    ct_said(&w, &result, path, "relinearised");
    assert_int_equal(ckks_rescale(w.ev, &result, &result, 1), SOTTO_OK);
    ct_said(&w, &result, path, "then rescaled to level 1");
    assert_int_equal(ckks_relinearise_rescale(w.ev, &result, &square, 1),
                     SOTTO_OK);
    ct_said(&w, &result, path, "both at once");
    ckks_ct_clear(&square);
    ckks_ct_clear(&result);
    world_close(&w);
}

/* ---- §13 ----------------------------------------------------------------- */

/* The plan that §13 shows, from "sotto-plan" to the end of its id line, without
 * the indentation. */
static size_t example_plan(char *plan, const char *spec)
{
    const char *at = strstr(spec, "    sotto-plan 1\n    packing batch\n"
                                  "    images 1\n");
    assert_non_null(at);
    size_t n = 0;
    bool last = false;
    while (!last) {
        assert_memory_equal(at, "    ", 4);
        at += 4;
        last = strncmp(at, "id ", 3) == 0;
        while (*at != '\n') {
            plan[n++] = *at++;
        }
        plan[n++] = *at++;
    }
    return n;
}

static void test_spec_plan(void **state)
{
    (void)state;
    uint8_t *spec;
    size_t len;
    CHECK(sotto_file_read(&spec, &len, "SPEC.md", (size_t)1 << 20, err));
    char *shown = malloc(len + 1);
    const size_t shown_len = example_plan(shown, (const char *)spec);
    nn_plan *plan;
    char *written;
    CHECK(nn_plan_read(&plan, shown, shown_len, false, err));
    CHECK(nn_plan_write(&written, &len, plan, err));
    assert_int_equal(len, shown_len);
    assert_memory_equal(written, shown, len);
    sotto_free(written);
    sotto_free(plan);
    free(shown);
    sotto_free(spec);
}

static void test_spec_weights(void **state)
{
    (void)state;
    words w = {"0.3, 0.3125, −0.3125 become "};
    add(&w, "%d, %d, −%d", nn_plan_weight(0.3, 8), nn_plan_weight(0.3125, 8),
        -nn_plan_weight(-0.3125, 8));
    said(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec_ntt),
        cmocka_unit_test(test_spec_primes),
        cmocka_unit_test(test_spec_division),
        cmocka_unit_test(test_spec_streams),
        cmocka_unit_test(test_spec_parameters),
        cmocka_unit_test(test_spec_encoding),
        cmocka_unit_test(test_spec_encryption),
        IN_FOLDER(test_spec_files),
        cmocka_unit_test(test_spec_plan),
        cmocka_unit_test(test_spec_weights),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
