/* SPDX-License-Identifier: MIT
 * Built by install.sh against an installed Sotto, as a user of the library
 * would: squares encrypted numbers. Prints "2.25 6.25 0.0625".
 */
#include <sotto/sotto.h>
#include <stdio.h>

#define THEN(call) status = status == SOTTO_OK ? (call) : status

int main(void)
{
    double x[3] = {1.5, -2.5, 0.25};
    rlwe_params_literal literal = {.log2_n = 12, .n_moduli = 2, .n_levels = 1};
    rlwe_context *context = NULL;
    rlwe_secret *secret = NULL;
    ckks_encoder *encoder = NULL;
    ckks_evaluator *ev = NULL;
    ckks_ct ct = {0};
    sotto_seed root;
    sotto_error err = {""};
    sotto_status status = sotto_seed_from_system(&root, &err);

    /* 90 bits of modulus: N = 4096 is good for 106 at 128-bit security. */
    const ntt_ring ring = ntt_ring_init(literal.log2_n);
    literal.level[0] = rns_set_range(0, 2);
    THEN(ntt_prime_search(literal.modulus, 2, &ring, 45, NULL, 0, &err));
    THEN(rlwe_context_new(&context, &literal, &err));
    if (status != SOTTO_OK) {
        return 1;
    }
    sotto_arena arena = sotto_arena_init(ckks_crypt_scratch(context));
    THEN(ckks_encoder_new(&encoder, context, &err));
    THEN(rlwe_secret_new(&secret, context, NULL, &err));
    THEN(ckks_evaluator_new(&ev, context, NULL, &err));
    THEN(ckks_ct_init(&ct, context, 0, 3, &err));
    THEN(ckks_encrypt(&ct, encoder, context, secret, x, 3, 0x1p30, 0, &root, 0,
                      0, &arena, &err));
    THEN(ckks_square(ev, &ct, &ct));
    THEN(ckks_decrypt(encoder, context, secret, x, NULL, 3, NULL, &ct, &arena,
                      &err));
    (void)printf("%.4g %.4g %.4g%s\n", x[0], x[1], x[2], err.text);

    ckks_ct_clear(&ct);
    ckks_evaluator_free(ev);
    ckks_encoder_free(encoder);
    rlwe_secret_free(secret, context);
    sotto_arena_clear(&arena);
    rlwe_context_free(context);
    return status == SOTTO_OK ? 0 : 1;
}
