/* SPDX-License-Identifier: MIT
 * Loops at the limit of AVX2 (machine.h).
 */
#include "bench/machine.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>
#include <stdint.h>

/* Eight independent chains, more than latency times throughput, in variables
 * of their own: the compiler keeps an array of them in memory. */
#define CHAINS 8
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)

void machine_fma_avx2(size_t steps)
{
    const __m256d y = _mm256_set1_pd(0.5);
#define BEGIN(k) __m256d x##k = _mm256_set1_pd(k);
#define STEP(k)                                                                \
    x##k = _mm256_fmadd_pd(x##k, y, y);                                        \
    __asm__ volatile("" : "+x"(x##k));
    EACH(BEGIN)
    for (size_t i = 0; i < 2 * steps; i++) {
        EACH(STEP)
    }
#undef BEGIN
#undef STEP
}

void machine_words_avx2(size_t steps)
{
    const __m256i y = _mm256_set1_epi16(5);
    __m256i product;
#define BEGIN(k) __m256i x##k = _mm256_set1_epi32(k);
#define STEP(k)                                                                \
    product = _mm256_madd_epi16(y, y);                                         \
    __asm__ volatile("" : "+x"(product));                                      \
    x##k = _mm256_add_epi32(x##k, product);                                    \
    __asm__ volatile("" : "+x"(x##k));
    EACH(BEGIN)
    for (size_t i = 0; i < 2 * steps; i++) {
        EACH(STEP)
    }
#undef BEGIN
#undef STEP
}

void machine_read_avx2(const void *data, size_t len_bytes)
{
    const __m256i *at = data;
    __m256i sum[CHAINS];
    for (int k = 0; k < CHAINS; k++) {
        sum[k] = _mm256_setzero_si256();
    }
    for (size_t i = 0; i < len_bytes / sizeof *at; i += CHAINS) {
#pragma GCC unroll 8
        for (size_t k = 0; k < CHAINS; k++) {
            sum[k] = _mm256_add_epi64(sum[k], _mm256_load_si256(at + i + k));
        }
    }
    for (int k = 0; k < CHAINS; k++) {
        __asm__ volatile("" : "+x"(sum[k]));
    }
}

#else

/* Never called: machine.c asks the processor first. */
void machine_fma_avx2(size_t steps)
{
    (void)steps;
}
void machine_words_avx2(size_t steps)
{
    (void)steps;
}
void machine_read_avx2(const void *data, size_t len_bytes)
{
    (void)data;
    (void)len_bytes;
}

#endif
