/* SPDX-License-Identifier: MIT
 * The benchmark program: bench [--json] [--quick] [WORD]. With a word, what has
 * it in "part/name" runs ("kernels/", "rotate"). Run it in Sotto's folder: the
 * networks and images lie there.
 */
#include "bench/parts.h"

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(bench *b);
    } parts[] = {
        {"base", bench_base},         {"kernels", bench_kernels},
        {"gemm", bench_gemm},         {"operations", bench_operations},
        {"costs", bench_costs},       {"hoisting", bench_hoisting},
        {"networks", bench_networks},
    };
    bench b = bench_begin(argc, argv);
    machine_measure(&b);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        b.part = parts[i].name;
        parts[i].run(&b);
    }
    return bench_end(&b);
}
