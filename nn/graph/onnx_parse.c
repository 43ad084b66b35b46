/* SPDX-License-Identifier: MIT
 * ONNX reader: from bytes to tables of nodes, initialisers and names.
 *
 * Field numbers are those of onnx.proto (ModelProto 7 = graph, …). Nothing is
 * copied but pointers into the file.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "nn/graph/onnx_internal.h"

void nn_onnx_text(char *out, size_t cap, nn_view name)
{
    size_t n = name.len < cap - 1 ? name.len : cap - 1;

    for (size_t i = 0; i < n; i++) {
        const uint8_t c = name.data[i];
        out[i] = c < 0x20 || c == 0x7F ? '?' : (char)c;
    }
    out[n] = '\0';
}

sotto_status nn_onnx_fail(nn_onnx_loader *l, sotto_status status,
                          const char *format, ...)
{
    char message[400], name[100], op[60];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (l->now == NULL) {
        return sotto_fail(l->err, status, "%s", message);
    }
    nn_onnx_text(op, sizeof op, l->now->op);
    nn_onnx_text(name, sizeof name, l->now->name);
    if (l->now->name.len == 0 && l->now->n_outputs > 0 &&
        l->now->outputs[0] != NULL) {
        nn_onnx_text(name, sizeof name, l->now->outputs[0]->name);
    }
    return sotto_fail(l->err, status, "node '%s' (%s): %s", name, op, message);
}

/* Damage found where reader stopped. */
static sotto_status damaged(nn_onnx_loader *l, nn_view message,
                            const char *what)
{
    return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                        "the file is damaged: %s of %zu bytes at byte %zu "
                        "is no well-formed message",
                        what, message.len,
                        (size_t)(message.len > 0 ? message.data - l->file : 0));
}

/* ---- Names --------------------------------------------------------------- */

/* FNV-1a. */
static uint64_t hash_of(nn_view name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < name.len; i++) {
        hash = (hash ^ name.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash ^ hash >> 29;
}

/* The slot of a name, empty if the name is new. */
static size_t slot_of(const nn_onnx_loader *l, nn_view name)
{
    size_t slot = (size_t)hash_of(name) & (l->n_slots - 1);

    while (l->symbols[slot].name.len != 0 &&
           !nn_view_equal(l->symbols[slot].name, name)) {
        slot = (slot + 1) & (l->n_slots - 1);
    }
    return slot;
}

nn_onnx_symbol *nn_onnx_symbol_of(nn_onnx_loader *l, nn_view name)
{
    nn_onnx_symbol *symbol = &l->symbols[slot_of(l, name)];

    if (symbol->name.len == 0) {
        l->n_symbols++;
        SOTTO_ASSERT(l->n_symbols < l->n_slots);
        symbol->name = name;
    }
    return symbol;
}

const nn_onnx_symbol *nn_onnx_lookup(const nn_onnx_loader *l, nn_view name)
{
    const nn_onnx_symbol *symbol = &l->symbols[slot_of(l, name)];

    return symbol->name.len == 0 ? NULL : symbol;
}

/* ---- Counting, so that every table is allocated once --------------------- */

typedef struct counts {
    size_t nodes, names, initializers;
} counts;

/* Counts what a NodeProto refers to. */
static sotto_status count_names(nn_onnx_loader *l, counts *n, nn_view proto)
{
    nn_pb_reader reader = nn_pb_open(proto);
    nn_pb_field field;

    while (nn_pb_next(&reader, &field)) {
        if (field.wire == NN_PB_BYTES &&
            (field.number == 1 || field.number == 2)) {
            n->names++;
        }
    }
    return reader.damaged ? damaged(l, proto, "a node") : SOTTO_OK;
}

static sotto_status count_graph(nn_onnx_loader *l, counts *n)
{
    nn_pb_reader reader = nn_pb_open(l->graph_proto);
    nn_pb_field field;

    while (nn_pb_next(&reader, &field)) {
        if (field.wire != NN_PB_BYTES) {
            continue;
        }
        if (field.number == 1) {
            n->nodes++;
            SOTTO_TRY(count_names(l, n, field.bytes));
        } else if (field.number == 5) {
            n->initializers++;
        } else if (field.number == 15) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "the model has sparse initialisers; supported "
                                "are dense ones");
        }
        if (n->nodes > NN_ONNX_MAX_NODES || n->names > NN_ONNX_MAX_NAMES ||
            n->initializers > NN_ONNX_MAX_NODES) {
            return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                                "the model has more than %d nodes or "
                                "initialisers, or %zu names",
                                NN_ONNX_MAX_NODES, NN_ONNX_MAX_NAMES);
        }
    }
    return reader.damaged ? damaged(l, l->graph_proto, "the graph") : SOTTO_OK;
}

static sotto_status make_tables(nn_onnx_loader *l, const counts *n)
{
    /* Input and output of the graph have names, too. */
    const size_t n_symbols = n->names + n->initializers + 8;

    l->n_slots = 16;
    while (l->n_slots < 2 * n_symbols) {
        l->n_slots *= 2;
    }
    l->nodes = sotto_calloc(n->nodes, sizeof *l->nodes);
    l->names = sotto_calloc(n->names, sizeof(nn_onnx_symbol *));
    l->symbols = sotto_calloc(l->n_slots, sizeof *l->symbols);
    if (l->nodes == NULL || l->names == NULL || l->symbols == NULL) {
        return nn_onnx_fail(l, SOTTO_ERR_MEMORY, "no memory for %zu nodes",
                            n->nodes);
    }
    return SOTTO_OK;
}

/* ---- The graph's parts --------------------------------------------------- */

/* Appends the names of one NodeProto field to the pool. */
static size_t take_names(nn_onnx_loader *l, nn_view proto, uint64_t number)
{
    nn_pb_reader reader = nn_pb_open(proto);
    nn_pb_field field;
    const size_t before = l->n_names;

    while (nn_pb_next(&reader, &field)) {
        if (field.number == number && field.wire == NN_PB_BYTES) {
            l->names[l->n_names++] =
                field.bytes.len == 0 ? NULL : nn_onnx_symbol_of(l, field.bytes);
        }
    }
    return l->n_names - before;
}

static sotto_status parse_node(nn_onnx_loader *l, nn_view proto)
{
    nn_onnx_node *node = &l->nodes[l->n_nodes++];

    node->proto = proto;
    node->name = nn_pb_bytes(proto, 3);
    node->op = nn_pb_bytes(proto, 4);
    node->domain = nn_pb_bytes(proto, 7);
    node->inputs = l->names + l->n_names;
    node->n_inputs = take_names(l, proto, 1);
    node->outputs = l->names + l->n_names;
    node->n_outputs = take_names(l, proto, 2);
    l->now = node;
    for (size_t k = 0; k < node->n_outputs; k++) {
        nn_onnx_symbol *symbol = node->outputs[k];
        if (symbol == NULL) {
            continue;
        }
        if (symbol->made_by_node) {
            return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                                "its output %zu is the output of another node, "
                                "too",
                                k);
        }
        symbol->made_by_node = true;
    }
    l->now = NULL;
    return SOTTO_OK;
}

static sotto_status parse_initializer(nn_onnx_loader *l, nn_view proto)
{
    const nn_view name = nn_pb_bytes(proto, 8);
    char text[100];

    if (name.len == 0) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "an initialiser at byte %zu has no name",
                            (size_t)(proto.len > 0 ? proto.data - l->file : 0));
    }
    nn_onnx_symbol *symbol = nn_onnx_symbol_of(l, name);
    if (symbol->kind != NN_ONNX_ABSENT) {
        nn_onnx_text(text, sizeof text, name);
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "there are two initialisers named '%s'", text);
    }
    symbol->kind = NN_ONNX_INITIALIZER;
    symbol->proto = proto;
    return SOTTO_OK;
}

/* An input that is no initialiser (old files list those, too). */
static sotto_status parse_input_name(nn_onnx_loader *l, nn_view proto)
{
    const nn_view name = nn_pb_bytes(proto, 1);
    char first[100], second[100];

    if (name.len == 0) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT, "an input has no name");
    }
    if (nn_onnx_symbol_of(l, name)->kind == NN_ONNX_INITIALIZER) {
        return SOTTO_OK;
    }
    if (l->input_proto.len != 0) {
        nn_onnx_text(first, sizeof first, nn_pb_bytes(l->input_proto, 1));
        nn_onnx_text(second, sizeof second, name);
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "the model has several inputs ('%s', '%s'); "
                            "supported is one, the images",
                            first, second);
    }
    l->input_proto = proto;
    return SOTTO_OK;
}

static sotto_status parse_output_name(nn_onnx_loader *l, nn_view proto)
{
    char first[100], second[100];

    if (l->output_name.len != 0) {
        nn_onnx_text(first, sizeof first, l->output_name);
        nn_onnx_text(second, sizeof second, nn_pb_bytes(proto, 1));
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "the model has several outputs ('%s', '%s'); "
                            "supported is one, the scores",
                            first, second);
    }
    l->output_name = nn_pb_bytes(proto, 1);
    return SOTTO_OK;
}

/* Goes through the graph's fields of one number. */
static sotto_status for_each(nn_onnx_loader *l, uint64_t number,
                             sotto_status (*take)(nn_onnx_loader *, nn_view))
{
    nn_pb_reader reader = nn_pb_open(l->graph_proto);
    nn_pb_field field;

    while (nn_pb_next(&reader, &field)) {
        if (field.number == number && field.wire == NN_PB_BYTES) {
            SOTTO_TRY(take(l, field.bytes));
        }
    }
    return SOTTO_OK;
}

static sotto_status parse_graph(nn_onnx_loader *l)
{
    counts n = {0};

    SOTTO_TRY(count_graph(l, &n));
    SOTTO_TRY(make_tables(l, &n));
    SOTTO_TRY(for_each(l, 1, parse_node));
    SOTTO_TRY(for_each(l, 5, parse_initializer));
    SOTTO_TRY(for_each(l, 11, parse_input_name));
    SOTTO_TRY(for_each(l, 12, parse_output_name));
    if (l->input_proto.len == 0 || l->output_name.len == 0) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT, "the model has no %s",
                            l->input_proto.len == 0 ? "input" : "output");
    }
    return SOTTO_OK;
}

/* ---- The model ----------------------------------------------------------- */

/* One OperatorSetIdProto. */
static void take_opset(nn_onnx_loader *l, nn_view proto)
{
    const nn_view domain = nn_pb_bytes(proto, 1);
    nn_pb_reader reader = nn_pb_open(proto);
    nn_pb_field field;

    if (domain.len != 0 && !nn_view_is(domain, "ai.onnx")) {
        return; /* a node of such a domain is refused where it stands */
    }
    while (nn_pb_next(&reader, &field)) {
        if (field.number == 2 && field.wire == NN_PB_VARINT) {
            l->opset = (int64_t)field.value;
        }
    }
}

static sotto_status check_opset(nn_onnx_loader *l)
{
    if (l->opset < NN_ONNX_MIN_OPSET || l->opset > NN_ONNX_MAX_OPSET) {
        return nn_onnx_fail(l, SOTTO_ERR_UNSUPPORTED,
                            "the model uses operator set %lld; supported are "
                            "%d to %d",
                            (long long)l->opset, NN_ONNX_MIN_OPSET,
                            NN_ONNX_MAX_OPSET);
    }
    return SOTTO_OK;
}

sotto_status nn_onnx_parse(nn_onnx_loader *l)
{
    const nn_view model = {.data = l->file, .len = l->len_bytes};
    nn_pb_reader reader = nn_pb_open(model);
    nn_pb_field field;
    bool has_graph = false;

    l->opset = -1;
    while (nn_pb_next(&reader, &field)) {
        if (field.wire != NN_PB_BYTES) {
            continue;
        }
        if (field.number == 2) {
            l->producer = field.bytes;
        } else if (field.number == 7) {
            if (has_graph) {
                return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                                    "the model has two graphs");
            }
            has_graph = true;
            l->graph_proto = field.bytes;
        } else if (field.number == 8) {
            take_opset(l, field.bytes);
        }
    }
    if (reader.damaged) {
        return damaged(l, model, "the model");
    }
    if (!has_graph) {
        return nn_onnx_fail(l, SOTTO_ERR_FORMAT,
                            "this is no ONNX model: it has no graph");
    }
    SOTTO_TRY(check_opset(l));
    return parse_graph(l);
}

void nn_onnx_clear(nn_onnx_loader *l)
{
    for (size_t i = 0; l->symbols != NULL && i < l->n_slots; i++) {
        nn_onnx_const_free(l, &l->symbols[i].constant);
    }
    sotto_free(l->symbols);
    sotto_free(l->names);
    sotto_free(l->nodes);
}
