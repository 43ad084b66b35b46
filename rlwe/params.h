/* SPDX-License-Identifier: MIT
 * Parameters: an unchecked literal, the checks, the immutable result.
 *
 * A parameter set is a ring, a list of moduli (ciphertext and special ones
 * alike), a table of levels, and the gadgets that switching keys may use.
 * Nothing here knows a scale: an exact scheme can share it.
 *
 *     moduli   id 0   1   2   3          level 0 = {0,1,2}
 *              46    32  32  47 bits     level 1 = {1,2}      (0 divided out)
 *                                        gadget: limbs {0,1,2}, digits 0|1|2,
 *                                                special {3}
 */
#ifndef SOTTO_RLWE_PARAMS_H
#define SOTTO_RLWE_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "ntt/rns.h"

#define RLWE_MIN_LOG2_N 10
#define RLWE_MAX_LOG2_N 17
#define RLWE_MAX_LEVELS 64
#define RLWE_MAX_STEPS 128
#define RLWE_MAX_GADGETS 8
#define RLWE_ID_BYTES 32

/* How a switching key cuts ciphertext limbs into digits, and by which special
 * moduli its result is divided. Any partition, any number of special moduli. */
typedef struct rlwe_gadget {
    rns_set limbs;                /* ciphertext moduli that the key serves */
    rns_set special;              /* P; disjoint from limbs, not empty */
    int n_digits;                 /* dnum */
    uint8_t digit[RNS_MAX_LIMBS]; /* digit[i]: digit of limbs.id[i] */
} rlwe_gadget;

/* True when both cut the same limbs into the same digits with the same special
 * moduli: keys under equal gadgets can be used together. */
bool rlwe_gadget_equal(const rlwe_gadget *a, const rlwe_gadget *b);

/* An allowed rescale: dividing by the moduli that `to` lacks. */
typedef struct rlwe_step {
    uint8_t from;
    uint8_t to;
} rlwe_step;

/* What a caller writes down. Zeroed fields mean defaults. */
typedef struct rlwe_params_literal {
    int log2_n;
    int n_moduli;
    uint64_t modulus[RNS_MAX_LIMBS];
    int n_levels;
    rns_set level[RLWE_MAX_LEVELS]; /* level 0 first; all subsets of level 0 */
    int n_steps; /* 0: from every level to the next, where that is a subset */
    rlwe_step step[RLWE_MAX_STEPS];
    int n_gadgets;
    rlwe_gadget gadget[RLWE_MAX_GADGETS];
    bool has_public;     /* a public key is wanted */
    int public_special;  /* … and its one special modulus (an id) */
    int security;        /* wanted bits: 0 (= 128), 128, 192 or 256 */
    bool allow_insecure; /* only after the user said "insecure" */
} rlwe_params_literal;

/* The checked parameters: immutable. The parameter id is SHA-256 over these
 * bytes, numbers little-endian:
 *
 *     u32 ring kind | u32 log2_n | u32 n_moduli | u64 modulus[0] | u64 …
 *
 * Levels, steps and gadgets are not part of it: they belong to a plan, and keys
 * serve every plan over the same ring and moduli. */
typedef struct rlwe_params {
    rlwe_params_literal literal; /* with the defaults filled in */
    uint8_t id[RLWE_ID_BYTES];   /* SHA-256 over ring and moduli (SPEC §7.1) */
    double log2_qp;              /* largest modulus of any published sample */
    int security_bits;           /* 0 (insecure), 128, 192 or 256 */
} rlwe_params;

/* Checks a literal: degree, moduli (primes ≡ 1 mod 2N, different), levels,
 * steps, gadgets (each digit smaller than P in bits + 0.5 is not required but
 * the noise module accounts for it), and the security of every published
 * sample: ciphertexts (level 0), the public key, each gadget with its P.
 * error: SOTTO_ERR_PARAM naming the field and its value; SOTTO_ERR_SECURITY
 * naming log2 QP, the bound, and the flag; params is then zeroed. */
sotto_status rlwe_params_check(rlwe_params *params,
                               const rlwe_params_literal *literal,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Largest log2 of the modulus of a sample for ring degree 2^log2_n, ternary
 * secret, classical attacks, at `security` = 128, 192 or 256 bits; 0 where the
 * table has no entry.
 * source: Bossuat et al. 2024, Table 5.2 (SPEC §7.2). */
int rlwe_security_max_log2(int log2_n, int security);

/* The largest row of the table that a sample of log2_q bits satisfies: 256,
 * 192, 128 or 0. */
int rlwe_security_bits(int log2_n, double log2_q);

#endif
