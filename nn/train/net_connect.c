/* SPDX-License-Identifier: MIT
 * Who reads whose value, and where values and gradients lie.
 *
 * Most layers read the one before them; in a residual network a value may have
 * several readers, and its gradient is the sum of what they send back. The last
 * of them comes first on the way back and sets it; the others add.
 */
#include "nn/train/backprop_internal.h"

#include "base/mem.h"

/* --- who reads what ---------------------------------------------------- */

/* Finds what layer i reads, and tells the layers that are read. */
void nn_net_find_sources(nn_net *net, size_t i)
{
    nn_layer *layer = &net->layers[i];
    const size_t n = layer->config.kind == NN_LAYER_ADD ? 2 : 1;
    for (size_t k = 0; k < n; k++) {
        const int number = layer->config.reads[k];
        SOTTO_ASSERT(number < (int)i);
        layer->sources[k] = number >= 0 ? &net->layers[number] : NULL;
        if (layer->sources[k] != NULL) {
            layer->sources[k]->n_readers++;
        }
    }
    const nn_layer *source = layer->sources[0];
    layer->in = source != NULL ? source->out : net->input;
    layer->in_flat = source != NULL && source->flat;
}

/* The operands of a sum agree. */
sotto_status nn_net_check_operands(const nn_net *net, const nn_layer *layer,
                                   sotto_error *err)
{
    const nn_layer *with = layer->sources[1];
    const nn_image_shape shape = with != NULL ? with->out : net->input;
    const bool flat = with != NULL && with->flat;
    if (flat != layer->in_flat || shape.channels != layer->in.channels ||
        shape.height != layer->in.height || shape.width != layer->in.width) {
        return sotto_fail(
            err, SOTTO_ERR_SHAPE,
            "line %d: add on %s[%zu,%zu,%zu] and %s[%zu,%zu,%zu]: both must "
            "have the same shape",
            layer->config.line, layer->in_flat ? "vector " : "",
            layer->in.channels, layer->in.height, layer->in.width,
            flat ? "vector " : "", shape.channels, shape.height, shape.width);
    }
    return SOTTO_OK;
}

/* Every value but the last is read, and what a flatten shares its memory with
 * is read by nobody else. */
sotto_status nn_net_check_readers(const nn_net *net, sotto_error *err)
{
    for (size_t i = 0; i < net->n_layers; i++) {
        const nn_layer *layer = &net->layers[i];
        if (layer->n_readers == 0 && i + 1 < net->n_layers) {
            return nn_layer_fail(layer, err, "no layer reads its value");
        }
        if (layer->config.kind == NN_LAYER_FLATTEN &&
            layer->sources[0] != NULL && layer->sources[0]->n_readers > 1) {
            return nn_layer_fail(layer, err,
                                 "others read the same value; flatten only "
                                 "what nobody else reads");
        }
    }
    return SOTTO_OK;
}

/* --- memory ------------------------------------------------------------ */

/* An operand of a sum that nobody else reads has the sum's gradient for its
 * own: both are the same numbers. */
static void find_lenders(nn_net *net)
{
    for (size_t i = 0; i < net->n_layers; i++) {
        nn_layer *layer = &net->layers[i];
        for (size_t k = 0; k < 2 && layer->config.kind == NN_LAYER_ADD; k++) {
            nn_layer *source = layer->sources[k];
            if (source != NULL && source->n_readers == 1 &&
                source->config.kind != NN_LAYER_FLATTEN) {
                source->lender = layer;
            }
        }
    }
}

/* Whether a layer needs memory for the gradient of what it reads, since others
 * behind it read that too. Called from the last layer to the first. */
static bool takes_turns(nn_layer *layer)
{
    nn_layer *source = layer->sources[0];
    if (layer->config.kind == NN_LAYER_ADD && layer->sources[1] != NULL) {
        layer->with_adds = layer->sources[1]->has_gradient;
        layer->sources[1]->has_gradient = true;
    }
    if (source == NULL) {
        return false;
    }
    const bool turns = source->has_gradient;
    source->has_gradient = true;
    return turns;
}

/* Floats of values and gradients of all layers, for one image. */
size_t nn_net_count_values(nn_net *net)
{
    size_t n = 0;
    find_lenders(net);
    for (size_t i = net->n_layers; i-- > 0;) {
        nn_layer *layer = &net->layers[i];
        layer->turns = takes_turns(layer);
        n += layer->turns ? layer->n_in : 0;
        if (layer->config.kind != NN_LAYER_FLATTEN) {
            n += layer->n_out + (layer->lender == NULL ? layer->n_out : 0);
        }
    }
    return n;
}

/* Takes [batch][n] floats. */
static float *take(const nn_net *net, float **next, size_t n)
{
    float *block = *next;
    *next += net->batch * n;
    return block;
}

/* Values, from the first layer to the last. Flatten borrows what it reads. */
static sotto_status connect_values(nn_net *net, float **next)
{
    for (size_t i = 0; i < net->n_layers; i++) {
        nn_layer *layer = &net->layers[i];
        const nn_layer *source = layer->sources[0];
        const nn_layer *with = layer->sources[1];
        layer->in_value = source != NULL ? source->value : net->inputs;
        layer->with_value = with != NULL ? with->value : net->inputs;
        layer->value = layer->in_value;
        if (layer->config.kind != NN_LAYER_FLATTEN) {
            layer->value = take(net, next, layer->n_out);
        }
        layer->sums = sotto_calloc(layer->n_sums, sizeof(double));
        layer->choices =
            sotto_calloc(net->batch * layer->n_choices, sizeof(uint32_t));
        if (layer->sums == NULL || layer->choices == NULL) {
            return SOTTO_ERR_MEMORY;
        }
    }
    return SOTTO_OK;
}

/* Gradients: own ones, then from the last layer to the first those that are
 * lent, then those of what a layer reads. Nobody asks for that of a pixel. */
static void connect_gradients(nn_net *net, float **next)
{
    for (size_t i = net->n_layers; i-- > 0;) {
        nn_layer *layer = &net->layers[i];
        if (layer->lender != NULL) {
            layer->gradient = layer->lender->gradient;
        } else if (layer->config.kind != NN_LAYER_FLATTEN) {
            layer->gradient = take(net, next, layer->n_out);
        }
    }
    for (size_t i = 0; i < net->n_layers; i++) {
        nn_layer *layer = &net->layers[i];
        float *gradient =
            layer->sources[0] != NULL ? layer->sources[0]->gradient : NULL;
        layer->in_gradient = gradient;
        if (layer->turns && gradient != NULL) {
            layer->in_gradient = take(net, next, layer->n_in);
            layer->add_to = gradient;
        }
        if (layer->sources[1] != NULL) {
            layer->with_gradient = layer->sources[1]->gradient;
        }
        if (layer->config.kind == NN_LAYER_FLATTEN) {
            layer->gradient = gradient;
        }
    }
}

sotto_status nn_net_connect(nn_net *net)
{
    float *next = net->values;
    SOTTO_TRY(connect_values(net, &next));
    connect_gradients(net, &next);
    return SOTTO_OK;
}
