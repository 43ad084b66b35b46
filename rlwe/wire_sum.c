/* SPDX-License-Identifier: MIT
 * Checksums of records, one by one and two at a time.
 */
#include <string.h>

#include "base/hash.h"
#include "rlwe/wire_internal.h"

/* The checksum of a whole record. */
static void hash_record(uint8_t *digest, const sotto_sha256 *like,
                        const uint8_t *bytes, size_t len_bytes)
{
    sotto_sha256 hash;
    sotto_sha256_init_like(&hash, like);
    sotto_sha256_update(&hash, bytes, WIRE_SUMMED_BYTES);
    sotto_sha256_update(&hash, bytes + WIRE_RECORD_BYTES,
                        len_bytes - WIRE_RECORD_BYTES);
    sotto_sha256_final(&hash, digest);
}

/* Those of two records that are equally long, in little more time. */
static void hash_two(uint8_t *digest, uint8_t *other_digest,
                     const sotto_sha256 *like, const uint8_t *bytes,
                     const uint8_t *other, size_t len_bytes)
{
    sotto_sha256 hash, other_hash;
    sotto_sha256_init_like(&hash, like);
    sotto_sha256_init_like(&other_hash, like);
    sotto_sha256_update_two(&hash, &other_hash, bytes, other,
                            WIRE_SUMMED_BYTES);
    sotto_sha256_update_two(&hash, &other_hash, bytes + WIRE_RECORD_BYTES,
                            other + WIRE_RECORD_BYTES,
                            len_bytes - WIRE_RECORD_BYTES);
    sotto_sha256_final(&hash, digest);
    sotto_sha256_final(&other_hash, other_digest);
}

static bool sum_is(const uint8_t *bytes, const uint8_t *digest)
{
    return memcmp(digest, bytes + WIRE_SUMMED_BYTES, SOTTO_HASH_BYTES) == 0;
}

sotto_status rlwe_wire_check_sum(const rlwe_file_reader *reader,
                                 uint64_t number, const uint8_t *digest,
                                 const uint8_t *bytes, sotto_error *err)
{
    if (!sum_is(bytes, digest)) {
        return rlwe_wire_fail(reader, number, err, SOTTO_ERR_FORMAT,
                              "damaged: the checksum differs; copy or make the "
                              "file again");
    }
    return SOTTO_OK;
}

sotto_status rlwe_wire_verify(const rlwe_file_reader *reader, uint64_t number,
                              const uint8_t *bytes, size_t len_bytes,
                              sotto_error *err)
{
    uint8_t digest[SOTTO_HASH_BYTES];
    hash_record(digest, &reader->hash, bytes, len_bytes);
    return rlwe_wire_check_sum(reader, number, digest, bytes, err);
}

void rlwe_wire_verify_two(const rlwe_file_reader *reader, bool right[2],
                          const uint8_t *bytes, const uint8_t *other,
                          size_t len_bytes)
{
    uint8_t digest[2][SOTTO_HASH_BYTES];
    hash_two(digest[0], digest[1], &reader->hash, bytes, other, len_bytes);
    right[0] = sum_is(bytes, digest[0]);
    right[1] = sum_is(other, digest[1]);
}

void rlwe_wire_seal(uint8_t *bytes, const rlwe_context *context,
                    size_t len_bytes)
{
    hash_record(bytes + WIRE_SUMMED_BYTES, &context->hash, bytes, len_bytes);
}

void rlwe_wire_seal_two(uint8_t *bytes, uint8_t *other,
                        const rlwe_context *context, size_t len_bytes)
{
    hash_two(bytes + WIRE_SUMMED_BYTES, other + WIRE_SUMMED_BYTES,
             &context->hash, bytes, other, len_bytes);
}
