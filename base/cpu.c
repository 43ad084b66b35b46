/* SPDX-License-Identifier: MIT
 * cpuid and xgetbv; processors this process may use. Bit positions: Intel SDM
 * volume 2A, CPUID, and volume 1, 13.3 (XCR0).
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/cpu.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* Leaf 1, ecx. */
enum { LEAF1_SSE41 = 19, LEAF1_FMA = 12, LEAF1_OSXSAVE = 27, LEAF1_AVX = 28 };
/* Leaf 7, ebx, then ecx. */
enum {
    LEAF7_AVX2 = 5,
    LEAF7_BMI2 = 8,
    LEAF7_AVX512F = 16,
    LEAF7_AVX512DQ = 17,
    LEAF7_AVX512IFMA = 21,
    LEAF7_SHA = 29,
    LEAF7_AVX512BW = 30,
    LEAF7_AVX512VL = 31
};
enum { LEAF7_AVX512VBMI = 1, LEAF7_AVX512VNNI = 11 };

/* Register state that the system saves: SSE and AVX; AVX-512 needs the mask
 * registers and both halves of the 512-bit ones as well. */
#define XCR0_AVX UINT64_C(0x06)
#define XCR0_AVX512 UINT64_C(0xe6)

/* Only called when cpuid has reported OSXSAVE. */
__attribute__((target("xsave"))) static uint64_t read_xcr0(void)
{
    return (uint64_t)_xgetbv(0);
}

static int has(unsigned word, int bit)
{
    return (int)(word >> bit & 1);
}

/* Features on registers wider than 128 bits, from leaves 1 (ecx) and 7 (ebx,
 * ecx). */
static unsigned wide_features(unsigned c1, unsigned b7, unsigned c7)
{
    const uint64_t xcr0 = has(c1, LEAF1_OSXSAVE) ? read_xcr0() : 0;
    if ((xcr0 & XCR0_AVX) != XCR0_AVX || !has(c1, LEAF1_AVX) ||
        !has(c1, LEAF1_FMA) || !has(b7, LEAF7_AVX2) || !has(b7, LEAF7_BMI2)) {
        return 0;
    }
    unsigned features = SOTTO_CPU_AVX2_FMA;
    if ((xcr0 & XCR0_AVX512) != XCR0_AVX512 || !has(b7, LEAF7_AVX512F)) {
        return features;
    }
    if (has(b7, LEAF7_AVX512DQ) && has(b7, LEAF7_AVX512BW) &&
        has(b7, LEAF7_AVX512VL) && has(b7, LEAF7_AVX512IFMA) &&
        has(c7, LEAF7_AVX512VBMI)) {
        features |= SOTTO_CPU_AVX512_IFMA;
    }
    if (has(c7, LEAF7_AVX512VNNI)) {
        features |= SOTTO_CPU_AVX512_VNNI;
    }
    return features;
}

unsigned sotto_cpu_features(void)
{
    unsigned a, b, c1, b7, c7, d;
    if (!__get_cpuid(1, &a, &b, &c1, &d) ||
        !__get_cpuid_count(7, 0, &a, &b7, &c7, &d)) {
        return 0;
    }
    unsigned features = wide_features(c1, b7, c7);
    if (has(c1, LEAF1_SSE41) && has(b7, LEAF7_SHA)) {
        features |= SOTTO_CPU_SHA;
    }
    return features;
}

/* The brand string: 48 characters in three leaves, padded with spaces. */
static void brand(char text[49])
{
    memset(text, 0, 49);
    for (unsigned i = 0; i < 3; i++) {
        unsigned words[4];
        if (!__get_cpuid(0x80000002u + i, &words[0], &words[1], &words[2],
                         &words[3])) {
            text[0] = '\0';
            return;
        }
        memcpy(text + (size_t)16 * i, words, sizeof words);
    }
}

#else

unsigned sotto_cpu_features(void)
{
    return 0;
}

static void brand(char text[49])
{
    text[0] = '\0';
}

#endif

int sotto_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        const int count = CPU_COUNT(&set);
        if (count > 0) {
            return count;
        }
    }
    /* More than 1024 processors, or no such call: those that are on line. */
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < 1 << 16 ? (int)online : 1;
}

void sotto_cpu_name(char *name, size_t cap_bytes)
{
    if (cap_bytes == 0) {
        return;
    }
    char text[49];
    brand(text);
    const char *first = text + strspn(text, " ");
    size_t len = strlen(first);
    while (len > 0 && first[len - 1] == ' ') {
        len--;
    }
    if (len == 0) {
        first = "unknown";
        len = strlen(first);
    }
    (void)snprintf(name, cap_bytes, "%.*s", (int)len, first);
}
