/* SPDX-License-Identifier: MIT
 * The server's run: ciphertext file -> network -> file of encrypted scores.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/run/run_internal.h"

/* More parts than this make no sense, and products with batch numbers stay
 * below 2^64. */
#define MAX_PARTS ((uint64_t)1 << 24)

typedef struct infer_run {
    const nn_plan *plan;
    const rlwe_context *context;
    sotto_output *out;
    run_input input;
    run_engine engine;
    nn_control *control;
    uint64_t number;     /* of the batch in work */
    uint64_t first, end; /* batches of this part */
    uint8_t *records;    /* [chunk][each]: scores to be written */
    size_t chunk, each;
    size_t at;           /* first score in records */
    uint64_t read_work;  /* progress units of reading one ciphertext … */
    uint64_t write_work; /* … and of writing one */
    double *times;       /* [n_times] seconds of the first batches */
    size_t n_times;
} infer_run;

/* Batches [part·B/n, (part+1)·B/n) of B: parts of an output concatenate. */
static sotto_status choose_part(infer_run *run, uint64_t part, uint64_t n_parts,
                                sotto_error *err)
{
    const uint64_t n = run->input.n_batches;
    if (n_parts < 1 || n_parts > MAX_PARTS || part >= n_parts) {
        return sotto_fail(err, SOTTO_ERR_PARAM,
                          "part %llu of %llu; expected parts 0 to n-1 of 1 to "
                          "%llu",
                          (unsigned long long)part, (unsigned long long)n_parts,
                          (unsigned long long)MAX_PARTS);
    }
    run->first = part * n / n_parts;
    run->end = (part + 1) * n / n_parts;
    return SOTTO_OK;
}

/* Keys of another secret would give noise, which only the client can see. */
static sotto_status check_keys(const infer_run *run, const rlwe_keyset *keys,
                               sotto_error *err)
{
    const rlwe_file_header *header = rlwe_file_header_of(run->input.file);
    if (run->plan->n_keys == 0) {
        return SOTTO_OK;
    }
    if (keys == NULL) {
        return sotto_fail(err, SOTTO_ERR_KEY,
                          "the plan needs %d evaluation keys and none were "
                          "given; sotto keygen makes them",
                          run->plan->n_keys);
    }
    if (memcmp(header->key_id, keys->key_id, sizeof header->key_id) != 0) {
        char have[2 * RLWE_KEY_ID_BYTES + 1];
        char want[2 * RLWE_KEY_ID_BYTES + 1];
        sotto_hex(have, header->key_id, RLWE_KEY_ID_BYTES);
        sotto_hex(want, keys->key_id, RLWE_KEY_ID_BYTES);
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "%s is encrypted under key %.16s…; the evaluation "
                          "keys belong to %.16s…",
                          run->input.path, have, want);
    }
    return SOTTO_OK;
}

/* ---- One batch ----------------------------------------------------------- */

/* Straight into its place in the batch: inputs are held once. */
static sotto_status read_item(void *arg, const rlwe_raw_ct *raw, uint64_t batch,
                              uint32_t item, int worker, sotto_error *err)
{
    (void)worker;
    infer_run *run = arg;
    ckks_ct *ct = run->engine.input(run->engine.state, item);
    return nn_run_input_parse(&run->input, ct, raw, batch, item, err);
}

static sotto_status pack_item(void *arg, size_t task, int worker,
                              sotto_error *err)
{
    (void)worker;
    (void)err;
    infer_run *run = arg;
    const size_t o = run->at + task;
    const ckks_ct *ct = run->engine.output(run->engine.state, o);
    (void)rlwe_pack_ct(run->records + task * run->each, run->context, &ct->ct,
                       nn_run_scale_bits(ct->scale), run->number, (uint32_t)o);
    return SOTTO_OK;
}

/* Packs a chunk on all threads, then writes it in order. */
static sotto_status write_batch(infer_run *run, sotto_error *err)
{
    nn_control_name(run->control, "write");
    const size_t n_outputs = run->engine.n_outputs;
    for (run->at = 0; run->at < n_outputs; run->at += run->chunk) {
        const size_t left = n_outputs - run->at;
        const size_t n = left < run->chunk ? left : run->chunk;
        SOTTO_TRY(nn_control_run(run->control, n, run->write_work, pack_item,
                                 run, err));
        SOTTO_TRY(
            sotto_output_write(run->out, run->records, n * run->each, err));
    }
    return SOTTO_OK;
}

static sotto_status run_batch(infer_run *run, nn_trace *trace, sotto_error *err)
{
    const double start = nn_control_seconds(run->control);
    nn_control_name(run->control, "read");
    SOTTO_TRY(nn_run_input_batches(&run->input, run->number, 1, run->read_work,
                                   read_item, run, err));
    const double loaded = nn_control_seconds(run->control);
    SOTTO_TRY(run->engine.run(run->engine.state, run->control, trace, err));
    const double done = nn_control_seconds(run->control);
    SOTTO_TRY(write_batch(run, err));
    const double end = nn_control_seconds(run->control);
    if (run->number - run->first < run->n_times) {
        run->times[run->number - run->first] = end - start;
    }
    if (trace != NULL) {
        trace->seconds_read += loaded - start;
        trace->seconds_write += end - done;
        trace->batches++;
    }
    return SOTTO_OK;
}

/* ---- The run ------------------------------------------------------------- */

/* What the records of the input must say, and the shape of those of the
 * output. */
static sotto_status prepare(infer_run *run, const nn_network *network,
                            const rlwe_keyset *keys, sotto_error *err)
{
    const nn_plan *plan = run->plan;
    const nn_plan_step *last = &plan->step[plan->n_steps - 1];
    run->input.n_items = plan->n_inputs;
    run->input.n_components = 2;
    run->input.scale = plan->input_scale;
    run->input.exact_scale = true;
    nn_control_name(run->control, "prepare");
    SOTTO_TRY(nn_run_engine_new(&run->engine, plan, network, run->context, keys,
                                run->control, err));
    /* Hashing, unpacking and expanding a word cost about as much as a few
     * multiplications of the matrix stage. */
    run->read_work = 8 * rlwe_level_words(run->context, 0);
    run->write_work = 8 * rlwe_level_words(run->context, last->level) *
                      (uint64_t)last->n_components;
    const uint64_t work = run->engine.work +
                          run->engine.n_inputs * run->read_work +
                          run->engine.n_outputs * run->write_work;
    nn_control_expect(run->control, work * (run->end - run->first));
    SOTTO_TRY(nn_run_input_start(&run->input, run->control, err));
    run->each = rlwe_ct_record_bytes(run->context, last->level,
                                     last->n_components, false);
    run->chunk = nn_run_chunk(run->control, run->each);
    run->chunk =
        run->chunk < run->engine.n_outputs ? run->chunk : run->engine.n_outputs;
    run->records = sotto_calloc(run->chunk, run->each);
    const uint64_t n = run->end - run->first;
    run->n_times = n < NN_TRACE_MAX_TIMES ? (size_t)n : NN_TRACE_MAX_TIMES;
    run->times = sotto_calloc(run->n_times + 1, sizeof *run->times);
    if (run->records == NULL || run->times == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for %zu records of scores",
                          run->chunk);
    }
    return SOTTO_OK;
}

/* What the plan says of the batches that were run. */
static void set_predictions(nn_trace *trace, const nn_plan *plan)
{
    const double batches = (double)trace->batches;
    trace->predicted_read = batches * plan->read_seconds;
    trace->predicted_total = trace->predicted_read;
    for (int i = 0; i < trace->n_steps; i++) {
        nn_trace_step *step = &trace->step[i];
        const bool last =
            i + 1 == trace->n_steps || trace->step[i + 1].step != step->step;
        step->predicted = last ? batches * plan->step[step->step].seconds : 0;
        trace->predicted_total += step->predicted;
    }
}

static int compare_times(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* What the batches took, all of which are done. */
static void set_times(nn_trace *trace, infer_run *run)
{
    if (run->n_times > 0) {
        qsort(run->times, run->n_times, sizeof *run->times, compare_times);
        trace->batch_min = run->times[0];
        trace->batch_median = run->times[run->n_times / 2];
    }
}

static sotto_status run_all(infer_run *run, nn_trace *trace, sotto_error *err)
{
    const rlwe_file_header *in = rlwe_file_header_of(run->input.file);
    const rlwe_file_header header = nn_run_header(
        run->plan, run->context, in->key_id, in->from_seed, in->count);
    const uint64_t before = sotto_output_size(run->out);
    if (trace != NULL) {
        trace->packing = run->plan->packing;
        trace->seconds_prepare = nn_control_seconds(run->control);
    }
    SOTTO_TRY(rlwe_write_header(run->out, &header, err));
    if (run->first < run->end) {
        SOTTO_TRY(nn_run_input_seek(&run->input, run->first, err));
    }
    for (run->number = run->first; run->number < run->end; run->number++) {
        SOTTO_TRY(run_batch(run, trace, err));
    }
    /* Who has read the last batch sees whether something comes behind it. */
    if (run->end == run->input.n_batches && run->first < run->end) {
        SOTTO_TRY(nn_run_input_end(&run->input, err));
    }
    if (trace != NULL) {
        trace->bytes_in = rlwe_file_position(run->input.file);
        trace->bytes_out = sotto_output_size(run->out) - before;
        trace->memory_bytes = run->engine.memory_bytes;
        trace->seconds_total = nn_control_seconds(run->control);
        set_times(trace, run);
        set_predictions(trace, run->plan);
    }
    return SOTTO_OK;
}

sotto_status nn_run_infer(const nn_plan *plan, const nn_network *network,
                          const rlwe_context *context, const rlwe_keyset *keys,
                          sotto_output *out, const char *in_path, uint64_t part,
                          uint64_t n_parts, nn_trace *trace,
                          const nn_run_options *options, sotto_error *err)
{
    infer_run run = {.plan = plan, .context = context, .out = out};
    if (trace != NULL) {
        memset(trace, 0, sizeof *trace);
    }
    sotto_status status = nn_control_new(&run.control, options, 0, err);
    if (status == SOTTO_OK) {
        status = nn_plan_verify(plan, network, err);
    }
    if (status == SOTTO_OK) {
        status = nn_run_input_open(&run.input, plan, context, in_path, err);
    }
    if (status == SOTTO_OK) {
        status = choose_part(&run, part, n_parts, err);
    }
    if (status == SOTTO_OK) {
        status = check_keys(&run, keys, err);
    }
    if (status == SOTTO_OK) {
        status = prepare(&run, network, keys, err);
    }
    if (status == SOTTO_OK) {
        status = run_all(&run, trace, err);
    }
    nn_run_input_close(&run.input);
    nn_run_engine_free(&run.engine);
    sotto_free(run.times);
    nn_control_free(run.control);
    sotto_free(run.records);
    return status;
}
