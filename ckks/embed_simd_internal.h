/* SPDX-License-Identifier: MIT
 * The embedding (embed.c) on vectors of LANES doubles. An including file
 * defines LANES, the type vec with its arithmetic, vec_load, vec_store, vec_set
 * and the leaves, then includes this.
 *
 * Two layers are done at a time, and a block is finished before the next one is
 * begun, so that what fits a cache stays there. Which butterflies are done
 * first does not change their bits.
 */
#ifndef SOTTO_CKKS_EMBED_SIMD_INTERNAL_H
#define SOTTO_CKKS_EMBED_SIMD_INTERNAL_H

/* Points of a leaf: its first layer is between two vectors, the others are
 * inside of them. */
#define LEAF ((size_t)2 * LANES)

/* Complex numbers, as many as lanes. */
typedef struct complexes {
    vec re, im;
} complexes;

/* Numbers from `at` on. */
static inline complexes load_at(const double *re, const double *im, size_t at)
{
    return (complexes){vec_load(re + at), vec_load(im + at)};
}

/* The same backwards. */
static inline void store_at(double *re, double *im, size_t at, complexes z)
{
    vec_store(re + at, z.re);
    vec_store(im + at, z.im);
}

/* The root of a node (entry of the table), in all lanes. */
static inline complexes root_of(const ckks_embed *embed, size_t node)
{
    return (complexes){vec_set(embed->re[node]), vec_set(embed->im[node])};
}

/* a, b -> a + b·w, a - b·w, operation by operation as embed.c. */
static inline void split(complexes *a, complexes *b, complexes w)
{
    const vec x_re = b->re * w.re - b->im * w.im;
    const vec x_im = b->re * w.im + b->im * w.re;
    b->re = a->re - x_re;
    b->im = a->im - x_im;
    a->re = a->re + x_re;
    a->im = a->im + x_im;
}

/* a, b -> a + b, (a - b)·conj(w). */
static inline void join(complexes *a, complexes *b, complexes w)
{
    const vec d_re = a->re - b->re;
    const vec d_im = a->im - b->im;
    a->re = a->re + b->re;
    a->im = a->im + b->im;
    b->re = d_re * w.re + d_im * w.im;
    b->im = d_im * w.re - d_re * w.im;
}

/* Defined by the including file: all layers of LEAF points, from the layer in
 * which they are the block of this node. */
static inline void leaf_forward(const ckks_embed *embed, double *re, double *im,
                                size_t node);
static inline void leaf_inverse(const ckks_embed *embed, double *re, double *im,
                                size_t node);

/* Two layers of a block of 4t points, forward. */
static inline void four_forward(const ckks_embed *embed, double *re, double *im,
                                size_t node, size_t t)
{
    const complexes w = root_of(embed, node);
    const complexes w0 = root_of(embed, 2 * node);
    const complexes w1 = root_of(embed, 2 * node + 1);
    for (size_t j = 0; j < t; j += LANES) {
        complexes a = load_at(re, im, j), b = load_at(re, im, j + t);
        complexes c = load_at(re, im, j + 2 * t);
        complexes d = load_at(re, im, j + 3 * t);
        split(&a, &c, w);
        split(&b, &d, w);
        split(&a, &b, w0);
        split(&c, &d, w1);
        store_at(re, im, j, a);
        store_at(re, im, j + t, b);
        store_at(re, im, j + 2 * t, c);
        store_at(re, im, j + 3 * t, d);
    }
}

/* The same backwards. */
static inline void four_inverse(const ckks_embed *embed, double *re, double *im,
                                size_t node, size_t t)
{
    const complexes w = root_of(embed, node);
    const complexes w0 = root_of(embed, 2 * node);
    const complexes w1 = root_of(embed, 2 * node + 1);
    for (size_t j = 0; j < t; j += LANES) {
        complexes a = load_at(re, im, j), b = load_at(re, im, j + t);
        complexes c = load_at(re, im, j + 2 * t);
        complexes d = load_at(re, im, j + 3 * t);
        join(&a, &b, w0);
        join(&c, &d, w1);
        join(&a, &c, w);
        join(&b, &d, w);
        store_at(re, im, j, a);
        store_at(re, im, j + t, b);
        store_at(re, im, j + 2 * t, c);
        store_at(re, im, j + 3 * t, d);
    }
}

/* All layers of a block of LEAF·4^k points. */
static void forward_block(const ckks_embed *embed, double *re, double *im,
                          size_t node, size_t len)
{
    if (len == LEAF) {
        leaf_forward(embed, re, im, node);
        return;
    }
    const size_t t = len / 4;
    four_forward(embed, re, im, node, t);
    for (size_t i = 0; i < 4; i++) {
        forward_block(embed, re + i * t, im + i * t, 4 * node + i, t);
    }
}

/* The same backwards. */
static void inverse_block(const ckks_embed *embed, double *re, double *im,
                          size_t node, size_t len)
{
    if (len == LEAF) {
        leaf_inverse(embed, re, im, node);
        return;
    }
    const size_t t = len / 4;
    for (size_t i = 0; i < 4; i++) {
        inverse_block(embed, re + i * t, im + i * t, 4 * node + i, t);
    }
    four_inverse(embed, re, im, node, t);
}

/* True when LEAF·4^k points are all: no layer is left over. */
static inline int is_even(size_t n_slots)
{
    while (n_slots > LEAF) {
        n_slots /= 4;
    }
    return n_slots == LEAF;
}

/* ckks_kernels.forward. */
static void embed_forward(const ckks_embed *embed, double *re, double *im)
{
    const size_t n = embed->n_slots;
    if (n < LEAF) {
        ckks_embed_forward(embed, re, im);
        return;
    }
    if (is_even(n)) {
        forward_block(embed, re, im, 1, n);
        return;
    }
    const size_t t = n / 2;
    const complexes w = root_of(embed, 1);
    for (size_t j = 0; j < t; j += LANES) {
        complexes a = load_at(re, im, j), b = load_at(re, im, j + t);
        split(&a, &b, w);
        store_at(re, im, j, a);
        store_at(re, im, j + t, b);
    }
    forward_block(embed, re, im, 2, t);
    forward_block(embed, re + t, im + t, 3, t);
}

/* ckks_kernels.inverse. */
static void embed_inverse(const ckks_embed *embed, double *re, double *im)
{
    const size_t n = embed->n_slots;
    if (n < LEAF) {
        ckks_embed_inverse(embed, re, im);
        return;
    }
    if (is_even(n)) {
        inverse_block(embed, re, im, 1, n);
        return;
    }
    const size_t t = n / 2;
    inverse_block(embed, re, im, 2, t);
    inverse_block(embed, re + t, im + t, 3, t);
    const complexes w = root_of(embed, 1);
    for (size_t j = 0; j < t; j += LANES) {
        complexes a = load_at(re, im, j), b = load_at(re, im, j + t);
        join(&a, &b, w);
        store_at(re, im, j, a);
        store_at(re, im, j + t, b);
    }
}

#endif
