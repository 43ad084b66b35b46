/* SPDX-License-Identifier: MIT
 * A small CKKS world for tests: parameters written in one line, keys from a
 * fixed seed, an evaluator, and random data.
 *
 * Moduli are named by letters, 'a' being id 0, so that sets read like words:
 * the level "bc" lacks modulus 'a'.
 */
#ifndef SOTTO_TESTS_SUPPORT_CKKS_WORLD_H
#define SOTTO_TESTS_SUPPORT_CKKS_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "ckks/encode.h"
#include "ckks/eval.h"

/* What a world is made from. Zeroed fields: nothing of the kind. */
typedef struct world_spec {
    int log2_n;
    const double *log2_q;      /* sizes of the moduli, ended by 0 */
    const char *const *level;  /* ended by NULL */
    const char *const *step;   /* "01": from level 0 to 1; NULL: defaults */
    const char *const *gadget; /* "limbs|digits|special", ended by NULL */
    char public_special;       /* letter; 0: no public key */
    const int64_t *rotation;   /* ended by 0 */
    bool conjugation;
    int max_power; /* relinearisation keys for 2 … max_power */
    bool has_cap;  /* backend cap instead of the environment's … */
    ntt_backend cap;
} world_spec;

typedef struct world {
    rlwe_context *context;
    ckks_encoder *encoder;
    rlwe_secret *secret;
    rlwe_public *public_key;
    rlwe_keyset *keys;
    ckks_evaluator *ev;
    sotto_arena arena;
    sotto_seed root;
    uint64_t object; /* next unused encryption stream */
    size_t slots;
} world;

/* Moduli of these sizes, levels, steps and gadgets; insecure allowed. */
rlwe_params_literal world_literal(const world_spec *spec);

/* Makes everything; the seed text gives all keys. Every key is made under
 * every gadget. Asserts success. */
world world_new(const world_spec *spec, const char *seed);

/* Frees everything. */
void world_free(world *w);

/* The set of a word such as "acd". */
rns_set world_set(const char *word);

/* A ciphertext with room for five components at level 0. */
ckks_ct world_ct(const world *w);

/* Encrypts slots symmetrically. */
ckks_ct world_encrypt(world *w, const double *x, double scale, int level);

/* Decrypts all slots; im may be NULL. */
void world_decrypt(world *w, double *re, double *im, const ckks_ct *ct);

/* The largest difference of the real parts from `expected`. */
double world_error(world *w, const ckks_ct *ct, const double *expected);

/* Fresh memory for the slots of one vector; free with free. */
double *world_vector(const world *w);

/* Uniform random numbers in [-bound, bound]. */
void world_random(sotto_stream *stream, double *x, size_t n, double bound);

#endif
