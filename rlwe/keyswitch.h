/* SPDX-License-Identifier: MIT
 * Hybrid key switching: from s' to s by digits, any partition, any number of
 * special moduli; optionally with the following rescale in one division.
 *
 *   ModUp      digit j of x:  y_i = [x·(Q_j/q_i)^-1]_{q_i}, converted (centred)
 *              to all other moduli of level ∪ special
 *   product    (u_0, u_1) = Σ_j digit_j · (b_j, a_j)   over level ∪ special
 *   ModDown    u / P, or (P·c + u) / (P·q) when a rescale is joined
 *
 * where Q_j is the product of those limbs of digit j that the level has.
 */
#ifndef SOTTO_RLWE_KEYSWITCH_H
#define SOTTO_RLWE_KEYSWITCH_H

#include "base/mem.h"
#include "base/status.h"
#include "rlwe/context.h"
#include "rlwe/keys.h"

/* Constants for one gadget at one level, with or without a joined rescale. */
struct rlwe_switcher {
    rlwe_gadget gadget;
    int from;     /* level of the input */
    int to;       /* level of the result; == from without a rescale */
    rns_set all;  /* limbs of `from` ∪ special */
    int n_digits; /* digits that the level still has */
    int digit_number[RNS_MAX_LIMBS]; /* … and their numbers in the key */
    rns_converter **up;  /* [n_digits]: digit -> all \ digit; NULL if empty */
    rns_divider *down;   /* all \ set(to) -> set(to) */
    uint64_t *p_residue; /* [limbs of from]: P mod q */
};

/* Prepares a switcher. error: SOTTO_ERR_LEVEL when the gadget does not serve
 * the level, SOTTO_ERR_MEMORY; *switcher is then NULL. */
sotto_status rlwe_switcher_new(rlwe_switcher **switcher,
                               const rlwe_context *context,
                               const rlwe_gadget *gadget, int from, int to,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void rlwe_switcher_free(rlwe_switcher *switcher);

/* The prepared switcher of a key set for a key's gadget, or NULL. */
const rlwe_switcher *rlwe_keyset_switcher(const rlwe_keyset *keyset,
                                          const rlwe_gadget *gadget, int from,
                                          int to);

/* Bytes of arena for rlwe_switch at the largest level of the context. */
size_t rlwe_switch_scratch(const rlwe_context *context);

/* Adds the switched polynomials to a ciphertext and divides:
 *
 *   (out_0, out_1) = divide( P·(c_0, c_1) + Σ_i Σ_j digit_j(x_i)·key_i_j )
 *
 * over all n_x polynomials x_i with their keys (one for a rotation, several to
 * relinearise degree > 2), so that all share one division. c_0, c_1 may be
 * NULL (zero).
 * shape: c_*, x_* uint64_t[limbs of from][stride]; out_*
 * uint64_t[limbs of to][stride]; all NTT domain.
 * alias: out_* may be c_* (when from == to) or any x. All keys of the
 * switcher's gadget (asserted).
 * cost: per x: limbs inverse + digits·(all - digit) forward NTTs; once
 * 2·(removed inverse + kept forward). No allocation. */
void rlwe_switch(const rlwe_switcher *switcher, const rlwe_context *context,
                 uint64_t *out_0, uint64_t *out_1, const uint64_t *c_0,
                 const uint64_t *c_1, const uint64_t *const *x,
                 const rlwe_switch_key *const *key, int n_x,
                 sotto_arena *arena);

/* rlwe_switch after an automorphism σ: a rotation.
 *
 *   (out_0, out_1) = divide( P·(σ(c_0), 0) + Σ_j digit_j(σ(x))·key_j )
 *
 * shape: map as ntt_ring_automorphism makes it; c_0, x
 * uint64_t[limbs of from][stride], c_0 may be NULL.
 * order, alias, cost: as rlwe_switch; needs rlwe_switch_scratch as well. */
void rlwe_switch_turned(const rlwe_switcher *switcher,
                        const rlwe_context *context, uint64_t *out_0,
                        uint64_t *out_1, const uint64_t *c_0, const uint64_t *x,
                        const uint32_t *map, const rlwe_switch_key *key,
                        sotto_arena *arena);

#endif
