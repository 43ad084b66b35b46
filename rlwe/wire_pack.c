/* SPDX-License-Identifier: MIT
 * Polynomials and sets of moduli as bytes.
 */
#include "ntt/poly.h"
#include "rlwe/wire_internal.h"

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
    ring->limb[id].kernels.pack_bits(out, in, ring->ring.n,
                                     rns_modulus(ring, id));
    return out + rlwe_wire_limb_bytes(ring, id);
}

bool rlwe_wire_unpack_limb(uint64_t *out, const rns_ring *ring, int id,
                           const uint8_t *in)
{
    return ring->limb[id].kernels.unpack_bits(out, in, ring->ring.n,
                                              rns_modulus(ring, id));
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
