/* SPDX-License-Identifier: MIT
 * Known answers: SHA-256 of everything that a fixed seed makes, equal on every
 * backend, with every number of threads, and from every compiler.
 *
 * A digest changes only when SPEC.md changes. A failing test prints the new
 * one.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/pool.h"
#include "ckks/matrix.h"
#include "tests/support/ckks_world.h"

static const double log2_q[] = {46, 32, 33.5, 47, 45, 0};
static const char *const levels[] = {"abc", "bc", "c", NULL};
static const char *const steps[] = {"01", "12", "02", NULL};
static const char *const gadgets[] = {"abc|011|de", NULL};
static const int64_t rotations[] = {1, -5, 0};

/* What is hashed, in order. */
enum {
    ENCODED,
    CONSTANT,
    SECRET,
    PUBLIC_KEY,
    SWITCH_KEYS,
    ENCRYPTED,
    ENCRYPTED_PUBLIC,
    PRODUCT,
    RELINEARISED,
    RESCALED,
    JOINED,
    ROTATED,
    CONJUGATED,
    PLAIN_PRODUCT,
    MATRIX,
    DECODED,
    N_DIGESTS
};

static const char *const name[N_DIGESTS] = {"encoded",
                                            "constant",
                                            "secret key",
                                            "public key",
                                            "switch keys",
                                            "encrypted",
                                            "encrypted under the public key",
                                            "product",
                                            "relinearised",
                                            "rescaled",
                                            "relinearise_rescale",
                                            "rotated",
                                            "conjugated",
                                            "times plaintext",
                                            "matrix",
                                            "decoded"};

/* First 16 bytes of each digest in hexadecimal, for N = 2^10 and 2^13. */
static const char *const known[2][N_DIGESTS] = {
    {"033c6596000b6e72788a403139987188", "b4cbc31e6517a9e6c5ece7d093b874b8",
     "e3bf32103ba21d9eccbf415c13b66e90", "6126bc4e50896d3335a47bfa8fa1ffe8",
     "3b8f7892b3511dd66cca9c35f566cdb5", "4f778c2dbf0aebe98c5afe4364248377",
     "9039a7a80795b9cc1f18fcace4e6a99c", "adcad7489b692e1ff2e574d17f965c4f",
     "51a5d5b1217a2a4ff72193f8304ba7cf", "c9977ceb2068d241e14d755dc433513d",
     "3761a25ca3ea85006099f9d132770cf7", "f3e7da100f1871432e4a72cac5218e13",
     "1dd5c3b79b42a883caf96b5a9ba95b17", "55c59f31814e8771212bc33d92700f99",
     "d2fd42f6a223b8a4bd9e7b87c8f59ed8", "404dff1cd28e3cf5da546f9a8993c075"},
    {"ef5b5eba716d768bfc3b42db4a87e26e", "e5d022730f08a2879a23f83da6737950",
     "ca7d9dd386883c79500e6bd383432427", "d7a78d87187a679e1fbceeb6a995c7ff",
     "2446a3715639004463360439bc60721c", "d9fe047598810d91d4c4c300858e830c",
     "249ed0965b7cacb5c32c06db427ba68d", "98e4d4f9d416faa278f230cd93a729c3",
     "48ed4d6c1f4a832e9a8c6a83bcac3149", "9355d5f0a9ba6d871f742f706d17a9f0",
     "1871504d7fd6cc3400053c9abfb01d12", "28babe208d692a2e1f3d08a2acc11163",
     "78bb79f42d877eec6418f935c3486002", "53dd675d6bc0fdc0eb5a25e14cbf09f2",
     "ad75d7c573e2bacd8b1cc03bc1799a16", "19345442e46eae5a03fd9541de7e0d53"},
};

/* A digest of limbs without their padding. */
static void add_limbs(sotto_sha256 *hash, const world *w, const uint64_t *data,
                      int n_limbs)
{
    const rns_ring *ring = w->context->ring;
    for (int l = 0; l < n_limbs; l++) {
        sotto_sha256_update(hash, data + (size_t)l * ring->stride,
                            ring->ring.n * sizeof *data);
    }
}

static void add_ct(sotto_sha256 *hash, const world *w, const ckks_ct *ct)
{
    const int n_limbs = rlwe_level_set(w->context, ct->ct.level)->count;
    const uint8_t marks[] = {(uint8_t)ct->ct.level,
                             (uint8_t)ct->ct.n_components, ct->ct.seeded};
    sotto_sha256_update(hash, marks, sizeof marks);
    sotto_sha256_update(hash, &ct->scale, sizeof ct->scale);
    sotto_sha256_update(hash, ct->ct.key_id, RLWE_KEY_ID_BYTES);
    add_limbs(hash, w, ct->ct.data, n_limbs * ct->ct.n_components);
}

typedef struct digests {
    uint8_t of[N_DIGESTS][SOTTO_HASH_BYTES];
} digests;

static void finish_ct(digests *d, int which, const world *w, const ckks_ct *ct)
{
    sotto_sha256 hash;
    sotto_sha256_init(&hash);
    add_ct(&hash, w, ct);
    sotto_sha256_final(&hash, d->of[which]);
}

static void ok(const world *w, sotto_status status)
{
    if (status != SOTTO_OK) {
        fail_msg("%s", w->ev->error.text);
    }
}

static void hash_keys(digests *d, const world *w)
{
    sotto_sha256 hash;
    sotto_sha256_init(&hash);
    sotto_sha256_update(&hash, w->secret->key_id, RLWE_KEY_ID_BYTES);
    sotto_sha256_update(&hash, w->secret->small, w->context->ring->ring.n);
    add_limbs(&hash, w, w->secret->ntt, w->context->ring->n_limbs);
    sotto_sha256_final(&hash, d->of[SECRET]);
    sotto_sha256_init(&hash);
    add_limbs(&hash, w, w->public_key->b, w->public_key->set.count);
    add_limbs(&hash, w, w->public_key->a, w->public_key->set.count);
    sotto_sha256_final(&hash, d->of[PUBLIC_KEY]);
    sotto_sha256_init(&hash);
    for (int i = 0; i < w->keys->n_keys; i++) {
        const rlwe_switch_key *key = w->keys->key[i];
        add_limbs(&hash, w, key->data,
                  key->set.count * key->gadget.n_digits * 2);
    }
    sotto_sha256_final(&hash, d->of[SWITCH_KEYS]);
}

/* One matrix product spread over a pool, a task for each unit. */
typedef struct matrix_job {
    const world *w;
    ckks_ct *out[3];
    const ckks_ct *in[4];
    ckks_matrix matrix;
    uint64_t row_norm;
    int n_limbs;
    sotto_arena *arena; /* one for each worker */
} matrix_job;

static sotto_status matrix_task(void *arg, size_t task, int worker)
{
    matrix_job *job = arg;
    const size_t half = job->w->slots; /* half of the columns */
    const int limb = (int)(task / 2) % job->n_limbs;
    const int component = (int)(task / 2) / job->n_limbs;
    ckks_matrix_unit(job->w->context, job->out, job->in, &job->matrix,
                     job->row_norm, component, limb, task % 2 * half, half,
                     &job->arena[worker]);
    return SOTTO_OK;
}

static void hash_matrix(digests *d, world *w, const ckks_ct *a,
                        const ckks_ct *b, int threads)
{
    static const int32_t weight[] = {3,   -200, 77,  1, 0,  511,
                                     -64, 9,    -99, 5, 42, -7};
    static const double bias[] = {0.5, -1.25, 0.1};
    sotto_pool *pool = sotto_pool_new(threads);
    assert_non_null(pool);
    ckks_ct out[3];
    matrix_job job = {.w = w, .in = {a, b, b, a}, .n_limbs = 3};
    job.matrix = (ckks_matrix){.n_out = 3,
                               .n_in = 4,
                               .weight = weight,
                               .weight_scale = 300.25,
                               .bias = bias};
    job.row_norm = ckks_matrix_row_norm(&job.matrix);
    job.arena = calloc((size_t)threads, sizeof *job.arena);
    for (int i = 0; i < threads; i++) {
        job.arena[i] =
            sotto_arena_init(ckks_matrix_scratch(w->context, 4, 3, w->slots));
    }
    for (int o = 0; o < 3; o++) {
        out[o] = world_ct(w);
        job.out[o] = &out[o];
    }
    assert_int_equal(
        ckks_matrix_prepare(w->context, job.out, job.in, &job.matrix, NULL),
        SOTTO_OK);
    assert_int_equal(sotto_pool_run(pool, 12, matrix_task, &job), SOTTO_OK);
    sotto_sha256 hash;
    sotto_sha256_init(&hash);
    for (int o = 0; o < 3; o++) {
        add_ct(&hash, w, &out[o]);
        ckks_ct_clear(&out[o]);
    }
    sotto_sha256_final(&hash, d->of[MATRIX]);
    for (int i = 0; i < threads; i++) {
        sotto_arena_clear(&job.arena[i]);
    }
    free(job.arena);
    sotto_pool_free(pool);
}

static void hash_encoding(digests *d, world *w, const double *x,
                          const double *y)
{
    sotto_sha256 hash;
    const double scale = 1.77 * 0x1p+63;
    uint64_t *plain = sotto_calloc(rlwe_level_words(w->context, 0), 8);
    assert_int_equal(ckks_encode(w->encoder, w->context, plain, x, y, w->slots,
                                 scale, 0, &w->arena, NULL),
                     SOTTO_OK);
    sotto_sha256_init(&hash);
    add_limbs(&hash, w, plain, 3);
    sotto_sha256_final(&hash, d->of[ENCODED]);

    double *re = world_vector(w);
    double *im = world_vector(w);
    ckks_decode(w->encoder, w->context, re, im, w->slots, plain, scale, 0,
                &w->arena);
    sotto_sha256_init(&hash);
    sotto_sha256_update(&hash, re, w->slots * sizeof *re);
    sotto_sha256_update(&hash, im, w->slots * sizeof *im);
    sotto_sha256_final(&hash, d->of[DECODED]);
    free(re);
    free(im);
    sotto_free(plain);

    uint64_t residue[3];
    sotto_sha256_init(&hash);
    for (int e = 0; e < 100; e++) {
        assert_int_equal(ckks_encode_constant(
                             w->context, residue, e % 2 ? -1.0 / 3 : 0.7,
                             (double)(e + 1) * 0x1p+90 * (e % 7 ? 1 : 0x1p-80),
                             0, NULL),
                         SOTTO_OK);
        sotto_sha256_update(&hash, residue, sizeof residue);
    }
    sotto_sha256_final(&hash, d->of[CONSTANT]);
}

static void hash_evaluation(digests *d, world *w, const double *x,
                            const double *y, int threads)
{
    ckks_evaluator *ev = w->ev;
    ckks_ct a = world_encrypt(w, x, 1.3 * 0x1p+40, 0);
    ckks_ct b = world_encrypt(w, y, 1.3 * 0x1p+40, 0);
    ckks_ct square = world_ct(w);
    ckks_ct out = world_ct(w);
    finish_ct(d, ENCRYPTED, w, &a);
    assert_int_equal(ckks_encrypt_public(&out, w->encoder, w->context,
                                         w->public_key, x, w->slots, 0x1p+30, 1,
                                         &w->root, 77, 3, &w->arena, NULL),
                     SOTTO_OK);
    finish_ct(d, ENCRYPTED_PUBLIC, w, &out);
    ok(w, ckks_mul(ev, &square, &a, &b));
    finish_ct(d, PRODUCT, w, &square);
    ok(w, ckks_relinearise(ev, &out, &square));
    finish_ct(d, RELINEARISED, w, &out);
    ok(w, ckks_rescale(ev, &out, &square, 2));
    finish_ct(d, RESCALED, w, &out);
    ok(w, ckks_relinearise_rescale(ev, &out, &square, 1));
    finish_ct(d, JOINED, w, &out);
    ok(w, ckks_rotate(ev, &out, &a, -5));
    finish_ct(d, ROTATED, w, &out);
    ok(w, ckks_conjugate(ev, &out, &a));
    finish_ct(d, CONJUGATED, w, &out);
    uint64_t *plain = sotto_calloc(rlwe_level_words(w->context, 0), 8);
    assert_int_equal(ckks_encode(w->encoder, w->context, plain, y, x, w->slots,
                                 0x1p+21, 0, &w->arena, NULL),
                     SOTTO_OK);
    ok(w, ckks_mul_plain(ev, &out, &a, plain, 0x1p+21));
    ok(w, ckks_add_constant(ev, &out, &out, 0.3));
    finish_ct(d, PLAIN_PRODUCT, w, &out);
    hash_matrix(d, w, &a, &b, threads);
    sotto_free(plain);
    ckks_ct_clear(&a);
    ckks_ct_clear(&b);
    ckks_ct_clear(&square);
    ckks_ct_clear(&out);
}

static void make_digests(digests *d, int log2_n, ntt_backend cap, int threads)
{
    const world_spec spec = {.log2_n = log2_n,
                             .log2_q = log2_q,
                             .level = levels,
                             .step = steps,
                             .gadget = gadgets,
                             .public_special = 'd',
                             .rotation = rotations,
                             .conjugation = true,
                             .max_power = 2,
                             .has_cap = true,
                             .cap = cap};
    world w = world_new(&spec, "known answers");
    double *x = world_vector(&w);
    double *y = world_vector(&w);
    sotto_seed seed;
    sotto_stream stream;
    sotto_seed_from_text(&seed, "known data");
    sotto_stream_init(&stream, &seed);
    world_random(&stream, x, w.slots, 3);
    world_random(&stream, y, w.slots, 1);
    hash_keys(d, &w);
    hash_encoding(d, &w, x, y);
    hash_evaluation(d, &w, x, y, threads);
    free(x);
    free(y);
    world_free(&w);
}

static void check(int log2_n, int row, int cap, int threads)
{
    digests d;
    int wrong = 0;
    make_digests(&d, log2_n, (ntt_backend)cap, threads);
    for (int i = 0; i < N_DIGESTS; i++) {
        char text[2 * SOTTO_HASH_BYTES + 1];
        sotto_hex(text, d.of[i], 16);
        if (strcmp(text, known[row][i]) != 0) {
            print_message("# N = 2^%d, backend %d, %d threads: %s \"%s\"\n",
                          log2_n, cap, threads, name[i], text);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* A cap above what is built in or present gives the best there is. */
static const int n_caps = NTT_BACKEND_IFMA + 1;
static const int thread_counts[] = {1, 2, 7};

static void test_digests_small(void **state)
{
    (void)state;
    for (int cap = 0; cap < n_caps; cap++) {
        for (int t = 0; t < 3; t++) {
            check(10, 0, cap, thread_counts[t]);
        }
    }
}

static void test_digests_large(void **state)
{
    (void)state;
    for (int cap = 0; cap < n_caps; cap++) {
        check(13, 1, cap, thread_counts[cap % 3]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests_small),
        cmocka_unit_test(test_digests_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
