/* SPDX-License-Identifier: MIT
 * Evaluates a network on one batch: one ciphertext per element of a tensor,
 * one image per slot.
 *
 *     inputs           -> matrix ->          -> square -> …     scores
 *     784 ciphertexts              845 of them                   10 of them
 *
 * The plan is first turned into a list of passes (relinearise, integer matrix,
 * square, rescale, …), each over all ciphertexts of one tensor. Matrices and
 * squares that follow each other make a segment, which is worked through block
 * by block of columns, and what is between them never comes to memory. Sizes
 * and lifetimes of all other tensors are known then: they get their places in
 * one block of memory, a place being used again when its tensor is dead. The
 * evaluation itself allocates nothing.
 *
 *     memory   | input            | t2 ……            |
 *              | t1 = t1² ………………………… | t3 | scores |      time downwards
 *
 * Needs public keys only. Results do not depend on the number of threads.
 */
#ifndef SOTTO_NN_BATCH_BATCH_H
#define SOTTO_NN_BATCH_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "ckks/crypt.h"
#include "nn/graph/fold.h"
#include "nn/plan/plan.h"
#include "nn/run/control.h"
#include "rlwe/context.h"
#include "rlwe/keys.h"

/* A network made ready for one set of parameters and keys, with room for one
 * batch. Used by one run at a time. */
typedef struct nn_batch nn_batch;

/* Prepares the evaluation: passes, memory, one evaluator for each of `threads`
 * workers. keys may be NULL when the plan relinearises nowhere.
 * error: SOTTO_ERR_MISMATCH when level, components or scale of a step do not
 * follow from plan, network and context (step and both values named);
 * SOTTO_ERR_KEY naming step, power and level of a key that is missing;
 * SOTTO_ERR_UNSUPPORTED (a step that is neither affine nor a square);
 * SOTTO_ERR_RANGE or SOTTO_ERR_SCALE for a weight, bias or scale too large for
 * its integer or the modulus (of large maps: from nn_batch_run);
 * SOTTO_ERR_MEMORY with the bytes wanted; *batch is then NULL.
 * owner: the caller, nn_batch_free; borrows all arguments. */
sotto_status nn_batch_new(nn_batch **batch, const nn_plan *plan,
                          const nn_network *network,
                          const rlwe_context *context, const rlwe_keyset *keys,
                          int threads, sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_batch_free(nn_batch *batch);

/* Room for input ciphertext i: to be filled (level 0, 2 components, the plan's
 * input scale, all of one key) before each nn_batch_run, which uses it up.
 * range: i < plan's n_inputs (asserted). */
ckks_ct *nn_batch_input(nn_batch *batch, size_t i);

/* Evaluates. The steps of trace (may be NULL) are set by the first batch and
 * summed from then on; its other fields are not touched.
 * error: SOTTO_ERR_MISMATCH (inputs not as above); as the evaluator's, naming
 * the step; SOTTO_ERR_RANGE and SOTTO_ERR_SCALE as nn_batch_new;
 * SOTTO_ERR_CANCELLED. Inputs and outputs are then undefined.
 * cost: no allocation. */
sotto_status nn_batch_run(nn_batch *batch, nn_control *control, nn_trace *trace,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* Score o of the batch evaluated last; valid until inputs are filled again.
 * range: o < plan's n_outputs (asserted). */
const ckks_ct *nn_batch_output(const nn_batch *batch, size_t o);

/* Work units that one nn_batch_run counts, for progress. */
uint64_t nn_batch_work(const nn_batch *batch);

/* Bytes of the block that holds all ciphertexts. */
uint64_t nn_batch_bytes(const nn_batch *batch);

#endif
