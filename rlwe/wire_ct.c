/* SPDX-License-Identifier: MIT
 * Ciphertext records.
 *
 * Reading has two halves: one reads bytes in order, the other verifies, unpacks
 * and expands, which takes nearly all the time and may run on any thread.
 */
#include <string.h>

#include "base/mem.h"
#include "rlwe/encrypt.h"
#include "rlwe/wire_internal.h"

#define FLAG_SEEDED 1u

size_t rlwe_ct_record_bytes(const rlwe_context *context, int level,
                            int n_components, bool seeded)
{
    const size_t poly =
        rlwe_wire_poly_bytes(context->ring, rlwe_level_set(context, level));
    const size_t stored = seeded ? 1 : (size_t)n_components;
    return WIRE_RECORD_BYTES + WIRE_CT_BYTES + stored * poly +
           (seeded ? SOTTO_SEED_BYTES : 0);
}

size_t rlwe_ct_record_max(const rlwe_context *context)
{
    return rlwe_ct_record_bytes(context, 0, RLWE_MAX_COMPONENTS, false);
}

size_t rlwe_pack_ct_unsealed(uint8_t *bytes, const rlwe_context *context,
                             const rlwe_ct *ct, uint64_t scale_bits,
                             uint64_t index, uint32_t item)
{
    SOTTO_ASSERT(!ct->seeded || ct->n_components == 2);
    const rns_set *set = rlwe_level_set(context, ct->level);
    sotto_writer writer =
        sotto_writer_init(bytes + WIRE_RECORD_BYTES, WIRE_CT_BYTES);
    sotto_write_u16(&writer, (uint16_t)ct->level);
    sotto_write_u8(&writer, (uint8_t)ct->n_components);
    sotto_write_u8(&writer, ct->seeded ? FLAG_SEEDED : 0);
    sotto_write_u32(&writer, 0);
    sotto_write_u64(&writer, scale_bits);
    sotto_write_bytes(&writer, ct->key_id, sizeof ct->key_id);
    rlwe_wire_put_set(&writer, set);
    SOTTO_ASSERT(writer.ok && writer.at == WIRE_CT_BYTES);

    uint8_t *at = bytes + WIRE_RECORD_BYTES + WIRE_CT_BYTES;
    const int n_stored = ct->seeded ? 1 : ct->n_components;
    for (int i = 0; i < n_stored; i++) {
        at = rlwe_wire_pack_poly(at, context->ring, set,
                                 rlwe_ct_component(ct, context, i));
    }
    if (ct->seeded) {
        memcpy(at, ct->seed.bytes, SOTTO_SEED_BYTES);
        at += SOTTO_SEED_BYTES;
    }
    const size_t len_bytes = (size_t)(at - bytes);
    rlwe_wire_head(bytes, RLWE_FILE_CIPHERTEXT, index, item,
                   len_bytes - WIRE_RECORD_BYTES);
    return len_bytes;
}

void rlwe_seal_cts(uint8_t *bytes, const rlwe_context *context,
                   size_t len_bytes, size_t n)
{
    for (; n >= 2; n -= 2, bytes += 2 * len_bytes) {
        rlwe_wire_seal_two(bytes, bytes + len_bytes, context, len_bytes);
    }
    if (n > 0) {
        rlwe_wire_seal(bytes, context, len_bytes);
    }
}

size_t rlwe_pack_ct(uint8_t *bytes, const rlwe_context *context,
                    const rlwe_ct *ct, uint64_t scale_bits, uint64_t index,
                    uint32_t item)
{
    const size_t len_bytes =
        rlwe_pack_ct_unsealed(bytes, context, ct, scale_bits, index, item);
    rlwe_wire_seal(bytes, context, len_bytes);
    return len_bytes;
}

sotto_status rlwe_write_ct(sotto_output *out, const rlwe_context *context,
                           const rlwe_ct *ct, uint64_t scale_bits,
                           uint64_t index, uint32_t item, uint8_t *scratch,
                           sotto_error *err)
{
    const size_t len_bytes =
        rlwe_pack_ct(scratch, context, ct, scale_bits, index, item);
    return sotto_output_write(out, scratch, len_bytes, err);
}

sotto_status rlwe_read_raw_ct(rlwe_file_reader *reader, rlwe_raw_ct *raw,
                              bool *at_end, sotto_error *err)
{
    SOTTO_ASSERT(reader->header.kind == RLWE_FILE_CIPHERTEXT);
    rlwe_wire_record record;
    SOTTO_TRY(rlwe_wire_next(reader, raw->bytes, &record, at_end, err));
    if (*at_end) {
        return SOTTO_OK;
    }
    SOTTO_TRY(
        rlwe_wire_payload(reader, raw->bytes, reader->capacity, &record, err));
    raw->number = reader->n_records;
    raw->index = record.index;
    raw->item = record.item;
    raw->len_bytes = WIRE_RECORD_BYTES + (size_t)record.len_bytes;
    raw->verified = false;
    return SOTTO_OK;
}

void rlwe_verify_two_cts(const rlwe_file_reader *reader, rlwe_raw_ct *raw,
                         rlwe_raw_ct *other)
{
    if (raw->len_bytes == other->len_bytes) {
        bool right[2];
        rlwe_wire_verify_two(reader, right, raw->bytes, other->bytes,
                             raw->len_bytes);
        raw->verified = right[0];
        other->verified = right[1];
    }
}

/* What stands before the polynomials of a ciphertext. */
typedef struct ct_fields {
    int level;
    int n_components;
    bool seeded;
    uint64_t scale_bits;
    const uint8_t *key_id;
    const uint8_t *rest; /* polynomials and seed */
} ct_fields;

/* Reads and checks the fields of a verified record, its length included. */
static sotto_status parse_fields(ct_fields *fields,
                                 const rlwe_file_reader *reader,
                                 const rlwe_context *context,
                                 const rlwe_raw_ct *raw, sotto_error *err)
{
    sotto_reader payload = sotto_reader_init(
        raw->bytes + WIRE_RECORD_BYTES, raw->len_bytes - WIRE_RECORD_BYTES);
    fields->level = sotto_read_u16(&payload);
    fields->n_components = sotto_read_u8(&payload);
    const unsigned flags = sotto_read_u8(&payload);
    const uint32_t zero = sotto_read_u32(&payload);
    fields->scale_bits = sotto_read_u64(&payload);
    fields->key_id = sotto_read_view(&payload, RLWE_KEY_ID_BYTES);
    rns_set set;
    const bool set_ok =
        rlwe_wire_get_set(&payload, &set, context->ring->n_limbs);
    fields->seeded = flags == FLAG_SEEDED;
    if (!payload.ok || zero != 0 || flags > FLAG_SEEDED ||
        fields->n_components < RLWE_MIN_COMPONENTS ||
        fields->n_components > RLWE_MAX_COMPONENTS ||
        (fields->seeded && fields->n_components != 2)) {
        return rlwe_wire_fail(
            reader, raw->number, err, SOTTO_ERR_FORMAT,
            "a ciphertext of %d components with flags %u; "
            "expected %d to %d (2 with a seed) and flags up to 1",
            fields->n_components, flags, RLWE_MIN_COMPONENTS,
            RLWE_MAX_COMPONENTS);
    }
    if (fields->level >= context->chain.n_levels || !set_ok ||
        !rns_set_equal(&set, rlwe_level_set(context, fields->level))) {
        return rlwe_wire_fail(
            reader, raw->number, err, SOTTO_ERR_MISMATCH,
            "a ciphertext of %d moduli at level %d, which these "
            "parameters do not have; use the plan that it was "
            "made with",
            set.count, fields->level);
    }
    /* The exact length, so that unpacking needs no bounds of its own. */
    const size_t expected = rlwe_ct_record_bytes(
        context, fields->level, fields->n_components, fields->seeded);
    if (raw->len_bytes != expected) {
        return rlwe_wire_fail(reader, raw->number, err, SOTTO_ERR_FORMAT,
                              "a ciphertext of %zu bytes; expected %zu",
                              raw->len_bytes, expected);
    }
    fields->rest = raw->bytes + WIRE_RECORD_BYTES + WIRE_CT_BYTES;
    return rlwe_wire_check_key_id(reader, raw->number, fields->key_id, err);
}

/* Unpacks the polynomials into a ciphertext of the right shape.
 * Returns false when a residue is too large. */
static bool unpack_ct(rlwe_ct *ct, const rlwe_context *context,
                      const ct_fields *fields)
{
    const rns_set *set = rlwe_level_set(context, fields->level);
    const size_t poly_bytes = rlwe_wire_poly_bytes(context->ring, set);
    const int n_stored = fields->seeded ? 1 : fields->n_components;
    const uint8_t *at = fields->rest;
    for (int i = 0; i < n_stored; i++, at += poly_bytes) {
        if (!rlwe_wire_unpack_poly(rlwe_ct_component(ct, context, i),
                                   context->ring, set, at)) {
            return false;
        }
    }
    memcpy(ct->key_id, fields->key_id, sizeof ct->key_id);
    if (fields->seeded) {
        ct->seeded = true;
        memcpy(ct->seed.bytes, at, SOTTO_SEED_BYTES);
        rlwe_expand_seed(ct, context);
    }
    return true;
}

sotto_status rlwe_parse_ct(const rlwe_file_reader *reader,
                           const rlwe_context *context, rlwe_ct *ct,
                           uint64_t *scale_bits, uint64_t *index,
                           uint32_t *item, const rlwe_raw_ct *raw,
                           sotto_error *err)
{
    /* Nothing of a record is looked at before its checksum is right. */
    if (!raw->verified) {
        SOTTO_TRY(rlwe_wire_verify(reader, raw->number, raw->bytes,
                                   raw->len_bytes, err));
    }
    ct_fields fields = {.rest = NULL};
    SOTTO_TRY(parse_fields(&fields, reader, context, raw, err));
    SOTTO_TRY(
        rlwe_ct_reshape(ct, context, fields.level, fields.n_components, err));
    if (!unpack_ct(ct, context, &fields)) {
        memset(ct->data, 0, ct->capacity * sizeof *ct->data);
        return rlwe_wire_fail(reader, raw->number, err, SOTTO_ERR_FORMAT,
                              "a residue is not below its modulus");
    }
    sotto_reader head = sotto_reader_init(raw->bytes, WIRE_RECORD_BYTES);
    (void)sotto_read_view(&head, 12);
    *item = sotto_read_u32(&head);
    *index = sotto_read_u64(&head);
    *scale_bits = fields.scale_bits;
    return SOTTO_OK;
}

sotto_status rlwe_read_ct(rlwe_file_reader *reader, const rlwe_context *context,
                          rlwe_ct *ct, uint64_t *scale_bits, uint64_t *index,
                          uint32_t *item, bool *at_end, sotto_error *err)
{
    rlwe_raw_ct raw = {.bytes = reader->buffer};
    SOTTO_TRY(rlwe_read_raw_ct(reader, &raw, at_end, err));
    if (*at_end) {
        return SOTTO_OK;
    }
    return rlwe_parse_ct(reader, context, ct, scale_bits, index, item, &raw,
                         err);
}
