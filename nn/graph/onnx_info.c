/* SPDX-License-Identifier: MIT
 * ONNX reader: the shape of the input; ranges and other metadata.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph/onnx.h"
#include "nn/graph/onnx_internal.h"

/* One TensorShapeProto.Dimension: its value, 0 where it is symbolic. */
static sotto_status dimension(nn_onnx_loader *l, size_t *out, nn_view proto,
                              size_t number)
{
    nn_pb_reader reader = nn_pb_open(proto);
    nn_pb_field field;
    bool symbolic = true;
    int64_t value = 0;

    while (nn_pb_next(&reader, &field)) {
        if (field.number == 1 && field.wire == NN_PB_VARINT) {
            value = (int64_t)field.value;
            symbolic = false;
        }
    }
    /* Some exporters write a symbolic batch as 0 or -1. */
    if (number == 0 && (value == 0 || value == -1)) {
        symbolic = true;
        value = 0;
    }
    if (reader.damaged || value < 0 || value > (int64_t)NN_MAX_ELEMENTS) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "dimension %zu of the input is %lld; expected 1 to "
                            "%zu",
                            number, (long long)value, NN_MAX_ELEMENTS);
    }
    if (number > 0 && (symbolic || value == 0)) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "dimension %zu of the input is not fixed; only the "
                            "first one, the batch, may be symbolic",
                            number);
    }
    *out = (size_t)value;
    return SOTTO_OK;
}

sotto_status nn_onnx_parse_input(nn_onnx_loader *l, nn_view *name,
                                 nn_shape *shape)
{
    const nn_view tensor = nn_pb_bytes(nn_pb_bytes(l->input_proto, 2), 1);
    const nn_view dims = nn_pb_bytes(tensor, 2);
    nn_pb_reader reader = nn_pb_open(tensor);
    nn_pb_field field;
    uint64_t type = 0;
    size_t rank = 0, dim[NN_MAX_RANK + 1];

    *name = nn_pb_bytes(l->input_proto, 1);
    while (nn_pb_next(&reader, &field)) {
        if (field.number == 1 && field.wire == NN_PB_VARINT) {
            type = field.value;
        }
    }
    if (type != NN_ONNX_FLOAT) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "the input has element type %llu; supported is "
                            "float32 (1)",
                            (unsigned long long)type);
    }
    reader = nn_pb_open(dims);
    while (nn_pb_next(&reader, &field)) {
        if (field.number != 1 || field.wire != NN_PB_BYTES) {
            continue;
        }
        if (rank == NN_MAX_RANK + 1) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "the input has more than %d dimensions",
                                NN_MAX_RANK + 1);
        }
        SOTTO_TRY(dimension(l, &dim[rank], field.bytes, rank));
        rank++;
    }
    if (rank < 2) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "the input has %zu dimensions; expected a batch "
                            "dimension and at least one more",
                            rank);
    }
    l->batch = dim[0];
    *shape = (nn_shape){.rank = (int)rank - 1};
    memcpy(shape->dim, dim + 1, (rank - 1) * sizeof *dim);
    return SOTTO_OK;
}

/* ---- Metadata ------------------------------------------------------------ */

/* "sotto.range.<tensor>" = "<min> <max>". Ranges of tensors that are not in
 * the graph (a value that was folded away) are no harm. */
static sotto_status take_range(nn_onnx_loader *l, nn_view tensor,
                               const char *value)
{
    const nn_onnx_symbol *symbol = nn_onnx_lookup(l, tensor);
    char name[100];
    char *end;
    const double min = strtod(value, &end);
    const char *middle = end;
    const double max = strtod(middle, &end);

    if (middle == value || end == middle || *end != '\0' || !isfinite(min) ||
        !isfinite(max) || min > max) {
        nn_onnx_text(name, sizeof name, tensor);
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "the range of '%s' is '%.60s'; expected two finite "
                            "numbers, min and max",
                            name, value);
    }
    if (symbol != NULL && symbol->kind == NN_ONNX_VALUE) {
        nn_graph_set_range(l->graph, symbol->node, min, max);
    }
    return SOTTO_OK;
}

/* Longest key and value that are kept. */
#define MAX_METADATA_BYTES 4096
#define MAX_METADATA_ENTRIES (2 * NN_MAX_NODES)

static sotto_status take_metadata(nn_onnx_loader *l, nn_view proto)
{
    const size_t prefix = strlen(NN_ONNX_RANGE_PREFIX);
    const nn_view name = nn_pb_bytes(proto, 1);
    char key[NN_MAX_NAME_BYTES + 32], value[MAX_METADATA_BYTES];

    nn_onnx_text(key, sizeof key, name);
    nn_onnx_text(value, sizeof value, nn_pb_bytes(proto, 2));
    if (strncmp(key, NN_ONNX_RANGE_PREFIX, prefix) == 0) {
        return take_range(
            l, (nn_view){.data = name.data + prefix, .len = name.len - prefix},
            value);
    }
    return nn_graph_set_metadata(l->graph, key, value, l->err);
}

sotto_status nn_onnx_parse_metadata(nn_onnx_loader *l)
{
    nn_pb_reader reader =
        nn_pb_open((nn_view){.data = l->file, .len = l->len_bytes});
    nn_pb_field field;
    int n = 0;

    while (nn_pb_next(&reader, &field)) {
        if (field.number == 14 && field.wire == NN_PB_BYTES) {
            if (n++ == MAX_METADATA_ENTRIES) {
                return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                    "more than %d metadata entries",
                                    MAX_METADATA_ENTRIES);
            }
            SOTTO_TRY(take_metadata(l, field.bytes));
        }
    }
    return SOTTO_OK;
}
