/* SPDX-License-Identifier: MIT
 * The contract between the ring and the machine: one struct of functions per
 * backend.
 *
 * Granularity is one limb (n residues of one modulus). The portable backend
 * defines the meaning; any other backend gives the same bits, since every
 * output is canonical, in [0,q). Lazy ranges live inside a kernel only.
 * A backend may leave entries NULL; selection fills them from portable.
 *
 * Common to all entries unless stated: limbs are uint64_t[n], 64-byte aligned,
 * values in [0,q) in and out, n a multiple of 8; an output may be exactly one
 * of the inputs of the same shape, never overlap it partly; constant time in
 * the values.
 */
#ifndef SOTTO_NTT_KERNELS_H
#define SOTTO_NTT_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"
#include "ntt/table.h"
#include "ntt/zq.h"

/* Constants of a conversion of k residues to one target modulus t:
 * y = Σ centre(x_i)·factor_i mod t (SPEC §5.1).
 * range: factor_i·q_i ≡ product (mod t) for every i, so that centring may be
 * done by subtracting product once for each x_i > (q_i - 1)/2. */
typedef struct ntt_convert {
    size_t k;
    const uint64_t *from;   /* [k] source moduli q_i */
    const uint64_t *factor; /* [k] in [0,t): (Q/q_i) mod t */
    uint64_t product;       /* Q mod t: what one centring subtracts */
    bool is_raised;         /* x_i are centre(x_i) + (q_i - 1)/2 instead, as
                             * inverse_raised makes them: no comparisons */
    uint64_t raised;        /* then Σ (q_i - 1)/2·factor_i mod t */
} ntt_convert;

/* Rows of a block-sparse matrix that read the same inputs. */
typedef struct ntt_gemm_block {
    size_t m;           /* output rows, >= 1 */
    size_t k;           /* inputs, >= 1 */
    const uint32_t *in; /* [k] different rows of ntt_gemm.in, any order */
} ntt_gemm_block;

/* A product of an integer matrix with residue rows. The matrix is dense, or
 * blocks below each other, such as the windows of a convolution. */
typedef struct ntt_gemm {
    size_t m;                  /* output rows, >= 1; of all blocks */
    size_t k;                  /* input rows, >= 1 */
    size_t n;                  /* columns: residues per row, a multiple of 8 */
    const int32_t *weight;     /* [m][k], |w| < 2^31; for blocks: [m][k] of
                                * each block, one after the other */
    uint64_t row_norm;         /* at least the largest Σ|w| of a row; < 2^45 */
    const uint64_t *const *in; /* k pointers to n residues each */
    const uint64_t *offset;    /* [m] residues added to rows, or NULL */
    uint64_t *const *out;      /* m pointers to n residues each; no alias */
    size_t n_blocks;           /* 0: dense; the rest is then unused */
    size_t n_weights;          /* at least Σ m·k of the blocks */
    size_t block_k;            /* at least the largest k of a block */
    const ntt_gemm_block *block; /* [n_blocks]; their m add up to the job's */
} ntt_gemm;

/* A row that a prepared matrix is multiplied with: residues x, or the products
 * x·y, or twice that. The products need not exist in memory. */
typedef struct ntt_gemm_row {
    const uint64_t *x;
    const uint64_t *y; /* NULL: x alone */
    bool twice;
} ntt_gemm_row;

/* Columns that a prepared matrix is multiplied with. */
typedef struct ntt_gemm_columns {
    size_t n;               /* of every row, a multiple of 8 */
    const ntt_gemm_row *in; /* [k] */
    uint64_t *const *out;   /* [m]; no alias */
    bool add_offset;        /* add the job's offsets */
    bool is_last;           /* what is written is not read again soon: it may
                             * bypass the caches */
    bool look_ahead;        /* what lies behind these columns is wanted next */
} ntt_gemm_columns;

/* A backend. */
typedef struct ntt_kernels {
    const char *name;      /* "portable", "avx2", "ifma" */
    unsigned cpu_features; /* sotto_cpu_feature bits that it needs */
    int max_q_bits;        /* largest modulus it accepts */

    /* Twiddle factors in the form and order that forward and inverse of this
     * backend want: their size in bytes, and their making from the table.
     * NULL: none, the table's own are used. */
    size_t (*twiddle_bytes)(const ntt_table *table);
    void (*twiddle_init)(void *twiddles, const ntt_table *table);

    /* Forward negacyclic NTT in place.
     * order: natural coefficients -> bit-reversed values (ring.h) */
    void (*forward)(uint64_t *a, const ntt_table *table);

    /* forward in pieces, so that several transforms modulo one q can share the
     * cache, and what follows finds its input there: forward_first, then
     * forward_part for each part below forward_parts(table), in any order.
     * Part i finishes the values i·n/parts … (i+1)·n/parts - 1, and parts
     * divides n/8. soon: NULL, or twice n/parts values that are needed next:
     * they may be fetched meanwhile, and nothing else is done with them. */
    size_t (*forward_parts)(const ntt_table *table);
    void (*forward_first)(uint64_t *a, const ntt_table *table);
    void (*forward_part)(uint64_t *a, const ntt_table *table, size_t part,
                         const uint64_t *const soon[2]);

    /* Inverse NTT in place, times `scale` in [0,q) (1 for the plain inverse):
     * constants of a following base conversion cost nothing here.
     * order: bit-reversed values -> natural coefficients */
    void (*inverse)(uint64_t *a, const ntt_table *table, uint64_t scale);

    /* y = the inverse NTT of x, times scale, plus (q - 1)/2: centred residues
     * raised to [0,q), as a conversion wants them (ntt_convert.is_raised). */
    void (*inverse_raised)(uint64_t *y, const uint64_t *x,
                           const ntt_table *table, uint64_t scale);

    /* r = a + b */
    void (*add)(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod);
    /* r = a - b */
    void (*sub)(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod);
    /* r = -a */
    void (*negate)(uint64_t *r, const uint64_t *a, size_t n,
                   const zq_modulus *mod);
    /* r = a·b, element by element */
    void (*mul)(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                const zq_modulus *mod);
    /* r = r + a·b, element by element; alias: none between r and a, b */
    void (*mul_add)(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod);
    /* r = r - a·b, element by element; alias: none between r and a, b */
    void (*sub_mul)(uint64_t *r, const uint64_t *a, const uint64_t *b, size_t n,
                    const zq_modulus *mod);
    /* r = c·a;   range: c in [0,q) */
    void (*mul_scalar)(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod);
    /* r = r + c·a;   range: c in [0,q); alias: none */
    void (*mul_scalar_add)(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                           const zq_modulus *mod);
    /* r = a + c;   range: c in [0,q) */
    void (*add_scalar)(uint64_t *r, const uint64_t *a, uint64_t c, size_t n,
                       const zq_modulus *mod);

    /* Key-switching inner product, two outputs at once:
     * r0 = Σ_{i<k} x[i]·y0[i],  r1 = Σ_{i<k} x[i]·y1[i];  1 <= k <= 256.
     * alias: none. */
    void (*inner_product)(uint64_t *r0, uint64_t *r1, const uint64_t *const *x,
                          const uint64_t *const *y0, const uint64_t *const *y1,
                          size_t k, size_t n, const zq_modulus *mod);

    /* The same after an automorphism of all x: x[i][map[j]] in place of
     * x[i][j].   shape: x[i] whole limbs; map uint32_t[n], as
     * ntt_ring_automorphism makes it or some of its columns, from a multiple of
     * 8 on: aligned eights stay together. alias: none. */
    void (*inner_product_turned)(uint64_t *r0, uint64_t *r1,
                                 const uint64_t *const *x, const uint32_t *map,
                                 const uint64_t *const *y0,
                                 const uint64_t *const *y1, size_t k, size_t n,
                                 const zq_modulus *mod);

    /* inner_product of gathered residues with those of a key kept in 32 bits:
     * r0 = Σ_{i<k} x[i][map[j]]·y0[i][j], r1 likewise with y1; 1 <= k <= 256.
     * r0, r1, map and y are n columns of a limb, x whole limbs. Fast where
     * eight columns read one aligned block of eight, as automorphisms do.
     * range: q < 2^32.   alias: none. */
    void (*switch_product)(uint64_t *r0, uint64_t *r1, const uint64_t *const *x,
                           const uint32_t *map, const uint32_t *const *y0,
                           const uint32_t *const *y1, size_t k, size_t n,
                           const zq_modulus *mod);

    /* Centred base conversion of k limbs to one: r = Σ centre(x[i])·factor_i.
     * range: x[i] in [0,q_i); 1 <= k <= 128.
     * alias: r may not be any x[i]. */
    void (*convert)(uint64_t *r, const uint64_t *const *x,
                    const ntt_convert *constants, size_t n,
                    const zq_modulus *mod);

    /* Tail of a division by a product of moduli: r = (a - b)·c.
     * range: c in [0,q) */
    void (*sub_mul_scalar)(uint64_t *r, const uint64_t *a, const uint64_t *b,
                           uint64_t c, size_t n, const zq_modulus *mod);

    /* r[i] = a[map[i]]; shape: map uint32_t[n], indices into a, which may have
     * more columns.   alias: none. */
    void (*permute)(uint64_t *r, const uint64_t *a, const uint32_t *map,
                    size_t n);

    /* out[o][j] = Σ_i weight[o][i]·in[i][j] + offset[o] mod q, exactly
     * (SPEC §5.5).
     * scratch: gemm_scratch(job) bytes, 64-byte aligned. */
    void (*gemm)(const ntt_gemm *job, const zq_modulus *mod, void *scratch);

    /* Bytes of scratch that gemm wants for a job. Depends on q, m, k, row_norm,
     * n_blocks, n_weights and block_k only (no pointer is followed) and does
     * not fall when one of these grows, n_blocks from 0 to 1 excepted. */
    size_t (*gemm_scratch)(const ntt_gemm *job, const zq_modulus *mod);

    /* gemm in two parts, for a matrix that meets columns many times: first its
     * weights and offsets are brought into the form that the backend wants,
     * into gemm_packed_bytes(job) bytes that must not be moved, 64-byte
     * aligned; nothing of the job is needed afterwards. Rows, outputs and n of
     * the job are not looked at. */
    void (*gemm_pack)(void *packed, const ntt_gemm *job, const zq_modulus *mod);

    /* Then as gemm, any number of times, on any threads.
     * scratch: gemm_run_scratch(job) bytes, 64-byte aligned. */
    void (*gemm_run)(const void *packed, const ntt_gemm_columns *columns,
                     const zq_modulus *mod, void *scratch);

    /* Both depend on what gemm_scratch depends on, in the same way. */
    size_t (*gemm_packed_bytes)(const ntt_gemm *job, const zq_modulus *mod);
    size_t (*gemm_run_scratch)(const ntt_gemm *job, const zq_modulus *mod);

    /* ChaCha20 blocks as sotto_chacha20_blocks (base/prng.h). */
    void (*stream_blocks)(uint8_t *out, const sotto_seed *key, uint64_t counter,
                          size_t n_blocks);

    /* Masks words to the bits of q and keeps those below q, in order, as many
     * as there is room for; returns how many. shape: out[room], word[n], any
     * alignment; what lies behind those kept is undefined. alias: none.
     * Time depends on the words: for public ones. */
    size_t (*keep_below)(uint64_t *out, size_t room, const uint64_t *word,
                         size_t n, const zq_modulus *mod);

    /* Writes residues as one little-endian number of n·b bits, b bits of q
     * each: n·b/8 bytes. No alignment. */
    void (*pack_bits)(uint8_t *out, const uint64_t *a, size_t n,
                      const zq_modulus *mod);

    /* Reads what pack_bits writes, and nothing behind it. Returns false when a
     * residue is not below q. No alignment. */
    bool (*unpack_bits)(uint64_t *out, const uint8_t *in, size_t n,
                        const zq_modulus *mod);

    /* The error of each word: ones among bits 0..20 less ones among bits
     * 21..41 (SPEC §6.3). shape: any n, no alignment. alias: none. */
    void (*binomial)(int8_t *out, const uint64_t *word, size_t n);
} ntt_kernels;

/* The backends, best last. */
typedef enum ntt_backend {
    NTT_BACKEND_PORTABLE = 0,
    NTT_BACKEND_AVX2 = 1,
    NTT_BACKEND_IFMA = 2
} ntt_backend;

/* The portable backend: defines every operation. Static, immutable. */
const ntt_kernels *ntt_kernels_portable(void);

/* Best backend allowed by the environment variable SOTTO_BACKEND
 * (portable|avx2|ifma; unset: no cap). error: SOTTO_ERR_PARAM for another
 * value; *cap is then NTT_BACKEND_PORTABLE. */
sotto_status ntt_backend_cap(ntt_backend *cap,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* The kernels for a modulus: the best backend that is built in, that the
 * processor can run, that accepts q, and that is not above cap; missing entries
 * filled from portable. */
ntt_kernels ntt_kernels_choose(const zq_modulus *mod, ntt_backend cap);

/* Makes a table ready for the transforms of these kernels, instead of those it
 * was ready for before. A new table is ready for the portable ones.
 * error: SOTTO_ERR_MEMORY; the table is then as it was. */
sotto_status ntt_kernels_prepare(ntt_table *table, const ntt_kernels *kernels,
                                 sotto_error *err) SOTTO_MUST_CHECK;

#endif
