/* SPDX-License-Identifier: MIT
 * Key and ciphertext files. Checksums would stop every damaged input at the
 * door, so each input is read twice: as it is, and with its checksums mended.
 * A ciphertext that is accepted is written again and must give the same bytes:
 * there is one way to write it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "rlwe/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/support.h"

#define HEADER_BYTES 136
#define HEADER_HASHED 104
#define RECORD_BYTES 64
#define RECORD_HASHED 32

/* Puts right digests wherever a header or a record seems to stand. */
static void mend(uint8_t *data, size_t len_bytes)
{
    size_t at = 0;
    while (at + RECORD_BYTES <= len_bytes) {
        uint8_t *head = data + at;
        if (memcmp(head, "SOTTOHDR", 8) == 0) {
            if (at + HEADER_BYTES > len_bytes) {
                return;
            }
            sotto_sha256_of(head + HEADER_HASHED, head, HEADER_HASHED);
            at += HEADER_BYTES;
            continue;
        }
        sotto_reader reader = sotto_reader_init(head + 24, 8);
        const uint64_t payload = sotto_read_u64(&reader);
        if (payload > len_bytes - at - RECORD_BYTES) {
            return;
        }
        sotto_sha256 hash;
        sotto_sha256_init(&hash);
        sotto_sha256_update(&hash, head, RECORD_HASHED);
        sotto_sha256_update(&hash, head + RECORD_BYTES, (size_t)payload);
        sotto_sha256_final(&hash, head + RECORD_HASHED);
        at += RECORD_BYTES + (size_t)payload;
    }
}

static void read_ciphertexts(const char *path)
{
    const rlwe_context *context = fuzz_context();
    rlwe_file_reader *reader;
    sotto_error err;
    if (rlwe_file_open(&reader, path, context, RLWE_FILE_CIPHERTEXT, &err) !=
        SOTTO_OK) {
        return;
    }
    const size_t cap = rlwe_ct_record_max(context);
    rlwe_raw_ct raw = {.bytes = malloc(cap)};
    uint8_t *again = malloc(cap);
    rlwe_ct ct = {0};
    FUZZ_ASSERT(raw.bytes != NULL && again != NULL);
    FUZZ_ASSERT(rlwe_ct_init(&ct, context, 0, RLWE_MAX_COMPONENTS, &err) ==
                SOTTO_OK);
    bool at_end = false;
    while (rlwe_read_raw_ct(reader, &raw, &at_end, &err) == SOTTO_OK &&
           !at_end) {
        uint64_t scale_bits, index;
        uint32_t item;
        if (rlwe_parse_ct(reader, context, &ct, &scale_bits, &index, &item,
                          &raw, &err) == SOTTO_OK) {
            FUZZ_ASSERT(rlwe_pack_ct(again, context, &ct, scale_bits, index,
                                     item) == raw.len_bytes);
            FUZZ_ASSERT(memcmp(again, raw.bytes, raw.len_bytes) == 0);
        }
    }
    rlwe_ct_clear(&ct);
    free(again);
    free(raw.bytes);
    rlwe_file_close(reader);
}

static void read_all_kinds(const uint8_t *data, size_t len_bytes)
{
    const rlwe_context *context = fuzz_context();
    const char *path = fuzz_file(data, len_bytes);
    sotto_error err;
    rlwe_file_header header;
    rlwe_secret *secret;
    rlwe_public *key;
    rlwe_keyset *keyset;
    if (rlwe_file_peek(&header, path, &err) != SOTTO_OK) {
        return; /* nor would any of these */
    }
    if (rlwe_read_secret(&secret, path, context, &err) == SOTTO_OK) {
        rlwe_secret_free(secret, context);
    }
    if (rlwe_read_public(&key, path, context, &err) == SOTTO_OK) {
        rlwe_public_free(key);
    }
    if (rlwe_read_keyset(&keyset, path, context, NULL, 0, &err) == SOTTO_OK) {
        rlwe_keyset_free(keyset);
    }
    read_ciphertexts(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    uint8_t *copy = malloc(len_bytes + 1);
    FUZZ_ASSERT(copy != NULL);
    if (len_bytes > 0) {
        memcpy(copy, data, len_bytes);
    }
    read_all_kinds(copy, len_bytes);
    mend(copy, len_bytes);
    read_all_kinds(copy, len_bytes);
    free(copy);
    return 0;
}
