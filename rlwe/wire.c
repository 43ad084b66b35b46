/* SPDX-License-Identifier: MIT
 * File headers, record heads, and the reader. Everything that is read is
 * hostile until its checksum, its length and its fields have been checked.
 */
#include "rlwe/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "rlwe/wire_internal.h"

#define MAGIC_BYTES 8
#define VERSION 1
#define HEADER_SUMMED 104 /* bytes of a header under its checksum */
#define FLAG_INSECURE 1u
#define FLAG_FROM_SEED 2u

static const uint8_t header_magic[MAGIC_BYTES + 1] = "SOTTOHDR";
static const uint8_t record_magic[MAGIC_BYTES + 1] = "SOTTOREC";

/* A kind as messages say it; any number may come from a file. */
static const char *kind_text(unsigned kind)
{
    switch (kind) {
    case RLWE_FILE_SECRET:
        return "a secret key";
    case RLWE_FILE_PUBLIC:
        return "a public key";
    case RLWE_FILE_EVAL:
        return "evaluation keys";
    case RLWE_FILE_CIPHERTEXT:
        return "ciphertexts";
    default:
        return "something unknown";
    }
}

sotto_status rlwe_wire_fail(const rlwe_file_reader *reader, uint64_t number,
                            sotto_error *err, sotto_status status,
                            const char *format, ...)
{
    char reason[sizeof err->text];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return sotto_fail(err, status, "%s, record %llu: %s",
                      sotto_input_name(reader->input),
                      (unsigned long long)number, reason);
}

/* ---- Headers ----------------------------------------------------------- */

rlwe_file_header rlwe_file_header_make(const rlwe_context *context,
                                       rlwe_file_kind kind,
                                       const uint8_t *key_id, bool from_seed)
{
    const rlwe_params *params = &context->params;
    rlwe_file_header header = {
        .kind = kind,
        .insecure = params->security_bits < params->literal.security,
        .from_seed = from_seed,
    };
    memcpy(header.params_id, params->id, sizeof header.params_id);
    memcpy(header.key_id, key_id, sizeof header.key_id);
    return header;
}

sotto_status rlwe_write_header(sotto_output *out,
                               const rlwe_file_header *header, sotto_error *err)
{
    uint8_t bytes[WIRE_HEADER_BYTES];
    sotto_writer writer = sotto_writer_init(bytes, sizeof bytes);
    sotto_write_bytes(&writer, header_magic, MAGIC_BYTES);
    sotto_write_u16(&writer, VERSION);
    sotto_write_u16(&writer, (uint16_t)header->kind);
    sotto_write_u32(&writer, (header->insecure ? FLAG_INSECURE : 0) |
                                 (header->from_seed ? FLAG_FROM_SEED : 0));
    sotto_write_bytes(&writer, header->params_id, sizeof header->params_id);
    sotto_write_bytes(&writer, header->plan_id, sizeof header->plan_id);
    sotto_write_bytes(&writer, header->key_id, sizeof header->key_id);
    sotto_write_u64(&writer, header->count);
    SOTTO_ASSERT(writer.ok && writer.at == HEADER_SUMMED);
    sotto_sha256_of(bytes + HEADER_SUMMED, bytes, HEADER_SUMMED);
    return sotto_output_write(out, bytes, sizeof bytes, err);
}

/* Reads the fields of a header. name: of the file, for messages. */
static sotto_status parse_header(rlwe_file_header *header, const uint8_t *bytes,
                                 const char *name, sotto_error *err)
{
    sotto_reader reader = sotto_reader_init(bytes, WIRE_HEADER_BYTES);
    const uint8_t *magic = sotto_read_view(&reader, MAGIC_BYTES);
    const unsigned version = sotto_read_u16(&reader);
    const unsigned kind = sotto_read_u16(&reader);
    const uint32_t flags = sotto_read_u32(&reader);
    /* What the user most likely did wrong comes first; the checksum guards what
     * follows it. */
    if (memcmp(magic, header_magic, MAGIC_BYTES) != 0) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s is not a file of Sotto's: it does not begin with "
                          "\"%s\"",
                          name, (const char *)header_magic);
    }
    if (version != VERSION) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s has format version %u; this program reads "
                          "version %d",
                          name, version, VERSION);
    }
    uint8_t digest[SOTTO_HASH_BYTES];
    sotto_sha256_of(digest, bytes, HEADER_SUMMED);
    if (memcmp(digest, bytes + HEADER_SUMMED, sizeof digest) != 0) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s has a damaged header: the checksum differs; copy "
                          "or make it again",
                          name);
    }
    if (kind < RLWE_FILE_SECRET || kind > RLWE_FILE_CIPHERTEXT ||
        (flags & ~(FLAG_INSECURE | FLAG_FROM_SEED)) != 0) {
        return sotto_fail(err, SOTTO_ERR_FORMAT,
                          "%s has kind %u and flags %u; expected kinds %d to "
                          "%d and flags up to %u",
                          name, kind, (unsigned)flags, RLWE_FILE_SECRET,
                          RLWE_FILE_CIPHERTEXT, FLAG_INSECURE | FLAG_FROM_SEED);
    }
    header->kind = (rlwe_file_kind)kind;
    header->insecure = (flags & FLAG_INSECURE) != 0;
    header->from_seed = (flags & FLAG_FROM_SEED) != 0;
    sotto_read_bytes(&reader, header->params_id, sizeof header->params_id);
    sotto_read_bytes(&reader, header->plan_id, sizeof header->plan_id);
    sotto_read_bytes(&reader, header->key_id, sizeof header->key_id);
    header->count = sotto_read_u64(&reader);
    return SOTTO_OK;
}

/* Reads the header that a file begins with. */
static sotto_status read_header(rlwe_file_header *header, sotto_input *input,
                                sotto_error *err)
{
    uint8_t bytes[WIRE_HEADER_BYTES];
    bool at_end;
    SOTTO_TRY(sotto_input_read(input, bytes, MAGIC_BYTES, &at_end, err));
    if (at_end) {
        return sotto_fail(err, SOTTO_ERR_FORMAT, "%s is empty",
                          sotto_input_name(input));
    }
    /* Of a foreign file no more than the magic is read: it may be short. */
    if (memcmp(bytes, header_magic, MAGIC_BYTES) == 0) {
        SOTTO_TRY(sotto_input_read(input, bytes + MAGIC_BYTES,
                                   sizeof bytes - MAGIC_BYTES, NULL, err));
    }
    return parse_header(header, bytes, sotto_input_name(input), err);
}

sotto_status rlwe_file_peek(rlwe_file_header *header, const char *path,
                            sotto_error *err)
{
    memset(header, 0, sizeof *header);
    sotto_input *input;
    SOTTO_TRY(sotto_input_open(&input, path, err));
    const sotto_status status = read_header(header, input, err);
    sotto_input_close(input);
    return status;
}

/* ---- Reader ------------------------------------------------------------ */

/* Bytes of the largest record of a kind. */
static size_t largest_record(const rlwe_context *context, rlwe_file_kind kind)
{
    const rlwe_params_literal *literal = &context->params.literal;
    const size_t n = context->ring->ring.n;
    const rns_set all = rns_set_range(0, context->ring->n_limbs);
    size_t most = 0;
    switch (kind) {
    case RLWE_FILE_SECRET:
        return WIRE_RECORD_BYTES + RLWE_KEY_ID_BYTES + n / 4;
    case RLWE_FILE_PUBLIC:
        return WIRE_RECORD_BYTES + WIRE_PUBLIC_BYTES +
               rlwe_wire_poly_bytes(context->ring, &all);
    case RLWE_FILE_EVAL:
        for (int i = 0; i < literal->n_gadgets; i++) {
            const size_t bytes =
                rlwe_switch_key_record_bytes(context, &literal->gadget[i]);
            most = bytes > most ? bytes : most;
        }
        /* Without a gadget: enough to step over records. */
        return most > WIRE_RECORD_BYTES + WIRE_SWITCH_BYTES
                   ? most
                   : WIRE_RECORD_BYTES + WIRE_SWITCH_BYTES;
    default:
        return rlwe_ct_record_max(context);
    }
}

/* Compares the header with what the caller expects. */
static sotto_status check_file(const rlwe_file_reader *reader,
                               const rlwe_context *context,
                               rlwe_file_kind expected, sotto_error *err)
{
    const rlwe_file_header *header = &reader->header;
    if (header->kind != expected) {
        return sotto_fail(err, SOTTO_ERR_FORMAT, "%s holds %s; expected %s",
                          sotto_input_name(reader->input),
                          kind_text(header->kind), kind_text(expected));
    }
    if (memcmp(header->params_id, context->params.id,
               sizeof header->params_id) != 0) {
        char have[2 * RLWE_ID_BYTES + 1];
        char want[2 * RLWE_ID_BYTES + 1];
        sotto_hex(have, header->params_id, RLWE_ID_BYTES);
        sotto_hex(want, context->params.id, RLWE_ID_BYTES);
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "%s was made for other parameters: id %.16s…, "
                          "expected %.16s…; use the plan that it was made with",
                          sotto_input_name(reader->input), have, want);
    }
    return SOTTO_OK;
}

/* Opens and checks; the buffer's size comes from the parameters, never from the
 * file. */
static sotto_status fill_reader(rlwe_file_reader *reader, const char *path,
                                const rlwe_context *context,
                                rlwe_file_kind expected, sotto_error *err)
{
    SOTTO_TRY(sotto_input_open(&reader->input, path, err));
    SOTTO_TRY(read_header(&reader->header, reader->input, err));
    reader->position = WIRE_HEADER_BYTES;
    reader->hash = context->hash;
    SOTTO_TRY(check_file(reader, context, expected, err));
    reader->capacity = largest_record(context, expected);
    reader->buffer = sotto_calloc(reader->capacity, 1);
    if (reader->buffer == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for reading %s (%zu bytes)", path,
                          reader->capacity);
    }
    return SOTTO_OK;
}

sotto_status rlwe_file_open(rlwe_file_reader **reader, const char *path,
                            const rlwe_context *context,
                            rlwe_file_kind expected, sotto_error *err)
{
    *reader = NULL;
    rlwe_file_reader *made = sotto_calloc(1, sizeof *made);
    if (made == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory reading %s",
                          path);
    }
    const sotto_status status = fill_reader(made, path, context, expected, err);
    if (status != SOTTO_OK) {
        rlwe_file_close(made);
        return status;
    }
    *reader = made;
    return SOTTO_OK;
}

const rlwe_file_header *rlwe_file_header_of(const rlwe_file_reader *reader)
{
    return &reader->header;
}

uint64_t rlwe_file_position(const rlwe_file_reader *reader)
{
    return reader->position;
}

void rlwe_file_close(rlwe_file_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    sotto_input_close(reader->input);
    sotto_wipe_free(reader->buffer, reader->capacity); /* may hold a secret */
    sotto_free(reader);
}

/* ---- Records ----------------------------------------------------------- */

/* Reads bytes of the present record; the file must have them. */
static sotto_status read_more(rlwe_file_reader *reader, uint8_t *out,
                              size_t len_bytes, sotto_error *err)
{
    if (len_bytes == 0) {
        return SOTTO_OK;
    }
    const sotto_status status =
        sotto_input_read(reader->input, out, len_bytes, NULL, err);
    if (status != SOTTO_OK) {
        return sotto_fail_prefix(err, status, "record %llu",
                                 (unsigned long long)reader->n_records);
    }
    reader->position += len_bytes;
    return SOTTO_OK;
}

/* Reads the rest of a header between records: it must say what the first one
 * said. */
static sotto_status next_header(rlwe_file_reader *reader, const uint8_t *magic,
                                sotto_error *err)
{
    uint8_t bytes[WIRE_HEADER_BYTES];
    memcpy(bytes, magic, MAGIC_BYTES);
    SOTTO_TRY(read_more(reader, bytes + MAGIC_BYTES, sizeof bytes - MAGIC_BYTES,
                        err));
    rlwe_file_header header = {0};
    SOTTO_TRY(
        parse_header(&header, bytes, sotto_input_name(reader->input), err));
    const rlwe_file_header *first = &reader->header;
    const char *differs = NULL;
    if (header.kind != first->kind) {
        differs = "kind of file";
    } else if (memcmp(header.params_id, first->params_id, RLWE_ID_BYTES) != 0) {
        differs = "parameters";
    } else if (memcmp(header.plan_id, first->plan_id, RLWE_ID_BYTES) != 0) {
        differs = "plan";
    } else if (memcmp(header.key_id, first->key_id, RLWE_KEY_ID_BYTES) != 0) {
        differs = "key";
    } else if (header.count != first->count) {
        differs = "count of items";
    } else if (header.insecure != first->insecure ||
               header.from_seed != first->from_seed) {
        differs = "marks (insecure, seeded)";
    }
    if (differs != NULL) {
        return sotto_fail(err, SOTTO_ERR_MISMATCH,
                          "%s is put together of parts that differ in their "
                          "%s, before record %llu",
                          sotto_input_name(reader->input), differs,
                          (unsigned long long)reader->n_records);
    }
    return SOTTO_OK;
}

sotto_status rlwe_wire_next(rlwe_file_reader *reader, uint8_t *bytes,
                            rlwe_wire_record *record, bool *at_end,
                            sotto_error *err)
{
    reader->n_records++;
    for (;;) {
        const sotto_status status =
            sotto_input_read(reader->input, bytes, MAGIC_BYTES, at_end, err);
        if (status != SOTTO_OK || *at_end) {
            return status;
        }
        reader->position += MAGIC_BYTES;
        if (memcmp(bytes, header_magic, MAGIC_BYTES) != 0) {
            break;
        }
        SOTTO_TRY(next_header(reader, bytes, err));
    }
    if (memcmp(bytes, record_magic, MAGIC_BYTES) != 0) {
        return rlwe_wire_fail(
            reader, reader->n_records, err, SOTTO_ERR_FORMAT,
            "neither a record nor a header begins at byte %llu",
            (unsigned long long)(reader->position - MAGIC_BYTES));
    }
    SOTTO_TRY(read_more(reader, bytes + MAGIC_BYTES,
                        WIRE_RECORD_BYTES - MAGIC_BYTES, err));
    sotto_reader head = sotto_reader_init(bytes, WIRE_RECORD_BYTES);
    (void)sotto_read_view(&head, MAGIC_BYTES);
    const uint32_t kind = sotto_read_u32(&head);
    record->item = sotto_read_u32(&head);
    record->index = sotto_read_u64(&head);
    record->len_bytes = sotto_read_u64(&head);
    /* The length is bounded by who knows what it may be: rlwe_wire_payload. */
    if (kind != (uint32_t)reader->header.kind) {
        return rlwe_wire_fail(reader, reader->n_records, err, SOTTO_ERR_FORMAT,
                              "holds %s in a file of %s", kind_text(kind),
                              kind_text(reader->header.kind));
    }
    return SOTTO_OK;
}

sotto_status rlwe_wire_payload(rlwe_file_reader *reader, uint8_t *bytes,
                               size_t capacity, const rlwe_wire_record *record,
                               sotto_error *err)
{
    if (record->len_bytes > capacity - WIRE_RECORD_BYTES) {
        return rlwe_wire_fail(
            reader, reader->n_records, err, SOTTO_ERR_FORMAT,
            "has %llu bytes; these parameters allow at most %zu",
            (unsigned long long)record->len_bytes,
            capacity - WIRE_RECORD_BYTES);
    }
    return read_more(reader, bytes + WIRE_RECORD_BYTES,
                     (size_t)record->len_bytes, err);
}

sotto_status rlwe_wire_skip(rlwe_file_reader *reader,
                            const rlwe_wire_record *record, sotto_error *err)
{
    const size_t room = reader->capacity - WIRE_RECORD_BYTES;
    sotto_sha256 hash;
    sotto_sha256_init_like(&hash, &reader->hash);
    sotto_sha256_update(&hash, reader->buffer, WIRE_SUMMED_BYTES);
    /* Part by part through the buffer: a length that lies runs into the end of
     * the file, not out of memory. */
    uint64_t left = record->len_bytes;
    while (left > 0) {
        const size_t part = left < room ? (size_t)left : room;
        SOTTO_TRY(
            read_more(reader, reader->buffer + WIRE_RECORD_BYTES, part, err));
        sotto_sha256_update(&hash, reader->buffer + WIRE_RECORD_BYTES, part);
        left -= part;
    }
    uint8_t digest[SOTTO_HASH_BYTES];
    sotto_sha256_final(&hash, digest);
    return rlwe_wire_check_sum(reader, reader->n_records, digest,
                               reader->buffer, err);
}

sotto_status rlwe_wire_check_key_id(const rlwe_file_reader *reader,
                                    uint64_t number, const uint8_t *key_id,
                                    sotto_error *err)
{
    if (memcmp(key_id, reader->header.key_id, RLWE_KEY_ID_BYTES) == 0) {
        return SOTTO_OK;
    }
    char have[2 * RLWE_KEY_ID_BYTES + 1];
    char want[2 * RLWE_KEY_ID_BYTES + 1];
    sotto_hex(have, key_id, RLWE_KEY_ID_BYTES);
    sotto_hex(want, reader->header.key_id, RLWE_KEY_ID_BYTES);
    return rlwe_wire_fail(reader, number, err, SOTTO_ERR_MISMATCH,
                          "belongs to key %s; the file's header says %s", have,
                          want);
}

void rlwe_wire_head(uint8_t *bytes, rlwe_file_kind kind, uint64_t index,
                    uint32_t item, size_t payload_bytes)
{
    sotto_writer writer = sotto_writer_init(bytes, WIRE_SUMMED_BYTES);
    sotto_write_bytes(&writer, record_magic, MAGIC_BYTES);
    sotto_write_u32(&writer, (uint32_t)kind);
    sotto_write_u32(&writer, item);
    sotto_write_u64(&writer, index);
    sotto_write_u64(&writer, payload_bytes);
    SOTTO_ASSERT(writer.ok && writer.at == WIRE_SUMMED_BYTES);
}
