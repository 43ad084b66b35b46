/* SPDX-License-Identifier: MIT
 * sotto params: the security table, or a check of one parameter set.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "apps/sotto/commands.h"
#include "apps/sotto/show.h"
#include "rlwe/moduli.h"
#include "rlwe/params.h"

typedef struct params_options {
    app_common common;
    uint64_t log2_n;
    opt_reals bits;
    opt_reals special;
    const char *security;
} params_options;

/* The security table for people. */
static void table_text(text_out *out)
{
    text_put(out, "largest log2 QP of a published sample\n"
                  "(ternary secret, classical attacks; guideline of 2024)\n\n"
                  "   log2 N        N   128 bits   192 bits   256 bits\n");
    for (int l = RLWE_MIN_LOG2_N; l <= RLWE_MAX_LOG2_N; l++) {
        text_printf(out, "%9d %8d %10d %10d %10d\n", l, 1 << l,
                    rlwe_security_max_log2(l, 128),
                    rlwe_security_max_log2(l, 192),
                    rlwe_security_max_log2(l, 256));
    }
}

/* The security table as JSON. */
static void table_json(json_out *j)
{
    json_array(j, "table");
    for (int l = RLWE_MIN_LOG2_N; l <= RLWE_MAX_LOG2_N; l++) {
        json_object(j, NULL);
        json_int(j, "log2_n", l);
        json_int(j, "max_log2_qp_128", rlwe_security_max_log2(l, 128));
        json_int(j, "max_log2_qp_192", rlwe_security_max_log2(l, 192));
        json_int(j, "max_log2_qp_256", rlwe_security_max_log2(l, 256));
        json_end(j);
    }
    json_end(j);
}

/* A literal with primes of the wanted sizes: level 0 has all ciphertext
 * moduli, and one gadget uses all special ones. */
static sotto_status make_literal(app_state *app, rlwe_params_literal *literal,
                                 const params_options *options,
                                 sotto_error *err)
{
    const int n_q = (int)options->bits.n;
    const int n_p = (int)options->special.n;
    const double most = rlwe_moduli_max_log2((int)options->log2_n);
    double target[RNS_MAX_LIMBS];
    if (n_q + n_p > RNS_MAX_LIMBS) {
        return app_usage(app, err, "%d moduli are given, expected at most %d",
                         n_q + n_p, RNS_MAX_LIMBS);
    }
    for (int i = 0; i < n_q + n_p; i++) {
        target[i] =
            i < n_q ? options->bits.value[i] : options->special.value[i - n_q];
        /* "47" means a prime of 47 bits, a little below 2^47. */
        if (target[i] > most && target[i] <= ceil(most)) {
            target[i] = most;
        }
    }
    memset(literal, 0, sizeof *literal);
    literal->log2_n = (int)options->log2_n;
    literal->n_moduli = n_q + n_p;
    SOTTO_TRY(rlwe_moduli_find(literal->modulus, literal->log2_n, target,
                               n_q + n_p, err));
    literal->n_levels = 1;
    literal->level[0] = rns_set_range(0, n_q);
    if (n_p > 0) {
        rlwe_gadget *gadget = &literal->gadget[0];
        literal->n_gadgets = 1;
        gadget->limbs = literal->level[0];
        gadget->special = rns_set_range(n_q, n_p);
        gadget->n_digits = n_q;
        for (int i = 0; i < n_q; i++) {
            gadget->digit[i] = (uint8_t)i;
        }
    }
    literal->security =
        options->security != NULL ? atoi(options->security) : 128;
    return SOTTO_OK;
}

/* The primes that were found and how secure they are. */
static void show_check(app_state *app, const rlwe_params *params)
{
    const rlwe_params_literal *l = &params->literal;
    app_say(app, "log2 N      %d", l->log2_n);
    for (int i = 0; i < l->n_moduli; i++) {
        app_say(app, "%-11s %llu (2^%.4f)",
                i < l->level[0].count ? "modulus" : "special",
                (unsigned long long)l->modulus[i], log2((double)l->modulus[i]));
    }
    app_say(app, "log2 QP     %.3f", params->log2_qp);
    app_say(app, "bound       %d for %d bits",
            rlwe_security_max_log2(l->log2_n, l->security), l->security);
    app_say(app, "security    %d bits", params->security_bits);
}

/* Checks one parameter set: an insecure one is an error. */
static sotto_status check(app_state *app, const params_options *options,
                          sotto_error *err)
{
    rlwe_params_literal literal;
    rlwe_params params;
    SOTTO_TRY(make_literal(app, &literal, options, err));
    SOTTO_TRY(rlwe_params_check(&params, &literal, err));
    show_check(app, &params);
    app_json file;
    SOTTO_TRY(app_json_open(&file, options->common.json, err));
    if (file.open) {
        json_int(&file.j, "log2_n", literal.log2_n);
        json_real(&file.j, "log2_qp", params.log2_qp);
        json_int(&file.j, "security_bits", params.security_bits);
        json_array(&file.j, "moduli");
        for (int i = 0; i < literal.n_moduli; i++) {
            json_count(&file.j, NULL, literal.modulus[i]);
        }
        json_end(&file.j);
    }
    return app_json_close(&file, err);
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const params_options *options = values;
    if ((options->log2_n > 0) != (options->bits.n > 0)) {
        return app_usage(app, err,
                         "half a parameter set is given, expected --log2-n and "
                         "--bits together, or neither for the table");
    }
    if (options->log2_n == 0 &&
        (options->special.n > 0 || options->security != NULL)) {
        return app_usage(app, err,
                         "no parameter set is given to check, expected "
                         "--log2-n and --bits");
    }
    if (options->log2_n > 0) {
        return check(app, options, err);
    }
    text_out out;
    text_init(&out);
    table_text(&out);
    app_say_text(app, &out);
    app_json file;
    SOTTO_TRY(app_json_open(&file, options->common.json, err));
    if (file.open) {
        table_json(&file.j);
    }
    return app_json_close(&file, err);
}

static const opt_spec specs[] = {
    {"--log2-n", OPT_COUNT, offsetof(params_options, log2_n), "L",
     "ring degree 2^L", RLWE_MIN_LOG2_N, RLWE_MAX_LOG2_N, false},
    {"--bits", OPT_REALS, offsetof(params_options, bits), "B[,B...]",
     "sizes of the ciphertext moduli", 10, 60, false},
    {"--special", OPT_REALS, offsetof(params_options, special), "B[,B...]",
     "sizes of the special moduli of switching keys", 10, 60, false},
    {"--security", OPT_CHOICE, offsetof(params_options, security),
     "128|192|256", "bits of security to check for (default 128)", 0, 0,
     false}};

const app_command cmd_params = {
    "params",
    "list the security table, or check a parameter set",
    "Without options: the largest moduli for each ring degree. With --log2-n\n"
    "and --bits: finds primes of these sizes and says how secure they are.\n",
    {specs, sizeof specs / sizeof specs[0], NULL, 0},
    sizeof(params_options),
    run};
