/* SPDX-License-Identifier: MIT
 * What the forward and the inverse NTT for AVX2 share.
 *
 * The tree of blocks is that of ntt_portable.c: node t has the halves 2t and
 * 2t+1 and twiddle factor t. A pass does two layers (a node and its halves) on
 * four rows. The first pass turns residues into doubles, which stand in the
 * same memory until the last one; the four lowest layers work on squares of
 * 4x4 values, two of them across the transposed square:
 *
 *     forward   8 or 4 -> 4 -> 4 -> ... -> 16
 *     inverse   16 -> 4 -> 4 -> ... -> 8 or 4
 *
 * Large blocks are finished one after the other, depth first, so that all but
 * a few passes run in the first-level cache. Where a loop could do more at
 * once in registers it is split all the same: a butterfly is a chain of 20
 * cycles, and short chains let the processor overlap more of them.
 *
 * Bounds ("bound b": |x| <= b·q) are public numbers, computed along the way;
 * they decide where a pass reduces.
 */
#ifndef SOTTO_NTT_AVX2_NTT_INTERNAL_H
#define SOTTO_NTT_AVX2_NTT_INTERNAL_H

#include "ntt/avx2_internal.h"

#if defined(__AVX2__) && defined(__FMA__)

/* Values of a block that is finished by itself: 8 KiB, and as much again of
 * twiddle factors. */
#define AVX2_BLOCK 1024

/* Values that the pass in registers handles at a time. */
#define AVX2_SQUARE 16

/* Columns of eight rows that three layers are done on one after the other. */
#define AVX2_STRIP 64

/* Smallest degree that is done here. */
#define AVX2_MIN_N 64

/* What all passes of one transform share. */
typedef struct avx2_pass {
    avx2_modulus m;
    const double *twiddle;
    double limit; /* 2^52 / q: largest bound of a factor */
    size_t n;
} avx2_pass;

/* Factors of one node and its halves. */
typedef struct avx2_node {
    avx2_factor top;
    avx2_factor left;
    avx2_factor right;
} avx2_node;

/* offset: of the twiddle factors of this direction, in doubles. */
AVX2_INLINE avx2_pass avx2_pass_of(const ntt_table *table, size_t offset)
{
    return (avx2_pass){.m = avx2_modulus_of(&table->mod),
                       .twiddle = (const double *)table->twiddles + offset,
                       .limit = 0x1p52 / (double)table->mod.q,
                       .n = table->ring.n};
}

/* The doubles that stand where residues are. */
AVX2_INLINE double *avx2_doubles(uint64_t *a)
{
    return (double *)(void *)a;
}

/* The factors of a node in every lane. */
AVX2_INLINE avx2_node avx2_node_at(const avx2_pass *p, size_t node)
{
    return (avx2_node){avx2_factor_set(p->twiddle[node], p->m),
                       avx2_factor_set(p->twiddle[2 * node], p->m),
                       avx2_factor_set(p->twiddle[2 * node + 1], p->m)};
}

/* Factors of four neighbouring nodes of the last but one layer and their
 * halves, one per lane. */
AVX2_INLINE avx2_node avx2_lanes_at(const avx2_pass *p, size_t node)
{
    const double *w = p->twiddle;
    return (avx2_node){avx2_factor_of(_mm256_load_pd(w + node), p->m),
                       avx2_factor_of(_mm256_load_pd(w + 2 * node), p->m),
                       avx2_factor_of(_mm256_load_pd(w + 2 * node + 4), p->m)};
}

/* x, y = x + y, x - y */
AVX2_INLINE void avx2_add_sub(__m256d *x, __m256d *y)
{
    const __m256d u = *x;
    *x = _mm256_add_pd(u, *y);
    *y = _mm256_sub_pd(u, *y);
}

/* The 4x4 square of four vectors, transposed. */
AVX2_INLINE void avx2_transpose(__m256d x[4])
{
    const __m256d a = _mm256_unpacklo_pd(x[0], x[1]);
    const __m256d b = _mm256_unpackhi_pd(x[0], x[1]);
    const __m256d c = _mm256_unpacklo_pd(x[2], x[3]);
    const __m256d d = _mm256_unpackhi_pd(x[2], x[3]);
    x[0] = _mm256_permute2f128_pd(a, c, 0x20);
    x[1] = _mm256_permute2f128_pd(b, d, 0x20);
    x[2] = _mm256_permute2f128_pd(a, c, 0x31);
    x[3] = _mm256_permute2f128_pd(b, d, 0x31);
}

#endif

#endif
