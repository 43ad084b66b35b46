/* SPDX-License-Identifier: MIT
 * Key files: secret, public, evaluation keys.
 *
 * A record is built and read as a whole in memory. What held a secret is wiped,
 * whatever happened.
 */
#include <string.h>

#include "base/mem.h"
#include "rlwe/rlwe_internal.h"
#include "rlwe/wire_internal.h"

/* Writes a record that stands complete in bytes but for its head. */
static sotto_status write_record(sotto_output *out, const rlwe_context *context,
                                 uint8_t *bytes, size_t len_bytes,
                                 rlwe_file_kind kind, uint64_t index,
                                 sotto_error *err)
{
    rlwe_wire_head(bytes, kind, index, 0, len_bytes - WIRE_RECORD_BYTES);
    rlwe_wire_seal(bytes, context, len_bytes);
    return sotto_output_write(out, bytes, len_bytes, err);
}

/* Room for one record. error: SOTTO_ERR_MEMORY. owner: sotto_wipe_free. */
static sotto_status alloc_record(uint8_t **bytes, size_t len_bytes,
                                 sotto_error *err)
{
    *bytes = sotto_calloc(len_bytes, 1);
    if (*bytes == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "out of memory for a record of %zu bytes", len_bytes);
    }
    return SOTTO_OK;
}

sotto_status rlwe_wire_only_record(rlwe_file_reader *reader,
                                   size_t payload_bytes, sotto_error *err)
{
    rlwe_wire_record record;
    bool at_end;
    SOTTO_TRY(rlwe_wire_next(reader, reader->buffer, &record, &at_end, err));
    if (at_end) {
        return sotto_fail(err, SOTTO_ERR_FORMAT, "%s holds no key",
                          sotto_input_name(reader->input));
    }
    if (record.len_bytes != payload_bytes) {
        return rlwe_wire_fail(reader, reader->n_records, err, SOTTO_ERR_FORMAT,
                              "a key of %llu bytes; expected %zu",
                              (unsigned long long)record.len_bytes,
                              payload_bytes);
    }
    SOTTO_TRY(rlwe_wire_payload(reader, reader->buffer, reader->capacity,
                                &record, err));
    SOTTO_TRY(rlwe_wire_verify(reader, reader->n_records, reader->buffer,
                               WIRE_RECORD_BYTES + payload_bytes, err));
    uint8_t head[WIRE_RECORD_BYTES];
    SOTTO_TRY(rlwe_wire_next(reader, head, &record, &at_end, err));
    if (!at_end) {
        return rlwe_wire_fail(reader, reader->n_records, err, SOTTO_ERR_FORMAT,
                              "a second key; expected one per file");
    }
    return SOTTO_OK;
}

/* ---- Secret ------------------------------------------------------------ */

/* Payload of a secret key: id and two bits for each coefficient. */
static size_t secret_bytes(const rlwe_context *context)
{
    return RLWE_KEY_ID_BYTES + context->ring->ring.n / 4;
}

sotto_status rlwe_write_secret(sotto_output *out, const rlwe_context *context,
                               const rlwe_secret *secret, sotto_error *err)
{
    const rlwe_file_header header = rlwe_file_header_make(
        context, RLWE_FILE_SECRET, secret->key_id, secret->from_seed);
    const size_t len_bytes = WIRE_RECORD_BYTES + secret_bytes(context);
    uint8_t *bytes;
    SOTTO_TRY(alloc_record(&bytes, len_bytes, err));
    uint8_t *at = bytes + WIRE_RECORD_BYTES;
    memcpy(at, secret->key_id, RLWE_KEY_ID_BYTES);
    at += RLWE_KEY_ID_BYTES;
    for (size_t i = 0; i < context->ring->ring.n; i++) {
        /* The two lowest bits of -1, 0, 1 are 3, 0, 1. */
        at[i / 4] |= (uint8_t)((secret->small[i] & 3) << (2 * (i % 4)));
    }
    sotto_status status = rlwe_write_header(out, &header, err);
    if (status == SOTTO_OK) {
        status = write_record(out, context, bytes, len_bytes, RLWE_FILE_SECRET,
                              0, err);
    }
    sotto_wipe_free(bytes, len_bytes);
    return status;
}

/* Unpacks n coefficients; false when one of them is 2.   secret: constant time
 * but for the answer, which is true for every file that was ever written. */
static bool unpack_small(int8_t *small, size_t n, const uint8_t *in)
{
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned code = (in[i / 4] >> (2 * (i % 4))) & 3u;
        bad |= (code >> 1) & ~code & 1u;
        small[i] = (int8_t)((int)(code ^ 2u) - 2);
    }
    return bad == 0;
}

/* Reads the record into the reader's buffer, which its closing wipes. */
static sotto_status load_secret(rlwe_secret **secret, rlwe_file_reader *reader,
                                const rlwe_context *context, int8_t *small,
                                sotto_error *err)
{
    SOTTO_TRY(rlwe_wire_only_record(reader, secret_bytes(context), err));
    const uint8_t *key_id = reader->buffer + WIRE_RECORD_BYTES;
    SOTTO_TRY(rlwe_wire_check_key_id(reader, 1, key_id, err));
    if (!unpack_small(small, context->ring->ring.n,
                      key_id + RLWE_KEY_ID_BYTES)) {
        return rlwe_wire_fail(reader, 1, err, SOTTO_ERR_FORMAT,
                              "a coefficient that is not -1, 0 or 1");
    }
    return rlwe_secret_from_small(secret, context, small, key_id,
                                  reader->header.from_seed, err);
}

sotto_status rlwe_read_secret(rlwe_secret **secret, const char *path,
                              const rlwe_context *context, sotto_error *err)
{
    *secret = NULL;
    const size_t n = context->ring->ring.n;
    rlwe_file_reader *reader;
    SOTTO_TRY(rlwe_file_open(&reader, path, context, RLWE_FILE_SECRET, err));
    int8_t *small = sotto_calloc(n, sizeof *small);
    sotto_status status;
    if (small == NULL) {
        status =
            sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory reading %s", path);
    } else {
        status = load_secret(secret, reader, context, small, err);
    }
    sotto_wipe_free(small, n * sizeof *small);
    rlwe_file_close(reader); /* wipes its buffer */
    return status;
}

/* ---- Public key -------------------------------------------------------- */

sotto_status rlwe_write_public(sotto_output *out, const rlwe_context *context,
                               const rlwe_public *key, sotto_error *err)
{
    const rlwe_file_header header = rlwe_file_header_make(
        context, RLWE_FILE_PUBLIC, key->key_id, key->from_seed);
    const size_t len_bytes = WIRE_RECORD_BYTES + WIRE_PUBLIC_BYTES +
                             rlwe_wire_poly_bytes(context->ring, &key->set);
    uint8_t *bytes;
    SOTTO_TRY(alloc_record(&bytes, len_bytes, err));
    sotto_writer writer =
        sotto_writer_init(bytes + WIRE_RECORD_BYTES, WIRE_PUBLIC_BYTES);
    sotto_write_bytes(&writer, key->key_id, sizeof key->key_id);
    rlwe_wire_put_set(&writer, &key->set);
    sotto_write_bytes(&writer, key->seed.bytes, SOTTO_SEED_BYTES);
    SOTTO_ASSERT(writer.ok && writer.at == WIRE_PUBLIC_BYTES);
    (void)rlwe_wire_pack_poly(bytes + WIRE_RECORD_BYTES + WIRE_PUBLIC_BYTES,
                              context->ring, &key->set, key->b);
    sotto_status status = rlwe_write_header(out, &header, err);
    if (status == SOTTO_OK) {
        status = write_record(out, context, bytes, len_bytes, RLWE_FILE_PUBLIC,
                              0, err);
    }
    sotto_free(bytes);
    return status;
}

/* Fills an allocated public key from a file. */
static sotto_status load_public(rlwe_public *key, rlwe_file_reader *reader,
                                const rlwe_context *context, sotto_error *err)
{
    const size_t payload_bytes =
        WIRE_PUBLIC_BYTES + rlwe_wire_poly_bytes(context->ring, &key->set);
    SOTTO_TRY(rlwe_wire_only_record(reader, payload_bytes, err));
    const uint8_t *bytes = reader->buffer + WIRE_RECORD_BYTES;
    sotto_reader payload = sotto_reader_init(bytes, payload_bytes);
    sotto_read_bytes(&payload, key->key_id, sizeof key->key_id);
    SOTTO_TRY(rlwe_wire_check_key_id(reader, 1, key->key_id, err));
    rns_set set;
    if (!rlwe_wire_get_set(&payload, &set, context->ring->n_limbs) ||
        !rns_set_equal(&set, &key->set)) {
        return rlwe_wire_fail(reader, 1, err, SOTTO_ERR_MISMATCH,
                              "a public key over %d moduli other than the "
                              "parameters'; use the plan that it was made with",
                              set.count);
    }
    sotto_read_bytes(&payload, key->seed.bytes, SOTTO_SEED_BYTES);
    if (!rlwe_wire_unpack_poly(key->b, context->ring, &set,
                               bytes + WIRE_PUBLIC_BYTES)) {
        return rlwe_wire_fail(reader, 1, err, SOTTO_ERR_FORMAT,
                              "a residue is not below its modulus");
    }
    key->from_seed = reader->header.from_seed;
    rlwe_public_expand(key, context);
    return SOTTO_OK;
}

sotto_status rlwe_read_public(rlwe_public **key, const char *path,
                              const rlwe_context *context, sotto_error *err)
{
    *key = NULL;
    rlwe_public *made;
    SOTTO_TRY(rlwe_public_alloc(&made, context, err));
    rlwe_file_reader *reader;
    sotto_status status =
        rlwe_file_open(&reader, path, context, RLWE_FILE_PUBLIC, err);
    if (status == SOTTO_OK) {
        status = load_public(made, reader, context, err);
    }
    rlwe_file_close(reader);
    if (status != SOTTO_OK) {
        rlwe_public_free(made);
        return status;
    }
    *key = made;
    return SOTTO_OK;
}

/* ---- Switching keys ---------------------------------------------------- */

size_t rlwe_switch_key_record_bytes(const rlwe_context *context,
                                    const rlwe_gadget *gadget)
{
    const rns_set set = rns_set_union(&gadget->limbs, &gadget->special);
    return WIRE_RECORD_BYTES + WIRE_SWITCH_BYTES +
           (size_t)gadget->n_digits * rlwe_wire_poly_bytes(context->ring, &set);
}

sotto_status rlwe_write_switch_key(sotto_output *out,
                                   const rlwe_context *context,
                                   const rlwe_switch_key *key, uint64_t index,
                                   sotto_error *err)
{
    const rlwe_gadget *gadget = &key->gadget;
    const size_t len_bytes = rlwe_switch_key_record_bytes(context, gadget);
    uint8_t *bytes;
    SOTTO_TRY(alloc_record(&bytes, len_bytes, err));
    sotto_writer writer =
        sotto_writer_init(bytes + WIRE_RECORD_BYTES, WIRE_SWITCH_BYTES);
    sotto_write_bytes(&writer, key->key_id, sizeof key->key_id);
    sotto_write_u32(&writer, (uint32_t)key->target.kind);
    sotto_write_u32(&writer, (uint32_t)gadget->n_digits);
    sotto_write_u64(&writer, key->target.value);
    rlwe_wire_put_set(&writer, &gadget->limbs);
    rlwe_wire_put_set(&writer, &gadget->special);
    uint8_t digit[RNS_MAX_LIMBS] = {0};
    memcpy(digit, gadget->digit, (size_t)gadget->limbs.count);
    sotto_write_bytes(&writer, digit, sizeof digit);
    sotto_write_bytes(&writer, key->seed.bytes, SOTTO_SEED_BYTES);
    SOTTO_ASSERT(writer.ok && writer.at == WIRE_SWITCH_BYTES);
    uint8_t *at = bytes + WIRE_RECORD_BYTES + WIRE_SWITCH_BYTES;
    for (int m = 0; m < key->set.count; m++) {
        for (int j = 0; j < gadget->n_digits; j++) {
            at = rlwe_wire_pack_limb(
                at, context->ring, key->set.id[m],
                rlwe_switch_key_limb(key, context, m, j, 0));
        }
    }
    SOTTO_ASSERT(at == bytes + len_bytes);
    const sotto_status status = write_record(out, context, bytes, len_bytes,
                                             RLWE_FILE_EVAL, index, err);
    sotto_free(bytes);
    return status;
}

/* Keys as they come from a file. */
typedef struct key_list {
    rlwe_switch_key **key;
    int count;
    int capacity;
} key_list;

/* Frees the list with the keys that are still its own. */
static void clear_list(key_list *list)
{
    for (int i = 0; i < list->count; i++) {
        rlwe_switch_key_free(list->key[i]);
    }
    sotto_free(list->key);
}

/* Room for one more key. */
static sotto_status grow_list(key_list *list, sotto_error *err)
{
    if (list->count < list->capacity) {
        return SOTTO_OK;
    }
    const int capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
    rlwe_switch_key **key = sotto_calloc((size_t)capacity, sizeof *key);
    if (key == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory for %d keys",
                          capacity);
    }
    for (int i = 0; i < list->count; i++) {
        key[i] = list->key[i];
    }
    sotto_free(list->key);
    list->key = key;
    list->capacity = capacity;
    return SOTTO_OK;
}

/* Which keys of a file are kept. */
typedef struct key_filter {
    const rlwe_key_target *wanted; /* NULL: all */
    int n_wanted;
} key_filter;

/* True when both name the same key. */
static bool same_target(rlwe_key_target a, rlwe_key_target b)
{
    return a.kind == b.kind && a.value == b.value;
}

/* Wanted, not there yet, and of use in this context. Since a key is kept once,
 * a long file of copies takes no more memory than one of them. */
static bool is_kept(const key_filter *filter, const key_list *list,
                    const rlwe_context *context, rlwe_key_target target,
                    const rlwe_gadget *gadget)
{
    bool wanted = filter->wanted == NULL;
    for (int i = 0; i < filter->n_wanted && !wanted; i++) {
        wanted = same_target(filter->wanted[i], target);
    }
    for (int i = 0; i < list->count && wanted; i++) {
        wanted = !(same_target(list->key[i]->target, target) &&
                   rlwe_gadget_equal(&list->key[i]->gadget, gadget));
    }
    return wanted && rlwe_gadget_known(context, gadget);
}

/* What stands before the polynomials of a switching key. */
typedef struct switch_fields {
    uint8_t key_id[RLWE_KEY_ID_BYTES];
    rlwe_key_target target;
    rlwe_gadget gadget;
    sotto_seed seed;
} switch_fields;

/* Reads and checks the fields of the verified record in the buffer. */
static sotto_status parse_fields(switch_fields *fields,
                                 const rlwe_file_reader *reader,
                                 const rlwe_context *context,
                                 const rlwe_wire_record *record,
                                 sotto_error *err)
{
    const uint64_t number = reader->n_records;
    const int n_limbs = context->ring->n_limbs;
    sotto_reader payload = sotto_reader_init(reader->buffer + WIRE_RECORD_BYTES,
                                             (size_t)record->len_bytes);
    rlwe_gadget *gadget = &fields->gadget;
    sotto_read_bytes(&payload, fields->key_id, sizeof fields->key_id);
    const uint32_t kind = sotto_read_u32(&payload);
    const uint32_t n_digits = sotto_read_u32(&payload);
    fields->target.value = sotto_read_u64(&payload);
    const bool limbs_ok = rlwe_wire_get_set(&payload, &gadget->limbs, n_limbs);
    const bool special_ok =
        rlwe_wire_get_set(&payload, &gadget->special, n_limbs);
    sotto_read_bytes(&payload, gadget->digit, sizeof gadget->digit);
    sotto_read_bytes(&payload, fields->seed.bytes, SOTTO_SEED_BYTES);
    if (!payload.ok || record->item != 0 || !limbs_ok || !special_ok ||
        rns_set_common(&gadget->limbs, &gadget->special).count != 0 ||
        n_digits < 1 || n_digits > (uint32_t)gadget->limbs.count) {
        return rlwe_wire_fail(
            reader, number, err, SOTTO_ERR_FORMAT,
            "a switching key of %d moduli, %d special ones and "
            "%u digits, which is no valid gadget",
            gadget->limbs.count, gadget->special.count, (unsigned)n_digits);
    }
    gadget->n_digits = (int)n_digits;
    for (int i = 0; i < RNS_MAX_LIMBS; i++) {
        if (i < gadget->limbs.count ? gadget->digit[i] >= n_digits
                                    : gadget->digit[i] != 0) {
            return rlwe_wire_fail(reader, number, err, SOTTO_ERR_FORMAT,
                                  "digit %d at position %d; expected one below "
                                  "%u, and zero from position %d on",
                                  gadget->digit[i], i, (unsigned)n_digits,
                                  gadget->limbs.count);
        }
    }
    fields->target.kind = (rlwe_key_kind)kind; /* checked now */
    sotto_error reason;
    if (rlwe_key_target_check(context, fields->target, &reason) != SOTTO_OK) {
        return rlwe_wire_fail(reader, number, err, SOTTO_ERR_FORMAT, "%s",
                              reason.text);
    }
    return rlwe_wire_check_key_id(reader, number, fields->key_id, err);
}

/* Unpacks the halves b into an allocated key. */
static bool unpack_key(rlwe_switch_key *key, const rlwe_context *context,
                       const uint8_t *in)
{
    for (int m = 0; m < key->set.count; m++) {
        for (int j = 0; j < key->gadget.n_digits; j++) {
            if (!rlwe_wire_unpack_limb(
                    rlwe_switch_key_limb(key, context, m, j, 0), context->ring,
                    key->set.id[m], in)) {
                return false;
            }
            in += rlwe_wire_limb_bytes(context->ring, key->set.id[m]);
        }
    }
    return true;
}

/* Takes the verified record in the buffer into the list, if it is wanted. */
static sotto_status take_key(key_list *list, const rlwe_file_reader *reader,
                             const rlwe_context *context,
                             const rlwe_wire_record *record,
                             const key_filter *filter, sotto_error *err)
{
    switch_fields fields = {.gadget = {.n_digits = 0}};
    SOTTO_TRY(parse_fields(&fields, reader, context, record, err));
    if (!is_kept(filter, list, context, fields.target, &fields.gadget)) {
        return SOTTO_OK;
    }
    const size_t expected =
        rlwe_switch_key_record_bytes(context, &fields.gadget) -
        WIRE_RECORD_BYTES;
    if (record->len_bytes != expected) {
        return rlwe_wire_fail(reader, reader->n_records, err, SOTTO_ERR_FORMAT,
                              "a switching key of %llu bytes; expected %zu",
                              (unsigned long long)record->len_bytes, expected);
    }
    SOTTO_TRY(grow_list(list, err));
    rlwe_switch_key *key;
    SOTTO_TRY(rlwe_switch_key_alloc(&key, context, fields.target,
                                    &fields.gadget, err));
    list->key[list->count++] = key;
    memcpy(key->key_id, fields.key_id, sizeof key->key_id);
    key->seed = fields.seed;
    key->from_seed = reader->header.from_seed;
    if (!unpack_key(key, context,
                    reader->buffer + WIRE_RECORD_BYTES + WIRE_SWITCH_BYTES)) {
        return rlwe_wire_fail(reader, reader->n_records, err, SOTTO_ERR_FORMAT,
                              "a residue is not below its modulus");
    }
    rlwe_switch_key_expand(key, context);
    return SOTTO_OK;
}

/* Takes all records of a file. */
static sotto_status load_keys(key_list *list, rlwe_file_reader *reader,
                              const rlwe_context *context,
                              const key_filter *filter, sotto_error *err)
{
    for (;;) {
        rlwe_wire_record record;
        bool at_end;
        SOTTO_TRY(
            rlwe_wire_next(reader, reader->buffer, &record, &at_end, err));
        if (at_end) {
            return SOTTO_OK;
        }
        if (record.len_bytes > reader->capacity - WIRE_RECORD_BYTES) {
            /* Longer than any key of this context: of a gadget that other
             * plans use. */
            SOTTO_TRY(rlwe_wire_skip(reader, &record, err));
            continue;
        }
        SOTTO_TRY(rlwe_wire_payload(reader, reader->buffer, reader->capacity,
                                    &record, err));
        SOTTO_TRY(rlwe_wire_verify(reader, reader->n_records, reader->buffer,
                                   WIRE_RECORD_BYTES + (size_t)record.len_bytes,
                                   err));
        SOTTO_TRY(take_key(list, reader, context, &record, filter, err));
    }
}

sotto_status rlwe_read_keyset(rlwe_keyset **keyset, const char *path,
                              const rlwe_context *context,
                              const rlwe_key_target *wanted, int n_wanted,
                              sotto_error *err)
{
    *keyset = NULL;
    rlwe_file_reader *reader;
    SOTTO_TRY(rlwe_file_open(&reader, path, context, RLWE_FILE_EVAL, err));
    const key_filter filter = {.wanted = wanted, .n_wanted = n_wanted};
    key_list list = {.count = 0};
    sotto_status status = load_keys(&list, reader, context, &filter, err);
    if (status == SOTTO_OK) {
        status = rlwe_keyset_new(keyset, context, list.key, list.count, err);
    }
    if (status == SOTTO_OK) {
        memcpy((*keyset)->key_id, reader->header.key_id, RLWE_KEY_ID_BYTES);
        (*keyset)->from_seed = reader->header.from_seed;
        list.count = 0; /* the set has them now */
    }
    clear_list(&list);
    rlwe_file_close(reader);
    return status;
}
