/* SPDX-License-Identifier: MIT
 * Loops at the limit of AVX-512 with IFMA and VNNI (machine.h).
 */
#include "bench/machine.h"

#if defined(__AVX512IFMA__) && defined(__AVX512VNNI__)

#include <immintrin.h>
#include <stdint.h>

/* As in machine_avx2.c. */
#define CHAINS 8
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)

void machine_ifma_avx512(size_t steps)
{
    const __m512i y = _mm512_set1_epi64(12345);
#define BEGIN(k) __m512i x##k = _mm512_set1_epi64(k);
#define STEP(k)                                                                \
    x##k = _mm512_madd52lo_epu64(x##k, y, y);                                  \
    __asm__ volatile("" : "+v"(x##k));
    EACH(BEGIN)
    for (size_t i = 0; i < 2 * steps; i++) {
        EACH(STEP)
    }
#undef BEGIN
#undef STEP
}

void machine_words_avx512(size_t steps)
{
    const __m512i y = _mm512_set1_epi16(5);
#define BEGIN(k) __m512i x##k = _mm512_set1_epi32(k);
#define STEP(k)                                                                \
    x##k = _mm512_dpwssd_epi32(x##k, y, y);                                    \
    __asm__ volatile("" : "+v"(x##k));
    EACH(BEGIN)
    for (size_t i = 0; i < 2 * steps; i++) {
        EACH(STEP)
    }
#undef BEGIN
#undef STEP
}

void machine_read_avx512(const void *data, size_t len_bytes)
{
    const __m512i *at = data;
    __m512i sum[CHAINS];
    for (int k = 0; k < CHAINS; k++) {
        sum[k] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < len_bytes / sizeof *at; i += CHAINS) {
#pragma GCC unroll 8
        for (size_t k = 0; k < CHAINS; k++) {
            sum[k] = _mm512_add_epi64(sum[k], _mm512_load_si512(at + i + k));
        }
    }
    for (int k = 0; k < CHAINS; k++) {
        __asm__ volatile("" : "+v"(sum[k]));
    }
}

#else

/* Never called: machine.c asks the processor first. */
void machine_ifma_avx512(size_t steps)
{
    (void)steps;
}
void machine_words_avx512(size_t steps)
{
    (void)steps;
}
void machine_read_avx512(const void *data, size_t len_bytes)
{
    (void)data;
    (void)len_bytes;
}

#endif
