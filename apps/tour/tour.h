/* SPDX-License-Identifier: MIT
 * What the programs of the tour share: printing rows of numbers, checking what
 * was just claimed, and a small world of keys to play in.
 */
#ifndef SOTTO_APPS_TOUR_TOUR_H
#define SOTTO_APPS_TOUR_TOUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ckks/eval.h"

/* Prints the heading of a program. */
void tour_title(int number, const char *title);

/* Prints a paragraph heading. */
void tour_part(const char *text);

/* Prints a label and n numbers on one line. */
void tour_row(const char *label, const uint64_t *a, size_t n);
void tour_row_signed(const char *label, const int64_t *a, size_t n);
void tour_row_real(const char *label, const double *a, size_t n);

/* Prints what has been shown; ends the program with status 1 if it is not
 * true. */
void tour_check(bool is_true, const char *claim);

/* Ends the program with the message when status is not SOTTO_OK. */
void tour_must(sotto_status status, const sotto_error *err);

/* A playground: ring degree 1024, toy moduli. One level for each modulus but
 * the last, which is the special one; rescaling removes the last of a level.
 *
 *     modulus   0   1   2   3
 *     level 0   x   x   x         special: 3
 *     level 1   x   x
 *     level 2   x
 *
 * Far below 128 bits of security: for looking, not for secrets. */
typedef struct tour_world {
    rlwe_context *context;
    rlwe_secret *secret;
    rlwe_keyset *keys;
    ckks_encoder *encoder;
    ckks_evaluator *evaluator;
    sotto_arena arena;
    sotto_seed root;  /* of ciphertexts */
    uint32_t counter; /* of ciphertexts: streams are used once */
    size_t slots;
    sotto_error error;
} tour_world;

/* Builds a world with n_moduli moduli of q_bits bits (the first one 6 bits and
 * the special one 4 bits larger), `digits` of equal size in its switching keys,
 * a relinearisation key, and rotation keys for steps[0..n_steps). Everything
 * comes from fixed seeds, so that a run prints the same every time. */
void tour_world_init(tour_world *world, int n_moduli, double q_bits, int digits,
                     const int64_t *steps, size_t n_steps);

/* Wipes and frees. */
void tour_world_clear(tour_world *world);

/* An empty ciphertext at level 0 with room for three components. */
ckks_ct tour_ct(tour_world *world);

/* Encrypts real slots at level 0. */
ckks_ct tour_encrypt(tour_world *world, const double *values, size_t n,
                     double scale);

/* Decrypts the first n slots; returns the standard deviation of the noise as
 * the imaginary parts show it. */
double tour_decrypt(tour_world *world, double *values, size_t n,
                    const ckks_ct *ct);

#endif
