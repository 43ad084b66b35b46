/* SPDX-License-Identifier: MIT
 * Wire format: files of keys and ciphertexts (SPEC §11, byte by byte).
 *
 *     header | record | record | …          concatenation of files is valid:
 *     header | record | header | record     each record may have one before it
 *
 * All numbers little-endian; what is called zero must be zero.
 *
 *     header, 136 bytes                     record, 64 bytes and the payload
 *       0  8  "SOTTOHDR"                      0  8  "SOTTOREC"
 *       8  2  version: 1                      8  4  kind
 *      10  2  kind                           12  4  item
 *      12  4  flags: 1 insecure, 2 seeded    16  8  index
 *      16 32  parameter id                   24  8  bytes of payload
 *      48 32  plan id                        32 32  SHA-256 of bytes 0 … 31
 *      80 16  key id                                and of the payload
 *      96  8  count                          64  …  payload (wire_internal.h)
 *     104 32  SHA-256 of bytes 0 … 103
 *
 * Every field is bounded before use and each record is verified before anything
 * in it is used; a reader never allocates more than its context's objects need.
 */
#ifndef SOTTO_RLWE_WIRE_H
#define SOTTO_RLWE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/status.h"
#include "rlwe/ct.h"
#include "rlwe/keys.h"

/* Kinds of files; values are part of the format. */
typedef enum rlwe_file_kind {
    RLWE_FILE_SECRET = 1,
    RLWE_FILE_PUBLIC = 2,
    RLWE_FILE_EVAL = 3, /* switching keys */
    RLWE_FILE_CIPHERTEXT = 4
} rlwe_file_kind;

/* What a file header says. */
typedef struct rlwe_file_header {
    rlwe_file_kind kind;
    bool insecure;  /* parameters below the wanted security */
    bool from_seed; /* keys made with --seed */
    uint8_t params_id[RLWE_ID_BYTES];
    uint8_t plan_id[RLWE_ID_BYTES]; /* zero in key files */
    uint8_t key_id[RLWE_KEY_ID_BYTES];
    uint64_t count; /* of the user's items (images) in the whole job, of which
                     * this file may hold a part; 0 in key files */
} rlwe_file_header;

/* The header of a file of this kind: parameter id and insecure mark from the
 * context, plan id zero. key_id: 16 bytes. */
rlwe_file_header rlwe_file_header_make(const rlwe_context *context,
                                       rlwe_file_kind kind,
                                       const uint8_t *key_id, bool from_seed);

/* Writes a file header. error: SOTTO_ERR_IO. */
sotto_status rlwe_write_header(sotto_output *out,
                               const rlwe_file_header *header,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Reader of one file: remembers the header, checks that concatenated parts
 * agree with it, and holds a buffer for one record. */
typedef struct rlwe_file_reader rlwe_file_reader;

/* Opens a file and reads its header. expected: the kind wanted; the parameter
 * id must be the context's.
 * error: SOTTO_ERR_IO; SOTTO_ERR_FORMAT (no Sotto file, other version, other
 * kind: both named); SOTTO_ERR_MISMATCH (made for other parameters).
 * owner: the caller, rlwe_file_close. */
sotto_status rlwe_file_open(rlwe_file_reader **reader, const char *path,
                            const rlwe_context *context,
                            rlwe_file_kind expected,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* The header of the file (borrowed). */
const rlwe_file_header *rlwe_file_header_of(const rlwe_file_reader *reader);

/* Bytes consumed so far, for progress. */
uint64_t rlwe_file_position(const rlwe_file_reader *reader);

/* Closes; NULL is fine. */
void rlwe_file_close(rlwe_file_reader *reader);

/* Reads any file's header without a context (for `inspect`).
 * error: SOTTO_ERR_IO, SOTTO_ERR_FORMAT, SOTTO_ERR_MEMORY. */
sotto_status rlwe_file_peek(rlwe_file_header *header, const char *path,
                            sotto_error *err) SOTTO_MUST_CHECK;

/* Appends a ciphertext record: index (batch), item (feature), scale as an
 * opaque 64-bit pattern of the scheme. A seeded ciphertext writes its seed
 * instead of component 1. scratch: rlwe_ct_record_bytes bytes.
 * error: SOTTO_ERR_IO. */
sotto_status rlwe_write_ct(sotto_output *out, const rlwe_context *context,
                           const rlwe_ct *ct, uint64_t scale_bits,
                           uint64_t index, uint32_t item, uint8_t *scratch,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* The record that rlwe_write_ct appends, as bytes, so that several threads may
 * make records while one writes them in order.
 * shape: bytes uint8_t[rlwe_ct_record_bytes of ct]; returns that size. */
size_t rlwe_pack_ct(uint8_t *bytes, const rlwe_context *context,
                    const rlwe_ct *ct, uint64_t scale_bits, uint64_t index,
                    uint32_t item);

/* rlwe_pack_ct but for the checksum, which rlwe_seal_cts writes. */
size_t rlwe_pack_ct_unsealed(uint8_t *bytes, const rlwe_context *context,
                             const rlwe_ct *ct, uint64_t scale_bits,
                             uint64_t index, uint32_t item);

/* Writes the checksums of n records of len_bytes bytes each, one behind the
 * other. cost: two at a time, which where the processor has SHA instructions
 * takes little longer than one: best while both are in the cache. */
void rlwe_seal_cts(uint8_t *bytes, const rlwe_context *context,
                   size_t len_bytes, size_t n);

/* Size of a ciphertext record on disk, header and checksum included. */
size_t rlwe_ct_record_bytes(const rlwe_context *context, int level,
                            int n_components, bool seeded);

/* Size of the largest ciphertext record of these parameters. */
size_t rlwe_ct_record_max(const rlwe_context *context);

/* Reads the next ciphertext record into ct (which must have room), verifying
 * it; seeded ones are expanded. *at_end: no record was left (ct unchanged).
 * error: SOTTO_ERR_FORMAT naming file, record and what was wrong;
 * SOTTO_ERR_MISMATCH when the key id is not the header's; SOTTO_ERR_PARAM when
 * ct has no room. ct is unchanged or zero. */
sotto_status rlwe_read_ct(rlwe_file_reader *reader, const rlwe_context *context,
                          rlwe_ct *ct, uint64_t *scale_bits, uint64_t *index,
                          uint32_t *item, bool *at_end,
                          sotto_error *err) SOTTO_MUST_CHECK;

/* A record as it stands in the file: bounded. */
typedef struct rlwe_raw_ct {
    uint64_t number; /* of the record in the file, from 1 */
    uint64_t index;  /* batch and feature as the record claims; only good for */
    uint32_t item;   /* passing over what is not wanted */
    size_t len_bytes; /* head and payload */
    uint8_t *bytes;   /* the caller's, rlwe_ct_record_max bytes */
    bool verified;    /* its checksum is right; false: not known */
} rlwe_raw_ct;

/* The first half of rlwe_read_ct: only reads, so that several threads may do
 * the second half. error: SOTTO_ERR_FORMAT, SOTTO_ERR_IO. */
sotto_status rlwe_read_raw_ct(rlwe_file_reader *reader, rlwe_raw_ct *raw,
                              bool *at_end, sotto_error *err) SOTTO_MUST_CHECK;

/* Compares the checksums of two records, both at once where they are equally
 * long, and sets `verified` where they are right: then rlwe_parse_ct need not.
 * What is wrong, rlwe_parse_ct reports. Any number of threads at once. */
void rlwe_verify_two_cts(const rlwe_file_reader *reader, rlwe_raw_ct *raw,
                         rlwe_raw_ct *other);

/* The second half of rlwe_read_ct: verifies, unpacks and expands. Only reads
 * the reader: any number of threads at once. error: as rlwe_read_ct. */
sotto_status rlwe_parse_ct(const rlwe_file_reader *reader,
                           const rlwe_context *context, rlwe_ct *ct,
                           uint64_t *scale_bits, uint64_t *index,
                           uint32_t *item, const rlwe_raw_ct *raw,
                           sotto_error *err) SOTTO_MUST_CHECK;

/* Writes a whole secret key file (coefficients in two bits each).
 * error: SOTTO_ERR_IO, SOTTO_ERR_MEMORY. secret: constant time. */
sotto_status rlwe_write_secret(sotto_output *out, const rlwe_context *context,
                               const rlwe_secret *secret,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Reads a secret key file, which holds exactly one. Buffers are wiped.
 * error: as rlwe_file_open and rlwe_read_ct; *secret is then NULL.
 * owner: rlwe_secret_free. */
sotto_status rlwe_read_secret(rlwe_secret **secret, const char *path,
                              const rlwe_context *context,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Writes a whole public key file. error: SOTTO_ERR_IO, SOTTO_ERR_MEMORY. */
sotto_status rlwe_write_public(sotto_output *out, const rlwe_context *context,
                               const rlwe_public *key,
                               sotto_error *err) SOTTO_MUST_CHECK;

/* Reads a public key file, which holds exactly one.
 * error: as rlwe_file_open and rlwe_read_ct; SOTTO_ERR_PARAM when the
 * parameters have no public key; *key is then NULL. owner: rlwe_public_free. */
sotto_status rlwe_read_public(rlwe_public **key, const char *path,
                              const rlwe_context *context,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Appends one switching key record (the file header comes first).
 * error: SOTTO_ERR_IO, SOTTO_ERR_MEMORY. */
sotto_status rlwe_write_switch_key(sotto_output *out,
                                   const rlwe_context *context,
                                   const rlwe_switch_key *key, uint64_t index,
                                   sotto_error *err) SOTTO_MUST_CHECK;

/* Reads a whole evaluation key file into a key set. Kept are the keys whose
 * target is listed in wanted[0..n_wanted) (any target when wanted is NULL) and
 * whose gadget the context has, each once; so a file with a superset serves.
 * error: as rlwe_file_open and rlwe_read_ct; *keyset is then NULL.
 * owner: rlwe_keyset_free. */
sotto_status rlwe_read_keyset(rlwe_keyset **keyset, const char *path,
                              const rlwe_context *context,
                              const rlwe_key_target *wanted, int n_wanted,
                              sotto_error *err) SOTTO_MUST_CHECK;

/* Size of a switching key record on disk. */
size_t rlwe_switch_key_record_bytes(const rlwe_context *context,
                                    const rlwe_gadget *gadget);

#endif
