/* SPDX-License-Identifier: MIT
 * Words of streams and records, in plain C: what the other backends must give
 * (contracts in ntt/kernels.h).
 */
#include "ntt/words_internal.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "words are copied as they are");

size_t ntt_keep_below_portable(uint64_t *out, size_t room, const uint64_t *word,
                               size_t n, const zq_modulus *mod)
{
    const uint64_t mask = ((uint64_t)1 << mod->bits) - 1;
    size_t got = 0;
    for (size_t i = 0; i < n && got < room; i++) {
        /* Always stored, kept only when accepted: no branch to guess. */
        const uint64_t x = word[i] & mask;
        out[got] = x;
        got += x < mod->q;
    }
    return got;
}

void ntt_pack_bits_portable(uint8_t *out, const uint64_t *a, size_t n,
                            const zq_modulus *mod)
{
    const int bits = mod->bits;
    uint64_t word = 0; /* the lowest `fill` bits are taken; fill < 64 */
    int fill = 0;
    for (size_t k = 0; k < n; k++) {
        word |= a[k] << fill;
        fill += bits;
        if (fill >= 64) {
            memcpy(out, &word, sizeof word);
            out += sizeof word;
            fill -= 64;
            /* 0 <= fill < bits of a[k] are left; bits - fill is in 1 … 60. */
            word = a[k] >> (bits - fill);
        }
    }
    memcpy(out, &word, (size_t)fill / 8);
}

/* Reads n residues from a place behind which there are 8 bytes more. Returns
 * false when one is too large. wide: more than 57 bits, which one word that
 * begins at a byte may not hold; a constant where it is inlined. */
static inline bool read_residues(uint64_t *out, size_t n, const uint8_t *in,
                                 const zq_modulus *mod, const bool wide)
{
    const uint64_t most = mod->q - 1;
    const size_t bits = (size_t)mod->bits;
    const uint64_t mask = ((uint64_t)1 << bits) - 1;
    uint64_t too_large = 0; /* signs of q - 1 - residue: no branch for each */
    for (size_t k = 0, bit = 0; k < n; k++, bit += bits) {
        const int shift = (int)(bit % 8);
        uint64_t x;
        memcpy(&x, in + bit / 8, sizeof x);
        x >>= shift;
        if (wide) {
            /* In two steps: a shift by 64 is not defined. */
            x |= (uint64_t)in[bit / 8 + sizeof x] << (56 - shift) << 8;
        }
        x &= mask;
        too_large |= most - x;
        out[k] = x;
    }
    return too_large >> 63 == 0;
}

/* The last residues are read from a copy with room behind it. */
#define TAIL_RESIDUES 64
#define TAIL_BYTES (TAIL_RESIDUES / 8 * 64 + 8)

bool ntt_unpack_bits_portable(uint64_t *out, const uint8_t *in, size_t n,
                              const zq_modulus *mod)
{
    const size_t bits = (size_t)mod->bits;
    const size_t n_tail = n < TAIL_RESIDUES ? n : TAIL_RESIDUES;
    const size_t n_main = n - n_tail;
    uint8_t tail[TAIL_BYTES] = {0};
    memcpy(tail, in + n_main / 8 * bits, n_tail / 8 * bits);
    const bool main_ok = bits > 57 ? read_residues(out, n_main, in, mod, true)
                                   : read_residues(out, n_main, in, mod, false);
    return read_residues(out + n_main, n_tail, tail, mod, true) && main_ok;
}

void ntt_binomial_portable(int8_t *out, const uint64_t *word, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = ntt_words_binomial(word[i]);
    }
}
