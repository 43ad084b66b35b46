/* SPDX-License-Identifier: MIT
 * ONNX reader: constants from TensorProto, as raw or typed data.
 *
 * Before memory is taken, the elements that the dimensions promise must be
 * there as bytes, so that a small file cannot ask for much.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/onnx_internal.h"

void nn_onnx_const_free(nn_onnx_loader *l, nn_onnx_const *c)
{
    if (c->f != NULL || c->i != NULL) {
        l->live_bytes -= c->n * (c->is_float ? sizeof *c->f : sizeof *c->i);
    }
    sotto_free(c->f);
    sotto_free(c->i);
    *c = (nn_onnx_const){0};
}

/* Elements of the dimensions; false when they are too many to be true. Only a
 * list may be empty: with several dimensions, some could be huge beside a 0. */
static bool elements(size_t *n, const nn_onnx_const *c)
{
    *n = 1;
    for (int d = 0; d < c->rank; d++) {
        if (c->dim[d] == 0 ? c->rank > 1 : *n > NN_MAX_WEIGHTS / c->dim[d]) {
            return false;
        }
        *n *= c->dim[d];
    }
    return true;
}

sotto_status nn_onnx_const_make(nn_onnx_loader *l, nn_onnx_const *out)
{
    const size_t size = out->is_float ? sizeof *out->f : sizeof *out->i;
    void *memory = NULL;

    if (!elements(&out->n, out) ||
        out->n > (l->limit_bytes - l->live_bytes) / size) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "its constants are too large for a file of %zu "
                            "bytes",
                            l->len_bytes);
    }
    memory = sotto_calloc(out->n, size);
    if (memory == NULL) {
        return nn_onnx_fail(l, SOTTO_ERR_MEMORY, "no memory for %zu constants",
                            out->n);
    }
    l->live_bytes += out->n * size;
    if (out->is_float) {
        out->f = memory;
    } else {
        out->i = memory;
    }
    return SOTTO_OK;
}

/* The parts of a TensorProto. */
typedef struct tensor_parts {
    uint64_t type;
    bool external, has_raw;
    nn_view raw;
} tensor_parts;

/* Takes one dimension. */
static sotto_status take_dim(nn_onnx_loader *l, nn_onnx_const *out,
                             uint64_t value, const char *name)
{
    if (out->rank == NN_ONNX_MAX_RANK || value > NN_MAX_WEIGHTS) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "constant '%s' has more than %d dimensions or %zu "
                            "elements",
                            name, NN_ONNX_MAX_RANK, NN_MAX_WEIGHTS);
    }
    out->dim[out->rank++] = (size_t)value;
    return SOTTO_OK;
}

static sotto_status read_parts(nn_onnx_loader *l, tensor_parts *parts,
                               nn_onnx_const *out, nn_view proto,
                               const char *name)
{
    nn_pb_reader reader = nn_pb_open(proto);
    nn_pb_field field;
    uint64_t value;

    while (nn_pb_next(&reader, &field)) {
        if (field.number == 1 && field.wire == NN_PB_VARINT) {
            SOTTO_TRY(take_dim(l, out, field.value, name));
        } else if (field.number == 1 && field.wire == NN_PB_BYTES) {
            nn_pb_reader packed = nn_pb_open(field.bytes);
            while (nn_pb_varint(&packed, &value)) {
                SOTTO_TRY(take_dim(l, out, value, name));
            }
        } else if (field.number == 2 && field.wire == NN_PB_VARINT) {
            parts->type = field.value;
        } else if (field.number == 9 && field.wire == NN_PB_BYTES) {
            parts->has_raw = true;
            parts->raw = field.bytes;
        } else if (field.number == 13 || field.number == 3 ||
                   (field.number == 14 && field.value != 0)) {
            parts->external = true;
        }
    }
    if (reader.damaged) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT, "constant '%s' is damaged",
                            name);
    }
    return SOTTO_OK;
}

/* Counts the elements of a repeated field of floats or integers, packed or one
 * by one, and copies those for which memory is there. */
static size_t typed_data(nn_onnx_const *out, nn_view proto, uint64_t number)
{
    const size_t cap = out->f != NULL || out->i != NULL ? out->n : 0;
    nn_pb_reader reader = nn_pb_open(proto);
    nn_pb_field field;
    uint64_t value;
    size_t n = 0;

    while (nn_pb_next(&reader, &field)) {
        if (field.number != number) {
            continue;
        }
        if (out->is_float && field.wire == NN_PB_BYTES) {
            for (size_t k = 0; k < field.bytes.len / 4; k++, n++) {
                if (n < cap) {
                    out->f[n] = nn_pb_float(field.bytes.data + 4 * k);
                }
            }
        } else if (out->is_float && field.wire == NN_PB_FIXED32) {
            if (n < cap) {
                out->f[n] = nn_pb_float_of(field.value);
            }
            n++;
        } else if (!out->is_float && field.wire == NN_PB_BYTES) {
            nn_pb_reader packed = nn_pb_open(field.bytes);
            while (nn_pb_varint(&packed, &value)) {
                if (n < cap) {
                    out->i[n] = (int64_t)value;
                }
                n++;
            }
        } else if (!out->is_float && field.wire == NN_PB_VARINT) {
            if (n < cap) {
                out->i[n] = (int64_t)field.value;
            }
            n++;
        }
    }
    return n;
}

/* Little-endian integer of size bytes, sign-extended. */
static int64_t raw_integer(const uint8_t *data, size_t size)
{
    uint64_t value = 0;

    for (size_t b = 0; b < size; b++) {
        value |= (uint64_t)data[b] << (8 * b);
    }
    if (size == 4) {
        return (int32_t)(uint32_t)value;
    }
    return (int64_t)value;
}

static void raw_data(nn_onnx_const *out, nn_view raw, size_t size)
{
    for (size_t k = 0; k < out->n; k++) {
        if (out->is_float) {
            out->f[k] = nn_pb_float(raw.data + 4 * k);
        } else {
            out->i[k] = raw_integer(raw.data + size * k, size);
        }
    }
}

/* No integer of a file may look like the symbol for the batch. */
static sotto_status check_integers(nn_onnx_loader *l, const nn_onnx_const *c,
                                   const char *name)
{
    for (size_t k = 0; !c->is_float && k < c->n; k++) {
        if (c->i[k] == NN_ONNX_BATCH) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "constant '%s' holds %lld, out of range", name,
                                (long long)c->i[k]);
        }
    }
    return SOTTO_OK;
}

/* Checks that the elements promised are there, then takes them. */
static sotto_status take_data(nn_onnx_loader *l, nn_onnx_const *out,
                              const tensor_parts *parts, nn_view proto,
                              size_t size, uint64_t number, const char *name)
{
    size_t n, have;

    if (!elements(&n, out)) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "constant '%s' has too many elements", name);
    }
    have =
        parts->has_raw ? parts->raw.len / size : typed_data(out, proto, number);
    if (have != n || (parts->has_raw && parts->raw.len != n * size)) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "constant '%s' has dimensions for %zu elements but "
                            "data for %zu",
                            name, n, have);
    }
    SOTTO_TRY(nn_onnx_const_make(l, out));
    if (parts->has_raw) {
        raw_data(out, parts->raw, size);
    } else {
        (void)typed_data(out, proto, number);
    }
    return check_integers(l, out, name);
}

sotto_status nn_onnx_tensor(nn_onnx_loader *l, nn_onnx_const *out,
                            nn_view proto, nn_view name_view)
{
    tensor_parts parts = {0};
    char name[100];

    nn_onnx_text(name, sizeof name, name_view);
    *out = (nn_onnx_const){0};
    SOTTO_TRY(read_parts(l, &parts, out, proto, name));
    if (parts.external) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "constant '%s' lies in another file or in "
                            "segments; supported is data inside the model "
                            "(save it as one file)",
                            name);
    }
    out->is_float = parts.type == NN_ONNX_FLOAT;
    switch (parts.type) {
    case NN_ONNX_FLOAT:
        return take_data(l, out, &parts, proto, 4, 4, name);
    case NN_ONNX_INT64:
        return take_data(l, out, &parts, proto, 8, 7, name);
    case NN_ONNX_INT32:
        return take_data(l, out, &parts, proto, 4, 5, name);
    case NN_ONNX_BOOL:
        return take_data(l, out, &parts, proto, 1, 5, name);
    default:
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "constant '%s' has element type %llu; supported "
                            "are float32 (1), int64 (7), int32 (6), bool (9)",
                            name, (unsigned long long)parts.type);
    }
}

/* One of the attributes value_float (field 2), value_floats (7), value_int (3)
 * and value_ints (8). */
static sotto_status constant_list(nn_onnx_loader *l, nn_onnx_const *out,
                                  const nn_onnx_attribute *attribute,
                                  uint64_t number, int rank)
{
    *out =
        (nn_onnx_const){.is_float = number == 2 || number == 7, .rank = rank};
    if (rank == 1) {
        out->dim[0] = typed_data(out, attribute->proto, number);
    } else if (out->is_float ? !attribute->has_f : !attribute->has_i) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT, "its value is missing");
    }
    SOTTO_TRY(nn_onnx_const_make(l, out));
    (void)typed_data(out, attribute->proto, number);
    return check_integers(l, out, "value");
}

sotto_status nn_onnx_constant_node(nn_onnx_loader *l, nn_onnx_const *out)
{
    nn_onnx_attribute attribute;

    if (nn_onnx_find(l, &attribute, "value") && attribute.has_t) {
        return nn_onnx_tensor(l, out, attribute.t, l->now->outputs[0]->name);
    }
    if (nn_onnx_find(l, &attribute, "value_float")) {
        return constant_list(l, out, &attribute, 2, 0);
    }
    if (nn_onnx_find(l, &attribute, "value_floats")) {
        return constant_list(l, out, &attribute, 7, 1);
    }
    if (nn_onnx_find(l, &attribute, "value_int")) {
        return constant_list(l, out, &attribute, 3, 0);
    }
    if (nn_onnx_find(l, &attribute, "value_ints")) {
        return constant_list(l, out, &attribute, 8, 1);
    }
    return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                        "supported are constants in the attributes value, "
                        "value_float, value_floats, value_int, value_ints");
}
