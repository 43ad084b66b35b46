/* SPDX-License-Identifier: MIT
 * Predicted time of a draft; see draft_internal.h and cost.h.
 */
#include <math.h>

#include "nn/plan/draft_internal.h"

/* Sizes that every step's cost needs. */
typedef struct cost_sizes {
    const nn_cost_table *cost;
    double n;
    double ntt; /* nanoseconds of one transform */
} cost_sizes;

/* Products of 16-bit words that one weight times one residue costs
 * in the portable kernel (ntt/gemm.h): residues in words of 16 bits, weights in
 * words of 11. The SIMD kernels cut alike, but take weights of up to 15 bits as
 * one word where sums allow. */
static double gemm_words(double limb_bits, double weight_bits)
{
    const double weight_words = weight_bits <= 11   ? 1
                                : weight_bits <= 21 ? 2
                                                    : 3;
    return ceil(limb_bits / 16) * weight_words;
}

/* One key switch of one polynomial at `limbs` limbs. */
static double switch_cost(const cost_sizes *s, const nn_draft *draft, int limbs)
{
    const int all = limbs + draft->special.count;
    const double digits = ceil((double)limbs / draft->digit_limbs);
    const double up = digits * (all - draft->digit_limbs);
    return s->ntt * (limbs + up + 2 * all) +
           s->n * (up * draft->digit_limbs * s->cost->convert +
                   digits * all * 2 * s->cost->accumulate +
                   2 * limbs * s->cost->multiply);
}

/* One rescale of one ciphertext. */
static double rescale_cost(const cost_sizes *s, int n_components, int removed,
                           int kept)
{
    return n_components *
           (s->ntt * (removed + kept) +
            s->n * kept * (removed * s->cost->convert + s->cost->multiply));
}

static double affine_cost(const cost_sizes *s, const nn_draft *draft,
                          const nn_step_facts *facts, int weight_bits,
                          int segment, int n_components)
{
    double largest = 0;
    for (int p = 0; p < facts->n_parts; p++) {
        largest = fmax(largest, facts->part[p].weight_max);
    }
    const double integer_bits = log2(largest + 1e-30) + weight_bits;
    double ns = 0;
    const int limbs = nn_draft_limbs(draft, segment);
    for (int i = 0; i < limbs; i++) {
        const double words =
            gemm_words(nn_draft_limb_bits(draft, i), integer_bits);
        ns += words * ((double)facts->work * s->cost->gemm_word +
                       (double)facts->inputs * s->cost->gemm_gather +
                       (double)facts->n_out * s->cost->gemm_reduce);
    }
    return ns * n_components * s->n;
}

/* Everything that step k does, for one batch, in nanoseconds. */
static double step_cost(const cost_sizes *s, const nn_draft *draft,
                        const nn_search *search, const nn_draft_tensor *tensor,
                        int k)
{
    const nn_step_facts *facts = &search->facts[k];
    const nn_draft_step *step = &draft->step[k];
    const nn_draft_tensor *out = &tensor[k + 1];
    const int segment = out->segment - (step->target_bits > 0);
    const int limbs = nn_draft_limbs(draft, segment);
    double ns = 0;
    if (facts->kind == NN_STEP_AFFINE) {
        const int components = step->relinearise ? 3 : out->n_components;
        ns += affine_cost(s, draft, facts, step->weight_bits, segment,
                          components);
    } else {
        ns += (double)facts->n_out * limbs * 3 * s->n * s->cost->multiply;
    }
    const double switches = step->relinearise          ? (double)facts->n_out
                            : step->relinearise_source ? (double)facts->n_in
                                                       : 0.0;
    ns += switches * switch_cost(s, draft, limbs);
    if (step->target_bits > 0) {
        const int kept = nn_draft_limbs(draft, out->segment);
        ns += (double)facts->n_out *
              rescale_cost(s, out->n_components, limbs - kept, kept);
    }
    return ns;
}

double nn_draft_seconds(const nn_draft *draft, const nn_search *search,
                        const nn_draft_tensor *tensor)
{
    const double n = ldexp(1.0, draft->log2_n);
    const cost_sizes s = {
        .cost = &search->cost,
        .n = n,
        .ntt = n / 2 * draft->log2_n * search->cost.butterfly,
    };
    double ns = 0;
    for (int k = 0; k < search->n_steps; k++) {
        ns += step_cost(&s, draft, search, tensor, k);
    }
    return ns * ceil((double)search->images / (n / 2)) * 1e-9;
}
