/* SPDX-License-Identifier: MIT
 * Streams of ciphertext records, as client and server use them.
 *
 * A file holds batches of items in order. Records are read one after the other,
 * each by the thread that then parses it, so that reading and parsing overlap
 * and no more records are held than threads work on. A thread takes two at a
 * time, since their checksums take little longer than one:
 *
 *     worker 0   read 0, 1 | verify, unpack, expand … | read 4, 5 | …
 *     worker 1             | read 2, 3 | verify, unpack, expand … | …
 *
 * Records that are written are packed by all threads, a chunk at a time.
 */
#ifndef SOTTO_NN_RUN_RUN_INTERNAL_H
#define SOTTO_NN_RUN_RUN_INTERNAL_H

#include "ckks/crypt.h"
#include "nn/run/control.h"
#include "nn/run/run.h"
#include "rlwe/wire.h"

/* Records packed at once: this many for each thread, in this much memory. */
#define RUN_RECORDS_PER_THREAD 16
#define RUN_RECORD_MEMORY ((size_t)64 << 20)

/* Slots of a ciphertext; nn_plan_slots counts the images of a batch. */
static inline size_t nn_run_ct_slots(const nn_plan *plan)
{
    return (size_t)1 << (plan->params.log2_n - 1);
}

/* Number of records to pack at once when one has at most `each` bytes, at least
 * one for each thread. */
size_t nn_run_chunk(const nn_control *control, size_t each);

/* A ciphertext file that is read batch by batch, with what its records must
 * say. Fields are set by nn_run_input_open; level, n_components, scale and
 * n_items by its caller. */
typedef struct run_input {
    const nn_plan *plan;
    const rlwe_context *context;
    nn_control *control;
    const char *path;
    rlwe_file_reader *file;
    uint64_t count;     /* images of the whole job … */
    uint64_t n_batches; /* … and batches */
    size_t n_items;     /* ciphertexts of one batch */
    int level;          /* of each … */
    int n_components;   /* … */
    double scale;       /* … */
    bool exact_scale;   /* bit for bit, not to 2^-40 */
    size_t together;    /* most records that a worker takes at once */
    size_t n_raw;       /* threads·together + 1 */
    rlwe_raw_ct *raw;   /* [n_raw]: of each worker, and the one ahead */
    uint8_t *bytes;     /* [n_raw][largest record] */
    bool ahead;         /* raw[n_raw - 1] is read and not used yet */
} run_input;

/* Opens a ciphertext file of this plan.
 * error: SOTTO_ERR_MISMATCH (another plan; other parameters), SOTTO_ERR_FORMAT
 * (number of images out of range), SOTTO_ERR_IO, SOTTO_ERR_MEMORY.
 * owner: the caller, nn_run_input_close, whatever was returned. */
sotto_status nn_run_input_open(run_input *input, const nn_plan *plan,
                               const rlwe_context *context, const char *path,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Allocates the record buffers; control must outlive the input.
 * error: SOTTO_ERR_MEMORY. */
sotto_status nn_run_input_start(run_input *input, nn_control *control,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Closes and frees; an empty input is fine. */
void nn_run_input_close(run_input *input);

/* One record: ciphertext `item` of a batch; a task. */
typedef sotto_status (*run_item)(void *arg, const rlwe_raw_ct *raw,
                                 uint64_t batch, uint32_t item, int worker,
                                 sotto_error *err);

/* Passes over the records of batches before `batch`, going by what they claim.
 * error: SOTTO_ERR_FORMAT when the file ends there. */
sotto_status nn_run_input_seek(run_input *input, uint64_t batch,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Reads the next n_batches batches, the first of which must be `batch`: calls
 * fn for each record, which parses it with nn_run_input_parse. Each counts as
 * `work` units.
 * error: SOTTO_ERR_FORMAT when the file ends before they are complete; that of
 * fn. */
sotto_status nn_run_input_batches(run_input *input, uint64_t batch,
                                  size_t n_batches, uint64_t work, run_item fn,
                                  void *arg, sotto_error *err) SOTTO_MUST_CHECK;

/* Parses a record into ct, which has room, and checks that it is item `item`
 * of batch `batch`, with the level, components and scale expected.
 * error: SOTTO_ERR_FORMAT, SOTTO_ERR_MISMATCH, SOTTO_ERR_SCALE naming file,
 * record, what it has and what was expected. */
sotto_status nn_run_input_parse(const run_input *input, ckks_ct *ct,
                                const rlwe_raw_ct *raw, uint64_t batch,
                                uint32_t item,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Fails with SOTTO_ERR_FORMAT unless the file ends here. */
sotto_status nn_run_input_end(run_input *input,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* What evaluates one batch, whatever its packing. */
typedef struct run_engine {
    void *state;
    size_t n_inputs;       /* ciphertexts of a batch … */
    size_t n_outputs;      /* … and of its scores */
    uint64_t work;         /* units that one evaluation counts */
    uint64_t memory_bytes; /* as in nn_trace */
    /* Room for input i: level 0, two components. */
    ckks_ct *(*input)(void *state, size_t i);
    /* Evaluates what was filled in; adds to the steps of trace (may be NULL).
     */
    sotto_status (*run)(void *state, nn_control *control, nn_trace *trace,
                        sotto_error *err);
    /* Score ciphertext o, until inputs are filled again. */
    const ckks_ct *(*output)(const void *state, size_t o);
    void (*free)(void *state);
} run_engine;

/* The engine of a plan's packing, weights prepared.
 * error: as nn_batch_new, nn_plan_program and nn_single_run_new; *engine is
 * then empty. owner: the caller, nn_run_engine_free; borrows all arguments. */
sotto_status nn_run_engine_new(run_engine *engine, const nn_plan *plan,
                               const nn_network *network,
                               const rlwe_context *context,
                               const rlwe_keyset *keys,
                               const nn_control *control,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; an empty engine is fine. */
void nn_run_engine_free(run_engine *engine);

/* The scale of a ciphertext as the wire's opaque 64 bits. */
uint64_t nn_run_scale_bits(double scale);

/* The header of a file of `count` images under this plan. */
rlwe_file_header nn_run_header(const nn_plan *plan, const rlwe_context *context,
                               const uint8_t *key_id, bool from_seed,
                               uint64_t count);

#endif
