/* SPDX-License-Identifier: MIT
 * ONNX reader: attributes of a node, found where they stand in the file.
 */
#include <string.h>

#include "nn/graph/onnx_internal.h"

/* Reads one AttributeProto. Returns false when it is damaged or not called
 * name. */
static bool read_attribute(nn_onnx_attribute *out, nn_view proto,
                           const char *name)
{
    nn_pb_reader reader = nn_pb_open(proto);
    nn_pb_field field;
    bool named = false;

    *out = (nn_onnx_attribute){.proto = proto};
    while (nn_pb_next(&reader, &field)) {
        if (field.number == 1 && field.wire == NN_PB_BYTES) {
            named = nn_view_is(field.bytes, name);
        } else if (field.number == 2 && field.wire == NN_PB_FIXED32) {
            out->has_f = true;
            out->f = nn_pb_float_of(field.value);
        } else if (field.number == 3 && field.wire == NN_PB_VARINT) {
            out->has_i = true;
            out->i = (int64_t)field.value;
        } else if (field.number == 4 && field.wire == NN_PB_BYTES) {
            out->has_s = true;
            out->s = field.bytes;
        } else if (field.number == 5 && field.wire == NN_PB_BYTES) {
            out->has_t = true;
            out->t = field.bytes;
        }
    }
    return named && !reader.damaged;
}

bool nn_onnx_find(const nn_onnx_loader *l, nn_onnx_attribute *attribute,
                  const char *name)
{
    nn_pb_reader reader = nn_pb_open(l->now->proto);
    nn_pb_field field;

    while (nn_pb_next(&reader, &field)) {
        if (field.number == 5 && field.wire == NN_PB_BYTES &&
            read_attribute(attribute, field.bytes, name)) {
            return true;
        }
    }
    return false;
}

int64_t nn_onnx_int(const nn_onnx_loader *l, const char *name, int64_t missing)
{
    nn_onnx_attribute attribute;

    return nn_onnx_find(l, &attribute, name) && attribute.has_i ? attribute.i
                                                                : missing;
}

float nn_onnx_float(const nn_onnx_loader *l, const char *name, float missing)
{
    nn_onnx_attribute attribute;

    return nn_onnx_find(l, &attribute, name) && attribute.has_f ? attribute.f
                                                                : missing;
}

/* Takes one integer of a list. */
static sotto_status take(nn_onnx_loader *l, const char *name, int64_t *out,
                         size_t cap, size_t *n, uint64_t value)
{
    if (*n == cap) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "attribute '%s' has more than %zu values", name,
                            cap);
    }
    out[(*n)++] = (int64_t)value;
    return SOTTO_OK;
}

sotto_status nn_onnx_ints(nn_onnx_loader *l, const char *name, int64_t *out,
                          size_t cap, size_t *n)
{
    nn_onnx_attribute attribute;
    nn_pb_field field;
    uint64_t value;

    *n = 0;
    if (!nn_onnx_find(l, &attribute, name)) {
        return SOTTO_OK;
    }
    nn_pb_reader reader = nn_pb_open(attribute.proto);
    while (nn_pb_next(&reader, &field)) {
        if (field.number != 8) {
            continue;
        }
        if (field.wire == NN_PB_VARINT) {
            SOTTO_TRY(take(l, name, out, cap, n, field.value));
        } else if (field.wire == NN_PB_BYTES) {
            nn_pb_reader packed = nn_pb_open(field.bytes);
            while (nn_pb_varint(&packed, &value)) {
                SOTTO_TRY(take(l, name, out, cap, n, value));
            }
        }
    }
    return SOTTO_OK;
}

bool nn_onnx_text_is(const nn_onnx_loader *l, const char *name,
                     const char *value, const char *missing)
{
    nn_onnx_attribute attribute;

    if (!nn_onnx_find(l, &attribute, name) || !attribute.has_s) {
        const nn_view text = {.data = (const uint8_t *)missing,
                              .len = strlen(missing)};
        return nn_view_is(text, value);
    }
    return nn_view_is(attribute.s, value);
}
