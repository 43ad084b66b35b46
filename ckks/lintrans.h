/* SPDX-License-Identifier: MIT
 * Linear maps on slots by diagonals, as one level.
 *
 *   out_o = Σ over terms of o:  diagonal ⊙ rot_rotation(in_i)  (+ bias_o)
 *
 *   slot j of out_o receives diagonal[j] · slot j + rotation of in_i
 *
 * Rotations are split in two, rotation = giant + baby (SPEC §9.1):
 *
 *   out_o = Σ_g rot_g( Σ_(i,b) rot_-g(diagonal) ⊙ rot_b(in_i) )
 *
 *     in ── ModUp ─┬─ key b ──┬─ ⊙ diagonals ── Σ_0 ───────────────────┬─ Σ ─ ÷
 *                  └─ key b' ─┴─ ⊙ diagonals ── Σ_g ─ ModUp ─ key g ───┘
 *
 * One ModUp of an input serves all its babies. Double hoisting keeps inner sums
 * modulo Q·P, so that only their second halves are divided, once per giant;
 * single hoisting divides each rotated input and multiplies modulo Q. All
 * giants share one division by P times the moduli that the rescale removes.
 *
 * Diagonals are encoded at the scale that makes that division end exactly on
 * the wanted scale. A map is compiled once, knows no keys, and is immutable.
 */
#ifndef SOTTO_CKKS_LINTRANS_H
#define SOTTO_CKKS_LINTRANS_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/pool.h"
#include "base/status.h"
#include "ckks/encode.h"
#include "ckks/eval.h"

/* One diagonal of a map. Any order; the same place may occur twice. */
typedef struct ckks_diagonal {
    uint32_t out;     /* ciphertext that it is added to … */
    uint32_t in;      /* … and that it reads */
    int64_t rotation; /* steps to the left; any, taken modulo the slots */
} ckks_diagonal;

/* Writes the real slots of number `index`: slot double[N/2] is zero before. */
typedef void (*ckks_fill_slots)(void *arg, size_t index, double *slot);

/* How babies are made. */
typedef enum ckks_hoisting {
    CKKS_HOIST_AUTO = 0, /* whichever of the next two counts less */
    CKKS_HOIST_SINGLE,   /* one division per rotated input; products mod Q */
    CKKS_HOIST_DOUBLE    /* inner sums mod Q·P; one division per giant step */
} ckks_hoisting;

/* Seconds (or any unit) of the work on one limb of N residues. */
typedef struct ckks_lintrans_rates {
    double transform; /* one NTT with its base conversion */
    double product;   /* one multiply-add of residues */
    double load;      /* reading a limb of a key or diagonal from memory */
} ckks_lintrans_rates;

/* Out becomes Σ_(0 <= k < count) rot_(k·step)(out): count 2 doubles a sum,
 * larger counts cost more keys and less time (hoisted). With negative steps:
 * replication. */
typedef struct ckks_fold {
    int64_t step;
    int count;  /* >= 2 */
    int gadget; /* of its keys, a number in the parameters */
} ckks_fold;

/* A map to compile. Pointers are needed during ckks_lintrans_new only. */
typedef struct ckks_lintrans_spec {
    size_t n_in;
    size_t n_out;
    size_t n_diagonals;
    const ckks_diagonal *diagonal; /* [n_diagonals] */
    const int64_t *giant; /* [n_diagonals]: giant step of each; NULL: chosen */
    ckks_fill_slots fill; /* diagonals by number */
    ckks_fill_slots fill_bias; /* by number of the output; added last; NULL:
                                * none */
    void *arg;                 /* of both */

    int from;               /* level of the inputs */
    int to;                 /* of the outputs; == from: no rescale */
    const double *in_scale; /* [n_in] */
    double out_scale;       /* wanted exactly */
    int gadget; /* of the keys of all rotations; -1 when nothing is rotated */

    size_t n_folds; /* of the outputs, before the rescale, in order … */
    const ckks_fold *fold;
    size_t n_late_folds; /* … and after the rescale: fewer limbs */
    const ckks_fold *late_fold;

    ckks_hoisting hoisting;
    const ckks_lintrans_rates
        *rates;          /* NULL: those of ckks_lintrans_rates_of */
    size_t memory_bytes; /* for encoded diagonals; 0: no limit. Beyond it they
                          * are kept as integers and transformed at each use */
    sotto_pool *pool;    /* encodes diagonals (the functions are called from
                          * this thread only); NULL: none */
} ckks_lintrans_spec;

/* A compiled map. Immutable, shareable. One of a constant diagonal 1 from a
 * level to itself, with folds, is a replication. */
typedef struct ckks_lintrans ckks_lintrans;

/* Compiles a map. Diagonals that are zero everywhere are dropped; those equal
 * in all slots become one integer. scale: diagonals of input i are encoded at
 * out_scale·(removed moduli)/in_scale[i], the bias at out_scale.
 * error: SOTTO_ERR_SHAPE (an output or input number beyond the counts, none of
 * either), SOTTO_ERR_LEVEL (no such step; the gadget does not serve a level),
 * SOTTO_ERR_SCALE, SOTTO_ERR_PARAM (gadget, fold), SOTTO_ERR_RANGE (a value is
 * not finite or does not fit), SOTTO_ERR_MEMORY; *map is then NULL.
 * cost: one encoding per diagonal. owner: the caller, ckks_lintrans_free. */
sotto_status ckks_lintrans_new(ckks_lintrans **map, const ckks_encoder *encoder,
                               const rlwe_context *context,
                               const ckks_lintrans_spec *spec,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void ckks_lintrans_free(ckks_lintrans *map);

/* What a map costs and holds. */
typedef struct ckks_lintrans_info {
    ckks_hoisting hoisting; /* chosen: SINGLE or DOUBLE */
    size_t n_diagonals;     /* that are not zero … */
    size_t n_constants;     /* … of these, equal in all slots */
    size_t n_babies;        /* rotated inputs, (input, baby) with baby != 0 */
    size_t n_giants;        /* rotated sums, (output, giant) with giant != 0 */
    bool resident;          /* diagonals are held as residues */
    size_t memory_bytes;    /* of encoded diagonals */
    double cost;            /* by the rates, one core, folds included */
} ckks_lintrans_info;

/* Describes a compiled map. */
ckks_lintrans_info ckks_lintrans_describe(const ckks_lintrans *map);

/* A switching key that a map needs. */
typedef struct ckks_rotation_use {
    int64_t steps;   /* to the left, in [1, slots) */
    uint64_t galois; /* its Galois element */
    int gadget;      /* of the key, a number in the parameters */
    int level;       /* where it is used */
} ckks_rotation_use;

/* Lists the keys, each (steps, gadget, level) once, rising. Returns how many
 * there are; at most cap are written (use may be NULL when cap is 0). */
size_t ckks_lintrans_rotations(const ckks_lintrans *map, ckks_rotation_use *use,
                               size_t cap);

/* Copies the keys that a map needs into the map, in the order in which it
 * reads them, in 32 bits where a modulus allows: keys come from memory once for
 * each use, and half the bytes are half the time. Afterwards the map takes
 * inputs of their owner only, and `keys` are not needed for it. Before threads
 * share the map. error: SOTTO_ERR_KEY naming the rotation; SOTTO_ERR_MEMORY;
 * the map is then as good as before. */
sotto_status ckks_lintrans_bind(ckks_lintrans *map, const rlwe_keyset *keys,
                                sotto_error *err) SOTTO_MUST_CHECK;

/* Bytes of arena that ckks_lintrans_apply takes with this many threads. */
size_t ckks_lintrans_scratch(const ckks_lintrans *map, int threads);

/* Applies a map. inputs: 2 components, at spec.from and their in_scale (2^-40);
 * outputs: room for 2 components at `from` (at `to` without folds before the
 * rescale); out are different ciphertexts and none of in.
 * ev gives the error and, unless the map is bound to keys, these; the work is
 * spread over the pool (NULL: this thread); the bits do not depend on it.
 * scratch: ckks_lintrans_scratch(map, threads of the pool) bytes of `arena`; no
 * allocation. error: SOTTO_ERR_LEVEL, SOTTO_ERR_SCALE, SOTTO_ERR_PARAM
 * (components, room), SOTTO_ERR_MISMATCH (inputs of different keys),
 * SOTTO_ERR_KEY naming the rotation and the level; outputs are then unchanged.
 */
sotto_status ckks_lintrans_apply(const ckks_lintrans *map, ckks_evaluator *ev,
                                 ckks_ct *const *out, const ckks_ct *const *in,
                                 sotto_pool *pool,
                                 sotto_arena *arena) SOTTO_MUST_CHECK;

/* The map on plain real slots, folds and bias included: what
 * ckks_lintrans_apply approximates. Complex data: real and imaginary parts one
 * after the other (the bias belongs to the real part).
 * shape: in double[n_in][slots], out double[n_out][slots].
 * error: SOTTO_ERR_MEMORY. */
sotto_status ckks_lintrans_plain(const ckks_lintrans_spec *spec, size_t slots,
                                 double *out, const double *in,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Variance of the error of an output, averaged over slots and outputs, in
 * integer units of the output (ckks/noise.h): inputs with errors of variance
 * in_variance and values of root-mean-square in_rms (both in integer units of
 * the input), plus rotations, rounding of the diagonals, division and folds (of
 * which none adds a slot twice). */
double ckks_lintrans_noise(const ckks_lintrans *map, double in_variance,
                           double in_rms);

/* ---- Planning, without diagonals ----------------------------------------- */

/* Rates of one core with AVX-512 for a ring, in seconds. */
ckks_lintrans_rates ckks_lintrans_rates_of(const rlwe_context *context);

/* What a way to split costs. */
typedef struct ckks_lintrans_split {
    ckks_hoisting hoisting; /* SINGLE or DOUBLE */
    size_t n_babies;        /* as in ckks_lintrans_info */
    size_t n_giants;
    size_t n_keys; /* different rotations */
    double cost;   /* of the map without folds */
} ckks_lintrans_split;

/* Splits rotations so that the cost is least, or costs a given split.
 * giant int64_t[n_diagonals]: written, unless spec.giant gives it (then it may
 * be NULL). Of the spec only shape, diagonals, levels, gadget, hoisting and
 * rates are read: neither fill is called. max_keys: most different rotations,
 * 0: any. error: as ckks_lintrans_new; SOTTO_ERR_PARAM when max_keys cannot be
 * kept. */
sotto_status ckks_lintrans_choose(ckks_lintrans_split *split, int64_t *giant,
                                  const rlwe_context *context,
                                  const ckks_lintrans_spec *spec,
                                  size_t max_keys,
                                  sotto_error *err) SOTTO_MUST_CHECK;

#endif
