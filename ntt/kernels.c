/* SPDX-License-Identifier: MIT
 * Choice of a backend per modulus.
 */
#include "ntt/kernels.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "ntt/avx2_internal.h"
#include "ntt/ifma_internal.h"
#include "ntt/portable_internal.h"

/* The backend of this rank, or NULL where the build has none. Nothing of a file
 * with flags of its own runs here: its table is a constant. */
static const ntt_kernels *built_in(ntt_backend rank)
{
#if defined(__x86_64__)
    if (rank == NTT_BACKEND_AVX2) {
        return &ntt_kernels_avx2;
    }
    if (rank == NTT_BACKEND_IFMA) {
        return &ntt_kernels_ifma;
    }
#endif
    return rank == NTT_BACKEND_PORTABLE ? ntt_kernels_portable() : NULL;
}

sotto_status ntt_backend_cap(ntt_backend *cap, sotto_error *err)
{
    static const struct {
        const char *name;
        ntt_backend rank;
    } names[] = {{"portable", NTT_BACKEND_PORTABLE},
                 {"avx2", NTT_BACKEND_AVX2},
                 {"ifma", NTT_BACKEND_IFMA}};
    const char *wanted = getenv("SOTTO_BACKEND");
    if (wanted == NULL) {
        *cap = NTT_BACKEND_IFMA;
        return SOTTO_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(wanted, names[i].name) == 0) {
            *cap = names[i].rank;
            return SOTTO_OK;
        }
    }
    *cap = NTT_BACKEND_PORTABLE;
    return sotto_fail(err, SOTTO_ERR_PARAM,
                      "SOTTO_BACKEND is \"%.32s\"; expected portable, avx2 or "
                      "ifma, or no such variable",
                      wanted);
}

void ntt_kernels_fill(ntt_kernels *kernels)
{
    const ntt_kernels *portable = ntt_kernels_portable();
#define FILL(entry)                                                            \
    do {                                                                       \
        if (kernels->entry == NULL) {                                          \
            kernels->entry = portable->entry;                                  \
        }                                                                      \
    } while (0)
    FILL(inverse);
    FILL(inverse_raised);
    FILL(add);
    FILL(sub);
    FILL(negate);
    FILL(mul);
    FILL(mul_add);
    FILL(sub_mul);
    FILL(mul_scalar);
    FILL(mul_scalar_add);
    FILL(add_scalar);
    FILL(inner_product);
    FILL(switch_product);
    FILL(inner_product_turned);
    FILL(convert);
    FILL(sub_mul_scalar);
    FILL(permute);
    FILL(stream_blocks);
    FILL(keep_below);
    FILL(pack_bits);
    FILL(unpack_bits);
    FILL(binomial);
#undef FILL
    if (kernels->forward == NULL || kernels->forward_parts == NULL ||
        kernels->forward_first == NULL || kernels->forward_part == NULL) {
        kernels->forward = portable->forward;
        kernels->forward_parts = portable->forward_parts;
        kernels->forward_first = portable->forward_first;
        kernels->forward_part = portable->forward_part;
    }
    if (kernels->gemm == NULL || kernels->gemm_scratch == NULL) {
        kernels->gemm = portable->gemm;
        kernels->gemm_scratch = portable->gemm_scratch;
    }
    if (kernels->gemm_pack == NULL || kernels->gemm_run == NULL ||
        kernels->gemm_packed_bytes == NULL ||
        kernels->gemm_run_scratch == NULL) {
        kernels->gemm_pack = portable->gemm_pack;
        kernels->gemm_run = portable->gemm_run;
        kernels->gemm_packed_bytes = portable->gemm_packed_bytes;
        kernels->gemm_run_scratch = portable->gemm_run_scratch;
    }
}

ntt_kernels ntt_kernels_choose(const zq_modulus *mod, ntt_backend cap)
{
    const unsigned features = sotto_cpu_features();
    const ntt_kernels *best = ntt_kernels_portable();
    for (ntt_backend rank = NTT_BACKEND_PORTABLE; rank <= cap; rank++) {
        const ntt_kernels *k = built_in(rank);
        if (k != NULL && (k->cpu_features & ~features) == 0 &&
            mod->bits <= k->max_q_bits) {
            best = k;
        }
    }
    ntt_kernels chosen = *best;
    ntt_kernels_fill(&chosen);
    return chosen;
}

sotto_status ntt_kernels_prepare(ntt_table *table, const ntt_kernels *kernels,
                                 sotto_error *err)
{
    void *twiddles = NULL;
    if (kernels->twiddle_bytes != NULL) {
        const size_t len_bytes = kernels->twiddle_bytes(table);
        twiddles = sotto_calloc(len_bytes, 1);
        if (twiddles == NULL) {
            return sotto_fail(err, SOTTO_ERR_MEMORY,
                              "out of memory for %zu bytes of %s twiddles",
                              len_bytes, kernels->name);
        }
        kernels->twiddle_init(twiddles, table);
    }
    sotto_free(table->twiddles);
    table->twiddles = twiddles;
    return SOTTO_OK;
}
