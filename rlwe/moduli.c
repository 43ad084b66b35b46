/* SPDX-License-Identifier: MIT
 * Moduli by size; see moduli.h.
 */
#include "rlwe/moduli.h"

#include <string.h>

#include "ntt/prime.h"
#include "ntt/ring.h"
#include "rlwe/params.h"

double rlwe_moduli_max_log2(int log2_n)
{
    return log2_n <= 15 ? 46.9 : 45.9;
}

double rlwe_moduli_min_log2(int log2_n)
{
    return log2_n + 6.0;
}

static sotto_status find(uint64_t *out, const ntt_ring *ring,
                         const double *log2_target, int n, sotto_error *err)
{
    for (int i = 0; i < n; i++) {
        const double max = rlwe_moduli_max_log2(ring->log2_n);
        const double min = rlwe_moduli_min_log2(ring->log2_n);
        if (!(log2_target[i] >= min && log2_target[i] <= max)) {
            return sotto_fail(err, SOTTO_ERR_PARAM,
                              "modulus %d of %.1f bits, expected %.1f to %.1f "
                              "bits at N = 2^%d",
                              i, log2_target[i], min, max, ring->log2_n);
        }
        SOTTO_TRY(ntt_prime_search(&out[i], 1, ring, log2_target[i], out,
                                   (size_t)i, err));
    }
    return SOTTO_OK;
}

sotto_status rlwe_moduli_find(uint64_t *out, int log2_n,
                              const double *log2_target, int n,
                              sotto_error *err)
{
    SOTTO_ASSERT(n > 0 && n <= RNS_MAX_LIMBS);
    const ntt_ring ring = ntt_ring_init(log2_n);
    const sotto_status status = find(out, &ring, log2_target, n, err);
    if (status != SOTTO_OK) {
        memset(out, 0, (size_t)n * sizeof(*out));
    }
    return status;
}
