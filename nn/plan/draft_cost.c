/* SPDX-License-Identifier: MIT
 * Predicted time of a draft; see draft_internal.h and cost.h.
 *
 * Affine maps and squares between two steps that need a transform run limb by
 * limb on blocks of columns that stay in cache: no term here is for storing
 * what they make.
 */
#include <math.h>

#include "nn/plan/draft_internal.h"

/* How the SIMD kernels cut a matrix product (ntt/gemm_tiles.c): words of
 * residues, the largest weight of one word and the mean up to which it may be
 * so large, the sum of absolute weights that one chunk of a row takes, and what
 * adding up a chunk costs in inputs. */
#define TWO_WORDS 31.9999
#define THREE_WORDS 47.9999
#define SHORT_WEIGHT_BITS 11
#define LONG_WEIGHT_BITS 15
#define LONG_WEIGHT_MEAN 2730
#define TWO_WEIGHT_WORDS 21
#define CHUNK_NORM 65535
#define CHUNK_PRICE 10

/* What every step's cost needs. */
typedef struct cost_sizes {
    const nn_search *search;
    const nn_draft *draft;
    double n;
    int log2_n;
} cost_sizes;

static double unit(const cost_sizes *s, nn_cost_unit u)
{
    return s->search->cost.ns[u];
}

static double residue_words(double limb_bits)
{
    return limb_bits <= TWO_WORDS ? 2 : limb_bits <= THREE_WORDS ? 3 : 4;
}

/* The integer weights of an affine step: words of each, and chunks of a row. */
static void weight_words(const nn_step_facts *facts, int weight_bits,
                         double *words, double *chunks)
{
    double largest = 0;
    double sum = 0;
    double terms = 0;
    for (int p = 0; p < facts->n_parts; p++) {
        largest = fmax(largest, facts->part[p].weight_max);
        sum += facts->part[p].row_sum;
        terms += (double)facts->part[p].row_terms;
    }
    largest = ldexp(largest, weight_bits);
    sum = ldexp(sum, weight_bits);
    const bool is_long = largest < ldexp(1, LONG_WEIGHT_BITS) - 1 &&
                         sum <= LONG_WEIGHT_MEAN * terms;
    *words = is_long || largest < ldexp(1, SHORT_WEIGHT_BITS) ? 1
             : largest < ldexp(1, TWO_WEIGHT_WORDS)           ? 2
                                                              : 3;
    /* Words of split weights average half of their largest. */
    const double mean = *words > 1 ? ldexp(1, SHORT_WEIGHT_BITS - 2) : 0;
    *chunks = fmax(1, (*words > 1 ? mean * terms : sum) / CHUNK_NORM);
}

static nn_cost_gadget gadget_of(const nn_draft *draft, int limbs)
{
    return (nn_cost_gadget){.limbs = limbs,
                            .digits = (limbs + draft->digit_limbs - 1) /
                                      draft->digit_limbs,
                            .specials = draft->special.count};
}

static double affine_cost(const cost_sizes *s, const nn_step_facts *facts,
                          int weight_bits, int segment, int n_components)
{
    double weights, chunks;
    weight_words(facts, weight_bits, &weights, &chunks);
    const double products =
        weights * ((double)facts->work +
                   (double)facts->n_out * (chunks - 1) * CHUNK_PRICE);
    const double each =
        products * unit(s, NN_COST_GEMM_WORD) +
        (double)facts->n_in * unit(s, NN_COST_GEMM_GATHER) +
        (double)facts->n_out * weights * unit(s, NN_COST_GEMM_REDUCE);
    double words = 0;
    const int limbs = nn_draft_limbs(s->draft, segment);
    for (int i = 0; i < limbs; i++) {
        words += residue_words(nn_draft_limb_bits(s->draft, i));
    }
    return words * each * n_components * s->n;
}

/* Products of one residue of a ciphertext with itself: c_0², 2·c_0·c_1, … */
static double square_products(int n_components)
{
    return n_components * (n_components + 1) / 2.0;
}

/* Everything that step k does, for one batch. */
static double step_cost(const cost_sizes *s, const nn_draft_tensor *tensor,
                        int k)
{
    const nn_step_facts *facts = &s->search->facts[k];
    const nn_draft_step *step = &s->draft->step[k];
    const nn_draft_tensor *out = &tensor[k + 1];
    const int segment = out->segment - (step->target_bits > 0);
    const int limbs = nn_draft_limbs(s->draft, segment);
    double ns = 0;
    if (facts->kind == NN_STEP_AFFINE) {
        const int components = step->relinearise ? 3 : out->n_components;
        ns += affine_cost(s, facts, step->weight_bits, segment, components);
    } else {
        ns += (double)facts->n_out * limbs *
              square_products(tensor[k].n_components) * s->n *
              unit(s, NN_COST_MULTIPLY);
    }
    const double switches = step->relinearise          ? (double)facts->n_out
                            : step->relinearise_source ? (double)facts->n_in
                                                       : 0.0;
    const nn_cost_gadget gadget = gadget_of(s->draft, limbs);
    const double each =
        switches > 0
            ? nn_cost_mod_up(&s->search->cost, s->log2_n, gadget) +
                  nn_cost_key_product(&s->search->cost, s->log2_n, gadget)
            : 0;
    ns += switches * each;
    const int kept = nn_draft_limbs(s->draft, out->segment);
    /* Behind a product, the division by P takes the rescale with it. */
    int removed = limbs - kept;
    if (step->relinearise) {
        removed += gadget.specials;
    } else if (step->relinearise_source) {
        ns += switches * nn_cost_division(&s->search->cost, s->log2_n, 2, limbs,
                                          gadget.specials);
    }
    if (removed > 0) {
        ns += (double)facts->n_out *
              nn_cost_division(&s->search->cost, s->log2_n, out->n_components,
                               kept, removed);
    }
    return ns;
}

/* Reading the inputs of one batch. */
static double read_cost(const cost_sizes *s)
{
    double bits = 0;
    const int limbs = nn_draft_limbs(s->draft, 0);
    for (int i = 0; i < limbs; i++) {
        bits += nn_draft_limb_bits(s->draft, i);
    }
    return (double)s->search->network->n_inputs *
           nn_cost_read(&s->search->cost, s->log2_n, limbs, bits);
}

double nn_draft_seconds(const nn_draft *draft, const nn_search *search,
                        const nn_draft_tensor *tensor, nn_draft_times *times)
{
    const cost_sizes s = {.search = search,
                          .draft = draft,
                          .n = ldexp(1.0, draft->log2_n),
                          .log2_n = draft->log2_n};
    const double batches = ceil((double)search->images / (s.n / 2));
    const double read = read_cost(&s);
    double ns = read;
    if (times != NULL) {
        times->read = read;
        times->batches = batches;
    }
    for (int k = 0; k < search->n_steps; k++) {
        const double step = step_cost(&s, tensor, k);
        ns += step;
        if (times != NULL) {
            times->step[k] = step;
        }
    }
    return ns * batches * 1e-9;
}
