/* SPDX-License-Identifier: MIT
 * Payloads of the wire format and what its files share.
 *
 * A polynomial is stored limb after limb, each as one little-endian number:
 * residue k of a modulus of b bits fills bits k·b … k·b + b - 1. A set of
 * moduli is a mask of 128 bits, bit i for id i.
 *
 *     ciphertext                        secret key
 *       0  2  level                       0 16  key id
 *       2  1  components: 2 … 5          16  …  n coefficients, 2 bits each,
 *       3  1  flags: 1 seeded                   from the low end of each byte:
 *       4  4  zero                              0 -> 0, 1 -> 1, 3 -> -1
 *       8  8  scale, as the scheme has it
 *      16 16  key id                    public key
 *      32 16  moduli of the level         0 16  key id
 *      48  …  c_0; then c_1 … c_d,       16 16  moduli
 *             or 32 bytes of seed        32 32  seed of a
 *             (2 components)             64  …  b
 *
 *     switching key
 *       0 16  key id
 *      16  4  kind: 1 power, 2 Galois
 *      20  4  digits
 *      24  8  power or Galois element
 *      32 16  moduli that the key serves
 *      48 16  special moduli
 *      64 96  digit of each modulus served, in order; zero behind the last
 *     160 32  seed of all a_j
 *     192  …  b: modulus after modulus, digit after digit
 */
#ifndef SOTTO_RLWE_WIRE_INTERNAL_H
#define SOTTO_RLWE_WIRE_INTERNAL_H

#include "base/hash.h"
#include "base/bytes.h"
#include "rlwe/wire.h"

#define WIRE_MASK_BYTES 16
#define WIRE_HEADER_BYTES 136
#define WIRE_RECORD_BYTES 64
#define WIRE_SUMMED_BYTES 32 /* of a record head, under the checksum */
#define WIRE_CT_BYTES 48
#define WIRE_PUBLIC_BYTES 64
#define WIRE_SWITCH_BYTES 192

/* Head of one record. */
typedef struct rlwe_wire_record {
    uint32_t item;
    uint64_t index;
    uint64_t len_bytes; /* of the payload */
} rlwe_wire_record;

struct rlwe_file_reader {
    sotto_input *input;
    rlwe_file_header header;
    uint64_t position;  /* bytes consumed */
    uint64_t n_records; /* begun so far: number of the present one, from 1 */
    size_t capacity;    /* of buffer */
    uint8_t *buffer;    /* one record, head included */
    sotto_sha256 hash;  /* that those of all records are like */
};

/* Reads the head of the next record (and headers before it) into bytes and
 * *record. error: SOTTO_ERR_FORMAT, SOTTO_ERR_IO, SOTTO_ERR_MISMATCH. */
sotto_status rlwe_wire_next(rlwe_file_reader *reader, uint8_t *bytes,
                            rlwe_wire_record *record, bool *at_end,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Reads the payload behind a head that rlwe_wire_next put at bytes.
 * error: SOTTO_ERR_FORMAT when it is longer than capacity (head included) or
 * the file ends. */
sotto_status rlwe_wire_payload(rlwe_file_reader *reader, uint8_t *bytes,
                               size_t capacity, const rlwe_wire_record *record,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Compares a digest with the checksum of a record whose head is at bytes.
 * error: SOTTO_ERR_FORMAT. */
sotto_status rlwe_wire_check_sum(const rlwe_file_reader *reader,
                                 uint64_t number, const uint8_t *digest,
                                 const uint8_t *bytes,
                                 sotto_error *err) SOTTO_MUST_CHECK;

/* Compares the checksum of a whole record. error: SOTTO_ERR_FORMAT. */
sotto_status rlwe_wire_verify(const rlwe_file_reader *reader, uint64_t number,
                              const uint8_t *bytes, size_t len_bytes,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Compares the checksums of two records that are equally long. */
void rlwe_wire_verify_two(const rlwe_file_reader *reader, bool right[2],
                          const uint8_t *bytes, const uint8_t *other,
                          size_t len_bytes);

/* Steps over the payload of a record that is too long for the buffer, whose
 * first WIRE_RECORD_BYTES bytes are the head; verifies it all the same. */
sotto_status rlwe_wire_skip(rlwe_file_reader *reader,
                            const rlwe_wire_record *record,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* "FILE, record NUMBER: reason". */
sotto_status rlwe_wire_fail(const rlwe_file_reader *reader, uint64_t number,
                            sotto_error *err, sotto_status status,
                            const char *format, ...) SOTTO_PRINTF(5, 6);

/* Compares a record's key id with the header's. error: SOTTO_ERR_MISMATCH. */
sotto_status rlwe_wire_check_key_id(const rlwe_file_reader *reader,
                                    uint64_t number, const uint8_t *key_id,
                                    sotto_error *err) SOTTO_MUST_CHECK;

/* Reads the one and only record of a key file into the reader's buffer and
 * verifies it. error: SOTTO_ERR_FORMAT when there is none, or a second one, or
 * its payload has not payload_bytes bytes. */
sotto_status rlwe_wire_only_record(rlwe_file_reader *reader,
                                   size_t payload_bytes,
                                   sotto_error *err) SOTTO_MUST_CHECK;

/* Writes the head of a record but for its checksum. */
void rlwe_wire_head(uint8_t *bytes, rlwe_file_kind kind, uint64_t index,
                    uint32_t item, size_t payload_bytes);

/* Writes the checksum of a record of len_bytes bytes, head included, where all
 * else stands; those of two in little more time. */
void rlwe_wire_seal(uint8_t *bytes, const rlwe_context *context,
                    size_t len_bytes);
void rlwe_wire_seal_two(uint8_t *bytes, uint8_t *other,
                        const rlwe_context *context, size_t len_bytes);

/* Writes and reads a mask of moduli. Reading fails (false) when it is empty or
 * names an id from n_limbs on. */
void rlwe_wire_put_set(sotto_writer *writer, const rns_set *set);
bool rlwe_wire_get_set(sotto_reader *reader, rns_set *set, int n_limbs);

/* Bytes of a packed limb, and of a packed polynomial over a set. */
size_t rlwe_wire_limb_bytes(const rns_ring *ring, int id);
size_t rlwe_wire_poly_bytes(const rns_ring *ring, const rns_set *set);

/* Packs the limb of modulus id; returns the end of what was written. */
uint8_t *rlwe_wire_pack_limb(uint8_t *out, const rns_ring *ring, int id,
                             const uint64_t *in);

/* Unpacks a limb. Returns false when a residue is not below the modulus. */
bool rlwe_wire_unpack_limb(uint64_t *out, const rns_ring *ring, int id,
                           const uint8_t *in) SOTTO_MUST_CHECK;

/* The same for a polynomial over a set. */
uint8_t *rlwe_wire_pack_poly(uint8_t *out, const rns_ring *ring,
                             const rns_set *set, const uint64_t *in);
bool rlwe_wire_unpack_poly(uint64_t *out, const rns_ring *ring,
                           const rns_set *set,
                           const uint8_t *in) SOTTO_MUST_CHECK;

#endif
