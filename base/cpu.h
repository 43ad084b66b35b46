/* SPDX-License-Identifier: MIT
 * What the processor and the operating system offer, from cpuid and xgetbv.
 */
#ifndef SOTTO_BASE_CPU_H
#define SOTTO_BASE_CPU_H

#include <stddef.h>

/* Instruction sets as Sotto's backends need them. A bit is set only when both
 * the processor has it and the system saves its registers. */
typedef enum sotto_cpu_feature {
    SOTTO_CPU_AVX2_FMA = 1 << 0,    /* AVX2, FMA, BMI2 */
    SOTTO_CPU_AVX512_IFMA = 1 << 1, /* AVX-512 F, DQ, BW, VL, IFMA, VBMI */
    SOTTO_CPU_AVX512_VNNI = 1 << 2, /* vpdpwssd on 512 bits */
    SOTTO_CPU_SHA = 1 << 3          /* SHA-256 rounds, SSE4.1 */
} sotto_cpu_feature;

/* The set of features present; 0 off x86-64. No global state: a few hundred
 * cycles per call, or ten thousand in a virtual machine. */
unsigned sotto_cpu_features(void);

/* Processors that this process may run on, at least 1. */
int sotto_cpu_count(void);

/* The processor's name for reports ("AMD EPYC …"); "unknown" if not known.
 * At most cap_bytes - 1 characters and a terminating zero are written. */
void sotto_cpu_name(char *name, size_t cap_bytes);

#endif
