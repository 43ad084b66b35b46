/* SPDX-License-Identifier: MIT
 * Everything that operations on ciphertexts need, for one backend.
 */
#ifndef SOTTO_BENCH_WORLD_H
#define SOTTO_BENCH_WORLD_H

#include <stdint.h>

#include "base/mem.h"
#include "ckks/eval.h"
#include "rlwe/wire.h"

/* Limbs of the lowest level: what results of networks have. */
#define WORLD_LOW_LIMBS 2

/* Sizes of a parameter set. */
typedef struct world_size {
    int log2_n;
    int limbs; /* of level 0 */
    double bits;
    int special; /* moduli */
    double special_bits;
    int n_digits;
} world_size;

typedef struct world {
    const char *backend;
    rlwe_params_literal literal;
    rlwe_context *context;
    rlwe_secret *secret;
    rlwe_keyset *keys; /* s², one step, conjugation */
    ckks_encoder *encoder;
    ckks_evaluator *ev;
    sotto_arena arena;
    sotto_seed root;
    uint64_t *plain; /* values, encoded */
    double *values, *decrypted;
    size_t slots;
    double scale;
    ckks_ct fresh, low, product, out, read;
    uint32_t count;  /* of encryptions */
    uint8_t *record; /* fresh, serialised */
    rlwe_raw_ct raw; /* the same as read from a file */
    rlwe_file_reader *reader;
} world;

/* Ends the program with the message unless the status is SOTTO_OK. */
void world_must(sotto_status status, const sotto_error *err);

/* "$TMPDIR/sotto-bench-XXXXXX" for mkstemp and mkdtemp; /tmp by default. */
void world_temporary(char *path, size_t cap_bytes);

/* The parameters of a size: level 0, one limb less, WORLD_LOW_LIMBS. */
rlwe_params_literal world_literal(const world_size *size);

/* Opens a world of this size for each backend that the machine has up to the
 * best wanted, portable first. shape: w[NTT_BACKEND_IFMA + 1]. Returns their
 * number. */
size_t world_open_all(world *w, const world_size *size, ntt_backend best);

/* Encrypts the values into fresh, with a stream of its own. */
void world_encrypt(world *w);

/* Operations as cases of a benchmark; arg is the world. encode: values into
 * plain; the others read fresh (relinearise: product) and write out. */
void world_encode(void *arg);
void world_multiply_plain(void *arg);
void world_relinearise(void *arg);
void world_rescale(void *arg);
void world_rotate(void *arg);

/* Frees everything. */
void world_close(world *w);

#endif
