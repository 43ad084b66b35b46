/* SPDX-License-Identifier: MIT
 * Bit packing of residues, word by word. n is a multiple of 64, so that a limb
 * of b-bit residues is n·b/64 whole words.
 */
#include <string.h>

#include "ntt/poly.h"
#include "rlwe/wire_internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "words are copied as they are");
_Static_assert(WIRE_MASK_BYTES * 8 >= RNS_MAX_LIMBS, "mask too narrow");

void rlwe_wire_put_set(sotto_writer *writer, const rns_set *set)
{
    uint8_t mask[WIRE_MASK_BYTES] = {0};
    for (int i = 0; i < set->count; i++) {
        mask[set->id[i] / 8] |= (uint8_t)(1u << (set->id[i] % 8));
    }
    sotto_write_bytes(writer, mask, sizeof mask);
}

bool rlwe_wire_get_set(sotto_reader *reader, rns_set *set, int n_limbs)
{
    uint8_t mask[WIRE_MASK_BYTES];
    sotto_read_bytes(reader, mask, sizeof mask);
    rns_set read = {.count = 0};
    bool known = true;
    for (int id = 0; id < 8 * WIRE_MASK_BYTES; id++) {
        if ((mask[id / 8] >> (id % 8)) & 1) {
            if (id < n_limbs) {
                read.id[read.count++] = (uint8_t)id;
            } else {
                known = false;
            }
        }
    }
    *set = read;
    return known && read.count > 0;
}

size_t rlwe_wire_limb_bytes(const rns_ring *ring, int id)
{
    return ring->ring.n / 8 * (size_t)rns_modulus(ring, id)->bits;
}

size_t rlwe_wire_poly_bytes(const rns_ring *ring, const rns_set *set)
{
    size_t bytes = 0;
    for (int i = 0; i < set->count; i++) {
        bytes += rlwe_wire_limb_bytes(ring, set->id[i]);
    }
    return bytes;
}

uint8_t *rlwe_wire_pack_limb(uint8_t *out, const rns_ring *ring, int id,
                             const uint64_t *in)
{
    const int bits = rns_modulus(ring, id)->bits;
    uint64_t word = 0; /* the lowest `fill` bits are taken; fill < 64 */
    int fill = 0;
    for (size_t k = 0; k < ring->ring.n; k++) {
        word |= in[k] << fill;
        fill += bits;
        if (fill >= 64) {
            memcpy(out, &word, sizeof word);
            out += sizeof word;
            fill -= 64;
            /* 0 <= fill < bits of in[k] are left; bits - fill is in 1 … 60. */
            word = in[k] >> (bits - fill);
        }
    }
    return out;
}

/* Reads n residues of mod from a place behind which there are 8 bytes more.
 * Returns false when one is too large. wide: more than 57 bits, which one word
 * that begins at a byte may not hold; a constant where it is inlined. */
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

/* The last residues of a limb are read from a copy. */
#define TAIL_RESIDUES 64
#define TAIL_BYTES (TAIL_RESIDUES / 8 * 64 + 8)

bool rlwe_wire_unpack_limb(uint64_t *out, const rns_ring *ring, int id,
                           const uint8_t *in)
{
    const zq_modulus *mod = rns_modulus(ring, id);
    const size_t bits = (size_t)mod->bits;
    const size_t n = ring->ring.n;
    const size_t n_tail = n < TAIL_RESIDUES ? n : TAIL_RESIDUES;
    const size_t n_main = n - n_tail;
    uint8_t tail[TAIL_BYTES] = {0};
    memcpy(tail, in + n_main / 8 * bits, n_tail / 8 * bits);
    const bool main_ok = bits > 57 ? read_residues(out, n_main, in, mod, true)
                                   : read_residues(out, n_main, in, mod, false);
    return read_residues(out + n_main, n_tail, tail, mod, true) && main_ok;
}

uint8_t *rlwe_wire_pack_poly(uint8_t *out, const rns_ring *ring,
                             const rns_set *set, const uint64_t *in)
{
    for (int i = 0; i < set->count; i++) {
        out = rlwe_wire_pack_limb(out, ring, set->id[i],
                                  poly_limb_const(ring, in, i));
    }
    return out;
}

bool rlwe_wire_unpack_poly(uint64_t *out, const rns_ring *ring,
                           const rns_set *set, const uint8_t *in)
{
    for (int i = 0; i < set->count; i++) {
        if (!rlwe_wire_unpack_limb(poly_limb(ring, out, i), ring, set->id[i],
                                   in)) {
            return false;
        }
        in += rlwe_wire_limb_bytes(ring, set->id[i]);
    }
    return true;
}
