/* SPDX-License-Identifier: MIT
 * Running a plan: the client's encryption and decryption, the server's
 * inference, from files to files, batch by batch.
 *
 * The server's functions take plan, model, public evaluation keys and
 * ciphertexts only. Everything streams: the server holds one batch at a time,
 * the client one too, or a few images in single packing, where a batch is one
 * image. Results do not depend on the number of threads.
 */
#ifndef SOTTO_NN_RUN_RUN_H
#define SOTTO_NN_RUN_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/prng.h"
#include "base/status.h"
#include "ckks/crypt.h"
#include "nn/graph/fold.h"
#include "nn/plan/plan.h"
#include "nn/run/control.h"
#include "rlwe/context.h"
#include "rlwe/keys.h"

/* Images as the client's functions read them: pixels in [0,1], channel-major,
 * per image as many floats as the plan's input_shape has elements. first, count
 * within what was announced. */
typedef sotto_status (*nn_image_source)(void *arg, float *pixels,
                                        uint64_t first, size_t count,
                                        sotto_error *err);

/* Encrypts `count` images into `out` (header and records of ⌈count/slots⌉
 * batches, n_inputs ciphertexts each). Exactly one of secret and public_key is
 * given. root: NULL for a fresh one from the system.
 * error: SOTTO_ERR_RANGE when a pixel lies outside the plan's input range
 * (image, position, value, range); others as the callees. */
sotto_status nn_run_encrypt(const nn_plan *plan, const rlwe_context *context,
                            sotto_output *out, const rlwe_secret *secret,
                            const rlwe_public *public_key,
                            nn_image_source source, void *source_arg,
                            uint64_t count, const sotto_seed *root,
                            const nn_run_options *options,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Evaluates the network on every batch of the ciphertext file `in_path`
 * (batches [first, …) of part `part` of n_parts) and appends the scores'
 * ciphertexts to `out`. keys: NULL when the plan lists none.
 * trace may be NULL.
 * error: SOTTO_ERR_MISMATCH (other plan, parameters or key), SOTTO_ERR_KEY,
 * SOTTO_ERR_FORMAT, SOTTO_ERR_CANCELLED, … */
sotto_status nn_run_infer(const nn_plan *plan, const nn_network *network,
                          const rlwe_context *context, const rlwe_keyset *keys,
                          sotto_output *out, const char *in_path, uint64_t part,
                          uint64_t n_parts, nn_trace *trace,
                          const nn_run_options *options,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Scores of one batch, or of some images, as the client sees them. */
typedef struct nn_scores {
    uint64_t first_image;
    size_t n_images;
    size_t n_outputs;
    const double *score; /* [n_images][n_outputs], borrowed */
    double noise_std;    /* measured from imaginary parts, values */
} nn_scores;

/* Receives batches in order. */
typedef sotto_status (*nn_score_sink)(void *arg, const nn_scores *scores,
                                      sotto_error *err);

/* Decrypts a scores file batch by batch. accept_noise: go on when the measured
 * noise is beyond the plan's prediction or a score outside its range (--force).
 * *worst_noise_std (may be NULL) receives the largest measured noise.
 * error: SOTTO_ERR_KEY, SOTTO_ERR_MISMATCH, SOTTO_ERR_NOISE (measured,
 * predicted, likely causes), SOTTO_ERR_RANGE (a score outside the planned
 * range), SOTTO_ERR_FORMAT. secret: the scores. */
sotto_status nn_run_decrypt(const nn_plan *plan, const rlwe_context *context,
                            const rlwe_secret *secret, const char *in_path,
                            nn_score_sink sink, void *sink_arg,
                            bool accept_noise, double *worst_noise_std,
                            const nn_run_options *options,
                            sotto_error *err) SOTTO_MUST_CHECK;

#endif
