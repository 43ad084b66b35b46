/* SPDX-License-Identifier: MIT
 * Branches on a secret, on purpose: a checker that stays silent here checks
 * nothing. Run before the real checks; must be reported.
 */
#include <stdint.h>

#include "base/prng.h"
#include "tests/ct/ct.h"

int main(void)
{
    sotto_seed seed;
    sotto_seed_from_text(&seed, "planted");
    sotto_mark_secret(&seed, sizeof seed);
    sotto_prf(&seed, &seed, SOTTO_LABEL_TEST, 0, 0, 0, 0);
    if (seed.bytes[0] % 2 == 0) { /* a real branch, not a selection */
        (void)puts("even");
    }
    return 0;
}
