/* SPDX-License-Identifier: MIT
 * Where the elements of one image's tensor lie in the slots of ciphertexts.
 *
 * A layout is a list of digits. Each digit counts 0 … count-1, moves that many
 * steps through the addresses and, as many, along one dimension of the tensor:
 *
 *     address    = Σ d_k · slots_k            ciphertext = address / S
 *     coordinate = origin + Σ d_k · step_k    slot       = address mod S
 *
 * S = 2^log2_slots. Where a coordinate falls off the tensor nothing lies. One
 * notation covers what single-image packing needs (S = 16 here):
 *
 *  planes, rows of 3 with a gap      [C=2,H=2,W=2]: (2,1,w) (2,3,h) (2,6,c)
 *     |a00 a01  .  a10 a11  .  b00 b01  .  b10 b11  .   .   .   .   . |
 *
 *  multiplexed: a layer of stride 2 leaves its outputs where its inputs were,
 *  four channels share the gaps      [C=4,H=1,W=4]: (4,2,w) (2,1,c) (2,8,c:2)
 *     |a0 b0  a1 b1  a2 b2  a3 b3  c0 d0  c1 d1  c2 d2  c3 d3|
 *
 *  phases: even and odd columns apart, as a stride of 2 reads them
 *                                    [W=6]: (2,4,w) (3,1,w:2)
 *     | 0  2  4  .   1  3  5  .   .   .   .   .   .   .   .   . |
 *
 *  copies: a digit of no dimension   [W=4]: (4,1,w) (3,5,-)
 *     | 0  1  2  3  .  0  1  2  3  .  0  1  2  3  .  . |
 *
 *  windows of a convolution (im2col) [W=5], 3 taps, 3 places: (3,1,w) (3,4,w)
 *     | 0  1  2  .  1  2  3  .  2  3  4  .  .  .  .  . |
 *
 *  period 8: all of it again and again, as folded sums come out
 *                                    [F=5], period 8: (5,1,f)
 *     | 0  1  2  3  4  .  .  .  0  1  2  3  4  .  .  . |
 *
 *  windows with rubbish (r) between: half-folded sums
 *                                    [F=4], rubbish: (2,1,f) (2,8,f:2)
 *     | 0  1  r  r  r  r  r  r  2  3  r  r  r  r  r  r |
 *
 *  several ciphertexts: a digit that moves by S, or addresses beyond S.
 *
 * What no element owns is zero or rubbish; maps read owned places only, so that
 * rubbish is multiplied by the zeros of their diagonals and no level is spent
 * on masks.
 */
#ifndef SOTTO_NN_SINGLE_LAYOUT_H
#define SOTTO_NN_SINGLE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "nn/graph/graph.h"

#define NN_LAYOUT_MAX_DIGITS 12
#define NN_LAYOUT_MAX_LOG2_SLOTS 16
/* Ciphertexts times slots, and products of the digits' counts. */
#define NN_LAYOUT_MAX_ADDRESSES ((size_t)1 << 26)
/* Room for nn_layout_text. */
#define NN_LAYOUT_TEXT_BYTES 640

/* One digit. */
typedef struct nn_layout_digit {
    uint32_t count; /* >= 1 */
    uint32_t slots; /* address of one step */
    int32_t dim;    /* of the tensor; -1: copies */
    uint32_t step;  /* along that dimension; 0 for copies */
} nn_layout_digit;

/* What lies where no element does. */
typedef enum nn_layout_rest {
    NN_REST_ZERO,
    NN_REST_RUBBISH /* values of no meaning */
} nn_layout_rest;

/* A layout. Plain data. */
typedef struct nn_layout {
    nn_shape shape;
    int log2_slots;
    uint32_t n_cts;
    uint32_t period; /* a power of two: slot j and slot j + period hold the
                      * same, and digits stay below it in each ciphertext;
                      * the number of slots: no repetition */
    nn_layout_rest rest;
    int32_t origin[NN_MAX_RANK];
    int n_digits;
    nn_layout_digit digit[NN_LAYOUT_MAX_DIGITS];
} nn_layout;

/* Slots of a ciphertext. */
static inline uint32_t nn_layout_slots(const nn_layout *layout)
{
    return (uint32_t)1 << layout->log2_slots;
}

/* Whether two layouts are the same, digit by digit. */
bool nn_layout_equal(const nn_layout *a, const nn_layout *b);

/* Writes "cts 1 period 4096 rest zero origin 0 0 0 digits 28:1:2:1 …" into text
 * (NN_LAYOUT_TEXT_BYTES) and returns it; a digit is count:slots:dim:step. */
const char *nn_layout_text(char *text, const nn_layout *layout);

/* Reads what nn_layout_text writes, for a tensor and ring known otherwise.
 * error: SOTTO_ERR_FORMAT; *layout is then unchanged. Only the notation is
 * checked: nn_places_new says whether the layout holds the tensor. */
sotto_status nn_layout_parse(nn_layout *layout, const nn_shape *shape,
                             int log2_slots, const char *text,
                             sotto_error *err) SOTTO_MUST_CHECK;

/* Where every element lies: element e at address[first[e]] … first[e+1]-1, in
 * the order of the digits; repetitions by the period are not listed. Elements
 * that no map reads may lie nowhere. */
typedef struct nn_places {
    nn_layout layout;
    size_t n_elements;
    size_t n_missing;  /* of them, nowhere */
    bool one_each;     /* every element lies in one place: address[element] */
    uint32_t *first;   /* [n_elements + 1] */
    uint32_t *address; /* ciphertext · S + slot */
} nn_places;

/* Whether an element lies nowhere. */
static inline bool nn_places_none(const nn_places *places, size_t element)
{
    return places->first[element] == places->first[element + 1];
}

/* Checks a layout and lists its places.
 * error: SOTTO_ERR_SHAPE when two elements lie in one place, a place lies
 * beyond ciphertexts or period, there are more ciphertexts than places, or
 * sizes pass the limits above; SOTTO_ERR_MEMORY; *places is then NULL.
 * owner: the caller, nn_places_free. */
sotto_status nn_places_new(nn_places **places, const nn_layout *layout,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Frees; NULL is fine. */
void nn_places_free(nn_places *places);

/* Spreads a tensor over slots, all copies included; the rest becomes zero.
 * shape: values double[n_elements], slots double[n_cts][S]. */
void nn_places_pack(const nn_places *places, double *slots,
                    const double *values);

/* Reads a tensor from the first place of each element; 0 for those that lie
 * nowhere. As nn_places_pack. */
void nn_places_unpack(const nn_places *places, double *values,
                      const double *slots);

#endif
