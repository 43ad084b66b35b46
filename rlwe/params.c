/* SPDX-License-Identifier: MIT
 * Parameters: the checks, the security table, the parameter id.
 *
 * A literal may come from a file that somebody else wrote. Each check relies on
 * those before it, in the order of check_all: every count is bounded before
 * anything is indexed by it, and sets name existing moduli before they are
 * compared.
 */
#include "rlwe/params.h"

#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "ntt/prime.h"

/* Largest log2 of the modulus, rows by log2_n from 10 on; 0: no entry. */
typedef struct security_row {
    int bits;
    int max_log2[RLWE_MAX_LOG2_N - RLWE_MIN_LOG2_N + 1];
} security_row;

/* Bossuat et al. 2024, Table 5.2: ternary secret, classical attacks. Strongest
 * row first, so that the first one that holds is the answer. */
static const security_row security_table[3] = {
    {256, {0, 27, 56, 114, 230, 462, 929, 1866}},
    {192, {0, 36, 73, 147, 297, 597, 1199, 2411}},
    {128, {26, 53, 106, 214, 430, 868, 1747, 3523}},
};

int rlwe_security_max_log2(int log2_n, int security)
{
    if (log2_n < RLWE_MIN_LOG2_N || log2_n > RLWE_MAX_LOG2_N) {
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        if (security_table[i].bits == security) {
            return security_table[i].max_log2[log2_n - RLWE_MIN_LOG2_N];
        }
    }
    return 0;
}

int rlwe_security_bits(int log2_n, double log2_q)
{
    for (int i = 0; i < 3; i++) {
        const int bits = security_table[i].bits;
        if (log2_q <= rlwe_security_max_log2(log2_n, bits)) {
            return bits;
        }
    }
    return 0;
}

bool rlwe_gadget_equal(const rlwe_gadget *a, const rlwe_gadget *b)
{
    /* digit[] behind the last limb has no meaning. */
    return rns_set_equal(&a->limbs, &b->limbs) &&
           rns_set_equal(&a->special, &b->special) &&
           a->n_digits == b->n_digits &&
           memcmp(a->digit, b->digit, (size_t)a->limbs.count) == 0;
}

/* Moduli are primes that the ring's NTT exists for, each there once: the CRT
 * needs them coprime. */
static sotto_status check_moduli(const rlwe_params_literal *literal,
                                 sotto_error *err)
{
    if (literal->n_moduli < 1 || literal->n_moduli > RNS_MAX_LIMBS) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "n_moduli is %d; expected 1 to %d", literal->n_moduli,
                          RNS_MAX_LIMBS);
    }
    const ntt_ring ring = ntt_ring_init(literal->log2_n);
    const uint64_t order = ntt_ring_root_order(&ring);
    for (int i = 0; i < literal->n_moduli; i++) {
        const uint64_t q = literal->modulus[i];
        if (q >> ZQ_MAX_BITS != 0 || q % order != 1 || !ntt_prime_is(q)) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "modulus[%d] is %llu; expected a prime below "
                              "2^%d that is 1 modulo %llu",
                              i, (unsigned long long)q, ZQ_MAX_BITS,
                              (unsigned long long)order);
        }
        for (int j = 0; j < i; j++) {
            if (literal->modulus[j] == q) {
                return sotto_fail(err, SOTTO_ERR_PARAM,
                                  "modulus[%d] and modulus[%d] are both %llu; "
                                  "expected different primes",
                                  j, i, (unsigned long long)q);
            }
        }
    }
    return SOTTO_OK;
}

/* Checks that a set is not empty and lists ids of moduli in rising order.
 * what, number: the name of the field for the message. */
static sotto_status check_set(const rns_set *set, int n_moduli,
                              const char *what, int number, sotto_error *err)
{
    if (set->count < 1 || set->count > n_moduli) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "%s %d has %d moduli; expected 1 to %d", what, number,
                          set->count, n_moduli);
    }
    for (int i = 0; i < set->count; i++) {
        if (set->id[i] >= n_moduli || (i > 0 && set->id[i] <= set->id[i - 1])) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "%s %d has modulus id %d at position %d; "
                              "expected rising ids below %d",
                              what, number, set->id[i], i, n_moduli);
        }
    }
    return SOTTO_OK;
}

/* Every level is part of level 0, whose modulus is then the largest that a
 * ciphertext is ever published with: the security check looks at that alone.
 * Levels differ, so that a set of moduli names one level. */
static sotto_status check_levels(const rlwe_params_literal *literal,
                                 sotto_error *err)
{
    if (literal->n_levels < 1 || literal->n_levels > RLWE_MAX_LEVELS) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "n_levels is %d; expected 1 to %d", literal->n_levels,
                          RLWE_MAX_LEVELS);
    }
    for (int i = 0; i < literal->n_levels; i++) {
        const rns_set *set = &literal->level[i];
        SOTTO_TRY(check_set(set, literal->n_moduli, "level", i, err));
        if (!rns_set_contains(&literal->level[0], set)) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "level %d has moduli that level 0 lacks; "
                              "expected a subset of level 0",
                              i);
        }
        for (int j = 0; j < i; j++) {
            if (rns_set_equal(&literal->level[j], set)) {
                return sotto_fail(err, SOTTO_ERR_PARAM,
                                  "levels %d and %d have the same moduli; "
                                  "expected different ones",
                                  j, i);
            }
        }
    }
    return SOTTO_OK;
}

/* True when level `to` is a proper subset of level `from`. */
static bool is_below(const rlwe_params_literal *literal, int from, int to)
{
    const rns_set *outer = &literal->level[from];
    const rns_set *inner = &literal->level[to];
    return inner->count < outer->count && rns_set_contains(outer, inner);
}

/* Without any steps: from every level to the next, where that is possible. */
static void default_steps(rlwe_params_literal *literal)
{
    for (int i = 0; i + 1 < literal->n_levels; i++) {
        if (is_below(literal, i, i + 1)) {
            literal->step[literal->n_steps++] =
                (rlwe_step){.from = (uint8_t)i, .to = (uint8_t)(i + 1)};
        }
    }
}

/* A step divides by what the lower level lacks: something, and nothing else. */
static sotto_status check_steps(const rlwe_params_literal *literal,
                                sotto_error *err)
{
    if (literal->n_steps < 0 || literal->n_steps > RLWE_MAX_STEPS) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "n_steps is %d; expected 0 to %d", literal->n_steps,
                          RLWE_MAX_STEPS);
    }
    for (int i = 0; i < literal->n_steps; i++) {
        const rlwe_step step = literal->step[i];
        if (step.from >= literal->n_levels || step.to >= literal->n_levels ||
            !is_below(literal, step.from, step.to)) {
            return sotto_fail(
                err, SOTTO_ERR_PARAM,
                "step %d goes from level %d to level %d; expected "
                "levels below %d, the second with some of the "
                "moduli of the first",
                i, step.from, step.to, literal->n_levels);
        }
        for (int j = 0; j < i; j++) {
            if (literal->step[j].from == step.from &&
                literal->step[j].to == step.to) {
                return sotto_fail(err, SOTTO_ERR_PARAM,
                                  "steps %d and %d are the same (level %d to "
                                  "%d); expected each once",
                                  j, i, step.from, step.to);
            }
        }
    }
    return SOTTO_OK;
}

/* The digits partition the limbs: each limb in one, none empty. */
static sotto_status check_digits(const rlwe_gadget *gadget, int number,
                                 sotto_error *err)
{
    if (gadget->n_digits < 1 || gadget->n_digits > gadget->limbs.count) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "gadget %d has %d digits; expected 1 to %d", number,
                          gadget->n_digits, gadget->limbs.count);
    }
    int size[RNS_MAX_LIMBS] = {0};
    for (int i = 0; i < gadget->limbs.count; i++) {
        if (gadget->digit[i] >= gadget->n_digits) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "gadget %d puts limb %d into digit %d; expected "
                              "digits below %d",
                              number, i, gadget->digit[i], gadget->n_digits);
        }
        size[gadget->digit[i]]++;
    }
    for (int j = 0; j < gadget->n_digits; j++) {
        if (size[j] == 0) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "gadget %d has no limb in digit %d; expected at "
                              "least one",
                              number, j);
        }
    }
    return SOTTO_OK;
}

/* Special moduli and limbs are disjoint, since P must vanish modulo the one and
 * be invertible modulo the other. A special modulus may well be a ciphertext
 * modulus that the key's levels no longer have. */
static sotto_status check_gadget(const rlwe_gadget *gadget, int n_moduli,
                                 int number, sotto_error *err)
{
    SOTTO_TRY(
        check_set(&gadget->limbs, n_moduli, "limbs of gadget", number, err));
    SOTTO_TRY(check_set(&gadget->special, n_moduli, "special of gadget", number,
                        err));
    if (rns_set_common(&gadget->limbs, &gadget->special).count != 0) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "gadget %d has a special modulus among its limbs; "
                          "expected disjoint sets",
                          number);
    }
    return check_digits(gadget, number, err);
}

static sotto_status check_gadgets(const rlwe_params_literal *literal,
                                  sotto_error *err)
{
    if (literal->n_gadgets < 0 || literal->n_gadgets > RLWE_MAX_GADGETS) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "n_gadgets is %d; expected 0 to %d",
                          literal->n_gadgets, RLWE_MAX_GADGETS);
    }
    for (int i = 0; i < literal->n_gadgets; i++) {
        const rlwe_gadget *gadget = &literal->gadget[i];
        SOTTO_TRY(check_gadget(gadget, literal->n_moduli, i, err));
        if (!rns_set_contains(&literal->level[0], &gadget->limbs)) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "gadget %d serves moduli that level 0 lacks; "
                              "expected a subset of level 0",
                              i);
        }
    }
    return SOTTO_OK;
}

/* The special modulus of the public key is divided out of every encryption, so
 * no level may have it. */
static sotto_status check_public(const rlwe_params_literal *literal,
                                 sotto_error *err)
{
    const int id = literal->public_special;
    if (literal->has_public && (id < 0 || id >= literal->n_moduli ||
                                rns_set_find(&literal->level[0], id) >= 0)) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "public_special is %d; expected a modulus id below "
                          "%d that is not in level 0",
                          id, literal->n_moduli);
    }
    return SOTTO_OK;
}

/* log2 of the product of a set; a sum of at most 96 logarithms, each right to
 * 2^-52: exact enough to compare with whole bits. */
static double log2_of(const rlwe_params_literal *literal, const rns_set *set)
{
    double sum = 0;
    for (int i = 0; i < set->count; i++) {
        sum += log2((double)literal->modulus[set->id[i]]);
    }
    return sum;
}

/* Takes one kind of published sample into account; refuses it when it is too
 * large for the wanted security. */
static sotto_status check_sample(rlwe_params *params, const rns_set *set,
                                 const char *what, sotto_error *err)
{
    const rlwe_params_literal *literal = &params->literal;
    const double log2_q = log2_of(literal, set);
    if (log2_q > params->log2_qp) {
        params->log2_qp = log2_q;
    }
    const int bound =
        rlwe_security_max_log2(literal->log2_n, literal->security);
    if (log2_q <= bound || literal->allow_insecure) {
        return SOTTO_OK;
    }
    return sotto_fail(err, SOTTO_ERR_SECURITY,
                      "%s: the modulus has %.2f bits; %d-bit security at "
                      "N = 2^%d allows at most %d; take fewer or smaller "
                      "moduli or a larger N (or, for experiments only, "
                      "--insecure-parameters)",
                      what, log2_q, literal->security, literal->log2_n, bound);
}

/* Everything that is ever published as (a, a·s + e): the modulus counts with
 * its special part, since that is what an attacker sees. */
static sotto_status check_security(rlwe_params *params, sotto_error *err)
{
    const rlwe_params_literal *literal = &params->literal;
    SOTTO_TRY(check_sample(params, &literal->level[0], "ciphertexts", err));
    if (literal->has_public) {
        const rns_set special = rns_set_range(literal->public_special, 1);
        const rns_set set = rns_set_union(&literal->level[0], &special);
        SOTTO_TRY(check_sample(params, &set, "public key", err));
    }
    for (int i = 0; i < literal->n_gadgets; i++) {
        const rns_set set = rns_set_union(&literal->gadget[i].limbs,
                                          &literal->gadget[i].special);
        SOTTO_TRY(check_sample(params, &set, "switching keys", err));
    }
    params->security_bits =
        rlwe_security_bits(literal->log2_n, params->log2_qp);
    return SOTTO_OK;
}

/* The bytes are those of params.h. */
static void make_id(rlwe_params *params)
{
    const rlwe_params_literal *literal = &params->literal;
    uint8_t bytes[12 + 8 * RNS_MAX_LIMBS];
    sotto_writer writer = sotto_writer_init(bytes, sizeof bytes);
    sotto_write_u32(&writer, NTT_RING_STANDARD);
    sotto_write_u32(&writer, (uint32_t)literal->log2_n);
    sotto_write_u32(&writer, (uint32_t)literal->n_moduli);
    for (int i = 0; i < literal->n_moduli; i++) {
        sotto_write_u64(&writer, literal->modulus[i]);
    }
    sotto_sha256_of(params->id, bytes, writer.at);
}

/* All checks in order; params->literal gets the defaults on the way. */
static sotto_status check_all(rlwe_params *params, sotto_error *err)
{
    rlwe_params_literal *literal = &params->literal;
    if (literal->log2_n < RLWE_MIN_LOG2_N ||
        literal->log2_n > RLWE_MAX_LOG2_N) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "log2_n is %d; expected %d to %d", literal->log2_n,
                          RLWE_MIN_LOG2_N, RLWE_MAX_LOG2_N);
    }
    if (literal->security == 0) {
        literal->security = 128;
    }
    if (literal->security != 128 && literal->security != 192 &&
        literal->security != 256) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "security is %d; expected 128, 192 or 256",
                          literal->security);
    }
    SOTTO_TRY(check_moduli(literal, err));
    SOTTO_TRY(check_levels(literal, err));
    if (literal->n_steps == 0) {
        default_steps(literal);
    }
    SOTTO_TRY(check_steps(literal, err));
    SOTTO_TRY(check_gadgets(literal, err));
    SOTTO_TRY(check_public(literal, err));
    SOTTO_TRY(check_security(params, err));
    make_id(params);
    return SOTTO_OK;
}

sotto_status rlwe_params_check(rlwe_params *params,
                               const rlwe_params_literal *literal,
                               sotto_error *err)
{
    memset(params, 0, sizeof *params);
    params->literal = *literal;
    const sotto_status status = check_all(params, err);
    if (status != SOTTO_OK) {
        memset(params, 0, sizeof *params);
    }
    return status;
}
