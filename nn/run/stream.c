/* SPDX-License-Identifier: MIT
 * Reading files of ciphertexts batch by batch; see run_internal.h.
 */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "nn/run/run_internal.h"

/* Larger records are taken one by one, and so are few. */
#define MOST_TOGETHER_BYTES ((size_t)4 << 20)
#define MANY_PER_THREAD 8

size_t nn_run_chunk(const nn_control *control, size_t each)
{
    const size_t threads = (size_t)nn_control_threads(control);
    const size_t fits = RUN_RECORD_MEMORY / each;
    const size_t most = threads * RUN_RECORDS_PER_THREAD;
    if (fits < threads) {
        return threads;
    }
    return fits < most ? fits : most;
}

uint64_t nn_run_scale_bits(double scale)
{
    uint64_t bits;
    memcpy(&bits, &scale, sizeof bits);
    return bits;
}

rlwe_file_header nn_run_header(const nn_plan *plan, const rlwe_context *context,
                               const uint8_t *key_id, bool from_seed,
                               uint64_t count)
{
    rlwe_file_header header =
        rlwe_file_header_make(context, RLWE_FILE_CIPHERTEXT, key_id, from_seed);
    memcpy(header.plan_id, plan->id, sizeof header.plan_id);
    header.count = count;
    return header;
}

/* ---- Opening ------------------------------------------------------------- */

/* The id of the plan stands for all its numbers, so that a file of another plan
 * is named as such and does not fail on the first number that differs. */
static sotto_status check_header(run_input *input, sotto_error *err)
{
    const rlwe_file_header *header = rlwe_file_header_of(input->file);
    if (memcmp(header->plan_id, input->plan->id, sizeof header->plan_id) != 0) {
        char have[2 * RLWE_ID_BYTES + 1];
        char want[2 * RLWE_ID_BYTES + 1];
        sotto_hex(have, header->plan_id, RLWE_ID_BYTES);
        sotto_hex(want, input->plan->id, RLWE_ID_BYTES);
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "%s was made with another plan: id %.16s…, expected "
                          "%.16s…; use the plan that it was made with",
                          input->path, have, want);
    }
    if (header->count < 1 || header->count > NN_PLAN_MAX_IMAGES) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s says that it belongs to a job of %llu images; "
                          "expected 1 to 2^40",
                          input->path, (unsigned long long)header->count);
    }
    input->count = header->count;
    input->n_batches = nn_plan_batches(input->plan, header->count);
    return SOTTO_OK;
}

sotto_status nn_run_input_open(run_input *input, const nn_plan *plan,
                               const rlwe_context *context, const char *path,
                               sotto_error *err)
{
    *input = (run_input){.plan = plan, .context = context, .path = path};
    SOTTO_TRY(
        rlwe_file_open(&input->file, path, context, RLWE_FILE_CIPHERTEXT, err));
    return check_header(input, err);
}

sotto_status nn_run_input_start(run_input *input, nn_control *control,
                                sotto_error *err)
{
    const size_t each = rlwe_ct_record_max(input->context);
    input->control = control;
    input->together = each <= MOST_TOGETHER_BYTES ? 2 : 1;
    const size_t n = (size_t)nn_control_threads(control) * input->together + 1;
    input->n_raw = n;
    input->raw = sotto_calloc(n, sizeof *input->raw);
    input->bytes = sotto_calloc(n, each);
    if (input->raw == NULL || input->bytes == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for %zu records of %s", n,
                          input->path);
    }
    /* Any record of these parameters fits; what is larger is refused unread. */
    for (size_t i = 0; i < n; i++) {
        input->raw[i].bytes = input->bytes + i * each;
    }
    return SOTTO_OK;
}

void nn_run_input_close(run_input *input)
{
    rlwe_file_close(input->file);
    sotto_free(input->raw);
    sotto_free(input->bytes);
    *input = (run_input){0};
}

/* ---- Records ------------------------------------------------------------- */

/* Reads the next record into *raw; at_end as rlwe_read_raw_ct. */
static sotto_status next_record(run_input *input, rlwe_raw_ct *raw,
                                bool *at_end, sotto_error *err)
{
    rlwe_raw_ct *ahead = &input->raw[input->n_raw - 1];
    if (input->ahead) {
        input->ahead = false;
        *at_end = false;
        const rlwe_raw_ct other = *raw;
        *raw = *ahead;
        *ahead = other;
        return SOTTO_OK;
    }
    return rlwe_read_raw_ct(input->file, raw, at_end, err);
}

static sotto_status fail_missing(const run_input *input, uint64_t batch,
                                 sotto_error *err)
{
    return sotto_fail(err, SOTTO_ERR_FORMAT,
                      "%s ends before batch %llu of %llu; expected all batches "
                      "that are worked on, in order",
                      input->path, (unsigned long long)batch,
                      (unsigned long long)input->n_batches);
}

/* Records are not verified here, which would cost as much as using them. A
 * false claim makes a later batch incomplete, which is found. */
sotto_status nn_run_input_seek(run_input *input, uint64_t batch,
                               sotto_error *err)
{
    rlwe_raw_ct *ahead = &input->raw[input->n_raw - 1];
    bool at_end = false;
    do {
        SOTTO_TRY(next_record(input, ahead, &at_end, err));
    } while (!at_end && ahead->index < batch);
    if (at_end) {
        return fail_missing(input, batch, err);
    }
    input->ahead = true;
    return SOTTO_OK;
}

/* Records of some batches, as tasks see them: numbered from the first one on.
 */
typedef struct item_job {
    run_input *input;
    uint64_t batch;  /* the first */
    size_t n;        /* records in all … */
    size_t together; /* … of which a worker takes so many at once */
    run_item fn;
    void *arg;
    pthread_mutex_t lock; /* of the file and of all below */
    size_t next;          /* record that is read next */
    bool at_end;          /* there is none */
    size_t failed;        /* first one that failed, with … */
    sotto_status status;  /* … */
    sotto_error error;    /* … */
} item_job;

/* Remembers the failure of the lowest record: whatever the order in which
 * workers get at the file, the same record speaks. */
static sotto_status fail_item(item_job *job, size_t at, sotto_status status,
                              const sotto_error *error)
{
    pthread_mutex_lock(&job->lock);
    if (job->status == SOTTO_OK || at < job->failed) {
        job->failed = at;
        job->status = status;
        job->error = *error;
    }
    pthread_mutex_unlock(&job->lock);
    return status;
}

/* Reads the next records, at most `wanted`; *at: number of the first one. A
 * record that fails counts, so that those behind it are others. */
static sotto_status take_records(item_job *job, rlwe_raw_ct *raw, size_t *n,
                                 size_t *at, size_t wanted, sotto_error *err)
{
    sotto_status status = SOTTO_OK;
    *n = 0;
    pthread_mutex_lock(&job->lock);
    *at = job->next;
    while (status == SOTTO_OK && !job->at_end && *n < wanted) {
        status = next_record(job->input, &raw[*n], &job->at_end, err);
        *n += status == SOTTO_OK && !job->at_end;
        job->next += !job->at_end;
    }
    pthread_mutex_unlock(&job->lock);
    return status;
}

/* Reads one or two records, whichever are next, and works on them. */
static sotto_status item_task(void *arg, size_t task, int worker,
                              sotto_error *err)
{
    item_job *job = arg;
    const run_input *input = job->input;
    if (task % job->together != 0) {
        return SOTTO_OK; /* taken with the one before */
    }
    rlwe_raw_ct *raw = &input->raw[(size_t)worker * input->together];
    const size_t left = job->n - task;
    sotto_error read_error;
    size_t n, at;
    const sotto_status read_status =
        take_records(job, raw, &n, &at,
                     left < job->together ? left : job->together, &read_error);
    if (n == 2) {
        rlwe_verify_two_cts(input->file, &raw[0], &raw[1]);
    }
    for (size_t i = 0; i < n; i++) {
        const sotto_status status =
            job->fn(job->arg, &raw[i], job->batch + (at + i) / input->n_items,
                    (uint32_t)((at + i) % input->n_items), worker, err);
        if (status != SOTTO_OK) {
            return fail_item(job, at + i, status, err);
        }
    }
    if (read_status != SOTTO_OK) {
        *err = read_error;
        return fail_item(job, at + n, read_status, err);
    }
    return SOTTO_OK;
}

/* What is there was looked at first: it may tell more than its end. */
static sotto_status finish_job(const item_job *job, sotto_status status,
                               sotto_error *err)
{
    const run_input *input = job->input;
    if (status != SOTTO_OK && job->status != SOTTO_OK) {
        *err = job->error;
        return job->status;
    }
    if (status != SOTTO_OK || !job->at_end) {
        return status;
    }
    const uint64_t batch = job->batch + job->next / input->n_items;
    const size_t items = job->next % input->n_items;
    if (items == 0) {
        return fail_missing(input, batch, err);
    }
    return sotto_fail(err, SOTTO_ERR_FORMAT,
                      "%s is truncated: batch %llu has %zu of %zu ciphertexts",
                      input->path, (unsigned long long)batch, items,
                      input->n_items);
}

sotto_status nn_run_input_batches(run_input *input, uint64_t batch,
                                  size_t n_batches, uint64_t work, run_item fn,
                                  void *arg, sotto_error *err)
{
    sotto_error none;
    item_job job = {.input = input,
                    .batch = batch,
                    .n = n_batches * input->n_items,
                    .together = 1,
                    .fn = fn,
                    .arg = arg};
    /* Two at a time only where all threads have many. */
    if (job.n >= MANY_PER_THREAD * (size_t)nn_control_threads(input->control)) {
        job.together = input->together;
    }
    err = err == NULL ? &none : err;
    if (pthread_mutex_init(&job.lock, NULL) != 0) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory for a lock");
    }
    sotto_status status =
        nn_control_run(input->control, job.n, work, item_task, &job, err);
    status = finish_job(&job, status, err);
    pthread_mutex_destroy(&job.lock);
    return status;
}

/* What a verified record says of itself, against the plan. Nothing else about
 * it can be wrong without the key: any residues are a ciphertext of something.
 */
static sotto_status check_shape(const run_input *input, const ckks_ct *ct,
                                uint64_t number, sotto_error *err)
{
    const double difference = fabs(ct->scale - input->scale);
    const bool scale_ok = input->exact_scale
                              ? ct->scale == input->scale
                              : difference <= 0x1p-40 * input->scale;
    if (ct->ct.level != input->level ||
        ct->ct.n_components != input->n_components) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "%s, record %llu: a ciphertext of %d components at "
                          "level %d; the plan expects %d at level %d",
                          input->path, (unsigned long long)number,
                          ct->ct.n_components, ct->ct.level,
                          input->n_components, input->level);
    }
    if (!scale_ok) { /* so is what is not a number */
        return sotto_fail(err, SOTTO_ERR_SCALE,
                          "%s, record %llu: a ciphertext of scale %.17g; the "
                          "plan expects %.17g",
                          input->path, (unsigned long long)number, ct->scale,
                          input->scale);
    }
    return SOTTO_OK;
}

sotto_status nn_run_input_parse(const run_input *input, ckks_ct *ct,
                                const rlwe_raw_ct *raw, uint64_t batch,
                                uint32_t item, sotto_error *err)
{
    uint64_t scale_bits, index;
    uint32_t have;
    SOTTO_TRY(rlwe_parse_ct(input->file, input->context, &ct->ct, &scale_bits,
                            &index, &have, raw, err));
    memcpy(&ct->scale, &scale_bits, sizeof ct->scale);
    if (index != batch || have != item) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s, record %llu: ciphertext %u of batch %llu; "
                          "expected %u of batch %llu: records are missing, "
                          "doubled or out of order",
                          input->path, (unsigned long long)raw->number, have,
                          (unsigned long long)index, item,
                          (unsigned long long)batch);
    }
    return check_shape(input, ct, raw->number, err);
}

sotto_status nn_run_input_end(run_input *input, sotto_error *err)
{
    rlwe_raw_ct *raw = &input->raw[0];
    bool at_end;
    SOTTO_TRY(next_record(input, raw, &at_end, err));
    if (!at_end) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s, record %llu: more than the %llu batches of %zu "
                          "ciphertexts announced",
                          input->path, (unsigned long long)raw->number,
                          (unsigned long long)input->n_batches, input->n_items);
    }
    return SOTTO_OK;
}
