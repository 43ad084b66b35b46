/* SPDX-License-Identifier: MIT
 * The evaluator, and its operations without switching keys.
 */
#include "ckks/eval.h"

#include <math.h>
#include <string.h>

#include "ckks/encode.h"
#include "ckks/eval_internal.h"
#include "ckks/round_internal.h"
#include "ntt/poly.h"

/* The most that one operation takes from the arena. */
static size_t arena_bytes(const rlwe_context *context)
{
    const rlwe_chain *chain = &context->chain;
    const size_t poly =
        sotto_arena_need(rlwe_level_words(context, 0), sizeof(uint64_t));
    const size_t limb =
        sotto_arena_need(context->ring->stride, sizeof(uint64_t));
    size_t divide = 0;
    for (int i = 0; i < chain->n_transitions; i++) {
        const size_t words =
            rns_divide_scratch(chain->transition[i].divider, context->ring);
        const size_t bytes = sotto_arena_need(words, sizeof(uint64_t));
        divide = bytes > divide ? bytes : divide;
    }
    const size_t rescale = 2 * poly + divide;
    const size_t mul = RLWE_MAX_COMPONENTS * limb;
    const size_t key_switch = 2 * poly + rlwe_switch_scratch(context);
    size_t most = rescale > mul ? rescale : mul;
    most = key_switch > most ? key_switch : most;
    return most;
}

sotto_status ckks_evaluator_new(ckks_evaluator **evaluator,
                                const rlwe_context *context,
                                const rlwe_keyset *keys, sotto_error *err)
{
    *evaluator = NULL;
    ckks_evaluator *ev = sotto_calloc(1, sizeof *ev);
    if (!ev) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "evaluator: no memory");
    }
    ev->context = context;
    ev->keys = keys;
    ev->arena = sotto_arena_init(arena_bytes(context));
    ev->map = sotto_calloc(context->ring->ring.n, sizeof *ev->map);
    if (!ev->arena.base || !ev->map) {
        ckks_evaluator_free(ev);
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "evaluator: no memory for %zu bytes of scratch",
                          arena_bytes(context));
    }
    *evaluator = ev;
    return SOTTO_OK;
}

void ckks_evaluator_free(ckks_evaluator *evaluator)
{
    if (evaluator) {
        sotto_arena_clear(&evaluator->arena);
        sotto_free(evaluator->map);
        sotto_free(evaluator);
    }
}

ckks_view ckks_look(const ckks_evaluator *ev, const ckks_ct *ct)
{
    SOTTO_ASSERT(ct->ct.data != NULL);
    SOTTO_ASSERT(ct->ct.level >= 0 &&
                 ct->ct.level < ev->context->chain.n_levels);
    SOTTO_ASSERT(ct->ct.n_components >= RLWE_MIN_COMPONENTS &&
                 ct->ct.n_components <= RLWE_MAX_COMPONENTS);
    ckks_view view = {
        .level = ct->ct.level,
        .n = ct->ct.n_components,
        .scale = ct->scale,
        .data = ct->ct.data,
    };
    memcpy(view.key_id, ct->ct.key_id, sizeof view.key_id);
    return view;
}

uint64_t *ckks_take(ckks_evaluator *ev, int level)
{
    uint64_t *poly = sotto_arena_take(
        &ev->arena, rlwe_level_words(ev->context, level), sizeof *poly);
    SOTTO_ASSERT(poly != NULL);
    return poly;
}

sotto_status ckks_open(ckks_evaluator *ev, const char *op, ckks_ct *out,
                       const ckks_view *like, int level, int n_components,
                       double scale)
{
    const sotto_status status =
        rlwe_ct_reshape(&out->ct, ev->context, level, n_components, &ev->error);
    if (status != SOTTO_OK) {
        return sotto_fail_prefix(&ev->error, status, "%s", op);
    }
    out->scale = scale;
    memcpy(out->ct.key_id, like->key_id, sizeof out->ct.key_id);
    return SOTTO_OK;
}

sotto_status ckks_copy(ckks_evaluator *ev, const char *op, ckks_ct *out,
                       const ckks_ct *a)
{
    const double scale = a->scale;
    const sotto_status status =
        rlwe_ct_copy(&out->ct, ev->context, &a->ct, &ev->error);
    if (status != SOTTO_OK) {
        return sotto_fail_prefix(&ev->error, status, "%s", op);
    }
    out->scale = scale;
    return SOTTO_OK;
}

bool ckks_same_scale(double a, double b)
{
    /* false when b is NaN or infinite */
    return ckks_is_scale(a) && fabs(a - b) <= 0x1p-40 * a;
}

/* Checks of operations on two ciphertexts. */
static sotto_status check_pair(ckks_evaluator *ev, const char *op,
                               const ckks_view *a, const ckks_view *b)
{
    if (a->level != b->level) {
        return sotto_fail(&ev->error, SOTTO_ERR_LEVEL,
                          "%s: the operands are at levels %d and %d; drop one "
                          "to the level of the other first",
                          op, a->level, b->level);
    }
    if (memcmp(a->key_id, b->key_id, sizeof a->key_id) != 0) {
        return sotto_fail(&ev->error, SOTTO_ERR_MISMATCH,
                          "%s: the operands are encrypted under different keys "
                          "(ids %02x%02x… and %02x%02x…)",
                          op, a->key_id[0], a->key_id[1], b->key_id[0],
                          b->key_id[1]);
    }
    return SOTTO_OK;
}

static sotto_status check_equal_scales(ckks_evaluator *ev, const char *op,
                                       const ckks_view *a, const ckks_view *b)
{
    if (!ckks_same_scale(a->scale, b->scale)) {
        return sotto_fail(&ev->error, SOTTO_ERR_SCALE,
                          "%s: the operands have scales %.17g and %.17g; they "
                          "must be equal to 2^-40 (multiply one by a constant "
                          "at the scale that is missing, then rescale)",
                          op, a->scale, b->scale);
    }
    return SOTTO_OK;
}

/* A factor's scale, and what it makes of the ciphertext's. */
static sotto_status check_product_scale(ckks_evaluator *ev, const char *op,
                                        const ckks_view *a, double factor,
                                        double *product)
{
    *product = a->scale * factor;
    if (!ckks_is_scale(factor)) {
        return sotto_fail(&ev->error, SOTTO_ERR_SCALE,
                          "%s: the scale %g of the factor must be a finite "
                          "number above 0",
                          op, factor);
    }
    const double modulus = 2 * ckks_half_modulus(ev->context, a->level);
    if (!ckks_is_scale(*product) || *product >= modulus) {
        return sotto_fail(&ev->error, SOTTO_ERR_SCALE,
                          "%s: the scale would be %g, but the modulus of level "
                          "%d is %g; rescale before multiplying",
                          op, *product, a->level, modulus);
    }
    return SOTTO_OK;
}

static void copy_part(const ckks_evaluator *ev, int level, uint64_t *r,
                      const uint64_t *a)
{
    if (r != a) {
        poly_copy(ev->context->ring, rlwe_level_set(ev->context, level), r, a);
    }
}

/* out = a ± b */
static sotto_status add_or_sub(ckks_evaluator *ev, const char *op, ckks_ct *out,
                               const ckks_ct *a_ct, const ckks_ct *b_ct,
                               bool subtract)
{
    const ckks_view a = ckks_look(ev, a_ct);
    const ckks_view b = ckks_look(ev, b_ct);
    const rns_ring *ring = ev->context->ring;
    const rns_set *set = rlwe_level_set(ev->context, a.level);
    SOTTO_TRY(check_pair(ev, op, &a, &b));
    SOTTO_TRY(check_equal_scales(ev, op, &a, &b));
    SOTTO_TRY(
        ckks_open(ev, op, out, &a, a.level, a.n > b.n ? a.n : b.n, a.scale));
    for (int i = 0; i < out->ct.n_components; i++) {
        uint64_t *const r = ckks_out(ev, out, i);
        if (i >= b.n) {
            copy_part(ev, a.level, r, ckks_part(ev, &a, i));
        } else if (i >= a.n && subtract) {
            poly_negate(ring, set, r, ckks_part(ev, &b, i));
        } else if (i >= a.n) {
            copy_part(ev, a.level, r, ckks_part(ev, &b, i));
        } else if (subtract) {
            poly_sub(ring, set, r, ckks_part(ev, &a, i), ckks_part(ev, &b, i));
        } else {
            poly_add(ring, set, r, ckks_part(ev, &a, i), ckks_part(ev, &b, i));
        }
    }
    return SOTTO_OK;
}

sotto_status ckks_add(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                      const ckks_ct *b)
{
    return add_or_sub(ev, "add", out, a, b, false);
}

sotto_status ckks_sub(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                      const ckks_ct *b)
{
    return add_or_sub(ev, "sub", out, a, b, true);
}

sotto_status ckks_negate(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a_ct)
{
    const ckks_view a = ckks_look(ev, a_ct);
    const rns_set *set = rlwe_level_set(ev->context, a.level);
    SOTTO_TRY(ckks_open(ev, "negate", out, &a, a.level, a.n, a.scale));
    for (int i = 0; i < a.n; i++) {
        poly_negate(ev->context->ring, set, ckks_out(ev, out, i),
                    ckks_part(ev, &a, i));
    }
    return SOTTO_OK;
}

sotto_status ckks_add_plain(ckks_evaluator *ev, ckks_ct *out,
                            const ckks_ct *a_ct, const uint64_t *plain)
{
    const ckks_view a = ckks_look(ev, a_ct);
    const rns_set *set = rlwe_level_set(ev->context, a.level);
    SOTTO_TRY(ckks_open(ev, "add_plain", out, &a, a.level, a.n, a.scale));
    poly_add(ev->context->ring, set, ckks_out(ev, out, 0), ckks_part(ev, &a, 0),
             plain);
    for (int i = 1; i < a.n; i++) {
        copy_part(ev, a.level, ckks_out(ev, out, i), ckks_part(ev, &a, i));
    }
    return SOTTO_OK;
}

/* The residues of a constant, with the operation in the message. */
static sotto_status encode_constant(ckks_evaluator *ev, const char *op,
                                    uint64_t *residue, double value,
                                    double scale, int level)
{
    const sotto_status status = ckks_encode_constant(
        ev->context, residue, value, scale, level, &ev->error);
    return status == SOTTO_OK ? SOTTO_OK
                              : sotto_fail_prefix(&ev->error, status, "%s", op);
}

sotto_status ckks_add_constant(ckks_evaluator *ev, ckks_ct *out,
                               const ckks_ct *a_ct, double value)
{
    const ckks_view a = ckks_look(ev, a_ct);
    const rns_set *set = rlwe_level_set(ev->context, a.level);
    uint64_t residue[RNS_MAX_LIMBS];
    SOTTO_TRY(
        encode_constant(ev, "add_constant", residue, value, a.scale, a.level));
    SOTTO_TRY(ckks_open(ev, "add_constant", out, &a, a.level, a.n, a.scale));
    poly_add_scalar(ev->context->ring, set, ckks_out(ev, out, 0),
                    ckks_part(ev, &a, 0), residue);
    for (int i = 1; i < a.n; i++) {
        copy_part(ev, a.level, ckks_out(ev, out, i), ckks_part(ev, &a, i));
    }
    return SOTTO_OK;
}

sotto_status ckks_mul_plain(ckks_evaluator *ev, ckks_ct *out,
                            const ckks_ct *a_ct, const uint64_t *plain,
                            double plain_scale)
{
    const ckks_view a = ckks_look(ev, a_ct);
    const rns_set *set = rlwe_level_set(ev->context, a.level);
    double scale;
    SOTTO_TRY(check_product_scale(ev, "mul_plain", &a, plain_scale, &scale));
    SOTTO_TRY(ckks_open(ev, "mul_plain", out, &a, a.level, a.n, scale));
    for (int i = 0; i < a.n; i++) {
        poly_mul(ev->context->ring, set, ckks_out(ev, out, i),
                 ckks_part(ev, &a, i), plain);
    }
    return SOTTO_OK;
}

sotto_status ckks_mul_constant(ckks_evaluator *ev, ckks_ct *out,
                               const ckks_ct *a_ct, double value,
                               double factor_scale)
{
    const ckks_view a = ckks_look(ev, a_ct);
    const rns_set *set = rlwe_level_set(ev->context, a.level);
    uint64_t residue[RNS_MAX_LIMBS];
    double scale;
    SOTTO_TRY(
        check_product_scale(ev, "mul_constant", &a, factor_scale, &scale));
    SOTTO_TRY(encode_constant(ev, "mul_constant", residue, value, factor_scale,
                              a.level));
    SOTTO_TRY(ckks_open(ev, "mul_constant", out, &a, a.level, a.n, scale));
    for (int i = 0; i < a.n; i++) {
        poly_mul_scalar(ev->context->ring, set, ckks_out(ev, out, i),
                        ckks_part(ev, &a, i), residue);
    }
    return SOTTO_OK;
}

/* One limb of a product: r_k = Σ_{i+j=k} a_i·b_j. */
static void product_limb(uint64_t *const *r, const uint64_t *const *a, int na,
                         const uint64_t *const *b, int nb, size_t n,
                         const rns_limb *limb)
{
    const ntt_kernels *kernel = &limb->kernels;
    const zq_modulus *mod = &limb->table->mod;
    for (int k = 0; k < na + nb - 1; k++) {
        const int first = k < nb ? 0 : k - nb + 1;
        const int last = k < na ? k : na - 1;
        kernel->mul(r[k], a[first], b[k - first], n, mod);
        for (int i = first + 1; i <= last; i++) {
            kernel->mul_add(r[k], a[i], b[k - i], n, mod);
        }
    }
}

/* One limb of a square: equal products are made once. Of at most 3 components
 * (5 in the result), each k has at most one pair i < j with i + j = k. */
static void square_limb(uint64_t *const *r, const uint64_t *const *a, int na,
                        size_t n, const rns_limb *limb)
{
    const ntt_kernels *kernel = &limb->kernels;
    const zq_modulus *mod = &limb->table->mod;
    for (int k = 0; k < 2 * na - 1; k++) {
        const int i = k < na ? 0 : k - na + 1;
        const int j = k - i;
        kernel->mul(r[k], a[i], a[j], n, mod);
        if (i < j) {
            kernel->add(r[k], r[k], r[k], n, mod);
        }
        if (i < j && k % 2 == 0) {
            kernel->mul_add(r[k], a[k / 2], a[k / 2], n, mod);
        }
    }
}

/* Limb l of every component. */
static void gather(const ckks_evaluator *ev, const uint64_t **limb,
                   const ckks_view *a, int l)
{
    for (int i = 0; i < a->n; i++) {
        limb[i] = poly_limb_const(ev->context->ring, ckks_part(ev, a, i), l);
    }
}

/* out = a·b limb by limb. Where the output is an input, a limb of all its
 * components is made aside first; other limbs are not touched meanwhile. */
static void multiply(ckks_evaluator *ev, ckks_ct *out, const ckks_view *a,
                     const ckks_view *b)
{
    const rns_ring *ring = ev->context->ring;
    const rns_set *set = rlwe_level_set(ev->context, a->level);
    const size_t n = ring->ring.n;
    const int n_out = out->ct.n_components;
    const bool aside = out->ct.data == a->data || out->ct.data == b->data;
    const size_t mark = sotto_arena_mark(&ev->arena);
    const uint64_t *x[RLWE_MAX_COMPONENTS];
    const uint64_t *y[RLWE_MAX_COMPONENTS];
    uint64_t *scratch[RLWE_MAX_COMPONENTS] = {0};
    for (int k = 0; aside && k < n_out; k++) {
        scratch[k] = sotto_arena_take(&ev->arena, ring->stride, sizeof **x);
        SOTTO_ASSERT(scratch[k] != NULL);
    }
    for (int l = 0; l < set->count; l++) {
        const rns_limb *limb = &ring->limb[set->id[l]];
        uint64_t *r[RLWE_MAX_COMPONENTS];
        gather(ev, x, a, l);
        gather(ev, y, b, l);
        for (int k = 0; k < n_out; k++) {
            r[k] =
                aside ? scratch[k] : poly_limb(ring, ckks_out(ev, out, k), l);
        }
        if (a->data == b->data) {
            square_limb(r, x, a->n, n, limb);
        } else {
            product_limb(r, x, a->n, y, b->n, n, limb);
        }
        for (int k = 0; aside && k < n_out; k++) {
            memcpy(poly_limb(ring, ckks_out(ev, out, k), l), r[k],
                   n * sizeof *r[k]);
        }
    }
    sotto_arena_release(&ev->arena, mark);
}

sotto_status ckks_mul(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a_ct,
                      const ckks_ct *b_ct)
{
    const ckks_view a = ckks_look(ev, a_ct);
    const ckks_view b = ckks_look(ev, b_ct);
    const int n_out = a.n + b.n - 1;
    double scale;
    SOTTO_TRY(check_pair(ev, "mul", &a, &b));
    if (n_out > RLWE_MAX_COMPONENTS) {
        return sotto_fail(&ev->error, SOTTO_ERR_PARAM,
                          "mul: operands of %d and %d components make %d, the "
                          "most is %d; relinearise one first",
                          a.n, b.n, n_out, RLWE_MAX_COMPONENTS);
    }
    SOTTO_TRY(check_product_scale(ev, "mul", &a, b.scale, &scale));
    SOTTO_TRY(ckks_open(ev, "mul", out, &a, a.level, n_out, scale));
    multiply(ev, out, &a, &b);
    return SOTTO_OK;
}

sotto_status ckks_square(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a)
{
    return ckks_mul(ev, out, a, a);
}

sotto_status ckks_find_step(ckks_evaluator *ev, const char *op,
                            const ckks_view *view, int level,
                            const rlwe_transition **step)
{
    *step = rlwe_chain_step(&ev->context->chain, view->level, level);
    if (*step == NULL) {
        return sotto_fail(&ev->error, SOTTO_ERR_LEVEL,
                          "%s: there is no step from level %d to level %d in "
                          "the table of %d levels",
                          op, view->level, level, ev->context->chain.n_levels);
    }
    return SOTTO_OK;
}

sotto_status ckks_divide_all(ckks_evaluator *ev, const char *op, ckks_ct *out,
                             const ckks_view *a, const rlwe_transition *step)
{
    const rns_ring *ring = ev->context->ring;
    const rns_set *from = rlwe_level_set(ev->context, a->level);
    const rns_set *to = rlwe_level_set(ev->context, step->to);
    SOTTO_TRY(
        ckks_open(ev, op, out, a, step->to, a->n, a->scale / step->divisor));
    const size_t mark = sotto_arena_mark(&ev->arena);
    uint64_t *keep = ckks_take(ev, step->to);
    uint64_t *by = sotto_arena_take(
        &ev->arena, poly_words(ring, step->removed.count), sizeof *by);
    uint64_t *scratch = sotto_arena_take(
        &ev->arena, rns_divide_scratch(step->divider, ring), sizeof *scratch);
    SOTTO_ASSERT(by != NULL && scratch != NULL);
    for (int i = 0; i < a->n; i++) {
        /* In place, component i of the result ends before component i + 1 of
         * the input begins, and component i itself has been copied. */
        poly_select(ring, to, keep, from, ckks_part(ev, a, i));
        poly_select(ring, &step->removed, by, from, ckks_part(ev, a, i));
        rns_divide(step->divider, ring, ckks_out(ev, out, i), keep, by,
                   scratch);
    }
    sotto_arena_release(&ev->arena, mark);
    return SOTTO_OK;
}

sotto_status ckks_rescale(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a_ct,
                          int level)
{
    const ckks_view a = ckks_look(ev, a_ct);
    const rlwe_transition *step;
    SOTTO_TRY(ckks_find_step(ev, "rescale", &a, level, &step));
    return ckks_divide_all(ev, "rescale", out, &a, step);
}

sotto_status ckks_drop(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                       int level)
{
    const double scale = ckks_look(ev, a).scale;
    const sotto_status status =
        rlwe_ct_drop(&out->ct, ev->context, &a->ct, level, &ev->error);
    if (status != SOTTO_OK) {
        return sotto_fail_prefix(&ev->error, status, "drop");
    }
    out->scale = scale;
    return SOTTO_OK;
}
