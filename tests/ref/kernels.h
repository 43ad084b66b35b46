/* SPDX-License-Identifier: MIT
 * A backend made of definitions and the % operator, for tests.
 */
#ifndef SOTTO_TESTS_REF_KERNELS_H
#define SOTTO_TESTS_REF_KERNELS_H

#include "ntt/kernels.h"

/* The contract of ntt/kernels.h by definition; transforms cost n^2. Of the
 * library it uses the types and the root of the table. */
extern const ntt_kernels ref_kernels;

#endif
