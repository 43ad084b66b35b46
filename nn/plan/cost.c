/* SPDX-License-Identifier: MIT
 * The committed cost table and the operations' formulas; see cost.h.
 */
#include "nn/plan/cost.h"

#include <math.h>

#include "ckks/timing.h"

nn_cost_table nn_cost_default(void)
{
    return (nn_cost_table){.ns = {
                               [NN_COST_BUTTERFLY] = 0.175,
                               [NN_COST_MULTIPLY] = 0.215,
                               [NN_COST_ACCUMULATE] = 0.136,
                               [NN_COST_CONVERT] = 0.183,
                               [NN_COST_PERMUTE] = 0.173,
                               [NN_COST_FOURIER] = 1.71,
                               [NN_COST_COMPOSE] = 0.77,
                               [NN_COST_GEMM_WORD] = 0.0105,
                               [NN_COST_GEMM_GATHER] = 0.054,
                               [NN_COST_GEMM_REDUCE] = 0.182,
                               [NN_COST_EXPAND] = 4.3,
                               [NN_COST_UNPACK] = 0.6,
                               [NN_COST_HASH] = 0.76,
                           }};
}

const char *nn_cost_unit_name(nn_cost_unit unit)
{
    static const char *const name[NN_COST_UNITS] = {
        [NN_COST_BUTTERFLY] = "butterfly",
        [NN_COST_MULTIPLY] = "multiply",
        [NN_COST_ACCUMULATE] = "accumulate",
        [NN_COST_CONVERT] = "convert",
        [NN_COST_PERMUTE] = "permute",
        [NN_COST_FOURIER] = "fourier",
        [NN_COST_COMPOSE] = "compose",
        [NN_COST_GEMM_WORD] = "gemm_word",
        [NN_COST_GEMM_GATHER] = "gemm_gather",
        [NN_COST_GEMM_REDUCE] = "gemm_reduce",
        [NN_COST_EXPAND] = "expand",
        [NN_COST_UNPACK] = "unpack",
        [NN_COST_HASH] = "hash",
    };
    return name[unit];
}

sotto_status nn_cost_measure(nn_cost_table *table, sotto_error *err)
{
    ckks_kernel_times t;
    SOTTO_TRY(ckks_time_kernels(&t, err));
    *table = (nn_cost_table){.ns = {
                                 [NN_COST_BUTTERFLY] = t.butterfly,
                                 [NN_COST_MULTIPLY] = t.multiply,
                                 [NN_COST_ACCUMULATE] = t.accumulate,
                                 [NN_COST_CONVERT] = t.convert,
                                 [NN_COST_PERMUTE] = t.permute,
                                 [NN_COST_FOURIER] = t.fourier,
                                 [NN_COST_COMPOSE] = t.compose,
                                 [NN_COST_GEMM_WORD] = t.gemm_word,
                                 [NN_COST_GEMM_GATHER] = t.gemm_gather,
                                 [NN_COST_GEMM_REDUCE] = t.gemm_reduce,
                                 [NN_COST_EXPAND] = t.expand,
                                 [NN_COST_UNPACK] = t.unpack,
                                 [NN_COST_HASH] = t.hash,
                             }};
    return SOTTO_OK;
}

/* Residues of one limb. */
static double degree(int log2_n)
{
    return ldexp(1.0, log2_n);
}

double nn_cost_ntt(const nn_cost_table *table, int log2_n)
{
    return degree(log2_n) / 2 * log2_n * table->ns[NN_COST_BUTTERFLY];
}

double nn_cost_mod_up(const nn_cost_table *table, int log2_n,
                      nn_cost_gadget gadget)
{
    /* Each digit is lifted to all limbs but its own. */
    const double made =
        gadget.digits * (gadget.limbs + gadget.specials) - gadget.limbs;
    const double sources = (double)gadget.limbs / gadget.digits;
    return (gadget.limbs + made) * nn_cost_ntt(table, log2_n) +
           made * sources * degree(log2_n) * table->ns[NN_COST_CONVERT];
}

double nn_cost_key_product(const nn_cost_table *table, int log2_n,
                           nn_cost_gadget gadget)
{
    return 2.0 * gadget.digits * (gadget.limbs + gadget.specials) *
           degree(log2_n) * table->ns[NN_COST_ACCUMULATE];
}

double nn_cost_division(const nn_cost_table *table, int log2_n, int n, int kept,
                        int removed)
{
    const double tail =
        removed * table->ns[NN_COST_CONVERT] + table->ns[NN_COST_MULTIPLY];
    return n * ((kept + removed) * nn_cost_ntt(table, log2_n) +
                kept * degree(log2_n) * tail);
}

double nn_cost_switch(const nn_cost_table *table, int log2_n,
                      nn_cost_gadget gadget)
{
    return nn_cost_mod_up(table, log2_n, gadget) +
           nn_cost_key_product(table, log2_n, gadget) +
           nn_cost_division(table, log2_n, 2, gadget.limbs, gadget.specials);
}

double nn_cost_hoisted_rotation(const nn_cost_table *table, int log2_n,
                                nn_cost_gadget gadget)
{
    const double residues = 2 * gadget.limbs * degree(log2_n);
    return nn_cost_key_product(table, log2_n, gadget) +
           nn_cost_division(table, log2_n, 2, gadget.limbs, gadget.specials) +
           residues * table->ns[NN_COST_PERMUTE];
}

double nn_cost_rotation(const nn_cost_table *table, int log2_n,
                        nn_cost_gadget gadget)
{
    return nn_cost_mod_up(table, log2_n, gadget) +
           nn_cost_hoisted_rotation(table, log2_n, gadget);
}

double nn_cost_multiply_plain(const nn_cost_table *table, int log2_n, int limbs)
{
    return 2 * limbs * degree(log2_n) * table->ns[NN_COST_MULTIPLY];
}

double nn_cost_encode(const nn_cost_table *table, int log2_n, int limbs)
{
    const double slots = degree(log2_n) / 2;
    return slots / 2 * (log2_n - 1) * table->ns[NN_COST_FOURIER] +
           limbs * (degree(log2_n) * table->ns[NN_COST_COMPOSE] +
                    nn_cost_ntt(table, log2_n));
}

double nn_cost_read(const nn_cost_table *table, int log2_n, int limbs,
                    double bits)
{
    return degree(log2_n) *
           (limbs * (table->ns[NN_COST_EXPAND] + table->ns[NN_COST_UNPACK]) +
            bits / 8 * table->ns[NN_COST_HASH]);
}
