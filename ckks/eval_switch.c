/* SPDX-License-Identifier: MIT
 * The evaluator's operations that need switching keys: relinearisation, with
 * or without the following rescale, rotation, conjugation.
 */
#include <stdio.h>
#include <string.h>

#include "ckks/eval.h"
#include "ckks/eval_internal.h"
#include "ntt/poly.h"
#include "rlwe/hoist.h"

/* Extra components of a ciphertext of most components. */
#define MAX_EXTRA (RLWE_MAX_COMPONENTS - RLWE_MIN_COMPONENTS)

/* The keys for one switch, all of one gadget. */
typedef struct switch_plan {
    int n;
    const rlwe_switch_key *key[MAX_EXTRA];
    const rlwe_switcher *switcher;
} switch_plan;

/* Fails when there are no keys, or keys of another secret. */
static sotto_status check_keys(ckks_evaluator *ev, const char *op,
                               const ckks_view *a)
{
    if (ev->keys == NULL || ev->keys->n_keys == 0) {
        return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                          "%s: the evaluator has no keys; give it the "
                          "evaluation keys of the ciphertext's owner",
                          op);
    }
    if (memcmp(ev->keys->key_id, a->key_id, sizeof a->key_id) != 0) {
        return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                          "%s: the ciphertext belongs to key %02x%02x…, the "
                          "evaluation keys to %02x%02x…",
                          op, a->key_id[0], a->key_id[1], ev->keys->key_id[0],
                          ev->keys->key_id[1]);
    }
    return SOTTO_OK;
}

/* A key of the set for target that serves the level and has the gadget (any
 * gadget if NULL), or NULL. */
static const rlwe_switch_key *find_key(const ckks_evaluator *ev,
                                       rlwe_key_target target, int level,
                                       const rlwe_gadget *gadget)
{
    if (gadget == NULL) {
        return rlwe_keyset_find(ev->keys, ev->context, target, level);
    }
    for (int i = 0; i < ev->keys->n_keys; i++) {
        const rlwe_switch_key *key = ev->keys->key[i];
        if (key->target.kind == target.kind &&
            key->target.value == target.value &&
            rlwe_gadget_equal(&key->gadget, gadget)) {
            return key;
        }
    }
    return NULL;
}

/* Appends a space and a word, cut to cap_bytes. */
static void append(char *text, size_t cap_bytes, const char *word)
{
    const size_t used = strlen(text);
    (void)snprintf(text + used, cap_bytes - used, " %s", word);
}

/* The same with a number. */
static void append_number(char *text, size_t cap_bytes, uint64_t value)
{
    char word[24];
    (void)snprintf(word, sizeof word, "%llu", (unsigned long long)value);
    append(text, cap_bytes, word);
}

/* Lists the powers whose keys serve the level. */
static void list_powers(const ckks_evaluator *ev, int level, char *text,
                        size_t cap_bytes)
{
    text[0] = '\0';
    for (uint64_t power = 2; power < RLWE_MAX_COMPONENTS; power++) {
        const rlwe_key_target target = {RLWE_KEY_POWER, power};
        if (find_key(ev, target, level, NULL)) {
            append_number(text, cap_bytes, power);
        }
    }
    if (text[0] == '\0') {
        append(text, cap_bytes, "none");
    }
}

/* Finds keys of one gadget for the powers 2 … n_extra + 1 of the secret. */
static sotto_status plan_powers(ckks_evaluator *ev, const char *op,
                                const ckks_view *a, int to, switch_plan *plan)
{
    const rns_set *set = rlwe_level_set(ev->context, a->level);
    plan->n = a->n - RLWE_MIN_COMPONENTS;
    SOTTO_TRY(check_keys(ev, op, a));
    for (int g = 0; g < ev->keys->n_keys; g++) {
        const rlwe_gadget *gadget = &ev->keys->key[g]->gadget;
        bool complete = rns_set_contains(&gadget->limbs, set);
        for (int i = 0; complete && i < plan->n; i++) {
            const rlwe_key_target target = {RLWE_KEY_POWER, (uint64_t)i + 2};
            plan->key[i] = find_key(ev, target, a->level, gadget);
            complete = plan->key[i] != NULL;
        }
        if (complete) {
            plan->switcher =
                rlwe_keyset_switcher(ev->keys, gadget, a->level, to);
            SOTTO_ASSERT(plan->switcher != NULL);
            return SOTTO_OK;
        }
    }
    char powers[64];
    list_powers(ev, a->level, powers, sizeof powers);
    for (int i = 0; i < plan->n; i++) {
        const rlwe_key_target target = {RLWE_KEY_POWER, (uint64_t)i + 2};
        if (!find_key(ev, target, a->level, NULL)) {
            return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                              "%s: no key for power %d of the secret at level "
                              "%d; the keys for that level are of power:%s",
                              op, i + 2, a->level, powers);
        }
    }
    return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                      "%s: the keys for powers 2 to %d of the secret at level "
                      "%d have different gadgets; make them with the same one",
                      op, plan->n + 1, a->level);
}

/* out = relinearised a, divided down to level `to`. */
static void switch_extra(ckks_evaluator *ev, ckks_ct *out, const ckks_view *a,
                         const switch_plan *plan)
{
    const rlwe_context *context = ev->context;
    const uint64_t *x[MAX_EXTRA];
    for (int i = 0; i < plan->n; i++) {
        x[i] = ckks_part(ev, a, RLWE_MIN_COMPONENTS + i);
    }
    const int to = out->ct.level;
    const size_t mark = sotto_arena_mark(&ev->arena);
    /* In place the parts of a smaller level overlap those of the input. */
    const bool aside = out->ct.data == a->data && to != a->level;
    uint64_t *const out_0 = aside ? ckks_take(ev, to) : ckks_out(ev, out, 0);
    uint64_t *const out_1 = aside ? ckks_take(ev, to) : ckks_out(ev, out, 1);
    rlwe_switch(plan->switcher, context, out_0, out_1, ckks_part(ev, a, 0),
                ckks_part(ev, a, 1), x, plan->key, plan->n, &ev->arena);
    if (aside) {
        const rns_set *set = rlwe_level_set(context, to);
        poly_copy(context->ring, set, ckks_out(ev, out, 0), out_0);
        poly_copy(context->ring, set, ckks_out(ev, out, 1), out_1);
    }
    sotto_arena_release(&ev->arena, mark);
}

sotto_status ckks_relinearise(ckks_evaluator *ev, ckks_ct *out,
                              const ckks_ct *a_ct)
{
    const char *const op = "relinearise";
    const ckks_view a = ckks_look(ev, a_ct);
    if (a.n == RLWE_MIN_COMPONENTS) { /* nothing to switch */
        return ckks_copy(ev, op, out, a_ct);
    }
    switch_plan plan;
    SOTTO_TRY(plan_powers(ev, op, &a, a.level, &plan));
    SOTTO_TRY(
        ckks_open(ev, op, out, &a, a.level, RLWE_MIN_COMPONENTS, a.scale));
    switch_extra(ev, out, &a, &plan);
    return SOTTO_OK;
}

sotto_status ckks_relinearise_rescale(ckks_evaluator *ev, ckks_ct *out,
                                      const ckks_ct *a_ct, int level)
{
    const char *const op = "relinearise_rescale";
    const ckks_view a = ckks_look(ev, a_ct);
    const rlwe_transition *step;
    SOTTO_TRY(ckks_find_step(ev, op, &a, level, &step));
    if (a.n == RLWE_MIN_COMPONENTS) {
        return ckks_divide_all(ev, op, out, &a, step);
    }
    switch_plan plan;
    SOTTO_TRY(plan_powers(ev, op, &a, level, &plan));
    SOTTO_TRY(ckks_open(ev, op, out, &a, level, RLWE_MIN_COMPONENTS,
                        a.scale / step->divisor));
    switch_extra(ev, out, &a, &plan);
    return SOTTO_OK;
}

/* Lists the rotations whose keys serve the level, as steps to the left. */
static void list_rotations(const ckks_evaluator *ev, int level, char *text,
                           size_t cap_bytes)
{
    const ntt_ring *ring = &ev->context->ring->ring;
    const rns_set *set = rlwe_level_set(ev->context, level);
    text[0] = '\0';
    for (int i = 0; i < ev->keys->n_keys; i++) {
        const rlwe_switch_key *key = ev->keys->key[i];
        if (key->target.kind != RLWE_KEY_GALOIS ||
            !rns_set_contains(&key->gadget.limbs, set)) {
            continue;
        }
        if (key->target.value == ntt_ring_conjugation(ring)) {
            append(text, cap_bytes, "conjugation");
            continue;
        }
        /* The step is the logarithm of the element to the base 5. */
        uint64_t element = 1;
        for (size_t steps = 0; steps < ntt_ring_slots(ring); steps++) {
            if (element == key->target.value) {
                append_number(text, cap_bytes, steps);
                break;
            }
            element = element * 5 & (ntt_ring_root_order(ring) - 1);
        }
    }
    if (text[0] == '\0') {
        append(text, cap_bytes, "none");
    }
}

/* Finds the key and the constants that bring a under X -> X^galois back to the
 * secret. */
static sotto_status find_galois(ckks_evaluator *ev, const char *op,
                                const ckks_view *a, uint64_t galois,
                                const rlwe_switch_key **key,
                                const rlwe_switcher **switcher)
{
    if (a->n != RLWE_MIN_COMPONENTS) {
        return sotto_fail(&ev->error, SOTTO_ERR_PARAM,
                          "%s: the ciphertext has %d components, needed are "
                          "2; relinearise first",
                          op, a->n);
    }
    SOTTO_TRY(check_keys(ev, op, a));
    const rlwe_key_target target = {RLWE_KEY_GALOIS, galois};
    *key = find_key(ev, target, a->level, NULL);
    if (*key == NULL) {
        char rotations[256];
        list_rotations(ev, a->level, rotations, sizeof rotations);
        return sotto_fail(&ev->error, SOTTO_ERR_KEY,
                          "%s: no key for Galois element %llu at level %d; the "
                          "keys for that level allow:%s",
                          op, (unsigned long long)galois, a->level, rotations);
    }
    *switcher =
        rlwe_keyset_switcher(ev->keys, &(*key)->gadget, a->level, a->level);
    SOTTO_ASSERT(*switcher != NULL);
    return SOTTO_OK;
}

/* out = a under X -> X^galois, switched back to the secret. */
static sotto_status apply_galois(ckks_evaluator *ev, const char *op,
                                 ckks_ct *out, const ckks_ct *a_ct,
                                 uint64_t galois)
{
    const rlwe_context *context = ev->context;
    const ckks_view a = ckks_look(ev, a_ct);
    const rlwe_switch_key *key;
    const rlwe_switcher *switcher;
    SOTTO_TRY(find_galois(ev, op, &a, galois, &key, &switcher));
    SOTTO_TRY(
        ckks_open(ev, op, out, &a, a.level, RLWE_MIN_COMPONENTS, a.scale));

    ntt_ring_automorphism(&context->ring->ring, ev->map, galois);
    rlwe_switch_turned(switcher, context, ckks_out(ev, out, 0),
                       ckks_out(ev, out, 1), ckks_part(ev, &a, 0),
                       ckks_part(ev, &a, 1), ev->map, key, &ev->arena);
    return SOTTO_OK;
}

/* Room for the name of a rotation in messages. */
#define ROTATION_BYTES 48

static const char *name_rotation(char *op, int64_t steps)
{
    (void)snprintf(op, ROTATION_BYTES, "rotate by %lld", (long long)steps);
    return op;
}

uint64_t ckks_rotation_galois(int log2_n, int64_t steps)
{
    const ntt_ring ring = ntt_ring_init(log2_n);
    return ntt_ring_rotation(&ring, steps);
}

sotto_status ckks_rotate(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a,
                         int64_t steps)
{
    const uint64_t galois = ntt_ring_rotation(&ev->context->ring->ring, steps);
    char op[ROTATION_BYTES];
    name_rotation(op, steps);
    if (galois == 1 && a->ct.n_components == RLWE_MIN_COMPONENTS) {
        return ckks_copy(ev, op, out, a); /* every slot stays */
    }
    return apply_galois(ev, op, out, a, galois);
}

/* ---- Many rotations of one ciphertext ------------------------------------ */

/* Scratch of ckks_rotate_many. */
typedef struct many_work {
    uint64_t *lifted; /* digits of the input … */
    uint64_t *u[2];   /* product of digits and key, modulo Q·P */
} many_work;

/* Most words of digits and accumulators over the keys of an evaluator. */
static void many_words(const ckks_evaluator *ev, size_t *digits, size_t *acc)
{
    *digits = *acc = 0;
    for (int i = 0; ev->keys != NULL && i < ev->keys->n_switchers; i++) {
        const rlwe_switcher *switcher = ev->keys->switcher[i];
        const size_t d = rlwe_hoist_digits_words(switcher, ev->context);
        const size_t w = rlwe_hoist_words(switcher, ev->context);
        *digits = d > *digits ? d : *digits;
        *acc = w > *acc ? w : *acc;
    }
}

size_t ckks_rotate_many_scratch(const ckks_evaluator *ev)
{
    size_t digits, acc;
    many_words(ev, &digits, &acc);
    return sotto_arena_need(digits, sizeof(uint64_t)) +
           2 * sotto_arena_need(acc, sizeof(uint64_t)) +
           rlwe_hoist_scratch(ev->context);
}

/* Checks keys and room of all outputs before the first is written. */
static sotto_status check_many(ckks_evaluator *ev, ckks_ct *const *out,
                               const ckks_ct *a_ct, const int64_t *steps,
                               size_t n)
{
    const ckks_view a = ckks_look(ev, a_ct);
    const ntt_ring *ring = &ev->context->ring->ring;
    const size_t words =
        RLWE_MIN_COMPONENTS * rlwe_level_words(ev->context, a.level);
    for (size_t i = 0; i < n; i++) {
        const rlwe_switch_key *key;
        const rlwe_switcher *switcher;
        const uint64_t galois = ntt_ring_rotation(ring, steps[i]);
        char op[ROTATION_BYTES];
        SOTTO_ASSERT(out[i] != a_ct);
        name_rotation(op, steps[i]);
        if (galois != 1 || a.n != RLWE_MIN_COMPONENTS) {
            SOTTO_TRY(find_galois(ev, op, &a, galois, &key, &switcher));
        }
        if (out[i]->ct.capacity < words) {
            return sotto_fail(&ev->error, SOTTO_ERR_PARAM,
                              "%s: the output has room for %zu words, needed "
                              "are %zu",
                              op, out[i]->ct.capacity, words);
        }
    }
    return SOTTO_OK;
}

/* One rotation from digits that are there. */
static sotto_status rotate_digits(ckks_evaluator *ev, ckks_ct *out,
                                  const ckks_view *a, uint64_t galois,
                                  const rlwe_switch_key *key,
                                  const rlwe_switcher *switcher,
                                  const rlwe_digits *digits,
                                  const many_work *work, sotto_arena *arena)
{
    const rlwe_context *context = ev->context;
    ntt_ring_automorphism(&context->ring->ring, ev->map, galois);
    const rlwe_hoist_extra extra = {.map = ev->map, .c_0 = ckks_part(ev, a, 0)};
    rlwe_hoist_product(switcher, context, work->u[0], work->u[1], digits, key,
                       &extra, arena);
    SOTTO_TRY(ckks_open(ev, "rotate", out, a, a->level, RLWE_MIN_COMPONENTS,
                        a->scale));
    for (int k = 0; k < RLWE_MIN_COMPONENTS; k++) {
        rlwe_hoist_divide(switcher, context, ckks_out(ev, out, k), work->u[k],
                          arena);
    }
    return SOTTO_OK;
}

sotto_status ckks_rotate_many(ckks_evaluator *ev, ckks_ct *const *out,
                              const ckks_ct *a_ct, const int64_t *steps,
                              size_t n, sotto_arena *arena)
{
    SOTTO_TRY(check_many(ev, out, a_ct, steps, n));
    const ckks_view a = ckks_look(ev, a_ct);
    const size_t mark = sotto_arena_mark(arena);
    size_t digit_words, acc_words;
    many_words(ev, &digit_words, &acc_words);
    many_work work = {
        .lifted = sotto_arena_take(arena, digit_words, sizeof *work.lifted)};
    for (int k = 0; k < 2; k++) {
        work.u[k] = sotto_arena_take(arena, acc_words, sizeof *work.u[k]);
    }
    SOTTO_ASSERT(n == 0 || work.u[1] != NULL);
    /* Keys of one gadget follow each other as a rule: one ModUp for all. */
    const rlwe_switcher *lifted_for = NULL;
    rlwe_digits digits;
    sotto_status status = SOTTO_OK;
    for (size_t i = 0; i < n && status == SOTTO_OK; i++) {
        const uint64_t galois =
            ntt_ring_rotation(&ev->context->ring->ring, steps[i]);
        if (galois == 1) {
            status = ckks_copy(ev, "rotate by 0", out[i], a_ct);
            continue;
        }
        const rlwe_switch_key *key;
        const rlwe_switcher *switcher;
        status = find_galois(ev, "rotate", &a, galois, &key, &switcher);
        if (status != SOTTO_OK) {
            break;
        }
        if (switcher != lifted_for) {
            rlwe_hoist_decompose(switcher, ev->context, &digits, work.lifted,
                                 ckks_part(ev, &a, 1), arena);
            lifted_for = switcher;
        }
        status = rotate_digits(ev, out[i], &a, galois, key, switcher, &digits,
                               &work, arena);
    }
    sotto_arena_release(arena, mark);
    return status;
}

sotto_status ckks_conjugate(ckks_evaluator *ev, ckks_ct *out, const ckks_ct *a)
{
    return apply_galois(ev, "conjugate", out, a,
                        ntt_ring_conjugation(&ev->context->ring->ring));
}
