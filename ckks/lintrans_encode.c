/* SPDX-License-Identifier: MIT
 * Encoding the diagonals and constants of a linear map.
 */
#include <math.h>
#include <string.h>

#include "ckks/lintrans_make_internal.h"
#include "ckks/round_internal.h"

/* The scale of the diagonals of an input. */
static double plain_scale(const ckks_lintrans_maker *m, size_t in)
{
    return m->spec->out_scale * m->divisor / m->spec->in_scale[in];
}

sotto_status ckks_lintrans_fetch(ckks_lintrans_maker *m, ckks_fill_slots fill,
                                 size_t index, const char *what,
                                 sotto_error *err)
{
    memset(m->slot, 0, m->slots * sizeof *m->slot);
    fill(m->spec->arg, index, m->slot);
    for (size_t j = 0; j < m->slots; j++) {
        if (!isfinite(m->slot[j])) {
            return sotto_fail(err, SOTTO_ERR_RANGE,
                              "linear map: slot %zu of %s %zu is %g; it must "
                              "be a finite number",
                              j, what, index, m->slot[j]);
        }
    }
    return SOTTO_OK;
}

/* The residues of a constant. */
static sotto_status encode_constant(ckks_lintrans_maker *m, size_t number,
                                    const ckks_lintrans_draft *draft,
                                    sotto_error *err)
{
    ckks_lintrans_stage *stage = &m->map->stage[0];
    const double product = draft->value * plain_scale(m, draft->in);
    const double bound = ckks_half_modulus(m->context, m->spec->from);
    const int count = stage->sum.count;
    if (!(fabs(product) < bound)) {
        return sotto_fail(err, SOTTO_ERR_RANGE,
                          "linear map: diagonal %zu is %g everywhere, %g with "
                          "its scale; that must stay below %g",
                          draft->index, draft->value, product, bound);
    }
    for (int i = 0; i < count; i++) {
        stage->plains.constant[number * (size_t)count + (size_t)i] =
            ckks_round_one(product,
                           rns_modulus(m->context->ring, stage->sum.id[i]),
                           ckks_round_words(bound));
    }
    return SOTTO_OK;
}

/* Adds a term to what the noise depends on. */
static void count_noise(ckks_lintrans_maker *m,
                        const ckks_lintrans_draft *draft, double square)
{
    ckks_lintrans *map = m->map;
    const double outputs = (double)m->spec->n_out;
    const double scale = plain_scale(m, draft->in);
    const double gain = square * scale * scale / outputs;
    map->gain += gain;
    map->gain_rotated += draft->baby != 0 ? gain : 0;
    if (!draft->is_constant) {
        map->n_plains += 1 / outputs;
    } else if (draft->value * scale != rint(draft->value * scale)) {
        map->n_constants += 1 / outputs;
    }
}

/* Diagonals whose slots are known and that are still to be encoded. Slots come
 * one after the other from a function that may keep a state; encoding is all
 * the work, and takes any thread. */
typedef struct batch {
    ckks_lintrans_maker *m;
    size_t cap, n;
    size_t first;                      /* number of diagonal 0 in the stage */
    const ckks_lintrans_draft **draft; /* [cap] */
    double *turned;       /* [cap][slots], rotated back by the giant step */
    double *coefficient;  /* [workers][N] */
    sotto_error *error;   /* [cap] */
    sotto_status *status; /* [cap] */
} batch;

static void batch_clear(batch *b)
{
    sotto_free((void *)b->draft);
    sotto_free(b->turned);
    sotto_free(b->coefficient);
    sotto_free(b->error);
    sotto_free(b->status);
}

static sotto_status batch_init(batch *b, ckks_lintrans_maker *m,
                               sotto_error *err)
{
    const size_t workers = (size_t)sotto_pool_threads(m->spec->pool);
    *b = (batch){.m = m, .cap = workers == 1 ? 1 : 8 * workers};
    b->draft = sotto_calloc(b->cap, sizeof(*b->draft));
    b->turned = sotto_calloc(b->cap * m->slots, sizeof *b->turned);
    b->coefficient = sotto_calloc(workers * m->context->ring->ring.n,
                                  sizeof *b->coefficient);
    b->error = sotto_calloc(b->cap, sizeof *b->error);
    b->status = sotto_calloc(b->cap, sizeof *b->status);
    if (!b->draft || !b->turned || !b->coefficient || !b->error || !b->status) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "linear map: no memory to encode diagonals");
    }
    return SOTTO_OK;
}

/* Encodes diagonal `task` of a batch. */
static sotto_status encode_task(void *arg, size_t task, int worker)
{
    batch *b = arg;
    const ckks_lintrans_maker *m = b->m;
    const ckks_lintrans_draft *draft = b->draft[task];
    double *x = b->coefficient + (size_t)worker * m->context->ring->ring.n;
    sotto_error *err = &b->error[task];
    sotto_status status = ckks_encode_scaled(
        m->encoder, m->context, x, b->turned + task * m->slots, m->slots,
        plain_scale(m, draft->in), m->spec->from, err);
    if (status != SOTTO_OK) {
        status = sotto_fail_prefix(err, status, "linear map: diagonal %zu",
                                   draft->index);
    } else {
        status = ckks_lintrans_plains_set(&m->map->stage[0], b->first + task, x,
                                          err);
    }
    b->status[task] = status;
    return status;
}

/* Encodes what a batch holds. Integers that are not resident may change their
 * width for all: one after the other. */
static sotto_status flush(batch *b, sotto_error *err)
{
    sotto_pool *pool =
        b->m->map->stage[0].plains.resident ? b->m->spec->pool : NULL;
    const sotto_status status = sotto_pool_run(pool, b->n, encode_task, b);
    for (size_t i = 0; status != SOTTO_OK && i < b->n; i++) {
        if (b->status[i] != SOTTO_OK) {
            return sotto_fail(err, status, "%s", b->error[i].text);
        }
    }
    b->first += b->n;
    b->n = 0;
    return status;
}

/* Adds a diagonal; square: its mean square. */
static sotto_status add_plain(batch *b, const ckks_lintrans_draft *draft,
                              double *square, sotto_error *err)
{
    ckks_lintrans_maker *m = b->m;
    if (b->n == b->cap) {
        SOTTO_TRY(flush(b, err));
    }
    SOTTO_TRY(
        ckks_lintrans_fetch(m, m->spec->fill, draft->index, "diagonal", err));
    double *turned = b->turned + b->n * m->slots;
    *square = 0;
    for (size_t j = 0; j < m->slots; j++) {
        turned[(j + draft->giant) & (m->slots - 1)] = m->slot[j];
        *square += m->slot[j] * m->slot[j] / (double)m->slots;
    }
    b->draft[b->n++] = draft;
    return SOTTO_OK;
}

static sotto_status encode_terms(batch *b, sotto_error *err)
{
    ckks_lintrans_maker *m = b->m;
    size_t n_constants = 0;
    for (size_t i = 0; i < m->n_drafts; i++) {
        const ckks_lintrans_draft *draft = &m->draft[i];
        double square = draft->value * draft->value;
        if (draft->is_constant) {
            SOTTO_TRY(encode_constant(m, n_constants++, draft, err));
        } else {
            SOTTO_TRY(add_plain(b, draft, &square, err));
        }
        count_noise(m, draft, square);
    }
    return flush(b, err);
}

sotto_status ckks_lintrans_encode(ckks_lintrans_maker *m, sotto_error *err)
{
    batch b;
    SOTTO_TRY(ckks_lintrans_plains_init(&m->map->stage[0],
                                        m->spec->memory_bytes, err));
    sotto_status status = batch_init(&b, m, err);
    if (status == SOTTO_OK) {
        status = encode_terms(&b, err);
    }
    batch_clear(&b);
    SOTTO_TRY(status);
    ckks_lintrans_stage_size(&m->map->stage[0]);
    return SOTTO_OK;
}
